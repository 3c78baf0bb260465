/*
 * Sequential recording, as CD-R (track at once), DVD-R, DVD+R and BD-R have it: a session collects
 * tracks; a track is open (has a next writable address) until it is closed; the last open one takes
 * all the space there is, reserved ones their own. What differs between the families stands in
 * their struct disc_rules.
 *
 * A track gets its row with its first write, data first: so a row never names a track without data,
 * and from then on the progress line can. Sizes of open tracks follow from their next writable
 * address.
 */
#include "disc/rules.h"

struct disc_session *seq_session(const struct disc_state *s)
{
	return state_session(s, s->sessions->len);
}

struct disc_track *seq_open_track(const struct disc_state *s)
{
	struct disc_track *t = state_track(s, seq_session(s)->last_track);

	if (!t || !(t->flags & TRACK_OPEN))
		return NULL;
	return !(t->flags & TRACK_RESERVED) || t->flags & TRACK_DAO ? t : NULL;
}

int32_t seq_limit(const struct disc *d)
{
	return d->profile->family == DISC_CD ? d->state->last_lead_out
					     : (int32_t)d->state->capacity;
}

int32_t seq_next_start(const struct disc *d)
{
	const struct disc_session *session = seq_session(d->state);
	const struct disc_track *t = state_track(d->state, session->last_track);

	if (!t)
		return session->start;
	return align_up(t->start + (int32_t)t->size, d->rules->align) + d->rules->track_gap;
}

static unsigned count_open(const struct disc_state *s)
{
	unsigned n = 0;

	for (unsigned i = 1; i <= s->tracks->len; i++)
		n += (state_track(s, i)->flags & TRACK_OPEN) != 0;
	return n;
}

/* Whether the medium's tables have room for another track. */
static bool has_row(const struct disc *d)
{
	const struct disc_session *session = seq_session(d->state);
	unsigned in_session =
		session->last_track ? session->last_track - session->first_track + 1u : 0;

	return d->state->tracks->len < d->rules->max_tracks &&
	       in_session < d->rules->max_session_tracks;
}

bool seq_has_invisible(const struct disc *d)
{
	return seq_invisible_number(d) != 0;
}

unsigned seq_invisible_number(const struct disc *d)
{
	const struct disc_track *open;

	if (d->state->status == DISC_COMPLETE)
		return 0;
	open = seq_open_track(d->state);
	if (open)
		return open->number;
	return has_row(d) && seq_next_start(d) < seq_limit(d) ? d->state->tracks->len + 1 : 0;
}

struct disc_track *seq_add_track(const struct disc *d, struct disc_state *next, int32_t start)
{
	struct disc_session *session = seq_session(next);
	struct disc_track t = {
		.number = (uint16_t)(next->tracks->len + 1),
		.session = session->number,
		.control = d->rules->control,
		.data_mode = 1,
		.form = 8,
		.flags = TRACK_OPEN | TRACK_BLANK,
		.start = start,
		.nwa = start,
		.last_recorded = start - 1,
	};

	if (d->rules->begin_track)
		d->rules->begin_track(d, &t);
	g_array_append_val(next->tracks, t);
	if (!session->first_track)
		session->first_track = t.number;
	session->last_track = t.number;
	session->state = SESSION_INCOMPLETE;
	next->status = DISC_APPENDABLE;
	return state_track(next, t.number);
}

/* Where a write at an address goes. */
struct spot {
	unsigned number; /* an open track; 0: one that begins here */
	uint32_t done;   /* replay: so many blocks are recorded already */
	int32_t end;     /* of the space it has */
	bool reserved;
};

static bool spot_in_track(const struct disc_track *t, int32_t lba, bool replay, int32_t limit,
			  struct spot *spot)
{
	bool reserved = t->flags & TRACK_RESERVED;
	int32_t end = reserved ? t->start + (int32_t)t->size : limit;

	if (!(t->flags & TRACK_OPEN))
		return false;
	if (!(lba == t->nwa && t->nwa < end) && !(replay && lba >= t->start && lba < t->nwa))
		return false;
	*spot = (struct spot){t->number, (uint32_t)(t->nwa - lba), end, reserved};
	return true;
}

/* The address that a write which went astray should have had: of the reserved track it hit, or of
 * the invisible one. */
static enum disc_status refuse(struct disc *d, int32_t lba)
{
	const struct disc_state *s = d->state;
	const struct disc_track *open = seq_open_track(s);
	int32_t nwa = open ? open->nwa : seq_next_start(d);

