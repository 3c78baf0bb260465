/*
 * vhost-user requests about guest memory and the in-flight buffer.
 *
 * The table may change while requests move data: each keeps the map it was translated with
 * (virtio/gmem.h), so nothing has to wait. Rings are looked up anew; one that is no longer in
 * memory ends the connection.
 */
#include "attach/vhost_user/impl.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static void get_region(const uint8_t *p, struct gmem_region *r)
{
	memcpy(&r->gpa, p, 8);
	memcpy(&r->len, p + 8, 8);
	memcpy(&r->uaddr, p + 16, 8);
	memcpy(&r->file_off, p + 24, 8);
}

/* Takes the map. */
static int use_map(struct vu_conn *c, struct gmem *mem, GError **error)
{
	gmem_unref(c->mem);
	c->mem = mem;
	for (unsigned i = 0; i < c->n_rings; i++) {
		struct vu_vring *r = &c->rings[i];

		if (r->started && !virtq_remap(&r->q, mem, error))
			return -EPROTO;
	}
	return 0;
}

int vu_set_mem_table(struct vu_conn *c, struct vu_msg *m, GError **error)
{
	struct gmem *mem = gmem_new(), *more;
	uint32_t n;

	memcpy(&n, m->payload, sizeof(n));
	if (n > VU_TABLE_REGIONS || m->size != 8 + n * VU_REGION_LEN || m->n_fds != n) {
		gmem_unref(mem);
		return vu_refuse(error, EPROTO,
				 "%" PRIu32 " regions with %u descriptors in %" PRIu32 " bytes", n,
				 m->n_fds, m->size);
	}
	for (uint32_t i = 0; i < n; i++) {
		struct gmem_region r;

		get_region(m->payload + 8 + i * VU_REGION_LEN, &r);
		more = gmem_add(mem, &r, m->fds[i], error);
		gmem_unref(mem);
		if (!more)
			return -EINVAL;
		mem = more;
	}
	return use_map(c, mem, error);
}

int vu_add_mem_reg(struct vu_conn *c, struct vu_msg *m, GError **error)
{
	struct gmem_region r;
	struct gmem *mem;

	get_region(m->payload + 8, &r);
	mem = gmem_add(c->mem, &r, m->fds[0], error);
	return mem ? use_map(c, mem, error) : -EINVAL;
}

int vu_rem_mem_reg(struct vu_conn *c, struct vu_msg *m, GError **error)
{
	struct gmem_region r;
	struct gmem *mem;

	get_region(m->payload + 8, &r);
	mem = gmem_remove(c->mem, &r, error);
	return mem ? use_map(c, mem, error) : -EINVAL;
}

struct shape {
	uint64_t size, off;
	uint16_t queues, num;
};

static void get_shape(const struct vu_msg *m, struct shape *s)
{
	memcpy(&s->size, m->payload, 8);
	memcpy(&s->off, m->payload + 8, 8);
	memcpy(&s->queues, m->payload + 16, 2);
	memcpy(&s->num, m->payload + 18, 2);
}

int vu_get_inflight_fd(struct vu_conn *c, struct vu_msg *m, GError **error)
{
	struct inflight *f;
	struct shape s;
	uint64_t off = 0;

	get_shape(m, &s);
	f = inflight_new(s.queues, s.num, &m->reply_fd, error);
	if (!f)
		return -EPROTO;
	s.size = inflight_size(s.queues, s.num);
	inflight_free(f); /* it comes back with SET_INFLIGHT_FD */
	memcpy(m->payload, &s.size, 8);
	memcpy(m->payload + 8, &off, 8);
	m->reply = true;
	(void)c;
	return 0;
}

int vu_set_inflight_fd(struct vu_conn *c, struct vu_msg *m, GError **error)
{
	struct inflight *f;
	struct shape s;

	for (unsigned i = 0; i < c->n_rings; i++) {
		if (c->rings[i].started)
			return vu_refuse(error, EPROTO, "queue %u is running", i);
	}
	get_shape(m, &s);
	f = inflight_open(m->fds[0], s.off, s.size, s.queues, s.num, error);
	if (!f)
		return -EINVAL;
	inflight_free(c->inflight);
	c->inflight = f;
	c->history = inflight_has_history(f);
	return 0;
}
