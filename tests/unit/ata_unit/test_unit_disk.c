/* Disks: PIO, MULTIPLE, DMA in all address forms; ranges, faults, short memory, cancelling. */
#include "host.h"

#include <errno.h>

enum { MS = 1000000 };

/* ---- PIO ---- */

static co_fn void pio_in_body(struct fx *f)
{
	struct disk d = disk_new(f, false);
	struct host *h = d.h;

	host_run(h, 0x20, 0, 3, 100, LBA);
	ENDED(h, GOOD_END, 0);
	CHECK(f, h->c.quiet && h->n_phases == 3 && h->moved == 3 * 512);
	CHECK(f, host_has_pattern(h, 0, 100, 3, 1));
	for (unsigned i = 0; i < 3; i++) {
		CHECK(f, h->phases[i].phase == ATA_PHASE_IN && h->phases[i].irq);
		CHECK(f, h->phases[i].len == 512 && h->phases[i].regs.status == 0x58);
		CHECK(f, h->phases[i].end_status == (i < 2 ? 0xd0 : 0x50));
	}
	host_run(h, 0x21, 0, 0, 0, LBA); /* 256 sectors, more than the buffer holds */
	ENDED(h, GOOD_END, 0);
	CHECK(f, h->n_phases == 256 && host_has_pattern(h, 0, 0, 256, 1));
	host_run(h, 0x24, 0, 300, 1000, 0x40);
	ENDED(h, GOOD_END, 0);
	CHECK(f, h->n_phases == 300 && host_has_pattern(h, 0, 1000, 300, 1));
	disk_free(&d);
}

static co_fn void pio_out_body(struct fx *f)
{
	struct disk d = disk_new(f, false);
	struct host *h = d.h;

	host_pattern(h, 500, 200, 9);
	host_run(h, 0x30, 0, 200, 500, LBA);
	ENDED(h, GOOD_END, 0);
	CHECK(f, !h->c.quiet && h->n_phases == 200);
	for (unsigned i = 0; i < 200; i++) {
		CHECK(f, h->phases[i].phase == ATA_PHASE_OUT && h->phases[i].irq == (i > 0));
		CHECK(f, h->phases[i].end_status & ATA_BSY);
	}
	host_run(h, 0x20, 0, 202, 499, LBA);
	CHECK(f, host_has_pattern(h, 0, 499, 1, 1) && host_has_pattern(h, 512, 500, 200, 9));
	CHECK(f, host_has_pattern(h, 201 * 512, 700, 1, 1));
	disk_free(&d);
}

static co_fn void multiple_body(struct fx *f)
{
	static const uint8_t ops[] = {0xc4, 0x29, 0xc5, 0x39, 0xce};
	struct disk d = disk_new(f, false);
	struct host *h = d.h;

	for (unsigned i = 0; i < sizeof(ops); i++) { /* off */
		host_run(h, ops[i], 0, 8, 0, LBA);
		ENDED(h, ERR_END, ATA_ABRT);
		CHECK(f, h->n_phases == 0);
	}
	for (unsigned n = 0; n < 256; n++) {
		bool fits = n <= 16 && !(n & (n - 1));

		host_run(h, 0xc6, 0, n, 0, LBA);
		ENDED(h, fits ? GOOD_END : ERR_END, fits ? 0 : ATA_ABRT);
	}
	host_run(h, 0xc6, 0, 8, 0, LBA);
	host_run(h, 0xc4, 0, 20, 40, LBA);
	ENDED(h, GOOD_END, 0);
	CHECK(f, h->n_phases == 3 && h->phases[0].len == 4096 && h->phases[2].len == 2048);
	CHECK(f, host_has_pattern(h, 0, 40, 20, 1));
	host_pattern(h, 60, 20, 3);
	host_run(h, 0xce, 0, 20, 60, LBA);
	ENDED(h, GOOD_END, 0);
	CHECK(f, h->n_phases == 3 && !h->phases[0].irq && h->phases[1].irq);
	host_run(h, 0x29, 0, 20, 60, LBA);
	CHECK(f, host_has_pattern(h, 0, 60, 20, 3));
	ata_reset(d.u, ATA_RESET_SOFT, NULL); /* back to the default: off */
	host_run(h, 0xc4, 0, 1, 0, LBA);
	ENDED(h, ERR_END, ATA_ABRT);
	disk_free(&d);
}

