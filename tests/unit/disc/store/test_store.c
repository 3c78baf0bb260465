/* The .disc store: creating, opening, committing, planes, progress lines, history. */
#include "store_fixture.h"

#include <errno.h>

#include "base/log.h"
#include "block/driver.h"
#include "block/fault.h"

static void test_new_disc_opens_as_created(void)
{
	struct block_node *node = new_disc(PROFILE_DVD_PLUS_R, TEST_BLOCKS);
	struct disc_store_info info;
	struct disc_state *state;
	struct disc_store *s;

	assert_true(disc_store_probe(node));
	s = must_open(node, 0, &state);
	assert_int_equal(state->profile, PROFILE_DVD_PLUS_R);
	assert_int_equal(state->max_blocks, TEST_BLOCKS);
	assert_int_equal(state->tracks->len, 0);
	assert_memory_equal(state->media_id, "OUTBOARD", 8);
	assert_true(disc_store_has_plane(s, PLANE_USER));
	assert_false(disc_store_has_plane(s, PLANE_RAW));
	disc_store_get_info(s, &info);
	assert_int_equal(info.file_len, block_length(node));
	assert_int_equal(info.generation, 1);
	assert_false(info.recovered);
	assert_false(disc_store_is_writable(s));
	assert_int_equal(disc_store_commit(s, state, false), -EROFS);
	disc_store_close(s, false);
	disc_state_free(state);
	block_unref(node);
}

static struct disc_state *rich_state(void)
{
	struct disc_state *state = blank_state(PROFILE_CD_R, TEST_BLOCKS);
	struct disc_track *t;

	state->status = DISC_APPENDABLE;
	state->lead_in_start = -11775;
	state->last_lead_out = TEST_BLOCKS;
	state->write_protected = 1;
	state->disc_type = 0x20;
	state->pow_updates = 77;
	state->erase_count = 3;
	state->format_count = 4;
	memset(state->atip, 0xa5, sizeof(state->atip));
	memset(state->serial, 0x5a, sizeof(state->serial));
	add_session(state, 0);
	memcpy(state_session(state, 1)->mcn, "1234567890123", 13);
	state_session(state, 1)->next_area = 11400;
	t = add_track(state, 0, TRACK_OPEN | TRACK_PACKET);
	t->nwa = 17;
	t->last_recorded = 16;
	t->packet_size = 32;
	t->pregap = 150;
	t->run_out = 2;
	t->form = 8;
	memcpy(t->isrc, "DEXXX0000001", 12);
	add_track(state, 300, TRACK_RESERVED | TRACK_BLANK)->size = 300;
	state_put_blob(state, 6, 0x10, "structure", 9);
	state_put_blob(state, 5, 1, "text", 4);
	state_put_blob(state, 13, 0, "cue", 3);
	return state;
}

static void assert_same(const struct disc_state *a, const struct disc_state *b)
{
	struct disc_state x = *a, y = *b;

	x.sessions = y.sessions = x.tracks = y.tracks = x.blobs = y.blobs = x.punches = y.punches =
		NULL;
	assert_memory_equal(&x, &y, sizeof(x));
	assert_int_equal(a->sessions->len, b->sessions->len);
	assert_memory_equal(a->sessions->data, b->sessions->data,
			    a->sessions->len * sizeof(struct disc_session));
	assert_int_equal(a->tracks->len, b->tracks->len);
	assert_memory_equal(a->tracks->data, b->tracks->data,
			    a->tracks->len * sizeof(struct disc_track));
	assert_int_equal(a->punches->len, b->punches->len);
	assert_int_equal(a->blobs->len, b->blobs->len);
	for (unsigned i = 0; i < a->blobs->len; i++) {
		const struct disc_blob *blob = &g_array_index(a->blobs, struct disc_blob, i);
		const struct disc_blob *other = state_find_blob(b, blob->type, blob->key);

		assert_non_null(other);
		assert_int_equal(other->len, blob->len);
		assert_memory_equal(other->data, blob->data, blob->len);
	}
}

