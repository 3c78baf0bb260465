/*
 * Power cuts at every moment of VDI, VHD and VHDX images' lives: see disk_crash.h. And while they
 * grow: the disk has the old or the new length then, and all that it held.
 */
#include "tests/unit/base/loop_test.h"

#include <stdio.h>
#include <string.h>

#include "block/blklog.h"
#include "block/driver.h"
#include "block/mem.h"
#include "disk_crash.h"

enum { MIB = 1 << 20, SUBSETS = 4 };

static const char *const vdi_options[] = {
	"cluster_size=4k", "cluster_size=64k", "", "static=on,cluster_size=64k", NULL,
};
static const char *const vpc_options[] = {
	"force_size=on,block_size=4k",
	"force_size=on,block_size=64k",
	"force_size=on",
	"force_size=on,subformat=fixed",
	NULL,
};
static const char *const vhdx_options[] = {
	"block_size=1M",
	"",
	"block_size=1M,subformat=fixed",
	"block_size=1M,logical_sector_size=4096",
	NULL,
};

static void test_vdi(void **state)
{
	(void)state;
	disk_crash_test(&(struct disk_crash){.format = "vdi", .options = vdi_options});
}

static void test_vpc(void **state)
{
	(void)state;
	disk_crash_test(&(struct disk_crash){.format = "vpc", .options = vpc_options});
}

static void test_vhdx(void **state)
{
	(void)state;
	disk_crash_test(&(struct disk_crash){.format = "vhdx", .options = vhdx_options});
}

/* A disk that grows after something was written to it; lengths are enough to need longer tables. */
struct growth {
	const char *format, *options;
	uint64_t before, after;
};

static const struct growth growths[] = {
	{"vdi", "cluster_size=4k", (uint64_t)MIB, (uint64_t)8 * MIB},
	{"vdi", "cluster_size=4k,static=on", (uint64_t)MIB, (uint64_t)6 * MIB},
	{"vdi", "", (uint64_t)2 * MIB, (uint64_t)3 * MIB},
	{"vpc", "force_size=on,block_size=4k", (uint64_t)MIB, (uint64_t)8 * MIB},
	{"vhdx", "block_size=1M", (uint64_t)2 * MIB, (uint64_t)200 << 30},
	{"vhdx", "block_size=1M,subformat=fixed", (uint64_t)2 * MIB, (uint64_t)3 * MIB},
};

static co_fn struct block_node *open_over(const struct growth *g, struct block_node *file)
{
	GError *error = NULL;
	struct block_node *node = block_open_over(g->format, file, &error);

	if (!node)
		fail_msg("%s: %s", g->format, error->message);
	return node;
}

static void fill(const struct growth *g, uint8_t *buf)
{
	for (uint64_t i = 0; i < g->before; i += 8) {
		uint64_t word = i % 65536 < 20000 ? i + 1 : 0;

		memcpy(buf + i, &word, 8);
	}
}

static co_fn void judge(const struct growth *g, struct block_node *file, unsigned prefix)
{
	uint8_t *wanted = g_malloc(g->before), *found = g_malloc(g->before);
	struct block_node *disk = open_over(g, file);
	struct block_check r = {0};

	if (block_length(disk) != g->before && block_length(disk) != g->after)
		fail_msg("%s, prefix %u: has %" G_GUINT64_FORMAT " bytes", g->format, prefix,
			 block_length(disk));
	fill(g, wanted);
	assert_int_equal(block_pread(disk, 0, found, g->before), 0);
	if (memcmp(wanted, found, g->before) != 0)
		fail_msg("%s (%s), prefix %u: the content is another", g->format, g->options,
			 prefix);
	assert_true(block_check(disk, 0, &r, NULL));
	if (r.corruptions)
		fail_msg("%s (%s), prefix %u: the image is corrupt", g->format, g->options, prefix);
	assert_int_equal(block_pwrite(disk, block_length(disk) - 4096, found, 4096, 0), 0);
	assert_int_equal(block_flush(disk), 0);
	block_unref(disk);
	g_free(wanted);
	g_free(found);
}

static co_fn void try_prefix(const struct growth *g, GRand *rand, const struct blklog_entry *log,
			     unsigned durable, unsigned prefix, struct block_node *base)
{
	for (unsigned how = 0; how < 2 + SUBSETS; how++) {
		struct block_node *image = block_mem_fork(base);

		for (unsigned i = durable; i < prefix; i++) {
			if (how == 0 || (how > 1 && g_rand_boolean(rand)))
				blklog_apply(&log[i], 0, log[i].len, image);
		}
		judge(g, image, prefix);
	}
}

static co_fn struct block_node *make(const struct growth *g)
{
	struct block_node *log = blklog_new(block_mem_new(0, NULL, 0));
	struct block_create what = {.length = g->before};
	uint8_t *buf = g_malloc(g->before);
	struct block_node *disk;

	what.options = opts_parse(g->options, NULL, NULL);
	assert_true(block_create(g->format, log, &what, NULL));
	opts_free(what.options);
	block_ref(log);
	disk = open_over(g, log);
	fill(g, buf);
	for (uint64_t off = 0; off < g->before; off += 65536)
		assert_int_equal(block_pwrite(disk, off, buf + off, 20480, 0), 0);
	assert_int_equal(block_flush(disk), 0);
	g_free(buf);
	block_unref(disk);
	return log;
}

static co_fn void grow_one(const struct growth *g)
{
	struct block_node *log = make(g), *base = block_mem_new(0, NULL, 0), *disk;
	GRand *rand = g_rand_new_with_seed(1);
	const struct blklog_entry *entries;
	unsigned start, n, durable = 0;

	blklog_entries(log, &start);
	block_ref(log);
	disk = open_over(g, log);
	assert_int_equal(block_truncate(disk, g->after), 0);
	block_unref(disk);
	entries = blklog_entries(log, &n);
	for (unsigned prefix = 1; prefix <= n; prefix++) {
		if (prefix > start)
			try_prefix(g, rand, entries, durable, prefix, base);
		if (entries[prefix - 1].kind != BLKLOG_FLUSH)
			continue;
		for (; durable < prefix; durable++)
			blklog_apply(&entries[durable], 0, entries[durable].len, base);
	}
	printf("%s (%s): %u moments of growing\n", g->format, g->options, n - start);
	block_unref(base);
	block_unref(log);
	g_rand_free(rand);
}

static co_fn void grow_all(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < G_N_ELEMENTS(growths); i++)
		grow_one(&growths[i]);
	fflush(stdout);
}

static void test_growing(void **state)
{
	(void)state;
	run_in_loop(grow_all, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_growing),
		cmocka_unit_test(test_vdi),
		cmocka_unit_test(test_vpc),
		cmocka_unit_test(test_vhdx),
	};

	return RUN_LOOP_TESTS(tests);
}
