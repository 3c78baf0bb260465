/*
 * CD sector coding: see sector.h. The parities are Horner evaluations over GF(2^8) with 11Dh and
 * alpha = 2: adding p0 and p1 to a code vector makes both its sum and its alpha-weighted sum zero
 * (reference/mmc.md 7.4).
 */
#include "disc/sector.h"

#include "base/bytes.h"

#include <string.h>

enum {
	HEADER = 12,
	MODE_BYTE = 15,
	SUBHEADER = 16,
	EDC_MODE1 = 2064,
	EDC_FORM1 = 2072,
	EDC_FORM2 = 2348,
	ECC_BEGIN = 12,
	ECC_WORDS = 1032,
	P_COLUMNS = 43,
	P_ROWS = 24,
	Q_DIAGONALS = 26,
	Q_WORDS = 43,
	Q_SPAN = 1118,
	LEAD_IN_MINUTE = 90,
};

struct msf lba_to_msf(int32_t lba)
{
	int32_t frames = lba >= -CD_PREGAP ? lba + CD_PREGAP : lba + 450150;

	return (struct msf){(uint8_t)(frames / (60 * 75)), (uint8_t)(frames / 75 % 60),
			    (uint8_t)(frames % 75)};
}

int32_t msf_to_lba(struct msf msf)
{
	int32_t frames = (msf.m * 60 + msf.s) * 75 + msf.f;

	return msf.m < LEAD_IN_MINUTE ? frames - CD_PREGAP : frames - 450150;
}

uint8_t to_bcd(uint8_t binary)
{
	return (uint8_t)(binary / 10 << 4 | binary % 10);
}

uint8_t from_bcd(uint8_t bcd)
{
	return (uint8_t)((bcd >> 4) * 10 + (bcd & 15));
}

/* The EDC's polynomial in reflected form, four bits at a time: small enough to write down, fast
 * enough for reading. */
/* clang-format off */
static const uint32_t edc_nibble[16] = {
	0x00000000, 0x99011001, 0x82012001, 0x1b003000, 0xb4014001, 0x2d005000, 0x36006000, 0xaf017001,
	0xd8018001, 0x41009000, 0x5a00a000, 0xc301b001, 0x6c00c000, 0xf501d001, 0xee01e001, 0x7700f000,
};
/* clang-format on */

uint32_t sector_edc(const uint8_t *p, unsigned len)
{
	uint32_t crc = 0;

	while (len--) {
		crc ^= *p++;
		crc = crc >> 4 ^ edc_nibble[crc & 15];
		crc = crc >> 4 ^ edc_nibble[crc & 15];
	}
	return crc;
}

static uint8_t times_alpha(uint8_t v)
{
	return (uint8_t)(v << 1 ^ (v & 0x80 ? 0x1d : 0));
}

/* Division by alpha + 1, the weight that p0 has left: multiplication with its inverse, F4h. */
static uint8_t over_three(uint8_t v)
{
	uint8_t r = 0;

	for (uint8_t factor = 0xf4; factor; factor >>= 1) {
		if (factor & 1)
			r ^= v;
		v = times_alpha(v);
	}
	return r;
}

/* One code vector of a plane: word index of element i is (first + i * step) mod span. */
static void parity(uint8_t *plane, unsigned first, unsigned step, unsigned span, unsigned count,
		   unsigned p0, unsigned p1)
{
	uint8_t sum = 0, weighted = 0;

	for (unsigned i = 0, n = first; i < count; i++, n = (n + step) % span) {
		uint8_t v = plane[2 * n];

		sum ^= v;
		weighted = times_alpha(weighted ^ v);
	}
	weighted = times_alpha(weighted);
	plane[2 * p0] = over_three(sum ^ weighted);
	plane[2 * p1] = plane[2 * p0] ^ sum;
}

static void make_ecc(uint8_t *sector)
{
	for (unsigned odd = 0; odd < 2; odd++) {
		uint8_t *plane = sector + ECC_BEGIN + odd;

		for (unsigned c = 0; c < P_COLUMNS; c++)
			parity(plane, c, P_COLUMNS, Q_SPAN, P_ROWS, ECC_WORDS + c,
			       ECC_WORDS + P_COLUMNS + c);
		for (unsigned d = 0; d < Q_DIAGONALS; d++)
			parity(plane, Q_WORDS * d, 44, Q_SPAN, Q_WORDS, Q_SPAN + d,
			       Q_SPAN + Q_DIAGONALS + d);
	}
}

static void make_header(uint8_t *sector, int32_t lba, uint8_t mode)
{
	struct msf t = lba_to_msf(lba);

	sector[0] = 0;
	memset(sector + 1, 0xff, 10);
	sector[11] = 0;
	sector[HEADER] = to_bcd(t.m);
	sector[HEADER + 1] = to_bcd(t.s);
	sector[HEADER + 2] = to_bcd(t.f);
	sector[MODE_BYTE] = mode;
}

void sector_make_mode1(uint8_t sector[SECTOR_RAW], int32_t lba)
{
	make_header(sector, lba, 1);
	put_le32(sector + EDC_MODE1, sector_edc(sector, EDC_MODE1));
	memset(sector + EDC_MODE1 + 4, 0, 8);
	make_ecc(sector);
}

void sector_make_form1(uint8_t sector[SECTOR_RAW], int32_t lba)
{
	uint8_t header[4];

	make_header(sector, lba, 2);
	put_le32(sector + EDC_FORM1, sector_edc(sector + SUBHEADER, EDC_FORM1 - SUBHEADER));
	memcpy(header, sector + HEADER, 4);
	memset(sector + HEADER, 0, 4);
	make_ecc(sector);
	memcpy(sector + HEADER, header, 4);
}

void sector_make_form2(uint8_t sector[SECTOR_RAW], int32_t lba, bool edc)
{
	make_header(sector, lba, 2);
	put_le32(sector + EDC_FORM2,
		 edc ? sector_edc(sector + SUBHEADER, EDC_FORM2 - SUBHEADER) : 0);
}

bool sector_is_mode1(const uint8_t sector[SECTOR_RAW], int32_t lba)
{
	uint8_t made[SECTOR_RAW];

	memcpy(made + SUBHEADER, sector + SUBHEADER, SECTOR_USER);
	sector_make_mode1(made, lba);
	return memcmp(made, sector, SECTOR_RAW) == 0;
}

uint16_t subq_crc(const uint8_t *p, unsigned len)
{
	uint16_t crc = 0;

	while (len--) {
		crc ^= (uint16_t)(*p++ << 8);
		for (int bit = 0; bit < 8; bit++)
			crc = (uint16_t)(crc << 1 ^ (crc & 0x8000 ? 0x1021 : 0));
	}
	return (uint16_t)~crc;
}
