/* The control socket: see server.h. One coroutine accepts, one more serves each connection. */
#include "control/server.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "base/sock.h"
#include "control/command.h"

enum { ACCEPT_PAUSE_NS = 100 * 1000 * 1000 };

struct control_server {
	struct outboard_daemon *daemon;
	char *path;
	int listener;
	GPtrArray *clients; /* struct client */
	struct co_drain running;
	bool stopping;
};

struct client {
	struct control_server *server;
	int fd;
	GByteArray *in; /* received, not yet answered */
};

static json_t *error_json(const char *text)
{
	return json_pack("{s:{s:s, s:s}}", "error", "class", "GenericError", "desc", text);
}

static co_fn json_t *answer_object(struct outboard_daemon *d, const json_t *request)
{
	const char *name = json_string_value(json_object_get(request, "execute"));
	GError *error = NULL;
	json_t *result, *answer;

	if (!name)
		return error_json("a request is {\"execute\": NAME, \"arguments\": {...}}");
	result = command_execute(d, name, json_object_get(request, "arguments"), &error);
	if (result)
		return json_pack("{s:o}", "return", result);
	answer = error_json(error->message);
	if (!answer) /* not UTF-8: a file name in it */
		answer = error_json("failed; its message cannot be shown as JSON");
	g_error_free(error);
	return answer;
}

co_fn char *control_answer(struct outboard_daemon *d, const char *line, size_t len)
{
	json_error_t why;
	json_t *request = json_loadb(line, len, JSON_REJECT_DUPLICATES, &why);
	json_t *answer = request ? answer_object(d, request) : error_json(why.text);
	json_t *id = json_object_get(request, "id");
	char *text, *copy;

	if (id)
		json_object_set(answer, "id", id);
	text = json_dumps(answer, JSON_COMPACT);
	copy = g_strdup(text);
	free(text);
	json_decref(answer);
	json_decref(request);
	return copy;
}

/* Answers every complete line in c->in; false when the connection is to end. */
static co_fn bool answer_lines(struct client *c)
{
	uint8_t *end;

	while ((end = memchr(c->in->data, '\n', c->in->len))) {
		size_t len = (size_t)(end - c->in->data);
		g_autofree char *answer =
			control_answer(c->server->daemon, (char *)c->in->data, len);
		g_autofree char *line = g_strconcat(answer, "\n", NULL);

		g_byte_array_remove_range(c->in, 0, (unsigned)len + 1);
		if (sock_send_all(c->fd, line, strlen(line), NULL, 0))
			return false;
	}
	if (c->in->len < CONTROL_LINE_MAX)
		return true;
	log_line(LOG_WARN, "control", "%s: a request of more than %d bytes; connection closed",
		 c->server->path, CONTROL_LINE_MAX);
	return false;
}

static co_fn bool receive(struct client *c)
{
	uint8_t buf[4096];
	ssize_t got;

	do {
		if (co_poll(c->fd, POLLIN, 0) < 0)
			return false;
		got = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);
	} while (got < 0 && (errno == EAGAIN || errno == EINTR));
	if (got <= 0)
		return false;
	g_byte_array_append(c->in, buf, (unsigned)got);
	return true;
}

static void client_run(void *arg)
{
	struct client *c = arg;
	struct control_server *s = c->server;

	while (receive(c) && answer_lines(c))
		;
	g_ptr_array_remove_fast(s->clients, c);
	close(c->fd);
	g_byte_array_free(c->in, TRUE);
	g_free(c);
	co_drain_leave(&s->running);
}

/* Takes who is waiting to be let in, if anybody is. */
static co_fn void accept_client(struct control_server *s)
{
	int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct client *c;

	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
			co_sleep_ns(ACCEPT_PAUSE_NS); /* he still waits; somebody else must leave
							 first */
		return;
	}
	c = g_new0(struct client, 1);
	c->server = s;
	c->fd = fd;
	c->in = g_byte_array_new();
	g_ptr_array_add(s->clients, c);
	co_drain_enter(&s->running);
	co_start(daemon_loop(s->daemon), client_run, c);
}

static void accept_run(void *arg)
{
	struct control_server *s = arg;

	/* A listener that is shut down polls as readable for ever: hence the flag. */
	while (co_poll(s->listener, POLLIN, 0) >= 0 && !s->stopping)
		accept_client(s);
	co_drain_leave(&s->running);
}

struct control_server *control_server_new(struct outboard_daemon *d, const char *path,
					  GError **error)
{
	struct control_server *s;
	int fd = sock_listen_unix(path, error);

	if (fd < 0) {
		err_prefix(error, "--control");
		return NULL;
	}
	s = g_new0(struct control_server, 1);
	s->daemon = d;
	s->path = g_strdup(path);
	s->listener = fd;
	s->clients = g_ptr_array_new();
	co_drain_enter(&s->running);
	co_start(daemon_loop(d), accept_run, s);
	return s;
}

co_fn void control_server_free(struct control_server *s)
{
	if (!s)
		return;
	unlink(s->path);
	s->stopping = true;
	/* Wakes whoever sleeps on them; a command that is running still ends by itself. */
	shutdown(s->listener, SHUT_RDWR);
	for (unsigned i = 0; i < s->clients->len; i++)
		shutdown(((struct client *)s->clients->pdata[i])->fd, SHUT_RD);
	co_drain_wait(&s->running);
	close(s->listener);
	g_ptr_array_free(s->clients, TRUE);
	g_free(s->path);
	g_free(s);
}
