/*
 * Crash states; see replay.h. The model of the medium: what a completed flush or a durable write
 * covers is there; of the rest any subset may be, each torn into 512-byte sectors; the last write
 * may be cut at any sector or 4 KiB boundary. A process that dies leaves everything that it wrote.
 */
#include "replay.h"

#include <stdio.h>

#include "block/driver.h"

enum { SECTOR = 512, PAGE = 4096 };

static void wrong(const struct replay *r, unsigned prefix, const char *how, const char *what)
{
	(void)r;
	fail_msg("prefix %u (%s): %s", prefix, how, what);
}

static const struct moment *moment_at(const struct replay *r, unsigned prefix)
{
	for (unsigned i = prefix; i-- > 0;)
		if (r->log[i].kind == BLKLOG_MARK)
			return r->life->moments->pdata[r->log[i].off];
	return r->life->moments->pdata[0];
}

static co_fn void check_block(const struct replay *r, struct disc_store *s, int32_t lba,
			      uint32_t salt, unsigned prefix, const char *how)
{
	uint8_t buf[2048], wanted[2048] = {0};
	struct iovec one;
	struct iovs iov = iovs_one(&one, buf, sizeof(buf));

	if (salt)
		fill(wanted, lba, salt);
	if (disc_store_read(s, PLANE_USER, lba, 1, &iov) < 0 ||
	    memcmp(buf, wanted, sizeof(buf)) != 0) {
		char *text = g_strdup_printf("block %d is not what was recorded there", lba);

		wrong(r, prefix, how, text);
	}
}

/* The version that state is, among those that may be seen at this moment; NULL if none. */
static const struct version *find_version(const struct replay *r, const struct moment *m,
					  const struct disc_state *state, bool floating)
{
	GByteArray *rows = life_rows(state, floating);
	const struct version *found = NULL;

	for (unsigned i = m->issued + 1; i-- > m->acked && !found;) {
		const struct version *v = r->life->versions->pdata[i];
		const GByteArray *wanted = floating ? v->floating : v->exact;

		if (wanted->len == rows->len && memcmp(wanted->data, rows->data, rows->len) == 0)
			found = v;
	}
	g_byte_array_unref(rows);
	return found;
}

static void check_nwa(const struct replay *r, const struct moment *m, const struct version *v,
		      const struct disc_state *state, unsigned prefix)
{
	for (unsigned i = 1; i <= state->tracks->len; i++) {
		const struct disc_track *t = state_track(state, i);
		int32_t least = MAX(v->nwa[i - 1], m->told[i - 1]),
			most = MAX(v->nwa[i - 1], m->telling[i - 1]);

		if (t->flags & TRACK_OPEN && (t->nwa < least || t->nwa > most)) {
			char *text =
				g_strdup_printf("track %u goes on at %d, was told %d, perhaps %d",
						i, t->nwa, least, most);

			wrong(r, prefix, "process death", text);
		}
	}
}

static co_fn void check_data(const struct replay *r, struct disc_store *s,
			     const struct disc_state *state, const uint32_t *salt, unsigned prefix,
			     const char *how)
{
	for (unsigned i = 1; i <= state->tracks->len; i++) {
		const struct disc_track *t = state_track(state, i);
		int32_t end = t->flags & TRACK_OPEN ? t->nwa : t->start + (int32_t)t->size;

		for (int32_t lba = t->start; lba < end; lba++)
			check_block(r, s, lba, salt[lba], prefix, how);
	}
}

static co_fn void judge(const struct replay *r, unsigned prefix, enum crash_kind kind,
			struct disc_store *s, const struct disc_state *state)
{
	const char *how = kind == POWER_CUT ? "power cut" : "process death";
	const struct moment *m = moment_at(r, prefix);
	const struct version *v = find_version(r, m, state, kind == PROCESS_DEATH);

	if (!v) {
		char *text = g_strdup_printf("the state is none of versions %u to %u", m->acked,
					     m->issued);

		wrong(r, prefix, how, text);
		return;
	}
	if (kind == PROCESS_DEATH)
		check_nwa(r, m, v, state, prefix);
	check_data(r, s, state, kind == POWER_CUT ? v->salt : m->salt, prefix, how);
	for (int32_t lba = 0; v->wiped && lba < LIFE_BLOCKS; lba += 7)
		check_block(r, s, lba, 0, prefix, how);
}

