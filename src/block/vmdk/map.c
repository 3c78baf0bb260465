/* Where the bytes of the disk are. */
#include <errno.h>
#include <inttypes.h>

#include "base/bytes.h"
#include "base/log.h"
#include "block/vmdk/vmdk.h"

enum { ENTRY = 4 };

int vmdk_complain(struct block_node *node, const struct vmdk_extent *e, const char *what,
		  uint64_t off)
{
	struct vmdk *v = node->state;

	log_limited(&v->complaints, LOG_WARN, "block", "%s: %s at offset %" PRIu64 " of %s",
		    node->name, what, off, block_name(e->file));
	return -EIO;
}

co_fn int vmdk_entries(struct vmdk_extent *e, uint64_t off, const uint8_t **data, uint64_t *n)
{
	uint64_t covers = vmdk_covers(e), i = off % covers / vmdk_grain(e), at;
	uint32_t table = e->directory[off / covers];

	*data = NULL;
	*n = e->h.table - i;
	if (!table)
		return 0;
	at = (uint64_t)table * VMDK_SECTOR + i * ENTRY;
	*n = MIN(*n, (VMDK_SECTOR - at % VMDK_SECTOR) / ENTRY);
	return meta_cache_get(&e->tables, e->file, at, data);
}

bool vmdk_entry_zero(const struct vmdk_extent *e, uint32_t entry)
{
	return entry == VMDK_ZERO_GRAIN && e->h.flags & VMDK_ZERO_GRAINS;
}

uint64_t vmdk_entry_host(const struct vmdk_extent *e, uint32_t entry)
{
	return vmdk_entry_zero(e, entry) ? 0 : (uint64_t)entry * VMDK_SECTOR;
}

/* How many of n entries go on as the first began. */
static uint64_t same(const struct vmdk_extent *e, const uint8_t *data, uint64_t n)
{
	uint32_t first = get_le32(data);
	uint64_t host = vmdk_entry_host(e, first), i = 1;

	for (; i < n; i++) {
		uint32_t entry = get_le32(data + i * ENTRY);

		if (host ? vmdk_entry_host(e, entry) != host + i * vmdk_grain(e) : entry != first)
			break;
	}
	return i;
}

static co_fn int map_sparse(struct block_node *node, struct vmdk_extent *e, uint64_t off,
			    struct block_extent *out)
{
	uint64_t grain = vmdk_grain(e), within = off % grain, n = 1, host;
	uint32_t entry = 0;
	const uint8_t *data;

	if (e->stream) {
		entry = vmdk_stream_entry(e, off);
	} else {
		int res = vmdk_entries(e, off, &data, &n);

		if (res < 0)
			return res;
		if (data) {
			n = same(e, data, MIN(n, out->len / grain + 2));
			entry = get_le32(data);
		}
	}
	host = vmdk_entry_host(e, entry);
	if (host >= e->file->length)
		return vmdk_complain(node, e, "a grain would begin behind the end of the file",
				     host);
	if (host && e->h.compressed) {
		n = 1;
		out->place = PLACE_DRIVER;
		out->compressed = true;
	} else if (host) {
		out->place = PLACE_FILE;
		out->child = e->file;
		out->off = host + within;
	} else {
		out->place = vmdk_entry_zero(e, entry) ? PLACE_ZERO : PLACE_BACKING;
	}
	out->len = MIN(out->len, n * grain - within);
	return 0;
}

co_fn int vmdk_map(struct block_node *node, uint64_t off, uint64_t len, struct block_extent *out)
{
	struct vmdk_extent *e = vmdk_find_extent(node->state, off);
	uint64_t within = off - e->start;

	*out = (struct block_extent){.place = PLACE_ZERO, .len = MIN(len, e->len - within)};
	switch (e->kind) {
	case VMDK_ZERO: return 0;
	case VMDK_SPARSE: return map_sparse(node, e, within, out);
	case VMDK_FLAT:
	case VMDK_VMFS:
		out->place = PLACE_FILE;
		out->child = e->file;
		out->off = e->off + within;
		return 0;
	}
	return -EIO;
}
