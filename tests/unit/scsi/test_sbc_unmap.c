/* UNMAP, WRITE SAME, GET LBA STATUS: what becomes zeros, and lists that lie. */
#include "sbc_fixture.h"

enum { MIB = 1 << 20 };

#define UNMAP      "42 00 00 00 00 00 00 00 18 00"
#define UNMAP_MORE "42 00 00 00 00 00 00 00 28 00"

static void body_unmap(struct sx *s)
{
	sx_fill(s, 0, MIB, 0x77);
	/* blocks 8 to 15, and 32 to 47 */
	SENDS(s, UNMAP_MORE,
	      "00 26 00 20 00 00 00 00  00 00 00 00 00 00 00 08 00 00 00 08 00 00 00 00 "
	      "00 00 00 00 00 00 00 20 00 00 00 10 00 00 00 00",
	      SENSE_GOOD);
	FILLED(s, 0, 8 * 512, 0x77);
	FILLED(s, 8 * 512, 8 * 512, 0);
	FILLED(s, 16 * 512, 16 * 512, 0x77);
	FILLED(s, 32 * 512, 16 * 512, 0);
	FILLED(s, 48 * 512, MIB - 48 * 512, 0x77);
	GOOD(s, "42 00 00 00 00 00 00 00 00 00"); /* no list */
	SENDS(s, "42 00 00 00 00 00 00 00 08 00", "00 06 00 00 00 00 00 00", SENSE_GOOD);
	/* an incomplete descriptor is ignored */
	SENDS(s, UNMAP, "00 16 00 0f 00 00 00 00  00 00 00 00 00 00 00 00 00 00 00 08 00 00 00 00",
	      SENSE_GOOD);
	FILLED(s, 0, 8 * 512, 0x77);
}

static void test_unmap(void **state)
{
	(void)state;
	sx_run(MIB, 512, body_unmap);
}

static void body_lies(struct sx *s)
{
	sx_fill(s, 0, MIB, 0x77);
	/* says that there is more than was sent, or than the whole list has */
	SENDS(s, UNMAP, "00 26 00 20 00 00 00 00  00 00 00 00 00 00 00 08 00 00 00 08 00 00 00 00",
	      SENSE_PARAMETER_LENGTH);
	SENDS(s, UNMAP, "00 06 00 10 00 00 00 00  00 00 00 00 00 00 00 08 00 00 00 08 00 00 00 00",
	      SENSE_BAD_PARAMETER);
	SENDS(s, UNMAP, "ff ff ff f0 00 00 00 00  00 00 00 00 00 00 00 08 00 00 00 08 00 00 00 00",
	      SENSE_BAD_PARAMETER);
	SENDS(s, UNMAP, "00 16 00", SENSE_PARAMETER_LENGTH);
	SENDS(s, UNMAP, "00 16 00 10 00 00 00 00  00 00 00 00 00 00 00 08", SENSE_PARAMETER_LENGTH);
	/* the second range lies outside: the first one stays as it is */
	SENDS(s, UNMAP_MORE,
	      "00 26 00 20 00 00 00 00  00 00 00 00 00 00 00 08 00 00 00 08 00 00 00 00 "
	      "00 00 00 00 00 00 07 ff 00 00 00 02 00 00 00 00",
	      SENSE_LBA_RANGE);
	CHECK(s, get_be32(s->sense_bytes + 3) == 0x800);
	SENDS(s, UNMAP, "00 16 00 10 00 00 00 00  ff ff ff ff ff ff ff ff ff ff ff ff 00 00 00 00",
	      SENSE_LBA_RANGE);
	SENDS(s, UNMAP, "00 16 00 10 00 00 00 00  00 00 00 00 00 00 00 01 ff ff ff ff 00 00 00 00",
	      SENSE_LBA_RANGE);
	SENDS(s, "42 01 00 00 00 00 00 00 18 00",
	      "00 16 00 10 00 00 00 00  00 00 00 00 00 00 00 08 00 00 00 08 00 00 00 00",
	      SENSE_BAD_CDB_FIELD);
	FILLED(s, 0, MIB, 0x77);
}

static void test_lies(void **state)
{
	(void)state;
	sx_run(MIB, 512, body_lies);
}

/* 257 descriptors, one more than the limit; and 256 of them. */
static void body_many_descriptors(struct sx *s)
{
	sx_fill(s, 0, MIB, 0x77);
	for (unsigned n = 257; n >= 256; n--) {
		memset(s->out, 0, 8 + n * 16);
		put_be16(s->out, (uint16_t)(6 + n * 16));
		put_be16(s->out + 2, (uint16_t)(n * 16));
		for (unsigned i = 0; i < n; i++) {
			put_be64(s->out + 8 + i * 16, i * 2);
			put_be32(s->out + 16 + i * 16, 1);
		}
		PUTS(s, "42 00 00 00 00 00 00 10 18 00", 8 + n * 16,
		     n > 256 ? SENSE_BAD_PARAMETER : SENSE_GOOD);
		FILLED(s, 0, 512, n > 256 ? 0x77 : 0);
	}
	FILLED(s, 512, 512, 0x77);
	FILLED(s, 510 * 512, 512, 0);
}

static void test_many_descriptors(void **state)
{
	(void)state;
	sx_run(MIB, 512, body_many_descriptors);
}

