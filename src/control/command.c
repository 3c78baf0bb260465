/* Commands to a running daemon: see command.h. */
#include "control/command.h"

#include <string.h>

#include "base/bytes.h"
#include "base/err.h"
#include "block/block.h"
#include "pci/config.h"

enum { SLOT_MAX = 255 };

static const char *text_or_null(json_t *j)
{
	return json_string_value(j);
}

/* Every key must be one the command knows. */
static bool check_keys(const json_t *args, const char *const *known, GError **error)
{
	const char *key;
	json_t *value;

	if (!args)
		return true;
	if (!json_is_object(args))
		return err_set(error, EINVAL, "the arguments must be an object");
	json_object_foreach((json_t *)args, key, value)
	{
		if (!g_strv_contains(known, key))
			return err_set(error, EINVAL, "there is no argument '%s'", key);
	}
	return true;
}

static struct daemon_drive *find_drive(struct outboard_daemon *d, const json_t *args,
				       GError **error)
{
	const json_t *id = json_object_get(args, "id");

	if (id && !json_is_string(id)) {
		err_set(error, EINVAL, "'id' must be a string");
		return NULL;
	}
	if (!id && daemon_drives(d) == 1)
		return daemon_drive(d, 0);
	if (!id) {
		err_set(error, EINVAL, "there are %u drives: say which by its id",
			daemon_drives(d));
		return NULL;
	}
	for (unsigned i = 0; i < daemon_drives(d); i++) {
		if (!strcmp(daemon_drive(d, i)->config->id, json_string_value(id)))
			return daemon_drive(d, i);
	}
	err_set(error, ENOENT, "there is no drive '%s'", json_string_value(id));
	return NULL;
}

/* A file name is bytes; what is not UTF-8 in it is shown, not lost. */
static json_t *file_name_json(const char *name)
{
	g_autofree char *shown = name ? g_filename_display_name(name) : NULL;

	return shown ? json_string(shown) : json_null();
}

static json_t *drive_json(struct daemon_drive *dd)
{
	g_autofree char *words = drive_describe(dd->drive);
	struct disc *disc = drive_disc(dd->drive);
	json_t *j =
		json_pack("{s:s, s:o, s:b, s:b, s:s}", "id", dd->config->id, "disc",
			  file_name_json(dd->disc_path), "tray_open", drive_tray_open(dd->drive),
			  "locked", drive_locked(dd->drive), "state", words);

	if (disc) {
		json_object_set_new(j, "profile", json_integer(disc_get_profile(disc)->number));
		json_object_set_new(j, "profile_name", json_string(disc_get_profile(disc)->name));
		json_object_set_new(j, "writable", json_boolean(disc_is_writable(disc)));
	}
	return j;
}

static json_t *disk_json(const struct daemon_disk *disk)
{
	const char *socket = disk->shown_at ? disk->shown_at->socket : NULL;
	g_autofree char *reserved = disk->scsi ? scsi_disk_describe(disk->scsi) : NULL;

	return json_pack(
		"{s:s, s:o, s:s, s:I, s:b, s:s?, s:o, s:s?}", "id", disk->config->id, "file",
		file_name_json(block_name(disk->node)), "format", block_driver_name(disk->node),
		"bytes", (json_int_t)block_length(disk->node), "writable",
		block_is_writable(disk->node), "device", disk->user ? disk->user->config->id : NULL,
		"socket", file_name_json(socket), "reserved", reserved);
}

static json_t *slots_json(struct daemon_device *dd, const struct device_unit_ops *ops)
{
	struct ob_dev *dev = device_ob(dd->device);
	json_t *units = json_array();

	for (unsigned i = 0; i < ops->slots(dev); i++) {
		const char *id = ops->unit(dev, i);

		json_array_append_new(units, id ? json_string(id) : json_null());
	}
	return units;
}

static json_t *device_json(struct daemon_device *dd)
{
	struct pci_function *f = device_function(dd->device);
	const struct device_unit_ops *ops = device_unit_ops(dd->device);
	json_t *j;
	g_autofree char *vendor = NULL, *id = NULL;
	uint8_t ids[4];

	pci_function_config_read(f, CFG_VENDOR, ids, sizeof(ids));
	vendor = g_strdup_printf("0x%04x", get_le16(ids));
	id = g_strdup_printf("0x%04x", get_le16(ids + 2));
	j = json_pack("{s:s, s:o, s:s, s:s, s:s, s:b}", "id", device_id(dd->device), "driver",
		      file_name_json(dd->config->driver), "class", device_class_name(dd->device),
		      "vendor", vendor, "device", id, "stopped", pci_function_is_stopped(f));
	if (ops && ops->slots)
		json_object_set_new(j, "units", slots_json(dd, ops));
	return j;
}

struct devices_status {
	struct outboard_daemon *daemon;
	json_t *json;
};

/*
 * On the loop's stack, as everything that talks to a function, and all in one go: devices come and
 * go whenever a command yields.
 */
