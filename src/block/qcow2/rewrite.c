/*
 * Changes of the header's extensions and of the backing file's name.
 *
 * Only a sector is written whole or not at all. So a new name goes where nothing is, is made
 * durable, and then the first sector, which points to it and holds the extensions, replaces the old
 * one. The table of feature names, which is there for people, is left out where the extensions
 * would else not fit into that sector. If they still do not, the rest of them is written first.
 */
#include "block/qcow2/qcow2.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"

enum { MAGIC_AND_LEN = 8 };

struct rewrite {
	uint8_t *old, *new; /* the first cluster */
	size_t len;
	size_t end; /* of the extensions in new */
};

static size_t put_extension(struct rewrite *r, uint32_t type, const void *data, size_t n)
{
	size_t whole = MAGIC_AND_LEN + (n + 7) / 8 * 8;

	if (r->end + whole + MAGIC_AND_LEN > r->len)
		return 0;
	memset(r->new + r->end, 0, whole);
	put_be32(r->new + r->end, type);
	put_be32(r->new + r->end + 4, (uint32_t)n);
	if (n)
		memcpy(r->new + r->end + MAGIC_AND_LEN, data, n);
	r->end += whole;
	return whole;
}

/* The old ones, but format and, unless wanted, feature names. False: they do not fit. */
static bool copy_extensions(struct rewrite *r, size_t from, size_t end, bool features)
{
	while (from + MAGIC_AND_LEN <= end) {
		uint32_t type = get_be32(r->old + from), n = get_be32(r->old + from + 4);

		if (type == QCOW2_EXT_END || n > end - from - MAGIC_AND_LEN)
			break;
		from += MAGIC_AND_LEN;
		if (type != QCOW2_EXT_BACKING_FORMAT && (type != QCOW2_EXT_FEATURES || features) &&
		    !put_extension(r, type, r->old + from, n))
			return false;
		from += MIN(((size_t)n + 7) / 8 * 8, end - from);
	}
	return true;
}

static bool put_extensions(const struct qcow2 *q, struct rewrite *r, const char *format,
			   bool features)
{
	size_t name_off = get_be64(r->old + QH_BACKING_OFF);

	r->end = q->h.header_len;
	if (format && !put_extension(r, QCOW2_EXT_BACKING_FORMAT, format, strlen(format)))
		return false;
	if (!copy_extensions(r, q->h.header_len, name_off ? name_off : r->len, features))
		return false;
	memset(r->new + r->end, 0, MAGIC_AND_LEN);
	r->end += MAGIC_AND_LEN;
	return true;
}

/* Where a name of n bytes can be that is neither in the extensions nor in the old one; 0: nowhere.
 */
static size_t place_name(const struct rewrite *r, size_t n)
{
	size_t old = get_be64(r->old + QH_BACKING_OFF), old_end, at;

	old_end = old + get_be32(r->old + QH_BACKING_LEN);
	at = r->len > QCOW2_SECTOR ? MAX(r->end, (size_t)QCOW2_SECTOR) : r->end;
	if (r->len > QCOW2_SECTOR && at < old_end && old < at + n)
		at = (old_end + 7) / 8 * 8;
	return at + n <= r->len ? at : 0;
}

static bool make_head(const struct qcow2 *q, struct rewrite *r, const char *name,
		      const char *format, GError **error)
{
	size_t n = name ? strlen(name) : 0, at = 0;

	memcpy(r->new, r->old, r->len);
	if (!put_extensions(q, r, format, true) || r->end > QCOW2_SECTOR) {
		memcpy(r->new, r->old, r->len);
		if (!put_extensions(q, r, format, false)) {
			return err_set(error, ENOSPC,
				       "qcow2: the header has no room for the format of the "
				       "backing file");
		}
	}
	if (n)
		at = place_name(r, n);
	if (n > QCOW2_MAX_NAME || (n && !at)) {
		return err_set(error, ENAMETOOLONG,
			       "qcow2: the header has no room for a backing file's name of %zu "
			       "bytes",
			       n);
	}
	put_be64(r->new + QH_BACKING_OFF, at);
	put_be32(r->new + QH_BACKING_LEN, (uint32_t)n);
	if (n)
		memcpy(r->new + at, name, n);
	return true;
}

/* All but the first sector, then that. */
static co_fn int write_head(struct block_node *node, const struct rewrite *r)
{
	size_t first = QCOW2_SECTOR, last = r->len;
	int res = 0;

	while (first < r->len && !memcmp(r->old + first, r->new + first, QCOW2_SECTOR))
		first += QCOW2_SECTOR;
	while (last > first &&
	       !memcmp(r->old + last - QCOW2_SECTOR, r->new + last - QCOW2_SECTOR, QCOW2_SECTOR))
		last -= QCOW2_SECTOR;
	if (first < last) {
		res = block_pwrite(node->file, first, r->new + first, last - first, 0);
		if (res == 0)
			res = block_flush(node->file);
	}
	if (res == 0)
		res = block_pwrite(node->file, 0, r->new, QCOW2_SECTOR, 0);
	return res < 0 ? res : block_flush(node->file);
}

static co_fn bool rewrite(struct block_node *node, struct rewrite *r, const char *name,
			  const char *format, GError **error)
{
	struct qcow2 *q = node->state;
	int res;

	if (!r->old || !r->new)
		return err_set(error, ENOMEM, "qcow2: no memory for the header");
	res = block_pread(node->file, 0, r->old, r->len);
	if (res == 0 && !make_head(q, r, name, format, error))
		return false;
	if (res == 0)
		res = write_head(node, r);
	return res == 0 || err_set_errno(error, -res, "qcow2: the header cannot be written");
}

co_fn bool qcow2_set_backing(struct block_node *node, const char *name, const char *format,
			     GError **error)
{
	struct qcow2 *q = node->state;
	struct rewrite r = {.len = qcow2_cluster(q)};
	bool ok = false;
	int res;

	if (name && q->h.autoclear & QCOW2_RAW_DATA)
		return err_set(error, ENOTSUP,
			       "qcow2: with a raw external data file there is no backing file");
	r.old = g_try_malloc(r.len);
	r.new = g_try_malloc(r.len);
	co_rwlock_wrlock(&q->changing);
	res = qcow2_lock(node);
	if (res == 0)
		res = qcow2_commit(node, true);
	if (res == 0)
		ok = rewrite(node, &r, name, format, error);
	else
		err_set_errno(error, -res, "qcow2: the backing file cannot be changed");
	if (ok) {
		g_free(q->h.backing_name);
		g_free(q->h.backing_format);
		q->h.backing_name = g_strdup(name);
		q->h.backing_format = g_strdup(format);
	}
	co_mutex_unlock(&q->lock);
	co_rwlock_unlock(&q->changing);
	g_free(r.old);
	g_free(r.new);
	return ok;
}
