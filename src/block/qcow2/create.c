/* New images: header, refcount table and blocks, L1 table, one after the other. */

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/err.h"
#include "block/qcow2/qcow2.h"

enum { NEW_V3_LEN = 112, MAGIC_AND_LEN = 8, ZERO_CHUNK = 64 << 10 };

struct layout {
	struct qcow2_header h;
	uint64_t cluster, blocks, total; /* counter blocks; clusters in all */
	int prealloc;
	const char *data_file;
};

enum { PREALLOC_OFF, PREALLOC_METADATA, PREALLOC_FALLOC, PREALLOC_FULL };

/* What images of version 2 cannot have, and what goes with what. */
static bool check_options(const struct block_create *what, const struct layout *l, GError **error)
{
	bool extended = l->h.incompatible & QCOW2_EXTENDED_L2;

	if (l->h.version == 2 &&
	    (l->h.refcount_order != 4 || l->h.compatible || l->h.incompatible)) {
		return err_set(error, EINVAL,
			       "compat=0.10 has neither refcount_bits, lazy_refcounts, "
			       "compression_type, extended_l2 nor data_file");
	}
	if (!qcow2_can_unpack(l->h.codec))
		return err_set(error, ENOTSUP,
			       "compression_type=zstd: this program was built without it");
	if (extended && l->h.cluster_bits < 14) {
		return err_set(error, EINVAL,
			       "extended_l2 needs a cluster_size of at least 16K (and 128K or more "
			       "to be worth it)");
	}
	if (l->prealloc && what->backing_name && !extended) {
		return err_set(error, EINVAL,
			       "preallocation and a backing file exclude each other, unless with "
			       "extended_l2");
	}
	if (l->h.autoclear & QCOW2_RAW_DATA && (!l->data_file || what->backing_name))
		return err_set(error, EINVAL,
			       "data_file_raw goes with data_file, and without a backing file");
	return true;
}

static bool parse_options(const struct block_create *what, struct layout *l, GError **error)
{
	static const char *const compats[] = {"0.10", "v2", "1.1", "v3", NULL};
	static const char *const codecs[] = {"zlib", "zstd", NULL};
	static const char *const modes[] = {"off", "metadata", "falloc", "full", NULL};
	int compat = 3, codec = 0;
	uint64_t size = 65536, bits = 16;
	bool lazy = false, extended = false, raw = false;

	if (!opts_get_enum(what->options, "compat", compats, &compat, error) ||
	    !opts_get_enum(what->options, "compression_type", codecs, &codec, error) ||
	    !opts_get_enum(what->options, "preallocation", modes, &l->prealloc, error) ||
	    !opts_get_size(what->options, "cluster_size", &size, error) ||
	    !opts_get_u64(what->options, "refcount_bits", 1, 64, &bits, error) ||
	    !opts_get_bool(what->options, "lazy_refcounts", &lazy, error) ||
	    !opts_get_bool(what->options, "extended_l2", &extended, error) ||
	    !opts_get_bool(what->options, "data_file_raw", &raw, error))
		return false;
	l->data_file = opts_get(what->options, "data_file");
	l->h.version = compat < 2 ? 2 : 3;
	l->h.codec = (unsigned)codec;
	if (size < 512 || size > 2 << 20 || size & (size - 1)) {
		return err_set(error, EINVAL,
			       "cluster_size=%" PRIu64 ": must be a power of two from 512 to 2M",
			       size);
	}
	if (bits & (bits - 1))
		return err_set(error, EINVAL,
			       "refcount_bits=%" PRIu64 ": must be 1, 2, 4, 8, 16, 32 or 64", bits);
	l->h.cluster_bits = (unsigned)__builtin_ctzll(size);
	l->h.refcount_order = (unsigned)__builtin_ctzll(bits);
	l->h.compatible = lazy ? QCOW2_LAZY_REFCOUNTS : 0;
	l->h.incompatible = (codec ? QCOW2_COMPRESSION : 0) | (extended ? QCOW2_EXTENDED_L2 : 0) |
			    (l->data_file ? QCOW2_DATA_FILE : 0);
	l->h.autoclear = raw ? QCOW2_RAW_DATA : 0;
	l->cluster = size;
	/* Whoever reads the data file by itself must find in it all that the image maps. */
	if (raw)
		l->prealloc = MAX(l->prealloc, PREALLOC_METADATA);
	return check_options(what, l, error);
}

