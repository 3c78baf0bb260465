/*
 * ATA units: life, dispatch, and what all commands share.
 *
 * A command's registers are copied when it starts and never read again (ata.md 2.13, I6): a reset
 * that clears registers cannot redirect a transfer under way (CVE-2023-5088).
 */
#include "ata/unit_impl.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "block/block.h"
#include "scsi/scsi.h"

enum { SIGNATURE_DISK = 0x000001, SIGNATURE_PACKET = 0xeb1401, COUNT_MAX_28 = 256 };

uint64_t ata_sectors(const struct ata_unit *u)
{
	return u->disk ? block_length(u->disk) / ATA_SECTOR : 0;
}

const char *ata_unit_name(const struct ata_unit *u)
{
	return u->name;
}

bool ata_unit_is_packet(const struct ata_unit *u)
{
	return !u->disk;
}

unsigned ata_unit_queue_depth(const struct ata_unit *u)
{
	return u->disk && u->sata ? ATA_TAGS : 0;
}

uint32_t ata_unit_tags(const struct ata_unit *u)
{
	return u->tags;
}

void ata_unit_on_notify(struct ata_unit *u, void (*fn)(struct ata_unit *u, void *arg), void *arg)
{
	u->on_notify = fn;
	u->notify_arg = arg;
}

/* ---- life ---- */

static bool set_text(char *out, size_t max, const char *what, const char *text,
		     const char *otherwise, GError **error)
{
	const char *t = text ? text : otherwise;

	if (!*t)
		return err_set(error, EINVAL, "%s \"\": it must not be empty", what);
	if (strlen(t) > max)
		return err_set(error, EINVAL, "%s \"%s\": at most %zu characters", what, t, max);
	for (const char *p = t; *p; p++) {
		if (*p < 0x20 || *p > 0x7e)
			return err_set(error, EINVAL, "%s \"%s\": printable ASCII only", what, t);
	}
	g_strlcpy(out, t, max + 1);
	return true;
}

/* NAA 5 with a name that follows from the serial number: the same disk everywhere. */
static uint64_t make_wwn(const struct ata_unit *u)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

	for (const char *p = u->model; *p; p++)
		hash = (hash ^ (uint8_t)*p) * UINT64_C(0x100000001b3);
	for (const char *p = u->serial; *p; p++)
		hash = (hash ^ (uint8_t)*p) * UINT64_C(0x100000001b3);
	return UINT64_C(5) << 60 | (hash & UINT64_C(0x0fffffffffffffff));
}

static bool init_disk(struct ata_unit *u, const struct ata_unit_options *o, GError **error)
{
	g_autofree char *serial = g_strndup(o->name, sizeof(u->serial) - 1);

	if (block_length(o->disk) < ATA_SECTOR)
		return err_set(error, EINVAL, "a disk has at least one sector of %d bytes",
			       ATA_SECTOR);
	u->disk = o->disk;
	u->rows = ata_disk_rows;
	return set_text(u->model, sizeof(u->model) - 1, "model", o->model, "OUTBOARD DISK",
			error) &&
	       set_text(u->serial, sizeof(u->serial) - 1, "serial", o->serial_number, serial,
			error) &&
	       set_text(u->firmware, sizeof(u->firmware) - 1, "firmware", o->firmware, "1.0",
			error);
}

struct ata_unit *ata_unit_new(const struct ata_unit_options *o, GError **error)
{
	struct ata_unit *u = g_new0(struct ata_unit, 1);

	u->loop = o->loop;
	u->name = g_strdup(o->name);
	u->sata = o->sata;
	u->second = o->second;
	u->rotational = o->rotational;
	u->buf = g_malloc(ATA_BUF_LEN);
	u->born_ns = loop_now_ns();
	ata_reset_settings(u, ATA_RESET_HARD);
	ata_log_failure(u, NULL, 0);
	if (o->disk && o->drive)
		err_set(error, EINVAL, "a unit is a disk or a drive, not both");
	else if (o->disk ? init_disk(u, o, error) : ata_packet_init(u, o->drive, error)) {
		u->wwn = make_wwn(u);
		return u;
	}
	err_prefix(error, "%s", o->name);
	ata_packet_fini(u);
	g_free(u->buf);
	g_free(u->name);
	g_free(u);
	return NULL;
}

co_fn void ata_unit_free(struct ata_unit *u)
{
	if (!u)
		return;
	ata_packet_fini(u);
	g_free(u->buf);
	g_free(u->name);
	g_free(u);
}

