/* Queued commands: beside each other, failing, taking the others with them; log page 10h. */
#include "host.h"

#include <errno.h>

enum { READ = 0x60, WRITE = 0x61, FUA = 0x80, MS = 1000000, LOG = 0x2f };

static void start(struct host *h, unsigned op, unsigned tag, uint64_t lba, unsigned count)
{
	host_start(h, op, count, tag << 3, lba, 0x40);
}

static co_fn unsigned read_log(struct host *h)
{
	uint8_t sum = 0;

	memset(h->data, 0x5a, 1024);
	host_run(h, LOG, 0, 1, 0x10, 0x40);
	for (unsigned i = 0; i < 512; i++)
		sum = (uint8_t)(sum + h->data[i]);
	CHECK(h->f, sum == 0 && h->moved == 512);
	return h->data[0];
}

/* 32 at a time, all of which are late, then their data is what it should be. */
static co_fn void beside_body(struct fx *f)
{
	struct disk d = disk_new(f, true);
	struct host *h[ATA_TAGS];

	CHECK(f, ata_unit_queue_depth(d.u) == 32);
	disk_fault(&d, FAULT_ANY, 0, SECTORS, 0, 2 * MS);
	for (unsigned i = 0; i < ATA_TAGS; i++) {
		h[i] = host_new(f, d.u);
		h[i]->dma_piece = 1000 + i;
		host_pattern(h[i], i * 8, 8, 40);
		start(h[i], i % 2 ? WRITE : READ, i, i * 8, 8);
	}
	CHECK(f, ata_unit_tags(d.u) == UINT32_MAX);
	for (unsigned i = 0; i < ATA_TAGS; i++) {
		host_wait(h[i]);
		ENDED(h[i], GOOD_END, 0);
		CHECK(f, h[i]->dma_done == 4096 && h[i]->dma_to_host == (i % 2 == 0));
		CHECK(f, host_has_pattern(h[i], 0, i * 8, 8, i % 2 ? 40 : 1));
		host_free(h[i]);
	}
	CHECK(f, ata_unit_tags(d.u) == 0);
	fault_clear(d.fault);
	host_run(d.h, 0x25, 0, 16, 8, LBA);
	CHECK(f, host_has_pattern(d.h, 0, 8, 8, 40) && host_has_pattern(d.h, 4096, 16, 8, 1));
	host_run(d.h, WRITE, 8, 3 << 3, 0, 0x40 | FUA);
	ENDED(d.h, GOOD_END, 0);
	host_run(d.h, READ, 0, 3 << 3, 0, 0x40); /* 65536 sectors do not fit the disk */
	ENDED(d.h, ERR_END, ATA_IDNF);
	disk_free(&d);
}

static co_fn void none_body(struct fx *f)
{
	struct disk d = disk_new(f, false);

	CHECK(f, ata_unit_queue_depth(d.u) == 0);
	host_run(d.h, READ, 1, 0, 0, 0x40);
	ENDED(d.h, ERR_END, ATA_ABRT);
	host_run(d.h, LOG, 0, 1, 0x10, 0x40);
	ENDED(d.h, ERR_END, ATA_ABRT);
	disk_free(&d);
}

/* CVE-2016-1568: an error leaves no tag behind, and nothing but its log until that was read. */
static co_fn void error_body(struct fx *f)
{
	struct disk d = disk_new(f, true);
	struct host *other = host_new(f, d.u), *bad = host_new(f, d.u);

	disk_fault(&d, FAULT_READ, 1000, 200, 0, 4 * MS);
	disk_fault(&d, FAULT_READ, 2005, 1, EIO, 0);
	start(other, READ, 7, 1000, 8);
	start(bad, READ, 19, 2000, 8);
	host_wait(bad);
	CHECK(f, other->done && other->c.cancelled);
	ENDED(bad, ERR_END, ATA_UNC);
	CHECK(f, ata_unit_tags(d.u) == 0);
	host_run(d.h, 0x25, 0, 1, 0, LBA); /* nothing else works */
	ENDED(d.h, ERR_END, ATA_ABRT);
	host_run(d.h, READ, 1, 0, 0, 0x40);
	ENDED(d.h, ERR_END, ATA_ABRT);
	host_run(d.h, 0xec, 0, 0, 0, 0xa0);
	ENDED(d.h, ERR_END, ATA_ABRT);
	host_run(d.h, LOG, 0, 1, 0, 0x40); /* nor does another log */
	ENDED(d.h, ERR_END, ATA_ABRT);
	CHECK(f, read_log(d.h) == 19);
	ENDED(d.h, GOOD_END, 0);
	CHECK(f, d.h->data[2] == 0x51 && d.h->data[3] == ATA_UNC);
	CHECK(f, get_le16(d.h->data + 4) == 2005 && d.h->data[6] == 0 && d.h->data[7] == 0x40);
	CHECK(f, get_le16(d.h->data + 12) == 19 << 3);
	host_run(d.h, READ, 8, 7 << 3, 1000, 0x40); /* goes on */
	ENDED(d.h, GOOD_END, 0);
	host_free(other);
	host_free(bad);
	disk_free(&d);
}

