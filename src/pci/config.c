/* Configuration space: see config.h. */
#include "pci/config.h"
#include "pci/function.h"

#include <string.h>

void pci_config_init(struct pci_config *c)
{
	c->len = PCI_CONFIG_LEN;
	c->taken = g_new0(bool, PCI_CONFIG_LEN);
	memset(c->taken, true, CFG_FIRST_CAP);
	c->last_cap = 0;
	c->bytes = g_malloc0(c->len);
	c->initial = g_malloc0(c->len);
	c->writable = g_malloc0(c->len);
	c->clears = g_malloc0(c->len);
	put_le16(c->writable + CFG_COMMAND, COMMAND_WRITABLE);
	put_le16(c->clears + CFG_STATUS, STATUS_CLEARED);
	c->writable[CFG_CACHE_LINE] = 0xff;
	c->writable[CFG_LATENCY] = 0xff;
	c->writable[CFG_INTX_LINE] = 0xff;
}

void pci_config_fini(struct pci_config *c)
{
	g_free(c->bytes);
	g_free(c->initial);
	g_free(c->writable);
	g_free(c->clears);
	g_free(c->taken);
}

void pci_config_set_identity(struct pci_config *c, const struct pci_identity *id)
{
	bool same = !id->subsystem_vendor && !id->subsystem;

	put_le16(c->bytes + CFG_VENDOR, id->vendor);
	put_le16(c->bytes + CFG_DEVICE, id->device);
	c->bytes[CFG_REVISION] = id->revision;
	c->bytes[CFG_CLASS] = (uint8_t)id->class_code;
	put_le16(c->bytes + CFG_CLASS + 1, (uint16_t)(id->class_code >> 8));
	put_le16(c->bytes + CFG_SUBSYSTEM_VENDOR, same ? id->vendor : id->subsystem_vendor);
	put_le16(c->bytes + CFG_SUBSYSTEM, same ? id->device : id->subsystem);
	c->bytes[CFG_INTX_PIN] = id->intx_pin;
}

void pci_config_set_bar(struct pci_config *c, unsigned index, unsigned flags, uint64_t len)
{
	unsigned at = index == PCI_ROM ? CFG_ROM : CFG_BARS + 4 * index;
	uint64_t mask = ~(len - 1);

	if (index == PCI_ROM) {
		put_le32(c->writable + at, (uint32_t)mask | ROM_ENABLE);
		return;
	}
	if (flags & PCI_BAR_IO) {
		put_le32(c->writable + at, (uint32_t)mask);
		c->bytes[at] = BAR_TYPE_IO;
		return;
	}
	put_le32(c->writable + at, (uint32_t)mask);
	if (flags & PCI_BAR_64) {
		put_le32(c->writable + at + 4, (uint32_t)(mask >> 32));
		c->bytes[at] |= BAR_TYPE_64;
	}
	if (flags & PCI_BAR_PREFETCH)
		c->bytes[at] |= BAR_TYPE_PREFETCH;
}

static bool is_free(const struct pci_config *c, unsigned at, unsigned len)
{
	return !memchr(c->taken + at, true, len);
}

bool pci_config_add_registers(struct pci_config *c, unsigned off, const uint8_t *initial,
			      const uint8_t *writable, unsigned len)
{
	if (!is_free(c, off, len))
		return false;
	memset(c->taken + off, true, len);
	memcpy(c->bytes + off, initial, len);
	if (writable)
		memcpy(c->writable + off, writable, len);
	return true;
}

unsigned pci_config_add_cap(struct pci_config *c, uint8_t id, unsigned len)
{
	unsigned at = CFG_FIRST_CAP;

	while (at + len <= PCI_CONFIG_LEN && !is_free(c, at, len))
		at += 4;
	if (at + len > PCI_CONFIG_LEN)
		return 0;
	memset(c->taken + at, true, len);
	c->bytes[at] = id;
	c->bytes[c->last_cap ? c->last_cap + 1 : CFG_CAPS] = (uint8_t)at;
	c->last_cap = at;
	put_le16(c->bytes + CFG_STATUS, get_le16(c->bytes + CFG_STATUS) | STATUS_CAPS);
	return at;
}

unsigned pci_config_add_pm(struct pci_config *c)
{
	unsigned at = pci_config_add_cap(c, CAP_PM, PM_LEN);

	if (!at)
		return 0;
	put_le16(c->bytes + at + PM_CAPS, 3); /* version 1.2 */
	put_le16(c->bytes + at + PM_CONTROL, PM_NO_SOFT_RESET);
	put_le16(c->writable + at + PM_CONTROL, PM_STATE);
	return at;
}

