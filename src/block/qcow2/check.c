/*
 * The check: counts every reference that the tables make, compares with the counters, and looks
 * whether the COPIED flags agree. Repairing raises or lowers counters, or makes them anew at the
 * end of the file where blocks of them are missing or impossible.
 */
#include "block/qcow2/check.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"

G_GNUC_PRINTF(2, 3) static void tell(struct check *c, const char *fmt, ...)
{
	g_autofree char *text = NULL;
	va_list ap;

	if (!c->r->tell || ++c->told > MAX_TOLD)
		return;
	va_start(ap, fmt);
	text = g_strdup_vprintf(fmt, ap);
	va_end(ap);
	c->r->tell(text, c->r->tell_arg);
}

void check_count(struct check *c, uint64_t off, uint64_t len, const char *what)
{
	uint64_t size = qcow2_cluster(c->q), last = (off + len - 1) / size;

	if (len == 0)
		return;
	if (last >= c->n) {
		tell(c, "ERROR %s at offset %" PRIu64 " reaches beyond the end of the file", what,
		     off);
		c->r->corruptions++;
		return;
	}
	c->r->end_offset = MAX(c->r->end_offset, (last + 1) * size);
	for (uint64_t i = off / size; i <= last; i++)
		c->counts[i] += c->counts[i] < UINT32_MAX;
}

static bool is_table(struct check *c, uint64_t off, const char *what)
{
	if (off % qcow2_cluster(c->q) == 0 && off / qcow2_cluster(c->q) < c->n)
		return true;
	tell(c, "ERROR %s at offset %" PRIu64 " is not in the file or no whole number of clusters",
	     what, off);
	c->r->corruptions++;
	return false;
}

static void count_entry(struct check *c, const struct qcow2_entry *e, bool active, uint64_t *next)
{
	uint64_t size = qcow2_cluster(c->q);

	if (e->compressed) {
		check_count(c, e->host, e->bytes, "a compressed cluster");
		c->r->compressed_clusters += active;
		c->r->allocated_clusters += active;
		c->r->fragmented_clusters += active;
	} else if (e->has_host) {
		if (!(c->q->h.incompatible & QCOW2_DATA_FILE))
			check_count(c, e->host, size, "a data cluster");
		c->r->allocated_clusters += active;
		c->r->fragmented_clusters += active && *next && e->host != *next;
		*next = e->host + size;
	}
}

/* Counts what an L2 table refers to. */
static co_fn int count_l2(struct check *c, uint64_t off, bool active, uint64_t *next)
{
	unsigned len = qcow2_entry_len(c->q);
	int res = block_pread(c->file, off, c->buf, qcow2_cluster(c->q));

	if (res < 0)
		return res;
	for (uint64_t i = 0; i < qcow2_l2_entries(c->q); i++) {
		const uint8_t *p = c->buf + i * len;
		uint64_t raw[2] = {get_be64(p), len == 16 ? get_be64(p + 8) : 0};
		struct qcow2_entry e;

		if (qcow2_decode(&c->q->h, raw, &e) == 0) {
			count_entry(c, &e, active, next);
			continue;
		}
		tell(c, "ERROR entry %" PRIu64 " of the L2 table at %" PRIu64 " is 0x%" PRIx64, i,
		     off, raw[0]);
		c->r->corruptions++;
	}
	return 0;
}

static co_fn int count_l1(struct check *c, uint64_t off, uint32_t n, bool active)
{
	uint64_t next = 0;
	struct qcow2_table t;
	int res = 0;

	if (!is_table(c, off, "an L1 table") || (uint64_t)n * 8 > c->file->length - off)
		return 0;
	check_count(c, off, (uint64_t)n * 8, "an L1 table");
	if (!qcow2_table_init(&t, n, off))
		res = -ENOMEM;
	if (res == 0)
		res = qcow2_table_read(&t, c->file);
	for (uint32_t i = 0; i < n && res == 0; i++) {
		uint64_t table = t.v[i] & QCOW2_OFFSET;

		if (!table || !is_table(c, table, "an L2 table"))
			continue;
		check_count(c, table, qcow2_cluster(c->q), "an L2 table");
		if (table + qcow2_cluster(c->q) <= c->file->length)
			res = count_l2(c, table, active, &next);
	}
	qcow2_table_fini(&t);
	return res;
}

