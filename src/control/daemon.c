/*
 * The running daemon. Start: drives with their discs, disks, devices, then the attachments, so that
 * no guest sees a drive before its disc is in it. End: the other way round.
 *
 * Beside the first attachment's socket lie two small files for each drive: SOCKET.drive-ID.state
 * (the drive's own: tray, locks, mode pages) and SOCKET.drive-ID.media (which disc, see media.h).
 * They serve a daemon that was killed and started again under a guest that goes on. An orderly end
 * without any guest removes them.
 */
#include "control/daemon_impl.h"

#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/log.h"
#include "control/media.h"
#include "control/server.h"

unsigned daemon_drives(const struct outboard_daemon *d)
{
	return d->drives->len;
}

struct daemon_drive *daemon_drive(struct outboard_daemon *d, unsigned i)
{
	return &g_array_index(d->drives, struct daemon_drive, i);
}

unsigned daemon_devices(const struct outboard_daemon *d)
{
	return d->devices->len;
}

struct daemon_device *daemon_device(struct outboard_daemon *d, unsigned i)
{
	return d->devices->pdata[i];
}

struct daemon_device *daemon_find_device(struct outboard_daemon *d, const char *id)
{
	for (unsigned i = 0; i < d->devices->len; i++) {
		if (!strcmp(daemon_device(d, i)->config->id, id))
			return daemon_device(d, i);
	}
	return NULL;
}

unsigned daemon_attachments(const struct outboard_daemon *d)
{
	return d->attachments->len;
}

struct daemon_attachment *daemon_attachment(struct outboard_daemon *d, unsigned i)
{
	return &g_array_index(d->attachments, struct daemon_attachment, i);
}

struct co_mutex *daemon_changing(struct outboard_daemon *d)
{
	return &d->changing;
}

struct loop *daemon_loop(const struct outboard_daemon *d)
{
	return d->loop;
}

/*
 * Notes what is in the drive now. That it cannot be written costs only a restart's memory: logged,
 * not fatal.
 */
static void note_media(struct daemon_drive *dd)
{
	struct media_record record = {.configured = dd->config->disc, .loaded = dd->disc_path};
	GError *error = NULL;

	if (!dd->media_path || media_write(dd->media_path, &record, &error))
		return;
	log_line(LOG_WARN, "control", "%s: a restarted daemon will not know its disc: %s",
		 dd->config->id, error->message);
	g_error_free(error);
}

static co_fn bool insert(struct daemon_drive *dd, const char *path, bool quiet, GError **error)
{
	g_autofree char *full = g_canonicalize_filename(path, NULL);
	struct disc *disc = disc_open(full, dd->config->readonly ? 0 : DISC_OPEN_RDWR,
				      dd->config->rom_profile, error);

	if (!disc)
		return err_prefix(error, "drive %s", dd->config->id);
	if (!drive_insert(dd->drive, disc, quiet, error))
		return false;
	g_free(dd->disc_path);
	dd->disc_path = g_steal_pointer(&full);
	return true;
}

co_fn bool daemon_insert(struct outboard_daemon *d, struct daemon_drive *dd, const char *path,
			 GError **error)
{
	(void)d;
	if (dd->disc_path)
		return err_set(error, EBUSY, "there is a disc in drive %s (%s); eject it first",
			       dd->config->id, dd->disc_path);
	if (!insert(dd, path, false, error))
		return false;
	note_media(dd);
	return true;
}

co_fn bool daemon_eject(struct outboard_daemon *d, struct daemon_drive *dd, bool force,
			GError **error)
{
	(void)d;
	if (!drive_eject(dd->drive, force, error))
		return false;
	g_clear_pointer(&dd->disc_path, g_free);
	note_media(dd);
	return true;
}

/*
 * What the drive is to hold at the start: what it held when the daemon was killed, if it was asked
 * for the same then.
 */
static co_fn bool load_first_disc(struct daemon_drive *dd, GError **error)
{
	struct media_record before = {NULL};
	bool resumed = dd->media_path && media_read(dd->media_path, &before) &&
		       !g_strcmp0(before.configured, dd->config->disc);
	const char *path = resumed ? before.loaded : dd->config->disc;
	bool ok;

	if (resumed && g_strcmp0(before.loaded, dd->config->disc))
		log_line(LOG_INFO, "control", "drive %s: %s, as before the restart", dd->config->id,
			 path ? path : "no disc");
	ok = path ? insert(dd, path, resumed, error) : true;
	media_record_clear(&before);
	return ok;
}

static char *beside_socket(const struct outboard_daemon *d, const char *id, const char *what)
{
	const struct attach_config *first = NULL;

	for (unsigned i = 0; !first && i < d->config->attachments->len; i++) {
		const struct attach_config *a = d->config->attachments->pdata[i];

		first = a->nbd && a->nbd->host ? NULL : a;
	}
	return first ? g_strdup_printf("%s.drive-%s.%s", first->socket, id, what) : NULL;
}

static char *state_path(const struct outboard_daemon *d, const struct optical_config *c)
{
	return c->state ? g_strdup(c->state) : beside_socket(d, c->id, "state");
}

