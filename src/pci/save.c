/*
 * The state of a function as bytes: magic, then fields (state.h): configuration space, interrupts,
 * shared memory, and the device's own part as one field. What comes back is checked before anything
 * changes; registers are loaded through their write masks, so a state can claim nothing a guest
 * could not have done, but for the bodies of vendor capabilities.
 */
#include "pci/function_impl.h"
#include "pci/state.h"
#include "base/bytes.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static const char MAGIC[8] = "obstate1";

static void area_name(char *name, size_t room, unsigned bar, unsigned area)
{
	g_snprintf(name, room, "bar%u.%u", bar, area);
}

static uint64_t memory_len(const struct pci_function *f)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < PCI_BARS; i++) {
		for (unsigned a = 0; a < f->regions[i].bar.n_areas; a++)
			sum += f->regions[i].bar.areas[a].len;
	}
	return sum;
}

static void save_memory(const struct pci_function *f, GByteArray *out)
{
	char name[32];

	for (unsigned i = 0; i < PCI_BARS; i++) {
		const struct pci_region *r = &f->regions[i];

		for (unsigned a = 0; a < r->bar.n_areas; a++) {
			area_name(name, sizeof(name), i, a);
			state_put(out, name, r->memory + r->bar.areas[a].off, r->bar.areas[a].len);
		}
	}
}

GByteArray *pci_function_save(struct pci_function *f, GError **error)
{
	GByteArray *out, *own;
	uint8_t irq[8] = {f->intx_level};

	if (!f->stopped) {
		err_set(error, EBUSY, "%s must be stopped before it is saved", f->name);
		return NULL;
	}
	if (memory_len(f) > PCI_STATE_MAX / 2) {
		err_set(error, EFBIG, "%s has %" PRIu64 " bytes of shared memory, %d can be saved",
			f->name, memory_len(f), PCI_STATE_MAX / 2);
		return NULL;
	}
	own = g_byte_array_new();
	if (f->ops->save && !f->ops->save(f, own, error)) {
		g_byte_array_unref(own);
		return NULL;
	}
	out = g_byte_array_new();
	g_byte_array_append(out, (const uint8_t *)MAGIC, sizeof(MAGIC));
	state_put(out, "config", f->config.bytes, f->config.len);
	put_le32(irq + 4, f->msi_pending);
	state_put(out, "irq", irq, sizeof(irq));
	if (f->msix.n) {
		state_put(out, "msix.table", f->msix.table, (size_t)f->msix.n * MSIX_ENTRY_LEN);
		state_put(out, "msix.pba", f->msix.pba, (f->msix.n + 63) / 64 * 8);
	}
	save_memory(f, out);
	state_put(out, "device", own->data, own->len);
	g_byte_array_unref(own);
	return out;
}

static const uint8_t *need(const struct state_reader *r, const char *name, size_t len,
			   GError **error)
{
	size_t has = 0;
	const uint8_t *p = state_find(r, name, &has);

	if (!p)
		err_set(error, EINVAL, "saved state: there is no field %s", name);
	else if (has != len) {
		err_set(error, EINVAL, "saved state: field %s has %zu bytes, must have %zu", name,
			has, len);
	} else {
		return p;
	}
	return NULL;
}

static bool check_memory(const struct pci_function *f, const struct state_reader *r, GError **error)
{
	char name[32];

	for (unsigned i = 0; i < PCI_BARS; i++) {
		for (unsigned a = 0; a < f->regions[i].bar.n_areas; a++) {
			area_name(name, sizeof(name), i, a);
			if (!need(r, name, f->regions[i].bar.areas[a].len, error))
				return false;
		}
	}
	return true;
}

