/* Inside of the virtio-blk device: what its files share. */
#pragma once

#include "virtio/virtio_blk.h"

struct virtio_blk {
	struct virtio_device d;
	struct block_node *node;
	char id[VIRTIO_BLK_ID_LEN];
	bool writeback;
};

struct vblk_req { /* in an element */
	struct virtio_blk *b;
	struct virtq_elem *e;
	uint8_t *status; /* where it goes, in guest memory */
	size_t in_len;   /* all that the driver left for us to write */
	uint32_t type;
	uint64_t sector;
};

void vblk_request(struct virtio_blk *b, struct virtq_elem *e);
