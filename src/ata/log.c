/* READ LOG EXT and READ LOG DMA EXT (ata.md 2.12). */
#include "ata/unit_impl.h"

#include <string.h>

#include "base/bytes.h"

enum { DIRECTORY = 0x00, NCQ_ERROR = 0x10, IDENTIFY_DATA = 0x30, IDENTIFY_PAGES = 2 };

static unsigned pages_of(const struct ata_unit *u, unsigned log)
{
	switch (log) {
	case DIRECTORY: return 1;
	case NCQ_ERROR: return ata_unit_queue_depth(u) ? 1 : 0;
	case IDENTIFY_DATA: return IDENTIFY_PAGES;
	default: return 0;
	}
}

static void put_page(struct ata_unit *u, unsigned log, unsigned page, uint8_t *out)
{
	memset(out, 0, ATA_SECTOR);
	switch (log) {
	case DIRECTORY:
		put_le16(out, 1); /* version */
		for (unsigned i = 1; i < 256; i++)
			put_le16(out + 2 * i, (uint16_t)pages_of(u, i));
		break;
	case NCQ_ERROR:
		memcpy(out, u->failure, ATA_SECTOR);
		u->queue_failed = false;
		break;
	default:
		if (page > 0) {
			ata_put_identify(u, out);
			break;
		}
		put_le16(out, 1); /* revision; then how many pages, and their numbers */
		out[8] = IDENTIFY_PAGES;
		out[10] = 1;
	}
}

/* The pages asked for, into the unit's buffer: their number, or 0. */
static unsigned read_pages(struct ata_unit *u, const struct ata_cmd *c)
{
	unsigned log = c->tf.lba & 0xff, count = c->tf.count;
	unsigned first = (unsigned)((c->tf.lba >> 8 & 0xff) | (c->tf.lba >> 32 & 0xff) << 8);
	unsigned pages = pages_of(u, log);

	if (first >= pages || count < 1 || count > pages - first ||
	    (u->queue_failed && log != NCQ_ERROR))
		return 0;
	for (unsigned i = 0; i < count; i++)
		put_page(u, log, first + i, u->buf + (size_t)i * ATA_SECTOR);
	return count;
}

co_fn unsigned ata_read_log(struct ata_unit *u, struct ata_cmd *c)
{
	unsigned pages = read_pages(u, c);

	return pages ? ata_send_sectors(c, u->buf, pages) : ATA_ABRT;
}

co_fn unsigned ata_read_log_dma(struct ata_unit *u, struct ata_cmd *c)
{
	unsigned pages = read_pages(u, c);

	return pages ? ata_send_dma(c, u->buf, (size_t)pages * ATA_SECTOR) : ATA_ABRT;
}
