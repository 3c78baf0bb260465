/*
 * Writes. A grain that is there is written where it is; otherwise one is added at the end of the
 * file, with what it held around the data, and then entries are set (tables.c). Requests for the
 * same grains wait meanwhile.
 */
#include <errno.h>

#include "base/bytes.h"
#include "block/vmdk/vmdk.h"

enum { RUN_BYTES = 4 << 20, PIECES = 16, ENTRY = 4 };

/* What comes next of a write to a sparse extent. */
struct plan {
	uint64_t host; /* of the first byte; 0: grains are to be added */
	uint64_t len;
	uint64_t n; /* grains */
};

static co_fn bool job_waits(struct vmdk *v, struct vmdk_job *job)
{
	for (struct vmdk_job *j = v->jobs; j; j = j->next) {
		if (j->off < job->off + job->len && job->off < j->off + j->len) {
			co_queue_wait(&j->waiting);
			return true;
		}
	}
	job->next = v->jobs;
	v->jobs = job;
	return false;
}

static void job_done(struct vmdk *v, struct vmdk_job *job)
{
	struct vmdk_job **at = &v->jobs;

	while (*at != job)
		at = &(*at)->next;
	*at = job->next;
	co_queue_wake_all(&job->waiting);
}

static bool has_backing(const struct block_node *node)
{
	return node->backing_name || node->backing;
}

/* Whether a grain without a place in the file reads as zeros; off: of the disk. */
static bool reads_zero(const struct block_node *node, const struct vmdk_extent *e, uint32_t entry,
		       uint64_t off)
{
	if (vmdk_entry_host(e, entry))
		return false;
	return vmdk_entry_zero(e, entry) || !node->backing || off >= node->backing->length;
}

static co_fn int lookup(struct vmdk_extent *e, uint64_t off, uint32_t *entry)
{
	const uint8_t *data;
	uint64_t n;
	int res = vmdk_entries(e, off, &data, &n);

	if (res == 0)
		*entry = data ? get_le32(data) : VMDK_UNUSED;
	return res;
}

/* off: of the extent. */
static co_fn int make_plan(struct vmdk_extent *e, uint64_t off, uint64_t len, struct plan *p)
{
	uint64_t grain = vmdk_grain(e), within = off % grain, n, host = 0, i = 0;
	uint64_t most = MAX(RUN_BYTES / grain, (uint64_t)1);
	const uint8_t *data;
	int res = vmdk_entries(e, off, &data, &n);

	if (res < 0)
		return res;
	n = MIN(n, (within + len + grain - 1) / grain);
	if (data)
		host = vmdk_entry_host(e, get_le32(data));
	/* Without a table, no more than what lies in one sector of the one to be. */
	if (!data)
		n = MIN(n, VMDK_SECTOR / ENTRY - off / grain % e->h.table % (VMDK_SECTOR / ENTRY));
	for (i = 1; i < n && (host || i < most); i++) {
		uint64_t next = data ? vmdk_entry_host(e, get_le32(data + i * ENTRY)) : 0;

		if (host ? next != host + i * grain : next != 0)
			break;
	}
	p->n = i;
	p->host = host ? host + within : 0;
	p->len = MIN(len, i * grain - within);
	return 0;
}

/* len bytes of iov from skip on, to off of the file; before and after: what goes around them. */
static co_fn int write_part(struct block_node *file, uint64_t off, const struct iovs *iov,
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
	res = block_pwritev(file, off, &all, 0);
	if (v != small)
		g_free(v);
	return res;
}

/* What a grain to be added holds beside the data; nothing where that is zeros. */
static co_fn int read_side(struct block_node *node, struct vmdk_extent *e, uint64_t off,
			   uint64_t len, struct iovec *side)
{
	struct iovs iov = {side, 1, len};
	uint32_t entry = VMDK_UNUSED;
	int res;

	*side = (struct iovec){0};
	if (len == 0 || off >= e->len)
		return 0;
	len = iov.len = MIN(len, e->len - off);
	res = lookup(e, off, &entry);
	if (res < 0 || reads_zero(node, e, entry, e->start + off))
		return res;
	*side = (struct iovec){g_try_malloc(len), len};
	if (!side->iov_base)
		return -ENOMEM;
	return block_read_mapped(node, e->start + off, &iov);
}

