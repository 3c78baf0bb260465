/*
 * A connection's bytes, in the clear or under TLS. Calls never block: -EAGAIN means to wait for
 * the descriptor.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "attach/nbd/tls.h"

struct nbd_stream {
	int fd;
	struct nbd_tls_session *tls; /* NULL: in the clear */
};

/* Bytes, 0 at the end, or -errno. */
ssize_t nbd_stream_recv(struct nbd_stream *io, void *buf, size_t len);
/* How much of it was sent, from the start (more than 0), or -errno. After -EAGAIN the same bytes
 * must come first again. */
ssize_t nbd_stream_sendv(struct nbd_stream *io, const struct iovec *iov, unsigned n);
/* The same bytes in one piece, waiting at most until the deadline. 0 or -errno. */
co_fn int nbd_stream_send_all(struct nbd_stream *io, const void *buf, size_t len,
			      uint64_t deadline_ns);
/* Tells a client under TLS that this is the end; then closes. */
void nbd_stream_close(struct nbd_stream *io);
