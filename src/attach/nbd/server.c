/*
 * The NBD server: where it listens, its exports, its connections.
 *
 * Only connections that chose an export count as clients. Those that have not yet are limited in
 * time and number, and when there are too many the oldest makes room: so nobody is kept out by
 * others that connect and say nothing.
 */
#include "attach/nbd/impl.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"
#include "base/sock.h"
#include "base/sock_tcp.h"

enum { UNDECIDED_MAX = 64, RETRY_NS = 1000000000 };

const struct nbd_export *nbd_find_export(const struct nbd_server *s, const void *name, size_t len)
{
	for (unsigned i = 0; i < s->n_exports; i++) {
		const struct nbd_export *e = &s->exports[i];

		if (strlen(e->name) == len && (!len || !memcmp(e->name, name, len)))
			return e;
	}
	return !len && s->n_exports == 1 ? &s->exports[0] : NULL; /* the only one needs no name */
}

bool nbd_has_place(const struct nbd_server *s)
{
	unsigned n = 0;

	for (const struct nbd_conn *c = s->conns; c; c = c->next)
		n += c->export != NULL;
	return n < s->max_clients;
}

static void make_room(struct nbd_server *s)
{
	struct nbd_conn *oldest = NULL;
	unsigned n = 0;

	for (struct nbd_conn *c = s->conns; c; c = c->next) {
		if (c->export || c->broken)
			continue;
		n++;
		oldest = oldest ? oldest : c;
	}
	if (n >= UNDECIDED_MAX)
		nbd_conn_fail(oldest, "others wait, and it has not chosen an export");
}

static void set_listening(struct nbd_server *s, bool on);

static void accept_again(struct loop_timer *t)
{
	set_listening((struct nbd_server *)((char *)t - offsetof(struct nbd_server, retry)), true);
}

static void cannot_accept(struct nbd_server *s, int errnum)
{
	if (errnum == EAGAIN || errnum == EINTR || errnum == ECONNABORTED)
		return;
	log_limited(&s->limit, LOG_ERROR, "nbd", "%s: cannot accept: %s", s->where,
		    g_strerror(errnum));
	set_listening(s, false); /* the connection stays ready: do not spin on it */
	loop_timer_set(s->loop, &s->retry, loop_now_ns() + RETRY_NS);
}

static void on_connect(struct loop_watch *w, unsigned events)
{
	struct nbd_listener *l =
		(struct nbd_listener *)((char *)w - offsetof(struct nbd_listener, watch));
	struct nbd_server *s = l->s;
	struct nbd_conn **end = &s->conns, *c;
	int fd = accept4(l->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0) {
		cannot_accept(s, errno);
		return;
	}
	make_room(s);
	c = nbd_conn_new(s, fd);
	while (*end)
		end = &(*end)->next;
	*end = c;
	s->n_conns++;
	co_start(s->loop, nbd_conn_run, c);
}

static void set_listening(struct nbd_server *s, bool on)
{
	if (on == s->listening || (on && s->ending))
		return;
	s->listening = on;
	for (unsigned i = 0; i < s->n_listen; i++) {
		struct nbd_listener *l = &s->listen[i];

		if (!on) {
			loop_watch_remove(&l->watch);
			continue;
		}
		l->watch = (struct loop_watch){.ready = on_connect, .fd = l->fd, .events = POLLIN};
		loop_watch_add(s->loop, &l->watch);
	}
}

void nbd_conn_gone(struct nbd_conn *c)
{
	struct nbd_server *s = c->s;
	struct nbd_conn **at = &s->conns;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	s->stats.requests += c->requests;
	if (--s->n_conns == 0)
		nbd_pool_trim(&s->pool);
	co_queue_wake_all(&s->gone);
}

static bool listen_tcp(struct nbd_server *s, const struct nbd_options *o, GError **error)
{
	int fds[NBD_LISTEN_MAX];
	unsigned n = sock_listen_tcp(o->host, o->port, fds, NBD_LISTEN_MAX, &s->port, error);

	for (unsigned i = 0; i < n; i++)
		s->listen[i].fd = fds[i];
	s->n_listen = n;
	s->where = g_strdup_printf("%s port %u", o->host, s->port);
	return n > 0;
}

