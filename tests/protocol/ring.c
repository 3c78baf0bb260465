/* See ring.h. */
#include "ring.h"
#include "base/bytes.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { F_AVAIL = 1 << 7, F_USED = 1 << 15, WRAP = 1 << 15 };

void ring_init(struct ring *r, uint8_t *block, unsigned num, bool packed, bool event_idx)
{
	memset(r, 0, sizeof(*r));
	memset(block, 0, RING_BYTES);
	r->packed = packed;
	r->event_idx = event_idx;
	r->num = num;
	r->desc_off = 0;
	r->avail_off = 16ull * num;
	r->used_off = packed ? r->avail_off + 4 : (r->avail_off + 6 + 2 * num + 3) & ~3ull;
	r->desc = block + r->desc_off;
	r->avail = block + r->avail_off;
	r->used = block + r->used_off;
	r->n_free = (uint16_t)num;
	r->avail_wrap = r->used_wrap = true;
	r->chain_len = calloc(num, sizeof(r->chain_len[0]));
	for (unsigned i = 0; !packed && i < num; i++)
		put_le16(r->desc + 16 * i + 14, (uint16_t)(i + 1));
}

void ring_fini(struct ring *r)
{
	free(r->chain_len);
}

void ring_put_desc(uint8_t *p, uint64_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	put_le64(p, addr);
	put_le32(p + 8, len);
	put_le16(p + 12, flags);
	put_le16(p + 14, next);
}

static void put_packed_desc(uint8_t *p, uint64_t addr, uint32_t len, uint16_t id)
{
	put_le64(p, addr);
	put_le32(p + 8, len);
	put_le16(p + 12, id);
}

static void fill_table(const struct ring *r, uint8_t *table, const struct ring_buf *b, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		uint16_t flags = b[i].write ? RING_WRITE : 0;

		if (r->packed) {
			put_packed_desc(table + 16 * i, b[i].gpa, b[i].len, 0);
			put_le16(table + 16 * i + 14, flags);
		} else {
			ring_put_desc(table + 16 * i, b[i].gpa, b[i].len,
				      (uint16_t)(flags | (i + 1 < n ? RING_NEXT : 0)),
				      (uint16_t)(i + 1));
		}
	}
}

static int add_split(struct ring *r, const struct ring_buf *b, unsigned n, bool indirect)
{
	uint16_t head = r->free_head, at = head;

	for (unsigned i = 0; i < n; i++) {
		uint8_t *d = r->desc + 16 * at;
		uint16_t next = get_le16(d + 14);
		uint16_t flags =
			(uint16_t)((b[i].write ? RING_WRITE : 0) | (i + 1 < n ? RING_NEXT : 0) |
				   (indirect ? RING_INDIRECT : 0));

		ring_put_desc(d, b[i].gpa, b[i].len, flags, next);
		at = next;
	}
	r->free_head = at;
	put_le16(r->avail + 4 + 2 * (r->avail_idx & (r->num - 1)), head);
	r->avail_idx++;
	__atomic_store_n((uint16_t *)(r->avail + 2), r->avail_idx, __ATOMIC_RELEASE);
	return head;
}

static int add_packed(struct ring *r, const struct ring_buf *b, unsigned n, bool indirect)
{
	unsigned at = r->avail_idx, first = at;
	bool wrap = r->avail_wrap;
	uint16_t first_flags = 0;
	int id;

	for (id = 0; r->chain_len[id]; id++)
		;
	for (unsigned i = 0; i < n; i++) {
		uint16_t flags =
			(uint16_t)((b[i].write ? RING_WRITE : 0) | (i + 1 < n ? RING_NEXT : 0) |
				   (indirect ? RING_INDIRECT : 0) | (wrap ? F_AVAIL : F_USED));

		put_packed_desc(r->desc + 16 * at, b[i].gpa, b[i].len, (uint16_t)id);
		if (i)
			put_le16(r->desc + 16 * at + 14, flags);
		else
			first_flags = flags;
		if (++at == r->num) {
			at = 0;
			wrap = !wrap;
		}
	}
	__atomic_store_n((uint16_t *)(r->desc + 16 * first + 14), first_flags, __ATOMIC_RELEASE);
	r->avail_idx = (uint16_t)at;
	r->avail_wrap = wrap;
	return id;
}

int ring_add(struct ring *r, const struct ring_buf *b, unsigned n, void *table, uint64_t table_gpa)
{
	struct ring_buf one = {table_gpa, 16 * n, false};
	int id;

	if ((table ? 1 : n) > r->n_free)
		return -1;
	if (table) {
		fill_table(r, table, b, n);
		b = &one;
		n = 1;
	}
	r->n_free = (uint16_t)(r->n_free - n);
	id = r->packed ? add_packed(r, b, n, table) : add_split(r, b, n, table);
	r->chain_len[id] = (uint16_t)n;
	return id;
}

