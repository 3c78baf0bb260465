/* The INTx line, MSI and MSI-X, masked, folded, pending. */
#include "lab.h"

static void line_co(void *arg)
{
	(void)arg;
	lab_begin(NULL);
	ob_irq_raise(lab.dev);
	ob_irq_raise(lab.dev);
	assert_int_equal(lab.h.raised, 1);
	assert_int_equal(cfg_read(&lab.h, 6, 2) & 8, 8);
	cfg_write(&lab.h, 4, 0x0407, 2); /* the driver's disable bit */
	assert_false(lab.h.level);
	assert_int_equal(cfg_read(&lab.h, 6, 2) & 8, 8); /* status tells all the same */
	cfg_write(&lab.h, 4, 0x0007, 2);
	assert_true(lab.h.level);
	ob_irq_lower(lab.dev);
	assert_false(lab.h.level);
	assert_int_equal(cfg_read(&lab.h, 6, 2) & 8, 0);
	assert_int_equal(ob_msi_send(lab.dev, 0), -EINVAL); /* it has none */
	lab_end();
}

static void host_comes_to_a_high_line_co(void *arg)
{
	(void)arg;
	lab_begin(NULL);
	ob_irq_raise(lab.dev);
	fake_host_fini(&lab.h);
	assert_false(ob_is_attached(lab.dev));
	ob_irq_lower(lab.dev);
	ob_irq_raise(lab.dev);
	fake_host_init(&lab.h, device_function(lab.d), false);
	assert_true(lab.h.level);
	assert_int_equal(lab.h.raised, 1);
	lab_end();
}

static int open_msi(struct ob_dev *dev)
{
	lab_bar(dev, 0, 0, 4096);
	return ob_add_msi(dev, 8, OB_MSI_MASKABLE);
}

static void msi_co(void *arg)
{
	uint64_t addr;
	uint32_t data;
	unsigned at;

	(void)arg;
	lab_begin(open_msi);
	at = cfg_find(&lab.h, 5);
	assert_int_equal(cfg_read(&lab.h, at + 2, 2), 0x0186);
	assert_int_equal(ob_msi_send(lab.dev, 0), -ENOTCONN);
	assert_int_equal(ob_msi_mode(lab.dev), OB_MSI_OFF);
	cfg_write(&lab.h, at + 4, 0xfee00003, 4);
	cfg_write(&lab.h, at + 12, 0x40, 2);
	lab.changes = 0;
	cfg_write(&lab.h, at + 2, 0x0021, 2); /* enabled, 4 vectors */
	assert_int_equal(lab.changes, 1);
	assert_int_equal(ob_msi_mode(lab.dev), OB_MSI_ON);
	assert_int_equal(ob_msi_send(lab.dev, 3), 0);
	assert_int_equal(lab.h.last_vector, 3);
	assert_int_equal(ob_msi_send(lab.dev, 6), 0); /* folded */
	assert_int_equal(lab.h.last_vector, 2);
	assert_int_equal(ob_msi_send(lab.dev, 8), -EINVAL);
	assert_true(pci_function_msi_message(lab.h.f, PCI_MSI, 2, &addr, &data));
	assert_true(addr == 0xfee00000 && data == 0x42);
	assert_int_equal(lab.h.messages, 2);
	cfg_write(&lab.h, at + 16, 0x2, 4); /* mask 1 */
	assert_int_equal(ob_msi_send(lab.dev, 1), 0);
	assert_int_equal(ob_msi_send(lab.dev, 1), 0);
	assert_int_equal(lab.h.messages, 2);
	assert_int_equal(cfg_read(&lab.h, at + 20, 4), 2);
	cfg_write(&lab.h, at + 16, 0, 4);
	assert_int_equal(lab.h.messages, 3);
	assert_int_equal(lab.h.last_vector, 1);
	assert_int_equal(cfg_read(&lab.h, at + 20, 4), 0);
	cfg_write(&lab.h, 4, 0x0003, 2);
	assert_int_equal(ob_msi_send(lab.dev, 0), -EACCES);
	cfg_write(&lab.h, 4, 0x0007, 2);
	ob_irq_raise(lab.dev); /* no line while MSI is on */
	assert_false(lab.h.level);
	lab_end();
}

