/*
 * Inside the loop: what its core, its two back ends, the worker pool and the coroutines share.
 * Nothing outside base/ includes this.
 */
#pragma once

#include <assert.h>

#include "base/loop.h"

struct co;
struct workers;

enum loop_op_kind { OP_READV = 1, OP_WRITEV, OP_FSYNC, OP_FALLOCATE, OP_JOB };
enum loop_op_state { OP_IDLE, OP_BUSY };

/*
 * A back end. turn() hands everything queued to the kernel, sleeps at most timeout_ns (-1: until
 * something happens, 0: not at all) and reaps: loop_op_complete() and watch callbacks run inside
 * it. A write to loop->event_fd ends the sleep; nobody reads that descriptor.
 */
struct loop_backend_ops {
	enum loop_backend id;
	const char *name;
	bool (*open)(struct loop *l, GError **error);
	void (*close)(struct loop *l); /* also half open */
	void (*enter)(struct loop *l); /* optional: this thread runs the loop from now on */
	void (*leave)(struct loop *l); /* optional: and no longer */
	void (*submit)(struct loop *l, struct loop_op *op); /* file operations, no jobs */
	void (*turn)(struct loop *l, int64_t timeout_ns);
	void (*watch_add)(struct loop *l, struct loop_watch *w);
	void (*watch_modify)(struct loop *l, struct loop_watch *w);
	void (*watch_remove)(struct loop *l, struct loop_watch *w);
	bool (*has_events)(const struct loop *l); /* optional, without a system call */
};

extern const struct loop_backend_ops loop_epoll_ops;
extern const struct loop_backend_ops loop_uring_ops;

/*
 * One side of a stack switch: where it stands, and what the sanitizers want to know of its stack.
 */
struct co_context {
	void *sp;
	const void *stack;
	size_t stack_len;
	void *fake_stack;
	void *fiber;
};

struct co_list {
	struct co *head, *tail;
};

struct co_sched {
	struct co *running;
	struct co_context main;      /* the loop's own stack */
	struct co_list ready;        /* run before this turn ends */
	struct co_list later;        /* co_reschedule(): in the next turn, which follows at once */
	struct co *idle;             /* the pool of stacks */
	unsigned n_idle, n_idle_min; /* the second since the last trimming */
	unsigned n_live;
	struct loop_timer trim;
};

struct loop_signals;

struct loop {
	const struct loop_backend_ops *ops;
	void *be; /* the back end's own */
	int event_fd;
	bool running;
	bool submitting;    /* inside a submitting call: no done() may run */
	unsigned in_flight; /* operations and jobs */

	/* Written by other threads, by atomic operations only. */
	struct loop_task *posted; /* newest first */
	struct loop_op *finished; /* by workers, newest first */
	unsigned sleeping;        /* whoever takes it from 1 to 0 writes to event_fd */
	unsigned stop;

	struct loop_task *turn_end, **turn_end_tail;
	struct loop_poller *pollers, **pollers_tail;
	struct loop_timer **heap; /* 1-based */
	unsigned n_timers, heap_size;
	uint64_t timer_seq;
	struct co_sched co;
	struct workers *workers; /* made by the first job */
	struct loop_signals *signals;
	struct loop_stats stats;
};

/* Runs op->done(). For back ends, from turn(). */
void loop_op_complete(struct loop_op *op, int res);
/* From a worker thread: op->res is set, complete it on its loop. */
void loop_op_finished(struct loop_op *op);
/* Performs the operation in this thread, which may block; count or -errno. */
int loop_op_perform(const struct loop_op *op);
/* Gives op to the worker pool of its loop. */
void loop_op_to_worker(struct loop_op *op);

/* Timers, timer.c. */
void loop_timers_fire(struct loop *l);
int64_t loop_timers_timeout(const struct loop *l); /* until the next one; -1: there is none */

void loop_signals_free(struct loop *l);

/* Looks at what is polled, for as long as there is nothing else to do; loop_poll.c. */
void loop_pollers_run(struct loop *l);

/* Those that let others run first become ready. */
void co_begin_turn(struct loop *l);
/* Runs coroutines until none is ready. */
void co_run_ready(struct loop *l);
static inline bool co_any_ready(const struct loop *l)
{
	return l->co.ready.head || l->co.later.head;
}
void co_sched_fini(struct loop *l);

/* Makes loop the current one where none is (before loop_run()); returns what it was. */
struct loop *loop_swap_current(struct loop *l);

/*
 * Waiting for one known event, apart from co_yield()/co_wake(): co_wait() returns after co_resume()
 * of this coroutine and nothing else; a co_wake() meanwhile is remembered for the next co_yield().
 */
void co_wait(void);
void co_resume(struct co *co);
