/*
 * One connection: bytes in, and its life from the greeting to the end.
 *
 * A coroutine reads. What it receives goes through a buffer, so that one system call brings many
 * requests; the data of a large write go past it. It waits for the client only when all that there
 * was has been used.
 *
 * The end: a client that disconnects, or hangs up, gets what it had asked for as far as it still
 * listens; so does everybody when the server ends.
 */
#include "attach/nbd/impl.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

enum { HANDSHAKE_S = 30, END_WAIT_S = 5, REQUESTS_IN_TURN = 64 };

static char *peer_name(int fd)
{
	struct sockaddr_storage sa = {0};
	socklen_t len = sizeof(sa);
	struct ucred peer;
	char host[64], port[16];

	if (getpeername(fd, (struct sockaddr *)&sa, &len) == 0 && sa.ss_family != AF_UNIX &&
	    getnameinfo((struct sockaddr *)&sa, len, host, sizeof(host), port, sizeof(port),
			NI_NUMERICHOST | NI_NUMERICSERV) == 0)
		return g_strdup_printf(strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
	len = sizeof(peer);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.pid > 0)
		return g_strdup_printf("pid %d", (int)peer.pid);
	return g_strdup("unknown");
}

static void run_flush(struct loop_task *t)
{
	nbd_flush((struct nbd_conn *)((char *)t - offsetof(struct nbd_conn, flush)));
}

struct nbd_conn *nbd_conn_new(struct nbd_server *s, int fd)
{
	static const int one = 1;
	struct nbd_conn *c = g_new0(struct nbd_conn, 1);

	if (!s->path) {
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	}
	c->s = s;
	c->io.fd = fd;
	c->peer = peer_name(fd);
	c->since_ns = loop_now_ns();
	c->deadline_ns = c->since_ns + HANDSHAKE_S * 1000000000ull;
	c->in = g_malloc(NBD_IN_LEN);
	c->flush.run = run_flush;
	c->reply = g_byte_array_new();
	return c;
}

void nbd_conn_fail(struct nbd_conn *c, const char *why)
{
	if (c->broken)
		return;
	c->broken = true;
	if (why) {
		c->s->stats.protocol_errors++;
		log_limited(&c->s->limit, LOG_WARN, "nbd", "%s: connection of %s closed: %s",
			    c->s->where, c->peer, why);
	}
	shutdown(c->io.fd, SHUT_RDWR);
}

/* Some bytes to buf; 0: the connection ends. */
static co_fn size_t receive(struct nbd_conn *c, void *buf, size_t len)
{
	for (;;) {
		ssize_t n = c->broken || c->s->ending ? 0 : nbd_stream_recv(&c->io, buf, len);
		int res;

		if (n >= 0)
			return (size_t)n;
		if (n != -EAGAIN) {
			nbd_conn_fail(c, n == -EPROTO ? "TLS failed" : NULL);
			return 0;
		}
		res = co_poll(c->io.fd, POLLIN, c->deadline_ns);
		if (res == 0)
			nbd_conn_fail(c, "it took too long to choose an export");
		else if (res < 0)
			nbd_conn_fail(c, NULL);
	}
}

co_fn bool nbd_need(struct nbd_conn *c, size_t len)
{
	if (c->broken || c->s->ending) /* what it asked for before is for nobody any more */
		return false;
	if (c->in_end - c->in_at >= len)
		return true;
	memmove(c->in, c->in + c->in_at, c->in_end - c->in_at);
	c->in_end -= c->in_at;
	c->in_at = 0;
	while (c->in_end < len) {
		size_t n = receive(c, c->in + c->in_end, NBD_IN_LEN - c->in_end);

		if (!n)
			return false;
		c->in_end += n;
	}
	return true;
}

co_fn bool nbd_take(struct nbd_conn *c, void *buf, size_t len)
{
	size_t done = MIN(len, c->in_end - c->in_at);

	if (buf)
		memcpy(buf, c->in + c->in_at, done);
	c->in_at += done;
	while (done < len) {
		/* without buf the bytes go where the next request will come to */
		size_t n = buf ? receive(c, (char *)buf + done, len - done)
			       : receive(c, c->in, MIN(len - done, (size_t)NBD_IN_LEN));

		if (!n)
			return false;
		done += n;
	}
	return true;
}

/* Until everything in flight has ended; what is left after a while is not sent. */
static co_fn void wait_for_requests(struct nbd_conn *c)
{
	uint64_t deadline = loop_now_ns() + END_WAIT_S * 1000000000ull;

	while (c->in_flight) {
		if (c->broken)
			co_queue_wait(&c->room);
		else if (!co_queue_wait_until(&c->room, deadline))
			nbd_conn_fail(c, NULL);
		if (c->broken)
			nbd_drop_replies(c);
	}
	while (c->flush.pending)
		co_reschedule();
}

static co_fn void end_conn(struct nbd_conn *c)
{
	wait_for_requests(c);
	log_line(LOG_INFO, "nbd", "%s: %s disconnected", c->s->where, c->peer);
	nbd_stream_close(&c->io);
	nbd_free_spare(c);
	nbd_conn_gone(c);
	g_byte_array_free(c->reply, TRUE);
	g_free(c->in);
	g_free(c->peer);
	g_free(c);
}

co_fn void nbd_conn_run(void *conn)
{
	struct nbd_conn *c = conn;

	if (nbd_handshake(c)) {
		c->deadline_ns = 0;
		log_line(LOG_INFO, "nbd", "%s: %s connected to export \"%s\"%s", c->s->where,
			 c->peer, c->export->name, c->io.tls ? " by TLS" : "");
		for (unsigned n = 1; nbd_next_request(c); n++) {
			if (n % REQUESTS_IN_TURN == 0)
				co_reschedule();
		}
	}
	end_conn(c);
}
