/* Reservations as two initiators see them: who may what, who is told, what lasts. */
#include "sbc_fixture.h"

#include <glib/gstdio.h>

enum { MIB = 1 << 20 };

#define OUT(action, type) "5f " action " " type " 00 00 00 00 00 18 00"
#define IN(action)        "5e " action " 00 00 00 00 00 04 00 00"
#define NO_KEY            "00 00 00 00 00 00 00 00 "
#define KEY_A             "00 00 00 00 00 00 00 aa "
#define KEY_B             "00 00 00 00 00 00 00 bb "
#define FLAGS(f)          "00 00 00 00 " f " 00 00 00"
#define NO_FLAGS          FLAGS("00")
#define READ              "28 00 00 00 00 00 00 00 01 00"
#define WRITE             "2a 00 00 00 00 00 00 00 01 00"
#define CONFLICT          SENSE_STATUS_CONFLICT

static void register_both(struct sx *s)
{
	s->nexus = s->a;
	SENDS(s, OUT("00", "00"), NO_KEY KEY_A NO_FLAGS, SENSE_GOOD);
	s->nexus = s->b;
	SENDS(s, OUT("00", "00"), NO_KEY KEY_B NO_FLAGS, SENSE_GOOD);
	s->nexus = s->a;
}

static void body_registering(struct sx *s)
{
	SENDS(s, OUT("00", "00"), KEY_A KEY_A NO_FLAGS, CONFLICT); /* has no key yet */
	register_both(s);
	BYTES(s, IN("00"), 0, "00 00 00 02 00 00 00 10 " KEY_A KEY_B);
	SENDS(s, OUT("00", "00"), KEY_B KEY_A NO_FLAGS, CONFLICT); /* not its key */
	SENDS(s, OUT("06", "00"), NO_KEY "00 00 00 00 00 00 00 cc" NO_FLAGS, SENSE_GOOD);
	BYTES(s, IN("00"), 0, "00 00 00 03 00 00 00 10 00 00 00 00 00 00 00 cc " KEY_B);
	SENDS(s, OUT("00", "00"), "00 00 00 00 00 00 00 cc" NO_KEY NO_FLAGS, SENSE_GOOD);
	BYTES(s, IN("00"), 0, "00 00 00 04 00 00 00 08 " KEY_B);
	LENGTH(s, IN("00"), 16);
	LENGTH(s, IN("01"), 8);
	BYTES(s, IN("02"), 0, "00 08 00 80 ea 01 00 00");
	BYTES(s, IN("03"), 0,
	      "00 00 00 04 00 00 00 30 " KEY_B "00 00 00 00 00 00 00 00 00 00 00 01 "
	      "00 00 00 18 06");
	FAILS(s, IN("04"), SENSE_BAD_CDB_FIELD);
}

static void test_registering(void **state)
{
	(void)state;
	sx_run(MIB, 512, body_registering);
}

static void body_hostile_lists(struct sx *s)
{
	SENDS(s, OUT("00", "00"), NO_KEY KEY_A, SENSE_PARAMETER_LENGTH);
	SENDS(s, "5f 00 00 00 00 00 00 00 17 00", NO_KEY KEY_A NO_FLAGS, SENSE_PARAMETER_LENGTH);
	SENDS(s, "5f 00 00 00 00 ff ff ff ff 00", NO_KEY KEY_A NO_FLAGS, SENSE_PARAMETER_LENGTH);
	SENDS(s, "5f 00 00 00 00 00 00 00 00 00", "00", SENSE_PARAMETER_LENGTH);
	SENDS(s, OUT("00", "00"), NO_KEY KEY_A FLAGS("08"), SENSE_BAD_PARAMETER); /* SPEC_I_PT */
	SENDS(s, OUT("00", "00"), NO_KEY KEY_A FLAGS("04"), SENSE_BAD_PARAMETER); /* ALL_TG_PT */
	SENDS(s, OUT("00", "00"), NO_KEY KEY_A FLAGS("01"), SENSE_BAD_PARAMETER); /* no file */
	FAILS(s, OUT("07", "00"), SENSE_BAD_CDB_FIELD);
	register_both(s);
	SENDS(s, OUT("01", "02"), KEY_A NO_KEY NO_FLAGS, SENSE_BAD_CDB_FIELD); /* no such type */
	SENDS(s, OUT("01", "11"), KEY_A NO_KEY NO_FLAGS, SENSE_BAD_CDB_FIELD); /* no such scope */
	SENDS(s, OUT("04", "01"), KEY_A NO_KEY NO_FLAGS, SENSE_BAD_PARAMETER);
	SENDS(s, OUT("04", "01"), KEY_A "00 00 00 00 00 00 00 dd" NO_FLAGS, CONFLICT);
	BYTES(s, IN("00"), 0, "00 00 00 02");
}