/* Where everything goes; blocks of counters and their table count themselves. */
static bool lay_out(const struct block_create *what, struct layout *l, GError **error)
{
	uint64_t c = l->cluster, by_l1 = c / (l->h.incompatible & QCOW2_EXTENDED_L2 ? 16 : 8) * c,
		 per = c * 8 >> l->h.refcount_order, l1, before;

	l->h.size = (what->length + 511) / 512 * 512;
	if (l->h.size / by_l1 >= QCOW2_MAX_L1 / 8) {
		return err_set(error, EFBIG,
			       "%" PRIu64 " bytes are too many for cluster_size=%" PRIu64,
			       what->length, c);
	}
	l->h.l1_entries = (uint32_t)MAX(l->h.size / by_l1 + (l->h.size % by_l1 > 0), 1);
	l1 = ((uint64_t)l->h.l1_entries * 8 + c - 1) / c;
	l->blocks = 1;
	do {
		before = l->blocks;
		l->h.reftable_clusters = (uint32_t)((l->blocks * 8 + c - 1) / c);
		l->total = 1 + l->h.reftable_clusters + l->blocks + l1;
		l->blocks = (l->total + per - 1) / per;
	} while (l->blocks != before);
	l->h.reftable_off = c;
	l->h.l1_off = (l->total - l1) * c;
	return true;
}

static size_t put_extension(uint8_t *p, size_t off, uint32_t type, const void *data, size_t len)
{
	put_be32(p + off, type);
	put_be32(p + off + 4, (uint32_t)len);
	memcpy(p + off + MAGIC_AND_LEN, data, len);
	return off + MAGIC_AND_LEN + (len + 7) / 8 * 8;
}

/* The first cluster. */
static bool put_header(const struct block_create *what, const struct layout *l, uint8_t *p,
		       GError **error)
{
	size_t name = what->backing_name ? strlen(what->backing_name) : 0;
	size_t format = what->backing_format ? strlen(what->backing_format) : 0;
	size_t data = l->data_file ? strlen(l->data_file) : 0;
	size_t off = l->h.version == 2 ? QCOW2_V2_LEN : NEW_V3_LEN;

	if (name > QCOW2_MAX_NAME ||
	    off + 3 * (size_t)MAGIC_AND_LEN + format + 8 + name > l->cluster) {
		return err_set(error, EINVAL,
			       "the name of the backing file is %zu bytes long, too long for the "
			       "first cluster",
			       name);
	}
	if (data > QCOW2_MAX_NAME ||
	    off + 4 * (size_t)MAGIC_AND_LEN + format + 8 + name + data + 8 > l->cluster) {
		return err_set(error, EINVAL,
			       "the name of the data file is %zu bytes long, too long for the "
			       "first cluster",
			       data);
	}
	put_be32(p + QH_MAGIC, QCOW2_MAGIC);
	put_be32(p + QH_VERSION, l->h.version);
	put_be32(p + QH_CLUSTER_BITS, l->h.cluster_bits);
	put_be64(p + QH_SIZE, l->h.size);
	put_be32(p + QH_L1_ENTRIES, l->h.l1_entries);
	put_be64(p + QH_L1_OFF, l->h.l1_off);
	put_be64(p + QH_REFTABLE_OFF, l->h.reftable_off);
	put_be32(p + QH_REFTABLE_CLUSTERS, l->h.reftable_clusters);
	if (l->h.version == 3) {
		put_be64(p + QH_INCOMPATIBLE, l->h.incompatible);
		put_be64(p + QH_COMPATIBLE, l->h.compatible);
		put_be64(p + QH_AUTOCLEAR, l->h.autoclear);
		put_be32(p + QH_REFCOUNT_ORDER, l->h.refcount_order);
		put_be32(p + QH_HEADER_LEN, NEW_V3_LEN);
		p[QH_CODEC] = (uint8_t)l->h.codec;
	}
	if (format)
		off = put_extension(p, off, QCOW2_EXT_BACKING_FORMAT, what->backing_format, format);
	if (data)
		off = put_extension(p, off, QCOW2_EXT_DATA_FILE, l->data_file, data);
	off += MAGIC_AND_LEN; /* the end: zeros */
	if (name) {
		put_be64(p + QH_BACKING_OFF, off);
		put_be32(p + QH_BACKING_LEN, (uint32_t)name);
		memcpy(p + off, what->backing_name, name);
	}
	return true;
}

static co_fn int write_tables(struct block_node *file, const struct layout *l)
{
	uint64_t c = l->cluster, per = c * 8 >> l->h.refcount_order;
	uint64_t first = l->h.reftable_off + l->h.reftable_clusters * c;
	uint8_t *buf = g_try_malloc0(MAX(c, l->h.reftable_clusters * c));
	int res = buf ? 0 : -ENOMEM;

	for (uint64_t b = 0; b < l->blocks && res == 0; b++)
		put_be64(buf + b * 8, first + b * c);
	if (res == 0)
		res = block_pwrite(file, l->h.reftable_off, buf, l->h.reftable_clusters * c, 0);
	for (uint64_t b = 0; b < l->blocks && res == 0; b++) {
		memset(buf, 0, c);
		for (uint64_t i = 0; i < per && b * per + i < l->total; i++)
			qcow2_ref_set(buf, i, l->h.refcount_order, 1);
		res = block_pwrite(file, first + b * c, buf, c, 0);
	}
	g_free(buf);
	return res;
}

