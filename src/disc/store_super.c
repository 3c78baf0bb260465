/*
 * The superblock of a .disc file: where everything lies. Planning it for a new disc, encoding, and
 * decoding with every check that the rest of the store relies on (areas inside the file, aligned,
 * of known sizes, none overlapping).
 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "disc/profile.h"
#include "disc/store_priv.h"

#include "outboard-config.h"

static const char magic[8] = "OUTBDISC";

enum {
	SB_MAGIC = 0,
	SB_CRC = 8,
	SB_MAJOR = 12,
	SB_MINOR = 14,
	SB_INCOMPATIBLE = 16,
	SB_RO_COMPATIBLE = 24,
	SB_COMPATIBLE = 32,
	SB_UUID = 40,
	SB_FILE_LEN = 56,
	SB_META = 64,
	SB_MAX_BLOCKS = 72,
	SB_LOWEST = 76,
	SB_FAMILY = 80,
	SB_PROFILE = 84,
	SB_COPY_SEQ = 88,
	SB_N_PLANES = 92,
	SB_PLANES = 96,
	SB_SLOTS = 352,
	SB_PROGRESS = 416,
	SB_HISTORY = 424,
	SB_HISTORY_LEN = 432,
	SB_GENERATOR = 440,
	SB_GENERATOR_LEN = 64,
	SB_CREATED = 504,
};

enum { PL_KIND = 0, PL_SECTOR = 4, PL_OFF = 8, PL_LEN = 16, PL_FIRST = 24, PLANE_ROW = 32 };
enum { SL_STATE = 0, SL_JOURNAL = 8, SL_STATE_LEN = 16, SL_JOURNAL_BLOCKS = 20, SLOT_ROW = 32 };

enum { MAX_STATE_LEN = 16 << 20, MAX_JOURNAL_BLOCKS = 4096, PLANE_ALIGN = 64 << 10 };

static const uint32_t sector_lens[] = {
	[PLANE_USER] = 2048,
	[PLANE_RAW] = 2352,
	[PLANE_SUB] = 96,
	[PLANE_KIND] = 1,
};

static enum disc_family family_of(uint16_t profile)
{
	switch (profile) {
	case PROFILE_CD_ROM:
	case PROFILE_CD_R:
	case PROFILE_CD_RW: return DISC_CD;
	case PROFILE_DVD_ROM: return DISC_DVD_ROM;
	case PROFILE_DVD_RAM: return DISC_DVD_RAM;
	case PROFILE_DVD_PLUS_RW:
	case PROFILE_DVD_PLUS_R:
	case PROFILE_DVD_PLUS_RW_DL:
	case PROFILE_DVD_PLUS_R_DL: return DISC_DVD_PLUS;
	default: return profile >= PROFILE_BD_ROM ? DISC_BD : DISC_DVD_MINUS;
	}
}

static uint64_t round_up(uint64_t v, uint64_t to)
{
	return (v + to - 1) / to * to;
}

/* Returns where the next area may begin. */
static uint64_t plan_plane(struct store_super *super, enum disc_plane kind, uint64_t off,
			   int32_t first)
{
	struct store_plane *p = &super->planes[kind];

	p->sector_len = sector_lens[kind];
	p->off = off;
	p->first = first;
	p->len = (uint64_t)p->sector_len *
		 ((uint64_t)super->max_blocks + (uint64_t) - (int64_t)first);
	return round_up(off + p->len, META_ALIGN);
}

