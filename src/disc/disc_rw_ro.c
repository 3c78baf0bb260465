/*
 * DVD-RW in restricted overwrite (reference/mmc.md 5.6): one track from 0; what is below its end
 * can be overwritten at will, and while the session is intermediate (track 1 open) writing goes on
 * at its end, up to the grow limit.
 *
 * capacity is how far addresses may reach: the grow limit while intermediate, else the end of the
 * track. A full format makes all of it readable zeros at once: it is the hole that the wiped plane
 * is.
 */
#include "disc/rules.h"

enum {
	ECC = 16,
	OVERHEAD = 608, /* 2298496 - 2297888 */
	TYPE_FULL = 0x00,
	TYPE_PACKETS = 0x10,
	TYPE_QUICK_GROW = 0x13,
	TYPE_QUICK = 0x15,
	BYTE_BLOCKS = 4,
	BYTE_TYPE = 8, /* in the format list */
	PARAMETER = ECC,
};

uint32_t rw_ro_full_blocks(const struct disc_state *s)
{
	return s->max_blocks - OVERHEAD;
}

static uint32_t recorded(const struct disc_state *s)
{
	const struct disc_track *t = state_track(s, 1);

	return t->flags & TRACK_OPEN ? (uint32_t)t->nwa : t->size;
}

static co_fn enum disc_status ro_write(struct disc *d, int32_t lba, uint32_t blocks,
				       const struct iovs *iov, bool replay)
{
	struct disc_track *t = state_track(d->state, 1);
	int64_t end = (int64_t)lba + blocks;
	enum disc_status status;

	(void)replay; /* overwriting with the same data changes nothing */
	if (lba < 0 || end > d->state->capacity)
		return disc_fail_at(d, DISC_RANGE, (int32_t)d->state->capacity);
	if (t->flags & TRACK_OPEN && lba > t->nwa)
		return disc_fail_at(d, DISC_NOT_NWA, t->nwa);
	status = disc_before_write(d);
	if (status == DISC_OK)
		status = disc_put_blocks(d, lba, blocks, iov, 0, BLOCK_LEN);
	if (status != DISC_OK)
		return status;
	t = state_track(d->state, 1);
	if (t->flags & TRACK_OPEN && end > t->nwa)
		disc_advance(d, t, (int32_t)end, (uint64_t)blocks * BLOCK_LEN);
	else
		d->uncommitted += (uint64_t)blocks * BLOCK_LEN;
	return DISC_OK;
}

static co_fn enum disc_status ro_close(struct disc *d)
{
	struct disc_track *t = state_track(d->state, 1);
	struct disc_state *next;
	enum disc_status status;
	int32_t end;

	if (!(t->flags & TRACK_OPEN) || t->nwa == 0)
		return DISC_OK;
	end = align_up(t->nwa, ECC);
	status = disc_put_zeros(d, t->nwa, end);
	if (status != DISC_OK)
		return status;
	next = disc_change(d);
	t = state_track(next, 1);
	t->flags &= ~(uint32_t)(TRACK_OPEN | TRACK_BLANK);
	t->nwa = 0;
	t->size = (uint32_t)end;
	t->last_recorded = end - 1;
	next->capacity = (uint32_t)end;
	next->intermediate = 0;
	next->grow_limit = 0;
	next->status = DISC_COMPLETE;
	seq_session(next)->state = SESSION_COMPLETE;
	seq_session(next)->lead_out = end;
	status = disc_apply(d, next, true);
	if (status == DISC_OK)
		disc_add_history(d, EVENT_SESSION_CLOSED, 0, (uint64_t)end);
	return status;
}

static co_fn enum disc_status ro_close_track(struct disc *d, unsigned number)
{
	return number > 1 && number != TRACK_INVISIBLE ? DISC_RANGE : disc_flush(d);
}

/* Accepted and without effect: programs reserve on every dash medium. */
static co_fn enum disc_status ro_reserve(struct disc *d, uint32_t blocks)
{
	(void)d;
	(void)blocks;
	return DISC_OK;
}

/* The one session and track of a formatted disc, size blocks of it usable; open when limit is
 * beyond that. */
static void set_layout(struct disc_state *next, uint32_t size, uint32_t limit)
{
	bool open = limit > size;
	struct disc_session session = {
		.number = 1,
		.state = open ? SESSION_INCOMPLETE : SESSION_COMPLETE,
		.first_track = 1,
		.last_track = 1,
		.lead_out = open ? 0 : (int32_t)size,
	};
	struct disc_track t = {
		.number = 1,
		.session = 1,
		.control = 4,
		.data_mode = 1,
		.form = 8,
		.packet_size = ECC,
		.flags = TRACK_PACKET | TRACK_FIXED | (open ? TRACK_OPEN : 0u),
		.size = size,
		.nwa = open ? (int32_t)size : 0,
		.last_recorded = (int32_t)size - 1,
	};

	g_array_set_size(next->sessions, 0);
	g_array_set_size(next->tracks, 0);
	g_array_append_val(next->sessions, session);
	g_array_append_val(next->tracks, t);
	next->profile = PROFILE_DVD_RW_RO;
	next->status = open ? DISC_APPENDABLE : DISC_COMPLETE;
	next->intermediate = open;
	next->grow_limit = open ? limit : 0;
	next->capacity = limit;
	next->disc_type = 0;
}

