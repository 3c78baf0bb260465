/*
 * outboard image rebase: another backing file for an image.
 *
 * The safe way reads both, and what would read otherwise is written into the image first; its
 * header changes last. With --unsafe only the header does.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "cli/image.h"
#include "cli/progress.h"

enum { CHUNK = 1 << 20, GRAIN = 4096 };

struct rebase {
	struct block_node *top, *below; /* below: the new one, or NULL */
	uint8_t *old_data, *new_data;
	struct progress progress;
};

/* A name that is not absolute counts from the folder of the image. */
static char *place_of(const char *image, const char *name)
{
	const char *slash = strrchr(image, '/');

	if (*name == '/' || !slash)
		return g_strdup(name);
	return g_strdup_printf("%.*s/%s", (int)(slash - image), image, name);
}

/* What node has there; zeros without a node, and behind its end. */
static co_fn int read_padded(struct block_node *node, uint64_t off, uint8_t *buf, size_t len)
{
	uint64_t length = node ? block_length(node) : 0;
	size_t there = off < length ? MIN(len, length - off) : 0;

	memset(buf + there, 0, len - there);
	return there ? block_pread(node, off, buf, there) : 0;
}

/* As the disk reads now, where it will read otherwise. */
static co_fn int keep_differences(struct rebase *r, uint64_t off, size_t len)
{
	size_t n;
	int res = read_padded(block_backing(r->top), off, r->old_data, len);

	if (res == 0)
		res = read_padded(r->below, off, r->new_data, len);
	for (size_t at = 0; at < len && res == 0; at += n) {
		bool same;

		n = MIN(len - at, (size_t)GRAIN);
		same = !memcmp(r->old_data + at, r->new_data + at, n);
		while (!same && at + n < len &&
		       memcmp(r->old_data + at + n, r->new_data + at + n,
			      MIN(len - at - n, (size_t)GRAIN)) != 0)
			n += MIN(len - at - n, (size_t)GRAIN);
		if (!same)
			res = block_pwrite(r->top, off + at, r->old_data + at, n, 0);
	}
	return res;
}

static co_fn int keep_all(struct rebase *r)
{
	uint64_t length = block_length(r->top), off = 0;
	int res = 0;

	while (off < length && res == 0) {
		struct block_where w;
		uint64_t n;

		res = block_find(r->top, off, MIN(length - off, (uint64_t)CHUNK), &w);
		if (res < 0)
			break;
		n = w.run;
		if (w.depth > 0 || !w.present)
			res = keep_differences(r, off, n);
		progress_add(&r->progress, n);
		off += n;
	}
	return res;
}

static co_fn bool open_below(const struct args *a, struct rebase *r, GError **error)
{
	const char *name = args_value(a, "backing");
	g_autofree char *path = place_of(block_name(r->top), name);
	unsigned flags = args_has(a, "allow-references") ? BLOCK_REFS_ANYWHERE : 0;

	if (!*name)
		return true;
	r->below = block_open_image(path, args_value(a, "backing-format"), flags, error);
	return r->below != NULL;
}

static co_fn bool keep(const struct args *a, struct rebase *r, GError **error)
{
	int res;

	if (!open_below(a, r, error))
		return false;
	r->old_data = g_malloc(CHUNK);
	r->new_data = g_malloc(CHUNK);
	progress_init(&r->progress, "rebasing", block_length(r->top),
		      args_has(a, "quiet") || !args_has(a, "progress"));
	res = keep_all(r);
	if (res == 0)
		res = block_flush(r->top);
	progress_done(&r->progress);
	g_free(r->old_data);
	g_free(r->new_data);
	return res == 0 ||
	       err_set_errno(error, -res, "%s: what its backing file has cannot be kept",
			     block_name(r->top));
}

static co_fn int rebase_on_loop(const struct args *a, void *arg)
{
	bool unsafe = args_has(a, "unsafe");
	const char *name = args_value(a, "backing");
	struct rebase r = {0};
	GError *error = NULL;
	bool ok;

	(void)arg;
	r.top = image_open(a, args_operand(a, 0), NULL,
			   BLOCK_RDWR | (unsafe ? BLOCK_NO_BACKING : 0), &error);
	ok = r.top && (unsafe || keep(a, &r, &error)) &&
	     block_set_backing(r.top, *name ? name : NULL,
			       *name ? args_value(a, "backing-format") : NULL, &error);
	block_unref(r.below);
	block_unref(r.top);
	return ok ? cli_finish_output(a, STATUS_DONE) : cli_failed(a, error);
}

static int run_rebase(const struct args *a)
{
	const char *name = args_value(a, "backing");

	if (!name)
		return cli_misused_text(a, "which --backing FILE is it to have? (\"\": none)");
	if (*name && !args_has(a, "backing-format"))
		return cli_misused_text(
			a, "--backing needs --backing-format too: it is never guessed");
	if (!*name && args_has(a, "backing-format"))
		return cli_misused_text(a,
					"--backing-format goes with a --backing that has a name");
	return cli_on_loop(a, rebase_on_loop, NULL);
}

static const struct cli_option rebase_options[] = {
	IMAGE_OPTIONS,
	{"backing", "FILE", 'b', OPTION_FILE | OPTION_EMPTY},
	{"backing-format", "FORMAT", 'F'},
	{"unsafe", NULL, 'u'},
	{"progress", NULL, 'p'},
	{"quiet", NULL, 'q'},
	{NULL},
};

const struct cli_command command_image_rebase = {
	.name = "image rebase",
	.options = rebase_options,
	.operands = "FILE",
	.min_operands = 1,
	.max_operands = 1,
	.run = run_rebase,
};
