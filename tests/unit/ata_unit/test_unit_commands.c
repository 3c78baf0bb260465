/*
 * The command tables, every opcode on both kinds of units, IDENTIFY word by word, features, SMART
 * and logs.
 */
#include "host.h"

#include <unistd.h>

#include "ata/unit_impl.h"

/* ---- tables ---- */

static void check_table(const struct ata_row *rows)
{
	for (unsigned op = 0; op < 256; op++) {
		unsigned flags = rows[op].flags;

		if (!rows[op].name) {
			assert_null(rows[op].run);
			assert_int_equal(flags, 0);
			continue;
		}
		assert_true(rows[op].run || !(flags & ~ATA_ROW_SIGNATURE));
		assert_false(flags & ATA_ROW_QUEUED && !(flags & ATA_ROW_RANGE));
		assert_false(flags & ATA_ROW_POINT && !(flags & ATA_ROW_RANGE));
		for (unsigned other = 0; other < op; other++) {
			if (rows[other].name)
				assert_string_not_equal(rows[other].name, rows[op].name);
		}
	}
}

static void test_tables(void **state)
{
	(void)state;
	check_table(ata_disk_rows);
	check_table(ata_packet_rows);
	for (unsigned op = 0; op < 256; op++) { /* nothing of a disk's (CVE-2015-6855) */
		assert_false(ata_packet_rows[op].flags & (ATA_ROW_RANGE | ATA_ROW_WRITE));
	}
}

/* ---- every opcode ---- */

static co_fn void all_opcodes(struct fx *f, struct ata_unit *u, const struct ata_row *rows)
{
	struct host *h = host_new(f, u);

	for (unsigned op = 0; op < 256; op++) {
		for (unsigned i = 0; i < 16; i++) {
			uint64_t lba = i & 1 ? 0xc24f01 : i & 2 ? UINT64_C(0xffffffffffff) : 0;

			h->dma_room = i & 8 ? HOST_ROOM : 700;
			memset(h->packet, 0, sizeof(h->packet));
			host_run(h, op, i & 4 ? 0xd0 : 1, i & 8 ? 1 : 0, lba, i & 4 ? 0xa0 : 0xe0);
			CHECK(f, !h->c.cancelled);
			if (!rows[op].run)
				ENDED(h, ERR_END, ATA_ABRT);
			if (rows[op].flags & ATA_ROW_SIGNATURE)
				CHECK(f, h->c.regs.lba == 0xeb1401 && h->c.regs.count == 1);
			ata_reset(u, ATA_RESET_SOFT, NULL);
		}
	}
	host_free(h);
}

static co_fn void disk_opcodes_body(struct fx *f)
{
	for (unsigned sata = 0; sata < 2; sata++) {
		struct disk d = disk_new(f, sata);

		all_opcodes(f, d.u, ata_disk_rows);
		disk_free(&d);
	}
}

static co_fn struct ata_unit *packet_unit(struct fx *f, bool sata, bool second)
{
	struct ata_unit_options o = {.loop = f->loop,
				     .name = "cd0",
				     .drive = drive_lu(f->drive),
				     .sata = sata,
				     .second = second};
	struct ata_unit *u = ata_unit_new(&o, NULL);

	CHECK(f, u != NULL);
	return u;
}

static co_fn void packet_opcodes_body(struct fx *f)
{
	for (unsigned sata = 0; sata < 2; sata++) {
		struct ata_unit *u = packet_unit(f, sata, false);

		CHECK(f, ata_unit_is_packet(u) && ata_unit_queue_depth(u) == 0);
		all_opcodes(f, u, ata_packet_rows);
		ata_unit_free(u);
	}
}

/* CVE-2017-12809: FLUSH CACHE without a medium. */
static co_fn void flush_body(struct fx *f)
{
	struct ata_unit *u = packet_unit(f, false, false);
	struct host *h = host_new(f, u);

	host_run(h, 0xe7, 0, 0, 0, 0xa0);
	ENDED(h, GOOD_END, 0);
	host_run(h, 0xea, 0, 0, 0, 0xa0);
	ENDED(h, ERR_END, ATA_ABRT);
	host_free(h);
	ata_unit_free(u);
}

/* ---- IDENTIFY ---- */

static unsigned word(const struct host *h, unsigned n)
{
	return get_le16(h->data + 2 * n);
}

