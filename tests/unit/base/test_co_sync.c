/* Queue, mutex, reader-writer lock, semaphore, drain: who gets it, and in which order. */
#include "loop_test.h"

#include <string.h>

struct scene {
	struct co_queue queue;
	struct co_mutex mutex;
	struct co_rwlock rwlock;
	struct co_sem sem;
	struct co_drain drain;
	char text[64];
	unsigned n, inside, left;
};

static void note(struct scene *s, char c)
{
	assert_true(s->n + 1 < sizeof(s->text));
	s->text[s->n++] = c;
}

struct actor {
	struct scene *scene;
	char name;
	bool done;
};

static void start_actors(struct scene *s, struct actor *a, const char *names, void (*fn)(void *arg))
{
	for (unsigned i = 0; names[i]; i++) {
		a[i] = (struct actor){s, names[i], false};
		co_start(co_loop(), fn, &a[i]);
	}
}

static co_fn void wait_in_queue(void *arg)
{
	struct actor *a = arg;

	co_queue_wait(&a->scene->queue);
	note(a->scene, a->name);
}

static co_fn void queue_play(void *arg)
{
	struct scene s = {.n = 0};
	struct actor a[4];

	(void)arg;
	assert_false(co_queue_wake_one(&s.queue));
	start_actors(&s, a, "abcd", wait_in_queue);
	assert_true(co_queue_wake_one(&s.queue));
	co_reschedule();
	assert_string_equal(s.text, "a");
	co_queue_wake_all(&s.queue);
	co_reschedule();
	assert_string_equal(s.text, "abcd");
	assert_null(s.queue.head);
}

static void test_queue(void **state)
{
	(void)state;
	run_in_loop(queue_play, NULL);
}

static co_fn void wait_some_time(void *arg)
{
	struct actor *a = arg;
	uint64_t ns = a->name == 'b' ? 1000000 : 60000000000;

	note(a->scene, co_queue_wait_until(&a->scene->queue, loop_now_ns() + ns) ? a->name : '-');
	a->done = true;
}

static co_fn void timeout_play(void *arg)
{
	struct scene s = {.n = 0};
	struct actor a[3];

	(void)arg;
	start_actors(&s, a, "abc", wait_some_time);
	while (!a[1].done)
		co_sleep_ns(100000);
	assert_string_equal(s.text, "-");
	co_queue_wake_all(&s.queue); /* the middle one left the list whole */
	co_reschedule();
	assert_string_equal(s.text, "-ac");
	assert_null(s.queue.tail);
	assert_false(co_queue_wait_until(&s.queue, 1));
	assert_null(s.queue.head);
}

static void test_queue_with_deadline(void **state)
{
	(void)state;
	run_in_loop(timeout_play, NULL);
}

static co_fn void lock_mutex(void *arg)
{
	struct actor *a = arg;

	for (unsigned i = 0; i < 3; i++) {
		co_mutex_lock(&a->scene->mutex);
		assert_int_equal(a->scene->inside++, 0);
		note(a->scene, a->name);
		co_reschedule();
		a->scene->inside--;
		co_mutex_unlock(&a->scene->mutex);
	}
	a->scene->left--;
}

static co_fn void mutex_play(void *arg)
{
	struct scene s = {.left = 4};
	struct actor a[4];

	(void)arg;
	start_actors(&s, a, "abcd", lock_mutex);
	while (s.left)
		co_reschedule();
	assert_string_equal(s.text, "abcdabcdabcd"); /* nobody overtakes */
	assert_null(s.mutex.owner);
}

static void test_mutex_is_fair(void **state)
{
	(void)state;
	run_in_loop(mutex_play, NULL);
}

/* Capitals write. */
static co_fn void lock_rwlock(void *arg)
{
	struct actor *a = arg;
	struct scene *s = a->scene;
	bool writes = a->name < 'a';

	if (writes)
		co_rwlock_wrlock(&s->rwlock);
	else
		co_rwlock_rdlock(&s->rwlock);
	note(s, a->name);
	assert_true(writes ? s->inside == 0 : s->inside < 100);
	s->inside += writes ? 100 : 1;
	co_reschedule();
	co_reschedule();
	s->inside -= writes ? 100 : 1;
	note(s, '.');
	co_rwlock_unlock(&s->rwlock);
	s->left--;
}

static co_fn void rwlock_play(void *arg)
{
	struct scene s = {.left = 8};
	struct actor a[8];

	(void)arg;
	start_actors(&s, a, "abCdeFGh", lock_rwlock);
	while (s.left)
		co_reschedule();
	assert_string_equal(s.text, "ab..C.de..F.G.h.");
	assert_int_equal(s.rwlock.readers, 0);
	assert_false(s.rwlock.writing);
}

static void test_rwlock_keeps_later_readers_out(void **state)
{
	(void)state;
	run_in_loop(rwlock_play, NULL);
}

static co_fn void use_sem(void *arg)
{
	struct actor *a = arg;
	struct scene *s = a->scene;

	co_sem_get(&s->sem);
	assert_true(++s->inside <= 2);
	note(s, a->name);
	co_reschedule();
	s->inside--;
	co_sem_put(&s->sem);
	s->left--;
}

static co_fn void sem_play(void *arg)
{
	struct scene s = {.left = 6, .sem.count = 2};
	struct actor a[6];

	(void)arg;
	start_actors(&s, a, "abcdef", use_sem);
	assert_string_equal(s.text, "ab");
	while (s.left)
		co_reschedule();
	assert_string_equal(s.text, "abcdef");
	assert_int_equal(s.sem.count, 2);
}

static void test_semaphore(void **state)
{
	(void)state;
	run_in_loop(sem_play, NULL);
}

static co_fn void wait_for_drain(void *arg)
{
	struct actor *a = arg;

	co_drain_wait(&a->scene->drain);
	assert_int_equal(a->scene->drain.in_flight, 0);
	note(a->scene, a->name);
}

static co_fn void drain_play(void *arg)
{
	struct scene s = {.n = 0};
	struct actor a[2];

	(void)arg;
	co_drain_wait(&s.drain); /* nothing in flight: at once */
	co_drain_enter(&s.drain);
	co_drain_enter(&s.drain);
	start_actors(&s, a, "ab", wait_for_drain);
	co_drain_leave(&s.drain);
	co_reschedule();
	assert_int_equal(s.n, 0);
	co_drain_leave(&s.drain);
	co_drain_enter(&s.drain); /* before they run: they have to go on waiting */
	co_reschedule();
	assert_int_equal(s.n, 0);
	co_drain_leave(&s.drain);
	co_reschedule();
	assert_string_equal(s.text, "ab");
}

static void test_drain(void **state)
{
	(void)state;
	run_in_loop(drain_play, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_queue),
		cmocka_unit_test(test_queue_with_deadline),
		cmocka_unit_test(test_mutex_is_fair),
		cmocka_unit_test(test_rwlock_keeps_later_readers_out),
		cmocka_unit_test(test_semaphore),
		cmocka_unit_test(test_drain),
	};

	return RUN_LOOP_TESTS(tests);
}
