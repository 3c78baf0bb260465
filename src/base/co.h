/*
 * Stackful coroutines on a loop: requests as straight-line code.
 *
 * A coroutine belongs to the loop it was started on and never changes thread. Its stack is 64 KiB
 * (more under the sanitizers) with a guard page below, from a pool. A function that may yield is
 * marked co_fn; only co_fn calls co_fn. A yield is a hole in time: what was checked before must be
 * checked again or still hold.
 */
#pragma once

#include "base/loop.h"

#define co_fn /* may yield: call it from coroutines only */

struct co;

/* Runs fn(arg) at once, on the loop's thread, up to its first yield; then co_start() returns. */
void co_start(struct loop *loop, void (*fn)(void *arg), void *arg);
/* The running coroutine, or NULL on a loop's own stack. */
struct co *co_self(void);
struct loop *co_loop(void);
/* Sleeps until co_wake(); a wake-up that came first is not lost (one is remembered). */
co_fn void co_yield(void);
/* On the coroutine's own loop: makes it run later in this turn. */
void co_wake(struct co *co);
/* Lets everything else that is ready run first. */
co_fn void co_reschedule(void);
co_fn void co_sleep_ns(uint64_t ns);

/* File operations and jobs, as loop_*() but looking like calls; 0.. or -errno. */
co_fn int co_preadv(int fd, const struct iovec *iov, unsigned n, uint64_t off);
co_fn int co_pwritev(int fd, const struct iovec *iov, unsigned n, uint64_t off, int rw_flags);
co_fn int co_fsync(int fd, bool data_only);
co_fn int co_fallocate(int fd, int mode, uint64_t off, uint64_t len);
co_fn int job_run(int (*fn)(void *arg), void *arg);

/*
 * Waits until fd has one of events (poll bits); returns them, or -errno; 0 when deadline_ns (0:
 * none) passed.
 */
co_fn int co_poll(int fd, unsigned events, uint64_t deadline_ns);

/* Waiters are served in order. All of these are for one loop; zero-initialised is ready for use. */
struct co_waiter;
struct co_queue { /* a list of sleeping coroutines */
	struct co_waiter *head, *tail;
};
co_fn void co_queue_wait(struct co_queue *q);
/* As co_queue_wait(), but gives up at deadline_ns and returns false. */
co_fn bool co_queue_wait_until(struct co_queue *q, uint64_t deadline_ns);
bool co_queue_wake_one(struct co_queue *q);
void co_queue_wake_all(struct co_queue *q);

struct co_mutex {
	struct co *owner;
	struct co_queue waiting;
};
co_fn void co_mutex_lock(struct co_mutex *m);
void co_mutex_unlock(struct co_mutex *m);

/* Many readers or one writer; a waiting writer keeps later readers out. */
struct co_rwlock {
	unsigned readers;
	bool writing;
	struct co_queue waiting;
};
co_fn void co_rwlock_rdlock(struct co_rwlock *l);
co_fn void co_rwlock_wrlock(struct co_rwlock *l);
void co_rwlock_unlock(struct co_rwlock *l);

struct co_sem {
	unsigned count;
	struct co_queue waiting;
};
co_fn void co_sem_get(struct co_sem *s);
void co_sem_put(struct co_sem *s);

/* Requests in flight, and waiting until there are none: what reset, eject and close go through. */
struct co_drain {
	unsigned in_flight;
	struct co_queue waiting;
};
static inline void co_drain_enter(struct co_drain *d)
{
	d->in_flight++;
}
void co_drain_leave(struct co_drain *d);
co_fn void co_drain_wait(struct co_drain *d);
