/* The disk's reads and writes: every form, what goes to the node, and what its errors become. */
#include "sbc_fixture.h"

#include <errno.h>

enum { MIB = 1 << 20 };

static void body_all_forms(struct sx *s)
{
	static const struct {
		const char *write, *read;
		uint64_t lba;
		size_t blocks;
	} forms[] = {
		{"0a 00 00 10 02 00", "08 00 00 10 02 00", 0x10, 2},
		{"2a 00 00 00 00 20 00 00 03 00", "28 00 00 00 00 20 00 00 03 00", 0x20, 3},
		{"aa 00 00 00 00 40 00 00 00 04 00 00", "a8 00 00 00 00 40 00 00 00 04 00 00", 0x40,
		 4},
		{"8a 00 00 00 00 00 00 00 00 60 00 00 00 05 00 00",
		 "88 00 00 00 00 00 00 00 00 60 00 00 00 05 00 00", 0x60, 5},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(forms); i++) {
		size_t len = forms[i].blocks * s->block_size;

		for (size_t k = 0; k < len; k++)
			s->out[k] = (uint8_t)(k * 7 + i + 1);
		PUTS(s, forms[i].write, len, SENSE_GOOD);
		CHECK(s, s->out_done == len);
		GOOD(s, forms[i].read);
		CHECK(s, s->in_done == len && memcmp(s->in, s->out, len) == 0);
		CHECK(s, block_pread(s->node, forms[i].lba * s->block_size, s->in, len) == 0);
		CHECK(s, memcmp(s->in, s->out, len) == 0);
	}
}

static void test_all_forms(void **state)
{
	(void)state;
	sx_run(MIB, 512, body_all_forms);
	sx_run(MIB, 4096, body_all_forms);
}

static void body_ends(struct sx *s)
{
	/* 2048 blocks; six byte forms count 0 as 256 */
	LENGTH(s, "08 00 00 00 00 00", 256 * 512);
	LENGTH(s, "28 00 00 00 07 ff 00 00 01 00", 512);
	LENGTH(s, "28 00 00 00 08 00 00 00 00 00", 0); /* nothing at the end */
	FAILS(s, "28 00 00 00 08 01 00 00 00 00", SENSE_LBA_RANGE);
	FAILS(s, "28 00 00 00 07 ff 00 00 02 00", SENSE_LBA_RANGE);
	CHECK(s, s->sense_bytes[0] == 0xf0 && get_be32(s->sense_bytes + 3) == 0x800);
	FAILS(s, "28 00 ff ff ff ff 00 00 01 00", SENSE_LBA_RANGE);
	FAILS(s, "88 00 ff ff ff ff ff ff ff ff 00 00 00 01 00 00", SENSE_LBA_RANGE);
	CHECK(s, s->sense_bytes[0] == 0x70); /* does not fit into INFORMATION */
	FAILS(s, "88 00 00 00 00 00 00 00 00 01 ff ff ff ff 00 00", SENSE_BAD_CDB_FIELD);
	PUTS(s, "2a 00 00 00 07 ff 00 00 02 00", 1024, SENSE_LBA_RANGE);
	PUTS(s, "8a 00 ff ff ff ff ff ff ff ff 00 00 00 02 00 00", 1024, SENSE_LBA_RANGE);
	FAILS(s, "28 20 00 00 00 00 00 00 01 00", SENSE_BAD_CDB_FIELD); /* RDPROTECT */
	PUTS(s, "2a 20 00 00 00 00 00 00 01 00", 512, SENSE_BAD_CDB_FIELD);
}

static void test_ends(void **state)
{
	(void)state;
	sx_run(MIB, 512, body_ends);
}

