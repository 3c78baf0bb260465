/*
 * Transfers that a program asks for. Memory that is shared with us is copied at once; what only the
 * VMM reaches, or a machine that stands still, takes a transfer that ends later.
 */
#include "device/remote_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

struct remote_dma {
	struct ob_dma dma;
	struct ob_sg range;
	struct remote *r;
	struct remote_dma *prev, *next;
	unsigned generation;
	uint32_t id;
	uint8_t buf[];
};

static void reply(struct remote *r, uint32_t id, int res, const uint8_t *data, size_t len)
{
	struct remote_msg m = {.type = REMOTE_DONE, .id = id, .arg = remote_error_number(res)};

	if (res == 0) {
		m.data = data;
		m.len = len;
	}
	remote_send(r, &m);
}

static void on_done(struct ob_dev *dev, struct ob_dma *dma, int res)
{
	struct remote_dma *x = dma->arg;
	struct remote *r = x->r;
	bool is_read = dma->flags == OB_DMA_READ;

	(void)dev;
	if (x->prev)
		x->prev->next = x->next;
	else
		r->dmas = x->next;
	if (x->next)
		x->next->prev = x->prev;
	if (x->generation == r->generation && r->link == REMOTE_UP)
		reply(r, x->id, res, x->buf, is_read ? x->range.len : 0);
	r->n_dmas--;
	g_free(x);
}

static bool is_new(struct remote *r, uint32_t id)
{
	if (r->n_dmas >= REMOTE_DMAS) {
		remote_broke(r, "has more than %d transfers under way", REMOTE_DMAS);
		return false;
	}
	for (const struct remote_dma *x = r->dmas; x; x = x->next) {
		if (x->id == id && x->generation == r->generation) {
			remote_broke(r, "uses id %" PRIu32 " twice at a time", id);
			return false;
		}
	}
	return true;
}

static void start(struct remote *r, const struct remote_msg *m, size_t len)
{
	struct remote_dma *x = g_malloc0(sizeof(*x) + len);

	x->range = (struct ob_sg){m->off, len};
	x->r = r;
	x->generation = r->generation;
	x->id = m->id;
	x->dma.size = sizeof(x->dma);
	x->dma.flags = m->type == REMOTE_DMA_READ ? OB_DMA_READ : OB_DMA_WRITE;
	x->dma.sg = &x->range;
	x->dma.n_sg = 1;
	x->dma.buf = x->buf;
	x->dma.done = on_done;
	x->dma.arg = x;
	if (m->type == REMOTE_DMA_WRITE)
		memcpy(x->buf, m->data, len);
	x->next = r->dmas;
	if (x->next)
		x->next->prev = x;
	r->dmas = x;
	r->n_dmas++;
	ob_dma_start(r->dev, &x->dma);
}

void remote_take_dma(struct remote *r, const struct remote_msg *m)
{
	bool is_read = m->type == REMOTE_DMA_READ;
	size_t len = is_read ? m->arg : m->len;
	int res = -EWOULDBLOCK;

	if (!is_new(r, m->id))
		return;
	if (!r->dma_room && is_read)
		r->dma_room = g_malloc(REMOTE_DMA_MAX);
	if (!r->stopped)
		res = is_read ? ob_dma_read(r->dev, m->off, r->dma_room, len)
			      : ob_dma_write(r->dev, m->off, m->data, len);
	if (res == -EWOULDBLOCK)
		start(r, m, len);
	else
		reply(r, m->id, res, r->dma_room, is_read ? len : 0);
}
