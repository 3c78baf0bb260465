/*
 * The drive over kill -9 and a new start: a guest that goes on must notice nothing. The first life
 * of each test is a child process that kills itself in mid-flight, the second one is this process.
 */
#include "mmc_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define EJECT  "1b 00 00 00 02 00"
#define MEDIA  "4a 01 00 00 10 00 00 00 ff 00"
#define PAGE05 "5a 08 05 00 00 00 00 00 ff 00"

struct life {
	struct fx f;
	char *state_path;
	bool resumed; /* of the nexus */
	bool quiet;   /* insertion */
	bool die;
};

static co_fn void live(void *arg)
{
	struct life *l = arg;
	struct fx *f = &l->f;
	struct drive_options o = {.id = "test", .state_path = l->state_path};
	GError *error = NULL;
	struct disc *disc;

	f->drive = drive_new(f->loop, &o, &error);
	disc = disc_open(f->path, DISC_OPEN_RDWR, 0, &error);
	if (!f->drive || !disc || !drive_insert(f->drive, disc, l->quiet, &error)) {
		fx_fail(f, 0, "%s", error->message);
		exit(1);
	}
	f->nexus = scsi_nexus_new(drive_lu(f->drive), "guest", NULL, NULL, l->resumed);
	f->body(f);
	if (l->die && !f->failed)
		kill(getpid(), SIGKILL);
	scsi_nexus_free(f->nexus);
	drive_free(f->drive);
	loop_stop(f->loop);
}

static bool run_life(struct life *l, void (*body)(struct fx *f))
{
	l->f.body = body;
	l->f.seed = 7;
	l->f.loop = loop_new(LOOP_AUTO, NULL);
	co_start(l->f.loop, live, l);
	loop_run(l->f.loop);
	loop_free(l->f.loop);
	return !l->f.failed;
}

static co_fn void create(void *arg)
{
	struct fx *f = arg;

	if (!disc_create(f->path, disc_type_find(f->type), f->blocks, false, NULL))
		f->failed = true;
	loop_stop(f->loop);
}

static void make_disc(struct fx *f)
{
	f->loop = loop_new(LOOP_AUTO, NULL);
	co_start(f->loop, create, f);
	loop_run(f->loop);
	loop_free(f->loop);
}

