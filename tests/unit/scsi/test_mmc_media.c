/*
 * READ CD and its relatives sector by sector; replies cut at every allocation length (N20);
 * commands executed again after the daemon died; and that media commands do not crash on anything
 * (N21, N28).
 */
#include "mmc_fixture.h"

#include "disc/sector.h"

/* One data track of 320 blocks. */
static co_fn void make_cd(struct fx *f)
{
	PAGE5(f, 0x41, 0x04, 8);
	WRITES(f, 0, 320);
	GOOD(f, SYNC);
	GOOD(f, CLOSE("02", "00"));
}

static co_fn void read_cd(struct fx *f)
{
	static const struct {
		unsigned main, bytes;
	} sizes[] = {
		{0x00, 0},          {0x10, 2048},       {0x18, 2336}, {0x20, 4},
		{0x40, 0},          {0x50, 2048},       {0x58, 2336}, {0x60, 4},
		{0x70, 2052},       {0x78, 2340},       {0x80, 12},   {0xa0, 16},
		{0xe0, 16},         {0xf0, 2064},       {0xf8, 2352}, {0x12, 2048 + 294},
		{0x14, 2048 + 296}, {0xfa, 2352 + 294},
	};
	uint8_t sector[SECTOR_RAW];

	make_cd(f);
	for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
		char *cdb = g_strdup_printf("be 00 00 00 00 05 00 00 02 %02x 00 00", sizes[i].main);

		fx_command(f, cdb, 0, 8192);
		if (f->sense != SENSE_GOOD || f->in_done != 2 * sizes[i].bytes)
			fx_fail(f, __LINE__, "READ CD %02x: %06x, %zu bytes", sizes[i].main,
				f->sense, f->in_done);
		g_free(cdb);
	}
	GOOD(f, "be 00 00 00 00 05 00 00 01 f8 00 00");
	memcpy(sector, f->in, sizeof(sector));
	CHECK(f, sector_is_mode1(sector, 5) && get_be32(sector + 16) == 5);
	GOOD(f, "b9 00 00 00 02 05 00 02 06 f8 00 00"); /* MSF 0:02:05 to 0:02:06 */
	CHECK(f, f->in_done == 2352 && memcmp(sector, f->in, sizeof(sector)) == 0);
	GOOD(f, "b9 00 00 00 02 05 00 02 05 f8 00 00");
	CHECK(f, f->in_done == 0);
	FAILS(f, "b9 00 00 00 02 06 00 02 05 f8 00 00", SENSE_BAD_CDB_FIELD);
	GOOD(f, "be 08 00 00 00 05 00 00 01 10 00 00");
	CHECK(f, get_be32(f->in) == 5);
	/* Types that the sector is not; blocks before it would have been delivered. */
	FAILS(f, "be 04 00 00 00 05 00 00 01 f8 00 00", SENSE_ILLEGAL_TRACK_MODE);
	CHECK(f, f->sense_bytes[0] == 0xf0 && get_be32(f->sense_bytes + 3) == 5);
	FAILS(f, "be 0c 00 00 00 05 00 00 01 f8 00 00", SENSE_ILLEGAL_TRACK_MODE);
	FAILS(f, "be 18 00 00 00 05 00 00 01 f8 00 00", SENSE_BAD_CDB_FIELD);
	FAILS(f, "be 00 00 00 00 05 00 00 01 f8 03 00", SENSE_BAD_CDB_FIELD);
	FAILS(f, "be 00 00 00 00 05 00 00 01 f6 00 00", SENSE_BAD_CDB_FIELD);
	FAILS(f, "be 00 ff ff ff 69 00 00 01 f8 00 00", SENSE_LBA_RANGE);
	FAILS(f, "be 00 00 00 01 42 00 00 01 f8 00 00", SENSE_LBA_RANGE);
	FAILS(f, "be 00 00 00 01 41 00 00 02 f8 00 00", SENSE_LBA_RANGE);
	/* The pregap and the run-out are zeros. */
	GOOD(f, "be 00 ff ff ff 6a 00 00 01 10 00 00");
	CHECK(f, f->in_done == 2048 && f->in[0] == 0 && f->in[2047] == 0);
	GOOD(f, "28 00 00 00 01 40 00 00 02 00");
	CHECK(f, f->in_done == 4096 && f->in[0] == 0 && f->in[4095] == 0);
}

