/* See disk_work.h. */
#include "disk_work.h"

#include "block/mem.h"

enum { STEP = 512, WORKERS = 4, STEPS = 150, MOST = 40 * STEP };

void log_nothing(enum log_level level, const char *area, const char *text, void *arg)
{
	(void)level;
	(void)area;
	(void)text;
	(void)arg;
}

co_fn struct block_node *disk_new(const char *format, const char *options, uint64_t len)
{
	struct block_node *file = block_mem_new(0, NULL, 0);
	struct block_create what = {.length = len, .options = opts_parse(options, NULL, NULL)};
	GError *error = NULL;

	if (!block_create(format, file, &what, &error))
		fail_msg("%s: %s", options, error->message);
	opts_free(what.options);
	return file;
}

co_fn struct block_node *disk_open(const char *format, struct block_node *file)
{
	GError *error = NULL;
	struct block_node *node;

	block_ref(file);
	node = block_open_over(format, file, &error);
	if (!node)
		fail_msg("%s", error->message);
	return node;
}

co_fn void disk_check(const char *format, struct block_node *file, uint64_t leaks)
{
	struct block_node *node = disk_open(format, file);
	struct block_check r = {0};

	assert_true(block_check(node, 0, &r, NULL));
	assert_int_equal(r.corruptions, 0);
	assert_true(r.leaks <= leaks);
	block_unref(node);
}

/* Workers write each to blocks of its own, so that they meet in clusters but not in blocks. */
struct worker {
	struct block_node *disk;
	uint8_t *model;
	GRand *rand;
	unsigned number, *running;
	struct co_queue *done;
};

static co_fn void random_step(struct worker *w)
{
	uint64_t block = (uint64_t)g_rand_int_range(w->rand, 0, WORK_LEN / MOST / WORKERS);
	uint64_t off = (block * WORKERS + w->number) * MOST;
	uint64_t from = (uint64_t)g_rand_int_range(w->rand, 0, MOST - 1);
	size_t len = (size_t)g_rand_int_range(w->rand, 1, MOST - (int)from + 1);
	uint8_t *buf;

	off += from;
	len = MIN(len, WORK_LEN - off);
	switch (g_rand_int_range(w->rand, 0, 6)) {
	case 0:
		assert_int_equal(block_discard_zero(w->disk, off, len), 0);
		memset(w->model + off, 0, len);
		break;
	case 1: assert_int_equal(block_flush(w->disk), 0); break;
	case 2:
		buf = g_malloc(len);
		assert_int_equal(block_pread(w->disk, off, buf, len), 0);
		assert_memory_equal(buf, w->model + off, len);
		g_free(buf);
		break;
	default:
		for (size_t i = 0; i < len; i++)
			w->model[off + i] = (uint8_t)g_rand_int(w->rand);
		assert_int_equal(block_pwrite(w->disk, off, w->model + off, len, 0), 0);
		break;
	}
}

static co_fn void work(void *arg)
{
	struct worker *w = arg;

	for (unsigned i = 0; i < STEPS; i++) {
		random_step(w);
		co_reschedule();
	}
	if (--*w->running == 0)
		co_queue_wake_all(w->done);
}

co_fn void disk_work(struct block_node *disk, uint8_t *model, unsigned seed)
{
	struct worker w[WORKERS];
	unsigned running = WORKERS;
	struct co_queue done = {0};

	for (unsigned i = 0; i < WORKERS; i++) {
		w[i] = (struct worker){.disk = disk,
				       .model = model,
				       .number = i,
				       .running = &running,
				       .done = &done,
				       .rand = g_rand_new_with_seed(seed * WORKERS + i)};
		co_start(co_loop(), work, &w[i]);
	}
	while (running)
		co_queue_wait(&done);
	for (unsigned i = 0; i < WORKERS; i++)
		g_rand_free(w[i].rand);
}

co_fn void disk_compare(struct block_node *disk, const uint8_t *model)
{
	uint8_t *buf = g_malloc(WORK_LEN);

	assert_int_equal(block_pread(disk, 0, buf, WORK_LEN), 0);
	assert_memory_equal(buf, model, WORK_LEN);
	g_free(buf);
}
