/* The bus master: its registers, its table, and DMA commands in every order (ata.md 2.4, 3.5). */
#include "rig.h"

static uint8_t *data(void)
{
	return rig.mem + (DATA - MEM_AT);
}

static void registers_co(void *arg)
{
	(void)arg;
	rig_begin(RIG_DISK, RIG_NONE);
	assert_int_equal(bmdma_read(rig.bm, 2, 1), 0x60);
	bmdma_write(rig.bm, 4, 0xffffffff, 4);
	assert_int_equal(bmdma_read(rig.bm, 4, 4), 0xfffffffc);
	bmdma_write(rig.bm, 5, 0x1234, 2);
	assert_int_equal(bmdma_read(rig.bm, 4, 4), 0xff1234fc);
	assert_int_equal(bmdma_read(rig.bm, 6, 1), 0x12);
	bmdma_write(rig.bm, 0, 0xf8, 1);
	assert_int_equal(bmdma_read(rig.bm, 0, 1), 0x08);
	bmdma_write(rig.bm, 1, 0xff, 1);
	bmdma_write(rig.bm, 3, 0xff, 1);
	assert_int_equal(bmdma_read(rig.bm, 0, 4), 0x00600008);
	bmdma_write(rig.bm, 2, 0x20, 1); /* bits 5 and 6 are the host's own */
	assert_int_equal(bmdma_read(rig.bm, 2, 1), 0x20);
	rig_end();
}

enum order { START_FIRST, COMMAND_FIRST };

static void transfer_co(void *arg)
{
	(void)arg;
	for (enum order o = START_FIRST; o <= COMMAND_FIRST; o++) {
		rig_begin(RIG_DISK, RIG_NONE);
		prd(0, DATA + 1024, 256, false);
		prd(1, DATA, 768, true);
		if (o == START_FIRST) {
			bm_start(TABLE);
			assert_int_equal(bm_status(), 1);
		}
		command(0xc8, 9, 2);
		settle();
		if (o == COMMAND_FIRST) {
			assert_int_equal(alt(), 0x80);
			assert_int_equal(rig.begins, 0);
			assert_true(ata_channel_is_still(rig.ch));
			bm_start(TABLE);
			settle();
		}
		assert_int_equal(alt(), 0x50);
		assert_true(rig.level);
		assert_int_equal(bm_status(), 4);
		assert_memory_equal(data() + 1024, rig.u[0]->media + 9 * ATA_SECTOR, 256);
		assert_memory_equal(data(), rig.u[0]->media + 9 * ATA_SECTOR + 256, 768);
		assert_int_equal(in(R_STATUS), 0x50); /* as edk2 does, INT stays */
		assert_int_equal(bm_status(), 4);
		bm_stop();
		bmdma_write(rig.bm, 2, 4, 1);
		assert_int_equal(bm_status(), 0);
		memset(data(), 0x33, 512);
		prd(0, DATA, 512, true);
		command(0xca, 1, 1);
		bm_start(TABLE);
		settle();
		assert_int_equal(in(R_STATUS), 0x50);
		assert_int_equal(rig.u[0]->media[ATA_SECTOR + 511], 0x33);
		rig_end();
	}
}

static void int_comes_after_the_data_co(void *arg)
{
	(void)arg;
	rig_begin(RIG_DISK, RIG_NONE);
	rig.u[0]->is_slow = true;
	prd(0, DATA, 512, true);
	bm_start(TABLE);
	command(0xc8, 0, 1);
	settle();
	assert_int_equal(bm_status(), 1);
	assert_int_equal(alt(), 0x80);
	assert_false(rig.level);
	fake_unit_go(rig.u[0]);
	settle();
	assert_false(rig.busy);
	assert_int_equal(bm_status(), 4);
	rig_end();
}

