/*
 * Power cuts: every burn of disc_scenario.c, cut after each write to the file. What was not flushed
 * by then may have reached the file or not: all of it, nothing, or a random part, and the last
 * write only in its first half. Whatever is left must open as a disc that the drive was in the
 * middle of, or just before or behind; hold what was made durable; and go on.
 */
#include "disc_scenario.h"

#include "base/bytes.h"
#include "block/blklog.h"
#include "block/mem.h"

#include <string.h>

enum { MAX_STEPS = 40, MARK_DURABLE = 1 << 16 };

/* What a flawless run told. */
struct run {
	const struct scenario *s;
	struct blklog_entry *log;
	unsigned n;
	GPtrArray *seen; /* disc as text, before the first step and after each */
	unsigned steps;
};

enum lost { LOST_NOTHING, LOST_ALL, LOST_SOME, LOST_TORN, N_LOST };

/* In text without addresses that move with every write: those are looked at apart. */
static char *shape(struct disc *d)
{
	const struct disc_state *s = disc_get_state(d);
	GString *text = g_string_new(NULL);

	g_string_printf(text, "%02x %u fmt %u cap %u pow %u punch %u cue %u |", s->profile,
			s->status, s->formatted, s->intermediate ? 0 : s->capacity, s->pow, 0,
			state_find_blob(s, 13, 0) != NULL);
	for (unsigned i = 1; i <= s->sessions->len; i++)
		g_string_append_printf(text, " s%u:%u", i, state_session(s, i)->state);
	for (unsigned i = 1; i <= s->tracks->len; i++) {
		const struct disc_track *t = state_track(s, i);

		g_string_append_printf(text, " t%u:%d:%x", i, t->start,
				       t->flags & ~(uint32_t)TRACK_BLANK);
		if (!(t->flags & TRACK_OPEN))
			g_string_append_printf(text, ":%u", t->size);
	}
	return g_string_free(text, FALSE);
}

static bool makes_durable(enum step_op op)
{
	return op != DO_PUT && op != DO_MODE && op != DO_TEST;
}

static co_fn void record(struct run *r)
{
	struct block_node *log = blklog_new(block_mem_new(0, NULL, 0));
	struct disc *d;

	r->seen = g_ptr_array_new_with_free_func(g_free);
	format_node(log, r->s);
	d = open_node(log, false);
	g_ptr_array_add(r->seen, shape(d));
	blklog_mark(log, 0);
	for (const struct step *s = r->s->steps; s->op != DO_END; s++) {
		enum disc_status status = do_step(d, s);

		if (status != DISC_OK)
			fail_msg("%s: step %u fails with %d", r->s->name, r->steps, status);
		r->steps++;
		g_ptr_array_add(r->seen, shape(d));
		blklog_mark(log, r->steps | (makes_durable(s->op) ? MARK_DURABLE : 0));
	}
	disc_close(d, true);
	r->log = blklog_steal(log, &r->n);
	block_unref(log);
}

static bool is_write(const struct blklog_entry *e)
{
	return e->kind == BLKLOG_WRITE || e->kind == BLKLOG_ZERO;
}

/* The file as a cut after entry at leaves it. */
static co_fn struct block_node *replay(const struct run *r, unsigned at, enum lost lost,
				       uint32_t seed)
{
	struct block_node *node = block_mem_new(0, NULL, 0);
	unsigned flushed = 0;

	for (unsigned i = 0; i <= at; i++)
		if (r->log[i].kind == BLKLOG_FLUSH)
			flushed = i;
	for (unsigned i = 0; i <= at; i++) {
		const struct blklog_entry *e = &r->log[i];
		bool may_be_lost = i > flushed && is_write(e) && !e->fua;

		seed = seed * 1103515245 + 12345;
		if (may_be_lost && (lost == LOST_ALL || (lost == LOST_SOME && seed >> 30 & 1)))
			continue;
		/* A sector is whole or not there; writes are cut between them. */
		if (i == at && lost == LOST_TORN && e->kind == BLKLOG_WRITE)
			blklog_apply(e, 0, e->len / 1024 * 512, node);
		else if (e->kind != BLKLOG_MARK && e->kind != BLKLOG_FLUSH)
			blklog_apply(e, 0, e->len, node);
	}
	return node;
}

/* Blocks that a durable step had behind it, as far as nothing wrote over them or blanked the disc
 * since. */
