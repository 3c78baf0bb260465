/*
 * A guest and a VMM that do anything, in any order, while the device does what devices do: nothing
 * of it may reach an assertion or memory that is not ours (run it under the sanitizers).
 */
#include "lab.h"

enum { STEPS = 240000, OPS = 24 };

static GRand *rng;
static struct ob_mapping *maps[8];

struct flying {
	struct ob_dma dma;
	struct ob_sg sg[4];
	uint8_t buf[4 * 4096];
	bool busy;
};

static struct flying flying[OPS];
static struct {
	unsigned moved, failed, mapped, read, sent;
} seen; /* that the steps are not all refused at the door */

static uint32_t any(uint32_t n)
{
	return (uint32_t)g_rand_int_range(rng, 0, (gint32)n);
}

/* Numbers where mistakes live. */
static uint64_t odd(void)
{
	static const uint64_t list[] = {0,
					1,
					2,
					3,
					4,
					7,
					8,
					255,
					256,
					4095,
					4096,
					0x10000,
					GUEST_AT,
					GUEST_AT + GUEST_LEN - 1,
					ROM_AT,
					FAR_AT,
					FAR_AT + FAR_LEN - 4,
					INT32_MAX,
					UINT32_MAX,
					1ull << 32,
					INT64_MAX,
					UINT64_MAX - 4095,
					UINT64_MAX};

	return list[any(G_N_ELEMENTS(list))] + any(3) - 1;
}

static void forget_log(void)
{
	lab.log_n = 0;
	lab.answer = odd();
}

static void on_done(struct ob_dev *dev, struct ob_dma *dma, int res)
{
	struct flying *f = dma->arg;

	(void)dev;
	assert_true(f->busy && res <= 0);
	if (res == 0)
		seen.moved += f->dma.n_sg != 0;
	else
		seen.failed++;
	f->busy = false;
}

static void start_transfer(void)
{
	struct flying *f = &flying[any(OPS)];

	if (f->busy)
		return;
	memset(&f->dma, 0, sizeof(f->dma));
	for (unsigned i = 0; i < 4; i++)
		f->sg[i] = (struct ob_sg){odd(), any(3) ? any(4096) : odd()};
	for (unsigned i = 0; i < 4; i++) {
		/* buf is as long as sg says, or sg is refused before it matters */
		if (f->sg[i].len > 4096)
			f->sg[i].len = any(2) ? UINT64_MAX : 4096;
	}
	f->dma.size = sizeof(f->dma);
	f->dma.flags = any(4);
	f->dma.sg = f->sg;
	f->dma.n_sg = any(5);
	f->dma.buf = f->buf;
	f->dma.done = on_done;
	f->dma.arg = f;
	for (unsigned i = 0; i < f->dma.n_sg; i++) {
		if (f->sg[i].len == UINT64_MAX && f->dma.n_sg < 2)
			f->sg[i].len = 4096;
		else if (f->sg[i].len == UINT64_MAX)
			f->sg[i].len = INT64_MAX; /* the sum is too much */
	}
	f->busy = true;
	for (unsigned i = 0, big = 0; i < f->dma.n_sg; i++) {
		big += f->sg[i].len == INT64_MAX;
		if (i + 1 == f->dma.n_sg && big == 1)
			f->dma.flags = 3; /* one alone would be legal and longer than buf */
	}
	if (ob_dma_start(lab.dev, &f->dma) < 0)
		f->busy = false;
}

static void map_or_unmap(void)
{
	unsigned i = any(G_N_ELEMENTS(maps));
	struct ob_piece pieces[3];
	int n;

	if (maps[i]) {
		ob_dma_unmap(lab.dev, maps[i]);
		maps[i] = NULL;
		return;
	}
	n = ob_dma_map(lab.dev, any(4), odd(), any(2) ? any(9000) : odd(), pieces, 3, &maps[i]);
	seen.mapped += n > 0;
	for (int k = 0; k < n; k++)
		(void)*(volatile uint8_t *)((uint8_t *)pieces[k].base + pieces[k].len - 1);
}

static void guest_step(void)
{
	static uint8_t buf[8192];
	static struct pci_call call;
	uint64_t addr;

	memset(&call, 0, sizeof(call));
	switch (any(5)) {
	case 0: pci_function_config_write(lab.h.f, any(4200), buf, any(9)); break;
	case 1: pci_function_config_read(lab.h.f, (unsigned)odd(), buf, any(9)); break;
	case 2:
		for (unsigned i = 0; i < 16; i++)
			buf[i] = (uint8_t)any(256);
		if (any(20) == 0)
			cfg_write(&lab.h, 4, 7, 2);
		pci_function_bar_addr(lab.h.f, any(9), &addr);
		break;
	case 3:
		forget_log();
		pci_function_read(lab.h.f, any(8), any(2) ? odd() : any(8192), buf, any(40), &call);
		break;
	default:
		forget_log();
		pci_function_write(lab.h.f, any(8), any(2) ? odd() : any(8192), buf, any(40),
				   &call);
	}
}

