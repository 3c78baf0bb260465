/*
 * GET CONFIGURATION (MMC-6 5.2, 6.5; mmc.md section 3). A feature is listed when the drive can do
 * it with some medium, and current when it can with the one that is in. 0020h is listed always and
 * 0028h never: Linux decides from the list alone whether a drive may be written to.
 */
#include "scsi/mmc/mmc.h"

#include "base/bytes.h"

enum { RT_ALL, RT_CURRENT, RT_ONE };
enum { CORE = 0x0001 };

/* clang-format off */
enum {	/* reply header and descriptor header */
	CONF_LEN	= BE32(0),
	CONF_PROFILE	= BE16(6),
	CONF_HEAD_LEN	= 8,
	FEAT_CODE	= BE16(0),
	FEAT_VERSION	= BITS(2, 5, 2),
	FEAT_PERSISTENT	= BIT(2, 1),
	FEAT_CURRENT	= BIT(2, 0),
	FEAT_ADD_LEN	= U8(3),
	FEAT_HEAD_LEN	= 4,
	FEAT_DATA_MAX	= 96,
	CONF_MAX	= 1024,
	NO_BIT = 8,
};

enum {	/* fields of descriptor data, counted from its first byte */
	PROF_NUMBER	= BE16(0), PROF_CURRENT = BIT(2, 0), PROF_LEN = 4,
	RR_BLOCK_BYTES	= BE32(0), RR_BLOCKING = BE16(4),
	RW_LAST_LBA	= BE32(0), RANDW_BLOCK_BYTES = BE32(4), RANDW_BLOCKING = BE16(8),
	IS_LINK_SIZES	= U8(3), IS_LINK_SIZE = U8(4),
	DVDR_DUAL_R	= BIT(2, 0),
	FMT_RENOSA	= BIT(0, 3), FMT_QCERT = BIT(0, 1), FMT_CERT = BIT(0, 0),
	TAO_CD_RW	= BIT(0, 1), SAO_CD_RW = BIT(0, 1), DVDW_RDL = BIT(0, 3),
	BD_RE_CLASS1	= BE16(6),

	BLOCK_BYTES = 2048, BD_VERSIONS = 0x000e, LINK_SIZE_DVD = 0x10, LINK_SIZE_CD = 7,
};
/* clang-format on */

/* Sets of profiles. */
#define CD_ROM    (1u << 0)
#define CD_R      (1u << 1)
#define CD_RW     (1u << 2)
#define DVD_ROM   (1u << 3)
#define DVD_R     (1u << 4)
#define DVD_RAM   (1u << 5)
#define DVD_RO    (1u << 6)
#define DVD_RWS   (1u << 7)
#define DVD_RDL   (1u << 8)
#define PLUS_RW   (1u << 9)
#define PLUS_R    (1u << 10)
#define PLUS_RWDL (1u << 11)
#define PLUS_RDL  (1u << 12)
#define BD_ROM    (1u << 13)
#define BD_R      (1u << 14)
#define BD_RE     (1u << 15)
#define ALL_CD    (CD_ROM | CD_R | CD_RW)
#define ALL_DVD                                                                                  \
	(DVD_ROM | DVD_R | DVD_RAM | DVD_RO | DVD_RWS | DVD_RDL | PLUS_RW | PLUS_R | PLUS_RWDL | \
	 PLUS_RDL)
#define ALL_BD   (BD_ROM | BD_R | BD_RE)
#define ANY_DISC (ALL_CD | ALL_DVD | ALL_BD)
#define ALWAYS   (ANY_DISC | 1u << 31)

static const struct {
	uint16_t number;
	uint32_t bit;
} profile_bits[] = {
	{PROFILE_CD_ROM, CD_ROM},
	{PROFILE_CD_R, CD_R},
	{PROFILE_CD_RW, CD_RW},
	{PROFILE_DVD_ROM, DVD_ROM},
	{PROFILE_DVD_R, DVD_R},
	{PROFILE_DVD_RAM, DVD_RAM},
	{PROFILE_DVD_RW_RO, DVD_RO},
	{PROFILE_DVD_RW_SEQ, DVD_RWS},
	{PROFILE_DVD_R_DL, DVD_RDL},
	{PROFILE_DVD_PLUS_RW, PLUS_RW},
	{PROFILE_DVD_PLUS_R, PLUS_R},
	{PROFILE_DVD_PLUS_RW_DL, PLUS_RWDL},
	{PROFILE_DVD_PLUS_R_DL, PLUS_RDL},
	{PROFILE_BD_ROM, BD_ROM},
	{PROFILE_BD_R_SRM, BD_R},
	{PROFILE_BD_RE, BD_RE},
	{PROFILE_NONE, 1u << 31},
};

