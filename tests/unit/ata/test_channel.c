/* The task file of a parallel channel: registers, windows, interrupts (ata.md 1, 2.1 to 2.5). */
#include "rig.h"

static void at_power_on_co(void *arg)
{
	(void)arg;
	rig_begin(RIG_DISK, RIG_PACKET);
	assert_int_equal(in(R_STATUS), 0x50);
	assert_int_equal(in(R_ERROR), 1);
	assert_int_equal(in(R_COUNT), 1);
	assert_int_equal(in(R_LBAL), 1);
	assert_int_equal(in(R_LBAM), 0);
	assert_int_equal(in(R_LBAH), 0);
	assert_int_equal(in(R_DEVICE), 0xa0);
	out(R_DEVICE, 0x10); /* GRUB leaves the obsolete ones out */
	assert_int_equal(in(R_DEVICE), 0xb0);
	assert_int_equal(in(R_STATUS), 0);
	assert_int_equal(in(R_LBAM), 0x14);
	assert_int_equal(in(R_LBAH), 0xeb);
	rig_end();
}

static void absent_co(void *arg)
{
	(void)arg;
	rig_begin(RIG_DISK, RIG_NONE);
	out(R_DEVICE, 0xb0);
	assert_int_equal(in(R_STATUS), 0);
	assert_int_equal(alt(), 0);
	assert_int_equal(in(R_LBAM), 0xff);
	assert_int_equal(in(R_LBAH), 0xff);
	out(R_COUNT, 0x55);
	out(R_LBAL, 0xaa);
	assert_int_equal(in(R_COUNT), 0x55); /* latched: firmware tests it like that */
	assert_int_equal(in(R_LBAL), 0xaa);
	assert_int_equal(in(R_DEVICE), 0xb0);
	for (unsigned op = 0; op < 256; op++) {
		if (op != ATA_OP_DIAGNOSTIC)
			out(R_STATUS, op);
		assert_int_equal(in(R_STATUS), 0);
	}
	assert_int_equal(rig.edges, 0);
	assert_int_equal(rig.u[0]->executed, 0);
	rig_end();
	rig_begin(RIG_NONE, RIG_NONE);
	for (unsigned reg = 0; reg < 8; reg++) {
		out(reg, 0);
		assert_int_equal(in(reg), 0xff);
	}
	control(SRST);
	control(0);
	assert_int_equal(alt(), 0xff);
	rig_end();
}

static void widths_co(void *arg)
{
	(void)arg;
	rig_begin(RIG_DISK, RIG_NONE);
	out(R_COUNT, 0x12);
	for (unsigned reg = 1; reg < 10; reg++) {
		assert_int_equal(ata_channel_read(rig.ch, reg, 2), UINT32_MAX);
		assert_int_equal(ata_channel_read(rig.ch, reg, 4), UINT32_MAX);
		ata_channel_write(rig.ch, reg, 0, 2);
		ata_channel_write(rig.ch, reg, 0, 4);
	}
	assert_int_equal(ata_channel_read(rig.ch, 0, 8), UINT32_MAX);
	assert_int_equal(in(R_COUNT), 0x12);
	rig_end();
}

static void high_halves_co(void *arg)
{
	(void)arg;
	rig_begin(RIG_DISK, RIG_NONE);
	out(R_ERROR, 1);
	out(R_ERROR, 2);
	for (unsigned reg = R_COUNT; reg <= R_LBAH; reg++) {
		out(reg, 0x10 * reg);
		out(reg, reg);
	}
	control(HOB);
	assert_int_equal(in(R_COUNT), 0x20);
	assert_int_equal(in(R_LBAH), 0x50);
	out(R_DEVICE, 0x40); /* any write to the block ends HOB */
	assert_int_equal(in(R_COUNT), 2);
	out(R_STATUS, 0x40);
	settle();
	assert_int_equal(rig.u[0]->last_tf.feature, 0x0102);
	assert_int_equal(rig.u[0]->last_tf.count, 0x2002);
	assert_true(rig.u[0]->last_tf.lba == 0x504030050403);
	assert_int_equal(rig.u[0]->last_tf.device, 0xe0);
	control(HOB); /* and both come back */
	assert_int_equal(in(R_LBAL), 0x30);
	control(0);
	assert_int_equal(in(R_LBAL), 0x03);
	rig_end();
}

