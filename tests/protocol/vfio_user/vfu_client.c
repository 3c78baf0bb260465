/* See vfu_client.h. */
#include "vfu_client.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { TIMEOUT_MS = 20000 };

#define QEMU_JSON                                                                               \
	"{\"capabilities\": {\"pgsizes\": 4096, \"max_msg_fds\": 16, \"max_dma_maps\": 65535, " \
	"\"max_data_xfer_size\": 1048576, \"migration\": {\"max_bitmap_size\": 268435456, "     \
	"\"pgsize\": 4096}, \"write_multiple\": true}}"

static void die(const char *what)
{
	perror(what);
	abort();
}

struct vfu_client *client_connect(const char *path)
{
	struct vfu_client *c = calloc(1, sizeof(*c));
	struct sockaddr_un sa = {.sun_family = AF_UNIX};

	if (!c)
		die("calloc");
	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		die(path);
	return c;
}

static void close_fds(struct vfu_client *c)
{
	for (unsigned i = 0; i < c->n_fds; i++)
		close(c->fds[i]);
	c->n_fds = 0;
}

void client_close(struct vfu_client *c)
{
	if (!c)
		return;
	close_fds(c);
	close(c->fd);
	free(c);
}

void client_send_raw(struct vfu_client *c, const void *data, size_t len, const int *fds,
		     unsigned n_fds)
{
	char control[CMSG_SPACE(CLIENT_FDS * sizeof(int))] __attribute__((aligned(8))) = {0};
	struct iovec iov = {(void *)data, len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (n_fds) {
		struct cmsghdr *h = (struct cmsghdr *)control;

		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(h), fds, n_fds * sizeof(int));
	}
	while (iov.iov_len) {
		ssize_t n = sendmsg(c->fd, &msg, MSG_NOSIGNAL);

		if (n < 0)
			return; /* the server has ended it: the test sees that when it receives */
		iov.iov_base = (char *)iov.iov_base + n;
		iov.iov_len -= (size_t)n;
		msg.msg_control = NULL;
		msg.msg_controllen = 0;
	}
}

static void send_message(struct vfu_client *c, uint16_t id, unsigned command, uint32_t flags,
			 uint32_t error, const void *payload, size_t len, const int *fds,
			 unsigned n_fds)
{
	uint8_t *m = malloc(VFU_HEADER_LEN + len);

	if (!m)
		die("malloc");
	vfu_put(m, HDR_ID, id);
	vfu_put(m, HDR_COMMAND, command);
	vfu_put(m, HDR_SIZE, VFU_HEADER_LEN + len);
	vfu_put(m, HDR_FLAGS, flags);
	vfu_put(m, HDR_ERROR, error);
	if (len)
		memcpy(m + VFU_HEADER_LEN, payload, len);
	client_send_raw(c, m, VFU_HEADER_LEN + len, fds, n_fds);
	free(m);
}

uint16_t client_send(struct vfu_client *c, unsigned command, uint32_t flags, const void *payload,
		     size_t len, const int *fds, unsigned n_fds)
{
	send_message(c, c->next_id, command, flags, 0, payload, len, fds, n_fds);
	return c->next_id++;
}

bool client_is_silent(struct vfu_client *c, int ms)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN};

	return poll(&p, 1, ms) == 0;
}

static ssize_t receive_some(struct vfu_client *c, void *buf, size_t len)
{
	char control[CMSG_SPACE(CLIENT_FDS * sizeof(int))] __attribute__((aligned(8)));
	struct iovec iov = {buf, len};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control)};
	ssize_t n;

	if (client_is_silent(c, TIMEOUT_MS)) {
		fprintf(stderr, "no message within %d ms\n", TIMEOUT_MS);
		abort();
	}
	n = recvmsg(c->fd, &msg, MSG_CMSG_CLOEXEC);
	for (struct cmsghdr *h = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL; h; h = CMSG_NXTHDR(&msg, h)) {
		size_t n_fds = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		memcpy(c->fds + c->n_fds, CMSG_DATA(h), n_fds * sizeof(int));
		c->n_fds += (unsigned)n_fds;
	}
	return n;
}

