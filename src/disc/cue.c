/*
 * Parsing of cue sheets: see cue.h. One pass over the entries with a small parser state; every
 * entry is first checked by itself and then against its place. Tools differ: index 0 may have zero
 * length (wodim), ISRC entries come with or without a CONTROL nibble, the lead-in's time is
 * 00:00:00 or the ATIP's.
 */
#include "disc/cue.h"

#include "disc/sector.h"

#include <string.h>

enum {
	ADR_TRACK = 1,
	ADR_MCN = 2,
	ADR_ISRC = 3,
	TNO_LEAD_OUT = 0xaa,
	CONTROL_DATA = 4,
	FORM_SUB = 0xc0
};
enum { E_CTL_ADR, E_TNO, E_INDEX, E_FORM, E_SCMS, E_M, E_S, E_F }; /* bytes of an entry */

struct parser {
	const uint8_t *list;
	unsigned entries, at;
	const struct cue_limits *limits;
	struct cue_sheet *out;
	struct cue_track *track; /* the one being described */
	uint8_t last_index;
	int32_t last_lba;
	char isrc[12];
	uint32_t bad;
};

int cue_form_bytes(uint8_t form)
{
	switch (form) {
	case 0x10:
	case 0x12: return 2048;
	case 0x11:
	case 0x13: return 2352;
	case 0x14: return 0;
	default: return -1;
	}
}

static bool fail(struct parser *p, unsigned byte)
{
	p->bad = p->at * CUE_ENTRY + byte;
	return false;
}

static bool entry_lba(struct parser *p, const uint8_t *e, int32_t *lba)
{
	if (e[E_M] >= 90)
		return fail(p, E_M);
	if (e[E_S] >= 60)
		return fail(p, E_S);
	if (e[E_F] >= 75)
		return fail(p, E_F);
	*lba = msf_to_lba((struct msf){e[E_M], e[E_S], e[E_F]});
	return true;
}

/* MCN and ISRC are two entries each; len characters from byte on. */
static bool take_text(struct parser *p, unsigned adr, unsigned byte, unsigned len, char *out,
		      unsigned out_len)
{
	const uint8_t *e = p->list + p->at * CUE_ENTRY;
	char text[2 * CUE_ENTRY];

	if (p->at + 1 >= p->entries || (e[CUE_ENTRY + E_CTL_ADR] & 15) != adr)
		return fail(p, E_CTL_ADR);
	memcpy(text, e + byte, len);
	memcpy(text + len, e + CUE_ENTRY + byte, len);
	memcpy(out, text, out_len);
	p->at += 2;
	return true;
}

static void end_track(struct parser *p, int32_t lba)
{
	struct cue_region *r = p->out->n_regions ? &p->out->regions[p->out->n_regions - 1] : NULL;

	if (!p->track)
		return;
	p->track->end = lba;
	if (r)
		r->end = lba;
}

static void add_region(struct parser *p, int32_t lba, uint8_t form)
{
	struct cue_sheet *c = p->out;
	struct cue_region *last = c->n_regions ? &c->regions[c->n_regions - 1] : NULL;
	uint8_t track = (uint8_t)(c->n_tracks - 1);

	if (last && last->track == track && last->form == form)
		return;
	if (last)
		last->end = lba;
	c->regions[c->n_regions++] = (struct cue_region){lba, lba, track, form};
}

static bool new_track(struct parser *p, const uint8_t *e, int32_t lba)
{
	struct cue_sheet *c = p->out;

	if (c->n_tracks == CUE_MAX_TRACKS || e[E_TNO] != p->limits->first_track + c->n_tracks ||
	    e[E_TNO] > 99)
		return fail(p, E_TNO);
	if (e[E_INDEX] > 1 || (c->n_tracks == 0 && e[E_INDEX] != 0))
		return fail(p, E_INDEX);
	if (c->n_tracks == 0 && lba != p->limits->begin)
		return fail(p, E_M);
	if (p->track && p->last_index == 0)
		return fail(p, E_INDEX); /* the one before has no index 1 */
	end_track(p, lba);
	p->track = &c->tracks[c->n_tracks++];
	p->track->number = e[E_TNO];
	p->track->control = e[E_CTL_ADR] >> 4;
	p->track->index0 = lba;
	memcpy(p->track->isrc, p->isrc, sizeof(p->isrc));
	memset(p->isrc, 0, sizeof(p->isrc));
	return true;
}

static bool take_index(struct parser *p, const uint8_t *e)
{
	int32_t lba;

	if (!entry_lba(p, e, &lba))
		return false;
	if (cue_form_bytes(e[E_FORM]) < 0)
		return fail(p, E_FORM);
	if (!(e[E_CTL_ADR] >> 4 & CONTROL_DATA))
		return fail(p, E_CTL_ADR); /* mode 1 is data */
	if (p->track && lba < p->last_lba)
		return fail(p, E_M);
	if (!p->track || p->track->number != e[E_TNO]) {
		if (!new_track(p, e, lba))
			return false;
	} else if (e[E_INDEX] != p->last_index + 1 || (lba == p->last_lba && e[E_INDEX] > 1)) {
		return fail(p, E_INDEX);
	}
	if (e[E_INDEX] == 1) {
		p->track->index1 = lba;
		p->track->form = e[E_FORM];
		if (p->out->n_tracks == 1 && lba - p->track->index0 < CD_PREGAP)
			return fail(p, E_M);
	}
	add_region(p, lba, e[E_FORM]);
	p->last_index = e[E_INDEX];
	p->last_lba = lba;
	p->at++;
	return true;
}

