/*
 * Inside the AHCI host bus adapter: what its files share. Nothing outside includes this.
 *
 * A port fetches commands in one coroutine (unqueued ones run to their end in it, one after
 * another) and gives each queued one a coroutine of its own. Whatever stops a port (ST, COMRESET,
 * software reset, unplug, the machine's reset) raises its epoch and cancels what runs: a command of
 * an earlier epoch shows the host nothing. What then follows (the link comes up, the list runs
 * again, GHC.HR reads 0) is noted in flags and done when the last one ended, by ahci_port_leave().
 */
#pragma once

#include "ata/ata.h"
#include "device/ahci/fis.h"
#include "device/guest_sg.h"
#include "device/units.h"

enum { AHCI_PORTS = 32, AHCI_SLOTS = 32, AHCI_NAME_LEN = 96 };

/* clang-format off */
enum {	/* PxIS, PxIE */
	IS_DHRS = 1 << 0, IS_PSS = 1 << 1, IS_SDBS = 1 << 3, IS_UFS = 1 << 4, IS_DPS = 1 << 5,
	IS_PCS = 1 << 6, IS_PRCS = 1 << 22, IS_OFS = 1 << 24, IS_IFS = 1 << 27, IS_HBDS = 1 << 28,
	IS_HBFS = 1 << 29, IS_TFES = 1 << 30,
};

enum {	/* PxCMD */
	CMD_ST = 1 << 0, CMD_SUD = 1 << 1, CMD_POD = 1 << 2, CMD_CLO = 1 << 3, CMD_FRE = 1 << 4,
	CMD_FR = 1 << 14, CMD_CR = 1 << 15,
};

enum {	/* what software can write, and fields of it */
	IE_MASK = 0x7dc0007f | (int)0x80000000,
	CMD_WRITABLE = CMD_ST | CMD_FRE | 1 << 24 | 1 << 25, /* and LED hints; CAP.SSS is 0 */
	SCTL_MASK = 0xfff, SCTL_DET = 0xf, DET_RESET = 1, DET_OFF = 4, SSTS_OFF = 4,
	CLB_MASK = 0x3ff, FB_MASK = 0xff, /* bits that read 0 */
};

enum { GHC_HR = 1 << 0, GHC_IE = 1 << 1 };

enum { SERR_N = 1 << 16, SERR_F = 1 << 25, SERR_X = 1 << 26, SSTS_UP = 0x133, TFD_NONE = 0x7f };
/* clang-format on */

struct ahci;
struct ahci_port;

struct ahci_slot {
	struct ata_cmd cmd; /* the first: cmd and slot are the same address */
	struct ahci_port *port;
	unsigned n, tag;
	unsigned epoch;
	bool running, executing, queued; /* executing: cmd is the unit's */
	bool fatal;                      /* guest memory that is not there: the port halts (HBFS) */
	bool over;                       /* the PRD table was shorter than the data (OFS) */
	uint64_t ctba;
	unsigned prdtl, prds; /* entries there are, and have been read */
	uint64_t irq_at;      /* where the first of them that wants an interrupt ends; 0: none */
	uint32_t irqs;        /* PxIS bits of its PIO blocks, for its end */
	uint32_t prdbc;
	struct guest_sg table; /* the PRD table as far as it was read; never mapped */
	struct guest_sg sg;    /* what of it a transfer uses */
};

/* Queued commands that ended and have not been told yet: sdb.c. */
struct ahci_sdb {
	uint32_t tags;
	unsigned batch; /* this many are told together */
	unsigned told;  /* times that this many came, since batch was set */
	unsigned trust; /* after so many of them batch may grow */
	uint64_t since; /* when the first of tags ended */
	bool pending;   /* task or timer is due, and counted in port.running */
	struct loop_task task;
	struct loop_timer timer;
};

struct ahci_port {
	struct ahci *h;
	unsigned n;
	char name[AHCI_NAME_LEN];
	struct ata_unit *unit; /* NULL: nothing there */
	char *unit_id;

	uint64_t clb, fb;
	uint32_t is, ie, cmd, tfd, sig, ssts, sctl, serr, sact, ci, sntf;
	uint32_t seen; /* of is & ie: what has had its interrupt */

