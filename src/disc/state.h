/*
 * What is recorded about a disc, apart from its data: the rows that the .disc file keeps
 * (reference/formats.md 3.16) and that the medium model works on. Plain memory: no I/O, no rules.
 *
 * Addresses are LBAs, signed on CD (the program area begins at 0, the first pregap at -150). Arrays
 * hold sessions and tracks in order; number n is at index n - 1.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

enum disc_status_code {
	DISC_BLANK = 0,
	DISC_APPENDABLE = 1,
	DISC_COMPLETE = 2,
	DISC_OTHER = 3
}; /* 51h byte 2 1:0 */
enum disc_session_state {
	SESSION_EMPTY = 0,
	SESSION_INCOMPLETE = 1,
	SESSION_COMPLETE = 3
}; /* 51h byte 2 3:2 */
enum disc_format_state {
	FORMAT_NONE = 0,
	FORMAT_STOPPED = 1,
	FORMAT_RUNNING = 2,
	FORMAT_COMPLETE = 3
};

enum disc_track_flags {
	TRACK_RESERVED = 1, /* by RESERVE TRACK */
	TRACK_BLANK = 2,    /* nothing written yet */
	TRACK_OPEN = 4,     /* has a next writable address */
	TRACK_PACKET = 8,   /* incremental */
	TRACK_FIXED = 16,   /* fixed packet */
	TRACK_DAMAGED = 32,
	TRACK_COPY = 64,
	TRACK_RAW = 128, /* written in raw mode */
	TRACK_DAO = 256, /* disc at once: nothing may follow in this session */
};

struct disc_track {
	uint16_t number, session;
	uint8_t control;   /* Q CONTROL nibble: 4 data */
	uint8_t data_mode; /* 1, 2, or 0x0f: not known yet */
	uint8_t form;      /* data block type it is written with (mode page 05h): 8 is mode 1 */
	uint32_t flags;    /* enum disc_track_flags */
	int32_t start;
	uint32_t size; /* blocks recorded or reserved, run-out included; grows with nwa on an open
			  one */
	int32_t nwa;   /* with TRACK_OPEN */
	int32_t last_recorded; /* start - 1 when nothing is */
	uint32_t packet_size;
	uint32_t pregap;  /* blocks before start that belong to it */
	uint32_t run_out; /* blocks at its end that the host did not write */
	char isrc[12];
};

struct disc_session {
	uint16_t number;
	uint8_t state;                    /* enum disc_session_state */
	uint8_t toc_type;                 /* A0 PSEC: 00 CD-DA/ROM, 10 CD-I, 20 XA */
	uint16_t first_track, last_track; /* 0 while it has none */
	int32_t lead_in, start,
		lead_out;  /* lead_out: first block after the last track, valid when complete */
	int32_t next_area; /* where the next session's program area may begin; 0: no next session */
	char mcn[13];
	uint8_t flags; /* 1: MCN valid */
};

/* A variable-size piece of the disc: CD-TEXT of a session, a disc structure, a cue sheet in
 * progress. */
struct disc_blob {
	uint32_t type; /* section type of the container: 5, 6, 7, 8, 9, 11 ... */
	uint32_t key;  /* which one within its type */
	uint32_t len;
	uint8_t *data; /* g_malloc'ed */
};

struct disc_state {
	uint16_t profile;        /* now */
	uint16_t born_profile;   /* as sold: 13h and 14h change into each other */
	uint8_t status;          /* enum disc_status_code */
	uint8_t format_state;    /* background format */
	uint8_t write_protected; /* 1 persistent (PWP), 2 cartridge */
	uint8_t layers;
	uint8_t intermediate; /* 13h: formatted, session not closed */
	uint8_t pow;          /* BD-R: formatted SRM+POW */
	uint8_t formatted;    /* BD: has been formatted */
	uint8_t disc_type;    /* 51h byte 8 */
	uint32_t max_blocks;  /* raw capacity, fixed at creation */
	uint32_t capacity;    /* formatted (or raw where nothing is formatted) */
	uint32_t spare_clusters;
	uint32_t layer_break;
	int32_t lead_in_start; /* CD: ATIP lead-in */
	int32_t last_lead_out; /* CD: last possible lead-out start */
	uint8_t atip[28];      /* CD */
	char media_id[16];     /* manufacturer and media type, e.g. "OUTBOARD" "D01" */
	uint32_t grow_limit;   /* 13h: end of what quick grow allows */
	uint32_t pow_replacements, pow_map_entries, pow_updates;
	uint32_t erase_count, format_count;
	uint8_t serial[16];
	GArray *sessions; /* struct disc_session */
	GArray *tracks;   /* struct disc_track */
	GArray *blobs;    /* struct disc_blob */
	GArray *punches;  /* struct disc_punch: ranges that must read as nothing before use */
};

struct disc_punch {
	uint32_t plane;
	uint32_t flags;
	uint64_t off, len; /* bytes in the file */
};

struct disc_state *disc_state_new(void);
void disc_state_free(struct disc_state *s);
struct disc_state *disc_state_copy(const struct disc_state *s);

static inline struct disc_track *state_track(const struct disc_state *s, unsigned number)
{
	return number >= 1 && number <= s->tracks->len
		       ? &g_array_index(s->tracks, struct disc_track, number - 1)
		       : NULL;
}

static inline struct disc_session *state_session(const struct disc_state *s, unsigned number)
{
	return number >= 1 && number <= s->sessions->len
		       ? &g_array_index(s->sessions, struct disc_session, number - 1)
		       : NULL;
}

const struct disc_blob *state_find_blob(const struct disc_state *s, uint32_t type, uint32_t key);
/* Replaces or adds (data is copied); len 0 removes. */
void state_put_blob(struct disc_state *s, uint32_t type, uint32_t key, const void *data,
		    uint32_t len);
