/*
 * What is refused, with which sense, and that nothing changes by it (mmc.md 8.6; sense of section
 * 6.3).
 */
#include "mmc_fixture.h"

/* N05, N13, N14, N15: a complete disc of each kind. */
static co_fn void finish(struct fx *f)
{
	uint16_t profile = drive_profile(f->drive);

	if (profile == PROFILE_CD_R)
		PAGE5(f, 0x41, 0x04, 8);
	if (profile == PROFILE_DVD_R)
		PAGE5(f, 0x60, 0x25, 8);
	WRITES(f, 0, 320);
	GOOD(f, SYNC);
	GOOD(f, profile == PROFILE_CD_R || profile == PROFILE_DVD_R ? CLOSE("02", "00")
								    : CLOSE("06", "00"));
	BYTE(f, DISC_INFO, 2, 0x0e);
}

static co_fn void complete_disc(struct fx *f)
{
	bool cd = drive_profile(f->drive) == PROFILE_CD_R;
	enum sense refused = cd ? SENSE_ILLEGAL_TRACK_MODE : SENSE_WRITE_PROTECTED;
	bool plus = drive_profile(f->drive) == PROFILE_DVD_PLUS_R;

	FAILS(f, "a1 00 00 00 00 00 00 00 00 00 00 00", SENSE_CANNOT_FORMAT);
	if (drive_profile(f->drive) != PROFILE_BD_R_SRM)
		SENDS(f, "04 11 00 00 00 00", "00 02 00 08 ff ff ff ff 98 00 00 00",
		      SENSE_CANNOT_FORMAT);
	finish(f);
	WRITE_FAILS(f, 0, 16, refused);
	WRITE_FAILS(f, 320, 16, refused);
	FAILS(f, "a1 00 00 00 00 00 00 00 00 00 00 00", SENSE_CANNOT_FORMAT);
	SENDS(f, "04 11 00 00 00 00", "00 02 00 08 00 00 00 00 00 00 00 00", SENSE_CANNOT_FORMAT);
	CHECK(f, fx_command(f, "53 00 00 00 00 00 00 00 10 00", 0, 0) != SENSE_GOOD);
	GOOD(f, "54 01 00 00 00 00 00 00 00 00");
	GOOD(f, CLOSE("01", "01"));
	GOOD(f, CLOSE("02", "00"));
	if (plus)
		GOOD(f, CLOSE("06", "00"));
	GOOD(f, SYNC);
	READS(f, 0, 320);
	BYTE(f, DISC_INFO, 2, 0x0e);
	RELOAD(f, true);
	READS(f, 0, 320);
}

/* N06, N07, N12, N15: CD. */
static co_fn void appendable_cd(struct fx *f)
{
	PAGE5(f, 0x41, 0xc4, 8);
	WRITES(f, 0, 320);
	GOOD(f, SYNC);
	GOOD(f, CLOSE("02", "00"));
	WRITE_FAILS(f, 0, 16, SENSE_BAD_WRITE_ADDRESS);
	CHECK(f, f->sense_bytes[0] == 0xf0 && get_be32(f->sense_bytes + 3) == 322 + 11400);
	WRITE_FAILS(f, 322 + 11416, 16, SENSE_BAD_WRITE_ADDRESS);
	WRITE_FAILS(f, -150, 16, SENSE_BAD_WRITE_ADDRESS);
	WORD32(f, TRACK_INFO("ff"), 12, 322 + 11400);
	PAGE5(f, 0x42, 0xc4, 8);
	WRITE_FAILS(f, 322 + 11250, 16, SENSE_SEQUENCE);
	PAGE5(f, 0x41, 0xc4, 8);
	FAILS(f, CLOSE("07", "00"), SENSE_BAD_CDB_FIELD);
	FAILS(f, CLOSE("03", "00"), SENSE_BAD_CDB_FIELD);
	FAILS(f, CLOSE("01", "09"), SENSE_BAD_CDB_FIELD);
	FAILS(f, "ad 00 00 00 00 00 00 00 08 04 00 00", SENSE_CANNOT_READ_FORMAT);
	FAILS(f, "ad 00 00 00 00 00 00 ff 08 04 00 00", SENSE_CANNOT_READ_FORMAT);
	FAILS(f, TRACK_INFO("00"), SENSE_BAD_CDB_FIELD);
	FAILS(f, TRACK_INFO("03"), SENSE_BAD_CDB_FIELD);
	FAILS(f, "52 02 00 00 00 00 00 00 ff 00", SENSE_BAD_CDB_FIELD);
	FAILS(f, "52 02 00 00 00 03 00 00 ff 00", SENSE_BAD_CDB_FIELD);
	FAILS(f, "52 03 00 00 00 01 00 00 ff 00", SENSE_BAD_CDB_FIELD);
	FAILS(f, "52 00 7f ff ff ff 00 00 ff 00", SENSE_LBA_RANGE);
	FAILS(f, "51 03 00 00 00 00 00 00 ff 00", SENSE_BAD_CDB_FIELD);
	/* N12 */
	GOOD(f, "1e 00 00 00 01 00");
	FAILS(f, "1b 00 00 00 02 00", SENSE_REMOVAL_PREVENTED);
	GOOD(f, "1e 00 00 00 00 00");
	READS(f, 0, 320);
	WORD32(f, DISC_INFO, 2, 0x01010202);
}

