/*
 * The virtio-scsi device (virtio 1.2, 5.6): a controller whose targets are logical units (LUN 0
 * each).
 *
 * Queue 0 is the control queue, 1 the event queue, 2 and up are request queues. Whoever attaches
 * the device owns the virtqueues, starts and stops them, and says when buffers were made available;
 * the device pops and pushes. Each request runs in a coroutine. Each target gets a nexus of its own
 * when the driver starts to use the device.
 */
#pragma once

#include "scsi/scsi.h"
#include "virtio/virtq.h"

struct virtio_scsi;

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

struct virtio_scsi_options {
	const char *name;               /* of the initiator, for nexuses and messages */
	struct scsi_lu *const *targets; /* borrowed for the call, the units for the device's life;
					   an entry may be NULL */
	unsigned n_targets;
	unsigned n_queues; /* request queues */
	/* The ring broke the rules (virtq_fault()) or a request could not be one; it is stopped. On
	 * the loop. */
	void (*fault)(struct virtq *q, const char *what, void *arg);
	void *arg;
};

struct virtio_scsi *virtio_scsi_new(struct loop *loop, const struct virtio_scsi_options *o);
/* All queues stopped and drained. NULL is fine. */
co_fn void virtio_scsi_free(struct virtio_scsi *s);

/* Bytes that the owner of a queue passes to virtq_init() as extra_len. */
size_t virtio_scsi_extra_len(void);
void virtio_scsi_set_features(struct virtio_scsi *s, uint64_t features);
/* Before the first queue starts: makes the nexuses if there are none. resumed as in
 * scsi_nexus_new(). */
void virtio_scsi_begin(struct virtio_scsi *s, bool resumed);
/* The queue started; from now on it belongs to the device until virtio_scsi_drain(). */
void virtio_scsi_add_queue(struct virtio_scsi *s, struct virtq *q);
/* Buffers are available: takes all of them, or as many as are fair, and goes on by itself. */
void virtio_scsi_kick(struct virtio_scsi *s, struct virtq *q);
/* After virtq_stop(): waits until every request of the queue is done; false: some are not at
 * deadline_ns. */
co_fn bool virtio_scsi_wait(struct virtio_scsi *s, struct virtq *q, uint64_t deadline_ns);
/* As virtio_scsi_wait(), then aborts what still runs; returns when all is done, published, and the
 * queue idle. */
co_fn void virtio_scsi_drain(struct virtio_scsi *s, struct virtq *q, uint64_t deadline_ns);
/* As a power cycle of the controller; all queues are stopped and drained. The next begin makes new
 * nexuses. */
void virtio_scsi_reset(struct virtio_scsi *s);

/*
 * Plugs a unit in, or (NULL) out: commands are aborted, the nexus ends, and a driver that can is
 * told of it. Returns when the unit is no longer used.
 */
co_fn void virtio_scsi_set_target(struct virtio_scsi *s, unsigned target, struct scsi_lu *lu);

/* The configuration space, for front ends that ask the device for it. */
void virtio_scsi_get_config(const struct virtio_scsi *s, uint8_t config[VIRTIO_SCSI_CONFIG_LEN]);
uint64_t virtio_scsi_requests(const struct virtio_scsi *s); /* so far */
