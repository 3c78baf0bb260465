/*
 * What reaches the device itself: accesses, reset (and by migration.c stop and save), one after the
 * other.
 *
 * A device may answer later. Then commands of this kind wait, in copies, while everything else goes
 * on: the device may need the answers to its DMA messages for its own answer. Nothing waits for
 * ever: a device that does not answer within the time a client grants gets all ones read.
 */
#include "attach/vfio_user/impl.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum { DATA_ROOM = 4096 /* of the buffer that is kept */ };

struct vfu_waiting {
	struct vfu_waiting *next;
	uint16_t id, command;
	uint32_t flags;
	size_t len;
	uint8_t payload[];
};

static void run_waiting(struct vfu_conn *c)
{
	struct vfu_ordered *o = &c->ordered;

	while (!o->busy && o->first && !c->failed && c->state == VFU_ATTACHED) {
		struct vfu_waiting *w = o->first;
		struct vfu_msg m = {.id = w->id,
				    .command = w->command,
				    .flags = w->flags,
				    .payload = w->payload,
				    .len = w->len};

		o->first = w->next;
		if (!o->first)
			o->last = &o->first;
		o->waiting_len -= sizeof(*w) + w->len;
		vfu_dispatch(c, &m);
		g_free(w);
	}
}

static void call_done(struct pci_call *call, int res)
{
	struct vfu_ordered *o =
		(struct vfu_ordered *)((char *)call - offsetof(struct vfu_ordered, call));
	struct vfu_conn *c = (struct vfu_conn *)((char *)o - offsetof(struct vfu_conn, ordered));

	loop_timer_cancel(&o->limit);
	o->busy = false;
	o->done(c, res);
	run_waiting(c);
	if (c->failed)
		vfu_conn_more(c);
}

static void call_late(struct loop_timer *t)
{
	struct vfu_ordered *o =
		(struct vfu_ordered *)((char *)t - offsetof(struct vfu_ordered, limit));
	struct vfu_conn *c = (struct vfu_conn *)((char *)o - offsetof(struct vfu_conn, ordered));

	log_limited(&c->v->limit, LOG_ERROR, "vfio-user", "%s#%u: %s does not answer %s",
		    c->v->path, c->number, pci_function_name(c->v->function),
		    vfu_rows[o->command].name);
	pci_call_cancel(&o->call);
	call_done(&o->call, -ETIMEDOUT);
}

void vfu_ordered_init(struct vfu_conn *c)
{
	struct vfu_ordered *o = &c->ordered;

	*o = (struct vfu_ordered){.call.done = call_done, .limit.fire = call_late};
	o->last = &o->first;
	o->room = DATA_ROOM;
	o->data = g_malloc(o->room);
}

void vfu_ordered_fini(struct vfu_conn *c)
{
	struct vfu_ordered *o = &c->ordered;

	if (o->busy)
		pci_call_cancel(&o->call);
	o->busy = false;
	loop_timer_cancel(&o->limit);
	while (o->first) {
		struct vfu_waiting *w = o->first;

		o->first = w->next;
		g_free(w);
	}
	g_free(o->data);
	g_free(o->entries);
	o->data = o->entries = NULL;
	o->room = 0;
}

bool vfu_ordered_wait(struct vfu_conn *c, const struct vfu_msg *m)
{
	struct vfu_ordered *o = &c->ordered;
	struct vfu_waiting *w;

	if (sizeof(*w) + m->len > VFU_WAITING_MAX - o->waiting_len)
		return false;
	w = g_malloc(sizeof(*w) + m->len);
	*w = (struct vfu_waiting){
		.id = m->id, .command = m->command, .flags = m->flags, .len = m->len};
	memcpy(w->payload, m->payload, m->len);
	*o->last = w;
	o->last = &w->next;
	o->waiting_len += sizeof(*w) + w->len;
	return true;
}

void vfu_ordered_begin(struct vfu_conn *c, const struct vfu_msg *m)
{
	c->ordered.id = m->id;
	c->ordered.command = m->command;
	c->ordered.flags = m->flags;
}

void vfu_ordered_step(struct vfu_conn *c, int res, void (*done)(struct vfu_conn *c, int res))
{
	struct vfu_ordered *o = &c->ordered;

	if (res != PCI_PENDING) {
		done(c, res);
		return;
	}
	o->busy = true;
	o->done = done;
	loop_timer_set(c->v->loop, &o->limit, loop_now_ns() + VFU_ACCESS_NS);
}

