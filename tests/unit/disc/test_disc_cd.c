/* Lives of a CD-R: track at once and session at once, one session and several
 * (reference/mmc.md 5.3, A.4, A.5). */
#include "disc_fixture.h"

#include "base/bytes.h"
#include "disc/sector.h"

#include <string.h>

enum { TAO = 1, SAO = 2, LAST = 0, NEXT = 3 };

/* clang-format off */
static const uint8_t cue_10000[] = {
	0x41, 0x00, 0x00, 0x14, 0x00, 0, 0, 0,
	0x41, 0x01, 0x00, 0x10, 0x00, 0, 0, 0,
	0x41, 0x01, 0x01, 0x10, 0x00, 0, 2, 0,
	0x41, 0xaa, 0x01, 0x14, 0x00, 2, 15, 25,
};
/* clang-format on */

static co_fn void put_zeros(struct disc *d, int32_t lba, uint32_t blocks)
{
	static uint8_t zeros[64 * BLOCK];

	while (blocks > 0) {
		uint32_t n = MIN(blocks, 64u);
		struct iovec v;
		struct iovs iov = iovs_one(&v, zeros, (size_t)n * BLOCK);

		assert_int_equal(disc_write(d, lba, n, &iov, false), DISC_OK);
		lba += (int32_t)n;
		blocks -= n;
	}
}

static co_fn void blank_disc(void *arg)
{
	/* clang-format off */
	static const uint8_t atip[28] = {
		0x00, 0x1a, 0, 0, 0xd0, 0x40, 0xa0, 0x00, 0x61, 0x1a, 0x42, 0x00, 0x4f, 0x3b, 0x4a,
	};
	/* clang-format on */
	struct disc *d = new_disc("cd-r", 0);
	struct disc_track_info t;

	(void)arg;
	set_mode(d, TAO, LAST);
	assert_disc(d, "09 blank empty, sessions 1, tracks 1-1, end 0\n"
		       "session 1 empty start 0 out 0 next 0\n"
		       "track 1/1 mode 4f -B-- start 0 nwa 0 free 359849 size 359849\n");
	assert_memory_equal(disc_get_state(d)->atip, atip, sizeof(atip));
	assert_int_equal(disc_get_state(d)->disc_type, 0xff);
	assert_int_equal(disc_get_state(d)->lead_in_start, -11634);
	set_mode(d, SAO, LAST);
	assert_int_equal(disc_get_track_info(d, TRACK_INVISIBLE, &t), DISC_OK);
	assert_int_equal(t.start, -150);
	assert_int_equal(t.nwa, -150);
	assert_int_equal(t.free_blocks, 359849);
	set_mode(d, 3, LAST);
	assert_int_equal(disc_get_track_info(d, TRACK_INVISIBLE, &t), DISC_OK);
	assert_int_equal(t.nwa, -11634);
	assert_int_equal(disc_track_at(d, 0), 1);
	assert_int_equal(disc_track_at(d, -150), 1);
	assert_int_equal(disc_track_at(d, 359849), 0);
	assert_int_equal(try_read(d, 0, 1), DISC_RANGE);
	assert_int_equal(disc_sync(d), DISC_OK);
	assert_int_equal(disc_close_session(d), DISC_OK);
	assert_int_equal(disc_close_track(d, TRACK_INVISIBLE), DISC_OK);
	assert_int_equal(disc_get_state(d)->status, DISC_BLANK);
	end_disc(d);
}