static int open_msix(struct ob_dev *dev)
{
	lab_bar(dev, 0, 0, 4096);
	return ob_add_msix(dev, 70, 0, 0x400, 1, 0x10);
}

static void msix_co(void *arg)
{
	unsigned at;

	(void)arg;
	lab_begin(open_msix);
	at = cfg_find(&lab.h, 0x11);
	assert_int_equal(cfg_read(&lab.h, at + 2, 2), 69);
	assert_int_equal(cfg_read(&lab.h, at + 4, 4), 0x400);
	assert_int_equal(cfg_read(&lab.h, at + 8, 4), 0x11);
	assert_int_equal(pci_function_bar(lab.h.f, 1)->len, 4096); /* made for it */
	cfg_write(&lab.h, at + 2, 0x8000, 2);
	assert_int_equal(ob_msi_mode(lab.dev), OB_MSIX_ON);
	assert_int_equal(bar_read(&lab.h, 0, 0x40c, 4), 1); /* masked after reset */
	assert_int_equal(ob_msi_send(lab.dev, 69), 0);
	assert_int_equal(lab.h.messages, 0);
	assert_int_equal(bar_read(&lab.h, 1, 0x18, 8), 1 << 5);
	bar_write(&lab.h, 1, 0x18, 0, 8); /* read only */
	bar_write(&lab.h, 0, 0x400 + 69 * 16, 0xfee00000, 8);
	bar_write(&lab.h, 0, 0x408 + 69 * 16, 0x31, 4);
	bar_write(&lab.h, 0, 0x40c + 69 * 16, 0xfffffffe, 4);
	assert_int_equal(bar_read(&lab.h, 0, 0x40c + 69 * 16, 4), 0);
	assert_int_equal(lab.h.messages, 1);
	assert_int_equal(lab.h.last_vector, 69);
	assert_int_equal(lab.h.last_kind, PCI_MSIX);
	assert_int_equal(bar_read(&lab.h, 1, 0x18, 8), 0);
	assert_int_equal(lab.log_n, 0); /* the device sees none of it */
	bar_read(&lab.h, 0, 0x3f8, 8);
	bar_read(&lab.h, 0, 0x400 + 70 * 16, 4);
	assert_int_equal(lab.log_n, 2);
	cfg_write(&lab.h, at + 2, 0xc000, 2); /* all masked */
	assert_int_equal(ob_msi_send(lab.dev, 69), 0);
	assert_int_equal(lab.h.messages, 1);
	cfg_write(&lab.h, at + 2, 0x8000, 2);
	assert_int_equal(lab.h.messages, 2);
	assert_int_equal(ob_msi_send(lab.dev, 70), -EINVAL);
	lab_end();
}

static void host_that_owns_vectors_co(void *arg)
{
	(void)arg;
	lab_begin(open_msix);
	lab.h.host.flags = PCI_HOST_OWNS_VECTORS;
	cfg_write(&lab.h, cfg_find(&lab.h, 0x11) + 2, 0x8000, 2);
	lab.h.refuses = true;
	assert_int_equal(ob_msi_send(lab.dev, 2), 0);
	assert_int_equal(bar_read(&lab.h, 1, 0x10, 8), 4);
	lab.h.refuses = false;
	pci_function_msi_ready(lab.h.f, PCI_MSIX, 3, 10);
	assert_int_equal(lab.h.messages, 0);
	pci_function_msi_ready(lab.h.f, PCI_MSIX, 2, 1);
	assert_int_equal(lab.h.messages, 1);
	assert_int_equal(bar_read(&lab.h, 1, 0x10, 8), 0);
	pci_function_msi_ready(lab.h.f, PCI_MSIX, UINT_MAX, UINT_MAX);
	lab_end();
}

LAB_TEST(line)
LAB_TEST(host_comes_to_a_high_line)
LAB_TEST(msi)
LAB_TEST(msix)
LAB_TEST(host_that_owns_vectors)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(line),
		cmocka_unit_test(host_comes_to_a_high_line),
		cmocka_unit_test(msi),
		cmocka_unit_test(msix),
		cmocka_unit_test(host_that_owns_vectors),
	};

	return RUN_LOOP_TESTS(tests);
}
