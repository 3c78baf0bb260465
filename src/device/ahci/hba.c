/*
 * AHCI host bus adapter (AHCI 1.3.1; ata.md 4): the device of the SDK, its global registers and
 * interrupts.
 *
 * The identity is nobody's: drivers bind by class 010601h, and ids of Intel's make Linux look for
 * registers in configuration space that only those chips have. CAP claims what drivers use and
 * nothing that would cost them accesses (SNTF) or make them ignore hot plug (link power
 * management). MSI-X is there beside MSI since a PC has several vectors for a function only so:
 * with one for each port Linux need not read IS, and a read is what costs most here.
 */
#include "device/ahci/ahci.h"
#include "device/classes.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"

/* clang-format off */
enum {
	R_CAP = 0x00, R_GHC = 0x04, R_IS = 0x08, R_PI = 0x0c, R_VS = 0x10, R_PORTS = 0x100, PORT_LEN = 0x80,
	VERSION = 0x00010300,
	ABAR = 5, ABAR_LEN = 8192, MSIX_TABLE = 0x1800, MSIX_PBA = 0x1c00,
	PORTS_DEFAULT = 6,
};

static const uint32_t CAP = 0xc1349f00;	/* 64 bit, NCQ, CLO, generation 3, AHCI only, 32 slots */
static const uint32_t GHC_AE = 1u << 31;
/* clang-format on */

static struct ahci *ahci_of(struct ob_dev *dev)
{
	return dev->state;
}

static uint32_t ports_mask(const struct ahci *h)
{
	return h->n_ports == AHCI_PORTS ? UINT32_MAX : (UINT32_C(1) << h->n_ports) - 1;
}

/* ---- interrupts (4.3) ---- */

static void send_irq(struct ahci *h, unsigned port)
{
	if (!(h->ghc & GHC_IE))
		return;
	if (ob_msi_mode(h->dev) != OB_MSI_OFF)
		ob_msi_send(h->dev, port);
	else
		ob_irq_raise(h->dev);
}

static void update_line(struct ahci *h)
{
	if (ob_msi_mode(h->dev) != OB_MSI_OFF || !(h->ghc & GHC_IE) || !h->is)
		ob_irq_lower(h->dev);
	else
		ob_irq_raise(h->dev);
}

void ahci_update(struct ahci_port *p)
{
	uint32_t now = ahci_port_is(p) & p->ie, news = now & ~p->seen;

	p->seen = now;
	if (!now || !news)
		return;
	p->h->is |= UINT32_C(1) << p->n;
	send_irq(p->h, p->n);
}

/* Bits that are cleared while their port still has something come back as new events. */
static void write_is(struct ahci *h, uint32_t value)
{
	h->is &= ~value;
	for (unsigned i = 0; i < h->n_ports; i++) {
		struct ahci_port *p = h->ports[i];

		if (!(value >> i & 1) || !(ahci_port_is(p) & p->ie))
			continue;
		h->is |= UINT32_C(1) << i;
		send_irq(h, i);
	}
	update_line(h);
}

/* ---- resets, and the machine's standing still ---- */

static bool any_runs(const struct ahci *h)
{
	for (unsigned i = 0; i < h->n_ports; i++) {
		if (h->ports[i]->running)
			return true;
	}
	return false;
}

static void finish(struct ahci *h, struct ob_call **call)
{
	struct ob_call *c = *call;

	*call = NULL;
	if (c)
		ob_finish(h->dev, c, 0);
}

/* Nothing runs: now registers may change and units be reset. */
static void reset_all(struct ahci *h)
{
	bool power_on = h->reset_due == AHCI_RESET_BUS;

	h->reset_due = AHCI_RESET_NONE;
	h->ghc = GHC_AE;
	h->is = 0;
	for (unsigned i = 0; i < h->n_ports; i++) {
		ahci_port_reset_registers(h->ports[i], power_on);
		ahci_port_link(h->ports[i]);
	}
	update_line(h);
}

static void settle(struct ahci *h)
{
	if (h->closing || any_runs(h))
		return;
	if (h->reset_due)
		reset_all(h);
	finish(h, &h->reset);
	finish(h, &h->stop);
}

