/* Disks of the daemon, and those that a guest sees as a virtio disk each. */
#include "control/daemon_impl.h"

#include <inttypes.h>
#include <string.h>

#include "base/err.h"
#include "block/block.h"

unsigned daemon_disks(const struct outboard_daemon *d)
{
	return d->disks->len;
}

struct daemon_disk *daemon_disk(struct outboard_daemon *d, unsigned i)
{
	return d->disks->pdata[i];
}

struct daemon_disk *daemon_find_disk(struct outboard_daemon *d, const char *id)
{
	for (unsigned i = 0; i < d->disks->len; i++) {
		if (!strcmp(daemon_disk(d, i)->config->id, id))
			return daemon_disk(d, i);
	}
	return NULL;
}

static co_fn bool check_length(struct block_node *node, unsigned sector, GError **error)
{
	uint64_t len = block_length(node);

	if (len && len % sector == 0)
		return true;
	return err_set(error, EINVAL,
		       "%s: %" PRIu64 " bytes are no whole number of sectors of %u bytes",
		       block_name(node), len, sector);
}

co_fn bool disk_start(struct outboard_daemon *d, const struct disk_config *c, GError **error)
{
	/* What others write would change under a guest that only reads, too. */
	unsigned flags = (c->readonly ? 0 : BLOCK_RDWR) | (c->share_rw ? 0 : BLOCK_UNSHARE_WRITE);
	struct block_node *node =
		c->file ? block_open_image_with(c->file, c->format, c->image_opts, flags, error)
			: block_open(c->opts, flags, error);
	struct daemon_disk *disk;

	if (!node || !check_length(node, c->block_size, error)) {
		block_unref(node);
		return err_prefix(error, "disk %s", c->id);
	}
	disk = g_new0(struct daemon_disk, 1);
	disk->config = c;
	disk->node = node;
	g_ptr_array_add(d->disks, disk);
	return true;
}

co_fn void disk_free(struct daemon_disk *disk)
{
	block_unref(disk->node);
	g_free(disk);
}

void disks_claim(struct outboard_daemon *d)
{
	for (unsigned i = 0; i < d->config->attachments->len; i++) {
		const struct attach_config *a = d->config->attachments->pdata[i];

		if (a->kind == ATTACH_VHOST_USER_BLK)
			daemon_find_disk(d, a->disk)->shown_at = a;
	}
}

bool disk_attach(struct outboard_daemon *d, struct daemon_attachment *da, GError **error)
{
	const struct attach_config *c = da->config;
	const struct daemon_disk *disk = daemon_find_disk(d, c->disk);
	struct vhost_user_options o = {
		.path = c->socket,
		.disk = {disk->node, disk->config->serial ? disk->config->serial : c->disk},
		.max_queues = c->queues,
		.packed = c->packed,
	};

	da->vhost = vhost_user_new(d->loop, &o, error);
	return da->vhost;
}

static void tell_of_size(struct outboard_daemon *d, const struct daemon_disk *disk)
{
	if (disk->scsi)
		scsi_disk_resized(disk->scsi);
	for (unsigned i = 0; i < d->attachments->len; i++) {
		struct daemon_attachment *da = daemon_attachment(d, i);

		if (da->config == disk->shown_at && da->config->disk)
			vhost_user_disk_resized(da->vhost);
	}
}

co_fn bool daemon_resize_disk(struct outboard_daemon *d, const char *id, uint64_t bytes,
			      GError **error)
{
	struct daemon_disk *disk = daemon_find_disk(d, id);
	uint64_t now;
	int res;

	if (!disk)
		return err_set(error, ENOENT, "there is no disk '%s'", id);
	now = block_length(disk->node);
	if (bytes % disk->config->block_size || bytes < now) {
		return err_set(error, EINVAL,
			       "disk '%s': %" PRIu64 " bytes must be a multiple of %u and not less "
			       "than the %" PRIu64 " it has",
			       id, bytes, disk->config->block_size, now);
	}
	if (disk->user) {
		return err_set(error, ENOTSUP,
			       "disk '%s' hangs on device %s, which cannot tell its guest of a new "
			       "size",
			       id, disk->user->config->id);
	}
	res = block_truncate(disk->node, bytes);
	if (res < 0)
		return err_set_errno(error, -res, "disk '%s' cannot be made %" PRIu64 " bytes long",
				     id, bytes);
	tell_of_size(d, disk);
	return true;
}

co_fn const char *daemon_add_disk(struct outboard_daemon *d, const char *text, GError **error)
{
	GPtrArray *disks = d->config->disks;
	struct disk_config *c;

	if (!config_add_disk(d->config, text, error))
		return NULL;
	c = disks->pdata[disks->len - 1];
	if (disk_start(d, c, error))
		return c->id;
	g_ptr_array_remove(disks, c);
	return NULL;
}

co_fn bool daemon_remove_disk(struct outboard_daemon *d, const char *id, GError **error)
{
	struct daemon_disk *disk = daemon_find_disk(d, id);
	void *config;

	if (!disk)
		return err_set(error, ENOENT, "there is no disk '%s'", id);
	if (disk->user)
		return err_set(error, EBUSY, "disk '%s' hangs on device %s; unplug it there first",
			       id, disk->user->config->id);
	if (disk->shown_at)
		return err_set(error, EBUSY, "disk '%s' is attached at %s", id,
			       disk->shown_at->socket);
	if (nbd_shows_disk(d, id))
		return err_set(error, EBUSY, "disk '%s' is attached at %s", id,
			       config_nbd_of_disk(d->config, id)->socket);
	config = (void *)disk->config;
	g_ptr_array_remove(d->disks, disk);
	disk_free(disk);
	g_ptr_array_remove(d->config->disks, config);
	return true;
}
