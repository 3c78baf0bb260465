/*
 * Filter "throttle": bytes and requests a second, of reads, of writes and of both.
 *
 * Options: "bps-total", "bps-read", "bps-write", "iops-total", "iops-read", "iops-write"; each also
 * with "-max" (the rate of a burst) and "-max-length" (how many seconds it may last, default 1);
 * "iops-size" (so many bytes count as one request, larger ones as several); "file.*" is the child.
 *
 * Reads and writes each stand in a line and start in their order; the first of each line waits for
 * the buckets (bucket.h) that concern it. Zeroing counts as a write of its length. Flushing is
 * free: what it waits for was paid for.
 */
#include <errno.h>
#include <inttypes.h>
#include <math.h>

#include "base/err.h"
#include "block/bucket.h"
#include "block/drivers.h"

enum line { READS, WRITES, LINES };
enum { KINDS = 3 }; /* total, reads, writes */

static const uint64_t most = 1000000000000000; /* a second: beyond any device */
static const unsigned longest_burst_s = 86400;

struct throttle {
	struct bucket bytes[KINDS], requests[KINDS];
	uint64_t request_size;
	struct co_mutex lines[LINES];
};

static uint64_t longer(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Of the buckets for both lines and for this one. */
static uint64_t wait_ns(const struct throttle *t, enum line line, uint64_t now)
{
	uint64_t bytes =
		longer(bucket_wait_ns(&t->bytes[0], now), bucket_wait_ns(&t->bytes[1 + line], now));
	uint64_t requests = longer(bucket_wait_ns(&t->requests[0], now),
				   bucket_wait_ns(&t->requests[1 + line], now));

	return longer(bytes, requests);
}

static void account(struct throttle *t, enum line line, uint64_t len, uint64_t now)
{
	double requests =
		t->request_size ? fmax(ceil((double)len / (double)t->request_size), 1) : 1;

	bucket_fill(&t->bytes[0], (double)len, now);
	bucket_fill(&t->bytes[1 + line], (double)len, now);
	bucket_fill(&t->requests[0], requests, now);
	bucket_fill(&t->requests[1 + line], requests, now);
}

/* Until it is this request's turn. */
static co_fn void queue(struct block_node *node, enum line line, uint64_t len)
{
	struct throttle *t = node->state;
	uint64_t wait;

	co_mutex_lock(&t->lines[line]);
	while ((wait = wait_ns(t, line, loop_now_ns())) > 0)
		co_sleep_ns(wait);
	account(t, line, len, loop_now_ns());
	co_mutex_unlock(&t->lines[line]);
}

static co_fn int throttle_preadv(struct block_node *node, uint64_t off, const struct iovs *iov)
{
	queue(node, READS, iov->len);
	return block_preadv(node->file, off, iov);
}

static co_fn int throttle_pwritev(struct block_node *node, uint64_t off, const struct iovs *iov,
				  unsigned flags)
{
	queue(node, WRITES, iov->len);
	return block_pwritev(node->file, off, iov, flags);
}

static co_fn int throttle_discard_zero(struct block_node *node, uint64_t off, uint64_t len)
{
	queue(node, WRITES, len);
	return block_discard_zero(node->file, off, len);
}

static co_fn int throttle_write_zeros(struct block_node *node, uint64_t off, uint64_t len)
{
	queue(node, WRITES, len);
	return block_write_zeros(node->file, off, len, 0);
}

static co_fn int throttle_discard(struct block_node *node, uint64_t off, uint64_t len)
{
	queue(node, WRITES, len);
	return block_discard(node->file, off, len);
}

static co_fn int throttle_allocate(struct block_node *node, uint64_t off, uint64_t len)
{
	return block_allocate(node->file, off, len);
}

static co_fn int throttle_truncate(struct block_node *node, uint64_t len)
{
	return block_truncate(node->file, len);
}

static co_fn int throttle_get_status(struct block_node *node, uint64_t off, uint64_t len,
				     unsigned *status, uint64_t *run)
{
	return block_get_status(node->file, off, len, status, run);
}

static bool get_bucket(struct opts *o, const char *name, struct bucket *b, GError **error)
{
	g_autofree char *max = g_strconcat(name, "-max", NULL);
	g_autofree char *length = g_strconcat(name, "-max-length", NULL);
	uint64_t seconds = 1;

	if (!opts_get_size(o, name, &b->rate, error) || !opts_get_size(o, max, &b->burst, error) ||
	    !opts_get_u64(o, length, 1, longest_burst_s, &seconds, error))
		return false;
	if (b->rate > most || b->burst > most)
		return err_set(error, ERANGE, "%s= and %s= can be %" PRIu64 " at most", name, max,
			       most);
	if (b->burst && (!b->rate || b->burst <= b->rate))
		return err_set(error, EINVAL, "%s= must be more than %s=, which it goes with", max,
			       name);
	if (!b->burst && opts_get(o, length))
		return err_set(error, EINVAL, "%s= is for %s=", length, max);
	b->burst_seconds = (unsigned)seconds;
	return true;
}

static bool total_goes_alone(const struct bucket *b, const char *name, GError **error)
{
	return !b[0].rate || !(b[1].rate || b[2].rate) ||
	       err_set(error, EINVAL, "%s-total= excludes %s-read= and %s-write=", name, name,
		       name);
}

static co_fn bool throttle_open(struct block_node *node, struct opts *options, GError **error)
{
	static const char *const kinds[KINDS] = {"total", "read", "write"};
	struct throttle *t = node->state;

	for (unsigned i = 0; i < KINDS; i++) {
		g_autofree char *bytes = g_strconcat("bps-", kinds[i], NULL);
		g_autofree char *requests = g_strconcat("iops-", kinds[i], NULL);

		if (!get_bucket(options, bytes, &t->bytes[i], error) ||
		    !get_bucket(options, requests, &t->requests[i], error))
			return false;
	}
	return total_goes_alone(t->bytes, "bps", error) &&
	       total_goes_alone(t->requests, "iops", error) &&
	       opts_get_size(options, "iops-size", &t->request_size, error) &&
	       block_open_child(node, options, error);
}

const struct block_driver block_throttle = {
	.name = "throttle",
	.kind = BLOCK_FILTER,
	.state_size = sizeof(struct throttle),
	.open = throttle_open,
	.preadv = throttle_preadv,
	.pwritev = throttle_pwritev,
	.discard_zero = throttle_discard_zero,
	.write_zeros = throttle_write_zeros,
	.discard = throttle_discard,
	.allocate = throttle_allocate,
	.truncate = throttle_truncate,
	.get_status = throttle_get_status,
};
