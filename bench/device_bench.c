/*
 * Figures of devices in this process: DMA of a device through a mapping, and copied for it, against
 * memcpy between the same two kinds of memory in the same run; mapping and unmapping scatter lists
 * as a Linux guest makes them, pages here and there in one window or, as behind an IOMMU, each in a
 * window of its own; a register read through the whole function; what a hundred idle edu devices
 * take.
 *
 * usage: device_bench [--json]
 */
#include "base/co.h"
#include "device/device.h"
#include "outboard.h"
#include "pci/function.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { WINDOW = 64 << 20, ROUNDS = 1, REPEATS = 41, READS = 2000000, IDLE_DEVICES = 100 };

enum {
	LIST = 256, /* ranges */
	LIST_ROUNDS = 200,
	PAGE = 4096,
	IOMMU_WINDOWS = 8192,
};

#define IOMMU_AT (1ull << 40) /* one page windows, every other page */

struct figures {
	double memcpy_gb_s, map_gb_s, async_gb_s, map_ratio, async_ratio, read_ns, idle_mb;
	double list_ns, iommu_list_ns; /* of a range */
};

struct bench {
	struct loop *loop;
	struct pci_host host;
	struct ob_dev *dev; /* of the device under test */
	uint8_t *guest, *buf;
	struct figures out;
	bool failed;
};

static struct bench bench;

static uint64_t on_read(struct ob_dev *dev, uint64_t off, unsigned width)
{
	(void)dev;
	(void)width;
	return off;
}

static int on_open(struct ob_dev *dev)
{
	struct ob_bar bar = {.size = sizeof(bar), .len = 4096, .read = on_read};

	bench.dev = dev;
	return ob_add_bar(dev, &bar);
}

static const struct ob_class bench_class = {
	.size = sizeof(struct ob_class),
	.name = "bench",
	.id = {.vendor = 0x1af4, .device = 1},
	.open = on_open,
};

static void on_intx(struct pci_host *h, bool level)
{
	(void)h;
	(void)level;
}

static bool on_msi(struct pci_host *h, enum pci_irq kind, unsigned vector)
{
	(void)h;
	(void)kind;
	(void)vector;
	return true;
}

static const struct pci_host_ops host_ops = {.intx = on_intx, .msi = on_msi};

static bool make_host(struct bench *b)
{
	struct dma_region region = {0, WINDOW, DMA_READ | DMA_WRITE, 0};
	int fd = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	bool ok;

	b->host.ops = &host_ops;
	b->host.loop = b->loop;
	b->host.dma = dma_space_new();
	ok = fd >= 0 && ftruncate(fd, WINDOW) == 0 && dma_space_add(b->host.dma, &region, fd, NULL);
	for (unsigned i = 0; ok && i < IOMMU_WINDOWS; i++) {
		region = (struct dma_region){IOMMU_AT + i * 2ull * PAGE, PAGE, DMA_READ | DMA_WRITE,
					     (uint64_t)i * PAGE};
		ok = dma_space_add(b->host.dma, &region, fd, NULL);
	}
	if (ok)
		b->guest = mmap(NULL, WINDOW, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (fd >= 0)
		close(fd);
	return ok && b->guest != MAP_FAILED;
}

static double speed(uint64_t start_ns)
{
	return (double)WINDOW * ROUNDS / (double)(loop_now_ns() - start_ns);
}

static double by_memcpy(struct bench *b)
{
	uint64_t start = loop_now_ns();

	for (unsigned i = 0; i < ROUNDS; i++)
		memcpy(b->buf, b->guest, WINDOW);
	return speed(start);
}

static double by_mapping(struct bench *b)
{
	uint64_t start = loop_now_ns();

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct ob_mapping *m;
		struct ob_piece piece;

		if (ob_dma_map(b->dev, OB_DMA_READ, 0, WINDOW, &piece, 1, &m) != 1)
			b->failed = true;
		else
			memcpy(b->buf, piece.base, piece.len);
		if (!b->failed)
			ob_dma_unmap(b->dev, m);
	}
	return speed(start);
}

