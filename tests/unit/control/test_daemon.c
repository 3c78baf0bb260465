/*
 * The daemon and its commands on a real loop: start and end, media changes, restarts, the wire.
 * Each test runs as a coroutine; the control socket's client runs in a thread beside it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/err.h"
#include "control/client.h"
#include "control/command.h"
#include "control/server.h"
#include "disc/disc.h"

enum { BLANK_BLOCKS = 4096 };

static struct fixture {
	struct loop *loop;
	struct loop_task task;
	char *dir, *socket, *control, *disc, *other;
	struct daemon_config config;
	void (*body)(struct fixture *f);
} fixture;

static void run_body(void *arg)
{
	struct fixture *f = arg;

	f->body(f);
	loop_stop(f->loop);
}

static void begin(struct loop_task *task)
{
	(void)task;
	co_start(fixture.loop, run_body, &fixture);
}

static int setup(void **state)
{
	struct fixture *f = &fixture;

	(void)state;
	memset(f, 0, sizeof(*f));
	f->loop = loop_new(LOOP_AUTO, NULL);
	f->dir = g_dir_make_tmp("daemon-XXXXXX", NULL);
	f->socket = g_build_filename(f->dir, "s", NULL);
	f->control = g_build_filename(f->dir, "c", NULL);
	f->disc = g_build_filename(f->dir, "a.disc", NULL);
	f->other = g_build_filename(f->dir, "b.disc", NULL);
	config_init(&f->config);
	return f->loop ? 0 : -1;
}

static int teardown(void **state)
{
	struct fixture *f = &fixture;
	GDir *dir = g_dir_open(f->dir, 0, NULL);
	const char *name;

	(void)state;
	while ((name = g_dir_read_name(dir))) {
		g_autofree char *path = g_build_filename(f->dir, name, NULL);

		unlink(path);
	}
	g_dir_close(dir);
	rmdir(f->dir);
	config_fini(&f->config);
	loop_free(f->loop);
	g_free(f->dir);
	g_free(f->socket);
	g_free(f->control);
	g_free(f->disc);
	g_free(f->other);
	return 0;
}

/* A failed assertion must not jump out of a coroutine: what a body found is asserted here. */
static const char *failed_at;

#define check(condition)                                                   \
	do {                                                               \
		if (!(condition) && !failed_at)                            \
			failed_at = G_STRINGIFY(__LINE__) ": " #condition; \
	} while (0)

static void run(void (*body)(struct fixture *f))
{
	failed_at = NULL;
	fixture.body = body;
	fixture.task.run = begin;
	loop_post(fixture.loop, &fixture.task);
	loop_run(fixture.loop);
	if (failed_at)
		fail_msg("line %s", failed_at);
}

static void make_discs(struct fixture *f)
{
	check(disc_create(f->disc, disc_type_find("dvd+r"), BLANK_BLOCKS, false, NULL));
	check(disc_create(f->other, disc_type_find("dvd-r"), BLANK_BLOCKS, false, NULL));
}

static void configure(struct fixture *f, const char *drive)
{
	g_autofree char *attach = g_strdup_printf("vhost-user,socket=%s", f->socket);

	check(config_add_optical(&f->config, drive, NULL));
	check(config_add_attachment(&f->config, attach, NULL));
	check(config_check(&f->config, NULL));
}

/* Whether the command fails and says text; text NULL: that it works. */
static void command(struct outboard_daemon *d, const char *name, const char *args, const char *text)
{
	json_t *a = args ? json_loads(args, 0, NULL) : NULL, *result;
	GError *error = NULL;

	result = command_execute(d, name, a, &error);
	check(text ? !result && error && strstr(error->message, text) : result && !error);
	g_clear_error(&error);
	json_decref(result);
	json_decref(a);
}

static void insert(struct outboard_daemon *d, const char *path, const char *text)
{
	g_autofree char *args = g_strdup_printf("{\"disc\": \"%s\"}", path);

	command(d, "insert", args, text);
}

