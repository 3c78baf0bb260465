/* Nodes that take only aligned requests: what reaches the driver, what the caller sees, and that
 * neighbours in one block do not lose each other's writes. */
#include "block_test.h"

#include <fcntl.h>
#include <stdlib.h>

#include "block/mem.h"

enum { ALIGN = 4096, MEMORY = 512, LENGTH = 10 * ALIGN + 1000 };

/* A driver that insists, and lets others run between any two of its requests. */
struct strict {
	unsigned reads, writes, flushes, discards;
};

static void check_request(const struct block_node *node, uint64_t off, const struct iovs *iov)
{
	assert_int_equal(off % node->request_align, 0);
	assert_true(off < node->length);
	assert_true(off + iov->len <= (node->length + ALIGN - 1) / ALIGN * ALIGN);
	for (unsigned i = 0; i < iov->n; i++) {
		assert_int_equal((uintptr_t)iov->v[i].iov_base % node->memory_align, 0);
		assert_int_equal(iov->v[i].iov_len % node->request_align, 0);
	}
}

static co_fn int strict_preadv(struct block_node *node, uint64_t off, const struct iovs *iov)
{
	struct strict *s = node->state;

	check_request(node, off, iov);
	s->reads++;
	co_reschedule();
	return block_preadv_padded(node->file, off, iov);
}

static co_fn int strict_pwritev(struct block_node *node, uint64_t off, const struct iovs *iov,
				unsigned flags)
{
	struct strict *s = node->state;
	size_t len = MIN(iov->len, node->length - off);
	uint8_t *copy = g_malloc(len);
	int res;

	check_request(node, off, iov);
	s->writes++;
	iovs_get(iov, 0, copy, len);
	co_reschedule();
	co_reschedule();
	res = block_pwrite(node->file, off, copy, len, flags);
	g_free(copy);
	return res;
}

static co_fn int strict_flush(struct block_node *node)
{
	struct strict *s = node->state;

	s->flushes++;
	return block_flush(node->file);
}

static co_fn int strict_discard_zero(struct block_node *node, uint64_t off, uint64_t len)
{
	struct strict *s = node->state;

	assert_int_equal(off % node->discard_align, 0);
	assert_int_equal(len % node->discard_align, 0);
	s->discards++;
	co_reschedule();
	return block_discard_zero(node->file, off, len);
}

static const struct block_driver strict_driver = {
	.name = "strict",
	.kind = BLOCK_PROTOCOL,
	.state_size = sizeof(struct strict),
	.preadv = strict_preadv,
	.pwritev = strict_pwritev,
	.flush = strict_flush,
	.discard_zero = strict_discard_zero,
};

static struct block_node *strict_new(unsigned flags)
{
	struct block_node *node = block_new_over(&strict_driver, block_mem_new(LENGTH, NULL, 0));

	node->request_align = ALIGN;
	node->memory_align = MEMORY;
	node->discard_align = ALIGN;
	node->flags |= flags;
	return node;
}

/* A few pieces of memory, aligned or not, that make len bytes together. */
struct pieces {
	uint8_t *memory;
	struct iovec v[4];
	struct iovs iov;
};

static void pieces_init(struct pieces *p, size_t len, GRand *rand)
{
	size_t at = g_rand_boolean(rand) ? 0 : (size_t)g_rand_int_range(rand, 1, 100);
	bool aligned = g_rand_boolean(rand) && len % ALIGN == 0;
	size_t left = len;

	assert_int_equal(posix_memalign((void **)&p->memory, ALIGN, len + ALIGN), 0);
	p->iov = (struct iovs){.v = p->v, .len = len};
	if (aligned)
		at = 0;
	while (left > 0) {
		size_t n = p->iov.n == 3 || aligned
				   ? left
				   : (size_t)g_rand_int_range(rand, 1, (gint32)left + 1);

		p->v[p->iov.n++] = (struct iovec){p->memory + at, n};
		at += n;
		left -= n;
	}
}