static void settle_task(struct loop_task *task)
{
	settle((struct ahci *)((char *)task - offsetof(struct ahci, settle)));
}

void ahci_port_is_idle(struct ahci_port *p)
{
	struct ahci *h = p->h;

	if (!h->closing && (h->reset_due || h->stop))
		loop_at_turn_end(h->loop, &h->settle);
}

/* GHC.HR reads 1 until no command runs any more; so does a bus reset take that long. */
static void begin_reset(struct ahci *h, enum ahci_reset kind)
{
	h->reset_due = MAX(h->reset_due, kind);
	h->ghc |= GHC_HR;
	for (unsigned i = 0; i < h->n_ports; i++) {
		ahci_port_cancel(h->ports[i]);
		h->ports[i]->ci = h->ports[i]->sact = 0;
	}
}

static void on_reset(struct ob_dev *dev, enum ob_reset kind)
{
	struct ahci *h = ahci_of(dev);

	(void)kind;
	begin_reset(h, AHCI_RESET_BUS);
	finish(h, &h->reset); /* one that waited does not know of this one: it is over */
	if (any_runs(h))
		h->reset = ob_defer(dev);
	else
		settle(h);
}

static void on_stop(struct ob_dev *dev)
{
	struct ahci *h = ahci_of(dev);

	h->stopped = true;
	if (any_runs(h))
		h->stop = ob_defer(dev);
}

static void on_start(struct ob_dev *dev)
{
	struct ahci *h = ahci_of(dev);

	h->stopped = false;
	finish(h, &h->stop);
	for (unsigned i = 0; i < h->n_ports; i++) {
		ahci_port_post_due(h->ports[i]);
		ahci_port_kick(h->ports[i]);
	}
}

/* ---- registers ---- */

static uint32_t read_global(const struct ahci *h, unsigned off)
{
	switch (off) {
	case R_CAP: return CAP | (h->n_ports - 1);
	case R_GHC: return h->ghc | GHC_AE;
	case R_IS: return h->is;
	case R_PI: return ports_mask(h);
	case R_VS: return VERSION;
	default: return 0;
	}
}

static uint32_t read32(struct ahci *h, uint64_t off)
{
	uint64_t port;

	if (off < R_PORTS)
		return read_global(h, (unsigned)off);
	port = (off - R_PORTS) / PORT_LEN;
	return port < h->n_ports ? ahci_port_read(h->ports[port], (off - R_PORTS) % PORT_LEN) : 0;
}

static void write32(struct ahci *h, uint64_t off, uint32_t value)
{
	uint64_t port = (off - R_PORTS) / PORT_LEN;

	if (h->reset_due)
		return; /* GHC.HR is 1: nothing else counts */
	if (off >= R_PORTS) {
		if (port < h->n_ports)
			ahci_port_write(h->ports[port], (off - R_PORTS) % PORT_LEN, value);
		update_line(h);
	} else if (off == R_IS) {
		write_is(h, value);
	} else if (off == R_GHC && value & GHC_HR) {
		begin_reset(h, AHCI_RESET_HBA);
		settle(h);
	} else if (off == R_GHC) {
		bool on = value & GHC_IE && !(h->ghc & GHC_IE);

		h->ghc = (h->ghc & ~(uint32_t)GHC_IE) | (value & GHC_IE);
		for (unsigned i = 0; on && i < h->n_ports; i++) {
			if (h->is >> i & 1)
				send_irq(h, i);
		}
		update_line(h);
	}
}

static uint64_t bar_read(struct ob_dev *dev, uint64_t off, unsigned width)
{
	struct ahci *h = ahci_of(dev);

	if (width == 8)
		return read32(h, off) | (uint64_t)read32(h, off + 4) << 32;
	return read32(h, off & ~UINT64_C(3)) >> (off & 3) * 8;
}

/* Narrow writes do nothing: AHCI has none, and half a register has no meaning. */
static void bar_write(struct ob_dev *dev, uint64_t off, uint64_t value, unsigned width)
{
	struct ahci *h = ahci_of(dev);

	if (width < 4)
		return;
	write32(h, off, (uint32_t)value);
	if (width == 8)
		write32(h, off + 4, (uint32_t)(value >> 32));
}

