/*
 * Packed rings (virtio 1.2, 2.8): one ring of descriptors that driver and device overwrite in turn,
 * and an event area for each side.
 *
 * A descriptor is available when its avail bit equals the driver's wrap counter and its used bit
 * does not; it is used when both equal the device's. The device returns one used descriptor for a
 * chain, at the slot where it stands, and moves on by as many slots as the chain took. A batch
 * becomes visible with the flags of its first descriptor, which are written last.
 */
#include "virtio/virtq.h"
#include "base/bytes.h"

#include <endian.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

enum {
	DESC_ID = 12,
	DESC_FLAGS = 14,
	DESC_LEN = 8,
	F_AVAIL = 1 << 7,
	F_USED = 1 << 15,
	EVENT_OFF = 0,
	EVENT_FLAGS = 2,
	EVENT_ENABLE = 0,
	EVENT_DISABLE = 1,
	EVENT_DESC = 2,
	WRAP = 1 << 15,
};

static uint16_t load16(const void *p)
{
	return le16toh(__atomic_load_n((const uint16_t *)p, __ATOMIC_RELAXED));
}

static void store16(void *p, uint16_t v)
{
	__atomic_store_n((uint16_t *)p, htole16(v), __ATOMIC_RELAXED);
}

static uint8_t *slot(const struct virtq *q, unsigned i)
{
	return q->packed.desc + 16 * i;
}

static void advance(unsigned num, uint16_t *pos, bool *wrap, unsigned n)
{
	unsigned to = *pos + n;

	if (to >= num) {
		to -= num;
		*wrap = !*wrap;
	}
	*pos = (uint16_t)to;
}

static bool packed_map(struct virtq *q, struct gmem *mem)
{
	const struct virtq_config *c = &q->conf;
	uint8_t *desc = gmem_user(mem, c->desc, 16ull * c->num);
	uint8_t *driver = gmem_user(mem, c->avail, 4);
	uint8_t *device = gmem_user(mem, c->used, 4);

	if (!desc || !driver || !device || (c->desc | (uintptr_t)desc) % 16 ||
	    (c->avail | (uintptr_t)driver) % 4 || (c->used | (uintptr_t)device) % 4)
		return false;
	q->packed.desc = desc;
	q->packed.driver_event = driver;
	q->packed.device_event = device;
	return true;
}

static uint16_t flags_of_slot(void *arg, uint16_t i)
{
	return load16(slot(arg, i) + DESC_FLAGS);
}

static bool is_available(const struct virtq *q)
{
	uint16_t flags = le16toh(__atomic_load_n(
		(uint16_t *)(slot(q, q->packed.avail) + DESC_FLAGS), __ATOMIC_ACQUIRE));

	return !!(flags & F_AVAIL) == q->packed.avail_wrap &&
	       !!(flags & F_USED) != q->packed.avail_wrap;
}

static bool packed_start(struct virtq *q, const struct virtq_config *c, GError **error)
{
	unsigned fetched = 0;
	bool intact;

	q->packed.avail = c->base & 0x7fff;
	q->packed.avail_wrap = c->base >> 15 & 1;
	q->packed.used = c->base >> 16 & 0x7fff;
	q->packed.used_wrap = c->base >> 31;
	if (q->packed.avail >= c->num || q->packed.used >= c->num)
		return err_set(error, EINVAL, "queue %u: base %#x lies outside a ring of %u",
			       q->index, c->base, c->num);
	q->chain = g_new(struct inflight_desc, VIRTQ_CHAIN_MAX);
	if (!c->inflight)
		return true;
	if (!c->resumed)
		inflight_forget(c->inflight);
	q->tracker = inflight_packed_new(c->inflight, c->num, &q->packed.used, &q->packed.used_wrap,
					 flags_of_slot, q, &q->found, &intact);
	q->counter = q->found.counter;
	for (unsigned i = 0; i < q->found.n; i++)
		fetched += inflight_packed_read(q->tracker, q->found.first[i], q->chain,
						VIRTQ_CHAIN_MAX);
	if (intact &&
	    c->resumed) { /* what was fetched is what was returned and what is in flight */
		q->packed.avail = q->packed.used;
		q->packed.avail_wrap = q->packed.used_wrap;
		advance(c->num, &q->packed.avail, &q->packed.avail_wrap, fetched);
	}
	return true;
}

static int add_desc(struct virtq_elem *e, const struct inflight_desc *raw, unsigned n)
{
	struct virtq_desc d = {.addr = raw->addr, .len = raw->len, .flags = raw->flags};

	if (!(d.flags & VIRTQ_DESC_INDIRECT))
		return virtq_elem_add(e, &d);
	if (n > 1)
		return virtq_fail(e->q, "indirect descriptor in a chain of %u (buffer %u)", n,
				  e->id);
	return virtq_elem_add_table(e, &d, false);
}

/* Copies the chain at the ring's present place; the number of its descriptors, or -EPROTO. */
static int copy_chain(struct virtq *q, struct inflight_desc *d)
{
	uint16_t at = q->packed.avail;
	bool wrap = q->packed.avail_wrap;
	unsigned n = 0;

	for (;;) {
		uint8_t raw[16];

		if (n == VIRTQ_CHAIN_MAX || n + q->owned >= q->conf.num) {
			return virtq_fail(q,
					  "chain at slot %u is longer than the ring has room for",
					  q->packed.avail);
		}
		memcpy(raw, slot(q, at), sizeof(raw));
		atomic_signal_fence(
			memory_order_seq_cst); /* the copy is what counts from here on */
		d[n].addr = get_le64(raw);
		d[n].len = get_le32(raw + DESC_LEN);
		d[n].id = get_le16(raw + DESC_ID);
		d[n].flags = get_le16(raw + DESC_FLAGS);
		n++;
		if (!(d[n - 1].flags & VIRTQ_DESC_NEXT))
			return (int)n;
		advance(q->conf.num, &at, &wrap, 1);
	}
}