void ata_signature(const struct ata_unit *u, struct ata_regs *regs)
{
	*regs = (struct ata_regs){
		.status = u->disk ? ATA_DRDY | ATA_DSC : 0,
		.error = 1,
		.device = 0,
		.count = 1,
		.lba = u->disk ? SIGNATURE_DISK : SIGNATURE_PACKET,
	};
}

void ata_reset(struct ata_unit *u, enum ata_reset_kind kind, struct ata_regs *regs)
{
	u->queue_failed = false;
	if (kind != ATA_RESET_DIAGNOSTIC)
		ata_reset_settings(u, kind);
	if (!u->disk && kind != ATA_RESET_DIAGNOSTIC)
		ata_packet_reset(u);
	if (regs)
		ata_signature(u, regs);
}

/* ---- addresses ---- */

static bool is_lba(const struct ata_tf *tf)
{
	enum { DEVICE_LBA = 0x40 };

	return tf->device & DEVICE_LBA;
}

/* Cylinder, head and sector as the host last set them; false: there is no such sector. */
static bool from_chs(const struct ata_unit *u, const struct ata_tf *tf, uint64_t *lba)
{
	unsigned sector = tf->lba & 0xff, head = tf->device & 0x0f;
	uint64_t cylinder = tf->lba >> 8 & 0xffff;

	if (!u->heads || !u->spt || !sector || sector > u->spt || head >= u->heads)
		return false;
	*lba = (cylinder * u->heads + head) * u->spt + sector - 1;
	return true;
}

void ata_put_lba(const struct ata_unit *u, struct ata_cmd *c, uint64_t lba)
{
	c->regs.device &= 0xf0;
	if (c->row->flags & (ATA_ROW_48 | ATA_ROW_QUEUED)) {
		c->regs.lba = lba & UINT64_C(0xffffffffffff);
	} else if (is_lba(&c->tf)) {
		c->regs.lba = lba & 0xffffff;
		c->regs.device |= lba >> 24 & 0x0f;
	} else {
		uint64_t track = lba / u->spt;

		c->regs.lba = (lba % u->spt + 1) | (track / u->heads & 0xffff) << 8;
		c->regs.device |= track % u->heads;
	}
}

/* What the command addresses; 0, or what is in ERROR when that is not on the disk. */
static unsigned get_range(const struct ata_unit *u, struct ata_cmd *c)
{
	uint64_t sectors = ata_sectors(u), lba;
	uint32_t count;

	if (c->row->flags & (ATA_ROW_48 | ATA_ROW_QUEUED)) {
		lba = c->tf.lba & UINT64_C(0xffffffffffff);
		count = c->row->flags & ATA_ROW_QUEUED ? c->tf.feature : c->tf.count;
		count = count ? count : UINT16_MAX + 1;
	} else {
		count = c->tf.count & 0xff;
		count = count ? count : COUNT_MAX_28;
		if (c->row->flags & ATA_ROW_POINT)
			count = 1;
		lba = (c->tf.lba & 0xffffff) | (uint64_t)(c->tf.device & 0x0f) << 24;
		if (!is_lba(&c->tf) && !from_chs(u, &c->tf, &lba))
			return ATA_IDNF;
	}
	c->lba = lba;
	c->count = count;
	if (lba < sectors && count <= sectors - lba)
		return 0;
	ata_put_lba(u, c, MAX(lba, sectors));
	return ATA_IDNF;
}

/* ---- execution ---- */

unsigned ata_error_of(int res, bool write)
{
	switch (-res) {
	case EIO:
	case EILSEQ:
	case EBADMSG: return write ? ATA_ABRT : ATA_UNC;
	case EINVAL: return ATA_IDNF; /* it shrank meanwhile */
	default: return ATA_ABRT;     /* no space, no permission, cancelled, no memory */
	}
}

static co_fn unsigned run(struct ata_unit *u, struct ata_cmd *c)
{
	const struct ata_row *row = c->row;
	unsigned error;

	if (!row->run || (u->queue_failed && !(row->flags & ATA_ROW_LOG)))
		return ATA_ABRT;
	if (row->flags & ATA_ROW_QUEUED && !ata_unit_queue_depth(u))
		return ATA_ABRT;
	if (row->flags & ATA_ROW_RANGE) {
		error = get_range(u, c);
		if (error)
			return error;
		c->regs.count = 0;
	}
	if (row->flags & ATA_ROW_WRITE && !block_is_writable(u->disk))
		return ATA_ABRT;
	return row->run(u, c);
}

