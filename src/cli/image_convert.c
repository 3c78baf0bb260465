/*
 * outboard image convert: one image into another, of any format. Several coroutines each take the
 * next piece; what reads as zeros is left out.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/opts.h"
#include "cli/image.h"
#include "cli/progress.h"

/* A piece stays in the processor's cache between its reading and its writing. */
enum { CHUNK = 256 << 10 };
enum { SPARSE = 4096, MAX_SPARSE = 2 << 20, SECTOR = 512, WORKERS = 8, MAX_WORKERS = 16 };

struct convert {
	struct block_node *from, *to;
	uint64_t length, next;
	size_t chunk;
	size_t sparse; /* zeros of this many bytes take no space; 0: all do */
	unsigned target_flags;
	bool compress, fill; /* fill: the target may hold something else than zeros */
	int failed;
	const char *failed_at; /* "reading" */
	uint64_t failed_off;
	unsigned running;
	struct co_queue done;
	struct progress progress;
};

static void fail(struct convert *c, int res, const char *at, uint64_t off)
{
	if (c->failed)
		return;
	c->failed = res;
	c->failed_at = at;
	c->failed_off = off;
}

static bool all_zero(const uint8_t *p, size_t n)
{
	return n == 0 || (*p == 0 && memcmp(p, p + 1, n - 1) == 0);
}

/* Length of what is all zeros, or not, at the beginning. */
static size_t same_kind(const struct convert *c, const uint8_t *p, size_t len, bool *zero)
{
	size_t n = MIN(len, c->sparse);

	*zero = c->sparse && all_zero(p, n);
	if (!c->sparse)
		return len;
	while (n < len && all_zero(p + n, MIN(len - n, c->sparse)) == *zero)
		n += MIN(len - n, c->sparse);
	return n;
}

static co_fn int put_zeros(struct convert *c, uint64_t off, uint64_t len)
{
	return c->fill ? block_discard_zero(c->to, off, len) : 0;
}

static co_fn int put_data(struct convert *c, uint64_t off, const uint8_t *buf, size_t len)
{
	size_t done = 0, n;
	int res = 0;

	if (c->compress)
		return all_zero(buf, len) ? put_zeros(c, off, len)
					  : block_pwrite_compressed(c->to, off, buf, len);
	for (; done < len && res == 0; done += n) {
		bool zero;

		n = same_kind(c, buf + done, len - done, &zero);
		res = zero ? put_zeros(c, off + done, n)
			   : block_pwrite(c->to, off + done, buf + done, n, 0);
	}
	return res;
}

/* One piece, or more where nothing is: *len is how far. */
static co_fn void copy_piece(struct convert *c, uint64_t off, uint64_t len, uint8_t *buf)
{
	uint64_t done = 0;

	while (done < len && !c->failed) {
		struct block_where w;
		int res = block_find(c->from, off + done, len - done, &w);
		uint64_t n;

		if (res < 0) {
			fail(c, res, "looking at", off + done);
			return;
		}
		n = MIN(w.run, len - done);
		if (c->compress) /* a cluster is written as a whole */
			n = MIN(MAX(n, c->chunk), len - done);
		if (w.status == BLOCK_ZERO && n <= w.run && c->sparse) {
			res = put_zeros(c, off + done, n);
		} else {
			n = MIN(n, c->chunk);
			res = block_pread(c->from, off + done, buf, n);
			if (res < 0)
				fail(c, res, "reading", off + done);
			else
				res = put_data(c, off + done, buf, n);
		}
		if (res < 0)
			fail(c, res, "writing", off + done);
		done += n;
		progress_add(&c->progress, n);
	}
}

/* How far nothing but zeros is, in whole pieces. */
static co_fn uint64_t zeros_ahead(struct convert *c, uint64_t off)
{
	uint64_t left = c->length - off;
	struct block_where w;

	if (!c->sparse || block_find(c->from, off, left, &w) < 0 || w.status != BLOCK_ZERO)
		return 0;
	return w.run == left ? left : w.run / c->chunk * c->chunk;
}

static co_fn void work(void *arg)
{
	struct convert *c = arg;
	uint8_t *buf = g_try_malloc(c->chunk);

	if (!buf)
		fail(c, -ENOMEM, "reading", 0);
	while (buf && c->next < c->length && !c->failed) {
		uint64_t off = c->next, zeros = zeros_ahead(c, off);
		uint64_t len = MIN((uint64_t)c->chunk, c->length - off);

		if (c->next != off) /* somebody else was faster */
			continue;
		len = MAX(len, zeros);
		c->next += len;
		copy_piece(c, off, len, buf);
	}
	g_free(buf);
	if (--c->running == 0)
		co_queue_wake_all(&c->done);
}

static co_fn bool copy_all(struct convert *c, const struct args *a, unsigned workers,
			   GError **error)
{
	int res;

	c->length = block_length(c->from);
	c->chunk = c->compress ? block_cluster_size(c->to) : MAX((size_t)CHUNK, c->sparse);
	progress_init(&c->progress, "converting", c->length,
		      args_has(a, "quiet") || !args_has(a, "progress"));
	if (block_is_compressed_only(c->to))
		workers = 1; /* from the beginning to the end */
	c->running = workers;
	for (unsigned i = 0; i < workers; i++)
		co_start(co_loop(), work, c);
	while (c->running)
		co_queue_wait(&c->done);
	progress_done(&c->progress);
	if (c->failed) {
		return err_set_errno(error, -c->failed, "%s %s at offset %" PRIu64, c->failed_at,
				     strcmp(c->failed_at, "writing") ? block_name(c->from)
								     : block_name(c->to),
				     c->failed_off);
	}
	res = block_flush(c->to);
	return res == 0 ||
	       err_set_errno(error, -res, "%s: cannot be made durable", block_name(c->to));
}

