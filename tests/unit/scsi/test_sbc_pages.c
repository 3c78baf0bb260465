/* What the disk says of itself: INQUIRY, VPD, capacity, mode pages, supported commands. */
#include "sbc_fixture.h"

enum { MIB = 1 << 20 };

static void body_inquiry(struct sx *s)
{
	LENGTH(s, "12 00 00 00 ff 00", 96);
	BYTES(s, "12 00 00 00 ff 00", 0, "00 00 06 12 5b 00 00 02");
	CHECK(s, memcmp(s->in + 8, "OUTBOARDDISK            ", 24) == 0);
	CHECK(s, get_be16(s->in + 58) == 0x00a0 && get_be16(s->in + 62) == 0x04c0);
	LENGTH(s, "12 00 00 00 05 00", 5);
	FAILS(s, "12 00 80 00 ff 00", SENSE_BAD_CDB_FIELD);
	BYTES(s, "12 01 00 00 ff 00", 0, "00 00 00 06 00 80 83 b0 b1 b2");
	BYTES(s, "12 01 80 00 ff 00", 0, "00 80 00 04 34 37 31 31");
	BYTES(s, "12 01 83 00 ff 00", 4, "02 01 00 1c 4f 55 54 42 4f 41 52 44 44 49 53 4b");
	CHECK(s, memcmp(s->in + 32, "4711", 4) == 0);
	CHECK(s, s->in[36] == 1 && s->in[37] == 3 && s->in[39] == 8 && s->in[40] >> 4 == 3);
	FAILS(s, "12 01 c0 00 ff 00", SENSE_BAD_CDB_FIELD);
	FAILS(s, "12 01 b3 00 ff 00", SENSE_BAD_CDB_FIELD);
}

static void body_limits_512(struct sx *s)
{
	LENGTH(s, "12 01 b0 00 ff 00", 64);
	/* compare and write 128, granularity 8, transfer 64 MiB */
	BYTES(s, "12 01 b0 00 ff 00", 3, "3c 00 80 00 08 00 02 00 00");
	/* unmap 4 GiB in 256 ranges of 8 aligned; write same 4 GiB */
	BYTES(s, "12 01 b0 00 ff 00", 20,
	      "00 80 00 00 00 00 01 00 00 00 00 08 80 00 00 00 00 00 00 00 00 80 00 00");
	BYTES(s, "12 01 b1 00 ff 00", 3, "3c 00 01");
	BYTES(s, "12 01 b2 00 ff 00", 3, "04 00 e4 02 00");
	BYTES(s, "25 00 00 00 00 00 00 00 00 00", 0, "00 00 07 ff 00 00 02 00");
	LENGTH(s, "9e 10 00 00 00 00 00 00 00 00 00 00 00 ff 00 00", 32);
	BYTES(s, "9e 10 00 00 00 00 00 00 00 00 00 00 00 20 00 00", 0,
	      "00 00 00 00 00 00 07 ff 00 00 02 00 00 03 c0 00");
	FAILS(s, "25 00 00 00 00 01 00 00 00 00", SENSE_BAD_CDB_FIELD);
	GOOD(s, "25 00 00 00 00 01 00 00 01 00");
}

static void body_limits_4096(struct sx *s)
{
	BYTES(s, "12 01 b0 00 ff 00", 5, "10 00 01 00 00 40 00");
	BYTES(s, "25 00 00 00 00 00 00 00 00 00", 0, "00 00 00 ff 00 00 10 00");
	BYTES(s, "9e 10 00 00 00 00 00 00 00 00 00 00 00 20 00 00", 0,
	      "00 00 00 00 00 00 00 ff 00 00 10 00 00 00 c0 00");
}

