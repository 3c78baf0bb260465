#include "disc_fixture.h"

#include "base/bytes.h"
#include "base/loop.h"

#include <glib/gstdio.h>
#include <string.h>

static char *dir;
static char *text;

struct body {
	struct loop *loop;
	void (*fn)(void *arg);
	void *arg;
};

static void run_body(void *arg)
{
	struct body *b = arg;

	b->fn(b->arg);
	loop_stop(b->loop);
}

void run_in_loop(void (*fn)(void *arg), void *arg)
{
	GError *error = NULL;
	struct body b = {loop_new(LOOP_AUTO, &error), fn, arg};

	if (!b.loop)
		fail_msg("%s", error->message);
	co_start(b.loop, run_body, &b);
	loop_run(b.loop);
	loop_free(b.loop);
}

const char *fixture_dir(void)
{
	if (!dir)
		dir = g_dir_make_tmp("outboard-disc-XXXXXX", NULL);
	assert_non_null(dir);
	return dir;
}

int fixture_end(void **state)
{
	(void)state;
	if (dir && g_rmdir(dir) < 0)
		return -1; /* a test left something behind */
	g_clear_pointer(&dir, g_free);
	g_clear_pointer(&text, g_free);
	return 0;
}

char *fixture_path(const char *name)
{
	return g_build_filename(fixture_dir(), name, NULL);
}

static co_fn struct disc *open_disc(const char *path)
{
	GError *error = NULL;
	struct disc *d = disc_open(path, DISC_OPEN_RDWR, 0, &error);

	if (!d)
		fail_msg("%s", error->message);
	return d;
}

co_fn struct disc *new_disc(const char *type, uint32_t blocks)
{
	char *path = fixture_path("test.disc");
	GError *error = NULL;
	struct disc *d;

	if (!disc_create(path, disc_type_find(type), blocks, false, &error))
		fail_msg("%s", error->message);
	d = open_disc(path);
	g_free(path);
	return d;
}

co_fn struct disc *reopen(struct disc *d, bool abandon)
{
	char *path = g_strdup(disc_name(d));

	disc_close(d, abandon);
	d = open_disc(path);
	g_free(path);
	return d;
}

co_fn void end_disc(struct disc *d)
{
	char *path = g_strdup(disc_name(d));

	disc_close(d, false);
	g_unlink(path);
	g_free(path);
}

void set_mode(struct disc *d, unsigned write_type, unsigned multisession)
{
	struct disc_write_params p = {
		.write_type = (uint8_t)write_type,
		.multisession = (uint8_t)multisession,
		.track_mode = 4,
		.block_type = 8,
	};

	disc_set_write_params(d, &p);
}

void set_test_mode(struct disc *d, unsigned write_type)
{
	struct disc_write_params p = {
		.write_type = (uint8_t)write_type,
		.track_mode = 4,
		.block_type = 8,
		.test_write = true,
	};

	disc_set_write_params(d, &p);
}

void fill(uint8_t *buf, uint32_t blocks, uint32_t seed)
{
	for (uint32_t i = 0; i < blocks; i++) {
		memset(buf + i * BLOCK, (int)(seed * 31 + i), BLOCK);
		put_be32(buf + i * BLOCK, seed);
		put_be32(buf + i * BLOCK + 4, i);
	}
}

static co_fn enum disc_status write_pattern(struct disc *d, int32_t lba, uint32_t blocks,
					    uint32_t seed, bool replay)
{
	uint8_t *buf = g_malloc((size_t)blocks * BLOCK);
	struct iovec v;
	struct iovs iov = iovs_one(&v, buf, (size_t)blocks * BLOCK);
	enum disc_status status;

	fill(buf, blocks, seed);
	status = disc_write(d, lba, blocks, &iov, replay);
	g_free(buf);
	return status;
}

