/* Sense data byte by byte (mmc.md appendix A.11), and the names of codes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "scsi/table.h"

static void expect(enum sense code, const struct scsi_cmd *c, const uint8_t bytes[SCSI_SENSE_LEN])
{
	uint8_t got[SCSI_SENSE_LEN];

	memset(got, 0xee, sizeof(got));
	scsi_build_sense(got, code, c);
	assert_memory_equal(got, bytes, sizeof(got));
}

static void test_progress(void **state)
{
	struct scsi_cmd c = {.detail = {.progress_valid = true, .progress = 0x8000}};

	(void)state;
	expect(SENSE_OPERATION_IN_PROGRESS, &c,
	       (const uint8_t[]){0x70, 0, 2, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x04, 0x07, 0, 0x80, 0x80,
				 0});
}

static void test_next_writable_address(void **state)
{
	struct scsi_cmd c = {0};

	(void)state;
	assert_int_equal(scsi_fail_lba(&c, SENSE_BAD_WRITE_ADDRESS, 0x539a),
			 SENSE_BAD_WRITE_ADDRESS);
	expect(SENSE_BAD_WRITE_ADDRESS, &c,
	       (const uint8_t[]){0xf0, 0, 5, 0, 0, 0x53, 0x9a, 10, 0, 0, 0, 0, 0x21, 0x02, 0, 0, 0,
				 0});
}

static void test_field_pointers(void **state)
{
	struct scsi_cmd c = {0};

	(void)state;
	assert_int_equal(scsi_bad_field(&c, SENSE_BAD_CDB_FIELD, 2, 8), SENSE_BAD_CDB_FIELD);
	expect(SENSE_BAD_CDB_FIELD, &c,
	       (const uint8_t[]){0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x24, 0, 0, 0xc0, 0, 2});
	scsi_bad_field(&c, SENSE_BAD_PARAMETER, 300, 3);
	expect(SENSE_BAD_PARAMETER, &c,
	       (const uint8_t[]){0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x26, 0, 0, 0x8b, 1, 44});
}

static void test_plain_and_deferred(void **state)
{
	struct scsi_cmd c = {.detail = {.deferred = true}};

	(void)state;
	expect(SENSE_MEDIUM_CHANGED, NULL,
	       (const uint8_t[]){0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x28, 0, 0, 0, 0, 0});
	expect(SENSE_WRITE_ERROR, &c,
	       (const uint8_t[]){0x71, 0, 3, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x0c, 0, 0, 0, 0, 0});
}

static void test_names(void **state)
{
	(void)state;
	assert_string_equal(sense_name(SENSE_WRITE_ERROR), "WRITE ERROR");
	assert_string_equal(sense_name(SENSE_NO_MEDIUM_OPEN), "MEDIUM NOT PRESENT - TRAY OPEN");
	assert_null(sense_name((enum sense)SENSE(5, 0x99, 0x01)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_progress),       cmocka_unit_test(test_next_writable_address),
		cmocka_unit_test(test_field_pointers), cmocka_unit_test(test_plain_and_deferred),
		cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