	unsigned epoch;
	unsigned last;    /* slot fetched last: PxCMD.CCS */
	unsigned next;    /* where to look for the next */
	unsigned running; /* coroutines: slots, the one that fetches, those that post a FIS */
	unsigned posting; /* FISes on their way: PxCMD.FR */
	bool fetching, halted, in_srst;
	bool draining; /* what runs is of an earlier epoch: nothing is fetched until it ended */
	bool link_due; /* COMRESET: the link comes up when nothing runs */
	bool leaving;  /* being unplugged */
	bool signature_due, notify_due; /* FISes that wait: for FRE, for the machine to run */
	struct co_queue idle;           /* woken when something ended */
	struct ahci_sdb sdb;
	struct ahci_slot slots[AHCI_SLOTS];
};

enum ahci_reset { AHCI_RESET_NONE, AHCI_RESET_HBA, AHCI_RESET_BUS };

struct ahci {
	struct ob_dev *dev;
	struct loop *loop;
	unsigned n_ports;
	uint32_t ghc, is;
	enum ob_msi_state msi;        /* as on_changed() last saw it */
	enum ahci_reset reset_due;    /* when nothing runs; until then no port fetches */
	struct ob_call *reset, *stop; /* whose answers wait for the same */
	struct loop_task settle;      /* at the end of the turn in which nothing ran any more */
	bool stopped;                 /* the machine stands still */
	bool closing;
	struct ahci_port *ports[AHCI_PORTS];
};

/* hba.c */
/* The port's interrupt bits changed, or their mask. */
void ahci_update(struct ahci_port *p);
/* Nothing runs on a port any more: what waits for all of them may be due. */
void ahci_port_is_idle(struct ahci_port *p);

/* port.c */
void ahci_port_raise(struct ahci_port *p, uint32_t bits);
uint32_t ahci_port_is(const struct ahci_port *p); /* PxIS with the views of PxSERR */
uint32_t ahci_port_read(struct ahci_port *p, unsigned off);
void ahci_port_write(struct ahci_port *p, unsigned off, uint32_t value);
/* Registers of power-on or of GHC.HR; nothing runs. */
void ahci_port_reset_registers(struct ahci_port *p, bool power_on);
/* Nothing runs of before when it returned. */
co_fn void ahci_port_drain(struct ahci_port *p);
/* Something of p.running ended. The last one does what waited for that. */
void ahci_port_leave(struct ahci_port *p);
/* The link comes up, or not: what COMRESET ends with. Nothing runs. */
void ahci_port_link(struct ahci_port *p);
/* COMRESET: at once where nothing runs, else once it ended. */
void ahci_port_comreset(struct ahci_port *p);
void ahci_port_set_regs(struct ahci_port *p, const struct ata_regs *regs);
/* Starts the FISes that wait, if they may go now. */
void ahci_port_post_due(struct ahci_port *p);
bool ahci_port_plug(struct ahci_port *p, const struct device_unit *unit, GError **error);
co_fn void ahci_port_unplug(struct ahci_port *p);

/* command.c */
/* Fetches what PxCI has, if the port may. */
void ahci_port_kick(struct ahci_port *p);
/* Marks all that runs as of an earlier epoch, and lets it end soon. */
void ahci_port_cancel(struct ahci_port *p);
/* 0 also where FRE is off and the FIS goes nowhere. */
co_fn int ahci_post_fis(struct ahci_port *p, unsigned at, const uint8_t *fis, size_t len);
/* The port stops fetching until ST went to 0; the command's bit stays in PxCI or PxSACT. */
void ahci_port_halt(struct ahci_port *p, uint32_t bits);
void ahci_port_init_commands(struct ahci_port *p);

/* sdb.c */
void ahci_sdb_init(struct ahci_port *p);
/* The host has given one more queued command. */
void ahci_sdb_fetched(struct ahci_port *p);
/* One has ended well. */
void ahci_sdb_done(struct ahci_port *p, unsigned tag);
/* The tags that have not been told; the caller tells them, or nobody. */
uint32_t ahci_sdb_take(struct ahci_port *p);

/* state.c: ob_class.save and restore. */
int ahci_save(struct ob_dev *dev, struct ob_state *out);
int ahci_restore(struct ob_dev *dev, struct ob_state *in, uint32_t version);
