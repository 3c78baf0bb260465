/* REPORT KEY, SEND KEY: nothing is protected, only the region state exists. SET READ AHEAD. */
#include "scsi/mmc/mmc.h"

#include "base/bytes.h"

/* clang-format off */
enum {
	CLASS_CSS = 0,
	FORMAT_RPC_STATE = 0x08, FORMAT_INVALIDATE_AGID = 0x3f,

	RPC_LEN		= BE16(0),
	RPC_VENDOR_LEFT	= BITS(4, 5, 3),
	RPC_USER_LEFT	= BITS(4, 2, 0),
	RPC_MASK	= U8(5),
	RPC_SCHEME	= U8(6),
	RPC_TOTAL_LEN	= 8,
	VENDOR_RESETS = 4, USER_CHANGES = 5, NO_REGION = 0xff, SCHEME_RPC2 = 1,
	NO_BIT = 8,
};
/* clang-format on */

enum sense mmc_report_key(struct scsi_cmd *c)
{
	uint8_t buf[RPC_TOTAL_LEN] = {0};

	if (fld_get(c->cdb, KEY_CLASS) != CLASS_CSS)
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(KEY_CLASS), NO_BIT);
	switch (fld_get(c->cdb, KEY_FORMAT)) {
	case FORMAT_RPC_STATE:
		fld_put(buf, RPC_LEN, RPC_TOTAL_LEN - 2);
		fld_put(buf, RPC_VENDOR_LEFT, VENDOR_RESETS);
		fld_put(buf, RPC_USER_LEFT, USER_CHANGES);
		fld_put(buf, RPC_MASK, NO_REGION);
		fld_put(buf, RPC_SCHEME, SCHEME_RPC2);
		return scsi_reply(c, buf, sizeof(buf));
	case FORMAT_INVALIDATE_AGID: return SENSE_GOOD;
	default: return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(KEY_FORMAT), 5);
	}
}

/* Every format would need a key that no medium here has. */
enum sense mmc_send_key(struct scsi_cmd *c)
{
	return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(KEY_FORMAT), 5);
}

/* A hint, and nothing to do: the host's page cache reads ahead. */
enum sense mmc_set_read_ahead(struct scsi_cmd *c)
{
	(void)c;
	return SENSE_GOOD;
}
