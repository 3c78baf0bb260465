/* MODE SENSE and MODE SELECT: pages byte by byte, the rules of page 05h, and lists that are wrong.
 */
#include "mmc_fixture.h"

#define SENSE10(page, len) "5a 08 " page " 00 00 00 00 00 " len " 00"
#define SELECT10(len)      "55 10 00 00 00 00 00 00 " len " 00"
#define HEAD               "00 00 00 00 00 00 00 00"

static co_fn void golden_page_2a(struct fx *f)
{
	REPLY(f, SENSE10("2a", "ff"),
	      "00 36 00 00 00 00 00 00 2a 2e 19 15 f0 73 29 00"
	      "21 13 01 00 10 00 21 13 00 00 21 13 21 13 00 01"
	      "00 00 00 00 21 13 00 04 00 00 21 13 00 00 10 8a"
	      "00 00 0b 06 00 00 05 83");
	GOOD(f, "1e 00 00 00 01 00");
	BYTE(f, SENSE10("2a", "ff"), 8 + 6, 0x2b);
	GOOD(f, "1e 00 00 00 00 00");
	BYTE(f, SENSE10("2a", "ff"), 8 + 6, 0x29);
}

static co_fn void golden_page_05(struct fx *f)
{
	REPLY(f, SENSE10("05", "ff"),
	      "00 3a 00 00 00 00 00 00 05 32 40 05 08 07 00 00"
	      "00 00 00 00 00 20 00 96 00 00 00 00 00 00 00 00"
	      "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"
	      "00 00 00 00 00 00 00 00 00 00 00 00");
	REPLY(f, SENSE10("45", "0d"), "00 3a 00 00 00 00 00 00 05 32 7f ff 0f"); /* changeable */
	PAGE5(f, 0x41, 0xc4, 8);
	REPLY(f, SENSE10("05", "0d"), "00 3a 00 00 00 00 00 00 05 32 41 c4 08");
	REPLY(f, SENSE10("85", "0d"), "00 3a 00 00 00 00 00 00 05 32 40 05 08"); /* defaults stay */
}

static co_fn void headers_and_refusals(struct fx *f)
{
	REPLY(f, "1a 08 08 00 ff 00", "0f 00 00 00 08 0a 04 00 00 00 00 00 00 00 00 00");
	REPLY(f, SENSE10("08", "02"), "00 12");
	REPLY(f, SENSE10("08", "00"), "");
	FAILS(f, SENSE10("c8", "ff"), SENSE_SAVING_UNSUPPORTED);
	FAILS(f, "5a 00 08 01 00 00 00 00 ff 00", SENSE_BAD_CDB_FIELD);
	GOOD(f, "5a 00 3f ff 00 00 00 00 ff 00");
	FAILS(f, SENSE10("00", "ff"), SENSE_BAD_CDB_FIELD);
	FAILS(f, SENSE10("03", "ff"), SENSE_BAD_CDB_FIELD);
	for (unsigned page = 0x30; page < 0x3f; page++) { /* 30h would make a Ricoh of the drive */
		char cdb[64];

		g_snprintf(cdb, sizeof(cdb), "5a 00 %02x 00 00 00 00 00 ff 00", page);
		FAILS(f, cdb, SENSE_BAD_CDB_FIELD);
	}
}

/* Page 3Fh: all of them, ascending, and the length of the whole is right. */
static co_fn void all_pages(struct fx *f)
{
	static const uint8_t codes[] = {0x01, 0x05, 0x08, 0x0e, 0x1a, 0x1d, 0x2a};
	unsigned n = 0, off = 8;

	GOOD(f, "5a 00 3f 00 00 00 00 03 ff 00");
	CHECK(f, f->in_done == get_be16(f->in) + 2u);
	while (off + 2 <= f->in_done && n < sizeof(codes)) {
		CHECK(f, f->in[off] == codes[n]);
		n++;
		off += 2 + f->in[off + 1];
	}
	CHECK(f, n == sizeof(codes) && off == f->in_done);
	GOOD(f, "1a 00 3f 00 ff 00");
	CHECK(f, f->in[0] + 1u == f->in_done);
}

