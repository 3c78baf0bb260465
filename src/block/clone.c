/*
 * Clones: a node for each of several loops, on one descriptor. See block.h.
 *
 * Nothing of a clone is shared but what the kernel keeps behind the descriptor and the error of a
 * failed flush: the kernel tells that once for each open file, so whoever hears of it tells the
 * others. Which writes of other loops a flush must cover is not counted; it always flushes.
 */
#include "block/driver.h"

enum { GUEST_SECTOR = 512 };

bool block_share(struct block_node *node)
{
	for (const struct block_node *n = node; n; n = n->file) {
		if (!n->driver->clone || n->backing || n->request_align > GUEST_SECTOR)
			return false;
	}
	for (struct block_node *n = node; n; n = n->file) {
		if (!n->shared)
			n->shared = g_new0(struct block_shared, 1);
	}
	return true;
}

static struct block_node *clone_one(const struct block_node *node)
{
	struct block_node *clone = g_new0(struct block_node, 1);

	clone->driver = node->driver;
	clone->state = g_memdup2(node->state, MAX(node->driver->state_size, (size_t)1));
	clone->loop = co_loop();
	clone->name = g_strdup(node->name);
	clone->length = node->length;
	clone->flags = node->flags;
	clone->writable = node->writable;
	clone->refs = 1;
	clone->request_align = node->request_align;
	clone->memory_align = node->memory_align;
	clone->discard_align = node->discard_align;
	clone->write_gen = 1;
	clone->shared = node->shared;
	clone->is_clone = true;
	clone->driver->clone(clone);
	return clone;
}

co_fn struct block_node *block_clone_on_loop(struct block_node *node)
{
	struct block_node *top = NULL, **at = &top;

	g_assert(node->shared);
	for (; node; node = node->file) {
		*at = clone_one(node);
		at = &(*at)->file;
	}
	return top;
}
