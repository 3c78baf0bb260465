/*
 * The drive: a logical unit with a tray. Where the disc is:
 *
 *   d->disc NULL                  nothing in the drawer
 *   d->disc, tray closed          loaded: the only state in which commands see it (loaded_disc())
 *   d->disc, tray open            lies in the drawer; closing the tray brings the same disc back
 *
 * The guest opens and closes the tray (load.c); the host also puts discs in and takes them out,
 * here. Both hold the order lock alone, so a disc never goes away under a command.
 */
#include "scsi/mmc/mmc.h"

#include "base/err.h"
#include "outboard-config.h"

#include <assert.h>
#include <errno.h>
#include <stddef.h>

/* ---- what the engine asks ---- */

static enum sense drive_ready(struct scsi_lu *lu, struct scsi_cmd *c)
{
	struct drive *d = lu_drive(lu);

	if (d->op.kind != LONG_NONE)
		return long_op_sense(d, c);
	if (!(c->row->flags & ROW_MEDIUM) || loaded_disc(d))
		return SENSE_GOOD;
	nexus_state(c->nexus)->absent_due = 0;
	return drive_no_medium(d);
}

static enum sense drive_state_sense(struct scsi_lu *lu, struct scsi_cmd *c)
{
	struct drive *d = lu_drive(lu);

	return d->op.kind != LONG_NONE ? long_op_sense(d, c) : SENSE_GOOD;
}

static bool drive_write_protected(struct scsi_lu *lu)
{
	return mode_write_protected(lu_drive(lu));
}

static co_fn void drive_reset(struct scsi_lu *lu)
{
	enum { PREVENT = 1 };
	struct drive *d = lu_drive(lu);

	for (unsigned i = 0; i < lu->nexuses->len; i++) {
		struct scsi_nexus *nexus = g_ptr_array_index(lu->nexuses, i);

		nexus->prevent &= (uint8_t)~PREVENT; /* the persistent kind stays */
		scsi_nexus_changed(nexus);
	}
	d->state->read_speed = d->state->write_speed = 0;
	mode_reset_pages(d);
}

static size_t drive_out_length(struct scsi_lu *lu, const uint8_t *cdb)
{
	enum { FORMAT_UNIT = 0x04, FORMAT_LIST_LEN = 12 };

	if (cdb[0] == FORMAT_UNIT)
		return fld_get(cdb, FMT_DATA) ? FORMAT_LIST_LEN : 0;
	return mmc_write_length(lu_drive(lu), cdb);
}

static size_t drive_in_length(struct scsi_lu *lu, const uint8_t *cdb)
{
	enum {
		READ6 = 0x08,
		READ_CAPACITY = 0x25,
		READ10 = 0x28,
		READ12 = 0xa8,
		GET_PERFORMANCE = 0xac,
		READ6_ZERO_MEANS = 256,
		BLOCK = 2048,
		CAPACITY_LEN = 8
	};
	uint32_t blocks;

	switch (cdb[0]) {
	case READ6:
		blocks = fld_get(cdb, RW6_BLOCKS);
		return (size_t)(blocks ? blocks : READ6_ZERO_MEANS) * BLOCK;
	case READ10: return (size_t)fld_get(cdb, RW10_BLOCKS) * BLOCK;
	case READ12: return (size_t)fld_get(cdb, RW12_BLOCKS) * BLOCK;
	case READ_CAPACITY: return CAPACITY_LEN;
	case GET_PERFORMANCE: return mmc_performance_length(cdb);
	default: return mmc_read_cd_length(lu_drive(lu), cdb);
	}
}

/* ---- medium ---- */

enum sense drive_no_medium(const struct drive *d)
{
	return d->state->tray_open ? SENSE_NO_MEDIUM_OPEN : SENSE_NO_MEDIUM_CLOSED;
}

enum sense drive_need_medium(const struct drive *d)
{
	return loaded_disc(d) ? SENSE_GOOD : drive_no_medium(d);
}

uint16_t drive_profile(const struct drive *d)
{
	const struct disc *disc = loaded_disc(d);

	return disc ? disc_get_profile(disc)->number : PROFILE_NONE;
}

void drive_medium_arrived(struct drive *d)
{
	d->blocks_read = d->blocks_written = 0;
	mode_reset_write_page(d);
	mode_clear_write_protect(d);
	drive_tell_absence(d);
	scsi_lu_attention(&d->lu, NULL, SENSE_MEDIUM_CHANGED);
	event_media(d, MEDIA_NEW);
}

void drive_profile_changed(struct drive *d)
{
	event_operational(d, REASON_FEATURE_CHANGE);
}

/* ---- the timed flush of a burn that is going on ---- */

