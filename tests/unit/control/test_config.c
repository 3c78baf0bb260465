/* Options of drives and attachments, right and wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "control/config.h"
#include "control/media.h"
#include "disc/profile.h"

static struct daemon_config config;

static void says(GError **error, const char *text)
{
	assert_non_null(*error);
	if (!strstr((*error)->message, text))
		fail_msg("\"%s\" is not in \"%s\"", text, (*error)->message);
	assert_null(strchr((*error)->message, '\n'));
	g_clear_error(error);
}

static int setup(void **state)
{
	(void)state;
	config_init(&config);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	config_fini(&config);
	return 0;
}

static void test_optical(void **state)
{
	const struct optical_config *o;

	(void)state;
	assert_true(config_add_optical(
		&config,
		"my,,disc.disc,vendor=ACME,product=BURNER,revision=1.0,serial=4711,strict=on,"
		"rom=dvd",
		NULL));
	assert_true(config_add_optical(&config, "", NULL));
	assert_true(
		config_add_optical(&config, "id=cd2,disc=x.iso,readonly=on,state=/run/x", NULL));
	assert_true(config_add_optical(&config, "id=cd3", NULL));
	assert_true(config_add_optical(&config, "disc=y.iso", NULL));
	o = config_find_optical(&config, "cd0");
	assert_string_equal(o->disc, "my,disc.disc");
	assert_string_equal(o->vendor, "ACME");
	assert_string_equal(o->product, "BURNER");
	assert_string_equal(o->revision, "1.0");
	assert_string_equal(o->serial, "4711");
	assert_int_equal(o->rom_profile, PROFILE_DVD_ROM);
	assert_true(o->strict);
	assert_false(o->readonly);
	assert_null(config_find_optical(&config, "cd1")->disc);
	assert_true(config_find_optical(&config, "cd2")->readonly);
	assert_string_equal(config_find_optical(&config, "cd2")->state, "/run/x");
	assert_string_equal(config_find_optical(&config, "cd4")->disc, "y.iso");
	assert_null(config_find_optical(&config, "cd5"));
}

static void refuse_optical(const char *text, const char *why)
{
	GError *error = NULL;
	unsigned before = config.opticals->len;

	assert_false(config_add_optical(&config, text, &error));
	says(&error, why);
	assert_int_equal(config.opticals->len, before);
}

static void test_optical_refused(void **state)
{
	(void)state;
	assert_true(config_add_optical(&config, "id=a", NULL));
	refuse_optical("id=a", "another drive has that id");
	refuse_optical("id=a/b", "letters, digits");
	refuse_optical("id=", "letters, digits");
	refuse_optical("id=.x", "letters, digits");
	refuse_optical("disc=", "names no file");
	refuse_optical("vendor=TOOLONGVENDOR", "at most 8 characters");
	refuse_optical("serial=a\xc3\xa4", "printable ASCII");
	refuse_optical("strict=perhaps", "strict");
	refuse_optical("rom=vinyl", "rom");
	refuse_optical("disk=x", "disk");
	refuse_optical("disc=a,disc=b", "disc");
}

static void test_attachment(void **state)
{
	const struct attach_config *a;

	(void)state;
	assert_true(config_add_optical(&config, "id=x", NULL));
	assert_true(config_add_optical(&config, "id=y", NULL));
	assert_true(config_add_attachment(&config, "vhost-user,socket=/run/s", NULL));
	assert_true(config_add_attachment(
		&config, "type=vhost-user,socket=/run/t,drives=y:x,queues=4,packed=off,clients=2",
		NULL));
	assert_true(config_check(&config, NULL));
	a = config.attachments->pdata[0];
	assert_string_equal(a->socket, "/run/s");
	assert_null(a->drives);
	assert_true(a->packed);
	assert_int_equal(a->queues, 0);
	assert_int_equal(a->clients, 1);
	a = config.attachments->pdata[1];
	assert_string_equal(a->drives[0], "y");
	assert_string_equal(a->drives[1], "x");
	assert_int_equal(a->queues, 4);
	assert_int_equal(a->clients, 2);
	assert_false(a->packed);
}

static void refuse_attachment(const char *text, const char *why)
{
	GError *error = NULL;

	assert_false(config_add_attachment(&config, text, &error));
	says(&error, why);
	assert_int_equal(config.attachments->len, 0);
}

static void test_attachment_refused(void **state)
{
	g_autofree char *path = g_strnfill(200, 'x');
	g_autofree char *text = g_strdup_printf("vhost-user,socket=/%s", path);

	(void)state;
	refuse_attachment("socket=/s", "vhost-user,socket=PATH");
	refuse_attachment("vhost-user", "socket=PATH is missing");
	refuse_attachment("vhost-user,socket=", "socket=PATH is missing");
	refuse_attachment("iscsi,socket=/s", "iscsi");
	refuse_attachment("vhost-user,socket=/s,queues=0", "queues");
	refuse_attachment("vhost-user,socket=/s,que=1", "que");
	refuse_attachment(text, "at most 107 bytes");
}

static void refuse_all(const char *why)
{
	GError *error = NULL;

	assert_false(config_check(&config, &error));
	says(&error, why);
}

static void test_check(void **state)
{
	(void)state;
	refuse_all("there is no drive");
	assert_true(config_add_optical(&config, "id=a", NULL));
	refuse_all("nothing is attached");
	assert_true(config_add_attachment(&config, "vhost-user,socket=/s,drives=b", NULL));
	refuse_all("there is no drive 'b'");
	assert_true(config_add_optical(&config, "id=b", NULL));
	assert_true(config_check(&config, NULL));
	assert_true(config_add_attachment(&config, "vhost-user,socket=/s", NULL));
	refuse_all("given twice");
	g_ptr_array_set_size(config.attachments, 1);
	config.control = g_strdup("/s");
	refuse_all("also the control socket");
	g_clear_pointer(&config.control, g_free);
	assert_true(config_add_attachment(&config, "vhost-user,socket=/t,drives=b:b", NULL));
	refuse_all("twice");
}

static void test_media_record(void **state)
{
	struct media_record out = {NULL},
			    in = {.configured = (char *)"/a \"quoted\"\n\xff.disc", .loaded = NULL};
	g_autofree char *dir = g_dir_make_tmp("media-XXXXXX", NULL);
	g_autofree char *path = g_build_filename(dir, "x.media", NULL);

	(void)state;
	assert_false(media_read(path, &out));
	assert_true(media_write(path, &in, NULL));
	assert_true(media_read(path, &out));
	assert_string_equal(out.configured, in.configured);
	assert_null(out.loaded);
	media_record_clear(&out);
	in.loaded = (char *)"/b.iso";
	assert_true(media_write(path, &in, NULL));
	assert_true(media_read(path, &out));
	assert_string_equal(out.loaded, "/b.iso");
	media_record_clear(&out);
	assert_true(g_file_set_contents(path, "{\"boot\": \"another one\", \"loaded\": \"/b\"}", -1,
					NULL));
	assert_false(media_read(path, &out));
	assert_true(g_file_set_contents(path, "not JSON", -1, NULL));
	assert_false(media_read(path, &out));
	assert_null(out.loaded);
	media_remove(path);
	assert_int_equal(access(path, F_OK), -1);
	rmdir(dir);
	assert_false(media_write(path, &in, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_optical, setup, teardown),
		cmocka_unit_test_setup_teardown(test_optical_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_attachment, setup, teardown),
		cmocka_unit_test_setup_teardown(test_attachment_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_check, setup, teardown),
		cmocka_unit_test(test_media_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
