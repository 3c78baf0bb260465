/*
 * ATA devices (ACS-3, MMC-6 annex for packets) as a host adapter sees them: a disk or a packet
 * device that executes commands.
 *
 * A unit is all of ATA but the registers on a wire: IDENTIFY data, features, SMART, logs, the
 * PACKET protocol. An adapter (the two-device channel of ata/channel.h, an AHCI port) fills a
 * struct ata_cmd and calls ata_execute() from a coroutine; the unit asks for data phases through
 * the adapter's ops, one after another. When ata_execute() returns, cmd->regs is what the host is
 * to see: as task file registers or as a FIS. Every task file gets an answer; every range,
 * length and state is checked here.
 *
 * All of it belongs to one loop. A unit executes one command at a time, queued ones (60h, 61h)
 * beside each other; the adapter sees to that, but for the rules of queued commands, which are
 * the unit's.
 */
#pragma once

#include "base/co.h"
#include "base/iovs.h"

struct ata_unit;
struct ata_cmd;
struct ata_row;
struct block_node;
struct scsi_cmd;
struct scsi_lu;

/* clang-format off */
enum ata_status {
	ATA_BSY  = 0x80,
	ATA_DRDY = 0x40,
	ATA_DF   = 0x20,
	ATA_DSC  = 0x10,
	ATA_DRQ  = 0x08,
	ATA_ERR  = 0x01,	/* CHK after PACKET */
};

enum ata_error {
	ATA_ICRC = 0x80,
	ATA_UNC  = 0x40,
	ATA_IDNF = 0x10,
	ATA_ABRT = 0x04,
};

enum ata_reason {		/* INTERRUPT REASON: COUNT during PACKET */
	ATA_REASON_OUT  = 0x00,
	ATA_REASON_CDB  = 0x01,
	ATA_REASON_IN   = 0x02,
	ATA_REASON_DONE = 0x03,
};
/* clang-format on */

enum {
	ATA_SECTOR = 512,
	ATA_TAGS = 32,
	ATA_CDB_LEN = 12,
	ATA_OP_DEVICE_RESET = 0x08,
	ATA_OP_READ_FPDMA = 0x60,
	ATA_OP_WRITE_FPDMA = 0x61,
	ATA_OP_DIAGNOSTIC = 0x90,
	ATA_OP_PACKET = 0xa0,
};

/* What the host loaded. Registers of two bytes: the previous content is the high half. */
struct ata_tf {
	uint8_t command, device;
	uint16_t feature, count;
	uint64_t lba; /* bits 7:0 LBA LOW ... 23:16 LBA HIGH, 31:24 LBA LOW's previous ... */
};

/* What the host sees. */
struct ata_regs {
	uint8_t status, error, device;
	uint16_t count;
	uint64_t lba; /* as in ata_tf; PACKET: bits 23:8 are the byte count */
};

enum ata_phase { ATA_PHASE_CDB, ATA_PHASE_IN, ATA_PHASE_OUT };

/* One DRQ block: PIO data, or the 12 bytes of a packet. */
struct ata_drq {
	enum ata_phase phase;
	void *buf;  /* read or filled by the adapter; the unit's own */
	size_t len; /* 1 to 65536; the host moves it in words, a last odd byte with a pad */
	struct ata_regs regs; /* while DRQ is set */
	bool irq;             /* the block's beginning interrupts */
	uint8_t end_status;   /* once the host moved it: E_Status of a PIO Setup FIS */
};

/*
 * The adapter. All of these are called from ata_execute()'s coroutine and may yield. -ECANCELED: a
 * reset or stop came; the unit then touches the command's data no more and returns. Whatever the
 * error is, the command ends with ABRT; whether the host sees that is the adapter's to say (it
 * called ata_cancel(), it shows a hanging device, or the ABRT).
 */
struct ata_host_ops {
	/* The host moves the block (all of it). Another negative errno: it never will; the unit
	 * gives up. */
	co_fn int (*pio)(struct ata_cmd *c, const struct ata_drq *drq);
	/*
	 * Guest memory for up to len bytes of DMA, which stays valid until dma_end(). What the host
	 * described may be shorter (iov->len tells: a disk moves whole sectors then, and a write
	 * ends with ABRT; other commands go on with less room) and is cut to len where it is
	 * longer. iov->v is the adapter's. Once a command.
	 */
	co_fn int (*dma_begin)(struct ata_cmd *c, bool to_host, size_t len, struct iovs *iov);
	/* After each dma_begin() that succeeded. done: bytes from the front that were moved. */
	co_fn int (*dma_end)(struct ata_cmd *c, size_t done);
};

