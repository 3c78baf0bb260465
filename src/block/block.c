/*
 * The core of the block layer: requests, flushing, draining, statistics.
 *
 * Every data call passes the same gate: range and permission are checked with arithmetic that
 * cannot wrap, the request counts as in flight until it returned, and its outcome goes into the
 * statistics. Drivers see valid requests only.
 *
 * Flushes carry generations: each completed write raises write_gen, a successful flush moves
 * flushed_gen to the write_gen it began with. A flush that has nothing to do returns at once,
 * concurrent ones join, and a failed one makes every later one fail, since the kernel may have
 * dropped the dirty pages (formats.md 8.1 no. 17).
 */
#include "block/driver.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>

#include "base/err.h"
#include "block/align.h"

enum { ZERO_CHUNK = 64 * 1024, ZERO_PIECES = 16 };

static const uint8_t zeros[ZERO_CHUNK];

uint64_t block_length(const struct block_node *node)
{
	return node->length;
}

bool block_is_writable(const struct block_node *node)
{
	return node->writable;
}

const char *block_name(const struct block_node *node)
{
	return node->name;
}

bool block_is_writethrough(const struct block_node *node)
{
	return node->flags & BLOCK_WRITETHROUGH;
}

bool block_can_discard(const struct block_node *node)
{
	return !(node->flags & BLOCK_DISCARD_IGNORE);
}

unsigned block_request_align(const struct block_node *node)
{
	while (node->file)
		node = node->file;
	return node->request_align;
}

void block_get_stats(const struct block_node *node, struct block_stats *out)
{
	*out = node->stats;
	out->in_flight = node->drain.in_flight;
}

static bool range_ok(const struct block_node *node, uint64_t off, uint64_t len)
{
	return off <= node->length && len <= node->length - off;
}

static unsigned epoch_enter(struct block_node *node)
{
	unsigned i = node->epoch.now & 1;

	node->epoch.running[i]++;
	return i;
}

static void epoch_leave(struct block_node *node, unsigned i)
{
	if (--node->epoch.running[i] == 0 && node->epoch.ended.head)
		co_queue_wake_all(&node->epoch.ended);
}

co_fn void block_epoch_wait(struct block_node *node)
{
	struct block_epoch *e = &node->epoch;
	uint64_t wanted = e->now + 2;

	while (e->now < wanted) {
		uint64_t before = e->now;

		block_epoch_advance(e);
		if (e->now == before)
			co_queue_wait(&e->ended);
	}
}

/* The end of every request: leaves the drain, counts an error. */
static int request_end(struct block_node *node, int res, uint64_t *failed)
{
	if (res < 0) {
		node->stats.errors++;
		(*failed)++;
	}
	co_drain_leave(&node->drain);
	return res < 0 ? res : 0;
}

static void count_write(struct block_node *node, uint64_t off, uint64_t len)
{
	node->stats.writes++;
	node->stats.write_bytes += len;
	node->stats.write_highest = MAX(node->stats.write_highest, off + len);
}

co_fn int block_preadv(struct block_node *node, uint64_t off, const struct iovs *iov)
{
	unsigned epoch;
	int res;

	if (!range_ok(node, off, iov->len))
		return -EINVAL;
	if (iov->len == 0)
		return 0;
	co_drain_enter(&node->drain);
	epoch = epoch_enter(node);
	if (node->driver->map)
		res = block_read_mapped(node, off, iov);
	else if (align_matters(node))
		res = align_preadv(node, off, iov);
	else
		res = node->driver->preadv(node, off, iov);
	epoch_leave(node, epoch);
	if (res >= 0) {
		node->stats.reads++;
		node->stats.read_bytes += iov->len;
	}
	return request_end(node, res, &node->stats.failed_reads);
}

static co_fn int driver_pwritev(struct block_node *node, uint64_t off, const struct iovs *iov,
				unsigned flags)
{
	return align_matters(node) ? align_pwritev(node, off, iov, flags)
				   : node->driver->pwritev(node, off, iov, flags);
}

/* What the cache mode makes of a write's flags. Formats keep their own order with it or without. */
static unsigned fua_by_mode(const struct block_node *node, unsigned flags)
{
	if (node->flags & BLOCK_NO_FLUSH)
		return node->driver->kind == BLOCK_PROTOCOL ? flags & ~(unsigned)BLOCK_FUA : flags;
	return flags | BLOCK_FUA;
}

