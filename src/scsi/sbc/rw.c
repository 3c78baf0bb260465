/*
 * READ, WRITE and WRITE AND VERIFY (SBC-3 5.11 ff., 5.32 ff.): straight between the initiator's
 * pieces and the node.
 */
#include "scsi/sbc/sbc.h"

#include <errno.h>

/*
 * The first len bytes of a longer list: its last piece is shortened while the node works with it.
 * The list is the command's own until it ended.
 */
struct cut {
	struct iovs iovs;
	size_t was; /* length of the last piece */
};

static void cut_begin(struct cut *cut, const struct iovs *whole, size_t len)
{
	size_t left = len;
	unsigned n = 0;

	cut->iovs = *whole;
	cut->was = 0;
	if (len == whole->len)
		return;
	while (left > whole->v[n].iov_len)
		left -= whole->v[n++].iov_len;
	cut->was = whole->v[n].iov_len;
	whole->v[n].iov_len = left;
	cut->iovs.n = n + 1;
	cut->iovs.len = len;
}

static void cut_end(struct cut *cut)
{
	if (cut->was)
		cut->iovs.v[cut->iovs.n - 1].iov_len = cut->was;
}

static enum sense check_transfer(struct scsi_cmd *c, const struct sbc_range *r, int blocks_field)
{
	enum sense s;

	if (r->blocks > sbc_transfer_max(cmd_disk(c)))
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(blocks_field), SBC_NO_BIT);
	s = sbc_check_range(c, r);
	return s == SENSE_GOOD && c->aborted ? SENSE_ABORTED : s;
}

/* ---- READ ---- */

/* An initiator with less room gets what fits. */
static co_fn enum sense read_range(struct scsi_cmd *c, const struct sbc_range *r)
{
	struct scsi_disk *d = cmd_disk(c);
	size_t len = MIN((size_t)r->blocks * d->block_size, c->in.len);
	struct cut cut;
	int res;

	if (!len)
		return SENSE_GOOD;
	cut_begin(&cut, &c->in, len);
	res = block_preadv(d->node, r->lba * d->block_size, &cut.iovs);
	cut_end(&cut);
	if (res < 0)
		return sbc_read_failed(c, res, r);
	c->in_done = len;
	return SENSE_GOOD;
}

static co_fn enum sense do_read(struct scsi_cmd *c, enum sbc_cdb_form form, int blocks_field)
{
	struct scsi_disk *d = cmd_disk(c);
	struct sbc_range r = sbc_cdb_range(c, form);
	enum sense s = form == SBC_6 ? SENSE_GOOD : sbc_check_protect(c);

	if (s == SENSE_GOOD)
		s = check_transfer(c, &r, blocks_field);
	if (s != SENSE_GOOD)
		return s;
	if (form != SBC_6 &&
	    fld_get(c->cdb, RW_FUA)) { /* from the medium: it must be there first */
		int res = block_flush(d->node);

		if (res < 0)
			return sbc_write_failed(c, res, r.lba);
	}
	return read_range(c, &r);
}

co_fn enum sense sbc_read6(struct scsi_cmd *c)
{
	return do_read(c, SBC_6, RW6_BLOCKS);
}

co_fn enum sense sbc_read10(struct scsi_cmd *c)
{
	return do_read(c, SBC_10, RW10_BLOCKS);
}

co_fn enum sense sbc_read12(struct scsi_cmd *c)
{
	return do_read(c, SBC_12, RW12_BLOCKS);
}

co_fn enum sense sbc_read16(struct scsi_cmd *c)
{
	return do_read(c, SBC_16, RW16_BLOCKS);
}

/* ---- WRITE ---- */

/* An initiator that sends less than it says gets nothing written. */
static co_fn enum sense write_range(struct scsi_cmd *c, const struct sbc_range *r, bool fua,
				    int blocks_field)
{
	struct scsi_disk *d = cmd_disk(c);
	size_t len = (size_t)r->blocks * d->block_size;
	struct cut cut;
	int res;

	if (!len)
		return SENSE_GOOD;
	if (c->out.len < len)
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(blocks_field), SBC_NO_BIT);
	cut_begin(&cut, &c->out, len);
	res = block_pwritev(d->node, r->lba * d->block_size, &cut.iovs, sbc_write_flags(d, fua));
	cut_end(&cut);
	if (res < 0)
		return sbc_write_failed(c, res, r->lba);
	c->out_done = len;
	return SENSE_GOOD;
}

static co_fn enum sense do_write(struct scsi_cmd *c, enum sbc_cdb_form form, int blocks_field)
{
	struct sbc_range r = sbc_cdb_range(c, form);
	enum sense s = form == SBC_6 ? SENSE_GOOD : sbc_check_protect(c);

	if (s == SENSE_GOOD)
		s = check_transfer(c, &r, blocks_field);
	if (s != SENSE_GOOD)
		return s;
	return write_range(c, &r, form != SBC_6 && fld_get(c->cdb, RW_FUA), blocks_field);
}

co_fn enum sense sbc_write6(struct scsi_cmd *c)
{
	return do_write(c, SBC_6, RW6_BLOCKS);
}

co_fn enum sense sbc_write10(struct scsi_cmd *c)
{
	return do_write(c, SBC_10, RW10_BLOCKS);
}

co_fn enum sense sbc_write12(struct scsi_cmd *c)
{
	return do_write(c, SBC_12, RW12_BLOCKS);
}

co_fn enum sense sbc_write16(struct scsi_cmd *c)
{
	return do_write(c, SBC_16, RW16_BLOCKS);
}

/* ---- WRITE AND VERIFY ---- */

static co_fn enum sense write_verify(struct scsi_cmd *c, enum sbc_cdb_form form, int blocks_field)
{
	enum { BYTCHK_ALL = 1 };
	struct sbc_range r = sbc_cdb_range(c, form);
	unsigned bytchk = fld_get(c->cdb, RW_BYTCHK);
	enum sense s = sbc_check_protect(c);

	if (bytchk > BYTCHK_ALL)
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(RW_BYTCHK), 2);
	if (s == SENSE_GOOD)
		s = check_transfer(c, &r, blocks_field);
	if (s == SENSE_GOOD)
		s = write_range(c, &r, true, blocks_field);
	return s == SENSE_GOOD ? sbc_verify_range(c, &r, bytchk) : s;
}

co_fn enum sense sbc_write_verify10(struct scsi_cmd *c)
{
	return write_verify(c, SBC_10, RW10_BLOCKS);
}

co_fn enum sense sbc_write_verify12(struct scsi_cmd *c)
{
	return write_verify(c, SBC_12, RW12_BLOCKS);
}

co_fn enum sense sbc_write_verify16(struct scsi_cmd *c)
{
	return write_verify(c, SBC_16, RW16_BLOCKS);
}