static co_fn void sub_channel(struct fx *f)
{
	make_cd(f);
	/* Sub-channel: Q of block 5, formatted and raw. */
	REPLY(f, "be 00 00 00 00 05 00 00 01 00 02 00",
	      "41 01 01 00 00 05 00 00 02 05 5b c0 00 00 00 00");
	GOOD(f, "be 00 ff ff ff fe 00 00 01 00 02 00");
	CHECK(f, f->in[2] == 0 && f->in[5] == 1 && f->in[15] == 0x80);
	GOOD(f, "be 00 00 00 00 05 00 00 01 00 01 00");
	CHECK(f, f->in_done == 96 && f->in[0] == 0 && f->in[1] == 0x40 && f->in[7] == 0x40);
	GOOD(f, "be 00 00 00 00 05 00 00 01 f8 04 00");
	CHECK(f, f->in_done == 2352 + 96);
	REPLY(f, "44 00 00 00 00 05 00 00 08 00", "01 00 00 00 00 00 00 05");
	REPLY(f, "44 02 00 00 00 05 00 00 08 00", "01 00 00 00 00 00 02 05");
	FAILS(f, "44 00 00 01 00 00 00 00 08 00", SENSE_LBA_RANGE);
	fx_command(f, "42 00 40 02 00 00 00 00 18 00", 0, 64);
	CHECK(f, f->sense == SENSE_GOOD && f->in_done == 24 && f->in[3] == 0x14 && f->in[4] == 2 &&
			 f->in[8] == 0);
	REPLY(f, "42 02 40 01 00 00 00 00 18 00",
	      "00 15 00 0c 01 14 01 01 00 00 02 00 00 00 00 00");
	fx_command(f, "42 00 40 03 00 00 01 00 18 00", 0, 64);
	CHECK(f, f->sense == SENSE_GOOD && f->in_done == 24 && f->in[6] == 1);
	FAILS(f, "42 00 40 03 00 00 02 00 18 00", SENSE_BAD_CDB_FIELD);
	FAILS(f, "42 00 40 00 00 00 00 00 18 00", SENSE_BAD_CDB_FIELD);
}

/* A catalogue number in the cue sheet comes back. */
static co_fn void catalogue_number(struct fx *f)
{
	PAGE5(f, 0x42, 0x04, 0);
	SENDS(f, "5d 00 00 00 00 00 00 00 30 00",
	      "02 30 31 32 33 34 35 36 02 37 38 39 30 31 32 00"
	      "41 00 00 14 00 00 00 00 41 01 00 10 00 00 00 00 41 01 01 10 00 00 02 00 41 aa 01 14 "
	      "00 00 06 00",
	      SENSE_GOOD);
	WRITES(f, -150, 450);
	GOOD(f, SYNC);
	BYTE(f, DISC_INFO, 2, 0x0e);
	REPLY(f, "42 00 40 02 00 00 00 00 18 00",
	      "00 15 00 14 02 00 00 00 80 30 31 32 33 34 35 36 37 38 39 30 31 32 00 00");
}

/* ---- N20 ---- */

