/*
 * Filter "log"; see blklog.h. Everything goes to the file child first and is recorded when it
 * succeeded, in memory or, with the option "log", in a new file (blklog_format.h). What cannot be
 * recorded fails, so that no log is short of something that was reported as done.
 *
 * A file grows in large steps and is cut to its length in the end; records are put into it one by
 * one, so that a log of which only a beginning is left has no holes.
 */
#include "block/blklog.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/err.h"
#include "block/blklog_format.h"
#include "block/drivers.h"

static const uint64_t growth = 16 << 20, most_data = 1 << 30 /* of a record, when it is read */;

struct blklog {
	GArray *entries;         /* if it is kept in memory */
	struct block_node *file; /* or here, */
	uint64_t end;            /* up to here, */
	uint64_t number;         /* so many */
	struct co_mutex adding;
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

static uint64_t recorded(const struct blklog *log)
{
	return log->file ? log->number : log->entries->len;
}

static co_fn int put(struct blklog *log, const void *buf, size_t len)
{
	int res = 0;

	if (len > block_length(log->file) - log->end)
		res = block_truncate(log->file, log->end + len + growth);
	if (res == 0)
		res = block_pwrite(log->file, log->end, buf, len, 0);
	if (res == 0)
		log->end += len;
	return res;
}

/* The data comes with its record, and stays the caller's. */
static co_fn int add_to_file(struct blklog *log, const struct blklog_entry *entry)
{
	uint8_t record[BLKLOG_RECORD_LEN];
	uint64_t before;
	int res;

	co_mutex_lock(&log->adding);
	before = log->end;
	blklog_put_record(record, entry, log->number);
	res = put(log, record, sizeof(record));
	if (res == 0 && entry->data)
		res = put(log, entry->data, entry->len);
	if (res == 0)
		log->number++;
	else
		log->end = before;
	co_mutex_unlock(&log->adding);
	return res;
}

/* The entry's data is taken. */
static co_fn int record(struct block_node *node, struct blklog_entry entry)
{
	struct blklog *log = node->state;
	int res;

	if (!log->file) {
		g_array_append_val(log->entries, entry);
		return 0;
	}
	res = add_to_file(log, &entry);
	g_free(entry.data);
	return res;
}

static co_fn bool begin_file(struct block_node *node, const char *path, GError **error)
{
	struct blklog *log = node->state;
	struct opts *o = opts_new();
	uint8_t head[BLKLOG_HEAD_LEN];
	int res;

	opts_set(o, "driver", "file");
	opts_set(o, "filename", path);
	opts_set(o, "create", "on");
	log->file = block_open(o, BLOCK_RDWR | BLOCK_UNSHARE_WRITE, error);
	opts_free(o);
	if (!log->file)
		return err_prefix(error, "log=");
	blklog_put_head(head, node->length);
	res = put(log, head, sizeof(head));
	return res == 0 || err_set_errno(error, -res, "log=%s: cannot begin it", path);
}

static co_fn bool log_open(struct block_node *node, struct opts *options, GError **error)
{
	const char *path = opts_get(options, "log");

	blklog_init(node);
	return block_open_child(node, options, error) &&
	       (!path || !node->writable || begin_file(node, path, error));
}

static co_fn void log_close(struct block_node *node)
{
	struct blklog *log = node->state;

	if (log->entries)
		g_array_unref(log->entries);
	if (log->file) /* if that fails, zeros end it as well */
		block_truncate(log->file, log->end);
	block_unref(log->file);
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

	if (res < 0)
		return res;
	entry.data = g_try_malloc(iov->len);
	if (!entry.data)
		return -ENOMEM;
	iovs_get(iov, 0, entry.data, iov->len);
	return record(node, entry);
}

static co_fn int log_flush(struct block_node *node)
{
	uint64_t before = recorded(node->state);
	int res = block_flush(node->file);

	if (res < 0)
		return res;
	return record(node, (struct blklog_entry){.kind = BLKLOG_FLUSH, .off = before});
}

static co_fn int log_discard_zero(struct block_node *node, uint64_t off, uint64_t len)
{
	int res = block_discard_zero(node->file, off, len);

	if (res < 0)
		return res;
	return record(node, (struct blklog_entry){.kind = BLKLOG_ZERO, .off = off, .len = len});
}

static co_fn int log_write_zeros(struct block_node *node, uint64_t off, uint64_t len)
{
	int res = block_write_zeros(node->file, off, len, 0);

	if (res < 0)
		return res;
	return record(node, (struct blklog_entry){.kind = BLKLOG_ZERO, .off = off, .len = len});
}

static co_fn int log_allocate(struct block_node *node, uint64_t off, uint64_t len)
{
	int res = block_allocate(node->file, off, len);

	if (res < 0)
		return res;
	return record(node, (struct blklog_entry){.kind = BLKLOG_ALLOCATE, .off = off, .len = len});
}

static co_fn int log_truncate(struct block_node *node, uint64_t len)
{
	int res = block_truncate(node->file, len);

	if (res < 0)
		return res;
	return record(node, (struct blklog_entry){.kind = BLKLOG_TRUNCATE, .off = len});
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
	.write_zeros = log_write_zeros, /* a discard comes as log_discard_zero(), to be replayed */
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
	struct blklog *log = node->state;
	struct blklog_entry entry = {.kind = BLKLOG_MARK, .off = value};

	g_array_append_val(log->entries, entry);
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

static co_fn bool load_data(struct block_node *file, uint64_t off, uint32_t crc,
			    struct blklog_entry *entry)
{
	uint64_t len = blklog_data_len(entry);

	if (len > most_data)
		return false;
	entry->data = len ? g_try_malloc(len) : NULL;
	if (len == 0 || (entry->data && block_pread(file, off, entry->data, len) == 0 &&
			 crc32c(0, entry->data, len) == crc))
		return true;
	g_free(entry->data);
	return false;
}

co_fn bool blklog_load(struct block_node *file, struct blklog_entry **entries, unsigned *n,
		       uint64_t *length, GError **error)
{
	uint64_t end = block_length(file), off = BLKLOG_HEAD_LEN;
	uint8_t head[BLKLOG_HEAD_LEN] = {0}, raw[BLKLOG_RECORD_LEN];
	struct blklog_entry entry;
	GArray *all;
	uint32_t crc;
	int res = block_pread(file, 0, head, MIN(end, sizeof(head)));

	if (res < 0)
		return err_set_errno(error, -res, "%s: cannot be read", block_name(file));
	if (!blklog_get_head(head, length, error))
		return err_prefix(error, "%s", block_name(file));
	all = g_array_new(FALSE, TRUE, sizeof(struct blklog_entry));
	while (end - off >= sizeof(raw) && block_pread(file, off, raw, sizeof(raw)) == 0 &&
	       blklog_get_record(raw, end - off, all->len, &entry, &crc) &&
	       load_data(file, off + sizeof(raw), crc, &entry)) {
		g_array_append_val(all, entry);
		off += sizeof(raw) + blklog_data_len(&entry);
	}
	*n = all->len;
	*entries = (struct blklog_entry *)g_array_free(all, FALSE);
	return true;
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