static void both_receive_co(void *arg)
{
	(void)arg;
	rig_begin(RIG_DISK, RIG_DISK);
	out(R_COUNT, 7);
	out(R_DEVICE, 0x51);
	assert_int_equal(in(R_COUNT), 7);
	assert_int_equal(in(R_DEVICE), 0xf1);
	out(R_STATUS, 0x40);
	settle();
	assert_int_equal(rig.u[0]->executed, 0);
	assert_int_equal(rig.u[1]->executed, 1);
	rig_end();
}

static void non_data_co(void *arg)
{
	(void)arg;
	rig_begin(RIG_DISK, RIG_NONE);
	rig.u[0]->is_slow = true;
	command(0x40, 0, 1);
	assert_int_equal(alt(), 0x80);
	assert_false(rig.level);
	out(R_COUNT, 9); /* a busy device takes nothing */
	out(R_STATUS, 0x40);
	fake_unit_go(rig.u[0]);
	settle();
	assert_int_equal(rig.u[0]->executed, 1);
	assert_int_equal(in(R_COUNT), 1);
	assert_int_equal(alt(), 0x50);
	assert_true(rig.level);
	assert_int_equal(bm_status(), 4); /* of any command */
	assert_int_equal(in(R_STATUS), 0x50);
	assert_false(rig.level);
	assert_int_equal(bm_status(), 4); /* a latch */
	rig.u[0]->is_slow = false;
	rig.u[0]->fails = true;
	command(0x40, 0, 1);
	settle();
	assert_int_equal(in(R_STATUS), 0x51);
	assert_int_equal(in(R_ERROR), ATA_UNC);
	rig_end();
}

static void nien_gates_co(void *arg)
{
	(void)arg;
	rig_begin(RIG_DISK, RIG_NONE);
	control(NIEN);
	command(0x40, 0, 1);
	settle();
	assert_false(rig.level);
	assert_int_equal(bm_status(), 0);
	control(0); /* still pending: nobody read STATUS */
	assert_true(rig.level);
	control(NIEN);
	assert_false(rig.level);
	in(R_STATUS);
	control(0);
	assert_false(rig.level);
	rig_end();
}

static void pio_in_co(void *arg)
{
	static const unsigned widths[] = {2, 4};
	uint8_t b[ATA_SECTOR];

	(void)arg;
	rig_begin(RIG_DISK, RIG_NONE);
	for (unsigned w = 0; w < 2; w++) {
		command(0x20, 3, 2);
		settle();
		for (unsigned i = 0; i < 2; i++) {
			assert_true(rig.level); /* each block */
			assert_int_equal(in(R_STATUS), 0x58);
			assert_false(rig.level);
			ata_channel_write(rig.ch, R_DATA, 0xffff, 2); /* the wrong way */
			read_block(b, sizeof(b), widths[w]);
			assert_memory_equal(b, rig.u[0]->media + (size_t)(3 + i) * ATA_SECTOR,
					    sizeof(b));
			assert_int_equal(alt() & (ATA_BSY | ATA_DRQ), ATA_BSY);
			settle();
		}
		assert_false(rig.level); /* no interrupt after the last */
		assert_int_equal(in(R_STATUS), 0x50);
		assert_int_equal(ata_channel_read(rig.ch, R_DATA, 2), 0);
	}
	command(0x20, 0, 1); /* by bytes: each takes a word */
	settle();
	for (unsigned i = 0; i < ATA_SECTOR / 2; i++)
		assert_int_equal(in(R_DATA), rig.u[0]->media[(size_t)2 * i]);
	settle();
	assert_int_equal(in(R_STATUS), 0x50);
	rig.u[0]->fails = true;
	command(0x20, 0, 1);
	settle();
	assert_true(rig.level);
	assert_int_equal(in(R_STATUS), 0x51);
	rig_end();
}

