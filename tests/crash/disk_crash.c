/* The lives of disks, and their crash states: see disk_crash.h. */
#include "disk_crash.h"

#include "tests/unit/base/loop_test.h"

#include <stdio.h>
#include <string.h>

#include "block/blklog.h"
#include "block/driver.h"
#include "block/mem.h"

enum { BLOCK = 512, BLOCKS = 4096, LEN = BLOCK * BLOCKS, STEPS = 30, SUBSETS = 2, LIVES = 5 };
enum { MAX_KEPT = 12 };

struct kept {
	char name[16];
	bool there;
	uint32_t version[BLOCKS];
};

/* What each block may hold: the version at the last flush, and every one since. */
struct life {
	const struct disk_crash *d;
	struct block_node *log, *disk;
	GRand *rand;
	uint32_t version, now[BLOCKS];
	GPtrArray *flushed; /* uint32_t[BLOCKS], as of each flush; index: value of the mark */
	GArray *writes;     /* struct change, all of them in order */
	bool snapshots, old_version;
	unsigned n_kept;
	struct kept kept[MAX_KEPT]; /* every one that was ever taken */
};

struct change {
	uint32_t block, version;
	unsigned flush; /* how many flushes came before */
};

static void fill(uint8_t *buf, uint32_t block, uint32_t version)
{
	for (unsigned i = 0; i < BLOCK / 8; i++) {
		uint32_t words[2] = {version ? block : 0, version};

		memcpy(buf + (size_t)i * 8, words, 8);
	}
}

static co_fn struct block_node *open_over(const struct life *l, struct block_node *file)
{
	GError *error = NULL;
	struct block_node *node = block_open_over(l->d->format, file, &error);

	if (!node)
		fail_msg("%s", error->message);
	return node;
}

static void set(struct life *l, uint32_t first, uint32_t n, uint32_t version)
{
	for (uint32_t i = first; i < first + n; i++) {
		struct change c = {i, version, l->flushed->len};

		l->now[i] = version;
		g_array_append_val(l->writes, c);
	}
}

static co_fn void flushed(struct life *l)
{
	blklog_mark(l->log, l->flushed->len);
	g_ptr_array_add(l->flushed, g_memdup2(l->now, sizeof(l->now)));
}

/* One of those that are there, or NULL. */
static struct kept *any_kept(struct life *l)
{
	for (unsigned tries = 0; l->n_kept && tries < MAX_KEPT; tries++) {
		struct kept *k = &l->kept[g_rand_int_range(l->rand, 0, (int)l->n_kept)];

		if (k->there)
			return k;
	}
	return NULL;
}

static co_fn void must_snapshot(struct life *l, enum block_snapshot_op op, const char *name)
{
	GError *error = NULL;

	if (!block_snapshot(l->disk, op, name, &error))
		fail_msg("%s", error->message);
}

static co_fn void snapshot_step(struct life *l)
{
	struct kept *k = any_kept(l);
	int what = g_rand_int_range(l->rand, 0, 3);

	if ((what == 0 || !k) && l->n_kept < MAX_KEPT) {
		k = &l->kept[l->n_kept++];
		snprintf(k->name, sizeof(k->name), "s%u", l->n_kept);
		memcpy(k->version, l->now, sizeof(l->now));
		k->there = true;
		must_snapshot(l, BLOCK_SNAP_CREATE, k->name);
	} else if (what == 1 && k) {
		for (uint32_t i = 0; i < BLOCKS; i++)
			set(l, i, 1, k->version[i]);
		must_snapshot(l, BLOCK_SNAP_APPLY, k->name);
	} else if (k) {
		k->there = false;
		must_snapshot(l, BLOCK_SNAP_DELETE, k->name);
	}
	flushed(l);
}

