/* New VDI images, and longer ones; see vdi.c for the order of writes. */
#include "block/vdi.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"

static const char text[] = "<<< Outboard Virtual Disk Image >>>\n";

static uint64_t round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

/* The map of n blocks: one after the other, or none there. */
static co_fn int write_map(struct block_node *file, const struct vdi *v)
{
	struct blocks_table t;
	int res = blocks_table_init(&t, v->map_off, v->b.n * 4, VH_SECTOR_LEN) ? 0 : -ENOMEM;

	for (uint64_t i = 0; i < v->b.n && res == 0; i++) {
		put_le32(t.raw + i * 4, v->is_static ? (uint32_t)i : NOT_THERE);
		blocks_table_touch(&t, i * 4);
	}
	if (res == 0)
		res = blocks_table_write(&t, file);
	blocks_table_fini(&t);
	return res;
}

static void put_header(const struct vdi *v, uint64_t length, uint8_t *p)
{
	memcpy(p, text, sizeof(text) - 1);
	put_le32(p + VH_MAGIC, MAGIC);
	put_le32(p + VH_VERSION, VERSION);
	put_le32(p + VH_LEN, OUR_LEN);
	put_le32(p + VH_TYPE, v->is_static ? TYPE_STATIC : TYPE_DYNAMIC);
	put_le32(p + VH_MAP_OFF, (uint32_t)v->map_off);
	put_le32(p + VH_DATA_OFF, (uint32_t)v->data_off);
	put_le32(p + VH_SECTOR, VH_SECTOR_LEN);
	put_le64(p + VH_SIZE, length);
	put_le32(p + VH_BLOCK_SIZE, (uint32_t)v->b.size);
	put_le32(p + VH_BLOCKS, (uint32_t)v->b.n);
	put_le32(p + VH_ALLOCATED, v->is_static ? (uint32_t)v->b.n : 0);
	blocks_new_uuid(p + VH_UUID);
	blocks_new_uuid(p + VH_SNAPSHOT_UUID);
}

static bool lay_out(const struct block_create *what, struct vdi *v, GError **error)
{
	if (what->backing_name)
		return err_set(error, ENOTSUP, "vdi: an image has no backing file here");
	v->b.size = DEFAULT_BLOCK;
	if (!opts_get_bool(what->options, "static", &v->is_static, error) ||
	    !opts_get_size(what->options, "cluster_size", &v->b.size, error))
		return false;
	if (v->b.size < MIN_BLOCK || v->b.size > MAX_BLOCK || v->b.size & (v->b.size - 1)) {
		return err_set(error, EINVAL,
			       "cluster_size=%" PRIu64 ": must be a power of two from 4K to 256M",
			       v->b.size);
	}
	if (what->length / v->b.size >= MAX_BLOCKS) {
		return err_set(error, EFBIG,
			       "%" PRIu64 " bytes are too many for cluster_size=%" PRIu64,
			       what->length, v->b.size);
	}
	v->b.n = round_up(what->length, v->b.size) / v->b.size;
	v->map_off = VH_SECTOR_LEN;
	v->data_off = round_up(v->map_off + v->b.n * 4, MAX(v->b.size, (uint64_t)MIN_BLOCK));
	if (v->data_off > UINT32_MAX)
		return err_set(error, EFBIG, "%" PRIu64 " bytes are too many", what->length);
	return true;
}

co_fn bool vdi_create(struct block_node *file, const struct block_create *what, GError **error)
{
	uint8_t head[VH_SECTOR_LEN] = {0};
	struct vdi v = {0};
	int res;

	if (!lay_out(what, &v, error))
		return false;
	put_header(&v, round_up(what->length, VH_SECTOR_LEN), head);
	res = block_truncate(file, v.data_off + (v.is_static ? v.b.n * v.b.size : 0));
	if (res == 0)
		res = write_map(file, &v);
	if (res == 0)
		res = block_flush(file);
	if (res == 0)
		res = block_pwrite(file, 0, head, sizeof(head), 0);
	if (res == 0)
		res = block_flush(file);
	return res == 0 || err_set_errno(error, -res, "vdi: it cannot be written");
}

/* One block to another place in the file. */
static co_fn int copy_block(struct block_node *file, uint64_t from, uint64_t to, uint64_t size)
{
	uint64_t piece = MIN(size, (uint64_t)DEFAULT_BLOCK);
	uint8_t *buf = g_try_malloc(piece);
	int res = buf ? 0 : -ENOMEM;

	for (uint64_t done = 0; done < size && res == 0; done += piece) {
		res = block_pread(file, from + done, buf, piece);
		if (res == 0)
			res = block_pwrite(file, to + done, buf, piece, 0);
	}
	g_free(buf);
	return res;
}

