/* Replies of the media commands, byte by byte (mmc.md appendix A). */
#include "mmc_fixture.h"

#define ATIP      "43 00 04 00 00 00 00 00 ff 00"
#define TRACK_FFH TRACK_INFO("ff")

static co_fn void blank_cd(struct fx *f)
{
	REPLY(f, DISC_INFO,
	      "00 20 00 01 01 01 01 20 ff 00 00 00 00 00 00 00"
	      "00 61 1a 42 00 4f 3b 4a 00 00 00 00 00 00 00 00"
	      "00 00");
	PAGE5(f, 0x41, 0x04, 8);
	REPLY(f, TRACK_FFH,
	      "00 2e 01 01 00 04 4f 01 00 00 00 00 00 00 00 00"
	      "00 05 7d a9 00 00 00 00 00 05 7d a9 00 00 00 00"
	      "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00");
	PAGE5(f, 0x42, 0x04, 8);
	WORD32(f, TRACK_FFH, 8, 0xffffff6a);
	WORD32(f, TRACK_FFH, 12, 0xffffff6a);
	REPLY(f, ATIP,
	      "00 1a 00 00 d0 40 a0 00 61 1a 42 00 4f 3b 4a 00"
	      "00 00 00 00 00 00 00 00 00 00 00 00");
	REPLY(f, CAPACITY, "00 00 00 00 00 00 08 00");
	REPLY(f, FORMATS, "00 00 00 08 00 05 7d a9 01 00 08 00");
}

static co_fn void cd_with_a_session(struct fx *f)
{
	PAGE5(f, 0x41, 0xc4, 8);
	WRITES(f, 0, 10000);
	GOOD(f, SYNC);
	GOOD(f, CLOSE("02", "00"));
	REPLY(f, DISC_INFO,
	      "00 20 01 01 02 02 02 20 00 00 00 00 00 00 00 00"
	      "00 03 2d 1b 00 4f 3b 4a 00 00 00 00 00 00 00 00"
	      "00 00");
	REPLY(f, TRACK_FFH,
	      "00 2e 02 02 00 04 4f 01 00 00 53 9a 00 00 53 9a"
	      "00 05 2a 0f 00 00 00 00 00 05 2a 0f 00 00 00 00"
	      "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00");
	REPLY(f, "43 00 00 00 00 00 00 00 ff 00",
	      "00 12 01 01 00 14 01 00 00 00 00 00 00 14 aa 00 00 00 27 12");
	REPLY(f, "43 02 00 00 00 00 00 00 ff 00",
	      "00 12 01 01 00 14 01 00 00 00 02 00 00 14 aa 00 00 02 0f 1b");
	REPLY(f, "43 00 00 00 00 00 aa 00 ff 00", "00 0a 01 01 00 14 aa 00 00 00 27 12");
	REPLY(f, "43 00 01 00 00 00 00 00 ff 00", "00 0a 01 01 00 14 01 00 00 00 00 00");
	REPLY(f, "43 00 00 00 00 00 00 00 0c 40", "00 0a 01 01 00 14 01 00 00 00 00 00");
	REPLY(f, "43 00 02 00 00 00 00 00 ff 00",
	      "00 44 01 01"
	      "01 14 00 a0 00 00 00 00 01 00 00"
	      "01 14 00 a1 00 00 00 00 01 00 00"
	      "01 14 00 a2 00 00 00 00 02 0f 1b"
	      "01 14 00 01 00 00 00 00 00 02 00"
	      "01 54 00 b0 04 2d 1b 02 4f 3b 4a"
	      "01 54 00 c0 00 00 00 00 61 1a 42");
	REPLY(f, "43 00 00 00 00 00 00 00 ff 80",
	      "00 44 01 01"
	      "01 14 00 a0 00 00 00 00 01 00 00"
	      "01 14 00 a1 00 00 00 00 01 00 00"
	      "01 14 00 a2 00 00 00 00 02 0f 1b"
	      "01 14 00 01 00 00 00 00 00 02 00"
	      "01 54 00 b0 04 2d 1b 02 4f 3b 4a"
	      "01 54 00 c0 00 00 00 00 61 1a 42");
	REPLY(f, CAPACITY, "00 00 27 11 00 00 08 00");
	REPLY(f, "43 00 05 00 00 00 00 00 ff 00", "00 02 00 00");
	REPLY(f, "43 00 03 00 00 00 00 00 ff 00", "00 02 00 00");
	FAILS(f, "43 00 02 00 00 00 02 00 ff 00", SENSE_BAD_CDB_FIELD);
	FAILS(f, "43 00 00 00 00 00 02 00 ff 00", SENSE_BAD_CDB_FIELD);
	FAILS(f, "43 00 06 00 00 00 00 00 ff 00", SENSE_BAD_CDB_FIELD);
}

