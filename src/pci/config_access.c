/*
 * The host's way to configuration space, and what a guest's writes there set in motion: interrupts
 * masked and unmasked, BARs that move, power states, a function level reset.
 */
#include "pci/function_impl.h"
#include "base/bytes.h"

#include <errno.h>
#include <string.h>

unsigned pci_function_config_len(const struct pci_function *f)
{
	return f->config.len;
}

int pci_function_config_read(struct pci_function *f, unsigned off, void *buf, size_t len)
{
	if (len > f->config.len || off > f->config.len - len)
		return -EINVAL;
	memcpy(buf, f->config.bytes + off, len);
	return 0;
}

/* What the device and the host want to hear of when it changes. */
struct modes {
	uint16_t command, msi, msix;
	uint8_t power;
	uint8_t bars[CFG_SUBSYSTEM_VENDOR - CFG_BARS];
	uint32_t rom;
};

static void get_modes(const struct pci_function *f, struct modes *m)
{
	const uint8_t *b = f->config.bytes;

	memset(m, 0, sizeof(*m));
	m->command = get_le16(b + CFG_COMMAND);
	m->msi = f->msi_at ? get_le16(b + f->msi_at + MSI_CONTROL) : 0;
	m->msix = f->msix_at ? get_le16(b + f->msix_at + MSIX_CONTROL) : 0;
	m->power = f->pm_at ? b[f->pm_at + PM_CONTROL] & PM_STATE : 0;
	memcpy(m->bars, b + CFG_BARS, sizeof(m->bars));
	m->rom = get_le32(b + CFG_ROM);
}

void pci_tell_changed(struct pci_function *f)
{
	struct pci_frame fr;
	uint64_t ignored;

	if (!f->ops->changed)
		return;
	pci_frame_enter(f, &fr, false);
	f->ops->changed(f);
	pci_frame_leave(f, &fr, NULL, &ignored);
}

static void look_at_changes(struct pci_function *f, const struct modes *old)
{
	const uint16_t decode = COMMAND_IO | COMMAND_MEMORY;
	struct modes now;

	get_modes(f, &now);
	pci_intx_update(f);
	pci_msi_flush(f);
	if (now.rom != old->rom || memcmp(now.bars, old->bars, sizeof(now.bars)) != 0 ||
	    (now.command ^ old->command) & decode) {
		if (f->host && f->host->ops->decode_changed)
			f->host->ops->decode_changed(f->host);
	}
	if ((now.command ^ old->command) & ~decode || now.msi != old->msi ||
	    now.msix != old->msix || now.power != old->power)
		pci_tell_changed(f);
}

void pci_registers_reset(struct pci_function *f)
{
	struct modes old;

	get_modes(f, &old);
	pci_config_reset(&f->config);
	pci_msi_forget(f);
	look_at_changes(f, &old);
}

static void tell_vendors(struct pci_function *f, unsigned off, size_t len)
{
	for (unsigned i = 0; i < f->n_vendors; i++) {
		const struct pci_vendor *v = &f->vendors[i];
		unsigned from = MAX(off, v->at), to = MIN(off + (unsigned)len, v->at + v->len);
		struct pci_frame fr;
		uint64_t ignored;

		if (from >= to || !f->ops->vendor_written)
			continue;
		pci_frame_enter(f, &fr, false);
		f->ops->vendor_written(f, i, from - v->at, to - from);
		pci_frame_leave(f, &fr, NULL, &ignored);
	}
}

static bool asks_for_reset(const struct pci_function *f, unsigned off, const uint8_t *data,
			   size_t len)
{
	unsigned at = f->express_at + EXPRESS_DEVICE_CONTROL + 1;

	return f->express_at && off <= at && at < off + len && data[at - off] & EXPRESS_RESET >> 8;
}

int pci_function_config_write(struct pci_function *f, unsigned off, const void *buf, size_t len)
{
	struct modes old;
	uint8_t *pm;

	if (len > f->config.len || off > f->config.len - len)
		return -EINVAL;
	get_modes(f, &old);
	pci_config_guest_write(&f->config, off, buf, len);
	if (f->pm_at) { /* D1 and D2 do not exist: such a write changes nothing */
		pm = f->config.bytes + f->pm_at + PM_CONTROL;
		if ((*pm & PM_STATE) != 0 && (*pm & PM_STATE) != PM_D3)
			*pm = (uint8_t)((*pm & ~PM_STATE) | old.power);
	}
	look_at_changes(f, &old);
	tell_vendors(f, off, len);
	if (asks_for_reset(f, off, buf, len))
		pci_function_reset(f, PCI_RESET_FUNCTION, NULL);
	return 0;
}

bool pci_function_bar_addr(const struct pci_function *f, unsigned index, uint64_t *addr)
{
	const uint8_t *b = f->config.bytes;
	uint16_t command = get_le16(b + CFG_COMMAND);
	const struct pci_bar *bar;
	uint32_t low;

	if (index >= PCI_REGIONS || !f->regions[index].bar.len)
		return false;
	bar = &f->regions[index].bar;
	if (index == PCI_ROM) {
		low = get_le32(b + CFG_ROM);
		*addr = low & ~(uint32_t)(bar->len - 1);
		return command & COMMAND_MEMORY && low & ROM_ENABLE;
	}
	low = get_le32(b + CFG_BARS + 4 * index);
	*addr = low & ~(bar->flags & PCI_BAR_IO ? 3u : 15u);
	if (bar->flags & PCI_BAR_64)
		*addr |= (uint64_t)get_le32(b + CFG_BARS + 4 * index + 4) << 32;
	return command & (bar->flags & PCI_BAR_IO ? COMMAND_IO : COMMAND_MEMORY);
}

int pci_function_vendor_read(struct pci_function *f, unsigned cap, size_t off, void *buf,
			     size_t len)
{
	if (cap >= f->n_vendors || len > f->vendors[cap].len || off > f->vendors[cap].len - len)
		return -EINVAL;
	memcpy(buf, f->config.bytes + f->vendors[cap].at + off, len);
	return 0;
}

int pci_function_vendor_write(struct pci_function *f, unsigned cap, size_t off, const void *buf,
			      size_t len)
{
	if (cap >= f->n_vendors || len > f->vendors[cap].len || off > f->vendors[cap].len - len)
		return -EINVAL;
	memcpy(f->config.bytes + f->vendors[cap].at + off, buf, len);
	return 0;
}
