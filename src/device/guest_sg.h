/*
 * A scatter list of guest memory for the length of one I/O, in a coroutine: mapped where the VMM
 * shares its memory, so that file I/O goes straight there; else through a bounce buffer.
 */
#pragma once

#include "base/co.h"
#include "base/iovs.h"
#include "outboard.h"

enum {
	GUEST_SG_RANGES = 4096,     /* a longer list is -E2BIG */
	GUEST_SG_BOUNCE = 64 << 20, /* bytes; more through a VMM that keeps its memory is -ENOMEM */
};

/* Zero it before its first use; it keeps its arrays for the next one until guest_sg_fini(). */
struct guest_sg {
	struct ob_dev *dev;
	struct ob_sg *sg; /* filled by the user: guest_sg_add() */
	unsigned n, room;
	uint64_t len; /* sum */
	/* own */
	struct ob_mapping *m;
	struct ob_piece *pieces;
	unsigned pieces_room;
	void *bounce;
	size_t bounce_len;
	unsigned flags;
	bool is_busy; /* between begin and end */
};

/* Forgets the ranges. */
void guest_sg_clear(struct guest_sg *g, struct ob_dev *dev);
/* len 0 is fine and adds nothing. -E2BIG: too many ranges. */
int guest_sg_add(struct guest_sg *g, uint64_t addr, uint64_t len);
/*
 * The ranges as memory of this process; flags is OB_DMA_READ (data from the guest) or OB_DMA_WRITE
 * (to it). Errors as ob_dma_map(); -ENOMEM. iov is g's until guest_sg_end().
 */
co_fn int guest_sg_begin(struct guest_sg *g, unsigned flags, struct iovs *iov);
/* done: bytes from the front that were moved (to the guest). 0 or -errno: the bounce failed. */
co_fn int guest_sg_end(struct guest_sg *g, size_t done);
/* Nobody sees any more what is moved (the guest took the memory away): end soon. */
bool guest_sg_is_revoked(const struct guest_sg *g);
/* If m is that of g: true. For ob_class.revoked. */
static inline bool guest_sg_has(const struct guest_sg *g, const struct ob_mapping *m)
{
	return g->m == m;
}
void guest_sg_fini(struct guest_sg *g);

/* A few bytes, at once where they are shared, else by message. 0 or -errno as ob_dma_read(). */
co_fn int guest_read(struct ob_dev *dev, uint64_t addr, void *buf, size_t len);
co_fn int guest_write(struct ob_dev *dev, uint64_t addr, const void *buf, size_t len);
