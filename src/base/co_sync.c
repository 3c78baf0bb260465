/*
 * Queues, mutex, reader-writer lock, semaphore and drain for the coroutines of one loop. What is
 * waited for is handed over by the one who wakes, not fought for after waking: so the order of
 * arrival holds.
 */
#include "base/co.h"

#include "base/loop_impl.h"

struct co_waiter {
	struct co *co;
	struct co_waiter *next;
	struct co_queue *queue;
	struct loop_timer timer;
	bool is_writer; /* of a rwlock */
	bool timed_out;
};

static void queue_add(struct co_queue *q, struct co_waiter *w)
{
	w->next = NULL;
	if (q->tail)
		q->tail->next = w;
	else
		q->head = w;
	q->tail = w;
}

static void queue_remove(struct co_queue *q, struct co_waiter *w)
{
	struct co_waiter *prev = NULL;

	if (q->head == w) {
		q->head = w->next;
	} else {
		for (prev = q->head; prev->next != w; prev = prev->next)
			;
		prev->next = w->next;
	}
	if (q->tail == w)
		q->tail = prev;
}

co_fn void co_queue_wait(struct co_queue *q)
{
	struct co_waiter w = {.co = co_self()};

	queue_add(q, &w);
	co_wait();
}

static void waiter_fire(struct loop_timer *t)
{
	struct co_waiter *w = (struct co_waiter *)((char *)t - offsetof(struct co_waiter, timer));

	w->timed_out = true;
	queue_remove(w->queue, w);
	co_resume(w->co);
}

co_fn bool co_queue_wait_until(struct co_queue *q, uint64_t deadline_ns)
{
	struct co_waiter w = {.co = co_self(), .queue = q, .timer.fire = waiter_fire};

	queue_add(q, &w);
	loop_timer_set(co_loop(), &w.timer, deadline_ns);
	co_wait();
	return !w.timed_out;
}

static struct co_waiter *queue_wake(struct co_queue *q)
{
	struct co_waiter *w = q->head;

	queue_remove(q, w);
	loop_timer_cancel(&w->timer);
	co_resume(w->co);
	return w;
}

bool co_queue_wake_one(struct co_queue *q)
{
	if (!q->head)
		return false;
	queue_wake(q);
	return true;
}

void co_queue_wake_all(struct co_queue *q)
{
	while (q->head)
		queue_wake(q);
}

co_fn void co_mutex_lock(struct co_mutex *m)
{
	struct co *self = co_self();

	assert(self && m->owner != self);
	if (!m->owner)
		m->owner = self;
	else
		co_queue_wait(&m->waiting);
	assert(m->owner == self);
}

void co_mutex_unlock(struct co_mutex *m)
{
	assert(m->owner && m->owner == co_self());
	m->owner = m->waiting.head ? queue_wake(&m->waiting)->co : NULL;
}

co_fn void co_rwlock_rdlock(struct co_rwlock *l)
{
	if (l->writing || l->waiting.head)
		co_queue_wait(&l->waiting);
	else
		l->readers++;
}

co_fn void co_rwlock_wrlock(struct co_rwlock *l)
{
	struct co_waiter w = {.co = co_self(), .is_writer = true};

	if (!l->writing && !l->readers) {
		l->writing = true;
		return;
	}
	queue_add(&l->waiting, &w);
	co_wait();
}

void co_rwlock_unlock(struct co_rwlock *l)
{
	assert(l->writing != (l->readers > 0));
	if (l->writing)
		l->writing = false;
	else if (--l->readers)
		return;
	if (l->waiting.head && l->waiting.head->is_writer) {
		l->writing = true;
		queue_wake(&l->waiting);
		return;
	}
	while (l->waiting.head && !l->waiting.head->is_writer) {
		l->readers++;
		queue_wake(&l->waiting);
	}
}

co_fn void co_sem_get(struct co_sem *s)
{
	if (s->count)
		s->count--;
	else
		co_queue_wait(&s->waiting);
}

void co_sem_put(struct co_sem *s)
{
	if (!co_queue_wake_one(&s->waiting))
		s->count++;
}

void co_drain_leave(struct co_drain *d)
{
	assert(d->in_flight > 0);
	if (--d->in_flight == 0)
		co_queue_wake_all(&d->waiting);
}

co_fn void co_drain_wait(struct co_drain *d)
{
	while (d->in_flight)
		co_queue_wait(&d->waiting);
}
