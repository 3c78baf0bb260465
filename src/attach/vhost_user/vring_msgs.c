/* vhost-user requests about rings: they collect a ring's parts and let vring.c decide. */
#include "attach/vhost_user/impl.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum { STOP_WAIT_S = 10 };

/* u32 index, u32 value; NULL: no such ring. */
static struct vu_vring *get_state(struct vu_conn *c, const struct vu_msg *m, uint32_t *value,
				  GError **error)
{
	uint32_t index;

	memcpy(&index, m->payload, 4);
	memcpy(value, m->payload + 4, 4);
	if (index < c->n_rings)
		return &c->rings[index];
	err_set(error, EPROTO, "queue %" PRIu32 " of %u", index, c->n_rings);
	return NULL;
}

/* As get_state(), for what must not change under a running ring. */
static struct vu_vring *get_stopped(struct vu_conn *c, const struct vu_msg *m, uint32_t *value,
				    GError **error)
{
	struct vu_vring *r = get_state(c, m, value, error);

	if (!r || !r->started)
		return r;
	err_set(error, EPROTO, "queue %u is running", r->index);
	return NULL;
}

int vu_set_vring_num(struct vu_conn *c, struct vu_msg *m, GError **error)
{
	uint32_t num;
	struct vu_vring *r = get_stopped(c, m, &num, error);

	if (!r)
		return -EPROTO;
	if (!num || num > VIRTQ_NUM_MAX)
		return vu_refuse(error, EPROTO, "queue %u: size %" PRIu32 " must be 1 to %d",
				 r->index, num, VIRTQ_NUM_MAX);
	r->num = num;
	return vu_vring_update(r, error);
}

int vu_set_vring_addr(struct vu_conn *c, struct vu_msg *m, GError **error)
{
	uint32_t flags;
	struct vu_vring *r = get_stopped(c, m, &flags, error);

	if (!r)
		return -EPROTO;
	memcpy(&r->desc, m->payload + 8, 8);
	memcpy(&r->used, m->payload + 16, 8);
	memcpy(&r->avail, m->payload + 24, 8);
	r->has_addr = true;
	return vu_vring_update(r, error);
}

int vu_set_vring_base(struct vu_conn *c, struct vu_msg *m, GError **error)
{
	uint32_t base;
	struct vu_vring *r = get_stopped(c, m, &base, error);

	if (!r)
		return -EPROTO;
	r->base = base;
	return 0;
}

/*
 * Ends the ring. Commands are waited for, since their results would be lost for a guest that is
 * only paused; those that take long (a disc being blanked) are aborted in the end, since the front
 * end stands still meanwhile.
 */
co_fn int vu_get_vring_base(struct vu_conn *c, struct vu_msg *m, GError **error)
{
	uint32_t unused;
	struct vu_vring *r = get_state(c, m, &unused, error);

	if (!r)
		return -EPROTO;
	vu_vring_stop(r, loop_now_ns() + STOP_WAIT_S * 1000000000ull);
	memcpy(m->payload + 4, &r->base, 4);
	m->size = 8;
	m->reply = true;
	return 0;
}

/* The ring and the descriptor (-1: none given) of SET_VRING_KICK, CALL and ERR. */
static struct vu_vring *get_event(struct vu_conn *c, const struct vu_msg *m, GError **error)
{
	uint64_t v;

	memcpy(&v, m->payload, 8);
	if ((v & VU_VRING_INDEX) >= c->n_rings) {
		err_set(error, EPROTO, "queue %u of %u", (unsigned)(v & VU_VRING_INDEX),
			c->n_rings);
		return NULL;
	}
	if (!(v & VU_VRING_NOFD) != (m->n_fds == 1)) {
		err_set(error, EPROTO,
			"queue %u: %u descriptors do not match the payload %#" PRIx64,
			(unsigned)(v & VU_VRING_INDEX), m->n_fds, v);
		return NULL;
	}
	return &c->rings[v & VU_VRING_INDEX];
}

static int take_fd(struct vu_vring *r, int *to, struct vu_msg *m, GError **error)
{
	if (!vu_vring_set_fd(to, m->n_fds ? m->fds[0] : -1))
		return vu_refuse(error, EPROTO, "queue %u: the descriptor is no eventfd", r->index);
	m->n_fds = 0;
	return 0;
}

int vu_set_vring_kick(struct vu_conn *c, struct vu_msg *m, GError **error)
{
	struct vu_vring *r = get_event(c, m, error);
	int res;

	if (!r)
		return -EPROTO;
	if (r->started)
		vu_vring_pause(r); /* the watch is on the old descriptor */
	res = take_fd(r, &r->kick_fd, m, error);
	return res < 0 ? res : vu_vring_update(r, error);
}

int vu_set_vring_call(struct vu_conn *c, struct vu_msg *m, GError **error)
{
	struct vu_vring *r = get_event(c, m, error);
	int res;

	if (!r)
		return -EPROTO;
	res = take_fd(r, &r->call_fd, m, error);
	/* a front end may give the descriptor after the ring went on: what came before would never
	 * be seen */
	if (res == 0 && r->started)
		vu_vring_signal(r->call_fd);
	return res;
}

int vu_set_vring_err(struct vu_conn *c, struct vu_msg *m, GError **error)
{
	struct vu_vring *r = get_event(c, m, error);

	return r ? take_fd(r, &r->err_fd, m, error) : -EPROTO;
}

int vu_set_vring_enable(struct vu_conn *c, struct vu_msg *m, GError **error)
{
	uint32_t on;
	struct vu_vring *r = get_state(c, m, &on, error);

	if (!r)
		return -EPROTO;
	if (!(c->features & VU_F_PROTOCOL_FEATURES))
		return vu_refuse(error, EPROTO, "queue %u: feature bit 30 was not negotiated",
				 r->index);
	if (on > 1)
		return vu_refuse(error, EPROTO, "queue %u: value %" PRIu32 " must be 0 or 1",
				 r->index, on);
	r->enabled = on;
	return vu_vring_update(r, error);
}