static void body_commands(struct fixture *f)
{
	struct outboard_daemon *d;
	json_t *status, *drive;

	make_discs(f);
	configure(f, f->disc);
	d = daemon_start(f->loop, &f->config, NULL);
	check(d);
	check(!access(f->socket, F_OK));
	status = command_execute(d, "status", NULL, NULL);
	drive = json_array_get(json_object_get(status, "drives"), 0);
	check(!g_strcmp0(json_string_value(json_object_get(drive, "id")), "cd0"));
	check(!g_strcmp0(json_string_value(json_object_get(drive, "disc")), f->disc));
	check(!g_strcmp0(json_string_value(json_object_get(drive, "profile_name")), "DVD+R"));
	check(json_is_false(json_object_get(drive, "tray_open")));
	check(json_array_size(json_object_get(status, "attachments")) == 1);
	json_decref(status);
	insert(d, f->other, "eject it first");
	command(d, "eject", NULL, NULL);
	check(drive_tray_open(daemon_drive(d, 0)->drive));
	insert(d, "/nonexistent.iso", "/nonexistent.iso");
	insert(d, f->other, NULL);
	check(!drive_tray_open(daemon_drive(d, 0)->drive));
	command(d, "eject", "{\"id\": \"cd0\", \"force\": true}", NULL);
	command(d, "eject", "{\"id\": \"cd7\"}", "no drive 'cd7'");
	command(d, "eject", "{\"force\": 1}", "'force' must be true or false");
	command(d, "eject", "{\"id\": 1}", "'id' must be a string");
	command(d, "eject", "{\"speed\": 1}", "no argument 'speed'");
	command(d, "insert", "{}", "'disc' must name a file");
	command(d, "insert", "[]", "must be an object");
	command(d, "explode", NULL, "no command 'explode'");
	check(!daemon_is_quitting(d));
	command(d, "quit", NULL, NULL);
	check(daemon_is_quitting(d));
	daemon_wait(d);
	daemon_free(d);
	check(access(f->socket, F_OK));
}

static void test_commands(void **state)
{
	(void)state;
	run(body_commands);
}

static void body_wire(struct fixture *f)
{
	static const struct {
		const char *line, *answer;
	} cases[] = {
		{"{\"execute\": \"eject\", \"id\": [7]}", "{\"return\":{},\"id\":[7]}"},
		{"{\"execute\": \"nothing\"}", "\"desc\":\"there is no command 'nothing'\""},
		{"{\"execute\": 3}", "\"error\""},
		{"{\"execute\": \"eject\", \"execute\": \"eject\"}", "\"error\""},
		{"[]", "\"error\""},
		{"", "\"error\""},
		{"{\"execute\"", "\"error\""},
	};
	struct outboard_daemon *d;

	configure(f, "");
	d = daemon_start(f->loop, &f->config, NULL);
	check(d);
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		g_autofree char *answer = control_answer(d, cases[i].line, strlen(cases[i].line));

		check(strstr(answer, cases[i].answer));
		check(!strchr(answer, '\n'));
	}
	daemon_free(d);
}

static void test_wire(void **state)
{
	(void)state;
	run(body_wire);
}

/* What a thread asks while the loop serves. */
static void *ask_all(void *arg)
{
	struct fixture *f = arg;
	json_t *args = json_pack("{s:s}", "id", "cd9");
	GError *error = NULL;
	json_t *status = control_ask(f->control, "status", NULL, &error);

	check(json_array_size(json_object_get(status, "drives")) == 1);
	json_decref(status);
	check(!control_ask(f->control, "eject", args, &error));
	check(error && strstr(error->message, "no drive 'cd9'"));
	g_clear_error(&error);
	json_decref(args);
	status = control_ask(f->control, "quit", NULL, &error);
	check(status);
	json_decref(status);
	return NULL;
}

