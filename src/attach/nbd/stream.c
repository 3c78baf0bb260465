/* A connection's bytes: see stream.h. */
#include "attach/nbd/stream.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

ssize_t nbd_stream_recv(struct nbd_stream *io, void *buf, size_t len)
{
	ssize_t n;

	if (io->tls)
		return nbd_tls_recv(io->tls, buf, len);
	do
		n = recv(io->fd, buf, len, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

ssize_t nbd_stream_sendv(struct nbd_stream *io, const struct iovec *iov, unsigned n)
{
	struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = n};
	ssize_t sent;

	if (io->tls)
		return nbd_tls_sendv(io->tls, iov, n);
	do
		sent = sendmsg(io->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (sent < 0 && errno == EINTR);
	return sent < 0 ? -errno : sent;
}

co_fn int nbd_stream_send_all(struct nbd_stream *io, const void *buf, size_t len,
			      uint64_t deadline_ns)
{
	while (len) {
		struct iovec v = {(void *)buf, len};
		ssize_t n = nbd_stream_sendv(io, &v, 1);

		if (n == -EAGAIN) {
			int res = co_poll(io->fd, POLLOUT, deadline_ns);

			if (res <= 0)
				return res < 0 ? res : -ETIMEDOUT;
			continue;
		}
		if (n < 0)
			return (int)n;
		buf = (const char *)buf + n;
		len -= (size_t)n;
	}
	return 0;
}

void nbd_stream_close(struct nbd_stream *io)
{
	nbd_tls_session_free(io->tls);
	io->tls = NULL;
	if (io->fd >= 0)
		close(io->fd);
	io->fd = -1;
}
