/* JSON of a program: see remote_json.h. */
#include "device/remote_json.h"
#include "base/err.h"
#include "device/remote_codec.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* Whether brackets outside of texts nest deeper than is allowed. */
static bool is_deep(const char *line, size_t len)
{
	unsigned depth = 0;
	bool quoted = false;

	for (size_t i = 0; i < len; i++) {
		char c = line[i];

		if (quoted && c == '\\')
			i++;
		else if (c == '"')
			quoted = !quoted;
		else if (!quoted && (c == '{' || c == '[') && ++depth > REMOTE_DEPTH_MAX)
			return true;
		else if (!quoted && (c == '}' || c == ']') && depth)
			depth--;
	}
	return false;
}

/*
 * The parser knows integers of 63 bits and a sign. Longer ones, which a program may print for a
 * register of 64 bits, are put in quotes: numbers may be text. NULL: there is none.
 */
static char *quote_long_integers(const char *line, size_t len, size_t *new_len)
{
	enum { LONG = 19 };
	GString *out = NULL;
	bool quoted = false;
	size_t copied = 0;

	for (size_t i = 0, n; i < len; i += MAX(n, 1)) {
		for (n = 0; !quoted && i + n < len && g_ascii_isdigit(line[i + n]);)
			n++;
		if (n >= LONG && i && strchr(":,[ \t", line[i - 1]) &&
		    (i + n == len || !strchr(".eE", line[i + n]))) {
			out = out ? out : g_string_sized_new(len + 2);
			g_string_append_len(out, line + copied, (gssize)(i - copied));
			g_string_append_printf(out, "\"%.*s\"", (int)n, line + i);
			copied = i + n;
		}
		if (quoted && line[i] == '\\')
			i++;
		else if (line[i] == '"')
			quoted = !quoted;
	}
	if (!out)
		return NULL;
	g_string_append_len(out, line + copied, (gssize)(len - copied));
	*new_len = out->len;
	return g_string_free(out, FALSE);
}

json_t *remote_json_load(const char *line, size_t len, GError **error)
{
	g_autofree char *text = quote_long_integers(line, len, &len);
	json_error_t e;
	json_t *o;

	line = text ? text : line;
	if (is_deep(line, len)) {
		err_set(error, EPROTO, "a line that nests deeper than %d", REMOTE_DEPTH_MAX);
		return NULL;
	}
	o = json_loadb(line, len, JSON_REJECT_DUPLICATES, &e);
	if (!json_is_object(o)) {
		g_autofree char *start = g_strndup(line, MIN(len, 60));
		g_autofree char *shown = g_utf8_make_valid(start, -1);

		err_set(error, EPROTO, "a line that is no JSON object (%s): %s",
			o ? "something else" : e.text, shown);
		json_decref(o);
		return NULL;
	}
	return o;
}

bool remote_json_u64(const json_t *v, uint64_t *value)
{
	const char *text = json_string_value(v);
	bool hex;
	char *end;
	uint64_t n;

	if (json_is_integer(v)) {
		if (json_integer_value(v) < 0)
			return false;
		*value = (uint64_t)json_integer_value(v);
		return true;
	}
	if (!text || json_string_length(v) != strlen(text))
		return false;
	hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
	if (hex ? !g_ascii_isxdigit(text[2]) : !g_ascii_isdigit(text[0]))
		return false;
	errno = 0;
	n = g_ascii_strtoull(text, &end, hex ? 16 : 10);
	if (*end || errno)
		return false;
	*value = n;
	return true;
}

bool remote_json_number(const json_t *o, const char *key, bool required, uint64_t min, uint64_t max,
			uint64_t *value, GError **error)
{
	const json_t *v = json_object_get(o, key);
	uint64_t n;

	if (!v && !required)
		return true;
	if (!v)
		return err_set(error, EPROTO, "\"%s\" is missing", key);
	if (!remote_json_u64(v, &n) || n < min || n > max) {
		return err_set(error, EPROTO,
			       "\"%s\" must be a number from %" PRIu64 " to %" PRIu64
			       " (or text such as \"0x10\")",
			       key, min, max);
	}
	*value = n;
	return true;
}

bool remote_json_bool(const json_t *o, const char *key, bool *value, GError **error)
{
	const json_t *v = json_object_get(o, key);

	if (v && !json_is_boolean(v))
		return err_set(error, EPROTO, "\"%s\" must be true or false", key);
	if (v)
		*value = json_is_true(v);
	return true;
}

bool remote_json_text(const json_t *o, const char *key, const char **text, GError **error)
{
	const json_t *v = json_object_get(o, key);

	if (v && (!json_is_string(v) || json_string_length(v) != strlen(json_string_value(v))))
		return err_set(error, EPROTO, "\"%s\" must be text", key);
	if (v)
		*text = json_string_value(v);
	return true;
}
