/* PACKET in every form: byte count limits, both directions, PIO and DMA, errors, cancelling. */
#include "host.h"

#include <errno.h>

enum { DMA = 1, BLOCKS = 608 };

/* A packet device over the fixture's drive, its power-on attention taken. */
static co_fn struct host *packet_new(struct fx *f, bool sata)
{
	struct ata_unit_options o = {
		.loop = f->loop, .name = "cd0", .drive = drive_lu(f->drive), .sata = sata};
	GError *error = NULL;
	struct ata_unit *u = ata_unit_new(&o, &error);
	struct host *h;

	if (!u)
		fx_fail(f, __LINE__, "%s", error->message);
	h = host_new(f, u);
	host_packet(h, TUR, 0, 0);
	ENDED(h, ERR_END, 0x60);
	return h;
}

static co_fn void packet_free(struct host *h)
{
	ata_unit_free(h->u);
	host_free(h);
}

static co_fn void expect_sense(struct host *h, int line, unsigned key, unsigned asc)
{
	host_packet(h, "03 00 00 00 12 00", 0xfffe, 0);
	if ((h->data[2] & 15) != key || h->data[12] != asc)
		fx_fail(h->f, line, "sense %x/%02x, expected %x/%02x", h->data[2] & 15, h->data[12],
			key, asc);
}

#define SENSE_IS(h, key, asc) expect_sense(h, __LINE__, key, asc)

/* ---- forms ---- */

static co_fn void no_data_body(struct fx *f)
{
	struct host *h = packet_new(f, false);

	host_packet(h, TUR, 0, 0); /* limit 0 is fine without data */
	ENDED(h, GOOD_END, 0);
	CHECK(f, h->n_phases == 1 && h->phases[0].phase == ATA_PHASE_CDB);
	CHECK(f, h->phases[0].regs.status == 0x58 && h->phases[0].regs.count == ATA_REASON_CDB);
	CHECK(f, !h->phases[0].irq && h->phases[0].len == 12);
	CHECK(f, h->c.regs.count == ATA_REASON_DONE && !h->c.quiet);
	host_packet(h, "5a 00 3f 00 00 00 00 00 00 00", 0, 0); /* allocation length 0 */
	ENDED(h, GOOD_END, 0);
	host_packet(h, "55 10 00 00 00 00 00 00 00 00", 0, 0); /* and an empty list */
	ENDED(h, GOOD_END, 0);
	CHECK(f, h->n_phases == 1);
	host_packet(h, TUR, 0, 2); /* overlapped: refused before the packet */
	ENDED(h, ERR_END, ATA_ABRT);
	CHECK(f, h->n_phases == 0 && h->c.regs.count == ATA_REASON_DONE);
	host_packet(h, TUR, 0, 4); /* DMADIR is nobody's */
	ENDED(h, GOOD_END, 0);
	packet_free(h);
}

static void expect_blocks(struct host *h, int line, enum ata_phase phase, size_t total,
			  size_t limit)
{
	size_t left = total;
	unsigned i = 1;

	for (; left > 0 && i < h->n_phases; i++) {
		size_t n = left <= limit ? left : limit & ~(size_t)1;
		const struct ata_drq *p = &h->phases[i];

		if (p->phase != phase || p->len != n || !p->irq || p->regs.status != 0x58 ||
		    (p->regs.lba >> 8 & 0xffff) != n || !(p->end_status & ATA_BSY) ||
		    p->regs.count != (phase == ATA_PHASE_IN ? ATA_REASON_IN : ATA_REASON_OUT)) {
			fx_fail(h->f, line, "block %u of %zu bytes, expected %zu", i, p->len, n);
			return;
		}
		left -= n;
	}
	if (left || i != h->n_phases)
		fx_fail(h->f, line, "%u phases, %zu bytes missing", h->n_phases, left);
}

static bool has_blocks(const struct host *h, uint32_t lba, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *p = h->data + (size_t)i * FX_BLOCK;

		if (get_be32(p) != lba + i || p[100] != (uint8_t)(h->f->seed + lba + i))
			return false;
	}
	return true;
}

