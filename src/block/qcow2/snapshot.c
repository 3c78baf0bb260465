/*
 * Internal snapshots: made, gone back to, deleted, looked at; and a disk that is emptied.
 *
 * Taking one must not tear: COPIED flags are off before counters rise, counters are durable before
 * the table that needs them is named, and sink only when nothing durable refers to them. What a
 * power cut can leave is lost space, or COPIED flags that are missing; version 3 images are marked
 * as dirty meanwhile, so that the next who opens them puts even that right.
 */
#include "block/qcow2/qcow2.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bytes.h"
#include "base/err.h"

enum { MAX_SNAP_NAME = 255, EXTRA = 24 };

static struct qcow2_snapshot *snapshot_at(const struct qcow2 *q, int i)
{
	return &g_array_index(q->snapshots, struct qcow2_snapshot, i);
}

static co_fn int read_table(struct block_node *node, const struct qcow2_snapshot *s,
			    struct qcow2_table *t)
{
	*t = (struct qcow2_table){0};
	return qcow2_table_init(t, s->l1_entries, s->l1_off) ? qcow2_table_read(t, node->file)
							     : -ENOMEM;
}

/* A copy of from with room for entries in clusters of its own; as in memory, no COPIED flags. */
static co_fn int copy_l1(struct block_node *node, const struct qcow2_table *from, uint32_t entries,
			 struct qcow2_table *to)
{
	struct qcow2 *q = node->state;
	uint64_t size = qcow2_cluster(q), n = MAX(((uint64_t)entries * 8 + size - 1) / size, 1);
	uint64_t off, got;
	int res = qcow2_alloc(node, n, n, &off, &got);

	*to = (struct qcow2_table){0};
	if (res == 0)
		res = qcow2_zero_clusters(node, off, n);
	if (res < 0)
		return res;
	q->fresh_end = MAX(q->fresh_end, off + n * size);
	if (!qcow2_table_init(to, entries, off))
		return -ENOMEM;
	for (uint32_t i = 0; i < MIN(from->n, entries); i++)
		to->v[i] = from->v[i] & ~QCOW2_COPIED;
	return qcow2_table_write(to, node->file, true);
}

static char *next_id(const struct qcow2 *q)
{
	unsigned long most = 0;

	for (unsigned i = 0; i < q->snapshots->len; i++)
		most = MAX(most, strtoul(snapshot_at(q, (int)i)->id, NULL, 10));
	return g_strdup_printf("%lu", most + 1);
}

static struct qcow2_snapshot describe(const struct qcow2 *q, const char *name)
{
	struct qcow2_snapshot s = {.size = q->h.size, .extra_len = EXTRA};
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	s.id = next_id(q);
	s.name = g_strdup(name);
	s.date_s = (uint32_t)now.tv_sec;
	s.date_ns = (uint32_t)now.tv_nsec;
	s.extra = g_malloc(EXTRA);
	memset(s.extra, 0xff, EXTRA); /* the third number: no count of instructions */
	return s;
}

static co_fn int create(struct block_node *node, const char *name)
{
	struct qcow2 *q = node->state;
	struct qcow2_snapshot s = describe(q, name);
	struct qcow2_table copy = {0};
	int res = qcow2_tree(node, &q->l1, QCOW2_LOOK);

	if (res == 0)
		res = copy_l1(node, &q->l1, q->l1.n, &copy);
	s.l1_off = copy.off;
	s.l1_entries = copy.n;
	qcow2_table_fini(&copy);
	if (res == 0)
		res = qcow2_mark_dirty(node, true);
	if (res == 0)
		res = qcow2_tree(node, &q->l1, QCOW2_RAISE);
	g_array_append_val(q->snapshots, s);
	if (res == 0)
		res = qcow2_write_snapshots(node, -1);
	if (res < 0)
		g_array_set_size(q->snapshots, q->snapshots->len - 1);
	return res;
}

/* Size and place of the L1 table in one write that a power cut does not tear. */
static co_fn int name_l1(struct block_node *node, const struct qcow2_table *l1, uint64_t size)
{
	struct qcow2 *q = node->state;
	uint8_t field[QH_REFTABLE_OFF - QH_SIZE];
	int res;

	put_be64(field, size);
	put_be32(field + QH_CRYPT - QH_SIZE, q->h.crypt);
	put_be32(field + QH_L1_ENTRIES - QH_SIZE, l1->n);
	put_be64(field + QH_L1_OFF - QH_SIZE, l1->off);
	res = block_pwrite(node->file, QH_SIZE, field, sizeof(field), 0);
	return res < 0 ? res : block_flush(node->file);
}

