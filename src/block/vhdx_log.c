/*
 * VHDX: the log (formats.md 2.7).
 *
 * Replaying: the log is read as a whole. A valid entry begins with "loge", has the header's GUID, a
 * right checksum and descriptors that agree with its length, so that valid entries cannot lie in
 * each other. Entries with numbers that follow each other make a sequence; of those whose last
 * entry's tail is one of them, the one with the highest numbers counts, from that tail on.
 *
 * Writing: each entry stands for itself (its tail is where it is itself), since what the one before
 * says is durable in its place by then. Entries go to the two halves of the log in turn: the one
 * before is still there while one is being written.
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "block/vhdx.h"

struct log {
	uint8_t *data;
	uint32_t len;
	const uint8_t *guid;
};

/* The entry at pos in one piece: a new buffer, or NULL if there is no valid one. */
static uint8_t *take_entry(const struct log *log, uint32_t pos)
{
	const uint8_t *head = log->data + pos;
	uint32_t len = get_le32(head + XL_LEN), n = get_le32(head + XL_COUNT), first;
	uint32_t tail = get_le32(head + XL_TAIL);
	uint64_t sectors;
	uint8_t *e;

	if (memcmp(head, "loge", 4) != 0 || len < VHDX_SECTOR || len % VHDX_SECTOR ||
	    len > log->len || tail % VHDX_SECTOR || tail >= log->len ||
	    get_le64(head + XL_SEQUENCE) == 0 || memcmp(head + XL_GUID, log->guid, VHDX_GUID) != 0)
		return NULL;
	sectors = ((uint64_t)n * XD_SIZE + XL_HEAD_LEN + VHDX_SECTOR - 1) / VHDX_SECTOR;
	if (sectors > len / VHDX_SECTOR)
		return NULL;
	e = g_try_malloc(len);
	if (!e)
		return NULL;
	first = MIN(len, log->len - pos);
	memcpy(e, head, first);
	memcpy(e + first, log->data, len - first);
	return e;
}

/* Where the data of a descriptor are: sectors in the order of the descriptors. */
static bool check_descriptors(const uint8_t *e)
{
	uint32_t n = get_le32(e + XL_COUNT), len = get_le32(e + XL_LEN);
	uint64_t sequence = get_le64(e + XL_SEQUENCE);
	uint64_t at =
		((uint64_t)n * XD_SIZE + XL_HEAD_LEN + VHDX_SECTOR - 1) / VHDX_SECTOR * VHDX_SECTOR;

	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *d = e + XL_HEAD_LEN + (size_t)i * XD_SIZE;
		bool zero = !memcmp(d, "zero", 4);

		if ((!zero && memcmp(d, "desc", 4) != 0) || get_le64(d + XD_SEQUENCE) != sequence ||
		    get_le64(d + XD_OFF) % VHDX_SECTOR || get_le64(d + XD_OFF) > VHDX_MAX_FILE)
			return false;
		if (zero && (get_le64(d + XD_ZERO_LEN) % VHDX_SECTOR ||
			     get_le64(d + XD_ZERO_LEN) > VHDX_MAX_FILE))
			return false;
		if (zero)
			continue;
		if (at + VHDX_SECTOR > len || memcmp(e + at, "data", 4) != 0 ||
		    get_le32(e + at + XS_HIGH) != sequence >> 32 ||
		    get_le32(e + at + XS_LOW) != (uint32_t)sequence)
			return false;
		at += VHDX_SECTOR;
	}
	return at == len;
}

static uint8_t *get_entry(const struct log *log, uint32_t pos)
{
	uint8_t *e = take_entry(log, pos);

	if (e && check_descriptors(e) && vhdx_crc_ok(e, get_le32(e + XL_LEN)))
		return e;
	g_free(e);
	return NULL;
}

/* The sequence from pos on: its length and where it is to be replayed from; 0: none. */
struct sequence {
	uint32_t tail, n; /* n: entries from tail on */
	uint64_t last;
};

static uint32_t walk(const struct log *log, uint32_t pos, struct sequence *found)
{
	uint64_t number = 0, total = 0;
	uint32_t at = pos, tail = 0, n = 0, at_tail = 0;

	*found = (struct sequence){0};
	while (total < log->len) {
		g_autofree uint8_t *e = get_entry(log, at);

		if (!e || (n > 0 && get_le64(e + XL_SEQUENCE) != number + 1) ||
		    total + get_le32(e + XL_LEN) > log->len)
			break;
		number = get_le64(e + XL_SEQUENCE);
		n++;
		tail = get_le32(e + XL_TAIL);
		total += get_le32(e + XL_LEN);
		at = (uint32_t)((pos + total) % log->len);
	}
	/* Whether the last one's tail is one of them: go through once more. */
	for (uint32_t k = 0, p = pos; k < n; k++) {
		if (p == tail) {
			at_tail = n - k;
			break;
		}
		p = (p + get_le32(log->data + p + XL_LEN)) % log->len;
	}
	if (at_tail)
		*found = (struct sequence){tail, at_tail, number};
	return total ? (uint32_t)total : VHDX_SECTOR;
}