/* Appendix A.5. */
static co_fn void golden_session(void *arg)
{
	struct disc *d = new_disc("cd-r", 0);

	(void)arg;
	set_mode(d, TAO, NEXT);
	put_zeros(d, 0, 10000);
	assert_disc(d, "09 appendable incomplete, sessions 1, tracks 1-1, end 0\n"
		       "session 1 incomplete start 0 out 0 next 0\n"
		       "track 1/1 mode 41 ---- start 0 nwa 10000 free 349849 size 359849\n");
	assert_int_equal(disc_sync(d), DISC_OK);
	assert_int_equal(disc_sync(d), DISC_OK); /* twice is no new track */
	assert_disc(d, "09 appendable incomplete, sessions 1, tracks 1-2, end 0\n"
		       "session 1 incomplete start 0 out 0 next 0\n"
		       "track 1/1 mode 41 ---- start 0 free 0 size 10002\n"
		       "track 2/1 mode 4f -B-- start 10152 nwa 10152 free 349697 size 349697\n");
	assert_int_equal(disc_close_session(d), DISC_OK);
	assert_disc(d, "09 appendable empty, sessions 2, tracks 2-2, end 10001\n"
		       "session 1 complete start 0 out 10002 next 21252\n"
		       "session 2 empty start 21402 out 0 next 0\n"
		       "track 1/1 mode 41 ---- start 0 free 0 size 10002\n"
		       "track 2/2 mode 4f -B-- start 21402 nwa 21402 free 338447 size 338447\n");
	assert_int_equal(state_session(disc_get_state(d), 2)->lead_in, 16752);
	assert_int_equal(disc_get_state(d)->disc_type, 0);
	assert_zeros(d, 9990, 12); /* two run-out blocks included */
	assert_int_equal(try_read(d, 10002, 1), DISC_RANGE);
	d = reopen(d, false);
	set_mode(d, TAO, NEXT);
	assert_int_equal(disc_close_session(d), DISC_OK); /* an empty session: nothing */
	assert_int_equal(disc_sessions(d), 2);
	end_disc(d);
}

static co_fn void three_sessions(void *arg)
{
	struct disc *d = new_disc("cd-r", 60000);

	(void)arg;
	set_mode(d, TAO, NEXT);
	assert_int_equal(put(d, 0, 20, 1), DISC_OK); /* padded to 300 + 2 */
	assert_int_equal(disc_sync(d), DISC_OK);
	assert_int_equal(put(d, 452, 400, 2), DISC_OK);
	assert_int_equal(disc_close_track(d, TRACK_INVISIBLE), DISC_OK);
	assert_int_equal(disc_close_session(d), DISC_OK);
	d = reopen(d, false);
	set_mode(d, TAO, NEXT);
	assert_disc(d, "09 appendable empty, sessions 2, tracks 3-3, end 853\n"
		       "session 1 complete start 0 out 854 next 12104\n"
		       "session 2 empty start 12254 out 0 next 0\n"
		       "track 1/1 mode 41 ---- start 0 free 0 size 302\n"
		       "track 2/1 mode 41 ---- start 452 free 0 size 402\n"
		       "track 3/2 mode 4f -B-- start 12254 nwa 12254 free 47746 size 47746\n");
	assert_int_equal(put(d, 12254, 310, 3), DISC_OK);
	assert_int_equal(disc_close_session(d), DISC_OK); /* ends the open track with it */
	set_mode(d, TAO, LAST);
	assert_int_equal(put(d, 12254 + 312 + 6900, 300, 4), DISC_OK);
	assert_int_equal(disc_sync(d), DISC_OK);
	assert_int_equal(disc_close_session(d), DISC_OK);
	assert_disc(d, "09 complete complete, sessions 3, tracks 4-4, end 19767\n"
		       "session 1 complete start 0 out 854 next 12104\n"
		       "session 2 complete start 12254 out 12566 next 19316\n"
		       "session 3 complete start 19466 out 19768 next 0\n"
		       "track 1/1 mode 41 ---- start 0 free 0 size 302\n"
		       "track 2/1 mode 41 ---- start 452 free 0 size 402\n"
		       "track 3/2 mode 41 ---- start 12254 free 0 size 312\n"
		       "track 4/3 mode 41 ---- start 19466 free 0 size 302\n");
	assert_pattern(d, 0, 20, 1);
	assert_zeros(d, 20, 282);
	assert_int_equal(try_read(d, 302, 1), DISC_UNRECORDED);
	assert_pattern(d, 452, 400, 2);
	assert_int_equal(try_read(d, 451, 2), DISC_UNRECORDED);
	assert_pattern(d, 12254, 310, 3);
	assert_pattern(d, 19466, 300, 4);
	assert_int_equal(put(d, 26668, 16, 5), DISC_FINALISED);
	assert_int_equal(disc_close_session(d), DISC_OK);
	assert_int_equal(disc_track_at(d, 400), 2); /* the gap is the pregap of the next track */
	assert_int_equal(disc_track_at(d, 500), 2);
	end_disc(d);
}

