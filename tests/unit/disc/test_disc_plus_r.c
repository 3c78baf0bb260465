/* Lives of a DVD+R (reference/mmc.md 5.9, A.7). */
#include "disc_fixture.h"

static co_fn void blank_disc(void *arg)
{
	struct disc *d = new_disc("dvd+r", 0);
	struct disc_track_info t;

	(void)arg;
	assert_disc(d, "1b blank empty, sessions 1, tracks 1-1, end 0\n"
		       "session 1 empty start 0 out 0 next 0\n"
		       "track 1/1 mode 71 -B-- start 0 nwa 0 free 2295104 size 2295104\n");
	assert_int_equal(disc_get_track_info(d, TRACK_INVISIBLE, &t), DISC_OK);
	assert_int_equal(t.packet_size, 16);
	assert_int_equal(t.read_compat, 0x40d0e);
	assert_memory_equal(disc_get_state(d)->media_id, "OUTBOARDR01", 12);
	assert_int_equal(disc_finalise(d), DISC_OK);
	assert_int_equal(disc_close_session(d), DISC_OK);
	assert_int_equal(disc_close_track(d, 1), DISC_OK);
	assert_int_equal(disc_get_state(d)->status, DISC_BLANK);
	end_disc(d);
}

/* growisofs: writes, SYNC, CLOSE TRACK, CLOSE SESSION; again; then finalised. */
static co_fn void sessions(void *arg)
{
	struct disc *d = new_disc("dvd+r", 65536);

	(void)arg;
	assert_int_equal(put(d, 0, 16, 1), DISC_OK);
	assert_int_equal(put(d, 16, 4, 2), DISC_OK);
	assert_disc(d, "1b appendable incomplete, sessions 1, tracks 1-1, end 0\n"
		       "session 1 incomplete start 0 out 0 next 0\n"
		       "track 1/1 mode 71 ---- start 0 nwa 20 free 65516 size 65536 last 19\n");
	assert_int_equal(disc_sync(d), DISC_OK);
	assert_int_equal(disc_sync(d), DISC_OK);
	assert_disc(d, "1b appendable incomplete, sessions 1, tracks 1-1, end 0\n"
		       "session 1 incomplete start 0 out 0 next 0\n"
		       "track 1/1 mode 71 ---- start 0 nwa 32 free 65504 size 65536 last 31\n");
	assert_int_equal(disc_close_track(d, 1), DISC_OK);
	assert_int_equal(disc_close_track(d, 1), DISC_OK);
	assert_disc(d, "1b appendable incomplete, sessions 1, tracks 1-2, end 0\n"
		       "session 1 incomplete start 0 out 0 next 0\n"
		       "track 1/1 mode 41 ---- start 0 free 0 size 32 last 31\n"
		       "track 2/1 mode 71 -B-- start 32 nwa 32 free 65504 size 65504\n");
	assert_int_equal(disc_close_session(d), DISC_OK);
	d = reopen(d, false);
	assert_disc(d, "1b appendable empty, sessions 2, tracks 2-2, end 31\n"
		       "session 1 complete start 0 out 32 next 1056\n"
		       "session 2 empty start 1056 out 0 next 0\n"
		       "track 1/1 mode 41 ---- start 0 free 0 size 32 last 31\n"
		       "track 2/2 mode 71 -B-- start 1056 nwa 1056 free 64480 size 64480\n");
	assert_int_equal(put(d, 32, 16, 3), DISC_NOT_NWA);
	assert_int_equal(disc_last_error(d)->lba, 1056);
	assert_int_equal(put(d, 1056, 100, 3), DISC_OK);
	/* wodim: CLOSE SESSION directly after the last write */
	assert_int_equal(disc_close_session(d), DISC_OK);
	assert_int_equal(disc_last_lba(d), 1056 + 112 - 1);
	assert_int_equal(disc_finalise(d), DISC_OK);
	assert_disc(d, "1b complete complete, sessions 2, tracks 2-2, end 1167\n"
		       "session 1 complete start 0 out 32 next 1056\n"
		       "session 2 complete start 1056 out 1168 next 0\n"
		       "track 1/1 mode 41 ---- start 0 free 0 size 32 last 31\n"
		       "track 2/2 mode 41 ---- start 1056 free 0 size 112 last 1167\n");
	assert_int_equal(put(d, 1168, 16, 3), DISC_FINALISED);
	assert_int_equal(disc_reserve_track(d, 16), DISC_FINALISED);
	assert_int_equal(disc_close_session(d), DISC_OK);
	assert_int_equal(disc_finalise(d), DISC_OK);
	assert_pattern(d, 0, 16, 1);
	assert_pattern(d, 16, 4, 2);
	assert_zeros(d, 20, 12);
	assert_int_equal(try_read(d, 31, 2), DISC_UNRECORDED);
	assert_int_equal(disc_last_error(d)->lba, 32);
	assert_pattern(d, 1056, 100, 3);
	assert_zeros(d, 1156, 12);
	assert_int_equal(try_read(d, 1168, 1), DISC_RANGE);
	assert_int_equal(try_read(d, 1167, 2), DISC_RANGE);
	end_disc(d);
}

