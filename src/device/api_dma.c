/* Guest memory for devices: the SDK's shapes on those of pci/build.h. */
#include "device/device_impl.h"

#include <errno.h>
#include <string.h>

enum { POOLED_ROOM_MAX = 512 }; /* spans: 8 KiB; larger lists are rare and not kept */

/* The flags, limits and ranges are the same things under two names. */
_Static_assert((int)OB_DMA_READ == (int)DMA_READ && (int)OB_DMA_WRITE == (int)DMA_WRITE, "");
_Static_assert((int)OB_MAP_SG_MAX == (int)DMA_SG_MAX, "");
_Static_assert(sizeof(struct ob_sg) == sizeof(struct pci_sg) &&
		       offsetof(struct ob_sg, len) == offsetof(struct pci_sg, len),
	       "");
_Static_assert(sizeof(struct ob_piece) == sizeof(struct iovec) &&
		       offsetof(struct ob_piece, len) == offsetof(struct iovec, iov_len),
	       "");

int api_dma_sync(struct ob_dev *dev, unsigned flags, const struct ob_sg *sg, unsigned n_sg,
		 void *buf)
{
	return pci_function_dma_sync(device_of(dev)->f, flags, (const struct pci_sg *)sg, n_sg,
				     buf);
}

static struct device_dma *dma_get(struct device *d)
{
	struct device_dma *x = d->dma_pool;

	if (!x)
		return g_new0(struct device_dma, 1);
	d->dma_pool = x->next;
	memset(x, 0, sizeof(*x));
	return x;
}

static void dma_done(struct pci_transfer *t, int res)
{
	struct device_dma *x = (struct device_dma *)t;
	struct device *d = x->d;
	struct ob_dma *dma = x->dma;

	x->next = d->dma_pool;
	d->dma_pool = x;
	if (!d->opened) /* started in close(): the struct may be gone */
		return;
	dma->priv = NULL;
	dma->done(&d->dev, dma, res);
}

int api_dma_start(struct ob_dev *dev, struct ob_dma *dma)
{
	struct device *d = device_of(dev);
	struct device_dma *x;
	uint64_t sum = 0;

	if (dma->size < offsetof(struct ob_dma, priv) + sizeof(dma->priv) || !dma->done ||
	    (dma->flags != OB_DMA_READ && dma->flags != OB_DMA_WRITE) || (dma->n_sg && !dma->sg))
		return -EINVAL;
	for (uint32_t i = 0; i < dma->n_sg; i++) {
		if (__builtin_add_overflow(sum, dma->sg[i].len, &sum) || sum > PTRDIFF_MAX)
			return -EINVAL;
	}
	if (sum && !dma->buf)
		return -EINVAL;
	x = dma_get(d);
	x->d = d;
	x->dma = dma;
	x->t.access = dma->flags;
	x->t.sg = (const struct pci_sg *)dma->sg;
	x->t.n_sg = dma->n_sg;
	x->t.buf = dma->buf;
	x->t.done = dma_done;
	dma->priv = x;
	pci_function_dma_start(d->f, &x->t);
	return 0;
}

static void on_revoke(struct dma_mapping *map)
{
	struct ob_mapping *m = (struct ob_mapping *)map;
	struct device *d = m->d;

	if (d->opened && d->cls.revoked)
		d->cls.revoked(&d->dev, m);
}

/* One with room for n spans, out of the pool where it can be. */
static struct ob_mapping *mapping_get(struct device *d, unsigned n)
{
	struct ob_mapping *m = d->mapping_pool;
	unsigned room = m ? m->room : 0;

	if (m)
		d->mapping_pool = m->next;
	if (!m || room < n) {
		g_free(m);
		for (room = 8; room < n; room *= 2)
			;
		m = g_malloc(sizeof(*m) + room * sizeof(m->spans[0]));
	}
	memset(m, 0, sizeof(*m));
	m->room = room;
	m->d = d;
	m->m.map.revoke = on_revoke;
	return m;
}

static void mapping_put(struct device *d, struct ob_mapping *m)
{
	if (m->room > POOLED_ROOM_MAX) {
		g_free(m);
		return;
	}
	m->next = d->mapping_pool;
	d->mapping_pool = m;
}

/* The end of making m: n is what came of it. */
static int mapping_made(struct device *d, struct ob_mapping *m, int n, struct ob_mapping **out)
{
	if (n < 0) {
		mapping_put(d, m);
		return n;
	}
	m->next = d->mappings;
	if (m->next)
		m->next->prev = m;
	d->mappings = m;
	*out = m;
	return n;
}

int api_dma_map(struct ob_dev *dev, unsigned flags, const struct ob_sg *range,
		struct ob_piece *pieces, unsigned max, struct ob_mapping **out)
{
	struct device *d = device_of(dev);
	struct ob_mapping *m = mapping_get(d, 0);

	return mapping_made(d, m,
			    pci_function_dma_map(d->f, flags, range->addr, range->len,
						 (struct iovec *)pieces, max, &m->m),
			    out);
}

int api_dma_map_sg(struct ob_dev *dev, unsigned flags, const struct ob_sg *sg, unsigned n_sg,
		   struct ob_piece *pieces, unsigned max, struct ob_mapping **out)
{
	struct device *d = device_of(dev);
	struct ob_mapping *m;

	if (n_sg > DMA_SG_MAX)
		return -E2BIG;
	m = mapping_get(d, n_sg);
	return mapping_made(d, m,
			    pci_function_dma_map_sg(d->f, flags, (const struct pci_sg *)sg, n_sg,
						    (struct iovec *)pieces, max, m->spans, &m->m),
			    out);
}

void api_dma_unmap(struct ob_dev *dev, struct ob_mapping *m)
{
	struct device *d = device_of(dev);

	if (!m)
		return;
	if (m->prev)
		m->prev->next = m->next;
	else
		d->mappings = m->next;
	if (m->next)
		m->next->prev = m->prev;
	pci_mapping_release(&m->m);
	mapping_put(d, m);
}

int api_dma_is_revoked(const struct ob_mapping *m)
{
	return __atomic_load_n(&m->m.map.revoked, __ATOMIC_ACQUIRE);
}

void dma_fini(struct device *d)
{
	if (d->f)
		pci_function_dma_end(d->f);
	while (d->mappings) {
		struct ob_mapping *m = d->mappings;

		d->mappings = m->next;
		pci_mapping_release(&m->m);
		g_free(m);
	}
	while (d->mapping_pool) {
		struct ob_mapping *m = d->mapping_pool;

		d->mapping_pool = m->next;
		g_free(m);
	}
	while (d->dma_pool) {
		struct device_dma *x = d->dma_pool;

		d->dma_pool = x->next;
		g_free(x);
	}
}
