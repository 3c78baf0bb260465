/*
 * How metadata reach the disk. Between commits all changes are in memory: counters raised, entries
 * set. A commit writes them so that a power cut at any moment leaves at worst counters that are too
 * high (formats.md 2.2, rules Q1 to Q11):
 *
 *   1. counters, and what is new and not yet referred to (data and zeroed tables are written
 *      already); flush
 *   2. the table of counter blocks, or where it is now; flush
 *   3. L2 and L1 entries; flush
 *   4. only now are counters of what they referred to before lowered, in memory, to be written by
 *      step 1 of a later commit; a cluster is not used anew while a request may still look at it.
 *
 * The lock is held throughout; requests that change no mapping go on meanwhile.
 *
 * With lazy reference counts the image is marked as dirty before the first of them changes, and
 * step 1 leaves them out; they are written when the image is closed.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/log.h"
#include "block/qcow2/qcow2.h"

static const size_t refs_cache = (size_t)1 << 20;

bool qcow2_is_meta(const struct qcow2 *q, uint64_t off, uint64_t n)
{
	for (uint64_t i = off / qcow2_cluster(q); n > 0; i++, n--) {
		if (g_hash_table_contains(q->meta, GSIZE_TO_POINTER(i)))
			return true;
	}
	return false;
}

void qcow2_add_meta(struct qcow2 *q, uint64_t off, uint64_t n)
{
	for (uint64_t i = off / qcow2_cluster(q); n > 0; i++, n--)
		g_hash_table_add(q->meta, GSIZE_TO_POINTER(i));
}

void qcow2_remove_meta(struct qcow2 *q, uint64_t off, uint64_t n)
{
	for (uint64_t i = off / qcow2_cluster(q); n > 0; i++, n--)
		g_hash_table_remove(q->meta, GSIZE_TO_POINTER(i));
}

/* Sets or clears bits of the features that must be understood. */
static co_fn int write_incompatible(struct block_node *node, uint64_t value)
{
	struct qcow2 *q = node->state;
	uint8_t field[8];
	int res;

	put_be64(field, value);
	res = block_pwrite(node->file, QH_INCOMPATIBLE, field, sizeof(field), 0);
	if (res == 0)
		res = block_flush(node->file);
	if (res == 0)
		q->h.incompatible = value;
	return res;
}

co_fn int qcow2_mark_dirty(struct block_node *node, bool dirty)
{
	struct qcow2 *q = node->state;
	uint64_t others = q->h.incompatible & ~(uint64_t)QCOW2_DIRTY;

	return q->h.version < 3 ? 0 : write_incompatible(node, others | (dirty ? QCOW2_DIRTY : 0));
}

co_fn int qcow2_broken(struct block_node *node, const char *what, uint64_t off)
{
	struct qcow2 *q = node->state;

	if (!q->broken) {
		log_line(LOG_ERROR, "block",
			 "%s: qcow2: %s (%" PRIu64 "); it takes no more writes, check it",
			 node->name, what, off);
	}
	if (!q->broken && q->h.version >= 3)
		write_incompatible(node, q->h.incompatible | QCOW2_CORRUPT);
	q->broken = true;
	return -EIO;
}

void qcow2_free_later(struct qcow2 *q, uint64_t off)
{
	struct qcow2_free f = {.cluster = off / qcow2_cluster(q)};

	g_array_append_val(q->freed, f);
}

void qcow2_free_entry(struct qcow2 *q, const struct qcow2_entry *e)
{
	uint64_t size = qcow2_cluster(q);

	if (e->compressed) {
		for (uint64_t i = e->host / size; i <= (e->host + e->bytes - 1) / size; i++)
			qcow2_free_later(q, i * size);
	} else if (e->has_host && !(q->h.incompatible & QCOW2_DATA_FILE)) {
		qcow2_free_later(q, e->host);
	}
}

/* Lowers the counters of what nothing refers to or looks at any more. */
static co_fn int apply_ripe(struct block_node *node)
{
	struct qcow2 *q = node->state;
	unsigned done = 0;
	int res = 0;

	block_epoch_advance(&node->epoch);
	while (done < q->ripe->len && res == 0 && !meta_cache_is_full(&q->refs)) {
		const struct qcow2_free *f = &g_array_index(q->ripe, struct qcow2_free, done);

		if (f->epoch + 2 > node->epoch.now)
			break;
		res = qcow2_ref_change(node, f->cluster, -1);
		done++;
	}
	g_array_remove_range(q->ripe, 0, done);
	return res;
}

/* What was freed becomes ripe: no durable table refers to it any more. */
static void ripen(struct block_node *node)
{
	struct qcow2 *q = node->state;

	for (unsigned i = 0; i < q->freed->len; i++) {
		struct qcow2_free f = g_array_index(q->freed, struct qcow2_free, i);

		f.epoch = node->epoch.now;
		g_array_append_val(q->ripe, f);
	}
	g_array_set_size(q->freed, 0);
	block_epoch_advance(&node->epoch);
}