/* ---- DMA ---- */

static co_fn void dma_body(struct fx *f)
{
	static const size_t pieces[] = {HOST_ROOM, 4096, 513, 511, 2, 3};
	struct disk d = disk_new(f, true);
	struct host *h = d.h;

	for (unsigned i = 0; i < G_N_ELEMENTS(pieces); i++) {
		h->dma_piece = pieces[i];
		host_pattern(h, 300 + i, 7, i + 20);
		host_run(h, i % 2 ? 0xca : 0x35, 0, 7, 300 + i, LBA);
		ENDED(h, GOOD_END, 0);
		CHECK(f, !h->dma_to_host && h->dma_len == 7 * 512 && h->dma_done == 7 * 512);
		memset(h->data, 0, 8 * 512);
		host_run(h, i % 2 ? 0x25 : 0xc8, 0, 7, 300 + i, LBA);
		ENDED(h, GOOD_END, 0);
		CHECK(f, h->dma_to_host && h->dma_done == 7 * 512);
		CHECK(f, host_has_pattern(h, 0, 300 + i, 7, i + 20));
	}
	disk_free(&d);
}

/* CVE-2019-20175: memory that is no multiple of a sector, or shorter than the transfer. */
static co_fn void short_memory_body(struct fx *f)
{
	static const size_t rooms[] = {0, 1, 2, 511, 512, 513, 1023, 1024, 2047};
	struct disk d = disk_new(f, true);
	struct host *h = d.h;

	for (unsigned i = 0; i < G_N_ELEMENTS(rooms); i++) {
		size_t whole = rooms[i] / 512 * 512;

		memset(h->data, 0x5a, 4096);
		h->dma_room = rooms[i];
		h->dma_piece = 3;
		host_run(h, 0x25, 0, 4, 10, LBA); /* what there is no room for is lost */
		ENDED(h, GOOD_END, 0);
		CHECK(f, h->dma_done == whole);
		CHECK(f, host_has_pattern(h, 0, 10, (unsigned)(whole / 512), 1));
		CHECK(f, h->data[whole] == 0x5a && h->data[rooms[i]] == 0x5a);
		host_pattern(h, 20, 4, 5);
		host_run(h, 0x35, 0, 4, 20, LBA);
		ENDED(h, ERR_END, ATA_ABRT);
		h->dma_room = HOST_ROOM;
		host_run(h, 0x25, 0, 4, 20, LBA);
		CHECK(f, host_has_pattern(h, 0, 20, (unsigned)(whole / 512), 5));
		CHECK(f,
		      host_has_pattern(h, whole, 20 + whole / 512, (unsigned)(4 - whole / 512), 1));
		host_pattern(h, 20, 4, 1);
		host_run(h, 0x35, 0, 4, 20, LBA);
	}
	disk_free(&d);
}

/* ---- addresses ---- */

