/*
 * A unit for tests of channels and controllers, in place of src/ata/unit*.c at link time: a few
 * commands of the right shapes (non-data, PIO and DMA both ways, PACKET) on memory, which can be
 * made slow and can fail.
 */
#pragma once

#include "ata/ata.h"

enum { FAKE_SECTORS = 64 };

struct ata_unit {
	struct loop *loop;
	bool is_packet, second;
	uint8_t media[FAKE_SECTORS * ATA_SECTOR];
	bool is_slow; /* I/O waits for fake_unit_go() */
	struct co_queue io;
	unsigned in_io, executed, resets;
	enum ata_reset_kind last_reset;
	struct ata_tf last_tf;
	uint8_t last_cdb[ATA_CDB_LEN];
	size_t last_moved; /* bytes of DMA */
	bool fails;        /* the next command, with UNC */
};

/* media is a pattern that names its unit. */
struct ata_unit *fake_unit_new(struct loop *loop, bool is_packet, bool second);
void fake_unit_free(struct ata_unit *u);
/* I/O in flight ends. */
void fake_unit_go(struct ata_unit *u);
