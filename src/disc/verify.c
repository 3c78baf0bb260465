/* Comparing, hashing, exporting: see verify.h. All of them walk the disc in pieces of 1 MiB. */
#include "disc/verify.h"

#include "base/err.h"
#include "disc/rules.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

enum { PIECE_BLOCKS = 512, PIECE_LEN = PIECE_BLOCKS * BLOCK_LEN };

static co_fn bool read_disc(struct disc *d, int32_t lba, uint32_t blocks, void *buf,
			    enum disc_status *status)
{
	struct iovec v;
	struct iovs iov = iovs_one(&v, buf, (size_t)blocks * BLOCK_LEN);

	*status = disc_read(d, lba, blocks, &iov);
	return *status == DISC_OK;
}

static bool read_failed(struct disc *d, int32_t lba, GError **error)
{
	return err_set_errno(error, d->error.errnum ? d->error.errnum : EIO,
			     "%s: reading at block %" PRId32, d->name, lba);
}

/* One piece of an image, zeros behind its end. */
static co_fn bool read_image(struct block_node *image, uint64_t off, void *buf, size_t len,
			     GError **error)
{
	uint64_t rest = block_length(image) - off;
	size_t n = rest < len ? (size_t)rest : len;
	int res = block_pread(image, off, buf, n);

	if (res < 0)
		return err_set_errno(error, -res, "%s: reading at byte %" PRIu64, block_name(image),
				     off);
	memset((uint8_t *)buf + n, 0, len - n);
	return true;
}

/* How many of blocks from lba on are recorded, when a read of them all failed. */
static uint32_t count_recorded(const struct disc *d, int32_t lba, uint32_t blocks)
{
	uint32_t n = 0;

	while (n < blocks) {
		struct extent x = disc_find_extent(d->real ? d->real : d->state, lba + (int32_t)n);

		if (x.kind == EXTENT_NONE)
			break;
		n = (uint32_t)(x.end - lba);
	}
	return MIN(n, blocks);
}

/* The buffers of a comparison: one piece of the disc, one of the image. */
struct pair {
	uint8_t *disc, *image;
};

static bool compare_piece(const struct pair *p, uint32_t blocks, int32_t lba,
			  struct disc_compare *result)
{
	size_t len = (size_t)blocks * BLOCK_LEN, at = 0;

	if (memcmp(p->disc, p->image, len) == 0) {
		result->blocks += blocks;
		return true;
	}
	while (p->disc[at] == p->image[at])
		at++;
	result->result = COMPARE_DIFFERS;
	result->lba = lba + (int32_t)(at / BLOCK_LEN);
	result->byte = (unsigned)(at % BLOCK_LEN);
	result->blocks += (uint32_t)(at / BLOCK_LEN);
	return false;
}

static co_fn bool compare(struct disc *d, int32_t lba, struct block_node *image,
			  const struct pair *buf, disc_progress_fn *progress, void *arg,
			  struct disc_compare *result, GError **error)
{
	uint64_t total = (block_length(image) + BLOCK_LEN - 1) / BLOCK_LEN;

	for (uint64_t at = 0; at < total;) {
		uint32_t n = (uint32_t)MIN(total - at, (uint64_t)PIECE_BLOCKS), there;
		int32_t here = lba + (int32_t)at;
		enum disc_status status;

		there = count_recorded(d, here, n);
		if (!there) {
			result->result = COMPARE_UNRECORDED;
			result->lba = here;
			return true;
		}
		if (!read_disc(d, here, there, buf->disc, &status))
			return read_failed(d, here, error);
		if (!read_image(image, at * BLOCK_LEN, buf->image, (size_t)there * BLOCK_LEN,
				error))
			return false;
		if (!compare_piece(buf, there, here, result))
			return true;
		at += there;
		if (progress)
			progress(arg, at * BLOCK_LEN, total * BLOCK_LEN);
	}
	return true;
}

co_fn bool disc_compare_image(struct disc *d, int32_t lba, struct block_node *image,
			      disc_progress_fn *progress, void *arg, struct disc_compare *result,
			      GError **error)
{
	struct pair buf = {g_malloc(PIECE_LEN), g_malloc(PIECE_LEN)};
	bool ok;

	*result = (struct disc_compare){.result = COMPARE_EQUAL};
	ok = lba >= 0 &&
	     block_length(image) / BLOCK_LEN < (uint64_t)INT32_MAX - (uint32_t)MAX(lba, 0);
	if (ok)
		ok = compare(d, lba, image, &buf, progress, arg, result, error);
	else {
		err_set(error, EINVAL,
			"%s: block %" PRId32 " and %" PRIu64
			" bytes from there are not on any disc",
			d->name, lba, block_length(image));
	}
	g_free(buf.disc);
	g_free(buf.image);
	return ok;
}

struct hashing {
	GChecksum *sum;
	uint8_t *buf;
	size_t len;
};

static int hash_piece(void *arg)
{
	struct hashing *h = arg;

	g_checksum_update(h->sum, h->buf, (gssize)h->len);
	return 0;
}

static void hash_done(struct hashing *h, bool ok, char *hex)
{
	if (ok)
		g_strlcpy(hex, g_checksum_get_string(h->sum), DISC_HASH_LEN);
	g_checksum_free(h->sum);
	g_free(h->buf);
}