static void body_short_lists(struct sx *s)
{
	sx_fill(s, 0, 4096, 0x11);
	/* less room than a block, and in the middle of one: what fits */
	sx_command(s, "28 00 00 00 00 00 00 00 04 00", 0, 100);
	CHECK(s, s->sense == SENSE_GOOD && s->in_done == 100 && s->in[99] == 0x11);
	sx_command(s, "28 00 00 00 00 00 00 00 04 00", 0, 1000);
	CHECK(s, s->sense == SENSE_GOOD && s->in_done == 1000);
	sx_command(s, "28 00 00 00 00 00 00 00 04 00", 0, 4096);
	CHECK(s, s->sense == SENSE_GOOD && s->in_done == 2048 && s->in[2048] == 0x5a);
	/* more data than blocks: the blocks; less: nothing is written */
	memset(s->out, 0x22, 4096);
	PUTS(s, "2a 00 00 00 00 02 00 00 02 00", 4096, SENSE_GOOD);
	CHECK(s, s->out_done == 1024);
	FILLED(s, 0, 1024, 0x11);
	FILLED(s, 1024, 1024, 0x22);
	FILLED(s, 2048, 2048, 0x11);
	PUTS(s, "2a 00 00 00 00 04 00 00 04 00", 1024, SENSE_BAD_CDB_FIELD);
	CHECK(s, s->out_done == 0);
	FILLED(s, 2048, 2048, 0x11);
}

static void test_short_lists(void **state)
{
	(void)state;
	sx_run(MIB, 512, body_short_lists);
}

static uint64_t flushes(struct sx *s)
{
	struct block_stats stats;

	block_get_stats(s->node, &stats);
	return stats.flushes;
}

/* What is not durable is what a flush still has to do. */
static void body_durability(struct sx *s)
{
	uint64_t before = flushes(s);

	PUTS(s, "2a 00 00 00 00 00 00 00 01 00", 512, SENSE_GOOD);
	GOOD(s, "35 00 00 00 00 00 00 00 00 00");
	CHECK(s, flushes(s) == before + 1);
	PUTS(s, "2a 08 00 00 00 00 00 00 01 00", 512, SENSE_GOOD); /* FUA */
	GOOD(s, "35 02 00 00 00 00 00 00 00 00");
	CHECK(s, flushes(s) == before + 1);
	PUTS(s, "2a 10 00 00 00 00 00 00 01 00", 512, SENSE_GOOD); /* DPO */
	GOOD(s, "28 08 00 00 00 00 00 00 01 00");                  /* read from the medium */
	CHECK(s, flushes(s) == before + 2);
	GOOD(s, "91 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00");
	CHECK(s, flushes(s) == before + 2);
	FAILS(s, "35 00 00 00 08 01 00 00 00 00", SENSE_LBA_RANGE);
	/* without the cache: WCE off flushes, and then writes are durable by themselves */
	PUTS(s, "2a 00 00 00 00 00 00 00 01 00", 512, SENSE_GOOD);
	SENDS(s, "15 10 00 00 10 00", "00 00 00 00  08 0a 00 00 00 00 00 00 00 00 00 00",
	      SENSE_GOOD);
	CHECK(s, flushes(s) == before + 3);
	PUTS(s, "0a 00 00 00 01 00", 512, SENSE_GOOD);
	GOOD(s, "35 00 00 00 00 00 00 00 00 00");
	CHECK(s, flushes(s) == before + 3);
	SENDS(s, "42 00 00 00 00 00 00 00 18 00",
	      "00 16 00 10 00 00 00 00  00 00 00 00 00 00 00 00 00 00 00 08 00 00 00 00",
	      SENSE_GOOD);
	CHECK(s, flushes(s) == before + 4);
}

static void test_durability(void **state)
{
	(void)state;
	sx_run(MIB, 512, body_durability);
}

static void fail_next(struct sx *s, enum fault_op op, int errnum, uint64_t from, uint64_t to)
{
	struct fault_rule rule = {.op = op, .errnum = errnum, .from = from, .to = to};

	fault_clear(s->node);
	fault_add(s->node, &rule);
}

