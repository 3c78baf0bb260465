/*
 * Driver "qcow2": versions 2 and 3. Images with the old AES encryption are refused; those
 * with LUKS need the secret.
 *
 * Options: "file.*" or "filename" for the image, "backing.*" for its backing file, "data-file.*"
 * for an external data file (default: as the image names it), "l2-cache-size", "encrypt.secret",
 * "snapshot" (the number or name of an internal one to be read instead). The L1 table is kept in
 * memory, pieces of L2 tables in a cache of bounded size.
 */
#include "block/qcow2/qcow2.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/log.h"
#include "block/drivers.h"
#include "block/luks.h"
#include "outboard-config.h"

enum { PIECE = 4096, NS = 1000000000 };
static const uint64_t default_l2_cache = (uint64_t)32 << 20, max_l2_cache = (uint64_t)4 << 30;

static co_fn bool parse_head(struct block_node *node, size_t len, GError **error)
{
	struct qcow2 *q = node->state;
	uint8_t *buf = g_try_malloc0(len ? len : 1);
	bool ok;
	int res;

	if (!buf)
		return err_set(error, ENOMEM, "qcow2: no memory for the header");
	res = block_pread(node->file, 0, buf, len);
	ok = res == 0 ? qcow2_parse_header(buf, len, node->file->length, &q->h, error)
		      : err_set_errno(error, -res, "qcow2: the header cannot be read");
	g_free(buf);
	return ok;
}

/* The first cluster is large, and a chain long: the whole of it is read only when it must be. */
static co_fn bool read_header(struct block_node *node, GError **error)
{
	struct qcow2 *q = node->state;
	uint64_t all = MIN(node->file->length, (uint64_t)1 << QCOW2_MAX_BITS);

	if (all > QCOW2_HEAD_MAX && parse_head(node, QCOW2_HEAD_MAX, NULL) && !q->h.open_ended)
		return true;
	qcow2_header_fini(&q->h);
	return parse_head(node, all, error);
}

static bool check_supported(struct block_node *node, GError **error)
{
	const struct qcow2 *q = node->state;

	if (q->h.crypt == QCOW2_CRYPT_AES) {
		return err_set(
			error, ENOTSUP,
			"qcow2: is encrypted with the old AES method, which is not supported");
	}
	if (q->h.crypt > QCOW2_CRYPT_LUKS) {
		return err_set(error, EINVAL,
			       "qcow2: the encryption method at offset %d of the header is %" PRIu32
			       "; must be 0 to 2",
			       QH_CRYPT, q->h.crypt);
	}
	if (!qcow2_can_unpack(q->h.codec)) {
		return err_set(
			error, ENOTSUP,
			"qcow2: is compressed with zstd, and this program was built without");
	}
	return true;
}

/* For those that are encrypted. */
static co_fn bool open_crypt(struct block_node *node, struct opts *options, GError **error)
{
	static const char *const formats[] = {"luks", NULL};
	const char *secret = opts_get(options, "encrypt.secret");
	struct qcow2 *q = node->state;
	int format = 0;

	q->grain = 1;
	if (!opts_get_enum(options, "encrypt.format", formats, &format, error))
		return false;
	if (q->h.crypt != QCOW2_CRYPT_LUKS) {
		return !secret ||
		       err_set(error, EINVAL,
			       "qcow2: encrypt.secret is given, and it is not encrypted");
	}
	if (node->flags & BLOCK_HEADER_ONLY)
		return true;
	if (!secret)
		return err_set(error, EACCES,
			       "qcow2: is encrypted with LUKS; it needs encrypt.key-secret=");
#ifdef HAVE_GNUTLS
	q->grain = CRYPT_SECTOR;
	q->crypt = luks_open(node->file, q->h.crypto_off, q->h.crypto_len, secret, error);
	return q->crypt != NULL;
#else
	return err_set(error, ENOTSUP,
		       "qcow2: is encrypted with LUKS, and this program was built without GnuTLS");
#endif
}

