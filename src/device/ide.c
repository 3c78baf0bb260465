/*
 * ide: a PCI IDE controller in native mode with bus-master DMA: two channels, four units.
 *
 * It is a PIIX4 to software (8086:7111, ata.md 3.4), since its drivers want no registers beyond
 * configuration space, and SeaBIOS leaves its BARs alone. Registers at 40h are stored and mean
 * nothing here, but drivers refuse a channel whose IDETIM has bit 15 clear. Everything else is
 * ata/channel.h and ata/bmdma.h; this file gives them ports, an interrupt and guest memory.
 */
#include "ata/bmdma.h"
#include "base/err.h"
#include "device/classes.h"
#include "device/guest_sg.h"
#include "device/units.h"
#include "pci/build.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum {
	CHANNELS = 2,
	UNITS = 4,
	BAR_BUS_MASTER = 4,
	CONTROL_AT = 2, /* in the BAR of a control block */
	MEMORY_BAR_MIN = 16,
};

static const char *const places[UNITS] = {"primary-master", "primary-slave", "secondary-master",
					  "secondary-slave"};

/* What identity= chooses among. */
static const char *const identities[] = {"piix4", "piix3", "ich7", NULL};
static const uint16_t device_ids[] = {0x7111, 0x7010, 0x27df};

/* What registers= chooses among. */
enum { REGISTERS_PORTS };
static const char *const register_kinds[] = {"ports", "memory", NULL};

struct ide_channel {
	struct ob_dev *dev;
	struct bmdma *bm; /* NULL: open() did not come so far, or quiesced */
	struct guest_sg sg;
	bool line;
};

struct ide {
	struct ide_channel ch[CHANNELS];
	struct ata_unit *units[UNITS];
	struct co_drain answers; /* coroutines that wait to answer reset() or stop() */
};

/* ---- What a bus master asks for -------------------------------------------------------------- */

static void on_irq(void *opaque, bool level)
{
	struct ide_channel *c = opaque;
	struct ide *i = c->dev->state;

	c->line = level;
	if (i->ch[0].line || i->ch[1].line)
		ob_irq_raise(c->dev);
	else
		ob_irq_lower(c->dev);
}

static co_fn int on_read(void *opaque, uint64_t gpa, void *buf, size_t len)
{
	struct ide_channel *c = opaque;

	return guest_read(c->dev, gpa, buf, len);
}

static void on_sg_clear(void *opaque)
{
	struct ide_channel *c = opaque;

	guest_sg_clear(&c->sg, c->dev);
}

static int on_sg_add(void *opaque, uint64_t gpa, uint64_t len)
{
	struct ide_channel *c = opaque;

	return guest_sg_add(&c->sg, gpa, len);
}

static co_fn int on_sg_begin(void *opaque, bool to_host, struct iovs *iov)
{
	struct ide_channel *c = opaque;

	return guest_sg_begin(&c->sg, to_host ? OB_DMA_WRITE : OB_DMA_READ, iov);
}

static co_fn int on_sg_end(void *opaque, size_t done)
{
	struct ide_channel *c = opaque;

	return guest_sg_end(&c->sg, done);
}

static const struct bmdma_ops bmdma_ops = {
	.irq = on_irq,
	.read = on_read,
	.sg_clear = on_sg_clear,
	.sg_add = on_sg_add,
	.sg_begin = on_sg_begin,
	.sg_end = on_sg_end,
};

/* ---- Registers ------------------------------------------------------------------------------- */

static struct bmdma *bus_master(struct ob_dev *dev, unsigned n)
{
	struct ide *i = dev->state;

	return i->ch[n].bm;
}

static uint64_t read_control(struct ob_dev *dev, unsigned n, uint64_t off, unsigned width)
{
	if (off != CONTROL_AT || width != 1)
		return UINT64_MAX;
	return ata_channel_read_control(bmdma_channel(bus_master(dev, n)));
}

static void write_control(struct ob_dev *dev, unsigned n, uint64_t off, uint64_t value,
			  unsigned width)
{
	if (off == CONTROL_AT && width == 1)
		ata_channel_write_control(bmdma_channel(bus_master(dev, n)), (uint8_t)value);
}

