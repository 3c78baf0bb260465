/*
 * Driver "mem": a sparse file in memory. Two levels of tables: pages of 4 KiB, groups of 1024
 * pages; what was never written (or discarded in whole pages) has no page and reads as zeros. A
 * fork looks up what it has not written itself in the node that it was made from. Options: "size".
 */
#include "block/mem.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>

#include "base/err.h"
#include "block/drivers.h"

enum { PAGE = 4096, GROUP_PAGES = 1024 };
static const uint64_t max_size = (uint64_t)1 << 40;

struct mem_group {
	uint8_t *pages[GROUP_PAGES];
};

struct mem {
	struct mem_group **groups;
	size_t n_groups;
	struct block_node *base; /* of a fork, or NULL */
	GPtrArray *maps;         /* pages handed out by map_shared: they must not move or go */
};

static uint8_t *own_page(const struct mem *mem, uint64_t off)
{
	uint64_t page = off / PAGE;
	struct mem_group *group =
		page / GROUP_PAGES < mem->n_groups ? mem->groups[page / GROUP_PAGES] : NULL;

	return group ? group->pages[page % GROUP_PAGES] : NULL;
}

static const uint8_t *page_get(const struct mem *mem, uint64_t off)
{
	const uint8_t *page = own_page(mem, off);

	while (!page && mem->base) {
		mem = mem->base->state;
		page = own_page(mem, off);
	}
	return page;
}

static uint8_t *page_make(struct mem *mem, uint64_t off)
{
	const uint8_t *old = page_get(mem, off);
	uint64_t page = off / PAGE;
	struct mem_group **group = &mem->groups[page / GROUP_PAGES];
	uint8_t **slot;

	if (!*group)
		*group = g_new0(struct mem_group, 1);
	slot = &(*group)->pages[page % GROUP_PAGES];
	if (!*slot) {
		*slot = g_malloc0(PAGE);
		if (old)
			memcpy(*slot, old, PAGE);
	}
	return *slot;
}

static bool page_is_mapped(const struct mem *mem, const uint8_t *page)
{
	return mem->maps && g_ptr_array_find(mem->maps, page, NULL);
}

static void page_drop(struct mem *mem, uint64_t off)
{
	uint8_t *page = own_page(mem, off);

	if (mem->base && page_get(mem, off))
		page = page_make(mem, off); /* hides the page below */
	if (!page)
		return;
	if (mem->base || page_is_mapped(mem, page)) {
		memset(page, 0, PAGE);
		return;
	}
	g_free(page);
	mem->groups[off / PAGE / GROUP_PAGES]->pages[off / PAGE % GROUP_PAGES] = NULL;
}

static void zero_range(struct mem *mem, uint64_t off, uint64_t len)
{
	while (len > 0) {
		uint64_t in = off % PAGE;
		uint64_t piece = MIN(PAGE - in, len);

		if (piece == PAGE)
			page_drop(mem, off);
		else if (page_get(mem, off))
			memset(page_make(mem, off) + in, 0, piece);
		off += piece;
		len -= piece;
	}
}

static void group_free(struct mem_group *group)
{
	for (unsigned i = 0; group && i < GROUP_PAGES; i++)
		g_free(group->pages[i]);
	g_free(group);
}

static int mem_resize(struct block_node *node, uint64_t len)
{
	struct mem *mem = node->state;
	size_t n = len / PAGE / GROUP_PAGES + 1;

	if (len > max_size)
		return -EFBIG;
	if (len < node->length) {
		uint64_t end = MIN(node->length, (uint64_t)n * GROUP_PAGES * PAGE);

		zero_range(mem, len, end - len);
		for (size_t i = n; i < mem->n_groups; i++)
			group_free(mem->groups[i]);
	}
	mem->groups = g_renew(struct mem_group *, mem->groups, n);
	for (size_t i = mem->n_groups; i < n; i++)
		mem->groups[i] = NULL;
	mem->n_groups = n;
	return 0;
}

