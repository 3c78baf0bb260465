/*
 * Virtqueues, device side: split and packed rings (virtio 1.2, sections 2.7 and 2.8) behind one
 * interface.
 *
 * virtq_pop() takes the next chain and hands it out as an element with two scatter lists in host
 * memory: out (the driver wrote it) and in (room for the device). virtq_push() gives it back. What
 * is pushed becomes visible to the driver at the end of the loop's turn, all of it at once, with
 * one notification if the driver wants one.
 *
 * Everything in the ring is the guest's: it is copied out once, then checked, then used. A ring
 * that breaks the rules makes virtq_pop() return -EPROTO; virtq_fault() says what was wrong, and
 * the queue stays stopped until it is started anew. Elements that are out remain valid. All of it
 * belongs to one loop.
 */
#pragma once

#include "base/iovs.h"
#include "base/loop.h"
#include "virtio/gmem.h"
#include "virtio/inflight.h"

enum {
	VIRTQ_NUM_MAX = 32768,
	VIRTQ_PIECES_MAX = 1024, /* host memory pieces of one request; also what preadv() takes */
	VIRTQ_CHAIN_MAX =
		1024, /* descriptors of one request in a packed ring, without its indirect table */
};

/* Feature bits that change a ring. */
#define VIRTIO_F_INDIRECT_DESC (1ull << 28)
#define VIRTIO_F_EVENT_IDX     (1ull << 29)
#define VIRTIO_F_VERSION_1     (1ull << 32)
#define VIRTIO_F_RING_PACKED   (1ull << 34)

struct virtq;

struct virtq_elem {
	struct virtq *q;
	struct gmem *mem;    /* referenced while the element is out */
	struct iovs out, in; /* the owner may cut pieces off: the lists are his until he pushes */
	bool replay;         /* fetched already by a process that ended before it was done */
	/* the queue's own */
	uint16_t id;     /* split: head descriptor; packed: buffer id */
	uint16_t n_desc; /* ring slots it takes */
	uint16_t entry;  /* in the in-flight slice of a packed ring */
	unsigned n_pieces;
	struct virtq_elem *next;
	void *extra;          /* extra_len bytes for the owner, not cleared between uses */
	struct iovec *pieces; /* out, then in; VIRTQ_PIECES_MAX + 1 */
};

struct virtq_used {
	uint16_t id, n_desc, entry;
	uint32_t written;
};

/* A descriptor out of shared memory, in host order. */
struct virtq_desc {
	uint64_t addr;
	uint32_t len;
	uint16_t flags;
	uint16_t next; /* packed: the buffer id */
};

enum { VIRTQ_DESC_NEXT = 1, VIRTQ_DESC_WRITE = 2, VIRTQ_DESC_INDIRECT = 4 };

/* How a ring starts. Addresses are the front end's (gmem_user()); they must stay in mem while the
 * ring runs. */
struct virtq_config {
	unsigned num;
	uint64_t features; /* as negotiated */
	uint64_t desc, avail,
		used;   /* packed: descriptor ring, driver event area, device event area */
	uint32_t base;  /* as in VHOST_USER_SET_VRING_BASE */
	void *inflight; /* slice of the in-flight buffer with room for num entries, or NULL */
	bool resumed;   /* the driver went on while the device was away: take up what the slice says
			   is in flight,   and what waits may have been done already. Otherwise the
			   slice starts empty */
};

struct virtq_ops { /* split and packed, internal */
	bool (*start)(struct virtq *q, const struct virtq_config *c, GError **error);
	int (*pop)(struct virtq *q, struct virtq_elem **e);
	void (*publish)(struct virtq *q);         /* the batch; sets q->want_notify */
	bool (*listen)(struct virtq *q, bool on); /* on: true if the ring is not empty */
	bool (*has_more)(const struct virtq *q);
	uint32_t (*base)(const struct virtq *q);
	bool (*map)(struct virtq *q, struct gmem *mem);
};

