/* IDENTIFY DEVICE and IDENTIFY PACKET DEVICE (ata.md 2.8, ACS-3 7.12, 7.13). */
#include "ata/unit_impl.h"

#include <string.h>

#include "base/bytes.h"
#include "block/block.h"

/* clang-format off */
enum { DISK, DISK_SATA, PACKET, PACKET_SATA };

/* What does not depend on the unit: word, and its value for each kind. */
static const struct { uint8_t word; uint16_t value[4]; } constants[] = {
	{ 0,	{ 0x0040, 0x0040, 0x85c0, 0x85c0 } },	/* packets: DRQ within 50 us, no interrupt then */
	{ 2,	{ 0xc837, 0xc837, 0, 0 } },		/* complete, no spin-up needed */
	{ 48,	{ 0x4000, 0x4000, 0x4000, 0x4000 } },
	{ 49,	{ 0x2f00, 0x2f00, 0x0f00, 0x0f00 } },	/* LBA, DMA, IORDY */
	{ 50,	{ 0x4000, 0x4000, 0x4000, 0x4000 } },
	{ 51,	{ 0x0200, 0x0200, 0x0200, 0 } },
	{ 52,	{ 0x0200, 0x0200, 0x0200, 0 } },
	{ 53,	{ 0x0007, 0x0007, 0x0006, 0x0006 } },
	{ 64,	{ 0x0003, 0x0003, 0x0003, 0x0003 } },	/* PIO 3 and 4 */
	{ 65,	{ 0x0078, 0x0078, 0x0078, 0x0078 } },	/* cycle times, ns */
	{ 66,	{ 0x0078, 0x0078, 0x0078, 0x0078 } },
	{ 67,	{ 0x0078, 0x0078, 0x0078, 0x0078 } },
	{ 68,	{ 0x0078, 0x0078, 0x0078, 0x0078 } },
	{ 75,	{ 0, ATA_TAGS - 1, 0, 0 } },
	{ 76,	{ 0, 0x010e, 0, 0x000e } },		/* generations 1 to 3, NCQ */
	{ 77,	{ 0, 0x0006, 0, 0x0006 } },
	{ 78,	{ 0, 0x0004, 0, 0x0020 } },		/* auto-activate; notification */
	{ 80,	{ 0x01f0, 0x03f0, 0x01f0, 0x01f0 } },	/* up to ATA8: more makes libata want logs */
	{ 82,	{ 0x4069, 0x4069, 0x4218, 0x4218 } },
	{ 83,	{ 0x7400, 0x7400, 0x4000, 0x4000 } },	/* 48 bit, FLUSH CACHE (EXT) */
	{ 84,	{ 0x4163, 0x4163, 0x4000, 0x4000 } },	/* WWN, FUA, logs, SMART self-test */
	{ 86,	{ 0x3400, 0x3400, 0, 0 } },
	{ 87,	{ 0x4163, 0x4163, 0x4000, 0x4000 } },
	{ 106,	{ 0x4000, 0x4000, 0, 0 } },
	{ 119,	{ 0x4000, 0x4000, 0, 0 } },
	{ 120,	{ 0x4000, 0x4000, 0, 0 } },
	{ 209,	{ 0x4000, 0x4000, 0, 0 } },
	{ 222,	{ 0, 0x107f, 0, 0x107f } },
};

enum {	/* words that depend on it */
	W_CYLINDERS = 1, W_HEADS = 3, W_SPT = 6, W_SERIAL = 10, W_FIRMWARE = 23, W_MODEL = 27,
	W_MULTIPLE_MAX = 47, W_CUR_CYLINDERS = 54, W_CUR_HEADS = 55, W_CUR_SPT = 56, W_CUR_SECTORS = 57,
	W_MULTIPLE = 59, W_SECTORS_28 = 60, W_MWDMA = 63, W_SATA_ENABLED = 79, W_ENABLED = 85,
	W_UDMA = 88, W_RESET_RESULT = 93, W_SECTORS = 100, W_WWN = 108, W_ROTATION = 217,
	W_ADDITIONAL = 69, W_TRIM_BLOCKS = 105, W_TRIM = 169, W_CHECKSUM = 255,

	SERIAL_LEN = 20, FIRMWARE_LEN = 8, MODEL_LEN = 40,
	CYLINDERS_MAX = 16383, SECTORS_28_MAX = 0x0fffffff,
	MULTIPLE_VALID = 0x0100, MULTIPLE_FIXED = 0x8000,
	ENABLED_SMART = 1 << 0, ENABLED_WRITE_CACHE = 1 << 5, ENABLED_LOOK_AHEAD = 1 << 6,
	RESET_DEVICE0 = 0x6003, RESET_DEVICE1 = 0x6300,
	ROTATION_SSD = 1, ROTATION_7200 = 0x1c20,
	TRIM_READS_ZEROS = 0x4020,
	SIGNATURE = 0xa5,
};
/* clang-format on */

