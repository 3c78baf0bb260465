/*
 * Fields of wire layouts by name: where a field lies, so that the same list reads, writes, traces
 * and checks it. Byte numbers count from the start of the structure, bit 7 is the most significant.
 * Multi-byte fields are big-endian (SCSI).
 */
#pragma once

#include <stdint.h>

/*
 * A field packed in an int: byte offset, number of bytes, lowest bit, number of bits in a one-byte
 * field.
 */
#define FIELD(byte, bytes, low, bits) ((byte) << 16 | (bytes) << 12 | (low) << 8 | (bits))
#define BIT(byte, bit)                FIELD(byte, 1, bit, 1)
#define BITS(byte, high, low)         FIELD(byte, 1, low, (high) - (low) + 1)
#define U8(byte)                      FIELD(byte, 1, 0, 8)
#define BE16(byte)                    FIELD(byte, 2, 0, 16)
#define BE24(byte)                    FIELD(byte, 3, 0, 24)
#define BE32(byte)                    FIELD(byte, 4, 0, 32)
#define BE64(byte)                    FIELD(byte, 8, 0, 64) /* fld_get64() only */

static inline unsigned fld_byte(int f)
{
	return (unsigned)f >> 16;
}

static inline unsigned fld_bytes(int f)
{
	return (unsigned)f >> 12 & 15;
}

static inline unsigned fld_low(int f)
{
	return (unsigned)f >> 8 & 15;
}

static inline unsigned fld_bits(int f)
{
	return (unsigned)f & 255;
}

uint32_t fld_get(const uint8_t *p, int field);
void fld_put(uint8_t *p, int field, uint32_t value);
uint64_t fld_get64(const uint8_t *p, int field); /* of several bytes */
