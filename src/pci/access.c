/*
 * Accesses to BARs, and answers that come later.
 *
 * A host's access is cut into what a bus would do: aligned pieces of 1, 2, 4 or 8 bytes; nearly
 * always it is one. A device that cannot answer at once takes a struct pci_op in its callback: the
 * access then rests in its struct pci_call until pci_op_done(), which goes on where it stopped. An
 * op outlives its call: who forgets the call (a host that goes) only cuts the tie.
 */
#include "pci/function_impl.h"
#include "base/bytes.h"

#include <errno.h>
#include <string.h>

void pci_frame_enter(struct pci_function *f, struct pci_frame *fr, bool may_defer)
{
	fr->outer = f->frame;
	fr->op = NULL;
	fr->may_defer = may_defer;
	f->frame = fr;
}

static void op_free(struct pci_op *op)
{
	struct pci_function *f = op->f;

	if (op->prev)
		op->prev->next = op->next;
	else
		f->ops_busy = op->next;
	if (op->next)
		op->next->prev = op->prev;
	op->next = f->ops_free;
	f->ops_free = op;
}

bool pci_frame_leave(struct pci_function *f, struct pci_frame *fr, struct pci_call *call,
		     uint64_t *value)
{
	struct pci_op *op = fr->op;

	f->frame = fr->outer;
	if (!op)
		return false;
	op->frame = NULL;
	if (op->finished) {
		*value = op->value;
		op_free(op);
		return false;
	}
	op->call = call;
	if (call)
		call->op = op;
	return true;
}

struct pci_op *pci_function_defer(struct pci_function *f)
{
	struct pci_op *op;

	if (!f->frame || !f->frame->may_defer || f->frame->op)
		return NULL;
	op = f->ops_free;
	if (op)
		f->ops_free = op->next;
	else
		op = g_new0(struct pci_op, 1);
	*op = (struct pci_op){.f = f, .frame = f->frame, .next = f->ops_busy};
	if (op->next)
		op->next->prev = op;
	f->ops_busy = op;
	f->frame->op = op;
	return op;
}

/* What a bus moves at once at off: the largest aligned piece of len. */
static unsigned piece(uint64_t off, size_t len)
{
	unsigned width = 8;

	while (width > len || off % width)
		width /= 2;
	return width;
}

/* Moves one aligned piece as one access, since the guest may look at the same time. */
static void move_piece(void *dst, const void *src, unsigned width)
{
	switch (width) {
	case 8: *(volatile uint64_t *)dst = *(const volatile uint64_t *)src; break;
	case 4: *(volatile uint32_t *)dst = *(const volatile uint32_t *)src; break;
	case 2: *(volatile uint16_t *)dst = *(const volatile uint16_t *)src; break;
	default: *(volatile uint8_t *)dst = *(const volatile uint8_t *)src; break;
	}
}

/* The access of width at off if it lies in shared memory; NULL: it does not. */
static uint8_t *find_memory(const struct pci_region *r, uint64_t off, unsigned width)
{
	for (unsigned i = 0; i < r->bar.n_areas; i++) {
		const struct pci_area *a = &r->bar.areas[i];

		if (off >= a->off && off - a->off < a->len && width <= a->len - (off - a->off))
			return r->memory + off;
	}
	return NULL;
}

static bool read_special(struct pci_function *f, const struct pci_call *c, uint64_t *value)
{
	uint8_t *memory = find_memory(&f->regions[c->bar], c->off, c->width);
	uint8_t b[8] __attribute__((aligned(8))) = {0};

	if (!memory)
		return pci_msix_read(f, c->bar, c->off, c->width, value);
	move_piece(b, memory, c->width);
	*value = get_le64(b);
	return true;
}

static bool write_special(struct pci_function *f, const struct pci_call *c, uint64_t value)
{
	uint8_t *memory = find_memory(&f->regions[c->bar], c->off, c->width);
	uint8_t b[8] __attribute__((aligned(8)));

	if (!memory)
		return pci_msix_write(f, c->bar, c->off, value, c->width) ||
		       pci_doorbell_write(f, c->bar, c->off, value, c->width);
	put_le64(b, value);
	move_piece(memory, b, c->width);
	return true;
}

