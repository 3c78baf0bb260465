/*
 * One client: from its first byte to the orderly end.
 *
 * The socket is served by a watch, not by a coroutine: the devices behind it want the loop's own
 * stack, and a register access is answered in the turn in which it came. Nothing here waits.
 * Messages are carried out in the order of their arrival with one exception: commands of the device
 * proper (accesses, reset, migration) wait while one of them is being answered later (ordered.c),
 * everything else overtakes them, above all the answers to our DMA messages.
 *
 * States, and what leaves them: FRESH (VERSION that is accepted -> ATTACHED), ATTACHED, and from
 * both by the client's hanging up -> DEAD, or by vfu_conn_end() -> DRAINING: the function is
 * detached, our direction is shut down, what comes is thrown away until the client hangs up or
 * nothing came for a while -> DEAD. A DEAD one is freed by a task, no callback being on the stack.
 */
#include "attach/vfio_user/impl.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

enum { DISCARDS = 256 /* reads of a turn while draining */ };

static const struct pci_host_ops host_ops = {
	.intx = vfu_host_intx,
	.msi = vfu_host_msi,
	.dma = vfu_host_dma,
	.dma_cancel = vfu_host_dma_cancel,
};

int vfu_refuse(GError **error, int errnum, const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	text = g_strdup_vprintf(fmt, ap);
	va_end(ap);
	err_set(error, errnum, "%s", text);
	g_free(text);
	return errnum;
}

static void free_conn(struct loop_task *t)
{
	struct vfu_conn *c = (struct vfu_conn *)((char *)t - offsetof(struct vfu_conn, end));
	struct vfio_user *v = c->v;
	struct vfu_conn **p = &v->conns;

	if (c->more.pending) { /* is queued behind us: once more around */
		loop_post(v->loop, t);
		return;
	}
	while (*p != c)
		p = &(*p)->next;
	*p = c->next;
	v->n_conns--;
	wire_fini(&c->wire);
	g_free(c);
	vfu_listen(v, true);
	co_queue_wake_all(&v->gone);
}

/* Takes the function, and all that belongs to the protocol, away from it. */
static void let_go(struct vfu_conn *c)
{
	struct vfio_user *v = c->v;

	if (c->state != VFU_ATTACHED)
		return;
	vfu_ordered_fini(c);
	pci_function_detach(v->function, &c->host);
	if (c->stopped_function)
		pci_function_start(v->function);
	if (c->mig.data)
		g_byte_array_free(c->mig.data, TRUE);
	c->mig.data = NULL;
	vfu_dma_fini(c);
	vfu_dma_forget_unmaps(c);
	vfu_irqs_fini(c);
	dma_space_free(c->host.dma);
	c->host.dma = NULL;
}

static void die(struct vfu_conn *c)
{
	if (c->state == VFU_DEAD)
		return;
	let_go(c);
	c->state = VFU_DEAD;
	loop_watch_remove(&c->watch);
	loop_timer_cancel(&c->timer);
	loop_post(c->v->loop, &c->end);
}

void vfu_conn_end(struct vfu_conn *c)
{
	uint64_t now = loop_now_ns();

	if (c->state >= VFU_DRAINING)
		return;
	let_go(c);
	c->state = VFU_DRAINING;
	c->drain_end_ns = now + VFU_DRAIN_MAX_NS;
	if (!wire_is_sending(&c->wire)) /* else once that has been sent */
		shutdown(c->wire.fd, SHUT_WR);
	loop_watch_modify(&c->watch, POLLIN | (wire_is_sending(&c->wire) ? POLLOUT : 0));
	loop_timer_set(c->v->loop, &c->timer, now + VFU_DRAIN_NS);
}

void vfu_conn_fail(struct vfu_conn *c, const char *fmt, ...)
{
	va_list ap;
	char *text;

	if (c->failed || c->state >= VFU_DRAINING)
		return;
	c->failed = true;
	c->v->stats.protocol_errors++;
	va_start(ap, fmt);
	text = g_strdup_vprintf(fmt, ap);
	va_end(ap);
	log_limited(&c->v->limit, LOG_ERROR, "vfio-user", "%s#%u: connection ends: %s", c->v->path,
		    c->number, text);
	g_free(text);
	vfu_conn_more(c);
}

