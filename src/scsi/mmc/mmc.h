/*
 * Inside the MMC unit: the drive, what its command files share, and every handler of the command
 * table (rows.c).
 *
 * Handlers run with the unit's order lock held, shared or alone as their row says, and (ROW_MEDIUM)
 * with a disc that is loaded and stays loaded until they return. ROW_BUSY_OK handlers hold no lock:
 * they must not yield while they look at the disc, and must expect that there is none.
 */
#pragma once

#include "base/log.h"
#include "scsi/drive.h"
#include "scsi/table.h"
#include "scsi/mmc/cdb.h"
#include "scsi/mmc/drive_state.h"

/* ---- long operations (longop.c) ---- */

/* clang-format off */
enum long_op_kind {
	LONG_NONE,
	LONG_SYNC,
	LONG_CLOSE,
	LONG_FORMAT,
	LONG_BLANK,
	LONG_EJECT,
	LONG_KINDS
};
/* clang-format on */

enum { LONG_ARG_MAX = 64, FLUSH_AFTER_SECONDS = 5 };

struct long_op {
	enum long_op_kind kind; /* LONG_NONE: nothing runs in the background */
	uint16_t progress;
	bool resumed;             /* done again after a restart of the daemon */
	struct scsi_nexus *nexus; /* who started it and gets its error; NULL: gone */
};

/*
 * What a long operation does; arg as given to mmc_long_op(), a plain struct without pointers (it
 * survives a restart in the state file). With c a foreground command is running (for details of its
 * error), without it is the background.
 */
typedef enum sense mmc_long_run(struct drive *d, const void *arg, struct scsi_cmd *c); /* co_fn */

/*
 * Ends a command whose work may take long: without immed runs it and returns its result; with immed
 * returns SENSE_GOOD at once and runs it in the background, alone (order lock), while the unit
 * answers 2/04/xx.
 */
co_fn enum sense mmc_long_op(struct scsi_cmd *c, bool immed, enum long_op_kind kind,
			     const void *arg, size_t len);
const char *long_op_name(const struct drive *d);                     /* "closing" */
enum sense long_op_sense(const struct drive *d, struct scsi_cmd *c); /* 2/04/xx with progress */
void mmc_progress(struct drive *d, uint64_t done, uint64_t total);
/* Starts again what the state file says was running when the daemon died. */
void mmc_long_resume(struct drive *d);

/* Implemented with their commands (close.c, format.c, rw.c). */
co_fn enum sense mmc_run_sync(struct drive *d, const void *arg, struct scsi_cmd *c);
co_fn enum sense mmc_run_close(struct drive *d, const void *arg, struct scsi_cmd *c);
co_fn enum sense mmc_run_format(struct drive *d, const void *arg, struct scsi_cmd *c);
co_fn enum sense mmc_run_blank(struct drive *d, const void *arg, struct scsi_cmd *c);
co_fn enum sense mmc_run_eject(struct drive *d, const void *arg, struct scsi_cmd *c);

/* ---- the drive ---- */

struct drive {
	struct scsi_lu lu; /* first */
	char *id;
	char vendor[9], product[17], revision[5], serial[21];
	struct disc *disc;         /* in the drawer, also while the tray is open */
	struct drive_state *state; /* shared mapping of the state file, or plain memory */
	int state_fd;              /* -1: plain memory */
	struct long_op op;
	struct co_drain background; /* our own coroutines in flight: long operation, timed flush */
	struct loop_timer flush_timer;
	bool dirty;   /* written since the last flush */
	bool resumed; /* the state file held the state of an earlier process */
	uint64_t blocks_written, blocks_read; /* since the disc was inserted, for status */
	struct disc_write_params wp;          /* page 05h, decoded */
	struct log_limit limit;
};

static inline struct drive *lu_drive(struct scsi_lu *lu)
{
	return (struct drive *)lu;
}

static inline struct drive *cmd_drive(struct scsi_cmd *c)
{
	return (struct drive *)c->lu;
}

/* The loaded disc (tray closed), or NULL. Never NULL in a ROW_MEDIUM handler. */
static inline struct disc *loaded_disc(const struct drive *d)
{
	return d->state->tray_open ? NULL : d->disc;
}

static inline struct disc *cmd_disc(struct scsi_cmd *c)
{
	return loaded_disc(cmd_drive(c));
}

/* 2/3A/01 or 2/3A/02. */
enum sense drive_no_medium(const struct drive *d);
/* For handlers without ROW_MEDIUM that need one in some cases: SENSE_GOOD or why not. */
enum sense drive_need_medium(const struct drive *d);

