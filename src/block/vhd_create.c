/* New VHD images, and longer ones; see vhd.c for the order of writes. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "base/err.h"
#include "block/vhd.h"

enum { FEATURES = 2, OUR_VERSION = 1, HEADER_OFF = VF_LEN, NEW_BAT_OFF = VF_LEN + VD_LEN };
static const uint64_t year_2000 = 946684800;

static uint64_t round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

/* Size and geometry. force: the size counts, which the largest geometry says to all readers. */
static void put_size(uint8_t *footer, uint64_t len, bool force)
{
	if (force)
		vhd_put_geometry(footer, VHD_MAX_GEOMETRY);
	else
		vhd_put_geometry(footer, len / VHD_SECTOR);
	put_be64(footer + VF_SIZE, len);
	put_be64(footer + VF_SIZE, vhd_disk_size(footer, VHD_SIZE_AUTO));
	vhd_put_checksum(footer, VF_LEN, VF_CHECKSUM);
}

static void put_footer(uint8_t *footer, uint32_t type, uint64_t len, bool force)
{
	memcpy(footer, "conectix", VHD_COOKIE);
	put_be32(footer + VF_FEATURES, FEATURES);
	put_be32(footer + VF_VERSION, VHD_VERSION);
	put_be64(footer + VF_DATA_OFF, type == VHD_FIXED ? UINT64_MAX : HEADER_OFF);
	put_be32(footer + VF_TIME, (uint32_t)((uint64_t)time(NULL) - year_2000));
	memcpy(footer + VF_CREATOR, "outb", VHD_NAME);
	put_be32(footer + VF_CREATOR_VERSION, OUR_VERSION << 16);
	memcpy(footer + VF_CREATOR_OS, "Wi2k", VHD_NAME);
	put_be32(footer + VF_TYPE, type);
	blocks_new_uuid(footer + VF_UUID);
	put_size(footer, len, force);
	put_be64(footer + VF_ORIGINAL_SIZE, get_be64(footer + VF_SIZE));
	vhd_put_checksum(footer, VF_LEN, VF_CHECKSUM);
}

/* Entries [first, n) of the table at off are empty, and so is the rest of the last sector. */
static co_fn int write_empty_bat(struct block_node *file, uint64_t off, uint64_t n)
{
	struct blocks_table t;
	int res = blocks_table_init(&t, off, n * 4, VHD_SECTOR) ? 0 : -ENOMEM;

	if (res == 0) {
		memset(t.raw, 0xff, t.len);
		memset(t.dirty, 1, t.len / VHD_SECTOR);
		t.n_dirty = t.len / VHD_SECTOR;
		res = blocks_table_write(&t, file);
	}
	blocks_table_fini(&t);
	return res;
}

static co_fn int create_dynamic(struct block_node *file, const uint8_t *footer, uint64_t block)
{
	uint64_t n = (get_be64(footer + VF_SIZE) + block - 1) / block;
	uint64_t end = round_up(NEW_BAT_OFF + n * 4, VHD_SECTOR);
	uint8_t header[VD_LEN] = {0};
	int res;

	memcpy(header, "cxsparse", VHD_COOKIE);
	put_be64(header + VD_DATA_OFF, UINT64_MAX);
	put_be64(header + VD_BAT_OFF, NEW_BAT_OFF);
	put_be32(header + VD_VERSION, VHD_VERSION);
	put_be32(header + VD_ENTRIES, (uint32_t)n);
	put_be32(header + VD_BLOCK_SIZE, (uint32_t)block);
	vhd_put_checksum(header, VD_LEN, VD_CHECKSUM);
	res = block_truncate(file, end + VF_LEN);
	if (res == 0)
		res = write_empty_bat(file, NEW_BAT_OFF, n);
	if (res == 0)
		res = block_pwrite(file, HEADER_OFF, header, sizeof(header), 0);
	if (res == 0)
		res = block_pwrite(file, end, footer, VF_LEN, 0);
	if (res == 0)
		res = block_flush(file);
	return res < 0 ? res : block_pwrite(file, 0, footer, VF_LEN, 0);
}

static co_fn int create_fixed(struct block_node *file, const uint8_t *footer)
{
	uint64_t len = get_be64(footer + VF_SIZE);
	int res = block_truncate(file, len + VF_LEN);

	return res < 0 ? res : block_pwrite(file, len, footer, VF_LEN, 0);
}

co_fn bool vhd_create(struct block_node *file, const struct block_create *what, GError **error)
{
	static const char *const subformats[] = {"dynamic", "fixed", NULL};
	uint64_t block = VHD_DEFAULT_BLOCK, len = round_up(what->length, VHD_SECTOR);
	uint8_t footer[VF_LEN] = {0};
	bool force = false;
	int subformat = 0, res;

	if (what->backing_name) {
		return err_set(error, ENOTSUP,
			       "vpc: differencing images can be opened, but not made here");
	}
	if (!opts_get_enum(what->options, "subformat", subformats, &subformat, error) ||
	    !opts_get_bool(what->options, "force_size", &force, error) ||
	    !opts_get_size(what->options, "block_size", &block, error))
		return false;
	if (block < VHD_MIN_BLOCK || block > VHD_MAX_BLOCK || block & (block - 1)) {
		return err_set(error, EINVAL,
			       "block_size=%" PRIu64 ": must be a power of two from 4K to 256M",
			       block);
	}
	if (len > VHD_MAX_SIZE || len / block >= VHD_MAX_BLOCKS) {
		return err_set(error, EFBIG,
			       "%" PRIu64 " bytes are too many: at most 2040 GiB, and %d blocks",
			       what->length, VHD_MAX_BLOCKS);
	}
	put_footer(footer, subformat ? VHD_FIXED : VHD_DYNAMIC, len, force);
	res = subformat ? create_fixed(file, footer) : create_dynamic(file, footer, block);
	if (res == 0)
		res = block_flush(file);
	return res == 0 || err_set_errno(error, -res, "vpc: it cannot be written");
}

