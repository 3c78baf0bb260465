/*
 * --object secret,id=ID,data=TEXT|file=NAME, as users of QEMU type it: an option whose key ends in
 * "key-secret" names one, and the driver gets the secret itself.
 */
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "base/opts.h"
#include "cli/image.h"

enum { MAX_SECRET = 4096 };
static const char by_name[] = "key-secret", itself[] = "secret";

static bool read_secret(const char *name, char **text, GError **error)
{
	size_t len;

	if (!g_file_get_contents(name, text, &len, NULL))
		return err_set_errno(error, errno, "--object secret: file %s cannot be read", name);
	return (len <= MAX_SECRET && strlen(*text) == len) ||
	       err_set(error, EINVAL,
		       "--object secret: file %s has more than %d bytes, or a zero among them",
		       name, MAX_SECRET);
}

/* The secret of that name: a new string. */
static char *find_secret(const struct args *a, const char *id, GError **error)
{
	char *text = NULL;
	bool ok = true;

	for (unsigned i = 0; ok && !text && args_value_n(a, "object", i); i++) {
		struct opts *o = opts_parse(args_value_n(a, "object", i), "qom-type", error);
		const char *kind, *data, *file, *name;

		if (!o)
			return NULL;
		kind = opts_get(o, "qom-type");
		name = opts_get(o, "id");
		data = opts_get(o, "data");
		file = opts_get(o, "file");
		if (!kind || strcmp(kind, "secret") != 0 || !name || !data == !file) {
			ok = err_set(error, EINVAL,
				     "--object: must be secret,id=ID with data=TEXT or file=NAME");
		} else {
			ok = opts_check_used(o, "--object secret", error);
		}
		if (ok && !strcmp(name, id) && data)
			text = g_strdup(data);
		else if (ok && !strcmp(name, id))
			ok = read_secret(file, &text, error);
		opts_free(o);
	}
	if (ok && !text)
		err_set(error, ENOENT, "there is no --object secret,id=%s", id);
	if (!ok) {
		g_clear_pointer(&text, g_free);
	}
	return text;
}

struct resolve {
	const struct args *args;
	struct opts *to;
	GError **error;
	bool ok;
};

static void resolve_one(const char *key, const char *value, void *arg)
{
	struct resolve *r = arg;
	g_autofree char *secret = NULL, *name = NULL;

	if (!r->ok)
		return;
	if (!g_str_has_suffix(key, by_name)) {
		opts_set(r->to, key, value);
		return;
	}
	secret = find_secret(r->args, value, r->error);
	name = g_strdup_printf("%.*s%s", (int)(strlen(key) - strlen(by_name)), key, itself);
	r->ok = secret != NULL;
	if (secret)
		opts_set(r->to, name, secret);
}

struct opts *image_with_secrets(const struct args *a, struct opts *options, GError **error)
{
	struct resolve r = {a, opts_new(), error, true};

	opts_foreach(options, resolve_one, &r);
	opts_free(options);
	if (r.ok)
		return r.to;
	opts_free(r.to);
	return NULL;
}
