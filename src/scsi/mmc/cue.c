/*
 * SEND CUE SHEET (MMC-6 6.33; mmc.md 2.24). The list's form is checked here, its meaning by the
 * medium.
 */
#include "scsi/mmc/media.h"

enum {
	CUE_ENTRY = 8,
	CUE_MIN = 3 * CUE_ENTRY,
	CUE_MAX = 3072 /* as feature 002Eh says */,
	WRITE_SAO = 2
};

co_fn enum sense mmc_send_cue_sheet(struct scsi_cmd *c)
{
	struct disc *disc = cmd_disc(c);
	uint32_t len = fld_get(c->cdb, CUE_LEN);
	uint8_t cue[CUE_MAX];

	if (!medium_is_cd(disc))
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, 0, 8);
	if (!disc_is_writable(disc))
		return SENSE_CANNOT_WRITE_FORMAT;
	if (len % CUE_ENTRY || len < CUE_MIN || len > CUE_MAX)
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(CUE_LEN), 8);
	if (drive_write_params(cmd_drive(c))->write_type != WRITE_SAO)
		return SENSE_SEQUENCE;
	if (iovs_get(&c->out, 0, cue, len) != len)
		return SENSE_PARAMETER_LENGTH;
	c->out_done = len;
	return mmc_from_disc(c, disc, disc_send_cue_sheet(disc, cue, len));
}
