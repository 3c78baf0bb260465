/* Reads through chains: what is remembered of where things are never shows anything else. */
#include "block_test.h"

#include "block/mem.h"

enum { LEN = 4 << 20, LEVELS = 5, STEPS = 3000, MOST = 200 * 1024, SECTOR = 512 };

struct chain {
	struct block_node *top;
	uint8_t *model;
	GRand *rand;
};

static uint64_t random_range(struct chain *c, uint64_t length, size_t *len)
{
	uint64_t most = g_rand_int_range(c->rand, 0, 8) ? 8192 : MOST, off;

	*len = (size_t)g_rand_int_range(c->rand, 1, (int)most);
	off = (uint64_t)g_rand_int_range(c->rand, 0, (int)(length - *len));
	if (g_rand_boolean(c->rand)) {
		off -= off % SECTOR;
		*len = (*len + SECTOR - 1) / SECTOR * SECTOR;
		*len = MIN(*len, length - off);
	}
	return off;
}

static co_fn void random_write(struct chain *c, struct block_node *node)
{
	size_t len;
	uint64_t off = random_range(c, block_length(node), &len);

	if (g_rand_int_range(c->rand, 0, 4) == 0) {
		assert_int_equal(block_discard_zero(node, off, len), 0);
		memset(c->model + off, 0, len);
		return;
	}
	for (size_t i = 0; i < len; i++)
		c->model[off + i] = (uint8_t)g_rand_int(c->rand);
	assert_int_equal(block_pwrite(node, off, c->model + off, len, 0), 0);
}

/* A level over those that are there; they are read-only from here on. */
static co_fn void add_level(struct chain *c, const char *options, uint64_t length)
{
	struct block_create what = {.length = length, .backing_name = c->top ? "below" : NULL};
	struct block_node *file = block_mem_new(0, NULL, 0), *node;

	what.options = opts_parse(options, NULL, NULL);
	what.backing_format = what.backing_name ? "qcow2" : NULL;
	assert_true(block_create("qcow2", file, &what, NULL));
	opts_free(what.options);
	node = block_open_over("qcow2", file, NULL);
	assert_non_null(node);
	node->backing = c->top;
	/* A longer level under a shorter one is cut off, and does not show in a longer one above.
	 */
	memset(c->model + length, 0, LEN - length);
	c->top = node;
}

static co_fn void make_chain(struct chain *c)
{
	static const char *const options[] = {"cluster_size=64K", "cluster_size=4K",
					      "cluster_size=512", "cluster_size=16K,extended_l2=on",
					      "cluster_size=1M"};

	for (unsigned i = 0; i < LEVELS; i++) {
		add_level(c, options[g_rand_int_range(c->rand, 0, G_N_ELEMENTS(options))],
			  i == LEVELS - 1
				  ? LEN
				  : LEN - (uint64_t)g_rand_int_range(c->rand, 0, 2000) * SECTOR);
		for (unsigned k = 0; k < 12; k++)
			random_write(c, c->top);
		assert_int_equal(block_flush(c->top), 0);
		if (i < LEVELS - 1)
			c->top->writable = false;
	}
}

static void test_random_reads(void)
{
	for (unsigned seed = 0; seed < 4; seed++) {
		struct chain c = {.model = g_malloc0(LEN), .rand = g_rand_new_with_seed(seed)};
		uint8_t *buf = g_malloc(LEN);

		make_chain(&c);
		for (unsigned i = 0; i < STEPS; i++) {
			size_t len;
			uint64_t off = random_range(&c, LEN, &len);

			if (i % 16 == 0)
				random_write(&c, c.top);
			assert_int_equal(block_pread(c.top, off, buf, len), 0);
			assert_memory_equal(buf, c.model + off, len);
		}
		assert_non_null(c.top->below);
		assert_int_equal(block_pread(c.top, 0, buf, LEN), 0);
		assert_memory_equal(buf, c.model, LEN);
		block_unref(c.top);
		g_free(buf);
		g_free(c.model);
		g_rand_free(c.rand);
	}
}

/* Who writes below is seen: nothing is remembered then. */
static void test_writable_levels(void)
{
	struct chain c = {.model = g_malloc0(LEN), .rand = g_rand_new_with_seed(9)};
	uint8_t buf[SECTOR], data[SECTOR];

	for (unsigned i = 0; i < 3; i++)
		add_level(&c, "", LEN);
	c.top->backing->writable = false;
	assert_int_equal(block_pread(c.top, 0, buf, SECTOR), 0);
	memset(data, 5, SECTOR);
	assert_int_equal(block_pwrite(c.top->backing->backing, 0, data, SECTOR, 0), 0);
	assert_int_equal(block_pread(c.top, 0, buf, SECTOR), 0);
	assert_memory_equal(buf, data, SECTOR);
	block_unref(c.top);
	g_free(c.model);
	g_rand_free(c.rand);
}

IN_LOOP(test_random_reads)
IN_LOOP(test_writable_levels)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(run_test_random_reads),
		cmocka_unit_test(run_test_writable_levels),
	};

	return RUN_LOOP_TESTS(tests);
}
