/*
 * The life of a remote device: the program is started and describes itself before there is a
 * device; then one coroutine (the keeper) waits for its end, starts it again, and ends it with the
 * device.
 */
#include "device/remote_impl.h"
#include "base/err.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define HELLO_NS     10000000000ull /* to start and describe itself */
#define GRACE_NS     500000000ull   /* to end by itself */
#define DELAY_MIN_NS 200000000ull   /* before it is started again */
#define DELAY_MAX_NS 5000000000ull
#define LONG_NS      10000000000ull /* who ran that long starts with the least delay */

/* Ends the peer; what happened, as a phrase to be freed. */
static co_fn char *end_peer(struct remote *r, uint64_t grace_ns)
{
	int status = remote_peer_close(&r->peer, grace_ns);
	char *what;

	remote_link_read_errors(r);
	if (r->peer.err >= 0)
		close(r->peer.err);
	r->peer.err = -1;
	if (r->has_ended && status >= 0 && WIFEXITED(status)) {
		what = g_strdup_printf("ended with status %d", WEXITSTATUS(status));
	} else if (r->has_ended && status >= 0 && WIFSIGNALED(status)) {
		what = g_strdup_printf("was ended by signal %d (%s)", WTERMSIG(status),
				       strsignal(WTERMSIG(status)));
	} else {
		what = g_strdup(r->why ? r->why : "is not needed any more");
	}
	return what;
}

static bool failed_to_begin(struct remote *r, const char *what, GError **error)
{
	const char *subject = r->target->kind == REMOTE_EXEC ? "program " : "";

	if (r->has_ended) {
		return err_set(error, EPIPE, "%s%s %s before it described a device%s%s", subject,
			       r->target->shown, what, r->err_last ? ": " : "",
			       r->err_last ? r->err_last : "");
	}
	return err_set(error, EPROTO, "%s%s %s", subject, r->target->shown, what);
}

/* Until it has described itself. False: *error, the peer is closed. */
static co_fn bool begin(struct remote *r, GError **error)
{
	uint64_t until = loop_now_ns() + HELLO_NS;
	g_autofree char *what = NULL;

	if (!remote_peer_open(r->target, until, &r->peer, error))
		return false;
	remote_link_up(r);
	while (r->link == REMOTE_HELLO && !r->closing && co_queue_wait_until(&r->changed, until))
		;
	if (r->link == REMOTE_UP)
		return true;
	if (r->link == REMOTE_HELLO) {
		r->why = g_strdup_printf("did not describe itself within %u s",
					 (unsigned)(HELLO_NS / 1000000000));
		remote_link_down(r);
	}
	what = end_peer(r, r->has_ended ? GRACE_NS : 0);
	return failed_to_begin(r, what, error);
}

/* Sleeps, but for closing. */
static co_fn void delay(struct remote *r, uint64_t ns)
{
	uint64_t until = loop_now_ns() + ns;

	while (!r->closing && co_queue_wait_until(&r->changed, until))
		;
}

static co_fn void note_end(struct remote *r)
{
	g_autofree char *what = end_peer(r, r->has_ended ? GRACE_NS : 0);

	log_line(LOG_ERROR, r->name, "%s %s; the device reads all ones until it is back",
		 r->target->shown, what);
}

/* Again and again, ever more slowly; *wait_ns is what the next time takes. */
static co_fn void begin_again(struct remote *r, uint64_t *wait_ns)
{
	g_autofree char *said = NULL;

	while (r->link == REMOTE_DOWN && !r->closing && !r->is_other) {
		GError *error = NULL;

		delay(r, *wait_ns);
		*wait_ns = MIN(*wait_ns * 2, DELAY_MAX_NS);
		if (r->closing)
			return;
		if (begin(r, &error)) {
			log_line(LOG_WARN, r->name, "%s is back", r->target->shown);
			return;
		}
		if (!r->closing && g_strcmp0(said, error->message) != 0) {
			log_line(LOG_ERROR, r->name, "%s%s", error->message,
				 r->is_other ? "; it is let alone, the device stays dead" : "");
			g_free(said);
			said = g_strdup(error->message);
		}
		g_error_free(error);
	}
}

static co_fn void keep(void *arg)
{
	struct remote *r = arg;
	uint64_t wait_ns = DELAY_MIN_NS;

	while (!r->closing) {
		if (r->link == REMOTE_UP || r->is_other) {
			co_queue_wait(&r->changed);
			continue;
		}
		if (loop_now_ns() - r->up_since_ns >= LONG_NS)
			wait_ns = DELAY_MIN_NS;
		note_end(r);
		begin_again(r, &wait_ns);
	}
	remote_link_down(r);
	g_free(end_peer(r, GRACE_NS));
	r->keeping = false;
	co_queue_wake_all(&r->gone);
}

static void add_property(const char *key, const char *value, void *arg)
{
	static const char *const ours[] = {"driver", "id", "class", "timeout", NULL};
	json_t *o = arg;

	if (!g_strv_contains(ours, key))
		json_object_set_new(o, key, json_string(value));
}

static void check_property(const char *key, const char *value, void *arg)
{
	const char **wrong = arg;

	if (!g_utf8_validate(key, -1, NULL) || !g_utf8_validate(value, -1, NULL))
		*wrong = key;
}

static bool take_options(struct remote *r, struct opts *opts, GError **error)
{
	const char *driver = opts_get(opts, "driver"), *id = opts_get(opts, "id"), *wrong = NULL;
	uint64_t timeout_ms = remote_timeout_prop.def;

	r->name = g_strdup(id ? id : driver);
	r->properties = json_object();
	opts_foreach(opts, check_property, &wrong);
	if (wrong)
		return err_set(error, EILSEQ, "option %s: it is not UTF-8", wrong);
	opts_foreach(opts, add_property, r->properties);
	if (!opts_get_u64(opts, remote_timeout_prop.name, remote_timeout_prop.min,
			  remote_timeout_prop.max, &timeout_ms, error))
		return false;
	r->timeout_ns = timeout_ms * 1000000;
	r->target = remote_target_parse(driver, error);
	return r->target;
}

co_fn struct remote *remote_new(struct loop *loop, struct opts *opts, GError **error)
{
	struct remote *r = g_new0(struct remote, 1);

	r->loop = loop;
	r->peer = (struct remote_peer){-1, -1, -1, -1, 0};
	r->in = g_byte_array_new();
	r->out = g_byte_array_new();
	r->err_line = g_string_new(NULL);
	remote_decoder_init(&r->decoder);
	if (!take_options(r, opts, error) || !begin(r, error)) {
		remote_free(r);
		return NULL;
	}
	remote_fill_class(r);
	r->keeping = true;
	co_start(loop, keep, r);
	return r;
}

const struct ob_class *remote_class(const struct remote *r)
{
	return &r->cls;
}

co_fn void remote_free(struct remote *r)
{
	if (!r)
		return;
	r->closing = true;
	co_queue_wake_all(&r->changed);
	while (r->keeping)
		co_queue_wait(&r->gone);
	while (r->flush.pending)
		co_reschedule();
	remote_decoder_fini(&r->decoder);
	remote_desc_free(r->desc);
	remote_target_free(r->target);
	json_decref(r->properties);
	g_byte_array_unref(r->in);
	g_byte_array_unref(r->out);
	g_string_free(r->err_line, TRUE);
	g_free(r->err_last);
	g_free(r->why);
	g_free(r->dma_room);
	g_free(r->name);
	g_free(r);
}
