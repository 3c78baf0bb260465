/*
 * Driver "vpc" (also "vhd"): Virtual PC's and Hyper-V's disk images, fixed, dynamic and
 * differencing (formats.md 2.6). Big-endian. A fixed image is the disk and a footer; the others
 * have a copy of the footer at offset 0, a header, a table (BAT) with the sector number of each
 * block, and blocks, each with a bitmap of its sectors before it.
 *
 * Options: "file.*" or "filename", "backing.*" for a parent; "force_size_calc": auto, current_size
 * or chs. For create: "subformat", "force_size", "block_size".
 *
 * Which footer counts: the one at the end if it is valid, since a guest can write anything to the
 * first sector of a fixed disk; else the copy.
 *
 * Order: data and the footer behind them, flush, bitmaps and BAT, flush. A crash may leave no
 * footer at the end; the next opening for writing puts one there.
 */
#include "block/vhd.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "block/drivers.h"

enum { ALIGN = 4096 }; /* of data in the file, as host file systems like it */

static int vhd_probe(const uint8_t *head, size_t len, const char *name)
{
	(void)name;
	return len >= VHD_COOKIE && !memcmp(head, "conectix", VHD_COOKIE) ? 100 : 0;
}

static enum block_place vhd_find(const struct block_node *node, uint64_t i, uint64_t *host)
{
	const struct vhd *v = node->state;
	uint32_t sector = get_be32(v->bat.raw + i * 4);

	if (sector == VHD_NOT_THERE)
		return v->b.has_parent ? PLACE_BACKING : PLACE_ZERO;
	*host = (uint64_t)sector * VHD_SECTOR + v->bitmap_len;
	return v->b.has_parent && !v->whole[i] ? PLACE_DRIVER : PLACE_FILE;
}

static bool vhd_extent(const struct block_node *node, uint64_t i, struct blocks_area *what,
		       uint64_t *entry_off)
{
	const struct vhd *v = node->state;
	uint32_t sector = get_be32(v->bat.raw + i * 4);

	*entry_off = v->bat.off + i * 4;
	what->off = (uint64_t)sector * VHD_SECTOR;
	what->len = v->bitmap_len + v->b.size;
	return sector != VHD_NOT_THERE;
}

static co_fn int vhd_allocate(struct block_node *node, uint64_t i, uint64_t *host)
{
	struct vhd *v = node->state;
	uint64_t len = v->bitmap_len + v->b.size, aligned, off = 0;
	int res;

	(void)i;
	aligned = (v->b.used_end + v->bitmap_len + ALIGN - 1) / ALIGN * ALIGN - v->bitmap_len;
	if ((aligned + len) / VHD_SECTOR >= VHD_NOT_THERE)
		return -ENOSPC;
	v->footer_off = 0; /* the next commit writes it anew */
	res = blocks_take(node, len, aligned - v->b.used_end, &off);
	if (res < 0)
		v->b.pending = true;
	else
		*host = off + v->bitmap_len;
	return res;
}

static void vhd_link(struct block_node *node, uint64_t i, uint64_t host)
{
	struct vhd *v = node->state;

	put_be32(v->bat.raw + i * 4, (uint32_t)((host - v->bitmap_len) / VHD_SECTOR));
	blocks_table_touch(&v->bat, i * 4);
	g_array_append_val(v->marked, i);
	if (v->whole)
		v->whole[i] = 1;
}

/* All sectors of the blocks linked are there. */
static co_fn int write_bitmaps(struct block_node *node)
{
	struct vhd *v = node->state;
	uint8_t *ones = g_try_malloc(v->bitmap_len);
	int res = ones ? 0 : -ENOMEM;

	if (ones)
		memset(ones, 0xff, v->bitmap_len);
	for (unsigned k = 0; k < v->marked->len && res == 0; k++) {
		uint64_t i = g_array_index(v->marked, uint64_t, k);

		res = block_pwrite(node->file, (uint64_t)get_be32(v->bat.raw + i * 4) * VHD_SECTOR,
				   ones, v->bitmap_len, 0);
	}
	if (res == 0)
		g_array_set_size(v->marked, 0);
	g_free(ones);
	return res;
}

