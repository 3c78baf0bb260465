/*
 * VHD: differencing disks. Their header names the parent; a bitmap before each block says which of
 * its sectors are here. The core opens the parent by its own rules (block_refer()).
 *
 * A write to a block of which parts are missing completes it: all of it is written, then the
 * bitmap. Bitmaps with holes so come from other programs only, and one in memory at a time will do.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "block/drivers.h"
#include "block/vhd.h"

enum { MAX_NAME = 2048, BITS = 8 };

/* The text that a locator points at; NULL with *error set, or without: not this one. */
static co_fn char *read_locator(struct block_node *node, unsigned i, const char *code, bool last,
				GError **error)
{
	const struct vhd *v = node->state;
	const uint8_t *l = v->header + VD_LOCATORS + (size_t)i * VL_SIZE;
	uint32_t len = get_be32(l + VL_LEN);
	uint64_t off = get_be64(l + VL_OFF), at = get_be64(v->footer + VF_DATA_OFF);
	uint8_t text[MAX_NAME];
	int res;

	if (memcmp(l, code, 4) != 0)
		return NULL;
	if (len > sizeof(text) || off > node->file->length || len > node->file->length - off) {
		err_set(error, EINVAL,
			"vpc: the parent locator at offset %" PRIu64 " points at %" PRIu32
			" bytes at %" PRIu64 ", not in the file or more than %d",
			at + VD_LOCATORS + i * VL_SIZE, len, off, MAX_NAME);
		return NULL;
	}
	res = block_pread(node->file, off, text, len);
	if (res < 0) {
		err_set_errno(error, -res, "vpc: a parent locator cannot be read");
		return NULL;
	}
	return vhd_path(text, len, false, last);
}

static co_fn char *find_locator(struct block_node *node, const char *code, bool last,
				GError **error)
{
	GError *fault = NULL;
	char *path = NULL;

	for (unsigned i = 0; i < VL_N && !path && !fault; i++)
		path = read_locator(node, i, code, last, &fault);
	if (fault)
		g_propagate_error(error, fault);
	return path;
}

/* Where the locators' texts lie no block may be. */
static void add_locators(struct block_node *node)
{
	struct vhd *v = node->state;

	for (unsigned i = 0; i < VL_N; i++) {
		const uint8_t *l = v->header + VD_LOCATORS + (size_t)i * VL_SIZE;
		uint64_t off = get_be64(l + VL_OFF), len = get_be32(l + VL_LEN);

		if (len > 0 && off < node->file->length && len < node->file->length - off)
			blocks_add_area(&v->b, "parent locator", off, len);
	}
}

/* The relative path, else the last part of the absolute one, else the parent's name. */
co_fn bool vhd_find_parent(struct block_node *node, struct opts *options, GError **error)
{
	bool given = opts_get(options, "backing.driver") || opts_get(options, "backing");
	struct vhd *v = node->state;
	GError *fault = NULL;
	size_t len = 0;
	char *path;

	while (len < VD_PARENT_NAME_LEN && get_be16(v->header + VD_PARENT_NAME + len))
		len += 2;
	path = find_locator(node, "W2ru", false, &fault);
	if (!path && !fault)
		path = find_locator(node, "W2ku", true, &fault);
	if (!path && !fault)
		path = vhd_path(v->header + VD_PARENT_NAME, len, true, true);
	if (fault) {
		g_propagate_error(error, fault);
		return false;
	}
	if (!path && !given) {
		return err_set(error, EINVAL,
			       "vpc: has a parent and names none that could be found here; say "
			       "backing.driver=vpc,backing.file.filename=");
	}
	add_locators(node);
	node->backing_name = path;
	node->backing_format = g_strdup("vpc");
	v->b.has_parent = true;
	v->whole = g_try_malloc0(v->b.n ? v->b.n : 1);
	v->bitmap = g_try_malloc0(v->bitmap_len);
	return (v->whole && v->bitmap) ||
	       err_set(error, ENOMEM, "vpc: no memory for %" PRIu64 " blocks", v->b.n);
}

co_fn bool vhd_check_parent(struct block_node *node, GError **error)
{
	const struct vhd *v = node->state, *p = node->backing->state;

	if (node->backing->driver != &block_vpc ||
	    !memcmp(p->footer + VF_UUID, v->header + VD_PARENT_UUID, VHD_UUID))
		return true;
	return err_set(error, EINVAL,
		       "vpc: \"%s\" is not the parent that it was made for: its UUID (offset %d of "
		       "the footer) is another than that in the header (offset %d)",
		       node->backing->name, VF_UUID, VD_PARENT_UUID);
}

/* The bitmap of block i is in v->bitmap until the lock is left. */
static co_fn int load_bitmap(struct block_node *node, uint64_t i)
{
	struct vhd *v = node->state;
	uint64_t off = (uint64_t)get_be32(v->bat.raw + i * 4) * VHD_SECTOR, n, k = 0;
	struct iovec one;
	struct iovs iov = iovs_one(&one, v->bitmap, v->bitmap_len);
	int res;

	if (v->bitmap_of == i + 1)
		return 0;
	v->bitmap_of = 0;
	res = block_preadv_padded(node->file, off, &iov);
	if (res < 0)
		return res;
	v->bitmap_of = i + 1;
	n = v->b.size / VHD_SECTOR;
	while (k < n && v->bitmap[k / BITS] == 0xff)
		k += BITS;
	if (k >= n)
		v->whole[i] = 1;
	return 0;
}

static bool bit(const uint8_t *bitmap, uint64_t i)
{
	return bitmap[i / BITS] >> (BITS - 1 - i % BITS) & 1;
}

co_fn int vhd_map_parts(struct block_node *node, uint64_t off, uint64_t len,
			struct block_extent *out)
{
	struct vhd *v = node->state;
	uint64_t within = off % v->b.size, first = within / VHD_SECTOR, end = first + 1;
	uint64_t i = off / v->b.size, host = 0;
	bool here;
	int res;

	if (v->b.driver->find(node, i, &host) != PLACE_DRIVER)
		return blocks_map(node, off, len, out);
	co_mutex_lock(&v->bitmap_lock);
	res = load_bitmap(node, i);
	if (res == 0) {
		here = bit(v->bitmap, first) || v->whole[i];
		while (end < v->b.size / VHD_SECTOR && (bit(v->bitmap, end) || v->whole[i]) == here)
			end++;
		*out = (struct block_extent){.place = here ? PLACE_FILE : PLACE_BACKING,
					     .child = node->file,
					     .off = host + within,
					     .len = end * VHD_SECTOR - within};
	}
	co_mutex_unlock(&v->bitmap_lock);
	return res;
}

co_fn int vhd_learn(struct block_node *node, uint64_t off, uint64_t len)
{
	struct vhd *v = node->state;
	int res = 0;

	for (uint64_t i = off / v->b.size; i <= (off + len - 1) / v->b.size && res == 0; i++) {
		uint64_t host;

		if (v->b.driver->find(node, i, &host) != PLACE_DRIVER)
			continue;
		co_mutex_lock(&v->bitmap_lock);
		res = load_bitmap(node, i);
		co_mutex_unlock(&v->bitmap_lock);
	}
	return res;
}
