/*
 * DMA by messages, for windows without memory of ours (transports.md 1.11).
 *
 * Transfers are cut into messages; a few are in flight, the rest waits its turn. The client answers
 * when it likes, and register accesses are answered meanwhile: its lock may be held by one.
 *
 * QEMU 10.1 and 10.2 have the data four bytes early in both directions. A DMA_WRITE of no bytes,
 * sent before the first real message, tells: its answer has 32 bytes by the specification, 16
 * there.
 *
 * A flight whose transfer is cancelled stays until its answer comes, which is then forgotten.
 */
#include "attach/vfio_user/impl.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

struct vfu_transfer {
	struct vfu_transfer *next;
	struct pci_dma *d;
	size_t sent;
	unsigned in_flight;
	bool queued; /* on the list of those with something left to send */
	int res;
};

static void send_on(struct vfu_conn *c);

static void on_late(struct loop_timer *t);

void vfu_dma_init(struct vfu_conn *c)
{
	c->dma = (struct vfu_dma){.timer.fire = on_late};
}

static void unqueue(struct vfu_dma *q, struct vfu_transfer *t)
{
	struct vfu_transfer **p = &q->first, *before = NULL;

	if (!t->queued)
		return;
	while (*p != t) {
		before = *p;
		p = &before->next;
	}
	*p = t->next;
	if (q->last == t)
		q->last = before;
	t->queued = false;
}

/* Nothing of it is queued or in flight any more. */
static void forget(struct vfu_conn *c, struct vfu_transfer *t)
{
	unqueue(&c->dma, t);
	for (unsigned i = 0; i < VFU_DMA_FLIGHT; i++) {
		if (c->dma.flights[i].transfer == t)
			c->dma.flights[i].transfer = NULL;
	}
	t->d->host_priv = NULL;
}

static void end_transfer(struct vfu_conn *c, struct vfu_transfer *t)
{
	struct pci_dma *d = t->d;
	int res = t->res;

	forget(c, t);
	g_free(t);
	pci_dma_done(d, res);
}

static void fail_transfer(struct vfu_conn *c, struct vfu_transfer *t, int res)
{
	t->res = res;
	end_transfer(c, t);
}

void vfu_dma_fini(struct vfu_conn *c)
{
	loop_timer_cancel(&c->dma.timer);
	memset(c->dma.flights, 0, sizeof(c->dma.flights));
}

/* Of the oldest message in flight that somebody waits for. */
static void set_timer(struct vfu_conn *c)
{
	uint64_t oldest = UINT64_MAX;

	for (unsigned i = 0; i < VFU_DMA_FLIGHT; i++) {
		const struct vfu_dma_flight *f = &c->dma.flights[i];

		if (f->used && (f->transfer || f->probe))
			oldest = MIN(oldest, f->sent_ns);
	}
	if (oldest == UINT64_MAX && !c->dma.first)
		loop_timer_cancel(&c->dma.timer);
	else if (oldest == UINT64_MAX) /* the client owes all answers and gets no more questions */
		loop_timer_set(c->v->loop, &c->dma.timer, loop_now_ns() + VFU_DMA_RETRY_NS);
	else
		loop_timer_set(c->v->loop, &c->dma.timer, oldest + VFU_DMA_NS);
}

static struct vfu_dma_flight *free_flight(struct vfu_dma *q)
{
	for (unsigned i = 0; i < VFU_DMA_FLIGHT; i++) {
		if (!q->flights[i].used)
			return &q->flights[i];
	}
	return NULL;
}

/* Sends one message: a piece of a transfer, or (t NULL) the probe of the layout. */
static void send_piece(struct vfu_conn *c, struct vfu_dma_flight *f, struct vfu_transfer *t,
		       uint64_t addr, size_t len)
{
	static const uint8_t pad[VFU_DMA_OLD_SHIFT];
	bool old = c->dma.layout == VFU_LAYOUT_OLD, write = !t || t->d->write;
	uint8_t head[DMA_LEN];
	struct iovec parts[3] = {{head, sizeof(head)}};
	unsigned n = 1;

	*f = (struct vfu_dma_flight){.used = true,
				     .id = c->dma.next_id++,
				     .write = write,
				     .probe = !t,
				     .transfer = t,
				     .off = t ? t->sent : 0,
				     .len = len,
				     .sent_ns = loop_now_ns()};
	vfu_put(head, DMA_IOVA, addr);
	vfu_put(head, DMA_COUNT, len);
	if (t && write) {
		if (old)
			parts[0].iov_len -= VFU_DMA_OLD_SHIFT;
		parts[n++] = (struct iovec){(uint8_t *)t->d->buf + t->sent, len};
		if (old)
			parts[n++] = (struct iovec){(void *)pad, sizeof(pad)};
	}
	if (t) {
		t->sent += len;
		t->in_flight++;
	}
	c->v->stats.dma_messages++;
	vfu_send_command(c, f->id, write ? VFU_DMA_WRITE : VFU_DMA_READ, parts, n);
}