static co_fn int write_new(struct block_node *node, struct vmdk_extent *e, uint64_t off,
			   const struct plan *p, uint64_t host, const struct iovs *iov, size_t skip)
{
	uint64_t grain = vmdk_grain(e), within = off % grain;
	uint64_t behind = p->n * grain - within - p->len;
	struct iovec before, after = {0};
	int res = read_side(node, e, off - within, within, &before);

	if (res == 0)
		res = read_side(node, e, off + p->len, behind, &after);
	if (res == 0)
		res = write_part(e->file, host + within - before.iov_len, iov, skip, p->len,
				 &before, &after);
	g_free(before.iov_base);
	g_free(after.iov_base);
	return res;
}

/* The plan's grains are this request's own now. */
static co_fn int add_and_write(struct block_node *node, struct vmdk_extent *e, uint64_t off,
			       const struct plan *p, const struct iovs *iov, size_t skip)
{
	struct vmdk *v = node->state;
	uint64_t grain = vmdk_grain(e), host = 0;
	int res = vmdk_lock(node), locked;

	if (res == 0)
		res = vmdk_alloc(e, p->n * grain, &host);
	co_mutex_unlock(&v->lock);
	if (res == 0)
		res = write_new(node, e, off, p, host, iov, skip);
	if (res < 0)
		return res;
	locked = vmdk_lock(node);
	res = locked < 0 ? locked
			 : vmdk_link(node, e, off, p->n, (uint32_t)(host / VMDK_SECTOR),
				     (uint32_t)e->h.grain);
	co_mutex_unlock(&v->lock);
	return res;
}

static co_fn int write_in_place(struct block_node *node, struct vmdk_extent *e,
				const struct plan *p, const struct iovs *iov, size_t skip)
{
	struct vmdk *v = node->state;
	int res = 0;

	if (p->host < e->h.overhead * VMDK_SECTOR || p->host < VMDK_SECTOR)
		return vmdk_complain(node, e, "a grain would lie among the tables", p->host);
	if (p->host + p->len > e->file->length) { /* the last grain may end with the file */
		co_mutex_lock(&v->lock);
		res = vmdk_grow(e, p->host + p->len);
		co_mutex_unlock(&v->lock);
	}
	return res < 0 ? res : write_part(e->file, p->host, iov, skip, p->len, NULL, NULL);
}

/* off: of the extent. As much as one step can do: bytes or -errno; 0: look again. */
static co_fn int64_t write_sparse(struct block_node *node, struct vmdk_extent *e, uint64_t off,
				  uint64_t len, const struct iovs *iov, size_t skip)
{
	struct vmdk *v = node->state;
	struct vmdk_job job = {0};
	struct plan p;
	int res = make_plan(e, off, len, &p);

	if (res < 0)
		return res;
	if (p.host) {
		res = write_in_place(node, e, &p, iov, skip);
		return res < 0 ? res : (int64_t)p.len;
	}
	job.off = e->start + off - off % vmdk_grain(e);
	job.len = p.n * vmdk_grain(e);
	if (job_waits(v, &job))
		return 0;
	res = add_and_write(node, e, off, &p, iov, skip);
	job_done(v, &job);
	return res < 0 ? res : (int64_t)p.len;
}

static co_fn int64_t write_some(struct block_node *node, uint64_t off, const struct iovs *iov,
				size_t skip)
{
	struct vmdk_extent *e = vmdk_find_extent(node->state, off);
	uint64_t within = off - e->start, len = MIN(iov->len - skip, e->len - within);
	int res;

	if (e->stream)
		return vmdk_stream_write(node, e, within, len, iov, skip);
	if (vmdk_is_sparse(e))
		return write_sparse(node, e, within, len, iov, skip);
	res = write_part(e->file, e->off + within, iov, skip, len, NULL, NULL);
	return res < 0 ? res : (int64_t)len;
}

co_fn int vmdk_pwritev(struct block_node *node, uint64_t off, const struct iovs *iov,
		       unsigned flags)
{
	size_t done = 0;
	int res = vmdk_touch(node);

	if (res < 0)
		return res;
	while (done < iov->len) {
		int64_t n = write_some(node, off + done, iov, done);

		if (n < 0)
			return (int)n;
		done += (size_t)n;
	}
	return flags & BLOCK_FUA ? vmdk_flush(node) : 0;
}

co_fn int vmdk_flush(struct block_node *node)
{
	struct vmdk *v = node->state;
	int res = vmdk_lock(node);

	for (uint32_t i = 0; i < v->n && res == 0; i++) {
		if (v->extents[i].stream)
			res = vmdk_stream_finish(&v->extents[i]);
	}
	if (res == 0)
		res = vmdk_commit(node, true);
	co_mutex_unlock(&v->lock);
	return res;
}

