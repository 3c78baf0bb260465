/* The header and its extensions, and table entries: pure, see format.h. */
#include "block/qcow2/format.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"

int qcow2_probe(const uint8_t *head, size_t len, const char *name)
{
	(void)name;
	return len >= 8 && get_be32(head) == QCOW2_MAGIC && get_be32(head + QH_VERSION) >= 2 ? 100
											     : 0;
}

static bool bad(GError **error, unsigned off, const char *field, uint64_t value, const char *must)
{
	return err_set(error, EINVAL, "qcow2: %s at offset %u of the header is %" PRIu64 "; %s",
		       field, off, value, must);
}

/* A table of bytes bytes at off, aligned to clusters, wholly inside the file. */
static bool table_ok(const struct qcow2_header *h, uint64_t off, uint64_t bytes, uint64_t file_len)
{
	uint64_t cluster = (uint64_t)1 << h->cluster_bits;

	return off % cluster == 0 && off >= cluster && off <= file_len && bytes <= file_len - off;
}

static bool check_features(struct qcow2_header *h, const uint8_t *p, GError **error)
{
	uint64_t unknown = h->incompatible & ~(uint64_t)QCOW2_KNOWN_INCOMPATIBLE;

	if (unknown)
		return bad(error, QH_INCOMPATIBLE, "the incompatible features", h->incompatible,
			   "only bits 0 to 4 are known");
	if (h->header_len > QH_CODEC)
		h->codec = p[QH_CODEC];
	if ((h->codec != QCOW2_DEFLATE) != !!(h->incompatible & QCOW2_COMPRESSION))
		return bad(error, QH_CODEC, "the compression type", h->codec,
			   "it contradicts the feature bits");
	if (h->codec > QCOW2_ZSTD)
		return bad(error, QH_CODEC, "the compression type", h->codec,
			   "must be 0 (deflate) or 1 (zstd)");
	if (h->incompatible & QCOW2_EXTENDED_L2 && h->cluster_bits < 14)
		return bad(error, QH_CLUSTER_BITS, "cluster_bits", h->cluster_bits,
			   "must be at least 14 with extended L2 entries");
	return true;
}

static bool parse_fixed(const uint8_t *p, size_t len, struct qcow2_header *h, GError **error)
{
	if (len < QCOW2_V2_LEN || get_be32(p) != QCOW2_MAGIC)
		return err_set(error, EINVAL, "qcow2: there is no header at offset 0");
	h->version = get_be32(p + QH_VERSION);
	if (h->version < 2 || h->version > 3)
		return bad(error, QH_VERSION, "the version", h->version, "must be 2 or 3");
	h->cluster_bits = get_be32(p + QH_CLUSTER_BITS);
	if (h->cluster_bits < QCOW2_MIN_BITS || h->cluster_bits > QCOW2_MAX_BITS)
		return bad(error, QH_CLUSTER_BITS, "cluster_bits", h->cluster_bits,
			   "must be 9 to 21");
	h->refcount_order = 4;
	h->header_len = QCOW2_V2_LEN;
	if (h->version == 2)
		return true;
	if (len < QCOW2_V3_LEN)
		return err_set(error, EINVAL, "qcow2: the file ends inside the header");
	h->incompatible = get_be64(p + QH_INCOMPATIBLE);
	h->compatible = get_be64(p + QH_COMPATIBLE);
	h->autoclear = get_be64(p + QH_AUTOCLEAR);
	h->refcount_order = get_be32(p + QH_REFCOUNT_ORDER);
	h->header_len = get_be32(p + QH_HEADER_LEN);
	if (h->refcount_order > 6)
		return bad(error, QH_REFCOUNT_ORDER, "refcount_order", h->refcount_order,
			   "must be 0 to 6");
	if (h->header_len < QCOW2_V3_LEN || h->header_len % 8 || h->header_len > len ||
	    h->header_len > (uint64_t)1 << h->cluster_bits)
		return bad(error, QH_HEADER_LEN, "header_length", h->header_len,
			   "must be at least 104, a multiple of 8 and inside the first cluster");
	return check_features(h, p, error);
}

