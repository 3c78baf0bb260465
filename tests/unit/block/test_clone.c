/* One disk on several loops: every clone reads and writes it, flushes cover all, failures too. */
#include "block_test.h"

#include <pthread.h>

enum { LOOPS = 3, SECTOR = 512, SECTORS = 3000 };

struct place {
	struct loop *loop;
	pthread_t thread;
	struct block_node *node;
	unsigned number;
};

static struct {
	struct place places[LOOPS];
	const char *options;
} * t;

static void *run_loop(void *arg)
{
	loop_run(arg);
	return NULL;
}

static void open_first(void *arg)
{
	struct place *p = arg;

	p->node = must_open(t->options, BLOCK_RDWR);
	assert_true(block_share(p->node));
}

static void clone_it(void *arg)
{
	struct place *p = arg;

	p->node = block_clone_on_loop(t->places[0].node);
	assert_int_equal(block_length(p->node), block_length(t->places[0].node));
	assert_true(block_is_writable(p->node));
}

static void close_it(void *arg)
{
	struct place *p = arg;

	block_unref(p->node);
}

struct writer {
	struct loop_task task;
	struct place *place;
	GMutex lock;
	GCond cond;
	bool done;
};

/* Every LOOPS-th sector is this loop's. */
static void write_own(void *arg)
{
	struct writer *w = arg;
	uint8_t buf[SECTOR];

	for (unsigned i = w->place->number; i < SECTORS; i += LOOPS) {
		memset(buf, (int)(w->place->number + 1), sizeof(buf));
		assert_int_equal(block_pwrite(w->place->node, (uint64_t)i * SECTOR, buf, SECTOR, 0),
				 0);
		if (i % 64 == 0)
			assert_int_equal(block_flush(w->place->node), 0);
		if (i % 100 == 0)
			co_reschedule();
	}
	g_mutex_lock(&w->lock);
	w->done = true;
	g_cond_signal(&w->cond);
	g_mutex_unlock(&w->lock);
}

static void start_writer(struct loop_task *task)
{
	struct writer *w = (struct writer *)task;

	co_start(w->place->loop, write_own, w);
}

static void read_all(void *arg)
{
	struct place *p = arg;
	uint8_t buf[SECTOR];

	for (unsigned i = 0; i < SECTORS; i++) {
		assert_int_equal(block_pread(p->node, (uint64_t)i * SECTOR, buf, SECTOR), 0);
		assert_int_equal(buf[0], i % LOOPS + 1);
		assert_int_equal(buf[SECTOR - 1], i % LOOPS + 1);
	}
}

static void start_places(const char *options)
{
	t->options = options;
	for (unsigned i = 0; i < LOOPS; i++) {
		struct place *p = &t->places[i];

		*p = (struct place){.loop = new_loop(), .number = i};
		assert_int_equal(pthread_create(&p->thread, NULL, run_loop, p->loop), 0);
		loop_call(p->loop, i ? clone_it : open_first, p);
	}
}

static void end_places(void)
{
	for (unsigned i = LOOPS; i-- > 0;) {
		loop_call(t->places[i].loop, close_it, &t->places[i]);
		loop_stop(t->places[i].loop);
		pthread_join(t->places[i].thread, NULL);
		loop_free(t->places[i].loop);
	}
}

static void test_all_write(void **state)
{
	g_autofree char *path = g_build_filename(g_get_tmp_dir(), "outboard-clone-XXXXXX", NULL);
	int fd = g_mkstemp(path);
	g_autofree char *options = g_strdup_printf("driver=raw,file.filename=%s", path);
	struct writer w[LOOPS] = {0};

	(void)state;
	assert_true(fd >= 0 && ftruncate(fd, SECTORS * SECTOR) == 0);
	close(fd);
	start_places(options);
	for (unsigned i = 0; i < LOOPS; i++) {
		w[i].task.run = start_writer;
		w[i].place = &t->places[i];
		loop_post(t->places[i].loop, &w[i].task);
	}
	for (unsigned i = 0; i < LOOPS; i++) {
		g_mutex_lock(&w[i].lock);
		while (!w[i].done)
			g_cond_wait(&w[i].cond, &w[i].lock);
		g_mutex_unlock(&w[i].lock);
	}
	for (unsigned i = 0; i < LOOPS; i++)
		loop_call(t->places[i].loop, read_all, &t->places[i]);
	end_places();
	unlink(path);
}

static void fail_flushes(void *arg)
{
	struct place *p = arg;

	__atomic_store_n(&p->node->shared->flush_error, -EIO, __ATOMIC_RELEASE);
}

static void flush_fails(void *arg)
{
	struct place *p = arg;

	assert_int_equal(block_flush(p->node), -EIO);
}

static void test_a_failed_flush_fails_all(void **state)
{
	(void)state;
	start_places("driver=null,size=1M");
	loop_call(t->places[1].loop, fail_flushes, &t->places[1]);
	for (unsigned i = 0; i < LOOPS; i++)
		loop_call(t->places[i].loop, flush_fails, &t->places[i]);
	end_places();
}

static void what_cannot(void)
{
	struct block_node *node = must_open("driver=raw,file.driver=mem,file.size=1M", BLOCK_RDWR);

	assert_false(block_share(node));
	assert_null(node->shared);
	block_unref(node);
	node = must_open("driver=null", BLOCK_RDWR);
	node->request_align = 4096;
	assert_false(block_share(node));
	block_unref(node);
}

IN_LOOP(what_cannot)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_write),
		cmocka_unit_test(test_a_failed_flush_fails_all),
		cmocka_unit_test(run_what_cannot),
	};
	int res;

	t = g_malloc0(sizeof(*t));
	res = RUN_LOOP_TESTS(tests);
	g_free(t);
	return res;
}
