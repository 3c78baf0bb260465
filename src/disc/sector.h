/*
 * CD sector coding (ECMA-130, reference/mmc.md section 7): pure functions on 2352-byte sectors.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { SECTOR_RAW = 2352, SECTOR_USER = 2048, CD_PREGAP = 150, CD_LEAD_IN_LBA_MIN = -45150 };

struct msf {
	uint8_t m, s, f;
};

struct msf lba_to_msf(int32_t lba);
int32_t msf_to_lba(struct msf msf);
uint8_t to_bcd(uint8_t binary);
uint8_t from_bcd(uint8_t bcd);
uint32_t sector_edc(const uint8_t *p, unsigned len);
/* Fills sync, header, EDC and ECC around the user data at bytes 16..2063. */
void sector_make_mode1(uint8_t sector[SECTOR_RAW], int32_t lba);
/* Sub-header at 16..23 and user data at 24..2071 are given. */
void sector_make_form1(uint8_t sector[SECTOR_RAW], int32_t lba);
void sector_make_form2(uint8_t sector[SECTOR_RAW], int32_t lba, bool edc);
/* Whether the sector is just what sector_make_mode1() would make of its user data. */
bool sector_is_mode1(const uint8_t sector[SECTOR_RAW], int32_t lba);
uint16_t subq_crc(const uint8_t *p, unsigned len); /* inverted, as stored */