/* Everything but the counters themselves. */
static co_fn int count_all(struct check *c)
{
	struct qcow2 *q = c->q;
	int res;

	check_count(c, 0, qcow2_cluster(q), "the header");
	if (q->h.crypto_len)
		check_count(c, q->h.crypto_off, q->h.crypto_len, "the encryption header");
	res = q->h.l1_entries ? count_l1(c, q->h.l1_off, q->h.l1_entries, true) : 0;
	for (unsigned i = 0; i < q->snapshots->len && res == 0; i++) {
		const struct qcow2_snapshot *s =
			&g_array_index(q->snapshots, struct qcow2_snapshot, i);

		if (s->l1_entries)
			res = count_l1(c, s->l1_off, s->l1_entries, false);
	}
	if (q->h.snapshots)
		check_count(c, q->h.snap_off, q->snap_table_len, "the snapshot table");
	if (res == 0 && q->h.autoclear & QCOW2_BITMAPS && q->h.bitmaps)
		res = check_count_bitmaps(c);
	return res;
}

static void count_refcounts(struct check *c)
{
	struct qcow2 *q = c->q;

	check_count(c, c->refs.off, (uint64_t)c->refs.n * 8, "the refcount table");
	for (uint32_t i = 0; i < c->refs.n; i++) {
		uint64_t off = c->refs.v[i];

		if (!off)
			continue;
		if (is_table(c, off, "a refcount block") &&
		    c->counts[off / qcow2_cluster(q)] == 0) {
			check_count(c, off, qcow2_cluster(q), "a refcount block");
		} else {
			c->refs.v[i] = 0; /* what lies there is something else */
			c->rebuild = true;
		}
	}
}

static void compare_one(struct check *c, uint64_t cluster, uint64_t value)
{
	uint64_t wanted = c->counts[cluster];

	if (value == wanted)
		return;
	tell(c, "%s cluster %" PRIu64 " refcount=%" PRIu64 " reference=%" PRIu64,
	     value < wanted ? "ERROR" : "Leaked", cluster, value, wanted);
	if (value < wanted)
		c->r->corruptions++;
	else
		c->r->leaks++;
}

/* The counters of block b against what was counted; c->buf holds the block. */
static bool compare_block(struct check *c, uint32_t b)
{
	uint64_t per = qcow2_cluster(c->q) * 8 >> c->q->h.refcount_order, first = b * per;
	unsigned order = c->q->h.refcount_order;
	bool changed = false;

	for (uint64_t i = 0; i < per; i++) {
		uint64_t value = qcow2_ref_get(c->buf, i, order), wanted = 0;

		if (first + i < c->n) {
			wanted = c->counts[first + i];
			compare_one(c, first + i, value);
		} else if (value) {
			tell(c, "Leaked cluster %" PRIu64 " refcount=%" PRIu64 " reference=0",
			     first + i, value);
			c->r->leaks++;
		}
		if ((value > wanted && c->fix & BLOCK_FIX_LEAKS) ||
		    (value < wanted && c->fix & BLOCK_FIX_ERRORS)) {
			qcow2_ref_set(c->buf, i, order, wanted);
			changed = true;
		}
	}
	return changed;
}

static co_fn int compare(struct check *c)
{
	uint64_t size = qcow2_cluster(c->q), per = size * 8 >> c->q->h.refcount_order;
	int res = 0;

	for (uint32_t b = 0; b < c->refs.n && res == 0 && !c->rebuild; b++) {
		uint64_t off = c->refs.v[b];

		if (!off)
			continue;
		res = block_pread(c->file, off, c->buf, size);
		if (res == 0 && compare_block(c, b))
			res = block_pwrite(c->file, off, c->buf, size, 0);
	}
	/* What no block counts. */
	for (uint64_t i = 0; i < c->n && res == 0; i++) {
		if (c->counts[i] && (i / per >= c->refs.n || !c->refs.v[i / per])) {
			compare_one(c, i, 0);
			c->rebuild = true;
		}
	}
	return res < 0 ? res : block_flush(c->file);
}

static bool flag_ok(struct check *c, uint64_t *entry, uint64_t off, const char *what)
{
	bool copied = *entry & QCOW2_COPIED, should = c->counts[off / qcow2_cluster(c->q)] == 1;

	if (copied == should)
		return true;
	tell(c, "ERROR %s at offset %" PRIu64 " has the COPIED flag %s", what, off,
	     copied ? "and is shared" : "missing");
	c->r->corruptions++;
	*entry ^= QCOW2_COPIED;
	return false;
}

static co_fn int check_flags_l2(struct check *c, uint64_t off)
{
	unsigned len = qcow2_entry_len(c->q);
	int res = block_pread(c->file, off, c->buf, qcow2_cluster(c->q));
	bool changed = false;

	for (uint64_t i = 0; i < qcow2_l2_entries(c->q) && res == 0; i++) {
		uint8_t *p = c->buf + i * len;
		uint64_t raw[2] = {get_be64(p), len == 16 ? get_be64(p + 8) : 0};
		struct qcow2_entry e;

		if (qcow2_decode(&c->q->h, raw, &e) < 0 || e.compressed || !e.has_host ||
		    e.host / qcow2_cluster(c->q) >= c->n)
			continue;
		if (!flag_ok(c, &raw[0], e.host, "the data cluster")) {
			put_be64(p, raw[0]);
			changed = true;
		}
	}
	if (res == 0 && changed && c->fix & BLOCK_FIX_ERRORS)
		res = block_pwrite(c->file, off, c->buf, qcow2_cluster(c->q), 0);
	return res;
}

