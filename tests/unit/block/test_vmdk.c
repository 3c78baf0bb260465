/* Driver vmdk: random operations against a plain copy, failing writes, streams that are cut off,
 * headers and descriptors that are refused. */
#include "disk_work.h"

#include <stdio.h>

#include "base/bytes.h"
#include "block/blklog.h"
#include "block/fault.h"
#include "block/mem.h"
#include "block/vmdk/format.h"

enum { LEN = WORK_LEN, GRAIN = 64 << 10, STEP = 512 };
/* As create lays it out for LEN, in sectors: directories and their tables. */
enum { SECOND_AT = 21, COPY_AT = 22, FIRST_AT = 26, TABLE_AT = 27 };

/* Others make tables when they are needed, without copies. */
static co_fn void take_tables_away(struct block_node *file)
{
	uint8_t none[4] = {0}, flags[4];

	put_le32(flags, VMDK_NEWLINES);
	assert_int_equal(block_pwrite(file, VH_FLAGS, flags, sizeof(flags), 0), 0);
	assert_int_equal(block_pwrite(file, FIRST_AT * STEP, none, sizeof(none), 0), 0);
}

static void test_random_operations(void)
{
	for (unsigned i = 0; i < 6; i++) {
		struct block_node *file = disk_new("vmdk", i % 2 ? "zeroed_grain=on" : "", LEN),
				  *disk, *slow;
		/* every request yields, so that they really meet */
		struct fault_rule late = {.op = FAULT_ANY, .delay_ns = 1};
		uint8_t *model = g_malloc0(LEN);

		if (i == 4)
			take_tables_away(file);
		block_ref(file);
		slow = fault_new(file);
		fault_add(slow, &late);
		disk = disk_open("vmdk", slow);
		disk_work(disk, model, i);
		disk_compare(disk, model);
		block_unref(disk);
		block_unref(slow);
		disk_check("vmdk", file, 0);
		disk = disk_open("vmdk", file);
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
		struct block_node *file = disk_new("vmdk", nth % 7 ? "" : "zeroed_grain=on", LEN),
				  *bad, *disk;
		struct fault_rule rule = {.op = nth % 2 ? FAULT_WRITE : FAULT_FLUSH,
					  .nth = nth / 2 + 1,
					  .times = nth % 3 ? 1 : 0,
					  .errnum = nth % 5 ? EIO : ENOSPC};
		uint8_t buf[4000];

		block_ref(file);
		bad = fault_new(file);
		disk = disk_open("vmdk", bad);
		fault_add(bad, &rule);
		for (unsigned i = 0; i < 40; i++) {
			memset(buf, (int)i + 1, sizeof(buf));
			block_pwrite(disk, (uint64_t)i * 137 * STEP, buf, sizeof(buf), 0);
			if (i % 8 == 7)
				block_flush(disk);
			if (i % 11 == 10)
				block_discard_zero(disk, (uint64_t)i * 130 * STEP, 190000);
		}
		block_unref(disk);
		block_unref(bad);
		disk_check("vmdk", file, UINT64_MAX);
		block_unref(file);
	}
	log_set_sink(NULL, NULL);
}

static void fill(uint8_t *buf, unsigned version)
{
	for (unsigned i = 0; i < GRAIN; i++)
		buf[i] = (uint8_t)(i * i * version >> 5);
}

/* Whether the stream holds the first n of the grains that test_streams() writes, no others. */
static co_fn bool stream_holds(struct block_node *file, unsigned *n)
{
	struct block_node *disk;
	uint8_t *buf, *want;
	GError *error = NULL;

	block_ref(file);
	file->writable = false;
	disk = block_open_over("vmdk", file, &error);
	file->writable = true;
	if (!disk) {
		assert_non_null(strstr(error->message, "vmdk:"));
		g_error_free(error);
		return false;
	}
	buf = g_malloc(GRAIN);
	want = g_malloc(GRAIN);
	for (*n = 0; *n < LEN / GRAIN / 2; ++*n) {
		fill(want, *n + 1);
		assert_int_equal(block_pread(disk, (uint64_t)*n * 2 * GRAIN, buf, GRAIN), 0);
		if (memcmp(want, buf, GRAIN) != 0)
			break;
	}
	for (unsigned i = *n; i < LEN / GRAIN / 2; i++) {
		memset(want, 0, GRAIN);
		assert_int_equal(block_pread(disk, (uint64_t)i * 2 * GRAIN, buf, GRAIN), 0);
		assert_memory_equal(buf, want, GRAIN);
	}
	g_free(buf);
	g_free(want);
	block_unref(disk);
	return true;
}

