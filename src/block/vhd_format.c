/* VHD: footers, headers, geometry and names, without I/O (formats.md 2.6). */
#include "block/vhd.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"

/* One's complement of the sum of all bytes but the checksum's own. */
uint32_t vhd_checksum(const uint8_t *p, size_t len, size_t at)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += i < at || i >= at + 4 ? p[i] : 0;
	return ~sum;
}

void vhd_put_checksum(uint8_t *p, size_t len, size_t at)
{
	put_be32(p + at, vhd_checksum(p, len, at));
}

bool vhd_footer_ok(const uint8_t *footer)
{
	return !memcmp(footer, "conectix", VHD_COOKIE) &&
	       get_be32(footer + VF_CHECKSUM) == vhd_checksum(footer, VF_LEN, VF_CHECKSUM);
}

static uint64_t by_geometry(const uint8_t *footer)
{
	return (uint64_t)get_be16(footer + VF_CYLINDERS) * footer[VF_HEADS] * footer[VF_SECTORS];
}

uint64_t vhd_disk_size(const uint8_t *footer, enum vhd_size_calc calc)
{
	/* Programs that mean the size; all others round it to a geometry. */
	static const char by_size[][5] = {"win ", "qem2", "d2v ", "tap\0", "CTXS", "wa\0\0"};
	uint64_t sectors = by_geometry(footer);
	bool use_size = sectors == VHD_MAX_GEOMETRY || calc == VHD_SIZE_BY_SIZE;

	for (unsigned i = 0; i < G_N_ELEMENTS(by_size); i++)
		use_size = use_size || !memcmp(footer + VF_CREATOR, by_size[i], 4);
	if (calc == VHD_SIZE_BY_GEOMETRY)
		use_size = false;
	return use_size ? get_be64(footer + VF_SIZE) / VHD_SECTOR * VHD_SECTOR
			: sectors * VHD_SECTOR;
}

/* The geometry for so many sectors, rounded down. */
static void put_geometry_below(uint8_t *footer, uint64_t sectors)
{
	uint64_t tracks, heads = 16, per = 255;

	sectors = MIN(sectors, VHD_MAX_GEOMETRY);
	tracks = sectors / per;
	if (sectors < (uint64_t)65535 * 16 * 63) {
		per = 17;
		tracks = sectors / per;
		heads = MAX((tracks + 1023) / 1024, 4);
		if (tracks >= heads * 1024 || heads > 16) {
			per = 31;
			heads = 16;
			tracks = sectors / per;
		}
		if (tracks >= heads * 1024) {
			per = 63;
			heads = 16;
			tracks = sectors / per;
		}
	}
	put_be16(footer + VF_CYLINDERS, (uint16_t)(tracks / heads));
	footer[VF_HEADS] = (uint8_t)heads;
	footer[VF_SECTORS] = (uint8_t)per;
}

void vhd_put_geometry(uint8_t *footer, uint64_t sectors)
{
	memset(footer + VF_CYLINDERS, 0, VF_TYPE - VF_CYLINDERS);
	for (uint64_t n = sectors; by_geometry(footer) < MIN(sectors, VHD_MAX_GEOMETRY); n++)
		put_geometry_below(footer, n);
}

bool vhd_check_footer(const uint8_t *footer, uint64_t disk_size, GError **error)
{
	uint32_t version = get_be32(footer + VF_VERSION), type = get_be32(footer + VF_TYPE);

	if (version >> 16 != VHD_VERSION >> 16) {
		return err_set(error, ENOTSUP,
			       "vpc: the version at offset %d of the footer is 0x%" PRIx32
			       "; only 1 is known",
			       VF_VERSION, version);
	}
	if (type != VHD_FIXED && type != VHD_DYNAMIC && type != VHD_DIFFERENCING) {
		return err_set(error, EINVAL,
			       "vpc: the type at offset %d of the footer is %" PRIu32
			       ", must be 2 to 4",
			       VF_TYPE, type);
	}
	if (disk_size > VHD_MAX_SIZE) {
		return err_set(error, EFBIG,
			       "vpc: the size at offset %d of the footer is %" PRIu64
			       ", at most 2040 GiB",
			       VF_SIZE, disk_size);
	}
	return true;
}

bool vhd_check_header(const uint8_t *header, uint64_t off, uint64_t disk_size, GError **error)
{
	uint32_t block = get_be32(header + VD_BLOCK_SIZE), n = get_be32(header + VD_ENTRIES);

	if (memcmp(header, "cxsparse", VHD_COOKIE) != 0) {
		return err_set(error, EINVAL,
			       "vpc: there is no header of a dynamic disk at offset %" PRIu64, off);
	}
	if (get_be32(header + VD_CHECKSUM) != vhd_checksum(header, VD_LEN, VD_CHECKSUM)) {
		return err_set(error, EINVAL,
			       "vpc: the checksum of the header at offset %" PRIu64 " is wrong",
			       off);
	}
	if (get_be32(header + VD_VERSION) >> 16 != VHD_VERSION >> 16) {
		return err_set(error, ENOTSUP,
			       "vpc: the version of the header (offset %" PRIu64 ") is 0x%" PRIx32
			       "; only 1 is known",
			       off + VD_VERSION, get_be32(header + VD_VERSION));
	}
	if (block < VHD_MIN_BLOCK || block > VHD_MAX_BLOCK || block & (block - 1)) {
		return err_set(error, EINVAL,
			       "vpc: the block size at offset %" PRIu64 " is %" PRIu32
			       ", must be a power of two from 4K to 256M",
			       off + VD_BLOCK_SIZE, block);
	}
	if (disk_size / block >= VHD_MAX_BLOCKS) {
		return err_set(error, EFBIG,
			       "vpc: blocks of %" PRIu32 " bytes (offset %" PRIu64
			       ") are too small for a disk of %" PRIu64,
			       block, off + VD_BLOCK_SIZE, disk_size);
	}
	if (n < (disk_size + block - 1) / block) {
		return err_set(error, EINVAL,
			       "vpc: the table of blocks has %" PRIu32 " entries (offset %" PRIu64
			       "), too few for a disk of %" PRIu64 " bytes",
			       n, off + VD_ENTRIES, disk_size);
	}
	return true;
}

char *vhd_path(const uint8_t *text, size_t len, bool big_endian, bool last)
{
	g_autofree char *utf8 = g_convert((const char *)text, (gssize)len, "UTF-8",
					  big_endian ? "UTF-16BE" : "UTF-16LE", NULL, NULL, NULL);
	char *path = utf8;

	if (!path)
		return NULL;
	g_strdelimit(path, "\\", '/');
	if (last && strrchr(path, '/'))
		path = strrchr(path, '/') + 1;
	while (g_str_has_prefix(path, "./"))
		path += 2;
	if (!*path || *path == '/' || strchr(path, ':'))
		return NULL;
	return g_strdup(path);
}