static void longer_table_co(void *arg)
{
	(void)arg;
	rig_begin(RIG_DISK, RIG_NONE);
	prd(0, DATA, 512, false);
	prd(1, 0xfffff000, 512, true); /* stays unread */
	bm_start(TABLE);
	command(0xc8, 0, 1);
	settle();
	assert_int_equal(in(R_STATUS), 0x50);
	assert_int_equal(bm_status(), 5);
	bm_stop();
	assert_int_equal(bm_status(), 4);
	prd(0, DATA, 4096, true); /* one region that is too long */
	bm_start(TABLE);
	command(0xc8, 0, 1);
	settle();
	assert_int_equal(bm_status(), 5);
	command(0xc8, 0, 1); /* the same START serves no second command */
	settle();
	assert_int_equal(alt(), 0x80);
	bm_stop();
	bm_start(TABLE);
	settle();
	assert_int_equal(alt(), 0x50);
	rig_end();
}

static void shorter_table_co(void *arg)
{
	(void)arg;
	rig_begin(RIG_DISK, RIG_NONE);
	prd(0, DATA, 700, true);
	bm_start(TABLE);
	command(0xc8, 0, 2);
	settle();
	assert_int_equal(alt(), 0x80);
	assert_int_equal(bm_status(), 0);
	assert_false(rig.level);
	assert_true(ata_channel_is_still(rig.ch));
	control(SRST);
	control(0);
	settle();
	assert_int_equal(alt(), 0x50);
	assert_false(rig.level);
	prd(0, DATA, 2, true); /* the other way, and out of it by stopping */
	bm_stop();
	bm_start(TABLE);
	command(0xca, 0, 2);
	settle();
	assert_int_equal(alt(), 0x80);
	bm_stop();
	settle();
	assert_int_equal(in(R_STATUS), 0x51);
	assert_int_equal(in(R_ERROR), ATA_ABRT);
	rig_end();
}

static void device_error_co(void *arg)
{
	(void)arg;
	rig_begin(RIG_DISK, RIG_NONE);
	rig.u[0]->fails = true;
	prd(0, DATA, 1024, true);
	bm_start(TABLE);
	command(0xc8, 0, 2);
	settle();
	assert_true(rig.level);
	assert_int_equal(in(R_STATUS), 0x51);
	assert_int_equal(in(R_ERROR), ATA_UNC);
	assert_int_equal(bm_status() & 6, 4);
	rig_end();
}

static void bad_memory_co(void *arg)
{
	static const uint32_t tables[] = {0, 0xfffffffc, MEM_AT - 8, TABLE};

	(void)arg;
	for (unsigned i = 0; i < G_N_ELEMENTS(tables); i++) {
		rig_begin(RIG_DISK, RIG_NONE);
		prd(0, i == 3 ? 0xfffffffe : DATA, 512, true); /* base near 2^32, then */
		bm_start(tables[i]);
		command(0xc8, 0, 1);
		settle();
		assert_int_equal(alt(), 0x80);
		assert_int_equal(bm_status(), 2);
		assert_false(rig.level);
		control(SRST);
		control(0);
		settle();
		assert_int_equal(alt(), 0x50);
		bmdma_write(rig.bm, 2, 2, 1);
		assert_int_equal(bm_status(), 0);
		rig_end();
	}
}

/* CVE-2014-9718: tables without end, of the tiniest regions. */
static void cve_2014_9718_co(void *arg)
{
	(void)arg;
	rig_begin(RIG_DISK, RIG_NONE);
	for (unsigned i = 0; i < MEM_LEN / 8; i++)
		prd(i, DATA, i % 2 ? 2 : 3, false); /* 3 counts as 2 */
	bm_start(TABLE);
	command(0xc8, 0, 40);
	settle();
	assert_int_equal(rig.n, BMDMA_ENTRIES);
	assert_true(rig.reads <= BMDMA_ENTRIES * 8 / 4096);
	assert_int_equal(alt(), 0x80);
	assert_int_equal(bm_status(), 0);
	bm_stop();
	settle();
	assert_int_equal(alt(), 0x51);
	rig_end();
}

