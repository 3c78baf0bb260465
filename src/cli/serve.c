/* outboard serve: the daemon in the foreground. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "cli/cli.h"
#include "cli/qemu.h"
#include "control/daemon.h"

struct serve {
	struct daemon_config config;
	struct outboard_daemon *daemon;
	bool asked; /* to end, by a signal */
};

static void on_signal(int signo, void *arg)
{
	struct serve *s = arg;

	/*
	 * Every state of a disc is safe against the death of its process, so impatience does no
	 * harm.
	 */
	if (s->asked && signo == SIGINT)
		_exit(128 + signo);
	s->asked = true;
	if (s->daemon)
		daemon_quit(s->daemon);
}

/* How clients call an export; TLS shows in the scheme. */
static char *nbd_uri(const struct daemon_attachment *da, const char *export)
{
	const struct nbd_config *n = da->config->nbd;
	g_autofree char *name = g_uri_escape_string(export, NULL, false);
	g_autofree char *path = g_uri_escape_string(da->config->socket, "/", false);
	const char *scheme = n->tls == NBD_TLS_REQUIRE ? "nbds" : "nbd";

	if (!n->host)
		return g_strdup_printf("%s+unix:///%s?socket=%s", scheme, name, path);
	return g_strdup_printf(strchr(n->host, ':') ? "%s://[%s]:%u/%s" : "%s://%s:%u/%s", scheme,
			       n->host, nbd_server_port(da->nbd), name);
}

static void print_nbd_ready(const struct args *a, const struct daemon_attachment *da)
{
	const struct attach_config *c = da->config;
	json_t *uris = json_array(), *j;
	const json_t *uri;
	size_t i;

	for (char **disk = c->nbd->disks; *disk; disk++) {
		g_autofree char *text = nbd_uri(da, c->nbd->export ? c->nbd->export : *disk);

		json_array_append_new(uris, json_string(text));
	}
	if (args_has(a, "json")) {
		j = json_pack("{s:s, s:s, s:O}", "ready", "nbd", "socket", c->socket, "uris", uris);
		if (c->nbd->host)
			json_object_set_new(j, "port",
					    json_integer((json_int_t)nbd_server_port(da->nbd)));
		json_dumpf(j, stdout, JSON_COMPACT);
		putchar('\n');
		json_decref(j);
	} else {
		printf("ready: %s\n", c->socket);
		json_array_foreach(uris, i, uri)
			printf("  for NBD clients: %s\n", json_string_value(uri));
	}
	json_decref(uris);
	fflush(stdout);
}

/* device: id of what is shown there, NULL where it is drives. */
static void print_ready(const struct args *a, const struct attach_config *c, const char *device)
{
	g_autofree char *line = qemu_paste_line(c);

	if (args_has(a, "json")) {
		json_t *j = json_pack("{s:s, s:s, s:s}", "ready", attach_kind_name(c->kind),
				      "socket", c->socket, "qemu", line);

		if (device)
			json_object_set_new(j, "device", json_string(device));
		json_dumpf(j, stdout, JSON_COMPACT);
		putchar('\n');
		json_decref(j);
	} else {
		printf("ready: %s%s%s%s\n  for QEMU%s: %s\n", c->socket, device ? " (" : "",
		       device ? device : "", device ? ")" : "", device ? " 10.1 or newer" : "",
		       line);
	}
	fflush(stdout);
}

static co_fn int serve_on_loop(const struct args *a, void *arg)
{
	struct serve *s = arg;
	GError *error = NULL;

	if (!loop_on_signal(co_loop(), SIGTERM, on_signal, s, &error) ||
	    !loop_on_signal(co_loop(), SIGINT, on_signal, s, &error))
		return cli_failed(a, error);
	s->daemon = daemon_start(co_loop(), &s->config, &error);
	if (!s->daemon)
		return cli_failed(a, error);
	for (unsigned i = 0; i < daemon_attachments(s->daemon); i++) {
		const struct daemon_attachment *da = daemon_attachment(s->daemon, i);

		if (da->nbd)
			print_nbd_ready(a, da);
		else
			print_ready(a, da->config, da->device ? da->device->id : NULL);
	}
	if (s->asked)
		daemon_quit(s->daemon);
	daemon_wait(s->daemon);
	daemon_free(s->daemon);
	return STATUS_DONE;
}

static bool read_config(const struct args *a, struct daemon_config *c, GError **error)
{
	for (unsigned i = 0; i < args_count(a, "optical"); i++) {
		if (!config_add_optical(c, args_value_n(a, "optical", i), error))
			return false;
	}
	for (unsigned i = 0; i < args_count(a, "disk"); i++) {
		if (!config_add_disk(c, args_value_n(a, "disk", i), error))
			return false;
	}
	for (unsigned i = 0; i < args_count(a, "device"); i++) {
		if (!config_add_device(c, args_value_n(a, "device", i), error))
			return false;
	}
	for (unsigned i = 0; i < args_count(a, "attach"); i++) {
		if (!config_add_attachment(c, args_value_n(a, "attach", i), error))
			return false;
	}
	c->control = g_strdup(args_value(a, "control"));
	return config_check_disks(c, error) && config_check(c, error);
}

static int run_serve(const struct args *a)
{
	struct serve s = {.asked = false};
	GError *error = NULL;
	int status;

	config_init(&s.config);
	status = read_config(a, &s.config, &error) ? cli_on_loop(a, serve_on_loop, &s)
						   : cli_misused(a, error);
	config_fini(&s.config);
	return status;
}

static const struct cli_option serve_options[] = {
	{"optical", "SPEC", 0, OPTION_MANY},
	{"disk", "SPEC", 0, OPTION_MANY},
	{"device", "SPEC", 0, OPTION_MANY},
	{"attach", "SPEC", 0, OPTION_MANY},
	{"control", "PATH", 0, OPTION_FILE},
	{"json"},
	{NULL},
};

const struct cli_command command_serve = {
	.name = "serve",
	.options = serve_options,
	.operands = "",
	.run = run_serve,
};