static co_fn void pio_in_body(struct fx *f)
{
	static const unsigned limits[] = {2,    3,    7,    511,    512,    2047,   2048,   2049,
					  4096, 6143, 6144, 0x8000, 0xfffd, 0xfffe, 0xffff, 12288};
	struct host *h = packet_new(f, false);

	for (unsigned i = 0; i < G_N_ELEMENTS(limits); i++) {
		unsigned blocks = limits[i] < 100 ? 1 : 6;
		char cdb[64];

		g_snprintf(cdb, sizeof(cdb), "28 00 00 00 00 05 00 00 %02x 00", blocks);
		memset(h->data, 0x5a, HOST_ROOM);
		host_packet(h, cdb, limits[i], 0);
		ENDED(h, GOOD_END, 0);
		expect_blocks(h, __LINE__, ATA_PHASE_IN, (size_t)blocks * FX_BLOCK,
			      MIN(limits[i], 0xfffe));
		CHECK(f, has_blocks(h, 5, blocks) && h->data[(size_t)blocks * FX_BLOCK] == 0x5a);
		CHECK(f, h->c.regs.count == ATA_REASON_DONE && !h->c.quiet);
	}
	host_packet(h, "28 00 00 00 00 00 00 01 40 00", 0xffff, 0); /* 640 KiB */
	ENDED(h, GOOD_END, 0);
	expect_blocks(h, __LINE__, ATA_PHASE_IN, 320 * FX_BLOCK, 0xfffe);
	CHECK(f, has_blocks(h, 0, 320));
	packet_free(h);
}

/* Limits that forbid data end before anything happened. */
static co_fn void bad_limit_body(struct fx *f)
{
	struct host *h = packet_new(f, false);

	host_packet(h, "28 00 00 00 00 00 00 00 01 00", 0, 0);
	ENDED(h, ERR_END, ATA_ABRT);
	CHECK(f, h->n_phases == 1 && h->c.regs.count == ATA_REASON_DONE);
	host_packet(h, "28 00 00 00 00 00 00 00 01 00", 1, 0);
	ENDED(h, ERR_END, ATA_ABRT);
	host_packet(h, "55 10 00 00 00 00 00 00 3c 00", 0, 0);
	ENDED(h, ERR_END, ATA_ABRT);
	host_packet(h, "12 00 00 00 01 00", 1, 0); /* one byte fits */
	ENDED(h, GOOD_END, 0);
	CHECK(f, h->moved == 1 && h->data[0] == 5);
	host_packet(h, "28 00 00 00 00 00 00 00 01 00", 0, DMA); /* there is no limit to DMA */
	ENDED(h, GOOD_END, 0);
	packet_free(h);
}

static co_fn void odd_reply_body(struct fx *f)
{
	struct host *h = packet_new(f, false);

	for (unsigned n = 1; n <= 40; n++) {
		char cdb[32];

		g_snprintf(cdb, sizeof(cdb), "12 00 00 00 %02x 00", n);
		memset(h->data, 0x5a, 64);
		host_packet(h, cdb, 10, 0);
		ENDED(h, GOOD_END, 0);
		expect_blocks(h, __LINE__, ATA_PHASE_IN, n, 10);
		CHECK(f, h->moved == n && h->data[n] == 0x5a);
	}
	host_packet(h, "12 00 00 00 ff 00", 0xfffe, 0); /* shorter than allowed */
	CHECK(f, h->moved == 96 && h->phases[1].len == 96);
	packet_free(h);
}

/* Allocation lengths beyond all reason are room, and no more; so much data by PIO is refused. */
static co_fn void large_body(struct fx *f)
{
	struct host *h = packet_new(f, false);

	host_packet(h, "a0 00 00 00 00 00 ff ff ff ff 00 00", 0xfffe, 0);
	ENDED(h, GOOD_END, 0);
	CHECK(f, h->moved == 16);
	host_packet(h, "3c 00 00 00 00 00 ff ff ff 00", 0xfffe, 0);
	ENDED(h, GOOD_END, 0);
	CHECK(f, h->moved == 4);
	host_packet(h, "a8 00 00 00 00 00 00 00 20 01 00 00", 0xfffe, 0);
	ENDED(h, ERR_END, ATA_ABRT);
	CHECK(f, h->n_phases == 1);
	packet_free(h);
}

/* ---- data out ---- */

static void fill_page5(struct host *h)
{
	memset(h->data, 0, 60);
	h->data[8] = 5;
	h->data[9] = 0x32;
	h->data[10] = 0x41;
	h->data[11] = 4;
	h->data[12] = 8;
	h->data[23] = 150;
}

