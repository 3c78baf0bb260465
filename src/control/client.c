/* Client of the control socket: see client.h. */
#include "control/client.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"

static int connect_to(const char *path, GError **error)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd;

	if (strlen(path) >= sizeof(a.sun_path)) {
		err_set(error, ENAMETOOLONG, "%s: a unix socket's path has at most %zu bytes", path,
			sizeof(a.sun_path) - 1);
		return -1;
	}
	memcpy(a.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0 && !connect(fd, (struct sockaddr *)&a, sizeof(a)))
		return fd;
	err_set(error, errno, "%s: %s; is there an 'outboard serve --control %s'?", path,
		g_strerror(errno), path);
	if (fd >= 0)
		close(fd);
	return -1;
}

static bool send_line(int fd, const char *path, const char *text, GError **error)
{
	g_autofree char *line = g_strconcat(text, "\n", NULL);
	size_t len = strlen(line), sent = 0;

	while (sent < len) {
		ssize_t n = send(fd, line + sent, len - sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_set_errno(error, errno, "%s: cannot send", path);
		sent += (size_t)n;
	}
	return true;
}

/* One line without its newline. */
static GString *receive_line(int fd, const char *path, GError **error)
{
	GString *line = g_string_new(NULL);
	char buf[4096];

	for (;;) {
		ssize_t n = recv(fd, buf, sizeof(buf), 0);
		char *end;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			err_set(error, n ? errno : EPIPE,
				"%s: the daemon went away before it answered", path);
			g_string_free(line, TRUE);
			return NULL;
		}
		g_string_append_len(line, buf, n);
		end = memchr(line->str, '\n', line->len);
		if (end) {
			g_string_truncate(line, (size_t)(end - line->str));
			return line;
		}
	}
}

static json_t *take_result(const char *path, const GString *line, GError **error)
{
	json_t *answer = json_loadb(line->str, line->len, 0, NULL);
	json_t *result = json_object_get(answer, "return");
	const char *why =
		json_string_value(json_object_get(json_object_get(answer, "error"), "desc"));

	if (result)
		json_incref(result);
	else if (why)
		err_set(error, EIO, "%s", why);
	else
		err_set(error, EPROTO, "%s: that is no answer of an outboard daemon: %.60s", path,
			line->str);
	json_decref(answer);
	return result;
}

json_t *control_ask(const char *path, const char *command, json_t *args, GError **error)
{
	json_t *request = json_pack("{s:s, s:O*}", "execute", command, "arguments", args);
	char *text = json_dumps(request, JSON_COMPACT);
	int fd = connect_to(path, error);
	json_t *result = NULL;
	GString *line;

	if (fd >= 0 && send_line(fd, path, text, error)) {
		line = receive_line(fd, path, error);
		if (line) {
			result = take_result(path, line, error);
			g_string_free(line, TRUE);
		}
	}
	if (fd >= 0)
		close(fd);
	free(text);
	json_decref(request);
	return result;
}
