/* Cue sheets: what programs send (reference/mmc.md 2.24, A.6), and what must be refused, with the
 * offset named. */
#include "disc/cue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct cue_limits blank = {.first_track = 1, .begin = -150, .last_lead_out = 359849};

/* clang-format off */
static const uint8_t one_track[] = {
	0x41, 0x00, 0x00, 0x14, 0x00, 0, 0, 0,
	0x41, 0x01, 0x00, 0x10, 0x00, 0, 0, 0,
	0x41, 0x01, 0x01, 0x10, 0x00, 0, 2, 0,
	0x41, 0xaa, 0x01, 0x14, 0x00, 2, 15, 25,
};
/* clang-format on */

static void test_one_track(void **state)
{
	struct cue_sheet c;
	uint32_t bad;

	(void)state;
	assert_int_equal(cue_parse(one_track, sizeof(one_track), &blank, &c, &bad), DISC_OK);
	assert_int_equal(c.n_tracks, 1);
	assert_int_equal(c.begin, -150);
	assert_int_equal(c.lead_out, 10000);
	assert_int_equal(c.tracks[0].index0, -150);
	assert_int_equal(c.tracks[0].index1, 0);
	assert_int_equal(c.tracks[0].end, 10000);
	assert_int_equal(c.tracks[0].control, 4);
	assert_false(c.has_mcn);
	assert_non_null(cue_find_region(&c, -150));
	assert_null(cue_find_region(&c, -151));
	assert_non_null(cue_find_region(&c, 9999));
	assert_null(cue_find_region(&c, 10000));
	assert_int_equal(cue_next_from_host(&c, -150), -150);
}

static void test_texts_and_two_tracks(void **state)
{
	/* clang-format off */
	static const uint8_t sheet[] = {
		0x02, '0',  '1',  '2',  '3',  '4', '5', '6',
		0x02, '7',  '8',  '9',  '0',  '1', '2', 0,
		0x41, 0x00, 0x00, 0x14, 0x00, 0,   0,   0,
		0x03, 0x01, 'U',  'S',  'R',  'C', '1', '7',
		0x03, 0x01, '6',  '0',  '7',  '8', '3', '9',
		0x41, 0x01, 0x00, 0x10, 0x00, 0,   0,   0,
		0x41, 0x01, 0x01, 0x10, 0x00, 0,   2,   0,
		0x41, 0x02, 0x00, 0x11, 0x00, 0,   12,  0,	/* zero-length index 0: wodim */
		0x41, 0x02, 0x01, 0x11, 0x00, 0,   12,  0,
		0x41, 0xaa, 0x01, 0x14, 0x00, 0,   22,  0,
	};
	/* clang-format on */
	struct cue_sheet c;
	uint32_t bad;

	(void)state;
	assert_int_equal(cue_parse(sheet, sizeof(sheet), &blank, &c, &bad), DISC_OK);
	assert_true(c.has_mcn);
	assert_memory_equal(c.mcn, "0123456789012", 13);
	assert_int_equal(c.n_tracks, 2);
	assert_memory_equal(c.tracks[0].isrc, "USRC17607839", 12);
	assert_int_equal(c.tracks[1].isrc[0], 0);
	assert_int_equal(c.tracks[0].end, 750);
	assert_int_equal(c.tracks[1].index0, 750);
	assert_int_equal(c.tracks[1].index1, 750);
	assert_int_equal(c.tracks[1].end, 1500);
	assert_int_equal(c.n_regions, 2);
	assert_int_equal(cue_find_region(&c, 749)->form, 0x10);
	assert_int_equal(cue_find_region(&c, 750)->form, 0x11);
	assert_int_equal(cue_form_bytes(0x11), 2352);
}

static void test_pregap_from_drive(void **state)
{
	struct cue_sheet c;
	uint8_t sheet[sizeof(one_track)];
	uint32_t bad;

	(void)state;
	memcpy(sheet, one_track, sizeof(sheet));
	sheet[8 + 3] = 0x14;
	assert_int_equal(cue_parse(sheet, sizeof(sheet), &blank, &c, &bad), DISC_OK);
	assert_int_equal(cue_next_from_host(&c, -150), 0);
}

static void test_appended_session(void **state)
{
	/* N = 21402: the pregap begins at 21252, 4:45:27 */
	static const struct cue_limits second = {
		.first_track = 2, .begin = 21252, .last_lead_out = 359849};
	/* clang-format off */
	static const uint8_t sheet[] = {
		0x41, 0x00, 0x00, 0x14, 0x00, 0, 0,  0,
		0x41, 0x02, 0x00, 0x10, 0x00, 4, 45, 27,
		0x41, 0x02, 0x01, 0x10, 0x00, 4, 47, 27,
		0x41, 0xaa, 0x01, 0x14, 0x00, 5, 0,  0,
	};
	/* clang-format on */
	struct cue_sheet c;
	uint32_t bad;

	(void)state;
	assert_int_equal(cue_parse(sheet, sizeof(sheet), &second, &c, &bad), DISC_OK);
	assert_int_equal(c.tracks[0].index1, 21402);
	assert_int_equal(cue_parse(sheet, sizeof(sheet), &blank, &c, &bad), DISC_BAD_PARAMETER);
	assert_int_equal(bad, 9);
}