static co_fn void pio_out_body(struct fx *f)
{
	static const unsigned limits[] = {2, 3, 10, 59, 60, 61, 0xfffe, 0xffff};
	struct host *h = packet_new(f, false);

	for (unsigned i = 0; i < G_N_ELEMENTS(limits); i++) {
		fill_page5(h);
		host_packet(h, "55 10 00 00 00 00 00 00 3c 00", limits[i], 0);
		ENDED(h, GOOD_END, 0);
		expect_blocks(h, __LINE__, ATA_PHASE_OUT, 60, MIN(limits[i], 0xfffe));
	}
	h->data[9] = 0x31; /* a page length that does not exist: told after the data */
	host_packet(h, "55 10 00 00 00 00 00 00 3c 00", 0xfffe, 0);
	ENDED(h, ERR_END, 0x50);
	CHECK(f, h->moved == 60);
	SENSE_IS(h, 5, 0x26);
	packet_free(h);
}

/* SEND CUE SHEET, SEND KEY, FORMAT UNIT, WRITE BUFFER: length from the CDB, refused or not. */
static co_fn void out_lengths_body(struct fx *f)
{
	static const struct {
		const char *cdb;
		size_t len;
		unsigned asc;
	} rows[] = {
		{"5d 00 00 00 00 00 00 00 18 00", 24, 0x2c},
		{"a3 00 00 00 00 00 00 00 00 07 00 00", 7, 0x24},
		{"04 11 00 00 00 00", 12, 0x30},
		{"3b 00 00 00 00 00 00 00 04 00", 4, 0},
		{"3b 02 00 00 00 00 00 00 09 00", 9, 0x24},
	};
	struct host *h = packet_new(f, false);

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		memset(h->data, 0, 64);
		host_packet(h, rows[i].cdb, 0xfffe, 0);
		CHECK(f, h->moved == rows[i].len);
		if (h->moved != rows[i].len)
			fx_fail(f, __LINE__, "%s: %zu bytes", rows[i].cdb, h->moved);
		if (rows[i].asc) {
			ENDED(h, ERR_END, 0x50);
			SENSE_IS(h, 5, rows[i].asc);
		} else {
			ENDED(h, GOOD_END, 0);
		}
	}
	packet_free(h);
}

static co_fn void write_body(struct fx *f)
{
	struct host *h = packet_new(f, false);

	for (unsigned dma = 0; dma < 2; dma++) {
		for (unsigned i = 0; i < 192 * FX_BLOCK; i++)
			h->data[i] = (uint8_t)(i * 7 + i / 256 + dma);
		h->dma_piece = 4099;
		host_packet(h,
			    dma ? "2a 00 00 00 00 c0 00 00 c0 00" : "2a 00 00 00 00 00 00 00 c0 00",
			    0xffff, dma);
		ENDED(h, GOOD_END, 0);
		CHECK(f, (dma ? h->dma_done : h->moved) == 192 * FX_BLOCK);
		CHECK(f, !dma || (!h->dma_to_host && h->n_phases == 2));
		memset(h->data, 0, 192 * FX_BLOCK);
		host_packet(h,
			    dma ? "28 00 00 00 00 c0 00 00 c0 00" : "28 00 00 00 00 00 00 00 c0 00",
			    0xfffe, !dma);
		ENDED(h, GOOD_END, 0);
		for (unsigned i = 0; i < 192 * FX_BLOCK; i++) {
			if (h->data[i] != (uint8_t)(i * 7 + i / 256 + dma)) {
				fx_fail(f, __LINE__, "byte %u differs", i);
				break;
			}
		}
	}
	host_packet(h, "2a 00 7f ff ff ff 00 00 01 00", 0xfffe, 0); /* outside: after the data */
	ENDED(h, ERR_END, 0x50);
	packet_free(h);
}

/* ---- DMA ---- */

static co_fn void dma_body(struct fx *f)
{
	struct host *h = packet_new(f, true);

	for (h->dma_piece = 1; h->dma_piece < 9000; h->dma_piece = h->dma_piece * 3 + 1) {
		memset(h->data, 0x5a, HOST_ROOM);
		host_packet(h, "28 00 00 00 00 09 00 00 20 00", 0, DMA);
		ENDED(h, GOOD_END, 0);
		CHECK(f, h->dma_to_host && h->dma_len == 32 * FX_BLOCK);
		CHECK(f, h->dma_done == 32 * FX_BLOCK && has_blocks(h, 9, 32));
		CHECK(f, h->c.regs.count == ATA_REASON_DONE && h->data[32 * FX_BLOCK] == 0x5a);
	}
	host_packet(h, "12 00 00 00 ff 00", 0, DMA); /* less than the host has room for */
	ENDED(h, GOOD_END, 0);
	CHECK(f, h->dma_len == 255 && h->dma_done == 96);
	for (size_t room = 0; room < 5000; room = room * 2 + 1) {
		memset(h->data, 0x5a, 8192);
		h->dma_room = room;
		host_packet(h, "28 00 00 00 00 00 00 00 02 00", 0, DMA);
		CHECK(f, h->dma_done <= room && h->data[room] == 0x5a);
	}
	packet_free(h);
}

