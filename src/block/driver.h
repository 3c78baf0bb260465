/*
 * What a block driver supplies. Drivers are listed in registry.c; one const struct each, at the end
 * of its file.
 *
 * open() may leave half-built state when it fails: the core calls close() in every case. A missing
 * optional callback gets the core's default. The core checks ranges, read-only and (for a driver
 * with an alignment) alignment first.
 */
#pragma once

#include "block/block.h"

enum block_kind { BLOCK_PROTOCOL, BLOCK_FORMAT, BLOCK_FILTER };

/* Where bytes of a node are; see block_driver.map. */
enum block_place {
	PLACE_FILE,    /* in a child at off */
	PLACE_ZERO,    /* nowhere, they are zeros */
	PLACE_BACKING, /* in the backing file at the same offset; zeros if there is none */
	PLACE_DRIVER,  /* preadv() makes them (compressed data) */
};
struct block_extent {
	enum block_place place;
	bool compressed;
	struct block_node *child; /* PLACE_FILE */
	uint64_t off;
	uint64_t len; /* how far this holds, 1 to the length asked for */
};

/* Of a node's flags, those that a further file of the same image (extent, data file) is opened
 * with. */
enum {
	BLOCK_PART_FLAGS = BLOCK_AUTO_RDONLY | BLOCK_NO_LOCK | BLOCK_UNSHARE_WRITE | BLOCK_DIRECT |
			   BLOCK_NO_FLUSH
};

struct block_driver {
	const char *name;
	enum block_kind kind;
	bool has_metadata; /* nobody else may write to the file child meanwhile */
	size_t state_size; /* zeroed memory at node->state */

	/* Pure: how sure the first bytes and the name make it that this is its format, 0 to 100. */
	int (*probe)(const uint8_t *head, size_t len, const char *name);

	/* Required. Sets node->length; may lower node->writable (auto-read-only); opens node->file
	 * if it has one. */
	co_fn bool (*open)(struct block_node *node, struct opts *options, GError **error);
	/* The same for a node whose file child is there already. */
	co_fn bool (*open_over)(struct block_node *node, struct opts *options, GError **error);
	/* node->backing has been opened: whether it is what the image was made upon. */
	co_fn bool (*check_backing)(struct block_node *node, GError **error);
	co_fn void (*close)(struct block_node *node);

	/* Instead of reading: where the bytes are. Yields only for metadata not in memory. The core
	 * walks the chain of backing files with it, so that its depth costs no stack. */
	co_fn int (*map)(struct block_node *node, uint64_t off, uint64_t len,
			 struct block_extent *out);
	co_fn int (*preadv)(struct block_node *node, uint64_t off,
			    const struct iovs *iov); /* required without map() */
	co_fn int (*pwritev)(struct block_node *node, uint64_t off, const struct iovs *iov,
			     unsigned flags);
	co_fn int (*flush)(struct block_node *node); /* default: flush the file child */
	co_fn int (*discard_zero)(struct block_node *node, uint64_t off,
				  uint64_t len); /* default: write zeros */
	/* Zeros whose space stays; default: discard_zero() for formats that mark zeros, else
	 * writing. */
	co_fn int (*write_zeros)(struct block_node *node, uint64_t off, uint64_t len);
	co_fn int (*discard)(struct block_node *node, uint64_t off,
			     uint64_t len); /* default: discard_zero() or nothing */
	co_fn int (*allocate)(struct block_node *node, uint64_t off, uint64_t len);
	co_fn int (*truncate)(struct block_node *node, uint64_t len);
	co_fn int (*pwrite_compressed)(struct block_node *node, uint64_t off, const void *buf,
				       size_t len);
	co_fn int (*get_status)(struct block_node *node, uint64_t off, uint64_t len,
				unsigned *status, uint64_t *run);
	/* Optional: makes of the copied state of node one for another loop; node is only read, and
	 * outlives it. Without: there can be no clones. */
	void (*clone)(struct block_node *clone);
	void *(*map_shared)(struct block_node *node, uint64_t off, size_t len);