static void random_request(struct block_node *node, uint8_t *model, GRand *rand)
{
	size_t off = (size_t)g_rand_int_range(rand, 0, LENGTH), len;
	unsigned kind = (unsigned)g_rand_int_range(rand, 0, 6);
	uint8_t *bytes;
	struct pieces p;

	if (g_rand_boolean(rand))
		off -= off % ALIGN;
	len = (size_t)g_rand_int_range(rand, 1, (gint32)(LENGTH - off) + 1);
	if (g_rand_boolean(rand) && len > ALIGN)
		len -= len % ALIGN;
	pieces_init(&p, len, rand);
	bytes = g_malloc(len);
	if (kind == 0) {
		assert_int_equal(block_discard_zero(node, off, len), 0);
		memset(model + off, 0, len);
	} else if (kind < 3) {
		for (size_t i = 0; i < len; i++)
			bytes[i] = (uint8_t)g_rand_int(rand);
		iovs_put(&p.iov, 0, bytes, len);
		assert_int_equal(block_pwritev(node, off, &p.iov, 0), 0);
		memcpy(model + off, bytes, len);
	} else {
		assert_int_equal(block_preadv(node, off, &p.iov), 0);
		iovs_get(&p.iov, 0, bytes, len);
		assert_memory_equal(bytes, model + off, len);
	}
	g_free(bytes);
	free(p.memory);
}

static void random_requests(struct block_node *node, unsigned n)
{
	uint8_t *model = g_malloc0(LENGTH), *all = g_malloc(LENGTH);
	GRand *rand = g_rand_new_with_seed(7);

	for (unsigned i = 0; i < n; i++)
		random_request(node, model, rand);
	assert_int_equal(block_pread(node, 0, all, LENGTH), 0);
	assert_memory_equal(all, model, LENGTH);
	g_rand_free(rand);
	g_free(model);
	g_free(all);
}

static void test_any_request(void)
{
	struct block_node *node = strict_new(0);

	random_requests(node, 2000);
	assert_int_equal(block_length(node), LENGTH);
	assert_int_equal(block_length(node->file), LENGTH);
	assert_int_equal(block_request_align(node->file), 1);
	block_unref(node);
}

static void test_aligned_is_not_copied(void)
{
	struct block_node *node = strict_new(0);
	struct strict *s = node->state;
	uint8_t *buf = NULL;

	assert_int_equal(posix_memalign((void **)&buf, ALIGN, 4 * ALIGN), 0);
	memset(buf, 1, 4 * ALIGN);
	assert_int_equal(block_pwrite(node, ALIGN, buf, 4 * ALIGN, 0), 0);
	assert_int_equal(s->writes, 1);
	assert_int_equal(s->reads, 0);
	assert_int_equal(block_pwrite(node, ALIGN + 512, buf, 512, 0), 0);
	assert_int_equal(s->writes, 2);
	assert_int_equal(s->reads, 1);
	free(buf);
	block_unref(node);
}

struct neighbour {
	struct block_node *node;
	uint64_t off;
	uint8_t byte;
	bool discard;
	unsigned *left;
	struct co_queue *done;
};

static co_fn void write_neighbour(void *arg)
{
	struct neighbour *n = arg;
	uint8_t buf[512];

	memset(buf, n->byte, sizeof(buf));
	if (n->discard)
		assert_int_equal(block_discard_zero(n->node, n->off, ALIGN), 0);
	else
		assert_int_equal(block_pwrite(n->node, n->off, buf, sizeof(buf), 0), 0);
	if (--*n->left == 0)
		co_queue_wake_all(n->done);
}

/* All at once: the sectors of one block, among them a write of the whole next one. */
static void test_neighbours_in_one_block(void)
{
	enum { N = ALIGN / 512 };
	struct block_node *node = strict_new(0);
	struct neighbour n[N + 1];
	struct co_queue done = {0};
	unsigned left = N + 1;
	uint8_t all[2 * ALIGN];

	memset(all, 0xee, sizeof(all));
	assert_int_equal(block_pwrite(node, 0, all, sizeof(all), 0), 0);
	for (unsigned i = 0; i <= N; i++) {
		n[i] = (struct neighbour){node, i * 512, (uint8_t)(i + 1), i == N, &left, &done};
		co_start(co_loop(), write_neighbour, &n[i]);
	}
	while (left)
		co_queue_wait(&done);
	assert_int_equal(block_pread(node, 0, all, sizeof(all)), 0);
	for (unsigned i = 0; i < ALIGN; i++)
		assert_int_equal(all[i], i / 512 + 1);
	for (unsigned i = ALIGN; i < 2 * ALIGN; i++)
		assert_int_equal(all[i], 0);
	block_unref(node);
}

