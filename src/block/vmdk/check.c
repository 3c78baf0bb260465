/*
 * The check: every entry must refer to a grain of its own that lies in the file behind the tables,
 * compressed ones must have their marker. Where the copy of a table says something else, that loses
 * nothing and counts as a leak. Repairing takes an entry from the copy where that is better, or
 * gives the grain up, and makes the copies equal.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "block/vmdk/vmdk.h"

enum { ENTRY = 4, MAX_TOLD = 1000 };

struct check {
	struct block_node *node;
	struct vmdk_extent *e;
	struct block_check *r;
	unsigned fix, told;
	uint8_t table[VMDK_MAX_TABLE * ENTRY], copy[VMDK_MAX_TABLE * ENTRY];
	bool table_changed, copy_changed;
	GArray *grains; /* uint32_t, sectors */
	uint64_t room;  /* for so many grains at most */
	uint64_t next;  /* where the next one would not be a fragment */
};

G_GNUC_PRINTF(2, 3) static void tell(struct check *c, const char *fmt, ...)
{
	g_autofree char *text = NULL;
	va_list ap;

	if (!c->r->tell || ++c->told > MAX_TOLD)
		return;
	va_start(ap, fmt);
	text = g_strdup_vprintf(fmt, ap);
	va_end(ap);
	c->r->tell(text, c->r->tell_arg);
}

static bool host_ok(const struct check *c, uint32_t entry)
{
	uint64_t host = vmdk_entry_host(c->e, entry);

	return host == 0 || (host >= c->e->h.overhead * VMDK_SECTOR && host >= VMDK_SECTOR &&
			     host < c->e->file->length);
}

static co_fn int check_marker(struct check *c, uint64_t off, uint64_t host)
{
	uint8_t marker[VM_DATA] = {0};
	uint64_t rest = c->e->file->length - host;
	uint64_t size;
	int res = block_pread(c->e->file, host, marker, MIN(rest, sizeof(marker)));

	if (res < 0)
		return res;
	size = get_le32(marker + VM_SIZE);
	if (size > 0 && size + VM_DATA <= rest && size <= 2 * vmdk_grain(c->e) &&
	    get_le64(marker + VM_VALUE) == off / VMDK_SECTOR)
		return 0;
	tell(c, "ERROR the grain of disk offset %" PRIu64 " at %" PRIu64 " has no marker that fits",
	     c->e->start + off, host);
	c->r->corruptions++;
	return 0;
}

/* Entry i of the table in memory, which covers the disk at off of the extent. */
static co_fn int check_entry(struct check *c, uint64_t off, uint32_t i)
{
	uint8_t *p = c->table + (size_t)i * ENTRY, *q = c->copy + (size_t)i * ENTRY;
	uint32_t entry = get_le32(p), other = c->e->second ? get_le32(q) : entry;
	uint64_t host;

	if (!host_ok(c, entry)) {
		tell(c, "ERROR the grain of disk offset %" PRIu64 " would lie at %" PRIu64 ", %s",
		     c->e->start + off, vmdk_entry_host(c->e, entry),
		     vmdk_entry_host(c->e, entry) >= c->e->file->length
			     ? "behind the end of the file"
			     : "among the tables");
		c->r->corruptions++;
		if (!(c->fix & BLOCK_FIX_ERRORS))
			return 0;
		entry = host_ok(c, other) ? other : VMDK_UNUSED;
		put_le32(p, entry);
		c->table_changed = true;
	}
	if (entry != other) { /* a power cut let only one of two writes through */
		tell(c,
		     "The entry for disk offset %" PRIu64 " is %" PRIu32
		     ", in the copy of its table %" PRIu32,
		     c->e->start + off, entry, other);
		c->r->leaks++;
		if (c->fix & BLOCK_FIX_LEAKS) {
			put_le32(q, entry);
			c->copy_changed = true;
		}
	}
	host = vmdk_entry_host(c->e, entry);
	if (host == 0)
		return 0;
	c->r->allocated_clusters++;
	c->r->fragmented_clusters += c->next && host != c->next;
	c->r->compressed_clusters += c->e->h.compressed;
	c->next = host + vmdk_grain(c->e);
	c->r->end_offset = MAX(c->r->end_offset, MIN(c->next, c->e->file->length));
	if (c->grains->len <= c->room)
		g_array_append_val(c->grains, entry);
	return c->e->h.compressed ? check_marker(c, off, host) : 0;
}

