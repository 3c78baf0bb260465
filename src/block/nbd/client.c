/*
 * A connection on libnbd; see conn.h.
 *
 * While it connects, the library may replace its socket by another one with the same number, so
 * the watch is on a duplicate of ours and made anew after every step. Once open, it stays, and only
 * its events follow what the library waits for. Completions that the library reports from within a
 * call are collected and delivered after it, when its state can be asked for.
 */
#include "block/nbd/client.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libnbd.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/err.h"

enum {
	BURST = 64,                     /* replies taken at once */
	MAX_MIN_BLOCK = 64 << 10,       /* of what a server may demand, by the protocol */
	DEFAULT_MAX_PAYLOAD = 32 << 20, /* where it says nothing, by the protocol */
};

static const uint64_t leave_ns = 1000000000; /* to get rid of the last word */
static const char context[] = "base:allocation";

enum state { CLOSED, CONNECTING, NEGOTIATING, OPEN, LEAVING, LOST };

struct nbd_client {
	const struct nbd_address *address;
	void (*lost)(struct nbd_client *conn, const char *why, void *arg);
	void *arg;
	struct loop *loop;
	struct nbd_handle *h;
	enum state state;
	bool stopped;
	char *why;               /* it was lost, as far as known */
	struct co_queue changed; /* state, or stopped */
	struct nbd_facts facts;

	struct loop_watch watch;
	bool watching;

	struct loop_task issue;
	struct nbd_piece *queued, **queued_tail;
	struct nbd_piece *finished, **finished_tail;
	unsigned load, in_flight; /* load: with those that are queued */

	uint64_t timeout_ns, silent_since_ns;
	struct loop_timer silence;
};

static void set_state(struct nbd_client *c, enum state state)
{
	c->state = state;
	co_queue_wake_all(&c->changed);
}

static void set_why(struct nbd_client *c, const char *why)
{
	if (c->why)
		return;
	c->why = g_strdup(why ? why : "the server closed it");
}

/* The text of libnbd's last error without the name of the call that it begins with. */
static const char *library_error(void)
{
	const char *text = nbd_get_error(), *at;

	if (!text)
		return "unknown error";
	at = g_str_has_prefix(text, "nbd_") ? strstr(text, ": ") : NULL;
	return at ? at + 2 : text;
}

static unsigned wanted_events(struct nbd_client *c)
{
	unsigned dir = nbd_aio_get_direction(c->h);

	return (dir & LIBNBD_AIO_DIRECTION_READ ? POLLIN : 0) |
	       (dir & LIBNBD_AIO_DIRECTION_WRITE ? POLLOUT : 0);
}

static void watch_stop(struct nbd_client *c)
{
	if (!c->watching)
		return;
	loop_watch_remove(&c->watch);
	close(c->watch.fd);
	c->watching = false;
}

static void watch_anew(struct nbd_client *c)
{
	int fd = nbd_aio_get_fd(c->h);

	watch_stop(c);
	c->watch.fd = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (c->watch.fd < 0) {
		set_why(c, fd < 0 ? library_error() : g_strerror(errno));
		set_state(c, LOST);
		return;
	}
	c->watch.events = wanted_events(c);
	loop_watch_add(c->loop, &c->watch);
	c->watching = true;
}

/* Makes the library see the end of the stream, whatever the server does. */
static void cut(struct nbd_client *c, const char *why)
{
	set_why(c, why);
	if (c->watching)
		shutdown(c->watch.fd, SHUT_RDWR);
}

/* Whether the library is of use: it was given the handle, and its connection stands. */
static bool is_over(struct nbd_client *c)
{
	return (c->state != NEGOTIATING && c->state != OPEN && c->state != LEAVING) ||
	       nbd_aio_is_dead(c->h) || nbd_aio_is_closed(c->h);
}

static void finish(struct nbd_client *c, struct nbd_piece *piece, int res)
{
	piece->res = res;
	piece->next = NULL;
	*c->finished_tail = piece;
	c->finished_tail = &piece->next;
}

