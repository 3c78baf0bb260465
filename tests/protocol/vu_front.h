/*
 * A vhost-user front end with a small virtio-scsi driver, for tests: connects, shares a memfd as
 * guest memory, sets up split or packed rings, posts requests and waits for them. Everything can
 * also be done wrongly. Functions that wait abort the test after some seconds.
 */
#pragma once

#include "attach/vhost_user/proto.h"
#include "ring.h"
#include "virtio/virtio_scsi.h"

enum {
	VU_QUEUES_MAX = 10,
	VU_SLOTS = 192, /* requests at once */
	VU_SLOT_LEN = 1 << 16,
	VU_SLOTS_OFF = 1 << 20,
	VU_MEM_LEN = 16 << 20,
	VU_SPLIT = 8 << 20, /* memory from here on is a second region */
	VU_DATA_OFF = 4096, /* in a slot */
	VU_DATA_MAX = VU_SLOT_LEN - VU_DATA_OFF,
};
#define VU_GPA2   0x100000000ull /* guest address of the second region */
#define VU_UADDR  0x7f4200000000ull
#define VU_UADDR2 0x7f4300000000ull

struct vu_slot { /* a request */
	bool busy, done;
	unsigned queue;
	uint8_t *req, *resp, *table, *data;
	size_t out_len, in_len;
	uint32_t written;
	/* of a finished command */
	unsigned response, status;
	uint32_t residual, sense_len;
	uint8_t key, asc, ascq;
};

struct vu_queue {
	struct ring ring;
	int kick, call;
	unsigned calls;
	int slot_of[1024]; /* of each chain id */
};

struct vu_front {
	/* before vu_start() */
	bool packed, event_idx, indirect, inflight;
	unsigned n_queues; /* with control and event queue; 0: 3 */
	unsigned num;      /* 0: 64 */
	uint64_t want;     /* features of the device; 0: those of virtio-scsi */
	/* state */
	int fd;
	uint64_t features, protocol;
	int mem_fd, inflight_fd;
	uint8_t *mem;
	uint8_t inflight_shape[VU_INFLIGHT_LEN];
	struct vu_queue q[VU_QUEUES_MAX];
	struct vu_slot slot[VU_SLOTS];
	uint64_t next_tag;
	bool hold_kicks; /* vu_kick() does nothing */
};

void vu_init(struct vu_front *f); /* memory; clears everything but what stands before "state" */
void vu_fini(struct vu_front *f);
uint64_t vu_gpa(uint64_t off);
uint64_t vu_uaddr(uint64_t off);

/* Messages. */
void vu_connect(struct vu_front *f, const char *path);
void vu_send(struct vu_front *f, uint32_t request, uint32_t flags, const void *payload,
	     uint32_t size, const int *fds, unsigned n_fds);
/* The reply to request: its payload's size; *fd (may be NULL) gets a descriptor or -1. -1:
 * connection closed. */
int vu_receive(struct vu_front *f, uint32_t request, void *payload, uint32_t max, int *fd);
uint64_t vu_ask(struct vu_front *f, uint32_t request); /* u64 reply */
/* Sends with need_reply; the answer (0: accepted), or -1: connection closed. */
int vu_tell(struct vu_front *f, uint32_t request, const void *payload, uint32_t size, int fd);
int vu_tell_u64(struct vu_front *f, uint32_t request, uint64_t value, int fd);
int vu_tell_state(struct vu_front *f, uint32_t request, uint32_t index, uint32_t value);
int vu_add_region(struct vu_front *f, uint64_t gpa, uint64_t len, uint64_t uaddr, uint64_t off,
		  int fd);
int vu_remove_region(struct vu_front *f, uint64_t gpa, uint64_t len, uint64_t uaddr);
bool vu_is_closed(struct vu_front *f, int ms); /* within ms */

/* Steps of a QEMU. */
void vu_negotiate(struct vu_front *f);
void vu_share_memory(struct vu_front *f);
void vu_give_inflight(
	struct vu_front *f); /* asks for a buffer if there is none yet, gives it back */
void vu_start_queue(struct vu_front *f, unsigned i, uint32_t base); /* without enabling it */
void vu_enable(struct vu_front *f, bool on);
uint32_t vu_stop_queue(struct vu_front *f, unsigned i); /* its base */
uint32_t vu_fresh_base(const struct vu_front *f);
/* All of them, with fresh rings. */
void vu_start(struct vu_front *f, const char *path);
/* After the connection was lost: the same rings and memory, as QEMU 11 does it. */
void vu_resume(struct vu_front *f, const char *path);
void vu_disconnect(struct vu_front *f);

/* Requests. */
struct vu_slot *vu_slot(struct vu_front *f, unsigned queue); /* a free one, zeroed */
void vu_post(struct vu_front *f, struct vu_slot *s, const struct ring_buf *b, unsigned n);
void vu_kick(struct vu_front *f, unsigned queue);
/* A command to LUN 0 of target; data-out is in slot->data beforehand, data-in afterwards. */
struct vu_slot *vu_command(struct vu_front *f, unsigned queue, unsigned target, const void *cdb,
			   unsigned cdb_len, size_t out_len, size_t in_len);
void vu_command_in_slot(struct vu_front *f, struct vu_slot *s, const uint8_t lun[8],
			const void *cdb, unsigned cdb_len, size_t out_len, size_t in_len);
void vu_poll(struct vu_front *f); /* takes what has been returned */
void vu_wait(struct vu_front *f, struct vu_slot *s);
void vu_free(struct vu_slot *s);
bool vu_wait_call(struct vu_front *f, unsigned queue, int ms);

/* A command and its result in one. */
struct vu_slot *vu_run(struct vu_front *f, unsigned target, const void *cdb, unsigned cdb_len,
		       size_t out_len, size_t in_len);
/* Consumes the power-on unit attention. */
void vu_clear_attention(struct vu_front *f, unsigned target);
/* INQUIRY works and names the unit. */
void vu_expect_alive(struct vu_front *f);
/* A task management function; its response. */
struct vu_slot *vu_post_tmf(struct vu_front *f, uint32_t subtype, const uint8_t lun[8],
			    uint64_t tag);
unsigned vu_tmf(struct vu_front *f, uint32_t subtype, unsigned target, uint64_t tag);
struct vu_slot *vu_post_event_buffer(struct vu_front *f);