static bool take_lead_in(struct parser *p)
{
	const uint8_t *e = p->list + p->at * CUE_ENTRY;

	if (p->at == p->entries || (e[E_CTL_ADR] & 15) != ADR_TRACK)
		return fail(p, E_CTL_ADR);
	if (e[E_TNO] != 0)
		return fail(p, E_TNO);
	if (e[E_INDEX] != 0)
		return fail(p, E_INDEX);
	if (e[E_FORM] & FORM_SUB)
		return fail(p, E_FORM); /* text in the lead-in */
	p->at++;
	return true;
}

static bool take_lead_out(struct parser *p, const uint8_t *e)
{
	int32_t lba;

	if (p->at != p->entries - 1)
		return fail(p, E_TNO);
	if (e[E_INDEX] != 1)
		return fail(p, E_INDEX);
	if (e[E_FORM] & FORM_SUB)
		return fail(p, E_FORM);
	if (!entry_lba(p, e, &lba))
		return false;
	if (!p->track || p->last_index == 0)
		return fail(p, E_TNO);
	if (lba <= p->last_lba || lba > p->limits->last_lead_out)
		return fail(p, E_M);
	end_track(p, lba);
	p->out->lead_out = lba;
	p->at++;
	return true;
}

static bool take_isrc(struct parser *p)
{
	const uint8_t *e = p->list + p->at * CUE_ENTRY;

	if (e[E_TNO] != p->limits->first_track + p->out->n_tracks)
		return fail(p, E_TNO);
	return take_text(p, ADR_ISRC, 2, 6, p->isrc, sizeof(p->isrc));
}

static bool parse_entries(struct parser *p)
{
	struct cue_sheet *c = p->out;

	if ((p->list[E_CTL_ADR] & 15) == ADR_MCN) {
		if (!take_text(p, ADR_MCN, 1, 7, c->mcn, sizeof(c->mcn)))
			return false;
		c->has_mcn = true;
	}
	if (!take_lead_in(p))
		return false;
	while (p->at < p->entries) {
		const uint8_t *e = p->list + p->at * CUE_ENTRY;

		switch (e[E_CTL_ADR] & 15) {
		case ADR_ISRC:
			if (!take_isrc(p))
				return false;
			break;
		case ADR_TRACK:
			if (e[E_TNO] == TNO_LEAD_OUT)
				return take_lead_out(p, e);
			if (!take_index(p, e))
				return false;
			break;
		default: return fail(p, E_CTL_ADR);
		}
	}
	p->at = p->entries - 1;
	return fail(p, E_TNO); /* no lead-out */
}

/* Regions of no length (an index 0 at the time of index 1) would only be in the way of the search.
 */
static void drop_empty_regions(struct cue_sheet *c)
{
	unsigned n = 0;

	for (unsigned i = 0; i < c->n_regions; i++)
		if (c->regions[i].end > c->regions[i].begin)
			c->regions[n++] = c->regions[i];
	c->n_regions = n;
}

enum disc_status cue_parse(const uint8_t *list, size_t len, const struct cue_limits *limits,
			   struct cue_sheet *out, uint32_t *bad)
{
	struct parser p = {.list = list, .limits = limits, .out = out};

	memset(out, 0, sizeof(*out));
	*bad = 0;
	if (len % CUE_ENTRY || len < 3 * CUE_ENTRY || len > CUE_MAX_ENTRIES * CUE_ENTRY)
		return DISC_BAD_PARAMETER;
	p.entries = (unsigned)(len / CUE_ENTRY);
	out->begin = limits->begin;
	if (!parse_entries(&p)) {
		*bad = p.bad;
		return DISC_BAD_PARAMETER;
	}
	drop_empty_regions(out);
	return DISC_OK;
}

const struct cue_region *cue_find_region(const struct cue_sheet *c, int32_t lba)
{
	unsigned low = 0, high = c->n_regions;

	while (low < high) {
		unsigned mid = (low + high) / 2;

		if (lba >= c->regions[mid].end)
			low = mid + 1;
		else
			high = mid;
	}
	return low < c->n_regions && lba >= c->regions[low].begin ? &c->regions[low] : NULL;
}

int32_t cue_next_from_host(const struct cue_sheet *c, int32_t lba)
{
	const struct cue_region *r = cue_find_region(c, lba);

	while (r && r < c->regions + c->n_regions && cue_form_bytes(r->form) == 0) {
		lba = r->end;
		r++;
	}
	return lba;
}
