/* Options of drives, devices and attachments, right and wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/opts.h"
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

static void test_disk(void **state)
{
	const struct disk_config *d;

	(void)state;
	assert_true(
		config_add_disk(&config, "a,,b.img,serial=4711,model=My Disk,rotational=on", NULL));
	assert_true(config_add_disk(
		&config, "driver=raw,file.driver=fault,file.file.filename=x,id=bad,readonly=on",
		NULL));
	d = config_find_disk(&config, "hd0");
	assert_string_equal(d->file, "a,b.img");
	assert_null(d->format);
	assert_string_equal(d->serial, "4711");
	assert_string_equal(d->model, "My Disk");
	assert_null(d->firmware);
	assert_true(d->rotational);
	assert_false(d->readonly);
	d = config_find_disk(&config, "bad");
	assert_null(d->file);
	assert_string_equal(opts_get(d->opts, "file.driver"), "fault");
	assert_true(d->readonly);
	assert_null(config_find_disk(&config, "hd1"));
}

static void refuse_disk(const char *text, const char *why)
{
	GError *error = NULL;
	unsigned before = config.disks->len;

	assert_false(config_add_disk(&config, text, &error));
	says(&error, why);
	assert_int_equal(config.disks->len, before);
}

static void test_disk_refused(void **state)
{
	GError *error = NULL;

	(void)state;
	assert_true(config_add_optical(&config, "id=a", NULL));
	assert_true(config_add_disk(&config, "x,id=b", NULL));
	refuse_disk("y,id=a", "another drive has that id");
	refuse_disk("y,id=b", "another disk has that id");
	refuse_disk("", "say which file");
	refuse_disk("file=", "names no file");
	refuse_disk("file=x,driver=raw", "do not go with it");
	refuse_disk("x,serial=123456789012345678901", "at most 20 characters");
	refuse_disk("x,readonly=perhaps", "readonly");
	refuse_disk("x,colour=red", "colour");
	assert_false(config_check_disks(&config, &error));
	says(&error, "hangs on nothing");
	assert_true(config_add_device(&config, "edu", NULL));
	assert_false(config_check_disks(&config, &error));
	says(&error, "--device ahci");
	assert_true(config_add_device(&config, "ide,id=b2", NULL));
	assert_true(config_check_disks(&config, NULL));
}

static void test_disk_as_target(void **state)
{
	const struct disk_config *d;
	GError *error = NULL;

	(void)state;
	assert_true(config_add_disk(&config, "x,block-size=4096,state=/var/x.state", NULL));
	assert_true(config_add_disk(&config, "y", NULL));
	d = config_find_disk(&config, "hd0");
	assert_int_equal(d->block_size, 4096);
	assert_string_equal(d->state, "/var/x.state");
	assert_int_equal(config_find_disk(&config, "hd1")->block_size, 512);
	refuse_disk("z,block-size=1024", "block-size");
	assert_true(config_add_attachment(&config, "vhost-user,socket=/s,drives=hd1", NULL));
	assert_string_equal(config_find_attachment(&config, "scsi0")->socket, "/s");
	assert_true(config_check(&config, NULL));
	assert_false(config_check_disks(&config, &error));
	says(&error, "disk 'hd0' hangs on nothing; give --attach vhost-user,socket=PATH");
	assert_true(config_add_attachment(&config, "vhost-user,socket=/t,id=more", NULL));
	assert_true(config_check_disks(&config, NULL));
	assert_true(config_check(&config, NULL));
	assert_false(config_add_attachment(&config, "vhost-user,socket=/u,id=hd0", &error));
	says(&error, "another disk has that id");
	refuse_disk("z,id=more", "another attachment has that id");
	assert_true(config_add_attachment(&config, "vhost-user,socket=/u,drives=hd1", NULL));
	assert_false(config_check(&config, &error));
	says(&error, "disk 'hd1' is attached at /s");
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

static void test_nbd(void **state)
{
	const struct attach_config *a;

	(void)state;
	assert_true(config_add_disk(&config, "a.raw", NULL));
	assert_true(config_add_disk(&config, "b.raw", NULL));
	assert_true(config_add_attachment(
		&config,
		"nbd,socket=/run/"
		"x,disks=hd1,export=,description=d,,e,readonly=on,clients=3,tls=allow,"
		"tls-creds=/etc/pki,tls-psk=/etc/psk,tls-verify-peer=off",
		NULL));
	assert_true(config_add_attachment(&config, "nbd,host=example.org", NULL));
	assert_true(config_check(&config, NULL));
	a = config.attachments->pdata[0];
	assert_int_equal(a->kind, ATTACH_NBD);
	assert_string_equal(a->socket, "/run/x");
	assert_int_equal(a->clients, 3);
	assert_null(a->nbd->host);
	assert_string_equal(a->nbd->disks[0], "hd1");
	assert_string_equal(a->nbd->export, "");
	assert_string_equal(a->nbd->description, "d,e");
	assert_true(a->nbd->readonly);
	assert_int_equal(a->nbd->tls, NBD_TLS_ALLOW);
	assert_string_equal(a->nbd->tls_creds, "/etc/pki");
	assert_string_equal(a->nbd->tls_psk, "/etc/psk");
	assert_false(a->nbd->tls_verify_peer);
	a = config.attachments->pdata[1];
	assert_string_equal(a->socket, "example.org:10809");
	assert_string_equal(a->nbd->host, "example.org");
	assert_int_equal(a->nbd->port, NBD_DEFAULT_PORT);
	assert_int_equal(a->clients, NBD_DEFAULT_CLIENTS);
	assert_int_equal(a->nbd->tls, NBD_TLS_OFF);
	assert_true(a->nbd->tls_verify_peer);
	assert_string_equal(a->nbd->disks[1], "hd1");
	assert_ptr_equal(config_nbd_of_disk(&config, "hd0"), a);
	assert_ptr_equal(config_nbd_of_disk(&config, "hd1"), config.attachments->pdata[0]);
	assert_null(config_nbd_of_disk(&config, "hd2"));
	assert_true(config_check_disks(&config, NULL));
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
	refuse_attachment("vfio-user", "socket=PATH is missing");
	refuse_attachment("vfio-user,socket=/s,queues=1", "queues");
	refuse_attachment("vhost-user,socket=/s,device=a", "device");
	refuse_attachment("vhost-user-blk,socket=/s,queues=65", "queues");
	refuse_attachment("vhost-user-blk,socket=/s,drives=a", "drives");
	refuse_attachment("vfio-user,socket=/\xff", "must be UTF-8");
}

static void test_device(void **state)
{
	const struct device_config *d;

	(void)state;
	assert_true(config_add_device(&config, "edu,dma-mask=0xff", NULL));
	assert_true(config_add_device(&config, "./my,,dev.so,id=mine,class=two", NULL));
	assert_true(config_add_device(&config, "driver=edu", NULL));
	d = config_find_device(&config, "dev0");
	assert_string_equal(d->driver, "edu");
	assert_string_equal(opts_get(d->opts, "dma-mask"), "0xff");
	assert_string_equal(opts_get(d->opts, "id"), "dev0");
	assert_string_equal(config_find_device(&config, "mine")->driver, "./my,dev.so");
	assert_string_equal(config_find_device(&config, "dev1")->driver, "edu");
	assert_null(config_find_device(&config, "dev2"));
}

static void refuse_device(const char *text, const char *why)
{
	GError *error = NULL;
	unsigned before = config.devices->len;

	assert_false(config_add_device(&config, text, &error));
	says(&error, why);
	assert_int_equal(config.devices->len, before);
}

static void test_device_refused(void **state)
{
	GError *error = NULL;

	(void)state;
	assert_true(config_add_device(&config, "edu,id=a", NULL));
	assert_true(config_add_optical(&config, "id=b", NULL));
	refuse_device("edu,id=a", "another device has that id");
	refuse_device("edu,id=b", "another drive has that id");
	refuse_device("edu,id=a/b", "letters, digits");
	refuse_device("id=c", "say which device first");
	refuse_device("driver=", "say which device first");
	refuse_device("edu,dma-mask=1,dma-mask=2", "given twice");
	assert_false(config_add_optical(&config, "id=a", &error));
	says(&error, "another device has that id");
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

static void attach(const char *text)
{
	g_ptr_array_set_size(config.attachments, 0);
	assert_true(config_add_attachment(&config, text, NULL));
}

static void test_check_devices(void **state)
{
	const struct attach_config *a;

	(void)state;
	assert_true(config_add_device(&config, "edu,id=a", NULL));
	refuse_all("give --attach vfio-user,socket=PATH");
	attach("vhost-user,socket=/s");
	refuse_all("there is no drive");
	attach("vfio-user,socket=/s");
	assert_true(config_check(&config, NULL));
	a = config.attachments->pdata[0];
	assert_int_equal(a->kind, ATTACH_VFIO_USER);
	assert_string_equal(config_attached_device(&config, a)->id, "a");
	assert_true(config_add_device(&config, "edu,id=b", NULL));
	assert_true(config_check(&config, NULL)); /* it was said which */
	attach("vfio-user,socket=/s");
	refuse_all("say which with device=ID");
	attach("vfio-user,socket=/s,device=c");
	refuse_all("device=c: there is no such device");
	attach("vfio-user,socket=/s,device=b");
	assert_true(config_add_attachment(&config, "vfio-user,socket=/t,device=a", NULL));
	assert_true(config_check(&config, NULL));
	assert_string_equal(config_attached_device(&config, config.attachments->pdata[0])->id, "b");
	assert_true(config_add_attachment(&config, "vfio-user,socket=/u,device=b", NULL));
	refuse_all("device 'b' is attached at /s already");
	g_ptr_array_set_size(config.attachments, 2);
	assert_true(config_add_attachment(&config, "vfio-user,socket=/t,device=b", NULL));
	refuse_all("attached at /s already");
	g_ptr_array_set_size(config.attachments, 2);
	assert_true(config_add_optical(&config, "id=cd0", NULL));
	assert_true(config_add_attachment(&config, "vhost-user,socket=/t", NULL));
	refuse_all("/t is given twice");
	g_ptr_array_set_size(config.devices, 0);
	refuse_all("there is no device");
}

