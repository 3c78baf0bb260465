/*
 * The way of a command through a logical unit: one order of checks for all (mmc.md 1.3), one tail.
 *
 * Checks that can change while a command waits for others (unit attention, medium, long operation)
 * are made before the wait, so that a refusal is not delayed, and again after it: a wait is a hole
 * in time. Bulk data is never copied here.
 */
#include "scsi/table.h"

#include "base/log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

static enum sense admit_by_state(struct scsi_cmd *c)
{
	struct scsi_lu *lu = c->lu;
	unsigned flags = c->row->flags;
	enum sense s;

	if (lu->ops->conflict && lu->ops->conflict(lu, c))
		return SENSE_STATUS_CONFLICT;
	if (lu->strict) {
		s = scsi_check_reserved(c);
		if (s != SENSE_GOOD)
			return s;
	}
	if (!(flags & ROW_BUSY_OK) || flags & ROW_MEDIUM) {
		s = lu->ops->ready(lu, c);
		if (s != SENSE_GOOD)
			return s;
	}
	if (flags & ROW_WRITE && lu->ops->write_protected && lu->ops->write_protected(lu))
		return SENSE_SOFTWARE_PROTECTED;
	return SENSE_GOOD;
}

/* What stands between a known command and its handler, in this order. */
static enum sense admit(struct scsi_cmd *c)
{
	struct scsi_nexus *nexus = c->nexus;

	if (!(c->row->flags & ROW_UA_EXEMPT)) {
		if (nexus->n_ua > 0)
			return scsi_nexus_take_attention(nexus);
		if (nexus->deferred != SENSE_GOOD)
			return scsi_nexus_take_deferred(nexus, c);
	}
	return admit_by_state(c);
}

bool scsi_would_refuse(struct scsi_cmd *c)
{
	const struct scsi_nexus *nexus = c->nexus;

	c->lu = nexus->lu;
	c->row = scsi_find_row(c->lu->ops->rows, c->cdb);
	if (!c->row->handler)
		return true;
	if (!(c->row->flags & ROW_UA_EXEMPT) && (nexus->n_ua > 0 || nexus->deferred != SENSE_GOOD))
		return true;
	return admit_by_state(c) != SENSE_GOOD;
}

static co_fn enum sense run_in_order(struct scsi_cmd *c)
{
	struct scsi_lu *lu = c->lu;
	enum sense s;

	if (c->row->flags & ROW_SHARED && !c->ordered)
		co_rwlock_rdlock(&lu->order);
	else
		co_rwlock_wrlock(&lu->order);
	s = c->aborted ? SENSE_ABORTED : admit(c);
	if (s == SENSE_GOOD) {
		c->ran = true;
		s = c->row->handler(c);
	}
	co_rwlock_unlock(&lu->order);
	return s;
}

static co_fn enum sense run(struct scsi_cmd *c)
{
	const struct scsi_row *row = c->row;
	enum sense s;

	if (!row->handler)
		return SENSE_BAD_OPCODE;
	if (!(row->flags & ROW_KEEP_SENSE))
		c->nexus->sense_len = 0;
	s = admit(c);
	if (s != SENSE_GOOD)
		return s;
	c->alloc_len = row->alloc ? fld_get(c->cdb, row->alloc) : SIZE_MAX;
	if (!(row->flags & ROW_BUSY_OK))
		return run_in_order(c);
	c->ran = true;
	return row->handler(c);
}

static void trace(const struct scsi_cmd *c, enum sense s)
{
	char cdb[3 * 12 + 1];
	unsigned i;

	for (i = 0; i < c->row->cdb_len && i < 12; i++)
		snprintf(cdb + 3 * i, 4, " %02x", c->cdb[i]);
	cdb[3 * i] = '\0';
	log_line(LOG_DEBUG, c->lu->name, "%s: %s:%s -> %02x %x/%02x/%02x in %zu out %zu",
		 c->nexus->name, c->row->name ? c->row->name : "?", cdb, c->status, sense_key(s),
		 sense_asc(s), sense_ascq(s), c->in_done, c->out_done);
}

