/*
 * The loop on epoll, for hosts without io_uring: descriptors are watched here, file operations go
 * to the worker threads.
 *
 * A watch has a record of its own, since events already reaped may name one that was removed
 * meanwhile: its record then lies on the dead list until the batch is through. Two watches on one
 * descriptor need a duplicate of it, because epoll knows it only once. What epoll refuses (regular
 * files, bad descriptors) is reported in each turn, as poll(2) would.
 */
#include "base/loop_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/err.h"
#include "base/sanitizer.h"

enum { BATCH = 64, MAX_SPARE = 64 };

struct ep_watch {
	struct loop_watch *w;  /* NULL: removed */
	struct ep_watch *next; /* among the dead, the spare or the refused */
	int fd;                /* as epoll knows it */
	bool is_dup;
	unsigned refused; /* what is reported each turn, if epoll did not take it */
};

struct ep {
	int fd;
	bool no_pwait2;
	struct ep_watch *dead, *spare, *refused;
	unsigned n_spare;
};

static bool ep_open(struct loop *l, GError **error)
{
	struct ep *ep = g_new0(struct ep, 1);
	/* Edge-triggered: each write wakes once more, so that nobody needs to read it. */
	struct epoll_event ev = {.events = EPOLLIN | EPOLLET};

	l->be = ep;
	ep->no_pwait2 = runs_on_valgrind(); /* 3.19 does not know it, and says so each time */
	ep->fd = epoll_create1(EPOLL_CLOEXEC);
	if (ep->fd < 0)
		return err_set_errno(error, errno, "cannot make an epoll descriptor");
	if (epoll_ctl(ep->fd, EPOLL_CTL_ADD, l->event_fd, &ev) < 0)
		return err_set_errno(error, errno, "cannot watch the eventfd of the event loop");
	return true;
}

static void free_list(struct ep_watch *list)
{
	while (list) {
		struct ep_watch *next = list->next;

		g_free(list);
		list = next;
	}
}

static void ep_close(struct loop *l)
{
	struct ep *ep = l->be;

	if (!ep)
		return;
	if (ep->fd >= 0)
		close(ep->fd);
	free_list(ep->dead);
	free_list(ep->spare);
	free_list(ep->refused);
	g_free(ep);
	l->be = NULL;
}

static void ep_submit(struct loop *l, struct loop_op *op)
{
	l->stats.submits++;
	loop_op_to_worker(op);
}

static void ep_refuse(struct ep *ep, struct ep_watch *e, unsigned events)
{
	e->refused = events;
	e->next = ep->refused;
	ep->refused = e;
}

static void ep_watch_add(struct loop *l, struct loop_watch *w)
{
	struct ep *ep = l->be;
	struct ep_watch *e = ep->spare;
	struct epoll_event ev = {.events = w->events};

	if (e) {
		ep->spare = e->next;
		ep->n_spare--;
	} else {
		e = g_new(struct ep_watch, 1);
	}
	*e = (struct ep_watch){.w = w, .fd = w->fd};
	w->priv = ev.data.ptr = e;
	if (epoll_ctl(ep->fd, EPOLL_CTL_ADD, e->fd, &ev) == 0)
		return;
	if (errno == EEXIST) {
		e->fd = fcntl(w->fd, F_DUPFD_CLOEXEC, 0);
		e->is_dup = e->fd >= 0;
		if (e->is_dup && epoll_ctl(ep->fd, EPOLL_CTL_ADD, e->fd, &ev) == 0)
			return;
	}
	ep_refuse(ep, e, errno == EPERM ? POLLIN | POLLOUT : errno == EBADF ? POLLNVAL : POLLERR);
}

static void ep_watch_modify(struct loop *l, struct loop_watch *w)
{
	struct ep *ep = l->be;
	struct ep_watch *e = w->priv;
	struct epoll_event ev = {.events = w->events, .data.ptr = e};

	if (!e->refused && epoll_ctl(ep->fd, EPOLL_CTL_MOD, e->fd, &ev) < 0)
		ep_refuse(ep, e, POLLNVAL);
}

static void ep_watch_remove(struct loop *l, struct loop_watch *w)
{
	struct ep *ep = l->be;
	struct ep_watch *e = w->priv;

	w->priv = NULL;
	e->w = NULL;
	if (!e->refused)
		epoll_ctl(ep->fd, EPOLL_CTL_DEL, e->fd, NULL); /* fails if it was closed already */
	if (e->is_dup)
		close(e->fd);
	if (e->refused)
		return; /* report_refused() finds it */
	e->next = ep->dead;
	ep->dead = e;
}

static void ep_bury(struct ep *ep)
{
	while (ep->dead) {
		struct ep_watch *e = ep->dead;

		ep->dead = e->next;
		if (ep->n_spare < MAX_SPARE) {
			e->next = ep->spare;
			ep->spare = e;
			ep->n_spare++;
		} else {
			g_free(e);
		}
	}
}

static void ep_report_refused(struct ep *ep)
{
	struct ep_watch *list = ep->refused, *e;

	ep->refused = NULL;
	while ((e = list)) {
		list = e->next;
		if (e->w) {
			struct loop_watch *w = e->w;
			unsigned events = e->refused & (w->events | POLLERR | POLLNVAL);

			ep_refuse(ep, e, e->refused);
			if (events)
				w->ready(w, events);
		} else {
			e->next = ep->dead;
			ep->dead = e;
		}
	}
}

static int ep_wait(struct ep *ep, struct epoll_event *events, int64_t timeout_ns)
{
	struct timespec ts = {timeout_ns / 1000000000, timeout_ns % 1000000000};
	int64_t ms = timeout_ns < 0 ? -1 : timeout_ns / 1000000 + (timeout_ns % 1000000 != 0);
	int n;

	if (timeout_ns > 0 && !ep->no_pwait2) {
		n = epoll_pwait2(ep->fd, events, BATCH, &ts, NULL);
		if (n >= 0 || errno != ENOSYS)
			return n;
		ep->no_pwait2 = true;
	}
	return epoll_wait(ep->fd, events, BATCH, ms > INT_MAX ? INT_MAX : (int)ms);
}

static void ep_turn(struct loop *l, int64_t timeout_ns)
{
	struct ep *ep = l->be;
	struct epoll_event events[BATCH];
	int n;

	ep_bury(ep);
	n = ep_wait(ep, events, ep->refused ? 0 : timeout_ns);
	__atomic_store_n(&l->sleeping, 0, __ATOMIC_RELAXED);
	for (int i = 0; i < n; i++) {
		struct ep_watch *e = events[i].data.ptr;

		if (e && e->w) /* NULL: the eventfd */
			e->w->ready(e->w, events[i].events);
	}
	ep_report_refused(ep);
}

const struct loop_backend_ops loop_epoll_ops = {
	.id = LOOP_EPOLL,
	.name = "epoll",
	.open = ep_open,
	.close = ep_close,
	.submit = ep_submit,
	.turn = ep_turn,
	.watch_add = ep_watch_add,
	.watch_modify = ep_watch_modify,
	.watch_remove = ep_watch_remove,
};
