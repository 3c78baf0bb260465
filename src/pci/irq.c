/*
 * Interrupts: the INTx line, MSI and MSI-X with their masks and pending bits.
 *
 * The line is what the device wants, gated by the driver (command bit 10, any MSI enabled, D3); the
 * host hears of changes of the result. A message that cannot go now (masked, machine stopped, host
 * not ready) is a pending bit and goes when that ends.
 */
#include "pci/function_impl.h"
#include "base/bytes.h"

#include <errno.h>
#include <string.h>

static bool msi_on(const struct pci_function *f)
{
	return f->msi_at && get_le16(f->config.bytes + f->msi_at + MSI_CONTROL) & MSI_ENABLE;
}

static bool msix_on(const struct pci_function *f)
{
	return f->msix_at && get_le16(f->config.bytes + f->msix_at + MSIX_CONTROL) & MSIX_ENABLE;
}

bool pci_is_awake(const struct pci_function *f)
{
	return !f->pm_at || (f->config.bytes[f->pm_at + PM_CONTROL] & PM_STATE) != PM_D3;
}

bool pci_is_master(const struct pci_function *f)
{
	return get_le16(f->config.bytes + CFG_COMMAND) & COMMAND_MASTER && pci_is_awake(f);
}

bool pci_function_irq_enabled(const struct pci_function *f, enum pci_irq kind)
{
	switch (kind) {
	case PCI_INTX:
		return f->id.intx_pin &&
		       !(get_le16(f->config.bytes + CFG_COMMAND) & COMMAND_INTX_OFF);
	case PCI_MSI: return msi_on(f) && !msix_on(f);
	case PCI_MSIX: return msix_on(f);
	}
	return false;
}

unsigned pci_function_vectors(const struct pci_function *f, enum pci_irq kind)
{
	switch (kind) {
	case PCI_INTX: return f->id.intx_pin ? 1 : 0;
	case PCI_MSI: return f->msi_vectors;
	case PCI_MSIX: return f->msix.n;
	}
	return 0;
}

bool pci_function_intx_level(const struct pci_function *f)
{
	return f->intx_level && pci_function_irq_enabled(f, PCI_INTX) && !msi_on(f) &&
	       !msix_on(f) && pci_is_awake(f);
}

void pci_intx_update(struct pci_function *f)
{
	uint8_t *status = f->config.bytes + CFG_STATUS;
	bool out = pci_function_intx_level(f);

	*status = (uint8_t)((*status & ~STATUS_INTX) |
			    (f->intx_level && f->id.intx_pin ? STATUS_INTX : 0));
	if (!f->host || out == f->intx_out)
		return;
	f->intx_out = out;
	f->host->ops->intx(f->host, out);
}

void pci_function_set_intx(struct pci_function *f, bool level)
{
	if (level == f->intx_level)
		return;
	f->intx_level = level;
	pci_intx_update(f);
}

static bool is_masked(const struct pci_function *f, enum pci_irq kind, unsigned vector)
{
	const uint8_t *cap = f->config.bytes;

	if (f->host->flags & PCI_HOST_OWNS_VECTORS)
		return false;
	if (kind == PCI_MSIX)
		return get_le16(cap + f->msix_at + MSIX_CONTROL) & MSIX_MASK_ALL ||
		       f->msix.table[vector * MSIX_ENTRY_LEN + MSIX_ENTRY_CONTROL] & 1;
	return get_le16(cap + f->msi_at + MSI_CONTROL) & MSI_MASKABLE &&
	       get_le32(cap + f->msi_at + MSI_MASK) >> vector & 1;
}

static void set_pending(struct pci_function *f, enum pci_irq kind, unsigned vector, bool on)
{
	if (kind == PCI_MSIX) {
		uint8_t *b = f->msix.pba + vector / 8;

		*b = (uint8_t)((*b & ~(1 << vector % 8)) | on << vector % 8);
		return;
	}
	f->msi_pending = (f->msi_pending & ~(1u << vector)) | (uint32_t)on << vector;
	if (get_le16(f->config.bytes + f->msi_at + MSI_CONTROL) & MSI_MASKABLE)
		put_le32(f->config.bytes + f->msi_at + MSI_PENDING, f->msi_pending);
}

static bool is_pending(const struct pci_function *f, enum pci_irq kind, unsigned vector)
{
	return kind == PCI_MSIX ? f->msix.pba[vector / 8] >> vector % 8 & 1
				: f->msi_pending >> vector & 1;
}

/* Sends or marks. */
static void send(struct pci_function *f, enum pci_irq kind, unsigned vector)
{
	bool went = f->host && pci_is_master(f) && !f->stopped && !is_masked(f, kind, vector) &&
		    f->host->ops->msi(f->host, kind, vector);

	if (!went || is_pending(f, kind, vector))
		set_pending(f, kind, vector, !went);
}

