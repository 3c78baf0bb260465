/*
 * Split rings (virtio 1.2, 2.7): descriptor table, available ring, used ring.
 *
 * Order against the driver, which runs at the same time: avail.idx is read with acquire before the
 * entries it covers; used entries are written before used.idx (release); a full fence stands
 * between used.idx and the read of what the driver wants to be told, and between telling it what we
 * want and looking at avail.idx again.
 */
#include "virtio/virtq.h"
#include "base/bytes.h"

#include <endian.h>
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

enum {
	AVAIL_FLAGS = 0,
	AVAIL_IDX = 2,
	AVAIL_RING = 4,
	USED_FLAGS = 0,
	USED_IDX = 2,
	USED_RING = 4,
	NO_INTERRUPT = 1,
	NO_NOTIFY = 1,
};

static uint16_t load16(const void *p)
{
	return le16toh(__atomic_load_n((const uint16_t *)p, __ATOMIC_RELAXED));
}

static void store16(void *p, uint16_t v)
{
	__atomic_store_n((uint16_t *)p, htole16(v), __ATOMIC_RELAXED);
}

static uint8_t *used_event(const struct virtq *q) /* the driver's wish, behind the available ring */
{
	return q->split.avail + AVAIL_RING + 2 * q->conf.num;
}

static uint8_t *avail_event(const struct virtq *q) /* ours, behind the used ring */
{
	return q->split.used + USED_RING + 8 * q->conf.num;
}

static bool split_map(struct virtq *q, struct gmem *mem)
{
	const struct virtq_config *c = &q->conf;
	uint8_t *desc = gmem_user(mem, c->desc, 16ull * c->num);
	uint8_t *avail = gmem_user(mem, c->avail, 6 + 2ull * c->num);
	uint8_t *used = gmem_user(mem, c->used, 6 + 8ull * c->num);

	if (!desc || !avail || !used || (c->desc | (uintptr_t)desc) % 16 ||
	    (c->avail | (uintptr_t)avail) % 2 || (c->used | (uintptr_t)used) % 4)
		return false;
	q->split.desc = desc;
	q->split.avail = avail;
	q->split.used = used;
	return true;
}

static bool split_start(struct virtq *q, const struct virtq_config *c, GError **error)
{
	uint16_t used_idx = load16(q->split.used + USED_IDX);
	uint16_t avail_idx = load16(q->split.avail + AVAIL_IDX);

	if (c->base > UINT16_MAX)
		return err_set(error, EINVAL, "queue %u: base %u must be below 65536", q->index,
			       c->base);
	q->split.used_idx = used_idx;
	q->split.last_avail = (uint16_t)c->base;
	q->split.avail_idx = q->split.last_avail;
	if (c->inflight) {
		if (!c->resumed)
			inflight_forget(c->inflight);
		inflight_split_start(c->inflight, c->num, used_idx, avail_idx, &q->found);
		q->counter = q->found.counter;
		if (q->found.n) /* what was fetched is what was returned and what is in flight */
			q->split.last_avail = q->split.avail_idx =
				(uint16_t)(used_idx + q->found.n);
	} else if (c->resumed && (uint16_t)(avail_idx - q->split.last_avail) <= c->num) {
		q->replay_left = (uint16_t)(avail_idx - q->split.last_avail);
	}
	return true;
}

static void read_desc(const struct virtq *q, unsigned i, struct virtq_desc *d)
{
	uint8_t raw[16];

	memcpy(raw, q->split.desc + 16 * i, sizeof(raw));
	atomic_signal_fence(memory_order_seq_cst); /* the copy is what counts from here on */
	d->addr = get_le64(raw);
	d->len = get_le32(raw + 8);
	d->flags = get_le16(raw + 12);
	d->next = get_le16(raw + 14);
}

static int read_chain(struct virtq *q, struct virtq_elem *e)
{
	unsigned i = e->id;

	for (unsigned step = 0; step < q->conf.num; step++) {
		struct virtq_desc d;
		int res;

		read_desc(q, i, &d);
		if (d.flags & VIRTQ_DESC_INDIRECT) {
			if (d.flags & VIRTQ_DESC_NEXT)
				return virtq_fail(q, "descriptor %u is indirect and has a next", i);
			return virtq_elem_add_table(e, &d, true);
		}
		res = virtq_elem_add(e, &d);
		if (res < 0 || !(d.flags & VIRTQ_DESC_NEXT))
			return res;
		if (d.next >= q->conf.num)
			return virtq_fail(q, "next %u of descriptor %u is not below %u", d.next, i,
					  q->conf.num);
		i = d.next;
	}
	return virtq_fail(q, "loop in the chain of descriptor %u", e->id);
}