static bool receive_all(struct vfu_client *c, void *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = receive_some(c, (char *)buf + done, len - done);

		if (n <= 0)
			return false;
		done += (size_t)n;
	}
	return true;
}

bool client_receive(struct vfu_client *c)
{
	uint8_t header[VFU_HEADER_LEN];
	uint32_t size;

	close_fds(c);
	if (!receive_all(c, header, sizeof(header)))
		return false;
	size = vfu_get32(header, HDR_SIZE);
	if (size < VFU_HEADER_LEN || size - VFU_HEADER_LEN > sizeof(c->payload)) {
		fprintf(stderr, "message of %u bytes\n", size);
		abort();
	}
	c->id = (uint16_t)vfu_get(header, HDR_ID);
	c->command = (uint16_t)vfu_get(header, HDR_COMMAND);
	c->flags = vfu_get32(header, HDR_FLAGS);
	c->error = vfu_get32(header, HDR_ERROR);
	c->len = size - VFU_HEADER_LEN;
	return receive_all(c, c->payload, c->len);
}

void client_answer_dma(struct vfu_client *c)
{
	uint64_t iova = vfu_get(c->payload, DMA_IOVA), count = vfu_get(c->payload, DMA_COUNT);
	size_t shift = c->layout == CLIENT_OLD ? VFU_DMA_OLD_SHIFT : 0;
	bool write = c->command == VFU_DMA_WRITE;
	uint8_t *mem;

	if (c->layout == CLIENT_OLD)
		count = (uint32_t)count;
	mem = c->ram + (iova - c->ram_iova);
	if (c->dma_error || iova < c->ram_iova || count > c->ram_len ||
	    iova - c->ram_iova > c->ram_len - count) {
		send_message(c, c->id, c->command, VFU_TYPE_REPLY | VFU_ERROR,
			     c->dma_error ? (uint32_t)c->dma_error : EFAULT, NULL, 0, NULL, 0);
		return;
	}
	if (write) {
		if (count)
			memcpy(mem, c->payload + DMA_LEN - shift, count);
		send_message(c, c->id, c->command, VFU_TYPE_REPLY, 0, c->payload,
			     c->layout == CLIENT_OLD ? 0 : DMA_LEN, NULL, 0);
		return;
	}
	memset(c->payload + DMA_LEN, 0, count);
	memcpy(c->payload + DMA_LEN - shift, mem, count);
	send_message(c, c->id, c->command, VFU_TYPE_REPLY, 0, c->payload, DMA_LEN + count, NULL, 0);
}

int client_reply(struct vfu_client *c, uint16_t id)
{
	for (;;) {
		if (!client_receive(c))
			return ECONNRESET;
		if ((c->flags & VFU_TYPE_MASK) == VFU_TYPE_COMMAND) {
			if (c->hold_dma) {
				c->held_id[c->dma_messages % 16] = c->id;
				c->held_command[c->dma_messages % 16] = c->command;
			}
			c->dma_messages++;
			if (!c->hold_dma)
				client_answer_dma(c);
			continue;
		}
		if (c->id != id) {
			fprintf(stderr, "reply to %u while %u was asked\n", c->id, id);
			abort();
		}
		return c->flags & VFU_ERROR ? (int)c->error : 0;
	}
}

int client_call(struct vfu_client *c, unsigned command, const void *payload, size_t len,
		const int *fds, unsigned n_fds)
{
	return client_reply(c, client_send(c, command, 0, payload, len, fds, n_fds));
}

int client_version(struct vfu_client *c, unsigned major, unsigned minor, const char *json)
{
	uint8_t m[8192];
	size_t len = json ? strlen(json) + 1 : 0;

	vfu_put(m, VER_MAJOR, major);
	vfu_put(m, VER_MINOR, minor);
	memcpy(m + VER_LEN, json ? json : "", len);
	return client_call(c, VFU_VERSION, m, VER_LEN + len, NULL, 0);
}

struct vfu_client *client_open(const char *path)
{
	struct vfu_client *c = client_connect(path);

	if (client_version(c, 0, 0, QEMU_JSON)) {
		fprintf(stderr, "%s: no version agreed\n", path);
		abort();
	}
	return c;
}

