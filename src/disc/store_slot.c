/*
 * State slots: two places for the whole state, of which the newer complete one counts. A checkpoint
 * writes the other one with the next generation and a new random nonce; a header is only believed
 * with a body that fits its checksum, so one durable write is enough. The journal behind a slot
 * continues it (store_journal.c).
 *
 * A newer slot that is damaged may be a checkpoint that a power cut tore, and then the older one is
 * right; or the medium failed later. Its journal tells: a block there is only written after the
 * checkpoint was durable.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/bytes.h"
#include "base/err.h"
#include "disc/store_priv.h"

static const char magic[8] = "OUTBSLOT";

enum {
	SH_MAGIC = 0,
	SH_CRC = 8,
	SH_BODY_CRC = 12,
	SH_GENERATION = 16,
	SH_NONCE = 24,
	SH_BODY_LEN = 32,
	SH_PREV_NONCE = 40,
	SH_TIME = 48,
};

uint64_t store_nonce(void)
{
	uint64_t v = 0;

	while (getrandom(&v, sizeof(v), 0) != sizeof(v) || v == 0) /* 0 stands for none */
		continue;
	return v;
}

uint64_t store_time_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

struct slot_copy {
	struct slot slot;
	bool header_ok, body_ok;
	uint8_t *body;
	uint32_t body_len;
};

static uint32_t header_crc(const uint8_t header[STORE_BLOCK])
{
	static const uint8_t zero[4];
	uint32_t crc = crc32c(0, header, SH_CRC);

	crc = crc32c(crc, zero, sizeof(zero));
	return crc32c(crc, header + SH_CRC + 4, STORE_BLOCK - SH_CRC - 4);
}

static co_fn int read_slot(struct disc_store *s, unsigned index, struct slot_copy *copy)
{
	const struct store_slot_place *place = &s->super.slots[index];
	uint8_t *header = g_malloc(STORE_BLOCK);
	uint32_t body_crc;
	int res = block_pread(s->node, place->state_off, header, STORE_BLOCK);

	*copy = (struct slot_copy){.slot.index = index};
	copy->slot.header_crc = get_le32(header + SH_CRC);
	copy->body_len = get_le32(header + SH_BODY_LEN);
	copy->header_ok = res == 0 && memcmp(header, magic, sizeof(magic)) == 0 &&
			  header_crc(header) == copy->slot.header_crc &&
			  copy->body_len <= place->state_len - STORE_BLOCK;
	copy->slot.generation = get_le64(header + SH_GENERATION);
	copy->slot.nonce = get_le64(header + SH_NONCE);
	copy->slot.prev_nonce = get_le64(header + SH_PREV_NONCE);
	body_crc = get_le32(header + SH_BODY_CRC);
	g_free(header);
	if (!copy->header_ok)
		return res;
	copy->body = g_try_malloc(MAX(copy->body_len, 1));
	if (!copy->body)
		return -ENOMEM;
	res = block_pread(s->node, place->state_off + STORE_BLOCK, copy->body, copy->body_len);
	copy->body_ok = res == 0 && crc32c(0, copy->body, copy->body_len) == body_crc;
	return res;
}

/*
 * Whether a damaged slot was complete once. Its header, if readable, names the generation; else any
 * block newer than the other slot proves it.
 */
static co_fn int was_complete(struct disc_store *s, const struct slot_copy *bad,
			      const struct slot_copy *good, bool *was)
{
	*was = false;
	if (bad->header_ok && bad->slot.generation < good->slot.generation)
		return 0;
	if (bad->header_ok)
		return journal_begins(s, bad->slot.index, bad->slot.generation, bad->slot.nonce,
				      was);
	return journal_begins(s, bad->slot.index, good->slot.generation, 0, was);
}

static co_fn bool take_older(struct disc_store *s, const struct slot_copy *bad,
			     const struct slot_copy *good, GError **error)
{
	uint64_t off = s->super.slots[bad->slot.index].state_off;
	bool was = false;
	int res = was_complete(s, bad, good, &was);

	if (res < 0)
		return err_set_errno(error, -res,
				     "reading the journal of the state slot at 0x%" PRIx64, off);
	if (!was)
		return true;
	if (s->writable) {
		return err_set(error, EIO,
			       "the newest state slot, at 0x%" PRIx64
			       ", is damaged (checksum); open it "
			       "read-only to rescue what the older one at 0x%" PRIx64 " knows",
			       off, s->super.slots[good->slot.index].state_off);
	}
	s->damaged = true;
	return true;
}