/* N17 */
static co_fn void cue_sheets(struct fx *f)
{
	static const char *const sheet = "41 00 00 14 00 00 00 00 41 01 00 10 00 00 00 00 41 01 01 "
					 "10 00 00 02 00 41 aa 01 14 00 00 0a 00";

	PAGE5(f, 0x41, 0x04, 8);
	SENDS(f, "5d 00 00 00 00 00 00 00 20 00", sheet, SENSE_SEQUENCE);
	PAGE5(f, 0x42, 0x04, 8);
	SENDS(f, "5d 00 00 00 00 00 00 00 07 00", sheet, SENSE_BAD_CDB_FIELD);
	SENDS(f, "5d 00 00 00 00 00 00 00 00 00", sheet, SENSE_BAD_CDB_FIELD);
	SENDS(f, "5d 00 00 00 00 00 00 00 10 00", sheet, SENSE_BAD_CDB_FIELD);
	SENDS(f, "5d 00 00 00 00 00 01 00 00 00", sheet, SENSE_BAD_CDB_FIELD);
	SENDS(f, "5d 00 00 00 00 00 00 00 28 00", sheet, SENSE_PARAMETER_LENGTH);
	/* No lead-out; lead-out beyond the disc; times that run back; no lead-in. */
	SENDS(f, "5d 00 00 00 00 00 00 00 18 00", sheet, SENSE_BAD_PARAMETER);
	SENDS(f, "5d 00 00 00 00 00 00 00 20 00",
	      "41 00 00 14 00 00 00 00 41 01 00 10 00 00 00 00 41 01 01 10 00 00 02 00 41 aa 01 14 "
	      "00 50 0a 00",
	      SENSE_BAD_PARAMETER);
	SENDS(f, "5d 00 00 00 00 00 00 00 20 00",
	      "41 00 00 14 00 00 00 00 41 01 00 10 00 00 00 00 41 01 01 10 00 00 0b 00 41 aa 01 14 "
	      "00 00 0a 00",
	      SENSE_BAD_PARAMETER);
	SENDS(f, "5d 00 00 00 00 00 00 00 18 00",
	      "41 01 00 10 00 00 00 00 41 01 01 10 00 00 02 00 41 aa 01 14 00 00 0a 00",
	      SENSE_BAD_PARAMETER);
	BYTE(f, DISC_INFO, 2, 0x00);
	SENDS(f, "5d 00 00 00 00 00 00 00 20 00", sheet, SENSE_GOOD);
	WRITE_FAILS(f, 0, 16, SENSE_BAD_WRITE_ADDRESS);
	BYTE(f, DISC_INFO, 2, 0x00);
}

