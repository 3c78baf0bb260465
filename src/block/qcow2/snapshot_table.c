/* The table of internal snapshots in the file: entries of varying length, see formats.md 2.2. */
#include "block/qcow2/qcow2.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"

enum { ENTRY = 40, MAX_EXTRA = 1024, KNOWN_EXTRA = 16 };

void qcow2_snapshot_clear(void *snapshot)
{
	struct qcow2_snapshot *s = snapshot;

	g_free(s->id);
	g_free(s->name);
	g_free(s->extra);
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
	s.extra = g_memdup2(extra, extra_len);
	s.extra_len = extra_len;
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
	g_array_set_clear_func(q->snapshots, qcow2_snapshot_clear);
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

int qcow2_find_snapshot(const struct qcow2 *q, const char *name)
{
	int by_name = -1;

	for (unsigned i = 0; i < q->snapshots->len; i++) {
		const struct qcow2_snapshot *s =
			&g_array_index(q->snapshots, struct qcow2_snapshot, i);

		if (!strcmp(s->id, name))
			return (int)i;
		if (by_name < 0 && !strcmp(s->name, name))
			by_name = (int)i;
	}
	return by_name;
}

static void put_snapshot(GByteArray *to, const struct qcow2_snapshot *s)
{
	uint32_t extra_len = MAX(s->extra_len, (uint32_t)KNOWN_EXTRA);
	uint8_t e[ENTRY] = {0}, extra[MAX_EXTRA] = {0};
	size_t id_len = strlen(s->id), name_len = strlen(s->name);
	static const uint8_t pad[8];

	put_be64(e, s->l1_off);
	put_be32(e + 8, s->l1_entries);
	put_be16(e + 12, (uint16_t)id_len);
	put_be16(e + 14, (uint16_t)name_len);
	put_be32(e + 16, s->date_s);
	put_be32(e + 20, s->date_ns);
	put_be64(e + 24, s->clock_ns);
	put_be32(e + 32, s->vm_state_bytes > UINT32_MAX ? 0 : (uint32_t)s->vm_state_bytes);
	put_be32(e + 36, extra_len);
	if (s->extra_len)
		memcpy(extra, s->extra, s->extra_len);
	put_be64(extra, s->vm_state_bytes);
	put_be64(extra + 8, s->size);
	g_byte_array_append(to, e, ENTRY);
	g_byte_array_append(to, extra, extra_len);
	g_byte_array_append(to, (const uint8_t *)s->id, (guint)id_len);
	g_byte_array_append(to, (const uint8_t *)s->name, (guint)name_len);
	g_byte_array_append(to, pad, (8 - to->len % 8) % 8);
}

/* Where the table is, in one write that a power cut does not tear. */
static co_fn int name_table(struct block_node *node, uint32_t n, uint64_t off)
{
	uint8_t field[12];
	int res;

	put_be32(field, n);
	put_be64(field + 4, off);
	res = block_pwrite(node->file, QH_SNAPSHOTS, field, sizeof(field), 0);
	return res < 0 ? res : block_flush(node->file);
}

static co_fn int put_table(struct block_node *node, const GByteArray *table, uint32_t n)
{
	struct qcow2 *q = node->state;
	uint64_t size = qcow2_cluster(q), clusters = (table->len + size - 1) / size;
	uint64_t old = (q->snap_table_len + size - 1) / size, off = 0, got;
	int res = 0;

	if (table->len > QCOW2_MAX_SNAP_TABLE)
		return -EFBIG;
	if (n) {
		res = qcow2_alloc(node, clusters, clusters, &off, &got);
		if (res < 0)
			return res;
		q->fresh_end = MAX(q->fresh_end, off + clusters * size);
		res = block_pwrite(node->file, off, table->data, table->len, 0);
	}
	if (res == 0)
		res = qcow2_commit(node, true);
	if (res == 0)
		res = name_table(node, n, off);
	if (res < 0)
		return res; /* which of the two the header names is not known */
	if (q->h.snapshots) {
		qcow2_remove_meta(q, q->h.snap_off, old);
		for (uint64_t i = 0; i < old; i++)
			qcow2_free_later(q, q->h.snap_off + i * size);
	}
	qcow2_add_meta(q, off, n ? clusters : 0);
	q->h.snapshots = n;
	q->h.snap_off = off;
	q->snap_table_len = table->len;
	return 0;
}

co_fn int qcow2_write_snapshots(struct block_node *node, int skip)
{
	struct qcow2 *q = node->state;
	GByteArray *table = g_byte_array_new();
	uint32_t n = 0;
	int res;

	for (unsigned i = 0; i < q->snapshots->len; i++) {
		if ((int)i == skip)
			continue;
		put_snapshot(table, &g_array_index(q->snapshots, struct qcow2_snapshot, i));
		n++;
	}
	res = put_table(node, table, n);
	g_byte_array_unref(table);
	return res;
}
