/*
 * Timers and posts of a device. A timer of a machine that stands still keeps what is left of it in
 * place of a deadline. Posts go through one task of the loop; their order is that of the lock.
 */
#include "device/device_impl.h"

#include <errno.h>

static void on_fire(struct loop_timer *timer)
{
	struct ob_timer *t = (struct ob_timer *)timer;

	t->is_set = false;
	t->fire(&t->d->dev, t->arg);
}

struct ob_timer *api_timer_new(struct ob_dev *dev, void (*fire)(struct ob_dev *dev, void *arg),
			       void *arg)
{
	struct device *d = device_of(dev);
	struct ob_timer *t = g_new0(struct ob_timer, 1);

	t->timer.fire = on_fire;
	t->d = d;
	t->fire = fire;
	t->arg = arg;
	t->next = d->timers;
	if (t->next)
		t->next->prev = t;
	d->timers = t;
	return t;
}

static void run_timer(struct ob_timer *t, uint64_t delay_ns)
{
	uint64_t now = loop_now_ns();

	loop_timer_set(t->d->loop, &t->timer,
		       delay_ns < UINT64_MAX - now ? now + delay_ns : UINT64_MAX);
}

void api_timer_set(struct ob_timer *t, uint64_t delay_ns)
{
	api_timer_cancel(t);
	t->is_set = true;
	t->left_ns = delay_ns;
	if (!t->d->stopped)
		run_timer(t, delay_ns);
}

void api_timer_cancel(struct ob_timer *t)
{
	if (t->is_set && !t->d->stopped)
		loop_timer_cancel(&t->timer);
	t->is_set = false;
}

static uint64_t left_of(const struct ob_timer *t)
{
	uint64_t now = loop_now_ns();

	if (t->d->stopped)
		return t->left_ns;
	return t->timer.deadline_ns > now ? t->timer.deadline_ns - now : 0;
}

int api_timer_left_ns(const struct ob_timer *t, uint64_t *left_ns)
{
	if (t->is_set && left_ns)
		*left_ns = left_of(t);
	return t->is_set;
}

void api_timer_free(struct ob_timer *t)
{
	if (!t)
		return;
	api_timer_cancel(t);
	if (t->prev)
		t->prev->next = t->next;
	else
		t->d->timers = t->next;
	if (t->next)
		t->next->prev = t->prev;
	g_free(t);
}

void timers_stop(struct device *d)
{
	if (d->stopped)
		return;
	for (struct ob_timer *t = d->timers; t; t = t->next) {
		if (!t->is_set)
			continue;
		t->left_ns = left_of(t);
		loop_timer_cancel(&t->timer);
	}
	d->stopped = true;
}

void timers_start(struct device *d)
{
	if (!d->stopped)
		return;
	d->stopped = false;
	for (struct ob_timer *t = d->timers; t; t = t->next) {
		if (t->is_set)
			run_timer(t, t->left_ns);
	}
}

static struct device_post *take_posts(struct device *d)
{
	struct device_post *list;

	pthread_mutex_lock(&d->lock);
	list = d->posts;
	d->posts = NULL;
	d->posts_tail = &d->posts;
	pthread_mutex_unlock(&d->lock);
	return list;
}

static void run_posts(struct loop_task *task)
{
	struct device *d = (struct device *)((char *)task - offsetof(struct device, post_task));
	struct device_post *p, *next;

	for (p = take_posts(d); p; p = next) {
		next = p->next;
		if (d->opened)
			p->fn(&d->dev, p->arg);
		g_free(p);
	}
}

void posts_init(struct device *d)
{
	d->posts_tail = &d->posts;
	d->post_task.run = run_posts;
}

int api_post(struct ob_dev *dev, void (*fn)(struct ob_dev *dev, void *arg), void *arg)
{
	struct device *d = device_of(dev);
	struct device_post *p = g_new(struct device_post, 1);
	bool closed;

	*p = (struct device_post){NULL, fn, arg};
	pthread_mutex_lock(&d->lock);
	closed = d->closed;
	if (!closed) {
		*d->posts_tail = p;
		d->posts_tail = &p->next;
		loop_post(d->loop, &d->post_task);
	}
	pthread_mutex_unlock(&d->lock);
	if (closed)
		g_free(p);
	return closed ? -ESHUTDOWN : 0;
}

void posts_close(struct device *d)
{
	struct device_post *p, *next;

	pthread_mutex_lock(&d->lock);
	d->closed = true;
	pthread_mutex_unlock(&d->lock);
	if (!d->posts_tail)
		return;
	for (p = take_posts(d); p; p = next) {
		next = p->next;
		g_free(p);
	}
}
