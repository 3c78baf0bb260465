/* The core: opening, ranges, permissions, flush generations, defaults, statistics; drivers mem and
 * raw. */
#include "block_test.h"

#include "block/blklog.h"
#include "block/fault.h"
#include "block/mem.h"

static void test_opening(void)
{
	struct block_node *node = must_open("driver=mem,size=1M", BLOCK_RDWR);

	assert_int_equal(block_length(node), 1 << 20);
	assert_true(block_is_writable(node));
	assert_string_equal(block_name(node), "mem");
	block_unref(node);
	must_refuse("", 0, "filename");
	must_refuse("driver=nix", 0, "\"nix\"");
	must_refuse("driver=mem,size=1M,colour=red", 0, "colour");
	must_refuse("driver=mem,size=1X", 0, "1X");
	must_refuse("driver=mem,size=2T", 0, "size=");
	must_refuse("driver=raw,file.driver=mem,file.size=4096,offset=8192", 0, "offset=8192");
	must_refuse("driver=raw,file.driver=mem,file.size=4096,offset=512,size=4096", 0,
		    "size=4096");
	must_refuse("driver=raw,file.driver=mem,file.nix=1", 0, "nix");
	block_unref(NULL);
}

static void test_drivers_are_listed_once(void)
{
	const struct block_driver *const *all = block_drivers();

	for (unsigned i = 0; all[i]; i++) {
		assert_ptr_equal(block_find_driver(all[i]->name), all[i]);
		assert_non_null(all[i]->open);
		assert_true(all[i]->preadv || all[i]->map);
	}
	assert_null(block_find_driver(""));
}

static void test_ranges(void)
{
	static const struct {
		uint64_t off;
		size_t len;
		int want;
	} rows[] = {
		{0, 1000, 0},
		{0, 1001, -EINVAL},
		{999, 1, 0},
		{1000, 0, 0},
		{1000, 1, -EINVAL},
		{1001, 0, -EINVAL},
		{UINT64_MAX, 1, -EINVAL},
		{UINT64_MAX - 499, 500, -EINVAL},
		{(uint64_t)INT64_MAX, 2, -EINVAL},
	};
	struct block_node *node = must_open("driver=mem,size=1000", BLOCK_RDWR);
	uint8_t buf[1001] = {0};
	unsigned status;
	uint64_t run;

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		assert_int_equal(block_pread(node, rows[i].off, buf, rows[i].len), rows[i].want);
		assert_int_equal(block_pwrite(node, rows[i].off, buf, rows[i].len, 0),
				 rows[i].want);
		assert_int_equal(block_discard_zero(node, rows[i].off, rows[i].len), rows[i].want);
		assert_int_equal(block_allocate(node, rows[i].off, rows[i].len), rows[i].want);
	}
	assert_int_equal(block_get_status(node, 0, 0, &status, &run), -EINVAL);
	assert_int_equal(block_get_status(node, UINT64_MAX, 2, &status, &run), -EINVAL);
	assert_null(block_map_shared(node, 0, 4096));
	assert_int_equal(block_truncate(node, UINT64_MAX), -EFBIG);
	block_unref(node);
}

static void test_read_only(void)
{
	struct block_node *node = must_open("driver=mem,size=8192", 0);
	uint8_t buf[16] = {0};

	assert_false(block_is_writable(node));
	assert_int_equal(block_pread(node, 0, buf, sizeof(buf)), 0);
	assert_int_equal(block_pwrite(node, 0, buf, sizeof(buf), 0), -EROFS);
	assert_int_equal(block_discard_zero(node, 0, 16), -EROFS);
	assert_int_equal(block_allocate(node, 0, 16), -EROFS);
	assert_int_equal(block_truncate(node, 0), -EROFS);
	assert_int_equal(block_flush(node), 0);
	assert_null(block_map_shared(node, 0, 4096));
	block_unref(node);
}

