/* A device's DMA: what reaches guest memory, and what happens to it when that goes away. */
#include "lab.h"

#include "base/bytes.h"

struct result {
	struct ob_dma dma;
	unsigned done;
	int res;
};

static void on_done(struct ob_dev *dev, struct ob_dma *dma, int res)
{
	struct result *r = dma->arg;

	assert_ptr_equal(dev, lab.dev);
	r->done++;
	r->res = res;
}

static void start(struct result *r, unsigned flags, const struct ob_sg *sg, unsigned n, void *buf)
{
	memset(r, 0, sizeof(*r));
	r->dma.size = sizeof(r->dma);
	r->dma.flags = flags;
	r->dma.sg = sg;
	r->dma.n_sg = n;
	r->dma.buf = buf;
	r->dma.done = on_done;
	r->dma.arg = r;
	assert_int_equal(ob_dma_start(lab.dev, &r->dma), 0);
	assert_int_equal(r->done, 0);
}

static void at_once_co(void *arg)
{
	static const struct ob_sg sg[] = {{GUEST_AT + 8, 4}, {GUEST_AT, 0}, {GUEST_AT, 4}};
	char b[8] = "";

	(void)arg;
	lab_begin(NULL);
	assert_int_equal(ob_dma_write(lab.dev, GUEST_AT, "abcdefghijkl", 12), 0);
	assert_memory_equal(lab.h.guest, "abcdefghijkl", 12);
	assert_int_equal(ob_dma_read_sg(lab.dev, sg, 3, b), 0);
	assert_memory_equal(b, "ijklabcd", 8);
	assert_int_equal(ob_dma_write_sg(lab.dev, sg, 3, "01234567"), 0);
	assert_memory_equal(lab.h.guest, "4567efgh0123", 12);
	assert_int_equal(ob_dma_read(lab.dev, ROM_AT, b, 4), 0);
	assert_int_equal(ob_dma_write(lab.dev, ROM_AT, b, 4), -EPERM);
	assert_int_equal(ob_dma_read(lab.dev, FAR_AT, b, 4), -EWOULDBLOCK);
	assert_int_equal(ob_dma_read(lab.dev, 0, b, 4), -EFAULT);
	assert_int_equal(ob_dma_read(lab.dev, GUEST_AT, b, (1 << 20) + 1), -E2BIG);
	/* Half of it is there: nothing is moved. */
	assert_int_equal(ob_dma_write(lab.dev, GUEST_AT + GUEST_LEN - 4, "xxxxxxxx", 8), -EFAULT);
	assert_int_equal(lab.h.guest[GUEST_LEN - 1], 0);
	cfg_write(&lab.h, 4, 3, 2);
	assert_int_equal(ob_dma_read(lab.dev, GUEST_AT, b, 4), -EACCES);
	assert_false(ob_can_dma(lab.dev));
	fake_host_fini(&lab.h);
	assert_int_equal(ob_dma_read(lab.dev, GUEST_AT, b, 4), -ENOTCONN);
	fake_host_init(&lab.h, device_function(lab.d), true);
	lab_end();
}

static void async_co(void *arg)
{
	static const struct ob_sg sg[] = {{GUEST_AT + 8, 4}, {FAR_AT + 1, 3}, {GUEST_AT, 2}};
	static const struct ob_sg bad[] = {{GUEST_AT, 4}, {0, 4}};
	static const struct ob_sg rom = {ROM_AT, 4}, wraps[] = {{0, UINT64_MAX}, {0, 2}};
	struct result r, s, t, none;
	char b[16] = "";

	(void)arg;
	lab_begin(NULL);
	start(&r, OB_DMA_WRITE, sg, 3, "123456789");
	WAIT_UNTIL(r.done);
	assert_int_equal(r.res, 0);
	assert_memory_equal(lab.h.guest + 8, "1234", 4);
	assert_memory_equal(lab.h.far + 1, "567", 3);
	assert_memory_equal(lab.h.guest, "89", 2);
	start(&r, OB_DMA_READ, sg, 3, b);
	start(&s, OB_DMA_READ, bad, 2, b + 10);
	start(&t, OB_DMA_WRITE, &rom, 1, b);
	start(&none, OB_DMA_WRITE, NULL, 0, NULL);
	WAIT_UNTIL(r.done && s.done && t.done && none.done);
	assert_memory_equal(b, "123456789", 9);
	assert_int_equal(r.res, 0);
	assert_int_equal(s.res, -EFAULT);
	assert_int_equal(t.res, -EPERM);
	assert_int_equal(none.res, 0);
	r.dma.flags = 3;
	assert_int_equal(ob_dma_start(lab.dev, &r.dma), -EINVAL);
	r.dma.flags = OB_DMA_READ;
	r.dma.sg = wraps;
	r.dma.n_sg = 2;
	assert_int_equal(ob_dma_start(lab.dev, &r.dma), -EINVAL);
	r.dma.size = 8;
	assert_int_equal(ob_dma_start(lab.dev, &r.dma), -EINVAL);
	co_sleep_ns(5000000);
	assert_int_equal(r.done + s.done + t.done, 3);
	lab_end();
}