static co_fn int check_flags(struct check *c)
{
	struct qcow2_table *t = &c->q->l1;
	bool data_file = c->q->h.incompatible & QCOW2_DATA_FILE;
	int res = 0;

	for (uint32_t i = 0; i < t->n && res == 0; i++) {
		uint64_t off = t->v[i] & QCOW2_OFFSET, entry = t->v[i];

		if (!off || off / qcow2_cluster(c->q) >= c->n || off % qcow2_cluster(c->q))
			continue;
		if (!flag_ok(c, &entry, off, "the L2 table") && c->fix & BLOCK_FIX_ERRORS)
			qcow2_table_set(t, i, entry);
		if (!data_file && off + qcow2_cluster(c->q) <= c->file->length)
			res = check_flags_l2(c, off);
	}
	if (res == 0 && t->any_dirty)
		res = qcow2_table_write(t, c->file, false);
	return res < 0 ? res : block_flush(c->file);
}

/* One look at everything, with repairs. */
static co_fn int run_once(struct check *c)
{
	int res = count_all(c);

	if (res == 0) {
		count_refcounts(c);
		res = compare(c);
	}
	if (res == 0 && c->rebuild) {
		tell(c, "ERROR the reference counts are not complete");
		c->r->corruptions += c->r->corruptions == 0;
		if (c->fix & BLOCK_FIX_ERRORS)
			res = check_rebuild(c);
	}
	return res < 0 ? res : check_flags(c);
}

static bool check_init(struct check *c, struct block_node *node, unsigned fix,
		       struct block_check *r)
{
	struct qcow2 *q = node->state;

	*c = (struct check){.node = node, .file = node->file, .q = q, .fix = fix, .r = r};
	c->n = (node->file->length + qcow2_cluster(q) - 1) / qcow2_cluster(q);
	c->counts = g_try_new0(uint32_t, c->n + 1);
	c->buf = g_try_malloc0(qcow2_cluster(q));
	return qcow2_table_init(&c->refs,
				(uint32_t)(q->h.reftable_clusters * (qcow2_cluster(q) / 8)),
				q->h.reftable_off) &&
	       c->counts && c->buf;
}

static co_fn int check_once(struct block_node *node, unsigned fix, struct block_check *r)
{
	struct check c;
	int res = check_init(&c, node, fix, r) ? 0 : -ENOMEM;

	if (res == 0)
		res = qcow2_table_read(&c.refs, node->file);
	if (res == 0)
		res = run_once(&c);
	qcow2_table_fini(&c.refs);
	g_free(c.counts);
	g_free(c.buf);
	return res;
}

/* What was repaired is in order again: takes the marks off. */
static co_fn int clear_marks(struct block_node *node)
{
	struct qcow2 *q = node->state;
	uint64_t left = q->h.incompatible & ~(uint64_t)(QCOW2_DIRTY | QCOW2_CORRUPT);
	uint8_t field[8];
	int res;

	if (left == q->h.incompatible)
		return 0;
	put_be64(field, left);
	res = block_pwrite(node->file, QH_INCOMPATIBLE, field, sizeof(field), 0);
	if (res == 0)
		res = block_flush(node->file);
	if (res == 0)
		q->h.incompatible = left;
	return res;
}

co_fn bool qcow2_check(struct block_node *node, unsigned fix, struct block_check *result,
		       GError **error)
{
	struct block_check found = {.tell = result->tell, .tell_arg = result->tell_arg};
	struct block_check after = {0};
	struct qcow2 *q = node->state;
	int res = check_once(node, fix, &found);

	if (res == 0 && fix && (found.corruptions || found.leaks)) {
		res = check_once(node, 0, &after);
		after.corruptions_fixed =
			found.corruptions - MIN(found.corruptions, after.corruptions);
		after.leaks_fixed = found.leaks - MIN(found.leaks, after.leaks);
	} else {
		after = found;
	}
	if (res == 0 && fix & BLOCK_FIX_ERRORS && !after.corruptions)
		res = clear_marks(node);
	if (res < 0)
		return err_set_errno(error, -res, "qcow2: the check could not be finished");
	after.total_clusters = (q->h.size + qcow2_cluster(q) - 1) / qcow2_cluster(q);
	after.tell = result->tell;
	after.tell_arg = result->tell_arg;
	*result = after;
	return true;
}
