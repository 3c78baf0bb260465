/*
 * What was in a drive: see media.h. JSON with names escaped to ASCII, since file names need not be
 * UTF-8.
 */
#include "control/media.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"

static const size_t record_max = 64 * 1024;

static char *boot_id(void)
{
	char *text = NULL;

	if (!g_file_get_contents("/proc/sys/kernel/random/boot_id", &text, NULL, NULL))
		return g_strdup("unknown");
	return g_strstrip(text);
}

static json_t *name_to_json(const char *name)
{
	g_autofree char *escaped = name ? g_strescape(name, NULL) : NULL;

	return escaped ? json_string(escaped) : json_null();
}

static char *name_from_json(const json_t *value)
{
	return json_is_string(value) ? g_strcompress(json_string_value(value)) : NULL;
}

bool media_read(const char *path, struct media_record *out)
{
	g_autofree char *text = NULL, *boot = boot_id();
	const char *of_boot;
	size_t len;
	json_t *j;
	bool ok;

	if (!g_file_get_contents(path, &text, &len, NULL) || len > record_max)
		return false;
	j = json_loadb(text, len, 0, NULL);
	of_boot = json_string_value(json_object_get(j, "boot"));
	ok = of_boot && !strcmp(of_boot, boot);
	if (ok) {
		out->configured = name_from_json(json_object_get(j, "configured"));
		out->loaded = name_from_json(json_object_get(j, "loaded"));
	}
	json_decref(j);
	return ok;
}

bool media_write(const char *path, const struct media_record *record, GError **error)
{
	g_autofree char *boot = boot_id();
	json_t *j =
		json_pack("{s:s, s:o, s:o}", "boot", boot, "configured",
			  name_to_json(record->configured), "loaded", name_to_json(record->loaded));
	char *text = json_dumps(j, JSON_INDENT(1));
	GError *why = NULL;
	bool ok = g_file_set_contents(path, text, -1, &why);

	free(text);
	json_decref(j);
	if (ok)
		return true;
	err_set(error, EIO, "%s: %s", path, why->message);
	g_error_free(why);
	return false;
}

void media_remove(const char *path)
{
	unlink(path);
}

void media_record_clear(struct media_record *record)
{
	g_clear_pointer(&record->configured, g_free);
	g_clear_pointer(&record->loaded, g_free);
}
