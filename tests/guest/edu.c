/*
 * A driver in user space for the edu device, for guests without a kernel driver of it.
 *
 *   edu regs BDF          registers through resource0
 *   edu intx BDF UIO N    N interrupts on the line, through uio_pci_generic
 *   edu dma BDF ROUNDS    both ways with pages found by /proc/self/pagemap
 *   edu vfio BDF N        through vfio-pci behind an IOMMU: N MSIs, N interrupts on the line, DMA
 *   edu toy BDF           the tests' other device (toy.h): I/O ports, shared memory, doorbells
 *   edu msix BDF N        its eight vectors of MSI-X, through vfio-pci, N times each
 *
 * Prints what it saw; exit status 0 when all of it was right.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/vfio.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	ID = 0x00,
	LIVE = 0x04,
	FACTORIAL = 0x08,
	STATUS = 0x20,
	IRQ_STATUS = 0x24,
	RAISE = 0x60,
	ACK = 0x64,
	SRC = 0x80,
	DST = 0x88,
	COUNT = 0x90,
	CMD = 0x98,
	BUFFER = 0x40000,
	BAR_LEN = 1 << 20,
	PAGE = 4096,
	TIMEOUT_MS = 10000,
};

static volatile uint8_t *bar;

static void fail(const char *what)
{
	fprintf(stderr, "edu: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void check(const char *what, uint64_t got, uint64_t want)
{
	printf("%s %#" PRIx64 "\n", what, got);
	if (got == want)
		return;
	fprintf(stderr, "edu: %s: %#" PRIx64 ", must be %#" PRIx64 "\n", what, got, want);
	exit(1);
}

static uint32_t rd(unsigned reg)
{
	return *(volatile uint32_t *)(bar + reg);
}

static void wr(unsigned reg, uint32_t value)
{
	*(volatile uint32_t *)(bar + reg) = value;
}

static void wr64(unsigned reg, uint64_t value)
{
	*(volatile uint64_t *)(bar + reg) = value;
}

/* Lets the device answer, be bus master and use its interrupt line. */
static void set_command(const char *bdf)
{
	uint16_t command;
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", bdf);
	fd = open(path, O_RDWR);
	if (fd < 0 || pread(fd, &command, 2, 4) != 2)
		fail(path);
	command = (uint16_t)((command | 6) & ~0x400);
	if (pwrite(fd, &command, 2, 4) != 2)
		fail(path);
	close(fd);
}

static void map_bar(const char *bdf)
{
	char path[128];
	int fd;

	set_command(bdf);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource0", bdf);
	fd = open(path, O_RDWR | O_SYNC);
	bar = fd < 0 ? MAP_FAILED : mmap(NULL, BAR_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (bar == MAP_FAILED)
		fail(path);
}

static void test_regs(void)
{
	uint32_t want = 1;

	check("id", rd(ID), 0x010000ed);
	for (uint32_t v = 1; v; v <<= 1) {
		wr(LIVE, v);
		if (rd(LIVE) != ~v)
			check("live", rd(LIVE), ~v);
	}
	check("live", rd(LIVE), 0x7fffffff);
	for (uint32_t n = 1; n <= 12; n++) {
		want *= n;
		wr(FACTORIAL, n);
		while (rd(STATUS) & 1) {
			if (rd(STATUS) == UINT32_MAX) /* the device has gone */
				check("id", rd(ID), 0x010000ed);
		}
		check("factorial", rd(FACTORIAL), want);
	}
}

static void wait_fd(int fd, const char *what)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int n = poll(&p, 1, TIMEOUT_MS);

	if (n == 1)
		return;
	if (n == 0)
		errno = ETIMEDOUT;
	fail(what);
}

