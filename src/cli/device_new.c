/*
 * outboard device new: a project from the templates.
 *
 * A template is a folder of text files: "NAME" in a file's name and @NAME@, @OUTBOARD@ and
 * @INCLUDE@ in its text are replaced. Everything is written into a private folder beside the new
 * one, which appears by a rename, so that there is a whole project or none.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/err.h"
#include "cli/cli.h"
#include "cli/places.h"

enum { NAME_MAX_LEN = 32 };

static const char *const COMMON = "templates/common";

struct project {
	const char *name;
	char *program, *include; /* for the Makefile */
	char *dir;               /* where it is being made */
};

static bool check_name(const char *name, GError **error)
{
	size_t len = strlen(name);

	if (g_ascii_islower(*name) && len <= NAME_MAX_LEN &&
	    strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == len)
		return true;
	return err_set(error, EINVAL,
		       "NAME %s: it is made of a-z, 0-9 and '-', begins with a letter and has at "
		       "most %d of them",
		       name, NAME_MAX_LEN);
}

/* What a Makefile and a shell take as it is; anything else is left to PATH and pkg-config. */
static char *plain_path(char *path, const char *otherwise)
{
	if (strspn(path, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "/._+-") == strlen(path))
		return path;
	g_free(path);
	return g_strdup(otherwise);
}

static char *replace(const char *text, const char *word, const char *with)
{
	g_auto(GStrv) parts = g_strsplit(text, word, -1);

	return g_strjoinv(with, parts);
}

static char *fill_in(const struct project *p, const char *text)
{
	g_autofree char *named = replace(text, "@NAME@", p->name);
	g_autofree char *with_program = replace(named, "@OUTBOARD@", p->program);

	return replace(with_program, "@INCLUDE@", p->include);
}

/* The file keeps its mode: programs stay programs. */
static bool write_file(const struct project *p, const char *from, const char *name, GError **error)
{
	g_autofree char *source = g_build_filename(from, name, NULL);
	g_autofree char *new_name = replace(name, "NAME", p->name);
	g_autofree char *dest = g_build_filename(p->dir, new_name, NULL);
	g_autofree char *text = NULL, *filled = NULL;
	GError *why = NULL;
	struct stat st;

	if (g_file_get_contents(source, &text, NULL, &why)) {
		filled = fill_in(p, text);
		g_file_set_contents(dest, filled, -1, &why);
	}
	if (why) {
		err_set(error, EIO, "%s", why->message);
		g_error_free(why);
		return false;
	}
	if (stat(source, &st) == 0 && st.st_mode & 0111 && chmod(dest, 0755) < 0)
		return err_set_errno(error, errno, "%s", dest);
	return true;
}

static bool write_template(const struct project *p, const char *template, GError **error)
{
	g_autofree char *from = places_find(template, error);
	GDir *dir = from ? g_dir_open(from, 0, NULL) : NULL;
	const char *name;
	bool good = true;

	if (!from)
		return false;
	if (!dir)
		return err_set(error, EIO, "%s cannot be read", from);
	while (good && (name = g_dir_read_name(dir)))
		good = write_file(p, from, name, error);
	g_dir_close(dir);
	return good;
}

/* It has files only. */
static void remove_dir(const char *path)
{
	GDir *dir = g_dir_open(path, 0, NULL);
	const char *name;

	while (dir && (name = g_dir_read_name(dir))) {
		g_autofree char *file = g_build_filename(path, name, NULL);

		unlink(file);
	}
	if (dir)
		g_dir_close(dir);
	rmdir(path);
}

/* The folder gets the mode that mkdir() would have given it. */
static bool open_up(const char *dir, GError **error)
{
	mode_t mask = umask(0);

	umask(mask);
	return chmod(dir, 0777 & ~mask) == 0 || err_set_errno(error, errno, "%s", dir);
}

static bool make_project(struct project *p, const char *lang, GError **error)
{
	g_autofree char *template = g_strdup_printf("templates/%s", lang);

	p->dir = g_strdup_printf(".%s.XXXXXX", p->name);
	if (!g_mkdtemp(p->dir))
		return err_set_errno(error, errno, "a folder cannot be made here");
	if (write_template(p, template, error) && write_template(p, COMMON, error) &&
	    open_up(p->dir, error)) {
		if (renameat2(AT_FDCWD, p->dir, AT_FDCWD, p->name, RENAME_NOREPLACE) == 0)
			return true;
		if (errno == EEXIST)
			err_set(error, EEXIST, "%s is there already", p->name);
		else
			err_set_errno(error, errno, "%s", p->name);
	}
	remove_dir(p->dir);
	return false;
}

static void print_next(const struct project *p)
{
	printf("made %s; to see its interrupt in a guest:\n\n    cd %s\n    make test\n", p->name,
	       p->name);
}

static int run_new(const struct args *a)
{
	struct project p = {.name = args_operand(a, 0)};
	const char *lang = args_value(a, "lang");
	GError *error = NULL;
	bool good;

	if (!check_name(p.name, &error))
		return cli_misused(a, error);
	if (!lang)
		return cli_misused_text(a, "--lang is missing: c, python or exec");
	p.program = plain_path(places_program(), "outboard");
	p.include = plain_path(places_include(), "/usr/include");
	good = make_project(&p, lang, &error);
	g_free(p.program);
	g_free(p.include);
	g_free(p.dir);
	if (!good)
		return cli_failed(a, error);
	print_next(&p);
	return cli_finish_output(a, STATUS_DONE);
}

static const struct cli_option new_options[] = {
	{"lang", "LANGUAGE", 'l', .choices = "c|python|exec"},
	{NULL},
};

const struct cli_command command_device_new = {
	.name = "device new",
	.options = new_options,
	.operands = "NAME",
	.min_operands = 1,
	.max_operands = 1,
	.run = run_new,
};
