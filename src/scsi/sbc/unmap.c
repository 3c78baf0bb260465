/*
 * UNMAP and WRITE SAME (SBC-3 5.28, 5.45 f.): ranges that become zeros or a pattern.
 *
 * What is unmapped reads as zeros (LBPRZ). WRITE SAME of zeros without the UNMAP bit gives the
 * range its space as well, so that later writes cannot run out of it.
 */
#include "scsi/sbc/sbc.h"

#include <errno.h>

#include "base/bytes.h"

/* clang-format off */
enum {	/* UNMAP parameter list */
	LIST_DATA_LEN = BE16(0), LIST_DESCRIPTORS_LEN = BE16(2), LIST_HEAD_LEN = 8,
	DESCRIPTOR_LBA = BE64(0), DESCRIPTOR_BLOCKS = BE32(8), DESCRIPTOR_LEN = 16,
	LIST_MAX = LIST_HEAD_LEN + SBC_UNMAP_DESCRIPTORS_MAX * DESCRIPTOR_LEN,

	PATTERN_PIECES = 16,
};
/* clang-format on */

uint64_t sbc_same_max(const struct scsi_disk *d)
{
	return SBC_SAME_MAX_BYTES / d->block_size;
}

static co_fn enum sense zero_range(struct scsi_cmd *c, const struct sbc_range *r)
{
	struct scsi_disk *d = cmd_disk(c);
	int res = block_discard_zero(d->node, r->lba * d->block_size, r->blocks * d->block_size);

	return res < 0 ? sbc_write_failed(c, res, r->lba) : SENSE_GOOD;
}

/* Without a cache that may keep it, what was done must last. */
static co_fn enum sense settle(struct scsi_cmd *c, uint64_t lba)
{
	struct scsi_disk *d = cmd_disk(c);
	int res = d->write_cache ? 0 : block_flush(d->node);

	return res < 0 ? sbc_write_failed(c, res, lba) : SENSE_GOOD;
}

/* ---- UNMAP ---- */

static struct sbc_range get_descriptor(const uint8_t *list, unsigned i)
{
	const uint8_t *p = list + LIST_HEAD_LEN + (size_t)i * DESCRIPTOR_LEN;

	return (struct sbc_range){fld_get64(p, DESCRIPTOR_LBA), fld_get(p, DESCRIPTOR_BLOCKS)};
}

/* All of it is checked before anything is done; *n: how many descriptors there are. */
static enum sense check_list(struct scsi_cmd *c, const uint8_t *list, size_t len, unsigned *n)
{
	unsigned descriptors_len = fld_get(list, LIST_DESCRIPTORS_LEN);
	uint64_t total = 0;

	if (fld_get(list, LIST_DATA_LEN) + 2 < LIST_HEAD_LEN + descriptors_len)
		return scsi_bad_field(c, SENSE_BAD_PARAMETER, fld_byte(LIST_DATA_LEN), SBC_NO_BIT);
	if (descriptors_len > SBC_UNMAP_DESCRIPTORS_MAX * DESCRIPTOR_LEN)
		return scsi_bad_field(c, SENSE_BAD_PARAMETER, fld_byte(LIST_DESCRIPTORS_LEN),
				      SBC_NO_BIT);
	if (descriptors_len > len - LIST_HEAD_LEN)
		return SENSE_PARAMETER_LENGTH;
	*n = descriptors_len / DESCRIPTOR_LEN; /* an incomplete last one is ignored */
	for (unsigned i = 0; i < *n; i++) {
		struct sbc_range r = get_descriptor(list, i);
		enum sense s = sbc_check_range(c, &r);

		if (s != SENSE_GOOD)
			return s;
		total += r.blocks;
		if (total > sbc_same_max(cmd_disk(c))) {
			return scsi_bad_field(c, SENSE_BAD_PARAMETER,
					      LIST_HEAD_LEN + i * DESCRIPTOR_LEN +
						      fld_byte(DESCRIPTOR_BLOCKS),
					      SBC_NO_BIT);
		}
	}
	return SENSE_GOOD;
}

co_fn enum sense sbc_unmap(struct scsi_cmd *c)
{
	uint8_t list[LIST_MAX];
	size_t len;
	unsigned n = 0;
	enum sense s;

	if (fld_get(c->cdb, UNMAP_ANCHOR))
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(UNMAP_ANCHOR), 0);
	if (!c->alloc_len)
		return SENSE_GOOD;
	len = scsi_parameters(c, list, sizeof(list));
	if (len < LIST_HEAD_LEN)
		return SENSE_PARAMETER_LENGTH;
	s = check_list(c, list, len, &n);
	for (unsigned i = 0; i < n && s == SENSE_GOOD; i++) {
		struct sbc_range r = get_descriptor(list, i);

		s = c->aborted ? SENSE_ABORTED : zero_range(c, &r);
	}
	return s == SENSE_GOOD && n ? settle(c, get_descriptor(list, 0).lba) : s;
}

