/* A cache of the metadata of an image, for format drivers. */
#pragma once

#include "block/driver.h"

/*
 * A cache of pieces of metadata, kept by their offset in the file. Memory is bounded; the pieces
 * used longest ago go first.
 */
struct meta_piece;
struct meta_cache {
	size_t piece_len;
	unsigned max, n, n_dirty;
	struct meta_piece **buckets; /* max of them, a power of two */
	struct meta_piece *newest, *oldest;
	struct co_queue loaded; /* wakes whoever waits for a piece that is being read */
};

bool meta_cache_init(struct meta_cache *c, size_t piece_len, size_t bytes);
void meta_cache_fini(struct meta_cache *c);
/*
 * The piece that covers off of the file (zeros behind its end): *data points at off itself and is
 * valid until the next yield. -EIO and the like when it cannot be read.
 */
co_fn int meta_cache_get(struct meta_cache *c, struct block_node *file, uint64_t off,
			 const uint8_t **data);
/* The same to be changed before the next yield: stays in memory until meta_cache_write(). */
co_fn int meta_cache_edit(struct meta_cache *c, struct block_node *file, uint64_t off,
			  uint8_t **data);
/* Writes what was changed, in the order of offsets. Nobody may edit meanwhile. */
co_fn int meta_cache_write(struct meta_cache *c, struct block_node *file);
/* The range is something else now. */
void meta_cache_forget(struct meta_cache *c, uint64_t off, uint64_t len);
/* Whether changes should be written before there are more of them. */
static inline bool meta_cache_is_full(const struct meta_cache *c)
{
	return c->n_dirty > c->max / 2;
}