static unsigned count_flushes(struct block_node *log)
{
	const struct blklog_entry *entries;
	unsigned n, flushes = 0;

	entries = blklog_entries(log, &n);
	for (unsigned i = 0; i < n; i++)
		flushes += entries[i].kind == BLKLOG_FLUSH;
	return flushes;
}

static void test_flush_only_what_is_not_durable(void)
{
	struct block_node *log = blklog_new(block_mem_new(8192, NULL, 0));
	uint8_t buf[16] = {0};

	assert_int_equal(block_flush(log), 0); /* who wrote it before may not have flushed */
	assert_int_equal(count_flushes(log), 1);
	assert_int_equal(block_flush(log), 0);
	assert_int_equal(block_pwrite(log, 0, buf, 16, BLOCK_FUA), 0);
	assert_int_equal(block_flush(log), 0);
	assert_int_equal(count_flushes(log), 1);
	assert_int_equal(block_pwrite(log, 0, buf, 16, 0), 0);
	assert_int_equal(block_flush(log), 0);
	assert_int_equal(count_flushes(log), 2);
	assert_int_equal(block_discard_zero(log, 0, 16), 0);
	assert_int_equal(block_flush(log), 0);
	assert_int_equal(count_flushes(log), 3);
	block_unref(log);
}

struct flusher {
	struct block_node *node;
	unsigned done;
	int res;
};

static co_fn void flush_one(void *arg)
{
	struct flusher *f = arg;
	int res = block_flush(f->node);

	if (res < 0)
		f->res = res;
	f->done++;
}

static void test_concurrent_flushes_join(void)
{
	struct block_node *fault = fault_new(block_mem_new(8192, NULL, 0));
	struct fault_rule slow = {.op = FAULT_FLUSH, .delay_ns = 1000000};
	struct flusher f = {.node = fault};
	struct block_stats stats;
	uint8_t buf[16] = {0};

	fault_add(fault, &slow);
	for (unsigned i = 0; i < 10; i++)
		co_start(co_loop(), flush_one, &f);
	assert_int_equal(f.done, 0);
	assert_int_equal(block_pwrite(fault, 0, buf, 16, 0), 0);
	co_start(co_loop(), flush_one, &f); /* the one under way does not cover this write */
	while (f.done < 11)
		co_sleep_ns(100000);
	assert_int_equal(f.res, 0);
	block_get_stats(fault, &stats);
	assert_int_equal(stats.flushes, 2);
	block_unref(fault);
}

static void test_failed_flush_is_for_ever(void)
{
	struct block_node *fault = fault_new(block_mem_new(8192, NULL, 0));
	struct fault_rule once = {.op = FAULT_FLUSH, .times = 1, .errnum = EIO};
	struct block_stats stats;

	fault_add(fault, &once);
	assert_int_equal(block_flush(fault), -EIO);
	assert_int_equal(block_flush(fault), -EIO);
	block_get_stats(fault, &stats);
	assert_int_equal(stats.errors, 1);
	assert_int_equal(stats.flushes, 0);
	block_unref(fault);
}

static co_fn void last_unref(void *arg)
{
	struct flusher *f = arg;

	block_unref(f->node);
	f->done++;
}

static void test_close_waits_for_requests(void)
{
	struct block_node *fault = fault_new(block_mem_new(8192, NULL, 0));
	struct fault_rule slow = {.op = FAULT_FLUSH, .delay_ns = 1000000};
	struct flusher request = {.node = fault}, closer = {.node = fault};

	fault_add(fault, &slow);
	co_start(co_loop(), flush_one, &request);
	co_start(co_loop(), last_unref, &closer);
	assert_int_equal(closer.done, 0);
	while (!closer.done)
		co_sleep_ns(100000);
	assert_int_equal(request.done, 1);
	assert_int_equal(request.res, 0);
}

static int no_discard(struct block_node *node, uint64_t off, uint64_t len)
{
	(void)node;
	(void)off;
	(void)len;
	return -ENOTSUP;
}

