/* vhost-user requests about features, the device as a whole and its configuration space; and the
 * table of all. */
#include "attach/vhost_user/impl.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static uint64_t get_u64(const struct vu_msg *m)
{
	uint64_t v;

	memcpy(&v, m->payload, sizeof(v));
	return v;
}

void vu_reply_u64(struct vu_msg *m, uint64_t value)
{
	memcpy(m->payload, &value, sizeof(value));
	m->size = sizeof(value);
	m->reply = true;
}

static uint64_t offered(const struct vhost_user *v)
{
	return VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX |
	       VU_F_PROTOCOL_FEATURES | v->kind->features(v) |
	       (v->packed ? VIRTIO_F_RING_PACKED : 0);
}

static uint64_t offered_protocol(const struct vhost_user *v)
{
	return 1 << VU_P_MQ | 1 << VU_P_REPLY_ACK | 1 << VU_P_BACKEND_REQ |
	       1 << VU_P_INFLIGHT_SHMFD | 1 << VU_P_RESET_DEVICE | 1 << VU_P_CONFIGURE_MEM_SLOTS |
	       (v->config ? 1 << VU_P_CONFIG : 0);
}

static int get_features(struct vu_conn *c, struct vu_msg *m, GError **error)
{
	(void)error;
	vu_reply_u64(m, offered(c->v));
	return 0;
}

static bool any_started(const struct vu_conn *c)
{
	for (unsigned i = 0; i < c->n_rings; i++) {
		if (c->rings[i].started)
			return true;
	}
	return false;
}

static int set_features(struct vu_conn *c, struct vu_msg *m, GError **error)
{
	uint64_t f = get_u64(m);

	if (f & ~offered(c->v))
		return vu_refuse(error, EPROTO, "features %#" PRIx64 " were not offered",
				 f & ~offered(c->v));
	if (f != c->features && any_started(c))
		return vu_refuse(error, EPROTO, "features change while a ring runs");
	c->features = f;
	virtio_device_set_features(c->device, f);
	for (unsigned i = 0; i < c->n_rings;
	     i++) { /* without protocol features rings are always enabled */
		int res = vu_vring_update(&c->rings[i], error);

		if (res < 0)
			return res;
	}
	return 0;
}

static int get_protocol_features(struct vu_conn *c, struct vu_msg *m, GError **error)
{
	(void)error;
	vu_reply_u64(m, offered_protocol(c->v));
	return 0;
}

static int set_protocol_features(struct vu_conn *c, struct vu_msg *m, GError **error)
{
	uint64_t f = get_u64(m);

	if (f & ~offered_protocol(c->v))
		return vu_refuse(error, EPROTO, "protocol features %#" PRIx64 " were not offered",
				 f & ~offered_protocol(c->v));
	c->protocol = f;
	return 0;
}

static int set_owner(struct vu_conn *c, struct vu_msg *m, GError **error)
{
	(void)c;
	(void)m;
	(void)error;
	return 0; /* the connection is the session */
}

/* Obsolete; what it may still mean is that no ring is to run. */
static int reset_owner(struct vu_conn *c, struct vu_msg *m, GError **error)
{
	(void)m;
	for (unsigned i = 0; i < c->n_rings; i++) {
		int res;

		c->rings[i].enabled = false;
		res = vu_vring_update(&c->rings[i], error);
		if (res < 0)
			return res;
	}
	return 0;
}

static int get_queue_num(struct vu_conn *c, struct vu_msg *m, GError **error)
{
	(void)error;
	vu_reply_u64(m, c->n_rings);
	return 0;
}

static int set_backend_req_fd(struct vu_conn *c, struct vu_msg *m, GError **error)
{
	(void)error;
	vu_close(&c->backend_fd);
	c->backend_fd = m->fds[0];
	m->fds[0] = -1;
	return 0;
}

/* The driver gave its rings up and may use their memory for something else: nothing is written
 * there any more. */
static co_fn int reset_device(struct vu_conn *c, struct vu_msg *m, GError **error)
{
	(void)m;
	(void)error;
	for (unsigned i = 0; i < c->n_rings; i++) {
		vu_vring_pause(&c->rings[i]);
		c->rings[i].q.discard = true;
	}
	for (unsigned i = 0; i < c->n_rings; i++) {
		struct vu_vring *r = &c->rings[i];

		vu_vring_stop(r, 0);
		r->enabled = r->has_addr = r->used_before = false;
		r->num = 0;
		r->base = 0;
	}
	while (c->busy)
		co_reschedule();
	virtio_device_reset(c->device);
	c->was_reset = true;
	c->begun = c->resumed = false;
	return 0;
}

static bool config_range(const struct vu_msg *m, uint32_t *off, uint32_t *len)
{
	memcpy(off, m->payload, 4);
	memcpy(len, m->payload + 4, 4);
	return m->size >= VU_CONFIG_HEAD && *len == m->size - VU_CONFIG_HEAD &&
	       *len <= VU_CONFIG_LEN && *off <= VU_CONFIG_LEN - *len;
}

/* Answers as many bytes as were asked for; what lies behind the end of the space reads as 0. */
static int get_config(struct vu_conn *c, struct vu_msg *m, GError **error)
{
	uint8_t space[VIRTIO_CONFIG_MAX];
	uint32_t off, len;

	(void)error;
	m->reply = true;
	if (!config_range(m, &off, &len)) {
		m->size = 0; /* that is how an error looks */
		return 0;
	}
	virtio_device_get_config(c->device, space);
	memcpy(m->payload + VU_CONFIG_HEAD, space + off, len);
	return 0;
}

