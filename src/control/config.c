/* Option texts of drives, devices and attachments: see config.h. */
#include "control/config_impl.h"

#include <string.h>
#include <sys/un.h>

#include "attach/vhost_user.h"
#include "base/err.h"
#include "disc/profile.h"

enum {
	ID_MAX = 32,
	CLIENTS_MAX = 64,
	VENDOR_MAX = 8,
	PRODUCT_MAX = 16,
	REVISION_MAX = 4,
	SERIAL_MAX = 20
};

static void optical_free(void *p)
{
	struct optical_config *o = p;

	if (!o)
		return;
	g_free(o->id);
	g_free(o->disc);
	g_free(o->vendor);
	g_free(o->product);
	g_free(o->revision);
	g_free(o->serial);
	g_free(o->state);
	g_free(o);
}

static void device_free_config(void *p)
{
	struct device_config *d = p;

	if (!d)
		return;
	g_free(d->id);
	g_free(d->driver);
	opts_free(d->opts);
	g_free(d);
}

static void attach_free(void *p)
{
	struct attach_config *a = p;

	if (!a)
		return;
	g_free(a->socket);
	g_free(a->device);
	g_free(a->disk);
	config_nbd_free(a->nbd);
	g_free(a->id);
	g_strfreev(a->drives);
	g_free(a);
}

void config_init(struct daemon_config *c)
{
	c->opticals = g_ptr_array_new_with_free_func(optical_free);
	c->disks = g_ptr_array_new_with_free_func(config_disk_free);
	c->devices = g_ptr_array_new_with_free_func(device_free_config);
	c->attachments = g_ptr_array_new_with_free_func(attach_free);
	c->control = NULL;
}

void config_fini(struct daemon_config *c)
{
	if (c->opticals)
		g_ptr_array_free(c->opticals, TRUE);
	if (c->disks)
		g_ptr_array_free(c->disks, TRUE);
	if (c->devices)
		g_ptr_array_free(c->devices, TRUE);
	if (c->attachments)
		g_ptr_array_free(c->attachments, TRUE);
	g_free(c->control);
	memset(c, 0, sizeof(*c));
}

const struct optical_config *config_find_optical(const struct daemon_config *c, const char *id)
{
	for (unsigned i = 0; i < c->opticals->len; i++) {
		const struct optical_config *o = c->opticals->pdata[i];

		if (!strcmp(o->id, id))
			return o;
	}
	return NULL;
}

const struct device_config *config_find_device(const struct daemon_config *c, const char *id)
{
	for (unsigned i = 0; i < c->devices->len; i++) {
		const struct device_config *d = c->devices->pdata[i];

		if (!strcmp(d->id, id))
			return d;
	}
	return NULL;
}

const struct attach_config *config_find_attachment(const struct daemon_config *c, const char *id)
{
	for (unsigned i = 0; i < c->attachments->len; i++) {
		const struct attach_config *a = c->attachments->pdata[i];

		if (a->id && !strcmp(a->id, id))
			return a;
	}
	return NULL;
}

bool config_is_controller(const struct device_config *d)
{
	return !strcmp(d->driver, "ahci") || !strcmp(d->driver, "ide");
}

const struct device_config *config_attached_device(const struct daemon_config *c,
						   const struct attach_config *a)
{
	return config_find_device(c, a->device);
}

/* The id becomes part of a file name and of lists with ':' between. */
static bool id_ok(const char *id)
{
	return *id && *id != '.' && strlen(id) <= ID_MAX &&
	       strspn(id, G_CSET_A_2_Z G_CSET_a_2_z G_CSET_DIGITS "_.-") == strlen(id);
}

/* Drives, disks, devices and controllers share their names: one in a message means one thing. */
static const char *id_user(const struct daemon_config *c, const char *id)
{
	return config_find_optical(c, id)      ? "drive"
	       : config_find_disk(c, id)       ? "disk"
	       : config_find_device(c, id)     ? "device"
	       : config_find_attachment(c, id) ? "attachment"
					       : NULL;
}

