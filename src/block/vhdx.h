/* What the files of the vhdx driver share: layouts (little-endian), and its state. */
#pragma once

#include "block/blocks.h"

enum {
	VHDX_GUID = 16,
	VHDX_SECTOR = 4096,
	VHDX_KIB64 = 64 << 10,
	VHDX_MARK = 4,
	VHDX_LONG_MARK = 8
};
#define VHDX_MIB      ((uint64_t)1 << 20)
#define VHDX_MAX_SIZE ((uint64_t)64 << 40)
#define VHDX_MAX_FILE ((uint64_t)1 << 50)

enum { /* places of the fixed area */
       VHDX_HEADERS = 64 << 10,
       VHDX_REGIONS = 192 << 10,
       VHDX_FIXED_AREA = 1 << 20,
};
enum { /* a header, 4 KiB */
       XH_CRC = 4,
       XH_SEQUENCE = 8,
       XH_FILE_WRITE = 16,
       XH_DATA_WRITE = 32,
       XH_LOG_GUID = 48,
       XH_LOG_VERSION = 64,
       XH_VERSION = 66,
       XH_LOG_LEN = 68,
       XH_LOG_OFF = 72,
};
enum { /* the region table, 64 KiB, and its entries */
       XR_CRC = 4,
       XR_COUNT = 8,
       XR_ENTRIES = 16,
       XR_SIZE = 32,
       XR_OFF = 16,
       XR_LEN = 24,
       XR_REQUIRED = 28,
       XR_MAX = 2047,
};
enum { /* the metadata table, 64 KiB, and its entries */
       XM_COUNT = 10,
       XM_ENTRIES = 32,
       XM_SIZE = 32,
       XM_OFF = 16,
       XM_LEN = 20,
       XM_FLAGS = 24,
       XM_IS_DISK = 2,
       XM_REQUIRED = 4,
       XM_MAX = 2047,
       XM_MAX_ITEM = 1 << 20,
};
enum { /* log entries and descriptors */
       XL_CRC = 4,
       XL_LEN = 8,
       XL_TAIL = 12,
       XL_SEQUENCE = 16,
       XL_COUNT = 24,
       XL_GUID = 32,
       XL_FLUSHED = 48,
       XL_LAST = 56,
       XL_HEAD_LEN = 64,
       XD_SIZE = 32,
       XD_TRAILING = 4,
       XD_LEADING = 8,
       XD_ZERO_LEN = 8,
       XD_OFF = 16,
       XD_SEQUENCE = 24,
       XL_ONE_SECTOR = 126, /* descriptors that fit beside the head */
       XS_HIGH = 4,
       XS_DATA = 8,
       XS_DATA_LEN = 4084,
       XS_LOW = 4092,
};
enum { VHDX_ALLOCATED_STAYS = 1, VHDX_HAS_PARENT = 2 };
enum { /* entries of the BAT */
       XB_NOT_PRESENT = 0,
       XB_UNDEFINED = 1,
       XB_ZERO = 2,
       XB_UNMAPPED = 3,
       XB_PRESENT = 6,
       XB_PARTLY = 7,
       XB_STATE = 7,
};
enum { VHDX_MAX_LOG = 256 << 20 };

extern const uint8_t vhdx_bat_guid[VHDX_GUID], vhdx_metadata_guid[VHDX_GUID];
enum vhdx_item {
	ITEM_PARAMETERS,
	ITEM_SIZE,
	ITEM_PAGE83,
	ITEM_LOGICAL,
	ITEM_PHYSICAL,
	ITEM_LOCATOR,
	VHDX_ITEMS,
};
extern const uint8_t vhdx_item_guid[VHDX_ITEMS][VHDX_GUID];

struct vhdx_range {
	uint64_t off, len;
};

/* What a log says is to be in the file. */
struct vhdx_change {
	uint64_t off, len;
	uint8_t *data; /* VHDX_SECTOR bytes, or NULL: zeros */
};

struct vhdx {
	struct blocks b;
	uint8_t head[VHDX_SECTOR]; /* the current header */
	unsigned slot;             /* of the two, which it is */
	struct vhdx_range bat_at, meta_at, items[VHDX_ITEMS];
	uint64_t regions_end;
	struct blocks_table bat;
	uint64_t size, chunk; /* of the disk; blocks for each bitmap block */
	uint32_t flags, logical, physical;
	GArray *replayed; /* struct vhdx_change: of a log that may not be written to the file */
	uint64_t log_sequence;
	bool log_half;    /* which half the next entry goes to */
	bool said_so;     /* the header says that this opening changes data */
	uint8_t *locator; /* of a parent; its item */
	uint8_t *bitmap;  /* part of a bitmap block, for parts of blocks */
	uint64_t bitmap_off;
	struct co_mutex bitmap_lock;
};

static inline uint64_t vhdx_bat_index(const struct vhdx *v, uint64_t i)
{
	return i + i / v->chunk;
}
uint64_t vhdx_bat_entries(const struct vhdx *v, uint64_t blocks);
void vhdx_put_crc(uint8_t *p, size_t len);
bool vhdx_crc_ok(uint8_t *p, size_t len);

/* vhdx_header.c */
co_fn bool vhdx_read_header(struct block_node *node, GError **error);
co_fn bool vhdx_read_regions(struct block_node *node, GError **error);
/* Both headers as v->head is, with new sequence numbers; durable. */
co_fn int vhdx_write_headers(struct block_node *node);
/* Metadata as they are once the log is replayed; zeros behind the end of the file. */
co_fn int vhdx_read(struct block_node *node, uint64_t off, void *buf, size_t len);
bool vhdx_guid_is_zero(const uint8_t *guid);

/* vhdx_meta.c */
co_fn bool vhdx_read_metadata(struct block_node *node, GError **error);
bool vhdx_find_parent(struct block_node *node, struct opts *options, GError **error);
co_fn bool vhdx_check_parent(struct block_node *node, GError **error);

/* vhdx_log.c. Replays into the file, or into v->replayed where that cannot be written. */
co_fn bool vhdx_replay(struct block_node *node, GError **error);
void vhdx_free_changes(struct vhdx *v);
/* With the lock: n sectors (at most XL_ONE_SECTOR) reach the file all or none. What was written
 * before is durable before them. */
co_fn int vhdx_log_write(struct block_node *node, const struct vhdx_change *sectors, unsigned n);

/* vhdx.c: new GUIDs in the headers, before data change for the first time. */
co_fn int vhdx_say_so(struct block_node *node);

/* vhdx_create.c */
co_fn bool vhdx_create(struct block_node *file, const struct block_create *what, GError **error);
co_fn int vhdx_truncate(struct block_node *node, uint64_t len);
