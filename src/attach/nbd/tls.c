/*
 * TLS for the NBD server: see tls.h.
 *
 * The handshake is made in a worker, since it computes for a millisecond or more; GnuTLS never
 * waits there, for the socket is non-blocking. Records are made and opened on the loop.
 */
#include "attach/nbd/tls.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "outboard-config.h"

#ifdef HAVE_GNUTLS
#include <gnutls/gnutls.h>

enum { RECORD_MAX = 16384 };

struct nbd_tls {
	gnutls_certificate_credentials_t x509; /* NULL: none */
	gnutls_psk_server_credentials_t psk;   /* NULL: none */
	gnutls_priority_t priority;
	bool verify_peer;
};

struct nbd_tls_session {
	gnutls_session_t session;
	size_t pending; /* bytes of a record that GnuTLS has taken and not yet sent */
	uint8_t record[RECORD_MAX];
};

static bool failed(int res, GError **error, const char *what, const char *file)
{
	return err_set(error, EINVAL, "%s %s: %s", what, file, gnutls_strerror(res));
}

static bool load_x509(struct nbd_tls *t, const char *dir, GError **error)
{
	g_autofree char *ca = g_build_filename(dir, "ca-cert.pem", NULL);
	g_autofree char *crl = g_build_filename(dir, "ca-crl.pem", NULL);
	g_autofree char *cert = g_build_filename(dir, "server-cert.pem", NULL);
	g_autofree char *key = g_build_filename(dir, "server-key.pem", NULL);
	int res = gnutls_certificate_allocate_credentials(&t->x509);

	if (res < 0)
		return failed(res, error, "no memory for", dir);
	if (t->verify_peer || !access(ca, F_OK)) {
		res = gnutls_certificate_set_x509_trust_file(t->x509, ca, GNUTLS_X509_FMT_PEM);
		if (res < 0)
			return failed(res, error, "cannot load the authority's certificate", ca);
		if (res == 0)
			return err_set(error, EINVAL, "%s has no certificate in it", ca);
	}
	if (!access(crl, F_OK)) {
		res = gnutls_certificate_set_x509_crl_file(t->x509, crl, GNUTLS_X509_FMT_PEM);
		if (res < 0)
			return failed(res, error, "cannot load the list of revoked certificates",
				      crl);
	}
	res = gnutls_certificate_set_x509_key_file(t->x509, cert, key, GNUTLS_X509_FMT_PEM);
	if (res < 0)
		return err_set(error, EINVAL, "cannot load certificate %s with key %s: %s", cert,
			       key, gnutls_strerror(res));
	return true;
}

static bool load_psk(struct nbd_tls *t, const char *file, GError **error)
{
	int res;

	/* GnuTLS reads it anew for each client, so that keys can be added meanwhile. */
	if (access(file, R_OK) < 0)
		return err_set_errno(error, errno, "cannot read the keys in %s", file);
	res = gnutls_psk_allocate_server_credentials(&t->psk);
	if (res >= 0)
		res = gnutls_psk_set_server_credentials_file(t->psk, file);
	return res >= 0 || failed(res, error, "cannot use the keys in", file);
}

struct nbd_tls *nbd_tls_new(const struct nbd_tls_options *o, GError **error)
{
	struct nbd_tls *t = g_new0(struct nbd_tls, 1);
	int res;

	t->verify_peer = o->verify_peer;
	res = gnutls_priority_init(&t->priority,
				   o->psk ? "NORMAL:+ECDHE-PSK:+DHE-PSK:+PSK" : "NORMAL", NULL);
	if (res < 0)
		failed(res, error, "cannot choose", "ciphers");
	else if ((!o->creds || load_x509(t, o->creds, error)) &&
		 (!o->psk || load_psk(t, o->psk, error)))
		return t;
	nbd_tls_free(t);
	return NULL;
}

void nbd_tls_free(struct nbd_tls *t)
{
	if (!t)
		return;
	if (t->x509)
		gnutls_certificate_free_credentials(t->x509);
	if (t->psk)
		gnutls_psk_free_server_credentials(t->psk);
	if (t->priority)
		gnutls_priority_deinit(t->priority);
	g_free(t);
}

static bool set_up(struct nbd_tls *t, struct nbd_tls_session *s, int fd, GError **error)
{
	int res = gnutls_init(&s->session, GNUTLS_SERVER | GNUTLS_NONBLOCK | GNUTLS_NO_SIGNAL);

	if (res >= 0)
		res = gnutls_priority_set(s->session, t->priority);
	if (res >= 0 && t->x509)
		res = gnutls_credentials_set(s->session, GNUTLS_CRD_CERTIFICATE, t->x509);
	if (res >= 0 && t->psk)
		res = gnutls_credentials_set(s->session, GNUTLS_CRD_PSK, t->psk);
	if (res < 0)
		return failed(res, error, "cannot begin", "TLS");
	if (t->x509 && t->verify_peer) {
		gnutls_certificate_server_set_request(s->session, GNUTLS_CERT_REQUIRE);
		gnutls_session_set_verify_cert(s->session, NULL, 0);
	}
	gnutls_transport_set_int(s->session, fd);
	return true;
}

