/*
 * Scatter lists of guest memory, mapped or bounced.
 *
 * What can be mapped is: the kernel then moves data between file and guest. Memory that the VMM
 * keeps to itself (-EWOULDBLOCK), and lists in more pieces than a mapping may have, go through a
 * buffer of ours that the SDK's transfers fill or empty. The list is our copy, so the guest cannot
 * change addresses between begin and end.
 */
#include "device/guest_sg.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	ROOM_MIN = 16,
	PIECES_MAX = 2 * GUEST_SG_RANGES, /* a few ranges may lie across windows */
	BOUNCE_ALIGN = 4096,              /* of direct I/O */
	BOUNCE_KEPT = 256 << 10,
};

/* Pieces go to the kernel as they are (device/api_dma.c maps to the same). */
_Static_assert((int)GUEST_SG_RANGES <= (int)OB_MAP_SG_MAX, "");
_Static_assert(sizeof(struct ob_piece) == sizeof(struct iovec) &&
		       offsetof(struct ob_piece, base) == offsetof(struct iovec, iov_base) &&
		       offsetof(struct ob_piece, len) == offsetof(struct iovec, iov_len),
	       "");

void guest_sg_clear(struct guest_sg *g, struct ob_dev *dev)
{
	assert(!g->is_busy);
	g->dev = dev;
	g->n = 0;
	g->len = 0;
}

int guest_sg_add(struct guest_sg *g, uint64_t addr, uint64_t len)
{
	uint64_t sum;

	if (!len)
		return 0;
	if (g->n == GUEST_SG_RANGES || __builtin_add_overflow(g->len, len, &sum) ||
	    sum > PTRDIFF_MAX)
		return -E2BIG;
	if (g->n == g->room) {
		unsigned room = MAX(2 * g->room, ROOM_MIN);
		struct ob_sg *sg = g_try_renew(struct ob_sg, g->sg, room);

		if (!sg)
			return -ENOMEM;
		g->sg = sg;
		g->room = room;
	}
	g->sg[g->n++] = (struct ob_sg){addr, len};
	g->len = sum;
	return 0;
}

static int want_pieces(struct guest_sg *g, unsigned n)
{
	struct ob_piece *pieces;

	if (n <= g->pieces_room)
		return 0;
	pieces = g_try_renew(struct ob_piece, g->pieces, n);
	if (!pieces)
		return -ENOMEM;
	g->pieces = pieces;
	g->pieces_room = n;
	return 0;
}

/* The number of pieces, or as ob_dma_map_sg(). */
static int map(struct guest_sg *g, unsigned flags)
{
	int res = want_pieces(g, MAX(g->n, ROOM_MIN));

	while (res == 0) {
		res = ob_dma_map_sg(g->dev, flags, g->sg, g->n, g->pieces, g->pieces_room, &g->m);
		if (res != -E2BIG || g->pieces_room >= PIECES_MAX)
			return res;
		res = want_pieces(g, 2 * g->pieces_room);
	}
	return res;
}

/* A transfer with a coroutine that sleeps until it is done. */
struct transfer {
	struct ob_dma dma;
	struct co *co;
	bool done;
	int res;
};

static void transfer_done(struct ob_dev *dev, struct ob_dma *dma, int res)
{
	struct transfer *t = dma->arg;

	(void)dev;
	t->res = res;
	t->done = true;
	co_wake(t->co);
}

static co_fn int transfer(struct ob_dev *dev, unsigned flags, const struct ob_sg *sg, unsigned n,
			  void *buf)
{
	struct transfer t = {
		.dma = {.size = sizeof(t.dma), .flags = flags, .sg = sg, .n_sg = n, .buf = buf},
		.co = co_self(),
	};
	int res;

	t.dma.done = transfer_done;
	t.dma.arg = &t;
	res = ob_dma_start(dev, &t.dma);
	if (res < 0)
		return res;
	while (!t.done)
		co_yield();
	return t.res;
}

