/*
 * Random walks over the whole controller with real units: any register, any memory, at any time.
 * What must always hold (ata.md 2.13) is looked at after each access; the walk's number is the
 * seed.
 */
#include "ide_rig.h"

enum { WALKS = 60, STEPS = 600 };

static uint64_t seed;

static unsigned rnd(unsigned n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (unsigned)(seed >> 33) % n;
}

static void check(struct ide_rig *r, unsigned walk)
{
	uint8_t s = ide_alt(r, 0);

	if ((s & 0x80 && s & 0x08) || (s & 0x01 && (s & 0x88 || !(s & 0x40))) || s & 0x06)
		fail_msg("walk %u: status %02x", walk, s);
}

static void command(struct ide_rig *r)
{
	static const uint8_t usual[] = {0x20, 0x24, 0x30, 0xc4, 0xc6, 0xc8, 0xca, 0x25, 0x35,
					0xa0, 0xa0, 0xa0, 0xa1, 0xec, 0x08, 0x90, 0x06, 0xb0};
	unsigned op = rnd(4) ? usual[rnd(sizeof(usual))] : rnd(256);

	ide_out(r, 0, ERROR, rnd(4) ? rnd(2) : rnd(256));
	ide_command(r, 0, rnd(2), op, rnd(3) ? rnd(DISK_SECTORS + 2) : rnd(1 << 28), rnd(20));
}

static void send_packet(struct ide_rig *r)
{
	static const uint8_t usual[] = {0x00, 0x03, 0x12, 0x1e, 0x28, 0x2a, 0x46, 0x4a, 0x51, 0x5a};

	bar_write(&r->h, 0, DATA, rnd(4) ? usual[rnd(sizeof(usual))] : rnd(65536), 2);
	for (unsigned i = 0; i < 5; i++)
		bar_write(&r->h, 0, DATA, rnd(3) ? 0 : rnd(65536), 2);
}

static void move_data(struct ide_rig *r)
{
	unsigned width = 1u << rnd(4), n = rnd(300);
	bool writes = rnd(2);

	for (unsigned i = 0; i < n; i++) {
		if (writes)
			bar_write(&r->h, 0, DATA, rnd(65536), width);
		else
			bar_read(&r->h, 0, DATA, width);
	}
}

static void bus_master(struct ide_rig *r)
{
	static const uint32_t places[] = {BUF_AT, TABLE_AT, ROM_AT, FAR_AT, 0, 0xfffffffe};

	switch (rnd(4)) {
	case 0: ide_start(r, 0, rnd(4) ? TABLE_AT : places[rnd(6)]); break;
	case 1: ide_stop_dma(r, 0); break;
	case 2: bar_write(&r->h, BM, rnd(8), rnd(65536), 1); break;
	default: ide_prd(r, rnd(6), places[rnd(3) ? 0 : rnd(6)], rnd(5000), rnd(2)); break;
	}
}

static void step(struct ide_rig *r)
{
	switch (rnd(12)) {
	case 0: bar_write(&r->h, 1, CONTROL, rnd(4) ? 0 : rnd(256), 1); break;
	case 1: bar_write(&r->h, rnd(5), rnd(4), rnd(65536), 1); break;
	case 2: ide_in(r, 0, rnd(8)); break;
	case 3:
	case 4:
	case 5: command(r); break;
	case 6: send_packet(r); break;
	case 7: move_data(r); break;
	case 8: ide_in(r, 0, STATUS); break;
	default: bus_master(r); break;
	}
}

static void walk_co(void *arg)
{
	struct ide_rig r;

	(void)arg;
	for (unsigned w = 0; w < WALKS; w++) {
		seed = w;
		ide_begin(&r, 2, "driver=ide");
		for (unsigned i = 0; i < STEPS; i++) {
			step(&r);
			check(&r, w);
		}
		bar_write(&r.h, 1, CONTROL, SRST, 1);
		bar_write(&r.h, 1, CONTROL, 0, 1);
		assert_int_equal(ide_wait(&r, 0), 0x50); /* it comes back from anywhere */
		ide_stop_dma(&r, 0);
		ide_prd(&r, 0, BUF_AT, SECTOR, true);
		ide_command(&r, 0, 0, 0xc8, 1, 1);
		ide_start(&r, 0, TABLE_AT);
		assert_int_equal(ide_wait(&r, 0), 0x50);
		ide_end(&r);
	}
}

static void walk(void **state)
{
	(void)state;
	run_in_loop(walk_co, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(walk),
	};

	return RUN_LOOP_TESTS(tests);
}
