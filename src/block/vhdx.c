/*
 * Driver "vhdx": Hyper-V's disk images, fixed and dynamic; differencing ones can be read
 * (formats.md 2.7). Little-endian. Two headers and two region tables, a log, metadata, a table
 * (BAT) with an entry for each block and for each bitmap of a chunk of blocks, and blocks on whole
 * MiB.
 *
 * Options: "file.*" or "filename", "backing.*" for a parent. For create: "subformat", "block_size",
 * "log_size", "block_state_zero", "logical_sector_size".
 *
 * A log that holds something is replayed into the file; where that is read-only, what it says is
 * kept in memory beside the file.
 *
 * Order: data and the length of the file, flush, the changed sectors of the BAT to the log, flush,
 * then to their place. They are durable there before the log is written again, and when it is said
 * to be empty at closing. The headers get new GUIDs before the first change of data.
 */
#include "block/vhdx.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/log.h"
#include "block/drivers.h"

enum { BITMAP_BITS = 1 << 23, BITS = 8 };

static int vhdx_probe(const uint8_t *head, size_t len, const char *name)
{
	(void)name;
	return len >= 8 && !memcmp(head, "vhdxfile", 8) ? 100 : 0;
}

static uint64_t entry_of(const struct vhdx *v, uint64_t i)
{
	return get_le64(v->bat.raw + vhdx_bat_index(v, i) * 8);
}

static enum block_place vhdx_find(const struct block_node *node, uint64_t i, uint64_t *host)
{
	const struct vhdx *v = node->state;
	uint64_t entry = entry_of(v, i);

	*host = entry & ~(VHDX_MIB - 1);
	switch (entry & XB_STATE) {
	case XB_PRESENT: return PLACE_FILE;
	case XB_PARTLY: return PLACE_DRIVER;
	case XB_NOT_PRESENT: return v->b.has_parent ? PLACE_BACKING : PLACE_ZERO;
	default: return PLACE_ZERO;
	}
}

static bool vhdx_extent(const struct block_node *node, uint64_t i, struct blocks_area *what,
			uint64_t *entry_off)
{
	const struct vhdx *v = node->state;
	enum block_place place = vhdx_find(node, i, &what->off);

	*entry_off = v->bat_at.off + vhdx_bat_index(v, i) * 8;
	what->len = v->b.size;
	return place == PLACE_FILE || place == PLACE_DRIVER;
}

static co_fn int vhdx_allocate(struct block_node *node, uint64_t i, uint64_t *host)
{
	struct vhdx *v = node->state;

	(void)i;
	return blocks_take(node, v->b.size, 0, host);
}

static void vhdx_link(struct block_node *node, uint64_t i, uint64_t host)
{
	struct vhdx *v = node->state;
	uint64_t at = vhdx_bat_index(v, i) * 8;

	put_le64(v->bat.raw + at, host | XB_PRESENT);
	blocks_table_touch(&v->bat, at);
}

static co_fn int vhdx_commit(struct block_node *node)
{
	struct vhdx *v = node->state;
	struct vhdx_change sectors[XL_ONE_SECTOR];
	uint64_t at = 0, len = 0;
	unsigned n = 0;
	int res = 0;

	if (v->bat.n_dirty == 0)
		return block_flush(node->file);
	while (res == 0 && blocks_table_next(&v->bat, &at, &len)) {
		for (; len > 0 && res == 0; at += VHDX_SECTOR, len -= VHDX_SECTOR) {
			sectors[n++] = (struct vhdx_change){.off = v->bat.off + at,
							    .data = v->bat.raw + at};
			if (n == XL_ONE_SECTOR) {
				res = vhdx_log_write(node, sectors, n);
				n = 0;
			}
		}
	}
	if (res == 0 && n > 0)
		res = vhdx_log_write(node, sectors, n);
	if (res == 0)
		blocks_table_clean(&v->bat);
	return res;
}

static const struct blocks_driver vhdx_blocks = {
	.name = "vhdx",
	.find = vhdx_find,
	.extent = vhdx_extent,
	.allocate = vhdx_allocate,
	.link = vhdx_link,
	.commit = vhdx_commit,
};

/* A bitmap block that its entry says is there, else 0. */
static uint64_t bitmap_at(const struct vhdx *v, uint64_t chunk)
{
	uint64_t entry = get_le64(v->bat.raw + (chunk * (v->chunk + 1) + v->chunk) * 8);

	return (entry & XB_STATE) == XB_PRESENT ? entry & ~(VHDX_MIB - 1) : 0;
}

