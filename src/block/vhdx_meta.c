/* VHDX: the metadata table and its items, among them the locator of a parent (formats.md 2.7). */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "block/drivers.h"
#include "block/vhd.h"
#include "block/vhdx.h"

enum { MIN_BLOCK = 1 << 20, MAX_BLOCK = 256 << 20, BITMAP_BITS = 1 << 23 };
enum { LOCATOR_COUNT = 18, LOCATOR_ENTRIES = 20, LOCATOR_SIZE = 12 };

const uint8_t vhdx_item_guid[VHDX_ITEMS][VHDX_GUID] = {
	[ITEM_PARAMETERS] = {0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d, 0xb3, 0xb6, 0x33, 0xf0,
			     0xaa, 0x44, 0xe7, 0x6b},
	[ITEM_SIZE] = {0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48, 0xb2, 0x11, 0x5d, 0xbe, 0xd8,
		       0x3b, 0xf4, 0xb8},
	[ITEM_PAGE83] = {0xab, 0x12, 0xca, 0xbe, 0xe6, 0xb2, 0x23, 0x45, 0x93, 0xef, 0xc3, 0x09,
			 0xe0, 0x00, 0xc7, 0x46},
	[ITEM_LOGICAL] = {0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47, 0xba, 0x47, 0xf2, 0x33,
			  0xa8, 0xfa, 0xab, 0x5f},
	[ITEM_PHYSICAL] = {0xc7, 0x48, 0xa3, 0xcd, 0x5d, 0x44, 0x71, 0x44, 0x9c, 0xc9, 0xe9, 0x88,
			   0x52, 0x51, 0xc5, 0x56},
	[ITEM_LOCATOR] = {0x2d, 0x5f, 0xd3, 0xa8, 0x0b, 0xb3, 0x4d, 0x45, 0xab, 0xf7, 0xd3, 0xd8,
			  0x48, 0x34, 0xab, 0x0c},
};
static const struct {
	const char *name;
	uint32_t len; /* 0: any */
	bool needed;
} items[VHDX_ITEMS] = {
	[ITEM_PARAMETERS] = {"file parameters", 8, true},
	[ITEM_SIZE] = {"disk size", 8, true},
	[ITEM_PAGE83] = {"disk id", 16, false},
	[ITEM_LOGICAL] = {"logical sector size", 4, true},
	[ITEM_PHYSICAL] = {"physical sector size", 4, false},
	[ITEM_LOCATOR] = {"parent locator", 0, false},
};

static bool read_entry(struct vhdx *v, const uint8_t *e, uint64_t at, GError **error)
{
	struct vhdx_range r = {get_le32(e + XM_OFF), get_le32(e + XM_LEN)};
	unsigned i = 0;

	while (i < VHDX_ITEMS && memcmp(e, vhdx_item_guid[i], VHDX_GUID) != 0)
		i++;
	if (i == VHDX_ITEMS) {
		if (!(get_le32(e + XM_FLAGS) & XM_REQUIRED))
			return true;
		return err_set(error, ENOTSUP,
			       "vhdx: the metadata item at offset %" PRIu64
			       " must be understood, and is not known here",
			       at);
	}
	if (r.off < VHDX_KIB64 || r.len > XM_MAX_ITEM || r.off + r.len > v->meta_at.len ||
	    (items[i].len && r.len < items[i].len)) {
		return err_set(error, EINVAL,
			       "vhdx: the %s (entry at offset %" PRIu64 ") has %" PRIu64
			       " bytes at %" PRIu64 " of the metadata, which cannot be",
			       items[i].name, at, r.len, r.off);
	}
	if (v->items[i].len) {
		return err_set(error, EINVAL,
			       "vhdx: the %s (entry at offset %" PRIu64 ") is there twice",
			       items[i].name, at);
	}
	r.off += v->meta_at.off;
	v->items[i] = r;
	return true;
}

