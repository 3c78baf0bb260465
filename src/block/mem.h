/* Driver "mem": bytes in memory, sparse, for tests and scratch data. Its requests never yield. */
#pragma once

#include "block/block.h"

/* A writable node of length bytes that begins with a copy of the n bytes at data (n <= length),
 * zeros after them. */
struct block_node *block_mem_new(uint64_t length, const void *data, size_t n);
/*
 * A copy of base that shares its pages until they are written; base must not change while copies
 * exist, and a reference to it is kept.
 */
struct block_node *block_mem_fork(struct block_node *base);
