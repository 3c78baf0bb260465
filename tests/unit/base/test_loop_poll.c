/* Looking at memory instead of sleeping: what is found, what ends a look, who goes on meanwhile. */
#include "loop_test.h"

#include <pthread.h>
#include <unistd.h>

#define LONG_NS 60000000000ull

struct looked {
	struct loop_poller p;
	struct loop *loop;
	unsigned flag; /* written by another thread */
	unsigned found, in_vain;
	bool stays;
};

static bool flag_is_set(struct loop_poller *p)
{
	return __atomic_load_n(&((struct looked *)p)->flag, __ATOMIC_ACQUIRE);
}

static void look_ended(struct loop_poller *p, bool come)
{
	struct looked *l = (struct looked *)p;

	l->found += come;
	l->in_vain += !come;
	if (!l->stays)
		loop_stop(l->loop);
}

static struct looked looked_init(struct loop *l)
{
	return (struct looked){.p = {.look = flag_is_set, .done = look_ended}, .loop = l};
}

static void *set_flag(void *arg)
{
	usleep(5000);
	__atomic_store_n((unsigned *)arg, 1, __ATOMIC_RELEASE);
	return NULL;
}

static void test_what_another_thread_writes_is_found(void **state)
{
	struct loop *l = new_loop();
	struct looked a = looked_init(l);
	pthread_t thread;

	(void)state;
	loop_poll(l, &a.p, loop_now_ns() + LONG_NS);
	assert_int_equal(pthread_create(&thread, NULL, set_flag, &a.flag), 0);
	loop_run(l);
	pthread_join(thread, NULL);
	assert_int_equal(a.found, 1);
	assert_int_equal(a.in_vain, 0);
	assert_null(a.p.loop);
	loop_free(l);
}

static void test_its_time_is_limited(void **state)
{
	struct loop *l = new_loop();
	struct looked a = looked_init(l);
	uint64_t end = loop_now_ns() + 2000000;

	(void)state;
	loop_poll(l, &a.p, end);
	loop_run(l);
	assert_int_equal(a.in_vain, 1);
	assert_true(loop_now_ns() >= end);
	loop_free(l);
}

static void post_done(struct loop_task *t)
{
	(void)t;
	loop_stop(loop_current());
}

static void *post_soon(void *arg)
{
	void **both = arg;

	usleep(5000);
	loop_post(both[0], both[1]);
	return NULL;
}

struct stopper {
	struct loop_timer t;
};

static void stop_by_timer(struct loop_timer *t)
{
	loop_stop(t->loop);
}

/* A look that lasts keeps neither posts nor timers waiting. */
static void test_others_go_on_meanwhile(void **state)
{
	struct loop *l = new_loop();
	struct looked a = looked_init(l);
	struct loop_task task = {.run = post_done};
	struct stopper s = {.t.fire = stop_by_timer};
	void *both[2] = {l, &task};
	pthread_t thread;

	(void)state;
	loop_poll(l, &a.p, loop_now_ns() + LONG_NS);
	assert_int_equal(pthread_create(&thread, NULL, post_soon, both), 0);
	loop_run(l);
	pthread_join(thread, NULL);
	loop_timer_set(l, &s.t, loop_now_ns() + 2000000);
	loop_run(l);
	assert_int_equal(a.found + a.in_vain, 0);
	loop_poll_cancel(&a.p);
	loop_poll_cancel(&a.p); /* one that is not looked at */
	loop_free(l);
}

/* Each of several is found, whichever it is; taking one out of the middle leaves the others. */
static void test_several_are_looked_at(void **state)
{
	struct loop *l = new_loop();
	struct looked all[4];

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		all[i] = looked_init(l);
		loop_poll(l, &all[i].p, loop_now_ns() + LONG_NS);
	}
	loop_poll_cancel(&all[1].p);
	for (unsigned i = 3; i != 1; i = i == 3 ? 0 : i == 0 ? 2 : 1) {
		all[i].flag = 1;
		loop_run(l);
		assert_int_equal(all[i].found, 1);
	}
	assert_int_equal(all[1].found, 0);
	loop_poll(l, &all[3].p, loop_now_ns() + LONG_NS); /* again, as the only one */
	loop_run(l);
	assert_int_equal(all[3].found, 2);
	loop_free(l);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_what_another_thread_writes_is_found),
		cmocka_unit_test(test_its_time_is_limited),
		cmocka_unit_test(test_others_go_on_meanwhile),
		cmocka_unit_test(test_several_are_looked_at),
	};

	return RUN_LOOP_TESTS(tests);
}