static co_fn void put_sao(struct disc *d, int32_t from, int32_t to)
{
	for (int32_t lba = from; lba < to; lba += 25) {
		enum disc_status status;

		assert_int_equal(disc_block_bytes(d, lba, 25, &status), 2048);
		assert_int_equal(put(d, lba, 25, (uint32_t)lba), DISC_OK);
	}
}

static co_fn void sao(void *arg)
{
	struct disc *d = new_disc("cd-r", 0);
	enum disc_status status;

	(void)arg;
	set_mode(d, SAO, NEXT);
	assert_int_equal(put(d, -150, 25, 1), DISC_SEQUENCE);
	assert_int_equal(disc_block_bytes(d, -150, 1, &status), 0);
	assert_int_equal(status, DISC_SEQUENCE);
	assert_int_equal(disc_send_cue_sheet(d, cue_10000, sizeof(cue_10000)), DISC_OK);
	assert_int_equal(disc_get_state(d)->status, DISC_BLANK);
	d = reopen(d, false);   /* the sheet is kept */
	set_mode(d, SAO, LAST); /* the multi-session field counts as of the sheet */
	assert_int_equal(put(d, 0, 25, 1), DISC_NOT_NWA);
	assert_int_equal(disc_last_error(d)->lba, -150);
	put_sao(d, -150, 0);
	assert_disc(d, "09 appendable incomplete, sessions 1, tracks 1-1, end 0\n"
		       "session 1 incomplete start 0 out 0 next 0\n"
		       "track 1/1 mode 4f -B-- start 0 nwa 0 free 359849 size 359849\n");
	put_sao(d, 0, 5000);
	assert_int_equal(disc_sync(d), DISC_OK); /* not all yet: flushes only */
	d = reopen(d, true);
	set_mode(d, SAO, LAST);
	put_sao(d, 5000, 10000);
	assert_int_equal(put(d, 10000, 1, 1), DISC_RANGE);
	assert_int_equal(disc_sync(d), DISC_OK);
	assert_int_equal(disc_sync(d), DISC_OK);
	assert_disc(d, "09 appendable empty, sessions 2, tracks 2-2, end 9999\n"
		       "session 1 complete start 0 out 10000 next 21250\n"
		       "session 2 empty start 21400 out 0 next 0\n"
		       "track 1/1 mode 41 ---- start 0 free 0 size 10000\n"
		       "track 2/2 mode 4f -B-- start 21400 nwa 21400 free 338449 size 338449\n");
	for (int32_t lba = 0; lba < 10000; lba += 1000)
		assert_pattern(d, lba, 25, (uint32_t)lba);
	assert_int_equal(put(d, 10000, 1, 1), DISC_SEQUENCE);
	end_disc(d);
}

/* clang-format off */
/* clang-format off */
static const uint8_t cue_long_pregap[] = {
	0x41, 0x00, 0x00, 0x14, 0, 0x00, 0x00, 0x00,
	0x41, 0x01, 0x00, 0x10, 0, 0x00, 0x00, 0x00,
	0x41, 0x01, 0x01, 0x10, 0, 0x16, 0x0f, 0x19,	/* 100000 */
	0x41, 0xaa, 0x01, 0x14, 0, 0x18, 0x1c, 0x32,
};
/* clang-format on */

