/* The tray: START STOP UNIT, the same disc coming back, what the host does; MECHANISM STATUS. */
#include "mmc_fixture.h"

#include <errno.h>

#define EJECT     "1b 00 00 00 02 00"
#define LOAD      "1b 00 00 00 03 00"
#define MECHANISM "bd 00 00 00 00 00 00 00 00 ff 00 00"

static co_fn void start_stop(struct fx *f)
{
	GOOD(f, "1b 00 00 00 00 00");
	GOOD(f, TUR); /* spun down is ready all the same */
	GOOD(f, "1b 00 00 00 01 00");
	GOOD(f, LOAD); /* it is loaded: harmless, no attention */
	GOOD(f, TUR);
	REPLY(f, MECHANISM, "00 00 00 00 00 01 00 00");
	GOOD(f, EJECT);
	GOOD(f, "1e 00 00 00 01 00");
	GOOD(f, EJECT); /* already open, locked or not */
	GOOD(f, "1e 00 00 00 00 00");
	REPLY(f, MECHANISM, "00 10 00 00 00 01 00 00");
	FAILS(f, TUR, SENSE_NO_MEDIUM_OPEN);
	FAILS(f, "28 00 00 00 00 00 00 00 01 00", SENSE_NO_MEDIUM_OPEN);
	FAILS(f, "1b 00 00 00 01 00", SENSE_NO_MEDIUM_OPEN);
	GOOD(f, "1b 00 00 00 00 00");
	WORD32(f, PROFILE, 4, 0);
	GOOD(f, LOAD);
	WORD32(f, PROFILE, 4, 0x1b);
	FAILS(f, TUR, SENSE_MEDIUM_CHANGED);
	GOOD(f, TUR);
	FAILS(f, "1b 00 00 00 04 00", SENSE_BAD_CDB_FIELD); /* FL */
}

static co_fn void empty_drive(struct fx *f)
{
	FAILS(f, TUR, SENSE_NO_MEDIUM_CLOSED);
	GOOD(f, LOAD);
	FAILS(f, "1b 00 00 00 01 00", SENSE_NO_MEDIUM_CLOSED);
	GOOD(f, EJECT);
	FAILS(f, TUR, SENSE_NO_MEDIUM_OPEN);
	GOOD(f, LOAD);
	FAILS(f, TUR, SENSE_NO_MEDIUM_CLOSED);
	GOOD(f, "1e 00 00 00 01 00");
	FAILS(f, EJECT, SENSE_REMOVAL_PREVENTED);
}

/* growisofs and wodim eject and load after a burn, and read what they wrote. */
static co_fn void same_disc_comes_back(struct fx *f)
{
	WRITES(f, 0, 64);
	GOOD(f, EJECT);
	CHECK(f, !drive_disc(f->drive) && f->drive->disc && !f->drive->dirty);
	GOOD(f, LOAD);
	FAILS(f, TUR, SENSE_MEDIUM_CHANGED);
	READS(f, 0, 64);
	WRITES(f, 64, 32);
	READS(f, 64, 32);
}

static co_fn void eject_in_the_background(struct fx *f)
{
	WRITES(f, 0, 64);
	GOOD(f, "1b 01 00 00 02 00");
	for (unsigned i = 0; i < 1000 && fx_command(f, TUR, 0, 0) == SENSE_OPERATION_IN_PROGRESS;
	     i++) {
		CHECK(f, f->sense_bytes[15] & 0x80); /* progress */
		GOOD(f, "12 00 00 00 24 00");
		FAILS(f, LOAD, SENSE_OPERATION_IN_PROGRESS);
		co_sleep_ns(1000000);
	}
	CHECK(f, f->sense == SENSE_NO_MEDIUM_OPEN);
	GOOD(f, LOAD);
	FAILS(f, TUR, SENSE_MEDIUM_CHANGED);
	READS(f, 0, 64);
}

static co_fn void host_takes_the_ejected_disc(struct fx *f)
{
	GError *error = NULL;
	struct disc *disc;

	GOOD(f, EJECT);
	disc = disc_open(f->path, DISC_OPEN_RDWR, 0, &error);
	CHECK(f, !disc && error); /* the drive still has it */
	g_clear_error(&error);
	CHECK(f, drive_eject(f->drive, false, &error));
	GOOD(f, LOAD);
	FAILS(f, TUR, SENSE_NO_MEDIUM_CLOSED);
	disc = disc_open(f->path, DISC_OPEN_RDWR, 0, &error);
	CHECK(f, disc && drive_insert(f->drive, disc, false, &error));
	FAILS(f, TUR, SENSE_MEDIUM_CHANGED);
	disc = disc_open(f->path, DISC_OPEN_NO_LOCK, 0, &error);
	CHECK(f, disc && !drive_insert(f->drive, disc, false, &error) && error &&
			 error->code == EBUSY);
	g_clear_error(&error);
	GOOD(f, TUR);
}

static co_fn void insertion_closes_the_tray(struct fx *f)
{
	GError *error = NULL;
	struct disc *disc;

	CHECK(f, drive_eject(f->drive, false, &error) && drive_tray_open(f->drive));
	disc = disc_open(f->path, DISC_OPEN_RDWR, 0, &error);
	CHECK(f, disc && drive_insert(f->drive, disc, false, &error) && !drive_tray_open(f->drive));
	FAILS(f, TUR, SENSE_NO_MEDIUM); /* it had not been told */
	FAILS(f, TUR, SENSE_MEDIUM_CHANGED);
	GOOD(f, TUR);
}

static void expect_description(struct fx *f, int line, const char *text)
{
	char *got = drive_describe(f->drive);

	if (strcmp(got, text) != 0)
		fx_fail(f, line, "\"%s\", expected \"%s\"", got, text);
	g_free(got);
}

#define DESCRIBES(f, text) expect_description(f, __LINE__, text)

static co_fn void descriptions(struct fx *f)
{
	GError *error = NULL;

	DESCRIBES(f, "DVD+R, blank");
	GOOD(f, "1e 00 00 00 01 00");
	WRITES(f, 0, 512);
	DESCRIBES(f, "burning DVD+R, 25% of it recorded, locked");
	GOOD(f, SYNC);
	DESCRIBES(f, "DVD+R, appendable, locked");
	GOOD(f, CLOSE("06", "00"));
	DESCRIBES(f, "DVD+R, complete, locked");
	GOOD(f, "1e 00 00 00 00 00");
	GOOD(f, EJECT);
	DESCRIBES(f, "tray open, disc in it");
	CHECK(f, drive_eject(f->drive, false, &error));
	DESCRIBES(f, "tray open");
	GOOD(f, LOAD);
	DESCRIBES(f, "empty");
}

#define ON(name, type, blocks)                \
	static void test_##name(void **state) \
	{                                     \
		(void)state;                  \
		fx_run(type, blocks, name);   \
	}

ON(start_stop, "dvd+r", 0)
ON(empty_drive, NULL, 0)
ON(same_disc_comes_back, "dvd+r", 0)
ON(eject_in_the_background, "dvd+r", 0)
ON(host_takes_the_ejected_disc, "dvd+r", 0)
ON(insertion_closes_the_tray, "dvd+r", 0)
ON(descriptions, "dvd+r", 2048)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_start_stop),
		cmocka_unit_test(test_empty_drive),
		cmocka_unit_test(test_same_disc_comes_back),
		cmocka_unit_test(test_eject_in_the_background),
		cmocka_unit_test(test_host_takes_the_ejected_disc),
		cmocka_unit_test(test_insertion_closes_the_tray),
		cmocka_unit_test(test_descriptions),
	};

	return RUN_TESTS(tests);
}