/* The head of the next chain, 0 and *head; 1 if there is none. */
static int next_head(struct virtq *q, unsigned *head)
{
	uint16_t left;

	if (q->split.last_avail == q->split.avail_idx) {
		q->split.avail_idx = le16toh(__atomic_load_n(
			(uint16_t *)(q->split.avail + AVAIL_IDX), __ATOMIC_ACQUIRE));
		left = (uint16_t)(q->split.avail_idx - q->split.last_avail);
		if (!left)
			return 1;
		if (left > q->conf.num)
			return virtq_fail(q, "available index %u is %u ahead in a ring of %u",
					  q->split.avail_idx, left, q->conf.num);
	}
	if (q->owned >= q->conf.num)
		return virtq_fail(q, "more requests in flight than its %u descriptors",
				  q->conf.num);
	*head = load16(q->split.avail + AVAIL_RING + 2 * (q->split.last_avail & (q->conf.num - 1)));
	if (*head >= q->conf.num)
		return virtq_fail(q, "available entry names descriptor %u of %u", *head,
				  q->conf.num);
	return 0;
}

static int split_pop(struct virtq *q, struct virtq_elem **out)
{
	bool replay = q->found_next < q->found.n;
	struct virtq_elem *e;
	unsigned head = 0;
	int res;

	if (replay) {
		head = q->found.first[q->found_next++];
	} else {
		res = next_head(q, &head);
		if (res)
			return res < 0 ? res : 0;
	}
	e = virtq_elem_get(q);
	e->id = (uint16_t)head;
	e->n_desc = 1;
	e->replay = replay;
	res = read_chain(q, e);
	if (res < 0) {
		virtq_elem_put(e);
		return res;
	}
	if (!replay) {
		q->split.last_avail++;
		if (q->conf.inflight)
			inflight_split_fetch(q->conf.inflight, e->id, q->counter++);
	}
	*out = e;
	return 1;
}

static void split_publish(struct virtq *q)
{
	uint16_t old = q->split.used_idx, heads[256], want;
	struct inflight_split *s = q->conf.inflight;

	for (unsigned i = 0; i < q->n_batch; i++) {
		uint8_t *entry =
			q->split.used + USED_RING + 8 * (q->split.used_idx++ & (q->conf.num - 1));

		put_le32(entry, q->batch[i].id);
		put_le32(entry + 4, q->batch[i].written);
		if (s)
			inflight_split_batch(s, q->batch[i].id);
	}
	__atomic_store_n((uint16_t *)(q->split.used + USED_IDX), htole16(q->split.used_idx),
			 __ATOMIC_RELEASE);
	for (unsigned i = 0, n; s && i < q->n_batch; i += n) {
		n = q->n_batch - i < 256 ? q->n_batch - i : 256;
		for (unsigned k = 0; k < n; k++)
			heads[k] = q->batch[i + k].id;
		inflight_split_done(s, heads, n, i + n == q->n_batch ? q->split.used_idx : old);
	}
	atomic_thread_fence(memory_order_seq_cst);
	if (q->conf.features & VIRTIO_F_EVENT_IDX) {
		want = load16(used_event(q));
		q->want_notify = (uint16_t)(q->split.used_idx - want - 1) <
				 (uint16_t)(q->split.used_idx - old);
	} else {
		q->want_notify = !(load16(q->split.avail + AVAIL_FLAGS) & NO_INTERRUPT);
	}
}

static bool split_has_more(const struct virtq *q)
{
	return load16(q->split.avail + AVAIL_IDX) != q->split.last_avail;
}

static bool split_listen(struct virtq *q, bool on)
{
	if (q->conf.features & VIRTIO_F_EVENT_IDX) {
		if (!on) /* an old index asks for nothing */
			return false;
		store16(avail_event(q), q->split.last_avail);
	} else {
		store16(q->split.used + USED_FLAGS, on ? 0 : NO_NOTIFY);
	}
	if (!on)
		return false;
	atomic_thread_fence(memory_order_seq_cst);
	return split_has_more(q);
}

static uint32_t split_base(const struct virtq *q)
{
	return q->split.last_avail;
}

const struct virtq_ops virtq_split = {
	.start = split_start,
	.pop = split_pop,
	.publish = split_publish,
	.listen = split_listen,
	.has_more = split_has_more,
	.base = split_base,
	.map = split_map,
};