static co_fn void refused_body(struct fx *f)
{
	struct disk d = disk_new(f, true);

	for (unsigned i = 0; i < 4; i++) {
		d.h->dma_room = i == 2 ? 700 : i == 3 ? 0 : HOST_ROOM;
		host_run(d.h, i ? WRITE : READ, i < 2 ? 2 : 8, 5 << 3, i < 2 ? SECTORS - 1 : 0,
			 0x40);
		ENDED(d.h, ERR_END, i < 2 ? ATA_IDNF : ATA_ABRT);
		CHECK(f, ata_unit_tags(d.u) == 0);
		d.h->dma_room = HOST_ROOM;
		CHECK(f, read_log(d.h) == 5);
		CHECK(f, d.h->data[3] == (i < 2 ? ATA_IDNF : ATA_ABRT));
		CHECK(f, i >= 2 || get_le16(d.h->data + 4) == SECTORS);
	}
	disk_free(&d);
}

/* A tag in use, and a command that is not queued among those that are. */
static co_fn void intruder_body(struct fx *f)
{
	struct disk d = disk_new(f, true);
	struct host *first = host_new(f, d.u);

	for (unsigned i = 0; i < 2; i++) {
		disk_fault(&d, FAULT_READ, 1000, 8, 0, 2 * MS);
		start(first, READ, 4, 1000, 8);
		if (i)
			host_run(d.h, 0x25, 0, 1, 0, LBA);
		else
			host_run(d.h, READ, 1, 4 << 3, 0, 0x40);
		ENDED(d.h, ERR_END, ATA_ABRT);
		CHECK(f, first->done && first->c.cancelled && ata_unit_tags(d.u) == 0);
		fault_clear(d.fault);
		CHECK(f, read_log(d.h) & 0x80);
		host_run(d.h, 0x25, 0, 1, 0, LBA);
		ENDED(d.h, GOOD_END, 0);
	}
	host_free(first);
	disk_free(&d);
}

static co_fn void reset_body(struct fx *f)
{
	struct disk d = disk_new(f, true);
	struct host *h = host_new(f, d.u);

	disk_fault(&d, FAULT_ANY, 1000, 8, 0, 2 * MS);
	host_pattern(h, 1000, 8, 3);
	start(h, WRITE, 31, 1000, 8);
	ata_cancel(&h->c);
	host_wait(h);
	CHECK(f, h->c.cancelled && ata_unit_tags(d.u) == 0);
	ata_reset(d.u, ATA_RESET_HARD, NULL);
	host_run(d.h, READ, 1, 0, SECTORS, 0x40);
	ENDED(d.h, ERR_END, ATA_IDNF);
	ata_reset(d.u, ATA_RESET_SOFT, NULL); /* ends the error state as the log does */
	host_run(d.h, READ, 1, 0, 0, 0x40);
	ENDED(d.h, GOOD_END, 0);
	CHECK(f, host_has_pattern(d.h, 0, 0, 1, 1));
	host_free(h);
	disk_free(&d);
}

static co_fn void unqueued_log_body(struct fx *f)
{
	struct disk d = disk_new(f, true);

	CHECK(f, read_log(d.h) & 0x80); /* nothing queued failed */
	host_run(d.h, 0x47, 0, 1, 0x10, 0x40);
	ENDED(d.h, GOOD_END, 0);
	CHECK(f, d.h->dma_to_host && d.h->data[0] & 0x80);
	host_run(d.h, 0x20, 0, 1, SECTORS, LBA);
	CHECK(f, read_log(d.h) & 0x80 && d.h->data[3] == ATA_IDNF);
	disk_free(&d);
}

#define TEST(name, body)               \
	static void name(void **state) \
	{                              \
		(void)state;           \
		fx_run(NULL, 0, body); \
	}

TEST(test_beside, beside_body)
TEST(test_none, none_body)
TEST(test_cve_2016_1568, error_body)
TEST(test_refused, refused_body)
TEST(test_intruder, intruder_body)
TEST(test_reset, reset_body)
TEST(test_unqueued_log, unqueued_log_body)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_beside),        cmocka_unit_test(test_none),
		cmocka_unit_test(test_cve_2016_1568), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_intruder),      cmocka_unit_test(test_reset),
		cmocka_unit_test(test_unqueued_log),
	};

	return RUN_TESTS(tests);
}
