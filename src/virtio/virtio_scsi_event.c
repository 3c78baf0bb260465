/*
 * The event queue of the virtio-scsi device. Buffers stay in the ring until there is something to
 * tell; with none there, the event is lost and the next buffer that comes says so.
 *
 * LUN 0 is given as 00 00 here, unlike in requests: Linux takes these two bytes as a plain number.
 */
#include "virtio/virtio_scsi_impl.h"
#include "base/bytes.h"

enum { EVENT_WHAT = 0, EVENT_LUN = 4, EVENT_REASON = 12, EVENT_LEN = 16 };

/* false: there was no buffer for it. */
static bool send_event(struct virtio_scsi *s, uint32_t event, unsigned target, uint32_t reason)
{
	struct virtq *q = virtio_device_queue(&s->d, VIRTIO_SCSI_EVENTQ);
	uint8_t b[EVENT_LEN] = {0};
	struct virtq_elem *e;
	int res;

	if (!q)
		return false;
	res = virtq_pop(q, &e);
	if (res < 0)
		virtio_fault(&s->d, q, virtq_fault(q));
	if (res <= 0)
		return false;
	if (e->in.len < sizeof(b)) {
		virtio_fault(&s->d, q, "event buffer is too short");
		vscsi_push(s, e, 0);
		return false;
	}
	put_le32(b + EVENT_WHAT, event);
	if (event & ~VSCSI_EVENTS_MISSED) {
		b[EVENT_LUN] = 1;
		b[EVENT_LUN + 1] = (uint8_t)target;
	}
	put_le32(b + EVENT_REASON, reason);
	iovs_put(&e->in, 0, b, sizeof(b));
	vscsi_push(s, e, sizeof(b));
	return true;
}

void vscsi_post_event(struct virtio_scsi *s, uint32_t event, unsigned target, uint32_t reason)
{
	uint64_t need = event == VSCSI_EVENT_TRANSPORT_RESET ? VIRTIO_SCSI_F_HOTPLUG
			: event == VSCSI_EVENT_PARAM_CHANGE  ? VIRTIO_SCSI_F_CHANGE
							     : 0;

	if (need && !(s->d.features & need))
		return;
	if (s->events_missed)
		event |= VSCSI_EVENTS_MISSED;
	if (send_event(s, event, target, reason)) {
		s->events_missed = false;
		return;
	}
	s->events_missed = true;
	if (virtio_device_queue(&s->d, VIRTIO_SCSI_EVENTQ))
		vscsi_events_ready(s);
}

void vscsi_events_ready(struct virtio_scsi *s)
{
	struct virtq *q = virtio_device_queue(&s->d, VIRTIO_SCSI_EVENTQ);

	if (!s->events_missed) {
		virtq_listen(q, false);
		return;
	}
	/* from now on the driver's next buffer wakes us */
	if (virtq_listen(q, true) && send_event(s, VSCSI_EVENT_NONE | VSCSI_EVENTS_MISSED, 0, 0))
		s->events_missed = false;
}

static void on_event(struct scsi_nexus *nexus, enum scsi_event event)
{
	struct vscsi_target *t = scsi_nexus_opaque(nexus);

	switch (event) {
	case SCSI_EVENT_MEDIUM:
		if (t->subscribed & VSCSI_ASYNC_MEDIA)
			vscsi_post_event(t->s, VSCSI_EVENT_ASYNC_NOTIFY, t->id, VSCSI_ASYNC_MEDIA);
		vscsi_post_event(t->s, VSCSI_EVENT_PARAM_CHANGE, t->id, 0x28 | 0x00 << 8);
		break;
	case SCSI_EVENT_CAPACITY:
		vscsi_post_event(t->s, VSCSI_EVENT_PARAM_CHANGE, t->id, 0x2a | 0x09 << 8);
		break;
	case SCSI_EVENT_REMOVED:
		t->leaving = true;
		vscsi_post_event(t->s, VSCSI_EVENT_TRANSPORT_RESET, t->id, VSCSI_RESET_REMOVED);
		break;
	}
}

const struct scsi_nexus_ops vscsi_nexus_ops = {
	.event = on_event,
};
