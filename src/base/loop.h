/*
 * The event loop: one a thread, on io_uring or (where that is refused) on epoll with worker
 * threads.
 *
 * Everything here except loop_post(), loop_call() and loop_stop() is for the loop's own thread. A
 * turn: reap completions, run what became ready, submit once, sleep. The primitive is struct
 * loop_op, embedded in the request that waits for it: its done() runs exactly once, on the loop,
 * never before the submitting call returned. Code with more than one step uses the coroutine forms
 * in co.h instead.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct loop;

enum loop_backend {
	LOOP_AUTO, /* OUTBOARD_LOOP=uring|epoll if set, else io_uring where the host allows it */
	LOOP_URING,
	LOOP_EPOLL,
};

/*
 * An asynchronous operation; zero it before its first use. The memory is the loop's until done()
 * ran.
 */
struct loop_op {
	void (*done)(struct loop_op *op, int res); /* res: count or -errno */
	/* the loop's own */
	struct loop_op *next;
	struct loop *loop;
	int res;
	uint8_t kind, state;
	int fd, arg;
	uint64_t off;
	const void *ptr;
	uint64_t len;
	int (*job)(void *arg);
};

/*
 * Something to run once on a loop. Zero it before use; it may be posted again once run() was
 * called.
 */
struct loop_task {
	void (*run)(struct loop_task *task);
	struct loop_task *next;
	unsigned pending; /* atomic: queued and not yet run; posting again then changes nothing */
};

struct loop_timer {
	void (*fire)(struct loop_timer *timer);
	uint64_t deadline_ns;
	struct loop *loop;
	unsigned heap_index; /* 0: not set */
	uint64_t seq;        /* the loop's own: equal deadlines fire in the order they were set */
};

/* A descriptor watched until loop_watch_remove(); level-triggered; events as in poll(2). */
struct loop_watch {
	void (*ready)(struct loop_watch *watch, unsigned events);
	int fd;
	unsigned events;
	struct loop *loop;
	void *priv; /* the loop's own */
};

struct loop *loop_new(enum loop_backend backend, GError **error);
/* Nothing may be in flight on it any more. NULL is fine. */
void loop_free(struct loop *loop);
enum loop_backend loop_get_backend(const struct loop *loop);
const char *loop_backend_name(const struct loop *loop);

/* Runs turns until loop_stop(); the calling thread is the loop's thread from the first call on. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop); /* any thread */
struct loop *loop_current(void);   /* of the calling thread, or NULL; set while loop_run() runs */

uint64_t loop_now_ns(void); /* CLOCK_MONOTONIC */

/*
 * Any thread, also signal-safe code of plug-ins: run(task) on the loop soon, in posting order a
 * thread.
 */
void loop_post(struct loop *loop, struct loop_task *task);
/* From a thread that is no loop: fn(arg) as a coroutine on the loop; returns when it did. */
void loop_call(struct loop *loop, void (*fn)(void *arg), void *arg);
/*
 * On the loop: at the end of the present turn, before it sleeps. Where queues are signalled once a
 * turn.
 */
void loop_at_turn_end(struct loop *loop, struct loop_task *task);

void loop_timer_set(struct loop *loop, struct loop_timer *timer, uint64_t deadline_ns);
void loop_timer_cancel(struct loop_timer *timer); /* also one that is not set */

void loop_watch_add(struct loop *loop, struct loop_watch *watch);
void loop_watch_modify(struct loop_watch *watch, unsigned events);
/* ready() is not called any more once this returned, not even for an event already reaped. */
void loop_watch_remove(struct loop_watch *watch);

/*
 * Something that shows in memory, written by another thread or a guest, which is looked at for a
 * short while instead of sleeping until an event tells of it. Zero it before its first use.
 */
struct loop_poller {
	bool (*look)(struct loop_poller *p);            /* cheap, changes nothing: has it come? */
	void (*done)(struct loop_poller *p, bool come); /* once: it has, or its time is over */
	uint64_t deadline_ns;
	struct loop *loop; /* not NULL: being looked at */
	struct loop_poller *next;
};
/* On the loop: until then it does not sleep. It must not be looked at already. */
void loop_poll(struct loop *loop, struct loop_poller *poller, uint64_t deadline_ns);
void loop_poll_cancel(struct loop_poller *poller); /* also one that is not looked at */

/*
 * Calls fn on the loop whenever the process gets signo (blocks it in this thread; block it before
 * other threads start).
 */
bool loop_on_signal(struct loop *loop, int signo, void (*fn)(int signo, void *arg), void *arg,
		    GError **error);

/*
 * On files and block devices (not pipes or sockets). iov must stay valid until done; rw_flags as in
 * pwritev2(2).
 */
void loop_preadv(struct loop *loop, struct loop_op *op, int fd, const struct iovec *iov, unsigned n,
		 uint64_t off);
void loop_pwritev(struct loop *loop, struct loop_op *op, int fd, const struct iovec *iov,
		  unsigned n, uint64_t off, int rw_flags);
void loop_fsync(struct loop *loop, struct loop_op *op, int fd, bool data_only);
void loop_fallocate(struct loop *loop, struct loop_op *op, int fd, int mode, uint64_t off,
		    uint64_t len);
/* Runs fn(arg) in a worker thread; done's res is what fn returned. */
void loop_job(struct loop *loop, struct loop_op *op, int (*fn)(void *arg), void *arg);

/* For tests and "stats": turns, posts, submissions so far. */
struct loop_stats {
	uint64_t turns, posts, ops, submits, timers;
};
void loop_get_stats(const struct loop *loop, struct loop_stats *out);
