/* What a device declares about itself before anybody can attach: checked here, once. */
#include "pci/function_impl.h"
#include "base/bytes.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, VENDOR_HEAD = 3, VENDOR_BODY_MAX = 64, MSIX_BAR_MIN = 4096 };

static const uint64_t BAR32_MAX = 1ull << 31, BAR64_MAX = 1ull << 40, ROM_MAX = 16u << 20;

static bool is_open(const struct pci_function *f, GError **error)
{
	if (f->sealed)
		err_set(error, EBUSY, "declarations are for open()");
	return !f->sealed;
}

bool pci_function_set_identity(struct pci_function *f, const struct pci_identity *id,
			       GError **error)
{
	if (!is_open(f, error))
		return false;
	if (id->vendor == 0xffff)
		return err_set(error, EINVAL, "vendor 0xffff means that there is no device");
	if (id->class_code > 0xffffff)
		return err_set(error, EINVAL, "class %#x has more than 24 bits", id->class_code);
	if (id->intx_pin > 4) {
		return err_set(error, EINVAL,
			       "interrupt pin %u: 0 is none, 1 to 4 are INTA to INTD",
			       id->intx_pin);
	}
	f->id = *id;
	pci_config_set_identity(&f->config, id);
	return true;
}

static bool check_len(unsigned index, unsigned flags, uint64_t len, GError **error)
{
	uint64_t min = 16, max = flags & PCI_BAR_64 ? BAR64_MAX : BAR32_MAX;

	if (flags & PCI_BAR_IO) {
		min = 4;
		max = 256;
	} else if (index == PCI_ROM) {
		min = 2048;
		max = ROM_MAX;
	}
	if (len < min || len > max || len & (len - 1)) {
		return err_set(error, EINVAL,
			       "BAR %u: length %" PRIu64 ", must be a power of two from %" PRIu64
			       " to %" PRIu64,
			       index, len, min, max);
	}
	return true;
}

static bool check_bar(const struct pci_function *f, unsigned index, unsigned flags, uint64_t len,
		      GError **error)
{
	unsigned known = PCI_BAR_IO | PCI_BAR_64 | PCI_BAR_PREFETCH;

	if (index >= PCI_REGIONS)
		return err_set(error, EINVAL, "BAR %u: there are 0 to 5, and 6 for the ROM", index);
	if (flags & ~known || (flags & PCI_BAR_IO && flags != PCI_BAR_IO) ||
	    (index == PCI_ROM && flags))
		return err_set(error, EINVAL, "BAR %u: flags %#x do not go together", index, flags);
	if (flags & PCI_BAR_64 && index >= PCI_BARS - 1)
		return err_set(error, EINVAL, "BAR %u: a 64-bit BAR takes the next index too",
			       index);
	if (f->regions[index].bar.len || (flags & PCI_BAR_64 && f->regions[index + 1].bar.len) ||
	    (index && index < PCI_BARS && f->regions[index - 1].bar.flags & PCI_BAR_64))
		return err_set(error, EEXIST, "BAR %u: that index is taken", index);
	return check_len(index, flags, len, error);
}

static bool check_areas(unsigned index, unsigned flags, uint64_t len, const struct pci_area *areas,
			unsigned n, GError **error)
{
	uint64_t end = 0;

	if (n > PCI_AREAS_MAX)
		return err_set(error, EINVAL, "BAR %u: %u areas, at most %d", index, n,
			       PCI_AREAS_MAX);
	if (n && (flags & PCI_BAR_IO || index == PCI_ROM))
		return err_set(error, EINVAL, "BAR %u: only memory BARs can have areas", index);
	for (unsigned i = 0; i < n; i++) {
		const struct pci_area *a = &areas[i];

		if (!a->len || a->off % PAGE || a->len % PAGE || a->off < end || a->off > len ||
		    a->len > len - a->off) {
			return err_set(error, EINVAL,
				       "BAR %u: area %u (%#" PRIx64 "+%#" PRIx64
				       ") must be whole pages inside the BAR, in order and apart",
				       index, i, a->off, a->len);
		}
		end = a->off + a->len;
	}
	return true;
}

