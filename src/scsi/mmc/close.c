/*
 * CLOSE TRACK/SESSION (MMC-6 6.3; mmc.md 2.26). Which function means what depends on the medium:
 * one table says.
 */
#include "scsi/mmc/media.h"

enum close_action {
	CLOSE_NONE = 0, /* no such function on this medium */
	CLOSE_FLUSH,    /* nothing to close, but make it durable: overwritable media */
	CLOSE_A_TRACK,
	CLOSE_SESSION,
	CLOSE_FINALISE,
};

enum { CLOSE_FUNCTIONS = 8 };

/* Functions 0: stop background format; 1: track; 2: session; 3 to 6: ways to finalise. */
/* clang-format off */
static const struct {
	uint16_t profile;
	uint8_t action[CLOSE_FUNCTIONS];
} closes[] = {
	{PROFILE_CD_R,		 {[1] = CLOSE_A_TRACK, [2] = CLOSE_SESSION}},
	{PROFILE_CD_RW,		 {[1] = CLOSE_A_TRACK, [2] = CLOSE_SESSION}},
	{PROFILE_DVD_R,		 {[1] = CLOSE_A_TRACK, [2] = CLOSE_SESSION}},
	{PROFILE_DVD_RW_SEQ,	 {[1] = CLOSE_A_TRACK, [2] = CLOSE_SESSION}},
	{PROFILE_DVD_R_DL,	 {[1] = CLOSE_A_TRACK, [2] = CLOSE_SESSION}},
	{PROFILE_DVD_RW_RO,	 {[2] = CLOSE_SESSION, [3] = CLOSE_FINALISE}},
	{PROFILE_DVD_RAM,	 {[2] = CLOSE_FLUSH}},
	{PROFILE_DVD_PLUS_RW,	 {[0] = CLOSE_FLUSH, [2] = CLOSE_FLUSH, [3] = CLOSE_FLUSH}},
	{PROFILE_DVD_PLUS_RW_DL, {[0] = CLOSE_FLUSH, [2] = CLOSE_FLUSH, [3] = CLOSE_FLUSH}},
	{PROFILE_DVD_PLUS_R,	 {[1] = CLOSE_A_TRACK, [2] = CLOSE_SESSION, [5] = CLOSE_FINALISE,
				  [6] = CLOSE_FINALISE}},
	{PROFILE_DVD_PLUS_R_DL,	 {[1] = CLOSE_A_TRACK, [2] = CLOSE_SESSION, [4] = CLOSE_FLUSH,
				  [5] = CLOSE_FINALISE, [6] = CLOSE_FINALISE}},
	{PROFILE_BD_R_SRM,	 {[1] = CLOSE_A_TRACK, [2] = CLOSE_SESSION, [5] = CLOSE_FINALISE,
				  [6] = CLOSE_FINALISE}},
	{PROFILE_BD_RE,		 {[2] = CLOSE_FLUSH}},
};
/* clang-format on */

struct close_arg {
	uint8_t action; /* enum close_action */
	uint16_t track;
};

static enum close_action find_action(const struct disc *disc, unsigned function)
{
	uint16_t profile = disc_get_profile(disc)->number;
	unsigned i;

	for (i = 0; i < G_N_ELEMENTS(closes); i++)
		if (closes[i].profile == profile)
			return closes[i].action[function];
	return CLOSE_NONE;
}

/*
 * All of these can be asked for twice: by libburn, which repeats itself, and when a command is
 * executed again after the daemon was killed. What is closed already is left alone.
 */
static co_fn enum disc_status close_it(struct disc *disc, const struct close_arg *a)
{
	bool complete = disc_get_state(disc)->status == DISC_COMPLETE;
	struct disc_track_info info;

	switch (a->action) {
	case CLOSE_A_TRACK:
		if (complete || disc_get_track_info(disc, a->track, &info) != DISC_OK)
			return disc_flush(disc);
		return disc_close_track(disc, info.number);
	case CLOSE_SESSION: return complete ? disc_flush(disc) : disc_close_session(disc);
	case CLOSE_FINALISE: return complete ? disc_flush(disc) : disc_finalise(disc);
	default: return disc_flush(disc);
	}
}

co_fn enum sense mmc_run_close(struct drive *d, const void *arg, struct scsi_cmd *c)
{
	struct disc *disc = d->disc;
	enum sense sense;
	bool writable;

	if (!disc)
		return drive_no_medium(d);
	writable = disc_is_writable(disc);
	sense = mmc_from_disc(c, disc, close_it(disc, arg));
	if (sense == SENSE_GOOD)
		drive_note_synced(d);
	medium_note_change(d, writable);
	return sense;
}

co_fn enum sense mmc_close(struct scsi_cmd *c)
{
	struct disc *disc = cmd_disc(c);
	unsigned function = fld_get(c->cdb, CLOSE_FUNCTION);
	struct close_arg arg = {(uint8_t)find_action(disc, function),
				(uint16_t)fld_get(c->cdb, CLOSE_TRACK)};
	struct disc_track_info info;

	if (disc_get_profile(disc)->method == METHOD_ROM)
		return SENSE_CANNOT_WRITE_FORMAT;
	if (arg.action == CLOSE_NONE || (arg.action == CLOSE_SESSION && disc_get_state(disc)->pow))
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(CLOSE_FUNCTION), 8);
	if (arg.action == CLOSE_A_TRACK && disc_get_track_info(disc, arg.track, &info) != DISC_OK &&
	    !(arg.track == TRACK_INVISIBLE && disc_get_state(disc)->status == DISC_COMPLETE))
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(CLOSE_TRACK), 8);
	return mmc_long_op(c, fld_get(c->cdb, CLOSE_IMMED), LONG_CLOSE, &arg, sizeof(arg));
}
