/*
 * Blocks in and out: READ, WRITE, WRITE AND VERIFY, VERIFY, SEEK, SYNCHRONIZE CACHE (MMC-6 6.21 to
 * 6.25, 6.41 ff.).
 *
 * Data goes between the initiator's pieces and the medium as they are; only when the initiator's
 * room and the transfer differ in length is a shorter list of the same pieces made. Whether an
 * address can be read or written is the medium's to say; here it is only made sure that the range
 * can be an address at all.
 */
#include "scsi/mmc/media.h"

enum { PIECES = 64, VERIFY_BLOCKS = 32 };

/* The first len bytes of a longer list. */
struct head {
	struct iovs iovs;
	struct iovec *heap;
	struct iovec pieces[PIECES];
};

static bool head_init(struct head *h, const struct iovs *whole, size_t len)
{
	struct iovec *v = h->pieces;
	unsigned max = PIECES;

	h->heap = NULL;
	h->iovs = *whole;
	if (len == whole->len)
		return true;
	if (whole->n > PIECES) { /* an odd initiator: many pieces, more than it asks for */
		max = whole->n;
		v = h->heap = g_try_new(struct iovec, max);
		if (!v)
			return false;
	}
	h->iovs.v = v;
	h->iovs.n = iovs_slice(whole, 0, len, v, max);
	h->iovs.len = len;
	return h->iovs.n > 0;
}

static void head_fini(struct head *h)
{
	g_free(h->heap);
}

/* ---- READ ---- */

/*
 * The initiator has no room for a whole block: it gets the first part, as a host adapter would cut
 * it off.
 */
static co_fn enum sense read_cut_block(struct scsi_cmd *c, int32_t lba)
{
	uint8_t block[BLOCK_BYTES];
	struct iovec one;
	struct iovs iovs = iovs_one(&one, block, sizeof(block));
	struct disc *disc = cmd_disc(c);
	enum disc_status st = disc_read(disc, lba, 1, &iovs);

	if (st != DISC_OK)
		return mmc_from_disc(c, disc, st);
	c->in_done += iovs_put(&c->in, c->in_done, block, sizeof(block));
	return SENSE_GOOD;
}

co_fn enum sense mmc_read_blocks(struct scsi_cmd *c, uint32_t address, uint32_t blocks)
{
	struct disc *disc = cmd_disc(c);
	uint32_t whole = (uint32_t)MIN(blocks, c->in.len / BLOCK_BYTES);
	enum disc_status st;
	struct head head;
	int32_t lba;

	if (!blocks)
		return SENSE_GOOD;
	if (!medium_range(disc, address, blocks, &lba))
		return scsi_fail_lba(c, SENSE_LBA_RANGE, address);
	if (whole) {
		if (!head_init(&head, &c->in, (size_t)whole * BLOCK_BYTES))
			return SENSE_INTERNAL_FAILURE;
		st = disc_read(disc, lba, whole, &head.iovs);
		head_fini(&head);
		if (st != DISC_OK)
			return mmc_from_disc(c, disc, st);
		c->in_done = (size_t)whole * BLOCK_BYTES;
		cmd_drive(c)->blocks_read += whole;
	}
	return whole < blocks && (!whole || c->in_done < c->in.len)
		       ? read_cut_block(c, lba + (int32_t)whole)
		       : SENSE_GOOD;
}

co_fn enum sense mmc_read6(struct scsi_cmd *c)
{
	uint32_t blocks = fld_get(c->cdb, RW6_BLOCKS);

	return mmc_read_blocks(c, fld_get(c->cdb, RW6_LBA_HIGH) << 16 | fld_get(c->cdb, RW6_LBA),
			       blocks ? blocks : 256);
}

co_fn enum sense mmc_read10(struct scsi_cmd *c)
{
	return mmc_read_blocks(c, fld_get(c->cdb, RW_LBA), fld_get(c->cdb, RW10_BLOCKS));
}

co_fn enum sense mmc_read12(struct scsi_cmd *c)
{
	return mmc_read_blocks(c, fld_get(c->cdb, RW_LBA), fld_get(c->cdb, RW12_BLOCKS));
}

/* ---- WRITE ---- */

