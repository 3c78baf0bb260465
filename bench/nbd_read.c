/*
 * nbd_read SOCKET EXPORT LENGTH DEPTH CONNECTIONS SECONDS random|linear: reads of LENGTH bytes from
 * an NBD server on a unix socket, DEPTH in flight on each connection. Prints how many a second.
 * Every block of 4 KiB of the export begins with its number (8 bytes, big-endian), which is
 * checked.
 *
 * One thread; requests that replies make room for go out with one system call, so that the server
 * and not this client is what is measured.
 */
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum {
	BLOCK = 4096,
	CONNECTIONS_MAX = 16,
	DEPTH_MAX = 256,
	IN_LEN = 1 << 20,
	REQUEST_LEN = 28,
	CHUNK_LEN = 20,
	CHUNK_DONE = 1,
	CHUNK_DATA = 1,
	OPT_GO = 7,
	OPT_STRUCTURED = 8,
	REP_ACK = 1,
	REP_INFO = 3,
	READ_ONLY_FLAGS = 3, /* fixed newstyle, no zeroes */
};

struct conn {
	int fd;
	uint8_t in[IN_LEN]; /* received and not yet used: at to end */
	size_t at, end;
	/* of the chunk whose data come in: */
	uint64_t left, pos; /* bytes still to come, where they belong */
	bool last;
	uint8_t out[DEPTH_MAX * REQUEST_LEN];
	size_t out_len;
	unsigned in_flight;
};

static struct {
	uint64_t size, length, next, random, done;
	bool linear, ending;
} work;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void fail(const char *what)
{
	fprintf(stderr, "nbd_read: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t get(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | *p++;
	return v;
}

static uint8_t *put(uint8_t *p, uint64_t v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		p[i] = (uint8_t)(v >> 8 * (n - 1 - i));
	return p + n;
}

static void send_all(int fd, const uint8_t *p, size_t len)
{
	while (len) {
		ssize_t n = send(fd, p, len, MSG_NOSIGNAL);

		if (n < 0)
			fail("send");
		p += n;
		len -= (size_t)n;
	}
}

static void recv_all(int fd, void *p, size_t len)
{
	errno = EPIPE;
	if (len && recv(fd, p, len, MSG_WAITALL) != (ssize_t)len)
		fail("recv");
}

static void send_option(int fd, uint32_t option, const uint8_t *data, uint32_t len)
{
	uint8_t head[16], *p = head;

	memcpy(p, "IHAVEOPT", 8);
	p = put(p + 8, option, 4);
	put(p, len, 4);
	send_all(fd, head, sizeof(head));
	send_all(fd, data, len);
}

/* Until the ACK; the size of the export from what comes before it. */
static void await_ack(int fd)
{
	uint8_t head[20], data[4096];
	uint32_t type;

	do {
		uint64_t len;

		recv_all(fd, head, sizeof(head));
		type = (uint32_t)get(head + 12, 4);
		len = get(head + 16, 4);
		errno = EPROTO;
		if ((type != REP_ACK && type != REP_INFO) || len > sizeof(data))
			fail("an option was refused");
		recv_all(fd, data, len);
		if (type == REP_INFO && get(data, 2) == 0)
			work.size = get(data + 2, 8);
	} while (type != REP_ACK);
}

static int open_conn(const char *path, const char *export)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	uint8_t greeting[18], answer[4], data[512], *p = data;
	size_t len = strlen(export);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(sa.sun_path) || len > 256)
		exit(2);
	strcpy(sa.sun_path, path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0)
		fail(path);
	recv_all(fd, greeting, sizeof(greeting));
	put(answer, READ_ONLY_FLAGS, 4);
	send_all(fd, answer, sizeof(answer));
	send_option(fd, OPT_STRUCTURED, data, 0);
	await_ack(fd);
	p = put(p, len, 4);
	memcpy(p, export, len);
	p = put(p + len, 0, 2);
	send_option(fd, OPT_GO, data, (uint32_t)(p - data));
	await_ack(fd);
	return fd;
}

static uint64_t next_offset(void)
{
	uint64_t n = work.size / work.length;

	work.random ^= work.random << 13;
	work.random ^= work.random >> 7;
	work.random ^= work.random << 17;
	return (work.linear ? work.next++ : work.random) % n * work.length;
}

