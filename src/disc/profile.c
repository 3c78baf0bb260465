/*
 * The table of media: see profile.h. Numbers from reference/mmc.md 5.1; a recordable type's
 * capacity is what an unformatted medium of it holds.
 */
#include "disc/profile.h"

#include <stddef.h>
#include <string.h>

/* clang-format off */
static const struct disc_profile profiles[] = {
	/* name                             family          method             number                  kB/s  erase  ecc layers */
	{ "BD-RE",                         DISC_BD,        METHOD_RANDOM,     PROFILE_BD_RE,          4496, true,  32, 3 },
	{ "BD-R",                          DISC_BD,        METHOD_SEQUENTIAL, PROFILE_BD_R_SRM,       4496, false, 32, 4 },
	{ "BD-ROM",                        DISC_BD,        METHOD_ROM,        PROFILE_BD_ROM,         4496, false, 32, 4 },
	{ "DVD+R DL",                      DISC_DVD_PLUS,  METHOD_SEQUENTIAL, PROFILE_DVD_PLUS_R_DL,  1385, false, 16, 2 },
	{ "DVD+R",                         DISC_DVD_PLUS,  METHOD_SEQUENTIAL, PROFILE_DVD_PLUS_R,     1385, false, 16, 1 },
	{ "DVD+RW DL",                     DISC_DVD_PLUS,  METHOD_RANDOM,     PROFILE_DVD_PLUS_RW_DL, 1385, true,  16, 2 },
	{ "DVD+RW",                        DISC_DVD_PLUS,  METHOD_RANDOM,     PROFILE_DVD_PLUS_RW,    1385, true,  16, 1 },
	{ "DVD-R DL",                      DISC_DVD_MINUS, METHOD_SEQUENTIAL, PROFILE_DVD_R_DL,       1385, false, 16, 2 },
	{ "DVD-RW (sequential)",           DISC_DVD_MINUS, METHOD_REWRITABLE, PROFILE_DVD_RW_SEQ,     1385, true,  16, 1 },
	{ "DVD-RW (restricted overwrite)", DISC_DVD_MINUS, METHOD_RESTRICTED, PROFILE_DVD_RW_RO,      1385, true,  16, 1 },
	{ "DVD-RAM",                       DISC_DVD_RAM,   METHOD_RANDOM,     PROFILE_DVD_RAM,        1385, true,  16, 1 },
	{ "DVD-R",                         DISC_DVD_MINUS, METHOD_SEQUENTIAL, PROFILE_DVD_R,          1385, false, 16, 1 },
	{ "DVD-ROM",                       DISC_DVD_ROM,   METHOD_ROM,        PROFILE_DVD_ROM,        1385, false, 16, 2 },
	{ "CD-RW",                         DISC_CD,        METHOD_REWRITABLE, PROFILE_CD_RW,          176,  true,  1,  1 },
	{ "CD-R",                          DISC_CD,        METHOD_SEQUENTIAL, PROFILE_CD_R,           176,  false, 1,  1 },
	{ "CD-ROM",                        DISC_CD,        METHOD_ROM,        PROFILE_CD_ROM,         176,  false, 1,  1 },
	{ .number = PROFILE_NONE },
};

static const struct disc_type types[] = {
	/* name        profile                 blocks    min   max       layer 0 layers implemented alias */
	{ "cd-r",      PROFILE_CD_R,           359849,   3000, 404849,   0,       1, true,  "cdr" },
	{ "cd-rw",     PROFILE_CD_RW,          359849,   3000, 404849,   0,       1, false, "cdrw" },
	{ "dvd-r",     PROFILE_DVD_R,          2298496,  2048, 2298496,  0,       1, true,  "dvdr" },
	{ "dvd-r-dl",  PROFILE_DVD_R_DL,       4171712,  4096, 4171712,  2085856, 2, false, NULL },
	{ "dvd-rw",    PROFILE_DVD_RW_SEQ,     2298496,  2048, 2298496,  0,       1, true,  "dvdrw" },
	{ "dvd-ram",   PROFILE_DVD_RAM,        2236704,  2048, 2236704,  0,       1, false, "dvdram" },
	{ "dvd+r",     PROFILE_DVD_PLUS_R,     2295104,  2048, 2295104,  0,       1, true,  NULL },
	{ "dvd+r-dl",  PROFILE_DVD_PLUS_R_DL,  4173824,  4096, 4173824,  2086912, 2, false, NULL },
	{ "dvd+rw",    PROFILE_DVD_PLUS_RW,    2295104,  2048, 2295104,  0,       1, false, NULL },
	{ "dvd+rw-dl", PROFILE_DVD_PLUS_RW_DL, 4173824,  4096, 4173824,  2086912, 2, false, NULL },
	{ "bd-r",      PROFILE_BD_R_SRM,       12219392, 2048, 12219392, 0,       1, true,  "bdr" },
	{ "bd-r-dl",   PROFILE_BD_R_SRM,       24438784, 4096, 24438784, 12219392, 2, true, NULL },
	{ "bd-r-tl",   PROFILE_BD_R_SRM,       48878592, 4096, 48878592, 16292864, 3, true, NULL },
	{ "bd-r-ql",   PROFILE_BD_R_SRM,       62500864, 4096, 62500864, 15625216, 4, true, NULL },
	{ "bd-re",     PROFILE_BD_RE,          12219392, 2048, 12219392, 0,       1, false, "bdre" },
	{ "bd-re-dl",  PROFILE_BD_RE,          24438784, 4096, 24438784, 12219392, 2, false, NULL },
	{ "bd-re-tl",  PROFILE_BD_RE,          48878592, 4096, 48878592, 16292864, 3, false, NULL },
	{ "cd-rom",    PROFILE_CD_ROM,         404849,   1,    404849,   0,       1, false, NULL },
	{ "dvd-rom",   PROFILE_DVD_ROM,        4173824,  1,    4173824,  0,       1, false, NULL },
	{ "bd-rom",    PROFILE_BD_ROM,         62500864, 1,    62500864, 0,       1, false, NULL },
	{ NULL },
};
/* clang-format on */

const struct disc_profile *disc_profile_find(uint16_t number)
{
	if (number == PROFILE_NONE)
		return NULL;
	for (const struct disc_profile *p = profiles; p->number; p++)
		if (p->number == number)
			return p;
	return NULL;
}

const struct disc_profile *disc_profiles(void)
{
	return profiles;
}

const struct disc_type *disc_type_find(const char *name)
{
	for (const struct disc_type *t = types; t->name; t++)
		if (strcmp(t->name, name) == 0 || (t->alias && strcmp(t->alias, name) == 0))
			return t;
	return NULL;
}

const struct disc_type *disc_types(void)
{
	return types;
}
