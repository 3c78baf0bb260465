/*
 * A channel with a bus master (SFF-8038i): the eight registers of ata.md 3.5 and the walk of its
 * table of memory regions. What guest memory is and where the registers lie is the user's.
 */
#pragma once

#include "ata/channel.h"

struct bmdma;

struct bmdma_ops {
	/* INTRQ of the channel, on every change. */
	void (*irq)(void *opaque, bool level);
	/* Copies from guest memory. 0 or -errno. */
	co_fn int (*read)(void *opaque, uint64_t gpa, void *buf, size_t len);
	/* A scatter list of guest memory: emptied, filled (0 or -errno), usable until end(). */
	void (*sg_clear)(void *opaque);
	int (*sg_add)(void *opaque, uint64_t gpa, uint64_t len);
	co_fn int (*sg_begin)(void *opaque, bool to_host, struct iovs *iov);
	/* done: bytes from the front that were moved to the host. 0 or -errno. */
	co_fn int (*sg_end)(void *opaque, size_t done);
};

enum {
	BMDMA_LEN = 8,        /* registers */
	BMDMA_ENTRIES = 8192, /* of a table; the rest is not looked at */
	BMDMA_STATE = 12,
};

/* Units as in ata_channel_new(). */
struct bmdma *bmdma_new(struct loop *loop, const struct bmdma_ops *ops, void *opaque,
			struct ata_unit *device0, struct ata_unit *device1);
/* With its channel; see ata_channel_free(). NULL is fine. */
co_fn void bmdma_free(struct bmdma *b);
struct ata_channel *bmdma_channel(const struct bmdma *b);

/* Any width, off + width <= BMDMA_LEN. */
uint32_t bmdma_read(struct bmdma *b, unsigned off, unsigned width);
void bmdma_write(struct bmdma *b, unsigned off, uint32_t value, unsigned width);
/* Hardware reset of both: see ata_channel_reset(). */
void bmdma_reset(struct bmdma *b);
/* The guest's memory went away: a transfer under way ends with an error. */
void bmdma_revoke(struct bmdma *b);

/* The bus master's registers; restore after those of the channel. */
void bmdma_save(const struct bmdma *b, uint8_t *state);
void bmdma_restore(struct bmdma *b, const uint8_t *state);
