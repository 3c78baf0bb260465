/* Configuration space and BARs as a guest and a host see them. */
#include "lab.h"

#include <sys/mman.h>
#include <unistd.h>

static int open_bars(struct ob_dev *dev)
{
	lab_bar(dev, 0, 0, 4096);
	lab_bar(dev, 1, OB_BAR_IO, 16);
	lab_bar(dev, 2, OB_BAR_64 | OB_BAR_PREFETCH, 1ull << 33);
	lab_bar(dev, OB_BAR_ROM, 0, 2048);
	return 0;
}

static void bars_are_sized_co(void *arg)
{
	uint64_t addr;

	(void)arg;
	lab_begin(open_bars);
	assert_int_equal(cfg_read(&lab.h, 0x10, 4), 0);
	assert_int_equal(cfg_read(&lab.h, 0x14, 4), 1); /* types show before any programming */
	assert_int_equal(cfg_read(&lab.h, 0x18, 4), 0xc);
	for (unsigned off = 0x10; off < 0x28; off += 4)
		cfg_write(&lab.h, off, 0xffffffff, 4);
	assert_int_equal(cfg_read(&lab.h, 0x10, 4), 0xfffff000);
	assert_int_equal(cfg_read(&lab.h, 0x14, 4), 0xfffffff1);
	assert_int_equal(cfg_read(&lab.h, 0x18, 4), 0x0000000c);
	assert_int_equal(cfg_read(&lab.h, 0x1c, 4), 0xfffffffe);
	assert_int_equal(cfg_read(&lab.h, 0x20, 4), 0);
	cfg_write(&lab.h, 0x30, 0xffffffff, 4);
	assert_int_equal(cfg_read(&lab.h, 0x30, 4), 0xfffff801);
	lab.h.decodes = 0;
	cfg_write(&lab.h, 0x18, 0x12345678, 4);
	cfg_write(&lab.h, 0x1c, 0x5, 4);
	assert_int_equal(lab.h.decodes, 1); /* no bit of the lower half moves */
	assert_true(pci_function_bar_addr(lab.h.f, 2, &addr));
	assert_true(addr == 0x400000000);
	cfg_write(&lab.h, 4, 1, 2);
	assert_false(pci_function_bar_addr(lab.h.f, 2, &addr));
	assert_true(pci_function_bar_addr(lab.h.f, 1, &addr));
	assert_false(pci_function_bar_addr(lab.h.f, 3, &addr));
	assert_false(pci_function_bar_addr(lab.h.f, 77, &addr));
	lab_end();
}

static void command_co(void *arg)
{
	(void)arg;
	lab_begin(NULL);
	cfg_write(&lab.h, 4, 0xffffffff, 4);
	assert_int_equal(cfg_read(&lab.h, 4, 2), 0x0547);
	cfg_write(&lab.h, 4, 0, 2);
	assert_int_equal(cfg_read(&lab.h, 4, 2), 0);
	cfg_write(&lab.h, 0x3c, 0x55, 1);
	assert_int_equal(cfg_read(&lab.h, 0x3c, 1), 0x55);
	cfg_write(&lab.h, 0, 0, 4);
	assert_int_equal(cfg_read(&lab.h, 0, 4), 0x12341af4);
	assert_int_equal(cfg_read(&lab.h, 0x2c, 4), 0x12341af4);
	assert_int_equal(pci_function_config_len(lab.h.f), 256);
	lab_end();
}

static void config_limits_co(void *arg)
{
	uint8_t b[16] = {0};

	(void)arg;
	lab_begin(NULL);
	assert_int_equal(pci_function_config_read(lab.h.f, 256, b, 1), -EINVAL);
	assert_int_equal(pci_function_config_read(lab.h.f, 255, b, 2), -EINVAL);
	assert_int_equal(pci_function_config_read(lab.h.f, UINT_MAX, b, 2), -EINVAL);
	assert_int_equal(pci_function_config_read(lab.h.f, 0, b, SIZE_MAX), -EINVAL);
	assert_int_equal(pci_function_config_write(lab.h.f, UINT_MAX - 1, b, 4), -EINVAL);
	assert_int_equal(pci_function_config_read(lab.h.f, 256, b, 0), 0);
	lab_end();
}

static void check(unsigned i, char what, unsigned bar, uint64_t off, unsigned width)
{
	assert_true(i < lab.log_n);
	assert_int_equal(lab.log[i].what, what);
	assert_int_equal(lab.log[i].bar, bar);
	assert_int_equal(lab.log[i].off, off);
	assert_int_equal(lab.log[i].width, width);
}