static co_fn int set_config(struct vu_conn *c, struct vu_msg *m, GError **error)
{
	uint32_t off, len;

	if (!config_range(m, &off, &len)) {
		return vu_refuse(error, EPROTO,
				 "range lies outside of %d bytes or differs from the payload",
				 VU_CONFIG_LEN);
	}
	if (virtio_device_set_config(c->device, off, m->payload + VU_CONFIG_HEAD, len))
		return 0;
	return vu_refuse(error, EINVAL, "bytes %" PRIu32 "..%" PRIu32 " cannot be changed so", off,
			 off + len);
}

static int get_max_mem_slots(struct vu_conn *c, struct vu_msg *m, GError **error)
{
	(void)c;
	(void)error;
	vu_reply_u64(m, GMEM_REGIONS_MAX);
	return 0;
}

#define NEEDS(feature) ((feature) + 1)

const struct vu_row vu_rows[VU_REQUESTS] = {
	/* name, handler, payload from, to, descriptors from, to, feature, has its own reply */
	[VU_GET_FEATURES] = {"GET_FEATURES", get_features, 0, 0, 0, 0, 0, true},
	[VU_SET_FEATURES] = {"SET_FEATURES", set_features, 8, 8, 0, 0, 0, false},
	[VU_SET_OWNER] = {"SET_OWNER", set_owner, 0, 0, 0, 0, 0, false},
	[VU_RESET_OWNER] = {"RESET_OWNER", reset_owner, 0, 0, 0, 0, 0, false},
	[VU_SET_MEM_TABLE] = {"SET_MEM_TABLE", vu_set_mem_table, 8, VU_TABLE_LEN, 0,
			      VU_TABLE_REGIONS, 0, false},
	[VU_SET_VRING_NUM] = {"SET_VRING_NUM", vu_set_vring_num, 8, 8, 0, 0, 0, false},
	[VU_SET_VRING_ADDR] = {"SET_VRING_ADDR", vu_set_vring_addr, 40, 40, 0, 0, 0, false},
	[VU_SET_VRING_BASE] = {"SET_VRING_BASE", vu_set_vring_base, 8, 8, 0, 0, 0, false},
	[VU_GET_VRING_BASE] = {"GET_VRING_BASE", vu_get_vring_base, 8, 8, 0, 0, 0, true},
	[VU_SET_VRING_KICK] = {"SET_VRING_KICK", vu_set_vring_kick, 8, 8, 0, 1, 0, false},
	[VU_SET_VRING_CALL] = {"SET_VRING_CALL", vu_set_vring_call, 8, 8, 0, 1, 0, false},
	[VU_SET_VRING_ERR] = {"SET_VRING_ERR", vu_set_vring_err, 8, 8, 0, 1, 0, false},
	[VU_GET_PROTOCOL_FEATURES] = {"GET_PROTOCOL_FEATURES", get_protocol_features, 0, 0, 0, 0, 0,
				      true},
	[VU_SET_PROTOCOL_FEATURES] = {"SET_PROTOCOL_FEATURES", set_protocol_features, 8, 8, 0, 0, 0,
				      false},
	[VU_GET_QUEUE_NUM] = {"GET_QUEUE_NUM", get_queue_num, 0, 0, 0, 0, NEEDS(VU_P_MQ), true},
	[VU_SET_VRING_ENABLE] = {"SET_VRING_ENABLE", vu_set_vring_enable, 8, 8, 0, 0, 0, false},
	[VU_SET_BACKEND_REQ_FD] = {"SET_BACKEND_REQ_FD", set_backend_req_fd, 0, 0, 1, 1,
				   NEEDS(VU_P_BACKEND_REQ), false},
	[VU_GET_CONFIG] = {"GET_CONFIG", get_config, 12, VU_PAYLOAD_MAX, 0, 0, NEEDS(VU_P_CONFIG),
			   true},
	[VU_SET_CONFIG] = {"SET_CONFIG", set_config, 12, VU_PAYLOAD_MAX, 0, 0, NEEDS(VU_P_CONFIG),
			   false},
	[VU_GET_INFLIGHT_FD] = {"GET_INFLIGHT_FD", vu_get_inflight_fd, 20, VU_INFLIGHT_LEN, 0, 0,
				NEEDS(VU_P_INFLIGHT_SHMFD), true},
	[VU_SET_INFLIGHT_FD] = {"SET_INFLIGHT_FD", vu_set_inflight_fd, 20, VU_INFLIGHT_LEN, 1, 1,
				NEEDS(VU_P_INFLIGHT_SHMFD), false},
	[VU_RESET_DEVICE] = {"RESET_DEVICE", reset_device, 0, 0, 0, 0, NEEDS(VU_P_RESET_DEVICE),
			     false},
	[VU_GET_MAX_MEM_SLOTS] = {"GET_MAX_MEM_SLOTS", get_max_mem_slots, 0, 0, 0, 0,
				  NEEDS(VU_P_CONFIGURE_MEM_SLOTS), true},
	[VU_ADD_MEM_REG] = {"ADD_MEM_REG", vu_add_mem_reg, 40, 40, 1, 1,
			    NEEDS(VU_P_CONFIGURE_MEM_SLOTS), false},
	[VU_REM_MEM_REG] = {"REM_MEM_REG", vu_rem_mem_reg, 40, 40, 0, 1,
			    NEEDS(VU_P_CONFIGURE_MEM_SLOTS), false},
};