static uint32_t bit_of(uint16_t profile)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(profile_bits); i++) {
		if (profile_bits[i].number == profile)
			return profile_bits[i].bit;
	}
	return 0;
}

static bool can_any(uint32_t set)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(profile_bits); i++) {
		if (set & profile_bits[i].bit && can_profile(profile_bits[i].number))
			return true;
	}
	return false;
}

/* ---- conditions beyond the profile ---- */

static bool takes_incremental(const struct disc *disc)
{
	static const struct disc_write_params incremental = {
		.write_type = 0, .track_mode = 5, .block_type = 8};

	return disc_is_writable(disc) && (disc_get_profile(disc)->family == DISC_BD ||
					  disc_accepts_write_params(disc, &incremental));
}

static bool takes_format(const struct disc *disc)
{
	const struct disc_state *s = disc_get_state(disc);

	return disc_get_profile(disc)->number != PROFILE_BD_R_SRM ||
	       (disc_is_writable(disc) && !s->formatted && s->status == DISC_BLANK);
}

static bool has_spare(const struct disc *disc)
{
	return disc_get_profile(disc)->number == PROFILE_DVD_RAM ||
	       disc_get_state(disc)->spare_clusters > 0;
}

static bool has_pow(const struct disc *disc)
{
	return disc_get_state(disc)->pow;
}

/* ---- data that depends on drive or medium; each returns its length ---- */

static unsigned fill_profiles(const struct drive *d, const struct disc *disc, uint8_t *data)
{
	unsigned len = 0;

	(void)disc;
	for (const struct disc_profile *p = disc_profiles(); p->number && len < FEAT_DATA_MAX;
	     p++) {
		if (!can_profile(p->number))
			continue;
		fld_put(data + len, PROF_NUMBER, p->number);
		fld_put(data + len, PROF_CURRENT, p->number == drive_profile(d));
		len += PROF_LEN;
	}
	return len;
}

static unsigned blocking(const struct disc *disc)
{
	return disc ? disc_get_profile(disc)->ecc_blocks : 16;
}

static unsigned fill_random_readable(const struct drive *d, const struct disc *disc, uint8_t *data)
{
	(void)d;
	fld_put(data, RR_BLOCKING, blocking(disc));
	return 8;
}

static unsigned fill_random_writable(const struct drive *d, const struct disc *disc, uint8_t *data)
{
	(void)d;
	fld_put(data, RW_LAST_LBA, disc ? disc_last_lba(disc) : 0);
	fld_put(data, RANDW_BLOCKING, blocking(disc));
	return 12;
}

static unsigned fill_incremental(const struct drive *d, const struct disc *disc, uint8_t *data)
{
	enum disc_family family = disc ? disc_get_profile(disc)->family : DISC_DVD_MINUS;

	(void)d;
	fld_put(data, IS_LINK_SIZES, family != DISC_BD);
	if (family != DISC_BD)
		fld_put(data, IS_LINK_SIZE, family == DISC_CD ? LINK_SIZE_CD : LINK_SIZE_DVD);
	return family != DISC_BD ? 8 : 4;
}

static unsigned fill_dvd_read(const struct drive *d, const struct disc *disc, uint8_t *data)
{
	(void)d;
	(void)disc;
	fld_put(data, DVDR_DUAL_R, can_profile(PROFILE_DVD_R_DL));
	return 4;
}

static unsigned fill_formattable(const struct drive *d, const struct disc *disc, uint8_t *data)
{
	(void)d;
	(void)disc;
	fld_put(data, FMT_RENOSA, can_profile(PROFILE_BD_RE));
	fld_put(data, FMT_QCERT, can_profile(PROFILE_BD_RE));
	fld_put(data, FMT_CERT, can_profile(PROFILE_BD_RE) || can_profile(PROFILE_DVD_RAM));
	return 8;
}

static unsigned fill_cd_write(const struct drive *d, const struct disc *disc, uint8_t *data)
{
	(void)d;
	(void)disc;
	fld_put(data, TAO_CD_RW, can_profile(PROFILE_CD_RW));
	return 4;
}

static unsigned fill_dvd_write(const struct drive *d, const struct disc *disc, uint8_t *data)
{
	(void)d;
	(void)disc;
	fld_put(data, DVDW_RDL, can_profile(PROFILE_DVD_R_DL));
	return 4;
}

static unsigned fill_bd_read(const struct drive *d, const struct disc *disc, uint8_t *data)
{
	(void)d;
	(void)disc;
	fld_put(data, BD_RE_CLASS1, can_profile(PROFILE_BD_RE) ? BD_VERSIONS : 0);
	return 28;
}

