/* Lives of DVD-R and sequential DVD-RW: incremental and at once (reference/mmc.md 5.5). */
#include "disc_fixture.h"

enum { INCREMENTAL = 0, DAO = 2, LAST = 0, NEXT = 3 };

#define BLANK_DVD_R                                       \
	"11 blank empty, sessions 1, tracks 1-1, end 0\n" \
	"session 1 empty start 0 out 0 next 0\n"

static co_fn void blank_disc(void *arg)
{
	struct disc *d = new_disc("dvd-r", 0);
	struct disc_track_info t;

	(void)arg;
	set_mode(d, INCREMENTAL, LAST);
	assert_disc(d,
		    BLANK_DVD_R "track 1/1 mode 41 -BP- start 0 nwa 0 free 2298496 size 2298496\n");
	set_mode(d, DAO, LAST);
	assert_disc(d,
		    BLANK_DVD_R "track 1/1 mode 41 -B-- start 0 nwa 0 free 2298496 size 2298496\n");
	assert_int_equal(disc_get_track_info(d, 1, &t), DISC_OK);
	assert_int_equal(t.packet_size, 16);
	assert_false(t.fixed);
	end_disc(d);
}

static co_fn void incremental(void *arg)
{
	struct disc *d = new_disc("dvd-r", 65536);

	(void)arg;
	set_mode(d, INCREMENTAL, NEXT);
	assert_int_equal(put(d, 0, 16, 1), DISC_OK);
	assert_int_equal(put(d, 16, 3, 2), DISC_OK);
	assert_int_equal(disc_sync(d), DISC_OK);
	assert_int_equal(put(d, 32, 16, 3), DISC_OK);
	assert_int_equal(disc_close_track(d, 1), DISC_OK);
	assert_disc(d, "11 appendable incomplete, sessions 1, tracks 1-2, end 0\n"
		       "session 1 incomplete start 0 out 0 next 0\n"
		       "track 1/1 mode 41 --P- start 0 free 0 size 48 last 47\n"
		       "track 2/1 mode 41 -BP- start 48 nwa 48 free 65488 size 65488\n");
	assert_int_equal(disc_close_session(d), DISC_OK);
	assert_disc(d, "11 appendable empty, sessions 2, tracks 2-2, end 47\n"
		       "session 1 complete start 0 out 48 next 2096\n"
		       "session 2 empty start 2096 out 0 next 0\n"
		       "track 1/1 mode 41 --P- start 0 free 0 size 48 last 47\n"
		       "track 2/2 mode 41 -BP- start 2096 nwa 2096 free 63440 size 63440\n");
	set_mode(d, DAO, LAST);
	assert_int_equal(put(d, 2096, 16, 4), DISC_SEQUENCE);
	assert_int_equal(disc_reserve_track(d, 16), DISC_SEQUENCE);
	set_mode(d, INCREMENTAL, LAST);
	assert_int_equal(put(d, 2096, 16, 4), DISC_OK);
	assert_int_equal(disc_close_session(d), DISC_OK);
	assert_disc(d, "11 complete complete, sessions 2, tracks 2-2, end 2111\n"
		       "session 1 complete start 0 out 48 next 2096\n"
		       "session 2 complete start 2096 out 2112 next 0\n"
		       "track 1/1 mode 41 --P- start 0 free 0 size 48 last 47\n"
		       "track 2/2 mode 41 --P- start 2096 free 0 size 16 last 2111\n");
	assert_int_equal(put(d, 2112, 16, 5), DISC_FINALISED);
	assert_int_equal(disc_blank(d, 0), DISC_INCOMPATIBLE);
	assert_pattern(d, 0, 16, 1);
	assert_pattern(d, 16, 3, 2);
	assert_zeros(d, 19, 13);
	assert_pattern(d, 32, 16, 3);
	assert_pattern(d, 2096, 16, 4);
	end_disc(d);
}

