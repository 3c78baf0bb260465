/*
 * Reference counts and the allocation of clusters.
 *
 * A block of counters that is missing is put into the first cluster that it counts and that is
 * wanted: it then describes itself, and no other block is needed for it. The table of blocks grows
 * in memory first; the commit moves it in the file.
 */
#include "block/qcow2/qcow2.h"

#include <errno.h>

#include "base/bytes.h"

enum { GROW_STEP = 1 << 20, GROW_MAX = 64 << 20 };

uint64_t qcow2_ref_get(const uint8_t *block, uint64_t i, unsigned order)
{
	switch (order) {
	case 0: return block[i / 8] >> (i % 8) & 1;
	case 1: return block[i / 4] >> (i % 4 * 2) & 3;
	case 2: return block[i / 2] >> (i % 2 * 4) & 15;
	case 3: return block[i];
	case 4: return get_be16(block + i * 2);
	case 5: return get_be32(block + i * 4);
	default: return get_be64(block + i * 8);
	}
}

static void set_bits(uint8_t *byte, unsigned shift, unsigned mask, uint64_t value)
{
	*byte = (uint8_t)((*byte & ~(mask << shift)) | (unsigned)value << shift);
}

void qcow2_ref_set(uint8_t *block, uint64_t i, unsigned order, uint64_t value)
{
	switch (order) {
	case 0: set_bits(block + i / 8, i % 8, 1, value); return;
	case 1: set_bits(block + i / 4, i % 4 * 2, 3, value); return;
	case 2: set_bits(block + i / 2, i % 2 * 4, 15, value); return;
	case 3: block[i] = (uint8_t)value; return;
	case 4: put_be16(block + i * 2, (uint16_t)value); return;
	case 5: put_be32(block + i * 4, (uint32_t)value); return;
	default: put_be64(block + i * 8, value); return;
	}
}

static uint64_t refs_per_block(const struct qcow2 *q)
{
	return qcow2_cluster(q) * 8 >> q->h.refcount_order;
}

/* Where the counter is: the piece of the block that begins at *at, and the index in it. */
static uint64_t find_counter(const struct qcow2 *q, uint64_t cluster, uint64_t *at)
{
	uint64_t per = refs_per_block(q), per_piece = q->refs.piece_len * 8 >> q->h.refcount_order;
	uint64_t block = q->reftable.v[cluster / per] & ~(uint64_t)511, i = cluster % per;

	*at = block + i / per_piece * q->refs.piece_len;
	return i % per_piece;
}

static bool has_block(const struct qcow2 *q, uint64_t cluster)
{
	uint64_t i = cluster / refs_per_block(q);

	return i < q->reftable.n && q->reftable.v[i] & ~(uint64_t)511;
}

co_fn int qcow2_ref(struct block_node *node, uint64_t cluster, uint64_t *value)
{
	struct qcow2 *q = node->state;
	const uint8_t *data;
	uint64_t at, i;
	int res;

	*value = 0;
	if (!has_block(q, cluster))
		return 0;
	i = find_counter(q, cluster, &at);
	res = meta_cache_get(&q->refs, node->file, at, &data);
	if (res == 0)
		*value = qcow2_ref_get(data, i, q->h.refcount_order);
	return res;
}

uint64_t qcow2_ref_max(const struct qcow2 *q)
{
	return q->h.refcount_order == 6 ? UINT64_MAX
					: ((uint64_t)1 << (1 << q->h.refcount_order)) - 1;
}

co_fn int qcow2_ref_change(struct block_node *node, uint64_t cluster, int delta)
{
	struct qcow2 *q = node->state;
	uint64_t at, i, value;
	uint8_t *data;
	int res;

	if (!has_block(q, cluster))
		return qcow2_broken(node, "a cluster in use has no reference count", cluster);
	i = find_counter(q, cluster, &at);
	res = meta_cache_edit(&q->refs, node->file, at, &data);
	if (res < 0)
		return res;
	value = qcow2_ref_get(data, i, q->h.refcount_order);
	if (delta < 0 && value == 0)
		return qcow2_broken(node, "a cluster in use has a reference count of 0", cluster);
	if (delta > 0 && value == qcow2_ref_max(q))
		return -ERANGE;
	value += (uint64_t)(int64_t)delta;
	qcow2_ref_set(data, i, q->h.refcount_order, value);
	if (value == 0) {
		q->free_guess = MIN(q->free_guess, cluster);
		if (q->pack_off / qcow2_cluster(q) == cluster)
			q->pack_off = 0;
		if (q->unpacked_host / qcow2_cluster(q) == cluster)
			q->unpacked_host = 0;
		meta_cache_forget(&q->l2, cluster * qcow2_cluster(q), qcow2_cluster(q));
	}
	return 0;
}

/* The file reaches to end; it grows in steps, since each costs a system call in a worker thread. */
co_fn int qcow2_reach(struct block_node *node, uint64_t end)
{
	struct qcow2 *q = node->state;
	uint64_t step = CLAMP(end / 8, (uint64_t)GROW_STEP, (uint64_t)GROW_MAX);
	int res;

	q->used_end = MAX(q->used_end, end);
	if (end <= node->file->length)
		return 0;
	res = block_truncate(node->file, end + step);
	if (res == 0)
		q->grown = true;
	else if (block_truncate(node->file, end) == 0)
		res = 0;
	return res;
}

co_fn int qcow2_zero_clusters(struct block_node *node, uint64_t off, uint64_t n)
{
	struct qcow2 *q = node->state;
	uint64_t len = n * qcow2_cluster(q);

	meta_cache_forget(&q->l2, off, len);
	meta_cache_forget(&q->refs, off, len);
	if (off >= q->fresh_end)
		return 0;
	return block_discard_zero(node->file, off, len);
}