static void test_discard_falls_back_to_zeros(void)
{
	struct block_driver driver = *block_find_driver("mem");
	struct block_node *node = block_mem_new(3 << 20, NULL, 0);
	const struct block_driver *real = node->driver;
	uint8_t *buf = g_malloc(3 << 20);

	memset(buf, 0xff, 3 << 20);
	assert_int_equal(block_pwrite(node, 0, buf, 3 << 20, 0), 0);
	driver.discard_zero = no_discard;
	node->driver = &driver;
	assert_int_equal(block_discard_zero(node, 100, (2 << 20) + 77), 0);
	node->driver = real;
	assert_int_equal(block_pread(node, 0, buf, 3 << 20), 0);
	for (unsigned i = 0; i < 3 << 20; i++)
		if (buf[i] != (i < 100 || i >= 100 + (2 << 20) + 77 ? 0xff : 0))
			fail_msg("byte %u is 0x%02x", i, buf[i]);
	g_free(buf);
	block_unref(node);
}

static void test_mem_is_sparse(void)
{
	struct block_node *node = must_open("driver=mem,size=100G", BLOCK_RDWR);
	uint8_t buf[10000], *map;
	unsigned status;
	uint64_t run;

	memset(buf, 0x77, sizeof(buf));
	assert_int_equal(block_pwrite(node, (uint64_t)50 << 30, buf, sizeof(buf), 0), 0);
	assert_int_equal(block_get_status(node, 0, (uint64_t)100 << 30, &status, &run), 0);
	assert_int_equal(status, BLOCK_ZERO);
	assert_int_equal(run, (uint64_t)50 << 30);
	assert_int_equal(block_get_status(node, (uint64_t)50 << 30, 1 << 20, &status, &run), 0);
	assert_int_equal(status, BLOCK_DATA);
	assert_int_equal(run, 12288);
	map = block_map_shared(node, (uint64_t)50 << 30, 4096);
	assert_non_null(map);
	assert_int_equal(map[5], 0x77);
	map[5] = 1;
	assert_int_equal(block_discard_zero(node, (uint64_t)50 << 30, 8192), 0);
	assert_int_equal(map[5], 0);
	map[5] = 9;
	assert_int_equal(block_pread(node, (uint64_t)50 << 30, buf, sizeof(buf)), 0);
	assert_int_equal(buf[5], 9);
	assert_int_equal(buf[8191], 0);
	assert_int_equal(buf[8192], 0x77);
	/* What was cut off does not come back. */
	assert_int_equal(block_truncate(node, ((uint64_t)50 << 30) + 9000), 0);
	assert_int_equal(block_truncate(node, (uint64_t)60 << 30), 0);
	assert_int_equal(block_pread(node, (uint64_t)50 << 30, buf, sizeof(buf)), 0);
	assert_int_equal(buf[8999], 0x77);
	assert_int_equal(buf[9000], 0);
	block_unref(node);
}

static void test_mem_fork(void)
{
	struct block_node *base = must_open("driver=mem,size=20000", BLOCK_RDWR), *fork, *fork2;
	uint8_t buf[20000], zero[20000] = {0};

	memset(buf, 1, sizeof(buf));
	assert_int_equal(block_pwrite(base, 0, buf, sizeof(buf), 0), 0);
	fork = block_mem_fork(base);
	assert_int_equal(block_pwrite(fork, 5000, "xyz", 3, 0), 0);
	assert_int_equal(block_discard_zero(fork, 8192, 8192), 0);
	fork2 = block_mem_fork(fork);
	block_unref(fork);
	assert_int_equal(block_pwrite(fork2, 0, "2", 1, 0), 0);
	assert_int_equal(block_discard_zero(fork2, 10, 10), 0);
	assert_int_equal(block_pread(fork2, 0, buf, sizeof(buf)), 0);
	assert_int_equal(buf[0], '2');
	assert_int_equal(buf[1], 1);
	assert_memory_equal(buf + 10, zero, 10);
	assert_memory_equal(buf + 4999, "\1xyz\1", 5);
	assert_memory_equal(buf + 8192, zero, 8192);
	assert_int_equal(buf[16384], 1);
	block_unref(fork2);
	assert_int_equal(block_pread(base, 0, buf, sizeof(buf)), 0);
	for (unsigned i = 0; i < sizeof(buf); i++)
		assert_int_equal(buf[i], 1);
	block_unref(base);
}

