/*
 * The fields of every CDB of the disk's command table, by name; rows.c lists them, handlers read
 * them with fld_get(c->cdb, F). Prefixes are short forms of the command's name. Fields whose values
 * mean nothing here (DPO, groups) are listed so that strict mode lets them pass.
 */
#pragma once

#include "base/field.h"

/* clang-format off */

enum {	/* REQUEST SENSE 03h, INQUIRY 12h */
	RSENSE_DESC = BIT(1, 0), RSENSE_ALLOC = U8(4),
	INQ_EVPD = BIT(1, 0), INQ_PAGE = U8(2), INQ_ALLOC = BE16(3),
};

enum {	/* READ(6) 08h, WRITE(6) 0Ah */
	RW6_LBA_HIGH = BITS(1, 4, 0), RW6_LBA = BE16(2), RW6_BLOCKS = U8(4),
};

enum {	/* MODE SELECT 15h, 55h; MODE SENSE 1Ah, 5Ah */
	MSEL_PF = BIT(1, 4), MSEL_SP = BIT(1, 0), MSEL6_LEN = U8(4), MSEL10_LEN = BE16(7),
	MSENSE_LLBAA = BIT(1, 4), MSENSE_DBD = BIT(1, 3), MSENSE_PC = BITS(2, 7, 6),
	MSENSE_PAGE = BITS(2, 5, 0),
	MSENSE_SUBPAGE = U8(3), MSENSE6_ALLOC = U8(4), MSENSE10_ALLOC = BE16(7),
};

enum {	/* RESERVE 16h, 56h; RELEASE 17h, 57h */
	RSV_THIRD_PARTY = BIT(1, 4), RSV_EXTENT = BIT(1, 0), RSV10_LONG = BIT(1, 1),
	RSV_ID = U8(2), RSV10_THIRD = U8(3), RSV6_LEN = BE16(3), RSV10_LEN = BE16(7),
};

enum {	/* START STOP UNIT 1Bh */
	SSU_IMMED = BIT(1, 0), SSU_MODIFIER = BITS(3, 3, 0), SSU_POWER = BITS(4, 7, 4),
	SSU_NO_FLUSH = BIT(4, 2), SSU_LOEJ = BIT(4, 1), SSU_START = BIT(4, 0),
};

enum {	/* READ CAPACITY 25h, 9Eh/10h; GET LBA STATUS 9Eh/12h */
	RCAP_LBA = BE32(2), RCAP_PMI = BIT(8, 0),
	RCAP16_LBA = BE64(2), RCAP16_ALLOC = BE32(10), RCAP16_PMI = BIT(14, 0),
	LBAS_LBA = BE64(2), LBAS_ALLOC = BE32(10), LBAS_TYPE = U8(14),
};

enum {	/* READ, WRITE, WRITE AND VERIFY, VERIFY: (10) 28h 2Ah 2Eh 2Fh, (12) A8h AAh AEh AFh,
	 * (16) 88h 8Ah 8Eh 8Fh; COMPARE AND WRITE 89h */
	RW_PROTECT = BITS(1, 7, 5), RW_DPO = BIT(1, 4), RW_FUA = BIT(1, 3), RW_FUA_NV = BIT(1, 1),
	RW_BYTCHK = BITS(1, 2, 1),
	RW10_LBA = BE32(2), RW10_GROUP = BITS(6, 4, 0), RW10_BLOCKS = BE16(7),
	RW12_LBA = BE32(2), RW12_BLOCKS = BE32(6), RW12_GROUP = BITS(10, 4, 0),
	RW16_LBA = BE64(2), RW16_BLOCKS = BE32(10), RW16_GROUP = BITS(14, 4, 0),
	CAW_BLOCKS = U8(13),
};

enum {	/* SYNCHRONIZE CACHE 35h, 91h */
	SYNC_IMMED = BIT(1, 1), SYNC_NV = BIT(1, 2),
};

enum {	/* WRITE SAME 41h, 93h; UNMAP 42h */
	WS_ANCHOR = BIT(1, 4), WS_UNMAP = BIT(1, 3), WS_OLD = BITS(1, 2, 1), WS_NDOB = BIT(1, 0),
	UNMAP_ANCHOR = BIT(1, 0), UNMAP_LEN = BE16(7),
};

enum {	/* PERSISTENT RESERVE IN 5Eh, OUT 5Fh */
	PR_SCOPE = BITS(2, 7, 4), PR_TYPE = BITS(2, 3, 0), PR_OUT_LEN = BE32(5),
	PR_IN_ALLOC = BE16(7),
};

enum {	/* REPORT LUNS A0h */
	RLUNS_SELECT = U8(2), RLUNS_ALLOC = BE32(6),
};
/* clang-format on */
