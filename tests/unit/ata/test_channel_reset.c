/* Resets of a channel, idle and in the middle of things (ata.md 1.5, 7). */
#include "rig.h"

static void srst_co(void *arg)
{
	(void)arg;
	rig_begin(RIG_DISK, RIG_PACKET);
	command(0x40, 0x123456, 9);
	settle();
	assert_true(rig.level);
	out(R_DEVICE, 0x5f);
	control(SRST);
	assert_false(rig.level);
	assert_int_equal(alt(), 0x80);
	out(R_DEVICE, 0x10); /* not now */
	out(R_COUNT, 0x77);
	out(R_STATUS, 0x40);
	control(0);
	assert_int_equal(in(R_DEVICE), 0xa0);
	assert_int_equal(in(R_STATUS), 0x50);
	assert_int_equal(in(R_COUNT), 1);
	assert_int_equal(in(R_ERROR), 1);
	assert_int_equal(in(R_LBAH), 0);
	out(R_DEVICE, 0x10);
	assert_int_equal(in(R_STATUS), 0);
	assert_int_equal(in(R_LBAH), 0xeb);
	assert_int_equal(rig.u[0]->last_reset, ATA_RESET_SOFT);
	assert_int_equal(rig.u[0]->resets, 1);
	assert_int_equal(rig.u[1]->resets, 1);
	assert_int_equal(rig.edges, 1); /* resets do not interrupt */
	rig_end();
}

static void srst_in_a_block_co(void *arg)
{
	(void)arg;
	rig_begin(RIG_DISK, RIG_NONE);
	command(0x30, 0, 2);
	settle();
	ata_channel_write(rig.ch, R_DATA, 0x1234, 2);
	control(SRST);
	control(0);
	assert_int_equal(alt() & ATA_DRQ, 0);
	settle();
	assert_int_equal(alt(), 0x50);
	assert_int_equal(rig.u[0]->media[0], 1); /* nothing was written */
	assert_false(rig.level);
	command(0x40, 0, 1);
	settle();
	assert_int_equal(in(R_STATUS), 0x50);
	rig_end();
}

/* CVE-2023-5088: what was in flight ends unseen, where it was going, and is waited for. */
static void reset_in_flight(void (*reset)(void), enum ata_reset_kind kind)
{
	rig_begin(RIG_DISK, RIG_NONE);
	memset(rig.mem + (DATA - MEM_AT), 0xee, 4096);
	rig.u[0]->is_slow = true;
	prd(0, DATA, 1024, true);
	bm_start(TABLE);
	command(0xca, 7, 2);
	settle();
	assert_int_equal(rig.u[0]->in_io, 1);
	reset();
	settle();
	assert_int_equal(alt(), 0x80);
	out(R_STATUS, 0x40);
	assert_int_equal(rig.u[0]->resets, 0);
	assert_true(rig.busy); /* the I/O still has the memory */
	fake_unit_go(rig.u[0]);
	settle();
	assert_int_equal(alt(), 0x50);
	assert_int_equal(rig.u[0]->resets, 1);
	assert_int_equal(rig.u[0]->last_reset, kind);
	assert_false(rig.level);
	assert_int_equal(in(R_COUNT), 1);
	assert_int_equal(rig.u[0]->media[0], 1); /* LBA 0 */
	assert_int_equal(rig.u[0]->media[(size_t)7 * ATA_SECTOR], 0xee);
	assert_int_equal(rig.u[0]->executed, 1);
	rig_end();
}

static void by_srst(void)
{
	control(SRST);
	control(0);
}

static void by_hardware(void)
{
	bmdma_reset(rig.bm);
}

static void cve_2023_5088_co(void *arg)
{
	(void)arg;
	reset_in_flight(by_srst, ATA_RESET_SOFT);
	reset_in_flight(by_hardware, ATA_RESET_HARD);
}

static void hardware_reset_co(void *arg)
{
	(void)arg;
	rig_begin(RIG_DISK, RIG_PACKET);
	control(NIEN | HOB);
	out(R_DEVICE, 0x10);
	bmdma_write(rig.bm, 4, 0x12345678, 4);
	bmdma_reset(rig.bm);
	assert_int_equal(bmdma_read(rig.bm, 4, 4), 0);
	assert_int_equal(in(R_DEVICE), 0xa0);
	command(0x40, 0, 1);
	settle();
	assert_true(rig.level); /* nIEN is gone */
	ata_channel_drain(rig.ch);
	rig_end();
}