static void test_raw_window(void)
{
	struct block_node *node = must_open(
		"driver=raw,offset=1000,size=500,file.driver=mem,file.size=4096", BLOCK_RDWR);
	uint8_t buf[500], back[500];

	memset(buf, 3, sizeof(buf));
	assert_int_equal(block_length(node), 500);
	assert_int_equal(block_pwrite(node, 0, buf, 500, BLOCK_FUA), 0);
	assert_int_equal(block_pwrite(node, 1, buf, 500, 0), -EINVAL);
	assert_int_equal(block_pread(node->file, 1000, back, 500), 0);
	assert_memory_equal(buf, back, 500);
	assert_int_equal(block_pread(node->file, 999, back, 1), 0);
	assert_int_equal(back[0], 0);
	assert_int_equal(block_discard_zero(node, 10, 20), 0);
	assert_int_equal(block_pread(node->file, 1010, back, 1), 0);
	assert_int_equal(back[0], 0);
	assert_int_equal(block_truncate(node, 10), -ENOTSUP);
	assert_int_equal(block_allocate(node, 0, 500), 0);
	block_unref(node);
	node = must_open("driver=raw,file.driver=mem,file.size=4096", BLOCK_RDWR);
	assert_int_equal(block_truncate(node, 10), 0);
	assert_int_equal(block_length(node->file), 10);
	block_unref(node);
}

static void test_statistics(void)
{
	struct block_node *node = must_open("driver=mem,size=8192", BLOCK_RDWR);
	struct block_stats stats;
	uint8_t buf[100] = {0};

	block_pread(node, 0, buf, 100);
	block_pread(node, 0, buf, 50);
	block_pwrite(node, 0, buf, 30, 0);
	block_flush(node);
	block_get_stats(node, &stats);
	assert_int_equal(stats.reads, 2);
	assert_int_equal(stats.read_bytes, 150);
	assert_int_equal(stats.writes, 1);
	assert_int_equal(stats.write_bytes, 30);
	assert_int_equal(stats.flushes, 1);
	assert_int_equal(stats.errors, 0);
	block_unref(node);
}

IN_LOOP(test_opening)
IN_LOOP(test_drivers_are_listed_once)
IN_LOOP(test_ranges)
IN_LOOP(test_read_only)
IN_LOOP(test_flush_only_what_is_not_durable)
IN_LOOP(test_concurrent_flushes_join)
IN_LOOP(test_failed_flush_is_for_ever)
IN_LOOP(test_close_waits_for_requests)
IN_LOOP(test_discard_falls_back_to_zeros)
IN_LOOP(test_mem_is_sparse)
IN_LOOP(test_mem_fork)
IN_LOOP(test_raw_window)
IN_LOOP(test_statistics)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(run_test_opening),
		cmocka_unit_test(run_test_drivers_are_listed_once),
		cmocka_unit_test(run_test_ranges),
		cmocka_unit_test(run_test_read_only),
		cmocka_unit_test(run_test_flush_only_what_is_not_durable),
		cmocka_unit_test(run_test_concurrent_flushes_join),
		cmocka_unit_test(run_test_failed_flush_is_for_ever),
		cmocka_unit_test(run_test_close_waits_for_requests),
		cmocka_unit_test(run_test_discard_falls_back_to_zeros),
		cmocka_unit_test(run_test_mem_is_sparse),
		cmocka_unit_test(run_test_mem_fork),
		cmocka_unit_test(run_test_raw_window),
		cmocka_unit_test(run_test_statistics),
	};

	return RUN_LOOP_TESTS(tests);
}
