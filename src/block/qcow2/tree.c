/*
 * Walks over all that an L1 table refers to, for snapshots: L2 tables, clusters of data, compressed
 * clusters. With the lock held, so that nobody changes entries between the yields; a piece of a
 * table is worked on as a copy.
 */
#include "block/qcow2/qcow2.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"

enum { PIECE_MAX = 4096 };

/* One reference to a cluster. */
static co_fn int visit_cluster(struct block_node *node, uint64_t cluster, enum qcow2_tree_op op)
{
	struct qcow2 *q = node->state;
	uint64_t value;
	int res;

	switch (op) {
	case QCOW2_RAISE: return qcow2_ref_change(node, cluster, 1);
	case QCOW2_LOWER: return qcow2_ref_change(node, cluster, -1);
	case QCOW2_LEAVE: qcow2_free_later(q, cluster * qcow2_cluster(q)); return 0;
	case QCOW2_LOOK:
		res = qcow2_ref(node, cluster, &value);
		if (res == 0 && value == 0)
			return qcow2_broken(node, "a cluster in use has a reference count of 0",
					    cluster);
		return res < 0 ? res : value == qcow2_ref_max(q) ? -ERANGE : 0;
	case QCOW2_OWN: return 0;
	}
	return 0;
}

/* Sets *entry's COPIED flag as it is to be after op. */
static co_fn int visit_flag(struct block_node *node, uint64_t *entry, enum qcow2_tree_op op)
{
	struct qcow2 *q = node->state;
	uint64_t value;
	int res = 0;

	if (op == QCOW2_RAISE)
		*entry &= ~QCOW2_COPIED;
	if (op == QCOW2_OWN) {
		res = qcow2_ref(node, (*entry & QCOW2_OFFSET) / qcow2_cluster(q), &value);
		if (res == 0 && value == 1)
			*entry |= QCOW2_COPIED;
	}
	return res;
}

static co_fn int visit_entry(struct block_node *node, uint8_t *p, enum qcow2_tree_op op)
{
	struct qcow2 *q = node->state;
	uint64_t raw[2] = {get_be64(p), qcow2_entry_len(q) == 16 ? get_be64(p + 8) : 0};
	uint64_t size = qcow2_cluster(q);
	struct qcow2_entry e;
	int res = qcow2_decode(&q->h, raw, &e);

	if (res < 0)
		return res;
	if (e.compressed) {
		uint64_t last = (e.host + e.bytes - 1) / size;

		for (uint64_t i = e.host / size; i <= last && res == 0; i++)
			res = visit_cluster(node, i, op);
		return res;
	}
	if (!e.has_host || q->h.incompatible & QCOW2_DATA_FILE)
		return 0;
	/* The flag goes before the counter rises, and comes after it sank. */
	res = visit_flag(node, &raw[0], op);
	put_be64(p, raw[0]);
	return res < 0 ? res : visit_cluster(node, e.host / size, op);
}

static co_fn int visit_piece(struct block_node *node, uint64_t off, enum qcow2_tree_op op)
{
	struct qcow2 *q = node->state;
	size_t len = q->l2.piece_len;
	uint8_t copy[PIECE_MAX], before[PIECE_MAX], *data;
	const uint8_t *there;
	int res = 0;

	if (op != QCOW2_LOOK && (meta_cache_is_full(&q->refs) || meta_cache_is_full(&q->l2)))
		res = qcow2_commit(node, false);
	if (res < 0)
		return res;
	res = meta_cache_get(&q->l2, node->file, off, &there);
	if (res < 0)
		return res;
	memcpy(copy, there, len);
	memcpy(before, there, len);
	for (size_t i = 0; i < len && res == 0; i += qcow2_entry_len(q))
		res = visit_entry(node, copy + i, op);
	if (res < 0 || !memcmp(copy, before, len))
		return res;
	res = meta_cache_edit(&q->l2, node->file, off, &data);
	if (res == 0)
		memcpy(data, copy, len);
	return res;
}

co_fn int qcow2_tree(struct block_node *node, struct qcow2_table *l1, enum qcow2_tree_op op)
{
	struct qcow2 *q = node->state;
	uint64_t size = qcow2_cluster(q);
	int res = 0;

	for (uint32_t i = 0; i < l1->n && res == 0; i++) {
		uint64_t entry = l1->v[i], off = entry & QCOW2_OFFSET;

		if (!off)
			continue;
		if (off % size || off >= node->file->length)
			return qcow2_broken(node, "an L2 table is where it cannot be", off);
		res = visit_flag(node, &entry, op);
		for (uint64_t at = 0; at < size && res == 0; at += q->l2.piece_len)
			res = visit_piece(node, off + at, op);
		if (res == 0)
			res = visit_cluster(node, off / size, op);
		if (res == 0 && entry != l1->v[i])
			qcow2_table_set(l1, i, entry);
	}
	return res;
}
