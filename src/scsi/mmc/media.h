/*
 * What the media commands share among themselves: kinds of media, addresses as CDBs and replies
 * have them.
 */
#pragma once

#include "disc/sector.h"
#include "scsi/mmc/mmc.h"

enum { BLOCK_BYTES = 2048, MSF_LBA_END = 255 * 60 * 75 };

static inline bool medium_is_cd(const struct disc *d)
{
	return disc_get_profile(d)->family == DISC_CD;
}

/*
 * A DVD or BD that is one area as a whole: pressed, or overwritable. Others are made of sessions
 * and tracks.
 */
static inline bool medium_is_one_area(const struct disc *d)
{
	enum disc_method method = disc_get_profile(d)->method;

	return !medium_is_cd(d) && method != METHOD_SEQUENTIAL && method != METHOD_REWRITABLE;
}

/*
 * The address in a CDB: signed on CD, where pregap and lead-in lie below 0. False when no medium
 * has such a range; sums of *lba and blocks cannot overflow after it.
 */
static inline bool medium_range(const struct disc *d, uint32_t address, uint32_t blocks,
				int32_t *lba)
{
	int64_t start = medium_is_cd(d) ? (int32_t)address : (int64_t)address;

	if (start + blocks > INT32_MAX)
		return false;
	*lba = (int32_t)start;
	return true;
}

/* "0 M S F" (binary) or an LBA, as TOC, header and sub-channel replies have it. */
static inline void put_address(uint8_t p[4], int32_t lba, bool msf)
{
	struct msf t;

	if (!msf) {
		p[0] = (uint8_t)((uint32_t)lba >> 24);
		p[1] = (uint8_t)((uint32_t)lba >> 16);
		p[2] = (uint8_t)((uint32_t)lba >> 8);
		p[3] = (uint8_t)lba;
		return;
	}
	t = lba < MSF_LBA_END ? lba_to_msf(lba)
			      : (struct msf){0xff, 59, 74}; /* DVDs are too long for it */
	p[0] = 0;
	p[1] = t.m;
	p[2] = t.s;
	p[3] = t.f;
}

/* READ(10) of 2048-byte blocks (rw.c), which READ CD falls back to. */
co_fn enum sense mmc_read_blocks(struct scsi_cmd *c, uint32_t address, uint32_t blocks);

/*
 * What came before a command that may end the disc; afterwards the host learns of features that
 * went away.
 */
static inline void medium_note_change(struct drive *d, bool was_writable)
{
	if (d->disc && disc_is_writable(d->disc) != was_writable)
		drive_profile_changed(d);
}