static void pio_out_co(void *arg)
{
	uint8_t b[2 * ATA_SECTOR];

	(void)arg;
	rig_begin(RIG_DISK, RIG_NONE);
	for (size_t i = 0; i < sizeof(b); i++)
		b[i] = (uint8_t)(i * 3 + i / 256);
	command(0x30, 5, 2);
	settle();
	assert_int_equal(alt(), 0x58);
	assert_false(rig.level); /* not the first */
	assert_int_equal(ata_channel_read(rig.ch, R_DATA, 4), 0);
	write_block(b, ATA_SECTOR, 2);
	settle();
	assert_true(rig.level);
	assert_int_equal(in(R_STATUS), 0x58);
	write_block(b + ATA_SECTOR, ATA_SECTOR, 4);
	write_block(b, ATA_SECTOR, 2); /* too much: nobody's */
	settle();
	assert_true(rig.level);
	assert_int_equal(in(R_STATUS), 0x50);
	assert_memory_equal(rig.u[0]->media + (size_t)5 * ATA_SECTOR, b, sizeof(b));
	rig_end();
}

static void packet_pio_co(void *arg)
{
	uint8_t b[4096], odd[8];

	(void)arg;
	rig_begin(RIG_PACKET, RIG_NONE);
	packet(0xa8, 1, 2, 0);
	assert_true(rig.level);
	assert_int_equal(in(R_STATUS), 0x58);
	assert_int_equal(in(R_COUNT), ATA_REASON_IN);
	assert_int_equal(in(R_LBAM) | in(R_LBAH) << 8, 4096);
	read_block(b, sizeof(b), 4);
	settle();
	assert_memory_equal(b, rig.u[0]->media + 2048, sizeof(b));
	assert_true(rig.level); /* and once more at the end */
	assert_int_equal(in(R_STATUS), 0x50);
	assert_int_equal(in(R_COUNT), ATA_REASON_DONE);
	packet(0xaa, 3, 1, 0);
	assert_true(rig.level); /* also the first block */
	assert_int_equal(in(R_STATUS), 0x58);
	assert_int_equal(in(R_COUNT), ATA_REASON_OUT);
	write_block(b, 2048, 2);
	settle();
	assert_int_equal(in(R_STATUS), 0x50);
	assert_memory_equal(rig.u[0]->media + (size_t)3 * 2048, b, 2048);
	packet(0x12, 0, 0, 0); /* five bytes: a pad of 0, the rest is nobody's */
	memset(odd, 0xff, sizeof(odd));
	assert_int_equal(ata_channel_read_data(rig.ch, odd, sizeof(odd)), 5);
	assert_memory_equal(odd, rig.u[0]->media, 5);
	assert_int_equal(odd[5] | odd[6] | odd[7], 0);
	settle();
	assert_int_equal(in(R_STATUS), 0x50);
	rig_end();
}

/* CVE-2015-5154: nothing moves behind the end of a block or of a packet. */
static void cve_2015_5154_co(void *arg)
{
	uint8_t b[16];

	(void)arg;
	rig_begin(RIG_PACKET, RIG_NONE);
	packet(0, 0, 0, 0);
	assert_int_equal(in(R_STATUS), 0x50);
	for (unsigned width = 1; width <= 4; width *= 2) {
		for (unsigned i = 0; i < 70000; i++) {
			ata_channel_write(rig.ch, R_DATA, 0xffffffff, width);
			assert_int_equal(ata_channel_read(rig.ch, R_DATA, width), 0);
		}
	}
	assert_int_equal(alt(), 0x50);
	out(R_STATUS, ATA_OP_PACKET); /* a thirteenth byte */
	settle();
	memset(b, 0, sizeof(b));
	assert_int_equal(ata_channel_write_data(rig.ch, b, 16), 12);
	assert_int_equal(ata_channel_write_data(rig.ch, b, 16), 0);
	settle();
	assert_int_equal(alt(), 0x50);
	packet(0x12, 0, 0, 0); /* 4 bytes where 1 is left */
	assert_int_equal(ata_channel_read(rig.ch, R_DATA, 4), get_le32(rig.u[0]->media));
	assert_int_equal(ata_channel_read(rig.ch, R_DATA, 4), rig.u[0]->media[4]);
	assert_int_equal(alt() & ATA_DRQ, 0);
	settle();
	assert_int_equal(alt(), 0x50);
	rig_end();
}