struct bad_case {
	unsigned byte; /* set this byte of one_track ... */
	uint8_t value; /* ... to this */
	uint32_t blamed;
};

static void test_refusals(void **state)
{
	/* clang-format off */
	static const struct bad_case cases[] = {
		{ 0, 0x44, 0 },			/* ADR 4 */
		{ 1, 0x01, 1 },			/* no lead-in entry */
		{ 3, 0x54, 3 },			/* CD-TEXT in the lead-in */
		{ 8 + 1, 0x02, 9 },		/* begins with track 2 */
		{ 8 + 2, 0x01, 10 },		/* no index 0 */
		{ 8 + 3, 0x00, 11 },		/* audio */
		{ 8 + 3, 0x50, 11 },		/* sub-channel */
		{ 8 + 7, 1, 13 },		/* does not begin at the pregap */
		{ 16 + 0, 0x01, 16 },		/* mode 1 without the data bit */
		{ 16 + 2, 0x02, 18 },		/* index 2 after 0 */
		{ 16 + 5, 90, 21 },		/* minute */
		{ 16 + 6, 1, 21 },		/* pregap of 75 */
		{ 16 + 6, 60, 22 },		/* second */
		{ 16 + 7, 75, 23 },		/* frame */
		{ 24 + 1, 0xab, 25 },		/* no lead-out */
		{ 24 + 2, 0, 26 },
		{ 24 + 5, 0, 29 },		/* overlaps: 0:01:25 */
		{ 24 + 5, 80, 29 },		/* beyond the last possible lead-out */
	};
	/* clang-format on */
	uint8_t sheet[sizeof(one_track)];
	struct cue_sheet c;
	uint32_t bad;

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memcpy(sheet, one_track, sizeof(sheet));
		sheet[cases[i].byte] = cases[i].value;
		if (cases[i].byte == 24 + 5 && cases[i].value == 0)
			sheet[24 + 6] = 1;
		if (cue_parse(sheet, sizeof(sheet), &blank, &c, &bad) != DISC_BAD_PARAMETER ||
		    bad != cases[i].blamed)
			fail_msg("case %u: byte %u blamed, not %u", i, bad, cases[i].blamed);
	}
}

static void test_lengths(void **state)
{
	uint8_t many[(CUE_MAX_ENTRIES + 1) * CUE_ENTRY];
	struct cue_sheet c;
	uint32_t bad;

	(void)state;
	for (unsigned len = 0; len < sizeof(one_track); len++)
		assert_int_equal(cue_parse(one_track, len, &blank, &c, &bad), DISC_BAD_PARAMETER);
	for (unsigned i = 0; i <= CUE_MAX_ENTRIES; i++)
		memcpy(many + i * CUE_ENTRY, one_track + 8, CUE_ENTRY);
	assert_int_equal(cue_parse(many, sizeof(many), &blank, &c, &bad), DISC_BAD_PARAMETER);
	assert_int_equal(cue_parse(many, sizeof(many) - 8, &blank, &c, &bad), DISC_BAD_PARAMETER);
}

/* Whatever bytes come, nothing is read or written out of bounds, and what is accepted is in order.
 */
static void test_noise(void **state)
{
	uint32_t seed = 1, bad;
	struct cue_sheet c;
	uint8_t sheet[12 * CUE_ENTRY];

	(void)state;
	for (unsigned round = 0; round < 20000; round++) {
		memcpy(sheet, one_track, sizeof(one_track));
		memcpy(sheet + 64, one_track, sizeof(one_track));
		for (unsigned i = 0; i < 3; i++) {
			seed = seed * 1103515245 + 12345;
			sheet[(seed >> 8) % sizeof(sheet)] = (uint8_t)(seed >> 24);
		}
		if (cue_parse(sheet, 32 + (round & 8) * 8, &blank, &c, &bad) != DISC_OK)
			continue;
		assert_true(c.lead_out > c.begin && c.lead_out <= blank.last_lead_out);
		for (unsigned i = 0; i + 1 < c.n_regions; i++)
			assert_int_equal(c.regions[i].end, c.regions[i + 1].begin);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_track),
		cmocka_unit_test(test_texts_and_two_tracks),
		cmocka_unit_test(test_pregap_from_drive),
		cmocka_unit_test(test_appended_session),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_noise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