/* Opens image with the real code and judges. The reference to image is taken. */
static co_fn void open_and_judge(const struct replay *r, unsigned prefix, enum crash_kind kind,
				 unsigned flags, struct block_node *image)
{
	const uint8_t *boot_id = kind == POWER_CUT ? other_boot : this_boot;
	struct disc_state *state = NULL;
	GError *error = NULL;
	struct disc_store *s = disc_store_open_boot(image, flags, boot_id, &state, &error);

	if (!s) {
		wrong(r, prefix, kind == POWER_CUT ? "power cut" : "process death", error->message);
		return;
	}
	judge(r, prefix, kind, s, state);
	disc_store_close(s, true);
	disc_state_free(state);
}

/* Applies a write of which only some sectors arrived. */
static co_fn void apply_torn(struct replay *r, const struct blklog_entry *e, unsigned unit,
			     struct block_node *image)
{
	uint64_t cut = (uint64_t)g_rand_int_range(r->rand, 0, (int)(e->len / unit) + 1) * unit;
	bool prefix_only = g_rand_boolean(r->rand);

	for (uint64_t at = 0; at < e->len; at += unit)
		if (prefix_only ? at < cut : g_rand_boolean(r->rand))
			blklog_apply(e, at, MIN(at + unit, e->len), image);
}

enum pick { PICK_ALL, PICK_NONE, PICK_RANDOM };

/* Adds entries [from, to) of log as a power cut may leave them; last_unit: the last one is torn
 * into such units. */
static co_fn void apply_some(struct replay *r, const struct blklog_entry *log, unsigned from,
			     unsigned to, enum pick pick, unsigned last_unit,
			     struct block_node *image)
{
	for (unsigned i = from; i < to; i++) {
		const struct blklog_entry *e = &log[i];

		if (last_unit && i == to - 1)
			apply_torn(r, e, last_unit, image);
		else if (e->fua || pick == PICK_ALL ||
			 (pick == PICK_RANDOM && g_rand_boolean(r->rand)))
			blklog_apply(e, 0, e->len, image);
		else if (pick == PICK_RANDOM && e->kind == BLKLOG_WRITE &&
			 g_rand_int_range(r->rand, 0, 4) == 0)
			apply_torn(r, e, SECTOR, image);
	}
}

/* The image is opened over a log; the machine fails again at every moment of that, and the next
 * open must do. */
static co_fn void crash_while_recovering(struct replay *r, unsigned prefix,
					 struct block_node *image)
{
	struct block_node *log = blklog_new(block_mem_fork(image));
	const struct blklog_entry *entries;
	unsigned n, durable = 0;

	block_ref(log);
	open_and_judge(r, prefix, POWER_CUT, STORE_RDWR, log);
	entries = blklog_entries(log, &n);
	for (unsigned p = 1; p <= n; p++) {
		static const unsigned units[] = {0, 0, SECTOR, PAGE};

		for (unsigned i = 0; i < G_N_ELEMENTS(units); i++) {
			struct block_node *again;

			if (units[i] && entries[p - 1].kind != BLKLOG_WRITE)
				continue;
			again = block_mem_fork(image);
			apply_some(r, entries, 0, durable, PICK_ALL, 0, again);
			apply_some(r, entries, durable, p, i == 0 ? PICK_NONE : PICK_RANDOM,
				   units[i], again);
			open_and_judge(r, prefix, POWER_CUT, STORE_RDWR, again);
			r->nested++;
		}
		if (entries[p - 1].kind == BLKLOG_FLUSH)
			durable = p;
	}
	block_unref(log);
}

/* After recovery the disc must go on: a commit, and another power cut. */
static co_fn void live_on(struct replay *r, unsigned prefix, struct block_node *image)
{
	struct block_node *node = block_mem_fork(image);
	struct disc_state *state, *again;
	GByteArray *a, *b;
	struct disc_store *s;

	block_ref(node);
	block_ref(node);
	s = disc_store_open_boot(node, STORE_RDWR, other_boot, &state, NULL);
	assert_non_null(s);
	state->erase_count = 123456;
	assert_int_equal(disc_store_commit(s, state, true), 0);
	disc_store_close(s, true);
	s = disc_store_open_boot(node, 0, this_boot, &again, NULL);
	assert_non_null(s);
	a = life_rows(state, false);
	b = life_rows(again, false);
	if (a->len != b->len || memcmp(a->data, b->data, a->len) != 0)
		wrong(r, prefix, "power cut", "a commit after recovery is not found again");
	g_byte_array_unref(a);
	g_byte_array_unref(b);
	disc_store_close(s, true);
	disc_state_free(state);
	disc_state_free(again);
	block_unref(node);
	r->opened_again++;
}

