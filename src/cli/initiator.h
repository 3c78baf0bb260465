/*
 * An initiator inside the process: sends a drive the commands that a burning program sends, and
 * says in words what the drive answered when it is not good. All of it is co_fn on the drive's
 * loop; false means error is set.
 */
#pragma once

#include "scsi/drive.h"

struct initiator {
	struct drive *drive;
	struct scsi_nexus *nexus;
};

struct ini_disc {              /* READ DISC INFORMATION */
	uint8_t status;        /* enum disc_status_code */
	uint8_t session_state; /* enum disc_session_state of the last session */
	bool erasable;
	unsigned sessions, first_track, last_track; /* the tracks are those of the last session */
};

struct ini_track { /* READ TRACK INFORMATION */
	unsigned number, session;
	bool blank, reserved, nwa_valid;
	int32_t start, nwa;
	uint32_t free_blocks, size, packet_size;
};

enum ini_write_type { WRITE_INCREMENTAL = 0, WRITE_TAO = 1, WRITE_SAO = 2 };
enum ini_close { CLOSE_TRACK = 1, CLOSE_SESSION = 2, CLOSE_FINALISE = 6 };

void initiator_init(struct initiator *i, struct drive *drive, const char *name);
void initiator_fini(struct initiator *i);

/* INQUIRY, then TEST UNIT READY until unit attentions are over and the medium is ready. */
co_fn bool ini_wait_ready(struct initiator *i, GError **error);
co_fn bool ini_profile(struct initiator *i, uint16_t *profile, GError **error);
/* Whether the feature is there and current. */
co_fn bool ini_feature(struct initiator *i, uint16_t feature, bool *current, GError **error);
co_fn bool ini_read_disc(struct initiator *i, struct ini_disc *out, GError **error);
co_fn bool ini_read_track(struct initiator *i, unsigned number, struct ini_track *out,
			  GError **error);
co_fn bool ini_read_capacity(struct initiator *i, uint32_t *blocks, GError **error);
/* Blocks that format type (READ FORMAT CAPACITIES) offers; 0 when it is not on offer. */
co_fn bool ini_format_capacity(struct initiator *i, uint8_t type, uint32_t *blocks, GError **error);
co_fn bool ini_format(struct initiator *i, uint8_t type, uint32_t blocks, uint32_t parameter,
		      GError **error);
/* Reads page 05h, changes it, and writes it back. */
co_fn bool ini_set_write_mode(struct initiator *i, enum ini_write_type type, bool multi,
			      GError **error);
co_fn bool ini_reserve(struct initiator *i, uint32_t blocks, GError **error);
co_fn bool ini_send_cue_sheet(struct initiator *i, const uint8_t *cue, size_t len, GError **error);
co_fn bool ini_write(struct initiator *i, int32_t lba, uint32_t blocks, const void *data,
		     GError **error);
co_fn bool ini_read(struct initiator *i, int32_t lba, uint32_t blocks, void *data, GError **error);
co_fn bool ini_sync(struct initiator *i, GError **error);
co_fn bool ini_close(struct initiator *i, enum ini_close function, unsigned track, GError **error);
