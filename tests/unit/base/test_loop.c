/* The loop's core: turns, posts, timers, calls, signals. */
#include "loop_test.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

enum { POSTERS = 4, POSTS = WITH_SANITIZER ? 5000 : 25000 };

struct posted {
	struct loop_task task;
	struct poster *poster;
	unsigned number;
};

struct poster {
	struct loop *loop;
	struct posted *posts;
	unsigned expected; /* number of the next one to arrive */
	unsigned *left;
};

static void posted_run(struct loop_task *t)
{
	struct posted *p = (struct posted *)t;

	assert_int_equal(p->number, p->poster->expected++);
	if (--*p->poster->left == 0)
		loop_stop(p->poster->loop);
}

static void *poster_main(void *arg)
{
	struct poster *p = arg;

	for (unsigned i = 0; i < POSTS; i++)
		loop_post(p->loop, &p->posts[i].task);
	return NULL;
}

static void test_posts_from_threads_keep_their_order(void **state)
{
	struct loop *l = new_loop();
	struct poster posters[POSTERS];
	pthread_t threads[POSTERS];
	unsigned left = POSTERS * POSTS;
	struct loop_stats stats;

	(void)state;
	for (unsigned i = 0; i < POSTERS; i++) {
		posters[i] = (struct poster){l, g_new0(struct posted, POSTS), 0, &left};
		for (unsigned k = 0; k < POSTS; k++)
			posters[i].posts[k] = (struct posted){{.run = posted_run}, &posters[i], k};
		pthread_create(&threads[i], NULL, poster_main, &posters[i]);
	}
	loop_run(l);
	for (unsigned i = 0; i < POSTERS; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(posters[i].expected, POSTS);
		g_free(posters[i].posts);
	}
	loop_get_stats(l, &stats);
	assert_int_equal(stats.posts, POSTERS * POSTS);
	loop_free(l);
}

struct counter {
	struct loop_task task;
	struct loop *loop;
	unsigned runs, again;
};

static void counter_run(struct loop_task *t)
{
	struct counter *c = (struct counter *)t;

	if (c->runs++ < c->again)
		loop_post(c->loop, t);
	else
		loop_stop(c->loop);
}

static void test_pending_task_is_posted_once(void **state)
{
	struct counter c = {.task.run = counter_run, .loop = new_loop()};

	(void)state;
	loop_post(c.loop, &c.task);
	loop_post(c.loop, &c.task);
	loop_run(c.loop);
	assert_int_equal(c.runs, 1);
	loop_free(c.loop);
}

static void test_task_posts_itself(void **state)
{
	struct counter c = {.task.run = counter_run, .loop = new_loop(), .again = 1000};

	(void)state;
	loop_post(c.loop, &c.task);
	loop_run(c.loop);
	assert_int_equal(c.runs, 1001);
	loop_free(c.loop);
}

struct order {
	struct loop *loop;
	char text[32];
	unsigned n;
	struct loop_task post, end, end2;
};

static void note(struct order *o, char c)
{
	assert_true(o->n + 1 < sizeof(o->text));
	o->text[o->n++] = c;
}

static void order_end2(struct loop_task *t)
{
	struct order *o = (struct order *)((char *)t - offsetof(struct order, end2));

	note(o, 'f');
	loop_stop(o->loop);
}

static void order_end(struct loop_task *t)
{
	struct order *o = (struct order *)((char *)t - offsetof(struct order, end));

	note(o, 'e');
	loop_at_turn_end(o->loop, &o->end2); /* before the loop sleeps, or it would for ever */
}

static co_fn void order_co(void *arg)
{
	struct order *o = arg;

	note(o, 'b');
	co_wake(co_self());
	co_yield();
	note(o, 'c');
	co_reschedule();
	note(o, 'g');
}

static void order_post(struct loop_task *t)
{
	struct order *o = (struct order *)((char *)t - offsetof(struct order, post));

	note(o, 'a');
	loop_at_turn_end(o->loop, &o->end);
	loop_at_turn_end(o->loop, &o->end);
	co_start(o->loop, order_co, o);
	note(o, 'd');
}

