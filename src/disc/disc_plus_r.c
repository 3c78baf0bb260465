/*
 * DVD+R (reference/mmc.md 5.9): sequential recording of fragments; CLOSE SESSION always leaves room
 * for another session, finalising is a function of its own.
 */
#include "disc/rules.h"

enum { SESSION_GAP = 1024, FRAGMENTS = 16, MAX_FRAGMENTS = 16 * 191 };

/* clang-format off */
#define PLUS_R_RULES \
	.align = 16, .control = 7, .closed_control = 4, .blank_mode = 1, .packet_size = 16, \
	.max_open = FRAGMENTS, .max_session_tracks = FRAGMENTS, .max_tracks = MAX_FRAGMENTS, \
	.first_session_gap = SESSION_GAP, .session_gap = SESSION_GAP, \
	.write = seq_write, .sync = seq_sync, .reserve_track = seq_reserve, .close_track = seq_close_track, \
	.close_session = seq_close_appendable, .finalise = seq_finalise
/* clang-format on */

const struct disc_rules disc_rules_plus_r = {
	.profile = PROFILE_DVD_PLUS_R,
	PLUS_R_RULES,
};

const struct disc_rules disc_rules_plus_r_dl = {
	.profile = PROFILE_DVD_PLUS_R_DL,
	PLUS_R_RULES,
};
