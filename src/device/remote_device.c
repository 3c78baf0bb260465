/*
 * The device that a program is to the machine: a class of the SDK made from its description. While
 * there is no program, registers read all ones and writes vanish.
 */
#include "device/device_impl.h"
#include "device/remote_impl.h"

#include <errno.h>
#include <string.h>

static struct remote *remote_of(struct ob_dev *dev)
{
	return device_of(dev)->remote;
}

static uint64_t on_read(struct ob_dev *dev, unsigned bar, uint64_t off, unsigned width)
{
	struct remote *r = remote_of(dev);
	struct remote_msg m = {.type = REMOTE_READ, .off = off};

	m.bar = (uint8_t)bar;
	m.width = (uint8_t)width;
	if (r->link == REMOTE_UP) {
		struct ob_call *call = ob_defer(dev);

		if (!remote_ask(r, &m, call))
			ob_finish(dev, call, UINT64_MAX);
	}
	return UINT64_MAX;
}

static void on_write(struct ob_dev *dev, unsigned bar, uint64_t off, uint64_t value, unsigned width)
{
	struct remote *r = remote_of(dev);
	struct remote_msg m = {.type = REMOTE_WRITE, .off = off, .value = value};

	m.bar = (uint8_t)bar;
	m.width = (uint8_t)width;
	if (r->link != REMOTE_UP)
		return;
	if (r->desc->ack_writes) {
		struct ob_call *call = ob_defer(dev);

		if (!remote_ask(r, &m, call))
			ob_finish(dev, call, 0);
	} else {
		remote_send(r, &m);
	}
}

#define BAR_CALLBACKS(n)                                                                       \
	static uint64_t read##n(struct ob_dev *dev, uint64_t off, unsigned width)              \
	{                                                                                      \
		return on_read(dev, n, off, width);                                            \
	}                                                                                      \
	static void write##n(struct ob_dev *dev, uint64_t off, uint64_t value, unsigned width) \
	{                                                                                      \
		on_write(dev, n, off, value, width);                                           \
	}
BAR_CALLBACKS(0)
BAR_CALLBACKS(1)
BAR_CALLBACKS(2)
BAR_CALLBACKS(3)
BAR_CALLBACKS(4)
BAR_CALLBACKS(5)

static const struct device_bar callbacks[REMOTE_BARS] = {
	{read0, write0}, {read1, write1}, {read2, write2},
	{read3, write3}, {read4, write4}, {read5, write5},
};

static void add_bars(struct ob_dev *dev, const struct remote_desc *d)
{
	for (unsigned i = 0; i < REMOTE_BARS; i++) {
		struct ob_bar bar = {
			.size = sizeof(bar),
			.index = i,
			.flags = d->bars[i].flags,
			.len = d->bars[i].len,
			.read = callbacks[i].read,
			.write = callbacks[i].write,
		};

		if (bar.len)
			ob_add_bar(dev, &bar);
	}
}

static int on_open(struct ob_dev *dev)
{
	struct remote *r = remote_of(dev);
	const struct remote_desc *d = r->desc;

	r->dev = dev;
	add_bars(dev, d);
	if (d->pm)
		ob_add_pm(dev);
	if (d->msi)
		ob_add_msi(dev, d->msi, 0);
	if (d->msix)
		ob_add_msix(dev, d->msix, d->table_bar, d->table_off, d->pba_bar, d->pba_off);
	if (d->pcie)
		ob_add_pcie(dev);
	remote_greet(r);
	remote_link_resume(r);
	return 0;
}

static void on_close(struct ob_dev *dev)
{
	struct remote *r = remote_of(dev);

	remote_answer_all(r);
	r->dev = NULL;
	r->closing = true;
	co_queue_wake_all(&r->changed);
}

static void on_reset(struct ob_dev *dev, enum ob_reset kind)
{
	struct remote *r = remote_of(dev);
	struct remote_msg m = {.type = REMOTE_RESET};
	struct ob_call *call;

	m.arg = kind == OB_RESET_BUS ? REMOTE_RESET_BUS : REMOTE_RESET_FUNCTION;
	if (r->link != REMOTE_UP)
		return;
	call = ob_defer(dev);
	if (!remote_ask(r, &m, call))
		ob_finish(dev, call, 0);
}

static void on_stop(struct ob_dev *dev)
{
	remote_of(dev)->stopped = true;
}

static void on_start(struct ob_dev *dev)
{
	remote_of(dev)->stopped = false;
}

static void on_changed(struct ob_dev *dev)
{
	struct remote *r = remote_of(dev);

	if (r->dev)
		remote_tell_state(r);
}

void remote_fill_class(struct remote *r)
{
	r->cls = (struct ob_class){
		.size = sizeof(struct ob_class),
		.name = r->desc->name,
		.help = r->desc->help,
		.id = r->desc->id,
		.props = r->desc->props,
		.n_props = r->desc->n_props,
		.open = on_open,
		.close = on_close,
		.reset = on_reset,
		.stop = on_stop,
		.start = on_start,
		.changed = on_changed,
	};
}