co_fn enum disc_status put(struct disc *d, int32_t lba, uint32_t blocks, uint32_t seed)
{
	return write_pattern(d, lba, blocks, seed, false);
}

co_fn enum disc_status put_again(struct disc *d, int32_t lba, uint32_t blocks, uint32_t seed)
{
	return write_pattern(d, lba, blocks, seed, true);
}

static co_fn enum disc_status read_blocks(struct disc *d, int32_t lba, uint32_t blocks,
					  uint8_t *buf)
{
	struct iovec v;
	struct iovs iov = iovs_one(&v, buf, (size_t)blocks * BLOCK);

	memset(buf, 0xee, (size_t)blocks * BLOCK);
	return disc_read(d, lba, blocks, &iov);
}

co_fn enum disc_status check(struct disc *d, int32_t lba, uint32_t blocks, uint32_t seed,
			     bool *same)
{
	uint8_t *want = g_malloc((size_t)blocks * BLOCK), *got = g_malloc((size_t)blocks * BLOCK);
	enum disc_status status = read_blocks(d, lba, blocks, got);

	fill(want, blocks, seed);
	*same = memcmp(want, got, (size_t)blocks * BLOCK) == 0;
	g_free(want);
	g_free(got);
	return status;
}

co_fn enum disc_status check_zero(struct disc *d, int32_t lba, uint32_t blocks, bool *zero)
{
	uint8_t *want = g_malloc0((size_t)blocks * BLOCK), *got = g_malloc((size_t)blocks * BLOCK);
	enum disc_status status = read_blocks(d, lba, blocks, got);

	*zero = memcmp(want, got, (size_t)blocks * BLOCK) == 0;
	g_free(want);
	g_free(got);
	return status;
}

co_fn enum disc_status try_read(struct disc *d, int32_t lba, uint32_t blocks)
{
	uint8_t *got = g_malloc((size_t)blocks * BLOCK);
	enum disc_status status = read_blocks(d, lba, blocks, got);

	g_free(got);
	return status;
}

static void dump_track(GString *s, const struct disc *d, unsigned number)
{
	struct disc_track_info t;

	if (disc_get_track_info(d, number, &t) != DISC_OK) {
		g_string_append_printf(s, "track %u: none\n", number);
		return;
	}
	g_string_append_printf(s, "track %u/%u mode %u%x %s%s%s%s start %d", t.number, t.session,
			       t.control, t.data_mode, t.reserved ? "R" : "-", t.blank ? "B" : "-",
			       t.packet ? "P" : "-", t.fixed ? "F" : "-", t.start);
	if (t.nwa_valid)
		g_string_append_printf(s, " nwa %d", t.nwa);
	g_string_append_printf(s, " free %u size %u", t.free_blocks, t.size);
	if (t.lra_valid)
		g_string_append_printf(s, " last %d", t.last_recorded);
	g_string_append_c(s, '\n');
}

const char *dump(const struct disc *d)
{
	static const char *const status[] = {"blank", "appendable", "complete", "other"};
	static const char *const session[] = {"empty", "incomplete", "?", "complete"};
	const struct disc_state *st = disc_get_state(d);
	GString *s = g_string_new(NULL);

	g_string_append_printf(s, "%02x %s %s, sessions %u, tracks %u-%u, end %u\n", st->profile,
			       status[st->status], session[disc_last_session_state(d)],
			       disc_sessions(d), disc_first_track_of_last_session(d),
			       disc_last_track(d), disc_last_lba(d));
	for (unsigned i = 1; i <= st->sessions->len; i++) {
		const struct disc_session *n = state_session(st, i);

		g_string_append_printf(s, "session %u %s start %d out %d next %d\n", n->number,
				       session[n->state], n->start, n->lead_out, n->next_area);
	}
	for (unsigned i = 1; i <= disc_last_track(d); i++)
		dump_track(s, d, i);
	g_free(text);
	text = g_string_free(s, FALSE);
	return text;
}
