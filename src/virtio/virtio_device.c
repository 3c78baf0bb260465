/*
 * What all virtio devices have in common: see virtio_device.h.
 *
 * While a queue is looked at the driver is not asked to notify; when the look was in vain it is,
 * and what came in between is taken at once. Each result published starts the look anew, for that
 * is what the driver waits for.
 */
#include "virtio/virtio_device.h"

#include <assert.h>
#include <sched.h>
#include <string.h>

static void take(struct virtio_queue *vq);

static void take_more(struct loop_task *task)
{
	struct virtio_queue *vq =
		(struct virtio_queue *)((char *)task - offsetof(struct virtio_queue, more));

	vq->more_queued = false;
	if (vq->q)
		take(vq);
}

static bool queue_has_come(struct loop_poller *p)
{
	struct virtio_queue *vq =
		(struct virtio_queue *)((char *)p - offsetof(struct virtio_queue, poller));

	return virtq_has_more(vq->q);
}

static void look_done(struct loop_poller *p, bool come)
{
	struct virtio_queue *vq =
		(struct virtio_queue *)((char *)p - offsetof(struct virtio_queue, poller));

	if (come || virtq_listen(vq->q, true))
		vq->d->o.polled(vq->q, vq->d->o.arg);
}

/* true: the queue is looked at from now on. */
static bool look(struct virtio_queue *vq, uint64_t now_ns)
{
	uint64_t ns = vq->d->o.polled ? pace_look_ns(&vq->pace) : 0;

	if (!ns)
		return false;
	loop_poll_cancel(&vq->poller);
	loop_poll(vq->q->loop, &vq->poller, now_ns + ns);
	return true;
}

/* Whoever looks keeps the processor from the driver where there is only one. */
static bool has_processors(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) < 0 || CPU_COUNT(&set) > 1;
}

void virtio_device_init(struct virtio_device *d, const struct virtio_device_ops *ops,
			const struct virtio_device_options *o)
{
	d->ops = ops;
	d->o = *o;
	d->name = g_strdup(o->name);
	d->o.name = d->name;
	if (!has_processors())
		d->o.polled = NULL;
	d->queues = g_new0(struct virtio_queue, o->n_queues);
	for (unsigned i = 0; i < o->n_queues; i++) {
		d->queues[i].d = d;
		d->queues[i].more.run = take_more;
		d->queues[i].poller.look = queue_has_come;
		d->queues[i].poller.done = look_done;
	}
}

static bool has_queued_work(const struct virtio_device *d)
{
	for (unsigned i = 0; i < d->o.n_queues; i++) {
		if (d->queues[i].more_queued)
			return true;
	}
	return false;
}

co_fn void virtio_device_fini(struct virtio_device *d)
{
	while (has_queued_work(d))
		co_reschedule();
	g_free(d->queues);
	g_free(d->name);
}

co_fn void virtio_device_free(struct virtio_device *d)
{
	if (d)
		d->ops->free(d);
}

void virtio_device_set_features(struct virtio_device *d, uint64_t features)
{
	d->features = features;
	if (d->ops->features)
		d->ops->features(d);
}

void virtio_device_begin(struct virtio_device *d, bool resumed)
{
	if (d->ops->begin)
		d->ops->begin(d, resumed);
}

void virtio_device_reset(struct virtio_device *d)
{
	if (d->ops->reset)
		d->ops->reset(d);
}

struct virtq *virtio_device_queue(const struct virtio_device *d, unsigned index)
{
	return d->queues[index].q;
}

void virtio_device_add_queue(struct virtio_device *d, struct virtq *q)
{
	d->queues[q->index].q = q;
	d->queues[q->index].pace = (struct virtio_pace){0};
}

void virtio_fault(struct virtio_device *d, struct virtq *q, const char *what)
{
	if (!q->broken)
		virtq_fail(q, "%s", what);
	d->o.fault(q, virtq_fault(q), d->o.arg);
}

static void take(struct virtio_queue *vq)
{
	struct virtio_device *d = vq->d;
	struct virtq *q = vq->q;
	unsigned budget = q->conf.num;
	struct virtq_elem *e;
	uint64_t now;
	int res = 0;

	loop_poll_cancel(&vq->poller);
	virtq_listen(q, false);
	if (virtq_has_more(q))
		pace_came(&vq->pace, loop_now_ns());
	do {
		while (budget && (res = virtq_pop(q, &e)) > 0) {
			budget--;
			d->ops->element(d, e);
		}
		if (res < 0) {
			virtio_fault(d, q, virtq_fault(q));
			return;
		}
		if (!budget) { /* let other queues have their turn */
			vq->more_queued = true;
			loop_post(q->loop, &vq->more);
			return;
		}
		now = loop_now_ns();
		pace_empty(&vq->pace, now);
	} while (!look(vq, now) && virtq_listen(q, true));
}

void virtio_device_kick(struct virtio_device *d, struct virtq *q)
{
	struct virtio_queue *vq = &d->queues[q->index];

	if (d->ops->keep_buffers && d->ops->keep_buffers(d, q))
		return;
	if (!vq->more_queued)
		take(vq);
}

void virtio_push(struct virtio_device *d, struct virtq_elem *e, size_t written)
{
	struct virtio_queue *vq = &d->queues[e->q->index];
	struct virtq *q = e->q;

	virtq_push(e, written);
	if (vq->idle.head)
		co_queue_wake_all(&vq->idle);
	if (!vq->q || q->discard || !vq->pace.empty_since_ns) /* not while it is being emptied */
		return;
	pace_empty(&vq->pace, loop_now_ns());
	if (vq->poller.loop || !q->running || q->broken)
		return;
	if (look(vq, vq->pace.empty_since_ns))
		virtq_listen(q, false);
}

co_fn bool virtio_device_wait(struct virtio_device *d, struct virtq *q, uint64_t deadline_ns)
{
	struct virtio_queue *vq = &d->queues[q->index];

	while (q->in_flight) {
		if (loop_now_ns() >= deadline_ns || !co_queue_wait_until(&vq->idle, deadline_ns))
			return !q->in_flight;
	}
	return true;
}

co_fn void virtio_device_drain(struct virtio_device *d, struct virtq *q, uint64_t deadline_ns)
{
	struct virtio_queue *vq = &d->queues[q->index];

	vq->q = NULL;
	loop_poll_cancel(&vq->poller);
	virtio_device_wait(d, q, deadline_ns);
	while (q->in_flight) { /* one may begin to wait for its turn after another was aborted */
		if (d->ops->abort)
			d->ops->abort(d);
		if (q->in_flight)
			co_queue_wait(&vq->idle);
	}
	virtq_flush(q);
	while (!virtq_is_idle(q))
		co_reschedule();
}

void virtio_device_get_config(struct virtio_device *d, uint8_t config[VIRTIO_CONFIG_MAX])
{
	memset(config, 0, VIRTIO_CONFIG_MAX);
	d->ops->get_config(d, config);
}

co_fn bool virtio_device_set_config(struct virtio_device *d, unsigned off, const uint8_t *bytes,
				    unsigned len)
{
	uint8_t config[VIRTIO_CONFIG_MAX];

	assert(off <= VIRTIO_CONFIG_MAX && len <= VIRTIO_CONFIG_MAX - off);
	if (d->ops->set_config && d->ops->set_config(d, off, bytes, len))
		return true;
	virtio_device_get_config(d, config);
	return memcmp(bytes, config + off, len) == 0; /* nothing changes */
}

uint64_t virtio_device_requests(const struct virtio_device *d)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < d->o.n_queues; i++)
		sum += d->queues[i].requests;
	return sum;
}
