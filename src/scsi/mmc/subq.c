/* Position frames of the Q sub-channel: see subq.h. */
#include "scsi/mmc/subq.h"

#include "base/bytes.h"
#include "disc/sector.h"

#include <stdbool.h>
#include <string.h>

enum {
	Q_LEN = 12,
	Q_DATA = 10,
	Q_CRC = 10,
	ADR_POSITION = 1,
	P_BYTE = 15,
	BIT_P = 0x80,
	BIT_Q = 0x40
};

static void put_bcd_msf(uint8_t p[3], struct msf t)
{
	p[0] = to_bcd(t.m);
	p[1] = to_bcd(t.s);
	p[2] = to_bcd(t.f);
}

static void make_q(uint8_t q[Q_LEN], const struct subq_place *place)
{
	bool pause = place->lba < place->start;
	int32_t relative = pause ? place->start - 1 - place->lba : place->lba - place->start;

	memset(q, 0, Q_LEN);
	q[0] = (uint8_t)(place->control << 4 | ADR_POSITION);
	q[1] = to_bcd((uint8_t)place->track);
	q[2] = pause ? 0 : 1;
	put_bcd_msf(q + 3, lba_to_msf(relative - CD_PREGAP));
	put_bcd_msf(q + 7, lba_to_msf(place->lba));
	put_be16(q + Q_CRC, subq_crc(q, Q_DATA));
}

void subq_formatted(uint8_t out[SUBQ_FORMATTED], const struct subq_place *place)
{
	memset(out, 0, SUBQ_FORMATTED);
	make_q(out, place);
	if (place->lba < place->start)
		out[P_BYTE] = BIT_P;
}

void subq_raw(uint8_t out[SUBQ_RAW], const struct subq_place *place)
{
	uint8_t p = place->lba < place->start ? BIT_P : 0, q[Q_LEN];
	unsigned i;

	make_q(q, place);
	for (i = 0; i < SUBQ_RAW; i++)
		out[i] = p | (q[i / 8] >> (7 - i % 8) & 1 ? BIT_Q : 0);
}
