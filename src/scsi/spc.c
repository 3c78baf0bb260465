/* What every logical unit has (SPC-4; mmc.md 1.1, 2.2). */
#include "scsi/table.h"

#include "base/bytes.h"

/* clang-format off */
enum {
	LUNS_SELECT = U8(2), SELECT_WELL_KNOWN = 1, SELECT_ALL = 2,
	LUNS_HEAD_LEN = 8, LUNS_ENTRY_LEN = 8,
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
