/*
 * READ CD and READ CD MSF (MMC-6 6.17, 6.18): chosen parts of CD sectors, with sub-channel data if
 * wanted.
 *
 * The medium gives each sector as its 2352 bytes; what the host selected is cut out of them by a
 * table of parts for each kind of sector. Plain user data of data tracks, which is what mounting
 * and most copying reads, takes the way of READ(10) instead.
 */
#include "scsi/mmc/media.h"
#include "scsi/mmc/subq.h"

enum sector_kind { KIND_AUDIO, KIND_MODE_1, KIND_MODE_2, KIND_FORM_1, KIND_FORM_2, KINDS };

enum { /* READ CD byte 9, bits 7:1, shifted down to bit 0 as RCD_MAIN gives it */
       MAIN_SYNC = 0x40,
       MAIN_SUBHEADER = 0x20,
       MAIN_HEADER = 0x10,
       MAIN_USER = 0x08,
       MAIN_EDC = 0x04,
       MAIN_C2 = 0x03,
       C2_NONE = 0,
       C2_FLAGS = 1,
       C2_BLOCK = 2,
};

enum {
	C2_FLAGS_LEN = 294,
	C2_BLOCK_LEN = 296,
	SUB_NONE = 0,
	SUB_RAW = 1,
	SUB_Q = 2,
	SUB_RW = 4,
	SUB_LEN = 96
};

/* Parts in disc order; each begins where the one before ends. */
enum { PARTS = 5 };
static const uint8_t part_bit[PARTS] = {MAIN_SYNC, MAIN_HEADER, MAIN_SUBHEADER, MAIN_USER,
					MAIN_EDC};
static const uint16_t part_len[KINDS][PARTS] = {
	[KIND_AUDIO] = {0, 0, 0, 2352, 0},   [KIND_MODE_1] = {12, 4, 0, 2048, 288},
	[KIND_MODE_2] = {12, 4, 0, 2336, 0}, [KIND_FORM_1] = {12, 4, 8, 2048, 280},
	[KIND_FORM_2] = {12, 4, 8, 2324, 4},
};

/* By the two C2 bits; 3 is refused, and nothing. */
static const uint16_t c2_len[] = {0, C2_FLAGS_LEN, C2_BLOCK_LEN, 0};

struct selection {
	unsigned type; /* expected sector type: 0 any, 1 + enum sector_kind */
	unsigned main, c2, sub;
};

static size_t main_len(unsigned main, enum sector_kind kind)
{
	size_t len = 0;
	unsigned i;

	for (i = 0; i < PARTS; i++)
		if (main & part_bit[i])
			len += part_len[kind][i];
	return len;
}

static size_t extra_len(const struct selection *s)
{
	size_t sub = s->sub == SUB_Q ? SUBQ_FORMATTED : SUB_LEN;

	return c2_len[s->c2] + (s->sub == SUB_NONE ? 0 : sub);
}

static enum sector_kind kind_of(const struct disc_sector *what)
{
	if (what->audio)
		return KIND_AUDIO;
	if (what->mode == 1)
		return KIND_MODE_1;
	return what->form == 1 ? KIND_FORM_1 : what->form == 2 ? KIND_FORM_2 : KIND_MODE_2;
}

static enum sense parse_selection(struct scsi_cmd *c, struct selection *s)
{
	unsigned main = fld_get(c->cdb, RCD_MAIN);

	*s = (struct selection){
		.type = fld_get(c->cdb, RCD_SECTOR),
		.main = main & ~MAIN_C2,
		.c2 = main & MAIN_C2,
		.sub = fld_get(c->cdb, RCD_SUB),
	};
	if (s->type > KINDS)
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(RCD_SECTOR), 8);
	if (s->c2 > C2_BLOCK)
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(RCD_MAIN), 8);
	if (s->sub != SUB_NONE && s->sub != SUB_RAW && s->sub != SUB_Q && s->sub != SUB_RW)
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(RCD_SUB), 8);
	return SENSE_GOOD;
}

static void deliver(struct scsi_cmd *c, const void *data, size_t len)
{
	c->in_done += iovs_put(&c->in, c->in_done, data, len);
}

static void deliver_main(struct scsi_cmd *c, const uint8_t *sector, unsigned main,
			 enum sector_kind kind)
{
	size_t off = 0;
	unsigned i;

	for (i = 0; i < PARTS; i++) {
		if (main & part_bit[i])
			deliver(c, sector + off, part_len[kind][i]);
		off += part_len[kind][i];
	}
}

static void deliver_sub(struct scsi_cmd *c, unsigned sub, int32_t lba,
			const struct disc_sector *what)
{
	uint8_t buf[SUB_LEN] = {0};
	struct disc_track_info info = {0};
	struct subq_place place = {.lba = lba, .control = what->control, .track = what->track};

	if (disc_get_track_info(cmd_disc(c), what->track, &info) == DISC_OK)
		place.start = info.start;
	if (sub == SUB_Q)
		subq_formatted(buf, &place);
	else if (sub == SUB_RAW)
		subq_raw(buf, &place);
	deliver(c, buf, sub == SUB_Q ? SUBQ_FORMATTED : SUB_LEN); /* R to W are empty */
}

