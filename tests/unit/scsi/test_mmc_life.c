/*
 * Lives of discs, as burning programs lead them: the commands that each sends, in order (mmc.md
 * section 4), and what it looks at. After each burn the guest ejects and loads again, and the file
 * is closed and opened.
 */
#include "mmc_fixture.h"

#define TOC_SESSIONS_ "43 00 01 00 00 00 00 00 0c 00"

/* wodim -multi, twice, then without: track at once, NWA asked for, flush, session closed. */
static co_fn void wodim_tao(struct fx *f)
{
	PAGE5(f, 0x41, 0xc4, 8);
	GOOD(f, "54 01 00 00 00 00 00 00 00 00");
	WORD32(f, TRACK_INFO("ff"), 12, 0);
	WRITES(f, 0, 620);
	FAILS(f, "43 00 00 00 00 00 00 00 ff 00", SENSE_BAD_CDB_FIELD); /* no session is closed */
	GOOD(f, SYNC);
	GOOD(f, SYNC); /* does not begin another track */
	BYTE(f, DISC_INFO, 2, 0x05);
	BYTE(f, DISC_INFO, 6, 2);
	WORD32(f, TRACK_INFO("ff"), 12, 620 + 2 + 150);
	GOOD(f, CLOSE("02", "00"));
	BYTE(f, DISC_INFO, 2, 0x01);
	RELOAD(f, false);
	READS(f, 0, 620);
	WORD32(f, CAPACITY, 0, 621);

	PAGE5(f, 0x41, 0xc4, 8);
	WORD32(f, TRACK_INFO("ff"), 12, 622 + 11400);
	WRITES(f, 622 + 11400, 31);
	GOOD(f, SYNC_IMMED);
	WAITS(f);
	WORD32(f, TRACK_INFO("02"), 24, 302); /* at least 300 blocks and run-out */
	GOOD(f, CLOSE_IMMED_("02", "00"));
	WAITS(f);
	WORD32(f, TOC_SESSIONS_, 8, 12022);
	BYTE(f, TOC_SESSIONS_, 3, 2);
	RELOAD(f, true);
	READS(f, 0, 620);
	READS(f, 12022, 31);

	PAGE5(f, 0x41, 0x04, 8);
	WORD32(f, TRACK_INFO("ff"), 12, 12022 + 302 + 6900);
	WRITES(f, 12324 + 6900, 310);
	GOOD(f, SYNC);
	GOOD(f, CLOSE("02", "00"));
	BYTE(f, DISC_INFO, 2, 0x0e);
	BYTE(f, DISC_INFO, 4, 3);
	RELOAD(f, true);
	READS(f, 19224, 310);
	fx_command(f, "43 00 02 00 00 00 01 04 00 00", 0, 1024);
	CHECK(f, f->in_done == 4 + 3 * 4 * 11 + 2 * 11 + 11 && f->in[2] == 1 && f->in[3] == 3);
	/* Linux: the last session, by the old format field. */
	WORD32(f, "43 00 00 00 00 00 00 00 0c 40", 8, 19224);
	WRITE_FAILS(f, 19224 + 312, 16, SENSE_ILLEGAL_TRACK_MODE);
}

/* cdrskin and wodim -dao: cue sheet, pregap from -150, the flush ends the session. */
static co_fn void sao(struct fx *f)
{
	PAGE5(f, 0x42, 0x04, 0);
	WRITE_FAILS(f, -150, 16, SENSE_SEQUENCE);
	SENDS(f, "5d 00 00 00 00 00 00 00 20 00",
	      "41 00 00 14 00 00 00 00 41 01 00 10 00 00 00 00 41 01 01 10 00 00 02 00 41 aa 01 14 "
	      "00 00 0a 00",
	      SENSE_GOOD);
	WORD32(f, TRACK_INFO("ff"), 12, 0xffffff6a);
	WRITES(f, -150, 150);
	WRITES(f, 0, 300);
	GOOD(f, SYNC); /* not all was delivered: only a flush */
	BYTE(f, DISC_INFO, 2, 0x05);
	WRITES(f, 300, 300);
	GOOD(f, SYNC);
	GOOD(f, SYNC);
	BYTE(f, DISC_INFO, 2, 0x0e);
	RELOAD(f, true);
	WORD32(f, CAPACITY, 0, 599);
	READS(f, 0, 600);
	REPLY(f, "43 00 00 00 00 00 00 00 ff 00",
	      "00 12 01 01 00 14 01 00 00 00 00 00 00 14 aa 00 00 00 02 58");
}