static void table_over_a_page_co(void *arg)
{
	(void)arg;
	rig_begin(RIG_DISK, RIG_NONE);
	for (unsigned i = 0; i < 5; i++) { /* at 4 modulo 8, the second one on two pages */
		uint8_t *p = rig.mem + 4096 - 12 + (size_t)8 * i;

		put_le32(p, DATA + 512 * i);
		put_le32(p + 4, i == 4 ? 0x80000200 : 0x200);
	}
	bm_start(MEM_AT + 4096 - 12);
	command(0xc8, 0, 5);
	settle();
	assert_int_equal(in(R_STATUS), 0x50);
	assert_int_equal(bm_status(), 4);
	assert_memory_equal(data(), rig.u[0]->media, 5 * ATA_SECTOR);
	rig_end();
}

static void zero_counts_64k_co(void *arg)
{
	(void)arg;
	rig_begin(RIG_DISK, RIG_NONE);
	prd(0, DATA, 0, true);
	bm_start(TABLE);
	command(0xc8, 0, 4);
	settle();
	assert_int_equal(in(R_STATUS), 0x50);
	assert_int_equal(bm_status(), 5);
	rig_end();
}

/* CVE-2019-20175: totals that are no whole sectors, in packets too. */
static void cve_2019_20175_co(void *arg)
{
	(void)arg;
	for (unsigned len = 2; len < 2300; len += 126) {
		rig_begin(RIG_DISK, RIG_PACKET);
		prd(0, DATA, len, true);
		bm_start(TABLE);
		command(0xc8, 0, 1);
		settle();
		assert_int_equal(alt(), len >= 512 ? 0x50 : 0x80);
		bm_stop();
		settle();
		out(R_DEVICE, 0x10);
		bm_start(TABLE);
		packet(0xa8, 0, 1, 1);
		bm_stop();
		settle();
		assert_int_equal(alt() & 0xd9, len >= 2048 ? 0x50 : 0x51);
		rig_end();
	}
}

/* START taken back in the middle: the command ends with ABRT once its I/O did. */
static void stopped_in_flight_co(void *arg)
{
	(void)arg;
	rig_begin(RIG_DISK, RIG_NONE);
	rig.u[0]->is_slow = true;
	prd(0, DATA, 512, true);
	bm_start(TABLE);
	command(0xc8, 0, 1);
	settle();
	bm_stop();
	assert_int_equal(bm_status(), 0);
	bm_start(TABLE); /* for nobody yet */
	settle();
	assert_int_equal(alt(), 0x80);
	fake_unit_go(rig.u[0]);
	settle();
	assert_int_equal(bm_status(), 5);
	assert_int_equal(in(R_STATUS), 0x51);
	assert_int_equal(in(R_ERROR), ATA_ABRT);
	rig.u[0]->is_slow = false;
	command(0xc8, 0, 1);
	settle();
	assert_int_equal(in(R_STATUS), 0x50);
	rig_end();
}

/* CVE-2020-25743: START and stop where nobody is, or nobody wants it. */
static void cve_2020_25743_co(void *arg)
{
	static const enum rig_kind kinds[][2] = {
		{RIG_NONE, RIG_NONE}, {RIG_DISK, RIG_NONE}, {RIG_NONE, RIG_PACKET}};

	(void)arg;
	for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
		rig_begin(kinds[i][0], kinds[i][1]);
		for (unsigned round = 0; round < 4; round++) {
			bm_start(0);
			bm_stop();
			out(R_DEVICE, round & 1 ? 0x10 : 0);
			command(0xc8, 0, 1);
			bm_start(TABLE);
			bm_stop();
			bm_stop();
			control(round & 2 ? SRST : 0);
			bm_start(TABLE);
			control(0);
			bm_stop();
			settle();
		}
		bmdma_revoke(rig.bm);
		settle();
		rig_end();
	}
}

