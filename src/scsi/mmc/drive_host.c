/* What the host does to a drive: puts a disc in, takes it out, asks what it is doing. */
#include "scsi/mmc/mmc.h"

#include "base/err.h"

#include <errno.h>
#include <inttypes.h>

static void remember_disc(struct drive *d)
{
	g_strlcpy(d->state->disc, d->disc ? disc_name(d->disc) : "", sizeof(d->state->disc));
}

/* The disc was in the drawer already before this process: nothing is new to anybody. */
static bool is_same_disc(const struct drive *d, const struct disc *disc)
{
	return d->resumed && d->state->disc[0] &&
	       strncmp(d->state->disc, disc_name(disc), STATE_DISC_LEN - 1) == 0;
}

co_fn bool drive_insert(struct drive *d, struct disc *disc, bool quiet, GError **error)
{
	bool same;

	co_rwlock_wrlock(&d->lu.order);
	if (d->disc) {
		err_set(error, EBUSY, "drive %s: %s is in it", d->id, disc_name(d->disc));
		co_rwlock_unlock(&d->lu.order);
		disc_close(disc, false);
		return false;
	}
	same = quiet && is_same_disc(d, disc);
	d->disc = disc;
	if (same) {
		mode_apply_write_page(d);
		mmc_long_resume(d);
	} else {
		d->state->op_kind = LONG_NONE;
		d->state->tray_open = 0;
		remember_disc(d);
		drive_medium_arrived(d);
	}
	co_rwlock_unlock(&d->lu.order);
	if (!same)
		scsi_lu_event(&d->lu, SCSI_EVENT_MEDIUM);
	return true;
}

static bool refuse_locked(struct drive *d, GError **error)
{
	const struct scsi_nexus *owner = drive_locked_by(d);

	if (!owner)
		return false;
	event_media(d, MEDIA_EJECT_REQUEST);
	scsi_lu_event(&d->lu, SCSI_EVENT_MEDIUM);
	err_set(error, EBUSY,
		"drive %s: the guest at %s has locked the tray; it was asked to let go", d->id,
		owner->name);
	return true;
}

/* With the order lock held alone. A disc that cannot be made durable stays in, unless force. */
static co_fn bool take_out(struct drive *d, bool force, struct disc **taken, GError **error)
{
	enum disc_status st = d->disc ? disc_flush(d->disc) : DISC_OK;

	if (st != DISC_OK && !force)
		return err_set_errno(error, disc_last_error(d->disc)->errnum,
				     "drive %s: flushing %s", d->id, disc_name(d->disc));
	*taken = d->disc;
	d->disc = NULL;
	d->dirty = false;
	remember_disc(d);
	mode_clear_write_protect(d);
	if (!d->state->tray_open) {
		d->state->tray_open = 1;
		if (*taken)
			drive_note_absence(d);
		event_media(d, MEDIA_REMOVED);
	}
	return true;
}

/*
 * Who waited for the lock when a command sent its operation into the background comes before it;
 * but the guest was told GOOD, so the operation finds the disc that it is for.
 */
static co_fn void let_operation_end(struct drive *d)
{
	while (d->op.kind != LONG_NONE) {
		co_rwlock_unlock(&d->lu.order);
		co_rwlock_wrlock(&d->lu.order); /* behind the operation, which waits already */
	}
}

co_fn bool drive_eject(struct drive *d, bool force, GError **error)
{
	struct disc *disc = NULL;
	bool done;

	if (!force && refuse_locked(d, error))
		return false;
	co_rwlock_wrlock(&d->lu.order);
	let_operation_end(d);
	done = (force || !refuse_locked(d, error)) && take_out(d, force, &disc, error);
	co_rwlock_unlock(&d->lu.order);
	if (!done)
		return false;
	if (disc)
		disc_close(disc, false);
	scsi_lu_event(&d->lu, SCSI_EVENT_MEDIUM);
	return true;
}

/* How much of a recordable disc is recorded, in percent; -1 where that means nothing. */
static int percent_recorded(const struct disc *disc)
{
	const struct disc_profile *p = disc_get_profile(disc);
	uint32_t blocks = disc_get_state(disc)->capacity;
	struct disc_track_info t;

	if ((p->method != METHOD_SEQUENTIAL && p->method != METHOD_REWRITABLE) || !blocks ||
	    disc_get_track_info(disc, TRACK_INVISIBLE, &t) != DISC_OK || !t.nwa_valid || t.nwa < 0)
		return -1;
	return (int)(MIN((uint64_t)t.nwa, blocks) * 100 / blocks);
}

static const char *status_word(const struct disc *disc)
{
	switch (disc_get_state(disc)->status) {
	case DISC_BLANK: return "blank";
	case DISC_APPENDABLE: return "appendable";
	default: return disc_is_writable(disc) ? "rewritable" : "complete";
	}
}

char *drive_describe(struct drive *d)
{
	struct disc *disc = loaded_disc(d);
	const char *locked = drive_locked(d) ? ", locked" : "";
	const char *kind;
	int percent;

	if (!disc) {
		kind = !d->state->tray_open ? "empty"
		       : d->disc            ? "tray open, disc in it"
					    : "tray open";
		return g_strdup_printf("%s%s", kind, locked);
	}
	kind = disc_get_profile(disc)->name;
	if (d->op.kind != LONG_NONE)
		return g_strdup_printf("%s %s, %u%% done%s", long_op_name(d), kind,
				       (unsigned)d->op.progress * 100 / UINT16_MAX, locked);
	percent = percent_recorded(disc);
	if (d->dirty && percent >= 0)
		return g_strdup_printf("burning %s, %d%% of it recorded%s", kind, percent, locked);
	if (d->dirty)
		return g_strdup_printf("writing %s, %" PRIu64 " blocks so far%s", kind,
				       d->blocks_written, locked);
	return g_strdup_printf("%s, %s%s", kind, status_word(disc), locked);
}
