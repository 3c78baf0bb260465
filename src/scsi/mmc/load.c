/* The tray as the guest moves it: START STOP UNIT, PREVENT ALLOW MEDIUM REMOVAL, MECHANISM STATUS,
 * TEST UNIT READY. */
#include "scsi/mmc/mmc.h"

enum { PREVENT = 1, PREVENT_PERSISTENT = 2 };

/* clang-format off */
enum {	/* mechanism status header */
	MS_DOOR_OPEN	= BIT(1, 4),
	MS_SLOTS	= U8(5),
	MS_LEN		= 8,
};
/* clang-format on */

/* The engine has checked everything that there is to check. */
enum sense mmc_test_unit_ready(struct scsi_cmd *c)
{
	(void)c;
	return SENSE_GOOD;
}

co_fn enum sense tray_open(struct drive *d, struct scsi_cmd *c)
{
	enum disc_status st;

	if (d->state->tray_open)
		return SENSE_GOOD;
	if (d->disc) {
		st = disc_flush(d->disc);
		if (st != DISC_OK)
			return mmc_from_disc(c, d->disc, st);
		drive_note_synced(d);
	}
	d->state->tray_open = 1;
	mode_clear_write_protect(d);
	event_media(d, MEDIA_REMOVED);
	scsi_lu_event(&d->lu, SCSI_EVENT_MEDIUM);
	return SENSE_GOOD;
}

void tray_close(struct drive *d)
{
	if (!d->state->tray_open)
		return;
	d->state->tray_open = 0;
	if (d->disc)
		drive_medium_arrived(d);
	scsi_lu_event(&d->lu, SCSI_EVENT_MEDIUM);
}

co_fn enum sense mmc_run_eject(struct drive *d, const void *arg, struct scsi_cmd *c)
{
	(void)arg;
	return tray_open(d, c);
}

static co_fn enum sense eject(struct scsi_cmd *c)
{
	if (cmd_drive(c)->state->tray_open) /* no lock keeps in what is out */
		return SENSE_GOOD;
	if (drive_locked(cmd_drive(c)))
		return SENSE_REMOVAL_PREVENTED;
	return mmc_long_op(c, fld_get(c->cdb, SSU_IMMED), LONG_EJECT, NULL, 0);
}

/* Nothing sleeps here; the host that asked finds the state in GET EVENT STATUS until it starts the
 * unit again. */
static enum sense change_power(struct scsi_cmd *c, unsigned condition)
{
	enum { CONDITION_IDLE = 2, CONDITION_STANDBY = 3, CONDITION_SLEEP = 5 };

	switch (condition) {
	case CONDITION_IDLE: event_power(cmd_drive(c), POWER_IDLE); break;
	case CONDITION_STANDBY: event_power(cmd_drive(c), POWER_STANDBY); break;
	case CONDITION_SLEEP: event_power(cmd_drive(c), POWER_SLEEP); break;
	default: return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(SSU_POWER), 7);
	}
	return SENSE_GOOD;
}

co_fn enum sense mmc_start_stop(struct scsi_cmd *c)
{
	struct drive *d = cmd_drive(c);
	unsigned power = fld_get(c->cdb, SSU_POWER);

	if (power)
		return change_power(c, power);
	if (fld_get(c->cdb, SSU_FL)) /* media with several formats at once do not exist here */
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(SSU_FL), fld_low(SSU_FL));
	if (fld_get(c->cdb, SSU_START) && d->state->power != POWER_ACTIVE)
		event_power(d, POWER_ACTIVE);
	if (!fld_get(c->cdb, SSU_LOEJ))
		return fld_get(c->cdb, SSU_START) ? drive_need_medium(d) : SENSE_GOOD;
	if (!fld_get(c->cdb, SSU_START))
		return eject(c);
	tray_close(d);
	return SENSE_GOOD;
}

enum sense mmc_prevent_allow(struct scsi_cmd *c)
{
	uint8_t bit = fld_get(c->cdb, PAMR_PERSISTENT) ? PREVENT_PERSISTENT : PREVENT;

	if (fld_get(c->cdb, PAMR_PREVENT))
		c->nexus->prevent |= bit;
	else
		c->nexus->prevent &= (uint8_t)~bit;
	scsi_nexus_changed(c->nexus);
	return SENSE_GOOD;
}

enum sense mmc_mechanism_status(struct scsi_cmd *c)
{
	uint8_t buf[MS_LEN] = {0};

	fld_put(buf, MS_DOOR_OPEN, cmd_drive(c)->state->tray_open);
	fld_put(buf, MS_SLOTS, 1);
	return scsi_reply(c, buf, sizeof(buf));
}