	for (unsigned i = 1; i <= s->tracks->len; i++) {
		const struct disc_track *t = state_track(s, i);

		if (t->flags & TRACK_OPEN && t->flags & TRACK_RESERVED && lba >= t->start &&
		    lba < t->start + (int32_t)t->size && t->nwa < t->start + (int32_t)t->size)
			nwa = t->nwa;
	}
	return lba >= seq_limit(d) ? disc_fail_at(d, DISC_RANGE, lba)
				   : disc_fail_at(d, DISC_NOT_NWA, nwa);
}

static enum disc_status find_spot(struct disc *d, int32_t lba, uint32_t blocks, bool replay,
				  struct spot *spot)
{
	const struct disc_session *session = seq_session(d->state);
	int32_t limit = seq_limit(d);
	bool found = false;

	for (unsigned i = session->last_track; !found && i && i >= session->first_track; i--)
		found = spot_in_track(state_track(d->state, i), lba, replay, limit, spot);
	if (!found) {
		if (seq_open_track(d->state) || !seq_has_invisible(d) || lba != seq_next_start(d))
			return refuse(d, lba);
		*spot = (struct spot){.end = limit};
	}
	if ((int64_t)lba + blocks > spot->end)
		return disc_fail_at(d, spot->reserved ? DISC_END_OF_TRACK : DISC_RANGE, spot->end);
	return DISC_OK;
}

co_fn enum disc_status seq_write(struct disc *d, int32_t lba, uint32_t blocks,
				 const struct iovs *iov, bool replay)
{
	enum disc_status status = d->rules->check_write ? d->rules->check_write(d) : DISC_OK;
	struct disc_state *next;
	struct disc_track *t;
	struct spot spot = {0};
	uint64_t bytes;

	if (status == DISC_OK)
		status = find_spot(d, lba, blocks, replay, &spot);
	if (status != DISC_OK)
		return status;
	if (spot.done) {
		status = disc_compare_blocks(d, lba, MIN(spot.done, blocks), iov, 0, BLOCK_LEN,
					     lba + (int32_t)spot.done);
		if (status != DISC_OK || spot.done >= blocks)
			return status;
	}
	status = disc_before_write(d);
	if (status == DISC_OK)
		status = disc_put_blocks(d, lba + (int32_t)spot.done, blocks - spot.done, iov,
					 (size_t)spot.done * BLOCK_LEN, BLOCK_LEN);
	if (status != DISC_OK)
		return status;
	bytes = (uint64_t)(blocks - spot.done) * BLOCK_LEN;
	if (spot.number) {
		disc_advance(d, state_track(d->state, spot.number), lba + (int32_t)blocks, bytes);
		return DISC_OK;
	}
	next = disc_change(d);
	t = seq_add_track(d, next, lba);
	t->nwa = lba + (int32_t)blocks;
	disc_settle_track(t);
	return disc_apply(d, next, true);
}

co_fn enum disc_status seq_sync(struct disc *d)
{
	const struct disc_session *session = seq_session(d->state);
	struct disc_state *next = NULL;
	enum disc_status status = DISC_OK;

	if (d->real) {
		disc_end_test(d);
		return DISC_OK;
	}
	for (unsigned i = session->first_track; i && i <= session->last_track; i++) {
		const struct disc_track *t = state_track(d->state, i);
		int32_t padded = align_up(t->nwa, d->rules->align);

		if (!(t->flags & TRACK_OPEN) || padded == t->nwa)
			continue;
		if (!next)
			next = disc_change(d);
		status = disc_put_zeros(d, t->nwa, padded);
		if (status != DISC_OK)
			break;
		state_track(next, i)->nwa = padded;
		disc_settle_track(state_track(next, i));
	}
	if (!next)
		return disc_flush(d);
	if (status == DISC_OK)
		return disc_apply(d, next, true);
	disc_state_free(next);
	return status;
}

co_fn enum disc_status seq_reserve(struct disc *d, uint32_t blocks)
{
	int64_t size = ((int64_t)blocks + d->rules->align - 1) / d->rules->align * d->rules->align;
	int32_t start = seq_next_start(d);
	struct disc_state *next;
	struct disc_track *t;
	enum disc_status status;

	if (blocks == 0)
		return DISC_BAD_PARAMETER;
	if (seq_open_track(d->state))
		return DISC_SEQUENCE;
	if (start + size > seq_limit(d))
		return disc_fail_at(d, DISC_RANGE, start);
	/* One place stays free for the invisible track. */
	if (!has_row(d) || count_open(d->state) + 1 >= d->rules->max_open)
		return DISC_NO_MORE_TRACKS;
	next = disc_change(d);
	t = seq_add_track(d, next, start);
	t->flags |= TRACK_RESERVED;
	t->size = (uint32_t)size;
	status = disc_apply(d, next, false);
	if (status == DISC_OK)
		disc_add_history(d, EVENT_RESERVED, start, (uint64_t)size);
	return status;
}