static void access_splits(void *arg)
{
	static const uint8_t data[11] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};
	struct pci_call call = {0};
	uint8_t b[16];

	(void)arg;
	assert_int_equal(pci_function_write(lab.h.f, 0, 5, data, 11, &call), 0);
	check(0, 'w', 0, 5, 1);
	check(1, 'w', 0, 6, 2);
	check(2, 'w', 0, 8, 8);
	assert_int_equal(lab.log[1].value, 0x0302);
	assert_true(lab.log[2].value == 0x0b0a090807060504);
	lab.answer = 0x8877665544332211;
	assert_int_equal(pci_function_read(lab.h.f, 0, 3, b, 3, &call), 0);
	check(3, 'r', 0, 3, 1);
	check(4, 'r', 0, 4, 2);
	assert_memory_equal(b, "\x11\x11\x22", 3);
	assert_int_equal(pci_function_read(lab.h.f, 0, 4095, b, 2, &call), -EINVAL);
	assert_int_equal(pci_function_read(lab.h.f, 0, UINT64_MAX, b, 2, &call), -EINVAL);
	assert_int_equal(pci_function_read(lab.h.f, 0, 0, b, SIZE_MAX, &call), -EINVAL);
	assert_int_equal(pci_function_read(lab.h.f, 5, 0, b, 1, &call), -EINVAL);
	assert_int_equal(pci_function_write(lab.h.f, 99, 0, b, 1, &call), -EINVAL);
	assert_int_equal(pci_function_write(lab.h.f, 3, 0, b, 1, &call), -EINVAL);
	assert_int_equal(lab.log_n, 5);
	assert_int_equal(pci_function_write(lab.h.f, OB_BAR_ROM, 0, b, 1, &call), 0);
	assert_int_equal(lab.log_n, 5); /* a ROM */
}

static void splits_co(void *arg)
{
	lab_begin(open_bars);
	ON_LOOP(access_splits, arg);
	lab_end();
}

static int open_areas(struct ob_dev *dev)
{
	static const struct ob_area areas[] = {{4096, 4096}, {3 * 4096, 8192}};
	struct ob_bar bar = {
		.size = sizeof(bar), .index = 2, .len = 0x8000, .areas = areas, .n_areas = 2};

	lab_bar(dev, 0, 0, 4096);
	return ob_add_bar(dev, &bar);
}

static void areas_co(void *arg)
{
	const struct pci_bar *bar;
	uint8_t *device, *guest;

	(void)arg;
	lab_begin(open_areas);
	bar = pci_function_bar(lab.h.f, 2);
	assert_int_equal(bar->n_areas, 2);
	assert_int_equal(bar->areas[1].off, 3 * 4096);
	guest = mmap(NULL, 0x8000, PROT_READ | PROT_WRITE, MAP_SHARED, bar->fd, 0);
	assert_true(guest != MAP_FAILED);
	assert_int_equal(ftruncate(bar->fd, 0), -1);
	device = ob_bar_memory(lab.dev, 2);
	assert_null(ob_bar_memory(lab.dev, 0));
	assert_null(ob_bar_memory(lab.dev, 88));
	guest[4096] = 0x42;
	assert_int_equal(device[4096], 0x42);
	assert_int_equal(bar_read(&lab.h, 2, 4096, 1), 0x42);
	bar_write(&lab.h, 2, 0x4ff8, 0x1122334455667788, 8);
	assert_int_equal(guest[0x4ff8], 0x88);
	assert_true(bar_read(&lab.h, 2, 0x4ff8, 8) == 0x1122334455667788);
	assert_int_equal(bar_read(&lab.h, 2, 0x2000, 4), 0xffffffff); /* between them */
	bar_write(&lab.h, 2, 0x2000, 1, 4);
	assert_int_equal(guest[0x2000], 0);
	munmap(guest, 0x8000);
	lab_end();
}

static int vendor_cap;
static unsigned vendor_off, vendor_len;

static void on_vendor(struct ob_dev *dev, int cap, size_t off, size_t len)
{
	(void)dev;
	assert_int_equal(cap, vendor_cap);
	vendor_off = (unsigned)off;
	vendor_len = (unsigned)len;
}

static int open_caps(struct ob_dev *dev)
{
	static const uint8_t body[5] = {1, 2, 3, 4, 5}, writable[5] = {0, 0xff, 0x0f, 0, 0};

	lab_bar(dev, 0, 0, 4096);
	assert_int_equal(ob_add_pm(dev), 0);
	assert_int_equal(ob_add_pcie(dev), 0);
	vendor_cap = ob_add_vendor(dev, body, writable, 5, on_vendor);
	assert_true(vendor_cap >= 0);
	return 0;
}

