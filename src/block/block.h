/*
 * Block nodes: a driver's operations, its state, and children.
 *
 * A node belongs to the loop it was opened on. The generic code here owns requests, limits,
 * alignment, permissions, locks and statistics; drivers own layout. Offsets and lengths are bytes.
 * Data calls are co_fn and return 0 or -errno; a range outside the node is -EINVAL, a write to a
 * read-only node -EROFS; a read always fills all of the iovs.
 */
#pragma once

#include "base/co.h"
#include "base/iovs.h"
#include "base/opts.h"

struct block_node;

enum block_open_flags {
	BLOCK_RDWR = 1, /* without: read-only */
	BLOCK_AUTO_RDONLY =
		2,         /* with RDWR: fall back to read-only where the file cannot be written */
	BLOCK_NO_LOCK = 4, /* force-share: for looking at a file that is in use */
	BLOCK_UNSHARE_WRITE =
		8, /* nobody else may write meanwhile (formats ask this of their file child) */
};

enum block_write_flags {
	BLOCK_FUA = 1, /* durable when it returns */
};

/*
 * Opens by options: "driver", and what the driver takes ("filename"; "file.*" for a child of its
 * own). Without "driver" a file name is opened as "file". The options are only read. NULL on error,
 * with the file named.
 */
co_fn struct block_node *block_open(struct opts *options, unsigned flags, GError **error);
/* The "file" driver on a path. */
co_fn struct block_node *block_open_file(const char *path, unsigned flags, GError **error);
void block_ref(struct block_node *node);
/* The last one waits for requests in flight, then closes node and children. NULL is fine. */
co_fn void block_unref(struct block_node *node);

uint64_t block_length(const struct block_node *node);
bool block_is_writable(const struct block_node *node);
const char *block_name(const struct block_node *node); /* file name or "driver", for messages */

/* The first and all of len bytes of iov; iov is borrowed until the call returns. */
co_fn int block_preadv(struct block_node *node, uint64_t off, const struct iovs *iov);
co_fn int block_pwritev(struct block_node *node, uint64_t off, const struct iovs *iov,
			unsigned flags);
co_fn int block_pread(struct block_node *node, uint64_t off, void *buf, size_t len);
co_fn int block_pwrite(struct block_node *node, uint64_t off, const void *buf, size_t len,
		       unsigned flags);
co_fn int block_flush(struct block_node *node); /* what completed before is durable after */
/* Makes the range read as zeros, giving its space back where that is possible. */
co_fn int block_discard_zero(struct block_node *node, uint64_t off, uint64_t len);
/* Reserves real space so that later writes there cannot run out of it. -ENOTSUP where there is no
 * such thing. */
co_fn int block_allocate(struct block_node *node, uint64_t off, uint64_t len);
co_fn int block_truncate(struct block_node *node, uint64_t len);

enum block_status { BLOCK_DATA = 1, BLOCK_ZERO = 2 };
/* What [off, off+len) begins with: status bits to *status, how far they hold to *run (1..len). */
co_fn int block_get_status(struct block_node *node, uint64_t off, uint64_t len, unsigned *status,
			   uint64_t *run);

/*
 * A shared mapping of a page-aligned range, for state that survives the death of the process but
 * need not survive the machine's (the progress line of a disc). NULL where the driver has none: use
 * block_pwrite() then.
 */
void *block_map_shared(struct block_node *node, uint64_t off, size_t len);

struct block_stats {
	uint64_t reads, writes, flushes, read_bytes, write_bytes, errors;
};
void block_get_stats(const struct block_node *node, struct block_stats *out);
