/*
 * Requests of the virtio-blk device: from the header in guest memory to the block node and back.
 *
 * The layout of descriptors is free: the header is the first 16 bytes that the device may read, the
 * status the last byte it may write, and what is left of either list is the data. All that a
 * request says is checked here, before anything is done.
 */
#include "virtio/virtio_blk_impl.h"
#include "base/bytes.h"

#include <errno.h>
#include <string.h>

enum {
	TYPE_IN = 0,
	TYPE_OUT = 1,
	TYPE_FLUSH = 4,
	TYPE_GET_ID = 8,
	TYPE_DISCARD = 11,
	TYPE_WRITE_ZEROES = 13
};
enum { STATUS_OK = 0, STATUS_IOERR = 1, STATUS_UNSUPP = 2 };
enum { HEAD_TYPE = 0, HEAD_SECTOR = 8, HEAD_LEN = 16 };
enum { RANGE_SECTOR = 0, RANGE_COUNT = 8, RANGE_FLAGS = 12, RANGE_LEN = 16, RANGE_UNMAP = 1 };

static void respond(struct vblk_req *r, int status)
{
	*r->status = (uint8_t)status;
	virtio_push(&r->b->d, r->e, status == STATUS_OK ? r->in_len : 1);
}

static int status_of(int res)
{
	return res >= 0 ? STATUS_OK : res == -ENOTSUP ? STATUS_UNSUPP : STATUS_IOERR;
}

static bool is_inside(const struct virtio_blk *b, uint64_t sector, uint64_t sectors)
{
	uint64_t capacity = block_length(b->node) / VIRTIO_BLK_SECTOR;

	return sector <= capacity && sectors <= capacity - sector;
}

/* Whether a write must be durable before it is answered; a node without a cache sees to it itself.
 */
static bool is_writethrough(const struct virtio_blk *b)
{
	if (block_is_writethrough(b->node))
		return false;
	if (b->d.features & VIRTIO_BLK_F_CONFIG_WCE)
		return !b->writeback;
	return !(b->d.features & VIRTIO_BLK_F_FLUSH);
}

struct range {
	uint64_t off, len;
	bool unmap;
};

/* One entry of a DISCARD or WRITE ZEROES; its status. */
static int get_range(const struct vblk_req *r, unsigned i, struct range *out)
{
	bool discard = r->type == TYPE_DISCARD;
	uint32_t max = discard ? VIRTIO_BLK_DISCARD_SECTORS_MAX : VIRTIO_BLK_ZEROES_SECTORS_MAX;
	uint32_t count, flags;
	uint8_t raw[RANGE_LEN];
	uint64_t sector;

	iovs_get(&r->e->out, (size_t)i * RANGE_LEN, raw, sizeof(raw));
	sector = get_le64(raw + RANGE_SECTOR);
	count = get_le32(raw + RANGE_COUNT);
	flags = get_le32(raw + RANGE_FLAGS);
	if (flags & ~(discard ? 0u : (unsigned)RANGE_UNMAP))
		return STATUS_UNSUPP;
	if (count > max || !is_inside(r->b, sector, count))
		return STATUS_IOERR;
	*out = (struct range){sector * VIRTIO_BLK_SECTOR, (uint64_t)count * VIRTIO_BLK_SECTOR,
			      flags & RANGE_UNMAP};
	return STATUS_OK;
}

static co_fn int do_range(struct virtio_blk *b, const struct range *range, bool discard)
{
	if (discard)
		return block_discard(b->node, range->off, range->len);
	return block_write_zeros(b->node, range->off, range->len,
				 (range->unmap ? BLOCK_MAY_UNMAP : 0) |
					 (is_writethrough(b) ? BLOCK_FUA : 0));
}

static co_fn int do_ranges(struct vblk_req *r)
{
	bool discard = r->type == TYPE_DISCARD;
	unsigned max = discard ? VIRTIO_BLK_DISCARD_SEG_MAX : VIRTIO_BLK_ZEROES_SEG_MAX;
	struct range ranges[VIRTIO_BLK_DISCARD_SEG_MAX];
	unsigned n = (unsigned)(r->e->out.len / RANGE_LEN);
	int status = STATUS_OK;

	if (!block_is_writable(r->b->node) || !n || r->e->out.len % RANGE_LEN || n > max)
		return STATUS_IOERR;
	for (unsigned i = 0; i < n && status == STATUS_OK; i++)
		status = get_range(r, i, &ranges[i]); /* all of them, before the first is done */
	for (unsigned i = 0; i < n && status == STATUS_OK; i++)
		status = status_of(do_range(r->b, &ranges[i], discard));
	return status;
}

static co_fn int do_rw(struct vblk_req *r)
{
	bool write = r->type == TYPE_OUT;
	const struct iovs *data = write ? &r->e->out : &r->e->in;

	if (data->len % VIRTIO_BLK_SECTOR ||
	    !is_inside(r->b, r->sector, data->len / VIRTIO_BLK_SECTOR))
		return STATUS_IOERR;
	if (!write)
		return status_of(block_preadv(r->b->node, r->sector * VIRTIO_BLK_SECTOR, data));
	return status_of(block_pwritev(r->b->node, r->sector * VIRTIO_BLK_SECTOR, data,
				       is_writethrough(r->b) ? BLOCK_FUA : 0));
}

static co_fn void run_request(void *arg)
{
	struct vblk_req *r = arg;
	int status;

	switch (r->type) {
	case TYPE_IN:
	case TYPE_OUT: status = do_rw(r); break;
	case TYPE_FLUSH: status = status_of(block_flush(r->b->node)); break;
	default: status = do_ranges(r);
	}
	respond(r, status);
}

static void get_id(struct vblk_req *r)
{
	size_t n = iovs_put(&r->e->in, 0, r->b->id, sizeof(r->b->id));

	iovs_zero(&r->e->in, n, r->e->in.len - n);
	respond(r, STATUS_OK);
}

/* Cuts the last byte off; there is one. */
static uint8_t *cut_last(struct iovs *l)
{
	struct iovec *last = &l->v[l->n - 1];

	l->len--;
	if (!--last->iov_len)
		l->n--;
	return (uint8_t *)last->iov_base + last->iov_len;
}

void vblk_request(struct virtio_blk *b, struct virtq_elem *e)
{
	struct vblk_req *r = e->extra;
	uint8_t head[HEAD_LEN];

	if (!e->in.len) { /* no place to say so */
		virtio_fault(&b->d, e->q, "no room for a status byte");
		virtio_push(&b->d, e, 0);
		return;
	}
	b->d.queues[e->q->index].requests++;
	*r = (struct vblk_req){.b = b, .e = e, .in_len = e->in.len};
	r->status = cut_last(&e->in);
	if (iovs_get(&e->out, 0, head, sizeof(head)) < sizeof(head)) {
		respond(r, STATUS_IOERR);
		return;
	}
	iovs_skip(&e->out, sizeof(head));
	r->type = get_le32(head + HEAD_TYPE);
	r->sector = get_le64(head + HEAD_SECTOR);
	switch (r->type) {
	case TYPE_IN:
	case TYPE_OUT:
	case TYPE_FLUSH:
	case TYPE_DISCARD:
	case TYPE_WRITE_ZEROES: co_start(b->d.o.loop, run_request, r); break;
	case TYPE_GET_ID: get_id(r); break;
	default: respond(r, STATUS_UNSUPP);
	}
}
