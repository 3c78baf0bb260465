/*
 * Command rows: what the standard says about a command, enforced by the engine before the handler
 * in one order (mmc.md 1.3): opcode, unit attention, reserved bits (strict mode), medium and
 * readiness, write protection.
 *
 * A handler returns a sense code and never completes its command. It replies through scsi_reply()
 * or moves data between c->in / c->out and the medium itself, adding to in_done / out_done.
 */
#pragma once

#include "base/field.h"
#include "scsi/scsi.h"
#include "scsi/sense.h"

/* clang-format off */
enum scsi_row_flags {
	ROW_MEDIUM	= 1 << 0,	/* needs a ready medium, else 2/3A or 2/04 */
	ROW_UA_EXEMPT	= 1 << 1,	/* neither reports nor clears a unit attention */
	ROW_DATA_IN	= 1 << 2,
	ROW_DATA_OUT	= 1 << 3,
	ROW_WRITE	= 1 << 4,	/* changes the medium: software write protection applies */
	/*
	 * Does not wait for other commands and runs while a long operation does (with ROW_MEDIUM, TEST UNIT READY:
	 * answers with the operation's sense then). Its handler must not yield.
	 */
	ROW_BUSY_OK	= 1 << 5,
	ROW_SHARED	= 1 << 6,	/* may run beside other SHARED commands (reads); default is one at a time */
	ROW_KEEP_SENSE	= 1 << 7,	/* REQUEST SENSE: does not clear pending sense */
	ROW_LATER	= 1 << 8,	/* has its row, the work comes in a later version: answers 5/20/00 */
	ROW_VENDOR	= 1 << 9,
	/* Who may send it while another initiator holds a reservation; without either only those
	 * whom the reservation is for. */
	ROW_RESERVED_ANY	= 1 << 10,
	ROW_RESERVED_READ	= 1 << 11,	/* everybody, under the write exclusive types */
};
/* clang-format on */

enum { ROW_FIELDS_MAX = 12 };

struct scsi_action;

struct scsi_row {
	const char *name;
	enum sense (*handler)(struct scsi_cmd *c); /* co_fn; NULL with ROW_LATER */
	uint8_t cdb_len;                           /* 6, 10 or 12 */
	unsigned flags;
	int fields[ROW_FIELDS_MAX]; /* fields the command defines; other bits are reserved. 0 ends
				       (byte 0 is never one) */
	int alloc;                  /* field of the allocation or parameter list length; 0: none */
	/* An opcode of several commands: the service action (SCSI_ACTION) says which, in a list up
	 * to an entry without a name; the row itself is for all others. NULL: it is one command. */
	const struct scsi_action *actions;
};

enum { SCSI_ACTION = BITS(1, 4, 0) };

struct scsi_action {
	uint8_t action;
	struct scsi_row row;
};

struct scsi_lu_ops {
	const struct scsi_row *rows; /* 256, indexed by opcode */
	/*
	 * Whether a command may run now (medium, long operation; see c->row->flags): SENSE_GOOD or
	 * why not; may set c->detail progress. Not asked for ROW_BUSY_OK without ROW_MEDIUM.
	 */
	enum sense (*ready)(struct scsi_lu *lu, struct scsi_cmd *c);
	/* For REQUEST SENSE with nothing pending: state sense (2/04/xx) or SENSE_GOOD. */
	enum sense (*state_sense)(struct scsi_lu *lu, struct scsi_cmd *c);
	bool (*write_protected)(struct scsi_lu *lu); /* software write protection: 7/27/02 */
	/* Whether a reservation of another initiator forbids the command; may be NULL. */
	bool (*conflict)(struct scsi_lu *lu, const struct scsi_cmd *c);
	co_fn void (*reset)(struct scsi_lu *lu);
	void (*nexus_gone)(struct scsi_lu *lu, struct scsi_nexus *nexus);
	co_fn void (*free)(struct scsi_lu *lu);
	size_t (*out_length)(struct scsi_lu *lu,
			     const uint8_t *cdb); /* data-out bytes that the CDB implies */
	size_t (*in_length)(struct scsi_lu *lu, const uint8_t *cdb);
	/* After it is complete; resumed as in scsi_nexus_new(): pending conditions may be put back.
	 * May be NULL. */
	void (*nexus_new)(struct scsi_lu *lu, struct scsi_nexus *nexus, bool resumed);
	/* Pending conditions or prevent of the nexus changed (to keep a copy that outlives the
	 * process). May be NULL. */
	void (*nexus_changed)(struct scsi_lu *lu, struct scsi_nexus *nexus);
};

enum { NEXUS_UA_MAX = 8 };