static void body_socket(struct fixture *f)
{
	struct outboard_daemon *d;
	GThread *thread;

	configure(f, "");
	f->config.control = g_strdup(f->control);
	d = daemon_start(f->loop, &f->config, NULL);
	check(d);
	thread = g_thread_new("client", ask_all, f);
	daemon_wait(d);
	daemon_free(d);
	g_thread_join(thread);
	check(access(f->control, F_OK));
}

static void test_socket(void **state)
{
	GError *error = NULL;

	(void)state;
	assert_null(control_ask(fixture.control, "status", NULL, &error));
	assert_non_null(strstr(error->message, "is there an 'outboard serve"));
	g_clear_error(&error);
	run(body_socket);
}

static void body_failed_start(struct fixture *f)
{
	g_autofree char *state_file = g_strdup_printf("%s.drive-cd0.state", f->socket);
	struct outboard_daemon *first, *second;
	struct daemon_config config;
	g_autofree char *attach = g_strdup_printf("vhost-user,socket=%s2", f->socket);
	GError *error = NULL;

	make_discs(f);
	configure(f, f->disc);
	first = daemon_start(f->loop, &f->config, NULL);
	check(first);
	config_init(&config);
	check(config_add_optical(&config, f->disc, NULL) &&
	      config_add_attachment(&config, attach, NULL));
	second = daemon_start(f->loop, &config, &error);
	check(!second && error && strstr(error->message, "in use") &&
	      strstr(error->message, f->disc));
	g_clear_error(&error);
	config_fini(&config);
	check(!access(state_file, F_OK)); /* those of the first are not touched */
	daemon_free(first);
	check(access(state_file, F_OK));
	/* A file that is no disc, and nothing is left of the attempt. */
	check(g_file_set_contents(f->disc, "this is no disc", -1, NULL));
	check(!daemon_start(f->loop, &f->config, &error) && error &&
	      strstr(error->message, f->disc));
	g_clear_error(&error);
	check(access(f->socket, F_OK));
}

static void test_failed_start(void **state)
{
	(void)state;
	run(body_failed_start);
}

/*
 * A daemon that was killed puts back what was in the drive, unless it is asked for another disc
 * now.
 */
static void body_restart(struct fixture *f)
{
	g_autofree char *media = g_strdup_printf("%s.drive-cd0.media", f->socket);
	struct media_copy {
		char *text;
		size_t len;
	} killed;
	struct outboard_daemon *d;

	make_discs(f);
	configure(f, f->disc);
	d = daemon_start(f->loop, &f->config, NULL);
	command(d, "eject", NULL, NULL);
	insert(d, f->other, NULL);
	check(g_file_get_contents(media, &killed.text, &killed.len, NULL));
	daemon_free(d);
	check(access(media, F_OK));
	check(g_file_set_contents(media, killed.text, (gssize)killed.len,
				  NULL)); /* as kill -9 leaves it */
	d = daemon_start(f->loop, &f->config, NULL);
	check(d && !g_strcmp0(daemon_drive(d, 0)->disc_path, f->other));
	daemon_free(d);
	check(g_file_set_contents(media, killed.text, (gssize)killed.len, NULL));
	g_free(killed.text);
	g_ptr_array_set_size(f->config.opticals, 0);
	check(config_add_optical(&f->config, "", NULL));
	d = daemon_start(f->loop, &f->config, NULL);
	check(d && !daemon_drive(d, 0)->disc_path);
	daemon_free(d);
}

static void test_restart(void **state)
{
	(void)state;
	run(body_restart);
}

static void wrong_device(struct fixture *f, const char *device, const char *why)
{
	g_autofree char *attach = g_strdup_printf("vfio-user,socket=%s", f->socket);
	GError *error = NULL;

	g_ptr_array_set_size(f->config.devices, 0);
	g_ptr_array_set_size(f->config.attachments, 0);
	check(config_add_device(&f->config, device, NULL));
	check(config_add_attachment(&f->config, attach, NULL));
	check(config_check(&f->config, NULL));
	check(!daemon_start(f->loop, &f->config, &error));
	check(error && strstr(error->message, why));
	g_clear_error(&error);
	check(access(f->socket, F_OK));
}