/* A BAR's callbacks do not learn which BAR it is. */
#define CHANNEL_BARS(n)                                                                           \
	static uint64_t read_command##n(struct ob_dev *dev, uint64_t off, unsigned width)         \
	{                                                                                         \
		return ata_channel_read(bmdma_channel(bus_master(dev, n)), (unsigned)off, width); \
	}                                                                                         \
	static void write_command##n(struct ob_dev *dev, uint64_t off, uint64_t value,            \
				     unsigned width)                                              \
	{                                                                                         \
		ata_channel_write(bmdma_channel(bus_master(dev, n)), (unsigned)off,               \
				  (uint32_t)value, width);                                        \
	}                                                                                         \
	static uint64_t read_control##n(struct ob_dev *dev, uint64_t off, unsigned width)         \
	{                                                                                         \
		return read_control(dev, n, off, width);                                          \
	}                                                                                         \
	static void write_control##n(struct ob_dev *dev, uint64_t off, uint64_t value,            \
				     unsigned width)                                              \
	{                                                                                         \
		write_control(dev, n, off, value, width);                                         \
	}
CHANNEL_BARS(0)
CHANNEL_BARS(1)

static uint64_t read_bus_master(struct ob_dev *dev, uint64_t off, unsigned width)
{
	if (width > 4)
		return UINT64_MAX;
	return bmdma_read(bus_master(dev, off / BMDMA_LEN), off % BMDMA_LEN, width);
}

static void write_bus_master(struct ob_dev *dev, uint64_t off, uint64_t value, unsigned width)
{
	if (width <= 4)
		bmdma_write(bus_master(dev, off / BMDMA_LEN), off % BMDMA_LEN, (uint32_t)value,
			    width);
}

/*
 * Drivers expect ports, and firmware knows nothing else. But a VMM waits for the answer to every
 * write to a port, not for that to a write to memory, and Linux takes both.
 */
static void add_bars(struct ob_dev *dev)
{
	bool ports = ob_prop_number(dev, "registers") == REGISTERS_PORTS;
	const struct ob_bar bars[] = {
		{.len = 8, .read = read_command0, .write = write_command0},
		{.len = 4, .read = read_control0, .write = write_control0},
		{.len = 8, .read = read_command1, .write = write_command1},
		{.len = 4, .read = read_control1, .write = write_control1},
		{.len = (uint64_t)CHANNELS * BMDMA_LEN,
		 .read = read_bus_master,
		 .write = write_bus_master},
	};

	for (unsigned n = 0; n <= BAR_BUS_MASTER; n++) {
		struct ob_bar bar = bars[n];

		bar.size = sizeof(bar);
		bar.index = n;
		bar.flags = ports ? OB_BAR_IO : 0;
		bar.len = ports ? bar.len : MAX(bar.len, MEMORY_BAR_MIN);
		ob_add_bar(dev, &bar);
	}
}

static void add_config(struct ob_dev *dev)
{
	/* IDETIM of both channels, SIDETIM, UDMACTL, UDMATIM. */
	static const uint8_t timing[12] = {0x00, 0x80, 0x00, 0x80};
	static const uint8_t writable[12] = {0xff, 0xff, 0xff, 0xff, 0xff, 0,
					     0,    0,    0x0f, 0,    0xff, 0xff};
	/* IDE_CONFIG of later ones: Linux writes back what it read. */
	static const uint8_t later[4], all[4] = {0xff, 0xff, 0xff, 0xff};

	ob_add_config(dev, 0x40, timing, writable, sizeof(timing));
	ob_add_config(dev, 0x54, later, all, sizeof(later));
}

/* ---- Units ----------------------------------------------------------------------------------- */

static int add_unit(struct ob_dev *dev, unsigned place, const struct device_unit *unit)
{
	struct ide *i = dev->state;
	struct ata_unit_options o = {
		.loop = device_loop(dev),
		.name = unit->id,
		.disk = unit->disk,
		.drive = unit->drive,
		.model = unit->model,
		.serial_number = unit->serial,
		.firmware = unit->firmware,
		.rotational = unit->rotational,
		.second = place & 1,
	};
	GError *error = NULL;
	int res = 0;

	i->units[place] = ata_unit_new(&o, &error);
	if (!i->units[place])
		res = ob_error(dev, -error->code, "%s", error->message);
	g_clear_error(&error);
	return res;
}

static int add_named(struct ob_dev *dev, unsigned place, const char *id)
{
	const struct device_units *all = device_units(dev);
	struct device_unit unit = {0};
	GError *error = NULL;
	int res;

	if (!all) {
		return ob_error(dev, -ENOENT, "%s=%s: there are no disks or drives here",
				places[place], id);
	}
	if (all->find(all->opaque, id, &unit, &error))
		return add_unit(dev, place, &unit);
	res = ob_error(dev, -error->code, "%s: %s", places[place], error->message);
	g_error_free(error);
	return res;
}