/* ---- WRITE SAME ---- */

/* Fills the scratch buffer with the block that was sent; false: it is all zeros. */
static bool take_pattern(struct scsi_cmd *c)
{
	struct scsi_disk *d = cmd_disk(c);
	size_t size = d->block_size;

	iovs_get(&c->out, 0, d->scratch, size);
	for (size_t at = size; at < SBC_SCRATCH_LEN; at += size)
		memcpy(d->scratch + at, d->scratch, size);
	return d->scratch[0] || memcmp(d->scratch, d->scratch + 1, size - 1) != 0;
}

static co_fn enum sense write_pattern(struct scsi_cmd *c, const struct sbc_range *r)
{
	struct scsi_disk *d = cmd_disk(c);
	uint64_t off = r->lba * d->block_size, end = off + r->blocks * d->block_size;

	while (off < end) {
		struct iovec v[PATTERN_PIECES];
		struct iovs iov = {.v = v};
		int res;

		if (c->aborted)
			return SENSE_ABORTED;
		while (iov.n < PATTERN_PIECES && iov.len < end - off) {
			size_t piece = (size_t)MIN((uint64_t)SBC_SCRATCH_LEN, end - off - iov.len);

			v[iov.n++] = (struct iovec){d->scratch, piece};
			iov.len += piece;
		}
		res = block_pwritev(d->node, off, &iov, sbc_write_flags(d, false));
		if (res < 0)
			return sbc_write_failed(c, res, off / d->block_size);
		off += iov.len;
	}
	return SENSE_GOOD;
}

/* Zeros that keep their space. */
static co_fn enum sense zero_and_allocate(struct scsi_cmd *c, const struct sbc_range *r)
{
	struct scsi_disk *d = cmd_disk(c);
	enum sense s = zero_range(c, r);
	int res;

	if (s != SENSE_GOOD)
		return s;
	res = block_allocate(d->node, r->lba * d->block_size, r->blocks * d->block_size);
	return res < 0 && res != -ENOTSUP ? sbc_write_failed(c, res, r->lba) : SENSE_GOOD;
}

static co_fn enum sense write_same_range(struct scsi_cmd *c, const struct sbc_range *r, bool zeros)
{
	bool unmap = fld_get(c->cdb, WS_UNMAP);
	enum sense s = SENSE_GOOD;

	if (!zeros) {
		co_mutex_lock(&cmd_disk(c)->scratch_lock);
		zeros = !take_pattern(c);
		if (!zeros)
			s = write_pattern(c, r);
		co_mutex_unlock(&cmd_disk(c)->scratch_lock);
	}
	if (zeros)
		s = unmap ? zero_range(c, r) : zero_and_allocate(c, r);
	return s == SENSE_GOOD ? settle(c, r->lba) : s;
}

static enum sense check_same(struct scsi_cmd *c, struct sbc_range *r, int blocks_field, bool ndob)
{
	struct scsi_disk *d = cmd_disk(c);
	enum sense s = sbc_check_protect(c);

	if (s == SENSE_GOOD && fld_get(c->cdb, WS_ANCHOR))
		s = scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(WS_ANCHOR), fld_low(WS_ANCHOR));
	if (s == SENSE_GOOD && fld_get(c->cdb, WS_OLD))
		s = scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(WS_OLD), 2);
	if (s == SENSE_GOOD)
		s = sbc_check_range(c, r);
	if (s != SENSE_GOOD)
		return s;
	if (!r->blocks) /* up to the end (WSNZ is 0) */
		r->blocks = disk_blocks(d) - r->lba;
	if (r->blocks > sbc_same_max(d) || (!ndob && r->blocks && c->out.len < d->block_size))
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(blocks_field), SBC_NO_BIT);
	return SENSE_GOOD;
}

static co_fn enum sense write_same(struct scsi_cmd *c, enum sbc_cdb_form form, int blocks_field)
{
	bool ndob = form == SBC_16 && fld_get(c->cdb, WS_NDOB);
	struct sbc_range r = sbc_cdb_range(c, form);
	enum sense s = check_same(c, &r, blocks_field, ndob);

	if (s != SENSE_GOOD || !r.blocks)
		return s;
	c->out_done = ndob ? 0 : cmd_disk(c)->block_size;
	return write_same_range(c, &r, ndob);
}

co_fn enum sense sbc_write_same10(struct scsi_cmd *c)
{
	return write_same(c, SBC_10, RW10_BLOCKS);
}

co_fn enum sense sbc_write_same16(struct scsi_cmd *c)
{
	return write_same(c, SBC_16, RW16_BLOCKS);
}