static void text_of(const struct host *h, unsigned first, unsigned words, char *out)
{
	for (unsigned i = 0; i < 2 * words; i++)
		out[i] = (char)h->data[2 * first + (i ^ 1)];
	out[2 * words] = '\0';
}

struct golden {
	unsigned word, disk, disk_sata, packet, packet_sata;
};

/* clang-format off */
static const struct golden golden[] = {	/* ata.md 2.8, a disk of 4096 sectors */
	{ 0, 0x0040, 0x0040, 0x85c0, 0x85c0 },
	{ 1, 4, 4, 0, 0 }, { 2, 0xc837, 0xc837, 0, 0 }, { 3, 16, 16, 0, 0 }, { 6, 63, 63, 0, 0 },
	{ 47, 0x8010, 0x8010, 0, 0 }, { 48, 0x4000, 0x4000, 0x4000, 0x4000 },
	{ 49, 0x2f00, 0x2f00, 0x0f00, 0x0f00 }, { 50, 0x4000, 0x4000, 0x4000, 0x4000 },
	{ 51, 0x0200, 0x0200, 0x0200, 0 }, { 52, 0x0200, 0x0200, 0x0200, 0 },
	{ 53, 7, 7, 6, 6 }, { 54, 4, 4, 0, 0 }, { 55, 16, 16, 0, 0 }, { 56, 63, 63, 0, 0 },
	{ 57, 4032, 4032, 0, 0 }, { 58, 0, 0, 0, 0 }, { 59, 0, 0, 0, 0 },
	{ 60, 4096, 4096, 0, 0 }, { 61, 0, 0, 0, 0 }, { 62, 0, 0, 0, 0 }, { 63, 7, 7, 7, 7 },
	{ 64, 3, 3, 3, 3 }, { 65, 0x78, 0x78, 0x78, 0x78 }, { 66, 0x78, 0x78, 0x78, 0x78 },
	{ 67, 0x78, 0x78, 0x78, 0x78 }, { 68, 0x78, 0x78, 0x78, 0x78 },
	{ 69, 0x4020, 0x4020, 0, 0 }, { 71, 0, 0, 0, 0 }, { 72, 0, 0, 0, 0 },
	{ 75, 0, 0x1f, 0, 0 }, { 76, 0, 0x010e, 0, 0x000e }, { 77, 0, 6, 0, 6 },
	{ 78, 0, 4, 0, 0x20 }, { 79, 0, 0, 0, 0 },
	{ 80, 0x01f0, 0x03f0, 0x01f0, 0x01f0 }, { 81, 0, 0, 0, 0 },
	{ 82, 0x4069, 0x4069, 0x4218, 0x4218 }, { 83, 0x7400, 0x7400, 0x4000, 0x4000 },
	{ 84, 0x4163, 0x4163, 0x4000, 0x4000 }, { 85, 0x4069, 0x4069, 0x4218, 0x4218 },
	{ 86, 0x3400, 0x3400, 0, 0 }, { 87, 0x4163, 0x4163, 0x4000, 0x4000 },
	{ 88, 0x003f, 0x007f, 0x003f, 0x003f }, { 93, 0x6003, 0, 0x6003, 0 },
	{ 100, 4096, 4096, 0, 0 }, { 101, 0, 0, 0, 0 }, { 102, 0, 0, 0, 0 }, { 103, 0, 0, 0, 0 },
	{ 105, 8, 8, 0, 0 }, { 106, 0x4000, 0x4000, 0, 0 }, { 117, 0, 0, 0, 0 },
	{ 119, 0x4000, 0x4000, 0, 0 }, { 120, 0x4000, 0x4000, 0, 0 }, { 125, 0, 0, 0, 0 },
	{ 128, 0, 0, 0, 0 }, { 169, 1, 1, 0, 0 }, { 206, 0, 0, 0, 0 }, { 209, 0x4000, 0x4000, 0, 0 },
	{ 217, 1, 1, 0, 0 }, { 222, 0, 0x107f, 0, 0x107f },
};
/* clang-format on */