static void body_wrong_devices(struct fixture *f)
{
	wrong_device(f, "edu,dma-mask=many", "dma-mask=many: must be a number from 0 to");
	wrong_device(f, "edu,colour=red", "no option \"colour\" here; known:");
	wrong_device(f, "edu2", "there is no device \"edu2\"; known: edu");
	wrong_device(f, "/dev/null", "plug-in /dev/null is no file");
	wrong_device(f, "./none/none.so", "none.so");
}

static void test_wrong_devices(void **state)
{
	(void)state;
	run(body_wrong_devices);
}

/* Two devices and a drive, three sockets. */
static void body_devices(struct fixture *f)
{
	g_autofree char *first = g_strdup_printf("vfio-user,socket=%s.0,device=dev0", f->socket);
	g_autofree char *second = g_strdup_printf("vfio-user,socket=%s.x,device=x", f->socket);
	g_autofree char *path = g_strconcat(f->socket, ".x", NULL);
	struct outboard_daemon *d;
	json_t *status, *devices, *attachments;

	check(config_add_device(&f->config, "edu", NULL));
	check(config_add_device(&f->config, "edu,id=x,dma-mask=0xff", NULL));
	check(config_add_attachment(&f->config, first, NULL));
	check(config_add_attachment(&f->config, second, NULL));
	configure(f, "");
	d = daemon_start(f->loop, &f->config, NULL);
	check(d && daemon_devices(d) == 2 && daemon_attachments(d) == 3);
	check(!strcmp(device_id(daemon_device(d, 1)->device), "x"));
	check(!access(path, F_OK) && !access(f->socket, F_OK));
	status = command_execute(d, "status", NULL, NULL);
	devices = json_object_get(status, "devices");
	attachments = json_object_get(status, "attachments");
	check(json_array_size(devices) == 2 && json_array_size(attachments) == 3);
	devices = json_array_get(devices, 1);
	check(!strcmp(json_string_value(json_object_get(devices, "id")), "x"));
	check(!strcmp(json_string_value(json_object_get(devices, "vendor")), "0x1234"));
	check(!strcmp(json_string_value(json_object_get(devices, "device")), "0x11e8"));
	attachments = json_array_get(attachments, 1);
	check(!strcmp(json_string_value(json_object_get(attachments, "type")), "vfio-user"));
	check(!strcmp(json_string_value(json_object_get(attachments, "device")), "x"));
	json_decref(status);
	daemon_free(d);
	check(access(path, F_OK) && access(f->socket, F_OK));
}

static void test_devices(void **state)
{
	(void)state;
	run(body_devices);
}

/* What fails to be added leaves no trace; what is removed can be added again under the same names.
 */
static void body_change_devices(struct fixture *f)
{
	g_autofree char *add =
		g_strdup_printf("{\"device\": \"edu,id=x\", \"socket\": \"%s,x\"}", f->socket);
	g_autofree char *wrong = g_strdup_printf(
		"{\"device\": \"edu,id=y,dma-mask=q\", \"socket\": \"%s.y\"}", f->socket);
	g_autofree char *same =
		g_strdup_printf("{\"device\": \"edu,id=y\", \"socket\": \"%s,x\"}", f->socket);
	g_autofree char *taken =
		g_strdup_printf("{\"device\": \"edu,id=y\", \"socket\": \"%s/none/s\"}", f->dir);
	g_autofree char *path = g_strconcat(f->socket, ",x", NULL);
	struct outboard_daemon *d;

	configure(f, "");
	d = daemon_start(f->loop, &f->config, NULL);
	for (unsigned i = 0; i < 2; i++) {
		command(d, "add-device", add, NULL);
		check(daemon_devices(d) == 1 && daemon_attachments(d) == 2 && !access(path, F_OK));
		command(d, "add-device", add, "another device has that id");
		command(d, "add-device", wrong, "dma-mask=q: must be a number");
		command(d, "add-device", same, "is given twice");
		command(d, "add-device", taken, "none/s");
		command(d, "add-device", "{\"device\": \"edu\"}", "'socket' must be");
		command(d, "remove-device", "{\"id\": \"y\"}", "there is no device 'y'");
		command(d, "remove-device", "{\"id\": \"cd0\"}", "there is no device 'cd0'");
		check(f->config.devices->len == 1 && f->config.attachments->len == 2);
		check(daemon_devices(d) == 1 && daemon_attachments(d) == 2);
		if (i)
			break;
		command(d, "remove-device", "{\"id\": \"x\"}", NULL);
		check(daemon_devices(d) == 0 && daemon_attachments(d) == 1 && access(path, F_OK));
		check(f->config.devices->len == 0 && f->config.attachments->len == 1);
	}
	daemon_free(d);
	check(access(path, F_OK));
}

