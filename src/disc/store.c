/*
 * The .disc store at work: commits, and data going straight to its place in a plane.
 *
 * A commit turns the state into rows, compares them with those committed last and appends what
 * changed to the journal; when the journal is full, the whole state goes to the other slot instead.
 * Data that rows make visible is flushed before the rows are written, never after.
 */
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "base/log.h"
#include "disc/store_priv.h"

static bool acceptable(struct disc_store *s, const struct disc_state *state)
{
	GError *error = NULL;

	if (store_check_state(s, state, &error))
		return true;
	log_line(LOG_ERROR, "disc", "%s: state not committed: %s", block_name(s->node),
		 error->message);
	g_error_free(error);
	return false;
}

static co_fn int write_change(struct disc_store *s)
{
	int res;

	if (!s->must_checkpoint && journal_has_room(s, s->stream->len))
		return journal_append(s, s->stream);
	res = slot_checkpoint(s, &s->scratch, false);
	if (res == 0)
		progress_renew(s);
	return res;
}

static co_fn int commit_locked(struct disc_store *s, const struct disc_state *state, bool visible)
{
	bool new_epoch = progress_breaks(s, state);
	uint32_t epoch = s->epoch + new_epoch;
	int res = 0;

	if (!acceptable(s, state))
		return -EINVAL;
	rows_from_state(&s->scratch, state, epoch, &s->committed);
	if (rows_encoded_len(&s->scratch) > slot_body_max(s))
		return -ENOSPC;
	g_byte_array_set_size(s->stream, 0);
	/* A track that changed may show more data than before, whether the caller thought of it or
	 * not. */
	if (rows_diff(&s->committed, &s->scratch, s->stream) || visible)
		res = block_flush(s->node);
	if (res < 0 || s->stream->len == 0)
		return res;
	res = write_change(s);
	if (res < 0)
		return res;
	rows_swap(&s->committed, &s->scratch);
	s->epoch = epoch;
	progress_follow(s, state, new_epoch);
	return 0;
}

co_fn int disc_store_commit(struct disc_store *s, const struct disc_state *state, bool visible)
{
	int res;

	if (!s->writable)
		return -EROFS;
	co_mutex_lock(&s->committing);
	res = commit_locked(s, state, visible);
	co_mutex_unlock(&s->committing);
	return res;
}

/* Where sectors of a plane lie; -EINVAL where there are none. */
static int locate(const struct disc_store *s, enum disc_plane plane, int32_t lba, uint32_t sectors,
		  uint64_t *off, uint64_t *len)
{
	const struct store_plane *p = &s->super.planes[plane];
	int64_t index = (int64_t)lba - p->first;

	if (!p->sector_len || index < 0)
		return -EINVAL;
	*len = (uint64_t)sectors * p->sector_len;
	*off = (uint64_t)index * p->sector_len;
	if (*off > p->len || *len > p->len - *off)
		return -EINVAL;
	*off += p->off;
	return 0;
}

/* What a read-only file still has to forget reads as zeros. */
static void hide_pending(const struct disc_store *s, uint64_t off, const struct iovs *iov)
{
	for (unsigned i = 0; i < s->pending->len; i++) {
		const struct disc_punch *p = &g_array_index(s->pending, struct disc_punch, i);
		uint64_t from = MAX(off, p->off), to = MIN(off + iov->len, p->off + p->len);

		if (from < to)
			iovs_zero(iov, from - off, to - from);
	}
}

co_fn int disc_store_read(struct disc_store *s, enum disc_plane plane, int32_t lba,
			  uint32_t sectors, const struct iovs *iov)
{
	uint64_t off, len;
	int res = locate(s, plane, lba, sectors, &off, &len);

	if (res < 0 || iov->len != len)
		return -EINVAL;
	res = block_preadv(s->node, off, iov);
	if (res == 0 && s->pending->len > 0)
		hide_pending(s, off, iov);
	return res;
}

co_fn int disc_store_write(struct disc_store *s, enum disc_plane plane, int32_t lba,
			   uint32_t sectors, const struct iovs *iov)
{
	uint64_t off, len;
	int res = locate(s, plane, lba, sectors, &off, &len);

	if (res < 0 || iov->len != len)
		return -EINVAL;
	return s->writable ? block_pwritev(s->node, off, iov, 0) : -EROFS;
}

co_fn int disc_store_punch(struct disc_store *s, enum disc_plane plane, int32_t lba,
			   uint32_t sectors)
{
	uint64_t off, len;
	int res = locate(s, plane, lba, sectors, &off, &len);

	if (res < 0)
		return res;
	return s->writable ? block_discard_zero(s->node, off, len) : -EROFS;
}

co_fn int disc_store_flush(struct disc_store *s)
{
	return block_flush(s->node);
}

bool disc_store_has_plane(const struct disc_store *s, enum disc_plane plane)
{
	return s->super.planes[plane].sector_len > 0;
}

bool disc_store_is_writable(const struct disc_store *s)
{
	return s->writable;
}

struct block_node *disc_store_node(const struct disc_store *s)
{
	return s->node;
}

bool disc_store_plane_range(const struct disc_store *s, enum disc_plane plane, int32_t lba,
			    uint32_t sectors, struct disc_punch *range)
{
	*range = (struct disc_punch){.plane = plane};
	return locate(s, plane, lba, sectors, &range->off, &range->len) == 0;
}

void disc_store_get_info(const struct disc_store *s, struct disc_store_info *out)
{
	*out = (struct disc_store_info){
		.created_ns = s->super.created_ns,
		.file_len = s->super.file_len,
		.metadata_off = s->super.meta_off,
		.generation = s->slot.generation,
		.journal_used = s->slot.journal_used,
		.journal_blocks = s->super.slots[s->slot.index].journal_blocks,
		.recovered = s->recovered,
		.damaged = s->damaged,
	};
	memcpy(out->uuid, s->super.uuid, sizeof(out->uuid));
	memcpy(out->generator, s->super.generator, sizeof(out->generator));
}