static void test_cache_modes(void)
{
	struct block_node *node = strict_new(BLOCK_NO_FLUSH);
	struct strict *s = node->state;

	assert_int_equal(block_pwrite(node, 0, "x", 1, BLOCK_FUA), 0);
	assert_int_equal(block_flush(node), 0);
	assert_int_equal(s->flushes, 0);
	block_unref(node);
	node = strict_new(BLOCK_WRITETHROUGH);
	s = node->state;
	assert_true(block_is_writethrough(node));
	assert_int_equal(block_pwrite(node, 0, "x", 1, 0), 0);
	assert_int_equal(block_discard_zero(node, 0, ALIGN), 0);
	assert_int_equal(s->flushes, 1); /* the write went with FUA */
	block_unref(node);
}

static void test_failures_reach_the_caller(void)
{
	struct block_node *node = must_open("driver=fault,op=read,error=eio,file.driver=mem,"
					    "file.size=64K",
					    BLOCK_RDWR);
	struct block_stats stats;

	node->request_align = ALIGN;
	assert_int_equal(block_pwrite(node, 100, "x", 1, 0), -EIO);
	assert_int_equal(block_pread(node, 100, &(uint8_t){0}, 1), -EIO);
	block_get_stats(node, &stats);
	assert_int_equal(stats.errors, 2);
	assert_int_equal(stats.failed_writes, 1);
	assert_int_equal(stats.failed_reads, 1);
	assert_int_equal(stats.in_flight, 0);
	block_unref(node);
}

/* A real file past the page cache, on whatever file system the folder for temporary files is. */
static char *direct_path;

static void test_direct_file(void)
{
	GError *error = NULL;
	g_autofree char *text = g_strdup_printf("driver=file,cache=none,filename=%s", direct_path);
	struct block_node *node = open_text(text, BLOCK_RDWR, &error);
	g_autofree char *content = NULL;
	uint8_t *all;
	gsize len;

	if (!node) { /* some file systems have no O_DIRECT, and say so */
		assert_non_null(strstr(error->message, "cache=writeback"));
		g_error_free(error);
		return;
	}
	assert_true(block_request_align(node) >= 512);
	assert_int_equal(block_truncate(node, LENGTH), 0);
	random_requests(node, 300);
	assert_int_equal(block_pwrite(node, LENGTH - 3, "end", 3, BLOCK_FUA), 0);
	assert_int_equal(block_flush(node), 0);
	all = g_malloc(LENGTH);
	assert_int_equal(block_pread(node, 0, all, LENGTH), 0);
	block_unref(node);
	assert_true(g_file_get_contents(direct_path, &content, &len, NULL));
	assert_int_equal(len, LENGTH);
	assert_memory_equal(content, all, LENGTH);
	assert_memory_equal(content + LENGTH - 3, "end", 3);
	g_free(all);
}

IN_LOOP(test_any_request)
IN_LOOP(test_aligned_is_not_copied)
IN_LOOP(test_neighbours_in_one_block)
IN_LOOP(test_cache_modes)
IN_LOOP(test_failures_reach_the_caller)
IN_LOOP(test_direct_file)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(run_test_any_request),
		cmocka_unit_test(run_test_aligned_is_not_copied),
		cmocka_unit_test(run_test_neighbours_in_one_block),
		cmocka_unit_test(run_test_cache_modes),
		cmocka_unit_test(run_test_failures_reach_the_caller),
		cmocka_unit_test(run_test_direct_file),
	};
	int fd, res;

	direct_path = g_build_filename(g_get_tmp_dir(), "outboard-align-XXXXXX", NULL);
	fd = g_mkstemp(direct_path);
	assert_true(fd >= 0);
	close(fd);
	res = RUN_LOOP_TESTS(tests);
	unlink(direct_path);
	g_free(direct_path);
	return res;
}
