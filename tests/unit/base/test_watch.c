/* Watched descriptors: the level-triggered contract and removal at every moment. */
#include "loop_test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

struct watched {
	struct loop_watch watch;
	struct loop *loop;
	struct watched *other;
	unsigned calls, events, limit;
	int peer;
};

static void make_pair(struct watched *w, struct loop *l, unsigned events,
		      void (*ready)(struct loop_watch *watch, unsigned events))
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds),
			 0);
	*w = (struct watched){{.ready = ready, .fd = fds[0], .events = events}, l, .peer = fds[1]};
}

static void close_pair(struct watched *w)
{
	loop_watch_remove(&w->watch);
	close(w->watch.fd);
	if (w->peer >= 0)
		close(w->peer);
}

static void count_ready(struct loop_watch *watch, unsigned events)
{
	struct watched *w = (struct watched *)watch;

	w->events |= events;
	if (++w->calls == w->limit)
		loop_stop(w->loop);
}

static void test_level_triggered(void **state)
{
	struct loop *l = new_loop();
	struct watched w;

	(void)state;
	make_pair(&w, l, POLLIN, count_ready);
	w.limit = 5;
	loop_watch_add(l, &w.watch);
	assert_int_equal(write(w.peer, "x", 1), 1); /* and nobody reads it */
	loop_run(l);
	assert_int_equal(w.calls, 5);
	assert_int_equal(w.events, POLLIN);
	close_pair(&w);
	loop_free(l);
}

static void test_hang_up(void **state)
{
	struct loop *l = new_loop();
	struct watched w;

	(void)state;
	make_pair(&w, l, POLLIN, count_ready);
	w.limit = 1;
	loop_watch_add(l, &w.watch);
	close(w.peer);
	w.peer = -1;
	loop_run(l);
	assert_true(w.events & POLLHUP);
	close_pair(&w);
	loop_free(l);
}

/* Both are ready in one batch; whoever is first removes the other. */
static void remove_other(struct loop_watch *watch, unsigned events)
{
	struct watched *w = (struct watched *)watch;

	(void)events;
	w->calls++;
	loop_watch_remove(&w->other->watch);
	loop_watch_remove(watch);
	loop_stop(w->loop);
}

static void test_remove_one_whose_event_was_reaped(void **state)
{
	struct loop *l = new_loop();
	struct watched a, b;

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		make_pair(&a, l, POLLIN, remove_other);
		make_pair(&b, l, POLLIN, remove_other);
		a.other = &b;
		b.other = &a;
		loop_watch_add(l, &a.watch);
		loop_watch_add(l, &b.watch);
		assert_int_equal(write(a.peer, "x", 1), 1);
		assert_int_equal(write(b.peer, "x", 1), 1);
		loop_run(l);
		assert_int_equal(a.calls + b.calls, 1);
		close_pair(&a);
		close_pair(&b);
	}
	loop_free(l);
}

static void free_self(struct loop_watch *watch, unsigned events)
{
	struct watched *w = (struct watched *)watch;
	struct loop *l = w->loop;

	(void)events;
	close_pair(w);
	g_free(w);
	loop_stop(l);
}

static void test_watch_freed_in_its_callback(void **state)
{
	struct loop *l = new_loop();
	struct watched *w = g_new(struct watched, 1);

	(void)state;
	make_pair(w, l, POLLOUT, free_self);
	loop_watch_add(l, &w->watch);
	loop_run(l);
	loop_free(l);
}

static void add_again(struct loop_watch *watch, unsigned events)
{
	struct watched *w = (struct watched *)watch;

	(void)events;
	loop_watch_remove(watch);
	if (++w->calls == w->limit)
		loop_stop(w->loop);
	else
		loop_watch_add(w->loop, watch);
}

static void test_removed_and_added_in_callback(void **state)
{
	struct loop *l = new_loop();
	struct watched w;

	(void)state;
	make_pair(&w, l, POLLOUT, add_again);
	w.limit = 200;
	loop_watch_add(l, &w.watch);
	loop_run(l);
	assert_int_equal(w.calls, 200);
	close_pair(&w);
	loop_free(l);
}

static void stop_fire(struct loop_timer *t)
{
	loop_stop(t->loop);
}

/* Long enough for a turn or two; nothing may come, so a slow machine cannot fail it. */
static void run_for_a_moment(struct loop *l)
{
	struct loop_timer t = {.fire = stop_fire};

	loop_timer_set(l, &t, loop_now_ns() + 2000000);
	loop_run(l);
}

