/*
 * A device: a class of the SDK on a PCI function.
 *
 * Callers are coroutines; callbacks of the class run on the loop's own stack (a plug-in expects a
 * real one), so opening and closing go there. Freeing takes two visits: the first closes the
 * device, the second finds every task it had posted to the loop run.
 */
#include "device/device_impl.h"
#include "device/remote.h"

#include <errno.h>
#include <string.h>

static uint64_t on_read(struct pci_function *f, unsigned bar, uint64_t off, unsigned width)
{
	struct device *d = pci_function_priv(f);

	return d->bars[bar].read ? d->bars[bar].read(&d->dev, off, width) : UINT64_MAX;
}

static void on_write(struct pci_function *f, unsigned bar, uint64_t off, uint64_t value,
		     unsigned width)
{
	struct device *d = pci_function_priv(f);

	if (d->bars[bar].write)
		d->bars[bar].write(&d->dev, off, value, width);
}

static void on_doorbell(struct pci_function *f, unsigned index)
{
	struct device *d = pci_function_priv(f);

	d->doorbells[index]->ring(&d->dev, d->doorbells[index]->arg);
}

static void on_vendor_written(struct pci_function *f, unsigned cap, unsigned off, unsigned len)
{
	struct device *d = pci_function_priv(f);

	if (d->written[cap])
		d->written[cap](&d->dev, (int)cap, off, len);
}

static void on_reset(struct pci_function *f, enum pci_reset kind)
{
	struct device *d = pci_function_priv(f);

	if (d->cls.reset)
		d->cls.reset(&d->dev, kind == PCI_RESET_BUS ? OB_RESET_BUS : OB_RESET_FUNCTION);
}

static void on_stop(struct pci_function *f)
{
	struct device *d = pci_function_priv(f);

	timers_stop(d);
	if (d->cls.stop)
		d->cls.stop(&d->dev);
}

static void on_start(struct pci_function *f)
{
	struct device *d = pci_function_priv(f);

	timers_start(d);
	if (d->cls.start)
		d->cls.start(&d->dev);
}

static void on_changed(struct pci_function *f)
{
	struct device *d = pci_function_priv(f);

	if (d->cls.changed && d->opened)
		d->cls.changed(&d->dev);
}

static const struct pci_function_ops ops = {
	.read = on_read,
	.write = on_write,
	.doorbell = on_doorbell,
	.vendor_written = on_vendor_written,
	.reset = on_reset,
	.stop = on_stop,
	.start = on_start,
	.changed = on_changed,
	.save = device_save,
	.restore = device_restore,
};

/* What open() and the declarations in it complained of. */
static bool open_failed(struct device *d, int res, GError **error)
{
	if (d->refused) {
		g_propagate_error(error, d->refused);
		d->refused = NULL;
		return true;
	}
	if (res >= 0)
		return false;
	if (d->why)
		err_set(error, -res, "%s", d->why);
	else
		err_set_errno(error, -res, "open() failed");
	return true;
}

static bool open_device(struct device *d, GError **error)
{
	struct pci_identity id = {
		.vendor = d->cls.id.vendor,
		.device = d->cls.id.device,
		.subsystem_vendor = d->cls.id.subsystem_vendor,
		.subsystem = d->cls.id.subsystem,
		.class_code = d->cls.id.class_code,
		.revision = d->cls.id.revision,
		.intx_pin = d->cls.id.intx_pin,
	};
	int res;

	if (!pci_function_set_identity(d->f, &id, error))
		return false;
	d->opened = true;
	d->listening = true;
	res = d->cls.open(&d->dev);
	d->listening = false;
	return !open_failed(d, res, error) && pci_function_seal(d->f, error);
}

static bool init_device(struct device *d, struct opts *opts, GError **error)
{
	const char *id = opts_get(opts, "id");

	d->name = g_strdup(id ? id : d->cls.name);
	d->props = props_copy(&d->cls);
	d->dev = (struct ob_dev){&device_api, g_malloc0(MAX(d->cls.state_size, 1)), d->name};
	d->f = pci_function_new(d->loop, d->name, &ops, d);
	posts_init(d);
	d->values = props_parse(d, opts, error);
	return d->values && open_device(d, error);
}

