/*
 * The vfio-user protocol as numbers and field lists (reference/transports.md 1). Host byte order.
 *
 * A field is a byte offset and a width packed in an int. Offsets of a message's fields count from
 * the start of its payload, those of the header from the start of the message.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define VFU_U16(off) ((off) << 4 | 2)
#define VFU_U32(off) ((off) << 4 | 4)
#define VFU_U64(off) ((off) << 4 | 8)

static inline uint64_t vfu_get(const void *base, int field)
{
	const uint8_t *p = (const uint8_t *)base + (field >> 4);
	uint64_t v64;
	uint32_t v32;
	uint16_t v16;

	switch (field & 15) {
	case 2: memcpy(&v16, p, sizeof(v16)); return v16;
	case 4: memcpy(&v32, p, sizeof(v32)); return v32;
	default: memcpy(&v64, p, sizeof(v64)); return v64;
	}
}

static inline uint32_t vfu_get32(const void *base, int field)
{
	return (uint32_t)vfu_get(base, field);
}

static inline void vfu_put(void *base, int field, uint64_t value)
{
	uint8_t *p = (uint8_t *)base + (field >> 4);
	uint32_t v32 = (uint32_t)value;
	uint16_t v16 = (uint16_t)value;

	switch (field & 15) {
	case 2: memcpy(p, &v16, sizeof(v16)); break;
	case 4: memcpy(p, &v32, sizeof(v32)); break;
	default: memcpy(p, &value, sizeof(value)); break;
	}
}

enum vfu_command {
	VFU_VERSION = 1,
	VFU_DMA_MAP,
	VFU_DMA_UNMAP,
	VFU_GET_INFO,
	VFU_GET_REGION_INFO,
	VFU_GET_REGION_IO_FDS,
	VFU_GET_IRQ_INFO,
	VFU_SET_IRQS,
	VFU_REGION_READ,
	VFU_REGION_WRITE,
	VFU_DMA_READ,  /* ours to send */
	VFU_DMA_WRITE, /* ours to send */
	VFU_RESET,
	VFU_DIRTY_PAGES, /* of older specifications */
	VFU_REGION_WRITE_MULTI,
	VFU_FEATURE,
	VFU_MIG_DATA_READ,
	VFU_MIG_DATA_WRITE,
	VFU_COMMANDS
};

enum { /* header */
       VFU_HEADER_LEN = 16,
       HDR_ID = VFU_U16(0),
       HDR_COMMAND = VFU_U16(2),
       HDR_SIZE = VFU_U32(4), /* of the message, header included */
       HDR_FLAGS = VFU_U32(8),
       HDR_ERROR = VFU_U32(12),
};
enum {
	VFU_TYPE_MASK = 15,
	VFU_TYPE_COMMAND = 0,
	VFU_TYPE_REPLY = 1,
	VFU_NO_REPLY = 1 << 4,
	VFU_ERROR = 1 << 5
};

enum { VER_LEN = 4, VER_MAJOR = VFU_U16(0), VER_MINOR = VFU_U16(2) /* then JSON and a NUL */ };

enum {
	MAP_LEN = 32,
	MAP_ARGSZ = VFU_U32(0),
	MAP_FLAGS = VFU_U32(4),
	MAP_FILE_OFF = VFU_U64(8),
	MAP_IOVA = VFU_U64(16),
	MAP_SIZE = VFU_U64(24),
};
/* The last two came later: what a descriptor is for. Neither of them set: to be mapped. */
enum { VFU_MAP_READ = 1, VFU_MAP_WRITE = 2, VFU_MAP_MMAP = 4, VFU_MAP_FILE_IO = 8 };

enum {
	UNMAP_LEN = 24,
	UNMAP_ARGSZ = VFU_U32(0),
	UNMAP_FLAGS = VFU_U32(4),
	UNMAP_IOVA = VFU_U64(8),
	UNMAP_SIZE = VFU_U64(16),
};
enum { VFU_UNMAP_DIRTY = 1, VFU_UNMAP_ALL = 2 };

enum {
	INFO_LEN = 16,
	INFO_ARGSZ = VFU_U32(0),
	INFO_FLAGS = VFU_U32(4),
	INFO_REGIONS = VFU_U32(8),
	INFO_IRQS = VFU_U32(12),
};
enum { VFU_INFO_RESET = 1, VFU_INFO_PCI = 2 };

enum {
	VFU_REGION_BAR0,
	VFU_REGION_ROM = 6,
	VFU_REGION_CONFIG = 7,
	VFU_REGION_VGA = 8,
	VFU_REGIONS = 9,
};
enum {
	RINFO_LEN = 32,
	RINFO_ARGSZ = VFU_U32(0),
	RINFO_FLAGS = VFU_U32(4),
	RINFO_INDEX = VFU_U32(8),
	RINFO_CAP_OFF = VFU_U32(12),
	RINFO_SIZE = VFU_U64(16),
	RINFO_FILE_OFF = VFU_U64(24),
};
enum { VFU_REGION_READABLE = 1, VFU_REGION_WRITABLE = 2, VFU_REGION_MMAP = 4, VFU_REGION_CAPS = 8 };
enum { /* the capability "sparse mmap" behind it, and an area of it */
       VFU_CAP_SPARSE = 1,
       SPARSE_LEN = 16,
       SPARSE_ID = VFU_U16(0),
       SPARSE_VERSION = VFU_U16(2),
       SPARSE_NEXT = VFU_U32(4),
       SPARSE_AREAS = VFU_U32(8),
       AREA_LEN = 16,
       AREA_OFF = VFU_U64(0),
       AREA_SIZE = VFU_U64(8),
};

