/*
 * outboard help, outboard version: the manual pages in words, and the commands with their options
 * as a list.
 */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/help_pages.h"
#include "cli/suggest.h"
#include "outboard-config.h"

const char *cli_help_text(const char *command)
{
	for (const struct help_page *p = help_pages; p->command; p++) {
		if (!strcmp(p->command, command))
			return p->text;
	}
	return NULL;
}

int cli_print_help(const char *command)
{
	const char *text = cli_help_text(command);

	fputs(text ? text : cli_help_text(""), stdout);
	return fflush(stdout) ? STATUS_FAILED : STATUS_DONE;
}

static void add_options(json_t *list, const struct cli_option *o)
{
	for (; o->name; o++) {
		json_t *entry = json_pack("{s:s, s:b, s:b}", "name", o->name, "many",
					  o->flags & OPTION_MANY ? 1 : 0, "file",
					  o->flags & OPTION_FILE ? 1 : 0);

		if (o->value)
			json_object_set_new(entry, "value", json_string(o->value));
		if (o->letter)
			json_object_set_new(entry, "letter", json_pack("s#", &o->letter, 1));
		if (o->choices)
			json_object_set_new(entry, "choices", json_string(o->choices));
		json_array_append_new(list, entry);
	}
}

static json_t *commands_json(void)
{
	json_t *commands = json_array();

	for (unsigned i = 0; cli_commands[i]; i++) {
		json_t *options = json_array();

		add_options(options, cli_commands[i]->options);
		add_options(options, cli_common_options);
		json_array_append_new(commands,
				      json_pack("{s:s, s:s, s:o}", "name", cli_commands[i]->name,
						"operands", cli_commands[i]->operands, "options",
						options));
	}
	return json_pack("{s:o}", "commands", commands);
}

static int unknown_page(const struct args *a, const char *command)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new();
	const char *near;

	for (const struct help_page *p = help_pages; p->command; p++)
		g_ptr_array_add(names, (char *)p->command);
	near = suggest_nearest(command, (const char *const *)names->pdata, names->len);
	if (near)
		return cli_misused_text(a, "there is no command '%s'; did you mean '%s'?", command,
					near);
	return cli_misused_text(a, "there is no command '%s'", command);
}

static int run_help(const struct args *a)
{
	g_autoptr(GString) command = g_string_new("");

	if (args_has(a, "json"))
		return cli_print_json(a, commands_json());
	for (unsigned i = 0; i < args_operands(a); i++)
		g_string_append_printf(command, "%s%s", i ? " " : "", args_operand(a, i));
	if (!strcmp(command->str, "help") || !strcmp(command->str, "version"))
		return cli_print_help("");
	if (!cli_help_text(command->str))
		return unknown_page(a, command->str);
	return cli_print_help(command->str);
}

static int run_version(const struct args *a)
{
	if (args_has(a, "json"))
		return cli_print_json(a, json_pack("{s:s}", "version", OUTBOARD_VERSION));
	printf("outboard %s\n", OUTBOARD_VERSION);
	return cli_finish_output(a, STATUS_DONE);
}

static const struct cli_option list_options[] = {
	{"json"},
	{NULL},
};

const struct cli_command command_help = {
	.name = "help",
	.options = list_options,
	.operands = "[COMMAND...]",
	.max_operands = 2,
	.run = run_help,
};

const struct cli_command command_version = {
	.name = "version",
	.options = list_options,
	.operands = "",
	.run = run_version,
};
