/* Inside a channel: what channel*.c share. Nothing outside includes this. */
#pragma once

#include "ata/channel.h"

enum {
	CONTROL_NIEN = 0x02,
	CONTROL_SRST = 0x04,
	CONTROL_HOB = 0x80,
	CONTROL_KNOWN = CONTROL_NIEN | CONTROL_SRST | CONTROL_HOB,
	DEVICE_SECOND = 0x10,
	DEVICE_ONES = 0xa0, /* obsolete; software wants them back */
	DEVICE_KEPT = 0x4f,
	STATUS_BUSY = ATA_BSY | ATA_DRQ,
	STATUS_ABORTED = ATA_DRDY | ATA_DSC | ATA_ERR,
};

struct ata_device {
	struct ata_channel *ch;
	struct ata_unit *unit; /* NULL: absent */
	bool second;

	/* registers; [0] is what was written last, [1] what was there before */
	uint8_t status, error, device;
	uint8_t feature[2], count[2], lba[3][2];
	bool pending; /* an interrupt */

	/* the command in flight */
	struct ata_cmd cmd;
	bool is_running;   /* its coroutine lives */
	bool is_resetting; /* what it was to show is dropped */
	bool is_stopped;   /* by the host, through the bus master: it ends with ABRT */
	bool waits;        /* its coroutine sleeps until the host does something */
	enum ata_reset_kind reset;
	struct co *co;             /* asleep in host_wait() */
	const struct ata_drq *drq; /* the armed window */
	size_t at;
};

struct ata_channel {
	struct loop *loop;
	const struct ata_channel_ops *ops;
	void *opaque;
	struct ata_device devices[2];
	uint8_t control;
	bool selected; /* device 1 */
	bool is_empty; /* no units at all */
	bool level;
	bool is_closing; /* nobody hears of interrupts any more */
	struct ata_device *dma_owner;
	struct co_queue draining;
};

/* channel.c */
void channel_update_irq(struct ata_channel *ch);
void channel_set_pending(struct ata_device *d, bool pending);
/* What a command, a block or a reset leaves: registers of two bytes get both halves. */
void channel_show(struct ata_device *d, const struct ata_regs *r);

/* channel_command.c */
void channel_start_command(struct ata_device *d, uint8_t command);
void channel_show_abort(struct ata_device *d);
void channel_reset_begin(struct ata_device *d, enum ata_reset_kind kind);
void channel_reset_both(struct ata_channel *ch, enum ata_reset_kind kind);
/* SRST was let go. */
void channel_reset_check(struct ata_device *d);
