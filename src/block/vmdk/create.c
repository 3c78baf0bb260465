/*
 * New images: the files of the extents first, then what names them; in each the header last, so
 * that one that was not finished is no image.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/err.h"
#include "block/vmdk/vmdk.h"

enum { ENTRY = 4, TRACK = 63, IDE_HEADS = 16, SCSI_HEADS = 255, COMPAT6 = 6, PLAIN_HW = 4 };
enum subformat { MONO_SPARSE, MONO_FLAT, SPLIT_SPARSE, SPLIT_FLAT, STREAM };
static const char *const subformats[] = {"monolithicSparse",     "monolithicFlat",
					 "twoGbMaxExtentSparse", "twoGbMaxExtentFlat",
					 "streamOptimized",      NULL};
static const char *const adapters[] = {"ide", "buslogic", "lsilogic", "legacyESX", NULL};
static const uint64_t split = (uint64_t)2 << 30;

struct plan {
	enum subformat subformat;
	int adapter;
	bool zero_grains;
	uint64_t hw_version, tools_version, length;
	const char *backing;
	uint32_t parent_cid;
	const char *dir; /* of the image, up to the slash */
	int dir_len;
	const char *base; /* its name in there */
	GString *text;
	GPtrArray *made; /* names of files that were not there */
};

static bool is_flat(const struct plan *p)
{
	return p->subformat == MONO_FLAT || p->subformat == SPLIT_FLAT;
}

static bool is_split(const struct plan *p)
{
	return p->subformat == SPLIT_FLAT || p->subformat == SPLIT_SPARSE;
}

static bool check_options(const struct plan *p, bool compat6, bool hw, GError **error)
{
	if (compat6 && hw)
		return err_set(error, EINVAL, "compat6 and hwversion exclude each other");
	if (is_flat(p) && p->backing)
		return err_set(error, EINVAL, "subformat=%s: a flat image has no backing file",
			       subformats[p->subformat]);
	if (p->zero_grains && (is_flat(p) || p->subformat == STREAM))
		return err_set(error, EINVAL, "subformat=%s has no zeroed grains",
			       subformats[p->subformat]);
	if (p->length == 0)
		return err_set(error, EINVAL, "a VMDK image has at least one sector");
	if (p->length > (is_split(p) ? split * VMDK_MAX_EXTENTS : VMDK_MAX_BYTES))
		return err_set(error, EFBIG, "%" PRIu64 " bytes are too many for subformat=%s",
			       p->length, subformats[p->subformat]);
	if (strpbrk(p->base, "\"\n") || (p->backing && strpbrk(p->backing, "\"\n")))
		return err_set(error, EINVAL,
			       "a name in a VMDK image cannot have quotes or newlines in it");
	return true;
}

static bool parse_options(const struct block_create *what, struct plan *p, GError **error)
{
	const char *file = opts_get(what->options, "backing_file");
	const char *format = opts_get(what->options, "backing_fmt");
	bool compat6 = false, hw = opts_get(what->options, "hwversion");
	int subformat = MONO_SPARSE;

	p->backing = what->backing_name ? what->backing_name : file;
	if (what->backing_name)
		format = what->backing_format;
	p->hw_version = PLAIN_HW;
	p->tools_version = INT32_MAX;
	p->length = (what->length + VMDK_SECTOR - 1) / VMDK_SECTOR * VMDK_SECTOR;
	if (!opts_get_enum(what->options, "subformat", subformats, &subformat, error) ||
	    !opts_get_enum(what->options, "adapter_type", adapters, &p->adapter, error) ||
	    !opts_get_bool(what->options, "compat6", &compat6, error) ||
	    !opts_get_bool(what->options, "zeroed_grain", &p->zero_grains, error) ||
	    !opts_get_u64(what->options, "hwversion", 1, INT32_MAX, &p->hw_version, error) ||
	    !opts_get_u64(what->options, "toolsversion", 0, INT32_MAX, &p->tools_version, error))
		return false;
	p->subformat = subformat;
	if (compat6)
		p->hw_version = hw ? p->hw_version : COMPAT6;
	if (format && strcmp(format, "vmdk") != 0) {
		return err_set(error, EINVAL,
			       "the backing file's format \"%s\": must be vmdk, as the image "
			       "stores its content id",
			       format);
	}
	return check_options(p, compat6, hw, error);
}

