/*
 * Fuzzer: a guest puts what it likes into the ring of a virtio disk: chains, headers, ranges, and
 * changes them while the device works.
 *
 * Input: one byte of choices, then the first bytes of guest memory (ring, headers, tables), then
 * records of (offset 2 bytes, value 1 byte) that the guest writes between two looks of the device,
 * eight to a round.
 */
#include "base/bytes.h"
#include "base/co.h"
#include "block/mem.h"
#include "virtio/virtio_blk.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NUM = 8, GUEST_LEN = 1 << 16, GIVEN_LEN = 1024, ROUND_WRITES = 8, ROUNDS_MAX = 64 };
enum { DISK_LEN = 1 << 16 };

static struct {
	struct loop *loop;
	struct gmem *map;
	uint8_t *guest;
	struct block_node *disk;
	const uint8_t *data;
	size_t size;
	bool stopped;
} w;

static void ignore(struct virtq *q)
{
	(void)q;
}

static void on_fault(struct virtq *q, const char *what, void *arg)
{
	(void)arg;
	if (!q->broken || !*what)
		abort();
	w.stopped = true;
}

static void set_up(void)
{
	struct gmem_region low = {0, GUEST_LEN / 2, 0, 0};
	struct gmem_region high = {GUEST_LEN, GUEST_LEN / 2, GUEST_LEN, GUEST_LEN / 2};
	struct gmem *none = gmem_new(), *one;
	int fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	w.loop = loop_new(LOOP_EPOLL, NULL);
	if (fd < 0 || ftruncate(fd, GUEST_LEN) < 0 || !w.loop)
		abort();
	w.guest = mmap(NULL, GUEST_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	one = gmem_add(none, &low, fd, NULL);
	w.map = gmem_add(one, &high, fd, NULL);
	if (w.guest == MAP_FAILED || !w.map)
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

/* What a good driver has in its ring: a header, data, a status byte; the input goes over it. */
static void good_chain(void)
{
	for (unsigned i = 0; i < NUM; i++) {
		uint8_t *d = w.guest + 16 * i;

		put_le64(d, i % 3 == 0 ? 512 : i % 3 == 1 ? 4096 : 600);
		put_le32(d + 8, i % 3 == 0 ? 16 : i % 3 == 1 ? 512 : 1);
		put_le16(d + 12, (uint16_t)((i % 3 < 2 ? 1 : 0) | (i % 3 ? 2 : 0)));
		put_le16(d + 14, (uint16_t)(i + 1));
	}
}

static co_fn void work(struct virtio_device *d, struct virtq *q)
{
	for (unsigned round = 0; round < ROUNDS_MAX && w.size >= 3 && !w.stopped; round++) {
		for (unsigned i = 0; i < ROUND_WRITES && w.size >= 3; i++) {
			unsigned at = next_byte() | (unsigned)next_byte() << 8;

			w.guest[at % GIVEN_LEN] = next_byte();
		}
		virtio_device_kick(d, q);
		co_reschedule();
	}
}

static void run(void *arg)
{
	uint8_t choices = next_byte(), config[VIRTIO_CONFIG_MAX];
	size_t n = w.size < GIVEN_LEN ? w.size : GIVEN_LEN;
	struct virtio_device_options o = {
		.loop = w.loop, .name = "fuzz", .n_queues = 1, .fault = on_fault};
	struct virtq_config c = {
		.num = NUM,
		.base = choices & 1 ? 1u << 15 | 1u << 31 : 0,
		.features = (choices & 1 ? VIRTIO_F_RING_PACKED : 0) |
			    (choices & 2 ? VIRTIO_F_EVENT_IDX : 0) |
			    (choices & 4 ? VIRTIO_F_INDIRECT_DESC : 0) |
			    (choices & 8 ? VIRTIO_BLK_F_FLUSH : 0) |
			    (choices & 16 ? VIRTIO_BLK_F_CONFIG_WCE : 0),
		.avail = 16 * NUM,
		.used = 16 * NUM + 32,
	};
	struct virtio_device *d;
	struct virtq q;

	(void)arg;
	memset(w.guest, 0, GUEST_LEN);
	good_chain();
	for (size_t i = 0; i < n; i++)
		w.guest[i] ^= w.data[i];
	w.data += n;
	w.size -= n;
	w.stopped = false;
	w.disk = block_mem_new(DISK_LEN, NULL, 0);
	d = virtio_blk_new(&o, w.disk, "fuzz");
	virtio_device_set_features(d, c.features);
	virtio_device_set_config(d, choices % 64, w.guest, choices % 8);
	virtio_device_get_config(d, config);
	virtq_init(&q, w.loop, 0, virtio_blk_ops.extra_len, ignore, NULL);
	if (virtq_start(&q, w.map, &c, NULL)) {
		virtio_device_begin(d, false);
		virtio_device_add_queue(d, &q);
		virtio_device_kick(d, &q);
		work(d, &q);
		virtq_stop(&q);
		virtio_device_drain(d, &q, 0);
		if (q.in_flight)
			abort(); /* a request was not answered */
		virtq_release(&q);
	}
	virtq_fini(&q);
	virtio_device_free(d);
	block_unref(w.disk);
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
