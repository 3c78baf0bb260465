/*
 * Fuzzer: a guest writes what it likes into a ring, while the device works on it and after a
 * restart.
 *
 * Input: one byte of choices, two of base, then the first bytes of guest memory (ring, tables),
 * then for each further round records of (offset 2 bytes, value 1 byte) that the guest writes
 * between two looks of the device.
 */
#include "base/bytes.h"
#include "base/co.h"
#include "virtio/virtq.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NUM = 8, GUEST_LEN = 1 << 16, RING_LEN = 512, OUT_MAX = NUM + 1, ROUND_WRITES = 8 };

static struct {
	struct loop *loop;
	struct gmem *map;
	struct inflight *track;
	uint8_t *guest;
	const uint8_t *data;
	size_t size;
} w;

static void ignore(struct virtq *q)
{
	(void)q;
}

static void set_up(void)
{
	struct gmem_region low = {0, GUEST_LEN / 2, 0, 0};
	struct gmem_region high = {GUEST_LEN, GUEST_LEN / 2, GUEST_LEN, GUEST_LEN / 2};
	struct gmem *none = gmem_new(), *one;
	int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING), track_fd;

	w.loop = loop_new(LOOP_EPOLL, NULL);
	if (fd < 0 || ftruncate(fd, GUEST_LEN) < 0 || !w.loop)
		abort();
	w.guest = mmap(NULL, GUEST_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	one = gmem_add(none, &low, fd, NULL);
	w.map = gmem_add(one, &high, fd, NULL);
	w.track = inflight_new(1, NUM, &track_fd, NULL);
	if (w.guest == MAP_FAILED || !w.map || !w.track)
		abort();
	gmem_unref(none);
	gmem_unref(one);
}

static uint8_t next_byte(void)
{
	if (!w.size)
		return 0;
	w.size--;
	return *w.data++;
}

/* What a device does with a chain: reads all of it, writes all of it. */
static unsigned use(struct virtq_elem *e)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < e->out.n; i++) {
		for (size_t k = 0; k < e->out.v[i].iov_len; k++)
			sum += ((volatile uint8_t *)e->out.v[i].iov_base)[k];
	}
	for (unsigned i = 0; i < e->in.n; i++)
		memset(e->in.v[i].iov_base, (int)sum, e->in.v[i].iov_len);
	return sum;
}

static void work(struct virtq *q)
{
	struct virtq_elem *out[OUT_MAX];
	unsigned n = 0;

	while (n < OUT_MAX && virtq_pop(q, &out[n]) > 0)
		n++;
	if (n == OUT_MAX)
		abort(); /* more in flight than the ring has descriptors */
	virtq_listen(q, true);
	while (n) {
		unsigned k = next_byte() % n;
		unsigned sum = out[k]->out.len + out[k]->in.len < 1 << 20 ? use(out[k]) : 0;

		virtq_push(out[k], sum);
		out[k] = out[--n];
	}
	virtq_flush(q);
}

static void one_life(uint8_t choices, uint32_t base, bool resumed)
{
	struct virtq_config c = {
		.num = NUM,
		.base = base,
		.resumed = resumed,
		.features = (choices & 1 ? VIRTIO_F_RING_PACKED : 0) |
			    (choices & 2 ? VIRTIO_F_EVENT_IDX : 0) |
			    (choices & 4 ? VIRTIO_F_INDIRECT_DESC : 0),
		.desc = 0,
		.avail = 16 * NUM,
		.used = 16 * NUM + 32,
		.inflight = choices & 8 ? inflight_slice(w.track, 0) : NULL,
	};
	struct virtq q;

	virtq_init(&q, w.loop, 0, 8, ignore, NULL);
	if (virtq_start(&q, w.map, &c, NULL)) {
		do {
			work(&q);
			for (unsigned i = 0; i < ROUND_WRITES && w.size >= 3; i++) {
				unsigned at = next_byte() | (unsigned)next_byte() << 8;

				w.guest[at % RING_LEN] = next_byte();
			}
		} while (w.size >= 3 && !q.broken);
	}
	virtq_stop(&q);
	virtq_base(&q);
	while (!virtq_is_idle(&q))
		co_reschedule();
	virtq_fini(&q);
}

static void run(void *arg)
{
	uint8_t choices = next_byte();
	uint32_t base = next_byte() | (uint32_t)next_byte() << 16;
	size_t n = w.size < RING_LEN ? w.size : RING_LEN;

	(void)arg;
	if (choices & 1)
		base |= 1u << 15 | 1u << 31;
	memset(w.guest, 0, GUEST_LEN);
	memcpy(w.guest, w.data, n);
	w.data += n;
	w.size -= n;
	if (choices & 16) { /* the slice is the peer's too */
		size_t len = inflight_size(1, NUM);

		for (size_t i = 0; i < len; i++)
			((uint8_t *)inflight_slice(w.track, 0))[i] = next_byte();
	}
	one_life(choices, base, choices & 32);
	one_life(choices, base, true);
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