/* The content id of what the image is to be made upon. */
static co_fn bool read_parent(struct plan *p, GError **error)
{
	g_autofree char *full =
		g_strdup_printf("%.*s%s", *p->backing == '/' ? 0 : p->dir_len, p->dir, p->backing);
	struct opts *o = opts_new();
	struct block_node *node;

	opts_set(o, "driver", "vmdk");
	opts_set(o, "file.filename", full);
	node = block_open(o, BLOCK_HEADER_ONLY | BLOCK_NO_LOCK, error);
	opts_free(o);
	if (!node)
		return err_prefix(error, "the backing file");
	p->parent_cid = ((const struct vmdk *)node->state)->text.cid;
	block_unref(node);
	return true;
}

static void start_text(struct plan *p)
{
	uint32_t cid;

	do
		cid = g_random_int();
	while (cid == VMDK_NO_PARENT);
	p->text = g_string_new("# Disk DescriptorFile\nversion=1\n");
	g_string_append_printf(p->text,
			       "CID=%08" PRIx32 "\nparentCID=%08" PRIx32 "\ncreateType=\"%s\"\n",
			       cid, p->parent_cid, subformats[p->subformat]);
	if (p->backing)
		g_string_append_printf(p->text, "parentFileNameHint=\"%s\"\n", p->backing);
	g_string_append(p->text, "\n# Extent description\n");
}

static void end_text(struct plan *p)
{
	unsigned heads = p->adapter == 0 ? IDE_HEADS : SCSI_HEADS;

	g_string_append_printf(p->text,
			       "\n# The Disk Data Base\n#DDB\n\n"
			       "ddb.virtualHWVersion = \"%" PRIu64 "\"\n"
			       "ddb.geometry.cylinders = \"%" PRIu64 "\"\n"
			       "ddb.geometry.heads = \"%u\"\n"
			       "ddb.geometry.sectors = \"%d\"\n"
			       "ddb.adapterType = \"%s\"\n"
			       "ddb.toolsVersion = \"%" PRIu64 "\"\n",
			       p->hw_version, p->length / VMDK_SECTOR / (heads * (uint64_t)TRACK),
			       heads, TRACK, adapters[p->adapter], p->tools_version);
}

/* Where everything goes in a sparse file for that many bytes of the disk. */
static bool lay_out(const struct plan *p, uint64_t bytes, struct vmdk_header *h, GError **error)
{
	uint64_t covers = (uint64_t)VMDK_GRAIN * VMDK_MAX_TABLE, directory, tables, end;

	*h = (struct vmdk_header){.version = p->zero_grains ? 2 : 1,
				  .flags = VMDK_NEWLINES,
				  .capacity = bytes / VMDK_SECTOR,
				  .grain = VMDK_GRAIN,
				  .text = VMDK_TEXT_SECTOR,
				  .text_len = VMDK_TEXT_SECTORS,
				  .table = VMDK_MAX_TABLE};
	if ((h->capacity + covers - 1) / covers > VMDK_MAX_DIRECTORY) {
		return err_set(error, EFBIG,
			       "%" PRIu64 " bytes need a grain directory of more "
			       "than 16 MiB",
			       bytes);
	}
	h->directory_len = (uint32_t)((h->capacity + covers - 1) / covers);
	if (p->subformat == STREAM) {
		h->flags |= VMDK_COMPRESSED | VMDK_MARKERS;
		h->compressed = true;
		h->directory = VMDK_AT_END;
		h->overhead = VMDK_GRAIN;
		return true;
	}
	h->flags |= VMDK_HAS_SECOND | (p->zero_grains ? VMDK_ZERO_GRAINS : 0);
	directory = ((uint64_t)h->directory_len * ENTRY + VMDK_SECTOR - 1) / VMDK_SECTOR;
	tables = (uint64_t)h->directory_len * (VMDK_MAX_TABLE * ENTRY / VMDK_SECTOR);
	h->second = h->text + h->text_len;
	h->directory = h->second + directory + tables;
	end = h->directory + directory + tables;
	h->overhead = (end + VMDK_GRAIN - 1) / VMDK_GRAIN * VMDK_GRAIN;
	return true;
}

