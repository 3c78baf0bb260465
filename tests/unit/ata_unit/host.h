/*
 * A host adapter for tests of ATA units: it moves every data phase into or out of a buffer and
 * keeps what it saw. Several commands may run at once, each with a host of its own.
 *
 * Bodies run as coroutines in the drive fixture of tests/unit/scsi, whose CHECK() notes failures.
 */
#pragma once

#include "mmc_fixture.h"

#include "ata/ata.h"
#include "block/block.h"
#include "block/fault.h"

enum { HOST_ROOM = 1 << 20, HOST_PHASES = 2100, SECTORS = 4096 };

struct host {
	struct ata_cmd c; /* first */
	struct fx *f;
	struct ata_unit *u;

	/* what the host has and does */
	uint8_t *data; /* HOST_ROOM bytes; 0x5a where nothing came */
	uint8_t packet[12];
	size_t dma_room;    /* that it describes */
	size_t dma_piece;   /* bytes of a piece of it */
	unsigned cancel_at; /* this phase (from 1), also DMA, ends with -ECANCELED after
			       ata_cancel() */
	unsigned hang_at;   /* this one with another error */

	/* what it saw */
	struct ata_drq phases[HOST_PHASES];
	unsigned n_phases;
	size_t moved; /* bytes of data phases */
	bool dma, dma_to_host;
	size_t dma_len, dma_done;
	unsigned dma_begun, dma_ended;
	struct iovec *pieces;
	bool done; /* ata_execute() returned */
	struct co_queue wait;
};

struct host *host_new(struct fx *f, struct ata_unit *u);
void host_free(struct host *h);
/* Runs a command with these registers; data is kept as the host's data to write. */
co_fn void host_run(struct host *h, unsigned command, unsigned feature, unsigned count,
		    uint64_t lba, unsigned device);
/* The same beside the caller; host_wait() waits for its end. */
void host_start(struct host *h, unsigned command, unsigned feature, unsigned count, uint64_t lba,
		unsigned device);
co_fn void host_wait(struct host *h);
/* PACKET with the bytes in hex, byte count limit and FEATURES. */
co_fn void host_packet(struct host *h, const char *cdb, unsigned limit, unsigned feature);
/* STATUS and ERROR of the end, which the host is to see. */
void host_expect_end(struct host *h, int line, unsigned status, unsigned error);
/* Fills the data with bytes that tell their sector from lba on. */
void host_pattern(struct host *h, uint64_t lba, unsigned sectors, unsigned seed);
bool host_has_pattern(const struct host *h, size_t at, uint64_t lba, unsigned sectors,
		      unsigned seed);

/* A disk of SECTORS sectors in memory under the fault filter, filled with the pattern of seed 1. */
struct disk {
	struct block_node *fault;
	struct ata_unit *u;
	struct host *h;
};
co_fn struct disk disk_new(struct fx *f, bool sata);
co_fn void disk_free(struct disk *d);
/* Fails reads or writes of [lba, lba + n) with errnum, after delay_ns. */
void disk_fault(struct disk *d, enum fault_op op, uint64_t lba, uint64_t n, int errnum,
		uint64_t delay_ns);

#define LBA               0xe0 /* DEVICE */
#define GOOD_END          0x50
#define ERR_END           0x51
#define ENDED(h, st, err) host_expect_end(h, __LINE__, st, err)