static co_fn bool start_drive(struct outboard_daemon *d, const struct optical_config *c,
			      GError **error)
{
	g_autofree char *state = state_path(d, c);
	struct drive_options o = {
		.id = c->id,
		.vendor = c->vendor,
		.product = c->product,
		.revision = c->revision,
		.serial = c->serial,
		.state_path = state,
		.strict = c->strict,
		.trace = log_enabled(LOG_DEBUG),
	};
	struct daemon_drive dd = {.config = c, .drive = drive_new(d->loop, &o, error)};

	if (!dd.drive)
		return err_prefix(error, "drive %s", c->id);
	dd.media_path = beside_socket(d, c->id, "media");
	g_array_append_val(d->drives, dd);
	return load_first_disc(daemon_drive(d, d->drives->len - 1), error);
}

struct daemon_drive *daemon_find_drive(struct outboard_daemon *d, const char *id)
{
	for (unsigned i = 0; i < d->drives->len; i++) {
		if (!strcmp(daemon_drive(d, i)->config->id, id))
			return daemon_drive(d, i);
	}
	return NULL;
}

static co_fn void stop_device(struct daemon_device *dd)
{
	device_free(dd->device);
	units_release(dd);
	g_free(dd);
}

static co_fn bool start_device(struct outboard_daemon *d, const struct device_config *c,
			       GError **error)
{
	struct daemon_device *dd = g_new0(struct daemon_device, 1);

	dd->config = c;
	units_init(d, dd);
	dd->device = device_new(d->loop, c->opts, &dd->units, error);
	if (!dd->device) {
		stop_device(dd);
		return err_prefix(error, "--device %s", c->driver);
	}
	g_ptr_array_add(d->devices, dd);
	return true;
}

static bool start_vfio_user(struct outboard_daemon *d, struct daemon_attachment *da, GError **error)
{
	struct vfio_user_options o = {.path = da->config->socket};

	da->device = config_attached_device(d->config, da->config);
	o.function = device_function(daemon_find_device(d, da->device->id)->device);
	da->vfio = vfio_user_new(d->loop, &o, error);
	return da->vfio;
}

static co_fn bool start_attachment(struct outboard_daemon *d, const struct attach_config *c,
				   GError **error)
{
	struct daemon_attachment da = {.config = c};
	bool ok = false;

	switch (c->kind) {
	case ATTACH_VHOST_USER: ok = scsi_attach(d, &da, error); break;
	case ATTACH_VFIO_USER: ok = start_vfio_user(d, &da, error); break;
	case ATTACH_VHOST_USER_BLK: ok = disk_attach(d, &da, error); break;
	case ATTACH_NBD: ok = nbd_start(d, &da, error); break;
	}
	if (!ok)
		return err_prefix(error, "--attach %s", attach_kind_name(c->kind));
	g_array_append_val(d->attachments, da);
	return true;
}

/* The attachment's text: commas in a path are doubled. */
static struct attach_config *configure_socket(struct outboard_daemon *d, const char *socket,
					      const char *id, GError **error)
{
	GPtrArray *all = d->config->attachments;
	g_auto(GStrv) parts = g_strsplit(socket, ",", -1);
	g_autofree char *path = g_strjoinv(",,", parts);
	g_autofree char *text = g_strdup_printf("vfio-user,socket=%s,device=%s", path, id);

	return config_add_attachment(d->config, text, error) ? all->pdata[all->len - 1] : NULL;
}

co_fn const char *daemon_add_device(struct outboard_daemon *d, const char *text, const char *socket,
				    GError **error)
{
	GPtrArray *devices = d->config->devices;
	struct device_config *c;
	struct attach_config *a;

	if (!config_add_device(d->config, text, error))
		return NULL;
	/* Its names are taken from here on, also while start_device() yields. */
	c = devices->pdata[devices->len - 1];
	a = configure_socket(d, socket, c->id, error);
	if (a && config_check(d->config, error) && start_device(d, c, error)) {
		struct daemon_device *made = daemon_device(d, d->devices->len - 1);

		if (start_attachment(d, a, error))
			return c->id;
		g_ptr_array_remove(d->devices, made);
		stop_device(made);
	}
	if (a)
		g_ptr_array_remove(d->config->attachments, a);
	g_ptr_array_remove(devices, c);
	return NULL;
}

/* Takes the device's attachment out of the list; zeroed when it has none. */
static struct daemon_attachment take_attachment(struct outboard_daemon *d,
						const struct device_config *c)
{
	struct daemon_attachment da = {NULL};

	for (unsigned i = 0; i < d->attachments->len; i++) {
		if (daemon_attachment(d, i)->device != c)
			continue;
		da = *daemon_attachment(d, i);
		g_array_remove_index(d->attachments, i);
		break;
	}
	return da;
}

