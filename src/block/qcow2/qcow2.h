/* What the files of the qcow2 driver share. */
#pragma once

#include "block/driver.h"
#include "block/crypt.h"
#include "block/meta_cache.h"
#include "block/qcow2/format.h"

/* A table in memory whose changed entries are written a sector at a time. */
struct qcow2_table {
	uint64_t *v; /* host byte order */
	uint32_t n;
	uint64_t off;
	uint8_t *dirty; /* one for each sector */
	bool any_dirty;
};
bool qcow2_table_init(struct qcow2_table *t, uint32_t n, uint64_t off);
void qcow2_table_fini(struct qcow2_table *t);
void qcow2_table_set(struct qcow2_table *t, uint32_t i, uint64_t value);
co_fn int qcow2_table_read(struct qcow2_table *t, struct block_node *file);
co_fn int qcow2_table_write(struct qcow2_table *t, struct block_node *file, bool all);

struct qcow2_snapshot {
	uint64_t l1_off;
	uint32_t l1_entries;
	uint32_t date_s, date_ns;
	uint64_t clock_ns, vm_state_bytes, size;
	char *id, *name;
	uint8_t *extra; /* as it stands in the file, kept for whoever knows more of it */
	uint32_t extra_len;
};

struct qcow2_bitmap {
	char *name;
	uint64_t table_off;
	uint32_t table_entries, flags;
	unsigned grain_bits;
};

struct qcow2 {
	struct qcow2_header h;
	struct qcow2_table l1;
	struct meta_cache l2;
	struct block_node *data; /* where guest data lie: the file child, or the data file */
	GArray *snapshots;       /* struct qcow2_snapshot */
	uint64_t snap_table_len;
	GArray *bitmaps;        /* struct qcow2_bitmap: those that can be believed */
	struct crypt *crypt;    /* NULL: guest data are stored as they are */
	uint64_t grain;         /* writes of guest data begin and end at multiples of it */
	uint8_t *unpacked;      /* the compressed cluster seen last, for reads of parts of it */
	uint64_t unpacked_host; /* its entry's offset; 0: none */

	/* For writing; see commit.c. */
	struct co_rwlock changing; /* held for writing by who needs all writes to have ended */
	struct co_mutex lock;      /* who changes metadata holds it */
	struct qcow2_table reftable;
	uint64_t old_reftable_off;
	struct meta_cache refs;
	GHashTable *meta;       /* numbers of the clusters that hold tables */
	uint64_t free_guess;    /* no cluster below is free */
	uint64_t fresh_end;     /* bytes of the file from here on were never anything but zeros */
	uint64_t used_end;      /* of the clusters in use */
	GArray *freed, *ripe;   /* struct qcow2_free: not yet durably without reference; so */
	uint64_t pack_off;      /* where the next compressed cluster may go on; 0: nowhere */
	struct qcow2_job *jobs; /* requests that change the mapping of clusters */
	uint32_t old_reftable_clusters;
	bool lazy;           /* counters are written when the image is closed */
	bool own_data;       /* data is a reference of ours */
	bool reftable_moves; /* to reftable.off; until the commit the file has the old one at */
	bool grown;          /* the file is longer than what is used */
	bool broken;         /* an inconsistency was met: no more writes */
};

struct qcow2_free {
	uint64_t cluster, epoch;
};

/* A request that maps guest clusters [first, first + n) anew; others wait. */
struct qcow2_job {
	uint64_t first, n;
	struct qcow2_job *next;
	struct co_queue waiting;
};

static inline uint64_t qcow2_cluster(const struct qcow2 *q)
{
	return (uint64_t)1 << q->h.cluster_bits;
}
static inline unsigned qcow2_entry_len(const struct qcow2 *q)
{
	return q->h.incompatible & QCOW2_EXTENDED_L2 ? 16 : 8;
}
static inline uint64_t qcow2_l2_entries(const struct qcow2 *q)
{
	return qcow2_cluster(q) / qcow2_entry_len(q);
}
static inline unsigned qcow2_subclusters(const struct qcow2 *q)
{
	return q->h.incompatible & QCOW2_EXTENDED_L2 ? QCOW2_SUBCLUSTERS : 1;
}

