/*
 * A parallel ATA channel: the task file of ata.md 1, up to two units, INTRQ, and the data window.
 *
 * For whoever decodes ports: a PCI IDE function behind BARs, a machine at 1F0h. Register accesses
 * never block and never wait for I/O: a command runs in a coroutine of its own and changes what
 * STATUS says. One channel belongs to one loop. ata/bmdma.h is a channel with a bus master.
 */
#pragma once

#include "ata/ata.h"

struct ata_channel;

struct ata_channel_ops {
	/* INTRQ after nIEN, on every change: of the selected device (1.4). */
	void (*irq)(void *opaque, bool level);
	/*
	 * The bus master's side of ata_host_ops. dma_is_ready(): whether the engine waits for a
	 * device; a command sleeps until it does, see ata_channel_start_dma(). The others run in
	 * the command's coroutine and may yield, but for memory only. An error of either, or *hang
	 * (the table was shorter than the data): the command never completes (BSY stays, no
	 * interrupt) until a reset or ata_channel_stop_dma(). dma_end() follows each dma_begin()
	 * that succeeded. One command of a channel at a time uses the engine.
	 */
	bool (*dma_is_ready)(void *opaque);
	co_fn int (*dma_begin)(void *opaque, bool to_host, size_t len, struct iovs *iov);
	co_fn int (*dma_end)(void *opaque, size_t done, bool *hang);
};

/* Units are borrowed, NULL where there is none. */
struct ata_channel *ata_channel_new(struct loop *loop, const struct ata_channel_ops *ops,
				    void *opaque, struct ata_unit *device0,
				    struct ata_unit *device1);
/*
 * Cancels and waits for what is in flight; irq() is not called any more. Nobody may be in
 * ata_channel_drain(). NULL is fine.
 */
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

/* dma_is_ready() became true. */
void ata_channel_start_dma(struct ata_channel *ch);
/*
 * The host stopped the engine, or it lost its memory: a command that uses the engine ends with
 * ABRT (2.4), as soon as its I/O did. One that still waits for the engine goes on waiting.
 */
void ata_channel_stop_dma(struct ata_channel *ch);
/* Hardware reset: cancels commands; done once they ended, BSY until then. */
void ata_channel_reset(struct ata_channel *ch);
/* Whether nothing is in flight but what waits for the host: for data it moves, for START. */
bool ata_channel_is_still(const struct ata_channel *ch);
/* Sleeps until it is. After ata_channel_reset() no command at all is left then. */
co_fn void ata_channel_drain(struct ata_channel *ch);

/*
 * The registers as bytes (the units' own state is not in them). False: a command is in flight, also
 * one that waits for the host. The restored ones must be of a channel with the same units; any
 * bytes are fine, they make no state that a guest could not have made.
 */
enum { ATA_CHANNEL_STATE = 32 };
bool ata_channel_save(struct ata_channel *ch, uint8_t *state);
void ata_channel_restore(struct ata_channel *ch, const uint8_t *state);
