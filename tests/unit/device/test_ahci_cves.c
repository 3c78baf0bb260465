/* AHCI and hostile guests: one test a row of ata.md 7 that concerns it, and memory of every kind.
 */
#include "ahci_rig.h"

#include <pthread.h>
#include <stdlib.h>

static const struct rig_cmd identify = {.op = 0xec, .bytes = 512};
static const struct rig_cmd flush = {.op = 0xe7};
static const struct rig_cmd read_8 = {
	.op = 0x25, .device = 0x40, .count = 8, .lba = 64, .bytes = 4096};

static void still_works(struct ahci_rig *r, unsigned port)
{
	rig_stop(r, port);
	rig_comreset(r, port);
	rig_start_port(r, port);
	assert_int_equal(rig_run(r, port, &identify) & (PSS | TFES), PSS);
}

/* A PRD entry, the table, the list, the FISes: in holes, ROM, the own BAR, at both ends of memory.
 */
static void bad_memory_co(void *arg)
{
	enum { ABAR_AT = 0xfe000000, END = GUEST_AT + GUEST_LEN };
	static const uint64_t bad[] = {0,
				       0x1000,
				       ABAR_AT,
				       ABAR_AT + 0x138,
				       ROM_AT,
				       UINT32_MAX - 0xfff,
				       UINT64_C(0x100000000),
				       UINT64_MAX - 0xfff,
				       END - 0x80,
				       END};
	struct ahci_rig r;
	uint8_t rom[ROM_LEN];

	(void)arg;
	rig_begin(&r, "h", "driver=ahci");
	cfg_write(&r.h, 0x24, ABAR_AT, 4);
	memcpy(rom, r.h.guest + 0x1000, sizeof(rom));
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		struct rig_cmd c = read_8;

		rig_fill(&r, 0, 0, &c); /* a PRD entry */
		rig_prd(&r, 0, 0, 0, bad[i], 4096, false);
		rig_issue(&r, 0, 1, false);
		assert_int_equal(rig_wait(&r, 0) & (HBFS | DHRS), HBFS);
		assert_int_equal(prg(&r, 0, P_CI), 1);
		still_works(&r, 0);
		rig_fill(&r, 0, 0, &c); /* the table */
		put_le64(header(&r, 0, 0) + 8, bad[i]);
		rig_issue(&r, 0, 1, false);
		assert_true(rig_wait(&r, 0) & (HBFS | IFS | TFES | DHRS | PSS));
		still_works(&r, 0);
		rig_fill(&r, 0, 0, &flush); /* the FISes */
		pwr(&r, 0, P_FB, (uint32_t)bad[i]);
		pwr(&r, 0, P_FBU, (uint32_t)(bad[i] >> 32));
		rig_issue(&r, 0, 1, false);
		rig_wait(&r, 0);
		pwr(&r, 0, P_FBU, 0);
		still_works(&r, 0);
		pwr(&r, 0, P_CLB, (uint32_t)bad[i]); /* the list */
		pwr(&r, 0, P_CLBU, (uint32_t)(bad[i] >> 32));
		rig_issue(&r, 0, 1u << 31, false);
		rig_wait(&r, 0);
		pwr(&r, 0, P_CLBU, 0);
		still_works(&r, 0);
	}
	assert_memory_equal(rom, r.h.guest + 0x1000, sizeof(rom)); /* read only it is */
	rig_end(&r);
}
RIG_TEST(bad_memory)

/* "fuzz find": a list of zeros with an opcode, and tables of every length. */
static void prdt_garbage_co(void *arg)
{
	struct ahci_rig r;

	(void)arg;
	rig_begin(&r, "hc", "driver=ahci");
	for (unsigned port = 0; port < 2; port++) {
		for (unsigned op = 0; op < 256; op++) {
			struct rig_cmd c = {.op = (uint8_t)op};
			uint32_t is;

			rig_fill(&r, port, 0, &c);
			rig_issue(&r, port, 1, op == 0x60 || op == 0x61);
			WAIT_UNTIL(!(prg(&r, port, P_CI) | prg(&r, port, P_SACT)) ||
				   prg(&r, port, P_IS) & (TFES | HBFS));
			is = prg(&r, port, P_IS);
			if (is & TFES) /* an error is one in all places */
				assert_int_equal(prg(&r, port, P_TFD) & 0x89, 1);
			rig_restart(&r, port);
		}
	}
	for (unsigned n = 0; n <= 0xffff; n += n < 64 ? 1 : 8191) {
		rig_fill(&r, 0, 0, &read_8);
		put_le16(header(&r, 0, 0) + 2, (uint16_t)n); /* whatever lies behind the table */
		rig_issue(&r, 0, 1, false);
		rig_wait(&r, 0);
		rig_restart(&r, 0);
	}
	still_works(&r, 0);
	rig_end(&r);
}
RIG_TEST(prdt_garbage)