static void hold_far(void *arg)
{
	(void)arg;
	lab.h.holds = true;
}

static void remove_far(void *arg)
{
	(void)arg;
	dma_space_remove(lab.h.host.dma, FAR_AT + 100, FAR_AT + 100);
	assert_null(lab.h.held); /* it was cancelled before the guest's memory is reused */
}

static void reset(void *arg)
{
	struct pci_call call = {0};

	(void)arg;
	assert_int_equal(pci_function_reset(lab.h.f, PCI_RESET_BUS, &call), 0);
	assert_null(lab.h.held);
}

static void release(void *arg)
{
	(void)arg;
	fake_host_release(&lab.h, -EPERM);
}

/* What a message that is under way gets when its window goes, a reset comes, the host goes. */
static void overtaken_co(void *arg)
{
	static const struct ob_sg far = {FAR_AT, 4096},
				  later[] = {{FAR_AT + 4096, 8}, {GUEST_AT, 8}};
	static char b[4096];
	struct result r, other;

	(void)arg;
	lab_begin(NULL);
	ON_LOOP(hold_far, NULL);
	start(&r, OB_DMA_READ, &far, 1, b);
	WAIT_UNTIL(lab.h.held);
	ON_LOOP(remove_far, NULL);
	WAIT_UNTIL(r.done);
	assert_int_equal(r.res, -EFAULT);

	start(&r, OB_DMA_READ, later, 2, b);
	WAIT_UNTIL(lab.h.held);
	ON_LOOP(reset, NULL);
	assert_int_equal(r.done, 1); /* before the device's reset() returned */
	assert_int_equal(r.res, -ECANCELED);
	assert_int_equal(lab.resets, 1);
	cfg_write(&lab.h, 4, 7, 2);

	start(&r, OB_DMA_READ, later, 2, b);
	WAIT_UNTIL(lab.h.held);
	start(&other, OB_DMA_READ, later + 1, 1, b); /* is not kept waiting */
	WAIT_UNTIL(other.done);
	assert_int_equal(r.done, 0);
	ON_LOOP(release, NULL);
	WAIT_UNTIL(r.done);
	assert_int_equal(r.res, -EPERM);

	start(&r, OB_DMA_READ, later, 2, b);
	WAIT_UNTIL(lab.h.held);
	fake_host_fini(&lab.h);
	assert_int_equal(r.done, 1);
	assert_int_equal(r.res, -ECANCELED);
	start(&r, OB_DMA_READ, later, 2, b);
	WAIT_UNTIL(r.done);
	assert_int_equal(r.res, -ENOTCONN);
	fake_host_init(&lab.h, device_function(lab.d), true);
	lab_end();
}

static void remove_end(void *arg)
{
	(void)arg;
	dma_space_remove(lab.h.host.dma, GUEST_AT + GUEST_LEN - 4096, UINT64_MAX);
}

/* A long copy is cut into turns; a window that goes between them, and even comes back, ends it. */
static void long_copy_co(void *arg)
{
	static struct ob_sg sg[64];
	uint8_t *b = g_malloc0(sizeof(sg) / sizeof(sg[0]) * GUEST_LEN);
	struct result r;

	(void)arg;
	lab_begin(NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(sg); i++)
		sg[i] = (struct ob_sg){GUEST_AT, GUEST_LEN};
	memset(lab.h.guest, 0x77, GUEST_LEN);
	start(&r, OB_DMA_READ, sg, G_N_ELEMENTS(sg), b);
	WAIT_UNTIL(r.done);
	assert_int_equal(r.res, 0);
	assert_int_equal(b[G_N_ELEMENTS(sg) * GUEST_LEN - 1], 0x77);
	start(&r, OB_DMA_READ, sg, G_N_ELEMENTS(sg), b);
	ON_LOOP(remove_end, NULL);
	assert_true(dma_space_add(lab.h.host.dma,
				  &(struct dma_region){GUEST_AT + GUEST_LEN - 4096, 4096, 3, 0},
				  lab.h.fd, NULL));
	WAIT_UNTIL(r.done);
	assert_int_equal(r.res, -EFAULT);
	g_free(b);
	lab_end();
}

