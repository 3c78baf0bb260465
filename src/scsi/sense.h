/*
 * The one list of sense codes: key << 16 | ASC << 8 | ASCQ (SPC-4 annex D, MMC-6 annex F). Handlers
 * return one; SENSE_GOOD is success.
 */
#pragma once

#include <stdint.h>

#define SENSE(key, asc, ascq) ((key) << 16 | (asc) << 8 | (ascq))

/* clang-format off */
enum sense {
	SENSE_GOOD = 0,
	SENSE_BECOMING_READY		= SENSE(2, 0x04, 0x01),
	SENSE_INIT_REQUIRED		= SENSE(2, 0x04, 0x02),
	SENSE_FORMAT_IN_PROGRESS	= SENSE(2, 0x04, 0x04),
	SENSE_OPERATION_IN_PROGRESS	= SENSE(2, 0x04, 0x07),
	SENSE_LONG_WRITE_IN_PROGRESS	= SENSE(2, 0x04, 0x08),
	SENSE_NO_MEDIUM			= SENSE(2, 0x3a, 0x00),
	SENSE_NO_MEDIUM_CLOSED		= SENSE(2, 0x3a, 0x01),
	SENSE_NO_MEDIUM_OPEN		= SENSE(2, 0x3a, 0x02),
	SENSE_UNRECOVERED_READ		= SENSE(3, 0x11, 0x00),
	SENSE_WRITE_ERROR		= SENSE(3, 0x0c, 0x00),
	SENSE_FORMAT_FAILED		= SENSE(3, 0x31, 0x01),
	SENSE_ERASE_FAILURE		= SENSE(3, 0x51, 0x00),
	SENSE_INTERNAL_FAILURE		= SENSE(4, 0x44, 0x00),
	SENSE_PARAMETER_LENGTH		= SENSE(5, 0x1a, 0x00),
	SENSE_BAD_OPCODE		= SENSE(5, 0x20, 0x00),
	SENSE_LBA_RANGE			= SENSE(5, 0x21, 0x00),
	SENSE_BAD_WRITE_ADDRESS		= SENSE(5, 0x21, 0x02),
	SENSE_BAD_CDB_FIELD		= SENSE(5, 0x24, 0x00),
	SENSE_BAD_LUN			= SENSE(5, 0x25, 0x00),
	SENSE_BAD_PARAMETER		= SENSE(5, 0x26, 0x00),
	SENSE_SEQUENCE			= SENSE(5, 0x2c, 0x00),
	SENSE_INCOMPATIBLE_MEDIUM	= SENSE(5, 0x30, 0x00),
	SENSE_CANNOT_READ_FORMAT	= SENSE(5, 0x30, 0x02),
	SENSE_CANNOT_WRITE_FORMAT	= SENSE(5, 0x30, 0x05),
	SENSE_CANNOT_FORMAT		= SENSE(5, 0x30, 0x06),
	SENSE_NOT_FORMATTED		= SENSE(5, 0x30, 0x10),
	SENSE_SAVING_UNSUPPORTED	= SENSE(5, 0x39, 0x00),
	SENSE_REMOVAL_PREVENTED		= SENSE(5, 0x53, 0x02),
	SENSE_END_OF_TRACK		= SENSE(5, 0x63, 0x00),
	SENSE_ILLEGAL_TRACK_MODE	= SENSE(5, 0x64, 0x00),
	SENSE_BAD_PACKET_SIZE		= SENSE(5, 0x64, 0x01),
	SENSE_FIXATION_ERROR		= SENSE(5, 0x72, 0x00),
	SENSE_INCOMPLETE_TRACK		= SENSE(5, 0x72, 0x03),
	SENSE_RESERVED_TRACK_EMPTY	= SENSE(5, 0x72, 0x04),
	SENSE_NO_MORE_RESERVATIONS	= SENSE(5, 0x72, 0x05),
	SENSE_MEDIUM_CHANGED		= SENSE(6, 0x28, 0x00),
	SENSE_POWER_ON			= SENSE(6, 0x29, 0x00),
	SENSE_BUS_RESET			= SENSE(6, 0x29, 0x02),
	SENSE_DEVICE_RESET		= SENSE(6, 0x29, 0x03),
	SENSE_MODE_CHANGED		= SENSE(6, 0x2a, 0x01),
	SENSE_WRITE_PROTECTED		= SENSE(7, 0x27, 0x00),
	SENSE_SOFTWARE_PROTECTED	= SENSE(7, 0x27, 0x02),
	SENSE_PERSISTENT_PROTECTED	= SENSE(7, 0x27, 0x04),
	SENSE_ABORTED			= SENSE(0xb, 0x00, 0x00),
};
/* clang-format on */

static inline unsigned sense_key(enum sense s)
{
	return (unsigned)s >> 16;
}

static inline unsigned sense_asc(enum sense s)
{
	return (unsigned)s >> 8 & 255;
}

static inline unsigned sense_ascq(enum sense s)
{
	return (unsigned)s & 255;
}

/* "WRITE ERROR"-like name for logs and the burn command, or NULL for a code not in the list. */
const char *sense_name(enum sense s);