/* The lock is only needed to begin: the host goes on writing while the file syncs. */
static co_fn void flush_now(void *arg)
{
	struct drive *d = arg;

	co_drain_enter(&d->background);
	co_rwlock_wrlock(&d->lu.order);
	if (d->disc && d->dirty) {
		d->dirty = false;
		if (!disc_flush_aside(d->disc))
			drive_note_written(d);
	}
	co_rwlock_unlock(&d->lu.order);
	co_drain_leave(&d->background);
}

static void flush_due(struct loop_timer *timer)
{
	struct drive *d = (struct drive *)((char *)timer - offsetof(struct drive, flush_timer));

	if (d->dirty)
		co_start(d->lu.loop, flush_now, d);
}

void drive_note_written(struct drive *d)
{
	if (d->dirty)
		return;
	d->dirty = true;
	loop_timer_set(d->lu.loop, &d->flush_timer,
		       loop_now_ns() + FLUSH_AFTER_SECONDS * UINT64_C(1000000000));
}

/* ---- life ---- */

static co_fn void drive_destroy(struct scsi_lu *lu)
{
	struct drive *d = lu_drive(lu);

	loop_timer_cancel(&d->flush_timer);
	co_drain_wait(&d->background);
	if (d->disc) /* the state file goes on saying that it is in the drive */
		disc_close(d->disc, false);
	d->disc = NULL;
	drive_state_unmap(d->state, d->state_fd);
	scsi_lu_fini(lu);
	g_free(d->id);
	g_free(d);
}

static const struct scsi_lu_ops drive_ops = {
	.rows = mmc_rows,
	.ready = drive_ready,
	.state_sense = drive_state_sense,
	.write_protected = drive_write_protected,
	.reset = drive_reset,
	.nexus_gone = drive_nexus_gone,
	.free = drive_destroy,
	.out_length = drive_out_length,
	.in_length = drive_in_length,
	.nexus_new = drive_nexus_new,
	.nexus_changed = drive_nexus_changed,
};

/* Copies an identity string; it becomes part of replies, so it must be printable ASCII of at most
 * max characters. */
static bool set_identity(char *dst, const char *what, const char *value, size_t max, GError **error)
{
	size_t len = strlen(value);

	if (len > max)
		return err_set(error, EINVAL, "%s \"%s\": %zu characters, at most %zu fit", what,
			       value, len, max);
	for (size_t i = 0; i < len; i++) {
		if (value[i] < 0x20 || value[i] > 0x7e)
			return err_set(error, EINVAL,
				       "%s: only printable ASCII characters are possible", what);
	}
	memcpy(dst, value, len + 1);
	return true;
}

static bool set_identities(struct drive *d, const struct drive_options *o, GError **error)
{
	char *hash = g_compute_checksum_for_string(G_CHECKSUM_SHA256, d->id, -1);
	char revision[5] = "", serial[13];

	g_snprintf(serial, sizeof(serial), "%.12s", hash);
	g_free(hash);
	g_strlcpy(revision, OUTBOARD_VERSION, sizeof(revision));
	g_strdelimit(revision + strlen(revision) - 1, ".", ' ');
	g_strchomp(revision);
	return set_identity(d->vendor, "vendor", o->vendor ? o->vendor : "OUTBOARD", 8, error) &&
	       set_identity(d->product, "product", o->product ? o->product : "DVD/BD RECORDER", 16,
			    error) &&
	       set_identity(d->revision, "revision", o->revision ? o->revision : revision, 4,
			    error) &&
	       set_identity(d->serial, "serial", o->serial ? o->serial : serial, 20, error);
}

co_fn struct drive *drive_new(struct loop *loop, const struct drive_options *o, GError **error)
{
	struct drive *d = g_new0(struct drive, 1);

	d->id = g_strdup(o->id ? o->id : "drive");
	d->state_fd = -1;
	d->flush_timer.fire = flush_due;
	scsi_lu_init(&d->lu, &drive_ops, loop, d->id);
	d->lu.strict = o->strict;
	d->lu.trace = o->trace;
	if (set_identities(d, o, error))
		d->state = drive_state_map(o->state_path, &d->state_fd, &d->resumed, error);
	if (!d->state) {
		drive_destroy(&d->lu);
		return NULL;
	}
	if (d->resumed)
		mode_apply_write_page(d);
	else
		mode_reset_pages(d);
	return d;
}

co_fn void drive_free(struct drive *d)
{
	if (d)
		scsi_lu_free(&d->lu);
}

struct scsi_lu *drive_lu(struct drive *d)
{
	return &d->lu;
}

const char *drive_id(const struct drive *d)
{
	return d->id;
}

bool drive_resumed(const struct drive *d)
{
	return d->resumed;
}

struct disc *drive_disc(struct drive *d)
{
	return loaded_disc(d);
}

bool drive_tray_open(const struct drive *d)
{
	return d->state->tray_open;
}

bool drive_locked(const struct drive *d)
{
	return drive_locked_by(d) != NULL;
}
