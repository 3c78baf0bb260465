/* Lives of a BD-R: unformatted, SRM and SRM with pseudo overwrite (reference/mmc.md 5.11, 2.9,
 * A.8). */
#include "disc_fixture.h"

#include "base/bytes.h"

static void assert_capacities(struct disc *d, const uint8_t *want, unsigned n)
{
	struct disc_capacity list[8];

	assert_int_equal(disc_list_capacities(d, list, 8), n);
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(list[i].blocks, get_be32(want + 8 * i));
		assert_int_equal(i == 0 ? list[i].type : list[i].type << 2, want[8 * i + 4]);
		assert_int_equal(list[i].current, i == 0);
		if (i > 0)
			assert_int_equal(list[i].parameter, get_be24(want + 8 * i + 5));
	}
	assert_int_equal(disc_list_capacities(d, list, 1), 1);
}

static co_fn void blank_disc(void *arg)
{
	/* Appendix A.8 */
	/* clang-format off */
	static const uint8_t blank[] = {
		0x00, 0xba, 0x74, 0x00, 0x01, 0x00, 0x08, 0x00, 0x00, 0xb4, 0x74, 0x00, 0x00, 0x00, 0x30, 0x00,
		0x00, 0xb4, 0x74, 0x00, 0xc8, 0x00, 0x30, 0x00, 0x00, 0xb0, 0x74, 0x00, 0xc8, 0x00, 0x50, 0x00,
		0x00, 0xb8, 0x74, 0x00, 0xc8, 0x00, 0x10, 0x00,
	};
	/* clang-format on */
	static const uint8_t formatted[] = {0x00, 0xb4, 0x74, 0x00, 0x02, 0x00, 0x08, 0x00};
	const struct disc_format srm = {
		.blocks = 11826176, .type = 0x32, .subtype = 1, .parameter = 0x3000};
	struct disc *d = new_disc("bd-r", 0);

	(void)arg;
	assert_disc(d, "41 blank empty, sessions 1, tracks 1-1, end 0\n"
		       "session 1 empty start 0 out 0 next 0\n"
		       "track 1/1 mode 41 -B-- start 0 nwa 0 free 12219392 size 12219392\n");
	assert_capacities(d, blank, 5);
	assert_int_equal(disc_format(d, &srm), DISC_OK);
	assert_disc(d, "41 appendable empty, sessions 1, tracks 1-1, end 0\n"
		       "session 1 empty start 0 out 0 next 0\n"
		       "track 1/1 mode 41 -B-- start 0 nwa 0 free 11826176 size 11826176\n");
	assert_capacities(d, formatted, 1);
	assert_int_equal(disc_format(d, &srm), DISC_INCOMPATIBLE); /* only once */
	assert_int_equal(disc_get_state(d)->spare_clusters, 0x3000);
	assert_false(disc_get_state(d)->pow);
	end_disc(d);
}

static co_fn void format_choices(void *arg)
{
	/* clang-format off */
	struct { struct disc_format f; enum disc_status status; uint32_t byte, capacity; } cases[] = {
		{ { .type = 0x00, .blocks = 1 }, DISC_OK, 0, 11826176 },	/* the count does not matter */
		{ { .type = 0x32, .subtype = 2, .blocks = 11826176 }, DISC_BAD_PARAMETER, 8, 0 },
		{ { .type = 0x30, .blocks = 11826176 }, DISC_BAD_PARAMETER, 8, 0 },
		{ { .type = 0x32, .subtype = 1, .blocks = 12219392 }, DISC_BAD_PARAMETER, 4, 0 },
		{ { .type = 0x32, .subtype = 1, .blocks = 12219392 - 32 }, DISC_BAD_PARAMETER, 4, 0 },
		{ { .type = 0x32, .subtype = 1, .blocks = 11826177 }, DISC_BAD_PARAMETER, 4, 0 },
		{ { .type = 0x32, .subtype = 1, .blocks = 0 }, DISC_BAD_PARAMETER, 4, 0 },
		{ { .type = 0x32, .subtype = 1, .blocks = 11900000 }, DISC_OK, 0, 11900000 - 11900000 % 32 },
		{ { .type = 0x32, .subtype = 0, .blocks = 12088320 }, DISC_OK, 0, 12088320 },
		{ { .type = 0x32, .subtype = 0, .blocks = 11564032 }, DISC_OK, 0, 11564032 },
	};
	/* clang-format on */

	(void)arg;
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct disc *d = new_disc("bd-r", 0);

		if (cases[i].status == DISC_OK && cases[i].f.blocks % 32 && cases[i].f.type)
			cases[i].f.blocks -= cases[i].f.blocks % 32;
		assert_int_equal(disc_format(d, &cases[i].f), cases[i].status);
		if (cases[i].status == DISC_OK)
			assert_int_equal(disc_get_state(d)->capacity, cases[i].capacity);
		else
			assert_int_equal(disc_last_error(d)->byte, cases[i].byte);
		assert_int_equal(disc_get_state(d)->status,
				 cases[i].status == DISC_OK ? DISC_APPENDABLE : DISC_BLANK);
		end_disc(d);
	}
}

