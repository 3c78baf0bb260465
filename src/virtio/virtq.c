/*
 * What split and packed rings share: elements, chains, batches. See virtq.h.
 *
 * An element is allocated when the queue first needs one more and then stays in the queue's pool,
 * so that a request in the steady state allocates nothing; a queue cannot have more of them than
 * its ring has descriptors. A chain is bounded by the ring or by its indirect table, and by
 * VIRTQ_PIECES_MAX. A descriptor of length 0 is allowed and adds nothing.
 */
#include "virtio/virtq.h"
#include "base/bytes.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static void flush_at_turn_end(struct loop_task *task)
{
	struct virtq *q = (struct virtq *)((char *)task - offsetof(struct virtq, flush_task));

	q->flush_queued = false;
	virtq_flush(q);
}

void virtq_init(struct virtq *q, struct loop *loop, unsigned index, size_t extra_len,
		void (*notify)(struct virtq *q), void *owner)
{
	memset(q, 0, sizeof(*q));
	q->loop = loop;
	q->index = index;
	q->extra_len = extra_len;
	q->notify = notify;
	q->owner = owner;
	q->flush_task.run = flush_at_turn_end;
}

static void drop_ring(struct virtq *q)
{
	inflight_packed_free(q->tracker);
	q->tracker = NULL;
	g_free(q->chain);
	q->chain = NULL;
	g_free(q->found.first);
	q->found = (struct inflight_found){0};
	q->found_next = 0;
	gmem_unref(q->mem);
	q->mem = NULL;
	g_free(q->batch);
	q->batch = NULL;
	q->n_batch = 0;
}

void virtq_fini(struct virtq *q)
{
	struct virtq_elem *e;

	while ((e = q->pool)) {
		q->pool = e->next;
		g_free(e);
	}
	drop_ring(q);
	q->running = false;
}

bool virtq_is_idle(const struct virtq *q)
{
	return !q->in_flight && !q->n_batch && !q->flush_queued;
}

bool virtq_start(struct virtq *q, struct gmem *mem, const struct virtq_config *c, GError **error)
{
	bool packed = c->features & VIRTIO_F_RING_PACKED;

	if (!c->num || c->num > VIRTQ_NUM_MAX || (!packed && c->num & (c->num - 1)))
		return err_set(error, EINVAL, "queue %u: size %u must be 1 to %d%s", q->index,
			       c->num, VIRTQ_NUM_MAX, packed ? "" : " and a power of two");
	drop_ring(q);
	q->ops = packed ? &virtq_packed : &virtq_split;
	q->conf = *c;
	q->owned = 0;
	q->replay_left = 0;
	q->counter = 1;
	q->fault[0] = 0;
	q->broken = q->discard = q->want_notify = false;
	if (!q->ops->map(q, mem)) {
		return err_set(
			error, EFAULT,
			"queue %u: ring addresses %#" PRIx64 ", %#" PRIx64 ", %#" PRIx64
			" for %u descriptors are misaligned or not in one region of guest memory",
			q->index, c->desc, c->avail, c->used, c->num);
	}
	q->mem = gmem_ref(mem);
	if (!q->ops->start(q, c, error)) {
		drop_ring(q);
		return false;
	}
	q->batch = g_new(struct virtq_used, c->num);
	q->running = true;
	return true;
}

void virtq_stop(struct virtq *q)
{
	q->running = false;
}

void virtq_continue(struct virtq *q)
{
	q->running = q->mem && !q->broken;
}

void virtq_release(struct virtq *q)
{
	if (q->mem)
		q->conf.base = q->ops->base(q);
	drop_ring(q);
}

uint32_t virtq_base(const struct virtq *q)
{
	return q->mem ? q->ops->base(q) : q->conf.base;
}

bool virtq_remap(struct virtq *q, struct gmem *mem, GError **error)
{
	if (!q->mem)
		return true;
	if (!q->ops->map(q, mem))
		return err_set(error, EFAULT, "queue %u: its ring is no longer in guest memory",
			       q->index);
	gmem_ref(mem);
	gmem_unref(q->mem);
	q->mem = mem;
	return true;
}

int virtq_pop(struct virtq *q, struct virtq_elem **e)
{
	int res;

	if (!q->running || q->broken)
		return 0;
	res = q->ops->pop(q, e);
	if (res <= 0)
		return res;
	q->in_flight++;
	q->owned += (*e)->n_desc;
	if (q->replay_left) {
		q->replay_left--;
		(*e)->replay = true;
	}
	return 1;
}

void virtq_push(struct virtq_elem *e, size_t written)
{
	struct virtq *q = e->q;

	q->in_flight--;
	if (!q->discard) {
		q->batch[q->n_batch++] =
			(struct virtq_used){e->id, e->n_desc, e->entry, (uint32_t)written};
		if (!q->flush_queued) {
			q->flush_queued = true;
			loop_at_turn_end(q->loop, &q->flush_task);
		}
	}
	virtq_elem_put(e);
}

void virtq_flush(struct virtq *q)
{
	if (!q->n_batch)
		return;
	if (!q->discard) {
		q->ops->publish(q);
		if (q->want_notify)
			q->notify(q);
		q->want_notify = false;
	}
	for (unsigned i = 0; i < q->n_batch; i++)
		q->owned -= q->batch[i].n_desc;
	q->n_batch = 0;
}