void super_plan(struct store_super *super, const struct disc_state *state)
{
	uint64_t end;

	*super = (struct store_super){
		.major = STORE_MAJOR,
		.minor = STORE_MINOR,
		.max_blocks = state->max_blocks,
		.family = family_of(state->profile),
		.profile = state->profile,
		.copy_seq = 1,
		.generator = "outboard " OUTBOARD_VERSION,
		.created_ns = store_time_ns(),
	};
	for (unsigned i = 0; i < 2; i++)
		put_le64(super->uuid + 8 * i, store_nonce());
	super->uuid[6] = (super->uuid[6] & 0x0f) | 0x40; /* RFC 4122: random */
	super->uuid[8] = (super->uuid[8] & 0x3f) | 0x80;
	end = plan_plane(super, PLANE_USER, 0, 0);
	if (super->family == DISC_CD) {
		super->lowest = -CD_BIAS;
		end = plan_plane(super, PLANE_RAW, end, super->lowest);
		end = plan_plane(super, PLANE_SUB, end, super->lowest);
		end = plan_plane(super, PLANE_KIND, end, super->lowest);
	}
	super->meta_off = end;
	super->file_len = end + META_LEN;
	super->progress_off = end + META_PROGRESS;
	super->history_off = end + META_HISTORY;
	super->history_len = META_HISTORY_LEN;
	for (unsigned i = 0; i < 2; i++) {
		super->slots[i] = (struct store_slot_place){
			.state_off = end + META_SLOT + 2 * i * META_SLOT_LEN,
			.state_len = META_SLOT_LEN,
			.journal_off = end + META_SLOT + (2 * i + 1) * META_SLOT_LEN,
			.journal_blocks = META_JOURNAL_BLOCKS,
		};
	}
}

void super_encode(const struct store_super *super, uint8_t block[STORE_BLOCK])
{
	uint8_t *p = block + SB_PLANES;
	uint32_t n = 0;

	memset(block, 0, STORE_BLOCK);
	memcpy(block + SB_MAGIC, magic, sizeof(magic));
	put_le16(block + SB_MAJOR, super->major);
	put_le16(block + SB_MINOR, super->minor);
	put_le64(block + SB_INCOMPATIBLE, super->incompatible);
	put_le64(block + SB_RO_COMPATIBLE, super->ro_compatible);
	put_le64(block + SB_COMPATIBLE, super->compatible);
	memcpy(block + SB_UUID, super->uuid, sizeof(super->uuid));
	put_le64(block + SB_FILE_LEN, super->file_len);
	put_le64(block + SB_META, super->meta_off);
	put_le32(block + SB_MAX_BLOCKS, super->max_blocks);
	put_le32(block + SB_LOWEST, (uint32_t)super->lowest);
	put_le32(block + SB_FAMILY, super->family);
	put_le32(block + SB_PROFILE, super->profile);
	put_le32(block + SB_COPY_SEQ, super->copy_seq);
	for (unsigned kind = 0; kind <= PLANE_KIND; kind++) {
		const struct store_plane *plane = &super->planes[kind];

		if (!plane->sector_len)
			continue;
		put_le32(p + PL_KIND, kind);
		put_le32(p + PL_SECTOR, plane->sector_len);
		put_le64(p + PL_OFF, plane->off);
		put_le64(p + PL_LEN, plane->len);
		put_le32(p + PL_FIRST, (uint32_t)plane->first);
		p += PLANE_ROW;
		n++;
	}
	put_le32(block + SB_N_PLANES, n);
	for (unsigned i = 0; i < 2; i++) {
		p = block + SB_SLOTS + i * SLOT_ROW;
		put_le64(p + SL_STATE, super->slots[i].state_off);
		put_le64(p + SL_JOURNAL, super->slots[i].journal_off);
		put_le32(p + SL_STATE_LEN, super->slots[i].state_len);
		put_le32(p + SL_JOURNAL_BLOCKS, super->slots[i].journal_blocks);
	}
	put_le64(block + SB_PROGRESS, super->progress_off);
	put_le64(block + SB_HISTORY, super->history_off);
	put_le64(block + SB_HISTORY_LEN, super->history_len);
	memcpy(block + SB_GENERATOR, super->generator,
	       MIN(strlen(super->generator), (size_t)SB_GENERATOR_LEN));
	put_le64(block + SB_CREATED, super->created_ns);
	put_le32(block + SB_CRC, crc32c(0, block, STORE_BLOCK));
}

/* An area of the file, for the test that none overlap. */
struct area {
	const char *name;
	uint64_t off, len, align;
};

