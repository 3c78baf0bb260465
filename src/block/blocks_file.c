/*
 * What the blocks of an image occupy in its file: space at the end, the table of entries, and
 * whether what the entries say can be; see blocks.h.
 *
 * Before the first growth the file is cut behind what is referred to and that is made durable, so
 * that what grows later is zeros whatever a crash left there.
 */
#include "block/blocks.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/err.h"
#include "base/log.h"

static const uint64_t grow_step = (uint64_t)16 << 20;
enum { MAX_TOLD = 100, UUID_LEN = 16, VERSION_BYTE = 6, VARIANT_BYTE = 8 };

void blocks_new_uuid(uint8_t *uuid)
{
	if (getrandom(uuid, UUID_LEN, 0) != UUID_LEN)
		abort();
	uuid[VERSION_BYTE] = (uuid[VERSION_BYTE] & 0x0f) | 0x40;
	uuid[VARIANT_BYTE] = (uuid[VARIANT_BYTE] & 0x3f) | 0x80;
}

static uint64_t round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

/* The end of the file becomes known. */
static co_fn int clean_end(struct block_node *node)
{
	struct blocks *b = node->state;
	int res = 0;

	if (b->may_grow)
		return 0;
	b->fresh_end = b->used_end;
	if (node->file->length > b->used_end) {
		res = block_truncate(node->file, b->used_end);
		if (res == -ENOTSUP) { /* a device: what lies behind may be anything */
			b->fresh_end = UINT64_MAX;
			res = 0;
		} else if (res == 0) {
			res = block_flush(node->file);
		}
	}
	b->may_grow = res == 0;
	return res;
}

static co_fn int grow_to(struct block_node *file, uint64_t end)
{
	int res;

	if (end <= file->length)
		return 0;
	res = block_truncate(file, round_up(end, grow_step));
	if (res == -ENOTSUP)
		return -ENOSPC;
	return res;
}

co_fn int blocks_take(struct block_node *node, uint64_t len, uint64_t gap, uint64_t *off)
{
	struct blocks *b = node->state;
	uint64_t at;
	int res;

	if (b->spare && b->spare->len && len == b->lead + b->size) {
		at = g_array_index(b->spare, uint64_t, b->spare->len - 1);
		res = block_discard_zero(node->file, at, len);
		if (res < 0)
			return res;
		g_array_set_size(b->spare, b->spare->len - 1);
		*off = at;
		return 0;
	}
	res = clean_end(node);
	if (res < 0)
		return res;
	at = b->used_end + gap;
	res = grow_to(node->file, at + len);
	if (res == 0 && at < b->fresh_end && b->fresh_end == UINT64_MAX)
		res = block_discard_zero(node->file, at, len);
	if (res < 0)
		return res;
	b->used_end = at + len;
	*off = at;
	return 0;
}

void blocks_add_area(struct blocks *b, const char *name, uint64_t off, uint64_t len)
{
	g_assert(b->n_areas < BLOCKS_MAX_AREAS);
	b->areas[b->n_areas++] = (struct blocks_area){name, off, len};
}

/* The area that [off, off + len) touches, or NULL. */
static const struct blocks_area *touches(const struct blocks *b, const struct blocks_area *what)
{
	for (unsigned i = 0; i < b->n_areas; i++) {
		const struct blocks_area *a = &b->areas[i];

		if (what->off < a->off + a->len && a->off < what->off + what->len)
			return a;
	}
	return NULL;
}

/* NULL: fine. A new string otherwise. */
static char *find_fault(const struct block_node *node, uint64_t i, const struct blocks_area *what,
			uint64_t entry_off)
{
	const struct blocks *b = node->state;
	const struct blocks_area *a = touches(b, what);

	if (what->off > INT64_MAX - what->len ||
	    (what->off >= node->file->length && !b->end_is_soft)) {
		return g_strdup_printf("the entry of block %" PRIu64 " at offset %" PRIu64
				       " says that it lies at %" PRIu64
				       ", and the file has only %" PRIu64 " bytes",
				       i, entry_off, what->off, node->file->length);
	}
	if (a) {
		return g_strdup_printf("the entry of block %" PRIu64 " at offset %" PRIu64
				       " says that it lies at %" PRIu64 ", where the %s is",
				       i, entry_off, what->off, a->name);
	}
	return NULL;
}