/* growisofs -Z, -M, then -M -dvd-compat on DVD+R. */
static co_fn void growisofs_plus_r(struct fx *f)
{
	BYTE(f, DISC_INFO, 2, 0x00);
	WORD32(f, TRACK_INFO("01"), 12, 0);
	WRITES(f, 0, 16 * 20);
	READS(f, 16, 1); /* of the open track */
	GOOD(f, SYNC_IMMED);
	WAITS(f);
	GOOD(f, SYNC);
	GOOD(f, CLOSE_IMMED_("01", "01"));
	WAITS(f);
	BYTE(f, DISC_INFO, 2, 0x05);
	GOOD(f, CLOSE_IMMED_("02", "00"));
	WAITS(f);
	BYTE(f, DISC_INFO, 2, 0x01);
	BYTE(f, DISC_INFO, 5, 2);
	RELOAD(f, false);
	WORD32(f, TOC_SESSIONS_, 8, 0);
	READS(f, 0, 320);
	WORD32(f, CAPACITY, 0, 319);

	fx_command(f, TRACK_INFO("02"), 0, 256);

	uint32_t start = get_be32(f->in + 8);

	CHECK(f, start > 320 && start % 16 == 0 && start == get_be32(f->in + 12));
	WRITES(f, (int32_t)start, 40);
	GOOD(f, SYNC);
	WORD32(f, TRACK_INFO("02"), 12, start + 48); /* to the next ECC block */
	GOOD(f, CLOSE("01", "02"));
	GOOD(f, CLOSE("02", "00"));
	RELOAD(f, true);
	WORD32(f, TOC_SESSIONS_, 8, start);
	READS(f, (int32_t)start, 40);

	fx_command(f, TRACK_INFO("03"), 0, 256);
	start = get_be32(f->in + 12);
	WRITES(f, (int32_t)start, 16);
	GOOD(f, CLOSE("06", "00"));
	BYTE(f, DISC_INFO, 2, 0x0e);
	RELOAD(f, true);
	READS(f, (int32_t)start, 16);
	WRITE_FAILS(f, (int32_t)start + 16, 16, SENSE_WRITE_PROTECTED);
	BYTE(f, "43 00 00 00 00 00 00 00 ff 00", 3, 3);
}

/*
 * wodim on DVD+R: the session is closed right after the last WRITE, which is not a whole ECC block.
 */
static co_fn void wodim_plus_r(struct fx *f)
{
	PAGE5(f, 0x41, 0x04, 8);
	WRITES(f, 0, 31);
	GOOD(f, CLOSE("02", "00"));
	GOOD(f, SYNC);
	BYTE(f, DISC_INFO, 2, 0x01);
	RELOAD(f, true);
	WORD32(f, CAPACITY, 0, 31);
	READS(f, 0, 31);
}