co_fn int vhd_put_footer(struct block_node *node, uint64_t off)
{
	struct vhd *v = node->state;
	int res = 0;

	off = round_up(off, VHD_SECTOR);
	v->footer_off = 0;
	if (node->file->length < off + VF_LEN)
		res = block_truncate(node->file, off + VF_LEN);
	if (res == 0)
		res = block_pwrite(node->file, off, v->footer, VF_LEN, 0);
	if (res == 0 && node->file->length > off + VF_LEN)
		res = block_truncate(node->file, off + VF_LEN);
	if (res == 0)
		v->footer_off = off;
	return res;
}

/* Another size in the footer; the one at the end counts, so it goes first. */
static co_fn int set_size(struct block_node *node, uint64_t end, uint64_t len)
{
	struct vhd *v = node->state;
	uint8_t old[VF_LEN];
	int res;

	memcpy(old, v->footer, VF_LEN);
	put_size(v->footer, len, false);
	if (vhd_disk_size(v->footer, VHD_SIZE_AUTO) != len) /* no geometry is just that */
		put_size(v->footer, len, true);
	res = vhd_put_footer(node, end);
	if (res == 0)
		res = block_flush(node->file);
	if (res == 0)
		res = block_pwrite(node->file, 0, v->footer, VF_LEN, 0);
	if (res == 0)
		res = block_flush(node->file);
	if (res < 0)
		memcpy(v->footer, old, VF_LEN);
	return res;
}

/* A longer table behind everything else; the first sector of the header names it in one write. */
static co_fn int move_bat(struct block_node *node, uint64_t n)
{
	struct vhd *v = node->state;
	uint64_t off = 0, at = get_be64(v->footer + VF_DATA_OFF);
	uint8_t header[VD_LEN];
	struct blocks_table t = {0};
	int res = blocks_take(node, round_up(n * 4, VHD_SECTOR), 0, &off);

	if (res == 0)
		res = blocks_table_init(&t, off, n * 4, VHD_SECTOR) ? 0 : -ENOMEM;
	if (res < 0 || !t.raw || !t.dirty) {
		blocks_table_fini(&t);
		return res;
	}
	memset(t.raw, 0xff, t.len);
	memcpy(t.raw, v->bat.raw, v->b.n * 4);
	memset(t.dirty, 1, t.len / VHD_SECTOR);
	t.n_dirty = t.len / VHD_SECTOR;
	memcpy(header, v->header, VD_LEN);
	put_be64(header + VD_BAT_OFF, off);
	put_be32(header + VD_ENTRIES, (uint32_t)n);
	vhd_put_checksum(header, VD_LEN, VD_CHECKSUM);
	res = blocks_table_write(&t, node->file);
	if (res == 0)
		res = vhd_put_footer(node, v->b.used_end);
	if (res == 0)
		res = block_flush(node->file);
	if (res == 0)
		res = block_pwrite(node->file, at, header, VHD_SECTOR, 0);
	if (res == 0)
		res = block_flush(node->file);
	if (res < 0) {
		v->b.broken = true; /* who knows which table counts */
		blocks_table_fini(&t);
		return res;
	}
	memcpy(v->header, header, VD_LEN);
	blocks_table_fini(&v->bat);
	v->bat = t;
	return 0;
}

static co_fn int grow_dynamic(struct block_node *node, uint64_t len)
{
	struct vhd *v = node->state;
	uint64_t n = (len + v->b.size - 1) / v->b.size;
	int res = n > VHD_MAX_BLOCKS ? -EFBIG : v->b.driver->commit(node);

	if (res == 0 && n > v->b.n)
		res = move_bat(node, n);
	if (res == 0)
		res = set_size(node, v->b.used_end, len);
	if (res == 0)
		v->b.n = n;
	return res;
}

co_fn int vhd_truncate(struct block_node *node, uint64_t len)
{
	struct vhd *v = node->state;
	int res;

	if (len % VHD_SECTOR)
		return -EINVAL;
	/* Of a fixed disk no moment may be without a footer at the end, and a longer file begins
	 * with one. A child would show what its parent has behind the old end. */
	if (len < node->length || v->type != VHD_DYNAMIC)
		return -ENOTSUP;
	if (len > VHD_MAX_SIZE)
		return -EFBIG;
	co_mutex_lock(&v->b.lock);
	res = v->b.broken ? -EIO : grow_dynamic(node, len);
	co_mutex_unlock(&v->b.lock);
	return res;
}
