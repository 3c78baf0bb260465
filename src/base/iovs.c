/* Scatter lists: every function walks the pieces that cover a range. */
#include "base/iovs.h"

#include <stdbool.h>
#include <string.h>

struct iovs iovs_one(struct iovec *one, void *buf, size_t len)
{
	*one = (struct iovec){buf, len};
	return (struct iovs){one, 1, len};
}

size_t iovs_sum(const struct iovec *v, unsigned n)
{
	size_t len = 0;

	for (unsigned i = 0; i < n; i++)
		len += v[i].iov_len;
	return len;
}

struct walk {
	const struct iovec *v, *end;
	size_t skip, left;
};

static struct walk walk_start(const struct iovs *l, size_t off, size_t len)
{
	struct walk w = {l->v, l->v, off, 0};

	if (off >= l->len) /* also where there is no array */
		return w;
	w.end = l->v + l->n;
	w.left = len < l->len - off ? len : l->len - off;
	return w;
}

/* The next piece that is not empty; false at the end. */
static bool walk_next(struct walk *w, struct iovec *piece)
{
	while (w->left && w->v < w->end) {
		const struct iovec *v = w->v++;
		size_t n;

		if (w->skip >= v->iov_len) {
			w->skip -= v->iov_len;
			continue;
		}
		n = v->iov_len - w->skip;
		if (n > w->left)
			n = w->left;
		*piece = (struct iovec){(char *)v->iov_base + w->skip, n};
		w->skip = 0;
		w->left -= n;
		return true;
	}
	return false;
}

size_t iovs_put(const struct iovs *dst, size_t off, const void *src, size_t len)
{
	struct walk w = walk_start(dst, off, len);
	struct iovec p;
	size_t done = 0;

	while (walk_next(&w, &p)) {
		memcpy(p.iov_base, (const char *)src + done, p.iov_len);
		done += p.iov_len;
	}
	return done;
}

size_t iovs_get(const struct iovs *src, size_t off, void *dst, size_t len)
{
	struct walk w = walk_start(src, off, len);
	struct iovec p;
	size_t done = 0;

	while (walk_next(&w, &p)) {
		memcpy((char *)dst + done, p.iov_base, p.iov_len);
		done += p.iov_len;
	}
	return done;
}

size_t iovs_equal(const struct iovs *l, size_t off, const void *with, size_t len)
{
	struct walk w = walk_start(l, off, len);
	const uint8_t *b = with;
	struct iovec p;
	size_t done = 0;

	while (walk_next(&w, &p)) {
		const uint8_t *a = p.iov_base;
		size_t n = 0;

		if (memcmp(a, b + done, p.iov_len) == 0) {
			done += p.iov_len;
			continue;
		}
		while (a[n] == b[done + n])
			n++;
		return done + n;
	}
	return done;
}

size_t iovs_zero(const struct iovs *dst, size_t off, size_t len)
{
	struct walk w = walk_start(dst, off, len);
	struct iovec p;
	size_t done = 0;

	while (walk_next(&w, &p)) {
		memset(p.iov_base, 0, p.iov_len);
		done += p.iov_len;
	}
	return done;
}

void iovs_skip(struct iovs *l, size_t len)
{
	if (len > l->len)
		len = l->len;
	l->len -= len;
	while (l->n && len >= l->v->iov_len) {
		len -= l->v->iov_len;
		l->v++;
		l->n--;
		if (!len)
			return;
	}
	if (len) {
		l->v->iov_base = (char *)l->v->iov_base + len;
		l->v->iov_len -= len;
	}
}

unsigned iovs_slice(const struct iovs *src, size_t off, size_t len, struct iovec *out, unsigned max)
{
	struct walk w;
	struct iovec p;
	unsigned n = 0;

	if (off > src->len || len > src->len - off)
		return 0;
	w = walk_start(src, off, len);
	while (walk_next(&w, &p)) {
		if (n == max)
			return 0;
		out[n++] = p;
	}
	return n;
}
