/*
 * Speeds in kB/s (1000 bytes), by profile. Nothing here makes anything slower: the numbers are what
 * hosts choose from and find again in mode page 2Ah and GET PERFORMANCE. None may be below 1x of
 * its medium (mmc.md 9.1, 18).
 */
#include "scsi/mmc/mmc.h"

enum { WRITE_SPEEDS_MAX = 6 };

#define CD(x)  ((x)*1764 / 10 + ((x)*1764 % 10 >= 5))
#define DVD(x) ((x)*1385)
#define BD(x)  ((x)*44955 / 10)

/* clang-format off */
static const struct speed_row {
	uint16_t profile, read;
	uint16_t write[WRITE_SPEEDS_MAX];
} speeds[] = {
	{ PROFILE_NONE,		  CD(48),  { CD(48), CD(24), CD(16), CD(8) } },
	{ PROFILE_CD_ROM,	  CD(48),  { 0 } },
	{ PROFILE_CD_R,		  CD(48),  { CD(48), CD(24), CD(16), CD(8) } },
	{ PROFILE_CD_RW,	  CD(48),  { CD(24), CD(16), CD(10), CD(4) } },
	{ PROFILE_DVD_ROM,	  DVD(16), { 0 } },
	{ PROFILE_DVD_R,	  DVD(16), { DVD(16), DVD(8), DVD(4), DVD(2) } },
	{ PROFILE_DVD_RAM,	  DVD(12), { DVD(5), DVD(3) } },
	{ PROFILE_DVD_RW_RO,	  DVD(12), { DVD(6), DVD(4), DVD(2) } },
	{ PROFILE_DVD_RW_SEQ,	  DVD(12), { DVD(6), DVD(4), DVD(2) } },
	{ PROFILE_DVD_R_DL,	  DVD(12), { DVD(8), DVD(4), DVD(2) } },
	{ PROFILE_DVD_PLUS_RW,	  DVD(12), { DVD(8), DVD(4) } },
	{ PROFILE_DVD_PLUS_R,	  DVD(16), { DVD(16), DVD(8), DVD(4) } },
	{ PROFILE_DVD_PLUS_RW_DL, DVD(12), { DVD(4) } },
	{ PROFILE_DVD_PLUS_R_DL,  DVD(12), { DVD(8), DVD(4) } },
	{ PROFILE_BD_ROM,	  BD(12),  { 0 } },
	{ PROFILE_BD_R_SRM,	  BD(12),  { BD(12), BD(8), BD(6), BD(4), BD(2) } },
	{ PROFILE_BD_RE,	  BD(8),   { BD(2) } },
};
/* clang-format on */

static const struct speed_row *find(uint16_t profile)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(speeds); i++) {
		if (speeds[i].profile == profile)
			return &speeds[i];
	}
	return &speeds[0];
}

unsigned speed_write_list(uint16_t profile, uint16_t *out, unsigned max)
{
	const struct speed_row *row = find(profile);
	unsigned n = 0;

	while (n < max && n < WRITE_SPEEDS_MAX && row->write[n]) {
		out[n] = row->write[n];
		n++;
	}
	return n;
}

unsigned speed_max_read(uint16_t profile)
{
	return find(profile)->read;
}

/* The next supported speed not faster than what was asked for; if there is none, the slowest. */
unsigned speed_write_now(const struct drive *d)
{
	const struct speed_row *row = find(drive_profile(d));
	unsigned now = row->write[0];

	if (!d->state->write_speed)
		return now;
	for (unsigned i = 0; i < WRITE_SPEEDS_MAX && row->write[i]; i++) {
		now = row->write[i];
		if (now <= d->state->write_speed)
			break;
	}
	return now;
}

unsigned speed_read_now(const struct drive *d)
{
	const struct speed_row *row = find(drive_profile(d));
	const struct disc_profile *p = disc_profile_find(row->profile);
	unsigned slowest = p ? p->speed_1x_kb : CD(1);

	if (!d->state->read_speed || d->state->read_speed > row->read)
		return row->read;
	return MAX(d->state->read_speed, slowest);
}

uint32_t speed_end_lba(const struct drive *d)
{
	const struct disc *disc = loaded_disc(d);
	const struct disc_state *s = disc ? disc_get_state(disc) : NULL;

	if (!s)
		return 0;
	if (disc_get_profile(disc)->method == METHOD_ROM || !s->capacity)
		return disc_last_lba(disc);
	return s->capacity - 1;
}

bool can_profile(uint16_t profile)
{
	switch (profile) {
	case PROFILE_CD_ROM:
	case PROFILE_DVD_ROM:
	case PROFILE_BD_ROM: return true;
	case PROFILE_DVD_RW_RO:
		profile = PROFILE_DVD_RW_SEQ; /* one and the same disc */
		break;
	}
	for (const struct disc_type *t = disc_types(); t->name; t++) {
		if (t->implemented && t->profile == profile)
			return true;
	}
	return false;
}
