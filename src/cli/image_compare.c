/* outboard image compare: whether two images hold the same. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "cli/image.h"

enum { CHUNK = 1 << 20 };

struct compare {
	struct block_node *a, *b;
	uint8_t *buf_a, *buf_b;
	uint64_t differs_at; /* UINT64_MAX: nowhere */
};

static uint64_t first_difference(const uint8_t *x, const uint8_t *y, size_t n)
{
	size_t i = 0;

	while (i < n && x[i] == y[i])
		i++;
	return i;
}

/* What node begins with at off; behind its end are zeros. */
static co_fn int look(struct block_node *node, uint64_t off, uint64_t len, bool *zero,
		      uint64_t *run)
{
	unsigned status = BLOCK_ZERO;
	int res = 0;

	*run = len;
	if (off < block_length(node))
		res = block_get_status(node, off, MIN(len, block_length(node) - off), &status, run);
	*zero = status == BLOCK_ZERO;
	return res;
}

static co_fn int fetch(struct block_node *node, uint64_t off, uint8_t *buf, size_t len, bool zero)
{
	memset(buf, 0, zero ? len : 0);
	return zero ? 0 : block_pread(node, off, buf, len);
}

static co_fn int compare_all(struct compare *c)
{
	uint64_t len = MAX(block_length(c->a), block_length(c->b)), off = 0, n = 0, run = 0;
	bool zero_a = false, zero_b = false;
	int res;

	c->differs_at = UINT64_MAX;
	for (; off < len; off += n) {
		res = look(c->a, off, len - off, &zero_a, &n);
		if (res == 0)
			res = look(c->b, off, n, &zero_b, &run);
		if (res < 0)
			return res;
		n = run;
		if (zero_a && zero_b)
			continue;
		n = MIN(n, (uint64_t)CHUNK);
		res = fetch(c->a, off, c->buf_a, n, zero_a);
		if (res == 0)
			res = fetch(c->b, off, c->buf_b, n, zero_b);
		if (res < 0)
			return res;
		if (memcmp(c->buf_a, c->buf_b, n) != 0) {
			c->differs_at = off + first_difference(c->buf_a, c->buf_b, n);
			return 0;
		}
	}
	return 0;
}

static co_fn int compare(const struct args *a, struct compare *c)
{
	bool strict = args_has(a, "strict"), quiet = args_has(a, "quiet");
	GError *error = NULL;
	int res = 0;

	if (strict && block_length(c->a) != block_length(c->b)) {
		if (!quiet)
			printf("Strict mode: Image size mismatch!\n");
		return STATUS_FAILED;
	}
	c->buf_a = g_malloc(CHUNK);
	c->buf_b = g_malloc(CHUNK);
	res = compare_all(c);
	g_free(c->buf_a);
	g_free(c->buf_b);
	if (res < 0) {
		err_set_errno(&error, -res, "the images cannot be read");
		return cli_failed(a, error);
	}
	if (c->differs_at != UINT64_MAX) {
		if (!quiet)
			printf("Content mismatch at offset %" PRIu64 "!\n", c->differs_at);
		return STATUS_FAILED;
	}
	if (!quiet)
		printf("Images are identical.\n");
	return STATUS_DONE;
}

static co_fn int compare_on_loop(const struct args *a, void *arg)
{
	const char *other = args_value(a, "second-format");
	struct compare c = {0};
	GError *error = NULL;
	int status;

	(void)arg;
	c.a = image_open(a, args_operand(a, 0), NULL, BLOCK_UNSHARE_WRITE, &error);
	if (c.a)
		c.b = image_open(a, args_operand(a, 1), other, BLOCK_UNSHARE_WRITE, &error);
	status = c.b ? cli_finish_output(a, compare(a, &c)) : cli_failed(a, error);
	block_unref(c.a);
	block_unref(c.b);
	return status;
}

static int run_compare(const struct args *a)
{
	return cli_on_loop(a, compare_on_loop, NULL);
}

static const struct cli_option compare_options[] = {
	IMAGE_OPTIONS,
	{"second-format", "FORMAT", 'F'},
	{"strict", NULL, 's'},
	{"quiet", NULL, 'q'},
	{NULL},
};

const struct cli_command command_image_compare = {
	.name = "image compare",
	.options = compare_options,
	.operands = "FILE FILE",
	.min_operands = 2,
	.max_operands = 2,
	.run = run_compare,
};
