/*
 * Starting a program with pipes to it, connecting to a socket, and ending either.
 *
 * A program is forked here and not by a library, since it needs a process group, a signal for the
 * death of its parent, and a word about a failed execve(): a pipe that closes on exec carries the
 * errno. Pipes and not a socket pair, for programs that open /dev/stdin.
 */
#include "device/remote_peer.h"
#include "base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LOWEST_FD = 3 }; /* so that the child's dup2() never meets one of its own */

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static bool make_pipe(int fds[2])
{
	if (pipe2(fds, O_CLOEXEC) < 0) {
		fds[0] = fds[1] = -1;
		return false;
	}
	for (unsigned i = 0; i < 2; i++) {
		int low = fds[i];

		if (low >= LOWEST_FD)
			continue;
		fds[i] = fcntl(low, F_DUPFD_CLOEXEC, LOWEST_FD);
		close(low);
	}
	return fds[0] >= 0 && fds[1] >= 0;
}

enum { IN, OUT, ERR, STATUS, PIPES }; /* by what they are to the program; STATUS: the errno */

/* In the child: async-signal-safe calls only. */
static _Noreturn void run_program(const struct remote_target *t, int pipes[PIPES][2], pid_t parent)
{
	struct sigaction act = {.sa_handler = SIG_DFL};
	sigset_t none;
	int err;

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent) /* it died before it could matter to us */
		_exit(127);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	sigaction(SIGPIPE, &act, NULL);
	if (dup2(pipes[IN][0], 0) == 0 && dup2(pipes[OUT][1], 1) == 1 &&
	    dup2(pipes[ERR][1], 2) == 2) {
		syscall(SYS_close_range, LOWEST_FD, UINT_MAX, CLOSE_RANGE_CLOEXEC);
		execvpe(t->argv[0], t->argv, t->envp);
	}
	err = errno;
	if (write(pipes[STATUS][1], &err, sizeof(err)) < 0)
		_exit(126);
	_exit(127);
}

/* Waits for the exec: nothing to read means that it went well. False: *error. */
static co_fn bool wait_exec(const struct remote_target *t, int fd, uint64_t deadline_ns,
			    GError **error)
{
	int err = 0;
	ssize_t n;

	if (co_poll(fd, POLLIN, deadline_ns) == 0)
		return err_set(error, ETIMEDOUT, "cannot run %s: it does not start", t->argv[0]);
	do
		n = read(fd, &err, sizeof(err));
	while (n < 0 && errno == EINTR);
	if (n != sizeof(err))
		return true;
	return err_set(error, err, "cannot run %s: %s", t->argv[0], g_strerror(err));
}

static bool start(const struct remote_target *t, int pipes[PIPES][2], struct remote_peer *p,
		  GError **error)
{
	pid_t parent = getpid();
	bool ok = true;

	for (unsigned i = 0; i < PIPES && ok; i++)
		ok = make_pipe(pipes[i]);
	p->pid = ok ? fork() : -1;
	if (p->pid == 0)
		run_program(t, pipes, parent);
	if (p->pid < 0) {
		p->pid = 0;
		return err_set_errno(error, errno, "cannot make a process for %s", t->argv[0]);
	}
	setpgid(p->pid, p->pid); /* as the child does: whoever comes first */
	p->pid_fd = (int)syscall(SYS_pidfd_open, p->pid, 0);
	p->out = pipes[IN][1];
	p->in = pipes[OUT][0];
	p->err = pipes[ERR][0];
	pipes[IN][1] = pipes[OUT][0] = pipes[ERR][0] = -1;
	close_fd(&pipes[STATUS][1]);
	if (p->pid_fd < 0)
		return err_set_errno(error, errno, "cannot watch the process of %s", t->argv[0]);
	fcntl(p->out, F_SETFL, O_NONBLOCK);
	fcntl(p->in, F_SETFL, O_NONBLOCK);
	fcntl(p->err, F_SETFL, O_NONBLOCK);
	return true;
}

