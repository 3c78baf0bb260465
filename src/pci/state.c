/* A field: a byte with the length of its name, four with the length of its data, name, data. */
#include "pci/state.h"
#include "base/bytes.h"

#include <errno.h>

enum { HEAD_LEN = 5 };

void state_put(GByteArray *out, const char *name, const void *data, size_t len)
{
	size_t name_len = strlen(name);
	uint8_t head[HEAD_LEN];

	head[0] = (uint8_t)name_len;
	put_le32(head + 1, (uint32_t)len);
	g_byte_array_append(out, head, sizeof(head));
	g_byte_array_append(out, (const uint8_t *)name, (guint)name_len);
	g_byte_array_append(out, data, (guint)len);
}

/* The field at *at, and *at behind it; false: none, or it does not fit. */
static bool next(const struct state_reader *r, size_t *at, const uint8_t **name, size_t *name_len,
		 const uint8_t **data, size_t *len)
{
	size_t left = r->len - *at;

	if (left < HEAD_LEN)
		return false;
	*name_len = r->data[*at];
	*len = get_le32(r->data + *at + 1);
	left -= HEAD_LEN;
	if (!*name_len || *name_len > STATE_NAME_MAX || *name_len > left ||
	    *len > left - *name_len || *len > STATE_FIELD_MAX)
		return false;
	*name = r->data + *at + HEAD_LEN;
	*data = *name + *name_len;
	*at += HEAD_LEN + *name_len + *len;
	return true;
}

const uint8_t *state_find(const struct state_reader *r, const char *name, size_t *len)
{
	size_t at = 0, name_len, want = strlen(name);
	const uint8_t *n, *data;

	while (next(r, &at, &n, &name_len, &data, len)) {
		if (name_len == want && memcmp(n, name, want) == 0)
			return data;
	}
	return NULL;
}

bool state_has(const GByteArray *out, const char *name)
{
	struct state_reader r = {out->data, out->len};
	size_t len;

	return state_find(&r, name, &len);
}

bool state_open(struct state_reader *r, const void *data, size_t len, GError **error)
{
	const uint8_t *name, *d;
	size_t at = 0, name_len, field_len;

	*r = (struct state_reader){data, len};
	while (at < len) {
		size_t from = at;

		if (!next(r, &at, &name, &name_len, &d, &field_len))
			return err_set(error, EINVAL, "saved state: no field at offset %zu", from);
		if (memchr(name, 0, name_len))
			return err_set(error, EINVAL, "saved state: bad name at offset %zu", from);
	}
	return true;
}

void state_each(const struct state_reader *r, bool (*fn)(const char *name, void *arg), void *arg)
{
	size_t at = 0, name_len, len;
	const uint8_t *n, *data;
	char name[STATE_NAME_MAX + 1];

	while (next(r, &at, &n, &name_len, &data, &len)) {
		memcpy(name, n, name_len);
		name[name_len] = 0;
		if (!fn(name, arg))
			return;
	}
}
