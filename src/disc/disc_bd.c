/*
 * BD-R (reference/mmc.md 5.11): sequential recording (SRM), with or without pseudo overwrite (POW).
 *
 * FORMAT UNIT on a blank disc sets spare clusters aside and may turn on POW; then what is recorded
 * can be overwritten, as if remapped. The remapping is not kept (the new data goes in place): only
 * its cost is, out of a stock that formatting provides. A POW disc has no sessions to close; what
 * was written is what it holds.
 */
#include "disc/rules.h"

enum {
	CLUSTER = 32,
	SPARE_MIN = 0x1000,
	SPARE_DEFAULT = 0x3000,
	SPARE_MAX = 0x5000, /* clusters a layer */
	POW_MAP_ENTRIES = 65536,
	POW_UPDATES = 65536,
	TYPE_DEFAULT = 0x00,
	TYPE_SPARE = 0x32,
	SUBTYPE_POW = 0,
	SUBTYPE_NO_POW = 1,
	BYTE_BLOCKS = 4,
	BYTE_TYPE = 8,
	BYTE_PARAMETER = 9, /* in the format list */
};

/* A disc much smaller than real ones gets its spare clusters in the same proportions. */
static uint32_t spare_of(const struct disc_state *s, uint32_t per_layer)
{
	uint32_t clusters = s->max_blocks / CLUSTER;

	if (clusters >= s->layers * SPARE_MAX * 2u)
		return s->layers * per_layer;
	return MAX(clusters / 96 * (per_layer / SPARE_MIN), 1u);
}

static bool pow_can_replace(const struct disc *d, uint32_t clusters)
{
	const struct disc_state *s = d->state;

	return s->pow_replacements >= clusters && s->pow_updates > 0;
}

/* Blocks below the next writable address, all of them recorded. */
static co_fn enum disc_status overwrite(struct disc *d, int32_t lba, uint32_t blocks,
					const struct iovs *iov)
{
	uint32_t clusters = (uint32_t)((lba + (int32_t)blocks - 1) / CLUSTER - lba / CLUSTER + 1);
	enum disc_status status;

	for (int64_t at = lba; at < (int64_t)lba + blocks;) {
		struct extent x = disc_find_extent(d->state, (int32_t)at);

		if (x.kind == EXTENT_NONE)
			return disc_fail_at(d, DISC_NOT_NWA, seq_next_start(d));
		at = x.end;
	}
	if (!pow_can_replace(d, clusters))
		return DISC_PROTECTED;
	status = disc_before_write(d);
	if (status == DISC_OK)
		status = disc_put_blocks(d, lba, blocks, iov, 0, BLOCK_LEN);
	if (status != DISC_OK)
		return status;
	/* Committed with the data, by the next flush. */
	d->state->pow_replacements -= clusters;
	d->state->pow_map_entries -= MIN(clusters, d->state->pow_map_entries);
	d->state->pow_updates--;
	d->uncommitted += (uint64_t)blocks * BLOCK_LEN;
	d->moved = true;
	return DISC_OK;
}

static co_fn enum disc_status bd_write(struct disc *d, int32_t lba, uint32_t blocks,
				       const struct iovs *iov, bool replay)
{
	const struct disc_track *t = seq_open_track(d->state);
	int32_t nwa = t ? t->nwa : seq_next_start(d);

	if (d->state->pow && lba >= 0 && (int64_t)lba + blocks <= nwa)
		return overwrite(d, lba, blocks, iov);
	return seq_write(d, lba, blocks, iov, replay);
}

static co_fn enum disc_status bd_close_session(struct disc *d)
{
	return d->state->pow ? DISC_INCOMPATIBLE : seq_close_session(d, true);
}

static uint32_t bd_last_lba(const struct disc *d)
{
	int32_t end = disc_readable_end(d->state);

	if (!d->state->pow)
		return seq_last_lba(d);
	return end > 0 ? (uint32_t)(end - 1) : 0;
}

