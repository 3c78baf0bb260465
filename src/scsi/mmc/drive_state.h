/*
 * What a drive must not forget when its process is killed and started again: tray, locks, mode
 * pages, speeds, and what each initiator has yet to be told. It lies in a small file, mapped
 * shared: changes are plain stores and survive kill -9. It need not survive the machine: a file of
 * another boot, or of another layout, is started afresh.
 */
#pragma once

#include "scsi/table.h"

/* clang-format off */
enum {
	STATE_NEXUSES = 16,
	STATE_NAME_LEN = 112,
	STATE_DISC_LEN = 512,
	STATE_PAGES = 6,		/* mode pages with values of their own: 01 05 08 0E 1A 1D */
	STATE_PAGE_LEN = 56,
	STATE_ARG_LEN = 64,
};
/* clang-format on */

/* An initiator's: kept in the file, where its nexus points to it (nexus->unit_data is a struct
 * nexus_view). */
struct nexus_state {
	char name[STATE_NAME_LEN]; /* empty: free */
	uint8_t live; /* there is such a nexus; else it left and may come back (resumed) */
	uint8_t prevent;
	uint8_t n_ua;
	uint8_t media_events;       /* pending, bit n for event n of the media class */
	uint8_t power_event;        /* pending power state, 0: none */
	uint8_t operational_reason; /* pending operational change, 0: none */
	uint8_t absent_due; /* the host took a disc out, and it has not been told that none is in */
	uint8_t spare[1];
	uint32_t ua[NEXUS_UA_MAX];
	uint32_t deferred;
	uint32_t used; /* counts up: which entry was taken last */
};

struct drive_state {
	char magic[8];
	uint32_t layout;
	uint32_t size;
	char boot_id[40];
	uint8_t tray_open;
	uint8_t power;    /* power state as GESN names it, 1 active */
	uint8_t op_kind;  /* enum long_op_kind running in the background */
	uint8_t op_nexus; /* index + 1 of who started it */
	uint8_t spare[4];
	uint16_t read_speed, write_speed; /* asked for, kB/s; 0: the fastest */
	uint32_t uses;
	uint8_t op_arg[STATE_ARG_LEN];
	uint8_t pages[STATE_PAGES][STATE_PAGE_LEN];
	char disc[STATE_DISC_LEN]; /* name of what is in the drawer; empty: nothing */
	struct nexus_state nexus[STATE_NEXUSES];
};

/*
 * Maps path, making the file; *resumed says whether it holds the state of this boot. path NULL:
 * plain memory. *fd is the open file or -1. NULL on error.
 */
struct drive_state *drive_state_map(const char *path, int *fd, bool *resumed, GError **error);
void drive_state_unmap(struct drive_state *s, int fd);
