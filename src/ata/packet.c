/*
 * PACKET (ata.md 2.5): a SCSI command through a task file, to the same logical unit that other
 * transports use.
 *
 * How much data there is and which way it goes follows from the packet alone. Data in by PIO is
 * gathered first and handed out in DRQ blocks of at most the byte count limit; data out by PIO is
 * taken in such blocks, and executed when all of it is there. What the unit would refuse anyhow is
 * refused before the first block. DMA moves straight between guest memory and the medium.
 */
#include "ata/unit_impl.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "scsi/table.h"

/* clang-format off */
enum {
	FEATURE_DMA = 1 << 0, FEATURE_OVERLAP = 1 << 1,
	LIMIT_NONE = 0xffff, LIMIT_MAX = 0xfffe,
	PIO_MAX = 16 << 20,		/* bytes of one command by PIO; drivers ask for 128 KiB */
	REPLY_MAX = 128 << 10,		/* longer than what any command with an allocation length says */

	OP_MODE_SELECT_6 = 0x15, OP_MODE_SENSE_6 = 0x1a, OP_GET_EVENT_STATUS = 0x4a,
	OP_NONE = 0xff,			/* no drive knows it */

	SENSE_FLAGS = 2, SENSE_KEY_MASK = 0x0f, SENSE_ILI = 0x20, SENSE_EOM = 0x40,
	ERROR_ILI = 1 << 0, ERROR_EOM = 1 << 1, KEY_ABORTED = 0x0b,
};
/* clang-format on */

/* ---- life ---- */

static void on_event(struct scsi_nexus *nexus, enum scsi_event event)
{
	struct ata_unit *u = scsi_nexus_opaque(nexus);

	if (event != SCSI_EVENT_MEDIUM || !u->notify || u->notified || !u->on_notify)
		return;
	u->notified = true; /* until the host asked what it was */
	u->on_notify(u, u->notify_arg);
}

static const struct scsi_nexus_ops parallel_ops = {.interface = SCSI_INTERFACE_ATAPI,
						   .event = on_event};
static const struct scsi_nexus_ops serial_ops = {.interface = SCSI_INTERFACE_SATA,
						 .event = on_event};

/* What INQUIRY says, which neither waits nor fails: a field of it without its padding. */
static void inquire(struct ata_unit *u, unsigned page, size_t at, size_t len, char *out)
{
	enum { INQUIRY = 0x12, EVPD = 1, LEN = 96 };
	uint8_t buf[LEN] = {0};
	struct iovec one;
	struct scsi_cmd c = {.nexus = u->nexus,
			     .cdb = {INQUIRY, page ? EVPD : 0, (uint8_t)page, 0, LEN}};
	size_t n = 0;

	c.in = iovs_one(&one, buf, sizeof(buf));
	scsi_execute(&c);
	if (c.status == SCSI_GOOD && c.in_done > at)
		n = MIN(len, c.in_done - at);
	memcpy(out, buf + at, n);
	out[n] = '\0';
	g_strchomp(out);
}

bool ata_packet_init(struct ata_unit *u, struct scsi_lu *lu, GError **error)
{
	enum {
		VENDOR = 8,
		VENDOR_LEN = 8,
		PRODUCT = 16,
		PRODUCT_LEN = 16,
		REVISION = 32,
		REVISION_LEN = 4,
		VPD_SERIAL = 0x80,
		VPD_HEAD = 4
	};
	char vendor[VENDOR_LEN + 1], product[PRODUCT_LEN + 1];
	g_autofree char *name = g_strdup_printf("ata:%s", u->name);

	if (!lu)
		return err_set(error, EINVAL, "a unit is a disk or a drive");
	u->rows = ata_packet_rows;
	u->nexus = scsi_nexus_new(lu, name, u->sata ? &serial_ops : &parallel_ops, u, false);
	inquire(u, 0, VENDOR, VENDOR_LEN, vendor);
	inquire(u, 0, PRODUCT, PRODUCT_LEN, product);
	inquire(u, 0, REVISION, REVISION_LEN, u->firmware);
	inquire(u, VPD_SERIAL, VPD_HEAD, sizeof(u->serial) - 1, u->serial);
	g_snprintf(u->model, sizeof(u->model), "%s %s", vendor, product);
	return true;
}

void ata_packet_fini(struct ata_unit *u)
{
	scsi_nexus_free(u->nexus);
	u->nexus = NULL;
}

/* The tray lock goes, sense is forgotten, and the host is told by a unit attention (1.5). */
void ata_packet_reset(struct ata_unit *u)
{
	u->nexus->prevent = 0;
	u->nexus->sense_len = 0;
	u->notified = false;
	scsi_nexus_attention(u->nexus, SENSE_POWER_ON);
	scsi_nexus_changed(u->nexus);
}

/* ---- phases ---- */

