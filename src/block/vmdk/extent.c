/* The extents of a disk: their files, and the headers and directories of sparse ones. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "block/vmdk/vmdk.h"

enum { CACHE_LEAST = 32 << 10, CACHE_ALL = 32 << 20, ENTRY = 4 };

struct vmdk_extent *vmdk_find_extent(struct vmdk *v, uint64_t off)
{
	uint32_t low = 0, high = v->n - 1;

	while (low < high) {
		uint32_t middle = (low + high + 1) / 2;

		if (v->extents[middle].start <= off)
			low = middle;
		else
			high = middle - 1;
	}
	return &v->extents[low];
}

void vmdk_list_extents(struct block_node *node)
{
	struct vmdk *v = node->state;
	const char *slash = strrchr(node->name, '/');
	int dir = slash ? (int)(slash - node->name) + 1 : 0;
	uint64_t start = 0;

	v->n = v->text.lines->len;
	v->extents = g_new0(struct vmdk_extent, v->n);
	for (uint32_t i = 0; i < v->n; i++) {
		const struct vmdk_line *l = &g_array_index(v->text.lines, struct vmdk_line, i);
		struct vmdk_extent *e = &v->extents[i];

		e->kind = l->kind;
		e->start = start;
		e->len = l->sectors * VMDK_SECTOR;
		e->off = l->off * VMDK_SECTOR;
		if (l->name)
			e->name = g_strdup_printf("%.*s%s", *l->name == '/' ? 0 : dir, node->name,
						  l->name);
		start += e->len;
	}
}

/* What cannot be written: all of the disk is read-only then, if that will do. */
static bool lower(struct block_node *node, const struct vmdk_extent *e, const char *why,
		  GError **error)
{
	if (!node->writable)
		return true;
	if (!(node->flags & BLOCK_AUTO_RDONLY)) {
		return err_set(error, EROFS, "vmdk: extent \"%s\" %s; open it read-only",
			       e->name ? e->name : "ZERO", why);
	}
	node->writable = false;
	return true;
}

static co_fn bool read_entries(struct vmdk_extent *e, uint64_t sector, const char *what,
			       uint32_t **to, GError **error)
{
	size_t len = (size_t)e->h.directory_len * ENTRY;
	int res;

	*to = g_try_malloc(len);
	if (!*to)
		return err_set(error, ENOMEM, "vmdk: no memory for %" PRIu32 " entries of the %s",
			       e->h.directory_len, what);
	res = block_pread(e->file, sector * VMDK_SECTOR, *to, len);
	if (res < 0)
		return err_set_errno(error, -res, "vmdk: the %s cannot be read", what);
	for (uint32_t i = 0; i < e->h.directory_len; i++) {
		uint64_t table = (*to)[i] = get_le32(&(*to)[i]);

		if (table == 0 || (table * VMDK_SECTOR < e->file->length &&
				   e->h.table * ENTRY <= e->file->length - table * VMDK_SECTOR))
			continue;
		return err_set(error, EINVAL,
			       "vmdk: entry %" PRIu32 " of the %s, at offset %" PRIu64
			       ", is sector %" PRIu64 "; no grain table lies there in the file",
			       i, what, sector * VMDK_SECTOR + (uint64_t)i * ENTRY, table);
	}
	return true;
}

/* The header's place is taken by the footer's, which knows where the directory is. */
static co_fn bool read_footer(struct vmdk_extent *e, GError **error)
{
	uint64_t len = e->file->length, at = len - VMDK_FOOTER_MARK, text = e->h.text;
	uint8_t buf[VMDK_FOOTER_MARK];
	const uint8_t *footer = buf + VMDK_FOOTER_MARK - VMDK_FOOTER_AT;
	const uint8_t *eos = buf + VMDK_FOOTER_MARK - VMDK_EOS_AT;
	uint64_t text_len = e->h.text_len;
	int res;

	if (len < VMDK_SECTOR + VMDK_FOOTER_MARK)
		return err_set(error, EINVAL, "vmdk: the file ends before the stream's footer");
	res = block_pread(e->file, at, buf, sizeof(buf));
	if (res < 0)
		return err_set_errno(error, -res, "vmdk: the footer cannot be read");
	if (get_le32(buf + VM_SIZE) || get_le32(buf + VM_TYPE) != VMDK_FOOTER ||
	    get_le32(eos + VM_SIZE) || get_le32(eos + VM_TYPE) != VMDK_EOS || get_le64(eos)) {
		return err_set(error, EINVAL,
			       "vmdk: there is no footer at offset %" PRIu64
			       ": the stream is cut off, or was not written to its end",
			       at);
	}
	if (!vmdk_parse_header(footer, len - VMDK_FOOTER_AT, len, &e->h, error))
		return false;
	e->h.text = text;
	e->h.text_len = text_len;
	e->h.at_end = true;
	return true;
}

static co_fn bool read_header(struct vmdk_extent *e, GError **error)
{
	uint8_t buf[VMDK_SECTOR] = {0};
	size_t len = MIN(e->file->length, (uint64_t)VMDK_SECTOR);
	int res = block_pread(e->file, 0, buf, len);

	if (res < 0)
		return err_set_errno(error, -res, "vmdk: the header cannot be read");
	if (!vmdk_parse_header(buf, 0, e->file->length, &e->h, error))
		return false;
	if (e->h.directory == VMDK_AT_END)
		return read_footer(e, error);
	return true;
}