/* ---- errors ---- */

static co_fn void errors_body(struct fx *f)
{
	struct host *h = packet_new(f, false);

	host_packet(h, "ff 00", 0xfffe, 0);
	ENDED(h, ERR_END, 0x50);
	CHECK(f, h->c.regs.count == ATA_REASON_DONE);
	SENSE_IS(h, 5, 0x20);
	SENSE_IS(h, 0, 0x00); /* told once */
	/* a write to no medium asks for no data */
	host_packet(h, "2a 00 00 00 00 00 00 00 01 00", 0xfffe, 0);
	ENDED(h, ERR_END, 0x20);
	CHECK(f, h->n_phases == 1 && h->moved == 0);
	SENSE_IS(h, 2, 0x3a);
	host_packet(h, "2a 00 00 00 00 00 00 00 01 00", 0xfffe, DMA);
	ENDED(h, ERR_END, 0x20);
	CHECK(f, !h->dma);
	host_packet(h, "28 00 00 00 00 00 00 00 01 00", 0xfffe, DMA);
	ENDED(h, ERR_END, 0x20);
	CHECK(f, h->dma_done == 0);
	for (unsigned op = 0; op < 2; op++) { /* no 6-byte mode commands on ATAPI */
		host_packet(h, op ? "15 10 00 00 18 00" : "1a 00 3f 00 ff 00", 0xfffe, 0);
		ENDED(h, ERR_END, 0x50);
		SENSE_IS(h, 5, 0x20);
	}
	packet_free(h);
}

/* CVE-2020-29443: addresses and lengths outside the medium, with any limit. */
static co_fn void outside_body(struct fx *f)
{
	static const char *const cdbs[] = {
		"28 00 7f ff ff ff 00 00 01 00",       "28 00 ff ff ff ff 00 ff ff 00",
		"28 00 00 00 02 60 00 00 01 00",       "28 00 00 00 02 5f 00 00 02 00",
		"28 00 00 00 02 5f 00 ff ff 00",       "a8 00 00 00 02 5f 00 00 00 02 00 00",
		"a8 00 7f ff ff ff 00 00 00 10 00 00", "a8 00 00 00 00 00 ff ff ff ff 00 00",
		"be 00 7f ff ff ff 00 00 02 f8 00 00", "be 00 00 00 02 5f 00 00 02 f8 00 00",
		"be 00 00 00 00 00 ff ff ff f8 01 00", "b9 00 00 00 02 00 63 3b 4a f8 00 00",
	};
	static const unsigned limits[] = {1, 2, 3, 511, 2048, 2049, 0xfffe, 0xffff};
	struct host *h = packet_new(f, false);

	h->dma_room = 70000;
	for (unsigned i = 0; i < G_N_ELEMENTS(cdbs); i++) {
		for (unsigned l = 0; l < G_N_ELEMENTS(limits); l++) {
			for (unsigned dma = 0; dma < 2; dma++) {
				host_packet(h, cdbs[i], limits[l], dma);
				if (h->c.regs.status != ERR_END || h->moved)
					fx_fail(f, __LINE__, "%s, limit %u: %zu bytes, status %02x",
						cdbs[i], limits[l], h->moved, h->c.regs.status);
			}
		}
		host_packet(h, "28 00 00 00 00 00 00 00 01 00", 0xfffe, 0);
		ENDED(h, GOOD_END, 0);
	}
	packet_free(h);
}

/* CVE-2020-29443 again: the disc is taken out while its data is on the way. */
static co_fn void taken_out_body(struct fx *f)
{
	struct host *h = packet_new(f, false);

	memset(h->packet, 0, sizeof(h->packet));
	h->packet[0] = 0x28;
	h->packet[8] = 16;
	host_start(h, ATA_OP_PACKET, 0, 0, 2048 << 8, 0xa0);
	while (h->n_phases < 4)
		co_reschedule();
	CHECK(f, !h->done && drive_eject(f->drive, true, NULL));
	host_wait(h);
	ENDED(h, GOOD_END, 0);
	expect_blocks(h, __LINE__, ATA_PHASE_IN, 16 * FX_BLOCK, 2048);
	CHECK(f, has_blocks(h, 0, 16));
	host_packet(h, "28 00 00 00 00 00 00 00 01 00", 2048, 0);
	ENDED(h, ERR_END, 0x20);
	CHECK(f, h->moved == 0);
	packet_free(h);
}

