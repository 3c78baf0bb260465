/*
 * The medium: what is stored and by which rules it may be read, written, closed, blanked and
 * formatted (reference/mmc.md section 5). No commands, no drive: a disc moves between drives with
 * its state.
 *
 * A disc belongs to one loop. Operations are co_fn and return an enum disc_status; anything but
 * DISC_OK left the disc as it was. Callers see to it that state-changing operations run one at a
 * time, and no read during one (the drive's rwlock does).
 */
#pragma once

#include "block/block.h"
#include "disc/profile.h"
#include "disc/state.h"

struct disc;

enum disc_status { /* results; the command set translates them in one table */
		   DISC_OK,
		   DISC_RANGE,        /* address beyond what is readable or writable */
		   DISC_NOT_NWA,      /* sequential medium: not the next writable address; see
					 disc_error.lba */
		   DISC_END_OF_TRACK, /* runs over the end of a track or the medium */
		   DISC_WRONG_MODE,   /* block type or write type does not fit the track */
		   DISC_ROM,          /* cannot be written at all */
		   DISC_FINALISED,    /* write-once and complete */
		   DISC_PROTECTED,    /* persistent write protection, or the file is read-only */
		   DISC_SEQUENCE, /* not now: cue sheet missing, incomplete track before it ... */
		   DISC_INCOMPATIBLE,  /* this medium has no such operation */
		   DISC_BAD_PARAMETER, /* format descriptor, cue sheet or size not acceptable */
		   DISC_NOT_FORMATTED,
		   DISC_INCOMPLETE_TRACK, /* close session: a track is in the way */
		   DISC_RESERVED_EMPTY,   /* close session: a reserved track is empty or partly
					     written */
		   DISC_NO_MORE_TRACKS,
		   DISC_UNRECORDED, /* read of blocks that nobody wrote */
		   DISC_IO_READ,    /* the file below failed; disc_error.errnum says how */
		   DISC_IO_WRITE,
};

/* Details of the last operation that failed. */
struct disc_error {
	bool lba_valid;
	int32_t lba;   /* first failing block, or the right next address */
	int errnum;    /* positive errno of the file below, or 0 */
	uint32_t byte; /* DISC_BAD_PARAMETER: offset of the bad byte in the list */
};

/* What mode page 05h says, as far as the medium cares. Numbers as in the page. */
struct disc_write_params {
	uint8_t write_type;   /* 0 incremental, 1 TAO, 2 SAO/DAO, 3 RAW, 4 layer jump */
	uint8_t multisession; /* 3: another session may follow */
	uint8_t track_mode;   /* CONTROL nibble */
	uint8_t block_type;   /* 8: mode 1 ... */
	uint8_t session_format;
	bool test_write, bufe, fixed_packet;
	uint32_t packet_size;
};

enum { TRACK_INVISIBLE = 0xff };

/* READ TRACK INFORMATION as the medium sees it (write type matters on CD: mmc.md 5.3). */
struct disc_track_info {
	uint16_t number, session;
	uint8_t control, data_mode;
	bool reserved, blank, packet, fixed, damaged, copy;
	bool nwa_valid, lra_valid;
	int32_t start, nwa, last_recorded;
	uint32_t free_blocks, size, packet_size, read_compat;
};

enum disc_open_flags {
	DISC_OPEN_RDWR = 1,
	DISC_OPEN_NO_LOCK = 2, /* to look at one that is in use; read-only */
};

/*
 * A .disc file by its tail; anything else by content as a plain image of 2048-byte blocks (ISO
 * 9660, UDF, or any length), read-only, as CD-, DVD- or BD-ROM by size unless rom_profile says. A
 * name ending in ".disc" without a valid tail is an error. NULL on error.
 */
co_fn struct disc *disc_open(const char *path, unsigned flags, uint16_t rom_profile,
			     GError **error);
/* A new blank disc file; blocks 0: the type's own capacity. */
co_fn bool disc_create(const char *path, const struct disc_type *type, uint32_t blocks,
		       bool preallocate, GError **error);
/* Commits, closes. abandon: as a crash would leave it. */
co_fn void disc_close(struct disc *d, bool abandon);

const char *disc_name(const struct disc *d);
const struct disc_state *disc_get_state(const struct disc *d);
const struct disc_profile *disc_get_profile(const struct disc *d);
bool disc_is_writable(
	const struct disc *d); /* false: ROM, finalised, protected or read-only file */
