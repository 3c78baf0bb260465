/*
 * The vhost-user back end's socket and its connections.
 *
 * A front end that has gone keeps its place until its commands have ended: one that comes back at
 * once and finds the same rings must not meet the remains of its former connection there. Until
 * then it waits in the socket's backlog.
 */
#include "attach/vhost_user/impl.h"
#include "base/sock.h"
#include "virtio/virtio_scsi.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RETRY_NS = 1000000000 };

/* The front end has hung up, which its connection may not have come to notice yet. */
static bool has_gone(const struct vu_conn *c)
{
	struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};

	return c->closing || (poll(&p, 1, 0) > 0 && p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

static int free_slot(const struct vhost_user *v, bool *draining)
{
	*draining = false;
	for (unsigned i = 0; i < v->max_clients; i++) {
		if (!v->conns[i])
			return (int)i;
		*draining |= has_gone(v->conns[i]);
	}
	return -1;
}

static void accept_again(struct loop_timer *t)
{
	vu_listen((struct vhost_user *)((char *)t - offsetof(struct vhost_user, retry)), true);
}

static void cannot_accept(struct vhost_user *v, int errnum)
{
	if (errnum == EAGAIN || errnum == EINTR || errnum == ECONNABORTED)
		return;
	log_limited(&v->limit, LOG_ERROR, "vhost-user", "%s: cannot accept: %s", v->path,
		    g_strerror(errnum));
	vu_listen(v, false); /* the connection stays ready: do not spin on it */
	loop_timer_set(v->loop, &v->retry, loop_now_ns() + RETRY_NS);
}

static void on_connect(struct loop_watch *w, unsigned events)
{
	struct vhost_user *v =
		(struct vhost_user *)((char *)w - offsetof(struct vhost_user, listen));
	bool draining;
	int slot, fd;

	(void)events;
	slot = free_slot(v, &draining);
	if (slot < 0 && draining) {
		vu_listen(v, false); /* until one of them is done */
		return;
	}
	fd = accept4(v->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd < 0) {
		cannot_accept(v, errno);
		return;
	}
	if (slot < 0) {
		log_limited(
			&v->limit, LOG_WARN, "vhost-user",
			"%s: connection refused, %u front end%s connected already (option clients)",
			v->path, v->max_clients, v->max_clients == 1 ? " is" : "s are");
		close(fd);
		return;
	}
	v->conns[slot] = vu_conn_new(v, (unsigned)slot, fd);
	co_start(v->loop, vu_conn_run, v->conns[slot]);
}

void vu_listen(struct vhost_user *v, bool on)
{
	if (on == v->listening || (on && v->ending))
		return;
	v->listening = on;
	if (!on) {
		loop_watch_remove(&v->listen);
		return;
	}
	memset(&v->listen, 0, sizeof(v->listen));
	v->listen.ready = on_connect;
	v->listen.fd = v->fd;
	v->listen.events = POLLIN;
	loop_watch_add(v->loop, &v->listen);
}

/* What the options ask for, *queues among it; NULL: they do not fit together. */
static const struct vu_kind *choose_kind(const struct vhost_user_options *o, unsigned *queues,
					 GError **error)
{
	const struct vu_kind *kind = o->disk.node ? &vu_kind_blk : &vu_kind_scsi;

	*queues = o->max_queues ? o->max_queues : kind->default_queues;
	if (*queues > kind->max_queues) {
		err_set(error, EINVAL, "queues=%u: must be 1 to %u", *queues, kind->max_queues);
		return NULL;
	}
	if (!o->disk.node && (!o->n_targets || o->n_targets > VHOST_USER_TARGETS_MAX)) {
		err_set(error, EINVAL, "%u drives on one controller: must be 1 to %d", o->n_targets,
			VHOST_USER_TARGETS_MAX);
		return NULL;
	}
	return kind;
}

struct vhost_user *vhost_user_new(struct loop *loop, const struct vhost_user_options *o,
				  GError **error)
{
	unsigned queues;
	const struct vu_kind *kind = choose_kind(o, &queues, error);
	struct vhost_user *v;

	if (!kind)
		return NULL;
	v = g_new0(struct vhost_user, 1);
	v->loop = loop;
	v->kind = kind;
	v->retry.fire = accept_again;
	v->fd = sock_listen_unix(o->path, error);
	if (v->fd < 0) {
		g_free(v);
		return NULL;
	}
	v->path = g_strdup(o->path);
	v->packed = o->packed;
	v->config = o->config || o->disk.node;
	v->n_rings = queues + kind->other_queues;
	v->max_clients = o->max_clients ? o->max_clients : 1;
	v->conns = g_new0(struct vu_conn *, v->max_clients);
	v->disk = o->disk;
	v->disk.serial = g_strdup(o->disk.serial);
	v->n_targets = o->disk.node ? 0 : o->n_targets;
	for (unsigned i = 0; i < v->n_targets; i++)
		v->targets[i] = o->targets[i];
	vu_listen(v, true);
	return v;
}

static bool has_conns(const struct vhost_user *v)
{
	for (unsigned i = 0; i < v->max_clients; i++) {
		if (v->conns[i])
			return true;
	}
	return false;
}

co_fn void vhost_user_free(struct vhost_user *v)
{
	if (!v)
		return;
	v->ending = true;
	vu_listen(v, false);
	loop_timer_cancel(&v->retry);
	for (unsigned i = 0; i < v->max_clients; i++) {
		struct vu_conn *c = v->conns[i];

		/* wakes the connection; the front end sees the end only when its rings are at rest
		 */
		if (c && !c->closing)
			shutdown(c->fd, c->sending ? SHUT_RDWR : SHUT_RD);
	}
	while (has_conns(v))
		co_queue_wait(&v->gone);
	unlink(v->path);
	close(v->fd);
	g_free(v->conns);
	g_free((char *)v->disk.serial);
	g_free(v->path);
	g_free(v);
}

co_fn void vhost_user_set_target(struct vhost_user *v, unsigned target, struct scsi_lu *lu)
{
	v->targets[target] = lu;
	if (target >= v->n_targets)
		v->n_targets = target + 1;
	for (unsigned i = 0; i < v->max_clients; i++) {
		struct vu_conn *c = v->conns[i];

		if (!c)
			continue;
		c->busy++;
		virtio_scsi_set_target(c->device, target, lu);
		c->busy--;
	}
}

void vhost_user_disk_resized(struct vhost_user *v)
{
	for (unsigned i = 0; i < v->max_clients; i++) {
		if (v->conns[i])
			vu_config_changed(v->conns[i]);
	}
}

void vhost_user_get_stats(const struct vhost_user *v, struct vhost_user_stats *out)
{
	*out = v->stats;
	for (unsigned i = 0; i < v->max_clients; i++) {
		if (!v->conns[i])
			continue;
		out->clients += !v->conns[i]->closing;
		out->requests += virtio_device_requests(v->conns[i]->device);
	}
}
