/*
 * Writes. What is mapped and not shared is written where it is. Into clusters that are there, but
 * for the subclusters that are touched, the data go as well, with what surrounds them, and the
 * entries are set afterwards. Otherwise clusters are allocated for that. Requests that set entries
 * of the same clusters wait for each other.
 */
#include "block/qcow2/qcow2.h"

#include <errno.h>

#include "base/bytes.h"

enum { RUN_BYTES = 4 << 20, RUN_CLUSTERS = 1024, PIECES = 16 };

enum how { IN_PLACE, FILL, NEW };

/* What comes next of a write. */
struct plan {
	enum how how;
	uint64_t host; /* of the first cluster; NEW: not yet known */
	uint64_t len;
	uint64_t n;             /* clusters */
	uint64_t before, after; /* bytes around it that must be written as well */
	uint32_t first, last;   /* subclusters of the first and last one that will be data then */
};

/* The subclusters that bytes [from, to) of a cluster touch. */
static uint32_t touched(const struct qcow2 *q, uint64_t from, uint64_t to)
{
	uint64_t sub = qcow2_cluster(q) / qcow2_subclusters(q);
	unsigned a = (unsigned)(from / sub), b = (unsigned)((to - 1) / sub);

	return (uint32_t)(((uint64_t)2 << b) - ((uint64_t)1 << a));
}