static co_fn int check_table(struct check *c, uint32_t t)
{
	struct vmdk_extent *e = c->e;
	uint64_t at = (uint64_t)e->directory[t] * VMDK_SECTOR;
	uint64_t copy = e->second ? (uint64_t)e->second[t] * VMDK_SECTOR : 0;
	size_t len = (size_t)e->h.table * ENTRY;
	int res = block_pread(e->file, at, c->table, len);

	memcpy(c->copy, c->table, len);
	if (res == 0 && copy)
		res = block_pread(e->file, copy, c->copy, len);
	c->table_changed = c->copy_changed = false;
	for (uint32_t i = 0; i < e->h.table && res == 0; i++) {
		uint64_t off = t * vmdk_covers(e) + i * vmdk_grain(e);

		if (off < e->len)
			res = check_entry(c, off, i);
	}
	if (res == 0 && c->table_changed)
		res = block_pwrite(e->file, at, c->table, len, 0);
	if (res == 0 && c->copy_changed && copy)
		res = block_pwrite(e->file, copy, c->copy, len, 0);
	meta_cache_forget(&e->tables, at, len);
	if (copy)
		meta_cache_forget(&e->tables, copy, len);
	return res;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Sorts sectors; how many of them lie less than len sectors behind the one before. */
static uint64_t count_overlaps(uint32_t *v, size_t n, uint64_t len)
{
	uint64_t found = 0;

	if (n > 1) /* v may be NULL */
		qsort(v, n, sizeof(*v), by_value);
	for (size_t i = 1; i < n; i++)
		found += v[i] && v[i - 1] && v[i] - v[i - 1] < len;
	return found;
}

/* Whether the tables lie apart; no grain could be told from another otherwise. */
static bool tables_ok(struct check *c)
{
	size_t n = c->e->h.directory_len;
	uint32_t *sorted = g_memdup2(c->e->directory, n * sizeof(*sorted));
	uint64_t len = (c->e->h.table * ENTRY + VMDK_SECTOR - 1) / VMDK_SECTOR;
	uint64_t found = count_overlaps(sorted, n, len);

	g_free(sorted);
	if (found == 0)
		return true;
	tell(c, "ERROR %" PRIu64 " grain tables of the directory at %" PRIu64 " overlap", found,
	     c->e->h.directory * VMDK_SECTOR);
	c->r->corruptions += found;
	return false;
}

static co_fn int check_sparse(struct check *c)
{
	struct vmdk_extent *e = c->e;
	uint64_t grain = vmdk_grain(e), found;
	int res = 0;

	c->r->total_clusters += (e->len + grain - 1) / grain;
	if (!tables_ok(c))
		return 0;
	c->next = 0;
	c->room = e->file->length / (e->h.compressed ? VMDK_SECTOR : grain) + 1;
	c->grains = g_array_new(FALSE, FALSE, sizeof(uint32_t));
	for (uint32_t t = 0; t < e->h.directory_len && res == 0; t++) {
		if (e->directory[t])
			res = check_table(c, t);
	}
	/* A compressed grain has a sector at least, others their whole length. */
	found = count_overlaps((uint32_t *)(void *)c->grains->data, c->grains->len,
			       e->h.compressed ? 1 : e->h.grain);
	if (found)
		tell(c, "ERROR %" PRIu64 " grains overlap others", found);
	c->r->corruptions += found;
	g_array_unref(c->grains);
	return res < 0 || !c->fix ? res : block_flush(e->file);
}

static co_fn int check_all(struct check *c)
{
	struct vmdk *v = c->node->state;
	int res = 0;

	for (uint32_t i = 0; i < v->n && res == 0; i++) {
		c->e = &v->extents[i];
		if (vmdk_is_sparse(c->e) && !c->e->stream)
			res = check_sparse(c);
		else if (c->e->file)
			c->r->end_offset = MAX(c->r->end_offset, c->e->file->length);
	}
	return res;
}

/* A grain that was found again may lie over another. */
static uint64_t repaired(uint64_t before, uint64_t after)
{
	return before - MIN(before, after);
}

co_fn bool vmdk_check(struct block_node *node, unsigned fix, struct block_check *result,
		      GError **error)
{
	struct vmdk *v = node->state;
	struct block_check first = {.tell = result->tell, .tell_arg = result->tell_arg};
	struct check *c;
	int res;

	if (!v->opened && !vmdk_open_extents(node, NULL, error))
		return false;
	c = g_new0(struct check, 1);
	c->node = node;
	c->fix = fix;
	c->r = fix ? &first : result;
	res = node->writable ? vmdk_flush(node) : 0;
	if (res == 0)
		res = check_all(c);
	if (res == 0 && fix) { /* what is left */
		c->fix = 0;
		c->r = result;
		result->tell = NULL;
		res = check_all(c);
		result->tell = first.tell;
		result->corruptions_fixed = repaired(first.corruptions, result->corruptions);
		result->leaks_fixed = repaired(first.leaks, result->leaks);
	}
	g_free(c);
	return res == 0 || err_set_errno(error, -res, "vmdk: its tables cannot be read or written");
}