int client_map(struct vfu_client *c, uint64_t iova, uint64_t size, uint32_t flags, int fd,
	       uint64_t off)
{
	uint8_t m[MAP_LEN];

	vfu_put(m, MAP_ARGSZ, sizeof(m));
	vfu_put(m, MAP_FLAGS, flags);
	vfu_put(m, MAP_FILE_OFF, off);
	vfu_put(m, MAP_IOVA, iova);
	vfu_put(m, MAP_SIZE, size);
	return client_call(c, VFU_DMA_MAP, m, sizeof(m), &fd, fd >= 0 ? 1 : 0);
}

int client_unmap(struct vfu_client *c, uint64_t iova, uint64_t size, uint32_t flags)
{
	uint8_t m[UNMAP_LEN];

	vfu_put(m, UNMAP_ARGSZ, sizeof(m));
	vfu_put(m, UNMAP_FLAGS, flags);
	vfu_put(m, UNMAP_IOVA, iova);
	vfu_put(m, UNMAP_SIZE, size);
	return client_call(c, VFU_DMA_UNMAP, m, sizeof(m), NULL, 0);
}

int client_set_irqs(struct vfu_client *c, uint32_t flags, uint32_t index, uint32_t start,
		    uint32_t count, const int *fds, unsigned n_fds)
{
	uint8_t m[IRQSET_LEN];

	vfu_put(m, IRQSET_ARGSZ, sizeof(m));
	vfu_put(m, IRQSET_FLAGS, flags);
	vfu_put(m, IRQSET_INDEX, index);
	vfu_put(m, IRQSET_START, start);
	vfu_put(m, IRQSET_COUNT, count);
	return client_call(c, VFU_SET_IRQS, m, sizeof(m), fds, n_fds);
}

static void put_access(uint8_t *m, unsigned region, uint64_t off, uint32_t len)
{
	vfu_put(m, ACCESS_OFF, off);
	vfu_put(m, ACCESS_REGION, region);
	vfu_put(m, ACCESS_COUNT, len);
}

int client_access(struct vfu_client *c, bool write, unsigned region, uint64_t off, void *data,
		  uint32_t len)
{
	uint8_t m[ACCESS_LEN + 8192];
	int res;

	put_access(m, region, off, len);
	if (write) {
		memcpy(m + ACCESS_LEN, data, len);
		return client_call(c, VFU_REGION_WRITE, m, ACCESS_LEN + len, NULL, 0);
	}
	res = client_call(c, VFU_REGION_READ, m, ACCESS_LEN, NULL, 0);
	if (res)
		return res;
	if (c->len != ACCESS_LEN + len || memcmp(c->payload, m, ACCESS_LEN) != 0) {
		fprintf(stderr, "read of %u bytes answered with %zu\n", len, c->len);
		abort();
	}
	memcpy(data, c->payload + ACCESS_LEN, len);
	return 0;
}

uint32_t client_read32(struct vfu_client *c, unsigned region, uint64_t off)
{
	uint32_t v = 0;
	int res = client_access(c, false, region, off, &v, sizeof(v));

	if (res) {
		fprintf(stderr, "read of region %u at %#lx: errno %d\n", region, (long)off, res);
		abort();
	}
	return v;
}

void client_write32(struct vfu_client *c, unsigned region, uint64_t off, uint32_t value)
{
	int res = client_access(c, true, region, off, &value, sizeof(value));

	if (res) {
		fprintf(stderr, "write to region %u at %#lx: errno %d\n", region, (long)off, res);
		abort();
	}
}

void client_post32(struct vfu_client *c, unsigned region, uint64_t off, uint32_t value)
{
	uint8_t m[ACCESS_LEN + sizeof(value)];

	put_access(m, region, off, sizeof(value));
	memcpy(m + ACCESS_LEN, &value, sizeof(value));
	client_send(c, VFU_REGION_WRITE, VFU_NO_REPLY, m, sizeof(m), NULL, 0);
}

uint16_t client_send_read(struct vfu_client *c, unsigned region, uint64_t off, uint32_t len)
{
	uint8_t m[ACCESS_LEN];

	put_access(m, region, off, len);
	return client_send(c, VFU_REGION_READ, 0, m, sizeof(m), NULL, 0);
}
