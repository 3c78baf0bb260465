/* Saved states: what comes back, and what is refused whole. */
#include "fake_host.h"

#include "base/bytes.h"
#include "pci/state.h"

struct saved {
	uint32_t value;
	bool puts_more, asks_less;
};

static struct ob_dev *last;

static int on_open(struct ob_dev *dev)
{
	static const struct ob_area area = {0, 4096};
	struct ob_bar bar = {
		.size = sizeof(bar), .index = 2, .len = 8192, .areas = &area, .n_areas = 1};
	static const uint8_t body[4], writable[4] = {0xff};

	last = dev;
	ob_add_bar(dev, &bar);
	ob_add_config(dev, 0xe0, body, writable, 4);
	ob_add_vendor(dev, body, writable, 4, NULL);
	return ob_add_msix(dev, 4, 0, 0, 0, 0x800);
}

static int on_save(struct ob_dev *dev, struct ob_state *out)
{
	struct saved *s = dev->state;
	char name[65];
	size_t len;

	memset(name, 'n', sizeof(name));
	name[64] = 0;
	assert_int_equal(ob_put(dev, out, name, "", 1), -EINVAL);
	assert_int_equal(ob_put(dev, out, "", "", 1), -EINVAL);
	assert_int_equal(ob_put(dev, out, "big", "", (16 << 20) + 1), -E2BIG);
	assert_int_equal(ob_get_len(dev, out, "value", &len), -ENOENT);
	assert_int_equal(ob_put_u64(dev, out, "value", s->value), 0);
	assert_int_equal(ob_put_u64(dev, out, "value", s->value), -EEXIST);
	if (s->puts_more)
		ob_put(dev, out, "more", "xyz", 3);
	return s->value == 666 ? ob_error(dev, -EIO, "it is the number") : 0;
}

static int on_restore(struct ob_dev *dev, struct ob_state *in, uint32_t version)
{
	struct saved *s = dev->state;
	uint64_t v = 0;
	uint8_t b[4];
	int res;

	assert_true(version <= 3);
	assert_int_equal(ob_put(dev, in, "a", "", 1), -EINVAL);
	assert_int_equal(ob_get_u64(dev, in, "absent", &v), -ENOENT);
	assert_int_equal(ob_get(dev, in, "value", b, 4), -EINVAL);
	if (s->asks_less)
		return 0;
	res = ob_get_u64(dev, in, "value", &v);
	if (res < 0 || v > 1000)
		return ob_error(dev, -EINVAL, "value %llu is over 1000", (unsigned long long)v);
	s->value = (uint32_t)v;
	return 0;
}

static const struct ob_class saver = {
	.size = sizeof(struct ob_class),
	.state_size = sizeof(struct saved),
	.name = "saver",
	.id = {.vendor = 0x1af4, .device = 0x9999, .intx_pin = 1},
	.open = on_open,
	.save = on_save,
	.restore = on_restore,
	.state_version = 3,
};

static const struct ob_class deaf = {
	.size = sizeof(struct ob_class),
	.name = "deaf",
	.id = {.vendor = 0x1af4, .device = 0x9998},
	.open = on_open,
};

struct pair {
	struct device *d[2];
	struct ob_dev *dev[2];
	struct saved *s[2];
	struct fake_host h[2];
};

static void stop_all(void *arg)
{
	struct pair *p = arg;

	for (unsigned i = 0; i < 2; i++) {
		struct pci_call call = {0};

		assert_int_equal(pci_function_stop(p->h[i].f, &call), 0);
	}
}

static void begin(struct pair *p)
{
	for (unsigned i = 0; i < 2; i++) {
		p->d[i] = make_device(&saver, NULL);
		p->dev[i] = last;
		p->s[i] = last->state;
		fake_host_init(&p->h[i], device_function(p->d[i]), true);
	}
}

static void end(struct pair *p)
{
	for (unsigned i = 0; i < 2; i++) {
		fake_host_fini(&p->h[i]);
		device_free(p->d[i]);
	}
}

