/*
 * Interrupts: eventfds of the client, and the contract of INTx (transports.md 1.12).
 *
 * QEMU has no other notion of INTx than edges: a signal asserts the line, the next access to any
 * BAR de-asserts it and sends UNMASK. So a level that is still high at UNMASK is signalled again,
 * and a signal that the client has not consumed when the level drops is taken back: left there it
 * would assert a line that nobody serves.
 *
 * Again does not mean at once: mostly the guest is in its handler, about to make the access that
 * lowers the line, and the second signal would cost QEMU an UNMASK more at each access before that
 * (ata_piix makes four). It comes when the level has stayed up for a while.
 *
 * Eventfds are the client's, their flags too. Reading asks not to block with every call; before
 * writing we look whether it would.
 */
#include "attach/vfio_user/impl.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { AGAIN_NS = 200 * 1000 };

static void on_resample(struct loop_watch *w, unsigned events);
static void on_again(struct loop_timer *t);

unsigned vfu_irq_count(const struct vfu_conn *c, unsigned index)
{
	switch (index) {
	case VFU_IRQ_INTX: return pci_function_vectors(c->v->function, PCI_INTX);
	case VFU_IRQ_MSI: return pci_function_vectors(c->v->function, PCI_MSI);
	case VFU_IRQ_MSIX: return pci_function_vectors(c->v->function, PCI_MSIX);
	case VFU_IRQ_ERR: return 1;
	default: return 0;
	}
}

void vfu_irqs_init(struct vfu_conn *c)
{
	c->irqs = (struct vfu_irqs){.resample = -1, .again.fire = on_again};
	for (unsigned i = 0; i < VFU_IRQS; i++) {
		c->irqs.n[i] = vfu_irq_count(c, i);
		c->irqs.fds[i] = g_new(int, c->irqs.n[i]);
		for (unsigned k = 0; k < c->irqs.n[i]; k++)
			c->irqs.fds[i][k] = -1;
	}
}

static void set_fd(int *to, int fd)
{
	if (*to >= 0)
		close(*to);
	*to = fd;
}

static void set_resample(struct vfu_conn *c, int fd)
{
	struct vfu_irqs *q = &c->irqs;

	if (q->resample >= 0)
		loop_watch_remove(&q->resample_watch);
	set_fd(&q->resample, fd);
	if (fd < 0)
		return;
	q->resample_watch = (struct loop_watch){.ready = on_resample, .fd = fd, .events = POLLIN};
	loop_watch_add(c->v->loop, &q->resample_watch);
}

static void disable(struct vfu_conn *c, unsigned index)
{
	for (unsigned i = 0; i < c->irqs.n[index]; i++)
		set_fd(&c->irqs.fds[index][i], -1);
	if (index == VFU_IRQ_INTX) {
		set_resample(c, -1);
		loop_timer_cancel(&c->irqs.again);
		c->irqs.masked = false;
	}
}

void vfu_irqs_fini(struct vfu_conn *c)
{
	for (unsigned i = 0; i < VFU_IRQS; i++) {
		disable(c, i);
		g_free(c->irqs.fds[i]);
		c->irqs.fds[i] = NULL;
		c->irqs.n[i] = 0;
	}
}

static void signal_fd(struct vfu_conn *c, int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLOUT};
	uint64_t one = 1;
	ssize_t res;

	if (poll(&p, 1, 0) != 1 || !(p.revents & POLLOUT))
		return; /* its counter is full, so the client has a signal to find */
	do
		res = write(fd, &one, sizeof(one));
	while (res < 0 && errno == EINTR);
	c->v->stats.interrupts++;
}

/* Takes a signal back; whether one was there. */
static bool take_back(int fd)
{
	uint64_t count;
	struct iovec iov = {&count, sizeof(count)};

	return preadv2(fd, &iov, 1, -1, RWF_NOWAIT) == sizeof(count);
}

static void raise_intx(struct vfu_conn *c)
{
	struct vfu_irqs *q = &c->irqs;

	if (!q->n[VFU_IRQ_INTX] || q->masked || q->fds[VFU_IRQ_INTX][0] < 0)
		return;
	loop_timer_cancel(&q->again);
	q->masked = q->told = true;
	signal_fd(c, q->fds[VFU_IRQ_INTX][0]);
}

