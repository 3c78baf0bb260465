/* The vhost-user protocol as numbers (QEMU's docs/interop/vhost-user; reference/transports.md 3).
 * Native byte order. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum { VU_HEADER_LEN = 12 }; /* u32 request, u32 flags, u32 payload size */
enum { VU_VERSION_MASK = 3, VU_VERSION = 1, VU_REPLY = 1 << 2, VU_NEED_REPLY = 1 << 3 };

enum vu_request {
	VU_GET_FEATURES = 1,
	VU_SET_FEATURES,
	VU_SET_OWNER,
	VU_RESET_OWNER,
	VU_SET_MEM_TABLE,
	VU_SET_LOG_BASE,
	VU_SET_LOG_FD,
	VU_SET_VRING_NUM,
	VU_SET_VRING_ADDR,
	VU_SET_VRING_BASE,
	VU_GET_VRING_BASE,
	VU_SET_VRING_KICK,
	VU_SET_VRING_CALL,
	VU_SET_VRING_ERR,
	VU_GET_PROTOCOL_FEATURES,
	VU_SET_PROTOCOL_FEATURES,
	VU_GET_QUEUE_NUM,
	VU_SET_VRING_ENABLE,
	VU_SET_BACKEND_REQ_FD = 21,
	VU_GET_CONFIG = 24,
	VU_SET_CONFIG = 25,
	VU_GET_INFLIGHT_FD = 31,
	VU_SET_INFLIGHT_FD = 32,
	VU_RESET_DEVICE = 34,
	VU_GET_MAX_MEM_SLOTS = 36,
	VU_ADD_MEM_REG = 37,
	VU_REM_MEM_REG = 38,
	VU_REQUESTS
};

enum { VU_B_CONFIG_CHANGE = 2 }; /* requests of ours, on the other socket */

enum { /* protocol features */
       VU_P_MQ = 0,
       VU_P_REPLY_ACK = 3,
       VU_P_BACKEND_REQ = 5,
       VU_P_CONFIG = 9,
       VU_P_INFLIGHT_SHMFD = 12,
       VU_P_RESET_DEVICE = 13,
       VU_P_CONFIGURE_MEM_SLOTS = 15,
};

#define VU_F_PROTOCOL_FEATURES (1ull << 30) /* among the virtio features */

enum {
	VU_TABLE_REGIONS = 8, /* SET_MEM_TABLE */
	VU_REGION_LEN = 32,   /* u64 guest address, size, user address, mmap offset */
	VU_TABLE_LEN = 8 + VU_TABLE_REGIONS * VU_REGION_LEN,
	VU_CONFIG_HEAD = 12, /* u32 offset, size, flags */
	VU_CONFIG_LEN = 256,
	VU_PAYLOAD_MAX = VU_CONFIG_HEAD + VU_CONFIG_LEN,
	VU_FDS_MAX = 8,
	VU_VRING_NOFD = 1 << 8,
	VU_VRING_INDEX = 0xff,
	VU_INFLIGHT_LEN = 24, /* u64 size, u64 offset, u16 queues, u16 queue size, padding */
};
