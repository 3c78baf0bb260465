/* Regions of a disc: see map.h. */
#include "disc/map.h"

#include "disc/rules.h"

struct mapper {
	GArray *list;
	int32_t at;
};

static void add(struct mapper *m, enum disc_region_kind kind, unsigned session, unsigned track,
		int32_t end)
{
	struct disc_region r = {kind, session, track, m->at, (uint32_t)(end - m->at)};

	if (end <= m->at)
		return;
	g_array_append_val(m->list, r);
	m->at = end;
}

static void add_track(struct mapper *m, const struct disc_track *t)
{
	bool open = t->flags & TRACK_OPEN;
	int32_t end = t->start + (int32_t)t->size;

	add(m, REGION_GAP, t->session, 0, t->start);
	add(m, REGION_RECORDED, t->session, t->number, open ? t->nwa : end - (int32_t)t->run_out);
	if (open && t->flags & TRACK_RESERVED)
		add(m, REGION_RESERVED, t->session, t->number, end);
	else if (!open)
		add(m, REGION_PADDING, t->session, t->number, end);
}

unsigned disc_regions(const struct disc *d, struct disc_region **out)
{
	const struct disc_state *s = d->state;
	struct mapper m = {.list = g_array_new(FALSE, FALSE, sizeof(struct disc_region))};
	const struct disc_session *session = seq_session(s);
	const struct disc_track *open = seq_open_track(s);
	int32_t limit = seq_limit(d);
	unsigned n;

	for (unsigned i = 1; i <= s->tracks->len; i++)
		add_track(&m, state_track(s, i));
	if (s->status != DISC_COMPLETE) {
		add(&m, REGION_GAP, session->number, 0,
		    MIN(open ? m.at : seq_next_start(d), limit));
		add(&m, REGION_FREE, session->number, open ? open->number : 0, limit);
	}
	/* Spare clusters do not count; what a restricted overwrite could still grow to does. */
	if (d->profile->method != METHOD_ROM)
		add(&m, REGION_UNUSED, 0, 0,
		    s->profile == PROFILE_DVD_RW_RO ? (int32_t)rw_ro_full_blocks(s) : limit);
	n = m.list->len;
	*out = (struct disc_region *)(void *)g_array_free(m.list, FALSE);
	return n;
}

const char *disc_region_name(enum disc_region_kind kind)
{
	/* clang-format off */
	static const char *const names[] = {
		[REGION_RECORDED] = "recorded", [REGION_PADDING] = "padding", [REGION_RESERVED] = "reserved",
		[REGION_GAP] = "gap",           [REGION_FREE] = "free",       [REGION_UNUSED] = "unused",
	};
	/* clang-format on */

	return (unsigned)kind < G_N_ELEMENTS(names) ? names[kind] : "?";
}
