/*
 * The medium's operations as the floors above call them: what holds for every medium is checked
 * here, then its rules decide. See disc.h for the contracts and rules.h for how a change is made.
 */
#include "disc/rules.h"

#include <errno.h>

const char *disc_name(const struct disc *d)
{
	return d->name;
}

const struct disc_state *disc_get_state(const struct disc *d)
{
	return d->state;
}

const struct disc_profile *disc_get_profile(const struct disc *d)
{
	return d->profile;
}

const struct disc_error *disc_last_error(const struct disc *d)
{
	return &d->error;
}

struct disc_store *disc_get_store(const struct disc *d)
{
	return d->store;
}

struct block_node *disc_get_node(const struct disc *d)
{
	return d->store ? disc_store_node(d->store) : d->image;
}

/* Whether anything may change; and whether more may be recorded. */
static enum disc_status may_change(const struct disc *d)
{
	if (!d->rules->write)
		return DISC_ROM;
	return d->writable && !d->state->write_protected ? DISC_OK : DISC_PROTECTED;
}

static enum disc_status may_record(const struct disc *d)
{
	bool once =
		d->profile->method == METHOD_SEQUENTIAL || d->profile->method == METHOD_REWRITABLE;

	if (d->rules->write && once && d->state->status == DISC_COMPLETE)
		return DISC_FINALISED;
	return may_change(d);
}

bool disc_is_writable(const struct disc *d)
{
	return may_record(d) == DISC_OK;
}

void disc_set_write_params(struct disc *d, const struct disc_write_params *p)
{
	d->params = *p;
	if (!p->test_write)
		disc_end_test(d);
}

bool disc_accepts_write_params(const struct disc *d, const struct disc_write_params *p)
{
	enum disc_family family = d->profile->family;

	switch (p->write_type) {
	case WRITE_INCREMENTAL: return family != DISC_CD && p->block_type == 8;
	case WRITE_TAO:
		if (family == DISC_CD) /* raw is audio: programs try it, a WRITE refuses it */
			return p->block_type == BLOCK_RAW || cd_is_data_form(p->block_type);
		return (family != DISC_DVD_MINUS || d->profile->method == METHOD_RESTRICTED) &&
		       p->block_type == 8;
	case WRITE_SAO:
		return p->block_type == 0 ||
		       p->block_type == 8; /* the cue sheet says what really comes */
	default: return false;
	}
}

uint32_t disc_block_bytes(const struct disc *d, int32_t lba, uint32_t blocks,
			  enum disc_status *status)
{
	*status = may_record(d);
	if (*status != DISC_OK)
		return 0;
	return d->rules->block_bytes ? d->rules->block_bytes(d, lba, blocks, status) : BLOCK_LEN;
}

co_fn enum disc_status disc_write(struct disc *d, int32_t lba, uint32_t blocks,
				  const struct iovs *iov, bool replay)
{
	enum disc_status status = may_record(d);

	d->error = (struct disc_error){0};
	if (status != DISC_OK || blocks == 0)
		return status;
	if ((int64_t)lba + blocks > (int64_t)d->state->max_blocks)
		return disc_fail_at(d, DISC_RANGE, lba);
	disc_begin_test(d);
	return d->rules->write(d, lba, blocks, iov, replay);
}

co_fn enum disc_status disc_sync(struct disc *d)
{
	d->error = (struct disc_error){0};
	if (may_change(d) != DISC_OK || !d->rules->sync)
		return DISC_OK; /* nothing can be unwritten */
	return d->state->status == DISC_COMPLETE ? disc_flush(d) : d->rules->sync(d);
}

co_fn enum disc_status disc_reserve_track(struct disc *d, uint32_t blocks)
{
	enum disc_status status = may_record(d);

	d->error = (struct disc_error){0};
	if (status != DISC_OK)
		return status;
	if (!d->rules->reserve_track)
		return DISC_INCOMPATIBLE;
	disc_begin_test(d);
	return d->rules->reserve_track(d, blocks);
}

/* Closing what is closed already is no error: programs repeat it. */
static enum disc_status may_close(struct disc *d, bool has_operation)
{
	enum disc_status status = may_record(d);

	d->error = (struct disc_error){0};
	if ((status == DISC_OK || status == DISC_FINALISED) && !has_operation)
		return DISC_INCOMPATIBLE;
	return status;
}

co_fn enum disc_status disc_close_track(struct disc *d, unsigned number)
{
	enum disc_status status = may_close(d, d->rules->close_track != NULL);

	if (status == DISC_FINALISED)
		return number == TRACK_INVISIBLE || number <= disc_last_track(d) ? DISC_OK
										 : DISC_RANGE;
	return status == DISC_OK ? d->rules->close_track(d, number) : status;
}

co_fn enum disc_status disc_close_session(struct disc *d)
{
	enum disc_status status = may_close(d, d->rules->close_session != NULL);

	if (status == DISC_FINALISED)
		return DISC_OK;
	return status == DISC_OK ? d->rules->close_session(d) : status;
}

co_fn enum disc_status disc_finalise(struct disc *d)
{
	enum disc_status status = may_close(d, d->rules->finalise != NULL);

	if (status == DISC_FINALISED)
		return DISC_OK;
	return status == DISC_OK ? d->rules->finalise(d) : status;
}

co_fn enum disc_status disc_send_cue_sheet(struct disc *d, const uint8_t *cue, size_t len)
{
	enum disc_status status = may_record(d);

	d->error = (struct disc_error){0};
	if (status != DISC_OK)
		return status;
	if (!d->rules->send_cue_sheet)
		return DISC_INCOMPATIBLE;
	disc_begin_test(d);
	return d->rules->send_cue_sheet(d, cue, len);
}

co_fn enum disc_status disc_blank(struct disc *d, unsigned type)
{
	enum disc_status status = may_change(d);

	d->error = (struct disc_error){0};
	if (!d->rules->blank)
		return DISC_INCOMPATIBLE;
	return status == DISC_OK ? d->rules->blank(d, type) : status;
}

co_fn enum disc_status disc_format(struct disc *d, const struct disc_format *f)
{
	enum disc_status status = may_change(d);

	d->error = (struct disc_error){0};
	if (!d->rules->format)
		return DISC_INCOMPATIBLE;
	return status == DISC_OK ? d->rules->format(d, f) : status;
}
