/*
 * The units on controllers: disks and drives.
 *
 * A disk belongs to one device at a time: two guests with a file system each would destroy it. It
 * is claimed when a device looks it up, and free again when the device ended or the unit was
 * unplugged. A drive may hang on several: its nexuses keep the guests apart.
 */
#include "control/daemon_impl.h"

#include <string.h>

#include "base/err.h"

enum { UNIT_SECTOR = 512 };

static void fill_disk(struct daemon_disk *disk, struct device_unit *out)
{
	*out = (struct device_unit){
		.id = disk->config->id,
		.disk = disk->node,
		.model = disk->config->model,
		.serial = disk->config->serial,
		.firmware = disk->config->firmware,
		.rotational = disk->config->rotational,
	};
}

static void fill_drive(struct daemon_drive *drive, struct device_unit *out)
{
	*out = (struct device_unit){.id = drive->config->id, .drive = drive_lu(drive->drive)};
}

static void list_units(struct outboard_daemon *d, GString *names)
{
	for (unsigned i = 0; i < d->disks->len; i++)
		g_string_append_printf(names, "%s%s", names->len ? ", " : "",
				       daemon_disk(d, i)->config->id);
	for (unsigned i = 0; i < d->drives->len; i++)
		g_string_append_printf(names, "%s%s", names->len ? ", " : "",
				       daemon_drive(d, i)->config->id);
}

static bool no_unit(struct outboard_daemon *d, const char *id, GError **error)
{
	g_autoptr(GString) names = g_string_new(NULL);

	list_units(d, names);
	if (!names->len) {
		return err_set(error, ENOENT,
			       "there is no disk or drive '%s'; give --disk file=FILE,id=%s or "
			       "--optical disc=FILE,id=%s",
			       id, id, id);
	}
	return err_set(error, ENOENT, "there is no disk or drive '%s'; there are %s", id,
		       names->str);
}

static bool units_find(void *opaque, const char *id, struct device_unit *out, GError **error)
{
	struct daemon_device *dd = opaque;
	struct outboard_daemon *d = dd->daemon;
	struct daemon_drive *drive = daemon_find_drive(d, id);
	struct daemon_disk *disk = daemon_find_disk(d, id);

	if (drive) {
		fill_drive(drive, out);
		return true;
	}
	if (!disk)
		return no_unit(d, id, error);
	if (disk->user)
		return err_set(error, EBUSY, "disk '%s' hangs on device %s already", id,
			       disk->user->config->id);
	if (disk->shown_at)
		return err_set(error, EBUSY, "disk '%s' is attached at %s already", id,
			       disk->shown_at->socket);
	if (disk->config->block_size != UNIT_SECTOR) {
		return err_set(
			error, ENOTSUP,
			"disk '%s' has block-size=%u; such a disk is for --attach vhost-user", id,
			disk->config->block_size);
	}
	disk->user = dd;
	fill_disk(disk, out);
	return true;
}

/* Disks before drives; those that another device has are left out. */
static bool units_nth(void *opaque, unsigned n, struct device_unit *out)
{
	struct daemon_device *dd = opaque;
	struct outboard_daemon *d = dd->daemon;

	for (unsigned i = 0; i < d->disks->len; i++) {
		struct daemon_disk *disk = daemon_disk(d, i);

		if ((disk->user && disk->user != dd) || disk->shown_at ||
		    disk->config->block_size != UNIT_SECTOR)
			continue;
		if (n-- > 0)
			continue;
		disk->user = dd;
		fill_disk(disk, out);
		return true;
	}
	if (n >= d->drives->len)
		return false;
	fill_drive(daemon_drive(d, n), out);
	return true;
}

void units_init(struct outboard_daemon *d, struct daemon_device *dd)
{
	dd->daemon = d;
	dd->units = (struct device_units){units_find, units_nth, dd};
}

void units_release(struct daemon_device *dd)
{
	for (unsigned i = 0; i < dd->daemon->disks->len; i++) {
		struct daemon_disk *disk = daemon_disk(dd->daemon, i);

		if (disk->user == dd)
			disk->user = NULL;
	}
}

/* The device and its operations on units; NULL: *error. */
static const struct device_unit_ops *find_slot(struct outboard_daemon *d, const char *id,
					       unsigned slot, struct daemon_device **out,
					       GError **error)
{
	struct daemon_device *dd = daemon_find_device(d, id);
	const struct device_unit_ops *ops = dd ? device_unit_ops(dd->device) : NULL;

	if (!dd) {
		err_set(error, ENOENT, "there is no device '%s'", id);
		return NULL;
	}
	if (!ops || !ops->plug) {
		err_set(error, ENOTSUP, "device %s (%s) takes no disk or drive while it runs", id,
			device_class_name(dd->device));
		return NULL;
	}
	if (slot >= ops->slots(device_ob(dd->device))) {
		err_set(error, EINVAL, "device %s has the slots 0 to %u", id,
			ops->slots(device_ob(dd->device)) - 1);
		return NULL;
	}
	*out = dd;
	return ops;
}

co_fn bool daemon_plug(struct outboard_daemon *d, const char *device, unsigned slot, const char *id,
		       GError **error)
{
	struct daemon_attachment *da = daemon_find_attachment(d, device);
	struct daemon_device *dd;
	const struct device_unit_ops *ops;
	struct device_unit unit;
	struct daemon_disk *disk;
	const char *there;

	if (da)
		return scsi_plug(d, da, slot, id, error);
	ops = find_slot(d, device, slot, &dd, error);
	if (!ops)
		return false;
	there = ops->unit(device_ob(dd->device), slot);
	if (there)
		return err_set(error, EBUSY, "in slot %u of device %s is %s; unplug it first", slot,
			       device, there);
	if (!units_find(dd, id, &unit, error))
		return false;
	if (ops->plug(device_ob(dd->device), slot, &unit, error))
		return true;
	disk = daemon_find_disk(d, id);
	if (disk)
		disk->user = NULL;
	return false;
}

co_fn bool daemon_unplug(struct outboard_daemon *d, const char *device, unsigned slot,
			 GError **error)
{
	struct daemon_attachment *da = daemon_find_attachment(d, device);
	struct daemon_device *dd;
	const struct device_unit_ops *ops;
	struct daemon_disk *disk;
	const char *there;

	if (da)
		return scsi_unplug(d, da, slot, error);
	ops = find_slot(d, device, slot, &dd, error);
	if (!ops)
		return false;
	there = ops->unit(device_ob(dd->device), slot);
	disk = there ? daemon_find_disk(d, there) : NULL;
	if (!there)
		return err_set(error, ENOENT, "in slot %u of device %s is nothing", slot, device);
	if (!ops->unplug(device_ob(dd->device), slot, error))
		return false;
	if (disk)
		disk->user = NULL;
	return true;
}
