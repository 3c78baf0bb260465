/* SYNCHRONIZE CACHE, START STOP UNIT, TEST UNIT READY (SBC-3 5.18 f., 5.25; SPC-4 6.47). */
#include "scsi/sbc/sbc.h"

enum sense sbc_test_unit_ready(struct scsi_cmd *c)
{
	(void)c; /* the engine has asked (sbc_ready()) */
	return SENSE_GOOD;
}

/* Also with IMMED: an error is then not a deferred one. */
static co_fn enum sense sync_cache(struct scsi_cmd *c, enum sbc_cdb_form form)
{
	struct sbc_range r = sbc_cdb_range(c, form);
	enum sense s = sbc_check_range(c, &r);
	int res;

	if (s != SENSE_GOOD)
		return s;
	res = block_flush(cmd_disk(c)->node);
	return res < 0 ? sbc_write_failed(c, res, r.lba) : SENSE_GOOD;
}

co_fn enum sense sbc_sync_cache10(struct scsi_cmd *c)
{
	return sync_cache(c, SBC_10);
}

co_fn enum sense sbc_sync_cache16(struct scsi_cmd *c)
{
	return sync_cache(c, SBC_16);
}

co_fn enum sense sbc_start_stop(struct scsi_cmd *c)
{
	struct scsi_disk *d = cmd_disk(c);
	bool start = fld_get(c->cdb, SSU_START), power = fld_get(c->cdb, SSU_POWER) != 0;
	int res = 0;

	if ((!start || power) && sbc_forbids_change(c))
		return SENSE_STATUS_CONFLICT;
	if (power)
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(SSU_POWER), 7);
	if (fld_get(c->cdb, SSU_LOEJ))
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(SSU_LOEJ), 1);
	if (!start && !fld_get(c->cdb, SSU_NO_FLUSH))
		res = block_flush(d->node);
	if (res < 0)
		return sbc_write_failed(c, res, 0);
	d->stopped = !start;
	return SENSE_GOOD;
}
