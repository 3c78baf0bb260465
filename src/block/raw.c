/*
 * Driver "raw": the bytes of a file child as they are, or a window of them.
 *
 * Options: "offset" and "size" (default: from offset to the end of the child); "file.*" or
 * "filename" for the child. A child that grows or shrinks later does not move the window;
 * truncating is passed on only without a window. "guard": the image is raw because nothing else was
 * seen in it; what would make its first sector look like another format is refused with -EPERM,
 * since whoever opens it next by its looks would follow what a guest wrote there.
 */
#include "block/drivers.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"

struct raw {
	uint64_t start;
	bool window;
	bool guard;
	struct co_mutex first_sector; /* held from the look at it to the write */
	struct log_limit refusals;
};

enum { SECTOR = BLOCK_PROBE_LEN };

static co_fn bool raw_open(struct block_node *node, struct opts *options, GError **error)
{
	struct raw *raw = node->state;
	uint64_t size = 0;

	if (!opts_get_bool(options, "guard", &raw->guard, error) ||
	    !opts_get_size(options, "offset", &raw->start, error) ||
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

static co_fn int raw_map(struct block_node *node, uint64_t off, uint64_t len,
			 struct block_extent *out)
{
	struct raw *raw = node->state;

	*out = (struct block_extent){
		.place = PLACE_FILE, .child = node->file, .off = raw->start + off, .len = len};
	return 0;
}

/*
 * Whether the first sector may become what iov (NULL: zeros) makes of it from off on; head is what
 * it would be, *there bytes of it.
 */
static co_fn int look_first(struct block_node *node, uint64_t off, const struct iovs *iov,
			    uint64_t len, uint8_t head[SECTOR], size_t *there)
{
	struct raw *raw = node->state;
	const char *format;
	size_t part;
	int res;

	*there = MIN(node->length, (uint64_t)SECTOR);
	part = MIN(len, *there - off);
	res = block_pread(node->file, raw->start, head, *there);
	if (res < 0)
		return res;
	if (iov)
		iovs_get(iov, 0, head + off, part);
	else
		memset(head + off, 0, part);
	format = block_probe(head, *there, node->name);
	if (!strcmp(format, "raw"))
		return 0;
	log_limited(&raw->refusals, LOG_WARN, "block",
		    "%s: refused a write that would make it look like format \"%s\"; it was opened "
		    "without saying that it is raw",
		    node->name, format);
	return -EPERM;
}

/* The first sector as it was looked at: iov is memory that a guest may be writing to. */
static co_fn int write_looked_at(struct block_node *node, uint64_t off, const struct iovs *iov,
				 const uint8_t *head, size_t there, unsigned flags)
{
	struct raw *raw = node->state;
	size_t part = MIN(iov->len, there - off);
	struct iovs rest = {.len = iov->len - part};
	int res = block_pwrite(node->file, raw->start + off, head + off, part, flags);

	if (res < 0 || !rest.len)
		return res;
	rest.v = g_new(struct iovec, iov->n);
	rest.n = iovs_slice(iov, part, rest.len, rest.v, iov->n);
	res = block_pwritev(node->file, raw->start + off + part, &rest, flags);
	g_free(rest.v);
	return res;
}

static co_fn int guarded_write(struct block_node *node, uint64_t off, const struct iovs *iov,
			       uint64_t len, unsigned flags)
{
	struct raw *raw = node->state;
	uint8_t head[SECTOR] = {0};
	size_t there;
	int res;

	co_mutex_lock(&raw->first_sector);
	res = look_first(node, off, iov, len, head, &there);
	if (res == 0)
		res = iov ? write_looked_at(node, off, iov, head, there, flags)
			  : block_discard_zero(node->file, raw->start + off, len);
	co_mutex_unlock(&raw->first_sector);
	return res;
}

static co_fn int raw_pwritev(struct block_node *node, uint64_t off, const struct iovs *iov,
			     unsigned flags)
{
	struct raw *raw = node->state;

	if (raw->guard && off < SECTOR)
		return guarded_write(node, off, iov, iov->len, flags);
	return block_pwritev(node->file, raw->start + off, iov, flags);
}

static co_fn int raw_discard_zero(struct block_node *node, uint64_t off, uint64_t len)
{
	struct raw *raw = node->state;

	if (raw->guard && off < SECTOR)
		return guarded_write(node, off, NULL, len, 0);
	return block_discard_zero(node->file, raw->start + off, len);
}

static co_fn int raw_write_zeros(struct block_node *node, uint64_t off, uint64_t len)
{
	struct raw *raw = node->state;

	if (raw->guard && off < SECTOR)
		return -ENOTSUP; /* through raw_pwritev(), which looks */
	return block_write_zeros(node->file, raw->start + off, len, 0);
}

static co_fn int raw_discard(struct block_node *node, uint64_t off, uint64_t len)
{
	struct raw *raw = node->state;

	if (raw->guard && off < SECTOR)
		return guarded_write(node, off, NULL, len, 0);
	return block_discard(node->file, raw->start + off, len);
}

static co_fn bool raw_create(struct block_node *file, const struct block_create *what,
			     GError **error)
{
	static const char *const modes[] = {"off", "falloc", "full", NULL};
	int mode = 0, res;

	if (what->backing_name)
		return err_set(error, ENOTSUP, "a raw image has no backing file");
	if (!opts_get_enum(what->options, "preallocation", modes, &mode, error))
		return false;
	res = block_truncate(file, what->length);
	if (res == 0 && mode > 0)
		res = block_allocate(file, 0, what->length);
	return res == 0 || err_set_errno(error, -res, "cannot give it its size");
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

static void *raw_map_shared(struct block_node *node, uint64_t off, size_t len)
{
	struct raw *raw = node->state;

	return block_map_shared(node->file, raw->start + off, len);
}

/* The guard looks at sectors that a guest writes as a whole, so each clone has its own lock. */
static void raw_clone(struct block_node *clone)
{
	struct raw *raw = clone->state;

	raw->first_sector = (struct co_mutex){0};
	raw->refusals = (struct log_limit){0};
}

const struct block_driver block_raw = {
	.name = "raw",
	.kind = BLOCK_FORMAT,
	.state_size = sizeof(struct raw),
	.open = raw_open,
	.map = raw_map,
	.pwritev = raw_pwritev,
	.discard_zero = raw_discard_zero,
	.write_zeros = raw_write_zeros,
	.discard = raw_discard,
	.allocate = raw_allocate,
	.truncate = raw_truncate,
	.clone = raw_clone,
	.map_shared = raw_map_shared,
	.create = raw_create,
};
