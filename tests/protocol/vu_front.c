/* Messages and set-up of the test front end: see vu_front.h. Requests are in vu_requests.c. */
#include "vu_front.h"
#include "base/bytes.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void die(const char *what)
{
	perror(what);
	abort();
}

void vu_init(struct vu_front *f)
{
	struct vu_front clean = {
		.packed = f->packed,
		.event_idx = f->event_idx,
		.indirect = f->indirect,
		.inflight = f->inflight,
		.n_queues = f->n_queues ? f->n_queues : 3,
		.num = f->num ? f->num : 64,
		.want = f->want,
		.fd = -1,
		.inflight_fd = -1,
	};

	*f = clean;
	f->mem_fd = memfd_create("vu-front", MFD_CLOEXEC);
	if (f->mem_fd < 0 || ftruncate(f->mem_fd, VU_MEM_LEN) < 0)
		die("memfd");
	f->mem = mmap(NULL, VU_MEM_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, f->mem_fd, 0);
	if (f->mem == MAP_FAILED)
		die("mmap");
	for (unsigned i = 0; i < f->n_queues; i++) {
		f->q[i].kick = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		f->q[i].call = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	}
}

void vu_fini(struct vu_front *f)
{
	vu_disconnect(f);
	for (unsigned i = 0; i < f->n_queues; i++) {
		close(f->q[i].kick);
		close(f->q[i].call);
		ring_fini(&f->q[i].ring);
	}
	if (f->inflight_fd >= 0)
		close(f->inflight_fd);
	munmap(f->mem, VU_MEM_LEN);
	close(f->mem_fd);
}

uint64_t vu_gpa(uint64_t off)
{
	return off < VU_SPLIT ? off : VU_GPA2 + (off - VU_SPLIT);
}

uint64_t vu_uaddr(uint64_t off)
{
	return off < VU_SPLIT ? VU_UADDR + off : VU_UADDR2 + (off - VU_SPLIT);
}

void vu_connect(struct vu_front *f, const char *path)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	strncpy(sa.sun_path, path, sizeof(sa.sun_path) - 1);
	f->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (f->fd < 0 || connect(f->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		die(path);
}

void vu_disconnect(struct vu_front *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

void vu_send(struct vu_front *f, uint32_t request, uint32_t flags, const void *payload,
	     uint32_t size, const int *fds, unsigned n_fds)
{
	uint8_t buf[VU_HEADER_LEN + 1024], control[CMSG_SPACE(16 * sizeof(int))] = {0};
	uint32_t header[3] = {request, flags, size};
	struct iovec v = {buf, VU_HEADER_LEN + size};
	struct msghdr msg = {.msg_iov = &v, .msg_iovlen = 1};

	memcpy(buf, header, sizeof(header));
	if (size)
		memcpy(buf + VU_HEADER_LEN, payload, size);
	if (n_fds) {
		struct cmsghdr *c;

		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	}
	/* a server that has closed already is for the receiving side to notice */
	if (sendmsg(f->fd, &msg, MSG_NOSIGNAL) < 0 && errno != EPIPE && errno != ECONNRESET)
		die("sendmsg");
}

static bool wait_readable(int fd, int ms)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, ms) > 0;
}

