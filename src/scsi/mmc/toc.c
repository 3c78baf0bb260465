/*
 * READ TOC/PMA/ATIP (MMC-6 6.26): formatted TOC, session information, full TOC, PMA, ATIP, CD-TEXT.
 *
 * CD: what the lead-ins of the complete sessions say. DVD and BD have no such thing; drives make
 * one up, one track for a medium that is one area and an entry for each track of complete sessions
 * otherwise.
 */
#include "scsi/mmc/media.h"

enum toc_format { TOC_FORMATTED, TOC_SESSIONS, TOC_FULL, TOC_PMA, TOC_ATIP, TOC_CD_TEXT };

enum {
	ADR_POSITION = 1,
	ADR_POINTERS = 5,
	CONTROL_DATA = 4,
	TRACK_LEAD_OUT = 0xaa,
	TOC_TRACKS_MAX = 99, /* track numbers are one byte, and AAh is the lead-out */
	CD_SESSIONS_MAX = 99,
	BLOB_CD_TEXT = 5,         /* section type of the container; key: the session */
	SESSION_LAST_POINTER = 2, /* disc_session.flags: a B0 pointer without a next session */
	CD_TEXT_PACK = 18,
	CD_TEXT_MAX = 8 * 256 * CD_TEXT_PACK,
};

enum { /* all formats begin so */
       TOC_LEN = BE16(0),
       TOC_FIRST = U8(2),
       TOC_LAST = U8(3),
       TOC_HEADER = 4,
};

enum { /* formats 0 and 1: descriptors */
       TD_ADR = BITS(1, 7, 4),
       TD_CONTROL = BITS(1, 3, 0),
       TD_TRACK = U8(2),
       TD_ADDRESS = 4,
       TD_LEN = 8,
};

enum { /* formats 2 and 3: descriptors */
       FT_SESSION = U8(0),
       FT_ADR = BITS(1, 7, 4),
       FT_CONTROL = BITS(1, 3, 0),
       FT_POINT = U8(3),
       FT_MIN = 4,
       FT_ZERO = U8(7),
       FT_PMIN = 8,
       FT_PSEC = 9,
       FT_LEN = 11,
};

/* The complete sessions, or what stands for them. */
struct toc {
	unsigned first_session, last_session; /* 0: none is complete */
	unsigned first_track, last_track;
	int32_t lead_out;
};

static bool toc_of_area(const struct disc *disc, struct toc *t)
{
	struct disc_track_info info;

	/* Never formatted, or with nothing on it yet: a track without blocks. */
	if (disc_get_state(disc)->status == DISC_BLANK ||
	    disc_get_track_info(disc, 1, &info) != DISC_OK || info.size == 0 || info.blank)
		return false;
	*t = (struct toc){1, 1, 1, 1, (int32_t)disc_last_lba(disc) + 1};
	return true;
}

static bool toc_of_sessions(const struct disc *disc, struct toc *t)
{
	const struct disc_state *s = disc_get_state(disc);
	unsigned i;

	*t = (struct toc){0};
	for (i = 1; i <= s->sessions->len; i++) {
		const struct disc_session *session = state_session(s, i);

		if (session->state != SESSION_COMPLETE || !session->first_track)
			continue;
		if (!t->first_session) {
			t->first_session = i;
			t->first_track = session->first_track;
		}
		t->last_session = i;
		t->last_track = session->last_track;
		t->lead_out = session->lead_out;
	}
	return t->first_session != 0;
}

/* False: no session is complete. */
static bool toc_get(const struct disc *disc, struct toc *t)
{
	return medium_is_one_area(disc) ? toc_of_area(disc, t) : toc_of_sessions(disc, t);
}

static unsigned track_control(const struct disc *disc, unsigned number)
{
	const struct disc_track *t = state_track(disc_get_state(disc), number);

	return medium_is_cd(disc) && t ? t->control : CONTROL_DATA;
}

static int32_t track_start(const struct disc *disc, unsigned number)
{
	struct disc_track_info info;

	return disc_get_track_info(disc, number, &info) == DISC_OK ? info.start : 0;
}

static void put_descriptor(uint8_t *p, unsigned control, unsigned track, int32_t lba, bool msf)
{
	fld_put(p, TD_ADR, ADR_POSITION);
	fld_put(p, TD_CONTROL, control);
	fld_put(p, TD_TRACK, track);
	put_address(p + TD_ADDRESS, lba, msf);
}

static enum sense reply_formatted(struct scsi_cmd *c, bool msf)
{
	uint8_t buf[TOC_HEADER + (TOC_TRACKS_MAX + 1) * TD_LEN] = {0}, *p = buf + TOC_HEADER;
	unsigned from = fld_get(c->cdb, RTOC_TRACK), n;
	struct disc *disc = cmd_disc(c);
	struct toc toc;

