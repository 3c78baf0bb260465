/*
 * Filter "copy-on-read": what is read from a backing file is written to the image above it, so that
 * it need not come from there again.
 *
 * The child is an image with a backing file, open for writing. A read first copies what lies below,
 * in whole clusters if they are not huge, then reads the child as if nothing had happened; so a
 * copy that fails (no space, say) costs nothing but itself. What nobody in the chain has is not
 * copied.
 *
 * A write must not fall between the two halves of a copy, or old data would bury it. So both enter
 * a list while they last: a copy waits for whatever overlaps it, a write for copies only.
 */
#include <errno.h>
#include <inttypes.h>

#include "base/err.h"
#include "base/log.h"
#include "block/drivers.h"

enum { CHUNK = 1 << 20 };

struct range {
	uint64_t off, len;
	bool copy;
	struct range *next;
};

struct cor {
	struct range *held;
	struct co_queue freed;
	struct log_limit said;
};

static bool is_free(const struct cor *cor, const struct range *r)
{
	for (const struct range *h = cor->held; h; h = h->next) {
		if ((h->copy || r->copy) && r->off < h->off + h->len && h->off < r->off + r->len)
			return false;
	}
	return true;
}

static co_fn void hold(struct cor *cor, struct range *r)
{
	while (!is_free(cor, r))
		co_queue_wait(&cor->freed);
	r->next = cor->held;
	cor->held = r;
}

static void release(struct cor *cor, struct range *r)
{
	struct range **at = &cor->held;

	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	co_queue_wake_all(&cor->freed);
}

static bool is_below(const struct block_where *w)
{
	return w->depth > 0 && w->present;
}

/* What lies below of a range that is held. */
static co_fn int copy_held(struct block_node *file, const struct range *r, void *buf)
{
	uint64_t off = r->off, end = r->off + r->len;
	int res = 0;

	while (off < end && res == 0) {
		struct block_where w;

		res = block_find(file, off, end - off, &w);
		if (res < 0)
			break;
		if (is_below(&w) && w.status == BLOCK_ZERO) {
			res = block_discard_zero(file, off, w.run);
		} else if (is_below(&w)) {
			res = block_pread(file, off, buf, w.run);
			if (res == 0)
				res = block_pwrite(file, off, buf, w.run, 0);
		}
		off += w.run;
	}
	return res;
}

/* Of the clusters of [off, off+len); returns where it came to. */
static co_fn uint64_t copy(struct block_node *node, uint64_t off, uint64_t len)
{
	struct cor *cor = node->state;
	uint64_t unit = MIN(block_cluster_size(node->file), CHUNK), end = off + len;
	struct range r = {.off = off - off % unit, .copy = true};
	void *buf;
	int res = -ENOMEM;

	r.len = MIN((uint64_t)CHUNK, end - r.off + (unit - end % unit) % unit);
	hold(cor, &r);
	r.len = MIN(r.len, block_length(node->file) - r.off);
	buf = g_try_malloc(r.len);
	if (buf)
		res = copy_held(node->file, &r, buf);
	g_free(buf);
	release(cor, &r);
	if (res < 0) {
		log_limited(&cor->said, LOG_WARN, "block",
			    "%s: cannot take over what was read at offset %" PRIu64 ": %s",
			    node->name, r.off, g_strerror(-res));
	}
	return MIN(r.off + r.len, end);
}

static co_fn int cor_preadv(struct block_node *node, uint64_t off, const struct iovs *iov)
{
	uint64_t at = off, end = off + iov->len;

	while (block_backing(node->file) && at < end) {
		struct block_where w;
		int res = block_find(node->file, at, end - at, &w);

		if (res < 0)
			return res;
		at = is_below(&w) ? copy(node, at, w.run) : at + w.run;
	}
	return block_preadv(node->file, off, iov);
}

static co_fn int cor_pwritev(struct block_node *node, uint64_t off, const struct iovs *iov,
			     unsigned flags)
{
	struct range r = {.off = off, .len = iov->len};
	int res;

	hold(node->state, &r);
	res = block_pwritev(node->file, off, iov, flags);
	release(node->state, &r);
	return res;
}

static co_fn int cor_discard_zero(struct block_node *node, uint64_t off, uint64_t len)
{
	struct range r = {.off = off, .len = len};
	int res;

	hold(node->state, &r);
	res = block_discard_zero(node->file, off, len);
	release(node->state, &r);
	return res;
}

static co_fn int cor_write_zeros(struct block_node *node, uint64_t off, uint64_t len)
{
	struct range r = {.off = off, .len = len};
	int res;

	hold(node->state, &r);
	res = block_write_zeros(node->file, off, len, 0);
	release(node->state, &r);
	return res;
}

static co_fn int cor_discard(struct block_node *node, uint64_t off, uint64_t len)
{
	struct range r = {.off = off, .len = len};
	int res;

	hold(node->state, &r);
	res = block_discard(node->file, off, len);
	release(node->state, &r);
	return res;
}

static co_fn int cor_truncate(struct block_node *node, uint64_t len)
{
	struct range r = {.len = INT64_MAX};
	int res;

	hold(node->state, &r);
	res = block_truncate(node->file, len);
	release(node->state, &r);
	return res;
}

static co_fn int cor_get_status(struct block_node *node, uint64_t off, uint64_t len,
				unsigned *status, uint64_t *run)
{
	return block_get_status(node->file, off, len, status, run);
}

static co_fn bool cor_open(struct block_node *node, struct opts *options, GError **error)
{
	if (!(node->flags & BLOCK_RDWR))
		return err_set(error, EROFS,
			       "copy-on-read writes to its image; open it for writing");
	if (!block_open_child(node, options, error))
		return false;
	if (!node->writable)
		return err_set(error, EROFS, "copy-on-read cannot write to it");
	if (!block_cluster_size(node->file)) {
		return err_set(error, EINVAL,
			       "copy-on-read needs an image that can have a backing file, not "
			       "format \"%s\"",
			       block_driver_name(node->file));
	}
	return true;
}

const struct block_driver block_copy_on_read = {
	.name = "copy-on-read",
	.kind = BLOCK_FILTER,
	.state_size = sizeof(struct cor),
	.open = cor_open,
	.preadv = cor_preadv,
	.pwritev = cor_pwritev,
	.discard_zero = cor_discard_zero,
	.write_zeros = cor_write_zeros,
	.discard = cor_discard,
	.truncate = cor_truncate,
	.get_status = cor_get_status,
};
