/*
 * Questions about a disc that need no I/O: counts as READ DISC INFORMATION has them, tracks as READ
 * TRACK INFORMATION has them, capacities. The answers for sequential media stand here; overwritable
 * and ROM media have their own.
 */
#include "disc/rules.h"

enum { PLUS_R_READ_COMPAT = 0x040d0e }; /* of a DVD+R fragment not closed yet (mmc.md 5.9) */

uint32_t disc_last_lba(const struct disc *d)
{
	return d->rules->last_lba ? d->rules->last_lba(d) : seq_last_lba(d);
}

enum disc_status disc_get_track_info(const struct disc *d, unsigned number,
				     struct disc_track_info *out)
{
	return d->rules->track_info ? d->rules->track_info(d, number, out)
				    : seq_track_info(d, number, out);
}

unsigned disc_list_capacities(const struct disc *d, struct disc_capacity *out, unsigned max)
{
	if (max == 0)
		return 0;
	return d->rules->capacities ? d->rules->capacities(d, out, max)
				    : seq_capacities(d, out, max);
}

unsigned disc_sessions(const struct disc *d)
{
	return d->state->sessions->len;
}

enum disc_session_state disc_last_session_state(const struct disc *d)
{
	return (enum disc_session_state)seq_session(d->state)->state;
}

unsigned disc_first_track_of_last_session(const struct disc *d)
{
	unsigned first = seq_session(d->state)->first_track;

	return first ? first : d->state->tracks->len + 1;
}

unsigned disc_last_track(const struct disc *d)
{
	unsigned invisible = seq_invisible_number(d);

	return invisible ? invisible : d->state->tracks->len;
}

unsigned disc_track_at(const struct disc *d, int32_t lba)
{
	const struct disc_state *s = d->state;
	int32_t pregap = d->profile->family == DISC_CD ? CD_LINK_GAP : 0;
	unsigned last = disc_last_track(d);

	for (unsigned i = 1; i <= s->tracks->len; i++) {
		const struct disc_track *t = state_track(s, i);
		bool rest = t->flags & TRACK_OPEN && !(t->flags & TRACK_RESERVED);
		int32_t end = rest ? seq_limit(d) : t->start + (int32_t)t->size;

		if (lba >= t->start - (int32_t)t->pregap && lba < end)
			return i;
	}
	return last > s->tracks->len && lba >= seq_next_start(d) - pregap && lba < seq_limit(d)
		       ? last
		       : 0;
}

uint32_t seq_last_lba(const struct disc *d)
{
	for (unsigned i = d->state->sessions->len; i > 0; i--) {
		const struct disc_session *n = state_session(d->state, i);

		if (n->state == SESSION_COMPLETE)
			return (uint32_t)(n->lead_out - 1);
	}
	return 0;
}

static void invisible_info(const struct disc *d, unsigned number, struct disc_track_info *out)
{
	struct disc_track fresh = {.control = d->rules->control};
	int32_t start = seq_next_start(d);
	uint32_t room = (uint32_t)(seq_limit(d) - start);

	if (d->rules->begin_track)
		d->rules->begin_track(d, &fresh);
	*out = (struct disc_track_info){
		.number = (uint16_t)number,
		.session = seq_session(d->state)->number,
		.control = d->rules->control,
		.data_mode = d->rules->blank_mode,
		.blank = true,
		.packet = fresh.flags & TRACK_PACKET,
		.nwa_valid = true,
		.start = start,
		.nwa = start,
		.free_blocks = room,
		.size = room,
		.packet_size = d->rules->packet_size,
		.read_compat = d->profile->family == DISC_DVD_PLUS ? PLUS_R_READ_COMPAT : 0,
	};
}

enum disc_status seq_track_info(const struct disc *d, unsigned number, struct disc_track_info *out)
{
	const struct disc_track *t;
	bool open, reserved;
	int32_t end;

	if (number == TRACK_INVISIBLE)
		number = seq_invisible_number(d);
	if (number == 0 || number > disc_last_track(d))
		return DISC_RANGE;
	t = state_track(d->state, number);
	if (!t) {
		invisible_info(d, number, out);
		return DISC_OK;
	}
	open = t->flags & TRACK_OPEN;
	reserved = open && t->flags & TRACK_RESERVED;
	end = reserved || !open ? t->start + (int32_t)t->size : seq_limit(d);
	*out = (struct disc_track_info){
		.number = t->number,
		.session = t->session,
		.control = t->control,
		.data_mode = t->data_mode,
		.reserved = reserved,
		.blank = t->flags & TRACK_BLANK,
		.packet = t->flags & TRACK_PACKET,
		.fixed = t->flags & TRACK_FIXED,
		.damaged = t->flags & TRACK_DAMAGED,
		.copy = t->flags & TRACK_COPY,
		.nwa_valid = open && t->nwa < end,
		.start = t->start,
		.packet_size = d->rules->packet_size,
		.size = (uint32_t)(end - t->start),
		.read_compat = open && d->profile->family == DISC_DVD_PLUS ? PLUS_R_READ_COMPAT : 0,
	};
	if (out->nwa_valid) {
		out->nwa = t->nwa;
		out->free_blocks = (uint32_t)(end - MAX(t->nwa, t->start));
	}
	if (out->blank)
		out->data_mode = d->rules->blank_mode;
	out->lra_valid = d->profile->family != DISC_CD && t->last_recorded >= t->start;
	if (out->lra_valid)
		out->last_recorded = t->last_recorded;
	return DISC_OK;
}

unsigned seq_capacities(const struct disc *d, struct disc_capacity *out, unsigned max)
{
	bool blank = d->state->status == DISC_BLANK;
	uint32_t last = disc_last_lba(d);

	(void)max;
	out[0] = (struct disc_capacity){
		.blocks = blank || !last ? (uint32_t)seq_limit(d) : last + 1,
		.type = blank ? 1 : 2,
		.current = true,
	};
	return 1;
}
