/* GET EVENT STATUS NOTIFICATION: replies byte by byte (mmc.md A.9), each initiator told once, and
 * TUR in agreement. */
#include "mmc_fixture.h"

#include <errno.h>

#define GESN(classes) "4a 01 00 00 " classes " 00 00 00 ff 00"
#define MEDIA         GESN("10")

static void eject_refused(struct fx *f)
{
	GError *error = NULL;

	CHECK(f, !drive_eject(f->drive, false, &error));
	CHECK(f, error && error->code == EBUSY && strstr(error->message, "test"));
	g_clear_error(&error);
}

static co_fn void eject(struct fx *f, bool force)
{
	GError *error = NULL;

	if (!drive_eject(f->drive, force, &error))
		fx_fail(f, __LINE__, "%s", error->message);
	g_clear_error(&error);
}

static co_fn void insert(struct fx *f)
{
	GError *error = NULL;
	struct disc *disc = disc_open(f->path, DISC_OPEN_RDWR, 0, &error);

	if (!disc || !drive_insert(f->drive, disc, false, &error))
		fx_fail(f, __LINE__, "%s", error->message);
	g_clear_error(&error);
}

static co_fn void headers(struct fx *f)
{
	REPLY(f, GESN("00"), "00 02 80 5e");
	REPLY(f, GESN("20"), "00 02 80 5e");
	REPLY(f, GESN("01"), "00 02 80 5e");
	FAILS(f, "4a 00 00 00 10 00 00 00 ff 00", SENSE_BAD_CDB_FIELD);
	GOOD(f, MEDIA); /* the disc of the fixture */
	REPLY(f, MEDIA, "00 06 04 5e 00 02 00 00");
	REPLY(f, GESN("04"), "00 06 02 5e 00 01 00 00");
	REPLY(f, GESN("08"), "00 06 03 5e 00 00 00 00");
	REPLY(f, GESN("40"), "00 06 06 5e 00 00 00 00");
	REPLY(f, GESN("ff"), "00 06 01 5e 00 00 00 00"); /* nothing new: the lowest class */
	scsi_nexus_attention(f->nexus, SENSE_MEDIUM_CHANGED);
	REPLY(f, MEDIA, "00 06 04 5e 00 02 00 00"); /* neither reports nor takes attentions */
	FAILS(f, TUR, SENSE_MEDIUM_CHANGED);
}

static co_fn void insertion_and_removal(struct fx *f)
{
	REPLY(f, MEDIA, "00 06 04 5e 02 02 00 00");
	REPLY(f, MEDIA, "00 06 04 5e 00 02 00 00");
	GOOD(f, TUR);
	eject(f, false);
	FAILS(f, TUR, SENSE_NO_MEDIUM_OPEN); /* no attention for a removal */
	REPLY(f, MEDIA, "00 06 04 5e 03 01 00 00");
	REPLY(f, MEDIA, "00 06 04 5e 00 01 00 00");
	eject(f, false); /* open and empty: nothing happens */
	REPLY(f, MEDIA, "00 06 04 5e 00 01 00 00");
	insert(f);
	REPLY(f, MEDIA, "00 06 04 5e 02 02 00 00");
	FAILS(f, TUR, SENSE_MEDIUM_CHANGED);
	GOOD(f, TUR);
	REPLY(f, MEDIA, "00 06 04 5e 00 02 00 00");
	/* Out and in again between two polls: of events only the end counts. */
	eject(f, false);
	insert(f);
	REPLY(f, MEDIA, "00 06 04 5e 02 02 00 00");
	REPLY(f, MEDIA, "00 06 04 5e 00 02 00 00");
	FAILS(f, TUR, SENSE_NO_MEDIUM);
	FAILS(f, TUR, SENSE_MEDIUM_CHANGED);
	GOOD(f, TUR);
	/* Twice so, and nobody looked: told once. */
	for (unsigned i = 0; i < 2; i++) {
		eject(f, false);
		insert(f);
	}
	FAILS(f, TUR, SENSE_NO_MEDIUM);
	FAILS(f, TUR, SENSE_MEDIUM_CHANGED);
	GOOD(f, TUR);
}

/* Room for less than an event gets the header, and the event stays. */
static co_fn void short_requests(struct fx *f)
{
	REPLY(f, "4a 01 00 00 10 00 00 00 04 00", "00 06 04 5e");
	REPLY(f, "4a 01 00 00 10 00 00 00 07 00", "00 06 04 5e");
	REPLY(f, "4a 01 00 00 10 00 00 00 02 00", "00 06");
	REPLY(f, "4a 01 00 00 10 00 00 00 00 00", "");
	CHECK(f, fx_command(f, MEDIA, 0, 4) == SENSE_GOOD && f->in_done == 4);
	REPLY(f, "4a 01 00 00 10 00 00 00 08 00", "00 06 04 5e 02 02 00 00");
	REPLY(f, "4a 01 00 00 10 00 00 00 08 00", "00 06 04 5e 00 02 00 00");
}

