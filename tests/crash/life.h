/*
 * The life of a disc for crash tests: random but repeatable operations on the real store, over a
 * log of every write, with a note of what must hold at each moment.
 */
#pragma once

#include "tests/unit/disc/store/store_fixture.h"

#include "block/blklog.h"

enum { LIFE_BLOCKS = 600, LIFE_TRACKS = 4 };

/* A state that was committed, as it looks without what a crash may add to it. */
struct version {
	GByteArray *exact;        /* its rows, pending punches left out */
	GByteArray *floating;     /* the same without the next writable addresses of open tracks */
	int32_t nwa[LIFE_TRACKS]; /* of open tracks; else -1 */
	uint32_t salt[LIFE_BLOCKS]; /* what each recorded block holds; 0: nothing is promised */
	bool wiped;                 /* punches pending: all of the user plane reads as zeros */
};

/* What was true when an entry of the log was written. Marks in the log are numbers of moments. */
struct moment {
	unsigned acked, issued; /* versions */
	int32_t told[LIFE_TRACKS],
		telling[LIFE_TRACKS]; /* progress: acknowledged, and perhaps under way */
	uint32_t salt[LIFE_BLOCKS];
};

struct life {
	GRand *rand;
	struct block_node *log;
	struct disc_store *store;
	struct disc_state *state;
	struct moment now;
	uint32_t next_salt;
	uint8_t boot_id[16];
	GPtrArray *versions;     /* struct version */
	GPtrArray *moments;      /* struct moment */
	unsigned format_entries; /* of the log, before the disc was complete */
};

co_fn struct life *life_new(uint32_t seed);
/* One operation. */
co_fn void life_step(struct life *life);
/* As many small commits as a journal takes and more. */
co_fn void life_overflow(struct life *life);
/* Closes the store; the log stays. */
co_fn void life_end(struct life *life);
co_fn void life_free(struct life *life);

/* state as a version has it; g_byte_array_unref() it. floating: without next writable addresses. */
GByteArray *life_rows(const struct disc_state *state, bool floating);