/* Moves what lies before data offset end behind everything else. */
static co_fn int move_away(struct block_node *node, uint64_t end)
{
	struct vdi *v = node->state;
	int res = 0;

	v->b.used_end = MAX(v->b.used_end, end);
	if (v->b.spare)
		g_array_set_size(v->b.spare, 0);
	for (uint64_t i = 0; i < v->b.n && res == 0; i++) {
		uint64_t host = 0, to = 0;

		if (v->b.driver->find(node, i, &host) != PLACE_FILE || host >= end)
			continue;
		res = v->b.driver->allocate(node, i, &to);
		if (res == 0)
			res = copy_block(node->file, host, to, v->b.size);
		if (res == 0)
			v->b.driver->link(node, i, to);
	}
	if (res == 0)
		res = v->b.driver->commit(node);
	/* Reads that began before may still look at where the blocks were. */
	if (res == 0)
		block_epoch_wait(node);
	if (res == 0 && node->file->length < end)
		res = block_truncate(node->file, end);
	return res;
}

/* A map of n blocks; shift: how many blocks the data begin later. */
static bool longer_map(const struct vdi *v, uint64_t map_off, uint64_t n, uint64_t shift,
		       struct blocks_table *t)
{
	if (!blocks_table_init(t, map_off, n * 4, VH_SECTOR_LEN))
		return false;
	for (uint64_t i = 0; i < n; i++) {
		uint32_t entry = i < v->b.n ? get_le32(v->map.raw + i * 4) : NOT_THERE;

		put_le32(t->raw + i * 4, entry < DISCARDED ? entry - (uint32_t)shift : entry);
		blocks_table_touch(t, i * 4);
	}
	return true;
}

/* The map is written; the header's one sector makes it count. */
static co_fn int switch_map(struct block_node *node, struct blocks_table *t, uint64_t n,
			    uint64_t data_off, uint64_t len)
{
	struct vdi *v = node->state;
	int res = blocks_table_write(t, node->file);

	if (res == 0)
		res = block_flush(node->file);
	if (res < 0)
		return res;
	put_le32(v->head + VH_MAP_OFF, (uint32_t)t->off);
	put_le32(v->head + VH_DATA_OFF, (uint32_t)data_off);
	put_le64(v->head + VH_SIZE, len);
	put_le32(v->head + VH_BLOCKS, (uint32_t)n);
	put_le32(v->head + VH_ALLOCATED, (uint32_t)((v->b.used_end - data_off) / v->b.size));
	res = vdi_write_header(node);
	if (res == 0)
		res = block_flush(node->file);
	if (res < 0) {
		v->b.broken = true; /* who knows which map counts */
		return res;
	}
	blocks_table_fini(&v->map);
	v->map = *t;
	*t = (struct blocks_table){0};
	v->map_off = v->map.off;
	v->data_off = data_off;
	v->allocated = get_le32(v->head + VH_ALLOCATED);
	v->b.n = n;
	v->b.areas[0].len = data_off;
	return 0;
}

static co_fn int grow_map(struct block_node *node, uint64_t n, uint64_t len)
{
	struct vdi *v = node->state;
	uint64_t map_off = v->map_off, shift = 0;
	struct blocks_table t;
	int res = v->b.driver->commit(node);

	if (res == 0 && map_off + n * 4 > v->data_off) {
		map_off = v->data_off;
		shift = round_up(n * 4, v->b.size) / v->b.size;
		if (v->data_off + shift * v->b.size > UINT32_MAX)
			return -EFBIG;
		res = move_away(node, v->data_off + shift * v->b.size);
	}
	if (res < 0)
		return res;
	res = longer_map(v, map_off, n, shift, &t) ? 0 : -ENOMEM;
	if (res == 0)
		res = switch_map(node, &t, n, v->data_off + shift * v->b.size, len);
	blocks_table_fini(&t);
	return res;
}

/* A static image has all its blocks. */
static co_fn int fill_up(struct block_node *node, uint64_t first)
{
	struct vdi *v = node->state;
	int res = 0;

	for (uint64_t i = first; i < v->b.n && res == 0; i++) {
		uint64_t host = 0;

		if (v->b.driver->find(node, i, &host) == PLACE_FILE)
			continue;
		res = v->b.driver->allocate(node, i, &host);
		if (res == 0)
			v->b.driver->link(node, i, host);
	}
	return res < 0 ? res : v->b.driver->commit(node);
}

co_fn int vdi_truncate(struct block_node *node, uint64_t len)
{
	struct vdi *v = node->state;
	uint64_t n = len / v->b.size + (len % v->b.size > 0), old = v->b.n;
	int res;

	if (len % VH_SECTOR_LEN)
		return -EINVAL;
	if (len < node->length)
		return -ENOTSUP; /* would leave gaps that others take for blocks */
	if (n > MAX_BLOCKS)
		return -EFBIG;
	co_rwlock_wrlock(&v->moving);
	co_mutex_lock(&v->b.lock);
	res = v->b.broken ? -EIO : grow_map(node, n, len);
	if (res == 0 && v->is_static)
		res = fill_up(node, old);
	co_mutex_unlock(&v->b.lock);
	co_rwlock_unlock(&v->moving);
	return res;
}