struct scsi_nexus {
	struct scsi_lu *lu;
	char *name;
	const struct scsi_nexus_ops *ops;
	void *opaque;
	enum sense ua[NEXUS_UA_MAX]; /* pending unit attentions, oldest first */
	unsigned n_ua;
	uint8_t sense[SCSI_SENSE_LEN]; /* of the last command, until the next that is not REQUEST
					  SENSE */
	uint8_t sense_len;
	uint8_t prevent;       /* PREVENT ALLOW: bit 0 lock, bit 1 persistent */
	enum sense deferred;   /* of a background operation: 71h at the next command */
	struct scsi_cmd *cmds; /* in execution */
	struct co_queue idle;  /* waits for commands to end */
	void *unit_data; /* the unit's own view of this initiator (events seen), g_free'd with the
			    nexus */
};

struct scsi_lu { /* embedded first in a unit's own struct */
	const struct scsi_lu_ops *ops;
	struct loop *loop;
	char *name;
	GPtrArray *nexuses;
	struct co_rwlock order; /* SHARED commands read, others write */
	bool strict;            /* reserved CDB bits are refused */
	bool trace;
};

void scsi_lu_init(struct scsi_lu *lu, const struct scsi_lu_ops *ops, struct loop *loop,
		  const char *name);
void scsi_lu_fini(struct scsi_lu *lu);

/* Copies a reply, truncated to the allocation length and to the initiator's room. */
enum sense scsi_reply(struct scsi_cmd *c, const void *buf, size_t len);
/* The parameter list, up to max bytes; returns how many there are (min of list length, what was
 * sent and max). */
size_t scsi_parameters(struct scsi_cmd *c, void *buf, size_t max);
/* Sets the field pointer (5/24: into the CDB, 5/26: into the list) and returns code. */
enum sense scsi_bad_field(struct scsi_cmd *c, enum sense code, unsigned byte, unsigned bit);
enum sense scsi_fail_lba(struct scsi_cmd *c, enum sense code,
			 uint32_t lba); /* VALID and INFORMATION */
void scsi_build_sense(uint8_t sense[SCSI_SENSE_LEN], enum sense code, const struct scsi_cmd *c);
/* Queues a unit attention for every nexus but the one given (NULL: for all); a duplicate is not
 * queued twice. */
void scsi_lu_attention(struct scsi_lu *lu, const struct scsi_nexus *except, enum sense code);
void scsi_nexus_attention(struct scsi_nexus *nexus, enum sense code);
void scsi_lu_event(struct scsi_lu *lu, enum scsi_event event);

static inline enum scsi_interface scsi_nexus_interface(const struct scsi_nexus *nexus)
{
	return nexus->ops && nexus->ops->interface ? nexus->ops->interface : SCSI_INTERFACE_SCSI;
}

/* The engine's own: take the oldest pending condition; prevent or a condition changed; an error for
 * later. */
enum sense scsi_nexus_take_attention(struct scsi_nexus *nexus);
enum sense scsi_nexus_take_deferred(struct scsi_nexus *nexus, struct scsi_cmd *c);
void scsi_nexus_changed(struct scsi_nexus *nexus);
void scsi_nexus_defer(struct scsi_nexus *nexus, enum sense code);
/* Strict mode: 5/24/00 for a bit that the row does not define. */
enum sense scsi_check_reserved(struct scsi_cmd *c);

enum sense scsi_request_sense(struct scsi_cmd *c);
enum sense scsi_report_luns(struct scsi_cmd *c);
enum sense scsi_report_opcodes(struct scsi_cmd *c); /* fields: RSOC_... below */
enum sense scsi_bad_action(struct scsi_cmd *c);     /* 5/24/00 at the service action */

enum { /* REPORT SUPPORTED OPERATION CODES A3h/0Ch */
       RSOC_RCTD = BIT(2, 7),
       RSOC_OPTIONS = BITS(2, 2, 0),
       RSOC_OPCODE = U8(3),
       RSOC_ACTION = BE16(4),
       RSOC_ALLOC = BE32(6)
};

/* The row of a command. */
static inline const struct scsi_row *scsi_find_row(const struct scsi_row *rows, const uint8_t *cdb)
{
	const struct scsi_row *row = &rows[cdb[0]];

	if (!row->actions)
		return row;
	for (const struct scsi_action *a = row->actions; a->row.name; a++) {
		if (a->action == fld_get(cdb, SCSI_ACTION))
			return &a->row;
	}
	return row;
}
/* The bits of one byte of the CDB that the row's fields take. */
uint8_t scsi_row_bits(const struct scsi_row *row, unsigned byte);

/* Checks a table: names, duplicate or overlapping fields, fields inside the CDB. The first fault
 * and its row, or NULL. */
const char *scsi_check_rows(const struct scsi_row *rows, unsigned *opcode);
