/*
 * What a disk must not forget when its process is killed and started again under a guest that goes
 * on: mode parameters and reservations, as JSON in a small file that is replaced whole. What was
 * asked to last (APTPL) also counts after the machine was switched off; all else only in the boot
 * that it was written in.
 */
#include "scsi/sbc/sbc.h"

#include <errno.h>
#include <string.h>

#include "base/err.h"

enum { STATE_MAX = 64 * 1024, KEY_TEXT_LEN = 17 };

static char *boot_id(void)
{
	char *text = NULL;

	if (!g_file_get_contents("/proc/sys/kernel/random/boot_id", &text, NULL, NULL))
		return g_strdup("unknown");
	return g_strstrip(text);
}

/* ---- writing ---- */

static json_t *name_json(const char *name)
{
	g_autofree char *escaped = g_strescape(name, NULL);

	return json_string(escaped);
}

/* Keys are 64 bits wide, which JSON's numbers are not. */
static json_t *registrations_json(const struct reservations *r)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < r->n; i++) {
		char key[KEY_TEXT_LEN];

		g_snprintf(key, sizeof(key), "%016" G_GINT64_MODIFIER "x", r->who[i].key);
		json_array_append_new(list, json_pack("{s:o, s:s}", "name",
						      name_json(r->who[i].name), "key", key));
	}
	return list;
}

static char *state_text(const struct scsi_disk *d)
{
	const struct reservations *r = &d->reservations;
	g_autofree char *boot = boot_id();
	json_t *j = json_pack(
		"{s:s, s:b, s:b, s:b, s:I, s:i, s:i, s:o, s:o}", "boot", boot, "write_cache",
		d->write_cache, "software_protect", d->software_protect, "persist", r->persist,
		"generation", (json_int_t)r->generation, "type", (int)r->type, "holder", r->holder,
		"registrations", registrations_json(r), "simple", name_json(r->simple));
	char *text = json_dumps(j, JSON_INDENT(1));

	json_decref(j);
	return text;
}

struct save_job {
	const char *path, *text;
	bool durable;
	GError *error;
};

static int save_run(void *arg)
{
	struct save_job *job = arg;
	GFileSetContentsFlags flags = G_FILE_SET_CONTENTS_CONSISTENT;

	if (job->durable)
		flags |= G_FILE_SET_CONTENTS_DURABLE;
	return g_file_set_contents_full(job->path, job->text, -1, flags, 0600, &job->error) ? 0
											    : -EIO;
}

co_fn bool sbc_state_save(struct scsi_disk *d)
{
	struct save_job job = {.path = d->state_path, .durable = d->durable};
	char *text;

	if (!d->state_path)
		return true;
	co_mutex_lock(&d->saving); /* the later state is written later */
	job.text = text = state_text(d);
	job_run(save_run, &job);
	co_mutex_unlock(&d->saving);
	free(text);
	if (!job.error)
		return true;
	log_limited(&d->limit, LOG_ERROR, d->lu.name, "state %s", job.error->message);
	g_error_free(job.error);
	return false;
}

static co_fn void save_now(void *arg)
{
	struct scsi_disk *d = arg;

	sbc_state_save(d);
	co_drain_leave(&d->background);
}

void sbc_state_save_later(struct scsi_disk *d)
{
	if (!d->state_path)
		return;
	co_drain_enter(&d->background);
	co_start(d->lu.loop, save_now, d);
}

/* ---- reading: anybody may have written the file ---- */

static bool get_name(const json_t *j, char out[RESERVE_NAME_LEN])
{
	g_autofree char *name = json_is_string(j) ? g_strcompress(json_string_value(j)) : NULL;

	if (!name || strlen(name) >= RESERVE_NAME_LEN)
		return false;
	g_strlcpy(out, name, RESERVE_NAME_LEN);
	return true;
}

static bool get_registrations(const json_t *list, struct reservations *r)
{
	if (!json_is_array(list) || json_array_size(list) > REGISTRATIONS_MAX)
		return false;
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *one = json_array_get(list, i);
		const char *key = json_string_value(json_object_get(one, "key"));
		struct registration *who = &r->who[r->n];

		if (!key || !get_name(json_object_get(one, "name"), who->name) || !*who->name ||
		    reserve_find(r, who->name) != REGISTRATION_NONE ||
		    !g_ascii_string_to_unsigned(key, 16, 1, UINT64_MAX, &who->key, NULL))
			return false;
		r->n++;
	}
	return true;
}

static bool get_reservation(const json_t *j, struct reservations *r)
{
	json_int_t type = json_integer_value(json_object_get(j, "type"));
	json_int_t holder = json_integer_value(json_object_get(j, "holder"));
	bool all = type == RESERVE_WRITE_ALL || type == RESERVE_ACCESS_ALL;

	if (type == RESERVE_NONE) {
		r->holder = REGISTRATION_NONE;
		return true;
	}
	if (type < 0 || type > RESERVE_ACCESS_ALL || !reserve_type_is_valid((unsigned)type) ||
	    !r->n || (all ? holder != REGISTRATION_NONE : holder < 0 || holder >= (json_int_t)r->n))
		return false;
	r->type = (enum reserve_type)type;
	r->holder = (int)holder;
	return true;
}

static bool get_reservations(const json_t *j, struct reservations *r)
{
	r->generation = (uint32_t)json_integer_value(json_object_get(j, "generation"));
	r->persist = json_is_true(json_object_get(j, "persist"));
	return get_registrations(json_object_get(j, "registrations"), r) && get_reservation(j, r) &&
	       get_name(json_object_get(j, "simple"), r->simple);
}

/* What of the file still counts; r: zeroed. */
static bool take_state(struct scsi_disk *d, const json_t *j, struct reservations *r)
{
	const char *of_boot = json_string_value(json_object_get(j, "boot"));
	g_autofree char *boot = boot_id();
	bool same_boot = of_boot && !strcmp(of_boot, boot);

	if (!json_is_object(j) || !of_boot || !get_reservations(j, r))
		return false;
	if (!same_boot && !(r->persist && d->durable))
		return true;
	if (same_boot) {
		d->write_cache = json_is_true(json_object_get(j, "write_cache"));
		d->software_protect = json_is_true(json_object_get(j, "software_protect"));
	} else {
		r->simple[0] = '\0';
		r->generation = 0;
	}
	d->reservations = *r;
	return true;
}

struct load_job {
	const char *path;
	char *text;
	size_t len;
	GError *error;
};

static int load_run(void *arg)
{
	struct load_job *job = arg;

	return g_file_get_contents(job->path, &job->text, &job->len, &job->error) ? 0 : -EIO;
}

co_fn bool sbc_state_load(struct scsi_disk *d, GError **error)
{
	struct load_job job = {.path = d->state_path};
	struct reservations *r;
	json_t *j;
	bool ok;

	if (!d->state_path)
		return true;
	job_run(load_run, &job);
	if (job.error) {
		bool absent = g_error_matches(job.error, G_FILE_ERROR, G_FILE_ERROR_NOENT);

		if (!absent)
			err_set(error, EIO, "state %s", job.error->message);
		g_error_free(job.error);
		return absent;
	}
	j = job.len <= STATE_MAX ? json_loadb(job.text, job.len, 0, NULL) : NULL;
	r = g_new0(struct reservations, 1);
	ok = j && take_state(d, j, r);
	g_free(r);
	json_decref(j);
	g_free(job.text);
	if (ok)
		return true;
	return err_set(error, EINVAL,
		       "state %s: is not a disk's state; name another file, or remove it if nobody "
		       "holds a reservation",
		       d->state_path);
}