/* 65535 entries of 2 bytes in a ring over the guest's memory: bounded work, and an answer. */
static void longest_table_co(void *arg)
{
	struct rig_cmd c = read_8;
	struct ahci_rig r;

	(void)arg;
	rig_begin(&r, "h", "driver=ahci");
	rig_fill(&r, 0, 0, &c);
	put_le16(header(&r, 0, 0) + 2, 0xffff);
	put_le32(header(&r, 0, 0) + 8, DATA_AT);
	memcpy(at(&r, DATA_AT), table(&r, 0, 0), 0x80);
	for (unsigned i = 0; i < 10000; i++) {
		uint8_t *p = at(&r, DATA_AT + 0x80 + 16 * i);

		put_le64(p, GUEST_AT + 0x3f000 + 2 * (i % 1024));
		put_le64(p + 8, UINT64_C(1) << 32);
	}
	rig_issue(&r, 0, 1, false);
	assert_int_equal(rig_wait(&r, 0), DHRS); /* 2048 of them were needed */
	c.count = 0; /* 65536 sectors: more entries than a list may have */
	rig_fill(&r, 0, 0, &c);
	memcpy(at(&r, DATA_AT), table(&r, 0, 0), 0x80);
	at(&r, DATA_AT)[4] = 0;
	at(&r, DATA_AT)[12] = 0;
	at(&r, DATA_AT)[13] = 0x10; /* 4096 sectors */
	put_le16(header(&r, 0, 0) + 2, 0xffff);
	put_le32(header(&r, 0, 0) + 8, DATA_AT);
	rig_issue(&r, 0, 1, false);
	assert_true(rig_wait(&r, 0) & (TFES | HBFS));
	still_works(&r, 0);
	rig_end(&r);
}
RIG_TEST(longest_table)

/* Tables shorter than the data: never a process that ends (CVE-2019-20175), never data elsewhere.
 */
static void short_table_co(void *arg)
{
	static const unsigned lengths[] = {1, 2, 511, 512, 513, 1024, 4095};
	static const struct rig_cmd inquiry = {
		.op = 0xa0,
		.feature = 1,
		.bytes = 10,
		.cdb = (const uint8_t *)"\x12\0\0\0\x24\0\0\0\0\0\0"};
	struct ahci_rig r;

	(void)arg;
	rig_begin(&r, "hc", "driver=ahci");
	for (unsigned i = 0; i < G_N_ELEMENTS(lengths); i++) {
		struct rig_cmd c = read_8;
		uint32_t is;

		memset(at(&r, DATA_AT), 0xcc, 8192);
		c.bytes = lengths[i];
		is = rig_run(&r, 0, &c);
		assert_int_equal(is & OFS, OFS);
		assert_int_equal(is & (DHRS | TFES), DHRS);
		assert_int_equal(get_le32(header(&r, 0, 0) + 4), lengths[i] / 512 * 512);
		assert_int_equal(at(&r, DATA_AT)[lengths[i]], 0xcc);
		c.op = 0x35;
		c.write = true;
		assert_int_equal(rig_run(&r, 0, &c) & (OFS | TFES), OFS | TFES);
		rig_restart(&r, 0);
	}
	memset(at(&r, DATA_AT), 0xcc, 64);
	assert_int_equal(rig_run(&r, 1, &inquiry) & (DHRS | TFES), DHRS); /* what has room */
	assert_int_equal(at(&r, DATA_AT)[10], 0xcc);
	assert_int_equal(get_le32(header(&r, 1, 0) + 4), 10);
	rig_end(&r);
}
RIG_TEST(short_table)

