/* See vfu_server.h. */
#include "vfu_server.h"
#include "base/log.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void quiet(enum log_level level, const char *area, const char *text, void *arg)
{
	(void)level;
	(void)area;
	(void)text;
	(void)arg;
}

static void die(const char *what)
{
	perror(what);
	abort();
}

static void set_up(void *arg)
{
	struct vfu_server *s = arg;
	GError *error = NULL;

	for (unsigned i = 0; i < s->n; i++) {
		struct vfio_user_options o = {.path = s->path[i]};

		s->toy[i] = toy_new(s->loop, "toy");
		o.function = toy_function(s->toy[i]);
		s->v[i] = vfio_user_new(s->loop, &o, &error);
		if (!s->v[i]) {
			fprintf(stderr, "%s\n", error->message);
			abort();
		}
	}
}

static void end_attachments(void *arg)
{
	struct vfu_server *s = arg;

	for (unsigned i = 0; i < s->n; i++) {
		vfio_user_free(s->v[i]);
		s->v[i] = NULL;
	}
}

static void free_toys(void *arg)
{
	struct vfu_server *s = arg;

	for (unsigned i = 0; i < s->n; i++)
		toy_free(s->toy[i]);
}

static void tear_down(void *arg)
{
	end_attachments(arg);
	pci_on_loop_stack(free_toys, arg);
	co_reschedule();
}

static void *run(void *arg)
{
	loop_run(arg);
	return NULL;
}

void server_start(struct vfu_server *s)
{
	if (!getenv("VFU_TEST_LOG"))
		log_set_sink(quiet, NULL);
	if (!s->n)
		s->n = 1;
	strcpy(s->dir, "/tmp/outboard-vfu-XXXXXX");
	if (!mkdtemp(s->dir))
		die("mkdtemp");
	for (unsigned i = 0; i < s->n; i++)
		snprintf(s->path[i], sizeof(s->path[i]), "%s/%u.sock", s->dir, i);
	s->loop = loop_new(LOOP_AUTO, NULL);
	if (!s->loop)
		exit(77); /* no such back end here */
	if (pthread_create(&s->thread, NULL, run, s->loop))
		die("pthread_create");
	loop_call(s->loop, set_up, s);
}

void server_stop(struct vfu_server *s)
{
	loop_call(s->loop, tear_down, s);
	loop_stop(s->loop);
	pthread_join(s->thread, NULL);
	loop_free(s->loop);
	if (rmdir(s->dir) < 0)
		die(s->dir);
}

void server_end_attachments(struct vfu_server *s)
{
	loop_call(s->loop, end_attachments, s);
}

static void disconnect(void *arg)
{
	struct vfu_server *s = arg;

	vfio_user_disconnect(s->v[0]);
}

void server_disconnect(struct vfu_server *s)
{
	loop_call(s->loop, disconnect, s);
}

struct stats_call {
	struct vfu_server *s;
	struct vfio_user_stats stats;
};

static void get_stats(void *arg)
{
	struct stats_call *c = arg;

	vfio_user_get_stats(c->s->v[0], &c->stats);
}

struct vfio_user_stats server_stats(struct vfu_server *s)
{
	struct stats_call c = {.s = s};

	loop_call(s->loop, get_stats, &c);
	return c.stats;
}

void server_wait_clients(struct vfu_server *s, unsigned n)
{
	for (unsigned i = 0; server_stats(s).clients != n; i++) {
		if (i > 20000)
			die("clients");
		usleep(1000);
	}
}

unsigned open_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	if (!d)
		die("/proc/self/fd");
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}