static void on_stopped(struct pci_call *call, int res)
{
	(void)call;
	(void)res;
}

static void host_step(void)
{
	static struct pci_call stop_call = {.done = on_stopped};
	struct dma_region r = {odd() & ~4095ull, (any(3) + 1) * 4096, any(4), odd() & ~4095ull};
	struct pci_call call = {0};
	uint64_t addr;
	uint32_t data;

	switch (any(8)) {
	case 0: dma_space_add(lab.h.host.dma, &r, any(2) ? lab.h.fd : -1, NULL); break;
	case 1: dma_space_remove(lab.h.host.dma, odd(), odd()); break;
	case 2: dma_space_remove(lab.h.host.dma, r.addr, r.addr + r.len - 1); break;
	case 3:
		if (any(30) == 0)
			pci_function_reset(lab.h.f, PCI_RESET_BUS, &call);
		break;
	case 4:
		if (any(20) == 0)
			pci_function_stop(lab.h.f, &stop_call);
		break;
	case 5: pci_function_start(lab.h.f); break;
	case 6:
		lab.h.refuses = any(2);
		pci_function_msi_ready(lab.h.f, (enum pci_irq)any(3), (unsigned)odd(),
				       (unsigned)odd());
		break;
	default: pci_function_msi_message(lab.h.f, (enum pci_irq)any(3), any(80), &addr, &data);
	}
}

static void device_step(void)
{
	static uint8_t buf[4096];

	switch (any(6)) {
	case 0: start_transfer(); break;
	case 1: map_or_unmap(); break;
	case 2: seen.sent += ob_msi_send(lab.dev, any(80)) == 0; break;
	case 3: ob_irq_raise(lab.dev); break;
	case 4: ob_irq_lower(lab.dev); break;
	default: seen.read += ob_dma_read(lab.dev, odd(), buf, any(4097)) == 0; break;
	}
}

static void steps(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 60; i++) {
		switch (any(3)) {
		case 0: guest_step(); break;
		case 1: host_step(); break;
		default: device_step();
		}
	}
}

static int open_all(struct ob_dev *dev)
{
	static const struct ob_area area = {4096, 4096};
	static const uint8_t body[8], writable[8] = {0xff, 0xff};
	struct ob_bar bar = {.size = sizeof(bar),
			     .index = 4,
			     .flags = OB_BAR_64,
			     .len = 16384,
			     .areas = &area,
			     .n_areas = 1};

	lab_bar(dev, 0, 0, 4096);
	lab_bar(dev, 1, OB_BAR_IO, 64);
	lab_bar(dev, 2, 0, 8192);
	lab_bar(dev, OB_BAR_ROM, 0, 2048);
	ob_add_bar(dev, &bar);
	ob_add_pm(dev);
	ob_add_pcie(dev);
	ob_add_msi(dev, 16, OB_MSI_MASKABLE);
	ob_add_vendor(dev, body, writable, 8, NULL);
	return ob_add_msix(dev, 67, 2, 0x100, 3, 0x20);
}

static void anything_co(void *arg)
{
	uint32_t seed = arg ? *(const uint32_t *)arg : 1;

	rng = g_rand_new_with_seed(seed);
	memset(maps, 0, sizeof(maps));
	lab_begin(open_all);
	for (unsigned i = 0; i < STEPS / 60; i++) {
		ON_LOOP(steps, NULL);
		if (any(50) == 0) {
			fake_host_fini(&lab.h);
			fake_host_init(&lab.h, device_function(lab.d), true);
		}
		if (any(20) == 0)
			cfg_write(&lab.h, 4, 7, 2);
	}
	ON_LOOP((void (*)(void *))pci_function_start, lab.h.f);
	for (unsigned i = 0; i < OPS; i++)
		WAIT_UNTIL(!flying[i].busy); /* every transfer was answered */
	lab_end();
	g_rand_free(rng);
}

static void anything(void **state)
{
	(void)state;
	log_set_level(LOG_ERROR);
	for (uint32_t seed = 1; seed <= 4; seed++)
		run_in_loop(anything_co, &seed);
	assert_true(seen.moved > 20 && seen.failed > 20 && seen.mapped > 20 && seen.read > 20 &&
		    seen.sent > 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(anything)};

	return RUN_LOOP_TESTS(tests);
}