int vu_receive(struct vu_front *f, uint32_t request, void *payload, uint32_t max, int *fd)
{
	uint8_t control[CMSG_SPACE(sizeof(int))];
	uint32_t header[3];
	struct iovec v = {header, sizeof(header)};
	struct msghdr msg = {
		.msg_iov = &v,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *c;
	ssize_t n;

	if (!wait_readable(f->fd, 20000))
		die("no reply");
	n = recvmsg(f->fd, &msg, MSG_CMSG_CLOEXEC);
	if (n == 0 || (n < 0 && (errno == ECONNRESET || errno == EPIPE)))
		return -1;
	if (n != sizeof(header) || header[0] != request || header[1] != (VU_VERSION | VU_REPLY) ||
	    header[2] > max) {
		fprintf(stderr,
			"reply of %zd bytes: request %u (want %u) flags %#x size %u (max %u)\n", n,
			header[0], request, header[1], header[2], max);
		abort();
	}
	c = CMSG_FIRSTHDR(&msg);
	if (fd) {
		*fd = -1;
		if (c)
			memcpy(fd, CMSG_DATA(c), sizeof(int));
	}
	if (header[2] && recv(f->fd, payload, header[2], MSG_WAITALL) != (ssize_t)header[2])
		die("payload");
	return (int)header[2];
}

uint64_t vu_ask(struct vu_front *f, uint32_t request)
{
	uint64_t v = 0;

	vu_send(f, request, VU_VERSION, NULL, 0, NULL, 0);
	if (vu_receive(f, request, &v, 8, NULL) != 8)
		die("u64 reply");
	return v;
}

int vu_tell(struct vu_front *f, uint32_t request, const void *payload, uint32_t size, int fd)
{
	uint64_t v = 0;

	vu_send(f, request, VU_VERSION | VU_NEED_REPLY, payload, size, &fd, fd >= 0 ? 1 : 0);
	if (vu_receive(f, request, &v, 8, NULL) < 0)
		return -1;
	return v != 0;
}

int vu_tell_u64(struct vu_front *f, uint32_t request, uint64_t value, int fd)
{
	return vu_tell(f, request, &value, 8, fd);
}

int vu_tell_state(struct vu_front *f, uint32_t request, uint32_t index, uint32_t value)
{
	uint32_t v[2] = {index, value};

	return vu_tell(f, request, v, 8, -1);
}

int vu_add_region(struct vu_front *f, uint64_t gpa, uint64_t len, uint64_t uaddr, uint64_t off,
		  int fd)
{
	uint64_t v[5] = {0, gpa, len, uaddr, off};

	return vu_tell(f, VU_ADD_MEM_REG, v, sizeof(v), fd);
}

int vu_remove_region(struct vu_front *f, uint64_t gpa, uint64_t len, uint64_t uaddr)
{
	uint64_t v[5] = {0, gpa, len, uaddr, 0};

	return vu_tell(f, VU_REM_MEM_REG, v, sizeof(v), -1);
}

bool vu_is_closed(struct vu_front *f, int ms)
{
	char c;

	return wait_readable(f->fd, ms) && recv(f->fd, &c, 1, MSG_DONTWAIT) <= 0;
}

static void must(int res, const char *what)
{
	if (res) {
		fprintf(stderr, "%s: answer %d\n", what, res);
		abort();
	}
}

void vu_negotiate(struct vu_front *f)
{
	uint64_t offered = vu_ask(f, VU_GET_FEATURES);

	f->protocol = vu_ask(f, VU_GET_PROTOCOL_FEATURES);
	vu_send(f, VU_SET_PROTOCOL_FEATURES, VU_VERSION, &f->protocol, 8, NULL, 0);
	must(vu_tell(f, VU_SET_OWNER, NULL, 0, -1), "SET_OWNER");
	f->features = VIRTIO_F_VERSION_1 | VU_F_PROTOCOL_FEATURES |
		      (f->want ? f->want : VIRTIO_SCSI_F_HOTPLUG | VIRTIO_SCSI_F_CHANGE) |
		      (f->packed ? VIRTIO_F_RING_PACKED : 0) |
		      (f->event_idx ? VIRTIO_F_EVENT_IDX : 0) |
		      (f->indirect ? VIRTIO_F_INDIRECT_DESC : 0);
	if (f->features & ~offered)
		die("features");
	must(vu_tell_u64(f, VU_SET_FEATURES, f->features, -1), "SET_FEATURES");
}

void vu_share_memory(struct vu_front *f)
{
	must(vu_add_region(f, 0, VU_SPLIT, VU_UADDR, 0, f->mem_fd), "ADD_MEM_REG");
	must(vu_add_region(f, VU_GPA2, VU_MEM_LEN - VU_SPLIT, VU_UADDR2, VU_SPLIT, f->mem_fd),
	     "ADD_MEM_REG");
}

void vu_give_inflight(struct vu_front *f)
{
	if (f->inflight_fd < 0) {
		uint16_t queues = (uint16_t)f->n_queues, num = (uint16_t)f->num;

		memset(f->inflight_shape, 0, sizeof(f->inflight_shape));
		memcpy(f->inflight_shape + 16, &queues, 2);
		memcpy(f->inflight_shape + 18, &num, 2);
		vu_send(f, VU_GET_INFLIGHT_FD, VU_VERSION, f->inflight_shape, VU_INFLIGHT_LEN, NULL,
			0);
		if (vu_receive(f, VU_GET_INFLIGHT_FD, f->inflight_shape, VU_INFLIGHT_LEN,
			       &f->inflight_fd) != VU_INFLIGHT_LEN ||
		    f->inflight_fd < 0)
			die("in-flight buffer");
	}
	must(vu_tell(f, VU_SET_INFLIGHT_FD, f->inflight_shape, VU_INFLIGHT_LEN, f->inflight_fd),
	     "SET_INFLIGHT_FD");
}

uint32_t vu_fresh_base(const struct vu_front *f)
{
	return f->packed ? 1u << 15 | 1u << 31 : 0;
}

static void give_events(struct vu_front *f, unsigned i)
{
	must(vu_tell_u64(f, VU_SET_VRING_CALL, i, f->q[i].call), "SET_VRING_CALL");
	must(vu_tell_u64(f, VU_SET_VRING_KICK, i, f->q[i].kick), "SET_VRING_KICK");
}

void vu_start_queue(struct vu_front *f, unsigned i, uint32_t base)
{
	struct ring *r = &f->q[i].ring;
	uint64_t block = (uint64_t)i * RING_BYTES, addr[5] = {i};

	must(vu_tell_state(f, VU_SET_VRING_NUM, i, r->num), "SET_VRING_NUM");
	must(vu_tell_state(f, VU_SET_VRING_BASE, i, base), "SET_VRING_BASE");
	addr[1] = vu_uaddr(block + r->desc_off);
	addr[2] = vu_uaddr(block + r->used_off);
	addr[3] = vu_uaddr(block + r->avail_off);
	must(vu_tell(f, VU_SET_VRING_ADDR, addr, sizeof(addr), -1), "SET_VRING_ADDR");
	give_events(f, i);
}

void vu_enable(struct vu_front *f, bool on)
{
	for (unsigned i = 0; i < f->n_queues; i++)
		must(vu_tell_state(f, VU_SET_VRING_ENABLE, i, on), "SET_VRING_ENABLE");
}

uint32_t vu_stop_queue(struct vu_front *f, unsigned i)
{
	uint32_t v[2] = {i, 0};

	vu_send(f, VU_GET_VRING_BASE, VU_VERSION, v, 8, NULL, 0);
	if (vu_receive(f, VU_GET_VRING_BASE, v, 8, NULL) != 8 || v[0] != i)
		die("GET_VRING_BASE");
	return v[1];
}

void vu_start(struct vu_front *f, const char *path)
{
	vu_connect(f, path);
	vu_negotiate(f);
	vu_share_memory(f);
	if (f->inflight)
		vu_give_inflight(f);
	for (unsigned i = 0; i < f->n_queues; i++) {
		ring_fini(&f->q[i].ring);
		ring_init(&f->q[i].ring, f->mem + (size_t)i * RING_BYTES, f->num, f->packed,
			  f->event_idx);
		ring_want_call(&f->q[i].ring, true);
		vu_start_queue(f, i, vu_fresh_base(f));
	}
	vu_enable(f, true);
}

void vu_resume(struct vu_front *f, const char *path)
{
	vu_disconnect(f);
	vu_connect(f, path);
	vu_negotiate(f);
	if (f->inflight)
		vu_give_inflight(f);
	vu_share_memory(f);
	for (unsigned i = 0; i < f->n_queues; i++) {
		struct ring *r = &f->q[i].ring;
		uint16_t used = r->packed ? 0 : get_le16(r->used + 2);

		/* a packed ring's place is known to the in-flight buffer only */
		vu_start_queue(f, i, r->packed ? vu_fresh_base(f) : used);
	}
	vu_enable(f, true);
	for (unsigned i = 0; i < f->n_queues; i++) { /* QEMU does so, late */
		uint64_t index = i;

		must(vu_tell(f, VU_SET_VRING_CALL, &index, 8, f->q[i].call), "SET_VRING_CALL");
	}
}
