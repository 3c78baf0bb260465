/* See lab.h. */
#include "lab.h"

struct lab lab;

static void note(char what, unsigned bar, uint64_t off, uint64_t value, unsigned width)
{
	assert_true(lab.log_n < G_N_ELEMENTS(lab.log));
	lab.log[lab.log_n].what = what;
	lab.log[lab.log_n].bar = bar;
	lab.log[lab.log_n].off = off;
	lab.log[lab.log_n].value = value;
	lab.log[lab.log_n++].width = width;
}

static void maybe_defer(struct ob_dev *dev)
{
	if (!lab.defers)
		return;
	assert_null(lab.call);
	lab.call = ob_defer(dev);
	assert_non_null(lab.call);
	assert_null(ob_defer(dev));
}

#define CALLBACKS(n)                                                                           \
	static uint64_t read##n(struct ob_dev *dev, uint64_t off, unsigned width)              \
	{                                                                                      \
		note('r', n, off, 0, width);                                                   \
		maybe_defer(dev);                                                              \
		return lab.answer;                                                             \
	}                                                                                      \
	static void write##n(struct ob_dev *dev, uint64_t off, uint64_t value, unsigned width) \
	{                                                                                      \
		note('w', n, off, value, width);                                               \
		maybe_defer(dev);                                                              \
	}
CALLBACKS(0)
CALLBACKS(1)
CALLBACKS(2)

int lab_bar(struct ob_dev *dev, unsigned index, unsigned flags, uint64_t len)
{
	struct ob_bar bar = {.size = sizeof(bar), .index = index, .flags = flags, .len = len};

	bar.read = index == 0 ? read0 : index == 1 ? read1 : read2;
	bar.write = index == 0 ? write0 : index == 1 ? write1 : write2;
	return ob_add_bar(dev, &bar);
}

static int on_open(struct ob_dev *dev)
{
	lab.dev = dev;
	assert_null(ob_defer(dev));
	return lab.open ? lab.open(dev) : lab_bar(dev, 0, 0, 4096);
}

static void on_close(struct ob_dev *dev)
{
	assert_ptr_equal(dev, lab.dev);
	lab.closes++;
}

static void on_reset(struct ob_dev *dev, enum ob_reset kind)
{
	(void)kind;
	lab.resets++;
	maybe_defer(dev);
}

static void on_stop(struct ob_dev *dev)
{
	lab.stops++;
	maybe_defer(dev);
}

static void on_start(struct ob_dev *dev)
{
	(void)dev;
	lab.starts++;
}

static void on_revoked(struct ob_dev *dev, struct ob_mapping *m)
{
	assert_true(ob_dma_is_revoked(dev, m));
	lab.revokes++;
	if (lab.unmaps)
		ob_dma_unmap(dev, m);
}

static void on_changed(struct ob_dev *dev)
{
	(void)dev;
	lab.changes++;
}

const struct ob_class lab_class = {
	.size = sizeof(struct ob_class),
	.state_size = 64,
	.name = "lab",
	.id = {.vendor = 0x1af4, .device = 0x1234, .class_code = 0x118000, .intx_pin = 1},
	.open = on_open,
	.close = on_close,
	.reset = on_reset,
	.stop = on_stop,
	.start = on_start,
	.revoked = on_revoked,
	.changed = on_changed,
};

void lab_begin(int (*open)(struct ob_dev *dev))
{
	memset(&lab, 0, sizeof(lab));
	lab.open = open;
	lab.d = make_device(&lab_class, NULL);
	fake_host_init(&lab.h, device_function(lab.d), true);
	lab.changes = 0;
}

void lab_end(void)
{
	fake_host_fini(&lab.h);
	device_free(lab.d);
	assert_int_equal(lab.closes, 1);
}
