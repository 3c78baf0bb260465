/*
 * Images of large blocks, with one table entry for each block of the disk (VDI, VHD, VHDX): what
 * their drivers share. A block lies somewhere in the file as a whole, or nowhere yet; the first
 * write to it takes space at the end of the file. The table is in memory; what was linked since
 * reaches the file at the next flush, behind the data that it names.
 *
 * The state of such a driver begins with a struct blocks.
 */
#pragma once

#include "block/driver.h"

/* Part of the file that holds no blocks. */
struct blocks_area {
	const char *name;
	uint64_t off, len;
};

struct blocks_driver {
	const char *name;
	/* Pure: where block i is. FILE: *host is its first byte; DRIVER: it lies at *host, but
	 * parts of it lie in the backing file (the driver has a map() of its own). */
	enum block_place (*find)(const struct block_node *node, uint64_t i, uint64_t *host);
	/* Pure: all that block i has in the file, unchecked, and where its entry is; false:
	 * nothing. */
	bool (*extent)(const struct block_node *node, uint64_t i, struct blocks_area *what,
		       uint64_t *entry_off);
	/* With the lock: space for a block that reads as zeros; see blocks_take(). */
	co_fn int (*allocate)(struct block_node *node, uint64_t i, uint64_t *host);
	/* With the lock: block i is whole at host. Changes the table in memory only. */
	void (*link)(struct block_node *node, uint64_t i, uint64_t host);
	/* With the lock, after links: makes data and then table durable. */
	co_fn int (*commit)(struct block_node *node);
};

enum { BLOCKS_MAX_AREAS = 12 };

struct blocks_job;
struct blocks {
	const struct blocks_driver *driver;
	uint64_t size, n;   /* bytes of a block; how many the disk has */
	uint64_t lead;      /* bytes that a block has in the file before its data */
	uint64_t used_end;  /* of what is referred to in the file */
	uint64_t fresh_end; /* bytes of the file from here on are zeros */
	struct blocks_area areas[BLOCKS_MAX_AREAS];
	unsigned n_areas;
	bool end_is_soft; /* entries may point behind the end of the file; zeros are there */
	bool has_parent;  /* what is nowhere may be in a backing file */
	bool may_grow;    /* the end of the file is known to be clean */
	bool pending;     /* links are not yet durable */
	bool broken;      /* metadata could not be written: no more of them are */
	GArray *spare;    /* uint64_t: space taken and not used, since its write failed */
	struct co_mutex lock;
	struct blocks_job *jobs; /* blocks that are being allocated */
};

/* Callbacks of the block driver. */
co_fn int blocks_map(struct block_node *node, uint64_t off, uint64_t len, struct block_extent *out);
co_fn int blocks_pwritev(struct block_node *node, uint64_t off, const struct iovs *iov,
			 unsigned flags);
co_fn int blocks_discard_zero(struct block_node *node, uint64_t off, uint64_t len);
co_fn int blocks_flush(struct block_node *node);

void blocks_add_area(struct blocks *b, const char *name, uint64_t off, uint64_t len);
/*
 * At open, with table and areas known: every entry must lie inside the file and outside of the
 * areas; for writing, also not in another block. Sets used_end.
 */
co_fn bool blocks_start(struct block_node *node, GError **error);
/* At close: what is pending, and the file not longer than it need be (keep: bytes behind
 * used_end). */
co_fn void blocks_stop(struct block_node *node, uint64_t keep);
/* The same findings for check(). */
co_fn bool blocks_check(struct block_node *node, unsigned fix, uint64_t keep, struct block_check *r,
			GError **error);
G_GNUC_PRINTF(2, 3) void blocks_tell(struct block_check *r, const char *fmt, ...);
/* With the lock: len bytes of zeros, gap bytes behind what is used. */
co_fn int blocks_take(struct block_node *node, uint64_t len, uint64_t gap, uint64_t *off);

/* A table as it lies in the file, with the sectors to be written. */
struct blocks_table {
	uint8_t *raw;
	uint64_t off, len; /* len: in whole sectors */
	unsigned sector;
	uint64_t n_dirty;
	uint8_t *dirty;
};
/* False: no memory. */
bool blocks_table_init(struct blocks_table *t, uint64_t off, uint64_t len, unsigned sector);
void blocks_table_fini(struct blocks_table *t);
co_fn int blocks_table_read(struct blocks_table *t, struct block_node *file);
void blocks_table_touch(struct blocks_table *t, uint64_t at);
/* The next dirty run from *at on: true, *at and *len; bytes of the table. */
bool blocks_table_next(const struct blocks_table *t, uint64_t *at, uint64_t *len);
void blocks_table_clean(struct blocks_table *t);
/* Writes what is dirty; it stays dirty on failure. */
co_fn int blocks_table_write(struct blocks_table *t, struct block_node *file);

/* A new random UUID, 16 bytes as they stand in RFC 9562. */
void blocks_new_uuid(uint8_t *uuid);
