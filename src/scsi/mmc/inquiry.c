/* INQUIRY (SPC-4 6.4; mmc.md 2.3): standard data and the vital product data pages 00h, 80h and 83h.
 */
#include "scsi/mmc/mmc.h"

#include "scsi/identity.h"

/* clang-format off */
enum {
	INQ_DEVICE_TYPE	= BITS(0, 4, 0),
	INQ_RMB		= BIT(1, 7),
	INQ_VERSION	= U8(2),
	INQ_FORMAT	= BITS(3, 3, 0),
	INQ_ADD_LEN	= U8(4),
	INQ_CMDQUE	= BIT(7, 1),
	INQ_VENDOR	= 8,		/* offsets and lengths of text */
	INQ_VENDOR_LEN	= 8,
	INQ_PRODUCT	= 16,
	INQ_PRODUCT_LEN	= 16,
	INQ_REVISION	= 32,
	INQ_REVISION_LEN = 4,
	INQ_STANDARD_1	= BE16(58),
	INQ_STANDARD_2	= BE16(60),
	INQ_LEN		= 96,

	TYPE_CD_DVD = 5, VERSION_SPC3 = 5, FORMAT_SPC = 2, STANDARD_SPC3 = 0x0300,
	STANDARD_MMC6 = 0x04e0,

	VPD_PAGES = 0x00, VPD_SERIAL = 0x80, VPD_IDENTIFICATION = 0x83,
	VPD_CODE = U8(1), VPD_LEN = BE16(2), VPD_HEAD_LEN = 4, VPD_MAX = 128,

	NO_BIT = 8,
};
/* clang-format on */

static enum sense standard_data(struct scsi_cmd *c)
{
	const struct drive *d = cmd_drive(c);
	uint8_t buf[INQ_LEN] = {0};

	fld_put(buf, INQ_DEVICE_TYPE, TYPE_CD_DVD);
	fld_put(buf, INQ_RMB, 1);
	fld_put(buf, INQ_VERSION, VERSION_SPC3);
	fld_put(buf, INQ_FORMAT, FORMAT_SPC);
	fld_put(buf, INQ_ADD_LEN, INQ_LEN - 5);
	fld_put(buf, INQ_CMDQUE, 1);
	identity_put_text(buf + INQ_VENDOR, d->vendor, INQ_VENDOR_LEN);
	identity_put_text(buf + INQ_PRODUCT, d->product, INQ_PRODUCT_LEN);
	identity_put_text(buf + INQ_REVISION, d->revision, INQ_REVISION_LEN);
	fld_put(buf, INQ_STANDARD_1, STANDARD_SPC3);
	fld_put(buf, INQ_STANDARD_2, STANDARD_MMC6);
	return scsi_reply(c, buf, sizeof(buf));
}

static enum sense vital_product_data(struct scsi_cmd *c, unsigned page)
{
	static const uint8_t pages[] = {VPD_PAGES, VPD_SERIAL, VPD_IDENTIFICATION};
	const struct drive *d = cmd_drive(c);
	uint8_t buf[VPD_MAX] = {TYPE_CD_DVD};
	size_t len;

	switch (page) {
	case VPD_PAGES:
		len = sizeof(pages);
		memcpy(buf + VPD_HEAD_LEN, pages, len);
		break;
	case VPD_SERIAL:
		len = strlen(d->serial);
		memcpy(buf + VPD_HEAD_LEN, d->serial, len);
		break;
	case VPD_IDENTIFICATION:
		len = identity_put_descriptors(buf + VPD_HEAD_LEN, d->vendor, d->product,
					       d->serial);
		break;
	default: return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(INQ_PAGE), NO_BIT);
	}
	fld_put(buf, VPD_CODE, page);
	fld_put(buf, VPD_LEN, (uint32_t)len);
	return scsi_reply(c, buf, VPD_HEAD_LEN + len);
}

enum sense mmc_inquiry(struct scsi_cmd *c)
{
	unsigned page = fld_get(c->cdb, INQ_PAGE);

	if (fld_get(c->cdb, INQ_EVPD))
		return vital_product_data(c, page);
	if (page != 0)
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(INQ_PAGE), NO_BIT);
	return standard_data(c);
}
