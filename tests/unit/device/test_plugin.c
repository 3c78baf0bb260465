/* Loading plug-ins: an older one works, what is none is refused with the reason. */
#include "lab.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

static const char *folder; /* of the built plug-ins */

static char *options_for(const char *name, const char *more)
{
	return g_strdup_printf("driver=%s/%s.so%s", folder, name, more);
}

static void refused(const char *name, const char *more, const char *reason)
{
	char *options = options_for(name, more);
	char *text = refuse_device(NULL, options);

	if (!strstr(text, reason))
		fail_msg("\"%s\" does not say \"%s\"", text, reason);
	g_free(text);
	g_free(options);
}

static void older_co(void *arg)
{
	char *options = options_for("old", ",start=7"), *path = g_strdup(strchr(options, '=') + 1);
	const struct ob_plugin *desc;
	struct fake_host h;
	struct device *d;
	void *handle;

	(void)arg;
	*strchr(path, ',') = 0;
	handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	assert_non_null(handle);
	desc = dlsym(handle, "ob_plugin");
	assert_true(desc->classes[0]->size < sizeof(struct ob_class)); /* it is older indeed */
	assert_true(desc->classes[0]->props[0].size < sizeof(struct ob_prop));
	d = make_device(NULL, options);
	assert_string_equal(device_class_name(d), "old");
	fake_host_init(&h, device_function(d), true);
	assert_int_equal(bar_read(&h, 0, 8, 4), 7);
	bar_write(&h, 0, 0, 77, 4);
	assert_true(h.level);
	assert_int_equal(bar_read(&h, 0, 0, 4), 77);
	fake_host_fini(&h);
	device_free(d);
	dlclose(handle);
	refused("old", ",start=10", "start=10: must be a number from 0 to 9");
	refused("old", ",size=1", "no option \"size\" here; known: ");
	g_free(path);
	g_free(options);
}

static void refusals_co(void *arg)
{
	char *text;

	(void)arg;
	refused("bad-no-symbol", "", "has no symbol ob_plugin");
	refused("bad-wrong-abi", "", "was built for ABI 2 of the SDK, this outboard has ABI 1");
	refused("bad-wrong-magic", "", "its symbol ob_plugin is something else");
	refused("bad-no-class", "", "names no device class");
	refused("bad-unresolved", "", "nobody_has_this");
	refused("bad-several", "", "choose with class=, of one, two, lacking");
	refused("bad-several", ",class=three", "has no device \"three\"; it has one, two, lacking");
	refused("bad-several", ",class=lacking", "class lacking has no open()");
	refused("not-there", "", "No such file");
	text = refuse_device(NULL, "driver=/etc/passwd");
	assert_non_null(strstr(text, "/etc/passwd is no shared library"));
	g_free(text);
	text = refuse_device(NULL, "driver=/dev/null");
	assert_non_null(strstr(text, "is no file"));
	g_free(text);
	text = refuse_device(NULL, "driver=/tmp");
	assert_non_null(strstr(text, "is no file"));
	g_free(text);
	text = refuse_device(NULL, "driver=ed");
	assert_non_null(strstr(text, "no device \"ed\"; known: edu"));
	g_free(text);
	text = refuse_device(NULL, "id=x");
	assert_non_null(strstr(text, "option driver is required"));
	g_free(text);
}

static void chosen_co(void *arg)
{
	char *options = options_for("bad-several", ",class=two,id=mine");
	struct device *d = make_device(NULL, options);

	(void)arg;
	assert_string_equal(device_class_name(d), "two");
	assert_string_equal(device_id(d), "mine");
	device_free(d);
	g_free(options);
}

/* Every length of a real library, cut: refused, and nothing worse. */
static void torn_files_co(void *arg)
{
	char *path = g_strdup_printf("%s/torn-%d.so", g_get_tmp_dir(), getpid()), *from, *data;
	char *options = g_strdup_printf("driver=%s", path);
	static const size_t lens[] = {0, 1, 4, 63, 64, 65, 100};
	gsize len;

	(void)arg;
	from = g_strdup_printf("%s/bad-several.so", folder);
	assert_true(g_file_get_contents(from, &data, &len, NULL));
	for (unsigned i = 0; i < G_N_ELEMENTS(lens); i++) {
		assert_true(g_file_set_contents(path, data, (gssize)lens[i], NULL));
		g_free(refuse_device(NULL, options));
	}
	data[18] ^= 0x7f; /* another machine */
	assert_true(g_file_set_contents(path, data, (gssize)len, NULL));
	g_free(data);
	data = refuse_device(NULL, options);
	assert_non_null(strstr(data, "another kind of machine"));
	unlink(path);
	g_free(data);
	g_free(from);
	g_free(path);
	g_free(options);
}

LAB_TEST(older)
LAB_TEST(refusals)
LAB_TEST(chosen)
LAB_TEST(torn_files)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(older),
		cmocka_unit_test(refusals),
		cmocka_unit_test(chosen),
		cmocka_unit_test(torn_files),
	};

	folder = argc > 1 ? argv[1] : ".";
	return RUN_LOOP_TESTS(tests);
}
