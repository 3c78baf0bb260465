/*
 * The virtio-scsi device (virtio 1.2, 5.6): a controller whose targets are logical units (LUN 0
 * each).
 *
 * Queue 0 is the control queue, 1 the event queue, 2 and up are request queues. Each request runs
 * in a coroutine. Each target gets a nexus of its own when the driver starts to use the device, as
 * an initiator with the device's name.
 */
#pragma once

#include "scsi/scsi.h"
#include "virtio/virtio_device.h"

enum {
	VIRTIO_SCSI_CONTROLQ,
	VIRTIO_SCSI_EVENTQ,
	VIRTIO_SCSI_REQUESTQ, /* the first of them */
	VIRTIO_SCSI_QUEUES_MAX = 2 + 64,
	VIRTIO_SCSI_TARGETS_MAX = 256,
	VIRTIO_SCSI_CDB_LEN = 32,
	VIRTIO_SCSI_SENSE_LEN = 96,
	VIRTIO_SCSI_CONFIG_LEN = 36,
	VIRTIO_SCSI_SEG_MAX = 126,
};

#define VIRTIO_SCSI_F_HOTPLUG (1ull << 1)
#define VIRTIO_SCSI_F_CHANGE  (1ull << 2)

/*
 * targets: borrowed for the call, the units for the device's life; an entry may be NULL.
 * o->n_queues counts the control and the event queue too.
 */
struct virtio_device *virtio_scsi_new(const struct virtio_device_options *o,
				      struct scsi_lu *const *targets, unsigned n_targets);
extern const struct virtio_device_ops virtio_scsi_ops;

/*
 * Plugs a unit in, or (NULL) out: commands are aborted, the nexus ends, and a driver that can is
 * told of it. Returns when the unit is no longer used.
 */
co_fn void virtio_scsi_set_target(struct virtio_device *d, unsigned target, struct scsi_lu *lu);