static void body_errors(struct sx *s)
{
	/* block 200 of 300 cannot be read: the sense names it */
	fail_next(s, FAULT_READ, EIO, 200 * 512, 201 * 512);
	FAILS(s, "28 00 00 00 00 00 00 01 2c 00", SENSE_UNRECOVERED_READ);
	CHECK(s, s->sense_bytes[0] == 0xf0 && get_be32(s->sense_bytes + 3) == 200);
	CHECK(s, s->in_done == 0);
	GOOD(s, "28 00 00 00 00 00 00 00 c8 00"); /* those before it */
	fail_next(s, FAULT_WRITE, EIO, 0, 0);
	PUTS(s, "2a 00 00 00 00 07 00 00 01 00", 512, SENSE_WRITE_ERROR);
	CHECK(s, get_be32(s->sense_bytes + 3) == 7);
	fail_next(s, FAULT_WRITE, ENOSPC, 0, 0);
	PUTS(s, "2a 00 00 00 00 07 00 00 01 00", 512, SENSE_SPACE_ALLOCATION);
	fail_next(s, FAULT_WRITE, EPERM, 0, 0);
	PUTS(s, "2a 00 00 00 00 07 00 00 01 00", 512, SENSE_WRITE_PROTECTED);
	fail_next(s, FAULT_WRITE, ENOTCONN, 0, 0);
	PUTS(s, "2a 00 00 00 00 07 00 00 01 00", 512, SENSE_INTERNAL_FAILURE);
	fail_next(s, FAULT_ZERO, ENOSPC, 0, 0);
	SENDS(s, "93 08 00 00 00 00 00 00 00 00 00 00 00 08 00 00", "00", SENSE_BAD_CDB_FIELD);
	memset(s->out, 0, 512);
	PUTS(s, "93 08 00 00 00 00 00 00 00 00 00 00 00 08 00 00", 512, SENSE_SPACE_ALLOCATION);
	fail_next(s, FAULT_FLUSH, EIO, 0, 0);
	PUTS(s, "28 00 00 00 00 00 00 00 01 00", 0, SENSE_GOOD);
	FAILS(s, "35 00 00 00 00 00 00 00 00 00", SENSE_WRITE_ERROR);
	fault_clear(s->node);
}

static void test_errors(void **state)
{
	(void)state;
	sx_run(MIB, 512, body_errors);
}

static void body_verify(struct sx *s)
{
	sx_fill(s, 0, 256 * 512, 0x33);
	memset(s->out, 0x33, sizeof(s->out));
	GOOD(s, "2f 00 00 00 00 00 00 00 ff 00"); /* only readable */
	PUTS(s, "2f 02 00 00 00 00 00 01 00 00", 256 * 512, SENSE_GOOD);
	s->out[130 * 512 + 1] = 0;
	PUTS(s, "2f 02 00 00 00 00 00 01 00 00", 256 * 512, SENSE_MISCOMPARE);
	CHECK(s, get_be32(s->sense_bytes + 3) == 130);
	PUTS(s, "2f 02 00 00 00 00 00 01 00 00", 512, SENSE_BAD_CDB_FIELD);
	PUTS(s, "8f 06 00 00 00 00 00 00 00 00 00 00 01 00 00 00", 512, SENSE_GOOD);
	PUTS(s, "af 06 00 00 00 00 00 00 01 01 00 00", 512, SENSE_MISCOMPARE);
	CHECK(s, get_be32(s->sense_bytes + 3) == 256);
	FAILS(s, "2f 04 00 00 00 00 00 00 01 00", SENSE_BAD_CDB_FIELD);
	FAILS(s, "2f 00 00 00 08 00 00 00 01 00", SENSE_LBA_RANGE);
	fail_next(s, FAULT_READ, EIO, 9 * 512, 10 * 512);
	FAILS(s, "2f 00 00 00 00 00 00 00 ff 00", SENSE_UNRECOVERED_READ);
	CHECK(s, get_be32(s->sense_bytes + 3) == 9);
	fault_clear(s->node);
	memset(s->out, 0x44, 1024);
	PUTS(s, "2e 02 00 00 00 05 00 00 02 00", 1024, SENSE_GOOD);
	FILLED(s, 5 * 512, 1024, 0x44);
	PUTS(s, "8e 00 00 00 00 00 00 00 00 07 00 00 00 02 00 00", 1024, SENSE_GOOD);
	PUTS(s, "ae 02 00 00 00 09 00 00 00 02 00 00", 1024, SENSE_GOOD);
	FILLED(s, 5 * 512, 6 * 512, 0x44);
}

static void test_verify(void **state)
{
	(void)state;
	sx_run(MIB, 512, body_verify);
}

static const char compare[] = "89 00 00 00 00 00 00 00 00 04 00 00 00 02 00 00";