static void test_change_devices(void **state)
{
	(void)state;
	run(body_change_devices);
}

/* Disks come and go; what hangs on them is looked up by name. */
static void body_disks(struct fixture *f)
{
	g_autofree char *image = g_build_filename(f->dir, "d.img", NULL);
	g_autofree char *odd = g_build_filename(f->dir, "odd.img", NULL);
	g_autofree char *add = g_strdup_printf("{\"disk\": \"%s,id=x\"}", image);
	g_autofree char *bad = g_strdup_printf("{\"disk\": \"%s\"}", odd);
	g_autofree char *wrong = g_strdup_printf("{\"disk\": \"%s,colour=red\"}", image);
	struct outboard_daemon *d;
	json_t *status, *disk;

	check(g_file_set_contents(odd, "odd", 3, NULL));
	check(g_file_set_contents(image, "", 0, NULL) && !truncate(image, 1 << 20));
	make_discs(f);
	configure(f, f->disc);
	check(config_add_device(&f->config, "edu,id=e", NULL));
	d = daemon_start(f->loop, &f->config, NULL);
	check(d);
	command(d, "add-disk", bad, "3 bytes are no whole number of sectors");
	command(d, "add-disk", wrong, "colour");
	command(d, "add-disk", "{\"disk\": \"/nonexistent.img\"}", "/nonexistent.img");
	command(d, "add-disk", add, NULL);
	command(d, "add-disk", add, "another disk has that id");
	status = command_execute(d, "status", NULL, NULL);
	disk = json_array_get(json_object_get(status, "disks"), 0);
	check(json_integer_value(json_object_get(disk, "bytes")) == 1 << 20);
	check(json_is_null(json_object_get(disk, "device")) || !json_object_get(disk, "device"));
	json_decref(status);
	command(d, "plug", "{\"device\": \"e\", \"slot\": 0, \"id\": \"x\"}",
		"takes no disk or drive");
	command(d, "plug", "{\"device\": \"f\", \"slot\": 0, \"id\": \"x\"}", "no device 'f'");
	command(d, "plug", "{\"device\": \"e\", \"slot\": -1, \"id\": \"x\"}", "'slot' must be");
	command(d, "unplug", "{\"device\": \"e\"}", "'slot' must be");
	command(d, "remove-disk", "{\"id\": \"y\"}", "no disk 'y'");
	command(d, "remove-disk", "{\"id\": \"x\"}", NULL);
	command(d, "remove-disk", "{\"id\": \"x\"}", "no disk 'x'");
	daemon_free(d);
}

static void test_disks(void **state)
{
	(void)state;
	run(body_disks);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_commands, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wire, setup, teardown),
		cmocka_unit_test_setup_teardown(test_socket, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failed_start, setup, teardown),
		cmocka_unit_test_setup_teardown(test_restart, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wrong_devices, setup, teardown),
		cmocka_unit_test_setup_teardown(test_devices, setup, teardown),
		cmocka_unit_test_setup_teardown(test_change_devices, setup, teardown),
		cmocka_unit_test_setup_teardown(test_disks, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
