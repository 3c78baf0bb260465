/* A disc as a list of regions in address order, for people ("disc map", "disc info"). No I/O. */
#pragma once

#include "disc/disc.h"

enum disc_region_kind {
	REGION_RECORDED, /* written by a host */
	REGION_PADDING,  /* recorded, but not by a host: run-out, fill of the last ECC block */
	REGION_RESERVED, /* kept for a reserved track, not written yet */
	REGION_GAP,      /* between tracks or sessions: links, borders, lead-out and lead-in */
	REGION_FREE,     /* can still be written */
	REGION_UNUSED,   /* cannot be any more */
};

struct disc_region {
	enum disc_region_kind kind;
	unsigned session, track; /* 0: belongs to none */
	int32_t lba;
	uint32_t blocks;
};

/* All of the user area from LBA 0 on; *out is the caller's to g_free(). */
unsigned disc_regions(const struct disc *d, struct disc_region **out);
const char *disc_region_name(enum disc_region_kind kind); /* "recorded" */
