/* Driver qcow2: random operations against a plain copy, failing writes, headers that are refused.
 */
#include "disk_work.h"

#include <stdio.h>

#include "base/bytes.h"
#include "block/fault.h"
#include "block/mem.h"
#include "block/qcow2/format.h"

enum { LEN = WORK_LEN, STEP = 512 };

static void test_random_operations(void)
{
	static const char *const options[] = {
		"cluster_size=512,refcount_bits=1",
		"cluster_size=1K,refcount_bits=2",
		"cluster_size=4K,refcount_bits=4",
		"cluster_size=64K,refcount_bits=8",
		"cluster_size=2M,refcount_bits=64",
		"compat=0.10,cluster_size=512",
		"cluster_size=64K,refcount_bits=32,preallocation=metadata",
		"cluster_size=16K,extended_l2=on",
		"cluster_size=64K,extended_l2=on,lazy_refcounts=on",
		"cluster_size=32K,extended_l2=on,preallocation=metadata",
		"cluster_size=1K,lazy_refcounts=on",
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(options); i++) {
		struct block_node *file = disk_new("qcow2", options[i], LEN), *disk;
		/* every request yields, so that they really meet */
		struct fault_rule late = {.op = FAULT_ANY, .delay_ns = 1};
		struct block_node *slow;
		uint8_t *model = g_malloc0(LEN);

		block_ref(file);
		slow = fault_new(file);
		fault_add(slow, &late);
		disk = disk_open("qcow2", slow);
		disk_work(disk, model, i);
		disk_compare(disk, model);
		block_unref(disk);
		block_unref(slow);
		disk_check("qcow2", file, 0);
		disk = disk_open("qcow2", file);
		disk_compare(disk, model);
		block_unref(disk);
		block_unref(file);
		g_free(model);
	}
}

static void test_failing_writes(void)
{
	log_set_sink(log_nothing, NULL);
	for (unsigned nth = 1; nth < 60; nth++) {
		struct block_node *file = disk_new("qcow2", "cluster_size=512,refcount_bits=64",
						   LEN),
				  *bad;
		struct fault_rule rule = {.op = nth % 2 ? FAULT_WRITE : FAULT_FLUSH,
					  .nth = nth / 2 + 1,
					  .times = nth % 3 ? 1 : 0,
					  .errnum = nth % 5 ? EIO : ENOSPC};
		struct block_node *disk;
		uint8_t buf[4000];

		block_ref(file);
		bad = fault_new(file);
		disk = disk_open("qcow2", bad);
		fault_add(bad, &rule);
		for (unsigned i = 0; i < 40; i++) {
			memset(buf, (int)i + 1, sizeof(buf));
			block_pwrite(disk, (uint64_t)i * 37 * STEP, buf, sizeof(buf), 0);
			if (i % 8 == 7)
				block_flush(disk);
			if (i % 11 == 10)
				block_discard_zero(disk, (uint64_t)i * 30 * STEP, 9000);
		}
		block_unref(disk);
		block_unref(bad);
		disk_check("qcow2", file, UINT64_MAX);
		block_unref(file);
	}
	log_set_sink(NULL, NULL);
}

static void test_resize(void)
{
	struct block_node *file = disk_new("qcow2", "cluster_size=512", LEN),
			  *disk = disk_open("qcow2", file);
	uint8_t one[700], buf[700], zero[700] = {0};

	memset(one, 7, sizeof(one));
	assert_int_equal(block_pwrite(disk, LEN - 700, one, 700, 0), 0);
	assert_int_equal(block_truncate(disk, (uint64_t)100 << 20), 0);
	assert_int_equal(block_pwrite(disk, ((uint64_t)100 << 20) - 700, one, 700, 0), 0);
	assert_int_equal(block_pread(disk, LEN - 700, buf, 700), 0);
	assert_memory_equal(buf, one, 700);
	assert_int_equal(block_truncate(disk, LEN - 512), 0);
	assert_int_equal(block_truncate(disk, LEN), 0);
	assert_int_equal(block_pread(disk, LEN - 700, buf, 700), 0);
	assert_memory_equal(buf, one, 188);
	assert_memory_equal(buf + 188, zero, 512);
	assert_int_equal(block_truncate(disk, 1000), -EINVAL);
	block_unref(disk);
	disk_check("qcow2", file, 0);
	block_unref(file);
}

