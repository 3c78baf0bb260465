/*
 * The optical drive as the rest of the program sees it: a logical unit with a tray, a lock, events
 * and possibly a disc. Its command set is MMC-6 (scsi/mmc/).
 */
#pragma once

#include "disc/disc.h"
#include "scsi/scsi.h"

struct drive;

struct drive_options {
	const char *id; /* the user's name for it, in messages */
	const char *vendor, *product, *revision,
		*serial;        /* NULL: defaults; ASCII, at most 8, 16, 4, 20 characters */
	const char *state_path; /* file in which tray, lock and mode pages survive a restart of the
				   daemon; NULL: none */
	bool strict;
	bool trace;
};

/* A drive with an empty, closed tray; or as state_path says if that is of this boot. NULL on error.
 */
co_fn struct drive *drive_new(struct loop *loop, const struct drive_options *o, GError **error);
co_fn void drive_free(struct drive *d); /* ejects (commits the disc) first; no nexus may be left */
struct scsi_lu *drive_lu(struct drive *d);
const char *drive_id(const struct drive *d);
/* The state file was of this boot: nexuses may be resumed, and the disc that was in may be put back
 * quietly. */
bool drive_resumed(const struct drive *d);

/*
 * Loads disc (taken, also on failure) and closes the tray. quiet: the disc was in the drive already
 * before a restart: no unit attention, no event (honoured only if the state file says that a disc
 * of this name was in). Fails if a disc is in it.
 */
co_fn bool drive_insert(struct drive *d, struct disc *disc, bool quiet, GError **error);
/*
 * Opens the tray from outside and takes the disc out (closed, its state committed). Without force a
 * drive that a guest locked refuses, and the guest gets an eject request event.
 */
co_fn bool drive_eject(struct drive *d, bool force, GError **error);
struct disc *drive_disc(struct drive *d); /* NULL: none, or the tray is open */
bool drive_tray_open(const struct drive *d);
bool drive_locked(const struct drive *d);

/* One line each for "status": state of the drive in words ("burning 42%", "empty"); g_free() it. */
char *drive_describe(struct drive *d);
