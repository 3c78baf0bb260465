/*
 * Compressed clusters: raw deflate with a window of 4 KiB, or one zstd frame. How long the data are
 * is only known in sectors, so the decoder runs until a cluster came out. The work is done in a
 * worker thread; the cluster unpacked last is kept for reads of its other parts.
 */
#include "block/qcow2/qcow2.h"

#include <errno.h>
#include <string.h>
#include <zlib.h>

#include "outboard-config.h"

#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

enum { DEFLATE_BITS = 12 };

struct unpack {
	unsigned codec;
	uint8_t *in, *out;
	size_t in_len, out_len;
};

static int inflate_cluster(const struct unpack *u)
{
	z_stream z = {.next_in = u->in,
		      .avail_in = (unsigned)u->in_len,
		      .next_out = u->out,
		      .avail_out = (unsigned)u->out_len};
	int res;

	if (inflateInit2(&z, -DEFLATE_BITS) != Z_OK)
		return -ENOMEM;
	res = inflate(&z, Z_FINISH);
	inflateEnd(&z);
	/* Z_BUF_ERROR: there was more in than belongs to it. */
	return z.avail_out == 0 && (res == Z_STREAM_END || res == Z_BUF_ERROR) ? 0 : -EIO;
}

#ifdef HAVE_ZSTD
static int unzstd_cluster(const struct unpack *u)
{
	ZSTD_inBuffer in = {u->in, u->in_len, 0};
	ZSTD_outBuffer out = {u->out, u->out_len, 0};
	ZSTD_DCtx *ctx = ZSTD_createDCtx();
	size_t res = 0;

	if (!ctx)
		return -ENOMEM;
	while (out.pos < out.size) {
		size_t in_before = in.pos, out_before = out.pos;

		res = ZSTD_decompressStream(ctx, &out, &in);
		if (ZSTD_isError(res) || (in.pos == in_before && out.pos == out_before))
			break;
	}
	ZSTD_freeDCtx(ctx);
	return out.pos == out.size && !ZSTD_isError(res) ? 0 : -EIO;
}
#endif

bool qcow2_can_unpack(unsigned codec)
{
#ifdef HAVE_ZSTD
	if (codec == QCOW2_ZSTD)
		return true;
#endif
	return codec == QCOW2_DEFLATE;
}

static int unpack_run(void *arg)
{
	const struct unpack *u = arg;

#ifdef HAVE_ZSTD
	if (u->codec == QCOW2_ZSTD)
		return unzstd_cluster(u);
#endif
	return inflate_cluster(u);
}

/* The cluster of e, unpacked into out. */
static co_fn int unpack(struct block_node *node, const struct qcow2_entry *e, uint8_t *out)
{
	struct qcow2 *q = node->state;
	struct unpack u = {
		.codec = q->h.codec, .out = out, .out_len = qcow2_cluster(q), .in_len = e->bytes};
	struct iovec one;
	struct iovs iov;
	int res;

	if (e->host >= node->file->length)
		return -EIO;
	u.in = g_try_malloc(u.in_len);
	if (!u.in)
		return -ENOMEM;
	iov = iovs_one(&one, u.in, u.in_len);
	res = block_preadv_padded(node->file, e->host, &iov);
	if (res == 0)
		res = job_run(unpack_run, &u);
	g_free(u.in);
	return res;
}

#ifdef HAVE_GNUTLS
/* Bytes of the cluster of e, from off of the disk on, decrypted. */
static co_fn int read_encrypted(struct block_node *node, const struct qcow2_entry *e, uint64_t off,
				const struct iovs *iov)
{
	struct qcow2 *q = node->state;
	uint64_t within = off % qcow2_cluster(q), skip = within % CRYPT_SECTOR;
	uint64_t host = e->host + within - skip;
	size_t len = (skip + iov->len + CRYPT_SECTOR - 1) / CRYPT_SECTOR * CRYPT_SECTOR;
	struct iovec one = {g_try_malloc(len), len};
	struct iovs all = {&one, 1, len};
	int res = one.iov_base ? block_preadv_padded(q->data, host, &all) : -ENOMEM;

	if (res == 0 && !crypt_sectors(q->crypt, false, host / CRYPT_SECTOR, one.iov_base, len))
		res = -EIO;
	if (res == 0)
		iovs_put(iov, 0, (uint8_t *)one.iov_base + skip, iov->len);
	g_free(one.iov_base);
	return res;
}

co_fn int qcow2_write_encrypted(struct block_node *node, uint64_t host, const struct iovs *iov)
{
	struct qcow2 *q = node->state;
	uint8_t *buf = g_try_malloc(iov->len);
	int res = -ENOMEM;

	if (buf) {
		iovs_get(iov, 0, buf, iov->len);
		res = crypt_sectors(q->crypt, true, host / CRYPT_SECTOR, buf, iov->len)
			      ? block_pwrite(q->data, host, buf, iov->len, 0)
			      : -EIO;
	}
	g_free(buf);
	return res;
}
#else
static co_fn int read_encrypted(struct block_node *node, const struct qcow2_entry *e, uint64_t off,
				const struct iovs *iov)
{
	(void)node;
	(void)e;
	(void)off;
	(void)iov;
	return -ENOTSUP; /* such an image was not opened */
}

co_fn int qcow2_write_encrypted(struct block_node *node, uint64_t host, const struct iovs *iov)
{
	(void)node;
	(void)host;
	(void)iov;
	return -ENOTSUP;
}
#endif

co_fn int qcow2_preadv(struct block_node *node, uint64_t off, const struct iovs *iov)
{
	struct qcow2 *q = node->state;
	uint64_t cluster = qcow2_cluster(q), within = off % cluster;
	struct qcow2_entry e;
	uint8_t *buf;
	int res = qcow2_lookup(node, off, &e);

	if (res < 0)
		return res;
	if (q->crypt && !e.compressed && qcow2_is_data(q, &e, off, iov->len))
		return read_encrypted(node, &e, off, iov);
	if (!e.compressed || iov->len > cluster - within) /* written to since map() said so */
		return block_read_mapped(node, off, iov);
	if (q->unpacked_host == e.host) {
		iovs_put(iov, 0, q->unpacked + within, iov->len);
		return 0;
	}
	buf = g_try_malloc(cluster);
	if (!buf)
		return -ENOMEM;
	res = unpack(node, &e, buf);
	if (res < 0) {
		g_free(buf);
		return res;
	}
	iovs_put(iov, 0, buf + within, iov->len);
	g_free(q->unpacked);
	q->unpacked = buf;
	q->unpacked_host = e.host;
	return 0;
}