static char *free_id(const struct daemon_config *c, const char *prefix)
{
	for (unsigned i = 0;; i++) {
		char *id = g_strdup_printf("%s%u", prefix, i);

		if (!id_user(c, id))
			return id;
		g_free(id);
	}
}

bool config_get_id(const struct daemon_config *c, struct opts *o, const char *prefix, char **id,
		   GError **error)
{
	const char *text = opts_get(o, "id");

	if (!text) {
		*id = free_id(c, prefix);
		return true;
	}
	if (!id_ok(text)) {
		return err_set(error, EINVAL,
			       "id=%s: an id is 1 to %d letters, digits, '_', '-' or '.'", text,
			       ID_MAX);
	}
	if (id_user(c, text))
		return err_set(error, EEXIST, "id=%s: another %s has that id", text,
			       id_user(c, text));
	*id = g_strdup(text);
	return true;
}

/* INQUIRY strings: printable ASCII of a limited length. */
bool config_get_text(struct opts *o, const char *key, size_t max, char **out, GError **error)
{
	const char *text = opts_get(o, key);

	if (!text)
		return true;
	if (strlen(text) > max)
		return err_set(error, EINVAL, "%s=%s: at most %zu characters", key, text, max);
	for (const char *p = text; *p; p++) {
		if (*p < 0x20 || *p > 0x7e)
			return err_set(error, EINVAL, "%s=%s: printable ASCII only", key, text);
	}
	*out = g_strdup(text);
	return true;
}

static bool get_rom(struct opts *o, uint16_t *profile, GError **error)
{
	static const char *const names[] = {"auto", "cd", "dvd", "bd", NULL};
	static const uint16_t profiles[] = {PROFILE_NONE, PROFILE_CD_ROM, PROFILE_DVD_ROM,
					    PROFILE_BD_ROM};
	int which = 0;

	if (!opts_get_enum(o, "rom", names, &which, error))
		return false;
	*profile = profiles[which];
	return true;
}

static bool parse_optical(const struct daemon_config *c, struct optical_config *d, struct opts *o,
			  GError **error)
{
	const char *disc = opts_get(o, "disc");

	if (disc && !*disc)
		return err_set(error, EINVAL,
			       "disc= names no file; leave it out for an empty drive");
	d->disc = g_strdup(disc);
	d->state = g_strdup(opts_get(o, "state"));
	return config_get_id(c, o, "cd", &d->id, error) &&
	       config_get_text(o, "vendor", VENDOR_MAX, &d->vendor, error) &&
	       config_get_text(o, "product", PRODUCT_MAX, &d->product, error) &&
	       config_get_text(o, "revision", REVISION_MAX, &d->revision, error) &&
	       config_get_text(o, "serial", SERIAL_MAX, &d->serial, error) &&
	       get_rom(o, &d->rom_profile, error) &&
	       opts_get_bool(o, "strict", &d->strict, error) &&
	       opts_get_bool(o, "readonly", &d->readonly, error) &&
	       opts_check_used(o, "--optical", error);
}

bool config_add_optical(struct daemon_config *c, const char *text, GError **error)
{
	struct optical_config *d = g_new0(struct optical_config, 1);
	struct opts *o = *text ? opts_parse(text, "disc", error) : opts_new();
	bool ok = o && parse_optical(c, d, o, error);

	opts_free(o);
	if (!ok) {
		optical_free(d);
		return err_prefix(error, "--optical %s", text);
	}
	g_ptr_array_add(c->opticals, d);
	return true;
}

/* The command of a program may have '=' in it, as in "exec:./prog --size=3,id=x". */
static struct opts *parse_device(const char *text, GError **error)
{
	static const char *const programs[] = {"exec:", "tcp:", "unix:"};
	g_autofree char *full = NULL;

	for (unsigned i = 0; i < G_N_ELEMENTS(programs); i++) {
		if (g_str_has_prefix(text, programs[i]))
			full = g_strconcat("driver=", text, NULL);
	}
	return opts_parse(full ? full : text, "driver", error);
}

