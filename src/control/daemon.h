/*
 * The running daemon: drives, what is in them, devices, and the attachments that show them to
 * guests. One loop owns it all; everything here is called on that loop.
 */
#pragma once

#include "attach/nbd.h"
#include "attach/vfio_user.h"
#include "attach/vhost_user.h"
#include "base/co.h"
#include "control/config.h"
#include "device/device.h"
#include "device/units.h"
#include "scsi/disk.h"
#include "scsi/drive.h"

struct outboard_daemon;

/*
 * Opens discs, drives, devices, attachments and the control socket; only when all of it worked does
 * any socket appear. The config is borrowed for the daemon's life, in which devices come into it
 * and go out of it, and must have passed config_check(). NULL on error, with nothing left open.
 */
co_fn struct outboard_daemon *daemon_start(struct loop *loop, struct daemon_config *config,
					   GError **error);
/*
 * Ends attachments in an orderly way (a connected vfio-user client takes half a second, two at
 * most), then the devices, then commits and closes the discs. NULL is fine.
 */
co_fn void daemon_free(struct outboard_daemon *d);

/* Sleeps until daemon_quit(). */
co_fn void daemon_wait(struct outboard_daemon *d);
void daemon_quit(struct outboard_daemon *d);
bool daemon_is_quitting(const struct outboard_daemon *d);

struct daemon_drive {
	const struct optical_config *config;
	struct drive *drive;
	char *disc_path; /* of what was put into it last, also while its tray is open; NULL: nothing
			  */
	char *media_path; /* file that tells a restarted daemon what was in the drive; NULL: none */
};

struct daemon_disk {
	const struct disk_config *config;
	struct block_node *node;
	struct daemon_device *user; /* it hangs on this one; NULL: on none */
	const struct attach_config
		*shown_at;      /* or is shown there; NULL: nowhere, or read-only by NBD */
	struct scsi_disk *scsi; /* as a target; NULL: it is none */
};

struct daemon_device {
	const struct device_config *config;
	struct device *device;
	struct outboard_daemon *daemon;
	struct device_units units; /* what it finds its disks and drives by */
};

struct daemon_attachment {
	const struct attach_config *config;
	struct vhost_user *vhost;           /* or NULL */
	struct nbd_server *nbd;             /* or NULL */
	GPtrArray *targets;                 /* ids of its units, NULL where is none; or NULL */
	struct vfio_user *vfio;             /* or NULL: */
	const struct device_config *device; /* what it shows */
	struct co_drain *ending;            /* the daemon's own */
};

unsigned daemon_drives(const struct outboard_daemon *d);
struct daemon_drive *daemon_drive(struct outboard_daemon *d, unsigned i);
unsigned daemon_disks(const struct outboard_daemon *d);
struct daemon_disk *daemon_disk(struct outboard_daemon *d, unsigned i);
unsigned daemon_devices(const struct outboard_daemon *d);
struct daemon_device *daemon_device(struct outboard_daemon *d, unsigned i);
struct daemon_device *daemon_find_device(struct outboard_daemon *d, const char *id); /* or NULL */
unsigned daemon_attachments(const struct outboard_daemon *d);
struct daemon_attachment *daemon_attachment(struct outboard_daemon *d, unsigned i);
/*
 * Held by whoever makes, ends, plugs or unplugs: these yield, and what one has found another must
 * not take away meanwhile.
 */
struct co_mutex *daemon_changing(struct outboard_daemon *d);
struct loop *daemon_loop(const struct outboard_daemon *d);

/*
 * Opens the file and puts it in; fails if a disc is in the drive. An absent drive is the caller's
 * to refuse.
 */
co_fn bool daemon_insert(struct outboard_daemon *d, struct daemon_drive *drive, const char *path,
			 GError **error);
co_fn bool daemon_eject(struct outboard_daemon *d, struct daemon_drive *drive, bool force,
			GError **error);

/*
 * Makes a device from its option text (config_add_device()) and shows it at a socket of its own:
 * its id, the config's, or NULL with everything as it was.
 */
co_fn const char *daemon_add_device(struct outboard_daemon *d, const char *text, const char *socket,
				    GError **error);
/* Ends its attachment in the orderly way, then the device. */
co_fn bool daemon_remove_device(struct outboard_daemon *d, const char *id, GError **error);

/* Opens a disk from its option text (config_add_disk()): its id, or NULL. It hangs on nothing. */
co_fn const char *daemon_add_disk(struct outboard_daemon *d, const char *text, GError **error);
/* Closes one that hangs on nothing. */
co_fn bool daemon_remove_disk(struct outboard_daemon *d, const char *id, GError **error);
/*
 * Makes a disk longer while its guest runs, which is told of it; a shorter one is refused, as is
 * one on a device that cannot tell its guest.
 */
co_fn bool daemon_resize_disk(struct outboard_daemon *d, const char *id, uint64_t bytes,
			      GError **error);
/* Hangs a disk or drive on a port of a device, or makes it a target of a vhost-user attachment,
 * while the guest runs; takes it off again. */
co_fn bool daemon_plug(struct outboard_daemon *d, const char *device, unsigned slot, const char *id,
		       GError **error);
co_fn bool daemon_unplug(struct outboard_daemon *d, const char *device, unsigned slot,
			 GError **error);