static void read_devices(void *arg)
{
	struct devices_status *s = arg;

	for (unsigned i = 0; i < daemon_devices(s->daemon); i++)
		json_array_append_new(s->json, device_json(daemon_device(s->daemon, i)));
}

static json_t *targets_json(const struct daemon_attachment *da)
{
	json_t *targets = json_array();

	for (unsigned i = 0; i < da->targets->len; i++) {
		const char *id = da->targets->pdata[i];

		json_array_append_new(targets, id ? json_string(id) : json_null());
	}
	return targets;
}

static json_t *vhost_user_json(const struct daemon_attachment *da)
{
	struct vhost_user_stats s;

	vhost_user_get_stats(da->vhost, &s);
	return json_pack("{s:s, s:s*, s:o*, s:o, s:s*, s:i, s:I, s:I, s:I, s:I}", "type",
			 attach_kind_name(da->config->kind), "id", da->config->id, "units",
			 da->targets ? targets_json(da) : NULL, "socket",
			 file_name_json(da->config->socket), "disk", da->config->disk, "clients",
			 (int)s.clients, "requests", (json_int_t)s.requests, "kicks",
			 (json_int_t)s.kicks, "calls", (json_int_t)s.calls, "protocol_errors",
			 (json_int_t)s.protocol_errors);
}

static json_t *vfio_user_json(const struct daemon_attachment *da)
{
	struct vfio_user_stats s;

	vfio_user_get_stats(da->vfio, &s);
	return json_pack("{s:s, s:o, s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I}", "type", "vfio-user",
			 "socket", file_name_json(da->config->socket), "device", da->device->id,
			 "clients", (int)s.clients, "messages", (json_int_t)s.messages, "accesses",
			 (json_int_t)s.accesses, "interrupts", (json_int_t)s.interrupts,
			 "dma_messages", (json_int_t)s.dma_messages, "refused",
			 (json_int_t)s.refused, "protocol_errors", (json_int_t)s.protocol_errors);
}

static json_t *nbd_json(const struct daemon_attachment *da)
{
	struct nbd_stats s;

	nbd_server_get_stats(da->nbd, &s);
	return json_pack("{s:s, s:o, s:i, s:I, s:I, s:I, s:o}", "type", "nbd", "socket",
			 file_name_json(da->config->socket), "clients", (int)s.clients, "requests",
			 (json_int_t)s.requests, "errors", (json_int_t)s.errors, "protocol_errors",
			 (json_int_t)s.protocol_errors, "connections",
			 nbd_server_connections(da->nbd));
}

static json_t *attachment_json(const struct daemon_attachment *da)
{
	switch (da->config->kind) {
	case ATTACH_VHOST_USER:
	case ATTACH_VHOST_USER_BLK: return vhost_user_json(da);
	case ATTACH_VFIO_USER: return vfio_user_json(da);
	case ATTACH_NBD: return nbd_json(da);
	}
	return json_null();
}

static co_fn json_t *status(struct outboard_daemon *d, const json_t *args, GError **error)
{
	json_t *drives = json_array(), *devices = json_array(), *attachments = json_array();
	json_t *disks = json_array();

	(void)args;
	(void)error;
	for (unsigned i = 0; i < daemon_drives(d); i++)
		json_array_append_new(drives, drive_json(daemon_drive(d, i)));
	for (unsigned i = 0; i < daemon_disks(d); i++)
		json_array_append_new(disks, disk_json(daemon_disk(d, i)));
	pci_on_loop_stack(read_devices, &(struct devices_status){d, devices});
	for (unsigned i = 0; i < daemon_attachments(d); i++)
		json_array_append_new(attachments, attachment_json(daemon_attachment(d, i)));
	return json_pack("{s:s, s:o, s:o, s:o, s:o}", "loop", loop_backend_name(daemon_loop(d)),
			 "drives", drives, "disks", disks, "devices", devices, "attachments",
			 attachments);
}

static co_fn json_t *insert(struct outboard_daemon *d, const json_t *args, GError **error)
{
	struct daemon_drive *dd = find_drive(d, args, error);
	const char *path = text_or_null(json_object_get(args, "disc"));

	if (!dd)
		return NULL;
	if (!path || !*path) {
		err_set(error, EINVAL, "'disc' must name a file");
		return NULL;
	}
	return daemon_insert(d, dd, path, error) ? json_object() : NULL;
}

static co_fn json_t *eject(struct outboard_daemon *d, const json_t *args, GError **error)
{
	struct daemon_drive *dd = find_drive(d, args, error);
	const json_t *force = json_object_get(args, "force");

	if (!dd)
		return NULL;
	if (force && !json_is_boolean(force)) {
		err_set(error, EINVAL, "'force' must be true or false");
		return NULL;
	}
	return daemon_eject(d, dd, json_is_true(force), error) ? json_object() : NULL;
}

static const char *get_text(const json_t *args, const char *key, const char *what, GError **error)
{
	const char *text = text_or_null(json_object_get(args, key));

	if (text && *text)
		return text;
	err_set(error, EINVAL, "'%s' must be %s", key, what);
	return NULL;
}