enum { /* also the head of its reply; then for each descriptor an entry */
       IOFDS_LEN = 16,
       IOFDS_ARGSZ = VFU_U32(0),
       IOFDS_FLAGS = VFU_U32(4),
       IOFDS_INDEX = VFU_U32(8),
       IOFDS_COUNT = VFU_U32(12),
       IOFD_LEN = 40,
       IOFD_OFF = VFU_U64(0),
       IOFD_SIZE = VFU_U64(8),
       IOFD_FD = VFU_U32(16),
       IOFD_TYPE = VFU_U32(20),
       IOFD_FLAGS = VFU_U32(24),
       IOFD_DATAMATCH = VFU_U64(32),
};
enum { VFU_IOFD_EVENTFD, VFU_IOFD_REGIONFD, VFU_IOFD_SHADOW };

enum { VFU_IRQ_INTX, VFU_IRQ_MSI, VFU_IRQ_MSIX, VFU_IRQ_ERR, VFU_IRQ_REQ, VFU_IRQS };
enum {
	IRQINFO_LEN = 16,
	IRQINFO_ARGSZ = VFU_U32(0),
	IRQINFO_FLAGS = VFU_U32(4),
	IRQINFO_INDEX = VFU_U32(8),
	IRQINFO_COUNT = VFU_U32(12),
};
enum { VFU_IRQ_EVENTFD = 1, VFU_IRQ_MASKABLE = 2, VFU_IRQ_AUTOMASKED = 4, VFU_IRQ_NORESIZE = 8 };

enum {
	IRQSET_LEN = 20,
	IRQSET_ARGSZ = VFU_U32(0),
	IRQSET_FLAGS = VFU_U32(4),
	IRQSET_INDEX = VFU_U32(8),
	IRQSET_START = VFU_U32(12),
	IRQSET_COUNT = VFU_U32(16), /* then, with bool data, a byte each */
};
enum {
	VFU_SET_NONE = 1,
	VFU_SET_BOOL = 2,
	VFU_SET_EVENTFD = 4,
	VFU_SET_DATA = 7,
	VFU_SET_MASK = 8,
	VFU_SET_UNMASK = 16,
	VFU_SET_TRIGGER = 32,
	VFU_SET_ACTION = 56,
};

enum {
	ACCESS_LEN = 16, /* then the data */
	ACCESS_OFF = VFU_U64(0),
	ACCESS_REGION = VFU_U32(8),
	ACCESS_COUNT = VFU_U32(12),
};
enum {
	MULTI_LEN = 8,
	MULTI_N = VFU_U64(0),
	MULTI_ENTRY_LEN = 24, /* laid out as an access with room for 8 bytes */
	MULTI_DATA_MAX = 8,
	VFU_MULTI_MAX = 4096, /* entries we take in one message */
};

enum {
	DMA_LEN = 16, /* then the data */
	DMA_IOVA = VFU_U64(0),
	DMA_COUNT = VFU_U64(8),
	VFU_DMA_OLD_SHIFT = 4, /* QEMU 10.1 and 10.2 have the data so many bytes earlier */
};

enum {
	FEATURE_LEN = 8,
	FEATURE_ARGSZ = VFU_U32(0),
	FEATURE_FLAGS = VFU_U32(4),
	FEATURE_MIG_FLAGS = VFU_U64(8),
	FEATURE_STATE = VFU_U32(8),
	FEATURE_STATE_FD = VFU_U32(12),
	FEATURE_MAX_LEN = FEATURE_LEN + 8,
};
enum {
	VFU_FEATURE_MASK = 0xffff,
	VFU_FEATURE_GET = 1 << 16,
	VFU_FEATURE_SET = 1 << 17,
	VFU_FEATURE_PROBE = 1 << 18,
	VFU_FEATURE_MIGRATION = 1,
	VFU_FEATURE_MIG_STATE = 2,
};
enum { VFU_MIG_STOP_COPY = 1, VFU_MIG_P2P = 2, VFU_MIG_PRE_COPY = 4 };
enum vfu_mig_state {
	VFU_MIG_ERROR,
	VFU_MIG_STOPPED,
	VFU_MIG_RUNNING,
	VFU_MIG_STOP_COPYING,
	VFU_MIG_RESUMING,
};

enum { MIGDATA_LEN = 8, MIGDATA_ARGSZ = VFU_U32(0), MIGDATA_SIZE = VFU_U32(4) /* then data */ };
