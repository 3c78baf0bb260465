/*
 * Sets of rows, their byte stream, and the difference between two; see store_rows.h.
 *
 * Data of replaced rows stays behind in bytes until the set is rebuilt; a journal bounds how much
 * that can be.
 */
#include "disc/store_rows.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"

enum {
	MAX_ROWS = 20000
}; /* well above what a slot of 1 MiB needs; bounds the work of reading a bad file */

static const uint8_t padding[8];

void rows_init(struct rows *r)
{
	r->list = g_array_new(FALSE, FALSE, sizeof(struct row));
	r->bytes = g_byte_array_new();
}

void rows_fini(struct rows *r)
{
	if (r->list)
		g_array_unref(r->list);
	if (r->bytes)
		g_byte_array_unref(r->bytes);
	*r = (struct rows){0};
}

void rows_swap(struct rows *a, struct rows *b)
{
	struct rows was = *a;

	*a = *b;
	*b = was;
}

static const struct row *row_at(const struct rows *r, unsigned i)
{
	return &g_array_index(r->list, struct row, i);
}

static int compare_keys(uint32_t type_a, uint32_t key_a, uint32_t type_b, uint32_t key_b)
{
	if (type_a != type_b)
		return type_a < type_b ? -1 : 1;
	return key_a < key_b ? -1 : key_a > key_b;
}

