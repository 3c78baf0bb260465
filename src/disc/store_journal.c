/*
 * The journal behind a slot: each commit appends blocks of 4 KiB that were not written since the
 * slot was. A block counts when its checksum, generation, nonce and place fit the slot and it
 * chains to the checksum of the block before it (of the slot's header for the first), so nothing of
 * an earlier life can come back. A transaction larger than one block counts when all of its parts
 * are there.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "disc/store_priv.h"

static const char magic[4] = "OBJR";

enum {
	JB_MAGIC = 0,
	JB_CRC = 4,
	JB_GENERATION = 8,
	JB_NONCE = 16,
	JB_SEQ = 24,
	JB_PREV_CRC = 28,
	JB_TIME = 32,
	JB_PART = 40,
	JB_PARTS = 42,
	JB_LEN = 44,
	JB_DATA = 48,
	JB_ROOM = STORE_BLOCK - JB_DATA,
};

static uint32_t block_crc(const uint8_t *block)
{
	static const uint8_t zero[4];
	uint32_t crc = crc32c(0, block, JB_CRC);

	crc = crc32c(crc, zero, sizeof(zero));
	return crc32c(crc, block + JB_CRC + 4, STORE_BLOCK - JB_CRC - 4);
}

static bool block_intact(const uint8_t *block)
{
	return memcmp(block, magic, sizeof(magic)) == 0 && get_le32(block + JB_LEN) <= JB_ROOM &&
	       block_crc(block) == get_le32(block + JB_CRC);
}

/* Of the slot in use, at its place. */
static bool block_fits(const struct disc_store *s, const uint8_t *block, unsigned seq)
{
	return get_le64(block + JB_NONCE) == s->slot.nonce &&
	       get_le64(block + JB_GENERATION) == s->slot.generation &&
	       get_le32(block + JB_SEQ) == seq && block_intact(block);
}

co_fn int journal_begins(struct disc_store *s, unsigned index, uint64_t generation, uint64_t nonce,
			 bool *begins)
{
	uint8_t *block = g_malloc(STORE_BLOCK);
	int res = block_pread(s->node, s->super.slots[index].journal_off, block, STORE_BLOCK);

	*begins = res == 0 && block_intact(block) &&
		  (nonce ? get_le64(block + JB_GENERATION) == generation &&
				   get_le64(block + JB_NONCE) == nonce
			 : get_le64(block + JB_GENERATION) > generation);
	g_free(block);
	return res;
}

/* Appends the payload of the transaction that begins at block seq; returns its blocks, 0 if it is
 * not complete. */
static unsigned collect(const struct disc_store *s, const uint8_t *journal, unsigned seq,
			GByteArray *stream, uint32_t *last_crc)
{
	unsigned blocks = s->super.slots[s->slot.index].journal_blocks;
	unsigned parts =
		seq < blocks ? get_le16(journal + (size_t)seq * STORE_BLOCK + JB_PARTS) : 0;
	uint32_t crc = s->slot.last_crc;

	if (parts == 0 || parts > blocks - seq)
		return 0;
	for (unsigned i = 0; i < parts; i++) {
		const uint8_t *block = journal + (size_t)(seq + i) * STORE_BLOCK;

		if (!block_fits(s, block, seq + i) || get_le32(block + JB_PREV_CRC) != crc ||
		    get_le16(block + JB_PART) != i || get_le16(block + JB_PARTS) != parts)
			return 0;
		crc = get_le32(block + JB_CRC);
		g_byte_array_append(stream, block + JB_DATA, get_le32(block + JB_LEN));
	}
	*last_crc = crc;
	return parts;
}

/*
 * Whether a transaction that begins behind stop exists: then the one at stop had been acknowledged,
 * and what is there now is a failure of the medium. Leftover parts of a torn transaction begin at
 * stop or before.
 */
static bool goes_on_after(const struct disc_store *s, const uint8_t *journal, unsigned stop)
{
	unsigned blocks = s->super.slots[s->slot.index].journal_blocks;

	for (unsigned i = stop + 1; i < blocks; i++) {
		const uint8_t *block = journal + (size_t)i * STORE_BLOCK;
		unsigned part = get_le16(block + JB_PART);

		if (block_fits(s, block, i) && part <= i && i - part > stop)
			return true;
	}
	return false;
}