/* Step 2. */
static co_fn int commit_reftable(struct block_node *node)
{
	struct qcow2 *q = node->state;
	uint8_t field[12];
	int res;

	if (!q->reftable_moves) {
		res = qcow2_table_write(&q->reftable, node->file, false);
		return res < 0 ? res : block_flush(node->file);
	}
	put_be64(field, q->reftable.off);
	put_be32(field + 8, q->h.reftable_clusters);
	res = block_pwrite(node->file, QH_REFTABLE_OFF, field, sizeof(field), 0);
	if (res == 0)
		res = block_flush(node->file);
	if (res < 0)
		return res;
	q->reftable_moves = false;
	qcow2_remove_meta(q, q->old_reftable_off, q->old_reftable_clusters);
	for (uint32_t i = 0; i < q->old_reftable_clusters; i++)
		qcow2_free_later(q, q->old_reftable_off + i * qcow2_cluster(q));
	return 0;
}

static co_fn int flush_files(struct block_node *node)
{
	struct qcow2 *q = node->state;
	int res = q->own_data ? block_flush(q->data) : 0;

	return res < 0 ? res : block_flush(node->file);
}

/* Step 1. */
static co_fn int commit_counters(struct block_node *node)
{
	struct qcow2 *q = node->state;
	bool marked = q->h.incompatible & QCOW2_DIRTY;
	bool later = q->lazy && !meta_cache_is_full(&q->refs);
	int res = 0;

	if (later && q->refs.n_dirty && !marked)
		res = qcow2_mark_dirty(node, true);
	if (!later)
		res = meta_cache_write(&q->refs, node->file);
	if (res == 0 && q->reftable_moves)
		res = qcow2_table_write(&q->reftable, node->file, true);
	if (res == 0 &&
	    (q->reftable_moves || q->reftable.any_dirty || q->l2.n_dirty || q->l1.any_dirty))
		res = flush_files(node);
	return res;
}

co_fn int qcow2_commit(struct block_node *node, bool durable)
{
	struct qcow2 *q = node->state;
	int res;

	if (q->broken)
		return -EIO;
	res = apply_ripe(node);
	if (res == 0)
		res = commit_counters(node);
	if (res == 0 && (q->reftable_moves || q->reftable.any_dirty))
		res = commit_reftable(node);
	if (res == 0)
		res = meta_cache_write(&q->l2, node->file);
	if (res == 0 && q->l1.any_dirty)
		res = qcow2_table_write(&q->l1, node->file, false);
	if (res == 0 && durable)
		res = flush_files(node);
	if (res == 0 && durable)
		ripen(node);
	return res;
}

co_fn int qcow2_settle(struct block_node *node)
{
	struct qcow2 *q = node->state;
	int res;

	q->lazy = false;
	res = qcow2_commit(node, true);
	if (res == 0 && q->h.incompatible & QCOW2_DIRTY)
		res = qcow2_mark_dirty(node, false);
	return res;
}

co_fn int qcow2_lock(struct block_node *node)
{
	struct qcow2 *q = node->state;

	co_mutex_lock(&q->lock);
	if (q->broken)
		return -EIO;
	if (meta_cache_is_full(&q->refs) || meta_cache_is_full(&q->l2))
		return qcow2_commit(node, false);
	return 0;
}

co_fn int qcow2_flush(struct block_node *node)
{
	struct qcow2 *q = node->state;
	int res = qcow2_lock(node);

	if (res == 0)
		res = qcow2_commit(node, true);
	co_mutex_unlock(&q->lock);
	return res;
}

static bool add_table(struct block_node *node, const char *what, uint64_t off, uint64_t bytes,
		      GError **error)
{
	struct qcow2 *q = node->state;
	uint64_t n = (bytes + qcow2_cluster(q) - 1) / qcow2_cluster(q);

	if (off & (qcow2_cluster(q) - 1) || off >= node->file->length) {
		return err_set(error, EINVAL,
			       "qcow2: the %s at offset %" PRIu64
			       " is outside of the file or no whole number of clusters; check it",
			       what, off);
	}
	if (qcow2_is_meta(q, off, n)) {
		return err_set(error, EINVAL,
			       "qcow2: the %s at offset %" PRIu64
			       " lies where another table does; check it",
			       what, off);
	}
	qcow2_add_meta(q, off, n);
	return true;
}

/* Where all tables are, so that nothing else is ever written there. */
bool qcow2_find_tables(struct block_node *node, GError **error)
{
	struct qcow2 *q = node->state;

	if (q->meta)
		g_hash_table_unref(q->meta);
	q->meta = g_hash_table_new(NULL, NULL);
	qcow2_add_meta(q, 0, 1);
	if (!add_table(node, "refcount table", q->reftable.off, (uint64_t)q->reftable.n * 8, error))
		return false;
	if (q->l1.n && !add_table(node, "L1 table", q->l1.off, (uint64_t)q->l1.n * 8, error))
		return false;
	for (uint32_t i = 0; i < q->reftable.n; i++) {
		uint64_t off = q->reftable.v[i] & ~(uint64_t)511;

		if (off && !add_table(node, "refcount block", off, 1, error))
			return false;
	}
	for (uint32_t i = 0; i < q->l1.n; i++) {
		uint64_t off = q->l1.v[i] & QCOW2_OFFSET;

		if (off && !add_table(node, "L2 table", off, 1, error))
			return false;
	}
	if (q->h.crypto_len &&
	    !add_table(node, "encryption header", q->h.crypto_off, q->h.crypto_len, error))
		return false;
	if (q->h.snapshots)
		qcow2_add_meta(q, q->h.snap_off,
			       (q->snap_table_len + qcow2_cluster(q) - 1) / qcow2_cluster(q));
	return true;
}

