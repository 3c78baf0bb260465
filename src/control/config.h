/*
 * What a user asked the daemon for, as plain data: drives, devices and attachments from their
 * option texts. No I/O here.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "attach/nbd.h"

struct optical_config {
	char *id;
	char *disc;                                 /* file to load; NULL: the tray is empty */
	char *vendor, *product, *revision, *serial; /* NULL: the drive's own */
	char *state;          /* state file; NULL: beside the first attachment's socket */
	uint16_t rom_profile; /* what a plain image is taken for; 0: by its size */
	bool strict, readonly;
};

struct disk_config {
	char *id;
	char *file, *format; /* format NULL: its content decides; file NULL: as opts say */
	char *model, *serial, *firmware; /* NULL: the controller's own */
	struct opts *opts;               /* for block_open() */
	struct opts *image_opts;         /* with file: what it says of the image's node */
	bool rotational, readonly, share_rw;
	/* As a virtio-scsi target: */
	unsigned block_size; /* 512 or 4096 */
	char *state;         /* state file; NULL: beside the first attachment's socket */
};

struct device_config {
	char *id;
	char *driver;      /* "edu", "./mydev.so" */
	struct opts *opts; /* these and all properties, for device_new() */
};

enum attach_kind { ATTACH_VHOST_USER, ATTACH_VFIO_USER, ATTACH_VHOST_USER_BLK, ATTACH_NBD };

struct nbd_config {
	char *host; /* NULL: a unix socket */
	unsigned port;
	char **disks;               /* ids; NULL until config_check(): all in their order */
	char *export, *description; /* NULL: the disk's id, none */
	bool readonly;
	enum nbd_tls_mode tls;
	char *tls_creds, *tls_psk;
	bool tls_verify_peer;
};

struct attach_config {
	enum attach_kind kind;
	char *socket;           /* path; of NBD on TCP HOST:PORT, for messages */
	struct nbd_config *nbd; /* NULL: of another kind */
	/* vfio-user: */
	char *device; /* its id; NULL until config_check(): the only one */
	/* vhost-user-blk: */
	char *disk; /* its id; NULL until config_check(): the only one */
	/* vhost-user: */
	char *id;
	char **drives;   /* ids, target 0 first; NULL: all free disks, all drives, in their order */
	unsigned queues; /* also of vhost-user-blk; 0: the back end's default */
	unsigned clients; /* front ends, or NBD clients, at a time; 0: 1 */
	bool packed;      /* both */
};

struct daemon_config {
	GPtrArray *opticals;    /* struct optical_config */
	GPtrArray *disks;       /* struct disk_config */
	GPtrArray *devices;     /* struct device_config */
	GPtrArray *attachments; /* struct attach_config */
	char *control;          /* path of the control socket, or NULL */
};

void config_init(struct daemon_config *c);
void config_fini(struct daemon_config *c);

/*
 * "disc=FILE,id=cd0,vendor=,product=,revision=,serial=,state=,rom=cd|dvd|bd,strict=,readonly="; the
 * key of a first bare value is "disc". The text "" is an empty drive. A drive without id is called
 * cd0, cd1 ...
 */
bool config_add_optical(struct daemon_config *c, const char *text, GError **error);
/*
 * "file=PATH,format=raw,id=hd0,serial=,model=,firmware=,rotational=on|off,readonly=on|off,
 * share-rw=on|off,block-size=512|4096,state=FILE" and the options that every block node takes
 * (cache=, discard=, ...), or instead of file and format the options of a block driver
 * ("driver=raw,file.driver=fault,..."); the key of a first bare value is "file". One without id is
 * called hd0, hd1 ...
 */
bool config_add_disk(struct daemon_config *c, const char *text, GError **error);
/*
 * "edu,id=edu0,PROP=VALUE..." or "./mydev.so,class=NAME,..."; the properties are checked by the
 * device itself. One without id is called dev0, dev1 ...
 */
bool config_add_device(struct daemon_config *c, const char *text, GError **error);
/*
 * "vhost-user,socket=PATH,id=scsi0,drives=hd0:cd0,queues=N,clients=N,packed=on|off",
 * "vhost-user-blk,socket=PATH,disk=ID,queues=N,packed=on|off",
 * "vfio-user,socket=PATH,device=ID" or "nbd,socket=PATH|host=NAME,port=N,disks=hd0:hd1,export=NAME,
 * description=,readonly=on|off,clients=N,tls=off|allow|require,tls-creds=FOLDER,tls-psk=FILE,
 * tls-verify-peer=on|off"
 */
bool config_add_attachment(struct daemon_config *c, const char *text, GError **error);
/*
 * Whether it all fits together: drives and devices exist, sockets are used once, something is
 * attached. Says of each vfio-user attachment which device it shows, of vhost-user-blk which disk.
 */
bool config_check(struct daemon_config *c, GError **error);
/* At the start: whether disks have a controller or an attachment to hang on. */
bool config_check_disks(const struct daemon_config *c, GError **error);
const struct optical_config *config_find_optical(const struct daemon_config *c, const char *id);
const struct disk_config *config_find_disk(const struct daemon_config *c, const char *id);
const struct device_config *config_find_device(const struct daemon_config *c, const char *id);
/* The vhost-user attachment of that id, or NULL. */
const struct attach_config *config_find_attachment(const struct daemon_config *c, const char *id);
/* That of a vfio-user attachment, in a config that passed config_check(). */
const struct device_config *config_attached_device(const struct daemon_config *c,
						   const struct attach_config *a);
/* The first NBD attachment that exports the disk, or NULL. */
const struct attach_config *config_nbd_of_disk(const struct daemon_config *c, const char *disk);
/* Whether it is one that disks and drives can hang on. */
bool config_is_controller(const struct device_config *d);
const char *attach_kind_name(enum attach_kind kind); /* "vhost-user" ... */
