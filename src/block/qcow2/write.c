/*
 * Writes. What is mapped and not shared is written where it is. Otherwise clusters are allocated,
 * the data (with what the cluster held around them) are written there, and then the entries are
 * set; requests for the same clusters wait meanwhile.
 */
#include "block/qcow2/qcow2.h"

#include <errno.h>

#include "base/bytes.h"

enum { RUN_BYTES = 4 << 20, RUN_CLUSTERS = 1024, PIECES = 16 };

/* What comes next of a write. */
struct plan {
	bool in_place;
	uint64_t host; /* in place: of the first byte */
	uint64_t len;
	uint64_t n; /* clusters to allocate */
};

static bool is_mapped(const struct qcow2_entry *e)
{
	return e->data && e->copied && !e->compressed;
}

co_fn bool qcow2_job_waits(struct qcow2 *q, struct qcow2_job *job)
{
	for (struct qcow2_job *j = q->jobs; j; j = j->next) {
		if (j->first < job->first + job->n && job->first < j->first + j->n) {
			co_queue_wait(&j->waiting);
			return true;
		}
	}
	job->next = q->jobs;
	q->jobs = job;
	return false;
}

void qcow2_job_done(struct qcow2 *q, struct qcow2_job *job)
{
	struct qcow2_job **at = &q->jobs;

	while (*at != job)
		at = &(*at)->next;
	*at = job->next;
	co_queue_wake_all(&job->waiting);
}

bool qcow2_reads_zero(const struct block_node *node, const struct qcow2_entry *e, uint64_t off)
{
	if (e->compressed || e->data)
		return false;
	return e->zero || !node->backing || off >= node->backing->length;
}

static co_fn int make_plan(struct block_node *node, uint64_t off, uint64_t len, struct plan *p)
{
	struct qcow2 *q = node->state;
	uint64_t size = qcow2_cluster(q), within = off % size, n, most;
	uint64_t per_piece = q->l2.piece_len / 8;
	struct qcow2_entry first = {0}, e = {0};
	const uint8_t *data;
	int res = qcow2_entries(node, off, &data, &n);
	uint64_t i = 0;

	*p = (struct plan){0};
	if (res < 0)
		return res;
	n = MIN(n, (within + len + size - 1) / size);
	n = MIN(n, per_piece - off / size % per_piece);
	for (; i < n; i++) {
		uint64_t raw[2] = {data ? get_be64(data + i * 8) : 0, 0};

		res = qcow2_decode(&q->h, raw, &e);
		if (i == 0)
			first = e;
		if (res < 0 || is_mapped(&e) != is_mapped(&first) ||
		    (is_mapped(&e) && e.host != first.host + i * size))
			break;
	}
	if (i == 0)
		return res;
	p->in_place = is_mapped(&first);
	p->host = first.host + within;
	most = MAX(MIN((uint64_t)RUN_CLUSTERS, RUN_BYTES / size), 1);
	p->n = p->in_place ? i : MIN(i, most);
	p->len = MIN(len, p->n * size - within);
	return 0;
}

/* len bytes of iov from skip on, to off of child; before and after: what goes around them. */
static co_fn int write_part(struct block_node *child, uint64_t off, const struct iovs *iov,
			    size_t skip, size_t len, const struct iovec *before,
			    const struct iovec *after)
{
	struct iovec small[PIECES], *v = small;
	struct iovs all;
	unsigned n = 0;
	int res;

	if (iov->n + 2 > PIECES)
		v = g_new(struct iovec, iov->n + 2);
	if (before && before->iov_len)
		v[n++] = *before;
	n += iovs_slice(iov, skip, len, v + n, iov->n);
	if (after && after->iov_len)
		v[n++] = *after;
	all = (struct iovs){v, n, iovs_sum(v, n)};
	res = block_pwritev(child, off, &all, 0);
	if (v != small)
		g_free(v);
	return res;
}

/* The piece of the L2 table for a cluster, in a table of its own, to be changed. */
static co_fn int edit_entries(struct block_node *node, uint64_t cluster, uint8_t **data)
{
	struct qcow2 *q = node->state;
	uint64_t per = qcow2_l2_entries(q), size = qcow2_cluster(q);
	uint32_t i = (uint32_t)(cluster / per);
	uint64_t old = q->l1.v[i], off = old & QCOW2_OFFSET;
	int res = 0;

	if (!off || !(old & QCOW2_COPIED)) {
		res = qcow2_alloc_table(node, &off);
		if (res == 0 && old & QCOW2_OFFSET) {
			uint8_t *table = g_try_malloc(size);

			res = table ? block_pread(node->file, old & QCOW2_OFFSET, table, size)
				    : -ENOMEM;
			if (res == 0)
				res = block_pwrite(node->file, off, table, size, 0);
			g_free(table);
		}
		if (res < 0)
			return res;
		if (old & QCOW2_OFFSET) {
			qcow2_remove_meta(q, old & QCOW2_OFFSET, 1);
			qcow2_free_later(q, old & QCOW2_OFFSET);
		}
		qcow2_table_set(&q->l1, i, off | QCOW2_COPIED);
	}
	return meta_cache_edit(&q->l2, node->file, off + cluster % per * 8, data);
}

