/*
 * How an image is named (formats.md 1.1): a plain file name, "file:NAME", an NBD address, or
 * "json:{...}" whose objects become dotted keys. Pure: from text to options.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/err.h"
#include "block/driver.h"
#include "block/nbd/address.h"

enum { JSON_DEPTH = 16 };

static bool flatten(struct opts *o, const char *key, const json_t *value, unsigned depth,
		    GError **error);

static bool flatten_object(struct opts *o, const char *key, const json_t *value, unsigned depth,
			   GError **error)
{
	const char *name;
	json_t *member;

	json_object_foreach((json_t *)value, name, member)
	{
		g_autofree char *full = *key ? g_strdup_printf("%s.%s", key, name) : g_strdup(name);

		if (!*name)
			return err_set(error, EINVAL, "json: a key is empty");
		if (!flatten(o, full, member, depth + 1, error))
			return false;
	}
	return true;
}

static bool flatten_array(struct opts *o, const char *key, const json_t *value, unsigned depth,
			  GError **error)
{
	json_t *item;
	size_t i;

	json_array_foreach(value, i, item)
	{
		g_autofree char *full = g_strdup_printf("%s.%zu", key, i);

		if (!flatten(o, full, item, depth + 1, error))
			return false;
	}
	return true;
}

static bool flatten(struct opts *o, const char *key, const json_t *value, unsigned depth,
		    GError **error)
{
	g_autofree char *number = NULL;

	if (depth > JSON_DEPTH)
		return err_set(error, EINVAL, "json: nested deeper than %d", JSON_DEPTH);
	switch (json_typeof(value)) {
	case JSON_OBJECT: return flatten_object(o, key, value, depth, error);
	case JSON_ARRAY: return flatten_array(o, key, value, depth, error);
	case JSON_STRING: opts_set(o, key, json_string_value(value)); return true;
	case JSON_TRUE: opts_set(o, key, "on"); return true;
	case JSON_FALSE: opts_set(o, key, "off"); return true;
	case JSON_NULL: opts_set(o, key, ""); return true;
	case JSON_INTEGER:
		number = g_strdup_printf("%" JSON_INTEGER_FORMAT, json_integer_value(value));
		opts_set(o, key, number);
		return true;
	case JSON_REAL: break;
	}
	return err_set(error, EINVAL, "json: \"%s\" must not be a fraction", key);
}

static struct opts *parse_json(const char *text, GError **error)
{
	struct opts *o = opts_new();
	json_error_t where;
	json_t *value = json_loads(text, JSON_REJECT_DUPLICATES, &where);
	bool ok;

	if (!value)
		ok = err_set(error, EINVAL, "json: %s at column %d", where.text, where.column);
	else if (!json_is_object(value))
		ok = err_set(error, EINVAL, "json: must be followed by an object");
	else
		ok = flatten(o, "", value, 0, error);
	json_decref(value);
	if (ok)
		return o;
	opts_free(o);
	return NULL;
}

/* Length of what stands before the first colon, if that comes before any slash; else 0. */
static size_t protocol_len(const char *name)
{
	size_t n = strcspn(name, ":/");

	return name[n] == ':' ? n : 0;
}

static struct opts *plain_file(const char *name)
{
	struct opts *o = opts_new();

	opts_set(o, "filename", name);
	return o;
}

static struct opts *nbd_export(const char *name, GError **error)
{
	struct opts *o = opts_new();

	if (nbd_parse_name(name, "file.", o, error))
		return o;
	opts_free(o);
	return NULL;
}

struct opts *block_parse_name(const char *name, GError **error)
{
	static const char *const later[] = {"iscsi", "iser", "ssh", "nfs",     "http", "https",
					    "ftp",   "ftps", "rbd", "gluster", "nvme", NULL};
	size_t n = protocol_len(name);
	g_autofree char *protocol = g_strndup(name, n);

	if (!*name)
		err_set(error, EINVAL, "the file name is empty");
	else if (g_str_has_prefix(name, "json:"))
		return parse_json(name + strlen("json:"), error);
	else if (n == 0)
		return plain_file(name);
	else if (!strcmp(protocol, "file") && name[n + 1])
		return plain_file(name + n + 1);
	else if (nbd_is_protocol(protocol))
		return nbd_export(name, error);
	else if (g_strv_contains(later, protocol)) {
		err_set(error, ENOTSUP, "%s: the protocol \"%s\" is not supported by this version",
			name, protocol);
	} else {
		err_set(error, EINVAL,
			"%s: there is no protocol \"%s\"; a file of that name is file:%s or ./%s",
			name, protocol, name, name);
	}
	return NULL;
}
