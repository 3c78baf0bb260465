/*
 * outboard image commit: what an image has goes into its backing file, or one further down.
 *
 * The chain is looked at first, to find the base. Then the images above it are opened without it,
 * so that what they do not have is seen as such, and the base on its own, to be written to.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/opts.h"
#include "cli/image.h"
#include "cli/progress.h"

enum { CHUNK = 2 << 20 };

struct chain {
	char *top_format, *base_name, *base_format;
	unsigned depth; /* of the base */
};

struct commit {
	struct block_node *above, *base;
	uint8_t *buf;
	struct progress progress;
};

static bool is_same_file(const char *a, const char *b)
{
	struct stat x, y;

	return !strcmp(a, b) ||
	       (!stat(a, &x) && !stat(b, &y) && x.st_dev == y.st_dev && x.st_ino == y.st_ino);
}

/* The node to commit into: the one called name, or (NULL) the first below top. */
static struct block_node *find_base(struct block_node *top, const char *name, unsigned *depth)
{
	struct block_node *above = top, *node = block_backing(top);

	for (*depth = 1; node; above = node, node = block_backing(node), ++*depth) {
		if (!name || is_same_file(block_name(node), name) ||
		    (block_backing_name(above) && !strcmp(block_backing_name(above), name)))
			return node;
	}
	return NULL;
}

static co_fn bool look_at_chain(const struct args *a, struct chain *chain, GError **error)
{
	const char *name = args_value(a, "base");
	struct block_node *top = image_open(a, args_operand(a, 0), NULL, 0, error), *base;

	if (!top)
		return false;
	base = find_base(top, name, &chain->depth);
	if (base) {
		chain->top_format = g_strdup(block_driver_name(top));
		chain->base_name = g_strdup(block_name(base));
		chain->base_format = g_strdup(block_driver_name(base));
	} else if (name) {
		err_set(error, EINVAL, "%s: has no \"%s\" below it", block_name(top), name);
	} else {
		err_set(error, EINVAL, "%s: has no backing file", block_name(top));
	}
	block_unref(top);
	return base != NULL;
}

/* The base by itself, or with top the images above it. */
static co_fn struct block_node *open_part(const struct args *a, const struct chain *chain, bool top,
					  GError **error)
{
	unsigned flags = BLOCK_RDWR | (args_has(a, "allow-references") ? BLOCK_REFS_ANYWHERE : 0);
	struct block_node *node = NULL;
	struct opts *o;

	if (!top) {
		o = opts_new();
		opts_set(o, "filename", chain->base_name);
	} else if (args_has(a, "image-opts")) {
		o = opts_parse(args_operand(a, 0), NULL, error);
	} else {
		o = block_parse_name(args_operand(a, 0), error);
	}
	if (!o)
		return NULL;
	if (!opts_get(o, "driver"))
		opts_set(o, "driver", top ? chain->top_format : chain->base_format);
	if (top) {
		GString *key = g_string_new(NULL);

		for (unsigned i = 0; i < chain->depth; i++)
			g_string_append(key, i ? ".backing" : "backing");
		opts_set(o, key->str, "");
		g_string_free(key, TRUE);
	}
	node = block_open(o, flags, error);
	opts_free(o);
	return node;
}

static co_fn int copy_run(struct commit *c, uint64_t off, const struct block_where *w)
{
	int res;

	if (!w->present)
		return 0;
	if (w->status == BLOCK_ZERO)
		return block_discard_zero(c->base, off, w->run);
	res = block_pread(c->above, off, c->buf, w->run);
	return res < 0 ? res : block_pwrite(c->base, off, c->buf, w->run, 0);
}

static co_fn int copy_all(struct commit *c)
{
	uint64_t length = block_length(c->above), off = 0;
	int res = 0;

	if (length > block_length(c->base))
		res = block_truncate(c->base, length);
	while (off < length && res == 0) {
		struct block_where w;

		res = block_find(c->above, off, MIN(length - off, (uint64_t)CHUNK), &w);
		if (res == 0)
			res = copy_run(c, off, &w);
		if (res == 0) {
			progress_add(&c->progress, w.run);
			off += w.run;
		}
	}
	return res < 0 ? res : block_flush(c->base);
}

static co_fn bool commit(const struct args *a, struct commit *c, GError **error)
{
	int res;

	c->buf = g_malloc(CHUNK);
	progress_init(&c->progress, "committing", block_length(c->above),
		      args_has(a, "quiet") || !args_has(a, "progress"));
	res = copy_all(c);
	progress_done(&c->progress);
	g_free(c->buf);
	if (res < 0)
		return err_set_errno(error, -res, "%s: cannot be committed into %s",
				     block_name(c->above), block_name(c->base));
	/* With --base those in between would show through. */
	if (args_has(a, "keep") || args_has(a, "base"))
		return true;
	res = block_make_empty(c->above);
	return res == 0 || err_set_errno(error, -res, "%s: was committed, and cannot be emptied",
					 block_name(c->above));
}

static co_fn int commit_on_loop(const struct args *a, void *arg)
{
	struct chain chain = {0};
	struct commit c = {0};
	GError *error = NULL;
	bool ok = false;

	(void)arg;
	if (look_at_chain(a, &chain, &error))
		c.above = open_part(a, &chain, true, &error);
	if (c.above)
		c.base = open_part(a, &chain, false, &error);
	if (c.base)
		ok = commit(a, &c, &error);
	block_unref(c.base);
	block_unref(c.above);
	g_free(chain.top_format);
	g_free(chain.base_name);
	g_free(chain.base_format);
	if (!ok)
		return cli_failed(a, error);
	if (!args_has(a, "quiet"))
		printf("Image committed.\n");
	return cli_finish_output(a, STATUS_DONE);
}

static int run_commit(const struct args *a)
{
	return cli_on_loop(a, commit_on_loop, NULL);
}

static const struct cli_option commit_options[] = {
	IMAGE_OPTIONS,        {"base", "FILE", 'b', OPTION_FILE},
	{"keep", NULL, 'd'},  {"progress", NULL, 'p'},
	{"quiet", NULL, 'q'}, {NULL},
};

const struct cli_command command_image_commit = {
	.name = "image commit",
	.options = commit_options,
	.operands = "FILE",
	.min_operands = 1,
	.max_operands = 1,
	.run = run_commit,
};
