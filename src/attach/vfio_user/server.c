/*
 * The vfio-user server's socket and its connections.
 *
 * Everybody who connects is listened to until VERSION; whoever comes while another client has the
 * function learns EBUSY there, and leaves in the orderly way: a socket closed over an unread
 * request makes QEMU abort.
 */
#include "attach/vfio_user/impl.h"
#include "base/sock.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RETRY_NS = 1000000000 };

static void accept_again(struct loop_timer *t)
{
	vfu_listen((struct vfio_user *)((char *)t - offsetof(struct vfio_user, retry)), true);
}

static void on_connect(struct loop_watch *w, unsigned events)
{
	struct vfio_user *v = (struct vfio_user *)((char *)w - offsetof(struct vfio_user, listen));
	int fd;

	(void)events;
	if (v->n_conns >= VFU_CONNS_MAX) { /* the rest waits in the backlog until one has ended */
		log_limited(&v->limit, LOG_WARN, "vfio-user",
			    "%s: %u clients at once, further ones must wait", v->path, v->n_conns);
		vfu_listen(v, false);
		return;
	}
	fd = accept4(v->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0) {
		vfu_conn_new(v, fd);
		return;
	}
	if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
		return;
	log_limited(&v->limit, LOG_ERROR, "vfio-user", "%s: cannot accept: %s", v->path,
		    g_strerror(errno));
	vfu_listen(v, false); /* the connection stays ready: do not spin on it */
	loop_timer_set(v->loop, &v->retry, loop_now_ns() + RETRY_NS);
}

void vfu_listen(struct vfio_user *v, bool on)
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

struct vfio_user *vfio_user_new(struct loop *loop, const struct vfio_user_options *o,
				GError **error)
{
	struct vfio_user *v = g_new0(struct vfio_user, 1);

	v->loop = loop;
	v->function = o->function;
	v->retry.fire = accept_again;
	v->fd = sock_listen_unix(o->path, error);
	if (v->fd < 0) {
		g_free(v);
		return NULL;
	}
	v->path = g_strdup(o->path);
	vfu_listen(v, true);
	return v;
}

static void end_conns(void *arg)
{
	struct vfio_user *v = arg;

	for (struct vfu_conn *c = v->conns; c; c = c->next)
		vfu_conn_end(c);
}

co_fn void vfio_user_disconnect(struct vfio_user *v)
{
	pci_on_loop_stack(end_conns, v);
}

co_fn void vfio_user_free(struct vfio_user *v)
{
	if (!v)
		return;
	v->ending = true;
	vfu_listen(v, false);
	loop_timer_cancel(&v->retry);
	vfio_user_disconnect(v);
	while (v->conns)
		co_queue_wait(&v->gone);
	unlink(v->path);
	close(v->fd);
	g_free(v->path);
	g_free(v);
}

void vfio_user_get_stats(const struct vfio_user *v, struct vfio_user_stats *out)
{
	*out = v->stats;
	for (const struct vfu_conn *c = v->conns; c; c = c->next)
		out->clients += c->state == VFU_ATTACHED;
}
