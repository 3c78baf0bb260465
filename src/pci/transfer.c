/*
 * DMA of a function: at once, mapped, or as transfers that take their time.
 *
 * Transfers are worked on by a task of the loop, a bounded number of bytes a turn, and take turns.
 * Memory of this process is copied there; what has no host memory is handed to the host, one piece
 * at a time. Nothing is kept from one piece to the next but the guest's addresses, so a window that
 * goes in between is noticed; one that goes and comes back elsewhere is as well, because every
 * removal ends the transfers that still need the range. done() runs from the task, or from reset
 * and detach, which have to be able to say that nothing is in flight any more.
 */
#include "pci/function_impl.h"

#include <errno.h>
#include <string.h>

enum {
	TURN_BYTES = 1 << 20, /* copied in a turn of the loop: about 100 us */
	PIECES = 8,
};

static void unlink_transfer(struct pci_function *f, struct pci_transfer *t)
{
	if (t->prev)
		t->prev->next = t->next;
	else
		f->transfers = t->next;
	if (t->next)
		t->next->prev = t->prev;
	else
		f->transfers_tail = t->prev;
	t->prev = t->next = NULL;
}

static void append(struct pci_function *f, struct pci_transfer *t)
{
	t->prev = f->transfers_tail;
	t->next = NULL;
	if (t->prev)
		t->prev->next = t;
	else
		f->transfers = t;
	f->transfers_tail = t;
}

static void end_transfer(struct pci_transfer *t, int res)
{
	t->over = true;
	t->res = res;
}

/* Goes on by n bytes. */
static void progress(struct pci_transfer *t, uint64_t n)
{
	t->buf += n;
	t->at_off += n;
	if (t->at_off == t->sg[t->at_sg].len) {
		t->at_off = 0;
		t->at_sg++;
	}
}

static void copy_pieces(const struct iovec *v, int n, unsigned access, uint8_t *buf)
{
	for (int i = 0; i < n; i++) {
		if (access == DMA_READ)
			memcpy(buf, v[i].iov_base, v[i].iov_len);
		else
			memcpy(v[i].iov_base, buf, v[i].iov_len);
		buf += v[i].iov_len;
	}
}

/* Copies the beginning of a range, all of it if few pieces make it up; bytes, or -errno. */
static int64_t copy_some(struct dma_space *s, unsigned access, uint64_t addr, uint64_t len,
			 uint8_t *buf)
{
	struct iovec v[PIECES];
	int n;

	while ((n = dma_space_translate(s, addr, len, access, v, PIECES)) == -E2BIG)
		len /= 2;
	if (n < 0)
		return n;
	copy_pieces(v, n, access, buf);
	return (int64_t)len;
}

static void host_done(struct pci_dma *d, int res)
{
	struct pci_transfer *t =
		(struct pci_transfer *)((char *)d - offsetof(struct pci_transfer, dma));

	t->by_host = false;
	if (res < 0)
		end_transfer(t, res == -EFAULT || res == -EPERM ? res : -EIO);
	else
		progress(t, d->len);
	pci_transfers_kick(t->f);
}

void pci_dma_done(struct pci_dma *d, int res)
{
	d->done(d, res);
}

/* One piece of t; the bytes copied. */
static uint64_t step(struct pci_function *f, struct pci_transfer *t, uint64_t budget)
{
	uint64_t addr, len;
	int64_t n;

	while (t->at_sg < t->n_sg && !t->sg[t->at_sg].len)
		t->at_sg++;
	if (t->at_sg == t->n_sg) {
		end_transfer(t, 0);
		return 0;
	}
	if (!f->host || !pci_is_master(f)) {
		end_transfer(t, f->host ? -EACCES : -ENOTCONN);
		return 0;
	}
	addr = t->sg[t->at_sg].addr + t->at_off;
	len = MIN(t->sg[t->at_sg].len - t->at_off, budget);
	n = copy_some(f->host->dma, t->access, addr, len, t->buf);
	if (n >= 0) {
		progress(t, (uint64_t)n);
		return (uint64_t)n;
	}
	if (n != -EAGAIN || !f->host->ops->dma) {
		end_transfer(t, n == -EAGAIN ? -EFAULT : (int)n);
		return 0;
	}
	t->by_host = true;
	t->dma = (struct pci_dma){.addr = addr, .buf = t->buf, .len = (size_t)len};
	t->dma.write = t->access == DMA_WRITE;
	t->dma.done = host_done;
	f->host->ops->dma(f->host, &t->dma);
	return 0;
}

static bool finish_one(struct pci_function *f)
{
	for (struct pci_transfer *t = f->transfers; t; t = t->next) {
		if (!t->over)
			continue;
		unlink_transfer(f, t);
		t->done(t, t->res);
		return true;
	}
	return false;
}

static struct pci_transfer *next_runnable(const struct pci_function *f)
{
	struct pci_transfer *t = f->transfers;

	while (t && (t->by_host || t->over))
		t = t->next;
	return f->stopped ? NULL : t;
}

static void run_transfers(struct loop_task *task)
{
	struct pci_function *f =
		(struct pci_function *)((char *)task -
					offsetof(struct pci_function, transfer_task));
	uint64_t budget = TURN_BYTES;
	struct pci_transfer *t;

	if (f->freeing) {
		g_free(f);
		return;
	}
	while (budget && (t = next_runnable(f))) {
		budget -= step(f, t, budget);
		unlink_transfer(f, t);
		append(f, t);
	}
	while (finish_one(f))
		;
	if (next_runnable(f))
		pci_transfers_kick(f);
	pci_stop_check(f);
}

void pci_transfers_kick(struct pci_function *f)
{
	if (f->transfers)
		loop_post(f->loop, &f->transfer_task);
}

