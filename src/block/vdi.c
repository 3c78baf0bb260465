/*
 * Driver "vdi": VirtualBox's disk images, dynamic and static (formats.md 2.5). Little-endian. A
 * header of 512 bytes, the block map, the blocks. Images with a parent cannot be opened.
 *
 * Options: "file.*" or "filename". For create: "static", "cluster_size" (of a block; other programs
 * know 1M only).
 *
 * Order: data and the header's count of blocks, flush, map, flush. The count is so never less than
 * what the map says, and whoever allocates by it overwrites nothing.
 *
 * Growing: the map has room up to the data. Beyond that the first blocks move to the end, the new
 * map goes where they were, and one write of the header's sector names it.
 */
#include "block/vdi.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "block/drivers.h"

static int vdi_probe(const uint8_t *head, size_t len, const char *name)
{
	(void)name;
	return len >= VH_MAGIC + 4 && get_le32(head + VH_MAGIC) == MAGIC ? 100 : 0;
}

static enum block_place vdi_find(const struct block_node *node, uint64_t i, uint64_t *host)
{
	const struct vdi *v = node->state;
	uint32_t entry = get_le32(v->map.raw + i * 4);

	if (entry >= DISCARDED)
		return PLACE_ZERO;
	*host = v->data_off + entry * v->b.size;
	return PLACE_FILE;
}

static bool vdi_extent(const struct block_node *node, uint64_t i, struct blocks_area *what,
		       uint64_t *entry_off)
{
	const struct vdi *v = node->state;

	*entry_off = v->map_off + i * 4;
	what->off = 0;
	what->len = v->b.size;
	return vdi_find(node, i, &what->off) == PLACE_FILE;
}

static co_fn int vdi_allocate(struct block_node *node, uint64_t i, uint64_t *host)
{
	struct vdi *v = node->state;

	(void)i;
	return blocks_take(node, v->b.size, 0, host);
}

static void vdi_link(struct block_node *node, uint64_t i, uint64_t host)
{
	struct vdi *v = node->state;

	put_le32(v->map.raw + i * 4, (uint32_t)((host - v->data_off) / v->b.size));
	blocks_table_touch(&v->map, i * 4);
}

/* The next index that another program would give to a block. */
static uint32_t next_index(const struct vdi *v)
{
	return (uint32_t)((v->b.used_end - v->data_off) / v->b.size);
}

co_fn int vdi_write_header(struct block_node *node)
{
	struct vdi *v = node->state;

	return block_pwrite(node->file, 0, v->head, sizeof(v->head), 0);
}

static co_fn int vdi_commit(struct block_node *node)
{
	struct vdi *v = node->state;
	int res = 0;

	if (v->allocated != next_index(v)) {
		put_le32(v->head + VH_ALLOCATED, next_index(v));
		res = vdi_write_header(node);
	}
	if (res == 0)
		res = block_flush(node->file);
	if (res < 0)
		return res;
	v->allocated = next_index(v);
	res = blocks_table_write(&v->map, node->file);
	return res < 0 ? res : block_flush(node->file);
}

static const struct blocks_driver vdi_blocks = {
	.name = "vdi",
	.find = vdi_find,
	.extent = vdi_extent,
	.allocate = vdi_allocate,
	.link = vdi_link,
	.commit = vdi_commit,
};

static bool has_uuid(const uint8_t *p)
{
	static const uint8_t none[UUID];

	return memcmp(p, none, UUID) != 0;
}

static bool check_kind(const struct vdi *v, GError **error)
{
	uint32_t type = get_le32(v->head + VH_TYPE), version = get_le32(v->head + VH_VERSION);

	if (get_le32(v->head + VH_MAGIC) != MAGIC) {
		return err_set(error, EINVAL,
			       "vdi: the magic number at offset 0x%x is 0x%08" PRIx32
			       ", must be 0x%08x",
			       VH_MAGIC, get_le32(v->head + VH_MAGIC), MAGIC);
	}
	if (version != VERSION) {
		return err_set(error, ENOTSUP,
			       "vdi: the version at offset 0x%x is 0x%" PRIx32
			       "; only 0x%x is known",
			       VH_VERSION, version, VERSION);
	}
	if (type == TYPE_UNDO || type == TYPE_DIFFERENCING || has_uuid(v->head + VH_LINK) ||
	    has_uuid(v->head + VH_PARENT)) {
		return err_set(error, ENOTSUP,
			       "vdi: has a parent (type %" PRIu32
			       " at offset 0x%x), which cannot be opened here; merge them with "
			       "VBoxManage clonemedium",
			       type, VH_TYPE);
	}
	if (type != TYPE_DYNAMIC && type != TYPE_STATIC) {
		return err_set(error, EINVAL,
			       "vdi: the type at offset 0x%x is %" PRIu32 ", must be 1 to 4",
			       VH_TYPE, type);
	}
	if (get_le32(v->head + VH_EXTRA)) {
		return err_set(error, ENOTSUP,
			       "vdi: %" PRIu32
			       " bytes before each block (offset 0x%x) are not supported",
			       get_le32(v->head + VH_EXTRA), VH_EXTRA);
	}
	return true;
}