static void check_identify(struct host *h, unsigned kind)
{
	uint8_t sum = 0;

	CHECK(h->f, h->n_phases == 1 && h->moved == 512 && h->c.quiet && h->phases[0].irq);
	for (unsigned i = 0; i < G_N_ELEMENTS(golden); i++) {
		const unsigned *v = &golden[i].disk;

		if (word(h, golden[i].word) != v[kind])
			fx_fail(h->f, __LINE__, "kind %u: word %u is %04x, expected %04x", kind,
				golden[i].word, word(h, golden[i].word), v[kind]);
	}
	for (unsigned i = 0; i < 512; i++)
		sum = (uint8_t)(sum + h->data[i]);
	CHECK(h->f, sum == 0 && (word(h, 255) & 0xff) == 0xa5);
}

static co_fn void identify_disk_body(struct fx *f)
{
	char text[41];

	for (unsigned sata = 0; sata < 2; sata++) {
		struct disk d = disk_new(f, sata);

		host_run(d.h, 0xec, 0, 0, 0, 0xa0);
		ENDED(d.h, GOOD_END, 0);
		check_identify(d.h, sata);
		text_of(d.h, 10, 10, text);
		CHECK(f, strcmp(text, "disk0               ") == 0);
		text_of(d.h, 27, 20, text);
		CHECK(f, strncmp(text, "OUTBOARD ", 9) == 0 && text[39] == ' ');
		CHECK(f, word(d.h, 108) >> 12 == 5);
		host_run(d.h, 0xa1, 0, 0, 0, 0xa0);
		ENDED(d.h, ERR_END, ATA_ABRT);
		disk_free(&d);
	}
}

static co_fn void identify_packet_body(struct fx *f)
{
	char text[41];

	for (unsigned sata = 0; sata < 2; sata++) {
		struct ata_unit *u = packet_unit(f, sata, false);
		struct host *h = host_new(f, u);

		host_run(h, 0xa1, 0, 0, 0, 0xa0);
		ENDED(h, GOOD_END, 0);
		check_identify(h, 2 + sata);
		text_of(h, 27, 20, text);
		CHECK(f, strncmp(text, "OUTBOARD DVD/BD RECORDER   ", 27) == 0);
		text_of(h, 10, 10, text);
		CHECK(f, text[0] != ' ');
		host_run(h, 0xec, 0, 0, 0, 0xa0);
		ENDED(h, ERR_END, ATA_ABRT);
		CHECK(f, h->c.regs.lba == 0xeb1401 && h->c.regs.count == 1);
		host_free(h);
		ata_unit_free(u);
		u = packet_unit(f, false, true);
		h = host_new(f, u);
		host_run(h, 0xa1, 0, 0, 0, 0xb0);
		CHECK(f, word(h, 93) == 0x6300);
		host_free(h);
		ata_unit_free(u);
	}
}

static co_fn void options_body(struct fx *f)
{
	struct disk d = disk_new(f, false);
	struct ata_unit_options o = {.loop = f->loop, .name = "x"};
	static const char *const bad[] = {"", "a serial number of 21", "tab\there"};
	GError *error = NULL;

	CHECK(f, !ata_unit_new(&o, &error) && error);
	g_clear_error(&error);
	o.disk = d.fault;
	o.drive = drive_lu(f->drive);
	CHECK(f, !ata_unit_new(&o, &error) && error);
	g_clear_error(&error);
	o.drive = NULL;
	for (unsigned i = 0; i < G_N_ELEMENTS(bad); i++) {
		o.serial_number = bad[i];
		CHECK(f, !ata_unit_new(&o, &error) && error && strchr(error->message, 'x'));
		g_clear_error(&error);
	}
	disk_free(&d);
}

static co_fn void read_only_body(struct fx *f)
{
	static const uint8_t ops[] = {0x30, 0x34, 0x35, 0x39, 0x3d, 0x06, 0x61, 0xc5, 0xca, 0xce};
	struct ata_unit_options o = {.loop = f->loop, .name = "ro", .sata = true};
	struct block_node *node;
	struct host *h;

	g_file_set_contents(f->path, "0123456789abcdef", -1, NULL);
	CHECK(f, truncate(f->path, 64 * ATA_SECTOR) == 0);
	node = block_open_file(f->path, 0, NULL);
	o.disk = node;
	h = host_new(f, ata_unit_new(&o, NULL));
	host_run(h, 0xc6, 0, 4, 0, LBA);
	for (unsigned i = 0; i < sizeof(ops); i++) {
		host_run(h, ops[i], 1, 1, 0, LBA);
		ENDED(h, ERR_END, ATA_ABRT);
		CHECK(f, h->n_phases == 0);
		ata_reset(h->u, ATA_RESET_SOFT, NULL);
		host_run(h, 0xc6, 0, 4, 0, LBA);
	}
	host_run(h, 0xec, 0, 0, 0, 0xa0); /* offers no TRIM */
	CHECK(f, word(h, 69) == 0 && word(h, 105) == 0 && word(h, 169) == 0);
	host_run(h, 0x20, 0, 1, 0, LBA);
	ENDED(h, GOOD_END, 0);
	CHECK(f, memcmp(h->data, "0123456789abcdef", 16) == 0);
	host_run(h, 0xe7, 0, 0, 0, LBA);
	ENDED(h, GOOD_END, 0);
	ata_unit_free(h->u);
	block_unref(node);
	host_free(h);
}

