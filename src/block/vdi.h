/* What the files of the vdi driver share. */
#pragma once

#include "block/blocks.h"

enum { /* the header */
       VH_MAGIC = 0x40,
       VH_VERSION = 0x44,
       VH_LEN = 0x48,
       VH_TYPE = 0x4c,
       VH_MAP_OFF = 0x154,
       VH_DATA_OFF = 0x158,
       VH_SECTOR = 0x168,
       VH_SIZE = 0x170,
       VH_BLOCK_SIZE = 0x178,
       VH_EXTRA = 0x17c,
       VH_BLOCKS = 0x180,
       VH_ALLOCATED = 0x184,
       VH_UUID = 0x188,
       VH_SNAPSHOT_UUID = 0x198,
       VH_LINK = 0x1a8,
       VH_PARENT = 0x1b8,
       VH_SECTOR_LEN = 512,
};
enum { MAGIC = 0xbeda107fu, VERSION = 0x00010001, OUR_LEN = 0x180, UUID = 16 };
enum { TYPE_DYNAMIC = 1, TYPE_STATIC = 2, TYPE_UNDO = 3, TYPE_DIFFERENCING = 4 };
enum { NOT_THERE = 0xffffffffu, DISCARDED = 0xfffffffeu };
enum { MIN_BLOCK = 4096, DEFAULT_BLOCK = 1 << 20, MAX_BLOCK = 256 << 20 };
enum { MAX_BLOCKS = 64 << 20 }; /* 256 MiB of map, 64 TiB of disk with blocks of 1 MiB */

struct vdi {
	struct blocks b;
	uint8_t head[VH_SECTOR_LEN];
	struct blocks_table map;
	uint64_t map_off, data_off;
	uint32_t allocated; /* as in the header */
	bool is_static;
	struct co_rwlock moving; /* writes are readers of it, a longer map moves blocks */
};

/* The header as it is in v->head. */
co_fn int vdi_write_header(struct block_node *node);

/* vdi_create.c */
co_fn bool vdi_create(struct block_node *file, const struct block_create *what, GError **error);
co_fn int vdi_truncate(struct block_node *node, uint64_t len);
