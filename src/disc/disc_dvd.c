/*
 * DVD-R and sequential DVD-RW (reference/mmc.md 5.5): incremental recording of RZones, or the whole
 * disc at once.
 *
 * Disc at once is one track marked TRACK_DAO. RESERVE TRACK in that mode only says how much will
 * come; the disc counts as blank until the first write, and an incremental write drops the
 * reservation. SYNCHRONIZE CACHE after data ends the disc: no program sends a CLOSE.
 */
#include "disc/rules.h"

enum {
	FIRST_BORDER = 2048,
	LATER_BORDER = 1024, /* border zones: any multiple of 16 serves, real ones are larger */
};

static bool is_dao(const struct disc_track *t)
{
	return t && t->flags & TRACK_DAO;
}

/* A disc at once that was announced but not begun. */
static bool dao_announced(const struct disc *d)
{
	const struct disc_track *t = seq_open_track(d->state);

	return is_dao(t) && t->flags & TRACK_BLANK;
}

static enum disc_status check_write(const struct disc *d)
{
	const struct disc_track *t = seq_open_track(d->state);

	if (d->params.write_type != WRITE_INCREMENTAL && d->params.write_type != WRITE_SAO)
		return DISC_WRONG_MODE;
	if (d->params.write_type == WRITE_SAO && d->state->status != DISC_BLANK && !is_dao(t))
		return DISC_SEQUENCE; /* disc at once begins with a blank disc */
	return DISC_OK;
}

static void begin_track(const struct disc *d, struct disc_track *t)
{
	t->flags |= d->params.write_type == WRITE_SAO ? TRACK_DAO : TRACK_PACKET;
	t->packet_size = d->rules->packet_size;
}

/* Takes back the announcement of a disc at once. */
static co_fn enum disc_status forget_dao(struct disc *d)
{
	struct disc_state *next = disc_change(d);

	seq_blank_state(d, next);
	return disc_apply(d, next, false);
}

static co_fn enum disc_status dvd_write(struct disc *d, int32_t lba, uint32_t blocks,
					const struct iovs *iov, bool replay)
{
	enum disc_status status;

	if (dao_announced(d) && d->params.write_type == WRITE_INCREMENTAL) {
		status = forget_dao(d);
		if (status != DISC_OK)
			return status;
	}
	status = seq_write(d, lba, blocks, iov, replay);
	/* The first write under a reservation is when the disc stops being blank. */
	if (status == DISC_OK && d->state->status == DISC_BLANK) {
		struct disc_state *next = disc_change(d);

		next->status = DISC_APPENDABLE;
		seq_session(next)->state = SESSION_INCOMPLETE;
		status = disc_apply(d, next, true);
	}
	return status;
}

static co_fn enum disc_status dvd_reserve(struct disc *d, uint32_t blocks)
{
	bool dao = d->params.write_type == WRITE_SAO;
	enum disc_status status = check_write(d);
	struct disc_state *next;
	struct disc_track *t;
	int64_t size = ((int64_t)blocks + d->rules->align - 1) / d->rules->align * d->rules->align;

	if (status == DISC_OK && dao_announced(d))
		status = forget_dao(d);
	if (status != DISC_OK)
		return status;
	if (!dao)
		return seq_reserve(d, blocks);
	if (d->state->tracks->len)
		return DISC_SEQUENCE;
	if (blocks == 0)
		return DISC_BAD_PARAMETER;
	if (size > seq_limit(d))
		return disc_fail_at(d, DISC_RANGE, 0);
	next = disc_change(d);
	t = seq_add_track(d, next, 0);
	t->flags |= TRACK_RESERVED;
	t->size = (uint32_t)size;
	next->status = DISC_BLANK;
	seq_session(next)->state = SESSION_EMPTY;
	return disc_apply(d, next, false);
}

static co_fn enum disc_status dvd_sync(struct disc *d)
{
	const struct disc_track *t = seq_open_track(d->state);

	if (!d->real && is_dao(t) && t->nwa > t->start)
		return seq_close_session(d, false);
	return seq_sync(d);
}

static co_fn enum disc_status dvd_close_track(struct disc *d, unsigned number)
{
	const struct disc_track *t = seq_open_track(d->state);

	if (!d->real && is_dao(t) && (number == TRACK_INVISIBLE || number == t->number))
		return dvd_sync(d);
	return seq_close_track(d, number);
}

static co_fn enum disc_status dvd_close_session(struct disc *d)
{
	const struct disc_track *t = seq_open_track(d->state);

	return seq_close_session(d, d->params.multisession == MULTI_NEXT && !is_dao(t));
}

co_fn enum disc_status dvd_rw_blank(struct disc *d, unsigned type)
{
	struct disc_state *next;
	enum disc_status status;

	if (type > 1)
		return DISC_BAD_PARAMETER;
	disc_end_test(d);
	next = disc_change(d);
	next->profile = PROFILE_DVD_RW_SEQ;
	next->erase_count++;
	seq_blank_state(d, next);
	status = disc_apply_wiped(d, next);
	if (status == DISC_OK)
		disc_add_history(d, EVENT_BLANKED, 0, d->state->max_blocks);
	return status;
}

/* An announced disc at once is still the blank disc that it was. */
static enum disc_status dvd_track_info(const struct disc *d, unsigned number,
				       struct disc_track_info *out)
{
	enum disc_status status = seq_track_info(d, number, out);

	if (status == DISC_OK && dao_announced(d)) {
		out->reserved = false;
		out->free_blocks = out->size = (uint32_t)seq_limit(d);
	}
	return status;
}

static unsigned dvd_rw_capacities(const struct disc *d, struct disc_capacity *out, unsigned max)
{
	return rw_ro_formats(d, out, seq_capacities(d, out, max), max);
}

/* clang-format off */
#define DVD_R_RULES \
	.align = 16, .control = 4, .blank_mode = 1, .packet_size = 16, \
	.max_open = 3, .max_session_tracks = 2302, .max_tracks = 2302, \
	.first_session_gap = FIRST_BORDER, .session_gap = LATER_BORDER, .can_test = true, \
	.write = dvd_write, .sync = dvd_sync, .reserve_track = dvd_reserve, .close_track = dvd_close_track, \
	.close_session = dvd_close_session, .check_write = check_write, .begin_track = begin_track, .track_info = dvd_track_info
/* clang-format on */

const struct disc_rules disc_rules_dvd_r = {
	.profile = PROFILE_DVD_R,
	DVD_R_RULES,
};

const struct disc_rules disc_rules_dvd_rw = {
	.profile = PROFILE_DVD_RW_SEQ,
	DVD_R_RULES,
	.blank = dvd_rw_blank,
	.format = rw_ro_format,
	.capacities = dvd_rw_capacities,
};