/* N18 and sums that overflow; N29. */
static co_fn void addresses(struct fx *f)
{
	WRITES(f, 0, 320);
	GOOD(f, CLOSE("02", "00"));
	FAILS(f, "28 00 00 00 01 40 00 00 01 00", SENSE_LBA_RANGE);
	CHECK(f, f->sense_bytes[0] == 0xf0 && get_be32(f->sense_bytes + 3) == 320);
	FAILS(f, "28 00 00 00 01 3f 00 00 02 00", SENSE_LBA_RANGE);
	CHECK(f, f->in_done == 0);
	FAILS(f, "28 00 ff ff ff ff 00 00 02 00", SENSE_LBA_RANGE);
	FAILS(f, "28 00 7f ff ff ff 00 00 02 00", SENSE_LBA_RANGE);
	FAILS(f, "a8 00 00 00 00 00 ff ff ff ff 00 00", SENSE_LBA_RANGE);
	FAILS(f, "be 00 00 00 01 40 00 00 01 10 00 00", SENSE_LBA_RANGE);
	FAILS(f, "2f 00 00 00 01 3f 00 00 02 00", SENSE_LBA_RANGE);
	FAILS(f, "2f 02 00 00 00 00 00 00 02 00", SENSE_BAD_CDB_FIELD);
	GOOD(f, "2f 00 00 00 00 00 00 01 40 00");
	GOOD(f, "2f 00 00 00 00 00 00 00 00 00");
	FAILS(f, "2b 00 ff ff ff f0 00 00 00 00", SENSE_LBA_RANGE);
	GOOD(f, "2b 00 00 00 01 3f 00 00 00 00");
	GOOD(f, "0b 00 01 3f 00 00");
	GOOD(f, "01 00 00 00 00 00");
	GOOD(f, "28 00 00 00 00 00 00 00 00 00");
	GOOD(f, "28 00 ff ff ff ff 00 00 00 00");
	GOOD(f, "2a 00 00 00 00 00 00 00 00 00");
	fx_command(f, "aa 00 ff ff ff f0 00 00 00 20 00 00", 65536, 0);
	CHECK(f, f->sense == SENSE_LBA_RANGE);
	fx_command(f, "aa 00 00 00 00 00 ff ff ff ff 00 00", 65536, 0);
	CHECK(f, f->sense != SENSE_GOOD);
	FAILS(f, "43 00 04 00 00 00 00 00 ff 00", SENSE_BAD_CDB_FIELD); /* ATIP of a DVD */
	FAILS(f, "43 00 02 00 00 00 00 00 ff 00", SENSE_BAD_CDB_FIELD);
	FAILS(f, "be 00 00 00 00 00 00 00 01 f8 00 00", SENSE_CANNOT_READ_FORMAT);
	GOOD(f, "be 00 00 00 00 00 00 00 01 10 00 00");
	CHECK(f, f->in_done == 2048);
	FAILS(f, "44 00 00 00 00 00 00 00 08 00", SENSE_CANNOT_READ_FORMAT);
	FAILS(f, "42 00 40 02 00 00 00 00 18 00", SENSE_CANNOT_READ_FORMAT);
	REPLY(f, "42 00 00 00 00 00 00 00 18 00", "00 15 00 00");
	FAILS(f, "5d 00 00 00 00 00 00 00 20 00", SENSE_BAD_CDB_FIELD);
	READS(f, 0, 320);
}

/* Data that is shorter or longer than the CDB says. */
static co_fn void lengths(struct fx *f)
{
	fx_command(f, "2a 00 00 00 00 00 00 00 10 00", 16 * 2048 - 1, 0);
	CHECK(f, f->sense == SENSE_BAD_CDB_FIELD && f->out_done == 0);
	BYTE(f, DISC_INFO, 2, 0x00);
	WRITES(f, 0, 16);
	fx_command(f, "2a 00 00 00 00 10 00 00 10 00", 17 * 2048, 0);
	CHECK(f, f->sense == SENSE_GOOD && f->out_done == 16 * 2048);
	WORD32(f, TRACK_INFO("01"), 12, 32);
	fx_command(f, "28 00 00 00 00 00 00 00 02 00", 0, 3000);
	CHECK(f, f->sense == SENSE_GOOD && f->in_done == 3000 && get_be32(f->in + 2048) == 1);
	fx_command(f, "28 00 00 00 00 00 00 00 02 00", 0, 8192);
	CHECK(f, f->sense == SENSE_GOOD && f->in_done == 4096 && f->in[4096] == 0x5a);
	fx_command(f, "28 00 00 00 00 00 00 00 02 00", 0, 0);
	CHECK(f, f->sense == SENSE_GOOD && f->in_done == 0);
	fx_command(f, "08 00 00 01 01 00", 0, 2048);
	CHECK(f, f->sense == SENSE_GOOD && f->in_done == 2048 && get_be32(f->in) == 1);
	fx_command(f, "04 11 00 00 00 00", 4, 0);
	CHECK(f, f->sense == SENSE_CANNOT_FORMAT);
	fx_command(f, "54 00 00 00 00 00 00 00 07 00", 7, 0);
	CHECK(f, f->sense == SENSE_PARAMETER_LENGTH);
	fx_command(f, "54 00 00 00 00 00 00 00 08 00", 0, 0);
	CHECK(f, f->sense == SENSE_PARAMETER_LENGTH);
	fx_command(f, "54 00 00 00 00 00 00 00 08 00", 8, 0);
	CHECK(f, f->sense == SENSE_GOOD);
	FAILS(f, "3b 05 00 00 00 00 00 00 10 00", SENSE_BAD_CDB_FIELD);
	FAILS(f, "3b 02 00 00 00 00 00 00 10 00", SENSE_BAD_CDB_FIELD);
	FAILS(f, "bf 00 00 00 00 00 00 0f 00 08 00 00", SENSE_BAD_CDB_FIELD);
}

