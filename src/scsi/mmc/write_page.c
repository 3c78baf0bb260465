/*
 * Mode page 05h, Write Parameters (mmc.md 2.4). Burning programs find out what a drive can do by
 * trying combinations, with whatever medium happens to be in: what is refused here must be what
 * features and medium deny, and a refusal changes nothing. Media that do not look at the page take
 * any sensible one.
 */
#include "scsi/mmc/mmc.h"

/* clang-format off */
enum {
	WP_BUFE		= BIT(2, 6),
	WP_TEST		= BIT(2, 4),
	WP_TYPE		= BITS(2, 3, 0),
	WP_MULTISESSION	= BITS(3, 7, 6),
	WP_FIXED	= BIT(3, 5),
	WP_TRACK_MODE	= BITS(3, 3, 0),
	WP_BLOCK_TYPE	= BITS(4, 3, 0),
	WP_SESSION_FORMAT = U8(8),
	WP_PACKET_SIZE	= BE32(10),

	PAGE_HEAD	= 2,
	PAGE_LEN	= 50,
	MULTISESSION_RESERVED = 2,
};
/* clang-format on */

enum { TYPE_INCREMENTAL, TYPE_TAO, TYPE_SAO, TYPE_RAW, TYPE_LAYER_JUMP };

#define BLOCK_TYPE(n) (1u << (n))
/* clang-format off */
enum {
	BLOCK_TYPES_DEFINED = 0x3f0f,			/* 0-3 and 8-13 */
	/* raw is audio: programs try the mode, and a WRITE in it is refused */
	TAO_BLOCK_TYPES = BLOCK_TYPE(0) | BLOCK_TYPE(8) | BLOCK_TYPE(10),
	/* the cue sheet says what it really is */
	SAO_BLOCK_TYPES = BLOCK_TYPE(0) | BLOCK_TYPE(8),
};
/* clang-format on */

/* BUFE; track mode 5; mode 1 blocks; link size 7; packets of 32; pause 150. */
const uint8_t write_page_of_cd[PAGE_LEN] = {0x40, 0x05, 0x08, 0x07, [11] = 0x20, [13] = 0x96};
static const uint8_t write_page_of_dvd[PAGE_LEN] = {0x40, 0x05,        0x08,
						    0x10, [11] = 0x10, [13] = 0x96};

const uint8_t write_page_mask[PAGE_LEN] =
	{
		0x7f, 0xff, 0x0f, 0xff, 0,    0x3f, 0xff, 0,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, /* packet size, pause */
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, /* MCN */
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
		0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, /* ISRC */
		0xff, 0xff, 0xff, 0xff,                         /* sub-header */
};

const uint8_t *write_page_defaults(const struct drive *d)
{
	const struct disc_profile *p = disc_profile_find(drive_profile(d));

	return !p || p->family == DISC_CD ? write_page_of_cd : write_page_of_dvd;
}

void write_page_decode(const uint8_t *page, struct disc_write_params *out)
{
	*out = (struct disc_write_params){
		.write_type = (uint8_t)fld_get(page, WP_TYPE),
		.multisession = (uint8_t)fld_get(page, WP_MULTISESSION),
		.track_mode = (uint8_t)fld_get(page, WP_TRACK_MODE),
		.block_type = (uint8_t)fld_get(page, WP_BLOCK_TYPE),
		.session_format = (uint8_t)fld_get(page, WP_SESSION_FORMAT),
		.test_write = fld_get(page, WP_TEST),
		.bufe = fld_get(page, WP_BUFE),
		.fixed_packet = fld_get(page, WP_FIXED),
		.packet_size = fld_get(page, WP_PACKET_SIZE),
	};
}

/* What this drive can do with a CD-R, for the probing that happens while there is none. */
static bool drive_can(const struct disc_write_params *p)
{
	switch (p->write_type) {
	case TYPE_TAO: return TAO_BLOCK_TYPES >> p->block_type & 1;
	case TYPE_SAO: return SAO_BLOCK_TYPES >> p->block_type & 1;
	default: return false;
	}
}

/* Media that ignore the page: anything that some medium could mean. */
static bool is_sensible(const struct disc_write_params *p)
{
	return p->write_type <= TYPE_SAO;
}

/* Decides on whole combinations of write type and block type. */
static bool combination_fits(const struct drive *d, const struct disc_write_params *p)
{
	const struct disc *disc = loaded_disc(d);

	switch (drive_profile(d)) {
	case PROFILE_CD_R:
	case PROFILE_CD_RW:
	case PROFILE_DVD_R:
	case PROFILE_DVD_RW_SEQ:
	case PROFILE_DVD_R_DL: return disc_accepts_write_params(disc, p);
	case PROFILE_NONE:
	case PROFILE_CD_ROM:
	case PROFILE_DVD_ROM:
	case PROFILE_BD_ROM: return drive_can(p);
	default: return is_sensible(p);
	}
}

bool write_page_check(const struct drive *d, const uint8_t *page, unsigned *bad)
{
	struct disc_write_params p;

	write_page_decode(page, &p);
	if (p.multisession == MULTISESSION_RESERVED) {
		*bad = fld_byte(WP_MULTISESSION);
		return false;
	}
	if (!(BLOCK_TYPES_DEFINED >> p.block_type & 1)) {
		*bad = fld_byte(WP_BLOCK_TYPE);
		return false;
	}
	/* The values that the drive itself gave are no request for a mode. */
	if (memcmp(page + PAGE_HEAD, write_page_defaults(d), PAGE_LEN) == 0)
		return true;
	*bad = fld_byte(WP_TYPE);
	return combination_fits(d, &p);
}