static void ordered_error(struct vfu_conn *c, int res)
{
	const struct vfu_ordered *o = &c->ordered;

	vfu_reply_error(c, o->id, o->command, o->flags, -res,
			"region %" PRIu32 ", %" PRIu32 " bytes at %#" PRIx64 ": %s", o->region,
			o->count, o->off, g_strerror(-res));
}

/* Room for count bytes; large buffers are not kept. */
static bool make_room(struct vfu_ordered *o, size_t count)
{
	size_t room = MAX(count, DATA_ROOM);
	uint8_t *data;

	if (room == o->room)
		return true;
	data = g_try_malloc(room);
	if (!data)
		return false;
	g_free(o->data);
	o->data = data;
	o->room = room;
	return true;
}

/* Size of a region; false: no such index. */
static bool region_size(const struct vfu_conn *c, uint32_t region, uint64_t *size)
{
	const struct pci_bar *bar;

	if (region == VFU_REGION_CONFIG) {
		*size = pci_function_config_len(c->v->function);
		return true;
	}
	if (region > VFU_REGION_ROM)
		return false;
	bar = pci_function_bar(c->v->function, region);
	*size = bar->len;
	return true;
}

/* Takes offset, region and count from an access or an entry of several. */
static int get_access(struct vfu_conn *c, const uint8_t *p, uint32_t max, GError **error)
{
	struct vfu_ordered *o = &c->ordered;
	uint64_t size;

	o->off = vfu_get(p, ACCESS_OFF);
	o->region = vfu_get32(p, ACCESS_REGION);
	o->count = vfu_get32(p, ACCESS_COUNT);
	if (!region_size(c, o->region, &size))
		return vfu_refuse(error, EINVAL, "region %" PRIu32 ", there is none", o->region);
	if (!o->count || o->count > max)
		return vfu_refuse(error, EINVAL, "%" PRIu32 " bytes, must be 1 to %" PRIu32,
				  o->count, max);
	if (o->off > size || o->count > size - o->off) {
		return vfu_refuse(error, EINVAL,
				  "%" PRIu32 " bytes at %#" PRIx64 ", region %" PRIu32
				  " has %#" PRIx64,
				  o->count, o->off, o->region, size);
	}
	c->v->stats.accesses++;
	return 0;
}

static void read_done(struct vfu_conn *c, int res)
{
	struct vfu_ordered *o = &c->ordered;
	uint8_t head[ACCESS_LEN];
	struct iovec parts[2] = {{head, sizeof(head)}, {o->data, o->count}};

	if (res == -ETIMEDOUT) {
		memset(o->data, 0xff, o->count);
	} else if (res < 0) {
		ordered_error(c, res);
		return;
	}
	vfu_put(head, ACCESS_OFF, o->off);
	vfu_put(head, ACCESS_REGION, o->region);
	vfu_put(head, ACCESS_COUNT, o->count);
	vfu_reply(c, o->id, o->command, o->flags, parts, 2, NULL, 0);
}

int vfu_region_read(struct vfu_conn *c, struct vfu_msg *m, GError **error)
{
	struct vfu_ordered *o = &c->ordered;
	int res = get_access(c, m->payload, c->caps.max_data_xfer, error);

	if (res)
		return res;
	if (!make_room(o, o->count))
		return vfu_refuse(error, ENOMEM, "no memory");
	vfu_ordered_begin(c, m);
	if (o->region == VFU_REGION_CONFIG)
		res = pci_function_config_read(c->v->function, (unsigned)o->off, o->data, o->count);
	else
		res = pci_function_read(c->v->function, o->region, o->off, o->data, o->count,
					&o->call);
	vfu_ordered_step(c, res, read_done);
	return 0;
}

/* Carries out the write that the fields of o describe. */
static int write_region(struct vfu_conn *c)
{
	struct vfu_ordered *o = &c->ordered;

	if (o->region == VFU_REGION_CONFIG)
		return pci_function_config_write(c->v->function, (unsigned)o->off, o->data,
						 o->count);
	return pci_function_write(c->v->function, o->region, o->off, o->data, o->count, &o->call);
}

static void write_done(struct vfu_conn *c, int res)
{
	struct vfu_ordered *o = &c->ordered;
	uint8_t head[ACCESS_LEN];
	struct iovec part = {head, sizeof(head)};

	if (res < 0 && res != -ETIMEDOUT) {
		ordered_error(c, res);
		return;
	}
	vfu_put(head, ACCESS_OFF, o->off);
	vfu_put(head, ACCESS_REGION, o->region);
	vfu_put(head, ACCESS_COUNT, o->count);
	vfu_reply(c, o->id, o->command, o->flags, &part, 1, NULL, 0);
}