static void lower_intx(struct vfu_conn *c)
{
	struct vfu_irqs *q = &c->irqs;

	loop_timer_cancel(&q->again);
	q->told = false;
	if (q->n[VFU_IRQ_INTX] && q->fds[VFU_IRQ_INTX][0] >= 0 &&
	    take_back(q->fds[VFU_IRQ_INTX][0]))
		q->masked = false;
}

static void on_again(struct loop_timer *t)
{
	struct vfu_irqs *q = (struct vfu_irqs *)((char *)t - offsetof(struct vfu_irqs, again));

	raise_intx((struct vfu_conn *)((char *)q - offsetof(struct vfu_conn, irqs)));
}

static void unmask_intx(struct vfu_conn *c)
{
	struct vfu_irqs *q = &c->irqs;

	q->masked = false;
	if (!pci_function_intx_level(c->v->function))
		return;
	if (q->told)
		loop_timer_set(c->v->loop, &q->again, loop_now_ns() + AGAIN_NS);
	else
		raise_intx(c);
}

static void on_resample(struct loop_watch *w, unsigned events)
{
	struct vfu_irqs *q =
		(struct vfu_irqs *)((char *)w - offsetof(struct vfu_irqs, resample_watch));
	struct vfu_conn *c = (struct vfu_conn *)((char *)q - offsetof(struct vfu_conn, irqs));

	if (take_back(q->resample))
		unmask_intx(c);
	else if (events & (POLLERR | POLLNVAL))
		set_resample(c, -1);
}

void vfu_host_intx(struct pci_host *h, bool level)
{
	struct vfu_conn *c = conn_of_host(h);

	if (level && vfu_is_torn(c))
		return;
	if (level)
		raise_intx(c);
	else
		lower_intx(c);
}

bool vfu_host_msi(struct pci_host *h, enum pci_irq kind, unsigned vector)
{
	struct vfu_conn *c = conn_of_host(h);
	unsigned index = kind == PCI_MSIX ? VFU_IRQ_MSIX : VFU_IRQ_MSI;

	if (vector >= c->irqs.n[index] || c->irqs.fds[index][vector] < 0 || vfu_is_torn(c))
		return false;
	signal_fd(c, c->irqs.fds[index][vector]);
	return true;
}

/* Writing to anything else could block us for as long as the client likes. */
static bool is_eventfd(int fd)
{
	char name[32], target[32];
	ssize_t n;

	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	n = readlink(name, target, sizeof(target) - 1);
	if (n < 0)
		return false;
	target[n] = 0;
	return strcmp(target, "anon_inode:[eventfd]") == 0;
}

static int check_fds(const struct vfu_msg *m, GError **error)
{
	for (unsigned i = 0; i < m->n_fds; i++) {
		int flags;

		if (!is_eventfd(m->fds[i]))
			return vfu_refuse(error, EINVAL, "descriptor %u is no eventfd", i);
		flags = fcntl(m->fds[i], F_GETFL);
		if (flags < 0 ||
		    (!(flags & O_NONBLOCK) && fcntl(m->fds[i], F_SETFL, flags | O_NONBLOCK) < 0))
			return vfu_refuse(error, errno, "eventfd %u", i);
	}
	return 0;
}

static void set_eventfds(struct vfu_conn *c, struct vfu_msg *m, unsigned index, unsigned start,
			 unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		set_fd(&c->irqs.fds[index][start + i], m->n_fds ? m->fds[i] : -1);
		if (m->n_fds)
			m->fds[i] = -1;
	}
	if (index == VFU_IRQ_INTX) {
		c->irqs.masked = false;
		if (pci_function_intx_level(c->v->function))
			raise_intx(c);
	} else if (m->n_fds && index <= VFU_IRQ_MSIX) {
		pci_function_msi_ready(c->v->function, index == VFU_IRQ_MSIX ? PCI_MSIX : PCI_MSI,
				       start, count);
	}
}

