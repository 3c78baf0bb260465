/*
 * Long operations (mmc.md 1.4): in the command, or behind it with IMMED.
 *
 * In the background an operation holds the order lock alone, like the command that began it; other
 * commands are refused with 2/04/xx before they wait for the lock. What runs, and with which
 * arguments, stands in the state file: if the process dies the guest goes on polling, so the next
 * process does it again (doing it twice is harmless: what is closed or blank already stays so).
 */
#include "scsi/mmc/mmc.h"

#include <assert.h>

static const struct {
	const char *name; /* for status and log */
	enum sense busy;
	mmc_long_run *run;
} operations[LONG_KINDS] = {
	[LONG_SYNC] = {"writing what is buffered", SENSE_OPERATION_IN_PROGRESS, mmc_run_sync},
	[LONG_CLOSE] = {"closing", SENSE_OPERATION_IN_PROGRESS, mmc_run_close},
	[LONG_FORMAT] = {"formatting", SENSE_FORMAT_IN_PROGRESS, mmc_run_format},
	[LONG_BLANK] = {"blanking", SENSE_OPERATION_IN_PROGRESS, mmc_run_blank},
	[LONG_EJECT] = {"ejecting", SENSE_OPERATION_IN_PROGRESS, mmc_run_eject},
};

static bool names_operation(unsigned kind)
{
	return kind > LONG_NONE && kind < LONG_KINDS;
}

const char *long_op_name(const struct drive *d)
{
	return operations[d->op.kind].name;
}

enum sense long_op_sense(const struct drive *d, struct scsi_cmd *c)
{
	c->detail.progress_valid = true;
	c->detail.progress = d->op.progress;
	return operations[d->op.kind].busy;
}

void mmc_progress(struct drive *d, uint64_t done, uint64_t total)
{
	double part = total > 0 ? (double)done / (double)total : 0;

	d->op.progress = part >= 1 ? UINT16_MAX : (uint16_t)(part * UINT16_MAX);
}

/* An operation that is done again may find its work done: only the failing of what lies below
 * counts then. */
static void report(struct drive *d, enum sense s)
{
	enum { MEDIUM_ERROR = 3, HARDWARE_ERROR = 4 };
	bool ours = sense_key(s) == MEDIUM_ERROR || sense_key(s) == HARDWARE_ERROR;
	const char *name = sense_name(s);

	if (s == SENSE_GOOD)
		return;
	log_limited(&d->limit, ours ? LOG_ERROR : LOG_DEBUG, d->lu.name, "%s failed: %s",
		    long_op_name(d), name ? name : "error");
	if (d->op.resumed && !ours)
		return;
	if (d->op.nexus)
		scsi_nexus_defer(d->op.nexus, s);
}

static co_fn void run_in_background(void *arg)
{
	struct drive *d = arg;
	uint8_t copy[LONG_ARG_MAX];

	co_drain_enter(&d->background);
	memcpy(copy, d->state->op_arg, sizeof(copy));
	co_rwlock_wrlock(&d->lu.order);
	report(d, operations[d->op.kind].run(d, copy, NULL));
	d->state->op_kind = LONG_NONE;
	d->op = (struct long_op){.kind = LONG_NONE};
	co_rwlock_unlock(&d->lu.order);
	co_drain_leave(&d->background);
}

co_fn enum sense mmc_long_op(struct scsi_cmd *c, bool immed, enum long_op_kind kind,
			     const void *arg, size_t len)
{
	struct drive *d = cmd_drive(c);
	const struct nexus_state *n = nexus_state(c->nexus);
	bool saved = n >= d->state->nexus && n < d->state->nexus + STATE_NEXUSES;

	assert(len <= LONG_ARG_MAX && names_operation(kind));
	if (!immed)
		return operations[kind].run(d, arg, c);
	assert(d->op.kind == LONG_NONE); /* ready() refuses a second one */
	d->op = (struct long_op){.kind = kind, .nexus = c->nexus};
	memset(d->state->op_arg, 0, sizeof(d->state->op_arg));
	if (len > 0)
		memcpy(d->state->op_arg, arg, len);
	d->state->op_nexus = saved ? (uint8_t)(n - d->state->nexus + 1) : 0;
	d->state->op_kind = (uint8_t)kind;
	co_start(d->lu.loop, run_in_background,
		 d); /* waits for the lock that this command still holds */
	return SENSE_GOOD;
}

void mmc_long_resume(struct drive *d)
{
	if (!names_operation(d->state->op_kind) || !d->disc || d->op.kind != LONG_NONE) {
		d->state->op_kind = LONG_NONE;
		return;
	}
	d->op = (struct long_op){.kind = d->state->op_kind, .resumed = true};
	log_line(LOG_INFO, d->lu.name, "%s again, the last process died during it",
		 long_op_name(d));
	co_start(d->lu.loop, run_in_background, d);
}
