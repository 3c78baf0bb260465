/*
 * BLOCK_STATUS: what the export consists of, for each metadata context that the client chose.
 *
 * One walk over the range serves all contexts; neighbours that are alike in a context become one
 * extent there. The walk ends where an extent of some context finds no place any more, or after so
 * many steps: the client asks on from where its answer ends.
 */
#include "attach/nbd/impl.h"

#include <errno.h>

#include "base/bytes.h"

enum {
	EXTENTS_MAX = 4096, /* of a context in one reply */
	STEPS_MAX = 16384,
	STEPS_IN_TURN = 256,
	SMALLEST = 512, /* extents, so that a short range needs no large table */
	EXTENT_LEN = 8,
	EXT_EXTENT_LEN = 16,
};

struct extent {
	uint64_t len, flags;
};

struct walk {
	unsigned n_contexts, max; /* extents of each context */
	struct extent *extents;   /* max for each */
	unsigned n[NBD_CONTEXTS_MAX];
};

static uint64_t flags_of(const struct nbd_context *x, const struct block_where *w)
{
	switch (x->kind) {
	case NBD_CONTEXT_ALLOCATION:
		return w->status & BLOCK_ZERO ? NBD_STATE_HOLE | NBD_STATE_ZERO : 0;
	case NBD_CONTEXT_DEPTH: return w->present ? w->depth + 1 : 0;
	}
	return 0;
}

/* Whether every context has room for what was found. */
static bool add(struct walk *walk, const struct nbd_context *contexts,
		const struct block_where *where)
{
	uint64_t flags[NBD_CONTEXTS_MAX];

	for (unsigned i = 0; i < walk->n_contexts; i++) {
		unsigned n = walk->n[i];

		flags[i] = flags_of(&contexts[i], where);
		if (n == walk->max && walk->extents[i * walk->max + n - 1].flags != flags[i])
			return false;
	}
	for (unsigned i = 0; i < walk->n_contexts; i++) {
		struct extent *e = &walk->extents[i * walk->max + walk->n[i]];

		if (walk->n[i] && e[-1].flags == flags[i]) {
			e[-1].len += where->run;
		} else {
			*e = (struct extent){where->run, flags[i]};
			walk->n[i]++;
		}
	}
	return true;
}

static co_fn int go(struct nbd_request *r, struct walk *walk)
{
	uint64_t done = 0;

	for (unsigned steps = 0; done < r->len && steps < STEPS_MAX; steps++) {
		struct block_where where;
		int res = r->c->broken ? -ESHUTDOWN
				       : block_find(r->c->export->node, r->off + done,
						    r->len - done, &where);

		if (res < 0)
			return res;
		if (!add(walk, r->c->contexts, &where))
			break;
		done += where.run;
		if (steps % STEPS_IN_TURN == STEPS_IN_TURN - 1)
			co_reschedule();
	}
	return 0;
}

/* Turns the extents into what is sent, in place: the wire's are no larger. */
static size_t encode(const struct nbd_request *r, struct extent *e, unsigned n)
{
	uint8_t *out = (uint8_t *)e;

	for (unsigned i = 0; i < n; i++) {
		struct extent x = e[i];

		if (r->c->extended) {
			put_be64(out, x.len);
			put_be64(out + 8, x.flags);
			out += EXT_EXTENT_LEN;
		} else {
			put_be32(out, (uint32_t)x.len);
			put_be32(out + 4, (uint32_t)x.flags);
			out += EXTENT_LEN;
		}
	}
	return (size_t)(out - (uint8_t *)e);
}

static void reply(struct nbd_request *r, struct walk *walk)
{
	const struct nbd_conn *c = r->c;

	for (unsigned i = 0; i < walk->n_contexts; i++) {
		struct extent *e = &walk->extents[i * walk->max];
		uint8_t fixed[8];
		size_t len = encode(r, e, walk->n[i]);

		put_be32(fixed, c->contexts[i].id);
		put_be32(fixed + 4, walk->n[i]);
		nbd_reply_chunk(r, c->extended ? NBD_CHUNK_EXT_STATUS : NBD_CHUNK_STATUS, fixed,
				c->extended ? 8 : 4, e, len, i == walk->n_contexts - 1);
	}
}

co_fn int nbd_block_status(struct nbd_request *r)
{
	struct walk walk = {
		.n_contexts = r->c->n_contexts,
		.max = r->flags & NBD_REQ_ONE
			       ? 1
			       : (unsigned)MIN(r->len / SMALLEST + 1, (uint64_t)EXTENTS_MAX),
	};
	int res;

	r->table = walk.extents = g_try_new(struct extent, walk.n_contexts * walk.max);
	if (!walk.extents)
		return -ENOMEM;
	res = go(r, &walk);
	if (res == 0)
		reply(r, &walk);
	return res;
}