static co_fn bool mem_open(struct block_node *node, struct opts *options, GError **error)
{
	uint64_t size = 0;

	if (!opts_get_size(options, "size", &size, error))
		return false;
	if (size > max_size)
		return err_set(error, EINVAL, "size=%" PRIu64 ": at most %" PRIu64, size, max_size);
	mem_resize(node, size);
	node->length = size;
	return true;
}

static co_fn void mem_close(struct block_node *node)
{
	struct mem *mem = node->state;

	for (size_t i = 0; i < mem->n_groups; i++)
		group_free(mem->groups[i]);
	g_free(mem->groups);
	if (mem->maps)
		g_ptr_array_unref(mem->maps);
	block_unref(mem->base);
}

static co_fn int mem_preadv(struct block_node *node, uint64_t off, const struct iovs *iov)
{
	struct mem *mem = node->state;
	size_t done = 0;

	while (done < iov->len) {
		uint64_t in = (off + done) % PAGE;
		size_t piece = MIN(PAGE - in, iov->len - done);
		const uint8_t *page = page_get(mem, off + done);

		if (page)
			iovs_put(iov, done, page + in, piece);
		else
			iovs_zero(iov, done, piece);
		done += piece;
	}
	return 0;
}

static co_fn int mem_pwritev(struct block_node *node, uint64_t off, const struct iovs *iov,
			     unsigned flags)
{
	struct mem *mem = node->state;
	size_t done = 0;

	(void)flags;
	while (done < iov->len) {
		uint64_t in = (off + done) % PAGE;
		size_t piece = MIN(PAGE - in, iov->len - done);

		iovs_get(iov, done, page_make(mem, off + done) + in, piece);
		done += piece;
	}
	return 0;
}

static co_fn int mem_flush(struct block_node *node)
{
	(void)node;
	return 0;
}

static co_fn int mem_discard_zero(struct block_node *node, uint64_t off, uint64_t len)
{
	zero_range(node->state, off, len);
	return 0;
}

static co_fn int mem_allocate(struct block_node *node, uint64_t off, uint64_t len)
{
	(void)node;
	(void)off;
	(void)len;
	return 0;
}

static co_fn int mem_get_status(struct block_node *node, uint64_t off, uint64_t len,
				unsigned *status, uint64_t *run)
{
	struct mem *mem = node->state;
	bool data = page_get(mem, off) != NULL;
	uint64_t end = off - off % PAGE + PAGE;

	while (end < off + len && (page_get(mem, end) != NULL) == data)
		end += PAGE;
	*status = data ? BLOCK_DATA : BLOCK_ZERO;
	*run = MIN(end - off, len);
	return 0;
}

static void *mem_map_shared(struct block_node *node, uint64_t off, size_t len)
{
	struct mem *mem = node->state;
	uint8_t *page;

	if (off % PAGE || len > PAGE)
		return NULL;
	if (!mem->maps)
		mem->maps = g_ptr_array_new();
	page = page_make(mem, off);
	g_ptr_array_add(mem->maps, page);
	return page;
}

const struct block_driver block_mem = {
	.name = "mem",
	.kind = BLOCK_PROTOCOL,
	.state_size = sizeof(struct mem),
	.open = mem_open,
	.close = mem_close,
	.preadv = mem_preadv,
	.pwritev = mem_pwritev,
	.flush = mem_flush,
	.discard_zero = mem_discard_zero,
	.allocate = mem_allocate,
	.truncate = mem_resize,
	.get_status = mem_get_status,
	.map_shared = mem_map_shared,
};

struct block_node *block_mem_new(uint64_t length, const void *data, size_t n)
{
	struct block_node *node = block_new_over(&block_mem, NULL);
	struct mem *mem = node->state;

	mem_resize(node, length);
	node->length = length;
	for (size_t done = 0; done < n; done += PAGE)
		memcpy(page_make(mem, done), (const uint8_t *)data + done,
		       MIN((size_t)PAGE, n - done));
	return node;
}

struct block_node *block_mem_fork(struct block_node *base)
{
	struct block_node *node = block_mem_new(base->length, NULL, 0);
	struct mem *mem = node->state;

	block_ref(base);
	mem->base = base;
	return node;
}