static bool listen_unix(struct nbd_server *s, const struct nbd_options *o, GError **error)
{
	s->listen[0].fd = sock_listen_unix(o->path, error);
	if (s->listen[0].fd < 0)
		return false;
	s->n_listen = 1;
	s->path = g_strdup(o->path);
	s->where = g_strdup(o->path);
	return true;
}

static bool add_exports(struct nbd_server *s, const struct nbd_options *o, GError **error)
{
	s->exports = g_new0(struct nbd_export, o->n_exports);
	for (unsigned i = 0; i < o->n_exports; i++) {
		const struct nbd_export_options *from = &o->exports[i];
		struct nbd_export *e = &s->exports[i];

		if (strlen(from->name) > NBD_STRING_MAX ||
		    (from->description && strlen(from->description) > NBD_STRING_MAX)) {
			return err_set(error, ENAMETOOLONG,
				       "name or description of an export: at most %d bytes",
				       NBD_STRING_MAX);
		}
		if (nbd_find_export(s, from->name, strlen(from->name)))
			return err_set(error, EEXIST, "two exports are called \"%s\"", from->name);
		e->name = g_strdup(from->name);
		e->description = g_strdup(from->description);
		e->node = from->node;
		e->writable = block_is_writable(from->node) && !from->readonly;
		e->rotational = from->rotational;
		s->n_exports++;
	}
	return true;
}

co_fn struct nbd_server *nbd_server_new(struct loop *loop, const struct nbd_options *o,
					GError **error)
{
	struct nbd_server *s = g_new0(struct nbd_server, 1);

	s->loop = loop;
	s->retry.fire = accept_again;
	s->max_clients = o->max_clients ? o->max_clients : NBD_DEFAULT_CLIENTS;
	s->tls_mode = o->tls.mode;
	s->tls = o->tls.mode ? nbd_tls_new(&o->tls, error) : NULL;
	if ((!s->tls && o->tls.mode) || !add_exports(s, o, error) ||
	    !(o->path ? listen_unix(s, o, error) : listen_tcp(s, o, error))) {
		nbd_server_free(s);
		return NULL;
	}
	for (unsigned i = 0; i < s->n_listen; i++)
		s->listen[i].s = s;
	set_listening(s, true);
	return s;
}

co_fn void nbd_server_free(struct nbd_server *s)
{
	if (!s)
		return;
	s->ending = true;
	set_listening(s, false);
	loop_timer_cancel(&s->retry);
	for (struct nbd_conn *c = s->conns; c; c = c->next)
		shutdown(c->io.fd, SHUT_RD); /* wakes its reader; replies still go out */
	while (s->conns)
		co_queue_wait(&s->gone);
	for (unsigned i = 0; i < s->n_listen; i++)
		close(s->listen[i].fd);
	if (s->path)
		unlink(s->path);
	for (unsigned i = 0; i < s->n_exports; i++) {
		g_free(s->exports[i].name);
		g_free(s->exports[i].description);
	}
	g_free(s->exports);
	nbd_tls_free(s->tls);
	nbd_pool_trim(&s->pool);
	g_free(s->path);
	g_free(s->where);
	g_free(s);
}

unsigned nbd_server_port(const struct nbd_server *s)
{
	return s->port;
}

void nbd_server_get_stats(const struct nbd_server *s, struct nbd_stats *out)
{
	*out = s->stats;
	for (const struct nbd_conn *c = s->conns; c; c = c->next) {
		out->clients += c->export != NULL;
		out->requests += c->requests;
	}
}

json_t *nbd_server_connections(const struct nbd_server *s)
{
	json_t *list = json_array();

	for (const struct nbd_conn *c = s->conns; c; c = c->next) {
		json_array_append_new(list, json_pack("{s:s, s:s?, s:b, s:I, s:i}", "peer", c->peer,
						      "export", c->export ? c->export->name : NULL,
						      "tls", c->io.tls != NULL, "requests",
						      (json_int_t)c->requests, "in_flight",
						      (int)c->in_flight));
	}
	return list;
}