bool vfu_is_torn(struct vfu_conn *c)
{
	if (!dma_space_is_torn(c->host.dma))
		return false;
	vfu_conn_fail(c, "the client shortened the file of its memory");
	return true;
}

static void broken(struct vfu_conn *c, int res)
{
	if (res != -EPIPE && res != -ECONNRESET)
		log_limited(&c->v->limit, LOG_WARN, "vfio-user", "%s#%u: %s", c->v->path, c->number,
			    g_strerror(-res));
	c->failed = true; /* sending is over; reading finds the end */
	vfu_conn_more(c);
}

static void send_message(struct vfu_conn *c, uint16_t id, uint16_t command, uint32_t flags,
			 uint32_t errnum, const struct iovec *parts, unsigned n_parts,
			 const int *fds, unsigned n_fds)
{
	uint8_t header[VFU_HEADER_LEN];
	size_t len = VFU_HEADER_LEN;
	int res;

	if (c->state >= VFU_DRAINING || c->failed)
		return;
	for (unsigned i = 0; i < n_parts; i++)
		len += parts[i].iov_len;
	vfu_put(header, HDR_ID, id);
	vfu_put(header, HDR_COMMAND, command);
	vfu_put(header, HDR_SIZE, len);
	vfu_put(header, HDR_FLAGS, flags);
	vfu_put(header, HDR_ERROR, errnum);
	res = wire_send(&c->wire, header, parts, n_parts, fds, n_fds);
	if (res < 0)
		broken(c, res);
	else if (wire_is_sending(&c->wire))
		loop_watch_modify(&c->watch, POLLOUT | (wire_is_full(&c->wire) ? 0 : POLLIN));
}

void vfu_reply(struct vfu_conn *c, uint16_t id, uint16_t command, uint32_t flags,
	       const struct iovec *parts, unsigned n_parts, const int *fds, unsigned n_fds)
{
	if (!(flags & VFU_NO_REPLY))
		send_message(c, id, command, VFU_TYPE_REPLY, 0, parts, n_parts, fds, n_fds);
}

void vfu_reply_bytes(struct vfu_conn *c, const struct vfu_msg *m, const void *payload, size_t len)
{
	struct iovec part = {(void *)payload, len};

	vfu_reply(c, m->id, m->command, m->flags, &part, len ? 1 : 0, NULL, 0);
}

void vfu_reply_error(struct vfu_conn *c, uint16_t id, uint16_t command, uint32_t flags, int errnum,
		     const char *fmt, ...)
{
	const char *name = command < VFU_COMMANDS ? vfu_rows[command].name : NULL;
	va_list ap;
	char *text;

	c->v->stats.refused++;
	va_start(ap, fmt);
	text = g_strdup_vprintf(fmt, ap);
	va_end(ap);
	log_limited(&c->v->limit, LOG_WARN, "vfio-user", "%s#%u: %s refused: %s", c->v->path,
		    c->number, name ? name : "command", text);
	g_free(text);
	if (!(flags & VFU_NO_REPLY))
		send_message(c, id, command, VFU_TYPE_REPLY | VFU_ERROR, (uint32_t)errnum, NULL, 0,
			     NULL, 0);
}

void vfu_send_command(struct vfu_conn *c, uint16_t id, uint16_t command, const struct iovec *parts,
		      unsigned n_parts)
{
	send_message(c, id, command, VFU_TYPE_COMMAND, 0, parts, n_parts, NULL, 0);
}

/* Another client has the function; did it hang up without our having seen it yet? */
static void end_if_gone(struct vfio_user *v)
{
	for (struct vfu_conn *c = v->conns; c; c = c->next) {
		struct pollfd p = {.fd = c->wire.fd, .events = POLLRDHUP};

		if (c->state == VFU_ATTACHED && poll(&p, 1, 0) > 0 &&
		    p.revents & (POLLRDHUP | POLLHUP | POLLERR))
			die(c);
	}
}