struct transfer {
	struct ob_dma dma;
	struct co *co;
	bool done;
};

static void on_done(struct ob_dev *dev, struct ob_dma *dma, int res)
{
	struct transfer *t = dma->arg;

	(void)dev;
	bench.failed |= res != 0;
	t->done = true;
	co_wake(t->co);
}

static co_fn double by_transfer(struct bench *b)
{
	const struct ob_sg sg = {0, WINDOW};
	uint64_t start = loop_now_ns();

	for (unsigned i = 0; i < ROUNDS; i++) {
		struct transfer t = {.co = co_self()};

		t.dma = (struct ob_dma){.size = sizeof(t.dma), .flags = OB_DMA_READ, .sg = &sg};
		t.dma.n_sg = 1;
		t.dma.buf = b->buf;
		t.dma.done = on_done;
		t.dma.arg = &t;
		if (ob_dma_start(b->dev, &t.dma) < 0) {
			b->failed = true;
			return 0;
		}
		while (!t.done)
			co_yield();
	}
	return speed(start);
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v)
{
	qsort(v, REPEATS, sizeof(*v), compare);
	return v[REPEATS / 2];
}

static co_fn void bench_dma(struct bench *b)
{
	double copy[REPEATS], map[REPEATS], async[REPEATS], rm[REPEATS], ra[REPEATS];

	memset(b->guest, 1, WINDOW);
	memset(b->buf, 2, WINDOW);
	for (unsigned i = 0; i < REPEATS; i++) { /* in turns: the machine has moods */
		copy[i] = by_memcpy(b);
		map[i] = by_mapping(b);
		async[i] = by_transfer(b);
		rm[i] = map[i] / copy[i];
		ra[i] = async[i] / copy[i];
	}
	b->out.memcpy_gb_s = median(copy);
	b->out.map_gb_s = median(map);
	b->out.async_gb_s = median(async);
	b->out.map_ratio = median(rm);
	b->out.async_ratio = median(ra);
}

/* Nanoseconds to map and unmap a range of such a list; pages are stride pages apart, shuffled. */
static double by_list(struct bench *b, uint64_t base, uint64_t stride)
{
	struct ob_piece pieces[LIST];
	struct ob_sg sg[LIST];
	uint64_t start;

	for (unsigned i = 0; i < LIST; i++) /* 167 is odd: each page once */
		sg[i] = (struct ob_sg){base + i * 167 % LIST * stride * PAGE, PAGE};
	start = loop_now_ns();
	for (unsigned i = 0; i < LIST_ROUNDS && !b->failed; i++) {
		struct ob_mapping *m;

		if (ob_dma_map_sg(b->dev, OB_DMA_READ, sg, LIST, pieces, LIST, &m) != LIST)
			b->failed = true;
		else
			ob_dma_unmap(b->dev, m);
	}
	return (double)(loop_now_ns() - start) / LIST_ROUNDS / LIST;
}

static void bench_lists(struct bench *b)
{
	double near[REPEATS], far[REPEATS];

	for (unsigned i = 0; i < REPEATS; i++) {
		near[i] = by_list(b, 0, 3);
		far[i] = by_list(b, IOMMU_AT, 2 * (IOMMU_WINDOWS / LIST));
	}
	b->out.list_ns = median(near);
	b->out.iommu_list_ns = median(far);
}

static void bench_reads(void *arg)
{
	struct bench *b = &bench;
	struct pci_function *f = arg;
	struct pci_call call = {0};
	uint64_t start = loop_now_ns();
	uint32_t value;

	for (unsigned i = 0; i < READS; i++)
		b->failed |= pci_function_read(f, 0, i * 4 % 4096, &value, 4, &call) != 0;
	b->out.read_ns = (double)(loop_now_ns() - start) / READS;
}

static double resident_mb(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (f && fscanf(f, "%*u %lu", &pages) != 1)
		pages = 0;
	if (f)
		fclose(f);
	return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1e6;
}