/* uio_pci_generic disables the line by the command register when it saw an interrupt. */
static void test_uio(const char *bdf, const char *path, unsigned n)
{
	int fd = open(path, O_RDWR);
	uint32_t count = 0, before = 0;

	if (fd < 0)
		fail(path);
	for (unsigned i = 0; i < n; i++) {
		set_command(bdf);
		if (i % 2) {
			wr(STATUS, 0x80);
			wr(FACTORIAL, 5);
		} else {
			wr(RAISE, 2);
		}
		wait_fd(fd, "interrupt");
		if (read(fd, &count, 4) != 4)
			fail("reading the count");
		if (!i)
			before = count - 1;
		if (rd(IRQ_STATUS) != (i % 2 ? 1u : 2u))
			check("irq status", rd(IRQ_STATUS), i % 2 ? 1 : 2);
		wr(ACK, ~0u);
	}
	check("irq status", rd(IRQ_STATUS), 0);
	check("interrupts", count - before >= n, 1);
	printf("counted %u of %u\n", count - before, n);
}

/* Physical address of a page that is locked. */
static uint64_t physical(void *page)
{
	uint64_t entry;
	int fd = open("/proc/self/pagemap", O_RDONLY);

	if (fd < 0 || pread(fd, &entry, 8, (off_t)((uintptr_t)page / PAGE * 8)) != 8)
		fail("pagemap");
	close(fd);
	return (entry & ((1ull << 55) - 1)) * PAGE;
}

static void run_dma(uint64_t src, uint64_t dst, uint32_t len, uint32_t cmd)
{
	wr64(SRC, src);
	wr64(DST, dst);
	wr64(COUNT, len);
	wr64(CMD, cmd | 1);
	while (rd(CMD) & 1)
		usleep(1000);
}

/* Into the device and back out to another page, of lengths and alignments. */
static void test_dma(uint8_t *a, uint64_t a_addr, uint8_t *b, uint64_t b_addr, unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++) {
		uint32_t len = i ? 4096 - i * 100 : 4096, off = i * 7;

		for (unsigned k = 0; k < PAGE; k++) {
			a[k] = (uint8_t)(k * 13 + k / 256 + i);
			b[k] = 0xcc;
		}
		run_dma(a_addr, BUFFER, len - off, 0);
		run_dma(BUFFER, b_addr + off, len - off, 2);
		if (memcmp(a, b + off, len - off) != 0 || (off && b[off - 1] != 0xcc) ||
		    (len < PAGE && b[len] != 0xcc))
			check("dma data", 0, 1);
	}
	check("dma rounds", rounds, rounds);
}

static void test_pages(unsigned rounds)
{
	uint8_t *page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED | MAP_POPULATE, -1, 0);

	if (page == MAP_FAILED)
		fail("memory");
	test_dma(page, physical(page), page + PAGE, physical(page + PAGE), rounds);
}

static int open_vfio(const char *bdf, int *container)
{
	char path[128], link[128], *group;
	ssize_t n;
	int fd, dev;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", bdf);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		fail(path);
	link[n] = 0;
	group = strrchr(link, '/') + 1;
	snprintf(path, sizeof(path), "/dev/vfio/%s", group);
	*container = open("/dev/vfio/vfio", O_RDWR);
	fd = open(path, O_RDWR);
	if (*container < 0 || fd < 0)
		fail(path);
	if (ioctl(fd, VFIO_GROUP_SET_CONTAINER, container) ||
	    ioctl(*container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU))
		fail("IOMMU");
	dev = ioctl(fd, VFIO_GROUP_GET_DEVICE_FD, bdf);
	if (dev < 0)
		fail("device");
	return dev;
}

static void set_irq(int dev, unsigned index, uint32_t flags, int fd)
{
	uint32_t room[8] = {0};
	struct vfio_irq_set *set = (struct vfio_irq_set *)room;

	set->argsz = sizeof(*set) + (fd >= 0 ? 4 : 0);
	set->flags = flags;
	set->index = index;
	set->count = flags & VFIO_IRQ_SET_DATA_NONE && flags & VFIO_IRQ_SET_ACTION_TRIGGER ? 0 : 1;
	if (fd >= 0)
		memcpy(set->data, &fd, 4);
	if (ioctl(dev, VFIO_DEVICE_SET_IRQS, set))
		fail("VFIO_DEVICE_SET_IRQS");
}

