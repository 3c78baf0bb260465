/* An IDE controller with a disk and a drive behind the fake host: ports, as a guest driver uses. */
#pragma once

#include "fake_host.h"

#include "base/bytes.h"
#include "block/block.h"
#include "block/fault.h"
#include "block/mem.h"
#include "device/units.h"
#include "scsi/drive.h"

enum {
	DISK_SECTORS = 2048,
	SECTOR = 512,
	BM = 4, /* BAR; those of channel n are 2 n and 2 n + 1 */
	DATA = 0,
	ERROR,
	COUNT,
	LBA_LOW,
	LBA_MID,
	LBA_HIGH,
	DEVICE,
	STATUS,
	CONTROL = 2,
	SRST = 4,
	TABLE_AT = GUEST_AT,
	BUF_AT = GUEST_AT + 0x10000,
};

struct ide_rig {
	struct block_node *disk; /* a fault filter over memory; sector n begins with n */
	struct drive *drive;     /* empty */
	struct device_units units;
	unsigned n_units; /* what nth() has: disk, drive, disk ... */
	struct device *d;
	struct fake_host h;
	unsigned done; /* calls that were answered later */
	struct pci_call call;
};

/* options: "driver=ide" and more. */
co_fn void ide_begin(struct ide_rig *r, unsigned n_units, const char *options);
co_fn void ide_end(struct ide_rig *r);
/* Without device and host. */
co_fn void ide_make_units(struct ide_rig *r, unsigned n_units);
co_fn void ide_free_units(struct ide_rig *r);
co_fn struct device *ide_try(struct ide_rig *r, const char *options, GError **error);

uint8_t ide_in(struct ide_rig *r, unsigned channel, unsigned reg);
void ide_out(struct ide_rig *r, unsigned channel, unsigned reg, unsigned value);
uint8_t ide_alt(struct ide_rig *r, unsigned channel);
/* 28-bit, LBA. */
void ide_command(struct ide_rig *r, unsigned channel, unsigned device, unsigned op, uint32_t lba,
		 unsigned count);
/* Until BSY is clear; STATUS, which acknowledges. */
co_fn uint8_t ide_wait(struct ide_rig *r, unsigned channel);
void ide_prd(struct ide_rig *r, unsigned i, uint32_t gpa, unsigned len, bool end);
void ide_start(struct ide_rig *r, unsigned channel, uint32_t table);
void ide_stop_dma(struct ide_rig *r, unsigned channel);
uint8_t ide_bm(struct ide_rig *r, unsigned channel);
/* A packet by PIO up to its first data or end. */
co_fn uint8_t ide_packet(struct ide_rig *r, unsigned channel, unsigned device, const uint8_t *cdb,
			 bool dma);
/* I/O of the disk takes 300 ms from now on. */
void ide_make_slow(struct ide_rig *r, enum fault_op op);