static co_fn void finalised_cd(struct fx *f)
{
	PAGE5(f, 0x41, 0x04, 8);
	WRITES(f, 0, 320);
	REPLY(f, "43 00 03 00 00 00 00 00 ff 00", "00 02 00 00");
	GOOD(f, SYNC);
	/* The closed track of an open session stands in the PMA only. */
	REPLY(f, "43 00 03 00 00 00 00 00 ff 00", "00 0d 00 00 01 14 00 01 00 06 15 00 00 02 00");
	GOOD(f, CLOSE("02", "00"));
	REPLY(f, DISC_INFO,
	      "00 20 0e 01 01 01 01 20 00 00 00 00 00 00 00 00"
	      "ff ff ff ff ff ff ff ff 00 00 00 00 00 00 00 00"
	      "00 00");
	REPLY(f, "43 00 02 00 00 00 00 00 ff 00",
	      "00 2e 01 01"
	      "01 14 00 a0 00 00 00 00 01 00 00"
	      "01 14 00 a1 00 00 00 00 01 00 00"
	      "01 14 00 a2 00 00 00 00 00 06 16"
	      "01 14 00 01 00 00 00 00 00 02 00");
	FAILS(f, TRACK_FFH, SENSE_BAD_CDB_FIELD);
	WORD32(f, TRACK_INFO("01"), 24, 322);
	BYTE(f, TRACK_INFO("01"), 6, 0x01);
}

static co_fn void blank_dvd_plus_r(struct fx *f)
{
	static const char *const track = "00 2e 01 01 00 07 41 01 00 00 00 00 00 00 00 00"
					 "00 23 05 40 00 00 00 10 00 23 05 40 00 00 00 00"
					 "00 00 00 00 00 04 0d 0e 00 00 00 00 00 00 00 00";

	REPLY(f, DISC_INFO,
	      "00 20 00 01 01 01 01 10 00 00 00 00 00 00 00 00"
	      "00 00 00 00 00 23 05 40 00 00 00 00 00 00 00 00"
	      "00 00");
	REPLY(f, TRACK_INFO("01"), track);
	REPLY(f, TRACK_FFH, track);
	REPLY(f, "52 00 00 00 00 00 00 00 ff 00", track); /* LBA 0, as wodim asks */
	REPLY(f, "52 02 00 00 00 01 00 00 ff 00", track); /* session 1 */
	REPLY(f, "52 05 00 00 00 01 00 00 ff 00", track); /* next open track from 1 */
	REPLY(f, FORMATS, "00 00 00 08 00 23 05 40 01 00 08 00");
	REPLY(f, "ad 00 00 00 00 00 00 c0 00 ff 00 00", "00 06 00 00 00 00 00 00");
	REPLY(f, "ad 00 00 00 00 00 00 01 00 ff 00 00", "00 06 00 00 00 00 00 00");
	FAILS(f, "43 00 00 00 00 00 00 00 ff 00", SENSE_BAD_CDB_FIELD);
	FAILS(f, "43 00 01 00 00 00 00 00 ff 00", SENSE_BAD_CDB_FIELD);
	FAILS(f, "43 00 02 00 00 00 00 00 ff 00", SENSE_BAD_CDB_FIELD);
	FAILS(f, "43 00 04 00 00 00 00 00 ff 00", SENSE_BAD_CDB_FIELD);
	REPLY(f, "5c 00 00 00 00 00 00 00 ff 00", "00 0a 00 00 00 40 00 00 00 40 00 00");
	REPLY(f, "5c 01 00 00 00 00 00 00 ff 00", "00 0a 00 01 00 00 08 00 00 00 08 00");
	FAILS(f, "ab 01 00 00 00 00 00 00 00 ff 00 00", SENSE_BAD_OPCODE);
	REPLY(f, "3c 03 00 00 00 00 00 00 04 00", "00 00 00 00");
}