static bool check_sizes(const struct vdi *v, uint64_t file_len, GError **error)
{
	uint32_t block = get_le32(v->head + VH_BLOCK_SIZE), n = get_le32(v->head + VH_BLOCKS);
	uint64_t size = get_le64(v->head + VH_SIZE), end = v->map_off + (uint64_t)n * 4;

	if (get_le32(v->head + VH_SECTOR) != VH_SECTOR_LEN) {
		return err_set(error, EINVAL,
			       "vdi: the sector size at offset 0x%x is %" PRIu32 ", must be 512",
			       VH_SECTOR, get_le32(v->head + VH_SECTOR));
	}
	if (block < MIN_BLOCK || block > MAX_BLOCK || block & (block - 1)) {
		return err_set(error, EINVAL,
			       "vdi: the block size at offset 0x%x is %" PRIu32
			       ", must be a power of two from 4K to 256M",
			       VH_BLOCK_SIZE, block);
	}
	if (n > MAX_BLOCKS) {
		return err_set(error, EFBIG,
			       "vdi: %" PRIu32 " blocks at offset 0x%x, must be at most %d", n,
			       VH_BLOCKS, MAX_BLOCKS);
	}
	if (size > (uint64_t)n * block) {
		return err_set(error, EINVAL,
			       "vdi: the disk size at offset 0x%x is %" PRIu64
			       ", more than its %" PRIu32 " blocks hold",
			       VH_SIZE, size, n);
	}
	if (v->map_off % VH_SECTOR_LEN || v->map_off < VH_SECTOR_LEN || end > file_len) {
		return err_set(error, EINVAL,
			       "vdi: the block map (offset 0x%x) is at %" PRIu64
			       ", not in the file or not on a sector",
			       VH_MAP_OFF, v->map_off);
	}
	if (v->data_off % VH_SECTOR_LEN || v->data_off < end) {
		return err_set(error, EINVAL,
			       "vdi: the data (offset 0x%x) are at %" PRIu64
			       ", in the block map or not on a sector",
			       VH_DATA_OFF, v->data_off);
	}
	return true;
}

/*
 * Indices are below the number of blocks: no file has more, but one whose growing was cut off
 * between moving its first blocks and the longer map.
 */
static bool check_entries(const struct block_node *node, struct block_check *r, GError **error)
{
	const struct vdi *v = node->state;

	for (uint64_t i = 0; i < v->b.n; i++) {
		uint32_t entry = get_le32(v->map.raw + i * 4);

		if (entry < v->b.n || entry >= DISCARDED ||
		    v->data_off + (entry + 1) * v->b.size <= node->file->length)
			continue;
		if (!r) {
			return err_set(error, EINVAL,
				       "vdi: the entry of block %" PRIu64 " at offset %" PRIu64
				       " is %" PRIu32 ", must be below %" PRIu64,
				       i, v->map_off + i * 4, entry, v->b.n);
		}
		r->corruptions++;
		blocks_tell(r,
			    "ERROR the entry of block %" PRIu64 " at offset %" PRIu64 " is %" PRIu32
			    ", must be below %" PRIu64,
			    i, v->map_off + i * 4, entry, v->b.n);
	}
	return true;
}

static co_fn bool read_header(struct block_node *node, GError **error)
{
	struct vdi *v = node->state;
	int res;

	if (node->file->length < VH_SECTOR_LEN) {
		return err_set(error, EINVAL,
			       "vdi: the file has %" PRIu64 " bytes, too few for a header",
			       node->file->length);
	}
	res = block_pread(node->file, 0, v->head, sizeof(v->head));
	if (res < 0)
		return err_set_errno(error, -res, "vdi: the header cannot be read");
	v->map_off = get_le32(v->head + VH_MAP_OFF);
	v->data_off = get_le32(v->head + VH_DATA_OFF);
	v->allocated = get_le32(v->head + VH_ALLOCATED);
	v->is_static = get_le32(v->head + VH_TYPE) == TYPE_STATIC;
	v->b.driver = &vdi_blocks;
	v->b.size = get_le32(v->head + VH_BLOCK_SIZE);
	v->b.n = get_le32(v->head + VH_BLOCKS);
	return check_kind(v, error) && check_sizes(v, node->file->length, error);
}

