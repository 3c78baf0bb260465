/*
 * A guest's share of a virtio disk behind vhost-user, without a guest: random 4 KiB requests on one
 * queue at a given depth, as Linux makes them (indirect descriptors, event index), sleeping on the
 * call descriptor when there is nothing to take. The same client measures every server.
 *
 * usage: blk_bench SOCKET read|write DEPTH SECONDS [PID]: prints requests per second and, with the
 * server's PID, its CPU time per request in microseconds, as JSON.
 */
#include "../tests/protocol/vu_front.h"
#include "base/bytes.h"
#include "virtio/virtio_blk.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 4096, DEPTH_MAX = 128, RING = 256, WARM_UP_MS = 300 };
enum { HEAD_OFF = 0, STATUS_OFF = 16, TABLE_OFF = 64, DATA_OFF = 4096, SLOT_LEN = 8192 };

struct bench {
	struct vu_front f;
	bool write;
	unsigned depth;
	uint64_t blocks;
	uint64_t seed;
	unsigned slot_of[RING];
	uint64_t done;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static uint64_t next_random(struct bench *b)
{
	b->seed ^= b->seed << 13;
	b->seed ^= b->seed >> 7;
	b->seed ^= b->seed << 17;
	return b->seed;
}

static void post(struct bench *b, unsigned slot)
{
	uint64_t off = VU_SLOTS_OFF + (uint64_t)slot * SLOT_LEN;
	uint8_t *mem = b->f.mem + off;
	struct ring_buf bufs[3] = {
		{vu_gpa(off + HEAD_OFF), 16, false},
		{vu_gpa(off + DATA_OFF), BLOCK, !b->write},
		{vu_gpa(off + STATUS_OFF), 1, true},
	};
	int id;

	put_le32(mem, b->write);
	put_le64(mem + 8, next_random(b) % b->blocks * (BLOCK / 512));
	mem[STATUS_OFF] = 0xff;
	id = ring_add(&b->f.q[0].ring, bufs, 3, mem + TABLE_OFF, vu_gpa(off + TABLE_OFF));
	if (id < 0)
		abort();
	b->slot_of[id] = slot;
}

static void kick(struct bench *b)
{
	uint64_t one = 1;

	if (ring_must_kick(&b->f.q[0].ring) && write(b->f.q[0].kick, &one, 8) != 8)
		abort();
}

/* Takes what has come; its number. */
static unsigned take(struct bench *b, bool more)
{
	uint32_t written;
	unsigned n = 0;
	int id;

	while ((id = ring_take(&b->f.q[0].ring, &written)) >= 0) {
		unsigned slot = b->slot_of[id];

		if (b->f.mem[VU_SLOTS_OFF + (size_t)slot * SLOT_LEN + STATUS_OFF]) {
			fprintf(stderr, "request failed\n");
			exit(1);
		}
		if (more)
			post(b, slot);
		n++;
	}
	if (n && more)
		kick(b);
	b->done += n;
	return n;
}

static void sleep_for_call(struct bench *b)
{
	struct pollfd p = {.fd = b->f.q[0].call, .events = POLLIN};
	uint64_t count;

	if (poll(&p, 1, 5000) != 1 || read(p.fd, &count, 8) != 8) {
		fprintf(stderr, "requests do not come back\n");
		exit(1);
	}
}

/* Takes n or more in the end, and goes on posting until then. */
static void run_until(struct bench *b, uint64_t end_ns)
{
	while (now_ns() < end_ns) {
		if (take(b, true))
			continue;
		ring_want_call(&b->f.q[0].ring, true);
		if (!take(b, true))
			sleep_for_call(b);
	}
}

static void drain(struct bench *b)
{
	for (unsigned left = b->depth; left;) {
		unsigned n = take(b, false);

		left -= n;
		if (n || !left)
			continue;
		ring_want_call(&b->f.q[0].ring, true);
		n = take(b, false);
		left -= n;
		if (!n)
			sleep_for_call(b);
	}
}

/* Ticks of the process and its threads, also those that ended. */
static double cpu_seconds(const char *pid)
{
	char path[64], text[1024], *at;
	unsigned long user = 0, kernel = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%s/stat", pid);
	f = fopen(path, "r");
	if (!f || !fgets(text, sizeof(text), f))
		exit(1);
	fclose(f);
	at = strrchr(text, ')');
	if (!at || sscanf(at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
			  &kernel) != 2)
		exit(1);
	return (double)(user + kernel) / (double)sysconf(_SC_CLK_TCK);
}

static uint64_t capacity(struct vu_front *f)
{
	uint8_t payload[VU_CONFIG_HEAD + VIRTIO_BLK_CONFIG_LEN] = {0};

	put_le32(payload + 4, VIRTIO_BLK_CONFIG_LEN);
	vu_send(f, VU_GET_CONFIG, VU_VERSION, payload, sizeof(payload), NULL, 0);
	if (vu_receive(f, VU_GET_CONFIG, payload, sizeof(payload), NULL) != sizeof(payload))
		abort();
	return get_le64(payload + VU_CONFIG_HEAD) * 512;
}

static void usage(void)
{
	fprintf(stderr, "usage: blk_bench SOCKET read|write DEPTH SECONDS [PID]\n");
	exit(2);
}

int main(int argc, char **argv)
{
	struct bench b = {
		.f = {.event_idx = true, .indirect = true, .n_queues = 1, .num = RING},
		.seed = 88172645463325252ull,
	};
	double seconds, cpu;
	uint64_t start;

	if (argc < 5 || argc > 6)
		usage();
	b.write = !strcmp(argv[2], "write");
	b.depth = (unsigned)atoi(argv[3]);
	seconds = atof(argv[4]);
	if (!b.depth || b.depth > DEPTH_MAX || seconds <= 0)
		usage();
	b.f.want = VIRTIO_BLK_F_FLUSH;
	vu_init(&b.f);
	vu_start(&b.f, argv[1]);
	b.blocks = capacity(&b.f) / BLOCK;
	for (unsigned i = 0; i < b.depth; i++)
		post(&b, i);
	kick(&b);
	run_until(&b, now_ns() + WARM_UP_MS * 1000000ull);
	cpu = argc == 6 ? cpu_seconds(argv[5]) : 0;
	b.done = 0;
	start = now_ns();
	run_until(&b, start + (uint64_t)(seconds * 1e9));
	seconds = (double)(now_ns() - start) / 1e9;
	printf("{\"iops\": %.0f", (double)b.done / seconds);
	if (argc == 6)
		printf(", \"cpu_us\": %.2f", (cpu_seconds(argv[5]) - cpu) * 1e6 / (double)b.done);
	printf("}\n");
	drain(&b);
	vu_fini(&b.f);
	return 0;
}
