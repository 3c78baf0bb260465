/* Options and sizes as users type them, right and wrong. */
#include "unit_test.h"

#include <errno.h>

#include "base/err.h"
#include "base/opts.h"

static struct opts *parsed(const char *text, const char *implied)
{
	GError *error = NULL;
	struct opts *o = opts_parse(text, implied, &error);

	assert_null(error);
	assert_non_null(o);
	return o;
}

/* Checks that error is set and says text; clears it. */
static void says(GError **error, int errnum, const char *text)
{
	assert_non_null(*error);
	assert_int_equal((*error)->domain, OB_ERROR);
	assert_int_equal((*error)->code, errnum);
	if (!strstr((*error)->message, text))
		fail_msg("\"%s\" not in \"%s\"", text, (*error)->message);
	assert_null(strchr((*error)->message, '\n'));
	g_clear_error(error);
}

static void test_parse(void **state)
{
	struct opts *o = parsed("my,,file.iso,ro,size=4K,name=a=b,,c,empty=", "file");

	(void)state;
	assert_string_equal(opts_get(o, "file"), "my,file.iso");
	assert_string_equal(opts_get(o, "ro"), "on");
	assert_string_equal(opts_get(o, "size"), "4K");
	assert_string_equal(opts_get(o, "name"), "a=b,c");
	assert_string_equal(opts_get(o, "empty"), "");
	assert_null(opts_get(o, "absent"));
	assert_true(opts_check_used(o, "disk", NULL));
	opts_free(o);
	o = parsed("ro,file=x", NULL); /* nothing is implied */
	assert_string_equal(opts_get(o, "ro"), "on");
	opts_free(o);
	o = parsed("file=x", "file");
	assert_string_equal(opts_get(o, "file"), "x");
	opts_free(o);
	o = parsed("", "file");
	assert_null(opts_get(o, "file"));
	opts_free(o);
	o = parsed(",,x", "file");
	assert_string_equal(opts_get(o, "file"), ",x");
	opts_free(o);
	opts_free(NULL);
}

static void test_parse_errors(void **state)
{
	GError *error = NULL;

	(void)state;
	assert_null(opts_parse("a=1,b=2,a=3", NULL, &error));
	says(&error, EINVAL, "\"a\"");
	assert_null(opts_parse("x,file=y", "file", &error));
	says(&error, EINVAL, "\"file\"");
	assert_null(opts_parse("=1", NULL, &error));
	says(&error, EINVAL, "=1");
	assert_null(opts_parse("a=1,=", NULL, NULL));
}

static void test_numbers(void **state)
{
	struct opts *o =
		parsed("n=42,hex=0x1F,big=18446744073709551615,neg=-1,text=4x,none=,oct=010,"
		       "over=18446744073709551616,space= 1,x=0x",
		       NULL);
	static const char *const wrong[] = {"neg", "text", "none", "over", "space", "x"};
	GError *error = NULL;
	uint64_t v = 7;

	(void)state;
	assert_true(opts_get_u64(o, "absent", 0, 9, &v, &error));
	assert_int_equal(v, 7);
	assert_true(opts_get_u64(o, "n", 42, 42, &v, &error));
	assert_int_equal(v, 42);
	assert_true(opts_get_u64(o, "hex", 0, 99, &v, &error));
	assert_int_equal(v, 31);
	assert_true(opts_get_u64(o, "oct", 0, 99, &v, &error));
	assert_int_equal(v, 10);
	assert_true(opts_get_u64(o, "big", 0, UINT64_MAX, &v, &error));
	assert_true(v == UINT64_MAX);
	v = 7;
	assert_false(opts_get_u64(o, "n", 1, 41, &v, &error));
	says(&error, EINVAL, "n=42: must be a number from 1 to 41");
	for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
		assert_false(opts_get_u64(o, wrong[i], 0, UINT64_MAX, &v, &error));
		says(&error, EINVAL, wrong[i]);
	}
	assert_int_equal(v, 7); /* outputs are written only on success */
	opts_free(o);
}

static void test_bools_and_enums(void **state)
{
	static const char *const names[] = {"ide", "scsi", NULL};
	struct opts *o = parsed("a,b=off,c=yes,d=no,e=true,f=false,g=maybe,bus=scsi,bad=usb", NULL);
	GError *error = NULL;
	bool value;
	int bus = -1;

	(void)state;
	for (char key[2] = "a"; key[0] < 'g'; key[0]++) {
		bool wanted = (key[0] - 'a') % 2 == 0;

		value = !wanted;
		assert_true(opts_get_bool(o, key, &value, NULL));
		assert_int_equal(value, wanted);
	}
	assert_false(opts_get_bool(o, "g", &value, &error));
	says(&error, EINVAL, "g=maybe: must be on or off");
	assert_true(opts_get_enum(o, "none", names, &bus, &error));
	assert_int_equal(bus, -1);
	assert_true(opts_get_enum(o, "bus", names, &bus, &error));
	assert_int_equal(bus, 1);
	assert_false(opts_get_enum(o, "bad", names, &bus, &error));
	says(&error, EINVAL, "bad=usb: must be one of ide, scsi");
	opts_free(o);
}

