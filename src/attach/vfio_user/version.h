/* Negotiation of the vfio-user version and capabilities: pure, no I/O. */
#pragma once

#include "base/err.h"

#include <stddef.h>
#include <stdint.h>

enum {
	VFU_MAJOR = 0,
	VFU_MINOR = 1,
	VFU_FDS_MAX = 16,       /* descriptors that we take with one message */
	VFU_XFER_MAX = 1 << 20, /* most data of one message that we take or send */
	VFU_XFER_MIN = 64,      /* less than that no client can mean */
	VFU_MAPS_MAX = 65535,
	VFU_VERSION_MAX = 4096, /* bytes of the VERSION payload */
};

struct vfu_caps { /* of the client, or as agreed */
	unsigned major, minor;
	unsigned max_msg_fds;   /* that the client takes with one message */
	uint32_t max_data_xfer; /* agreed, for both directions */
	unsigned max_dma_maps;
	uint64_t pgsizes;
	bool write_multiple; /* the client can send it */
};

/*
 * Reads the payload of VERSION. Absent values become the protocol's defaults. -> errno of a
 * refusal with *error, or 0.
 */
int vfu_version_parse(const uint8_t *payload, size_t len, struct vfu_caps *out, GError **error);
/* The reply's payload to buf (room for VFU_VERSION_MAX); its length. */
size_t vfu_version_reply(const struct vfu_caps *agreed, uint8_t *buf);