static void body_write_same(struct sx *s)
{
	unsigned bs = s->block_size;

	memset(s->out, 0x66, bs);
	PUTS(s, "41 00 00 00 00 02 00 00 05 00", bs, SENSE_GOOD);
	CHECK(s, s->out_done == bs);
	FILLED(s, 0, 2 * bs, 0);
	FILLED(s, (uint64_t)2 * bs, 5 * bs, 0x66);
	FILLED(s, (uint64_t)7 * bs, bs, 0);
	/* to the end */
	PUTS(s, "93 00 00 00 00 00 00 00 00 08 00 00 00 00 00 00", bs, SENSE_GOOD);
	FILLED(s, (uint64_t)8 * bs, s->length - 8 * bs, 0x66);
	/* zeros, sent or meant (NDOB), with and without UNMAP */
	memset(s->out, 0, bs);
	PUTS(s, "41 08 00 00 00 09 00 00 02 00", bs, SENSE_GOOD);
	PUTS(s, "41 00 00 00 00 0b 00 00 02 00", bs, SENSE_GOOD);
	PUTS(s, "93 09 00 00 00 00 00 00 00 0d 00 00 00 02 00 00", 0, SENSE_GOOD);
	PUTS(s, "93 01 00 00 00 00 00 00 00 0f 00 00 00 02 00 00", 0, SENSE_GOOD);
	FILLED(s, (uint64_t)8 * bs, bs, 0x66);
	FILLED(s, (uint64_t)9 * bs, 8 * bs, 0);
	FILLED(s, (uint64_t)17 * bs, bs, 0x66);
	/* a pattern with UNMAP is written */
	memset(s->out, 0x66, bs);
	PUTS(s, "93 08 00 00 00 00 00 00 00 09 00 00 00 02 00 00", bs, SENSE_GOOD);
	FILLED(s, (uint64_t)9 * bs, 2 * bs, 0x66);
	PUTS(s, "93 00 00 00 00 00 00 00 00 08 00 00 00 02 00 00", bs - 1, SENSE_BAD_CDB_FIELD);
	PUTS(s, "93 10 00 00 00 00 00 00 00 08 00 00 00 02 00 00", bs, SENSE_BAD_CDB_FIELD);
	PUTS(s, "41 02 00 00 00 08 00 00 02 00", bs, SENSE_BAD_CDB_FIELD);
	PUTS(s, "41 20 00 00 00 08 00 00 02 00", bs, SENSE_BAD_CDB_FIELD);
	PUTS(s, "93 00 ff ff ff ff ff ff ff ff ff ff ff ff 00 00", bs, SENSE_LBA_RANGE);
}

static void test_write_same(void **state)
{
	(void)state;
	sx_run(MIB, 512, body_write_same);
	sx_run(MIB, 4096, body_write_same);
}

/* 8 GiB: up to the end is more than the limit of 4 GiB, which itself is not too much. */
static void body_limits(struct sx *s)
{
	FAILS(s, "93 09 00 00 00 00 00 00 00 00 00 00 00 00 00 00", SENSE_BAD_CDB_FIELD);
	CHECK(s, s->sense_bytes[15] == 0xc0 && get_be16(s->sense_bytes + 16) == 10);
	FAILS(s, "93 09 00 00 00 00 00 00 00 00 00 80 00 01 00 00", SENSE_BAD_CDB_FIELD);
	GOOD(s, "93 09 00 00 00 00 00 00 00 00 00 80 00 00 00 00");
	GOOD(s, "93 09 00 00 00 00 00 80 00 00 00 00 00 00 00 00");
	SENDS(s, UNMAP, "00 16 00 10 00 00 00 00  00 00 00 00 00 00 00 00 00 80 00 01 00 00 00 00",
	      SENSE_BAD_PARAMETER);
	SENDS(s, UNMAP, "00 16 00 10 00 00 00 00  00 00 00 00 00 00 00 00 00 80 00 00 00 00 00 00",
	      SENSE_GOOD);
}

static void test_limits(void **state)
{
	(void)state;
	sx_run(UINT64_C(8) << 30, 512, body_limits);
}

#define STATUS(lba, alloc) "9e 12 00 00 00 00 00 00 " lba " 00 00 00 " alloc " 00 00"

static void body_lba_status(struct sx *s)
{
	/* data in blocks 256 to 511 of 2048 */
	sx_fill(s, 256 * 512, 256 * 512, 0x77);
	LENGTH(s, STATUS("00 00", "ff"), 8 + 3 * 16);
	BYTES(s, STATUS("00 00", "ff"), 0,
	      "00 00 00 34 00 00 00 00  00 00 00 00 00 00 00 00 00 00 01 00 01 00 00 00 "
	      "00 00 00 00 00 00 01 00 00 00 01 00 00 00 00 00 "
	      "00 00 00 00 00 00 02 00 00 00 06 00 01 00 00 00");
	LENGTH(s, STATUS("00 00", "18"), 24); /* as many as fit */
	LENGTH(s, STATUS("00 00", "04"), 4);
	BYTES(s, STATUS("01 80", "18"), 8, "00 00 00 00 00 00 01 80 00 00 00 80 00");
	BYTES(s, STATUS("07 ff", "18"), 8, "00 00 00 00 00 00 07 ff 00 00 00 01 01");
	FAILS(s, STATUS("08 00", "18"), SENSE_LBA_RANGE);
	FAILS(s, "9e 12 ff ff ff ff ff ff ff ff 00 00 00 18 00 00", SENSE_LBA_RANGE);
	FAILS(s, "9e 13 00 00 00 00 00 00 00 00 00 00 00 18 00 00", SENSE_BAD_CDB_FIELD);
}

static void test_lba_status(void **state)
{
	(void)state;
	sx_run(MIB, 512, body_lba_status);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unmap),
		cmocka_unit_test(test_lies),
		cmocka_unit_test(test_many_descriptors),
		cmocka_unit_test(test_write_same),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_lba_status),
	};

	return RUN_TESTS(tests);
}
