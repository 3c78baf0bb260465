/* What the files of the vmdk driver share. */
#pragma once

#include "base/log.h"
#include "block/driver.h"
#include "block/meta_cache.h"
#include "block/vmdk/format.h"

/* A stream of compressed grains that is being written; see stream.c. */
struct vmdk_stream {
	uint32_t **tables; /* by entry of the directory; NULL: nothing is there */
	uint64_t end;      /* bytes; where the next grain goes */
	bool finished;     /* the tables and the footer of what is there are in the file */
};

struct vmdk_extent {
	enum vmdk_kind kind;
	struct block_node *file; /* NULL: not opened, or there is none */
	bool own;                /* file is a reference of ours */
	uint64_t start, len;     /* bytes of the disk */
	uint64_t off;            /* flat: where it begins in the file, bytes */
	char *name;              /* of the file, for info */

	/* Sparse ones. */
	struct vmdk_header h;
	uint32_t *directory, *second; /* sectors of grain tables */
	struct meta_cache tables;     /* of sectors of tables and directories */
	uint64_t next;                /* bytes; where new grains and tables go */
	bool grown;                   /* the file is longer than what is used */
	uint64_t unpacked_at;         /* bytes; the grain that is kept below; 0: none */
	uint8_t *unpacked;
	struct vmdk_stream *stream;
};

/* A request that maps bytes [off, off + len) anew; others wait. */
struct vmdk_job {
	uint64_t off, len;
	struct vmdk_job *next;
	struct co_queue waiting;
};

struct vmdk {
	struct vmdk_text text;
	char *raw; /* the text as it stands in the file */
	size_t raw_len;
	uint64_t text_at; /* where in the file */
	struct vmdk_extent *extents;
	uint32_t n;
	bool opened;                    /* the extents' files, too */
	bool cid_changed;               /* since the image was opened */
	struct co_mutex lock, cid_lock; /* lock: who changes tables holds it */
	struct vmdk_job *jobs;          /* see write.c */
	GArray *freed; /* struct vmdk_freed: without reference once the tables are durable */
	struct log_limit complaints;
};

struct vmdk_freed {
	struct vmdk_extent *extent;
	uint64_t off;
};

static inline uint64_t vmdk_grain(const struct vmdk_extent *e)
{
	return e->h.grain * VMDK_SECTOR;
}
/* Bytes that one grain table covers. */
static inline uint64_t vmdk_covers(const struct vmdk_extent *e)
{
	return vmdk_grain(e) * e->h.table;
}
static inline bool vmdk_is_sparse(const struct vmdk_extent *e)
{
	return e->kind == VMDK_SPARSE;
}

/* extent.c */
co_fn bool vmdk_open_extents(struct block_node *node, struct opts *options, GError **error);
void vmdk_list_extents(struct block_node *node);
co_fn bool vmdk_open_sparse(struct block_node *node, struct vmdk_extent *e, GError **error);
co_fn void vmdk_close_extent(struct vmdk_extent *e);
/* The one that holds the byte at off. */
struct vmdk_extent *vmdk_find_extent(struct vmdk *v, uint64_t off);

/* map.c */
co_fn int vmdk_map(struct block_node *node, uint64_t off, uint64_t len, struct block_extent *out);
/* Entries of the table for the byte at off of the extent: *data, NULL: there is no table; at most
 * *n of them until the next yield. */
co_fn int vmdk_entries(struct vmdk_extent *e, uint64_t off, const uint8_t **data, uint64_t *n);
/* What an entry means: where the grain is in the file, or 0. */
uint64_t vmdk_entry_host(const struct vmdk_extent *e, uint32_t entry);
bool vmdk_entry_zero(const struct vmdk_extent *e, uint32_t entry);
int vmdk_complain(struct block_node *node, const struct vmdk_extent *e, const char *what,
		  uint64_t off);

/* write.c */
co_fn int vmdk_pwritev(struct block_node *node, uint64_t off, const struct iovs *iov,
		       unsigned flags);
co_fn int vmdk_flush(struct block_node *node);
co_fn int vmdk_discard_zero(struct block_node *node, uint64_t off, uint64_t len);

/* tables.c: with the lock held. */
co_fn int vmdk_lock(struct block_node *node);
/* Sets n entries from the grain at off of the extent on to value, value + step, ... */
co_fn int vmdk_link(struct block_node *node, struct vmdk_extent *e, uint64_t off, uint64_t n,
		    uint32_t value, uint32_t step);
/* Bytes at the end of the file that were never anything but zeros. */
co_fn int vmdk_alloc(struct vmdk_extent *e, uint64_t bytes, uint64_t *off);
co_fn int vmdk_commit(struct block_node *node, bool durable);
/* The file has at least so many bytes then. */
co_fn int vmdk_grow(struct vmdk_extent *e, uint64_t end);
/* Without the lock. The first change since it was opened: a new content id, durable. */
co_fn int vmdk_touch(struct block_node *node);

/* stream.c: compressed grains. */
co_fn int vmdk_preadv(struct block_node *node, uint64_t off, const struct iovs *iov);
co_fn int vmdk_pwrite_compressed(struct block_node *node, uint64_t off, const void *buf,
				 size_t len);
co_fn bool vmdk_stream_open(struct block_node *node, struct vmdk_extent *e, GError **error);
/* As much of a grain as there is: bytes or -errno. off: of the extent. */
co_fn int64_t vmdk_stream_write(struct block_node *node, struct vmdk_extent *e, uint64_t off,
				uint64_t len, const struct iovs *iov, size_t skip);
/* With the lock held: tables and footer of what is there. */
co_fn int vmdk_stream_finish(struct vmdk_extent *e);
uint32_t vmdk_stream_entry(const struct vmdk_extent *e, uint64_t off);
void vmdk_stream_free(struct vmdk_extent *e);

/* create.c, check.c, resize.c */
co_fn bool vmdk_create(struct block_node *file, const struct block_create *what, GError **error);
co_fn bool vmdk_check(struct block_node *node, unsigned fix, struct block_check *result,
		      GError **error);
co_fn int vmdk_truncate(struct block_node *node, uint64_t len);
