/*
 * An AHCI controller with real units behind the fake host, and what a guest driver does with it:
 * command lists in guest memory, polling or interrupts.
 */
#pragma once

#include "fake_host.h"

#include "base/bytes.h"
#include "block/block.h"
#include "block/fault.h"
#include "block/mem.h"
#include "device/units.h"
#include "scsi/drive.h"

/* clang-format off */
enum {
	SECTOR = 512, DISK_SECTORS = 4096, RIG_DISKS = 3,
	ABAR = 5,
	H_CAP = 0, H_GHC = 4, H_IS = 8, H_PI = 12, H_VS = 16,
	P_CLB = 0, P_CLBU = 4, P_FB = 8, P_FBU = 12, P_IS = 0x10, P_IE = 0x14, P_CMD = 0x18, P_TFD = 0x20,
	P_SIG = 0x24, P_SSTS = 0x28, P_SCTL = 0x2c, P_SERR = 0x30, P_SACT = 0x34, P_CI = 0x38, P_SNTF = 0x3c,
	ST = 1, CLO = 8, FRE = 0x10, FR = 1 << 14, CR = 1 << 15, HR = 1, IE = 2,
	DHRS = 1, PSS = 2, SDBS = 8, UFS = 0x10, DPS = 0x20, PCS = 0x40, PRCS = 1 << 22, OFS = 1 << 24,
	IFS = 1 << 27, HBFS = 1 << 29, TFES = 1 << 30,
	SERR_N = 1 << 16, SERR_X = 1 << 26,
	CFL5 = 5, ATAPI = 1 << 5, WRITE = 1 << 6, RESET = 1 << 8, CLEAR = 1 << 10,

	/* guest memory: of each port a list, received FISes, 32 tables of 256 bytes; then data */
	PORT_ROOM = 0x4000, FB_OFF = 0x400, TABLES_OFF = 0x800, TABLE_LEN = 0x100, PRDS_MAX = 8,
	DATA_AT = GUEST_AT + 0x10000,
};
/* clang-format on */

struct ahci_rig {
	struct block_node *disks[RIG_DISKS]; /* fault filters over memory; sector n begins with n */
	struct drive *drive;                 /* empty */
	struct device_units units;
	const char *order; /* "hhc": hd0, hd1, cd0 */
	struct device *d;
	struct fake_host h;
	bool far;          /* lists and data lie in memory that only the host reaches */
	unsigned answered; /* calls that were answered later */
	struct pci_call call;
};

/* order: what units.nth() has. options: "driver=ahci" and more. */
co_fn void rig_make_units(struct ahci_rig *r, const char *order);
co_fn struct device *rig_try(struct ahci_rig *r, const char *options, GError **error);
co_fn void rig_free_units(struct ahci_rig *r);
/* All of it, with every port that has a unit set up: AE, lists, FRE, ST, all interrupts on. */
co_fn void rig_begin(struct ahci_rig *r, const char *order, const char *options);
co_fn void rig_end(struct ahci_rig *r);
void rig_start_port(struct ahci_rig *r, unsigned port);

uint32_t rd(struct ahci_rig *r, unsigned off);
void wr(struct ahci_rig *r, unsigned off, uint32_t value);
uint32_t prg(struct ahci_rig *r, unsigned port, unsigned off);
void pwr(struct ahci_rig *r, unsigned port, unsigned off, uint32_t value);

/* Memory of the guest at an address of the rig's. */
uint8_t *at(struct ahci_rig *r, uint64_t gpa);
uint64_t list_of(const struct ahci_rig *r, unsigned port);
uint64_t data_of(const struct ahci_rig *r); /* 64 KiB and more */
uint8_t *header(struct ahci_rig *r, unsigned port, unsigned slot);
uint8_t *table(struct ahci_rig *r, unsigned port, unsigned slot);
uint8_t *rx(struct ahci_rig *r, unsigned port); /* received FISes */

struct rig_cmd {
	uint8_t op, device;
	uint16_t feature, count;
	uint64_t lba;
	const uint8_t *cdb; /* with A */
	bool write;
	uint64_t gpa;   /* of the data; 0: data_of() */
	uint32_t bytes; /* one PRD entry; 0: none */
};
void rig_fill(struct ahci_rig *r, unsigned port, unsigned slot, const struct rig_cmd *c);
void rig_prd(struct ahci_rig *r, unsigned port, unsigned slot, unsigned i, uint64_t gpa,
	     uint32_t bytes, bool irq);
/* Sets PxSACT for queued ones and PxCI. */
void rig_issue(struct ahci_rig *r, unsigned port, uint32_t slots, bool queued);
/* Until PxCI is clear, or TFES or HBFS or IFS; PxIS as it then is, and cleared. */
co_fn uint32_t rig_wait(struct ahci_rig *r, unsigned port);
/* Slot 0, to its end. */
co_fn uint32_t rig_run(struct ahci_rig *r, unsigned port, const struct rig_cmd *c);
void rig_queued(struct ahci_rig *r, unsigned port, unsigned tag, bool write, uint64_t lba,
		unsigned sectors, uint64_t gpa);
/* As drivers recover: ST off, CR, ST on. */
co_fn void rig_restart(struct ahci_rig *r, unsigned port);
co_fn void rig_comreset(struct ahci_rig *r, unsigned port);
/* Until CR is clear with ST off. */
co_fn void rig_stop(struct ahci_rig *r, unsigned port);
void rig_slow(struct ahci_rig *r, unsigned disk, enum fault_op op, unsigned ms);
co_fn void rig_reset_bus(struct ahci_rig *r);

#define RIG_TEST(name)                        \
	static void name(void **state)        \
	{                                     \
		(void)state;                  \
		run_in_loop(name##_co, NULL); \
	}