static void mapping_co(void *arg)
{
	struct ob_mapping *m, *n;
	struct ob_piece piece[2];

	(void)arg;
	lab_begin(NULL);
	assert_int_equal(ob_dma_map(lab.dev, OB_DMA_READ, FAR_AT, 4, piece, 2, &m), -EWOULDBLOCK);
	assert_int_equal(ob_dma_map(lab.dev, OB_DMA_WRITE, ROM_AT, 4, piece, 2, &m), -EPERM);
	assert_int_equal(ob_dma_map(lab.dev, 0, GUEST_AT, 4, piece, 2, &m), -EINVAL);
	assert_int_equal(
		ob_dma_map(lab.dev, OB_DMA_READ | OB_DMA_WRITE, GUEST_AT, GUEST_LEN, piece, 2, &m),
		1);
	assert_int_equal(piece[0].len, GUEST_LEN);
	memset(piece[0].base, 0x11, GUEST_LEN);
	assert_int_equal(lab.h.guest[GUEST_LEN - 1], 0x11);
	assert_false(ob_dma_is_revoked(lab.dev, m));
	ON_LOOP(remove_end, NULL);
	assert_int_equal(lab.revokes, 1);
	assert_true(ob_dma_is_revoked(lab.dev, m));
	memset(piece[0].base, 0x22, GUEST_LEN); /* nobody gets hurt */
	ob_dma_unmap(lab.dev, m);
	ob_dma_unmap(lab.dev, NULL);
	lab.unmaps = true;
	assert_int_equal(ob_dma_map(lab.dev, OB_DMA_READ, GUEST_AT, 4, piece, 2, &m), 1);
	assert_int_equal(ob_dma_map(lab.dev, OB_DMA_READ, GUEST_AT, 4, piece, 2, &n), 1);
	ON_LOOP(reset, NULL);
	assert_int_equal(lab.revokes, 3);
	cfg_write(&lab.h, 4, 7, 2);
	/* The VMM goes, the memory stays until the device is done with it. */
	lab.unmaps = false;
	assert_int_equal(ob_dma_map(lab.dev, OB_DMA_WRITE, GUEST_AT, 4096, piece, 2, &m), 1);
	fake_host_fini(&lab.h);
	assert_int_equal(lab.revokes, 4);
	memset(piece[0].base, 0x33, 4096);
	fake_host_init(&lab.h, device_function(lab.d), true);
	lab_end(); /* lets go of m too */
}

static void remove_page_2(void *arg)
{
	(void)arg;
	dma_space_remove(lab.h.host.dma, GUEST_AT + 2 * 4096, GUEST_AT + 3 * 4096 - 1);
}

static void remove_page_4(void *arg)
{
	(void)arg;
	dma_space_remove(lab.h.host.dma, GUEST_AT + 4 * 4096, GUEST_AT + 5 * 4096 - 1);
}