static co_fn void try_state(struct replay *r, unsigned prefix, enum crash_kind kind,
			    struct block_node *image)
{
	r->states++;
	if (kind == POWER_CUT && r->states % r->nested_every == 0) {
		crash_while_recovering(r, prefix, image);
		live_on(r, prefix, image);
	}
	open_and_judge(r, prefix, kind, r->states % 3 ? STORE_RDWR : 0, image);
}

/* base holds entries [0, durable). */
static co_fn void try_prefix(struct replay *r, unsigned prefix, unsigned durable,
			     struct block_node *base)
{
	bool last_is_write = r->log[prefix - 1].kind == BLKLOG_WRITE;
	struct block_node *image;

	for (unsigned i = 0; i < 3 + r->subsets; i++) {
		enum pick pick = i < 2 ? PICK_ALL : i == 2 ? PICK_NONE : PICK_RANDOM;

		image = block_mem_fork(base);
		apply_some(r, r->log, durable, prefix, pick, 0, image);
		try_state(r, prefix, i == 0 ? PROCESS_DEATH : POWER_CUT, image);
	}
	for (unsigned i = 0; last_is_write && i < 2 + r->subsets; i++) {
		image = block_mem_fork(base);
		apply_some(r, r->log, durable, prefix, PICK_RANDOM, i % 2 ? PAGE : SECTOR, image);
		try_state(r, prefix, POWER_CUT, image);
	}
}

co_fn void replay_all(struct replay *r)
{
	struct block_node *base = block_mem_new(0, NULL, 0);
	unsigned durable = 0;

	for (unsigned prefix = 1; prefix <= r->n; prefix++) {
		const struct blklog_entry *e = &r->log[prefix - 1];

		/* A mark alone changes what must hold, not what is there: one state will do. */
		if (prefix >= r->life->format_entries && e->kind == BLKLOG_MARK) {
			struct block_node *image = block_mem_fork(base);

			apply_some(r, r->log, durable, prefix, PICK_ALL, 0, image);
			try_state(r, prefix, PROCESS_DEATH, image);
			image = block_mem_fork(base);
			apply_some(r, r->log, durable, prefix, PICK_RANDOM, 0, image);
			try_state(r, prefix, POWER_CUT, image);
		} else if (prefix > r->life->format_entries) {
			try_prefix(r, prefix, durable, base);
		}
		if (e->kind != BLKLOG_FLUSH)
			continue;
		apply_some(r, r->log, durable, prefix, PICK_ALL, 0, base);
		durable = prefix;
	}
	block_unref(base);
}

co_fn void replay_creation(struct replay *r)
{
	for (unsigned prefix = 0; prefix < r->life->format_entries; prefix++) {
		for (unsigned i = 0; i < 2 + r->subsets; i++) {
			struct block_node *image = block_mem_new(0, NULL, 0);
			struct disc_state *state = NULL;
			GError *error = NULL;
			struct disc_store *s;

			/* The length is set first; without it no later write could have been done.
			 */
			for (unsigned k = 0; k < prefix; k++) {
				if (r->log[k].kind == BLKLOG_TRUNCATE || r->log[k].fua || i == 0 ||
				    (i > 1 && g_rand_boolean(r->rand)))
					blklog_apply(&r->log[k], 0, r->log[k].len, image);
			}
			s = disc_store_open_boot(image, STORE_RDWR, other_boot, &state, &error);
			r->states++;
			if (!s) {
				assert_non_null(error);
				g_error_free(error);
				continue;
			}
			if (!find_version(r, r->life->moments->pdata[0], state, false))
				wrong(r, prefix, "creation", "opened, and is not a new disc");
			disc_store_close(s, true);
			disc_state_free(state);
		}
	}
}
