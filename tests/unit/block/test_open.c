/* Names as users type them, probing, the guard of a raw image, names that lead out of a folder. */
#include "block_test.h"

#include <stdio.h>
#include <sys/stat.h>

#include "base/log.h"
#include "block/mem.h"

static char folder[] = "/tmp/outboard-open-XXXXXX";

static char *in_folder(const char *name)
{
	return g_build_filename(folder, name, NULL);
}

static void write_file(const char *name, const void *data, size_t n, size_t size)
{
	g_autofree char *path = in_folder(name);
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, n, f), n);
	assert_int_equal(ftruncate(fileno(f), (off_t)size), 0);
	assert_int_equal(fclose(f), 0);
}

static co_fn void must_fail(const char *name, const char *format, const char *says)
{
	GError *error = NULL;

	assert_null(block_open_image(name, format, 0, &error));
	assert_non_null(error);
	if (!strstr(error->message, says))
		fail_msg("\"%s\" does not say \"%s\"", error->message, says);
	g_error_free(error);
}

static void test_names(void)
{
	static const struct {
		const char *name, *key, *value; /* value NULL: refused, key is in the message */
	} rows[] = {
		{"a.img", "filename", "a.img"},
		{"file:a:b", "filename", "a:b"},
		{"./a:b", "filename", "./a:b"},
		{"/x/a:b", "filename", "/x/a:b"},
		{"json:{\"driver\":\"raw\",\"file\":{\"filename\":\"x\"}}", "file.filename", "x"},
		{"json:{\"a\":[{\"b\":true},7]}", "a.0.b", "on"},
		{"json:{\"a\":[{\"b\":true},7]}", "a.1", "7"},
		{"json:{\"backing\":null}", "backing", ""},
		{"", "empty", NULL},
		{"file:", "there is no protocol", NULL},
		{"nbd://host/x", "file.server.host", "host"},
		{"nbd+unix:///?socket=x", "file.server.path", "x"},
		{"iscsi://host/x", "\"iscsi\" is not supported", NULL},
		{"nix:x", "there is no protocol \"nix\"", NULL},
		{"json:{", "json:", NULL},
		{"json:[]", "object", NULL},
		{"json:{\"a\":1,\"a\":2}", "json:", NULL},
		{"json:{\"a\":1.5}", "fraction", NULL},
		{"json:{\"\":1}", "empty", NULL},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		GError *error = NULL;
		struct opts *o = block_parse_name(rows[i].name, &error);

		if (rows[i].value) {
			assert_non_null(o);
			assert_string_equal(opts_get(o, rows[i].key), rows[i].value);
		} else {
			assert_null(o);
			assert_non_null(strstr(error->message, rows[i].key));
			g_error_free(error);
		}
		opts_free(o);
	}
}

static void test_deep_json(void)
{
	GString *text = g_string_new("json:");

	for (unsigned i = 0; i < 40; i++)
		g_string_append(text, "{\"file\":");
	g_string_append(text, "1");
	for (unsigned i = 0; i < 40; i++)
		g_string_append(text, "}");
	assert_null(block_parse_name(text->str, NULL));
	g_string_free(text, TRUE);
	must_refuse("driver=raw,file.file.file.file.file.file.file.file.file.driver=mem", 0,
		    "nested");
}

static void test_probe(void)
{
	static const struct {
		const char *head;
		size_t len;
		const char *format;
	} rows[] = {
		{"", 0, "raw"},
		{"QFI\xfb\0\0\0\1", 8, "qcow"},
		{"QED\0", 4, "qed"},
		{"KDMV", 4, "vmdk"},
		{"# Disk\n\n#x\nversion=1\n", 22, "vmdk"},
		{"# Disk\n\n#x\nversion=9\n", 22, "raw"},
		{"version=1", 9, "vmdk"},
		{"version=", 8, "raw"},
		{"vhdxfile", 8, "vhdx"},
		{"conectix", 8, "vpc"},
		{"LUKS\xba\xbe", 6, "luks"},
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		assert_string_equal(
			block_probe((const uint8_t *)rows[i].head, rows[i].len, "x.dmg"),
			rows[i].format);
	}
}