static int version(struct vfu_conn *c, struct vfu_msg *m, GError **error)
{
	uint8_t reply[VFU_VERSION_MAX];
	struct vfu_caps caps;
	int res;

	if (c->state != VFU_FRESH)
		return vfu_refuse(error, EINVAL, "the version was agreed before");
	res = vfu_version_parse(m->payload, m->len, &caps, error);
	if (res)
		return res;
	end_if_gone(c->v);
	c->host = (struct pci_host){
		.ops = &host_ops, .flags = PCI_HOST_OWNS_VECTORS, .loop = c->v->loop};
	c->host.dma = dma_space_new();
	c->caps = caps;
	vfu_irqs_init(c);
	vfu_ordered_init(c);
	vfu_dma_init(c);
	c->mig = (struct vfu_migration){.state = VFU_MIG_RUNNING};
	c->state = VFU_ATTACHED;
	if (!pci_function_attach(c->v->function, &c->host, error)) {
		let_go(c);
		c->state = VFU_FRESH;
		return EBUSY;
	}
	loop_timer_cancel(&c->timer);
	c->wire.max_size = VFU_HEADER_LEN + MAX(MULTI_LEN + VFU_MULTI_MAX * MULTI_ENTRY_LEN,
						DMA_LEN + caps.max_data_xfer);
	log_line(LOG_INFO, "vfio-user", "%s#%u: client of version %u.%u has %s", c->v->path,
		 c->number, caps.major, caps.minor, pci_function_name(c->v->function));
	vfu_reply_bytes(c, m, reply, vfu_version_reply(&caps, reply));
	return 0;
}

/* 0: m may be carried out as far as its row knows; else a positive errno. */
static int check(struct vfu_conn *c, const struct vfu_msg *m, const struct vfu_row *row,
		 GError **error)
{
	if (c->state == VFU_FRESH && m->command != VFU_VERSION)
		return vfu_refuse(error, EINVAL, "no version was agreed yet");
	if (m->len < row->len_min || m->len > row->len_max)
		return vfu_refuse(error, EINVAL, "%zu bytes of payload, must be %zu to %zu", m->len,
				  row->len_min, row->len_max);
	if (m->n_fds > row->fds_max)
		return vfu_refuse(error, EINVAL, "%u descriptors, must be %u at most", m->n_fds,
				  row->fds_max);
	return 0;
}

static int carry_out(struct vfu_conn *c, struct vfu_msg *m, const struct vfu_row *row,
		     GError **error)
{
	int res = check(c, m, row, error);

	if (res)
		return res;
	if (m->command == VFU_VERSION)
		return version(c, m, error);
	if (!row->ordered || !c->ordered.busy)
		return row->handle(c, m, error);
	if (!vfu_ordered_wait(c, m))
		return vfu_refuse(error, EBUSY, "too much waits for an answer");
	return 0;
}

void vfu_dispatch(struct vfu_conn *c, struct vfu_msg *m)
{
	const struct vfu_row *row = m->command < VFU_COMMANDS ? &vfu_rows[m->command] : NULL;
	GError *error = NULL;
	int res;

	if (row && row->handle)
		res = carry_out(c, m, row, &error);
	else
		res = vfu_refuse(&error, ENOTSUP, "command %u", m->command);
	if (res)
		vfu_reply_error(c, m->id, m->command, m->flags, res, "%s",
				error ? error->message : g_strerror(res));
	g_clear_error(&error);
	if (c->state == VFU_FRESH && m->command == VFU_VERSION)
		vfu_conn_fail(c, "no agreement");
}

static void on_message(struct vfu_conn *c, struct vfu_msg *m)
{
	c->v->stats.messages++;
	switch (m->flags & VFU_TYPE_MASK) {
	case VFU_TYPE_COMMAND: vfu_dispatch(c, m); break;
	case VFU_TYPE_REPLY:
		if (c->state == VFU_ATTACHED)
			vfu_dma_answer(c, m);
		else
			vfu_conn_fail(c, "an answer before any question");
		break;
	default: vfu_conn_fail(c, "message %u of unknown type %u", m->id, m->flags & VFU_TYPE_MASK);
	}
}

