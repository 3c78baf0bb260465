/* GET PERFORMANCE, SET STREAMING, SET CD SPEED (MMC-6 6.7, 6.46, 6.37; mmc.md 2.29 to 2.31). */
#include "scsi/mmc/mmc.h"

#include "base/bytes.h"

/* clang-format off */
enum {
	TYPE_PERFORMANCE = 0x00, TYPE_UNUSABLE = 0x01, TYPE_DEFECTS = 0x02, TYPE_WRITE_SPEED = 0x03,
	EXCEPT_NOMINAL = 0, EXCEPT_ONLY = 2,

	GP_LEN		= BE32(0),
	GP_WRITE	= BIT(4, 1),
	GP_EXCEPT	= BIT(4, 0),
	GP_HEAD_LEN	= 8,

	NOMINAL_START_LBA = BE32(0), NOMINAL_START_KB = BE32(4), NOMINAL_END_LBA = BE32(8),
	NOMINAL_END_KB = BE32(12),
	SPEED_END_LBA	= BE32(4), SPEED_READ_KB = BE32(8), SPEED_WRITE_KB = BE32(12),
	DESCRIPTOR_LEN	= 16,
	DESCRIPTORS_MAX	= 16,
	NO_BIT		= 8,
};
/* clang-format on */

/* The list may be longer than what is asked for; its length is always told in full. */
static enum sense reply(struct scsi_cmd *c, uint8_t *buf, unsigned descriptors)
{
	unsigned max = fld_get(c->cdb, PERF_MAX);

	fld_put(buf, GP_LEN, GP_HEAD_LEN - 4 + descriptors * DESCRIPTOR_LEN);
	return scsi_reply(c, buf, GP_HEAD_LEN + MIN(max, descriptors) * DESCRIPTOR_LEN);
}

static enum sense nominal_performance(struct scsi_cmd *c, uint8_t *buf)
{
	const struct drive *d = cmd_drive(c);
	bool write = fld_get(c->cdb, PERF_WRITE);
	unsigned kb = write ? speed_write_now(d) : speed_read_now(d);
	uint8_t *desc = buf + GP_HEAD_LEN;

	fld_put(buf, GP_WRITE, write);
	if (fld_get(c->cdb, PERF_EXCEPT) == EXCEPT_ONLY) {
		fld_put(buf, GP_EXCEPT, 1);
		return reply(c, buf, 0);
	}
	if (!loaded_disc(d) || kb == 0)
		return reply(c, buf, 0);
	fld_put(desc, NOMINAL_START_KB, kb);
	fld_put(desc, NOMINAL_END_LBA, speed_end_lba(d));
	fld_put(desc, NOMINAL_END_KB, kb);
	return reply(c, buf, 1);
}

static enum sense write_speeds(struct scsi_cmd *c, uint8_t *buf)
{
	const struct drive *d = cmd_drive(c);
	uint16_t speeds[DESCRIPTORS_MAX], profile = drive_profile(d);
	unsigned n = loaded_disc(d) ? speed_write_list(profile, speeds, DESCRIPTORS_MAX) : 0;

	fld_put(buf, GP_WRITE, 1);
	for (unsigned i = 0; i < n; i++) {
		uint8_t *desc = buf + GP_HEAD_LEN + i * DESCRIPTOR_LEN;

		fld_put(desc, SPEED_END_LBA, speed_end_lba(d));
		fld_put(desc, SPEED_READ_KB, speed_max_read(profile));
		fld_put(desc, SPEED_WRITE_KB, speeds[i]);
	}
	return reply(c, buf, n);
}

enum sense mmc_get_performance(struct scsi_cmd *c)
{
	uint8_t buf[GP_HEAD_LEN + DESCRIPTORS_MAX * DESCRIPTOR_LEN] = {0};

	switch (fld_get(c->cdb, PERF_TYPE)) {
	case TYPE_PERFORMANCE: return nominal_performance(c, buf);
	case TYPE_UNUSABLE:
	case TYPE_DEFECTS: return reply(c, buf, 0);
	case TYPE_WRITE_SPEED: return write_speeds(c, buf);
	default: return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(PERF_TYPE), NO_BIT);
	}
}

size_t mmc_performance_length(const uint8_t *cdb)
{
	return GP_HEAD_LEN + (size_t)fld_get(cdb, PERF_MAX) * DESCRIPTOR_LEN;
}

/* ---- SET STREAMING ---- */

/* clang-format off */
enum {
	SS_TYPE_PERFORMANCE = 0, SS_TYPE_DBI_CACHE = 5,
	SS_RDD		= BIT(0, 2),
	SS_READ_SIZE	= BE32(12), SS_READ_TIME = BE32(16),
	SS_WRITE_SIZE	= BE32(20), SS_WRITE_TIME = BE32(24),
	SS_LEN		= 28,
	MS_PER_S	= 1000,
};
/* clang-format on */

/* kB in so many ms as kB/s; what cannot be said in 16 bits, or takes no time, is the fastest (0).
 */
static uint16_t as_speed(uint32_t kb, uint32_t ms)
{
	uint64_t speed = ms ? (uint64_t)kb * MS_PER_S / ms : UINT64_MAX;

	return speed > UINT16_MAX ? 0 : MAX((uint16_t)speed, 1);
}

enum sense mmc_set_streaming(struct scsi_cmd *c)
{
	struct drive_state *s = cmd_drive(c)->state;
	uint8_t p[SS_LEN];

	if (fld_get(c->cdb, STREAM_TYPE) == SS_TYPE_DBI_CACHE)
		return SENSE_GOOD; /* there is no such cache to set up */
	if (fld_get(c->cdb, STREAM_TYPE) != SS_TYPE_PERFORMANCE)
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(STREAM_TYPE), NO_BIT);
	if (scsi_parameters(c, p, sizeof(p)) < sizeof(p))
		return SENSE_PARAMETER_LENGTH;
	if (fld_get(p, SS_RDD)) {
		s->read_speed = s->write_speed = 0;
		return SENSE_GOOD;
	}
	s->read_speed = as_speed(fld_get(p, SS_READ_SIZE), fld_get(p, SS_READ_TIME));
	s->write_speed = as_speed(fld_get(p, SS_WRITE_SIZE), fld_get(p, SS_WRITE_TIME));
	return SENSE_GOOD;
}

/* ---- SET CD SPEED ---- */

static uint16_t asked_speed(uint32_t kb)
{
	enum { FASTEST = 0xffff };

	return kb == FASTEST ? 0 : (uint16_t)kb;
}

/* Never an error: the next supported speed is taken. */
enum sense mmc_set_cd_speed(struct scsi_cmd *c)
{
	struct drive_state *s = cmd_drive(c)->state;

	s->read_speed = asked_speed(fld_get(c->cdb, SPEED_READ));
	s->write_speed = asked_speed(fld_get(c->cdb, SPEED_WRITE));
	return SENSE_GOOD;
}