static void body_large(struct sx *s)
{
	BYTES(s, "25 00 00 00 00 00 00 00 00 00", 0, "ff ff ff ff 00 00 02 00");
	BYTES(s, "9e 10 00 00 00 00 00 00 00 00 00 00 00 20 00 00", 0, "00 00 00 01 ff ff ff ff");
	BYTES(s, "1a 00 08 00 ff 00", 0, "17 00 10 08 ff ff ff ff 00 00 02 00 08");
	BYTES(s, "5a 10 08 00 00 00 00 00 ff 00", 0,
	      "00 22 00 10 01 00 00 10 00 00 00 02 00 00 00 00 00 00 00 00 00 00 02 00 08");
}

static void test_identity_and_limits(void **state)
{
	(void)state;
	sx_run(MIB, 512, body_inquiry);
	sx_run(MIB, 512, body_limits_512);
	sx_run(MIB, 4096, body_limits_4096);
	sx_run(UINT64_C(4) << 40, 512, body_large);
}

static void body_mode_sense(struct sx *s)
{
	BYTES(s, "1a 00 3f 00 ff 00", 0,
	      "2f 00 10 08 00 00 08 00 00 00 02 00 "
	      "01 0a c0 00 00 00 00 00 00 00 00 00 08 0a 04 00 00 00 00 00 00 00 00 00 "
	      "0a 0a 00 10 00 00 00 00 00 00 00 00");
	BYTES(s, "1a 08 08 00 ff 00", 0, "0f 00 10 00 08 0a 04");
	BYTES(s, "1a 08 48 00 ff 00", 4, "08 0a 04 00 00"); /* changeable */
	BYTES(s, "1a 08 4a 00 ff 00", 4, "0a 0a 00 00 08");
	BYTES(s, "5a 08 08 00 00 00 00 00 ff 00", 0, "00 12 00 10 00 00 00 00 08 0a");
	FAILS(s, "1a 08 c8 00 ff 00", SENSE_SAVING_UNSUPPORTED);
	FAILS(s, "1a 08 1c 00 ff 00", SENSE_BAD_CDB_FIELD);
	FAILS(s, "1a 08 08 01 ff 00", SENSE_BAD_CDB_FIELD);
	GOOD(s, "1a 08 3f ff ff 00");
}

#define SELECT    "15 10 00 00 10 00"
#define CACHE_OFF "00 00 00 00 08 0a 00 00 00 00 00 00 00 00 00 00"

static void body_mode_select(struct sx *s)
{
	SENDS(s, SELECT, CACHE_OFF, SENSE_GOOD);
	BYTES(s, "1a 08 08 00 ff 00", 4, "08 0a 00");
	BYTES(s, "1a 08 88 00 ff 00", 4, "08 0a 04"); /* the default stays */
	s->nexus = s->b;
	FAILS(s, TUR, SENSE_MODE_CHANGED);
	GOOD(s, TUR);
	SENDS(s, SELECT, CACHE_OFF, SENSE_GOOD); /* nothing new */
	s->nexus = s->a;
	GOOD(s, TUR);
	/* what cannot be changed, other lengths, unknown pages */
	SENDS(s, SELECT, "00 00 00 00 08 0a 05 00 00 00 00 00 00 00 00 00", SENSE_BAD_PARAMETER);
	CHECK(s, get_be16(s->sense_bytes + 16) == 6);
	SENDS(s, SELECT, "00 00 00 00 08 0b 04 00 00 00 00 00 00 00 00 00", SENSE_BAD_PARAMETER);
	SENDS(s, SELECT, "00 00 00 00 1c 0a 04 00 00 00 00 00 00 00 00 00", SENSE_BAD_PARAMETER);
	SENDS(s, SELECT, "00 00 00 00 48 0a 04 00 00 00 00 00 00 00 00 00", SENSE_BAD_PARAMETER);
	SENDS(s, SELECT, "00 00 00 08 08 0a 04 00 00 00 00 00 00 00 00 00", SENSE_BAD_PARAMETER);
	SENDS(s, "15 10 00 00 0a 00", "00 00 00 00 08 0a 04 00 00 00", SENSE_PARAMETER_LENGTH);
	SENDS(s, "15 10 00 00 02 00", "00 00", SENSE_PARAMETER_LENGTH);
	SENDS(s, "15 10 00 00 05 00", "00 00 00 00 08", SENSE_PARAMETER_LENGTH);
	SENDS(s, "15 10 00 00 08 00", "00 00 00 08 00 00 08 00", SENSE_PARAMETER_LENGTH);
	SENDS(s, "15 10 00 00 0c 00", "00 00 00 07 00 00 08 00 00 00 02 00", SENSE_BAD_PARAMETER);
	SENDS(s, "15 10 00 00 0c 00", "00 00 00 08 00 00 08 00 00 00 10 00", SENSE_BAD_PARAMETER);
	SENDS(s, "15 10 00 00 0c 00", "00 00 00 08 00 00 08 00 00 00 02 00", SENSE_GOOD);
	SENDS(s, "15 11 00 00 10 00", CACHE_OFF, SENSE_BAD_CDB_FIELD);
	SENDS(s, "55 10 00 00 00 00 00 10 00 00", CACHE_OFF, SENSE_PARAMETER_LENGTH);
	GOOD(s, "15 10 00 00 00 00");
	BYTES(s, "1a 08 08 00 ff 00", 4, "08 0a 00");
	/* the long form: descriptor and two pages */
	SENDS(s, "55 10 00 00 00 00 00 00 30 00",
	      "00 00 00 00 01 00 00 10 00 00 00 00 00 00 08 00 00 00 00 00 00 00 02 00 "
	      "08 0a 04 00 00 00 00 00 00 00 00 00 0a 0a 00 10 00 00 00 00 00 00 00 00",
	      SENSE_GOOD);
	BYTES(s, "1a 08 08 00 ff 00", 4, "08 0a 04");
}