/* Of a stream cut off at any moment nothing is seen, or what was there at a flush. */
static co_fn void replay_stream(struct block_node *log)
{
	struct block_node *image = block_mem_new(0, NULL, 0);
	const struct blklog_entry *entries;
	unsigned n, opened = 0;

	entries = blklog_entries(log, &n);
	for (unsigned i = 0; i < n; i++) {
		struct block_node *now;
		unsigned held = 0;

		blklog_apply(&entries[i], 0, entries[i].len, image);
		now = block_mem_fork(image);
		if (stream_holds(now, &held)) {
			assert_int_equal(held % 8, 0); /* a flush came after eight */
			opened++;
		}
		block_unref(now);
	}
	assert_true(opened > 4 && opened < n / 2);
	block_unref(image);
}

static void test_streams(void)
{
	struct block_node *log = blklog_new(block_mem_new(0, NULL, 0)), *disk;
	struct block_create what = {.length = LEN,
				    .options = opts_parse("subformat=streamOptimized", NULL, NULL)};
	uint8_t *buf = g_malloc(GRAIN);
	GError *error = NULL;
	unsigned n = 0;

	assert_true(block_create("vmdk", log, &what, NULL));
	opts_free(what.options);
	disk = disk_open("vmdk", log);
	assert_true(block_is_compressed_only(disk));
	for (unsigned i = 0; i < LEN / GRAIN / 2; i++) {
		fill(buf, i + 1);
		if (i % 2) {
			assert_int_equal(
				block_pwrite_compressed(disk, (uint64_t)i * 2 * GRAIN, buf, GRAIN),
				0);
		} else {
			assert_int_equal(block_pwrite(disk, (uint64_t)i * 2 * GRAIN, buf, GRAIN, 0),
					 0);
		}
		if (i % 8 == 7)
			assert_int_equal(block_flush(disk), 0);
	}
	assert_int_equal(block_pwrite(disk, 0, buf, STEP, 0), -ENOTSUP);
	assert_int_equal(block_discard_zero(disk, 0, GRAIN), -ENOTSUP);
	assert_int_equal(block_discard_zero(disk, GRAIN, GRAIN), 0);
	block_unref(disk);
	assert_true(stream_holds(log, &n));
	assert_int_equal(n, LEN / GRAIN / 2);
	replay_stream(log);
	/* It is complete: only to be read. */
	block_ref(log);
	assert_null(block_open_over("vmdk", log, &error));
	assert_non_null(strstr(error->message, "written once"));
	g_error_free(error);
	g_free(buf);
	block_unref(log);
}

static void test_repair(void)
{
	static const struct {
		uint32_t entry;
		bool in_copy; /* the copy is right */
		uint64_t left;
	} rows[] = {{0x7fffffff, true, 0}, {0x7fffffff, false, 0}, {1, true, 0}, {22, true, 0}};
	uint8_t buf[STEP], entry[4];

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		struct block_node *file = disk_new("vmdk", "", LEN),
				  *disk = disk_open("vmdk", file);
		struct block_check r = {0}, fixed = {0};

		memset(buf, 7, sizeof(buf));
		assert_int_equal(block_pwrite(disk, 0, buf, sizeof(buf), 0), 0);
		block_unref(disk);
		put_le32(entry, rows[i].entry);
		assert_int_equal(block_pwrite(file, TABLE_AT * STEP, entry, 4, 0), 0);
		if (!rows[i].in_copy)
			assert_int_equal(block_pwrite(file, COPY_AT * STEP, entry, 4, 0), 0);
		disk = disk_open("vmdk", file);
		assert_true(block_check(disk, 0, &r, NULL));
		assert_int_equal(r.corruptions, 1);
		assert_true(block_check(disk, BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS, &fixed, NULL));
		assert_int_equal(fixed.corruptions, rows[i].left);
		assert_int_equal(fixed.leaks, 0);
		assert_int_equal(block_pread(disk, 0, buf, sizeof(buf)), 0);
		assert_int_equal(buf[0], rows[i].in_copy ? 7 : 0);
		block_unref(disk);
		block_unref(file);
	}
}

