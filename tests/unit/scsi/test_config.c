/* GET CONFIGURATION: descriptors byte by byte (mmc.md 3.2), the rules that clients enforce (3.1),
 * who is current (3.3). */
#include "mmc_fixture.h"

#define CONFIG(rt, start) "46 " rt " " start " 00 00 00 04 00 00"

static co_fn void expect_feature(struct fx *f, int line, const char *code, const char *hex)
{
	uint8_t expected[128];
	size_t len = fx_hex(hex, expected, sizeof(expected));
	char cdb[64];

	g_snprintf(cdb, sizeof(cdb), CONFIG("02", "%s"), code);
	fx_expect(f, line, cdb, NULL, SENSE_GOOD);
	if (f->in_done != 8 + len || get_be32(f->in) != 4 + len)
		fx_fail(f, line, "feature %s: %zu bytes", code, f->in_done);
	else if (memcmp(f->in + 8, expected, len) != 0)
		fx_fail(f, line, "feature %s: other bytes, %02x %02x %02x %02x %02x %02x", code,
			f->in[8], f->in[9], f->in[10], f->in[11], f->in[12], f->in[13]);
}

#define FEATURE(f, code, hex) expect_feature(f, __LINE__, code, hex)

static co_fn bool feature_is_current(struct fx *f, unsigned code)
{
	char cdb[64];

	g_snprintf(cdb, sizeof(cdb), "46 02 %02x %02x 00 00 00 04 00 00", code >> 8, code & 255);
	GOOD(f, cdb);
	return f->in_done > 8 && (f->in[10] & 1);
}

static co_fn void golden_dvd_plus_r(struct fx *f)
{
	FEATURE(f, "00 00",
		"00 00 03 24 00 41 00 00 00 40 00 00 00 1b 01 00 00 14 00 00 00 13 00 00"
		"00 11 00 00 00 10 00 00 00 09 00 00 00 08 00 00");
	FEATURE(f, "00 01", "00 01 0b 08 00 00 00 01 03 00 00 00");
	FEATURE(f, "00 02", "00 02 07 04 02 00 00 00");
	FEATURE(f, "00 03", "00 03 0b 04 39 00 00 00");
	FEATURE(f, "00 04", "00 04 09 04 01 00 00 00");
	FEATURE(f, "00 10", "00 10 01 08 00 00 08 00 00 10 01 00");
	FEATURE(f, "00 1d", "00 1d 00 00");
	FEATURE(f, "00 1e", "00 1e 08 04 03 00 00 00");
	FEATURE(f, "00 1f", "00 1f 09 04 01 00 00 00");
	FEATURE(f, "00 20", "00 20 04 0c 00 00 00 00 00 00 08 00 00 10 01 00");
	FEATURE(f, "00 21", "00 21 0c 08 01 00 05 01 10 00 00 00");
	FEATURE(f, "00 23", "00 23 04 08 00 00 00 00 00 00 00 00");
	FEATURE(f, "00 24", "00 24 04 04 00 00 00 00");
	FEATURE(f, "00 26", "00 26 00 00");
	FEATURE(f, "00 2b", "00 2b 01 04 01 00 00 00");
	FEATURE(f, "00 2c", "00 2c 00 04 03 00 00 00");
	FEATURE(f, "00 2d", "00 2d 08 04 44 00 05 00");
	FEATURE(f, "00 2e", "00 2e 00 04 64 00 0c 00");
	FEATURE(f, "00 2f", "00 2f 08 04 46 00 00 00");
	FEATURE(f, "00 38", "00 38 00 04 00 00 00 00");
	FEATURE(f, "01 00", "01 00 03 00");
	FEATURE(f, "01 05", "01 05 07 04 00 00 00 00");
	FEATURE(f, "01 07", "01 07 11 04 1f 00 00 00");
	/* Not listed: the answer is a bare header. */
	FEATURE(f, "00 28", "");
	FEATURE(f, "00 2a", "");
	FEATURE(f, "00 37", "");
	FEATURE(f, "ff ff", "");
}

static co_fn void header_and_requests(struct fx *f)
{
	uint32_t whole;

	REPLY(f, "46 00 00 00 00 00 00 00 00 00", "");
	FAILS(f, CONFIG("03", "00 00"), SENSE_BAD_CDB_FIELD);
	GOOD(f, CONFIG("00", "00 00"));
	whole = get_be32(f->in);
	CHECK(f, f->in_done == whole + 4);
	GOOD(f, PROFILE);
	CHECK(f, f->in_done == 8 && get_be32(f->in) == whole && get_be16(f->in + 6) == 0x1b);
	scsi_nexus_attention(f->nexus, SENSE_MEDIUM_CHANGED);
	GOOD(f, PROFILE); /* neither reports nor takes it */
	FAILS(f, TUR, SENSE_MEDIUM_CHANGED);
	/* What Linux looks at when it finds the drive. */
	GOOD(f, "46 00 00 20 00 00 00 00 18 00");
	CHECK(f, f->in_done == 24 && get_be16(f->in + 8) == 0x20);
	GOOD(f, "46 00 00 28 00 00 00 00 10 00");
	CHECK(f, get_be16(f->in + 8) > 0x28);
}

