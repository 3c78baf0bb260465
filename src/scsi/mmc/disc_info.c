/*
 * READ DISC INFORMATION (MMC-6 6.22): the state of disc and last session, track resources, POW
 * resources.
 */
#include "scsi/mmc/media.h"

enum { INFO_STANDARD = 0, INFO_TRACK_RESOURCES = 1, INFO_POW_RESOURCES = 2 };

enum { /* standard disc information */
       INFO_LEN = BE16(0),
       INFO_DATA_TYPE = BITS(2, 7, 5),
       INFO_ERASABLE = BIT(2, 4),
       INFO_SESSION_STATE = BITS(2, 3, 2),
       INFO_DISC_STATUS = BITS(2, 1, 0),
       INFO_FIRST_TRACK = U8(3),
       INFO_SESSIONS = U8(4),
       INFO_FIRST_OF_LAST = U8(5),
       INFO_LAST_OF_LAST = U8(6),
       INFO_URU = BIT(7, 5),
       INFO_DAC_V = BIT(7, 4),
       INFO_BG_FORMAT = BITS(7, 1, 0),
       INFO_DISC_TYPE = U8(8),
       INFO_SESSIONS_MSB = U8(9),
       INFO_FIRST_OF_LAST_MSB = U8(10),
       INFO_LAST_OF_LAST_MSB = U8(11),
       INFO_LEAD_IN = 16,
       INFO_LEAD_OUT = 20,
       INFO_REPLY = 34,
};

enum { /* track resources */
       RES_MAX_TRACKS = BE16(4),
       RES_ASSIGNED = BE16(6),
       RES_MAX_OPEN = BE16(8),
       RES_OPEN = BE16(10),
       RES_REPLY = 12,
};

enum { /* POW resources */
       POW_REPLACEMENTS = BE32(4),
       POW_MAP_ENTRIES = BE32(8),
       POW_UPDATES = BE32(12),
       POW_REPLY = 16,
};

static void put_counts(uint8_t *p, const struct disc *disc)
{
	unsigned sessions = disc_sessions(disc);
	unsigned first = disc_first_track_of_last_session(disc), last = disc_last_track(disc);

	fld_put(p, INFO_FIRST_TRACK, 1);
	fld_put(p, INFO_SESSIONS, sessions & 255);
	fld_put(p, INFO_SESSIONS_MSB, sessions >> 8);
	fld_put(p, INFO_FIRST_OF_LAST, first & 255);
	fld_put(p, INFO_FIRST_OF_LAST_MSB, first >> 8);
	fld_put(p, INFO_LAST_OF_LAST, last & 255);
	fld_put(p, INFO_LAST_OF_LAST_MSB, last >> 8);
}

/*
 * Where the session that can be recorded next begins, and where its lead-out may begin at the
 * latest.
 */
static void put_limits(uint8_t *p, const struct disc *disc)
{
	const struct disc_state *s = disc_get_state(disc);
	const struct disc_session *last = state_session(s, s->sessions->len);
	bool cd = medium_is_cd(disc);

	if (s->status == DISC_COMPLETE) { /* wodim knows a complete disc by these */
		memset(p + INFO_LEAD_IN, cd ? 0xff : 0, 4);
		memset(p + INFO_LEAD_OUT, 0xff, 4);
		return;
	}
	if (!cd) {
		put_address(p + INFO_LEAD_OUT, (int32_t)s->capacity, false);
		return;
	}
	put_address(p + INFO_LEAD_IN, last ? last->lead_in : s->lead_in_start, true);
	put_address(p + INFO_LEAD_OUT, s->last_lead_out, true);
}

static enum sense standard_info(struct scsi_cmd *c)
{
	struct disc *disc = cmd_disc(c);
	const struct disc_state *s = disc_get_state(disc);
	const struct disc_profile *profile = disc_get_profile(disc);
	uint8_t buf[INFO_REPLY] = {0};

	fld_put(buf, INFO_LEN, INFO_REPLY - 2);
	fld_put(buf, INFO_ERASABLE, profile->erasable);
	fld_put(buf, INFO_SESSION_STATE, disc_last_session_state(disc));
	fld_put(buf, INFO_DISC_STATUS, s->status);
	put_counts(buf, disc);
	fld_put(buf, INFO_URU, profile->number == PROFILE_CD_R || profile->number == PROFILE_CD_RW);
	fld_put(buf, INFO_DAC_V, profile->family == DISC_DVD_PLUS);
	if (profile->family == DISC_DVD_PLUS && profile->method == METHOD_RANDOM)
		fld_put(buf, INFO_BG_FORMAT, s->format_state);
	fld_put(buf, INFO_DISC_TYPE, s->disc_type);
	put_limits(buf, disc);
	return scsi_reply(c, buf, sizeof(buf));
}

/* How many tracks a medium can have, and how many of them open at a time. */
static void track_limits(const struct disc_profile *p, unsigned *tracks, unsigned *open)
{
	*tracks = 1;
	*open = 1;
	if (p->method != METHOD_SEQUENTIAL && p->method != METHOD_REWRITABLE)
		return;
	switch (p->family) {
	case DISC_CD: *tracks = *open = 99; break;
	case DISC_DVD_MINUS:
		*tracks = 2302;
		*open = 3;
		break;
	case DISC_BD:
		*tracks = 7927;
		*open = 16;
		break;
	default: *tracks = 153; *open = 16;
	}
}

static enum sense track_resources(struct scsi_cmd *c)
{
	struct disc *disc = cmd_disc(c);
	unsigned tracks, open, now_open = 0, last = disc_last_track(disc), i;
	uint8_t buf[RES_REPLY] = {0};
	struct disc_track_info info;

	track_limits(disc_get_profile(disc), &tracks, &open);
	for (i = 1; i <= last; i++)
		if (disc_get_track_info(disc, i, &info) == DISC_OK && info.nwa_valid)
			now_open++;
	fld_put(buf, INFO_LEN, RES_REPLY - 2);
	fld_put(buf, INFO_DATA_TYPE, INFO_TRACK_RESOURCES);
	fld_put(buf, RES_MAX_TRACKS, tracks);
	fld_put(buf, RES_ASSIGNED, last);
	fld_put(buf, RES_MAX_OPEN, open);
	fld_put(buf, RES_OPEN, now_open);
	return scsi_reply(c, buf, sizeof(buf));
}

static enum sense pow_resources(struct scsi_cmd *c)
{
	const struct disc_state *s = disc_get_state(cmd_disc(c));
	uint8_t buf[POW_REPLY] = {0};

	fld_put(buf, INFO_LEN, POW_REPLY - 2);
	fld_put(buf, INFO_DATA_TYPE, INFO_POW_RESOURCES);
	fld_put(buf, POW_REPLACEMENTS, s->pow_replacements);
	fld_put(buf, POW_MAP_ENTRIES, s->pow_map_entries);
	fld_put(buf, POW_UPDATES, s->pow_updates);
	return scsi_reply(c, buf, sizeof(buf));
}

enum sense mmc_read_disc_info(struct scsi_cmd *c)
{
	switch (fld_get(c->cdb, RDI_TYPE)) {
	case INFO_STANDARD: return standard_info(c);
	case INFO_TRACK_RESOURCES: return track_resources(c);
	case INFO_POW_RESOURCES:
		if (disc_get_state(cmd_disc(c))->pow)
			return pow_resources(c);
		break;
	}
	return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(RDI_TYPE), 8);
}