/* Part of a grain. off: of the extent. */
static co_fn int zero_part(struct block_node *node, struct vmdk_extent *e, uint64_t off,
			   uint64_t len)
{
	struct iovec one;
	struct iovs iov;
	uint32_t entry = VMDK_UNUSED;
	void *zeros;
	int res = lookup(e, off, &entry);

	if (res < 0 || reads_zero(node, e, entry, e->start + off))
		return res;
	zeros = g_try_malloc0(len);
	if (!zeros)
		return -ENOMEM;
	iov = iovs_one(&one, zeros, len);
	res = vmdk_pwritev(node, e->start + off, &iov, 0);
	g_free(zeros);
	return res;
}

/* n whole grains of one sector of a table, which the caller owns. */
static co_fn int zero_grains(struct block_node *node, struct vmdk_extent *e, uint64_t off,
			     uint64_t n)
{
	struct vmdk *v = node->state;
	uint32_t value = e->h.flags & VMDK_ZERO_GRAINS ? VMDK_ZERO_GRAIN : VMDK_UNUSED;
	int res = vmdk_lock(node);

	for (uint64_t i = 0; i < n && res == 0; i++) {
		uint64_t at = off + i * vmdk_grain(e);
		uint32_t entry = VMDK_UNUSED;

		res = lookup(e, at, &entry);
		if (res == 0 && !reads_zero(node, e, entry, e->start + at))
			res = vmdk_link(node, e, at, 1, value, 0);
	}
	co_mutex_unlock(&v->lock);
	return res;
}

/* off: of the extent. Bytes done or -errno; 0: look again. */
static co_fn int64_t zero_sparse(struct block_node *node, struct vmdk_extent *e, uint64_t off,
				 uint64_t len)
{
	uint64_t grain = vmdk_grain(e), within = off % grain, n;
	struct vmdk_job job = {.off = e->start + off};
	const uint8_t *data;
	int res;

	if (within || (len < grain && off + len < e->len)) {
		len = MIN(len, grain - within);
		res = zero_part(node, e, off, len);
		return res < 0 ? res : (int64_t)len;
	}
	res = vmdk_entries(e, off, &data, &n);
	if (res < 0)
		return res;
	n = MIN(n, off + len == e->len ? (len + grain - 1) / grain : len / grain);
	if (!data && !has_backing(node))
		return (int64_t)MIN(len, n * grain);
	if (!data)
		n = MIN(n, VMDK_SECTOR / ENTRY - off / grain % e->h.table % (VMDK_SECTOR / ENTRY));
	job.len = n * grain;
	if (job_waits(node->state, &job))
		return 0;
	res = zero_grains(node, e, off, n);
	job_done(node->state, &job);
	return res < 0 ? res : (int64_t)MIN(len, n * grain);
}

static co_fn int64_t zero_some(struct block_node *node, uint64_t off, uint64_t len)
{
	struct vmdk_extent *e = vmdk_find_extent(node->state, off);
	uint64_t within = off - e->start;
	int res;

	len = MIN(len, e->len - within);
	if (e->stream) { /* nothing in it can be taken back */
		len = MIN(len, vmdk_grain(e) - within % vmdk_grain(e));
		return vmdk_stream_entry(e, within) ? -ENOTSUP : (int64_t)len;
	}
	if (vmdk_is_sparse(e))
		return zero_sparse(node, e, within, len);
	res = block_discard_zero(e->file, e->off + within, len);
	return res < 0 ? res : (int64_t)len;
}

/* Whether an entry can hide what the backing file has there. */
static bool can_zero(const struct block_node *node, const struct vmdk *v)
{
	if (!has_backing(node))
		return true;
	for (uint32_t i = 0; i < v->n; i++) {
		if (vmdk_is_sparse(&v->extents[i]) && !(v->extents[i].h.flags & VMDK_ZERO_GRAINS))
			return false;
	}
	return true;
}

co_fn int vmdk_discard_zero(struct block_node *node, uint64_t off, uint64_t len)
{
	int res = can_zero(node, node->state) ? vmdk_touch(node) : -ENOTSUP;

	while (len > 0 && res == 0) {
		int64_t n = zero_some(node, off, len);

		if (n < 0)
			return (int)n;
		off += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return res;
}