static unsigned fill_bd_write(const struct drive *d, const struct disc *disc, uint8_t *data)
{
	fill_bd_read(d, disc, data);
	return 20;
}

static unsigned fill_serial(const struct drive *d, const struct disc *disc, uint8_t *data)
{
	unsigned n = (unsigned)strlen(d->serial), len = (n + 3) / 4 * 4;

	(void)disc;
	memset(data, ' ', len);
	memcpy(data, d->serial, n);
	return len;
}

/* ---- the table ---- */

/* WHILE_WRITABLE: current only while the disc can still be written. */
enum { PERSISTENT = 1, WHILE_WRITABLE = 2 };

struct feature {
	uint16_t code;
	uint8_t version, len;
	uint8_t flags;
	uint32_t current;                      /* with these profiles */
	uint32_t needs;                        /* listed if the drive can any of these; 0: always */
	bool (*also)(const struct disc *disc); /* a further condition */
	unsigned (*fill)(const struct drive *d, const struct disc *disc, uint8_t *data);
	uint8_t data[28];
};

/* clang-format off */
static const struct feature features[] = {
	/* profile list */
	{ 0x0000, 0, 0,  PERSISTENT, ALWAYS, 0, .fill = fill_profiles },
	/* core: the nexus's interface; INQ2, DBE */
	{ 0x0001, 2, 8,  PERSISTENT, ALWAYS, 0, .data = { 0, 0, 0, 0, 0x03 } },
	/* morphing: OCEvent */
	{ 0x0002, 1, 4,  PERSISTENT, ALWAYS, 0, .data = { 0x02 } },
	/* removable medium: tray, load, eject, lock */
	{ 0x0003, 2, 4,  PERSISTENT, ALWAYS, 0, .data = { 0x39 } },
	/* write protect: by mode page 1Dh */
	{ 0x0004, 2, 4,  0, DVD_RAM | PLUS_RW | PLUS_R | BD_R | BD_RE, 0, .data = { 0x01 } },
	/* random readable: 2048-byte blocks, page 01h present */
	{ 0x0010, 0, 8,  0, ANY_DISC, 0, .fill = fill_random_readable, .data = { 0, 0, 8, 0, 0,
	  0, 1 } },
	/* multi-read */
	{ 0x001d, 0, 0,  0, ALL_CD, 0 },
	/* CD read: C2, CD-TEXT */
	{ 0x001e, 2, 4,  0, ALL_CD, 0, .data = { 0x03 } },
	/* DVD read: MULTI110 */
	{ 0x001f, 2, 4,  0, ALL_DVD, 0, .fill = fill_dvd_read, .data = { 0x01 } },
	/* random writable */
	{ 0x0020, 1, 12, 0, DVD_RAM | PLUS_RW | PLUS_RWDL | BD_RE, 0,
	  .fill = fill_random_writable,
	  .data = { 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 1 } },
	/* incremental streaming writable: mode 1 blocks; TRIO, BUF */
	{ 0x0021, 3, 8, WHILE_WRITABLE, CD_R | CD_RW | DVD_R | DVD_RWS | DVD_RDL | BD_R, 0,
	  takes_incremental,
	  fill_incremental, { 0x01, 0x00, 0x05 } },
	/* formattable */
	{ 0x0023, 1, 8,  0, CD_RW | DVD_RAM | DVD_RO | DVD_RWS | PLUS_RW | PLUS_RWDL | BD_R |
	  BD_RE,
	  CD_RW | DVD_RAM | DVD_RWS | PLUS_RW | BD_R | BD_RE, takes_format, fill_formattable,
	  { 0 } },
	/* hardware defect management */
	{ 0x0024, 1, 4,  0, DVD_RAM | BD_R | BD_RE, DVD_RAM | BD_R | BD_RE, has_spare },
	/* restricted overwrite */
	{ 0x0026, 0, 0,  0, DVD_RO, DVD_RO },
	/* DVD+RW: write; close only */
	{ 0x002a, 0, 4,  0, PLUS_RW, PLUS_RW, .data = { 0x01, 0x02 } },
	/* DVD+R: write */
	{ 0x002b, 0, 4,  0, PLUS_R, PLUS_R, .data = { 0x01 } },
	/* rigid restricted overwrite: intermediate, blank */
	{ 0x002c, 0, 4,  0, DVD_RO, DVD_RO, .data = { 0x03 } },
	/* CD track at once: BUF, test write; blocks of mode 1 and of mode 2 form 1 */
	{ 0x002d, 2, 4, WHILE_WRITABLE, CD_R | CD_RW, CD_R | CD_RW, .fill = fill_cd_write,
	  .data = { 0x44, 0, 0x05, 0x00 } },
	/* CD mastering: BUF, SAO, test write; cue sheets up to 3072 bytes */
	{ 0x002e, 0, 4, WHILE_WRITABLE, CD_R | CD_RW, CD_R | CD_RW, .fill = fill_cd_write,
	  .data = { 0x64, 0, 0x0c, 0x00 } },
	/* DVD-R/-RW write: BUF, test write, DVD-RW */
	{ 0x002f, 2, 4, WHILE_WRITABLE, DVD_R | DVD_RWS | DVD_RDL, DVD_R | DVD_RWS,
	  .fill = fill_dvd_write, .data = { 0x46 } },
	/* CD-RW media: sub-types 0 to 2 */
	{ 0x0037, 0, 4,  0, CD_RW, CD_RW, .data = { 0, 0x07 } },
	/* BD-R pseudo-overwrite */
	{ 0x0038, 0, 4,  0, BD_R, BD_R, has_pow },
	/* DVD+RW DL, DVD+R DL */
	{ 0x003a, 0, 4,  0, PLUS_RWDL, PLUS_RWDL, .data = { 0x01, 0x02 } },
	{ 0x003b, 0, 4,  0, PLUS_RDL, PLUS_RDL, .data = { 0x01 } },
	/* BD read: R classes 0 and 1, ROM class 0, versions 1 to 3 */
	{ 0x0040, 0, 28, 0, ALL_BD, BD_ROM, .fill = fill_bd_read,
	  .data = { [13] = BD_VERSIONS, [15] = BD_VERSIONS, [21] = BD_VERSIONS } },
	/* BD write: SVNR; R classes 0 and 1 */
	{ 0x0041, 0, 20, WHILE_WRITABLE, BD_R | BD_RE, BD_R | BD_RE, .fill = fill_bd_write,
	  .data = { 0x01, [13] = BD_VERSIONS, [15] = BD_VERSIONS } },
	/* power management */
	{ 0x0100, 0, 0,  PERSISTENT, ALWAYS, 0 },
	/* time-out */
	{ 0x0105, 1, 4,  PERSISTENT, ALWAYS, 0 },
	/* real-time streaming: RBCB, SCS, MP2A, WSPD, SW */
	{ 0x0107, 4, 4,  0, ALWAYS, 0, .data = { 0x1f } },
	/* drive serial number */
	{ 0x0108, 0, 0,  PERSISTENT, ALWAYS, 0, .fill = fill_serial },
};
/* clang-format on */

