/* The virtio-blk driver of the test front end. */
#pragma once

#include "virtio/virtio_blk.h"
#include "vu_front.h"

enum {
	VU_BLK_IN = 0,
	VU_BLK_OUT = 1,
	VU_BLK_FLUSH = 4,
	VU_BLK_ID = 8,
	VU_BLK_DISCARD = 11,
	VU_BLK_ZEROES = 13
};
enum { VU_BLK_OK = 0, VU_BLK_IOERR = 1, VU_BLK_UNSUPP = 2, VU_BLK_UNSET = 0xee };

#define VU_BLK_WANT                                                               \
	(VIRTIO_BLK_F_SEG_MAX | VIRTIO_BLK_F_BLK_SIZE | VIRTIO_BLK_F_FLUSH |      \
	 VIRTIO_BLK_F_TOPOLOGY | VIRTIO_BLK_F_CONFIG_WCE | VIRTIO_BLK_F_DISCARD | \
	 VIRTIO_BLK_F_WRITE_ZEROES)

uint64_t vu_disk_gpa(const struct vu_front *f, const uint8_t *p);
/* Header in the slot; the chain is the caller's. */
void vu_disk_head(struct vu_slot *s, uint32_t type, uint64_t sector);
/* Posts and kicks a request with len bytes of slot->data, which the device reads (OUT and ranges)
 * or writes (IN, ID). */
void vu_disk_post(struct vu_front *f, struct vu_slot *s, uint32_t type, uint64_t sector,
		  uint32_t len);
unsigned vu_disk_status(const struct vu_slot *s); /* of a finished one */
/* A request from start to end with a copy of data; its status. */
unsigned vu_disk_write(struct vu_front *f, uint64_t sector, const void *data, uint32_t len);
unsigned vu_disk_read(struct vu_front *f, uint64_t sector, void *data, uint32_t len);
unsigned vu_disk_simple(struct vu_front *f, uint32_t type, const void *data, uint32_t len);
/* A DISCARD or WRITE ZEROES of one range. */
unsigned vu_disk_range(struct vu_front *f, uint32_t type, uint64_t sector, uint32_t count,
		       uint32_t flags);
/* The first len bytes of the configuration space. */
void vu_disk_config(struct vu_front *f, uint8_t *config, uint32_t len);
/* Writes there; as vu_tell(). */
int vu_disk_set_config(struct vu_front *f, uint32_t off, const void *bytes, uint32_t len);