void pci_function_dma_start(struct pci_function *f, struct pci_transfer *t)
{
	t->f = f;
	t->at_sg = 0;
	t->at_off = 0;
	t->by_host = t->over = false;
	append(f, t);
	pci_transfers_kick(f);
}

/* Ends t before its time. */
static void abort_transfer(struct pci_function *f, struct pci_transfer *t, int res)
{
	if (t->by_host)
		f->host->ops->dma_cancel(f->host, &t->dma);
	t->by_host = false;
	if (!t->over)
		end_transfer(t, res);
}

void pci_transfers_cancel(struct pci_function *f, int res)
{
	for (struct pci_transfer *t = f->transfers; t; t = t->next)
		abort_transfer(f, t, res);
	while (finish_one(f)) /* what done() starts anew is not over */
		;
	pci_stop_check(f);
}

static bool needs(const struct pci_transfer *t, uint64_t addr, uint64_t last)
{
	for (unsigned i = t->at_sg; i < t->n_sg; i++) {
		uint64_t from = t->sg[i].addr + (i == t->at_sg ? t->at_off : 0);

		if (t->sg[i].len && from <= last && addr <= t->sg[i].addr + (t->sg[i].len - 1))
			return true;
	}
	return false;
}

static void on_removed(struct dma_listener *l, uint64_t addr, uint64_t last)
{
	struct pci_function *f =
		(struct pci_function *)((char *)l - offsetof(struct pci_function, listener));

	for (struct pci_transfer *t = f->transfers; t; t = t->next) {
		if (!t->over && needs(t, addr, last))
			abort_transfer(f, t, -EFAULT);
	}
	pci_transfers_kick(f);
}

void pci_transfers_init(struct pci_function *f)
{
	f->transfer_task.run = run_transfers;
	f->listener.removed = on_removed;
}

void pci_transfers_fini(struct pci_function *f)
{
	f->freeing = true;
	if (!__atomic_load_n(&f->transfer_task.pending, __ATOMIC_ACQUIRE))
		g_free(f);
}

void pci_transfers_attach(struct pci_function *f)
{
	dma_space_listen(f->host->dma, &f->listener);
}

void pci_transfers_detach(struct pci_function *f)
{
	for (struct pci_transfer *t = f->transfers; t; t = t->next)
		abort_transfer(f, t, -ECANCELED);
	dma_space_unlisten(f->host->dma, &f->listener);
}

int pci_function_dma_sync(struct pci_function *f, unsigned access, const struct pci_sg *sg,
			  unsigned n_sg, void *buf)
{
	uint64_t total = 0;
	uint8_t *at = buf;

	if ((access != DMA_READ && access != DMA_WRITE) || n_sg > PCI_SG_MAX)
		return -EINVAL;
	if (!pci_function_can_dma(f))
		return f->host ? -EACCES : -ENOTCONN;
	for (unsigned i = 0; i < n_sg; i++) {
		int res;

		if (sg[i].len > PCI_SYNC_MAX - total)
			return -E2BIG;
		total += sg[i].len;
		res = dma_space_translate(f->host->dma, sg[i].addr, sg[i].len, access, NULL, 0);
		if (res < 0 && res != -E2BIG) /* no room for a piece, that is: it is all there */
			return res;
	}
	for (unsigned i = 0; i < n_sg; i++) {
		for (uint64_t off = 0, len = sg[i].len; off < len;) {
			int64_t n =
				copy_some(f->host->dma, access, sg[i].addr + off, len - off, at);

			if (n < 0)
				return (int)n;
			at += n;
			off += (uint64_t)n;
		}
	}
	return 0;
}

/* Whether f may map for access now; 0 or -errno. */
static int check_mapping(const struct pci_function *f, unsigned access)
{
	if (access != DMA_READ && access != DMA_WRITE && access != (DMA_READ | DMA_WRITE))
		return -EINVAL;
	if (!pci_function_can_dma(f))
		return f->host ? -EACCES : -ENOTCONN;
	return 0;
}

static void link_mapping(struct pci_function *f, struct pci_mapping *m)
{
	m->f = f;
	m->prev = NULL;
	m->next = f->mappings;
	if (m->next)
		m->next->prev = m;
	f->mappings = m;
}

int pci_function_dma_map(struct pci_function *f, unsigned access, uint64_t addr, uint64_t len,
			 struct iovec *out, unsigned max, struct pci_mapping *m)
{
	int res = check_mapping(f, access);

	if (res == 0)
		res = dma_space_map(f->host->dma, addr, len, access, out, max, &m->map);
	if (res >= 0)
		link_mapping(f, m);
	return res;
}

int pci_function_dma_map_sg(struct pci_function *f, unsigned access, const struct pci_sg *sg,
			    unsigned n_sg, struct iovec *out, unsigned max, struct dma_span *spans,
			    struct pci_mapping *m)
{
	int res = check_mapping(f, access);

	if (res == 0)
		res = dma_space_map_sg(f->host->dma, sg, n_sg, access, out, max, spans, &m->map);
	if (res >= 0)
		link_mapping(f, m);
	return res;
}

void pci_mapping_release(struct pci_mapping *m)
{
	if (m->prev)
		m->prev->next = m->next;
	else
		m->f->mappings = m->next;
	if (m->next)
		m->next->prev = m->prev;
	dma_mapping_release(&m->map);
}

void pci_mappings_revoke(struct pci_function *f)
{
	struct pci_mapping *m;

	do { /* from the start again: the callback may release any of them */
		m = f->mappings;
		while (m && m->map.revoked)
			m = m->next;
		if (m)
			dma_mapping_revoke(&m->map);
	} while (m);
}

void pci_function_dma_end(struct pci_function *f)
{
	pci_transfers_cancel(f, -ECANCELED);
	pci_mappings_revoke(f);
}
