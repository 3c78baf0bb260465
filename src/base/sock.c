/* Unix stream sockets with descriptors passed along (SCM_RIGHTS). */
#include "base/sock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/err.h"

enum {
	MAX_FDS = 253, /* in one message, by Linux (SCM_MAX_FD) */
	BACKLOG = 64,
	CONNECT_TIMEOUT_S = 5, /* when the listener's backlog is full */
};

static bool fill_address(struct sockaddr_un *sa, const char *path, GError **error)
{
	size_t len = strlen(path);

	*sa = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (!len || len >= sizeof(sa->sun_path)) {
		return err_set(error, ENAMETOOLONG,
			       "socket path \"%s\" has %zu bytes, must be 1 to %zu", path, len,
			       sizeof(sa->sun_path) - 1);
	}
	memcpy(sa->sun_path, path, len);
	return true;
}

/*
 * Did the process end whose listener fd is connected to? Its io_uring may keep the socket alive for
 * a moment after the process was killed.
 */
static bool is_listener_dead(int fd)
{
	struct pollfd p = {.events = POLLIN};
	struct ucred peer;
	socklen_t len = sizeof(peer);
	bool dead;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 || peer.pid <= 0)
		return false;
	p.fd = (int)syscall(SYS_pidfd_open, peer.pid, 0);
	if (p.fd < 0)
		return errno == ESRCH;
	dead = poll(&p, 1, 0) > 0; /* also while nobody has waited for it */
	close(p.fd);
	return dead;
}

/* Removes a socket file that nobody listens on any more. */
static bool remove_leftover(const struct sockaddr_un *sa, GError **error)
{
	struct stat st;
	int fd, ret, err;

	if (lstat(sa->sun_path, &st) < 0) {
		if (errno == ENOENT)
			return true;
		return err_set_errno(error, errno, "cannot look at %s", sa->sun_path);
	}
	if (!S_ISSOCK(st.st_mode))
		return err_set(error, EEXIST, "%s exists and is no socket", sa->sun_path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return err_set_errno(error, errno, "cannot make a socket");
	ret = connect(fd, (const struct sockaddr *)sa, sizeof(*sa));
	err = errno;
	if (ret == 0 && is_listener_dead(fd)) {
		ret = -1;
		err = ECONNREFUSED;
	}
	close(fd);
	if (ret == 0 || err == EAGAIN)
		return err_set(error, EADDRINUSE, "another program listens on %s", sa->sun_path);
	if (err != ECONNREFUSED)
		return err_set_errno(error, err, "cannot tell whether anyone listens on %s",
				     sa->sun_path);
	if (unlink(sa->sun_path) < 0 && errno != ENOENT)
		return err_set_errno(error, errno, "cannot remove the left-over socket %s",
				     sa->sun_path);
	return true;
}

int sock_listen_unix(const char *path, GError **error)
{
	struct sockaddr_un sa;
	int fd;

	if (!fill_address(&sa, path, error) || !remove_leftover(&sa, error))
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* The file gets the mode of the socket, so nobody can connect before a chmod(). */
	if (fd < 0 || fchmod(fd, 0600) < 0)
		err_set_errno(error, errno, "cannot make a socket");
	else if (bind(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, BACKLOG) < 0)
		err_set_errno(error, errno, "cannot listen on %s", path);
	else
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

int sock_connect_unix(const char *path, GError **error)
{
	const struct timeval timeout = {.tv_sec = CONNECT_TIMEOUT_S};
	const struct timeval never = {0};
	struct sockaddr_un sa;
	int fd;

	if (!fill_address(&sa, path, error))
		return -1;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0) {
		err_set_errno(error, errno, "cannot make a socket");
		return -1;
	}
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	if (connect(fd, (const struct sockaddr *)&sa, sizeof(sa)) < 0) {
		err_set_errno(error, errno, "cannot connect to %s", path);
		close(fd);
		return -1;
	}
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &never, sizeof(never));
	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0) {
		err_set_errno(error, errno, "cannot make the socket to %s non-blocking", path);
		close(fd);
		return -1;
	}
	return fd;
}

