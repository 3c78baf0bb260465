/*
 * TLS for the NBD server, by GnuTLS: X.509 with QEMU's layout of a folder, or pre-shared keys. In
 * a build without GnuTLS nbd_tls_new() says so, and nothing else is ever called.
 */
#pragma once

#include "attach/nbd.h"

struct nbd_tls; /* credentials */
struct nbd_tls_session;

struct nbd_tls *nbd_tls_new(const struct nbd_tls_options *o, GError **error);
void nbd_tls_free(struct nbd_tls *t); /* NULL is fine */

/* The server's side of the handshake. NULL on error, or when the deadline has passed. */
co_fn struct nbd_tls_session *nbd_tls_handshake(struct nbd_tls *t, int fd, uint64_t deadline_ns,
						GError **error);
/* Says goodbye, as far as that goes without waiting. NULL is fine. */
void nbd_tls_session_free(struct nbd_tls_session *s);

/* As nbd_stream_recv() and nbd_stream_sendv(). */
ssize_t nbd_tls_recv(struct nbd_tls_session *s, void *buf, size_t len);
ssize_t nbd_tls_sendv(struct nbd_tls_session *s, const struct iovec *iov, unsigned n);
