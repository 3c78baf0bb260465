/* A vfio-user server with toys for tests, on a loop in a thread of its own. */
#pragma once

#include "attach/vfio_user.h"
#include "toy.h"

#include <pthread.h>

enum { SERVER_DEVICES = 4 };

struct vfu_server {
	unsigned n; /* devices; 0: 1 */
	char dir[64], path[SERVER_DEVICES][96];
	struct loop *loop;
	pthread_t thread;
	struct toy *toy[SERVER_DEVICES];
	struct vfio_user *v[SERVER_DEVICES];
};

void server_start(struct vfu_server *s);
void server_stop(struct vfu_server *s); /* in the orderly way */
/* Ends the attachments only; server_stop() is still to come. */
void server_end_attachments(struct vfu_server *s);
void server_disconnect(struct vfu_server *s);
struct vfio_user_stats server_stats(struct vfu_server *s);
/* Waits until so many clients are attached to the first device. */
void server_wait_clients(struct vfu_server *s, unsigned n);
unsigned open_fds(void);