/* FIS types, lengths and port multiplier ports that there are not: the port halts, and recovers. */
static void bad_fis_co(void *arg)
{
	struct ahci_rig r;

	(void)arg;
	rig_begin(&r, "h", "driver=ahci");
	for (unsigned what = 0; what < 6; what++) {
		rig_fill(&r, 0, 0, &flush);
		switch (what) {
		case 0: table(&r, 0, 0)[0] = 0x34; break;
		case 1: table(&r, 0, 0)[1] |= 1; break;
		case 2: header(&r, 0, 0)[0] = 0; break;
		case 3: header(&r, 0, 0)[0] = 4; break;
		case 4: header(&r, 0, 0)[0] = 0x1f; break;
		case 5: header(&r, 0, 0)[1] |= 0x10; break;
		}
		rig_issue(&r, 0, 1, false);
		assert_int_equal(rig_wait(&r, 0), IFS);
		assert_int_equal(prg(&r, 0, P_CI), 1);
		still_works(&r, 0);
	}
	rig_end(&r);
}
RIG_TEST(bad_fis)

/* Slots that are filled anew while they are in flight: what was fetched counts. */
static void rewritten_co(void *arg)
{
	struct ahci_rig r;

	(void)arg;
	rig_begin(&r, "h", "driver=ahci");
	rig_slow(&r, 0, FAULT_READ, 30);
	rig_fill(&r, 0, 0, &read_8);
	rig_issue(&r, 0, 1, false);
	memset(header(&r, 0, 0), 0xff, 32);
	memset(table(&r, 0, 0), 0xff, TABLE_LEN);
	assert_int_equal(rig_wait(&r, 0), DHRS);
	assert_int_equal(get_le32(at(&r, DATA_AT)), 64);
	/* A queued slot is issued again while its tag is out. */
	for (unsigned i = 0; i < 4; i++) {
		rig_queued(&r, 0, 0, false, i, 1, DATA_AT + 512 * i);
		rig_issue(&r, 0, 1, true);
	}
	WAIT_UNTIL(!(prg(&r, 0, P_CI) | prg(&r, 0, P_SACT)) || prg(&r, 0, P_IS) & TFES);
	still_works(&r, 0);
	rig_end(&r);
}
RIG_TEST(rewritten)

struct flipper {
	uint8_t *header, *table;
	int stop;
};

static void *flip(void *arg)
{
	struct flipper *f = arg;
	volatile uint8_t *h = f->header, *t = f->table;

	for (unsigned i = 0; !__atomic_load_n(&f->stop, __ATOMIC_RELAXED); i++) {
		t[2] = i & 1 ? 0x25 : 0xa0;
		h[0] = i & 2 ? CFL5 : CFL5 | ATAPI | WRITE;
		h[2] = (uint8_t)(i & 4 ? 1 : 255);
		t[0x80 + 14] = (uint8_t)i;
		t[0] = i & 8 ? 0x27 : 0;
	}
	return NULL;
}

/* Double fetch: another processor changes opcode, flags and lengths all the time. */
static void double_fetch_co(void *arg)
{
	struct ahci_rig r;
	struct flipper f = {0};
	pthread_t thread;

	(void)arg;
	rig_begin(&r, "hc", "driver=ahci");
	for (unsigned port = 0; port < 2; port++) {
		rig_fill(&r, port, 0, &read_8);
		f = (struct flipper){header(&r, port, 0), table(&r, port, 0), 0};
		assert_int_equal(pthread_create(&thread, NULL, flip, &f), 0);
		for (unsigned i = 0; i < 300; i++) {
			rig_issue(&r, port, 1, false);
			rig_wait(&r, port);
			rig_restart(&r, port);
		}
		__atomic_store_n(&f.stop, 1, __ATOMIC_RELAXED);
		pthread_join(thread, NULL);
		still_works(&r, 0);
	}
	rig_end(&r);
}
RIG_TEST(double_fetch)