static bool is_zero(const struct iovs *iov)
{
	for (unsigned i = 0; i < iov->n; i++) {
		const uint8_t *p = iov->v[i].iov_base;
		size_t n = iov->v[i].iov_len;

		if (n && (*p || memcmp(p, p + 1, n - 1) != 0))
			return false;
	}
	return true;
}

/* Instead of the zeros in iov; -ENOTSUP: write them. */
static co_fn int write_detected(struct block_node *node, uint64_t off, const struct iovs *iov,
				unsigned flags)
{
	unsigned unmap = node->flags & BLOCK_DETECT_UNMAP ? BLOCK_MAY_UNMAP : 0;

	if (!is_zero(iov))
		return -ENOTSUP;
	return block_write_zeros(node, off, iov->len, unmap | (flags & BLOCK_FUA));
}

co_fn int block_pwritev(struct block_node *node, uint64_t off, const struct iovs *iov,
			unsigned flags)
{
	unsigned epoch;
	int res;

	if (!range_ok(node, off, iov->len))
		return -EINVAL;
	if (!node->writable)
		return -EROFS;
	if (iov->len == 0)
		return 0;
	if (node->flags & (BLOCK_DETECT_ZEROES | BLOCK_DETECT_UNMAP)) {
		res = write_detected(node, off, iov, flags);
		if (res != -ENOTSUP)
			return res;
	}
	if (node->flags & (BLOCK_WRITETHROUGH | BLOCK_NO_FLUSH))
		flags = fua_by_mode(node, flags);
	co_drain_enter(&node->drain);
	epoch = epoch_enter(node);
	res = driver_pwritev(node, off, iov, flags);
	epoch_leave(node, epoch);
	if (!(flags & BLOCK_FUA) || res < 0)
		node->write_gen++;
	if (res >= 0)
		count_write(node, off, iov->len);
	return request_end(node, res, &node->stats.failed_writes);
}

co_fn int block_pread(struct block_node *node, uint64_t off, void *buf, size_t len)
{
	struct iovec one;
	struct iovs iov = iovs_one(&one, buf, len);

	return block_preadv(node, off, &iov);
}

co_fn int block_pwrite(struct block_node *node, uint64_t off, const void *buf, size_t len,
		       unsigned flags)
{
	struct iovec one;
	struct iovs iov = iovs_one(&one, (void *)buf, len);

	return block_pwritev(node, off, &iov, flags);
}

static co_fn int flush_now(struct block_node *node)
{
	uint64_t gen = node->write_gen;
	int res = 0;

	node->flushing = true;
	co_drain_enter(&node->drain);
	if (node->driver->kind == BLOCK_PROTOCOL && (node->flags & BLOCK_NO_FLUSH))
		res = 0;
	else if (node->driver->flush)
		res = node->driver->flush(node);
	else if (node->file)
		res = block_flush(node->file);
	node->flushing = false;
	if (res < 0) {
		node->flush_error = res;
		if (node->shared)
			__atomic_store_n(&node->shared->flush_error, res, __ATOMIC_RELEASE);
	} else {
		node->flushed_gen = gen;
		node->stats.flushes++;
	}
	co_queue_wake_all(&node->flush_waiting);
	return request_end(node, res, &node->stats.failed_flushes);
}

co_fn int block_flush(struct block_node *node)
{
	uint64_t gen = node->write_gen;

	while (node->flushing && node->flushed_gen < gen && !node->flush_error)
		co_queue_wait(&node->flush_waiting);
	if (node->shared && !node->flush_error)
		node->flush_error = __atomic_load_n(&node->shared->flush_error, __ATOMIC_ACQUIRE);
	if (node->flush_error)
		return node->flush_error;
	/* What other loops wrote is not counted here. */
	if (!node->writable || (node->flushed_gen >= gen && !node->shared))
		return 0;
	return flush_now(node);
}

