/*
 * The client's memory: DMA_MAP and DMA_UNMAP (transports.md 1.7).
 *
 * The windows themselves are pci/dma.h's. An unmap takes effect at once, for the whole range it
 * names whatever was mapped there; its answer waits for the device to let go of what it had mapped,
 * but never so long that the client gives up.
 */
#include "attach/vfio_user/impl.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

enum { PAGE = 4096, MAP_FLAGS_KNOWN = 15 };

struct vfu_pending_unmap {
	struct vfu_pending_unmap *next;
	struct vfu_conn *c;
	struct dma_wait wait;
	struct loop_timer limit;
	uint16_t id;
	uint32_t flags;
	uint8_t payload[UNMAP_LEN];
};

int vfu_dma_map(struct vfu_conn *c, struct vfu_msg *m, GError **error)
{
	uint32_t flags = vfu_get32(m->payload, MAP_FLAGS);
	struct dma_region r = {
		.addr = vfu_get(m->payload, MAP_IOVA),
		.len = vfu_get(m->payload, MAP_SIZE),
		.access = (flags & VFU_MAP_READ ? DMA_READ : 0) |
			  (flags & VFU_MAP_WRITE ? DMA_WRITE : 0),
		.file_off = vfu_get(m->payload, MAP_FILE_OFF),
	};
	GError *why = NULL;
	int res;

	if (flags & ~(uint32_t)MAP_FLAGS_KNOWN || !r.access)
		return vfu_refuse(error, EINVAL,
				  "flags %#" PRIx32 ", must allow reading or writing", flags);
	if (r.addr % PAGE || r.len % PAGE) {
		return vfu_refuse(error, EINVAL,
				  "window %#" PRIx64 "+%#" PRIx64 ", must be whole pages of %d",
				  r.addr, r.len, PAGE);
	}
	if (dma_space_count(c->host.dma) >= c->caps.max_dma_maps)
		return vfu_refuse(error, ENOSPC, "more than the %u windows agreed",
				  c->caps.max_dma_maps);
	if (!dma_space_add(c->host.dma, &r, m->n_fds ? m->fds[0] : -1, &why)) {
		res = why && why->code > 0 && why->code <= VFU_ERRNO_MAX ? why->code : EINVAL;
		g_propagate_error(error, why);
		return res;
	}
	vfu_reply_bytes(c, m, NULL, 0);
	return 0;
}

static void answer_unmap(struct vfu_conn *c, uint16_t id, uint32_t flags, uint8_t *payload)
{
	struct iovec part = {payload, UNMAP_LEN};

	vfu_put(payload, UNMAP_ARGSZ, UNMAP_LEN);
	vfu_reply(c, id, VFU_DMA_UNMAP, flags, &part, 1, NULL, 0);
}

static void free_unmap(struct vfu_pending_unmap *u)
{
	dma_wait_cancel(&u->wait);
	loop_timer_cancel(&u->limit);
	g_free(u);
}

static void end_unmap(struct vfu_pending_unmap *u)
{
	struct vfu_pending_unmap **p = &u->c->unmaps;

	answer_unmap(u->c, u->id, u->flags, u->payload);
	while (*p != u)
		p = &(*p)->next;
	*p = u->next;
	u->c->n_unmaps--;
	free_unmap(u);
}

static void unmap_done(struct dma_wait *w)
{
	struct vfu_pending_unmap *u =
		(struct vfu_pending_unmap *)((char *)w - offsetof(struct vfu_pending_unmap, wait));

	end_unmap(u);
}

static void unmap_late(struct loop_timer *t)
{
	struct vfu_pending_unmap *u =
		(struct vfu_pending_unmap *)((char *)t - offsetof(struct vfu_pending_unmap, limit));

	log_limited(&u->c->v->limit, LOG_ERROR, "vfio-user",
		    "%s#%u: %s still uses memory that its guest took away %d s ago", u->c->v->path,
		    u->c->number, pci_function_name(u->c->v->function),
		    (int)(VFU_UNMAP_NS / 1000000000));
	end_unmap(u);
}

void vfu_dma_forget_unmaps(struct vfu_conn *c)
{
	struct vfu_pending_unmap *next;

	for (struct vfu_pending_unmap *u = c->unmaps; u; u = next) {
		next = u->next;
		free_unmap(u);
	}
	c->unmaps = NULL;
	c->n_unmaps = 0;
}

int vfu_dma_unmap(struct vfu_conn *c, struct vfu_msg *m, GError **error)
{
	uint32_t flags = vfu_get32(m->payload, UNMAP_FLAGS);
	uint64_t addr = vfu_get(m->payload, UNMAP_IOVA), size = vfu_get(m->payload, UNMAP_SIZE);
	uint64_t last = addr + size - 1;
	struct vfu_pending_unmap *u;

	if (flags & ~(uint32_t)VFU_UNMAP_ALL)
		return vfu_refuse(error, flags & VFU_UNMAP_DIRTY ? ENOTSUP : EINVAL,
				  "flags %#" PRIx32 ", only \"all\" is known", flags);
	if (flags & VFU_UNMAP_ALL) {
		if (addr || size)
			return vfu_refuse(error, EINVAL, "\"all\" with a range");
		last = UINT64_MAX;
	} else if (!size || last < addr || addr % PAGE || size % PAGE) {
		return vfu_refuse(error, EINVAL,
				  "range %#" PRIx64 "+%#" PRIx64
				  ", must be whole pages of %d and end at 2^64 at most",
				  addr, size, PAGE);
	}
	if (c->n_unmaps >= VFU_UNMAPS_MAX)
		return vfu_refuse(error, EBUSY, "%u unmaps wait already", c->n_unmaps);
	dma_space_remove(c->host.dma, addr, last);
	u = g_new0(struct vfu_pending_unmap, 1);
	u->wait.done = unmap_done;
	if (!dma_space_wait(c->host.dma, addr, last, &u->wait)) {
		g_free(u);
		answer_unmap(c, m->id, m->flags, m->payload);
		return 0;
	}
	u->c = c;
	u->id = m->id;
	u->flags = m->flags;
	memcpy(u->payload, m->payload, UNMAP_LEN);
	u->limit.fire = unmap_late;
	loop_timer_set(c->v->loop, &u->limit, loop_now_ns() + VFU_UNMAP_NS);
	u->next = c->unmaps;
	c->unmaps = u;
	c->n_unmaps++;
	return 0;
}
