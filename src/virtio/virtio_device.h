/*
 * A virtio device as its transport sees it, and what all devices have in common: queues that are
 * started, emptied fairly, waited for and drained.
 *
 * Whoever attaches the device owns the virtqueues, starts and stops them, and says when buffers
 * were made available; the device pops and pushes. What is popped is pushed again, whatever
 * happens: a driver waits for a lost request for ever.
 *
 * A queue whose driver is known to come back within some ten microseconds is looked at for that
 * long before the loop sleeps (see virtio_pace.h).
 */
#pragma once

#include "base/co.h"
#include "virtio/virtio_pace.h"
#include "virtio/virtq.h"

struct virtio_device;

enum { VIRTIO_CONFIG_MAX = 256 };

struct virtio_device_ops {
	const char *name;
	size_t extra_len; /* that the owner of a queue passes to virtq_init() */

	co_fn void (*free)(struct virtio_device *d); /* no queue is in use any more */
	/* Optional, before the first queue starts. resumed: the driver goes on where it was. */
	void (*begin)(struct virtio_device *d, bool resumed);
	/* Optional, as a power cycle of the device; all queues are stopped and drained. */
	void (*reset)(struct virtio_device *d);
	void (*features)(struct virtio_device *d); /* optional: d->features are new */
	/* Takes an element; virtio_push() it later. */
	void (*element)(struct virtio_device *d, struct virtq_elem *e);
	/* Optional: buffers came to a queue that the device does not empty. true: it is one. */
	bool (*keep_buffers)(struct virtio_device *d, struct virtq *q);
	/* Optional: makes what runs end soon. */
	co_fn void (*abort)(struct virtio_device *d);
	/* The configuration space: writes its bytes into zeros. */
	void (*get_config)(struct virtio_device *d, uint8_t config[VIRTIO_CONFIG_MAX]);
	/* Optional: the driver writes len bytes at off; false: they cannot be changed. */
	co_fn bool (*set_config)(struct virtio_device *d, unsigned off, const uint8_t *bytes,
				 unsigned len);
};

struct virtio_queue {
	struct virtio_device *d;
	struct virtq *q; /* NULL: not started */
	struct loop_task more;
	bool more_queued;
	uint64_t requests;
	struct co_queue idle; /* waits for elements to come back */
	struct virtio_pace pace;
	struct loop_poller poller;
};

struct virtio_device_options {
	struct loop *loop;
	const char *name; /* of the connection, for messages */
	unsigned n_queues;
	/* The ring broke the rules (virtq_fault()) or a request could not be one; it is stopped. On
	 * the loop. */
	void (*fault)(struct virtq *q, const char *what, void *arg);
	/* Buffers were found without a notification; calls virtio_device_kick(). NULL: queues are
	 * never polled. */
	void (*polled)(struct virtq *q, void *arg);
	void *arg;
};

struct virtio_device { /* a device embeds it first */
	const struct virtio_device_ops *ops;
	struct virtio_device_options o;
	char *name;
	uint64_t features;
	struct virtio_queue *queues;
};

/* For the device's own new() and free(). */
void virtio_device_init(struct virtio_device *d, const struct virtio_device_ops *ops,
			const struct virtio_device_options *o);
co_fn void virtio_device_fini(struct virtio_device *d);
/* The queue, NULL while it is not started. */
struct virtq *virtio_device_queue(const struct virtio_device *d, unsigned index);
/* Gives an element back and tells who waits for that. */
void virtio_push(struct virtio_device *d, struct virtq_elem *e, size_t written);
/* Stops the queue and reports. */
void virtio_fault(struct virtio_device *d, struct virtq *q, const char *what);

/* All queues stopped and drained. NULL is fine. */
co_fn void virtio_device_free(struct virtio_device *d);
void virtio_device_set_features(struct virtio_device *d, uint64_t features);
void virtio_device_begin(struct virtio_device *d, bool resumed);
/* The queue started; from now on it belongs to the device until virtio_device_drain(). */
void virtio_device_add_queue(struct virtio_device *d, struct virtq *q);
/* Buffers are available: takes all of them, or as many as are fair, and goes on by itself. */
void virtio_device_kick(struct virtio_device *d, struct virtq *q);
/* After virtq_stop(): waits until every request of the queue is done; false: some are not at
 * deadline_ns. */
co_fn bool virtio_device_wait(struct virtio_device *d, struct virtq *q, uint64_t deadline_ns);
/* As virtio_device_wait(), then aborts what still runs; returns when all is done, published, and
 * the queue idle. */
co_fn void virtio_device_drain(struct virtio_device *d, struct virtq *q, uint64_t deadline_ns);
void virtio_device_reset(struct virtio_device *d);
/* For front ends that ask the device for it. */
void virtio_device_get_config(struct virtio_device *d, uint8_t config[VIRTIO_CONFIG_MAX]);
/* false: those bytes cannot be changed so. */
co_fn bool virtio_device_set_config(struct virtio_device *d, unsigned off, const uint8_t *bytes,
				    unsigned len);
uint64_t virtio_device_requests(const struct virtio_device *d); /* so far */
