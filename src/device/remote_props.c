/* Properties that a program declares, as the SDK's table of them. */
#include "base/err.h"
#include "base/opts.h"
#include "device/remote_describe.h"
#include "device/remote_json.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const char *const type_names[] = {
	[OB_PROP_BOOL] = "bool", [OB_PROP_UINT] = "uint", [OB_PROP_INT] = "int",
	[OB_PROP_SIZE] = "size", [OB_PROP_TEXT] = "text", [OB_PROP_ENUM] = "enum",
};

static bool get_type(const json_t *o, struct ob_prop *p, GError **error)
{
	const char *type = "text";

	if (!remote_json_text(o, "type", &type, error))
		return false;
	for (p->type = OB_PROP_BOOL; p->type <= OB_PROP_ENUM; p->type++) {
		if (strcmp(type_names[p->type], type) == 0)
			return true;
	}
	return err_set(error, EPROTO,
		       "\"type\" must be \"text\", \"bool\", \"uint\", \"int\", \"size\" or "
		       "\"enum\"");
}

/* A number with a sign, for properties of type int; else without one. */
static bool get_limit(const json_t *o, const char *key, const struct ob_prop *p, uint64_t *out,
		      GError **error)
{
	const json_t *v = json_object_get(o, key);

	if (p->type == OB_PROP_INT && json_is_integer(v)) {
		*out = (uint64_t)json_integer_value(v);
		return true;
	}
	return remote_json_number(o, key, false, 0, UINT64_MAX, out, error);
}

/* Where only one end is given, the other is that of the type. */
static bool get_range(const json_t *o, struct ob_prop *p, GError **error)
{
	bool is_int = p->type == OB_PROP_INT;

	if (json_object_get(o, "min") || json_object_get(o, "max")) {
		p->min = is_int ? (uint64_t)INT64_MIN : 0;
		p->max = is_int ? INT64_MAX : UINT64_MAX;
	}
	return get_limit(o, "min", p, &p->min, error) && get_limit(o, "max", p, &p->max, error);
}

static bool get_values(const json_t *o, struct ob_prop *p, GError **error)
{
	const json_t *list = json_object_get(o, "values"), *v;
	const char **names;
	size_t i;

	if (p->type != OB_PROP_ENUM)
		return true;
	if (!json_array_size(list))
		return err_set(error, EPROTO, "\"values\" must be a list of texts");
	p->names = (const char *const *)(names = g_new0(const char *, json_array_size(list) + 1));
	json_array_foreach(list, i, v)
	{
		if (!json_is_string(v) || !*json_string_value(v))
			return err_set(error, EPROTO, "\"values\" must be a list of texts");
		names[i] = g_strdup(json_string_value(v));
	}
	return true;
}

static bool default_enum(const char *text, struct ob_prop *p)
{
	for (unsigned i = 0; p->names[i]; i++) {
		if (text && strcmp(p->names[i], text) == 0) {
			p->def = i;
			return true;
		}
	}
	return false;
}

/* "default" is a value as the user would write it, or the number or bool itself. */
static bool get_default(const json_t *o, struct ob_prop *p, GError **error)
{
	const json_t *v = json_object_get(o, "default");
	const char *text = json_string_value(v);
	bool ok = true;

	if (!v)
		return true;
	switch (p->type) {
	case OB_PROP_BOOL:
		p->def = json_is_true(v) || (text && (!strcmp(text, "on") || !strcmp(text, "yes") ||
						      !strcmp(text, "true")));
		ok = json_is_boolean(v) || text;
		break;
	case OB_PROP_INT:
		ok = json_is_integer(v) || (text && *text);
		p->def = json_is_integer(v) ? (uint64_t)json_integer_value(v)
			 : ok               ? (uint64_t)g_ascii_strtoll(text, NULL, 0)
					    : 0;
		break;
	case OB_PROP_TEXT:
		ok = text;
		p->def_text = g_strdup(text);
		break;
	case OB_PROP_ENUM: ok = default_enum(text, p); break;
	case OB_PROP_SIZE:
		ok = remote_json_u64(v, &p->def) || (text && size_parse(text, &p->def, NULL));
		break;
	default: ok = remote_json_u64(v, &p->def);
	}
	return ok || err_set(error, EPROTO, "\"default\" is no value of its type");
}

static bool get_prop(const json_t *o, struct ob_prop *p, GError **error)
{
	const char *name = json_string_value(o), *help = NULL;
	bool required = false;

	p->size = sizeof(*p);
	p->type = OB_PROP_TEXT;
	if (!name && !json_is_object(o))
		return err_set(error, EPROTO, "a property is a name or an object");
	if (!name && !remote_json_text(o, "name", &name, error))
		return false;
	if (!name)
		return err_set(error, EPROTO, "\"name\" is missing");
	p->name = g_strdup(name);
	if (!json_is_object(o))
		return true;
	if (!remote_json_text(o, "help", &help, error) ||
	    !remote_json_bool(o, "required", &required, error) || !get_type(o, p, error))
		return false;
	p->help = g_strdup(help);
	p->flags = required ? OB_PROP_REQUIRED : 0;
	return get_range(o, p, error) && get_values(o, p, error) && get_default(o, p, error);
}

bool remote_props_parse(const json_t *list, struct remote_desc *d, GError **error)
{
	const json_t *o;
	size_t i;

	if (list && (!json_is_array(list) || json_array_size(list) > REMOTE_PROPS_MAX))
		return err_set(error, EPROTO, "\"properties\" must be a list of at most %d",
			       REMOTE_PROPS_MAX);
	d->props = g_new0(struct ob_prop, json_array_size(list) + 1);
	json_array_foreach(list, i, o)
	{
		d->n_props++;
		if (!get_prop(o, &d->props[i], error))
			return err_prefix(error, "\"properties\"[%zu]", i);
	}
	d->props[d->n_props] = remote_timeout_prop;
	d->n_props++;
	return true;
}

static void free_prop(struct ob_prop *p)
{
	for (unsigned i = 0; p->names && p->names[i]; i++)
		g_free((char *)(uintptr_t)p->names[i]);
	g_free((void *)(uintptr_t)p->names);
	g_free((char *)(uintptr_t)p->def_text);
	g_free((char *)(uintptr_t)p->name);
	g_free((char *)(uintptr_t)p->help);
}

void remote_props_free(struct remote_desc *d)
{
	for (unsigned i = 0; i < d->n_props; i++) {
		if (d->props[i].name != remote_timeout_prop.name)
			free_prop(&d->props[i]);
	}
	g_free(d->props);
}

const struct ob_prop remote_timeout_prop = {
	.size = sizeof(struct ob_prop),
	.type = OB_PROP_UINT,
	.name = "timeout",
	.help = "milliseconds in which the program answers, or is taken for dead",
	.min = 10,
	.max = 60000,
	.def = 2000,
};
