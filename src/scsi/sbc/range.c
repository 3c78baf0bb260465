/*
 * Ranges of blocks in CDBs, and what the node's errors are as sense: the one table.
 */
#include "scsi/sbc/sbc.h"

#include <errno.h>

#include "base/bytes.h"

struct sbc_range sbc_cdb_range(const struct scsi_cmd *c, enum sbc_cdb_form form)
{
	enum { READ6_ZERO_MEANS = 256 };
	const uint8_t *cdb = c->cdb;
	struct sbc_range r = {0, 0};

	switch (form) {
	case SBC_6:
		r.lba = (uint64_t)fld_get(cdb, RW6_LBA_HIGH) << 16 | fld_get(cdb, RW6_LBA);
		r.blocks = fld_get(cdb, RW6_BLOCKS);
		if (!r.blocks)
			r.blocks = READ6_ZERO_MEANS;
		break;
	case SBC_10:
		r.lba = fld_get(cdb, RW10_LBA);
		r.blocks = fld_get(cdb, RW10_BLOCKS);
		break;
	case SBC_12:
		r.lba = fld_get(cdb, RW12_LBA);
		r.blocks = fld_get(cdb, RW12_BLOCKS);
		break;
	case SBC_16:
		r.lba = fld_get64(cdb, RW16_LBA);
		r.blocks = fld_get(cdb, RW16_BLOCKS);
		break;
	}
	return r;
}

enum sense sbc_fail_lba(struct scsi_cmd *c, enum sense code, uint64_t lba)
{
	return lba <= UINT32_MAX ? scsi_fail_lba(c, code, (uint32_t)lba) : code;
}

enum sense sbc_check_range(struct scsi_cmd *c, const struct sbc_range *r)
{
	uint64_t blocks = disk_blocks(cmd_disk(c));

	if (r->lba > blocks)
		return sbc_fail_lba(c, SENSE_LBA_RANGE, r->lba);
	if (r->blocks > blocks - r->lba)
		return sbc_fail_lba(c, SENSE_LBA_RANGE, blocks);
	return SENSE_GOOD;
}

enum sense sbc_check_protect(struct scsi_cmd *c)
{
	if (!fld_get(c->cdb, RW_PROTECT))
		return SENSE_GOOD;
	return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(RW_PROTECT), 7);
}

/* ---- errors ---- */

/* clang-format off */
static const struct {
	int errnum;
	enum sense reading, writing;
} table[] = {
	{ EIO,		SENSE_UNRECOVERED_READ,	SENSE_WRITE_ERROR },
	{ ENOSPC,	SENSE_UNRECOVERED_READ,	SENSE_SPACE_ALLOCATION },
	{ EDQUOT,	SENSE_UNRECOVERED_READ,	SENSE_SPACE_ALLOCATION },
	{ EFBIG,	SENSE_UNRECOVERED_READ,	SENSE_SPACE_ALLOCATION },
	{ EROFS,	SENSE_UNRECOVERED_READ,	SENSE_WRITE_PROTECTED },
	{ EPERM,	SENSE_UNRECOVERED_READ,	SENSE_WRITE_PROTECTED },
	{ EACCES,	SENSE_UNRECOVERED_READ,	SENSE_WRITE_PROTECTED },
	{ EINVAL,	SENSE_LBA_RANGE,	SENSE_LBA_RANGE },	/* it shrank meanwhile */
	{ ECANCELED,	SENSE_ABORTED,		SENSE_ABORTED },
	{ ENOMEM,	SENSE_ABORTED,		SENSE_ABORTED },	/* worth another try */
	{ EAGAIN,	SENSE_ABORTED,		SENSE_ABORTED },
};
/* clang-format on */

/* Anything else has to do with the way to the medium. */
static enum sense translate(int res, bool write)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(table); i++) {
		if (table[i].errnum == -res)
			return write ? table[i].writing : table[i].reading;
	}
	return SENSE_INTERNAL_FAILURE;
}

static void log_failure(struct scsi_disk *d, const char *what, int res, uint64_t lba)
{
	if (res != -ECANCELED) {
		log_limited(&d->limit, LOG_ERROR, d->lu.name,
			    "%s %s at block %" G_GUINT64_FORMAT ": %s", what, block_name(d->node),
			    lba, g_strerror(-res));
	}
}

/*
 * Which block of the range cannot be read: large steps, and single blocks in the one that fails.
 * What cannot be found again (it was a passing fault) counts as the first.
 */
static co_fn uint64_t find_bad_block(struct scsi_cmd *c, const struct sbc_range *r)
{
	struct scsi_disk *d = cmd_disk(c);
	uint64_t step = SBC_SCRATCH_LEN / d->block_size, at = 0, large = step;
	bool found = false;

	co_mutex_lock(&d->scratch_lock);
	while (at < r->blocks && !found && !c->aborted) {
		uint64_t n = MIN(step, r->blocks - at);
		int res = block_pread(d->node, (r->lba + at) * d->block_size, d->scratch,
				      n * d->block_size);

		if (res == 0) {
			at += n;
			if (at % large == 0)
				step = large;
		} else if (n == 1) {
			found = true;
		} else {
			step = 1;
		}
	}
	co_mutex_unlock(&d->scratch_lock);
	return r->lba + (found ? at : 0);
}

co_fn enum sense sbc_read_failed(struct scsi_cmd *c, int res, const struct sbc_range *r)
{
	enum sense s = translate(res, false);
	uint64_t lba = s == SENSE_UNRECOVERED_READ ? find_bad_block(c, r) : r->lba;

	log_failure(cmd_disk(c), "reading", res, lba);
	return sbc_fail_lba(c, s, lba);
}

enum sense sbc_write_failed(struct scsi_cmd *c, int res, uint64_t lba)
{
	log_failure(cmd_disk(c), "writing", res, lba);
	return sbc_fail_lba(c, translate(res, true), lba);
}
