/*
 * Options as an ordered list of keys and values. What a caller asks for is remembered, present or
 * not: the present keys nobody asked for are the unknown ones, and what was asked for is the list
 * of known ones.
 */
#include "base/opts.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/err.h"

struct opt {
	char *key, *value;
	bool used;
};

struct opts {
	GPtrArray *list;  /* of struct opt */
	GPtrArray *known; /* keys asked for */
};

static void opt_free(gpointer p)
{
	struct opt *opt = p;

	g_free(opt->key);
	g_free(opt->value);
	g_free(opt);
}

struct opts *opts_new(void)
{
	struct opts *o = g_new(struct opts, 1);

	o->list = g_ptr_array_new_with_free_func(opt_free);
	o->known = g_ptr_array_new_with_free_func(g_free);
	return o;
}

void opts_free(struct opts *o)
{
	if (!o)
		return;
	g_ptr_array_unref(o->list);
	g_ptr_array_unref(o->known);
	g_free(o);
}

static struct opt *opts_find(const struct opts *o, const char *key)
{
	for (unsigned i = 0; i < o->list->len; i++) {
		struct opt *opt = o->list->pdata[i];

		if (strcmp(opt->key, key) == 0)
			return opt;
	}
	return NULL;
}

static void opts_add(struct opts *o, char *key, char *value)
{
	struct opt *opt = g_new0(struct opt, 1);

	opt->key = key;
	opt->value = value;
	g_ptr_array_add(o->list, opt);
}

void opts_set(struct opts *o, const char *key, const char *value)
{
	struct opt *opt = opts_find(o, key);

	if (!opt) {
		opts_add(o, g_strdup(key), g_strdup(value));
		return;
	}
	g_free(opt->value);
	opt->value = g_strdup(value);
}

/* Takes an item off *text: up to a single comma, double ones made single. */
static char *take_item(const char **text)
{
	GString *item = g_string_new(NULL);
	const char *p = *text;

	for (; *p; p++) {
		if (*p == ',' && *++p != ',')
			break;
		g_string_append_c(item, *p);
	}
	*text = p;
	return g_string_free(item, FALSE);
}

static bool add_item(struct opts *o, const char *item, const char *implied, GError **error)
{
	const char *equals = strchr(item, '=');
	char *key;

	if (equals)
		key = g_strndup(item, (size_t)(equals - item));
	else
		key = g_strdup(implied ? implied : item);
	if (!*key) {
		g_free(key);
		return err_set(error, EINVAL, "\"%s\": an option is key=value", item);
	}
	if (opts_find(o, key)) {
		err_set(error, EINVAL, "option \"%s\" is given twice", key);
		g_free(key);
		return false;
	}
	opts_add(o, key, g_strdup(equals ? equals + 1 : implied ? item : "on"));
	return true;
}

struct opts *opts_parse(const char *text, const char *implied, GError **error)
{
	struct opts *o = opts_new();

	while (*text) {
		char *item = take_item(&text);
		bool ok = add_item(o, item, implied, error);

		g_free(item);
		if (!ok) {
			opts_free(o);
			return NULL;
		}
		implied = NULL;
	}
	return o;
}

struct opts *opts_sub(struct opts *o, const char *prefix)
{
	struct opts *sub = opts_new();
	size_t n = strlen(prefix);

	for (unsigned i = 0; i < o->list->len; i++) {
		struct opt *opt = o->list->pdata[i];

		if (strncmp(opt->key, prefix, n) != 0 || !opt->key[n])
			continue;
		opt->used = true;
		opts_add(sub, g_strdup(opt->key + n), g_strdup(opt->value));
	}
	return sub;
}

bool opts_is_empty(const struct opts *o)
{
	return o->list->len == 0;
}

const char *opts_get(struct opts *o, const char *key)
{
	struct opt *opt = opts_find(o, key);
	unsigned i = 0;

	while (i < o->known->len && strcmp(o->known->pdata[i], key) != 0)
		i++;
	if (i == o->known->len)
		g_ptr_array_add(o->known, g_strdup(key));
	if (!opt)
		return NULL;
	opt->used = true;
	return opt->value;
}

bool opts_get_bool(struct opts *o, const char *key, bool *value, GError **error)
{
	static const char *const yes[] = {"on", "yes", "true", NULL};
	static const char *const no[] = {"off", "no", "false", NULL};
	const char *text = opts_get(o, key);

	if (!text)
		return true;
	if (!g_strv_contains(yes, text) && !g_strv_contains(no, text))
		return err_set(error, EINVAL, "option %s=%s: must be on or off", key, text);
	*value = g_strv_contains(yes, text);
	return true;
}

bool opts_get_u64(struct opts *o, const char *key, uint64_t min, uint64_t max, uint64_t *value,
		  GError **error)
{
	const char *text = opts_get(o, key);
	bool hex;
	uint64_t v;
	char *end;

	if (!text)
		return true;
	hex = text[0] == '0' && (text[1] == 'x' || text[1] == 'X') && g_ascii_isxdigit(text[2]);
	errno = 0;
	v = g_ascii_strtoull(text, &end, hex ? 16 : 10);
	if (!g_ascii_isdigit(*text) || *end || errno || v < min || v > max) {
		return err_set(error, EINVAL,
			       "option %s=%s: must be a number from %" PRIu64 " to %" PRIu64, key,
			       text, min, max);
	}
	*value = v;
	return true;
}

bool opts_get_size(struct opts *o, const char *key, uint64_t *value, GError **error)
{
	const char *text = opts_get(o, key);

	if (!text || size_parse(text, value, error))
		return true;
	return err_prefix(error, "option %s", key);
}

bool opts_get_enum(struct opts *o, const char *key, const char *const *names, int *value,
		   GError **error)
{
	const char *text = opts_get(o, key);
	char *all;

	if (!text)
		return true;
	for (int i = 0; names[i]; i++) {
		if (strcmp(names[i], text) == 0) {
			*value = i;
			return true;
		}
	}
	all = g_strjoinv(", ", (char **)names);
	err_set(error, EINVAL, "option %s=%s: must be one of %s", key, text, all);
	g_free(all);
	return false;
}

bool opts_check_used(struct opts *o, const char *what, GError **error)
{
	for (unsigned i = 0; i < o->list->len; i++) {
		const struct opt *opt = o->list->pdata[i];
		GString *known;

		if (opt->used)
			continue;
		known = g_string_new(NULL);
		for (unsigned k = 0; k < o->known->len; k++)
			g_string_append_printf(known, "%s%s", k ? ", " : "",
					       (char *)o->known->pdata[k]);
		err_set(error, EINVAL, "%s: no option \"%s\" here; known: %s", what, opt->key,
			known->len ? known->str : "none");
		g_string_free(known, TRUE);
		return false;
	}
	return true;
}

void opts_foreach(const struct opts *o, void (*fn)(const char *key, const char *value, void *arg),
		  void *arg)
{
	for (unsigned i = 0; i < o->list->len; i++) {
		const struct opt *opt = o->list->pdata[i];

		fn(opt->key, opt->value, arg);
	}
}
