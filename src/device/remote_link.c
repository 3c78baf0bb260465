/*
 * Bytes to and from a program: buffers, watches, the limit on answers, its standard error.
 *
 * What is sent in a turn of the loop goes out at its end in one write. A program that does not read
 * makes out grow: from REMOTE_UNREAD_PAUSE on its own messages are not taken any more (their
 * answers would add to it), at REMOTE_UNREAD_MAX, or when the limit passes, the link breaks. One
 * timer looks after the oldest wait and after out; it is set only while there is something, and
 * not touched by answers that come in time.
 */
#include "device/remote_impl.h"
#include "base/err.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	READ_LEN = 65536,
	KEEP_LEN = 262144, /* of a buffer that is empty */
	ERROR_LINE_MAX = 1000,
	ERRORS_LEFT_MAX = 65536, /* bytes looked at after the end */
	SAY_LINES = 100,
};

#define SAY_WINDOW_NS 5000000000ull

static struct remote *of_flush(struct loop_task *t)
{
	return (struct remote *)((char *)t - offsetof(struct remote, flush));
}

static size_t unread(const struct remote *r)
{
	return r->out->len - r->out_at;
}

/* Drops what was used; a buffer that has grown large is not kept. */
static void compact(GByteArray **b, size_t *at)
{
	if (*at == (*b)->len && *at > KEEP_LEN) {
		g_byte_array_unref(*b);
		*b = g_byte_array_new();
	} else if (*at == (*b)->len) {
		g_byte_array_set_size(*b, 0);
	} else if (*at >= READ_LEN) {
		g_byte_array_remove_range(*b, 0, (guint)*at);
	} else {
		return;
	}
	*at = 0;
}

/* ---- Log ---- */

void remote_say(struct remote *r, enum log_level level, const char *text, size_t len)
{
	uint64_t now = loop_now_ns();

	if (!r->said.since_ns || now - r->said.since_ns >= SAY_WINDOW_NS) {
		if (r->said.left_out)
			log_line(LOG_WARN, r->name, "%u lines of the program were left out",
				 r->said.left_out);
		r->said.since_ns = now;
		r->said.lines = r->said.left_out = 0;
	}
	if (r->said.lines++ < SAY_LINES)
		log_line(level, r->name, "%.*s", (int)len, text);
	else
		r->said.left_out++;
}

static void end_error_line(struct remote *r)
{
	if (!r->err_line->len)
		return;
	remote_say(r, LOG_WARN, r->err_line->str, r->err_line->len);
	g_free(r->err_last);
	r->err_last = g_strndup(r->err_line->str, r->err_line->len);
	g_string_truncate(r->err_line, 0);
}

/* Some of its standard error; bytes, 0 at the end, -errno. */
static ssize_t read_errors(struct remote *r)
{
	char buf[4096];
	ssize_t n = read(r->peer.err, buf, sizeof(buf));

	for (ssize_t i = 0; i < n; i++) {
		if (buf[i] != '\n' && r->err_line->len < ERROR_LINE_MAX)
			g_string_append_c(r->err_line, buf[i]);
		else
			end_error_line(r);
	}
	return n < 0 ? -errno : n;
}

static void on_errors(struct loop_watch *w, unsigned events)
{
	struct remote *r = (struct remote *)((char *)w - offsetof(struct remote, err_watch));
	ssize_t n = read_errors(r);

	(void)events;
	if (n == 0 || (n < 0 && n != -EAGAIN && n != -EINTR))
		loop_watch_remove(w);
}

void remote_link_read_errors(struct remote *r)
{
	size_t all = 0;
	ssize_t n;

	while (r->peer.err >= 0 && all < ERRORS_LEFT_MAX && (n = read_errors(r)) > 0)
		all += (size_t)n;
	end_error_line(r);
}

/* ---- The limit ---- */

/* When the program has to have done something; 0: nothing is expected. */
static uint64_t deadline(const struct remote *r)
{
	uint64_t since = r->oldest ? r->oldest->since_ns : 0;

	if (r->out_since_ns && (!since || r->out_since_ns < since))
		since = r->out_since_ns;
	return since ? since + r->timeout_ns : 0;
}

