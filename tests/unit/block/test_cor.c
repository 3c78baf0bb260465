/* Filter "copy-on-read": over a qcow2 image in memory whose backing file counts its reads. */
#include "block_test.h"

#include "base/log.h"
#include "block/drivers.h"
#include "block/fault.h"
#include "block/mem.h"

enum { CLUSTER = 4096, BLOCK = 512, LEN = 1 << 20, BASE_LEN = LEN - 3 * BLOCK, WORKERS = 4 };

struct chain {
	struct block_node *base, *file, *top, *cor;
	uint8_t *model;
};

static void quiet(enum log_level level, const char *area, const char *text, void *arg)
{
	(void)level;
	(void)area;
	(void)text;
	(void)arg;
}

/* The base is shorter than the top, and has data, but for a quarter of it. */
static co_fn void chain_init(struct chain *c)
{
	struct block_create what = {.length = LEN,
				    .options = opts_parse("cluster_size=4096", NULL, NULL)};
	GRand *rand = g_rand_new_with_seed(3);

	c->model = g_malloc0(LEN);
	for (unsigned i = 0; i < BASE_LEN / 4 * 3; i++)
		c->model[i] = (uint8_t)g_rand_int(rand);
	g_rand_free(rand);
	c->base = fault_new(block_mem_new(BASE_LEN, c->model, BASE_LEN / 4 * 3));
	c->file = fault_new(block_mem_new(0, NULL, 0));
	assert_true(block_create("qcow2", c->file, &what, NULL));
	opts_free(what.options);
	block_ref(c->file);
	c->top = block_open_over("qcow2", c->file, NULL);
	assert_non_null(c->top);
	c->top->backing = c->base;
	c->cor = block_new_over(&block_copy_on_read, c->top);
}

static co_fn void chain_fini(struct chain *c)
{
	struct block_check r = {0};
	struct block_node *again;

	block_unref(c->cor);
	again = block_open_over("qcow2", c->file, NULL);
	assert_non_null(again);
	assert_true(block_check(again, 0, &r, NULL));
	assert_int_equal(r.corruptions + r.leaks, 0);
	block_unref(again);
	g_free(c->model);
}

static co_fn void read_and_compare(struct chain *c, uint64_t off, size_t len)
{
	uint8_t *buf = g_malloc(len);

	assert_int_equal(block_pread(c->cor, off, buf, len), 0);
	assert_memory_equal(buf, c->model + off, len);
	g_free(buf);
}

static uint64_t base_reads(const struct chain *c)
{
	struct block_stats stats;

	block_get_stats(c->base->file, &stats); /* the chain asks its driver past the core */
	return stats.reads;
}

/* In which image of the chain it lies; -1: in none. */
static co_fn int depth(struct chain *c, uint64_t off)
{
	struct block_where w;

	assert_int_equal(block_find(c->top, off, 1, &w), 0);
	return w.present ? (int)w.depth : -1;
}

static void test_read_once(void)
{
	struct chain c;
	uint64_t before;

	chain_init(&c);
	assert_int_equal(depth(&c, 3 * CLUSTER), 1);
	read_and_compare(&c, 3 * CLUSTER + 100, 50);
	before = base_reads(&c);
	assert_true(before > 0);
	assert_int_equal(depth(&c, 3 * CLUSTER), 0);
	assert_int_equal(depth(&c, 4 * CLUSTER - 1), 0);
	assert_int_equal(depth(&c, 2 * CLUSTER), 1);
	assert_int_equal(depth(&c, 4 * CLUSTER), 1);
	read_and_compare(&c, 3 * CLUSTER, CLUSTER);
	assert_int_equal(base_reads(&c), before);
	/* Over the end of the base, and where nobody has anything. */
	read_and_compare(&c, 0, LEN);
	assert_int_equal(depth(&c, LEN - CLUSTER), 0);
	before = base_reads(&c);
	read_and_compare(&c, 0, LEN);
	assert_int_equal(base_reads(&c), before);
	chain_fini(&c);
}

/* Zeros of the base cost no data above it. */
static void test_zeros_stay_zeros(void)
{
	struct chain c;
	unsigned status;
	uint64_t run;

	chain_init(&c);
	read_and_compare(&c, LEN - 20 * CLUSTER, CLUSTER);
	assert_int_equal(depth(&c, LEN - 20 * CLUSTER), 0);
	assert_int_equal(block_get_status(c.cor, LEN - 20 * CLUSTER, CLUSTER, &status, &run), 0);
	assert_int_equal(status, BLOCK_ZERO);
	chain_fini(&c);
}