static void put_word(uint8_t *out, unsigned word, unsigned value)
{
	put_le16(out + word * 2, (uint16_t)value);
}

/* The first character is the high byte of its word. */
static void put_text(uint8_t *out, unsigned word, const char *text, size_t len)
{
	size_t n = strlen(text);

	for (size_t i = 0; i < len; i++)
		out[word * 2 + (i ^ 1)] = (uint8_t)(i < n ? text[i] : ' ');
}

static void put_geometry(const struct ata_unit *u, uint8_t *out)
{
	uint64_t sectors = ata_sectors(u), track = (uint64_t)u->heads * u->spt;
	unsigned cylinders = (unsigned)MIN(CYLINDERS_MAX, sectors / (ATA_HEADS * ATA_SPT));
	unsigned current = (unsigned)MIN(UINT16_MAX, MIN(sectors, SECTORS_28_MAX) / track);

	put_word(out, W_CYLINDERS, cylinders);
	put_word(out, W_HEADS, ATA_HEADS);
	put_word(out, W_SPT, ATA_SPT);
	put_word(out, W_CUR_CYLINDERS, current);
	put_word(out, W_CUR_HEADS, u->heads);
	put_word(out, W_CUR_SPT, u->spt);
	put_le32(out + W_CUR_SECTORS * 2, (uint32_t)(current * track));
	put_le32(out + W_SECTORS_28 * 2, (uint32_t)MIN(sectors, SECTORS_28_MAX));
	put_le64(out + W_SECTORS * 2, sectors);
}

static void put_disk(const struct ata_unit *u, uint8_t *out)
{
	put_geometry(u, out);
	put_word(out, W_MULTIPLE_MAX, MULTIPLE_FIXED | ATA_MULTIPLE_MAX);
	put_word(out, W_MULTIPLE, u->multiple ? MULTIPLE_VALID | u->multiple : 0);
	put_word(out, W_ENABLED,
		 (0x4069 & ~(ENABLED_SMART | ENABLED_WRITE_CACHE | ENABLED_LOOK_AHEAD)) |
			 (u->smart ? ENABLED_SMART : 0) |
			 (u->write_cache ? ENABLED_WRITE_CACHE : 0) |
			 (u->look_ahead ? ENABLED_LOOK_AHEAD : 0));
	for (unsigned i = 0; i < 4; i++)
		put_word(out, W_WWN + i, (unsigned)(u->wwn >> (48 - 16 * i)) & 0xffff);
	put_word(out, W_ROTATION, u->rotational ? ROTATION_7200 : ROTATION_SSD);
	if (!block_is_writable(u->disk))
		return;
	put_word(out, W_ADDITIONAL, block_can_discard(u->disk) ? TRIM_READS_ZEROS : 0);
	put_word(out, W_TRIM_BLOCKS, ATA_DSM_BLOCKS);
	put_word(out, W_TRIM, 1);
}

void ata_put_identify(const struct ata_unit *u, uint8_t out[ATA_SECTOR])
{
	unsigned kind = u->disk ? (u->sata ? DISK_SATA : DISK) : u->sata ? PACKET_SATA : PACKET;
	unsigned udma = kind == DISK_SATA ? 0x7f : 0x3f;

	memset(out, 0, ATA_SECTOR);
	for (unsigned i = 0; i < G_N_ELEMENTS(constants); i++)
		put_word(out, constants[i].word, constants[i].value[kind]);
	put_text(out, W_SERIAL, u->serial, SERIAL_LEN);
	put_text(out, W_FIRMWARE, u->firmware, FIRMWARE_LEN);
	put_text(out, W_MODEL, u->model, MODEL_LEN);
	put_word(out, W_MWDMA, 0x0007 | (u->mwdma == ATA_NO_MODE ? 0 : 0x100u << u->mwdma));
	put_word(out, W_UDMA, udma | (u->udma == ATA_NO_MODE ? 0 : 0x100u << u->udma));
	put_word(out, W_SATA_ENABLED, (u->auto_activate ? 0x0004 : 0) | (u->notify ? 0x0020 : 0));
	if (!u->sata)
		put_word(out, W_RESET_RESULT, u->second ? RESET_DEVICE1 : RESET_DEVICE0);
	if (u->disk)
		put_disk(u, out);
	else
		put_word(out, W_ENABLED, 0x4218);
	out[W_CHECKSUM * 2] = SIGNATURE;
	ata_put_checksum(out);
}

co_fn unsigned ata_identify(struct ata_unit *u, struct ata_cmd *c)
{
	ata_put_identify(u, u->buf);
	return ata_send_sectors(c, u->buf, 1);
}
