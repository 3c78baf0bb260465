/*
 * Disks and drives as targets of vhost-user attachments.
 *
 * A disk is a target of one attachment; all front ends of that (option clients) have it, each as an
 * initiator of its own, so that they can share it by reservations. A drive may be a target of
 * several.
 */
#include "control/daemon_impl.h"

#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"

struct daemon_attachment *daemon_find_attachment(struct outboard_daemon *d, const char *id)
{
	for (unsigned i = 0; i < d->attachments->len; i++) {
		struct daemon_attachment *da = daemon_attachment(d, i);

		if (da->config->id && !strcmp(da->config->id, id))
			return da;
	}
	return NULL;
}

bool scsi_claim_disks(struct outboard_daemon *d, GError **error)
{
	for (unsigned i = 0; i < d->config->attachments->len; i++) {
		const struct attach_config *a = d->config->attachments->pdata[i];

		for (unsigned k = 0; a->drives && a->drives[k]; k++) {
			struct daemon_disk *disk = daemon_find_disk(d, a->drives[k]);

			if (disk && disk->shown_at)
				return err_set(error, EBUSY, "disk '%s' is attached at %s already",
					       disk->config->id, disk->shown_at->socket);
			if (disk)
				disk->shown_at = a;
		}
	}
	return true;
}

/* Without a file of the user's it lies beside the socket. */
static char *state_path(const struct disk_config *c, const struct attach_config *at)
{
	return c->state ? g_strdup(c->state)
			: g_strdup_printf("%s.disk-%s.state", at->socket, c->id);
}

static co_fn bool start_disk(struct outboard_daemon *d, struct daemon_disk *disk,
			     const struct attach_config *at, GError **error)
{
	const struct disk_config *c = disk->config;
	g_autofree char *state = state_path(c, at);
	struct scsi_disk_options o = {
		.id = c->id,
		.node = disk->node,
		.block_size = c->block_size,
		.product = c->model,
		.revision = c->firmware,
		.serial = c->serial,
		.rotational = c->rotational,
		.state_path = state,
		.durable = c->state != NULL,
		.trace = log_enabled(LOG_DEBUG),
	};

	disk->scsi = scsi_disk_new(d->loop, &o, error);
	if (!disk->scsi)
		return err_prefix(error, "disk %s", c->id);
	disk->shown_at = at;
	return true;
}

co_fn void scsi_stop_disk(struct daemon_disk *disk, bool forget)
{
	g_autofree char *state = NULL;

	if (!disk->scsi)
		return;
	state = state_path(disk->config, disk->shown_at);
	scsi_disk_free(disk->scsi);
	disk->scsi = NULL;
	disk->shown_at = NULL;
	if (forget && !disk->config->state)
		unlink(state);
}

/* The unit of that name as a target; NULL: *error. */
static co_fn struct scsi_lu *get_unit(struct outboard_daemon *d, const struct attach_config *at,
				      const char *id, GError **error)
{
	struct daemon_drive *drive = daemon_find_drive(d, id);
	struct daemon_disk *disk = daemon_find_disk(d, id);

	if (drive)
		return drive_lu(drive->drive);
	if (!disk) {
		err_set(error, ENOENT, "there is no disk or drive '%s'", id);
		return NULL;
	}
	if (disk->user) {
		err_set(error, EBUSY, "disk '%s' hangs on device %s already", id,
			disk->user->config->id);
		return NULL;
	}
	if (disk->scsi || (disk->shown_at && disk->shown_at != at)) {
		err_set(error, EBUSY, "disk '%s' is attached at %s already", id,
			disk->shown_at->socket);
		return NULL;
	}
	return start_disk(d, disk, at, error) ? scsi_disk_lu(disk->scsi) : NULL;
}

/* Those named, or all disks that hang nowhere else and all drives. */
static GPtrArray *list_targets(struct outboard_daemon *d, const struct attach_config *c)
{
	GPtrArray *ids = g_ptr_array_new_with_free_func(g_free);

	for (unsigned i = 0; c->drives && c->drives[i]; i++)
		g_ptr_array_add(ids, g_strdup(c->drives[i]));
	for (unsigned i = 0; !c->drives && i < d->disks->len; i++) {
		const struct daemon_disk *disk = daemon_disk(d, i);

		if (!disk->user && !disk->shown_at)
			g_ptr_array_add(ids, g_strdup(disk->config->id));
	}
	for (unsigned i = 0; !c->drives && i < d->drives->len; i++)
		g_ptr_array_add(ids, g_strdup(daemon_drive(d, i)->config->id));
	return ids;
}

co_fn bool scsi_attach(struct outboard_daemon *d, struct daemon_attachment *da, GError **error)
{
	const struct attach_config *c = da->config;
	GPtrArray *ids = list_targets(d, c);
	struct scsi_lu **targets = g_new0(struct scsi_lu *, ids->len + 1);
	struct vhost_user_options o = {
		.path = c->socket,
		.targets = targets,
		.n_targets = ids->len,
		.max_queues = c->queues,
		.packed = c->packed,
		.max_clients = c->clients,
	};
	bool ok = true;

	for (unsigned i = 0; ok && i < ids->len; i++) {
		targets[i] = get_unit(d, c, ids->pdata[i], error);
		ok = targets[i] != NULL;
	}
	if (ok)
		da->vhost = vhost_user_new(d->loop, &o, error);
	g_free(targets);
	if (da->vhost)
		da->targets = ids;
	else
		g_ptr_array_free(ids, TRUE);
	return da->vhost;
}

static const char *target_at(const struct daemon_attachment *da, unsigned slot)
{
	return slot < da->targets->len ? da->targets->pdata[slot] : NULL;
}

static bool check_slot(unsigned slot, GError **error)
{
	return slot < VHOST_USER_TARGETS_MAX ||
	       err_set(error, EINVAL, "a vhost-user attachment has the slots 0 to %d",
		       VHOST_USER_TARGETS_MAX - 1);
}

co_fn bool scsi_plug(struct outboard_daemon *d, struct daemon_attachment *da, unsigned slot,
		     const char *id, GError **error)
{
	const char *there = target_at(da, slot);
	struct scsi_lu *lu;

	if (!check_slot(slot, error))
		return false;
	if (there)
		return err_set(error, EBUSY, "in slot %u of %s is %s; unplug it first", slot,
			       da->config->id, there);
	for (unsigned i = 0; i < da->targets->len; i++) {
		if (target_at(da, i) && !strcmp(target_at(da, i), id))
			return err_set(error, EBUSY, "%s is in slot %u of %s already", id, i,
				       da->config->id);
	}
	lu = get_unit(d, da->config, id, error);
	if (!lu)
		return false;
	if (slot >= da->targets->len)
		g_ptr_array_set_size(da->targets, (int)slot + 1);
	da->targets->pdata[slot] = g_strdup(id);
	vhost_user_set_target(da->vhost, slot, lu);
	return true;
}

co_fn bool scsi_unplug(struct outboard_daemon *d, struct daemon_attachment *da, unsigned slot,
		       GError **error)
{
	const char *there = target_at(da, slot);
	struct daemon_disk *disk = there ? daemon_find_disk(d, there) : NULL;

	if (!check_slot(slot, error))
		return false;
	if (!there)
		return err_set(error, ENOENT, "in slot %u of %s is nothing", slot, da->config->id);
	vhost_user_set_target(da->vhost, slot, NULL);
	g_clear_pointer(&da->targets->pdata[slot], g_free);
	if (disk)
		scsi_stop_disk(disk, true);
	return true;
}