static void leave_l1(struct qcow2 *q, const struct qcow2_table *l1)
{
	uint64_t size = qcow2_cluster(q), n = ((uint64_t)l1->n * 8 + size - 1) / size;

	for (uint64_t i = 0; i < n; i++)
		qcow2_free_later(q, l1->off + i * size);
}

/* The disk is the snapshot's tree from here on; the tree it had is given back. */
static co_fn int switch_to(struct block_node *node, struct qcow2_table *l1, uint64_t size)
{
	struct qcow2 *q = node->state;
	struct qcow2_table old = q->l1;
	int res = qcow2_commit(node, true);

	if (res == 0)
		res = name_l1(node, l1, size);
	if (res < 0)
		return res;
	q->l1 = *l1;
	*l1 = (struct qcow2_table){0};
	q->h.l1_entries = q->l1.n;
	q->h.l1_off = q->l1.off;
	node->length = q->h.size = size;
	res = qcow2_tree(node, &old, QCOW2_LEAVE);
	leave_l1(q, &old);
	qcow2_table_fini(&old);
	if (res == 0 && !qcow2_find_tables(node, NULL))
		res = qcow2_broken(node, "a table lies where another does", q->l1.off);
	return res;
}

static co_fn int apply(struct block_node *node, const struct qcow2_snapshot *s)
{
	struct qcow2 *q = node->state;
	uint64_t by_l1 = qcow2_l2_entries(q) * qcow2_cluster(q);
	uint64_t entries = MAX(s->size / by_l1 + (s->size % by_l1 > 0), s->l1_entries);
	struct qcow2_table old = {0}, l1 = {0};
	int res = entries > QCOW2_MAX_L1 / 8 || s->size % QCOW2_SECTOR || s->size > INT64_MAX
			  ? -EINVAL
			  : read_table(node, s, &old);

	if (res == 0)
		res = qcow2_tree(node, &old, QCOW2_LOOK);
	if (res == 0)
		res = copy_l1(node, &old, (uint32_t)entries, &l1);
	if (res == 0)
		res = qcow2_mark_dirty(node, true);
	if (res == 0)
		res = qcow2_tree(node, &old, QCOW2_RAISE);
	if (res == 0)
		res = switch_to(node, &l1, s->size);
	qcow2_table_fini(&old);
	qcow2_table_fini(&l1);
	return res;
}

static co_fn int make_empty(struct block_node *node)
{
	struct qcow2 *q = node->state;
	const struct qcow2_table none = {0};
	struct qcow2_table l1 = {0};
	int res = qcow2_lock(node);

	if (res == 0)
		res = copy_l1(node, &none, q->l1.n, &l1);
	if (res == 0)
		res = switch_to(node, &l1, q->h.size);
	if (res == 0)
		res = qcow2_commit(node, true);
	qcow2_table_fini(&l1);
	co_mutex_unlock(&q->lock);
	return res;
}

co_fn int qcow2_make_empty(struct block_node *node)
{
	struct qcow2 *q = node->state;
	int res;

	if (q->h.incompatible & QCOW2_DATA_FILE)
		return -ENOTSUP;
	co_rwlock_wrlock(&q->changing);
	res = make_empty(node);
	co_rwlock_unlock(&q->changing);
	return res;
}

static co_fn int drop(struct block_node *node, int i)
{
	struct qcow2 *q = node->state;
	struct qcow2_table l1 = {0};
	int res = read_table(node, snapshot_at(q, i), &l1);

	if (res == 0)
		res = qcow2_mark_dirty(node, true);
	if (res == 0)
		res = qcow2_write_snapshots(node, i);
	if (res == 0) {
		g_array_remove_index(q->snapshots, (guint)i);
		leave_l1(q, &l1);
		res = qcow2_tree(node, &l1, QCOW2_LOWER);
	}
	if (res == 0)
		res = qcow2_commit(node, true);
	if (res == 0)
		res = qcow2_tree(node, &q->l1, QCOW2_OWN);
	qcow2_table_fini(&l1);
	return res;
}