static void die_in_a_child(struct life *l, void (*body)(struct fx *f))
{
	pid_t pid = fork();
	int status = 0;

	assert_true(pid >= 0);
	if (pid == 0) {
		make_disc(&l->f);
		l->die = true;
		run_life(l, body);
		_exit(1); /* it was to be killed */
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* between: what happens to the files meanwhile. */
static void two_lives(const char *type, void (*first)(struct fx *f),
		      void (*between)(struct life *l), bool resumed, bool quiet,
		      void (*second)(struct fx *f))
{
	struct life *l = g_new0(struct life, 1);
	char *dir = g_dir_make_tmp("ob-state-XXXXXX", NULL);
	bool good;

	l->f.type = type;
	l->f.blocks = 4096;
	l->f.path = g_build_filename(dir, "test.disc", NULL);
	l->state_path = g_build_filename(dir, "state", NULL);
	die_in_a_child(l, first);
	if (between)
		between(l);
	l->resumed = resumed;
	l->quiet = quiet;
	good = run_life(l, second);
	g_unlink(l->f.path);
	g_unlink(l->state_path);
	g_rmdir(dir);
	g_free(l->f.path);
	g_free(l->state_path);
	g_free(l);
	g_free(dir);
	assert_true(good);
}

/* ---- a burn goes on ---- */

static co_fn void burn_begins(struct fx *f)
{
	FAILS(f, TUR, SENSE_POWER_ON);
	GOOD(f, TUR); /* the disc was in before this initiator came */
	GOOD(f, MEDIA);
	GOOD(f, "1e 00 00 00 01 00");
	PAGE5(f, 0x41, 0xc4, 8);
	GOOD(f, "bb 00 ff ff 05 83 00 00 00 00 00 00");
	WRITES(f, 0, 100);
}

static co_fn void burn_goes_on(struct fx *f)
{
	CHECK(f, drive_resumed(f->drive) && drive_locked(f->drive));
	GOOD(f, TUR);
	REPLY(f, MEDIA, "00 06 04 5e 00 02 00 00");
	BYTE(f, PAGE05, 10, 0x41);
	BYTE(f, PAGE05, 11, 0xc4);
	GOOD(f, "5a 08 2a 00 00 00 00 00 ff 00");
	CHECK(f, get_be16(f->in + 8 + 28) == 1411);
	WRITES(f, 100, 300);
	GOOD(f, SYNC);
	GOOD(f, CLOSE("02", "00"));
	READS(f, 0, 400);
}

static void test_burn_goes_on(void **state)
{
	(void)state;
	two_lives("cd-r", burn_begins, NULL, true, true, burn_goes_on);
}

/* ---- what was to be told is still told ---- */

static co_fn void leaves_things_untold(struct fx *f)
{
	FAILS(f, TUR, SENSE_POWER_ON);
	GOOD(f, EJECT);
	GOOD(f, MEDIA);
	GOOD(f, "1b 00 00 00 03 00"); /* UA and event pending */
}

static co_fn void is_told(struct fx *f)
{
	REPLY(f, MEDIA, "00 06 04 5e 02 02 00 00");
	FAILS(f, TUR, SENSE_MEDIUM_CHANGED);
	GOOD(f, TUR);
}

static void test_pending_conditions(void **state)
{
	(void)state;
	two_lives("dvd+r", leaves_things_untold, NULL, true, true, is_told);
}

static co_fn void opens_the_tray(struct fx *f)
{
	FAILS(f, TUR, SENSE_POWER_ON);
	GOOD(f, EJECT);
	GOOD(f, MEDIA);
}

static co_fn void tray_is_open(struct fx *f)
{
	FAILS(f, TUR, SENSE_NO_MEDIUM_OPEN);
	REPLY(f, MEDIA, "00 06 04 5e 00 01 00 00");
	GOOD(f, "1b 00 00 00 03 00");
	FAILS(f, TUR, SENSE_MEDIUM_CHANGED);
	GOOD(f, TUR);
}

static void test_open_tray(void **state)
{
	(void)state;
	two_lives("dvd+r", opens_the_tray, NULL, true, true, tray_is_open);
}

/* ---- a long operation is done by whoever lives ---- */

static co_fn void closes_and_dies(struct fx *f)
{
	FAILS(f, TUR, SENSE_POWER_ON);
	WRITES(f, 0, 64);
	GOOD(f, CLOSE_IMMED_("06", "00")); /* answered, and nothing of it done yet */
	CHECK(f, fx_command(f, TUR, 0, 0) == SENSE_OPERATION_IN_PROGRESS);
}

static co_fn void is_closed(struct fx *f)
{
	WAITS(f);
	BYTE(f, DISC_INFO, 2, 0x0e);
	READS(f, 0, 64);
}

static void test_long_operation(void **state)
{
	(void)state;
	two_lives("dvd+r", closes_and_dies, NULL, true, true, is_closed);
}

/* ---- when nothing may be resumed ---- */

static co_fn void starts_anew(struct fx *f)
{
	CHECK(f, !drive_locked(f->drive));
	FAILS(f, TUR, SENSE_POWER_ON);
	GOOD(f, TUR);
}

static void test_other_initiator(void **state)
{
	(void)state;
	two_lives("cd-r", burn_begins, NULL, false, true, starts_anew);
}

static co_fn void sees_a_new_disc(struct fx *f)
{
	CHECK(f, drive_locked(f->drive) && !drive_tray_open(f->drive));
	BYTE(f, PAGE05, 10, 0x40); /* defaults again */
	GOOD(f, TUR);
}

static void test_loud_insertion(void **state)
{
	(void)state;
	two_lives("cd-r", burn_begins, NULL, true, false, sees_a_new_disc);
}

static void write_at(const char *path, off_t off, const char *bytes, size_t len)
{
	int fd = open(path, O_RDWR);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, len, off), len);
	close(fd);
}

static void another_boot(struct life *l)
{
	write_at(l->state_path, offsetof(struct drive_state, boot_id), "x", 1);
}

static void another_layout(struct life *l)
{
	write_at(l->state_path, offsetof(struct drive_state, layout), "\x7f", 1);
}

static void shorter(struct life *l)
{
	assert_int_equal(truncate(l->state_path, 100), 0);
}

static co_fn void starts_fresh(struct fx *f)
{
	CHECK(f, !drive_resumed(f->drive) && !drive_locked(f->drive) && !drive_tray_open(f->drive));
	GOOD(f, TUR);
	BYTE(f, PAGE05, 10, 0x40);
}

static void test_foreign_state(void **state)
{
	(void)state;
	two_lives("cd-r", burn_begins, another_boot, true, true, starts_fresh);
	two_lives("cd-r", burn_begins, another_layout, true, true, starts_fresh);
	two_lives("cd-r", burn_begins, shorter, true, true, starts_fresh);
}

