/* VHDX: the two headers and the two region tables (formats.md 2.7). */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/err.h"
#include "block/vhdx.h"

enum { CRC = 4 };

const uint8_t vhdx_bat_guid[VHDX_GUID] = {0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42,
					  0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08};
const uint8_t vhdx_metadata_guid[VHDX_GUID] = {0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
					       0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e};

void vhdx_put_crc(uint8_t *p, size_t len)
{
	memset(p + CRC, 0, CRC);
	put_le32(p + CRC, crc32c(0, p, len));
}

/* The field counts as zeros. */
bool vhdx_crc_ok(uint8_t *p, size_t len)
{
	uint32_t said = get_le32(p + CRC);

	vhdx_put_crc(p, len);
	if (get_le32(p + CRC) == said)
		return true;
	put_le32(p + CRC, said);
	return false;
}

bool vhdx_guid_is_zero(const uint8_t *guid)
{
	static const uint8_t none[VHDX_GUID];

	return !memcmp(guid, none, VHDX_GUID);
}

uint64_t vhdx_bat_entries(const struct vhdx *v, uint64_t blocks)
{
	if (v->flags & VHDX_HAS_PARENT)
		return (blocks + v->chunk - 1) / v->chunk * (v->chunk + 1);
	return blocks ? blocks + (blocks - 1) / v->chunk : 0;
}

static void overlay(void *buf, uint64_t off, size_t len, const struct vhdx_change *c)
{
	uint64_t from = MAX(off, c->off), to = MIN(off + len, c->off + c->len);
	uint8_t *p = buf;

	if (from >= to)
		return;
	if (c->data)
		memcpy(p + (from - off), c->data + (from - c->off), to - from);
	else
		memset(p + (from - off), 0, to - from);
}

co_fn int vhdx_read(struct block_node *node, uint64_t off, void *buf, size_t len)
{
	const struct vhdx *v = node->state;
	struct iovec one;
	struct iovs iov = iovs_one(&one, buf, len);
	int res = block_preadv_padded(node->file, off, &iov);

	for (unsigned i = 0; res == 0 && v->replayed && i < v->replayed->len; i++)
		overlay(buf, off, len, &g_array_index(v->replayed, struct vhdx_change, i));
	return res;
}

static bool check_header(const struct vhdx *v, GError **error)
{
	uint64_t at = VHDX_HEADERS + (uint64_t)v->slot * VHDX_KIB64;
	uint32_t log_len = get_le32(v->head + XH_LOG_LEN);
	uint64_t log_off = get_le64(v->head + XH_LOG_OFF);

	if (get_le16(v->head + XH_VERSION) != 1) {
		return err_set(error, ENOTSUP,
			       "vhdx: the version at offset %" PRIu64 " is %u; only 1 is known",
			       at + XH_VERSION, get_le16(v->head + XH_VERSION));
	}
	if (get_le16(v->head + XH_LOG_VERSION)) {
		return err_set(error, ENOTSUP,
			       "vhdx: the version of the log at offset %" PRIu64
			       " is %u; only 0 is known",
			       at + XH_LOG_VERSION, get_le16(v->head + XH_LOG_VERSION));
	}
	if (log_len < VHDX_MIB || log_len % VHDX_MIB || log_len > VHDX_MAX_LOG) {
		return err_set(error, EINVAL,
			       "vhdx: the length of the log at offset %" PRIu64 " is %" PRIu32
			       ", must be 1 to 256 MiB",
			       at + XH_LOG_LEN, log_len);
	}
	if (log_off < VHDX_FIXED_AREA || log_off % VHDX_MIB || log_off > VHDX_MAX_FILE) {
		return err_set(error, EINVAL,
			       "vhdx: the log (offset %" PRIu64 ") is at %" PRIu64
			       ", must be on a MiB behind the headers",
			       at + XH_LOG_OFF, log_off);
	}
	return true;
}

co_fn bool vhdx_read_header(struct block_node *node, GError **error)
{
	struct vhdx *v = node->state;
	uint8_t *both = g_malloc0(2 * (size_t)VHDX_SECTOR);
	uint64_t best = 0;
	bool found = false;
	int res = vhdx_read(node, 0, both, VHDX_SECTOR);

	if (res == 0 && memcmp(both, "vhdxfile", 8) != 0) {
		g_free(both);
		return err_set(error, EINVAL, "vhdx: there is no \"vhdxfile\" at offset 0");
	}
	for (unsigned i = 0; i < 2 && res == 0; i++) {
		uint8_t *p = both + (size_t)i * VHDX_SECTOR;

		res = vhdx_read(node, VHDX_HEADERS + (uint64_t)i * VHDX_KIB64, p, VHDX_SECTOR);
		if (res < 0 || memcmp(p, "head", 4) != 0 || !vhdx_crc_ok(p, VHDX_SECTOR) ||
		    (found && get_le64(p + XH_SEQUENCE) <= best))
			continue;
		best = get_le64(p + XH_SEQUENCE);
		v->slot = i;
		memcpy(v->head, p, VHDX_SECTOR);
		found = true;
	}
	g_free(both);
	if (res < 0)
		return err_set_errno(error, -res, "vhdx: the headers cannot be read");
	if (!found) {
		return err_set(error, EINVAL,
			       "vhdx: neither of the headers at offset %d and %d is valid",
			       VHDX_HEADERS, VHDX_HEADERS + VHDX_KIB64);
	}
	return check_header(v, error);
}