static co_fn void sessions(void *arg)
{
	const struct disc_format srm = {.type = 0x00, .subtype = 1};
	struct disc *d = new_disc("bd-r", 65536);

	(void)arg;
	assert_int_equal(put(d, 0, 40, 1), DISC_OK); /* unformatted is legal */
	assert_int_equal(disc_format(d, &srm), DISC_INCOMPATIBLE);
	assert_int_equal(disc_sync(d), DISC_OK);
	assert_disc(d, "41 appendable incomplete, sessions 1, tracks 1-1, end 0\n"
		       "session 1 incomplete start 0 out 0 next 0\n"
		       "track 1/1 mode 41 ---- start 0 nwa 64 free 65472 size 65536 last 63\n");
	assert_int_equal(disc_close_track(d, 1), DISC_OK);
	assert_int_equal(disc_close_session(d), DISC_OK);
	assert_disc(d, "41 appendable empty, sessions 2, tracks 2-2, end 63\n"
		       "session 1 complete start 0 out 64 next 64\n"
		       "session 2 empty start 64 out 0 next 0\n"
		       "track 1/1 mode 41 ---- start 0 free 0 size 64 last 63\n"
		       "track 2/2 mode 41 -B-- start 64 nwa 64 free 65472 size 65472\n");
	assert_int_equal(put(d, 0, 32, 2), DISC_NOT_NWA);
	assert_int_equal(put(d, 64, 33, 2), DISC_OK);
	d = reopen(d, true);
	assert_int_equal(put(d, 97, 1, 3), DISC_OK);
	/* libburn: the open session first, then the disc */
	assert_int_equal(disc_close_session(d), DISC_OK);
	assert_int_equal(disc_finalise(d), DISC_OK);
	assert_disc(d, "41 complete complete, sessions 2, tracks 2-2, end 127\n"
		       "session 1 complete start 0 out 64 next 64\n"
		       "session 2 complete start 64 out 128 next 0\n"
		       "track 1/1 mode 41 ---- start 0 free 0 size 64 last 63\n"
		       "track 2/2 mode 41 ---- start 64 free 0 size 64 last 127\n");
	assert_pattern(d, 0, 40, 1);
	assert_zeros(d, 40, 24);
	assert_pattern(d, 64, 33, 2);
	assert_pattern(d, 97, 1, 3);
	assert_zeros(d, 98, 30);
	end_disc(d);
}

