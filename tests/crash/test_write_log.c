/*
 * The file of a write log (docs/block-drivers.md): what a qcow2 image went through under several
 * writers at once is recorded as users would have it recorded, and each state that a power cut may
 * have left is built from it; the image must open and check clean of corruption. And logs that are
 * cut off or damaged themselves.
 */
#include "tests/unit/block/block_test.h"

#include <stdio.h>

#include "block/blklog.h"
#include "block/mem.h"

enum { CLUSTER = 4096, DISK = 4 << 20, WRITERS = 3, STEPS = 25, STATES = 3 };

struct place {
	char *folder, *image, *log, *options;
};

static struct place place_new(void)
{
	struct place p = {.folder = g_dir_make_tmp("outboard-log-XXXXXX", NULL)};

	assert_non_null(p.folder);
	p.image = g_build_filename(p.folder, "image", NULL);
	p.log = g_build_filename(p.folder, "log", NULL);
	p.options = g_strdup_printf("driver=qcow2,file.driver=log,file.log=%s,"
				    "file.file.filename=%s",
				    p.log, p.image);
	return p;
}

static void place_free(struct place *p)
{
	unlink(p->image);
	unlink(p->log);
	assert_int_equal(rmdir(p->folder), 0);
	g_free(p->folder);
	g_free(p->image);
	g_free(p->log);
	g_free(p->options);
}

static co_fn void make_image(const struct place *p)
{
	struct block_create what = {.length = DISK,
				    .options = opts_parse("cluster_size=4096", NULL, NULL)};
	struct opts *o = opts_new();
	struct block_node *file;

	opts_set(o, "filename", p->image);
	opts_set(o, "create", "on");
	file = block_open(o, BLOCK_RDWR, NULL);
	opts_free(o);
	assert_non_null(file);
	assert_true(block_create("qcow2", file, &what, NULL));
	opts_free(what.options);
	block_unref(file);
}

struct writer {
	struct block_node *disk;
	GRand *rand;
	unsigned *running;
};

static co_fn void write_at_random(void *arg)
{
	struct writer *w = arg;
	uint8_t buf[3 * CLUSTER];

	for (unsigned i = 0; i < STEPS; i++) {
		uint64_t off = (uint64_t)g_rand_int_range(w->rand, 0, DISK - (int)sizeof(buf));
		size_t len = (size_t)g_rand_int_range(w->rand, 1, sizeof(buf));

		memset(buf, (int)i + 1, len);
		switch (g_rand_int_range(w->rand, 0, 6)) {
		case 0: assert_int_equal(block_flush(w->disk), 0); break;
		case 1: assert_int_equal(block_discard_zero(w->disk, off, len), 0); break;
		default: assert_int_equal(block_pwrite(w->disk, off, buf, len, 0), 0);
		}
	}
	--*w->running;
}

static co_fn void live(const struct place *p)
{
	struct block_node *disk = must_open(p->options, BLOCK_RDWR);
	struct writer writers[WRITERS];
	unsigned running = WRITERS;

	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){disk, g_rand_new_with_seed(i), &running};
		co_start(co_loop(), write_at_random, &writers[i]);
	}
	while (running)
		co_sleep_ns(1000000);
	for (unsigned i = 0; i < WRITERS; i++)
		g_rand_free(writers[i].rand);
	block_unref(disk);
}

/* The image as it was before. */
static co_fn struct block_node *load_image(const struct place *p)
{
	gchar *data;
	gsize len;
	struct block_node *node;

	assert_true(g_file_get_contents(p->image, &data, &len, NULL));
	node = block_mem_new(len, data, len);
	g_free(data);
	return node;
}

static co_fn void judge(struct block_node *image)
{
	GError *error = NULL;
	struct block_node *disk = block_open_over("qcow2", image, &error);
	struct block_check r = {0};

	if (!disk)
		fail_msg("%s", error->message);
	assert_true(block_check(disk, 0, &r, NULL));
	assert_int_equal(r.corruptions, 0);
	block_unref(disk);
}