/* Whatever a host may send, the disc it leaves can be opened again. */
static co_fn void sao_long_pregap(void *arg)
{
	struct disc *d = new_disc("cd-r", 0);

	(void)arg;
	set_mode(d, SAO, LAST);
	assert_int_equal(disc_send_cue_sheet(d, cue_long_pregap, sizeof(cue_long_pregap)), DISC_OK);
	assert_int_equal(put(d, -150, 25, 1), DISC_OK);
	d = reopen(d, false);
	set_mode(d, SAO, LAST);
	assert_int_equal(put(d, -125, 25, 1), DISC_OK);
	assert_int_equal(disc_close_session(d), DISC_OK);
	d = reopen(d, false);
	assert_int_equal(disc_last_lba(d), 109999);
	end_disc(d);
}

static const uint8_t cue_two_tracks[] = {
	0x02, '0',  '1',  '2',  '3',  '4',  '5',  '6',  0x02, '7',  '8',  '9',  '0',
	'1',  '2',  0,    0x41, 0x00, 0x00, 0x14, 0x00, 0,    0,    0,    0x41, 0x01,
	0x00, 0x14, 0x00, 0,    0,    0,    0x41, 0x01, 0x01, 0x10, 0x00, 0,    2,
	0,    0x03, 0x02, 'U',  'S',  'R',  'C',  '1',  '7',  0x03, 0x02, '6',  '0',
	'7',  '8',  '3',  '9',  0x41, 0x02, 0x00, 0x10, 0x00, 0,    8,    0, /* 450 */
	0x41, 0x02, 0x01, 0x11, 0x00, 0,    10,   0,                         /* 600 */
	0x41, 0xaa, 0x01, 0x14, 0x00, 0,    16,   0,                         /* 1050 */
};
/* clang-format on */

/* Two tracks, one of raw sectors, texts, and a host that gives up: CLOSE SESSION fills up. */
static co_fn void sao_tracks(void *arg)
{
	struct disc *d = new_disc("cd-r", 60000);
	uint8_t *raw = g_malloc0(10 * SECTOR_RAW);
	uint8_t sector[SECTOR_RAW], user[10 * BLOCK];
	struct disc_sector what;
	enum disc_status status;
	struct iovec v;
	struct iovs iov = iovs_one(&v, raw, 10 * SECTOR_RAW);

	(void)arg;
	set_mode(d, SAO, LAST);
	assert_int_equal(disc_send_cue_sheet(d, cue_two_tracks, sizeof(cue_two_tracks)), DISC_OK);
	assert_int_equal(put(d, -150, 1, 1), DISC_NOT_NWA); /* the drive makes that pregap */
	assert_int_equal(put(d, 0, 300, 7), DISC_OK);
	assert_int_equal(put(d, 300, 300, 8), DISC_OK); /* into the pregap of track 2 */
	assert_disc(d, "09 appendable incomplete, sessions 1, tracks 1-2, end 0\n"
		       "session 1 incomplete start 0 out 0 next 0\n"
		       "track 1/1 mode 41 ---- start 0 free 0 size 450\n"
		       "track 2/1 mode 4f -B-- start 600 nwa 600 free 59400 size 59400\n");
	assert_int_equal(disc_block_bytes(d, 600, 10, &status), 2352);
	assert_int_equal(disc_block_bytes(d, 590, 20, &status), 0);
	assert_int_equal(status, DISC_WRONG_MODE);
	fill(user, 10, 9);
	for (unsigned i = 0; i < 10; i++) {
		memset(raw + i * SECTOR_RAW, 0xff, SECTOR_RAW);
		memcpy(raw + i * SECTOR_RAW + 16, user + i * BLOCK, BLOCK);
	}
	assert_int_equal(disc_write(d, 600, 10, &iov, false), DISC_OK);
	assert_pattern(d, 600, 10, 9);
	d = reopen(d, true);
	assert_int_equal(disc_close_session(d), DISC_OK);
	assert_disc(d, "09 complete complete, sessions 1, tracks 1-2, end 1049\n"
		       "session 1 complete start 0 out 1050 next 0\n"
		       "track 1/1 mode 41 ---- start 0 free 0 size 450\n"
		       "track 2/1 mode 41 ---- start 600 free 0 size 450\n");
	assert_memory_equal(state_session(disc_get_state(d), 1)->mcn, "0123456789012", 13);
	assert_memory_equal(state_track(disc_get_state(d), 2)->isrc, "USRC17607839", 12);
	assert_pattern(d, 300, 300, 8); /* recorded pregap and all */
	assert_pattern(d, 600, 10, 9);
	assert_zeros(d, 610, 440);
	assert_int_equal(disc_read_raw(d, 605, sector, &what), DISC_OK);
	assert_true(sector_is_mode1(sector, 605));
	assert_memory_equal(sector + 16, user + 5 * BLOCK, BLOCK);
	assert_int_equal(what.mode, 1);
	assert_int_equal(what.track, 2);
	assert_int_equal(disc_read_raw(d, -1, sector, &what), DISC_OK);
	assert_true(sector_is_mode1(sector, -1));
	assert_int_equal(disc_read_raw(d, -151, sector, &what), DISC_RANGE);
	assert_int_equal(disc_read_raw(d, 1050, sector, &what), DISC_RANGE);
	g_free(raw);
	end_disc(d);
}