static void test_everything_committed_comes_back(void)
{
	struct block_node *node = new_disc(PROFILE_CD_R, TEST_BLOCKS);
	struct disc_state *wanted = rich_state(), *state, *copy;
	struct disc_store *s = must_open(node, STORE_RDWR, &state);

	assert_int_equal(disc_store_commit(s, wanted, true), 0);
	disc_store_close(s, true); /* the journal alone must do */
	disc_state_free(state);
	s = must_open(node, STORE_RDWR, &state);
	assert_same(state, wanted);
	disc_store_close(s, false); /* and now the slot */
	disc_state_free(state);
	s = must_open(node, 0, &state);
	assert_same(state, wanted);
	copy = disc_state_copy(state);
	assert_same(copy, state);
	disc_state_free(copy);
	disc_store_close(s, false);
	disc_state_free(state);
	disc_state_free(wanted);
	block_unref(node);
}

static void test_rows_go_away(void)
{
	struct block_node *node = new_disc(PROFILE_CD_RW, TEST_BLOCKS);
	struct disc_state *state, *again;
	struct disc_store *s = must_open(node, STORE_RDWR, &state);

	add_session(state, 0);
	for (unsigned i = 0; i < 50; i++)
		add_track(state, (int32_t)i * 10, 0);
	state_put_blob(state, 5, 1, "a", 1);
	state_put_blob(state, 5, 2, "b", 1);
	state_put_blob(state, 5, 3, "c", 1);
	assert_int_equal(disc_store_commit(s, state, false), 0);
	g_array_set_size(state->tracks, 7);
	g_array_set_size(state->sessions, 0);
	state_put_blob(state, 5, 2, NULL, 0);
	assert_int_equal(disc_store_commit(s, state, false), 0);
	disc_store_close(s, true);
	s = must_open(node, 0, &again);
	assert_same(again, state);
	disc_store_close(s, false);
	disc_state_free(again);
	disc_state_free(state);
	block_unref(node);
}

static void test_nothing_changed_writes_nothing(void)
{
	struct block_node *node = new_disc(PROFILE_DVD_R, TEST_BLOCKS);
	struct block_stats before, after;
	struct disc_state *state;
	struct disc_store *s = must_open(node, STORE_RDWR, &state);

	block_get_stats(node, &before);
	assert_int_equal(disc_store_commit(s, state, true), 0);
	disc_store_close(s, false);
	block_get_stats(node, &after);
	assert_int_equal(after.writes, before.writes);
	disc_state_free(state);
	block_unref(node);
}

/* A commit costs one write of one block, whatever the number of tracks. */
static void test_only_changed_rows_are_journaled(void)
{
	struct block_node *node = new_disc(PROFILE_BD_R_SRM, 100000);
	struct block_stats before, after;
	struct disc_state *state;
	struct disc_store *s = must_open(node, STORE_RDWR, &state);

	add_session(state, 0);
	for (unsigned i = 0; i < 7927; i++)
		add_track(state, (int32_t)i * 10, TRACK_OPEN);
	assert_int_equal(disc_store_commit(s, state, false), 0);
	state_track(state, 4711)->flags = 0;
	block_get_stats(node, &before);
	assert_int_equal(disc_store_commit(s, state, false), 0);
	block_get_stats(node, &after);
	assert_int_equal(after.writes - before.writes, 1);
	assert_int_equal(after.write_bytes - before.write_bytes, 4096);
	disc_store_close(s, true);
	disc_state_free(state);
	s = must_open(node, 0, &state);
	assert_int_equal(state->tracks->len, 7927);
	assert_int_equal(state_track(state, 4711)->flags, 0);
	assert_int_equal(state_track(state, 4712)->flags, TRACK_OPEN);
	disc_store_close(s, false);
	disc_state_free(state);
	block_unref(node);
}

static void test_full_journal_goes_to_the_other_slot(void)
{
	struct block_node *node = new_disc(PROFILE_DVD_PLUS_R, TEST_BLOCKS);
	struct disc_store_info first, last;
	struct disc_state *state;
	struct disc_store *s = must_open(node, STORE_RDWR, &state);

	disc_store_get_info(s, &first);
	for (unsigned i = 0; i < 600; i++) {
		state->erase_count = i;
		assert_int_equal(disc_store_commit(s, state, false), 0);
	}
	disc_store_get_info(s, &last);
	assert_int_equal(last.generation, first.generation + 2);
	disc_store_close(s, true);
	disc_state_free(state);
	s = must_open(node, 0, &state);
	assert_int_equal(state->erase_count, 599);
	disc_store_close(s, false);
	disc_state_free(state);
	block_unref(node);
}