/* Every packet opcode, every limit that is special, PIO and DMA: it ends, whatever it is. */
static co_fn void all_opcodes_body(struct fx *f)
{
	static const unsigned limits[] = {0, 1, 2, 2049, 0xffff};
	struct host *h = packet_new(f, true);

	h->dma_room = 5000;
	for (unsigned op = 0; op < 256; op++) {
		for (unsigned i = 0; i < 2 * G_N_ELEMENTS(limits); i++) {
			for (unsigned fill = 0; fill < 2; fill++) {
				char cdb[64];

				g_snprintf(cdb, sizeof(cdb), "%02x %s", op,
					   fill ? "00 00 00 00 00 00 ff 00 ff 00 00"
						: "00 00 00 00 00 00 00 01 00 00 00");
				memset(h->data, 0, 70000);
				host_packet(h, cdb, limits[i / 2], i % 2);
				CHECK(f, h->c.regs.count == ATA_REASON_DONE && !h->c.quiet);
				CHECK(f, !h->c.cancelled);
			}
		}
	}
	packet_free(h);
}

/* ---- cancelling, resets, notification ---- */

static co_fn void cancel_body(struct fx *f)
{
	static const char *const cdbs[] = {"28 00 00 00 00 00 00 00 08 00",
					   "55 10 00 00 00 00 00 00 3c 00"};
	struct host *h = packet_new(f, false);

	for (unsigned i = 0; i < 4; i++) {
		for (unsigned at = 1; at < 6; at++) {
			fill_page5(h);
			h->cancel_at = at;
			host_packet(h, cdbs[i / 2], 12, i % 2);
			CHECK(f, h->c.cancelled == (h->n_phases >= at));
			CHECK(f, h->n_phases <= at);
			h->cancel_at = 0;
			h->hang_at = at;
			host_packet(h, cdbs[i / 2], 12, i % 2);
			CHECK(f, !h->c.cancelled);
			if (h->n_phases == at)
				ENDED(h, ERR_END, ATA_ABRT);
			h->hang_at = 0;
		}
	}
	host_packet(h, "28 00 00 00 00 00 00 00 01 00", 0xfffe, 0);
	ENDED(h, GOOD_END, 0);
	packet_free(h);
}

/* Cancelled while it waits for another initiator's turn at the drive. */
static co_fn void cancel_waiting_body(struct fx *f)
{
	struct host *h = packet_new(f, false);

	co_rwlock_wrlock(&drive_lu(f->drive)->order);
	h->packet[0] = 0x28;
	memset(h->packet + 1, 0, 11);
	h->packet[8] = 1;
	host_start(h, ATA_OP_PACKET, DMA, 0, 0, 0xa0);
	for (unsigned i = 0; i < 4; i++)
		co_reschedule();
	CHECK(f, !h->done && h->c.scsi);
	ata_cancel(&h->c);
	co_rwlock_unlock(&drive_lu(f->drive)->order);
	host_wait(h);
	CHECK(f, h->c.cancelled && h->dma_done == 0 && h->data[0] == 0x5a);
	packet_free(h);
}

static co_fn void reset_body(struct fx *f)
{
	static const enum ata_reset_kind kinds[] = {ATA_RESET_HARD, ATA_RESET_SOFT,
						    ATA_RESET_DEVICE};
	struct host *h = packet_new(f, false);
	struct ata_regs regs;

	for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
		host_packet(h, "1e 00 00 00 01 00", 0, 0);
		ENDED(h, GOOD_END, 0);
		CHECK(f, drive_locked(f->drive));
		ata_reset(h->u, ATA_RESET_DIAGNOSTIC, &regs); /* is none to the drive */
		CHECK(f, drive_locked(f->drive));
		CHECK(f, regs.lba == 0xeb1401 && regs.count == 1 && regs.status == 0);
		CHECK(f, regs.error == 1 && !(regs.device & 0x10));
		ata_reset(h->u, kinds[i], &regs);
		CHECK(f, !drive_locked(f->drive) && regs.lba == 0xeb1401 && regs.status == 0);
		host_packet(h, TUR, 0, 0);
		ENDED(h, ERR_END, 0x60);
		SENSE_IS(h, 6, 0x29);
	}
	packet_free(h);
}