static int add_all(struct ob_dev *dev)
{
	const struct device_units *all = device_units(dev);
	struct device_unit unit = {0};
	int res = 0;

	for (unsigned n = 0; res == 0 && all && all->nth(all->opaque, n, &unit); n++) {
		if (n == UNITS) {
			return ob_error(dev, -E2BIG,
					"there are more disks and drives than the 4 that ide has "
					"room for; name them by %s=, %s=, %s= and %s=",
					places[0], places[1], places[2], places[3]);
		}
		res = add_unit(dev, n, &unit);
		memset(&unit, 0, sizeof(unit));
	}
	return res;
}

static int add_units(struct ob_dev *dev)
{
	bool named = false;
	int res = 0;

	for (unsigned n = 0; res == 0 && n < UNITS; n++) {
		const char *id = ob_prop_text(dev, places[n]);

		if (id && *id) {
			named = true;
			res = add_named(dev, n, id);
		}
	}
	return named ? res : add_all(dev);
}

/* ---- Life ------------------------------------------------------------------------------------ */

static bool is_still(const struct ide *i)
{
	return ata_channel_is_still(bmdma_channel(i->ch[0].bm)) &&
	       ata_channel_is_still(bmdma_channel(i->ch[1].bm));
}

static void reset_channels(struct ide *i)
{
	for (unsigned n = 0; n < CHANNELS; n++) {
		if (i->ch[n].bm)
			bmdma_reset(i->ch[n].bm);
	}
}

struct answer {
	struct ob_dev *dev;
	struct ob_call *call;
};

static void finish(void *arg)
{
	const struct answer *a = arg;

	ob_finish(a->dev, a->call, 0);
}

static void answer_when_still(void *arg)
{
	struct answer a = *(struct answer *)arg;
	struct ide *i = a.dev->state;

	co_drain_enter(&i->answers);
	while (!is_still(i)) {
		ata_channel_drain(bmdma_channel(i->ch[0].bm));
		ata_channel_drain(bmdma_channel(i->ch[1].bm));
	}
	pci_on_loop_stack(finish, &a);
	co_drain_leave(&i->answers);
}

/* The guest waits until what is in flight has ended. */
static void answer_later(struct ob_dev *dev)
{
	struct ide *i = dev->state;
	struct answer a = {.dev = dev};

	if (is_still(i))
		return;
	a.call = ob_defer(dev);
	if (a.call)
		co_start(device_loop(dev), answer_when_still, &a);
}

static void ide_reset(struct ob_dev *dev, enum ob_reset kind)
{
	struct ide *i = dev->state;

	(void)kind;
	if (!i->ch[0].bm || !i->ch[1].bm)
		return;
	reset_channels(i);
	answer_later(dev);
}

static void ide_stop(struct ob_dev *dev)
{
	answer_later(dev);
}

static void ide_revoked(struct ob_dev *dev, struct ob_mapping *m)
{
	struct ide *i = dev->state;

	for (unsigned n = 0; n < CHANNELS; n++) {
		if (i->ch[n].bm && guest_sg_has(&i->ch[n].sg, m))
			bmdma_revoke(i->ch[n].bm);
	}
}

static co_fn void ide_quiesce(struct ob_dev *dev)
{
	struct ide *i = dev->state;

	reset_channels(i);
	co_drain_wait(&i->answers);
	for (unsigned n = 0; n < CHANNELS; n++) {
		bmdma_free(i->ch[n].bm);
		i->ch[n].bm = NULL;
		guest_sg_fini(&i->ch[n].sg);
	}
	for (unsigned n = 0; n < UNITS; n++) {
		ata_unit_free(i->units[n]);
		i->units[n] = NULL;
	}
}

static const struct device_unit_ops unit_ops = {
	.quiesce = ide_quiesce,
};

static int ide_open(struct ob_dev *dev)
{
	struct ide *i = dev->state;
	struct ob_identity id = ide_class.id;
	int res;

	device_set_unit_ops(dev, &unit_ops);
	id.device = device_ids[ob_prop_number(dev, "identity")];
	ob_set_identity(dev, &id);
	add_bars(dev);
	add_config(dev);
	res = add_units(dev);
	if (res < 0)
		return res;
	for (unsigned n = 0; n < CHANNELS; n++) {
		struct ide_channel *c = &i->ch[n];

		c->dev = dev;
		c->bm = bmdma_new(device_loop(dev), &bmdma_ops, c, i->units[2 * n],
				  i->units[2 * n + 1]);
	}
	return 0;
}