bool config_add_device(struct daemon_config *c, const char *text, GError **error)
{
	struct device_config *d = g_new0(struct device_config, 1);
	bool ok;

	d->opts = parse_device(text, error);
	d->driver = d->opts ? g_strdup(opts_get(d->opts, "driver")) : NULL;
	if (d->opts && (!d->driver || !*d->driver)) {
		ok = err_set(error, EINVAL,
			     "say which device first, as in edu,id=edu0 ('outboard device list' "
			     "shows them) or ./mydev.so");
	} else {
		ok = d->opts && config_get_id(c, d->opts, "dev", &d->id, error);
	}
	if (!ok) {
		device_free_config(d);
		return err_prefix(error, "--device %s", text);
	}
	opts_set(d->opts, "id", d->id);
	g_ptr_array_add(c->devices, d);
	return true;
}

static const char *const attach_kinds[] = {
	[ATTACH_VHOST_USER] = "vhost-user",
	[ATTACH_VFIO_USER] = "vfio-user",
	[ATTACH_VHOST_USER_BLK] = "vhost-user-blk",
	[ATTACH_NBD] = "nbd",
	NULL,
};

const char *attach_kind_name(enum attach_kind kind)
{
	return attach_kinds[kind];
}

static bool parse_vhost_user(const struct daemon_config *c, struct attach_config *a, struct opts *o,
			     GError **error)
{
	uint64_t clients = 1;
	const char *drives = opts_get(o, "drives");

	if (!config_parse_rings(a, o, error) ||
	    !opts_get_u64(o, "clients", 1, CLIENTS_MAX, &clients, error))
		return false;
	a->clients = (unsigned)clients;
	a->drives = drives ? g_strsplit(drives, ":", -1) : NULL;
	return config_get_id(c, o, "scsi", &a->id, error);
}

static bool parse_vfio_user(struct attach_config *a, struct opts *o, GError **error)
{
	a->device = g_strdup(opts_get(o, "device"));
	if (g_utf8_validate(a->socket, -1, NULL))
		return true;
	return err_set(error, EILSEQ, "socket=: the path must be UTF-8: QEMU takes it as JSON");
}

bool config_get_socket(struct attach_config *a, struct opts *o, GError **error)
{
	const char *path = opts_get(o, "socket");

	if (!path || !*path)
		return err_set(error, EINVAL, "socket=PATH is missing");
	if (strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
		return err_set(error, ENAMETOOLONG,
			       "socket=%s: a unix socket's path has at most %zu bytes", path,
			       sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1);
	}
	a->socket = g_strdup(path);
	return true;
}

static bool parse_kind(const struct daemon_config *c, struct attach_config *a, struct opts *o,
		       GError **error)
{
	switch (a->kind) {
	case ATTACH_VHOST_USER:
		return config_get_socket(a, o, error) && parse_vhost_user(c, a, o, error);
	case ATTACH_VFIO_USER:
		return config_get_socket(a, o, error) && parse_vfio_user(a, o, error);
	case ATTACH_VHOST_USER_BLK:
		return config_get_socket(a, o, error) && config_parse_blk(a, o, error);
	case ATTACH_NBD: return config_parse_nbd(a, o, error);
	}
	return false;
}

static bool parse_attachment(const struct daemon_config *c, struct attach_config *a, struct opts *o,
			     GError **error)
{
	int type = -1;

	if (!opts_get_enum(o, "type", attach_kinds, &type, error))
		return false;
	if (type < 0) {
		return err_set(error, EINVAL,
			       "say of what kind it is first, as in vhost-user,socket=PATH, "
			       "vhost-user-blk,socket=PATH, vfio-user,socket=PATH or "
			       "nbd,socket=PATH");
	}
	a->kind = (enum attach_kind)type;
	return parse_kind(c, a, o, error) && opts_check_used(o, "--attach", error);
}

bool config_add_attachment(struct daemon_config *c, const char *text, GError **error)
{
	struct attach_config *a = g_new0(struct attach_config, 1);
	struct opts *o = opts_parse(text, "type", error);
	bool ok = o && parse_attachment(c, a, o, error);

	opts_free(o);
	if (!ok) {
		attach_free(a);
		return err_prefix(error, "--attach %s", text);
	}
	g_ptr_array_add(c->attachments, a);
	return true;
}

