/*
 * The core of the loop: turns, posts from other threads, and what both back ends have in common.
 *
 * Posting pushes on a lock-free stack that the loop takes as a whole and reverses. The loop says
 * that it sleeps in "sleeping" before it looks at that stack for the last time, and a poster looks
 * at "sleeping" after its push, both sequentially consistent: so one of them sees the other, and
 * the eventfd is only written to for a loop that sleeps, once.
 */
#include "base/loop_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/co.h"
#include "base/err.h"
#include "base/sanitizer.h"
#include "base/workers.h"
#include "outboard-config.h"

static __thread struct loop *current;

struct loop *loop_current(void)
{
	return current;
}

struct loop *loop_swap_current(struct loop *l)
{
	struct loop *old = current;

	current = l;
	return old;
}

static bool open_uring(struct loop *l, GError **error)
{
#ifdef HAVE_URING
	l->ops = &loop_uring_ops;
	if (l->ops->open(l, error))
		return true;
	l->ops->close(l);
	return false;
#else
	(void)l;
	return err_set(error, ENOSYS,
		       "this build has no io_uring (OUTBOARD_LOOP=epoll does without)");
#endif
}

static bool open_epoll(struct loop *l, GError **error)
{
	l->ops = &loop_epoll_ops;
	if (l->ops->open(l, error))
		return true;
	l->ops->close(l);
	return false;
}

static bool open_backend(struct loop *l, enum loop_backend backend, GError **error)
{
	const char *name = getenv("OUTBOARD_LOOP");

	if (backend == LOOP_AUTO && name && *name) {
		if (strcmp(name, "uring") == 0)
			backend = LOOP_URING;
		else if (strcmp(name, "epoll") == 0)
			backend = LOOP_EPOLL;
		else {
			return err_set(error, EINVAL,
				       "environment variable OUTBOARD_LOOP is \"%s\", "
				       "must be \"uring\" or \"epoll\"",
				       name);
		}
	}
	switch (backend) {
	case LOOP_URING: return open_uring(l, error);
	case LOOP_EPOLL: return open_epoll(l, error);
	case LOOP_AUTO: break;
	}
	/* valgrind (3.19) lets no other thread run while one sleeps in io_uring_enter. */
	if (!runs_on_valgrind() && open_uring(l, NULL))
		return true;
	return open_epoll(l, error);
}

struct loop *loop_new(enum loop_backend backend, GError **error)
{
	struct loop *l = g_new0(struct loop, 1);

	l->turn_end_tail = &l->turn_end;
	l->pollers_tail = &l->pollers;
	l->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (l->event_fd < 0) {
		err_set_errno(error, errno, "cannot make an eventfd for the event loop");
		g_free(l);
		return NULL;
	}
	if (!open_backend(l, backend, error)) {
		close(l->event_fd);
		g_free(l);
		return NULL;
	}
	return l;
}

void loop_free(struct loop *l)
{
	if (!l)
		return;
	assert(!l->running && l->in_flight == 0);
	co_sched_fini(l);
	loop_signals_free(l);
	workers_free(l->workers);
	l->ops->close(l);
	close(l->event_fd);
	g_free(l->heap);
	g_free(l);
}

enum loop_backend loop_get_backend(const struct loop *l)
{
	return l->ops->id;
}

const char *loop_backend_name(const struct loop *l)
{
	return l->ops->name;
}

void loop_get_stats(const struct loop *l, struct loop_stats *out)
{
	*out = l->stats;
}

/* After something was made visible to the loop: ends its sleep if it sleeps. */
static void wake(struct loop *l)
{
	static const uint64_t one = 1;
	int saved = errno; /* the caller may be a signal handler */
	ssize_t n;

	if (!__atomic_load_n(&l->sleeping, __ATOMIC_SEQ_CST) ||
	    !__atomic_exchange_n(&l->sleeping, 0, __ATOMIC_SEQ_CST))
		return;
	do
		n = write(l->event_fd, &one, sizeof(one));
	while (n < 0 && errno == EINTR);
	errno = saved;
}

void loop_post(struct loop *l, struct loop_task *t)
{
	struct loop_task *head;

	if (__atomic_exchange_n(&t->pending, 1, __ATOMIC_ACQ_REL))
		return;
	head = __atomic_load_n(&l->posted, __ATOMIC_RELAXED);
	do
		t->next = head;
	while (!__atomic_compare_exchange_n(&l->posted, &head, t, true, __ATOMIC_SEQ_CST,
					    __ATOMIC_RELAXED));
	wake(l);
}

void loop_stop(struct loop *l)
{
	__atomic_store_n(&l->stop, 1, __ATOMIC_SEQ_CST);
	wake(l);
}

void loop_op_finished(struct loop_op *op)
{
	struct loop *l = op->loop;
	struct loop_op *head = __atomic_load_n(&l->finished, __ATOMIC_RELAXED);

	do
		op->next = head;
	while (!__atomic_compare_exchange_n(&l->finished, &head, op, true, __ATOMIC_SEQ_CST,
					    __ATOMIC_RELAXED));
	wake(l);
}

static void run_task(struct loop_task *t)
{
	__atomic_store_n(&t->pending, 0,
			 __ATOMIC_RELEASE); /* run() may post it again, or free it */
	t->run(t);
}

