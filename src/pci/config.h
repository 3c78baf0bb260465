/*
 * Configuration space: bytes with masks of what a guest may write, and the chain of capabilities.
 * Pure: it knows no function and no host. (PCI Local Bus 3.0 chapter 6; PCI Express Base 7.5.)
 */
#pragma once

#include "base/bytes.h"
#include "base/err.h"

enum { /* offsets */
       CFG_VENDOR = 0x00,
       CFG_DEVICE = 0x02,
       CFG_COMMAND = 0x04,
       CFG_STATUS = 0x06,
       CFG_REVISION = 0x08,
       CFG_CLASS = 0x09,
       CFG_CACHE_LINE = 0x0c,
       CFG_LATENCY = 0x0d,
       CFG_BARS = 0x10,
       CFG_SUBSYSTEM_VENDOR = 0x2c,
       CFG_SUBSYSTEM = 0x2e,
       CFG_ROM = 0x30,
       CFG_CAPS = 0x34,
       CFG_INTX_LINE = 0x3c,
       CFG_INTX_PIN = 0x3d,
       CFG_FIRST_CAP = 0x40,
};

enum {
	COMMAND_IO = 0x0001,
	COMMAND_MEMORY = 0x0002,
	COMMAND_MASTER = 0x0004,
	COMMAND_INTX_OFF = 0x0400,
	COMMAND_WRITABLE = 0x0547, /* and parity and system error enable */
	STATUS_INTX = 0x0008,
	STATUS_CAPS = 0x0010,
	STATUS_CLEARED = 0xf900, /* error bits, cleared by writing ones */
	BAR_TYPE_IO = 1,
	BAR_TYPE_64 = 4,
	BAR_TYPE_PREFETCH = 8,
	ROM_ENABLE = 1,
};

enum { /* capabilities: ids, and offsets and bits inside */
       CAP_PM = 0x01,
       CAP_MSI = 0x05,
       CAP_VENDOR = 0x09,
       CAP_EXPRESS = 0x10,
       CAP_MSIX = 0x11,
       PM_CAPS = 2,
       PM_CONTROL = 4,
       PM_STATE = 0x0003,
       PM_D3 = 3,
       PM_NO_SOFT_RESET = 0x0008,
       PM_LEN = 8,
       MSI_CONTROL = 2,
       MSI_ENABLE = 0x0001,
       MSI_64 = 0x0080,
       MSI_MASKABLE = 0x0100,
       MSI_ADDR = 4,
       MSI_DATA = 12,
       MSI_MASK = 16,
       MSI_PENDING = 20,
       MSI_LEN = 16,
       MSI_LEN_MASKABLE = 24,
       MSIX_CONTROL = 2,
       MSIX_ENABLE = 0x8000,
       MSIX_MASK_ALL = 0x4000,
       MSIX_TABLE = 4,
       MSIX_PBA = 8,
       MSIX_LEN = 12,
       MSIX_ENTRY_LEN = 16,
       MSIX_ENTRY_CONTROL = 12,
       EXPRESS_DEVICE_CONTROL = 8,
       EXPRESS_RESET = 0x8000, /* in device control: initiate function level reset */
       EXPRESS_LEN = 60,
};

struct pci_config {
	unsigned len;
	unsigned last_cap; /* whose next pointer is open; 0: none */
	uint8_t *bytes;
	uint8_t *initial;  /* after power-on */
	uint8_t *writable; /* bits a guest may change */
	uint8_t *clears;   /* bits a guest clears by writing 1 */
	bool *taken;       /* below 256: by the header, capabilities and plain registers */
};

struct pci_identity {
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint32_t class_code;
	uint8_t revision, intx_pin;
};

void pci_config_init(struct pci_config *c);
void pci_config_fini(struct pci_config *c);
void pci_config_set_identity(struct pci_config *c, const struct pci_identity *id);
/* The register of a BAR (index 6: ROM); flags: enum pci_bar_flags. The caller checked it all. */
void pci_config_set_bar(struct pci_config *c, unsigned index, unsigned flags, uint64_t len);
/* Adds a capability of len bytes (header included, zeroed); its offset, or 0: no room. */
unsigned pci_config_add_cap(struct pci_config *c, uint8_t id, unsigned len);
/* Plain registers; the caller checked that they lie behind the header. False: something is there.
 */
bool pci_config_add_registers(struct pci_config *c, unsigned off, const uint8_t *initial,
			      const uint8_t *writable, unsigned len);
unsigned pci_config_add_pm(struct pci_config *c);
unsigned pci_config_add_msi(struct pci_config *c, unsigned vectors, bool maskable);
unsigned pci_config_add_msix(struct pci_config *c, unsigned vectors, unsigned table_bar,
			     uint32_t table_off, unsigned pba_bar, uint32_t pba_off);
unsigned pci_config_add_express(struct pci_config *c); /* config space becomes 4096 bytes */
/* What is there now is the state after power-on. */
void pci_config_seal(struct pci_config *c);
void pci_config_reset(struct pci_config *c);

/* off + len is inside. */
void pci_config_guest_write(struct pci_config *c, unsigned off, const uint8_t *data, size_t len);
/* Bits that guests can write are taken from data (c->len bytes), the others stay. */
void pci_config_load(struct pci_config *c, const uint8_t *data);
