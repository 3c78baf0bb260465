/*
 * outboard disc info: what a disc is and what is on it. The answer is gathered as JSON once and
 * printed in two ways.
 */
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/opts.h"
#include "cli/cli.h"
#include "cli/disc_words.h"
#include "disc/store.h"

enum { BLOCK = 2048, STAT_BLOCK = 512 };
static const int64_t us_per_s = 1000000, ns_per_us = 1000;

static char *time_text(uint64_t time_ns)
{
	g_autoptr(GDateTime) t =
		g_date_time_new_from_unix_utc((gint64)(time_ns / ns_per_us / us_per_s));

	return t ? g_date_time_format(t, "%Y-%m-%dT%H:%M:%SZ") : g_strdup("unknown");
}

static json_t *sessions_json(const struct disc_state *s)
{
	json_t *list = json_array();

	for (unsigned n = 1; n <= s->sessions->len; n++) {
		const struct disc_session *e = state_session(s, n);
		json_t *j = json_pack("{s:i, s:s, s:i}", "number", (int)e->number, "state",
				      disc_session_word(e), "start", (int)e->start);

		if (e->first_track) {
			json_object_update_new(j, json_pack("{s:i, s:i}", "first_track",
							    (int)e->first_track, "last_track",
							    (int)e->last_track));
		}
		if (e->state == SESSION_COMPLETE)
			json_object_set_new(j, "lead_out", json_integer(e->lead_out));
		json_array_append_new(list, j);
	}
	return list;
}

static json_t *tracks_json(const struct disc_state *s)
{
	json_t *list = json_array();

	for (unsigned n = 1; n <= s->tracks->len; n++) {
		const struct disc_track *t = state_track(s, n);
		json_t *j = json_pack("{s:i, s:i, s:s, s:s, s:i, s:I}", "number", (int)t->number,
				      "session", (int)t->session, "state", disc_track_word(t),
				      "kind", disc_track_kind(t), "start", (int)t->start, "blocks",
				      (json_int_t)t->size);

		if (t->flags & TRACK_OPEN)
			json_object_set_new(j, "next_writable", json_integer(t->nwa));
		json_array_append_new(list, j);
	}
	return list;
}

static void add_store(json_t *j, struct disc *d)
{
	struct disc_store *store = disc_get_store(d);
	g_autofree char *created = NULL;
	struct disc_store_info info;
	GString *uuid;

	if (!store)
		return;
	disc_store_get_info(store, &info);
	created = time_text(info.created_ns);
	uuid = g_string_new(NULL);
	for (unsigned i = 0; i < sizeof(info.uuid); i++) {
		g_string_append_printf(uuid, "%s%02x",
				       i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
				       info.uuid[i]);
	}
	json_object_update_new(j, json_pack("{s:s, s:s, s:s, s:I, s:b, s:b}", "uuid", uuid->str,
					    "created", created, "generator", info.generator,
					    "generation", (json_int_t)info.generation, "recovered",
					    info.recovered, "damaged", info.damaged));
	g_string_free(uuid, TRUE);
}

static co_fn void add_history(json_t *j, struct disc *d)
{
	struct disc_store *store = disc_get_store(d);
	json_t *list = json_array();
	unsigned n = 0;
	g_autofree struct disc_history *h = store ? disc_store_read_history(store, &n) : NULL;

	for (unsigned i = 0; i < n; i++) {
		g_autofree char *when = time_text(h[i].time_ns);

		json_array_append_new(list,
				      json_pack("{s:s, s:s, s:i, s:I}", "time", when, "event",
						disc_event_word(h[i].event), "start", (int)h[i].lba,
						"blocks", (json_int_t)h[i].blocks));
	}
	json_object_set_new(j, "history", list);
}

/* Where writing goes on and how much fits. */
static void add_free(json_t *j, const struct disc *d)
{
	struct disc_track_info t;

	if (disc_get_state(d)->status > DISC_APPENDABLE ||
	    disc_get_track_info(d, TRACK_INVISIBLE, &t) != DISC_OK || !t.nwa_valid)
		return;
	json_object_update_new(j, json_pack("{s:i, s:I}", "next_writable", (int)t.nwa,
					    "free_blocks", (json_int_t)t.free_blocks));
}

static void add_file(json_t *j, const char *path)
{
	struct stat st;

	if (!stat(path, &st)) {
		json_object_update_new(j, json_pack("{s:I, s:I}", "file_bytes",
						    (json_int_t)st.st_size, "disk_bytes",
						    (json_int_t)st.st_blocks * STAT_BLOCK));
	}
}