static void close_device(void *arg)
{
	struct device *d = arg;

	if (d->opened) {
		pci_function_dma_end(d->f); /* done() and revoked() come before close() */
		if (d->cls.close)
			d->cls.close(&d->dev);
	}
	d->opened = false;
	posts_close(d);
	dma_fini(d);
	while (d->timers)
		api_timer_free(d->timers);
}

static void free_device(void *arg)
{
	struct device *d = arg;

	pci_function_free(d->f);
	for (unsigned i = 0; i < d->n_doorbells; i++)
		g_free(d->doorbells[i]);
	g_free(d->doorbells);
	g_free(d->written);
	props_free(d);
	g_clear_error(&d->refused);
	g_free(d->why);
	g_free(d->dev.state);
	g_free(d->name);
	pthread_mutex_destroy(&d->lock);
	plugin_unref(d->plugin);
	g_free(d);
}

co_fn void device_free(struct device *d)
{
	struct remote *remote;

	if (!d)
		return;
	remote = d->remote;
	pci_on_loop_stack(close_device, d);
	pci_on_loop_stack(free_device, d);
	remote_free(remote);
}

struct making {
	struct loop *loop;
	const struct ob_class *cls; /* NULL: as opts say */
	struct remote *remote;      /* whose class that is, or NULL */
	struct opts *opts;
	GError **error;
	struct device *d;
	bool ok;
};

static const struct ob_class *find_class(struct device *d, struct opts *opts, GError **error)
{
	const char *driver = opts_get(opts, "driver");

	if (!driver) {
		err_set(error, EINVAL,
			"option driver is required: the name of a device or the "
			"path of a plug-in");
		return NULL;
	}
	if (!strchr(driver, '/'))
		return class_find(driver, error);
	d->plugin = plugin_load(driver, error);
	return d->plugin ? plugin_class(d->plugin, opts_get(opts, "class"), error) : NULL;
}

static void make(void *arg)
{
	struct making *m = arg;
	struct device *d = g_new0(struct device, 1);
	const struct ob_class *cls = m->cls;

	m->d = d;
	d->loop = m->loop;
	d->remote = m->remote;
	pthread_mutex_init(&d->lock, NULL);
	if (!cls)
		cls = find_class(d, m->opts, m->error);
	if (!cls || !class_copy(&d->cls, cls, m->error))
		return;
	m->ok = init_device(d, m->opts, m->error) || err_prefix(m->error, "device %s", d->name);
}

static co_fn struct device *make_device(struct making *m)
{
	pci_on_loop_stack(make, m);
	if (m->ok)
		return m->d;
	device_free(m->d);
	return NULL;
}

co_fn struct device *device_new_of_class(struct loop *loop, const struct ob_class *cls,
					 struct opts *opts, GError **error)
{
	struct making m = {.loop = loop, .cls = cls, .opts = opts, .error = error};

	return make_device(&m);
}

co_fn struct device *device_new(struct loop *loop, struct opts *opts, GError **error)
{
	struct making m = {.loop = loop, .opts = opts, .error = error};
	const char *driver = opts_get(opts, "driver");

	if (driver && remote_is_driver(driver)) {
		m.remote = remote_new(loop, opts, error);
		if (!m.remote)
			return NULL;
		m.cls = remote_class(m.remote);
	}
	return make_device(&m);
}

struct pci_function *device_function(struct device *d)
{
	return d->f;
}

const char *device_id(const struct device *d)
{
	return d->name;
}

const char *device_class_name(const struct device *d)
{
	return d->cls.name;
}

const struct ob_class *device_class(const struct device *d)
{
	return &d->cls;
}

const struct ob_prop *device_prop(const struct device *d, unsigned i)
{
	return &d->props[i];
}
