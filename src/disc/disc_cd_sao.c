/*
 * Session at once: see disc_cd.h. The cue sheet says what every block is; the host delivers the
 * blocks in order, and the session closes with the SYNCHRONIZE CACHE behind the last one (none of
 * the programs sends a CLOSE SESSION).
 *
 * The track being written has the one open row, marked TRACK_DAO; its next writable address is the
 * position in the session. The row of the next track comes with that track's first block. Pregaps
 * below LBA 0 have no place in the file and are not kept.
 */
#include "disc/disc_cd.h"

#include "base/err.h"
#include "disc/sector.h"

#include <string.h>

enum { CUE_HEADER = 8, H_MULTISESSION = 0, H_SESSION_FORMAT = 1 }; /* of the blob */

static struct disc_track *open_row(const struct disc_state *s)
{
	struct disc_track *t = seq_open_track(s);

	return t && t->flags & TRACK_DAO ? t : NULL;
}

bool cd_sao_begun(const struct disc *d)
{
	return open_row(d->state) != NULL;
}

static int32_t position(const struct disc *d)
{
	const struct disc_track *t = open_row(d->state);

	return cue_next_from_host(d->cue, t ? t->nwa : d->cue->begin);
}

static struct cue_limits limits_of(const struct disc_state *s)
{
	const struct disc_session *session = seq_session(s);
	unsigned first = session->first_track ? session->first_track : s->tracks->len + 1;

	return (struct cue_limits){
		.first_track = (uint8_t)MIN(first, 255u),
		.begin = session->start - CD_PREGAP,
		.last_lead_out = s->last_lead_out,
	};
}

co_fn enum disc_status cd_send_cue_sheet(struct disc *d, const uint8_t *cue, size_t len)
{
	const struct disc_session *session = seq_session(d->state);
	struct cue_limits limits = limits_of(d->state);
	struct cue_sheet *sheet;
	struct disc_state *next;
	enum disc_status status;
	uint8_t *blob;

	if (d->params.write_type != WRITE_SAO || session->last_track)
		return DISC_SEQUENCE;
	sheet = g_new(struct cue_sheet, 1);
	status = cue_parse(cue, len, &limits, sheet, &d->error.byte);
	if (status != DISC_OK) {
		g_free(sheet);
		return status;
	}
	blob = g_malloc0(CUE_HEADER + len);
	blob[H_MULTISESSION] = d->params.multisession;
	blob[H_SESSION_FORMAT] = d->params.session_format;
	memcpy(blob + CUE_HEADER, cue, len);
	next = disc_change(d);
	state_put_blob(next, BLOB_CUE, 0, blob, (uint32_t)(CUE_HEADER + len));
	g_free(blob);
	status = disc_apply(d, next, false);
	if (status != DISC_OK) {
		g_free(sheet);
		return status;
	}
	g_free(d->cue);
	d->cue = sheet;
	return DISC_OK;
}

bool cd_restore_cue(struct disc *d, GError **error)
{
	const struct disc_blob *blob = state_find_blob(d->state, BLOB_CUE, 0);
	struct cue_limits limits = limits_of(d->state);
	const struct disc_track *t = open_row(d->state);
	uint32_t bad;

	if (!blob) {
		return !t || err_set(error, EINVAL,
				     "track %u belongs to a session at once without its cue sheet",
				     t->number);
	}
	d->cue = g_new(struct cue_sheet, 1);
	if (blob->len < CUE_HEADER || d->state->status == DISC_COMPLETE ||
	    cue_parse(blob->data + CUE_HEADER, blob->len - CUE_HEADER, &limits, d->cue, &bad) !=
		    DISC_OK ||
	    (t &&
	     (t->nwa > d->cue->lead_out || t->number >= limits.first_track + d->cue->n_tracks)))
		return err_set(error, EINVAL,
			       "the cue sheet of the session being written does not fit the disc");
	return true;
}

co_fn enum disc_status cd_drop_cue(struct disc *d)
{
	struct disc_state *next = disc_change(d);
	enum disc_status status;

	state_put_blob(next, BLOB_CUE, 0, NULL, 0);
	status = disc_apply(d, next, false);
	if (status == DISC_OK)
		forget_cue(d);
	return status;
}

static void complete_row(const struct cue_sheet *c, struct disc_track *t)
{
	const struct cue_track *from = &c->tracks[t->number - c->tracks[0].number];

	t->flags &= ~(uint32_t)(TRACK_OPEN | TRACK_BLANK);
	t->size = (uint32_t)(from->end - from->index1);
	t->last_recorded = from->end - 1;
	t->nwa = 0;
}

/* Rows of the session up to track number, those before it complete. */
static struct disc_track *row_of(const struct disc *d, struct disc_state *next, unsigned number)
{
	const struct cue_sheet *c = d->cue;
	struct disc_track *t = open_row(next);

	while (!t || t->number < number) {
		const struct cue_track *from =
			&c->tracks[t ? t->number + 1u - c->tracks[0].number : 0];

		if (t)
			complete_row(c, t);
		t = seq_add_track(d, next, from->index1);
		t->control = from->control;
		t->form = 8;
		t->flags |= TRACK_DAO;
		t->pregap = (uint32_t)(from->index1 - from->index0);
		t->nwa = from->index0;
		memcpy(t->isrc, from->isrc, sizeof(t->isrc));
	}
	return t;
}

static co_fn enum disc_status advance(struct disc *d, const struct cue_region *r, int32_t nwa,
				      uint64_t bytes)
{
	unsigned number = d->cue->tracks[r->track].number;
	struct disc_track *t = open_row(d->state);
	struct disc_state *next;

	if (t && t->number == number) {
		disc_advance(d, t, nwa, bytes);
		return DISC_OK;
	}
	next = disc_change(d);
	t = row_of(d, next, number);
	t->nwa = nwa;
	disc_settle_track(t);
	return disc_apply(d, next, true);
}