static co_fn int change(struct block_node *node, enum block_snapshot_op op, int i, const char *name)
{
	struct qcow2 *q = node->state;
	bool lazy = q->lazy;
	int res = qcow2_lock(node);

	if (res == 0)
		res = qcow2_settle(node);
	if (res == 0 && op == BLOCK_SNAP_CREATE)
		res = create(node, name);
	else if (res == 0 && op == BLOCK_SNAP_APPLY)
		res = apply(node, snapshot_at(q, i));
	else if (res == 0)
		res = drop(node, i);
	if (res == 0)
		res = qcow2_settle(node);
	q->lazy = lazy;
	/* Half of it may be in the tables: whoever opens it next counts anew. */
	if (res < 0 && q->h.incompatible & QCOW2_DIRTY)
		q->broken = true;
	co_mutex_unlock(&q->lock);
	return res;
}

static bool check_request(const struct qcow2 *q, enum block_snapshot_op op, int i, const char *name,
			  GError **error)
{
	if (q->h.incompatible & QCOW2_DATA_FILE)
		return err_set(error, ENOTSUP,
			       "qcow2: with an external data file there are no internal snapshots");
	if (op != BLOCK_SNAP_CREATE)
		return i >= 0 || err_set(error, ENOENT, "qcow2: has no snapshot \"%s\"", name);
	if (i >= 0)
		return err_set(error, EEXIST, "qcow2: has a snapshot \"%s\" already", name);
	if (strlen(name) > MAX_SNAP_NAME)
		return err_set(error, EINVAL, "qcow2: the name of a snapshot has at most %d bytes",
			       MAX_SNAP_NAME);
	if (q->snapshots->len >= QCOW2_MAX_SNAPSHOTS)
		return err_set(error, ENOSPC, "qcow2: has %d snapshots, the most there can be",
			       QCOW2_MAX_SNAPSHOTS);
	return q->h.refcount_order > 0 ||
	       err_set(error, ENOTSUP, "qcow2: refcount_bits=1 has no room for snapshots");
}

co_fn bool qcow2_load_snapshot(struct block_node *node, const char *name, GError **error)
{
	struct qcow2 *q = node->state;
	uint64_t by_l1 = qcow2_l2_entries(q) * qcow2_cluster(q);
	int i = qcow2_find_snapshot(q, name), res;
	const struct qcow2_snapshot *s;
	struct qcow2_table l1;

	if (!check_request(q, BLOCK_SNAP_LOAD, i, name, error))
		return false;
	s = snapshot_at(q, i);
	if (s->size > INT64_MAX || s->size / by_l1 + (s->size % by_l1 > 0) > s->l1_entries) {
		return err_set(error, EINVAL,
			       "qcow2: snapshot \"%s\" has %" PRIu32
			       " L1 entries, too few for its %" PRIu64 " bytes",
			       name, s->l1_entries, s->size);
	}
	res = read_table(node, s, &l1);
	if (res < 0) {
		qcow2_table_fini(&l1);
		return err_set_errno(error, -res,
				     "qcow2: the L1 table of snapshot \"%s\" cannot be read", name);
	}
	qcow2_table_fini(&q->l1);
	q->l1 = l1;
	node->length = q->h.size = s->size;
	return true;
}

co_fn bool qcow2_snapshot(struct block_node *node, enum block_snapshot_op op, const char *name,
			  GError **error)
{
	static const char *const verbs[] = {"taken", "applied", "deleted"};
	struct qcow2 *q = node->state;
	int i = qcow2_find_snapshot(q, name), res;

	if (op == BLOCK_SNAP_LOAD)
		return qcow2_load_snapshot(node, name, error);
	if (!check_request(q, op, i, name, error))
		return false;
	co_rwlock_wrlock(&q->changing);
	res = change(node, op, i, name);
	co_rwlock_unlock(&q->changing);
	if (res == -ERANGE) {
		return err_set(error, ENOSPC,
			       "qcow2: the reference counts of %u bits have no room for one more",
			       1u << q->h.refcount_order);
	}
	return res == 0 ||
	       err_set_errno(error, -res, "qcow2: snapshot \"%s\" cannot be %s", name, verbs[op]);
}
