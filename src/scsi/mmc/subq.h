/*
 * The Q sub-channel as a drive reports it for a block (ECMA-130 22.3, mmc.md 7.5): position frames
 * made from what is known about the track. Pure.
 */
#pragma once

#include <stdint.h>

enum { SUBQ_FORMATTED = 16, SUBQ_RAW = 96 };

struct subq_place {
	int32_t lba;
	int32_t start; /* of the track, index 1; lba below it lies in the pregap */
	uint8_t control;
	unsigned track;
};

/* Control and ADR, track, index, relative and absolute time (BCD), CRC, and P in the last byte. */
void subq_formatted(uint8_t out[SUBQ_FORMATTED], const struct subq_place *place);
/* 96 symbols: P in bit 7, Q in bit 6, R to W empty. */
void subq_raw(uint8_t out[SUBQ_RAW], const struct subq_place *place);