static co_fn void finalise_at_once(void *arg)
{
	struct disc *d = new_disc("dvd+r", 65536);

	(void)arg;
	assert_int_equal(put(d, 0, 5, 1), DISC_OK);
	assert_int_equal(disc_finalise(d), DISC_OK);
	assert_disc(d, "1b complete complete, sessions 1, tracks 1-1, end 15\n"
		       "session 1 complete start 0 out 16 next 0\n"
		       "track 1/1 mode 41 ---- start 0 free 0 size 16 last 15\n");
	assert_false(disc_is_writable(d));
	end_disc(d);
}

static co_fn void reserved_fragments(void *arg)
{
	struct disc *d = new_disc("dvd+r", 65536);

	(void)arg;
	assert_int_equal(disc_reserve_track(d, 0), DISC_BAD_PARAMETER);
	assert_int_equal(disc_reserve_track(d, 65537), DISC_RANGE);
	assert_int_equal(disc_reserve_track(d, 100), DISC_OK); /* 112 */
	assert_int_equal(disc_reserve_track(d, 64), DISC_OK);
	assert_disc(d, "1b appendable incomplete, sessions 1, tracks 1-3, end 0\n"
		       "session 1 incomplete start 0 out 0 next 0\n"
		       "track 1/1 mode 71 RB-- start 0 nwa 0 free 112 size 112\n"
		       "track 2/1 mode 71 RB-- start 112 nwa 112 free 64 size 64\n"
		       "track 3/1 mode 71 -B-- start 176 nwa 176 free 65360 size 65360\n");
	assert_int_equal(disc_close_session(d), DISC_RESERVED_EMPTY);
	assert_int_equal(disc_close_track(d, 1), DISC_OK); /* blank: nothing */
	assert_int_equal(put(d, 112, 65, 2), DISC_END_OF_TRACK);
	assert_int_equal(put(d, 112, 32, 2), DISC_OK);
	assert_int_equal(put(d, 120, 32, 2), DISC_NOT_NWA);
	assert_int_equal(disc_last_error(d)->lba, 144);
	assert_int_equal(put(d, 0, 20, 1), DISC_OK);
	assert_int_equal(put(d, 176, 16, 3), DISC_OK);
	assert_int_equal(disc_reserve_track(d, 16),
			 DISC_SEQUENCE); /* an incomplete track before it */
	d = reopen(d, true);
	assert_disc(d, "1b appendable incomplete, sessions 1, tracks 1-3, end 0\n"
		       "session 1 incomplete start 0 out 0 next 0\n"
		       "track 1/1 mode 71 R--- start 0 nwa 20 free 92 size 112 last 19\n"
		       "track 2/1 mode 71 R--- start 112 nwa 144 free 32 size 64 last 143\n"
		       "track 3/1 mode 71 ---- start 176 nwa 192 free 65344 size 65360 last 191\n");
	assert_int_equal(try_read(d, 20, 1), DISC_UNRECORDED);
	assert_int_equal(disc_close_session(d), DISC_RESERVED_EMPTY);
	assert_int_equal(disc_close_track(d, 1), DISC_OK); /* padded to its end */
	assert_int_equal(put(d, 144, 15, 4), DISC_OK);
	assert_int_equal(disc_close_session(d), DISC_RESERVED_EMPTY);
	assert_int_equal(put(d, 159, 5, 5), DISC_OK); /* within an ECC block of its end: full */
	assert_int_equal(disc_close_session(d), DISC_OK);
	assert_disc(d, "1b appendable empty, sessions 2, tracks 4-4, end 191\n"
		       "session 1 complete start 0 out 192 next 1216\n"
		       "session 2 empty start 1216 out 0 next 0\n"
		       "track 1/1 mode 41 ---- start 0 free 0 size 112 last 111\n"
		       "track 2/1 mode 41 ---- start 112 free 0 size 64 last 175\n"
		       "track 3/1 mode 41 ---- start 176 free 0 size 16 last 191\n"
		       "track 4/2 mode 71 -B-- start 1216 nwa 1216 free 64320 size 64320\n");
	assert_pattern(d, 0, 20, 1);
	assert_zeros(d, 20, 92);
	assert_pattern(d, 112, 32, 2);
	assert_int_equal(disc_track_at(d, 120), 2);
	assert_int_equal(disc_track_at(d, 1216), 4);
	assert_int_equal(disc_track_at(d, 500), 0);
	end_disc(d);
}

