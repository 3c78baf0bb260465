/*
 * The bus master (SFF-8038i, "Programming Interface for Bus Master IDE Controller").
 *
 * START going from 0 to 1 arms the engine for one transfer, of whatever command comes or waits;
 * ACTIVE tells that. Going to 0 disarms it and ends a command that uses it. A transfer takes the
 * whole table at its beginning, every entry read once, and remembers in run for which START it was:
 * what it finds at its end concerns that one only. INT is a latch of INTRQ's rising edge.
 */
#include "ata/bmdma.h"

#include "base/bytes.h"

#include <errno.h>
#include <string.h>

enum {
	REG_COMMAND = 0,
	REG_STATUS = 2,
	REG_TABLE = 4,
	COMMAND_START = 0x01,
	COMMAND_TO_HOST = 0x08,
	STATUS_ACTIVE = 0x01,
	STATUS_ERROR = 0x02,
	STATUS_INT = 0x04,
	STATUS_CAPABLE = 0x60, /* drives 0 and 1 can do DMA: for software to note */
	ENTRY_LEN = 8,
	ENTRY_END = 0x80, /* in its last byte */
	PAGE = 4096,
};

struct bmdma {
	const struct bmdma_ops *ops;
	void *opaque;
	struct ata_channel *ch;
	uint8_t command, status; /* status without ACTIVE */
	uint32_t table;

	bool is_active;
	bool is_used;  /* by a transfer: another one needs another START */
	uint32_t run;  /* changes with START */
	uint32_t from; /* table at START */

	/* of the transfer under way */
	uint32_t its_run;
	size_t wanted, room; /* bytes of the device, and of the table for them */
	bool is_exact;       /* the table ends with the data */
	uint8_t page[PAGE];  /* copy of a part of the table */
};

/* ---- The table ------------------------------------------------------------------------------- */

/* One entry; true: it was the last, or the data end here. */
static int take_entry(struct bmdma *b, const uint8_t *entry, bool *over)
{
	uint64_t gpa = get_le32(entry) & ~1u;
	uint32_t len = get_le16(entry + 4) & 0xfffe;
	bool end = entry[ENTRY_LEN - 1] & ENTRY_END;
	size_t left = b->wanted - b->room;

	if (!len)
		len = 0x10000;
	b->is_exact = end && len == left;
	*over = end || len >= left;
	len = (uint32_t)MIN(len, left);
	b->room += len;
	return len ? b->ops->sg_add(b->opaque, gpa, len) : 0;
}

/* Page by page, since what follows the last entry's page may be no memory at all. */
static co_fn int walk(struct bmdma *b)
{
	uint64_t gpa = b->from;
	unsigned left = BMDMA_ENTRIES;
	bool over = false;

	while (!over && left) {
		size_t len = MIN(PAGE - gpa % PAGE, (size_t)left * ENTRY_LEN);
		int res;

		/* A table at 4 modulo 8 has an entry on two pages. */
		if (len < ENTRY_LEN)
			len = ENTRY_LEN;
		len -= len % ENTRY_LEN;
		res = b->ops->read(b->opaque, gpa, b->page, len);
		for (size_t at = 0; res == 0 && !over && at < len; at += ENTRY_LEN)
			res = take_entry(b, b->page + at, &over);
		if (res < 0)
			return res;
		gpa += len;
		left -= (unsigned)(len / ENTRY_LEN);
	}
	return 0;
}

/* ---- The channel's side ---------------------------------------------------------------------- */

static void on_irq(void *opaque, bool level)
{
	struct bmdma *b = opaque;

	if (level)
		b->status |= STATUS_INT;
	b->ops->irq(b->opaque, level);
}

static bool dma_is_ready(void *opaque)
{
	const struct bmdma *b = opaque;

	return b->is_active && !b->is_used;
}

/* Of a transfer that may have been stopped meanwhile. */
static void stop_engine(struct bmdma *b, uint8_t error)
{
	if (b->run != b->its_run)
		return;
	b->is_active = false;
	b->status |= error;
}

static co_fn int dma_begin(void *opaque, bool to_host, size_t len, struct iovs *iov)
{
	struct bmdma *b = opaque;
	int res;

	b->is_used = true;
	b->its_run = b->run;
	b->wanted = len;
	b->room = 0;
	b->is_exact = false;
	b->ops->sg_clear(b->opaque);
	res = walk(b);
	if (res == 0)
		res = b->ops->sg_begin(b->opaque, to_host, iov);
	if (res < 0)
		stop_engine(b, STATUS_ERROR);
	return res;
}

