/* The edu device of the tree, or (its path as argument) the one built as a plug-in. */
#include "fake_host.h"

static const char *driver = "edu";

struct fixture {
	struct device *d;
	struct fake_host h;
};

static void setup(struct fixture *x, const char *more)
{
	char *options = g_strdup_printf("driver=%s%s", driver, more);

	x->d = make_device(NULL, options);
	fake_host_init(&x->h, device_function(x->d), true);
	g_free(options);
}

static void teardown(struct fixture *x)
{
	fake_host_fini(&x->h);
	device_free(x->d);
}

static uint32_t get(struct fixture *x, uint64_t off)
{
	return (uint32_t)bar_read(&x->h, 0, off, 4);
}

static void put(struct fixture *x, uint64_t off, uint32_t value)
{
	bar_write(&x->h, 0, off, value, 4);
}

static void identity_co(void *arg)
{
	struct fixture x;

	(void)arg;
	setup(&x, "");
	assert_int_equal(cfg_read(&x.h, 0, 4), 0x11e81234);
	assert_int_equal(cfg_read(&x.h, 8, 4), 0x00ff0010);
	assert_int_equal(cfg_read(&x.h, 0x2c, 4), 0x11001af4);
	assert_int_equal(cfg_read(&x.h, 0x3d, 1), 1);
	cfg_write(&x.h, 0x10, 0xffffffff, 4);
	assert_int_equal(cfg_read(&x.h, 0x10, 4), 0xfff00000);
	assert_int_equal(pci_function_vectors(x.h.f, PCI_MSI), 1);
	assert_int_equal(get(&x, 0), 0x010000ed);
	put(&x, 4, 0x12345678);
	assert_int_equal(get(&x, 4), 0xedcba987);
	teardown(&x);
}

static void widths_co(void *arg)
{
	struct fixture x;

	(void)arg;
	setup(&x, "");
	assert_int_equal(bar_read(&x.h, 0, 0, 1), 0xff);
	assert_int_equal(bar_read(&x.h, 0, 0, 2), 0xffff);
	assert_true(bar_read(&x.h, 0, 0, 8) == UINT64_MAX);
	assert_int_equal(get(&x, 0x0c), 0xffffffff);
	bar_write(&x.h, 0, 4, 0, 2);
	assert_int_equal(get(&x, 4), 0);
	bar_write(&x.h, 0, 0x80, 0x123456789abcdef0, 8);
	assert_true(bar_read(&x.h, 0, 0x80, 8) == 0x123456789abcdef0);
	bar_write(&x.h, 0, 0x80, 0x55, 1);
	assert_true(bar_read(&x.h, 0, 0x80, 8) == 0x123456789abcdef0);
	assert_int_equal(bar_read(&x.h, 0, 0x80, 2), 0xffff);
	teardown(&x);
}

static void factorial_co(void *arg)
{
	static const struct {
		uint32_t n, result;
	} table[] = {{0, 1},           {1, 1},  {5, 120},       {13, 1932053504},
		     {33, 0x80000000}, {34, 0}, {0xffffffff, 0}};
	struct fixture x;

	(void)arg;
	setup(&x, "");
	for (unsigned i = 0; i < G_N_ELEMENTS(table); i++) {
		put(&x, 8, table[i].n);
		WAIT_UNTIL(!(get(&x, 0x20) & 1));
		assert_int_equal(get(&x, 8), table[i].result);
	}
	assert_int_equal(x.h.raised, 0);
	put(&x, 0x20, 0xff); /* only bit 7 is writable */
	assert_int_equal(get(&x, 0x20), 0x80);
	put(&x, 8, 4);
	WAIT_UNTIL(get(&x, 0x24) == 1);
	assert_true(x.h.level);
	assert_int_equal(get(&x, 8), 24);
	put(&x, 0x64, 1);
	assert_false(x.h.level);
	assert_int_equal(get(&x, 0x24), 0);
	teardown(&x);
}