/* Mode 2 form 1, which wodim uses for data of several sessions. */
static co_fn void xa_track(void *arg)
{
	const struct disc_write_params xa = {
		.write_type = TAO,
		.multisession = NEXT,
		.track_mode = 4,
		.block_type = 10,
		.session_format = 0x20,
	};
	struct disc *d = new_disc("cd-r", 60000);
	uint8_t sector[SECTOR_RAW], want[SECTOR_RAW] = {[18] = 8, [22] = 8};
	struct disc_track_info t;
	struct disc_sector what;

	(void)arg;
	disc_set_write_params(d, &xa);
	assert_int_equal(put(d, 0, 20, 1), DISC_OK);
	set_mode(d, TAO, NEXT);
	assert_int_equal(put(d, 20, 20, 2), DISC_WRONG_MODE);
	disc_set_write_params(d, &xa);
	assert_int_equal(disc_close_session(d), DISC_OK);
	assert_int_equal(disc_get_track_info(d, 1, &t), DISC_OK);
	assert_int_equal(t.data_mode, 2);
	assert_int_equal(disc_get_state(d)->disc_type, 0x20);
	assert_pattern(d, 0, 20, 1);
	fill(want + 24, 1, 1);
	sector_make_form1(want, 0);
	assert_int_equal(disc_read_raw(d, 0, sector, &what), DISC_OK);
	assert_memory_equal(sector, want, sizeof(want));
	assert_int_equal(what.mode, 2);
	assert_int_equal(what.form, 1);
	assert_int_equal(disc_read_raw(d, 300, sector, &what), DISC_OK); /* run-out */
	assert_int_equal(what.form, 1);
	end_disc(d);
}

/* A sheet that nobody wrote by does not stand in the way of a track at once; nor the other way
 * round. */
static co_fn void modes_do_not_mix(void *arg)
{
	struct disc *d = new_disc("cd-r", 0);

	(void)arg;
	set_mode(d, SAO, LAST);
	assert_int_equal(disc_send_cue_sheet(d, cue_10000, sizeof(cue_10000)), DISC_OK);
	set_mode(d, TAO, LAST);
	assert_int_equal(put(d, 0, 300, 1), DISC_OK);
	assert_null(state_find_blob(disc_get_state(d), 13, 0));
	set_mode(d, SAO, LAST);
	assert_int_equal(disc_send_cue_sheet(d, cue_10000, sizeof(cue_10000)), DISC_SEQUENCE);
	assert_int_equal(put(d, 300, 1, 1), DISC_SEQUENCE);
	set_mode(d, 0, LAST);
	assert_int_equal(put(d, 300, 1, 1), DISC_WRONG_MODE);
	set_mode(d, 3, LAST);
	assert_int_equal(put(d, 300, 1, 1), DISC_WRONG_MODE);
	set_mode(d, TAO, LAST);
	assert_int_equal(put(d, 300, 1, 1), DISC_OK);
	end_disc(d);
}

