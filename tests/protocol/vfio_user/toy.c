/* See toy.h. */
#include "toy.h"
#include "base/bytes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

enum { N_MSI = 4, N_MSIX = 8 };

struct toy {
	struct pci_function *f;
	uint64_t scratch, addr;
	uint32_t len, status, msi_res, map_res, keep_ms, rang, resets;
	uint8_t ports[16];
	uint8_t *buf;
	struct pci_transfer transfer;
	struct pci_sg sg;
	struct pci_op *slow, *never;
	struct pci_mapping map;
	struct iovec piece;
	bool mapped;
	struct loop_timer keep;
};

static uint32_t sum(const struct toy *t)
{
	uint32_t s = 0;

	for (uint32_t i = 0; i < t->len; i++)
		s += t->buf[i];
	return s;
}

static void transfer_done(struct pci_transfer *tr, int res)
{
	struct toy *t = (struct toy *)((char *)tr - offsetof(struct toy, transfer));
	struct pci_op *op = t->slow;

	t->status = (uint32_t)-res;
	t->slow = NULL;
	if (op)
		pci_op_done(op, res ? UINT32_MAX : sum(t));
}

static void run(struct toy *t, uint32_t what)
{
	if (t->status == TOY_BUSY || t->len > TOY_BUF_LEN)
		return;
	t->status = TOY_BUSY;
	t->sg = (struct pci_sg){t->addr, t->len};
	t->transfer = (struct pci_transfer){
		.access = what == TOY_TO_GUEST ? DMA_WRITE : DMA_READ,
		.sg = &t->sg,
		.n_sg = 1,
		.buf = t->buf,
		.done = transfer_done,
	};
	pci_function_dma_start(t->f, &t->transfer);
}

static uint64_t read_register(struct pci_function *f, unsigned bar, uint64_t off, unsigned width)
{
	struct toy *t = pci_function_priv(f);

	if (bar == 1)
		return t->ports[off];
	if (bar != 0)
		return 0x5a5a5a5a5a5a5a5a;
	switch (off) {
	case TOY_ID: return TOY_ID_VALUE;
	case TOY_SCRATCH: return t->scratch;
	case TOY_SCRATCH + 4: return t->scratch >> 32;
	case TOY_ADDR: return t->addr;
	case TOY_MSI_RES: return t->msi_res;
	case TOY_STATUS: return t->status;
	case TOY_SUM: return sum(t);
	case TOY_SLOW:
		t->slow = pci_function_defer(f);
		run(t, TOY_TO_DEVICE);
		return 0;
	case TOY_NEVER: t->never = pci_function_defer(f); return 0;
	case TOY_MAP: return t->map_res;
	case TOY_RANG: return t->rang;
	case TOY_RESETS: return t->resets;
	default: (void)width; return 0;
	}
}

static void release(struct toy *t)
{
	if (t->mapped)
		pci_mapping_release(&t->map);
	t->mapped = false;
}

static void keep_over(struct loop_timer *timer)
{
	release((struct toy *)((char *)timer - offsetof(struct toy, keep)));
}

static void revoked(struct dma_mapping *m)
{
	struct toy *t = (struct toy *)((char *)m - offsetof(struct toy, map.map));

	if (t->keep_ms) {
		loop_timer_set(pci_function_loop(t->f), &t->keep,
			       loop_now_ns() + t->keep_ms * 1000000ull);
	} else {
		release(t);
	}
}

static void map(struct toy *t)
{
	int res;

	release(t);
	t->map = (struct pci_mapping){.map.revoke = revoked};
	res = pci_function_dma_map(t->f, DMA_READ, t->addr, t->len, &t->piece, 1, &t->map);
	t->mapped = res >= 0;
	t->map_res = res < 0 ? (uint32_t)-res : 0;
}