static int open_config(struct ob_dev *dev)
{
	static const uint8_t at40[4] = {0x00, 0x80, 0x12, 0x34}, w40[4] = {0xff, 0xff, 0x0f, 0};

	lab_bar(dev, 0, 0, 4096);
	assert_int_equal(ob_add_config(dev, 0x40, at40, w40, 4), 0);
	assert_int_equal(ob_add_config(dev, 0xff, at40 + 3, NULL, 1), 0);
	assert_int_equal(ob_add_pm(dev), 0);
	assert_int_equal(ob_add_config(dev, 0x54, at40, w40, 2), 0);
	assert_int_equal(ob_add_msi(dev, 1, 0), 0);
	return 0;
}

static void config_registers_co(void *arg)
{
	(void)arg;
	lab_begin(open_config);
	assert_true(OB_HAS(lab.dev, add_config));
	assert_int_equal(cfg_find(&lab.h, 1), 0x44); /* capabilities go around them */
	assert_int_equal(cfg_find(&lab.h, 5), 0x58);
	assert_int_equal(cfg_read(&lab.h, 0x40, 4), 0x34128000);
	assert_int_equal(cfg_read(&lab.h, 0xff, 1), 0x34);
	cfg_write(&lab.h, 0x40, 0xffff55aa, 4);
	assert_int_equal(cfg_read(&lab.h, 0x40, 4), 0x341f55aa);
	cfg_write(&lab.h, 0x55, 0x77, 1);
	assert_int_equal(cfg_read(&lab.h, 0x54, 2), 0x7700);
	cfg_write(&lab.h, 0xff, 0x77, 1);
	assert_int_equal(cfg_read(&lab.h, 0xff, 1), 0x34);
	pci_function_reset(lab.h.f, PCI_RESET_BUS, NULL);
	assert_int_equal(cfg_read(&lab.h, 0x40, 4), 0x34128000);
	assert_int_equal(cfg_read(&lab.h, 0x54, 2), 0x8000);
	lab_end();
}

static void capabilities_co(void *arg)
{
	unsigned pm, express, vendor;
	uint8_t b[8];

	(void)arg;
	lab_begin(open_caps);
	pm = cfg_find(&lab.h, 1);
	express = cfg_find(&lab.h, 0x10);
	vendor = cfg_find(&lab.h, 9);
	assert_true(pm && express && vendor);
	assert_int_equal(cfg_find(&lab.h, 5), 0);
	assert_int_equal(pci_function_config_len(lab.h.f), 4096);
	assert_int_equal(cfg_read(&lab.h, 0x100, 4), 0);
	assert_int_equal(cfg_read(&lab.h, vendor + 2, 1), 8);
	cfg_write(&lab.h, vendor + 4, 0xaaaaaaaa, 4);
	assert_int_equal(vendor_off, 1);
	assert_int_equal(vendor_len, 4);
	assert_int_equal(ob_vendor_read(lab.dev, vendor_cap, 0, b, 5), 0);
	assert_memory_equal(b, "\x01\xaa\x0a\x04\x05", 5);
	assert_int_equal(ob_vendor_write(lab.dev, vendor_cap, 4, "\x77", 1), 0);
	assert_int_equal(cfg_read(&lab.h, vendor + 7, 1), 0x77);
	assert_int_equal(ob_vendor_read(lab.dev, vendor_cap, 4, b, 2), -EINVAL);
	assert_int_equal(ob_vendor_read(lab.dev, -1, 0, b, 1), -EINVAL);
	/* Power states. */
	assert_true(ob_can_dma(lab.dev));
	cfg_write(&lab.h, pm + 4, 1, 2); /* there is no D1 */
	assert_int_equal(cfg_read(&lab.h, pm + 4, 2), 8);
	cfg_write(&lab.h, pm + 4, 3, 2);
	assert_int_equal(cfg_read(&lab.h, pm + 4, 2), 0xb);
	assert_false(ob_can_dma(lab.dev));
	cfg_write(&lab.h, pm + 4, 2, 2);
	assert_int_equal(cfg_read(&lab.h, pm + 4, 2), 0xb);
	cfg_write(&lab.h, pm + 4, 0, 2);
	/* Function level reset. */
	cfg_write(&lab.h, 0x3c, 0x11, 1);
	cfg_write(&lab.h, express + 8, 0x8000, 2);
	assert_int_equal(lab.resets, 1);
	assert_int_equal(cfg_read(&lab.h, 0x3c, 1), 0);
	assert_int_equal(cfg_read(&lab.h, express + 8, 2), 0x2810);
	lab_end();
}

LAB_TEST(bars_are_sized)
LAB_TEST(command)
LAB_TEST(config_limits)
LAB_TEST(splits)
LAB_TEST(areas)
LAB_TEST(config_registers)
LAB_TEST(capabilities)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bars_are_sized), cmocka_unit_test(command),
		cmocka_unit_test(config_limits),  cmocka_unit_test(splits),
		cmocka_unit_test(areas),          cmocka_unit_test(config_registers),
		cmocka_unit_test(capabilities),
	};

	return RUN_LOOP_TESTS(tests);
}
