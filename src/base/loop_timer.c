/*
 * The timers of a loop: a binary heap from index 1 on, earliest first, and first set first among
 * equals.
 */
#include "base/loop_impl.h"

#include <time.h>

uint64_t loop_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static bool is_earlier(const struct loop_timer *a, const struct loop_timer *b)
{
	if (a->deadline_ns != b->deadline_ns)
		return a->deadline_ns < b->deadline_ns;
	return a->seq < b->seq;
}

static void heap_place(struct loop *l, unsigned i, struct loop_timer *t)
{
	l->heap[i] = t;
	t->heap_index = i;
}

/* Index i is free: moves it to where t belongs and puts t there. */
static void heap_settle(struct loop *l, unsigned i, struct loop_timer *t)
{
	while (i > 1 && is_earlier(t, l->heap[i / 2])) {
		heap_place(l, i, l->heap[i / 2]);
		i /= 2;
	}
	for (;;) {
		unsigned child = 2 * i;

		if (child > l->n_timers)
			break;
		if (child < l->n_timers && is_earlier(l->heap[child + 1], l->heap[child]))
			child++;
		if (!is_earlier(l->heap[child], t))
			break;
		heap_place(l, i, l->heap[child]);
		i = child;
	}
	heap_place(l, i, t);
}

void loop_timer_set(struct loop *l, struct loop_timer *t, uint64_t deadline_ns)
{
	if (t->heap_index)
		loop_timer_cancel(t);
	t->loop = l;
	t->deadline_ns = deadline_ns;
	t->seq = ++l->timer_seq;
	if (++l->n_timers >= l->heap_size) {
		l->heap_size = l->heap_size ? 2 * l->heap_size : 16;
		l->heap = g_renew(struct loop_timer *, l->heap, l->heap_size);
	}
	heap_settle(l, l->n_timers, t);
}

void loop_timer_cancel(struct loop_timer *t)
{
	struct loop *l = t->loop;
	unsigned i = t->heap_index;
	struct loop_timer *last;

	if (!i)
		return;
	assert(l->heap[i] == t);
	t->heap_index = 0;
	last = l->heap[l->n_timers--];
	if (last != t)
		heap_settle(l, i, last);
}

/* A timer set from a callback waits for the next turn, however early it is, so that this ends. */
void loop_timers_fire(struct loop *l)
{
	uint64_t newest = l->timer_seq, now;

	if (!l->n_timers)
		return;
	now = loop_now_ns();
	while (l->n_timers) {
		struct loop_timer *t = l->heap[1];

		if (t->deadline_ns > now || t->seq > newest)
			return;
		loop_timer_cancel(t);
		l->stats.timers++;
		t->fire(t);
	}
}

int64_t loop_timers_timeout(const struct loop *l)
{
	uint64_t now, left;

	if (!l->n_timers)
		return -1;
	now = loop_now_ns();
	if (l->heap[1]->deadline_ns <= now)
		return 0;
	left = l->heap[1]->deadline_ns - now;
	return left < INT64_MAX ? (int64_t)left : INT64_MAX;
}
