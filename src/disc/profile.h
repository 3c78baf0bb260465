/*
 * The one table of optical media: what can be bought (struct disc_type, a row for each blank and
 * ROM) and what a drive calls what is loaded (struct disc_profile, MMC-6 table 95). Blocks are 2048
 * user bytes.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum disc_family { DISC_CD, DISC_DVD_MINUS, DISC_DVD_PLUS, DISC_DVD_RAM, DISC_DVD_ROM, DISC_BD };

/* clang-format off */
enum {	/* profile numbers (MMC-6) */
	PROFILE_NONE = 0,
	PROFILE_CD_ROM = 0x08, PROFILE_CD_R = 0x09, PROFILE_CD_RW = 0x0a,
	PROFILE_DVD_ROM = 0x10, PROFILE_DVD_R = 0x11, PROFILE_DVD_RAM = 0x12,
	PROFILE_DVD_RW_RO = 0x13, PROFILE_DVD_RW_SEQ = 0x14, PROFILE_DVD_R_DL = 0x15, PROFILE_DVD_R_DL_LJ = 0x16,
	PROFILE_DVD_PLUS_RW = 0x1a, PROFILE_DVD_PLUS_R = 0x1b,
	PROFILE_DVD_PLUS_RW_DL = 0x2a, PROFILE_DVD_PLUS_R_DL = 0x2b,
	PROFILE_BD_ROM = 0x40, PROFILE_BD_R_SRM = 0x41, PROFILE_BD_R_RRM = 0x42, PROFILE_BD_RE = 0x43,
};
/* clang-format on */

/* How blocks get onto it. */
enum disc_method {
	METHOD_ROM,        /* never */
	METHOD_SEQUENTIAL, /* at the next writable address of an open track, once */
	METHOD_REWRITABLE, /* sequential, until blanked */
	METHOD_RESTRICTED, /* DVD-RW restricted overwrite: over what was written, appending while
			      intermediate */
	METHOD_RANDOM,     /* anywhere below the formatted capacity */
};

struct disc_profile {
	const char *name; /* "DVD+R", as a person says it */
	enum disc_family family;
	enum disc_method method;
	uint16_t number;
	uint16_t speed_1x_kb; /* kB/s */
	bool erasable;
	uint8_t ecc_blocks; /* 1, 16 or 32: writes are padded to this */
	uint8_t max_layers;
};

struct disc_type {                       /* what "disc create --type" takes */
	const char *name;                /* "dvd+r" */
	uint16_t profile;                /* when new */
	uint32_t blocks;                 /* default capacity: the largest the medium can be */
	uint32_t min_blocks, max_blocks; /* what --capacity may say */
	uint32_t layer0_blocks;          /* 0: one layer */
	uint8_t layers;
	bool implemented;  /* recordable now; a later issue completes the others */
	const char *alias; /* another name, or NULL */
};

const struct disc_profile *disc_profile_find(uint16_t number);
const struct disc_profile *disc_profiles(
	void); /* richest first, as GET CONFIGURATION lists; ends with number 0 */
const struct disc_type *disc_type_find(const char *name);
const struct disc_type *disc_types(void); /* ends with name NULL */
