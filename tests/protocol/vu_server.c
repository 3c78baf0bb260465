/* See vu_server.h. */
#include "vu_server.h"
#include "attach/vhost_user/impl.h"
#include "base/log.h"
#include "block/blklog.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static GString *caught;
static pthread_mutex_t caught_lock = PTHREAD_MUTEX_INITIALIZER;

static void die(const char *what)
{
	perror(what);
	abort();
}

static void make_disk(struct vu_server *s)
{
	int fd;

	snprintf(s->file, sizeof(s->file), "%s/disk.img", s->dir);
	fd = open(s->file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, SERVER_DISK_LEN) < 0)
		die(s->file);
	close(fd);
}

void server_init(struct vu_server *s)
{
	log_set_level(caught ? LOG_INFO : LOG_ERROR);
	strcpy(s->dir, "/tmp/outboard-vu-XXXXXX");
	if (!mkdtemp(s->dir))
		die("mkdtemp");
	snprintf(s->path, sizeof(s->path), "%s/vu.sock", s->dir);
	if (!s->n_units)
		s->n_units = 1;
	for (unsigned i = 0; i < s->n_units; i++)
		s->store[i] = fake_store_new();
	if (s->is_disk)
		make_disk(s);
}

void server_fini(struct vu_server *s)
{
	for (unsigned i = 0; i < s->n_units; i++)
		fake_store_free(s->store[i]);
	unlink(s->path);
	if (s->is_disk)
		unlink(s->file);
	if (rmdir(s->dir) < 0)
		die(s->dir);
}

static void set_up(void *arg)
{
	struct vu_server *s = arg;
	struct vhost_user_options o = {
		.path = s->path,
		.targets = s->unit,
		.n_targets = s->n_units,
		.max_queues = s->max_queues,
		.packed = s->packed,
		.max_clients = s->max_clients,
		.config = s->config,
	};
	GError *error = NULL;

	if (s->is_disk) {
		struct block_node *file =
			block_open_file(s->file, s->readonly ? 0 : BLOCK_RDWR, &error);

		if (!file)
			die(error->message);
		s->node = blklog_new(file);
		o.disk = (struct vhost_user_disk){s->node, "a serial of 20 chars"};
		o.n_targets = 0;
	}
	for (unsigned i = 0; i < o.n_targets; i++) {
		char name[16];

		snprintf(name, sizeof(name), "unit%u", i);
		s->unit[i] = fake_unit_new(s->loop, name, s->store[i]);
	}
	s->v = vhost_user_new(s->loop, &o, &error);
	if (!s->v) {
		fprintf(stderr, "%s\n", error->message);
		abort();
	}
}

static void tear_down(void *arg)
{
	struct vu_server *s = arg;

	vhost_user_free(s->v);
	block_unref(s->node);
	for (unsigned i = 0; i < s->n_units && !s->is_disk; i++)
		scsi_lu_free(s->unit[i]);
}

static void *run(void *arg)
{
	loop_run(arg);
	return NULL;
}

void server_start(struct vu_server *s)
{
	s->loop = loop_new(LOOP_AUTO, NULL);
	if (!s->loop)
		exit(77); /* no such back end here */
	if (pthread_create(&s->thread, NULL, run, s->loop))
		die("pthread_create");
	loop_call(s->loop, set_up, s);
}

void server_call(struct vu_server *s, void (*fn)(void *arg), void *arg)
{
	loop_call(s->loop, fn, arg);
}

void server_stop(struct vu_server *s)
{
	loop_call(s->loop, tear_down, s);
	loop_stop(s->loop);
	pthread_join(s->thread, NULL);
	loop_free(s->loop);
}

static void set_up_and_tell(void *arg)
{
	struct vu_server *s = arg;

	set_up(s);
	if (write(s->ready_fd, "", 1) != 1)
		_exit(1);
}

void server_fork(struct vu_server *s)
{
	int ready[2];
	char c;

	if (pipe(ready) < 0)
		die("pipe");
	s->pid = fork();
	if (s->pid < 0)
		die("fork");
	if (s->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		log_set_level(LOG_ERROR);
		s->loop = loop_new(LOOP_AUTO, NULL);
		s->ready_fd = ready[1];
		co_start(s->loop, set_up_and_tell, s);
		loop_run(s->loop);
		_exit(1);
	}
	close(ready[1]);
	if (read(ready[0], &c, 1) != 1)
		die("server process");
	close(ready[0]);
}

void server_kill(struct vu_server *s)
{
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
}

static void catch_line(enum log_level level, const char *area, const char *text, void *arg)
{
	(void)arg;
	if (level > LOG_INFO)
		return;
	pthread_mutex_lock(&caught_lock);
	g_string_append_printf(caught, "%s: %s\n", area, text);
	pthread_mutex_unlock(&caught_lock);
}

void server_catch_log(void)
{
	caught = g_string_new(NULL);
	log_set_sink(catch_line, NULL);
}

char *server_log(void)
{
	char *text;

	pthread_mutex_lock(&caught_lock);
	text = g_strdup(caught->str);
	g_string_truncate(caught, 0);
	pthread_mutex_unlock(&caught_lock);
	return text;
}

static void clear_limit(void *arg)
{
	((struct vu_server *)arg)->v->limit = (struct log_limit){0};
}

void server_unlimit_log(struct vu_server *s)
{
	g_free(server_log());
	loop_call(s->loop, clear_limit, s);
}
