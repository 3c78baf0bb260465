/*
 * One front end: messages in, replies out, and an orderly end.
 *
 * A message is checked against its row (payload size, number of descriptors, negotiated feature)
 * before its handler sees it; descriptors that no handler kept are closed afterwards. Whatever
 * breaks the protocol ends this connection and nothing else.
 *
 * The end comes in two kinds. When the daemon ends, commands are waited for and their results
 * published. When the front end went away, or was thrown out, nothing is published any more: with
 * in-flight tracking it gives the same requests to whom it connects to next, and they are carried
 * out there.
 */
#include "attach/vhost_user/impl.h"
#include "base/sock.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { END_WAIT_S = 5 };

void vu_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

int vu_refuse(GError **error, int errnum, const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	text = g_strdup_vprintf(fmt, ap);
	va_end(ap);
	err_set(error, errnum, "%s", text);
	g_free(text);
	return -errnum;
}

static void on_ring_fault(struct virtq *q, const char *what, void *arg)
{
	struct vu_conn *c = arg;
	struct vu_vring *r = &c->rings[q->index];

	c->v->stats.protocol_errors++;
	log_limited(&c->v->limit, LOG_ERROR, "vhost-user",
		    "%s: queue %u stopped, its ring is malformed: %s", c->name, q->index, what);
	vu_vring_signal(r->err_fd);
}

static void on_ring_polled(struct virtq *q, void *arg)
{
	struct vu_conn *c = arg;

	vu_vring_serve(&c->rings[q->index]);
}

/* When the process was started, in the kernel's ticks; 0: not known. */
static uint64_t started_at(pid_t pid)
{
	enum { FIELD = 22 }; /* proc(5), stat; counted from the second, which may have blanks */
	g_autofree char *path = g_strdup_printf("/proc/%d/stat", (int)pid), *text = NULL;
	const char *at;

	if (!g_file_get_contents(path, &text, NULL, NULL))
		return 0;
	at = strrchr(text, ')');
	for (unsigned i = 2; at && i < FIELD; i++)
		at = strchr(at + 1, ' ');
	return at ? g_ascii_strtoull(at + 1, NULL, 10) : 0;
}

/*
 * The initiator's name. Where several may connect it goes by the process: a front end that comes
 * back after we were started again must not be taken for another one, whose reservations it would
 * have.
 */
static char *name_conn(const struct vhost_user *v, unsigned slot, int fd)
{
	struct ucred who;
	socklen_t len = sizeof(who);

	if (v->max_clients == 1 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) < 0 ||
	    who.pid <= 0)
		return g_strdup_printf("vhost-user:%s#%u", v->path, slot);
	return g_strdup_printf("vhost-user:%s#%d.%" PRIu64, v->path, (int)who.pid,
			       started_at(who.pid));
}

struct vu_conn *vu_conn_new(struct vhost_user *v, unsigned slot, int fd)
{
	struct vu_conn *c = g_malloc0(sizeof(*c) + v->n_rings * sizeof(c->rings[0]));
	struct virtio_device_options o;

	c->v = v;
	c->slot = slot;
	c->fd = fd;
	c->backend_fd = -1;
	c->name = name_conn(v, slot, fd);
	c->mem = gmem_new();
	o = (struct virtio_device_options){
		.loop = v->loop,
		.name = c->name,
		.n_queues = v->n_rings,
		.fault = on_ring_fault,
		.polled = on_ring_polled,
		.arg = c,
	};
	c->device = v->kind->make(v, &o);
	c->n_rings = v->n_rings;
	for (unsigned i = 0; i < c->n_rings; i++)
		vu_vring_init(c, i);
	return c;
}

void vu_conn_fail(struct vu_conn *c, const char *why)
{
	if (c->failed)
		return;
	c->failed = true;
	c->v->stats.protocol_errors++;
	log_limited(&c->v->limit, LOG_ERROR, "vhost-user", "%s: connection closed: %s", c->name,
		    why);
	shutdown(c->fd, SHUT_RDWR);
}

void vu_config_changed(struct vu_conn *c)
{
	const uint32_t header[3] = {VU_B_CONFIG_CHANGE, VU_VERSION, 0};

	if (c->closing || c->backend_fd < 0 || !(c->protocol & 1 << VU_P_CONFIG))
		return;
	/* The message asks for no answer, so few can ever be on their way. */
	if (send(c->backend_fd, header, sizeof(header), MSG_DONTWAIT | MSG_NOSIGNAL) ==
	    sizeof(header))
		return;
	log_limited(&c->v->limit, LOG_WARN, "vhost-user",
		    "%s: the front end does not take the news of a new size: %s", c->name,
		    g_strerror(errno));
}

/* Header and payload of the next message: 1; 0: the front end has gone; -1: *error says what is
 * wrong with it. */
