/*
 * Life of a ring: it runs once it has a size, addresses, a kick event and is enabled, in whatever
 * order these come; it pauses when disabled, and ends with GET_VRING_BASE. Some front ends never
 * complete some rings (SeaBIOS uses only the first request queue), which concerns nobody else.
 */
#include "attach/vhost_user/impl.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void notify(struct virtq *q)
{
	struct vu_vring *r = q->owner;

	r->c->v->stats.calls++;
	vu_vring_signal(r->call_fd);
}

void vu_vring_init(struct vu_conn *c, unsigned index)
{
	struct vu_vring *r = &c->rings[index];

	r->c = c;
	r->index = index;
	r->kick_fd = r->call_fd = r->err_fd = -1;
	virtq_init(&r->q, c->v->loop, index, c->v->kind->ops->extra_len, notify, r);
}

void vu_vring_signal(int fd)
{
	uint64_t one = 1;
	ssize_t res;

	if (fd < 0)
		return;
	do
		res = write(fd, &one, sizeof(one));
	while (res < 0 && errno == EINTR);
	/* EAGAIN: the counter is full, so the other side has a signal to find */
}

/*
 * Takes fd (-1: none) in place of *to. It must be something that never blocks us and can be polled:
 * an eventfd, or a pipe where there are none. false: it is not (and stays the caller's).
 */
bool vu_vring_set_fd(int *to, int fd)
{
	struct stat st;
	int flags;

	if (fd >= 0) {
		if (fstat(fd, &st) < 0 || (st.st_mode & S_IFMT && !S_ISFIFO(st.st_mode)))
			return false;
		flags = fcntl(fd, F_GETFL);
		if (flags < 0 ||
		    (!(flags & O_NONBLOCK) && fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0))
			return false;
	}
	vu_close(to);
	*to = fd;
	return true;
}

void vu_vring_serve(struct vu_vring *r)
{
	struct vu_conn *c = r->c;

	if (gmem_is_torn(c->mem) || (c->inflight && inflight_is_torn(c->inflight))) {
		vu_conn_fail(c, "a file of guest memory was shortened while it was in use");
		vu_vring_pause(r);
		return;
	}
	virtio_device_kick(c->device, &r->q);
}

static void on_kick(struct loop_watch *w, unsigned events)
{
	struct vu_vring *r = (struct vu_vring *)((char *)w - offsetof(struct vu_vring, kick));
	uint64_t count;
	ssize_t res = read(r->kick_fd, &count, sizeof(count));

	(void)events;
	if (res < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (res <= 0) {
		vu_conn_fail(r->c, "a kick descriptor that cannot be read");
		vu_vring_pause(r);
		return;
	}
	r->c->v->stats.kicks++;
	vu_vring_serve(r);
}

static void watch(struct vu_vring *r, bool on)
{
	if (r->watching == on)
		return;
	r->watching = on;
	if (!on) {
		loop_watch_remove(&r->kick);
		return;
	}
	memset(&r->kick, 0, sizeof(r->kick));
	r->kick.ready = on_kick;
	r->kick.fd = r->kick_fd;
	r->kick.events = POLLIN;
	loop_watch_add(r->c->v->loop, &r->kick);
}

static bool is_enabled(const struct vu_vring *r)
{
	return r->enabled || !(r->c->features & VU_F_PROTOCOL_FEATURES);
}

/* The first ring to start tells whether the driver begins or goes on. */
static void begin(struct vu_conn *c, uint32_t base)
{
	uint32_t pos = c->features & VIRTIO_F_RING_PACKED ? base & 0x7fff7fff : base;

	if (c->begun)
		return;
	c->begun = true;
	c->resumed = !c->was_reset && (c->history || pos);
	if (c->resumed)
		log_line(LOG_INFO, "vhost-user", "%s: the guest goes on where it was", c->name);
	virtio_device_begin(c->device, c->resumed);
}

static int start(struct vu_vring *r, GError **error)
{
	struct vu_conn *c = r->c;
	struct virtq_config conf = {
		.num = r->num,
		.features = c->features,
		.base = r->base,
		.desc = r->desc,
		.avail = r->avail,
		.used = r->used,
	};

	if (c->inflight && r->index < inflight_queues(c->inflight)) {
		if (r->num > inflight_num(c->inflight)) {
			return vu_refuse(
				error, EPROTO,
				"queue %u has %u descriptors, the in-flight buffer room for %u",
				r->index, r->num, inflight_num(c->inflight));
		}
		conf.inflight = inflight_slice(c->inflight, r->index);
	}
	begin(c, r->base);
	conf.resumed = c->resumed && !r->used_before;
	if (!virtq_start(&r->q, c->mem, &conf, error))
		return -EPROTO;
	r->started = r->used_before = true;
	if (r->q.found.n)
		log_line(LOG_INFO, "vhost-user", "%s: queue %u: %u requests are carried out again",
			 c->name, r->index, r->q.found.n);
	virtio_device_add_queue(c->device, &r->q);
	watch(r, true);
	vu_vring_signal(r->call_fd); /* something may have been returned before we ended */
	virtio_device_kick(c->device, &r->q);
	return 0;
}

int vu_vring_update(struct vu_vring *r, GError **error)
{
	bool run = is_enabled(r) && r->kick_fd >= 0;

	if (!r->started)
		return run && r->num && r->has_addr ? start(r, error) : 0;
	if (!run) {
		vu_vring_pause(r);
	} else if (!r->watching) {
		virtq_continue(&r->q);
		watch(r, true);
		virtio_device_kick(r->c->device, &r->q);
	}
	return 0;
}

void vu_vring_pause(struct vu_vring *r)
{
	watch(r, false);
	virtq_stop(&r->q);
}

co_fn void vu_vring_stop(struct vu_vring *r, uint64_t deadline_ns)
{
	vu_vring_pause(r);
	vu_close(&r->kick_fd);
	virtio_device_drain(r->c->device, &r->q, deadline_ns);
	if (!r->started)
		return;
	r->base = virtq_base(&r->q);
	virtq_release(&r->q);
	r->started = false;
	r->c->resumed = false; /* what starts from now on was stopped in order */
}

void vu_vring_fini(struct vu_vring *r)
{
	virtq_fini(&r->q);
	vu_close(&r->kick_fd);
	vu_close(&r->call_fd);
	vu_close(&r->err_fd);
}