static int fill_elem(struct virtq *q, struct virtq_elem *e, const struct inflight_desc *d,
		     unsigned n)
{
	e->id = d[n - 1].id; /* only the last descriptor's id counts */
	e->n_desc = (uint16_t)n;
	if (e->id >= q->conf.num)
		return virtq_fail(q, "buffer id %u in a ring of %u", e->id, q->conf.num);
	for (unsigned i = 0; i < n; i++) {
		int res = add_desc(e, &d[i], n);

		if (res < 0)
			return res;
	}
	return 0;
}

static int packed_pop(struct virtq *q, struct virtq_elem **out)
{
	struct inflight_desc *d = q->chain;
	bool replay = q->found_next < q->found.n;
	struct virtq_elem *e;
	int n, entry = 0;

	if (replay) {
		entry = q->found.first[q->found_next++];
		n = (int)inflight_packed_read(q->tracker, (uint16_t)entry, d, VIRTQ_CHAIN_MAX);
	} else {
		if (!is_available(q))
			return 0;
		n = copy_chain(q, d);
		if (n < 0)
			return n;
	}
	e = virtq_elem_get(q);
	e->replay = replay;
	if (fill_elem(q, e, d, (unsigned)n) < 0) {
		virtq_elem_put(e);
		return -EPROTO;
	}
	if (!replay && q->tracker) {
		entry = inflight_packed_fetch(q->tracker, d, (unsigned)n, q->counter++);
		if (entry < 0) {
			virtq_elem_put(e);
			return virtq_fail(q, "more descriptors in flight than the ring has");
		}
	}
	e->entry = (uint16_t)entry;
	if (!replay)
		advance(q->conf.num, &q->packed.avail, &q->packed.avail_wrap, (unsigned)n);
	*out = e;
	return 1;
}

/* Does the driver's event offset lie in the slots [from, from + n)? */
static bool event_passed(const struct virtq *q, uint16_t from, bool from_wrap, unsigned n)
{
	uint16_t word = load16(q->packed.driver_event + EVENT_OFF);
	unsigned num = q->conf.num, at = word & ~WRAP;

	if (at >= num)
		return true;
	if (!!(word & WRAP) != from_wrap)
		at += num;
	return at >= from && at - from < n;
}

static void packed_publish(struct virtq *q)
{
	uint16_t first = q->packed.used, firsts[256];
	bool first_wrap = q->packed.used_wrap;
	unsigned moved = 0;

	for (unsigned i = 0; i < q->n_batch; i++) {
		uint8_t *s = slot(q, q->packed.used);
		uint16_t flags = q->packed.used_wrap ? F_AVAIL | F_USED : 0;

		put_le32(s + DESC_LEN, q->batch[i].written);
		put_le16(s + DESC_ID, q->batch[i].id);
		if (q->tracker)
			inflight_packed_batch(q->tracker, q->batch[i].entry);
		if (i)
			store16(s + DESC_FLAGS, flags);
		moved += q->batch[i].n_desc;
		advance(q->conf.num, &q->packed.used, &q->packed.used_wrap, q->batch[i].n_desc);
	}
	if (q->tracker)
		inflight_packed_moved(q->tracker, q->packed.used, q->packed.used_wrap);
	__atomic_store_n((uint16_t *)(slot(q, first) + DESC_FLAGS),
			 htole16(first_wrap ? F_AVAIL | F_USED : 0), __ATOMIC_RELEASE);
	for (unsigned i = 0, n; q->tracker && i < q->n_batch; i += n) {
		n = q->n_batch - i < 256 ? q->n_batch - i : 256;
		for (unsigned k = 0; k < n; k++)
			firsts[k] = q->batch[i + k].entry;
		inflight_packed_done(q->tracker, firsts, n);
	}
	atomic_thread_fence(memory_order_seq_cst);
	switch (load16(q->packed.driver_event + EVENT_FLAGS) & 3) {
	case EVENT_DISABLE: q->want_notify = false; break;
	case EVENT_DESC:
		q->want_notify = !(q->conf.features & VIRTIO_F_EVENT_IDX) ||
				 event_passed(q, first, first_wrap, moved);
		break;
	default: q->want_notify = true;
	}
}

static bool packed_listen(struct virtq *q, bool on)
{
	if (!on) {
		store16(q->packed.device_event + EVENT_FLAGS, EVENT_DISABLE);
		return false;
	}
	if (q->conf.features & VIRTIO_F_EVENT_IDX) {
		store16(q->packed.device_event + EVENT_OFF,
			(uint16_t)(q->packed.avail | (q->packed.avail_wrap ? WRAP : 0)));
		atomic_thread_fence(memory_order_release);
	}
	store16(q->packed.device_event + EVENT_FLAGS,
		q->conf.features & VIRTIO_F_EVENT_IDX ? EVENT_DESC : EVENT_ENABLE);
	atomic_thread_fence(memory_order_seq_cst);
	return is_available(q);
}

static uint32_t packed_base(const struct virtq *q)
{
	return q->packed.avail | (q->packed.avail_wrap ? 1u << 15 : 0) |
	       (uint32_t)q->packed.used << 16 | (q->packed.used_wrap ? 1u << 31 : 0);
}

const struct virtq_ops virtq_packed = {
	.start = packed_start,
	.pop = packed_pop,
	.publish = packed_publish,
	.listen = packed_listen,
	.has_more = is_available,
	.base = packed_base,
	.map = packed_map,
};
