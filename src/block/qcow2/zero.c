/* Zeroing with giving space back, and changes of the size. */
#include "block/qcow2/qcow2.h"

#include <errno.h>

#include "base/bytes.h"

enum { RUN = 512 };

/* Whether something could show through where nothing is. */
static bool has_backing(const struct block_node *node)
{
	const struct qcow2 *q = node->state;

	return q->h.backing_name || node->backing;
}

/* Part of a cluster, [off, off + len). */
static co_fn int zero_part(struct block_node *node, uint64_t off, uint64_t len)
{
	struct qcow2_entry e;
	struct iovec one;
	struct iovs iov;
	void *zeros;
	int res;

	if (len == 0)
		return 0;
	res = qcow2_lookup(node, off, &e);
	if (res < 0 || qcow2_reads_zero(node, &e, off, len))
		return res;
	zeros = g_try_malloc0(len);
	if (!zeros)
		return -ENOMEM;
	iov = iovs_one(&one, zeros, len);
	res = qcow2_write(node, off, &iov);
	g_free(zeros);
	return res;
}

/* Whole clusters of one piece of a table. */
static co_fn int zero_run(struct block_node *node, uint64_t off, uint64_t n)
{
	struct qcow2 *q = node->state;
	uint64_t size = qcow2_cluster(q);
	bool hide = has_backing(node);
	const struct qcow2_link link = {.n = 1, .zeros = hide, .unmap = !hide};
	int res = qcow2_lock(node);

	for (uint64_t i = 0; i < n && res == 0; i++) {
		struct qcow2_entry e;

		res = qcow2_lookup(node, off + i * size, &e);
		if (res < 0 || (!e.has_host && !e.compressed &&
				(e.zero == qcow2_all(q) || (!e.zero && !hide))))
			continue;
		if (!meta_cache_is_full(&q->l2) && !meta_cache_is_full(&q->refs))
			res = qcow2_link(node, off / size + i, &link);
		else
			res = qcow2_commit(node, false);
	}
	co_mutex_unlock(&q->lock);
	return res;
}

static co_fn int zero_clusters(struct block_node *node, uint64_t off, uint64_t n)
{
	struct qcow2 *q = node->state;
	uint64_t size = qcow2_cluster(q), there;
	int res = 0;

	while (n > 0 && res == 0) {
		struct qcow2_job job = {.first = off / size};
		const uint8_t *data;

		res = qcow2_entries(node, off, &data, &there);
		if (res < 0)
			break;
		job.n = MIN(n, data ? MIN(there, (uint64_t)RUN) : there);
		if (!data && !has_backing(node)) {
			off += job.n * size;
			n -= job.n;
			continue;
		}
		job.n = MIN(job.n, (uint64_t)RUN);
		if (qcow2_job_waits(q, &job))
			continue;
		res = zero_run(node, off, job.n);
		qcow2_job_done(q, &job);
		off += job.n * size;
		n -= job.n;
	}
	return res;
}

/* In a data file the bytes go as well: to give back their space, or because it is to be a disk by
 * itself. */
static co_fn int zero_data_file(struct block_node *node, uint64_t off, uint64_t len)
{
	struct qcow2 *q = node->state;
	uint64_t length = q->data->length;

	return off < length ? block_discard_zero(q->data, off, MIN(len, length - off)) : 0;
}

static co_fn int zero_range(struct block_node *node, uint64_t off, uint64_t len)
{
	struct qcow2 *q = node->state;
	uint64_t size = qcow2_cluster(q), end = off + len;
	uint64_t head = MIN(len, (size - off % size) % size), first = off + head, n;
	int res = 0;

	if (q->h.version < 3 && has_backing(node))
		return -ENOTSUP; /* nothing could hide what lies below */
	if (q->broken)
		return -EIO;
	if (q->own_data && q->h.autoclear & QCOW2_RAW_DATA)
		return q->crypt ? -ENOTSUP : zero_data_file(node, off, len);
	n = (end - first) / size;
	if (end == node->length)
		n = (end - first + size - 1) / size; /* nothing is behind it */
	if (q->own_data)
		res = zero_data_file(node, first, MIN(n * size, end - first));
	if (res == 0)
		res = zero_part(node, off, head);
	if (res == 0)
		res = zero_clusters(node, first, n);
	first = MIN(first + n * size, end);
	return res < 0 ? res : zero_part(node, first, end - first);
}