/* wodim reserves just what it writes and closes the session without more. */
static co_fn void reserved_and_filled(void *arg)
{
	struct disc *d = new_disc("dvd+r", 65536);

	(void)arg;
	assert_int_equal(disc_reserve_track(d, 1003), DISC_OK);
	assert_int_equal(put(d, 0, 1003, 1), DISC_OK);
	assert_int_equal(disc_close_session(d), DISC_OK);
	assert_int_equal(disc_last_lba(d), 1007);
	assert_pattern(d, 0, 1003, 1);
	end_disc(d);
}

static co_fn void many_fragments(void *arg)
{
	struct disc *d = new_disc("dvd+r", 65536);

	(void)arg;
	for (unsigned i = 0; i < 15; i++)
		assert_int_equal(disc_reserve_track(d, 16), DISC_OK);
	assert_int_equal(disc_reserve_track(d, 16), DISC_NO_MORE_TRACKS);
	assert_int_equal(disc_last_track(d), 16);
	assert_int_equal(put(d, 15 * 16, 16, 1), DISC_OK);
	assert_int_equal(disc_close_track(d, 16), DISC_OK);
	assert_int_equal(disc_last_track(d), 16); /* the session's table is full */
	assert_int_equal(put(d, 16 * 16, 16, 1), DISC_NOT_NWA);
	end_disc(d);
}

static co_fn void full_disc(void *arg)
{
	struct disc *d = new_disc("dvd+r", 2048);

	(void)arg;
	assert_int_equal(put(d, 0, 2000, 1), DISC_OK);
	assert_int_equal(put(d, 2000, 49, 2), DISC_RANGE);
	assert_int_equal(put(d, 2000, 48, 2), DISC_OK);
	assert_int_equal(put(d, 2048, 1, 2), DISC_RANGE);
	assert_int_equal(disc_close_session(d), DISC_OK);
	assert_int_equal(disc_get_state(d)->status, DISC_COMPLETE);
	assert_pattern(d, 0, 2000, 1);
	assert_pattern(d, 2000, 48, 2);
	end_disc(d);
}

IN_LOOP(blank_disc)
IN_LOOP(sessions)
IN_LOOP(finalise_at_once)
IN_LOOP(reserved_fragments)
IN_LOOP(reserved_and_filled)
IN_LOOP(many_fragments)
IN_LOOP(full_disc)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_blank_disc),
		cmocka_unit_test(test_sessions),
		cmocka_unit_test(test_finalise_at_once),
		cmocka_unit_test(test_reserved_fragments),
		cmocka_unit_test(test_reserved_and_filled),
		cmocka_unit_test(test_many_fragments),
		cmocka_unit_test(test_full_disc),
	};

	return cmocka_run_group_tests(tests, NULL, fixture_end);
}
