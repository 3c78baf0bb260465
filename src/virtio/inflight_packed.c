/*
 * In-flight tracking of packed rings: see inflight.h.
 *
 * The ring's own descriptors are overwritten by used ones, so the slice keeps copies: num entries,
 * each either free or the copy of one fetched descriptor. Entries of a chain and of the free list
 * are linked through next. What is being changed has two versions ("free_head" and "old_free_head",
 * used index likewise): a restart rolls back to the old ones, unless the flags in the ring prove
 * that the batch had been published.
 *
 * The links in the slice are a mirror. The ones followed while running are private.
 */
#include "virtio/inflight.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { VERSION = 1, DESC_AVAIL = 1 << 7, DESC_USED = 1 << 15 };

struct packed_entry {
	uint8_t inflight;
	uint8_t pad;
	uint16_t next;
	uint16_t last;
	uint16_t num;
	uint64_t counter;
	uint16_t id;
	uint16_t flags;
	uint32_t len;
	uint64_t addr;
};

/* Where the device stands. Written by one store: half of a change would look like another place. */
struct packed_pos {
	uint16_t used_idx;
	uint16_t old_used_idx;
	uint8_t used_wrap;
	uint8_t old_used_wrap;
	uint8_t pad[2];
} __attribute__((aligned(8)));

struct packed_slice {
	uint64_t features;
	uint16_t version;
	uint16_t desc_num;
	uint16_t free_head;
	uint16_t old_free_head;
	struct packed_pos pos;
	uint8_t pad[8];
	struct packed_entry desc[];
};

struct inflight_packed {
	struct packed_slice *s;
	unsigned num;
	uint16_t free_head;
	uint16_t used_idx;
	bool used_wrap;
	struct {
		uint16_t next, last, num;
	} own[];
};

_Static_assert(sizeof(struct packed_entry) == 32 && sizeof(struct packed_slice) == 32, "layout");

static void order(void)
{
	atomic_signal_fence(memory_order_seq_cst);
}

static void store_pos(struct inflight_packed *p, uint16_t old_used_idx, bool old_used_wrap)
{
	struct packed_pos pos = {p->used_idx, old_used_idx, p->used_wrap, old_used_wrap, {0}};

	__atomic_store(&p->s->pos, &pos, __ATOMIC_RELAXED);
	order();
}

/* The free list first: with the old place beside it, the ring's flags still tell that the batch is
 * out. */
static void commit(struct inflight_packed *p)
{
	p->s->old_free_head = p->free_head;
	order();
	store_pos(p, p->used_idx, p->used_wrap);
}

static void slice_init(struct inflight_packed *p, uint16_t used_idx, bool used_wrap)
{
	struct packed_slice *s = p->s;

	memset(s, 0, sizeof(*s) + p->num * sizeof(s->desc[0]));
	for (unsigned i = 0; i < p->num; i++) {
		s->desc[i].next = (uint16_t)(i + 1);
		p->own[i].next = (uint16_t)(i + 1);
	}
	p->free_head = 0;
	p->used_idx = used_idx;
	p->used_wrap = used_wrap;
	commit(p);
	s->desc_num = (uint16_t)p->num;
	order();
	s->version = VERSION;
}

/* Back to the last state known to be whole, or on to the new one if the driver has seen it. */
static bool settle(struct inflight_packed *p, uint16_t (*ring_flags)(void *arg, uint16_t slot),
		   void *arg)
{
	struct packed_slice *s = p->s;
	struct packed_pos pos = s->pos;
	uint16_t old_idx = pos.old_used_idx, new_idx = pos.used_idx;
	uint16_t old_head = s->old_free_head, new_head = s->free_head;
	bool old_wrap = pos.old_used_wrap & 1, new_wrap = pos.used_wrap & 1;

	/* a head of num: the free list is empty */
	if (old_idx >= p->num || new_idx >= p->num || old_head > p->num || new_head > p->num)
		return false;
	p->free_head = old_head;
	p->used_idx = old_idx;
	p->used_wrap = old_wrap;
	if (old_idx != new_idx || old_wrap != new_wrap) {
		uint16_t flags = ring_flags(arg, old_idx);

		if (!!(flags & DESC_USED) == old_wrap && !!(flags & DESC_AVAIL) == old_wrap) {
			p->free_head = new_head;
			p->used_idx = new_idx;
			p->used_wrap = new_wrap;
		}
	}
	s->free_head = p->free_head;
	commit(p);
	return true;
}

/* Walks n entries from i (n 0: to the end of the free list), each seen once; the last one, or -1.
 */
static int walk(struct inflight_packed *p, uint8_t *seen, unsigned i, unsigned n, bool is_free)
{
	int last = -1;

	for (unsigned k = 0; is_free ? i < p->num : k < n; k++) {
		if (i >= p->num || seen[i])
			return -1;
		seen[i] = 1;
		last = (int)i;
		p->own[i].next = p->s->desc[i].next;
		if (is_free)
			p->s->desc[i].inflight = 0;
		i = p->own[i].next;
	}
	return last;
}

