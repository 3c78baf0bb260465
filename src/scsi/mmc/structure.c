/*
 * READ DISC STRUCTURE and SEND DISC STRUCTURE (MMC-6 6.21, 6.36; mmc.md 2.33, 2.34).
 *
 * One table says which structure exists on which media and how long it is; the list of structures
 * (FFh) is made from it. With a CD loaded everything fails with 5/30/02: wodim takes a success for
 * the proof of a DVD.
 */
#include "scsi/mmc/media.h"

enum { STRUCTURE_DVD = 0, STRUCTURE_BD = 1, STRUCTURE_ANY = 2 };

enum { /* header, and the entries of the list */
       ST_LEN = BE16(0),
       ST_HEADER = 4,
       ST_MAX = ST_HEADER + 4096,
       LIST_CODE = U8(0),
       LIST_RDS = BIT(1, 6),
       LIST_LEN = BE16(2),
       LIST_ENTRY = 4,
};

enum { /* DVD physical format information (ECMA-267 and others, 00h and 10h) */
       PFI_BOOK = BITS(0, 7, 4),
       PFI_VERSION = BITS(0, 3, 0),
       PFI_RATE = BITS(1, 3, 0),
       PFI_LAYERS = BITS(2, 6, 5),
       PFI_OPPOSITE = BIT(2, 4),
       PFI_LAYER_TYPE = BITS(2, 3, 0),
       PFI_LINEAR = BITS(3, 7, 4),
       PFI_TRACK = BITS(3, 3, 0),
       PFI_START = BE24(5),
       PFI_END = BE24(9),
       PFI_END_LAYER0 = BE24(13),
       RATE_UNSPECIFIED = 15,
       DATA_START = 0x30000,
       DATA_START_RAM = 0x31000,
       SECTOR_MASK = 0xffffff,
};

enum { /* DVD-R/-RW pre-recorded information: fields of an id, 6 bytes and a zero */
       PRE_FIELD = 8,
       PRE_FIELDS = 5,
       PRE_APPLICATION = U8(1),
       PRE_PHYSICAL = U8(2),
       PRE_LAST = BE24(3),
       PRE_VERSION = U8(6),
       PRE_MAKER1 = 17,
       PRE_MAKER2 = 25,
       PRE_TEXT = 6,
};

enum { ADIP_MAKER = 19, ADIP_TYPE = 27, MAKER_LEN = 8, TYPE_LEN = 3 };

enum { /* BD disc information: units of 112 bytes, one a layer */
       DI_UNIT = 112,
       DI_FORMAT = U8(2),
       DI_UNITS = U8(3),
       DI_SEQUENCE = U8(5),
       DI_USED = U8(6),
       DI_TYPE = 8,
       DI_LAYERS = BITS(12, 7, 4),
       DI_LAYER_TYPE = BITS(12, 3, 0),
       DI_CHANNEL_BIT = U8(13),
       DI_FIRST = BE32(24),
       DI_LAST = BE32(28),
       DI_MAKER = 100,
       DI_MAKER_LEN = 6,
       DI_MEDIA = 106,
       DI_REVISION = U8(111),
       BD_DATA_START = 0x100000,
};

enum { /* BD disc definition structure, spare area information */
       DDS_UPDATES = BE32(4),
       DDS_DATA_START = BE32(32),
       DDS_DATA_LAST = BE32(36),
       DDS_SPARE = BE32(44),
       SPARE_FREE = BE32(4),
       SPARE_ALLOCATED = BE32(8),
       CLUSTER = 32,
};

enum {
	PROTECT_CARTRIDGE = BIT(0, 2),
	PROTECT_PERSISTENT = BIT(0, 1),
	PROTECT_SOFTWARE = BIT(0, 0)
};

enum { BOUNDARY_FIXED = BIT(0, 7), BOUNDARY_LAYER0 = BE32(4) };

enum { MARK_PERSISTENT = 1, MARK_CARTRIDGE = 2 }; /* disc_state.write_protected */

/* How each kind of DVD describes itself: book type and version, layer type, densities. */
/* clang-format off */
static const struct book {
	uint16_t profile;
	uint8_t book, version, layer_type, linear, track;
} books[] = {
	{ PROFILE_DVD_ROM,        0x0, 1, 1, 0, 0 },
	{ PROFILE_DVD_RAM,        0x1, 6, 4, 4, 2 },
	{ PROFILE_DVD_R,          0x2, 5, 2, 0, 0 },
	{ PROFILE_DVD_R_DL,       0x2, 6, 2, 1, 0 },
	{ PROFILE_DVD_RW_SEQ,     0x3, 3, 4, 0, 0 },
	{ PROFILE_DVD_RW_RO,      0x3, 3, 4, 0, 0 },
	{ PROFILE_DVD_PLUS_RW,    0x9, 2, 4, 0, 0 },
	{ PROFILE_DVD_PLUS_R,     0xa, 1, 2, 0, 0 },
	{ PROFILE_DVD_PLUS_RW_DL, 0xd, 1, 4, 1, 0 },
	{ PROFILE_DVD_PLUS_R_DL,  0xe, 1, 2, 1, 0 },
};
/* clang-format on */