static void test_hostile_lists(void **state)
{
	(void)state;
	sx_run(MIB, 512, body_hostile_lists);
}

/* What b may while a holds a reservation, as it is and once it is registered. */
static void check_type(struct sx *s, const char *type, bool reads, bool registrants)
{
	g_autofree char *reserve = g_strdup_printf(OUT("01", "%s"), type);
	g_autofree char *release = g_strdup_printf(OUT("02", "%s"), type);
	bool all = type[1] >= '7';

	s->nexus = s->a;
	SENDS(s, OUT("06", "00"), NO_KEY KEY_A NO_FLAGS, SENSE_GOOD);
	SENDS(s, reserve, KEY_A NO_KEY NO_FLAGS, SENSE_GOOD);
	SENDS(s, reserve, KEY_A NO_KEY NO_FLAGS, SENSE_GOOD); /* once more */
	BYTES(s, IN("01"), 8, all ? NO_KEY : KEY_A);
	PUTS(s, WRITE, 512, SENSE_GOOD);
	for (unsigned registered = 0; registered < 2; registered++) {
		bool free = registered && registrants;

		s->nexus = s->b;
		FAILS(s, READ, free || reads ? SENSE_GOOD : CONFLICT);
		FAILS(s, "1a 08 08 00 ff 00", free || reads ? SENSE_GOOD : CONFLICT);
		PUTS(s, WRITE, 512, free ? SENSE_GOOD : CONFLICT);
		FAILS(s, "35 00 00 00 00 00 00 00 00 00", free ? SENSE_GOOD : CONFLICT);
		FAILS(s, "1b 00 00 00 00 00", free ? SENSE_GOOD : CONFLICT);
		GOOD(s, "1b 00 00 00 01 00");
		GOOD(s, TUR);
		GOOD(s, "25 00 00 00 00 00 00 00 00 00");
		GOOD(s, "12 00 00 00 60 00");
		GOOD(s, IN("00"));
		SENDS(s, OUT("06", "00"), NO_KEY KEY_B NO_FLAGS, SENSE_GOOD);
	}
	SENDS(s, OUT("01", "01"), KEY_B NO_KEY NO_FLAGS, CONFLICT);
	SENDS(s, reserve, KEY_B NO_KEY NO_FLAGS, all ? SENSE_GOOD : CONFLICT);
	s->nexus = s->a;
	SENDS(s, OUT("02", "04"), KEY_A NO_KEY NO_FLAGS, SENSE_BAD_RELEASE);
	SENDS(s, release, KEY_A NO_KEY NO_FLAGS, SENSE_GOOD);
	s->nexus = s->b;
	FAILS(s, TUR, registrants ? SENSE_RESERVATIONS_RELEASED : SENSE_GOOD);
	PUTS(s, WRITE, 512, SENSE_GOOD);
	SENDS(s, OUT("03", "00"), KEY_B NO_KEY NO_FLAGS, SENSE_GOOD);
	s->nexus = s->a;
	FAILS(s, TUR, SENSE_RESERVATIONS_PREEMPTED);
	LENGTH(s, IN("00"), 8);
}

