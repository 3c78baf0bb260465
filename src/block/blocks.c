/*
 * Reading, writing and zeroing of blocks; see blocks.h.
 *
 * A write to a block that is nowhere waits for others to the same block, takes space, writes data
 * and what belongs around them, and links the block with the lock held. A commit holds the lock
 * from its first flush to its last, so that no entry is written whose data came after that flush.
 * Blocks never move and are never given up: zeroing one that is there zeroes its space, which
 * leaves a hole in the file.
 */
#include "block/blocks.h"

#include <errno.h>

enum { PIECES = 16, COPY = 256 * 1024, MAX_RUN = 1 << 16 };

struct blocks_job {
	uint64_t i;
	struct blocks_job *next;
	struct co_queue waiting;
};

static const uint8_t zeros[64 * 1024];

co_fn int blocks_map(struct block_node *node, uint64_t off, uint64_t len, struct block_extent *out)
{
	struct blocks *b = node->state;
	uint64_t i = off / b->size, within = off % b->size, host = 0, next = 0;
	enum block_place place;

	if (node->flags & BLOCK_HEADER_ONLY)
		return -ENXIO;
	place = b->driver->find(node, i, &host);
	*out = (struct block_extent){
		.place = place, .child = node->file, .off = host + within, .len = b->size - within};
	for (unsigned k = 1; out->len < len && k < MAX_RUN; k++, out->len += b->size) {
		if (b->driver->find(node, i + k, &next) != place ||
		    (place == PLACE_FILE && next != host + k * b->size))
			break;
	}
	return 0;
}

static bool job_waits(struct blocks *b, struct blocks_job *job)
{
	for (struct blocks_job *j = b->jobs; j; j = j->next) {
		if (j->i == job->i) {
			co_queue_wait(&j->waiting);
			return true;
		}
	}
	job->next = b->jobs;
	b->jobs = job;
	return false;
}

static void job_done(struct blocks *b, struct blocks_job *job)
{
	struct blocks_job **at = &b->jobs;

	while (*at != job)
		at = &(*at)->next;
	*at = job->next;
	co_queue_wake_all(&job->waiting);
}

/* len bytes of iov from skip on, to off of the file. */
static co_fn int write_slice(struct block_node *file, uint64_t off, const struct iovs *iov,
			     size_t skip, size_t len, unsigned flags)
{
	struct iovec small[PIECES], *v = small;
	struct iovs part = {.v = v, .len = len};
	int res;

	if (len == iov->len)
		return block_pwritev(file, off, iov, flags);
	if (iov->n > PIECES)
		part.v = v = g_new(struct iovec, iov->n);
	part.n = iovs_slice(iov, skip, len, v, MAX(iov->n, (unsigned)PIECES));
	res = block_pwritev(file, off, &part, flags);
	if (v != small)
		g_free(v);
	return res;
}

