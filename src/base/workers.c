/*
 * The worker pool: one queue under one lock. A thread that found no work for IDLE_SECONDS marks its
 * slot and ends; the slot is joined when it is used again or when the pool is freed.
 */
#include "base/workers.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "base/loop_impl.h"

enum { MAX_WORKERS = 16, IDLE_SECONDS = 5 };

struct worker_slot {
	struct workers *pool;
	pthread_t thread;
	bool to_join; /* the loop's thread only */
	bool running; /* under the lock */
};

struct workers {
	pthread_mutex_t lock;
	pthread_cond_t work;
	struct loop_op *head, **tail;
	unsigned n_queued, n_idle, n_threads;
	bool ending;
	struct worker_slot slots[MAX_WORKERS];
};

struct workers *workers_new(void)
{
	struct workers *w = g_new0(struct workers, 1);
	pthread_condattr_t attr;

	pthread_mutex_init(&w->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&w->work, &attr);
	pthread_condattr_destroy(&attr);
	w->tail = &w->head;
	return w;
}

void workers_free(struct workers *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	assert(!w->head);
	w->ending = true;
	pthread_cond_broadcast(&w->work);
	pthread_mutex_unlock(&w->lock);
	for (unsigned i = 0; i < MAX_WORKERS; i++)
		if (w->slots[i].to_join)
			pthread_join(w->slots[i].thread, NULL);
	pthread_cond_destroy(&w->work);
	pthread_mutex_destroy(&w->lock);
	g_free(w);
}

/* With the lock held: the next operation, or NULL when the thread has to end. */
static struct loop_op *next_op(struct workers *w)
{
	struct loop_op *op;
	struct timespec until;
	int err = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += IDLE_SECONDS;
	w->n_idle++;
	while (!w->head && !w->ending && err != ETIMEDOUT)
		err = pthread_cond_timedwait(&w->work, &w->lock, &until);
	w->n_idle--;
	op = w->head;
	if (!op)
		return NULL;
	w->head = op->next;
	if (!w->head)
		w->tail = &w->head;
	w->n_queued--;
	return op;
}

static void *worker_main(void *arg)
{
	struct worker_slot *slot = arg;
	struct workers *w = slot->pool;
	struct loop_op *op;

	pthread_mutex_lock(&w->lock);
	while ((op = next_op(w))) {
		pthread_mutex_unlock(&w->lock);
		op->res = loop_op_perform(op);
		loop_op_finished(op);
		pthread_mutex_lock(&w->lock);
	}
	slot->running = false;
	w->n_threads--;
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* With the lock held. Signals stay with the threads that asked for them. */
static void start_worker(struct workers *w)
{
	struct worker_slot *slot = w->slots;
	sigset_t all, old;
	int err;

	while (slot->running)
		slot++;
	if (slot->to_join)
		pthread_join(slot->thread, NULL);
	slot->pool = w;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&slot->thread, NULL, worker_main, slot);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	slot->to_join = slot->running = !err;
	if (err) {
		if (w->n_threads == 0)
			g_error("cannot start a worker thread: %s", g_strerror(err));
		return; /* those that exist will do it */
	}
	w->n_threads++;
}

void workers_push(struct workers *w, struct loop_op *op)
{
	op->next = NULL;
	pthread_mutex_lock(&w->lock);
	*w->tail = op;
	w->tail = &op->next;
	w->n_queued++;
	if (w->n_queued > w->n_idle && w->n_threads < MAX_WORKERS)
		start_worker(w);
	if (w->n_idle)
		pthread_cond_signal(&w->work);
	pthread_mutex_unlock(&w->lock);
}
