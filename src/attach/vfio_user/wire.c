/*
 * Framing: see wire.h.
 *
 * One recvmsg() takes whatever is there, often several posted writes. Which message do descriptors
 * belong to then? The kernel ends a recvmsg() behind the piece (sendmsg() of the peer) that carried
 * descriptors, and they ride on the first byte of a message: so it is the last message that starts
 * in what came, or if none starts there the one that was begun before.
 */
#include "attach/vfio_user/wire.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONTROL_FDS = 253 /* in one message, by Linux */, SPARE_LEN = 4096, SMALL_LEN = 128 };

struct wire_out {
	struct wire_out *next;
	size_t len, sent;
	int fds[WIRE_SEND_FDS]; /* go with the first byte, are closed in the end */
	unsigned n_fds;
	uint8_t data[];
};

void wire_init(struct wire *w, int fd, size_t max_size)
{
	memset(w, 0, sizeof(*w));
	w->fd = fd;
	w->max_size = max_size;
	w->room = WIRE_BUF_LEN;
	w->in = g_malloc(w->room);
	w->out_tail = &w->out;
}

static void close_fds(const int *fds, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
}

static void free_out(struct wire_out *o)
{
	close_fds(o->fds, o->n_fds);
	g_free(o);
}

void wire_fini(struct wire *w)
{
	close_fds(w->taken, w->n_taken);
	for (unsigned i = 0; i < w->n_fds; i++)
		close(w->fds[i].fd);
	while (w->out) {
		struct wire_out *o = w->out;

		w->out = o->next;
		free_out(o);
	}
	if (w->fd >= 0)
		close(w->fd);
	g_free(w->in);
	w->in = NULL;
	w->fd = -1;
	w->n_fds = w->n_taken = 0;
}

/* All descriptors that came; their number, or -EPROTO: more than there is room for. */
static int take_fds(struct msghdr *msg, int *fds, unsigned max)
{
	bool overflow = msg->msg_flags & MSG_CTRUNC;
	unsigned n_taken = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		unsigned n = (unsigned)((c->cmsg_len - CMSG_LEN(0)) / sizeof(int));

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (unsigned i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			if (n_taken < max) {
				fds[n_taken++] = fd;
			} else {
				overflow = true;
				close(fd);
			}
		}
	}
	if (!overflow)
		return (int)n_taken;
	close_fds(fds, n_taken);
	return -EPROTO;
}

/* One recvmsg(), with descriptors to fds. */
static int receive(int fd, void *buf, size_t len, int *fds, unsigned max, int *n_fds)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(CONTROL_FDS * sizeof(int))];
	struct iovec iov = {buf, len};
	struct msghdr msg = {.msg_iov = &iov,
			     .msg_iovlen = 1,
			     .msg_control = control,
			     .msg_controllen = sizeof(control)};
	ssize_t n;

	do
		n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	*n_fds = 0;
	if (n < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	if (msg.msg_controllen || msg.msg_flags & MSG_CTRUNC)
		*n_fds = take_fds(&msg, fds, max);
	return *n_fds < 0 ? *n_fds : (int)n;
}

static void make_room(struct wire *w)
{
	size_t have = w->end - w->start, need = WIRE_BUF_LEN;

	if (have >= VFU_HEADER_LEN)
		need = MAX(need, vfu_get32(w->in + w->start, HDR_SIZE));
	need = MIN(need, MAX(w->max_size, WIRE_BUF_LEN));
	if (w->start) {
		memmove(w->in, w->in + w->start, have);
		w->start = 0;
		w->end = have;
	}
	if (need != w->room && have <= need) {
		w->room = need;
		w->in = g_realloc(w->in, need);
	}
}

/* The position of the last message that starts behind byte `from` of the buffer, or 0 and false. */
static bool last_start(const struct wire *w, size_t from, uint64_t *at)
{
	size_t p = w->start;
	bool found = false;

	while (p < w->end) {
		uint32_t size;

		if (p >= from) {
			*at = w->at + (p - w->start);
			found = true;
		}
		if (w->end - p < VFU_HEADER_LEN)
			break;
		size = vfu_get32(w->in + p, HDR_SIZE);
		if (size < VFU_HEADER_LEN || size > w->end - p)
			break; /* unfinished, or wire_next() will say what is wrong with it */
		p += size;
	}
	return found;
}

int wire_fill(struct wire *w)
{
	int fds[WIRE_FDS_MAX], n_fds, n;
	uint64_t at = w->at;
	size_t from;

	if (w->start == w->end && w->room == WIRE_BUF_LEN)
		w->start = w->end = 0;
	else
		make_room(w);
	from = w->end;
	if (w->end == w->room)
		return -EAGAIN; /* cannot be: a message that long was refused */
	n = receive(w->fd, w->in + w->end, w->room - w->end, fds, WIRE_FDS_MAX - w->n_fds, &n_fds);
	if (n <= 0) {
		close_fds(fds, n_fds > 0 ? (unsigned)n_fds : 0);
		return n;
	}
	w->end += (size_t)n;
	if (n_fds)
		last_start(w, from, &at);
	for (int i = 0; i < n_fds; i++)
		w->fds[w->n_fds++] = (struct wire_fd){fds[i], at};
	return n;
}

/* The descriptors of the message at the present position, and of any before it. */
static void take_its_fds(struct wire *w)
{
	unsigned n = 0;

	close_fds(w->taken, w->n_taken);
	w->n_taken = 0;
	while (n < w->n_fds && w->fds[n].at <= w->at)
		w->taken[w->n_taken++] = w->fds[n++].fd;
	w->n_fds -= n;
	memmove(w->fds, w->fds + n, w->n_fds * sizeof(w->fds[0]));
}