/* A device has one machine at a time, so one way in is enough. */
static bool check_device(const struct daemon_config *c, unsigned at, GError **error)
{
	struct attach_config *a = c->attachments->pdata[at];
	const struct device_config *d;

	if (!c->devices->len) {
		return err_set(error, EINVAL,
			       "--attach vfio-user,socket=%s: there is no device; give --device "
			       "edu or --device ./mydev.so",
			       a->socket);
	}
	if (!a->device && c->devices->len > 1) {
		return err_set(error, EINVAL,
			       "--attach vfio-user,socket=%s: there are %u devices; say which with "
			       "device=ID",
			       a->socket, c->devices->len);
	}
	if (!a->device)
		a->device = g_strdup(((const struct device_config *)c->devices->pdata[0])->id);
	d = config_attached_device(c, a);
	if (!d) {
		return err_set(error, ENOENT,
			       "--attach device=%s: there is no such device; give --device "
			       "edu,id=%s",
			       a->device, a->device);
	}
	for (unsigned i = 0; i < at; i++) {
		const struct attach_config *b = c->attachments->pdata[i];

		if (b->kind == ATTACH_VFIO_USER && config_attached_device(c, b) == d) {
			return err_set(error, EEXIST,
				       "--attach vfio-user,socket=%s: device '%s' is attached at "
				       "%s already",
				       a->socket, d->id, b->socket);
		}
	}
	return true;
}

static bool check_kind(const struct daemon_config *c, unsigned at, GError **error)
{
	const struct attach_config *a = c->attachments->pdata[at];

	switch (a->kind) {
	case ATTACH_VHOST_USER: return config_check_targets(c, at, error);
	case ATTACH_VFIO_USER: return check_device(c, at, error);
	case ATTACH_VHOST_USER_BLK: return config_check_blk(c, at, error);
	case ATTACH_NBD: return config_check_nbd(c, at, error);
	}
	return false;
}

bool config_check(struct daemon_config *c, GError **error)
{
	if (!c->opticals->len && !c->devices->len && !c->disks->len) {
		return err_set(
			error, EINVAL,
			"there is no drive and no device; give --optical disc=FILE (or --optical "
			"id=cd0 for an empty one), --disk file=FILE, or --device edu");
	}
	if (!c->attachments->len) {
		return err_set(error, EINVAL, "nothing is attached; give --attach %s,socket=PATH",
			       c->opticals->len  ? "vhost-user"
			       : c->devices->len ? "vfio-user"
						 : "vhost-user-blk");
	}
	for (unsigned i = 0; i < c->attachments->len; i++) {
		const struct attach_config *a = c->attachments->pdata[i];

		if (!check_kind(c, i, error))
			return false;
		if (c->control && !strcmp(a->socket, c->control))
			return err_set(error, EEXIST,
				       "--attach socket=%s is also the control socket", a->socket);
		for (unsigned k = 0; k < i; k++) {
			const struct attach_config *b = c->attachments->pdata[k];

			if (!strcmp(a->socket, b->socket))
				return err_set(error, EEXIST, "--attach socket=%s is given twice",
					       a->socket);
		}
	}
	return true;
}

bool config_check_disks(const struct daemon_config *c, GError **error)
{
	for (unsigned i = 0; i < c->devices->len; i++) {
		if (config_is_controller(c->devices->pdata[i]))
			return true;
	}
	for (unsigned i = 0; i < c->disks->len; i++) {
		const struct disk_config *disk = c->disks->pdata[i];

		if (config_is_target(c, disk->id) || config_blk_of_disk(c, disk->id) ||
		    config_nbd_of_disk(c, disk->id))
			continue;
		return err_set(error, EINVAL,
			       "disk '%s' hangs on nothing; give --attach vhost-user,socket=PATH, "
			       "--attach vhost-user-blk,socket=PATH,disk=%s, "
			       "--attach nbd,socket=PATH, or --device ahci (or ide)",
			       disk->id, disk->id);
	}
	return true;
}
