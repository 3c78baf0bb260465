/* What the device is: regions with their memory, interrupts, doorbells (transports.md 1.8, 1.9). */
#include "attach/vfio_user/impl.h"

#include <errno.h>
#include <string.h>

enum { IOEVENTFD_MATCH = 1, IOEVENTFD_PIO = 2 }; /* IOFD_FLAGS, as KVM has them */

int vfu_get_info(struct vfu_conn *c, struct vfu_msg *m, GError **error)
{
	uint8_t out[INFO_LEN];

	(void)error;
	vfu_put(out, INFO_ARGSZ, INFO_LEN);
	vfu_put(out, INFO_FLAGS, VFU_INFO_PCI | VFU_INFO_RESET);
	vfu_put(out, INFO_REGIONS, VFU_REGIONS);
	vfu_put(out, INFO_IRQS, VFU_IRQS);
	vfu_reply_bytes(c, m, out, sizeof(out));
	return 0;
}

static bool is_one_area(const struct pci_bar *bar)
{
	return bar->n_areas == 1 && bar->areas[0].off == 0 && bar->areas[0].len == bar->len;
}

/* The areas behind the region info at out, as the capability "sparse mmap"; the new length. */
static size_t put_areas(uint8_t *out, const struct pci_bar *bar)
{
	uint8_t *cap = out + RINFO_LEN;

	memset(cap, 0, SPARSE_LEN);
	vfu_put(cap, SPARSE_ID, VFU_CAP_SPARSE);
	vfu_put(cap, SPARSE_VERSION, 1);
	vfu_put(cap, SPARSE_NEXT, 0);
	vfu_put(cap, SPARSE_AREAS, bar->n_areas);
	for (unsigned i = 0; i < bar->n_areas; i++) {
		uint8_t *area = cap + SPARSE_LEN + i * AREA_LEN;

		vfu_put(area, AREA_OFF, bar->areas[i].off);
		vfu_put(area, AREA_SIZE, bar->areas[i].len);
	}
	return RINFO_LEN + SPARSE_LEN + bar->n_areas * AREA_LEN;
}

/* Size and flags of a region without shared memory; false: there is no such index. */
static bool get_region(const struct vfu_conn *c, unsigned index, uint64_t *size, uint32_t *flags,
		       const struct pci_bar **bar)
{
	*bar = NULL;
	*size = *flags = 0;
	if (index >= VFU_REGIONS)
		return false;
	if (index == VFU_REGION_CONFIG) {
		*size = pci_function_config_len(c->v->function);
		*flags = VFU_REGION_READABLE | VFU_REGION_WRITABLE;
	} else if (index != VFU_REGION_VGA) {
		*bar = pci_function_bar(c->v->function, index);
		*size = (*bar)->len;
		if (*size)
			*flags = VFU_REGION_READABLE |
				 (index == VFU_REGION_ROM ? 0 : VFU_REGION_WRITABLE);
	}
	return true;
}

int vfu_get_region_info(struct vfu_conn *c, struct vfu_msg *m, GError **error)
{
	uint32_t argsz = vfu_get32(m->payload, RINFO_ARGSZ), flags;
	unsigned index = vfu_get32(m->payload, RINFO_INDEX), n_fds = 0;
	uint8_t out[RINFO_LEN + SPARSE_LEN + PCI_AREAS_MAX * AREA_LEN] = {0};
	size_t len = RINFO_LEN, need = RINFO_LEN;
	const struct pci_bar *bar;
	struct iovec part = {out, 0};
	uint64_t size;

	if (!get_region(c, index, &size, &flags, &bar))
		return vfu_refuse(error, EINVAL, "region %u, must be 0 to %d", index,
				  VFU_REGIONS - 1);
	if (bar && bar->len && bar->n_areas && c->caps.max_msg_fds) {
		flags |= VFU_REGION_MMAP;
		if (!is_one_area(bar)) {
			flags |= VFU_REGION_CAPS;
			vfu_put(out, RINFO_CAP_OFF, RINFO_LEN);
			need = put_areas(out, bar);
		}
		if (argsz >= need) {
			len = need;
			n_fds = 1;
		}
	}
	vfu_put(out, RINFO_ARGSZ, need);
	vfu_put(out, RINFO_FLAGS, flags);
	vfu_put(out, RINFO_INDEX, index);
	vfu_put(out, RINFO_SIZE, size);
	vfu_put(out, RINFO_FILE_OFF, 0);
	part.iov_len = len;
	vfu_reply(c, m->id, m->command, m->flags, &part, 1, n_fds ? &bar->fd : NULL, n_fds);
	return 0;
}