/* ---- life ---- */

static void free_ports(struct ahci *h)
{
	for (unsigned i = 0; i < AHCI_PORTS && h->ports[i]; i++) {
		struct ahci_port *p = h->ports[i];

		for (unsigned s = 0; s < AHCI_SLOTS; s++) {
			guest_sg_fini(&p->slots[s].table);
			guest_sg_fini(&p->slots[s].sg);
		}
		g_free(p->unit_id);
		g_free(p);
		h->ports[i] = NULL;
	}
}

static bool plug_by_name(struct ahci *h, unsigned n, const char *id, GError **error)
{
	const struct device_units *units = device_units(h->dev);
	struct device_unit unit;

	if (!units)
		return err_set(error, ENOTSUP, "port%u=%s: there are no disks or drives here", n,
			       id);
	if (n >= h->n_ports)
		return err_set(error, EINVAL, "port%u=%s: there are %u ports, 0 to %u", n, id,
			       h->n_ports, h->n_ports - 1);
	if (!units->find(units->opaque, id, &unit, error))
		return err_prefix(error, "port%u", n);
	return ahci_port_plug(h->ports[n], &unit, error);
}

/* All there are, in their order. */
static bool plug_all(struct ahci *h, GError **error)
{
	const struct device_units *units = device_units(h->dev);
	struct device_unit unit;

	for (unsigned i = 0; units && units->nth(units->opaque, i, &unit); i++) {
		if (i == h->n_ports) {
			return err_set(
				error, ENOSPC,
				"more disks and drives than its %u ports: give ports=, or say "
				"which with port0=ID",
				h->n_ports);
		}
		if (!ahci_port_plug(h->ports[i], &unit, error))
			return false;
	}
	return true;
}

static bool plug_units(struct ahci *h, GError **error)
{
	bool named = false;

	for (unsigned i = 0; i < AHCI_PORTS; i++) {
		char name[16];
		const char *id;

		g_snprintf(name, sizeof(name), "port%u", i);
		id = ob_prop_text(h->dev, name);
		if (!id)
			continue;
		named = true;
		if (!plug_by_name(h, i, id, error))
			return false;
	}
	return named || plug_all(h, error);
}

static const struct device_unit_ops unit_ops;

static int on_open(struct ob_dev *dev)
{
	struct ahci *h = ahci_of(dev);
	struct ob_bar bar = {.size = sizeof(bar), .index = ABAR, .len = ABAR_LEN};
	unsigned vectors = 1;
	GError *error = NULL;
	int res;

	h->dev = dev;
	h->loop = device_loop(dev);
	h->n_ports = (unsigned)ob_prop_number(dev, "ports");
	h->ghc = GHC_AE;
	h->settle.run = settle_task;
	for (unsigned i = 0; i < h->n_ports; i++) {
		h->ports[i] = g_new0(struct ahci_port, 1);
		h->ports[i]->h = h;
		h->ports[i]->n = i;
		ahci_port_init_commands(h->ports[i]);
		ahci_port_reset_registers(h->ports[i], true);
	}
	while (vectors < h->n_ports)
		vectors *= 2;
	bar.read = bar_read;
	bar.write = bar_write;
	ob_add_bar(dev, &bar);
	ob_add_pm(dev);
	ob_add_msi(dev, vectors, OB_MSI_MASKABLE);
	ob_add_msix(dev, h->n_ports, ABAR, MSIX_TABLE, ABAR, MSIX_PBA);
	device_set_unit_ops(dev, &unit_ops);
	if (!plug_units(h, &error)) {
		res = ob_error(dev, -error->code, "%s", error->message);
		g_error_free(error);
		return res;
	}
	for (unsigned i = 0; i < h->n_ports; i++)
		ahci_port_link(h->ports[i]);
	return 0;
}

static void on_close(struct ob_dev *dev)
{
	struct ahci *h = ahci_of(dev);

	finish(h, &h->reset);
	finish(h, &h->stop);
	free_ports(h);
}