static void test_compressed(void)
{
	struct block_node *file = disk_new("qcow2", "cluster_size=4K", 64 << 10),
			  *disk = disk_open("qcow2", file);
	uint8_t buf[4096], back[4096];

	for (unsigned i = 0; i < 16; i++) {
		memset(buf, (int)i, sizeof(buf));
		for (unsigned k = 0; k < 200 * i; k++)
			buf[k] = (uint8_t)(k * k * i >> 3);
		assert_int_equal(block_pwrite_compressed(disk, i * 4096, buf, 4096), 0);
		assert_int_equal(block_pread(disk, i * 4096, back, 4096), 0);
		assert_memory_equal(buf, back, 4096);
	}
	/* one of those that share a cluster is written over, another is dropped */
	assert_int_equal(block_pwrite(disk, 5 * 4096 + 100, "hello", 5, 0), 0);
	assert_int_equal(block_discard_zero(disk, 4096, 4096), 0);
	assert_int_equal(block_flush(disk), 0);
	assert_int_equal(block_pread(disk, 5 * 4096 + 100, back, 5), 0);
	assert_memory_equal(back, "hello", 5);
	assert_int_equal(block_pwrite_compressed(disk, 100, buf, 4096), -EINVAL);
	block_unref(disk);
	disk_check("qcow2", file, 0);
	block_unref(file);
}

/* A read that is under way while its cluster is discarded and others are written. */
struct late_read {
	struct block_node *disk;
	uint8_t buf[4096];
	bool done;
	struct co_queue waiting;
};

static co_fn void read_late(void *arg)
{
	struct late_read *r = arg;

	assert_int_equal(block_pread(r->disk, 0, r->buf, sizeof(r->buf)), 0);
	r->done = true;
	co_queue_wake_all(&r->waiting);
}

static void test_clusters_are_not_used_anew_too_early(void)
{
	struct block_node *file = disk_new("qcow2", "cluster_size=4K", LEN), *slow, *disk;
	struct fault_rule late = {.op = FAULT_READ, .times = 1, .delay_ns = 50000000};
	struct late_read r = {0};
	uint8_t buf[4096], other[4096];

	block_ref(file);
	slow = fault_new(file);
	disk = disk_open("qcow2", slow);
	memset(buf, 1, sizeof(buf));
	memset(other, 2, sizeof(other));
	assert_int_equal(block_pwrite(disk, 0, buf, sizeof(buf), 0), 0);
	assert_int_equal(block_flush(disk), 0);
	r.disk = disk;
	fault_add(slow, &late);
	co_start(co_loop(), read_late, &r);
	assert_int_equal(block_discard_zero(disk, 0, 4096), 0);
	for (unsigned i = 1; i < 20; i++) {
		assert_int_equal(block_flush(disk), 0);
		assert_int_equal(block_pwrite(disk, i * 4096, other, sizeof(other), 0), 0);
	}
	assert_false(r.done);
	while (!r.done)
		co_queue_wait(&r.waiting);
	assert_memory_equal(r.buf, buf, sizeof(buf));
	block_unref(disk);
	block_unref(slow);
	disk_check("qcow2", file, 0);
	block_unref(file);
}

