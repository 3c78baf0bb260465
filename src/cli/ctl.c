/* outboard ctl: commands to a running daemon. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "cli/cli.h"
#include "cli/suggest.h"
#include "control/client.h"

static json_t *file_argument(const char *path, GError **error)
{
	g_autofree char *full =
		g_canonicalize_filename(path, NULL); /* the daemon may live elsewhere */
	json_t *j = json_string(full);

	if (!j)
		err_set(error, EILSEQ, "%s: the name is not UTF-8, which the control socket needs",
			path);
	return j;
}

/* What goes with the command; NULL with error set when the operands do not fit. */
static json_t *make_arguments(const struct args *a, const char *command, GError **error)
{
	unsigned n = args_operands(a) - 1;
	bool insert = !strcmp(command, "insert"), eject = !strcmp(command, "eject");
	const char *id = insert ? (n == 2 ? args_operand(a, 1) : NULL) : args_operand(a, 1);
	json_t *j = json_object();

	if (insert ? n < 1 : n > eject) {
		err_set(error, EINVAL, insert ? "insert needs a FILE" : "'%s' is too much",
			args_operand(a, n));
		goto fail;
	}
	if (args_has(a, "force") && !eject) {
		err_set(error, EINVAL, "--force is for eject");
		goto fail;
	}
	if (id)
		json_object_set_new(j, "id", json_string(id));
	if (eject)
		json_object_set_new(j, "force", json_boolean(args_has(a, "force")));
	if (insert) {
		json_t *file = file_argument(args_operand(a, n), error);

		if (!file)
			goto fail;
		json_object_set_new(j, "disc", file);
	}
	return j;

fail:
	json_decref(j);
	return NULL;
}

static const char *text_of(const json_t *j, const char *key, const char *otherwise)
{
	const char *text = json_string_value(json_object_get(j, key));

	return text ? text : otherwise;
}

static long long number_of(const json_t *j, const char *key)
{
	return json_integer_value(json_object_get(j, key));
}

static void print_attachment(const json_t *j)
{
	const char *device = text_of(j, "device", NULL);

	printf("%s %s\n    %lld connected, ", text_of(j, "type", "?"), text_of(j, "socket", "?"),
	       number_of(j, "clients"));
	if (device) {
		printf("device %s, %lld accesses, %lld interrupts, ", device,
		       number_of(j, "accesses"), number_of(j, "interrupts"));
	} else {
		printf("%lld requests, ", number_of(j, "requests"));
	}
	printf("%lld protocol errors\n", number_of(j, "protocol_errors"));
}

static void print_status(const json_t *status)
{
	const json_t *entry;
	size_t i;

	json_array_foreach(json_object_get(status, "drives"), i, entry)
		printf("drive %-8s %s\n    disc: %s\n", text_of(entry, "id", "?"),
		       text_of(entry, "state", "?"), text_of(entry, "disc", "none"));
	json_array_foreach(json_object_get(status, "devices"), i, entry)
		printf("device %-7s %s (%s), PCI %s:%s%s\n", text_of(entry, "id", "?"),
		       text_of(entry, "class", "?"), text_of(entry, "driver", "?"),
		       text_of(entry, "vendor", "?"), text_of(entry, "device", "?"),
		       json_is_true(json_object_get(entry, "stopped")) ? ", stopped" : "");
	json_array_foreach(json_object_get(status, "attachments"), i, entry)
		print_attachment(entry);
}

static int unknown(const struct args *a, const char *command)
{
	static const char *const names[] = {"status", "insert", "eject", "quit"};
	const char *near = suggest_nearest(command, names, G_N_ELEMENTS(names));

	if (near)
		return cli_misused_text(a, "there is no '%s'; did you mean '%s'?", command, near);
	return cli_misused_text(a, "there is no '%s'; there are status, insert, eject and quit",
				command);
}

static int run_ctl(const struct args *a)
{
	static const char *const names[] = {"status", "insert", "eject", "quit", NULL};
	const char *command = args_operand(a, 0), *path = args_value(a, "socket");
	json_t *arguments, *result;
	GError *error = NULL;

	if (!g_strv_contains(names, command))
		return unknown(a, command);
	if (!path)
		return cli_misused_text(a, "--socket PATH is missing: the one that 'outboard serve "
					   "--control' was given");
	arguments = make_arguments(a, command, &error);
	if (!arguments)
		return cli_misused(a, error);
	result = control_ask(path, command, arguments, &error);
	json_decref(arguments);
	if (!result)
		return cli_failed(a, error);
	if (args_has(a, "json"))
		return cli_print_json(a, result);
	if (!strcmp(command, "status"))
		print_status(result);
	json_decref(result);
	return cli_finish_output(a, STATUS_DONE);
}

static const struct cli_option ctl_options[] = {
	{"socket", "PATH", 's', OPTION_FILE},
	{"force"},
	{"json"},
	{NULL},
};

const struct cli_command command_ctl = {
	.name = "ctl",
	.options = ctl_options,
	.operands = "status|insert|eject|quit [ID] [FILE]",
	.min_operands = 1,
	.max_operands = 3,
	.run = run_ctl,
};
