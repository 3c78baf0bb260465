/* The table of internal snapshots: entries of varying length, see formats.md 2.2. */
#include "block/qcow2/qcow2.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"

enum { ENTRY = 40, MAX_EXTRA = 1024 };

static void snapshot_clear(void *p)
{
	struct qcow2_snapshot *s = p;

	g_free(s->id);
	g_free(s->name);
}

void qcow2_free_snapshots(struct qcow2 *q)
{
	if (q->snapshots)
		g_array_unref(q->snapshots);
	q->snapshots = NULL;
}

static co_fn bool read_at(struct block_node *node, uint64_t off, void *buf, size_t len,
			  unsigned number, GError **error)
{
	int res = off <= node->file->length && len <= node->file->length - off
			  ? block_pread(node->file, off, buf, len)
			  : -EIO;

	return res == 0 ||
	       err_set_errno(error, -res,
			     "qcow2: snapshot %u at offset %" PRIu64 " of the file cannot be read",
			     number, off);
}

static bool check_snapshot(const struct block_node *node, const struct qcow2_snapshot *s,
			   uint64_t off, GError **error)
{
	const struct qcow2 *q = node->state;
	uint64_t bytes = (uint64_t)s->l1_entries * 8;

	if (bytes <= QCOW2_MAX_L1 && s->l1_off % qcow2_cluster(q) == 0 &&
	    (!bytes || (s->l1_off && s->l1_off <= node->file->length &&
			bytes <= node->file->length - s->l1_off)))
		return true;
	return err_set(error, EINVAL,
		       "qcow2: the snapshot at offset %" PRIu64 " has an L1 table of %" PRIu32
		       " entries at %" PRIu64
		       "; it must be a whole number of clusters, and the table inside the file",
		       off, s->l1_entries, s->l1_off);
}

/* One entry at *off, which moves on to the next. */
static co_fn bool read_one(struct block_node *node, uint64_t *off, unsigned number, GError **error)
{
	struct qcow2 *q = node->state;
	struct qcow2_snapshot s = {0};
	uint8_t e[ENTRY] = {0}, extra[MAX_EXTRA] = {0};
	unsigned id_len, name_len;
	uint32_t extra_len;
	bool ok;

	if (!read_at(node, *off, e, ENTRY, number, error))
		return false;
	s.l1_off = get_be64(e);
	s.l1_entries = get_be32(e + 8);
	id_len = get_be16(e + 12);
	name_len = get_be16(e + 14);
	s.date_s = get_be32(e + 16);
	s.date_ns = get_be32(e + 20);
	s.clock_ns = get_be64(e + 24);
	s.vm_state_bytes = get_be32(e + 32);
	s.size = q->h.size;
	extra_len = get_be32(e + 36);
	if (extra_len > MAX_EXTRA) {
		return err_set(error, EINVAL,
			       "qcow2: snapshot %u at offset %" PRIu64 " has %" PRIu32
			       " bytes of extra data, at most 1024",
			       number, *off, extra_len);
	}
	if (!check_snapshot(node, &s, *off, error) ||
	    !read_at(node, *off + ENTRY, extra, extra_len, number, error))
		return false;
	if (extra_len >= 8)
		s.vm_state_bytes = get_be64(extra);
	if (extra_len >= 16)
		s.size = get_be64(extra + 8);
	*off += ENTRY + extra_len;
	s.id = g_malloc0(id_len + 1);
	s.name = g_malloc0(name_len + 1);
	ok = read_at(node, *off, s.id, id_len, number, error) &&
	     read_at(node, *off + id_len, s.name, name_len, number, error);
	g_array_append_val(q->snapshots, s);
	*off = (*off + id_len + name_len + 7) / 8 * 8;
	return ok;
}

co_fn bool qcow2_read_snapshots(struct block_node *node, GError **error)
{
	struct qcow2 *q = node->state;
	uint64_t off = q->h.snap_off;

	q->snapshots = g_array_new(FALSE, TRUE, sizeof(struct qcow2_snapshot));
	g_array_set_clear_func(q->snapshots, snapshot_clear);
	for (unsigned i = 0; i < q->h.snapshots; i++) {
		if (!read_one(node, &off, i + 1, error))
			return false;
		if (off - q->h.snap_off > QCOW2_MAX_SNAP_TABLE)
			return err_set(error, EFBIG,
				       "qcow2: the snapshot table is larger than 64 MiB");
	}
	q->snap_table_len = off - q->h.snap_off;
	return true;
}