static bool is_current(const struct feature *f, const struct disc *disc, uint16_t profile)
{
	if (!(f->current & bit_of(profile)))
		return false;
	return !disc || ((!(f->flags & WHILE_WRITABLE) || disc_is_writable(disc)) &&
			 (!f->also || f->also(disc)));
}

static unsigned put_feature(const struct feature *f, const struct drive *d, bool current,
			    uint8_t *out)
{
	const struct disc *disc = loaded_disc(d);
	unsigned len = f->len;

	memset(out, 0, FEAT_HEAD_LEN + FEAT_DATA_MAX);
	memcpy(out + FEAT_HEAD_LEN, f->data, sizeof(f->data));
	if (f->fill)
		len = f->fill(d, disc, out + FEAT_HEAD_LEN);
	fld_put(out, FEAT_CODE, f->code);
	fld_put(out, FEAT_VERSION, f->version);
	fld_put(out, FEAT_PERSISTENT, f->flags & PERSISTENT);
	fld_put(out, FEAT_CURRENT, current);
	fld_put(out, FEAT_ADD_LEN, len);
	return FEAT_HEAD_LEN + len;
}

enum sense mmc_get_configuration(struct scsi_cmd *c)
{
	const struct drive *d = cmd_drive(c);
	unsigned rt = fld_get(c->cdb, GCONF_RT), start = fld_get(c->cdb, GCONF_START),
		 len = CONF_HEAD_LEN;
	uint16_t profile = drive_profile(d);
	uint8_t buf[CONF_MAX] = {0};

	if (rt > RT_ONE)
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(GCONF_RT), 1);
	for (unsigned i = 0; i < G_N_ELEMENTS(features); i++) {
		const struct feature *f = &features[i];
		bool current = is_current(f, loaded_disc(d), profile);

		if (f->code < start || (rt == RT_ONE && f->code != start) ||
		    (rt == RT_CURRENT && !current))
			continue;
		if (f->needs && !can_any(f->needs))
			continue;
		len += put_feature(f, d, current, buf + len);
		if (f->code == CORE)
			put_be32(buf + len - f->len, scsi_nexus_interface(c->nexus));
	}
	fld_put(buf, CONF_LEN, len - 4);
	fld_put(buf, CONF_PROFILE, profile);
	return scsi_reply(c, buf, len);
}