static int pio(struct ata_cmd *c, enum ata_phase phase, void *buf, size_t len, bool irq)
{
	static const uint8_t reasons[] = {
		[ATA_PHASE_CDB] = ATA_REASON_CDB,
		[ATA_PHASE_IN] = ATA_REASON_IN,
		[ATA_PHASE_OUT] = ATA_REASON_OUT,
	};
	struct ata_drq drq = {
		.phase = phase,
		.buf = buf,
		.len = len,
		.irq = irq,
		.end_status = ATA_BSY | ATA_DRDY | ATA_DSC,
		.regs = c->regs,
	};

	if (c->cancelled)
		return -ECANCELED;
	drq.regs.status = ATA_DRDY | ATA_DSC | ATA_DRQ;
	drq.regs.error = 0;
	drq.regs.count = reasons[phase];
	if (phase != ATA_PHASE_CDB)
		drq.regs.lba = (drq.regs.lba & ~UINT64_C(0xffff00)) | (uint64_t)len << 8;
	c->regs.lba = drq.regs.lba; /* the byte count stays when the command ends */
	return c->ops->pio(c, &drq);
}

/* All of buf, in blocks of at most limit bytes; only the last one may be odd. */
static int pio_blocks(struct ata_cmd *c, enum ata_phase phase, uint8_t *buf, size_t len,
		      size_t limit)
{
	size_t at = 0;
	int res = 0;

	while (res >= 0 && at < len) {
		size_t n = len - at <= limit ? len - at : limit & ~(size_t)1;

		res = pio(c, phase, buf + at, n, true);
		at += n;
	}
	return res;
}

/* ---- the command behind it ---- */

static co_fn void execute(struct ata_unit *u, struct ata_cmd *c, struct scsi_cmd *s)
{
	if (s->cdb[0] == OP_GET_EVENT_STATUS)
		u->notified = false;
	c->scsi = s;
	scsi_execute(s);
	c->scsi = NULL;
}

/* ERROR after PACKET (2.5.4): never 0 with CHK. */
static unsigned result(const struct scsi_cmd *s)
{
	unsigned flags = s->sense[SENSE_FLAGS], key = flags & SENSE_KEY_MASK;

	if (s->status == SCSI_GOOD)
		return 0;
	if (s->status != SCSI_CHECK || !s->sense_len || !key)
		return ATA_ABRT;
	return key << 4 | (key == KEY_ABORTED ? ATA_ABRT : 0) |
	       (flags & SENSE_ILI ? ERROR_ILI : 0) | (flags & SENSE_EOM ? ERROR_EOM : 0);
}

static co_fn unsigned by_pio(struct ata_unit *u, struct ata_cmd *c, struct scsi_cmd *s, bool out,
			     size_t len, size_t limit)
{
	uint8_t *buf = g_try_malloc(len);
	struct iovec one;
	int res = 0;

	if (!buf)
		return ATA_ABRT;
	if (out) {
		res = pio_blocks(c, ATA_PHASE_OUT, buf, len, limit);
		s->out = iovs_one(&one, buf, len);
	} else {
		s->in = iovs_one(&one, buf, len);
	}
	if (res >= 0) {
		execute(u, c, s);
		if (!out && s->status == SCSI_GOOD)
			res = pio_blocks(c, ATA_PHASE_IN, buf, MIN(s->in_done, len), limit);
	}
	g_free(buf);
	return res < 0 ? ATA_ABRT : result(s);
}

static co_fn unsigned by_dma(struct ata_unit *u, struct ata_cmd *c, struct scsi_cmd *s, bool out,
			     size_t len)
{
	struct iovs iov;
	int res = c->ops->dma_begin(c, !out, len, &iov);

	if (res < 0)
		return ATA_ABRT;
	if (out)
		s->out = iov;
	else
		s->in = iov;
	if (!c->cancelled)
		execute(u, c, s);
	res = c->ops->dma_end(c, out ? s->out_done : s->in_done);
	return res < 0 || c->cancelled ? ATA_ABRT : result(s);
}

static co_fn unsigned run_packet(struct ata_unit *u, struct ata_cmd *c)
{
	struct scsi_cmd s = {.nexus = u->nexus};
	bool dma = c->tf.feature & FEATURE_DMA, out;
	size_t limit = c->tf.lba >> 8 & 0xffff, len;

	memcpy(s.cdb, c->cdb, ATA_CDB_LEN);
	/* No ATAPI drive has the 6-byte forms: its drivers use those of 10 bytes. */
	if (s.cdb[0] == OP_MODE_SELECT_6 || s.cdb[0] == OP_MODE_SENSE_6)
		s.cdb[0] = OP_NONE;
	len = scsi_expected_length(scsi_nexus_lu(u->nexus), s.cdb, &out);
	limit = limit == LIMIT_NONE ? LIMIT_MAX : limit;
	if (!dma && !out && scsi_nexus_lu(u->nexus)->ops->rows[s.cdb[0]].alloc)
		len = MIN(len, REPLY_MAX);
	if (!dma && len && (!limit || (limit == 1 && len > 1) || len > PIO_MAX))
		return ATA_ABRT;
	if (!len || (out && scsi_would_refuse(&s))) {
		execute(u, c, &s);
		return result(&s);
	}
	return dma ? by_dma(u, c, &s, out, len) : by_pio(u, c, &s, out, len, limit);
}

co_fn unsigned ata_packet(struct ata_unit *u, struct ata_cmd *c)
{
	unsigned error = ATA_ABRT;

	c->regs.count = ATA_REASON_DONE;
	if (c->tf.feature & FEATURE_OVERLAP)
		return ATA_ABRT;
	if (c->has_cdb || pio(c, ATA_PHASE_CDB, c->cdb, ATA_CDB_LEN, false) >= 0)
		error = run_packet(u, c);
	c->regs.count = ATA_REASON_DONE;
	return error;
}
