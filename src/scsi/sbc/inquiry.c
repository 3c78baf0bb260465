/* INQUIRY (SPC-4 6.6): standard data and vital product data. */
#include "scsi/sbc/sbc.h"

#include "base/bytes.h"

/* clang-format off */
enum {
	INQ_VERSION = U8(2), INQ_HISUP = BIT(3, 4), INQ_FORMAT = BITS(3, 3, 0), INQ_ADD_LEN = U8(4),
	INQ_CMDQUE = BIT(7, 1), INQ_VENDOR = 8, INQ_PRODUCT = 16, INQ_REVISION = 32,
	INQ_STANDARD_1 = BE16(58), INQ_STANDARD_2 = BE16(60), INQ_STANDARD_3 = BE16(62),
	INQ_LEN = 96,
	VERSION_SPC4 = 6, FORMAT_SPC = 2,
	STANDARD_SAM5 = 0x00a0, STANDARD_SPC4 = 0x0460, STANDARD_SBC3 = 0x04c0,

	VPD_CODE = U8(1), VPD_LEN = BE16(2), VPD_HEAD_LEN = 4, VPD_MAX = 128,
};
/* clang-format on */

static enum sense standard_data(struct scsi_cmd *c)
{
	const struct scsi_disk *d = cmd_disk(c);
	uint8_t buf[INQ_LEN] = {0}; /* device type 0 */

	fld_put(buf, INQ_VERSION, VERSION_SPC4);
	fld_put(buf, INQ_HISUP, 1);
	fld_put(buf, INQ_FORMAT, FORMAT_SPC);
	fld_put(buf, INQ_ADD_LEN, INQ_LEN - 5);
	fld_put(buf, INQ_CMDQUE, 1);
	identity_put_text(buf + INQ_VENDOR, d->vendor, IDENTITY_VENDOR_LEN);
	identity_put_text(buf + INQ_PRODUCT, d->product, IDENTITY_PRODUCT_LEN);
	identity_put_text(buf + INQ_REVISION, d->revision, IDENTITY_REVISION_LEN);
	fld_put(buf, INQ_STANDARD_1, STANDARD_SAM5);
	fld_put(buf, INQ_STANDARD_2, STANDARD_SPC4);
	fld_put(buf, INQ_STANDARD_3, STANDARD_SBC3);
	return scsi_reply(c, buf, sizeof(buf));
}

static size_t put_serial(const struct scsi_disk *d, uint8_t *out)
{
	size_t len = strlen(d->serial);

	memcpy(out, d->serial, len);
	return len;
}

static size_t put_identification(const struct scsi_disk *d, uint8_t *out)
{
	return identity_put_descriptors(out, d->vendor, d->product, d->serial);
}

static size_t put_pages(const struct scsi_disk *d, uint8_t *out);

/* In ascending order; each fills in what stands behind the page's head and returns its length. */
static const struct {
	uint8_t code;
	size_t (*put)(const struct scsi_disk *d, uint8_t *out);
} pages[] = {
	{0x00, put_pages},
	{0x80, put_serial},
	{0x83, put_identification},
	{0xb0, sbc_put_limits},
	{0xb1, sbc_put_characteristics},
	{0xb2, sbc_put_provisioning},
};

static size_t put_pages(const struct scsi_disk *d, uint8_t *out)
{
	(void)d;
	for (unsigned i = 0; i < G_N_ELEMENTS(pages); i++)
		out[i] = pages[i].code;
	return G_N_ELEMENTS(pages);
}

static enum sense vital_product_data(struct scsi_cmd *c, unsigned page)
{
	uint8_t buf[VPD_MAX] = {0};
	size_t len;

	for (unsigned i = 0; i < G_N_ELEMENTS(pages); i++) {
		if (pages[i].code != page)
			continue;
		len = pages[i].put(cmd_disk(c), buf + VPD_HEAD_LEN);
		fld_put(buf, VPD_CODE, page);
		fld_put(buf, VPD_LEN, (uint32_t)len);
		return scsi_reply(c, buf, VPD_HEAD_LEN + len);
	}
	return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(INQ_PAGE), SBC_NO_BIT);
}

enum sense sbc_inquiry(struct scsi_cmd *c)
{
	unsigned page = fld_get(c->cdb, INQ_PAGE);

	if (fld_get(c->cdb, INQ_EVPD))
		return vital_product_data(c, page);
	if (page != 0)
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(INQ_PAGE), SBC_NO_BIT);
	return standard_data(c);
}
