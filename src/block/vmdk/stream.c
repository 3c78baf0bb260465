/*
 * Streams of compressed grains ("streamOptimized"). Grains are unpacked in a worker thread; the one
 * unpacked last is kept for reads of its other parts.
 *
 * A stream is written once, grain after grain, none a second time. The tables of what is there are
 * kept in memory. A flush puts them behind the last grain, makes all that durable, and only then
 * writes the footer that names them: until then the file is one without a footer, which nobody
 * opens. The next grain begins with cutting all that off again.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <zlib.h>

#include "base/bytes.h"
#include "base/err.h"
#include "block/vmdk/vmdk.h"

enum { ENTRY = 4 };

struct pack {
	uint8_t *in, *out;
	size_t in_len, out_len; /* out_len: room, then what it took */
	size_t need;            /* unpacking: fewer bytes are an error */
};

static int unpack_run(void *arg)
{
	struct pack *p = arg;
	z_stream z = {.next_in = p->in,
		      .avail_in = (unsigned)p->in_len,
		      .next_out = p->out,
		      .avail_out = (unsigned)p->out_len};
	size_t got;
	int res;

	if (inflateInit(&z) != Z_OK)
		return -ENOMEM;
	res = inflate(&z, Z_FINISH);
	got = p->out_len - z.avail_out;
	inflateEnd(&z);
	if (res != Z_STREAM_END || got < p->need)
		return -EIO;
	memset(p->out + got, 0, p->out_len - got);
	return 0;
}

/* The grain at off of the extent, whose marker is at host, into out. */
static co_fn int unpack(struct block_node *node, struct vmdk_extent *e, uint64_t off, uint64_t host,
			uint8_t *out)
{
	struct pack p = {.out = out, .out_len = vmdk_grain(e)};
	uint8_t marker[VM_DATA];
	int res;

	p.need = MIN((uint64_t)p.out_len, e->len - off);
	if (e->file->length - host < sizeof(marker))
		return vmdk_complain(node, e, "a marker is cut off", host);
	res = block_pread(e->file, host, marker, sizeof(marker));
	if (res < 0)
		return res;
	p.in_len = get_le32(marker + VM_SIZE);
	if (p.in_len == 0 || p.in_len > 2 * p.out_len ||
	    p.in_len > e->file->length - host - VM_DATA ||
	    get_le64(marker + VM_VALUE) != off / VMDK_SECTOR)
		return vmdk_complain(node, e, "no marker of the grain that should be there is",
				     host);
	p.in = g_try_malloc(p.in_len);
	if (!p.in)
		return -ENOMEM;
	res = block_pread(e->file, host + VM_DATA, p.in, p.in_len);
	if (res == 0)
		res = job_run(unpack_run, &p);
	g_free(p.in);
	return res == -EIO ? vmdk_complain(node, e, "a grain cannot be unpacked", host) : res;
}

static co_fn int find_host(struct vmdk_extent *e, uint64_t off, uint64_t *host)
{
	const uint8_t *data;
	uint64_t n;
	int res;

	if (e->stream) {
		*host = vmdk_entry_host(e, vmdk_stream_entry(e, off));
		return 0;
	}
	res = vmdk_entries(e, off, &data, &n);
	if (res == 0)
		*host = data ? vmdk_entry_host(e, get_le32(data)) : 0;
	return res;
}

co_fn int vmdk_preadv(struct block_node *node, uint64_t off, const struct iovs *iov)
{
	struct vmdk_extent *e = vmdk_find_extent(node->state, off);
	uint64_t grain = vmdk_grain(e), within = (off - e->start) % grain, host = 0;
	uint8_t *buf;
	int res = find_host(e, off - e->start, &host);

	if (res < 0)
		return res;
	if (host == 0 || host >= e->file->length || iov->len > grain - within)
		return -EIO;
	if (e->unpacked_at == host) {
		iovs_put(iov, 0, e->unpacked + within, iov->len);
		return 0;
	}
	buf = g_try_malloc(grain);
	if (!buf)
		return -ENOMEM;
	res = unpack(node, e, off - e->start - within, host, buf);
	if (res < 0) {
		g_free(buf);
		return res;
	}
	iovs_put(iov, 0, buf + within, iov->len);
	g_free(e->unpacked);
	e->unpacked = buf;
	e->unpacked_at = host;
	return 0;
}