/*
 * Bytes of each block at lba, or 0 with *st. A repeated write may lie behind the next writable
 * address, where nothing says any more what the initiator sends: its data does.
 */
static uint32_t bytes_per_block(struct scsi_cmd *c, int32_t lba, uint32_t blocks,
				enum disc_status *st)
{
	uint32_t bytes = disc_block_bytes(cmd_disc(c), lba, blocks, st);

	if (!bytes && c->replay && c->out.len && c->out.len % blocks == 0 &&
	    c->out.len / blocks <= UINT16_MAX)
		bytes = (uint32_t)(c->out.len / blocks);
	return bytes;
}

static co_fn enum sense write_blocks(struct scsi_cmd *c, uint32_t address, uint32_t blocks,
				     int blocks_field)
{
	struct disc *disc = cmd_disc(c);
	enum disc_status st = DISC_OK;
	enum sense sense;
	struct head head;
	uint32_t bytes;
	size_t len;
	int32_t lba;

	if (!blocks)
		return SENSE_GOOD;
	if (!medium_range(disc, address, blocks, &lba))
		return scsi_fail_lba(c, SENSE_LBA_RANGE, address);
	bytes = bytes_per_block(c, lba, blocks, &st);
	if (!bytes) {
		sense = mmc_from_disc(c, disc, st);
		c->detail.info = address; /* it was not an operation: the medium named no block */
		return sense;
	}
	len = (size_t)bytes * blocks;
	if (len > c->out.len) /* fewer bytes than such blocks have now */
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(blocks_field), 8);
	if (!head_init(&head, &c->out, len))
		return SENSE_INTERNAL_FAILURE;
	st = disc_write(disc, lba, blocks, &head.iovs, c->replay);
	head_fini(&head);
	if (st == DISC_OK) {
		c->out_done = len;
		cmd_drive(c)->blocks_written += blocks;
		drive_note_written(cmd_drive(c));
		if (fld_get(c->cdb, RW_FUA))
			st = disc_flush(disc);
	}
	sense = mmc_from_disc(c, disc, st);
	return st == DISC_IO_WRITE && !c->detail.info_valid ? scsi_fail_lba(c, sense, address)
							    : sense;
}

co_fn enum sense mmc_write10(struct scsi_cmd *c)
{
	return write_blocks(c, fld_get(c->cdb, RW_LBA), fld_get(c->cdb, RW10_BLOCKS), RW10_BLOCKS);
}

co_fn enum sense mmc_write12(struct scsi_cmd *c)
{
	return write_blocks(c, fld_get(c->cdb, RW_LBA), fld_get(c->cdb, RW12_BLOCKS), RW12_BLOCKS);
}

/* What a transport must expect: also for a WRITE that is going to be refused. */
size_t mmc_write_length(struct drive *d, const uint8_t *cdb)
{
	uint32_t blocks = fld_get(cdb, cdb[0] == 0xaa ? RW12_BLOCKS : RW10_BLOCKS);
	struct disc *disc = loaded_disc(d);
	enum disc_status st;
	uint32_t bytes = 0;
	int32_t lba;

	if (disc && blocks && medium_range(disc, fld_get(cdb, RW_LBA), blocks, &lba))
		bytes = disc_block_bytes(disc, lba, blocks, &st);
	return (size_t)blocks * (bytes ? bytes : BLOCK_BYTES);
}

/* ---- VERIFY ---- */

/* Reads the range; compares it with what was written if that is given. */
static co_fn enum sense verify_blocks(struct scsi_cmd *c, int32_t lba, uint32_t blocks,
				      const struct iovs *written)
{
	size_t size = VERIFY_BLOCKS * BLOCK_BYTES;
	uint8_t *buf = g_try_malloc(2 * size);
	struct disc *disc = cmd_disc(c);
	enum sense sense = buf ? SENSE_GOOD : SENSE_INTERNAL_FAILURE;
	uint32_t done = 0;

	while (sense == SENSE_GOOD && done < blocks) {
		uint32_t n = MIN(blocks - done, VERIFY_BLOCKS);
		struct iovec one;
		struct iovs iovs = iovs_one(&one, buf, (size_t)n * BLOCK_BYTES);

		if (c->aborted)
			sense = SENSE_ABORTED;
		else
			sense = mmc_from_disc(c, disc,
					      disc_read(disc, lba + (int32_t)done, n, &iovs));
		if (sense == SENSE_GOOD && written) {
			iovs_get(written, (size_t)done * BLOCK_BYTES, buf + size, iovs.len);
			if (memcmp(buf, buf + size, iovs.len) != 0)
				sense = scsi_fail_lba(c, SENSE_WRITE_ERROR, (uint32_t)lba + done);
		}
		done += n;
	}
	g_free(buf);
	return sense;
}