static const struct {
	unsigned off, len;
	uint64_t value;
	const char *says;
} bad_fields[] = {
	/* clang-format off */
	{QH_MAGIC,             4, 0,                  "no header"},
	{QH_VERSION,           4, 1,                  "version"},
	{QH_VERSION,           4, 4,                  "version"},
	{QH_BACKING_OFF,       8, 1,                  "backing"},
	{QH_BACKING_OFF,       8, 1ull << 63,         "backing"},
	{QH_CLUSTER_BITS,      4, 8,                  "cluster_bits"},
	{QH_CLUSTER_BITS,      4, 22,                 "cluster_bits"},
	{QH_CLUSTER_BITS,      4, 0xffffffff,         "cluster_bits"},
	{QH_SIZE,              8, 1ull << 63,         "size of the disk"},
	{QH_SIZE,              8, UINT64_MAX,         "size of the disk"},
	{QH_SIZE,              8, 513,                "size of the disk"},
	{QH_SIZE,              8, 1ull << 62,         "L1 entries"},
	{QH_CRYPT,             4, 1,                  "AES"},
	{QH_CRYPT,             4, 2,                  "LUKS"},
	{QH_CRYPT,             4, 3,                  "encryption"},
	{QH_L1_ENTRIES,        4, 0,                  "L1 entries"},
	{QH_L1_ENTRIES,        4, 0x7fffffff,         "L1 entries"},
	{QH_L1_ENTRIES,        4, 0xffffffff,         "L1 entries"},
	{QH_L1_ENTRIES,        4, 4194304,            "L1 table"},
	{QH_L1_OFF,            8, 1,                  "L1 table"},
	{QH_L1_OFF,            8, 0,                  "L1 table"},
	{QH_L1_OFF,            8, 0x7fffffffffff0000, "L1 table"},
	{QH_REFTABLE_OFF,      8, 0,                  "refcount table"},
	{QH_REFTABLE_OFF,      8, 1,                  "refcount table"},
	{QH_REFTABLE_OFF,      8, 0xffffffffffff0000, "refcount table"},
	{QH_REFTABLE_CLUSTERS, 4, 0,                  "refcount table"},
	{QH_REFTABLE_CLUSTERS, 4, 0xffffffff,         "refcount table"},
	{QH_SNAPSHOTS,         4, 65537,              "snapshots"},
	{QH_SNAPSHOTS,         4, 0xffffffff,         "snapshots"},
	{QH_SNAPSHOTS,         4, 1,                  "snapshot table"},
	{QH_INCOMPATIBLE,      8, 32,                 "incompatible"},
	{QH_INCOMPATIBLE,      8, 1ull << 63,         "incompatible"},
	{QH_INCOMPATIBLE,      8, QCOW2_COMPRESSION,  "compression type"},
	{QH_INCOMPATIBLE,      8, QCOW2_CORRUPT,      "corrupt"},
	{QH_INCOMPATIBLE,      8, QCOW2_DATA_FILE,    "data file"},
	{QH_REFCOUNT_ORDER,    4, 7,                  "refcount_order"},
	{QH_HEADER_LEN,        4, 103,                "header_length"},
	{QH_HEADER_LEN,        4, 96,                 "header_length"},
	{QH_HEADER_LEN,        4, 0xfffffff8,         "header_length"},
	{QH_CODEC,             1, 1,                  "compression type"},
	{112,                  8, 0xe2792acaffffffff, "extension"},
	{112,                  8, 0xe2792aca00000000, "backing"},
	{112,                  8, 0x2385287500000008, "bitmaps"},
	/* clang-format on */
};

static void test_bad_headers(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(bad_fields); i++) {
		struct block_node *file = disk_new("qcow2", "", LEN);
		GError *error = NULL;
		uint8_t field[8];

		put_be64(field, bad_fields[i].value);
		assert_int_equal(block_pwrite(file, bad_fields[i].off,
					      field + 8 - bad_fields[i].len, bad_fields[i].len, 0),
				 0);
		if (block_open_over("qcow2", file, &error))
			fail_msg("row %u (\"%s\") was opened", i, bad_fields[i].says);
		if (!strstr(error->message, bad_fields[i].says))
			fail_msg("row %u: \"%s\" does not say \"%s\"", i, error->message,
				 bad_fields[i].says);
		g_error_free(error);
	}
}

/* Tables that point where they must not: reads fail, writing is refused, nothing crashes. */
static void test_bad_tables(void)
{
	static const uint64_t l1[] = {0x8000000000000000, /* COPIED, and no table: as none */
				      0x8000000000000200, 0x8000000000030000, 0x80fffffffffe0000,
				      0x8000000000010000, 0x8000000000020000};

	log_set_sink(log_nothing, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(l1); i++) {
		struct block_node *file = disk_new("qcow2", "", LEN), *node;
		uint8_t field[8], buf[STEP];
		GError *error = NULL;

		put_be64(field, l1[i]);
		assert_int_equal(block_pwrite(file, 0x30000, field, 8, 0), 0);
		block_ref(file);
		node = block_open_over("qcow2", file, &error);
		assert_true((node != NULL) == (i == 0));
		g_clear_error(&error);
		if (node)
			assert_int_equal(block_pread(node, 0, buf, STEP), 0);
		block_unref(node);
		block_unref(file);
	}
	log_set_sink(NULL, NULL);
}

IN_LOOP(test_random_operations)
IN_LOOP(test_failing_writes)
IN_LOOP(test_resize)
IN_LOOP(test_compressed)
IN_LOOP(test_clusters_are_not_used_anew_too_early)
IN_LOOP(test_bad_headers)
IN_LOOP(test_bad_tables)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(run_test_random_operations),
		cmocka_unit_test(run_test_failing_writes),
		cmocka_unit_test(run_test_resize),
		cmocka_unit_test(run_test_compressed),
		cmocka_unit_test(run_test_clusters_are_not_used_anew_too_early),
		cmocka_unit_test(run_test_bad_headers),
		cmocka_unit_test(run_test_bad_tables),
	};

	return RUN_LOOP_TESTS(tests);
}
