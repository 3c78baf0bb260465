/*
 * Progress lines: how far open tracks were written, for the case that this process dies and the
 * machine does not.
 *
 * Two lines take turns in a page that is mapped shared, so telling costs a few stores and no system
 * call. A line counts when its checksum is right, its boot id is this boot's, its nonce is that of
 * the slot in use or of the slot before (a checkpoint may have come between), and its epoch is the
 * state's: the epoch changes with every commit that opens a track or takes one back, so that a
 * stale line cannot speak for a new track of the same number.
 *
 * Where there is no mapping a coroutine writes the line; then a line may be missing, never wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/err.h"
#include "base/log.h"
#include "disc/store_priv.h"

static const char magic[4] = "OBPL";

enum {
	PL_MAGIC = 0,
	PL_CRC = 4,
	PL_BOOT_ID = 8,
	PL_GENERATION = 24,
	PL_NONCE = 32,
	PL_COUNTER = 40,
	PL_EPOCH = 48,
	PL_COUNT = 52,
	PL_TRACKS = 56,
	PL_TRACK_LEN = 8,
	N_LINES = 2,
};

void progress_read_boot_id(uint8_t boot_id[BOOT_ID_LEN])
{
	char text[64] = "";
	unsigned nibbles = 0;
	ssize_t n;
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	memset(boot_id, 0, BOOT_ID_LEN);
	if (fd < 0)
		return;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	for (ssize_t i = 0; i < n && nibbles < 2 * BOOT_ID_LEN; i++) {
		if (g_ascii_isxdigit(text[i])) {
			boot_id[nibbles / 2] = (uint8_t)(boot_id[nibbles / 2] << 4 |
							 g_ascii_xdigit_value(text[i]));
			nibbles++;
		}
	}
	if (nibbles < 2 * BOOT_ID_LEN)
		memset(boot_id, 0, BOOT_ID_LEN);
}

static bool boot_known(const struct disc_store *s)
{
	static const uint8_t unknown[BOOT_ID_LEN];

	return memcmp(s->boot_id, unknown, BOOT_ID_LEN) != 0;
}

static uint32_t line_crc(const uint8_t *line, uint32_t n)
{
	static const uint8_t zero[4];
	uint32_t crc = crc32c(0, line, PL_CRC);

	crc = crc32c(crc, zero, sizeof(zero));
	return crc32c(crc, line + PL_CRC + 4, PL_TRACKS + n * PL_TRACK_LEN - PL_CRC - 4);
}

static bool line_intact(const uint8_t *line)
{
	uint32_t n = get_le32(line + PL_COUNT);

	return memcmp(line, magic, sizeof(magic)) == 0 && n <= PROGRESS_MAX &&
	       line_crc(line, n) == get_le32(line + PL_CRC);
}

static bool line_counts(const struct disc_store *s, const uint8_t *line)
{
	uint64_t nonce = get_le64(line + PL_NONCE);

	return boot_known(s) && memcmp(line + PL_BOOT_ID, s->boot_id, BOOT_ID_LEN) == 0 &&
	       (nonce == s->slot.nonce || nonce == s->slot.prev_nonce) &&
	       get_le32(line + PL_EPOCH) == s->epoch;
}

static void apply_line(struct disc_store *s, struct disc_state *state, const uint8_t *line)
{
	uint32_t n = get_le32(line + PL_COUNT);

	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *p = line + PL_TRACKS + i * PL_TRACK_LEN;
		struct disc_track *t = state_track(state, get_le32(p));
		int32_t nwa = (int32_t)get_le32(p + 4);

		if (!t || !(t->flags & TRACK_OPEN) || nwa <= t->nwa ||
		    nwa > (int64_t)state->max_blocks)
			continue;
		t->nwa = nwa;
		s->recovered = true;
	}
}

co_fn bool progress_load(struct disc_store *s, struct disc_state *state, GError **error)
{
	uint8_t *page = g_malloc(N_LINES * PROGRESS_LINE);
	const uint8_t *best = NULL;
	int res = block_pread(s->node, s->super.progress_off, page, N_LINES * PROGRESS_LINE);

	for (unsigned i = 0; i < N_LINES && res == 0; i++) {
		const uint8_t *line = page + i * PROGRESS_LINE;

		if (!line_intact(line))
			continue;
		s->line_counter = MAX(s->line_counter, get_le64(line + PL_COUNTER));
		if (line_counts(s, line) &&
		    (!best || get_le64(line + PL_COUNTER) > get_le64(best + PL_COUNTER)))
			best = line;
	}
	if (best)
		apply_line(s, state, best);
	g_free(page);
	return res == 0 || err_set_errno(error, -res, "reading the progress page at 0x%" PRIx64,
					 s->super.progress_off);
}

void progress_map(struct disc_store *s)
{
	s->lines = block_map_shared(s->node, s->super.progress_off, STORE_BLOCK);
}

static void build_line(struct disc_store *s, uint8_t *line)
{
	uint32_t n = 0;

	memset(line, 0, PL_TRACKS);
	for (unsigned i = 0; i < s->n_open; i++) {
		const struct open_track *t = &s->open_tracks[i];

		if (t->told <= t->committed)
			continue;
		put_le32(line + PL_TRACKS + n * PL_TRACK_LEN, t->number);
		put_le32(line + PL_TRACKS + n * PL_TRACK_LEN + 4, (uint32_t)t->told);
		n++;
	}
	memcpy(line, magic, sizeof(magic));
	memcpy(line + PL_BOOT_ID, s->boot_id, BOOT_ID_LEN);
	put_le64(line + PL_GENERATION, s->slot.generation);
	put_le64(line + PL_NONCE, s->slot.nonce);
	put_le64(line + PL_COUNTER, ++s->line_counter);
	put_le32(line + PL_EPOCH, s->epoch);
	put_le32(line + PL_COUNT, n);
	put_le32(line + PL_CRC, line_crc(line, n));
}

static co_fn void write_lines(void *arg)
{
	struct disc_store *s = arg;
	uint8_t *line = g_malloc0(PROGRESS_LINE);

	while (s->line_wanted) {
		uint64_t off;
		int res;

		s->line_wanted = false;
		build_line(s, line);
		off = s->super.progress_off + s->line_counter % N_LINES * PROGRESS_LINE;
		res = block_pwrite(s->node, off, line, PROGRESS_LINE, 0);
		if (res < 0)
			log_line(LOG_WARN, "disc", "%s: progress line: %s", block_name(s->node),
				 strerror(-res));
	}
	g_free(line);
	s->line_writing = false;
	co_queue_wake_all(&s->line_waiting);
}

static void tell(struct disc_store *s)
{
	uint8_t line[PROGRESS_LINE];

	if (!boot_known(s))
		return;
	if (s->lines) {
		build_line(s, line);
		memcpy(s->lines + s->line_counter % N_LINES * PROGRESS_LINE, line,
		       PL_TRACKS + get_le32(line + PL_COUNT) * PL_TRACK_LEN);
		return;
	}
	s->line_wanted = true;
	if (s->line_writing)
		return;
	s->line_writing = true;
	co_start(co_loop(), write_lines, s);
}

void disc_store_progress(struct disc_store *s, const struct disc_state *state)
{
	bool news = false;

	if (!s->writable)
		return;
	for (unsigned i = 0; i < s->n_open; i++) {
		const struct disc_track *t = state_track(state, s->open_tracks[i].number);

		if (t && t->flags & TRACK_OPEN && t->nwa > s->open_tracks[i].told) {
			s->open_tracks[i].told = t->nwa;
			news = true;
		}
	}
	if (news)
		tell(s);
}

static const struct open_track *find_open(const struct disc_store *s, unsigned number)
{
	for (unsigned i = 0; i < s->n_open; i++)
		if (s->open_tracks[i].number == number)
			return &s->open_tracks[i];
	return NULL;
}

bool progress_breaks(const struct disc_store *s, const struct disc_state *state)
{
	for (unsigned i = 0; i < state->tracks->len; i++) {
		const struct disc_track *t = &g_array_index(state->tracks, struct disc_track, i);
		const struct open_track *open;
		struct disc_track was;

		if (!(t->flags & TRACK_OPEN))
			continue;
		open = find_open(s, t->number);
		if (!open || !rows_get_track(&s->committed, t->number, &was) ||
		    was.start != t->start || t->nwa < open->told)
			return true;
	}
	return false;
}

void progress_follow(struct disc_store *s, const struct disc_state *state, bool new_epoch)
{
	struct open_track before[PROGRESS_MAX];
	unsigned n_before = new_epoch ? 0 : s->n_open;

	memcpy(before, s->open_tracks, n_before * sizeof(before[0]));
	s->n_open = 0;
	for (unsigned i = 0; i < state->tracks->len && s->n_open < PROGRESS_MAX; i++) {
		const struct disc_track *t = &g_array_index(state->tracks, struct disc_track, i);
		struct open_track open = {.number = t->number, .committed = t->nwa, .told = t->nwa};

		if (!(t->flags & TRACK_OPEN))
			continue;
		for (unsigned k = 0; k < n_before; k++)
			if (before[k].number == t->number)
				open.told = MAX(open.told, before[k].told);
		s->open_tracks[s->n_open++] = open;
	}
}

void progress_renew(struct disc_store *s)
{
	for (unsigned i = 0; i < s->n_open; i++) {
		if (s->open_tracks[i].told > s->open_tracks[i].committed) {
			tell(s);
			return;
		}
	}
}

co_fn void progress_wait(struct disc_store *s)
{
	while (s->line_writing)
		co_queue_wait(&s->line_waiting);
}