static co_fn bool open_exec(const struct remote_target *t, uint64_t deadline_ns,
			    struct remote_peer *p, GError **error)
{
	int pipes[PIPES][2] = {{-1, -1}, {-1, -1}, {-1, -1}, {-1, -1}};
	bool ok = start(t, pipes, p, error) && wait_exec(t, pipes[STATUS][0], deadline_ns, error);

	for (unsigned i = 0; i < PIPES; i++) {
		close_fd(&pipes[i][0]);
		close_fd(&pipes[i][1]);
	}
	if (ok)
		return true;
	remote_peer_close(p, 0);
	close_fd(&p->err);
	return false;
}

struct lookup {
	const struct remote_target *t;
	struct addrinfo *list;
};

static int look_up(void *arg)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	struct lookup *l = arg;

	return getaddrinfo(l->t->host, l->t->port, &hints, &l->list);
}

/* A connected socket, or -errno. */
static co_fn int connect_one(const struct addrinfo *a, uint64_t deadline_ns)
{
	const int on = 1;
	int fd, res;
	socklen_t len = sizeof(res);

	fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, a->ai_protocol);
	if (fd < 0)
		return -errno;
	res = connect(fd, a->ai_addr, a->ai_addrlen) < 0 ? errno : 0;
	if (res == EINPROGRESS) {
		if (co_poll(fd, POLLOUT, deadline_ns) == 0)
			res = ETIMEDOUT;
		else if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &res, &len) < 0)
			res = errno;
	}
	if (!res) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		return fd;
	}
	close(fd);
	return -res;
}

/* Does not wait where the listener's backlog is full. */
static co_fn int connect_unix(const struct remote_target *t, uint64_t deadline_ns, GError **error)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	const struct addrinfo a = {
		.ai_family = AF_UNIX, .ai_addr = (struct sockaddr *)&sa, .ai_addrlen = sizeof(sa)};
	int fd = -ENAMETOOLONG;

	if (strlen(t->host) < sizeof(sa.sun_path)) {
		memcpy(sa.sun_path, t->host, strlen(t->host));
		fd = connect_one(&a, deadline_ns);
	}
	if (fd < 0)
		err_set_errno(error, -fd, "cannot connect to %s", t->shown);
	return fd;
}

static co_fn int connect_tcp(const struct remote_target *t, uint64_t deadline_ns, GError **error)
{
	struct lookup l = {.t = t};
	int res = job_run(look_up, &l), fd = -ENOENT;

	if (res != 0) {
		err_set(error, ENOENT, "%s: %s", t->shown, gai_strerror(res));
		return -1;
	}
	for (const struct addrinfo *a = l.list; a && fd < 0; a = a->ai_next)
		fd = connect_one(a, deadline_ns);
	freeaddrinfo(l.list);
	if (fd < 0)
		err_set_errno(error, -fd, "cannot connect to %s", t->shown);
	return fd;
}

co_fn bool remote_peer_open(const struct remote_target *t, uint64_t deadline_ns,
			    struct remote_peer *p, GError **error)
{
	*p = (struct remote_peer){-1, -1, -1, -1, 0};
	if (t->kind == REMOTE_EXEC)
		return open_exec(t, deadline_ns, p, error);
	p->in = t->kind == REMOTE_TCP ? connect_tcp(t, deadline_ns, error)
				      : connect_unix(t, deadline_ns, error);
	p->out = p->in;
	return p->in >= 0;
}

co_fn int remote_peer_close(struct remote_peer *p, uint64_t grace_ns)
{
	bool ended = false;
	int status = 0;

	if (p->in == p->out)
		p->in = -1;
	close_fd(&p->in);
	close_fd(&p->out);
	if (!p->pid)
		return -1;
	if (grace_ns && p->pid_fd >= 0)
		ended = co_poll(p->pid_fd, POLLIN, loop_now_ns() + grace_ns) > 0;
	kill(-p->pid, SIGKILL); /* its children too; it is not reaped, so the number is its own */
	kill(p->pid, SIGKILL);
	if (p->pid_fd >= 0)
		co_poll(p->pid_fd, POLLIN, 0);
	while (waitpid(p->pid, &status, 0) < 0 && errno == EINTR)
		;
	close_fd(&p->pid_fd);
	p->pid = 0;
	return ended ? status : -1;
}
