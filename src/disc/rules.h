/*
 * Inside the medium model: struct disc, the rules of a medium, and what the files of this folder
 * share.
 *
 * A change of state is made on a copy, committed atomically, and only then becomes the disc's
 * state; so an operation that fails, or a power cut inside it, leaves what was there before. Only
 * the next writable address of an open track moves without a commit (progress line), which a row
 * already in the file names.
 */
#pragma once

#include "base/log.h"
#include "disc/cue.h"
#include "disc/disc.h"
#include "disc/store.h"

enum {
	BLOCK_LEN = 2048,
	MULTI_LAST_POINTER = 1,
	MULTI_NEXT = 3,          /* disc_write_params.multisession; 3: another session may follow */
	COMMIT_BYTES = 64 << 20, /* background commit after so much writing, */
	COMMIT_PAUSE_NS = 1000000000, /* but not more often: a fast disk gains nothing by it */
	BOUNCE_BLOCKS = 32,
	BLOB_CUE = 13, /* disc_blob.type: the cue sheet of a session being written at once */
	SESSION_HAS_MCN = 1,
	SESSION_LAST_POINTER = 2, /* disc_session.flags; 2: pointer to a next area that is not */
	CD_LINK_GAP = 150,
	CD_MIN_TRACK = 300,
	CD_RUN_OUT = 2,
};

enum { WRITE_INCREMENTAL, WRITE_TAO, WRITE_SAO, WRITE_RAW };  /* disc_write_params.write_type */
enum { BLOCK_RAW = 0, BLOCK_MODE1 = 8, BLOCK_XA_FORM1 = 10 }; /* .block_type, disc_track.form */

/* Whether track at once takes such blocks on a CD. */
static inline bool cd_is_data_form(uint8_t form)
{
	return form == BLOCK_MODE1 || form == BLOCK_XA_FORM1;
}

struct disc {
	char *name; /* the file */
	const struct disc_rules *rules;
	const struct disc_profile *profile;
	struct disc_state
		*state; /* as the host sees it: while a test write runs, what it pretends */
	struct disc_state *real;  /* a test write runs: what is really there; else NULL */
	struct disc_store *store; /* or, for a plain image: */
	struct block_node *image;
	uint64_t image_len;
	bool writable; /* the file is */
	struct disc_write_params params;
	struct disc_error error;
	uint64_t uncommitted;           /* bytes written since the last commit or flush */
	bool moved;                     /* a next writable address moved since the last commit */
	bool committing, commit_failed; /* a background commit runs; the last one failed */
	uint64_t commit_begun_ns;       /* the last one that began */
	struct co_queue commit_waiting;
	struct cue_sheet *cue; /* SEND CUE SHEET was accepted and its session is not closed */
	uint8_t *bounce; /* BOUNCE_BLOCKS raw sectors, for writes only; allocated when first needed
			  */
};

/* One row for each kind of medium that works; an operation left out is DISC_INCOMPATIBLE. */
struct disc_rules {
	uint16_t profile;
	/* Sequential recording (disc_seq.c). */
	uint8_t align; /* blocks: next writable addresses are rounded up to it by sync and close */
	uint8_t control; /* of a track that is open */
	uint8_t closed_control;
	uint8_t blank_mode;   /* data mode of a track not yet written */
	uint16_t packet_size; /* in track information */
	uint16_t min_track,
		run_out; /* CD: blocks that a track has at least; and behind what the host wrote */
	uint16_t track_gap; /* blocks between a track and the next of its session */
	uint16_t max_open;  /* open tracks, the invisible one included */
	uint16_t max_session_tracks, max_tracks;
	uint32_t first_session_gap,
		session_gap; /* from the end of a session to where the next begins */
	bool can_test;       /* test write */

