/*
 * Logical units, nexuses and commands: what a transport needs, and nothing of MMC.
 *
 * A transport makes a nexus for each initiator it serves, fills a scsi_cmd and calls scsi_execute()
 * from a coroutine; when that returns, status, sense and counts are final. A logical unit belongs
 * to one loop. Several commands may be in execution at once; the engine orders them as the
 * command's row says (scsi/table.h).
 */
#pragma once

#include "base/co.h"
#include "base/iovs.h"

struct scsi_lu;
struct scsi_nexus;

enum { SCSI_CDB_MAX = 32, SCSI_SENSE_LEN = 18 };

enum scsi_status {
	SCSI_GOOD = 0x00,
	SCSI_CHECK = 0x02,
	SCSI_BUSY = 0x08,
	SCSI_RESERVATION_CONFLICT = 0x18,
	SCSI_TASK_SET_FULL = 0x28,
	SCSI_TASK_ABORTED = 0x40
};

struct scsi_cmd {
	/* in, by the transport; all of it borrowed until scsi_execute() returned */
	struct scsi_nexus *nexus;
	uint8_t cdb[SCSI_CDB_MAX]; /* zero-padded */
	struct iovs out;           /* data from the initiator */
	struct iovs in;            /* room for data to the initiator */
	bool replay;  /* may have been executed already by a process that died (in-flight
			 resubmission) */
	bool ordered; /* task attribute: runs after what came before, before what comes later */
	uint64_t tag;

	/* out */
	uint8_t status; /* enum scsi_status */
	uint8_t sense[SCSI_SENSE_LEN];
	uint8_t sense_len;        /* 0 unless status is CHECK CONDITION */
	size_t in_done, out_done; /* bytes delivered and consumed */

	/* the engine's and the handlers' own */
	const struct scsi_row *row;
	struct scsi_lu *lu;
	size_t alloc_len; /* of the reply, from the CDB */
	bool aborted;     /* by task management: give up at the next opportunity */
	bool ran;         /* the handler was called */
	struct {
		bool info_valid, progress_valid, field_valid, in_cdb, deferred;
		uint32_t info;
		uint16_t progress, field;
		uint8_t bit; /* 8: no bit pointer */
	} detail;
	struct scsi_cmd *next, *prev;
};

/* Whatever the opcode, always completes. */
co_fn void scsi_execute(struct scsi_cmd *c);
/*
 * Whether scsi_execute() would refuse c (nexus and cdb are enough) before looking at its data:
 * unknown opcode, unit attention, no medium, a long operation, write protection. Nothing is
 * reported or cleared by asking. A transport that must fetch data slowly asks first.
 */
bool scsi_would_refuse(struct scsi_cmd *c);
/* Makes a command in execution give up at its next opportunity; it ends as TASK ABORTED. */
void scsi_cancel(struct scsi_cmd *c);
/* For a logical unit number that nothing answers to at a target that has others; nexus is one of
 * the target's. */
void scsi_execute_bad_lun(struct scsi_cmd *c);

/*
 * Which way data goes and how much, from the CDB alone (transports that must know before: ATAPI,
 * iSCSI checks). Returns bytes expected (0: no data), *out says from the initiator.
 */
size_t scsi_expected_length(struct scsi_lu *lu, const uint8_t *cdb, bool *out);

enum scsi_event {                    /* for transports that can push */
		  SCSI_EVENT_MEDIUM, /* inserted, ejected or eject requested */
		  SCSI_EVENT_CAPACITY,
		  SCSI_EVENT_REMOVED, /* the logical unit goes away */
};

/* Physical interface standards, as feature 0001h numbers them (MMC-6 5.3.2). */
enum scsi_interface { SCSI_INTERFACE_SCSI = 1, SCSI_INTERFACE_ATAPI = 2, SCSI_INTERFACE_SATA = 7 };

struct scsi_nexus_ops {
	enum scsi_interface interface; /* 0: SCSI */
	/* Something asynchronous happened at the unit; on the unit's loop; may be NULL. */
	void (*event)(struct scsi_nexus *nexus, enum scsi_event event);
};

/*
 * name: for messages ("vhost-user:/run/a.sock#0"). resumed: the initiator went on over a restart of
 * this process and must not see a power-on unit attention. opaque: the transport's.
 */
struct scsi_nexus *scsi_nexus_new(struct scsi_lu *lu, const char *name,
				  const struct scsi_nexus_ops *ops, void *opaque, bool resumed);
/* Takes the initiator's locks away; no command of it may be executing. */
void scsi_nexus_free(struct scsi_nexus *nexus);
void *scsi_nexus_opaque(const struct scsi_nexus *nexus);
struct scsi_lu *scsi_nexus_lu(const struct scsi_nexus *nexus);

/* Task management. Each returns after the commands it concerns have completed (as TASK ABORTED). */
co_fn bool scsi_abort_task(struct scsi_nexus *nexus, uint64_t tag); /* false: no such task */
co_fn void scsi_abort_all(struct scsi_nexus *nexus);
co_fn void scsi_lu_reset(
	struct scsi_nexus *nexus); /* 29/03 for everybody, 29/02.. as the table says */
bool scsi_query_task(struct scsi_nexus *nexus, uint64_t tag);

const char *scsi_lu_name(const struct scsi_lu *lu);
struct loop *scsi_lu_loop(const struct scsi_lu *lu);
/* No nexus may be left. Waits for what is in flight. */
co_fn void scsi_lu_free(struct scsi_lu *lu);
