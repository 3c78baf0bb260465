/*
 * Frame information structures and memory layouts of AHCI 1.3.1 (4.2) and Serial ATA (10.5): pure
 * encoders and decoders.
 */
#pragma once

#include "ata/ata.h"

/* clang-format off */
enum {	/* received FIS area, by offset */
	RX_DMA_SETUP = 0x00, RX_PIO_SETUP = 0x20, RX_D2H = 0x40, RX_SDB = 0x58, RX_LEN = 0x100,
};

enum { FIS_D2H_LEN = 20, FIS_PIO_LEN = 20, FIS_SDB_LEN = 8 };

enum {	/* command list and table */
	HEADER_LEN = 32, CFIS_LEN = 64, ACMD_AT = 0x40, ACMD_LEN = 16, TABLE_HEAD_LEN = 0x50, PRDT_AT = 0x80,
	PRD_LEN = 16, PRDBC_AT = 4,
};

struct ahci_header {
	unsigned cfl;		/* bytes of the command FIS */
	bool atapi, write, clear_busy;
	unsigned pmp, prdtl;
	uint64_t ctba;
};
/* clang-format on */

void ahci_get_header(const uint8_t raw[HEADER_LEN], struct ahci_header *out);

struct ahci_cfis {
	bool command; /* C: a command; else device control */
	bool srst;
	struct ata_tf tf;
};

/* False: it is no register FIS for port multiplier port 0. */
bool ahci_get_cfis(const uint8_t raw[CFIS_LEN], struct ahci_cfis *out);
/* The address and length of an entry. */
void ahci_get_prd(const uint8_t raw[PRD_LEN], uint64_t *addr, uint64_t *len, bool *irq);

void ahci_put_d2h(uint8_t out[FIS_D2H_LEN], const struct ata_regs *regs, bool irq);
void ahci_put_pio(uint8_t out[FIS_PIO_LEN], const struct ata_drq *drq);
void ahci_put_sdb(uint8_t out[FIS_SDB_LEN], unsigned status, unsigned error, uint32_t tags,
		  bool notification);