static void deliver(struct nbd_client *c)
{
	bool over = is_over(c);
	struct nbd_piece *piece = c->finished;

	c->finished = NULL;
	c->finished_tail = &c->finished;
	while (piece) {
		struct nbd_piece *next = piece->next;

		if (piece->res == -ESHUTDOWN)
			cut(c, "the server is shutting down");
		if (piece->res < 0 && (over || piece->res == -ESHUTDOWN))
			piece->res = -ENOTCONN;
		c->load--;
		piece->done(piece);
		piece = next;
	}
}

static void become_lost(struct nbd_client *c)
{
	enum state before = c->state;

	if (before == CLOSED || before == CONNECTING || before == LOST)
		return;
	watch_stop(c);
	loop_timer_cancel(&c->silence);
	set_why(c, NULL);
	set_state(c, LOST);
	if (before == OPEN)
		c->lost(c, c->why, c->arg);
}

/* After every call into the library's state machine. */
static void settle(struct nbd_client *c)
{
	unsigned events;

	deliver(c);
	if (is_over(c)) {
		become_lost(c);
	} else if (c->state == NEGOTIATING) {
		watch_anew(c);
		if (c->state == NEGOTIATING && nbd_aio_is_ready(c->h))
			set_state(c, OPEN);
	} else {
		events = wanted_events(c);
		if (c->state == LEAVING && !(events & POLLOUT)) {
			become_lost(c); /* it is told; some servers take long to close, too */
			return;
		}
		if (c->watching && events != c->watch.events)
			loop_watch_modify(&c->watch, events);
	}
}

/* Tells the library of an event; true: it took a reply, and others are still to come. */
static bool notify(struct nbd_client *c, unsigned events)
{
	unsigned dir = nbd_aio_get_direction(c->h), before = c->in_flight;
	bool broken = events & (POLLHUP | POLLERR | POLLNVAL);
	int res = 0;

	if (dir & LIBNBD_AIO_DIRECTION_READ && (broken || events & POLLIN))
		res = nbd_aio_notify_read(c->h);
	else if (dir & LIBNBD_AIO_DIRECTION_WRITE && (broken || events & POLLOUT))
		res = nbd_aio_notify_write(c->h);
	if (res < 0)
		set_why(c, library_error());
	return res == 0 && c->in_flight < before && c->in_flight > 0;
}

/*
 * One call takes one reply; after one that did, a next reply is likely. But the library must not be
 * told of what is not there: it would leave off sending for it.
 */
static void ready(struct loop_watch *watch, unsigned events)
{
	struct nbd_client *c =
		(struct nbd_client *)((char *)watch - offsetof(struct nbd_client, watch));
	struct pollfd p = {.fd = watch->fd, .events = POLLIN, .revents = (short)events};

	c->silent_since_ns = loop_now_ns();
	for (unsigned i = 0; i < BURST && notify(c, (unsigned)p.revents); i++) {
		if (poll(&p, 1, 0) <= 0)
			break;
	}
	settle(c);
}

static void silence_fire(struct loop_timer *timer)
{
	struct nbd_client *c =
		(struct nbd_client *)((char *)timer - offsetof(struct nbd_client, silence));
	uint64_t until = c->silent_since_ns + c->timeout_ns;

	if (c->in_flight == 0)
		return;
	if (loop_now_ns() >= until)
		cut(c, "it owes an answer for too long");
	else
		loop_timer_set(c->loop, timer, until);
}

/*
 * These are called by the library, which must not be called from them. Not all of its versions
 * mind if a server leaves out a part of what was read and says that it is done.
 */
static int completed(void *arg, int *error)
{
	struct nbd_piece *piece = arg;
	bool partly = piece->op == NBD_READ && piece->run != piece->len;

	piece->conn->in_flight--;
	finish(piece->conn, piece, *error ? -*error : partly ? -EPROTO : 0);
	return 1; /* the library forgets the command */
}

