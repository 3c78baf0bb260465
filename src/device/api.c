/* What a device may call: the table, messages, properties, declarations, interrupts. */
#include "device/device_impl.h"

#include <errno.h>
#include <string.h>

static int api_error(struct ob_dev *dev, int res, const char *text)
{
	struct device *d = device_of(dev);

	if (!d->listening) {
		log_line(LOG_ERROR, d->name, "%s", text);
		return res;
	}
	g_free(d->why);
	d->why = g_strdup(text);
	return res;
}

static void api_log(struct ob_dev *dev, enum ob_log_level level, const char *text)
{
	static const enum log_level levels[] = {
		[OB_LOG_ERROR] = LOG_ERROR,
		[OB_LOG_WARN] = LOG_WARN,
		[OB_LOG_INFO] = LOG_INFO,
		[OB_LOG_DEBUG] = LOG_DEBUG,
	};
	struct device *d = device_of(dev);

	if ((unsigned)level < G_N_ELEMENTS(levels)) {
		log_line(levels[level], d->name, "%s", text);
		return;
	}
	pthread_mutex_lock(&d->lock);
	log_limited(&d->guest_log, LOG_WARN, d->name, "%s", text);
	pthread_mutex_unlock(&d->lock);
}

static uint64_t api_now_ns(struct ob_dev *dev)
{
	(void)dev;
	return loop_now_ns();
}

static uint64_t api_prop_u64(struct ob_dev *dev, const char *name)
{
	struct device *d = device_of(dev);
	int i = props_find(d, name);

	return i < 0 ? 0 : d->values[i].number;
}

static const char *api_prop_text(struct ob_dev *dev, const char *name)
{
	struct device *d = device_of(dev);
	int i = props_find(d, name);

	return i < 0 ? NULL : d->values[i].text;
}

/* Keeps the first refusal: it makes open() fail. The errno for the device. */
static int refuse(struct device *d, GError *e)
{
	int res = -e->code;

	if (d->listening && !d->refused)
		d->refused = e;
	else
		g_error_free(e);
	return res;
}

int api_set_identity(struct ob_dev *dev, const struct ob_identity *id)
{
	struct pci_identity copy = {
		.vendor = id->vendor,
		.device = id->device,
		.subsystem_vendor = id->subsystem_vendor,
		.subsystem = id->subsystem,
		.class_code = id->class_code,
		.revision = id->revision,
		.intx_pin = id->intx_pin,
	};
	struct device *d = device_of(dev);
	GError *e = NULL;

	return pci_function_set_identity(d->f, &copy, &e) ? 0 : refuse(d, e);
}

int api_add_bar(struct ob_dev *dev, const struct ob_bar *in)
{
	struct device *d = device_of(dev);
	struct pci_area areas[PCI_AREAS_MAX];
	struct ob_bar bar = {0};
	GError *e = NULL;

	if (in->size < offsetof(struct ob_bar, write) + sizeof(in->write)) {
		err_set(&e, EINVAL, "struct ob_bar says it has %u bytes", in->size);
		return refuse(d, e);
	}
	memcpy(&bar, in, MIN(in->size, sizeof(bar)));
	for (unsigned i = 0; i < MIN(bar.n_areas, PCI_AREAS_MAX); i++)
		areas[i] = (struct pci_area){bar.areas[i].off, bar.areas[i].len};
	if (!pci_function_add_bar(d->f, bar.index, bar.flags, bar.len, areas, bar.n_areas, &e))
		return refuse(d, e);
	d->bars[bar.index] = (struct device_bar){bar.read, bar.write};
	return 0;
}

void *api_bar_memory(struct ob_dev *dev, unsigned index)
{
	return pci_function_memory(device_of(dev)->f, index);
}

int api_add_msi(struct ob_dev *dev, unsigned vectors, unsigned flags)
{
	struct device *d = device_of(dev);
	GError *e = NULL;

	return pci_function_add_msi(d->f, vectors, flags & OB_MSI_MASKABLE, &e) ? 0 : refuse(d, e);
}

int api_add_msix(struct ob_dev *dev, unsigned vectors, unsigned table_bar, uint64_t table_off,
		 unsigned pba_bar, uint64_t pba_off)
{
	struct device *d = device_of(dev);
	GError *e = NULL;

	return pci_function_add_msix(d->f, vectors, table_bar, table_off, pba_bar, pba_off, &e)
		       ? 0
		       : refuse(d, e);
}

int api_add_pcie(struct ob_dev *dev)
{
	struct device *d = device_of(dev);
	GError *e = NULL;

	return pci_function_add_express(d->f, &e) ? 0 : refuse(d, e);
}

int api_add_pm(struct ob_dev *dev)
{
	struct device *d = device_of(dev);
	GError *e = NULL;

	return pci_function_add_pm(d->f, &e) ? 0 : refuse(d, e);
}