bool virtq_listen(struct virtq *q, bool on)
{
	if (!q->running || q->broken)
		return false;
	return q->found_next < q->found.n || q->ops->listen(q, on);
}

bool virtq_has_more(const struct virtq *q)
{
	return q->running && !q->broken && q->ops->has_more(q);
}

const char *virtq_fault(const struct virtq *q)
{
	return q->fault;
}

int virtq_fail(struct virtq *q, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	g_vsnprintf(q->fault, sizeof(q->fault), fmt, ap);
	va_end(ap);
	q->broken = true;
	return -EPROTO;
}

struct virtq_elem *virtq_elem_get(struct virtq *q)
{
	struct virtq_elem *e = q->pool;

	if (e) {
		q->pool = e->next;
	} else {
		/* what every request touches lies together at the front */
		size_t len = (sizeof(*e) + q->extra_len + 15) & ~(size_t)15;

		e = g_malloc(len + (VIRTQ_PIECES_MAX + 1) * sizeof(e->pieces[0]));
		e->q = q;
		e->extra = e + 1;
		e->pieces = (struct iovec *)((char *)e + len);
	}
	e->mem = gmem_ref(q->mem);
	e->out = (struct iovs){.v = e->pieces};
	e->in = (struct iovs){.v = e->pieces};
	e->replay = false;
	e->n_pieces = 0;
	e->n_desc = 0;
	e->entry = 0;
	return e;
}

void virtq_elem_put(struct virtq_elem *e)
{
	gmem_unref(e->mem);
	e->mem = NULL;
	e->next = e->q->pool;
	e->q->pool = e;
}

int virtq_elem_add(struct virtq_elem *e, const struct virtq_desc *d)
{
	struct iovs *list = d->flags & VIRTQ_DESC_WRITE ? &e->in : &e->out;
	int n;

	if (list == &e->out && e->in.n)
		return virtq_fail(e->q, "readable descriptor after a writable one (chain %u)",
				  e->id);
	n = gmem_translate(e->mem, d->addr, d->len, e->pieces + e->n_pieces,
			   VIRTQ_PIECES_MAX - e->n_pieces);
	if (n == -EFAULT) {
		return virtq_fail(e->q,
				  "buffer %#" PRIx64 "+%#x is outside guest memory (chain %u)",
				  d->addr, d->len, e->id);
	}
	if (n < 0)
		return virtq_fail(e->q, "chain %u has more than %d pieces", e->id,
				  VIRTQ_PIECES_MAX);
	if (list == &e->in && !list->n)
		list->v = e->pieces + e->n_pieces;
	e->n_pieces += (unsigned)n;
	list->n += (unsigned)n;
	list->len += d->len;
	if (e->out.len + e->in.len > UINT32_MAX)
		return virtq_fail(e->q, "chain %u is longer than 4 GiB", e->id);
	return 0;
}

int virtq_elem_add_table(struct virtq_elem *e, const struct virtq_desc *d, bool linked)
{
	struct iovec v[8]; /* a table may lie across regions */
	struct iovs table = {.v = v};
	unsigned n = d->len / 16, i = 0;
	int pieces;

	if (!(e->q->conf.features & VIRTIO_F_INDIRECT_DESC))
		return virtq_fail(e->q, "indirect descriptor that was not negotiated (chain %u)",
				  e->id);
	if (!d->len || d->len % 16 || n > VIRTQ_NUM_MAX)
		return virtq_fail(e->q, "indirect table of %u bytes (chain %u)", d->len, e->id);
	pieces = gmem_translate(e->mem, d->addr, d->len, v, 8);
	if (pieces < 0) {
		return virtq_fail(
			e->q, "indirect table %#" PRIx64 "+%#x is outside guest memory (chain %u)",
			d->addr, d->len, e->id);
	}
	table.n = (unsigned)pieces;
	table.len = d->len;
	for (unsigned step = 0; step < n; step++) {
		struct virtq_desc t;
		uint8_t raw[16];
		int res;

		iovs_get(&table, (size_t)i * 16, raw, sizeof(raw));
		atomic_signal_fence(memory_order_seq_cst); /* raw is what counts, not the table */
		t.addr = get_le64(raw);
		t.len = get_le32(raw + 8);
		t.flags = get_le16(raw + (linked ? 12 : 14));
		t.next = get_le16(raw + (linked ? 14 : 12));
		if (t.flags & VIRTQ_DESC_INDIRECT)
			return virtq_fail(
				e->q, "indirect descriptor in an indirect table (chain %u)", e->id);
		res = virtq_elem_add(e, &t);
		if (res < 0)
			return res;
		if (linked && !(t.flags & VIRTQ_DESC_NEXT))
			return 0;
		i = linked ? t.next : i + 1;
		if (linked && i >= n)
			return virtq_fail(e->q, "next %u in an indirect table of %u (chain %u)", i,
					  n, e->id);
	}
	return linked ? virtq_fail(e->q, "loop in an indirect table (chain %u)", e->id) : 0;
}
