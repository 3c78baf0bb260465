/*
 * The table of media: see profile.h. Numbers from reference/mmc.md 5.1; a recordable type's capacity is what an
 * unformatted medium of it holds.
 */
#include "disc/profile.h"

#include <stddef.h>
#include <string.h>

/* clang-format off */
static const struct disc_profile profiles[] = {
	/* number              name                         family          method            erase ecc layers kB/s */
	{ PROFILE_BD_RE,        "BD-RE",                     DISC_BD,        METHOD_RANDOM,     true,  32, 3, 4496 },
	{ PROFILE_BD_R_SRM,     "BD-R",                      DISC_BD,        METHOD_SEQUENTIAL, false, 32, 4, 4496 },
	{ PROFILE_BD_ROM,       "BD-ROM",                    DISC_BD,        METHOD_ROM,        false, 32, 4, 4496 },
	{ PROFILE_DVD_PLUS_R_DL,  "DVD+R DL",                DISC_DVD_PLUS,  METHOD_SEQUENTIAL, false, 16, 2, 1385 },
	{ PROFILE_DVD_PLUS_R,   "DVD+R",                     DISC_DVD_PLUS,  METHOD_SEQUENTIAL, false, 16, 1, 1385 },
	{ PROFILE_DVD_PLUS_RW_DL, "DVD+RW DL",               DISC_DVD_PLUS,  METHOD_RANDOM,     true,  16, 2, 1385 },
	{ PROFILE_DVD_PLUS_RW,  "DVD+RW",                    DISC_DVD_PLUS,  METHOD_RANDOM,     true,  16, 1, 1385 },
	{ PROFILE_DVD_R_DL,     "DVD-R DL",                  DISC_DVD_MINUS, METHOD_SEQUENTIAL, false, 16, 2, 1385 },
	{ PROFILE_DVD_RW_SEQ,   "DVD-RW (sequential)",       DISC_DVD_MINUS, METHOD_REWRITABLE, true,  16, 1, 1385 },
	{ PROFILE_DVD_RW_RO,    "DVD-RW (restricted overwrite)", DISC_DVD_MINUS, METHOD_RESTRICTED, true, 16, 1, 1385 },
	{ PROFILE_DVD_RAM,      "DVD-RAM",                   DISC_DVD_RAM,   METHOD_RANDOM,     true,  16, 1, 1385 },
	{ PROFILE_DVD_R,        "DVD-R",                     DISC_DVD_MINUS, METHOD_SEQUENTIAL, false, 16, 1, 1385 },
	{ PROFILE_DVD_ROM,      "DVD-ROM",                   DISC_DVD_ROM,   METHOD_ROM,        false, 16, 2, 1385 },
	{ PROFILE_CD_RW,        "CD-RW",                     DISC_CD,        METHOD_REWRITABLE, true,   1, 1, 176 },
	{ PROFILE_CD_R,         "CD-R",                      DISC_CD,        METHOD_SEQUENTIAL, false,  1, 1, 176 },
	{ PROFILE_CD_ROM,       "CD-ROM",                    DISC_CD,        METHOD_ROM,        false,  1, 1, 176 },
	{ PROFILE_NONE },
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