int api_add_vendor(struct ob_dev *dev, const void *body, const void *writable, size_t len,
		   device_written_fn written)
{
	struct device *d = device_of(dev);
	GError *e = NULL;
	unsigned cap;

	if (!pci_function_add_vendor(d->f, body, writable, len, &cap, &e))
		return refuse(d, e);
	d->written = g_renew(device_written_fn, d->written, cap + 1);
	d->written[cap] = written;
	d->n_vendors = cap + 1;
	return (int)cap;
}

static int api_vendor_read(struct ob_dev *dev, int cap, size_t off, void *buf, size_t len)
{
	return pci_function_vendor_read(device_of(dev)->f, (unsigned)cap, off, buf, len);
}

static int api_vendor_write(struct ob_dev *dev, int cap, size_t off, const void *buf, size_t len)
{
	return pci_function_vendor_write(device_of(dev)->f, (unsigned)cap, off, buf, len);
}

static int api_add_config(struct ob_dev *dev, unsigned off, const void *initial,
			  const void *writable, size_t len)
{
	struct device *d = device_of(dev);
	GError *e = NULL;

	return pci_function_add_registers(d->f, off, initial, writable, len, &e) ? 0 : refuse(d, e);
}

struct ob_doorbell *api_add_doorbell(struct ob_dev *dev, unsigned bar, uint64_t off, unsigned width,
				     unsigned flags, uint64_t match,
				     void (*ring)(struct ob_dev *dev, void *arg), void *arg)
{
	struct pci_doorbell_info info = {
		.bar = bar,
		.off = off,
		.width = width,
		.has_match = flags & OB_DOORBELL_MATCH,
		.match = match,
	};
	struct device *d = device_of(dev);
	struct ob_doorbell *bell;
	GError *e = NULL;
	unsigned index;

	if (!ring)
		err_set(&e, EINVAL, "a doorbell without ring()");
	if (!ring || !pci_function_add_doorbell(d->f, &info, &index, &e)) {
		refuse(d, e);
		return NULL;
	}
	bell = g_new0(struct ob_doorbell, 1);
	bell->ring = ring;
	bell->arg = arg;
	d->doorbells = g_renew(struct ob_doorbell *, d->doorbells, index + 1);
	d->doorbells[index] = bell;
	d->n_doorbells = index + 1;
	return bell;
}

static int api_is_attached(struct ob_dev *dev)
{
	return pci_function_is_attached(device_of(dev)->f);
}

static int api_can_dma(struct ob_dev *dev)
{
	return pci_function_can_dma(device_of(dev)->f);
}

static void api_intx(struct ob_dev *dev, int level)
{
	pci_function_set_intx(device_of(dev)->f, level);
}

static enum ob_msi_state api_msi_mode(struct ob_dev *dev)
{
	const struct pci_function *f = device_of(dev)->f;

	if (pci_function_irq_enabled(f, PCI_MSIX))
		return OB_MSIX_ON;
	return pci_function_irq_enabled(f, PCI_MSI) ? OB_MSI_ON : OB_MSI_OFF;
}

static int api_msi_send(struct ob_dev *dev, unsigned vector)
{
	return pci_function_send_msi(device_of(dev)->f, vector);
}

/* To a device an answer that comes later is a struct ob_call: the same thing. */
static struct ob_call *api_defer(struct ob_dev *dev)
{
	return (struct ob_call *)pci_function_defer(device_of(dev)->f);
}

static void api_finish(struct ob_call *call, uint64_t value)
{
	pci_op_done((struct pci_op *)call, value);
}

const struct ob_api device_api = {
	.size = sizeof(struct ob_api),
	.abi = OB_ABI,
	.error = api_error,
	.log = api_log,
	.now_ns = api_now_ns,
	.prop_u64 = api_prop_u64,
	.prop_text = api_prop_text,
	.set_identity = api_set_identity,
	.add_bar = api_add_bar,
	.bar_memory = api_bar_memory,
	.add_msi = api_add_msi,
	.add_msix = api_add_msix,
	.add_pcie = api_add_pcie,
	.add_pm = api_add_pm,
	.add_vendor = api_add_vendor,
	.vendor_read = api_vendor_read,
	.vendor_write = api_vendor_write,
	.is_attached = api_is_attached,
	.can_dma = api_can_dma,
	.intx = api_intx,
	.msi_mode = api_msi_mode,
	.msi_send = api_msi_send,
	.dma_sync = api_dma_sync,
	.dma_start = api_dma_start,
	.dma_map = api_dma_map,
	.dma_unmap = api_dma_unmap,
	.dma_is_revoked = api_dma_is_revoked,
	.timer_new = api_timer_new,
	.timer_set = api_timer_set,
	.timer_cancel = api_timer_cancel,
	.timer_left_ns = api_timer_left_ns,
	.timer_free = api_timer_free,
	.post = api_post,
	.add_doorbell = api_add_doorbell,
	.defer = api_defer,
	.finish = api_finish,
	.put = api_put,
	.get = api_get,
	.get_len = api_get_len,
	.dma_map_sg = api_dma_map_sg,
	.add_config = api_add_config,
};