/* Action on one vector, told without a descriptor. */
static void act(struct vfu_conn *c, uint32_t action, unsigned index, unsigned vector)
{
	switch (action) {
	case VFU_SET_MASK: c->irqs.masked = true; break;
	case VFU_SET_UNMASK: unmask_intx(c); break;
	default:
		if (c->irqs.fds[index][vector] >= 0)
			signal_fd(c, c->irqs.fds[index][vector]);
	}
}

struct irq_set {
	uint32_t flags, index, start, count;
};

static int check_set(struct vfu_conn *c, const struct vfu_msg *m, const struct irq_set *s,
		     GError **error)
{
	uint32_t data = s->flags & VFU_SET_DATA, action = s->flags & VFU_SET_ACTION;
	size_t bools = data == VFU_SET_BOOL ? s->count : 0;

	if (s->flags & ~(uint32_t)(VFU_SET_DATA | VFU_SET_ACTION) || !data || data & (data - 1) ||
	    !action || action & (action - 1)) {
		return vfu_refuse(error, EINVAL,
				  "flags %#" PRIx32 ", must be one kind of data and one action",
				  s->flags);
	}
	if (s->index >= VFU_IRQS)
		return vfu_refuse(error, EINVAL, "interrupt index %" PRIu32 ", must be 0 to %d",
				  s->index, VFU_IRQS - 1);
	if (s->start > c->irqs.n[s->index] || s->count > c->irqs.n[s->index] - s->start) {
		return vfu_refuse(error, EINVAL,
				  "vectors %" PRIu32 "+%" PRIu32 ", interrupt %" PRIu32 " has %u",
				  s->start, s->count, s->index, c->irqs.n[s->index]);
	}
	if (action != VFU_SET_TRIGGER && s->index != VFU_IRQ_INTX)
		return vfu_refuse(error, EINVAL, "interrupt %" PRIu32 " cannot be masked",
				  s->index);
	if (!s->count && (data != VFU_SET_NONE || action != VFU_SET_TRIGGER || s->start))
		return vfu_refuse(error, EINVAL, "no vectors");
	if (m->len != IRQSET_LEN + bools)
		return vfu_refuse(error, EINVAL, "%zu bytes of payload, must be %zu", m->len,
				  IRQSET_LEN + bools);
	if (m->n_fds && (data != VFU_SET_EVENTFD || m->n_fds != s->count))
		return vfu_refuse(error, EINVAL, "%u descriptors for %" PRIu32 " vectors", m->n_fds,
				  data == VFU_SET_EVENTFD ? s->count : 0);
	if (data == VFU_SET_EVENTFD && action == VFU_SET_MASK)
		return vfu_refuse(error, ENOTSUP, "masking by eventfd");
	return check_fds(m, error);
}

int vfu_set_irqs(struct vfu_conn *c, struct vfu_msg *m, GError **error)
{
	struct irq_set s = {
		.flags = vfu_get32(m->payload, IRQSET_FLAGS),
		.index = vfu_get32(m->payload, IRQSET_INDEX),
		.start = vfu_get32(m->payload, IRQSET_START),
		.count = vfu_get32(m->payload, IRQSET_COUNT),
	};
	uint32_t data = s.flags & VFU_SET_DATA, action = s.flags & VFU_SET_ACTION;
	int res = check_set(c, m, &s, error);

	if (res)
		return res;
	if (data == VFU_SET_EVENTFD && action == VFU_SET_TRIGGER) {
		set_eventfds(c, m, s.index, s.start, s.count);
	} else if (data == VFU_SET_EVENTFD) {
		set_resample(c, m->n_fds ? m->fds[0] : -1);
		if (m->n_fds)
			m->fds[0] = -1;
	} else if (!s.count) {
		disable(c, s.index);
	} else {
		for (uint32_t i = 0; i < s.count; i++) {
			if (data == VFU_SET_NONE || m->payload[IRQSET_LEN + i])
				act(c, action, s.index, s.start + i);
		}
	}
	vfu_reply_bytes(c, m, NULL, 0);
	return 0;
}