/* The only place where a command becomes complete. */
static void finish(struct ata_unit *u, struct ata_cmd *c, unsigned error)
{
	if (error && c->row->flags & ATA_ROW_SIGNATURE) {
		ata_signature(u, &c->regs);
		c->regs.device = c->tf.device;
	}
	c->regs.status = ATA_DRDY | ATA_DSC | (error ? ATA_ERR : 0);
	c->regs.error = (uint8_t)error;
	if (error)
		c->quiet = false;
}

co_fn void ata_execute(struct ata_unit *u, struct ata_cmd *c)
{
	unsigned error;

	c->row = &u->rows[c->tf.command];
	c->regs = (struct ata_regs){.device = c->tf.device, .count = c->tf.count, .lba = c->tf.lba};
	c->quiet = c->cancelled = false;
	c->scsi = NULL;
	c->lba = 0;
	c->count = 0;
	if (c->row->flags & ATA_ROW_QUEUED && ata_unit_queue_depth(u)) {
		error = ata_run_queued(u, c, run);
	} else if (u->tags) { /* never beside queued ones (4.7) */
		error = ATA_ABRT;
		ata_fail_queue(u, NULL, error);
	} else {
		error = run(u, c);
		if (error && !u->queue_failed)
			ata_log_failure(u, NULL, error);
	}
	finish(u, c, error);
}

void ata_cancel(struct ata_cmd *c)
{
	c->cancelled = true;
	if (c->scsi)
		scsi_cancel(c->scsi);
}

/* ---- data that the unit made ---- */

void ata_put_checksum(uint8_t sector[ATA_SECTOR])
{
	uint8_t sum = 0;

	for (unsigned i = 0; i < ATA_SECTOR - 1; i++)
		sum += sector[i];
	sector[ATA_SECTOR - 1] = (uint8_t)-sum;
}

co_fn unsigned ata_send_sectors(struct ata_cmd *c, void *buf, unsigned sectors)
{
	for (unsigned i = 0; i < sectors; i++) {
		struct ata_drq drq = {
			.phase = ATA_PHASE_IN,
			.buf = (uint8_t *)buf + (size_t)i * ATA_SECTOR,
			.len = ATA_SECTOR,
			.regs = c->regs,
			.irq = true,
			.end_status =
				i + 1 < sectors ? ATA_BSY | ATA_DRDY | ATA_DSC : ATA_DRDY | ATA_DSC,
		};

		drq.regs.status = ATA_DRDY | ATA_DSC | ATA_DRQ;
		drq.regs.error = 0;
		if (c->cancelled || c->ops->pio(c, &drq) < 0)
			return ATA_ABRT;
	}
	c->quiet = true;
	return 0;
}

co_fn unsigned ata_send_dma(struct ata_cmd *c, const void *buf, size_t len)
{
	struct iovs iov;
	size_t done;

	if (c->ops->dma_begin(c, true, len, &iov) < 0)
		return ATA_ABRT;
	done = iovs_put(&iov, 0, buf, len);
	return c->ops->dma_end(c, done) < 0 || done < len ? ATA_ABRT : 0;
}

/* ---- the command sets (ata.md 2.6, 2.7) ---- */

/* clang-format off */
enum {
	AT	= ATA_ROW_RANGE,
	AT48	= ATA_ROW_RANGE | ATA_ROW_48,
	TO	= ATA_ROW_RANGE | ATA_ROW_WRITE,
	TO48	= ATA_ROW_RANGE | ATA_ROW_WRITE | ATA_ROW_48,
	QUEUED	= ATA_ROW_RANGE | ATA_ROW_QUEUED,
};