/* A directory whose tables follow it. */
static co_fn int put_directory(struct block_node *file, const struct vmdk_header *h,
			       uint64_t sector)
{
	size_t len = (size_t)h->directory_len * ENTRY;
	uint64_t first = sector + (len + VMDK_SECTOR - 1) / VMDK_SECTOR;
	uint8_t *buf = g_try_malloc(len);
	int res = -ENOMEM;

	for (uint32_t i = 0; buf && i < h->directory_len; i++)
		put_le32(buf + (size_t)i * ENTRY,
			 (uint32_t)(first + i * (uint64_t)(VMDK_MAX_TABLE * ENTRY / VMDK_SECTOR)));
	if (buf)
		res = block_pwrite(file, sector * VMDK_SECTOR, buf, len, 0);
	g_free(buf);
	return res;
}

/* The end of a stream without grains. */
static co_fn int put_empty_end(struct block_node *file, const struct vmdk_header *h)
{
	struct vmdk_extent e = {.kind = VMDK_SPARSE, .file = file, .h = *h};
	int res = -ENOMEM;

	e.directory = g_try_new0(uint32_t, h->directory_len);
	e.stream = g_new0(struct vmdk_stream, 1);
	e.stream->tables = g_try_new0(uint32_t *, h->directory_len);
	e.stream->end = h->overhead * VMDK_SECTOR;
	if (e.directory && e.stream->tables)
		res = vmdk_stream_finish(&e);
	vmdk_close_extent(&e);
	return res;
}

static co_fn int write_sparse(struct block_node *file, const struct vmdk_header *h,
			      const GString *text)
{
	uint8_t head[VMDK_SECTOR];
	int res = block_truncate(file, h->overhead * VMDK_SECTOR);

	if (res == 0 && h->second)
		res = put_directory(file, h, h->second);
	if (res == 0 && h->second)
		res = put_directory(file, h, h->directory);
	if (res == 0 && text)
		res = block_pwrite(file, h->text * VMDK_SECTOR, text->str, text->len, 0);
	if (res == 0)
		res = block_flush(file);
	vmdk_put_header(head, h);
	if (res == 0)
		res = block_pwrite(file, 0, head, sizeof(head), 0);
	if (res == 0)
		res = h->compressed ? put_empty_end(file, h) : block_flush(file);
	return res;
}

static co_fn bool create_single(struct block_node *file, struct plan *p, GError **error)
{
	struct vmdk_header h;
	int res;

	g_string_append_printf(p->text, "RW %" PRIu64 " SPARSE \"%s\"\n", p->length / VMDK_SECTOR,
			       p->base);
	end_text(p);
	if (!lay_out(p, p->length, &h, error))
		return false;
	if (p->text->len > (size_t)VMDK_TEXT_SECTORS * VMDK_SECTOR)
		return err_set(error, EINVAL, "the names are too long for the descriptor");
	res = write_sparse(file, &h, p->text);
	return res == 0 || err_set_errno(error, -res, "vmdk: it cannot be written");
}

