/* What comparable models got wrong (ata.md 7), against the whole controller with real units. */
#include "ide_rig.h"

static void cve_2015_5154_co(void *arg)
{
	static const uint8_t inquiry[12] = {0x12, 0, 0, 0, 36}, ready[12] = {0};
	struct ide_rig r;

	(void)arg;
	ide_begin(&r, 2, "driver=ide");
	assert_int_equal(ide_packet(&r, 0, 1, inquiry, false), 0x58);
	for (unsigned i = 0; i < 9; i++)
		bar_read(&r.h, 0, DATA, 4);
	assert_int_equal(ide_wait(&r, 0), 0x50);
	for (unsigned i = 0; i < 3000; i++) {
		bar_write(&r.h, 0, DATA, UINT64_MAX, 1u << i % 4);
		if (i % 4 != 3) /* of 8 bytes nothing is there */
			assert_int_equal(bar_read(&r.h, 0, DATA, 1u << i % 4), 0);
	}
	assert_int_equal(ide_alt(&r, 0), 0x50);
	assert_int_equal(ide_packet(&r, 0, 1, ready, false) & 0x89, 0x01);
	ide_end(&r);
}

static void cve_2014_9718_co(void *arg)
{
	static const uint32_t tables[] = {TABLE_AT, 0, GUEST_AT + GUEST_LEN - 8, 0xfffffffc};
	struct ide_rig r;

	(void)arg;
	ide_begin(&r, 2, "driver=ide");
	for (unsigned i = 0; i < G_N_ELEMENTS(tables); i++) {
		for (unsigned k = 0; k < GUEST_LEN / 8; k++)
			ide_prd(&r, k, TABLE_AT, 2, false); /* and it overwrites itself */
		ide_command(&r, 0, 0, 0xc8, 0, 64);
		ide_start(&r, 0, tables[i]);
		WAIT_UNTIL(!(ide_bm(&r, 0) & 1));
		assert_int_equal(ide_alt(&r, 0), 0x80);
		assert_false(r.h.level);
		ide_stop_dma(&r, 0);
		assert_int_equal(ide_wait(&r, 0) & 0x89, 0x01);
	}
	ide_end(&r);
}

static void cve_2019_20175_co(void *arg)
{
	static const uint8_t inquiry[12] = {0x12, 0, 0, 0, 96};
	struct ide_rig r;

	(void)arg;
	ide_begin(&r, 2, "driver=ide");
	for (unsigned len = 2; len < 1600; len += 94) {
		for (unsigned op = 0xc8; op <= 0xca; op += 2) {
			ide_prd(&r, 0, BUF_AT, len, true);
			ide_command(&r, 0, 0, op, 3, 2);
			ide_start(&r, 0, TABLE_AT);
			WAIT_UNTIL(len < 1024 ? ide_bm(&r, 0) == 0 : ide_bm(&r, 0) & 4);
			ide_stop_dma(&r, 0);
			ide_wait(&r, 0);
		}
		ide_packet(&r, 0, 1, inquiry, true);
		ide_start(&r, 0, TABLE_AT);
		WAIT_UNTIL(!(ide_bm(&r, 0) & 1) || ide_bm(&r, 0) & 4);
		ide_stop_dma(&r, 0);
		ide_wait(&r, 0);
	}
	ide_end(&r);
}

static void cve_2020_25743_co(void *arg)
{
	struct ide_rig r;

	(void)arg;
	for (unsigned units = 0; units < 3; units++) {
		ide_begin(&r, units, "driver=ide");
		for (unsigned c = 0; c < 2; c++) {
			for (unsigned device = 0; device < 2; device++) {
				ide_command(&r, c, device, 0xc8, 0, 1);
				ide_start(&r, c, TABLE_AT);
				ide_stop_dma(&r, c);
				bar_write(&r.h, 2 * c + 1, CONTROL, SRST, 1);
				ide_start(&r, c, 0);
				bar_write(&r.h, 2 * c + 1, CONTROL, 0, 1);
				ide_stop_dma(&r, c);
			}
		}
		ide_end(&r);
	}
}