/* All subclusters of a cluster, as bits. */
static inline uint32_t qcow2_all(const struct qcow2 *q)
{
	return q->h.incompatible & QCOW2_EXTENDED_L2 ? UINT32_MAX : 1;
}

/* map.c */
co_fn int qcow2_map(struct block_node *node, uint64_t off, uint64_t len, struct block_extent *out);
/* The entry of the cluster at off: 0 with *e, or -errno. */
co_fn int qcow2_lookup(struct block_node *node, uint64_t off, struct qcow2_entry *e);

int qcow2_decode_at(const struct qcow2 *q, const uint8_t *data, struct qcow2_entry *e);
/* n entries from off on, as get_entries() of map.c: at most what one piece of a table holds. */
co_fn int qcow2_entries(struct block_node *node, uint64_t off, const uint8_t **data, uint64_t *n);

/* refcount.c. With the lock held. */
uint64_t qcow2_ref_max(const struct qcow2 *q);
uint64_t qcow2_ref_get(const uint8_t *block, uint64_t i, unsigned order);
void qcow2_ref_set(uint8_t *block, uint64_t i, unsigned order, uint64_t value);
co_fn int qcow2_ref(struct block_node *node, uint64_t cluster, uint64_t *value);
/* -ERANGE: the counter is too narrow. */
co_fn int qcow2_ref_change(struct block_node *node, uint64_t cluster, int delta);
/* min to want clusters in a row: *off, *got. They have a count of 1. */
co_fn int qcow2_alloc(struct block_node *node, uint64_t want, uint64_t min, uint64_t *off,
		      uint64_t *got);
/* One cluster of zeros for a table. */
co_fn int qcow2_alloc_table(struct block_node *node, uint64_t *off);
/* The file is at least so long. */
co_fn int qcow2_reach(struct block_node *node, uint64_t end);
/* Gives back what was never referred to. */
co_fn void qcow2_unalloc(struct block_node *node, uint64_t off, uint64_t n);
co_fn int qcow2_zero_clusters(struct block_node *node, uint64_t off, uint64_t n);

/* commit.c */
co_fn bool qcow2_start_writing(struct block_node *node, GError **error);
co_fn void qcow2_stop_writing(struct block_node *node);
/* With the lock held: writes metadata in the order that survives a power cut. */
co_fn int qcow2_commit(struct block_node *node, bool durable);
/* Until the mark is taken off, whoever opens the image makes its counters anew (version 3). */
co_fn int qcow2_mark_dirty(struct block_node *node, bool dirty);
/* Notes where all tables are; again after they changed as a whole. */
bool qcow2_find_tables(struct block_node *node, GError **error);
/* The same, with all that lazy reference counts leave for later; they are not lazy any more. */
co_fn int qcow2_settle(struct block_node *node);
/* Takes the lock, and makes room in the caches. */
co_fn int qcow2_lock(struct block_node *node);
co_fn int qcow2_flush(struct block_node *node);
/* With the lock held: one reference to the cluster at off goes once the commit is durable. */
void qcow2_free_later(struct qcow2 *q, uint64_t off);
/* What e refers to. */
void qcow2_free_entry(struct qcow2 *q, const struct qcow2_entry *e);
/* Something is where it cannot be: marks the image, refuses further writes; returns -EIO. */
co_fn int qcow2_broken(struct block_node *node, const char *what, uint64_t off);
bool qcow2_is_meta(const struct qcow2 *q, uint64_t off, uint64_t n);
void qcow2_add_meta(struct qcow2 *q, uint64_t off, uint64_t n);
void qcow2_remove_meta(struct qcow2 *q, uint64_t off, uint64_t n);

/* write.c */
co_fn int qcow2_pwritev(struct block_node *node, uint64_t off, const struct iovs *iov,
			unsigned flags);
