/*
 * Random walks: bounded traffic of every kind, with what must always hold (ata.md 2.13) looked at
 * after each access. The walk's number is the seed; a failure names it.
 */
#include "rig.h"

enum { WALKS = 400, STEPS = 1500 };

static uint64_t seed;

static unsigned rnd(unsigned n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(seed >> 33) % n;
}

static void check(unsigned walk)
{
	uint8_t s = alt();
	bool empty = !rig.u[0] && !rig.u[1];

	if (empty) {
		assert_int_equal(s, 0xff);
		assert_false(rig.level);
		return;
	}
	if ((s & ATA_BSY && s & ATA_DRQ) ||                                  /* I3 */
	    (s & ATA_ERR && (s & (ATA_BSY | ATA_DRQ) || !(s & ATA_DRDY))) || /* I7 */
	    s & 0x06)
		fail_msg("walk %u: status %02x", walk, s);
	for (unsigned i = 0; i < 2; i++) {
		if (rig.u[i] && rig.u[i]->in_io > 1)
			fail_msg("walk %u: two commands at a time", walk);
	}
	if (rig.busy && rig.begins != rig.ends + 1)
		fail_msg("walk %u: memory was not let go of", walk);
}

static void data_access(void)
{
	uint8_t b[ATA_SECTOR] = {0}, was = alt();
	bool writes = rnd(2), many = rnd(2);
	size_t n = 0;

	if (many && writes)
		n = ata_channel_write_data(rig.ch, b, rnd(sizeof(b)));
	else if (many)
		n = ata_channel_read_data(rig.ch, b, rnd(sizeof(b)));
	else if (writes)
		ata_channel_write(rig.ch, R_DATA, rnd(65536), 1u << rnd(4));
	else
		ata_channel_read(rig.ch, R_DATA, 1u << rnd(4));
	if (n && !(was & ATA_DRQ))
		fail_msg("data moved without DRQ"); /* I1 */
}

static void load_registers(void)
{
	static const uint8_t ops[] = {0x20, 0x30, 0x40, 0xc8, 0xca, 0xa0, 0xa0, 0x08, 0x90, 0xff};

	out(R_ERROR, rnd(2));
	out(R_COUNT, rnd(6));
	out(R_LBAL, rnd(70));
	out(R_DEVICE, rnd(2) << 4);
	out(R_STATUS, ops[rnd(sizeof(ops))]);
}

static void send_packet(void)
{
	static const uint8_t ops[] = {0xa8, 0xaa, 0x12, 0};
	uint8_t cdb[ATA_CDB_LEN] = {ops[rnd(4)],      0, 0, 0, 0,
				    (uint8_t)rnd(17), 0, 0, 0, (uint8_t)rnd(4)};

	ata_channel_write_data(rig.ch, cdb, sizeof(cdb));
}

static void bus_master(void)
{
	static const uint32_t tables[] = {TABLE, TABLE + 4, MEM_AT + MEM_LEN - 8, 0xfffffffc};

	switch (rnd(4)) {
	case 0: bm_start(tables[rnd(4)]); break;
	case 1: bm_stop(); break;
	case 2: bmdma_write(rig.bm, rnd(8), rnd(256), 1); break;
	default: prd(rnd(8), DATA + rnd(0x18000), rnd(4096), rnd(3) == 0); break;
	}
}

static void step(void)
{
	unsigned i = rnd(2);

	switch (rnd(24)) {
	case 0: control(rnd(256) & (rnd(4) ? 0x82 : 0xff)); break;
	case 1: in(rnd(9)); break;
	case 2: out(rnd(9), rnd(256)); break;
	case 3:
	case 4:
	case 5: load_registers(); break;
	case 6:
	case 7: send_packet(); break;
	case 8:
	case 9:
	case 10: bus_master(); break;
	case 11:
		if (rig.u[i])
			rig.u[i]->is_slow = rnd(2);
		break;
	case 12:
		if (rig.u[i])
			rig.u[i]->fails = !rnd(4);
		break;
	case 13:
	case 14:
	case 15:
		if (rig.u[i])
			fake_unit_go(rig.u[i]);
		break;
	case 16:
		if (!rnd(8))
			bmdma_reset(rig.bm);
		else if (!rnd(8))
			bmdma_revoke(rig.bm);
		break;
	default: data_access(); break;
	}
}

static void walk_co(void *arg)
{
	(void)arg;
	for (unsigned w = 0; w < WALKS; w++) {
		seed = w;
		rig_begin(rnd(3), rnd(3));
		for (unsigned i = 0; i < STEPS; i++) {
			step();
			check(w);
			if (!rnd(3))
				settle();
			check(w);
		}
		/* After all of that a reset brings it back. */
		for (unsigned i = 0; i < 2; i++) {
			if (rig.u[i]) {
				rig.u[i]->is_slow = rig.u[i]->fails = false;
				fake_unit_go(rig.u[i]);
			}
		}
		control(SRST);
		control(0);
		settle();
		if (rig.u[0]) {
			assert_int_equal(alt(), rig.u[0]->is_packet ? 0 : 0x50);
			command(0x40, 0, 1);
			settle();
			assert_int_equal(in(R_STATUS), 0x50);
		}
		rig_end();
	}
}

RIG_TEST(walk)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(walk),
	};

	return RUN_LOOP_TESTS(tests);
}