static void test_state_too_large_changes_nothing(void)
{
	struct block_node *node = new_disc(PROFILE_BD_R_SRM, 100000);
	struct disc_state *state, *again;
	struct disc_store *s = must_open(node, STORE_RDWR, &state);
	uint8_t *big = g_malloc0(1 << 20);

	state_put_blob(state, 9, 1, big, 1 << 20);
	assert_int_equal(disc_store_commit(s, state, false), -ENOSPC);
	state_put_blob(state, 9, 1, big, 900 << 10);
	assert_int_equal(disc_store_commit(s, state, false), 0);
	state_put_blob(state, 10, 1, big, 100 << 10); /* fits the journal, not the slot */
	assert_int_equal(disc_store_commit(s, state, false), 0);
	state_put_blob(state, 11, 1, big, 30 << 10);
	assert_int_equal(disc_store_commit(s, state, false), -ENOSPC);
	state_put_blob(state, 11, 1, NULL, 0);
	disc_store_close(s, true);
	s = must_open(node, STORE_RDWR, &again);
	assert_same(again, state);
	disc_store_close(s, false);
	disc_state_free(again);
	disc_state_free(state);
	g_free(big);
	block_unref(node);
}

static void swallow(enum log_level level, const char *area, const char *text, void *arg)
{
	(void)level;
	(void)area;
	(void)text;
	(void)arg;
}

static void test_wrong_states_are_not_committed(void)
{
	struct block_node *node = new_disc(PROFILE_DVD_PLUS_R, TEST_BLOCKS);
	struct disc_punch punch = {.off = (uint64_t)TEST_BLOCKS * 2048 + (1 << 20), .len = 4096};
	struct disc_state *state;
	struct disc_store *s = must_open(node, STORE_RDWR, &state);

	log_set_sink(swallow, NULL); /* each refusal is logged, being a fault of the program */
	add_track(state, 0, 0)->number = 2;
	assert_int_equal(disc_store_commit(s, state, false), -EINVAL);
	state_track(state, 1)->number = 1;
	state->max_blocks++;
	assert_int_equal(disc_store_commit(s, state, false), -EINVAL);
	state->max_blocks--;
	state_put_blob(state, 99, 1, "x", 1);
	assert_int_equal(disc_store_commit(s, state, false), -EINVAL);
	state_put_blob(state, 99, 1, NULL, 0);
	g_array_append_val(state->punches, punch);
	assert_int_equal(disc_store_commit(s, state, false), -EINVAL);
	log_set_sink(NULL, NULL);
	g_array_set_size(state->punches, 0);
	assert_int_equal(disc_store_commit(s, state, false), 0);
	disc_store_close(s, false);
	disc_state_free(state);
	block_unref(node);
}

static void check_plane(struct disc_store *s, enum disc_plane plane, int32_t lba, uint32_t len)
{
	uint8_t *buf = g_malloc(2 * len), *back = g_malloc(2 * len);
	struct iovec v[2] = {{buf, len / 2 + 1}, {buf + len / 2 + 1, 2 * len - len / 2 - 1}}, one;
	struct iovs out = {v, 2, 2 * len}, in = iovs_one(&one, back, 2 * len);

	for (unsigned i = 0; i < 2 * len; i++)
		buf[i] = (uint8_t)(i * 7 + (unsigned)lba + plane);
	assert_int_equal(disc_store_write(s, plane, lba, 2, &out), 0);
	assert_int_equal(disc_store_read(s, plane, lba, 2, &in), 0);
	assert_memory_equal(buf, back, 2 * len);
	in.len = 2 * len - 1;
	assert_int_equal(disc_store_read(s, plane, lba, 2, &in), -EINVAL);
	g_free(buf);
	g_free(back);
}

