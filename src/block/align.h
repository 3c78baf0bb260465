/*
 * Requests to a node that takes only multiples of an alignment (O_DIRECT): the core's own.
 *
 * Whatever offset, length and memory a request has, the driver sees whole aligned blocks in aligned
 * memory. What is aligned goes through as it is; only the rest is copied. The first and the last
 * block of a write that covers them in part are read, changed and written; while that goes on,
 * writes and discards that overlap those blocks wait.
 */
#pragma once

#include "block/driver.h"

static inline bool align_matters(const struct block_node *node)
{
	return node->request_align > 1 || node->memory_align > 1;
}

co_fn int align_preadv(struct block_node *node, uint64_t off, const struct iovs *iov);
co_fn int align_pwritev(struct block_node *node, uint64_t off, const struct iovs *iov,
			unsigned flags);

/* A change of [start, end) that others may have to wait for, between begin and end. */
struct align_change {
	struct align_change *next, *prev;
	uint64_t start, end;
	bool alone; /* reads what it then writes back */
	struct co_queue waiting;
};
co_fn void align_begin(struct block_node *node, struct align_change *change, uint64_t off,
		       uint64_t len, bool alone);
void align_end(struct block_node *node, struct align_change *change);
/* For node_close(). */
void align_free(struct block_node *node);