static void send_on(struct vfu_conn *c)
{
	struct vfu_dma *q = &c->dma;
	struct vfu_dma_flight *f;

	while (q->first && q->layout != VFU_LAYOUT_PROBING && (f = free_flight(q))) {
		struct vfu_transfer *t = q->first;
		size_t left = t->d->len - t->sent;

		if (q->layout == VFU_LAYOUT_UNKNOWN) {
			q->layout = VFU_LAYOUT_PROBING;
			send_piece(c, f, NULL, t->d->addr, 0);
			break;
		}
		send_piece(c, f, t, t->d->addr + t->sent, MIN(left, c->caps.max_data_xfer));
		if (t->sent == t->d->len)
			unqueue(q, t);
	}
	set_timer(c);
}

/* Those there now: a device may start the next one when it hears of it. */
static void fail_queued(struct vfu_conn *c)
{
	unsigned n = 0;

	for (struct vfu_transfer *t = c->dma.first; t; t = t->next)
		n++;
	while (n-- && c->dma.first)
		fail_transfer(c, c->dma.first, -EIO);
}

static void on_late(struct loop_timer *timer)
{
	struct vfu_dma *q = (struct vfu_dma *)((char *)timer - offsetof(struct vfu_dma, timer));
	struct vfu_conn *c = (struct vfu_conn *)((char *)q - offsetof(struct vfu_conn, dma));
	uint64_t now = loop_now_ns();

	log_limited(&c->v->limit, LOG_ERROR, "vfio-user", "%s#%u: the client does not answer DMA",
		    c->v->path, c->number);
	for (unsigned i = 0; i < VFU_DMA_FLIGHT; i++) {
		struct vfu_dma_flight *f = &q->flights[i];

		if (!f->used || now - f->sent_ns < VFU_DMA_NS)
			continue;
		if (f->probe) {
			f->probe = false; /* the next transfer probes again */
			q->layout = VFU_LAYOUT_UNKNOWN;
			fail_queued(c);
		}
		if (f->transfer)
			fail_transfer(c, f->transfer, -EIO);
	}
	if (!free_flight(q))
		fail_queued(c);
	send_on(c);
}

void vfu_host_dma(struct pci_host *h, struct pci_dma *d)
{
	struct vfu_conn *c = conn_of_host(h);
	struct vfu_transfer *t = g_new0(struct vfu_transfer, 1);

	t->d = d;
	t->queued = true;
	d->host_priv = t;
	if (c->dma.last)
		c->dma.last->next = t;
	else
		c->dma.first = t;
	c->dma.last = t;
	send_on(c);
}

void vfu_host_dma_cancel(struct pci_host *h, struct pci_dma *d)
{
	struct vfu_conn *c = conn_of_host(h);
	struct vfu_transfer *t = d->host_priv;

	if (!t)
		return;
	forget(c, t);
	g_free(t);
	set_timer(c);
}

static void probe_answered(struct vfu_conn *c, const struct vfu_msg *m)
{
	struct vfu_dma *q = &c->dma;

	if (m->flags & VFU_ERROR) {
		q->layout = VFU_LAYOUT_UNKNOWN;
		if (q->first)
			fail_transfer(c, q->first, -EIO);
		return;
	}
	if (m->len != 0 && m->len != DMA_LEN)
		vfu_conn_fail(c, "answer of %zu bytes to an empty DMA_WRITE", m->len);
	q->layout = m->len ? VFU_LAYOUT_SPEC : VFU_LAYOUT_OLD;
}

/* Whether the answer has the right form for what was asked. */
static bool is_good_answer(const struct vfu_conn *c, const struct vfu_dma_flight *f,
			   const struct vfu_msg *m)
{
	bool old = c->dma.layout == VFU_LAYOUT_OLD;

	if (m->command != (f->write ? VFU_DMA_WRITE : VFU_DMA_READ))
		return false;
	if (m->flags & VFU_ERROR || f->probe)
		return true;
	if (f->write)
		return m->len == (old ? 0 : DMA_LEN);
	return m->len == DMA_LEN + f->len &&
	       (old ? vfu_get32(m->payload, VFU_U32(8)) : vfu_get(m->payload, DMA_COUNT)) == f->len;
}

void vfu_dma_answer(struct vfu_conn *c, const struct vfu_msg *m)
{
	struct vfu_dma_flight *f = NULL, got;
	struct vfu_transfer *t;

	for (unsigned i = 0; i < VFU_DMA_FLIGHT && !f; i++) {
		if (c->dma.flights[i].used && c->dma.flights[i].id == m->id)
			f = &c->dma.flights[i];
	}
	if (!f || !is_good_answer(c, f, m)) {
		vfu_conn_fail(c, "answer %u to command %u of %zu bytes, none such was asked for",
			      m->id, m->command, m->len);
		return;
	}
	got = *f;
	*f = (struct vfu_dma_flight){0};
	t = got.transfer;
	if (got.probe && c->dma.layout == VFU_LAYOUT_PROBING)
		probe_answered(c, m);
	if (t) {
		t->in_flight--;
		if (m->flags & VFU_ERROR)
			t->res = -EIO;
		else if (!got.write) {
			memcpy((uint8_t *)t->d->buf + got.off,
			       m->payload + DMA_LEN -
				       (c->dma.layout == VFU_LAYOUT_OLD ? VFU_DMA_OLD_SHIFT : 0),
			       got.len);
		}
		if (t->res)
			unqueue(&c->dma, t); /* the rest is not asked for */
		if (!t->in_flight && (t->res || !t->queued))
			end_transfer(c, t);
	}
	send_on(c);
}