struct ata_cmd {
	/* in, by the adapter; kept until ata_execute() returned */
	struct ata_tf tf;
	const struct ata_host_ops *ops;
	uint8_t cdb[16]; /* AHCI has the packet at hand; else got by a phase of ATA_PHASE_CDB */
	bool has_cdb;

	/* out */
	struct ata_regs regs; /* BSY and DRQ clear */
	bool quiet;           /* the end does not interrupt: the last block of PIO in did (2.2) */
	bool cancelled; /* nothing is to be shown to the host: ata_cancel() was called, or another
			   queued command failed and took this one with it (4.7) */

	/* the unit's own */
	const struct ata_row *row;
	uint64_t lba;   /* of an addressed command, */
	uint32_t count; /* and its sectors: what came with it, never read from registers again */
	struct ata_cmd *next, *prev; /* queued ones in execution */
	struct scsi_cmd *scsi;       /* a packet in execution */
};

struct ata_unit_options {
	struct loop *loop;
	const char *name; /* in messages, and the default of serial_number */
	/* One of these, borrowed for the unit's life: */
	struct block_node *disk; /* sectors of 512 bytes; its length may change by resize */
	struct scsi_lu *drive;   /* a packet device over this logical unit, by a nexus of its own */
	/* ASCII; NULL: defaults. At most 40, 20, 8 characters; a drive's come from its INQUIRY. */
	const char *model, *serial_number, *firmware;
	bool sata;   /* on AHCI: see the columns of IDENTIFY in ata.md 2.8 */
	bool second; /* device 1 of a parallel channel */
	bool rotational;
};

enum ata_reset_kind {
	ATA_RESET_HARD,       /* power, hardware reset, COMRESET */
	ATA_RESET_SOFT,       /* SRST */
	ATA_RESET_DEVICE,     /* DEVICE RESET of a packet device */
	ATA_RESET_DIAGNOSTIC, /* EXECUTE DEVICE DIAGNOSTIC */
};

/* On the loop, in a coroutine or not. NULL: *error says which option, and what would be right. */
struct ata_unit *ata_unit_new(const struct ata_unit_options *o, GError **error);
/* No command may be executing. NULL is fine. */
co_fn void ata_unit_free(struct ata_unit *u);
const char *ata_unit_name(const struct ata_unit *u);
bool ata_unit_is_packet(const struct ata_unit *u);
/* Queued commands at a time: 0 for packet devices and parallel ones, else 32. */
unsigned ata_unit_queue_depth(const struct ata_unit *u);

/*
 * Runs the command in cmd->tf to its end, whatever it is. Not for DEVICE RESET and EXECUTE DEVICE
 * DIAGNOSTIC, which are resets of the adapter's. A queued command (unit with a queue depth only)
 * was accepted by the adapter before; its tag is bits 7:3 of COUNT. An error of one (also a tag in
 * use, or an unqueued command among queued ones) ends all others as cancelled, and returns when
 * they have ended; their tags stay in the host's sight. From then on the unit aborts all commands
 * but READ LOG EXT of page 10h, which ends that, as a reset does.
 */
co_fn void ata_execute(struct ata_unit *u, struct ata_cmd *cmd);
/*
 * Makes the command end soon: its own waits end, a packet command is aborted. I/O in flight goes to
 * its end all the same; only ata_execute()'s return tells that guest memory is left alone. The
 * adapter lets its ops return -ECANCELED from here on.
 */
void ata_cancel(struct ata_cmd *cmd);
/*
 * No command may be executing. Settings and states go back to what that reset leaves (1.5); regs
 * (may be NULL) gets the signature, with DEVICE bit 4 clear.
 */
void ata_reset(struct ata_unit *u, enum ata_reset_kind kind, struct ata_regs *regs);
/* The registers after power-on, without resetting anything. */
void ata_signature(const struct ata_unit *u, struct ata_regs *regs);

/*
 * The host enabled asynchronous notification (SET FEATURES 10h/05h) and the medium changed: fn is
 * called once until the host read GET EVENT STATUS NOTIFICATION. NULL: nobody is told.
 */
void ata_unit_on_notify(struct ata_unit *u, void (*fn)(struct ata_unit *u, void *arg), void *arg);
/* Bit n: tag n is executing. */
uint32_t ata_unit_tags(const struct ata_unit *u);

/*
 * The settings as bytes, when no command is executing (logs and what a packet device is in the
 * middle of are not settings). restore: false where no unit can be like that; it is unchanged then.
 */
enum { ATA_UNIT_STATE = 8 };
void ata_unit_save(const struct ata_unit *u, uint8_t *state);
bool ata_unit_restore(struct ata_unit *u, const uint8_t *state);
