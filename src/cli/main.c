/* outboard: finds the subcommand, parses its options, runs it. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/suggest.h"
#include "outboard-config.h"

/* clang-format off */
const struct cli_command *const cli_commands[] = {
	&command_run,
	&command_serve,
	&command_ctl,
	&command_disc_create,
	&command_disc_info,
	&command_disc_map,
	&command_disc_verify,
	&command_disc_export,
	&command_disc_burn,
	&command_image_create,
	&command_image_info,
	&command_image_check,
	&command_image_convert,
	&command_image_compare,
	&command_image_map,
	&command_image_resize,
	&command_image_snapshot,
	&command_image_rebase,
	&command_image_commit,
	&command_image_bench,
	&command_device_list,
	&command_device_info,
	&command_device_new,
	&command_device_test,
	&command_help,
	&command_version,
	NULL,
};
/* clang-format on */

/* The command that argv begins with, by its longest name; *used is how many words that took. */
static const struct cli_command *find_command(char **argv, unsigned *used)
{
	for (unsigned i = 0; cli_commands[i]; i++) {
		g_auto(GStrv) words = g_strsplit(cli_commands[i]->name, " ", -1);
		unsigned n = g_strv_length(words), same = 0;

		while (same < n && argv[same] && !strcmp(argv[same], words[same]))
			same++;
		if (same == n) {
			*used = n;
			return cli_commands[i];
		}
	}
	return NULL;
}

static bool is_group(const char *word)
{
	g_autofree char *prefix = g_strconcat(word, " ", NULL);

	for (unsigned i = 0; cli_commands[i]; i++) {
		if (g_str_has_prefix(cli_commands[i]->name, prefix))
			return true;
	}
	return false;
}

/* group "" for the words at the top ("run", "disc"), or "disc" for what may follow it. */
static const char *nearest_word(const char *group, const char *typed)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
	const char *near;

	for (unsigned i = 0; cli_commands[i]; i++) {
		g_auto(GStrv) words = g_strsplit(cli_commands[i]->name, " ", 2);

		if (!*group)
			g_ptr_array_add(names, g_strdup(words[0]));
		else if (!strcmp(words[0], group) && words[1])
			g_ptr_array_add(names, g_strdup(words[1]));
	}
	near = suggest_nearest(typed, (const char *const *)names->pdata, names->len);
	return g_intern_string(near);
}

static int unknown_command(char **argv)
{
	bool group = is_group(argv[0]);
	const char *typed = group ? argv[1] : argv[0];
	const char *near;

	if (group && (!typed || !strcmp(typed, "--help") || !strcmp(typed, "-h"))) {
		cli_print_help(argv[0]);
		return typed ? STATUS_DONE : STATUS_USAGE;
	}
	near = nearest_word(group ? argv[0] : "", typed);
	fprintf(stderr, "outboard%s%s: there is no command '%s'", group ? " " : "",
		group ? argv[0] : "", typed);
	if (near)
		fprintf(stderr, "; did you mean '%s'?", near);
	fprintf(stderr, "\nTry 'outboard help%s%s'.\n", group ? " " : "", group ? argv[0] : "");
	return STATUS_USAGE;
}

static int run_command(const struct cli_command *c, char **argv)
{
	GError *error = NULL;
	struct args *a = args_parse(c, argv, &error);
	int status;

	if (!a) {
		fprintf(stderr, "outboard %s: %s\nTry 'outboard %s --help'.\n", c->name,
			error->message, c->name);
		g_clear_error(&error);
		return STATUS_USAGE;
	}
	if (args_has(a, "verbose"))
		log_set_level(args_count(a, "verbose") > 1 ? LOG_DEBUG : LOG_INFO);
	status = args_has(a, "help") ? cli_print_help(c->name) : c->run(a);
	args_free(a);
	return status;
}

int main(int argc, char **argv)
{
	const struct cli_command *c;
	unsigned used;

	(void)argc;
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN); /* a file size limit is an error of that write (EFBIG) */
	log_set_level(LOG_WARN);
	argv++;
	if (!*argv) {
		fputs(cli_help_text(""), stderr);
		return STATUS_USAGE;
	}
	if (!strcmp(*argv, "--help") || !strcmp(*argv, "-h"))
		return cli_print_help("");
	if (!strcmp(*argv, "--version"))
		*argv = (char *)"version";
	c = find_command(argv, &used);
	if (c)
		return run_command(c, argv + used);
	if (**argv == '-') {
		fprintf(stderr,
			"outboard: there is no option %s; a command comes first\nTry 'outboard "
			"--help'.\n",
			*argv);
		return STATUS_USAGE;
	}
	return unknown_command(argv);
}
