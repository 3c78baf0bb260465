/*
 * The image that is burned, read ahead: a coroutine keeps a few buffers filled while the burner
 * empties them, so that reading and writing go on at the same time. All on one loop.
 */
#pragma once

#include "base/co.h"

enum { SOURCE_BLOCK = 2048, SOURCE_PIECE = 1 << 20 };

struct source;

/* A file or block device that is not empty. NULL on error, with the file named. */
struct source *source_open(const char *path, GError **error);
uint64_t source_bytes(const struct source *s);
uint32_t source_blocks(const struct source *s); /* the last one is filled up with zeros */
/* Begins to read at that block. Once for each source. */
void source_start(struct source *s, uint32_t first_block);
/*
 * The next piece: *blocks of them at *data, valid until the next call; 0 blocks at the end. 0 or
 * -errno; a file that became shorter meanwhile is -EIO.
 */
co_fn int source_next(struct source *s, const uint8_t **data, uint32_t *blocks);
co_fn void source_close(struct source *s); /* NULL is fine */