/* growisofs' way: formatted to SRM+POW, no session is ever closed. */
static co_fn void pseudo_overwrite(void *arg)
{
	const struct disc_format pow = {.type = 0x00, .subtype = 0};
	struct disc *d = new_disc("bd-r", 65536);
	uint32_t replacements;

	(void)arg;
	assert_int_equal(disc_format(d, &pow), DISC_OK);
	replacements = disc_get_state(d)->pow_replacements;
	assert_true(replacements > 4);
	assert_int_equal(put(d, 0, 320, 1), DISC_OK);
	assert_int_equal(disc_sync(d), DISC_OK);
	assert_int_equal(disc_close_session(d), DISC_INCOMPATIBLE);
	assert_int_equal(disc_last_lba(d), 319);
	assert_int_equal(put(d, 16, 8, 2), DISC_OK);
	assert_int_equal(disc_get_state(d)->pow_replacements, replacements - 1);
	assert_int_equal(put(d, 60, 8, 3), DISC_OK); /* two clusters */
	assert_int_equal(disc_get_state(d)->pow_replacements, replacements - 3);
	assert_int_equal(put(d, 310, 20, 3), DISC_NOT_NWA);
	assert_int_equal(disc_last_error(d)->lba, 320);
	assert_int_equal(put(d, 352, 20, 3), DISC_NOT_NWA);
	assert_int_equal(put(d, 320, 32, 4), DISC_OK);
	assert_int_equal(disc_sync(d), DISC_OK);
	d = reopen(d, true);
	assert_int_equal(disc_get_state(d)->pow_replacements, replacements - 3);
	assert_pattern(d, 16, 8, 2);
	assert_pattern(d, 60, 8, 3);
	assert_pattern(d, 320, 32, 4);
	assert_int_equal(disc_close_track(d, 1), DISC_OK);
	assert_int_equal(put(d, 0, 8, 5), DISC_OK); /* a closed track, too */
	assert_int_equal(put(d, 352, 32, 6), DISC_OK);
	assert_int_equal(disc_last_track(d), 2);
	while (disc_get_state(d)->pow_replacements > 0)
		assert_int_equal(put(d, 0, 8, 7), DISC_OK);
	assert_int_equal(put(d, 0, 8, 8), DISC_PROTECTED);
	assert_pattern(d, 0, 8, 7);
	assert_int_equal(disc_finalise(d), DISC_OK);
	assert_int_equal(put(d, 0, 8, 5), DISC_FINALISED);
	assert_int_equal(disc_last_lba(d), 383);
	end_disc(d);
}

static co_fn void layers(void *arg)
{
	/* clang-format off */
	static const struct { const char *type; uint32_t raw, formatted; } sizes[] = {
		{ "bd-r-dl", 24438784, 23652352 }, { "bd-r-tl", 48878592, 47698944 }, { "bd-r-ql", 62500864, 60928000 },
	};
	/* clang-format on */
	struct disc_capacity list[8];

	(void)arg;
	for (unsigned i = 0; i < G_N_ELEMENTS(sizes); i++) {
		struct disc *d = new_disc(sizes[i].type, 0);

		assert_int_equal(disc_list_capacities(d, list, 8), 5);
		assert_int_equal(list[0].blocks, sizes[i].raw);
		assert_int_equal(list[1].blocks, sizes[i].formatted);
		assert_int_equal(put(d, 0, 32, 1), DISC_OK);
		end_disc(d);
	}
}

static co_fn void reserved_ranges(void *arg)
{
	struct disc *d = new_disc("bd-r", 65536);

	(void)arg;
	for (unsigned i = 0; i < 15; i++)
		assert_int_equal(disc_reserve_track(d, 33), DISC_OK);
	assert_int_equal(disc_reserve_track(d, 32),
			 DISC_NO_MORE_TRACKS); /* 16 open ones, the invisible included */
	for (int i = 0; i < 15; i++) {
		assert_int_equal(put(d, i * 64, 1, (uint32_t)i), DISC_OK);
		assert_int_equal(disc_close_track(d, (unsigned)i + 1), DISC_OK);
	}
	assert_int_equal(disc_reserve_track(d, 32), DISC_OK);
	for (int i = 0; i < 15; i++) {
		assert_pattern(d, i * 64, 1, (uint32_t)i);
		assert_zeros(d, i * 64 + 1, 63);
	}
	end_disc(d);
}

IN_LOOP(blank_disc)
IN_LOOP(format_choices)
IN_LOOP(sessions)
IN_LOOP(pseudo_overwrite)
IN_LOOP(layers)
IN_LOOP(reserved_ranges)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_blank_disc), cmocka_unit_test(test_format_choices),
		cmocka_unit_test(test_sessions),   cmocka_unit_test(test_pseudo_overwrite),
		cmocka_unit_test(test_layers),     cmocka_unit_test(test_reserved_ranges),
	};

	return cmocka_run_group_tests(tests, NULL, fixture_end);
}