struct found {
	uint64_t off, i;
};

static int by_offset(const void *a, const void *b)
{
	const struct found *x = a, *y = b;

	return (x->off > y->off) - (x->off < y->off);
}

void blocks_tell(struct block_check *r, const char *fmt, ...)
{
	g_autofree char *text = NULL;
	va_list ap;

	if (!r->tell || r->corruptions + r->leaks > MAX_TOLD)
		return;
	va_start(ap, fmt);
	text = g_strdup_vprintf(fmt, ap);
	va_end(ap);
	r->tell(text, r->tell_arg);
}

/* Which of the blocks lie over each other. */
static bool find_overlaps(const struct block_node *node, uint64_t n, struct block_check *r,
			  GError **error)
{
	const struct blocks *b = node->state;
	struct found *all = g_try_new(struct found, n ? n : 1);
	struct blocks_area what = {0};
	uint64_t k = 0, entry;

	if (!all)
		return err_set(error, ENOMEM, "no memory for %" PRIu64 " blocks", n);
	for (uint64_t i = 0; i < b->n && k < n; i++) {
		if (b->driver->extent(node, i, &what, &entry))
			all[k++] = (struct found){what.off, i};
	}
	qsort(all, k, sizeof(*all), by_offset);
	for (uint64_t j = 1; j < k; j++) {
		if (all[j].off - all[j - 1].off >= what.len)
			continue;
		r->corruptions++;
		blocks_tell(r,
			    "ERROR blocks %" PRIu64 " and %" PRIu64
			    " lie at the same place, offset %" PRIu64,
			    all[j - 1].i, all[j].i, all[j].off);
	}
	g_free(all);
	return true;
}

/* Looks at every entry. first: text of the first fault, or NULL to tell of each. */
static bool look_at_all(const struct block_node *node, struct block_check *r, char **first)
{
	const struct blocks *b = node->state;
	uint64_t next = 0;

	r->total_clusters = b->n;
	for (unsigned k = 0; k < b->n_areas; k++)
		r->end_offset = MAX(r->end_offset, b->areas[k].off + b->areas[k].len);
	for (uint64_t i = 0; i < b->n; i++) {
		struct blocks_area what;
		uint64_t entry;
		char *fault;

		if (!b->driver->extent(node, i, &what, &entry))
			continue;
		r->allocated_clusters++;
		r->fragmented_clusters += next && what.off != next;
		next = what.off + what.len;
		fault = find_fault(node, i, &what, entry);
		if (!fault) {
			r->end_offset = MAX(r->end_offset, next);
			continue;
		}
		r->corruptions++;
		if (first) {
			*first = fault;
			return false;
		}
		blocks_tell(r, "ERROR %s", fault);
		g_free(fault);
	}
	return true;
}

co_fn bool blocks_start(struct block_node *node, GError **error)
{
	struct blocks *b = node->state;
	struct block_check r = {0};
	g_autofree char *fault = NULL;
	int res = 0;

	if (!look_at_all(node, &r, &fault))
		return err_set(error, EINVAL, "%s: %s", b->driver->name, fault);
	b->used_end = r.end_offset;
	if (!node->writable)
		return true;
	if (!find_overlaps(node, r.allocated_clusters, &r, error))
		return false;
	if (r.corruptions) {
		return err_set(error, EINVAL,
			       "%s: %" PRIu64
			       " blocks lie where others do; check it, or open it read-only",
			       b->driver->name, r.corruptions);
	}
	if (node->file->length < b->used_end)
		res = block_truncate(node->file, b->used_end);
	return res == 0 || err_set_errno(error, -res, "%s: the file is shorter than its blocks",
					 b->driver->name);
}