static co_fn bool vdi_open_over(struct block_node *node, struct opts *options, GError **error)
{
	struct vdi *v = node->state;
	int res;

	(void)options;
	if (!read_header(node, error))
		return false;
	v->b.end_is_soft = true;
	blocks_add_area(&v->b, "header and block map", 0, v->data_off);
	node->length = get_le64(v->head + VH_SIZE) / VH_SECTOR_LEN * VH_SECTOR_LEN;
	node->cluster_size = v->b.size;
	if (!blocks_table_init(&v->map, v->map_off, v->b.n * 4, VH_SECTOR_LEN))
		return err_set(error, ENOMEM, "vdi: no memory for a map of %" PRIu64 " blocks",
			       v->b.n);
	res = blocks_table_read(&v->map, node->file);
	if (res < 0)
		return err_set_errno(error, -res, "vdi: the block map cannot be read");
	if (node->flags & BLOCK_HEADER_ONLY)
		return true;
	return check_entries(node, NULL, error) && blocks_start(node, error);
}

static co_fn bool vdi_open(struct block_node *node, struct opts *options, GError **error)
{
	return block_open_child(node, options, error) && vdi_open_over(node, options, error);
}

static co_fn void vdi_close(struct block_node *node)
{
	struct vdi *v = node->state;

	blocks_stop(node, 0);
	blocks_table_fini(&v->map);
}

static co_fn int vdi_pwritev(struct block_node *node, uint64_t off, const struct iovs *iov,
			     unsigned flags)
{
	struct vdi *v = node->state;
	int res;

	co_rwlock_rdlock(&v->moving);
	res = blocks_pwritev(node, off, iov, flags);
	co_rwlock_unlock(&v->moving);
	return res;
}

static co_fn int vdi_discard_zero(struct block_node *node, uint64_t off, uint64_t len)
{
	struct vdi *v = node->state;
	int res;

	co_rwlock_rdlock(&v->moving);
	res = blocks_discard_zero(node, off, len);
	co_rwlock_unlock(&v->moving);
	return res;
}

static json_t *vdi_info(const struct block_node *node)
{
	const struct vdi *v = node->state;

	return json_pack("{s:s, s:{s:s, s:I, s:I}}", "type", "vdi", "data", "image-type",
			 v->is_static ? "static" : "dynamic", "blocks", (json_int_t)v->b.n,
			 "allocated-blocks", (json_int_t)v->allocated);
}

/* The header's count must be that of the map. */
static co_fn bool check_count(struct block_node *node, unsigned fix, struct block_check *r,
			      GError **error)
{
	struct vdi *v = node->state;
	uint64_t wanted = (r->end_offset - v->data_off) / v->b.size;
	int res;

	if (r->corruptions || v->allocated == wanted)
		return true;
	/* It is the next index, too: too low a count makes others write over what is there. */
	blocks_tell(r, "%s the header (offset 0x%x) counts %" PRIu32 " blocks, the map %" PRIu64,
		    v->allocated < wanted ? "ERROR" : "Leaked:", VH_ALLOCATED, v->allocated,
		    wanted);
	if (!(fix & (v->allocated < wanted ? BLOCK_FIX_ERRORS : BLOCK_FIX_LEAKS))) {
		*(v->allocated < wanted ? &r->corruptions : &r->leaks) += 1;
		return true;
	}
	put_le32(v->head + VH_ALLOCATED, (uint32_t)wanted);
	res = vdi_write_header(node);
	if (res == 0)
		res = block_flush(node->file);
	if (res < 0)
		return err_set_errno(error, -res, "vdi: the header cannot be written");
	*(v->allocated < wanted ? &r->corruptions_fixed : &r->leaks_fixed) += 1;
	v->allocated = (uint32_t)wanted;
	return true;
}

static co_fn bool vdi_check(struct block_node *node, unsigned fix, struct block_check *r,
			    GError **error)
{
	return check_entries(node, r, error) && blocks_check(node, fix, 0, r, error) &&
	       check_count(node, fix, r, error);
}

const struct block_driver block_vdi = {
	.name = "vdi",
	.kind = BLOCK_FORMAT,
	.has_metadata = true,
	.state_size = sizeof(struct vdi),
	.probe = vdi_probe,
	.open = vdi_open,
	.open_over = vdi_open_over,
	.close = vdi_close,
	.map = blocks_map,
	.pwritev = vdi_pwritev,
	.flush = blocks_flush,
	.discard_zero = vdi_discard_zero,
	.create = vdi_create,
	.truncate = vdi_truncate,
	.check = vdi_check,
	.info = vdi_info,
};