const struct ata_row ata_disk_rows[256] = {
	[0x00] = { "NOP", NULL, 0 },
	[0x06] = { "DATA SET MANAGEMENT", ata_data_set_management, ATA_ROW_48 | ATA_ROW_WRITE },
	[0x10] = { "RECALIBRATE", ata_succeed, 0 },
	[0x20] = { "READ SECTORS", ata_read_pio, AT },
	[0x21] = { "READ SECTORS (old)", ata_read_pio, AT },
	[0x24] = { "READ SECTORS EXT", ata_read_pio, AT48 },
	[0x25] = { "READ DMA EXT", ata_read_dma, AT48 },
	[0x27] = { "READ NATIVE MAX ADDRESS EXT", ata_native_max, ATA_ROW_48 },
	[0x29] = { "READ MULTIPLE EXT", ata_read_multiple, AT48 },
	[0x2f] = { "READ LOG EXT", ata_read_log, ATA_ROW_48 | ATA_ROW_LOG },
	[0x30] = { "WRITE SECTORS", ata_write_pio, TO },
	[0x31] = { "WRITE SECTORS (old)", ata_write_pio, TO },
	[0x34] = { "WRITE SECTORS EXT", ata_write_pio, TO48 },
	[0x35] = { "WRITE DMA EXT", ata_write_dma, TO48 },
	[0x39] = { "WRITE MULTIPLE EXT", ata_write_multiple, TO48 },
	[0x3d] = { "WRITE DMA FUA EXT", ata_write_dma_fua, TO48 },
	[0x40] = { "READ VERIFY SECTORS", ata_succeed, AT },
	[0x41] = { "READ VERIFY SECTORS (old)", ata_succeed, AT },
	[0x42] = { "READ VERIFY SECTORS EXT", ata_succeed, AT48 },
	[0x47] = { "READ LOG DMA EXT", ata_read_log_dma, ATA_ROW_48 | ATA_ROW_LOG },
	[0x60] = { "READ FPDMA QUEUED", ata_read_queued, QUEUED },
	[0x61] = { "WRITE FPDMA QUEUED", ata_write_queued, QUEUED | ATA_ROW_WRITE },
	[0x70] = { "SEEK", ata_succeed, AT | ATA_ROW_POINT },
	[0x91] = { "INITIALIZE DEVICE PARAMETERS", ata_init_parameters, 0 },
	[0x94] = { "STANDBY IMMEDIATE (old)", ata_succeed, 0 },
	[0x95] = { "IDLE IMMEDIATE (old)", ata_succeed, 0 },
	[0x96] = { "STANDBY (old)", ata_succeed, 0 },
	[0x97] = { "IDLE (old)", ata_succeed, 0 },
	[0x98] = { "CHECK POWER MODE (old)", ata_power_mode, 0 },
	[0x99] = { "SLEEP (old)", ata_succeed, 0 },
	[0xb0] = { "SMART", ata_smart, 0 },
	[0xc4] = { "READ MULTIPLE", ata_read_multiple, AT },
	[0xc5] = { "WRITE MULTIPLE", ata_write_multiple, TO },
	[0xc6] = { "SET MULTIPLE MODE", ata_set_multiple, 0 },
	[0xc8] = { "READ DMA", ata_read_dma, AT },
	[0xc9] = { "READ DMA (old)", ata_read_dma, AT },
	[0xca] = { "WRITE DMA", ata_write_dma, TO },
	[0xcb] = { "WRITE DMA (old)", ata_write_dma, TO },
	[0xce] = { "WRITE MULTIPLE FUA EXT", ata_write_multiple_fua, TO48 },
	[0xe0] = { "STANDBY IMMEDIATE", ata_succeed, 0 },
	[0xe1] = { "IDLE IMMEDIATE", ata_succeed, 0 },
	[0xe2] = { "STANDBY", ata_succeed, 0 },
	[0xe3] = { "IDLE", ata_succeed, 0 },
	[0xe5] = { "CHECK POWER MODE", ata_power_mode, 0 },
	[0xe6] = { "SLEEP", ata_succeed, 0 },
	[0xe7] = { "FLUSH CACHE", ata_flush, 0 },
	[0xea] = { "FLUSH CACHE EXT", ata_flush, ATA_ROW_48 },
	[0xec] = { "IDENTIFY DEVICE", ata_identify, 0 },
	[0xef] = { "SET FEATURES", ata_set_features, 0 },
	[0xf5] = { "SECURITY FREEZE LOCK", ata_succeed, 0 },
	[0xf8] = { "READ NATIVE MAX ADDRESS", ata_native_max, 0 },
};

const struct ata_row ata_packet_rows[256] = {
	[0x00] = { "NOP", NULL, 0 },
	[0x20] = { "READ SECTORS", NULL, ATA_ROW_SIGNATURE },
	[0xa0] = { "PACKET", ata_packet, 0 },
	[0xa1] = { "IDENTIFY PACKET DEVICE", ata_identify, 0 },
	[0xe0] = { "STANDBY IMMEDIATE", ata_succeed, 0 },
	[0xe1] = { "IDLE IMMEDIATE", ata_succeed, 0 },
	[0xe5] = { "CHECK POWER MODE", ata_power_mode, 0 },
	[0xe6] = { "SLEEP", ata_succeed, 0 },
	[0xe7] = { "FLUSH CACHE", ata_succeed, 0 },
	[0xec] = { "IDENTIFY DEVICE", NULL, ATA_ROW_SIGNATURE },
	[0xef] = { "SET FEATURES", ata_set_features, 0 },
	[0xf5] = { "SECURITY FREEZE LOCK", ata_succeed, 0 },
};
/* clang-format on */
