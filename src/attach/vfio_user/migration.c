/*
 * Migration, version 2 (transports.md 1.18): the states of the device and the stream of its state.
 *
 * RUNNING <-> STOPPED (the function stops and starts), STOPPED -> STOP_COPYING (it is saved, the
 * client reads the data) -> STOPPED, STOPPED -> RESUMING (the client writes data) -> STOPPED (it is
 * restored). Any other change goes through STOPPED. What fails on its way ends in ERROR, which only
 * a reset leaves.
 */
#include "attach/vfio_user/impl.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static void drop_data(struct vfu_migration *g)
{
	if (g->data)
		g_byte_array_free(g->data, TRUE);
	g->data = NULL;
	g->read_off = 0;
}

static void start(struct vfu_conn *c)
{
	if (c->stopped_function)
		pci_function_start(c->v->function);
	c->stopped_function = false;
}

void vfu_migration_reset(struct vfu_conn *c)
{
	drop_data(&c->mig);
	c->mig.state = VFU_MIG_RUNNING;
	start(c);
}

static bool save(struct vfu_conn *c, GError **error)
{
	c->mig.data = pci_function_save(c->v->function, error);
	c->mig.read_off = 0;
	return c->mig.data != NULL;
}

/* One state on the way to g->want, from STOPPED or to it. PCI_PENDING: stopping takes time. */
static int one_state(struct vfu_conn *c, GError **error)
{
	struct vfu_migration *g = &c->mig;

	switch (g->state) {
	case VFU_MIG_RUNNING:
		c->stopped_function = true;
		g->state = VFU_MIG_STOPPED; /* taken back if it fails */
		return pci_function_stop(c->v->function, &c->ordered.call);
	case VFU_MIG_STOP_COPYING:
		drop_data(g);
		g->state = VFU_MIG_STOPPED;
		return 0;
	case VFU_MIG_RESUMING:
		g->state = VFU_MIG_STOPPED;
		if (g->data &&
		    !pci_function_restore(c->v->function, g->data->data, g->data->len, error))
			return -EINVAL;
		drop_data(g);
		return 0;
	case VFU_MIG_STOPPED:
		if (g->want == VFU_MIG_RUNNING)
			start(c);
		else if (g->want == VFU_MIG_RESUMING)
			g->data = g_byte_array_new();
		else if (!save(c, error))
			return -EIO;
		g->state = g->want;
		return 0;
	default: return -EINVAL;
	}
}

static void go_on(struct vfu_conn *c, int res)
{
	const struct vfu_ordered *o = &c->ordered;
	struct vfu_migration *g = &c->mig;
	uint8_t out[FEATURE_MAX_LEN];
	struct iovec part = {out, sizeof(out)};
	GError *error = NULL;

	while (res == 0 && g->state != g->want)
		res = one_state(c, &error);
	if (res == PCI_PENDING) {
		vfu_ordered_step(c, res, go_on);
		return;
	}
	if (res < 0) {
		g->state = VFU_MIG_ERROR;
		drop_data(g);
		vfu_reply_error(c, o->id, o->command, o->flags, -res, "%s",
				error ? error->message : g_strerror(-res));
		g_clear_error(&error);
		return;
	}
	vfu_put(out, FEATURE_ARGSZ, sizeof(out));
	vfu_put(out, FEATURE_FLAGS, VFU_FEATURE_SET | VFU_FEATURE_MIG_STATE);
	vfu_put(out, FEATURE_STATE, g->state);
	vfu_put(out, FEATURE_STATE_FD, UINT32_MAX);
	vfu_reply(c, o->id, o->command, o->flags, &part, 1, NULL, 0);
}

static int set_state(struct vfu_conn *c, struct vfu_msg *m, GError **error)
{
	uint32_t want;

	if (m->len != FEATURE_MAX_LEN)
		return vfu_refuse(error, EINVAL, "%zu bytes of payload, must be %d", m->len,
				  FEATURE_MAX_LEN);
	want = vfu_get32(m->payload, FEATURE_STATE);
	if (want < VFU_MIG_STOPPED || want > VFU_MIG_RESUMING)
		return vfu_refuse(error, EINVAL, "state %" PRIu32, want);
	if (c->mig.state == VFU_MIG_ERROR)
		return vfu_refuse(error, EINVAL, "only a reset leaves the state of error");
	vfu_ordered_begin(c, m);
	c->mig.want = want;
	go_on(c, 0);
	return 0;
}