static void test_planes_of_a_cd(void)
{
	static const struct {
		enum disc_plane plane;
		uint32_t len;
		int32_t first;
	} planes[] = {
		{PLANE_USER, 2048, 0},
		{PLANE_RAW, 2352, -45150},
		{PLANE_SUB, 96, -45150},
		{PLANE_KIND, 1, -45150},
	};
	struct block_node *node = new_disc(PROFILE_CD_R, TEST_BLOCKS);
	struct disc_state *state;
	struct disc_store *s = must_open(node, STORE_RDWR, &state);
	uint8_t buf[4096];
	struct iovec one;
	struct iovs iov = iovs_one(&one, buf, 2048);

	for (unsigned i = 0; i < G_N_ELEMENTS(planes); i++) {
		check_plane(s, planes[i].plane, planes[i].first, planes[i].len);
		check_plane(s, planes[i].plane, TEST_BLOCKS - 2, planes[i].len);
	}
	for (unsigned i = 0; i < G_N_ELEMENTS(planes); i++) {
		iov.len = one.iov_len = planes[i].len;
		assert_int_equal(disc_store_read(s, planes[i].plane, planes[i].first - 1, 1, &iov),
				 -EINVAL);
		assert_int_equal(disc_store_read(s, planes[i].plane, TEST_BLOCKS, 1, &iov),
				 -EINVAL);
		assert_int_equal(disc_store_write(s, planes[i].plane, INT32_MAX, 1, &iov), -EINVAL);
		assert_int_equal(disc_store_write(s, planes[i].plane, INT32_MIN, 1, &iov), -EINVAL);
		assert_int_equal(disc_store_punch(s, planes[i].plane, TEST_BLOCKS - 1, 2), -EINVAL);
	}
	/* Block n of the user plane is at byte 2048 * n of the file. */
	fill(buf, 5, 1);
	iov.len = one.iov_len = 2048;
	assert_int_equal(disc_store_write(s, PLANE_USER, 5, 1, &iov), 0);
	assert_int_equal(block_pread(node, 5 * 2048, buf + 2048, 2048), 0);
	assert_memory_equal(buf, buf + 2048, 2048);
	assert_int_equal(disc_store_punch(s, PLANE_USER, 5, 1), 0);
	assert_int_equal(disc_store_read(s, PLANE_USER, 5, 1, &iov), 0);
	for (unsigned i = 0; i < 2048; i++)
		assert_int_equal(buf[i], 0);
	disc_store_close(s, false);
	disc_state_free(state);
	block_unref(node);
}

static void open_track_of(struct block_node *node, int32_t nwa)
{
	struct disc_state *state;
	struct disc_store *s = must_open(node, STORE_RDWR, &state);

	add_session(state, 0);
	add_track(state, 0, TRACK_OPEN);
	assert_int_equal(disc_store_commit(s, state, false), 0);
	for (int32_t at = 1; at <= nwa; at++) {
		state_track(state, 1)->nwa = at;
		disc_store_progress(s, state);
	}
	disc_store_close(s, true);
	disc_state_free(state);
}

static void test_progress_counts_on_the_same_boot(void)
{
	struct block_node *node = new_disc(PROFILE_DVD_PLUS_R, TEST_BLOCKS);
	struct disc_store_info info;
	struct disc_state *state;
	struct disc_store *s;

	open_track_of(node, 123);
	s = must_open(node, 0, &state);
	assert_int_equal(state_track(state, 1)->nwa, 123);
	disc_store_get_info(s, &info);
	assert_true(info.recovered);
	disc_store_close(s, false);
	disc_state_free(state);
	s = must_open(node, STORE_RDWR, &state);
	assert_int_equal(state_track(state, 1)->nwa, 123);
	disc_store_close(s, true);
	disc_state_free(state);
	block_unref(node);
}

static void test_progress_of_another_boot_is_ignored(void)
{
	struct block_node *node = new_disc(PROFILE_DVD_PLUS_R, TEST_BLOCKS);
	struct disc_state *state;
	struct disc_store *s;

	open_track_of(node, 123);
	block_ref(node);
	s = disc_store_open_boot(node, STORE_RDWR, other_boot, &state, NULL);
	assert_non_null(s);
	assert_int_equal(state_track(state, 1)->nwa, 0);
	disc_store_close(s, true);
	disc_state_free(state);
	/* What the machine lost must not come back with the old boot id either: there was a
	 * checkpoint. */
	s = must_open(node, 0, &state);
	assert_int_equal(state_track(state, 1)->nwa, 0);
	disc_store_close(s, true);
	disc_state_free(state);
	block_unref(node);
}

/* The process may die inside a store to the page: then the line before counts, which is what the
 * host was told. */