static int handshake_run(void *arg)
{
	struct nbd_tls_session *s = arg;
	int res;

	do
		res = gnutls_handshake(s->session);
	while (res == GNUTLS_E_INTERRUPTED || res == GNUTLS_E_WARNING_ALERT_RECEIVED);
	return res;
}

co_fn struct nbd_tls_session *nbd_tls_handshake(struct nbd_tls *t, int fd, uint64_t deadline_ns,
						GError **error)
{
	struct nbd_tls_session *s = g_new0(struct nbd_tls_session, 1);
	int res = -1;

	if (set_up(t, s, fd, error)) {
		for (;;) {
			unsigned events;

			res = job_run(handshake_run, s);
			if (res != GNUTLS_E_AGAIN)
				break;
			events = gnutls_record_get_direction(s->session) ? POLLOUT : POLLIN;
			if (co_poll(fd, events, deadline_ns) <= 0)
				break;
		}
		if (res < 0)
			err_set(error, EPROTO, "TLS handshake: %s",
				res == GNUTLS_E_AGAIN ? "took too long" : gnutls_strerror(res));
	}
	if (res >= 0)
		return s;
	nbd_tls_session_free(s);
	return NULL;
}

void nbd_tls_session_free(struct nbd_tls_session *s)
{
	if (!s)
		return;
	if (s->session) {
		gnutls_bye(s->session, GNUTLS_SHUT_WR);
		gnutls_deinit(s->session);
	}
	g_free(s);
}

static ssize_t to_errno(ssize_t res)
{
	if (res == GNUTLS_E_AGAIN || res == GNUTLS_E_INTERRUPTED ||
	    res == GNUTLS_E_WARNING_ALERT_RECEIVED)
		return -EAGAIN;
	return res == GNUTLS_E_PUSH_ERROR || res == GNUTLS_E_PULL_ERROR ? -ECONNRESET : -EPROTO;
}

ssize_t nbd_tls_recv(struct nbd_tls_session *s, void *buf, size_t len)
{
	ssize_t n;

	do
		n = gnutls_record_recv(s->session, buf, len);
	while (n == GNUTLS_E_INTERRUPTED || n == GNUTLS_E_WARNING_ALERT_RECEIVED);
	if (n == GNUTLS_E_PREMATURE_TERMINATION)
		return 0;
	return n >= 0 ? n : to_errno(n);
}

/* Small pieces share a record; a piece that fills one is not copied. */
ssize_t nbd_tls_sendv(struct nbd_tls_session *s, const struct iovec *iov, unsigned n)
{
	const void *data = s->record;
	size_t len = 0;
	ssize_t sent;

	if (s->pending) {
		sent = gnutls_record_send(s->session, NULL, 0);
	} else {
		if (iov->iov_len >= RECORD_MAX) {
			data = iov->iov_base;
			len = RECORD_MAX;
		}
		for (unsigned i = 0; data == s->record && i < n && len < RECORD_MAX; i++) {
			size_t piece = MIN(iov[i].iov_len, RECORD_MAX - len);

			memcpy(s->record + len, iov[i].iov_base, piece);
			len += piece;
		}
		sent = gnutls_record_send(s->session, data, len);
		s->pending = len;
	}
	if (sent < 0)
		return to_errno(sent);
	len = s->pending;
	s->pending = 0;
	return (ssize_t)MIN((size_t)sent, len);
}

#else

struct nbd_tls *nbd_tls_new(const struct nbd_tls_options *o, GError **error)
{
	(void)o;
	err_set(error, ENOTSUP, "this build has no TLS (it was made without GnuTLS)");
	return NULL;
}

void nbd_tls_free(struct nbd_tls *t)
{
	(void)t;
}

co_fn struct nbd_tls_session *nbd_tls_handshake(struct nbd_tls *t, int fd, uint64_t deadline_ns,
						GError **error)
{
	(void)t;
	(void)fd;
	(void)deadline_ns;
	err_set(error, ENOTSUP, "this build has no TLS");
	return NULL;
}

void nbd_tls_session_free(struct nbd_tls_session *s)
{
	(void)s;
}

ssize_t nbd_tls_recv(struct nbd_tls_session *s, void *buf, size_t len)
{
	(void)s;
	(void)buf;
	(void)len;
	return -ENOTSUP;
}

ssize_t nbd_tls_sendv(struct nbd_tls_session *s, const struct iovec *iov, unsigned n)
{
	(void)s;
	(void)iov;
	(void)n;
	return -ENOTSUP;
}

#endif