	if (!toc_get(disc, &toc))
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(RTOC_FORMAT), 8);
	toc.last_track = MIN(toc.last_track, TOC_TRACKS_MAX);
	if (from > toc.last_track && from != TRACK_LEAD_OUT)
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(RTOC_TRACK), 8);
	for (n = MAX(from, toc.first_track); n <= toc.last_track; n++, p += TD_LEN)
		put_descriptor(p, track_control(disc, n), n, track_start(disc, n), msf);
	put_descriptor(p, track_control(disc, toc.last_track), TRACK_LEAD_OUT, toc.lead_out, msf);
	p += TD_LEN;
	fld_put(buf, TOC_LEN, (uint32_t)(p - buf - 2));
	fld_put(buf, TOC_FIRST, toc.first_track);
	fld_put(buf, TOC_LAST, toc.last_track);
	return scsi_reply(c, buf, (size_t)(p - buf));
}

static enum sense reply_sessions(struct scsi_cmd *c, bool msf)
{
	uint8_t buf[TOC_HEADER + TD_LEN] = {0};
	struct disc *disc = cmd_disc(c);
	unsigned track = 1;
	struct toc toc;

	if (!toc_get(disc, &toc))
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(RTOC_FORMAT), 8);
	if (!medium_is_one_area(disc))
		track = state_session(disc_get_state(disc), toc.last_session)->first_track;
	put_descriptor(buf + TOC_HEADER, track_control(disc, track), track & 255,
		       track_start(disc, track), msf);
	fld_put(buf, TOC_LEN, sizeof(buf) - 2);
	fld_put(buf, TOC_FIRST, toc.first_session & 255);
	fld_put(buf, TOC_LAST, toc.last_session & 255);
	return scsi_reply(c, buf, sizeof(buf));
}

/* ---- format 2 ---- */

static uint8_t *put_point(uint8_t *p, unsigned session, unsigned adr, unsigned control,
			  unsigned point)
{
	memset(p, 0, FT_LEN);
	fld_put(p, FT_SESSION, session);
	fld_put(p, FT_ADR, adr);
	fld_put(p, FT_CONTROL, control);
	fld_put(p, FT_POINT, point);
	return p + FT_LEN;
}

static void put_msf(uint8_t p[3], int32_t lba)
{
	struct msf t = lba_to_msf(lba);

	p[0] = t.m;
	p[1] = t.s;
	p[2] = t.f;
}

/*
 * One session's lead-in: A0, A1, A2, tracks, and where the next session goes if one may follow
 * (mmc.md 7.6).
 */
static uint8_t *put_session(uint8_t *p, const struct disc *disc, const struct disc_session *session)
{
	const struct disc_state *s = disc_get_state(disc);
	unsigned n = session->number, track;
	unsigned first = track_control(disc, session->first_track),
		 last = track_control(disc, session->last_track);
	bool outermost = n == 1;

	put_point(p, n, ADR_POSITION, first, 0xa0);
	p[FT_PMIN] = (uint8_t)session->first_track;
	p[FT_PSEC] = session->toc_type;
	p += FT_LEN;
	put_point(p, n, ADR_POSITION, last, 0xa1);
	p[FT_PMIN] = (uint8_t)session->last_track;
	p += FT_LEN;
	put_point(p, n, ADR_POSITION, last, 0xa2);
	put_msf(p + FT_PMIN, session->lead_out);
	p += FT_LEN;
	for (track = session->first_track; track <= session->last_track; track++, p += FT_LEN) {
		put_point(p, n, ADR_POSITION, track_control(disc, track), track);
		put_msf(p + FT_PMIN, track_start(disc, track));
	}
	if (!session->next_area && !(session->flags & SESSION_LAST_POINTER))
		return p;
	put_point(p, n, ADR_POINTERS, first, 0xb0);
	memset(p + FT_MIN, 0xff, 3); /* no next session */
	if (session->next_area)
		put_msf(p + FT_MIN, session->next_area);
	fld_put(p, FT_ZERO, outermost ? 2 : 1); /* number of mode 5 pointers */
	put_msf(p + FT_PMIN, s->last_lead_out);
	p += FT_LEN;
	if (!outermost)
		return p;
	put_point(p, n, ADR_POINTERS, first, 0xc0);
	put_msf(p + FT_PMIN, s->lead_in_start);
	return p + FT_LEN;
}

static enum sense reply_full(struct scsi_cmd *c)
{
	/* Tracks are at most 99 over all sessions, and every session has one. */
	uint8_t buf[TOC_HEADER + (TOC_TRACKS_MAX + 5 * CD_SESSIONS_MAX) * FT_LEN],
		*p = buf + TOC_HEADER;
	unsigned from = fld_get(c->cdb, RTOC_TRACK), n;
	struct disc *disc = cmd_disc(c);
	struct toc toc;