/* Ascending, multiples of four, inside the reply; RT=1 gives just the current ones. */
static co_fn void well_formed(struct fx *f)
{
	unsigned all = 0, current = 0, last;
	size_t off;

	GOOD(f, CONFIG("00", "00 00"));
	for (off = 8, last = 0; off + 4 <= f->in_done; off += 4 + f->in[off + 3]) {
		CHECK(f, off == 8 || get_be16(f->in + off) > last);
		CHECK(f, f->in[off + 3] % 4 == 0);
		last = get_be16(f->in + off);
		all++;
		current += f->in[off + 2] & 1;
	}
	CHECK(f, off == f->in_done && all > 20);
	GOOD(f, CONFIG("01", "00 00"));
	for (off = 8, last = 0; off + 4 <= f->in_done; off += 4 + f->in[off + 3])
		last += f->in[off + 2] & 1;
	CHECK(f, off == f->in_done && last == current);
}

/* The features that are current, of those that depend on the medium. */
static co_fn void expect_current(struct fx *f, int line, const char *codes)
{
	static const unsigned watched[] = {
		0x04, 0x10, 0x1d, 0x1e, 0x1f, 0x20, 0x21, 0x23, 0x24,
		0x26, 0x2b, 0x2c, 0x2d, 0x2e, 0x2f, 0x38, 0x40, 0x41,
	};
	GString *got = g_string_new(NULL);

	for (unsigned i = 0; i < G_N_ELEMENTS(watched); i++) {
		if (feature_is_current(f, watched[i]))
			g_string_append_printf(got, "%s%02x", got->len ? " " : "", watched[i]);
	}
	if (strcmp(got->str, codes) != 0)
		fx_fail(f, line, "current: %s, expected %s", got->str, codes);
	g_string_free(got, TRUE);
}

#define CURRENT(f, codes) expect_current(f, __LINE__, codes)

static co_fn void current_without_medium(struct fx *f)
{
	CURRENT(f, "");
	WORD32(f, CONFIG("00", "00 00"), 4, 0);
	CHECK(f, feature_is_current(f, 0x107));
}

static co_fn void current_with_cd(struct fx *f)
{
	CURRENT(f, "10 1d 1e 2d 2e");
	PAGE5(f, 0x41, 0x04, 8);
	WRITES(f, 0, 320);
	GOOD(f, SYNC);
	GOOD(f, CLOSE("02", "00"));
	CURRENT(f, "10 1d 1e");
}

static co_fn void current_with_dvd_plus(struct fx *f)
{
	CURRENT(f, "04 10 1f 2b");
}

static co_fn void current_with_dvd_minus(struct fx *f)
{
	CURRENT(f, "10 1f 21 23 2f");
	/* Formatting makes another profile of it, and tells every initiator once. */
	SENDS(f, "04 11 00 00 00 00", "00 00 00 08 00 00 00 00 54 00 00 10", SENSE_GOOD);
	WORD32(f, PROFILE, 4, 0x13);
	CURRENT(f, "10 1f 23 26 2c");
	REPLY(f, "4a 01 00 00 02 00 00 00 08 00", "00 06 01 5e 02 00 00 01");
	REPLY(f, "4a 01 00 00 02 00 00 00 08 00", "00 06 01 5e 00 00 00 00");
	GOOD(f, TUR);
}

static co_fn void current_with_bd(struct fx *f)
{
	CURRENT(f, "04 10 21 23 40 41");
	FEATURE(f, "00 21", "00 21 0d 04 01 00 05 00");
	FEATURE(f, "00 10", "00 10 01 08 00 00 08 00 00 20 01 00");
	SENDS(f, "04 11 00 00 00 00", "00 00 00 08 00 b4 74 00 00 00 30 00", SENSE_GOOD);
	CURRENT(f, "04 10 21 24 38 40 41");
}

static co_fn void serial_number(struct fx *f)
{
	GOOD(f, CONFIG("02", "01 08"));
	CHECK(f, f->in_done == 8 + 4 + 12 && f->in[11] == 12);
	uint8_t serial[12];

	memcpy(serial, f->in + 12, 12);
	GOOD(f, "12 01 80 00 ff 00");
	CHECK(f, f->in_done == 16 && memcmp(serial, f->in + 4, 12) == 0);
}

#define ON(name, type)                        \
	static void test_##name(void **state) \
	{                                     \
		(void)state;                  \
		fx_run(type, 0, name);        \
	}

ON(golden_dvd_plus_r, "dvd+r")
ON(header_and_requests, "dvd+r")
ON(well_formed, "bd-r")
ON(current_without_medium, NULL)
ON(current_with_cd, "cd-r")
ON(current_with_dvd_plus, "dvd+r")
ON(current_with_dvd_minus, "dvd-rw")
ON(current_with_bd, "bd-r")
ON(serial_number, NULL)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden_dvd_plus_r),
		cmocka_unit_test(test_header_and_requests),
		cmocka_unit_test(test_well_formed),
		cmocka_unit_test(test_current_without_medium),
		cmocka_unit_test(test_current_with_cd),
		cmocka_unit_test(test_current_with_dvd_plus),
		cmocka_unit_test(test_current_with_dvd_minus),
		cmocka_unit_test(test_current_with_bd),
		cmocka_unit_test(test_serial_number),
	};

	return RUN_TESTS(tests);
}
