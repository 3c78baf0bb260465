/*
 * Block nodes: a driver's operations, its state, and children.
 *
 * A node belongs to the loop it was opened on. The generic code here owns requests, limits,
 * alignment, permissions, locks and statistics; drivers own layout. Offsets and lengths are bytes.
 * Data calls are co_fn and return 0 or -errno; a range outside the node is -EINVAL, a write to a
 * read-only node -EROFS; a read always fills all of the iovs.
 */
#pragma once

#include <jansson.h>

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
	BLOCK_NO_BACKING = 16, /* the backing file stays closed; what lies there reads as zeros */
	BLOCK_REFS_ANYWHERE =
		32,             /* names inside images may lead out of the image's own directory */
	BLOCK_DAMAGED_TOO = 64, /* what marks itself as damaged is opened all the same, for check */
	BLOCK_HEADER_ONLY =
		128,          /* only to see what it says of itself: nothing it names is opened */
	BLOCK_DIRECT = 256,   /* past the host's page cache; children and backing files too */
	BLOCK_NO_FLUSH = 512, /* nothing is made durable; children too */
	BLOCK_WRITETHROUGH = 1024, /* every write is durable when it returns */
	BLOCK_DISCARD_IGNORE = 2048,
	BLOCK_DETECT_ZEROES = 4096, /* writes of zeros become such, in place */
	BLOCK_DETECT_UNMAP = 8192,  /* the same, and give their space back */
	BLOCK_NO_PROBE = 16384,     /* an image whose format is not said is refused */
};

enum block_write_flags {
	BLOCK_FUA = 1,       /* durable when it returns */
	BLOCK_MAY_UNMAP = 2, /* of zeros: the space may be given back */
};

/*
 * Opens by options: "driver", and what the driver takes ("filename"; "file.*" for a child of its
 * own; "backing.*" for the backing file, whose format and place are otherwise what the image says).
 * Without "driver" a file name is opened as "file". The options are only read. NULL on error, with
 * the file named.
 *
 * Every node also takes (options.c): "read-only", "auto-read-only", "force-share"; "cache" (as QEMU
 * names the modes), "cache.direct", "cache.no-flush", "cache.writeback"; "discard" (unmap, ignore),
 * "detect-zeroes" (off, on, unmap); "allow-refs".
 *
 * The chain of backing files is opened as well: each read-only, at most 200, none twice. A name
 * that stands in an image is a plain file name beneath that image's directory, or beneath one of
 * those in "allow-refs" (DIR:DIR...), unless the flags allow more; never a URL or json:. Its format
 * is stated there or by the user.
 */
co_fn struct block_node *block_open(struct opts *options, unsigned flags, GError **error);
/*
 * What a user typed: a file name, "file:NAME" or "json:{...}". format: the driver, or NULL: the
 * content decides, and a file that is raw because nothing else was seen in it refuses (-EPERM)
 * writes that would make it look like something else the next time.
 */
co_fn struct block_node *block_open_image(const char *name, const char *format, unsigned flags,
					  GError **error);
/* The same with further options for the node (NULL: none), which are only read. */
co_fn struct block_node *block_open_image_with(const char *name, const char *format,
					       const struct opts *more, unsigned flags,
					       GError **error);
/* Sets the flags of a cache mode, as users of QEMU name them. */
bool block_parse_cache(const char *mode, unsigned *flags, GError **error);
/* A format over a file that is open already, whose reference is taken also on failure. No backing
 * file is opened. */
co_fn struct block_node *block_open_over(const char *format, struct block_node *file,
					 GError **error);
/* The options that such a name stands for ("driver" may be missing), for opts_free(). */
struct opts *block_parse_name(const char *name, GError **error);
/*
 * The format that content (its first bytes) and name look like: "raw" if like nothing else. Also
 * names that no driver here has.
 */
const char *block_probe(const uint8_t *head, size_t len, const char *name);
enum { BLOCK_PROBE_LEN = 512 };
/* The "file" driver on a path. */
co_fn struct block_node *block_open_file(const char *path, unsigned flags, GError **error);
void block_ref(struct block_node *node);
/* The last one waits for requests in flight, then closes node and children. NULL is fine. */
co_fn void block_unref(struct block_node *node);

uint64_t block_length(const struct block_node *node);
bool block_is_writable(const struct block_node *node);
/* There is no volatile cache for a guest to know of. */
bool block_is_writethrough(const struct block_node *node);
/* False: block_discard() does nothing, as the user said. */
bool block_can_discard(const struct block_node *node);
/* What requests had best be multiples of, at the bottom of the node; any other works too. */
unsigned block_request_align(const struct block_node *node);
const char *block_name(const struct block_node *node); /* file name or "driver", for messages */
const char *block_driver_name(const struct block_node *node);
struct block_node *block_backing(const struct block_node *node); /* borrowed; NULL: none open */
/* As the image has it; NULL: none. */
const char *block_backing_name(const struct block_node *node);
const char *block_backing_format(const struct block_node *node);

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
/* Makes the range read as zeros. Without BLOCK_MAY_UNMAP its space stays reserved where it was. */
co_fn int block_write_zeros(struct block_node *node, uint64_t off, uint64_t len, unsigned flags);
/* The content does not matter any more; nothing is promised of what is read there afterwards. */
co_fn int block_discard(struct block_node *node, uint64_t off, uint64_t len);
/* Reserves real space so that later writes there cannot run out of it. -ENOTSUP where there is no
 * such thing. */
co_fn int block_allocate(struct block_node *node, uint64_t off, uint64_t len);
co_fn int block_truncate(struct block_node *node, uint64_t len);

