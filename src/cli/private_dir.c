/* A private directory: see private_dir.h. */
#include "cli/private_dir.h"

#include <errno.h>
#include <unistd.h>

#include "base/err.h"

char *private_dir_template(void)
{
	const char *base = g_getenv("XDG_RUNTIME_DIR");

	if (!base || *base != '/' || access(base, W_OK | X_OK))
		base = g_get_tmp_dir();
	return g_build_filename(base, "outboard-XXXXXX", NULL);
}

char *private_dir_new(GError **error)
{
	char *dir = private_dir_template();

	if (g_mkdtemp_full(dir, 0700))
		return dir;
	err_set_errno(error, errno, "%s: cannot make a private directory", dir);
	g_free(dir);
	return NULL;
}

void private_dir_free(char *path)
{
	GDir *dir = path ? g_dir_open(path, 0, NULL) : NULL;
	const char *name;

	while (dir && (name = g_dir_read_name(dir))) {
		g_autofree char *file = g_build_filename(path, name, NULL);

		unlink(file);
	}
	if (dir)
		g_dir_close(dir);
	if (path)
		rmdir(path);
	g_free(path);
}
