/* The virtio-blk device: its life and configuration space. Requests are in virtio_blk_req.c. */
#include "virtio/virtio_blk_impl.h"
#include "base/bytes.h"

#include <assert.h>
#include <string.h>

enum { PHYSICAL_EXP = 3, PAGE_SECTORS = 8 }; /* a page of the host's cache */

static struct virtio_blk *to_blk(struct virtio_device *d)
{
	return (struct virtio_blk *)d; /* its first member */
}

uint64_t virtio_blk_features(const struct block_node *node, unsigned queues)
{
	uint64_t f = VIRTIO_BLK_F_SEG_MAX | VIRTIO_BLK_F_BLK_SIZE | VIRTIO_BLK_F_TOPOLOGY |
		     (queues > 1 ? VIRTIO_BLK_F_MQ : 0);
	bool cached = !block_is_writethrough(node);

	if (cached)
		f |= VIRTIO_BLK_F_FLUSH;
	if (!block_is_writable(node))
		return f | VIRTIO_BLK_F_RO;
	return f | (cached ? VIRTIO_BLK_F_CONFIG_WCE : 0) |
	       (block_can_discard(node) ? VIRTIO_BLK_F_DISCARD : 0) | VIRTIO_BLK_F_WRITE_ZEROES;
}

struct virtio_device *virtio_blk_new(const struct virtio_device_options *o, struct block_node *node,
				     const char *serial)
{
	struct virtio_blk *b = g_new0(struct virtio_blk, 1);

	assert(o->n_queues >= 1 && o->n_queues <= VIRTIO_BLK_QUEUES_MAX);
	virtio_device_init(&b->d, &virtio_blk_ops, o);
	b->node = node;
	b->writeback = true;
	memcpy(b->id, serial, strnlen(serial, sizeof(b->id)));
	return &b->d;
}

static co_fn void blk_free(struct virtio_device *d)
{
	virtio_device_fini(d);
	g_free(to_blk(d));
}

static void blk_reset(struct virtio_device *d)
{
	to_blk(d)->writeback = true;
}

static void blk_element(struct virtio_device *d, struct virtq_elem *e)
{
	vblk_request(to_blk(d), e);
}

static void blk_get_config(struct virtio_device *d, uint8_t c[VIRTIO_CONFIG_MAX])
{
	struct virtio_blk *b = to_blk(d);
	uint64_t cluster = block_cluster_size(b->node) / VIRTIO_BLK_SECTOR;

	put_le64(c + VIRTIO_BLK_C_CAPACITY, block_length(b->node) / VIRTIO_BLK_SECTOR);
	put_le32(c + VIRTIO_BLK_C_SEG_MAX, VIRTIO_BLK_SEG_MAX);
	put_le32(c + VIRTIO_BLK_C_BLK_SIZE, VIRTIO_BLK_SECTOR);
	c[VIRTIO_BLK_C_PHYSICAL_EXP] = PHYSICAL_EXP;
	put_le16(c + VIRTIO_BLK_C_MIN_IO, PAGE_SECTORS);
	put_le32(c + VIRTIO_BLK_C_OPT_IO, (uint32_t)cluster);
	c[VIRTIO_BLK_C_WRITEBACK] = b->writeback;
	put_le16(c + VIRTIO_BLK_C_NUM_QUEUES, (uint16_t)d->o.n_queues);
	if (!block_is_writable(b->node))
		return;
	put_le32(c + VIRTIO_BLK_C_DISCARD_MAX, VIRTIO_BLK_DISCARD_SECTORS_MAX);
	put_le32(c + VIRTIO_BLK_C_DISCARD_SEG, VIRTIO_BLK_DISCARD_SEG_MAX);
	put_le32(c + VIRTIO_BLK_C_DISCARD_ALIGN,
		 cluster > PAGE_SECTORS ? (uint32_t)cluster : PAGE_SECTORS);
	put_le32(c + VIRTIO_BLK_C_ZEROES_MAX, VIRTIO_BLK_ZEROES_SECTORS_MAX);
	put_le32(c + VIRTIO_BLK_C_ZEROES_SEG, VIRTIO_BLK_ZEROES_SEG_MAX);
	c[VIRTIO_BLK_C_ZEROES_UNMAP] = 1;
}

/* The cache mode, the only thing that a driver may change. */
static co_fn bool blk_set_config(struct virtio_device *d, unsigned off, const uint8_t *bytes,
				 unsigned len)
{
	struct virtio_blk *b = to_blk(d);

	if (off != VIRTIO_BLK_C_WRITEBACK || len != 1 || *bytes > 1 ||
	    !(d->features & VIRTIO_BLK_F_CONFIG_WCE))
		return false;
	b->writeback = *bytes;
	/* from now on nobody flushes what was written before */
	return b->writeback || block_flush(b->node) == 0;
}

const struct virtio_device_ops virtio_blk_ops = {
	.name = "virtio-blk",
	.extra_len = sizeof(struct vblk_req),
	.free = blk_free,
	.reset = blk_reset,
	.element = blk_element,
	.get_config = blk_get_config,
	.set_config = blk_set_config,
};
