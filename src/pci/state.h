/*
 * Saved state: named fields in a row of bytes. Pure; what is read is checked as a whole first, so
 * that lookups need no more checks.
 */
#pragma once

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum { STATE_NAME_MAX = 63, STATE_FIELD_MAX = 256 << 20 };

/* name is not checked to be unique. Names of 1 to 63 bytes. */
void state_put(GByteArray *out, const char *name, const void *data, size_t len);
bool state_has(const GByteArray *out, const char *name);

struct state_reader {
	const uint8_t *data;
	size_t len;
};
/* Borrows data. */
bool state_open(struct state_reader *r, const void *data, size_t len, GError **error);
/* The field's bytes, or NULL. */
const uint8_t *state_find(const struct state_reader *r, const char *name, size_t *len);
/* Calls fn with each name until it returns false. */
void state_each(const struct state_reader *r, bool (*fn)(const char *name, void *arg), void *arg);
