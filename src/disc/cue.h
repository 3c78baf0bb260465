/*
 * The cue sheet of a CD session written at once (SEND CUE SHEET, reference/mmc.md 2.24): parsed
 * into tracks and into the regions that the host delivers in order. Pure. Data mode 1 without
 * sub-channel; the other forms are refused.
 */
#pragma once

#include "disc/disc.h"

#include <stddef.h>

enum {
	CUE_ENTRY = 8,
	CUE_MAX_ENTRIES = 384,
	CUE_MAX_TRACKS = 99,
	CUE_MAX_REGIONS = CUE_MAX_ENTRIES,
};

struct cue_track {
	uint8_t number, control, form;
	int32_t index0, index1,
		end;   /* end: where the next one's index 0, or the lead-out, begins */
	char isrc[12]; /* zeros: none */
};

struct cue_region { /* consecutive blocks of one track and one data form */
	int32_t begin, end;
	uint8_t track; /* index in cue_sheet.tracks */
	uint8_t form;
};

struct cue_sheet {
	unsigned n_tracks, n_regions;
	struct cue_track tracks[CUE_MAX_TRACKS];
	struct cue_region regions[CUE_MAX_REGIONS];
	int32_t begin, lead_out;
	bool has_mcn;
	char mcn[13];
};

/* What the medium demands of it. */
struct cue_limits {
	uint8_t first_track; /* number of the first track of this session */
	int32_t begin;       /* where the pregap of that track begins */
	int32_t last_lead_out;
};

/* DISC_BAD_PARAMETER, with the offset of the bad byte in *bad, when it is not acceptable. list is
 * len bytes. */
enum disc_status cue_parse(const uint8_t *list, size_t len, const struct cue_limits *limits,
			   struct cue_sheet *out, uint32_t *bad);
/* Bytes of a block that the host sends for a data form, 0 when the drive makes it up; -1: form not
 * supported. */
int cue_form_bytes(uint8_t form);
/* The region that lba lies in, or NULL. */
const struct cue_region *cue_find_region(const struct cue_sheet *c, int32_t lba);
/* The first address from lba on that the host delivers; lead_out when there is none. */
int32_t cue_next_from_host(const struct cue_sheet *c, int32_t lba);
