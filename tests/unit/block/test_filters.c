/* Filters "fault" and "log". */
#include "block_test.h"

#include "block/blklog.h"
#include "block/fault.h"
#include "block/mem.h"

static void test_nth_write_fails(void)
{
	struct block_node *node =
		must_open("driver=fault,op=write,nth=3,times=2,error=enospc,file.driver=mem,"
			  "file.size=8192",
			  BLOCK_RDWR);
	static const int wanted[] = {0, 0, -ENOSPC, -ENOSPC, 0, 0};
	uint8_t byte = 1;

	for (unsigned i = 0; i < G_N_ELEMENTS(wanted); i++) {
		assert_int_equal(block_pwrite(node, i, &byte, 1, 0), wanted[i]);
		assert_int_equal(block_pread(node, i, &byte, 1), 0);
		assert_int_equal(byte, wanted[i] == 0);
		byte = 1;
	}
	block_unref(node);
}

static void test_place(void)
{
	struct block_node *node = fault_new(block_mem_new(8192, NULL, 0));
	struct fault_rule rule = {.op = FAULT_ANY, .from = 1000, .to = 2000, .errnum = EIO};
	uint8_t buf[3000] = {0};

	fault_add(node, &rule);
	assert_int_equal(block_pread(node, 0, buf, 1000), 0);
	assert_int_equal(block_pread(node, 0, buf, 1001), -EIO);
	assert_int_equal(block_pwrite(node, 1999, buf, 1, 0), -EIO);
	assert_int_equal(block_pwrite(node, 2000, buf, 1, 0), 0);
	assert_int_equal(block_pread(node, 0, buf, 3000), -EIO);
	assert_int_equal(block_allocate(node, 1500, 1), -EIO);
	assert_int_equal(block_discard_zero(node, 1500, 1), -EIO);
	fault_clear(node);
	assert_int_equal(block_pread(node, 0, buf, 3000), 0);
	block_unref(node);
}

static void test_short_write(void)
{
	struct block_node *node = fault_new(block_mem_new(8192, NULL, 0));
	struct fault_rule rule = {.op = FAULT_WRITE, .errnum = EIO, .shorten = 512};
	uint8_t buf[1024], back[1024];

	memset(buf, 7, sizeof(buf));
	fault_add(node, &rule);
	assert_int_equal(block_pwrite(node, 0, buf, 1024, 0), -EIO);
	assert_int_equal(block_pread(node, 0, back, 1024), 0);
	assert_memory_equal(back, buf, 512);
	assert_int_equal(back[512], 0);
	block_unref(node);
}

static void test_late(void)
{
	struct block_node *node = must_open(
		"driver=fault,op=read,error=none,delay-ms=2,file.driver=mem,file.size=4096", 0);
	uint64_t before = loop_now_ns();
	uint8_t byte;

	assert_int_equal(block_pread(node, 0, &byte, 1), 0);
	assert_true(loop_now_ns() - before >= 2000000);
	block_unref(node);
}

static void test_rules_of_a_list(void)
{
	struct block_node *node =
		must_open("driver=fault,rules.0.op=write,rules.0.from=4K,rules.0.error=enospc,"
			  "rules.0.once=on,rules.1.op=flush,rules.1.nth=2,rules.2.op=read,"
			  "rules.2.to=512,rules.2.error=enomedium,file.driver=mem,file.size=8K",
			  BLOCK_RDWR);
	uint8_t buf[512] = {1};

	assert_int_equal(block_pwrite(node, 0, buf, 512, 0), 0);
	assert_int_equal(block_pwrite(node, 4096, buf, 512, 0), -ENOSPC);
	assert_int_equal(block_pwrite(node, 4096, buf, 512, 0), 0);
	assert_int_equal(block_flush(node), 0);
	assert_int_equal(block_pwrite(node, 4096, buf, 512, 0), 0);
	assert_int_equal(block_flush(node), -EIO);
	assert_int_equal(block_pread(node, 512, buf, 512), 0);
	assert_int_equal(block_pread(node, 511, buf, 512), -ENOMEDIUM);
	block_unref(node);
}

