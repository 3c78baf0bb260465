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

struct block_driver {
	const char *name;
	enum block_kind kind;
	size_t state_size; /* zeroed memory at node->state */

	/* Required. Sets node->length; may lower node->writable (auto-read-only); opens node->file
	 * if it has one. */
	co_fn bool (*open)(struct block_node *node, struct opts *options, GError **error);
	co_fn void (*close)(struct block_node *node);

	co_fn int (*preadv)(struct block_node *node, uint64_t off,
			    const struct iovs *iov); /* required */
	co_fn int (*pwritev)(struct block_node *node, uint64_t off, const struct iovs *iov,
			     unsigned flags);
	co_fn int (*flush)(struct block_node *node); /* default: flush the file child */
	co_fn int (*discard_zero)(struct block_node *node, uint64_t off,
				  uint64_t len); /* default: write zeros */
	co_fn int (*allocate)(struct block_node *node, uint64_t off, uint64_t len);
	co_fn int (*truncate)(struct block_node *node, uint64_t len);
	co_fn int (*get_status)(struct block_node *node, uint64_t off, uint64_t len,
				unsigned *status, uint64_t *run);
	void *(*map_shared)(struct block_node *node, uint64_t off, size_t len);
};

struct block_node {
	const struct block_driver *driver;
	void *state;
	struct block_node *file; /* the child that holds the bytes, for formats and filters */
	struct loop *loop;
	char *name;
	uint64_t length;
	unsigned flags; /* enum block_open_flags as asked */
	bool writable;
	unsigned refs;
	struct co_drain drain;
	struct block_stats stats;

	/* The core's own: what is durable (see block.c). */
	uint64_t write_gen, flushed_gen;
	struct co_queue flush_waiting;
	int flush_error;
	bool flushing;
};

const struct block_driver *block_find_driver(const char *name);
const struct block_driver *const *block_drivers(void); /* NULL-terminated */

/*
 * For open() of a format or filter: opens node->file from "file.*" (or "filename") with the node's
 * own flags, and takes over its name, length and writability.
 */
co_fn bool block_open_child(struct block_node *node, struct opts *options, GError **error);
/*
 * A node made without open(): a filter over a file that is open already (its reference is taken),
 * or with NULL a writable one of length 0 that its maker fills in.
 */
struct block_node *block_new_over(const struct block_driver *driver, struct block_node *file);