/* Clusters for n of the disk, from number i on: *off, *got. */
static co_fn int take_clusters(struct block_node *node, uint64_t i, uint64_t n, uint64_t *off,
			       uint64_t *got)
{
	struct qcow2 *q = node->state;

	if (!q->own_data)
		return qcow2_alloc(node, n, 1, off, got);
	*off = i << q->h.cluster_bits;
	*got = n;
	return 0;
}

static co_fn int write_zeros(struct block_node *data, uint64_t off, uint64_t len)
{
	static const uint8_t zeros[ZERO_CHUNK];
	int res = 0;

	for (uint64_t n; len > 0 && res == 0; off += n, len -= n) {
		n = MIN(len, (uint64_t)ZERO_CHUNK);
		res = block_pwrite(data, off, zeros, n, 0);
	}
	return res;
}

/* Maps every cluster, writing zeros to it only if it is to be full of them. */
static co_fn int preallocate(struct block_node *node, bool full)
{
	struct qcow2 *q = node->state;
	uint64_t size = qcow2_cluster(q), n = (node->length + size - 1) / size;
	uint64_t per_piece = q->l2.piece_len / qcow2_entry_len(q), got = 0;
	/* Subclusters are no data yet, so that a backing file shows. */
	struct qcow2_link link = {.step = size, .unmap = true};
	int res = 0;

	for (uint64_t i = 0; i < n && res == 0; i += got) {
		uint64_t want = MIN(n - i, per_piece - i % per_piece), off = 0;

		res = qcow2_lock(node);
		if (res == 0)
			res = take_clusters(node, i, want, &off, &got);
		link.value = off | QCOW2_COPIED;
		link.n = got;
		if (res == 0)
			res = qcow2_link(node, i, &link);
		co_mutex_unlock(&q->lock);
		if (res == 0 && full)
			res = write_zeros(q->data, off,
					  MIN(got * size, MAX(q->data->length, off) - off));
	}
	return res < 0 ? res : block_flush(node);
}

static co_fn bool fill(struct block_node *file, const struct layout *l, GError **error)
{
	struct block_node *node, *data;
	unsigned flags = file->flags;
	int res;

	block_ref(file);
	file->flags |= BLOCK_REFS_ANYWHERE; /* the user named the data file */
	node = block_open_over("qcow2", file, error);
	file->flags = flags;
	if (!node)
		return false;
	data = ((struct qcow2 *)node->state)->data;
	res = preallocate(node, l->prealloc == PREALLOC_FULL);
	if (res == 0 && l->prealloc == PREALLOC_FALLOC)
		res = block_allocate(data, 0, data->length);
	block_unref(node);
	return res == 0 || err_set_errno(error, -res, "the space cannot be allocated");
}

/* The data file: new, or one that is there and empty. What is in a file is never thrown away. */
static co_fn bool make_data_file(struct block_node *image, const struct layout *l, GError **error)
{
	const char *slash = strrchr(image->name, '/');
	g_autofree char *dir = slash ? g_strndup(image->name, (size_t)(slash - image->name)) : NULL;
	g_autofree char *path = dir && *l->data_file != '/'
					? g_build_filename(dir, l->data_file, NULL)
					: g_strdup(l->data_file);
	struct opts *o = opts_new();
	struct block_node *data;
	int res;

	opts_set(o, "driver", "file");
	opts_set(o, "filename", path);
	if (access(path, F_OK) != 0)
		opts_set(o, "create", "on");
	data = block_open(o, BLOCK_RDWR | BLOCK_UNSHARE_WRITE, error);
	opts_free(o);
	if (!data)
		return false;
	res = data->length ? -EEXIST : block_truncate(data, l->h.size);
	block_unref(data);
	return res == 0 || err_set_errno(error, -res, "data_file=%s: must be new, or empty", path);
}

co_fn bool qcow2_create(struct block_node *file, const struct block_create *what, GError **error)
{
	struct layout l = {0};
	uint8_t *head;
	int res;

	if (!parse_options(what, &l, error) || !lay_out(what, &l, error))
		return false;
	head = g_malloc0(l.cluster);
	if (!put_header(what, &l, head, error) ||
	    (l.data_file && !make_data_file(file, &l, error))) {
		g_free(head);
		return false;
	}
	res = block_truncate(file, l.total * l.cluster);
	if (res == 0)
		res = write_tables(file, &l);
	if (res == 0)
		res = block_flush(file);
	if (res == 0)
		res = block_pwrite(file, 0, head, l.cluster, 0);
	if (res == 0)
		res = block_flush(file);
	g_free(head);
	if (res < 0)
		return err_set_errno(error, -res, "qcow2: it cannot be written");
	return l.prealloc == PREALLOC_OFF || fill(file, &l, error);
}