static co_fn bool read_l1(struct block_node *node, GError **error)
{
	struct qcow2 *q = node->state;
	int res;

	if (!qcow2_table_init(&q->l1, q->h.l1_entries, q->h.l1_off))
		return err_set(error, ENOMEM, "qcow2: no memory for %" PRIu32 " L1 entries",
			       q->h.l1_entries);
	res = qcow2_table_read(&q->l1, node->file);
	return res == 0 || err_set_errno(error, -res, "qcow2: the L1 table cannot be read");
}

static co_fn bool open_data_file(struct block_node *node, struct opts *options, GError **error)
{
	struct qcow2 *q = node->state;
	struct opts *place = opts_sub(options, "data-file.");
	unsigned flags = node->flags & (BLOCK_RDWR | BLOCK_PART_FLAGS);

	q->data = node->file;
	if (!(q->h.incompatible & QCOW2_DATA_FILE) || node->flags & BLOCK_HEADER_ONLY) {
		bool ok = opts_is_empty(place) ||
			  err_set(error, EINVAL, "qcow2: data-file is given, and it has none");

		opts_free(place);
		return ok;
	}
	q->data = NULL;
	if (opts_is_empty(place)) {
		opts_free(place);
		if (!q->h.data_file) {
			return err_set(
				error, EINVAL,
				"qcow2: does not name its data file; say data-file.filename=");
		}
		place = block_refer(node, "data file", q->h.data_file, error);
	}
	if (place)
		q->data = block_open(place, flags, error);
	opts_free(place);
	q->own_data = q->data != NULL;
	return q->own_data;
}

static co_fn bool qcow2_open_over(struct block_node *node, struct opts *options, GError **error)
{
	struct qcow2 *q = node->state;
	const char *snapshot = opts_get(options, "snapshot");
	uint64_t cache = default_l2_cache;

	if (!opts_get_size(options, "l2-cache-size", &cache, error))
		return false;
	if (cache > max_l2_cache)
		return err_set(error, EINVAL, "l2-cache-size=%" PRIu64 ": at most 4G", cache);
	if (!read_header(node, error) || !check_supported(node, error) ||
	    !open_crypt(node, options, error))
		return false;
	if (!meta_cache_init(&q->l2, MIN((uint64_t)PIECE, qcow2_cluster(q)), cache))
		return err_set(error, ENOMEM, "qcow2: no memory for the cache of L2 tables");
	if (!read_l1(node, error) || !qcow2_read_snapshots(node, error) ||
	    !qcow2_read_bitmaps(node, error) || !open_data_file(node, options, error))
		return false;
	node->length = q->h.size;
	node->cluster_size = qcow2_cluster(q);
	node->backing_name = g_strdup(q->h.backing_name);
	node->backing_format = g_strdup(q->h.backing_format);
	if (snapshot) {
		node->writable = false;
		return qcow2_load_snapshot(node, snapshot, error);
	}
	return !node->writable || qcow2_start_writing(node, error);
}

static co_fn bool qcow2_open(struct block_node *node, struct opts *options, GError **error)
{
	return block_open_child(node, options, error) && qcow2_open_over(node, options, error);
}

static co_fn void qcow2_close(struct block_node *node)
{
	struct qcow2 *q = node->state;

	qcow2_stop_writing(node);
	if (q->own_data)
		block_unref(q->data);
#ifdef HAVE_GNUTLS
	crypt_free(q->crypt);
#endif
	qcow2_free_snapshots(q);
	qcow2_free_bitmaps(q);
	meta_cache_fini(&q->l2);
	meta_cache_fini(&q->refs);
	qcow2_table_fini(&q->l1);
	qcow2_table_fini(&q->reftable);
	if (q->meta)
		g_hash_table_unref(q->meta);
	if (q->freed)
		g_array_unref(q->freed);
	if (q->ripe)
		g_array_unref(q->ripe);
	g_free(q->unpacked);
	qcow2_header_fini(&q->h);
}

