/* Parts of the check: bitmaps, and making the reference counts anew. */
#include "block/qcow2/check.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"

enum { BITMAP_ENTRY = 24 };
static const uint64_t max_directory = (uint64_t)64 << 20, max_table = (uint64_t)64 << 20;

/* The table of one bitmap and what it refers to. */
static co_fn int count_bitmap(struct check *c, uint64_t off, uint32_t entries)
{
	struct qcow2_table t;
	int res = 0;

	if ((uint64_t)entries * 8 > max_table || off > c->file->length ||
	    (uint64_t)entries * 8 > c->file->length - off)
		return 0; /* check_count() has said so */
	if (!qcow2_table_init(&t, entries, off))
		res = -ENOMEM;
	if (res == 0)
		res = qcow2_table_read(&t, c->file);
	for (uint32_t i = 0; i < entries && res == 0; i++) {
		if (t.v[i] & QCOW2_OFFSET)
			check_count(c, t.v[i] & QCOW2_OFFSET, qcow2_cluster(c->q), "a bitmap");
	}
	qcow2_table_fini(&t);
	return res;
}

co_fn int check_count_bitmaps(struct check *c)
{
	const struct qcow2_header *h = &c->q->h;
	uint64_t off = h->bitmaps_off, end = off + h->bitmaps_len;
	uint8_t e[BITMAP_ENTRY];
	int res = 0;

	check_count(c, h->bitmaps_off, h->bitmaps_len, "the bitmap directory");
	if (h->bitmaps_len > max_directory || off > c->file->length ||
	    h->bitmaps_len > c->file->length - off)
		return 0;
	for (uint32_t i = 0; i < h->bitmaps && off + BITMAP_ENTRY <= end && res == 0; i++) {
		uint64_t table;
		uint32_t entries;

		res = block_pread(c->file, off, e, BITMAP_ENTRY);
		if (res < 0)
			break;
		table = get_be64(e);
		entries = get_be32(e + 8);
		check_count(c, table, (uint64_t)entries * 8, "a bitmap table");
		res = count_bitmap(c, table, entries);
		off += BITMAP_ENTRY + (uint64_t)get_be32(e + 20) + get_be16(e + 18);
		off = (off + 7) / 8 * 8;
	}
	return res;
}

/* The old table and its blocks count no more. */
static void forget_old(struct check *c)
{
	uint64_t size = qcow2_cluster(c->q);

	for (uint32_t i = 0; i < c->q->h.reftable_clusters; i++) {
		uint64_t at = c->refs.off / size + i;

		if (at < c->n && c->counts[at])
			c->counts[at]--;
	}
	for (uint32_t i = 0; i < c->refs.n; i++) {
		uint64_t off = c->refs.v[i];

		if (off) /* count_refcounts() left those that it counted */
			c->counts[off / size]--;
	}
}

static co_fn int write_blocks(struct check *c, uint64_t first, uint64_t blocks, uint64_t total)
{
	uint64_t size = qcow2_cluster(c->q), per = size * 8 >> c->q->h.refcount_order;
	uint64_t most = c->q->h.refcount_order == 6
				? UINT32_MAX
				: ((uint64_t)1 << (1 << c->q->h.refcount_order)) - 1;
	int res = 0;

	for (uint64_t b = 0; b < blocks && res == 0; b++) {
		memset(c->buf, 0, size);
		for (uint64_t i = 0; i < per && b * per + i < total; i++) {
			uint64_t at = b * per + i, value = at < c->n ? c->counts[at] : 1;

			if (value > most)
				return -ERANGE;
			qcow2_ref_set(c->buf, i, c->q->h.refcount_order, value);
		}
		res = block_pwrite(c->file, (first + b) * size, c->buf, size, 0);
	}
	return res;
}

co_fn int check_rebuild(struct check *c)
{
	uint64_t size = qcow2_cluster(c->q), per = size * 8 >> c->q->h.refcount_order;
	uint64_t blocks = 0, before, table = 1, total = c->n;
	struct qcow2_table t;
	uint8_t field[12];
	int res;

	do {
		before = total;
		blocks = (total + per - 1) / per;
		table = (blocks * 8 + size - 1) / size;
		total = c->n + table + blocks;
	} while (total != before);
	if (table * size > QCOW2_MAX_REFTABLE)
		return -EFBIG;
	if (!qcow2_table_init(&t, (uint32_t)(table * size / 8), c->n * size)) {
		qcow2_table_fini(&t);
		return -ENOMEM;
	}
	forget_old(c);
	for (uint64_t b = 0; b < blocks; b++)
		t.v[b] = (c->n + table + b) * size;
	res = block_truncate(c->file, total * size);
	if (res == 0)
		res = write_blocks(c, c->n + table, blocks, total);
	if (res == 0)
		res = qcow2_table_write(&t, c->file, true);
	if (res == 0)
		res = block_flush(c->file);
	put_be64(field, t.off);
	put_be32(field + 8, (uint32_t)table);
	if (res == 0)
		res = block_pwrite(c->file, QH_REFTABLE_OFF, field, sizeof(field), 0);
	if (res == 0)
		res = block_flush(c->file);
	if (res == 0) {
		c->q->h.reftable_off = t.off;
		c->q->h.reftable_clusters = (uint32_t)table;
	}
	qcow2_table_fini(&t);
	return res;
}
