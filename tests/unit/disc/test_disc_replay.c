/* The daemon was killed in the middle of a burn: what is on the disc, and what a repeated command
 * does to it. */
#include "disc_fixture.h"

#include "base/bytes.h"

enum { TAO = 1, SAO = 2 };

/* clang-format off */
static const uint8_t cue[] = {
	0x41, 0x00, 0x00, 0x14, 0x00, 0, 0, 0,
	0x41, 0x01, 0x00, 0x10, 0x00, 0, 0, 0,
	0x41, 0x01, 0x01, 0x10, 0x00, 0, 2, 0,
	0x41, 0xaa, 0x01, 0x14, 0x00, 0, 9, 0,	/* 525 */
};
/* clang-format on */

static int32_t nwa_of(struct disc *d)
{
	struct disc_track_info t;

	assert_int_equal(disc_get_track_info(d, disc_last_track(d), &t), DISC_OK);
	assert_true(t.nwa_valid);
	return t.nwa;
}

static co_fn void kill_and_go_on(void *arg)
{
	static const char *const types[] = {"dvd+r", "dvd-r", "dvd-rw", "bd-r", "cd-r"};

	(void)arg;
	for (unsigned i = 0; i < G_N_ELEMENTS(types); i++) {
		struct disc *d = new_disc(types[i], 65536);
		unsigned type = types[i][0] == 'c' ? TAO : 0;

		set_mode(d, type, 0);
		for (int n = 0; n < 10; n++) {
			assert_int_equal(put(d, n * 33, 33, (uint32_t)n), DISC_OK);
			d = reopen(d, true);
			set_mode(d, type, 0);
			assert_int_equal(nwa_of(d), (n + 1) * 33); /* just what the host was told */
		}
		for (int n = 0; n < 10; n++)
			assert_pattern(d, n * 33, 33, (uint32_t)n);
		assert_int_equal(disc_sync(d), DISC_OK);
		assert_int_equal(disc_close_session(d), DISC_OK);
		end_disc(d);
	}
}

static co_fn void repeated_writes(void *arg)
{
	struct disc *d = new_disc("dvd+r", 65536);

	(void)arg;
	assert_int_equal(put_again(d, 0, 32, 1), DISC_OK); /* was not executed before */
	assert_int_equal(put_again(d, 0, 32, 1), DISC_OK); /* was */
	assert_int_equal(nwa_of(d), 32);
	assert_int_equal(put(d, 0, 32, 1), DISC_NOT_NWA);       /* only a repeated command may */
	assert_int_equal(put_again(d, 0, 32, 2), DISC_NOT_NWA); /* other data */
	assert_int_equal(disc_last_error(d)->lba, 32);
	assert_int_equal(put_again(d, 33, 32, 2), DISC_NOT_NWA);
	assert_int_equal(put(d, 32, 10, 3), DISC_OK);
	d = reopen(d, true);
	assert_int_equal(put_again(d, 32, 40, 3),
			 DISC_OK); /* executed in part: the rest is written */
	assert_int_equal(nwa_of(d), 72);
	assert_pattern(d, 32, 40, 3);
	assert_int_equal(put_again(d, 32, 100, 3), DISC_OK);
	assert_int_equal(nwa_of(d), 132);
	assert_pattern(d, 32, 100, 3);
	assert_pattern(d, 0, 32, 1);
	end_disc(d);
}

/* Data of the write that was under way lies behind the next writable address; it is not seen, and
 * written again. */
static co_fn void half_a_write(void *arg)
{
	struct disc *d = new_disc("dvd-r", 65536);
	struct disc_store *store;
	uint8_t *buf = g_malloc(16 * BLOCK);
	struct iovec v;
	struct iovs iov = iovs_one(&v, buf, 16 * BLOCK);

	(void)arg;
	assert_int_equal(put(d, 0, 32, 1), DISC_OK);
	fill(buf, 16, 2);
	store = disc_get_store(d);
	assert_int_equal(disc_store_write(store, PLANE_USER, 32, 16, &iov), 0);
	d = reopen(d, true);
	assert_int_equal(nwa_of(d), 32);
	assert_int_equal(try_read(d, 32, 1), DISC_RANGE);
	assert_int_equal(put_again(d, 32, 32, 2), DISC_OK);
	assert_pattern(d, 32, 32, 2);
	/* What a closed track is padded with is zeros, whatever lay there. */
	fill(buf, 16, 3);
	assert_int_equal(disc_store_write(disc_get_store(d), PLANE_USER, 64, 16, &iov), 0);
	assert_int_equal(put(d, 64, 1, 4), DISC_OK);
	assert_int_equal(disc_close_track(d, 1), DISC_OK);
	assert_pattern(d, 64, 1, 4);
	assert_zeros(d, 65, 15);
	/* Also for those who take the file for an image. */
	assert_int_equal(disc_store_read(disc_get_store(d), PLANE_USER, 64, 16, &iov), 0);
	for (unsigned i = BLOCK; i < 16 * BLOCK; i++)
		assert_int_equal(buf[i], 0);
	g_free(buf);
	end_disc(d);
}

