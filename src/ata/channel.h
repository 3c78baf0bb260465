/*
 * A parallel ATA channel: the task file of ata.md 1, up to two units, INTRQ, and the data window.
 *
 * For whoever decodes ports: a PCI IDE function behind BARs, a machine at 1F0h. Register accesses
 * never block and never wait for I/O: a command runs in a coroutine of its own and changes what
 * STATUS says. One channel belongs to one loop.
 */
#pragma once

#include "ata/ata.h"

struct ata_channel;

struct ata_channel_ops {
	/* INTRQ after nIEN, on every change: of the selected device (1.4). */
	void (*irq)(void *opaque, bool level);
	/*
	 * The bus master's side of ata_host_ops, in a command's coroutine: sleeps until the engine
	 * was started, or returns -ECANCELED after ata_channel_stop_dma() or a reset. Another
	 * error: the command never completes (BSY stays, no interrupt) until a reset. *hang (from
	 * dma_end() too) says the same of a table shorter than the data.
	 */
	co_fn int (*dma_begin)(void *opaque, bool to_host, size_t len, struct iovs *iov);
	co_fn int (*dma_end)(void *opaque, size_t done, bool *hang);
	/* dma_begin() must return now. */
	void (*dma_cancel)(void *opaque);
};

/* Units are borrowed, NULL where there is none. */
struct ata_channel *ata_channel_new(struct loop *loop, const struct ata_channel_ops *ops,
				    void *opaque, struct ata_unit *device0,
				    struct ata_unit *device1);
/* Cancels and waits for what is in flight. NULL is fine. */
co_fn void ata_channel_free(struct ata_channel *ch);

/*
 * The command block: reg is 0 (DATA; width 2 or 4, or 1) to 7 (width 1). Accesses of another width
 * read as all ones and write nothing.
 */
uint32_t ata_channel_read(struct ata_channel *ch, unsigned reg, unsigned width);
void ata_channel_write(struct ata_channel *ch, unsigned reg, uint32_t value, unsigned width);
/* ALTERNATE STATUS and DEVICE CONTROL. */
uint8_t ata_channel_read_control(struct ata_channel *ch);
void ata_channel_write_control(struct ata_channel *ch, uint8_t value);
/*
 * Many elements of DATA at once (string I/O): moves up to the end of the DRQ block and returns how
 * many bytes that were; read bytes beyond it are 0.
 */
size_t ata_channel_read_data(struct ata_channel *ch, void *buf, size_t len);
size_t ata_channel_write_data(struct ata_channel *ch, const void *buf, size_t len);

/* The host cleared START while a transfer was under way: the command ends with ABRT (2.4). */
void ata_channel_stop_dma(struct ata_channel *ch);
/* Hardware reset: cancels commands; done once they ended, BSY until then. */
void ata_channel_reset(struct ata_channel *ch);
/* For the end of a machine, or its stop: no command is in flight when it returns. */
co_fn void ata_channel_drain(struct ata_channel *ch);