/* A disk whose file was cut to nothing while it is in use. */
static co_fn void shrunken_body(struct fx *f)
{
	struct disk d = disk_new(f, true);

	if (block_truncate(d.fault, 0) == 0) {
		all_opcodes(f, d.u, ata_disk_rows);
		host_run(d.h, 0x20, 0, 1, 0, LBA);
		ENDED(d.h, ERR_END, ATA_IDNF);
		host_run(d.h, 0xf8, 0, 0, 0, LBA);
		ENDED(d.h, GOOD_END, 0);
		CHECK(f, d.h->c.regs.lba == 0);
	} else {
		fx_fail(f, __LINE__, "the node cannot shrink");
	}
	disk_free(&d);
}

/* ---- features ---- */

static co_fn void mode_body(struct fx *f)
{
	for (unsigned kind = 0; kind < 4; kind++) {
		struct disk d = disk_new(f, kind & 1);
		struct ata_unit *cd = packet_unit(f, kind & 1, false);
		struct host *h = host_new(f, kind & 2 ? cd : d.u);

		for (unsigned mode = 0; mode < 256; mode++) {
			unsigned udma_max = kind == 1 ? 0x46 : 0x45;
			bool good = mode <= 1 || (mode >= 8 && mode <= 12) ||
				    (mode >= 0x20 && mode <= 0x22) ||
				    (mode >= 0x40 && mode <= udma_max);

			host_run(h, 0xef, 3, mode, 0, 0xa0);
			ENDED(h, good ? GOOD_END : ERR_END, good ? 0 : ATA_ABRT);
			if (!good || mode < 0x20)
				continue;
			host_run(h, kind & 2 ? 0xa1 : 0xec, 0, 0, 0, 0xa0);
			CHECK(f, word(h, 63) >> 8 == (mode < 0x40 ? 1u << (mode & 7) : 0));
			CHECK(f, word(h, 88) >> 8 == (mode < 0x40 ? 0 : 1u << (mode & 7)));
			CHECK(f, !(word(h, 88) >> 8 & ~(word(h, 88) & 0xff)));
		}
		ata_reset(h->u, ATA_RESET_SOFT, NULL); /* the mode stays */
		host_run(h, kind & 2 ? 0xa1 : 0xec, 0, 0, 0, 0xa0);
		CHECK(f, word(h, 88) >> 8 != 0);
		host_free(h);
		ata_unit_free(cd);
		disk_free(&d);
	}
}

