/*
 * Persistent bitmaps: their directory, and which parts of the disk they call dirty. They are read
 * only: a writer does not keep them up, and clears the feature bit that says they are good before
 * its first write (commit.c).
 */
#include "block/qcow2/qcow2.h"

#include <errno.h>
#include <inttypes.h>

#include "base/bytes.h"
#include "base/err.h"

enum {
	ENTRY = 24,
	MAX_BITMAPS = 65535,
	MIN_GRAIN_BITS = 9,
	MAX_GRAIN_BITS = 31,
	MAX_EXTRA = 1 << 20,
};
enum bitmap_flags { IN_USE = 1, AUTO = 2, KNOWN_FLAGS = 7 };
enum { DIRTY_MAP = 1 }; /* the only type there is */
#define ALL_ONES ((uint64_t)1)
static const uint64_t max_directory = (uint64_t)64 << 20;

static void bitmap_clear(void *p)
{
	struct qcow2_bitmap *b = p;

	g_free(b->name);
}

void qcow2_free_bitmaps(struct qcow2 *q)
{
	if (q->bitmaps)
		g_array_unref(q->bitmaps);
	q->bitmaps = NULL;
}

static bool bad(GError **error, uint64_t off, const char *what)
{
	return err_set(error, EINVAL, "qcow2: the bitmap described at offset %" PRIu64 " %s", off,
		       what);
}

/* One entry of left bytes at p, which is offset off of the file: *b, and how long it is. */
static bool parse_bitmap(const struct block_node *node, const uint8_t *p, uint64_t left,
			 uint64_t off, struct qcow2_bitmap *b, uint64_t *len, GError **error)
{
	const struct qcow2 *q = node->state;
	uint64_t extra, grains, file_len = node->file->length;
	unsigned name_len;

	if (left < ENTRY)
		return bad(error, off, "is cut off");
	b->table_off = get_be64(p);
	b->table_entries = get_be32(p + 8);
	b->flags = get_be32(p + 12);
	b->grain_bits = p[17];
	name_len = get_be16(p + 18);
	extra = get_be32(p + 20);
	*len = (ENTRY + extra + name_len + 7) / 8 * 8;
	if (extra > MAX_EXTRA || name_len == 0 || name_len > QCOW2_MAX_NAME || *len > left)
		return bad(error, off, "has a name of no valid length, or is cut off");
	if (p[16] != DIRTY_MAP || b->flags & ~(uint32_t)KNOWN_FLAGS ||
	    b->grain_bits < MIN_GRAIN_BITS || b->grain_bits > MAX_GRAIN_BITS)
		return bad(error, off, "has a type, flag or granularity that is not known");
	if (b->table_off % qcow2_cluster(q) || b->table_off > file_len ||
	    (uint64_t)b->table_entries * 8 > file_len - b->table_off)
		return bad(error, off, "has its table outside of the file");
	grains = (q->h.size >> b->grain_bits) + 1;
	if (!(b->flags & IN_USE) && grains / 8 / qcow2_cluster(q) > b->table_entries)
		return bad(error, off, "has a table too small for the disk");
	b->name = g_strndup((const char *)p + ENTRY + extra, name_len);
	return true;
}

static bool parse_directory(const struct block_node *node, const uint8_t *p, GError **error)
{
	struct qcow2 *q = node->state;
	uint64_t at = 0, len = 0;

	for (uint32_t i = 0; i < q->h.bitmaps; i++, at += len) {
		struct qcow2_bitmap b = {0};

		if (!parse_bitmap(node, p + at, q->h.bitmaps_len - at, q->h.bitmaps_off + at, &b,
				  &len, error))
			return false;
		g_array_append_val(q->bitmaps, b);
	}
	return true;
}