static bool add_change(struct vhdx *v, uint64_t off, uint64_t len, const uint8_t *d,
		       const uint8_t *sector)
{
	struct vhdx_change c = {.off = off, .len = len};

	if (sector) {
		c.data = g_try_malloc(VHDX_SECTOR);
		if (!c.data)
			return false;
		memcpy(c.data, d + XD_LEADING, XS_DATA);
		memcpy(c.data + XS_DATA, sector + XS_DATA, XS_DATA_LEN);
		memcpy(c.data + XS_LOW, d + XD_TRAILING, 4);
	}
	g_array_append_val(v->replayed, c);
	return true;
}

/* What one entry says. */
static bool collect_entry(struct block_node *node, const uint8_t *e, uint64_t *last_off,
			  GError **error)
{
	struct vhdx *v = node->state;
	uint32_t n = get_le32(e + XL_COUNT);
	uint64_t at =
		((uint64_t)n * XD_SIZE + XL_HEAD_LEN + VHDX_SECTOR - 1) / VHDX_SECTOR * VHDX_SECTOR;
	uint64_t last = get_le64(e + XL_LAST), flushed = get_le64(e + XL_FLUSHED);

	if (flushed > node->file->length || last > VHDX_MAX_FILE) {
		return err_set(error, EINVAL,
			       "vhdx: the log at offset %" PRIu64 " is of a file of %" PRIu64
			       " bytes (offset %d of its entry), and this has %" PRIu64,
			       get_le64(v->head + XH_LOG_OFF), flushed, XL_FLUSHED,
			       node->file->length);
	}
	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *d = e + XL_HEAD_LEN + (size_t)i * XD_SIZE;
		bool zero = *d == 'z';
		uint64_t off = get_le64(d + XD_OFF);
		uint64_t len = zero ? get_le64(d + XD_ZERO_LEN) : VHDX_SECTOR;

		if (off + len > MAX(last, node->file->length)) {
			return err_set(error, EINVAL,
				       "vhdx: the log at offset %" PRIu64 " changes offset %" PRIu64
				       ", behind the end of the file",
				       get_le64(v->head + XH_LOG_OFF), off);
		}
		if (!add_change(v, off, len, d, zero ? NULL : e + at))
			return err_set(error, ENOMEM, "vhdx: no memory for what the log says");
		at += zero ? 0 : VHDX_SECTOR;
	}
	*last_off = MAX(*last_off, last);
	return true;
}

static bool collect(struct block_node *node, const struct log *log, uint64_t *last_off,
		    GError **error)
{
	struct vhdx *v = node->state;
	struct sequence best = {0}, found;
	uint32_t at;

	for (uint64_t pos = 0; pos < log->len;) {
		pos += walk(log, (uint32_t)pos, &found);
		if (found.n && found.last > best.last)
			best = found;
	}
	v->replayed = g_array_new(FALSE, FALSE, sizeof(struct vhdx_change));
	at = best.tail;
	for (uint32_t i = 0; i < best.n; i++) {
		g_autofree uint8_t *e = get_entry(log, at);

		if (!e)
			return err_set(error, ENOMEM, "vhdx: no memory for an entry of the log");
		if (!collect_entry(node, e, last_off, error))
			return false;
		at = (at + get_le32(e + XL_LEN)) % log->len;
	}
	return true;
}

/* What the log says goes into the file, for good. */
static co_fn int apply(struct block_node *node, uint64_t last_off)
{
	struct vhdx *v = node->state;
	int res = 0;

	if (last_off > node->file->length)
		res = block_truncate(node->file, last_off);
	for (unsigned i = 0; i < v->replayed->len && res == 0; i++) {
		const struct vhdx_change *c = &g_array_index(v->replayed, struct vhdx_change, i);

		res = c->data ? block_pwrite(node->file, c->off, c->data, VHDX_SECTOR, 0)
			      : block_discard_zero(node->file, c->off, c->len);
	}
	if (res == 0)
		res = block_flush(node->file);
	if (res < 0)
		return res;
	vhdx_free_changes(v);
	memset(v->head + XH_LOG_GUID, 0, VHDX_GUID);
	blocks_new_uuid(v->head + XH_FILE_WRITE);
	return vhdx_write_headers(node);
}

