/* Options that every node takes, and what becomes of zeros and discards; the null driver. */
#include "block_test.h"

#include "block/mem.h"

enum { KB = 1024 };

static void test_flags(void)
{
	static const struct {
		const char *text;
		unsigned flags;
	} rows[] = {
		{"", 0},
		{",cache=none", BLOCK_DIRECT},
		{",cache=writeback", 0},
		{",cache=writethrough", BLOCK_WRITETHROUGH},
		{",cache=directsync", BLOCK_DIRECT | BLOCK_WRITETHROUGH},
		{",cache=unsafe", BLOCK_NO_FLUSH},
		{",cache=unsafe,cache.no-flush=off", 0},
		{",cache.direct=on,cache.no-flush=on", BLOCK_DIRECT | BLOCK_NO_FLUSH},
		{",cache.writeback=off", BLOCK_WRITETHROUGH},
		{",discard=ignore", BLOCK_DISCARD_IGNORE},
		{",discard=unmap", 0},
		{",detect-zeroes=on", BLOCK_DETECT_ZEROES},
		{",detect-zeroes=unmap", BLOCK_DETECT_UNMAP},
		{",detect-zeroes=off", 0},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *text = g_strconcat("driver=mem,size=1M", rows[i].text, NULL);
		struct block_node *node = must_open(text, BLOCK_RDWR);

		assert_int_equal(node->flags, BLOCK_RDWR | rows[i].flags);
		assert_true(block_is_writable(node));
		block_unref(node);
	}
}

static void test_refusals(void)
{
	static const char *const rows[][2] = {
		{",cache=fast", "cache=fast"},
		{",cache.direct=maybe", "cache.direct"},
		{",discard=no", "discard"},
		{",detect-zeroes=2", "detect-zeroes"},
		{",detect-zeroes=unmap,discard=ignore", "needs discard=unmap"},
		{",force-share=on", "for reading only"},
		{",cach=none", "cach"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *text = g_strconcat("driver=mem,size=1M", rows[i][0], NULL);

		must_refuse(text, BLOCK_RDWR, rows[i][1]);
	}
	block_unref(must_open("driver=mem,size=1M,force-share=on,read-only=on", BLOCK_RDWR));
}

static void test_read_only(void)
{
	struct block_node *node = must_open("driver=mem,size=1M,read-only=on", BLOCK_RDWR);

	assert_false(block_is_writable(node));
	assert_int_equal(block_pwrite(node, 0, "x", 1, 0), -EROFS);
	assert_int_equal(block_discard(node, 0, 1), -EROFS);
	assert_int_equal(block_write_zeros(node, 0, 1, 0), -EROFS);
	block_unref(node);
}

/* What is cached how goes down to the child; what becomes of zeros does not. */
static void test_inheritance(void)
{
	struct block_node *node =
		must_open("driver=raw,cache=unsafe,cache.direct=on,detect-zeroes=on,discard=ignore,"
			  "cache.writeback=off,file.driver=mem,file.size=1M",
			  BLOCK_RDWR);

	assert_int_equal(node->file->flags, BLOCK_RDWR | BLOCK_NO_FLUSH | BLOCK_DIRECT);
	block_unref(node);
	node = must_open("driver=raw,cache=none,file.driver=mem,file.cache.direct=off,file.size=1M",
			 BLOCK_RDWR);
	assert_int_equal(node->file->flags, BLOCK_RDWR);
	block_unref(node);
}

static bool is_hole(struct block_node *node, uint64_t off, uint64_t len)
{
	unsigned status = 0;
	uint64_t run = 0;

	assert_int_equal(block_get_status(node, off, len, &status, &run), 0);
	return status == BLOCK_ZERO && run == len;
}

static void test_detect_zeroes(void)
{
	static const struct {
		const char *mode;
		bool hole;
	} rows[] = {{"off", false}, {"on", false}, {"unmap", true}};
	uint8_t buf[8 * KB] = {0}, back[8 * KB];

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *text =
			g_strdup_printf("driver=mem,size=1M,detect-zeroes=%s", rows[i].mode);
		struct block_node *node = must_open(text, BLOCK_RDWR);

		memset(buf, 1, sizeof(buf));
		assert_int_equal(block_pwrite(node, 0, buf, sizeof(buf), 0), 0);
		memset(buf, 0, sizeof(buf));
		assert_int_equal(block_pwrite(node, 0, buf, sizeof(buf), BLOCK_FUA), 0);
		assert_int_equal(is_hole(node, 0, sizeof(buf)), rows[i].hole);
		assert_int_equal(block_pread(node, 0, back, sizeof(back)), 0);
		assert_memory_equal(back, buf, sizeof(buf));
		buf[sizeof(buf) - 1] = 1; /* not all zeros */
		assert_int_equal(block_pwrite(node, 0, buf, sizeof(buf), 0), 0);
		assert_false(is_hole(node, 0, sizeof(buf)));
		block_unref(node);
	}
}

