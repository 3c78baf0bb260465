/* outboard image create: a new, empty image. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/opts.h"
#include "cli/image.h"

/* The size of the backing file, when none is given. */
static co_fn bool size_of_backing(const struct args *a, const char *path, const char *backing,
				  const char *format, uint64_t *length, GError **error)
{
	const char *slash = strrchr(path, '/');
	g_autofree char *dir = slash ? g_strndup(path, (size_t)(slash - path) + 1) : g_strdup("");
	g_autofree char *full = g_strconcat(*backing == '/' ? "" : dir, backing, NULL);
	unsigned flags = BLOCK_NO_LOCK;
	struct block_node *node;

	if (args_has(a, "allow-references"))
		flags |= BLOCK_REFS_ANYWHERE;
	node = block_open_image(full, format, flags, error);
	if (!node)
		return false;
	*length = block_length(node);
	block_unref(node);
	return true;
}

static co_fn bool create(const struct args *a, const char *path, const char *format,
			 struct block_create *what, GError **error)
{
	struct block_node *file;
	bool made = false, ok;

	file = image_make_file(path, &made, error);
	if (!file)
		return false;
	ok = block_create(format, file, what, error);
	if (ok && block_flush(file) < 0)
		ok = err_set(error, EIO, "it cannot be made durable");
	block_unref(file);
	if (!ok && made)
		unlink(path);
	return ok || (args_has(a, "help") ? false : err_prefix(error, "%s", path));
}

static co_fn int create_on_loop(const struct args *a, void *arg)
{
	const char *path = args_operand(a, 0), *format = args_value(a, "format");
	struct block_create what = {.backing_name = args_value(a, "backing"),
				    .backing_format = args_value(a, "backing-format")};
	GError *error = NULL;
	g_autofree char *size = NULL;
	bool ok;

	(void)arg;
	if (!format)
		format = "raw";
	what.options = image_create_options(a, &error);
	if (!what.options)
		return cli_misused(a, error);
	ok = args_operand(a, 1) ? image_parse_size(args_operand(a, 1), &what.length, &error)
				: size_of_backing(a, path, what.backing_name, what.backing_format,
						  &what.length, &error);
	ok = ok && create(a, path, format, &what, &error);
	opts_free(what.options);
	if (!ok)
		return cli_failed(a, error);
	size = size_text(what.length);
	if (!args_has(a, "quiet"))
		printf("%s: a new %s image of %s (%" PRIu64 " bytes)\n", path, format, size,
		       what.length);
	return cli_finish_output(a, STATUS_DONE);
}

static int run_create(const struct args *a)
{
	bool backing = args_has(a, "backing");

	if (backing && !args_has(a, "backing-format"))
		return cli_misused_text(
			a, "--backing needs --backing-format too: it is never guessed");
	if (!backing && args_has(a, "backing-format"))
		return cli_misused_text(a, "--backing-format goes with --backing");
	if (!args_operand(a, 1) && !backing)
		return cli_misused_text(a, "which SIZE is it to have?");
	return cli_on_loop(a, create_on_loop, NULL);
}

static const struct cli_option create_options[] = {
	{"format", "FORMAT", 'f'},
	{"options", "OPTIONS", 'o', OPTION_MANY},
	{"backing", "FILE", 'b', OPTION_FILE},
	{"backing-format", "FORMAT", 'F'},
	{"allow-references"},
	{"quiet", NULL, 'q'},
	{NULL},
};

const struct cli_command command_image_create = {
	.name = "image create",
	.options = create_options,
	.operands = "FILE SIZE",
	.min_operands = 1,
	.max_operands = 2,
	.run = run_create,
};