static co_fn bool make_target(const struct args *a, struct convert *c, const char *path,
			      const char *format, bool *made, GError **error)
{
	struct block_create what = {.length = block_length(c->from)};
	struct block_node *file = image_make_file(path, made, error);
	bool ok = false;

	if (!file)
		return false;
	what.options = image_create_options(a, error);
	if (what.options)
		ok = block_create(format, file, &what, error) || err_prefix(error, "%s", path);
	opts_free(what.options);
	block_unref(file);
	return ok;
}

static co_fn bool open_target(const struct args *a, struct convert *c, const char *path,
			      GError **error)
{
	const char *format = args_value(a, "target-format");

	c->to = block_open_image(path, format ? format : "raw", c->target_flags, error);
	if (!c->to)
		return false;
	c->compress = c->compress || block_is_compressed_only(c->to);
	if (c->compress && !block_cluster_size(c->to))
		return err_set(error, ENOTSUP, "%s: format \"%s\" has no compressed clusters", path,
			       block_driver_name(c->to));
	if (block_length(c->to) < block_length(c->from)) {
		return err_set(error, ENOSPC,
			       "%s: has %" PRIu64 " bytes, fewer than the %" PRIu64
			       " of the source",
			       path, block_length(c->to), block_length(c->from));
	}
	return true;
}

/* "NAME", or as in qemu-img "snapshot.id=ID" and "snapshot.name=NAME". */
static co_fn bool load_snapshot(const struct args *a, struct block_node *node, GError **error)
{
	const char *name = args_value(a, "snapshot");

	if (!name)
		return true;
	if (g_str_has_prefix(name, "snapshot.id=") || g_str_has_prefix(name, "snapshot.name="))
		name = strchr(name, '=') + 1;
	return block_snapshot(node, BLOCK_SNAP_LOAD, name, error);
}

static co_fn int convert_on_loop(const struct args *a, void *arg)
{
	const char *path = args_operand(a, 1), *format = args_value(a, "target-format");
	struct convert c = *(const struct convert *)arg;
	bool ok, made = false, create = !args_has(a, "no-create");
	unsigned workers = c.running;
	GError *error = NULL;

	c.from = image_open(a, args_operand(a, 0), NULL, BLOCK_UNSHARE_WRITE, &error);
	ok = c.from && load_snapshot(a, c.from, &error) &&
	     (!create || make_target(a, &c, path, format ? format : "raw", &made, &error)) &&
	     open_target(a, &c, path, &error) && copy_all(&c, a, workers, &error);
	block_unref(c.from);
	block_unref(c.to);
	if (!ok && made)
		unlink(path);
	return ok ? cli_finish_output(a, STATUS_DONE) : cli_failed(a, error);
}

/* Zeros of how many bytes are left out. */
static bool parse_sparse(const char *text, size_t *sparse, GError **error)
{
	uint64_t n;

	if (!size_parse(text, &n, error))
		return false;
	if (n % SECTOR || n > MAX_SPARSE)
		return err_set(error, EINVAL, "must be 0 or a multiple of %d up to %d", SECTOR,
			       MAX_SPARSE);
	*sparse = n;
	return true;
}

static int run_convert(const struct args *a)
{
	struct convert c = {
		.compress = args_has(a, "compress"),
		.fill = args_has(a, "no-create") && !args_has(a, "target-is-zero"),
		.sparse = SPARSE,
		.target_flags = BLOCK_RDWR | BLOCK_UNSHARE_WRITE | BLOCK_NO_FLUSH,
	};
	const char *text = args_value(a, "coroutines"), *sparse = args_value(a, "sparse-size"),
		   *cache = args_value(a, "cache");
	uint64_t workers = WORKERS;
	GError *error = NULL;

	if (text && (!g_ascii_string_to_unsigned(text, 10, 1, MAX_WORKERS, &workers, NULL)))
		return cli_misused_text(a, "--coroutines %s: must be 1 to %d", text, MAX_WORKERS);
	if (args_has(a, "no-create") && args_has(a, "options"))
		return cli_misused_text(a, "--no-create and --options exclude each other");
	if (args_has(a, "target-is-zero") && !args_has(a, "no-create"))
		return cli_misused_text(a, "--target-is-zero goes with --no-create");
	if (sparse && !parse_sparse(sparse, &c.sparse, &error)) {
		err_prefix(&error, "--sparse-size %s", sparse);
		return cli_misused(a, error);
	}
	if (cache && !block_parse_cache(cache, &c.target_flags, &error))
		return cli_misused(a, error);
	c.running = (unsigned)workers;
	return cli_on_loop(a, convert_on_loop, &c);
}

static const struct cli_option convert_options[] = {
	IMAGE_OPTIONS,
	{"snapshot", "NAME", 'l'},
	{"target-format", "FORMAT", 'O'},
	{"options", "OPTIONS", 'o', OPTION_MANY},
	{"compress", NULL, 'c'},
	{"no-create", NULL, 'n'},
	{"target-is-zero"},
	{"sparse-size", "SIZE", 'S'},
	{"cache", "MODE", 't'},
	{"coroutines", "NUMBER", 'm'},
	{"out-of-order", NULL, 'W'},
	{"progress", NULL, 'p'},
	{"quiet", NULL, 'q'},
	{NULL},
};

const struct cli_command command_image_convert = {
	.name = "image convert",
	.options = convert_options,
	.operands = "FILE TARGET",
	.min_operands = 2,
	.max_operands = 2,
	.run = run_convert,
};
