/*
 * Operations of a disc's life; see life.h. Every call that changes what a crash may show is between
 * two marks: one that allows the new, one that demands it.
 */
#include "life.h"

#include "disc/store_rows.h"

static void version_free(void *p)
{
	struct version *v = p;

	g_byte_array_unref(v->exact);
	g_byte_array_unref(v->floating);
	g_free(v);
}

static void mark(struct life *life)
{
	struct moment *m = g_new(struct moment, 1);

	*m = life->now;
	blklog_mark(life->log, life->moments->len);
	g_ptr_array_add(life->moments, m);
}

GByteArray *life_rows(const struct disc_state *state, bool floating)
{
	struct disc_state *copy = disc_state_copy(state);
	GByteArray *out = g_byte_array_new();
	struct rows rows;

	g_array_set_size(copy->punches, 0);
	for (unsigned i = 1; floating && i <= copy->tracks->len; i++)
		if (state_track(copy, i)->flags & TRACK_OPEN)
			state_track(copy, i)->nwa = 0;
	rows_init(&rows);
	rows_from_state(&rows, copy, 0, NULL);
	rows_encode(&rows, out);
	rows_fini(&rows);
	disc_state_free(copy);
	return out;
}

static void add_version(struct life *life)
{
	struct version *v = g_new0(struct version, 1);

	v->exact = life_rows(life->state, false);
	v->floating = life_rows(life->state, true);
	v->wiped = life->state->punches->len > 0;
	memset(v->nwa, 0xff, sizeof(v->nwa));
	for (unsigned i = 1; i <= life->state->tracks->len; i++) {
		const struct disc_track *t = state_track(life->state, i);
		bool open = t->flags & TRACK_OPEN;
		int32_t end = open ? t->nwa : t->start + (int32_t)t->size;

		if (open)
			v->nwa[i - 1] = t->nwa;
		for (int32_t lba = t->start; lba < end; lba++)
			v->salt[lba] = life->now.salt[lba];
	}
	g_ptr_array_add(life->versions, v);
}

static co_fn void commit(struct life *life, bool visible)
{
	add_version(life);
	life->now.issued = life->versions->len - 1;
	mark(life);
	assert_int_equal(disc_store_commit(life->store, life->state, visible), 0);
	life->now.acked = life->now.issued;
	mark(life);
}

static void forget_told(struct life *life, unsigned track)
{
	life->now.told[track - 1] = life->now.telling[track - 1] = -1;
}

static struct disc_track *random_open_track(struct life *life)
{
	unsigned n = life->state->tracks->len;
	unsigned first = n ? (unsigned)g_rand_int_range(life->rand, 0, (int)n) : 0;

	for (unsigned i = 0; i < n; i++) {
		struct disc_track *t = state_track(life->state, 1 + (first + i) % n);

		if (t->flags & TRACK_OPEN)
			return t;
	}
	return NULL;
}

static int32_t limit_of(const struct life *life, const struct disc_track *t)
{
	const struct disc_track *next = state_track(life->state, t->number + 1u);

	return next ? next->start : LIFE_BLOCKS;
}

static co_fn void append(struct life *life)
{
	struct disc_track *t = random_open_track(life);
	int32_t n = g_rand_int_range(life->rand, 1, 12);
	uint8_t *buf;
	struct iovec one;
	struct iovs iov;

	if (!t || t->nwa + n > limit_of(life, t))
		return;
	buf = g_malloc((size_t)n * 2048);
	for (int32_t i = 0; i < n; i++) {
		life->now.salt[t->nwa + i] = ++life->next_salt;
		fill(buf + i * 2048, t->nwa + i, life->next_salt);
	}
	iov = iovs_one(&one, buf, (size_t)n * 2048);
	assert_int_equal(disc_store_write(life->store, PLANE_USER, t->nwa, (uint32_t)n, &iov), 0);
	g_free(buf);
	t->nwa += n;
	life->now.telling[t->number - 1] = t->nwa;
	mark(life);
	disc_store_progress(life->store, life->state);
	life->now.told[t->number - 1] = t->nwa;
	mark(life);
}

static co_fn void sync_tracks(struct life *life)
{
	for (unsigned i = 1; i <= life->state->tracks->len; i++) {
		struct disc_track *t = state_track(life->state, i);

		if (t->flags & TRACK_OPEN)
			t->last_recorded = t->nwa - 1;
	}
	commit(life, true);
}

static co_fn void begin_track(struct life *life)
{
	struct disc_state *state = life->state;
	unsigned n = state->tracks->len;
	int32_t start = (int32_t)n * LIFE_BLOCKS / LIFE_TRACKS;

	if (n == LIFE_TRACKS || (n > 0 && state_track(state, n)->nwa > start))
		return;
	if (state->sessions->len == 0)
		add_session(state, 0);
	add_track(state, start, TRACK_OPEN | (n ? TRACK_RESERVED : 0));
	state_session(state, state->sessions->len)->last_track = (uint16_t)(n + 1);
	sync_tracks(life);
}