static co_fn bool prepare_writing(struct block_node *node, struct vmdk_extent *e, GError **error)
{
	enum { MAX_PLAIN_VERSION = 2 };

	if (e->h.compressed)
		return vmdk_stream_open(node, e, error);
	if (e->h.version > MAX_PLAIN_VERSION)
		return lower(node, e, "is of version 3, which can only be read", error);
	e->next = MAX(e->file->length, e->h.overhead * VMDK_SECTOR);
	return true;
}

co_fn bool vmdk_open_sparse(struct block_node *node, struct vmdk_extent *e, GError **error)
{
	struct vmdk *v = node->state;
	size_t cache = MAX(CACHE_ALL / MAX(v->n, 1), (size_t)CACHE_LEAST);

	if (!read_header(e, error) ||
	    !read_entries(e, e->h.directory, "grain directory", &e->directory, error))
		return false;
	if (e->h.second &&
	    !read_entries(e, e->h.second, "second grain directory", &e->second, error))
		return false;
	if (!meta_cache_init(&e->tables, VMDK_SECTOR, cache))
		return err_set(error, ENOMEM, "vmdk: no memory for the cache of grain tables");
	return !node->writable || prepare_writing(node, e, error);
}

/* By what the user says of it, or else as the descriptor names it. */
static co_fn bool open_file(struct block_node *node, struct vmdk_extent *e,
			    const struct vmdk_line *l, struct opts *given, GError **error)
{
	bool write = node->writable && l->writable;
	unsigned flags = (write ? BLOCK_RDWR : 0) | (node->flags & BLOCK_PART_FLAGS);
	struct opts *place = NULL;

	if (!(flags & BLOCK_NO_LOCK))
		flags |= BLOCK_UNSHARE_WRITE;
	if (opts_is_empty(given))
		place = block_refer(node, "extent", l->name, error);
	if (opts_is_empty(given) && !place)
		return false;
	e->file = block_open(place ? place : given, flags, error);
	opts_free(place);
	if (!e->file)
		return err_prefix(error, "vmdk: extent \"%s\"", l->name);
	e->own = true;
	if (!memcmp(e->file->file_id, node->file->file_id, sizeof(e->file->file_id)))
		return err_set(error, ELOOP, "vmdk: extent \"%s\" is the descriptor itself",
			       l->name);
	if (write && !e->file->writable)
		node->writable = false; /* was to be so where it cannot be written */
	return true;
}

/* Flat extents may share a file. */
static bool find_shared(struct vmdk *v, uint32_t i)
{
	struct vmdk_extent *e = &v->extents[i];

	if (vmdk_is_sparse(e))
		return false;
	for (uint32_t k = 0; k < i; k++) {
		struct vmdk_extent *other = &v->extents[k];

		if (other->file && !vmdk_is_sparse(other) && !strcmp(other->name, e->name)) {
			e->file = other->file;
			e->own = true;
			block_ref(e->file);
			return true;
		}
	}
	return false;
}

static co_fn bool check_extent(struct block_node *node, struct vmdk_extent *e, GError **error)
{
	if (!vmdk_is_sparse(e)) {
		if (e->off <= e->file->length && e->len <= e->file->length - e->off)
			return true;
		return err_set(error, EINVAL,
			       "vmdk: extent \"%s\": the descriptor says %" PRIu64
			       " bytes from %" PRIu64 " on, and the file has %" PRIu64,
			       e->name, e->len, e->off, e->file->length);
	}
	if (!vmdk_open_sparse(node, e, error))
		return err_prefix(error, "extent \"%s\"", e->name);
	if (e->h.capacity >= e->len / VMDK_SECTOR)
		return true;
	return err_set(error, EINVAL,
		       "vmdk: extent \"%s\": the descriptor says %" PRIu64
		       " sectors, and its header at offset %d %" PRIu64,
		       e->name, e->len / VMDK_SECTOR, VH_CAPACITY, e->h.capacity);
}

static co_fn bool open_extent(struct block_node *node, uint32_t i, struct opts *options,
			      GError **error)
{
	struct vmdk *v = node->state;
	struct vmdk_extent *e = &v->extents[i];
	const struct vmdk_line *l = &g_array_index(v->text.lines, struct vmdk_line, i);
	g_autofree char *prefix = g_strdup_printf("extents.%" PRIu32 ".", i);
	struct opts *given;
	bool ok;

	if ((l->kind == VMDK_ZERO || !l->writable) && !lower(node, e, "can only be read", error))
		return false;
	if (l->kind == VMDK_ZERO)
		return true;
	given = options ? opts_sub(options, prefix) : opts_new();
	ok = (opts_is_empty(given) && find_shared(v, i)) || open_file(node, e, l, given, error);
	opts_free(given);
	return ok && check_extent(node, e, error);
}

co_fn bool vmdk_open_extents(struct block_node *node, struct opts *options, GError **error)
{
	struct vmdk *v = node->state;

	for (uint32_t i = 0; i < v->n; i++) {
		if (!open_extent(node, i, options, error))
			return false;
	}
	v->opened = true;
	return true;
}

co_fn void vmdk_close_extent(struct vmdk_extent *e)
{
	vmdk_stream_free(e);
	meta_cache_fini(&e->tables);
	g_free(e->directory);
	g_free(e->second);
	g_free(e->unpacked);
	g_free(e->name);
	if (e->own)
		block_unref(e->file);
}
