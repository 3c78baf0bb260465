/*
 * A disk over a block node as a logical unit: direct access block device, SBC-3 (scsi/sbc/).
 */
#pragma once

#include "scsi/scsi.h"

struct block_node;
struct scsi_disk;

struct scsi_disk_options {
	const char *id;          /* the user's name for it, in messages */
	struct block_node *node; /* borrowed for the disk's life; a whole number of blocks */
	unsigned block_size;     /* 512 or 4096; 0: 512 */
	/* NULL: defaults. ASCII; longer ones than 8, 16, 4, 36 characters are cut. */
	const char *vendor, *product, *revision, *serial;
	bool rotational;
	/*
	 * File in which mode parameters and reservations survive a restart of the daemon; NULL:
	 * none. durable: it is the user's own and survives the machine, so that reservations may be
	 * asked to (APTPL).
	 */
	const char *state_path;
	bool durable;
	bool strict, trace;
};

co_fn struct scsi_disk *scsi_disk_new(struct loop *loop, const struct scsi_disk_options *o,
				      GError **error);
co_fn void scsi_disk_free(struct scsi_disk *d); /* no nexus may be left; NULL is fine */
struct scsi_lu *scsi_disk_lu(struct scsi_disk *d);
/* The node has another length now: initiators are told. */
void scsi_disk_resized(struct scsi_disk *d);
/* For "status": who registered and what is reserved, in words, or NULL; g_free() it. */
char *scsi_disk_describe(const struct scsi_disk *d);
