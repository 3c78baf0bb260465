/*
 * From the disk to the file: L1 (in memory), L2 (cached in pieces), cluster, subcluster. What
 * follows on in the file is joined into one extent, as far as the piece of the L2 table in memory
 * reaches.
 */
#include "block/qcow2/qcow2.h"

#include <errno.h>

#include "base/bytes.h"

/* The entries from off on: *data at the first, *n of them; data NULL: there is no L2 table. */
co_fn int qcow2_entries(struct block_node *node, uint64_t off, const uint8_t **data, uint64_t *n)
{
	struct qcow2 *q = node->state;
	uint64_t cluster = off >> q->h.cluster_bits, per = qcow2_l2_entries(q), first, at;
	uint64_t table;
	unsigned len = qcow2_entry_len(q);

	*data = NULL;
	if (cluster / per >= q->l1.n) /* the disk became smaller while a request waited */
		return -EIO;
	table = q->l1.v[cluster / per] & QCOW2_OFFSET;
	first = cluster % per;
	*n = per - first;
	if (!table)
		return 0;
	at = table + first * len;
	if (table & (qcow2_cluster(q) - 1) || table >= node->file->length)
		return -EIO;
	*n = MIN(*n, (q->l2.piece_len - at % q->l2.piece_len) / len);
	return meta_cache_get(&q->l2, node->file, at, data);
}

int qcow2_decode_at(const struct qcow2 *q, const uint8_t *data, struct qcow2_entry *e)
{
	uint64_t raw[2] = {get_be64(data), 0};

	if (q->h.incompatible & QCOW2_EXTENDED_L2)
		raw[1] = get_be64(data + 8);
	return qcow2_decode(&q->h, raw, e);
}

co_fn int qcow2_lookup(struct block_node *node, uint64_t off, struct qcow2_entry *e)
{
	const uint8_t *data;
	uint64_t n;
	int res = qcow2_entries(node, off, &data, &n);

	*e = (struct qcow2_entry){0};
	if (res < 0 || !data)
		return res;
	return qcow2_decode_at(node->state, data, e);
}

/* Where subcluster i is; within is the offset in the cluster. */
static void place(const struct qcow2 *q, const struct qcow2_entry *e, unsigned i, uint64_t within,
		  struct block_extent *out)
{
	*out = (struct block_extent){.place = PLACE_BACKING};
	if (e->compressed) {
		out->place = PLACE_DRIVER;
		out->compressed = true;
	} else if (e->data >> i & 1) {
		out->place = q->crypt ? PLACE_DRIVER : PLACE_FILE;
		out->child = q->data;
		out->off = e->host + within;
	} else if (e->zero >> i & 1) {
		out->place = PLACE_ZERO;
	}
}

static bool follows(const struct block_extent *a, const struct block_extent *b)
{
	return a->place == b->place && a->place != PLACE_DRIVER &&
	       (a->place != PLACE_FILE || a->off + a->len == b->off);
}

co_fn int qcow2_map(struct block_node *node, uint64_t off, uint64_t len, struct block_extent *out)
{
	struct qcow2 *q = node->state;
	uint64_t cluster = qcow2_cluster(q), sub = cluster / qcow2_subclusters(q), done = 0, n;
	const uint8_t *data;
	int res = node->flags & BLOCK_HEADER_ONLY ? -ENXIO : qcow2_entries(node, off, &data, &n);

	if (res < 0)
		return res;
	if (!data) {
		*out = (struct block_extent){.place = PLACE_BACKING,
					     .len = n * cluster - off % cluster};
		return 0;
	}
	for (uint64_t at = off % cluster; done < len && at < n * cluster;) {
		uint64_t within = at % cluster;
		unsigned i = (unsigned)(within / sub);
		struct block_extent next = {0};
		struct qcow2_entry e;

		res = qcow2_decode_at(q, data + at / cluster * qcow2_entry_len(q), &e);
		if (res == 0)
			place(q, &e, i, within, &next);
		if (res < 0 || (done > 0 && !follows(out, &next)))
			break;
		if (done == 0)
			*out = next;
		done += (e.compressed ? cluster - within : sub - within % sub);
		at = off % cluster + done;
		out->len = done;
		if (e.compressed)
			break;
	}
	return done > 0 ? 0 : res;
}
