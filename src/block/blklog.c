/* Filter "log"; see blklog.h. Everything goes to the file child first and is recorded when it
 * succeeded. */
#include "block/blklog.h"

#include <errno.h>
#include <string.h>

#include "block/drivers.h"

struct blklog {
	GArray *entries;
};

static void entry_clear(void *p)
{
	struct blklog_entry *entry = p;

	g_free(entry->data);
}

static void blklog_init(struct block_node *node)
{
	struct blklog *log = node->state;

	log->entries = g_array_new(FALSE, TRUE, sizeof(struct blklog_entry));
	g_array_set_clear_func(log->entries, entry_clear);
}

static void record(struct block_node *node, struct blklog_entry entry)
{
	struct blklog *log = node->state;

	g_array_append_val(log->entries, entry);
}

static co_fn bool log_open(struct block_node *node, struct opts *options, GError **error)
{
	blklog_init(node);
	return block_open_child(node, options, error);
}

static co_fn void log_close(struct block_node *node)
{
	struct blklog *log = node->state;

	if (log->entries)
		g_array_unref(log->entries);
}

static co_fn int log_preadv(struct block_node *node, uint64_t off, const struct iovs *iov)
{
	return block_preadv(node->file, off, iov);
}

static co_fn int log_pwritev(struct block_node *node, uint64_t off, const struct iovs *iov,
			     unsigned flags)
{
	int res = block_pwritev(node->file, off, iov, flags);
	struct blklog_entry entry = {
		.kind = BLKLOG_WRITE, .fua = flags & BLOCK_FUA, .off = off, .len = iov->len};

	if (res == 0) {
		entry.data = g_malloc(iov->len);
		iovs_get(iov, 0, entry.data, iov->len);
		record(node, entry);
	}
	return res;
}

static co_fn int log_flush(struct block_node *node)
{
	int res = block_flush(node->file);

	if (res == 0)
		record(node, (struct blklog_entry){.kind = BLKLOG_FLUSH});
	return res;
}

static co_fn int log_discard_zero(struct block_node *node, uint64_t off, uint64_t len)
{
	int res = block_discard_zero(node->file, off, len);

	if (res == 0)
		record(node, (struct blklog_entry){.kind = BLKLOG_ZERO, .off = off, .len = len});
	return res;
}

static co_fn int log_allocate(struct block_node *node, uint64_t off, uint64_t len)
{
	int res = block_allocate(node->file, off, len);

	if (res == 0)
		record(node,
		       (struct blklog_entry){.kind = BLKLOG_ALLOCATE, .off = off, .len = len});
	return res;
}

static co_fn int log_truncate(struct block_node *node, uint64_t len)
{
	int res = block_truncate(node->file, len);

	if (res == 0)
		record(node, (struct blklog_entry){.kind = BLKLOG_TRUNCATE, .off = len});
	return res;
}

static co_fn int log_get_status(struct block_node *node, uint64_t off, uint64_t len,
				unsigned *status, uint64_t *run)
{
	return block_get_status(node->file, off, len, status, run);
}

const struct block_driver block_log = {
	.name = "log",
	.kind = BLOCK_FILTER,
	.state_size = sizeof(struct blklog),
	.open = log_open,
	.close = log_close,
	.preadv = log_preadv,
	.pwritev = log_pwritev,
	.flush = log_flush,
	.discard_zero = log_discard_zero,
	.allocate = log_allocate,
	.truncate = log_truncate,
	.get_status = log_get_status,
};

struct block_node *blklog_new(struct block_node *file)
{
	struct block_node *node = block_new_over(&block_log, file);

	blklog_init(node);
	return node;
}

const struct blklog_entry *blklog_entries(const struct block_node *node, unsigned *n)
{
	struct blklog *log = node->state;

	*n = log->entries->len;
	return (const struct blklog_entry *)log->entries->data;
}

void blklog_mark(struct block_node *node, uint64_t value)
{
	record(node, (struct blklog_entry){.kind = BLKLOG_MARK, .off = value});
}

struct blklog_entry *blklog_steal(struct block_node *node, unsigned *n)
{
	struct blklog *log = node->state;
	struct blklog_entry *entries;

	*n = log->entries->len;
	g_array_set_clear_func(log->entries, NULL);
	entries = (struct blklog_entry *)g_array_free(log->entries, FALSE);
	blklog_init(node);
	return entries;
}

void blklog_free(struct blklog_entry *entries, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		g_free(entries[i].data);
	g_free(entries);
}

co_fn int blklog_apply(const struct blklog_entry *entry, uint64_t from, uint64_t to,
		       struct block_node *target)
{
	switch (entry->kind) {
	case BLKLOG_WRITE:
		return block_pwrite(target, entry->off + from, entry->data + from, to - from, 0);
	case BLKLOG_ZERO: return block_discard_zero(target, entry->off, entry->len);
	case BLKLOG_TRUNCATE: return block_truncate(target, entry->off);
	case BLKLOG_ALLOCATE:
	case BLKLOG_FLUSH:
	case BLKLOG_MARK: return 0;
	}
	return -EINVAL;
}
