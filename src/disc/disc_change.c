/*
 * How a disc's state changes: copy, edit, commit, take. And the moments around it: the background
 * commit, blocks that a blanking or formatting has yet to remove, and the pretended state of a test
 * write.
 *
 * Order that must hold: the file's journal names only data that is durable (disc_store_commit
 * flushes first when told so), and a range with a pending punch is never written to, or the punch
 * made up for after a crash would take new data.
 */
#include "disc/rules.h"

enum disc_status disc_fail_io(struct disc *d, enum disc_status status, int res)
{
	d->error = (struct disc_error){.errnum = -res};
	return status;
}

struct disc_state *disc_change(const struct disc *d)
{
	return disc_state_copy(d->state);
}

static void take_state(struct disc *d, struct disc_state *next)
{
	disc_state_free(d->state);
	d->state = next;
	d->profile = disc_profile_find(next->profile);
	d->rules = disc_rules_find(next->profile);
}

co_fn enum disc_status disc_apply(struct disc *d, struct disc_state *next, bool visible)
{
	int res;

	if (!d->real) {
		res = disc_store_commit(d->store, next, visible || d->uncommitted > 0);
		if (res < 0) {
			disc_state_free(next);
			return disc_fail_io(d, DISC_IO_WRITE, res);
		}
		d->uncommitted = 0;
		d->moved = false;
	}
	take_state(d, next);
	return DISC_OK;
}

co_fn enum disc_status disc_apply_wiped(struct disc *d, struct disc_state *next)
{
	struct disc_punch all = {.plane = PLANE_USER,
				 .len = (uint64_t)next->max_blocks * BLOCK_LEN};
	enum disc_status status;

	g_array_set_size(next->punches, 0);
	g_array_append_val(next->punches, all);
	status = disc_apply(d, next, false);
	if (status == DISC_OK && disc_finish_punches(d) != DISC_OK) {
		log_line(LOG_WARN, "disc",
			 "%s: old data could not be removed yet, it reads as zeros: %s", d->name,
			 g_strerror(d->error.errnum));
	}
	return status;
}

co_fn enum disc_status disc_finish_punches(struct disc *d)
{
	struct disc_state *next;
	int res;

	if (!d->state->punches->len || d->real)
		return DISC_OK;
	for (unsigned i = 0; i < d->state->punches->len; i++) {
		const struct disc_punch *p =
			&g_array_index(d->state->punches, struct disc_punch, i);

		res = disc_store_punch(d->store, PLANE_USER, (int32_t)(p->off / BLOCK_LEN),
				       (uint32_t)(p->len / BLOCK_LEN));
		if (res < 0)
			return disc_fail_io(d, DISC_IO_WRITE, res);
	}
	next = disc_change(d);
	g_array_set_size(next->punches, 0);
	return disc_apply(d, next, true);
}

co_fn void disc_add_history(struct disc *d, enum disc_event event, int32_t lba, uint64_t blocks)
{
	struct disc_history h = {
		.time_ns = (uint64_t)g_get_real_time() * 1000,
		.event = event,
		.lba = lba,
		.blocks = blocks,
	};
	int res;

	if (d->real)
		return;
	res = disc_store_add_history(d->store, &h);
	if (res < 0)
		log_line(LOG_WARN, "disc", "%s: history not recorded: %s", d->name,
			 g_strerror(-res));
}

void disc_settle_track(struct disc_track *t)
{
	if (!(t->flags & TRACK_OPEN))
		return;
	if (t->nwa > t->start)
		t->flags &= ~(uint32_t)TRACK_BLANK;
	if (!(t->flags & TRACK_RESERVED))
		t->size = t->nwa > t->start ? (uint32_t)(t->nwa - t->start) : 0;
	t->last_recorded = t->nwa > t->start ? t->nwa - 1 : t->start - 1;
}

void disc_advance(struct disc *d, struct disc_track *t, int32_t nwa, uint64_t bytes)
{
	t->nwa = nwa;
	disc_settle_track(t);
	if (d->real)
		return;
	d->uncommitted += bytes;
	d->moved = true;
	disc_store_progress(d->store, d->state);
}

co_fn void disc_await_commit(struct disc *d)
{
	while (d->committing)
		co_queue_wait(&d->commit_waiting);
}

co_fn enum disc_status disc_flush(struct disc *d)
{
	int res;

	if (!d->store || d->real || !d->writable)
		return DISC_OK;
	disc_await_commit(d);
	if (d->moved)
		return disc_apply(d, disc_change(d), true);
	if (!d->uncommitted)
		return DISC_OK;
	res = disc_store_flush(d->store);
	if (res < 0)
		return disc_fail_io(d, DISC_IO_WRITE, res);
	d->uncommitted = 0;
	return DISC_OK;
}

/*
 * Beside the writes that go on: what was written before it began becomes durable, so that a power
 * cut costs little and the SYNCHRONIZE CACHE at the end need not write it all. Commits queue up in
 * the store: one of another operation that begins meanwhile comes later and knows more.
 */
static co_fn void commit_aside(void *arg)
{
	struct disc *d = arg;
	struct disc_state *now = disc_change(d);
	uint64_t bytes = d->uncommitted;
	int res;

	d->uncommitted = 0;
	d->moved = false;
	res = disc_store_commit(d->store, now, true);
	disc_state_free(now);
	if (res < 0) {
		d->uncommitted += bytes;
		d->moved = true;
		d->commit_failed = true;
		log_line(LOG_ERROR, "disc",
			 "%s: what was written last could not be made durable: %s", d->name,
			 g_strerror(-res));
	}
	d->committing = false;
	co_queue_wake_all(&d->commit_waiting);
}

bool disc_flush_aside(struct disc *d)
{
	if (!d->store || d->real || !d->writable || !(d->moved || d->uncommitted))
		return true;
	if (d->committing)
		return false;
	d->committing = true;
	d->commit_begun_ns = loop_now_ns();
	co_start(co_loop(), commit_aside, d);
	return true;
}

co_fn enum disc_status disc_before_write(struct disc *d)
{
	enum disc_status status;

	if (d->real)
		return DISC_OK;
	status = disc_finish_punches(d);
	if (status != DISC_OK)
		return status;
	if (d->commit_failed) { /* now somebody is there to be told */
		d->commit_failed = false;
		return disc_flush(d);
	}
	if (d->uncommitted >= COMMIT_BYTES && loop_now_ns() - d->commit_begun_ns >= COMMIT_PAUSE_NS)
		disc_flush_aside(d);
	return DISC_OK;
}

void disc_begin_test(struct disc *d)
{
	if (!d->real && d->rules->can_test && d->params.test_write)
		d->real = disc_state_copy(d->state);
}

void disc_end_test(struct disc *d)
{
	struct disc_state *real = d->real;

	if (!real)
		return;
	d->real = NULL;
	forget_cue(d);
	take_state(d, real);
	if (d->profile->family == DISC_CD && !cd_restore_cue(d, NULL))
		forget_cue(d); /* cannot be: it was accepted before the test */
}
