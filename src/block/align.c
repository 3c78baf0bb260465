/*
 * Alignment, once for all drivers: see align.h.
 *
 * A request falls into up to three parts: a block that it begins inside of, whole blocks, and a
 * block that it ends inside of. Whole blocks whose memory is aligned are the driver's at once;
 * others, and the two blocks at the ends, go through a bounce buffer, of which a node keeps a few.
 *
 * Changes in flight are a list in the order they came. One waits for those before it that overlap
 * and of which it or the other is a read-modify-write, never for a later one, so there are no
 * cycles. Aligned writes do not wait for each other: who sends two at once gets either.
 */
#include "block/align.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { BOUNCE = 256 * 1024, BOUNCE_ALIGN = 65536, KEPT = 4, PIECES = 32 };

struct align_state {
	struct align_change *first, *last;
	void *kept[KEPT];
	unsigned n_kept;
};

static struct align_state *state_of(struct block_node *node)
{
	if (!node->align)
		node->align = g_new0(struct align_state, 1);
	return node->align;
}

void align_free(struct block_node *node)
{
	struct align_state *s = node->align;

	for (unsigned i = 0; s && i < s->n_kept; i++)
		free(s->kept[i]);
	g_free(s);
	node->align = NULL;
}

static uint8_t *bounce_get(struct block_node *node)
{
	struct align_state *s = state_of(node);
	void *p = NULL;

	if (s->n_kept > 0)
		return s->kept[--s->n_kept];
	return posix_memalign(&p, BOUNCE_ALIGN, BOUNCE) == 0 ? p : NULL;
}

static void bounce_put(struct block_node *node, void *p)
{
	struct align_state *s = state_of(node);

	if (s->n_kept < KEPT)
		s->kept[s->n_kept++] = p;
	else
		free(p);
}

static struct align_change *find_obstacle(const struct align_change *c)
{
	for (struct align_change *o = c->prev; o; o = o->prev) {
		if ((c->alone || o->alone) && o->start < c->end && c->start < o->end)
			return o;
	}
	return NULL;
}

co_fn void align_begin(struct block_node *node, struct align_change *c, uint64_t off, uint64_t len,
		       bool alone)
{
	struct align_state *s = state_of(node);
	struct align_change *obstacle;
	uint64_t mask = node->request_align - 1;

	*c = (struct align_change){.start = off & ~mask,
				   .end = (off + len + mask) & ~mask,
				   .alone = alone,
				   .prev = s->last};
	if (s->last)
		s->last->next = c;
	else
		s->first = c;
	s->last = c;
	while ((obstacle = find_obstacle(c)))
		co_queue_wait(&obstacle->waiting);
}

void align_end(struct block_node *node, struct align_change *c)
{
	struct align_state *s = node->align;

	if (c->prev)
		c->prev->next = c->next;
	else
		s->first = c->next;
	if (c->next)
		c->next->prev = c->prev;
	else
		s->last = c->prev;
	co_queue_wake_all(&c->waiting);
}

/* Every piece begins and ends where the driver can take it. */
static bool memory_fits(const struct block_node *node, const struct iovs *iov)
{
	for (unsigned i = 0; i < iov->n; i++) {
		if ((uintptr_t)iov->v[i].iov_base % node->memory_align ||
		    iov->v[i].iov_len % node->request_align)
			return false;
	}
	return true;
}

/* What one call works on: a request, or what of it is to be done. */
struct transfer {
	struct block_node *node;
	bool write;
	uint64_t off; /* of the request */
	const struct iovs *iov;
	unsigned flags;
};

static co_fn int driver_rw(const struct transfer *t, uint64_t off, const struct iovs *iov)
{
	const struct block_driver *driver = t->node->driver;

	return t->write ? driver->pwritev(t->node, off, iov, t->flags)
			: driver->preadv(t->node, off, iov);
}

/* Whole blocks through a buffer: [at, at + len) of the request, which begins on a block. */
static co_fn int bounce_blocks(const struct transfer *t, size_t at, size_t len)
{
	uint8_t *buf = bounce_get(t->node);
	size_t done = 0;
	int res = 0;

	if (!buf)
		return -ENOMEM;
	while (done < len && res >= 0) {
		size_t n = MIN(len - done, (size_t)BOUNCE);
		struct iovec one;
		struct iovs piece = iovs_one(&one, buf, n);

		if (t->write)
			iovs_get(t->iov, at + done, buf, n);
		res = driver_rw(t, t->off + at + done, &piece);
		if (res >= 0 && !t->write)
			iovs_put(t->iov, at + done, buf, n);
		done += n;
	}
	bounce_put(t->node, buf);
	return res;
}

static co_fn int whole_blocks(const struct transfer *t, size_t at, size_t len)
{
	struct iovec small[PIECES], *v = small;
	struct iovs part = {.v = v, .len = len};
	int res;

	if (at == 0 && len == t->iov->len)
		return memory_fits(t->node, t->iov) ? driver_rw(t, t->off, t->iov)
						    : bounce_blocks(t, at, len);
	if (t->iov->n > PIECES)
		part.v = v = g_new(struct iovec, t->iov->n);
	part.n = iovs_slice(t->iov, at, len, v, MAX(t->iov->n, (unsigned)PIECES));
	res = memory_fits(t->node, &part) ? driver_rw(t, t->off + at, &part)
					  : bounce_blocks(t, at, len);
	if (v != small)
		g_free(v);
	return res;
}

/* The part [at, at + len) of the request, which lies inside one block. */
static co_fn int part_of_block(const struct transfer *t, size_t at, size_t len)
{
	size_t align = t->node->request_align, in = (t->off + at) % align;
	uint64_t block = t->off + at - in;
	uint8_t *buf = bounce_get(t->node);
	struct iovec one;
	struct iovs whole = iovs_one(&one, buf, align);
	int res;

	if (!buf)
		return -ENOMEM;
	res = t->node->driver->preadv(t->node, block, &whole);
	if (res >= 0 && t->write) {
		iovs_get(t->iov, at, buf + in, len);
		res = driver_rw(t, block, &whole);
	} else if (res >= 0) {
		iovs_put(t->iov, at, buf + in, len);
	}
	bounce_put(t->node, buf);
	return res;
}

static co_fn int in_parts(const struct transfer *t)
{
	size_t align = t->node->request_align, in = t->off % align, len = t->iov->len;
	size_t head = in ? MIN(align - in, len) : 0, tail = (len - head) % align;
	size_t middle = len - head - tail;
	int res = head ? part_of_block(t, 0, head) : 0;

	if (res >= 0 && middle)
		res = whole_blocks(t, head, middle);
	if (res >= 0 && tail)
		res = part_of_block(t, head + middle, tail);
	return res;
}

co_fn int align_preadv(struct block_node *node, uint64_t off, const struct iovs *iov)
{
	struct transfer t = {.node = node, .off = off, .iov = iov};

	return in_parts(&t);
}

co_fn int align_pwritev(struct block_node *node, uint64_t off, const struct iovs *iov,
			unsigned flags)
{
	struct transfer t = {.node = node, .write = true, .off = off, .iov = iov, .flags = flags};
	struct align_change change;
	int res;

	align_begin(node, &change, off, iov->len, (off | iov->len) % node->request_align);
	res = in_parts(&t);
	align_end(node, &change);
	return res;
}