/* The only place where a command becomes complete. */
static void finish(struct scsi_cmd *c, enum sense s)
{
	struct scsi_nexus *nexus = c->nexus;

	if (c->aborted) {
		c->status = SCSI_TASK_ABORTED;
	} else if (s == SENSE_GOOD) {
		c->status = SCSI_GOOD;
	} else if (s == SENSE_STATUS_CONFLICT) {
		c->status = SCSI_RESERVATION_CONFLICT;
	} else {
		c->status = SCSI_CHECK;
		scsi_build_sense(c->sense, s, c);
		c->sense_len = SCSI_SENSE_LEN;
		memcpy(nexus->sense, c->sense, SCSI_SENSE_LEN);
		nexus->sense_len = SCSI_SENSE_LEN;
	}
	if (c->lu->trace)
		trace(c, s);
}

static void begin(struct scsi_cmd *c)
{
	struct scsi_nexus *nexus = c->nexus;

	c->lu = nexus->lu;
	c->row = scsi_find_row(c->lu->ops->rows, c->cdb);
	c->status = SCSI_GOOD;
	c->sense_len = 0;
	c->in_done = c->out_done = 0;
	c->aborted = c->ran = false;
	memset(&c->detail, 0, sizeof(c->detail));
	c->prev = NULL;
	c->next = nexus->cmds;
	if (c->next)
		c->next->prev = c;
	nexus->cmds = c;
}

static void end(struct scsi_cmd *c)
{
	struct scsi_nexus *nexus = c->nexus;

	if (c->next)
		c->next->prev = c->prev;
	if (c->prev)
		c->prev->next = c->next;
	else
		nexus->cmds = c->next;
	if (nexus->idle.head)
		co_queue_wake_all(&nexus->idle);
}

co_fn void scsi_execute(struct scsi_cmd *c)
{
	begin(c);
	finish(c, run(c));
	end(c);
}

void scsi_cancel(struct scsi_cmd *c)
{
	c->aborted = true;
}

enum sense scsi_reply(struct scsi_cmd *c, const void *buf, size_t len)
{
	if (len > c->alloc_len)
		len = c->alloc_len;
	c->in_done = iovs_put(&c->in, 0, buf, len);
	return SENSE_GOOD;
}

size_t scsi_parameters(struct scsi_cmd *c, void *buf, size_t max)
{
	if (max > c->alloc_len)
		max = c->alloc_len;
	c->out_done = iovs_get(&c->out, 0, buf, max);
	return c->out_done;
}

enum sense scsi_bad_field(struct scsi_cmd *c, enum sense code, unsigned byte, unsigned bit)
{
	c->detail.field_valid = true;
	c->detail.in_cdb = code == SENSE_BAD_CDB_FIELD;
	c->detail.field = byte > UINT16_MAX ? UINT16_MAX : (uint16_t)byte;
	c->detail.bit = (uint8_t)bit;
	return code;
}

enum sense scsi_fail_lba(struct scsi_cmd *c, enum sense code, uint32_t lba)
{
	c->detail.info_valid = true;
	c->detail.info = lba;
	return code;
}

size_t scsi_expected_length(struct scsi_lu *lu, const uint8_t *cdb, bool *out)
{
	const struct scsi_row *row = scsi_find_row(lu->ops->rows, cdb);

	*out = false;
	if (!row->handler || !(row->flags & (ROW_DATA_IN | ROW_DATA_OUT)))
		return 0;
	*out = row->flags & ROW_DATA_OUT;
	if (row->alloc)
		return fld_get(cdb, row->alloc);
	if (*out)
		return lu->ops->out_length ? lu->ops->out_length(lu, cdb) : 0;
	return lu->ops->in_length ? lu->ops->in_length(lu, cdb) : 0;
}