static void body_types(struct sx *s)
{
	check_type(s, "01", true, false);
	check_type(s, "03", false, false);
	check_type(s, "05", true, true);
	check_type(s, "06", false, true);
	check_type(s, "07", true, true);
	check_type(s, "08", false, true);
}

static void test_types(void **state)
{
	(void)state;
	sx_run(MIB, 512, body_types);
}

static void body_preempt(struct sx *s)
{
	register_both(s);
	SENDS(s, OUT("01", "05"), KEY_A NO_KEY NO_FLAGS, SENSE_GOOD);
	s->nexus = s->b;
	/* b fences a: takes the reservation, a's registration is gone */
	SENDS(s, OUT("05", "05"), KEY_B KEY_A NO_FLAGS, SENSE_GOOD);
	BYTES(s, IN("01"), 8, KEY_B);
	BYTES(s, IN("00"), 4, "00 00 00 08 " KEY_B);
	s->nexus = s->a;
	PUTS(s, WRITE, 512, SENSE_REGISTRATIONS_PREEMPTED);
	PUTS(s, WRITE, 512, CONFLICT);
	GOOD(s, READ);
	SENDS(s, OUT("02", "05"), KEY_A NO_KEY NO_FLAGS, CONFLICT);
	/* the holder unregisters: nobody holds it */
	s->nexus = s->b;
	SENDS(s, OUT("00", "00"), KEY_B NO_KEY NO_FLAGS, SENSE_GOOD);
	s->nexus = s->a;
	PUTS(s, WRITE, 512, SENSE_GOOD);
}

/* All registrants hold it: preempting key 0 takes it from all others. */
static void body_preempt_all(struct sx *s)
{
	register_both(s);
	SENDS(s, OUT("01", "07"), KEY_A NO_KEY NO_FLAGS, SENSE_GOOD);
	s->nexus = s->b;
	SENDS(s, OUT("04", "01"), KEY_B NO_KEY NO_FLAGS, SENSE_GOOD);
	BYTES(s, IN("01"), 8, KEY_B "00 00 00 00 00 01");
	s->nexus = s->a;
	FAILS(s, TUR, SENSE_REGISTRATIONS_PREEMPTED);
	PUTS(s, WRITE, 512, CONFLICT);
}

static void test_preempt(void **state)
{
	(void)state;
	sx_run(MIB, 512, body_preempt);
	sx_run(MIB, 512, body_preempt_all);
}

static void body_replayed(struct sx *s)
{
	register_both(s);
	SENDS(s, OUT("04", "01"), KEY_A KEY_B NO_FLAGS, SENSE_GOOD);
	s->replay = true;
	SENDS(s, OUT("04", "01"), KEY_A KEY_B NO_FLAGS, SENSE_GOOD);
	SENDS(s, OUT("00", "00"), NO_KEY KEY_A NO_FLAGS, SENSE_GOOD);
	SENDS(s, OUT("03", "01"), KEY_A NO_KEY NO_FLAGS, SENSE_GOOD);
	SENDS(s, OUT("03", "01"), KEY_A NO_KEY NO_FLAGS, SENSE_GOOD);
	s->replay = false;
	SENDS(s, OUT("03", "01"), KEY_A NO_KEY NO_FLAGS, CONFLICT);
}

static void test_replayed(void **state)
{
	(void)state;
	sx_run(MIB, 512, body_replayed);
}