static void test_check_virtio_disks(void **state)
{
	const struct attach_config *a;
	GError *error = NULL;

	(void)state;
	attach("vhost-user-blk,socket=/s");
	assert_true(config_add_optical(&config, "", NULL));
	refuse_all("there is no disk");
	assert_true(config_add_disk(&config, "x,id=a", NULL));
	assert_true(config_check_disks(&config, NULL));
	assert_true(config_check(&config, NULL));
	a = config.attachments->pdata[0];
	assert_int_equal(a->kind, ATTACH_VHOST_USER_BLK);
	assert_string_equal(a->disk, "a");
	assert_true(a->packed);
	assert_true(config_add_disk(&config, "y,id=b", NULL));
	assert_false(config_check_disks(&config, &error));
	says(&error, "disk 'b' hangs on nothing");
	attach("vhost-user-blk,socket=/s");
	refuse_all("there are 2 disks");
	attach("vhost-user-blk,socket=/s,disk=c");
	refuse_all("disk=c: there is no such disk");
	attach("vhost-user-blk,socket=/s,disk=b,queues=3,packed=off");
	assert_true(config_check(&config, NULL));
	a = config.attachments->pdata[0];
	assert_int_equal(a->queues, 3);
	assert_false(a->packed);
	assert_true(config_add_attachment(&config, "vhost-user-blk,socket=/t,disk=b", NULL));
	refuse_all("disk 'b' is attached at /s already");
	g_ptr_array_set_size(config.opticals, 0);
	attach("vhost-user-blk,socket=/s,disk=a"); /* disks alone are enough */
	assert_true(config_check(&config, NULL));
	g_ptr_array_set_size(config.attachments, 0);
	refuse_all("give --attach vhost-user-blk,socket=PATH");
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
		cmocka_unit_test_setup_teardown(test_disk, setup, teardown),
		cmocka_unit_test_setup_teardown(test_disk_as_target, setup, teardown),
		cmocka_unit_test_setup_teardown(test_disk_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_attachment, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nbd, setup, teardown),
		cmocka_unit_test_setup_teardown(test_attachment_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_check, setup, teardown),
		cmocka_unit_test_setup_teardown(test_device, setup, teardown),
		cmocka_unit_test_setup_teardown(test_device_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(test_check_devices, setup, teardown),
		cmocka_unit_test_setup_teardown(test_check_virtio_disks, setup, teardown),
		cmocka_unit_test(test_media_record),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