/* A copy that cannot be made does not spoil the reading. */
static void test_no_space(void)
{
	struct fault_rule rule = {.op = FAULT_WRITE, .errnum = ENOSPC};
	struct chain c;

	chain_init(&c);
	log_set_sink(quiet, NULL);
	fault_add(c.file, &rule);
	read_and_compare(&c, 0, LEN);
	assert_int_equal(depth(&c, 0), 1);
	fault_clear(c.file);
	read_and_compare(&c, 0, LEN);
	assert_int_equal(depth(&c, 0), 0);
	log_set_sink(NULL, NULL);
	chain_fini(&c);
}

/* And one of the base does. */
static void test_unreadable_base(void)
{
	struct fault_rule rule = {.op = FAULT_READ, .errnum = EIO, .from = 8192, .to = 8193};
	struct chain c;
	uint8_t byte;

	chain_init(&c);
	log_set_sink(quiet, NULL);
	fault_add(c.base, &rule);
	assert_int_equal(block_pread(c.cor, 8192, &byte, 1), -EIO);
	read_and_compare(&c, 0, 8192);
	log_set_sink(NULL, NULL);
	fault_clear(c.base);
	chain_fini(&c);
}

/* Each has blocks of its own, that share clusters with the others'. */
struct worker {
	struct chain *c;
	GRand *rand;
	unsigned number, *running;
};

static co_fn void step(struct worker *w)
{
	unsigned n = LEN / BLOCK / WORKERS;
	uint64_t off = (uint64_t)g_rand_int_range(w->rand, 0, (gint32)n) * WORKERS * BLOCK +
		       (uint64_t)w->number * BLOCK;
	uint8_t buf[BLOCK];

	switch (g_rand_int_range(w->rand, 0, 4)) {
	case 0:
		memset(buf, g_rand_int_range(w->rand, 1, 256), sizeof(buf));
		memcpy(w->c->model + off, buf, sizeof(buf));
		assert_int_equal(block_pwrite(w->c->cor, off, buf, sizeof(buf), 0), 0);
		break;
	case 1:
		memset(w->c->model + off, 0, BLOCK);
		assert_int_equal(block_discard_zero(w->c->cor, off, BLOCK), 0);
		break;
	default: read_and_compare(w->c, off, BLOCK);
	}
}

static co_fn void work(void *arg)
{
	struct worker *w = arg;

	for (unsigned i = 0; i < 300; i++)
		step(w);
	--*w->running;
}

/* Writes come while clusters are on their way up, and none is buried by what was below. */
static void test_writes_meanwhile(void)
{
	struct fault_rule late = {.op = FAULT_ANY, .delay_ns = 1};
	struct worker workers[WORKERS];
	unsigned running = WORKERS;
	struct chain c;

	chain_init(&c);
	fault_add(c.base, &late); /* each of them lets the others run */
	fault_add(c.file, &late);
	for (unsigned i = 0; i < WORKERS; i++) {
		workers[i] = (struct worker){&c, g_rand_new_with_seed(i), i, &running};
		co_start(co_loop(), work, &workers[i]);
	}
	while (running)
		co_sleep_ns(100000);
	for (unsigned i = 0; i < WORKERS; i++)
		g_rand_free(workers[i].rand);
	fault_clear(c.base);
	fault_clear(c.file);
	read_and_compare(&c, 0, LEN);
	chain_fini(&c);
}

static void test_refused(void)
{
	must_refuse("driver=copy-on-read,file.driver=mem,file.size=4096", 0, "for writing");
	must_refuse("driver=copy-on-read,file.driver=mem,file.size=4096", BLOCK_RDWR,
		    "backing file");
}

IN_LOOP(test_read_once)
IN_LOOP(test_zeros_stay_zeros)
IN_LOOP(test_no_space)
IN_LOOP(test_unreadable_base)
IN_LOOP(test_writes_meanwhile)
IN_LOOP(test_refused)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(run_test_read_once),
		cmocka_unit_test(run_test_zeros_stay_zeros),
		cmocka_unit_test(run_test_no_space),
		cmocka_unit_test(run_test_unreadable_base),
		cmocka_unit_test(run_test_writes_meanwhile),
		cmocka_unit_test(run_test_refused),
	};

	return RUN_LOOP_TESTS(tests);
}
