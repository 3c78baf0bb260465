/* Inside the daemon: what its files share. */
#pragma once

#include "control/daemon.h"
#include "device/units.h"

struct control_server;

struct outboard_daemon {
	struct loop *loop;
	struct daemon_config *config;
	GArray *drives;      /* struct daemon_drive */
	GPtrArray *disks;    /* struct daemon_disk */
	GPtrArray *devices;  /* struct daemon_device */
	GArray *attachments; /* struct daemon_attachment */
	struct control_server *server;
	struct co_queue waiting;
	struct co_mutex changing;
	bool started, quitting;
};

struct daemon_drive *daemon_find_drive(struct outboard_daemon *d, const char *id);

/* daemon_units.c: disks, and who has them. */
co_fn bool disk_start(struct outboard_daemon *d, const struct disk_config *c, GError **error);
co_fn void disk_free(struct daemon_disk *disk);
struct daemon_disk *daemon_find_disk(struct outboard_daemon *d, const char *id);
/* Those that attachments show are taken, before any device looks for disks. */
void disks_claim(struct outboard_daemon *d);
/* Shows the disk at its socket. */
bool disk_attach(struct outboard_daemon *d, struct daemon_attachment *da, GError **error);
/* daemon_nbd.c. Disks that can be written to by NBD are taken, before any device looks for disks.
 */
bool nbd_claim_disks(struct outboard_daemon *d, GError **error);
bool nbd_shows_disk(const struct outboard_daemon *d, const char *id);
co_fn bool nbd_start(struct outboard_daemon *d, struct daemon_attachment *da, GError **error);
/* daemon_scsi.c: disks and drives as targets. */
struct daemon_attachment *daemon_find_attachment(struct outboard_daemon *d, const char *id);
/* Disks that attachments name are taken, before any device looks for disks. */
bool scsi_claim_disks(struct outboard_daemon *d, GError **error);
co_fn bool scsi_attach(struct outboard_daemon *d, struct daemon_attachment *da, GError **error);
co_fn bool scsi_plug(struct outboard_daemon *d, struct daemon_attachment *da, unsigned slot,
		     const char *id, GError **error);
co_fn bool scsi_unplug(struct outboard_daemon *d, struct daemon_attachment *da, unsigned slot,
		       GError **error);
/* It is a target no more, if it was one. forget: so is what initiators did with it, unless it
 * stands in a file of the user's own. */
co_fn void scsi_stop_disk(struct daemon_disk *disk, bool forget);
/* For device_new(): where dd finds its disks and drives. */
void units_init(struct outboard_daemon *d, struct daemon_device *dd);
/* The device has gone, or was never made: its disks are free again. */
void units_release(struct daemon_device *dd);