static co_fn void check_data(const struct run *r, struct disc *d, unsigned durable, unsigned done)
{
	bool erased = false;

	for (unsigned k = durable; k < MIN(done + 1, r->steps); k++)
		erased |= r->s->steps[k].op == DO_BLANK || r->s->steps[k].op == DO_FORMAT;
	for (unsigned k = durable; k > 0 && !erased; k--) {
		const struct step *s = &r->s->steps[k - 1];
		bool overwritten = false;

		if (s->op == DO_BLANK || (s->op == DO_FORMAT && s->a != 0x13))
			break;
		if (s->op != DO_PUT || s->a < 0)
			continue;
		for (unsigned later = k; later < r->steps; later++) {
			overwritten |= r->s->steps[later].op == DO_PUT &&
				       r->s->steps[later].a < s->a + (int32_t)s->b &&
				       s->a < r->s->steps[later].a + (int32_t)r->s->steps[later].b;
		}
		if (!overwritten)
			assert_pattern(d, s->a, s->b, s->seed);
	}
}

/* Burning goes on, or the disc is complete: in each case it can be brought to an end and read
 * again. */
static co_fn void go_on(struct block_node *node, struct disc *d)
{
	struct disc_track_info t;
	unsigned last = disc_last_track(d);
	bool sao = state_find_blob(disc_get_state(d), 13, 0) != NULL;

	if (disc_get_state(d)->profile == PROFILE_CD_R)
		set_mode(d, sao ? 2 : 1, 0);
	else if (last && disc_get_state(d)->tracks->len &&
		 state_track(disc_get_state(d), 1)->flags & TRACK_DAO)
		set_mode(d, 2, 0);
	if (disc_is_writable(d) && disc_get_track_info(d, last, &t) == DISC_OK && t.nwa_valid &&
	    t.free_blocks >= 16) {
		enum disc_status status = put(d, t.nwa, 16, 99);

		if (status != DISC_OK && status != DISC_RANGE)
			fail_msg("writing on fails with %d: %s", status, dump(d));
		if (status == DISC_OK && t.nwa >= 0) {
			assert_pattern(d, t.nwa, 16, 99);
			assert_int_equal(disc_sync(d), DISC_OK);
			disc_close(d, true);
			d = open_node(node, false);
			assert_pattern(d, t.nwa, 16, 99);
		}
	}
	assert_int_equal(disc_sync(d), DISC_OK);
	disc_close(d, false);
	disc_close(open_node(node, false), false);
}

static bool was_seen(const struct run *r, unsigned from, unsigned to, const char *text)
{
	for (unsigned i = from; i <= MIN(to, r->steps); i++)
		if (strcmp(g_ptr_array_index(r->seen, i), text) == 0)
			return true;
	return false;
}

/* States inside one step that is more than one change, and that a drive can be in. */
static bool is_between(const struct run *r, unsigned done)
{
	const struct step *s = &r->s->steps[MIN(done, r->steps - 1)];

	/* A reservation for a disc at once is dropped, or its disc's first write has just come. */
	return r->s->type[0] == 'd' && s->op == DO_PUT;
}

static co_fn void check_cut(const struct run *r, unsigned at, enum lost lost, unsigned durable,
			    unsigned done)
{
	struct block_node *node = replay(r, at, lost, at * 7919 + 1);
	struct disc *d = open_node(node, false);
	char *text = shape(d);

	if (!was_seen(r, durable, done + 1, text) && !is_between(r, done)) {
		fail_msg("%s, cut after write %u of %u (step %u, durable %u, lost %d):\n%s\nwas "
			 "never a state of it; before %s",
			 r->s->name, at, r->n, done, durable, lost, text,
			 (char *)g_ptr_array_index(r->seen, durable));
	}
	g_free(text);
	assert_int_equal(disc_get_state(d)->punches->len, 0);
	check_data(r, d, durable, done);
	go_on(node, d);
	block_unref(node);
}

static co_fn void cut_everywhere(void *arg)
{
	(void)arg;
	for (const struct scenario *s = scenarios; s->name; s++) {
		struct run r = {.s = s};
		unsigned durable = 0, done = 0;
		bool begun = false;

		record(&r);
		for (unsigned at = 0; at < r.n; at++) {
			if (r.log[at].kind == BLKLOG_MARK) {
				begun = true;
				done = (unsigned)(r.log[at].off & (MARK_DURABLE - 1));
				if (r.log[at].off & MARK_DURABLE)
					durable = done;
			}
			for (unsigned lost = LOST_NOTHING; begun && lost < N_LOST; lost++)
				check_cut(&r, at, (enum lost)lost, durable, done);
		}
		assert_true(begun && done == r.steps);
		print_message("%s: %u writes, each with 4 ways to lose some\n", s->name, r.n);
		blklog_free(r.log, r.n);
		g_ptr_array_unref(r.seen);
	}
}

IN_LOOP(cut_everywhere)

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_cut_everywhere)};

	return cmocka_run_group_tests(tests, NULL, fixture_end);
}