static unsigned layers_of(const struct disc *disc)
{
	return MAX(disc_get_state(disc)->layers, 1);
}

/* ---- DVD ---- */

static uint32_t medium_blocks(const struct disc *disc)
{
	const struct disc_state *s = disc_get_state(disc);

	return s->max_blocks ? s->max_blocks : disc_last_lba(disc) + 1;
}

static void put_physical(struct drive *d, const struct disc *disc, unsigned layer, uint8_t *p)
{
	const struct disc_state *s = disc_get_state(disc);
	uint16_t profile = disc_get_profile(disc)->number;
	uint32_t start = profile == PROFILE_DVD_RAM ? DATA_START_RAM : DATA_START;
	uint32_t blocks = medium_blocks(disc);
	const struct book *book = books;

	(void)d;
	(void)layer;
	while (book < books + G_N_ELEMENTS(books) - 1 && book->profile != profile)
		book++;
	fld_put(p, PFI_BOOK, book->book);
	fld_put(p, PFI_VERSION, book->version);
	fld_put(p, PFI_RATE, profile == PROFILE_DVD_ROM ? 2 : RATE_UNSPECIFIED);
	fld_put(p, PFI_LAYERS, layers_of(disc) - 1);
	fld_put(p, PFI_LAYER_TYPE, book->layer_type);
	fld_put(p, PFI_LINEAR, book->linear);
	fld_put(p, PFI_TRACK, book->track);
	fld_put(p, PFI_START, start);
	fld_put(p, PFI_END, start + blocks - 1);
	if (layers_of(disc) > 1 && s->layer_break && blocks > s->layer_break) {
		/* The second layer runs back, its addresses are the first one's inverted. */
		uint32_t end0 = start + s->layer_break - 1;

		fld_put(p, PFI_OPPOSITE, 1);
		fld_put(p, PFI_END_LAYER0, end0);
		fld_put(p, PFI_END, (~end0 & SECTOR_MASK) + blocks - s->layer_break - 1);
	}
}

/*
 * No protection system, no region forbidden: zeros. Likewise manufacturing and copyright management
 * information.
 */
static void put_zeros(struct drive *d, const struct disc *disc, unsigned layer, uint8_t *p)
{
	(void)d;
	(void)disc;
	(void)layer;
	(void)p;
}

static void put_prerecorded(struct drive *d, const struct disc *disc, unsigned layer, uint8_t *p)
{
	const char *maker = disc_get_state(disc)->media_id;
	unsigned i;

	(void)d;
	(void)layer;
	for (i = 0; i < PRE_FIELDS; i++)
		p[i * PRE_FIELD] = (uint8_t)(i + 1);
	fld_put(p, PRE_APPLICATION, 0x40); /* for unrestricted use */
	fld_put(p, PRE_PHYSICAL, 0xc1);    /* 120 mm, organic dye or phase change */
	fld_put(p, PRE_LAST, DATA_START + medium_blocks(disc) - 1);
	fld_put(p, PRE_VERSION, 0x52);
	memcpy(p + PRE_MAKER1, maker, PRE_TEXT);
	memcpy(p + PRE_MAKER2, maker + PRE_TEXT, PRE_TEXT);
}

static void put_adip(struct drive *d, const struct disc *disc, unsigned layer, uint8_t *p)
{
	const char *maker = disc_get_state(disc)->media_id;

	put_physical(d, disc, layer, p);
	memcpy(p + ADIP_MAKER, maker, MAKER_LEN);
	memcpy(p + ADIP_TYPE, maker + MAKER_LEN, TYPE_LEN);
}

static void put_boundary(struct drive *d, const struct disc *disc, unsigned layer, uint8_t *p)
{
	const struct disc_state *s = disc_get_state(disc);

	(void)d;
	(void)layer;
	fld_put(p, BOUNDARY_FIXED, s->status != DISC_BLANK);
	fld_put(p, BOUNDARY_LAYER0, s->layer_break);
}

/* ---- BD ---- */

enum { BD_ID_LEN = 3 };

static const uint8_t di_mark[2] = {'D', 'I'}, dds_mark[2] = {'D', 'S'};

