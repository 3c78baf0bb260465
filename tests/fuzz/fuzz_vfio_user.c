/*
 * Fuzzer: a client sends what it likes, with descriptors, into a vfio-user server that runs on the
 * same loop, with a device that does DMA, raises interrupts and can be slow.
 *
 * Input: one byte of choices, then messages: command (1 byte), flags (1), payload size (1), number
 * and kind of descriptors (1), payload. A command of 0xff sends its payload as it is, without any
 * header, so that framing is broken too.
 */
#include "../protocol/vfio_user/toy.h"
#include "attach/vfio_user/impl.h"
#include "base/sock.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { GUEST_LEN = 1 << 18, TURNS = 4, CHOICE_VERSION = 1, CHOICE_ENABLE = 2, CHOICE_ANSWER = 4 };

static struct {
	struct loop *loop;
	struct vfio_user *v;
	struct toy *toy;
	int guest_fd, event_fd, dir_fd, client;
	char path[64];
	const uint8_t *data;
	size_t size;
	uint16_t next_id;
	bool answer;
} w;

static void start_server(void *arg)
{
	struct vfio_user_options o = {.path = w.path};

	(void)arg;
	w.toy = toy_new(w.loop, "fuzz");
	o.function = toy_function(w.toy);
	w.v = vfio_user_new(w.loop, &o, NULL);
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
	co_start(w.loop, start_server, NULL);
	loop_run(w.loop);
}

/* A message of the server was received: answers its DMA if the input wants that. */
static co_fn void answer(const uint8_t *m, size_t len)
{
	uint8_t reply[VFU_HEADER_LEN + DMA_LEN + 4096] = {0};
	uint32_t command, count;
	size_t size = VFU_HEADER_LEN + DMA_LEN;

	if (!w.answer || len < size || vfu_get32(m, HDR_FLAGS) & VFU_TYPE_MASK)
		return;
	command = (uint32_t)vfu_get(m, HDR_COMMAND);
	count = vfu_get32(m + VFU_HEADER_LEN, DMA_COUNT);
	if (command == VFU_DMA_READ)
		size += MIN(count, 4096);
	memcpy(reply, m, VFU_HEADER_LEN + DMA_LEN);
	vfu_put(reply, HDR_SIZE, size);
	vfu_put(reply, HDR_FLAGS, VFU_TYPE_REPLY);
	sock_send_all(w.client, reply, size, NULL, 0);
}

static co_fn void let_server_work(void)
{
	static uint8_t in[1 << 16];
	char control[CMSG_SPACE(16 * sizeof(int))];

	for (unsigned i = 0; i < TURNS; i++) {
		struct iovec iov = {in, sizeof(in)};
		struct msghdr msg = {.msg_iov = &iov,
				     .msg_iovlen = 1,
				     .msg_control = control,
				     .msg_controllen = sizeof(control)};
		ssize_t n;

		co_reschedule();
		n = recvmsg(w.client, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
		if (n <= 0)
			continue;
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
			for (size_t k = 0; k < (c->cmsg_len - CMSG_LEN(0)) / sizeof(int); k++) {
				int fd;

				memcpy(&fd, CMSG_DATA(c) + k * sizeof(fd), sizeof(fd));
				close(fd);
			}
		}
		answer(in, (size_t)n);
	}
}

static co_fn bool send_message(unsigned command, uint32_t flags, const void *payload, size_t len,
			       unsigned n_fds, unsigned kind)
{
	const int kinds[4] = {w.guest_fd, w.event_fd, w.dir_fd, w.event_fd};
	uint8_t m[VFU_HEADER_LEN + 256];
	int fds[64], res;

	for (unsigned i = 0; i < n_fds; i++)
		fds[i] = kinds[kind & 3];
	if (command == 0xff) {
		res = sock_send_all(w.client, payload, len, fds, len ? n_fds : 0);
	} else {
		vfu_put(m, HDR_ID, w.next_id++);
		vfu_put(m, HDR_COMMAND, command);
		vfu_put(m, HDR_SIZE, VFU_HEADER_LEN + len);
		vfu_put(m, HDR_FLAGS, flags);
		vfu_put(m, HDR_ERROR, 0);
		memcpy(m + VFU_HEADER_LEN, payload, len);
		res = sock_send_all(w.client, m, VFU_HEADER_LEN + len, fds, n_fds);
	}
	let_server_work();
	return res == 0;
}

static co_fn void map(uint64_t iova, uint64_t size, unsigned n_fds)
{
	uint8_t m[MAP_LEN] = {0};

	vfu_put(m, MAP_ARGSZ, sizeof(m));
	vfu_put(m, MAP_FLAGS, VFU_MAP_READ | VFU_MAP_WRITE);
	vfu_put(m, MAP_IOVA, iova);
	vfu_put(m, MAP_SIZE, size);
	send_message(VFU_DMA_MAP, 0, m, sizeof(m), n_fds, 0);
}

/* As a good client begins: memory of both kinds, interrupts, bus mastering. */
static co_fn void good_start(bool enable)
{
	static const char version[] = "\0\0\0\0{\"capabilities\":{\"max_data_xfer_size\":4096}}";
	uint8_t m[64] = {0};

	send_message(VFU_VERSION, 0, version, sizeof(version), 0, 0);
	if (!enable)
		return;
	map(0, GUEST_LEN, 1);
	map(1 << 20, 1 << 20, 0);
	vfu_put(m, ACCESS_OFF, 4);
	vfu_put(m, ACCESS_REGION, VFU_REGION_CONFIG);
	vfu_put(m, ACCESS_COUNT, 2);
	m[ACCESS_LEN] = 7;
	send_message(VFU_REGION_WRITE, 0, m, ACCESS_LEN + 2, 0, 0);
	memset(m, 0, sizeof(m));
	vfu_put(m, IRQSET_FLAGS, VFU_SET_EVENTFD | VFU_SET_TRIGGER);
	vfu_put(m, IRQSET_COUNT, 1);
	send_message(VFU_SET_IRQS, 0, m, IRQSET_LEN, 1, 1);
}

static co_fn void speak(void)
{
	while (w.size >= 4) {
		unsigned command = w.data[0], flags = w.data[1], len = w.data[2],
			 n_fds = w.data[3] & 63, kind = w.data[3] >> 6;

		w.data += 4;
		w.size -= 4;
		len = (unsigned)MIN(len, w.size);
		if (!send_message(command, flags, w.data, len, n_fds > 20 ? 0 : n_fds, kind))
			return;
		w.data += len;
		w.size -= len;
	}
}

static void run(void *arg)
{
	uint8_t choices = w.size ? *w.data : 0;

	(void)arg;
	if (w.size) {
		w.data++;
		w.size--;
	}
	w.answer = choices & CHOICE_ANSWER;
	w.client = sock_connect_unix(w.path, NULL);
	if (w.client < 0)
		abort();
	let_server_work();
	if (choices & CHOICE_VERSION)
		good_start(choices & CHOICE_ENABLE);
	speak();
	close(w.client);
	for (unsigned i = 0; w.v->n_conns && i < 100000; i++)
		co_reschedule();
	if (w.v->n_conns)
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
