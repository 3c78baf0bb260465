/* Timers, posts from threads, doorbells, answers that come later, stopping and starting. */
#include "lab.h"

#include <pthread.h>
#include <unistd.h>

static unsigned fired;
static struct ob_timer *own;

static void on_fire(struct ob_dev *dev, void *arg)
{
	fired++;
	if (arg == &own) {
		ob_timer_free(dev, own);
		own = NULL;
	}
}

static void stop(void *arg)
{
	struct pci_call *call = arg;

	assert_int_equal(pci_function_stop(lab.h.f, call), 0);
	assert_int_equal(pci_function_stop(lab.h.f, call), 0); /* is so already */
}

static void start(void *arg)
{
	(void)arg;
	pci_function_start(lab.h.f);
}

static void timers_co(void *arg)
{
	struct pci_call call = {0};
	struct ob_timer *t;
	uint64_t left = 7;

	(void)arg;
	lab_begin(NULL);
	fired = 0;
	t = ob_timer_new(lab.dev, on_fire, NULL);
	assert_false(ob_timer_left_ns(lab.dev, t, &left));
	assert_int_equal(left, 7);
	ob_timer_set(lab.dev, t, UINT64_MAX); /* never, and no overflow */
	assert_true(ob_timer_left_ns(lab.dev, t, NULL));
	ob_timer_set(lab.dev, t, 0);
	WAIT_UNTIL(fired == 1);
	assert_false(ob_timer_left_ns(lab.dev, t, NULL));
	ob_timer_set(lab.dev, t, 5000000000);
	ob_timer_cancel(lab.dev, t);
	ob_timer_cancel(lab.dev, t);
	own = ob_timer_new(lab.dev, on_fire, &own);
	ob_timer_set(lab.dev, own, 1000);
	WAIT_UNTIL(!own);
	/* Stopped: they stand still. */
	ob_timer_set(lab.dev, t, 1000000);
	ON_LOOP(stop, &call);
	assert_true(pci_function_is_stopped(lab.h.f));
	assert_int_equal(lab.stops, 1);
	assert_true(ob_timer_left_ns(lab.dev, t, &left));
	assert_true(left <= 1000000);
	own = ob_timer_new(lab.dev, on_fire, NULL);
	ob_timer_set(lab.dev, own, 0);
	co_sleep_ns(20000000);
	assert_int_equal(fired, 2);
	ON_LOOP(start, NULL);
	WAIT_UNTIL(fired == 4);
	assert_int_equal(lab.starts, 1);
	ob_timer_set(lab.dev, t, 1000); /* goes with the device */
	lab_end();
}

enum { THREADS = 4, POSTS = 1000 };

static struct {
	unsigned next[THREADS];
	unsigned n;
} posted;

static void on_post(struct ob_dev *dev, void *arg)
{
	uintptr_t value = (uintptr_t)arg, thread = value / POSTS;

	assert_ptr_equal(dev, lab.dev);
	assert_int_equal(posted.next[thread], value % POSTS); /* in the order of its thread */
	posted.next[thread]++;
	posted.n++;
}

static void *post_many(void *arg)
{
	for (uintptr_t i = 0; i < POSTS; i++)
		ob_post(lab.dev, on_post, (void *)((uintptr_t)arg * POSTS + i));
	ob_log(lab.dev, OB_LOG_DEBUG, "posted");
	ob_now_ns(lab.dev);
	return NULL;
}

static void posts_co(void *arg)
{
	pthread_t threads[THREADS];

	(void)arg;
	lab_begin(NULL);
	memset(&posted, 0, sizeof(posted));
	for (uintptr_t i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, post_many, (void *)i), 0);
	WAIT_UNTIL(posted.n == THREADS * POSTS);
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	ob_post(lab.dev, on_post, NULL); /* may run or not; the device goes cleanly */
	posted.next[0] = 0;
	lab_end();
}

static unsigned rings[3];

static void on_ring(struct ob_dev *dev, void *arg)
{
	(void)dev;
	rings[(uintptr_t)arg]++;
}

static int open_doorbells(struct ob_dev *dev)
{
	lab_bar(dev, 0, 0, 4096);
	assert_non_null(ob_add_doorbell(dev, 0, 0x10, 4, 0, 0, on_ring, (void *)0));
	assert_non_null(ob_add_doorbell(dev, 0, 0x20, 4, OB_DOORBELL_MATCH, 5, on_ring, (void *)1));
	assert_non_null(ob_add_doorbell(dev, 0, 0x20, 4, OB_DOORBELL_MATCH, 6, on_ring, (void *)2));
	return 0;
}

static void write_event(int fd)
{
	uint64_t one = 1;

	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
}

static void doorbells_co(void *arg)
{
	struct pci_doorbell_info info;
	struct pci_call call = {0};
	int fd;

	(void)arg;
	memset(rings, 0, sizeof(rings));
	lab_begin(open_doorbells);
	bar_write(&lab.h, 0, 0x10, 1, 4);
	bar_write(&lab.h, 0, 0x20, 6, 4);
	assert_int_equal(lab.log_n, 0);
	bar_write(&lab.h, 0, 0x10, 1, 2); /* plain writes */
	bar_write(&lab.h, 0, 0x20, 7, 4);
	assert_int_equal(lab.log_n, 2);
	assert_int_equal(rings[0], 1);
	assert_int_equal(rings[1], 0);
	assert_int_equal(rings[2], 1);
	assert_int_equal(pci_function_doorbells(lab.h.f), 3);
	assert_false(pci_function_doorbell(lab.h.f, 3, &info));
	assert_true(pci_function_doorbell(lab.h.f, 1, &info));
	assert_true(info.has_match && info.match == 5 && info.off == 0x20 && info.width == 4);
	fd = dup(info.fd);
	assert_true(fd >= 0);
	write_event(fd);
	WAIT_UNTIL(rings[1] == 1);
	ON_LOOP(stop, &call);
	write_event(fd);
	co_sleep_ns(20000000);
	assert_int_equal(rings[1], 1);
	ON_LOOP(start, NULL);
	WAIT_UNTIL(rings[1] == 2);
	/* A VMM that went cannot ring any more. */
	fake_host_fini(&lab.h);
	write_event(fd);
	fake_host_init(&lab.h, device_function(lab.d), true);
	assert_true(pci_function_doorbell(lab.h.f, 1, &info));
	co_sleep_ns(20000000);
	assert_int_equal(rings[1], 2);
	close(fd);
	lab_end();
}