/* N30 */
static co_fn void nothing_to_close(struct fx *f)
{
	bool cd = drive_profile(f->drive) == PROFILE_CD_R;
	uint8_t before[34];

	fx_command(f, DISC_INFO, 0, 256);
	memcpy(before, f->in, sizeof(before));
	GOOD(f, SYNC);
	GOOD(f, SYNC_IMMED);
	WAITS(f);
	GOOD(f, CLOSE("02", "00"));
	GOOD(f, CLOSE("01", "01"));
	if (cd)
		GOOD(f, CLOSE("01", "ff"));
	fx_command(f, DISC_INFO, 0, 256);
	CHECK(f, memcmp(before, f->in, sizeof(before)) == 0);
	FAILS(f, "28 00 00 00 00 00 00 00 01 00", SENSE_LBA_RANGE);     /* N01 */
	FAILS(f, "43 00 00 00 00 00 00 00 ff 00", SENSE_BAD_CDB_FIELD); /* N02 */
}

/* FORMAT UNIT and BLANK: parameter lists and look-alikes. */
static co_fn void formats(struct fx *f)
{
	FAILS(f, "a1 00 00 00 00 00 00 00 00 00 01 00", SENSE_BAD_CDB_FIELD);
	/* ATA PASS-THROUGH(12): */
	FAILS(f, "a1 08 0e 00 01 00 00 00 00 ec 00 00", SENSE_BAD_CDB_FIELD);
	FAILS(f, "a1 02 00 00 00 00 00 00 00 00 00 00", SENSE_BAD_CDB_FIELD);
	FAILS(f, "a1 06 00 00 00 00 00 00 00 00 00 00", SENSE_BAD_CDB_FIELD);
	SENDS(f, "04 01 00 00 00 00", "00 02 00 08 00 00 00 00 54 00 00 10", SENSE_BAD_CDB_FIELD);
	SENDS(f, "04 10 00 00 00 00", "00 02 00 08 00 00 00 00 54 00 00 10", SENSE_BAD_CDB_FIELD);
	SENDS(f, "04 11 00 00 00 00", "00 02 00 08 00 00 00 00 54 00 00", SENSE_PARAMETER_LENGTH);
	SENDS(f, "04 11 00 00 00 00", "00 02 00 10 00 00 00 00 54 00 00 10", SENSE_BAD_PARAMETER);
	SENDS(f, "04 11 00 00 00 00", "00 02 00 08 00 00 00 00 98 00 00 10", SENSE_BAD_PARAMETER);
	CHECK(f, f->sense_bytes[15] == 0x80 && get_be16(f->sense_bytes + 16) == 8);
	SENDS(f, "04 11 00 00 00 00", "00 02 00 08 00 ff ff ff 40 00 00 10", SENSE_BAD_PARAMETER);
	SENDS(f, "04 11 00 00 00 00", "00 00 00 08 00 00 00 10 40 00 00 10", SENSE_BAD_PARAMETER);
	SENDS(f, "04 11 00 00 00 00", "00 8a 00 08 00 00 00 00 54 00 00 10", SENSE_BAD_PARAMETER);
	BYTE(f, PROFILE, 7, 0x14);
	BYTE(f, DISC_INFO, 2, 0x10);
	GOOD(f, "a1 01 00 00 00 00 00 00 00 00 00 00");
	GOOD(f, "a1 00 00 00 00 00 00 00 00 00 00 00");
	BYTE(f, DISC_INFO, 2, 0x10);
}