static co_fn void at_once(void *arg)
{
	struct disc *d = new_disc("dvd-r", 65536);

	(void)arg;
	set_mode(d, DAO, NEXT);
	assert_int_equal(disc_reserve_track(d, 0), DISC_BAD_PARAMETER);
	assert_int_equal(disc_reserve_track(d, 65537), DISC_RANGE);
	assert_int_equal(disc_reserve_track(d, 100), DISC_OK);
	assert_disc(d, BLANK_DVD_R "track 1/1 mode 41 -B-- start 0 nwa 0 free 65536 size 65536\n");
	assert_int_equal(disc_reserve_track(d, 1000), DISC_OK); /* thought better */
	assert_int_equal(disc_sync(d), DISC_OK);
	assert_disc(d, BLANK_DVD_R "track 1/1 mode 41 -B-- start 0 nwa 0 free 65536 size 65536\n");
	d = reopen(d, true);
	set_mode(d, DAO, NEXT);
	assert_int_equal(state_track(disc_get_state(d), 1)->size, 1008);
	assert_int_equal(put(d, 0, 1009, 1), DISC_END_OF_TRACK);
	assert_int_equal(put(d, 16, 16, 1), DISC_NOT_NWA);
	assert_int_equal(put(d, 0, 500, 1), DISC_OK);
	assert_disc(d, "11 appendable incomplete, sessions 1, tracks 1-1, end 0\n"
		       "session 1 incomplete start 0 out 0 next 0\n"
		       "track 1/1 mode 41 R--- start 0 nwa 500 free 508 size 1008 last 499\n");
	d = reopen(d, true);
	set_mode(d, DAO, NEXT);
	assert_int_equal(put(d, 500, 509, 2), DISC_END_OF_TRACK);
	assert_int_equal(put(d, 500, 500, 2), DISC_OK);
	assert_int_equal(disc_sync(d), DISC_OK); /* the end: no CLOSE comes */
	assert_int_equal(disc_sync(d), DISC_OK);
	assert_disc(d, "11 complete complete, sessions 1, tracks 1-1, end 1007\n"
		       "session 1 complete start 0 out 1008 next 0\n"
		       "track 1/1 mode 41 ---- start 0 free 0 size 1008 last 1007\n");
	assert_pattern(d, 0, 500, 1);
	assert_pattern(d, 500, 500, 2);
	assert_zeros(d, 1000, 8);
	end_disc(d);
}

/* A reservation for a disc at once that never came does not bind incremental writing. */
static co_fn void change_of_mind(void *arg)
{
	struct disc *d = new_disc("dvd-r", 65536);

	(void)arg;
	set_mode(d, DAO, LAST);
	assert_int_equal(disc_reserve_track(d, 100), DISC_OK);
	assert_int_equal(disc_close_session(d), DISC_RESERVED_EMPTY);
	set_mode(d, INCREMENTAL, LAST);
	assert_int_equal(put(d, 0, 200, 1), DISC_OK);
	assert_disc(d, "11 appendable incomplete, sessions 1, tracks 1-1, end 0\n"
		       "session 1 incomplete start 0 out 0 next 0\n"
		       "track 1/1 mode 41 --P- start 0 nwa 200 free 65336 size 65536 last 199\n");
	set_mode(d, DAO, LAST);
	assert_int_equal(put(d, 200, 16, 1), DISC_SEQUENCE);
	set_mode(d, 1, LAST);
	assert_int_equal(put(d, 200, 16, 1), DISC_WRONG_MODE);
	end_disc(d);
}

static co_fn void zones(void *arg)
{
	struct disc *d = new_disc("dvd-r", 65536);

	(void)arg;
	set_mode(d, INCREMENTAL, NEXT);
	assert_int_equal(disc_reserve_track(d, 100), DISC_OK);
	assert_int_equal(disc_reserve_track(d, 100), DISC_OK);
	assert_int_equal(disc_reserve_track(d, 100), DISC_NO_MORE_TRACKS);
	assert_int_equal(put(d, 224, 16, 3), DISC_OK); /* the invisible one */
	assert_int_equal(put(d, 0, 112, 1), DISC_OK);
	assert_int_equal(disc_close_session(d), DISC_RESERVED_EMPTY);
	assert_int_equal(put(d, 112, 100, 2), DISC_OK);
	assert_int_equal(disc_close_session(d), DISC_OK);
	assert_int_equal(disc_last_lba(d), 239);
	assert_pattern(d, 0, 112, 1);
	assert_pattern(d, 112, 100, 2);
	assert_pattern(d, 224, 16, 3);
	end_disc(d);
}