static json_t *info_json(struct disc *d, const char *path)
{
	const struct disc_profile *p = disc_get_profile(d);
	const struct disc_state *s = disc_get_state(d);
	g_autofree char *shown = g_filename_display_name(path);
	json_t *j = json_pack("{s:s, s:s, s:i, s:s, s:b, s:b, s:I, s:I}", "disc", shown, "type",
			      p->name, "profile", (int)p->number, "status", disc_status_word(d),
			      "plain_image", !disc_get_store(d), "erasable", p->erasable, "blocks",
			      (json_int_t)s->capacity, "bytes", (json_int_t)s->capacity * BLOCK);

	add_free(j, d);
	add_file(j, path);
	add_store(j, d);
	json_object_set_new(j, "sessions", sessions_json(s));
	json_object_set_new(j, "tracks", tracks_json(s));
	return j;
}

static json_int_t number(const json_t *j, const char *key)
{
	return json_integer_value(json_object_get(j, key));
}

static const char *text(const json_t *j, const char *key)
{
	const char *t = json_string_value(json_object_get(j, key));

	return t ? t : "";
}

static void print_size(const char *what, uint64_t bytes)
{
	g_autofree char *size = size_text(bytes);

	printf("%-12s %s (%" PRIu64 " bytes)\n", what, size, bytes);
}

static void print_lists(const json_t *j)
{
	const json_t *e;
	size_t i;

	json_array_foreach(json_object_get(j, "sessions"), i, e)
		printf("session %-4lld %s, from block %lld on\n", (long long)number(e, "number"),
		       text(e, "state"), (long long)number(e, "start"));
	json_array_foreach(json_object_get(j, "tracks"), i, e)
		printf("  track %-4lld session %lld, %s, %s: blocks %lld to %lld (%lld)\n",
		       (long long)number(e, "number"), (long long)number(e, "session"),
		       text(e, "kind"), text(e, "state"), (long long)number(e, "start"),
		       (long long)(number(e, "start") + number(e, "blocks") - 1),
		       (long long)number(e, "blocks"));
	json_array_foreach(json_object_get(j, "history"), i, e)
		printf("%s  %s, block %lld, %lld blocks\n", text(e, "time"), text(e, "event"),
		       (long long)number(e, "start"), (long long)number(e, "blocks"));
}

static void print_info(const json_t *j)
{
	printf("%-12s %s\n%-12s %s\n", "disc", text(j, "disc"), "type", text(j, "type"));
	printf("%-12s %s%s%s\n", "status", text(j, "status"),
	       json_is_true(json_object_get(j, "plain_image")) ? " (a plain image)" : "",
	       json_is_true(json_object_get(j, "damaged"))
		       ? "; DAMAGED: this is an older state, read-only"
		       : "");
	print_size("capacity", (uint64_t)number(j, "bytes"));
	if (json_object_get(j, "next_writable")) {
		print_size("free", (uint64_t)number(j, "free_blocks") * BLOCK);
		printf("%-12s block %lld\n", "goes on at", (long long)number(j, "next_writable"));
	}
	print_size("on disk", (uint64_t)number(j, "disk_bytes"));
	if (json_object_get(j, "uuid"))
		printf("%-12s %s, made %s by %s\n", "identity", text(j, "uuid"), text(j, "created"),
		       text(j, "generator"));
	print_lists(j);
}

static co_fn int info_on_loop(const struct args *a, void *arg)
{
	const char *path = args_operand(a, 0);
	GError *error = NULL;
	struct disc *d = disc_open(path, DISC_OPEN_NO_LOCK, PROFILE_NONE, &error);
	json_t *j;

	(void)arg;
	if (!d)
		return cli_failed(a, error);
	j = info_json(d, path);
	if (args_has(a, "history"))
		add_history(j, d);
	disc_close(d, false);
	if (args_has(a, "json"))
		return cli_print_json(a, j);
	print_info(j);
	json_decref(j);
	return cli_finish_output(a, STATUS_DONE);
}

static int run_info(const struct args *a)
{
	return cli_on_loop(a, info_on_loop, NULL);
}

static const struct cli_option info_options[] = {
	{"json"},
	{"history"},
	{NULL},
};

const struct cli_command command_disc_info = {
	.name = "disc info",
	.options = info_options,
	.operands = "FILE",
	.min_operands = 1,
	.max_operands = 1,
	.run = run_info,
};