/* Recorded blocks as they are, zeros for the others. */
static co_fn bool read_or_zero(struct disc *d, int32_t lba, uint32_t blocks, uint8_t *buf,
			       GError **error)
{
	for (uint32_t at = 0; at < blocks;) {
		uint32_t n = count_recorded(d, lba + (int32_t)at, blocks - at);
		enum disc_status status;

		if (!n) {
			memset(buf + (size_t)at * BLOCK_LEN, 0, BLOCK_LEN);
			n = 1;
		} else if (!read_disc(d, lba + (int32_t)at, n, buf + (size_t)at * BLOCK_LEN,
				      &status)) {
			return read_failed(d, lba + (int32_t)at, error);
		}
		at += n;
	}
	return true;
}

co_fn bool disc_hash(struct disc *d, int32_t lba, uint32_t blocks, disc_progress_fn *progress,
		     void *arg, char hex[DISC_HASH_LEN], GError **error)
{
	struct hashing h = {.sum = g_checksum_new(G_CHECKSUM_SHA256), .buf = g_malloc(PIECE_LEN)};
	bool ok = true;

	for (uint32_t at = 0; ok && at < blocks;) {
		uint32_t n = MIN(blocks - at, (uint32_t)PIECE_BLOCKS);

		h.len = (size_t)n * BLOCK_LEN;
		ok = read_or_zero(d, lba + (int32_t)at, n, h.buf, error);
		if (!ok)
			break;
		job_run(hash_piece, &h);
		at += n;
		if (progress)
			progress(arg, (uint64_t)at * BLOCK_LEN, (uint64_t)blocks * BLOCK_LEN);
	}
	hash_done(&h, ok, hex);
	return ok;
}

co_fn bool disc_hash_image(struct block_node *image, disc_progress_fn *progress, void *arg,
			   char hex[DISC_HASH_LEN], GError **error)
{
	struct hashing h = {.sum = g_checksum_new(G_CHECKSUM_SHA256), .buf = g_malloc(PIECE_LEN)};
	uint64_t total = (block_length(image) + BLOCK_LEN - 1) / BLOCK_LEN * BLOCK_LEN;
	bool ok = true;

	for (uint64_t at = 0; ok && at < total;) {
		h.len = (size_t)MIN(total - at, (uint64_t)PIECE_LEN);
		ok = read_image(image, at, h.buf, h.len, error);
		if (!ok)
			break;
		job_run(hash_piece, &h);
		at += h.len;
		if (progress)
			progress(arg, at, total);
	}
	hash_done(&h, ok, hex);
	return ok;
}

bool disc_session_extent(const struct disc *d, unsigned session, int32_t *lba, uint32_t *blocks)
{
	const struct disc_state *s = d->real ? d->real : d->state;
	const struct disc_session *n = state_session(s, session);
	const struct disc_track *first, *last;
	int32_t end;

	if (session && (!n || !n->last_track))
		return false;
	first = session ? state_track(s, n->first_track) : NULL;
	last = state_track(s, session ? n->last_track : s->tracks->len);
	/* Trailing tracks may be reserved and empty. */
	while (last && last->flags & TRACK_OPEN && last->nwa <= last->start && last->number > 1)
		last = state_track(s, last->number - 1u);
	if (!last)
		return false;
	end = last->flags & TRACK_OPEN ? last->nwa
				       : last->start + (int32_t)(last->size - last->run_out);
	*lba = first ? first->start : 0;
	*blocks = end > *lba ? (uint32_t)(end - *lba) : 0;
	return *blocks > 0;
}

static bool is_zero(const uint8_t *p, size_t len)
{
	return len == 0 || (p[0] == 0 && memcmp(p, p + 1, len - 1) == 0);
}

static co_fn bool copy_out(struct disc *d, int32_t lba, uint32_t blocks, struct block_node *to,
			   uint8_t *buf, disc_progress_fn *progress, void *arg, GError **error)
{
	int res = block_truncate(to, (uint64_t)blocks * BLOCK_LEN);

	for (uint32_t at = 0; res == 0 && at < blocks;) {
		uint32_t n = MIN(blocks - at, (uint32_t)PIECE_BLOCKS);
		size_t len = (size_t)n * BLOCK_LEN;

		if (!read_or_zero(d, lba + (int32_t)at, n, buf, error))
			return false;
		if (!is_zero(buf, len))
			res = block_pwrite(to, (uint64_t)at * BLOCK_LEN, buf, len, 0);
		at += n;
		if (progress && res == 0)
			progress(arg, (uint64_t)at * BLOCK_LEN, (uint64_t)blocks * BLOCK_LEN);
	}
	if (res == 0)
		res = block_flush(to);
	return res == 0 || err_set_errno(error, -res, "writing %s", block_name(to));
}

co_fn bool disc_export(struct disc *d, unsigned session, const char *path,
		       disc_progress_fn *progress, void *arg, GError **error)
{
	struct block_node *to;
	uint8_t *buf;
	uint32_t blocks;
	int32_t lba;
	bool ok;
	int fd;

	if (!disc_session_extent(d, session, &lba, &blocks)) {
		return err_set(error, EINVAL,
			       session ? "%s: session %u has no data" : "%s: nothing is recorded",
			       d->name, session);
	}
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0)
		return err_set_errno(error, errno, "%s: creating the image", path);
	close(fd);
	to = block_open_file(path, BLOCK_RDWR, error);
	buf = g_malloc(PIECE_LEN);
	ok = to && copy_out(d, lba, blocks, to, buf, progress, arg, error);
	g_free(buf);
	block_unref(to);
	if (!ok)
		unlink(path);
	return ok;
}