static void run_posts(struct loop *l)
{
	struct loop_task *t, *next, *list = NULL;

	if (!__atomic_load_n(&l->posted, __ATOMIC_RELAXED))
		return;
	for (t = __atomic_exchange_n(&l->posted, NULL, __ATOMIC_ACQUIRE); t; t = next) {
		next = t->next;
		t->next = list;
		list = t;
	}
	for (t = list; t; t = next) {
		next = t->next;
		l->stats.posts++;
		run_task(t);
	}
}

static void run_finished(struct loop *l)
{
	struct loop_op *op, *next, *list = NULL;

	if (!__atomic_load_n(&l->finished, __ATOMIC_RELAXED))
		return;
	for (op = __atomic_exchange_n(&l->finished, NULL, __ATOMIC_ACQUIRE); op; op = next) {
		next = op->next;
		op->next = list;
		list = op;
	}
	for (op = list; op; op = next) {
		next = op->next;
		loop_op_complete(op, op->res);
	}
}

/* Only those there now: a task that comes back from its own run() gets the next turn. */
static void run_turn_end(struct loop *l)
{
	struct loop_task *t = l->turn_end, *next;

	l->turn_end = NULL;
	l->turn_end_tail = &l->turn_end;
	for (; t; t = next) {
		next = t->next;
		run_task(t);
	}
}

void loop_at_turn_end(struct loop *l, struct loop_task *t)
{
	assert(!current || current == l);
	if (t->pending)
		return;
	t->pending = 1;
	t->next = NULL;
	*l->turn_end_tail = t;
	l->turn_end_tail = &t->next;
}

/* How long to sleep now; announces the sleep to posters if it is not 0. */
static int64_t sleep_time(struct loop *l)
{
	int64_t timeout;

	if (co_any_ready(l) || l->turn_end || l->pollers)
		return 0;
	timeout = loop_timers_timeout(l);
	if (timeout == 0)
		return 0;
	__atomic_store_n(&l->sleeping, 1, __ATOMIC_SEQ_CST);
	if (__atomic_load_n(&l->posted, __ATOMIC_SEQ_CST) ||
	    __atomic_load_n(&l->finished, __ATOMIC_SEQ_CST) ||
	    __atomic_load_n(&l->stop, __ATOMIC_SEQ_CST)) {
		__atomic_store_n(&l->sleeping, 0, __ATOMIC_RELAXED);
		return 0;
	}
	return timeout;
}

void loop_run(struct loop *l)
{
	assert(!current && !l->running);
	current = l;
	l->running = true;
	if (l->ops->enter)
		l->ops->enter(l);
	while (!__atomic_load_n(&l->stop, __ATOMIC_SEQ_CST)) {
		co_begin_turn(l);
		run_finished(l);
		run_posts(l);
		loop_timers_fire(l);
		co_run_ready(l);
		run_turn_end(l);
		co_run_ready(l); /* what the turn's end woke */
		l->ops->turn(l, sleep_time(l));
		__atomic_store_n(&l->sleeping, 0, __ATOMIC_RELAXED);
		l->stats.turns++;
		if (l->pollers)
			loop_pollers_run(l);
	}
	__atomic_store_n(&l->stop, 0, __ATOMIC_SEQ_CST);
	if (l->ops->leave)
		l->ops->leave(l);
	l->running = false;
	current = NULL;
}

struct call {
	struct loop_task task;
	struct loop *loop;
	void (*fn)(void *arg);
	void *arg;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
};

static co_fn void call_co(void *arg)
{
	struct call *c = arg;

	c->fn(c->arg);
	pthread_mutex_lock(&c->lock);
	c->done = true;
	pthread_cond_signal(&c->cond);
	pthread_mutex_unlock(&c->lock);
}

static void call_run(struct loop_task *t)
{
	struct call *c = (struct call *)((char *)t - offsetof(struct call, task));

	co_start(c->loop, call_co, c);
}

void loop_call(struct loop *l, void (*fn)(void *arg), void *arg)
{
	struct call c = {.task.run = call_run, .loop = l, .fn = fn, .arg = arg};

	assert(!current); /* a loop that blocks here would never get to it */
	pthread_mutex_init(&c.lock, NULL);
	pthread_cond_init(&c.cond, NULL);
	loop_post(l, &c.task);
	pthread_mutex_lock(&c.lock);
	while (!c.done)
		pthread_cond_wait(&c.cond, &c.lock);
	pthread_mutex_unlock(&c.lock);
	pthread_cond_destroy(&c.cond);
	pthread_mutex_destroy(&c.lock);
}

void loop_watch_add(struct loop *l, struct loop_watch *w)
{
	assert(!w->loop);
	w->loop = l;
	l->ops->watch_add(l, w);
}

void loop_watch_modify(struct loop_watch *w, unsigned events)
{
	assert(w->loop);
	if (w->events == events)
		return;
	w->events = events;
	w->loop->ops->watch_modify(w->loop, w);
}

void loop_watch_remove(struct loop_watch *w)
{
	struct loop *l = w->loop;

	if (!l)
		return;
	w->loop = NULL;
	l->ops->watch_remove(l, w);
}