/* A whole cluster (at the end: what there is of it), stored compressed. -ENOTSUP if there is no
 * such thing. */
co_fn int block_pwrite_compressed(struct block_node *node, uint64_t off, const void *buf,
				  size_t len);
/* Whether it is a stream of such: written once, from the beginning to the end. */
bool block_is_compressed_only(const struct block_node *node);

enum block_status { BLOCK_DATA = 1, BLOCK_ZERO = 2 };
/* What [off, off+len) begins with: status bits to *status, how far they hold to *run (1..len). */
co_fn int block_get_status(struct block_node *node, uint64_t off, uint64_t len, unsigned *status,
			   uint64_t *run);

/* The same in full: where the bytes come from. */
struct block_where {
	uint64_t run;
	unsigned status; /* enum block_status */
	unsigned depth;  /* 0: the node itself, 1: its backing file, ... */
	bool present;    /* some node of the chain says so; else it is zero by default */
	bool compressed;
	struct block_node *file; /* borrowed: where they lie as they are, at off; or NULL */
	uint64_t off;
};
co_fn int block_find(struct block_node *node, uint64_t off, uint64_t len,
		     struct block_where *where);

/*
 * Internal snapshots: name is what they are called, or the number that the format gave. LOAD shows
 * one on a node that is open read-only; the others change the image, when the writes under way have
 * ended. ENOTSUP where the format has no such thing.
 */
enum block_snapshot_op { BLOCK_SNAP_CREATE, BLOCK_SNAP_APPLY, BLOCK_SNAP_DELETE, BLOCK_SNAP_LOAD };
co_fn bool block_snapshot(struct block_node *node, enum block_snapshot_op op, const char *name,
			  GError **error);

/*
 * Bitmaps that the image keeps of what was written, from number 0 on; false: there are no more. The
 * name is the node's. Those that another program left in use are not to be believed. Opening for
 * writing invalidates all.
 */
struct block_bitmap {
	const char *name;
	uint64_t granularity; /* bytes, a power of two */
	bool in_use, recording;
};
bool block_get_bitmap(const struct block_node *node, unsigned i, struct block_bitmap *out);
/* Whether [off, off + len) begins dirty by number i, and how far that holds: *run, 1 to len. */
co_fn int block_find_dirty(struct block_node *node, unsigned i, uint64_t off, uint64_t len,
			   bool *dirty, uint64_t *run);

/*
 * What the image names as its backing file from now on (NULL: none). What is open as such stays,
 * and nothing is copied: the caller sees to it that the disk holds the same.
 */
co_fn bool block_set_backing(struct block_node *node, const char *name, const char *format,
			     GError **error);
/* As just made: everything shows through from the backing file. -ENOTSUP where there are none. */
co_fn int block_make_empty(struct block_node *node);

/*
 * Makes a new image of length bytes in the empty file; what options there are is the driver's. The
 * file is the caller's. -ENOTSUP where the driver cannot.
 */
struct block_create {
	uint64_t length;
	const char *backing_name, *backing_format; /* NULL: none */
	struct opts *options;                      /* borrowed */
};
co_fn bool block_create(const char *driver, struct block_node *file,
			const struct block_create *what, GError **error);

enum block_fix { BLOCK_FIX_LEAKS = 1, BLOCK_FIX_ERRORS = 2 };
struct block_check {
	uint64_t corruptions, leaks, errors; /* found; errors: could not be checked */
	uint64_t corruptions_fixed, leaks_fixed;
	uint64_t total_clusters, allocated_clusters, compressed_clusters, fragmented_clusters;
	uint64_t end_offset; /* of what is in use in the file */
	/* Called for each finding, if not NULL. */
	void (*tell)(const char *text, void *arg);
	void *tell_arg;
};
/* False with -ENOTSUP's code where the format has no such thing, or when it cannot be done. The
 * counters after a repair are of what is left. */
co_fn bool block_check(struct block_node *node, unsigned fix, struct block_check *result,
		       GError **error);
/* What the format has to say beyond size and names; NULL: nothing. A new reference. */
json_t *block_info(const struct block_node *node);
uint64_t block_cluster_size(const struct block_node *node); /* 0: there are none */

/*
 * A shared mapping of a page-aligned range, for state that survives the death of the process but
 * need not survive the machine's (the progress line of a disc). NULL where the driver has none: use
 * block_pwrite() then.
 */
void *block_map_shared(struct block_node *node, uint64_t off, size_t len);

struct block_stats {
	uint64_t reads, writes, flushes, read_bytes, write_bytes, errors;
	uint64_t discards, discard_bytes;                                      /* also of zeros */
	uint64_t failed_reads, failed_writes, failed_flushes, failed_discards; /* parts of errors */
	uint64_t write_highest; /* end of the farthest write */
	unsigned in_flight;
};
void block_get_stats(const struct block_node *node, struct block_stats *out);

/*
 * Several loops on one disk: a node that keeps no metadata (raw on a file or a device) can have
 * clones that belong to other loops and share its descriptor and locks; each serves requests as if
 * it were the node. Flushing one makes durable what completed on any, and a failed flush fails all
 * later ones.
 *
 * block_share() comes first, on the node's own loop; false: it cannot have clones (it has metadata,
 * or takes blocks larger than a guest's sector of 512 bytes, so that a write may be a
 * read-modify-write). block_clone_on_loop() makes one for the calling coroutine's loop, where
 * block_unref() ends it. The node outlives its clones, and while there are any its length does not
 * change: to resize it, end them and make new ones.
 */
bool block_share(struct block_node *node);
co_fn struct block_node *block_clone_on_loop(struct block_node *node);