uint32_t vmdk_stream_entry(const struct vmdk_extent *e, uint64_t off)
{
	const uint32_t *table = e->stream->tables[off / vmdk_covers(e)];

	return table ? table[off % vmdk_covers(e) / vmdk_grain(e)] : VMDK_UNUSED;
}

void vmdk_stream_free(struct vmdk_extent *e)
{
	if (!e->stream)
		return;
	for (uint32_t i = 0; e->stream->tables && i < e->h.directory_len; i++)
		g_free(e->stream->tables[i]);
	g_free(e->stream->tables);
	g_free(e->stream);
	e->stream = NULL;
}

co_fn bool vmdk_stream_open(struct block_node *node, struct vmdk_extent *e, GError **error)
{
	bool empty = e->h.at_end && e->h.overhead > 0;

	for (uint32_t i = 0; i < e->h.directory_len; i++)
		empty = empty && !e->directory[i];
	if (!empty) {
		if (!(node->flags & BLOCK_AUTO_RDONLY)) {
			return err_set(error, EROFS,
				       "vmdk: a stream of compressed grains is written once, and "
				       "this one is complete; open it read-only");
		}
		node->writable = false;
		return true;
	}
	e->stream = g_new0(struct vmdk_stream, 1);
	e->stream->tables = g_try_new0(uint32_t *, e->h.directory_len);
	e->stream->end = e->h.overhead * VMDK_SECTOR;
	e->stream->finished = true;
	return e->stream->tables ||
	       err_set(error, ENOMEM, "vmdk: no memory for %" PRIu32 " grain tables",
		       e->h.directory_len);
}

static int pack_run(void *arg)
{
	struct pack *p = arg;
	uLongf len = p->out_len - VM_DATA;

	if (compress2(p->out + VM_DATA, &len, p->in, p->in_len, Z_DEFAULT_COMPRESSION) != Z_OK)
		return -ENOMEM;
	p->out_len = VM_DATA + len;
	return 0;
}

/* A marker and what follows it, p->out_len bytes, at the end. With the lock held. */
static co_fn int append(struct vmdk_extent *e, uint64_t off, struct pack *p)
{
	struct vmdk_stream *s = e->stream;
	uint64_t len = (p->out_len + VMDK_SECTOR - 1) / VMDK_SECTOR * VMDK_SECTOR;
	uint32_t **table = &s->tables[off / vmdk_covers(e)];
	int res = 0;

	if (vmdk_stream_entry(e, off))
		return -ENOTSUP; /* a grain is written once */
	if ((s->end + len) / VMDK_SECTOR > UINT32_MAX)
		return -ENOSPC;
	if (!*table)
		*table = g_try_new0(uint32_t, e->h.table);
	if (!*table)
		return -ENOMEM;
	if (s->finished) {
		res = block_truncate(e->file, s->end);
		if (res == 0)
			res = block_flush(e->file);
	}
	if (res == 0) {
		s->finished = false;
		res = vmdk_grow(e, s->end + len);
	}
	put_le64(p->out + VM_VALUE, off / VMDK_SECTOR);
	put_le32(p->out + VM_SIZE, (uint32_t)(p->out_len - VM_DATA));
	memset(p->out + p->out_len, 0, len - p->out_len);
	if (res == 0)
		res = block_pwrite(e->file, s->end, p->out, len, 0);
	if (res < 0)
		return res;
	(*table)[off % vmdk_covers(e) / vmdk_grain(e)] = (uint32_t)(s->end / VMDK_SECTOR);
	s->end += len;
	return 0;
}

/* A grain of which len bytes are in p->in and the rest is zeros. */
static co_fn int pack_and_append(struct block_node *node, struct vmdk_extent *e, uint64_t off,
				 struct pack *p)
{
	struct vmdk *v = node->state;
	int res;

	p->out_len = VM_DATA + compressBound(p->in_len);
	p->out = g_try_malloc(p->out_len + VMDK_SECTOR);
	res = p->out ? job_run(pack_run, p) : -ENOMEM;
	if (res == 0) {
		co_mutex_lock(&v->lock);
		res = append(e, off, p);
		co_mutex_unlock(&v->lock);
	}
	g_free(p->out);
	return res;
}