static bool parse_table(struct vhdx *v, const uint8_t *p, GError **error)
{
	unsigned n = get_le16(p + XM_COUNT);
	bool ok = true;

	if (memcmp(p, "metadata", 8) != 0) {
		return err_set(error, EINVAL, "vhdx: there is no metadata table at offset %" PRIu64,
			       v->meta_at.off);
	}
	if (n > XM_MAX) {
		return err_set(error, EINVAL,
			       "vhdx: %u metadata items at offset %" PRIu64 ", must be at most %d",
			       n, v->meta_at.off + XM_COUNT, XM_MAX);
	}
	for (unsigned i = 0; i < n && ok; i++) {
		uint64_t off = XM_ENTRIES + (uint64_t)i * XM_SIZE;

		ok = read_entry(v, p + off, v->meta_at.off + off, error);
	}
	for (unsigned i = 0; i < VHDX_ITEMS && ok; i++) {
		if (items[i].needed && !v->items[i].len) {
			ok = err_set(error, EINVAL,
				     "vhdx: the metadata at offset %" PRIu64 " have no %s",
				     v->meta_at.off, items[i].name);
		}
	}
	return ok;
}

static bool check_values(const struct vhdx *v, GError **error)
{
	uint64_t block = v->b.size;

	if (block < MIN_BLOCK || block > MAX_BLOCK || block & (block - 1)) {
		return err_set(error, EINVAL,
			       "vhdx: the block size at offset %" PRIu64 " is %" PRIu64
			       ", must be a power of two from 1M to 256M",
			       v->items[ITEM_PARAMETERS].off, block);
	}
	if (v->logical != 512 && v->logical != VHDX_SECTOR) {
		return err_set(error, EINVAL,
			       "vhdx: the logical sector size at offset %" PRIu64 " is %" PRIu32
			       ", must be 512 or 4096",
			       v->items[ITEM_LOGICAL].off, v->logical);
	}
	if (v->physical != 512 && v->physical != VHDX_SECTOR) {
		return err_set(error, EINVAL,
			       "vhdx: the physical sector size at offset %" PRIu64 " is %" PRIu32
			       ", must be 512 or 4096",
			       v->items[ITEM_PHYSICAL].off, v->physical);
	}
	if (v->size > VHDX_MAX_SIZE || v->size % v->logical) {
		return err_set(error, EINVAL,
			       "vhdx: the disk size at offset %" PRIu64 " is %" PRIu64
			       ", must be whole sectors and at most 64 TiB",
			       v->items[ITEM_SIZE].off, v->size);
	}
	return true;
}

co_fn bool vhdx_read_metadata(struct block_node *node, GError **error)
{
	struct vhdx *v = node->state;
	uint8_t *p = g_malloc(VHDX_KIB64), parameters[8] = {0}, size[8] = {0}, logical[4] = {0};
	uint8_t physical[4] = {0, 2};
	int res = vhdx_read(node, v->meta_at.off, p, VHDX_KIB64);
	bool ok = res < 0 ? err_set_errno(error, -res, "vhdx: the metadata cannot be read")
			  : parse_table(v, p, error);

	g_free(p);
	if (!ok)
		return false;
	res = vhdx_read(node, v->items[ITEM_PARAMETERS].off, parameters, sizeof(parameters));
	if (res == 0)
		res = vhdx_read(node, v->items[ITEM_SIZE].off, size, sizeof(size));
	if (res == 0)
		res = vhdx_read(node, v->items[ITEM_LOGICAL].off, logical, sizeof(logical));
	if (res == 0 && v->items[ITEM_PHYSICAL].len)
		res = vhdx_read(node, v->items[ITEM_PHYSICAL].off, physical, sizeof(physical));
	if (res < 0)
		return err_set_errno(error, -res, "vhdx: the metadata cannot be read");
	v->b.size = get_le32(parameters);
	v->flags = get_le32(parameters + 4);
	v->size = get_le64(size);
	v->logical = get_le32(logical);
	v->physical = get_le32(physical);
	if (!check_values(v, error))
		return false;
	v->chunk = (uint64_t)BITMAP_BITS * v->logical / v->b.size;
	v->b.n = (v->size + v->b.size - 1) / v->b.size;
	if (vhdx_bat_entries(v, v->b.n) * 8 > v->bat_at.len) {
		return err_set(error, EINVAL,
			       "vhdx: a disk of %" PRIu64 " bytes (offset %" PRIu64
			       ") needs %" PRIu64 " entries, more than the BAT at offset %" PRIu64
			       " has",
			       v->size, v->items[ITEM_SIZE].off, vhdx_bat_entries(v, v->b.n),
			       v->bat_at.off);
	}
	return true;
}