int vfu_region_write(struct vfu_conn *c, struct vfu_msg *m, GError **error)
{
	struct vfu_ordered *o = &c->ordered;
	int res = get_access(c, m->payload, c->caps.max_data_xfer, error);

	if (res)
		return res;
	if (m->len != ACCESS_LEN + (size_t)o->count)
		return vfu_refuse(error, EINVAL, "%zu bytes of data, must be %" PRIu32,
				  m->len - ACCESS_LEN, o->count);
	if (!make_room(o, o->count))
		return vfu_refuse(error, ENOMEM, "no memory");
	vfu_ordered_begin(c, m);
	memcpy(o->data, m->payload + ACCESS_LEN, o->count);
	vfu_ordered_step(c, write_region(c), write_done);
	return 0;
}

static void end_multi(struct vfu_conn *c)
{
	struct vfu_ordered *o = &c->ordered;
	uint8_t head[MULTI_LEN];
	struct iovec part = {head, sizeof(head)};

	vfu_put(head, MULTI_N, o->n_entries);
	g_free(o->entries);
	o->entries = NULL;
	vfu_reply(c, o->id, o->command, o->flags, &part, 1, NULL, 0);
}

/* The entries from next_entry on, until one is answered later. */
static void write_entries(struct vfu_conn *c, int res)
{
	struct vfu_ordered *o = &c->ordered;

	(void)res; /* an entry that fails changes nothing for the next ones: they are posted */
	while (o->next_entry < o->n_entries) {
		const uint8_t *p = o->entries + (size_t)o->next_entry++ * MULTI_ENTRY_LEN;
		GError *error = NULL;

		if (get_access(c, p, MULTI_DATA_MAX, &error)) {
			log_limited(&c->v->limit, LOG_WARN, "vfio-user",
				    "%s#%u: write left out: %s", c->v->path, c->number,
				    error->message);
			g_error_free(error);
			continue;
		}
		memcpy(o->data, p + ACCESS_LEN, o->count);
		if (write_region(c) == PCI_PENDING) {
			vfu_ordered_step(c, PCI_PENDING, write_entries);
			return;
		}
	}
	end_multi(c);
}

int vfu_region_write_multi(struct vfu_conn *c, struct vfu_msg *m, GError **error)
{
	struct vfu_ordered *o = &c->ordered;
	uint64_t n = vfu_get(m->payload, MULTI_N);

	if (n > VFU_MULTI_MAX || m->len != MULTI_LEN + n * MULTI_ENTRY_LEN)
		return vfu_refuse(error, EINVAL, "%" PRIu64 " writes in %zu bytes", n, m->len);
	for (uint64_t i = 0; i < n; i++) {
		const uint8_t *p = m->payload + MULTI_LEN + i * MULTI_ENTRY_LEN;
		uint32_t count = vfu_get32(p, ACCESS_COUNT);

		if (!count || count > MULTI_DATA_MAX) {
			return vfu_refuse(error, EINVAL,
					  "write %" PRIu64 " of %" PRIu32 " bytes, must be 1 to %d",
					  i, count, MULTI_DATA_MAX);
		}
	}
	if (!make_room(o, MULTI_DATA_MAX))
		return vfu_refuse(error, ENOMEM, "no memory");
	vfu_ordered_begin(c, m);
	o->n_entries = (unsigned)n;
	o->next_entry = 0;
	o->entries = g_memdup2(m->payload + MULTI_LEN, m->len - MULTI_LEN);
	write_entries(c, 0);
	return 0;
}

static void reset_done(struct vfu_conn *c, int res)
{
	const struct vfu_ordered *o = &c->ordered;

	(void)res; /* the core's part is done; a device that is late with its own was logged */
	c->irqs.masked = false;
	vfu_migration_reset(c);
	vfu_reply(c, o->id, o->command, o->flags, NULL, 0, NULL, 0);
}

int vfu_reset(struct vfu_conn *c, struct vfu_msg *m, GError **error)
{
	(void)error;
	vfu_ordered_begin(c, m);
	vfu_ordered_step(c, pci_function_reset(c->v->function, PCI_RESET_BUS, &c->ordered.call),
			 reset_done);
	return 0;
}
