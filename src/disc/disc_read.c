/*
 * Blocks out of the file. Every read is bounded by what the rows say is recorded, so that bytes
 * which lie behind a next writable address (left by a power cut) are never seen. Blocks that count
 * as recorded but that no host wrote (run-out, padding) read as zeros without a look into the file;
 * so do those that a pending removal covers.
 *
 * Several reads may run at once: nothing here uses the disc's own buffers.
 */
#include "disc/rules.h"

#include "disc/sector.h"

#include <errno.h>
#include <string.h>

static int32_t recorded_begin(const struct disc_track *t)
{
	/* A session written at once has its pregaps recorded; between other tracks lie link blocks.
	 */
	return t->flags & TRACK_DAO ? t->start - (int32_t)t->pregap : t->start;
}

static int32_t recorded_end(const struct disc_track *t)
{
	return t->flags & TRACK_OPEN ? t->nwa : t->start + (int32_t)t->size;
}

/* The last track that begins at or before lba; tracks are in address order. */
static const struct disc_track *track_before(const struct disc_state *s, int32_t lba)
{
	unsigned low = 0, high = s->tracks->len;

	while (low < high) {
		unsigned mid = (low + high) / 2;

		if (recorded_begin(&g_array_index(s->tracks, struct disc_track, mid)) <= lba)
			low = mid + 1;
		else
			high = mid;
	}
	return low ? &g_array_index(s->tracks, struct disc_track, low - 1) : NULL;
}

struct extent disc_find_extent(const struct disc_state *s, int32_t lba)
{
	const struct disc_track *t = track_before(s, lba);
	int32_t end, host_end;

	if (!t || lba >= recorded_end(t))
		return (struct extent){.kind = EXTENT_NONE};
	end = recorded_end(t);
	host_end = t->flags & TRACK_OPEN ? end : end - (int32_t)t->run_out;
	if (lba >= host_end)
		return (struct extent){EXTENT_ZERO, end, t};
	return (struct extent){EXTENT_DATA, host_end, t};
}

int32_t disc_readable_end(const struct disc_state *s)
{
	for (unsigned i = s->tracks->len; i > 0; i--) {
		const struct disc_track *t = state_track(s, i);

		if (recorded_end(t) > recorded_begin(t))
			return recorded_end(t);
	}
	return 0;
}

static const struct disc_state *recorded_state(const struct disc *d)
{
	return d->real ? d->real : d->state;
}

/* Bytes of the user plane, or of a plain image, which ends where it likes: zeros follow. */
static co_fn int read_plain(struct disc *d, int32_t lba, uint32_t n, const struct iovs *iov)
{
	uint64_t off = (uint64_t)lba * BLOCK_LEN, len = (uint64_t)n * BLOCK_LEN;
	uint8_t *tail;
	size_t have;
	int res;

	if (d->store)
		return disc_store_read(d->store, PLANE_USER, lba, n, iov);
	if (off + len <= d->image_len)
		return block_preadv(d->image, off, iov);
	tail = g_try_malloc0(len);
	if (!tail)
		return -ENOMEM;
	have = off < d->image_len ? (size_t)(d->image_len - off) : 0;
	res = have ? block_pread(d->image, off, tail, have) : 0;
	if (res == 0)
		iovs_put(iov, 0, tail, len);
	g_free(tail);
	return res;
}

static bool is_pending(const struct disc_state *s, int32_t lba, uint32_t n)
{
	for (unsigned i = 0; i < s->punches->len; i++) {
		const struct disc_punch *p = &g_array_index(s->punches, struct disc_punch, i);

		if ((uint64_t)lba * BLOCK_LEN < p->off + p->len &&
		    ((uint64_t)lba + n) * BLOCK_LEN > p->off)
			return true;
	}
	return false;
}

/* A range made of several pieces, through a buffer of our own. */
static co_fn int read_pieces(struct disc *d, int32_t lba, uint32_t blocks, const struct iovs *iov)
{
	const struct disc_state *s = recorded_state(d);
	uint8_t *buf = g_try_malloc(BOUNCE_BLOCKS * BLOCK_LEN);
	size_t off = 0;
	int res = buf ? 0 : -ENOMEM;

	while (res == 0 && blocks > 0) {
		struct extent x = disc_find_extent(s, lba);
		uint32_t n = MIN(MIN(blocks, (uint32_t)BOUNCE_BLOCKS), (uint32_t)(x.end - lba));
		size_t len = (size_t)n * BLOCK_LEN;
		struct iovec v;
		struct iovs one = iovs_one(&v, buf, len);

		if (x.kind == EXTENT_ZERO || is_pending(s, lba, n))
			memset(buf, 0, len);
		else
			res = read_plain(d, lba, n, &one);
		if (res == 0)
			iovs_put(iov, off, buf, len);
		off += len;
		lba += (int32_t)n;
		blocks -= n;
	}
	g_free(buf);
	return res;
}

