/* Coroutines: starting, sleeping, waking, thousands at once. */
#include "loop_test.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct trace {
	char text[64];
	unsigned n;
	struct co *co;
	struct loop *loop;
};

static void note(struct trace *t, char c)
{
	assert_true(t->n + 1 < sizeof(t->text));
	t->text[t->n++] = c;
}

static co_fn void inner(void *arg)
{
	struct trace *t = arg;

	note(t, 'b');
	t->co = co_self();
	co_yield();
	note(t, 'd');
}

static co_fn void outer(void *arg)
{
	struct trace *t = arg;
	struct co *self = co_self();

	note(t, 'a');
	co_start(co_loop(), inner, t);
	note(t, 'c');
	assert_ptr_equal(co_self(), self);
	co_wake(t->co);
	co_wake(t->co); /* adds nothing: it did not run yet */
	co_reschedule();
	note(t, 'e');
}

static void test_start_runs_to_the_first_yield(void **state)
{
	struct trace t = {.n = 0};

	(void)state;
	assert_null(co_self());
	run_in_loop(outer, &t);
	assert_string_equal(t.text, "abcde");
	assert_null(co_self());
}

static co_fn void remembered(void *arg)
{
	uint64_t before = loop_now_ns();

	(void)arg;
	co_wake(co_self());
	co_wake(co_self());
	co_sleep_ns(200000); /* waits for its time, and leaves the wake-up alone */
	assert_true(loop_now_ns() - before >= 200000);
	co_yield(); /* returns at once, and that was the one */
}

static void test_wake_up_is_remembered(void **state)
{
	(void)state;
	run_in_loop(remembered, NULL);
}

static co_fn void sleeper(void *arg)
{
	struct trace *t = arg;

	t->co = co_self();
	co_yield();
	note(t, 'x');
	co_yield();
	note(t, 'y');
}

static co_fn void wake_twice(void *arg)
{
	struct trace t = {.n = 0};
	struct loop_stats before, after;

	(void)arg;
	co_start(co_loop(), sleeper, &t);
	co_reschedule(); /* from here on inside a turn */
	loop_get_stats(co_loop(), &before);
	co_wake(t.co);
	co_wake(t.co);
	co_reschedule();
	loop_get_stats(co_loop(), &after);
	assert_string_equal(t.text, "x");
	assert_int_equal(after.turns, before.turns + 1);
	co_wake(t.co);
	co_reschedule();
	assert_string_equal(t.text, "xy");
}

static void test_wake(void **state)
{
	(void)state;
	run_in_loop(wake_twice, NULL);
}

enum { CROWD = WITH_SANITIZER ? 1500 : 10000 };

struct crowd {
	struct co *members[CROWD];
	unsigned n, ended;
};

static co_fn void member(void *arg)
{
	struct crowd *c = arg;
	volatile char frame[4096];

	frame[0] = frame[4095] = (char)c->n;
	c->members[c->n++] = co_self();
	co_yield();
	assert_int_equal(frame[0], frame[4095]);
	c->ended++;
}

static co_fn void crowd(void *arg)
{
	struct crowd *c = arg;

	for (unsigned round = 0; round < 2; round++) {
		c->n = c->ended = 0;
		for (unsigned i = 0; i < CROWD; i++)
			co_start(co_loop(), member, c);
		assert_int_equal(c->n, CROWD);
		for (unsigned i = 0; i < CROWD; i++)
			co_wake(c->members[i]);
		co_reschedule();
		assert_int_equal(c->ended, CROWD);
	}
}

static void test_ten_thousand_at_once(void **state)
{
	struct crowd *c = g_new0(struct crowd, 1);

	(void)state;
	run_in_loop(crowd, c);
	g_free(c);
}

static unsigned count_mappings(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned n = 0;
	int c;

	assert_non_null(f);
	while ((c = getc(f)) != EOF)
		n += c == '\n';
	fclose(f);
	return n;
}

static co_fn void crowd_and_rest(void *arg)
{
	unsigned before = count_mappings();

	crowd(arg);
	assert_true(count_mappings() > before + CROWD / 4);
	while (count_mappings() > before + 100)
		co_sleep_ns(50000000);
}

/* Never ends if it is kept; a test has a time limit of its own. */
static void test_idle_stacks_are_given_back(void **state)
{
	struct crowd *c = g_new0(struct crowd, 1);

	(void)state;
	run_in_loop(crowd_and_rest, c);
	g_free(c);
}

static co_fn void deep(void *arg)
{
	unsigned *depth = arg;

	if (++*depth < 200)
		co_start(co_loop(), deep, depth);
	co_reschedule();
	--*depth;
}

static co_fn void nested(void *arg)
{
	unsigned depth = 0;

	(void)arg;
	co_start(co_loop(), deep, &depth);
	while (depth)
		co_reschedule();
}

static void test_starting_from_one_another(void **state)
{
	(void)state;
	run_in_loop(nested, NULL);
}

struct mix {
	unsigned long a, b, c, d, e, f, g, h;
	double x, y;
};

/* Enough live values for every callee-saved register. */
static struct mix mix_up(bool yields)
{
	unsigned long a = 1, b = 2, c = 3, d = 5, e = 7, f = 11, g = 13, h = 17;
	double x = 1.5, y = 2.25;

	for (unsigned i = 0; i < 1000; i++) {
		if (yields)
			co_reschedule();
		a += b;
		b ^= c + a;
		c += d;
		d ^= e + c;
		e += f;
		f ^= g + e;
		g += h;
		h ^= a + g;
		x += y;
		y += 0.5;
	}
	return (struct mix){a, b, c, d, e, f, g, h, x, y};
}

static co_fn void registers(void *arg)
{
	unsigned *left = arg;
	struct mix with = mix_up(true), without = mix_up(false);

	assert_memory_equal(&with, &without, sizeof(with));
	--*left;
}

static co_fn void registers_of_many(void *arg)
{
	unsigned left = 8;

	(void)arg;
	for (unsigned i = 0; i < 8; i++)
		co_start(co_loop(), registers, &left);
	while (left)
		co_reschedule();
}

static void test_registers_survive(void **state)
{
	(void)state;
	run_in_loop(registers_of_many, NULL);
}

static co_fn void poll_it(void *arg)
{
	int fds[2];
	char c;

	(void)arg;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(co_poll(fds[0], POLLIN, loop_now_ns() + 1000000), 0);
	assert_int_equal(co_poll(fds[1], POLLOUT, 0), POLLOUT);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(co_poll(fds[0], POLLIN, 0), POLLIN);
	assert_int_equal(co_poll(fds[0], POLLIN, 1), POLLIN); /* ready wins over a late deadline */
	assert_int_equal(read(fds[0], &c, 1), 1);
	assert_int_equal(co_poll(fds[0], POLLIN, 1), 0);
	close(fds[1]);
	assert_int_equal(co_poll(fds[0], POLLIN, 0), POLLHUP);
	close(fds[0]);
	assert_int_equal(co_poll(fds[0], POLLIN, 0), -EBADF);
}

static void test_poll(void **state)
{
	(void)state;
	run_in_loop(poll_it, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_start_runs_to_the_first_yield),
		cmocka_unit_test(test_wake_up_is_remembered),
		cmocka_unit_test(test_wake),
		cmocka_unit_test(test_ten_thousand_at_once),
		cmocka_unit_test(test_idle_stacks_are_given_back),
		cmocka_unit_test(test_starting_from_one_another),
		cmocka_unit_test(test_registers_survive),
		cmocka_unit_test(test_poll),
	};

	return RUN_LOOP_TESTS(tests);
}
