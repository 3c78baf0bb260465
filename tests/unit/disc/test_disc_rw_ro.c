/* Lives of a DVD-RW in restricted overwrite (reference/mmc.md 5.6). */
#include "disc_fixture.h"

enum { FULL = 65536 - 608 };

static struct disc_format format_of(uint8_t type, uint32_t blocks)
{
	return (struct disc_format){.type = type, .blocks = blocks, .parameter = 0x10};
}

static co_fn enum disc_status format(struct disc *d, uint8_t type, uint32_t blocks)
{
	struct disc_format f = format_of(type, blocks);

	return disc_format(d, &f);
}

static void assert_current(struct disc *d, unsigned n, uint8_t type, uint32_t blocks,
			   uint32_t can_grow)
{
	struct disc_capacity list[8];

	assert_int_equal(disc_list_capacities(d, list, 8), n);
	assert_int_equal(list[0].type, type);
	assert_int_equal(list[0].blocks, blocks);
	assert_int_equal(list[1].type, 0x00);
	assert_int_equal(list[1].blocks, FULL);
	if (n == 5) {
		assert_int_equal(list[4].type, 0x13);
		assert_int_equal(list[4].blocks, can_grow);
	}
}

static co_fn void quick(void *arg)
{
	struct disc *d = new_disc("dvd-rw", 65536);

	(void)arg;
	assert_int_equal(put(d, 0, 160, 9), DISC_OK); /* any state may be formatted */
	assert_int_equal(format(d, 0x15, 0), DISC_OK);
	assert_disc(d, "13 appendable incomplete, sessions 1, tracks 1-1, end 0\n"
		       "session 1 incomplete start 0 out 0 next 0\n"
		       "track 1/1 mode 41 --PF start 0 nwa 0 free 0 size 0\n");
	assert_current(d, 4, 3, 0, 0);
	assert_int_equal(try_read(d, 0, 1), DISC_RANGE);
	assert_int_equal(disc_close_session(d), DISC_OK); /* nothing in it yet */
	assert_int_equal(disc_get_state(d)->intermediate, 1);
	assert_int_equal(put(d, 0, 40, 1), DISC_OK);
	assert_int_equal(put(d, 48, 16, 1), DISC_NOT_NWA);
	assert_int_equal(disc_last_error(d)->lba, 40);
	assert_int_equal(put(d, 32, 16, 2), DISC_OK); /* over the end */
	assert_int_equal(put(d, 0, 16, 3), DISC_OK);  /* over what is there */
	assert_disc(d, "13 appendable incomplete, sessions 1, tracks 1-1, end 47\n"
		       "session 1 incomplete start 0 out 0 next 0\n"
		       "track 1/1 mode 41 --PF start 0 nwa 48 free 0 size 48 last 47\n");
	d = reopen(d, true);
	assert_int_equal(disc_last_lba(d), 47);
	assert_int_equal(put(d, 48, 1, 4), DISC_OK);
	assert_int_equal(disc_close_session(d), DISC_OK);
	assert_disc(d, "13 complete complete, sessions 1, tracks 1-1, end 63\n"
		       "session 1 complete start 0 out 64 next 0\n"
		       "track 1/1 mode 41 --PF start 0 free 0 size 64 last 63\n");
	assert_current(d, 5, 2, 64, FULL - 64);
	assert_true(disc_is_writable(d));
	assert_pattern(d, 0, 16, 3);
	assert_pattern(d, 32, 16, 2);
	assert_pattern(d, 48, 1, 4);
	assert_zeros(d, 49, 15);
	assert_int_equal(put(d, 64, 16, 5), DISC_RANGE);
	assert_int_equal(put(d, 60, 8, 5), DISC_RANGE);
	assert_int_equal(put(d, 5, 3, 5), DISC_OK);
	assert_pattern(d, 5, 3, 5);
	assert_int_equal(try_read(d, 64, 1), DISC_RANGE);
	end_disc(d);
}

static co_fn void grow(void *arg)
{
	struct disc *d = new_disc("dvd-rw", 65536);

	(void)arg;
	assert_int_equal(format(d, 0x13, 0), DISC_BAD_PARAMETER); /* not formatted */
	assert_int_equal(format(d, 0x15, 0), DISC_OK);
	assert_int_equal(put(d, 0, 64, 1), DISC_OK);
	assert_int_equal(disc_close_session(d), DISC_OK);
	assert_int_equal(format(d, 0x13, FULL), DISC_BAD_PARAMETER);
	assert_int_equal(disc_last_error(d)->byte, 4);
	assert_int_equal(format(d, 0x13, 32), DISC_OK);
	assert_current(d, 4, 3, 64, 0);
	assert_int_equal(put(d, 64, 33, 2), DISC_RANGE);
	assert_int_equal(put(d, 64, 16, 2), DISC_OK);
	assert_int_equal(disc_close_session(d), DISC_OK);
	assert_current(d, 5, 2, 80, FULL - 80);
	assert_int_equal(format(d, 0x13, 0), DISC_OK); /* all there is */
	assert_int_equal(disc_get_state(d)->grow_limit, FULL);
	d = reopen(d, false);
	assert_int_equal(disc_close_session(d), DISC_OK); /* nothing added */
	assert_current(d, 5, 2, 80, FULL - 80);
	assert_pattern(d, 0, 64, 1);
	assert_pattern(d, 64, 16, 2);
	end_disc(d);
}

static co_fn void full(void *arg)
{
	struct disc *d = new_disc("dvd-rw", 65536);

	(void)arg;
	assert_int_equal(put(d, 0, 160, 9), DISC_OK);
	assert_int_equal(format(d, 0x10, FULL - 16), DISC_BAD_PARAMETER);
	assert_int_equal(format(d, 0x12, FULL), DISC_BAD_PARAMETER);
	assert_int_equal(disc_last_error(d)->byte, 8);
	assert_int_equal(format(d, 0x10, FULL), DISC_OK);
	assert_disc(d, "13 complete complete, sessions 1, tracks 1-1, end 64927\n"
		       "session 1 complete start 0 out 64928 next 0\n"
		       "track 1/1 mode 41 --PF start 0 free 0 size 64928 last 64927\n");
	assert_zeros(d, 0, 160); /* also what was there before */
	assert_zeros(d, FULL - 32, 32);
	assert_int_equal(try_read(d, FULL, 1), DISC_RANGE);
	assert_int_equal(put(d, FULL - 16, 16, 1), DISC_OK);
	assert_int_equal(put(d, 1000, 16, 2), DISC_OK);
	assert_int_equal(put(d, FULL - 15, 16, 1), DISC_RANGE);
	assert_int_equal(disc_sync(d), DISC_OK);
	assert_int_equal(disc_reserve_track(d, 100), DISC_OK); /* accepted, without effect */
	d = reopen(d, true);
	assert_pattern(d, FULL - 16, 16, 1);
	assert_pattern(d, 1000, 16, 2);
	assert_int_equal(format(d, 0x00, FULL), DISC_OK);
	assert_zeros(d, 1000, 16);
	assert_int_equal(disc_get_state(d)->format_count, 2);
	assert_int_equal(disc_blank(d, 1), DISC_OK);
	assert_int_equal(disc_get_state(d)->profile, 0x14);
	assert_int_equal(disc_get_state(d)->status, DISC_BLANK);
	end_disc(d);
}

IN_LOOP(quick)
IN_LOOP(grow)
IN_LOOP(full)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_quick),
		cmocka_unit_test(test_grow),
		cmocka_unit_test(test_full),
	};

	return cmocka_run_group_tests(tests, NULL, fixture_end);
}
