/*
 * What each medium answers to each operation when it is blank and when it is complete
 * (reference/mmc.md 6.3, 8.6): a table with one column an operation. After a refusal the disc is as
 * it was.
 */
#include "disc_scenario.h"

#include "block/mem.h"

#include <string.h>

enum { N_OPS = 9 };

static const struct step ops[N_OPS] = {
	{DO_PUT, 500, 16, 1}, {DO_RESERVE, 0},    {DO_CUE},      {DO_BLANK, 0}, {DO_FORMAT, 0x26},
	{DO_CLOSE_TRACK, 90}, {DO_CLOSE_SESSION}, {DO_FINALISE}, {DO_SYNC},
};

struct medium {
	const char *type;
	unsigned write_type;
	bool complete;
	enum disc_status want[N_OPS];
};

#define OK   DISC_OK
#define NWA  DISC_NOT_NWA
#define BAD  DISC_BAD_PARAMETER
#define INC  DISC_INCOMPATIBLE
#define FIN  DISC_FINALISED
#define SEQ  DISC_SEQUENCE
#define RNG  DISC_RANGE
#define MODE DISC_WRONG_MODE
/* clang-format off */
static const struct medium media[] = {
	/*                          put   res  cue  blank fmt  track sess fin  sync */
	{ "cd-r",   1, false,     { NWA,  INC, SEQ, INC,  INC, RNG,  OK,  INC, OK } },
	{ "cd-r",   0, false,     { MODE, INC, SEQ, INC,  INC, RNG,  OK,  INC, OK } },
	{ "cd-r",   2, false,     { SEQ,  INC, OK,  INC,  INC, RNG,  OK,  INC, OK } },
	{ "cd-r",   1, true,      { FIN,  FIN, FIN, INC,  INC, RNG,  OK,  INC, OK } },
	{ "dvd-r",  0, false,     { NWA,  BAD, INC, INC,  INC, RNG,  OK,  INC, OK } },
	{ "dvd-r",  2, false,     { NWA,  BAD, INC, INC,  INC, RNG,  OK,  INC, OK } },
	{ "dvd-r",  1, false,     { MODE, MODE, INC, INC, INC, RNG,  OK,  INC, OK } },
	{ "dvd-r",  0, true,      { FIN,  FIN, FIN, INC,  INC, RNG,  OK,  INC, OK } },
	{ "dvd-rw", 0, false,     { NWA,  BAD, INC, OK,   BAD, RNG,  OK,  INC, OK } },
	{ "dvd-rw", 0, true,      { FIN,  FIN, FIN, OK,   BAD, RNG,  OK,  INC, OK } },
	{ "dvd+r",  0, false,     { NWA,  BAD, INC, INC,  INC, RNG,  OK,  OK,  OK } },
	{ "dvd+r",  0, true,      { FIN,  FIN, FIN, INC,  INC, RNG,  OK,  OK,  OK } },
	{ "bd-r",   0, false,     { NWA,  BAD, INC, INC,  BAD, RNG,  OK,  OK,  OK } },
	{ "bd-r",   0, true,      { FIN,  FIN, FIN, INC,  INC, RNG,  OK,  OK,  OK } },
};
/* clang-format on */

static co_fn struct disc *make(const struct medium *m, struct block_node *node)
{
	const struct scenario s = {.type = m->type, .blocks = 8192};
	struct disc *d;

	format_node(node, &s);
	d = open_node(node, false);
	set_mode(d, m->write_type, 0);
	if (m->complete) {
		assert_int_equal(put(d, 0, 320, 1), DISC_OK);
		assert_int_equal(disc_close_session(d), DISC_OK);
		assert_int_equal(disc_finalise(d),
				 disc_get_profile(d)->family == DISC_DVD_PLUS ||
						 disc_get_profile(d)->family == DISC_BD
					 ? DISC_OK
					 : DISC_INCOMPATIBLE);
		assert_int_equal(disc_get_state(d)->status, DISC_COMPLETE);
	}
	return d;
}

static co_fn void try_op(const struct medium *m, unsigned op)
{
	struct block_node *node = block_mem_new(0, NULL, 0);
	struct disc *d = make(m, node);
	char *before = g_strdup(dump(d));
	enum disc_status status = do_step(d, &ops[op]);

	if (status != m->want[op]) {
		fail_msg("%s, write type %u, %s: operation %u gives %d, not %d", m->type,
			 m->write_type, m->complete ? "complete" : "blank", op, status,
			 m->want[op]);
	}
	if (status != DISC_OK)
		assert_disc(d, before);
	g_free(before);
	disc_close(d, false);
	block_unref(node);
}

static co_fn void matrix(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < G_N_ELEMENTS(media); i++)
		for (unsigned k = 0; k < N_OPS; k++)
			try_op(&media[i], k);
}

/* Mode page 05h: who takes which write type with which block type. */
static co_fn void write_params(void *arg)
{
	/* bits: write type 0 to 3, with block type 8; then SAO with block type 0; TAO with block
	 * type 0 */
	static const struct {
		const char *type;
		bool takes[6];
	} table[] = {
		{"cd-r", {false, true, true, false, true, true}},
		{"dvd-r", {true, false, true, false, true, false}},
		{"dvd-rw", {true, false, true, false, true, false}},
		{"dvd+r", {true, true, true, false, true, false}},
		{"bd-r", {true, true, true, false, true, false}},
	};

	(void)arg;
	for (unsigned i = 0; i < G_N_ELEMENTS(table); i++) {
		struct disc *d = new_disc(table[i].type, 8192);

		for (unsigned k = 0; k < 6; k++) {
			const struct disc_write_params p = {
				.write_type = (uint8_t)(k < 4    ? k
							: k == 4 ? 2
								 : 1),
				.track_mode = 4,
				.block_type = k < 4 ? 8 : 0,
			};

			assert_int_equal(disc_accepts_write_params(d, &p), table[i].takes[k]);
		}
		assert_false(disc_accepts_write_params(
			d, &(struct disc_write_params){.write_type = 7, .block_type = 6}));
		end_disc(d);
	}
}

IN_LOOP(matrix)
IN_LOOP(write_params)

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_matrix),
					   cmocka_unit_test(test_write_params)};

	return cmocka_run_group_tests(tests, NULL, fixture_end);
}