struct piece {
	int32_t lba;
	uint32_t blocks;
	size_t off;     /* in the host's list */
	unsigned bytes; /* of a block */
	bool ignored;   /* the host's data does not count */
};

static co_fn enum disc_status put_piece(struct disc *d, const struct piece *p,
					const struct iovs *iov)
{
	if (p->lba < 0)
		return DISC_OK;
	if (p->ignored)
		return disc_put_zeros(d, p->lba, p->lba + (int32_t)p->blocks);
	return disc_put_blocks(d, p->lba, p->blocks, iov, p->off, p->bytes);
}

/* What of [lba, lba + blocks) lies in one region, on one side of LBA 0 and of pos. */
static struct piece cut_piece(const struct cue_region *r, int32_t lba, uint32_t blocks, size_t off,
			      int32_t pos)
{
	int32_t end = r->end;

	if (lba < 0)
		end = MIN(end, 0);
	if (lba < pos)
		end = MIN(end, pos);
	return (struct piece){
		.lba = lba,
		.blocks = MIN(blocks, (uint32_t)(end - lba)),
		.off = off,
		.bytes = (unsigned)cue_form_bytes(r->form),
		.ignored = r->form == 0x12 || r->form == 0x13,
	};
}

co_fn enum disc_status cd_sao_write(struct disc *d, int32_t lba, uint32_t blocks,
				    const struct iovs *iov, bool replay)
{
	enum disc_status status = disc_before_write(d);
	size_t off = 0;

	if (status != DISC_OK)
		return status;
	if (lba != position(d) && !(replay && lba >= d->cue->begin && lba < position(d)))
		return disc_fail_at(d, DISC_NOT_NWA, position(d));
	if ((int64_t)lba + blocks > d->cue->lead_out)
		return disc_fail_at(d, DISC_RANGE, d->cue->lead_out);
	while (blocks > 0) {
		const struct cue_region *r = cue_find_region(d->cue, lba);
		int32_t pos = position(d);
		struct piece p;

		if (!r || cue_form_bytes(r->form) == 0)
			return disc_fail_at(d, DISC_NOT_NWA, pos);
		p = cut_piece(r, lba, blocks, off, pos);
		if (lba < pos) {
			status = lba < 0 || p.ignored ? DISC_OK
						      : disc_compare_blocks(d, lba, p.blocks, iov,
									    off, p.bytes, pos);
		} else {
			status = put_piece(d, &p, iov);
		}
		if (status == DISC_OK && lba >= pos)
			status = advance(d, r, lba + (int32_t)p.blocks,
					 (uint64_t)p.blocks * p.bytes);
		if (status != DISC_OK)
			return status;
		lba += (int32_t)p.blocks;
		blocks -= p.blocks;
		off += (size_t)p.blocks * p.bytes;
	}
	return DISC_OK;
}

uint32_t cd_sao_block_bytes(const struct disc *d, int32_t lba, uint32_t blocks,
			    enum disc_status *status)
{
	int64_t end = MIN((int64_t)lba + blocks, (int64_t)d->cue->lead_out);
	const struct cue_region *r = cue_find_region(d->cue, lba);
	int bytes = r ? cue_form_bytes(r->form) : BLOCK_LEN;

	/* Where nothing may be written disc_write() says so better, with the right address. */
	*status = DISC_OK;
	for (; r && r < d->cue->regions + d->cue->n_regions && r->begin < end; r++) {
		if (cue_form_bytes(r->form) == bytes)
			continue;
		*status = DISC_WRONG_MODE;
		return 0;
	}
	return bytes ? (uint32_t)bytes : BLOCK_LEN;
}

co_fn enum disc_status cd_sao_sync(struct disc *d)
{
	if (position(d) == d->cue->lead_out)
		return cd_sao_finish(d);
	return disc_flush(d);
}

/* The session's close in next, by what page 05h said when the sheet was sent. */
static void end_session(struct disc *d, struct disc_state *next)
{
	const struct disc_blob *blob = state_find_blob(next, BLOB_CUE, 0);
	struct disc_write_params now = d->params;
	struct disc_session *session = seq_session(next);

	session->lead_out = d->cue->lead_out;
	if (d->cue->has_mcn) {
		memcpy(session->mcn, d->cue->mcn, sizeof(session->mcn));
		session->flags |= SESSION_HAS_MCN;
	}
	d->params.multisession = blob->data[H_MULTISESSION];
	d->params.session_format = blob->data[H_SESSION_FORMAT];
	seq_end_session(d, next, d->params.multisession == MULTI_NEXT);
	d->params = now;
	state_put_blob(next, BLOB_CUE, 0, NULL, 0);
}

co_fn enum disc_status cd_sao_finish(struct disc *d)
{
	const struct cue_sheet *c = d->cue;
	struct disc_state *next;
	enum disc_status status;

	if (d->real) {
		disc_end_test(d);
		return DISC_OK;
	}
	status = disc_put_zeros(d, MAX(position(d), 0), c->lead_out);
	if (status != DISC_OK)
		return status;
	next = disc_change(d);
	complete_row(c, row_of(d, next, c->tracks[c->n_tracks - 1].number));
	end_session(d, next);
	status = disc_apply(d, next, true);
	if (status != DISC_OK)
		return status;
	forget_cue(d);
	disc_add_history(d,
			 d->state->status == DISC_COMPLETE ? EVENT_FINALISED : EVENT_SESSION_CLOSED,
			 0, disc_last_lba(d) + 1);
	return DISC_OK;
}