co_fn int qcow2_discard_zero(struct block_node *node, uint64_t off, uint64_t len)
{
	struct qcow2 *q = node->state;
	int res;

	co_rwlock_rdlock(&q->changing);
	res = zero_range(node, off, len);
	co_rwlock_unlock(&q->changing);
	return res;
}

/* A longer L1 table elsewhere; the header names it in one write, then the old one is free. */
static co_fn int grow_l1(struct block_node *node, uint64_t entries)
{
	struct qcow2 *q = node->state;
	uint64_t size = qcow2_cluster(q), n = (entries * 8 + size - 1) / size, off, got;
	struct qcow2_table bigger = {0}, old = q->l1;
	uint8_t field[12];
	int res = qcow2_commit(node, true);

	if (res < 0)
		return res;
	res = qcow2_alloc(node, n, n, &off, &got);
	if (res == 0)
		res = qcow2_zero_clusters(node, off, n);
	if (res < 0)
		return res;
	q->fresh_end = MAX(q->fresh_end, off + n * size);
	if (!qcow2_table_init(&bigger, (uint32_t)entries, off)) {
		qcow2_table_fini(&bigger);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < old.n; i++)
		bigger.v[i] = old.v[i];
	res = qcow2_table_write(&bigger, node->file, true);
	if (res == 0)
		res = qcow2_commit(node, true);
	put_be32(field, bigger.n);
	put_be64(field + 4, off);
	if (res == 0)
		res = block_pwrite(node->file, QH_L1_ENTRIES, field, sizeof(field), 0);
	if (res == 0)
		res = block_flush(node->file);
	if (res < 0) {
		qcow2_table_fini(&bigger);
		return res;
	}
	n = ((uint64_t)old.n * 8 + size - 1) / size;
	qcow2_remove_meta(q, old.off, n);
	for (uint64_t i = 0; i < n; i++)
		qcow2_free_later(q, old.off + i * size);
	q->l1 = bigger;
	qcow2_add_meta(q, off, got);
	qcow2_table_fini(&old);
	return 0;
}

/* An L1 table for a disk of len bytes. */
static co_fn int make_room(struct block_node *node, uint64_t len)
{
	struct qcow2 *q = node->state;
	uint64_t by_l1 = qcow2_l2_entries(q) * qcow2_cluster(q);
	uint64_t entries = len / by_l1 + (len % by_l1 > 0);
	int res = entries > QCOW2_MAX_L1 / 8 ? -EFBIG : qcow2_lock(node);

	if (entries > QCOW2_MAX_L1 / 8)
		return res;
	if (res == 0 && entries > q->l1.n)
		res = grow_l1(node, entries);
	co_mutex_unlock(&q->lock);
	return res;
}

/* Last of all, when everything that it covers is as it must be. */
static co_fn int set_size(struct block_node *node, uint64_t len)
{
	struct qcow2 *q = node->state;
	uint8_t field[8];
	int res = qcow2_flush(node);

	put_be64(field, len);
	if (res == 0)
		res = block_pwrite(node->file, QH_SIZE, field, sizeof(field), 0);
	if (res == 0)
		res = block_flush(node->file);
	if (res == 0)
		q->h.size = len;
	return res;
}

static co_fn int resize(struct block_node *node, uint64_t len)
{
	struct qcow2 *q = node->state;
	uint64_t old = node->length, shown = node->backing ? node->backing->length : 0;
	int res;

	if (len % QCOW2_SECTOR)
		return -EINVAL;
	if (q->h.backing_name && !node->backing && len > old)
		return -ENOTSUP; /* who knows what would show through */
	if (q->h.snapshots && (len < old || q->h.version < 3))
		return -ENOTSUP;
	if (len < old) {
		res = zero_range(node, len, old - len);
		if (res == 0)
			res = set_size(node, len);
		return res == 0 && q->own_data && q->data->length > len
			       ? block_truncate(q->data, len)
			       : res;
	}
	res = make_room(node, len);
	if (res == 0 && q->own_data && q->data->length < len)
		res = block_truncate(q->data, len);
	if (res == 0 && shown > old) {
		/* What a longer backing file has there must not show. */
		node->length = len;
		res = q->h.version < 3 ? -ENOTSUP : zero_range(node, old, MIN(len, shown) - old);
		node->length = old;
	}
	return res < 0 ? res : set_size(node, len);
}

co_fn int qcow2_truncate(struct block_node *node, uint64_t len)
{
	struct qcow2 *q = node->state;
	int res;

	co_rwlock_wrlock(&q->changing);
	res = resize(node, len);
	co_rwlock_unlock(&q->changing);
	return res;
}
