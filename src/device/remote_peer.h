/*
 * The other side of a remote device: a program that is started, or a socket that is connected to.
 */
#pragma once

#include "base/co.h"

#include <sys/types.h>

enum remote_kind { REMOTE_EXEC, REMOTE_TCP, REMOTE_UNIX };

struct remote_target {
	enum remote_kind kind;
	char *shown; /* for messages: the command, or the address */
	char **argv; /* EXEC */
	char **envp; /* EXEC */
	char *host;  /* TCP: host, UNIX: path */
	char *port;
};

/* Whether a driver's name is one of a program: exec:, tcp:, unix:, or the path of a .py file. */
bool remote_is_driver(const char *driver);
/* NULL: *error. */
struct remote_target *remote_target_parse(const char *driver, GError **error);
void remote_target_free(struct remote_target *t);

struct remote_peer {
	int in, out; /* of the stream; the same descriptor for a socket. -1: closed */
	int err;     /* the program's standard error, or -1 */
	int pid_fd;
	pid_t pid; /* 0: no program */
};

/*
 * Starts or connects; gives up on a connection at deadline_ns. The process must ignore SIGPIPE. A
 * program leads a process group of its own and is killed when this thread ends. False: *error,
 * nothing is left open.
 */
co_fn bool remote_peer_open(const struct remote_target *t, uint64_t deadline_ns,
			    struct remote_peer *p, GError **error);
/*
 * Closes in and out, waits for a program to end (for grace_ns, then its group is killed), and reaps
 * it: its wait status; -1: it had to be killed, or there is no program. err stays open, for the
 * caller to read the rest and close.
 */
co_fn int remote_peer_close(struct remote_peer *p, uint64_t grace_ns);