/* States that there are, and bitmaps for blocks of which parts are here. */
static bool check_states(const struct block_node *node, struct block_check *r, GError **error)
{
	const struct vhdx *v = node->state;

	for (uint64_t i = 0; i < v->b.n; i++) {
		unsigned state = entry_of(v, i) & XB_STATE;
		uint64_t at = v->bat_at.off + vhdx_bat_index(v, i) * 8, host;

		vhdx_find(node, i, &host);
		if (r && host &&
		    host < node->file->length) /* what was given up may be taken back */
			r->end_offset = MAX(r->end_offset, host + v->b.size);
		if (state <= XB_UNMAPPED || state == XB_PRESENT ||
		    (state == XB_PARTLY && v->b.has_parent && bitmap_at(v, i / v->chunk)))
			continue;
		if (!r) {
			return err_set(error, EINVAL,
				       "vhdx: the entry of block %" PRIu64 " at offset %" PRIu64
				       " has state %u, which cannot be",
				       i, at, state);
		}
		r->corruptions++;
		blocks_tell(r,
			    "ERROR the entry of block %" PRIu64 " at offset %" PRIu64
			    " has state %u, which cannot be",
			    i, at, state);
	}
	return true;
}

static co_fn bool read_bat(struct block_node *node, GError **error)
{
	struct vhdx *v = node->state;
	int res;

	if (!blocks_table_init(&v->bat, v->bat_at.off, vhdx_bat_entries(v, v->b.n) * 8,
			       VHDX_SECTOR))
		return err_set(error, ENOMEM, "vhdx: no memory for %" PRIu64 " entries of the BAT",
			       vhdx_bat_entries(v, v->b.n));
	res = vhdx_read(node, v->bat.off, v->bat.raw, v->bat.len);
	return res == 0 || err_set_errno(error, -res, "vhdx: the BAT cannot be read");
}

static bool check_writable(struct block_node *node, GError **error)
{
	struct vhdx *v = node->state;

	if (!node->writable || !v->b.has_parent)
		return true;
	if (node->flags & BLOCK_AUTO_RDONLY) {
		node->writable = false;
		return true;
	}
	return err_set(error, ENOTSUP,
		       "vhdx: images with a parent (offset %" PRIu64
		       ") can only be read by this version; open it read-only",
		       v->items[ITEM_PARAMETERS].off + 4);
}

static co_fn bool vhdx_open_over(struct block_node *node, struct opts *options, GError **error)
{
	struct vhdx *v = node->state;

	if (!vhdx_read_header(node, error) || !vhdx_replay(node, error) ||
	    !vhdx_read_regions(node, error) || !vhdx_read_metadata(node, error))
		return false;
	v->b.driver = &vhdx_blocks;
	node->length = v->size;
	node->cluster_size = v->b.size;
	if (v->flags & VHDX_HAS_PARENT && !vhdx_find_parent(node, options, error))
		return false;
	if (!check_writable(node, error) || !read_bat(node, error))
		return false;
	blocks_add_area(&v->b, "header", 0, VHDX_FIXED_AREA);
	blocks_add_area(&v->b, "log", get_le64(v->head + XH_LOG_OFF),
			get_le32(v->head + XH_LOG_LEN));
	blocks_add_area(&v->b, "BAT", v->bat_at.off, v->bat_at.len);
	blocks_add_area(&v->b, "metadata", v->meta_at.off, v->meta_at.len);
	if (node->flags & BLOCK_HEADER_ONLY)
		return true;
	if (!check_states(node, NULL, error) || !blocks_start(node, error))
		return false;
	/* What else there may be (other regions, blocks given up) is left alone. */
	v->b.used_end = MAX(MAX(v->b.used_end, v->regions_end), node->file->length);
	v->b.used_end = (v->b.used_end + VHDX_MIB - 1) / VHDX_MIB * VHDX_MIB;
	return true;
}

static co_fn bool vhdx_open(struct block_node *node, struct opts *options, GError **error)
{
	return block_open_child(node, options, error) && vhdx_open_over(node, options, error);
}

/* Everything is in its place: the log is empty. It speaks of the length that the file has now, so
 * that comes before the file becomes shorter. */
static co_fn int empty_log(struct block_node *node)
{
	struct vhdx *v = node->state;
	int res = blocks_flush(node);

	if (res == 0)
		res = block_flush(node->file);
	if (res < 0 || vhdx_guid_is_zero(v->head + XH_LOG_GUID))
		return res;
	memset(v->head + XH_LOG_GUID, 0, VHDX_GUID);
	return vhdx_write_headers(node);
}

static co_fn void vhdx_close(struct block_node *node)
{
	struct vhdx *v = node->state;
	int res = 0;

	if (node->file && v->b.driver && node->writable && !v->b.broken)
		res = empty_log(node);
	if (res < 0)
		v->b.broken = true;
	blocks_stop(node, 0);
	if (res < 0)
		log_line(LOG_ERROR, "block", "%s: vhdx: closing: %s", node->name, strerror(-res));
	vhdx_free_changes(v);
	blocks_table_fini(&v->bat);
	g_free(v->locator);
	g_free(v->bitmap);
}