static int get_feature(struct vfu_conn *c, struct vfu_msg *m, uint32_t feature, GError **error)
{
	uint8_t out[FEATURE_MAX_LEN];

	if (vfu_get32(m->payload, FEATURE_ARGSZ) < sizeof(out))
		return vfu_refuse(error, EINVAL, "argsz %u, must be %zu",
				  vfu_get32(m->payload, FEATURE_ARGSZ), sizeof(out));
	vfu_put(out, FEATURE_ARGSZ, sizeof(out));
	vfu_put(out, FEATURE_FLAGS, VFU_FEATURE_GET | feature);
	if (feature == VFU_FEATURE_MIGRATION) {
		vfu_put(out, FEATURE_MIG_FLAGS, VFU_MIG_STOP_COPY);
	} else {
		vfu_put(out, FEATURE_STATE, c->mig.state);
		vfu_put(out, FEATURE_STATE_FD, UINT32_MAX);
	}
	vfu_reply_bytes(c, m, out, sizeof(out));
	return 0;
}

int vfu_feature(struct vfu_conn *c, struct vfu_msg *m, GError **error)
{
	uint32_t flags = vfu_get32(m->payload, FEATURE_FLAGS), feature = flags & VFU_FEATURE_MASK;
	uint32_t op = flags & (VFU_FEATURE_GET | VFU_FEATURE_SET);
	uint8_t out[FEATURE_LEN];

	if (flags &
	    ~(uint32_t)(VFU_FEATURE_MASK | VFU_FEATURE_GET | VFU_FEATURE_SET | VFU_FEATURE_PROBE))
		return vfu_refuse(error, EINVAL, "flags %#" PRIx32, flags);
	if (feature != VFU_FEATURE_MIGRATION && feature != VFU_FEATURE_MIG_STATE)
		return vfu_refuse(error, ENOTTY, "feature %" PRIu32, feature);
	if (feature == VFU_FEATURE_MIGRATION && op & VFU_FEATURE_SET)
		return vfu_refuse(error, ENOTTY, "feature %" PRIu32 " cannot be set", feature);
	if (flags & VFU_FEATURE_PROBE) {
		vfu_put(out, FEATURE_ARGSZ, sizeof(out));
		vfu_put(out, FEATURE_FLAGS, flags);
		vfu_reply_bytes(c, m, out, sizeof(out));
		return 0;
	}
	if (op != VFU_FEATURE_GET && op != VFU_FEATURE_SET)
		return vfu_refuse(error, EINVAL, "flags %#" PRIx32 ", must be to get or to set",
				  flags);
	return op == VFU_FEATURE_GET ? get_feature(c, m, feature, error) : set_state(c, m, error);
}

int vfu_mig_data_read(struct vfu_conn *c, struct vfu_msg *m, GError **error)
{
	struct vfu_migration *g = &c->mig;
	uint32_t size = vfu_get32(m->payload, MIGDATA_SIZE);
	uint8_t head[MIGDATA_LEN];
	struct iovec parts[2];
	size_t n;

	if (g->state != VFU_MIG_STOP_COPYING)
		return vfu_refuse(error, EINVAL, "the device is not being saved");
	if (size > c->caps.max_data_xfer)
		return vfu_refuse(error, EINVAL, "%" PRIu32 " bytes, must be %" PRIu32 " at most",
				  size, c->caps.max_data_xfer);
	n = MIN(size, g->data->len - g->read_off);
	vfu_put(head, MIGDATA_ARGSZ, MIGDATA_LEN + n);
	vfu_put(head, MIGDATA_SIZE, n);
	parts[0] = (struct iovec){head, sizeof(head)};
	parts[1] = (struct iovec){g->data->data + g->read_off, n};
	g->read_off += n;
	vfu_reply(c, m->id, m->command, m->flags, parts, 2, NULL, 0);
	return 0;
}

int vfu_mig_data_write(struct vfu_conn *c, struct vfu_msg *m, GError **error)
{
	struct vfu_migration *g = &c->mig;
	uint32_t size = vfu_get32(m->payload, MIGDATA_SIZE);

	if (g->state != VFU_MIG_RESUMING)
		return vfu_refuse(error, EINVAL, "the device is not being restored");
	if (m->len != MIGDATA_LEN + (size_t)size || size > c->caps.max_data_xfer)
		return vfu_refuse(error, EINVAL, "%" PRIu32 " bytes in a payload of %zu", size,
				  m->len);
	if (size > PCI_STATE_MAX - g->data->len)
		return vfu_refuse(error, EFBIG, "more than %d bytes of state", PCI_STATE_MAX);
	g_byte_array_append(g->data, m->payload + MIGDATA_LEN, size);
	vfu_reply_bytes(c, m, m->payload, MIGDATA_LEN);
	return 0;
}
