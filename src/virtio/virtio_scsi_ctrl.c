/*
 * The control queue of the virtio-scsi device: task management and asynchronous notification.
 *
 * A function may concern a command that the driver queued before it and that we have not looked at:
 * all request queues are emptied first. Its answer is given when the commands it concerns have been
 * answered (Linux waits for it without a time-out, and takes those commands as done afterwards).
 */
#include "virtio/virtio_scsi_impl.h"
#include "base/bytes.h"

#include <string.h>

enum { CTRL_TMF = 0, CTRL_AN_QUERY = 1, CTRL_AN_SUBSCRIBE = 2 };

enum { TMF_TYPE = 0, TMF_SUBTYPE = 4, TMF_LUN = 8, TMF_TAG = 16, TMF_LEN = 24 };
enum { AN_TYPE = 0, AN_LUN = 4, AN_MASK = 12, AN_LEN = 16, AN_RESP_LEN = 5 };

enum {
	TMF_ABORT_TASK,
	TMF_ABORT_TASK_SET,
	TMF_CLEAR_ACA,
	TMF_CLEAR_TASK_SET,
	TMF_NEXUS_RESET,
	TMF_LU_RESET,
	TMF_QUERY_TASK,
	TMF_QUERY_TASK_SET,
};

struct tmf {
	struct virtio_scsi *s;
	struct virtq_elem *e;
	struct vscsi_target *t;
	unsigned subtype;
	uint64_t tag;
};

static void respond(struct virtio_scsi *s, struct virtq_elem *e, uint8_t response)
{
	iovs_put(&e->in, 0, &response, 1);
	vscsi_push(s, e, 1);
}

static co_fn void reset_target(struct vscsi_target *t, bool whole_unit)
{
	t->resetting++;
	if (whole_unit)
		scsi_lu_reset(t->nexus);
	else
		scsi_abort_all(t->nexus);
	t->resetting--;
	if (whole_unit || t->in_flight || t->functions > 1 || t->leaving)
		return;
	/* a new nexus has lost its locks and begins with a unit attention */
	scsi_nexus_free(t->nexus);
	t->nexus = scsi_nexus_new(t->lu, t->s->d.name, &vscsi_nexus_ops, t, false);
	t->subscribed = 0;
}

static co_fn uint8_t carry_out(const struct tmf *f)
{
	struct vscsi_target *t = f->t;

	switch (f->subtype) {
	case TMF_ABORT_TASK:
		scsi_abort_task(t->nexus, f->tag); /* one that is not there is done */
		return VSCSI_OK;
	case TMF_ABORT_TASK_SET:
	case TMF_CLEAR_TASK_SET: scsi_abort_all(t->nexus); return VSCSI_OK;
	case TMF_NEXUS_RESET: reset_target(t, false); return VSCSI_OK;
	case TMF_LU_RESET: reset_target(t, true); return VSCSI_OK;
	case TMF_QUERY_TASK:
		return scsi_query_task(t->nexus, f->tag) ? VSCSI_FUNCTION_SUCCEEDED : VSCSI_OK;
	case TMF_QUERY_TASK_SET: return t->in_flight ? VSCSI_FUNCTION_SUCCEEDED : VSCSI_OK;
	default: /* CLEAR ACA: there is none */ return VSCSI_FUNCTION_REJECTED;
	}
}

static co_fn void run_tmf(void *arg)
{
	struct tmf *f = arg;
	struct virtio_scsi *s = f->s;
	uint8_t response;

	log_line(LOG_DEBUG, "virtio-scsi", "%s: target %u: task management function %u", s->d.name,
		 f->t->id, f->subtype);
	response = carry_out(f);
	f->t->functions--;
	respond(s, f->e, response);
}

static void take_requests(struct virtio_scsi *s)
{
	for (unsigned i = VIRTIO_SCSI_REQUESTQ; i < s->d.o.n_queues; i++) {
		struct virtq *q = virtio_device_queue(&s->d, i);

		if (q)
			virtio_device_kick(&s->d, q);
	}
}

static void task_management(struct virtio_scsi *s, struct virtq_elem *e)
{
	struct tmf *f = e->extra;
	struct vscsi_target *t;
	struct vscsi_lun lun;
	uint8_t h[TMF_LEN];

	if (iovs_get(&e->out, 0, h, sizeof(h)) < sizeof(h)) {
		respond(s, e, VSCSI_FAILURE);
		return;
	}
	t = vscsi_decode_lun(h + TMF_LUN, &lun) ? vscsi_target(s, lun.target) : NULL;
	if (!t || lun.well_known) {
		respond(s, e, VSCSI_BAD_TARGET);
		return;
	}
	if (lun.lun) {
		respond(s, e, VSCSI_INCORRECT_LUN);
		return;
	}
	take_requests(s);
	*f = (struct tmf){s, e, t, get_le32(h + TMF_SUBTYPE), get_le64(h + TMF_TAG)};
	t->functions++;
	co_start(s->d.o.loop, run_tmf, f);
}

static void async_notification(struct virtio_scsi *s, struct virtq_elem *e, bool subscribe)
{
	uint8_t h[AN_LEN], resp[AN_RESP_LEN] = {0};
	struct vscsi_target *t;
	struct vscsi_lun lun;
	uint32_t mask;

	if (iovs_get(&e->out, 0, h, sizeof(h)) < sizeof(h) || e->in.len < sizeof(resp)) {
		respond(s, e, VSCSI_FAILURE);
		return;
	}
	mask = get_le32(h + AN_MASK) & VSCSI_ASYNC_MEDIA;
	t = vscsi_decode_lun(h + AN_LUN, &lun) ? vscsi_target(s, lun.target) : NULL;
	if (!t || lun.well_known) {
		resp[4] = VSCSI_BAD_TARGET;
	} else if (lun.lun) {
		resp[4] = VSCSI_INCORRECT_LUN;
	} else {
		if (subscribe)
			t->subscribed = mask;
		put_le32(resp, mask);
	}
	iovs_put(&e->in, 0, resp, sizeof(resp));
	vscsi_push(s, e, sizeof(resp));
}

void vscsi_control(struct virtio_scsi *s, struct virtq_elem *e)
{
	uint8_t type[4];

	if (!e->in.len || iovs_get(&e->out, 0, type, sizeof(type)) < sizeof(type)) {
		virtio_fault(&s->d, e->q, "control request is cut short");
		vscsi_push(s, e, 0);
		return;
	}
	switch (get_le32(type)) {
	case CTRL_TMF: task_management(s, e); break;
	case CTRL_AN_QUERY: async_notification(s, e, false); break;
	case CTRL_AN_SUBSCRIBE: async_notification(s, e, true); break;
	default: respond(s, e, VSCSI_FAILURE);
	}
}
