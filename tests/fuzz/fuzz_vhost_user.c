/*
 * Fuzzer: a front end sends what it likes, with descriptors, into a server that runs on the same
 * loop; its guest's memory holds the end of the input.
 *
 * Input: one byte of choices, then messages: request (1 byte), flags (1), payload size (1), number
 * of descriptors (1), payload. A request of 0xff kicks a queue instead. What is left when a message
 * does not fit is guest memory.
 */
#include "attach/vhost_user/impl.h"
#include "base/sock.h"
#include "../protocol/fake_unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { GUEST_LEN = 1 << 16, RING = 2, RING_NUM = 16, TURNS = 6 };

static struct {
	struct loop *loop;
	struct vhost_user *v;
	struct scsi_lu *unit;
	uint8_t *guest;
	int guest_fd, event_fd, dir_fd, front;
	char path[64];
	const uint8_t *data;
	size_t size;
} w;

static void start_server(void *arg)
{
	struct vhost_user_options o = {.path = w.path,
				       .targets = &w.unit,
				       .n_targets = 1,
				       .packed = true,
				       .config = true,
				       .max_queues = 2};

	(void)arg;
	w.unit = fake_unit_new(w.loop, "fuzz", fake_store_new());
	w.v = vhost_user_new(w.loop, &o, NULL);
	if (!w.v)
		abort();
	loop_stop(w.loop);
}

static void quiet(enum log_level level, const char *area, const char *text, void *arg)
{
	(void)level;
	(void)area;
	(void)text;
	(void)arg;
}

static void remove_socket(void)
{
	unlink(w.path);
}

static void set_up(void)
{
	log_set_sink(quiet, NULL);
	snprintf(w.path, sizeof(w.path), "/tmp/outboard-fuzz-%d.sock", (int)getpid());
	atexit(remove_socket);
	w.loop = loop_new(LOOP_EPOLL, NULL);
	w.guest_fd = memfd_create("fuzz", MFD_CLOEXEC);
	w.event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	w.dir_fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!w.loop || w.guest_fd < 0 || ftruncate(w.guest_fd, GUEST_LEN) < 0)
		abort();
	w.guest = mmap(NULL, GUEST_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, w.guest_fd, 0);
	co_start(w.loop, start_server, NULL);
	loop_run(w.loop);
}

static co_fn void let_server_work(void)
{
	uint8_t buf[4096], control[256];

	for (unsigned i = 0; i < TURNS; i++) {
		struct iovec v = {buf, sizeof(buf)};
		struct msghdr msg = {.msg_iov = &v,
				     .msg_iovlen = 1,
				     .msg_control = control,
				     .msg_controllen = sizeof(control)};
		struct cmsghdr *c;
		int fd;

		co_reschedule();
		if (recvmsg(w.front, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) <= 0)
			continue;
		c = CMSG_FIRSTHDR(&msg);
		if (c && c->cmsg_type == SCM_RIGHTS) {
			memcpy(&fd, CMSG_DATA(c), sizeof(fd));
			close(fd);
		}
	}
}

static int fd_for(unsigned request)
{
	switch (request) {
	case VU_SET_MEM_TABLE:
	case VU_ADD_MEM_REG:
	case VU_SET_INFLIGHT_FD: return w.guest_fd;
	case VU_SET_VRING_KICK:
	case VU_SET_VRING_CALL:
	case VU_SET_VRING_ERR: return w.event_fd;
	default: return w.dir_fd;
	}
}

static co_fn bool send_message(uint32_t request, uint32_t flags, const void *payload, uint32_t size,
			       unsigned n_fds)
{
	uint8_t buf[VU_HEADER_LEN + 256];
	uint32_t header[3] = {request, flags, size};
	int fds[4];
	int res;

	for (unsigned i = 0; i < n_fds; i++)
		fds[i] = fd_for(request);
	memcpy(buf, header, sizeof(header));
	memcpy(buf + sizeof(header), payload, size);
	res = sock_send_all(w.front, buf, VU_HEADER_LEN + size, fds, n_fds);
	let_server_work();
	return res == 0;
}