/* Mode page 05h as the medium understands it. */
static inline const struct disc_write_params *drive_write_params(const struct drive *d)
{
	return &d->wp;
}

/* What the drive knows of an initiator; saved lies in the state file where there was room, else in
 * own. */
struct nexus_view {
	struct nexus_state *saved;
	struct nexus_state own;
};

static inline struct nexus_state *nexus_state(const struct scsi_nexus *nexus)
{
	return ((struct nexus_view *)nexus->unit_data)->saved;
}

/* The nexuses' side of the drive (drive_nexus.c). */
void drive_nexus_new(struct scsi_lu *lu, struct scsi_nexus *nexus, bool resumed);
void drive_nexus_changed(struct scsi_lu *lu, struct scsi_nexus *nexus);
void drive_nexus_gone(struct scsi_lu *lu, struct scsi_nexus *nexus);
/* The host took the disc out. Who does not look until the next one is in will be told that there
 * was none before it is told that there is another: some guests only believe that (ata.md 5.1). */
void drive_note_absence(struct drive *d);
void drive_tell_absence(struct drive *d);
const struct scsi_nexus *drive_locked_by(const struct drive *d); /* NULL: nobody */

/* The tray (load.c); both with the order lock held alone. Opening leaves the disc in the drawer. */
co_fn enum sense tray_open(struct drive *d, struct scsi_cmd *c);
void tray_close(struct drive *d);
/* A disc has become ready: pages, unit attention, events. */
void drive_medium_arrived(struct drive *d);

uint16_t drive_profile(const struct drive *d); /* of the loaded disc, else 0 */
/* FORMAT and BLANK: the profile or the features changed; one operational change event for every
 * nexus. */
void drive_profile_changed(struct drive *d);
/* The flush timer's business: data was written; everything is durable. */
void drive_note_written(struct drive *d);
static inline void drive_note_synced(struct drive *d)
{
	d->dirty = false;
}

/*
 * The one translation of the medium's results; fills c->detail from disc_last_error().
 * c is NULL in the background.
 */
enum sense mmc_from_disc(struct scsi_cmd *c, struct disc *disc, enum disc_status st);

/* Data that WRITE (2A, AA, 2E) moves according to its CDB and the medium; READ CD (BE, B9) likewise
 * (rw.c, read_cd.c). */
size_t mmc_write_length(struct drive *d, const uint8_t *cdb);
size_t mmc_read_cd_length(struct drive *d, const uint8_t *cdb);
size_t mmc_performance_length(const uint8_t *cdb);

/* ---- pages and speeds (mode_pages.c, write_page.c, capabilities.c, speed.c) ---- */

/* Page 05h to the defaults of the present medium's family, and the medium told: a disc came. */
void mode_reset_write_page(struct drive *d);
/* d->wp from the page, and the medium told. */
void mode_apply_write_page(struct drive *d);
bool mode_write_protected(const struct drive *d); /* page 1Dh SWPP */
void mode_clear_write_protect(struct drive *d);   /* it ends with the medium */
void mode_reset_pages(struct drive *d);           /* all to their defaults */
/* Page 2Ah, computed; returns its length. */
enum { CAPABILITIES_MAX = 128 };
unsigned mode_fill_capabilities(const struct drive *d, uint8_t *out);

/* Mode pages with values of their own; index is the place in drive_state.pages. */
struct mode_row {
	uint8_t code, len;              /* len: the page length byte */
	uint8_t also_len;               /* another length that MODE SELECT takes; 0: none */
	const uint8_t *defaults, *mask; /* of len bytes, behind the two header bytes */
	/* May the page (with its header) have these values? If not, *bad: the bad byte's offset. */
	bool (*check)(const struct drive *d, const uint8_t *page, unsigned *bad);
	void (*applied)(struct drive *d);
};
extern const struct mode_row mode_rows[STATE_PAGES];

/* Page 05h (write_page.c); arrays without the header, pages with it. */
extern const uint8_t write_page_of_cd[], write_page_mask[];
const uint8_t *write_page_defaults(const struct drive *d);
void write_page_decode(const uint8_t *page, struct disc_write_params *out);
bool write_page_check(const struct drive *d, const uint8_t *page, unsigned *bad);

/* Defaults with the header; they depend on the medium for page 05h. */
void mode_default_page(const struct drive *d, unsigned index, uint8_t *out);

/* Whether discs of this profile can be read or written by this version (disc_types()). */
bool can_profile(uint16_t profile);
/* Blocks for which speeds are given: what the medium can hold. */
uint32_t speed_end_lba(const struct drive *d);