static void test_torn_progress_line(void)
{
	static const struct {
		bool first, second;
	} torn[] = {
		{false, false},
		{true, false},
		{false, true},
		{true, true},
	};
	struct block_node *node = new_disc(PROFILE_DVD_PLUS_R, TEST_BLOCKS);
	uint64_t page = block_length(node) - 0x600000 + 0x10000;
	int32_t nwa[4];

	open_track_of(node, 123);
	for (unsigned i = 0; i < 4; i++) {
		struct block_node *fork = block_mem_fork(node);
		struct disc_state *state;

		if (torn[i].first)
			assert_int_equal(block_pwrite(fork, page + 44, "?", 1, 0), 0);
		if (torn[i].second)
			assert_int_equal(block_pwrite(fork, page + 2048 + 44, "?", 1, 0), 0);
		disc_store_close(must_open(fork, 0, &state), true);
		nwa[i] = state_track(state, 1)->nwa;
		disc_state_free(state);
		block_unref(fork);
	}
	assert_int_equal(nwa[0], 123);
	assert_int_equal(nwa[1] + nwa[2], 122 + 123);
	assert_int_equal(nwa[3], 0);
	block_unref(node);
}

static void test_stale_progress_does_not_speak_for_a_new_track(void)
{
	struct block_node *node = new_disc(PROFILE_DVD_RW_SEQ, TEST_BLOCKS);
	struct disc_state *state;
	struct disc_store *s = must_open(node, STORE_RDWR, &state);

	add_session(state, 0);
	add_track(state, 0, TRACK_OPEN);
	assert_int_equal(disc_store_commit(s, state, false), 0);
	state_track(state, 1)->nwa = 500;
	disc_store_progress(s, state);
	g_array_set_size(state->tracks, 0); /* blanked ... */
	assert_int_equal(disc_store_commit(s, state, false), 0);
	add_track(state, 0, TRACK_OPEN); /* ... and begun again */
	assert_int_equal(disc_store_commit(s, state, false), 0);
	disc_store_close(s, true);
	disc_state_free(state);
	s = must_open(node, STORE_RDWR, &state);
	assert_int_equal(state_track(state, 1)->nwa, 0);
	state_track(state, 1)->nwa = 400;
	disc_store_progress(s, state);
	state_track(state, 1)->nwa = 0; /* both in one commit */
	assert_int_equal(disc_store_commit(s, state, false), 0);
	disc_store_close(s, true);
	disc_state_free(state);
	s = must_open(node, STORE_RDWR, &state);
	assert_int_equal(state_track(state, 1)->nwa, 0);
	state_track(state, 1)->nwa = 300;
	disc_store_progress(s, state);
	state_track(state, 1)->flags = 0; /* closed first, then blanked */
	assert_int_equal(disc_store_commit(s, state, false), 0);
	g_array_set_size(state->tracks, 0);
	assert_int_equal(disc_store_commit(s, state, false), 0);
	add_track(state, 0, TRACK_OPEN);
	assert_int_equal(disc_store_commit(s, state, false), 0);
	disc_store_close(s, true);
	disc_state_free(state);
	s = must_open(node, STORE_RDWR, &state);
	assert_int_equal(state_track(state, 1)->nwa, 0);
	disc_store_close(s, true);
	disc_state_free(state);
	block_unref(node);
}

static void test_progress_survives_a_checkpoint(void)
{
	struct block_node *node = new_disc(PROFILE_DVD_PLUS_R, TEST_BLOCKS);
	struct disc_state *state;
	struct disc_store *s = must_open(node, STORE_RDWR, &state);

	add_session(state, 0);
	add_track(state, 0, TRACK_OPEN);
	add_track(state, 300, TRACK_OPEN | TRACK_RESERVED);
	assert_int_equal(disc_store_commit(s, state, false), 0);
	for (unsigned i = 0; i < 560; i++) { /* two full journals */
		state->erase_count = i;
		state_track(state, 2)->nwa = 300 + (int32_t)i / 2;
		disc_store_progress(s, state);
		assert_int_equal(disc_store_commit(s, state, false), 0);
	}
	state_track(state, 1)->nwa = 44;
	disc_store_progress(s, state);
	disc_store_close(s, false);
	disc_state_free(state);
	s = must_open(node, STORE_RDWR, &state);
	assert_int_equal(state_track(state, 1)->nwa, 44);
	assert_int_equal(state_track(state, 2)->nwa, 300 + 559 / 2);
	disc_store_close(s, true);
	disc_state_free(state);
	block_unref(node);
}

