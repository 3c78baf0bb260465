/* Properties: a class's table of what a user may set, and the values a user gave. */
#include "device/device_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum { PROPS_MAX = 256 };

static const char *const reserved[] = {"driver", "id", "class", NULL};

static size_t stride(const struct ob_class *cls)
{
	return cls->props[0].size;
}

static const struct ob_prop *entry(const struct ob_class *cls, unsigned i)
{
	return (const struct ob_prop *)((const char *)cls->props + i * stride(cls));
}

static bool is_name(const char *s)
{
	if (!s || !*s || strlen(s) > 63)
		return false;
	return strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == strlen(s);
}

static bool check_one(const struct ob_class *cls, const struct ob_prop *p, unsigned i,
		      GError **error)
{
	if (p->size != stride(cls)) {
		return err_set(error, EINVAL,
			       "class %s: property %u: its size differs from the first", cls->name,
			       i);
	}
	if (!is_name(p->name) || g_strv_contains(reserved, p->name)) {
		return err_set(error, EINVAL,
			       "class %s: property %u: \"%s\" is no name for a property", cls->name,
			       i, p->name ? p->name : "");
	}
	if (p->type < OB_PROP_BOOL || p->type > OB_PROP_ENUM)
		return err_set(error, EINVAL, "class %s: property %s: no type %" PRIu32, cls->name,
			       p->name, p->type);
	if (p->type == OB_PROP_ENUM && (!p->names || !p->names[0]))
		return err_set(error, EINVAL, "class %s: property %s: an ENUM needs names",
			       cls->name, p->name);
	return true;
}

bool props_check(const struct ob_class *cls, GError **error)
{
	if (!cls->n_props)
		return true;
	if (!cls->props || cls->n_props > PROPS_MAX ||
	    stride(cls) < offsetof(struct ob_prop, flags) || stride(cls) > 4096)
		return err_set(error, EINVAL, "class %s: its table of properties makes no sense",
			       cls->name);
	for (unsigned i = 0; i < cls->n_props; i++) {
		if (!check_one(cls, entry(cls, i), i, error))
			return false;
		for (unsigned k = 0; k < i; k++) {
			if (strcmp(entry(cls, k)->name, entry(cls, i)->name) == 0)
				return err_set(error, EINVAL, "class %s: two properties %s",
					       cls->name, entry(cls, i)->name);
		}
	}
	return true;
}

struct ob_prop *props_copy(const struct ob_class *cls)
{
	struct ob_prop *out = g_new0(struct ob_prop, cls->n_props + 1);

	for (unsigned i = 0; i < cls->n_props; i++)
		memcpy(&out[i], entry(cls, i), MIN(stride(cls), sizeof(*out)));
	return out;
}

static void get_range(const struct ob_prop *p, uint64_t *min, uint64_t *max)
{
	*min = p->min;
	*max = p->max;
	if (p->min || p->max)
		return;
	*min = p->type == OB_PROP_INT ? (uint64_t)INT64_MIN : 0;
	*max = p->type == OB_PROP_INT ? INT64_MAX : UINT64_MAX;
}

static bool parse_int(const struct ob_prop *p, const char *text, uint64_t *number, GError **error)
{
	const char *digits = text + (*text == '-');
	bool hex = digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X');
	uint64_t min, max;
	char *end;
	int64_t v;

	get_range(p, &min, &max);
	errno = 0;
	v = g_ascii_strtoll(text, &end, hex ? 16 : 10);
	if (!g_ascii_isdigit(*digits) || *end || errno || v < (int64_t)min || v > (int64_t)max) {
		return err_set(error, EINVAL,
			       "option %s=%s: must be a number from %" PRId64 " to %" PRId64,
			       p->name, text, (int64_t)min, (int64_t)max);
	}
	*number = (uint64_t)v;
	return true;
}

static bool parse_size(const struct ob_prop *p, struct opts *opts, const char *text,
		       uint64_t *number, GError **error)
{
	char *from, *to;
	uint64_t min, max;

	get_range(p, &min, &max);
	if (opts_get_size(opts, p->name, number, NULL) && *number >= min && *number <= max)
		return true;
	from = size_text(min);
	to = size_text(max);
	err_set(error, EINVAL,
		"option %s=%s: must be a size from %s to %s (%" PRIu64 " to %" PRIu64
		"), with K, M, G or T behind it or none",
		p->name, text, from, to, min, max);
	g_free(from);
	g_free(to);
	return false;
}