static void advance(struct pci_call *c)
{
	c->buf += c->width;
	c->off += c->width;
	c->len -= c->width;
}

static void store(struct pci_call *c, uint64_t value)
{
	uint8_t b[8];

	put_le64(b, value);
	memcpy(c->buf, b, c->width);
	advance(c);
}

static int go_on_reading(struct pci_function *f, struct pci_call *c)
{
	while (c->len) {
		uint64_t value = UINT64_MAX;
		struct pci_frame fr;

		c->width = (uint8_t)piece(c->off, c->len);
		if (!f->regions[c->bar].special || !read_special(f, c, &value)) {
			pci_frame_enter(f, &fr, true);
			value = f->ops->read(f, c->bar, c->off, c->width);
			if (pci_frame_leave(f, &fr, c, &value))
				return PCI_PENDING;
		}
		store(c, value);
	}
	return 0;
}

static int go_on_writing(struct pci_function *f, struct pci_call *c)
{
	while (c->len) {
		uint8_t b[8] = {0};
		struct pci_frame fr;
		uint64_t value;

		c->width = (uint8_t)piece(c->off, c->len);
		memcpy(b, c->buf, c->width);
		value = get_le64(b);
		if (!f->regions[c->bar].special || !write_special(f, c, value)) {
			pci_frame_enter(f, &fr, true);
			f->ops->write(f, c->bar, c->off, value, c->width);
			if (pci_frame_leave(f, &fr, c, &value))
				return PCI_PENDING;
		}
		advance(c);
	}
	return 0;
}

static bool begin(struct pci_function *f, enum pci_call_kind kind, unsigned bar, uint64_t off,
		  size_t len, struct pci_call *c)
{
	if (bar >= PCI_REGIONS || len > f->regions[bar].bar.len ||
	    off > f->regions[bar].bar.len - len)
		return false;
	c->op = NULL;
	c->kind = kind;
	c->bar = (uint8_t)bar;
	c->off = off;
	c->len = len;
	return true;
}

int pci_function_read(struct pci_function *f, unsigned bar, uint64_t off, void *buf, size_t len,
		      struct pci_call *call)
{
	if (!begin(f, CALL_READ, bar, off, len, call))
		return -EINVAL;
	call->buf = buf;
	return go_on_reading(f, call);
}

int pci_function_write(struct pci_function *f, unsigned bar, uint64_t off, const void *buf,
		       size_t len, struct pci_call *call)
{
	if (!begin(f, CALL_WRITE, bar, off, len, call))
		return -EINVAL;
	if (bar == PCI_ROM)
		return 0;
	call->buf = (uint8_t *)(uintptr_t)buf; /* only read */
	return go_on_writing(f, call);
}

void pci_op_done(struct pci_op *op, uint64_t value)
{
	struct pci_function *f = op->f;
	struct pci_call *c = op->call;
	int res = 0;

	if (op->frame) { /* still inside the callback: its end looks here */
		op->finished = true;
		op->value = value;
		return;
	}
	if (f->stop_op == op)
		f->stop_op = NULL;
	op_free(op);
	if (!c) {
		pci_stop_check(f);
		return;
	}
	c->op = NULL;
	if (c->kind == CALL_READ) {
		store(c, value);
		res = go_on_reading(f, c);
	} else if (c->kind == CALL_WRITE) {
		advance(c);
		res = go_on_writing(f, c);
	}
	if (res != PCI_PENDING)
		c->done(c, res);
}

void pci_call_cancel(struct pci_call *call)
{
	if (call->op) {
		call->op->call = NULL;
		call->op = NULL;
	} else if (call->f && call->f->stop_call == call) {
		call->f->stop_call = NULL;
	}
}

void pci_forget_calls(struct pci_function *f)
{
	for (struct pci_op *op = f->ops_busy; op; op = op->next) {
		if (op->call)
			op->call->op = NULL;
		op->call = NULL;
	}
	f->stop_call = NULL;
}
