/*
 * The .disc container (reference/formats.md 3.16): planes of data, and the state in a trailer with
 * two slots and their journals. Every commit is atomic at any power cut; opening does not scan.
 *
 * The store keeps what it committed last and journals only the rows that changed. It knows layout,
 * not media rules.
 */
#pragma once

#include "block/block.h"
#include "disc/state.h"

struct disc_store;

enum disc_plane { PLANE_USER, PLANE_RAW, PLANE_SUB, PLANE_KIND };

enum { /* of one CD sector, in PLANE_KIND */
       KIND_UNRECORDED = 0,
       KIND_MODE1 = 1, /* user data in PLANE_USER, the rest regenerated */
       KIND_FORM1 = 2,
       KIND_RAW = 3,
       KIND_MASK = 0x0f,
       KIND_ALSO_USER = 0x40,
       KIND_HAS_SUB = 0x80,
};

enum disc_store_flags {
	STORE_RDWR = 1,
	STORE_PREALLOCATE = 2, /* create only */
	STORE_NO_LOCK = 4,     /* look at it while somebody else has it; read-only */
};

/*
 * Writes a new container for state (max_blocks, family by profile) to path, which must not exist;
 * nothing is left behind on failure. state is only read.
 */
co_fn bool disc_store_create(const char *path, const struct disc_state *state, unsigned flags,
			     GError **error);
/* The same onto an already open empty node (tests). */
co_fn bool disc_store_format(struct block_node *file, const struct disc_state *state,
			     unsigned flags, GError **error);

/* Whether the file's tail says that it is one (false also when it cannot be read). For probing. */
co_fn bool disc_store_probe(struct block_node *file);
/*
 * Opens it; *state gets what was committed last, with each open track's nwa brought up to what the
 * progress line of this boot says. The node is taken (also on failure). Refuses, without changing a
 * byte, what is truncated, foreign, newer or corrupted, saying which and where.
 */
co_fn struct disc_store *disc_store_open(struct block_node *file, unsigned flags,
					 struct disc_state **state, GError **error);
/* Checkpoints if writable (without a checkpoint when abandon is true: as a crash would leave it)
 * and closes. */
co_fn void disc_store_close(struct disc_store *s, bool abandon);

/*
 * Makes state the disc's state, atomically and durably; flushes data first when visible says that
 * rows make data visible. 0 or -errno; after an error the file holds the old state or, only if a
 * flush failed, either.
 */
co_fn int disc_store_commit(struct disc_store *s, const struct disc_state *state, bool visible);
/* Lazy: tracks' nwa for a process that dies; a store to shared memory, no system call. */
void disc_store_progress(struct disc_store *s, const struct disc_state *state);

co_fn int disc_store_read(struct disc_store *s, enum disc_plane plane, int32_t lba,
			  uint32_t sectors, const struct iovs *iov);
co_fn int disc_store_write(struct disc_store *s, enum disc_plane plane, int32_t lba,
			   uint32_t sectors, const struct iovs *iov);
/* Zeros over a range of a plane, giving space back where the file system can. */
co_fn int disc_store_punch(struct disc_store *s, enum disc_plane plane, int32_t lba,
			   uint32_t sectors);
co_fn int disc_store_flush(struct disc_store *s);
bool disc_store_has_plane(const struct disc_store *s, enum disc_plane plane);
bool disc_store_is_writable(const struct disc_store *s);
struct block_node *disc_store_node(const struct disc_store *s);

/* Identity and housekeeping for "disc info". */
struct disc_store_info {
	uint8_t uuid[16];
	char generator[65];
	uint64_t created_ns;
	uint64_t file_len, metadata_off;
	uint64_t generation;
	unsigned journal_used, journal_blocks;
	bool recovered; /* a journal was replayed or a progress line was ahead */
	bool damaged;   /* read-only: its newest state is unreadable, this is an older one */
};
void disc_store_get_info(const struct disc_store *s, struct disc_store_info *out);

/* History ring: time, event, LBA, length; kept for "disc info --history". */
enum disc_event {
	EVENT_CREATED = 1,
	EVENT_TRACK_CLOSED,
	EVENT_SESSION_CLOSED,
	EVENT_FINALISED,
	EVENT_FORMATTED,
	EVENT_BLANKED,
	EVENT_RESERVED,
	EVENT_RECOVERED
};
struct disc_history {
	uint64_t time_ns;
	uint32_t event;
	int32_t lba;
	uint64_t blocks;
};
co_fn int disc_store_add_history(struct disc_store *s, const struct disc_history *h);
/* Newest last; g_free() it. */
co_fn struct disc_history *disc_store_read_history(struct disc_store *s, unsigned *n);

/* Bytes of the file that hold sectors of a plane, for a pending punch; false: outside the plane. */
bool disc_store_plane_range(const struct disc_store *s, enum disc_plane plane, int32_t lba,
			    uint32_t sectors, struct disc_punch *range);
/* For tests: disc_store_open() with this boot id instead of the machine's. All zero: no progress
 * lines. */
co_fn struct disc_store *disc_store_open_boot(struct block_node *file, unsigned flags,
					      const uint8_t boot_id[16], struct disc_state **state,
					      GError **error);
