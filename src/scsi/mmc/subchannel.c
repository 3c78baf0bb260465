/*
 * READ SUB-CHANNEL and READ HEADER (MMC-6 annex, mmc.md 2.17, 2.18): catalogue number, ISRC, and
 * the mode of a block.
 *
 * Nothing is ever played here, so the current position is where the disc begins.
 */
#include "scsi/mmc/media.h"

enum { SUB_POSITION = 1, SUB_MCN = 2, SUB_ISRC = 3, AUDIO_NO_STATUS = 0x15, ADR_POSITION = 1 };

enum { /* header, and the blocks after it */
       SC_STATUS = U8(1),
       SC_LEN = BE16(2),
       SC_HEADER = 4,
       SC_FORMAT = U8(4),
       SC_ADR = BITS(5, 7, 4),
       SC_CONTROL = BITS(5, 3, 0),
       SC_TRACK = U8(6),
       SC_INDEX = U8(7),
       SC_ABSOLUTE = 8,
       SC_RELATIVE = 12,
       SC_POSITION = 16,
       SC_VALID = BIT(8, 7),
       SC_TEXT = 9,
       SC_CODE = 24,
       SC_MAX = SC_CODE,
       MCN_LEN = 13,
       ISRC_LEN = 12,
       SESSION_MCN_VALID = 1, /* disc_session.flags */
};

enum { /* READ HEADER */
       RH_MODE = U8(0),
       RH_ADDRESS = 4,
       RH_LEN = 8,
};

static enum sense reply_sub(struct scsi_cmd *c, uint8_t *buf, size_t len)
{
	fld_put(buf, SC_STATUS, AUDIO_NO_STATUS);
	fld_put(buf, SC_LEN, (uint32_t)len - SC_HEADER);
	return scsi_reply(c, buf, len);
}

static enum sense reply_position(struct scsi_cmd *c)
{
	bool msf = fld_get(c->cdb, RSC_MSF);
	uint8_t buf[SC_MAX] = {0};
	struct disc_track_info info;

	fld_put(buf, SC_FORMAT, SUB_POSITION);
	if (disc_get_track_info(cmd_disc(c), 1, &info) == DISC_OK && !info.blank) {
		fld_put(buf, SC_ADR, ADR_POSITION);
		fld_put(buf, SC_CONTROL, info.control);
		fld_put(buf, SC_TRACK, 1);
		fld_put(buf, SC_INDEX, 1);
	}
	put_address(buf + SC_ABSOLUTE, 0, msf);
	put_address(buf + SC_RELATIVE, msf ? -CD_PREGAP : 0, msf); /* a distance: 0:00:00 */
	return reply_sub(c, buf, SC_POSITION);
}

static enum sense reply_mcn(struct scsi_cmd *c)
{
	const struct disc_state *s = disc_get_state(cmd_disc(c));
	uint8_t buf[SC_MAX] = {0};
	unsigned i;

	fld_put(buf, SC_FORMAT, SUB_MCN);
	for (i = 1; i <= s->sessions->len; i++) {
		const struct disc_session *session = state_session(s, i);

		if (!(session->flags & SESSION_MCN_VALID))
			continue;
		fld_put(buf, SC_VALID, 1);
		memcpy(buf + SC_TEXT, session->mcn, MCN_LEN);
		break;
	}
	return reply_sub(c, buf, SC_CODE);
}

static enum sense reply_isrc(struct scsi_cmd *c)
{
	unsigned number = fld_get(c->cdb, RSC_TRACK);
	const struct disc_track *track = state_track(disc_get_state(cmd_disc(c)), number);
	uint8_t buf[SC_MAX] = {0};

	if (!track)
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(RSC_TRACK), 8);
	fld_put(buf, SC_FORMAT, SUB_ISRC);
	fld_put(buf, SC_ADR, ADR_POSITION);
	fld_put(buf, SC_CONTROL, track->control);
	fld_put(buf, SC_TRACK, number);
	if (track->isrc[0]) {
		fld_put(buf, SC_VALID, 1);
		memcpy(buf + SC_TEXT, track->isrc, ISRC_LEN);
	}
	return reply_sub(c, buf, SC_CODE);
}

enum sense mmc_read_subchannel(struct scsi_cmd *c)
{
	uint8_t header[SC_HEADER] = {0};

	if (!fld_get(c->cdb, RSC_SUBQ))
		return reply_sub(c, header, sizeof(header));
	if (!medium_is_cd(cmd_disc(c)))
		return SENSE_CANNOT_READ_FORMAT;
	switch (fld_get(c->cdb, RSC_FORMAT)) {
	case SUB_POSITION: return reply_position(c);
	case SUB_MCN: return reply_mcn(c);
	case SUB_ISRC: return reply_isrc(c);
	}
	return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(RSC_FORMAT), 8);
}

co_fn enum sense mmc_read_header(struct scsi_cmd *c)
{
	uint32_t address = fld_get(c->cdb, RHDR_LBA);
	uint8_t sector[SECTOR_RAW], buf[RH_LEN] = {0};
	struct disc *disc = cmd_disc(c);
	struct disc_sector what = {0};
	enum disc_status st;
	int32_t lba;

	if (!medium_is_cd(disc))
		return SENSE_CANNOT_READ_FORMAT;
	if (!medium_range(disc, address, 1, &lba))
		return scsi_fail_lba(c, SENSE_LBA_RANGE, address);
	st = disc_read_raw(disc, lba, sector, &what);
	if (st != DISC_OK)
		return mmc_from_disc(c, disc, st);
	if (what.audio)
		return scsi_fail_lba(c, SENSE_ILLEGAL_TRACK_MODE, address);
	fld_put(buf, RH_MODE, what.mode);
	put_address(buf + RH_ADDRESS, lba, fld_get(c->cdb, RHDR_MSF));
	return scsi_reply(c, buf, sizeof(buf));
}