/* Speeds in kB/s for the profile, fastest first; returns how many (at most max). */
unsigned speed_write_list(uint16_t profile, uint16_t *out, unsigned max);
unsigned speed_max_read(uint16_t profile);
/* What is selected now, kB/s. */
unsigned speed_write_now(const struct drive *d);
unsigned speed_read_now(const struct drive *d);

/* ---- events (events.c) ---- */

enum media_event { MEDIA_NONE = 0, MEDIA_EJECT_REQUEST = 1, MEDIA_NEW = 2, MEDIA_REMOVED = 3 };
enum {
	REASON_FEATURE_CHANGE = 1,
	POWER_ACTIVE = 1,
	POWER_IDLE = 2,
	POWER_STANDBY = 3,
	POWER_SLEEP = 4
};
void event_media(struct drive *d, enum media_event event); /* for every nexus */
void event_power(struct drive *d, unsigned state);
void event_operational(struct drive *d, unsigned reason);

/* ---- command table ---- */

extern const struct scsi_row mmc_rows[256];

/* drive part */
enum sense mmc_test_unit_ready(struct scsi_cmd *c);
enum sense mmc_inquiry(struct scsi_cmd *c);
enum sense mmc_mode_select6(struct scsi_cmd *c);
enum sense mmc_mode_select10(struct scsi_cmd *c);
enum sense mmc_mode_sense6(struct scsi_cmd *c);
enum sense mmc_mode_sense10(struct scsi_cmd *c);
co_fn enum sense mmc_start_stop(struct scsi_cmd *c);
enum sense mmc_prevent_allow(struct scsi_cmd *c);
enum sense mmc_mechanism_status(struct scsi_cmd *c);
enum sense mmc_get_configuration(struct scsi_cmd *c);
enum sense mmc_get_event_status(struct scsi_cmd *c);
enum sense mmc_get_performance(struct scsi_cmd *c);
enum sense mmc_set_streaming(struct scsi_cmd *c);
enum sense mmc_set_cd_speed(struct scsi_cmd *c);
enum sense mmc_set_read_ahead(struct scsi_cmd *c);
enum sense mmc_report_key(struct scsi_cmd *c);
enum sense mmc_send_key(struct scsi_cmd *c);

/* media part */
co_fn enum sense mmc_read6(struct scsi_cmd *c);
co_fn enum sense mmc_read10(struct scsi_cmd *c);
co_fn enum sense mmc_read12(struct scsi_cmd *c);
co_fn enum sense mmc_write10(struct scsi_cmd *c);
co_fn enum sense mmc_write12(struct scsi_cmd *c);
co_fn enum sense mmc_write_verify10(struct scsi_cmd *c);
co_fn enum sense mmc_verify10(struct scsi_cmd *c);
enum sense mmc_rezero(struct scsi_cmd *c);
enum sense mmc_seek6(struct scsi_cmd *c);
enum sense mmc_seek10(struct scsi_cmd *c);
co_fn enum sense mmc_sync_cache10(struct scsi_cmd *c);
enum sense mmc_read_toc(struct scsi_cmd *c);
enum sense mmc_read_disc_info(struct scsi_cmd *c);
enum sense mmc_read_track_info(struct scsi_cmd *c);
enum sense mmc_read_capacity(struct scsi_cmd *c);
enum sense mmc_read_format_capacities(struct scsi_cmd *c);
co_fn enum sense mmc_format_unit(struct scsi_cmd *c);
co_fn enum sense mmc_blank(struct scsi_cmd *c);
co_fn enum sense mmc_close(struct scsi_cmd *c);
co_fn enum sense mmc_reserve_track(struct scsi_cmd *c);
co_fn enum sense mmc_repair_track(struct scsi_cmd *c);
co_fn enum sense mmc_send_cue_sheet(struct scsi_cmd *c);
enum sense mmc_read_disc_structure(struct scsi_cmd *c);
enum sense mmc_send_disc_structure(struct scsi_cmd *c);
co_fn enum sense mmc_read_cd(struct scsi_cmd *c);
co_fn enum sense mmc_read_cd_msf(struct scsi_cmd *c);
co_fn enum sense mmc_read_header(struct scsi_cmd *c);
enum sense mmc_read_subchannel(struct scsi_cmd *c);
enum sense mmc_send_opc(struct scsi_cmd *c);
enum sense mmc_read_buffer_capacity(struct scsi_cmd *c);
enum sense mmc_read_buffer(struct scsi_cmd *c);
enum sense mmc_write_buffer(struct scsi_cmd *c);