/* Index of the first row that is not before (type, key). */
static unsigned lower_bound(const struct rows *r, uint32_t type, uint32_t key)
{
	unsigned low = 0, high = r->list->len;

	while (low < high) {
		unsigned mid = low + (high - low) / 2;
		const struct row *row = row_at(r, mid);

		if (compare_keys(row->type, row->key, type, key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static void encode_row(GByteArray *out, uint32_t type, const uint8_t *data, uint32_t len)
{
	uint8_t head[ROW_HEAD_LEN];

	put_le32(head, type);
	put_le32(head + 4, len);
	g_byte_array_append(out, head, sizeof(head));
	g_byte_array_append(out, data, len);
	g_byte_array_append(out, padding, -len & 7);
}

size_t rows_encoded_len(const struct rows *r)
{
	size_t len = 0;

	for (unsigned i = 0; i < r->list->len; i++)
		len += ROW_HEAD_LEN + (((size_t)row_at(r, i)->len + 7) & ~(size_t)7);
	return len;
}

void rows_encode(const struct rows *r, GByteArray *out)
{
	for (unsigned i = 0; i < r->list->len; i++) {
		const struct row *row = row_at(r, i);

		encode_row(out, row->type, r->bytes->data + row->pos, row->len);
	}
}

/* Rows [i, *end) of old are not in new: encodes their removal; all of one type between two that
 * stay. */
static unsigned encode_removal(const struct rows *old, unsigned i, const struct row *next,
			       GByteArray *out)
{
	const struct row *first = row_at(old, i), *last = first;
	uint8_t data[ROW_REMOVE_LEN] = {0};

	for (i++; i < old->list->len; i++) {
		const struct row *row = row_at(old, i);

		if (row->type != first->type ||
		    (next && compare_keys(row->type, row->key, next->type, next->key) >= 0))
			break;
		last = row;
	}
	put_le32(data, first->type);
	put_le32(data + 4, first->key);
	put_le32(data + 8, last->key);
	encode_row(out, ROW_REMOVE, data, sizeof(data));
	return i;
}

bool rows_diff(const struct rows *old, const struct rows *new, GByteArray *out)
{
	bool tracks = false;
	unsigned i = 0, k = 0;

	while (i < old->list->len || k < new->list->len) {
		const struct row *a = i < old->list->len ? row_at(old, i) : NULL;
		const struct row *b = k < new->list->len ? row_at(new, k) : NULL;
		int order = !a ? 1 : !b ? -1 : compare_keys(a->type, a->key, b->type, b->key);

		if (order < 0) {
			i = encode_removal(old, i, b, out);
			continue;
		}
		assert(b);
		if (order > 0 || a->len != b->len ||
		    memcmp(old->bytes->data + a->pos, new->bytes->data + b->pos, b->len) != 0) {
			encode_row(out, b->type, new->bytes->data + b->pos, b->len);
			tracks = tracks || b->type == ROW_TRACK;
		}
		i += order == 0;
		k++;
	}
	return tracks;
}

const uint8_t *rows_find(const struct rows *r, uint32_t type, uint32_t key)
{
	unsigned i = lower_bound(r, type, key);

	if (i == r->list->len || row_at(r, i)->type != type || row_at(r, i)->key != key)
		return NULL;
	return r->bytes->data + row_at(r, i)->pos;
}

static void put_row(struct rows *r, uint32_t type, uint32_t key, const uint8_t *data, uint32_t len)
{
	struct row row = {.type = type, .key = key, .len = len, .pos = r->bytes->len};
	unsigned i = lower_bound(r, type, key);

	g_byte_array_append(r->bytes, data, len);
	if (i < r->list->len && row_at(r, i)->type == type && row_at(r, i)->key == key)
		g_array_index(r->list, struct row, i) = row;
	else
		g_array_insert_val(r->list, i, row);
}

static bool remove_rows(struct rows *r, const uint8_t *data, GError **error)
{
	uint32_t type = get_le32(data), first = get_le32(data + 4), last = get_le32(data + 8);
	unsigned from = lower_bound(r, type, first), to;

	if (type == ROW_DISC || type == ROW_REMOVE || first > last)
		return err_set(error, EINVAL, "removes rows %u to %u of type 0x%x", first, last,
			       type);
	to = last == UINT32_MAX ? lower_bound(r, type + 1, 0) : lower_bound(r, type, last + 1);
	if (to > from)
		g_array_remove_range(r->list, from, to - from);
	return true;
}

/* How long a row of this type must be at least, and whether just so; 0: no such type. */
static uint32_t row_len(uint32_t type, bool *fixed)
{
	*fixed = true;
	switch (type) {
	case ROW_DISC: return ROW_DISC_LEN;
	case ROW_SESSION: return ROW_SESSION_LEN;
	case ROW_TRACK: return ROW_TRACK_LEN;
	case ROW_PUNCH: return ROW_PUNCH_LEN;
	case ROW_REMOVE: return ROW_REMOVE_LEN;
	}
	*fixed = false;
	if (type & ROW_IGNORABLE)
		return ROW_KEY_LEN;
	return row_is_blob(type) ? ROW_KEY_LEN + 1 : 0;
}

static uint32_t row_key(uint32_t type, const uint8_t *data)
{
	switch (type) {
	case ROW_DISC: return 0;
	case ROW_SESSION:
	case ROW_TRACK: return get_le16(data);
	default: return get_le32(data);
	}
}

static bool apply_row(struct rows *r, uint32_t type, const uint8_t *data, uint32_t len,
		      GError **error)
{
	bool fixed;
	uint32_t min = row_len(type, &fixed);

	if (min == 0)
		return err_set(error, ENOTSUP, "is of type 0x%x, made by a newer version", type);
	if (len < min || (fixed && len != min))
		return err_set(error, EINVAL, "is %u bytes long, must be %u", len, min);
	if (type == ROW_REMOVE)
		return remove_rows(r, data, error);
	if (r->list->len >= MAX_ROWS)
		return err_set(error, EINVAL, "is one too many, %u are possible", MAX_ROWS);
	put_row(r, type, row_key(type, data), data, len);
	return true;
}

bool rows_apply(struct rows *r, const uint8_t *stream, size_t len, GError **error)
{
	size_t pos = 0;

	while (pos < len) {
		const uint8_t *p = stream + pos;
		uint32_t data_len;

		if (len - pos < ROW_HEAD_LEN)
			return err_set(error, EINVAL, "row at 0x%zx: cut off", pos);
		data_len = get_le32(p + 4);
		if (data_len > len - pos - ROW_HEAD_LEN)
			return err_set(error, EINVAL, "row at 0x%zx: %u bytes, only %zu are left",
				       pos, data_len, len - pos - ROW_HEAD_LEN);
		if (!apply_row(r, get_le32(p), p + ROW_HEAD_LEN, data_len, error))
			return err_prefix(error, "row at 0x%zx", pos);
		pos += ROW_HEAD_LEN + (size_t)data_len;
		pos += MIN(-data_len & 7, len - pos);
	}
	return true;
}
