/*
 * READ TRACK INFORMATION (MMC-6 6.28). The medium knows its tracks; here they are found by address,
 * number or session.
 */
#include "scsi/mmc/media.h"

enum { TRACK_BY_LBA = 0, TRACK_BY_NUMBER = 1, TRACK_BY_SESSION = 2 };

enum {
	TI_LEN = BE16(0),
	TI_TRACK = U8(2),
	TI_SESSION = U8(3),
	TI_DAMAGE = BIT(5, 5),
	TI_COPY = BIT(5, 4),
	TI_MODE = BITS(5, 3, 0),
	TI_RT = BIT(6, 7),
	TI_BLANK = BIT(6, 6),
	TI_PACKET = BIT(6, 5),
	TI_FP = BIT(6, 4),
	TI_DATA_MODE = BITS(6, 3, 0),
	TI_LRA_V = BIT(7, 1),
	TI_NWA_V = BIT(7, 0),
	TI_START = BE32(8),
	TI_NWA = BE32(12),
	TI_FREE = BE32(16),
	TI_PACKET_SIZE = BE32(20),
	TI_SIZE = BE32(24),
	TI_LRA = BE32(28),
	TI_TRACK_MSB = U8(32),
	TI_SESSION_MSB = U8(33),
	TI_READ_COMPAT = BE32(36),
	TI_REPLY = 48,
};

static enum sense reply_track(struct scsi_cmd *c, const struct disc_track_info *t)
{
	uint8_t buf[TI_REPLY] = {0};

	fld_put(buf, TI_LEN, TI_REPLY - 2);
	fld_put(buf, TI_TRACK, t->number & 255);
	fld_put(buf, TI_TRACK_MSB, t->number >> 8);
	fld_put(buf, TI_SESSION, t->session & 255);
	fld_put(buf, TI_SESSION_MSB, t->session >> 8);
	fld_put(buf, TI_DAMAGE, t->damaged);
	fld_put(buf, TI_COPY, t->copy);
	fld_put(buf, TI_MODE, t->control);
	fld_put(buf, TI_RT, t->reserved);
	fld_put(buf, TI_BLANK, t->blank);
	fld_put(buf, TI_PACKET, t->packet);
	fld_put(buf, TI_FP, t->fixed);
	fld_put(buf, TI_DATA_MODE, t->data_mode);
	fld_put(buf, TI_LRA_V, t->lra_valid);
	fld_put(buf, TI_NWA_V, t->nwa_valid);
	fld_put(buf, TI_START, (uint32_t)t->start);
	fld_put(buf, TI_NWA, t->nwa_valid ? (uint32_t)t->nwa : 0);
	fld_put(buf, TI_FREE, t->free_blocks);
	fld_put(buf, TI_PACKET_SIZE, t->packet_size);
	fld_put(buf, TI_SIZE, t->size);
	fld_put(buf, TI_LRA, t->lra_valid ? (uint32_t)t->last_recorded : 0);
	fld_put(buf, TI_READ_COMPAT, t->read_compat);
	return scsi_reply(c, buf, sizeof(buf));
}

/* The first open track from number on; 0: none. */
static unsigned next_open_track(const struct disc *disc, uint32_t number)
{
	unsigned last = disc_last_track(disc);
	struct disc_track_info info;

	for (; number <= last; number++)
		if (disc_get_track_info(disc, number, &info) == DISC_OK && info.nwa_valid)
			return number;
	return 0;
}

/* The first track of session number; 0: there is no such session. */
static unsigned first_track_of(const struct disc *disc, uint32_t number)
{
	const struct disc_state *s = disc_get_state(disc);
	const struct disc_session *session;

	if (number == 0 || number > disc_sessions(disc))
		return 0;
	if (number == disc_sessions(disc))
		return disc_first_track_of_last_session(disc);
	session = state_session(s, number);
	return session ? session->first_track : 0;
}

enum sense mmc_read_track_info(struct scsi_cmd *c)
{
	uint32_t value = fld_get(c->cdb, RTI_ADDRESS);
	struct disc *disc = cmd_disc(c);
	struct disc_track_info info;
	unsigned number = 0;
	int32_t lba;

	switch (fld_get(c->cdb, RTI_TYPE)) {
	case TRACK_BY_LBA:
		if (medium_range(disc, value, 0, &lba))
			number = disc_track_at(disc, lba);
		if (!number)
			return scsi_fail_lba(c, SENSE_LBA_RANGE, value);
		break;
	case TRACK_BY_NUMBER:
		number = value;
		if (fld_get(c->cdb, RTI_OPEN))
			number = next_open_track(disc, value);
		break;
	case TRACK_BY_SESSION: number = first_track_of(disc, value); break;
	default: return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(RTI_TYPE), 8);
	}
	if (!number || disc_get_track_info(disc, number, &info) != DISC_OK)
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(RTI_ADDRESS), 8);
	return reply_track(c, &info);
}