static void test_unused_is_refused(void **state)
{
	struct opts *o = parsed("file=x,sise=1", NULL);
	GError *error = NULL;
	uint64_t size;

	(void)state;
	opts_get(o, "file");
	opts_get_size(o, "size", &size, NULL);
	assert_false(opts_check_used(o, "disk \"x\"", &error));
	says(&error, EINVAL, "disk \"x\": no option \"sise\" here; known: file, size");
	opts_free(o);
}

static void test_sub_and_set(void **state)
{
	struct opts *o = parsed("file.driver=raw,file.path=x,file.=odd,other=1", NULL), *sub;
	GError *error = NULL;

	(void)state;
	opts_set(o, "file.path", "y");
	opts_set(o, "more", "z");
	sub = opts_sub(o, "file.");
	assert_string_equal(opts_get(sub, "driver"), "raw");
	assert_string_equal(opts_get(sub, "path"), "y");
	assert_true(opts_check_used(sub, "file", NULL));
	opts_get(o, "other");
	assert_string_equal(opts_get(o, "more"), "z");
	assert_false(opts_check_used(o, "disk", &error));
	says(&error, EINVAL, "\"file.\"");
	opts_free(sub);
	opts_free(o);
}

static void test_sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} right[] = {
		{"0", 0},
		{"512", 512},
		{"1K", 1024},
		{"100M", 100 << 20},
		{"100m", 100 << 20},
		{"4.5G", 4831838208},
		{"1T", 1ull << 40},
		{"2P", 2ull << 50},
		{"0.5K", 512},
		{"18446744073709551615", UINT64_MAX},
		{"16383P", 16383ull << 50},
	};
	static const char *const wrong[] = {
		"",    " 1",  "1 ",  "-1", "+1",   "K",    ".5K",
		"1.K", "1.5", "1KB", "1E", "0x10", "1,5K", "1.5.5K",
	};
	GError *error = NULL;
	uint64_t v;

	(void)state;
	for (unsigned i = 0; i < G_N_ELEMENTS(right); i++) {
		v = 1;
		assert_true(size_parse(right[i].text, &v, &error));
		assert_true(v == right[i].bytes);
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(wrong); i++) {
		assert_false(size_parse(wrong[i], &v, &error));
		says(&error, EINVAL, wrong[i]);
	}
	assert_false(size_parse("18446744073709551616", &v, &error));
	says(&error, ERANGE, "too large");
	assert_false(size_parse("16384P", &v, &error));
	says(&error, ERANGE, "too large");
}

static void test_size_option(void **state)
{
	struct opts *o = parsed("size=4.5G,bad=huge", NULL);
	GError *error = NULL;
	uint64_t v = 0;

	(void)state;
	assert_true(opts_get_size(o, "size", &v, &error));
	assert_true(v == 4831838208);
	assert_false(opts_get_size(o, "bad", &v, &error));
	says(&error, EINVAL, "option bad: \"huge\"");
	opts_free(o);
}

static void test_size_text(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *text;
	} cases[] = {
		{0, "0 bytes"},           {999, "999 bytes"},      {1000, "1.0 kB"},
		{1049, "1.0 kB"},         {1050, "1.1 kB"},        {999949, "999.9 kB"},
		{999950, "1.0 MB"},       {1000000, "1.0 MB"},     {4700372992, "4.7 GB"},
		{25025314816, "25.0 GB"}, {736966656, "737.0 MB"}, {100103356416, "100.1 GB"},
		{UINT64_MAX, "18.4 EB"},
	};

	(void)state;
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		char *text = size_text(cases[i].bytes);

		assert_string_equal(text, cases[i].text);
		g_free(text);
	}
}

static void test_error_helpers(void **state)
{
	GError *error = NULL;

	(void)state;
	assert_false(err_set(NULL, EINVAL, "nobody asks"));
	assert_false(err_prefix(NULL, "nobody asks"));
	assert_false(err_prefix(&error, "there is none"));
	assert_null(error);
	assert_false(err_set_errno(&error, ENOENT, "cannot open %s", "x"));
	assert_false(err_prefix(&error, "disc %d", 1));
	says(&error, ENOENT, "disc 1: cannot open x: No such file");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_parse_errors),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_bools_and_enums),
		cmocka_unit_test(test_unused_is_refused),
		cmocka_unit_test(test_sub_and_set),
		cmocka_unit_test(test_sizes),
		cmocka_unit_test(test_size_option),
		cmocka_unit_test(test_size_text),
		cmocka_unit_test(test_error_helpers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