	co_fn enum disc_status (*write)(struct disc *d, int32_t lba, uint32_t blocks,
					const struct iovs *iov, bool replay);
	co_fn enum disc_status (*sync)(struct disc *d);
	co_fn enum disc_status (*reserve_track)(struct disc *d, uint32_t blocks);
	co_fn enum disc_status (*close_track)(struct disc *d, unsigned number);
	co_fn enum disc_status (*close_session)(struct disc *d);
	co_fn enum disc_status (*finalise)(struct disc *d);
	co_fn enum disc_status (*send_cue_sheet)(struct disc *d, const uint8_t *cue, size_t len);
	co_fn enum disc_status (*blank)(struct disc *d, unsigned type);
	co_fn enum disc_status (*format)(struct disc *d, const struct disc_format *f);
	/* Sequential media: whether the parameters allow to write now; and what a new track gets.
	 */
	enum disc_status (*check_write)(const struct disc *d);
	void (*begin_track)(const struct disc *d, struct disc_track *t);
	/* Queries; without one the sequential answer is given. */
	uint32_t (*last_lba)(const struct disc *d);
	enum disc_status (*track_info)(const struct disc *d, unsigned number,
				       struct disc_track_info *out);
	unsigned (*capacities)(const struct disc *d, struct disc_capacity *out, unsigned max);
	uint32_t (*block_bytes)(const struct disc *d, int32_t lba, uint32_t blocks,
				enum disc_status *status);
};

extern const struct disc_rules disc_rules_rom, disc_rules_cd_r, disc_rules_dvd_r, disc_rules_dvd_rw,
	disc_rules_dvd_rw_ro, disc_rules_plus_r, disc_rules_plus_r_dl, disc_rules_bd_r;
const struct disc_rules *disc_rules_find(uint16_t profile); /* NULL: not yet */

/* disc_open.c: for tests, on a store that is open; store and state are taken, also on failure. */
co_fn struct disc *disc_open_with_store(struct disc_store *store, struct disc_state *state,
					GError **error);
/* disc_create.c: what a blank disc of a type starts with. */
struct disc_state *disc_blank_state(const struct disc_type *type, uint32_t blocks);

/* disc_check.c: whether rows from a file make sense together, so that nothing below needs to look
 * again. */
bool disc_check_state(const struct disc_state *s, GError **error);
/* Brings what follows from the next writable address of an open track (size, last recorded, blank)
 * up to it. */
void disc_settle_track(struct disc_track *t);

/* disc_change.c */
static inline enum disc_status disc_fail_at(struct disc *d, enum disc_status status, int32_t lba)
{
	d->error = (struct disc_error){.lba_valid = true, .lba = lba};
	return status;
}
static inline enum disc_status disc_bad_byte(struct disc *d, uint32_t byte)
{
	d->error.byte = byte;
	return DISC_BAD_PARAMETER;
}
enum disc_status disc_fail_io(struct disc *d, enum disc_status status, int res);
/* A copy to edit; then disc_apply() takes it, whatever the outcome. visible: it makes written data
 * visible. */
struct disc_state *disc_change(const struct disc *d);
co_fn enum disc_status disc_apply(struct disc *d, struct disc_state *next, bool visible);
/* disc_apply() of a state in which the blocks of the whole user plane are gone; makes them so. */
co_fn enum disc_status disc_apply_wiped(struct disc *d, struct disc_state *next);
co_fn enum disc_status disc_finish_punches(struct disc *d);
co_fn void disc_add_history(struct disc *d, enum disc_event event, int32_t lba, uint64_t blocks);
/* After the next writable address of track t moved in d->state. */
void disc_advance(struct disc *d, struct disc_track *t, int32_t nwa, uint64_t bytes);
/* What every write of data does first: pending punches, and the background commit when it is time
 * for one. */
co_fn enum disc_status disc_before_write(struct disc *d);
/* Until the background commit, if one runs, is over. */
co_fn void disc_await_commit(struct disc *d);
void disc_begin_test(struct disc *d); /* if the parameters ask for it and it has not begun */
void disc_end_test(struct disc *d);   /* also if there is none */

/* disc_data.c: blocks to and from the file. */
/* Writes n user blocks that begin at byte off of iov (bytes each: 2048, or 2352 raw whose user data
 * counts). */
