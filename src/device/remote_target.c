/* What a driver's name says about the other side: exec:COMMAND, tcp:HOST:PORT, unix:PATH, FILE.py
 */
#include "base/err.h"
#include "device/remote_peer.h"
#include "outboard-config.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

static const char *const prefixes[] = {
	[REMOTE_EXEC] = "exec:",
	[REMOTE_TCP] = "tcp:",
	[REMOTE_UNIX] = "unix:",
};

static bool is_python(const char *driver)
{
	return strchr(driver, '/') && g_str_has_suffix(driver, ".py");
}

static int find_prefix(const char *driver)
{
	for (int i = 0; i < (int)G_N_ELEMENTS(prefixes); i++) {
		if (g_str_has_prefix(driver, prefixes[i]))
			return i;
	}
	return -1;
}

bool remote_is_driver(const char *driver)
{
	return find_prefix(driver) >= 0 || is_python(driver);
}

/* The folder of Outboard's Python package: that of the source tree for a program run from its
 * build folder, else the installed one. */
static const char *python_folder(void)
{
	g_autofree char *exe = g_file_read_link("/proc/self/exe", NULL);

	if (exe && g_str_has_prefix(exe, OUTBOARD_BUILD_DIR "/") &&
	    g_file_test(OUTBOARD_PYTHON_SOURCE, G_FILE_TEST_IS_DIR))
		return OUTBOARD_PYTHON_SOURCE;
	return OUTBOARD_PYTHON_INSTALLED;
}

static void take_python(struct remote_target *t, const char *file)
{
	const char *old = g_getenv("PYTHONPATH");
	g_autofree char *path = g_strconcat(python_folder(), old && *old ? ":" : NULL, old, NULL);

	t->kind = REMOTE_EXEC;
	t->argv = g_new0(char *, 3);
	t->argv[0] = g_strdup("/usr/bin/python3");
	t->argv[1] = g_strdup(file);
	t->envp = g_environ_setenv(g_get_environ(), "PYTHONPATH", path, TRUE);
}

static bool take_command(struct remote_target *t, const char *command, GError **error)
{
	GError *e = NULL;

	t->envp = g_get_environ();
	if (g_shell_parse_argv(command, NULL, &t->argv, &e))
		return true;
	err_set(error, EINVAL, "exec:%s: %s", command,
		g_error_matches(e, G_SHELL_ERROR, G_SHELL_ERROR_EMPTY_STRING)
			? "a command is missing, as in exec:./prog"
			: e->message);
	g_error_free(e);
	return false;
}

/* HOST:PORT; an IPv6 address in brackets. */
static bool take_tcp(struct remote_target *t, const char *address, GError **error)
{
	const char *colon = strrchr(address, ':');
	size_t n = colon ? (size_t)(colon - address) : 0;

	if (!n || !colon[1])
		return err_set(error, EINVAL, "tcp:%s: must be tcp:HOST:PORT", address);
	if (address[0] == '[' && address[n - 1] == ']')
		t->host = g_strndup(address + 1, n - 2);
	else
		t->host = g_strndup(address, n);
	t->port = g_strdup(colon + 1);
	return true;
}

static bool take(struct remote_target *t, const char *rest, GError **error)
{
	switch (t->kind) {
	case REMOTE_EXEC: return take_command(t, rest, error);
	case REMOTE_TCP: return take_tcp(t, rest, error);
	default:
		t->host = g_strdup(rest);
		return *rest || err_set(error, EINVAL, "unix: must be unix:PATH");
	}
}

struct remote_target *remote_target_parse(const char *driver, GError **error)
{
	struct remote_target *t = g_new0(struct remote_target, 1);
	int kind = find_prefix(driver);
	bool ok = true;

	if (kind < 0) {
		take_python(t, driver);
		t->shown = g_strdup(driver);
	} else {
		t->kind = (enum remote_kind)kind;
		ok = take(t, driver + strlen(prefixes[kind]), error);
		t->shown = g_strdup(kind == REMOTE_EXEC ? driver + strlen(prefixes[kind]) : driver);
	}
	if (ok)
		return t;
	remote_target_free(t);
	return NULL;
}

void remote_target_free(struct remote_target *t)
{
	if (!t)
		return;
	g_free(t->shown);
	g_strfreev(t->argv);
	g_strfreev(t->envp);
	g_free(t->host);
	g_free(t->port);
	g_free(t);
}
