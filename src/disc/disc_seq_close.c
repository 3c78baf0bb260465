/*
 * Sequential recording: the ends of tracks, sessions and discs
 * (reference/mmc.md 2.26, 5.3, 5.5, 5.9, 5.11). Padding is put into the file before the commit that
 * makes it part of a track; a power cut between leaves zeros behind the next writable address,
 * which nobody sees.
 */
#include "disc/rules.h"

enum { CD_LEAD_OUT_FIRST = 6750, CD_LEAD_OUT_LATER = 2250 };

co_fn enum disc_status seq_end_track(struct disc *d, struct disc_state *next, unsigned number)
{
	const struct disc_rules *r = d->rules;
	struct disc_track *t = state_track(next, number);
	int32_t host_end = t->nwa, end;
	enum disc_status status;

	if (t->flags & TRACK_RESERVED && !(t->flags & TRACK_DAO))
		end = t->start + (int32_t)t->size;
	else
		end = align_up(MAX(host_end, t->start + r->min_track), r->align) + r->run_out;
	status = disc_put_zeros(d, host_end, MIN(end, (int32_t)next->max_blocks));
	if (status != DISC_OK)
		return status;
	t->flags &= ~(uint32_t)(TRACK_OPEN | TRACK_BLANK | TRACK_RESERVED);
	t->size = (uint32_t)(end - t->start);
	t->run_out = (uint32_t)(end - host_end);
	t->last_recorded = end - 1;
	t->nwa = 0;
	if (r->closed_control)
		t->control = r->closed_control;
	return DISC_OK;
}

co_fn enum disc_status seq_close_track(struct disc *d, unsigned number)
{
	const struct disc_track *t;
	struct disc_state *next;
	enum disc_status status;

	if (d->real) {
		disc_end_test(d);
		return DISC_OK;
	}
	if (number == TRACK_INVISIBLE)
		number = seq_invisible_number(d);
	else if (number == 0 || number > disc_last_track(d))
		return DISC_RANGE;
	t = state_track(d->state, number);
	if (!t || !(t->flags & TRACK_OPEN) || t->nwa <= t->start)
		return DISC_OK; /* nothing in it, or closed before */
	next = disc_change(d);
	status = seq_end_track(d, next, number);
	if (status != DISC_OK) {
		disc_state_free(next);
		return status;
	}
	status = disc_apply(d, next, true);
	if (status == DISC_OK)
		disc_add_history(d, EVENT_TRACK_CLOSED, state_track(d->state, number)->start,
				 state_track(d->state, number)->size);
	return status;
}

void seq_end_session(const struct disc *d, struct disc_state *next, bool next_allowed)
{
	const struct disc_rules *r = d->rules;
	struct disc_session *session = seq_session(next);
	const struct disc_track *last = state_track(next, session->last_track);
	bool first = session->number == 1, cd = d->profile->family == DISC_CD;
	int64_t start;

	if (session->lead_out <= last->start)
		session->lead_out = last->start + (int32_t)last->size;
	session->state = SESSION_COMPLETE;
	session->toc_type = d->params.session_format;
	if (first)
		next->disc_type = session->toc_type;
	start = align_up(session->lead_out, r->align) +
		(int64_t)(first ? r->first_session_gap : r->session_gap);
	if (next_allowed && start + r->min_track < seq_limit(d) &&
	    next->tracks->len < r->max_tracks) {
		struct disc_session following = {
			.number = (uint16_t)(session->number + 1),
			.state = SESSION_EMPTY,
			.start = (int32_t)start,
			.lead_in = cd ? session->lead_out +
						   (first ? CD_LEAD_OUT_FIRST : CD_LEAD_OUT_LATER)
				      : 0,
		};

		session->next_area = (int32_t)start - (cd ? CD_LINK_GAP : 0);
		next->status = DISC_APPENDABLE;
		g_array_append_val(next->sessions, following);
	} else {
		session->next_area = 0;
		session->flags |= cd && d->params.multisession == MULTI_LAST_POINTER
					  ? SESSION_LAST_POINTER
					  : 0;
		next->status = DISC_COMPLETE;
	}
}

static co_fn enum disc_status end_open_tracks(struct disc *d, struct disc_state *next)
{
	const struct disc_session *session = seq_session(next);

	for (unsigned i = session->first_track; i <= session->last_track; i++) {
		const struct disc_track *t = state_track(next, i);
		enum disc_status status;

		if (!(t->flags & TRACK_OPEN))
			continue;
		if (t->flags & TRACK_RESERVED &&
		    (t->flags & TRACK_DAO
			     ? t->nwa <= t->start
			     : align_up(t->nwa, d->rules->align) < t->start + (int32_t)t->size))
			return DISC_RESERVED_EMPTY;
		status = seq_end_track(d, next, i);
		if (status != DISC_OK)
			return status;
	}
	return DISC_OK;
}

co_fn enum disc_status seq_close_session(struct disc *d, bool next_allowed)
{
	const struct disc_session *session = seq_session(d->state);
	struct disc_state *next;
	enum disc_status status;
	unsigned number = session->number;

	if (d->real) {
		disc_end_test(d);
		return DISC_OK;
	}
	if (d->state->status == DISC_COMPLETE || !session->last_track)
		return DISC_OK;
	next = disc_change(d);
	status = end_open_tracks(d, next);
	if (status != DISC_OK) {
		disc_state_free(next);
		return status;
	}
	seq_end_session(d, next, next_allowed);
	status = disc_apply(d, next, true);
	if (status != DISC_OK)
		return status;
	session = state_session(d->state, number);
	disc_add_history(d,
			 d->state->status == DISC_COMPLETE ? EVENT_FINALISED : EVENT_SESSION_CLOSED,
			 session->start, (uint64_t)(session->lead_out - session->start));
	return DISC_OK;
}

co_fn enum disc_status seq_close_appendable(struct disc *d)
{
	return seq_close_session(d, true);
}

co_fn enum disc_status seq_finalise(struct disc *d)
{
	unsigned sessions = d->state->sessions->len;
	struct disc_state *next;
	enum disc_status status;

	if (d->real || d->state->status == DISC_COMPLETE || seq_session(d->state)->last_track)
		return seq_close_session(d, false);
	if (sessions == 1)
		return DISC_OK; /* nothing on it to be completed */
	next = disc_change(d);
	g_array_set_size(next->sessions, sessions - 1);
	seq_session(next)->next_area = 0;
	next->status = DISC_COMPLETE;
	status = disc_apply(d, next, true);
	if (status == DISC_OK)
		disc_add_history(d, EVENT_FINALISED, 0, (uint64_t)seq_session(d->state)->lead_out);
	return status;
}

void seq_blank_state(const struct disc *d, struct disc_state *next)
{
	struct disc_session first = {
		.number = 1,
		.state = SESSION_EMPTY,
		.lead_in = d->profile->family == DISC_CD ? next->lead_in_start : 0,
	};

	g_array_set_size(next->tracks, 0);
	g_array_set_size(next->sessions, 0);
	g_array_append_val(next->sessions, first);
	next->status = DISC_BLANK;
	next->format_state = FORMAT_NONE;
	next->intermediate = 0;
	next->grow_limit = 0;
	next->capacity = next->max_blocks;
	next->disc_type = d->profile->family == DISC_CD ? 0xff : 0;
}
