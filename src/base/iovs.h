/*
 * A scatter list with its length: how data travels between guest memory, models and files.
 *
 * The list borrows both the memory and the array of iovecs. Offsets are bytes from the first byte
 * of the list. Functions that take offset and length clip to the list and return how many bytes
 * they handled, so that a short buffer shows in the result and never overruns.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct iovs {
	struct iovec *v;
	unsigned n;
	size_t len; /* sum of the pieces */
};

/* A list over one buffer; one is the caller's storage for the iovec. */
struct iovs iovs_one(struct iovec *one, void *buf, size_t len);

size_t iovs_sum(const struct iovec *v, unsigned n);
size_t iovs_put(const struct iovs *dst, size_t off, const void *src, size_t len);
size_t iovs_get(const struct iovs *src, size_t off, void *dst, size_t len);
/* How many bytes from off on are those at with: len, or less at the first that differs. */
size_t iovs_equal(const struct iovs *l, size_t off, const void *with, size_t len);
size_t iovs_zero(const struct iovs *dst, size_t off, size_t len);

/* Takes len bytes (at most all) off the front; the pieces themselves are changed. */
void iovs_skip(struct iovs *l, size_t len);

/*
 * Writes the pieces that cover [off, off + len) into out (room for max entries) and returns how
 * many, or 0 if max is too small or the range lies outside.
 */
unsigned iovs_slice(const struct iovs *src, size_t off, size_t len, struct iovec *out,
		    unsigned max);