co_fn int qcow2_link(struct block_node *node, uint64_t cluster, uint64_t n, uint64_t value,
		     uint64_t step)
{
	struct qcow2 *q = node->state;
	uint8_t *data;
	int res = edit_entries(node, cluster, &data);

	for (uint64_t i = 0; i < n && res == 0; i++) {
		uint64_t raw[2] = {get_be64(data + i * 8), 0};
		struct qcow2_entry e;

		/* What cannot be read refers to nothing that could be freed. */
		if (qcow2_decode(&q->h, raw, &e) == 0)
			qcow2_free_entry(q, &e);
		put_be64(data + i * 8, value + i * step);
	}
	return res;
}

/* What the clusters hold before and behind the data to be written. */
struct around {
	struct iovec before, after;
};

static co_fn int read_side(struct block_node *node, uint64_t off, uint64_t len, bool fresh,
			   struct iovec *side)
{
	struct iovs iov = {side, 1, len};
	struct qcow2_entry e;
	int res;

	*side = (struct iovec){0};
	if (len == 0)
		return 0;
	res = qcow2_lookup(node, off, &e);
	if (res < 0 || (fresh && qcow2_reads_zero(node, &e, off)))
		return res;
	*side = (struct iovec){g_try_malloc(len), len};
	if (!side->iov_base)
		return -ENOMEM;
	return block_read_mapped(node, off, &iov);
}

static co_fn int write_new(struct block_node *node, uint64_t off, const struct plan *p,
			   uint64_t host, bool fresh, const struct iovs *iov, size_t skip)
{
	struct qcow2 *q = node->state;
	uint64_t size = qcow2_cluster(q), within = off % size, end = within + p->len;
	uint64_t behind = (size - end % size) % size;
	struct around a = {0};
	int res = read_side(node, off - within, within, fresh, &a.before);

	if (res == 0)
		res = read_side(node, off + p->len, behind, fresh, &a.after);
	if (res == 0)
		res = write_part(q->data, host + within - a.before.iov_len, iov, skip, p->len,
				 &a.before, &a.after);
	g_free(a.before.iov_base);
	g_free(a.after.iov_base);
	return res;
}

/* The plan's clusters are this request's own now. */
static co_fn int allocate_and_write(struct block_node *node, uint64_t off, struct plan *p,
				    const struct iovs *iov, size_t skip)
{
	struct qcow2 *q = node->state;
	uint64_t size = qcow2_cluster(q), host = 0, got = 0;
	bool fresh = false;
	int res = qcow2_lock(node), locked;

	if (res == 0)
		res = qcow2_alloc(node, p->n, 1, &host, &got);
	if (res == 0) {
		fresh = host >= q->fresh_end;
		q->fresh_end = MAX(q->fresh_end, host + got * size);
	}
	co_mutex_unlock(&q->lock);
	if (res < 0)
		return res;
	p->n = got;
	p->len = MIN(p->len, got * size - off % size);
	res = write_new(node, off, p, host, fresh, iov, skip);
	locked = qcow2_lock(node);
	if (res == 0)
		res = locked;
	if (res == 0)
		res = qcow2_link(node, off / size, got, host | QCOW2_COPIED, size);
	if (res < 0)
		qcow2_unalloc(node, host, got);
	co_mutex_unlock(&q->lock);
	return res;
}

/* As much of it as one step can do: bytes done or -errno; 0: look again. */
static co_fn int64_t write_some(struct block_node *node, uint64_t off, const struct iovs *iov,
				size_t skip)
{
	struct qcow2 *q = node->state;
	uint64_t size = qcow2_cluster(q);
	struct qcow2_job job = {0};
	struct plan p;
	int res = make_plan(node, off, iov->len - skip, &p);

	if (res < 0)
		return res;
	if (p.in_place) {
		uint64_t first = p.host - p.host % size;

		if (q->broken)
			return -EIO;
		if (qcow2_is_meta(q, first, p.n))
			return qcow2_broken(node, "an entry points at a table", first);
		if (p.len == iov->len)
			res = block_pwritev(q->data, p.host, iov, 0);
		else
			res = write_part(q->data, p.host, iov, skip, p.len, NULL, NULL);
		return res < 0 ? res : (int64_t)p.len;
	}
	job.first = off / size;
	job.n = p.n;
	if (qcow2_job_waits(q, &job))
		return 0;
	res = allocate_and_write(node, off, &p, iov, skip);
	qcow2_job_done(q, &job);
	return res < 0 ? res : (int64_t)p.len;
}

co_fn int qcow2_write(struct block_node *node, uint64_t off, const struct iovs *iov)
{
	size_t done = 0;

	while (done < iov->len) {
		int64_t n = write_some(node, off + done, iov, done);

		if (n < 0)
			return (int)n;
		done += (size_t)n;
	}
	return 0;
}

co_fn int qcow2_pwritev(struct block_node *node, uint64_t off, const struct iovs *iov,
			unsigned flags)
{
	struct qcow2 *q = node->state;
	int res;

	co_rwlock_rdlock(&q->changing);
	res = qcow2_write(node, off, iov);
	co_rwlock_unlock(&q->changing);
	if (res < 0)
		return res;
	return flags & BLOCK_FUA ? qcow2_flush(node) : 0;
}
