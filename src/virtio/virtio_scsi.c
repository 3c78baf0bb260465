/*
 * The virtio-scsi device: life of queues and targets. Requests are in virtio_scsi_req.c, task
 * management in virtio_scsi_ctrl.c, events in virtio_scsi_event.c.
 *
 * Everything popped is pushed again, whatever happens: a Linux driver waits for a lost command for
 * ever. Queues are stopped by draining: no new elements, wait for those that are out.
 */
#include "virtio/virtio_scsi_impl.h"
#include "base/bytes.h"

#include <assert.h>
#include <string.h>

static struct virtio_scsi *to_scsi(struct virtio_device *d)
{
	return (struct virtio_scsi *)d; /* its first member */
}

struct virtio_device *virtio_scsi_new(const struct virtio_device_options *o,
				      struct scsi_lu *const *targets, unsigned n_targets)
{
	struct virtio_scsi *s = g_new0(struct virtio_scsi, 1);

	assert(n_targets <= VIRTIO_SCSI_TARGETS_MAX);
	assert(o->n_queues > VIRTIO_SCSI_REQUESTQ && o->n_queues <= VIRTIO_SCSI_QUEUES_MAX);
	virtio_device_init(&s->d, &virtio_scsi_ops, o);
	s->n_targets = n_targets;
	for (unsigned i = 0; i < VIRTIO_SCSI_TARGETS_MAX; i++) {
		s->targets[i].s = s;
		s->targets[i].id = i;
		if (i < n_targets)
			s->targets[i].lu = targets[i];
	}
	return &s->d;
}

static void new_nexus(struct vscsi_target *t, bool resumed)
{
	t->nexus = scsi_nexus_new(t->lu, t->s->d.name, &vscsi_nexus_ops, t, resumed);
	t->subscribed = 0;
}

static void scsi_begin(struct virtio_device *d, bool resumed)
{
	struct virtio_scsi *s = to_scsi(d);

	if (s->begun)
		return;
	s->begun = true;
	for (unsigned i = 0; i < s->n_targets; i++) {
		if (s->targets[i].lu)
			new_nexus(&s->targets[i], resumed);
	}
}

static void scsi_reset(struct virtio_device *d)
{
	struct virtio_scsi *s = to_scsi(d);

	for (unsigned i = 0; i < s->n_targets; i++) {
		struct vscsi_target *t = &s->targets[i];

		assert(!t->in_flight && !t->functions);
		scsi_nexus_free(t->nexus);
		t->nexus = NULL;
	}
	s->begun = false;
	s->events_missed = false;
}

static co_fn void scsi_free(struct virtio_device *d)
{
	scsi_reset(d);
	virtio_device_fini(d);
	g_free(to_scsi(d));
}

static void scsi_element(struct virtio_device *d, struct virtq_elem *e)
{
	if (e->q->index == VIRTIO_SCSI_CONTROLQ)
		vscsi_control(to_scsi(d), e);
	else
		vscsi_request(to_scsi(d), e);
}

static bool scsi_keep_buffers(struct virtio_device *d, struct virtq *q)
{
	if (q->index != VIRTIO_SCSI_EVENTQ)
		return false;
	vscsi_events_ready(to_scsi(d));
	return true;
}

void vscsi_push(struct virtio_scsi *s, struct virtq_elem *e, size_t written)
{
	virtio_push(&s->d, e, written);
	if (s->idle.head)
		co_queue_wake_all(&s->idle);
}

/* Ends the target's commands; its nexus is not freed meanwhile. */
static co_fn void abort_target(struct vscsi_target *t)
{
	t->functions++;
	scsi_abort_all(t->nexus);
	t->functions--;
	co_queue_wake_all(&t->s->idle);
}

static co_fn void scsi_abort(struct virtio_device *d)
{
	struct virtio_scsi *s = to_scsi(d);

	for (unsigned i = 0; i < s->n_targets; i++) {
		if (s->targets[i].nexus && s->targets[i].in_flight)
			abort_target(&s->targets[i]);
	}
}

co_fn void virtio_scsi_set_target(struct virtio_device *d, unsigned target, struct scsi_lu *lu)
{
	struct virtio_scsi *s = to_scsi(d);
	struct vscsi_target *t = &s->targets[target];
	bool had = t->lu != NULL;

	if (target >= s->n_targets)
		s->n_targets = target + 1;
	t->leaving = true;
	while (t->in_flight || t->functions) {
		if (t->in_flight)
			abort_target(t);
		if (t->in_flight || t->functions)
			co_queue_wait(&s->idle);
	}
	scsi_nexus_free(t->nexus);
	t->nexus = NULL;
	t->lu = lu;
	t->leaving = false;
	if (had && s->begun)
		vscsi_post_event(s, VSCSI_EVENT_TRANSPORT_RESET, target, VSCSI_RESET_REMOVED);
	if (!lu || !s->begun)
		return;
	new_nexus(t, false);
	vscsi_post_event(s, VSCSI_EVENT_TRANSPORT_RESET, target, VSCSI_RESET_RESCAN);
}

static void scsi_get_config(struct virtio_device *d, uint8_t config[VIRTIO_CONFIG_MAX])
{
	put_le32(config, d->o.n_queues - VIRTIO_SCSI_REQUESTQ);
	put_le32(config + 4, VIRTIO_SCSI_SEG_MAX);
	put_le32(config + 8, 0xffff); /* max_sectors */
	put_le32(config + 12, 128);   /* cmd_per_lun */
	put_le32(config + 16, 16);    /* event_info_size */
	put_le32(config + 20, VIRTIO_SCSI_SENSE_LEN);
	put_le32(config + 24, VIRTIO_SCSI_CDB_LEN);
	put_le16(config + 28, 0); /* max_channel */
	put_le16(config + 30, VIRTIO_SCSI_TARGETS_MAX - 1);
	put_le32(config + 32, 0x3fff); /* max_lun, of the flat space */
}

const struct virtio_device_ops virtio_scsi_ops = {
	.name = "virtio-scsi",
	.extra_len = sizeof(struct vscsi_req),
	.free = scsi_free,
	.begin = scsi_begin,
	.reset = scsi_reset,
	.element = scsi_element,
	.keep_buffers = scsi_keep_buffers,
	.abort = scsi_abort,
	.get_config = scsi_get_config,
};