static void write_register(struct pci_function *f, unsigned bar, uint64_t off, uint64_t value,
			   unsigned width)
{
	struct toy *t = pci_function_priv(f);
	uint32_t v = (uint32_t)value;

	if (bar == 1)
		t->ports[off] = (uint8_t)value;
	if (bar != 0)
		return;
	switch (off) {
	case TOY_SCRATCH:
		t->scratch = width == 8 ? value : (t->scratch & ~(uint64_t)UINT32_MAX) | v;
		break;
	case TOY_INTX: pci_function_set_intx(f, v & 1); break;
	case TOY_MSI: t->msi_res = (uint32_t)-pci_function_send_msi(f, v); break;
	case TOY_ADDR: t->addr = value; break;
	case TOY_LEN: t->len = MIN(v, TOY_BUF_LEN); break;
	case TOY_RUN: run(t, v); break;
	case TOY_FILL: memset(t->buf, (int)v, TOY_BUF_LEN); break;
	case TOY_MAP: map(t); break;
	case TOY_UNMAP: release(t); break;
	case TOY_KEEP_MS: t->keep_ms = v; break;
	default: break;
	}
}

static void rang(struct pci_function *f, unsigned index)
{
	struct toy *t = pci_function_priv(f);

	(void)index;
	t->rang++;
}

static void reset(struct pci_function *f, enum pci_reset kind)
{
	struct toy *t = pci_function_priv(f);

	(void)kind;
	t->scratch = t->addr = 0;
	t->len = 0;
	__atomic_fetch_add(&t->resets, 1, __ATOMIC_SEQ_CST);
}

static bool save(struct pci_function *f, GByteArray *out, GError **error)
{
	struct toy *t = pci_function_priv(f);

	(void)error;
	g_byte_array_append(out, (const uint8_t *)&t->scratch, sizeof(t->scratch));
	return true;
}

static bool restore(struct pci_function *f, const void *data, size_t len, GError **error)
{
	struct toy *t = pci_function_priv(f);

	if (len != sizeof(t->scratch))
		return err_set(error, EINVAL, "toy: state of %zu bytes", len);
	memcpy(&t->scratch, data, len);
	return true;
}

static const struct pci_function_ops ops = {
	.read = read_register,
	.write = write_register,
	.doorbell = rang,
	.reset = reset,
	.save = save,
	.restore = restore,
};

static bool declare(struct pci_function *f, GError **error)
{
	static const struct pci_area areas[] = {{0x1000, 0x2000}, {0x8000, 0x1000}},
				     page = {0, 0x1000};
	struct pci_identity id = {
		.vendor = 0x1234, .device = 0x7079, .class_code = 0xff00, .intx_pin = 1};
	struct pci_doorbell_info bell = {.off = TOY_DOORBELL, .width = 4},
				 match = {.off = TOY_DOORBELL + 4,
					  .width = 4,
					  .has_match = true,
					  .match = TOY_MATCH};
	unsigned index;

	return pci_function_set_identity(f, &id, error) &&
	       pci_function_add_bar(f, 0, 0, 0x1000, NULL, 0, error) &&
	       pci_function_add_bar(f, 1, PCI_BAR_IO, 16, NULL, 0, error) &&
	       pci_function_add_bar(f, 2, PCI_BAR_64 | PCI_BAR_PREFETCH, 0x10000, areas, 2,
				    error) &&
	       pci_function_add_bar(f, 4, 0, 0x1000, &page, 1, error) &&
	       pci_function_add_msi(f, N_MSI, false, error) &&
	       pci_function_add_msix(f, N_MSIX, 5, 0, 5, 0x800, error) &&
	       pci_function_add_doorbell(f, &bell, &index, error) &&
	       pci_function_add_doorbell(f, &match, &index, error) && pci_function_seal(f, error);
}

struct toy *toy_new(struct loop *loop, const char *name)
{
	struct toy *t = g_new0(struct toy, 1);
	GError *error = NULL;

	t->buf = g_malloc0(TOY_BUF_LEN);
	t->keep.fire = keep_over;
	t->f = pci_function_new(loop, name, &ops, t);
	if (!declare(t->f, &error)) {
		fprintf(stderr, "toy: %s\n", error->message);
		abort();
	}
	return t;
}

void toy_free(struct toy *t)
{
	loop_timer_cancel(&t->keep);
	release(t);
	pci_function_free(t->f);
	g_free(t->buf);
	g_free(t);
}

struct pci_function *toy_function(struct toy *t)
{
	return t->f;
}

unsigned toy_resets(struct toy *t)
{
	return __atomic_load_n(&t->resets, __ATOMIC_SEQ_CST);
}
