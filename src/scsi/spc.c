/* What every logical unit has, and what answers where there is none (SPC-4; mmc.md 1.1, 2.2). */
#include "scsi/table.h"

#include "base/bytes.h"

/* clang-format off */
enum {
	OP_REQUEST_SENSE = 0x03, OP_INQUIRY = 0x12, OP_REPORT_LUNS = 0xa0,
	SENSE_ALLOC = U8(4), INQUIRY_ALLOC = BE16(3), LUNS_ALLOC = BE32(6),

	LUNS_SELECT = U8(2), SELECT_WELL_KNOWN = 1, SELECT_ALL = 2,
	LUNS_HEAD_LEN = 8, LUNS_ENTRY_LEN = 8,

	INQUIRY_LEN = 36, INQUIRY_NO_DEVICE = 0x7f, INQUIRY_ADD_LEN = U8(4),
};
/* clang-format on */

/* What happened last; else what is pending; else what the unit is doing. Never fails. */
enum sense scsi_request_sense(struct scsi_cmd *c)
{
	struct scsi_nexus *nexus = c->nexus;
	uint8_t buf[SCSI_SENSE_LEN];
	enum sense s = SENSE_GOOD;

	if (nexus->sense_len > 0) {
		memcpy(buf, nexus->sense, sizeof(buf));
		nexus->sense_len = 0;
		return scsi_reply(c, buf, sizeof(buf));
	}
	if (nexus->n_ua > 0)
		s = scsi_nexus_take_attention(nexus);
	else if (nexus->deferred != SENSE_GOOD)
		s = scsi_nexus_take_deferred(nexus, c);
	else if (c->lu->ops->state_sense)
		s = c->lu->ops->state_sense(c->lu, c);
	scsi_build_sense(buf, s, c);
	return scsi_reply(c, buf, sizeof(buf));
}

enum sense scsi_report_luns(struct scsi_cmd *c)
{
	uint8_t buf[LUNS_HEAD_LEN + LUNS_ENTRY_LEN] = {0}; /* the entry: LUN 0 */
	unsigned select = fld_get(c->cdb, LUNS_SELECT);

	if (select > SELECT_ALL)
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(LUNS_SELECT), 8);
	if (select == SELECT_WELL_KNOWN)
		return scsi_reply(c, buf, LUNS_HEAD_LEN);
	put_be32(buf, LUNS_ENTRY_LEN);
	return scsi_reply(c, buf, sizeof(buf));
}

void scsi_execute_bad_lun(struct scsi_cmd *c)
{
	uint8_t inquiry[INQUIRY_LEN] = {INQUIRY_NO_DEVICE};
	uint8_t sense[SCSI_SENSE_LEN];
	enum sense s = SENSE_BAD_LUN;

	c->lu = c->nexus->lu;
	c->in_done = c->out_done = 0;
	c->sense_len = 0;
	memset(&c->detail, 0, sizeof(c->detail));
	switch (c->cdb[0]) {
	case OP_INQUIRY:
		fld_put(inquiry, INQUIRY_ADD_LEN, INQUIRY_LEN - 5);
		c->alloc_len = fld_get(c->cdb, INQUIRY_ALLOC);
		s = scsi_reply(c, inquiry, sizeof(inquiry));
		break;
	case OP_REQUEST_SENSE:
		scsi_build_sense(sense, SENSE_BAD_LUN, NULL);
		c->alloc_len = fld_get(c->cdb, SENSE_ALLOC);
		s = scsi_reply(c, sense, sizeof(sense));
		break;
	case OP_REPORT_LUNS:
		c->alloc_len = fld_get(c->cdb, LUNS_ALLOC);
		s = scsi_report_luns(c);
		break;
	}
	c->status = s == SENSE_GOOD ? SCSI_GOOD : SCSI_CHECK;
	if (s != SENSE_GOOD) {
		scsi_build_sense(c->sense, s, c);
		c->sense_len = SCSI_SENSE_LEN;
	}
}