struct virtq {
	/* by virtq_init() */
	struct loop *loop;
	unsigned index;
	size_t extra_len;
	void (*notify)(struct virtq *q); /* tells the driver that buffers were used */
	void *owner;

	bool running;
	bool broken;
	bool discard; /* what is pushed is dropped: the driver gave the ring up */
	bool want_notify;
	bool flush_queued;
	const struct virtq_ops *ops;
	struct virtq_config conf;
	struct gmem *mem;
	unsigned in_flight;   /* elements that are out */
	unsigned owned;       /* ring slots of these, and of what is pushed and not published */
	uint32_t replay_left; /* elements to pop that may have been done before */
	struct inflight_found found; /* to be carried out again before anything new */
	unsigned found_next;
	struct inflight_packed *tracker;
	struct inflight_desc *chain; /* packed: the one being read, VIRTQ_CHAIN_MAX */
	uint64_t counter;
	struct virtq_elem *pool;
	struct virtq_used *batch;
	unsigned n_batch;
	struct loop_task flush_task;
	char fault[120];
	union {
		struct {
			const uint8_t *desc;
			uint8_t *avail, *used;
			uint16_t last_avail, avail_idx, used_idx;
		} split;
		struct {
			uint8_t *desc, *driver_event, *device_event;
			uint16_t avail, used; /* slots */
			bool avail_wrap, used_wrap;
		} packed;
	};
};

void virtq_init(struct virtq *q, struct loop *loop, unsigned index, size_t extra_len,
		void (*notify)(struct virtq *q), void *owner);
/* Only when idle. */
void virtq_fini(struct virtq *q);
bool virtq_is_idle(
	const struct virtq *q); /* no element out, nothing to publish, nothing queued on the loop */

bool virtq_start(struct virtq *q, struct gmem *mem, const struct virtq_config *c, GError **error);
/* No more elements are popped; those that are out may still be pushed (and are dropped if discard
 * is set). */
void virtq_stop(struct virtq *q);
/* After virtq_stop(): goes on where it was, if it can. */
void virtq_continue(struct virtq *q);
/* After virtq_stop(), when idle: lets go of guest memory. */
void virtq_release(struct virtq *q);
/* Where the ring stands, for VHOST_USER_GET_VRING_BASE. Only exact when no element is out. */
uint32_t virtq_base(const struct virtq *q);
/* Guest memory changed: the ring must be in the new map too. Elements that are out keep the old
 * one. */
bool virtq_remap(struct virtq *q, struct gmem *mem, GError **error);

/* 1: *e is the caller's until virtq_push(); 0: the ring is empty (or stopped); -EPROTO: it broke
 * the rules. */
int virtq_pop(struct virtq *q, struct virtq_elem **e);
/* written: bytes of e->in from its start that were written. */
void virtq_push(struct virtq_elem *e, size_t written);
/* Publishes what was pushed now instead of at the end of the turn. */
void virtq_flush(struct virtq *q);
/*
 * on: asks the driver to kick for the next buffer and returns true if one is there already (then go
 * on popping). off: it need not.
 */
bool virtq_listen(struct virtq *q, bool on);
/* Whether there is one, by a look at the ring's memory. */
bool virtq_has_more(const struct virtq *q);
/* After a -EPROTO. */
const char *virtq_fault(const struct virtq *q);

/* --- for virtq_split.c and virtq_packed.c --- */
extern const struct virtq_ops virtq_split, virtq_packed;
int virtq_fail(struct virtq *q, const char *fmt, ...) G_GNUC_PRINTF(2, 3); /* -EPROTO */
struct virtq_elem *virtq_elem_get(struct virtq *q);
void virtq_elem_put(struct virtq_elem *e);
/* Adds a readable or writable descriptor (or the table it points to) to e. 0 or -EPROTO. */
int virtq_elem_add(struct virtq_elem *e, const struct virtq_desc *d);
int virtq_elem_add_table(struct virtq_elem *e, const struct virtq_desc *d, bool linked);
