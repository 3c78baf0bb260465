/* New VHDX images, and longer ones; see vhdx.c for the order of writes. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "block/vhdx.h"

enum { LOG_OFF = 1 << 20, NEW_ITEMS = 5, DEFAULT_LOG = 1 << 20, BITMAP_BITS = 1 << 23 };
enum { MIN_BLOCK = 1 << 20, MAX_BLOCK = 256 << 20 };
static const char creator[] = "Outboard";

/* The items of a new image, in their order. */
static const struct {
	enum vhdx_item item;
	uint32_t len, flags;
} new_items[NEW_ITEMS] = {
	{ITEM_PARAMETERS, 8, XM_REQUIRED},
	{ITEM_SIZE, 8, XM_IS_DISK | XM_REQUIRED},
	{ITEM_PAGE83, 16, XM_IS_DISK | XM_REQUIRED},
	{ITEM_LOGICAL, 4, XM_IS_DISK | XM_REQUIRED},
	{ITEM_PHYSICAL, 4, XM_IS_DISK | XM_REQUIRED},
};

static uint64_t round_up(uint64_t n, uint64_t to)
{
	return (n + to - 1) / to * to;
}

/* Larger for larger disks, as QEMU chooses. */
static uint64_t default_block(uint64_t length)
{
	uint64_t gib = (uint64_t)1 << 30, mib = length > 32768 * gib ? 64
						: length > 100 * gib ? 32
						: length > gib       ? 16
								     : 8;

	return mib * VHDX_MIB;
}

struct layout {
	struct vhdx v;
	uint64_t log_len, data_off;
	bool fixed, zero;
};

static bool parse_options(const struct block_create *what, struct layout *l, GError **error)
{
	static const char *const subformats[] = {"dynamic", "fixed", NULL};
	uint64_t logical = 512;
	int subformat = 0;

	l->log_len = DEFAULT_LOG;
	if (!opts_get_enum(what->options, "subformat", subformats, &subformat, error) ||
	    !opts_get_size(what->options, "block_size", &l->v.b.size, error) ||
	    !opts_get_size(what->options, "log_size", &l->log_len, error) ||
	    !opts_get_bool(what->options, "block_state_zero", &l->zero, error) ||
	    !opts_get_size(what->options, "logical_sector_size", &logical, error))
		return false;
	if (l->v.b.size == 0)
		l->v.b.size = default_block(what->length);
	if (l->v.b.size < MIN_BLOCK || l->v.b.size > MAX_BLOCK || l->v.b.size & (l->v.b.size - 1)) {
		return err_set(error, EINVAL,
			       "block_size=%" PRIu64 ": must be a power of two from 1M to 256M",
			       l->v.b.size);
	}
	if (l->log_len < VHDX_MIB || l->log_len > VHDX_MAX_LOG || l->log_len % VHDX_MIB) {
		return err_set(error, EINVAL,
			       "log_size=%" PRIu64 ": must be a multiple of 1M, up to 256M",
			       l->log_len);
	}
	if (logical != 512 && logical != VHDX_SECTOR)
		return err_set(error, EINVAL,
			       "logical_sector_size=%" PRIu64 ": must be 512 or 4096", logical);
	l->fixed = subformat;
	l->v.logical = (uint32_t)logical;
	return true;
}

static bool lay_out(const struct block_create *what, struct layout *l, GError **error)
{
	struct vhdx *v = &l->v;

	if (what->backing_name) {
		return err_set(error, ENOTSUP,
			       "vhdx: differencing images can be read, but not made here");
	}
	if (!parse_options(what, l, error))
		return false;
	if (what->length > VHDX_MAX_SIZE)
		return err_set(error, EFBIG, "%" PRIu64 " bytes are too many: at most 64 TiB",
			       what->length);
	v->flags = l->fixed ? VHDX_ALLOCATED_STAYS : 0;
	v->size = round_up(what->length, v->logical);
	v->chunk = (uint64_t)BITMAP_BITS * v->logical / v->b.size;
	v->b.n = round_up(v->size, v->b.size) / v->b.size;
	v->meta_at = (struct vhdx_range){LOG_OFF + l->log_len, VHDX_MIB};
	v->bat_at.off = v->meta_at.off + v->meta_at.len;
	v->bat_at.len = round_up(MAX(vhdx_bat_entries(v, v->b.n), 1) * 8, VHDX_MIB);
	l->data_off = v->bat_at.off + v->bat_at.len;
	return true;
}

