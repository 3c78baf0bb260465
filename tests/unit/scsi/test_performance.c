/* Speeds: GET PERFORMANCE, SET STREAMING, SET CD SPEED, and page 2Ah that follows them. */
#include "mmc_fixture.h"

#define PERFORMANCE(b1, max, type) "ac " b1 " 00 00 00 00 00 00 00 " max " " type " 00"
#define STREAMING                  "b6 00 00 00 00 00 00 00 00 00 1c 00"
#define SPEED(read, write)         "bb 00 " read " " write " 00 00 00 00 00 00"

static co_fn void expect_write_speed(struct fx *f, int line, unsigned kb)
{
	fx_expect(f, line, "5a 08 2a 00 00 00 00 00 ff 00", NULL, SENSE_GOOD);
	if (get_be16(f->in + 8 + 28) != kb)
		fx_fail(f, line, "%u kB/s selected, expected %u", get_be16(f->in + 8 + 28), kb);
	fx_expect(f, line, PERFORMANCE("14", "01", "00"), NULL, SENSE_GOOD);
	if (f->in_done != 24 || get_be32(f->in + 12) != kb || get_be32(f->in + 20) != kb)
		fx_fail(f, line, "GET PERFORMANCE says %u", get_be32(f->in + 12));
}

#define WRITE_SPEED(f, kb) expect_write_speed(f, __LINE__, kb)

static co_fn void write_speed_list(struct fx *f)
{
	REPLY(f, PERFORMANCE("00", "10", "03"),
	      "00 00 00 34 02 00 00 00"
	      "00 00 00 00 00 23 05 3f 00 00 56 90 00 00 56 90"
	      "00 00 00 00 00 23 05 3f 00 00 56 90 00 00 2b 48"
	      "00 00 00 00 00 23 05 3f 00 00 56 90 00 00 15 a4");
	/* The length is the whole list's, however little of it is asked for. */
	REPLY(f, PERFORMANCE("00", "00", "03"), "00 00 00 34 02 00 00 00");
	REPLY(f, PERFORMANCE("00", "01", "03"),
	      "00 00 00 34 02 00 00 00 00 00 00 00 00 23 05 3f 00 00 56 90 00 00 56 90");
}

static co_fn void nominal(struct fx *f)
{
	REPLY(f, PERFORMANCE("10", "01", "00"),
	      "00 00 00 14 00 00 00 00 00 00 00 00 00 00 56 90 00 23 05 3f 00 00 56 90");
	REPLY(f, PERFORMANCE("04", "01", "00"),
	      "00 00 00 14 02 00 00 00 00 00 00 00 00 00 56 90 00 23 05 3f 00 00 56 90");
	REPLY(f, PERFORMANCE("12", "01", "00"), "00 00 00 04 01 00 00 00");
	REPLY(f, PERFORMANCE("00", "01", "01"), "00 00 00 04 00 00 00 00");
	FAILS(f, PERFORMANCE("00", "01", "04"), SENSE_BAD_CDB_FIELD);
	FAILS(f, PERFORMANCE("00", "01", "05"), SENSE_BAD_CDB_FIELD);
}

static co_fn void set_speed(struct fx *f)
{
	WRITE_SPEED(f, 22160);
	GOOD(f, SPEED("ff ff", "15 a4"));
	WRITE_SPEED(f, 5540);
	GOOD(f, SPEED("ff ff", "2b 47")); /* just below 8x: 4x */
	WRITE_SPEED(f, 5540);
	GOOD(f, SPEED("ff ff", "00 01")); /* never below what the medium can do */
	WRITE_SPEED(f, 5540);
	GOOD(f, SPEED("ff ff", "ff ff"));
	WRITE_SPEED(f, 22160);
}