static void drop_bounce(struct guest_sg *g)
{
	free(g->bounce);
	g->bounce = NULL;
	g->bounce_len = 0;
}

static int want_bounce(struct guest_sg *g)
{
	size_t len = (g->len + BOUNCE_ALIGN - 1) / BOUNCE_ALIGN * BOUNCE_ALIGN;

	if (g->len > GUEST_SG_BOUNCE)
		return -ENOMEM;
	if (len <= g->bounce_len)
		return 0;
	drop_bounce(g);
	g->bounce = aligned_alloc(BOUNCE_ALIGN, len);
	if (!g->bounce)
		return -ENOMEM;
	g->bounce_len = len;
	return 0;
}

static co_fn int begin_bounced(struct guest_sg *g, unsigned flags)
{
	int res = want_bounce(g);

	if (res == 0 && flags == OB_DMA_READ)
		res = transfer(g->dev, flags, g->sg, g->n, g->bounce);
	if (res < 0)
		return res;
	g->pieces[0] = (struct ob_piece){g->bounce, g->len};
	return 1;
}

co_fn int guest_sg_begin(struct guest_sg *g, unsigned flags, struct iovs *iov)
{
	int n;

	assert(!g->is_busy && (flags == OB_DMA_READ || flags == OB_DMA_WRITE));
	g->m = NULL;
	g->flags = flags;
	g->is_busy = true;                                     /* also while the coroutine sleeps */
	n = g->len ? map(g, flags) : want_pieces(g, ROOM_MIN); /* an array, also if of nothing */
	if (n == -EWOULDBLOCK || n == -E2BIG)
		n = begin_bounced(g, flags);
	if (n < 0) {
		g->is_busy = false;
		return n;
	}
	*iov = (struct iovs){(struct iovec *)g->pieces, (unsigned)n, g->len};
	return 0;
}

/* The first done bytes of the bounce buffer to the guest. */
static co_fn int bounce_out(struct guest_sg *g, size_t done)
{
	uint64_t left = done, whole;
	unsigned n = 0;
	int res;

	while (left > g->sg[n].len)
		left -= g->sg[n++].len;
	whole = g->sg[n].len;
	g->sg[n].len = left;
	res = transfer(g->dev, OB_DMA_WRITE, g->sg, n + 1, g->bounce);
	g->sg[n].len = whole;
	return res;
}

co_fn int guest_sg_end(struct guest_sg *g, size_t done)
{
	int res = 0;

	assert(g->is_busy && done <= g->len);
	if (g->m)
		ob_dma_unmap(g->dev, g->m);
	else if (g->flags == OB_DMA_WRITE && done)
		res = bounce_out(g, done);
	g->m = NULL;
	if (g->bounce_len > BOUNCE_KEPT)
		drop_bounce(g);
	g->is_busy = false;
	return res;
}

bool guest_sg_is_revoked(const struct guest_sg *g)
{
	return g->m && ob_dma_is_revoked(g->dev, g->m);
}

void guest_sg_fini(struct guest_sg *g)
{
	assert(!g->is_busy);
	g_free(g->sg);
	g_free(g->pieces);
	drop_bounce(g);
	memset(g, 0, sizeof(*g));
}

co_fn int guest_read(struct ob_dev *dev, uint64_t addr, void *buf, size_t len)
{
	struct ob_sg sg = {addr, len};
	int res = ob_dma_read(dev, addr, buf, len);

	return res == -EWOULDBLOCK ? transfer(dev, OB_DMA_READ, &sg, 1, buf) : res;
}

co_fn int guest_write(struct ob_dev *dev, uint64_t addr, const void *buf, size_t len)
{
	struct ob_sg sg = {addr, len};
	int res = ob_dma_write(dev, addr, buf, len);

	/* The SDK's buffers are not const, this one is only read. */
	return res == -EWOULDBLOCK ? transfer(dev, OB_DMA_WRITE, &sg, 1, (void *)(uintptr_t)buf)
				   : res;
}