static co_fn void blank_bd_r(struct fx *f)
{
	REPLY(f, FORMATS,
	      "00 00 00 28 00 ba 74 00 01 00 08 00 00 b4 74 00 00 00 30 00"
	      "00 b4 74 00 c8 00 30 00 00 b0 74 00 c8 00 50 00 00 b8 74 00 c8 00 10 00");
	BYTE(f, DISC_INFO, 2, 0x00);
	WORD32(f, DISC_INFO, 20, 12219392);
	WORD32(f, TRACK_INFO("01"), 16, 12219392);
	WORD32(f, TRACK_INFO("01"), 20, 32);
}

static co_fn void no_medium(struct fx *f)
{
	REPLY(f, FORMATS, "00 00 00 08 00 ba 74 00 03 00 08 00");
	REPLY(f, "ad 00 00 00 00 00 00 ff 00 ff 00 00", "00 0a 00 00 c0 40 00 06 ff 40 00 0a");
	FAILS(f, "ad 00 00 00 00 00 00 00 00 ff 00 00", SENSE_NO_MEDIUM_CLOSED);
	FAILS(f, CAPACITY, SENSE_NO_MEDIUM_CLOSED);
	FAILS(f, DISC_INFO, SENSE_NO_MEDIUM_CLOSED);
	FAILS(f, "43 00 00 00 00 00 00 00 ff 00", SENSE_NO_MEDIUM_CLOSED);
	GOOD(f, SYNC);
	GOOD(f, SYNC_IMMED);
	REPLY(f, "5c 00 00 00 00 00 00 00 ff 00", "00 0a 00 00 00 40 00 00 00 40 00 00");
}

static co_fn void dvd_structures(struct fx *f)
{
	fx_command(f, "ad 00 00 00 00 00 00 00 08 04 00 00", 0, 4096);
	CHECK(f, f->sense == SENSE_GOOD && f->in_done == 2052 && get_be16(f->in) == 0x802);
	CHECK(f, f->in[4] == 0xa1 && f->in[6] == 0x02);
	CHECK(f, get_be32(f->in + 8) == 0x30000 && get_be32(f->in + 12) == 0x30000 + 2295104 - 1);
	FAILS(f, "ad 00 00 00 00 00 01 00 08 04 00 00", SENSE_BAD_CDB_FIELD); /* layer 1 */
	fx_command(f, "ad 00 00 00 00 00 00 11 04 00 00 00", 0, 4096);
	CHECK(f, f->sense == SENSE_GOOD && f->in_done == 260 && get_be16(f->in) == 0x102);
	CHECK(f, f->in[4 + 19] > ' ' && f->in[4 + 27] > ' ');
	FAILS(f, "ad 01 00 00 00 00 00 00 08 04 00 00", SENSE_CANNOT_READ_FORMAT); /* as a BD */
	FAILS(f, "ad 00 00 00 00 00 00 0e 08 04 00 00", SENSE_BAD_CDB_FIELD);
	FAILS(f, "ad 00 00 00 00 00 00 02 08 04 00 00", SENSE_BAD_CDB_FIELD);
	/* Every structure in the list can be read and is as long as the list says. */
	fx_command(f, "ad 00 00 00 00 00 00 ff 08 00 00 00", 0, 4096);
	CHECK(f, f->sense == SENSE_GOOD && get_be16(f->in) + 2u == f->in_done);

	uint8_t list[256];
	size_t len = MIN(f->in_done, sizeof(list));

	memcpy(list, f->in, len);
	for (size_t i = 4; i + 4 <= len; i += 4) {
		char *cdb = g_strdup_printf("ad 00 00 00 00 00 00 %02x ff ff 00 00", list[i]);

		fx_command(f, cdb, 0, 8192);
		CHECK(f, f->sense == SENSE_GOOD && get_be16(f->in) == get_be16(list + i + 2));
		CHECK(f, f->in_done == get_be16(f->in) + 2u && list[i + 1] == 0x40);
		g_free(cdb);
	}
}