static const struct bd_kind {
	uint16_t profile;
	char id[BD_ID_LEN + 1];
	uint8_t layer_type;
} bd_kinds[] = {
	{PROFILE_BD_ROM, "BDO", 1},
	{PROFILE_BD_RE, "BDW", 4},
	{PROFILE_BD_R_SRM, "BDR", 2}, /* and whatever else there is */
};

static const struct bd_kind *bd_kind_of(uint16_t profile)
{
	const struct bd_kind *kind = bd_kinds;

	while (kind < bd_kinds + G_N_ELEMENTS(bd_kinds) - 1 && kind->profile != profile)
		kind++;
	return kind;
}

static void put_disc_information(struct drive *d, const struct disc *disc, unsigned layer,
				 uint8_t *p)
{
	const struct disc_state *s = disc_get_state(disc);
	const struct bd_kind *kind = bd_kind_of(disc_get_profile(disc)->number);
	unsigned layers = layers_of(disc);
	uint32_t blocks = medium_blocks(disc), each = s->layer_break ? s->layer_break : blocks, i;

	(void)d;
	(void)layer;
	for (i = 0; i < layers; i++, p += DI_UNIT) {
		uint32_t here = i + 1 < layers ? each : blocks - i * each;
		uint32_t first = BD_DATA_START + i * (SECTOR_MASK + 1);

		memcpy(p, di_mark, sizeof(di_mark));
		fld_put(p, DI_FORMAT, 1);
		fld_put(p, DI_UNITS, 1);
		fld_put(p, DI_SEQUENCE, i);
		fld_put(p, DI_USED, DI_UNIT);
		memcpy(p + DI_TYPE, kind->id, BD_ID_LEN);
		fld_put(p, DI_LAYERS, layers);
		fld_put(p, DI_LAYER_TYPE, kind->layer_type);
		fld_put(p, DI_CHANNEL_BIT, 1);
		fld_put(p, DI_FIRST, first);
		fld_put(p, DI_LAST, first + here - 1);
		memcpy(p + DI_MAKER, s->media_id, DI_MAKER_LEN);
		memcpy(p + DI_MEDIA, s->media_id + MAKER_LEN, TYPE_LEN);
		fld_put(p, DI_REVISION, 1);
	}
}

static void put_definition(struct drive *d, const struct disc *disc, unsigned layer, uint8_t *p)
{
	const struct disc_state *s = disc_get_state(disc);

	(void)d;
	(void)layer;
	memcpy(p, dds_mark, sizeof(dds_mark));
	fld_put(p, DDS_UPDATES, s->format_count);
	fld_put(p, DDS_DATA_START, BD_DATA_START);
	fld_put(p, DDS_DATA_LAST, s->capacity ? s->capacity - 1 : 0);
	fld_put(p, DDS_SPARE, s->spare_clusters);
}

/* Nothing here is ever defective; only pseudo overwrite uses spares up. */
static void put_spare(struct drive *d, const struct disc *disc, unsigned layer, uint8_t *p)
{
	const struct disc_state *s = disc_get_state(disc);

	(void)d;
	(void)layer;
	fld_put(p, SPARE_FREE, (s->pow ? s->pow_replacements : s->spare_clusters) * CLUSTER);
	fld_put(p, SPARE_ALLOCATED, s->spare_clusters * CLUSTER);
}

/* ---- any ---- */

static void put_protection(struct drive *d, const struct disc *disc, unsigned layer, uint8_t *p)
{
	unsigned marks = disc ? disc_get_state(disc)->write_protected : 0;

	(void)layer;
	fld_put(p, PROTECT_CARTRIDGE, (marks & MARK_CARTRIDGE) != 0);
	fld_put(p, PROTECT_PERSISTENT, (marks & MARK_PERSISTENT) != 0);
	fld_put(p, PROTECT_SOFTWARE, mode_write_protected(d));
}

static void put_list(struct drive *d, const struct disc *disc, unsigned layer, uint8_t *p);

static bool is_dash(const struct disc *disc)
{
	return disc_get_profile(disc)->family == DISC_DVD_MINUS;
}

static bool is_dash_recorded(const struct disc *disc)
{
	return is_dash(disc) && disc_get_state(disc)->status != DISC_BLANK;
}

static bool is_plus(const struct disc *disc)
{
	return disc_get_profile(disc)->family == DISC_DVD_PLUS;
}

static bool is_dual_layer(const struct disc *disc)
{
	return layers_of(disc) > 1 && (is_plus(disc) || is_dash(disc));
}

static bool has_spares(const struct disc *disc)
{
	uint16_t profile = disc_get_profile(disc)->number;

	return profile == PROFILE_BD_RE || profile == PROFILE_BD_R_SRM;
}