static co_fn int write_zeros(struct block_node *node, uint64_t off, uint64_t len)
{
	struct iovec v[ZERO_PIECES];
	int res = 0;

	while (len > 0 && res >= 0) {
		struct iovs iov = {.v = v};

		while (iov.n < ZERO_PIECES && iov.len < len) {
			size_t piece = MIN((uint64_t)ZERO_CHUNK, len - iov.len);

			v[iov.n++] = (struct iovec){(void *)zeros, piece};
			iov.len += piece;
		}
		res = driver_pwritev(node, off, &iov, 0);
		off += iov.len;
		len -= iov.len;
	}
	return res;
}

typedef co_fn int zero_fn(struct block_node *node, uint64_t off, uint64_t len);

static co_fn int unaligned_zeros(struct block_node *node, uint64_t off, uint64_t len)
{
	return len ? write_zeros(node, off, len) : 0;
}

/*
 * fn on the blocks of discard_align that lie wholly inside; the ends are written where they count
 * (edges). -ENOTSUP: nothing was done.
 */
static co_fn int on_whole_blocks(struct block_node *node, zero_fn *fn, uint64_t off, uint64_t len,
				 bool edges)
{
	uint64_t align = node->discard_align, end = off + len;
	uint64_t first = (off + align - 1) / align * align, last = end / align * align;
	struct align_change change;
	int res;

	if (last <= first)
		return -ENOTSUP;
	if (align_matters(node))
		align_begin(node, &change, first, last - first, false);
	res = fn(node, first, last - first);
	if (align_matters(node))
		align_end(node, &change);
	if (res < 0 || !edges)
		return res;
	res = unaligned_zeros(node, off, first - off);
	return res < 0 ? res : unaligned_zeros(node, last, end - last);
}

/* What the driver has for zeros, NULL: writing them. */
static zero_fn *zero_way(const struct block_node *node, bool unmap)
{
	const struct block_driver *driver = node->driver;

	/* A format that marks clusters as zeros does so whether it keeps their space or not. */
	if (unmap || (!driver->write_zeros && driver->has_metadata))
		return driver->discard_zero;
	return driver->write_zeros;
}

static co_fn int zero_request(struct block_node *node, uint64_t off, uint64_t len, bool unmap)
{
	zero_fn *fn = zero_way(node, unmap);
	int res = -ENOTSUP;
	unsigned epoch;

	if (!range_ok(node, off, len))
		return -EINVAL;
	if (!node->writable)
		return -EROFS;
	if (len == 0)
		return 0;
	co_drain_enter(&node->drain);
	epoch = epoch_enter(node);
	if (fn)
		res = on_whole_blocks(node, fn, off, len, true);
	if (res == -ENOTSUP)
		res = write_zeros(node, off, len);
	epoch_leave(node, epoch);
	node->write_gen++;
	if (res >= 0 && unmap) {
		node->stats.discards++;
		node->stats.discard_bytes += len;
	} else if (res >= 0) {
		count_write(node, off, len);
	}
	return request_end(node, res,
			   unmap ? &node->stats.failed_discards : &node->stats.failed_writes);
}

co_fn int block_discard_zero(struct block_node *node, uint64_t off, uint64_t len)
{
	int res = zero_request(node, off, len, true);

	return res == 0 && block_is_writethrough(node) ? block_flush(node) : res;
}

co_fn int block_write_zeros(struct block_node *node, uint64_t off, uint64_t len, unsigned flags)
{
	bool unmap = (flags & BLOCK_MAY_UNMAP) && block_can_discard(node);
	int res = zero_request(node, off, len, unmap);

	if (res == 0 && ((flags & BLOCK_FUA) || block_is_writethrough(node)))
		return block_flush(node);
	return res;
}

co_fn int block_discard(struct block_node *node, uint64_t off, uint64_t len)
{
	const struct block_driver *driver = node->driver;
	zero_fn *fn = driver->discard ? driver->discard : driver->discard_zero;
	unsigned epoch;
	int res;

	if (!range_ok(node, off, len))
		return -EINVAL;
	if (!node->writable)
		return -EROFS;
	if (len == 0 || !fn || !block_can_discard(node))
		return 0;
	co_drain_enter(&node->drain);
	epoch = epoch_enter(node);
	res = on_whole_blocks(node, fn, off, len, false);
	if (res == -ENOTSUP)
		res = 0;
	epoch_leave(node, epoch);
	node->write_gen++;
	if (res >= 0) {
		node->stats.discards++;
		node->stats.discard_bytes += len;
	}
	return request_end(node, res, &node->stats.failed_discards);
}