static bool check_areas(const struct area *areas, unsigned n, uint64_t file_len, GError **error)
{
	for (unsigned i = 0; i < n; i++) {
		const struct area *a = &areas[i];

		if (a->off > file_len || a->len > file_len - a->off || a->off % a->align) {
			return err_set(error, EINVAL,
				       "superblock: the %s (%" PRIu64 " bytes at 0x%" PRIx64
				       ") does not fit into the file",
				       a->name, a->len, a->off);
		}
		for (unsigned k = 0; k < i; k++) {
			if (a->off < areas[k].off + areas[k].len &&
			    areas[k].off < a->off + a->len) {
				return err_set(error, EINVAL,
					       "superblock: %s (0x%" PRIx64 ") and %s (0x%" PRIx64
					       ") overlap",
					       areas[k].name, areas[k].off, a->name, a->off);
			}
		}
	}
	return true;
}

static bool check_places(const struct store_super *super, GError **error)
{
	static const char *const plane_names[] = {"user plane", "raw plane", "subchannel plane",
						  "kind plane"};
	struct area areas[16];
	unsigned n = 0;

	for (unsigned kind = 0; kind <= PLANE_KIND; kind++) {
		if (super->planes[kind].sector_len)
			areas[n++] = (struct area){plane_names[kind], super->planes[kind].off,
						   super->planes[kind].len, PLANE_ALIGN};
	}
	areas[n++] = (struct area){"superblock copy A", super->meta_off, STORE_BLOCK, PLANE_ALIGN};
	areas[n++] = (struct area){"progress page", super->progress_off, STORE_BLOCK, PLANE_ALIGN};
	areas[n++] = (struct area){"history", super->history_off, super->history_len, STORE_BLOCK};
	for (unsigned i = 0; i < 2; i++) {
		const struct store_slot_place *slot = &super->slots[i];

		if (slot->state_len < 2 * STORE_BLOCK || slot->state_len > MAX_STATE_LEN ||
		    slot->journal_blocks < 1 || slot->journal_blocks > MAX_JOURNAL_BLOCKS) {
			return err_set(error, EINVAL,
				       "superblock: slot %u: %u bytes of state, %u journal blocks",
				       i, slot->state_len, slot->journal_blocks);
		}
		areas[n++] =
			(struct area){"state slot", slot->state_off, slot->state_len, STORE_BLOCK};
		areas[n++] =
			(struct area){"journal", slot->journal_off,
				      (uint64_t)slot->journal_blocks * STORE_BLOCK, STORE_BLOCK};
	}
	areas[n++] = (struct area){"superblock copy B", super->file_len - STORE_BLOCK, STORE_BLOCK,
				   STORE_BLOCK};
	return check_areas(areas, n, super->file_len, error);
}

static bool decode_plane(struct store_super *super, const uint8_t *p, GError **error)
{
	uint32_t kind = get_le32(p + PL_KIND);
	struct store_plane *plane;

	if (kind > PLANE_KIND)
		return err_set(error, ENOTSUP,
			       "superblock: has a plane of kind %u, made by a newer version", kind);
	plane = &super->planes[kind];
	if (plane->sector_len)
		return err_set(error, EINVAL, "superblock: two planes of kind %u", kind);
	plane->sector_len = get_le32(p + PL_SECTOR);
	plane->off = get_le64(p + PL_OFF);
	plane->len = get_le64(p + PL_LEN);
	plane->first = (int32_t)get_le32(p + PL_FIRST);
	if (plane->sector_len != sector_lens[kind] || plane->len % plane->sector_len ||
	    plane->first > 0 || plane->first < super->lowest) {
		return err_set(error, EINVAL,
			       "superblock: plane of kind %u: %" PRIu64 " bytes in sectors of %u "
			       "from LBA %d",
			       kind, plane->len, plane->sector_len, plane->first);
	}
	return true;
}