static co_fn int write_metadata(struct block_node *file, const struct vhdx *v)
{
	uint8_t *p = g_malloc0(VHDX_KIB64), values[40] = {0};
	uint32_t off = 0;
	int res;

	memcpy(p, "metadata", VHDX_LONG_MARK);
	p[XM_COUNT] = NEW_ITEMS;
	for (unsigned i = 0; i < NEW_ITEMS; i++) {
		uint8_t *e = p + XM_ENTRIES + (size_t)i * XM_SIZE;

		memcpy(e, vhdx_item_guid[new_items[i].item], VHDX_GUID);
		put_le32(e + XM_OFF, VHDX_KIB64 + off);
		put_le32(e + XM_LEN, new_items[i].len);
		put_le32(e + XM_FLAGS, new_items[i].flags);
		off += new_items[i].len;
	}
	put_le32(values, (uint32_t)v->b.size);
	put_le32(values + 4, v->flags);
	put_le64(values + 8, v->size);
	blocks_new_uuid(values + 16);
	put_le32(values + 32, v->logical);
	put_le32(values + 36, v->logical);
	res = block_pwrite(file, v->meta_at.off, p, VHDX_KIB64, 0);
	g_free(p);
	return res < 0 ? res
		       : block_pwrite(file, v->meta_at.off + VHDX_KIB64, values, sizeof(values), 0);
}

static void put_region(uint8_t *e, const uint8_t *guid, const struct vhdx_range *r)
{
	memcpy(e, guid, VHDX_GUID);
	put_le64(e + XR_OFF, r->off);
	put_le32(e + XR_LEN, (uint32_t)r->len);
	put_le32(e + XR_REQUIRED, 1);
}

static co_fn int write_regions(struct block_node *file, const struct vhdx *v)
{
	uint8_t *p = g_malloc0(VHDX_KIB64);
	int res = 0;

	memcpy(p, "regi", VHDX_MARK);
	put_le32(p + XR_COUNT, 2);
	put_region(p + XR_ENTRIES, vhdx_bat_guid, &v->bat_at);
	put_region(p + XR_ENTRIES + XR_SIZE, vhdx_metadata_guid, &v->meta_at);
	vhdx_put_crc(p, VHDX_KIB64);
	for (unsigned i = 0; i < 2 && res == 0; i++)
		res = block_pwrite(file, VHDX_REGIONS + (uint64_t)i * VHDX_KIB64, p, VHDX_KIB64, 0);
	g_free(p);
	return res;
}

/* What a new dynamic image has otherwise is zeros: nothing is present. */
static co_fn int write_bat(struct block_node *file, const struct layout *l)
{
	const struct vhdx *v = &l->v;
	struct blocks_table t;
	int res;

	if (!l->fixed && !l->zero)
		return 0;
	res = blocks_table_init(&t, v->bat_at.off, vhdx_bat_entries(v, v->b.n) * 8, VHDX_SECTOR)
		      ? 0
		      : -ENOMEM;
	for (uint64_t i = 0; i < v->b.n && res == 0; i++) {
		uint64_t at = vhdx_bat_index(v, i) * 8;

		put_le64(t.raw + at,
			 l->fixed ? (l->data_off + i * v->b.size) | XB_PRESENT : (uint64_t)XB_ZERO);
		blocks_table_touch(&t, at);
	}
	if (res == 0)
		res = blocks_table_write(&t, file);
	blocks_table_fini(&t);
	return res;
}

static co_fn int write_headers(struct block_node *file, const struct layout *l)
{
	uint8_t *p = g_malloc0(VHDX_SECTOR);
	int res = 0;

	memcpy(p, "head", VHDX_MARK);
	blocks_new_uuid(p + XH_FILE_WRITE);
	blocks_new_uuid(p + XH_DATA_WRITE);
	put_le16(p + XH_VERSION, 1);
	put_le32(p + XH_LOG_LEN, (uint32_t)l->log_len);
	put_le64(p + XH_LOG_OFF, LOG_OFF);
	for (unsigned i = 0; i < 2 && res == 0; i++) {
		put_le64(p + XH_SEQUENCE, i + 1);
		vhdx_put_crc(p, VHDX_SECTOR);
		res = block_pwrite(file, VHDX_HEADERS + (uint64_t)i * VHDX_KIB64, p, VHDX_SECTOR,
				   0);
	}
	memset(p, 0, VHDX_SECTOR);
	memcpy(p, "vhdxfile", VHDX_LONG_MARK);
	for (unsigned i = 0; creator[i]; i++)
		put_le16(p + 8 + (size_t)i * 2, (uint8_t)creator[i]);
	if (res == 0)
		res = block_flush(file);
	if (res == 0)
		res = block_pwrite(file, 0, p, VHDX_SECTOR, 0);
	g_free(p);
	return res < 0 ? res : block_flush(file);
}

co_fn bool vhdx_create(struct block_node *file, const struct block_create *what, GError **error)
{
	struct layout *l = g_new0(struct layout, 1);
	int res = 0;
	bool ok = lay_out(what, l, error);

	if (ok) {
		res = block_truncate(file, l->data_off + (l->fixed ? l->v.b.n * l->v.b.size : 0));
		if (res == 0)
			res = write_bat(file, l);
		if (res == 0)
			res = write_metadata(file, &l->v);
		if (res == 0)
			res = write_regions(file, &l->v);
		if (res == 0)
			res = write_headers(file, l);
	}
	g_free(l);
	return ok && (res == 0 || err_set_errno(error, -res, "vhdx: it cannot be written"));
}

