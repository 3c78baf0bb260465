/* Built against an older header (older_header.py): structs are shorter, some functions unknown. */
#include "outboard-older.h"

#include <errno.h>
#include <string.h>

struct old {
	uint32_t value;
};

static uint64_t old_read(struct ob_dev *dev, uint64_t off, unsigned width)
{
	struct old *o = dev->state;

	(void)width;
	return off == 0 ? o->value : ob_prop_number(dev, "start");
}

static void old_write(struct ob_dev *dev, uint64_t off, uint64_t value, unsigned width)
{
	struct old *o = dev->state;

	(void)off;
	(void)width;
	o->value = (uint32_t)value;
	ob_irq_raise(dev);
}

static int old_open(struct ob_dev *dev)
{
	static const struct ob_bar bar = {
		.size = sizeof(bar), .len = 4096, .read = old_read, .write = old_write};

	if (dev->api->size <= sizeof(struct ob_api))
		return ob_error(dev, -EPROTO, "the daemon is not newer than this plug-in");
	return ob_add_bar(dev, &bar);
}

static const struct ob_prop old_props[] = {
	{.size = sizeof(struct ob_prop), .type = OB_PROP_UINT, .name = "start", .max = 9, .def = 3},
	{.size = sizeof(struct ob_prop), .type = OB_PROP_TEXT, .name = "label", .def_text = "x"},
};

static const struct ob_class old_class = {
	.size = sizeof(struct ob_class),
	.state_size = sizeof(struct old),
	.name = "old",
	.id = {.vendor = 0x1af4, .device = 0x4321, .class_code = 0xff0000, .intx_pin = 1},
	.props = old_props,
	.n_props = 2,
	.open = old_open,
};

OB_PLUGIN(&old_class);
