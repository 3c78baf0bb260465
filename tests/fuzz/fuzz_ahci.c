/*
 * Fuzzer: a guest does what it likes with an AHCI controller: registers, command lists, tables and
 * PRD entries, in memory that is shared and in memory of the VMM's own, with disks, an empty drive
 * and an empty port that units come to and leave.
 *
 * Input: steps of six bytes: what, port and slot, two bytes of place, two of value.
 */
#include "base/bytes.h"
#include "base/log.h"
#include "block/block.h"
#include "block/fault.h"
#include "block/mem.h"
#include "device/device.h"
#include "device/units.h"
#include "pci/function.h"
#include "scsi/drive.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	GUEST_LEN = 1 << 18,
	FAR_AT = 1 << 20, /* memory of the VMM's own */
	FAR_LEN = 1 << 16,
	STEP_LEN = 6,
	STEPS = 300,
	DISK_LEN = 1 << 20,
	ABAR = 5,
	PORTS = 4,
	EMPTY_PORT = 3,
	FB_OFF = 0x400, /* of each port: list, FISes, tables, then data for all */
	TABLES_OFF = 0x800,
	PORT_ROOM = 0x2800,
	DATA_AT = 0x10000,
};

static struct {
	struct loop *loop;
	struct block_node *disks[2];
	struct drive *drive;
	struct device *d;
	struct pci_function *f;
	struct pci_host host;
	struct pci_call calls[2];
	bool waits[2];
	uint8_t *guest, far[FAR_LEN];
	int guest_fd;
	struct pci_dma *asked[256];
	unsigned n_asked;
	bool level;
	unsigned plug; /* 1: a disk is to come to the empty port, 2: it is to go */
	const uint8_t *data;
	size_t size;
} w;

static bool nth(void *opaque, unsigned n, struct device_unit *out)
{
	static const char *const ids[] = {"hd0", "cd0"};

	(void)opaque;
	*out = (struct device_unit){.id = ids[n & 1], .serial = "1"};
	out->disk = n ? NULL : w.disks[0];
	out->drive = n ? drive_lu(w.drive) : NULL;
	return n < 2;
}

static const struct device_units units = {.nth = nth};

static void on_intx(struct pci_host *h, bool level)
{
	(void)h;
	if (level == w.level)
		abort();
	w.level = level;
}

static bool on_msi(struct pci_host *h, enum pci_irq kind, unsigned vector)
{
	(void)h;
	if (kind != PCI_MSI || vector >= PORTS)
		abort();
	return true;
}

static void on_dma(struct pci_host *h, struct pci_dma *d)
{
	(void)h;
	if (w.n_asked == G_N_ELEMENTS(w.asked))
		abort();
	w.asked[w.n_asked++] = d;
}

static void forget_asked(unsigned i)
{
	w.n_asked--;
	memmove(w.asked + i, w.asked + i + 1, (w.n_asked - i) * sizeof(w.asked[0]));
}

static void on_dma_cancel(struct pci_host *h, struct pci_dma *d)
{
	unsigned i = 0;

	(void)h;
	while (i < w.n_asked && w.asked[i] != d)
		i++;
	if (i == w.n_asked)
		abort();
	forget_asked(i);
}

static const struct pci_host_ops host_ops = {
	.intx = on_intx,
	.msi = on_msi,
	.dma = on_dma,
	.dma_cancel = on_dma_cancel,
};

static void answer_dma(void)
{
	struct pci_dma *d = w.asked[0];
	uint8_t *p;

	if (!w.n_asked)
		return;
	forget_asked(0);
	if (d->addr < FAR_AT || d->len > FAR_LEN || d->addr - FAR_AT > FAR_LEN - d->len)
		abort(); /* there is no such window */
	p = w.far + (d->addr - FAR_AT);
	if (d->write)
		memcpy(p, d->buf, d->len);
	else
		memcpy(d->buf, p, d->len);
	pci_dma_done(d, 0);
}

static void answered(struct pci_call *call, int res)
{
	(void)res;
	w.waits[call - w.calls] = false;
}

static void quiet(enum log_level level, const char *area, const char *text, void *arg)
{
	(void)level;
	(void)area;
	(void)text;
	(void)arg;
}

/* ---- Steps, on the loop's own stack like those of a host ------------------------------------- */

static void access_bar(unsigned off, unsigned width, uint64_t value, bool write)
{
	struct pci_call call = {.done = answered};
	int res;

	if (write)
		res = pci_function_write(w.f, ABAR, off, &value, width, &call);
	else
		res = pci_function_read(w.f, ABAR, off, &value, width, &call);
	if (res == PCI_PENDING)
		abort(); /* a register access never waits */
}

