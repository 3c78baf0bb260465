/* The drive's command table: sound in itself, complete, and a checker that finds what is wrong
 * (style 7.6). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "scsi/mmc/mmc.h"

static void test_table_is_sound(void **state)
{
	unsigned op = 0;
	const char *fault = scsi_check_rows(mmc_rows, &op);

	(void)state;
	if (fault)
		fail_msg("opcode %02x: %s", op, fault);
}

/* Every opcode of mmc.md 1.5 has its row, nothing else has. */
static void test_every_command_has_its_row(void **state)
{
	static const uint8_t all[] = {
		0x00, 0x01, 0x03, 0x04, 0x08, 0x0a, 0x0b, 0x12, 0x15, 0x1a, 0x1b, 0x1e, 0x23,
		0x25, 0x28, 0x2a, 0x2b, 0x2c, 0x2e, 0x2f, 0x35, 0x3b, 0x3c, 0x42, 0x43, 0x44,
		0x45, 0x46, 0x47, 0x48, 0x4a, 0x4b, 0x4c, 0x4d, 0x4e, 0x51, 0x52, 0x53, 0x54,
		0x55, 0x58, 0x5a, 0x5b, 0x5c, 0x5d, 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6,
		0xa7, 0xa8, 0xaa, 0xab, 0xac, 0xad, 0xb6, 0xb9, 0xba, 0xbb, 0xbd, 0xbe, 0xbf,
	};
	unsigned n = 0;

	(void)state;
	for (unsigned op = 0; op < 256; op++) {
		if (!mmc_rows[op].name)
			continue;
		if (n >= sizeof(all) || all[n] != op)
			fail_msg("opcode %02x is out of place", op);
		n++;
	}
	assert_int_equal(n, sizeof(all));
}

/* The 33 commands that the Windows stack needs have handlers (mmc.md 4.7). */
static void test_what_windows_needs_works(void **state)
{
	static const uint8_t needed[] = {
		0x00, 0x03, 0x04, 0x12, 0x1b, 0x1e, 0x23, 0x25, 0x28, 0x2a, 0x2b,
		0x2f, 0x35, 0x43, 0x46, 0x4a, 0x51, 0x52, 0x54, 0x55, 0x5a, 0x5b,
		0x5c, 0xa1, 0xa4, 0xa8, 0xaa, 0xac, 0xad, 0xb6, 0xbb, 0xbd, 0xbe,
	};

	(void)state;
	assert_int_equal(sizeof(needed), 33);
	for (unsigned i = 0; i < sizeof(needed); i++) {
		if (!mmc_rows[needed[i]].handler)
			fail_msg("opcode %02x", needed[i]);
	}
}

static void test_who_reports_attentions(void **state)
{
	(void)state;
	for (unsigned op = 0; op < 256; op++) {
		bool exempt = op == 0x03 || op == 0x12 || op == 0x46 || op == 0x4a || op == 0xa0;

		if (mmc_rows[op].name && !!(mmc_rows[op].flags & ROW_UA_EXEMPT) != exempt)
			fail_msg("opcode %02x", op);
	}
}

static enum sense nothing(struct scsi_cmd *c)
{
	(void)c;
	return SENSE_GOOD;
}

static void expect_fault(unsigned op, struct scsi_row row, const char *text)
{
	struct scsi_row rows[256] = {0};
	unsigned where = 999;
	const char *fault;

	rows[op] = row;
	fault = scsi_check_rows(rows, &where);
	if (!text) {
		assert_null(fault);
		return;
	}
	assert_non_null(fault);
	assert_string_equal(fault, text);
	assert_int_equal(where, op);
}

static void test_checker_finds_faults(void **state)
{
	(void)state;
	expect_fault(0x28,
		     (struct scsi_row){"X", nothing, 10, ROW_DATA_IN, {BE32(2), BE16(7)}, BE16(7)},
		     NULL);
	expect_fault(0x28, (struct scsi_row){NULL, nothing, 10}, "no name");
	expect_fault(0x28, (struct scsi_row){"X", nothing, 12},
		     "the CDB length does not fit the opcode's group");
	expect_fault(0x28, (struct scsi_row){"X", nothing, 10, 0, {BE32(7)}},
		     "a field lies outside the CDB");
	expect_fault(0x28, (struct scsi_row){"X", nothing, 10, 0, {BITS(2, 4, 0), BIT(2, 4)}},
		     "two fields overlap");
	expect_fault(0x28, (struct scsi_row){"X", nothing, 10, 0, {BE32(2), U8(5)}},
		     "two fields overlap");
	expect_fault(0x28, (struct scsi_row){"X", nothing, 10, ROW_LATER},
		     "a handler though the work comes later");
	expect_fault(0x28, (struct scsi_row){"X", nothing, 10, ROW_DATA_IN, {0}, BE16(7)},
		     "the length field is not among the fields");
	expect_fault(0x28, (struct scsi_row){"X", nothing, 10, 0, {BE16(7)}, BE16(7)},
		     "a length without data");
	expect_fault(0x28, (struct scsi_row){"X", nothing, 10, ROW_DATA_IN | ROW_DATA_OUT},
		     "data both ways");
	expect_fault(0x28, (struct scsi_row){"X", nothing, 10, ROW_BUSY_OK | ROW_SHARED},
		     "a command that waits for nobody cannot be ordered");
}

static void test_checker_finds_equal_names(void **state)
{
	struct scsi_row rows[256] = {0};
	unsigned where;

	(void)state;
	rows[0x28] = (struct scsi_row){"X", nothing, 10};
	rows[0x2a] = (struct scsi_row){"X", nothing, 10};
	assert_string_equal(scsi_check_rows(rows, &where), "the name is used twice");
	assert_int_equal(where, 0x2a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_table_is_sound),
		cmocka_unit_test(test_every_command_has_its_row),
		cmocka_unit_test(test_what_windows_needs_works),
		cmocka_unit_test(test_who_reports_attentions),
		cmocka_unit_test(test_checker_finds_faults),
		cmocka_unit_test(test_checker_finds_equal_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