/* Everything complete in the buffer, then what came of it. */
static void serve(struct vfu_conn *c)
{
	const char *why = NULL;
	struct vfu_msg m;
	int res = 0;

	if (c->state == VFU_ATTACHED)
		vfu_is_torn(c);
	while (c->state < VFU_DRAINING && !c->failed && !wire_is_full(&c->wire) &&
	       (res = wire_next(&c->wire, &m, &why)) > 0)
		on_message(c, &m);
	if (res < 0)
		vfu_conn_fail(c, "%s", why);
	if (c->failed)
		vfu_conn_end(c);
}

static void drain(struct vfu_conn *c)
{
	int res = 1;

	for (unsigned i = 0; i < DISCARDS && res > 0; i++)
		res = wire_discard(&c->wire);
	if (res != -EAGAIN && res <= 0)
		die(c);
}

static void flush(struct vfu_conn *c)
{
	int res = wire_flush(&c->wire);
	bool sending = wire_is_sending(&c->wire);

	if (res < 0) {
		broken(c, res);
		sending = false;
	}
	if (c->state == VFU_DRAINING && !sending)
		shutdown(c->wire.fd, SHUT_WR);
	loop_watch_modify(&c->watch,
			  (sending ? POLLOUT : 0) |
				  (c->state < VFU_DRAINING && wire_is_full(&c->wire) ? 0 : POLLIN));
	if (c->state < VFU_DRAINING)
		vfu_conn_more(c);
}

static void on_ready(struct loop_watch *w, unsigned events)
{
	struct vfu_conn *c = (struct vfu_conn *)((char *)w - offsetof(struct vfu_conn, watch));
	int res;

	if (events & POLLOUT)
		flush(c);
	if (!(events & ~(unsigned)POLLOUT) || c->state == VFU_DEAD)
		return;
	if (c->state == VFU_DRAINING) {
		drain(c);
		return;
	}
	if (wire_is_full(&c->wire) && !(events & (POLLHUP | POLLERR)))
		return;
	res = wire_fill(&c->wire);
	if (res > 0) {
		serve(c);
	} else if (res == -EPROTO) {
		vfu_conn_fail(c, "too many descriptors");
		vfu_conn_end(c);
	} else if (res != -EAGAIN) {
		log_line(LOG_INFO, "vfio-user", "%s#%u: client gone%s", c->v->path, c->number,
			 wire_is_mid_message(&c->wire) ? " in the middle of a message" : "");
		die(c);
	}
}

static void run_more(struct loop_task *t)
{
	struct vfu_conn *c = (struct vfu_conn *)((char *)t - offsetof(struct vfu_conn, more));

	if (c->state < VFU_DRAINING)
		serve(c);
}

void vfu_conn_more(struct vfu_conn *c)
{
	loop_post(c->v->loop, &c->more);
}

static void on_timer(struct loop_timer *t)
{
	struct vfu_conn *c = (struct vfu_conn *)((char *)t - offsetof(struct vfu_conn, timer));
	uint64_t now = loop_now_ns();
	int res;

	if (c->state == VFU_FRESH) {
		vfu_conn_fail(c, "no VERSION came");
		vfu_conn_end(c);
		return;
	}
	res = wire_discard(&c->wire);
	if (res > 0 && now < c->drain_end_ns)
		loop_timer_set(c->v->loop, &c->timer, MIN(now + VFU_DRAIN_NS, c->drain_end_ns));
	else
		die(c);
}

void vfu_conn_new(struct vfio_user *v, int fd)
{
	struct vfu_conn *c = g_new0(struct vfu_conn, 1);

	c->v = v;
	c->number = ++v->next_number;
	c->next = v->conns;
	v->conns = c;
	v->n_conns++;
	wire_init(&c->wire, fd, VFU_HEADER_LEN + VFU_VERSION_MAX);
	c->end.run = free_conn;
	c->more.run = run_more;
	c->timer.fire = on_timer;
	loop_timer_set(v->loop, &c->timer, loop_now_ns() + VFU_HANDSHAKE_NS);
	c->watch = (struct loop_watch){.ready = on_ready, .fd = fd, .events = POLLIN};
	loop_watch_add(v->loop, &c->watch);
}