static void interrupts_co(void *arg)
{
	struct fixture x;
	unsigned msi;

	(void)arg;
	setup(&x, "");
	put(&x, 0x60, 0x30);
	assert_true(x.h.level);
	put(&x, 0x64, 0x10);
	assert_true(x.h.level); /* a bit is left */
	put(&x, 0x64, 0x20);
	assert_false(x.h.level);
	msi = cfg_find(&x.h, 5);
	assert_true(msi);
	cfg_write(&x.h, msi + 2, 1, 2);
	put(&x, 0x60, 1);
	assert_int_equal(x.h.messages, 1);
	assert_int_equal(x.h.last_kind, PCI_MSI);
	assert_false(x.h.level);
	put(&x, 0x64, 1);
	teardown(&x);
}

static void start_dma(struct fixture *x, uint64_t src, uint64_t dst, uint64_t count, uint32_t cmd)
{
	bar_write(&x->h, 0, 0x80, src, 8);
	bar_write(&x->h, 0, 0x88, dst, 8);
	bar_write(&x->h, 0, 0x90, count, 8);
	put(x, 0x98, cmd);
}

static void dma_co(void *arg)
{
	struct fixture x;

	(void)arg;
	setup(&x, "");
	for (unsigned i = 0; i < 4096; i++)
		x.h.guest[i] = (uint8_t)(i * 7);
	start_dma(&x, GUEST_AT, 0x40000, 4096, 5);
	bar_write(&x.h, 0, 0x80, 1, 8); /* ignored while it runs */
	assert_int_equal(bar_read(&x.h, 0, 0x80, 8), GUEST_AT);
	assert_int_equal(get(&x, 0x98), 5);
	WAIT_UNTIL(!(get(&x, 0x98) & 1));
	assert_int_equal(get(&x, 0x24), 0x100);
	assert_true(x.h.level);
	put(&x, 0x64, 0x100);
	start_dma(&x, 0x40000, GUEST_AT + 8192, 4096, 3);
	WAIT_UNTIL(!(get(&x, 0x98) & 1));
	assert_memory_equal(x.h.guest, x.h.guest + 8192, 4096);
	assert_int_equal(get(&x, 0x24), 0); /* no interrupt was asked for */
	/* And memory that only messages reach. */
	start_dma(&x, 0x40000, FAR_AT + 4, 64, 3);
	WAIT_UNTIL(!(get(&x, 0x98) & 1));
	assert_memory_equal(x.h.guest, x.h.far + 4, 64);
	teardown(&x);
}

static void bad_dma_co(void *arg)
{
	static const struct {
		uint64_t dst, count;
	} bad[] = {{0x40000, 4097}, {0x40fff, 2},          {0x3ffff, 1},
		   {0, 16},         {0x40001, UINT64_MAX}, {UINT64_MAX, 2}};
	struct fixture x;

	(void)arg;
	log_set_level(LOG_ERROR);
	setup(&x, "");
	memset(x.h.guest, 0xaa, 8192);
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		start_dma(&x, GUEST_AT, bad[i].dst, bad[i].count, 5);
		WAIT_UNTIL(!(get(&x, 0x98) & 1));
		assert_int_equal(get(&x, 0x24), 0x100);
		put(&x, 0x64, 0x100);
	}
	start_dma(&x, 0x40000, GUEST_AT, 4096, 3); /* nothing had arrived */
	WAIT_UNTIL(!(get(&x, 0x98) & 1));
	for (unsigned i = 0; i < 4096; i++)
		assert_int_equal(x.h.guest[i], 0);
	start_dma(&x, 0x900000, 0x40000, 16, 5); /* no memory there */
	WAIT_UNTIL(get(&x, 0x24) == 0x100);
	teardown(&x);
	log_set_level(LOG_INFO);
}

static void mask_co(void *arg)
{
	struct fixture x;

	(void)arg;
	log_set_level(LOG_ERROR);
	setup(&x, ",dma-mask=0x1fffff");
	x.h.guest[0] = 0x5a;
	start_dma(&x, 0xff00000000000000 | GUEST_AT, 0x40000, 1, 1);
	WAIT_UNTIL(!(get(&x, 0x98) & 1));
	start_dma(&x, 0x40000, GUEST_AT + 1, 1, 3);
	WAIT_UNTIL(!(get(&x, 0x98) & 1));
	assert_int_equal(x.h.guest[1], 0x5a);
	teardown(&x);
	log_set_level(LOG_INFO);
}