static co_fn json_t *add_device(struct outboard_daemon *d, const json_t *args, GError **error)
{
	const char *spec = get_text(args, "device", "a device and its properties", error);
	const char *path = spec ? get_text(args, "socket", "the path of a socket", error) : NULL;
	const char *id = path ? daemon_add_device(d, spec, path, error) : NULL;

	return id ? json_pack("{s:s}", "id", id) : NULL;
}

static co_fn json_t *remove_device(struct outboard_daemon *d, const json_t *args, GError **error)
{
	const char *id = get_text(args, "id", "the name of a device", error);

	return id && daemon_remove_device(d, id, error) ? json_object() : NULL;
}

static co_fn json_t *add_disk(struct outboard_daemon *d, const json_t *args, GError **error)
{
	const char *spec = get_text(args, "disk", "a file and its options", error);
	const char *id = spec ? daemon_add_disk(d, spec, error) : NULL;

	return id ? json_pack("{s:s}", "id", id) : NULL;
}

static co_fn json_t *remove_disk(struct outboard_daemon *d, const json_t *args, GError **error)
{
	const char *id = get_text(args, "id", "the name of a disk", error);

	return id && daemon_remove_disk(d, id, error) ? json_object() : NULL;
}

static co_fn json_t *resize_disk(struct outboard_daemon *d, const json_t *args, GError **error)
{
	const char *id = get_text(args, "id", "the name of a disk", error);
	const json_t *bytes = json_object_get(args, "bytes");

	if (!id)
		return NULL;
	if (!json_is_integer(bytes) || json_integer_value(bytes) < 1) {
		err_set(error, EINVAL, "'bytes' must be a number above 0");
		return NULL;
	}
	return daemon_resize_disk(d, id, (uint64_t)json_integer_value(bytes), error) ? json_object()
										     : NULL;
}

static bool get_slot(const json_t *args, unsigned *slot, GError **error)
{
	const json_t *j = json_object_get(args, "slot");
	json_int_t n = json_integer_value(j);

	if (!json_is_integer(j) || n < 0 || n > SLOT_MAX)
		return err_set(error, EINVAL, "'slot' must be a number from 0 to %d", SLOT_MAX);
	*slot = (unsigned)n;
	return true;
}

static co_fn json_t *plug(struct outboard_daemon *d, const json_t *args, GError **error)
{
	const char *device = get_text(args, "device", "the name of a device", error);
	const char *id = device ? get_text(args, "id", "a disk or drive", error) : NULL;
	unsigned slot = 0;

	if (!id || !get_slot(args, &slot, error))
		return NULL;
	return daemon_plug(d, device, slot, id, error) ? json_object() : NULL;
}

static co_fn json_t *unplug(struct outboard_daemon *d, const json_t *args, GError **error)
{
	const char *device = get_text(args, "device", "the name of a device", error);
	unsigned slot = 0;

	if (!device || !get_slot(args, &slot, error))
		return NULL;
	return daemon_unplug(d, device, slot, error) ? json_object() : NULL;
}

static co_fn json_t *quit(struct outboard_daemon *d, const json_t *args, GError **error)
{
	(void)args;
	(void)error;
	daemon_quit(d);
	return json_object();
}

static const struct command {
	const char *name;
	co_fn json_t *(*run)(struct outboard_daemon *d, const json_t *args, GError **error);
	const char *args[4]; /* keys it takes */
	bool alone;          /* daemon_changing() */
} commands[] = {
	{"status", status, {NULL}},
	{"insert", insert, {"id", "disc", NULL}},
	{"eject", eject, {"id", "force", NULL}},
	{"add-device", add_device, {"device", "socket", NULL}, true},
	{"remove-device", remove_device, {"id", NULL}, true},
	{"add-disk", add_disk, {"disk", NULL}, true},
	{"remove-disk", remove_disk, {"id", NULL}, true},
	{"resize-disk", resize_disk, {"id", "bytes", NULL}, true},
	{"plug", plug, {"device", "slot", "id", NULL}, true},
	{"unplug", unplug, {"device", "slot", NULL}, true},
	{"quit", quit, {NULL}},
};

static co_fn json_t *run_command(const struct command *c, struct outboard_daemon *d,
				 const json_t *args, GError **error)
{
	json_t *result;

	if (!check_keys(args, c->args, error))
		return NULL;
	if (c->alone)
		co_mutex_lock(daemon_changing(d));
	result = c->run(d, args, error);
	if (c->alone)
		co_mutex_unlock(daemon_changing(d));
	return result;
}

co_fn json_t *command_execute(struct outboard_daemon *d, const char *name, const json_t *args,
			      GError **error)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(commands); i++) {
		if (!strcmp(commands[i].name, name))
			return run_command(&commands[i], d, args, error);
	}
	err_set(error, ENOENT, "there is no command '%s'", name);
	return NULL;
}