static int chunk(void *arg, const void *data, size_t len, uint64_t off, unsigned status, int *error)
{
	struct nbd_piece *piece = arg;

	(void)data;
	(void)off; /* lies inside, it sees to that */
	(void)error;
	if (status == LIBNBD_READ_DATA || status == LIBNBD_READ_HOLE)
		piece->run += len;
	return 0;
}

static int extent(void *arg, const char *name, uint64_t off, uint32_t *entries, size_t n,
		  int *error)
{
	struct nbd_piece *piece = arg;

	(void)error;
	if (strcmp(name, context) != 0 || off != piece->off || n < 2)
		return 0;
	piece->run = entries[0];
	piece->is_hole = entries[1] & LIBNBD_STATE_HOLE;
	piece->is_zero = entries[1] & LIBNBD_STATE_ZERO;
	return 0;
}

static int64_t call_library(struct nbd_client *c, struct nbd_piece *p)
{
	nbd_completion_callback done = {.callback = completed, .user_data = p};
	nbd_extent_callback got = {.callback = extent, .user_data = p};
	nbd_chunk_callback part = {.callback = chunk, .user_data = p};
	uint32_t flags = (p->flags & NBD_FUA ? LIBNBD_CMD_FLAG_FUA : 0) |
			 (p->flags & NBD_NO_HOLE ? LIBNBD_CMD_FLAG_NO_HOLE : 0);

	switch (p->op) {
	case NBD_READ: return nbd_aio_pread_structured(c->h, p->buf, p->len, p->off, part, done, 0);
	case NBD_WRITE: return nbd_aio_pwrite(c->h, p->buf, p->len, p->off, done, flags);
	case NBD_ZERO: return nbd_aio_zero(c->h, p->len, p->off, done, flags);
	case NBD_TRIM: return nbd_aio_trim(c->h, p->len, p->off, done, flags);
	case NBD_FLUSH: return nbd_aio_flush(c->h, done, 0);
	case NBD_STATUS:
		return nbd_aio_block_status(c->h, p->len, p->off, got, done,
					    LIBNBD_CMD_FLAG_REQ_ONE);
	}
	return -1;
}

static void issue_one(struct nbd_client *c, struct nbd_piece *piece)
{
	if (c->state != OPEN || is_over(c)) { /* not while it takes leave */
		finish(c, piece, -ENOTCONN);
		return;
	}
	if (c->in_flight++ == 0)
		c->silent_since_ns = loop_now_ns();
	if (call_library(c, piece) >= 0)
		return;
	/* Not taken: the library calls nothing back. */
	c->in_flight--;
	finish(c, piece, nbd_get_errno() ? -nbd_get_errno() : -EIO);
}

static void issue(struct loop_task *task)
{
	struct nbd_client *c =
		(struct nbd_client *)((char *)task - offsetof(struct nbd_client, issue));
	struct nbd_piece *piece = c->queued;

	c->queued = NULL;
	c->queued_tail = &c->queued;
	while (piece) {
		struct nbd_piece *next = piece->next;

		issue_one(c, piece);
		piece = next;
	}
	if (c->timeout_ns && c->in_flight && !c->silence.heap_index)
		loop_timer_set(c->loop, &c->silence, c->silent_since_ns + c->timeout_ns);
	if (c->state == OPEN && is_over(c))
		set_why(c, library_error());
	settle(c);
}

void nbd_client_submit(struct nbd_client *c, struct nbd_piece *piece)
{
	piece->conn = c;
	piece->res = 0;
	piece->run = 0;
	piece->is_zero = piece->is_hole = false;
	piece->next = NULL;
	*c->queued_tail = piece;
	c->queued_tail = &piece->next;
	c->load++;
	loop_at_turn_end(c->loop, &c->issue);
}

/* What the job that connects works on: name lookups and connect() can take their time. */
struct connect_job {
	struct nbd_handle *h;
	const struct nbd_address *address;
	char *why;
};