	if (!medium_is_cd(disc) || !toc_of_sessions(disc, &toc))
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(RTOC_FORMAT), 8);
	if (from > toc.last_session)
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(RTOC_TRACK), 8);
	if (toc.last_track > TOC_TRACKS_MAX || toc.last_session > CD_SESSIONS_MAX)
		return SENSE_INTERNAL_FAILURE;
	for (n = MAX(from, toc.first_session); n <= toc.last_session; n++)
		p = put_session(p, disc, state_session(disc_get_state(disc), n));
	fld_put(buf, TOC_LEN, (uint32_t)(p - buf - 2));
	fld_put(buf, TOC_FIRST, toc.first_session);
	fld_put(buf, TOC_LAST, toc.last_session);
	return scsi_reply(c, buf, (size_t)(p - buf));
}

/* ---- formats 3 to 5 ---- */

static bool is_recordable_cd(const struct disc *disc)
{
	uint16_t profile = disc_get_profile(disc)->number;

	return profile == PROFILE_CD_R || profile == PROFILE_CD_RW;
}

/* What the program memory area holds: the tracks that no lead-in names yet. */
static enum sense reply_pma(struct scsi_cmd *c)
{
	uint8_t buf[TOC_HEADER + TOC_TRACKS_MAX * FT_LEN] = {0}, *p = buf + TOC_HEADER;
	struct disc *disc = cmd_disc(c);
	const struct disc_state *s = disc_get_state(disc);
	unsigned n;

	if (!is_recordable_cd(disc))
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(RTOC_FORMAT), 8);
	for (n = 1; n <= MIN(s->tracks->len, TOC_TRACKS_MAX); n++) {
		const struct disc_track *t = state_track(s, n);
		const struct disc_session *session = state_session(s, t->session);

		if ((session && session->state == SESSION_COMPLETE) ||
		    (t->flags & (TRACK_OPEN | TRACK_BLANK)))
			continue;
		put_point(p, t->session, ADR_POSITION, t->control, n);
		put_msf(p + FT_MIN, t->start + (int32_t)t->size - 1);
		put_msf(p + FT_PMIN, t->start);
		p += FT_LEN;
	}
	fld_put(buf, TOC_LEN, (uint32_t)(p - buf - 2));
	return scsi_reply(c, buf, (size_t)(p - buf));
}

static enum sense reply_atip(struct scsi_cmd *c)
{
	struct disc *disc = cmd_disc(c);
	uint8_t buf[sizeof(disc_get_state(disc)->atip)];

	if (!is_recordable_cd(disc))
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(RTOC_FORMAT), 8);
	memcpy(buf, disc_get_state(disc)->atip, sizeof(buf));
	fld_put(buf, TOC_LEN, sizeof(buf) - 2);
	return scsi_reply(c, buf, sizeof(buf));
}

/* The packs exactly as the host wrote them into the lead-in of the first session that has any. */
static enum sense reply_cd_text(struct scsi_cmd *c)
{
	struct disc *disc = cmd_disc(c);
	const struct disc_state *s = disc_get_state(disc);
	const struct disc_blob *packs = NULL;
	uint8_t head[TOC_HEADER] = {0};
	size_t len = 0, room;
	unsigned n;

	if (!medium_is_cd(disc))
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(RTOC_FORMAT), 8);
	for (n = 1; n <= s->sessions->len && !packs; n++)
		if (state_session(s, n)->state == SESSION_COMPLETE)
			packs = state_find_blob(s, BLOB_CD_TEXT, n);
	if (packs)
		len = MIN(packs->len, CD_TEXT_MAX);
	fld_put(head, TOC_LEN, (uint32_t)(sizeof(head) - 2 + len));
	room = MIN(c->alloc_len, c->in.len);
	scsi_reply(c, head, sizeof(head));
	if (len && room > sizeof(head))
		c->in_done +=
			iovs_put(&c->in, sizeof(head), packs->data, MIN(len, room - sizeof(head)));
	return SENSE_GOOD;
}

enum sense mmc_read_toc(struct scsi_cmd *c)
{
	bool msf = fld_get(c->cdb, RTOC_MSF);
	unsigned format = fld_get(c->cdb, RTOC_FORMAT);

	if (format == TOC_FORMATTED) /* Linux finds the last session by the old field only */
		format = fld_get(c->cdb, RTOC_OLD_FORMAT);
	switch (format) {
	case TOC_FORMATTED: return reply_formatted(c, msf);
	case TOC_SESSIONS: return reply_sessions(c, msf);
	case TOC_FULL: return reply_full(c);
	case TOC_PMA: return reply_pma(c);
	case TOC_ATIP: return reply_atip(c);
	case TOC_CD_TEXT: return reply_cd_text(c);
	}
	return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(RTOC_FORMAT), 8);
}
