/*
 * A device for the tests of vfio-user: every kind of BAR, interrupt and DMA, and it can be slow.
 *
 * BAR0 4 KiB of registers (below), BAR1 16 I/O ports (bytes that can be read back), BAR2 64 KiB,
 * 64 bit, with two areas of shared memory and registers besides, BAR4 one page of memory, BAR5
 * MSI-X table. Two doorbells in BAR0.
 */
#pragma once

#include "pci/build.h"

enum {                     /* of BAR0 */
       TOY_ID = 0x00,      /* TOY_ID_VALUE */
       TOY_SCRATCH = 0x08, /* 8 bytes */
       TOY_INTX = 0x10,    /* level */
       TOY_MSI = 0x14,     /* sends a vector */
       TOY_MSI_RES = 0x18, /* what became of it, negated */
       TOY_ADDR = 0x20,    /* 8 bytes */
       TOY_LEN = 0x28,
       TOY_RUN = 0x2c,    /* TOY_TO_DEVICE, TOY_TO_GUEST */
       TOY_STATUS = 0x30, /* TOY_BUSY, or the result, negated */
       TOY_FILL = 0x38,   /* each byte of the buffer */
       TOY_SUM = 0x3c,    /* of the bytes of TOY_LEN */
       TOY_SLOW = 0x40,   /* reading it starts TOY_TO_DEVICE and gives TOY_SUM in the end */
       TOY_NEVER = 0x48,  /* reading it is not answered */
       TOY_MAP = 0x50,    /* maps TOY_LEN at TOY_ADDR; reads: result, negated */
       TOY_UNMAP = 0x54,
       TOY_KEEP_MS = 0x58, /* how long a revoked mapping is kept */
       TOY_RANG = 0x5c,    /* doorbells so far */
       TOY_RESETS = 0x60,
       TOY_DOORBELL = 0x80, /* and 0x84, which rings for TOY_MATCH only */
       TOY_MATCH = 77,
       TOY_ID_VALUE = 0x70790001,
       TOY_TO_DEVICE = 1,
       TOY_TO_GUEST = 2,
       TOY_BUSY = 0xffff,
       TOY_BUF_LEN = 4 << 20,
};

struct toy;
struct toy *toy_new(struct loop *loop, const char *name);
void toy_free(struct toy *t);
struct pci_function *toy_function(struct toy *t);
/* A counter, from any thread. */
unsigned toy_resets(struct toy *t);
