/* Writing compressed clusters: one after the other without gaps, as far as counters allow. */
#include "block/qcow2/qcow2.h"

#include <errno.h>
#include <string.h>
#include <zlib.h>

#include "outboard-config.h"

#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

enum { DEFLATE_BITS = 12, DEFLATE_MEMORY = 9 };

struct pack {
	unsigned codec;
	uint8_t *in, *out;
	size_t in_len, out_len; /* out_len: room, then what it took; 0: it does not get smaller */
};

static int deflate_cluster(struct pack *p)
{
	z_stream z = {.next_in = p->in,
		      .avail_in = (unsigned)p->in_len,
		      .next_out = p->out,
		      .avail_out = (unsigned)p->out_len};
	int res;

	if (deflateInit2(&z, Z_DEFAULT_COMPRESSION, Z_DEFLATED, -DEFLATE_BITS, DEFLATE_MEMORY,
			 Z_DEFAULT_STRATEGY) != Z_OK)
		return -ENOMEM;
	res = deflate(&z, Z_FINISH);
	p->out_len = res == Z_STREAM_END ? p->out_len - z.avail_out : 0;
	deflateEnd(&z);
	return 0;
}

static int pack_run(void *arg)
{
	struct pack *p = arg;

#ifdef HAVE_ZSTD
	if (p->codec == QCOW2_ZSTD) {
		size_t n = ZSTD_compress(p->out, p->out_len, p->in, p->in_len, ZSTD_CLEVEL_DEFAULT);

		p->out_len = ZSTD_isError(n) ? 0 : n;
		return 0;
	}
#endif
	return deflate_cluster(p);
}

/* len bytes anywhere in the file: *host. With the lock held. */
static co_fn int alloc_bytes(struct block_node *node, uint64_t len, uint64_t *host)
{
	struct qcow2 *q = node->state;
	uint64_t size = qcow2_cluster(q), from = q->pack_off, room, off, got;
	int res;

	room = from % size ? size - from % size : 0;
	if (room >= len && qcow2_ref_change(node, from / size, 1) == 0) {
		*host = from;
		q->pack_off = from + len;
		return 0;
	}
	res = qcow2_alloc(node, 1, 1, &off, &got);
	if (res < 0)
		return res;
	q->fresh_end = MAX(q->fresh_end, off + size);
	*host = off;
	if (room && q->pack_off == from && off == from - from % size + size &&
	    qcow2_ref_change(node, from / size, 1) == 0)
		*host = from;
	q->pack_off = *host + len;
	return 0;
}

/* One reference less for every cluster it touches. */
static co_fn void unalloc_bytes(struct block_node *node, uint64_t host, uint64_t len)
{
	uint64_t size = qcow2_cluster(node->state), first = host / size;

	qcow2_unalloc(node, first * size, (host + len - 1) / size - first + 1);
}

static co_fn int write_packed(struct block_node *node, uint64_t off, const struct pack *p)
{
	struct qcow2 *q = node->state;
	uint64_t host = 0, sectors;
	unsigned x = 62 - (q->h.cluster_bits - 8);
	struct qcow2_link link = {.n = 1, .unmap = true};
	int res = qcow2_lock(node), locked;

	if (res == 0)
		res = alloc_bytes(node, p->out_len, &host);
	co_mutex_unlock(&q->lock);
	if (res < 0)
		return res;
	res = block_pwrite(q->data, host, p->out, p->out_len, 0);
	sectors = (host % QCOW2_SECTOR + p->out_len - 1) / QCOW2_SECTOR;
	link.value = QCOW2_COMPRESSED | sectors << x | host;
	locked = qcow2_lock(node);
	if (res == 0)
		res = host >> x ? -EFBIG : locked;
	if (res == 0)
		res = qcow2_link(node, off >> q->h.cluster_bits, &link);
	if (res < 0)
		unalloc_bytes(node, host, p->out_len);
	co_mutex_unlock(&q->lock);
	return res;
}

static co_fn int pack_and_write(struct block_node *node, uint64_t off, struct pack *p,
				const void *buf, size_t len)
{
	struct qcow2 *q = node->state;
	struct qcow2_job job = {.first = off >> q->h.cluster_bits, .n = 1};
	struct iovec one;
	struct iovs iov = iovs_one(&one, (void *)buf, len);
	int res;

	memcpy(p->in, buf, len);
	res = job_run(pack_run, p);
	if (res < 0)
		return res;
	if (p->out_len == 0)
		return qcow2_write(node, off, &iov);
	while (qcow2_job_waits(q, &job))
		continue;
	res = write_packed(node, off, p);
	qcow2_job_done(q, &job);
	return res;
}

co_fn int qcow2_pwrite_compressed(struct block_node *node, uint64_t off, const void *buf,
				  size_t len)
{
	struct qcow2 *q = node->state;
	struct pack p = {
		.codec = q->h.codec, .in_len = qcow2_cluster(q), .out_len = qcow2_cluster(q) - 1};
	int res = -ENOMEM;

	if (q->h.incompatible & QCOW2_DATA_FILE || q->crypt)
		return -ENOTSUP;
	p.in = g_try_malloc0(p.in_len);
	p.out = g_try_malloc(p.out_len);
	co_rwlock_rdlock(&q->changing);
	if (p.in && p.out)
		res = pack_and_write(node, off, &p, buf, len);
	co_rwlock_unlock(&q->changing);
	g_free(p.in);
	g_free(p.out);
	return res;
}