static void packets_by_dma_co(void *arg)
{
	(void)arg;
	rig_begin(RIG_PACKET, RIG_NONE);
	prd(0, DATA, 4096, true);
	packet(0xa8, 0, 1, 1); /* a short answer */
	assert_int_equal(alt(), 0x80);
	bm_start(TABLE);
	settle();
	assert_true(rig.level);
	assert_int_equal(bm_status(), 5);
	assert_int_equal(in(R_STATUS), 0x50);
	assert_int_equal(in(R_COUNT), ATA_REASON_DONE);
	assert_memory_equal(data(), rig.u[0]->media, 2048);
	bm_stop();
	memset(data(), 0x44, 2048);
	packet(0xaa, 5, 1, 1);
	bm_start(TABLE);
	settle();
	assert_int_equal(in(R_STATUS), 0x50);
	assert_int_equal(rig.u[0]->media[5 * 2048 + 2047], 0x44);
	rig_end();
}

/* One engine, two devices: the second waits for its turn and another START. */
static void two_devices_co(void *arg)
{
	(void)arg;
	rig_begin(RIG_DISK, RIG_DISK);
	rig.u[0]->is_slow = true;
	prd(0, DATA, 512, true);
	bm_start(TABLE);
	command(0xc8, 0, 1);
	settle();
	out(R_DEVICE, 0x10);
	command(0xc8, 1, 1);
	settle();
	assert_int_equal(alt(), 0x80);
	fake_unit_go(rig.u[0]);
	settle();
	assert_int_equal(alt(), 0x80);
	assert_false(rig.level); /* the other one is selected */
	out(R_DEVICE, 0);
	assert_true(rig.level);
	assert_int_equal(in(R_STATUS), 0x50);
	out(R_DEVICE, 0x10);
	bm_stop();
	bm_start(TABLE);
	settle();
	assert_int_equal(in(R_STATUS), 0x50);
	assert_memory_equal(data(), rig.u[1]->media + ATA_SECTOR, ATA_SECTOR);
	rig_end();
}

static void revoked_co(void *arg)
{
	(void)arg;
	rig_begin(RIG_DISK, RIG_NONE);
	rig.u[0]->is_slow = true;
	prd(0, DATA, 512, true);
	bm_start(TABLE);
	command(0xc8, 0, 1);
	settle();
	bmdma_revoke(rig.bm);
	assert_int_equal(bm_status(), 2);
	fake_unit_go(rig.u[0]);
	settle();
	assert_int_equal(in(R_STATUS), 0x51);
	rig_end();
}

RIG_TEST(registers)
RIG_TEST(transfer)
RIG_TEST(int_comes_after_the_data)
RIG_TEST(longer_table)
RIG_TEST(shorter_table)
RIG_TEST(device_error)
RIG_TEST(bad_memory)
RIG_TEST(cve_2014_9718)
RIG_TEST(table_over_a_page)
RIG_TEST(zero_counts_64k)
RIG_TEST(cve_2019_20175)
RIG_TEST(stopped_in_flight)
RIG_TEST(cve_2020_25743)
RIG_TEST(packets_by_dma)
RIG_TEST(two_devices)
RIG_TEST(revoked)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(registers),
		cmocka_unit_test(transfer),
		cmocka_unit_test(int_comes_after_the_data),
		cmocka_unit_test(longer_table),
		cmocka_unit_test(shorter_table),
		cmocka_unit_test(device_error),
		cmocka_unit_test(bad_memory),
		cmocka_unit_test(cve_2014_9718),
		cmocka_unit_test(table_over_a_page),
		cmocka_unit_test(zero_counts_64k),
		cmocka_unit_test(cve_2019_20175),
		cmocka_unit_test(stopped_in_flight),
		cmocka_unit_test(cve_2020_25743),
		cmocka_unit_test(packets_by_dma),
		cmocka_unit_test(two_devices),
		cmocka_unit_test(revoked),
	};

	return RUN_LOOP_TESTS(tests);
}
