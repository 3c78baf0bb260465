/* READ CAPACITY and GET LBA STATUS (SBC-3 5.15 f., 5.4). */
#include "scsi/sbc/sbc.h"

#include "base/bytes.h"

/* clang-format off */
enum {
	CAP10_LEN = 8, CAP10_BLOCK_LEN = 4,
	CAP16_LEN = 32, CAP16_BLOCK_LEN = 8, CAP16_EXPONENT = BITS(13, 3, 0),
	CAP16_LBPME = BIT(14, 7), CAP16_LBPRZ = BIT(14, 6),

	STATUS_HEAD_LEN = 8, STATUS_DATA_LEN = BE32(0),
	STATUS_LEN = 16, STATUS_BLOCKS = BE32(8), STATUS_WHAT = BITS(12, 3, 0),
	MAPPED = 0, DEALLOCATED = 1,
	STATUS_MAX = 128,	/* descriptors of one reply */
	STATUS_STEPS_MAX = 4096, /* questions to the node for one reply */
};
/* clang-format on */

enum sense sbc_read_capacity10(struct scsi_cmd *c)
{
	struct scsi_disk *d = cmd_disk(c);
	uint64_t last = disk_blocks(d) - 1;
	uint8_t buf[CAP10_LEN];

	if (!fld_get(c->cdb, RCAP_PMI) && fld_get(c->cdb, RCAP_LBA))
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(RCAP_LBA), SBC_NO_BIT);
	put_be32(buf, (uint32_t)MIN(last, (uint64_t)UINT32_MAX));
	put_be32(buf + CAP10_BLOCK_LEN, d->block_size);
	return scsi_reply(c, buf, sizeof(buf));
}

enum sense sbc_read_capacity16(struct scsi_cmd *c)
{
	struct scsi_disk *d = cmd_disk(c);
	uint8_t buf[CAP16_LEN] = {0};

	if (!fld_get(c->cdb, RCAP16_PMI) && fld_get64(c->cdb, RCAP16_LBA))
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(RCAP16_LBA), SBC_NO_BIT);
	put_be64(buf, disk_blocks(d) - 1);
	put_be32(buf + CAP16_BLOCK_LEN, d->block_size);
	fld_put(buf, CAP16_EXPONENT,
		(unsigned)g_bit_storage(SBC_PHYSICAL_BLOCK / d->block_size) - 1);
	fld_put(buf, CAP16_LBPME, block_is_writable(d->node));
	fld_put(buf, CAP16_LBPRZ, block_is_writable(d->node));
	return scsi_reply(c, buf, sizeof(buf));
}

/* ---- GET LBA STATUS ---- */

/* What the block range begins with: *what, and how many blocks. A block of both counts as mapped.
 */
static co_fn int next_run(struct scsi_disk *d, const struct sbc_range *r, unsigned *what,
			  uint64_t *blocks)
{
	uint64_t off = r->lba * d->block_size, len = r->blocks * d->block_size, run = 0;
	unsigned status = 0;
	int res = block_get_status(d->node, off, len, &status, &run);

	if (res < 0)
		return res;
	*what = status & BLOCK_ZERO && run >= d->block_size ? DEALLOCATED : MAPPED;
	*blocks = MAX(run / d->block_size, UINT64_C(1));
	return 0;
}

/* Runs of the same kind are one; max: how many there is room for. The number, or -errno. */
static co_fn int collect(struct scsi_cmd *c, struct sbc_range rest, uint8_t *list, unsigned max)
{
	unsigned n = 0, last = 0;

	for (unsigned step = 0; rest.blocks && step < STATUS_STEPS_MAX && !c->aborted; step++) {
		uint64_t blocks = 0;
		unsigned what = MAPPED;
		int res = next_run(cmd_disk(c), &rest, &what, &blocks);
		uint8_t *p = list + (size_t)n * STATUS_LEN;

		if (res < 0)
			return res;
		if (n && last == what &&
		    fld_get(p - STATUS_LEN, STATUS_BLOCKS) + blocks <= UINT32_MAX) {
			p -= STATUS_LEN;
		} else if (n == max) {
			break;
		} else {
			memset(p, 0, STATUS_LEN);
			put_be64(p, rest.lba);
			fld_put(p, STATUS_WHAT, what);
			n++;
		}
		blocks = MIN(blocks, (uint64_t)UINT32_MAX);
		fld_put(p, STATUS_BLOCKS, (uint32_t)(fld_get(p, STATUS_BLOCKS) + blocks));
		last = what;
		rest.lba += blocks;
		rest.blocks -= blocks;
	}
	return (int)n;
}

co_fn enum sense sbc_get_lba_status(struct scsi_cmd *c)
{
	uint8_t buf[STATUS_HEAD_LEN + STATUS_MAX * STATUS_LEN] = {0};
	size_t room = MAX(c->alloc_len, STATUS_HEAD_LEN + STATUS_LEN) - STATUS_HEAD_LEN;
	struct sbc_range r = {fld_get64(c->cdb, LBAS_LBA), 1};
	enum sense s = sbc_check_range(c, &r);
	int n;

	if (s != SENSE_GOOD)
		return s;
	r.blocks = disk_blocks(cmd_disk(c)) - r.lba;
	n = collect(c, r, buf + STATUS_HEAD_LEN, (unsigned)MIN(room / STATUS_LEN, STATUS_MAX));
	if (n < 0)
		return sbc_read_failed(c, n, &(struct sbc_range){r.lba, 1});
	fld_put(buf, STATUS_DATA_LEN, (uint32_t)(STATUS_HEAD_LEN - 4 + n * STATUS_LEN));
	return scsi_reply(c, buf, STATUS_HEAD_LEN + (size_t)n * STATUS_LEN);
}