static co_fn void session_at_once(void *arg)
{
	struct disc *d = new_disc("cd-r", 60000);

	(void)arg;
	set_mode(d, SAO, 0);
	assert_int_equal(disc_send_cue_sheet(d, cue, sizeof(cue)), DISC_OK);
	assert_int_equal(put(d, -150, 75, 1), DISC_OK);
	d = reopen(d, true);
	set_mode(d, SAO, 0);
	assert_int_equal(put_again(d, -150, 75, 1), DISC_OK);
	assert_int_equal(put(d, -75, 100, 2), DISC_OK); /* over LBA 0 */
	d = reopen(d, true);
	set_mode(d, SAO, 0);
	assert_int_equal(put_again(d, -75, 100, 2), DISC_OK);
	assert_int_equal(put_again(d, -75, 100, 3), DISC_NOT_NWA);
	assert_int_equal(disc_last_error(d)->lba, 25);
	assert_int_equal(put_again(d, 25, 500, 4), DISC_OK);
	d = reopen(d, true);
	assert_int_equal(put_again(d, 25, 500, 4), DISC_OK);
	assert_int_equal(disc_sync(d), DISC_OK);
	assert_int_equal(disc_get_state(d)->status, DISC_COMPLETE);
	assert_pattern(d, 25, 500, 4);
	end_disc(d);
}

static co_fn void overwriting(void *arg)
{
	const struct disc_format quick = {.type = 0x15};
	struct disc *d = new_disc("dvd-rw", 65536);

	(void)arg;
	assert_int_equal(disc_format(d, &quick), DISC_OK);
	assert_int_equal(put(d, 0, 64, 1), DISC_OK);
	d = reopen(d, true);
	assert_int_equal(put_again(d, 0, 64, 1), DISC_OK);
	assert_int_equal(put_again(d, 48, 32, 2), DISC_OK);
	assert_pattern(d, 48, 32, 2);
	assert_int_equal(nwa_of(d), 80);
	end_disc(d);
}

/* Writing commits by itself after so many bytes, and is not held up by that: then a power cut loses
 * little. */
static co_fn void background_commit(void *arg)
{
	struct disc *d = new_disc("dvd+r", 0);
	struct disc_store_info before, after;

	(void)arg;
	assert_int_equal(put(d, 0, 1024, 0), DISC_OK);
	disc_store_get_info(disc_get_store(d), &before);
	for (int n = 1; n <= 34; n++)
		assert_int_equal(put(d, n * 1024, 1024, (uint32_t)n), DISC_OK);
	assert_int_equal(disc_flush(d), DISC_OK); /* waits for it, then commits the rest */
	assert_int_equal(disc_flush(d), DISC_OK);
	disc_store_get_info(disc_get_store(d), &after);
	assert_int_equal(after.journal_used, before.journal_used + 2);
	d = reopen(d, true);
	assert_int_equal(nwa_of(d), 35 * 1024);
	for (int n = 35; n < 70; n++)
		assert_int_equal(put(d, n * 1024, 1024, (uint32_t)n), DISC_OK);
	d = reopen(d, true); /* with one under way, perhaps */
	assert_int_equal(nwa_of(d), 70 * 1024);
	for (int n = 0; n < 70; n++)
		assert_pattern(d, n * 1024, 1024, (uint32_t)n);
	end_disc(d);
}

IN_LOOP(kill_and_go_on)
IN_LOOP(repeated_writes)
IN_LOOP(half_a_write)
IN_LOOP(session_at_once)
IN_LOOP(overwriting)
IN_LOOP(background_commit)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kill_and_go_on), cmocka_unit_test(test_repeated_writes),
		cmocka_unit_test(test_half_a_write),   cmocka_unit_test(test_session_at_once),
		cmocka_unit_test(test_overwriting),    cmocka_unit_test(test_background_commit),
	};

	return cmocka_run_group_tests(tests, NULL, fixture_end);
}
