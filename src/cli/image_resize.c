/* outboard image resize: another size for the disk. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/err.h"
#include "base/opts.h"
#include "cli/image.h"

/* "+1G" and "-1G" are changes of what it has. */
static bool new_size(const char *text, uint64_t old, uint64_t *size, GError **error)
{
	uint64_t n = 0;

	if (*text != '+' && *text != '-')
		return image_parse_size(text, size, error);
	if (!image_parse_size(text + 1, &n, error))
		return false;
	if (*text == '-' && n >= old)
		return err_set(error, EINVAL, "%s: it has only %" PRIu64 " bytes", text, old);
	*size = *text == '-' ? old - n : old + n;
	return true;
}

static co_fn bool resize(const struct args *a, struct block_node *node, GError **error)
{
	uint64_t old = block_length(node), size = 0;
	int res;

	if (!new_size(args_operand(a, 1), old, &size, error))
		return false;
	if (size < old && !args_has(a, "shrink")) {
		return err_set(error, EINVAL,
			       "%s: would lose what lies behind %" PRIu64
			       " bytes; say --shrink if that is meant",
			       block_name(node), size);
	}
	res = block_truncate(node, size);
	if (res == 0)
		res = block_flush(node);
	return res == 0 ||
	       err_set_errno(error, -res,
			     "%s: its size cannot be changed from %" PRIu64 " to %" PRIu64 " bytes",
			     block_name(node), old, size);
}

static co_fn int resize_on_loop(const struct args *a, void *arg)
{
	GError *error = NULL;
	struct block_node *node =
		image_open(a, args_operand(a, 0), NULL, BLOCK_RDWR | BLOCK_UNSHARE_WRITE, &error);
	bool ok;

	(void)arg;
	if (!node)
		return cli_failed(a, error);
	ok = resize(a, node, &error);
	block_unref(node);
	if (!ok)
		return cli_failed(a, error);
	if (!args_has(a, "quiet"))
		printf("Image resized.\n");
	return cli_finish_output(a, STATUS_DONE);
}

static int run_resize(const struct args *a)
{
	return cli_on_loop(a, resize_on_loop, NULL);
}

static const struct cli_option resize_options[] = {
	IMAGE_OPTIONS,
	{"shrink"},
	{"quiet", NULL, 'q'},
	{NULL},
};

const struct cli_command command_image_resize = {
	.name = "image resize",
	.options = resize_options,
	.operands = "FILE SIZE",
	.min_operands = 2,
	.max_operands = 2,
	.run = run_resize,
};
