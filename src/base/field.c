/* Fields of wire layouts: see field.h for what an int of them holds. */
#include "base/field.h"

uint32_t fld_get(const uint8_t *p, int field)
{
	uint32_t value = 0;

	p += fld_byte(field);
	if (fld_bytes(field) == 1)
		return (uint32_t)p[0] >> fld_low(field) & ((1u << fld_bits(field)) - 1);
	for (unsigned i = 0; i < fld_bytes(field); i++)
		value = value << 8 | p[i];
	return value;
}

uint64_t fld_get64(const uint8_t *p, int field)
{
	uint64_t value = 0;

	p += fld_byte(field);
	for (unsigned i = 0; i < fld_bytes(field); i++)
		value = value << 8 | p[i];
	return value;
}

void fld_put(uint8_t *p, int field, uint32_t value)
{
	p += fld_byte(field);
	if (fld_bytes(field) == 1) {
		uint32_t mask = ((1u << fld_bits(field)) - 1) << fld_low(field);

		p[0] = (uint8_t)((p[0] & ~mask) | (value << fld_low(field) & mask));
		return;
	}
	for (unsigned i = fld_bytes(field); i-- > 0; value >>= 8)
		p[i] = (uint8_t)value;
}