static int connect_run(void *arg)
{
	struct connect_job *job = arg;
	const struct nbd_address *a = job->address;
	int res = a->path ? nbd_aio_connect_unix(job->h, a->path)
			  : nbd_aio_connect_tcp(job->h, a->host, a->port);

	if (res < 0)
		job->why = g_strdup(library_error()); /* it is this thread's */
	return res;
}

/* Before 1.18.5 and 1.20.3 the library looks at no certificate on a unix socket. */
static bool verifies_on_unix(struct nbd_handle *h)
{
	unsigned major = 0, minor = 0, micro = 0;

	if (sscanf(nbd_get_version(h), "%u.%u.%u", &major, &minor, &micro) < 2)
		return false;
	return major > 1 || minor > 20 || (minor == 20 && micro >= 3) ||
	       (minor == 18 && micro >= 5);
}

static bool set_tls(struct nbd_client *c, GError **error)
{
	const struct nbd_address *a = c->address;
	g_autofree char *ca = NULL;

	if (!a->tls)
		return true;
	if (!nbd_supports_tls(c->h))
		return err_set(error, ENOTSUP, "libnbd was built without TLS");
	if (a->psk_file && access(a->psk_file, R_OK) < 0)
		return err_set_errno(error, errno, "tls-psk-file=%s", a->psk_file);
	/* Without this file it would take any certificate. */
	ca = a->certificates ? g_build_filename(a->certificates, "ca-cert.pem", NULL) : NULL;
	if (ca && access(ca, R_OK) < 0)
		return err_set_errno(error, errno, "tls-certificates=: %s", ca);
	if (ca && a->path && a->verify_peer && !verifies_on_unix(c->h)) {
		return err_set(error, ENOTSUP,
			       "libnbd %s cannot verify certificates on a unix socket; use "
			       "tls-psk-file=, a newer one, or tls-verify-peer=off",
			       nbd_get_version(c->h));
	}
	if (nbd_set_tls(c->h, LIBNBD_TLS_REQUIRE) < 0 ||
	    nbd_set_tls_verify_peer(c->h, a->verify_peer) < 0 ||
	    (ca && nbd_set_tls_certificates(c->h, a->certificates) < 0) ||
	    (a->psk_file && nbd_set_tls_psk_file(c->h, a->psk_file) < 0) ||
	    (a->username && nbd_set_tls_username(c->h, a->username) < 0))
		return err_set(error, EINVAL, "%s", library_error());
	return true;
}

static bool make_handle(struct nbd_client *c, GError **error)
{
	g_clear_pointer(&c->why, g_free);
	c->h = nbd_create();
	if (!c->h)
		return err_set(error, ENOMEM, "%s", library_error());
	if (nbd_set_export_name(c->h, c->address->export_name) < 0 ||
	    nbd_add_meta_context(c->h, context) < 0)
		return err_set(error, EINVAL, "%s", library_error());
	return set_tls(c, error);
}

static co_fn bool negotiate(struct nbd_client *c, uint64_t deadline_ns, GError **error)
{
	struct connect_job job = {.h = c->h, .address = c->address};

	c->state = CONNECTING;
	job_run(connect_run, &job);
	if (job.why)
		set_why(c, job.why);
	g_free(job.why);
	c->state = NEGOTIATING;
	settle(c);
	while (c->state == NEGOTIATING && !c->stopped) {
		if (!co_queue_wait_until(&c->changed, deadline_ns))
			return err_set(error, ETIMEDOUT, "the server takes too long to answer");
	}
	if (c->stopped)
		return err_set(error, ECANCELED, "given up");
	return c->state == OPEN || err_set(error, EIO, "%s", c->why);
}