/* A new, empty file; one that is there is emptied. */
static co_fn struct block_node *make_file(struct plan *p, const char *path, GError **error)
{
	struct opts *o = opts_new();
	struct block_node *file;
	GError *why = NULL;
	int res = 0;

	opts_set(o, "driver", "file");
	opts_set(o, "filename", path);
	opts_set(o, "create", "on");
	file = block_open(o, BLOCK_RDWR | BLOCK_UNSHARE_WRITE, &why);
	opts_free(o);
	if (file) {
		g_ptr_array_add(p->made, g_strdup(path));
		return file;
	}
	if (!g_error_matches(why, OB_ERROR, EEXIST)) {
		g_propagate_error(error, why);
		return NULL;
	}
	g_error_free(why);
	file = block_open_file(path, BLOCK_RDWR | BLOCK_UNSHARE_WRITE, error);
	if (file)
		res = block_truncate(file, 0);
	if (res == 0)
		return file;
	err_set_errno(error, -res, "%s: cannot be emptied", path);
	block_unref(file);
	return NULL;
}

/* n: 0 for the only one there is. */
static char *extent_name(const struct plan *p, unsigned n)
{
	const char *dot = strrchr(p->base, '.');
	int stem = dot ? (int)(dot - p->base) : (int)strlen(p->base);

	if (n == 0)
		return g_strdup_printf("%.*s-flat%s", stem, p->base, dot ? dot : "");
	return g_strdup_printf("%.*s-%c%03u%s", stem, p->base, is_flat(p) ? 'f' : 's', n,
			       dot ? dot : "");
}

static co_fn bool create_extent(struct plan *p, unsigned n, uint64_t bytes, GError **error)
{
	g_autofree char *name = extent_name(p, n);
	g_autofree char *path = g_strdup_printf("%.*s%s", p->dir_len, p->dir, name);
	struct vmdk_header h;
	struct block_node *file;
	int res;

	if (!is_flat(p) && !lay_out(p, bytes, &h, error))
		return false;
	file = make_file(p, path, error);
	if (!file)
		return false;
	res = is_flat(p) ? block_truncate(file, bytes) : write_sparse(file, &h, NULL);
	if (res == 0)
		res = block_flush(file);
	block_unref(file);
	g_string_append_printf(p->text, "RW %" PRIu64 " %s \"%s\"%s\n", bytes / VMDK_SECTOR,
			       is_flat(p) ? "FLAT" : "SPARSE", name, is_flat(p) ? " 0" : "");
	return res == 0 || err_set_errno(error, -res, "%s: it cannot be written", path);
}

static co_fn bool create_split(struct block_node *file, struct plan *p, GError **error)
{
	uint64_t piece = is_split(p) ? split : p->length;
	unsigned n = is_split(p) ? 1 : 0;
	int res;

	if (!file->file_id[1])
		return err_set(error, EINVAL, "subformat=%s needs a file in a folder",
			       subformats[p->subformat]);
	for (uint64_t off = 0; off < p->length; off += piece) {
		if (!create_extent(p, n++, MIN(piece, p->length - off), error))
			return false;
	}
	end_text(p);
	res = block_truncate(file, p->text->len);
	if (res == 0)
		res = block_pwrite(file, 0, p->text->str, p->text->len, 0);
	if (res == 0)
		res = block_flush(file);
	return res == 0 || err_set_errno(error, -res, "vmdk: it cannot be written");
}

static int unlink_run(void *arg)
{
	const GPtrArray *made = arg;

	for (unsigned i = 0; i < made->len; i++)
		unlink(made->pdata[i]);
	return 0;
}

co_fn bool vmdk_create(struct block_node *file, const struct block_create *what, GError **error)
{
	const char *slash = strrchr(file->name, '/');
	struct plan p = {.parent_cid = VMDK_NO_PARENT, .dir = file->name};
	bool ok;

	p.base = slash ? slash + 1 : file->name;
	p.dir_len = (int)(p.base - file->name);
	if (!parse_options(what, &p, error) || (p.backing && !read_parent(&p, error)))
		return false;
	p.made = g_ptr_array_new_with_free_func(g_free);
	start_text(&p);
	ok = p.subformat == MONO_SPARSE || p.subformat == STREAM ? create_single(file, &p, error)
								 : create_split(file, &p, error);
	if (!ok)
		job_run(unlink_run, p.made);
	g_string_free(p.text, TRUE);
	g_ptr_array_unref(p.made);
	return ok;
}
