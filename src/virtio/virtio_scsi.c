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

static void take_more(struct loop_task *task)
{
	struct vscsi_queue *vq =
		(struct vscsi_queue *)((char *)task - offsetof(struct vscsi_queue, more));

	vq->more_queued = false;
	if (vq->q)
		vscsi_take(vq->s, vq->q);
}

struct virtio_scsi *virtio_scsi_new(struct loop *loop, const struct virtio_scsi_options *o)
{
	struct virtio_scsi *s = g_new0(struct virtio_scsi, 1);

	assert(o->n_targets <= VIRTIO_SCSI_TARGETS_MAX);
	assert(o->n_queues >= 1 && o->n_queues + VIRTIO_SCSI_REQUESTQ <= VIRTIO_SCSI_QUEUES_MAX);
	s->loop = loop;
	s->name = g_strdup(o->name);
	s->fault = o->fault;
	s->arg = o->arg;
	s->n_queues = o->n_queues + VIRTIO_SCSI_REQUESTQ;
	s->n_targets = o->n_targets;
	for (unsigned i = 0; i < s->n_queues; i++)
		s->queues[i] = (struct vscsi_queue){.s = s, .more.run = take_more};
	for (unsigned i = 0; i < VIRTIO_SCSI_TARGETS_MAX; i++) {
		s->targets[i].s = s;
		s->targets[i].id = i;
		if (i < o->n_targets)
			s->targets[i].lu = o->targets[i];
	}
	return s;
}

static bool has_queued_work(const struct virtio_scsi *s)
{
	for (unsigned i = 0; i < s->n_queues; i++) {
		if (s->queues[i].more_queued)
			return true;
	}
	return false;
}

co_fn void virtio_scsi_free(struct virtio_scsi *s)
{
	if (!s)
		return;
	while (has_queued_work(s))
		co_reschedule();
	virtio_scsi_reset(s);
	g_free(s->name);
	g_free(s);
}

void virtio_scsi_set_features(struct virtio_scsi *s, uint64_t features)
{
	s->features = features;
}

static void new_nexus(struct vscsi_target *t, bool resumed)
{
	t->nexus = scsi_nexus_new(t->lu, t->s->name, &vscsi_nexus_ops, t, resumed);
	t->subscribed = 0;
}

void virtio_scsi_begin(struct virtio_scsi *s, bool resumed)
{
	if (s->begun)
		return;
	s->begun = true;
	for (unsigned i = 0; i < s->n_targets; i++) {
		if (s->targets[i].lu)
			new_nexus(&s->targets[i], resumed);
	}
}

void virtio_scsi_reset(struct virtio_scsi *s)
{
	for (unsigned i = 0; i < s->n_targets; i++) {
		struct vscsi_target *t = &s->targets[i];

		assert(!t->in_flight && !t->functions);
		scsi_nexus_free(t->nexus);
		t->nexus = NULL;
	}
	s->begun = false;
	s->events_missed = false;
}

void virtio_scsi_add_queue(struct virtio_scsi *s, struct virtq *q)
{
	s->queues[q->index].q = q;
}

void vscsi_fault(struct virtio_scsi *s, struct virtq *q, const char *what)
{
	if (!q->broken)
		virtq_fail(q, "%s", what);
	s->fault(q, virtq_fault(q), s->arg);
}

void vscsi_take(struct virtio_scsi *s, struct virtq *q)
{
	struct vscsi_queue *vq = &s->queues[q->index];
	unsigned budget = q->conf.num;
	struct virtq_elem *e;
	int res = 0;

	virtq_listen(q, false);
	do {
		while (budget && (res = virtq_pop(q, &e)) > 0) {
			budget--;
			if (q->index == VIRTIO_SCSI_CONTROLQ)
				vscsi_control(s, e);
			else
				vscsi_request(s, e);
		}
		if (res < 0) {
			vscsi_fault(s, q, virtq_fault(q));
			return;
		}
		if (!budget) { /* let other queues have their turn */
			vq->more_queued = true;
			loop_post(s->loop, &vq->more);
			return;
		}
	} while (virtq_listen(q, true));
}

void virtio_scsi_kick(struct virtio_scsi *s, struct virtq *q)
{
	if (q->index == VIRTIO_SCSI_EVENTQ)
		vscsi_events_ready(s);
	else if (!s->queues[q->index].more_queued)
		vscsi_take(s, q);
}

void vscsi_push(struct virtio_scsi *s, struct virtq_elem *e, size_t written)
{
	virtq_push(e, written);
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

static co_fn void abort_everything(struct virtio_scsi *s)
{
	for (unsigned i = 0; i < s->n_targets; i++) {
		if (s->targets[i].nexus && s->targets[i].in_flight)
			abort_target(&s->targets[i]);
	}
}

co_fn bool virtio_scsi_wait(struct virtio_scsi *s, struct virtq *q, uint64_t deadline_ns)
{
	while (q->in_flight) {
		if (loop_now_ns() >= deadline_ns || !co_queue_wait_until(&s->idle, deadline_ns))
			return !q->in_flight;
	}
	return true;
}

co_fn void virtio_scsi_drain(struct virtio_scsi *s, struct virtq *q, uint64_t deadline_ns)
{
	s->queues[q->index].q = NULL;
	virtio_scsi_wait(s, q, deadline_ns);
	while (q->in_flight) { /* one may begin to wait for its turn after another was aborted */
		abort_everything(s);
		if (q->in_flight)
			co_queue_wait(&s->idle);
	}
	virtq_flush(q);
	while (!virtq_is_idle(q))
		co_reschedule();
}

co_fn void virtio_scsi_set_target(struct virtio_scsi *s, unsigned target, struct scsi_lu *lu)
{
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

void virtio_scsi_get_config(const struct virtio_scsi *s, uint8_t config[VIRTIO_SCSI_CONFIG_LEN])
{
	put_le32(config, s->n_queues - VIRTIO_SCSI_REQUESTQ);
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

uint64_t virtio_scsi_requests(const struct virtio_scsi *s)
{
	return s->requests;
}