static bool is_zero(const uint8_t *p, size_t n)
{
	return n == 0 || (*p == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* What [off, off + len) of the disk shows becomes part of the block at host (of its byte off). */
static co_fn int copy_around(struct block_node *node, uint64_t off, uint64_t len, uint64_t host,
			     bool fresh)
{
	uint8_t *buf;
	int res = 0;

	len = off < node->length ? MIN(len, node->length - off) : 0;
	if (len == 0)
		return 0;
	buf = g_try_malloc(MIN(len, (uint64_t)COPY));
	if (!buf)
		return -ENOMEM;
	for (uint64_t done = 0; done < len && res == 0;) {
		size_t n = MIN(len - done, (uint64_t)COPY);
		struct iovec one;
		struct iovs iov = iovs_one(&one, buf, n);

		res = block_read_mapped(node, off + done, &iov);
		if (res == 0 && !(fresh && is_zero(buf, n)))
			res = block_pwritev(node->file, host + done, &iov, 0);
		done += n;
	}
	g_free(buf);
	return res;
}

/* Data and what belongs around them, to the block at host that nobody else sees yet. */
static co_fn int fill(struct block_node *node, uint64_t off, const struct iovs *iov, size_t skip,
		      size_t len, uint64_t host, bool fresh)
{
	struct blocks *b = node->state;
	uint64_t within = off % b->size;
	int res = 0;

	if (b->has_parent)
		res = copy_around(node, off - within, within, host, fresh);
	if (res == 0 && b->has_parent)
		res = copy_around(node, off + len, b->size - within - len, host + within + len,
				  fresh);
	return res < 0 ? res : write_slice(node->file, host + within, iov, skip, len, 0);
}

/* The block is this request's own now. */
static co_fn int write_new(struct block_node *node, uint64_t off, const struct iovs *iov,
			   size_t skip, size_t len, bool partial, uint64_t host)
{
	struct blocks *b = node->state;
	uint64_t i = off / b->size;
	int res = 0;

	if (b->has_parent && !node->backing)
		return -ENOTSUP; /* what lies below would be lost */
	if (!partial) {
		co_mutex_lock(&b->lock);
		res = b->broken ? -EIO : b->driver->allocate(node, i, &host);
		co_mutex_unlock(&b->lock);
	}
	if (res < 0)
		return res;
	res = fill(node, off, iov, skip, len, host, !partial);
	co_mutex_lock(&b->lock);
	if (res == 0) {
		b->driver->link(node, i, host);
		b->pending = true;
	} else if (!partial) {
		if (!b->spare)
			b->spare = g_array_new(FALSE, FALSE, sizeof(uint64_t));
		host -= b->lead;
		g_array_append_val(b->spare, host);
	}
	co_mutex_unlock(&b->lock);
	return res;
}

/* Where a write can go on in place without a break, from off on. */
static uint64_t run_in_file(const struct block_node *node, uint64_t off, uint64_t most,
			    uint64_t *host, enum block_place *place)
{
	const struct blocks *b = node->state;
	uint64_t i = off / b->size, within = off % b->size, len = b->size - within, next = 0;

	*place = b->driver->find(node, i, host);
	if (*place != PLACE_FILE)
		return MIN(len, most);
	while (len < most && b->driver->find(node, i + 1, &next) == PLACE_FILE &&
	       next == *host + within + len) {
		len += b->size;
		i++;
	}
	*host += within;
	return MIN(len, most);
}

/* As much of it as one step can do: bytes done or -errno; 0: look again. */
static co_fn int64_t write_some(struct block_node *node, uint64_t off, const struct iovs *iov,
				size_t skip, unsigned flags)
{
	struct blocks *b = node->state;
	struct blocks_job job = {.i = off / b->size};
	enum block_place place;
	uint64_t host = 0;
	size_t len = run_in_file(node, off, iov->len - skip, &host, &place);
	int res;

	if (place == PLACE_FILE) {
		res = write_slice(node->file, host, iov, skip, len, flags);
		return res < 0 ? res : (int64_t)len;
	}
	if (job_waits(b, &job))
		return 0;
	res = write_new(node, off, iov, skip, len, place == PLACE_DRIVER, host);
	job_done(b, &job);
	return res < 0 ? res : (int64_t)len;
}

co_fn int blocks_pwritev(struct block_node *node, uint64_t off, const struct iovs *iov,
			 unsigned flags)
{
	struct blocks *b = node->state;
	size_t done = 0;

	while (done < iov->len) {
		int64_t n = write_some(node, off + done, iov, done, flags);

		if (n < 0)
			return (int)n;
		done += (size_t)n;
	}
	return flags & BLOCK_FUA && b->pending ? blocks_flush(node) : 0;
}

/* Zeros that must hide what is below. */
static co_fn int write_zeros(struct block_node *node, uint64_t off, uint64_t len)
{
	int res = 0;

	while (len > 0 && res == 0) {
		struct iovec one;
		struct iovs iov = iovs_one(&one, (void *)zeros, MIN(len, sizeof(zeros)));

		res = blocks_pwritev(node, off, &iov, 0);
		off += iov.len;
		len -= iov.len;
	}
	return res;
}

co_fn int blocks_discard_zero(struct block_node *node, uint64_t off, uint64_t len)
{
	int res = 0;

	while (len > 0 && res == 0) {
		enum block_place place;
		uint64_t host = 0, n = run_in_file(node, off, len, &host, &place);

		if (place == PLACE_FILE)
			res = block_discard_zero(node->file, host, n);
		else if (place != PLACE_ZERO)
			res = write_zeros(node, off, n);
		off += n;
		len -= n;
	}
	return res;
}

co_fn int blocks_flush(struct block_node *node)
{
	struct blocks *b = node->state;
	int res;

	if (!b->pending && !b->broken)
		return block_flush(node->file);
	co_mutex_lock(&b->lock);
	res = b->broken ? -EIO : b->driver->commit(node);
	if (res < 0)
		b->broken = true;
	else
		b->pending = false;
	co_mutex_unlock(&b->lock);
	return res;
}
