/* The IDE controller: configuration space, ports, DMA into guest memory, interrupts, state. */
#include "ide_rig.h"

static void configuration_co(void *arg)
{
	static const unsigned lens[] = {8, 4, 8, 4, 16};
	struct ide_rig r;

	(void)arg;
	ide_begin(&r, 2, "driver=ide");
	assert_int_equal(cfg_read(&r.h, 0, 4), 0x71118086);
	assert_int_equal(cfg_read(&r.h, 8, 4), 0x01018501);
	assert_int_equal(cfg_read(&r.h, 0x3d, 1), 1);
	assert_int_equal(cfg_read(&r.h, 0x40, 4), 0x80008000);
	cfg_write(&r.h, 9, 0, 1); /* native for ever */
	assert_int_equal(cfg_read(&r.h, 9, 1), 0x85);
	cfg_write(&r.h, 0x40, 0xa307, 2);
	assert_int_equal(cfg_read(&r.h, 0x40, 2), 0xa307);
	cfg_write(&r.h, 0x48, 0xff, 1);
	assert_int_equal(cfg_read(&r.h, 0x48, 1), 0x0f);
	for (unsigned i = 0; i < 5; i++) {
		cfg_write(&r.h, 0x10 + 4 * i, 0xffffffff, 4);
		assert_int_equal(cfg_read(&r.h, 0x10 + 4 * i, 4), (uint32_t)-lens[i] | 1);
	}
	assert_int_equal(cfg_read(&r.h, 0x24, 4), 0);
	assert_int_equal(bar_read(&r.h, 1, 0, 1), 0xff);
	assert_int_equal(bar_read(&r.h, 1, 3, 1), 0xff);
	pci_function_reset(r.h.f, PCI_RESET_BUS, NULL);
	assert_int_equal(cfg_read(&r.h, 0x40, 4), 0x80008000);
	ide_end(&r);
	ide_begin(&r, 0, "driver=ide,identity=ich7");
	assert_int_equal(cfg_read(&r.h, 0, 4), 0x27df8086);
	assert_int_equal(ide_in(&r, 0, STATUS), 0xff); /* nothing there at all */
	ide_end(&r);
}

static void places_co(void *arg)
{
	static const struct {
		unsigned units;
		const char *options, *reason;
	} wrong[] = {
		{5, "driver=ide", "more disks and drives than the 4"},
		{2, "driver=ide,primary-slave=hd1",
		 "primary-slave: there is no disk or drive 'hd1'"},
		{2, "driver=ide,identity=via", "identity"},
	};
	struct ide_rig r;

	(void)arg;
	for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
		GError *error = NULL;

		ide_make_units(&r, wrong[i].units);
		assert_null(ide_try(&r, wrong[i].options, &error));
		if (!strstr(error->message, wrong[i].reason))
			fail_msg("\"%s\" does not say \"%s\"", error->message, wrong[i].reason);
		g_error_free(error);
		ide_free_units(&r);
	}
	ide_begin(&r, 2, "driver=ide,secondary-slave=cd0,primary-slave=hd0");
	assert_int_equal(ide_in(&r, 0, STATUS), 0); /* absent beside another */
	ide_out(&r, 0, DEVICE, 0x10);
	assert_int_equal(ide_in(&r, 0, STATUS), 0x50);
	ide_out(&r, 1, DEVICE, 0x10);
	assert_int_equal(ide_in(&r, 1, LBA_HIGH), 0xeb);
	ide_end(&r);
}

static void identify_co(void *arg)
{
	struct ide_rig r;
	uint8_t b[SECTOR];

	(void)arg;
	ide_begin(&r, 2, "driver=ide");
	ide_command(&r, 0, 0, 0xec, 0, 0);
	WAIT_UNTIL(r.h.level);
	assert_int_equal(ide_in(&r, 0, STATUS), 0x58);
	assert_false(r.h.level);
	for (unsigned i = 0; i < SECTOR; i += 4)
		put_le32(b + i, (uint32_t)bar_read(&r.h, 0, DATA, 4));
	assert_int_equal(ide_wait(&r, 0), 0x50);
	assert_int_equal(get_le16(b), 0x0040);
	assert_int_equal(get_le32(b + 120), DISK_SECTORS);
	ide_command(&r, 0, 1, 0xa1, 0, 0);
	assert_int_equal(ide_wait(&r, 0), 0x58);
	assert_int_equal(bar_read(&r.h, 0, DATA, 2), 0x85c0);
	ide_end(&r);
}

