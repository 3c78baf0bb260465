/* See fis.h. */
#include "device/ahci/fis.h"

#include <string.h>

#include "base/bytes.h"

/* clang-format off */
enum {
	FIS_H2D = 0x27, FIS_D2H = 0x34, FIS_PIO = 0x5f, FIS_SDB = 0xa1,
	F_TYPE = 0, F_FLAGS = 1, F_STATUS = 2, F_COMMAND = 2, F_ERROR = 3, F_FEATURE = 3, F_LBA = 4,
	F_DEVICE = 7, F_LBA_HIGH = 8, F_FEATURE_HIGH = 11, F_COUNT = 12, F_COUNT_HIGH = 13, F_CONTROL = 15,
	F_END_STATUS = 15, F_LEN = 16, SDB_TAGS = 4,
	FLAG_C = 0x80, FLAG_N = 0x80, FLAG_I = 0x40, FLAG_D = 0x20, FLAG_PMP = 0x0f,
	CONTROL_SRST = 4,

	H_CFL = 0x1f, H_ATAPI = 1 << 5, H_WRITE = 1 << 6, H_CLEAR = 1 << 10,
	PRD_COUNT = 0x3fffff,
};
/* clang-format on */

void ahci_get_header(const uint8_t raw[HEADER_LEN], struct ahci_header *out)
{
	uint32_t flags = get_le32(raw);

	*out = (struct ahci_header){
		.cfl = (flags & H_CFL) * 4,
		.atapi = flags & H_ATAPI,
		.write = flags & H_WRITE,
		.clear_busy = flags & H_CLEAR,
		.pmp = flags >> 12 & 0x0f,
		.prdtl = flags >> 16,
		.ctba = get_le64(raw + 8) & ~UINT64_C(0x7f),
	};
}

bool ahci_get_cfis(const uint8_t raw[CFIS_LEN], struct ahci_cfis *out)
{
	uint64_t low = raw[F_LBA] | raw[F_LBA + 1] << 8 | raw[F_LBA + 2] << 16;
	uint64_t high = raw[F_LBA_HIGH] | raw[F_LBA_HIGH + 1] << 8 | raw[F_LBA_HIGH + 2] << 16;

	if (raw[F_TYPE] != FIS_H2D || raw[F_FLAGS] & FLAG_PMP)
		return false;
	*out = (struct ahci_cfis){
		.command = raw[F_FLAGS] & FLAG_C,
		.srst = raw[F_CONTROL] & CONTROL_SRST,
		.tf =
			{
				.command = raw[F_COMMAND],
				.device = raw[F_DEVICE],
				.feature = (uint16_t)(raw[F_FEATURE] | raw[F_FEATURE_HIGH] << 8),
				.count = (uint16_t)(raw[F_COUNT] | raw[F_COUNT_HIGH] << 8),
				.lba = low | high << 24,
			},
	};
	return true;
}

void ahci_get_prd(const uint8_t raw[PRD_LEN], uint64_t *addr, uint64_t *len, bool *irq)
{
	uint32_t count = get_le32(raw + 12);

	*addr = get_le64(raw) & ~UINT64_C(1);
	*len = (uint64_t)(count & PRD_COUNT) + 1;
	*irq = count >> 31;
}

static void put_regs(uint8_t *out, const struct ata_regs *regs)
{
	out[F_STATUS] = regs->status;
	out[F_ERROR] = regs->error;
	for (unsigned i = 0; i < 3; i++) {
		out[F_LBA + i] = (uint8_t)(regs->lba >> 8 * i);
		out[F_LBA_HIGH + i] = (uint8_t)(regs->lba >> (24 + 8 * i));
	}
	out[F_DEVICE] = regs->device;
	out[F_COUNT] = (uint8_t)regs->count;
	out[F_COUNT_HIGH] = (uint8_t)(regs->count >> 8);
}

void ahci_put_d2h(uint8_t out[FIS_D2H_LEN], const struct ata_regs *regs, bool irq)
{
	memset(out, 0, FIS_D2H_LEN);
	out[F_TYPE] = FIS_D2H;
	out[F_FLAGS] = irq ? FLAG_I : 0;
	put_regs(out, regs);
}

void ahci_put_pio(uint8_t out[FIS_PIO_LEN], const struct ata_drq *drq)
{
	memset(out, 0, FIS_PIO_LEN);
	out[F_TYPE] = FIS_PIO;
	out[F_FLAGS] = (drq->irq ? FLAG_I : 0) | (drq->phase == ATA_PHASE_IN ? FLAG_D : 0);
	put_regs(out, &drq->regs);
	out[F_END_STATUS] = drq->end_status;
	put_le16(out + F_LEN, (uint16_t)((drq->len + 1) & ~(size_t)1));
}

void ahci_put_sdb(uint8_t out[FIS_SDB_LEN], unsigned status, unsigned error, uint32_t tags,
		  bool notification)
{
	enum { STATUS_BITS = 0x77 };

	out[F_TYPE] = FIS_SDB;
	out[F_FLAGS] = FLAG_I | (notification ? FLAG_N : 0);
	out[F_STATUS] = status & STATUS_BITS;
	out[F_ERROR] = (uint8_t)error;
	put_le32(out + SDB_TAGS, tags);
}
