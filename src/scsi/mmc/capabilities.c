/* Mode page 2Ah, Capabilities and Mechanical Status: computed from the drive and its disc. */
#include "scsi/mmc/mmc.h"

/* clang-format off */
enum {
	CAP_CODE	= U8(0),
	CAP_LEN		= U8(1),
	CAP_READ_DVD_RAM = BIT(2, 5), CAP_READ_DVD_R = BIT(2, 4), CAP_READ_DVD_ROM = BIT(2, 3),
	CAP_READ_METHOD2 = BIT(2, 2), CAP_READ_CD_RW = BIT(2, 1), CAP_READ_CD_R = BIT(2, 0),
	CAP_WRITE_DVD_RAM = BIT(3, 5), CAP_WRITE_DVD_R = BIT(3, 4), CAP_TEST_WRITE = BIT(3, 2),
	CAP_WRITE_CD_RW = BIT(3, 1), CAP_WRITE_CD_R = BIT(3, 0),
	CAP_BUF		= BIT(4, 7), CAP_MULTISESSION = BIT(4, 6), CAP_FORM2 = BIT(4, 5),
	CAP_FORM1 = BIT(4, 4),
	CAP_UPC		= BIT(5, 6), CAP_ISRC = BIT(5, 5), CAP_C2 = BIT(5, 4),
	CAP_CDDA_ACCURATE = BIT(5, 1),
	CAP_CDDA	= BIT(5, 0),
	CAP_MECHANISM	= BITS(6, 7, 5), CAP_EJECT = BIT(6, 3), CAP_LOCKED = BIT(6, 1),
	CAP_LOCK = BIT(6, 0),
	CAP_MAX_READ	= BE16(8),
	CAP_VOLUMES	= BE16(10),
	CAP_BUFFER_KIB	= BE16(12),
	CAP_READ_NOW	= BE16(14),
	CAP_MAX_WRITE	= BE16(18),
	CAP_WRITE_NOW	= BE16(20),
	CAP_COPY_MGMT	= BE16(22),
	CAP_SELECTED	= BE16(28),
	CAP_SPEEDS	= BE16(30),
	CAP_FIXED_LEN	= 32,
	SPEED_KB	= BE16(2),
	SPEED_LEN	= 4,

	PAGE_CODE = 0x2a, MECHANISM_TRAY = 1, VOLUMES = 256, BUFFER_KIB = 4096, SPEEDS_MAX = 20,
};
/* clang-format on */

/* Which one-bit fields are set whenever the drive has to do with a profile. */
static const struct {
	int field;
	uint16_t profile;
} by_profile[] = {
	{CAP_READ_DVD_RAM, PROFILE_DVD_RAM}, {CAP_WRITE_DVD_RAM, PROFILE_DVD_RAM},
	{CAP_READ_DVD_R, PROFILE_DVD_R},     {CAP_WRITE_DVD_R, PROFILE_DVD_R},
	{CAP_READ_METHOD2, PROFILE_CD_RW},   {CAP_READ_CD_RW, PROFILE_CD_RW},
	{CAP_WRITE_CD_RW, PROFILE_CD_RW},    {CAP_READ_CD_R, PROFILE_CD_R},
	{CAP_WRITE_CD_R, PROFILE_CD_R},      {CAP_READ_DVD_ROM, PROFILE_DVD_ROM},
};

static const int always[] = {
	CAP_TEST_WRITE, CAP_BUF, CAP_MULTISESSION,  CAP_FORM2, CAP_FORM1, CAP_UPC,
	CAP_ISRC,       CAP_C2,  CAP_CDDA_ACCURATE, CAP_CDDA,  CAP_EJECT, CAP_LOCK,
};

unsigned mode_fill_capabilities(const struct drive *d, uint8_t *out)
{
	uint16_t profile = drive_profile(d), speeds[SPEEDS_MAX];
	unsigned n = speed_write_list(profile, speeds, SPEEDS_MAX);
	unsigned len = CAP_FIXED_LEN + n * SPEED_LEN;

	memset(out, 0, len);
	fld_put(out, CAP_CODE, PAGE_CODE);
	fld_put(out, CAP_LEN, len - 2);
	for (unsigned i = 0; i < G_N_ELEMENTS(by_profile); i++)
		fld_put(out, by_profile[i].field, can_profile(by_profile[i].profile));
	for (unsigned i = 0; i < G_N_ELEMENTS(always); i++)
		fld_put(out, always[i], 1);
	fld_put(out, CAP_MECHANISM, MECHANISM_TRAY);
	fld_put(out, CAP_LOCKED, drive_locked(d));
	fld_put(out, CAP_MAX_READ, speed_max_read(profile));
	fld_put(out, CAP_VOLUMES, VOLUMES);
	fld_put(out, CAP_BUFFER_KIB, BUFFER_KIB);
	fld_put(out, CAP_READ_NOW, speed_read_now(d));
	fld_put(out, CAP_MAX_WRITE, n ? speeds[0] : 0);
	fld_put(out, CAP_WRITE_NOW, speed_write_now(d));
	fld_put(out, CAP_COPY_MGMT, 1);
	fld_put(out, CAP_SELECTED, speed_write_now(d));
	fld_put(out, CAP_SPEEDS, n);
	for (unsigned i = 0; i < n; i++)
		fld_put(out + CAP_FIXED_LEN + i * SPEED_LEN, SPEED_KB, speeds[i]);
	return len;
}
