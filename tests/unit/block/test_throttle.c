/* Rate limits: the buckets on a clock of the test's own, and the filter that asks them. */
#include "block_test.h"

#include "block/bucket.h"

static const uint64_t second = 1000000000, begin = 12345678901234567;

/* How many requests of so many units start from *now on within so many seconds, back to back. */
static unsigned count(struct bucket *b, double units, uint64_t *now, uint64_t seconds)
{
	uint64_t end = *now + seconds * second;
	unsigned n = 0;

	for (;;) {
		uint64_t wait = bucket_wait_ns(b, *now);

		if (*now + wait >= end)
			break;
		*now += wait;
		assert_int_equal(bucket_wait_ns(b, *now), 0);
		bucket_fill(b, units, *now);
		n++;
	}
	*now = end;
	return n;
}

static void test_rate_in_the_long_run(void **state)
{
	static const uint64_t rates[] = {1, 7, 1000, 1000000};
	static const double units[] = {1, 3, 512, 4096};

	(void)state;
	for (unsigned i = 0; i < G_N_ELEMENTS(rates); i++) {
		struct bucket b = {.rate = rates[i]};
		double wanted = (double)rates[i] * 100 / units[i];
		uint64_t now = begin;
		unsigned n = count(&b, units[i], &now, 100);

		/* What may come at once, and the one that overfills it. */
		assert_true(n >= (unsigned)wanted && n <= wanted * 1.002 + 2);
	}
}

static void test_no_limit(void **state)
{
	struct bucket b = {0};

	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		bucket_fill(&b, 1e9, begin);
		assert_int_equal(bucket_wait_ns(&b, begin), 0);
	}
}

static void test_burst(void **state)
{
	struct bucket b = {.rate = 100, .burst = 1000, .burst_seconds = 3};
	uint64_t now = begin;

	(void)state;
	assert_in_range(count(&b, 1, &now, 1), 1000, 1110); /* a second at the burst rate */
	assert_in_range(count(&b, 1, &now, 1), 990, 1010);
	assert_in_range(count(&b, 1, &now, 8), 1500, 1900); /* the rest of it, then the rate */
	assert_in_range(count(&b, 1, &now, 10), 990, 1010);
	now += 60 * second; /* idle: the burst is earned again */
	assert_in_range(count(&b, 1, &now, 2), 1990, 2110);
}

static void test_clock_that_stands_or_falls(void **state)
{
	struct bucket b = {.rate = 10};

	(void)state;
	bucket_fill(&b, 10, begin);
	assert_int_equal(bucket_wait_ns(&b, begin), second * 9 / 10);
	assert_int_equal(bucket_wait_ns(&b, begin - second), second * 9 / 10);
	bucket_fill(&b, 1, begin - second);
	assert_int_equal(bucket_wait_ns(&b, begin), second);
	assert_int_equal(bucket_wait_ns(&b, begin + 100 * second), 0);
}

struct order {
	struct block_node *node;
	bool write;
	unsigned number, *next;
	unsigned *running;
};

static co_fn void request(void *arg)
{
	struct order *o = arg;
	uint8_t byte = 1;

	if (o->write)
		assert_int_equal(block_pwrite(o->node, o->number, &byte, 1, 0), 0);
	else
		assert_int_equal(block_pread(o->node, o->number, &byte, 1), 0);
	assert_int_equal(o->number, *o->next); /* none overtakes its like */
	++*o->next;
	--*o->running;
}

static void test_lines_keep_their_order(void)
{
	struct block_node *node = must_open(
		"driver=throttle,iops-total=1000,file.driver=mem,file.size=4096", BLOCK_RDWR);
	struct order orders[220];
	unsigned next[2] = {0}, running = G_N_ELEMENTS(orders), number[2] = {0};
	uint64_t start = loop_now_ns();

	for (unsigned i = 0; i < G_N_ELEMENTS(orders); i++) {
		bool write = i % 3 == 0;

		orders[i] = (struct order){node, write, number[write]++, &next[write], &running};
		co_start(co_loop(), request, &orders[i]);
	}
	while (running)
		co_sleep_ns(1000000);
	/* A hundred may come at once, and the one that overfills. */
	assert_true(loop_now_ns() - start >= second * (220 - 102) / 1000);
	block_unref(node);
}

static void test_each_limit_is_for_its_own(void)
{
	struct block_node *node = must_open("driver=throttle,bps-write=1,iops-write=1,iops-size=4K,"
					    "bps-read=100M,bps-read-max=1G,bps-read-max-length=2,"
					    "file.driver=mem,file.size=1M",
					    BLOCK_RDWR);
	uint8_t buf[4096] = {1};
	unsigned status;
	uint64_t run;

	/* The first fills the bucket for more than an hour, which reads and flushes do not mind. */
	assert_int_equal(block_pwrite(node, 0, buf, sizeof(buf), 0), 0);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(block_pread(node, 0, buf, sizeof(buf)), 0);
	assert_int_equal(block_flush(node), 0);
	assert_int_equal(block_get_status(node, 0, 1 << 20, &status, &run), 0);
	assert_int_equal(status, BLOCK_DATA);
	assert_int_equal(run, 4096);
	block_unref(node);
}

static void test_bad_limits(void)
{
	must_refuse("driver=throttle,bps-total=1,bps-read=1,file.driver=mem", 0, "excludes");
	must_refuse("driver=throttle,iops-total=1,iops-write=1,file.driver=mem", 0, "excludes");
	must_refuse("driver=throttle,bps-total=2,bps-total-max=2,file.driver=mem", 0, "more than");
	must_refuse("driver=throttle,bps-total-max=2,file.driver=mem", 0, "more than");
	must_refuse("driver=throttle,bps-read=2,bps-read-max-length=2,file.driver=mem", 0,
		    "is for bps-read-max=");
	must_refuse("driver=throttle,bps-read=9000000T,file.driver=mem", 0, "at most");
	must_refuse("driver=throttle,bps-all=2,file.driver=mem", 0, "bps-all");
}

IN_LOOP(test_lines_keep_their_order)
IN_LOOP(test_each_limit_is_for_its_own)
IN_LOOP(test_bad_limits)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rate_in_the_long_run),
		cmocka_unit_test(test_no_limit),
		cmocka_unit_test(test_burst),
		cmocka_unit_test(test_clock_that_stands_or_falls),
		cmocka_unit_test(run_test_lines_keep_their_order),
		cmocka_unit_test(run_test_each_limit_is_for_its_own),
		cmocka_unit_test(run_test_bad_limits),
	};

	return RUN_LOOP_TESTS(tests);
}
