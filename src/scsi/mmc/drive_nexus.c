/*
 * The drive's view of its initiators: who locked the tray, and what each has yet to be told, kept
 * in the state file by the nexus's name. An entry outlives its nexus, so that an initiator that
 * went on over a restart, or over a lost connection, finds its lock and its pending events again.
 */
#include "scsi/mmc/mmc.h"

enum { PREVENT_BITS = 3 };

static struct nexus_state *find_entry(struct drive_state *s, const char *name)
{
	for (unsigned i = 0; i < STATE_NEXUSES; i++) {
		if (!s->nexus[i].live && strncmp(s->nexus[i].name, name, STATE_NAME_LEN - 1) == 0 &&
		    s->nexus[i].name[0])
			return &s->nexus[i];
	}
	return NULL;
}

/* An entry that nobody used yet, else the one that was left longest ago; NULL when all are in use.
 */
static struct nexus_state *free_entry(struct drive_state *s)
{
	struct nexus_state *best = NULL;

	for (unsigned i = 0; i < STATE_NEXUSES; i++) {
		struct nexus_state *n = &s->nexus[i];

		if (n->live)
			continue;
		if (!n->name[0])
			return n;
		if (!best || n->used < best->used)
			best = n;
	}
	return best;
}

static void restore(struct drive *d, struct scsi_nexus *nexus, const struct nexus_state *n)
{
	nexus->prevent = n->prevent & PREVENT_BITS;
	nexus->n_ua = n->n_ua;
	for (unsigned i = 0; i < n->n_ua; i++)
		nexus->ua[i] = (enum sense)n->ua[i];
	nexus->deferred = (enum sense)n->deferred;
	if (d->op.kind != LONG_NONE && d->op.resumed && n >= d->state->nexus &&
	    d->state->op_nexus == n - d->state->nexus + 1)
		d->op.nexus = nexus;
}

void drive_nexus_new(struct scsi_lu *lu, struct scsi_nexus *nexus, bool resumed)
{
	struct nexus_view *view = g_new0(struct nexus_view, 1);
	struct drive *d = lu_drive(lu);
	struct nexus_state *n = find_entry(d->state, nexus->name);
	bool known = n != NULL;

	if (!n)
		n = free_entry(d->state);
	if (!n)
		n = &view->own;
	view->saved = n;
	nexus->unit_data = view;
	if (!known || !resumed) {
		memset(n, 0, sizeof(*n));
		g_strlcpy(n->name, nexus->name, sizeof(n->name));
	} else {
		restore(d, nexus, n);
	}
	n->used = ++d->state->uses;
	n->live = 1;
}

void drive_nexus_changed(struct scsi_lu *lu, struct scsi_nexus *nexus)
{
	struct nexus_state *n = nexus_state(nexus);

	(void)lu;
	n->prevent = nexus->prevent;
	n->n_ua = (uint8_t)nexus->n_ua;
	for (unsigned i = 0; i < nexus->n_ua; i++)
		n->ua[i] = nexus->ua[i];
	n->deferred = nexus->deferred;
}

void drive_nexus_gone(struct scsi_lu *lu, struct scsi_nexus *nexus)
{
	struct drive *d = lu_drive(lu);

	nexus_state(nexus)->live = 0;
	if (d->op.nexus == nexus)
		d->op.nexus = NULL;
}

void drive_note_absence(struct drive *d)
{
	for (unsigned i = 0; i < d->lu.nexuses->len; i++)
		nexus_state(g_ptr_array_index(d->lu.nexuses, i))->absent_due = 1;
}

static bool has_attention(const struct scsi_nexus *nexus, enum sense code)
{
	for (unsigned i = 0; i < nexus->n_ua; i++) {
		if (nexus->ua[i] == code)
			return true;
	}
	return false;
}

void drive_tell_absence(struct drive *d)
{
	for (unsigned i = 0; i < d->lu.nexuses->len; i++) {
		struct scsi_nexus *nexus = g_ptr_array_index(d->lu.nexuses, i);
		struct nexus_state *n = nexus_state(nexus);

		/* One that does not know of the disc before needs no telling that it went. */
		if (n->absent_due && !has_attention(nexus, SENSE_MEDIUM_CHANGED))
			scsi_nexus_attention(nexus, SENSE_NO_MEDIUM);
		n->absent_due = 0;
	}
}

const struct scsi_nexus *drive_locked_by(const struct drive *d)
{
	for (unsigned i = 0; i < d->lu.nexuses->len; i++) {
		const struct scsi_nexus *nexus = g_ptr_array_index(d->lu.nexuses, i);

		if (nexus->prevent)
			return nexus;
	}
	return NULL;
}