co_fn int64_t vmdk_stream_write(struct block_node *node, struct vmdk_extent *e, uint64_t off,
				uint64_t len, const struct iovs *iov, size_t skip)
{
	uint64_t grain = vmdk_grain(e), within = off % grain;
	struct pack p = {.in_len = grain};
	int res;

	len = MIN(len, grain - within);
	p.in = g_try_malloc0(grain);
	if (!p.in)
		return -ENOMEM;
	iovs_get(iov, skip, p.in + within, len);
	res = pack_and_append(node, e, off - within, &p);
	g_free(p.in);
	return res < 0 ? res : (int64_t)len;
}

co_fn int vmdk_pwrite_compressed(struct block_node *node, uint64_t off, const void *buf, size_t len)
{
	struct vmdk_extent *e = vmdk_find_extent(node->state, off);
	struct iovec one;
	struct iovs iov = iovs_one(&one, (void *)buf, len);
	int64_t n = e->stream ? vmdk_stream_write(node, e, off - e->start, len, &iov, 0) : -ENOTSUP;

	return n < 0 ? (int)n : 0;
}

/* A marker and a structure of len bytes behind it: *at is where that is, then where more goes. */
static co_fn int put_marked(struct vmdk_extent *e, enum vmdk_marker type, uint8_t *buf, size_t len,
			    uint64_t *at, uint32_t *sector)
{
	size_t padded = (len + VMDK_SECTOR - 1) / VMDK_SECTOR * VMDK_SECTOR;
	int res;

	memset(buf, 0, VMDK_SECTOR);
	put_le64(buf + VM_VALUE, padded / VMDK_SECTOR);
	put_le32(buf + VM_TYPE, type);
	if ((*at + VMDK_SECTOR + padded) / VMDK_SECTOR > UINT32_MAX)
		return -ENOSPC;
	res = vmdk_grow(e, *at + VMDK_SECTOR + padded);
	if (res == 0)
		res = block_pwrite(e->file, *at, buf, VMDK_SECTOR + padded, 0);
	*sector = (uint32_t)(*at / VMDK_SECTOR + 1);
	*at += VMDK_SECTOR + padded;
	return res;
}

static co_fn int put_tables(struct vmdk_extent *e, uint64_t *at)
{
	uint8_t buf[(1 + ENTRY) * VMDK_SECTOR];
	int res = 0;

	for (uint32_t i = 0; i < e->h.directory_len && res == 0; i++) {
		const uint32_t *table = e->stream->tables[i];

		if (!table)
			continue;
		memset(buf, 0, sizeof(buf));
		for (uint32_t k = 0; k < e->h.table; k++)
			put_le32(buf + VMDK_SECTOR + (size_t)k * ENTRY, table[k]);
		res = put_marked(e, VMDK_TABLE, buf, (size_t)e->h.table * ENTRY, at,
				 &e->directory[i]);
	}
	return res;
}

static co_fn int put_directory(struct vmdk_extent *e, uint64_t *at)
{
	size_t len = (size_t)e->h.directory_len * ENTRY;
	uint8_t *buf = g_try_malloc0(len + (size_t)2 * VMDK_SECTOR);
	uint32_t sector = 0;
	int res;

	if (!buf)
		return -ENOMEM;
	for (uint32_t i = 0; i < e->h.directory_len; i++)
		put_le32(buf + VMDK_SECTOR + (size_t)i * ENTRY, e->directory[i]);
	res = put_marked(e, VMDK_DIRECTORY, buf, len, at, &sector);
	e->h.directory = sector;
	g_free(buf);
	return res;
}

co_fn int vmdk_stream_finish(struct vmdk_extent *e)
{
	uint8_t footer[VMDK_FOOTER_MARK] = {0};
	uint64_t at = e->stream->end;
	int res;

	if (e->stream->finished)
		return 0;
	res = put_tables(e, &at);
	if (res == 0)
		res = put_directory(e, &at);
	if (res == 0)
		res = block_truncate(e->file, at + sizeof(footer));
	if (res == 0)
		res = block_flush(e->file);
	put_le64(footer + VM_VALUE, 1);
	put_le32(footer + VM_TYPE, VMDK_FOOTER);
	vmdk_put_header(footer + VMDK_SECTOR, &e->h);
	if (res == 0)
		res = block_pwrite(e->file, at, footer, sizeof(footer), 0);
	if (res == 0)
		res = block_flush(e->file);
	e->stream->finished = res == 0;
	e->grown = e->grown && res < 0;
	return res;
}