/* Up to a running request queue, as a good front end does it. */
static co_fn void good_start(bool packed, bool inflight)
{
	uint64_t features = VIRTIO_F_VERSION_1 | VU_F_PROTOCOL_FEATURES | VIRTIO_F_INDIRECT_DESC |
			    (packed ? VIRTIO_F_RING_PACKED : VIRTIO_F_EVENT_IDX);
	uint64_t protocol = 0xb229 & ~(inflight ? 0 : 1ull << VU_P_INFLIGHT_SHMFD);
	uint64_t region[5] = {0, 0, GUEST_LEN, 0, 0}, addr[5] = {RING, 0, 512, 256, 0},
		 index = RING;
	uint32_t num[2] = {RING, RING_NUM}, base[2] = {RING, packed ? 1u << 15 | 1u << 31 : 0};
	uint32_t enable[2] = {RING, 1};
	uint64_t shape[3] = {GUEST_LEN / 2, GUEST_LEN / 2, 3 | (uint64_t)RING_NUM << 16};

	send_message(VU_SET_PROTOCOL_FEATURES, VU_VERSION, &protocol, 8, 0);
	send_message(VU_SET_FEATURES, VU_VERSION, &features, 8, 0);
	send_message(VU_ADD_MEM_REG, VU_VERSION, region, 40, 1);
	if (inflight)
		send_message(VU_SET_INFLIGHT_FD, VU_VERSION, shape, 24, 1);
	send_message(VU_SET_VRING_NUM, VU_VERSION, num, 8, 0);
	send_message(VU_SET_VRING_BASE, VU_VERSION, base, 8, 0);
	send_message(VU_SET_VRING_ADDR, VU_VERSION, addr, 40, 0);
	send_message(VU_SET_VRING_CALL, VU_VERSION, &index, 8, 1);
	send_message(VU_SET_VRING_KICK, VU_VERSION, &index, 8, 1);
	send_message(VU_SET_VRING_ENABLE, VU_VERSION, enable, 8, 0);
}

static co_fn void speak(void)
{
	while (w.size >= 4) {
		unsigned request = w.data[0], flags = w.data[1], size = w.data[2],
			 n_fds = w.data[3] & 3;
		uint64_t one = 1;

		w.data += 4;
		w.size -= 4;
		if (request == 0xff) {
			if (write(w.event_fd, &one, 8) == 8)
				let_server_work();
			continue;
		}
		if (size > w.size)
			return;
		if (!send_message(request,
				  flags & 0x80 ? flags : VU_VERSION | (flags & VU_NEED_REPLY),
				  w.data, size, n_fds))
			return;
		w.data += size;
		w.size -= size;
	}
}

static void run(void *arg)
{
	uint8_t choices = w.size ? *w.data : 0;
	size_t tail = w.size / 2;
	uint64_t one = 1;

	(void)arg;
	memset(w.guest, 0, GUEST_LEN);
	if (w.size) {
		w.data++;
		w.size--;
	}
	memcpy(w.guest, w.data + w.size - MIN(tail, w.size), MIN(MIN(tail, w.size), GUEST_LEN));
	if (choices & 8) /* an in-flight slice that the input wrote */
		memcpy(w.guest + GUEST_LEN / 2, w.data, MIN(w.size, GUEST_LEN / 2));
	w.front = sock_connect_unix(w.path, NULL);
	if (w.front < 0)
		abort();
	let_server_work();
	if (choices & 1)
		good_start(choices & 2, choices & 4);
	if (write(w.event_fd, &one, 8) == 8)
		let_server_work();
	speak();
	close(w.front);
	for (unsigned i = 0; w.v->conns[0] && i < 100000; i++)
		co_reschedule();
	if (w.v->conns[0])
		abort(); /* the connection did not end */
	loop_stop(w.loop);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!w.loop)
		set_up();
	w.data = data;
	w.size = size;
	co_start(w.loop, run, NULL);
	loop_run(w.loop);
	return 0;
}
