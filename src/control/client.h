/* The other end of the control socket, for "outboard ctl": blocking, without a loop. */
#pragma once

#include <glib.h>
#include <jansson.h>

/*
 * Sends one command and waits for its answer: a new reference to what it returned, or NULL with the
 * daemon's own words in error. args is borrowed and may be NULL.
 */
json_t *control_ask(const char *path, const char *command, json_t *args, GError **error);
