/*
 * The control socket: one JSON object a line. {"execute": NAME, "arguments": {...}, "id": ANY} is
 * answered by
 * {"return": {...}, "id": ANY} or {"error": {"class": "GenericError", "desc": TEXT}, "id": ANY}, in
 * order.
 */
#pragma once

#include <jansson.h>

#include "control/daemon.h"

enum { CONTROL_LINE_MAX = 64 * 1024 }; /* a longer request ends the connection */

struct control_server;

/* A leftover socket is replaced, one in use is an error. NULL on error. */
struct control_server *control_server_new(struct outboard_daemon *d, const char *path,
					  GError **error);
/* Ends all connections, lets running commands finish, removes the socket. NULL is fine. */
co_fn void control_server_free(struct control_server *s);

/*
 * What one line is answered with (without the newline), in a new string: the wire without the
 * socket, for tests.
 */
co_fn char *control_answer(struct outboard_daemon *d, const char *line, size_t len);
