/* See disk_fuzz.h. Nothing in memory ever yields, so that each input is one call. */
#include "disk_fuzz.h"

#include <assert.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "block/mem.h"

enum { SEAL = 1, REPAIR = 2, WRITE = 4, CUT = 8, GROW = 16, READ_ONLY = 32 };
enum { PIECE = 4096, STEP = 40000 };

static struct fuzz_state { /* NOLINT: a fuzzer's entry has no argument for it */
	const struct disk_fuzz *f;
	struct loop *loop;
	struct block_node *pristine;
} fuzz;

struct input {
	const uint8_t *data;
	size_t size;
};

static void quiet(enum log_level level, const char *area, const char *text, void *arg)
{
	(void)level;
	(void)area;
	(void)text;
	(void)arg;
}

static co_fn void make_pristine(void *arg)
{
	struct block_create what = {.length = fuzz.f->length};
	struct block_node *node;
	uint8_t buf[PIECE];
	bool ok;

	(void)arg;
	fuzz.pristine = block_mem_new(0, NULL, 0);
	what.options = opts_parse(fuzz.f->options, NULL, NULL);
	ok = block_create(fuzz.f->format, fuzz.pristine, &what, NULL);
	assert(ok);
	opts_free(what.options);
	block_ref(fuzz.pristine);
	node = block_open_over(fuzz.f->format, fuzz.pristine, NULL);
	assert(node);
	for (uint64_t off = 0; off + PIECE <= fuzz.f->length / 2; off += (uint64_t)4 * PIECE) {
		memset(buf, (int)(off / PIECE), sizeof(buf));
		block_pwrite(node, off, buf, sizeof(buf), 0);
	}
	block_unref(node);
}

void disk_fuzz_init(const struct disk_fuzz *f)
{
	fuzz.f = f;
	log_set_sink(quiet, NULL);
	fuzz.loop = loop_new(LOOP_EPOLL, NULL);
	assert(fuzz.loop);
	co_start(fuzz.loop, make_pristine, NULL);
}

static co_fn void patch(struct block_node *file, const struct input *in)
{
	size_t pos = 1;

	while (in->size - pos >= 4) {
		const uint8_t *p = in->data + pos;
		size_t len = MIN((size_t)p[3], in->size - pos - 4);

		block_pwrite(file, fuzz.f->areas[p[0] % fuzz.f->n_areas] + get_le16(p + 1), p + 4,
			     len, 0);
		pos += 4 + len;
	}
}

static co_fn void use(struct block_node *node, unsigned flags)
{
	uint64_t end = MIN(block_length(node), fuzz.f->length);
	struct block_check r = {0};
	uint8_t buf[3 * PIECE];
	struct block_where w;

	for (uint64_t off = 0; off + sizeof(buf) <= end; off += STEP) {
		block_pread(node, off, buf, sizeof(buf));
		block_find(node, off, sizeof(buf), &w);
		if (flags & WRITE && off / STEP % 3 == 0)
			block_pwrite(node, off, buf, sizeof(buf), 0);
		if (flags & WRITE && off / STEP % 7 == 0)
			block_discard_zero(node, off, sizeof(buf));
	}
	if (flags & GROW)
		block_truncate(node, block_length(node) + fuzz.f->length);
	block_check(node, 0, &r, NULL);
	if (flags & WRITE)
		block_flush(node);
	json_decref(block_info(node));
}

static co_fn void repair(struct block_node *node)
{
	struct block_check first = {0}, second = {0};

	if (!block_check(node, BLOCK_FIX_LEAKS | BLOCK_FIX_ERRORS, &first, NULL))
		return;
	if (block_check(node, 0, &second, NULL))
		assert(second.corruptions == first.corruptions && second.leaks == first.leaks);
}

static co_fn void one_input(void *arg)
{
	const struct input *in = arg;
	struct block_node *file = block_mem_fork(fuzz.pristine), *node;
	unsigned flags = in->data[0];
	GError *error = NULL;

	patch(file, in);
	if (flags & SEAL && fuzz.f->seal)
		fuzz.f->seal(file);
	if (flags & CUT)
		block_truncate(file,
			       block_length(file) - MIN(in->size * 512, block_length(file) / 2));
	if (flags & READ_ONLY)
		file->writable = false;
	node = block_open_over(fuzz.f->format, file, &error);
	assert((node != NULL) == (error == NULL));
	g_clear_error(&error);
	if (node && flags & REPAIR)
		repair(node);
	else if (node)
		use(node, flags);
	block_unref(node);
}

int disk_fuzz_one(const uint8_t *data, size_t size)
{
	struct input in = {data, size};

	if (size > 0)
		co_start(fuzz.loop, one_input, &in);
	return 0;
}