static co_fn void dash_structures(struct fx *f)
{
	fx_command(f, "ad 00 00 00 00 00 00 0e 04 00 00 00", 0, 4096);
	CHECK(f, f->sense == SENSE_GOOD && f->in_done >= 12 && f->in[4] == 1 && f->in[12] == 2 &&
			 f->in[20] == 3);
	CHECK(f, f->in[21] > ' ' && f->in[28] == 4);
	FAILS(f, "ad 00 00 00 00 00 00 10 08 04 00 00", SENSE_BAD_CDB_FIELD);
	FAILS(f, "ad 00 00 00 00 00 00 11 08 04 00 00", SENSE_BAD_CDB_FIELD);
	PAGE5(f, 0x60, 0xe5, 8);
	WRITES(f, 0, 32);
	fx_command(f, "ad 00 00 00 00 00 00 10 08 04 00 00", 0, 4096);
	CHECK(f, f->sense == SENSE_GOOD && f->in_done == 2052 && f->in[4] == 0x25);
}

static co_fn void bd_structures(struct fx *f)
{
	fx_command(f, "ad 01 00 00 00 00 00 00 ff ff 00 00", 0, 8192);
	CHECK(f, f->sense == SENSE_GOOD && f->in_done == 4100 && get_be16(f->in) == 4098);
	CHECK(f, memcmp(f->in + 4, "DI", 2) == 0 && memcmp(f->in + 12, "BDR", 3) == 0);
	CHECK(f, f->in[4 + 12] == 0x12 && f->in[4 + 100] > ' ');
	FAILS(f, "ad 00 00 00 00 00 00 00 ff ff 00 00", SENSE_CANNOT_READ_FORMAT); /* as a DVD */
	REPLY(f, "ad 01 00 00 00 00 00 0a 00 ff 00 00",
	      "00 0e 00 00 00 00 00 00 00 00 00 00 00 00 00 00");
	REPLY(f, "ad 01 00 00 00 00 00 ff 00 ff 00 00",
	      "00 16 00 00 00 40 10 02 08 40 08 02 0a 40 00 0e c0 40 00 06 ff 40 00 16");
}

#define TEST(name, type)                      \
	static void test_##name(void **state) \
	{                                     \
		(void)state;                  \
		fx_run(type, 0, name);        \
	}
TEST(blank_cd, "cd-r")
TEST(cd_with_a_session, "cd-r")
TEST(finalised_cd, "cd-r")
TEST(blank_dvd_plus_r, "dvd+r")
TEST(blank_bd_r, "bd-r")
TEST(no_medium, NULL)
TEST(dvd_structures, "dvd+r")
TEST(dash_structures, "dvd-r")
TEST(bd_structures, "bd-r")

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_blank_cd),       cmocka_unit_test(test_cd_with_a_session),
		cmocka_unit_test(test_finalised_cd),   cmocka_unit_test(test_blank_dvd_plus_r),
		cmocka_unit_test(test_blank_bd_r),     cmocka_unit_test(test_no_medium),
		cmocka_unit_test(test_dvd_structures), cmocka_unit_test(test_dash_structures),
		cmocka_unit_test(test_bd_structures),
	};

	return RUN_TESTS(tests);
}
