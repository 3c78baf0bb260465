/*
 * Fuzzes vmdk: a list of patches to a good image with data, or to a stream of compressed grains,
 * after which it is opened, looked at, written to, checked and repaired; or a descriptor as it is.
 *
 * Input: u8 flags; then patches: u8 area, u16 offset, u8 length, bytes; or the text. A repaired
 * image must be without errors for the next check, but for grains that overlap.
 */
#include <assert.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "block/driver.h"
#include "block/mem.h"
#include "block/vmdk/format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

enum { STREAM = 1, REPAIR = 2, WRITE = 4, CUT = 8, TEXT = 16 };
enum { GRAIN = 64 << 10, GRAINS = 16, LEN = GRAIN * GRAINS, SECTOR = 512 };

static struct loop *loop;
static struct block_node *pristine, *stream;

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

static co_fn struct block_node *make(const char *options)
{
	struct block_create what = {.length = LEN, .options = opts_parse(options, NULL, NULL)};
	struct block_node *file = block_mem_new(0, NULL, 0), *node;
	uint8_t *buf = g_malloc(GRAIN);
	bool ok;

	ok = block_create("vmdk", file, &what, NULL);
	assert(ok);
	opts_free(what.options);
	block_ref(file);
	node = block_open_over("vmdk", file, NULL);
	assert(node);
	for (unsigned i = 0; i < GRAINS; i += 2) {
		memset(buf, (int)i, GRAIN);
		block_pwrite(node, (uint64_t)i * GRAIN, buf, GRAIN, 0);
	}
	block_unref(node);
	g_free(buf);
	return file;
}

static co_fn void make_pristine(void *arg)
{
	(void)arg;
	pristine = make("zeroed_grain=on");
	stream = make("subformat=streamOptimized");
	loop_stop(loop);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	log_set_sink(quiet, NULL);
	loop = loop_new(LOOP_EPOLL, NULL);
	assert(loop);
	co_start(loop, make_pristine, NULL);
	loop_run(loop); /* what is packed and unpacked is so in a worker thread */
	return 0;
}

static co_fn void patch(struct block_node *file, const struct input *in)
{
	/* header, descriptor, copies of directory and table, those themselves, data; from the end
	 */
	static const uint64_t areas[] = {0, 1, 21, 22, 26, 27, 128};
	size_t pos = 1;

	while (in->size - pos >= 4) {
		const uint8_t *p = in->data + pos;
		size_t len = MIN((size_t)p[3], in->size - pos - 4);
		unsigned area = p[0] % (G_N_ELEMENTS(areas) + 1);
		uint64_t off = get_le16(p + 1);

		if (area < G_N_ELEMENTS(areas))
			off += areas[area] * SECTOR;
		else
			off = block_length(file) - MIN(off, block_length(file));
		block_pwrite(file, off, p + 4, len, 0);
		pos += 4 + len;
	}
}

static co_fn void use(struct block_node *node, bool write)
{
	uint8_t buf[3 * SECTOR];
	struct block_where w;

	for (uint64_t off = 0; off + sizeof(buf) <= MIN(block_length(node), (uint64_t)LEN);
	     off += 30000) {
		struct block_check r = {0};

		block_pread(node, off, buf, sizeof(buf));
		block_find(node, off, sizeof(buf), &w);
		if (write && off % 4 == 0)
			block_pwrite(node, off, buf, sizeof(buf), 0);
		if (write && off % 7 == 0)
			block_discard_zero(node, off, MIN(2 * (uint64_t)GRAIN, LEN - off));
		if (off == 0)
			block_check(node, 0, &r, NULL);
	}
	if (write)
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

/* Ends where the input does, so that a look behind it is seen. */
static void parse_text(const struct input *in)
{
	char *exact = g_memdup2(in->data + 1, in->size - 1);
	struct vmdk_text t;
	GError *error = NULL;
	bool ok = vmdk_parse_text(exact, in->size - 1, 0, &t, &error);

	assert(ok == (error == NULL));
	if (ok)
		assert(t.type && t.lines->len && t.cid_at + t.cid_len <= in->size - 1);
	g_clear_error(&error);
	vmdk_text_fini(&t);
	g_free(exact);
}

static co_fn void one_image(const struct input *in)
{
	unsigned flags = in->data[0];
	struct block_node *file = block_mem_fork(flags & STREAM ? stream : pristine), *node;
	GError *error = NULL;

	patch(file, in);
	if (flags & CUT)
		block_truncate(file, block_length(file) - MIN(in->size * 50, (size_t)20000));
	if (flags & STREAM)
		file->writable = false; /* such can only be read */
	node = block_open_over("vmdk", file, &error);
	assert((node != NULL) == (error == NULL));
	g_clear_error(&error);
	if (node && flags & REPAIR && node->writable)
		repair(node);
	else if (node)
		use(node, flags & WRITE);
	block_unref(node);
}

static co_fn void one_input(void *arg)
{
	const struct input *in = arg;

	if (in->data[0] & TEXT)
		parse_text(in);
	else
		one_image(in);
	loop_stop(loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};

	if (size == 0)
		return 0;
	co_start(loop, one_input, &in);
	loop_run(loop);
	return 0;
}