/* Packet commands with lengths at their extremes, both ways of transfer, and tables of any size. */
static void packet_extremes_co(void *arg)
{
	static const uint8_t ops[] = {0x03, 0x12, 0x1a, 0x25, 0x28, 0x2a, 0x43, 0x46, 0x4a, 0x51,
				      0x52, 0x55, 0x5a, 0x5c, 0xa8, 0xad, 0xb9, 0xbe, 0xbf};
	struct ahci_rig r;

	(void)arg;
	rig_begin(&r, "c", "driver=ahci");
	for (unsigned i = 0; i < G_N_ELEMENTS(ops) * 24; i++) {
		uint8_t cdb[12];
		struct rig_cmd c = {.op = 0xa0, .cdb = cdb};

		memset(cdb, i / 4 % 3 == 0 ? 0 : i / 4 % 3 == 1 ? 0xff : 0x01, sizeof(cdb));
		cdb[0] = ops[i / 24];
		c.feature = i & 1;
		c.lba = (uint64_t)(i & 2 ? 0xffff : i & 4 ? 1 : 0) << 8;
		c.bytes = i & 8 ? 4096 : i % 3;
		rig_run(&r, 0, &c);
		if (prg(&r, 0, P_CI))
			rig_restart(&r, 0);
	}
	rig_end(&r);
}
RIG_TEST(packet_extremes)

/* Random walks over registers and memory; nothing to assert but that the process and its checks
 * live. */
static void walk_co(void *arg)
{
	static const uint8_t ops[] = {0x20, 0x25, 0x30, 0x35, 0x60, 0x61, 0x90,
				      0x08, 0xa0, 0xa1, 0xe7, 0xec, 0x2f, 0xef};
	GRand *rand = g_rand_new_with_seed(1568);
	struct ahci_rig r;

	(void)arg;
	rig_begin(&r, "hhc", "driver=ahci");
	rig_slow(&r, 0, FAULT_ANY, 1);
	for (unsigned i = 0; i < 4000; i++) {
		uint32_t x = g_rand_int(rand), y = g_rand_int(rand);
		unsigned port = x % 3, slot = x >> 4 & 31;
		struct rig_cmd c = {.op = ops[y % G_N_ELEMENTS(ops)],
				    .device = 0x40,
				    .lba = y >> 8 & 0xfff,
				    .feature = 1 + (x >> 9 & 7),
				    .count = 1 + (x >> 12 & 7),
				    .bytes = x >> 16 & 0x3fff,
				    .cdb = x >> 30 ? NULL
						   : (const uint8_t *)"\x12\0\0\0\x24\0\0\0\0\0\0"};

		switch (y >> 20 & 15) {
		case 0: pwr(&r, port, P_CMD, x >> 8 & 0x1f); break;
		case 1: pwr(&r, port, P_SCTL, x >> 8 & 5); break;
		case 2: wr(&r, H_GHC, x >> 8 & (x & 1 << 20 ? 3 : 2)); break;
		case 3: pwr(&r, port, x >> 8 & 0x7c, y); break;
		case 4: rig_start_port(&r, port); break;
		case 5: pwr(&r, port, P_SCTL, 0); break;
		case 6: co_sleep_ns(200000); break;
		case 7:
			table(&r, port, slot)[x >> 8 & 0xff] = (uint8_t)y;
			header(&r, port, slot)[x >> 16 & 0x1f] = (uint8_t)(y >> 8);
			break;
		case 8:
			if (x >> 28 == 0)
				rig_reset_bus(&r);
			cfg_write(&r.h, 4, x >> 27 == 1 ? 3 : 7, 2);
			break;
		default:
			if (c.op == 0x60 || c.op == 0x61)
				c.count = (uint16_t)(slot << 3);
			rig_fill(&r, port, slot, &c);
			rig_issue(&r, port, 1u << slot, c.op == 0x60 || c.op == 0x61);
		}
	}
	cfg_write(&r.h, 4, 7, 2);
	wr(&r, H_GHC, HR);
	WAIT_UNTIL(!(rd(&r, H_GHC) & HR));
	for (unsigned port = 0; port < 2; port++) {
		pwr(&r, port, P_CLBU, 0);
		pwr(&r, port, P_FBU, 0);
		still_works(&r, port);
	}
	rig_end(&r);
	g_rand_free(rand);
}
RIG_TEST(walk)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_memory),    cmocka_unit_test(prdt_garbage),
		cmocka_unit_test(longest_table), cmocka_unit_test(short_table),
		cmocka_unit_test(bad_fis),       cmocka_unit_test(rewritten),
		cmocka_unit_test(double_fetch),  cmocka_unit_test(packet_extremes),
		cmocka_unit_test(walk),
	};

	return RUN_LOOP_TESTS(tests);
}
