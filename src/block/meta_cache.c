/* The cache of metadata: see meta_cache.h. A hash of pieces, a list of them by their last use. */
#include "block/meta_cache.h"

#include <errno.h>
#include <stdlib.h>

struct meta_piece {
	uint64_t off;
	struct meta_piece *next; /* in the bucket */
	struct meta_piece *newer, *older;
	bool loading, dirty;
	uint8_t data[];
};

enum { MIN_PIECES = 64, MAX_JOIN = 64 };

bool meta_cache_init(struct meta_cache *c, size_t piece_len, size_t bytes)
{
	c->piece_len = piece_len;
	c->max = MIN_PIECES;
	while ((uint64_t)c->max * 2 * piece_len <= bytes)
		c->max *= 2;
	c->buckets = g_try_new0(struct meta_piece *, c->max);
	return c->buckets != NULL;
}

void meta_cache_fini(struct meta_cache *c)
{
	while (c->newest) {
		struct meta_piece *p = c->newest;

		c->newest = p->older;
		g_free(p);
	}
	g_free(c->buckets);
	c->buckets = NULL;
}

static struct meta_piece **bucket(const struct meta_cache *c, uint64_t off)
{
	return &c->buckets[off / c->piece_len * 0x9e3779b97f4a7c15ull >> 32 & (c->max - 1)];
}

static void list_remove(struct meta_cache *c, struct meta_piece *p)
{
	*(p->newer ? &p->newer->older : &c->newest) = p->older;
	*(p->older ? &p->older->newer : &c->oldest) = p->newer;
}

static void list_add(struct meta_cache *c, struct meta_piece *p)
{
	p->newer = NULL;
	p->older = c->newest;
	*(c->newest ? &c->newest->newer : &c->oldest) = p;
	c->newest = p;
}

static void drop(struct meta_cache *c, struct meta_piece *p)
{
	struct meta_piece **at = bucket(c, p->off);

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	list_remove(c, p);
	c->n--;
	c->n_dirty -= p->dirty;
	g_free(p);
}

static struct meta_piece *find(const struct meta_cache *c, uint64_t off)
{
	struct meta_piece *p = *bucket(c, off);

	while (p && p->off != off)
		p = p->next;
	return p;
}

/* A new one in the place of the oldest that is not in use; NULL if all are, or no memory. */
static struct meta_piece *make(struct meta_cache *c, uint64_t off)
{
	struct meta_piece *p = c->oldest, **at;

	if (c->n >= c->max) {
		while (p && (p->loading || p->dirty))
			p = p->newer;
		if (!p)
			return NULL;
		drop(c, p);
	}
	p = g_try_malloc(sizeof(*p) + c->piece_len);
	if (!p)
		return NULL;
	p->off = off;
	p->loading = true;
	p->dirty = false;
	at = bucket(c, off);
	p->next = *at;
	*at = p;
	list_add(c, p);
	c->n++;
	return p;
}

static co_fn int load(struct meta_cache *c, struct block_node *file, struct meta_piece *p)
{
	struct iovec one;
	struct iovs iov = iovs_one(&one, p->data, c->piece_len);
	int res = block_preadv_padded(file, p->off, &iov);

	p->loading = false;
	if (res < 0)
		drop(c, p);
	co_queue_wake_all(&c->loaded);
	return res;
}

static co_fn int get(struct meta_cache *c, struct block_node *file, uint64_t start,
		     struct meta_piece **found)
{
	struct meta_piece *p;
	int res;

	for (;;) {
		p = find(c, start);
		if (p && !p->loading)
			break;
		if (p) {
			co_queue_wait(&c->loaded);
			continue;
		}
		p = make(c, start);
		if (!p && c->n < c->max)
			return -ENOMEM;
		if (!p) {
			co_queue_wait(&c->loaded);
			continue;
		}
		res = load(c, file, p);
		if (res < 0)
			return res;
	}
	if (p != c->newest) {
		list_remove(c, p);
		list_add(c, p);
	}
	*found = p;
	return 0;
}

co_fn int meta_cache_get(struct meta_cache *c, struct block_node *file, uint64_t off,
			 const uint8_t **data)
{
	uint64_t within = off % c->piece_len;
	struct meta_piece *p;
	int res = get(c, file, off - within, &p);

	if (res == 0)
		*data = p->data + within;
	return res;
}

co_fn int meta_cache_edit(struct meta_cache *c, struct block_node *file, uint64_t off,
			  uint8_t **data)
{
	uint64_t within = off % c->piece_len;
	struct meta_piece *p;
	int res = get(c, file, off - within, &p);

	if (res < 0)
		return res;
	c->n_dirty += !p->dirty;
	p->dirty = true;
	*data = p->data + within;
	return 0;
}

static int by_offset(const void *a, const void *b)
{
	const struct meta_piece *const *x = a, *const *y = b;

	return (*x)->off < (*y)->off ? -1 : (*x)->off > (*y)->off;
}

/* How many of the sorted pieces follow each other without a gap, into v. */
static unsigned join(const struct meta_cache *c, struct meta_piece **all, unsigned n,
		     struct iovec *v)
{
	unsigned k = 0;

	while (k < n && k < MAX_JOIN && all[k]->off == all[0]->off + k * c->piece_len) {
		v[k] = (struct iovec){all[k]->data, c->piece_len};
		k++;
	}
	return k;
}

co_fn int meta_cache_write(struct meta_cache *c, struct block_node *file)
{
	struct meta_piece **all;
	struct iovec v[MAX_JOIN];
	unsigned n = 0, k;
	int res = 0;

	if (!c->n_dirty)
		return 0;
	all = g_new(struct meta_piece *, c->n_dirty);
	for (struct meta_piece *p = c->newest; p; p = p->older) {
		if (p->dirty)
			all[n++] = p;
	}
	qsort(all, n, sizeof(struct meta_piece *),
	      by_offset); /* NOLINT(bugprone-sizeof-expression) */
	for (unsigned i = 0; i < n && res == 0; i += k) {
		struct iovs iov = {.v = v};

		iov.n = k = join(c, all + i, n - i, v);
		iov.len = k * c->piece_len;
		res = block_pwritev(file, all[i]->off, &iov, 0);
		for (unsigned m = 0; m < k && res == 0; m++) {
			all[i + m]->dirty = false;
			c->n_dirty--;
		}
	}
	g_free(all);
	return res;
}

void meta_cache_forget(struct meta_cache *c, uint64_t off, uint64_t len)
{
	for (uint64_t at = off - off % c->piece_len; at < off + len; at += c->piece_len) {
		struct meta_piece *p = find(c, at);

		if (p && !p->loading)
			drop(c, p);
	}
}