static void dma(struct ide_rig *r, unsigned op, uint32_t gpa, uint32_t lba, unsigned count)
{
	ide_prd(r, 0, gpa, count * SECTOR / 2, false);
	ide_prd(r, 1, gpa + count * SECTOR / 2, count * SECTOR / 2, true);
	ide_command(r, 0, 0, op, lba, count);
	assert_int_equal(ide_alt(r, 0) & 0x80, 0x80);
	ide_start(r, 0, TABLE_AT);
	WAIT_UNTIL(ide_bm(r, 0) == 4);
	assert_true(r->h.level);
	ide_stop_dma(r, 0);
	assert_int_equal(ide_in(r, 0, STATUS), 0x50);
	assert_false(r->h.level);
}

static void dma_to_shared_memory_co(void *arg)
{
	uint8_t *p, b[SECTOR];
	struct ide_rig r;

	(void)arg;
	ide_begin(&r, 2, "driver=ide");
	p = r.h.guest + (BUF_AT - GUEST_AT);
	dma(&r, 0xc8, BUF_AT, 100, 8);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(get_le32(p + (size_t)i * SECTOR), 100 + i);
		assert_int_equal(p[(size_t)i * SECTOR + 511], 100 + i);
	}
	memset(p, 0xab, 4 * (size_t)SECTOR);
	dma(&r, 0xca, BUF_AT, DISK_SECTORS - 4, 4);
	assert_int_equal(block_pread(r.disk, (DISK_SECTORS - 1) * (uint64_t)SECTOR, b, SECTOR), 0);
	assert_int_equal(b[511], 0xab);
	assert_int_equal(r.h.far_moves, 0);
	ide_end(&r);
}

/* Memory that the VMM keeps to itself: by messages, after the access was answered. */
static void dma_by_messages_co(void *arg)
{
	struct ide_rig r;

	(void)arg;
	ide_begin(&r, 2, "driver=ide");
	dma(&r, 0xc8, FAR_AT, 7, 2);
	assert_int_equal(get_le32(r.h.far), 7);
	assert_int_equal(get_le32(r.h.far + SECTOR), 8);
	memset(r.h.far, 0x5a, SECTOR);
	dma(&r, 0xca, FAR_AT, 9, 1);
	dma(&r, 0xc8, BUF_AT, 9, 1);
	assert_int_equal(r.h.guest[BUF_AT - GUEST_AT + 511], 0x5a);
	ide_end(&r);
}

static void no_bus_mastering_co(void *arg)
{
	struct ide_rig r;

	(void)arg;
	ide_begin(&r, 2, "driver=ide");
	cfg_write(&r.h, 4, 1, 2);
	ide_prd(&r, 0, BUF_AT, SECTOR, true);
	ide_command(&r, 0, 0, 0xc8, 0, 1);
	ide_start(&r, 0, TABLE_AT);
	WAIT_UNTIL(ide_bm(&r, 0) == 2);
	assert_int_equal(ide_alt(&r, 0), 0x80);
	ide_prd(&r, 0, ROM_AT, SECTOR, true); /* memory that cannot be written */
	cfg_write(&r.h, 4, 7, 2);
	bar_write(&r.h, 1, CONTROL, SRST, 1);
	bar_write(&r.h, 1, CONTROL, 0, 1);
	assert_int_equal(ide_wait(&r, 0), 0x50);
	ide_stop_dma(&r, 0);
	ide_command(&r, 0, 0, 0xc8, 0, 1);
	ide_start(&r, 0, TABLE_AT);
	WAIT_UNTIL(ide_bm(&r, 0) == 2);
	ide_end(&r);
}

static void both_channels_share_the_line_co(void *arg)
{
	struct ide_rig r;

	(void)arg;
	ide_begin(&r, 4, "driver=ide");
	ide_command(&r, 0, 0, 0xe5, 0, 0);
	WAIT_UNTIL(r.h.level);
	ide_command(&r, 1, 0, 0xe5, 0, 0);
	WAIT_UNTIL(ide_bm(&r, 1) == 4);
	ide_in(&r, 0, STATUS);
	assert_true(r.h.level);
	ide_in(&r, 1, STATUS);
	assert_false(r.h.level);
	assert_int_equal(ide_bm(&r, 0), 4);
	ide_end(&r);
}

static void answered(struct pci_call *call, int res)
{
	struct ide_rig *r = (struct ide_rig *)((char *)call - offsetof(struct ide_rig, call));

	assert_int_equal(res, 0);
	r->done++;
}

static void reset(void *arg)
{
	struct ide_rig *r = arg;

	r->call.done = answered;
	assert_int_equal(pci_function_reset(r->h.f, PCI_RESET_BUS, &r->call), PCI_PENDING);
}