static void test_order_within_a_turn(void **state)
{
	struct order o = {
		.loop = new_loop(),
		.post.run = order_post,
		.end.run = order_end,
		.end2.run = order_end2,
	};

	(void)state;
	loop_post(o.loop, &o.post);
	loop_run(o.loop);
	assert_string_equal(o.text, "abcdegf");
	loop_free(o.loop);
}

static void test_stop_before_run(void **state)
{
	struct loop *l = new_loop();

	(void)state;
	loop_stop(l);
	loop_run(l);
	assert_null(loop_current());
	loop_free(l);
}

static void *stop_main(void *arg)
{
	loop_stop(arg);
	return NULL;
}

static void test_stop_from_thread_and_run_again(void **state)
{
	struct loop *l = new_loop();

	(void)state;
	for (unsigned i = 0; i < 50; i++) {
		pthread_t thread;

		pthread_create(&thread, NULL, stop_main, l);
		loop_run(l);
		pthread_join(thread, NULL);
	}
	loop_free(l);
}

struct timed {
	struct loop_timer timer;
	struct timers *all;
	unsigned id;
};

struct timers {
	struct loop *loop;
	struct timed t[300];
	unsigned fired[300], n;
};

static void timed_fire(struct loop_timer *t)
{
	struct timed *timed = (struct timed *)t;
	struct timers *all = timed->all;

	assert_true(loop_now_ns() >= t->deadline_ns);
	assert_int_equal(t->heap_index, 0);
	all->fired[all->n++] = timed->id;
	if (timed->id == 100)
		for (unsigned i = 101; i < 200; i++) /* due in the same instant */
			loop_timer_cancel(&all->t[i].timer);
	if (timed->id == 299)
		loop_stop(all->loop);
}

static void test_timers_fire_in_order_and_cancel(void **state)
{
	struct timers all = {.loop = new_loop()};
	uint64_t now = loop_now_ns();

	(void)state;
	for (unsigned i = 0; i < 300; i++) {
		unsigned id = (i * 7) % 300; /* set in another order than they are due */

		all.t[id] = (struct timed){{.fire = timed_fire}, &all, id};
		loop_timer_set(all.loop, &all.t[id].timer, now + 1000000 + id * 1000);
	}
	for (unsigned i = 1; i < 50; i += 2)
		loop_timer_cancel(&all.t[i].timer);
	loop_timer_cancel(&all.t[1].timer);                         /* not set any more */
	loop_timer_set(all.loop, &all.t[299].timer, now + 5000000); /* moved */
	usleep(2000);
	loop_run(all.loop);
	assert_int_equal(all.n, 300 - 25 - 99);
	for (unsigned i = 1; i < all.n; i++)
		assert_true(all.fired[i - 1] < all.fired[i]);
	loop_free(all.loop);
}

static void equal_fire(struct loop_timer *t)
{
	struct timed *timed = (struct timed *)t;
	struct timers *all = timed->all;

	all->fired[all->n++] = timed->id;
	if (all->n == 20)
		loop_stop(all->loop);
}

static void test_equal_deadlines_fire_as_set(void **state)
{
	struct timers all = {.loop = new_loop()};

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		all.t[i] = (struct timed){{.fire = equal_fire}, &all, i};
		loop_timer_set(all.loop, &all.t[i].timer, 1);
	}
	loop_run(all.loop);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(all.fired[i], i);
	loop_free(all.loop);
}

static void again_fire(struct loop_timer *t)
{
	struct timed *timed = (struct timed *)t;

	if (++timed->id == 10)
		loop_stop(t->loop);
	else
		loop_timer_set(t->loop, t, 0); /* already past: next turn */
}

static void test_timer_sets_itself(void **state)
{
	struct loop *l = new_loop();
	struct timed t = {.timer.fire = again_fire};
	struct loop_stats stats;

	(void)state;
	loop_timer_set(l, &t.timer, 0);
	loop_run(l);
	loop_get_stats(l, &stats);
	assert_int_equal(stats.timers, 10);
	assert_true(stats.turns >= 10);
	loop_free(l);
}

