/*
 * The rows of a .disc file: what the state is made of in a slot's body and in the journal
 * (docs/disc-format.md). Pure: no I/O.
 *
 * A row is known by (type, key). A set of rows is ordered by that and has no two with the same. On
 * the file a row is u32 type, u32 length, data padded to 8 with zeros; all numbers little-endian.
 */
#pragma once

#include "disc/state.h"

enum row_type {
	ROW_DISC = 1,       /* key 0 */
	ROW_SESSION = 2,    /* key: u16 number, the first field */
	ROW_TRACK = 3,      /* the same */
	ROW_BLOB_FIRST = 4, /* 4 to 11 and 13: struct disc_blob; data begins with u32 key */
	ROW_PUNCH = 12,     /* key: u32, the first field */
	ROW_CUE = 13,
	ROW_REMOVE = 15, /* u32 type, u32 first key, u32 last key, u32 0: these rows are gone;
			    journal only */
	ROW_IGNORABLE = 1u << 31, /* a flag of the type: whoever does not know it keeps it; begins
				     with u32 key */
};

enum {
	ROW_HEAD_LEN = 8,
	ROW_DISC_LEN = 256,
	ROW_SESSION_LEN = 64,
	ROW_TRACK_LEN = 64,
	ROW_PUNCH_LEN = 32,
	ROW_REMOVE_LEN = 16,
	ROW_KEY_LEN = 4, /* of blobs */
};

struct row {
	uint32_t type, key, len;
	size_t pos; /* of the data in bytes */
};

struct rows {
	GArray *list; /* struct row */
	GByteArray *bytes;
};

static inline bool row_is_blob(uint32_t type)
{
	return (type >= ROW_BLOB_FIRST && type < ROW_PUNCH) || type == ROW_CUE;
}

void rows_init(struct rows *r);
void rows_fini(struct rows *r);
void rows_swap(struct rows *a, struct rows *b);

/*
 * The rows of state, and from kept (may be NULL) those that only a newer program knows. epoch is
 * the store's own, in the DISC row. Replaces what was in r.
 */
void rows_from_state(struct rows *r, const struct disc_state *state, uint32_t epoch,
		     const struct rows *kept);
/* The state that they make; NULL where they do not make one. */
struct disc_state *rows_to_state(const struct rows *r, uint32_t *epoch, GError **error);
/* Numbering and sizes: whether rows_to_state() would take the state back. */
bool rows_check_state(const struct disc_state *state, GError **error);

/* Data of one row, or NULL; valid until the set changes. */
const uint8_t *rows_find(const struct rows *r, uint32_t type, uint32_t key);
/* A track's row read back; false: there is none. */
bool rows_get_track(const struct rows *r, unsigned number, struct disc_track *out);

size_t rows_encoded_len(const struct rows *r);
/* All of r as a byte stream, appended to out. */
void rows_encode(const struct rows *r, GByteArray *out);
/*
 * What turns the rows of old into those of new, as a byte stream appended to out. Returns whether
 * tracks are among what changed.
 */
bool rows_diff(const struct rows *old, const struct rows *new, GByteArray *out);
/* Does a byte stream to r: adds, replaces, removes. The message names the row and its offset in the
 * stream. */
bool rows_apply(struct rows *r, const uint8_t *stream, size_t len, GError **error);