static void bus_reset_in_flight_co(void *arg)
{
	struct ide_rig r;

	(void)arg;
	ide_begin(&r, 2, "driver=ide");
	ide_make_slow(&r, FAULT_READ);
	ide_prd(&r, 0, BUF_AT, SECTOR, true);
	ide_command(&r, 0, 0, 0xc8, 5, 1);
	ide_start(&r, 0, TABLE_AT);
	co_reschedule();
	ON_LOOP(reset, &r);
	assert_int_equal(r.done, 0); /* the disk still moves data */
	assert_int_equal(ide_alt(&r, 0), 0x80);
	WAIT_UNTIL(r.done == 1);
	assert_int_equal(ide_alt(&r, 0), 0x50);
	assert_int_equal(ide_bm(&r, 0), 0);
	assert_false(r.h.level);
	ide_end(&r);
}

static void freed_in_flight_co(void *arg)
{
	struct ide_rig r;

	(void)arg;
	ide_begin(&r, 2, "driver=ide");
	ide_make_slow(&r, FAULT_WRITE);
	ide_prd(&r, 0, BUF_AT, SECTOR, true);
	ide_command(&r, 0, 0, 0xca, 5, 1);
	ide_start(&r, 0, TABLE_AT);
	co_reschedule();
	ide_end(&r); /* waits for it */
}

static void stop(void *arg)
{
	struct ide_rig *r = arg;
	int res;

	r->call.done = answered;
	res = pci_function_stop(r->h.f, &r->call);
	assert_true(res == 0 || res == PCI_PENDING);
	r->done += res == 0;
}

static void start(void *arg)
{
	struct ide_rig *r = arg;

	pci_function_start(r->h.f);
}

/* A stop waits for what moves by itself; what waits for the guest cannot be saved. */
static void saved_co(void *arg)
{
	GByteArray *state;
	struct ide_rig r;

	(void)arg;
	ide_begin(&r, 2, "driver=ide");
	ide_command(&r, 0, 0, 0xc6, 0, 8); /* SET MULTIPLE MODE */
	assert_int_equal(ide_wait(&r, 0), 0x50);
	ide_make_slow(&r, FAULT_READ);
	ide_prd(&r, 0, BUF_AT, SECTOR, true);
	ide_command(&r, 0, 0, 0xc8, 5, 1);
	ide_start(&r, 0, TABLE_AT);
	co_reschedule();
	ON_LOOP(stop, &r);
	assert_int_equal(r.done, 0);
	WAIT_UNTIL(r.done == 1);
	state = pci_function_save(r.h.f, NULL);
	assert_non_null(state);
	ON_LOOP(start, &r);
	fault_clear(r.disk);
	ide_in(&r, 0, STATUS);
	ide_command(&r, 0, 0, 0x20, 5, 1);
	assert_int_equal(ide_wait(&r, 0), 0x58);
	ON_LOOP(stop, &r);
	assert_int_equal(r.done, 2);
	assert_null(pci_function_save(r.h.f, NULL));
	ON_LOOP(start, &r);
	pci_function_reset(r.h.f, PCI_RESET_BUS, NULL);
	ide_wait(&r, 0);
	ON_LOOP(stop, &r);
	assert_true(pci_function_restore(r.h.f, state->data, state->len, NULL));
	ON_LOOP(start, &r);
	assert_true(r.h.level);
	assert_int_equal(ide_bm(&r, 0), 4);
	assert_int_equal(ide_in(&r, 0, STATUS), 0x50);
	ide_command(&r, 0, 0, 0xc4, 5, 2); /* READ MULTIPLE: the setting came along */
	assert_int_equal(ide_wait(&r, 0), 0x58);
	g_byte_array_unref(state);
	ide_end(&r);
}

#define IDE_TEST(name)                        \
	static void name(void **state)        \
	{                                     \
		(void)state;                  \
		run_in_loop(name##_co, NULL); \
	}
IDE_TEST(configuration)
IDE_TEST(places)
IDE_TEST(identify)
IDE_TEST(dma_to_shared_memory)
IDE_TEST(dma_by_messages)
IDE_TEST(no_bus_mastering)
IDE_TEST(both_channels_share_the_line)
IDE_TEST(bus_reset_in_flight)
IDE_TEST(freed_in_flight)
IDE_TEST(saved)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(configuration),
		cmocka_unit_test(places),
		cmocka_unit_test(identify),
		cmocka_unit_test(dma_to_shared_memory),
		cmocka_unit_test(dma_by_messages),
		cmocka_unit_test(no_bus_mastering),
		cmocka_unit_test(both_channels_share_the_line),
		cmocka_unit_test(bus_reset_in_flight),
		cmocka_unit_test(freed_in_flight),
		cmocka_unit_test(saved),
	};

	return RUN_LOOP_TESTS(tests);
}
