/*
 * FORMAT UNIT and BLANK (MMC-6 6.5, 6.2; mmc.md 2.10, 2.25).
 *
 * What a host can get wrong is checked before the work begins, because with IMMED the answer is
 * given then. The medium has the last word on block counts.
 */
#include "scsi/mmc/media.h"

enum { /* FORMAT UNIT parameter list */
       FL_FOV = BIT(1, 7),
       FL_DCRT = BIT(1, 5),
       FL_IP = BIT(1, 3),
       FL_TRY_OUT = BIT(1, 2),
       FL_IMMED = BIT(1, 1),
       FL_DESCRIPTOR_LEN = BE16(2),
       FL_BLOCKS = BE32(4),
       FL_TYPE = BITS(8, 7, 2),
       FL_SUBTYPE = BITS(8, 1, 0),
       FL_PARAMETER = BE24(9),
       FL_LEN = 12,
       FL_DESCRIPTOR = 8,
       FORMAT_CODE = 1,
       BLOCKS_MAX = 0xffffffff, /* "as much as there is" */
       BD_RE_FULL_CERTIFICATION = 2,
};

/* Format types a profile knows (bit n of mask: type n). */
static const struct {
	uint16_t profile;
	uint64_t mask;
} known_formats[] = {
	{PROFILE_CD_RW, 1ull << 0x10},
	{PROFILE_DVD_RAM, 1ull << 0x00 | 1ull << 0x01},
	{PROFILE_DVD_RW_RO, 1ull << 0x00 | 1ull << 0x10 | 1ull << 0x13 | 1ull << 0x15},
	{PROFILE_DVD_RW_SEQ, 1ull << 0x00 | 1ull << 0x10 | 1ull << 0x15},
	{PROFILE_DVD_PLUS_RW, 1ull << 0x26},
	{PROFILE_DVD_PLUS_RW_DL, 1ull << 0x26},
	{PROFILE_BD_R_SRM, 1ull << 0x00 | 1ull << 0x32},
	{PROFILE_BD_RE, 1ull << 0x00 | 1ull << 0x30 | 1ull << 0x31},
};

struct format_arg {
	struct disc_format format;
	bool replay;
};

struct blank_arg {
	unsigned type;
};

static uint64_t formats_of(uint16_t profile)
{
	unsigned i;

	for (i = 0; i < G_N_ELEMENTS(known_formats); i++)
		if (known_formats[i].profile == profile)
			return known_formats[i].mask;
	return 0;
}

/*
 * The file below failed while the medium was being rewritten as a whole: these have codes of their
 * own.
 */
static enum sense whole_disc_error(struct scsi_cmd *c, struct disc *disc, enum disc_status st,
				   enum sense failure)
{
	return st == DISC_IO_WRITE || st == DISC_IO_READ ? failure : mmc_from_disc(c, disc, st);
}

/*
 * A format that a dead process had carried out already: BD-R takes only one, and a quick grow would
 * grow again. The others do no harm when done twice, as nothing was written since.
 */
static bool format_was_done(const struct disc *disc, const struct disc_format *f)
{
	const struct disc_state *s = disc_get_state(disc);

	switch (disc_get_profile(disc)->number) {
	case PROFILE_BD_R_SRM: return s->formatted;
	case PROFILE_DVD_RW_RO: return f->type == 0x13 && s->intermediate;
	}
	return false;
}

co_fn enum sense mmc_run_format(struct drive *d, const void *arg, struct scsi_cmd *c)
{
	const struct format_arg *a = arg;
	struct disc *disc = d->disc;
	bool again = a->replay || (!c && d->op.resumed);
	enum disc_status st;

	if (!disc)
		return drive_no_medium(d);
	if (again && format_was_done(disc, &a->format))
		return SENSE_GOOD;
	st = disc_format(disc, &a->format);
	if (st != DISC_OK)
		return whole_disc_error(c, disc, st, SENSE_FORMAT_FAILED);
	drive_profile_changed(d);
	return SENSE_GOOD;
}

/* From the list to *a; the medium is formattable and knows the type. */
static enum sense parse_format(struct scsi_cmd *c, const uint8_t *list, struct format_arg *a)
{
	struct disc *disc = cmd_disc(c);
	const struct disc_state *s = disc_get_state(disc);
	bool fov = fld_get(list, FL_FOV), certify = !(fov && fld_get(list, FL_DCRT));
	unsigned type = fld_get(list, FL_TYPE);
	uint32_t blocks = fld_get(list, FL_BLOCKS);