static co_fn struct device *make_device(struct bench *b, const struct ob_class *cls,
					const char *options)
{
	GError *error = NULL;
	struct opts *opts = opts_parse(options, NULL, &error);
	struct device *d = cls ? device_new_of_class(b->loop, cls, opts, &error)
			       : device_new(b->loop, opts, NULL, &error);

	opts_free(opts);
	if (!d) {
		fprintf(stderr, "device_bench: %s\n", error->message);
		g_error_free(error);
		b->failed = true;
	}
	return d;
}

/* The whole process with a hundred of them, before anything else has used memory. */
static co_fn void bench_idle(struct bench *b)
{
	struct device *d[IDLE_DEVICES] = {0};

	for (unsigned i = 0; i < IDLE_DEVICES; i++)
		d[i] = make_device(b, NULL, "driver=edu");
	b->out.idle_mb = resident_mb();
	for (unsigned i = 0; i < IDLE_DEVICES; i++)
		device_free(d[i]);
}

/* As a host does it: on the loop's own stack. */
static void attach(void *arg)
{
	const uint16_t command = 7; /* memory, I/O and DMA on */
	struct pci_function *f = arg;

	if (!pci_function_attach(f, &bench.host, NULL) ||
	    pci_function_config_write(f, 4, &command, sizeof(command)) < 0)
		bench.failed = true;
}

static void detach(void *arg)
{
	pci_function_detach(arg, &bench.host);
}

static co_fn void run(void *arg)
{
	struct bench *b = arg;
	struct device *d;

	bench_idle(b);
	b->buf = g_malloc(WINDOW);
	d = make_device(b, &bench_class, "");
	if (make_host(b) && d) {
		pci_on_loop_stack(attach, device_function(d));
		bench_dma(b);
		bench_lists(b);
		pci_on_loop_stack(bench_reads, device_function(d));
		pci_on_loop_stack(detach, device_function(d));
	} else {
		b->failed = true;
	}
	device_free(d);
	dma_space_free(b->host.dma);
	g_free(b->buf);
	loop_stop(b->loop);
}

int main(int argc, char **argv)
{
	const struct figures *f = &bench.out;
	GError *error = NULL;

	bench.loop = loop_new(LOOP_AUTO, &error);
	if (!bench.loop) {
		fprintf(stderr, "device_bench: %s\n", error->message);
		return 1;
	}
	co_start(bench.loop, run, &bench);
	loop_run(bench.loop);
	loop_free(bench.loop);
	if (bench.failed)
		return 1;
	if (argc > 1 && strcmp(argv[1], "--json") == 0) {
		printf("{\"memcpy_gb_s\": %.2f, \"map_gb_s\": %.2f, \"async_gb_s\": %.2f, "
		       "\"map_ratio\": %.3f, \"async_ratio\": %.3f, \"read_ns\": %.1f, "
		       "\"list_ns\": %.1f, \"iommu_list_ns\": %.1f, \"idle100_mb\": %.1f}\n",
		       f->memcpy_gb_s, f->map_gb_s, f->async_gb_s, f->map_ratio, f->async_ratio,
		       f->read_ns, f->list_ns, f->iommu_list_ns, f->idle_mb);
	} else {
		printf("DMA of 1 GB: memcpy %.2f GB/s, mapped %.2f (%.3f of it), by transfers %.2f "
		       "(%.3f)\nscatter lists of %u pages, map and unmap: %.1f ns a page, %.1f "
		       "with each in one of %u windows\nregister read in process: %.1f ns\n100 "
		       "idle edu devices: %.1f MB "
		       "resident in all (goal 20)\n",
		       f->memcpy_gb_s, f->map_gb_s, f->map_ratio, f->async_gb_s, f->async_ratio,
		       LIST, f->list_ns, f->iommu_list_ns, IOMMU_WINDOWS, f->read_ns, f->idle_mb);
	}
	return 0;
}
