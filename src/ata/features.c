/* Commands without data: SET FEATURES (2.9), SET MULTIPLE MODE, power, capacity; and settings. */
#include "ata/unit_impl.h"

#include "block/block.h"

enum { /* transfer modes: SET FEATURES 03h, COUNT */
       MODE_KIND = 0xf8,
       MODE_VALUE = 7,
       MODE_PIO = 0x00,
       MODE_PIO_FLOW = 0x08,
       MODE_MWDMA = 0x20,
       MODE_UDMA = 0x40,
       PIO_MAX = 4,
       MWDMA_MAX = 2,
       UDMA_MAX = 5,
       UDMA_MAX_SATA = 6,
};

void ata_reset_settings(struct ata_unit *u, enum ata_reset_kind kind)
{
	if (kind == ATA_RESET_HARD) {
		u->mwdma = u->udma = ATA_NO_MODE;
		u->notify = u->auto_activate = u->keep_settings = false;
		u->smart = true;
	}
	if (kind != ATA_RESET_HARD && u->keep_settings)
		return;
	u->write_cache = u->look_ahead = true;
	u->multiple = 0;
	u->heads = ATA_HEADS;
	u->spt = ATA_SPT;
}

static unsigned set_mode(struct ata_unit *u, unsigned mode)
{
	unsigned value = mode & MODE_VALUE, kind = mode & MODE_KIND;

	if ((kind == MODE_PIO && value <= 1) || (kind == MODE_PIO_FLOW && value <= PIO_MAX))
		return 0;
	if (kind == MODE_MWDMA && value <= MWDMA_MAX) {
		u->mwdma = (uint8_t)value;
		u->udma = ATA_NO_MODE;
		return 0;
	}
	if (kind == MODE_UDMA && value <= (u->sata && u->disk ? UDMA_MAX_SATA : UDMA_MAX)) {
		u->udma = (uint8_t)value;
		u->mwdma = ATA_NO_MODE;
		return 0;
	}
	return ATA_ABRT;
}

static unsigned set_sata(struct ata_unit *u, unsigned feature, bool on)
{
	enum { AUTO_ACTIVATE = 2, NOTIFICATION = 5 };

	if (u->sata && u->disk && feature == AUTO_ACTIVATE) {
		u->auto_activate = on;
		return 0;
	}
	if (u->sata && !u->disk && feature == NOTIFICATION) {
		u->notify = on;
		u->notified = false;
		return 0;
	}
	return ATA_ABRT;
}

static co_fn unsigned cache_off(struct ata_unit *u, struct ata_cmd *c)
{
	unsigned error = ata_flush(u, c);

	if (!error)
		u->write_cache = false;
	return error;
}

co_fn unsigned ata_set_features(struct ata_unit *u, struct ata_cmd *c)
{
	unsigned count = c->tf.count & 0xff;

	switch (c->tf.feature & 0xff) {
	case 0x02: /* write cache on */
		if (!u->disk)
			return ATA_ABRT;
		u->write_cache = true;
		return 0;
	case 0x82: return u->disk ? cache_off(u, c) : ATA_ABRT;
	case 0x03: return set_mode(u, count);
	case 0x10: return set_sata(u, count, true);
	case 0x90: return set_sata(u, count, false);
	case 0xaa: /* look-ahead on */
	case 0x55:
		if (!u->disk)
			return ATA_ABRT;
		u->look_ahead = (c->tf.feature & 0xff) == 0xaa;
		return 0;
	case 0x66: /* keep settings over a soft reset */
	case 0xcc: u->keep_settings = (c->tf.feature & 0xff) == 0x66; return 0;
	case 0x42: /* acoustic management */
	case 0xc2: return u->disk ? 0 : ATA_ABRT;
	default: return ATA_ABRT;
	}
}

co_fn unsigned ata_set_multiple(struct ata_unit *u, struct ata_cmd *c)
{
	unsigned count = c->tf.count & 0xff;

	if (count > ATA_MULTIPLE_MAX || (count & (count - 1)))
		return ATA_ABRT;
	u->multiple = (uint8_t)count;
	return 0;
}

co_fn unsigned ata_init_parameters(struct ata_unit *u, struct ata_cmd *c)
{
	unsigned spt = c->tf.count & 0xff;

	if (!spt)
		return ATA_ABRT;
	u->heads = (uint8_t)((c->tf.device & 0x0f) + 1);
	u->spt = (uint8_t)spt;
	return 0;
}

co_fn unsigned ata_native_max(struct ata_unit *u, struct ata_cmd *c)
{
	uint64_t sectors = ata_sectors(u), last = sectors ? sectors - 1 : 0;

	if (!(c->row->flags & ATA_ROW_48) && last > 0x0fffffff)
		last = 0x0fffffff;
	ata_put_lba(u, c, last);
	return 0;
}

co_fn unsigned ata_power_mode(struct ata_unit *u, struct ata_cmd *c)
{
	enum { ACTIVE = 0xff };

	(void)u;
	c->regs.count = ACTIVE;
	return 0;
}

co_fn unsigned ata_succeed(struct ata_unit *u, struct ata_cmd *c)
{
	(void)u;
	(void)c;
	return 0;
}
