/*
 * edu_server DEVICE@SOCKET...: devices behind vfio-user sockets, for tests with real VMMs. DEVICE
 * is "toy", or what --device takes: "edu,dma-mask=0xffffffff".
 *
 * Ends in the orderly way on SIGTERM; on SIGUSR1 throws the clients out and goes on.
 */
#include "attach/vfio_user.h"
#include "base/err.h"
#include "base/log.h"
#include "device/device.h"
#include "toy.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEVICES_MAX = 16 };

static struct {
	struct loop *loop;
	unsigned n;
	const char *words[DEVICES_MAX];
	struct toy *toys[DEVICES_MAX];
	struct device *devices[DEVICES_MAX];
	struct vfio_user *v[DEVICES_MAX];
} server;

static co_fn struct pci_function *make_function(unsigned i, const char *text, GError **error)
{
	struct opts *opts;

	if (strcmp(text, "toy") == 0) {
		server.toys[i] = toy_new(server.loop, "toy");
		return toy_function(server.toys[i]);
	}
	opts = opts_parse(text, "driver", error);
	if (opts)
		server.devices[i] = device_new(server.loop, opts, NULL, error);
	opts_free(opts);
	return server.devices[i] ? device_function(server.devices[i]) : NULL;
}

static co_fn bool make(unsigned i, GError **error)
{
	const char *path = strrchr(server.words[i], '@');
	struct vfio_user_options o = {.path = path ? path + 1 : ""};
	char *text;

	if (!path)
		return err_set(error, EINVAL, "%s: must be DEVICE@SOCKET", server.words[i]);
	text = g_strndup(server.words[i], (gsize)(path - server.words[i]));
	o.function = make_function(i, text, error);
	g_free(text);
	if (o.function)
		server.v[i] = vfio_user_new(server.loop, &o, error);
	return server.v[i] != NULL;
}

static void set_up(void *arg)
{
	GError *error = NULL;

	(void)arg;
	for (unsigned i = 0; i < server.n; i++) {
		if (make(i, &error))
			continue;
		fprintf(stderr, "edu_server: %s\n", error->message);
		exit(1);
	}
	printf("ready\n");
	fflush(stdout);
}

static void free_toys(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < server.n; i++) {
		if (server.toys[i])
			toy_free(server.toys[i]);
	}
}

static void tear_down(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < server.n; i++)
		vfio_user_free(server.v[i]);
	for (unsigned i = 0; i < server.n; i++)
		device_free(server.devices[i]);
	pci_on_loop_stack(free_toys, NULL);
	loop_stop(server.loop);
}

static void throw_out(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < server.n; i++)
		vfio_user_disconnect(server.v[i]);
}

static void on_signal(int signo, void *arg)
{
	(void)arg;
	co_start(server.loop, signo == SIGTERM ? tear_down : throw_out, NULL);
}

int main(int argc, char **argv)
{
	GError *error = NULL;

	if (argc < 2 || argc - 1 > DEVICES_MAX) {
		fprintf(stderr, "usage: edu_server DEVICE@SOCKET...\n");
		return 2;
	}
	server.n = (unsigned)argc - 1;
	memcpy(server.words, argv + 1, server.n * sizeof(*argv));
	server.loop = loop_new(LOOP_AUTO, &error);
	if (!server.loop || !loop_on_signal(server.loop, SIGTERM, on_signal, NULL, &error) ||
	    !loop_on_signal(server.loop, SIGUSR1, on_signal, NULL, &error)) {
		fprintf(stderr, "edu_server: %s\n", error->message);
		return 1;
	}
	co_start(server.loop, set_up, NULL);
	loop_run(server.loop);
	loop_free(server.loop);
	return 0;
}