static co_fn void test_writes(void *arg)
{
	struct disc *d = new_disc("cd-r", 60000);
	const char *blank = "09 blank empty, sessions 1, tracks 1-1, end 0\n"
			    "session 1 empty start 0 out 0 next 0\n"
			    "track 1/1 mode 4f -B-- start 0 nwa 0 free 60000 size 60000\n";

	(void)arg;
	set_test_mode(d, TAO);
	assert_int_equal(put(d, 0, 300, 1), DISC_OK);
	assert_int_equal(put(d, 300, 10, 1), DISC_OK);
	assert_int_equal(put(d, 0, 1, 1), DISC_NOT_NWA);
	assert_int_equal(disc_last_error(d)->lba, 310);
	assert_int_equal(try_read(d, 0, 1), DISC_RANGE); /* nothing is recorded */
	assert_int_equal(disc_sync(d), DISC_OK);
	assert_disc(d, blank);
	assert_int_equal(disc_close_session(d), DISC_OK);
	assert_disc(d, blank);
	set_test_mode(d, SAO);
	assert_int_equal(disc_send_cue_sheet(d, cue_10000, sizeof(cue_10000)), DISC_OK);
	put_sao(d, -150, 10000);
	assert_int_equal(disc_sync(d), DISC_OK);
	set_mode(d, TAO, LAST);
	assert_disc(d, blank);
	/* Abandoned in the middle of a test: nothing of it is left. */
	set_test_mode(d, TAO);
	assert_int_equal(put(d, 0, 300, 1), DISC_OK);
	d = reopen(d, true);
	set_mode(d, TAO, LAST);
	assert_disc(d, blank);
	end_disc(d);
}

static co_fn void full_disc(void *arg)
{
	struct disc *d = new_disc("cd-r", 3000);

	(void)arg;
	set_mode(d, TAO, NEXT);
	put_zeros(d, 0, 2990);
	assert_int_equal(put(d, 2990, 11, 1), DISC_RANGE);
	assert_int_equal(put(d, 2990, 10, 1), DISC_OK);
	assert_int_equal(put(d, 3000, 1, 1), DISC_RANGE);
	assert_int_equal(disc_sync(d), DISC_OK);
	assert_int_equal(disc_last_track(d), 1); /* no room for another */
	assert_int_equal(disc_close_session(d), DISC_OK);
	/* Another session was allowed, but there is no room for one. */
	assert_disc(d, "09 complete complete, sessions 1, tracks 1-1, end 3001\n"
		       "session 1 complete start 0 out 3002 next 0\n"
		       "track 1/1 mode 41 ---- start 0 free 0 size 3002\n");
	end_disc(d);
}

IN_LOOP(blank_disc)
IN_LOOP(golden_session)
IN_LOOP(three_sessions)
IN_LOOP(sao)
IN_LOOP(sao_long_pregap)
IN_LOOP(sao_tracks)
IN_LOOP(xa_track)
IN_LOOP(modes_do_not_mix)
IN_LOOP(test_writes)
IN_LOOP(full_disc)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_blank_disc),      cmocka_unit_test(test_golden_session),
		cmocka_unit_test(test_three_sessions),  cmocka_unit_test(test_sao),
		cmocka_unit_test(test_sao_long_pregap), cmocka_unit_test(test_sao_tracks),
		cmocka_unit_test(test_xa_track),        cmocka_unit_test(test_modes_do_not_mix),
		cmocka_unit_test(test_test_writes),     cmocka_unit_test(test_full_disc),
	};

	return cmocka_run_group_tests(tests, NULL, fixture_end);
}
