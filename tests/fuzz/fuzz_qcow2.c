/*
 * Fuzzes qcow2: the input is a list of patches to a good image with data, compressed clusters and
 * a snapshot table's worth of room, after which it is opened, looked at, written to and checked.
 *
 * Input: u8 flags; then patches: u8 area, u16 offset, u8 length, bytes. A repaired image must be
 * without errors for the next check.
 */
#include <assert.h>
#include <string.h>

#include "base/bytes.h"
#include "base/log.h"
#include "block/driver.h"
#include "block/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

enum { EXTENDED = 1, REPAIR = 2, WRITE = 4, CUT = 8, SNAPSHOTS = 16, READ_ONLY = 32 };
enum { CLUSTER = 512, LEN = 64 << 10 };

static struct loop *loop;
static struct block_node *pristine;

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
	struct block_create what = {.length = LEN};
	struct block_node *node;
	uint8_t buf[CLUSTER];
	bool ok;

	(void)arg;
	pristine = block_mem_new(0, NULL, 0);
	what.options = opts_parse("cluster_size=512", NULL, NULL);
	ok = block_create("qcow2", pristine, &what, NULL);
	assert(ok);
	opts_free(what.options);
	block_ref(pristine);
	node = block_open_over("qcow2", pristine, NULL);
	assert(node);
	for (unsigned i = 0; i < 60; i++) {
		memset(buf, (int)i, sizeof(buf));
		block_pwrite(node, (uint64_t)i * 2 * CLUSTER, buf, CLUSTER, 0);
	}
	ok = block_snapshot(node, BLOCK_SNAP_CREATE, "one", NULL);
	assert(ok);
	block_unref(node);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	log_set_sink(quiet, NULL);
	loop = loop_new(LOOP_EPOLL, NULL);
	assert(loop);
	co_start(loop, make_pristine, NULL); /* nothing in memory ever yields */
	return 0;
}

static co_fn void patch(struct block_node *file, const struct input *in)
{
	/* header, refcount table, first block, L1, L2, data */
	static const uint64_t areas[] = {0, 512, 1024, 1536, 2048, 4096};
	size_t pos = 1;

	while (in->size - pos >= 4) {
		const uint8_t *p = in->data + pos;
		size_t len = MIN((size_t)p[3], in->size - pos - 4);

		block_pwrite(file, areas[p[0] % G_N_ELEMENTS(areas)] + get_le16(p + 1), p + 4, len,
			     0);
		pos += 4 + len;
	}
}

static co_fn void use(struct block_node *node, bool write)
{
	uint8_t buf[3 * CLUSTER];
	struct block_where w;

	for (uint64_t off = 0; off + sizeof(buf) <= MIN(block_length(node), (uint64_t)LEN);
	     off += 1000) {
		struct block_check r = {0};

		block_pread(node, off, buf, sizeof(buf));
		block_find(node, off, sizeof(buf), &w);
		if (write && off % 3 == 0)
			block_pwrite(node, off, buf, sizeof(buf), 0);
		if (write && off % 7 == 0)
			block_discard_zero(node, off, sizeof(buf));
		if (off == 0)
			block_check(node, 0, &r, NULL);
	}
	if (write)
		block_flush(node);
	json_decref(block_info(node));
}

/* Whatever the tables say, no more than an error comes of it. */
static co_fn void use_whole(struct block_node *node)
{
	struct block_bitmap b;
	uint64_t run;
	bool dirty;

	for (unsigned i = 0; i < 4 && block_get_bitmap(node, i, &b); i++)
		block_find_dirty(node, i, 0, MIN(block_length(node), (uint64_t)LEN), &dirty, &run);
	block_snapshot(node, BLOCK_SNAP_LOAD, "1", NULL);
	block_snapshot(node, BLOCK_SNAP_CREATE, "new", NULL);
	use(node, true);
	block_snapshot(node, BLOCK_SNAP_APPLY, "1", NULL);
	use(node, true);
	block_snapshot(node, BLOCK_SNAP_DELETE, "1", NULL);
	block_snapshot(node, BLOCK_SNAP_DELETE, "new", NULL);
	block_set_backing(node, "x", "raw", NULL);
	block_make_empty(node);
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
	struct block_node *file = block_mem_fork(pristine), *node;
	unsigned flags = in->data[0];
	GError *error = NULL;

	patch(file, in);
	if (flags & CUT)
		block_truncate(file, block_length(file) - MIN(in->size * 50, (size_t)20000));
	if (flags & EXTENDED) {
		uint8_t byte = 16;

		block_pwrite(file, 79, &byte, 1, 0);
	}
	if (flags & READ_ONLY)
		file->writable = false;
	node = block_open_over("qcow2", file, &error);
	assert((node != NULL) == (error == NULL));
	g_clear_error(&error);
	if (node && flags & REPAIR)
		repair(node);
	else if (node && flags & SNAPSHOTS)
		use_whole(node);
	else if (node)
		use(node, flags & WRITE);
	block_unref(node);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};

	if (size > 0)
		co_start(loop, one_input, &in);
	return 0;
}