/* ---- State ----------------------------------------------------------------------------------- */

struct ide_state {
	uint8_t kinds[UNITS]; /* 0 none, 1 disk, 2 packet device */
	uint8_t units[UNITS][ATA_UNIT_STATE];
	uint8_t channels[CHANNELS][ATA_CHANNEL_STATE];
	uint8_t masters[CHANNELS][BMDMA_STATE];
};

static void list_kinds(const struct ide *i, uint8_t kinds[UNITS])
{
	for (unsigned n = 0; n < UNITS; n++)
		kinds[n] = i->units[n] ? 1 + ata_unit_is_packet(i->units[n]) : 0;
}

static int ide_save(struct ob_dev *dev, struct ob_state *out)
{
	const struct ide *i = dev->state;
	struct ide_state s = {0};

	list_kinds(i, s.kinds);
	for (unsigned n = 0; n < UNITS; n++) {
		if (i->units[n])
			ata_unit_save(i->units[n], s.units[n]);
	}
	for (unsigned n = 0; n < CHANNELS; n++) {
		if (!ata_channel_save(bmdma_channel(i->ch[n].bm), s.channels[n])) {
			return ob_error(
				dev, -EBUSY,
				"a command is under way that waits for the guest; try again");
		}
		bmdma_save(i->ch[n].bm, s.masters[n]);
	}
	return ob_put(dev, out, "ide", &s, sizeof(s));
}

static int ide_restore(struct ob_dev *dev, struct ob_state *in, uint32_t version)
{
	struct ide *i = dev->state;
	uint8_t kinds[UNITS];
	struct ide_state s;
	int res = ob_get(dev, in, "ide", &s, sizeof(s));

	(void)version;
	if (res < 0)
		return ob_error(dev, res, "field ide is missing or has another length");
	list_kinds(i, kinds);
	for (unsigned n = 0; n < UNITS; n++) {
		if (kinds[n] != s.kinds[n])
			return ob_error(dev, -EINVAL, "the saved machine had another unit as %s",
					places[n]);
	}
	if (!is_still(i))
		return ob_error(dev, -EBUSY, "a command is under way");
	for (unsigned n = 0; n < UNITS; n++) {
		if (i->units[n] && !ata_unit_restore(i->units[n], s.units[n]))
			return ob_error(dev, -EINVAL, "the settings of %s make no sense",
					places[n]);
	}
	for (unsigned n = 0; n < CHANNELS; n++) {
		ata_channel_restore(bmdma_channel(i->ch[n].bm), s.channels[n]);
		bmdma_restore(i->ch[n].bm, s.masters[n]);
	}
	return 0;
}

#define PLACE(place, text)                                                             \
	{                                                                              \
		.size = sizeof(struct ob_prop), .type = OB_PROP_TEXT, .name = (place), \
		.help = (text),                                                        \
	}

static const struct ob_prop ide_props[] = {
	PLACE("primary-master", "id of a disk or drive; no place given: all of them in order"),
	PLACE("primary-slave", "device 1 of the first channel"),
	PLACE("secondary-master", "device 0 of the second channel"),
	PLACE("secondary-slave", "device 1 of the second channel"),
	{
		.size = sizeof(struct ob_prop),
		.type = OB_PROP_ENUM,
		.name = "identity",
		.help = "controller that drivers take it for (firmware moves the ports of an ich7)",
		.names = identities,
	},
	{
		.size = sizeof(struct ob_prop),
		.type = OB_PROP_ENUM,
		.name = "registers",
		.help = "memory: about twice as fast, but Linux only (no firmware boots from it)",
		.names = register_kinds,
	},
};

const struct ob_class ide_class = {
	.size = sizeof(struct ob_class),
	.state_size = sizeof(struct ide),
	.name = "ide",
	.help = "PCI IDE controller with bus-master DMA: four disks and drives",
	.id =
		{
			.vendor = 0x8086,
			.device = 0x7111,
			.subsystem_vendor = 0x1af4,
			.subsystem = 0x1100,
			.class_code = 0x010185, /* native and fixed: there are only BARs here */
			.revision = 0x01,
			.intx_pin = 1,
		},
	.props = ide_props,
	.n_props = sizeof(ide_props) / sizeof(ide_props[0]),
	.state_version = 1,
	.open = ide_open,
	.reset = ide_reset,
	.stop = ide_stop,
	.save = ide_save,
	.restore = ide_restore,
	.revoked = ide_revoked,
};