static void test_vfio_irq(int dev, unsigned index, unsigned n)
{
	int fd = eventfd(0, EFD_NONBLOCK);
	uint64_t count;

	set_irq(dev, index, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, fd);
	for (unsigned i = 0; i < n; i++) {
		wr(RAISE, 4);
		wait_fd(fd, index ? "MSI" : "INTx");
		if (read(fd, &count, 8) != 8)
			fail("eventfd");
		if (rd(IRQ_STATUS) != 4)
			check("irq status", rd(IRQ_STATUS), 4);
		wr(ACK, ~0u);
		if (!index)
			set_irq(dev, index, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK,
				-1);
	}
	set_irq(dev, index, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, -1);
	check(index ? "MSIs" : "INTxs", n, n);
}

static void test_vfio(const char *bdf, unsigned n)
{
	struct vfio_region_info region = {.argsz = sizeof(region), .index = 0};
	struct vfio_region_info config = {.argsz = sizeof(config), .index = 7};
	struct vfio_iommu_type1_dma_map map = {.argsz = sizeof(map), .flags = 3, .size = 2 * PAGE};
	struct vfio_iommu_type1_dma_unmap unmap = {.argsz = sizeof(unmap), .size = 2 * PAGE};
	uint16_t command = 6;
	int container, dev = open_vfio(bdf, &container);
	uint8_t *page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (ioctl(dev, VFIO_DEVICE_GET_REGION_INFO, &region) ||
	    ioctl(dev, VFIO_DEVICE_GET_REGION_INFO, &config))
		fail("regions");
	bar = mmap(NULL, BAR_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, dev, (off_t)region.offset);
	if (bar == MAP_FAILED || page == MAP_FAILED)
		fail("BAR");
	if (pwrite(dev, &command, 2, (off_t)config.offset + 4) != 2)
		fail("command register");
	test_regs();
	test_vfio_irq(dev, VFIO_PCI_MSI_IRQ_INDEX, n);
	test_vfio_irq(dev, VFIO_PCI_INTX_IRQ_INDEX, n);
	for (unsigned i = 0; i < 4; i++) { /* each time at another address, which goes again */
		map.vaddr = (uintptr_t)page;
		map.iova = 0x100000 + i * 0x10000;
		if (ioctl(container, VFIO_IOMMU_MAP_DMA, &map))
			fail("VFIO_IOMMU_MAP_DMA");
		test_dma(page, map.iova, page + PAGE, map.iova + PAGE, 2);
		unmap.iova = map.iova;
		if (ioctl(container, VFIO_IOMMU_UNMAP_DMA, &unmap))
			fail("VFIO_IOMMU_UNMAP_DMA");
	}
}

static int open_resource(const char *bdf, unsigned index)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource%u", bdf, index);
	fd = open(path, O_RDWR | O_SYNC);
	if (fd < 0)
		fail(path);
	return fd;
}

static volatile uint8_t *map_resource(const char *bdf, unsigned index, size_t len)
{
	int fd = open_resource(bdf, index);
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED)
		fail("mmap");
	return p;
}

/* Writes to [from, to) of a BAR and reads it back, in three widths. */
static void test_memory(const char *what, volatile uint8_t *p, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i += 8)
		*(volatile uint64_t *)(p + i) = i * 0x0101010101010101ull;
	for (unsigned i = from; i < to; i += 8) {
		p[i] = (uint8_t)~p[i];
		if (*(volatile uint32_t *)(p + i + 4) !=
			    (uint32_t)(i * 0x0101010101010101ull >> 32) ||
		    p[i] != (uint8_t)~i)
			check(what, p[i], (uint8_t)~i);
	}
	check(what, to - from, to - from);
}