/*
 * After a call failed with err: waits if that helps; to try again 0 or what poll() saw, else
 * -errno.
 */
static co_fn int wait_for(int fd, unsigned events, int err)
{
	if (err == EINTR || err == ECONNABORTED)
		return 0;
	if (err != EAGAIN && err != EWOULDBLOCK)
		return -err;
	return co_poll(fd, events, 0);
}

co_fn int sock_accept(int fd)
{
	for (;;) {
		int ret = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (ret >= 0)
			return ret;
		ret = wait_for(fd, POLLIN, errno);
		if (ret < 0)
			return ret;
		if (ret > 0 &&
		    ret & POLLHUP) /* a non-blocking accept() of it only says EAGAIN, for ever */
			return -ESHUTDOWN;
	}
}

/* Descriptors collected while a message comes in. */
struct fd_list {
	int *fds;
	unsigned n, max;
	bool overflow;
};

static void fd_list_take(struct fd_list *l, struct msghdr *msg)
{
	if (msg->msg_flags & MSG_CTRUNC)
		l->overflow = true;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		unsigned n = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (unsigned i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			if (l->n < l->max) {
				l->fds[l->n++] = fd;
			} else {
				l->overflow = true;
				close(fd);
			}
		}
	}
}

static int fd_list_fail(struct fd_list *l, int err)
{
	while (l->n)
		close(l->fds[--l->n]);
	return err;
}

/* One recvmsg; its count, or -errno. */
static co_fn int recv_some(int fd, void *buf, size_t len, struct fd_list *l)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(MAX_FDS * sizeof(int))];
	struct iovec iov = {buf, len < INT_MAX ? len : INT_MAX};

	for (;;) {
		struct msghdr msg = {
			.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = control,
			.msg_controllen = sizeof(control),
		};
		ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
		int ret;

		if (n >= 0) {
			fd_list_take(l, &msg);
			return (int)n;
		}
		ret = wait_for(fd, POLLIN, errno);
		if (ret < 0)
			return ret;
	}
}

co_fn int sock_recv_all(int fd, void *buf, size_t len, int *fds, unsigned max_fds, unsigned *n_fds)
{
	struct fd_list l = {.fds = fds, .max = fds ? max_fds : 0};
	size_t done = 0;

	if (len > INT_MAX)
		return -EMSGSIZE;
	while (done < len) {
		int n = recv_some(fd, (char *)buf + done, len - done, &l);

		if (n < 0)
			return fd_list_fail(&l, n);
		if (l.overflow)
			return fd_list_fail(&l, -EPROTO);
		if (n == 0)
			return fd_list_fail(&l, done ? -EPIPE : 0);
		done += (size_t)n;
	}
	if (n_fds)
		*n_fds = l.n;
	return (int)len;
}

static void attach_fds(struct msghdr *msg, char *control, const int *fds, unsigned n_fds)
{
	struct cmsghdr *c;

	msg->msg_control = control;
	msg->msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
	memset(control, 0, msg->msg_controllen);
	c = CMSG_FIRSTHDR(msg);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
	memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
}

co_fn int sock_send_all(int fd, const void *buf, size_t len, const int *fds, unsigned n_fds)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(MAX_FDS * sizeof(int))];
	size_t done = 0;

	if (n_fds > MAX_FDS || (n_fds && !len))
		return -EINVAL;
	while (done < len) {
		struct iovec iov = {(char *)buf + done, len - done};
		struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
		ssize_t n;

		if (n_fds && !done)
			attach_fds(&msg, control, fds, n_fds);
		n = sendmsg(fd, &msg, MSG_NOSIGNAL);
		if (n >= 0) {
			done += (size_t)n;
		} else {
			int ret = wait_for(fd, POLLOUT, errno);

			if (ret < 0)
				return ret;
		}
	}
	return 0;
}
