/*
 * Driver "raw": the bytes of a file child as they are, or a window of them.
 *
 * Options: "offset" and "size" (default: from offset to the end of the child); "file.*" or
 * "filename" for the child. A child that grows or shrinks later does not move the window;
 * truncating is passed on only without a window.
 */
#include "block/drivers.h"

#include <errno.h>
#include <inttypes.h>

#include "base/err.h"

struct raw {
	uint64_t start;
	bool window;
};

static co_fn bool raw_open(struct block_node *node, struct opts *options, GError **error)
{
	struct raw *raw = node->state;
	uint64_t size = 0;

	if (!opts_get_size(options, "offset", &raw->start, error) ||
	    !opts_get_size(options, "size", &size, error))
		return false;
	if (!block_open_child(node, options, error))
		return false;
	if (raw->start > node->file->length) {
		return err_set(error, EINVAL,
			       "offset=%" PRIu64 " is behind the end (%" PRIu64 " bytes)",
			       raw->start, node->file->length);
	}
	if (size > node->file->length - raw->start) {
		return err_set(error, EINVAL,
			       "size=%" PRIu64 " from offset %" PRIu64
			       " runs over the end (%" PRIu64 " bytes)",
			       size, raw->start, node->file->length);
	}
	raw->window = raw->start > 0 || size > 0;
	node->length = size > 0 ? size : node->file->length - raw->start;
	return true;
}

static co_fn int raw_preadv(struct block_node *node, uint64_t off, const struct iovs *iov)
{
	struct raw *raw = node->state;

	return block_preadv(node->file, raw->start + off, iov);
}

static co_fn int raw_pwritev(struct block_node *node, uint64_t off, const struct iovs *iov,
			     unsigned flags)
{
	struct raw *raw = node->state;

	return block_pwritev(node->file, raw->start + off, iov, flags);
}

static co_fn int raw_discard_zero(struct block_node *node, uint64_t off, uint64_t len)
{
	struct raw *raw = node->state;

	return block_discard_zero(node->file, raw->start + off, len);
}

static co_fn int raw_allocate(struct block_node *node, uint64_t off, uint64_t len)
{
	struct raw *raw = node->state;

	return block_allocate(node->file, raw->start + off, len);
}

static co_fn int raw_truncate(struct block_node *node, uint64_t len)
{
	struct raw *raw = node->state;

	return raw->window ? -ENOTSUP : block_truncate(node->file, len);
}

static co_fn int raw_get_status(struct block_node *node, uint64_t off, uint64_t len,
				unsigned *status, uint64_t *run)
{
	struct raw *raw = node->state;

	return block_get_status(node->file, raw->start + off, len, status, run);
}

static void *raw_map_shared(struct block_node *node, uint64_t off, size_t len)
{
	struct raw *raw = node->state;

	return block_map_shared(node->file, raw->start + off, len);
}

const struct block_driver block_raw = {
	.name = "raw",
	.kind = BLOCK_FORMAT,
	.state_size = sizeof(struct raw),
	.open = raw_open,
	.preadv = raw_preadv,
	.pwritev = raw_pwritev,
	.discard_zero = raw_discard_zero,
	.allocate = raw_allocate,
	.truncate = raw_truncate,
	.get_status = raw_get_status,
	.map_shared = raw_map_shared,
};
