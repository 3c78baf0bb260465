/*
 * Logical units and their initiators: unit attentions, task management, events.
 *
 * Task management never ends a command itself: it marks the ones concerned, and waits until they
 * came to their own end. A marked command that still waits for its turn gives up when the turn
 * comes.
 */
#include "scsi/table.h"

#include <assert.h>

void scsi_lu_init(struct scsi_lu *lu, const struct scsi_lu_ops *ops, struct loop *loop,
		  const char *name)
{
	lu->ops = ops;
	lu->loop = loop;
	lu->name = g_strdup(name);
	lu->nexuses = g_ptr_array_new();
}

void scsi_lu_fini(struct scsi_lu *lu)
{
	if (lu->nexuses) {
		assert(lu->nexuses->len == 0);
		g_ptr_array_free(lu->nexuses, TRUE);
	}
	lu->nexuses = NULL;
	g_free(lu->name);
	lu->name = NULL;
}

co_fn void scsi_lu_free(struct scsi_lu *lu)
{
	if (!lu)
		return;
	assert(lu->nexuses->len == 0);
	lu->ops->free(lu);
}

const char *scsi_lu_name(const struct scsi_lu *lu)
{
	return lu->name;
}

struct loop *scsi_lu_loop(const struct scsi_lu *lu)
{
	return lu->loop;
}

struct scsi_nexus *scsi_nexus_new(struct scsi_lu *lu, const char *name,
				  const struct scsi_nexus_ops *ops, void *opaque, bool resumed)
{
	struct scsi_nexus *nexus = g_new0(struct scsi_nexus, 1);

	nexus->lu = lu;
	nexus->name = g_strdup(name);
	nexus->ops = ops;
	nexus->opaque = opaque;
	g_ptr_array_add(lu->nexuses, nexus);
	if (lu->ops->nexus_new)
		lu->ops->nexus_new(lu, nexus, resumed);
	if (!resumed)
		scsi_nexus_attention(nexus, SENSE_POWER_ON);
	return nexus;
}

void scsi_nexus_free(struct scsi_nexus *nexus)
{
	if (!nexus)
		return;
	assert(!nexus->cmds);
	g_ptr_array_remove(nexus->lu->nexuses, nexus);
	if (nexus->lu->ops->nexus_gone)
		nexus->lu->ops->nexus_gone(nexus->lu, nexus);
	g_free(nexus->unit_data);
	g_free(nexus->name);
	g_free(nexus);
}

void *scsi_nexus_opaque(const struct scsi_nexus *nexus)
{
	return nexus->opaque;
}

struct scsi_lu *scsi_nexus_lu(const struct scsi_nexus *nexus)
{
	return nexus->lu;
}

void scsi_nexus_changed(struct scsi_nexus *nexus)
{
	if (nexus->lu->ops->nexus_changed)
		nexus->lu->ops->nexus_changed(nexus->lu, nexus);
}

/* A reset goes before what was pending: whoever is told of it asks everything anew. */
void scsi_nexus_attention(struct scsi_nexus *nexus, enum sense code)
{
	bool first = sense_asc(code) == sense_asc(SENSE_POWER_ON);
	unsigned i;

	for (i = 0; i < nexus->n_ua; i++) {
		if (nexus->ua[i] == code)
			return;
	}
	if (nexus->n_ua == NEXUS_UA_MAX)
		nexus->n_ua--;
	if (first)
		memmove(nexus->ua + 1, nexus->ua, nexus->n_ua * sizeof(*nexus->ua));
	nexus->ua[first ? 0 : nexus->n_ua] = code;
	nexus->n_ua++;
	scsi_nexus_changed(nexus);
}

enum sense scsi_nexus_take_attention(struct scsi_nexus *nexus)
{
	enum sense code = nexus->ua[0];

	nexus->n_ua--;
	memmove(nexus->ua, nexus->ua + 1, nexus->n_ua * sizeof(*nexus->ua));
	scsi_nexus_changed(nexus);
	return code;
}

enum sense scsi_nexus_take_deferred(struct scsi_nexus *nexus, struct scsi_cmd *c)
{
	enum sense code = nexus->deferred;

	c->detail.deferred = true;
	nexus->deferred = SENSE_GOOD;
	scsi_nexus_changed(nexus);
	return code;
}

void scsi_nexus_defer(struct scsi_nexus *nexus, enum sense code)
{
	nexus->deferred = code;
	scsi_nexus_changed(nexus);
}

void scsi_lu_attention(struct scsi_lu *lu, const struct scsi_nexus *except, enum sense code)
{
	unsigned i;

	for (i = 0; i < lu->nexuses->len; i++) {
		struct scsi_nexus *nexus = g_ptr_array_index(lu->nexuses, i);

		if (nexus != except)
			scsi_nexus_attention(nexus, code);
	}
}

void scsi_lu_event(struct scsi_lu *lu, enum scsi_event event)
{
	unsigned i;

	for (i = 0; i < lu->nexuses->len; i++) {
		struct scsi_nexus *nexus = g_ptr_array_index(lu->nexuses, i);

		if (nexus->ops && nexus->ops->event)
			nexus->ops->event(nexus, event);
	}
}

/* ---- task management ---- */

static struct scsi_cmd *find_task(const struct scsi_nexus *nexus, uint64_t tag, bool aborted)
{
	struct scsi_cmd *c;

	for (c = nexus->cmds; c; c = c->next) {
		if (c->tag == tag && c->aborted == aborted)
			return c;
	}
	return NULL;
}

static bool has_aborted(const struct scsi_nexus *nexus)
{
	const struct scsi_cmd *c;

	for (c = nexus->cmds; c; c = c->next) {
		if (c->aborted)
			return true;
	}
	return false;
}

static void mark_all(struct scsi_nexus *nexus)
{
	struct scsi_cmd *c;

	for (c = nexus->cmds; c; c = c->next)
		c->aborted = true;
}

bool scsi_query_task(struct scsi_nexus *nexus, uint64_t tag)
{
	return find_task(nexus, tag, false) != NULL;
}

co_fn bool scsi_abort_task(struct scsi_nexus *nexus, uint64_t tag)
{
	struct scsi_cmd *c = find_task(nexus, tag, false);

	if (!c)
		return false;
	c->aborted = true;
	while (find_task(nexus, tag, true))
		co_queue_wait(&nexus->idle);
	return true;
}

co_fn void scsi_abort_all(struct scsi_nexus *nexus)
{
	mark_all(nexus);
	while (has_aborted(nexus))
		co_queue_wait(&nexus->idle);
}

static struct scsi_nexus *any_with_aborted(struct scsi_lu *lu)
{
	unsigned i;

	for (i = 0; i < lu->nexuses->len; i++) {
		struct scsi_nexus *nexus = g_ptr_array_index(lu->nexuses, i);

		if (has_aborted(nexus))
			return nexus;
	}
	return NULL;
}

co_fn void scsi_lu_reset(struct scsi_nexus *nexus)
{
	struct scsi_lu *lu = nexus->lu;
	struct scsi_nexus *busy;

	for (unsigned i = 0; i < lu->nexuses->len; i++)
		mark_all(g_ptr_array_index(lu->nexuses, i));
	/* A nexus may go while this waits on it, but only after it woke its waiters: look again
	 * from the start. */
	while ((busy = any_with_aborted(lu)))
		co_queue_wait(&busy->idle);
	co_rwlock_wrlock(&lu->order);
	if (lu->ops->reset)
		lu->ops->reset(lu);
	co_rwlock_unlock(&lu->order);
	scsi_lu_attention(lu, NULL, SENSE_DEVICE_RESET);
}