static const struct {
	unsigned off, len;
	uint64_t value;
	const char *says;
} bad_fields[] = {
	/* clang-format off */
	{VH_MAGIC,       4, 0x44574f43,   "COWD"},
	{VH_VERSION,     4, 0,            "version at offset 4"},
	{VH_VERSION,     4, 4,            "version"},
	{VH_VERSION,     4, 3,            "version 3"},
	{VH_VERSION,     4, 0xffffffff,   "version"},
	{VH_FLAGS,       4, 0x10001,      "compression"},
	{VH_NEWLINES,    4, 0x0a0a200a,   "newlines at offset 73"},
	{VH_CAPACITY,    8, 0,            "capacity in sectors at offset 12"},
	{VH_CAPACITY,    8, 1ull << 63,   "capacity"},
	{VH_CAPACITY,    8, UINT64_MAX,   "capacity"},
	{VH_CAPACITY,    8, 1ull << 53,   "16 MiB"},
	{VH_CAPACITY,    8, 1ull << 37,   "grain directory"},
	{VH_GRAIN,       8, 0,            "grain size in sectors at offset 20"},
	{VH_GRAIN,       8, 4,            "grain size"},
	{VH_GRAIN,       8, 129,          "grain size"},
	{VH_GRAIN,       8, 65536,        "grain size"},
	{VH_GRAIN,       8, 1ull << 63,   "grain size"},
	{VH_TEXT,        8, 0,            "descriptor at offset 28"},
	{VH_TEXT,        8, 1ull << 60,   "descriptor"},
	{VH_TEXT_LEN,    8, 0,            "no descriptor"},
	{VH_TEXT_LEN,    8, 2049,         "length of the descriptor in sectors at offset 36"},
	{VH_TEXT_LEN,    8, UINT64_MAX,   "length of the descriptor"},
	{VH_TABLE,       4, 0,            "entries of a grain table at offset 44"},
	{VH_TABLE,       4, 513,          "entries of a grain table"},
	{VH_TABLE,       4, 0xffffffff,   "entries of a grain table"},
	{VH_SECOND,      8, 0xffffffff,   "second grain directory at offset 48"},
	{VH_DIRECTORY,   8, 0,            "grain directory at offset 56"},
	{VH_DIRECTORY,   8, 1ull << 62,   "grain directory"},
	{VH_DIRECTORY,   8, UINT64_MAX,   "footer"},
	{VH_OVERHEAD,    8, 1ull << 40,   "overhead in sectors at offset 64"},
	{VH_COMPRESSION, 2, 2,            "compression at offset 77"},
	{FIRST_AT * STEP,  4, 0x7fffffff, "entry 0 of the grain directory, at offset 13312"},
	{SECOND_AT * STEP, 4, 0xffffffff, "entry 0 of the second grain directory"},
	/* clang-format on */
};

static void test_bad_headers(void)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(bad_fields); i++) {
		struct block_node *file = disk_new("vmdk", "", LEN);
		GError *error = NULL;
		uint8_t field[8];

		put_le64(field, bad_fields[i].value);
		assert_int_equal(block_pwrite(file, bad_fields[i].off, field, bad_fields[i].len, 0),
				 0);
		if (block_open_over("vmdk", file, &error))
			fail_msg("row %u (\"%s\") was opened", i, bad_fields[i].says);
		if (!strstr(error->message, bad_fields[i].says))
			fail_msg("row %u: \"%s\" does not say \"%s\"", i, error->message,
				 bad_fields[i].says);
		g_error_free(error);
	}
}