static void body_simple(struct sx *s)
{
	GOOD(s, "16 00 00 00 00 00");
	GOOD(s, "56 00 00 00 00 00 00 00 00 00");
	FAILS(s, "16 10 00 00 00 00", SENSE_BAD_CDB_FIELD);
	FAILS(s, "16 01 00 00 00 00", SENSE_BAD_CDB_FIELD);
	FAILS(s, IN("00"), CONFLICT); /* the two kinds exclude each other */
	SENDS(s, OUT("00", "00"), NO_KEY KEY_A NO_FLAGS, CONFLICT);
	GOOD(s, READ);
	s->nexus = s->b;
	FAILS(s, READ, CONFLICT);
	FAILS(s, TUR, CONFLICT);
	FAILS(s, "16 00 00 00 00 00", CONFLICT);
	GOOD(s, "12 00 00 00 60 00");
	GOOD(s, "17 00 00 00 00 00"); /* not its own: stays */
	FAILS(s, READ, CONFLICT);
	scsi_lu_reset(s->b);
	sx_take_attentions(s);
	GOOD(s, READ);
	GOOD(s, "16 00 00 00 00 00");
	GOOD(s, "57 00 00 00 00 00 00 00 00 00");
	register_both(s);
	FAILS(s, "16 00 00 00 00 00", CONFLICT);
}

static void test_simple_reservation(void **state)
{
	(void)state;
	sx_run(MIB, 512, body_simple);
}

static void with_state(struct sx *s, bool durable)
{
	s->state_path = g_build_filename(s->dir, "state", NULL);
	s->durable = durable;
	sx_restart(s, false);
	sx_take_attentions(s);
}

/* A reservation outlives the process of the daemon. */
static void body_restart(struct sx *s)
{
	with_state(s, false);
	register_both(s);
	SENDS(s, OUT("01", "06"), KEY_A NO_KEY NO_FLAGS, SENSE_GOOD);
	sx_restart(s, true);
	BYTES(s, IN("00"), 0, "00 00 00 02 00 00 00 10 " KEY_A KEY_B);
	BYTES(s, IN("01"), 8, KEY_A "00 00 00 00 00 06");
	PUTS(s, WRITE, 512, SENSE_GOOD);
	s->nexus = s->b;
	PUTS(s, WRITE, 512, SENSE_GOOD);
	SENDS(s, OUT("00", "00"), KEY_B NO_KEY NO_FLAGS, SENSE_GOOD);
	PUTS(s, WRITE, 512, CONFLICT);
}

static void forget_boot(struct sx *s)
{
	g_autofree char *text = NULL;
	char *at;

	if (!g_file_get_contents(s->state_path, &text, NULL, NULL)) {
		sx_fail(s, __LINE__, "there is no state file");
		return;
	}
	at = strstr(text, "\"boot\": \"");
	at[9] = at[9] == '0' ? '1' : '0';
	CHECK(s, g_file_set_contents(s->state_path, text, -1, NULL));
}

/* The machine's end: what was asked to last does, in a file that does. */
static void body_power_loss(struct sx *s)
{
	with_state(s, true);
	BYTES(s, IN("02"), 0, "00 08 01 80");
	SENDS(s, OUT("00", "00"), NO_KEY KEY_A FLAGS("01"), SENSE_GOOD);
	SENDS(s, OUT("01", "01"), KEY_A NO_KEY NO_FLAGS, SENSE_GOOD);
	BYTES(s, IN("02"), 0, "00 08 01 81");
	forget_boot(s);
	sx_restart(s, false);
	sx_take_attentions(s);
	BYTES(s, IN("01"), 0, "00 00 00 00 00 00 00 10 " KEY_A);
	s->nexus = s->b;
	PUTS(s, WRITE, 512, CONFLICT);
	s->nexus = s->a;
	SENDS(s, OUT("00", "00"), KEY_A KEY_B FLAGS("00"), SENSE_GOOD); /* no longer */
	forget_boot(s);
	sx_restart(s, false);
	sx_take_attentions(s);
	LENGTH(s, IN("00"), 8);
}

static void test_lasting(void **state)
{
	(void)state;
	sx_run(MIB, 512, body_restart);
	sx_run(MIB, 512, body_power_loss);
}

