/*
 * The core of the block layer: opening, requests, flushing, draining, statistics.
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
#include <limits.h>
#include <string.h>

#include "base/err.h"

enum { ZERO_CHUNK = 64 * 1024, ZERO_PIECES = 16 };

static const uint8_t zeros[ZERO_CHUNK];

static struct block_node *node_new(const struct block_driver *driver, const char *name,
				   unsigned flags)
{
	struct block_node *node = g_new0(struct block_node, 1);

	node->driver = driver;
	node->state = g_malloc0(driver->state_size ? driver->state_size : 1);
	node->loop = co_loop();
	node->name = g_strdup(name);
	node->flags = flags;
	node->writable = flags & BLOCK_RDWR;
	node->refs = 1;
	node->write_gen = 1; /* what an earlier process wrote may not be durable either */
	return node;
}

static co_fn void node_close(struct block_node *node)
{
	if (node->driver->close)
		node->driver->close(node);
	block_unref(node->file);
	g_free(node->state);
	g_free(node->name);
	g_free(node);
}

co_fn struct block_node *block_open(struct opts *options, unsigned flags, GError **error)
{
	const char *driver_name = opts_get(options, "driver");
	const char *file_name = opts_get(options, "filename");
	const struct block_driver *driver;
	struct block_node *node;
	char *what;
	bool ok;

	if (!driver_name && !file_name) {
		err_set(error, EINVAL, "needs \"filename\" or \"driver\"");
		return NULL;
	}
	driver = block_find_driver(driver_name ? driver_name : "file");
	if (!driver) {
		err_set(error, EINVAL, "no block driver is called \"%s\"", driver_name);
		return NULL;
	}
	node = node_new(driver, file_name ? file_name : driver->name, flags);
	what = g_strdup_printf("block driver \"%s\"", driver->name);
	if (!driver->open(node, options, error)) {
		/* A child that failed to open has put its own name into the message. */
		if (driver->kind == BLOCK_PROTOCOL || node->file)
			err_prefix(error, "%s", node->name);
		ok = false;
	} else {
		ok = opts_check_used(options, what, error);
	}
	g_free(what);
	if (!ok) {
		node_close(node);
		return NULL;
	}
	if (!driver->pwritev)
		node->writable = false;
	return node;
}

co_fn struct block_node *block_open_file(const char *path, unsigned flags, GError **error)
{
	struct opts *options = opts_new();
	struct block_node *node;

	opts_set(options, "driver", "file");
	opts_set(options, "filename", path);
	node = block_open(options, flags, error);
	opts_free(options);
	return node;
}

co_fn bool block_open_child(struct block_node *node, struct opts *options, GError **error)
{
	struct opts *sub = opts_sub(options, "file.");
	const char *name = opts_get(options, "filename");

	if (!opts_get(sub, "driver") && !opts_get(sub, "filename") && name)
		opts_set(sub, "filename", name);
	node->file = block_open(sub, node->flags, error);
	opts_free(sub);
	if (!node->file)
		return false;
	g_free(node->name);
	node->name = g_strdup(node->file->name);
	node->writable = node->writable && node->file->writable;
	node->length = node->file->length;
	return true;
}

struct block_node *block_new_over(const struct block_driver *driver, struct block_node *file)
{
	struct block_node *node =
		node_new(driver, file ? file->name : driver->name, file ? file->flags : BLOCK_RDWR);

	if (!file)
		return node;
	node->file = file;
	node->writable = file->writable;
	node->length = file->length;
	return node;
}

void block_ref(struct block_node *node)
{
	node->refs++;
}

co_fn void block_unref(struct block_node *node)
{
	if (!node || --node->refs > 0)
		return;
	co_drain_wait(&node->drain);
	node_close(node);
}

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

void block_get_stats(const struct block_node *node, struct block_stats *out)
{
	*out = node->stats;
}

static bool range_ok(const struct block_node *node, uint64_t off, uint64_t len)
{
	return off <= node->length && len <= node->length - off;
}

/* The end of every request: leaves the drain, counts an error. */
static int request_end(struct block_node *node, int res)
{
	if (res < 0)
		node->stats.errors++;
	co_drain_leave(&node->drain);
	return res < 0 ? res : 0;
}

co_fn int block_preadv(struct block_node *node, uint64_t off, const struct iovs *iov)
{
	int res;

	if (!range_ok(node, off, iov->len))
		return -EINVAL;
	if (iov->len == 0)
		return 0;
	co_drain_enter(&node->drain);
	res = node->driver->preadv(node, off, iov);
	if (res >= 0) {
		node->stats.reads++;
		node->stats.read_bytes += iov->len;
	}
	return request_end(node, res);
}

co_fn int block_pwritev(struct block_node *node, uint64_t off, const struct iovs *iov,
			unsigned flags)
{
	int res;

	if (!range_ok(node, off, iov->len))
		return -EINVAL;
	if (!node->writable)
		return -EROFS;
	if (iov->len == 0)
		return 0;
	co_drain_enter(&node->drain);
	res = node->driver->pwritev(node, off, iov, flags);
	if (!(flags & BLOCK_FUA) || res < 0)
		node->write_gen++;
	if (res >= 0) {
		node->stats.writes++;
		node->stats.write_bytes += iov->len;
	}
	return request_end(node, res);
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
	if (node->driver->flush)
		res = node->driver->flush(node);
	else if (node->file)
		res = block_flush(node->file);
	node->flushing = false;
	if (res < 0) {
		node->flush_error = res;
	} else {
		node->flushed_gen = gen;
		node->stats.flushes++;
	}
	co_queue_wake_all(&node->flush_waiting);
	return request_end(node, res);
}

co_fn int block_flush(struct block_node *node)
{
	uint64_t gen = node->write_gen;

	while (node->flushing && node->flushed_gen < gen && !node->flush_error)
		co_queue_wait(&node->flush_waiting);
	if (node->flush_error)
		return node->flush_error;
	if (node->flushed_gen >= gen || !node->writable)
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
		res = node->driver->pwritev(node, off, &iov, 0);
		off += iov.len;
		len -= iov.len;
	}
	return res;
}

co_fn int block_discard_zero(struct block_node *node, uint64_t off, uint64_t len)
{
	int res = -ENOTSUP;

	if (!range_ok(node, off, len))
		return -EINVAL;
	if (!node->writable)
		return -EROFS;
	if (len == 0)
		return 0;
	co_drain_enter(&node->drain);
	if (node->driver->discard_zero)
		res = node->driver->discard_zero(node, off, len);
	if (res == -ENOTSUP)
		res = write_zeros(node, off, len);
	node->write_gen++;
	return request_end(node, res);
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
	return request_end(node, res);
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
	return request_end(node, res);
}

co_fn int block_get_status(struct block_node *node, uint64_t off, uint64_t len, unsigned *status,
			   uint64_t *run)
{
	unsigned what = BLOCK_DATA;
	uint64_t holds = len;
	int res = 0;

	if (len == 0 || !range_ok(node, off, len))
		return -EINVAL;
	if (node->driver->get_status) {
		co_drain_enter(&node->drain);
		res = request_end(node, node->driver->get_status(node, off, len, &what, &holds));
	}
	if (res == 0) {
		*status = what;
		*run = CLAMP(holds, 1, len);
	}
	return res;
}

void *block_map_shared(struct block_node *node, uint64_t off, size_t len)
{
	if (!node->driver->map_shared || !node->writable || len == 0 || !range_ok(node, off, len))
		return NULL;
	return node->driver->map_shared(node, off, len);
}