static co_fn void range_body(struct fx *f)
{
	static const uint8_t ops_28[] = {0x20, 0x30, 0x40, 0xc8, 0xca};
	static const uint8_t ops_48[] = {0x24, 0x34, 0x42, 0x25, 0x35, 0x3d};
	static const struct {
		uint64_t lba;
		unsigned count;
		uint64_t bad;
	} out[] = {
		{SECTORS, 1, SECTORS},     {SECTORS - 1, 2, SECTORS}, {SECTORS - 255, 0, SECTORS},
		{0xfffffff, 1, 0xfffffff}, {0xffffff, 255, 0xffffff},
	};
	struct disk d = disk_new(f, true);
	struct host *h = d.h;

	for (unsigned i = 0; i < G_N_ELEMENTS(out); i++) {
		for (unsigned k = 0; k < sizeof(ops_28); k++) {
			host_run(h, ops_28[k], 0, out[i].count, out[i].lba & 0xffffff,
				 LBA | (unsigned)(out[i].lba >> 24));
			ENDED(h, ERR_END, ATA_IDNF);
			CHECK(f, h->n_phases == 0);
			CHECK(f, (h->c.regs.lba | (uint64_t)(h->c.regs.device & 15) << 24) ==
					 out[i].bad);
		}
		for (unsigned k = 0; k < sizeof(ops_48); k++) {
			host_run(h, ops_48[k], 0, out[i].count, out[i].lba, LBA);
			ENDED(h, ERR_END, ATA_IDNF);
			CHECK(f, h->n_phases == 0 && h->c.regs.lba == out[i].bad);
			host_run(h, ops_48[k], 0, 0xffff, UINT64_C(0xffffffffffff), LBA);
			ENDED(h, ERR_END, ATA_IDNF);
		}
	}
	host_run(h, 0x20, 0, 1, SECTORS - 1, LBA);
	ENDED(h, GOOD_END, 0);
	host_run(h, 0x70, 0, 0, SECTORS - 1, LBA); /* SEEK: COUNT means nothing */
	ENDED(h, GOOD_END, 0);
	host_run(h, 0x70, 0, 0, SECTORS, LBA);
	ENDED(h, ERR_END, ATA_IDNF);
	disk_free(&d);
}

static co_fn void chs_body(struct fx *f)
{
	struct disk d = disk_new(f, false);
	struct host *h = d.h;

	host_run(h, 0x20, 0, 2, 1 << 8 | 1, 0xa0); /* cylinder 1, head 0, sector 1 */
	ENDED(h, GOOD_END, 0);
	CHECK(f, host_has_pattern(h, 0, 1008, 2, 1));
	host_run(h, 0x20, 0, 1, 63, 0xaf); /* head 15, the last sector */
	CHECK(f, host_has_pattern(h, 0, 1007, 1, 1));
	host_run(h, 0x20, 0, 1, 0, 0xa0);
	ENDED(h, ERR_END, ATA_IDNF);
	host_run(h, 0x20, 0, 1, 64, 0xa0);
	ENDED(h, ERR_END, ATA_IDNF);
	host_run(h, 0x20, 0, 1, 0xffff01, 0xa0);
	ENDED(h, ERR_END, ATA_IDNF);
	host_run(h, 0x91, 0, 0, 0, 0xa3); /* INITIALIZE DEVICE PARAMETERS: no sectors */
	ENDED(h, ERR_END, ATA_ABRT);
	host_run(h, 0x91, 0, 17, 0, 0xa3);
	ENDED(h, GOOD_END, 0);
	host_run(h, 0x20, 0, 1, 2 << 8 | 3, 0xa1);
	CHECK(f, host_has_pattern(h, 0, (2 * 4 + 1) * 17 + 2, 1, 1));
	host_run(h, 0x20, 0, 1, 1, 0xa4); /* there are four heads */
	ENDED(h, ERR_END, ATA_IDNF);
	disk_free(&d);
}

/* ---- faults ---- */

static co_fn void read_error_body(struct fx *f)
{
	static const uint8_t ops[] = {0x20, 0xc8, 0x24, 0x25};
	struct disk d = disk_new(f, false);
	struct host *h = d.h;

	disk_fault(&d, FAULT_READ, 1133, 1, EIO, 0);
	for (unsigned i = 0; i < sizeof(ops); i++) {
		memset(h->data, 0x5a, 200 * 512);
		host_run(h, ops[i], 0, 200, 1000, LBA);
		ENDED(h, ERR_END, ATA_UNC);
		CHECK(f, h->c.regs.lba == 1133 && h->c.regs.count == 200 - 133);
		if (!h->dma) { /* all before it came */
			CHECK(f, h->n_phases == 133 && host_has_pattern(h, 0, 1000, 133, 1));
			CHECK(f, h->data[133 * 512] == 0x5a && !h->c.quiet);
		}
	}
	host_run(h, 0xc6, 0, 16, 0, LBA);
	host_run(h, 0xc4, 0, 200, 1000, LBA); /* whole blocks only */
	ENDED(h, ERR_END, ATA_UNC);
	CHECK(f, h->c.regs.lba == 1133 && h->moved == 128 * 512);
	fault_clear(d.fault);
	host_run(h, 0x20, 0, 200, 1000, LBA);
	ENDED(h, GOOD_END, 0);
	disk_free(&d);
}

