/* The header of a sparse extent: pure, see format.h. */
#include "block/vmdk/format.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"

enum { MAX_VERSION = 3, ENTRY = 4, DEFLATE = 1 };
static const uint8_t newlines[] = {'\n', ' ', '\r', '\n'};

/* What is wrong with a field, and where it stands. */
struct place {
	uint64_t off;
	GError **error;
};

static bool bad(const struct place *w, unsigned field, const char *name, uint64_t value,
		const char *must)
{
	return err_set(w->error, EINVAL, "vmdk: %s at offset %" PRIu64 " is %" PRIu64 "; %s", name,
		       w->off + field, value, must);
}

/* Whether that many bytes from a sector on lie in the file behind the header. */
static bool inside(uint64_t sector, uint64_t bytes, uint64_t file_len)
{
	return sector > 0 && sector <= file_len / VMDK_SECTOR &&
	       bytes <= file_len - sector * VMDK_SECTOR;
}

static bool check_kind(const struct place *w, const uint8_t *p, struct vmdk_header *h)
{
	unsigned codec = get_le16(p + VH_COMPRESSION);

	if (h->version < 1 || h->version > MAX_VERSION)
		return bad(w, VH_VERSION, "the version", h->version, "must be 1 to 3");
	if (h->flags & VMDK_NEWLINES && memcmp(p + VH_NEWLINES, newlines, sizeof(newlines)) != 0) {
		return bad(w, VH_NEWLINES, "the test for newlines", get_le32(p + VH_NEWLINES),
			   "the file was damaged by a transfer as text");
	}
	h->compressed = h->flags & VMDK_COMPRESSED;
	if (codec > DEFLATE)
		return bad(w, VH_COMPRESSION, "the compression", codec,
			   "must be 0 (none) or 1 (deflate)");
	if (h->compressed && codec != DEFLATE)
		return bad(w, VH_COMPRESSION, "the compression", codec,
			   "must be 1 (deflate) as the flags say that there is one");
	if (h->compressed && !(h->flags & VMDK_MARKERS))
		return bad(w, VH_FLAGS, "the word of flags", h->flags,
			   "compressed grains need markers (bit 17)");
	return true;
}

static bool check_sizes(const struct place *w, struct vmdk_header *h)
{
	uint64_t covers, n;

	if (h->capacity == 0 || h->capacity > VMDK_MAX_BYTES / VMDK_SECTOR)
		return bad(w, VH_CAPACITY, "the capacity in sectors", h->capacity,
			   "must be 1 to 2^53");
	if (h->grain < VMDK_MIN_GRAIN || h->grain > VMDK_MAX_GRAIN || h->grain & (h->grain - 1))
		return bad(w, VH_GRAIN, "the grain size in sectors", h->grain,
			   "must be a power of two from 8 to 32768");
	if (h->table < 1 || h->table > VMDK_MAX_TABLE)
		return bad(w, VH_TABLE, "the number of entries of a grain table", h->table,
			   "must be 1 to 512");
	covers = h->grain * h->table;
	n = h->capacity / covers + (h->capacity % covers > 0);
	if (n > VMDK_MAX_DIRECTORY)
		return bad(w, VH_CAPACITY, "the capacity in sectors", h->capacity,
			   "needs a grain directory of more than 16 MiB");
	h->directory_len = (uint32_t)n;
	return true;
}

static bool check_places(const struct place *w, struct vmdk_header *h, uint64_t file_len)
{
	uint64_t bytes = (uint64_t)h->directory_len * ENTRY;

	if (h->text_len > VMDK_MAX_TEXT / VMDK_SECTOR)
		return bad(w, VH_TEXT_LEN, "the length of the descriptor in sectors", h->text_len,
			   "must be at most 2048");
	if (w->off == 0 && h->text_len && !inside(h->text, h->text_len * VMDK_SECTOR, file_len))
		return bad(w, VH_TEXT, "the sector of the descriptor", h->text,
			   "it is not wholly in the file");
	if (h->directory == VMDK_AT_END && w->off == 0)
		return true;
	if (!inside(h->directory, bytes, file_len))
		return bad(w, VH_DIRECTORY, "the sector of the grain directory", h->directory,
			   "it is not wholly in the file");
	if (h->second && !inside(h->second, bytes, file_len))
		return bad(w, VH_SECOND, "the sector of the second grain directory", h->second,
			   "it is not wholly in the file");
	if (h->overhead > file_len / VMDK_SECTOR)
		return bad(w, VH_OVERHEAD, "the overhead in sectors", h->overhead,
			   "the file is not that long");
	return true;
}

bool vmdk_parse_header(const uint8_t *p, uint64_t off, uint64_t file_len, struct vmdk_header *h,
		       GError **error)
{
	struct place w = {off, error};

	*h = (struct vmdk_header){
		.version = get_le32(p + VH_VERSION),
		.flags = get_le32(p + VH_FLAGS),
		.capacity = get_le64(p + VH_CAPACITY),
		.grain = get_le64(p + VH_GRAIN),
		.text = get_le64(p + VH_TEXT),
		.text_len = get_le64(p + VH_TEXT_LEN),
		.table = get_le32(p + VH_TABLE),
		.directory = get_le64(p + VH_DIRECTORY),
		.overhead = get_le64(p + VH_OVERHEAD),
	};
	if (get_le32(p) == VMDK_COWD_MAGIC)
		return err_set(error, ENOTSUP,
			       "vmdk: is a COWD extent (vmfsSparse), which is not supported");
	if (get_le32(p) != VMDK_MAGIC)
		return bad(&w, VH_MAGIC, "the magic number", get_le32(p),
			   "a sparse extent begins with \"KDMV\"");
	if (h->flags & VMDK_HAS_SECOND)
		h->second = get_le64(p + VH_SECOND);
	return check_kind(&w, p, h) && check_sizes(&w, h) && check_places(&w, h, file_len);
}

void vmdk_put_header(uint8_t *p, const struct vmdk_header *h)
{
	memset(p, 0, VMDK_SECTOR);
	put_le32(p, VMDK_MAGIC);
	put_le32(p + VH_VERSION, h->version);
	put_le32(p + VH_FLAGS, h->flags);
	put_le64(p + VH_CAPACITY, h->capacity);
	put_le64(p + VH_GRAIN, h->grain);
	put_le64(p + VH_TEXT, h->text);
	put_le64(p + VH_TEXT_LEN, h->text_len);
	put_le32(p + VH_TABLE, h->table);
	put_le64(p + VH_SECOND, h->second);
	put_le64(p + VH_DIRECTORY, h->directory);
	put_le64(p + VH_OVERHEAD, h->overhead);
	memcpy(p + VH_NEWLINES, newlines, sizeof(newlines));
	put_le16(p + VH_COMPRESSION, h->compressed ? DEFLATE : 0);
}