static void expect_bad_state(struct sx *s, const char *text)
{
	struct scsi_disk_options o = {.id = "bad", .node = s->node, .state_path = s->state_path};
	GError *error = NULL;
	struct scsi_disk *d;

	CHECK(s, g_file_set_contents(s->state_path, text, -1, NULL));
	d = scsi_disk_new(s->loop, &o, &error);
	if (d)
		sx_fail(s, __LINE__, "taken: %s", text);
	scsi_disk_free(d);
	CHECK(s, d || error);
	g_clear_error(&error);
}

static void body_bad_states(struct sx *s)
{
	s->state_path = g_build_filename(s->dir, "state", NULL);
	expect_bad_state(s, "");
	expect_bad_state(s, "[]");
	expect_bad_state(s, "{}");
	expect_bad_state(s, "{\"boot\": \"x\", \"simple\": \"\", \"type\": 0, \"holder\": -1}");
	expect_bad_state(s, "{\"boot\": \"x\", \"simple\": \"\", \"type\": 1, \"holder\": 0, "
			    "\"registrations\": []}");
	expect_bad_state(s, "{\"boot\": \"x\", \"simple\": \"\", \"type\": 1, \"holder\": 1, "
			    "\"registrations\": [{\"name\": \"a\", \"key\": \"1\"}]}");
	expect_bad_state(s, "{\"boot\": \"x\", \"simple\": \"\", \"type\": 2, \"holder\": 0, "
			    "\"registrations\": [{\"name\": \"a\", \"key\": \"1\"}]}");
	expect_bad_state(s, "{\"boot\": \"x\", \"simple\": \"\", \"type\": 0, \"holder\": 0, "
			    "\"registrations\": [{\"name\": \"a\", \"key\": \"-1\"}]}");
	expect_bad_state(s, "{\"boot\": \"x\", \"simple\": \"\", \"type\": 0, \"holder\": 0, "
			    "\"registrations\": [{\"name\": \"a\", \"key\": \"1\"}, "
			    "{\"name\": \"a\", \"key\": \"2\"}]}");
}

static void test_bad_states(void **state)
{
	(void)state;
	sx_run(MIB, 512, body_bad_states);
}

/* As many as there is room for; one more is refused. */
static void test_many_registrations(void **state)
{
	struct reservations *r = g_new0(struct reservations, 1);
	struct reserve_effects *e = g_new0(struct reserve_effects, 1);
	struct reserve_request q = {.action = RESERVE_REGISTER, .new_key = 1};
	char name[16];

	(void)state;
	r->holder = REGISTRATION_NONE;
	q.name = name;
	for (unsigned i = 0; i <= REGISTRATIONS_MAX; i++) {
		g_snprintf(name, sizeof(name), "n%u", i);
		assert_int_equal(reserve_out(r, &q, e),
				 i < REGISTRATIONS_MAX ? SENSE_GOOD : SENSE_NO_REGISTRATIONS_LEFT);
	}
	g_strlcpy(name, "n5", sizeof(name));
	q = (struct reserve_request){.action = RESERVE_RESERVE, .name = name, .key = 1, .type = 5};
	assert_int_equal(reserve_out(r, &q, e), SENSE_GOOD);
	/* all have the key of the holder: those of the others go, which all are told */
	g_strlcpy(name, "n7", sizeof(name));
	q = (struct reserve_request){
		.action = RESERVE_PREEMPT_ABORT, .name = name, .key = 1, .new_key = 1, .type = 6};
	assert_int_equal(reserve_out(r, &q, e), SENSE_GOOD);
	assert_int_equal(r->n, 1);
	assert_int_equal(r->holder, 0);
	assert_int_equal(e->n, REGISTRATIONS_MAX - 1);
	assert_true(e->on[0].abort);
	g_free(e);
	g_free(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_registering),
		cmocka_unit_test(test_hostile_lists),
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_preempt),
		cmocka_unit_test(test_replayed),
		cmocka_unit_test(test_simple_reservation),
		cmocka_unit_test(test_lasting),
		cmocka_unit_test(test_bad_states),
		cmocka_unit_test(test_many_registrations),
	};

	return RUN_TESTS(tests);
}