/* libburn, DVD+R with a reserved track in front of the growing one. */
static co_fn void reserved_plus_r(struct fx *f)
{
	GOOD(f, "53 00 00 00 00 00 00 00 28 00"); /* 40 blocks: 48 */
	WORD32(f, TRACK_INFO("01"), 24, 48);
	BYTE(f, TRACK_INFO("01"), 6, 0xc1);
	WORD32(f, TRACK_INFO("ff"), 12, 48);
	WRITES(f, 48, 16); /* the second first */
	FAILS(f, CLOSE("02", "00"), SENSE_RESERVED_TRACK_EMPTY);
	WRITES(f, 0, 32);
	WRITE_FAILS(f, 32, 32, SENSE_END_OF_TRACK);
	WRITES(f, 32, 16);
	GOOD(f, CLOSE("01", "01"));
	GOOD(f, CLOSE("02", "00"));
	RELOAD(f, true);
	READS(f, 0, 64);
	GOOD(f, "53 01 00 00 ff 00 00 00 00 00"); /* by address: the next track begins at FF00h */
	FAILS(f, "53 01 00 00 00 01 00 00 00 00", SENSE_BAD_CDB_FIELD);
	FAILS(f, "53 00 00 00 00 00 00 00 00 00", SENSE_BAD_CDB_FIELD);
	FAILS(f, "53 00 00 00 00 ff ff ff ff 00", SENSE_LBA_RANGE);
}

/* xorriso on DVD-RW: blank, quick format, write, close, grow, overwrite; then back. */
static co_fn void xorriso_rw_overwrite(struct fx *f)
{
	uint32_t grow;

	SENDS(f, "04 11 00 00 00 00", "00 02 00 08 00 00 00 00 54 00 00 10", SENSE_GOOD);
	WAITS(f);
	BYTE(f, PROFILE, 7, 0x13);
	BYTE(f, DISC_INFO, 2, 0x15);
	BYTE(f, TRACK_INFO("01"), 6, 0x31);
	BYTE(f, FORMATS, 8, 3);
	FAILS(f, "43 00 00 00 00 00 00 00 ff 00", SENSE_BAD_CDB_FIELD);
	WRITES(f, 0, 320);
	WRITE_FAILS(f, 352, 16, SENSE_BAD_WRITE_ADDRESS);
	GOOD(f, SYNC_IMMED);
	WAITS(f);
	GOOD(f, CLOSE_IMMED_("02", "00"));
	WAITS(f);
	BYTE(f, DISC_INFO, 2, 0x1e);
	RELOAD(f, true);
	WORD32(f, CAPACITY, 0, 319);
	READS(f, 0, 320);
	REPLY(f, "43 00 00 00 00 00 00 00 ff 00",
	      "00 12 01 01 00 14 01 00 00 00 00 00 00 14 aa 00 00 00 01 40");
	f->seed++;
	WRITES(f, 0, 64); /* its superblock */
	READS(f, 0, 64);
	WRITE_FAILS(f, 320, 16, SENSE_LBA_RANGE);

	fx_command(f, FORMATS, 0, 256);
	CHECK(f, f->in[8] == 2 && f->in_done >= 16);
	grow = 0;
	for (unsigned i = 12; i + 8 <= f->in_done; i += 8)
		if (f->in[i + 4] == 0x4c)
			grow = get_be32(f->in + i);
	CHECK(f, grow > 0);
	SENDS(f, "04 11 00 00 00 00", "00 02 00 08 00 00 00 20 4c 00 00 10", SENSE_GOOD);
	WAITS(f);
	BYTE(f, FORMATS, 8, 3);
	WRITES(f, 320, 32);
	GOOD(f, CLOSE("02", "00"));
	RELOAD(f, true);
	WORD32(f, CAPACITY, 0, 351);
	READS(f, 320, 32);

	GOOD(f, "a1 11 00 00 00 00 00 00 00 00 00 00");
	WAITS(f);
	BYTE(f, PROFILE, 7, 0x14);
	BYTE(f, DISC_INFO, 2, 0x10);
	WORD32(f, CAPACITY, 0, 0);
	FAILS(f, "28 00 00 00 00 00 00 00 01 00", SENSE_LBA_RANGE);
	SENDS(f, "04 11 00 00 00 00", "00 02 00 08 ff ff ff ff 40 00 00 10", SENSE_GOOD);
	WAITS(f);
	BYTE(f, DISC_INFO, 2, 0x1e);
	fx_command(f, "28 00 00 00 00 00 00 00 20 00", 0, 65536); /* udev */
	CHECK(f,
	      f->sense == SENSE_GOOD && f->in_done == 65536 && f->in[0] == 0 && f->in[65535] == 0);
}