static co_fn void step(struct life *l)
{
	uint32_t first = (uint32_t)g_rand_int_range(l->rand, 0, BLOCKS);
	uint32_t n = (uint32_t)g_rand_int_range(l->rand, 1, g_rand_boolean(l->rand) ? 8 : 300);
	uint8_t *buf;

	if (l->snapshots && g_rand_int_range(l->rand, 0, 6) == 0) {
		snapshot_step(l);
		return;
	}
	n = MIN(n, BLOCKS - first);
	if (g_rand_int_range(l->rand, 0, 4) == 0) {
		set(l, first, n, 0);
		assert_int_equal(
			block_discard_zero(l->disk, (uint64_t)first * BLOCK, (uint64_t)n * BLOCK),
			0);
	} else {
		buf = g_malloc((size_t)n * BLOCK);
		l->version++;
		for (uint32_t i = 0; i < n; i++)
			fill(buf + (size_t)i * BLOCK, first + i, l->version);
		set(l, first, n, l->version);
		assert_int_equal(
			block_pwrite(l->disk, (uint64_t)first * BLOCK, buf, (size_t)n * BLOCK, 0),
			0);
		g_free(buf);
	}
	if (g_rand_int_range(l->rand, 0, 3) > 0)
		return;
	assert_int_equal(block_flush(l->disk), 0);
	flushed(l);
}

/* Whether block may hold version, mark flushes having been told of as done. */
static bool may_hold(const struct life *l, uint32_t block, uint32_t version, unsigned mark)
{
	const uint32_t *at = l->flushed->pdata[mark];

	if (at[block] == version)
		return true;
	for (unsigned i = l->writes->len; i-- > 0;) {
		const struct change *c = &g_array_index(l->writes, struct change, i);

		if (c->flush <= mark)
			return false;
		if (c->block == block && c->version == version)
			return true;
	}
	return false;
}

static void print_finding(const char *text, void *arg)
{
	(void)arg;
	printf("%s\n", text);
}

static void missing_flags_only(const char *text, void *arg)
{
	bool *others = arg;

	*others = *others || (g_str_has_prefix(text, "ERROR") && !strstr(text, "flag missing"));
}

/* Nothing but lost space; see above for version 2. */
static co_fn void judge_tables(struct life *l, struct block_node *disk, unsigned prefix)
{
	struct block_check r = {0}, fixed = {0};
	bool others = false;

	r.tell = missing_flags_only;
	r.tell_arg = &others;
	assert_true(block_check(disk, 0, &r, NULL));
	if (!r.corruptions)
		return;
	if (others || !l->old_version) {
		r.tell = print_finding;
		block_check(disk, 0, &r, NULL);
		fail_msg("prefix %u: the image is corrupt", prefix);
	}
	assert_true(block_check(disk, BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS, &fixed, NULL));
	assert_int_equal(fixed.corruptions, 0);
}

/* Every snapshot that the image has must be as it was taken. */
static co_fn void judge_snapshots(struct life *l, struct block_node *file, unsigned prefix)
{
	uint8_t *buf = g_malloc(LEN), wanted[BLOCK];

	file->writable = false;
	for (unsigned k = 0; k < l->n_kept; k++) {
		struct block_node *disk;
		bool there;

		block_ref(file);
		disk = open_over(l, file);
		there = block_snapshot(disk, BLOCK_SNAP_LOAD, l->kept[k].name, NULL);
		if (there)
			assert_int_equal(block_pread(disk, 0, buf, LEN), 0);
		for (uint32_t i = 0; there && i < BLOCKS; i++) {
			fill(wanted, i, l->kept[k].version[i]);
			if (memcmp(wanted, buf + (size_t)i * BLOCK, BLOCK) != 0)
				fail_msg("prefix %u: block %u of snapshot %s is another", prefix, i,
					 l->kept[k].name);
		}
		block_unref(disk);
	}
	g_free(buf);
}