static co_fn void test_writes(void *arg)
{
	struct disc *d = new_disc("dvd-r", 65536);
	const char *blank =
		BLANK_DVD_R "track 1/1 mode 41 -BP- start 0 nwa 0 free 65536 size 65536\n";

	(void)arg;
	set_test_mode(d, INCREMENTAL);
	assert_int_equal(put(d, 0, 32, 1), DISC_OK);
	assert_int_equal(put(d, 0, 32, 1), DISC_NOT_NWA);
	assert_int_equal(disc_sync(d), DISC_OK);
	assert_disc(d, blank);
	set_test_mode(d, DAO);
	assert_int_equal(disc_reserve_track(d, 64), DISC_OK);
	assert_int_equal(put(d, 0, 64, 1), DISC_OK);
	assert_int_equal(disc_sync(d), DISC_OK);
	set_mode(d, INCREMENTAL, LAST);
	assert_disc(d, blank);
	end_disc(d);
}

static co_fn void rewritable(void *arg)
{
	struct disc *d = new_disc("dvd-rw", 65536);
	struct disc_capacity list[8];

	(void)arg;
	set_mode(d, INCREMENTAL, LAST);
	assert_int_equal(disc_list_capacities(d, list, 8), 4);
	assert_int_equal(list[0].type, 1);
	assert_int_equal(list[0].blocks, 65536);
	assert_int_equal(list[1].type, 0x00);
	assert_int_equal(list[1].blocks, 65536 - 608);
	assert_int_equal(list[3].type, 0x15);
	assert_int_equal(list[3].parameter, 0x10);
	assert_int_equal(put(d, 0, 64, 1), DISC_OK);
	assert_int_equal(disc_close_session(d), DISC_OK);
	assert_int_equal(put(d, 64, 16, 1), DISC_FINALISED);
	assert_int_equal(disc_list_capacities(d, list, 8), 4);
	assert_int_equal(list[0].type, 2);
	assert_int_equal(disc_blank(d, 2), DISC_BAD_PARAMETER);
	assert_int_equal(disc_blank(d, 1), DISC_OK);
	assert_disc(d, "14 blank empty, sessions 1, tracks 1-1, end 0\n"
		       "session 1 empty start 0 out 0 next 0\n"
		       "track 1/1 mode 41 -BP- start 0 nwa 0 free 65536 size 65536\n");
	assert_int_equal(disc_get_state(d)->erase_count, 1);
	assert_int_equal(disc_get_state(d)->punches->len, 0);
	assert_int_equal(try_read(d, 0, 1), DISC_RANGE);
	assert_int_equal(put(d, 0, 16, 2), DISC_OK);
	d = reopen(d, true);
	assert_pattern(d, 0, 16, 2);
	assert_int_equal(disc_blank(d, 0), DISC_OK);
	end_disc(d);
}

IN_LOOP(blank_disc)
IN_LOOP(incremental)
IN_LOOP(at_once)
IN_LOOP(change_of_mind)
IN_LOOP(zones)
IN_LOOP(test_writes)
IN_LOOP(rewritable)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_blank_disc), cmocka_unit_test(test_incremental),
		cmocka_unit_test(test_at_once),    cmocka_unit_test(test_change_of_mind),
		cmocka_unit_test(test_zones),      cmocka_unit_test(test_test_writes),
		cmocka_unit_test(test_rewritable),
	};

	return cmocka_run_group_tests(tests, NULL, fixture_end);
}