int wire_next(struct wire *w, struct vfu_msg *out, const char **why)
{
	const uint8_t *head = w->in + w->start;
	uint32_t size;

	if (w->n_taken) {
		close_fds(w->taken, w->n_taken);
		w->n_taken = 0;
	}
	if (w->end - w->start < VFU_HEADER_LEN)
		return 0;
	size = vfu_get32(head, HDR_SIZE);
	if (size < VFU_HEADER_LEN || size > w->max_size) {
		*why = size < VFU_HEADER_LEN ? "message shorter than its header"
					     : "message longer than agreed";
		return -EPROTO;
	}
	if (w->end - w->start < size)
		return 0;
	if (w->n_fds)
		take_its_fds(w);
	*out = (struct vfu_msg){
		.id = (uint16_t)vfu_get(head, HDR_ID),
		.command = (uint16_t)vfu_get(head, HDR_COMMAND),
		.flags = vfu_get32(head, HDR_FLAGS),
		.error = vfu_get32(head, HDR_ERROR),
		.payload = w->in + w->start + VFU_HEADER_LEN,
		.len = size - VFU_HEADER_LEN,
		.fds = w->taken,
		.n_fds = w->n_taken,
	};
	w->start += size;
	w->at += size;
	return 1;
}

static ssize_t send_some(int fd, const struct iovec *iov, size_t n, const int *fds, unsigned n_fds)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(WIRE_SEND_FDS * sizeof(int))];
	struct msghdr msg = {.msg_iov = (struct iovec *)iov, .msg_iovlen = n};
	ssize_t res;

	if (n_fds) {
		struct cmsghdr *c;

		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		memset(control, 0, msg.msg_controllen);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
	}
	do
		res = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (res < 0 && errno == EINTR);
	if (res < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
	return res;
}

/* Copies what was not sent to the queue. */
static int enqueue(struct wire *w, const struct iovec *iov, unsigned n, size_t sent, const int *fds,
		   unsigned n_fds)
{
	struct wire_out *o;
	size_t len = 0, at = 0;

	for (unsigned i = 0; i < n; i++)
		len += iov[i].iov_len;
	o = g_malloc(sizeof(*o) + len - sent);
	o->next = NULL;
	o->len = len - sent;
	o->sent = 0;
	o->n_fds = 0;
	for (unsigned i = 0; !sent && i < n_fds; i++) {
		o->fds[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 0);
		if (o->fds[i] < 0) {
			int errnum = errno;

			free_out(o);
			return -errnum;
		}
		o->n_fds++;
	}
	for (unsigned i = 0; i < n; i++) {
		size_t skip = MIN(sent, iov[i].iov_len);

		memcpy(o->data + at, (const uint8_t *)iov[i].iov_base + skip,
		       iov[i].iov_len - skip);
		at += iov[i].iov_len - skip;
		sent -= skip;
	}
	*w->out_tail = o;
	w->out_tail = &o->next;
	w->out_len += o->len;
	return 0;
}

/* Nearly every message: in one piece a system call costs the kernel half a microsecond less. */
static ssize_t send_small(int fd, const struct iovec *iov, unsigned n)
{
	uint8_t buf[SMALL_LEN];
	size_t len = 0;
	ssize_t res;

	for (unsigned i = 0; i < n; i++) {
		memcpy(buf + len, iov[i].iov_base, iov[i].iov_len);
		len += iov[i].iov_len;
	}
	do
		res = send(fd, buf, len, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (res < 0 && errno == EINTR);
	if (res < 0)
		return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -errno;
	return res;
}

int wire_send(struct wire *w, const uint8_t *header, const struct iovec *more, unsigned n,
	      const int *fds, unsigned n_fds)
{
	struct iovec iov[WIRE_HEADER_IOVS];
	size_t len = VFU_HEADER_LEN;
	ssize_t sent = 0;

	iov[0] = (struct iovec){(void *)header, VFU_HEADER_LEN};
	for (unsigned i = 0; i < n; i++) {
		iov[i + 1] = more[i];
		len += more[i].iov_len;
	}
	if (!w->out) {
		sent = len <= SMALL_LEN && !n_fds ? send_small(w->fd, iov, n + 1)
						  : send_some(w->fd, iov, n + 1, fds, n_fds);
		if (sent < 0 || (size_t)sent == len)
			return sent < 0 ? (int)sent : 0;
	}
	return enqueue(w, iov, n + 1, (size_t)sent, fds, n_fds);
}

int wire_flush(struct wire *w)
{
	while (w->out) {
		struct wire_out *o = w->out;
		struct iovec iov = {o->data + o->sent, o->len - o->sent};
		ssize_t n = send_some(w->fd, &iov, 1, o->fds, o->sent ? 0 : o->n_fds);

		if (n <= 0)
			return (int)n;
		o->sent += (size_t)n;
		w->out_len -= (size_t)n;
		if (o->sent < o->len)
			continue;
		w->out = o->next;
		if (!w->out)
			w->out_tail = &w->out;
		free_out(o);
	}
	return 0;
}

int wire_discard(struct wire *w)
{
	int fds[CONTROL_FDS], n_fds, n;
	uint8_t spare[SPARE_LEN];

	n = receive(w->fd, spare, sizeof(spare), fds, CONTROL_FDS, &n_fds);
	close_fds(fds, n_fds > 0 ? (unsigned)n_fds : 0);
	return n == -EPROTO ? 1 : n;
}