static void load_memory(struct pci_function *f, const struct state_reader *r)
{
	char name[32];
	size_t len;

	for (unsigned i = 0; i < PCI_BARS; i++) {
		struct pci_region *b = &f->regions[i];

		for (unsigned a = 0; a < b->bar.n_areas; a++) {
			const uint8_t *p;

			area_name(name, sizeof(name), i, a);
			p = state_find(r, name, &len);
			if (p) /* check_memory() found it, with this length */
				memcpy(b->memory + b->bar.areas[a].off, p, b->bar.areas[a].len);
		}
	}
}

static void load_msix(struct pci_function *f, const uint8_t *table, const uint8_t *pba)
{
	memcpy(f->msix.table, table, (size_t)f->msix.n * MSIX_ENTRY_LEN);
	memcpy(f->msix.pba, pba, (f->msix.n + 63) / 64 * 8);
	for (unsigned v = 0; v < f->msix.n; v++) {
		uint8_t *p = f->msix.table + (size_t)v * MSIX_ENTRY_LEN + MSIX_ENTRY_CONTROL;

		put_le32(p, get_le32(p) & 1);
	}
}

static void load_config(struct pci_function *f, const uint8_t *config)
{
	uint8_t *pm = f->config.bytes + f->pm_at + PM_CONTROL;

	pci_config_load(&f->config, config);
	if (f->pm_at && (*pm & PM_STATE) != PM_D3)
		*pm = (uint8_t)(*pm & ~PM_STATE);
	for (unsigned i = 0; i < f->n_vendors; i++)
		memcpy(f->config.bytes + f->vendors[i].at, config + f->vendors[i].at,
		       f->vendors[i].len);
}

static bool load(struct pci_function *f, const void *data, size_t len, GError **error)
{
	const uint8_t *config, *irq, *table = NULL, *pba = NULL, *own;
	struct state_reader r;
	size_t own_len;

	if (len > PCI_STATE_MAX || len < sizeof(MAGIC) || memcmp(data, MAGIC, sizeof(MAGIC)) != 0)
		return err_set(error, EINVAL, "this is no saved state of a device");
	if (!state_open(&r, (const uint8_t *)data + sizeof(MAGIC), len - sizeof(MAGIC), error))
		return false;
	config = need(&r, "config", f->config.len, error);
	if (!config)
		return false;
	irq = need(&r, "irq", 8, error);
	if (!irq || !check_memory(f, &r, error))
		return false;
	if (f->msix.n) {
		table = need(&r, "msix.table", (size_t)f->msix.n * MSIX_ENTRY_LEN, error);
		pba = table ? need(&r, "msix.pba", (f->msix.n + 63) / 64 * 8, error) : NULL;
		if (!pba)
			return false;
	}
	if (memcmp(config, f->config.initial, 4) != 0) {
		return err_set(error, EINVAL,
			       "saved state: it is of device %04x:%04x, this one is %04x:%04x",
			       get_le16(config), get_le16(config + 2), f->id.vendor, f->id.device);
	}
	own = state_find(&r, "device", &own_len);
	if (!own)
		return err_set(error, EINVAL, "saved state: there is no field device");
	load_config(f, config);
	if (table && pba)
		load_msix(f, table, pba);
	load_memory(f, &r);
	f->intx_level = irq[0] & 1;
	f->msi_pending = get_le32(irq + 4);
	if (f->msi_vectors < PCI_MSI_MAX)
		f->msi_pending &= (1u << f->msi_vectors) - 1;
	return !f->ops->restore || f->ops->restore(f, own, own_len, error);
}

bool pci_function_restore(struct pci_function *f, const void *data, size_t len, GError **error)
{
	if (!f->stopped)
		return err_set(error, EBUSY, "%s must be stopped before it is restored", f->name);
	pci_transfers_cancel(f, -ECANCELED);
	pci_mappings_revoke(f);
	pci_registers_reset(f);
	if (!load(f, data, len, error)) {
		pci_function_reset(f, PCI_RESET_BUS, NULL);
		return false;
	}
	pci_intx_update(f);
	if (f->host && f->host->ops->decode_changed)
		f->host->ops->decode_changed(f->host);
	pci_tell_changed(f);
	return true;
}
