/*
 * Whether the rows that a .disc file brought make sense together. The checksums of the container
 * tell accidents; this is for rows that somebody made: after it, arithmetic on addresses cannot
 * overflow and every number finds its row.
 */
#include "disc/rules.h"

#include "base/err.h"

#include <inttypes.h>

enum { MAX_BLOCKS = 1 << 30, LOWEST_LBA = -45150, DVD_MINUS_MIN = 2048, MAX_LAYERS = 4 };

static bool in_range(int64_t lba, const struct disc_state *s)
{
	/* A track may be followed by what the medium is not asked for: run-out, a lead-out, the
	 * next session's gap. */
	return lba >= LOWEST_LBA && lba <= (int64_t)s->max_blocks + 65536;
}

static bool check_track(const struct disc_state *s, unsigned number, int64_t *end, GError **error)
{
	const struct disc_track *t = state_track(s, number);
	int64_t stop = (int64_t)t->start + t->size;

	if (t->number != number)
		return err_set(error, EINVAL, "track row %u says that it is track %u", number,
			       t->number);
	if (!state_session(s, t->session))
		return err_set(error, EINVAL, "track %u belongs to session %u of %u", number,
			       t->session, s->sessions->len);
	if (!in_range(t->start, s) || !in_range(stop, s) ||
	    !in_range((int64_t)t->start - t->pregap, s) || t->start < *end) {
		return err_set(error, EINVAL,
			       "track %u lies at %" PRId32 "+%" PRIu32 ", which cannot be", number,
			       t->start, t->size);
	}
	if (t->run_out > t->size && !(t->flags & TRACK_OPEN))
		return err_set(error, EINVAL, "track %u has more run-out than blocks", number);
	if (t->flags & TRACK_OPEN &&
	    (t->nwa < (int64_t)t->start - t->pregap || !in_range(t->nwa, s) ||
	     (t->flags & TRACK_RESERVED && t->nwa > stop))) {
		return err_set(error, EINVAL,
			       "track %u has the next writable address %" PRId32
			       ", which cannot be",
			       number, t->nwa);
	}
	*end = t->flags & TRACK_OPEN && t->nwa > stop ? t->nwa : stop;
	return true;
}

static bool check_session(const struct disc_state *s, unsigned number, unsigned *next_track,
			  GError **error)
{
	const struct disc_session *n = state_session(s, number);

	if (n->number != number)
		return err_set(error, EINVAL, "session row %u says that it is session %u", number,
			       n->number);
	if (n->state != SESSION_EMPTY && n->state != SESSION_INCOMPLETE &&
	    n->state != SESSION_COMPLETE)
		return err_set(error, EINVAL, "session %u is in state %u", number, n->state);
	if (!in_range(n->start, s) || !in_range(n->lead_out, s) || !in_range(n->next_area, s))
		return err_set(error, EINVAL, "session %u lies where it cannot be", number);
	if (number < s->sessions->len && n->state != SESSION_COMPLETE)
		return err_set(error, EINVAL, "session %u is open but not the last one", number);
	if (!n->first_track && !n->last_track)
		return n->state == SESSION_EMPTY ||
		       err_set(error, EINVAL, "session %u has no tracks but is not empty", number);
	if (n->first_track != *next_track || n->last_track < n->first_track ||
	    n->last_track > s->tracks->len)
		return err_set(error, EINVAL, "session %u has tracks %u to %u, of %u", number,
			       n->first_track, n->last_track, s->tracks->len);
	for (unsigned i = n->first_track; i <= n->last_track; i++)
		if (state_track(s, i)->session != number)
			return err_set(error, EINVAL, "track %u is in two sessions", i);
	*next_track = n->last_track + 1u;
	return true;
}

static bool check_size(const struct disc_state *s, GError **error)
{
	const struct disc_profile *p = disc_profile_find(s->profile);
	unsigned unit = p && p->method != METHOD_ROM ? p->ecc_blocks : 1;

	if (!p)
		return err_set(error, EINVAL, "unknown medium %04xh", s->profile);
	if (s->layers < 1 || s->layers > MAX_LAYERS)
		return err_set(error, EINVAL, "%u layers", s->layers);
	if (s->max_blocks < 1 || s->max_blocks > MAX_BLOCKS || s->capacity > s->max_blocks ||
	    s->grow_limit > s->max_blocks || s->last_lead_out > (int64_t)s->max_blocks) {
		return err_set(error, EINVAL,
			       "capacity of %" PRIu32 " blocks, %" PRIu32 " in use, cannot be",
			       s->max_blocks, s->capacity);
	}
	if (s->max_blocks % unit || (s->capacity % unit && p->method != METHOD_RESTRICTED) ||
	    (p->family == DISC_DVD_MINUS && s->max_blocks < DVD_MINUS_MIN)) {
		return err_set(error, EINVAL, "capacity of %" PRIu32 " blocks does not suit a %s",
			       s->max_blocks, p->name);
	}
	return true;
}

/* What may be written: only the last session, and there one track takes the rest, behind all. */
static bool check_open(const struct disc_state *s, GError **error)
{
	const struct disc_session *last = state_session(s, s->sessions->len);
	bool complete = s->status == DISC_COMPLETE;

	if (complete != (last->state == SESSION_COMPLETE)) {
		return err_set(error, EINVAL, "session %u is %s on a disc that is%s complete",
			       last->number, complete ? "open" : "complete",
			       complete ? "" : " not");
	}
	for (unsigned i = 1; i <= s->tracks->len; i++) {
		const struct disc_track *t = state_track(s, i);
		bool rest = !(t->flags & TRACK_RESERVED) || t->flags & TRACK_DAO;

		if (t->flags & TRACK_OPEN &&
		    (complete || t->session != last->number || (rest && i != s->tracks->len)))
			return err_set(error, EINVAL, "track %u cannot be open", i);
	}
	return true;
}

bool disc_check_state(const struct disc_state *s, GError **error)
{
	int64_t end = LOWEST_LBA;
	unsigned next_track = 1;

	if (!check_size(s, error))
		return false;
	if (!s->sessions->len)
		return err_set(error, EINVAL, "no sessions");
	for (unsigned i = 1; i <= s->tracks->len; i++)
		if (!check_track(s, i, &end, error))
			return false;
	for (unsigned i = 1; i <= s->sessions->len; i++)
		if (!check_session(s, i, &next_track, error))
			return false;
	if (next_track != s->tracks->len + 1)
		return err_set(error, EINVAL, "track %u is in no session", next_track);
	if (!check_open(s, error))
		return false;
	for (unsigned i = 0; i < s->punches->len; i++) {
		const struct disc_punch *p = &g_array_index(s->punches, struct disc_punch, i);

		if (p->plane != PLANE_USER || p->off % BLOCK_LEN || p->len % BLOCK_LEN ||
		    p->off > (uint64_t)s->max_blocks * BLOCK_LEN ||
		    p->len > (uint64_t)s->max_blocks * BLOCK_LEN - p->off)
			return err_set(error, EINVAL, "a pending removal lies where it cannot be");
	}
	return true;
}