/* Some, not all, and the same ones each time. */
static void test_probability(void)
{
	static const char text[] = "driver=fault,op=read,probability=30,seed=5,times=50,"
				   "file.driver=mem,file.size=8K";
	struct block_node *a = must_open(text, 0), *b = must_open(text, 0);
	unsigned failed = 0, early = 0;
	uint8_t byte;

	for (unsigned i = 0; i < 400; i++) {
		int res = block_pread(a, 0, &byte, 1);

		assert_int_equal(block_pread(b, 0, &byte, 1), res);
		failed += res == -EIO;
		early += res == -EIO && i < 100;
	}
	assert_int_equal(failed, 50);
	assert_in_range(early, 15, 45);
	block_unref(a);
	block_unref(b);
}

static void test_bad_rules(void)
{
	must_refuse("driver=fault,rules.0.op=burn,file.driver=mem", 0, "op");
	must_refuse("driver=fault,rules.0.colour=red,file.driver=mem", 0, "colour");
	must_refuse("driver=fault,rules.1.op=read,file.driver=mem", 0, "rules.1.op");
	must_refuse("driver=fault,once=on,times=2,file.driver=mem", 0, "exclude");
	must_refuse("driver=fault,from=4K,to=4K,file.driver=mem", 0, "to=");
	must_refuse("driver=fault,probability=0,file.driver=mem", 0, "probability");
	must_refuse("driver=fault,error=none,shorten=1,file.driver=mem", 0, "shorten");

	must_refuse("driver=fault,op=burn,file.driver=mem", 0, "op");
	must_refuse("driver=fault,op=write,nth=0,file.driver=mem", 0, "nth");
	must_refuse("driver=fault,op=write,error=ebad,file.driver=mem", 0, "error");
}

static void test_log_replays_to_the_same(void)
{
	struct block_node *copy = block_mem_new(0, NULL, 0),
			  *log = blklog_new(block_mem_new(0, NULL, 0));
	uint8_t a[9000], b[9000];
	struct blklog_entry *entries;
	unsigned n;

	assert_int_equal(block_truncate(log, 9000), 0);
	memset(a, 5, sizeof(a));
	assert_int_equal(block_pwrite(log, 0, a, 9000, 0), 0);
	blklog_mark(log, 42);
	assert_int_equal(block_pwrite(log, 100, "hello", 5, BLOCK_FUA), 0);
	assert_int_equal(block_discard_zero(log, 200, 5000), 0);
	assert_int_equal(block_flush(log), 0);
	assert_int_equal(block_pwrite(log, 9000, "x", 1, 0), -EINVAL);
	assert_null(block_map_shared(log, 0, 4096));
	entries = blklog_steal(log, &n);
	assert_int_equal(n, 6);
	assert_int_equal(entries[0].kind, BLKLOG_TRUNCATE);
	assert_int_equal(entries[2].kind, BLKLOG_MARK);
	assert_int_equal(entries[2].off, 42);
	assert_true(entries[3].fua);
	assert_int_equal(entries[4].kind, BLKLOG_ZERO);
	assert_int_equal(entries[5].kind, BLKLOG_FLUSH);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(blklog_apply(&entries[i], 0, entries[i].len, copy), 0);
	assert_int_equal(block_pread(log, 0, a, 9000), 0);
	assert_int_equal(block_pread(copy, 0, b, 9000), 0);
	assert_memory_equal(a, b, 9000);
	assert_int_equal(blklog_apply(&entries[3], 1, 3, copy), 0);
	blklog_free(entries, n);
	block_unref(copy);
	block_unref(log);
}

IN_LOOP(test_nth_write_fails)
IN_LOOP(test_place)
IN_LOOP(test_short_write)
IN_LOOP(test_late)
IN_LOOP(test_rules_of_a_list)
IN_LOOP(test_probability)
IN_LOOP(test_bad_rules)
IN_LOOP(test_log_replays_to_the_same)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(run_test_nth_write_fails),
		cmocka_unit_test(run_test_place),
		cmocka_unit_test(run_test_short_write),
		cmocka_unit_test(run_test_late),
		cmocka_unit_test(run_test_rules_of_a_list),
		cmocka_unit_test(run_test_probability),
		cmocka_unit_test(run_test_bad_rules),
		cmocka_unit_test(run_test_log_replays_to_the_same),
	};

	return RUN_LOOP_TESTS(tests);
}