static co_fn void judge(struct life *l, struct block_node *file, unsigned mark, unsigned prefix)
{
	struct block_node *disk;
	uint8_t *buf = g_malloc(LEN), wanted[BLOCK];

	block_ref(file);
	disk = open_over(l, file);
	judge_tables(l, disk, prefix);
	assert_int_equal(block_pread(disk, 0, buf, LEN), 0);
	for (uint32_t i = 0; i < BLOCKS; i++) {
		uint32_t words[2];

		memcpy(words, buf + (size_t)i * BLOCK, 8);
		fill(wanted, i, words[1]);
		if (memcmp(wanted, buf + (size_t)i * BLOCK, BLOCK) != 0 ||
		    !may_hold(l, i, words[1], mark))
			fail_msg("prefix %u, flush %u: block %u holds version %u of block %u",
				 prefix, mark, i, words[1], words[0]);
	}
	g_free(buf);
	block_unref(disk);
	judge_snapshots(l, file, prefix);
	block_unref(file);
}

/* base with entries [from, to): all, none, or any subset of what is no flush. */
static co_fn void apply(struct life *l, const struct blklog_entry *log, unsigned from, unsigned to,
			unsigned how, struct block_node *image)
{
	for (unsigned i = from; i < to; i++) {
		if (how == 0 || (how > 1 && g_rand_boolean(l->rand)))
			blklog_apply(&log[i], 0, log[i].len, image);
	}
}

static co_fn uint64_t replay(struct life *l, unsigned start)
{
	struct block_node *base = block_mem_new(0, NULL, 0);
	const struct blklog_entry *log;
	unsigned n, durable = 0, mark = 0;
	uint64_t states = 0;

	log = blklog_entries(l->log, &n);
	for (unsigned prefix = 1; prefix <= n; prefix++) {
		const struct blklog_entry *e = &log[prefix - 1];

		if (e->kind == BLKLOG_MARK)
			mark = (unsigned)e->off;
		for (unsigned how = 0; prefix > start && how < 2 + SUBSETS; how++) {
			struct block_node *image = block_mem_fork(base);

			apply(l, log, durable, prefix, how, image);
			judge(l, image, mark, prefix);
			states++;
		}
		if (e->kind != BLKLOG_FLUSH)
			continue;
		apply(l, log, durable, prefix, 0, base);
		durable = prefix;
	}
	block_unref(base);
	return states;
}

static co_fn void one_life(const struct disk_crash *d, unsigned seed)
{
	unsigned sets = g_strv_length((char **)d->options);
	const char *options = d->options[seed % sets];
	struct life *l = g_new0(struct life, 1);
	struct block_create what = {.length = LEN};
	GError *error = NULL;
	unsigned start;
	uint64_t states;

	l->d = d;
	l->rand = g_rand_new_with_seed(seed);
	l->flushed = g_ptr_array_new_with_free_func(g_free);
	l->writes = g_array_new(FALSE, FALSE, sizeof(struct change));
	l->snapshots = d->snapshots && seed >= sets && !strstr(options, "refcount_bits=1");
	l->old_version = strstr(options, "compat=0.10") != NULL;
	l->log = blklog_new(block_mem_new(0, NULL, 0));
	what.options = opts_parse(options, NULL, NULL);
	if (!block_create(d->format, l->log, &what, &error))
		fail_msg("%s", error->message);
	opts_free(what.options);
	blklog_mark(l->log, 0);
	g_ptr_array_add(l->flushed, g_memdup2(l->now, sizeof(l->now)));
	blklog_entries(l->log, &start);
	block_ref(l->log);
	l->disk = open_over(l, l->log);
	for (unsigned i = 0; i < STEPS; i++)
		step(l);
	block_unref(l->disk);
	states = replay(l, start);
	printf("life %u (%s): %" G_GUINT64_FORMAT " crash states\n", seed, options, states);
	block_unref(l->log);
	g_ptr_array_unref(l->flushed);
	g_array_unref(l->writes);
	g_rand_free(l->rand);
	g_free(l);
}

static co_fn void all_lives(void *arg)
{
	const char *more = getenv("OUTBOARD_CRASH_LIVES");
	const struct disk_crash *d = arg;
	unsigned n = more ? (unsigned)atoi(more) : d->lives ? d->lives : LIVES;

	for (unsigned seed = 0; seed < n; seed++)
		one_life(d, seed);
	fflush(stdout);
}

void disk_crash_test(const struct disk_crash *d)
{
	run_in_loop(all_lives, (void *)d);
}