static void write_port(unsigned port, unsigned reg, uint32_t value)
{
	access_bar(0x100 + 0x80 * port + reg, 4, value, true);
}

/* Where the lists of a port lie: near or far. */
static uint8_t *room_of(unsigned port, bool far, uint32_t *gpa)
{
	*gpa = (far ? FAR_AT : 0) + PORT_ROOM * port;
	return far ? w.far + PORT_ROOM * port : w.guest + PORT_ROOM * port;
}

static void start_port(unsigned port, bool far)
{
	uint32_t gpa;

	room_of(port, far, &gpa);
	write_port(port, 0x00, gpa);
	write_port(port, 0x04, 0);
	write_port(port, 0x08, gpa + FB_OFF);
	write_port(port, 0x0c, 0);
	write_port(port, 0x30, UINT32_MAX);
	write_port(port, 0x14, UINT32_MAX);
	write_port(port, 0x18, 0x11);
}

/* A command that makes sense; the next steps may spoil it. */
static void fill(unsigned port, unsigned slot, bool far, const uint8_t *b)
{
	uint32_t gpa;
	uint8_t *room = room_of(port, far, &gpa), *h = room + 32 * slot;
	uint8_t *t = room + TABLES_OFF + 0x100 * slot;
	bool queued = b[3] == 0x60 || b[3] == 0x61;

	memset(h, 0, 32);
	memset(t, 0, 0x100);
	put_le32(h, (uint32_t)(5 | (b[3] == 0xa0 ? 0x20 : 0) | (uint32_t)(1 + (b[5] & 3)) << 16));
	put_le32(h + 8, gpa + TABLES_OFF + 0x100 * slot);
	t[0] = 0x27;
	t[1] = 0x80;
	t[2] = b[3];
	t[3] = queued ? 1 + (b[5] & 15) : b[5] >> 4;
	t[4] = b[2];
	t[5] = b[5] & 7;
	t[6] = b[5] >> 3;
	t[7] = 0x40;
	t[12] = (uint8_t)(queued ? slot << 3 : b[5] & 15);
	t[0x40] = b[2];
	t[0x48] = b[4];
	for (unsigned i = 0; i < 4; i++) {
		put_le64(t + 0x80 + 16 * i,
			 (b[4] >> i & 1 ? FAR_AT : 0) + DATA_AT / 2 + 0x1000 * i);
		put_le32(t + 0x8c + 16 * i, (uint32_t)b[4] << 4 | 0x80000003);
	}
}

static void start_or_stop(unsigned value)
{
	const unsigned bus_master = 0x07;

	switch (value & 3) {
	case 0:
		if (!w.waits[0])
			w.waits[0] =
				pci_function_reset(w.f, PCI_RESET_BUS, &w.calls[0]) == PCI_PENDING;
		pci_function_config_write(w.f, 4, &bus_master, 2);
		break;
	case 1:
		if (!w.waits[1])
			w.waits[1] = pci_function_stop(w.f, &w.calls[1]) == PCI_PENDING;
		break;
	case 2:
		pci_function_start(w.f);
		w.waits[1] = false;
		break;
	default: w.plug = 1 + (value >> 2 & 1); break;
	}
}

static void step(void *arg)
{
	const uint8_t *b = arg;
	unsigned port = b[1] & 3, slot = b[1] >> 3, place = b[2] | b[3] << 8;
	unsigned value = b[4] | b[5] << 8;
	bool far = b[1] & 4;
	uint32_t gpa;
	uint8_t *room = room_of(port, far, &gpa);

	switch (b[0] & 15) {
	case 0: access_bar(place & 0x1ffc, 4, (uint64_t)value << (b[0] >> 4), true); break;
	case 1:
		access_bar(place & 0x1fff & ~((1u << (b[0] >> 6)) - 1), 1u << (b[0] >> 6), 0,
			   false);
		break;
	case 2: write_port(port, place & 0x7c, value); break;
	case 3:
	case 4: start_port(port, far); break;
	case 5:
	case 6: fill(port, slot, far, b); break;
	case 7:
		write_port(port, 0x34, 1u << slot | (b[0] & 16 ? value : 0));
		write_port(port, 0x38, 1u << slot | (b[0] & 16 ? value : 0));
		break;
	case 8: write_port(port, 0x38, 1u << slot); break;
	case 9: room[32 * slot + (place & 31)] = b[4]; break;
	case 10: room[TABLES_OFF + 0x100 * slot + (place & 255)] = b[4]; break;
	case 11: start_or_stop(b[4]); break;
	case 12: write_port(port, 0x2c, b[4] & 5); break;
	case 13: pci_function_config_write(w.f, place & 0xff, &b[4], 1); break;
	case 14: write_port(port, 0x18, b[4]); break;
	default: answer_dma(); break;
	}
}