static co_fn int receive(struct vu_conn *c, GError **error)
{
	struct vu_msg *m = &c->msg;
	const struct vu_row *row;
	uint32_t header[3];
	int res;

	m->n_fds = 0;
	m->reply = false;
	m->reply_fd = -1;
	res = sock_recv_all(c->fd, header, sizeof(header), m->fds, VU_FDS_MAX, &m->n_fds);
	if (res == 0 || res == -ECONNRESET || res == -EPIPE)
		return 0;
	if (res < 0) {
		err_set(error, -res, "cannot receive: %s",
			res == -EPROTO ? "more descriptors than a message can have"
				       : g_strerror(-res));
		return -1;
	}
	m->request = header[0];
	m->flags = header[1];
	m->size = header[2];
	row = m->request < VU_REQUESTS ? &vu_rows[m->request] : NULL;
	if ((m->flags & VU_VERSION_MASK) != VU_VERSION || m->flags & VU_REPLY) {
		err_set(error, EPROTO,
			"message %" PRIu32 " with flags %#" PRIx32 ", must be a version 1 request",
			m->request, m->flags);
	} else if (!row || !row->handle) {
		err_set(error, EPROTO, "unknown or unsupported request %" PRIu32, m->request);
	} else if (m->size < row->size_min || m->size > row->size_max) {
		err_set(error, EPROTO, "%s: payload of %" PRIu32 " bytes, must be %u to %u",
			row->name, m->size, row->size_min, row->size_max);
	} else if (m->n_fds < row->fds_min || m->n_fds > row->fds_max) {
		err_set(error, EPROTO, "%s: %u descriptors, must be %u to %u", row->name, m->n_fds,
			row->fds_min, row->fds_max);
	} else if (row->feature && !(c->protocol & 1ull << (row->feature - 1))) {
		err_set(error, EPROTO, "%s: protocol feature %d was not negotiated", row->name,
			row->feature - 1);
	} else {
		res = m->size ? sock_recv_all(c->fd, m->payload, m->size, NULL, 0, NULL) : 1;
	}
	if (error && *error)
		return -1;
	if (res < 0 && res != -EPIPE && res != -ECONNRESET)
		err_set(error, -res, "%s: payload: %s", row->name, g_strerror(-res));
	return res > 0 ? 1 : error && *error ? -1 : 0;
}

static co_fn int send_reply(struct vu_conn *c, struct vu_msg *m)
{
	uint8_t buf[VU_HEADER_LEN + VU_PAYLOAD_MAX];
	uint32_t header[3] = {m->request, VU_VERSION | VU_REPLY, m->size};
	int res;

	memcpy(buf, header, sizeof(header));
	memcpy(buf + sizeof(header), m->payload, m->size);
	c->sending = true;
	res = sock_send_all(c->fd, buf, VU_HEADER_LEN + m->size, &m->reply_fd,
			    m->reply_fd >= 0 ? 1 : 0);
	c->sending = false;
	return res;
}

/* One message from receiving to replying; false: the connection ends. */
static co_fn bool serve_one(struct vu_conn *c, GError **error)
{
	struct vu_msg *m = &c->msg;
	const struct vu_row *row;
	int res = receive(c, error);
	bool good = res > 0;

	if (good) {
		row = &vu_rows[m->request];
		log_line(LOG_DEBUG, "vhost-user", "%s: %s", c->name, row->name);
		res = row->handle(c, m, error);
		if (!row->has_reply && m->flags & VU_NEED_REPLY &&
		    c->protocol & 1 << VU_P_REPLY_ACK && res != -EPROTO) {
			if (res < 0) {
				log_limited(&c->v->limit, LOG_WARN, "vhost-user",
					    "%s: %s refused: %s", c->name, row->name,
					    error && *error ? (*error)->message : "");
			}
			vu_reply_u64(m, res < 0);
			g_clear_error(error);
			res = 0;
		}
		if (res < 0)
			err_prefix(error, "%s", row->name);
		good = res == 0 && (!m->reply || send_reply(c, m) == 0);
		vu_close(&m->reply_fd);
	}
	for (unsigned i = 0; i < m->n_fds; i++)
		vu_close(&m->fds[i]);
	return good && !c->failed;
}

static co_fn void end_rings(struct vu_conn *c)
{
	uint64_t deadline = loop_now_ns() + END_WAIT_S * 1000000000ull;
	bool idle = c->v->ending && !c->failed;

	for (unsigned i = 0; i < c->n_rings; i++)
		vu_vring_pause(&c->rings[i]);
	for (unsigned i = 0; idle && i < c->n_rings; i++)
		idle = virtio_device_wait(c->device, &c->rings[i].q, deadline);
	for (unsigned i = 0; !idle && i < c->n_rings; i++) {
		if (!c->failed)
			virtq_flush(&c->rings[i].q);
		c->rings[i].q.discard = true;
	}
	for (unsigned i = 0; i < c->n_rings; i++)
		vu_vring_stop(&c->rings[i], 0);
}

static co_fn void end_conn(struct vu_conn *c)
{
	struct vhost_user *v = c->v;

	c->closing = true;
	end_rings(c);
	while (c->busy)
		co_reschedule();
	v->stats.requests += virtio_device_requests(c->device);
	virtio_device_free(c->device);
	for (unsigned i = 0; i < c->n_rings; i++)
		vu_vring_fini(&c->rings[i]);
	vu_close(&c->fd);
	vu_close(&c->backend_fd);
	gmem_unref(c->mem);
	inflight_free(c->inflight);
	v->conns[c->slot] = NULL;
	g_free(c->name);
	g_free(c);
	vu_listen(v, true);
	co_queue_wake_all(&v->gone);
}

void vu_conn_run(void *conn)
{
	struct vu_conn *c = conn;
	GError *error = NULL;

	log_line(LOG_INFO, "vhost-user", "%s: connected", c->name);
	while (serve_one(c, &error))
		;
	if (error)
		vu_conn_fail(c, error->message);
	else if (!c->failed)
		log_line(LOG_INFO, "vhost-user", "%s: disconnected", c->name);
	g_clear_error(&error);
	end_conn(c);
}
