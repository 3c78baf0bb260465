/*
 * Unix stream sockets for coroutines, with descriptors passed along.
 *
 * Set-up calls report through GError and do not yield. Data calls are co_fn and return bytes, 0 at
 * the end of the stream, or -errno. All descriptors made here are non-blocking and close-on-exec.
 */
#pragma once

#include "base/co.h"

/*
 * Listens on path. A socket file that nobody answers on is a leftover and replaced; one that
 * answers is an error. The file is made with mode 0600. The descriptor is the caller's to close
 * (and the file his to unlink).
 */
int sock_listen_unix(const char *path, GError **error);
int sock_connect_unix(const char *path, GError **error);
/*
 * The new descriptor, or -errno; -ESHUTDOWN once somebody called shutdown(fd): how to end a
 * coroutine that accepts.
 */
co_fn int sock_accept(int fd);

/*
 * Receives exactly len bytes, or 0 if the stream ended before the first one, or -errno (-EPIPE:
 * ended inside). Descriptors that come along are stored to fds (room for max_fds), their number to
 * *n_fds; more than max_fds, or truncated control data, is -EPROTO and every descriptor is closed.
 * fds may be NULL: any descriptor is -EPROTO.
 */
co_fn int sock_recv_all(int fd, void *buf, size_t len, int *fds, unsigned max_fds, unsigned *n_fds);
/*
 * Sends all of it, with n_fds descriptors attached to the first byte (they stay the caller's). 0 or
 * -errno.
 */
co_fn int sock_send_all(int fd, const void *buf, size_t len, const int *fds, unsigned n_fds);
