/* Which disks and drives are targets of a vhost-user attachment: see config.h. */
#include "control/config_impl.h"

#include <string.h>

#include "attach/vhost_user.h"
#include "base/err.h"

/* The attachment before number at that names the disk, or NULL. */
static const struct attach_config *named_before(const struct daemon_config *c, unsigned at,
						const char *disk)
{
	for (unsigned i = 0; i < at; i++) {
		const struct attach_config *a = c->attachments->pdata[i];

		if (a->kind == ATTACH_VHOST_USER && a->drives &&
		    g_strv_contains((const char *const *)a->drives, disk))
			return a;
	}
	return NULL;
}

static bool check_target(const struct daemon_config *c, unsigned at, unsigned nth, GError **error)
{
	const struct attach_config *a = c->attachments->pdata[at], *before;
	const char *id = a->drives[nth];

	if (!config_find_optical(c, id) && !config_find_disk(c, id)) {
		return err_set(error, ENOENT,
			       "--attach drives=: there is no drive '%s'; give --optical "
			       "id=%s,... or --disk FILE,id=%s",
			       id, id, id);
	}
	for (unsigned i = 0; i < nth; i++) {
		if (!strcmp(id, a->drives[i]))
			return err_set(error, EEXIST, "--attach drives=: '%s' stands there twice",
				       id);
	}
	before = config_find_disk(c, id) ? named_before(c, at, id) : NULL;
	return !before || err_set(error, EEXIST, "--attach drives=: disk '%s' is attached at %s",
				  id, before->socket);
}

bool config_check_targets(const struct daemon_config *c, unsigned at, GError **error)
{
	const struct attach_config *a = c->attachments->pdata[at];
	unsigned n = a->drives ? g_strv_length(a->drives) : c->opticals->len + c->disks->len;

	if (!n) {
		return err_set(error, EINVAL,
			       "--attach vhost-user,socket=%s: there is no drive; give --optical "
			       "disc=FILE (or --optical id=cd0 for an empty one), or --disk FILE",
			       a->socket);
	}
	if (n > VHOST_USER_TARGETS_MAX) {
		return err_set(error, EINVAL,
			       "--attach socket=%s: %u disks and drives, one socket takes %d",
			       a->socket, n, VHOST_USER_TARGETS_MAX);
	}
	for (unsigned i = 0; a->drives && i < n; i++) {
		if (!check_target(c, at, i, error))
			return false;
	}
	return true;
}

bool config_is_target(const struct daemon_config *c, const char *disk)
{
	for (unsigned i = 0; i < c->attachments->len; i++) {
		const struct attach_config *a = c->attachments->pdata[i];

		if (a->kind == ATTACH_VHOST_USER &&
		    (!a->drives || g_strv_contains((const char *const *)a->drives, disk)))
			return true;
	}
	return false;
}