/* What each prefix may have left: all of it, what was flushed, and that with some of the rest. */
static co_fn unsigned replay(struct block_node *base, const struct blklog_entry *log, unsigned n)
{
	GRand *rand = g_rand_new_with_seed(99);
	unsigned flushes = 0;
	uint64_t durable = 0;

	for (unsigned prefix = 0; prefix <= n; prefix++) {
		for (unsigned how = 0; how < STATES; how++) {
			struct block_node *image = block_mem_fork(base);

			for (unsigned i = 0; i < prefix; i++) {
				if (i < durable || log[i].fua || how == 0 ||
				    (how > 1 && g_rand_boolean(rand)))
					blklog_apply(&log[i], 0, log[i].len, image);
			}
			judge(image);
		}
		if (prefix < n && log[prefix].kind == BLKLOG_FLUSH) {
			durable = MAX(durable, log[prefix].off);
			assert_true(log[prefix].off <= prefix);
			flushes++;
		}
	}
	g_rand_free(rand);
	return flushes;
}

static co_fn struct blklog_entry *load(const char *path, unsigned *n, uint64_t *length)
{
	struct block_node *file = block_open_file(path, 0, NULL);
	struct blklog_entry *entries;
	GError *error = NULL;

	assert_non_null(file);
	if (!blklog_load(file, &entries, n, length, &error))
		fail_msg("%s", error->message);
	block_unref(file);
	return entries;
}

static void test_life_and_its_crashes(void)
{
	struct place p = place_new();
	struct block_node *base, *end;
	struct blklog_entry *log;
	uint64_t length;
	unsigned n;

	make_image(&p);
	base = load_image(&p);
	live(&p);
	log = load(p.log, &n, &length);
	assert_int_equal(length, block_length(base));
	assert_true(n > WRITERS * STEPS);
	assert_true(replay(base, log, n) > 3);
	/* All of it is what the file holds now. */
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(blklog_apply(&log[i], 0, log[i].len, base), 0);
	end = load_image(&p);
	assert_int_equal(block_length(base), block_length(end));
	for (uint64_t off = 0; off < block_length(end); off += CLUSTER) {
		size_t len = MIN((uint64_t)CLUSTER, block_length(end) - off);
		uint8_t a[CLUSTER], b[CLUSTER];

		assert_int_equal(block_pread(base, off, a, len), 0);
		assert_int_equal(block_pread(end, off, b, len), 0);
		assert_memory_equal(a, b, len);
	}
	/* A log that is there is not written over. */
	must_refuse(p.options, BLOCK_RDWR, "log=");
	block_unref(end);
	block_unref(base);
	blklog_free(log, n);
	place_free(&p);
}

/* How many entries are found in the first len bytes; -1: it is no log. */
static co_fn int count(const uint8_t *data, size_t len)
{
	struct block_node *file = block_mem_new(len, data, len);
	struct blklog_entry *entries = NULL;
	uint64_t length;
	unsigned n = 0;
	bool ok = blklog_load(file, &entries, &n, &length, NULL);

	block_unref(file);
	if (ok)
		blklog_free(entries, n);
	return ok ? (int)n : -1;
}

static void test_torn_and_damaged(void)
{
	struct place p = place_new();
	GRand *rand = g_rand_new_with_seed(1);
	gchar *data;
	gsize len;
	int last = -1, all;

	make_image(&p);
	live(&p);
	assert_true(g_file_get_contents(p.log, &data, &len, NULL));
	all = count((uint8_t *)data, len);
	for (size_t cut = 0; cut <= len; cut += cut < 300 ? 1 : 997) {
		int n = count((uint8_t *)data, cut);

		assert_true(n >= last && n <= all);
		assert_int_equal(n < 0, cut < 64);
		last = n;
	}
	/* Whatever is changed, the entries before it are found and it is not. */
	for (unsigned i = 0; i < 200; i++) {
		size_t at = (size_t)g_rand_int_range(rand, 0, (gint32)len);
		int before = count((uint8_t *)data, at), n;

		data[at] ^= (char)(1 << g_rand_int_range(rand, 0, 8));
		n = count((uint8_t *)data, len);
		assert_int_equal(n, at < 64 ? -1 : before);
		g_free(data);
		assert_true(g_file_get_contents(p.log, &data, &len, NULL));
	}
	g_free(data);
	g_rand_free(rand);
	place_free(&p);
}

IN_LOOP(test_life_and_its_crashes)
IN_LOOP(test_torn_and_damaged)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(run_test_life_and_its_crashes),
		cmocka_unit_test(run_test_torn_and_damaged),
	};

	return RUN_LOOP_TESTS(tests);
}
