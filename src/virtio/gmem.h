/*
 * Guest memory: the regions a front end shares, and the way from a guest address to host memory.
 *
 * A map never changes: adding or removing a region makes a new one that shares the mappings of the
 * old. Whoever holds a reference may use what it translated, so memory that is taken away while a
 * request still moves data stays mapped until that request ends. References are not atomic; a map
 * belongs to one loop.
 *
 * Memory whose file can be shortened by the peer (no F_SEAL_SHRINK) could raise SIGBUS under our
 * own accesses. A handler (installed with the first such region) puts zero pages in place and marks
 * the mapping as torn: see gmem_is_torn().
 */
#pragma once

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum { GMEM_REGIONS_MAX = 256 };

struct gmem;

struct gmem_region {
	uint64_t gpa; /* guest physical address */
	uint64_t len;
	uint64_t uaddr;    /* the same memory in the front end's address space (ring addresses are
			      given so) */
	uint64_t file_off; /* of its first byte in the descriptor */
};

struct gmem *gmem_new(void); /* an empty map with one reference */
struct gmem *gmem_ref(struct gmem *m);
void gmem_unref(struct gmem *m); /* NULL is fine */

/* A new map: m and one region more, mapped from fd (which stays the caller's). NULL: refused,
 * *error says why. */
struct gmem *gmem_add(const struct gmem *m, const struct gmem_region *r, int fd, GError **error);
/* A new map: m without the region that has these addresses and this length. */
struct gmem *gmem_remove(const struct gmem *m, const struct gmem_region *r, GError **error);

unsigned gmem_count(const struct gmem *m);
/* A file behind one of the regions was shortened: data may be lost, the connection ought to end. */
bool gmem_is_torn(const struct gmem *m);

/*
 * Host memory of [gpa, gpa + len): pieces to out (room for max), their number returned; a range may
 * span regions. -EFAULT: part of it is no guest memory; -E2BIG: more than max pieces. len 0 gives 0
 * pieces.
 */
int gmem_translate(struct gmem *m, uint64_t gpa, uint64_t len, struct iovec *out, unsigned max);

/* Host memory of a range in the front end's addresses that lies in one region, or NULL. */
void *gmem_user(const struct gmem *m, uint64_t uaddr, uint64_t len);