co_fn bool qcow2_read_bitmaps(struct block_node *node, GError **error)
{
	struct qcow2 *q = node->state;
	uint64_t off = q->h.bitmaps_off, len = q->h.bitmaps_len, file_len = node->file->length;
	uint8_t *buf;
	bool ok;
	int res;

	q->bitmaps = g_array_new(FALSE, TRUE, sizeof(struct qcow2_bitmap));
	g_array_set_clear_func(q->bitmaps, bitmap_clear);
	if (!(q->h.autoclear & QCOW2_BITMAPS) || !q->h.bitmaps)
		return true; /* whatever there is, is not to be believed */
	if (q->h.bitmaps > MAX_BITMAPS || len > max_directory || off > file_len ||
	    len > file_len - off) {
		return err_set(error, EINVAL,
			       "qcow2: the directory of %" PRIu32 " bitmaps at offset %" PRIu64
			       " has %" PRIu64
			       " bytes; must be inside the file, and at most 64 MiB",
			       q->h.bitmaps, off, len);
	}
	buf = g_try_malloc(len ? len : 1);
	if (!buf)
		return err_set(error, ENOMEM, "qcow2: no memory for the directory of bitmaps");
	res = block_pread(node->file, off, buf, len);
	ok = res == 0 ? parse_directory(node, buf, error)
		      : err_set_errno(error, -res, "qcow2: the bitmaps cannot be read");
	g_free(buf);
	return ok;
}

bool qcow2_get_bitmap(const struct block_node *node, unsigned i, struct block_bitmap *out)
{
	const struct qcow2 *q = node->state;
	const struct qcow2_bitmap *b;

	if (i >= q->bitmaps->len)
		return false;
	b = &g_array_index(q->bitmaps, struct qcow2_bitmap, i);
	out->name = b->name;
	out->granularity = (uint64_t)1 << b->grain_bits;
	out->in_use = b->flags & IN_USE;
	out->recording = b->flags & AUTO;
	return true;
}

/* A number from the file, at any offset that is a multiple of its length. */
static co_fn int get_u64(struct block_node *node, uint64_t off, uint64_t *value)
{
	struct qcow2 *q = node->state;
	const uint8_t *data;
	int res = meta_cache_get(&q->l2, node->file, off, &data);

	if (res == 0)
		*value = get_be64(data);
	return res;
}

/* How many of n bits from number i of the cluster at off on are as that one is. */
static co_fn int64_t count_alike(struct block_node *node, uint64_t off, uint64_t i, uint64_t n,
				 bool *dirty)
{
	struct qcow2 *q = node->state;
	uint64_t piece_bits = (uint64_t)q->l2.piece_len * 8, k;
	const uint8_t *data;
	int res = meta_cache_get(&q->l2, node->file, off + i / piece_bits * q->l2.piece_len, &data);

	if (res < 0)
		return res;
	i %= piece_bits;
	n = MIN(n, piece_bits - i);
	*dirty = data[i / 8] >> i % 8 & 1;
	for (k = 1; k < n && (data[(i + k) / 8] >> (i + k) % 8 & 1) == *dirty;)
		k++;
	return (int64_t)k;
}

co_fn int qcow2_find_dirty(struct block_node *node, unsigned i, uint64_t off, uint64_t len,
			   bool *dirty, uint64_t *run)
{
	struct qcow2 *q = node->state;
	const struct qcow2_bitmap *b = &g_array_index(q->bitmaps, struct qcow2_bitmap, i);
	uint64_t per = qcow2_cluster(q) * 8, first = off >> b->grain_bits, entry = 0, host;
	uint64_t n = ((off + len - 1) >> b->grain_bits) - first + 1;
	uint64_t grain = (uint64_t)1 << b->grain_bits;
	int64_t alike;
	int res;

	if (first / per >= b->table_entries)
		return -EIO;
	res = get_u64(node, b->table_off + first / per * 8, &entry);
	if (res < 0)
		return res;
	host = entry & QCOW2_OFFSET;
	if (host % qcow2_cluster(q) || host >= node->file->length || (host && entry & ALL_ONES))
		return -EIO;
	alike = (int64_t)MIN(n, per - first % per);
	if (host)
		alike = count_alike(node, host, first % per, (uint64_t)alike, dirty);
	else
		*dirty = entry & ALL_ONES;
	if (alike < 0)
		return (int)alike;
	*run = MIN((uint64_t)alike * grain - off % grain, len);
	return 0;
}