static json_t *snapshots_json(const struct qcow2 *q)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < q->snapshots->len; i++) {
		const struct qcow2_snapshot *s =
			&g_array_index(q->snapshots, struct qcow2_snapshot, i);
		g_autofree char *id = g_utf8_make_valid(s->id, -1);
		g_autofree char *name = g_utf8_make_valid(s->name, -1);

		json_array_append_new(
			list,
			json_pack("{s:s, s:s, s:I, s:I, s:I, s:I, s:I}", "id", id, "name", name,
				  "vm-state-size", (json_int_t)s->vm_state_bytes, "date-sec",
				  (json_int_t)s->date_s, "date-nsec", (json_int_t)s->date_ns,
				  "vm-clock-sec", (json_int_t)(s->clock_ns / NS), "vm-clock-nsec",
				  (json_int_t)(s->clock_ns % NS)));
	}
	return list;
}

static json_t *bitmaps_json(const struct block_node *node)
{
	json_t *list = json_array();
	struct block_bitmap b;

	for (unsigned i = 0; qcow2_get_bitmap(node, i, &b); i++) {
		g_autofree char *name = g_utf8_make_valid(b.name, -1);
		json_t *flags = json_array();

		if (b.in_use)
			json_array_append_new(flags, json_string("in-use"));
		if (b.recording)
			json_array_append_new(flags, json_string("auto"));
		json_array_append_new(list,
				      json_pack("{s:o, s:s, s:I}", "flags", flags, "name", name,
						"granularity", (json_int_t)b.granularity));
	}
	return list;
}

static json_t *qcow2_info(const struct block_node *node)
{
	const struct qcow2 *q = node->state;
	json_t *data = json_pack("{s:s, s:s, s:i}", "compat", q->h.version == 2 ? "0.10" : "1.1",
				 "compression-type", q->h.codec == QCOW2_ZSTD ? "zstd" : "zlib",
				 "refcount-bits", 1 << q->h.refcount_order);
	json_t *all = json_pack("{s:s, s:o}", "type", "qcow2", "data", data);

	if (q->h.version > 2) {
		json_object_update_new(
			data, json_pack("{s:b, s:b, s:b}", "lazy-refcounts",
					!!(q->h.compatible & QCOW2_LAZY_REFCOUNTS), "corrupt",
					!!(q->h.incompatible & QCOW2_CORRUPT), "extended-l2",
					!!(q->h.incompatible & QCOW2_EXTENDED_L2)));
	}
	if (q->h.data_file) {
		g_autofree char *name = g_utf8_make_valid(q->h.data_file, -1);

		json_object_set_new(data, "data-file", json_string(name));
		json_object_set_new(data, "data-file-raw",
				    json_boolean(q->h.autoclear & QCOW2_RAW_DATA));
	}
	if (q->h.crypt == QCOW2_CRYPT_LUKS)
		json_object_set_new(data, "encrypt", json_pack("{s:s}", "format", "luks"));
	json_object_set_new(all, "dirty", json_boolean(q->h.incompatible & QCOW2_DIRTY));
	if (q->bitmaps->len)
		json_object_set_new(data, "bitmaps", bitmaps_json(node));
	json_object_set_new(all, "snapshots", snapshots_json(q));
	return all;
}

const struct block_driver block_qcow2 = {
	.name = "qcow2",
	.kind = BLOCK_FORMAT,
	.has_metadata = true,
	.state_size = sizeof(struct qcow2),
	.probe = qcow2_probe,
	.open = qcow2_open,
	.open_over = qcow2_open_over,
	.close = qcow2_close,
	.map = qcow2_map,
	.preadv = qcow2_preadv,
	.pwritev = qcow2_pwritev,
	.pwrite_compressed = qcow2_pwrite_compressed,
	.flush = qcow2_flush,
	.discard_zero = qcow2_discard_zero,
	.truncate = qcow2_truncate,
	.create = qcow2_create,
	.check = qcow2_check,
	.snapshot = qcow2_snapshot,
	.get_bitmap = qcow2_get_bitmap,
	.find_dirty = qcow2_find_dirty,
	.set_backing = qcow2_set_backing,
	.make_empty = qcow2_make_empty,
	.info = qcow2_info,
};