struct waiting {
	struct pci_call call;
	uint8_t b[4];
	unsigned done;
	int returned;
};

static void on_done(struct pci_call *call, int res)
{
	assert_int_equal(res, 0);
	((struct waiting *)call)->done++;
}

static void read_later(void *arg)
{
	struct waiting *w = arg;

	w->call.done = on_done;
	w->returned = pci_function_read(lab.h.f, 0, 1, w->b, 3, &w->call);
}

static void write_later(void *arg)
{
	struct waiting *w = arg;

	w->call.done = on_done;
	w->returned = pci_function_write(lab.h.f, 0, 0, w->b, 4, &w->call);
}

static void reset_later(void *arg)
{
	struct waiting *w = arg;

	w->call.done = on_done;
	w->returned = pci_function_reset(lab.h.f, PCI_RESET_BUS, &w->call);
}

static void stop_later(void *arg)
{
	struct waiting *w = arg;

	w->call.done = on_done;
	w->returned = pci_function_stop(lab.h.f, &w->call);
}

static void finish(void *arg)
{
	struct ob_call *call = lab.call;

	lab.call = NULL;
	ob_finish(lab.dev, call, (uintptr_t)arg);
}

static void later_co(void *arg)
{
	struct waiting w = {0};

	(void)arg;
	lab_begin(NULL);
	lab.defers = true;
	ON_LOOP(read_later, &w); /* 1 byte at 1, then 2 at 2 */
	assert_int_equal(w.returned, PCI_PENDING);
	ON_LOOP(finish, (void *)0xaa);
	assert_int_equal(w.done, 0);
	ON_LOOP(finish, (void *)0xccbb);
	assert_int_equal(w.done, 1);
	assert_memory_equal(w.b, "\xaa\xbb\xcc", 3);
	ON_LOOP(write_later, &w);
	ON_LOOP(finish, NULL);
	assert_int_equal(w.done, 2);
	ON_LOOP(reset_later, &w);
	assert_int_equal(w.returned, PCI_PENDING);
	ON_LOOP(finish, NULL);
	assert_int_equal(w.done, 3);
	ON_LOOP(stop_later, &w);
	assert_int_equal(w.returned, PCI_PENDING);
	assert_false(pci_function_is_stopped(lab.h.f));
	ON_LOOP(finish, NULL);
	assert_int_equal(w.done, 4);
	assert_true(pci_function_is_stopped(lab.h.f));
	ON_LOOP(start, NULL);
	/* Nobody waits any more: the answer goes nowhere. */
	ON_LOOP(read_later, &w);
	pci_call_cancel(&w.call);
	ON_LOOP(finish, NULL);
	ON_LOOP(read_later, &w);
	fake_host_fini(&lab.h);
	ON_LOOP(finish, NULL);
	fake_host_init(&lab.h, device_function(lab.d), true);
	assert_int_equal(w.done, 4);
	lab.defers = false;
	ON_LOOP(read_later, &w);
	assert_int_equal(w.returned, 0);
	lab_end();
}

static bool transfer_ended;

static void on_transfer(struct ob_dev *dev, struct ob_dma *dma, int res)
{
	(void)dev;
	(void)dma;
	assert_int_equal(res, 0);
	transfer_ended = true;
}

static void release(void *arg)
{
	(void)arg;
	fake_host_release(&lab.h, 0);
}

/* Stopping finishes what is in flight; what is started afterwards waits for the start. */
static void stop_and_dma_co(void *arg)
{
	static const struct ob_sg far = {FAR_AT, 8};
	static char b[8];
	struct ob_dma dma = {.size = sizeof(dma),
			     .flags = OB_DMA_READ,
			     .sg = &far,
			     .n_sg = 1,
			     .buf = b,
			     .done = on_transfer};
	struct waiting w = {0};

	(void)arg;
	lab_begin(NULL);
	lab.h.holds = true;
	transfer_ended = false;
	assert_int_equal(ob_dma_start(lab.dev, &dma), 0);
	WAIT_UNTIL(lab.h.held);
	ON_LOOP(stop_later, &w);
	assert_int_equal(w.returned, PCI_PENDING);
	ON_LOOP(release, NULL);
	WAIT_UNTIL(w.done);
	assert_true(transfer_ended);
	lab.h.holds = false;
	transfer_ended = false;
	assert_int_equal(ob_dma_start(lab.dev, &dma), 0);
	co_sleep_ns(20000000);
	assert_false(transfer_ended);
	ON_LOOP(start, NULL);
	WAIT_UNTIL(transfer_ended);
	lab_end();
}

LAB_TEST(timers)
LAB_TEST(posts)
LAB_TEST(doorbells)
LAB_TEST(later)
LAB_TEST(stop_and_dma)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(timers),       cmocka_unit_test(posts),
		cmocka_unit_test(doorbells),    cmocka_unit_test(later),
		cmocka_unit_test(stop_and_dma),
	};

	return RUN_LOOP_TESTS(tests);
}