static bool parse_tables(const uint8_t *p, uint64_t file_len, struct qcow2_header *h,
			 GError **error)
{
	uint64_t l2_entry = h->incompatible & QCOW2_EXTENDED_L2 ? 16 : 8;
	uint64_t cluster = (uint64_t)1 << h->cluster_bits;
	uint64_t by_l1 = cluster / l2_entry * cluster; /* bytes of the disk for each L1 entry */

	h->size = get_be64(p + QH_SIZE);
	h->crypt = get_be32(p + QH_CRYPT);
	h->l1_entries = get_be32(p + QH_L1_ENTRIES);
	h->l1_off = get_be64(p + QH_L1_OFF);
	h->reftable_off = get_be64(p + QH_REFTABLE_OFF);
	h->reftable_clusters = get_be32(p + QH_REFTABLE_CLUSTERS);
	h->snapshots = get_be32(p + QH_SNAPSHOTS);
	h->snap_off = get_be64(p + QH_SNAP_OFF);
	if (h->size > INT64_MAX || h->size % QCOW2_SECTOR)
		return bad(error, QH_SIZE, "the size of the disk", h->size,
			   "must be a multiple of 512 below 2^63");
	if (h->l1_entries > QCOW2_MAX_L1 / 8)
		return bad(error, QH_L1_ENTRIES, "the number of L1 entries", h->l1_entries,
			   "at most 4194304 (32 MiB)");
	if (h->size / by_l1 + (h->size % by_l1 > 0) > h->l1_entries)
		return bad(error, QH_L1_ENTRIES, "the number of L1 entries", h->l1_entries,
			   "too few for the size of the disk");
	if (h->l1_entries && !table_ok(h, h->l1_off, (uint64_t)h->l1_entries * 8, file_len))
		return bad(error, QH_L1_OFF, "the offset of the L1 table", h->l1_off,
			   "must be a whole number of clusters, and the table inside the file");
	if (!h->reftable_clusters || h->reftable_clusters * cluster > QCOW2_MAX_REFTABLE)
		return bad(error, QH_REFTABLE_CLUSTERS, "the length of the refcount table",
			   h->reftable_clusters, "must be 1 cluster to 8 MiB");
	if (!table_ok(h, h->reftable_off, h->reftable_clusters * cluster, file_len)) {
		return bad(error, QH_REFTABLE_OFF, "the offset of the refcount table",
			   h->reftable_off,
			   "must be a whole number of clusters, and the table inside the file");
	}
	if (h->snapshots > QCOW2_MAX_SNAPSHOTS)
		return bad(error, QH_SNAPSHOTS, "the number of snapshots", h->snapshots,
			   "at most 65536");
	if (h->snapshots && !table_ok(h, h->snap_off, (uint64_t)h->snapshots * 40, file_len))
		return bad(error, QH_SNAP_OFF, "the offset of the snapshot table", h->snap_off,
			   "must be a whole number of clusters, and the table inside the file");
	return true;
}

/* A name of the file system, from bytes that may be anything. */
static bool take_name(const uint8_t *p, size_t n, size_t off, const char *what, char **name,
		      GError **error)
{
	if (n == 0 || n > QCOW2_MAX_NAME || memchr(p, 0, n)) {
		return err_set(error, EINVAL,
			       "qcow2: the %s at offset %zu is %zu bytes long; must be 1 to 1023 "
			       "bytes without a zero",
			       what, off, n);
	}
	g_free(*name);
	*name = g_strndup((const char *)p, n);
	return true;
}

static bool take_extension(struct qcow2_header *h, uint32_t type, const uint8_t *p, uint32_t n,
			   size_t off, GError **error)
{
	switch (type) {
	case QCOW2_EXT_BACKING_FORMAT:
		return take_name(p, n, off, "format of the backing file", &h->backing_format,
				 error);
	case QCOW2_EXT_DATA_FILE:
		return take_name(p, n, off, "name of the data file", &h->data_file, error);
	case QCOW2_EXT_BITMAPS:
		if (n < 24) {
			return err_set(error, EINVAL,
				       "qcow2: the bitmaps extension at offset %zu has %" PRIu32
				       " bytes; must be 24",
				       off, n);
		}
		h->bitmaps = get_be32(p);
		h->bitmaps_len = get_be64(p + 8);
		h->bitmaps_off = get_be64(p + 16);
		return true;
	case QCOW2_EXT_CRYPTO:
		if (n < 16) {
			return err_set(error, EINVAL,
				       "qcow2: the encryption extension at offset %zu has %" PRIu32
				       " bytes; must be 16",
				       off, n);
		}
		h->crypto_off = get_be64(p);
		h->crypto_len = get_be64(p + 8);
		return true;
	default: return true;
	}
}

