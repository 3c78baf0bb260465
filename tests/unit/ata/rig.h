/* A channel with bus master on fake units and memory of the test: what a guest driver touches. */
#pragma once

#include "../base/loop_test.h"
#include "ata/bmdma.h"
#include "base/bytes.h"
#include "fake_unit.h"

#include <errno.h>
#include <string.h>

enum {
	MEM_AT = 0x10000,
	MEM_LEN = 0x20000,
	TABLE = MEM_AT, /* of regions */
	DATA = MEM_AT + 0x8000,
	R_DATA = 0,
	R_ERROR,
	R_COUNT,
	R_LBAL,
	R_LBAM,
	R_LBAH,
	R_DEVICE,
	R_STATUS,
	NIEN = 2,
	SRST = 4,
	HOB = 0x80,
};

struct rig {
	struct bmdma *bm;
	struct ata_channel *ch;
	struct ata_unit *u[2];
	bool level;
	unsigned edges;
	uint8_t mem[MEM_LEN];
	struct iovec iov[8200];
	unsigned n, reads;
	size_t len;
	bool busy;
	unsigned begins, ends;
};

/* The present test's. */
extern struct rig rig;

enum rig_kind { RIG_NONE, RIG_DISK, RIG_PACKET };
void rig_begin(enum rig_kind first, enum rig_kind second);
co_fn void rig_end(void);

uint8_t in(unsigned reg);
void out(unsigned reg, unsigned value);
uint8_t alt(void);
void control(unsigned value);
void command(unsigned cmd, unsigned lba, unsigned count);
/* Lets coroutines run until nothing changes any more. */
co_fn void settle(void);
void read_block(void *buf, size_t len, unsigned width);
void write_block(const void *buf, size_t len, unsigned width);
/* Sends a packet by PIO; flags go to FEATURES. */
co_fn void packet(uint8_t op, unsigned block, unsigned blocks, unsigned flags);
/* Entry i of the table. */
void prd(unsigned i, uint32_t gpa, unsigned len, bool end);
uint8_t bm_status(void);
void bm_start(uint32_t table);
void bm_stop(void);

#define RIG_TEST(name)                        \
	static void name(void **state)        \
	{                                     \
		(void)state;                  \
		run_in_loop(name##_co, NULL); \
	}