int pci_function_send_msi(struct pci_function *f, unsigned vector)
{
	enum pci_irq kind = msix_on(f) ? PCI_MSIX : PCI_MSI;

	if (vector >= MAX(f->msi_vectors, f->msix.n))
		return -EINVAL;
	if (!f->host || !(msix_on(f) || msi_on(f)))
		return -ENOTCONN;
	if (!pci_is_master(f))
		return -EACCES;
	if (kind == PCI_MSI) {
		unsigned log = get_le16(f->config.bytes + f->msi_at + MSI_CONTROL) >> 4 & 7;

		vector &= MIN(1u << log, f->msi_vectors) - 1;
	} else if (vector >= f->msix.n) {
		return -EINVAL;
	}
	send(f, kind, vector);
	return 0;
}

void pci_function_msi_ready(struct pci_function *f, enum pci_irq kind, unsigned first,
			    unsigned count)
{
	unsigned n = pci_function_vectors(f, kind);

	if (kind == PCI_INTX || !pci_function_irq_enabled(f, kind) || first >= n)
		return;
	for (unsigned v = first; v < n && v - first < count; v++) {
		if (is_pending(f, kind, v))
			send(f, kind, v);
	}
}

void pci_msi_flush(struct pci_function *f)
{
	pci_function_msi_ready(f, PCI_MSI, 0, PCI_MSI_MAX);
	pci_function_msi_ready(f, PCI_MSIX, 0, PCI_MSIX_MAX);
}

void pci_msi_forget(struct pci_function *f)
{
	f->msi_pending = 0;
	if (!f->msix.n)
		return;
	memset(f->msix.pba, 0, (f->msix.n + 63) / 64 * 8);
	memset(f->msix.table, 0, f->msix.n * MSIX_ENTRY_LEN);
	for (unsigned v = 0; v < f->msix.n; v++)
		f->msix.table[v * MSIX_ENTRY_LEN + MSIX_ENTRY_CONTROL] = 1;
}

bool pci_function_msi_message(const struct pci_function *f, enum pci_irq kind, unsigned vector,
			      uint64_t *addr, uint32_t *data)
{
	const uint8_t *p;

	if (kind == PCI_INTX || vector >= pci_function_vectors(f, kind))
		return false;
	if (kind == PCI_MSIX) {
		p = f->msix.table + (size_t)vector * MSIX_ENTRY_LEN;
		*addr = get_le64(p);
		*data = get_le32(p + 8);
	} else {
		p = f->config.bytes + f->msi_at;
		*addr = get_le64(p + MSI_ADDR);
		*data = get_le16(p + MSI_DATA) | vector;
	}
	return true;
}

/* Where in the table (or, *pba true, the pending bits) an access lands; NULL: elsewhere. */
static uint8_t *find_msix(const struct pci_msix *x, unsigned bar, uint64_t off, unsigned width,
			  bool *pba)
{
	size_t table_len = (size_t)x->n * MSIX_ENTRY_LEN, pba_len = (x->n + 63) / 64 * 8;

	*pba = false;
	if (!x->n)
		return NULL;
	if (bar == x->table_bar && off >= x->table_off && off - x->table_off < table_len &&
	    width <= table_len - (off - x->table_off))
		return x->table + (off - x->table_off);
	*pba = true;
	if (bar == x->pba_bar && off >= x->pba_off && off - x->pba_off < pba_len &&
	    width <= pba_len - (off - x->pba_off))
		return x->pba + (off - x->pba_off);
	return NULL;
}

bool pci_msix_read(const struct pci_function *f, unsigned bar, uint64_t off, unsigned width,
		   uint64_t *value)
{
	uint8_t b[8] = {0}, *p;
	bool pba;

	p = find_msix(&f->msix, bar, off, width, &pba);
	if (!p)
		return false;
	memcpy(b, p, width);
	*value = get_le64(b);
	return true;
}

bool pci_msix_write(struct pci_function *f, unsigned bar, uint64_t off, uint64_t value,
		    unsigned width)
{
	unsigned vector;
	uint8_t b[8], *p;
	bool pba;

	p = find_msix(&f->msix, bar, off, width, &pba);
	if (!p)
		return false;
	if (pba || width < 4) /* read only; smaller writes are undefined (PCI 3.0, 6.8.2) */
		return true;
	put_le64(b, value);
	memcpy(p, b, width);
	vector = (unsigned)((p - f->msix.table) / MSIX_ENTRY_LEN);
	p = f->msix.table + (size_t)vector * MSIX_ENTRY_LEN + MSIX_ENTRY_CONTROL;
	put_le32(p, get_le32(p) & 1);
	pci_function_msi_ready(f, PCI_MSIX, vector, 1);
	return true;
}