static void test_mode_pages(void **state)
{
	(void)state;
	sx_run(MIB, 512, body_mode_sense);
	sx_run(MIB, 512, body_mode_select);
}

/* A guest that goes on over a restart finds the cache as it left it; one that begins anew does not.
 */
static void body_mode_lasts(struct sx *s)
{
	s->state_path = g_build_filename(s->dir, "state", NULL);
	sx_restart(s, false);
	sx_take_attentions(s);
	SENDS(s, SELECT, CACHE_OFF, SENSE_GOOD);
	sx_restart(s, true);
	BYTES(s, "1a 08 08 00 ff 00", 4, "08 0a 00");
	sx_restart(s, false);
	sx_take_attentions(s);
	BYTES(s, "1a 08 08 00 ff 00", 4, "08 0a 04");
}

static void test_mode_lasts(void **state)
{
	(void)state;
	sx_run(MIB, 512, body_mode_lasts);
}

#define OPCODES(options, opcode, action) "a3 0c " options " " opcode " " action " 00 00 ff ff 00 00"

static void body_opcodes(struct sx *s)
{
	unsigned entries = 0;

	for (unsigned op = 0; op < 256; op++) {
		const struct scsi_action *a = sbc_rows[op].actions;

		entries += sbc_rows[op].name && !a;
		for (; a && a->row.name; a++)
			entries++;
	}
	LENGTH(s, OPCODES("00", "00", "00 00"), 4 + entries * 8);
	CHECK(s, get_be32(s->in) == entries * 8);
	LENGTH(s, OPCODES("80", "00", "00 00"), 4 + entries * 20);
	BYTES(s, OPCODES("01", "28", "00 00"), 0, "00 03 00 0a 28 fa ff ff ff ff 1f ff ff 00");
	BYTES(s, OPCODES("81", "00", "00 00"), 0, "00 83 00 06 00 00 00 00 00 00 00 0a 00 00");
	BYTES(s, OPCODES("01", "04", "00 00"), 0, "00 01 00 00");
	BYTES(s, OPCODES("02", "9e", "00 12"), 0, "00 03 00 10 9e 12 ff ff ff ff ff ff ff ff ff");
	BYTES(s, OPCODES("02", "9e", "00 13"), 0, "00 01 00 00");
	BYTES(s, OPCODES("03", "5f", "00 04"), 0, "00 03 00 0a 5f 04 ff 00 00 ff ff ff ff 00");
	BYTES(s, OPCODES("03", "2a", "00 00"), 0, "00 03 00 0a 2a fa");
	BYTES(s, OPCODES("03", "2a", "00 01"), 0, "00 01 00 00");
	FAILS(s, OPCODES("01", "9e", "00 10"), SENSE_BAD_CDB_FIELD);
	FAILS(s, OPCODES("02", "28", "00 00"), SENSE_BAD_CDB_FIELD);
	FAILS(s, OPCODES("04", "28", "00 00"), SENSE_BAD_CDB_FIELD);
	FAILS(s, "a3 0d 00 00 00 00 00 00 ff ff 00 00", SENSE_BAD_CDB_FIELD);
	FAILS(s, "04 00 00 00 00 00", SENSE_BAD_OPCODE);
}

