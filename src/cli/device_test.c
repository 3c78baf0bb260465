/*
 * outboard device test: a program runs in a guest that has the device. The work is done by
 * guest/device_test.py, which starts `outboard run` in turn; this checks what it is given and
 * becomes that.
 */
#include <errno.h>
#include <unistd.h>

#include "base/err.h"
#include "cli/cli.h"
#include "cli/places.h"
#include "control/config.h"

static const char *const PYTHON = "/usr/bin/python3";

static bool check_file(const char *path, GError **error)
{
	if (!g_file_test(path, G_FILE_TEST_EXISTS))
		return err_set_errno(error, ENOENT, "%s", path);
	return g_file_test(path, G_FILE_TEST_IS_REGULAR) ||
	       err_set(error, EINVAL, "%s is no file", path);
}

static bool check_timeout(const char *text, GError **error)
{
	guint64 seconds;

	return !text || g_ascii_string_to_unsigned(text, 10, 1, 86400, &seconds, NULL) ||
	       err_set(error, EINVAL, "--timeout %s: it takes whole seconds, 1 to 86400", text);
}

static bool check_words(const struct args *a, GError **error)
{
	struct daemon_config config;
	bool good;

	config_init(&config);
	good = config_add_device(&config, args_operand(a, 0), error);
	config_fini(&config);
	return good && check_timeout(args_value(a, "timeout"), error);
}

static void add_option(GPtrArray *argv, const char *option, const char *value)
{
	if (!value)
		return;
	g_ptr_array_add(argv, g_strdup(option));
	g_ptr_array_add(argv, g_strdup(value));
}

static int become(const struct args *a, GPtrArray *argv)
{
	GError *error = NULL;

	g_ptr_array_add(argv, NULL);
	execv(PYTHON, (char **)argv->pdata);
	execvp("python3", (char **)argv->pdata);
	err_set_errno(&error, errno, "python3 cannot be started");
	return cli_failed(a, error);
}

static int run_test(const struct args *a)
{
	g_autoptr(GPtrArray) argv = g_ptr_array_new_with_free_func(g_free);
	g_autofree char *script = NULL, *program = places_program();
	GError *error = NULL;

	if (!check_words(a, &error))
		return cli_misused(a, error);
	for (unsigned i = 1; i < args_operands(a); i++) {
		if (!check_file(args_operand(a, i), &error))
			return cli_failed(a, error);
	}
	script = places_find("guest/device_test.py", &error);
	if (!script)
		return cli_failed(a, error);
	g_ptr_array_add(argv, g_strdup("python3"));
	g_ptr_array_add(argv, g_strdup(script));
	add_option(argv, "--outboard", program);
	add_option(argv, "--qemu", args_value(a, "qemu"));
	add_option(argv, "--timeout", args_value(a, "timeout"));
	g_ptr_array_add(argv, g_strdup("--"));
	for (unsigned i = 0; i < args_operands(a); i++)
		g_ptr_array_add(argv, g_strdup(args_operand(a, i)));
	return become(a, argv);
}

static const struct cli_option test_options[] = {
	{"qemu", "PATH", 0, OPTION_FILE},
	{"timeout", "SECONDS"},
	{NULL},
};

const struct cli_command command_device_test = {
	.name = "device test",
	.options = test_options,
	.operands = "DEVICE TEST [FILE...]",
	.min_operands = 2,
	.max_operands = 100,
	.run = run_test,
};