/* ---- A run ---- */

static co_fn void change_units(void)
{
	const struct device_unit unit = {.id = "hd1", .serial = "2", .disk = w.disks[1]};
	const struct device_unit_ops *ops = device_unit_ops(w.d);
	unsigned plug = w.plug;

	w.plug = 0;
	if (plug == 1 && !ops->unit(device_ob(w.d), EMPTY_PORT))
		ops->plug(device_ob(w.d), EMPTY_PORT, &unit, NULL);
	else if (plug == 2 && !w.n_asked &&
		 !pci_function_is_stopped(w.f)) /* it would wait for us */
		ops->unplug(device_ob(w.d), EMPTY_PORT, NULL);
}

static void attach(void *arg)
{
	const unsigned command = 0x07;

	(void)arg;
	w.level = false;
	if (!pci_function_attach(w.f, &w.host, NULL))
		abort();
	pci_function_config_write(w.f, 4, &command, 2);
	access_bar(4, 4, 1u << 31 | 2, true);
}

static void detach(void *arg)
{
	(void)arg;
	pci_function_detach(w.f, &w.host);
	if (w.n_asked)
		abort(); /* what was asked is not wanted any more */
}

static co_fn void make(void)
{
	struct opts *opts = opts_parse("driver=ahci,ports=4", NULL, NULL);

	w.d = device_new(w.loop, opts, &units, NULL);
	opts_free(opts);
	if (!w.d)
		abort();
	w.f = device_function(w.d);
	memset(w.guest, 0, GUEST_LEN);
	memset(w.far, 0, FAR_LEN);
	memset(w.waits, 0, sizeof(w.waits));
	w.plug = 0;
	pci_on_loop_stack(attach, NULL);
}

static void run(void *arg)
{
	(void)arg;
	make();
	for (unsigned i = 0; i < STEPS && w.size >= STEP_LEN; i++) {
		pci_on_loop_stack(step, (void *)(uintptr_t)w.data);
		w.data += STEP_LEN;
		w.size -= STEP_LEN;
		if (w.plug)
			change_units();
	}
	pci_on_loop_stack(detach, NULL);
	device_free(w.d);
	loop_stop(w.loop);
}

static void set_up_co(void *arg)
{
	/* Reads of the first blocks take some turns of the loop, so that resets find them. */
	const struct fault_rule slow = {.op = FAULT_READ, .to = 8192, .delay_ns = 1000};
	struct drive_options o = {.id = "cd0"};

	(void)arg;
	for (unsigned i = 0; i < 2; i++)
		w.disks[i] = fault_new(block_mem_new(DISK_LEN, "", 0));
	fault_add(w.disks[0], &slow);
	fault_add(w.disks[1], &slow);
	w.drive = drive_new(w.loop, &o, NULL);
	if (!w.drive)
		abort();
	loop_stop(w.loop);
}

static void set_up(void)
{
	const struct dma_region near = {0, GUEST_LEN, DMA_READ | DMA_WRITE, 0};
	const struct dma_region far = {FAR_AT, FAR_LEN, DMA_READ | DMA_WRITE, 0};

	log_set_sink(quiet, NULL);
	w.loop = loop_new(LOOP_EPOLL, NULL);
	w.guest_fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (!w.loop || w.guest_fd < 0 || ftruncate(w.guest_fd, GUEST_LEN) < 0)
		abort();
	w.guest = mmap(NULL, GUEST_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, w.guest_fd, 0);
	w.host = (struct pci_host){.ops = &host_ops, .loop = w.loop, .dma = dma_space_new()};
	w.calls[0].done = w.calls[1].done = answered;
	if (w.guest == MAP_FAILED || !dma_space_add(w.host.dma, &near, w.guest_fd, NULL) ||
	    !dma_space_add(w.host.dma, &far, -1, NULL))
		abort();
	co_start(w.loop, set_up_co, NULL);
	loop_run(w.loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!w.loop)
		set_up();
	w.data = data;
	w.size = size;
	co_start(w.loop, run, NULL);
	loop_run(w.loop);
	return 0;
}