static co_fn void close_track(struct life *life)
{
	struct disc_track *t = random_open_track(life);

	if (!t)
		return;
	t->flags &= ~(unsigned)TRACK_OPEN;
	t->size = (uint32_t)(t->nwa - t->start);
	sync_tracks(life);
	forget_told(life, t->number);
}

static co_fn void close_session(struct life *life)
{
	if (life->state->sessions->len == 0 || life->state->sessions->len > 5)
		return;
	state_session(life->state, life->state->sessions->len)->state = SESSION_COMPLETE;
	add_session(life->state, 0);
	sync_tracks(life);
}

/* As the format asks for: state and punch, punch, state without; and sometimes death in between. */
static co_fn void blank(struct life *life)
{
	struct disc_punch all;

	assert_true(disc_store_plane_range(life->store, PLANE_USER, 0, LIFE_BLOCKS, &all));
	g_array_set_size(life->state->tracks, 0);
	g_array_set_size(life->state->sessions, 0);
	g_array_set_size(life->state->blobs, 0);
	g_array_append_val(life->state->punches, all);
	life->state->format_count++;
	commit(life, false);
	memset(life->now.salt, 0, sizeof(life->now.salt));
	for (unsigned i = 1; i <= LIFE_TRACKS; i++)
		forget_told(life, i);
	assert_int_equal(disc_store_punch(life->store, PLANE_USER, 0, LIFE_BLOCKS), 0);
	g_array_set_size(life->state->punches, 0);
	commit(life, true);
}

static co_fn void large_commit(struct life *life)
{
	uint32_t len = (uint32_t)g_rand_int_range(life->rand, 1, 30000);
	uint8_t *data = g_malloc(len);

	memset(data, (int)len, len);
	state_put_blob(life->state, 6, (uint32_t)g_rand_int_range(life->rand, 0, 3), data, len);
	g_free(data);
	commit(life, false);
}

static co_fn void add_history(struct life *life)
{
	struct disc_history h = {.event = EVENT_RESERVED, .lba = 1};

	assert_int_equal(disc_store_add_history(life->store, &h), 0);
}

static co_fn void open_life(struct life *life)
{
	GError *error = NULL;

	block_ref(life->log);
	disc_state_free(life->state);
	life->state = NULL;
	life->store =
		disc_store_open_boot(life->log, STORE_RDWR, life->boot_id, &life->state, &error);
	if (!life->store)
		fail_msg("%s", error->message);
}

static co_fn void reopen(struct life *life)
{
	disc_store_close(life->store, g_rand_boolean(life->rand));
	/* Open tracks come back as told, and the checkpoint of opening makes that the state. */
	add_version(life);
	life->now.issued = life->versions->len - 1;
	mark(life);
	open_life(life);
	life->now.acked = life->now.issued;
	mark(life);
}

co_fn void life_step(struct life *life)
{
	static const struct {
		unsigned weight;
		co_fn void (*op)(struct life *life);
	} ops[] = {
		{40, append},      {14, sync_tracks},  {9, begin_track},
		{4, close_track},  {3, close_session}, {3, blank},
		{4, large_commit}, {3, add_history},   {3, reopen},
	};
	unsigned total = 0, pick;

	for (unsigned i = 0; i < G_N_ELEMENTS(ops); i++)
		total += ops[i].weight;
	pick = (unsigned)g_rand_int_range(life->rand, 0, (int)total);
	for (unsigned i = 0; i < G_N_ELEMENTS(ops); i++) {
		if (pick < ops[i].weight) {
			ops[i].op(life);
			return;
		}
		pick -= ops[i].weight;
	}
}

co_fn void life_overflow(struct life *life)
{
	for (unsigned i = 0; i < 270; i++) {
		if (i % 8 == 0)
			append(life);
		life->state->erase_count++;
		sync_tracks(life);
	}
}

co_fn struct life *life_new(uint32_t seed)
{
	struct life *life = g_new0(struct life, 1);
	GError *error = NULL;

	life->rand = g_rand_new_with_seed(seed);
	life->log = blklog_new(block_mem_new(0, NULL, 0));
	life->state = blank_state(PROFILE_DVD_RW_SEQ, LIFE_BLOCKS);
	life->versions = g_ptr_array_new_with_free_func(version_free);
	life->moments = g_ptr_array_new_with_free_func(g_free);
	memcpy(life->boot_id, this_boot, sizeof(this_boot));
	for (unsigned i = 1; i <= LIFE_TRACKS; i++)
		forget_told(life, i);
	add_version(life);
	mark(life);
	if (!disc_store_format(life->log, life->state, STORE_RDWR, &error))
		fail_msg("%s", error->message);
	blklog_entries(life->log, &life->format_entries);
	mark(life);
	open_life(life);
	return life;
}

co_fn void life_end(struct life *life)
{
	disc_store_close(life->store, false);
	life->store = NULL;
}

co_fn void life_free(struct life *life)
{
	disc_state_free(life->state);
	block_unref(life->log);
	g_ptr_array_unref(life->versions);
	g_ptr_array_unref(life->moments);
	g_rand_free(life->rand);
	g_free(life);
}