/* The same, for who holds q->changing already. */
co_fn int qcow2_write(struct block_node *node, uint64_t off, const struct iovs *iov);
/* Waits while another request maps one of them anew: true, look again; else it is entered. */
co_fn bool qcow2_job_waits(struct qcow2 *q, struct qcow2_job *job);
void qcow2_job_done(struct qcow2 *q, struct qcow2_job *job);
/*
 * With the lock held: sets the entries of n clusters to value, value + step, ...; what they were is
 * freed, unless the host clusters are kept. They lie in one piece of a table. With extended L2
 * entries, subclusters of the first and last cluster become data as the masks say, all in between.
 */
struct qcow2_link {
	uint64_t value, step, n;
	uint32_t first, last;
	bool keep;  /* what was data stays it */
	bool zeros; /* no data: reads as zeros, whatever lies below */
	bool unmap; /* no data: what lies below shows, or zeros */
};
co_fn int qcow2_link(struct block_node *node, uint64_t cluster, const struct qcow2_link *link);
/* Of bytes in one cluster, whose entry is e. */
bool qcow2_reads_zero(const struct block_node *node, const struct qcow2_entry *e, uint64_t off,
		      uint64_t len);

/* Whether all of them are in the host cluster. */
bool qcow2_is_data(const struct qcow2 *q, const struct qcow2_entry *e, uint64_t off, uint64_t len);

/* zero.c */
co_fn int qcow2_discard_zero(struct block_node *node, uint64_t off, uint64_t len);
co_fn int qcow2_truncate(struct block_node *node, uint64_t len);

co_fn int qcow2_pwrite_compressed(struct block_node *node, uint64_t off, const void *buf,
				  size_t len);

/* create.c, check.c */
co_fn bool qcow2_create(struct block_node *file, const struct block_create *what, GError **error);
co_fn bool qcow2_check(struct block_node *node, unsigned fix, struct block_check *result,
		       GError **error);

/* compress.c: reads of what map() calls PLACE_DRIVER. */
co_fn int qcow2_preadv(struct block_node *node, uint64_t off, const struct iovs *iov);
co_fn int qcow2_write_encrypted(struct block_node *node, uint64_t host, const struct iovs *iov);
bool qcow2_can_unpack(unsigned codec);

/* snapshot_table.c */
co_fn bool qcow2_read_snapshots(struct block_node *node, GError **error);
void qcow2_free_snapshots(struct qcow2 *q);
/* By its number, or else its name: the index, or -1. */
int qcow2_find_snapshot(const struct qcow2 *q, const char *name);
void qcow2_snapshot_clear(void *snapshot);
/*
 * With the lock held: writes the table of all that q->snapshots has but number skip (-1: none) to a
 * new place, and makes the header name it.
 */
co_fn int qcow2_write_snapshots(struct block_node *node, int skip);

/* snapshot.c */
co_fn bool qcow2_snapshot(struct block_node *node, enum block_snapshot_op op, const char *name,
			  GError **error);
co_fn bool qcow2_load_snapshot(struct block_node *node, const char *name, GError **error);

co_fn int qcow2_make_empty(struct block_node *node);

/* bitmap.c: see block_get_bitmap() and block_find_dirty(). */
co_fn bool qcow2_read_bitmaps(struct block_node *node, GError **error);
void qcow2_free_bitmaps(struct qcow2 *q);
bool qcow2_get_bitmap(const struct block_node *node, unsigned i, struct block_bitmap *out);
co_fn int qcow2_find_dirty(struct block_node *node, unsigned i, uint64_t off, uint64_t len,
			   bool *dirty, uint64_t *run);

/* rewrite.c */
co_fn bool qcow2_set_backing(struct block_node *node, const char *name, const char *format,
			     GError **error);

/* tree.c: with the lock held, for all that an L1 table refers to. */
enum qcow2_tree_op {
	QCOW2_LOOK,  /* -ERANGE if a counter has no room for one more reference */
	QCOW2_RAISE, /* one reference more, and no COPIED flags */
	QCOW2_LOWER, /* one reference less */
	QCOW2_LEAVE, /* the same, once no request looks at it any more */
	QCOW2_OWN,   /* COPIED flags where there is one reference */
};
co_fn int qcow2_tree(struct block_node *node, struct qcow2_table *l1, enum qcow2_tree_op op);