struct found_entry {
	uint64_t counter;
	uint16_t first;
};

static int by_counter(const void *a, const void *b)
{
	const struct found_entry *x = a, *y = b;

	if (x->counter != y->counter)
		return x->counter < y->counter ? -1 : 1;
	return (int)x->first - (int)y->first;
}

static bool collect(struct inflight_packed *p, uint8_t *seen, struct found_entry *list,
		    struct inflight_found *found)
{
	if (p->free_head < p->num && walk(p, seen, p->free_head, 0, true) < 0)
		return false;
	for (unsigned i = 0; i < p->num; i++) {
		struct packed_entry e = p->s->desc[i];

		if (!e.inflight)
			continue;
		if (!e.num || walk(p, seen, i, e.num, false) != e.last)
			return false;
		p->own[i].last = e.last;
		p->own[i].num = e.num;
		list[found->n++] = (struct found_entry){e.counter, (uint16_t)i};
		if (e.counter >= found->counter)
			found->counter = e.counter + 1;
	}
	for (unsigned i = 0; i < p->num; i++) { /* an entry in no list would be lost for ever */
		if (!seen[i])
			return false;
	}
	return true;
}

struct inflight_packed *inflight_packed_new(void *slice, unsigned num, uint16_t *used_idx,
					    bool *used_wrap,
					    uint16_t (*ring_flags)(void *arg, uint16_t slot),
					    void *arg, struct inflight_found *found, bool *intact)
{
	struct inflight_packed *p = g_malloc0(sizeof(*p) + num * sizeof(p->own[0]));
	struct found_entry *list = g_new(struct found_entry, num);
	uint8_t *seen = g_new0(uint8_t, num);

	*found = (struct inflight_found){.counter = 1};
	p->s = slice;
	p->num = num;
	*intact = true;
	if (!p->s->version) {
		slice_init(p, *used_idx, *used_wrap);
	} else if (p->s->version != VERSION || p->s->desc_num != (uint16_t)num ||
		   !settle(p, ring_flags, arg) || !collect(p, seen, list, found)) {
		*found = (struct inflight_found){.counter = 1};
		*intact = false;
		slice_init(p, *used_idx, *used_wrap);
	}
	qsort(list, found->n, sizeof(list[0]), by_counter);
	found->first = g_new(uint16_t, found->n);
	for (unsigned i = 0; i < found->n; i++)
		found->first[i] = list[i].first;
	*used_idx = p->used_idx;
	*used_wrap = p->used_wrap;
	g_free(list);
	g_free(seen);
	return p;
}

void inflight_packed_free(struct inflight_packed *p)
{
	g_free(p);
}

unsigned inflight_packed_read(const struct inflight_packed *p, uint16_t first,
			      struct inflight_desc *out, unsigned max)
{
	unsigned n = p->own[first].num < max ? p->own[first].num : max;
	uint16_t i = first;

	for (unsigned k = 0; k < n; k++) {
		struct packed_entry e = p->s->desc[i];

		out[k] = (struct inflight_desc){e.addr, e.len, e.id, e.flags};
		i = p->own[i].next;
	}
	return n;
}

int inflight_packed_fetch(struct inflight_packed *p, const struct inflight_desc *d, unsigned n,
			  uint64_t counter)
{
	uint16_t first = p->free_head, last = first, i = first;

	for (unsigned k = 0; k < n; k++) { /* room for all of it before anything changes */
		if (i >= p->num)
			return -1;
		last = i;
		i = p->own[i].next;
	}
	p->s->desc[first].num = (uint16_t)n;
	p->s->desc[first].last = last;
	p->s->desc[first].counter = counter;
	order();
	p->s->desc[first].inflight = 1;
	i = first;
	for (unsigned k = 0; k < n; k++) {
		struct packed_entry *e = &p->s->desc[i];

		e->addr = d[k].addr;
		e->len = d[k].len;
		e->id = d[k].id;
		e->flags = d[k].flags;
		i = p->own[i].next;
	}
	p->own[first].last = last;
	p->own[first].num = (uint16_t)n;
	p->free_head = i;
	p->s->free_head = i;
	order();
	p->s->old_free_head = i;
	order();
	return first;
}

void inflight_packed_batch(struct inflight_packed *p, uint16_t first)
{
	uint16_t last = p->own[first].last;

	p->own[last].next = p->free_head;
	p->s->desc[last].next = p->free_head;
	order();
	p->free_head = first;
	p->s->free_head = first;
	order();
}

void inflight_packed_moved(struct inflight_packed *p, uint16_t used_idx, bool used_wrap)
{
	uint16_t old_idx = p->used_idx;
	bool old_wrap = p->used_wrap;

	p->used_idx = used_idx;
	p->used_wrap = used_wrap;
	store_pos(p, old_idx, old_wrap);
}

void inflight_packed_done(struct inflight_packed *p, const uint16_t *firsts, unsigned n)
{
	order();
	for (unsigned i = 0; i < n; i++)
		p->s->desc[firsts[i]].inflight = 0;
	order();
	commit(p);
}