static void test_pending_punches_are_finished(void)
{
	struct block_node *node = new_disc(PROFILE_DVD_RW_SEQ, TEST_BLOCKS);
	uint8_t buf[4096], zero[2048] = {0};
	struct disc_punch punch;
	struct disc_state *state;
	struct disc_store *s = must_open(node, STORE_RDWR, &state);
	struct iovec one;
	struct iovs iov = iovs_one(&one, buf, 4096);

	memset(buf, 0xee, sizeof(buf));
	assert_int_equal(disc_store_write(s, PLANE_USER, 10, 2, &iov), 0);
	assert_true(disc_store_plane_range(s, PLANE_USER, 11, 100, &punch));
	g_array_append_val(state->punches, punch);
	assert_int_equal(disc_store_commit(s, state, false), 0);
	disc_store_close(s, true);
	disc_state_free(state);
	s = must_open(node, 0, &state); /* a reader may not punch, and must not see it */
	assert_int_equal(disc_store_read(s, PLANE_USER, 10, 2, &iov), 0);
	assert_int_equal(buf[2047], 0xee);
	assert_memory_equal(buf + 2048, zero, 2048);
	disc_store_close(s, true);
	disc_state_free(state);
	assert_int_equal(block_pread(node, 11 * 2048, buf, 1), 0);
	assert_int_equal(buf[0], 0xee);
	s = must_open(node, STORE_RDWR, &state);
	assert_int_equal(state->punches->len, 0);
	assert_int_equal(block_pread(node, 11 * 2048, buf, 2048), 0);
	assert_memory_equal(buf, zero, 2048);
	disc_store_close(s, true);
	disc_state_free(state);
	block_unref(node);
}

static void test_history(void)
{
	struct block_node *node = new_disc(PROFILE_CD_R, TEST_BLOCKS);
	struct disc_history h = {.event = EVENT_TRACK_CLOSED, .lba = -150, .blocks = 1ull << 33};
	struct disc_history *list;
	struct disc_state *state;
	struct disc_store *s = must_open(node, STORE_RDWR, &state);
	unsigned n, size = 0xe0000 / 32;

	list = disc_store_read_history(s, &n);
	assert_int_equal(n, 1);
	assert_int_equal(list[0].event, EVENT_CREATED);
	g_free(list);
	for (unsigned i = 0; i < size + 10; i++) { /* over the end of the ring */
		h.time_ns = i + 1;
		assert_int_equal(disc_store_add_history(s, &h), 0);
	}
	disc_store_close(s, false);
	disc_state_free(state);
	s = must_open(node, STORE_RDWR, &state);
	h.event = EVENT_FINALISED;
	h.time_ns = 77;
	assert_int_equal(disc_store_add_history(s, &h), 0);
	list = disc_store_read_history(s, &n);
	assert_int_equal(n, size);
	assert_int_equal(list[n - 1].event, EVENT_FINALISED);
	assert_int_equal(list[n - 1].time_ns, 77);
	assert_int_equal(list[n - 2].time_ns, size + 10);
	assert_int_equal(list[n - 2].lba, -150);
	assert_int_equal(list[n - 2].blocks, 1ull << 33);
	assert_int_equal(list[0].time_ns, 12);
	g_free(list);
	disc_store_close(s, false);
	disc_state_free(state);
	block_unref(node);
}

static void test_failed_checkpoint_ends_the_journal(void)
{
	struct block_node *fault = fault_new(new_disc(PROFILE_DVD_PLUS_R, TEST_BLOCKS));
	struct fault_rule broken = {
		.op = FAULT_WRITE, .times = 1, .errnum = EIO, .shorten = 1 << 20};
	struct disc_state *state;
	struct disc_store *s = must_open(fault, STORE_RDWR, &state);

	for (unsigned i = 0; i < 256; i++) {
		state->erase_count = i + 1;
		assert_int_equal(disc_store_commit(s, state, false), 0);
	}
	/* The checkpoint fails although all of it reached the medium; what comes after must win all
	 * the same. */
	fault_add(fault, &broken);
	state->erase_count = 1000;
	assert_int_equal(disc_store_commit(s, state, false), -EIO);
	fault_clear(fault);
	state->erase_count = 1001;
	assert_int_equal(disc_store_commit(s, state, false), 0);
	disc_store_close(s, true);
	disc_state_free(state);
	s = must_open(fault, STORE_RDWR, &state);
	assert_int_equal(state->erase_count, 1001);
	disc_store_close(s, true);
	disc_state_free(state);
	block_unref(fault);
}