const struct disc_error *disc_last_error(const struct disc *d);
struct disc_store *disc_get_store(const struct disc *d); /* NULL for a plain image */
struct block_node *disc_get_node(const struct disc *d);

/* Sets what later writes, track queries and closes go by. Set at insertion and by every MODE SELECT
 * of page 05h. */
void disc_set_write_params(struct disc *d, const struct disc_write_params *p);
/* Whether this medium takes such a page (mmc.md, page 05h rules). */
bool disc_accepts_write_params(const struct disc *d, const struct disc_write_params *p);

uint32_t disc_last_lba(const struct disc *d); /* READ CAPACITY */
/* Tracks as the drive numbers them, the invisible one included; both 1 on a blank disc. */
unsigned disc_first_track_of_last_session(const struct disc *d);
unsigned disc_last_track(const struct disc *d);
unsigned disc_sessions(
	const struct disc *d); /* the empty one that can be recorded next is counted */
enum disc_session_state disc_last_session_state(const struct disc *d);
/* DISC_RANGE when there is no such track. number may be TRACK_INVISIBLE. */
enum disc_status disc_get_track_info(const struct disc *d, unsigned number,
				     struct disc_track_info *out);
unsigned disc_track_at(const struct disc *d,
		       int32_t lba); /* number; the invisible one for free space; 0: none */

/* 2048-byte user data. iov holds blocks * 2048 bytes and is borrowed. */
co_fn enum disc_status disc_read(struct disc *d, int32_t lba, uint32_t blocks,
				 const struct iovs *iov);
/*
 * Bytes that the host sends for each of these blocks when written at lba under the present
 * parameters and cue sheet (2048, 2352, 96 ...); the range must not mix sizes. 0 with *status set
 * when it cannot be written there.
 */
uint32_t disc_block_bytes(const struct disc *d, int32_t lba, uint32_t blocks,
			  enum disc_status *status);
/*
 * replay: a command that may have been executed before the daemon was restarted; blocks that this
 * very write already recorded are compared and accepted instead of refused (only the part behind
 * the next writable address is written).
 */
co_fn enum disc_status disc_write(struct disc *d, int32_t lba, uint32_t blocks,
				  const struct iovs *iov, bool replay);
/* Everything written so far is durable; ends what the mode ends with it (CD track, SAO session, DAO
 * disc). */
co_fn enum disc_status disc_sync(struct disc *d);
/* Durable, without ending anything: what an eject does. */
co_fn enum disc_status disc_flush(struct disc *d);
/*
 * Begins the same behind the operations that follow, which need not wait for it; no state-changing
 * operation may be running. If it fails, the next write or flush says so. False: one that began
 * earlier has not ended, ask again.
 */
bool disc_flush_aside(struct disc *d);

co_fn enum disc_status disc_reserve_track(struct disc *d, uint32_t blocks);
co_fn enum disc_status disc_close_track(struct disc *d, unsigned number);
/* Another session may follow when the medium or the write parameters say so. */
co_fn enum disc_status disc_close_session(struct disc *d);
co_fn enum disc_status disc_finalise(struct disc *d);
/* The 8-byte entries of SEND CUE SHEET. */
co_fn enum disc_status disc_send_cue_sheet(struct disc *d, const uint8_t *cue, size_t len);
co_fn enum disc_status disc_blank(struct disc *d, unsigned type); /* BLANK types 0 and 1 */
/* One 8-byte format descriptor of FORMAT UNIT, with the CDB-level flags that matter. */
struct disc_format {
	uint32_t blocks;
	uint8_t type, subtype;
	uint32_t parameter;
	bool full; /* certification or zeroing wanted */
};
co_fn enum disc_status disc_format(struct disc *d, const struct disc_format *f);
/* Formats on offer (READ FORMAT CAPACITIES), the current descriptor first; returns how many (at
 * most max). */
struct disc_capacity {
	uint32_t blocks, parameter;
	uint8_t type;
	bool current;
};
unsigned disc_list_capacities(const struct disc *d, struct disc_capacity *out, unsigned max);

/* READ CD: what a sector of a CD is, and all of it as 2352 bytes (regenerated where it is
 * canonical). */
struct disc_sector {
	uint8_t mode, form;
	bool audio, recorded;
	uint8_t control;
	unsigned track;
};
co_fn enum disc_status disc_read_raw(struct disc *d, int32_t lba, uint8_t sector[2352],
				     struct disc_sector *what);