co_fn void blocks_stop(struct block_node *node, uint64_t keep)
{
	struct blocks *b = node->state;
	int res = 0;

	if (node->file && b->driver && node->writable) {
		if (b->pending && !b->broken)
			res = blocks_flush(node);
		if (res == 0 && !b->broken && b->may_grow && b->fresh_end != UINT64_MAX &&
		    node->file->length > b->used_end + keep)
			res = block_truncate(node->file, b->used_end + keep);
	}
	if (res < 0)
		log_line(LOG_ERROR, "block", "%s: %s: closing: %s", node->name, b->driver->name,
			 strerror(-res));
	if (b->spare)
		g_array_unref(b->spare);
}

co_fn bool blocks_check(struct block_node *node, unsigned fix, uint64_t keep, struct block_check *r,
			GError **error)
{
	struct blocks *b = node->state;
	uint64_t end;
	int res = 0;

	look_at_all(node, r, NULL);
	if (!find_overlaps(node, r->allocated_clusters, r, error))
		return false;
	end = r->end_offset + keep;
	if (r->corruptions || node->file->length < end + b->size)
		return true;
	r->leaks = (node->file->length - end) / b->size;
	blocks_tell(r,
		    "Leaked %" PRIu64 " blocks at the end of the file, from offset %" PRIu64 " on",
		    r->leaks, end);
	if (!(fix & BLOCK_FIX_LEAKS) || keep) /* what is kept at the end would be lost */
		return true;
	res = block_truncate(node->file, end);
	if (res < 0)
		return err_set_errno(error, -res, "%s: the file cannot be cut", b->driver->name);
	r->leaks_fixed = r->leaks;
	r->leaks = 0;
	return true;
}

bool blocks_table_init(struct blocks_table *t, uint64_t off, uint64_t len, unsigned sector)
{
	*t = (struct blocks_table){
		.off = off, .len = round_up(MAX(len, 1), sector), .sector = sector};
	t->raw = g_try_malloc0(t->len);
	t->dirty = g_try_malloc0(t->len / sector);
	return t->raw && t->dirty;
}

void blocks_table_fini(struct blocks_table *t)
{
	g_free(t->raw);
	g_free(t->dirty);
	*t = (struct blocks_table){0};
}

co_fn int blocks_table_read(struct blocks_table *t, struct block_node *file)
{
	struct iovec one;
	struct iovs iov = iovs_one(&one, t->raw, t->len);

	return block_preadv_padded(file, t->off, &iov);
}

void blocks_table_touch(struct blocks_table *t, uint64_t at)
{
	uint8_t *flag = &t->dirty[at / t->sector];

	t->n_dirty += !*flag;
	*flag = 1;
}

bool blocks_table_next(const struct blocks_table *t, uint64_t *at, uint64_t *len)
{
	uint64_t n = t->len / t->sector, first = *at / t->sector, end;

	if (t->n_dirty == 0)
		return false;
	while (first < n && !t->dirty[first])
		first++;
	for (end = first; end < n && t->dirty[end];)
		end++;
	*at = first * t->sector;
	*len = (end - first) * t->sector;
	return end > first;
}

void blocks_table_clean(struct blocks_table *t)
{
	if (t->n_dirty)
		memset(t->dirty, 0, t->len / t->sector);
	t->n_dirty = 0;
}

co_fn int blocks_table_write(struct blocks_table *t, struct block_node *file)
{
	uint64_t at = 0, len = 0;
	int res = 0;

	for (; res == 0 && blocks_table_next(t, &at, &len); at += len)
		res = block_pwrite(file, t->off + at, t->raw + at, len, 0);
	if (res == 0)
		blocks_table_clean(t);
	return res;
}