/* One sealed memory file as long as the BAR (holes cost nothing), mapped whole. */
static bool make_memory(struct pci_region *r, uint64_t len, GError **error)
{
	int fd = memfd_create("outboard-bar", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	r->bar.fd = fd;
	if (fd < 0 || ftruncate(fd, (off_t)len) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return err_set_errno(error, errno, "no shared memory for a BAR");
	r->memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
	if (r->memory == MAP_FAILED) {
		r->memory = NULL;
		return err_set_errno(error, errno, "cannot map %" PRIu64 " bytes for a BAR", len);
	}
	return true;
}

void pci_region_fini(struct pci_region *r)
{
	if (r->memory)
		munmap(r->memory, r->bar.len);
	if (r->bar.fd >= 0)
		close(r->bar.fd);
}

bool pci_function_add_bar(struct pci_function *f, unsigned index, unsigned flags, uint64_t len,
			  const struct pci_area *areas, unsigned n_areas, GError **error)
{
	struct pci_region *r;

	if (!is_open(f, error) || !check_bar(f, index, flags, len, error) ||
	    !check_areas(index, flags, len, areas, n_areas, error))
		return false;
	r = &f->regions[index];
	r->bar.len = len;
	r->bar.flags = flags;
	r->bar.n_areas = n_areas;
	if (n_areas) {
		memcpy(r->bar.areas, areas, n_areas * sizeof(*areas));
		r->special = true;
		if (!make_memory(r, len, error))
			return false;
	}
	pci_config_set_bar(&f->config, index, flags, len);
	return true;
}

void *pci_function_memory(const struct pci_function *f, unsigned bar)
{
	return bar < PCI_REGIONS ? f->regions[bar].memory : NULL;
}

static bool no_room(const char *what, GError **error)
{
	return err_set(error, ENOSPC, "no room for a %s capability in configuration space", what);
}

bool pci_function_add_msi(struct pci_function *f, unsigned vectors, bool maskable, GError **error)
{
	if (!is_open(f, error))
		return false;
	if (f->msi_at)
		return err_set(error, EEXIST, "MSI was declared already");
	if (!vectors || vectors > PCI_MSI_MAX || vectors & (vectors - 1))
		return err_set(error, EINVAL, "MSI: %u vectors, must be 1, 2, 4, 8, 16 or 32",
			       vectors);
	f->msi_at = pci_config_add_msi(&f->config, vectors, maskable);
	f->msi_vectors = vectors;
	return f->msi_at || no_room("MSI", error);
}

bool pci_function_add_msix(struct pci_function *f, unsigned vectors, unsigned table_bar,
			   uint64_t table_off, unsigned pba_bar, uint64_t pba_off, GError **error)
{
	uint64_t table_len = (uint64_t)vectors * MSIX_ENTRY_LEN, pba_len = (vectors + 63) / 64 * 8;

	if (!is_open(f, error))
		return false;
	if (f->msix_at)
		return err_set(error, EEXIST, "MSI-X was declared already");
	if (!vectors || vectors > PCI_MSIX_MAX)
		return err_set(error, EINVAL, "MSI-X: %u vectors, must be 1 to %d", vectors,
			       PCI_MSIX_MAX);
	if (table_bar >= PCI_BARS || pba_bar >= PCI_BARS || table_off % 8 || pba_off % 8 ||
	    table_off > BAR32_MAX - table_len || pba_off > BAR32_MAX - pba_len) {
		return err_set(
			error, EINVAL,
			"MSI-X: table and pending bits must lie in BAR 0 to 5, at multiples of 8");
	}
	if (table_bar == pba_bar && table_off < pba_off + pba_len &&
	    pba_off < table_off + table_len)
		return err_set(error, EINVAL, "MSI-X: table and pending bits overlap");
	f->msix_at = pci_config_add_msix(&f->config, vectors, table_bar, (uint32_t)table_off,
					 pba_bar, (uint32_t)pba_off);
	if (!f->msix_at)
		return no_room("MSI-X", error);
	f->msix = (struct pci_msix){vectors, table_bar, pba_bar, table_off, pba_off, NULL, NULL};
	f->msix.table = g_malloc0(table_len);
	f->msix.pba = g_malloc0(pba_len);
	pci_msi_forget(f);
	return true;
}

bool pci_function_add_express(struct pci_function *f, GError **error)
{
	if (!is_open(f, error))
		return false;
	if (f->express_at)
		return err_set(error, EEXIST, "PCI Express was declared already");
	f->express_at = pci_config_add_express(&f->config);
	return f->express_at || no_room("PCI Express", error);
}

bool pci_function_add_pm(struct pci_function *f, GError **error)
{
	if (!is_open(f, error))
		return false;
	if (f->pm_at)
		return err_set(error, EEXIST, "power management was declared already");
	f->pm_at = pci_config_add_pm(&f->config);
	return f->pm_at || no_room("power management", error);
}

bool pci_function_add_vendor(struct pci_function *f, const void *body, const void *writable,
			     size_t len, unsigned *cap, GError **error)
{
	struct pci_vendor *v;
	unsigned at;

	if (!is_open(f, error))
		return false;
	if (!len || len > VENDOR_BODY_MAX)
		return err_set(error, EINVAL, "vendor capability: %zu bytes, must be 1 to %d", len,
			       VENDOR_BODY_MAX);
	at = f->n_vendors < PCI_VENDORS_MAX
		     ? pci_config_add_cap(&f->config, CAP_VENDOR, VENDOR_HEAD + (unsigned)len)
		     : 0;
	if (!at)
		return no_room("vendor", error);
	f->config.bytes[at + 2] = (uint8_t)(VENDOR_HEAD + len);
	*cap = f->n_vendors++;
	v = &f->vendors[*cap];
	v->at = at + VENDOR_HEAD;
	v->len = (unsigned)len;
	memcpy(f->config.bytes + v->at, body, len);
	if (writable)
		memcpy(f->config.writable + v->at, writable, len);
	return true;
}

bool pci_function_add_registers(struct pci_function *f, unsigned off, const void *initial,
				const void *writable, size_t len, GError **error)
{
	if (!is_open(f, error))
		return false;
	if (off < CFG_FIRST_CAP || off > PCI_CONFIG_LEN || !len || len > PCI_CONFIG_LEN - off) {
		return err_set(error, EINVAL,
			       "registers at %#x+%#zx of configuration space: %#x to %#x are free",
			       off, len, CFG_FIRST_CAP, PCI_CONFIG_LEN - 1);
	}
	if (!pci_config_add_registers(&f->config, off, initial, writable, (unsigned)len)) {
		return err_set(error, EEXIST,
			       "registers at %#x+%#zx of configuration space: something is there",
			       off, len);
	}
	return true;
}

/* A place of MSI-X: made if its BAR is not there, refused if it does not fit. */
static bool seal_msix_part(struct pci_function *f, unsigned bar, uint64_t off, uint64_t len,
			   GError **error)
{
	const struct pci_region *r = &f->regions[bar];

	if (!r->bar.len) {
		uint64_t both = off + len, size = MSIX_BAR_MIN;

		if (f->msix.table_bar == f->msix.pba_bar)
			both = MAX(f->msix.table_off + (uint64_t)f->msix.n * MSIX_ENTRY_LEN,
				   f->msix.pba_off + (f->msix.n + 63) / 64 * 8);
		while (size < both)
			size *= 2;
		if (!pci_function_add_bar(f, bar, 0, size, NULL, 0, error))
			return false;
	}
	if (r->bar.flags & PCI_BAR_IO || off > r->bar.len || len > r->bar.len - off) {
		return err_set(error, EINVAL,
			       "MSI-X: %#" PRIx64 "+%#" PRIx64 " does not fit into BAR %u", off,
			       len, bar);
	}
	for (unsigned i = 0; i < r->bar.n_areas; i++) {
		const struct pci_area *a = &r->bar.areas[i];

		if (off < a->off + a->len && a->off < off + len)
			return err_set(error, EINVAL, "MSI-X: lies in shared memory of BAR %u",
				       bar);
	}
	f->regions[bar].special = true;
	return true;
}

static bool seal_doorbell(struct pci_function *f, const struct pci_doorbell_info *d, GError **error)
{
	const struct pci_region *r = &f->regions[d->bar];
	unsigned width = MAX(d->width, 1);

	if (d->off > r->bar.len || width > r->bar.len - d->off)
		return err_set(error, EINVAL, "doorbell at %#" PRIx64 " is not in BAR %u", d->off,
			       d->bar);
	for (unsigned i = 0; i < r->bar.n_areas; i++) {
		if (d->off >= r->bar.areas[i].off &&
		    d->off - r->bar.areas[i].off < r->bar.areas[i].len) {
			return err_set(error, EINVAL,
				       "doorbell at %#" PRIx64 " lies in shared memory of BAR %u",
				       d->off, d->bar);
		}
	}
	f->regions[d->bar].special = true;
	return true;
}

bool pci_function_seal(struct pci_function *f, GError **error)
{
	const struct pci_msix *x = &f->msix;

	if (!is_open(f, error))
		return false;
	if (x->n && (!seal_msix_part(f, x->table_bar, x->table_off, (uint64_t)x->n * MSIX_ENTRY_LEN,
				     error) ||
		     !seal_msix_part(f, x->pba_bar, x->pba_off, (x->n + 63) / 64 * 8, error)))
		return false;
	for (unsigned i = 0; i < f->n_doorbells; i++) {
		if (!seal_doorbell(f, &f->doorbells[i]->info, error))
			return false;
	}
	pci_config_seal(&f->config);
	f->sealed = true;
	return true;
}

bool pci_function_is_sealed(const struct pci_function *f)
{
	return f->sealed;
}