co_fn int block_allocate(struct block_node *node, uint64_t off, uint64_t len)
{
	int res;

	if (!range_ok(node, off, len))
		return -EINVAL;
	if (!node->writable)
		return -EROFS;
	if (!node->driver->allocate)
		return -ENOTSUP;
	if (len == 0)
		return 0;
	co_drain_enter(&node->drain);
	res = node->driver->allocate(node, off, len);
	node->write_gen++;
	return request_end(node, res, &node->stats.failed_writes);
}

co_fn int block_truncate(struct block_node *node, uint64_t len)
{
	int res;

	if (len > INT64_MAX)
		return -EFBIG;
	if (!node->writable)
		return -EROFS;
	if (!node->driver->truncate)
		return -ENOTSUP;
	co_drain_enter(&node->drain);
	res = node->driver->truncate(node, len);
	if (res >= 0)
		node->length = len;
	node->write_gen++;
	return request_end(node, res, &node->stats.failed_writes);
}

co_fn int block_pwrite_compressed(struct block_node *node, uint64_t off, const void *buf,
				  size_t len)
{
	unsigned epoch;
	int res;

	if (!node->driver->pwrite_compressed)
		return -ENOTSUP;
	if (!range_ok(node, off, len) || off % node->cluster_size ||
	    len != MIN(node->cluster_size, node->length - off))
		return -EINVAL;
	if (!node->writable)
		return -EROFS;
	co_drain_enter(&node->drain);
	epoch = epoch_enter(node);
	res = node->driver->pwrite_compressed(node, off, buf, len);
	epoch_leave(node, epoch);
	node->write_gen++;
	if (res >= 0)
		count_write(node, off, len);
	return request_end(node, res, &node->stats.failed_writes);
}

co_fn bool block_create(const char *driver_name, struct block_node *file,
			const struct block_create *what, GError **error)
{
	const struct block_driver *driver = block_find_driver(driver_name);
	g_autofree char *label = NULL;

	if (!driver)
		return err_set(error, EINVAL, "no block driver is called \"%s\"", driver_name);
	if (!driver->create)
		return err_set(error, ENOTSUP, "images of format \"%s\" cannot be made",
			       driver_name);
	if (what->length > INT64_MAX)
		return err_set(error, EFBIG, "%" PRIu64 " bytes are too many", what->length);
	label = g_strdup_printf("format \"%s\"", driver_name);
	return driver->create(file, what, error) && opts_check_used(what->options, label, error);
}

co_fn bool block_check(struct block_node *node, unsigned fix, struct block_check *result,
		       GError **error)
{
	bool ok;

	if (!node->driver->check)
		return err_set(error, ENOTSUP, "%s: format \"%s\" has nothing to check", node->name,
			       node->driver->name);
	if (fix && !node->writable)
		return err_set(error, EROFS, "%s: is open read-only", node->name);
	co_drain_enter(&node->drain);
	ok = node->driver->check(node, fix, result, error);
	node->write_gen++;
	co_drain_leave(&node->drain);
	return ok || err_prefix(error, "%s", node->name);
}

json_t *block_info(const struct block_node *node)
{
	return node->driver->info ? node->driver->info(node) : NULL;
}

bool block_is_compressed_only(const struct block_node *node)
{
	return node->compressed_only;
}

uint64_t block_cluster_size(const struct block_node *node)
{
	return node->cluster_size;
}

const char *block_driver_name(const struct block_node *node)
{
	return node->driver->name;
}

struct block_node *block_backing(const struct block_node *node)
{
	return node->backing;
}

const char *block_backing_name(const struct block_node *node)
{
	return node->backing_name;
}

const char *block_backing_format(const struct block_node *node)
{
	return node->backing_format;
}

void *block_map_shared(struct block_node *node, uint64_t off, size_t len)
{
	if (!node->driver->map_shared || !node->writable || len == 0 || !range_ok(node, off, len))
		return NULL;
	return node->driver->map_shared(node, off, len);
}
