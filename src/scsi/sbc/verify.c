/* VERIFY and COMPARE AND WRITE (SBC-3 5.29 ff., 5.2): what looks at the data on the medium. */
#include "scsi/sbc/sbc.h"

#include <errno.h>

enum { BYTCHK_NONE = 0, BYTCHK_ALL = 1, BYTCHK_ONE = 3 };

/* The same block again and again: is each of those in the buffer like it? */
static size_t equal_to_one(const struct iovs *block, const uint8_t *buf, size_t len, size_t size)
{
	for (size_t at = 0; at < len; at += size) {
		size_t same = iovs_equal(block, 0, buf + at, size);

		if (same < size)
			return at + same;
	}
	return len;
}

co_fn enum sense sbc_verify_range(struct scsi_cmd *c, const struct sbc_range *r, unsigned bytchk)
{
	struct scsi_disk *d = cmd_disk(c);
	uint64_t len = r->blocks * d->block_size, off = r->lba * d->block_size, at = 0;

	while (at < len) {
		size_t n = (size_t)MIN(len - at, (uint64_t)SBC_SCRATCH_LEN), same = n;
		int res = -ECANCELED;

		co_mutex_lock(&d->scratch_lock);
		if (!c->aborted)
			res = block_pread(d->node, off + at, d->scratch, n);
		if (res == 0 && bytchk == BYTCHK_ALL)
			same = iovs_equal(&c->out, (size_t)at, d->scratch, n);
		else if (res == 0 && bytchk == BYTCHK_ONE)
			same = equal_to_one(&c->out, d->scratch, n, d->block_size);
		co_mutex_unlock(&d->scratch_lock);
		if (res < 0) {
			return sbc_read_failed(c, res,
					       &(struct sbc_range){r->lba + at / d->block_size,
								   n / d->block_size});
		}
		if (same < n)
			return sbc_fail_lba(c, SENSE_MISCOMPARE,
					    r->lba + (at + same) / d->block_size);
		at += n;
	}
	return SENSE_GOOD;
}

static co_fn enum sense verify(struct scsi_cmd *c, enum sbc_cdb_form form, int blocks_field)
{
	struct sbc_range r = sbc_cdb_range(c, form);
	unsigned bytchk = fld_get(c->cdb, RW_BYTCHK);
	enum sense s = sbc_check_protect(c);
	uint64_t sent;

	if (s == SENSE_GOOD)
		s = sbc_check_range(c, &r);
	if (s != SENSE_GOOD)
		return s;
	if (bytchk != BYTCHK_NONE && bytchk != BYTCHK_ALL && bytchk != BYTCHK_ONE)
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(RW_BYTCHK), 2);
	if (bytchk == BYTCHK_ALL && r.blocks > sbc_transfer_max(cmd_disk(c)))
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(blocks_field), SBC_NO_BIT);
	if (!r.blocks)
		return SENSE_GOOD;
	sent = bytchk == BYTCHK_ALL ? r.blocks : bytchk == BYTCHK_ONE ? 1 : 0;
	if (c->out.len < sent * cmd_disk(c)->block_size)
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(blocks_field), SBC_NO_BIT);
	c->out_done = (size_t)sent * cmd_disk(c)->block_size;
	return sbc_verify_range(c, &r, bytchk);
}

co_fn enum sense sbc_verify10(struct scsi_cmd *c)
{
	return verify(c, SBC_10, RW10_BLOCKS);
}

co_fn enum sense sbc_verify12(struct scsi_cmd *c)
{
	return verify(c, SBC_12, RW12_BLOCKS);
}

co_fn enum sense sbc_verify16(struct scsi_cmd *c)
{
	return verify(c, SBC_16, RW16_BLOCKS);
}

/* ---- COMPARE AND WRITE ---- */

uint32_t sbc_compare_max(const struct scsi_disk *d)
{
	return MIN(SBC_SCRATCH_LEN / d->block_size, (unsigned)UINT8_MAX);
}

static enum sense check_compare(struct scsi_cmd *c, const struct sbc_range *r)
{
	struct scsi_disk *d = cmd_disk(c);
	enum sense s = sbc_check_protect(c);

	if (s != SENSE_GOOD)
		return s;
	if (r->blocks > sbc_compare_max(d) || c->out.len < 2 * r->blocks * d->block_size)
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(CAW_BLOCKS), SBC_NO_BIT);
	return sbc_check_range(c, r);
}

/*
 * The unit is ours alone. One that may have been carried out by a process that died is done if the
 * medium has what it would write.
 */
co_fn enum sense sbc_compare_and_write(struct scsi_cmd *c)
{
	struct scsi_disk *d = cmd_disk(c);
	struct sbc_range r = {fld_get64(c->cdb, RW16_LBA), fld_get(c->cdb, CAW_BLOCKS)};
	enum sense s = check_compare(c, &r);
	size_t len = (size_t)r.blocks * d->block_size, same;
	bool done_before;
	int res;

	if (s != SENSE_GOOD || !len)
		return s;
	co_mutex_lock(&d->scratch_lock);
	res = block_pread(d->node, r.lba * d->block_size, d->scratch, len);
	same = res == 0 ? iovs_equal(&c->out, 0, d->scratch, len) : 0;
	done_before = res == 0 && c->replay && iovs_equal(&c->out, len, d->scratch, len) == len;
	if (res == 0 && same == len) {
		iovs_get(&c->out, len, d->scratch, len);
		res = block_pwrite(d->node, r.lba * d->block_size, d->scratch, len,
				   sbc_write_flags(d, fld_get(c->cdb, RW_FUA)));
		co_mutex_unlock(&d->scratch_lock);
		if (res < 0)
			return sbc_write_failed(c, res, r.lba);
		c->out_done = 2 * len;
		return SENSE_GOOD;
	}
	co_mutex_unlock(&d->scratch_lock);
	if (res < 0)
		return sbc_read_failed(c, res, &r);
	c->out_done = 2 * len;
	return done_before ? SENSE_GOOD : scsi_fail_lba(c, SENSE_MISCOMPARE, (uint32_t)same);
}