static void test_opcodes(void **state)
{
	(void)state;
	sx_run(MIB, 512, body_opcodes);
}

static void body_lengths(struct sx *s)
{
	static const struct {
		const char *cdb;
		size_t len;
		bool out;
	} cases[] = {
		{"28 00 00 00 00 00 00 00 03 00", 3 * 512, false},
		{"08 00 00 00 00 00", 256 * 512, false},
		{"8a 00 00 00 00 00 00 00 00 00 00 00 00 04 00 00", 4 * 512, true},
		{"aa 00 00 00 00 00 00 00 00 05 00 00", 5 * 512, true},
		{"93 00 00 00 00 00 00 00 00 00 00 00 00 04 00 00", 512, true},
		{"93 01 00 00 00 00 00 00 00 00 00 00 00 04 00 00", 0, true},
		{"89 00 00 00 00 00 00 00 00 00 00 00 00 04 00 00", 8 * 512, true},
		{"2f 00 00 00 00 00 00 00 04 00", 0, true},
		{"2f 02 00 00 00 00 00 00 04 00", 4 * 512, true},
		{"2f 06 00 00 00 00 00 00 04 00", 512, true},
		{"2e 00 00 00 00 00 00 00 04 00", 4 * 512, true},
		{"25 00 00 00 00 00 00 00 00 00", 8, false},
		{"9e 10 00 00 00 00 00 00 00 00 00 00 00 20 00 00", 32, false},
		{"5f 00 00 00 00 00 00 00 18 00", 24, true},
		{"12 00 00 00 60 00", 96, false},
		{"00 00 00 00 00 00", 0, false},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		uint8_t cdb[SCSI_CDB_MAX] = {0};
		bool out;
		size_t len;

		sx_hex(cases[i].cdb, cdb, sizeof(cdb));
		len = scsi_expected_length(&s->disk->lu, cdb, &out);
		if (len != cases[i].len || out != cases[i].out)
			sx_fail(s, __LINE__, "%s: %zu %d", cases[i].cdb, len, out);
	}
}

static void test_expected_lengths(void **state)
{
	(void)state;
	sx_run(MIB, 512, body_lengths);
}

static void test_table_is_sound(void **state)
{
	unsigned op = 0;
	const char *fault = scsi_check_rows(sbc_rows, &op);

	(void)state;
	if (fault)
		fail_msg("opcode %02x: %s", op, fault);
	for (op = 0; op < 256; op++) {
		bool exempt = op == 0x03 || op == 0x12 || op == 0xa0;

		if (sbc_rows[op].name && !!(sbc_rows[op].flags & ROW_UA_EXEMPT) != exempt)
			fail_msg("opcode %02x: attention", op);
		if (sbc_rows[op].name && !sbc_rows[op].handler)
			fail_msg("opcode %02x: no handler", op);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table_is_sound), cmocka_unit_test(test_identity_and_limits),
		cmocka_unit_test(test_mode_pages),     cmocka_unit_test(test_mode_lasts),
		cmocka_unit_test(test_opcodes),        cmocka_unit_test(test_expected_lengths),
	};

	return RUN_TESTS(tests);
}