/* N11: page 1Dh SWPP. */
static co_fn void software_protection(struct fx *f)
{
	SENDS(f, "55 10 00 00 00 00 00 00 12 00",
	      "00 00 00 00 00 00 00 00 1d 08 00 00 01 00 00 00 00 00", SENSE_GOOD);
	WRITE_FAILS(f, 0, 16, SENSE_SOFTWARE_PROTECTED);
	FAILS(f, CLOSE("02", "00"), SENSE_SOFTWARE_PROTECTED);
	FAILS(f, "53 00 00 00 00 00 00 00 10 00", SENSE_SOFTWARE_PROTECTED);
	REPLY(f, "ad 00 00 00 00 00 00 c0 00 ff 00 00", "00 06 00 00 01 00 00 00");
	SENDS(f, "55 10 00 00 00 00 00 00 12 00",
	      "00 00 00 00 00 00 00 00 1d 08 00 00 00 00 00 00 00 00", SENSE_GOOD);
	WRITES(f, 0, 16);
}

/* The medium is full: nothing of a write over its end is stored. */
static co_fn void full_medium(struct fx *f)
{
	WRITES(f, 0, 2048 - 16);
	WRITE_FAILS(f, 2048 - 16, 32, SENSE_LBA_RANGE);
	WRITES(f, 2048 - 16, 16);
	CHECK(f, fx_command(f, "2a 00 00 00 08 00 00 00 10 00", 32768, 0) != SENSE_GOOD);
	GOOD(f, CLOSE("01", "01"));
	GOOD(f, CLOSE("02", "00"));
	READS(f, 0, 2048);
	WORD32(f, CAPACITY, 0, 2047);
}

/* WRITE AND VERIFY reads back; on media whose blocks have no readable form it is refused. */
static co_fn void verified_writes(struct fx *f)
{
	for (unsigned i = 0; i < 100 * 2048u; i++)
		f->out[i] = (uint8_t)(i / 7);
	fx_command(f, "2e 00 00 00 00 00 00 00 64 00", 100 * 2048, 0);
	CHECK(f, f->sense == SENSE_GOOD && f->out_done == 100 * 2048);
	fx_command(f, "28 00 00 00 00 00 00 00 64 00", 0, 100 * 2048);
	CHECK(f, f->sense == SENSE_GOOD && memcmp(f->in, f->out, 100 * 2048) == 0);
	CHECK(f,
	      fx_command(f, "2e 00 00 00 00 00 00 00 01 00", 2048, 0) == SENSE_BAD_WRITE_ADDRESS);
	CHECK(f, fx_command(f, "2e 00 ff ff ff ff 00 00 02 00", 4096, 0) == SENSE_LBA_RANGE);
	GOOD(f, "2e 00 00 00 00 00 00 00 00 00");
}

#define TEST(name, type, blocks)              \
	static void test_##name(void **state) \
	{                                     \
		(void)state;                  \
		fx_run(type, blocks, name);   \
	}
TEST(appendable_cd, "cd-r", 0)
TEST(cue_sheets, "cd-r", 0)
TEST(addresses, "dvd+r", 0)
TEST(lengths, "dvd+r", 0)
TEST(formats, "dvd-rw", 0)
TEST(software_protection, "dvd+r", 0)
TEST(full_medium, "dvd+r", 2048)
TEST(verified_writes, "dvd+r", 0)

static void test_complete_disc(void **state)
{
	(void)state;
	fx_run("cd-r", 0, complete_disc);
	fx_run("dvd+r", 0, complete_disc);
	fx_run("dvd-r", 0, complete_disc);
	fx_run("bd-r", 0, complete_disc);
}

static void test_nothing_to_close(void **state)
{
	(void)state;
	fx_run("cd-r", 0, nothing_to_close);
	fx_run("dvd+r", 0, nothing_to_close);
	fx_run("dvd-r", 0, nothing_to_close);
	fx_run("dvd-rw", 0, nothing_to_close);
	fx_run("bd-r", 0, nothing_to_close);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_complete_disc), cmocka_unit_test(test_appendable_cd),
		cmocka_unit_test(test_cue_sheets),    cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_lengths),       cmocka_unit_test(test_nothing_to_close),
		cmocka_unit_test(test_formats),       cmocka_unit_test(test_software_protection),
		cmocka_unit_test(test_full_medium),   cmocka_unit_test(test_verified_writes),
	};

	return RUN_TESTS(tests);
}