/* Whether all of the range is recorded user data; *simple: and in one piece in the file. */
static enum disc_status check_range(struct disc *d, int32_t lba, uint32_t blocks, bool *simple)
{
	const struct disc_state *s = recorded_state(d);
	int64_t end = (int64_t)lba + blocks;

	*simple = s->punches->len == 0;
	while (lba < end) {
		struct extent x = disc_find_extent(s, lba);

		if (x.kind == EXTENT_NONE) {
			return disc_fail_at(d,
					    lba >= disc_readable_end(s) || lba < 0
						    ? DISC_RANGE
						    : DISC_UNRECORDED,
					    lba);
		}
		if (x.track->data_mode == 0x0f ||
		    (d->profile->family == DISC_CD && !(x.track->control & 4)))
			return disc_fail_at(d, DISC_WRONG_MODE, lba);
		if (x.kind != EXTENT_DATA || x.end < end)
			*simple = false;
		lba = x.end;
	}
	return DISC_OK;
}

co_fn enum disc_status disc_read(struct disc *d, int32_t lba, uint32_t blocks,
				 const struct iovs *iov)
{
	enum disc_status status;
	bool simple;
	int res;

	if (blocks == 0)
		return DISC_OK;
	if (lba < 0)
		return disc_fail_at(d, DISC_RANGE, lba);
	status = check_range(d, lba, blocks, &simple);
	if (status != DISC_OK)
		return status;
	res = simple ? read_plain(d, lba, blocks, iov) : read_pieces(d, lba, blocks, iov);
	if (res < 0) {
		d->error = (struct disc_error){.lba_valid = true, .lba = lba, .errnum = -res};
		return DISC_IO_READ;
	}
	return DISC_OK;
}

static void put_subheader(uint8_t *sector)
{
	static const uint8_t data_form1[8] = {0, 0, 8, 0, 0, 0, 8, 0};

	memcpy(sector + 16, data_form1, sizeof(data_form1));
}

static void zero_sector(const struct disc_track *t, uint8_t *sector, int32_t lba)
{
	memset(sector, 0, SECTOR_RAW);
	if (t->form != BLOCK_XA_FORM1) {
		sector_make_mode1(sector, lba);
		return;
	}
	put_subheader(sector);
	sector_make_form1(sector, lba);
}

static co_fn int read_kind(struct disc *d, int32_t lba, uint8_t *kind)
{
	struct iovec v;
	struct iovs one = iovs_one(&v, kind, 1);

	*kind = KIND_MODE1;
	return d->store && disc_store_has_plane(d->store, PLANE_KIND)
		       ? disc_store_read(d->store, PLANE_KIND, lba, 1, &one)
		       : 0;
}

static co_fn int read_sector(struct disc *d, int32_t lba, uint8_t *sector)
{
	unsigned at = 16;
	uint8_t kind;
	struct iovec v;
	struct iovs one;
	int res = read_kind(d, lba, &kind);

	if (res < 0)
		return res;
	if ((kind & KIND_MASK) == KIND_RAW) {
		one = iovs_one(&v, sector, SECTOR_RAW);
		return disc_store_read(d->store, PLANE_RAW, lba, 1, &one);
	}
	if ((kind & KIND_MASK) == KIND_FORM1) {
		put_subheader(sector);
		at += 8;
	}
	one = iovs_one(&v, sector + at, BLOCK_LEN);
	res = read_plain(d, lba, 1, &one);
	if (res < 0)
		return res;
	if ((kind & KIND_MASK) == KIND_FORM1)
		sector_make_form1(sector, lba);
	else
		sector_make_mode1(sector, lba);
	return 0;
}

co_fn enum disc_status disc_read_raw(struct disc *d, int32_t lba, uint8_t sector[SECTOR_RAW],
				     struct disc_sector *what)
{
	const struct disc_state *s = recorded_state(d);
	const struct disc_track *t;
	struct extent x;
	int res = 0;

	if (d->profile->family != DISC_CD)
		return DISC_INCOMPATIBLE;
	x = disc_find_extent(s, lba);
	t = x.track;
	if (!t && lba < 0 && lba >= -CD_PREGAP && s->tracks->len && disc_readable_end(s) > 0)
		t = state_track(s, 1); /* its pregap, which nobody keeps */
	if (!t) {
		return disc_fail_at(
			d, lba >= disc_readable_end(s) || lba < 0 ? DISC_RANGE : DISC_UNRECORDED,
			lba);
	}
	if (lba < 0 || x.kind == EXTENT_ZERO || is_pending(s, lba, 1))
		zero_sector(t, sector, lba);
	else
		res = read_sector(d, lba, sector);
	if (res < 0) {
		d->error = (struct disc_error){.lba_valid = true, .lba = lba, .errnum = -res};
		return DISC_IO_READ;
	}
	*what = (struct disc_sector){
		.mode = t->control & 4 ? sector[15] : 0,
		.form = t->control & 4 && sector[15] == 2 ? (sector[18] & 0x20 ? 2 : 1) : 0,
		.audio = !(t->control & 4),
		.recorded = true,
		.control = t->control,
		.track = t->number,
	};
	return DISC_OK;
}
