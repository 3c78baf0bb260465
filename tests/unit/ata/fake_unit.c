/* See fake_unit.h. */
#include "fake_unit.h"

#include <errno.h>
#include <string.h>

enum { DONE = ATA_DRDY | ATA_DSC, PACKET_READ = 0xa8, PACKET_WRITE = 0xaa, PACKET_ODD = 0x12 };

struct ata_unit *fake_unit_new(struct loop *loop, bool is_packet, bool second)
{
	struct ata_unit *u = g_new0(struct ata_unit, 1);

	u->loop = loop;
	u->is_packet = is_packet;
	u->second = second;
	for (size_t i = 0; i < sizeof(u->media); i++)
		u->media[i] = (uint8_t)(i * 7 + i / ATA_SECTOR + 1 + 100 * second);
	return u;
}

void fake_unit_free(struct ata_unit *u)
{
	g_free(u);
}

void fake_unit_go(struct ata_unit *u)
{
	co_queue_wake_all(&u->io);
}

/* Reads or writes the medium: buffers are left alone from its return on. */
static co_fn void do_io(struct ata_unit *u)
{
	if (!u->is_slow)
		return;
	u->in_io++;
	co_queue_wait(&u->io);
	u->in_io--;
}

static void end(struct ata_cmd *c, uint8_t error)
{
	c->regs.device = c->tf.device;
	c->regs.count = c->tf.count;
	c->regs.lba = c->tf.lba;
	c->regs.error = error;
	c->regs.status = DONE | (error ? ATA_ERR : 0);
}

static co_fn int block(struct ata_cmd *c, enum ata_phase phase, void *buf, size_t len, bool irq)
{
	struct ata_drq drq = {.phase = phase, .buf = buf, .len = len, .irq = irq};

	drq.regs = (struct ata_regs){.status = DONE | ATA_DRQ, .device = c->tf.device};
	if (c->tf.command == ATA_OP_PACKET) {
		drq.regs.count = phase == ATA_PHASE_IN    ? ATA_REASON_IN
				 : phase == ATA_PHASE_CDB ? ATA_REASON_CDB
							  : ATA_REASON_OUT;
		drq.regs.lba = (uint64_t)len << 8;
	}
	return c->ops->pio(c, &drq);
}

static co_fn uint8_t pio(struct ata_unit *u, struct ata_cmd *c, bool to_host)
{
	unsigned count = c->tf.count & 0xff, lba = c->tf.lba & 0xff;
	uint8_t b[ATA_SECTOR];

	if (lba + count > FAKE_SECTORS)
		return ATA_IDNF;
	for (unsigned i = 0; i < count; i++) {
		uint8_t *p = u->media + (size_t)(lba + i) * ATA_SECTOR;

		if (to_host) {
			do_io(u);
			memcpy(b, p, sizeof(b));
		}
		if (u->fails)
			return ATA_UNC;
		if (block(c, to_host ? ATA_PHASE_IN : ATA_PHASE_OUT, b, sizeof(b), to_host || i))
			return ATA_ABRT;
		if (!to_host) {
			do_io(u);
			memcpy(p, b, sizeof(b));
		}
	}
	c->quiet = to_host;
	return 0;
}

static co_fn uint8_t dma(struct ata_unit *u, struct ata_cmd *c, bool to_host, size_t off,
			 size_t len)
{
	struct iovs iov;
	int res;

	if (off + len > sizeof(u->media))
		return ATA_IDNF;
	res = c->ops->dma_begin(c, to_host, len, &iov);
	if (res < 0)
		return ATA_ABRT;
	do_io(u);
	u->last_moved = MIN(iov.len, len) / ATA_SECTOR * ATA_SECTOR;
	if (u->fails)
		u->last_moved = 0;
	if (to_host)
		iovs_put(&iov, 0, u->media + off, u->last_moved);
	else
		iovs_get(&iov, 0, u->media + off, u->last_moved);
	if (c->ops->dma_end(c, u->last_moved) < 0)
		return ATA_ABRT;
	return u->fails ? ATA_UNC : 0;
}

static co_fn uint8_t packet(struct ata_unit *u, struct ata_cmd *c)
{
	size_t off, len;
	bool to_host;

	if (block(c, ATA_PHASE_CDB, u->last_cdb, ATA_CDB_LEN, false))
		return ATA_ABRT;
	off = u->last_cdb[5] * (size_t)2048;
	len = u->last_cdb[9] * (size_t)2048;
	to_host = u->last_cdb[0] == PACKET_READ;
	if (u->last_cdb[0] == PACKET_ODD)
		return block(c, ATA_PHASE_IN, u->media, 5, true) ? ATA_ABRT : 0;
	if (u->last_cdb[0] != PACKET_READ && u->last_cdb[0] != PACKET_WRITE)
		return 0;
	if (!len)
		return 0;
	if (off + len > sizeof(u->media))
		return ATA_ABRT;
	if (c->tf.feature & 1)
		return dma(u, c, to_host, off, len);
	do_io(u);
	return block(c, to_host ? ATA_PHASE_IN : ATA_PHASE_OUT, u->media + off, len, true)
		       ? ATA_ABRT
		       : 0;
}

static co_fn uint8_t run(struct ata_unit *u, struct ata_cmd *c)
{
	size_t off = (c->tf.lba & 0xff) * (size_t)ATA_SECTOR,
	       len = (c->tf.count & 0xff) * (size_t)ATA_SECTOR;

	switch (c->tf.command) {
	case 0x40: do_io(u); return u->fails ? ATA_UNC : 0;
	case 0x20: return pio(u, c, true);
	case 0x30: return pio(u, c, false);
	case 0xc8: return dma(u, c, true, off, len);
	case 0xca: return dma(u, c, false, off, len);
	case ATA_OP_PACKET: return u->is_packet ? packet(u, c) : ATA_ABRT;
	default: return ATA_ABRT;
	}
}

co_fn void ata_execute(struct ata_unit *u, struct ata_cmd *c)
{
	uint8_t error;

	u->executed++;
	u->last_tf = c->tf;
	error = run(u, c);
	end(c, error);
	if (c->tf.command == ATA_OP_PACKET) {
		c->regs.count = ATA_REASON_DONE;
		c->quiet = false;
	}
}

void ata_cancel(struct ata_cmd *c)
{
	c->cancelled = true;
}

void ata_signature(const struct ata_unit *u, struct ata_regs *r)
{
	*r = (struct ata_regs){.error = 1, .device = 0xa0, .count = 1};
	r->lba = u->is_packet ? 0xeb1401 : 0x000001;
	r->status = u->is_packet ? 0 : DONE;
}

void ata_reset(struct ata_unit *u, enum ata_reset_kind kind, struct ata_regs *r)
{
	u->resets++;
	u->last_reset = kind;
	if (r)
		ata_signature(u, r);
}

bool ata_unit_is_packet(const struct ata_unit *u)
{
	return u->is_packet;
}

/* For controllers, which make their units themselves. */
struct ata_unit *ata_unit_new(const struct ata_unit_options *o, GError **error)
{
	(void)error;
	return fake_unit_new(o->loop, !o->disk, o->second);
}

co_fn void ata_unit_free(struct ata_unit *u)
{
	fake_unit_free(u);
}