/* MSI or INTx: what is pending goes by the way that the driver has chosen now. */
static void on_changed(struct ob_dev *dev)
{
	struct ahci *h = ahci_of(dev);

	if (!h->n_ports || !h->ports[h->n_ports - 1])
		return; /* open() has not come that far */
	for (unsigned i = 0; i < h->n_ports; i++) {
		if (ob_msi_mode(dev) != h->msi && h->is >> i & 1)
			send_irq(h, i);
	}
	h->msi = ob_msi_mode(dev);
	update_line(h);
}

/* The I/O in flight ends by itself, and its mapping with it (command.c, end()). */
static void on_revoked(struct ob_dev *dev, struct ob_mapping *m)
{
	(void)dev;
	(void)m;
}

static co_fn void quiesce(struct ob_dev *dev)
{
	struct ahci *h = ahci_of(dev);

	h->closing = true;
	for (unsigned i = 0; i < h->n_ports; i++) {
		if (h->ports[i])
			ahci_port_cancel(h->ports[i]);
	}
	for (unsigned i = 0; i < h->n_ports; i++) {
		if (h->ports[i])
			ahci_port_unplug(h->ports[i]);
	}
}

static unsigned slots(struct ob_dev *dev)
{
	return ahci_of(dev)->n_ports;
}

static const char *slot_unit(struct ob_dev *dev, unsigned slot)
{
	return ahci_of(dev)->ports[slot]->unit_id;
}

static co_fn bool plug(struct ob_dev *dev, unsigned slot, const struct device_unit *unit,
		       GError **error)
{
	struct ahci_port *p = ahci_of(dev)->ports[slot];

	if (!ahci_port_plug(p, unit, error))
		return false;
	ahci_port_link(p);
	return true;
}

static co_fn bool unplug(struct ob_dev *dev, unsigned slot, GError **error)
{
	struct ahci_port *p = ahci_of(dev)->ports[slot];

	(void)error;
	ahci_port_unplug(p);
	p->serr |= SERR_N | SERR_X;
	p->seen &= ~(uint32_t)(IS_PCS | IS_PRCS);
	ahci_update(p);
	return true;
}

static const struct device_unit_ops unit_ops = {
	.quiesce = quiesce,
	.slots = slots,
	.plug = plug,
	.unplug = unplug,
	.unit = slot_unit,
};

/* clang-format off */
#define PORT(n) { .size = sizeof(struct ob_prop), .type = OB_PROP_TEXT, .name = "port" #n, \
		  .help = "the disk or drive on port " #n }

static const struct ob_prop props[] = {
	{ .size = sizeof(struct ob_prop), .type = OB_PROP_UINT, .name = "ports",
	  .help = "number of ports", .min = 1, .max = AHCI_PORTS, .def = PORTS_DEFAULT },
	PORT(0), PORT(1), PORT(2), PORT(3), PORT(4), PORT(5), PORT(6), PORT(7),
	PORT(8), PORT(9), PORT(10), PORT(11), PORT(12), PORT(13), PORT(14), PORT(15),
	PORT(16), PORT(17), PORT(18), PORT(19), PORT(20), PORT(21), PORT(22), PORT(23),
	PORT(24), PORT(25), PORT(26), PORT(27), PORT(28), PORT(29), PORT(30), PORT(31),
};
/* clang-format on */

const struct ob_class ahci_class = {
	.size = sizeof(struct ob_class),
	.state_size = sizeof(struct ahci),
	.name = "ahci",
	.help = "SATA controller for disks and drives, 1 to 32 ports",
	.id = {.vendor = 0x1234,
	       .device = 0xa4c1,
	       .class_code = 0x010601,
	       .revision = 1,
	       .intx_pin = 1},
	.props = props,
	.n_props = G_N_ELEMENTS(props),
	.state_version = 1,
	.open = on_open,
	.close = on_close,
	.reset = on_reset,
	.stop = on_stop,
	.start = on_start,
	.save = ahci_save,
	.restore = ahci_restore,
	.revoked = on_revoked,
	.changed = on_changed,
};