bool ring_must_kick(struct ring *r)
{
	uint16_t event, old = r->kicked_idx;

	atomic_thread_fence(memory_order_seq_cst);
	if (r->packed) {
		uint16_t flags = get_le16(r->used + 2) & 3;

		/* since the last time this was asked, whatever the answer was */
		r->kicked_idx = (uint16_t)(r->avail_idx | (r->avail_wrap ? 0 : WRAP));
		/* with an event index: what was added ends at avail_idx; a test adds less than a
		 * lap at once */
		if (flags == 2) {
			bool wrap = get_le16(r->used) & WRAP;
			unsigned from = old & 0x7fff, to = r->avail_idx,
				 at = get_le16(r->used) & 0x7fff;
			bool from_wrap = !(old & WRAP);

			if (to <= from && from_wrap != r->avail_wrap)
				to += r->num;
			if (wrap != from_wrap)
				at += r->num;
			return at >= from && at < to;
		}
		return flags == 0;
	}
	r->kicked_idx = r->avail_idx;
	if (!r->event_idx)
		return !(get_le16(r->used) & 1);
	event = get_le16(r->used + 4 + 8 * r->num);
	return (uint16_t)(r->avail_idx - event - 1) < (uint16_t)(r->avail_idx - old);
}

static void give_back(struct ring *r, unsigned id)
{
	unsigned n = r->chain_len[id];
	uint16_t at = (uint16_t)id;

	r->n_free = (uint16_t)(r->n_free + n);
	r->chain_len[id] = 0;
	if (r->packed)
		return;
	for (unsigned i = 1; i < n; i++)
		at = get_le16(r->desc + 16 * at + 14);
	put_le16(r->desc + 16 * at + 14, r->free_head);
	r->free_head = (uint16_t)id;
}

int ring_take(struct ring *r, uint32_t *written)
{
	uint8_t *u;
	unsigned id;

	if (r->packed) {
		uint16_t flags = __atomic_load_n((uint16_t *)(r->desc + 16 * r->used_idx + 14),
						 __ATOMIC_ACQUIRE);

		if (!!(flags & F_USED) != r->used_wrap || !!(flags & F_AVAIL) != r->used_wrap)
			return -1;
		u = r->desc + 16 * r->used_idx;
		id = get_le16(u + 12);
		*written = get_le32(u + 8);
		if (id >= r->num || !r->chain_len[id])
			return -2;
		r->used_idx = (uint16_t)(r->used_idx + r->chain_len[id]);
		if (r->used_idx >= r->num) {
			r->used_idx = (uint16_t)(r->used_idx - r->num);
			r->used_wrap = !r->used_wrap;
		}
	} else {
		if (__atomic_load_n((uint16_t *)(r->used + 2), __ATOMIC_ACQUIRE) == r->used_idx)
			return -1;
		u = r->used + 4 + 8 * (r->used_idx & (r->num - 1));
		id = get_le32(u);
		*written = get_le32(u + 4);
		if (id >= r->num || !r->chain_len[id])
			return -2;
		r->used_idx++;
	}
	give_back(r, id);
	return (int)id;
}

void ring_want_call(struct ring *r, bool on)
{
	if (r->packed) {
		put_le16(r->avail, (uint16_t)(r->used_idx | (r->used_wrap ? WRAP : 0)));
		put_le16(r->avail + 2, on ? r->event_idx ? 2 : 0 : 1);
	} else if (r->event_idx) {
		/* an index that was passed long ago asks for nothing */
		put_le16(r->avail + 4 + 2 * r->num,
			 on ? r->used_idx : (uint16_t)(r->used_idx - 0x4000));
	} else {
		put_le16(r->avail, on ? 0 : 1);
	}
	atomic_thread_fence(memory_order_seq_cst);
}

void ring_want_second_call(struct ring *r, unsigned slots)
{
	unsigned at = r->used_idx + slots;

	if (r->packed) {
		bool wrap = at >= r->num ? !r->used_wrap : r->used_wrap;

		put_le16(r->avail, (uint16_t)(at % r->num | (wrap ? WRAP : 0)));
		put_le16(r->avail + 2, 2);
	} else {
		put_le16(r->avail + 4 + 2 * r->num, (uint16_t)(r->used_idx + 1));
	}
	atomic_thread_fence(memory_order_seq_cst);
}
