/* Guest memory of one region with a ring at its start and buffers behind it, and a virtqueue on
 * that ring. */
#pragma once

#include "../base/loop_test.h"
#include "../../protocol/ring.h"
#include "virtio/virtq.h"

#include <sys/mman.h>
#include <unistd.h>

enum { MEM_LEN = 1 << 20, BUF_OFF = 2 * RING_BYTES, NUM = 16 };
#define GPA   0x100000ull
#define UADDR 0x7f0000000000ull

struct fixture {
	bool packed;
	uint64_t features;
	int fd;
	uint8_t *mem;
	struct gmem *map;
	struct ring ring;
	struct loop *loop;
	struct virtq q;
	unsigned calls;
	struct inflight *inflight;
	int inflight_fd;
};

static inline void count_call(struct virtq *q)
{
	((struct fixture *)q->owner)->calls++;
}

static inline struct virtq_config ring_config(const struct fixture *f, uint32_t base, bool resumed)
{
	return (struct virtq_config){
		.num = NUM,
		.features = f->features,
		.base = base,
		.resumed = resumed,
		.desc = UADDR + f->ring.desc_off,
		.avail = UADDR + f->ring.avail_off,
		.used = UADDR + f->ring.used_off,
		.inflight = f->inflight ? inflight_slice(f->inflight, 0) : NULL,
	};
}

static inline void start_queue(struct fixture *f, uint32_t base, bool resumed)
{
	struct virtq_config c = ring_config(f, base, resumed);
	GError *error = NULL;

	virtq_init(&f->q, f->loop, 0, 8, count_call, f);
	assert_true(virtq_start(&f->q, f->map, &c, &error));
	assert_null(error);
}

static inline uint32_t fresh_base(const struct fixture *f)
{
	return f->packed ? 1u << 15 | 1u << 31 : 0;
}

static inline void fixture_init(struct fixture *f, uint64_t features, bool inflight)
{
	struct gmem *none = gmem_new();
	struct gmem_region r = {GPA, MEM_LEN, UADDR, 0};

	co_reschedule(); /* from here on every reschedule passes the end of a turn */
	*f = (struct fixture){
		.features = features | VIRTIO_F_VERSION_1, .loop = co_loop(), .inflight_fd = -1};
	f->packed = features & VIRTIO_F_RING_PACKED;
	f->fd = memfd_create("guest", MFD_CLOEXEC);
	assert_int_equal(ftruncate(f->fd, MEM_LEN), 0);
	f->mem = mmap(NULL, MEM_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, f->fd, 0);
	assert_ptr_not_equal(f->mem, MAP_FAILED);
	f->map = gmem_add(none, &r, f->fd, NULL);
	assert_non_null(f->map);
	gmem_unref(none);
	ring_init(&f->ring, f->mem, NUM, f->packed, features & VIRTIO_F_EVENT_IDX);
	if (inflight) {
		f->inflight = inflight_new(1, NUM, &f->inflight_fd, NULL);
		assert_non_null(f->inflight);
	}
	start_queue(f, fresh_base(f), false);
}

static inline void stop_queue(struct fixture *f)
{
	virtq_stop(&f->q);
	while (!virtq_is_idle(&f->q))
		co_reschedule();
	virtq_fini(&f->q);
}

static inline void fixture_fini(struct fixture *f)
{
	stop_queue(f);
	ring_fini(&f->ring);
	gmem_unref(f->map);
	munmap(f->mem, MEM_LEN);
	close(f->fd);
	inflight_free(f->inflight);
	if (f->inflight_fd >= 0)
		close(f->inflight_fd);
}

/* A chain of one readable buffer that holds tag and one writable one. */
static inline int add_tagged(struct fixture *f, uint8_t tag)
{
	uint64_t off = BUF_OFF + tag * 64ull;
	struct ring_buf b[2] = {{GPA + off, 4, false}, {GPA + off + 32, 16, true}};

	f->mem[off] = tag;
	return ring_add(&f->ring, b, 2, NULL, 0);
}

static inline uint8_t tag_of(const struct virtq_elem *e)
{
	return *(uint8_t *)e->out.v[0].iov_base;
}

static inline struct virtq_elem *pop(struct fixture *f)
{
	struct virtq_elem *e = NULL;

	assert_int_equal(virtq_pop(&f->q, &e), 1);
	assert_non_null(e);
	return e;
}