co_fn bool daemon_remove_device(struct outboard_daemon *d, const char *id, GError **error)
{
	struct daemon_device *dd = daemon_find_device(d, id);
	const struct device_config *config;
	struct daemon_attachment da;

	if (!dd)
		return err_set(error, ENOENT, "there is no device '%s'", id);
	/* Out of all lists before the first yield: nobody finds it half taken down. */
	config = dd->config;
	da = take_attachment(d, config);
	g_ptr_array_remove(d->devices, dd);
	vfio_user_free(da.vfio);
	stop_device(dd);
	/* Only now may its names be used again. */
	if (da.config)
		g_ptr_array_remove(d->config->attachments, (void *)da.config);
	g_ptr_array_remove(d->config->devices, (void *)config);
	return true;
}

static co_fn bool start_all(struct outboard_daemon *d, GError **error)
{
	for (unsigned i = 0; i < d->config->opticals->len; i++) {
		if (!start_drive(d, d->config->opticals->pdata[i], error))
			return false;
	}
	for (unsigned i = 0; i < d->config->disks->len; i++) {
		if (!disk_start(d, d->config->disks->pdata[i], error))
			return false;
	}
	disks_claim(d);
	if (!nbd_claim_disks(d, error) || !scsi_claim_disks(d, error))
		return false;
	for (unsigned i = 0; i < d->config->devices->len; i++) {
		if (!start_device(d, d->config->devices->pdata[i], error))
			return false;
	}
	for (unsigned i = 0; i < d->config->attachments->len; i++) {
		if (!start_attachment(d, d->config->attachments->pdata[i], error))
			return false;
	}
	if (d->config->control)
		d->server = control_server_new(d, d->config->control, error);
	if (d->config->control && !d->server)
		return false;
	/* Only now is it certain that no other daemon has this socket and so these files. */
	for (unsigned i = 0; i < d->drives->len; i++)
		note_media(daemon_drive(d, i));
	d->started = true;
	return true;
}

co_fn struct outboard_daemon *daemon_start(struct loop *loop, struct daemon_config *config,
					   GError **error)
{
	struct outboard_daemon *d = g_new0(struct outboard_daemon, 1);

	d->loop = loop;
	d->config = config;
	d->drives = g_array_new(FALSE, TRUE, sizeof(struct daemon_drive));
	d->disks = g_ptr_array_new();
	d->devices = g_ptr_array_new();
	d->attachments = g_array_new(FALSE, TRUE, sizeof(struct daemon_attachment));
	if (start_all(d, error))
		return d;
	daemon_free(d);
	return NULL;
}

/* Whether a guest has the drives. */
static bool has_clients(struct outboard_daemon *d)
{
	for (unsigned i = 0; i < d->attachments->len; i++) {
		struct vhost_user *vhost = daemon_attachment(d, i)->vhost;
		struct vhost_user_stats stats = {0};

		if (vhost)
			vhost_user_get_stats(vhost, &stats);
		if (stats.clients)
			return true;
	}
	return false;
}

static co_fn void stop_drive(struct outboard_daemon *d, struct daemon_drive *dd, bool forget)
{
	g_autofree char *state = state_path(d, dd->config);

	drive_free(dd->drive);
	if (forget) {
		if (dd->media_path)
			media_remove(dd->media_path);
		if (state && !dd->config->state)
			unlink(state);
	}
	g_free(dd->media_path);
	g_free(dd->disc_path);
}

static void end_attachment(void *arg)
{
	struct daemon_attachment *da = arg;

	vhost_user_free(da->vhost);
	vfio_user_free(da->vfio);
	nbd_server_free(da->nbd);
	if (da->targets)
		g_ptr_array_free(da->targets, TRUE);
	co_drain_leave(da->ending);
}

/*
 * All at once: each connection may need its time to end in the way that the VMM survives, and
 * whoever stops us waits for the sum.
 */
static co_fn void end_attachments(struct outboard_daemon *d)
{
	struct co_drain all = {0};

	for (unsigned i = 0; i < d->attachments->len; i++) {
		struct daemon_attachment *da = daemon_attachment(d, i);

		da->ending = &all;
		co_drain_enter(&all);
		co_start(d->loop, end_attachment, da);
	}
	co_drain_wait(&all);
}

co_fn void daemon_free(struct outboard_daemon *d)
{
	bool forget;

	if (!d)
		return;
	forget = d->started && !has_clients(d);
	control_server_free(d->server);
	end_attachments(d);
	for (unsigned i = 0; i < d->devices->len; i++)
		stop_device(daemon_device(d, i));
	for (unsigned i = 0; i < d->disks->len; i++) {
		scsi_stop_disk(daemon_disk(d, i), forget);
		disk_free(daemon_disk(d, i));
	}
	for (unsigned i = 0; i < d->drives->len; i++)
		stop_drive(d, daemon_drive(d, i), forget);
	g_array_free(d->attachments, TRUE);
	g_ptr_array_free(d->devices, TRUE);
	g_ptr_array_free(d->disks, TRUE);
	g_array_free(d->drives, TRUE);
	g_free(d);
}

co_fn void daemon_wait(struct outboard_daemon *d)
{
	while (!d->quitting)
		co_queue_wait(&d->waiting);
}

void daemon_quit(struct outboard_daemon *d)
{
	d->quitting = true;
	co_queue_wake_all(&d->waiting);
}

bool daemon_is_quitting(const struct outboard_daemon *d)
{
	return d->quitting;
}
