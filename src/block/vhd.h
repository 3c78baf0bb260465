/* What the files of the vpc driver share: layouts (big-endian), and its state. */
#pragma once

#include "block/blocks.h"

enum { /* the footer */
       VF_COOKIE = 0,
       VF_FEATURES = 8,
       VF_VERSION = 12,
       VF_DATA_OFF = 16,
       VF_TIME = 24,
       VF_CREATOR = 28,
       VF_CREATOR_VERSION = 32,
       VF_CREATOR_OS = 36,
       VF_ORIGINAL_SIZE = 40,
       VF_SIZE = 48,
       VF_CYLINDERS = 56,
       VF_HEADS = 58,
       VF_SECTORS = 59,
       VF_TYPE = 60,
       VF_CHECKSUM = 64,
       VF_UUID = 68,
       VF_SAVED_STATE = 84,
       VF_LEN = 512,
};
enum { /* the header of dynamic and differencing images */
       VD_COOKIE = 0,
       VD_DATA_OFF = 8,
       VD_BAT_OFF = 16,
       VD_VERSION = 24,
       VD_ENTRIES = 28,
       VD_BLOCK_SIZE = 32,
       VD_CHECKSUM = 36,
       VD_PARENT_UUID = 40,
       VD_PARENT_NAME = 64,
       VD_PARENT_NAME_LEN = 512,
       VD_LOCATORS = 576,
       VD_LEN = 1024,
};
enum { /* a parent locator */
       VL_CODE = 0,
       VL_LEN = 8,
       VL_OFF = 16,
       VL_SIZE = 24,
       VL_N = 8,
};
enum { VHD_FIXED = 2, VHD_DYNAMIC = 3, VHD_DIFFERENCING = 4 };
enum { VHD_VERSION = 0x00010000, VHD_SECTOR = 512, VHD_UUID = 16, VHD_COOKIE = 8, VHD_NAME = 4 };
enum { VHD_NOT_THERE = 0xffffffffu };
enum { VHD_MIN_BLOCK = 4096, VHD_DEFAULT_BLOCK = 2 << 20, VHD_MAX_BLOCK = 256 << 20 };
enum { VHD_MAX_BLOCKS = 16 << 20 };                          /* 64 MiB of BAT */
#define VHD_MAX_GEOMETRY ((uint64_t)65535 * 16 * 255)        /* sectors */
#define VHD_MAX_SIZE     ((uint64_t)0xff000000 * VHD_SECTOR) /* 2040 GiB */

struct vhd {
	struct blocks b;
	uint8_t footer[VF_LEN], header[VD_LEN];
	struct blocks_table bat;
	uint64_t footer_off; /* of the valid one at the end; 0: none is there */
	uint64_t bitmap_len;
	uint32_t type;
	GArray *marked;     /* uint64_t: blocks whose bitmap becomes all ones at the next commit */
	uint8_t *whole;     /* differencing: 1 for each block known to be all here */
	uint8_t *bitmap;    /* of the block seen last */
	uint64_t bitmap_of; /* its number + 1; 0: none */
	struct co_mutex bitmap_lock;
};

/* vhd_format.c: pure. */
uint32_t vhd_checksum(const uint8_t *p, size_t len, size_t at);
void vhd_put_checksum(uint8_t *p, size_t len, size_t at);
bool vhd_footer_ok(const uint8_t *footer);
/* Bytes of the disk. AUTO: by size or geometry, as QEMU decides by who made it. */
enum vhd_size_calc { VHD_SIZE_AUTO, VHD_SIZE_BY_SIZE, VHD_SIZE_BY_GEOMETRY };
uint64_t vhd_disk_size(const uint8_t *footer, enum vhd_size_calc calc);
/* The smallest geometry that holds sectors; for many it is the largest there is. */
void vhd_put_geometry(uint8_t *footer, uint64_t sectors);
bool vhd_check_footer(const uint8_t *footer, uint64_t disk_size, GError **error);
bool vhd_check_header(const uint8_t *header, uint64_t off, uint64_t disk_size, GError **error);
/* A path as Windows writes it, UTF-16 in either order, for here; NULL if it is absolute or no
 * text. last: only its last part. */
char *vhd_path(const uint8_t *text, size_t len, bool big_endian, bool last);

/* vhd_parent.c. The options are those of the node: the user may say which it is. */
co_fn bool vhd_find_parent(struct block_node *node, struct opts *options, GError **error);
co_fn bool vhd_check_parent(struct block_node *node, GError **error);
co_fn int vhd_map_parts(struct block_node *node, uint64_t off, uint64_t len,
			struct block_extent *out);
/* Which of the blocks under the range are all here becomes known. */
co_fn int vhd_learn(struct block_node *node, uint64_t off, uint64_t len);

/* vhd_create.c */
co_fn bool vhd_create(struct block_node *file, const struct block_create *what, GError **error);
co_fn int vhd_truncate(struct block_node *node, uint64_t len);
/* With the lock: the footer at off, where the file then ends. */
co_fn int vhd_put_footer(struct block_node *node, uint64_t off);