unsigned pci_config_add_msi(struct pci_config *c, unsigned vectors, bool maskable)
{
	unsigned at = pci_config_add_cap(c, CAP_MSI, maskable ? MSI_LEN_MASKABLE : MSI_LEN);
	unsigned log = (unsigned)__builtin_ctz(vectors);

	if (!at)
		return 0;
	put_le16(c->bytes + at + MSI_CONTROL,
		 (uint16_t)(MSI_64 | (maskable ? MSI_MASKABLE : 0) | log << 1));
	put_le16(c->writable + at + MSI_CONTROL, MSI_ENABLE | 7 << 4);
	put_le32(c->writable + at + MSI_ADDR, 0xfffffffc);
	put_le32(c->writable + at + MSI_ADDR + 4, 0xffffffff);
	put_le16(c->writable + at + MSI_DATA, 0xffff);
	if (maskable)
		put_le32(c->writable + at + MSI_MASK, (uint32_t)((1ull << vectors) - 1));
	return at;
}

unsigned pci_config_add_msix(struct pci_config *c, unsigned vectors, unsigned table_bar,
			     uint32_t table_off, unsigned pba_bar, uint32_t pba_off)
{
	unsigned at = pci_config_add_cap(c, CAP_MSIX, MSIX_LEN);

	if (!at)
		return 0;
	put_le16(c->bytes + at + MSIX_CONTROL, (uint16_t)(vectors - 1));
	put_le16(c->writable + at + MSIX_CONTROL, MSIX_ENABLE | MSIX_MASK_ALL);
	put_le32(c->bytes + at + MSIX_TABLE, table_off | table_bar);
	put_le32(c->bytes + at + MSIX_PBA, pba_off | pba_bar);
	return at;
}

static void widen(uint8_t **bytes, unsigned from, unsigned to)
{
	*bytes = g_realloc(*bytes, to);
	memset(*bytes + from, 0, to - from);
}

unsigned pci_config_add_express(struct pci_config *c)
{
	unsigned at = pci_config_add_cap(c, CAP_EXPRESS, EXPRESS_LEN);
	const unsigned len = PCI_CONFIG_EXPRESS_LEN;
	uint8_t *b, *w;

	if (!at)
		return 0;
	widen(&c->bytes, c->len, len);
	widen(&c->initial, c->len, len);
	widen(&c->writable, c->len, len);
	widen(&c->clears, c->len, len);
	c->len = len;
	b = c->bytes + at;
	w = c->writable + at;
	put_le16(b + 2, 0x0002);                      /* version 2, endpoint */
	put_le32(b + 4, 1u << 28 | 1u << 15);         /* function reset, role-based errors */
	put_le16(b + EXPRESS_DEVICE_CONTROL, 0x2810); /* reads of 512, relaxed order, no snoop */
	put_le16(w + EXPRESS_DEVICE_CONTROL, 0x79ff); /* bit 15 acts and reads as 0 */
	put_le16(c->clears + at + 10, 0x000f);        /* device status: errors seen */
	put_le32(b + 12, 0x00000011);                 /* link: 2.5 GT/s, one lane */
	put_le16(w + 16, 0x00c3);
	put_le16(b + 18, 0x0011);
	put_le32(b + 44, 0x00000002); /* speeds the link can do: 2.5 GT/s */
	put_le16(b + 48, 0x0001);
	return at;
}

void pci_config_seal(struct pci_config *c)
{
	memcpy(c->initial, c->bytes, c->len);
}

void pci_config_reset(struct pci_config *c)
{
	memcpy(c->bytes, c->initial, c->len);
}

void pci_config_guest_write(struct pci_config *c, unsigned off, const uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		uint8_t w = c->writable[off + i], *b = c->bytes + off + i;

		*b = (uint8_t)((*b & ~w) | (data[i] & w));
		*b &= (uint8_t) ~(data[i] & c->clears[off + i]);
	}
}

void pci_config_load(struct pci_config *c, const uint8_t *data)
{
	for (unsigned i = 0; i < c->len; i++) {
		uint8_t w = c->writable[i] | c->clears[i];

		c->bytes[i] = (uint8_t)((c->bytes[i] & ~w) | (data[i] & w));
	}
}
