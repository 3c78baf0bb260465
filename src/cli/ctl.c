/* outboard ctl: commands to a running daemon. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/opts.h"
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

static json_t *utf8_or_error(const char *text, GError **error)
{
	json_t *j = json_string(text);

	if (!j)
		err_set(error, EILSEQ, "%s: it is not UTF-8, which the control socket needs", text);
	return j;
}

/* text with "/our/folder/" put in at a place, its commas doubled. */
static char *insert_folder(const char *text, size_t at, bool is_command)
{
	g_autofree char *cwd = g_get_current_dir();
	g_autofree char *quoted = is_command ? g_shell_quote(cwd) : g_strdup(cwd);
	g_auto(GStrv) parts = g_strsplit(quoted, ",", -1);
	g_autofree char *doubled = g_strjoinv(",,", parts);

	return g_strdup_printf("%.*s%s/%s", (int)at, text, doubled, text + at);
}

/*
 * A relative path in an option text is meant from here, not from the daemon's folder. It is the
 * first value, perhaps behind its key. A device's is one only with a slash in it, or behind
 * "unix:"; behind "exec:" it is the first word of the command.
 */
static json_t *device_argument(const char *spec, GError **error)
{
	size_t at = g_str_has_prefix(spec, "driver=") ? strlen("driver=") : 0;
	bool is_exec = g_str_has_prefix(spec + at, "exec:");
	bool is_unix = g_str_has_prefix(spec + at, "unix:");
	g_autofree char *full = NULL;
	size_t len;

	at += is_exec || is_unix ? strlen("exec:") : 0;
	len = strcspn(spec + at, is_exec ? ", " : ",=");
	if (spec[at] != '/' && (is_unix ? len > 0 : memchr(spec + at, '/', len) != NULL) &&
	    !g_str_has_prefix(spec + at, "tcp:"))
		full = insert_folder(spec, at, is_exec);
	return utf8_or_error(full ? full : spec, error);
}

static json_t *disk_argument(const char *spec, GError **error)
{
	size_t at = g_str_has_prefix(spec, "file=") ? strlen("file=") : 0;
	size_t len = strcspn(spec + at, ",=");
	g_autofree char *full = NULL;

	if (len && spec[at] != '/' && spec[at + len] != '=')
		full = insert_folder(spec, at, false);
	return utf8_or_error(full ? full : spec, error);
}

static bool set_argument(json_t *j, const char *key, json_t *value)
{
	return value && !json_object_set_new(j, key, value);
}

/* What the operands of a command are called; those in [] may be left out. */
static const struct syntax {
	const char *name, *operands;
	unsigned min, max;
} syntaxes[] = {
	{"status", "", 0, 0},
	{"insert", "[ID] FILE", 1, 2},
	{"eject", "[ID]", 0, 1},
	{"add-device", "DEVICE SOCKET", 2, 2},
	{"remove-device", "ID", 1, 1},
	{"add-disk", "DISK", 1, 1},
	{"remove-disk", "ID", 1, 1},
	{"resize-disk", "ID SIZE", 2, 2},
	{"plug", "DEVICE SLOT ID", 3, 3},
	{"unplug", "DEVICE SLOT", 2, 2},
	{"quit", "", 0, 0},
};

static bool check_operands(const struct args *a, const struct syntax *s, GError **error)
{
	unsigned n = args_operands(a) - 1;

	if (n < s->min)
		return err_set(error, EINVAL, "%s needs %s", s->name,
			       !strcmp(s->name, "insert") ? "a FILE" : s->operands);
	if (n > s->max)
		return err_set(error, EINVAL, "'%s' is too much", args_operand(a, n));
	if (args_has(a, "force") && strcmp(s->name, "eject") != 0)
		return err_set(error, EINVAL, "--force is for eject");
	return true;
}

static bool set_name(json_t *j, const char *key, const char *name, GError **error)
{
	return set_argument(j, key, json_string(name)) ||
	       err_set(error, EILSEQ, "%s: the name is not UTF-8", name);
}

/* DEVICE SLOT [ID] */
static bool fill_slot(const struct args *a, json_t *j, GError **error)
{
	const char *text = args_operand(a, 2), *unit = args_operand(a, 3);
	guint64 slot;

	if (!g_ascii_string_to_unsigned(text, 10, 0, G_MAXUINT8, &slot, NULL))
		return err_set(error, EINVAL, "'%s' is no SLOT: a number from 0 to %d", text,
			       G_MAXUINT8);
	json_object_set_new(j, "slot", json_integer((json_int_t)slot));
	return set_name(j, "device", args_operand(a, 1), error) &&
	       (!unit || set_name(j, "id", unit, error));
}

/* ID SIZE */
static bool fill_size(const struct args *a, json_t *j, GError **error)
{
	uint64_t bytes;

	if (!size_parse(args_operand(a, 2), &bytes, error))
		return false;
	if (bytes > INT64_MAX)
		return err_set(error, EFBIG, "'%s' is too much", args_operand(a, 2));
	json_object_set_new(j, "bytes", json_integer((json_int_t)bytes));
	return set_name(j, "id", args_operand(a, 1), error);
}

static bool fill_arguments(const struct args *a, const char *command, json_t *j, GError **error)
{
	unsigned n = args_operands(a) - 1;
	bool insert = !strcmp(command, "insert");

	if (!strcmp(command, "add-device"))
		return set_argument(j, "device", device_argument(args_operand(a, 1), error)) &&
		       set_argument(j, "socket", file_argument(args_operand(a, 2), error));
	if (!strcmp(command, "add-disk"))
		return set_argument(j, "disk", disk_argument(args_operand(a, 1), error));
	if (!strcmp(command, "resize-disk"))
		return fill_size(a, j, error);
	if (!strcmp(command, "plug") || !strcmp(command, "unplug"))
		return fill_slot(a, j, error);
	if (n > insert && !set_name(j, "id", args_operand(a, 1), error))
		return false;
	if (!strcmp(command, "eject"))
		json_object_set_new(j, "force", json_boolean(args_has(a, "force")));
	return !insert || set_argument(j, "disc", file_argument(args_operand(a, n), error));
}