static void quiet(enum log_level level, const char *area, const char *text, void *arg)
{
	(void)level;
	(void)area;
	(void)text;
	++*(unsigned *)arg;
}

static void test_guard(void)
{
	static const char vmdk[] = "# Disk DescriptorFile\nversion=1\n";
	g_autofree char *path = in_folder("guard");
	struct block_node *node;
	unsigned lines = 0;
	uint8_t buf[1024] = {0};

	write_file("guard", "hello", 5, 4096);
	node = block_open_image(path, NULL, BLOCK_RDWR, NULL);
	assert_non_null(node);
	assert_string_equal(block_driver_name(node), "raw");
	log_set_sink(quiet, &lines);
	memcpy(buf, vmdk, sizeof(vmdk));
	assert_int_equal(block_pwrite(node, 0, buf, 1024, 0), -EPERM);
	assert_int_equal(lines, 1);
	/* nor in two steps */
	assert_int_equal(block_pwrite(node, 8, vmdk + 8, sizeof(vmdk) - 8, 0), 0);
	assert_int_equal(block_pwrite(node, 0, vmdk, 8, 0), -EPERM);
	assert_int_equal(block_pwrite(node, 512, buf, 512, 0), 0);
	assert_int_equal(block_pwrite(node, 0, "plain", 5, 0), 0);
	assert_int_equal(block_discard_zero(node, 0, 4096), 0);
	block_unref(node);
	node = block_open_image(path, "raw", BLOCK_RDWR, NULL);
	assert_int_equal(block_pwrite(node, 0, buf, 1024, 0), 0);
	block_unref(node);
	log_set_sink(NULL, NULL);
	must_fail(path, NULL, "vmdk: the descriptor at offset 0 has no CID");
	write_file("guard", "WithoutFreeSpace", 16, 4096);
	must_fail(path, NULL, "looks like format \"parallels\"");
}

static void test_beneath(void)
{
	static const struct {
		const char *name;
		bool ok;
	} rows[] = {
		{"in", true},
		{"sub/deep", true},
		{"sub/../in", true},
		{"link-in", true},
		{"../etc/passwd", false},
		{"/etc/passwd", false},
		{"link-out", false},
		{"link-up/etc/passwd", false},
		{"fifo", false},
		{"sub", false},
		{"none", false},
	};
	g_autofree char *sub = in_folder("sub"), *fifo = in_folder("fifo");
	g_autofree char *in = in_folder("link-in"), *out = in_folder("link-out");
	g_autofree char *up = in_folder("link-up");

	assert_int_equal(mkdir(sub, 0700), 0);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	assert_int_equal(symlink("sub/deep", in), 0);
	assert_int_equal(symlink("/etc/passwd", out), 0);
	assert_int_equal(symlink("../..", up), 0);
	write_file("in", "x", 1, 512);
	write_file("sub/deep", "x", 1, 512);
	for (unsigned i = 0; i < G_N_ELEMENTS(rows); i++) {
		g_autofree char *text =
			g_strdup_printf("driver=file,filename=%s,beneath=%s", rows[i].name, folder);
		struct block_node *node = open_text(text, 0, NULL);

		if ((node != NULL) != rows[i].ok)
			fail_msg("%s: %s", rows[i].name, node ? "opened" : "refused");
		block_unref(node);
	}
}

IN_LOOP(test_deep_json)
IN_LOOP(test_guard)
IN_LOOP(test_beneath)

static void run_test_names(void **state)
{
	(void)state;
	test_names();
}

static void run_test_probe(void **state)
{
	(void)state;
	test_probe();
}

static int make_folder(void **state)
{
	(void)state;
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
	const char *const argv[] = {"rm", "-r", folder, NULL};

	(void)state;
	return g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, NULL, NULL,
			    NULL, NULL)
		       ? 0
		       : -1;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(run_test_names),   cmocka_unit_test(run_test_deep_json),
		cmocka_unit_test(run_test_probe),   cmocka_unit_test(run_test_guard),
		cmocka_unit_test(run_test_beneath),
	};

	return backend_is_missing() ? EXIT_SKIPPED
				    : cmocka_run_group_tests(tests, make_folder, remove_folder);
}
