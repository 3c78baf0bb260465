/* The commands a client may send, each with what is checked before its handler sees it. */
#include "attach/vfio_user/impl.h"

/* VERSION is handled by the connection itself: the row is for its name and sizes. */
static int version_row(struct vfu_conn *c, struct vfu_msg *m, GError **error)
{
	(void)c;
	(void)m;
	return vfu_refuse(error, EINVAL, "out of place");
}

const struct vfu_row vfu_rows[VFU_COMMANDS] = {
	/* clang-format off */
	[VFU_VERSION]	    = { "VERSION",	   version_row,	       VER_LEN, VFU_VERSION_MAX, 0, false },
	[VFU_DMA_MAP]	    = { "DMA_MAP",	   vfu_dma_map,	       MAP_LEN, MAP_LEN, 1, false },
	[VFU_DMA_UNMAP]	    = { "DMA_UNMAP",	   vfu_dma_unmap,      UNMAP_LEN, UNMAP_LEN, 0, false },
	[VFU_GET_INFO]	    = { "DEVICE_GET_INFO", vfu_get_info,       INFO_LEN, INFO_LEN, 0, false },
	[VFU_GET_REGION_INFO] = { "DEVICE_GET_REGION_INFO", vfu_get_region_info, RINFO_LEN, RINFO_LEN, 0,
				  false },
	[VFU_GET_REGION_IO_FDS] = { "DEVICE_GET_REGION_IO_FDS", vfu_get_region_io_fds, IOFDS_LEN,
				    IOFDS_LEN, 0, false },
	[VFU_GET_IRQ_INFO]  = { "DEVICE_GET_IRQ_INFO", vfu_get_irq_info, IRQINFO_LEN, IRQINFO_LEN, 0, false },
	[VFU_SET_IRQS]	    = { "DEVICE_SET_IRQS", vfu_set_irqs,       IRQSET_LEN, IRQSET_LEN + 2048,
				VFU_FDS_MAX, false },
	[VFU_REGION_READ]   = { "REGION_READ",	   vfu_region_read,    ACCESS_LEN, ACCESS_LEN, 0, true },
	[VFU_REGION_WRITE]  = { "REGION_WRITE",	   vfu_region_write,   ACCESS_LEN, ACCESS_LEN + VFU_XFER_MAX,
				0, true },
	[VFU_DMA_READ]	    = { .name = "DMA_READ" },
	[VFU_DMA_WRITE]	    = { .name = "DMA_WRITE" },
	[VFU_RESET]	    = { "DEVICE_RESET",	   vfu_reset,	       0, 0, 0, true },
	[VFU_DIRTY_PAGES]   = { .name = "DIRTY_PAGES" },
	[VFU_REGION_WRITE_MULTI] = { "REGION_WRITE_MULTI", vfu_region_write_multi, MULTI_LEN,
				     MULTI_LEN + VFU_MULTI_MAX * MULTI_ENTRY_LEN, 0, true },
	[VFU_FEATURE]	    = { "DEVICE_FEATURE",  vfu_feature,	       FEATURE_LEN, FEATURE_LEN + 4096, 0,
				true },
	[VFU_MIG_DATA_READ] = { "MIG_DATA_READ",   vfu_mig_data_read,  MIGDATA_LEN, MIGDATA_LEN, 0, true },
	[VFU_MIG_DATA_WRITE] = { "MIG_DATA_WRITE", vfu_mig_data_write, MIGDATA_LEN, MIGDATA_LEN + VFU_XFER_MAX,
				 0, true },
	/* clang-format on */
};
