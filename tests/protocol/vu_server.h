/* A vhost-user server for tests: in a thread of its own, or in a process that can be killed. */
#pragma once

#include "attach/vhost_user.h"
#include "block/block.h"
#include "fake_unit.h"

#include <pthread.h>
#include <sys/types.h>

enum { SERVER_UNITS_MAX = 4, SERVER_DISK_LEN = 8 << 20 };

struct vu_server {
	char dir[64], path[96], file[96];
	unsigned n_units; /* before the start: targets; 0: 1 */
	unsigned max_queues, max_clients;
	bool packed, config;
	bool is_disk, readonly; /* a disk: the file, with a log of what is written over it */
	struct fake_store *store[SERVER_UNITS_MAX];
	/* set by the start */
	struct loop *loop;
	pthread_t thread;
	struct scsi_lu *unit[SERVER_UNITS_MAX];
	struct block_node *node;
	struct vhost_user *v;
	int ready_fd; /* of the process, that tells when it listens */
	pid_t pid;
};

/* Makes directory and stores; once for a server, before its first start. */
void server_init(struct vu_server *s);
void server_fini(struct vu_server *s);

void server_start(struct vu_server *s);
void server_stop(struct vu_server *s); /* in an orderly way */
/* Runs fn(arg) as a coroutine on the server's loop. */
void server_call(struct vu_server *s, void (*fn)(void *arg), void *arg);

void server_fork(struct vu_server *s); /* no thread of this process may run a loop */
void server_kill(struct vu_server *s);

/* What was logged since the last call, in one string; g_free() it. */
void server_catch_log(void);
char *server_log(void);
/* Forgets what was logged, and that it was much. */
void server_unlimit_log(struct vu_server *s);
