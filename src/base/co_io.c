/* The coroutine forms of the loop's operations: submit, wait for done, return its result. */
#include "base/co.h"

#include <errno.h>
#include <poll.h>

#include "base/loop_impl.h"

struct co_op {
	struct loop_op op;
	struct co *co;
};

static void co_op_done(struct loop_op *op, int res)
{
	(void)res; /* stays in op->res */
	co_resume(((struct co_op *)op)->co);
}

static struct co_op co_op_init(void)
{
	return (struct co_op){.op.done = co_op_done, .co = co_self()};
}

co_fn int co_preadv(int fd, const struct iovec *iov, unsigned n, uint64_t off)
{
	struct co_op c = co_op_init();

	loop_preadv(co_loop(), &c.op, fd, iov, n, off);
	co_wait();
	return c.op.res;
}

co_fn int co_pwritev(int fd, const struct iovec *iov, unsigned n, uint64_t off, int rw_flags)
{
	struct co_op c = co_op_init();

	loop_pwritev(co_loop(), &c.op, fd, iov, n, off, rw_flags);
	co_wait();
	return c.op.res;
}

co_fn int co_fsync(int fd, bool data_only)
{
	struct co_op c = co_op_init();

	loop_fsync(co_loop(), &c.op, fd, data_only);
	co_wait();
	return c.op.res;
}

co_fn int co_fallocate(int fd, int mode, uint64_t off, uint64_t len)
{
	struct co_op c = co_op_init();

	loop_fallocate(co_loop(), &c.op, fd, mode, off, len);
	co_wait();
	return c.op.res;
}

co_fn int job_run(int (*fn)(void *arg), void *arg)
{
	struct co_op c = co_op_init();

	loop_job(co_loop(), &c.op, fn, arg);
	co_wait();
	return c.op.res;
}

struct sleeper {
	struct loop_timer timer;
	struct co *co;
};

static void sleeper_fire(struct loop_timer *t)
{
	co_resume(((struct sleeper *)t)->co);
}

co_fn void co_sleep_ns(uint64_t ns)
{
	struct sleeper s = {.timer.fire = sleeper_fire, .co = co_self()};

	loop_timer_set(co_loop(), &s.timer, loop_now_ns() + ns);
	co_wait();
}

struct poller {
	struct loop_watch watch;
	struct loop_timer timer;
	struct co *co;
	unsigned events;
};

static void poller_end(struct poller *p, unsigned events)
{
	p->events = events;
	loop_watch_remove(&p->watch);
	loop_timer_cancel(&p->timer);
	co_resume(p->co);
}

static void poller_ready(struct loop_watch *w, unsigned events)
{
	poller_end((struct poller *)w, events);
}

static void poller_fire(struct loop_timer *t)
{
	poller_end((struct poller *)((char *)t - offsetof(struct poller, timer)), 0);
}

co_fn int co_poll(int fd, unsigned events, uint64_t deadline_ns)
{
	struct poller p = {
		.watch = {.ready = poller_ready, .fd = fd, .events = events},
		.timer.fire = poller_fire,
		.co = co_self(),
	};

	loop_watch_add(co_loop(), &p.watch);
	if (deadline_ns)
		loop_timer_set(co_loop(), &p.timer, deadline_ns);
	co_wait();
	return p.events & POLLNVAL ? -EBADF : (int)p.events;
}
