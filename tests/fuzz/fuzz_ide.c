/*
 * Fuzzer: a guest does what it likes with an IDE controller, its registers and its own memory; a
 * disk and an empty drive are behind it.
 *
 * Input: steps of four bytes: what (and for some, how much), two bytes of place, one of value.
 */
#include "base/log.h"
#include "block/block.h"
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
	STEPS = 400,
	DISK_LEN = 1 << 20,
	BAR_BUS_MASTER = 4,
};

static struct {
	struct loop *loop;
	struct block_node *disk;
	struct drive *drive;
	struct device *d;
	struct pci_function *f;
	struct pci_host host;
	struct pci_call calls[2];
	bool waits[2];
	uint8_t *guest, far[FAR_LEN];
	int guest_fd;
	struct pci_dma *asked[64];
	unsigned n_asked;
	bool level;
	const uint8_t *data;
	size_t size;
} w;

static bool nth(void *opaque, unsigned n, struct device_unit *out)
{
	(void)opaque;
	*out = (struct device_unit){.id = n ? "cd0" : "hd0"};
	out->disk = n ? NULL : w.disk;
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
	(void)kind;
	(void)vector;
	abort(); /* it has none */
}

static void on_dma(struct pci_host *h, struct pci_dma *d)
{
	(void)h;
	if (w.n_asked == G_N_ELEMENTS(w.asked))
		abort();
	w.asked[w.n_asked++] = d;
}

static void on_dma_cancel(struct pci_host *h, struct pci_dma *d)
{
	unsigned i = 0;

	(void)h;
	while (i < w.n_asked && w.asked[i] != d)
		i++;
	if (i == w.n_asked)
		abort();
	w.n_asked--;
	memmove(w.asked + i, w.asked + i + 1, (w.n_asked - i) * sizeof(w.asked[0]));
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
	w.n_asked--;
	memmove(w.asked, w.asked + 1, w.n_asked * sizeof(w.asked[0]));
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

/* ---- Steps, on the loop's own stack like those of a host --------------------------------------
 */

static void access_bar(unsigned bar, unsigned off, unsigned width, uint64_t value, bool write)
{
	struct pci_call call = {.done = answered};
	int res;

	if (write)
		res = pci_function_write(w.f, bar, off, &value, width, &call);
	else
		res = pci_function_read(w.f, bar, off, &value, width, &call);
	if (res == PCI_PENDING)
		abort(); /* a register access never waits */
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
	default: answer_dma(); break;
	}
}

static void save_and_restore(bool spoil, unsigned at, uint8_t value)
{
	GByteArray *state = pci_function_is_stopped(w.f) ? pci_function_save(w.f, NULL) : NULL;

	if (!state)
		return;
	if (spoil)
		state->data[at % state->len] = value;
	pci_function_restore(w.f, state->data, state->len, NULL);
	g_byte_array_unref(state);
}

static void regular_command(unsigned channel, unsigned op, unsigned lba, unsigned count)
{
	const uint8_t regs[] = {1,
				(uint8_t)count,
				(uint8_t)lba,
				(uint8_t)(lba >> 8),
				0,
				(uint8_t)(0x40 | (lba >> 15 & 1) << 4)};

	for (unsigned i = 0; i < sizeof(regs); i++)
		access_bar(2 * channel, 1 + i, 1, regs[i], true);
	access_bar(2 * channel, 7, 1, op, true);
}

static void regular_start(unsigned channel, unsigned table)
{
	access_bar(BAR_BUS_MASTER, 8 * channel + 4, 4, table, true);
	access_bar(BAR_BUS_MASTER, 8 * channel, 1, 9, true);
}

static void step(void *arg)
{
	const uint8_t *b = arg;
	unsigned what = b[0] & 15, channel = b[0] >> 4 & 1, place = b[1] | b[2] << 8;

	switch (what) {
	case 0:
	case 1:
	case 2: access_bar(place % 5, b[2] & 15, 1u << (b[2] >> 6), b[3], what); break;
	case 3:
	case 4: regular_command(channel, b[3], place, b[0] >> 5); break;
	case 5: regular_start(channel, (uint32_t)(place & 0xff) * 8); break;
	case 6: access_bar(BAR_BUS_MASTER, 8 * channel, 1, 0, true); break;
	case 7: /* an entry of the table */
		memcpy(w.guest + (size_t)(b[1] & 31) * 8 + 4,
		       (uint8_t[]){b[2], b[3], 0, b[0] & 128}, 4);
		break;
	case 8:
		memcpy(w.guest + (size_t)(b[1] & 31) * 8,
		       (uint8_t[]){0, b[2], b[3] & 0x1f, b[0] & 128}, 4);
		break;
	case 9:
		for (unsigned i = 0; i < b[3]; i++)
			access_bar(2 * channel, 0, b[1] & 1 ? 4 : 2, place, b[1] & 2);
		break;
	case 10: access_bar(2 * channel, 0, 2, place, true); break;
	case 11: start_or_stop(b[3]); break;
	case 12: save_and_restore(b[0] & 128, place, b[3]); break;
	case 13: pci_function_config_write(w.f, place & 0xff, &b[3], 1); break;
	default: access_bar(2 * channel, 7, 1, 0, false); break;
	}
}

static void attach(void *arg)
{
	const unsigned command = 0x07;

	(void)arg;
	w.level = false;
	if (!pci_function_attach(w.f, &w.host, NULL))
		abort();
	pci_function_config_write(w.f, 4, &command, 2);
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
	struct opts *opts = opts_parse("driver=ide", NULL, NULL);

	w.d = device_new(w.loop, opts, &units, NULL);
	opts_free(opts);
	if (!w.d)
		abort();
	w.f = device_function(w.d);
	memset(w.guest, 0, GUEST_LEN);
	memset(w.waits, 0, sizeof(w.waits));
	pci_on_loop_stack(attach, NULL);
}

static void run(void *arg)
{
	(void)arg;
	make();
	for (unsigned i = 0; i < STEPS && w.size >= 4; i++) {
		pci_on_loop_stack(step, (void *)(uintptr_t)w.data);
		w.data += 4;
		w.size -= 4;
	}
	pci_on_loop_stack(detach, NULL);
	device_free(w.d);
	loop_stop(w.loop);
}

static void set_up_co(void *arg)
{
	struct drive_options o = {.id = "cd0"};

	(void)arg;
	w.disk = block_mem_new(DISK_LEN, "", 0);
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