static co_fn void features_body(struct fx *f)
{
	static const uint8_t refused[] = {0x5d, 0xdd, 0x31, 0x95, 0xc3, 0x09, 0xff, 0x00};
	struct disk d = disk_new(f, true);
	struct host *h = d.h;

	for (unsigned i = 0; i < sizeof(refused); i++) {
		host_run(h, 0xef, refused[i], 0, 0, 0xa0);
		ENDED(h, ERR_END, ATA_ABRT);
	}
	host_run(h, 0xef, 0x82, 0, 0, 0xa0);
	host_run(h, 0xef, 0x55, 0, 0, 0xa0);
	host_run(h, 0xef, 0x10, 2, 0, 0xa0);
	ENDED(h, GOOD_END, 0);
	host_run(h, 0xef, 0x10, 5, 0, 0xa0); /* a packet device's */
	ENDED(h, ERR_END, ATA_ABRT);
	host_run(h, 0xec, 0, 0, 0, 0xa0);
	CHECK(f, word(h, 85) == 0x4009 && word(h, 79) == 4);
	host_run(h, 0xef, 0x66, 0, 0, 0xa0);
	ata_reset(d.u, ATA_RESET_SOFT, NULL); /* kept */
	host_run(h, 0xec, 0, 0, 0, 0xa0);
	CHECK(f, word(h, 85) == 0x4009);
	host_run(h, 0xef, 0xcc, 0, 0, 0xa0);
	ata_reset(d.u, ATA_RESET_SOFT, NULL); /* reverted */
	host_run(h, 0xec, 0, 0, 0, 0xa0);
	CHECK(f, word(h, 85) == 0x4069);
	host_run(h, 0xe5, 0, 0, 0, 0xa0);
	CHECK(f, h->c.regs.count == 0xff);
	host_run(h, 0x27, 0, 0, 0, 0x40);
	CHECK(f, h->c.regs.lba == SECTORS - 1);
	host_run(h, 0xf8, 0, 0, 0, 0xe0);
	CHECK(f, h->c.regs.lba == SECTORS - 1);
	host_run(h, 0xf8, 0, 0, 0, 0xa0); /* as cylinder, head, sector */
	CHECK(f, h->c.regs.lba == (4 << 8 | 1) && (h->c.regs.device & 15) == 1);
	host_run(h, 0xf5, 0, 0, 0, 0xa0);
	ENDED(h, GOOD_END, 0);
	disk_free(&d);
}

static co_fn void signature_body(struct fx *f)
{
	static const enum ata_reset_kind kinds[] = {ATA_RESET_HARD, ATA_RESET_SOFT,
						    ATA_RESET_DIAGNOSTIC};
	struct disk d = disk_new(f, false);
	struct ata_regs regs;

	for (unsigned i = 0; i < G_N_ELEMENTS(kinds); i++) {
		ata_reset(d.u, kinds[i], &regs);
		CHECK(f, regs.status == 0x50 && regs.error == 1 && regs.count == 1);
		CHECK(f, regs.lba == 1 && !(regs.device & 0x10));
	}
	disk_free(&d);
}

/* ---- SMART and logs ---- */

enum { SMART = 0xb0, KEY = 0xc24f00 };

static bool sums_to_zero(const struct host *h)
{
	uint8_t sum = 0;

	for (unsigned i = 0; i < 512; i++)
		sum = (uint8_t)(sum + h->data[i]);
	return sum == 0;
}

/* CVE-2014-2894: the log goes round at 21 entries. */
static co_fn void self_test_body(struct fx *f)
{
	struct disk d = disk_new(f, false);
	struct host *h = d.h;

	for (unsigned n = 1; n <= 3 * 21 + 2; n++) {
		host_run(h, SMART, 0xd4, 0, KEY | (n % 2 ? 1 : 2), 0xa0);
		ENDED(h, GOOD_END, 0);
		host_run(h, SMART, 0xd5, 1, KEY | 6, 0xa0);
		ENDED(h, GOOD_END, 0);
		CHECK(f, h->moved == 512 && sums_to_zero(h));
		CHECK(f, h->data[508] == (n - 1) % 21 + 1);
		CHECK(f, h->data[2 + 24 * ((n - 1) % 21)] == (n % 2 ? 1 : 2));
	}
	for (unsigned test = 0; test < 256; test++)
		host_run(h, SMART, 0xd4, 0, KEY | test, 0xa0);
	host_run(h, SMART, 0xd5, 1, KEY | 6, 0xa0);
	CHECK(f, h->data[508] >= 1 && h->data[508] <= 21);
	disk_free(&d);
}

