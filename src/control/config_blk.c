/* Option texts of vhost-user-blk attachments: see config.h. */
#include "control/config_impl.h"

#include <string.h>

#include "base/err.h"

enum { QUEUES_MAX = 64 };

bool config_parse_rings(struct attach_config *a, struct opts *o, GError **error)
{
	uint64_t queues = 0;

	a->packed = true;
	if (!opts_get_u64(o, "queues", 1, QUEUES_MAX, &queues, error) ||
	    !opts_get_bool(o, "packed", &a->packed, error))
		return false;
	a->queues = (unsigned)queues;
	return true;
}

bool config_parse_blk(struct attach_config *a, struct opts *o, GError **error)
{
	a->disk = g_strdup(opts_get(o, "disk"));
	return config_parse_rings(a, o, error);
}

const struct attach_config *config_blk_of_disk(const struct daemon_config *c, const char *disk)
{
	for (unsigned i = 0; i < c->attachments->len; i++) {
		const struct attach_config *a = c->attachments->pdata[i];

		if (a->kind != ATTACH_VHOST_USER_BLK)
			continue;
		if (a->disk ? !strcmp(a->disk, disk) : c->disks->len == 1)
			return a;
	}
	return NULL;
}

/* Two guests that write to one disk would destroy it. */
bool config_check_blk(const struct daemon_config *c, unsigned at, GError **error)
{
	struct attach_config *a = c->attachments->pdata[at];

	if (!c->disks->len) {
		return err_set(error, EINVAL,
			       "--attach vhost-user-blk,socket=%s: there is no disk; give --disk "
			       "file=FILE",
			       a->socket);
	}
	if (!a->disk && c->disks->len > 1) {
		return err_set(error, EINVAL,
			       "--attach vhost-user-blk,socket=%s: there are %u disks; say which "
			       "with disk=ID",
			       a->socket, c->disks->len);
	}
	if (!a->disk)
		a->disk = g_strdup(((const struct disk_config *)c->disks->pdata[0])->id);
	if (!config_find_disk(c, a->disk)) {
		return err_set(error, ENOENT,
			       "--attach disk=%s: there is no such disk; give --disk "
			       "file=FILE,id=%s",
			       a->disk, a->disk);
	}
	for (unsigned i = 0; i < at; i++) {
		const struct attach_config *b = c->attachments->pdata[i];

		if (b->kind == ATTACH_VHOST_USER_BLK && !strcmp(b->disk, a->disk)) {
			return err_set(
				error, EEXIST,
				"--attach vhost-user-blk,socket=%s: disk '%s' is attached at "
				"%s already",
				a->socket, a->disk, b->socket);
		}
	}
	return true;
}