/* Counts and indices that no honest process wrote. */
static void absurd(struct life *l)
{
	char bad[sizeof(struct nexus_state)];

	memset(bad, 0xff, sizeof(bad));
	for (unsigned i = 0; i < STATE_NEXUSES; i++)
		write_at(l->state_path, offsetof(struct drive_state, nexus) + i * sizeof(bad), bad,
			 sizeof(bad));
	write_at(l->state_path, offsetof(struct drive_state, op_kind), "\xff\xff", 2);
	memset(bad, 'd', sizeof(bad));
	for (unsigned off = 0; off + sizeof(bad) <= STATE_DISC_LEN; off += sizeof(bad))
		write_at(l->state_path, offsetof(struct drive_state, disc) + off, bad, sizeof(bad));
	write_at(l->state_path, offsetof(struct drive_state, pages), bad, sizeof(bad));
}

static co_fn void lives(struct fx *f)
{
	fx_command(f, TUR, 0, 0);
	GOOD(f, MEDIA);
	GOOD(f, "5a 08 3f 00 00 00 00 03 ff 00");
	CHECK(f, f->in_done == get_be16(f->in) + 2u);
}

static void test_absurd_state(void **state)
{
	(void)state;
	two_lives("cd-r", burn_begins, absurd, true, true, lives);
}

/* ---- the file itself ---- */

static co_fn void files(struct fx *f)
{
	struct drive_options o = {.id = "two"};
	char *path = g_build_filename(f->dir, "state", NULL);
	GError *error = NULL;
	struct drive *a, *b;

	o.state_path = path;
	a = drive_new(f->loop, &o, &error);
	CHECK(f, a != NULL);
	b = drive_new(f->loop, &o, &error);
	CHECK(f, !b && error && error->code == EBUSY && strstr(error->message, path));
	g_clear_error(&error);
	drive_free(a);
	a = drive_new(f->loop, &o, &error); /* an orderly end can be resumed as well */
	CHECK(f, a && drive_resumed(a));
	drive_free(a);
	CHECK(f, g_file_set_contents(path, "something of the user's", -1, NULL));
	CHECK(f, !drive_new(f->loop, &o, &error) && error);
	g_clear_error(&error);
	char *text = NULL;

	CHECK(f, g_file_get_contents(path, &text, NULL, NULL) &&
			 strcmp(text, "something of the user's") == 0);
	g_free(text);
	g_unlink(path);
	o.state_path = "/nonexistent/state";
	CHECK(f, !drive_new(f->loop, &o, &error) && error && error->code == ENOENT);
	g_clear_error(&error);
	g_free(path);
}

static void test_files(void **state)
{
	(void)state;
	fx_run(NULL, 0, files);
}

/* An initiator that lost its connection finds its lock again; one of another name does not get it.
 */
static co_fn void reconnection(struct fx *f)
{
	struct scsi_lu *lu = drive_lu(f->drive);

	GOOD(f, "1e 00 00 00 01 00");
	scsi_nexus_free(f->nexus);
	CHECK(f, !drive_locked(f->drive));
	f->nexus = scsi_nexus_new(lu, "stranger", NULL, NULL, true);
	CHECK(f, !drive_locked(f->drive));
	scsi_nexus_free(f->nexus);
	f->nexus = scsi_nexus_new(lu, "test", NULL, NULL, true);
	CHECK(f, drive_locked(f->drive));
	GOOD(f, TUR);
}

static void test_reconnection(void **state)
{
	(void)state;
	fx_run("dvd+r", 0, reconnection);
}

/* More initiators than the file has room for. */
static co_fn void crowd(struct fx *f)
{
	struct scsi_nexus *many[2 * STATE_NEXUSES], *mine = f->nexus;
	char name[16];

	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < G_N_ELEMENTS(many); i++) {
			g_snprintf(name, sizeof(name), "n%u", i);
			many[i] = scsi_nexus_new(drive_lu(f->drive), name, NULL, NULL, round);
		}
		event_media(f->drive, MEDIA_NEW);
		for (unsigned i = 0; i < G_N_ELEMENTS(many); i++) {
			f->nexus = many[i];
			REPLY(f, MEDIA, "00 06 04 5e 02 02 00 00");
			REPLY(f, MEDIA, "00 06 04 5e 00 02 00 00");
			scsi_nexus_free(many[i]);
		}
	}
	f->nexus = mine;
}

static void test_crowd(void **state)
{
	(void)state;
	fx_run("dvd+r", 0, crowd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_burn_goes_on),    cmocka_unit_test(test_pending_conditions),
		cmocka_unit_test(test_open_tray),       cmocka_unit_test(test_long_operation),
		cmocka_unit_test(test_other_initiator), cmocka_unit_test(test_loud_insertion),
		cmocka_unit_test(test_foreign_state),   cmocka_unit_test(test_absurd_state),
		cmocka_unit_test(test_files),           cmocka_unit_test(test_reconnection),
		cmocka_unit_test(test_crowd),
	};

	return RUN_TESTS(tests);
}