static GByteArray *save(struct pair *p)
{
	GError *error = NULL;
	GByteArray *out = pci_function_save(p->h[0].f, &error);

	assert_null(error);
	return out;
}

static void copy_state(void *arg)
{
	struct pair *p = arg;
	GByteArray *out = save(p);

	assert_true(pci_function_restore(p->h[1].f, out->data, out->len, NULL));
	g_byte_array_unref(out);
	pci_function_start(p->h[1].f);
}

static void round_trip_co(void *arg)
{
	struct pair p;
	unsigned vendor, msix;

	(void)arg;
	begin(&p);
	p.s[0]->value = 42;
	vendor = cfg_find(&p.h[0], 9);
	msix = cfg_find(&p.h[0], 0x11);
	cfg_write(&p.h[0], 0x18, 0x12345000, 4);
	cfg_write(&p.h[0], 0x3c, 0x0b, 1);
	cfg_write(&p.h[0], 0xe0, 0x77, 1);
	ob_vendor_write(p.dev[0], 0, 2, "\x5a", 1);
	((uint8_t *)ob_bar_memory(p.dev[0], 2))[100] = 0x66;
	ob_irq_raise(p.dev[0]);
	cfg_write(&p.h[0], msix + 2, 0x8000, 2);
	bar_write(&p.h[0], 0, 16, 0xfee01000, 8);
	ob_msi_send(p.dev[0], 1); /* masked: pending */
	ON_LOOP(stop_all, &p);
	ON_LOOP(copy_state, &p);
	assert_int_equal(p.s[1]->value, 42);
	assert_int_equal(cfg_read(&p.h[1], 0x18, 4), 0x12344000);
	assert_int_equal(cfg_read(&p.h[1], 0x3c, 1), 0x0b);
	assert_int_equal(cfg_read(&p.h[1], 0xe0, 4), 0x77);
	assert_int_equal(cfg_read(&p.h[1], vendor + 5, 1), 0x5a);
	assert_int_equal(cfg_read(&p.h[1], 4, 2), 7);
	assert_int_equal(bar_read(&p.h[1], 2, 100, 1), 0x66);
	assert_int_equal(bar_read(&p.h[1], 0, 16, 8), 0xfee01000);
	assert_int_equal(bar_read(&p.h[1], 0, 0x800, 8), 2);
	bar_write(&p.h[1], 0, 28, 0, 4); /* the driver unmasks there */
	assert_int_equal(p.h[1].messages, 1);
	assert_false(p.h[1].level);
	cfg_write(&p.h[1], msix + 2, 0, 2);
	assert_true(p.h[1].level); /* the line came along too */
	end(&p);
}

static void refuse(struct pair *p, const void *data, size_t len, const char *reason)
{
	GError *error = NULL;

	p->s[1]->value = 1;
	assert_false(pci_function_restore(p->h[1].f, data, len, &error));
	if (!strstr(error->message, reason))
		fail_msg("\"%s\" does not say \"%s\"", error->message, reason);
	g_error_free(error);
	assert_int_equal(cfg_read(&p->h[1], 4, 2), 0); /* as after a reset */
	assert_int_equal(p->s[1]->value, 1);
}

/* A state as save() makes them, but for one field: len bytes at data, or (NULL) left out. */
static GByteArray *state_with(const GByteArray *from, const char *field, const void *data,
			      size_t len)
{
	static const char *const names[] = {"config",   "irq",    "msix.table",
					    "msix.pba", "bar2.0", "device"};
	GByteArray *out = g_byte_array_new();
	struct state_reader r;
	size_t n;

	g_byte_array_append(out, from->data, 8);
	assert_true(state_open(&r, from->data + 8, from->len - 8, NULL));
	for (unsigned i = 0; i < G_N_ELEMENTS(names); i++) {
		const uint8_t *p = state_find(&r, names[i], &n);

		assert_non_null(p);
		if (strcmp(names[i], field) != 0)
			state_put(out, names[i], p, n);
		else if (data)
			state_put(out, field, data, len);
	}
	return out;
}