/* A command, where its allocation length lies, and how many bytes that has. */
static const struct {
	const char *cdb;
	unsigned at, bytes;
} replies[] = {
	{"23 00 00 00 00 00 00 00 00 00", 7, 2},
	{"42 00 00 00 00 00 00 00 00 00", 7, 2},
	{"42 00 40 01 00 00 00 00 00 00", 7, 2},
	{"42 00 40 02 00 00 00 00 00 00", 7, 2},
	{"43 00 00 00 00 00 00 00 00 00", 7, 2},
	{"43 00 01 00 00 00 00 00 00 00", 7, 2},
	{"43 00 02 00 00 00 00 00 00 00", 7, 2},
	{"43 00 03 00 00 00 00 00 00 00", 7, 2},
	{"43 00 04 00 00 00 00 00 00 00", 7, 2},
	{"43 00 05 00 00 00 00 00 00 00", 7, 2},
	{"44 00 00 00 00 00 00 00 00 00", 7, 2},
	{"51 00 00 00 00 00 00 00 00 00", 7, 2},
	{"51 01 00 00 00 00 00 00 00 00", 7, 2},
	{"52 01 00 00 00 01 00 00 00 00", 7, 2},
	{"5c 00 00 00 00 00 00 00 00 00", 7, 2},
	{"3c 03 00 00 00 00 00 00 00 00", 6, 3},
	{"ad 00 00 00 00 00 00 00 00 00 00 00", 8, 2},
	{"ad 01 00 00 00 00 00 00 00 00 00 00", 8, 2},
	{"ad 00 00 00 00 00 00 11 00 00 00 00", 8, 2},
	{"ad 00 00 00 00 00 00 c0 00 00 00 00", 8, 2},
	{"ad 00 00 00 00 00 00 ff 00 00 00 00", 8, 2},
};

static co_fn void set_and_run(struct fx *f, unsigned which, unsigned len, size_t room)
{
	uint8_t cdb[16];
	size_t n = fx_hex(replies[which].cdb, cdb, sizeof(cdb));
	GString *text = g_string_new(NULL);

	for (unsigned i = 0; i < replies[which].bytes; i++)
		cdb[replies[which].at + i] = (uint8_t)(len >> 8 * (replies[which].bytes - 1 - i));
	for (size_t i = 0; i < n; i++)
		g_string_append_printf(text, "%02x ", cdb[i]);
	fx_command(f, text->str, 0, room);
	g_string_free(text, TRUE);
}

static co_fn void cut_replies(struct fx *f)
{
	uint8_t *full = g_malloc(8192);

	if (drive_profile(f->drive) == PROFILE_CD_R) {
		PAGE5(f, 0x41, 0xc4, 8);
		WRITES(f, 0, 320);
		GOOD(f, SYNC);
		GOOD(f, CLOSE("02", "00"));
	} else {
		WRITES(f, 0, 320);
		GOOD(f, CLOSE("02", "00"));
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(replies); i++) {
		size_t len;

		set_and_run(f, i, 8192, 8192);
		if (f->sense != SENSE_GOOD)
			continue; /* not on this medium */
		len = f->in_done;
		memcpy(full, f->in, len);
		for (unsigned alloc = 0; alloc <= len + 1; alloc += alloc < 64 ? 1 : 97) {
			set_and_run(f, i, alloc, 8192);
			if (f->sense != SENSE_GOOD || f->in_done != MIN(alloc, len) ||
			    memcmp(f->in, full, f->in_done) || f->in[f->in_done] != 0x5a)
				fx_fail(f, __LINE__, "%s cut at %u: %zu bytes", replies[i].cdb,
					alloc, f->in_done);
			set_and_run(f, i, 8192, alloc); /* and by the initiator's room */
			if (f->sense != SENSE_GOOD || f->in_done != MIN(alloc, len))
				fx_fail(f, __LINE__, "%s with room for %u: %zu bytes",
					replies[i].cdb, alloc, f->in_done);
		}
	}
	g_free(full);
}

/* ---- executed again ---- */