/* What goes with the command; NULL with error set when the operands do not fit. */
static json_t *make_arguments(const struct args *a, const struct syntax *s, GError **error)
{
	json_t *j = json_object();

	if (check_operands(a, s, error) && fill_arguments(a, s->name, j, error))
		return j;
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

static void print_units(const json_t *j)
{
	const json_t *unit;
	size_t i;

	json_array_foreach(json_object_get(j, "units"), i, unit)
	{
		if (json_is_string(unit))
			printf("    slot %zu: %s\n", i, json_string_value(unit));
	}
}

static void print_attachment(const json_t *j)
{
	const char *device = text_of(j, "device", NULL), *id = text_of(j, "id", NULL);
	const json_t *entry;
	size_t i;

	printf("%s %s%s%s%s\n    %lld connected, ", text_of(j, "type", "?"),
	       text_of(j, "socket", "?"), id ? " (" : "", id ? id : "", id ? ")" : "",
	       number_of(j, "clients"));
	if (device) {
		printf("device %s, %lld accesses, %lld interrupts, ", device,
		       number_of(j, "accesses"), number_of(j, "interrupts"));
	} else {
		printf("%lld requests, ", number_of(j, "requests"));
	}
	printf("%lld protocol errors\n", number_of(j, "protocol_errors"));
	print_units(j);
	json_array_foreach(json_object_get(j, "connections"), i, entry) printf(
		"    %s: %s%s%s, %lld requests, %lld in flight\n", text_of(entry, "peer", "?"),
		json_is_string(json_object_get(entry, "export")) ? "export " : "",
		text_of(entry, "export", "no export yet"),
		json_is_true(json_object_get(entry, "tls")) ? ", TLS" : "",
		number_of(entry, "requests"), number_of(entry, "in_flight"));
}

static void print_device(const json_t *j)
{
	printf("device %-7s %s (%s), PCI %s:%s%s\n", text_of(j, "id", "?"),
	       text_of(j, "class", "?"), text_of(j, "driver", "?"), text_of(j, "vendor", "?"),
	       text_of(j, "device", "?"),
	       json_is_true(json_object_get(j, "stopped")) ? ", stopped" : "");
	print_units(j);
}

static void print_disk(const json_t *j)
{
	g_autofree char *size = size_text((uint64_t)number_of(j, "bytes"));
	const char *device = text_of(j, "device", text_of(j, "socket", NULL));
	const char *reserved = text_of(j, "reserved", NULL);

	printf("disk %-9s %s, %s, %s%s%s%s\n", text_of(j, "id", "?"), text_of(j, "file", "?"),
	       text_of(j, "format", "?"), size,
	       json_is_true(json_object_get(j, "writable")) ? "" : ", read-only",
	       device ? ", on " : "", device ? device : "");
	if (reserved)
		printf("    %s\n", reserved);
}

static void print_status(const json_t *status)
{
	const json_t *entry;
	size_t i;

	json_array_foreach(json_object_get(status, "drives"), i, entry)
		printf("drive %-8s %s\n    disc: %s\n", text_of(entry, "id", "?"),
		       text_of(entry, "state", "?"), text_of(entry, "disc", "none"));
	json_array_foreach(json_object_get(status, "disks"), i, entry) print_disk(entry);
	json_array_foreach(json_object_get(status, "devices"), i, entry) print_device(entry);
	json_array_foreach(json_object_get(status, "attachments"), i, entry)
		print_attachment(entry);
}

static int unknown(const struct args *a, const char *command)
{
	const char *names[G_N_ELEMENTS(syntaxes) + 1] = {NULL}, *near;
	g_autofree char *all = NULL;

	for (unsigned i = 0; i < G_N_ELEMENTS(syntaxes); i++)
		names[i] = syntaxes[i].name;
	near = suggest_nearest(command, names, G_N_ELEMENTS(syntaxes));
	if (near)
		return cli_misused_text(a, "there is no '%s'; did you mean '%s'?", command, near);
	all = g_strjoinv(", ", (char **)names);
	return cli_misused_text(a, "there is no '%s'; there are %s", command, all);
}

static const struct syntax *find_syntax(const char *command)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(syntaxes); i++) {
		if (!strcmp(syntaxes[i].name, command))
			return &syntaxes[i];
	}
	return NULL;
}

static int run_ctl(const struct args *a)
{
	const char *command = args_operand(a, 0), *path = args_value(a, "socket");
	const struct syntax *syntax = find_syntax(command);
	json_t *arguments, *result;
	GError *error = NULL;

	if (!syntax)
		return unknown(a, command);
	if (!path)
		return cli_misused_text(a, "--socket PATH is missing: the one that 'outboard serve "
					   "--control' was given");
	arguments = make_arguments(a, syntax, &error);
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
	if (!strcmp(command, "add-device") || !strcmp(command, "add-disk"))
		printf("%s\n", text_of(result, "id", "?"));
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
	.operands = "status|insert|eject|add-device|remove-device|add-disk|remove-disk|"
		    "resize-disk|plug|unplug|quit "
		    "[OPERAND...]",
	.min_operands = 1,
	.max_operands = 4,
	.run = run_ctl,
};
