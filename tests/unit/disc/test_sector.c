/* CD sector coding against the vectors of reference/mmc.md section 7. */
#include "disc/sector.h"

#include "base/bytes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* As zlib's. */
static uint32_t crc32_of(const uint8_t *p, unsigned len)
{
	uint32_t crc = 0xffffffff;

	while (len--) {
		crc ^= *p++;
		for (int i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
	}
	return ~crc;
}

static void count_up(uint8_t *p, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		p[i] = (uint8_t)i;
}

static void test_mode1_zeros(void **state)
{
	static const uint8_t p[8] = {0x00, 0xf7, 0x00, 0xf5}, q[8] = {0x00, 0x41};
	uint8_t s[SECTOR_RAW] = {0};

	(void)state;
	sector_make_mode1(s, 0);
	assert_int_equal(get_be32(s + 2064), 0xc513682b);
	assert_memory_equal(s + 2076, p, sizeof(p));
	assert_memory_equal(s + 2248, q, sizeof(q));
	assert_int_equal(get_be32(s + 2348), 0x00c10012);
	assert_int_equal(crc32_of(s, sizeof(s)), 0xd12ad343);
	assert_true(sector_is_mode1(s, 0));
	assert_false(sector_is_mode1(s, 1));
	s[2351] ^= 1;
	assert_false(sector_is_mode1(s, 0));
}

static void test_mode1_pattern(void **state)
{
	uint8_t s[SECTOR_RAW];

	(void)state;
	memset(s, 0xaa, sizeof(s));
	count_up(s + 16, 2048);
	sector_make_mode1(s, 0);
	assert_int_equal(crc32_of(s, sizeof(s)), 0x8c41a08f);
	sector_make_mode1(s, msf_to_lba((struct msf){12, 34, 56}));
	assert_int_equal(crc32_of(s, sizeof(s)), 0xfed7cdca);
}

static void test_forms(void **state)
{
	static const uint8_t form1[8] = {0, 0, 8, 0, 0, 0, 8, 0},
			     form2[8] = {0, 0, 0x20, 0, 0, 0, 0x20, 0};
	uint8_t s[SECTOR_RAW];

	(void)state;
	memset(s, 0xaa, sizeof(s));
	memcpy(s + 16, form1, 8);
	count_up(s + 24, 2048);
	sector_make_form1(s, 0);
	assert_int_equal(get_be32(s + 2072), 0xe90cd059);
	assert_int_equal(crc32_of(s, sizeof(s)), 0x8a32b319);
	memcpy(s + 16, form2, 8);
	count_up(s + 24, 2324);
	sector_make_form2(s, 0, true);
	assert_int_equal(get_be32(s + 2348), 0xbc8dd995);
	assert_int_equal(crc32_of(s, sizeof(s)), 0xfaacaac3);
	sector_make_form2(s, 0, false);
	assert_int_equal(get_be32(s + 2348), 0);
}

static void test_addresses(void **state)
{
	/* clang-format off */
	static const struct { struct msf msf; int32_t lba; } vectors[] = {
		{ { 0, 0, 0 }, -150 },    { { 0, 2, 0 }, 0 },         { { 99, 59, 74 }, -151 },
		{ { 97, 26, 66 }, -11634 }, { { 90, 0, 0 }, -45150 }, { { 79, 59, 74 }, 359849 },
		{ { 89, 59, 74 }, 404849 },
	};
	/* clang-format on */

	(void)state;
	for (unsigned i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		struct msf msf = lba_to_msf(vectors[i].lba);

		assert_int_equal(msf_to_lba(vectors[i].msf), vectors[i].lba);
		assert_memory_equal(&msf, &vectors[i].msf, sizeof(msf));
	}
	for (int32_t lba = CD_LEAD_IN_LBA_MIN; lba <= 404849; lba++)
		assert_int_equal(msf_to_lba(lba_to_msf(lba)), lba);
	assert_int_equal(to_bcd(79), 0x79);
	assert_int_equal(from_bcd(0x79), 79);
}

static void test_subq(void **state)
{
	/* clang-format off */
	static const struct { const char *q; uint16_t crc; } vectors[] = {
		{ "\x41\x01\x01\x00\x00\x00\x00\x00\x02\x00", 0x2832 },
		{ "\x01\x02\x01\x03\x15\x20\x00\x45\x12\x37", 0x4d45 },
		{ "\x02\x01\x23\x45\x67\x89\x01\x20\x00\x10", 0x22b6 },
		{ "\x03\x96\x38\x93\x04\x76\x07\x83\x90\x10", 0x0bad },
	};
	/* clang-format on */

	(void)state;
	assert_int_equal(subq_crc((const uint8_t *)"123456789", 9), 0xce3c);
	for (unsigned i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++)
		assert_int_equal(subq_crc((const uint8_t *)vectors[i].q, 10), vectors[i].crc);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mode1_zeros), cmocka_unit_test(test_mode1_pattern),
		cmocka_unit_test(test_forms),       cmocka_unit_test(test_addresses),
		cmocka_unit_test(test_subq),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