static co_fn void again(struct fx *f)
{
	WRITES(f, 0, 32);
	f->replay = true;
	WRITES(f, 0, 32); /* the same data: accepted, nothing moves */
	WORD32(f, TRACK_INFO("01"), 12, 32);
	WRITES(f, 16, 32); /* half of it was recorded */
	WORD32(f, TRACK_INFO("01"), 12, 48);
	f->seed++;
	WRITE_FAILS(f, 32, 16, SENSE_BAD_WRITE_ADDRESS); /* other data */
	f->seed--;
	f->replay = false;
	WRITE_FAILS(f, 32, 16, SENSE_BAD_WRITE_ADDRESS);
	GOOD(f, CLOSE("01", "01"));
	f->replay = true;
	GOOD(f, CLOSE("01", "01"));
	BYTE(f, DISC_INFO, 6, 2);
	f->replay = false;
	GOOD(f, "53 00 00 00 00 00 00 00 20 00");
	BYTE(f, DISC_INFO, 6, 3);
	f->replay = true;
	GOOD(f, "53 00 00 00 00 00 00 00 20 00");
	BYTE(f, DISC_INFO, 6, 3);
	f->replay = false;
	GOOD(f, "53 01 00 00 00 80 00 00 00 00"); /* up to 128 */
	BYTE(f, DISC_INFO, 6, 4);
	f->replay = true;
	GOOD(f, "53 01 00 00 00 80 00 00 00 00");
	BYTE(f, DISC_INFO, 6, 4);
	f->replay = false;
	WRITES(f, 80, 48);
	WRITES(f, 48, 32);
	GOOD(f, CLOSE("02", "00"));
	f->replay = true;
	GOOD(f, CLOSE("02", "00"));
	GOOD(f, SYNC);
	BYTE(f, DISC_INFO, 4, 2);
	f->replay = false;
	GOOD(f, CLOSE("06", "00"));
	f->replay = true;
	GOOD(f, CLOSE("06", "00"));
	BYTE(f, DISC_INFO, 2, 0x0e);
	READS(f, 0, 128);
}

static co_fn void format_again(struct fx *f)
{
	SENDS(f, "04 11 00 00 00 00", "00 82 00 08 00 b4 74 00 01 00 30 00", SENSE_GOOD);
	WAITS(f);
	f->replay = true;
	SENDS(f, "04 11 00 00 00 00", "00 82 00 08 00 b4 74 00 01 00 30 00", SENSE_GOOD);
	WAITS(f);
	BYTE(f, DISC_INFO, 2, 0x01);
}

static co_fn void grow_again(struct fx *f)
{
	SENDS(f, "04 11 00 00 00 00", "00 00 00 08 00 00 00 00 54 00 00 10", SENSE_GOOD);
	WRITES(f, 0, 64);
	GOOD(f, CLOSE("02", "00"));
	SENDS(f, "04 11 00 00 00 00", "00 00 00 08 00 00 00 20 4c 00 00 10", SENSE_GOOD);
	f->replay = true;
	SENDS(f, "04 11 00 00 00 00", "00 00 00 08 00 00 00 20 4c 00 00 10", SENSE_GOOD);
	f->replay = false;
	WRITES(f, 64, 32);
	WRITE_FAILS(f, 96, 16, SENSE_LBA_RANGE);
}

static co_fn void cue_again(struct fx *f)
{
	static const char *const sheet = "41 00 00 14 00 00 00 00 41 01 00 10 00 00 00 00 41 01 01 "
					 "10 00 00 02 00 41 aa 01 14 00 00 06 00";

	PAGE5(f, 0x42, 0x04, 0);
	SENDS(f, "5d 00 00 00 00 00 00 00 20 00", sheet, SENSE_GOOD);
	f->replay = true;
	SENDS(f, "5d 00 00 00 00 00 00 00 20 00", sheet, SENSE_GOOD);
	f->replay = false;
	WRITES(f, -150, 64);
	f->replay = true;
	WRITES(f, -118, 32);
	f->replay = false;
	WRITES(f, -86, 386);
	f->replay = true;
	WRITES(f, 268, 32);
	GOOD(f, SYNC);
	READS(f, 0, 300);
	BYTE(f, DISC_INFO, 2, 0x0e);
}

/* ---- a burn that stands still ---- */