static void *run_main(void *arg)
{
	loop_run(arg);
	return NULL;
}

static co_fn void called(void *arg)
{
	unsigned *value = arg;

	assert_non_null(co_self());
	co_sleep_ns(100000);
	++*value;
}

static void test_call_waits_for_the_coroutine(void **state)
{
	struct loop *l = new_loop();
	unsigned value = 0;
	pthread_t thread;

	(void)state;
	pthread_create(&thread, NULL, run_main, l);
	for (unsigned i = 0; i < 20; i++) {
		loop_call(l, called, &value);
		assert_int_equal(value, i + 1);
	}
	loop_stop(l);
	pthread_join(thread, NULL);
	loop_free(l);
}

struct signals {
	struct loop *loop;
	unsigned usr1, usr2;
};

static void on_signal(int signo, void *arg)
{
	struct signals *s = arg;

	if (signo == SIGUSR1 && ++s->usr1 == 1)
		kill(getpid(), SIGUSR2);
	if (signo == SIGUSR2 && ++s->usr2 == 1)
		kill(getpid(), SIGUSR1);
	if (s->usr1 + s->usr2 == 3)
		loop_stop(s->loop);
}

static void test_signals(void **state)
{
	struct signals s = {.loop = new_loop()};
	GError *error = NULL;

	(void)state;
	assert_true(loop_on_signal(s.loop, SIGUSR1, on_signal, &s, NULL));
	assert_true(loop_on_signal(s.loop, SIGUSR2, on_signal, &s, NULL));
	assert_false(loop_on_signal(s.loop, SIGUSR2, on_signal, &s, &error));
	assert_int_equal(error->code, EBUSY);
	g_clear_error(&error);
	assert_false(loop_on_signal(s.loop, 0, on_signal, &s, NULL));
	kill(getpid(), SIGUSR1);
	loop_run(s.loop);
	assert_int_equal(s.usr1, 2);
	assert_int_equal(s.usr2, 1);
	loop_free(s.loop);
}

static void test_back_end_choice(void **state)
{
	const char *name = getenv("OUTBOARD_LOOP");
	char *was = g_strdup(name);
	GError *error = NULL;
	struct loop *l = new_loop();

	(void)state;
	if (name)
		assert_string_equal(loop_backend_name(l), name);
	loop_free(l);
	setenv("OUTBOARD_LOOP", "kqueue", 1);
	assert_null(loop_new(LOOP_AUTO, &error));
	assert_int_equal(error->code, EINVAL);
	assert_non_null(strstr(error->message, "kqueue"));
	g_clear_error(&error);
	l = loop_new(LOOP_EPOLL, &error); /* the variable is for LOOP_AUTO only */
	assert_int_equal(loop_get_backend(l), LOOP_EPOLL);
	loop_free(l);
	unsetenv("OUTBOARD_LOOP");
	l = new_loop();
	assert_int_not_equal(loop_get_backend(l), LOOP_AUTO);
	loop_free(l);
	if (was)
		setenv("OUTBOARD_LOOP", was, 1);
	g_free(was);
	loop_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_posts_from_threads_keep_their_order),
		cmocka_unit_test(test_pending_task_is_posted_once),
		cmocka_unit_test(test_task_posts_itself),
		cmocka_unit_test(test_order_within_a_turn),
		cmocka_unit_test(test_stop_before_run),
		cmocka_unit_test(test_stop_from_thread_and_run_again),
		cmocka_unit_test(test_timers_fire_in_order_and_cancel),
		cmocka_unit_test(test_equal_deadlines_fire_as_set),
		cmocka_unit_test(test_timer_sets_itself),
		cmocka_unit_test(test_call_waits_for_the_coroutine),
		cmocka_unit_test(test_signals),
		cmocka_unit_test(test_back_end_choice),
	};

	return RUN_LOOP_TESTS(tests);
}