static co_fn int dma_end(void *opaque, size_t done, bool *hang)
{
	struct bmdma *b = opaque;
	int res = b->ops->sg_end(b->opaque, done);

	/* A table that is too short: the rest of a sector may have had no room. */
	*hang = b->room < b->wanted && done + ATA_SECTOR > b->room;
	if (res < 0)
		stop_engine(b, STATUS_ERROR);
	else if (*hang || (b->is_exact && done == b->wanted))
		stop_engine(b, 0);
	return res;
}

static const struct ata_channel_ops channel_ops = {
	.irq = on_irq,
	.dma_is_ready = dma_is_ready,
	.dma_begin = dma_begin,
	.dma_end = dma_end,
};

/* ---- Registers ------------------------------------------------------------------------------- */

static void write_command(struct bmdma *b, uint8_t value)
{
	uint8_t old = b->command;

	b->command = value & (COMMAND_START | COMMAND_TO_HOST);
	if (!((old ^ value) & COMMAND_START))
		return;
	b->run++;
	b->is_active = value & COMMAND_START;
	b->is_used = false;
	b->from = b->table;
	if (b->is_active)
		ata_channel_start_dma(b->ch);
	else
		ata_channel_stop_dma(b->ch);
}

static void write_byte(struct bmdma *b, unsigned off, uint8_t value)
{
	unsigned shift = 8 * (off - REG_TABLE);

	switch (off) {
	case REG_COMMAND: write_command(b, value); break;
	case REG_STATUS:
		b->status &= (uint8_t) ~(value & (STATUS_ERROR | STATUS_INT));
		b->status = (uint8_t)((b->status & ~STATUS_CAPABLE) | (value & STATUS_CAPABLE));
		break;
	case 1:
	case 3: break;
	default:
		b->table = (b->table & ~(0xffu << shift)) | (uint32_t)value << shift;
		b->table &= ~3u;
	}
}

static uint8_t read_byte(const struct bmdma *b, unsigned off)
{
	switch (off) {
	case REG_COMMAND: return b->command;
	case REG_STATUS: return b->status | (b->is_active ? STATUS_ACTIVE : 0);
	case 1:
	case 3: return 0;
	default: return (uint8_t)(b->table >> 8 * (off - REG_TABLE));
	}
}

uint32_t bmdma_read(struct bmdma *b, unsigned off, unsigned width)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < width && i < 4; i++)
		value |= (uint32_t)read_byte(b, off + i) << 8 * i;
	return value;
}

void bmdma_write(struct bmdma *b, unsigned off, uint32_t value, unsigned width)
{
	for (unsigned i = 0; i < width && i < 4; i++)
		write_byte(b, off + i, (uint8_t)(value >> 8 * i));
}

/* ---- Life ------------------------------------------------------------------------------------ */

void bmdma_reset(struct bmdma *b)
{
	b->command = 0;
	b->table = 0;
	b->is_active = false;
	b->run++;
	ata_channel_reset(b->ch);
	b->status = STATUS_CAPABLE;
}

void bmdma_revoke(struct bmdma *b)
{
	stop_engine(b, STATUS_ERROR);
	ata_channel_stop_dma(b->ch);
}

void bmdma_save(const struct bmdma *b, uint8_t *state)
{
	memset(state, 0, BMDMA_STATE);
	state[REG_COMMAND] = b->command;
	state[REG_COMMAND + 1] = b->is_used;
	state[REG_STATUS] = read_byte(b, REG_STATUS);
	put_le32(state + REG_TABLE, b->table);
	put_le32(state + BMDMA_LEN, b->from);
}

void bmdma_restore(struct bmdma *b, const uint8_t *state)
{
	b->command = state[REG_COMMAND] & (COMMAND_START | COMMAND_TO_HOST);
	b->status = state[REG_STATUS] & (STATUS_ERROR | STATUS_INT | STATUS_CAPABLE);
	b->is_active = b->command & COMMAND_START && state[REG_STATUS] & STATUS_ACTIVE;
	b->is_used = state[REG_COMMAND + 1] & 1;
	b->table = get_le32(state + REG_TABLE) & ~3u;
	b->from = get_le32(state + BMDMA_LEN) & ~3u;
	b->run++;
}

struct ata_channel *bmdma_channel(const struct bmdma *b)
{
	return b->ch;
}

struct bmdma *bmdma_new(struct loop *loop, const struct bmdma_ops *ops, void *opaque,
			struct ata_unit *device0, struct ata_unit *device1)
{
	struct bmdma *b = g_new0(struct bmdma, 1);

	b->ops = ops;
	b->opaque = opaque;
	b->status = STATUS_CAPABLE;
	b->ch = ata_channel_new(loop, &channel_ops, b, device0, device1);
	return b;
}

co_fn void bmdma_free(struct bmdma *b)
{
	if (!b)
		return;
	ata_channel_free(b->ch);
	g_free(b);
}
