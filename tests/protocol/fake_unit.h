/*
 * A logical unit for transport tests: a little memory as its medium and vendor commands to hold,
 * count and order requests. What it counts is in shared memory, so that it survives the process of
 * a server that is killed.
 */
#pragma once

#include "scsi/table.h"

enum { FAKE_BLOCK = 512, FAKE_BLOCKS = 4096, FAKE_APPENDS_MAX = 1 << 16 };

enum {
	FAKE_HOLD = 0xc0,   /* ends when aborted or when store->release is set */
	FAKE_APPEND = 0xc1, /* notes the number in CDB bytes 2..5 */
	FAKE_EVENT = 0xc2,  /* raises enum scsi_event CDB byte 1 */
};

struct fake_store {
	unsigned holding; /* commands held now; written by the server, read by the test */
	unsigned release;
	unsigned resets;
	unsigned power_on;                  /* nexuses that began anew */
	unsigned resumed;                   /* nexuses that went on */
	unsigned replays;                   /* commands marked so */
	unsigned strays;                    /* executed again without being marked */
	uint8_t executed[FAKE_APPENDS_MAX]; /* times each number was noted */
	uint8_t data[FAKE_BLOCKS * FAKE_BLOCK];
};

/*
 * Orders what the two sides of a ring do with the store and the data for the thread sanitizer,
 * which does not see that two mappings are the same memory. Each side calls it before it hands over
 * and after it was handed to.
 */
void fake_sync(void);

struct fake_store *fake_store_new(void);
void fake_store_free(struct fake_store *s);

struct scsi_lu *fake_unit_new(struct loop *loop, const char *name, struct fake_store *store);