static co_fn void write_error_body(struct fx *f)
{
	static const int errnums[] = {EIO, ENOSPC, EROFS, ENOMEM};
	static const uint8_t ops[] = {0x30, 0xca, 0x35, 0x3d};
	struct disk d = disk_new(f, false);
	struct host *h = d.h;

	for (unsigned e = 0; e < G_N_ELEMENTS(errnums); e++) {
		fault_clear(d.fault);
		disk_fault(&d, FAULT_WRITE, 5, 1, errnums[e], 0);
		for (unsigned i = 0; i < sizeof(ops); i++) {
			host_run(h, ops[i], 0, 10, 0, LBA);
			ENDED(h, ERR_END, ATA_ABRT);
		}
	}
	fault_clear(d.fault);
	disk_free(&d);
}

static co_fn void flush_body(struct fx *f)
{
	struct fault_rule rule = {.op = FAULT_FLUSH, .errnum = EIO};
	struct disk d = disk_new(f, false);
	struct block_stats before, after;
	struct host *h = d.h;

	block_get_stats(d.fault, &before);
	host_run(h, 0xe7, 0, 0, 0, LBA);
	ENDED(h, GOOD_END, 0);
	block_get_stats(d.fault, &after);
	CHECK(f, after.flushes == before.flushes + 1);
	host_run(h, 0xea, 0, 0, 0, LBA);
	ENDED(h, GOOD_END, 0);
	host_run(h, 0xca, 0, 1, 0, LBA);
	fault_add(d.fault, &rule);
	host_run(h, 0xef, 0x82, 0, 0, LBA); /* the cache cannot be left */
	ENDED(h, ERR_END, ATA_ABRT);
	host_run(h, 0xea, 0, 0, 0, LBA);
	ENDED(h, ERR_END, ATA_ABRT);
	disk_free(&d);
}

static void put_entry(struct host *h, unsigned n, uint64_t lba, unsigned count)
{
	put_le64(h->data + 8 * n, lba | (uint64_t)count << 48);
}

static co_fn void trim_body(struct fx *f)
{
	struct disk d = disk_new(f, true);
	struct host *h = d.h;

	memset(h->data, 0, 4096);
	put_entry(h, 0, 10, 5);
	put_entry(h, 63, 12, 8); /* overlaps */
	put_entry(h, 65, 0, 0);
	host_run(h, 0x06, 1, 2, 0, LBA);
	ENDED(h, GOOD_END, 0);
	CHECK(f, h->dma_len == 1024 && h->dma_done == 1024);
	host_run(h, 0x25, 0, 12, 9, LBA);
	CHECK(f, host_has_pattern(h, 0, 9, 1, 1) && host_has_pattern(h, 11 * 512, 20, 1, 1));
	for (unsigned i = 512; i < 11 * 512; i++)
		CHECK(f, h->data[i] == 0);
	memset(h->data, 0, 512);
	put_entry(h, 0, SECTORS - 1, 2);
	host_run(h, 0x06, 1, 1, 0, LBA);
	ENDED(h, ERR_END, ATA_IDNF);
	host_run(h, 0x06, 1, 9, 0, LBA); /* more than word 105 */
	ENDED(h, ERR_END, ATA_ABRT);
	host_run(h, 0x06, 1, 0, 0, LBA); /* 65536 */
	ENDED(h, ERR_END, ATA_ABRT);
	host_run(h, 0x06, 0, 1, 0, LBA);
	ENDED(h, ERR_END, ATA_ABRT);
	h->dma_room = 100;
	host_run(h, 0x06, 1, 1, 0, LBA);
	ENDED(h, ERR_END, ATA_ABRT);
	disk_free(&d);
}