static co_fn void set_streaming(struct fx *f)
{
	SENDS(f, STREAMING,
	      "00 00 00 00 00 00 00 00 00 00 00 00 00 00 56 90 00 00 03 e8 00 00 2b 48 00 00 03 e8",
	      SENSE_GOOD);
	WRITE_SPEED(f, 11080);
	/* libburn: any size, unlimited reading; end address beyond everything. */
	SENDS(f, STREAMING,
	      "00 00 00 00 00 00 00 00 ff ff ff ff 10 00 00 00 00 00 03 e8 00 00 15 a4 00 00 03 e8",
	      SENSE_GOOD);
	WRITE_SPEED(f, 5540);
	SENDS(f, STREAMING,
	      "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00",
	      SENSE_GOOD); /* no time: as fast as can be */
	WRITE_SPEED(f, 22160);
	SENDS(f, STREAMING,
	      "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 01 00 00 03 e8 00 00 00 01 00 00 03 e8",
	      SENSE_GOOD);
	WRITE_SPEED(f, 5540);
	SENDS(f, STREAMING,
	      "04 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00",
	      SENSE_GOOD);
	WRITE_SPEED(f, 22160);
	SENDS(f, STREAMING, "00 00 00 00", SENSE_PARAMETER_LENGTH);
	FAILS(f, "b6 00 00 00 00 00 00 00 01 00 1c 00", SENSE_BAD_CDB_FIELD);
}

static co_fn void without_medium(struct fx *f)
{
	REPLY(f, PERFORMANCE("00", "10", "03"), "00 00 00 04 02 00 00 00");
	REPLY(f, PERFORMANCE("10", "10", "00"), "00 00 00 04 00 00 00 00");
	GOOD(f, SPEED("ff ff", "ff ff"));
	FAILS(f, STREAMING, SENSE_NO_MEDIUM_CLOSED);
}

/* dvd+rw-mediainfo and growisofs give up on speeds below 1x of the medium. */
static co_fn void none_is_too_slow(struct fx *f)
{
	unsigned slowest = disc_profile_find(drive_profile(f->drive))->speed_1x_kb - 1u, n;

	GOOD(f, PERFORMANCE("00", "20", "03"));
	n = (get_be32(f->in) - 4) / 16;
	CHECK(f, n > 0);
	for (unsigned i = 0; i < n; i++) {
		CHECK(f, get_be32(f->in + 8 + 16 * i + 12) >= slowest);
		CHECK(f, i == 0 || get_be32(f->in + 8 + 16 * i + 12) <
					   get_be32(f->in + 8 + 16 * i - 4));
	}
	GOOD(f, SPEED("00 01", "00 01"));
	GOOD(f, "5a 08 2a 00 00 00 00 00 ff 00");
	CHECK(f, get_be16(f->in + 8 + 28) >= slowest && get_be16(f->in + 8 + 14) >= slowest);
	CHECK(f, f->in[9] == 0x1e + 4 * get_be16(f->in + 8 + 30) && f->in_done <= 128);
}

#define ON(test, type, fn)                    \
	static void test_##test(void **state) \
	{                                     \
		(void)state;                  \
		fx_run(type, 0, fn);          \
	}

ON(write_speed_list, "dvd+r", write_speed_list)
ON(nominal, "dvd+r", nominal)
ON(set_speed, "dvd+r", set_speed)
ON(set_streaming, "dvd+r", set_streaming)
ON(without_medium, NULL, without_medium)
ON(cd, "cd-r", none_is_too_slow)
ON(dvd, "dvd-rw", none_is_too_slow)
ON(bd, "bd-r", none_is_too_slow)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_write_speed_list),
		cmocka_unit_test(test_nominal),
		cmocka_unit_test(test_set_speed),
		cmocka_unit_test(test_set_streaming),
		cmocka_unit_test(test_without_medium),
		cmocka_unit_test(test_cd),
		cmocka_unit_test(test_dvd),
		cmocka_unit_test(test_bd),
	};

	return RUN_TESTS(tests);
}