static void test_modify(void **state)
{
	struct loop *l = new_loop();
	struct watched w;

	(void)state;
	make_pair(&w, l, POLLIN, count_ready);
	loop_watch_add(l, &w.watch);
	run_for_a_moment(l); /* armed now */
	assert_int_equal(w.calls, 0);
	loop_watch_modify(&w.watch, POLLIN | POLLOUT);
	w.limit = 3;
	loop_run(l);
	assert_int_equal(w.events, POLLOUT);
	loop_watch_modify(&w.watch, POLLIN);
	w.calls = w.events = 0;
	run_for_a_moment(l);
	assert_int_equal(w.calls, 0);
	assert_int_equal(write(w.peer, "x", 1), 1);
	loop_run(l);
	assert_int_equal(w.events, POLLIN);
	close_pair(&w);
	loop_free(l);
}

static void test_removed_watch_is_silent(void **state)
{
	struct loop *l = new_loop();
	struct watched w;

	(void)state;
	make_pair(&w, l, POLLIN, count_ready);
	loop_watch_add(l, &w.watch);
	run_for_a_moment(l);
	loop_watch_remove(&w.watch);
	loop_watch_remove(&w.watch); /* changes nothing */
	assert_int_equal(write(w.peer, "x", 1), 1);
	run_for_a_moment(l);
	assert_int_equal(w.calls, 0);
	close_pair(&w);
	loop_free(l);
}

static void test_two_watches_on_one_descriptor(void **state)
{
	struct loop *l = new_loop();
	struct watched in, out;

	(void)state;
	make_pair(&in, l, POLLIN, count_ready);
	out = in;
	out.watch.events = POLLOUT;
	out.limit = 2;
	loop_watch_add(l, &in.watch);
	loop_watch_add(l, &out.watch);
	loop_run(l);
	assert_int_equal(in.calls, 0);
	assert_int_equal(out.events, POLLOUT);
	loop_watch_remove(&out.watch);
	in.limit = 1;
	assert_int_equal(write(in.peer, "x", 1), 1);
	loop_run(l);
	assert_int_equal(in.events, POLLIN);
	close_pair(&in);
	loop_free(l);
}

/* What poll(2) says of files and of descriptors that are none. */
static void test_files_and_bad_descriptors(void **state)
{
	struct loop *l = new_loop();
	struct watched file = {{.ready = count_ready, .events = POLLIN}, l, .limit = 2};
	struct watched bad = {
		{.ready = count_ready, .events = POLLIN, .fd = 100000}, l, .limit = 2};

	(void)state;
	file.watch.fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	loop_watch_add(l, &file.watch);
	loop_run(l);
	assert_int_equal(file.events, POLLIN);
	loop_watch_remove(&file.watch);
	loop_watch_add(l, &bad.watch);
	loop_run(l);
	assert_int_equal(bad.events, POLLNVAL);
	loop_watch_remove(&bad.watch);
	close(file.watch.fd);
	loop_free(l);
}

/* Reads its byte; the last of them all stops the loop. */
static void read_byte(struct loop_watch *watch, unsigned events)
{
	struct watched *w = (struct watched *)watch;
	char c;

	assert_int_equal(events, POLLIN);
	assert_int_equal(read(watch->fd, &c, 1), 1);
	w->calls++;
	if (--w->other->limit == 0)
		loop_stop(w->loop);
}

static void test_many_watches(void **state)
{
	enum { MANY = 400 }; /* more than the ring has entries */
	struct loop *l = new_loop();
	struct watched *w = g_new(struct watched, MANY);

	(void)state;
	for (unsigned i = 0; i < MANY; i++) {
		make_pair(&w[i], l, POLLIN, read_byte);
		w[i].other = w;
		loop_watch_add(l, &w[i].watch);
	}
	for (unsigned round = 1; round <= 3; round++) {
		run_for_a_moment(l);
		w->limit = MANY;
		for (unsigned i = 0; i < MANY; i++)
			assert_int_equal(write(w[i].peer, "x", 1), 1);
		loop_run(l);
		for (unsigned i = 0; i < MANY; i++)
			assert_int_equal(w[i].calls, round);
	}
	for (unsigned i = 0; i < MANY; i++)
		close_pair(&w[i]);
	g_free(w);
	loop_free(l);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_level_triggered),
		cmocka_unit_test(test_hang_up),
		cmocka_unit_test(test_remove_one_whose_event_was_reaped),
		cmocka_unit_test(test_watch_freed_in_its_callback),
		cmocka_unit_test(test_removed_and_added_in_callback),
		cmocka_unit_test(test_modify),
		cmocka_unit_test(test_removed_watch_is_silent),
		cmocka_unit_test(test_two_watches_on_one_descriptor),
		cmocka_unit_test(test_files_and_bad_descriptors),
		cmocka_unit_test(test_many_watches),
	};

	return RUN_LOOP_TESTS(tests);
}
