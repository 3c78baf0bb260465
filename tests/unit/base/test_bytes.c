/* Byte order, fields of wire layouts, scatter lists, CRC-32C: pure code. */
#include "unit_test.h"

#include "base/bytes.h"
#include "base/crc32c.h"
#include "base/field.h"
#include "base/iovs.h"

static void test_byte_order(void **state)
{
	const uint8_t b[9] = {0, 0x81, 0x92, 0xa3, 0xb4, 0xc5, 0xd6, 0xe7, 0xf8};
	uint8_t w[9];

	(void)state;
	assert_int_equal(get_le16(b + 1), 0x9281);
	assert_true(get_le32(b + 1) == 0xb4a39281);
	assert_true(get_le64(b + 1) == 0xf8e7d6c5b4a39281);
	assert_int_equal(get_be16(b + 1), 0x8192);
	assert_int_equal(get_be24(b + 1), 0x8192a3);
	assert_true(get_be32(b + 1) == 0x8192a3b4);
	assert_true(get_be64(b + 1) == 0x8192a3b4c5d6e7f8);
	memset(w, 0, sizeof(w));
	put_le64(w + 1, 0xf8e7d6c5b4a39281);
	assert_memory_equal(w, b, 9);
	memset(w, 0, sizeof(w));
	put_be64(w + 1, 0x8192a3b4c5d6e7f8);
	assert_memory_equal(w, b, 9);
	put_be24(w, 0x010203);
	assert_int_equal(get_be24(w), 0x010203);
	assert_int_equal(w[3], 0xa3);
	put_be16(w, 0xfffe);
	put_le16(w + 2, 0xfffe);
	assert_int_equal(get_be32(w), 0xfffefeff);
}

static void test_fields(void **state)
{
	static const struct {
		int field;
		uint32_t max;
	} cases[] = {
		{BIT(0, 0), 1},        {BIT(3, 7), 1},       {BITS(2, 3, 0), 15},
		{BITS(2, 7, 5), 7},    {BITS(1, 7, 0), 255}, {U8(4), 255},
		{BE16(3), 0xffff},     {BE24(2), 0xffffff},  {BE32(1), 0xffffffff},
		{BE32(4), 0xffffffff},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t p[8], expect[8];
		int f = cases[i].field;

		/* All ones with the field cleared, then set: nothing around it changes. */
		memset(p, 0xff, sizeof(p));
		memset(expect, 0xff, sizeof(expect));
		assert_true(fld_get(p, f) == cases[i].max);
		fld_put(p, f, 0);
		assert_int_equal(fld_get(p, f), 0);
		fld_put(p, f, 0xffffffff);
		assert_memory_equal(p, expect, sizeof(p));
		memset(p, 0, sizeof(p));
		fld_put(p, f, cases[i].max);
		assert_true(fld_get(p, f) == cases[i].max);
	}
}

static void test_fields_lie_where_they_say(void **state)
{
	uint8_t p[8] = {0};
	const uint8_t expect[8] = {0x20, 0x05, 0x12, 0x34, 0, 0, 0, 0};

	(void)state;
	fld_put(p, BITS(0, 5, 4), 2);
	fld_put(p, BITS(1, 3, 0), 5);
	fld_put(p, BE16(2), 0x1234);
	assert_memory_equal(p, expect, sizeof(p));
	assert_int_equal(fld_byte(BE24(300)), 300);
	assert_int_equal(fld_bytes(BE24(300)), 3);
	assert_int_equal(fld_low(BITS(0, 5, 4)), 4);
	assert_int_equal(fld_bits(BITS(0, 5, 4)), 2);
}

struct pieces {
	char a[3], b[1], c[6];
	struct iovec v[5];
	struct iovs list;
};

static void pieces_init(struct pieces *p)
{
	memcpy(p->a, "abc", 3);
	memcpy(p->b, "d", 1);
	memcpy(p->c, "efghij", 6);
	p->v[0] = (struct iovec){p->a, 3};
	p->v[1] = (struct iovec){NULL, 0};
	p->v[2] = (struct iovec){p->b, 1};
	p->v[3] = (struct iovec){p->c, 6};
	p->v[4] = (struct iovec){NULL, 0};
	p->list = (struct iovs){p->v, 5, iovs_sum(p->v, 5)};
}