static void count_notify(struct ata_unit *u, void *arg)
{
	(void)u;
	++*(unsigned *)arg;
}

static co_fn void move_tray(struct fx *f)
{
	GOOD(f, "1b 00 00 00 02 00");
	GOOD(f, "1b 00 00 00 03 00");
	FAILS(f, TUR, SENSE_MEDIUM_CHANGED);
}

static co_fn void notify_body(struct fx *f)
{
	struct host *h = packet_new(f, true);
	unsigned n = 0;

	ata_unit_on_notify(h->u, count_notify, &n);
	move_tray(f);
	CHECK(f, n == 0); /* not enabled */
	host_run(h, 0xef, 0x10, 5, 0, 0xa0);
	ENDED(h, GOOD_END, 0);
	move_tray(f);
	CHECK(f, n == 1); /* once until it asks */
	host_packet(h, "4a 01 00 00 10 00 00 00 08 00", 0xfffe, 0);
	ENDED(h, GOOD_END, 0);
	CHECK(f, (h->data[4] & 15) == 2 && h->data[5] == 2);
	move_tray(f);
	CHECK(f, n == 2);
	packet_free(h);
}

/* What drivers see of a change of discs (5.1). */
static co_fn void media_change_body(struct fx *f)
{
	struct host *h = packet_new(f, true);

	host_packet(h, "4a 01 00 00 10 00 00 00 08 00", 0xfffe, 0);
	CHECK(f, (h->data[4] & 15) == 0 && h->data[5] == 2);
	GOOD(f, "1b 00 00 00 02 00");
	host_packet(h, "4a 01 00 00 10 00 00 00 08 00", 0xfffe, 0);
	CHECK(f, (h->data[4] & 15) == 3 && h->data[5] == 1);
	host_packet(h, TUR, 0, 0);
	ENDED(h, ERR_END, 0x20);
	SENSE_IS(h, 2, 0x3a);
	GOOD(f, "1b 00 00 00 03 00");
	host_packet(h, "4a 01 00 00 10 00 00 00 08 00", 0xfffe, 0);
	CHECK(f, (h->data[4] & 15) == 2 && h->data[5] == 2);
	host_packet(h, "4a 01 00 00 10 00 00 00 08 00", 0xfffe, 0);
	CHECK(f, (h->data[4] & 15) == 0);
	host_packet(h, TUR, 0, 0);
	ENDED(h, ERR_END, 0x60);
	SENSE_IS(h, 6, 0x28);
	host_packet(h, TUR, 0, 0);
	ENDED(h, GOOD_END, 0);
	packet_free(h);
}

/* Runs the body with an empty drive, a ROM, or a blank disc. */
static void empty(void **body)
{
	fx_run(NULL, 0, (void (*)(struct fx *)) * body);
}

static void rom(void **body)
{
	fx_run_rom(PROFILE_DVD_ROM, BLOCKS, (void (*)(struct fx *)) * body);
}

static void blank(void **body)
{
	fx_run("bd-r", 0, (void (*)(struct fx *)) * body);
}

static void cd_r(void **body)
{
	fx_run("cd-r", 0, (void (*)(struct fx *)) * body);
}

#define TEST(name, kind, body)                         \
	{                                              \
		name, kind, NULL, NULL, (void *)(body) \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST("no data", rom, no_data_body),
		TEST("PIO in", rom, pio_in_body),
		TEST("limits that forbid data", rom, bad_limit_body),
		TEST("odd replies", empty, odd_reply_body),
		TEST("large lengths", rom, large_body),
		TEST("PIO out", empty, pio_out_body),
		TEST("PIO out, other lists", cd_r, out_lengths_body),
		TEST("write and read back", blank, write_body),
		TEST("DMA", rom, dma_body),
		TEST("errors", empty, errors_body),
		TEST("CVE-2020-29443", rom, outside_body),
		TEST("CVE-2020-29443, disc taken out", rom, taken_out_body),
		TEST("all opcodes, empty", empty, all_opcodes_body),
		TEST("all opcodes, ROM", rom, all_opcodes_body),
		TEST("all opcodes, writable", blank, all_opcodes_body),
		TEST("cancelled in each phase", rom, cancel_body),
		TEST("cancelled while waiting", rom, cancel_waiting_body),
		TEST("resets", rom, reset_body),
		TEST("notification", rom, notify_body),
		TEST("media change", rom, media_change_body),
	};

	return RUN_TESTS(tests);
}