co_fn enum sense mmc_verify10(struct scsi_cmd *c)
{
	uint32_t address = fld_get(c->cdb, RW_LBA), blocks = fld_get(c->cdb, RW10_BLOCKS);
	int32_t lba;

	if (fld_get(c->cdb, RW_BYTCHK))
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(RW_BYTCHK),
				      fld_low(RW_BYTCHK));
	if (!blocks)
		return SENSE_GOOD;
	if (!medium_range(cmd_disc(c), address, blocks, &lba))
		return scsi_fail_lba(c, SENSE_LBA_RANGE, address);
	return verify_blocks(c, lba, blocks, NULL);
}

co_fn enum sense mmc_write_verify10(struct scsi_cmd *c)
{
	uint32_t address = fld_get(c->cdb, RW_LBA), blocks = fld_get(c->cdb, RW10_BLOCKS), bytes;
	struct disc *disc = cmd_disc(c);
	enum disc_status st = DISC_OK;
	enum sense sense;
	int32_t lba;

	if (!blocks)
		return SENSE_GOOD;
	if (!medium_range(disc, address, blocks, &lba))
		return scsi_fail_lba(c, SENSE_LBA_RANGE, address);
	bytes = bytes_per_block(c, lba, blocks, &st);
	if (bytes && bytes != BLOCK_BYTES) /* raw blocks cannot be read back as sent */
		return SENSE_ILLEGAL_TRACK_MODE;
	sense = write_blocks(c, address, blocks, RW10_BLOCKS);
	if (sense == SENSE_GOOD)
		sense = mmc_from_disc(c, disc, disc_flush(disc));
	return sense == SENSE_GOOD ? verify_blocks(c, lba, blocks, &c->out) : sense;
}

/* ---- SEEK ---- */

static enum sense seek(struct scsi_cmd *c, uint32_t address)
{
	struct disc *disc = cmd_disc(c);
	int32_t lba;

	if (medium_range(disc, address, 0, &lba) &&
	    ((lba >= 0 && (uint32_t)lba <= disc_last_lba(disc)) || disc_track_at(disc, lba)))
		return SENSE_GOOD;
	return scsi_fail_lba(c, SENSE_LBA_RANGE, address);
}

enum sense mmc_seek6(struct scsi_cmd *c)
{
	return seek(c, fld_get(c->cdb, RW6_LBA_HIGH) << 16 | fld_get(c->cdb, RW6_LBA));
}

enum sense mmc_seek10(struct scsi_cmd *c)
{
	return seek(c, fld_get(c->cdb, RW_LBA));
}

enum sense mmc_rezero(struct scsi_cmd *c)
{
	(void)c;
	return SENSE_GOOD;
}

/* ---- SYNCHRONIZE CACHE ---- */

/*
 * The end of a TAO track, of a SAO session and of a DAO disc besides being a flush (mmc.md 2.15).
 */
co_fn enum sense mmc_run_sync(struct drive *d, const void *arg, struct scsi_cmd *c)
{
	struct disc *disc = loaded_disc(d);
	bool writable;
	enum sense sense;

	(void)arg;
	if (!disc)
		return SENSE_GOOD;
	writable = disc_is_writable(disc);
	sense = mmc_from_disc(c, disc, disc_sync(disc));
	if (sense == SENSE_GOOD)
		drive_note_synced(d);
	medium_note_change(d, writable);
	return sense;
}

co_fn enum sense mmc_sync_cache10(struct scsi_cmd *c)
{
	if (!cmd_disc(c))
		return SENSE_GOOD; /* nothing to lose */
	return mmc_long_op(c, fld_get(c->cdb, SYNC_IMMED), LONG_SYNC, NULL, 0);
}
