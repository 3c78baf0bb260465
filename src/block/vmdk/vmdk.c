/*
 * Driver "vmdk": a disk of extents, which a text describes. The text stands in a file of its own,
 * or in the one sparse extent there is ("monolithicSparse", "streamOptimized"). Extents are flat,
 * or sparse: grains found through a directory of tables, of which there may be a copy. Grains of
 * streams are compressed; such are written once (stream.c).
 *
 * Options: "file.*" or "filename" for the image, "backing.*" for its parent, "extents.N.*" for the
 * file of an extent (default: as the descriptor names it, by the rules for names in images). The
 * parent must still have the content id that the descriptor says. Reading: map.c; the first write
 * after opening changes the content id, so that images on top of this one notice.
 */
#include "block/vmdk/vmdk.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "block/drivers.h"

static co_fn bool read_text(struct block_node *node, uint64_t off, uint64_t len, GError **error)
{
	struct vmdk *v = node->state;
	int res;

	v->text_at = off;
	v->raw_len = len;
	v->raw = g_try_malloc(len ? len : 1);
	if (!v->raw)
		return err_set(error, ENOMEM, "vmdk: no memory for the descriptor");
	res = block_pread(node->file, off, v->raw, len);
	if (res < 0)
		return err_set_errno(error, -res, "vmdk: the descriptor cannot be read");
	if (off > 0 && (len == 0 || !*v->raw)) {
		return err_set(error, EINVAL,
			       "vmdk: has no descriptor at offset %" PRIu64
			       ": it is an extent of a disk whose descriptor is another file",
			       off);
	}
	return vmdk_parse_text(v->raw, len, off, &v->text, error);
}

/* The descriptor is in the sparse extent; the name that it gives itself means nothing. */
static co_fn bool open_single(struct block_node *node, GError **error)
{
	struct vmdk *v = node->state;
	struct vmdk_extent *e;

	v->n = 1;
	v->extents = e = g_new0(struct vmdk_extent, 1);
	e->kind = VMDK_SPARSE;
	e->file = node->file;
	e->name = g_strdup(node->name);
	if (!vmdk_open_sparse(node, e, error))
		return false;
	if (!read_text(node, MAX(e->h.text, 1) * VMDK_SECTOR, e->h.text_len * VMDK_SECTOR, error))
		return false;
	e->len = e->h.capacity * VMDK_SECTOR;
	v->opened = true;
	return v->text.lines->len == 1 ||
	       err_set(error, ENOTSUP,
		       "vmdk: the descriptor at offset %" PRIu64 " lists %u extents; one that "
		       "stands in an extent can only list that",
		       v->text_at, v->text.lines->len);
}

static bool check_type(const struct vmdk *v, GError **error)
{
	static const char *const known[] = {"monolithicFlat",
					    "vmfs",
					    "twoGbMaxExtentSparse",
					    "twoGbMaxExtentFlat",
					    "2GbMaxExtentSparse",
					    "2GbMaxExtentFlat",
					    NULL};
	g_autofree char *shown = g_strescape(v->text.type, NULL);

	return g_strv_contains(known, v->text.type) ||
	       err_set(error, ENOTSUP,
		       "vmdk: the descriptor's createType is \"%s\", which is not supported",
		       shown);
}

static co_fn bool open_text(struct block_node *node, struct opts *options, GError **error)
{
	struct vmdk *v = node->state;

	if (node->file->length > VMDK_MAX_TEXT) {
		return err_set(error, EINVAL,
			       "vmdk: begins neither with \"KDMV\" nor is it a descriptor, which "
			       "has at most 1 MiB");
	}
	if (!read_text(node, 0, node->file->length, error) || !check_type(v, error))
		return false;
	vmdk_list_extents(node);
	if (node->flags & BLOCK_HEADER_ONLY) {
		opts_free(opts_sub(options, "extents.")); /* seen, and not needed */
		return true;
	}
	return vmdk_open_extents(node, options, error);
}

static bool add_up(struct block_node *node, GError **error)
{
	struct vmdk *v = node->state;

	node->length = 0;
	for (uint32_t i = 0; i < v->n; i++) {
		if (v->extents[i].len > VMDK_MAX_BYTES - node->length)
			return err_set(error, EFBIG,
				       "vmdk: the descriptor's extents are longer than 2^62 bytes");
		node->length += v->extents[i].len;
	}
	return true;
}

