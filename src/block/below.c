/* Memory of what lies below a node: see below.h. One place for each grain of the disk, or for each
 * of so many grains that share it. */
#include "block/below.h"

struct place {
	uint64_t start;
	struct found f; /* f.e.len 0: empty */
};

struct block_below {
	bool useful;
	uint64_t n; /* a power of two */
	struct place *places;
};

enum { MAX_PLACES = 32768 };

static struct block_below *make(const struct block_node *node)
{
	struct block_below *b = g_new0(struct block_below, 1);
	uint64_t grains = node->length / BELOW_GRAIN + 1;

	b->useful = node->backing && node->backing->backing;
	for (const struct block_node *n = node->backing; n; n = n->backing)
		b->useful = b->useful && !n->writable;
	if (!b->useful)
		return b;
	for (b->n = 1; b->n < MIN(grains, (uint64_t)MAX_PLACES);)
		b->n *= 2;
	b->places = g_try_new0(struct place, b->n);
	b->useful = b->places != NULL;
	return b;
}

bool below_is_useful(struct block_node *node)
{
	if (!node->below)
		node->below = make(node);
	return node->below->useful;
}

static struct place *place_of(const struct block_node *node, uint64_t off)
{
	return &node->below->places[off / BELOW_GRAIN & (node->below->n - 1)];
}

bool below_get(const struct block_node *node, uint64_t off, uint64_t len, struct found *f)
{
	const struct place *p = place_of(node, off);
	uint64_t skip = off - p->start;

	if (off < p->start || skip >= p->f.e.len)
		return false;
	*f = p->f;
	f->e.off += skip;
	f->e.len = MIN(f->e.len - skip, len);
	return true;
}

void below_put(struct block_node *node, uint64_t off, const struct found *f)
{
	*place_of(node, off) = (struct place){off, *f};
}

void below_free(struct block_node *node)
{
	if (node->below)
		g_free(node->below->places);
	g_free(node->below);
	node->below = NULL;
}
