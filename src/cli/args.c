/* Command line of one command: see args.h. */
#include "cli/args.h"

#include <string.h>

#include "base/err.h"
#include "cli/suggest.h"

struct given {
	const struct cli_option *option;
	const char *value;
};

struct args {
	const struct cli_command *command;
	GArray *given; /* struct given */
	GPtrArray *operands;
	char **rest;
	bool rest_given;
};

static char *no_rest[] = {NULL};

const struct cli_option cli_common_options[] = {
	{"help", NULL, 'h'},
	{"verbose", NULL, 'v', OPTION_MANY},
	{"loop", "BACKEND", 0, 0, "auto|uring|epoll"},
	{NULL},
};

static const struct cli_option *find_in(const struct cli_option *o, const char *name, size_t len,
					char letter)
{
	for (; o->name; o++) {
		if (name ? strlen(o->name) == len && !memcmp(o->name, name, len)
			 : o->letter && o->letter == letter)
			return o;
	}
	return NULL;
}

/* By name, or (name NULL) by letter. */
static const struct cli_option *find_option(const struct cli_command *c, const char *name,
					    size_t len, char letter)
{
	const struct cli_option *o = find_in(c->options, name, len, letter);

	return o ? o : find_in(cli_common_options, name, len, letter);
}

static bool unknown_option(const struct cli_command *c, const char *typed, size_t len,
			   GError **error)
{
	g_autoptr(GPtrArray) names = g_ptr_array_new();
	g_autofree char *name = g_strndup(typed, len);
	const char *near;

	for (const struct cli_option *o = c->options; o->name; o++)
		g_ptr_array_add(names, (char *)o->name);
	for (const struct cli_option *o = cli_common_options; o->name; o++)
		g_ptr_array_add(names, (char *)o->name);
	near = suggest_nearest(name, (const char *const *)names->pdata, names->len);
	if (near)
		return err_set(error, EINVAL, "there is no option --%s; did you mean --%s?", name,
			       near);
	return err_set(error, EINVAL, "there is no option --%s", name);
}

static bool choice_ok(const struct cli_option *o, const char *value)
{
	g_auto(GStrv) choices = NULL;

	if (!o->choices)
		return true;
	choices = g_strsplit(o->choices, "|", -1);
	return g_strv_contains((const char *const *)choices, value);
}

static bool add_given(struct args *a, const struct cli_option *o, const char *value, GError **error)
{
	struct given g = {o, value};

	if (!(o->flags & OPTION_MANY) && args_has(a, o->name))
		return err_set(error, EINVAL, "--%s is given twice", o->name);
	if (value && !*value && !(o->flags & OPTION_EMPTY))
		return err_set(error, EINVAL, "--%s needs a %s that is not empty", o->name,
			       o->value);
	if (value && !choice_ok(o, value))
		return err_set(error, EINVAL, "--%s %s is not known; it is one of %s", o->name,
			       value, o->choices);
	g_array_append_val(a->given, g);
	return true;
}

/*
 * "--name", "--name=value" or "--name value"; *next is the following argument and moved on when
 * used.
 */
static bool take_long(struct args *a, const char *text, char ***next, GError **error)
{
	const char *eq = strchr(text, '=');
	size_t len = eq ? (size_t)(eq - text) : strlen(text);
	const struct cli_option *o = find_option(a->command, text, len, 0);

	if (!o)
		return unknown_option(a->command, text, len, error);
	if (!o->value && eq)
		return err_set(error, EINVAL, "--%s takes no value", o->name);
	if (!o->value)
		return add_given(a, o, NULL, error);
	if (eq)
		return add_given(a, o, eq + 1, error);
	if (!**next)
		return err_set(error, EINVAL, "--%s needs a %s", o->name, o->value);
	return add_given(a, o, *(*next)++, error);
}