static co_fn int vhd_commit(struct block_node *node)
{
	struct vhd *v = node->state;
	int res = 0;

	if (v->footer_off != v->b.used_end)
		res = vhd_put_footer(node, v->b.used_end);
	if (res == 0)
		res = block_flush(node->file);
	if (res == 0)
		res = write_bitmaps(node);
	if (res == 0)
		res = blocks_table_write(&v->bat, node->file);
	return res < 0 ? res : block_flush(node->file);
}

static const struct blocks_driver vhd_blocks = {
	.name = "vpc",
	.find = vhd_find,
	.extent = vhd_extent,
	.allocate = vhd_allocate,
	.link = vhd_link,
	.commit = vhd_commit,
};

/* Finds the footer that counts. */
static co_fn bool read_footer(struct block_node *node, GError **error)
{
	struct vhd *v = node->state;
	uint64_t end = node->file->length / VHD_SECTOR * VHD_SECTOR;
	int res;

	if (end < VF_LEN) {
		return err_set(error, EINVAL,
			       "vpc: the file has %" PRIu64 " bytes, too few for a footer",
			       node->file->length);
	}
	res = block_pread(node->file, end - VF_LEN, v->footer, VF_LEN);
	if (res == 0 && vhd_footer_ok(v->footer)) {
		v->footer_off = end - VF_LEN;
		return true;
	}
	if (res == 0)
		res = block_pread(node->file, 0, v->footer, VF_LEN);
	if (res < 0)
		return err_set_errno(error, -res, "vpc: the footer cannot be read");
	if (!vhd_footer_ok(v->footer)) {
		return err_set(error, EINVAL,
			       "vpc: there is no footer with a right checksum at offset %" PRIu64
			       " or 0",
			       end - VF_LEN);
	}
	if (get_be32(v->footer + VF_TYPE) == VHD_FIXED) {
		return err_set(error, EINVAL,
			       "vpc: the footer at offset 0 is that of a fixed disk, which has it "
			       "at its end");
	}
	return true;
}

static co_fn bool open_fixed(struct block_node *node, GError **error)
{
	struct vhd *v = node->state;

	node->cluster_size = 0;
	if (node->length <= v->footer_off)
		return true;
	return err_set(error, EINVAL,
		       "vpc: the size at offset %" PRIu64 " is %" PRIu64 ", and only %" PRIu64
		       " bytes lie before the footer",
		       v->footer_off + VF_SIZE, node->length, v->footer_off);
}

static bool check_bat(struct block_node *node, uint64_t off, GError **error)
{
	struct vhd *v = node->state;
	uint64_t n = get_be32(v->header + VD_ENTRIES), file = node->file->length;
	uint64_t len = (v->b.n * 4 + VHD_SECTOR - 1) / VHD_SECTOR * VHD_SECTOR;
	uint64_t bat = get_be64(v->header + VD_BAT_OFF);

	if (bat % VHD_SECTOR || bat < VF_LEN || bat > file || len > file - bat ||
	    (bat < off + VD_LEN && off < bat + len)) {
		return err_set(error, EINVAL,
			       "vpc: the table of blocks (offset %" PRIu64 ") is at %" PRIu64
			       ", on something else or not in the file",
			       off + VD_BAT_OFF, bat);
	}
	blocks_add_area(&v->b, "footer's copy", 0, VF_LEN);
	blocks_add_area(&v->b, "header", off, VD_LEN);
	/* What it has beyond the disk is of no use, and need not be believed. */
	blocks_add_area(&v->b, "table of blocks", bat, MAX(len, n * 4 > file - bat ? 0 : n * 4));
	v->bat.off = bat;
	return true;
}