static co_fn void lock_and_eject_request(struct fx *f)
{
	GOOD(f, MEDIA);
	GOOD(f, "1e 00 00 00 01 00");
	eject_refused(f);
	REPLY(f, MEDIA, "00 06 04 5e 01 02 00 00");
	REPLY(f, MEDIA, "00 06 04 5e 00 02 00 00");
	GOOD(f, TUR);
	GOOD(f, "1e 00 00 00 00 00");
	eject(f, false);
	REPLY(f, MEDIA, "00 06 04 5e 03 01 00 00");
	insert(f);
	FAILS(f, "1e 00 00 00 01 00", SENSE_NO_MEDIUM);
	FAILS(f, "1e 00 00 00 01 00", SENSE_MEDIUM_CHANGED);
	GOOD(f, "1e 00 00 00 01 00");
	eject(f, true);
	CHECK(f, !drive_disc(f->drive) && drive_tray_open(f->drive));
	FAILS(f, TUR, SENSE_NO_MEDIUM_OPEN);
}

static co_fn void persistent_lock(struct fx *f)
{
	GOOD(f, "1e 00 00 00 03 00");
	CHECK(f, drive_locked(f->drive));
	REPLY(f, GESN("08"), "00 06 03 5e 00 80 00 00");
	REPLY(f, GESN("02"), "00 06 01 5e 00 80 00 00");
	GOOD(f, "1e 00 00 00 01 00");
	scsi_lu_reset(f->nexus);
	FAILS(f, TUR, SENSE_DEVICE_RESET);
	CHECK(f, drive_locked(f->drive)); /* a reset takes only the other one away */
	GOOD(f, "1e 00 00 00 02 00");
	CHECK(f, !drive_locked(f->drive));
	REPLY(f, GESN("08"), "00 06 03 5e 00 00 00 00");
}

static co_fn void several_initiators(struct fx *f)
{
	struct scsi_nexus *mine = f->nexus,
			  *other = scsi_nexus_new(drive_lu(f->drive), "other", NULL, NULL, true);

	GOOD(f, MEDIA);
	GOOD(f, "1b 00 00 00 02 00"); /* I eject */
	REPLY(f, MEDIA, "00 06 04 5e 03 01 00 00");
	f->nexus = other;
	REPLY(f, MEDIA, "00 06 04 5e 03 01 00 00");
	REPLY(f, MEDIA, "00 06 04 5e 00 01 00 00");
	GOOD(f, "1b 00 00 00 03 00"); /* the other loads */
	REPLY(f, MEDIA, "00 06 04 5e 02 02 00 00");
	FAILS(f, TUR, SENSE_MEDIUM_CHANGED);
	GOOD(f, "1e 00 00 00 01 00"); /* and locks */
	f->nexus = mine;
	REPLY(f, MEDIA, "00 06 04 5e 02 02 00 00");
	FAILS(f, TUR, SENSE_MEDIUM_CHANGED);
	FAILS(f, "1b 00 00 00 02 00", SENSE_REMOVAL_PREVENTED);
	GOOD(f, "1e 00 00 00 00 00"); /* my unlocking does not undo the other's lock */
	FAILS(f, "1b 00 00 00 02 00", SENSE_REMOVAL_PREVENTED);
	scsi_nexus_free(other); /* its going does */
	GOOD(f, "1b 00 00 00 02 00");
}

static co_fn void power(struct fx *f)
{
	GOOD(f, MEDIA);
	GOOD(f, "1b 00 00 00 30 00");
	REPLY(f, GESN("7e"), "00 06 02 5e 01 03 00 00");
	REPLY(f, GESN("04"), "00 06 02 5e 00 03 00 00");
	GOOD(f, "1b 00 00 00 01 00");
	REPLY(f, GESN("04"), "00 06 02 5e 01 01 00 00");
	REPLY(f, GESN("04"), "00 06 02 5e 00 01 00 00");
	GOOD(f, "1b 00 00 00 01 00");
	REPLY(f, GESN("04"), "00 06 02 5e 00 01 00 00"); /* it was active already */
	FAILS(f, "1b 00 00 00 40 00", SENSE_BAD_CDB_FIELD);
}

/* growisofs asks for all classes until nothing comes. */
static co_fn void events_end(struct fx *f)
{
	unsigned n = 0;

	GOOD(f, "1b 00 00 00 30 00");
	drive_profile_changed(f->drive);
	do {
		GOOD(f, GESN("ff"));
		n++;
	} while ((f->in[4] & 15) && n < 20);
	CHECK(f, n == 4);
}

#define ON(name)                              \
	static void test_##name(void **state) \
	{                                     \
		(void)state;                  \
		fx_run("dvd+r", 0, name);     \
	}

ON(headers)
ON(insertion_and_removal)
ON(short_requests)
ON(lock_and_eject_request)
ON(persistent_lock)
ON(several_initiators)
ON(power)
ON(events_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_headers),
		cmocka_unit_test(test_insertion_and_removal),
		cmocka_unit_test(test_short_requests),
		cmocka_unit_test(test_lock_and_eject_request),
		cmocka_unit_test(test_persistent_lock),
		cmocka_unit_test(test_several_initiators),
		cmocka_unit_test(test_power),
		cmocka_unit_test(test_events_end),
	};

	return RUN_TESTS(tests);
}