void remote_link_limit(struct remote *r)
{
	uint64_t at = r->limit.heap_index ? 0 : deadline(r);

	if (at)
		loop_timer_set(r->loop, &r->limit, at);
}

/* Says what has not been done; the link breaks. */
static void blame(struct remote *r, uint64_t now)
{
	const struct remote_wait *w = r->oldest;
	unsigned ms = (unsigned)(r->timeout_ns / 1000000);

	if (!w || w->since_ns + r->timeout_ns > now) {
		remote_broke(r, "does not read what it is sent for %u ms", ms);
	} else if (w->type == REMOTE_RESET) {
		remote_broke(r, "did not answer a reset within %u ms", ms);
	} else {
		remote_broke(r, "did not answer a %s of %u bytes at 0x%llx of BAR %u within %u ms",
			     w->type == REMOTE_READ ? "read" : "write", w->width,
			     (unsigned long long)w->off, w->bar, ms);
	}
}

static void on_limit(struct loop_timer *t)
{
	struct remote *r = (struct remote *)((char *)t - offsetof(struct remote, limit));
	uint64_t at = deadline(r), now = loop_now_ns();

	/* Perhaps it was this process that stood still: what has come meanwhile counts. */
	if (at && at <= now && r->link == REMOTE_UP && r->in_watch.loop) {
		r->in_watch.ready(&r->in_watch, POLLIN);
		at = deadline(r);
	}
	if (!at || r->link != REMOTE_UP)
		return;
	if (at > now)
		remote_link_limit(r);
	else
		blame(r, now);
}

/* ---- Out ---- */

static ssize_t write_some(struct remote *r)
{
	const uint8_t *from = r->out->data + r->out_at;
	ssize_t n = r->target->kind == REMOTE_EXEC
			    ? write(r->peer.out, from, unread(r))
			    : send(r->peer.out, from, unread(r), MSG_NOSIGNAL);

	return n < 0 ? -errno : n;
}

/* What is wrong with the stream tells its end better than a write does: it is looked at first. */
static void write_failed(struct remote *r, int err)
{
	g_byte_array_set_size(r->out, 0);
	r->out_at = 0;
	r->out_since_ns = 0;
	r->in_watch.ready(&r->in_watch, POLLIN);
	if (r->link != REMOTE_DOWN)
		remote_broke(r, "does not take input any more: %s", g_strerror(err));
}

static void flush(struct remote *r)
{
	bool paused = unread(r) > REMOTE_UNREAD_PAUSE;
	ssize_t n = 1;

	if (unread(r) > REMOTE_UNREAD_MAX) {
		remote_broke(r, "has left %d bytes unread", REMOTE_UNREAD_MAX);
		return;
	}
	while (unread(r) && n > 0) {
		n = write_some(r);
		r->out_at += n > 0 ? (size_t)n : 0;
		if (n > 0 || !r->out_since_ns)
			r->out_since_ns = loop_now_ns();
	}
	if (n < 0 && n != -EAGAIN && n != -EINTR) {
		write_failed(r, (int)-n);
		return;
	}
	compact(&r->out, &r->out_at);
	if (!unread(r)) {
		r->out_since_ns = 0;
		loop_watch_remove(&r->out_watch);
	} else {
		remote_link_limit(r);
		if (!r->out_watch.loop)
			loop_watch_add(r->loop, &r->out_watch);
	}
	if (paused && unread(r) <= REMOTE_UNREAD_PAUSE)
		remote_link_resume(r);
}

static void on_flush(struct loop_task *task)
{
	struct remote *r = of_flush(task);

	if (r->link != REMOTE_DOWN && !r->out_watch.loop)
		flush(r);
}

static void on_writable(struct loop_watch *w, unsigned events)
{
	(void)events;
	flush((struct remote *)((char *)w - offsetof(struct remote, out_watch)));
}

void remote_link_kick(struct remote *r)
{
	loop_at_turn_end(r->loop, &r->flush);
}

/* ---- In ---- */