/* What was written is made durable some seconds later, without a command of the host. */
static co_fn void timed_flush(struct fx *f)
{
	struct drive *d = f->drive;

	WRITES(f, 0, 20);
	CHECK(f, d->dirty && d->flush_timer.heap_index != 0);
	if (!d->flush_timer.fire) {
		fx_fail(f, __LINE__, "the timer has nothing to do");
		return;
	}
	loop_timer_cancel(&d->flush_timer);
	d->flush_timer.fire(&d->flush_timer);
	for (unsigned i = 0; i < 1000 && (d->dirty || d->background.in_flight); i++)
		co_sleep_ns(1000000);
	CHECK(f, !d->dirty);
	WORD32(f, TRACK_INFO("01"), 12, 20); /* a flush ends nothing and pads nothing */
	WRITES(f, 20, 12);
}

/* ---- anything ---- */

/*
 * Every opcode with pseudo-random fields: an answer, no crash; a disc that is written to stays
 * consistent.
 */
static co_fn void anything(struct fx *f)
{
	uint32_t x = 0x2545f491;

	for (unsigned i = 0; i < 20000 && !f->failed; i++) {
		uint8_t cdb[16] = {0};
		char text[64];

		for (unsigned k = 0; k < 12; k++) {
			x ^= x << 13;
			x ^= x >> 17;
			x ^= x << 5;
			cdb[k] = x & 0x100 ? (uint8_t)x : x & 0x200 ? (uint8_t)(x & 3) : 0;
		}
		if (i % 3)
			cdb[0] = mmc_rows[cdb[0]].handler ? cdb[0] : 0x2a;
		/* Keep the disc in, and its contents. */
		if (cdb[0] == 0x1b || cdb[0] == 0xa1 || cdb[0] == 0x04)
			cdb[0] = 0x52;
		if (cdb[0] == 0x28 || cdb[0] == 0x2a || cdb[0] == 0xbe)
			cdb[2] = cdb[3] = 0;
		for (unsigned k = 0; k < 12; k++)
			g_snprintf(text + 3 * k, 4, "%02x ", cdb[k]);
		memcpy(f->out, cdb, sizeof(cdb));
		fx_command(f, text, x % 3 ? FX_ROOM : x % 5000, x % 7 ? FX_ROOM / 2 : x % 3000);
	}
	WAITS(f);
	f->sense = fx_command(f, DISC_INFO, 0, 64);
	CHECK(f, f->sense == SENSE_GOOD);
	RELOAD(f, true);
}

#define TEST(name, type)                      \
	static void test_##name(void **state) \
	{                                     \
		(void)state;                  \
		fx_run(type, 0, name);        \
	}
TEST(read_cd, "cd-r")
TEST(sub_channel, "cd-r")
TEST(catalogue_number, "cd-r")
TEST(again, "dvd+r")
TEST(format_again, "bd-r")
TEST(grow_again, "dvd-rw")
TEST(cue_again, "cd-r")
TEST(timed_flush, "dvd+r")

static void test_cut_replies(void **state)
{
	(void)state;
	fx_run("cd-r", 0, cut_replies);
	fx_run("dvd+r", 0, cut_replies);
	fx_run("bd-r", 0, cut_replies);
}

static void test_anything(void **state)
{
	(void)state;
	fx_run("cd-r", 6000, anything);
	fx_run("dvd+r", 4096, anything);
	fx_run("dvd-rw", 4096, anything);
	fx_run("bd-r", 4096, anything);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_read_cd),
		cmocka_unit_test(test_sub_channel),
		cmocka_unit_test(test_catalogue_number),
		cmocka_unit_test(test_cut_replies),
		cmocka_unit_test(test_again),
		cmocka_unit_test(test_format_again),
		cmocka_unit_test(test_grow_again),
		cmocka_unit_test(test_cue_again),
		cmocka_unit_test(test_timed_flush),
		cmocka_unit_test(test_anything),
	};

	return RUN_TESTS(tests);
}