static bool decode_planes(struct store_super *super, const uint8_t *block, GError **error)
{
	const struct store_plane *user = &super->planes[PLANE_USER];
	uint32_t n = get_le32(block + SB_N_PLANES);

	if (n < 1 || n > STORE_MAX_PLANES)
		return err_set(error, EINVAL, "superblock: %u planes", n);
	if (super->max_blocks < 1 || super->max_blocks > INT32_MAX || super->lowest > 0 ||
	    super->lowest < -(1 << 24))
		return err_set(error, EINVAL, "superblock: %u blocks from LBA %d",
			       super->max_blocks, super->lowest);
	for (uint32_t i = 0; i < n; i++)
		if (!decode_plane(super, block + SB_PLANES + i * PLANE_ROW, error))
			return false;
	if (user->off != 0 || user->first != 0 ||
	    user->len != (uint64_t)super->max_blocks * user->sector_len)
		return err_set(error, EINVAL, "superblock: the user plane must hold %u blocks at 0",
			       super->max_blocks);
	return true;
}

static bool decode_checked(struct store_super *super, const uint8_t *block, GError **error)
{
	super->major = get_le16(block + SB_MAJOR);
	super->minor = get_le16(block + SB_MINOR);
	super->incompatible = get_le64(block + SB_INCOMPATIBLE);
	super->ro_compatible = get_le64(block + SB_RO_COMPATIBLE);
	super->compatible = get_le64(block + SB_COMPATIBLE);
	if (super->major != STORE_MAJOR) {
		return err_set(error, ENOTSUP,
			       "made by a newer version (format %u.%u), this program reads %u: use "
			       "a newer outboard",
			       super->major, super->minor, STORE_MAJOR);
	}
	if (super->incompatible) {
		return err_set(error, ENOTSUP,
			       "made by a newer version (feature bits 0x%" PRIx64 " are unknown): "
			       "use a newer outboard",
			       super->incompatible);
	}
	memcpy(super->uuid, block + SB_UUID, sizeof(super->uuid));
	super->file_len = get_le64(block + SB_FILE_LEN);
	super->meta_off = get_le64(block + SB_META);
	super->max_blocks = get_le32(block + SB_MAX_BLOCKS);
	super->lowest = (int32_t)get_le32(block + SB_LOWEST);
	super->family = get_le32(block + SB_FAMILY);
	super->profile = get_le32(block + SB_PROFILE);
	super->copy_seq = get_le32(block + SB_COPY_SEQ);
	super->progress_off = get_le64(block + SB_PROGRESS);
	super->history_off = get_le64(block + SB_HISTORY);
	super->history_len = get_le64(block + SB_HISTORY_LEN);
	super->created_ns = get_le64(block + SB_CREATED);
	memcpy(super->generator, block + SB_GENERATOR, SB_GENERATOR_LEN);
	for (unsigned i = 0; i < 2; i++) {
		const uint8_t *p = block + SB_SLOTS + i * SLOT_ROW;

		super->slots[i].state_off = get_le64(p + SL_STATE);
		super->slots[i].journal_off = get_le64(p + SL_JOURNAL);
		super->slots[i].state_len = get_le32(p + SL_STATE_LEN);
		super->slots[i].journal_blocks = get_le32(p + SL_JOURNAL_BLOCKS);
	}
	if (super->file_len < META_LEN || super->file_len > INT64_MAX)
		return err_set(error, EINVAL, "superblock: file length %" PRIu64, super->file_len);
	if (super->history_len > META_LEN)
		return err_set(error, EINVAL, "superblock: %" PRIu64 " bytes of history",
			       super->history_len);
	return decode_planes(super, block, error) && check_places(super, error);
}

enum super_result super_decode(struct store_super *super, const uint8_t block[STORE_BLOCK],
			       GError **error)
{
	uint8_t copy[STORE_BLOCK];

	*super = (struct store_super){0};
	if (memcmp(block + SB_MAGIC, magic, sizeof(magic)) != 0)
		return SUPER_FOREIGN;
	memcpy(copy, block, STORE_BLOCK);
	put_le32(copy + SB_CRC, 0);
	if (crc32c(0, copy, STORE_BLOCK) != get_le32(block + SB_CRC)) {
		err_set(error, EIO, "the superblock is damaged (checksum)");
		return SUPER_DAMAGED;
	}
	return decode_checked(super, block, error) ? SUPER_OK : SUPER_REFUSED;
}
