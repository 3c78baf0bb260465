/* Bytes of a write log; see blklog_format.h. All numbers are little-endian. */
#include "block/blklog_format.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/err.h"

enum { /* header */
       HEAD_MAGIC = 0,
       HEAD_VERSION = 8,
       HEAD_OWN_LEN = 12,
       HEAD_DISK_LENGTH = 16,
       HEAD_CRC = 60, /* of what is before it */
};

enum { /* record */
       REC_MAGIC = 0,
       REC_KIND = 4,
       REC_FLAGS = 6,
       REC_OFF = 8,
       REC_LEN = 16,
       REC_NUMBER = 24,
       REC_DATA_CRC = 32,
       REC_CRC = 36, /* of what is before it */
};

enum { VERSION = 1, FLAG_FUA = 1, RECORD_MAGIC = 0x474f4c57 };

static const char magic[8] = {'O', 'B', 'W', 'R', 'T', 'L', 'O', 'G'};

/* Numbers in the file: they stay whatever the enum does. */
static const uint16_t kinds[] = {
	[BLKLOG_WRITE] = 1,    [BLKLOG_ZERO] = 2,  [BLKLOG_TRUNCATE] = 3,
	[BLKLOG_ALLOCATE] = 4, [BLKLOG_FLUSH] = 5, [BLKLOG_MARK] = 6,
};

void blklog_put_head(uint8_t *out, uint64_t disk_length)
{
	memset(out, 0, BLKLOG_HEAD_LEN);
	memcpy(out + HEAD_MAGIC, magic, sizeof(magic));
	put_le32(out + HEAD_VERSION, VERSION);
	put_le32(out + HEAD_OWN_LEN, BLKLOG_HEAD_LEN);
	put_le64(out + HEAD_DISK_LENGTH, disk_length);
	put_le32(out + HEAD_CRC, crc32c(0, out, HEAD_CRC));
}

bool blklog_get_head(const uint8_t *in, uint64_t *disk_length, GError **error)
{
	if (memcmp(in + HEAD_MAGIC, magic, sizeof(magic)) != 0)
		return err_set(error, EINVAL, "is no write log");
	if (get_le32(in + HEAD_CRC) != crc32c(0, in, HEAD_CRC))
		return err_set(error, EINVAL, "the header of the write log is damaged");
	if (get_le32(in + HEAD_VERSION) != VERSION ||
	    get_le32(in + HEAD_OWN_LEN) != BLKLOG_HEAD_LEN) {
		return err_set(error, ENOTSUP,
			       "version %" PRIu32 " of the write log at offset %d, must be %d",
			       get_le32(in + HEAD_VERSION), HEAD_VERSION, VERSION);
	}
	*disk_length = get_le64(in + HEAD_DISK_LENGTH);
	return true;
}

void blklog_put_record(uint8_t *out, const struct blklog_entry *entry, uint64_t number)
{
	uint32_t crc = entry->data ? crc32c(0, entry->data, blklog_data_len(entry)) : 0;

	put_le32(out + REC_MAGIC, RECORD_MAGIC);
	put_le16(out + REC_KIND, kinds[entry->kind]);
	put_le16(out + REC_FLAGS, entry->fua ? FLAG_FUA : 0);
	put_le64(out + REC_OFF, entry->off);
	put_le64(out + REC_LEN, entry->len);
	put_le64(out + REC_NUMBER, number);
	put_le32(out + REC_DATA_CRC, crc);
	put_le32(out + REC_CRC, crc32c(0, out, REC_CRC));
}

bool blklog_get_record(const uint8_t *in, uint64_t there, uint64_t number,
		       struct blklog_entry *entry, uint32_t *data_crc)
{
	struct blklog_entry e = {0};
	unsigned kind = 0;

	if (there < BLKLOG_RECORD_LEN || get_le32(in + REC_MAGIC) != RECORD_MAGIC ||
	    get_le32(in + REC_CRC) != crc32c(0, in, REC_CRC) || get_le64(in + REC_NUMBER) != number)
		return false;
	while (kind < G_N_ELEMENTS(kinds) && kinds[kind] != get_le16(in + REC_KIND))
		kind++;
	if (kind == G_N_ELEMENTS(kinds))
		return false;
	e.kind = (enum blklog_kind)kind;
	e.fua = get_le16(in + REC_FLAGS) & FLAG_FUA;
	e.off = get_le64(in + REC_OFF);
	e.len = get_le64(in + REC_LEN);
	if (blklog_data_len(&e) > there - BLKLOG_RECORD_LEN)
		return false;
	*data_crc = get_le32(in + REC_DATA_CRC);
	*entry = e;
	return true;
}