/* clang-format off */
static const struct structure {
	uint8_t format, media;
	bool by_layer;			/* the layer number of the CDB counts */
	uint16_t len;			/* of the payload */
	bool (*exists)(const struct disc *disc);	/* NULL: on all such media */
	void (*put)(struct drive *d, const struct disc *disc, unsigned layer, uint8_t *p);
} structures[] = {
	{ 0x00, STRUCTURE_DVD, true,  2048, NULL,             put_physical },
	{ 0x01, STRUCTURE_DVD, false, 4,    NULL,             put_zeros },
	{ 0x04, STRUCTURE_DVD, true,  2048, NULL,             put_zeros },
	{ 0x05, STRUCTURE_DVD, false, 4,    NULL,             put_zeros },
	{ 0x0e, STRUCTURE_DVD, false, PRE_FIELDS * PRE_FIELD, is_dash, put_prerecorded },
	{ 0x10, STRUCTURE_DVD, true,  2048, is_dash_recorded, put_physical },
	{ 0x11, STRUCTURE_DVD, true,  256,  is_plus,          put_adip },
	{ 0x20, STRUCTURE_DVD, false, 8,    is_dual_layer,    put_boundary },
	{ 0x00, STRUCTURE_BD,  false, 4096, NULL,             put_disc_information },
	{ 0x08, STRUCTURE_BD,  false, 2048, has_spares,       put_definition },
	{ 0x0a, STRUCTURE_BD,  false, 12,   has_spares,       put_spare },
	{ 0xc0, STRUCTURE_ANY, false, 4,    NULL,             put_protection },
	{ 0xff, STRUCTURE_ANY, false, 0,    NULL,             put_list },
};
/* clang-format on */

static unsigned media_of(const struct disc *disc)
{
	return disc_get_profile(disc)->family == DISC_BD ? STRUCTURE_BD : STRUCTURE_DVD;
}

/* disc NULL: no medium, and what needs none exists. */
static bool structure_exists(const struct structure *s, const struct disc *disc)
{
	if (s->media == STRUCTURE_ANY)
		return true;
	return disc && s->media == media_of(disc) && (!s->exists || s->exists(disc));
}

static size_t structure_len(const struct structure *s, const struct disc *disc)
{
	size_t n = 0, i;

	if (s->put != put_list)
		return s->len;
	for (i = 0; i < G_N_ELEMENTS(structures); i++)
		n += structure_exists(&structures[i], disc) ? LIST_ENTRY : 0;
	return n;
}

static void put_list(struct drive *d, const struct disc *disc, unsigned layer, uint8_t *p)
{
	unsigned i;

	(void)d;
	(void)layer;
	for (i = 0; i < G_N_ELEMENTS(structures); i++) {
		const struct structure *s = &structures[i];

		if (!structure_exists(s, disc))
			continue;
		fld_put(p, LIST_CODE, s->format);
		fld_put(p, LIST_RDS, 1);
		fld_put(p, LIST_LEN, (uint32_t)structure_len(s, disc) + ST_HEADER - 2);
		p += LIST_ENTRY;
	}
}

enum sense mmc_read_disc_structure(struct scsi_cmd *c)
{
	unsigned format = fld_get(c->cdb, STRUCT_FORMAT), layer = fld_get(c->cdb, STRUCT_LAYER), i;
	const struct structure *s = NULL;
	struct drive *d = cmd_drive(c);
	struct disc *disc = cmd_disc(c);
	uint8_t buf[ST_MAX] = {0};
	size_t len;

	if (disc && medium_is_cd(disc))
		return SENSE_CANNOT_READ_FORMAT;
	for (i = 0; i < G_N_ELEMENTS(structures) && !s; i++)
		if (structures[i].format == format && structure_exists(&structures[i], disc))
			s = &structures[i];
	if (!s || s->media != STRUCTURE_ANY) {
		enum sense sense = drive_need_medium(d);

		if (sense != SENSE_GOOD)
			return sense;
		if (fld_get(c->cdb, STRUCT_MEDIA) != media_of(disc))
			return SENSE_CANNOT_READ_FORMAT;
	}
	if (!s)
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(STRUCT_FORMAT), 8);
	if (s->by_layer && layer >= layers_of(disc))
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(STRUCT_LAYER), 8);
	len = structure_len(s, disc);
	s->put(d, disc, layer, buf + ST_HEADER);
	fld_put(buf, ST_LEN, (uint32_t)len + ST_HEADER - 2);
	return scsi_reply(c, buf, ST_HEADER + len);
}

/*
 * None of the structures above can be sent: the list has no SDS bit, so nobody who looked should
 * try.
 */
enum sense mmc_send_disc_structure(struct scsi_cmd *c)
{
	return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(STRUCT_FORMAT), 8);
}