static void refuse_with(struct pair *p, const GByteArray *good, const char *field, const void *data,
			size_t len, const char *reason)
{
	GByteArray *bad = state_with(good, field, data, len);

	refuse(p, bad->data, bad->len, reason);
	g_byte_array_unref(bad);
}

static void refuse_all(void *arg)
{
	static const uint8_t newer[4] = {4}, over[] = {3,   0,   0,   0,    5, 8, 0, 0, 0, 'v', 'a',
						       'l', 'u', 'e', 0xe9, 3, 0, 0, 0, 0, 0,   0};
	struct pair *p = arg;
	GByteArray *good = save(p), *more;
	uint8_t config[256];

	refuse(p, "", 0, "no saved state of a device");
	refuse(p, "12345678", 8, "no saved state of a device");
	for (size_t n = 0; n < good->len; n++) { /* shortened anywhere */
		uint8_t *copy = g_memdup2(good->data, n);

		assert_false(pci_function_restore(p->h[1].f, copy, n, NULL));
		g_free(copy);
	}
	refuse_with(p, good, "irq", NULL, 0, "there is no field irq");
	refuse_with(p, good, "config", config, 255, "field config has 255 bytes, must have 256");
	memset(config, 0, sizeof(config));
	refuse_with(p, good, "config", config, 256, "it is of device 0000:0000");
	refuse_with(p, good, "msix.table", "", 0, "field msix.table has 0 bytes");
	refuse_with(p, good, "bar2.0", "", 1, "field bar2.0 has 1 bytes, must have 4096");
	refuse_with(p, good, "device", "", 0, "is too short");
	refuse_with(p, good, "device", newer, 4, "version 4, known is up to 3");
	refuse_with(p, good, "device", "\3\0\0\0x", 5, "no field at offset 0");
	refuse_with(p, good, "device", over, sizeof(over), "value 1001 is over 1000");
	p->s[0]->puts_more = true;
	more = save(p);
	/* Here the value was taken before the stranger was seen: nobody relies on it after reset.
	 */
	assert_false(pci_function_restore(p->h[1].f, more->data, more->len, NULL));
	p->s[1]->asks_less = true;
	refuse(p, more->data, more->len, "field more, which saver does not know");
	p->s[1]->asks_less = false;
	assert_true(pci_function_restore(p->h[1].f, good->data, good->len, NULL));
	pci_function_start(p->h[1].f);
	assert_false(pci_function_restore(p->h[1].f, good->data, good->len, NULL)); /* it runs */
	assert_null(pci_function_save(p->h[1].f, NULL));
	g_byte_array_unref(good);
	g_byte_array_unref(more);
}

static void refusals_co(void *arg)
{
	struct pair p;

	(void)arg;
	begin(&p);
	ON_LOOP(stop_all, &p);
	ON_LOOP(refuse_all, &p);
	end(&p);
}

static void fail_to_save(void *arg)
{
	struct pair *p = arg;
	GError *error = NULL;

	p->s[0]->value = 666;
	assert_null(pci_function_save(p->h[0].f, &error));
	assert_string_equal(error->message, "device saver: it is the number");
	g_error_free(error);
}

static void save_fails_co(void *arg)
{
	struct pci_call call = {0};
	GError *error = NULL;
	struct device *d;
	struct pair p;

	(void)arg;
	begin(&p);
	ON_LOOP(stop_all, &p);
	ON_LOOP(fail_to_save, &p);
	end(&p);
	d = make_device(&deaf, NULL);
	assert_int_equal(pci_function_stop(device_function(d), &call), 0);
	assert_null(pci_function_save(device_function(d), &error));
	assert_string_equal(error->message, "device deaf (deaf) cannot be saved");
	g_error_free(error);
	device_free(d);
}

static void round_trip(void **state)
{
	(void)state;
	run_in_loop(round_trip_co, NULL);
}

static void refusals(void **state)
{
	(void)state;
	run_in_loop(refusals_co, NULL);
}

static void save_fails(void **state)
{
	(void)state;
	run_in_loop(save_fails_co, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(refusals),
		cmocka_unit_test(save_fails),
	};

	return RUN_LOOP_TESTS(tests);
}
