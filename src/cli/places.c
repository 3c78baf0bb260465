/*
 * Where the program's files are: see places.h. The build says where it was built and where it is to
 * be installed; an installation that was moved as a whole (DESTDIR) is followed.
 */
#include "cli/places.h"

#include <errno.h>
#include <unistd.h>

#include "base/err.h"

char *places_program(void)
{
	char *path = g_file_read_link("/proc/self/exe", NULL);

	return path ? path : g_strdup("outboard");
}

/* Whether the program runs in its build directory: then everything is taken from the sources. */
static bool is_uninstalled(const char *program)
{
	return !strcmp(program, PLACES_BUILD "/src/cli/outboard");
}

/* What stands before the folder it is to be installed in: "" or DESTDIR. */
static char *moved_by(const char *program)
{
	g_autofree char *dir = g_path_get_dirname(program);

	if (!g_str_has_suffix(dir, PLACES_BINDIR))
		return g_strdup("");
	return g_strndup(dir, strlen(dir) - strlen(PLACES_BINDIR));
}

char *places_find(const char *name, GError **error)
{
	g_autofree char *program = places_program(), *root = moved_by(program);
	char *path = is_uninstalled(program)
			     ? g_build_filename(PLACES_SOURCE, name, NULL)
			     : g_strconcat(root, PLACES_SHARE, "/outboard/", name, NULL);

	if (access(path, R_OK) == 0)
		return path;
	err_set_errno(error, errno, "%s, which comes with outboard", path);
	g_free(path);
	return NULL;
}

char *places_include(void)
{
	g_autofree char *program = places_program(), *root = moved_by(program);

	if (is_uninstalled(program))
		return g_strdup(PLACES_SOURCE "/include");
	return g_strconcat(root, PLACES_INCLUDE, NULL);
}