/* libburn and growisofs on DVD-R and sequential DVD-RW, incremental, two borders. */
static co_fn void dash_incremental(struct fx *f)
{
	uint32_t start;

	PAGE5(f, 0x60, 0xe5, 8);
	fx_command(f, TRACK_INFO("01"), 0, 256);
	CHECK(f, (f->in[6] & 0x10) == 0 && ((f->in[6] & 15) == 1 || (f->in[6] & 15) == 15) &&
			 get_be32(f->in + 20) == 16);
	WRITES(f, 0, 100);
	GOOD(f, SYNC_IMMED);
	WAITS(f);
	GOOD(f, CLOSE_IMMED_("01", "01"));
	WAITS(f);
	GOOD(f, CLOSE_IMMED_("02", "00"));
	WAITS(f);
	RELOAD(f, false);
	READS(f, 0, 100);
	CHECK(f, (f->sense == SENSE_GOOD));
	fx_command(f, DISC_INFO, 0, 256);
	CHECK(f, (f->in[2] & 0x0f) == 0x01 && f->in[6] == 2);
	PAGE5(f, 0x60, 0x25, 8);
	fx_command(f, TRACK_INFO("02"), 0, 256);
	start = get_be32(f->in + 8);
	CHECK(f, start % 16 == 0 && start > 100 && start == get_be32(f->in + 12));
	WRITES(f, (int32_t)start, 16);
	GOOD(f, CLOSE("01", "02"));
	GOOD(f, CLOSE("02", "00")); /* multi-session 00: the lead-out */
	fx_command(f, DISC_INFO, 0, 256);
	CHECK(f, (f->in[2] & 0x0f) == 0x0e);
	RELOAD(f, true);
	READS(f, (int32_t)start, 16);
	WORD32(f, TOC_SESSIONS_, 8, start);
}

/* The same medium at once: RESERVE TRACK, and the flush finalises. */
static co_fn void dash_at_once(struct fx *f)
{
	PAGE5(f, 0x42, 0x05, 8);
	GOOD(f, "53 00 00 00 00 00 00 01 40 00");
	WORD32(f, TRACK_INFO("01"), 12, 0);
	WRITES(f, 0, 320);
	GOOD(f, SYNC);
	BYTE(f, DISC_INFO, 2, 0x0e);
	RELOAD(f, true);
	READS(f, 0, 320);
	WORD32(f, CAPACITY, 0, 319);
}

/* cdrskin on an unformatted BD-R: two sessions, then finalised. */
static co_fn void cdrskin_bd_r(struct fx *f)
{
	uint32_t start;

	WRITES(f, 0, 100);
	GOOD(f, SYNC_IMMED);
	WAITS(f);
	WORD32(f, TRACK_INFO("01"), 12, 128);
	GOOD(f, CLOSE_IMMED_("01", "01"));
	WAITS(f);
	GOOD(f, CLOSE_IMMED_("02", "00"));
	WAITS(f);
	BYTE(f, DISC_INFO, 2, 0x01);
	RELOAD(f, true);
	READS(f, 0, 100);
	fx_command(f, TRACK_INFO("02"), 0, 256);
	start = get_be32(f->in + 12);
	CHECK(f, start % 32 == 0 && start >= 128);
	WRITES(f, (int32_t)start, 32);
	GOOD(f, SYNC);
	GOOD(f, CLOSE("01", "02"));
	GOOD(f, CLOSE("06", "00"));
	BYTE(f, DISC_INFO, 2, 0x0e);
	GOOD(f, CLOSE("02", "00"));
	RELOAD(f, true);
	READS(f, (int32_t)start, 32);
	WORD32(f, TOC_SESSIONS_, 8, start);
}