/* The data file reaches as far as the disk, so that writes there cannot be out of its range. */
static co_fn bool stretch_data(struct block_node *node, GError **error)
{
	struct qcow2 *q = node->state;
	int res = 0;

	if (!q->own_data)
		return true;
	if (!q->data->writable)
		return err_set(error, EROFS, "%s: is open read-only", q->data->name);
	if (q->data->length < q->h.size)
		res = block_truncate(q->data, q->h.size);
	return res == 0 ||
	       err_set_errno(error, -res, "%s: cannot be made as long as the disk", q->data->name);
}

/* Features that a writer who does not keep them up must clear, the bitmaps among them. */
static co_fn bool clear_autoclear(struct block_node *node, GError **error)
{
	struct qcow2 *q = node->state;
	uint64_t kept = q->h.autoclear & QCOW2_RAW_DATA;
	uint8_t field[8];
	int res;

	if (q->h.version < 3 || q->h.autoclear == kept)
		return true;
	put_be64(field, kept);
	res = block_pwrite(node->file, QH_AUTOCLEAR, field, sizeof(field), 0);
	if (res == 0)
		res = block_flush(node->file);
	if (res < 0)
		return err_set_errno(error, -res, "qcow2: the header cannot be written");
	q->h.autoclear = kept;
	g_array_set_size(q->bitmaps, 0);
	return true;
}

static co_fn bool repair_dirty(struct block_node *node, GError **error)
{
	struct block_check result = {0};
	struct qcow2 *q = node->state;

	if (!(q->h.incompatible & QCOW2_DIRTY))
		return true;
	if (!qcow2_check(node, BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS, &result, error))
		return false;
	if (q->h.incompatible & QCOW2_DIRTY) {
		return err_set(
			error, EIO,
			"qcow2: was not closed, and cannot be repaired without loss; check it");
	}
	return true;
}

co_fn bool qcow2_start_writing(struct block_node *node, GError **error)
{
	struct qcow2 *q = node->state;
	uint64_t size = qcow2_cluster(q);
	int res;

	if (q->h.incompatible & QCOW2_CORRUPT && !(node->flags & BLOCK_DAMAGED_TOO)) {
		return err_set(error, EIO,
			       "qcow2: is marked as corrupt; check and repair it, or open it "
			       "read-only");
	}
	if (!(node->flags & BLOCK_DAMAGED_TOO) && !repair_dirty(node, error))
		return false;
	if (!qcow2_table_init(&q->reftable, (uint32_t)(q->h.reftable_clusters * (size / 8)),
			      q->h.reftable_off) ||
	    !meta_cache_init(&q->refs, MIN(size, (uint64_t)4096), refs_cache))
		return err_set(error, ENOMEM, "qcow2: no memory for the reference counts");
	res = qcow2_table_read(&q->reftable, node->file);
	if (res < 0)
		return err_set_errno(error, -res, "qcow2: the refcount table cannot be read");
	q->freed = g_array_new(FALSE, FALSE, sizeof(struct qcow2_free));
	q->ripe = g_array_new(FALSE, FALSE, sizeof(struct qcow2_free));
	q->used_end = q->fresh_end = (node->file->length + size - 1) / size * size;
	if (node->flags & BLOCK_DAMAGED_TOO) {
		q->broken = true; /* only check writes, and it looks at the tables itself */
		return true;
	}
	q->lazy = q->h.version >= 3 && q->h.compatible & QCOW2_LAZY_REFCOUNTS;
	return qcow2_find_tables(node, error) && clear_autoclear(node, error) &&
	       stretch_data(node, error);
}

co_fn void qcow2_stop_writing(struct block_node *node)
{
	struct qcow2 *q = node->state;
	int res = 0;

	if (!q->meta)
		return;
	if (!q->broken) {
		res = qcow2_commit(node, true);
		/* No request runs any more: what is free can be said to be. */
		for (unsigned i = 0; i < 4 && res == 0; i++)
			res = qcow2_commit(node, true);
		while (q->ripe->len && res == 0)
			res = qcow2_commit(node, true);
		if (res == 0)
			res = qcow2_settle(node);
	}
	if (res == 0 && q->grown && q->used_end < node->file->length)
		res = block_truncate(node->file, q->used_end);
	if (res < 0)
		log_line(LOG_ERROR, "block", "%s: qcow2: closing: %s", node->name, strerror(-res));
}
