/*
 * Blocks into the file. The usual write hands the guest's list to the store as it is; what needs
 * taking apart (a rest behind a replayed part, pieces of a session at once, raw sectors of which
 * only the user data counts) goes through the disc's bounce buffer, which is for writers only:
 * those run one at a time.
 */
#include "disc/rules.h"

#include <string.h>

enum { RAW_HEADER = 16 }; /* sync and header of a raw mode 1 sector */

static bool get_bounce(struct disc *d)
{
	if (!d->bounce)
		d->bounce = g_try_malloc(2 * BOUNCE_BLOCKS * BLOCK_LEN);
	return d->bounce != NULL;
}

/* User data of n blocks out of the host's list. */
static void gather(const struct iovs *iov, size_t off, unsigned bytes, uint32_t n, uint8_t *to)
{
	if (bytes == BLOCK_LEN) {
		iovs_get(iov, off, to, (size_t)n * BLOCK_LEN);
		return;
	}
	for (uint32_t i = 0; i < n; i++)
		iovs_get(iov, off + (size_t)i * bytes + RAW_HEADER, to + i * BLOCK_LEN, BLOCK_LEN);
}

static co_fn int put_kinds(struct disc *d, int32_t lba, uint32_t n)
{
	enum { CHUNK = 4096 };
	static const uint8_t mode1[CHUNK] = {[0 ... CHUNK - 1] = KIND_MODE1};
	static const uint8_t form1[CHUNK] = {[0 ... CHUNK - 1] = KIND_FORM1};
	bool xa = d->params.write_type == WRITE_TAO && d->params.block_type == BLOCK_XA_FORM1;
	int res = 0;

	for (uint32_t at = 0; res == 0 && at < n; at += CHUNK) {
		uint32_t len = MIN(n - at, (uint32_t)CHUNK);
		struct iovec v;
		struct iovs iov = iovs_one(&v, (void *)(xa ? form1 : mode1), len);

		res = disc_store_write(d->store, PLANE_KIND, lba + (int32_t)at, len, &iov);
	}
	return res;
}

static co_fn int put_bounced(struct disc *d, int32_t lba, uint32_t n, const struct iovs *iov,
			     size_t off, unsigned bytes)
{
	int res = 0;

	for (uint32_t at = 0; res == 0 && at < n; at += BOUNCE_BLOCKS) {
		uint32_t part = MIN(n - at, (uint32_t)BOUNCE_BLOCKS);
		struct iovec v;
		struct iovs one = iovs_one(&v, d->bounce, (size_t)part * BLOCK_LEN);

		gather(iov, off + (size_t)at * bytes, bytes, part, d->bounce);
		res = disc_store_write(d->store, PLANE_USER, lba + (int32_t)at, part, &one);
	}
	return res;
}

co_fn enum disc_status disc_put_blocks(struct disc *d, int32_t lba, uint32_t n,
				       const struct iovs *iov, size_t off, unsigned bytes)
{
	int res;

	if (d->real)
		return DISC_OK;
	if (off == 0 && bytes == BLOCK_LEN && iov->len == (size_t)n * BLOCK_LEN)
		res = disc_store_write(d->store, PLANE_USER, lba, n, iov);
	else
		res = get_bounce(d) ? put_bounced(d, lba, n, iov, off, bytes) : -ENOMEM;
	if (res == 0 && disc_store_has_plane(d->store, PLANE_KIND))
		res = put_kinds(d, lba, n);
	return res < 0 ? disc_fail_io(d, DISC_IO_WRITE, res) : DISC_OK;
}

co_fn enum disc_status disc_compare_blocks(struct disc *d, int32_t lba, uint32_t n,
					   const struct iovs *iov, size_t off, unsigned bytes,
					   int32_t nwa)
{
	uint8_t *stored, *given;

	if (!get_bounce(d))
		return disc_fail_io(d, DISC_IO_WRITE, -ENOMEM);
	stored = d->bounce;
	given = d->bounce + BOUNCE_BLOCKS * BLOCK_LEN;
	for (uint32_t at = 0; at < n; at += BOUNCE_BLOCKS) {
		uint32_t part = MIN(n - at, (uint32_t)BOUNCE_BLOCKS);
		size_t len = (size_t)part * BLOCK_LEN;
		struct iovec v;
		struct iovs one = iovs_one(&v, stored, len);
		int res = disc_store_read(d->store, PLANE_USER, lba + (int32_t)at, part, &one);

		if (res < 0)
			return disc_fail_io(d, DISC_IO_WRITE, res);
		gather(iov, off + (size_t)at * bytes, bytes, part, given);
		if (memcmp(stored, given, len) != 0)
			return disc_fail_at(d, DISC_NOT_NWA, nwa);
	}
	return DISC_OK;
}

co_fn enum disc_status disc_put_zeros(struct disc *d, int32_t lba, int32_t end)
{
	int res;

	if (d->real || lba >= end)
		return DISC_OK;
	res = disc_store_punch(d->store, PLANE_USER, lba, (uint32_t)(end - lba));
	return res < 0 ? disc_fail_io(d, DISC_IO_WRITE, res) : DISC_OK;
}
