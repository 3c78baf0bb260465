#include "disc_scenario.h"

#include "disc/rules.h"

#include <string.h>

/* clang-format off */
static const struct step cd_tao[] = {
	{ DO_MODE, 1, 3 },  { DO_PUT, 0, 32, 1 },      { DO_PUT, 32, 32, 2 }, { DO_FLUSH },    { DO_PUT, 64, 5, 3 },
	{ DO_SYNC },        { DO_PUT, 452, 40, 4 },    { DO_CLOSE_SESSION },  { DO_MODE, 1, 0 }, { DO_PUT, 12154, 16, 5 },
	{ DO_SYNC },        { DO_CLOSE_SESSION },      { DO_END },
};
/* clang-format on */

/* clang-format off */
static const struct step cd_sao[] = {
	{ DO_MODE, 2, 3 },       { DO_CUE },              { DO_PUT, -150, 150, 1 }, { DO_PUT, 0, 200, 2 }, { DO_FLUSH },
	{ DO_PUT, 200, 200, 3 }, { DO_PUT, 400, 125, 4 }, { DO_SYNC },              { DO_SYNC },         { DO_END },
};
/* clang-format on */

/* clang-format off */
static const struct step plus_r[] = {
	{ DO_RESERVE, 40 },      { DO_PUT, 48, 16, 1 },   { DO_PUT, 0, 20, 2 },  { DO_PUT, 64, 3, 3 }, { DO_SYNC },
	{ DO_CLOSE_TRACK, 1 },   { DO_CLOSE_TRACK, 2 },   { DO_CLOSE_SESSION },  { DO_PUT, 1104, 32, 4 }, { DO_FLUSH },
	{ DO_PUT, 1136, 32, 5 }, { DO_CLOSE_SESSION },    { DO_FINALISE },       { DO_END },
};
/* clang-format on */

/* clang-format off */
static const struct step dvd_dao[] = {
	{ DO_MODE, 2, 0 }, { DO_RESERVE, 100 }, { DO_PUT, 0, 64, 1 }, { DO_PUT, 64, 40, 2 }, { DO_SYNC }, { DO_END },
};
/* clang-format on */

/* clang-format off */
static const struct step dvd_rw[] = {
	{ DO_MODE, 0, 3 },      { DO_PUT, 0, 32, 1 },     { DO_SYNC },            { DO_CLOSE_SESSION }, { DO_BLANK, 0 },
	{ DO_PUT, 0, 16, 2 },   { DO_SYNC },              { DO_FORMAT, 0x15 },    { DO_PUT, 0, 48, 3 }, { DO_PUT, 16, 16, 4 },
	{ DO_SYNC },            { DO_PUT, 48, 10, 5 },    { DO_CLOSE_SESSION },   { DO_FORMAT, 0x13 },  { DO_PUT, 64, 16, 6 },
	{ DO_CLOSE_SESSION },   { DO_FORMAT, 0x10 },      { DO_PUT, 600, 16, 7 }, { DO_SYNC },          { DO_BLANK, 1 },
	{ DO_MODE, 2, 0 },      { DO_RESERVE, 32 },       { DO_MODE, 0, 0 },      { DO_PUT, 0, 16, 8 }, { DO_CLOSE_SESSION },
	{ DO_END },
};
/* clang-format on */

/* clang-format off */
static const struct step bd_pow[] = {
	{ DO_FORMAT, 0, 0 }, { DO_PUT, 0, 64, 1 },    { DO_PUT, 64, 3, 2 }, { DO_SYNC }, { DO_PUT, 96, 32, 3 }, { DO_FLUSH },
	{ DO_CLOSE_TRACK, 1 }, { DO_PUT, 128, 32, 5 }, { DO_FINALISE },    { DO_END },
};
/* clang-format on */

/* clang-format off */
static const struct step bd_srm[] = {
	{ DO_FORMAT, 0, 1 },  { DO_PUT, 0, 64, 1 },  { DO_CLOSE_SESSION }, { DO_RESERVE, 64 }, { DO_PUT, 128, 32, 2 },
	{ DO_PUT, 64, 1, 3 }, { DO_CLOSE_TRACK, 2 }, { DO_CLOSE_SESSION }, { DO_FINALISE },   { DO_END },
};
/* clang-format on */

/* clang-format off */
const struct scenario scenarios[] = {
	{ "CD-R, track at once", "cd-r", 60000, cd_tao },
	{ "CD-R, session at once", "cd-r", 60000, cd_sao },
	{ "DVD+R", "dvd+r", 4096, plus_r },
	{ "DVD-R at once", "dvd-r", 4096, dvd_dao },
	{ "DVD-RW", "dvd-rw", 4096, dvd_rw },
	{ "BD-R, pseudo overwrite", "bd-r", 8192, bd_pow },
	{ "BD-R", "bd-r", 8192, bd_srm },
	{ NULL },
};
/* clang-format on */

static co_fn enum disc_status do_format(struct disc *d, const struct step *s)
{
	struct disc_format f = {.type = (uint8_t)s->a, .subtype = (uint8_t)s->b};

	if (f.type == 0x10)
		f.blocks = rw_ro_full_blocks(disc_get_state(d));
	return disc_format(d, &f);
}

co_fn enum disc_status do_step(struct disc *d, const struct step *s)
{
	static const uint8_t cue[] = {
		/* 525 blocks in two tracks: 0 and 300 */
		0x41, 0x00, 0x00, 0x14, 0x00, 0,    0,    0,    0x41, 0x01, 0x00, 0x10, 0x00, 0,
		0,    0,    0x41, 0x01, 0x01, 0x10, 0x00, 0,    2,    0,    0x41, 0x02, 0x01, 0x10,
		0x00, 0,    6,    0,    0x41, 0xaa, 0x01, 0x14, 0x00, 0,    9,    0,
	};

	switch (s->op) {
	case DO_MODE: set_mode(d, (unsigned)s->a, s->b); return DISC_OK;
	case DO_TEST: set_test_mode(d, (unsigned)s->a); return DISC_OK;
	case DO_PUT: return put(d, s->a, s->b, s->seed);
	case DO_SYNC: return disc_sync(d);
	case DO_FLUSH: return disc_flush(d);
	case DO_RESERVE: return disc_reserve_track(d, (uint32_t)s->a);
	case DO_CLOSE_TRACK: return disc_close_track(d, (unsigned)s->a);
	case DO_CLOSE_SESSION: return disc_close_session(d);
	case DO_FINALISE: return disc_finalise(d);
	case DO_CUE: return disc_send_cue_sheet(d, cue, sizeof(cue));
	case DO_BLANK: return disc_blank(d, (unsigned)s->a);
	case DO_FORMAT: return do_format(d, s);
	case DO_END: break;
	}
	return DISC_OK;
}

co_fn void format_node(struct block_node *node, const struct scenario *s)
{
	struct disc_state *state = disc_blank_state(disc_type_find(s->type), s->blocks);
	GError *error = NULL;

	if (!disc_store_format(node, state, STORE_RDWR, &error))
		fail_msg("%s", error->message);
	disc_state_free(state);
}

co_fn struct disc *open_node(struct block_node *node, bool same_boot)
{
	static const uint8_t this_boot[16] = {1, 2, 3}, unknown[16];
	struct disc_state *state;
	struct disc_store *store;
	GError *error = NULL;
	struct disc *d = NULL;

	block_ref(node);
	store = disc_store_open_boot(node, STORE_RDWR, same_boot ? this_boot : unknown, &state,
				     &error);
	if (store)
		d = disc_open_with_store(store, state, &error);
	if (!d)
		fail_msg("%s", error->message);
	return d;
}