	if (fov && (fld_get(list, FL_IP) || fld_get(list, FL_TRY_OUT)))
		return scsi_bad_field(c, SENSE_BAD_PARAMETER, fld_byte(FL_IP), 8);
	if (fld_get(list, FL_DESCRIPTOR_LEN) != FL_DESCRIPTOR)
		return scsi_bad_field(c, SENSE_BAD_PARAMETER, fld_byte(FL_DESCRIPTOR_LEN), 8);
	if (!(formats_of(disc_get_profile(disc)->number) >> type & 1))
		return scsi_bad_field(c, SENSE_BAD_PARAMETER, fld_byte(FL_TYPE), 8);
	if (blocks > s->max_blocks && blocks != BLOCKS_MAX)
		return scsi_bad_field(c, SENSE_BAD_PARAMETER, fld_byte(FL_BLOCKS), 8);
	*a = (struct format_arg){
		.format =
			{
				.blocks = blocks,
				.type = (uint8_t)type,
				.subtype = (uint8_t)fld_get(list, FL_SUBTYPE),
				.parameter = fld_get(list, FL_PARAMETER),
			},
		.replay = c->replay,
	};
	a->format.full = type == 0x30 ? a->format.subtype == BD_RE_FULL_CERTIFICATION : certify;
	return SENSE_GOOD;
}

/* BD-R can be formatted once, and only before anything is written. */
static bool is_still_blank(const struct disc *disc)
{
	return !disc_get_state(disc)->formatted && disc_get_state(disc)->status == DISC_BLANK;
}

co_fn enum sense mmc_format_unit(struct scsi_cmd *c)
{
	struct disc *disc = cmd_disc(c);
	const struct disc_state *s = disc_get_state(disc);
	struct format_arg arg;
	uint8_t list[FL_LEN];
	enum sense sense;

	if (!formats_of(disc_get_profile(disc)->number))
		return SENSE_CANNOT_FORMAT;
	if (!fld_get(c->cdb, FMT_DATA) || fld_get(c->cdb, FMT_FMTPINFO) ||
	    fld_get(c->cdb, FMT_LONGLIST) || fld_get(c->cdb, FMT_CODE) != FORMAT_CODE)
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(FMT_DATA), 8);
	if (iovs_get(&c->out, 0, list, FL_LEN) != FL_LEN)
		return SENSE_PARAMETER_LENGTH;
	c->out_done = FL_LEN;
	sense = parse_format(c, list, &arg);
	if (sense != SENSE_GOOD)
		return sense;
	if (disc_get_profile(disc)->method == METHOD_SEQUENTIAL && !is_still_blank(disc) &&
	    !(c->replay && s->formatted))
		return SENSE_CANNOT_FORMAT;
	return mmc_long_op(c, fld_get(list, FL_IMMED), LONG_FORMAT, &arg, sizeof(arg));
}

/* ---- BLANK ---- */

co_fn enum sense mmc_run_blank(struct drive *d, const void *arg, struct scsi_cmd *c)
{
	const struct blank_arg *a = arg;
	struct disc *disc = d->disc;
	enum disc_status st;

	if (!disc)
		return drive_no_medium(d);
	st = disc_blank(disc, a->type);
	if (st != DISC_OK)
		return whole_disc_error(c, disc, st, SENSE_ERASE_FAILURE);
	drive_profile_changed(d);
	return SENSE_GOOD;
}

/*
 * On disks A1h is ATA PASS-THROUGH(12), and careless tools send it here too; what of it overlaps
 * BLANK's reserved bits must not erase a disc.
 */
static bool looks_like_ata(const uint8_t *cdb)
{
	unsigned i;

	if (cdb[1] & 0xe8)
		return true;
	for (i = 6; i < 12; i++)
		if (cdb[i])
			return true;
	return false;
}

co_fn enum sense mmc_blank(struct scsi_cmd *c)
{
	struct blank_arg arg = {fld_get(c->cdb, BLANK_TYPE)};

	if (looks_like_ata(c->cdb))
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, 1, 8);
	switch (disc_get_profile(cmd_disc(c))->number) {
	case PROFILE_CD_RW:
	case PROFILE_DVD_RW_RO:
	case PROFILE_DVD_RW_SEQ: break;
	default: return SENSE_CANNOT_FORMAT;
	}
	if (arg.type > 1) /* the whole disc, fully or minimally; nothing smaller */
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(BLANK_TYPE), 8);
	return mmc_long_op(c, fld_get(c->cdb, BLANK_IMMED), LONG_BLANK, &arg, sizeof(arg));
}