static void other_device_in_a_block_co(void *arg)
{
	uint8_t b[ATA_SECTOR], c[ATA_SECTOR];

	(void)arg;
	rig_begin(RIG_DISK, RIG_DISK);
	command(0x20, 1, 1);
	settle();
	read_block(b, 100, 2);
	out(R_DEVICE, 0x10);
	assert_false(rig.level); /* of the selected one */
	assert_int_equal(ata_channel_read(rig.ch, R_DATA, 2), 0);
	command(0x20, 2, 1);
	settle();
	read_block(c, ATA_SECTOR, 2);
	settle();
	assert_memory_equal(c, rig.u[1]->media + 2 * ATA_SECTOR, ATA_SECTOR);
	out(R_DEVICE, 0);
	assert_int_equal(alt(), 0x58);
	assert_true(rig.level);
	read_block(b + 100, ATA_SECTOR - 100, 2);
	settle();
	assert_memory_equal(b, rig.u[0]->media + ATA_SECTOR, ATA_SECTOR);
	rig_end();
}

static void saved_co(void *arg)
{
	uint8_t s[ATA_CHANNEL_STATE], m[BMDMA_STATE], junk[ATA_CHANNEL_STATE];

	(void)arg;
	rig_begin(RIG_DISK, RIG_PACKET);
	out(R_COUNT, 1);
	out(R_COUNT, 2);
	command(0x40, 0x123456, 3);
	settle();
	assert_true(rig.level);
	assert_true(ata_channel_save(rig.ch, s));
	bmdma_save(rig.bm, m);
	command(0x20, 0, 1);
	settle();
	assert_false(ata_channel_save(rig.ch, junk)); /* in a block */
	rig_end();
	rig_begin(RIG_DISK, RIG_PACKET);
	ata_channel_restore(rig.ch, s);
	bmdma_restore(rig.bm, m);
	assert_true(rig.level);
	assert_int_equal(bm_status(), 4);
	assert_int_equal(in(R_COUNT), 3);
	assert_int_equal(in(R_LBAH), 0x12);
	assert_int_equal(in(R_STATUS), 0x50);
	memset(junk, 0xff, sizeof(junk));
	ata_channel_restore(rig.ch, junk); /* in a reset, then */
	assert_int_equal(alt(), 0x80);
	control(0);
	assert_int_equal(alt(), 0x50);
	command(0x40, 0, 1);
	settle();
	assert_int_equal(alt(), 0x50);
	rig_end();
}

RIG_TEST(at_power_on)
RIG_TEST(absent)
RIG_TEST(widths)
RIG_TEST(high_halves)
RIG_TEST(both_receive)
RIG_TEST(non_data)
RIG_TEST(nien_gates)
RIG_TEST(pio_in)
RIG_TEST(pio_out)
RIG_TEST(packet_pio)
RIG_TEST(cve_2015_5154)
RIG_TEST(other_device_in_a_block)
RIG_TEST(saved)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(at_power_on),   cmocka_unit_test(absent),
		cmocka_unit_test(widths),        cmocka_unit_test(high_halves),
		cmocka_unit_test(both_receive),  cmocka_unit_test(non_data),
		cmocka_unit_test(nien_gates),    cmocka_unit_test(pio_in),
		cmocka_unit_test(pio_out),       cmocka_unit_test(packet_pio),
		cmocka_unit_test(cve_2015_5154), cmocka_unit_test(other_device_in_a_block),
		cmocka_unit_test(saved),
	};

	return RUN_LOOP_TESTS(tests);
}