static bool parse_one(const struct ob_prop *p, struct opts *opts, struct prop_value *v,
		      GError **error)
{
	const char *text = opts_get(opts, p->name);
	int chosen = (int)p->def;
	uint64_t min, max;
	bool on = p->def;

	if (!text && p->flags & OB_PROP_REQUIRED)
		return err_set(error, EINVAL, "option %s is required", p->name);
	v->number = p->def;
	switch (p->type) {
	case OB_PROP_BOOL:
		if (!opts_get_bool(opts, p->name, &on, error))
			return false;
		v->number = on;
		return true;
	case OB_PROP_UINT:
		get_range(p, &min, &max);
		return opts_get_u64(opts, p->name, min, max, &v->number, error);
	case OB_PROP_INT: return !text || parse_int(p, text, &v->number, error);
	case OB_PROP_SIZE: return !text || parse_size(p, opts, text, &v->number, error);
	case OB_PROP_TEXT: v->text = g_strdup(text ? text : p->def_text); return true;
	default:
		if (!opts_get_enum(opts, p->name, p->names, &chosen, error))
			return false;
		v->number = (uint64_t)chosen;
		if (chosen >= 0 && chosen < (int)g_strv_length((char **)p->names))
			v->text = g_strdup(p->names[chosen]);
		return true;
	}
}

struct prop_value *props_parse(const struct device *d, struct opts *opts, GError **error)
{
	struct prop_value *values = g_new0(struct prop_value, d->cls.n_props + 1);
	bool ok = true;

	for (unsigned i = 0; ok && i < d->cls.n_props; i++)
		ok = parse_one(&d->props[i], opts, &values[i], error);
	if (ok && opts_check_used(opts, d->cls.name, error))
		return values;
	for (unsigned i = 0; i < d->cls.n_props; i++)
		g_free(values[i].text);
	g_free(values);
	return NULL;
}

void props_free(const struct device *d)
{
	for (unsigned i = 0; d->values && i < d->cls.n_props; i++)
		g_free(d->values[i].text);
	g_free(d->values);
	g_free(d->props);
}

int props_find(const struct device *d, const char *name)
{
	for (unsigned i = 0; i < d->cls.n_props; i++) {
		if (strcmp(d->props[i].name, name) == 0)
			return (int)i;
	}
	return -1;
}

static void describe(GString *out, const struct ob_prop *p)
{
	uint64_t min, max;

	get_range(p, &min, &max);
	g_string_append_printf(out, "%s=", p->name);
	switch (p->type) {
	case OB_PROP_BOOL: g_string_append_printf(out, "on|off (%s)", p->def ? "on" : "off"); break;
	case OB_PROP_UINT:
	case OB_PROP_SIZE:
		g_string_append_printf(out, "%" PRIu64 "..%" PRIu64 " (%" PRIu64 ")", min, max,
				       p->def);
		break;
	case OB_PROP_INT:
		g_string_append_printf(out, "%" PRId64 "..%" PRId64 " (%" PRId64 ")", (int64_t)min,
				       (int64_t)max, (int64_t)p->def);
		break;
	case OB_PROP_TEXT:
		g_string_append_printf(out, "TEXT (%s)", p->def_text ? p->def_text : "none");
		break;
	default:
		for (unsigned i = 0; p->names[i]; i++)
			g_string_append_printf(out, "%s%s", i ? "|" : "", p->names[i]);
	}
	g_string_append_printf(out, "%s  %s\n", p->flags & OB_PROP_REQUIRED ? " required" : "",
			       p->help ? p->help : "");
}

char *device_class_help(const struct ob_class *cls)
{
	GString *out = g_string_new(NULL);
	struct ob_class copy;

	if (class_copy(&copy, cls, NULL)) {
		struct ob_prop *props = props_copy(&copy);

		for (unsigned i = 0; i < copy.n_props; i++)
			describe(out, &props[i]);
		g_free(props);
	}
	return g_string_free(out, FALSE);
}
