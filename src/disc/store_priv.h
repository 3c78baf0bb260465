/* Inside the .disc store: what its files share. Layouts: docs/disc-format.md. */
#pragma once

#include "base/crc32c.h"
#include "disc/store.h"
#include "disc/store_rows.h"

enum {
	STORE_MAJOR = 1,
	STORE_MINOR = 0,
	STORE_BLOCK = 4096, /* superblock, slot header, journal block */
	STORE_MAX_PLANES = 8,
	CD_BIAS = 45150, /* sectors before LBA 0 that a CD's planes have room for */
	META_LEN = 0x600000,
	META_PROGRESS = 0x10000,
	META_HISTORY = 0x20000,
	META_HISTORY_LEN = 0xe0000,
	META_SLOT = 0x100000,
	META_SLOT_LEN = 0x100000,
	META_JOURNAL_BLOCKS = 256,
	META_ALIGN = 0x100000,
	BOOT_ID_LEN = 16,
};

struct store_plane {
	uint32_t sector_len; /* 0: the disc has no such plane */
	uint64_t off, len;
	int32_t first; /* LBA of its first sector */
};

struct store_slot_place {
	uint64_t state_off, journal_off;
	uint32_t state_len, journal_blocks;
};

/* The superblock, decoded. */
struct store_super {
	uint16_t major, minor;
	uint64_t incompatible, ro_compatible, compatible;
	uint8_t uuid[16];
	uint64_t file_len, meta_off;
	uint32_t max_blocks;
	int32_t lowest;
	uint32_t family, profile, copy_seq;
	struct store_plane planes[PLANE_KIND + 1];
	struct store_slot_place slots[2];
	uint64_t progress_off, history_off, history_len;
	char generator[65];
	uint64_t created_ns;
};

/* store_super.c */
enum super_result { SUPER_OK, SUPER_FOREIGN, SUPER_DAMAGED, SUPER_REFUSED, SUPER_UNREADABLE };
void super_plan(struct store_super *super, const struct disc_state *state);
void super_encode(const struct store_super *super, uint8_t block[STORE_BLOCK]);
/* With REFUSED (intact, but of a newer version or impossible) and DAMAGED *error says what is
 * wrong. */
enum super_result super_decode(struct store_super *super, const uint8_t block[STORE_BLOCK],
			       GError **error);

/* store_find.c: finds the superblock of a file and takes the better copy. The message does not name
 * the file. */
struct super_found {
	struct store_super super;
	uint8_t block[STORE_BLOCK]; /* the copy that was taken, as it is */
	bool heal_a, heal_b;        /* the other copy is damaged or older */
};
co_fn bool super_find(struct block_node *node, struct super_found *found, GError **error);
co_fn int super_heal(struct block_node *node, const struct super_found *found);

/* A slot and its journal, as far as they are in use. */
struct slot {
	unsigned index;
	uint64_t generation, nonce, prev_nonce;
	uint32_t header_crc;
	unsigned journal_used;
	uint32_t last_crc; /* of the last journal block, or header_crc */
};

struct open_track { /* an open track as committed, for progress lines */
	unsigned number;
	int32_t committed, told;
};

enum { PROGRESS_LINE = 2048, PROGRESS_MAX = 249 };

struct disc_store {
	struct block_node *node;
	struct store_super super;
	bool writable, recovered, damaged;
	struct co_mutex committing;
	struct rows committed, scratch;
	GByteArray *stream, *blocks; /* of the transaction being written */
	uint32_t epoch;              /* progress lines of another one are stale */
	struct slot slot;
	uint64_t next_generation;
	bool must_checkpoint; /* one failed: the other slot may be valid, so this journal is over */
	GArray *pending; /* struct disc_punch that a read-only file still has: they read as zeros */

	uint8_t boot_id[BOOT_ID_LEN]; /* all zero: unknown, no progress lines */
	uint8_t *lines;               /* shared mapping, or NULL: written by a coroutine */
	uint64_t line_counter;
	struct open_track open_tracks[PROGRESS_MAX];
	unsigned n_open;
	bool line_wanted, line_writing;
	struct co_queue line_waiting;

	struct co_mutex history_lock;
	uint32_t history_seq; /* of the newest entry; valid when history_known */
	bool history_known;
};

/* store_slot.c */
uint64_t store_nonce(void);
uint64_t store_time_ns(void);
/* Reads both slots, takes the right one, replays its journal into s->committed; sets s->slot,
 * damaged, recovered. */
co_fn bool slots_load(struct disc_store *s, GError **error);
/* Writes rows into the slot that is not in use and goes over to it. fresh: no earlier progress line
 * counts any more. */
co_fn int slot_checkpoint(struct disc_store *s, const struct rows *rows, bool fresh);
static inline uint32_t slot_body_max(const struct disc_store *s)
{
	return MIN(s->super.slots[0].state_len, s->super.slots[1].state_len) - STORE_BLOCK;
}

/* store_journal.c */
/* Whether the journal of a slot begins with a block of this generation, or (nonce 0) any above it.
 */
co_fn int journal_begins(struct disc_store *s, unsigned index, uint64_t generation, uint64_t nonce,
			 bool *begins);
co_fn bool journal_replay(struct disc_store *s, GError **error);
bool journal_has_room(const struct disc_store *s, size_t stream_len);
co_fn int journal_append(struct disc_store *s, const GByteArray *stream);

/* store_progress.c */
void progress_read_boot_id(uint8_t boot_id[BOOT_ID_LEN]);
/* Applies the newest line of this boot to state. */
co_fn bool progress_load(struct disc_store *s, struct disc_state *state, GError **error);
void progress_map(struct disc_store *s);
/* Whether state opens a track or takes one back, which lines so far must not speak for (then the
 * epoch must change). */
bool progress_breaks(const struct disc_store *s, const struct disc_state *state);
/* After a commit or checkpoint: which tracks are open now; writes a line that fits the slot if one
 * is needed. */
void progress_follow(struct disc_store *s, const struct disc_state *state, bool new_epoch);
void progress_renew(struct disc_store *s);
co_fn void progress_wait(struct disc_store *s);

/* store_open.c: whether state can belong to this file. */
bool store_check_state(const struct disc_store *s, const struct disc_state *state, GError **error);
