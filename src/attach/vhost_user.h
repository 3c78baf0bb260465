/*
 * vhost-user back end: listens on a unix socket; each front end (VMM) that connects gets a device
 * of its own. That is a virtio-scsi controller with the logical units given as targets 0, 1, 2 ...
 * (LUN 0 each), or a virtio-blk disk.
 */
#pragma once

#include "block/block.h"
#include "scsi/scsi.h"

struct vhost_user;

enum { VHOST_USER_TARGETS_MAX = 255 };

struct vhost_user_disk {
	struct block_node *node; /* borrowed for the attachment's life, on its loop; NULL: none */
	const char *serial;      /* that the guest is told; copied */
};

struct vhost_user_options {
	const char *path; /* of the socket; a leftover is replaced, one in use is an error */
	struct vhost_user_disk disk; /* with a node: virtio-blk, and there are no targets */
	struct scsi_lu *const
		*targets; /* borrowed; they outlive the attachment and live on its loop */
	unsigned n_targets;
	unsigned max_queues;  /* request queues offered; 0: 8, of a disk 4 */
	bool packed;          /* offer packed rings (default on by the caller) */
	unsigned max_clients; /* 0: 1 front end at a time */
	/*
	 * Offer VHOST_USER_PROTOCOL_F_CONFIG. The generic front ends of Cloud Hypervisor and crosvm
	 * need it; QEMU keeps the configuration space of vhost-user-scsi itself and warns when it
	 * is offered. Default off; virtio-blk always offers it.
	 */
	bool config;
};

struct vhost_user *vhost_user_new(struct loop *loop, const struct vhost_user_options *o,
				  GError **error);
/* Stops accepting, ends connections in an orderly way (rings stopped, commands finished), removes
 * the socket. */
co_fn void vhost_user_free(struct vhost_user *v);

/*
 * Plugs a logical unit into a target, or (lu NULL) out, for all front ends and those to come: its
 * commands are aborted, guests that can are told. When it returns the attachment holds nothing of
 * the former unit.
 */
co_fn void vhost_user_set_target(struct vhost_user *v, unsigned target, struct scsi_lu *lu);

/* The length of the disk's node changed: guests are told. */
void vhost_user_disk_resized(struct vhost_user *v);

struct vhost_user_stats {
	unsigned clients;
	uint64_t requests, kicks, calls, protocol_errors;
};
void vhost_user_get_stats(const struct vhost_user *v, struct vhost_user_stats *out);
