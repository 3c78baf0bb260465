/* Lines of JSON from a program, and numbers in them. Pure. */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/*
 * The object in a line, a new reference; NULL: *error. Nesting is limited before the parser, which
 * recurses, sees it.
 */
json_t *remote_json_load(const char *line, size_t len, GError **error);

/* The value of key as a number from min to max; absent: *value stays (required: an error). */
bool remote_json_number(const json_t *o, const char *key, bool required, uint64_t min, uint64_t max,
			uint64_t *value, GError **error);
bool remote_json_bool(const json_t *o, const char *key, bool *value, GError **error);
/* Borrowed; *text stays when it is absent. */
bool remote_json_text(const json_t *o, const char *key, const char **text, GError **error);
/* Integer or text with a decimal or 0x number. */
bool remote_json_u64(const json_t *v, uint64_t *value);