/* Entry and descriptor of a doorbell; false: it is none of that region. */
static bool put_doorbell(const struct vfu_conn *c, unsigned i, unsigned region, unsigned fd_index,
			 uint8_t *out, int *fd)
{
	struct pci_doorbell_info d;
	const struct pci_bar *bar;

	if (!pci_function_doorbell(c->v->function, i, &d) || d.bar != region || d.fd < 0)
		return false;
	bar = pci_function_bar(c->v->function, region);
	memset(out, 0, IOFD_LEN);
	vfu_put(out, IOFD_OFF, d.off);
	vfu_put(out, IOFD_SIZE, d.width);
	vfu_put(out, IOFD_FD, fd_index);
	vfu_put(out, IOFD_TYPE, VFU_IOFD_EVENTFD);
	vfu_put(out, IOFD_FLAGS,
		(d.has_match ? IOEVENTFD_MATCH : 0) |
			(bar->flags & PCI_BAR_IO ? IOEVENTFD_PIO : 0));
	vfu_put(out, IOFD_DATAMATCH, d.match);
	*fd = d.fd;
	return true;
}

int vfu_get_region_io_fds(struct vfu_conn *c, struct vfu_msg *m, GError **error)
{
	uint32_t argsz = vfu_get32(m->payload, IOFDS_ARGSZ);
	uint32_t most = vfu_get32(m->payload, IOFDS_COUNT);
	unsigned index = vfu_get32(m->payload, IOFDS_INDEX);
	unsigned n = pci_function_doorbells(c->v->function), found = 0, given;
	uint8_t out[IOFDS_LEN + WIRE_SEND_FDS * IOFD_LEN];
	int fds[WIRE_SEND_FDS];
	struct iovec part = {out, 0};

	if (vfu_get32(m->payload, IOFDS_FLAGS))
		return vfu_refuse(error, EINVAL, "flags, must be 0");
	if (index >= VFU_REGIONS)
		return vfu_refuse(error, EINVAL, "region %u, must be 0 to %d", index,
				  VFU_REGIONS - 1);
	for (unsigned i = 0; i < n && found < MIN(c->caps.max_msg_fds, WIRE_SEND_FDS); i++)
		found += put_doorbell(c, i, index, found, out + IOFDS_LEN + found * IOFD_LEN,
				      &fds[found]);
	given = argsz >= IOFDS_LEN + found * IOFD_LEN ? MIN(found, most) : 0;
	vfu_put(out, IOFDS_ARGSZ, IOFDS_LEN + found * IOFD_LEN);
	vfu_put(out, IOFDS_FLAGS, 0);
	vfu_put(out, IOFDS_INDEX, index);
	vfu_put(out, IOFDS_COUNT, found);
	part.iov_len = IOFDS_LEN + given * IOFD_LEN;
	vfu_reply(c, m->id, m->command, m->flags, &part, 1, fds, given);
	return 0;
}

int vfu_get_irq_info(struct vfu_conn *c, struct vfu_msg *m, GError **error)
{
	unsigned index = vfu_get32(m->payload, IRQINFO_INDEX);
	uint8_t out[IRQINFO_LEN];
	uint32_t flags = VFU_IRQ_EVENTFD;

	if (index >= VFU_IRQS)
		return vfu_refuse(error, EINVAL, "interrupt index %u, must be 0 to %d", index,
				  VFU_IRQS - 1);
	if (index == VFU_IRQ_INTX)
		flags |= VFU_IRQ_MASKABLE | VFU_IRQ_AUTOMASKED;
	vfu_put(out, IRQINFO_ARGSZ, IRQINFO_LEN);
	vfu_put(out, IRQINFO_FLAGS, flags);
	vfu_put(out, IRQINFO_INDEX, index);
	vfu_put(out, IRQINFO_COUNT, vfu_irq_count(c, index));
	vfu_reply_bytes(c, m, out, sizeof(out));
	return 0;
}
