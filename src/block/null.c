/*
 * Driver "null": a disk that keeps nothing, for bounds: what everything above it costs.
 *
 * Options: "size" (default 1 GiB); "read-zeroes" (on by default; off: a read leaves the buffer as
 * it is, which costs nothing but lets old memory of ours out, so it is for measuring only);
 * "latency-ns" that every request takes.
 */
#include <errno.h>
#include <inttypes.h>

#include "base/err.h"
#include "block/drivers.h"

static const uint64_t default_size = (uint64_t)1 << 30, max_latency_ns = 60000000000;

struct null {
	bool read_zeroes;
	uint64_t latency_ns;
};

static co_fn bool null_open(struct block_node *node, struct opts *options, GError **error)
{
	struct null *null = node->state;

	node->length = default_size;
	null->read_zeroes = true;
	if (!opts_get_size(options, "size", &node->length, error) ||
	    !opts_get_bool(options, "read-zeroes", &null->read_zeroes, error) ||
	    !opts_get_u64(options, "latency-ns", 0, max_latency_ns, &null->latency_ns, error))
		return false;
	return node->length <= INT64_MAX ||
	       err_set(error, EINVAL, "size=%" PRIu64 " is too large", node->length);
}

static co_fn int take_time(struct block_node *node)
{
	const struct null *null = node->state;

	if (null->latency_ns)
		co_sleep_ns(null->latency_ns);
	return 0;
}

static co_fn int null_preadv(struct block_node *node, uint64_t off, const struct iovs *iov)
{
	const struct null *null = node->state;

	(void)off;
	if (null->read_zeroes)
		iovs_zero(iov, 0, iov->len);
	return take_time(node);
}

static co_fn int null_pwritev(struct block_node *node, uint64_t off, const struct iovs *iov,
			      unsigned flags)
{
	(void)off;
	(void)iov;
	(void)flags;
	return take_time(node);
}

static co_fn int null_flush(struct block_node *node)
{
	return take_time(node);
}

static co_fn int null_range(struct block_node *node, uint64_t off, uint64_t len)
{
	(void)off;
	(void)len;
	return take_time(node);
}

static co_fn int null_truncate(struct block_node *node, uint64_t len)
{
	(void)len;
	return take_time(node);
}

static co_fn int null_get_status(struct block_node *node, uint64_t off, uint64_t len,
				 unsigned *status, uint64_t *run)
{
	const struct null *null = node->state;

	(void)off;
	*status = null->read_zeroes ? BLOCK_ZERO : BLOCK_DATA;
	*run = len;
	return 0;
}

static void null_clone(struct block_node *clone)
{
	(void)clone; /* the state says all, and does not change */
}

const struct block_driver block_null = {
	.name = "null",
	.kind = BLOCK_PROTOCOL,
	.state_size = sizeof(struct null),
	.open = null_open,
	.preadv = null_preadv,
	.pwritev = null_pwritev,
	.flush = null_flush,
	.discard_zero = null_range,
	.write_zeros = null_range,
	.allocate = null_range,
	.truncate = null_truncate,
	.get_status = null_get_status,
	.clone = null_clone,
};