static bool get_limits(struct nbd_client *c, struct nbd_facts *f, GError **error)
{
	int64_t length = nbd_get_size(c->h);
	int64_t min = nbd_get_block_size(c->h, LIBNBD_SIZE_MINIMUM);
	int64_t max = nbd_get_block_size(c->h, LIBNBD_SIZE_MAXIMUM);

	if (length < 0)
		return err_set(error, EFBIG, "the server tells of an impossible size");
	f->length = (uint64_t)length;
	f->min_block = min > 0 ? (uint32_t)MIN(min, MAX_MIN_BLOCK + 1) : 1;
	f->max_payload = max > 0 ? (uint32_t)MIN(max, DEFAULT_MAX_PAYLOAD) : DEFAULT_MAX_PAYLOAD;
	if (f->min_block > MAX_MIN_BLOCK || f->min_block & (f->min_block - 1) ||
	    f->max_payload < f->min_block) {
		return err_set(error, EINVAL,
			       "the server demands blocks of at least %" PRId64
			       " and at most %" PRId64 " bytes, which makes no sense",
			       min, max);
	}
	f->max_payload -= f->max_payload % f->min_block;
	return true;
}

static bool get_facts(struct nbd_client *c, GError **error)
{
	struct nbd_handle *h = c->h;
	struct nbd_facts f = {
		.readonly = nbd_is_read_only(h) != 0,
		.structured = nbd_get_structured_replies_negotiated(h) > 0,
		.can_flush = nbd_can_flush(h) > 0,
		.can_fua = nbd_can_fua(h) > 0,
		.can_zero = nbd_can_zero(h) > 0,
		.can_trim = nbd_can_trim(h) > 0,
		.can_multi_conn = nbd_can_multi_conn(h) > 0,
		.can_status = nbd_can_meta_context(h, context) > 0,
	};

	if (!get_limits(c, &f, error))
		return false;
	c->facts = f;
	return true;
}

co_fn bool nbd_client_open(struct nbd_client *c, uint64_t deadline_ns, GError **error)
{
	bool ok = false;

	assert(c->state == CLOSED);
	if (c->stopped)
		return err_set(error, ECANCELED, "given up");
	if (make_handle(c, error))
		ok = negotiate(c, deadline_ns, error) && get_facts(c, error);
	if (!ok)
		nbd_client_close(c);
	return ok;
}

void nbd_client_stop(struct nbd_client *c)
{
	c->stopped = true;
	co_queue_wake_all(&c->changed);
}

co_fn void nbd_client_close(struct nbd_client *c)
{
	uint64_t deadline = loop_now_ns() + leave_ns;

	if (c->state == OPEN && c->load == 0 && nbd_aio_disconnect(c->h, 0) == 0) {
		c->state = LEAVING;
		settle(c);
		while (c->state == LEAVING && co_queue_wait_until(&c->changed, deadline))
			;
	}
	assert(c->in_flight == 0);
	watch_stop(c);
	loop_timer_cancel(&c->silence);
	nbd_close(c->h);
	c->h = NULL;
	c->state = CLOSED;
}

struct nbd_client *nbd_client_new(const struct nbd_address *address, uint64_t timeout_ns,
				  void (*lost)(struct nbd_client *conn, const char *why, void *arg),
				  void *arg)
{
	struct nbd_client *c = g_new0(struct nbd_client, 1);

	c->address = address;
	c->timeout_ns = timeout_ns;
	c->lost = lost;
	c->arg = arg;
	c->loop = co_loop();
	c->watch.ready = ready;
	c->silence.fire = silence_fire;
	c->issue.run = issue;
	c->queued_tail = &c->queued;
	c->finished_tail = &c->finished;
	return c;
}

void nbd_client_free(struct nbd_client *c)
{
	if (!c)
		return;
	assert(c->state == CLOSED && c->load == 0);
	g_free(c->why);
	g_free(c);
}

bool nbd_client_is_open(const struct nbd_client *c)
{
	return c->state == OPEN;
}

unsigned nbd_client_load(const struct nbd_client *c)
{
	return c->load;
}

const struct nbd_facts *nbd_client_facts(const struct nbd_client *c)
{
	return &c->facts;
}