static void device_reset_co(void *arg)
{
	(void)arg;
	rig_begin(RIG_DISK, RIG_PACKET);
	out(R_STATUS, ATA_OP_DEVICE_RESET);
	settle();
	assert_int_equal(in(R_STATUS), 0x51); /* a disk has none */
	assert_int_equal(in(R_ERROR), ATA_ABRT);
	rig.edges = 0;
	out(R_DEVICE, 0x10);
	rig.u[1]->is_slow = true;
	packet(0xa8, 0, 1, 0);
	assert_int_equal(alt(), 0x80);
	out(R_STATUS, ATA_OP_DEVICE_RESET); /* in any state */
	out(R_STATUS, ATA_OP_DEVICE_RESET);
	assert_int_equal(alt(), 0x80);
	fake_unit_go(rig.u[1]);
	settle();
	assert_int_equal(in(R_STATUS), 0);
	assert_int_equal(in(R_LBAM), 0x14);
	assert_int_equal(rig.u[1]->resets, 1);
	assert_int_equal(rig.u[1]->last_reset, ATA_RESET_DEVICE);
	assert_int_equal(rig.u[0]->resets, 0);
	assert_int_equal(rig.edges, 0);
	rig_end();
}

static void diagnostic_co(void *arg)
{
	(void)arg;
	rig_begin(RIG_DISK, RIG_PACKET);
	out(R_DEVICE, 0x10);
	out(R_STATUS, ATA_OP_DIAGNOSTIC);
	settle();
	assert_int_equal(in(R_DEVICE), 0xa0);
	assert_true(rig.level);
	assert_int_equal(in(R_STATUS), 0x50);
	assert_int_equal(in(R_ERROR), 1);
	out(R_DEVICE, 0x10);
	assert_int_equal(in(R_STATUS), 0);
	assert_int_equal(in(R_LBAH), 0xeb);
	assert_int_equal(rig.u[1]->last_reset, ATA_RESET_DIAGNOSTIC);
	rig_end();
	rig_begin(RIG_DISK, RIG_NONE); /* also when nobody is selected */
	out(R_DEVICE, 0x10);
	out(R_STATUS, ATA_OP_DIAGNOSTIC);
	settle();
	assert_int_equal(in(R_STATUS), 0x50);
	rig_end();
}

static void stronger_reset_wins_co(void *arg)
{
	(void)arg;
	rig_begin(RIG_PACKET, RIG_NONE);
	rig.u[0]->is_slow = true;
	packet(0xa8, 0, 1, 0);
	bmdma_reset(rig.bm);
	by_srst();
	out(R_STATUS, ATA_OP_DEVICE_RESET);
	fake_unit_go(rig.u[0]);
	settle();
	assert_int_equal(rig.u[0]->resets, 1);
	assert_int_equal(rig.u[0]->last_reset, ATA_RESET_HARD);
	rig_end();
}

/* A unit that is freed while it works is waited for. */
static void freed_in_flight_co(void *arg)
{
	(void)arg;
	rig_begin(RIG_DISK, RIG_PACKET);
	command(0x20, 0, 4); /* waits for the host */
	settle();
	assert_true(ata_channel_is_still(rig.ch));
	out(R_DEVICE, 0x10);
	rig.u[1]->is_slow = true;
	packet(0xa8, 0, 1, 0);
	assert_false(ata_channel_is_still(rig.ch));
	rig_end();
}

RIG_TEST(srst)
RIG_TEST(srst_in_a_block)
RIG_TEST(cve_2023_5088)
RIG_TEST(hardware_reset)
RIG_TEST(device_reset)
RIG_TEST(diagnostic)
RIG_TEST(stronger_reset_wins)
RIG_TEST(freed_in_flight)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(srst),
		cmocka_unit_test(srst_in_a_block),
		cmocka_unit_test(cve_2023_5088),
		cmocka_unit_test(hardware_reset),
		cmocka_unit_test(device_reset),
		cmocka_unit_test(diagnostic),
		cmocka_unit_test(stronger_reset_wins),
		cmocka_unit_test(freed_in_flight),
	};

	return RUN_LOOP_TESTS(tests);
}