static void test_toy(const char *bdf)
{
	volatile uint8_t *regs, *mixed;
	int ports = open_resource(bdf, 1);

	set_command(bdf);
	regs = map_resource(bdf, 0, PAGE);
	mixed = map_resource(bdf, 2, 0x10000);
	check("toy", *(volatile uint32_t *)regs, 0x70790001);
	for (unsigned i = 0; i < 16; i++) {
		uint8_t out = (uint8_t)(i * 17), in = 0;

		if (pwrite(ports, &out, 1, i) != 1 || pread(ports, &in, 1, i) != 1)
			fail("I/O port");
		if (in != out)
			check("I/O port", in, out);
	}
	test_memory("area", mixed, 0x1000, 0x3000);
	test_memory("area", mixed, 0x8000, 0x9000);
	check("register", *(volatile uint32_t *)(mixed + 0x3000), 0x5a5a5a5a);
	check("register", *(volatile uint32_t *)(mixed + 0x9000), 0x5a5a5a5a);
	test_memory("page", map_resource(bdf, 4, PAGE), 0, PAGE);
	for (unsigned i = 0; i < 1000; i++)
		*(volatile uint32_t *)(regs + 0x80) = i;
	check("doorbells", *(volatile uint32_t *)(regs + 0x5c), 1000);
}

static void test_msix(const char *bdf, unsigned rounds)
{
	struct vfio_region_info region = {.argsz = sizeof(region), .index = 0};
	struct vfio_region_info config = {.argsz = sizeof(config), .index = 7};
	uint32_t room[16] = {0};
	struct vfio_irq_set *set = (struct vfio_irq_set *)room;
	uint16_t command = 6;
	uint64_t count;
	int container, dev = open_vfio(bdf, &container), fds[8];

	if (ioctl(dev, VFIO_DEVICE_GET_REGION_INFO, &region) ||
	    ioctl(dev, VFIO_DEVICE_GET_REGION_INFO, &config))
		fail("regions");
	bar = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, dev, (off_t)region.offset);
	if (bar == MAP_FAILED || pwrite(dev, &command, 2, (off_t)config.offset + 4) != 2)
		fail("BAR");
	for (unsigned i = 0; i < 8; i++)
		fds[i] = eventfd(0, EFD_NONBLOCK);
	set->argsz = sizeof(*set) + sizeof(fds);
	set->flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
	set->index = VFIO_PCI_MSIX_IRQ_INDEX;
	set->count = 8;
	memcpy(set->data, fds, sizeof(fds));
	if (ioctl(dev, VFIO_DEVICE_SET_IRQS, set))
		fail("VFIO_DEVICE_SET_IRQS");
	for (unsigned i = 0; i < 8 * rounds; i++) {
		wr(0x14, i % 8);
		wait_fd(fds[i % 8], "MSI-X");
		if (read(fds[i % 8], &count, 8) != 8)
			fail("eventfd");
	}
	check("vectors", 8, 8);
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";
	unsigned n = argc > 3 ? (unsigned)strtoul(argv[argc - 1], NULL, 0) : 1;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (strcmp(what, "vfio") == 0) {
		test_vfio(argv[2], n);
		return 0;
	}
	if (strcmp(what, "toy") == 0) {
		test_toy(argv[2]);
		return 0;
	}
	if (strcmp(what, "msix") == 0) {
		test_msix(argv[2], n);
		return 0;
	}
	if (strcmp(what, "regs") != 0 && strcmp(what, "dma") != 0 &&
	    (strcmp(what, "intx") || argc != 5)) {
		fprintf(stderr, "usage: edu regs|dma|vfio|toy|msix BDF [N], edu intx BDF UIO N\n");
		return 2;
	}
	map_bar(argv[2]);
	if (strcmp(what, "regs") == 0)
		test_regs();
	else if (strcmp(what, "dma") == 0)
		test_pages(n);
	else
		test_uio(argv[2], argv[3], n);
	return 0;
}