static void test_scatter_get_every_range(void **state)
{
	struct pieces p;

	(void)state;
	pieces_init(&p);
	assert_int_equal(p.list.len, 10);
	for (size_t off = 0; off <= 12; off++) {
		for (size_t len = 0; len <= 12; len++) {
			size_t expect = off >= 10 ? 0 : len < 10 - off ? len : 10 - off;
			char got[12] = "------------";

			assert_int_equal(iovs_get(&p.list, off, got, len), expect);
			if (expect)
				assert_memory_equal(got, &"abcdefghij"[off], expect);
			if (expect < sizeof(got))
				assert_int_equal(got[expect], '-');
		}
	}
	assert_int_equal(iovs_get(&p.list, SIZE_MAX, p.c, 1), 0);
	assert_int_equal(iovs_zero(&p.list, 9, SIZE_MAX), 1);
}

static void test_scatter_put_and_zero(void **state)
{
	struct pieces p;
	char all[10];

	(void)state;
	pieces_init(&p);
	assert_int_equal(iovs_put(&p.list, 2, "XYZ", 3), 3);
	assert_int_equal(iovs_put(&p.list, 8, "QRST", 4), 2);
	iovs_get(&p.list, 0, all, 10);
	assert_memory_equal(all, "abXYZfghQR", 10);
	assert_int_equal(iovs_zero(&p.list, 1, 4), 4);
	iovs_get(&p.list, 0, all, 10);
	assert_memory_equal(all, "a\0\0\0\0fghQR", 10);
}

static void test_scatter_slice(void **state)
{
	struct pieces p;
	struct iovec out[3], one;
	struct iovs list;

	(void)state;
	pieces_init(&p);
	assert_int_equal(iovs_slice(&p.list, 1, 5, out, 3), 3);
	assert_ptr_equal(out[0].iov_base, p.a + 1);
	assert_int_equal(out[0].iov_len, 2);
	assert_ptr_equal(out[1].iov_base, p.b);
	assert_int_equal(out[2].iov_len, 2);
	assert_int_equal(iovs_slice(&p.list, 1, 5, out, 2), 0);
	assert_int_equal(iovs_slice(&p.list, 4, 6, out, 3), 1);
	assert_int_equal(iovs_slice(&p.list, 4, 7, out, 3), 0);
	assert_int_equal(iovs_slice(&p.list, 11, 0, out, 3), 0);
	assert_int_equal(iovs_slice(&p.list, SIZE_MAX, 2, out, 3), 0);
	list = iovs_one(&one, p.c, 6);
	assert_int_equal(list.len, 6);
	assert_int_equal(list.n, 1);
	assert_ptr_equal(list.v->iov_base, p.c);
}

static void test_crc32c(void **state)
{
	uint8_t data[64];

	(void)state;
	/* RFC 3720, appendix B.4 */
	memset(data, 0, 32);
	assert_true(crc32c(0, data, 32) == 0x8a9136aa);
	memset(data, 0xff, 32);
	assert_true(crc32c(0, data, 32) == 0x62a8ab43);
	for (unsigned i = 0; i < 32; i++)
		data[i] = (uint8_t)i;
	assert_true(crc32c(0, data, 32) == 0x46dd794e);
	assert_true(crc32c(0, "123456789", 9) == 0xe3069283);
	assert_int_equal(crc32c(0, NULL, 0), 0);
}

static void test_crc32c_in_parts_and_by_table(void **state)
{
	uint8_t data[67];

	(void)state;
	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 37 + 11);
	for (unsigned off = 0; off < 8; off++) {
		for (size_t len = 0; len <= sizeof(data) - off; len++) {
			uint32_t whole = crc32c(0, data + off, len);
			uint32_t part = crc32c(0, data + off, len / 3);

			assert_true(crc32c_by_table(0, data + off, len) == whole);
			assert_true(crc32c(part, data + off + len / 3, len - len / 3) == whole);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_byte_order),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_fields_lie_where_they_say),
		cmocka_unit_test(test_scatter_get_every_range),
		cmocka_unit_test(test_scatter_put_and_zero),
		cmocka_unit_test(test_scatter_slice),
		cmocka_unit_test(test_crc32c),
		cmocka_unit_test(test_crc32c_in_parts_and_by_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
