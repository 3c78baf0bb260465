/*
 * The driver's side of a virtqueue, split or packed, for tests: memory is one block that the test
 * can also spoil.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RING_NEXT = 1, RING_WRITE = 2, RING_INDIRECT = 4 };

struct ring_buf {
	uint64_t gpa;
	uint32_t len;
	bool write; /* by the device */
};

struct ring {
	bool packed, event_idx;
	unsigned num;
	uint8_t *desc, *avail,
		*used; /* packed: descriptors, driver event area, device event area */
	uint64_t desc_off, avail_off, used_off; /* in the block */
	/* driver's state */
	uint16_t free_head, n_free; /* split: descriptor list; packed: slots */
	uint16_t avail_idx, kicked_idx, used_idx;
	bool avail_wrap, used_wrap;
	uint16_t *chain_len; /* of each id in use; 0: free */
};

enum { RING_BYTES = 1 << 16 }; /* enough for a ring of 1024 */

/* Lays a ring out in block[0 .. RING_BYTES). */
void ring_init(struct ring *r, uint8_t *block, unsigned num, bool packed, bool event_idx);
void ring_fini(struct ring *r);

/*
 * Makes a chain available; its id, or -1: the ring is full. table: host memory for an indirect
 * table (NULL: none) at guest address table_gpa.
 */
int ring_add(struct ring *r, const struct ring_buf *b, unsigned n, void *table, uint64_t table_gpa);
/* Does the device want to be told of what was added since the last call? */
bool ring_must_kick(struct ring *r);
/* The next used chain: its id (and bytes written), or -1: none. */
int ring_take(struct ring *r, uint32_t *written);
/* Asks for a notification at the next used chain (event index), or for none. */
void ring_want_call(struct ring *r, bool on);
/* With an event index: asks for one when the chain after the next (of slots descriptors each) is
 * used. */
void ring_want_second_call(struct ring *r, unsigned slots);

void ring_put_desc(uint8_t *p, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next);
