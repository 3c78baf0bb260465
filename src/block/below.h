/*
 * What a node remembers of the chain of backing files below it: where a piece was found, so that a
 * read need not ask every level again. Bounded memory, made at the first use, for chains of two and
 * more backing files that nobody writes to; what the node itself holds is never in it.
 */
#pragma once

#include "block/driver.h"

struct found {
	struct block_node *node; /* whose map() said so */
	struct block_extent e;
	unsigned depth;
	bool by_default; /* zeros because nobody has anything there */
};

enum { BELOW_GRAIN = 64 << 10 };

/* Whether something can be remembered for node. */
bool below_is_useful(struct block_node *node);
/* len bytes at off, or the first of them: *f, or false. */
bool below_get(const struct block_node *node, uint64_t off, uint64_t len, struct found *f);
/* f holds from off on. */
void below_put(struct block_node *node, uint64_t off, const struct found *f);
void below_free(struct block_node *node);