/* Whoever has a copy of the image, or a child of it, sees by these that it has changed. */
co_fn int vhdx_say_so(struct block_node *node)
{
	struct vhdx *v = node->state;
	int res = 0;

	if (v->said_so)
		return 0;
	co_mutex_lock(&v->b.lock);
	if (!v->said_so) {
		blocks_new_uuid(v->head + XH_FILE_WRITE);
		blocks_new_uuid(v->head + XH_DATA_WRITE);
		res = v->b.broken ? -EIO : vhdx_write_headers(node);
		v->said_so = res == 0;
	}
	co_mutex_unlock(&v->b.lock);
	return res;
}

static co_fn int vhdx_pwritev(struct block_node *node, uint64_t off, const struct iovs *iov,
			      unsigned flags)
{
	int res = vhdx_say_so(node);

	return res < 0 ? res : blocks_pwritev(node, off, iov, flags);
}

static co_fn int vhdx_discard_zero(struct block_node *node, uint64_t off, uint64_t len)
{
	int res = vhdx_say_so(node);

	return res < 0 ? res : blocks_discard_zero(node, off, len);
}

static bool bit(const uint8_t *bitmap, uint64_t i)
{
	return bitmap[i / BITS] >> i % BITS & 1;
}

/* A block of which parts are here. */
static co_fn int map_parts(struct block_node *node, uint64_t off, struct block_extent *out)
{
	struct vhdx *v = node->state;
	uint64_t i = off / v->b.size, within = off % v->b.size, host = 0, at;
	uint64_t sector = off / v->logical % BITMAP_BITS, per_piece = (uint64_t)VHDX_SECTOR * BITS;
	uint64_t first = sector % per_piece, n = 1;
	uint64_t most = (v->b.size - within / v->logical * v->logical) / v->logical;
	int res = 0;

	vhdx_find(node, i, &host);
	at = bitmap_at(v, i / v->chunk) + sector / per_piece * VHDX_SECTOR;
	co_mutex_lock(&v->bitmap_lock);
	if (v->bitmap_off != at) {
		v->bitmap_off = 0;
		res = vhdx_read(node, at, v->bitmap, VHDX_SECTOR);
		v->bitmap_off = res == 0 ? at : 0;
	}
	if (res == 0) {
		bool here = bit(v->bitmap, first);

		while (n < most && first + n < per_piece && bit(v->bitmap, first + n) == here)
			n++;
		*out = (struct block_extent){.place = here ? PLACE_FILE : PLACE_BACKING,
					     .child = node->file,
					     .off = host + within,
					     .len = n * v->logical - off % v->logical};
	}
	co_mutex_unlock(&v->bitmap_lock);
	return res;
}

static co_fn int vhdx_map(struct block_node *node, uint64_t off, uint64_t len,
			  struct block_extent *out)
{
	const struct vhdx *v = node->state;
	uint64_t host = 0;

	if (!(node->flags & BLOCK_HEADER_ONLY) &&
	    vhdx_find(node, off / v->b.size, &host) == PLACE_DRIVER)
		return map_parts(node, off, out);
	return blocks_map(node, off, len, out);
}

static json_t *vhdx_info(const struct block_node *node)
{
	const struct vhdx *v = node->state;
	const char *type = v->flags & VHDX_HAS_PARENT        ? "differencing"
			   : v->flags & VHDX_ALLOCATED_STAYS ? "fixed"
							     : "dynamic";

	return json_pack("{s:s, s:{s:s, s:I, s:I, s:I, s:b}}", "type", "vhdx", "data", "subformat",
			 type, "logical-sector-size", (json_int_t)v->logical,
			 "physical-sector-size", (json_int_t)v->physical, "log-size",
			 (json_int_t)get_le32(v->head + XH_LOG_LEN), "log-dirty",
			 v->replayed != NULL);
}

static co_fn bool vhdx_check(struct block_node *node, unsigned fix, struct block_check *r,
			     GError **error)
{
	struct vhdx *v = node->state;

	r->end_offset = v->regions_end;
	for (uint64_t i = 0; v->b.has_parent && i < v->b.n; i += v->chunk) {
		uint64_t at = bitmap_at(v, i / v->chunk);

		if (at && at < node->file->length)
			r->end_offset = MAX(r->end_offset, at + VHDX_MIB);
	}
	check_states(node, r, error);
	return blocks_check(node, fix, 0, r, error);
}

const struct block_driver block_vhdx = {
	.name = "vhdx",
	.kind = BLOCK_FORMAT,
	.has_metadata = true,
	.state_size = sizeof(struct vhdx),
	.probe = vhdx_probe,
	.open = vhdx_open,
	.open_over = vhdx_open_over,
	.check_backing = vhdx_check_parent,
	.close = vhdx_close,
	.map = vhdx_map,
	.pwritev = vhdx_pwritev,
	.flush = blocks_flush,
	.discard_zero = vhdx_discard_zero,
	.create = vhdx_create,
	.truncate = vhdx_truncate,
	.check = vhdx_check,
	.info = vhdx_info,
};
