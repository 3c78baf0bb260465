/* Shared by the subcommands of "image": see image.h. */
#include "cli/image.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/opts.h"

enum { SECTOR = 512 };

/* The folders of --allow-refs as the node's option; NULL: none. */
static char *allowed_folders(const struct args *a)
{
	GString *all = g_string_new(NULL);

	for (unsigned i = 0; args_value_n(a, "allow-refs", i); i++)
		g_string_append_printf(all, "%s%s", i ? ":" : "", args_value_n(a, "allow-refs", i));
	return g_string_free(all, all->len == 0);
}

static co_fn struct block_node *open_by_options(const struct args *a, const char *name,
						const char *format, const char *folders,
						unsigned flags, GError **error)
{
	struct opts *options = args_has(a, "image-opts") ? opts_parse(name, NULL, error)
							 : block_parse_name(name, error);
	struct block_node *node;

	if (options)
		options = image_with_secrets(a, options, error);
	if (!options)
		return NULL;
	if (format)
		opts_set(options, "driver", format);
	if (folders)
		opts_set(options, "allow-refs", folders);
	node = block_open(options, flags, error);
	opts_free(options);
	return node;
}

co_fn struct block_node *image_open(const struct args *a, const char *name, const char *format,
				    unsigned flags, GError **error)
{
	g_autofree char *folders = allowed_folders(a);
	const char *cache = args_value(a, "source-cache");
	struct block_node *node;
	struct opts *more;

	if (args_has(a, "force-share"))
		flags = (flags & ~(unsigned)BLOCK_UNSHARE_WRITE) | BLOCK_NO_LOCK;
	if (args_has(a, "allow-references"))
		flags |= BLOCK_REFS_ANYWHERE;
	if (args_has(a, "no-probe"))
		flags |= BLOCK_NO_PROBE;
	if (cache && !block_parse_cache(cache, &flags, error))
		return NULL;
	if (!format)
		format = args_value(a, "format");
	if (args_has(a, "image-opts") || args_has(a, "object"))
		return open_by_options(a, name, format, folders, flags, error);
	more = opts_new();
	if (folders)
		opts_set(more, "allow-refs", folders);
	node = block_open_image_with(name, format, more, flags, error);
	opts_free(more);
	return node;
}

co_fn struct block_node *image_make_file(const char *path, bool *made, GError **error)
{
	struct opts *options = block_parse_name(path, error);
	struct block_node *file;
	int res;

	if (!options)
		return NULL;
	if (!opts_get(options, "filename")) {
		err_set(error, ENOTSUP, "%s: only files can be made; -n writes into what is there",
			path);
		opts_free(options);
		return NULL;
	}
	*made = access(opts_get(options, "filename"), F_OK);
	opts_set(options, "driver", "file");
	if (*made)
		opts_set(options, "create", "on");
	file = block_open(options, BLOCK_RDWR | BLOCK_UNSHARE_WRITE, error);
	opts_free(options);
	if (!file || *made)
		return file;
	res = block_truncate(file, 0);
	if (res == 0)
		return file;
	if (res == -ENOTSUP) {
		err_set(error, ENOTSUP, "%s: is a device; write into it with --no-create (-n)",
			path);
	} else {
		err_set_errno(error, -res, "%s: cannot be emptied", path);
	}
	block_unref(file);
	return NULL;
}

struct opts *image_create_options(const struct args *a, GError **error)
{
	GString *all = g_string_new(NULL);
	struct opts *o;

	for (unsigned i = 0; args_value_n(a, "options", i); i++)
		g_string_append_printf(all, "%s%s", i ? "," : "", args_value_n(a, "options", i));
	o = opts_parse(all->str, NULL, error);
	g_string_free(all, TRUE);
	return o;
}

bool image_wants_json(const struct args *a)
{
	const char *output = args_value(a, "output");

	return output && !strcmp(output, "json");
}

bool image_parse_size(const char *text, uint64_t *bytes, GError **error)
{
	uint64_t n;

	if (!size_parse(text, &n, error))
		return false;
	if (n > INT64_MAX - SECTOR)
		return err_set(error, EFBIG, "%s is too large", text);
	*bytes = (n + SECTOR - 1) / SECTOR * SECTOR;
	return true;
}