static bool parse_extensions(const uint8_t *p, size_t end, struct qcow2_header *h, GError **error)
{
	size_t off = h->header_len;

	while (off + 8 <= end) {
		uint32_t type = get_be32(p + off), n = get_be32(p + off + 4);

		if (type == QCOW2_EXT_END)
			return true;
		off += 8;
		if (n > end - off) {
			return err_set(error, EINVAL,
				       "qcow2: the header extension 0x%08" PRIx32
				       " at offset %zu has %" PRIu32
				       " bytes, more than the header has room for",
				       type, off - 8, n);
		}
		if (!take_extension(h, type, p + off, n, off, error))
			return false;
		off += MIN(((size_t)n + 7) / 8 * 8, end - off);
	}
	h->open_ended = true;
	return true;
}

bool qcow2_parse_header(const uint8_t *p, size_t len, uint64_t file_len, struct qcow2_header *h,
			GError **error)
{
	uint64_t name_off;
	uint32_t name_len;
	size_t end;

	memset(h, 0, sizeof(*h));
	if (!parse_fixed(p, len, h, error) || !parse_tables(p, file_len, h, error))
		return false;
	len = MIN(len, (size_t)1 << h->cluster_bits);
	name_off = get_be64(p + QH_BACKING_OFF);
	name_len = get_be32(p + QH_BACKING_LEN);
	end = len;
	if (name_off) {
		if (name_off < h->header_len || name_off > len || name_len > len - name_off)
			return bad(error, QH_BACKING_OFF, "the offset of the backing file's name",
				   name_off, "must lie behind the header in the first cluster");
		end = name_off;
	}
	if (!parse_extensions(p, end, h, error))
		return false;
	if (name_off && name_len &&
	    !take_name(p + name_off, name_len, name_off, "name of the backing file",
		       &h->backing_name, error))
		return false;
	if (h->crypt == QCOW2_CRYPT_LUKS &&
	    (!h->crypto_len || !table_ok(h, h->crypto_off, h->crypto_len, file_len))) {
		return err_set(error, EINVAL,
			       "qcow2: the LUKS header at offset %" PRIu64 " has %" PRIu64
			       " bytes; must be a whole number of clusters, and inside the file",
			       h->crypto_off, h->crypto_len);
	}
	if (h->data_file && !(h->incompatible & QCOW2_DATA_FILE))
		return err_set(error, EINVAL,
			       "qcow2: names a data file, and its feature bit is not set");
	return true;
}

void qcow2_header_fini(struct qcow2_header *h)
{
	g_free(h->backing_name);
	g_free(h->backing_format);
	g_free(h->data_file);
	h->backing_name = h->backing_format = h->data_file = NULL;
}

static int decode_compressed(const struct qcow2_header *h, uint64_t raw, uint64_t bitmap,
			     struct qcow2_entry *e)
{
	unsigned x = 62 - (h->cluster_bits - 8);
	uint64_t sectors;

	if (raw & QCOW2_COPIED || bitmap || h->incompatible & QCOW2_DATA_FILE)
		return -EIO;
	e->compressed = true;
	e->host = raw & (((uint64_t)1 << x) - 1);
	sectors = (raw & ~(QCOW2_COMPRESSED | QCOW2_COPIED)) >> x;
	e->bytes = (uint32_t)((sectors + 1) * QCOW2_SECTOR - e->host % QCOW2_SECTOR);
	return e->host ? 0 : -EIO;
}

int qcow2_decode(const struct qcow2_header *h, const uint64_t *raw, struct qcow2_entry *e)
{
	bool extended = h->incompatible & QCOW2_EXTENDED_L2;
	uint64_t bitmap = extended ? raw[1] : 0;

	memset(e, 0, sizeof(*e));
	if (raw[0] & QCOW2_COMPRESSED)
		return decode_compressed(h, raw[0], bitmap, e);
	e->host = raw[0] & QCOW2_OFFSET;
	e->copied = raw[0] & QCOW2_COPIED;
	e->has_host = e->host || (e->copied && h->incompatible & QCOW2_DATA_FILE);
	if (e->host & (((uint64_t)1 << h->cluster_bits) - 1))
		return -EIO;
	if (extended) {
		e->data = (uint32_t)bitmap;
		e->zero = (uint32_t)(bitmap >> 32);
		if (raw[0] & QCOW2_ZERO || e->data & e->zero || (e->data && !e->has_host))
			return -EIO;
		return 0;
	}
	if (raw[0] & QCOW2_ZERO && h->version < 3)
		return -EIO;
	e->zero = raw[0] & QCOW2_ZERO ? 1 : 0;
	e->data = e->has_host && !e->zero;
	return 0;
}