static void mapping_list_co(void *arg)
{
	static struct ob_sg sg[OB_MAP_SG_MAX + 1];
	static struct ob_piece p[OB_MAP_SG_MAX];
	struct ob_sg mixed[] = {{GUEST_AT, 4}, {ROM_AT, 4}, {FAR_AT, 4}, {0, 4}};
	struct ob_mapping *m, *n;

	(void)arg;
	lab_begin(NULL);
	lab.unmaps = true;
	for (unsigned i = 0; i <= OB_MAP_SG_MAX; i++)
		sg[i] = (struct ob_sg){GUEST_AT + 8192 * (i % 32), 4096};
	assert_int_equal(ob_dma_map_sg(lab.dev, OB_DMA_READ, mixed, 0, p, 4, &m), -EINVAL);
	assert_int_equal(ob_dma_map_sg(lab.dev, 0, mixed, 1, p, 4, &m), -EINVAL);
	assert_int_equal(ob_dma_map_sg(lab.dev, OB_DMA_READ, mixed, 2, p, 4, &m), 2);
	ob_dma_unmap(lab.dev, m);
	assert_int_equal(ob_dma_map_sg(lab.dev, OB_DMA_WRITE, mixed, 2, p, 4, &m), -EPERM);
	assert_int_equal(ob_dma_map_sg(lab.dev, OB_DMA_READ, mixed, 3, p, 4, &m), -EWOULDBLOCK);
	assert_int_equal(ob_dma_map_sg(lab.dev, OB_DMA_READ, mixed, 4, p, 4, &m), -EFAULT);
	assert_int_equal(
		ob_dma_map_sg(lab.dev, OB_DMA_READ, sg, OB_MAP_SG_MAX + 1, p, OB_MAP_SG_MAX, &m),
		-E2BIG);
	assert_int_equal(
		ob_dma_map_sg(lab.dev, OB_DMA_READ, sg, OB_MAP_SG_MAX, p, OB_MAP_SG_MAX, &m),
		OB_MAP_SG_MAX);
	ob_dma_unmap(lab.dev, m); /* too large to be kept for the next one */
	assert_int_equal(ob_dma_map_sg(lab.dev, OB_DMA_READ, sg, 32, p, 31, &m), -E2BIG);
	assert_int_equal(ob_dma_map_sg(lab.dev, OB_DMA_WRITE, sg + 1, 31, p, 31, &m), 31);
	memset(p[30].base, 0x55, p[30].len);
	assert_int_equal(lab.h.guest[31 * 8192 + 4095], 0x55);
	assert_int_equal(lab.h.guest[31 * 8192 + 4096], 0);
	/* Of two mappings the one that has the page. */
	assert_int_equal(ob_dma_map_sg(lab.dev, OB_DMA_WRITE, sg + 2, 30, p, 31, &n), 30);
	ON_LOOP(remove_page_2, NULL);
	assert_int_equal(lab.revokes, 1);
	assert_false(ob_dma_is_revoked(lab.dev, n));
	ON_LOOP(remove_page_4, NULL);
	assert_int_equal(lab.revokes, 2);
	assert_int_equal(ob_dma_map_sg(lab.dev, OB_DMA_WRITE, sg + 3, 29, p, 31, &n), 29);
	ON_LOOP(reset, NULL);
	assert_int_equal(lab.revokes, 3);
	assert_int_equal(ob_dma_map_sg(lab.dev, OB_DMA_WRITE, sg + 3, 29, p, 31, &n), -EACCES);
	cfg_write(&lab.h, 4, 7, 2);
	/* The VMM goes, the memory stays until the device is done with it. */
	lab.unmaps = false;
	assert_int_equal(ob_dma_map_sg(lab.dev, OB_DMA_WRITE, sg + 3, 29, p, 31, &n), 29);
	fake_host_fini(&lab.h);
	assert_int_equal(lab.revokes, 4);
	memset(p[28].base, 0x33, 4096);
	assert_int_equal(ob_dma_map_sg(lab.dev, OB_DMA_WRITE, sg + 3, 29, p, 31, &m), -ENOTCONN);
	fake_host_init(&lab.h, device_function(lab.d), true);
	lab_end(); /* lets go of n too */
}

/* A daemon from before ob_dma_map_sg(): its table ends there, what lies behind is not looked at. */
static void older_daemon_co(void *arg)
{
	struct ob_sg sg = {GUEST_AT, 4};
	const struct ob_api *today;
	struct ob_mapping *m;
	struct ob_piece piece;
	struct ob_api older;

	(void)arg;
	lab_begin(NULL);
	today = lab.dev->api;
	assert_true(OB_HAS(lab.dev, dma_map_sg));
	older = *today;
	older.size = offsetof(struct ob_api, dma_map_sg);
	lab.dev->api = &older;
	assert_false(OB_HAS(lab.dev, dma_map_sg));
	assert_true(OB_HAS(lab.dev, get_len));
	assert_int_equal(ob_dma_map_sg(lab.dev, OB_DMA_READ, &sg, 1, &piece, 1, &m), -ENOSYS);
	assert_int_equal(ob_dma_map(lab.dev, OB_DMA_READ, sg.addr, sg.len, &piece, 1, &m), 1);
	lab.dev->api = today;
	ob_dma_unmap(lab.dev, m);
	lab_end();
}

LAB_TEST(at_once)
LAB_TEST(async)
LAB_TEST(overtaken)
LAB_TEST(long_copy)
LAB_TEST(mapping)
LAB_TEST(mapping_list)
LAB_TEST(older_daemon)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(at_once),      cmocka_unit_test(async),
		cmocka_unit_test(overtaken),    cmocka_unit_test(long_copy),
		cmocka_unit_test(mapping),      cmocka_unit_test(mapping_list),
		cmocka_unit_test(older_daemon),
	};

	return RUN_LOOP_TESTS(tests);
}