static void test_discard(void)
{
	struct block_node *node = must_open("driver=mem,size=1M,discard=ignore", BLOCK_RDWR);
	uint8_t buf[8 * KB], back[8 * KB];
	struct block_stats stats;

	memset(buf, 1, sizeof(buf));
	assert_int_equal(block_pwrite(node, 0, buf, sizeof(buf), 0), 0);
	assert_false(block_can_discard(node));
	assert_int_equal(block_discard(node, 0, sizeof(buf)), 0);
	assert_int_equal(block_pread(node, 0, back, sizeof(back)), 0);
	assert_memory_equal(back, buf, sizeof(buf)); /* ignored */
	assert_int_equal(block_write_zeros(node, 0, sizeof(buf), BLOCK_MAY_UNMAP), 0);
	assert_false(is_hole(node, 0, sizeof(buf))); /* zeros, but nothing is given back */
	block_unref(node);

	node = must_open("driver=mem,size=1M", BLOCK_RDWR);
	assert_int_equal(block_pwrite(node, 0, buf, sizeof(buf), 0), 0);
	assert_int_equal(block_discard(node, 0, 4 * KB), 0);
	assert_int_equal(block_write_zeros(node, 4 * KB, 4 * KB, BLOCK_MAY_UNMAP | BLOCK_FUA), 0);
	assert_true(is_hole(node, 0, sizeof(buf)));
	assert_int_equal(block_discard(node, 1024 * KB, 1), -EINVAL);
	block_get_stats(node, &stats);
	assert_int_equal(stats.discards, 2);
	assert_int_equal(stats.discard_bytes, 8 * KB);
	assert_int_equal(stats.writes, 1);
	assert_int_equal(stats.write_highest, 8 * KB);
	assert_int_equal(stats.errors, 0);
	block_unref(node);
}

static void test_null(void)
{
	struct block_node *node = must_open("driver=null,size=64K", BLOCK_RDWR);
	uint8_t buf[KB];
	uint64_t begin;

	assert_int_equal(block_length(node), 64 * KB);
	memset(buf, 1, sizeof(buf));
	assert_int_equal(block_pwrite(node, 0, buf, sizeof(buf), 0), 0);
	assert_int_equal(block_pread(node, 0, buf, sizeof(buf)), 0);
	assert_int_equal(buf[KB - 1], 0);
	assert_true(is_hole(node, 0, 64 * KB));
	assert_int_equal(block_discard_zero(node, 0, 64 * KB), 0);
	assert_int_equal(block_flush(node), 0);
	assert_int_equal(block_truncate(node, 128 * KB), 0);
	assert_int_equal(block_length(node), 128 * KB);
	block_unref(node);

	node = must_open("driver=null,read-zeroes=off,latency-ns=2000000", BLOCK_RDWR);
	assert_int_equal(block_length(node), (uint64_t)1 << 30);
	buf[0] = 7;
	begin = loop_now_ns();
	assert_int_equal(block_pread(node, 0, buf, sizeof(buf)), 0);
	assert_true(loop_now_ns() - begin >= 2000000);
	assert_int_equal(buf[0], 7);
	assert_false(is_hole(node, 0, 64 * KB));
	block_unref(node);
	must_refuse("driver=null,size=9E", 0, "size");
}

IN_LOOP(test_flags)
IN_LOOP(test_refusals)
IN_LOOP(test_read_only)
IN_LOOP(test_inheritance)
IN_LOOP(test_detect_zeroes)
IN_LOOP(test_discard)
IN_LOOP(test_null)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(run_test_flags),         cmocka_unit_test(run_test_refusals),
		cmocka_unit_test(run_test_read_only),     cmocka_unit_test(run_test_inheritance),
		cmocka_unit_test(run_test_detect_zeroes), cmocka_unit_test(run_test_discard),
		cmocka_unit_test(run_test_null),
	};

	return RUN_LOOP_TESTS(tests);
}