co_fn int vhdx_write_headers(struct block_node *node)
{
	struct vhdx *v = node->state;
	int res = 0;

	for (unsigned i = 0; i < 2 && res == 0; i++) {
		unsigned slot = !v->slot;

		put_le64(v->head + XH_SEQUENCE, get_le64(v->head + XH_SEQUENCE) + 1);
		vhdx_put_crc(v->head, VHDX_SECTOR);
		res = block_pwrite(node->file, VHDX_HEADERS + (uint64_t)slot * VHDX_KIB64, v->head,
				   VHDX_SECTOR, 0);
		if (res == 0)
			res = block_flush(node->file);
		if (res == 0)
			v->slot = slot;
	}
	return res;
}

static bool overlap(const struct vhdx_range *a, const struct vhdx_range *b)
{
	return a->off < b->off + b->len && b->off < a->off + a->len;
}

/* One entry of the region table at offset at. */
static bool read_region(struct block_node *node, const uint8_t *e, uint64_t at, GError **error)
{
	struct vhdx *v = node->state;
	struct vhdx_range r = {get_le64(e + XR_OFF), get_le32(e + XR_LEN)};
	bool is_bat = !memcmp(e, vhdx_bat_guid, VHDX_GUID);
	struct vhdx_range *known = is_bat ? &v->bat_at : &v->meta_at;

	if (r.off < VHDX_FIXED_AREA || r.off % VHDX_MIB || r.off > VHDX_MAX_FILE || r.len == 0 ||
	    r.len % VHDX_MIB) {
		return err_set(error, EINVAL,
			       "vhdx: the region at offset %" PRIu64 " of the table is at %" PRIu64
			       " with %" PRIu64 " bytes, must be whole MiB behind the headers",
			       at, r.off, r.len);
	}
	v->regions_end = MAX(v->regions_end, r.off + r.len);
	if (!is_bat && memcmp(e, vhdx_metadata_guid, VHDX_GUID) != 0) {
		if (!(get_le32(e + XR_REQUIRED) & 1))
			return true;
		return err_set(error, ENOTSUP,
			       "vhdx: the region at offset %" PRIu64
			       " of the table must be understood, and is not known here",
			       at);
	}
	if (known->len) {
		return err_set(error, EINVAL,
			       "vhdx: the region at offset %" PRIu64 " of the table is there twice",
			       at);
	}
	*known = r;
	return true;
}

static bool check_regions(const struct vhdx *v, uint64_t file_len, GError **error)
{
	struct vhdx_range log = {get_le64(v->head + XH_LOG_OFF), get_le32(v->head + XH_LOG_LEN)};

	if (!v->bat_at.len || !v->meta_at.len) {
		return err_set(error, EINVAL, "vhdx: the region table at offset %d has no %s",
			       VHDX_REGIONS, v->bat_at.len ? "metadata" : "BAT");
	}
	if (overlap(&v->bat_at, &v->meta_at) || overlap(&v->bat_at, &log) ||
	    overlap(&v->meta_at, &log)) {
		return err_set(error, EINVAL,
			       "vhdx: BAT (offset %" PRIu64 "), metadata (%" PRIu64
			       ") and log (%" PRIu64 ") overlap",
			       v->bat_at.off, v->meta_at.off, log.off);
	}
	if (v->meta_at.off >= file_len || v->bat_at.off >= file_len) {
		return err_set(error, EINVAL,
			       "vhdx: BAT (offset %" PRIu64 ") or metadata (%" PRIu64
			       ") are behind the end of the file, %" PRIu64,
			       v->bat_at.off, v->meta_at.off, file_len);
	}
	return true;
}

static co_fn int read_table(struct block_node *node, uint8_t *p, uint64_t *at)
{
	int res = 0;

	for (unsigned i = 0; i < 2 && res == 0; i++) {
		*at = VHDX_REGIONS + (uint64_t)i * VHDX_KIB64;
		res = vhdx_read(node, *at, p, VHDX_KIB64);
		if (res == 0 && !memcmp(p, "regi", 4) && vhdx_crc_ok(p, VHDX_KIB64))
			return 1;
	}
	return res;
}

co_fn bool vhdx_read_regions(struct block_node *node, GError **error)
{
	struct vhdx *v = node->state;
	uint8_t *p = g_malloc(VHDX_KIB64);
	uint64_t at = 0;
	int res = read_table(node, p, &at);
	uint32_t n = res > 0 ? get_le32(p + XR_COUNT) : 0;
	bool ok;

	if (res < 0) {
		ok = err_set_errno(error, -res, "vhdx: the region tables cannot be read");
	} else if (res == 0) {
		ok = err_set(error, EINVAL,
			     "vhdx: neither of the region tables at offset %d and %d is valid",
			     VHDX_REGIONS, VHDX_REGIONS + VHDX_KIB64);
	} else if (n > XR_MAX) {
		ok = err_set(error, EINVAL,
			     "vhdx: %" PRIu32 " regions at offset %" PRIu64 ", must be at most %d",
			     n, at + XR_COUNT, XR_MAX);
	} else {
		ok = true;
	}
	v->regions_end = MAX(VHDX_FIXED_AREA,
			     get_le64(v->head + XH_LOG_OFF) + get_le32(v->head + XH_LOG_LEN));
	for (uint32_t i = 0; ok && i < n; i++) {
		uint64_t off = XR_ENTRIES + (uint64_t)i * XR_SIZE;

		ok = read_region(node, p + off, at + off, error);
	}
	g_free(p);
	return ok && check_regions(v, node->file->length, error);
}