/* The value of a key of the locator, in UTF-16: where, or NULL; *len its bytes. */
static const uint8_t *find_value(const struct vhdx *v, const char *key, size_t *len)
{
	uint64_t all = v->items[ITEM_LOCATOR].len, keys = strlen(key);
	unsigned n = get_le16(v->locator + LOCATOR_COUNT);

	for (unsigned i = 0; i < n; i++) {
		const uint8_t *e = v->locator + LOCATOR_ENTRIES + (size_t)i * LOCATOR_SIZE;
		uint64_t key_off, value_off, key_len, k = 0;

		if (LOCATOR_ENTRIES + (uint64_t)(i + 1) * LOCATOR_SIZE > all)
			return NULL;
		key_off = get_le32(e);
		value_off = get_le32(e + 4);
		key_len = get_le16(e + 8);
		*len = get_le16(e + 10);
		if (key_len != keys * 2 || key_off + key_len > all || value_off + *len > all)
			continue;
		while (k < keys && get_le16(v->locator + key_off + k * 2) == (uint8_t)key[k])
			k++;
		if (k == keys)
			return v->locator + value_off;
	}
	return NULL;
}

static char *find_path(const struct vhdx *v, const char *key, bool last)
{
	size_t len;
	const uint8_t *text = find_value(v, key, &len);

	return text ? vhd_path(text, len, false, last) : NULL;
}

bool vhdx_find_parent(struct block_node *node, struct opts *options, GError **error)
{
	struct vhdx *v = node->state;
	bool given = opts_get(options, "backing.driver") || opts_get(options, "backing");
	struct vhdx_range at = v->items[ITEM_LOCATOR];
	char *path;

	if (at.len < LOCATOR_ENTRIES) {
		return err_set(error, EINVAL,
			       "vhdx: has a parent (offset %" PRIu64
			       ") and no locator of it among the metadata",
			       v->items[ITEM_PARAMETERS].off + 4);
	}
	v->locator = g_try_malloc(at.len);
	v->bitmap = g_try_malloc(VHDX_SECTOR);
	if (!v->locator || !v->bitmap)
		return err_set(error, ENOMEM, "vhdx: no memory for the parent locator");
	if (vhdx_read(node, at.off, v->locator, at.len) < 0)
		return err_set(error, EIO, "vhdx: the parent locator cannot be read");
	path = find_path(v, "relative_path", false);
	if (!path)
		path = find_path(v, "absolute_win32_path", true);
	if (!path)
		path = find_path(v, "volume_path", true);
	if (!path && !given) {
		return err_set(error, EINVAL,
			       "vhdx: the parent locator at offset %" PRIu64
			       " names no file that could be found here; say "
			       "backing.driver=vhdx,backing.file.filename=",
			       at.off);
	}
	node->backing_name = path;
	node->backing_format = g_strdup("vhdx");
	v->b.has_parent = true;
	return true;
}

/* Whether the text, "{01234567-...}" in UTF-16, is guid. */
static bool is_guid(const uint8_t *text, size_t len, const uint8_t *g)
{
	g_autofree char *wanted = g_strdup_printf(
		"{%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x}", g[3],
		g[2], g[1], g[0], g[5], g[4], g[7], g[6], g[8], g[9], g[10], g[11], g[12], g[13],
		g[14], g[15]);
	g_autofree char *said =
		g_convert((const char *)text, (gssize)len, "UTF-8", "UTF-16LE", NULL, NULL, NULL);

	return said && !g_ascii_strcasecmp(said, wanted);
}

co_fn bool vhdx_check_parent(struct block_node *node, GError **error)
{
	static const char *const keys[] = {"parent_linkage", "parent_linkage2"};
	const struct vhdx *v = node->state, *p = node->backing->state;

	if (node->backing->driver != &block_vhdx)
		return true;
	for (unsigned i = 0; i < G_N_ELEMENTS(keys); i++) {
		size_t len;
		const uint8_t *text = find_value(v, keys[i], &len);

		if (text && is_guid(text, len, p->head + XH_DATA_WRITE))
			return true;
	}
	return err_set(error, EINVAL,
		       "vhdx: \"%s\" is not the parent that it was made for, or was changed since: "
		       "its DataWriteGuid is none of those in the locator at offset %" PRIu64,
		       node->backing->name, v->items[ITEM_LOCATOR].off);
}
