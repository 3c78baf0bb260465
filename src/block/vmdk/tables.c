/*
 * Changes of grain tables. They are made in memory and written by a commit: first everything that
 * the entries will refer to is made durable, the length of the file among it, and only then are
 * entries written, to the tables and to their copies. So whichever of them a power cut lets
 * through, an entry never refers to what is not there. What lost its last entry is given back when
 * that, too, is durable; its place in the file is never used anew.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "block/vmdk/vmdk.h"

enum { ENTRY = 4, GROW = 4 << 20 };

static co_fn int write_tables(struct vmdk_extent *e)
{
	int res;

	if (!e->tables.n_dirty)
		return 0;
	res = block_flush(e->file);
	return res < 0 ? res : meta_cache_write(&e->tables, e->file);
}

/* The space of what nothing refers to any more. That it stays in use harms nobody. */
static co_fn void give_back(struct vmdk *v)
{
	for (unsigned i = 0; i < v->freed->len; i++) {
		const struct vmdk_freed *f = &g_array_index(v->freed, struct vmdk_freed, i);
		struct block_node *file = f->extent->file;

		if (f->off < file->length)
			block_discard_zero(file, f->off,
					   MIN(vmdk_grain(f->extent), file->length - f->off));
	}
	g_array_set_size(v->freed, 0);
}

co_fn int vmdk_commit(struct block_node *node, bool durable)
{
	struct vmdk *v = node->state;
	int res = 0;

	for (uint32_t i = 0; i < v->n && res == 0; i++) {
		struct vmdk_extent *e = &v->extents[i];

		if (vmdk_is_sparse(e))
			res = write_tables(e);
		if (res == 0 && durable && e->file)
			res = block_flush(e->file);
	}
	if (res == 0 && durable)
		res = block_flush(node->file);
	if (res == 0 && durable)
		give_back(v);
	return res;
}

co_fn int vmdk_lock(struct block_node *node)
{
	struct vmdk *v = node->state;
	bool full = false;

	co_mutex_lock(&v->lock);
	for (uint32_t i = 0; i < v->n && !full; i++)
		full = vmdk_is_sparse(&v->extents[i]) && meta_cache_is_full(&v->extents[i].tables);
	return full ? vmdk_commit(node, false) : 0;
}

co_fn int vmdk_touch(struct block_node *node)
{
	struct vmdk *v = node->state;
	uint32_t mask = (uint32_t)(((uint64_t)1 << 4 * v->text.cid_len) - 1), cid;
	char digits[2 * ENTRY + 1];
	int res = 0;

	if (v->cid_changed)
		return 0;
	co_mutex_lock(&v->cid_lock);
	if (!v->cid_changed) {
		do
			cid = g_random_int() & mask;
		while (cid == v->text.cid || cid == VMDK_NO_PARENT);
		/* As long as it was, so that nothing else of the text moves. */
		g_snprintf(digits, sizeof(digits), "%0*x", (int)v->text.cid_len, cid);
		res = block_pwrite(node->file, v->text_at + v->text.cid_at, digits, v->text.cid_len,
				   0);
		if (res == 0)
			res = block_flush(node->file);
		if (res == 0) {
			memcpy(v->raw + v->text.cid_at, digits, v->text.cid_len);
			v->text.cid = cid;
			v->cid_changed = true;
		}
	}
	co_mutex_unlock(&v->cid_lock);
	return res;
}

co_fn int vmdk_grow(struct vmdk_extent *e, uint64_t end)
{
	if (end <= e->file->length)
		return 0;
	e->grown = true;
	return block_truncate(e->file, end + GROW);
}

co_fn int vmdk_alloc(struct vmdk_extent *e, uint64_t bytes, uint64_t *off)
{
	uint64_t align = bytes < vmdk_grain(e) ? VMDK_SECTOR : vmdk_grain(e);
	uint64_t at = (e->next + align - 1) / align * align;
	int res;

	if ((at + bytes) / VMDK_SECTOR > UINT32_MAX)
		return -ENOSPC; /* entries have 32 bits */
	res = vmdk_grow(e, at + bytes);
	if (res < 0)
		return res;
	e->next = at + bytes;
	*off = at;
	return 0;
}

static co_fn int put_entry(struct vmdk_extent *e, uint64_t at, uint32_t value)
{
	uint8_t *data;
	int res = meta_cache_edit(&e->tables, e->file, at, &data);

	if (res == 0)
		put_le32(data, value);
	return res;
}

/* A new table, for entry i of one of the directories. */
static co_fn int add_table(struct vmdk_extent *e, uint32_t *directory, uint64_t sector, uint32_t i)
{
	uint64_t at;
	int res = vmdk_alloc(e, (e->h.table * ENTRY + VMDK_SECTOR - 1) / VMDK_SECTOR * VMDK_SECTOR,
			     &at);

	if (res == 0)
		res = put_entry(e, sector * VMDK_SECTOR + (uint64_t)i * ENTRY,
				(uint32_t)(at / VMDK_SECTOR));
	if (res == 0)
		directory[i] = (uint32_t)(at / VMDK_SECTOR);
	return res;
}

co_fn int vmdk_link(struct block_node *node, struct vmdk_extent *e, uint64_t off, uint64_t n,
		    uint32_t value, uint32_t step)
{
	struct vmdk *v = node->state;
	uint64_t covers = vmdk_covers(e), first = off % covers / vmdk_grain(e);
	uint32_t t = (uint32_t)(off / covers);
	int res = 0;

	if (!e->directory[t])
		res = add_table(e, e->directory, e->h.directory, t);
	if (res == 0 && e->second && !e->second[t])
		res = add_table(e, e->second, e->h.second, t);
	for (uint64_t i = 0; i < n && res == 0; i++) {
		uint64_t at = (uint64_t)e->directory[t] * VMDK_SECTOR + (first + i) * ENTRY;
		struct vmdk_freed old = {.extent = e};
		const uint8_t *data;

		res = meta_cache_get(&e->tables, e->file, at, &data);
		if (res < 0)
			break;
		old.off = vmdk_entry_host(e, get_le32(data));
		if (old.off >= e->h.overhead * VMDK_SECTOR && old.off)
			g_array_append_val(v->freed, old);
		res = put_entry(e, at, value + (uint32_t)i * step);
		at = e->second ? (uint64_t)e->second[t] * VMDK_SECTOR + (first + i) * ENTRY : 0;
		if (res == 0 && at)
			res = put_entry(e, at, value + (uint32_t)i * step);
	}
	return res;
}