co_fn bool vhdx_replay(struct block_node *node, GError **error)
{
	struct vhdx *v = node->state;
	struct log log = {.len = get_le32(v->head + XH_LOG_LEN), .guid = v->head + XH_LOG_GUID};
	uint64_t last_off = 0;
	bool ok = false;
	int res;

	if (vhdx_guid_is_zero(log.guid))
		return true;
	log.data = g_try_malloc(log.len);
	if (!log.data)
		return err_set(error, ENOMEM, "vhdx: no memory for a log of %" PRIu32 " bytes",
			       log.len);
	res = vhdx_read(node, get_le64(v->head + XH_LOG_OFF), log.data, log.len);
	if (res < 0)
		err_set_errno(error, -res, "vhdx: the log cannot be read");
	else
		ok = collect(node, &log, &last_off, error);
	g_free(log.data);
	if (!ok || !node->writable)
		return ok;
	res = apply(node, last_off);
	return res == 0 || err_set_errno(error, -res, "vhdx: the log cannot be replayed");
}

void vhdx_free_changes(struct vhdx *v)
{
	for (unsigned i = 0; v->replayed && i < v->replayed->len; i++)
		g_free(g_array_index(v->replayed, struct vhdx_change, i).data);
	if (v->replayed)
		g_array_unref(v->replayed);
	v->replayed = NULL;
}

/* One entry with n sectors, for the file as it is. */
static void put_entry(const struct block_node *node, uint8_t *e, uint32_t len, uint32_t pos,
		      const struct vhdx_change *sectors, unsigned n)
{
	const struct vhdx *v = node->state;

	memcpy(e, "loge", VHDX_MARK);
	put_le32(e + XL_LEN, len);
	put_le32(e + XL_TAIL, pos);
	put_le64(e + XL_SEQUENCE, v->log_sequence);
	put_le32(e + XL_COUNT, n);
	memcpy(e + XL_GUID, v->head + XH_LOG_GUID, VHDX_GUID);
	put_le64(e + XL_FLUSHED, node->file->length);
	put_le64(e + XL_LAST, node->file->length);
	for (unsigned i = 0; i < n; i++) {
		uint8_t *d = e + XL_HEAD_LEN + (size_t)i * XD_SIZE;
		uint8_t *s = e + (size_t)(i + 1) * VHDX_SECTOR;
		const uint8_t *data = sectors[i].data;

		memcpy(d, "desc", VHDX_MARK);
		memcpy(d + XD_TRAILING, data + XS_LOW, 4);
		memcpy(d + XD_LEADING, data, XS_DATA);
		put_le64(d + XD_OFF, sectors[i].off);
		put_le64(d + XD_SEQUENCE, v->log_sequence);
		memcpy(s, "data", VHDX_MARK);
		put_le32(s + XS_HIGH, (uint32_t)(v->log_sequence >> 32));
		memcpy(s + XS_DATA, data + XS_DATA, XS_DATA_LEN);
		put_le32(s + XS_LOW, (uint32_t)v->log_sequence);
	}
	vhdx_put_crc(e, len);
}

co_fn int vhdx_log_write(struct block_node *node, const struct vhdx_change *sectors, unsigned n)
{
	struct vhdx *v = node->state;
	uint32_t len = (n + 1) * VHDX_SECTOR;
	uint32_t pos = v->log_half ? get_le32(v->head + XH_LOG_LEN) / 2 : 0;
	uint8_t *e = g_try_malloc0(len);
	int res = e ? block_flush(node->file) : -ENOMEM;

	if (res == 0 && vhdx_guid_is_zero(v->head + XH_LOG_GUID)) {
		blocks_new_uuid(v->head + XH_LOG_GUID);
		res = vhdx_write_headers(node);
	}
	if (res == 0) {
		v->log_sequence++;
		v->log_half = !v->log_half;
		put_entry(node, e, len, pos, sectors, n);
		res = block_pwrite(node->file, get_le64(v->head + XH_LOG_OFF) + pos, e, len, 0);
	}
	if (res == 0)
		res = block_flush(node->file);
	for (unsigned i = 0; i < n && res == 0; i++)
		res = block_pwrite(node->file, sectors[i].off, sectors[i].data, VHDX_SECTOR, 0);
	g_free(e);
	return res;
}