/* Whether the host cluster belongs to this entry alone. */
static bool is_own(const struct qcow2 *q, const struct qcow2_entry *e, uint64_t off)
{
	if (e->compressed || !e->has_host)
		return false;
	if (q->h.incompatible & QCOW2_DATA_FILE)
		return e->host == off - off % qcow2_cluster(q);
	return e->copied;
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

bool qcow2_is_data(const struct qcow2 *q, const struct qcow2_entry *e, uint64_t off, uint64_t len)
{
	uint64_t within = off % qcow2_cluster(q);
	uint32_t mask = within + len <= qcow2_cluster(q) ? touched(q, within, within + len) : 0;

	return mask && (e->data & mask) == mask;
}

bool qcow2_reads_zero(const struct block_node *node, const struct qcow2_entry *e, uint64_t off,
		      uint64_t len)
{
	const struct qcow2 *q = node->state;
	uint64_t within = off % qcow2_cluster(q);
	uint32_t mask = touched(q, within, within + len);

	if (e->compressed || e->data & mask)
		return false;
	return (e->zero & mask) == mask || !node->backing || off >= node->backing->length;
}

/* What of [from, to), bytes of the cluster at off, can be written how. */
static enum how how_to_write(const struct qcow2 *q, const struct qcow2_entry *e, uint64_t off,
			     uint64_t from, uint64_t to)
{
	uint32_t mask = touched(q, from, to);

	if (!is_own(q, e, off))
		return NEW;
	return (e->data & mask) == mask && from % q->grain == 0 && to % q->grain == 0 ? IN_PLACE
										      : FILL;
}

/*
 * How far the data must be extended in a cluster so that what surrounds them stays: to the border
 * of the subcluster if it is no data yet, to that of the cluster if all of it moves. at: the byte
 * that the data begin at, or the last one.
 */
static uint64_t reach_of(const struct qcow2 *q, const struct qcow2_entry *e, enum how how,
			 uint64_t at)
{
	uint64_t size = qcow2_cluster(q), sub = size / qcow2_subclusters(q);

	if (how == NEW)
		return e->compressed || e->data ? size : sub;
	return e->data >> at / sub & 1 ? q->grain : sub;
}

static void plan_edges(const struct qcow2 *q, const struct qcow2_entry *first,
		       const struct qcow2_entry *last, uint64_t within, struct plan *p)
{
	uint64_t size = qcow2_cluster(q), end = (within + p->len - 1) % size + 1, reach;

	reach = reach_of(q, first, p->how, within);
	p->before = within % reach;
	reach = reach_of(q, last, p->how, end - 1);
	p->after = (reach - end % reach) % reach;
	p->first = touched(q, within - p->before, p->n > 1 ? size : within + p->len + p->after);
	p->last = touched(q, p->n > 1 ? 0 : within - p->before, end + p->after);
}

/* Entries that can be handled as the first one can, into p: how many. 0: *res says why. */
static uint64_t count_alike(const struct qcow2 *q, const uint8_t *data, uint64_t off, uint64_t len,
			    uint64_t n, struct qcow2_entry *first, struct qcow2_entry *last,
			    struct plan *p, int *res)
{
	uint64_t size = qcow2_cluster(q), within = off % size, start = off - within, i;

	for (i = 0; i < n; i++) {
		uint64_t from = i ? 0 : within, to = MIN(size, within + len - i * size);
		struct qcow2_entry e = {0};
		enum how how;

		*res = data ? qcow2_decode_at(q, data + i * qcow2_entry_len(q), &e) : 0;
		if (*res < 0)
			break;
		how = how_to_write(q, &e, start + i * size, from, to);
		if (i == 0) {
			*first = e;
			p->how = how;
		} else if (how != p->how || (how != NEW && e.host != first->host + i * size)) {
			break;
		}
		*last = e;
	}
	return i;
}

static co_fn int make_plan(struct block_node *node, uint64_t off, uint64_t len, struct plan *p)
{
	struct qcow2 *q = node->state;
	uint64_t size = qcow2_cluster(q), within = off % size, n, most;
	uint64_t per_piece = q->l2.piece_len / qcow2_entry_len(q);
	struct qcow2_entry first = {0}, last = {0};
	const uint8_t *data;
	int res = qcow2_entries(node, off, &data, &n);

	*p = (struct plan){0};
	if (res < 0)
		return res;
	most = MAX(MIN((uint64_t)RUN_CLUSTERS, RUN_BYTES / size), 1);
	n = MIN(n, (within + len + size - 1) / size);
	n = MIN(n, per_piece - off / size % per_piece);
	p->n = count_alike(q, data, off, len, n, &first, &last, p, &res);
	if (p->n == 0)
		return res;
	if (p->how != IN_PLACE && p->n > most) {
		p->n = most; /* and its last one is written as a whole */
		last = first;
	}
	p->host = first.host;
	p->len = MIN(len, p->n * size - within);
	plan_edges(q, &first, &last, within, p);
	return 0;
}

/* len bytes of iov from skip on, to host; before and after: what goes around them. */
static co_fn int write_part(struct block_node *node, uint64_t host, const struct iovs *iov,
			    size_t skip, size_t len, const struct iovec *before,
			    const struct iovec *after)
{
	struct qcow2 *q = node->state;
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
	res = q->crypt ? qcow2_write_encrypted(node, host, &all)
		       : block_pwritev(q->data, host, &all, 0);
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
	return meta_cache_edit(&q->l2, node->file, off + cluster % per * qcow2_entry_len(q), data);
}

/* The bitmap of entry i of a link over what was e. */
static uint64_t link_bitmap(const struct qcow2_link *l, uint64_t i, const struct qcow2_entry *e)
{
	uint32_t data = (i ? UINT32_MAX : l->first) & (i < l->n - 1 ? UINT32_MAX : l->last);

	if (l->zeros)
		return (uint64_t)UINT32_MAX << 32;
	if (l->keep)
		data |= e->data;
	return (uint64_t)(e->zero & ~data) << 32 | data;
}

co_fn int qcow2_link(struct block_node *node, uint64_t cluster, const struct qcow2_link *l)
{
	struct qcow2 *q = node->state;
	unsigned len = qcow2_entry_len(q);
	uint64_t value = l->value;
	uint8_t *data;
	int res = edit_entries(node, cluster, &data);

	if (res < 0)
		return res;
	if (l->zeros && len == 8)
		value = QCOW2_ZERO;
	for (uint64_t i = 0; i < l->n; i++, data += len, value += l->step) {
		struct qcow2_entry e;

		/* What cannot be read refers to nothing that could be freed. */
		if (qcow2_decode_at(q, data, &e) == 0 && !l->keep)
			qcow2_free_entry(q, &e);
		put_be64(data, value);
		if (len == 16)
			put_be64(data + 8, l->unmap ? 0 : link_bitmap(l, i, &e));
	}
	return 0;
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
	if (res < 0 || (fresh && qcow2_reads_zero(node, &e, off, len)))
		return res;
	*side = (struct iovec){g_try_malloc(len), len};
	if (!side->iov_base)
		return -ENOMEM;
	return block_read_mapped(node, off, &iov);
}

static co_fn int write_around(struct block_node *node, uint64_t off, const struct plan *p,
			      uint64_t host, bool fresh, const struct iovs *iov, size_t skip)
{
	uint64_t within = off % qcow2_cluster(node->state);
	struct around a = {0};
	int res = read_side(node, off - p->before, p->before, fresh, &a.before);

	if (res == 0)
		res = read_side(node, off + p->len, p->after, fresh, &a.after);
	if (res == 0)
		res = write_part(node, host + within - a.before.iov_len, iov, skip, p->len,
				 &a.before, &a.after);
	g_free(a.before.iov_base);
	g_free(a.after.iov_base);
	return res;
}

static co_fn int link_plan(struct block_node *node, uint64_t off, const struct plan *p,
			   uint64_t host)
{
	struct qcow2 *q = node->state;
	struct qcow2_link l = {.value = host | QCOW2_COPIED,
			       .step = qcow2_cluster(q),
			       .n = p->n,
			       .first = p->first,
			       .last = p->last,
			       .keep = p->how == FILL};

	return qcow2_link(node, off / qcow2_cluster(q), &l);
}

/* Into clusters that are there: the plan's clusters are this request's own now. */
static co_fn int fill_and_write(struct block_node *node, uint64_t off, const struct plan *p,
				const struct iovs *iov, size_t skip)
{
	struct qcow2 *q = node->state;
	int res = write_around(node, off, p, p->host, false, iov, skip), locked;

	if (res < 0)
		return res;
	locked = qcow2_lock(node);
	if (locked == 0)
		res = link_plan(node, off, p, p->host);
	co_mutex_unlock(&q->lock);
	return locked < 0 ? locked : res;
}

/* Clusters for the plan, which may become shorter; *fresh: they hold zeros. */
static co_fn int allocate(struct block_node *node, uint64_t off, struct plan *p, uint64_t *host,
			  bool *fresh)
{
	struct qcow2 *q = node->state;
	uint64_t size = qcow2_cluster(q), got = 0;
	int res;

	*fresh = false;
	*host = off - off % size;
	if (q->h.incompatible & QCOW2_DATA_FILE)
		return q->broken ? -EIO : 0;
	res = qcow2_lock(node);
	if (res == 0)
		res = qcow2_alloc(node, p->n, 1, host, &got);
	if (res == 0) {
		*fresh = *host >= q->fresh_end && !q->crypt;
		q->fresh_end = MAX(q->fresh_end, *host + got * size);
	}
	co_mutex_unlock(&q->lock);
	if (res < 0 || got == p->n)
		return res;
	p->n = got;
	p->len = MIN(p->len, got * size - off % size);
	p->after = 0;
	p->last = UINT32_MAX;
	if (got == 1)
		p->last = p->first |= touched(q, off % size, size);
	return 0;
}

static co_fn int allocate_and_write(struct block_node *node, uint64_t off, struct plan *p,
				    const struct iovs *iov, size_t skip)
{
	struct qcow2 *q = node->state;
	uint64_t host = 0;
	bool fresh = false;
	int res = allocate(node, off, p, &host, &fresh), locked;

	if (res < 0)
		return res;
	res = write_around(node, off, p, host, fresh, iov, skip);
	locked = qcow2_lock(node);
	if (res == 0)
		res = locked;
	if (res == 0)
		res = link_plan(node, off, p, host);
	if (res < 0 && !(q->h.incompatible & QCOW2_DATA_FILE))
		qcow2_unalloc(node, host, p->n);
	co_mutex_unlock(&q->lock);
	return res;
}

/*
 * Nothing that is a table may ever be written to as data; and what other programs have written may
 * end within the last cluster.
 */
static co_fn int check_target(struct block_node *node, const struct plan *p)
{
	struct qcow2 *q = node->state;
	uint64_t end = p->host + p->n * qcow2_cluster(q);
	int res;

	if (q->broken)
		return -EIO;
	if (p->how == NEW || q->h.incompatible & QCOW2_DATA_FILE)
		return 0;
	if (qcow2_is_meta(q, p->host, p->n))
		return qcow2_broken(node, "an entry points at a table", p->host);
	if (end <= node->file->length)
		return 0;
	if (p->host >= q->fresh_end)
		return qcow2_broken(node, "an entry points behind the end of the file", p->host);
	res = qcow2_lock(node);
	if (res == 0)
		res = qcow2_reach(node, end);
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
	res = check_target(node, &p);
	if (res < 0)
		return res;
	if (p.how == IN_PLACE) {
		if (p.len == iov->len && !q->crypt)
			res = block_pwritev(q->data, p.host + off % size, iov, 0);
		else
			res = write_part(node, p.host + off % size, iov, skip, p.len, NULL, NULL);
		return res < 0 ? res : (int64_t)p.len;
	}
	job.first = off / size;
	job.n = p.n;
	if (qcow2_job_waits(q, &job))
		return 0;
	if (p.how == FILL)
		res = fill_and_write(node, off, &p, iov, skip);
	else
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
