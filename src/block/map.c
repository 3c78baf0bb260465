/*
 * Reading and status through map(): the core asks a node where bytes are and goes down the chain of
 * backing files in a loop, then does the I/O itself. A deep chain so costs neither stack nor a
 * request at each level; what one answer covers is limited by every level asked on the way. What
 * was found below a node is remembered (below.h).
 */
#include "block/below.h"

#include <errno.h>

enum { PIECES = 16 };

/* One node's answer, made fit: *f, and *len as far as it holds. */
static co_fn int ask(struct block_node *node, uint64_t off, uint64_t *len, struct found *f)
{
	int res;

	f->node = node;
	f->by_default = false;
	f->e = (struct block_extent){.place = PLACE_DRIVER, .len = *len};
	if (off >= node->length) { /* a backing file that is shorter */
		f->e.place = PLACE_ZERO;
		f->by_default = true;
		return 0;
	}
	*len = MIN(*len, node->length - off);
	f->e.len = *len;
	if (!node->driver->map)
		return 0;
	res = node->driver->map(node, off, *len, &f->e);
	if (res < 0)
		return res;
	*len = f->e.len = CLAMP(f->e.len, 1, *len);
	return 0;
}

/* From node down, which is at depth. */
static co_fn int walk(struct block_node *node, unsigned depth, uint64_t off, uint64_t len,
		      struct found *f)
{
	f->depth = depth;
	for (;; node = node->backing, f->depth++) {
		int res = ask(node, off, &len, f);

		if (res < 0 || f->e.place != PLACE_BACKING)
			return res;
		if (!node->backing) {
			f->e.place = PLACE_ZERO;
			f->by_default = true;
			return 0;
		}
	}
}

/* Below node, through what it remembers. */
static co_fn int find_below(struct block_node *node, uint64_t off, uint64_t len, struct found *f)
{
	uint64_t start = off - off % BELOW_GRAIN;
	int res;

	if (below_get(node, off, len, f))
		return 0;
	res = walk(node->backing, 1, start, BELOW_GRAIN, f);
	if (res == 0 && f->e.len <= off - start) { /* another piece of the same grain */
		start = off;
		res = walk(node->backing, 1, start, BELOW_GRAIN - off % BELOW_GRAIN, f);
	}
	if (res < 0)
		return res;
	below_put(node, start, f);
	f->e.off += off - start;
	f->e.len = MIN(f->e.len - (off - start), len);
	return 0;
}

static co_fn int find_extent(struct block_node *node, uint64_t off, uint64_t len, struct found *f)
{
	int res;

	f->depth = 0;
	res = ask(node, off, &len, f);
	if (res < 0 || f->e.place != PLACE_BACKING)
		return res;
	if (!node->backing) {
		f->e.place = PLACE_ZERO;
		f->by_default = true;
		return 0;
	}
	/* A long piece is worth a walk, and must not be cut up. */
	if (len > BELOW_GRAIN || !below_is_useful(node))
		return walk(node->backing, 1, off, len, f);
	return find_below(node, off, len, f);
}

co_fn int block_preadv_padded(struct block_node *node, uint64_t off, const struct iovs *iov)
{
	uint64_t there = off < node->length ? node->length - off : 0;
	struct iovec small[PIECES], *v = small;
	struct iovs part = {.v = small, .len = there};
	int res;

	if (there >= iov->len)
		return block_preadv(node, off, iov);
	if (there == 0) {
		iovs_zero(iov, 0, iov->len);
		return 0;
	}
	if (iov->n > PIECES)
		part.v = v = g_new(struct iovec, iov->n);
	part.n = iovs_slice(iov, 0, there, v, MAX(iov->n, (unsigned)PIECES));
	res = block_preadv(node, off, &part);
	iovs_zero(iov, there, iov->len - there);
	if (v != small)
		g_free(v);
	return res;
}

static co_fn int read_found(const struct found *f, uint64_t off, const struct iovs *iov)
{
	switch (f->e.place) {
	case PLACE_FILE: return block_preadv_padded(f->e.child, f->e.off, iov);
	case PLACE_DRIVER: return f->node->driver->preadv(f->node, off, iov);
	case PLACE_ZERO:
	case PLACE_BACKING: iovs_zero(iov, 0, iov->len); return 0;
	}
	return -EIO;
}

co_fn int block_read_mapped(struct block_node *node, uint64_t off, const struct iovs *iov)
{
	struct iovec small[PIECES], *v = small;
	size_t done = 0;
	int res = 0;

	while (done < iov->len && res >= 0) {
		struct iovs part = {.v = v};
		struct found f;

		res = find_extent(node, off + done, iov->len - done, &f);
		if (res < 0)
			break;
		if (f.e.len == iov->len) {
			res = read_found(&f, off, iov);
			break;
		}
		if (v == small && iov->n > PIECES)
			part.v = v = g_new(struct iovec, iov->n);
		part.len = f.e.len;
		part.n = iovs_slice(iov, done, part.len, v, MAX(iov->n, (unsigned)PIECES));
		res = read_found(&f, off + done, &part);
		done += part.len;
	}
	if (v != small)
		g_free(v);
	return res < 0 ? res : 0;
}

/* What a found place is, asking the child for its holes. */
static co_fn int describe(const struct found *f, uint64_t off, struct block_where *w)
{
	w->run = f->e.len;
	w->depth = f->depth;
	w->present = !f->by_default;
	w->compressed = f->e.compressed;
	w->status = BLOCK_DATA;
	if (f->e.place == PLACE_ZERO || f->e.place == PLACE_BACKING) {
		w->status = BLOCK_ZERO;
		return 0;
	}
	if (f->e.place == PLACE_DRIVER) {
		if (!f->node->driver->get_status)
			return 0;
		return f->node->driver->get_status(f->node, off, w->run, &w->status, &w->run);
	}
	w->file = f->e.child;
	w->off = f->e.off;
	if (w->off >= w->file->length) {
		w->status = BLOCK_ZERO;
		return 0;
	}
	w->run = MIN(w->run, w->file->length - w->off);
	return block_get_status(w->file, w->off, w->run, &w->status, &w->run);
}

co_fn int block_find(struct block_node *node, uint64_t off, uint64_t len, struct block_where *where)
{
	struct block_where w = {0};
	struct found f;
	int res;

	if (len == 0 || off > node->length || len > node->length - off)
		return -EINVAL;
	co_drain_enter(&node->drain);
	res = find_extent(node, off, len, &f);
	if (res >= 0)
		res = describe(&f, off, &w);
	co_drain_leave(&node->drain);
	if (res < 0)
		return res;
	w.run = CLAMP(w.run, 1, len);
	*where = w;
	return 0;
}

co_fn int block_get_status(struct block_node *node, uint64_t off, uint64_t len, unsigned *status,
			   uint64_t *run)
{
	struct block_where w;
	int res = block_find(node, off, len, &w);

	if (res < 0)
		return res;
	*status = w.status;
	*run = w.run;
	return 0;
}