static void add_request(struct conn *c)
{
	uint8_t *p = c->out + c->out_len;
	uint64_t off = next_offset();

	p = put(p, 0x25609513, 4);
	p = put(p, 0, 4);
	p = put(p, off, 8);
	p = put(p, off, 8);
	put(p, work.length, 4);
	c->out_len += REQUEST_LEN;
	c->in_flight++;
}

static void check_block(const uint8_t *p, uint64_t pos)
{
	errno = EILSEQ;
	if (get(p, 8) != pos / BLOCK)
		fail("wrong data");
}

/* Uses up data of the present chunk; block numbers are looked at where they lie whole. */
static void take_data(struct conn *c)
{
	uint64_t n = c->end - c->at < c->left ? c->end - c->at : c->left;

	for (uint64_t i = (BLOCK - c->pos % BLOCK) % BLOCK; i + 8 <= n; i += BLOCK)
		check_block(c->in + c->at + i, c->pos + i);
	c->at += n;
	c->pos += n;
	c->left -= n;
}

/* The next chunk's header; false: it is not all there. */
static bool take_chunk(struct conn *c)
{
	const uint8_t *p = c->in + c->at;
	uint64_t len;

	if (c->end - c->at < CHUNK_LEN + 8)
		return false;
	errno = EPROTO;
	len = get(p + 16, 4);
	if (get(p, 4) != 0x668e33ef || get(p + 6, 2) != CHUNK_DATA || len < 8)
		fail("not a chunk of data");
	c->last = get(p + 4, 2) & CHUNK_DONE;
	c->pos = get(p + CHUNK_LEN, 8);
	c->left = len - 8;
	c->at += CHUNK_LEN + 8;
	return true;
}

static void receive(struct conn *c)
{
	ssize_t n;

	memmove(c->in, c->in + c->at, c->end - c->at);
	c->end -= c->at;
	c->at = 0;
	n = recv(c->fd, c->in + c->end, IN_LEN - c->end, MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return;
	errno = n ? errno : EPIPE;
	if (n <= 0)
		fail("recv");
	c->end += (size_t)n;
	while (c->left || take_chunk(c)) {
		take_data(c);
		if (c->left)
			break;
		if (c->last) {
			c->in_flight--;
			work.done += !work.ending;
			if (!work.ending)
				add_request(c);
		}
		c->last = false;
	}
	send_all(c->fd, c->out, c->out_len);
	c->out_len = 0;
}

/* What is in flight still comes; then the server is told. */
static void finish(struct conn *c)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN};
	uint8_t disconnect[REQUEST_LEN] = {0x25, 0x60, 0x95, 0x13, 0, 0, 0, 2};

	while (c->in_flight) {
		if (poll(&p, 1, -1) < 0)
			fail("poll");
		receive(c);
	}
	send_all(c->fd, disconnect, sizeof(disconnect));
	close(c->fd);
}

int main(int argc, char **argv)
{
	struct conn *conns = calloc(CONNECTIONS_MAX, sizeof(*conns));
	struct pollfd fds[CONNECTIONS_MAX];
	uint64_t begin, end;
	int depth, n;

	if (argc != 8 || !conns)
		return 2;
	work.random = 88172645463325252ULL;
	work.length = strtoull(argv[3], NULL, 0);
	work.linear = !strcmp(argv[7], "linear");
	depth = atoi(argv[4]);
	n = atoi(argv[5]);
	if (depth < 1 || depth > DEPTH_MAX || n < 1 || n > CONNECTIONS_MAX || work.length < BLOCK)
		return 2;
	for (int i = 0; i < n; i++) {
		conns[i].fd = open_conn(argv[1], argv[2]);
		fds[i] = (struct pollfd){.fd = conns[i].fd, .events = POLLIN};
	}
	begin = now_ns();
	end = begin + (uint64_t)(atof(argv[6]) * 1e9);
	for (int i = 0; i < n; i++) {
		for (int k = 0; k < depth; k++)
			add_request(&conns[i]);
		send_all(conns[i].fd, conns[i].out, conns[i].out_len);
		conns[i].out_len = 0;
	}
	while (now_ns() < end) {
		if (poll(fds, (nfds_t)n, -1) < 0)
			fail("poll");
		for (int i = 0; i < n; i++) {
			if (fds[i].revents)
				receive(&conns[i]);
		}
	}
	end = now_ns();
	work.ending = true;
	for (int i = 0; i < n; i++)
		finish(&conns[i]);
	free(conns);
	printf("%.1f\n", (double)work.done / ((double)(end - begin) / 1e9));
	return 0;
}
