/*
 * The history ring: what happened to a disc and when. Entries of 32 bytes with their own checksum;
 * the newest is the one with the highest sequence number, which also says its place, so nothing
 * needs to be found at open. Entries are written lazily: after a power cut the last ones may be
 * missing, the state never depends on them.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "disc/store_priv.h"

enum {
	HE_TIME = 0,
	HE_EVENT = 8,
	HE_LBA = 12,
	HE_BLOCKS = 16,
	HE_SEQ = 24,
	HE_CRC = 28,
	HE_LEN = 32
};

static uint32_t ring_size(const struct disc_store *s)
{
	return (uint32_t)(s->super.history_len / HE_LEN);
}

static bool entry_valid(const uint8_t *entry, uint32_t index, uint32_t size)
{
	uint32_t seq = get_le32(entry + HE_SEQ);

	return seq > 0 && (seq - 1) % size == index &&
	       crc32c(0, entry, HE_CRC) == get_le32(entry + HE_CRC);
}

/* Reads the whole ring; *newest is 0 when it is empty. */
static co_fn int read_ring(struct disc_store *s, uint8_t **ring, uint32_t *newest)
{
	uint32_t size = ring_size(s);
	int res;

	*newest = 0;
	*ring = g_try_malloc(MAX(s->super.history_len, 1));
	if (!*ring)
		return -ENOMEM;
	res = block_pread(s->node, s->super.history_off, *ring, s->super.history_len);
	for (uint32_t i = 0; i < size && res == 0; i++)
		if (entry_valid(*ring + (size_t)i * HE_LEN, i, size))
			*newest = MAX(*newest, get_le32(*ring + (size_t)i * HE_LEN + HE_SEQ));
	return res;
}

static co_fn int find_newest(struct disc_store *s)
{
	uint8_t *ring = NULL;
	uint32_t newest;
	int res;

	if (s->history_known)
		return 0;
	res = read_ring(s, &ring, &newest);
	g_free(ring);
	if (res == 0) {
		s->history_seq = newest;
		s->history_known = true;
	}
	return res;
}

static co_fn int append_entry(struct disc_store *s, const struct disc_history *h)
{
	uint32_t size = ring_size(s), seq;
	uint8_t entry[HE_LEN];
	int res = find_newest(s);

	if (res < 0 || size == 0 || s->history_seq == UINT32_MAX)
		return res;
	seq = s->history_seq + 1;
	put_le64(entry + HE_TIME, h->time_ns ? h->time_ns : store_time_ns());
	put_le32(entry + HE_EVENT, h->event);
	put_le32(entry + HE_LBA, (uint32_t)h->lba);
	put_le64(entry + HE_BLOCKS, h->blocks);
	put_le32(entry + HE_SEQ, seq);
	put_le32(entry + HE_CRC, crc32c(0, entry, HE_CRC));
	res = block_pwrite(s->node, s->super.history_off + (uint64_t)((seq - 1) % size) * HE_LEN,
			   entry, HE_LEN, 0);
	if (res == 0)
		s->history_seq = seq;
	return res;
}

co_fn int disc_store_add_history(struct disc_store *s, const struct disc_history *h)
{
	int res;

	if (!s->writable)
		return -EROFS;
	co_mutex_lock(&s->history_lock);
	res = append_entry(s, h);
	co_mutex_unlock(&s->history_lock);
	return res;
}

co_fn struct disc_history *disc_store_read_history(struct disc_store *s, unsigned *n)
{
	uint32_t size = ring_size(s), newest, first;
	struct disc_history *list = NULL;
	uint8_t *ring = NULL;

	*n = 0;
	if (read_ring(s, &ring, &newest) == 0 && newest > 0) {
		list = g_new0(struct disc_history, MIN(newest, size));
		first = newest > size ? newest - size + 1 : 1;
		for (uint32_t seq = first; seq != newest + 1; seq++) {
			const uint8_t *e = ring + (size_t)((seq - 1) % size) * HE_LEN;

			if (!entry_valid(e, (seq - 1) % size, size) || get_le32(e + HE_SEQ) != seq)
				continue;
			list[(*n)++] = (struct disc_history){
				.time_ns = get_le64(e + HE_TIME),
				.event = get_le32(e + HE_EVENT),
				.lba = (int32_t)get_le32(e + HE_LBA),
				.blocks = get_le64(e + HE_BLOCKS),
			};
		}
	}
	g_free(ring);
	return list;
}
