/* Inside of the virtio-scsi device: what its files share. */
#pragma once

#include "base/log.h"
#include "virtio/virtio_scsi.h"

/* response codes */
enum {
	VSCSI_OK = 0,
	VSCSI_OVERRUN = 1,
	VSCSI_ABORTED = 2,
	VSCSI_BAD_TARGET = 3,
	VSCSI_RESET = 4,
	VSCSI_BUSY = 5,
	VSCSI_FAILURE = 9,
	VSCSI_FUNCTION_SUCCEEDED = 10,
	VSCSI_FUNCTION_REJECTED = 11,
	VSCSI_INCORRECT_LUN = 12,
};

/* events and reasons */
enum {
	VSCSI_EVENT_NONE = 0,
	VSCSI_EVENT_TRANSPORT_RESET = 1,
	VSCSI_EVENT_ASYNC_NOTIFY = 2,
	VSCSI_EVENT_PARAM_CHANGE = 3,
	VSCSI_RESET_RESCAN = 1,
	VSCSI_RESET_REMOVED = 2,
	VSCSI_ASYNC_MEDIA = 1 << 4,
};
#define VSCSI_EVENTS_MISSED (1u << 31)

enum { VSCSI_REQ_LEN = 19 + VIRTIO_SCSI_CDB_LEN, VSCSI_RESP_LEN = 12 + VIRTIO_SCSI_SENSE_LEN };

struct vscsi_target {
	struct virtio_scsi *s;
	unsigned id;
	struct scsi_lu *lu;
	struct scsi_nexus *nexus;
	uint32_t subscribed; /* asynchronous notifications */
	unsigned in_flight;
	unsigned functions; /* task management under way: the nexus must stay */
	unsigned resetting; /* resets under way: commands that end aborted end by one */
	bool leaving;       /* being unplugged: answers as if absent */
};

struct virtio_scsi {
	struct virtio_device d;
	bool begun;
	bool resumed;
	bool events_missed;
	unsigned n_targets;   /* highest + 1 ever plugged */
	struct co_queue idle; /* waits for elements to come back */
	struct vscsi_target targets[VIRTIO_SCSI_TARGETS_MAX];
};

struct vscsi_req { /* in an element */
	struct virtio_scsi *s;
	struct vscsi_target *t;
	struct virtq_elem *e;
	struct iovs head; /* where the response header goes */
	struct scsi_cmd cmd;
};

/* The lun field of requests: which target, which LUN; false: not an address this device
 * understands. */
struct vscsi_lun {
	unsigned target, lun;
	bool well_known; /* the REPORT LUNS unit */
};
bool vscsi_decode_lun(const uint8_t raw[8], struct vscsi_lun *out);
struct vscsi_target *vscsi_target(struct virtio_scsi *s, unsigned id); /* NULL: absent */

/* Gives an element back and tells who waits for that. */
void vscsi_push(struct virtio_scsi *s, struct virtq_elem *e, size_t written);
/* What each queue does with an element. */
void vscsi_request(struct virtio_scsi *s, struct virtq_elem *e);
void vscsi_control(struct virtio_scsi *s, struct virtq_elem *e);

extern const struct scsi_nexus_ops vscsi_nexus_ops;
void vscsi_post_event(struct virtio_scsi *s, uint32_t event, unsigned target, uint32_t reason);
void vscsi_events_ready(struct virtio_scsi *s); /* the driver posted event buffers */