#define HEAD "version=1\nCID=1\ncreateType=\"monolithicFlat\"\n"
static const struct {
	const char *text, *says; /* NULL: it is right */
} texts[] = {
	{HEAD "RW 8 FLAT \"a\" 0", NULL},
	{"# c\r\n\r\n" HEAD "\tRDONLY 8 sparse \"a b\"\r\nddb.x = \"1\"\nrubbish\n", NULL},
	{HEAD "RW 8 ZERO\nrw 1 VMFS \"a\" 5\n", NULL},
	{HEAD "RW 8 FLAT \"a\" 0\nparentCID=00000001\nparentFileNameHint=\"x\"", NULL},
	{"", "no version"},
	{"version=1\ncreateType=\"x\"\nRW 1 ZERO", "no CID"},
	{"version=1\nCID=1\nRW 1 ZERO", "no createType"},
	{HEAD, "no extents"},
	{"version=4\n", "version must be"},
	{"version=1\nversion=1\n", "line at offset 110, \"version=1\": stands there twice"},
	{"CID=\n", "hexadecimal"},
	{"CID=123456789\n", "hexadecimal"},
	{"CID=0x1\n", "hexadecimal"},
	{"CID=1\nCID=1\n", "twice"},
	{"createType=\"a\n", "quote"},
	{"createType=\"\n", "quote"},
	{"createType=\"a\"\ncreateType=\"a\"", "twice"},
	{"parentFileNameHint=\"\"\n", "1 to 4095"},
	{HEAD "RW 8 FLAT \"a\"\nparentFileNameHint=\"x\"", "no parentCID"},
	{HEAD "RW 8 FLAT \"a\"\nparentCID=1", "no parentFileNameHint"},
	{"RW", "number of sectors"},
	{"RW 0 FLAT \"a\" 0", "number of sectors"},
	{"RW -1 FLAT \"a\" 0", "number of sectors"},
	{"RW 9223372036854775808 FLAT \"a\" 0", "number of sectors"},
	{"RW 99999999999999999999999 FLAT \"a\" 0", "number of sectors"},
	{"RW 8 FLAT", "quotes"},
	{"RW 8 FLAT a", "quotes"},
	{"RW 8 FLAT \"a", "quotes"},
	{"RW 8 FLAT \"\" 0", "quotes"},
	{"RW 8 FLAT \"a\" x", "offset must be"},
	{"RW 8 FLAT \"a\" -1", "offset must be"},
	{"RW 8 FLAT \"a\" 18446744073709551615", "offset must be"},
	{"RW 8 SPARSE \"a\" 5", "begins at offset 0"},
	{"RW 8 SESPARSE \"a\"", "not supported"},
	{"RW 8 LINEAR \"a\"", "must be FLAT"},
	{"NOACCESS 8 ZERO", "without access"},
};

static void test_descriptors(void **state)
{
	(void)state;
	for (unsigned i = 0; i < G_N_ELEMENTS(texts); i++) {
		size_t len = strlen(texts[i].text);
		char *exact = g_memdup2(texts[i].text, len); /* no NUL behind it */
		struct vmdk_text t;
		GError *error = NULL;
		bool ok = vmdk_parse_text(exact, len, 100, &t, &error);

		if (ok != !texts[i].says)
			fail_msg("row %u: %s", i, ok ? "taken" : error->message);
		if (!ok && !strstr(error->message, texts[i].says))
			fail_msg("row %u: \"%s\" does not say \"%s\"", i, error->message,
				 texts[i].says);
		g_clear_error(&error);
		vmdk_text_fini(&t);
		g_free(exact);
	}
}

static void test_too_many_extents(void **state)
{
	GString *text = g_string_new(HEAD);
	struct vmdk_text t;
	GError *error = NULL;

	(void)state;
	for (unsigned i = 0; i <= VMDK_MAX_EXTENTS; i++)
		g_string_append(text, "RW 8 ZERO\n");
	assert_false(vmdk_parse_text(text->str, text->len, 0, &t, &error));
	assert_non_null(strstr(error->message, "more than 4096"));
	g_error_free(error);
	vmdk_text_fini(&t);
	g_string_free(text, TRUE);
}

IN_LOOP(test_random_operations)
IN_LOOP(test_failing_writes)
IN_LOOP(test_streams)
IN_LOOP(test_repair)
IN_LOOP(test_bad_headers)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(run_test_random_operations),
		cmocka_unit_test(run_test_failing_writes),
		cmocka_unit_test(run_test_streams),
		cmocka_unit_test(run_test_repair),
		cmocka_unit_test(run_test_bad_headers),
		cmocka_unit_test(test_descriptors),
		cmocka_unit_test(test_too_many_extents),
	};

	return RUN_LOOP_TESTS(tests);
}