static co_fn void select_lists(struct fx *f)
{
	GOOD(f, SELECT10("00"));
	SENDS(f, "55 11 00 00 00 00 00 00 08 00", HEAD, SENSE_BAD_CDB_FIELD); /* SP */
	SENDS(f, SELECT10("04"), "00 00 00 00", SENSE_PARAMETER_LENGTH);
	SENDS(f, SELECT10("08"), HEAD, SENSE_GOOD);
	SENDS(f, SELECT10("09"), HEAD "08", SENSE_PARAMETER_LENGTH);
	SENDS(f, SELECT10("0c"), HEAD "08 0a 04 00", SENSE_PARAMETER_LENGTH);
	SENDS(f, SELECT10("14"), HEAD "2a 0a 04 00 00 00 00 00 00 00 00 00", SENSE_BAD_PARAMETER);
	CHECK(f, (f->sense_bytes[15] & 0x80) && get_be16(f->sense_bytes + 16) == 8);
	SENDS(f, SELECT10("14"), HEAD "48 0a 04 00 00 00 00 00 00 00 00 00", SENSE_BAD_PARAMETER);
	SENDS(f, SELECT10("13"), HEAD "08 09 04 00 00 00 00 00 00 00 00", SENSE_BAD_PARAMETER);
	SENDS(f, SELECT10("14"), HEAD "88 0a 05 00 00 00 00 00 00 00 00 00", SENSE_GOOD);
	BYTE(f, SENSE10("08", "ff"), 10, 0x05);
	SENDS(f, "15 10 00 00 10 00", "00 00 00 00 08 0a 04 00 00 00 00 00 00 00 00 00",
	      SENSE_GOOD);
	BYTE(f, SENSE10("08", "ff"), 10, 0x04);
	/* Block descriptors: 2048 or none. */
	SENDS(f, SELECT10("10"), "00 00 00 00 00 00 00 08 00 00 00 00 00 00 08 00", SENSE_GOOD);
	SENDS(f, SELECT10("10"), "00 00 00 00 00 00 00 08 00 00 00 00 00 00 09 30",
	      SENSE_BAD_PARAMETER);
	SENDS(f, SELECT10("0c"), "00 00 00 00 00 00 00 04 00 00 00 00", SENSE_BAD_PARAMETER);
	SENDS(f, SELECT10("0c"), "00 00 00 00 00 00 00 08 00 00 00 00", SENSE_PARAMETER_LENGTH);
	/* libburn's page 01h: two bytes filled, the rest zero. */
	SENDS(f, SELECT10("14"), HEAD "01 0a 20 05 00 00 00 00 00 00 00 00", SENSE_GOOD);
	REPLY(f, SENSE10("01", "ff"),
	      "00 12 00 00 00 00 00 00 01 0a 20 05 00 00 00 00 00 00 00 00");
}

/* One list with a bad page at its end changes nothing. */
static co_fn void all_or_nothing(struct fx *f)
{
	SENDS(f, SELECT10("20"),
	      HEAD "08 0a 05 00 00 00 00 00 00 00 00 00 2a 0a 00 00 00 00 00 00 00 00 00 00",
	      SENSE_BAD_PARAMETER);
	BYTE(f, SENSE10("08", "ff"), 10, 0x04);
}

static co_fn void longest_list(struct fx *f)
{
	memset(f->out, 0, 1024);
	CHECK(f, fx_command(f, "55 10 00 00 00 00 00 04 00 00", 1024, 0) == SENSE_PARAMETER_LENGTH);
	/* A full buffer whose last byte begins a page. */
	memset(f->out, 0, 512);
	for (unsigned i = 0; i < 42; i++)
		memcpy(f->out + 8 + 12 * i, "\x08\x0a\x04", 3);
	CHECK(f, fx_command(f, "55 10 00 00 00 00 00 02 00 00", 512, 0) == SENSE_GOOD);
	memcpy(f->out + 8 + 12 * 41, "\x1d\x08\0\0\0\0\0\0\0\0\x08", 11);
	CHECK(f, fx_command(f, "55 10 00 00 00 00 00 01 ff 00", 511, 0) == SENSE_PARAMETER_LENGTH);
}

static co_fn enum sense try_page5(struct fx *f, unsigned type, unsigned block_type)
{
	memset(f->out, 0, 60);
	f->out[8] = 0x05;
	f->out[9] = 0x32;
	f->out[10] = (uint8_t)(0x40 | type);
	f->out[11] = 0x04;
	f->out[12] = (uint8_t)block_type;
	return fx_command(f, SELECT10("3c"), 60, 0);
}

/* As burning programs probe: every write type with every block type; what is refused leaves the
 * page alone. */
static co_fn void probe(struct fx *f, const unsigned accepted[5])
{
	for (unsigned type = 0; type < 5; type++) {
		for (unsigned dbt = 0; dbt < 16; dbt++) {
			bool good = accepted[type] >> dbt & 1;

			GOOD(f, SENSE10("05", "ff"));
			CHECK(f,
			      try_page5(f, 1, 8) == SENSE_GOOD || try_page5(f, 2, 8) == SENSE_GOOD);
			GOOD(f, SENSE10("05", "ff"));
			uint8_t before = f->in[10], after;

			if (try_page5(f, type, dbt) != (good ? SENSE_GOOD : SENSE_BAD_PARAMETER))
				fx_fail(f, __LINE__, "write type %u, block type %u: %06x", type,
					dbt, f->sense);
			GOOD(f, SENSE10("05", "ff"));
			after = f->in[10];
			CHECK(f, after == (good ? (0x40 | type) : before));
		}
	}
}

static co_fn void probe_cd_or_nothing(struct fx *f)
{
	probe(f, (const unsigned[5]){0, 0x501, 0x101, 0, 0});
}