static void begin_slow_write(struct ide_rig *r)
{
	ide_begin(r, 2, "driver=ide");
	ide_make_slow(r, FAULT_WRITE);
	memset(r->h.guest + (BUF_AT - GUEST_AT), 0xee, 8192);
	ide_prd(r, 0, BUF_AT, 8192, true);
	ide_command(r, 0, 0, 0xca, 50, 16);
	ide_start(r, 0, TABLE_AT);
	co_reschedule();
}

static void end_slow_write(struct ide_rig *r, unsigned status)
{
	uint8_t b[SECTOR];

	assert_int_equal(ide_alt(r, 0) & 0x80, 0x80);
	assert_int_equal(ide_wait(r, 0), status);
	assert_int_equal(block_pread(r->disk, 0, b, SECTOR), 0);
	assert_int_equal(b[511], 0);
	for (unsigned i = 0; i < 10; i++)
		co_reschedule(); /* nothing comes later */
	assert_int_equal(ide_alt(r, 0), status);
	assert_false(r->h.level);
	fault_clear(r->disk);
	ide_command(r, 0, 0, 0x40, 0, 1);
	assert_int_equal(ide_wait(r, 0), 0x50);
	ide_end(r);
}

static void cve_2023_5088_co(void *arg)
{
	struct ide_rig r;

	(void)arg;
	begin_slow_write(&r);
	bar_write(&r.h, 1, CONTROL, SRST, 1);
	bar_write(&r.h, 1, CONTROL, 0, 1);
	end_slow_write(&r, 0x50);
	begin_slow_write(&r);
	ide_stop_dma(&r, 0);
	end_slow_write(&r, 0x51);
}

static void cve_2017_12809_co(void *arg)
{
	static const uint8_t ops[] = {0xe7, 0xea};
	struct ide_rig r;

	(void)arg;
	ide_begin(&r, 2, "driver=ide");
	for (unsigned i = 0; i < 2; i++) {
		ide_command(&r, 0, 1, ops[i], 0, 0); /* no medium */
		assert_int_equal(ide_wait(&r, 0) & 0x88, 0);
		ide_command(&r, 1, 0, ops[i], 0, 0); /* no channel */
		assert_int_equal(ide_in(&r, 1, STATUS), 0xff);
	}
	ide_end(&r);
	ide_begin(&r, 1, "driver=ide");
	ide_command(&r, 0, 1, 0xe7, 0, 0); /* no device */
	assert_int_equal(ide_in(&r, 0, STATUS), 0);
	ide_end(&r);
}

/* Every opcode, on both kinds, with and without LBA: it ends, or waits for data. */
static void cve_2015_6855_co(void *arg)
{
	struct ide_rig r;

	(void)arg;
	ide_begin(&r, 2, "driver=ide");
	for (unsigned i = 0; i < 1024; i++) {
		unsigned op = i & 0xff, device = i >> 8 & 1;

		ide_out(&r, 0, DEVICE, device << 4 | (i & 512 ? 0x40 : 0));
		for (unsigned reg = ERROR; reg < DEVICE; reg++)
			ide_out(&r, 0, reg, 0);
		ide_out(&r, 0, STATUS, op);
		for (unsigned turns = 0; ide_alt(&r, 0) & 0x80 && turns < 20; turns++)
			co_reschedule();
		if (ide_alt(&r, 0) & 0x88) { /* it waits for the bus master or for data */
			bar_write(&r.h, 1, CONTROL, SRST, 1);
			bar_write(&r.h, 1, CONTROL, 0, 1);
		}
		ide_wait(&r, 0);
	}
	ide_end(&r);
}

#define IDE_TEST(name)                        \
	static void name(void **state)        \
	{                                     \
		(void)state;                  \
		run_in_loop(name##_co, NULL); \
	}
IDE_TEST(cve_2015_5154)
IDE_TEST(cve_2014_9718)
IDE_TEST(cve_2019_20175)
IDE_TEST(cve_2020_25743)
IDE_TEST(cve_2023_5088)
IDE_TEST(cve_2017_12809)
IDE_TEST(cve_2015_6855)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cve_2015_5154),  cmocka_unit_test(cve_2014_9718),
		cmocka_unit_test(cve_2019_20175), cmocka_unit_test(cve_2020_25743),
		cmocka_unit_test(cve_2023_5088),  cmocka_unit_test(cve_2017_12809),
		cmocka_unit_test(cve_2015_6855),
	};

	return RUN_LOOP_TESTS(tests);
}