static bool replay_all(struct disc_store *s, const uint8_t *journal, GByteArray *stream,
		       GError **error)
{
	uint64_t off = s->super.slots[s->slot.index].journal_off;
	unsigned n;

	for (;;) {
		g_byte_array_set_size(stream, 0);
		n = collect(s, journal, s->slot.journal_used, stream, &s->slot.last_crc);
		if (n == 0)
			break;
		if (!rows_apply(&s->committed, stream->data, stream->len, error))
			return err_prefix(error, "journal block at 0x%" PRIx64,
					  off + (uint64_t)s->slot.journal_used * STORE_BLOCK);
		s->slot.journal_used += n;
		s->recovered = true;
	}
	if (!goes_on_after(s, journal, s->slot.journal_used))
		return true;
	if (s->writable) {
		return err_set(error, EIO,
			       "the journal block at 0x%" PRIx64
			       " is damaged (checksum), later ones are "
			       "not; open it read-only to rescue what was recorded before",
			       off + (uint64_t)s->slot.journal_used * STORE_BLOCK);
	}
	s->damaged = true;
	return true;
}

co_fn bool journal_replay(struct disc_store *s, GError **error)
{
	const struct store_slot_place *place = &s->super.slots[s->slot.index];
	size_t len = (size_t)place->journal_blocks * STORE_BLOCK;
	uint8_t *journal = g_try_malloc(len);
	GByteArray *stream;
	bool ok;
	int res;

	if (!journal)
		return err_set(error, ENOMEM, "no memory for a journal of %zu bytes", len);
	res = block_pread(s->node, place->journal_off, journal, len);
	if (res < 0) {
		ok = err_set_errno(error, -res, "reading the journal at 0x%" PRIx64,
				   place->journal_off);
	} else {
		stream = g_byte_array_new();
		ok = replay_all(s, journal, stream, error);
		g_byte_array_unref(stream);
	}
	g_free(journal);
	return ok;
}

static unsigned parts_of(size_t stream_len)
{
	return (unsigned)((stream_len + JB_ROOM - 1) / JB_ROOM);
}

bool journal_has_room(const struct disc_store *s, size_t stream_len)
{
	unsigned blocks = s->super.slots[s->slot.index].journal_blocks;

	return stream_len <= (size_t)blocks * JB_ROOM &&
	       parts_of(stream_len) <= blocks - s->slot.journal_used;
}

/* Returns the checksum of the block. */
static uint32_t build_block(const struct disc_store *s, uint8_t *block, unsigned part,
			    unsigned parts, uint32_t prev_crc, const GByteArray *stream)
{
	uint32_t pos = part * JB_ROOM;
	uint32_t len = MIN(stream->len - pos, (uint32_t)JB_ROOM);

	memset(block, 0, STORE_BLOCK);
	memcpy(block, magic, sizeof(magic));
	put_le64(block + JB_GENERATION, s->slot.generation);
	put_le64(block + JB_NONCE, s->slot.nonce);
	put_le32(block + JB_SEQ, s->slot.journal_used + part);
	put_le32(block + JB_PREV_CRC, prev_crc);
	put_le64(block + JB_TIME, store_time_ns());
	put_le16(block + JB_PART, (uint16_t)part);
	put_le16(block + JB_PARTS, (uint16_t)parts);
	put_le32(block + JB_LEN, len);
	memcpy(block + JB_DATA, stream->data + pos, len);
	put_le32(block + JB_CRC, block_crc(block));
	return get_le32(block + JB_CRC);
}

co_fn int journal_append(struct disc_store *s, const GByteArray *stream)
{
	uint64_t off = s->super.slots[s->slot.index].journal_off +
		       (uint64_t)s->slot.journal_used * STORE_BLOCK;
	unsigned parts = parts_of(stream->len);
	uint32_t crc = s->slot.last_crc;
	int res;

	g_byte_array_set_size(s->blocks, parts * STORE_BLOCK);
	for (unsigned i = 0; i < parts; i++)
		crc = build_block(s, s->blocks->data + (size_t)i * STORE_BLOCK, i, parts, crc,
				  stream);
	res = block_pwrite(s->node, off, s->blocks->data, (size_t)parts * STORE_BLOCK, BLOCK_FUA);
	if (res < 0)
		return res;
	s->slot.journal_used += parts;
	s->slot.last_crc = crc;
	return 0;
}