	co_fn bool (*create)(struct block_node *file, const struct block_create *what,
			     GError **error);
	co_fn bool (*check)(struct block_node *node, unsigned fix, struct block_check *result,
			    GError **error);
	/* The name is not empty; may change node->length. */
	co_fn bool (*snapshot)(struct block_node *node, enum block_snapshot_op op, const char *name,
			       GError **error);
	bool (*get_bitmap)(const struct block_node *node, unsigned i, struct block_bitmap *out);
	/* Of one that is there and not in use; len is not 0. */
	co_fn int (*find_dirty)(struct block_node *node, unsigned i, uint64_t off, uint64_t len,
				bool *dirty, uint64_t *run);
	co_fn bool (*set_backing)(struct block_node *node, const char *name, const char *format,
				  GError **error);
	co_fn int (*make_empty)(struct block_node *node);
	json_t *(*info)(const struct block_node *node);
};

/*
 * Which requests may still look at what was taken out of the maps: a request belongs to the epoch
 * it began in. What was removed in epoch n may be used anew once the epoch is n + 2.
 */
struct block_epoch {
	uint64_t now;
	unsigned running[2];
	struct co_queue ended; /* woken when the last of an epoch has */
};
/* Goes on to the next epoch if every request of the one before has ended. */
static inline void block_epoch_advance(struct block_epoch *e)
{
	if (e->running[(e->now + 1) & 1] == 0)
		e->now++;
}

/* For a driver: until what was removed before may be used anew. */
co_fn void block_epoch_wait(struct block_node *node);

/* What a node and its clones have in common. */
struct block_shared {
	int flush_error; /* atomic: 0, or the first */
};

struct block_node {
	const struct block_driver *driver;
	void *state;
	struct block_node *file; /* the child that holds the bytes, for formats and filters */
	/* For formats that have such: open() sets the names, the core opens the node. */
	struct block_node *backing;
	char *backing_name, *backing_format;
	struct block_below *below; /* the core's memory of where things are in the chain */
	uint64_t cluster_size;
	bool compressed_only; /* takes whole clusters, once each, in order; see block.h */
	uint64_t file_id[2];  /* device and inode of a host file, for finding loops */
	struct loop *loop;
	char *name;
	uint64_t length;
	unsigned flags; /* enum block_open_flags as asked */
	bool writable;
	/*
	 * Powers of 2; open() may raise them from 1. What preadv() and pwritev() get are multiples
	 * of request_align (so the last one may reach over the end: reads give zeros there, and
	 * what is written there is dropped) in memory aligned to memory_align; what discard(),
	 * discard_zero() and write_zeros() get are multiples of discard_align.
	 */
	unsigned request_align, memory_align, discard_align;
	char *allow_refs; /* folders that names inside the image may lead to, or NULL */
	unsigned refs;
	struct co_drain drain;
	struct block_epoch epoch;
	struct block_stats stats;

	/* The core's own: what is durable (see block.c). */
	uint64_t write_gen, flushed_gen;
	struct co_queue flush_waiting;
	int flush_error;
	bool flushing;
	struct block_shared *shared; /* with clones: the first node's, which frees it */
	bool is_clone;
	struct align_state *align; /* align.c's */
};

/* Reads as if zeros stood behind the end of the node. */
co_fn int block_preadv_padded(struct block_node *node, uint64_t off, const struct iovs *iov);
/* What a map() leads to, for a driver's own reads of its guest data (no statistics). */
co_fn int block_read_mapped(struct block_node *node, uint64_t off, const struct iovs *iov);

/* Takes the options common to all nodes (options.c) into flags. */
bool block_take_options(struct opts *options, unsigned *flags, GError **error);

const struct block_driver *block_find_driver(const char *name);
const struct block_driver *const *block_drivers(void); /* NULL-terminated */

/*
 * For open() of a format or filter: opens node->file from "file.*" (or "filename") with the node's
 * own flags, and takes over its name, length and writability.
 */
co_fn bool block_open_child(struct block_node *node, struct opts *options, GError **error);
/*
 * Options for opening the plain file that an image of node names, by the rules of block_open();
 * NULL where they forbid it. role is for the message ("backing file").
 */
struct opts *block_refer(struct block_node *node, const char *role, const char *name,
			 GError **error);
/*
 * A node made without open(): a filter over a file that is open already (its reference is taken),
 * or with NULL a writable one of length 0 that its maker fills in.
 */
struct block_node *block_new_over(const struct block_driver *driver, struct block_node *file);