/* Spare clusters that a format descriptor asks for; 0: not acceptable. */
static uint32_t wanted_spare(struct disc *d, const struct disc_format *f)
{
	const struct disc_state *s = d->state;
	uint32_t spare;

	if (f->type == TYPE_DEFAULT)
		return spare_of(s, SPARE_DEFAULT);
	if (f->blocks == 0 || f->blocks % CLUSTER || f->blocks >= s->max_blocks) {
		d->error.byte = BYTE_BLOCKS;
		return 0;
	}
	spare = (s->max_blocks - f->blocks) / CLUSTER;
	if (spare < spare_of(s, SPARE_MIN) || spare > spare_of(s, SPARE_MAX)) {
		d->error.byte = BYTE_BLOCKS;
		return 0;
	}
	return spare;
}

static co_fn enum disc_status bd_format(struct disc *d, const struct disc_format *f)
{
	struct disc_state *next;
	enum disc_status status;
	uint32_t spare;

	if (d->state->formatted || d->state->status != DISC_BLANK)
		return DISC_INCOMPATIBLE;
	if ((f->type != TYPE_DEFAULT && f->type != TYPE_SPARE) || f->subtype > SUBTYPE_NO_POW)
		return disc_bad_byte(d, BYTE_TYPE);
	spare = wanted_spare(d, f);
	if (!spare)
		return DISC_BAD_PARAMETER;
	next = disc_change(d);
	next->formatted = 1;
	next->pow = f->subtype == SUBTYPE_POW;
	next->spare_clusters = spare;
	next->capacity = next->max_blocks - spare * CLUSTER;
	next->status = DISC_APPENDABLE;
	next->format_count++;
	if (next->pow) {
		next->pow_replacements = spare;
		next->pow_map_entries = POW_MAP_ENTRIES;
		next->pow_updates = POW_UPDATES;
	}
	status = disc_apply(d, next, false);
	if (status == DISC_OK)
		disc_add_history(d, EVENT_FORMATTED, 0, d->state->capacity);
	return status;
}

static struct disc_capacity offer(const struct disc_state *s, uint8_t type, uint32_t per_layer)
{
	uint32_t spare = spare_of(s, per_layer);

	return (struct disc_capacity){
		.blocks = s->max_blocks - spare * CLUSTER, .type = type, .parameter = spare};
}

static unsigned bd_capacities(const struct disc *d, struct disc_capacity *out, unsigned max)
{
	const struct disc_state *s = d->state;
	bool blank = !s->formatted && s->status == DISC_BLANK;
	/* clang-format off */
	const struct disc_capacity list[] = {
		{ .blocks = s->capacity, .type = blank ? 1 : 2, .current = true },
		offer(s, TYPE_DEFAULT, SPARE_DEFAULT),
		offer(s, TYPE_SPARE, SPARE_DEFAULT),
		offer(s, TYPE_SPARE, SPARE_MAX),
		offer(s, TYPE_SPARE, SPARE_MIN),
	};
	/* clang-format on */
	unsigned n = MIN(blank ? G_N_ELEMENTS(list) : 1u, max);

	for (unsigned i = 0; i < n; i++)
		out[i] = list[i];
	return n;
}

const struct disc_rules disc_rules_bd_r = {
	.profile = PROFILE_BD_R_SRM,
	.align = CLUSTER,
	.control = 4,
	.blank_mode = 1,
	.packet_size = CLUSTER,
	.max_open = 16,
	.max_session_tracks = 7927,
	.max_tracks = 7927,
	.write = bd_write,
	.sync = seq_sync,
	.reserve_track = seq_reserve,
	.close_track = seq_close_track,
	.close_session = bd_close_session,
	.finalise = seq_finalise,
	.format = bd_format,
	.last_lba = bd_last_lba,
	.capacities = bd_capacities,
};