/* 0; the search for free clusters must begin anew, since this took some. */
static co_fn int grow_reftable(struct block_node *node, uint64_t entries);

/* A block of counters in cluster, which it counts itself. */
static co_fn int new_block(struct block_node *node, uint64_t cluster)
{
	struct qcow2 *q = node->state;
	uint64_t size = qcow2_cluster(q), off = cluster * size, at, i;
	uint8_t *data;
	int res;

	if (qcow2_is_meta(q, off, 1))
		return qcow2_broken(node, "a table lies in a cluster that counts as free", off);
	res = qcow2_reach(node, off + size);
	if (res == 0)
		res = qcow2_zero_clusters(node, off, 1);
	if (res < 0)
		return res;
	q->fresh_end = MAX(q->fresh_end, off + size);
	qcow2_table_set(&q->reftable, (uint32_t)(cluster / refs_per_block(q)), off);
	qcow2_add_meta(q, off, 1);
	i = find_counter(q, cluster, &at);
	res = meta_cache_edit(&q->refs, node->file, at, &data);
	if (res == 0)
		qcow2_ref_set(data, i, q->h.refcount_order, 1);
	return res;
}

/* Clusters from start on that are free, at most want; makes blocks of counters as needed. */
static co_fn int free_run(struct block_node *node, uint64_t *start, uint64_t want, uint64_t min)
{
	struct qcow2 *q = node->state;
	uint64_t at = *start, n = 0, value;

	while (n < want) {
		int res;

		if ((at + 1) << q->h.cluster_bits > QCOW2_OFFSET)
			return -EFBIG;
		if (at / refs_per_block(q) >= q->reftable.n) {
			res = grow_reftable(node, at / refs_per_block(q) + 1);
			if (res < 0)
				return res;
			at = q->free_guess;
			n = 0;
			continue;
		}
		if (!has_block(q, at)) {
			res = new_block(node, at);
			if (res < 0)
				return res;
			if (n >= min && n > 0)
				break;
			n = 0;
			continue; /* now at is in use */
		}
		res = qcow2_ref(node, at, &value);
		if (res < 0)
			return res;
		at++;
		if (value == 0)
			n++;
		else if (n >= min && n > 0)
			break;
		else
			n = 0;
		if (n == 1)
			*start = at - 1;
	}
	return (int)n;
}

co_fn int qcow2_alloc(struct block_node *node, uint64_t want, uint64_t min, uint64_t *off,
		      uint64_t *got)
{
	struct qcow2 *q = node->state;
	uint64_t start = q->free_guess, size = qcow2_cluster(q), done;
	int n = free_run(node, &start, want, min), res;

	if (n < 0)
		return n;
	if (qcow2_is_meta(q, start * size, (uint64_t)n))
		return qcow2_broken(node, "a table lies in a cluster that counts as free",
				    start * size);
	res = qcow2_reach(node, (start + (uint64_t)n) * size);
	if (res < 0)
		return res;
	for (done = 0; done < (uint64_t)n && res == 0; done++)
		res = qcow2_ref_change(node, start + done, 1);
	if (res < 0)
		return res;
	if (min == 1)
		q->free_guess = start + (uint64_t)n;
	*off = start * size;
	*got = (uint64_t)n;
	return 0;
}

co_fn int qcow2_alloc_table(struct block_node *node, uint64_t *off)
{
	struct qcow2 *q = node->state;
	uint64_t n;
	int res = qcow2_alloc(node, 1, 1, off, &n);

	if (res < 0)
		return res;
	res = qcow2_zero_clusters(node, *off, 1);
	q->fresh_end = MAX(q->fresh_end, *off + qcow2_cluster(q));
	if (res < 0)
		qcow2_unalloc(node, *off, 1);
	else
		qcow2_add_meta(q, *off, 1);
	return res;
}

co_fn void qcow2_unalloc(struct block_node *node, uint64_t off, uint64_t n)
{
	struct qcow2 *q = node->state;

	/* What cannot be given back is a leak, which check finds. */
	for (uint64_t i = 0; i < n; i++)
		qcow2_ref_change(node, off / qcow2_cluster(q) + i, -1);
}

static co_fn int grow_reftable(struct block_node *node, uint64_t entries)
{
	struct qcow2 *q = node->state;
	uint64_t per_cluster = qcow2_cluster(q) / 8, off = 0, got = 0, clusters;
	struct qcow2_table bigger = {0};
	int res;

	if (q->reftable_moves) { /* one at a time: the new place must be in the header first */
		res = qcow2_commit(node, false);
		if (res < 0)
			return res;
	}
	clusters = (MAX(entries, q->reftable.n * 3 / 2) + per_cluster) / per_cluster;
	if (clusters * qcow2_cluster(q) > QCOW2_MAX_REFTABLE)
		return -EFBIG;
	if (!qcow2_table_init(&bigger, (uint32_t)(clusters * per_cluster), q->reftable.off)) {
		qcow2_table_fini(&bigger);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < q->reftable.n; i++)
		bigger.v[i] = q->reftable.v[i];
	q->old_reftable_off = q->reftable.off;
	q->old_reftable_clusters = q->h.reftable_clusters;
	qcow2_table_fini(&q->reftable);
	q->reftable = bigger;
	/* From here on blocks can be made; the table itself needs room like anything else. */
	res = qcow2_alloc(node, clusters, clusters, &off, &got);
	if (res < 0) {
		q->broken = true; /* blocks that only the bigger table names cannot be reached */
		return res;
	}
	q->fresh_end = MAX(q->fresh_end, off + clusters * qcow2_cluster(q));
	qcow2_add_meta(q, off, clusters);
	q->reftable.off = off;
	q->h.reftable_clusters = (uint32_t)clusters;
	q->reftable_moves = true;
	return 0;
}