static co_fn void probe_dvd_minus(struct fx *f)
{
	probe(f, (const unsigned[5]){0x100, 0, 0x101, 0, 0});
}

static co_fn void probe_others(struct fx *f)
{
	probe(f, (const unsigned[5]){0x3f0f, 0x3f0f, 0x3f0f, 0, 0});
}

static co_fn void other_rules_of_page_05(struct fx *f)
{
	uint8_t page[64];

	memset(f->out, 0, 64);
	memcpy(f->out + 8, "\x05\x36\x41\x04\x08", 5); /* the long form */
	CHECK(f, fx_command(f, SELECT10("40"), 64, 0) == SENSE_GOOD);
	GOOD(f, SENSE10("05", "ff"));
	CHECK(f, f->in_done == 60 && f->in[9] == 0x32 && f->in[10] == 0x41);
	memcpy(page, f->in, 60);
	f->out[11] = 0x84; /* reserved multi-session value */
	CHECK(f, fx_command(f, SELECT10("40"), 64, 0) == SENSE_BAD_PARAMETER);
	GOOD(f, SENSE10("05", "ff"));
	CHECK(f, memcmp(page, f->in, 60) == 0);
	GOOD(f, SENSE10("85", "ff")); /* the defaults can always be put back */
	memcpy(f->out, f->in, 60);
	CHECK(f, fx_command(f, SELECT10("3c"), 60, 0) == SENSE_GOOD);
	PAGE5(f, 0x42, 0x04, 0);
	RELOAD(f, false); /* a medium brings its own defaults */
	BYTE(f, SENSE10("05", "ff"), 10, 0x40);
}

static co_fn void software_write_protection(struct fx *f)
{
	PAGE5(f, 0x41, 0x04, 8);
	SENDS(f, SELECT10("12"), HEAD "1d 08 00 00 01 00 00 00 00 00", SENSE_GOOD);
	WRITE_FAILS(f, 0, 1, SENSE_SOFTWARE_PROTECTED);
	FAILS(f, "5b 00 02 00 00 00 00 00 00 00", SENSE_SOFTWARE_PROTECTED);
	RELOAD(f, false);
	PAGE5(f, 0x41, 0x04, 8);
	WRITES(f, 0, 16);
}

static co_fn void others_are_told(struct fx *f)
{
	struct scsi_nexus *mine = f->nexus,
			  *other = scsi_nexus_new(drive_lu(f->drive), "other", NULL, NULL, true);

	SENDS(f, SELECT10("14"), HEAD "08 0a 05 00 00 00 00 00 00 00 00 00", SENSE_GOOD);
	SENDS(f, SELECT10("14"), HEAD "08 0a 05 00 00 00 00 00 00 00 00 00",
	      SENSE_GOOD); /* nothing new */
	GOOD(f, TUR);
	f->nexus = other;
	FAILS(f, TUR, SENSE_MODE_CHANGED);
	GOOD(f, TUR);
	f->nexus = mine;
	scsi_nexus_free(other);
}

#define ON(name, type, fn)                    \
	static void test_##name(void **state) \
	{                                     \
		(void)state;                  \
		fx_run(type, 0, fn);          \
	}

ON(golden_page_2a, "cd-r", golden_page_2a)
ON(golden_page_05, "cd-r", golden_page_05)
ON(headers_and_refusals, NULL, headers_and_refusals)
ON(all_pages, "bd-r", all_pages)
ON(select_lists, NULL, select_lists)
ON(all_or_nothing, NULL, all_or_nothing)
ON(longest_list, NULL, longest_list)
ON(probe_cd, "cd-r", probe_cd_or_nothing)
ON(probe_nothing, NULL, probe_cd_or_nothing)
ON(probe_dvd_minus, "dvd-rw", probe_dvd_minus)
ON(probe_dvd_plus, "dvd+r", probe_others)
ON(probe_bd, "bd-r", probe_others)
ON(other_rules_of_page_05, "cd-r", other_rules_of_page_05)
ON(software_write_protection, "cd-r", software_write_protection)
ON(others_are_told, "cd-r", others_are_told)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_golden_page_2a),
		cmocka_unit_test(test_golden_page_05),
		cmocka_unit_test(test_headers_and_refusals),
		cmocka_unit_test(test_all_pages),
		cmocka_unit_test(test_select_lists),
		cmocka_unit_test(test_all_or_nothing),
		cmocka_unit_test(test_longest_list),
		cmocka_unit_test(test_probe_cd),
		cmocka_unit_test(test_probe_nothing),
		cmocka_unit_test(test_probe_dvd_minus),
		cmocka_unit_test(test_probe_dvd_plus),
		cmocka_unit_test(test_probe_bd),
		cmocka_unit_test(test_other_rules_of_page_05),
		cmocka_unit_test(test_software_write_protection),
		cmocka_unit_test(test_others_are_told),
	};

	return RUN_TESTS(tests);
}