static co_fn void smart_body(struct fx *f)
{
	struct disk d = disk_new(f, false);
	struct host *h = d.h;

	host_run(h, SMART, 0xd0, 0, 0, 0xa0); /* without the key */
	ENDED(h, ERR_END, ATA_ABRT);
	for (unsigned sub = 0xd0; sub <= 0xd1; sub++) {
		host_run(h, SMART, sub, 0, KEY, 0xa0);
		ENDED(h, GOOD_END, 0);
		CHECK(f, h->moved == 512 && sums_to_zero(h) && h->data[0] == 0x10);
	}
	for (unsigned log = 0; log < 256; log++) {
		host_run(h, SMART, 0xd5, 1, KEY | log, 0xa0);
		if (log == 0 || log == 1 || log == 6) {
			ENDED(h, GOOD_END, 0);
			CHECK(f, h->moved == 512);
		} else {
			ENDED(h, ERR_END, ATA_ABRT);
		}
	}
	host_run(h, SMART, 0xda, 0, KEY, 0xa0);
	CHECK(f, (h->c.regs.lba & 0xffff00) == KEY);
	host_run(h, SMART, 0xd2, 0xf1, KEY, 0xa0);
	ENDED(h, GOOD_END, 0);
	host_run(h, SMART, 0xd2, 0x17, KEY, 0xa0);
	ENDED(h, ERR_END, ATA_ABRT);
	host_run(h, SMART, 0xd9, 0, KEY, 0xa0);
	for (unsigned sub = 0; sub < 256; sub++) { /* disabled: nothing but to enable it */
		if (sub != 0xd8) {
			host_run(h, SMART, sub, 1, KEY, 0xa0);
			ENDED(h, ERR_END, ATA_ABRT);
		}
	}
	host_run(h, SMART, 0xd8, 0, KEY, 0xa0);
	host_run(h, SMART, 0xda, 0, KEY, 0xa0);
	ENDED(h, GOOD_END, 0);
	disk_free(&d);
}

static co_fn void logs_body(struct fx *f)
{
	struct disk d = disk_new(f, true);
	struct host *h = d.h;

	host_run(h, 0x2f, 0, 1, 0, 0x40);
	ENDED(h, GOOD_END, 0);
	CHECK(f, word(h, 0) == 1 && word(h, 0x10) == 1 && word(h, 0x30) == 2 && word(h, 1) == 0);
	for (unsigned log = 0; log < 256; log++) {
		unsigned pages = log == 0 || log == 0x10 ? 1 : log == 0x30 ? 2 : 0;

		for (unsigned page = 0; page < 4; page++) {
			for (unsigned count = 0; count < 4; count++) {
				bool good = count && page + count <= pages;

				host_run(h, count % 2 ? 0x2f : 0x47, 0, count, log | page << 8,
					 0x40);
				ENDED(h, good ? GOOD_END : ERR_END, good ? 0 : ATA_ABRT);
				CHECK(f, (h->dma ? h->dma_done : h->moved) ==
						 (good ? count * 512 : 0));
			}
		}
		host_run(h, 0x2f, 0, 1, log | UINT64_C(1) << 32, 0x40); /* page 256 */
		ENDED(h, ERR_END, ATA_ABRT);
	}
	host_run(h, 0x2f, 0, 1, 0x130, 0x40); /* IDENTIFY again */
	check_identify(h, 1);
	disk_free(&d);
}

#define TEST(name, body)               \
	static void name(void **state) \
	{                              \
		(void)state;           \
		fx_run(NULL, 0, body); \
	}

TEST(test_disk_opcodes, disk_opcodes_body)
TEST(test_cve_2017_12809, flush_body)
TEST(test_identify_disk, identify_disk_body)
TEST(test_identify_packet, identify_packet_body)
TEST(test_options, options_body)
TEST(test_read_only, read_only_body)
TEST(test_shrunken, shrunken_body)
TEST(test_modes, mode_body)
TEST(test_features, features_body)
TEST(test_signature, signature_body)
TEST(test_cve_2014_2894, self_test_body)
TEST(test_smart, smart_body)
TEST(test_logs, logs_body)

static void test_cve_2015_6855(void **state)
{
	(void)state;
	fx_run(NULL, 0, packet_opcodes_body);
	fx_run_rom(PROFILE_CD_ROM, 64, packet_opcodes_body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tables),        cmocka_unit_test(test_disk_opcodes),
		cmocka_unit_test(test_cve_2015_6855), cmocka_unit_test(test_cve_2017_12809),
		cmocka_unit_test(test_identify_disk), cmocka_unit_test(test_identify_packet),
		cmocka_unit_test(test_options),       cmocka_unit_test(test_read_only),
		cmocka_unit_test(test_shrunken),      cmocka_unit_test(test_modes),
		cmocka_unit_test(test_features),      cmocka_unit_test(test_signature),
		cmocka_unit_test(test_cve_2014_2894), cmocka_unit_test(test_smart),
		cmocka_unit_test(test_logs),
	};

	return RUN_TESTS(tests);
}
