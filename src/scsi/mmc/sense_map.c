/* What the medium answers, as sense (mmc.md section 6): the one table. */
#include "scsi/mmc/mmc.h"

struct translation {
	enum sense sense;
	bool with_lba; /* VALID and INFORMATION when the medium named a block */
};

/* clang-format off */
static const struct translation table[] = {
	[DISC_OK]		= { SENSE_GOOD },
	[DISC_RANGE]		= { SENSE_LBA_RANGE, true },
	[DISC_NOT_NWA]		= { SENSE_BAD_WRITE_ADDRESS, true },
	[DISC_END_OF_TRACK]	= { SENSE_END_OF_TRACK, true },
	[DISC_WRONG_MODE]	= { SENSE_ILLEGAL_TRACK_MODE, true },
	[DISC_ROM]		= { SENSE_CANNOT_WRITE_FORMAT },
	[DISC_FINALISED]	= { SENSE_WRITE_PROTECTED },	/* on CD: 5/64/00 */
	[DISC_PROTECTED]	= { SENSE_WRITE_PROTECTED },	/* by its state: 7/27/04 */
	[DISC_SEQUENCE]		= { SENSE_SEQUENCE },
	[DISC_INCOMPATIBLE]	= { SENSE_CANNOT_FORMAT },
	[DISC_BAD_PARAMETER]	= { SENSE_BAD_PARAMETER },
	[DISC_NOT_FORMATTED]	= { SENSE_NOT_FORMATTED },
	[DISC_INCOMPLETE_TRACK]	= { SENSE_INCOMPLETE_TRACK },
	[DISC_RESERVED_EMPTY]	= { SENSE_RESERVED_TRACK_EMPTY },
	[DISC_NO_MORE_TRACKS]	= { SENSE_NO_MORE_RESERVATIONS },
	[DISC_UNRECORDED]	= { SENSE_UNRECOVERED_READ, true },
	[DISC_IO_READ]		= { SENSE_UNRECOVERED_READ, true },
	[DISC_IO_WRITE]		= { SENSE_WRITE_ERROR, true },
};
/* clang-format on */

enum { PROTECTED_PERSISTENTLY = 1 };

static enum sense refine(struct disc *disc, enum disc_status st, enum sense s)
{
	if (st == DISC_FINALISED && disc_get_profile(disc)->family == DISC_CD)
		return SENSE_ILLEGAL_TRACK_MODE;
	if (st == DISC_PROTECTED && disc_get_state(disc)->write_protected == PROTECTED_PERSISTENTLY)
		return SENSE_PERSISTENT_PROTECTED;
	return s;
}

static void log_failure(struct drive *d, struct disc *disc, enum disc_status st)
{
	const struct disc_error *e = disc_last_error(disc);
	char where[32] = "";

	if (e->lba_valid)
		g_snprintf(where, sizeof(where), " at block %d", e->lba);
	log_limited(&d->limit, LOG_ERROR, d->lu.name, "%s %s: %s%s",
		    st == DISC_IO_READ ? "reading" : "writing", disc_name(disc),
		    g_strerror(e->errnum), where);
}

enum sense mmc_from_disc(struct scsi_cmd *c, struct disc *disc, enum disc_status st)
{
	const struct disc_error *e;
	enum sense s;

	if (st == DISC_OK)
		return SENSE_GOOD;
	if ((unsigned)st >= G_N_ELEMENTS(table))
		return SENSE_INTERNAL_FAILURE;
	s = refine(disc, st, table[st].sense);
	if (!c)
		return s;
	e = disc_last_error(disc);
	if (st == DISC_IO_READ || st == DISC_IO_WRITE)
		log_failure(cmd_drive(c), disc, st);
	if (table[st].with_lba && e->lba_valid)
		return scsi_fail_lba(c, s, (uint32_t)e->lba);
	if (st == DISC_BAD_PARAMETER)
		return scsi_bad_field(c, s, e->byte, 8);
	return s;
}