/* One line or message at in_at; false: not now. */
static bool take_one(struct remote *r)
{
	const uint8_t *at = r->in->data + r->in_at;
	size_t len = r->in->len - r->in_at;
	g_autoptr(GError) error = NULL;
	struct remote_msg m;
	ssize_t n;

	if (r->link == REMOTE_HELLO) {
		n = remote_find_line(&r->decoder, at, len, &error);
		if (n >= 0) {
			r->in_at += (size_t)n + 1;
			remote_take_description(r, (const char *)at, (size_t)n);
			return true;
		}
		n = n == -1 ? 0 : -1;
	} else {
		n = remote_decode(&r->decoder, at, len, &m, &error);
	}
	if (n < 0)
		remote_broke(r, "sent %s", error->message);
	if (n <= 0)
		return false;
	r->in_at += (size_t)n;
	remote_take_message(r, &m);
	return true;
}

/* Whether its messages are taken now: not between its description and open(), see also above. */
static bool is_listening(const struct remote *r)
{
	return r->link == REMOTE_HELLO ||
	       (r->link == REMOTE_UP && r->dev && unread(r) <= REMOTE_UNREAD_PAUSE);
}

void remote_link_resume(struct remote *r)
{
	while (is_listening(r) && r->in_at < r->in->len && take_one(r))
		;
	if (r->link == REMOTE_DOWN)
		return;
	compact(&r->in, &r->in_at);
	if (!is_listening(r))
		loop_watch_remove(&r->in_watch);
	else if (!r->in_watch.loop)
		loop_watch_add(r->loop, &r->in_watch);
}

static void on_readable(struct loop_watch *w, unsigned events)
{
	struct remote *r = (struct remote *)((char *)w - offsetof(struct remote, in_watch));
	guint had = r->in->len;
	ssize_t n;

	(void)events;
	g_byte_array_set_size(r->in, had + READ_LEN);
	n = read(r->peer.in, r->in->data + had, READ_LEN);
	g_byte_array_set_size(r->in, had + (guint)MAX(n, 0));
	if (n > 0) {
		remote_link_resume(r);
	} else if (n == 0) {
		r->has_ended = true;
		remote_broke(r, r->target->kind == REMOTE_EXEC ? "closed its output"
							       : "closed the connection");
	} else if (errno != EAGAIN && errno != EINTR) {
		remote_broke(r, "cannot be read: %s", g_strerror(errno));
	}
}

/* ---- Up and down ---- */

void remote_link_up(struct remote *r)
{
	g_autofree char *hello =
		remote_hello(r->name, r->properties, (unsigned)(r->timeout_ns / 1000000));

	r->link = REMOTE_HELLO;
	r->generation++;
	r->decoder.binary = false;
	r->decoder.scanned = 0;
	r->has_told = r->has_ended = false;
	r->in_at = r->out_at = 0;
	r->out_since_ns = 0;
	g_byte_array_set_size(r->in, 0);
	g_byte_array_set_size(r->out, 0);
	g_string_truncate(r->err_line, 0);
	g_clear_pointer(&r->err_last, g_free);
	g_clear_pointer(&r->why, g_free);
	r->flush.run = on_flush;
	r->limit.fire = on_limit;
	r->in_watch = (struct loop_watch){.ready = on_readable, .fd = r->peer.in, .events = POLLIN};
	r->out_watch =
		(struct loop_watch){.ready = on_writable, .fd = r->peer.out, .events = POLLOUT};
	r->err_watch = (struct loop_watch){.ready = on_errors, .fd = r->peer.err, .events = POLLIN};
	loop_watch_add(r->loop, &r->in_watch);
	if (r->peer.err >= 0)
		loop_watch_add(r->loop, &r->err_watch);
	g_byte_array_append(r->out, (const uint8_t *)hello, (guint)strlen(hello));
	remote_link_kick(r);
}

void remote_link_down(struct remote *r)
{
	r->link = REMOTE_DOWN;
	loop_watch_remove(&r->in_watch);
	loop_watch_remove(&r->out_watch);
	loop_watch_remove(&r->err_watch);
	loop_timer_cancel(&r->limit);
}

void remote_broke(struct remote *r, const char *fmt, ...)
{
	bool was_up = r->link == REMOTE_UP;
	va_list ap;

	if (r->link == REMOTE_DOWN)
		return;
	va_start(ap, fmt);
	r->why = g_strdup_vprintf(fmt, ap);
	va_end(ap);
	remote_link_down(r);
	if (was_up && r->dev) {
		ob_irq_lower(r->dev);
		remote_answer_all(r);
	}
	co_queue_wake_all(&r->changed);
}