static co_fn bool vmdk_open_over(struct block_node *node, struct opts *options, GError **error)
{
	struct vmdk *v = node->state;
	uint8_t magic[4] = {0};
	int res = block_pread(node->file, 0, magic, MIN(sizeof(magic), node->file->length));

	v->freed = g_array_new(FALSE, FALSE, sizeof(struct vmdk_freed));
	if (res < 0)
		return err_set_errno(error, -res, "vmdk: the header cannot be read");
	if (get_le32(magic) == VMDK_MAGIC || get_le32(magic) == VMDK_COWD_MAGIC) {
		if (!open_single(node, error))
			return false;
	} else if (!open_text(node, options, error)) {
		return false;
	}
	if (!add_up(node, error))
		return false;
	if (vmdk_is_sparse(&v->extents[0]))
		node->cluster_size = vmdk_grain(&v->extents[0]);
	node->compressed_only = v->extents[0].stream != NULL;
	if (v->text.parent) {
		node->backing_name = g_strdup(v->text.parent);
		node->backing_format = g_strdup("vmdk");
	}
	return true;
}

static co_fn bool vmdk_open(struct block_node *node, struct opts *options, GError **error)
{
	return block_open_child(node, options, error) && vmdk_open_over(node, options, error);
}

static co_fn bool vmdk_check_backing(struct block_node *node, GError **error)
{
	const struct vmdk *v = node->state, *parent = node->backing->state;

	if (!v->text.parent || node->backing->driver != &block_vmdk)
		return true; /* the user has put something else there */
	return parent->text.cid == v->text.parent_cid ||
	       err_set(error, ESTALE,
		       "vmdk: was made upon content %08" PRIx32 " of \"%s\", which has changed "
		       "since, to %08" PRIx32,
		       v->text.parent_cid, node->backing->name, parent->text.cid);
}

/* What could not be made durable is lost; whoever cares has flushed. */
static co_fn void vmdk_close(struct block_node *node)
{
	struct vmdk *v = node->state;

	if (v->extents && v->opened && node->writable)
		vmdk_flush(node);
	for (uint32_t i = 0; v->extents && i < v->n; i++) {
		struct vmdk_extent *e = &v->extents[i];

		if (e->grown && !e->stream)
			block_truncate(e->file, e->next);
		vmdk_close_extent(e);
	}
	g_free(v->extents);
	vmdk_text_fini(&v->text);
	g_free(v->raw);
	if (v->freed)
		g_array_unref(v->freed);
}

static json_t *extent_json(const struct vmdk_extent *e)
{
	g_autofree char *name = e->name ? g_filename_display_name(e->name) : g_strdup("");
	json_t *j = json_object();

	if (e->h.compressed)
		json_object_set_new(j, "compressed", json_true());
	json_object_set_new(j, "virtual-size", json_integer((json_int_t)e->len));
	json_object_set_new(j, "filename", json_string(name));
	if (e->h.grain)
		json_object_set_new(j, "cluster-size", json_integer((json_int_t)vmdk_grain(e)));
	json_object_set_new(j, "format", json_string(vmdk_kind_name(e->kind)));
	return j;
}

static json_t *vmdk_info(const struct block_node *node)
{
	const struct vmdk *v = node->state;
	g_autofree char *type = g_utf8_make_valid(v->text.type, -1);
	json_t *list = json_array();

	for (uint32_t i = 0; i < v->n; i++)
		json_array_append_new(list, extent_json(&v->extents[i]));
	return json_pack("{s:s, s:b, s:{s:I, s:I, s:s, s:o}}", "type", "vmdk", "dirty", 0, "data",
			 "cid", (json_int_t)v->text.cid, "parent-cid",
			 (json_int_t)v->text.parent_cid, "create-type", type, "extents", list);
}

const struct block_driver block_vmdk = {
	.name = "vmdk",
	.kind = BLOCK_FORMAT,
	.has_metadata = true,
	.state_size = sizeof(struct vmdk),
	.open = vmdk_open,
	.open_over = vmdk_open_over,
	.check_backing = vmdk_check_backing,
	.close = vmdk_close,
	.map = vmdk_map,
	.preadv = vmdk_preadv,
	.pwritev = vmdk_pwritev,
	.pwrite_compressed = vmdk_pwrite_compressed,
	.flush = vmdk_flush,
	.discard_zero = vmdk_discard_zero,
	.truncate = vmdk_truncate,
	.create = vmdk_create,
	.check = vmdk_check,
	.info = vmdk_info,
};