static co_fn bool choose(struct disc_store *s, const struct slot_copy c[2], unsigned *take,
			 GError **error)
{
	if (c[0].body_ok && c[1].body_ok) {
		*take = c[1].slot.generation > c[0].slot.generation;
		if (c[0].slot.generation != c[1].slot.generation)
			return true;
		return err_set(error, EINVAL, "both state slots are of generation %" PRIu64,
			       c[0].slot.generation);
	}
	if (!c[0].body_ok && !c[1].body_ok) {
		return err_set(error, EIO,
			       "both state slots, at 0x%" PRIx64 " and 0x%" PRIx64 ", are damaged "
			       "(checksum); restore the file from a copy",
			       s->super.slots[0].state_off, s->super.slots[1].state_off);
	}
	*take = c[1].body_ok;
	return take_older(s, &c[!*take], &c[*take], error);
}

co_fn bool slots_load(struct disc_store *s, GError **error)
{
	struct slot_copy c[2] = {{.header_ok = false}, {.header_ok = false}};
	unsigned take = 0;
	bool ok = true;

	for (unsigned i = 0; i < 2 && ok; i++) {
		int res = read_slot(s, i, &c[i]);

		if (res < 0)
			ok = err_set_errno(error, -res, "reading the state slot at 0x%" PRIx64,
					   s->super.slots[i].state_off);
	}
	ok = ok && choose(s, c, &take, error);
	if (ok) {
		s->slot = c[take].slot;
		s->slot.last_crc = s->slot.header_crc;
		s->next_generation = MAX(c[0].header_ok ? c[0].slot.generation : 0,
					 c[1].header_ok ? c[1].slot.generation : 0) +
				     1;
		ok = rows_apply(&s->committed, c[take].body, c[take].body_len, error);
		if (!ok)
			err_prefix(error, "state slot at 0x%" PRIx64,
				   s->super.slots[take].state_off);
	}
	g_free(c[0].body);
	g_free(c[1].body);
	return ok && journal_replay(s, error);
}

static GByteArray *build_slot(const struct slot *slot, const struct rows *rows)
{
	GByteArray *out = g_byte_array_sized_new(STORE_BLOCK + (unsigned)rows_encoded_len(rows));
	uint32_t body_len;
	uint8_t *header;

	g_byte_array_set_size(out, STORE_BLOCK);
	memset(out->data, 0, STORE_BLOCK);
	rows_encode(rows, out);
	body_len = out->len - STORE_BLOCK;
	header = out->data;
	memcpy(header, magic, sizeof(magic));
	put_le32(header + SH_BODY_CRC, crc32c(0, out->data + STORE_BLOCK, body_len));
	put_le64(header + SH_GENERATION, slot->generation);
	put_le64(header + SH_NONCE, slot->nonce);
	put_le32(header + SH_BODY_LEN, body_len);
	put_le64(header + SH_PREV_NONCE, slot->prev_nonce);
	put_le64(header + SH_TIME, store_time_ns());
	put_le32(header + SH_CRC, header_crc(header));
	return out;
}

co_fn int slot_checkpoint(struct disc_store *s, const struct rows *rows, bool fresh)
{
	struct slot next = {
		.index = !s->slot.index,
		.generation = s->next_generation++,
		.nonce = store_nonce(),
		.prev_nonce = fresh ? 0 : s->slot.nonce,
	};
	GByteArray *out;
	int res;

	if (rows_encoded_len(rows) > slot_body_max(s))
		return -ENOSPC;
	out = build_slot(&next, rows);
	next.header_crc = get_le32(out->data + SH_CRC);
	next.last_crc = next.header_crc;
	res = block_pwrite(s->node, s->super.slots[next.index].state_off, out->data, out->len,
			   BLOCK_FUA);
	g_byte_array_unref(out);
	/* After a failure it may be on the medium all the same, so the journal of the slot in use
	 * is over. */
	s->must_checkpoint = res < 0;
	if (res == 0)
		s->slot = next;
	return res;
}