/* Another place for the BAT: both region tables change with one entry of the log. */
static co_fn int move_region(struct block_node *node, const struct vhdx_range *to)
{
	uint8_t *p = g_malloc(2 * (size_t)VHDX_KIB64);
	struct vhdx_change sectors[2];
	uint32_t n = 0;
	int res = 0;

	for (unsigned k = 0; k < 2 && res == 0; k++) {
		uint8_t *table = p + (size_t)k * VHDX_KIB64;

		/* Either copy may be the good one; both become the same. */
		res = vhdx_read(node, VHDX_REGIONS + (uint64_t)k * VHDX_KIB64, table, VHDX_KIB64);
		if (res == 0 && (memcmp(table, "regi", 4) != 0 || !vhdx_crc_ok(table, VHDX_KIB64)))
			res = -EIO;
		n = res == 0 ? get_le32(table + XR_COUNT) : 0;
		if (n > (VHDX_SECTOR - XR_ENTRIES) / XR_SIZE)
			res = -ENOTSUP;
		for (uint32_t i = 0; i < n && res == 0; i++) {
			uint8_t *e = table + XR_ENTRIES + (size_t)i * XR_SIZE;

			if (!memcmp(e, vhdx_bat_guid, VHDX_GUID))
				put_region(e, vhdx_bat_guid, to);
		}
		vhdx_put_crc(table, VHDX_KIB64);
		sectors[k] = (struct vhdx_change){.off = VHDX_REGIONS + (uint64_t)k * VHDX_KIB64,
						  .data = table};
	}
	if (res == 0)
		res = vhdx_log_write(node, sectors, 2);
	g_free(p);
	return res;
}

/* A table for n blocks, in the room there is or elsewhere. */
static co_fn int longer_bat(struct block_node *node, uint64_t n)
{
	struct vhdx *v = node->state;
	struct vhdx_range to = v->bat_at;
	uint64_t old = vhdx_bat_entries(v, v->b.n) * 8, len = vhdx_bat_entries(v, n) * 8;
	struct blocks_table t = {0};
	int res = 0;

	if (len > to.len) {
		to.len = round_up(len, VHDX_MIB);
		res = blocks_take(node, to.len, 0, &to.off);
	}
	if (res == 0)
		res = blocks_table_init(&t, to.off, len, VHDX_SECTOR) ? 0 : -ENOMEM;
	if (res == 0) {
		memcpy(t.raw, v->bat.raw, old);
		memset(t.dirty, 1, t.len / VHDX_SECTOR);
		t.n_dirty = t.len / VHDX_SECTOR;
		res = blocks_table_write(&t, node->file); /* what was there stays the same */
	}
	if (res == 0 && to.off != v->bat_at.off)
		res = move_region(node, &to);
	if (res < 0) {
		blocks_table_fini(&t);
		return res;
	}
	blocks_table_fini(&v->bat);
	v->bat = t;
	v->bat_at = to;
	v->b.n = n;
	return 0;
}

/* A fixed image has all its blocks. */
static co_fn int fill_up(struct block_node *node, uint64_t first)
{
	struct vhdx *v = node->state;
	int res = 0;

	for (uint64_t i = first; i < v->b.n && res == 0; i++) {
		uint64_t host = 0;

		res = v->b.driver->allocate(node, i, &host);
		if (res == 0)
			v->b.driver->link(node, i, host);
	}
	return res < 0 ? res : v->b.driver->commit(node);
}

static co_fn int set_size(struct block_node *node, uint64_t len)
{
	struct vhdx *v = node->state;
	uint64_t at = v->items[ITEM_SIZE].off, within = at % VHDX_SECTOR;
	uint8_t *p = g_malloc(VHDX_SECTOR);
	struct vhdx_change sector = {.off = at - within, .data = p};
	int res = within > VHDX_SECTOR - 8 ? -ENOTSUP : vhdx_read(node, sector.off, p, VHDX_SECTOR);

	if (res == 0) {
		put_le64(p + within, len);
		res = vhdx_log_write(node, &sector, 1);
	}
	if (res == 0)
		v->size = len;
	g_free(p);
	return res;
}

static co_fn int grow(struct block_node *node, uint64_t len)
{
	struct vhdx *v = node->state;
	uint64_t n = round_up(len, v->b.size) / v->b.size, old = v->b.n;
	int res = v->b.driver->commit(node);

	if (res == 0 && n > v->b.n)
		res = longer_bat(node, n);
	if (res == 0 && v->flags & VHDX_ALLOCATED_STAYS)
		res = fill_up(node, old);
	if (res == 0)
		res = set_size(node, len);
	return res < 0 ? res : block_flush(node->file);
}

co_fn int vhdx_truncate(struct block_node *node, uint64_t len)
{
	struct vhdx *v = node->state;
	int res;

	if (len % v->logical)
		return -EINVAL;
	if (len < node->length || v->b.has_parent)
		return -ENOTSUP;
	if (len > VHDX_MAX_SIZE)
		return -EFBIG;
	res = vhdx_say_so(node);
	if (res < 0)
		return res;
	co_mutex_lock(&v->b.lock);
	res = v->b.broken ? -EIO : grow(node, len);
	if (res < 0)
		v->b.broken = true; /* who knows how much of it the file says */
	co_mutex_unlock(&v->b.lock);
	return res;
}