static void test_failed_flush_stays_failed(void)
{
	struct block_node *fault = fault_new(new_disc(PROFILE_DVD_PLUS_R, TEST_BLOCKS));
	struct fault_rule broken = {.op = FAULT_FLUSH, .times = 1, .errnum = EIO};
	uint8_t buf[2048] = {1};
	struct disc_state *state, *again;
	struct iovec one;
	struct iovs iov = iovs_one(&one, buf, sizeof(buf));
	struct disc_store *s = must_open(fault, STORE_RDWR, &state);

	assert_int_equal(disc_store_write(s, PLANE_USER, 0, 1, &iov), 0);
	fault_add(fault, &broken);
	state->erase_count = 5;
	assert_int_equal(disc_store_commit(s, state, true), -EIO);
	assert_int_equal(disc_store_commit(s, state, true), -EIO);
	disc_store_close(s, true);
	s = must_open(fault, 0, &again);
	assert_int_equal(again->erase_count, 0);
	disc_store_close(s, true);
	disc_state_free(again);
	disc_state_free(state);
	block_unref(fault);
}

#define IN_LOOP(name)                          \
	static co_fn void name##_co(void *arg) \
	{                                      \
		(void)arg;                     \
		name();                        \
	}                                      \
	static void run_##name(void **state)   \
	{                                      \
		(void)state;                   \
		run_in_loop(name##_co, NULL);  \
	}

IN_LOOP(test_new_disc_opens_as_created)
IN_LOOP(test_everything_committed_comes_back)
IN_LOOP(test_rows_go_away)
IN_LOOP(test_nothing_changed_writes_nothing)
IN_LOOP(test_only_changed_rows_are_journaled)
IN_LOOP(test_full_journal_goes_to_the_other_slot)
IN_LOOP(test_state_too_large_changes_nothing)
IN_LOOP(test_wrong_states_are_not_committed)
IN_LOOP(test_planes_of_a_cd)
IN_LOOP(test_progress_counts_on_the_same_boot)
IN_LOOP(test_progress_of_another_boot_is_ignored)
IN_LOOP(test_torn_progress_line)
IN_LOOP(test_stale_progress_does_not_speak_for_a_new_track)
IN_LOOP(test_progress_survives_a_checkpoint)
IN_LOOP(test_pending_punches_are_finished)
IN_LOOP(test_history)
IN_LOOP(test_failed_checkpoint_ends_the_journal)
IN_LOOP(test_failed_flush_stays_failed)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(run_test_new_disc_opens_as_created),
		cmocka_unit_test(run_test_everything_committed_comes_back),
		cmocka_unit_test(run_test_rows_go_away),
		cmocka_unit_test(run_test_nothing_changed_writes_nothing),
		cmocka_unit_test(run_test_only_changed_rows_are_journaled),
		cmocka_unit_test(run_test_full_journal_goes_to_the_other_slot),
		cmocka_unit_test(run_test_state_too_large_changes_nothing),
		cmocka_unit_test(run_test_wrong_states_are_not_committed),
		cmocka_unit_test(run_test_planes_of_a_cd),
		cmocka_unit_test(run_test_progress_counts_on_the_same_boot),
		cmocka_unit_test(run_test_progress_of_another_boot_is_ignored),
		cmocka_unit_test(run_test_torn_progress_line),
		cmocka_unit_test(run_test_stale_progress_does_not_speak_for_a_new_track),
		cmocka_unit_test(run_test_progress_survives_a_checkpoint),
		cmocka_unit_test(run_test_pending_punches_are_finished),
		cmocka_unit_test(run_test_history),
		cmocka_unit_test(run_test_failed_checkpoint_ends_the_journal),
		cmocka_unit_test(run_test_failed_flush_stays_failed),
	};

	return RUN_LOOP_TESTS(tests);
}