/* growisofs: every blank BD-R is formatted to SRM+POW first; libburn asks for SRM without it. */
static co_fn void growisofs_bd_r(struct fx *f)
{
	fx_command(f, FORMATS, 0, 256);

	char *list = g_strdup_printf("00 82 00 08 %02x %02x %02x %02x 00 00 %02x %02x", f->in[12],
				     f->in[13], f->in[14], f->in[15], f->in[18], f->in[19]);

	SENDS(f, "04 11 00 00 00 00", list, SENSE_GOOD);
	WAITS(f);
	SENDS(f, "04 11 00 00 00 00", list, SENSE_CANNOT_FORMAT);
	g_free(list);
	WORD32(f, CAPACITY, 0, 0);
	fx_command(f, "51 02 00 00 00 00 00 00 10 00", 0, 64);
	CHECK(f, f->sense == SENSE_GOOD && get_be16(f->in) == 14 && f->in[2] == 0x40 &&
			 get_be32(f->in + 4) > 0);
	WRITES(f, 0, 320);
	GOOD(f, SYNC_IMMED);
	WAITS(f);
	FAILS(f, CLOSE("02", "00"), SENSE_BAD_CDB_FIELD);
	f->seed++;
	WRITES(f, 0, 32);
	READS(f, 0, 32);
	RELOAD(f, true);
	READS(f, 0, 32);
	f->seed--;
	READS(f, 32, 288);
}

static co_fn void libburn_bd_r_format(struct fx *f)
{
	FAILS(f, "51 02 00 00 00 00 00 00 10 00", SENSE_BAD_CDB_FIELD);
	SENDS(f, "04 11 00 00 00 00", "00 82 00 08 00 b4 74 00 c9 00 30 00", SENSE_GOOD);
	WAITS(f);
	BYTE(f, DISC_INFO, 2, 0x01);
	BYTE(f, DISC_INFO, 4, 1);
	WORD32(f, CAPACITY, 0, 0);
	WORD32(f, FORMATS, 4, 0xb47400);
	BYTE(f, FORMATS, 8, 2);
	REPLY(f, "ad 01 00 00 00 00 00 0a 00 ff 00 00",
	      "00 0e 00 00 00 00 00 00 00 06 00 00 00 06 00 00");
	WRITES(f, 0, 32);
	GOOD(f, CLOSE("02", "00"));
	BYTE(f, DISC_INFO, 4, 2);
}

#define TEST(name, type, blocks)              \
	static void test_##name(void **state) \
	{                                     \
		(void)state;                  \
		fx_run(type, blocks, name);   \
	}
TEST(wodim_tao, "cd-r", 0)
TEST(sao, "cd-r", 0)
TEST(growisofs_plus_r, "dvd+r", 0)
TEST(wodim_plus_r, "dvd+r", 0)
TEST(reserved_plus_r, "dvd+r", 0)
TEST(xorriso_rw_overwrite, "dvd-rw", 0)
TEST(dash_at_once, "dvd-r", 0)
TEST(cdrskin_bd_r, "bd-r", 0)
TEST(growisofs_bd_r, "bd-r", 0)
TEST(libburn_bd_r_format, "bd-r", 0)

static void test_dash_incremental(void **state)
{
	(void)state;
	fx_run("dvd-r", 0, dash_incremental);
	fx_run("dvd-rw", 0, dash_incremental);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wodim_tao),
		cmocka_unit_test(test_sao),
		cmocka_unit_test(test_growisofs_plus_r),
		cmocka_unit_test(test_wodim_plus_r),
		cmocka_unit_test(test_reserved_plus_r),
		cmocka_unit_test(test_xorriso_rw_overwrite),
		cmocka_unit_test(test_dash_incremental),
		cmocka_unit_test(test_dash_at_once),
		cmocka_unit_test(test_cdrskin_bd_r),
		cmocka_unit_test(test_growisofs_bd_r),
		cmocka_unit_test(test_libburn_bd_r_format),
	};

	return RUN_TESTS(tests);
}