static uint32_t can_grow_by(const struct disc_state *s)
{
	return s->profile == PROFILE_DVD_RW_RO && !s->intermediate
		       ? rw_ro_full_blocks(s) - recorded(s)
		       : 0;
}

static co_fn enum disc_status quick_grow(struct disc *d, uint32_t blocks)
{
	const struct disc_state *s = d->state;
	uint32_t room = can_grow_by(s), size;
	struct disc_state *next;

	if (s->profile != PROFILE_DVD_RW_RO)
		return disc_bad_byte(d, BYTE_TYPE);
	if (blocks > room || blocks % ECC || (!room && !s->intermediate))
		return disc_bad_byte(d, BYTE_BLOCKS);
	if (s->intermediate)
		return DISC_OK;
	size = recorded(s);
	next = disc_change(d);
	set_layout(next, size, blocks ? size + blocks : rw_ro_full_blocks(s));
	return disc_apply(d, next, true);
}

co_fn enum disc_status rw_ro_format(struct disc *d, const struct disc_format *f)
{
	uint32_t full = rw_ro_full_blocks(d->state);
	struct disc_state *next;
	enum disc_status status;

	disc_end_test(d);
	if (f->type == TYPE_QUICK_GROW)
		return quick_grow(d, f->blocks);
	if (f->type != TYPE_FULL && f->type != TYPE_PACKETS && f->type != TYPE_QUICK)
		return disc_bad_byte(d, BYTE_TYPE);
	if (f->blocks != full && f->blocks != 0xffffffff &&
	    !(f->type == TYPE_QUICK && f->blocks == 0))
		return disc_bad_byte(d, BYTE_BLOCKS);
	next = disc_change(d);
	set_layout(next, f->type == TYPE_QUICK ? 0 : full, full);
	next->format_count++;
	status = disc_apply_wiped(d, next);
	if (status == DISC_OK)
		disc_add_history(d, EVENT_FORMATTED, 0, full);
	return status;
}

static uint32_t ro_last_lba(const struct disc *d)
{
	uint32_t blocks = recorded(d->state);

	return blocks ? blocks - 1 : 0;
}

static enum disc_status ro_track_info(const struct disc *d, unsigned number,
				      struct disc_track_info *out)
{
	const struct disc_track *t = state_track(d->state, 1);
	uint32_t blocks = recorded(d->state);
	bool open = t->flags & TRACK_OPEN;

	if (number != 1 && !(number == TRACK_INVISIBLE && open))
		return DISC_RANGE;
	*out = (struct disc_track_info){
		.number = 1,
		.session = 1,
		.control = t->control,
		.data_mode = 1,
		.packet = true,
		.fixed = true,
		.nwa_valid = open,
		.nwa = open ? t->nwa : 0,
		.lra_valid = blocks > 0,
		.last_recorded = blocks ? (int32_t)blocks - 1 : 0,
		.size = blocks,
		.packet_size = ECC,
	};
	return DISC_OK;
}

unsigned rw_ro_formats(const struct disc *d, struct disc_capacity *out, unsigned n, unsigned max)
{
	uint32_t full = rw_ro_full_blocks(d->state), room = can_grow_by(d->state);
	const struct disc_capacity list[] = {
		{.blocks = full, .type = TYPE_FULL, .parameter = PARAMETER},
		{.blocks = full, .type = TYPE_PACKETS, .parameter = PARAMETER},
		{.blocks = full, .type = TYPE_QUICK, .parameter = PARAMETER},
		{.blocks = room, .type = TYPE_QUICK_GROW, .parameter = PARAMETER},
	};
	/* An intermediate session is known by type 3 and by there being nothing to grow
	 * (mmc.md 5.6). */
	bool grows = d->state->profile == PROFILE_DVD_RW_RO && !d->state->intermediate;

	for (unsigned i = 0; i < G_N_ELEMENTS(list) && n < max; i++)
		if (list[i].type != TYPE_QUICK_GROW || grows)
			out[n++] = list[i];
	return n;
}

static unsigned ro_capacities(const struct disc *d, struct disc_capacity *out, unsigned max)
{
	out[0] = (struct disc_capacity){
		.blocks = recorded(d->state),
		.type = d->state->intermediate ? 3 : 2,
		.current = true,
	};
	return rw_ro_formats(d, out, 1, max);
}

const struct disc_rules disc_rules_dvd_rw_ro = {
	.profile = PROFILE_DVD_RW_RO,
	.align = ECC,
	.control = 4,
	.blank_mode = 1,
	.packet_size = ECC,
	.max_open = 1,
	.max_session_tracks = 1,
	.max_tracks = 1,
	.write = ro_write,
	.sync = disc_flush,
	.reserve_track = ro_reserve,
	.close_track = ro_close_track,
	.close_session = ro_close,
	.finalise = ro_close,
	.blank = dvd_rw_blank,
	.format = rw_ro_format,
	.last_lba = ro_last_lba,
	.track_info = ro_track_info,
	.capacities = ro_capacities,
};