static void do_reset(void *arg)
{
	struct fixture *x = arg;
	struct pci_call call = {0};

	assert_int_equal(pci_function_reset(x->h.f, PCI_RESET_BUS, &call), 0);
}

static void reset_co(void *arg)
{
	struct fixture x;

	(void)arg;
	setup(&x, "");
	put(&x, 4, 1);
	put(&x, 0x60, 7);
	start_dma(&x, GUEST_AT, 0x40000, 4096, 5);
	ON_LOOP(do_reset, &x);
	assert_false(x.h.level);
	assert_int_equal(get(&x, 4), 0);
	assert_int_equal(get(&x, 0x24), 0);
	assert_int_equal(get(&x, 0x98), 0);
	assert_int_equal(cfg_read(&x.h, 4, 2), 0);
	co_sleep_ns(150000000); /* its DMA does not come after all */
	assert_int_equal(get(&x, 0x24), 0);
	teardown(&x);
}

static void do_stop(void *arg)
{
	struct fixture *x = arg;
	struct pci_call call = {0};

	assert_int_equal(pci_function_stop(x->h.f, &call), 0);
}

struct moving {
	struct fixture *from, *to;
};

static void move_state(void *arg)
{
	struct moving *m = arg;
	GError *error = NULL;
	GByteArray *state = pci_function_save(m->from->h.f, &error);

	assert_non_null(state);
	assert_true(pci_function_restore(m->to->h.f, state->data, state->len, &error));
	pci_function_start(m->to->h.f);
	/* Every shortened state is refused and leaves a device as after a reset. */
	for (unsigned n = 0; n < state->len; n += n < 64 ? 1 : 61) {
		assert_false(pci_function_restore(m->from->h.f, state->data, n, &error));
		g_clear_error(&error);
	}
	g_byte_array_unref(state);
}

static void save_co(void *arg)
{
	struct fixture x, y;
	struct moving m = {&x, &y};

	(void)arg;
	setup(&x, "");
	setup(&y, "");
	put(&x, 4, 0xff);
	put(&x, 0x20, 0x80);
	put(&x, 0x60, 0x7);
	memset(x.h.guest, 0x77, 256);
	memset(y.h.guest, 0x33, 256);
	start_dma(&x, GUEST_AT, 0x40000, 256, 5);
	ON_LOOP(do_stop, &x);
	ON_LOOP(do_stop, &y);
	ON_LOOP(move_state, &m);
	assert_int_equal(get(&x, 4), 0);
	assert_int_equal(get(&y, 4), 0xffffff00);
	assert_true(y.h.level);
	assert_int_equal(get(&y, 0x24), 7);
	WAIT_UNTIL(!(get(&y, 0x98) & 1)); /* its DMA goes on, in the new machine's memory */
	assert_int_equal(get(&y, 0x24), 0x107);
	start_dma(&y, 0x40000, GUEST_AT + 4096, 256, 3);
	WAIT_UNTIL(!(get(&y, 0x98) & 1));
	assert_memory_equal(y.h.guest + 4096, y.h.guest, 256);
	teardown(&x);
	teardown(&y);
}

#define LOOP_TEST(name)                       \
	static void name(void **state)        \
	{                                     \
		(void)state;                  \
		run_in_loop(name##_co, NULL); \
	}
LOOP_TEST(identity)
LOOP_TEST(widths)
LOOP_TEST(factorial)
LOOP_TEST(interrupts)
LOOP_TEST(dma)
LOOP_TEST(bad_dma)
LOOP_TEST(mask)
LOOP_TEST(reset)
LOOP_TEST(save)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(identity),   cmocka_unit_test(widths), cmocka_unit_test(factorial),
		cmocka_unit_test(interrupts), cmocka_unit_test(dma),    cmocka_unit_test(bad_dma),
		cmocka_unit_test(mask),       cmocka_unit_test(reset),  cmocka_unit_test(save),
	};

	if (argc > 1)
		driver = argv[1];
	return RUN_LOOP_TESTS(tests);
}
