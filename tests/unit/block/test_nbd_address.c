/* Names and options of NBD exports: what users type, and what is refused. */
#include "block_test.h"

#include "block/nbd/address.h"

/* The name becomes an address that is told as text (NULL: refused with part in the message). */
static void check_name(const char *name, const char *text, const char *part)
{
	struct opts *o = opts_new();
	struct nbd_address a = {0};
	GError *error = NULL;
	bool ok = nbd_parse_name(name, "", o, &error) && nbd_address_init(&a, o, &error);

	if (!ok && text)
		fail_msg("%s: %s", name, error->message);
	if (text) {
		g_autofree char *got = nbd_address_text(&a);

		assert_string_equal(got, text);
		assert_string_equal(opts_get(o, "driver"), "nbd");
	} else {
		assert_false(ok);
		if (!strstr(error->message, part))
			fail_msg("\"%s\" does not say \"%s\"", error->message, part);
	}
	g_clear_error(&error);
	nbd_address_fini(&a);
	opts_free(o);
}

static void test_names(void **state)
{
	(void)state;
	check_name("nbd://host", "nbd://host:10809/", NULL);
	check_name("nbd://host/", "nbd://host:10809/", NULL);
	check_name("nbd+tcp://host:99/a/b", "nbd://host:99/a/b", NULL);
	check_name("nbd://[::1]:99/a%20b", "nbd://[::1]:99/a%20b", NULL);
	check_name("nbd+unix:///?socket=/run/a%26b", "nbd+unix:///?socket=/run/a%26b", NULL);
	check_name("nbd+unix:///x/y?socket=rel", "nbd+unix:///x/y?socket=rel", NULL);
	check_name("nbds://host/x?tls-certificates=/pki", "nbds://host:10809/x", NULL);
	check_name("nbds+unix://me@/?socket=s&tls-psk-file=k", "nbds+unix:///?socket=s", NULL);
	check_name("nbd:host:7", "nbd://host:7/", NULL);
	check_name("nbd:::1:7:exportname=a:b", "nbd://[::1]:7/a:b", NULL);
	check_name("nbd:unix:/a:b:exportname=x", "nbd+unix:///x?socket=/a%3Ab", NULL);
}

static void test_bad_names(void **state)
{
	static const char *const cases[][2] = {
		{"nbd:", "neither"},
		{"nbd:host", "neither"},
		{"nbd:host:", "neither"},
		{"nbd::7", "neither"},
		{"nbd://", "no host"},
		{"nbd:///x", "no host"},
		{"nbd://host:0x10/", "no address"},
		{"nbd://host/x#y", "no address"},
		{"nbd://host/%zz", "no address"},
		{"nbd://host/%00", "no address"},
		{"nbd://me@host/", "user name"},
		{"nbd://host/x?socket=y", "means nothing"},
		{"nbd://host/x?tls-certificates=y", "means nothing"},
		{"nbd+unix:///x", "?socket=PATH"},
		{"nbd+unix:///x?socket=", "empty"},
		{"nbd+unix://h/x?socket=y", "no host"},
		{"nbd+unix:///x?socket=y&z=1", "means nothing"},
		{"nbds://host/", "tls-certificates"},
		{"nbds://host/?tls-psk-file=k", "tls-username"},
		{"nbds://host/?tls-psk-file=k&tls-certificates=d", "either"},
		{"nbd:unix:", "empty"},
	};

	(void)state;
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++)
		check_name(cases[i][0], NULL, cases[i][1]);
}

static void test_long_names(void **state)
{
	g_autofree char *name = g_strnfill(4097, 'x');
	g_autofree char *uri = g_strconcat("nbd://host/", name, NULL);
	g_autofree char *wanted = g_strconcat("nbd://host:10809/", name + 1, NULL);

	(void)state;
	check_name(uri, NULL, "4096");
	uri[strlen(uri) - 1] = '\0';
	check_name(uri, wanted, NULL);
}

/* A format over it is chosen by the user or by what the export holds: so the driver is below. */
static void test_as_an_image(void **state)
{
	struct opts *o = block_parse_name("nbd://host:1/x", NULL);

	(void)state;
	assert_null(opts_get(o, "driver"));
	assert_string_equal(opts_get(o, "file.driver"), "nbd");
	assert_string_equal(opts_get(o, "file.server.host"), "host");
	assert_string_equal(opts_get(o, "file.export"), "x");
	opts_free(o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_bad_names),
		cmocka_unit_test(test_long_names),
		cmocka_unit_test(test_as_an_image),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
