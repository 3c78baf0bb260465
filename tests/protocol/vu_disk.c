/* See vu_disk.h. */
#include "vu_disk.h"
#include "base/bytes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t vu_disk_gpa(const struct vu_front *f, const uint8_t *p)
{
	return vu_gpa((uint64_t)(p - f->mem));
}

void vu_disk_head(struct vu_slot *s, uint32_t type, uint64_t sector)
{
	put_le32(s->req, type);
	put_le32(s->req + 4, 0);
	put_le64(s->req + 8, sector);
}

void vu_disk_post(struct vu_front *f, struct vu_slot *s, uint32_t type, uint64_t sector,
		  uint32_t len)
{
	bool in = type == VU_BLK_IN || type == VU_BLK_ID;
	struct ring_buf b[3];
	unsigned n = 0;

	vu_disk_head(s, type, sector);
	b[n++] = (struct ring_buf){vu_disk_gpa(f, s->req), 16, false};
	if (len)
		b[n++] = (struct ring_buf){vu_disk_gpa(f, s->data), len, in};
	b[n++] = (struct ring_buf){vu_disk_gpa(f, s->resp), 1, true};
	vu_post(f, s, b, n);
	vu_kick(f, s->queue);
}

unsigned vu_disk_status(const struct vu_slot *s)
{
	return s->resp[0];
}

static unsigned run(struct vu_front *f, uint32_t type, uint64_t sector, const void *out, void *in,
		    uint32_t len)
{
	struct vu_slot *s = vu_slot(f, 0);

	if (out)
		memcpy(s->data, out, len);
	vu_disk_post(f, s, type, sector, len);
	vu_wait(f, s);
	if (in)
		memcpy(in, s->data, len);
	vu_free(s);
	return vu_disk_status(s);
}

unsigned vu_disk_write(struct vu_front *f, uint64_t sector, const void *data, uint32_t len)
{
	return run(f, VU_BLK_OUT, sector, data, NULL, len);
}

unsigned vu_disk_read(struct vu_front *f, uint64_t sector, void *data, uint32_t len)
{
	return run(f, VU_BLK_IN, sector, NULL, data, len);
}

unsigned vu_disk_simple(struct vu_front *f, uint32_t type, const void *data, uint32_t len)
{
	return run(f, type, 0, data, NULL, len);
}

unsigned vu_disk_range(struct vu_front *f, uint32_t type, uint64_t sector, uint32_t count,
		       uint32_t flags)
{
	uint8_t range[16];

	put_le64(range, sector);
	put_le32(range + 8, count);
	put_le32(range + 12, flags);
	return vu_disk_simple(f, type, range, sizeof(range));
}

void vu_disk_config(struct vu_front *f, uint8_t *config, uint32_t len)
{
	uint8_t payload[VU_PAYLOAD_MAX] = {0};

	put_le32(payload + 4, len);
	vu_send(f, VU_GET_CONFIG, VU_VERSION, payload, VU_CONFIG_HEAD + len, NULL, 0);
	if (vu_receive(f, VU_GET_CONFIG, payload, sizeof(payload), NULL) !=
	    (int)(VU_CONFIG_HEAD + len)) {
		fprintf(stderr, "GET_CONFIG of %u bytes fails\n", len);
		abort();
	}
	memcpy(config, payload + VU_CONFIG_HEAD, len);
}

int vu_disk_set_config(struct vu_front *f, uint32_t off, const void *bytes, uint32_t len)
{
	uint8_t payload[VU_PAYLOAD_MAX] = {0};

	put_le32(payload, off);
	put_le32(payload + 4, len);
	memcpy(payload + VU_CONFIG_HEAD, bytes, len);
	return vu_tell(f, VU_SET_CONFIG, payload, VU_CONFIG_HEAD + len, -1);
}
