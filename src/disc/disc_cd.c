/*
 * CD-R: track at once, and the rules of which write type does what (reference/mmc.md 5.3). Session
 * at once stands in disc_cd_sao.c.
 *
 * What the host writes at once with SYNCHRONIZE CACHE becomes a track of at least 300 blocks with
 * two run-out blocks; neither padding nor run-out is stored, they read as zeros.
 */
#include "disc/disc_cd.h"
#include "disc/sector.h"

static enum disc_status check_tao(const struct disc *d)
{
	const struct disc_track *t = seq_open_track(d->state);

	if (d->params.write_type != WRITE_TAO || !cd_is_data_form(d->params.block_type) ||
	    !(d->params.track_mode & 4))
		return DISC_WRONG_MODE;
	if (t && !(t->flags & TRACK_DAO) && t->form != d->params.block_type)
		return DISC_WRONG_MODE;
	return t && t->flags & TRACK_DAO ? DISC_SEQUENCE : DISC_OK;
}

static void begin_tao(const struct disc *d, struct disc_track *t)
{
	t->control = d->params.track_mode & 15;
	t->form = d->params.block_type;
	t->data_mode = t->form == BLOCK_XA_FORM1 ? 2 : 1;
	t->pregap = CD_LINK_GAP;
}

static co_fn enum disc_status cd_write(struct disc *d, int32_t lba, uint32_t blocks,
				       const struct iovs *iov, bool replay)
{
	enum disc_status status;

	if (d->cue && (d->params.write_type == WRITE_SAO || cd_sao_begun(d)))
		return cd_sao_write(d, lba, blocks, iov, replay);
	if (d->params.write_type == WRITE_SAO)
		return DISC_SEQUENCE; /* no cue sheet */
	if (d->cue) {
		status = cd_drop_cue(d);
		if (status != DISC_OK)
			return status;
	}
	return seq_write(d, lba, blocks, iov, replay);
}

static co_fn enum disc_status cd_sync(struct disc *d)
{
	const struct disc_track *t = seq_open_track(d->state);

	if (d->cue && cd_sao_begun(d))
		return cd_sao_sync(d);
	if (d->real || !t)
		return seq_sync(d);
	return seq_close_track(d, t->number);
}

static co_fn enum disc_status cd_close_track(struct disc *d, unsigned number)
{
	const struct disc_track *t = seq_open_track(d->state);

	/* A session written at once ends as a whole. */
	if (!d->real && t && t->flags & TRACK_DAO &&
	    (number == TRACK_INVISIBLE || number == t->number))
		return cd_sao_sync(d);
	return seq_close_track(d, number);
}

static co_fn enum disc_status cd_close_session(struct disc *d)
{
	if (!d->real && d->cue && cd_sao_begun(d))
		return cd_sao_finish(d);
	return seq_close_session(d, d->params.multisession == MULTI_NEXT);
}

static enum disc_status cd_track_info(const struct disc *d, unsigned number,
				      struct disc_track_info *out)
{
	enum disc_status status = seq_track_info(d, number, out);
	const struct disc_session *session;

	if (status != DISC_OK)
		return status;
	session = seq_session(d->state);
	/* The invisible track of an empty session begins where its write type would begin to write.
	 */
	if (out->number <= d->state->tracks->len || session->last_track)
		return DISC_OK;
	if (d->params.write_type == WRITE_SAO) {
		/* Of a later session real drives tell the pregap's address only once they know the
		 * cue sheet: cdrskin -msinfo, which asks in this mode, prints what genisoimage
		 * takes. */
		if (d->cue || !d->state->tracks->len)
			out->start = session->start - CD_PREGAP;
		out->nwa = d->cue ? cue_next_from_host(d->cue, d->cue->begin) : out->start;
	} else if (d->params.write_type == WRITE_RAW) {
		out->start = out->nwa = session->lead_in;
	}
	return DISC_OK;
}

static uint32_t cd_block_bytes(const struct disc *d, int32_t lba, uint32_t blocks,
			       enum disc_status *status)
{
	if (d->cue && (d->params.write_type == WRITE_SAO || cd_sao_begun(d)))
		return cd_sao_block_bytes(d, lba, blocks, status);
	if (d->params.write_type == WRITE_SAO) {
		*status = DISC_SEQUENCE;
		return 0;
	}
	*status = d->params.write_type == WRITE_TAO && cd_is_data_form(d->params.block_type)
			  ? DISC_OK
			  : DISC_WRONG_MODE;
	return *status == DISC_OK ? BLOCK_LEN : 0;
}

const struct disc_rules disc_rules_cd_r = {
	.profile = PROFILE_CD_R,
	.align = 1,
	.control = 4,
	.blank_mode = 0x0f,
	.track_gap = CD_LINK_GAP,
	.min_track = CD_MIN_TRACK,
	.run_out = CD_RUN_OUT,
	.max_open = 1,
	.max_session_tracks = 99,
	.max_tracks = 99,
	.first_session_gap = 6750 + 4500 + CD_PREGAP,
	.session_gap = 2250 + 4500 + CD_PREGAP,
	.can_test = true,
	.write = cd_write,
	.sync = cd_sync,
	.close_track = cd_close_track,
	.close_session = cd_close_session,
	.send_cue_sheet = cd_send_cue_sheet,
	.check_write = check_tao,
	.begin_track = begin_tao,
	.track_info = cd_track_info,
	.block_bytes = cd_block_bytes,
};