/* "-abc": switches, the last of which may take a value from the rest or the next argument. */
static bool take_short(struct args *a, const char *text, char ***next, GError **error)
{
	for (; *text; text++) {
		const struct cli_option *o = find_option(a->command, NULL, 0, *text);

		if (!o)
			return err_set(error, EINVAL, "there is no option -%c", *text);
		if (!o->value) {
			if (!add_given(a, o, NULL, error))
				return false;
			continue;
		}
		if (text[1])
			return add_given(a, o, text + 1, error);
		if (!**next)
			return err_set(error, EINVAL, "-%c needs a %s", *text, o->value);
		return add_given(a, o, *(*next)++, error);
	}
	return true;
}

static bool take_all(struct args *a, char **argv, GError **error)
{
	bool plain = false; /* after "--" */

	while (*argv) {
		char *arg = *argv++;

		if (!plain && !strcmp(arg, "--")) {
			plain = true;
			if (!a->command->takes_rest)
				continue;
			a->rest = argv;
			a->rest_given = true;
			return true;
		}
		if (!plain && g_str_has_prefix(arg, "--")) {
			if (!take_long(a, arg + 2, &argv, error))
				return false;
		} else if (!plain && arg[0] == '-' && arg[1]) {
			if (!take_short(a, arg + 1, &argv, error))
				return false;
		} else {
			g_ptr_array_add(a->operands, arg);
		}
	}
	return true;
}

static bool check_operands(const struct args *a, GError **error)
{
	const struct cli_command *c = a->command;
	unsigned n = a->operands->len;

	if (n < c->min_operands)
		return err_set(error, EINVAL, "it needs %s%s", c->operands,
			       n ? "; only one of them is given" : "");
	if (n <= c->max_operands)
		return true;
	if (!c->max_operands)
		return err_set(error, EINVAL, "'%s' is too much: there are no operands%s",
			       args_operand(a, 0), c->takes_rest ? " before --" : "");
	return err_set(error, EINVAL, "'%s' is too much: it takes %s",
		       args_operand(a, c->max_operands), c->operands);
}

struct args *args_parse(const struct cli_command *command, char **argv, GError **error)
{
	struct args *a = g_new0(struct args, 1);

	a->command = command;
	a->given = g_array_new(FALSE, FALSE, sizeof(struct given));
	a->operands = g_ptr_array_new();
	a->rest = no_rest;
	/* Who asks for help gets it, whatever else is missing. */
	if (!take_all(a, argv, error) || (!args_has(a, "help") && !check_operands(a, error))) {
		args_free(a);
		return NULL;
	}
	return a;
}

void args_free(struct args *a)
{
	if (!a)
		return;
	g_array_free(a->given, TRUE);
	g_ptr_array_free(a->operands, TRUE);
	g_free(a);
}

const struct cli_command *args_command(const struct args *a)
{
	return a->command;
}

unsigned args_operands(const struct args *a)
{
	return a->operands->len;
}

const char *args_operand(const struct args *a, unsigned i)
{
	return i < a->operands->len ? a->operands->pdata[i] : NULL;
}

char **args_rest(const struct args *a)
{
	return a->rest;
}

bool args_rest_given(const struct args *a)
{
	return a->rest_given;
}

unsigned args_count(const struct args *a, const char *name)
{
	unsigned n = 0;

	g_assert(find_option(a->command, name, strlen(name), 0));
	for (unsigned i = 0; i < a->given->len; i++)
		n += !strcmp(g_array_index(a->given, struct given, i).option->name, name);
	return n;
}

bool args_has(const struct args *a, const char *name)
{
	return args_count(a, name) > 0;
}

const char *args_value_n(const struct args *a, const char *name, unsigned n)
{
	for (unsigned i = 0; i < a->given->len; i++) {
		const struct given *g = &g_array_index(a->given, struct given, i);

		if (!strcmp(g->option->name, name) && n-- == 0)
			return g->value;
	}
	return NULL;
}

const char *args_value(const struct args *a, const char *name)
{
	unsigned n = args_count(a, name);

	return n ? args_value_n(a, name, n - 1) : NULL;
}