static void body_compare_and_write(struct sx *s)
{
	sx_fill(s, 4 * 512, 1024, 0x11);
	memset(s->out, 0x11, 1024);
	memset(s->out + 1024, 0x22, 1024);
	PUTS(s, compare, 2048, SENSE_GOOD);
	FILLED(s, 4 * 512, 1024, 0x22);
	PUTS(s, compare, 2048, SENSE_MISCOMPARE);
	CHECK(s, s->sense_bytes[0] == 0xf0 && get_be32(s->sense_bytes + 3) == 0);
	memset(s->out, 0x22, 1024);
	s->out[700] = 0;
	PUTS(s, compare, 2048, SENSE_MISCOMPARE);
	CHECK(s, get_be32(s->sense_bytes + 3) == 700);
	/* done by a process that died: the medium has what it would write */
	s->replay = true;
	PUTS(s, compare, 2048, SENSE_GOOD);
	s->out[1024] = 0;
	PUTS(s, compare, 2048, SENSE_MISCOMPARE);
	s->replay = false;
	PUTS(s, compare, 2047, SENSE_BAD_CDB_FIELD);
	PUTS(s, "89 00 00 00 00 00 00 00 00 04 00 00 00 81 00 00", 129 * 1024, SENSE_BAD_CDB_FIELD);
	PUTS(s, "89 00 00 00 00 00 00 00 00 04 00 00 00 00 00 00", 0, SENSE_GOOD);
	PUTS(s, "89 00 00 00 00 00 00 00 08 00 00 00 00 01 00 00", 1024, SENSE_LBA_RANGE);
}

static void test_compare_and_write(void **state)
{
	(void)state;
	sx_run(MIB, 512, body_compare_and_write);
}

static void body_protected(struct sx *s)
{
	SENDS(s, "15 10 00 00 10 00", "00 00 00 00  0a 0a 00 10 08 00 00 00 00 00 00 00",
	      SENSE_GOOD);
	PUTS(s, "2a 00 00 00 00 00 00 00 01 00", 512, SENSE_SOFTWARE_PROTECTED);
	PUTS(s, "89 00 00 00 00 00 00 00 00 04 00 00 00 01 00 00", 1024, SENSE_SOFTWARE_PROTECTED);
	GOOD(s, "28 00 00 00 00 00 00 00 01 00");
	BYTES(s, "1a 08 0a 00 ff 00", 2, "90");
}

static void test_software_protection(void **state)
{
	(void)state;
	sx_run(MIB, 512, body_protected);
}

static void body_stop(struct sx *s)
{
	GOOD(s, "1b 00 00 00 00 00");
	FAILS(s, TUR, SENSE_INIT_REQUIRED);
	FAILS(s, "28 00 00 00 00 00 00 00 01 00", SENSE_INIT_REQUIRED);
	LENGTH(s, "12 00 00 00 60 00", 96);
	FAILS(s, "1b 00 00 00 02 00", SENSE_BAD_CDB_FIELD);
	FAILS(s, "1b 00 00 00 10 00", SENSE_BAD_CDB_FIELD);
	GOOD(s, "1b 00 00 00 01 00");
	GOOD(s, "28 00 00 00 00 00 00 00 01 00");
}

static void test_stop(void **state)
{
	(void)state;
	sx_run(MIB, 512, body_stop);
}

static void body_resize(struct sx *s)
{
	CHECK(s, block_truncate(s->node, 2 * MIB) == 0);
	scsi_disk_resized(s->disk);
	CHECK(s, s->capacity_events == 2);
	FAILS(s, TUR, SENSE_CAPACITY_CHANGED);
	BYTES(s, "25 00 00 00 00 00 00 00 00 00", 0, "00 00 0f ff 00 00 02 00");
	GOOD(s, "28 00 00 00 0f ff 00 00 01 00");
	s->nexus = s->b;
	FAILS(s, "28 00 00 00 0f ff 00 00 01 00", SENSE_CAPACITY_CHANGED);
	GOOD(s, "28 00 00 00 0f ff 00 00 01 00");
}

static void test_resize(void **state)
{
	(void)state;
	sx_run(MIB, 512, body_resize);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_forms),
		cmocka_unit_test(test_ends),
		cmocka_unit_test(test_short_lists),
		cmocka_unit_test(test_durability),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_verify),
		cmocka_unit_test(test_compare_and_write),
		cmocka_unit_test(test_software_protection),
		cmocka_unit_test(test_stop),
		cmocka_unit_test(test_resize),
	};

	return RUN_TESTS(tests);
}