/* ---- cancelling ---- */

/* CVE-2023-5088: a reset in the middle redirects nothing, and nothing is shown afterwards. */
static co_fn void cancel_body(struct fx *f)
{
	static const uint8_t ops[] = {0x20, 0x30, 0xc8, 0xca, 0x25, 0x35, 0x3d};
	struct disk d = disk_new(f, false);
	struct host *h = d.h;

	for (unsigned i = 0; i < sizeof(ops); i++) { /* while the medium works */
		disk_fault(&d, FAULT_ANY, 2000, 64, 0, 2 * MS);
		host_pattern(h, 2000, 8, 7);
		host_start(h, ops[i], 0, 8, 2000, LBA);
		CHECK(f, !h->done);
		ata_cancel(&h->c);
		memset(&h->c.tf, 0, sizeof(h->c.tf));
		host_wait(h);
		CHECK(f, h->c.cancelled);
		fault_clear(d.fault);
		ata_reset(d.u, ATA_RESET_SOFT, NULL);
		host_run(h, 0x20, 0, 1, 0, LBA);
		CHECK(f, host_has_pattern(h, 0, 0, 1, 1));
	}
	for (unsigned at = 1; at < 5; at++) { /* in a data phase */
		for (unsigned i = 0; i < sizeof(ops); i++) {
			h->cancel_at = at;
			host_run(h, ops[i], 0, 8, 3000, LBA);
			CHECK(f, h->c.cancelled == (at == 1 || !h->dma));
			h->cancel_at = 0;
			h->hang_at = at;
			host_run(h, ops[i], 0, 8, 3000, LBA);
			CHECK(f, h->c.cancelled == false);
			if (at == 1 || !h->dma)
				ENDED(h, ERR_END, ATA_ABRT);
			h->hang_at = 0;
		}
	}
	disk_free(&d);
}

static void test_pio_in(void **state)
{
	(void)state;
	fx_run(NULL, 0, pio_in_body);
}

static void test_pio_out(void **state)
{
	(void)state;
	fx_run(NULL, 0, pio_out_body);
}

static void test_multiple(void **state)
{
	(void)state;
	fx_run(NULL, 0, multiple_body);
}

static void test_dma(void **state)
{
	(void)state;
	fx_run(NULL, 0, dma_body);
}

static void test_cve_2019_20175(void **state)
{
	(void)state;
	fx_run(NULL, 0, short_memory_body);
}

static void test_range(void **state)
{
	(void)state;
	fx_run(NULL, 0, range_body);
}

static void test_chs(void **state)
{
	(void)state;
	fx_run(NULL, 0, chs_body);
}

static void test_read_error(void **state)
{
	(void)state;
	fx_run(NULL, 0, read_error_body);
}

static void test_write_error(void **state)
{
	(void)state;
	fx_run(NULL, 0, write_error_body);
}

static void test_flush(void **state)
{
	(void)state;
	fx_run(NULL, 0, flush_body);
}

static void test_trim(void **state)
{
	(void)state;
	fx_run(NULL, 0, trim_body);
}

static void test_cve_2023_5088(void **state)
{
	(void)state;
	fx_run(NULL, 0, cancel_body);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pio_in),         cmocka_unit_test(test_pio_out),
		cmocka_unit_test(test_multiple),       cmocka_unit_test(test_dma),
		cmocka_unit_test(test_range),          cmocka_unit_test(test_chs),
		cmocka_unit_test(test_read_error),     cmocka_unit_test(test_write_error),
		cmocka_unit_test(test_flush),          cmocka_unit_test(test_trim),
		cmocka_unit_test(test_cve_2019_20175), cmocka_unit_test(test_cve_2023_5088),
	};

	return RUN_TESTS(tests);
}
