/*
 * The virtio-blk device (virtio 1.2, 5.2): a block node as a disk. Every queue is a request queue;
 * each request runs in a coroutine on the node's loop, with guest memory straight in the node's
 * iovecs.
 *
 * The disk has a volatile write cache unless the driver cannot flush it or switched it off; then
 * every write is durable before it is answered.
 */
#pragma once

#include "block/block.h"
#include "virtio/virtio_device.h"

enum {
	VIRTIO_BLK_SECTOR = 512,
	VIRTIO_BLK_ID_LEN = 20,
	VIRTIO_BLK_QUEUES_MAX = 64,
	VIRTIO_BLK_SEG_MAX = 126,
	VIRTIO_BLK_CONFIG_LEN = 60,
	VIRTIO_BLK_DISCARD_SEG_MAX = 32,
	VIRTIO_BLK_DISCARD_SECTORS_MAX = 1 << 21,
	VIRTIO_BLK_ZEROES_SEG_MAX = 8,
	VIRTIO_BLK_ZEROES_SECTORS_MAX = 1 << 16, /* they may have to be written */
};

#define VIRTIO_BLK_F_SEG_MAX      (1ull << 2)
#define VIRTIO_BLK_F_RO           (1ull << 5)
#define VIRTIO_BLK_F_BLK_SIZE     (1ull << 6)
#define VIRTIO_BLK_F_FLUSH        (1ull << 9)
#define VIRTIO_BLK_F_TOPOLOGY     (1ull << 10)
#define VIRTIO_BLK_F_CONFIG_WCE   (1ull << 11)
#define VIRTIO_BLK_F_MQ           (1ull << 12)
#define VIRTIO_BLK_F_DISCARD      (1ull << 13)
#define VIRTIO_BLK_F_WRITE_ZEROES (1ull << 14)

/* The configuration space. */
enum {
	VIRTIO_BLK_C_CAPACITY = 0,      /* le64, sectors */
	VIRTIO_BLK_C_SEG_MAX = 12,      /* le32 */
	VIRTIO_BLK_C_BLK_SIZE = 20,     /* le32 */
	VIRTIO_BLK_C_PHYSICAL_EXP = 24, /* u8: blocks of blk_size in a physical one, log 2 */
	VIRTIO_BLK_C_ALIGNMENT = 25,
	VIRTIO_BLK_C_MIN_IO = 26,        /* le16, blocks */
	VIRTIO_BLK_C_OPT_IO = 28,        /* le32, blocks */
	VIRTIO_BLK_C_WRITEBACK = 32,     /* u8 */
	VIRTIO_BLK_C_NUM_QUEUES = 34,    /* le16 */
	VIRTIO_BLK_C_DISCARD_MAX = 36,   /* le32, sectors */
	VIRTIO_BLK_C_DISCARD_SEG = 40,   /* le32 */
	VIRTIO_BLK_C_DISCARD_ALIGN = 44, /* le32, sectors */
	VIRTIO_BLK_C_ZEROES_MAX = 48,    /* le32, sectors */
	VIRTIO_BLK_C_ZEROES_SEG = 52,    /* le32 */
	VIRTIO_BLK_C_ZEROES_UNMAP = 56,  /* u8 */
};

/* What of these the device offers. */
uint64_t virtio_blk_features(const struct block_node *node, unsigned queues);
/*
 * node: borrowed for the device's life, its length a multiple of the sector. serial: what the guest
 * is told as its id, at most VIRTIO_BLK_ID_LEN bytes of it.
 */
struct virtio_device *virtio_blk_new(const struct virtio_device_options *o, struct block_node *node,
				     const char *serial);
extern const struct virtio_device_ops virtio_blk_ops;
