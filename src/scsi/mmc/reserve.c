/*
 * RESERVE TRACK, REPAIR TRACK, SEND OPC INFORMATION (MMC-6 6.31, 6.29, 6.35).
 */
#include "scsi/mmc/media.h"

enum { OPC_ENTRY = 8 };

/*
 * Blocks to reserve, from a size or (DVD+R, BD-R) from the address at which the next track shall
 * begin.
 */
static enum sense reserve_size(struct scsi_cmd *c, const struct disc_track_info *next,
			       uint32_t *blocks)
{
	uint32_t lba;

	if (!fld_get(c->cdb, RSV_ARSV)) {
		*blocks = fld_get(c->cdb, RSV_BLOCKS);
		return *blocks ? SENSE_GOOD
			       : scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(RSV_BLOCKS), 8);
	}
	lba = fld_get(c->cdb, RSV_LBA);
	if (lba > INT32_MAX || (int64_t)lba <= next->nwa)
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(RSV_LBA), 8);
	*blocks = lba - (uint32_t)next->nwa;
	return SENSE_GOOD;
}

/*
 * Whether the last reserved track is what this command would make: it was executed before the
 * daemon was killed.
 */
static bool was_reserved(const struct disc *disc, const uint8_t *cdb)
{
	uint32_t unit = disc_get_profile(disc)->ecc_blocks;
	struct disc_track_info info;
	unsigned n = disc_last_track(disc);
	int64_t blocks;

	while (n >= 1 && (disc_get_track_info(disc, n, &info) != DISC_OK || !info.reserved))
		n--;
	if (!n)
		return false;
	blocks = fld_get(cdb, RSV_ARSV) ? (int64_t)fld_get(cdb, RSV_LBA) - info.start
					: fld_get(cdb, RSV_BLOCKS);
	return info.blank && (blocks + unit - 1) / unit * unit == info.size;
}

co_fn enum sense mmc_reserve_track(struct scsi_cmd *c)
{
	struct disc *disc = cmd_disc(c);
	struct disc_track_info next;
	enum sense sense;
	uint32_t blocks = 0;

	if (fld_get(c->cdb, RSV_RMZ))
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(RSV_RMZ), 8);
	switch (disc_get_profile(disc)->number) {
	case PROFILE_DVD_RW_RO:
	case PROFILE_DVD_RAM:
	case PROFILE_DVD_PLUS_RW_DL: return SENSE_GOOD; /* nothing to reserve, but wodim asks */
	}
	if (disc_get_profile(disc)->method == METHOD_ROM)
		return SENSE_CANNOT_WRITE_FORMAT;
	if (medium_is_one_area(disc))
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, 0, 8);
	if (c->replay && was_reserved(disc, c->cdb))
		return SENSE_GOOD;
	if (disc_get_track_info(disc, TRACK_INVISIBLE, &next) != DISC_OK || !next.nwa_valid)
		return mmc_from_disc(c, disc,
				     disc_is_writable(disc) ? DISC_NO_MORE_TRACKS : DISC_FINALISED);
	sense = reserve_size(c, &next, &blocks);
	if (sense != SENSE_GOOD)
		return sense;
	if (blocks > next.free_blocks)
		return SENSE_LBA_RANGE;
	return mmc_from_disc(c, disc, disc_reserve_track(disc, blocks));
}

/* Tracks here are never left damaged: what there is to repair was done when the disc was opened. */
co_fn enum sense mmc_repair_track(struct scsi_cmd *c)
{
	struct disc *disc = cmd_disc(c);
	struct disc_track_info info;

	if (disc_get_profile(disc)->method == METHOD_ROM)
		return SENSE_CANNOT_WRITE_FORMAT;
	if (disc_get_track_info(disc, fld_get(c->cdb, REPAIR_TRACK), &info) != DISC_OK)
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(REPAIR_TRACK), 8);
	return mmc_from_disc(c, disc, disc_flush(disc));
}

/*
 * There is no laser to calibrate: tables are looked at for their form, a calibration succeeds at
 * once.
 */
enum sense mmc_send_opc(struct scsi_cmd *c)
{
	uint32_t len = fld_get(c->cdb, OPC_LEN);

	if (disc_get_profile(cmd_disc(c))->method == METHOD_ROM)
		return SENSE_CANNOT_WRITE_FORMAT;
	if (len % OPC_ENTRY || len > c->out.len)
		return SENSE_PARAMETER_LENGTH;
	c->out_done = len;
	return SENSE_GOOD;
}
