/* Whether a queue is looked at: learnt from the gaps it has shown. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "virtio/virtio_pace.h"

static uint64_t now = 1000000;

static void gap(struct virtio_pace *p, uint64_t ns)
{
	pace_empty(p, now);
	now += ns;
	pace_came(p, now);
}

static void nothing_is_known_at_first(void **state)
{
	struct virtio_pace p = {0};

	(void)state;
	assert_int_equal(pace_look_ns(&p), 0);
	pace_came(&p, now); /* it was never empty */
	assert_int_equal(p.score, 0);
}

static void a_quick_driver_is_looked_for(void **state)
{
	struct virtio_pace p = {0};

	(void)state;
	for (unsigned i = 0; i < PACE_SCORE_ON; i++) {
		assert_int_equal(pace_look_ns(&p), 0);
		gap(&p, 8000);
	}
	assert_int_equal(pace_look_ns(&p), PACE_LOOK_MIN_NS);
	for (unsigned i = 0; i < 50; i++)
		gap(&p, 20000);
	assert_true(pace_look_ns(&p) >= 50000 && pace_look_ns(&p) <= 60000);
	for (unsigned i = 0; i < 50; i++)
		gap(&p, 90000);
	assert_int_equal(pace_look_ns(&p), PACE_LOOK_NS);
}

/* Two long gaps at most are waited for in vain. */
static void one_that_turns_slow_is_given_up(void **state)
{
	struct virtio_pace p = {0};

	(void)state;
	for (unsigned i = 0; i < 1000; i++)
		gap(&p, 5000);
	gap(&p, 10000000);
	gap(&p, 10000000);
	assert_int_equal(pace_look_ns(&p), 0);
	for (unsigned i = 0; i < 100; i++)
		gap(&p, 10000000);
	assert_int_equal(p.score, 0);
}

/* A look pays that finds something most of the time; one out of two does not. */
static void now_and_then_does_not_pay(void **state)
{
	struct virtio_pace p = {0};
	unsigned looks = 0;

	(void)state;
	for (unsigned i = 0; i < 200; i++) {
		gap(&p, i % 2 ? 5000 : 5000000);
		looks += pace_look_ns(&p) > 0;
	}
	assert_int_equal(looks, 0);
	for (unsigned i = 0; i < 200; i++)
		gap(&p, i % 16 ? 5000 : 5000000);
	assert_true(pace_look_ns(&p) > 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_known_at_first),
		cmocka_unit_test(a_quick_driver_is_looked_for),
		cmocka_unit_test(one_that_turns_slow_is_given_up),
		cmocka_unit_test(now_and_then_does_not_pay),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