static co_fn bool open_dynamic(struct block_node *node, struct opts *options, GError **error)
{
	struct vhd *v = node->state;
	uint64_t off = get_be64(v->footer + VF_DATA_OFF);
	int res;

	if (off % VHD_SECTOR || off < VF_LEN || off > node->file->length ||
	    node->file->length - off < VD_LEN) {
		return err_set(error, EINVAL,
			       "vpc: the header (offset %d of the footer) is at %" PRIu64
			       ", not in the file",
			       VF_DATA_OFF, off);
	}
	res = block_pread(node->file, off, v->header, VD_LEN);
	if (res < 0)
		return err_set_errno(error, -res, "vpc: the header cannot be read");
	if (!vhd_check_header(v->header, off, node->length, error))
		return false;
	v->b.driver = &vhd_blocks;
	v->b.size = node->cluster_size = get_be32(v->header + VD_BLOCK_SIZE);
	v->b.n = (node->length + v->b.size - 1) / v->b.size;
	v->bitmap_len = (v->b.size / VHD_SECTOR / 8 + VHD_SECTOR - 1) / VHD_SECTOR * VHD_SECTOR;
	v->b.lead = v->bitmap_len;
	v->marked = g_array_new(FALSE, FALSE, sizeof(uint64_t));
	if (!check_bat(node, off, error))
		return false;
	if (!blocks_table_init(&v->bat, v->bat.off, v->b.n * 4, VHD_SECTOR))
		return err_set(error, ENOMEM, "vpc: no memory for %" PRIu64 " blocks", v->b.n);
	res = blocks_table_read(&v->bat, node->file);
	if (res < 0)
		return err_set_errno(error, -res, "vpc: the table of blocks cannot be read");
	if (v->type == VHD_DIFFERENCING && !vhd_find_parent(node, options, error))
		return false;
	if (node->flags & BLOCK_HEADER_ONLY)
		return true;
	if (!blocks_start(node, error))
		return false;
	v->b.used_end = MAX(v->b.used_end, v->footer_off); /* other programs put more there */
	v->b.used_end = (v->b.used_end + VHD_SECTOR - 1) / VHD_SECTOR * VHD_SECTOR;
	return true;
}

/* The file ends with a footer, behind everything else. */
static co_fn bool repair_footer(struct block_node *node, GError **error)
{
	struct vhd *v = node->state;
	int res = 0;

	if (!node->writable || node->flags & BLOCK_HEADER_ONLY || v->type == VHD_FIXED ||
	    v->footer_off >= v->b.used_end)
		return true;
	res = vhd_put_footer(node, v->b.used_end);
	if (res == 0)
		res = block_flush(node->file);
	return res == 0 || err_set_errno(error, -res, "vpc: the footer cannot be written");
}

static co_fn bool vhd_open_over(struct block_node *node, struct opts *options, GError **error)
{
	static const char *const calcs[] = {"auto", "current_size", "chs", NULL};
	struct vhd *v = node->state;
	int calc = 0;

	if (!opts_get_enum(options, "force_size_calc", calcs, &calc, error) ||
	    !read_footer(node, error))
		return false;
	v->type = get_be32(v->footer + VF_TYPE);
	node->length = vhd_disk_size(v->footer, (enum vhd_size_calc)calc);
	if (!vhd_check_footer(v->footer, node->length, error))
		return false;
	if (v->type == VHD_FIXED)
		return open_fixed(node, error);
	return open_dynamic(node, options, error) && repair_footer(node, error);
}

static co_fn bool vhd_open(struct block_node *node, struct opts *options, GError **error)
{
	return block_open_child(node, options, error) && vhd_open_over(node, options, error);
}

static co_fn void vhd_close(struct block_node *node)
{
	struct vhd *v = node->state;

	blocks_stop(node, VF_LEN);
	blocks_table_fini(&v->bat);
	if (v->marked)
		g_array_unref(v->marked);
	g_free(v->whole);
	g_free(v->bitmap);
}

static co_fn int vhd_map(struct block_node *node, uint64_t off, uint64_t len,
			 struct block_extent *out)
{
	struct vhd *v = node->state;

	if (v->type == VHD_FIXED) {
		*out = (struct block_extent){
			.place = PLACE_FILE, .child = node->file, .off = off, .len = len};
		return 0;
	}
	if (v->b.has_parent && !(node->flags & BLOCK_HEADER_ONLY))
		return vhd_map_parts(node, off, len, out);
	return blocks_map(node, off, len, out);
}

