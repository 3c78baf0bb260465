/*
 * The drive's buffer as hosts see it: READ BUFFER CAPACITY, READ BUFFER, WRITE BUFFER (MMC-6 6.19,
 * SPC-4). Writes are stored before they are answered, so all of it is always free.
 */
#include "scsi/mmc/media.h"

enum { BUFFER_BYTES = 4 << 20 }; /* as in mode page 2Ah */

enum { /* READ BUFFER CAPACITY reply */
       RBC_LEN = BE16(0),
       RBC_REPLY_BLOCK = BIT(3, 0),
       RBC_SIZE = BE32(4),
       RBC_FREE = BE32(8),
       RBC_REPLY = 12,
};

enum {
	BUFFER_MODE_COMBINED = 0,
	BUFFER_MODE_DATA = 2,
	BUFFER_MODE_DESCRIPTOR = 3,
	BUFFER_HEADER = 4
};

enum sense mmc_read_buffer_capacity(struct scsi_cmd *c)
{
	bool block = fld_get(c->cdb, RBC_BLOCK);
	uint32_t size = block ? BUFFER_BYTES / BLOCK_BYTES : BUFFER_BYTES;
	uint8_t buf[RBC_REPLY] = {0};

	fld_put(buf, RBC_LEN, RBC_REPLY - 2);
	fld_put(buf, RBC_REPLY_BLOCK, block);
	fld_put(buf, RBC_SIZE, size);
	fld_put(buf, RBC_FREE, size);
	return scsi_reply(c, buf, sizeof(buf));
}

/* The SPC buffer, which is not the write cache, has no room: header and descriptor say so. */
enum sense mmc_read_buffer(struct scsi_cmd *c)
{
	static const uint8_t header[BUFFER_HEADER];

	switch (fld_get(c->cdb, BUF_MODE)) {
	case BUFFER_MODE_COMBINED:
	case BUFFER_MODE_DESCRIPTOR: return scsi_reply(c, header, sizeof(header));
	case BUFFER_MODE_DATA: return SENSE_GOOD;
	}
	return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(BUF_MODE), 8);
}

enum sense mmc_write_buffer(struct scsi_cmd *c)
{
	unsigned mode = fld_get(c->cdb, BUF_MODE);
	uint32_t len = fld_get(c->cdb, BUF_LEN);

	if (mode != BUFFER_MODE_COMBINED && mode != BUFFER_MODE_DATA)
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(BUF_MODE), 8);
	if (len > (mode == BUFFER_MODE_COMBINED ? BUFFER_HEADER : 0))
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(BUF_LEN), 8);
	c->out_done = MIN(len, c->out.len);
	return SENSE_GOOD;
}
