/* outboard image bench: many requests of a kind, so many at a time, and how long they took. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "base/opts.h"
#include "cli/image.h"

enum { MAX_DEPTH = 4096, MAX_BYTES = 64 << 20 };

struct bench {
	struct block_node *node;
	uint64_t count, started, off, step, pattern, flush_every;
	size_t len;
	uint64_t depth;
	bool write, random, no_drain;
	unsigned write_flags;
	GRand *rand;
	/* while it runs */
	uint64_t completed;
	unsigned running;
	bool flushing;
	struct co_queue flushed, done;
	int failed;
};

/* A step from the last one, and from the beginning again at the end; or anywhere. */
static uint64_t next_offset(struct bench *b)
{
	uint64_t length = block_length(b->node), off = b->off;

	if (b->random) {
		uint64_t places = (length - b->len) / b->step + 1;
		uint64_t r = (uint64_t)g_rand_int(b->rand) << 32 | g_rand_int(b->rand);

		return r % places * b->step;
	}
	b->off += b->step;
	if (b->off > length - b->len)
		b->off = b->off % length > length - b->len ? 0 : b->off % length;
	return off;
}

/* After every so many requests: the next ones wait for it, unless told not to. */
static co_fn int flush_when_due(struct bench *b)
{
	int res;

	if (!b->flush_every || b->completed % b->flush_every)
		return 0;
	b->flushing = !b->no_drain;
	res = block_flush(b->node);
	b->flushing = false;
	co_queue_wake_all(&b->flushed);
	return res;
}

static co_fn void work(void *arg)
{
	struct bench *b = arg;
	uint8_t *buf = g_malloc(b->len);

	memset(buf, (int)b->pattern, b->len);
	while (b->started < b->count && !b->failed) {
		uint64_t off;
		int res;

		while (b->flushing)
			co_queue_wait(&b->flushed);
		if (b->started >= b->count)
			break;
		b->started++;
		off = next_offset(b);
		res = b->write ? block_pwrite(b->node, off, buf, b->len, b->write_flags)
			       : block_pread(b->node, off, buf, b->len);
		b->completed++;
		if (res == 0)
			res = flush_when_due(b);
		if (res < 0)
			b->failed = res;
	}
	g_free(buf);
	if (--b->running == 0)
		co_queue_wake_all(&b->done);
}

static void print_plan(const struct bench *b)
{
	printf("Sending %" PRIu64 " %s requests, %zu bytes each, %" PRIu64
	       " in parallel (starting at offset %" PRIu64 ", step size %" PRIu64 "%s)\n",
	       b->count, b->write ? "write" : "read", b->len, b->depth, b->off, b->step,
	       b->random ? ", at random" : "");
	if (b->flush_every)
		printf("Sending flush every %" PRIu64 " %srequests\n", b->flush_every,
		       b->no_drain ? "" : "drained ");
}

static co_fn bool run(const struct args *a, struct bench *b, GError **error)
{
	uint64_t began, ended;

	if (block_length(b->node) < b->len || b->off > block_length(b->node) - b->len)
		return err_set(error, EINVAL, "%s: is too small for %zu bytes at offset %" PRIu64,
			       block_name(b->node), b->len, b->off);
	if (!args_has(a, "quiet"))
		print_plan(b);
	b->running = (unsigned)b->depth;
	b->rand = g_rand_new_with_seed(1);
	began = loop_now_ns();
	for (uint64_t i = 0; i < b->depth; i++)
		co_start(co_loop(), work, b);
	while (b->running)
		co_queue_wait(&b->done);
	ended = loop_now_ns();
	g_rand_free(b->rand);
	if (b->failed)
		return err_set_errno(error, -b->failed, "%s: a request failed",
				     block_name(b->node));
	if (!args_has(a, "quiet"))
		printf("Run completed in %.3f seconds.\n", (double)(ended - began) / 1e9);
	return true;
}

static co_fn int bench_on_loop(const struct args *a, void *arg)
{
	struct bench *b = arg;
	GError *error = NULL;
	bool ok;

	b->node = image_open(a, args_operand(a, 0), NULL, b->write ? BLOCK_RDWR : 0, &error);
	ok = b->node && run(a, b, &error);
	block_unref(b->node);
	return ok ? cli_finish_output(a, STATUS_DONE) : cli_failed(a, error);
}

/* A number or size from min to max; it stays as it is where the option is not given. */
static bool number(const struct args *a, const char *name, uint64_t min, uint64_t max, uint64_t *n,
		   GError **error)
{
	const char *text = args_value(a, name);
	uint64_t value;

	if (!text)
		return true;
	if (!size_parse(text, &value, NULL) || value < min || value > max)
		return err_set(error, EINVAL, "--%s %s: must be %" PRIu64 " to %" PRIu64, name,
			       text, min, max);
	*n = value;
	return true;
}

static int run_bench(const struct args *a)
{
	const char *cache = args_value(a, "cache"), *loop = args_value(a, "loop");
	struct bench b = {.count = 75000, .depth = 64, .write = args_has(a, "write")};
	uint64_t len = 4096;
	GError *error = NULL;

	if (!number(a, "count", 1, INT64_MAX, &b.count, &error) ||
	    !number(a, "depth", 1, MAX_DEPTH, &b.depth, &error) ||
	    !number(a, "buffer-size", 1, MAX_BYTES, &len, &error) ||
	    !number(a, "offset", 0, INT64_MAX, &b.off, &error) ||
	    !number(a, "pattern", 0, 255, &b.pattern, &error) ||
	    !number(a, "flush-interval", 1, INT64_MAX, &b.flush_every, &error))
		return cli_misused(a, error);
	b.len = b.step = len;
	if (!number(a, "step-size", 1, INT64_MAX, &b.step, &error))
		return cli_misused(a, error);
	b.random = args_has(a, "random");
	b.no_drain = args_has(a, "no-drain");
	if (!b.write && b.flush_every)
		return cli_misused_text(a, "--flush-interval goes with --write");
	if (args_has(a, "native") && loop && !strcmp(loop, "epoll"))
		return cli_misused_text(a, "--native and --loop epoll exclude each other");
	if (cache && !strcmp(cache, "writethrough"))
		b.write_flags = BLOCK_FUA;
	if (cache && !strcmp(cache, "unsafe"))
		b.flush_every = 0;
	return cli_on_loop(a, bench_on_loop, &b);
}

static const struct cli_option bench_options[] = {
	IMAGE_OPTIONS,
	{"count", "NUMBER", 'c'},
	{"depth", "NUMBER", 'd'},
	{"buffer-size", "SIZE", 's'},
	{"offset", "OFFSET", 'o'},
	{"step-size", "SIZE", 'S'},
	{"random"},
	{"write", NULL, 'w'},
	{"pattern", "BYTE"},
	{"flush-interval", "NUMBER"},
	{"no-drain"},
	{"cache", "MODE", 't', 0, "writeback|writethrough|unsafe"},
	{"native", NULL, 'n'},
	{"quiet", NULL, 'q'},
	{NULL},
};

const struct cli_command command_image_bench = {
	.name = "image bench",
	.options = bench_options,
	.operands = "FILE",
	.min_operands = 1,
	.max_operands = 1,
	.run = run_bench,
};