static co_fn int vhd_pwritev(struct block_node *node, uint64_t off, const struct iovs *iov,
			     unsigned flags)
{
	struct vhd *v = node->state;
	int res = 0;

	if (v->type == VHD_FIXED)
		return block_pwritev(node->file, off, iov, flags);
	if (v->b.has_parent)
		res = vhd_learn(node, off, iov->len);
	return res < 0 ? res : blocks_pwritev(node, off, iov, flags);
}

static co_fn int vhd_discard_zero(struct block_node *node, uint64_t off, uint64_t len)
{
	struct vhd *v = node->state;
	int res = 0;

	if (v->type == VHD_FIXED)
		return block_discard_zero(node->file, off, len);
	if (v->b.has_parent)
		res = vhd_learn(node, off, len);
	return res < 0 ? res : blocks_discard_zero(node, off, len);
}

static co_fn int vhd_flush(struct block_node *node)
{
	const struct vhd *v = node->state;

	return v->type == VHD_FIXED ? block_flush(node->file) : blocks_flush(node);
}

static json_t *vhd_info(const struct block_node *node)
{
	const struct vhd *v = node->state;
	const char *type = v->type == VHD_FIXED     ? "fixed"
			   : v->type == VHD_DYNAMIC ? "dynamic"
						    : "differencing";
	g_autofree char *bytes = g_strndup((const char *)v->footer + VF_CREATOR, 4);
	g_autofree char *creator = g_utf8_make_valid(bytes, -1);

	return json_pack("{s:s, s:{s:s, s:s}}", "type", "vpc", "data", "subformat", type, "creator",
			 creator);
}

/* The footer at the end, and its copy. */
static co_fn bool check_footers(struct block_node *node, unsigned fix, struct block_check *r,
				GError **error)
{
	struct vhd *v = node->state;
	uint8_t copy[VF_LEN];
	int res = block_pread(node->file, 0, copy, VF_LEN);
	bool same = res == 0 && !memcmp(copy, v->footer, VF_LEN);

	if (res < 0)
		return err_set_errno(error, -res, "vpc: the footer's copy cannot be read");
	if (r->corruptions || (same && v->footer_off >= r->end_offset && !r->leaks))
		return true;
	if (v->footer_off < r->end_offset || !same) {
		r->leaks++;
		blocks_tell(r,
			    "Leaked: the footer at the end of the file (offset %" PRIu64
			    ") and its copy at 0 are not the same",
			    r->end_offset);
	}
	if (!(fix & BLOCK_FIX_LEAKS))
		return true;
	res = vhd_put_footer(node, r->end_offset);
	if (res == 0)
		res = block_flush(node->file);
	if (res == 0)
		res = block_pwrite(node->file, 0, v->footer, VF_LEN, 0);
	if (res == 0)
		res = block_flush(node->file);
	if (res < 0)
		return err_set_errno(error, -res, "vpc: the footer cannot be written");
	r->leaks_fixed = r->leaks;
	r->leaks = 0;
	return true;
}

static co_fn bool vhd_check(struct block_node *node, unsigned fix, struct block_check *r,
			    GError **error)
{
	struct vhd *v = node->state;

	if (v->type == VHD_FIXED) {
		r->end_offset = v->footer_off + VF_LEN;
		return true;
	}
	return blocks_check(node, 0, VF_LEN, r, error) && check_footers(node, fix, r, error);
}

const struct block_driver block_vpc = {
	.name = "vpc",
	.kind = BLOCK_FORMAT,
	.has_metadata = true,
	.state_size = sizeof(struct vhd),
	.probe = vhd_probe,
	.open = vhd_open,
	.open_over = vhd_open_over,
	.check_backing = vhd_check_parent,
	.close = vhd_close,
	.map = vhd_map,
	.pwritev = vhd_pwritev,
	.flush = vhd_flush,
	.discard_zero = vhd_discard_zero,
	.create = vhd_create,
	.truncate = vhd_truncate,
	.check = vhd_check,
	.info = vhd_info,
};