co_fn enum disc_status disc_put_blocks(struct disc *d, int32_t lba, uint32_t n,
				       const struct iovs *iov, size_t off, unsigned bytes);
/* DISC_NOT_NWA (at nwa) unless the n recorded blocks at lba are those at byte off of iov. */
co_fn enum disc_status disc_compare_blocks(struct disc *d, int32_t lba, uint32_t n,
					   const struct iovs *iov, size_t off, unsigned bytes,
					   int32_t nwa);
co_fn enum disc_status disc_put_zeros(struct disc *d, int32_t lba, int32_t end);

enum extent_kind { EXTENT_NONE, EXTENT_DATA, EXTENT_ZERO };
struct extent {
	enum extent_kind kind;
	int32_t end;                    /* the same up to here */
	const struct disc_track *track; /* NULL with EXTENT_NONE */
};
/* What a read at lba finds. Never EXTENT_DATA where nothing was recorded. */
struct extent disc_find_extent(const struct disc_state *s, int32_t lba);
int32_t disc_readable_end(const struct disc_state *s);

/* disc_seq.c: sequential recording, common to CD-R, DVD-R, DVD+R and BD-R. */
struct disc_session *seq_session(const struct disc_state *s); /* the last one */
/* The open track that takes the rest of the disc (the invisible track once it was begun), or NULL.
 */
struct disc_track *seq_open_track(const struct disc_state *s);
int32_t seq_limit(const struct disc *d);      /* first block that user data cannot have */
int32_t seq_next_start(const struct disc *d); /* of a track that is not begun yet */
bool seq_has_invisible(const struct disc *d);
unsigned seq_invisible_number(const struct disc *d); /* 0: there is none */
/* Appends a row to state and its last session; the caller completes it. */
struct disc_track *seq_add_track(const struct disc *d, struct disc_state *next, int32_t start);
co_fn enum disc_status seq_write(struct disc *d, int32_t lba, uint32_t blocks,
				 const struct iovs *iov, bool replay);
co_fn enum disc_status seq_sync(struct disc *d);
co_fn enum disc_status seq_reserve(struct disc *d, uint32_t blocks);
co_fn enum disc_status seq_close_track(struct disc *d, unsigned number);
/* next_allowed: whether another session may follow (if there is room). */
co_fn enum disc_status seq_close_session(struct disc *d, bool next_allowed);
co_fn enum disc_status seq_close_appendable(struct disc *d);
co_fn enum disc_status seq_finalise(struct disc *d);
/* Ends open track number in next: pads, completes the row. */
co_fn enum disc_status seq_end_track(struct disc *d, struct disc_state *next, unsigned number);
/* Completes the last session of next and opens another or completes the disc. */
void seq_end_session(const struct disc *d, struct disc_state *next, bool next_allowed);
void seq_blank_state(const struct disc *d, struct disc_state *next);
uint32_t seq_last_lba(const struct disc *d);
enum disc_status seq_track_info(const struct disc *d, unsigned number, struct disc_track_info *out);
unsigned seq_capacities(const struct disc *d, struct disc_capacity *out, unsigned max);

/* disc_rw_ro.c */
co_fn enum disc_status rw_ro_format(struct disc *d, const struct disc_format *f);
unsigned rw_ro_formats(const struct disc *d, struct disc_capacity *out, unsigned n, unsigned max);
uint32_t rw_ro_full_blocks(const struct disc_state *s);
/* disc_dvd.c */
co_fn enum disc_status dvd_rw_blank(struct disc *d, unsigned type);
static inline void forget_cue(struct disc *d)
{
	g_free(d->cue);
	d->cue = NULL;
}
/* disc_cd_sao.c: the cue sheet that a state read from a file carries. */
bool cd_restore_cue(struct disc *d, GError **error);

static inline int32_t align_up(int32_t lba, unsigned align)
{
	return (int32_t)(((int64_t)lba + align - 1) / align * align);
}