static co_fn enum sense read_sectors(struct scsi_cmd *c, const struct selection *s, int32_t lba,
				     uint32_t blocks)
{
	static const uint8_t no_errors[C2_BLOCK_LEN];
	struct disc *disc = cmd_disc(c);
	size_t extra = extra_len(s);
	uint8_t sector[SECTOR_RAW];

	for (; blocks > 0 && c->in_done < c->in.len; blocks--, lba++) {
		struct disc_sector what = {0};
		enum disc_status st;
		enum sector_kind kind;

		if (c->aborted)
			return SENSE_ABORTED;
		st = disc_read_raw(disc, lba, sector, &what);
		if (st != DISC_OK)
			return mmc_from_disc(c, disc, st);
		kind = kind_of(&what);
		if (s->type && s->type != kind + 1u)
			return scsi_fail_lba(c, SENSE_ILLEGAL_TRACK_MODE, (uint32_t)lba);
		if (!extra && !main_len(s->main, kind))
			continue;
		deliver_main(c, sector, s->main, kind);
		deliver(c, no_errors, c2_len[s->c2]);
		if (s->sub)
			deliver_sub(c, s->sub, lba, &what);
	}
	return SENSE_GOOD;
}

/* Whether the whole range is Mode 1 of one track, and its user data is all that is wanted. */
static bool is_plain_read(const struct disc *disc, const struct selection *s, int32_t lba,
			  uint32_t blocks)
{
	struct disc_track_info info;

	if (s->main != MAIN_USER || s->c2 || s->sub || (s->type && s->type != KIND_MODE_1 + 1) ||
	    lba < 0)
		return false;
	return disc_get_track_info(disc, disc_track_at(disc, lba), &info) == DISC_OK &&
	       info.data_mode == 1 && (info.control & 4) && lba >= info.start &&
	       (int64_t)lba + blocks <= (int64_t)info.start + info.size;
}

static co_fn enum sense read_cd(struct scsi_cmd *c, uint32_t address, uint32_t blocks)
{
	struct disc *disc = cmd_disc(c);
	struct selection s;
	enum sense sense = parse_selection(c, &s);
	int32_t lba;

	if (sense != SENSE_GOOD)
		return sense;
	if (!medium_is_cd(disc) && (s.type || s.main != MAIN_USER || s.c2 || s.sub))
		return SENSE_CANNOT_READ_FORMAT;
	if (!blocks || (!s.main && !s.c2 && !s.sub))
		return SENSE_GOOD;
	if (!medium_range(disc, address, blocks, &lba) || (medium_is_cd(disc) && lba < -CD_PREGAP))
		return scsi_fail_lba(c, SENSE_LBA_RANGE, address);
	if (!medium_is_cd(disc) || is_plain_read(disc, &s, lba, blocks))
		return mmc_read_blocks(c, address, blocks);
	return read_sectors(c, &s, lba, blocks);
}

co_fn enum sense mmc_read_cd(struct scsi_cmd *c)
{
	return read_cd(c, fld_get(c->cdb, RCD_LBA), fld_get(c->cdb, RCD_BLOCKS));
}

static int32_t msf_field(uint32_t v)
{
	return msf_to_lba((struct msf){(uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v});
}

co_fn enum sense mmc_read_cd_msf(struct scsi_cmd *c)
{
	int32_t start = msf_field(fld_get(c->cdb, RCD_MSF_START)),
		end = msf_field(fld_get(c->cdb, RCD_MSF_END));

	if (start > end)
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(RCD_MSF_END), 8);
	return read_cd(c, (uint32_t)start, (uint32_t)(end - start));
}

/*
 * What a transport must expect; sectors may be of several kinds, then this is the most it can be.
 */
size_t mmc_read_cd_length(struct drive *d, const uint8_t *cdb)
{
	struct disc *disc = loaded_disc(d);
	unsigned type = fld_get(cdb, RCD_SECTOR), main = fld_get(cdb, RCD_MAIN), kind;
	struct selection s = {.c2 = main & MAIN_C2, .sub = fld_get(cdb, RCD_SUB)};
	uint32_t blocks = fld_get(cdb, RCD_BLOCKS);
	size_t most = 0;

	if (cdb[0] == 0xb9) {
		int32_t start = msf_field(fld_get(cdb, RCD_MSF_START)),
			end = msf_field(fld_get(cdb, RCD_MSF_END));

		blocks = start < end ? (uint32_t)(end - start) : 0;
	}
	if (!disc || !medium_is_cd(disc))
		return (size_t)blocks * BLOCK_BYTES;
	for (kind = 0; kind < KINDS; kind++)
		if (!type || type == kind + 1)
			most = MAX(most, main_len(main & ~MAIN_C2, kind));
	return (size_t)blocks * (most + extra_len(&s));
}
