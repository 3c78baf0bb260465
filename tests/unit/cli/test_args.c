/* Command lines, right and mistyped. */
#include "cli_test.h"

#include "cli/args.h"
#include "cli/suggest.h"

static const struct cli_option options[] = {
	{"type", "TYPE", 't'},
	{"disc", "FILE", 'd', OPTION_MANY | OPTION_FILE},
	{"mode", "MODE", 0, 0, "tao|sao"},
	{"force", NULL, 'f'},
	{"json"},
	{NULL},
};

static const struct cli_command plain = {.name = "plain",
					 .options = options,
					 .operands = "FILE IMAGE",
					 .min_operands = 1,
					 .max_operands = 2};
static const struct cli_command wrapper = {
	.name = "wrapper", .options = options, .operands = "-- VMM", .takes_rest = true};

static struct args *parse(const struct cli_command *c, GError **error, const char *first, ...)
{
	static char *argv[16];
	unsigned n = 0;
	va_list ap;

	va_start(ap, first);
	for (const char *word = first; word; word = va_arg(ap, const char *))
		argv[n++] = (char *)word;
	va_end(ap);
	argv[n] = NULL;
	return args_parse(c, argv, error);
}

#define parse_good(c, ...) parse(c, NULL, __VA_ARGS__, (char *)NULL)

static void test_forms(void **state)
{
	struct args *a = parse_good(&plain, "a", "--type=x", "-fd", "one", "-dtwo", "--disc",
				    "three", "b", "-vv");

	(void)state;
	assert_non_null(a);
	assert_int_equal(args_operands(a), 2);
	assert_string_equal(args_operand(a, 0), "a");
	assert_string_equal(args_operand(a, 1), "b");
	assert_null(args_operand(a, 2));
	assert_string_equal(args_value(a, "type"), "x");
	assert_true(args_has(a, "force"));
	assert_false(args_has(a, "json"));
	assert_int_equal(args_count(a, "disc"), 3);
	assert_string_equal(args_value_n(a, "disc", 0), "one");
	assert_string_equal(args_value_n(a, "disc", 1), "two");
	assert_string_equal(args_value(a, "disc"), "three");
	assert_null(args_value_n(a, "disc", 3));
	assert_int_equal(args_count(a, "verbose"), 2);
	args_free(a);
}

static void test_end_of_options(void **state)
{
	struct args *a = parse_good(&plain, "--", "--type", "-f");

	(void)state;
	assert_string_equal(args_operand(a, 0), "--type");
	assert_string_equal(args_operand(a, 1), "-f");
	args_free(a);
	a = parse_good(&plain, "-");
	assert_string_equal(args_operand(a, 0), "-");
	args_free(a);
	a = parse_good(&wrapper, "-f", "--", "vmm", "--", "--type");
	assert_true(args_rest_given(a));
	assert_string_equal(args_rest(a)[0], "vmm");
	assert_string_equal(args_rest(a)[1], "--");
	assert_string_equal(args_rest(a)[2], "--type");
	assert_null(args_rest(a)[3]);
	args_free(a);
	a = parse_good(&wrapper, "-f");
	assert_false(args_rest_given(a));
	assert_null(args_rest(a)[0]);
	args_free(a);
}

static void test_help_needs_nothing_else(void **state)
{
	struct args *a = parse_good(&plain, "--help");

	(void)state;
	assert_non_null(a);
	assert_true(args_has(a, "help"));
	args_free(a);
}

#define refuse(c, text, ...)                                               \
	do {                                                               \
		GError *error_ = NULL;                                     \
		assert_null(parse(c, &error_, __VA_ARGS__, (char *)NULL)); \
		says(&error_, text);                                       \
	} while (0)

static void test_refusals(void **state)
{
	(void)state;
	refuse(&plain, "there is no option --tpye; did you mean --type?", "a", "--tpye", "x");
	refuse(&plain, "did you mean --verbose?", "a", "--verbos");
	refuse(&plain, "there is no option --zzzzzz", "a", "--zzzzzz");
	refuse(&plain, "there is no option -x", "a", "-x");
	refuse(&plain, "--type needs a TYPE", "a", "--type");
	refuse(&plain, "-t needs a TYPE", "a", "-t");
	refuse(&plain, "not empty", "a", "--type=");
	refuse(&plain, "--force takes no value", "a", "--force=yes");
	refuse(&plain, "--type is given twice", "a", "--type", "x", "-t", "y");
	refuse(&plain, "it is one of tao|sao", "a", "--mode", "dao");
	refuse(&plain, "it needs FILE IMAGE", "-f");
	refuse(&plain, "'c' is too much", "a", "b", "c");
	refuse(&wrapper, "before --", "a", "--", "b");
}

static void test_distance(void **state)
{
	static const char long_word[] =
		"abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghij";

	(void)state;
	assert_int_equal(suggest_distance("", ""), 0);
	assert_int_equal(suggest_distance("abc", ""), 3);
	assert_int_equal(suggest_distance("create", "creat"), 1);
	assert_int_equal(suggest_distance("create", "craete"), 1);
	assert_int_equal(suggest_distance("kitten", "sitting"), 3);
	assert_true(suggest_distance(long_word, "a") > 10);
}

static void test_nearest(void **state)
{
	static const char *const names[] = {"run", "serve", "disc", "version"};

	(void)state;
	assert_string_equal(suggest_nearest("sevre", names, 4), "serve");
	assert_string_equal(suggest_nearest("vers", names, 4), "version");
	assert_string_equal(suggest_nearest("dsic", names, 4), "disc");
	assert_null(suggest_nearest("image", names, 4));
	assert_null(suggest_nearest("anything", names, 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_end_of_options),
		cmocka_unit_test(test_help_needs_nothing_else),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_distance),
		cmocka_unit_test(test_nearest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
