/*
 * edu: the teaching device whose registers everybody's driver tutorial uses.
 *
 * Identification, liveness (reads back the inverse), factorial with an interrupt, DMA both ways
 * between guest memory and a buffer of 4096 bytes, INTx and one MSI. Registers below 0x80 are 32
 * bits wide, the others 32 or 64; any other access reads all ones and writes nothing. A transfer
 * starts 100 ms after it was asked for. One that leaves the buffer moves nothing (it is logged) and
 * ends like the others, so that a driver that waits for it goes on.
 *
 * This file needs the SDK and nothing else; with EDU_PLUGIN defined it is a plug-in.
 */
#include "outboard.h"

#include <errno.h>
#include <string.h>

enum {
	EDU_ID = 0x00,
	EDU_LIVE = 0x04,
	EDU_FACTORIAL = 0x08,
	EDU_STATUS = 0x20,
	EDU_IRQ_STATUS = 0x24,
	EDU_IRQ_RAISE = 0x60,
	EDU_IRQ_ACK = 0x64,
	EDU_DMA_SRC = 0x80,
	EDU_DMA_DST = 0x88,
	EDU_DMA_COUNT = 0x90,
	EDU_DMA_CMD = 0x98,
	EDU_WIDE = 0x80, /* from here on 8 bytes at once are allowed */

	EDU_ID_VALUE = 0x010000ed,
	STATUS_COMPUTING = 0x01,
	STATUS_IRQ = 0x80, /* when the factorial is done */
	IRQ_FACTORIAL = 0x001,
	IRQ_DMA = 0x100,
	DMA_RUN = 1,
	DMA_TO_RAM = 2,
	DMA_IRQ = 4,

	BUFFER_AT = 0x40000,
	BUFFER_LEN = 4096,
	BAR_LEN = 1 << 20,
};

static const uint64_t DMA_DELAY_NS = 100 * 1000 * 1000ull;

struct edu {
	uint32_t live, result, status, irq_status;
	uint32_t operand; /* of the factorial under way */
	uint64_t src, dst, count, cmd;
	struct ob_timer *compute, *transfer;
	struct ob_dma dma;
	struct ob_sg range;
	uint8_t buffer[BUFFER_LEN];
};

static void raise_irq(struct ob_dev *dev, uint32_t bits)
{
	struct edu *e = dev->state;

	e->irq_status |= bits;
	if (!e->irq_status)
		return;
	if (ob_msi_mode(dev) != OB_MSI_OFF)
		ob_msi_send(dev, 0);
	else
		ob_irq_raise(dev);
}

static void ack_irq(struct ob_dev *dev, uint32_t bits)
{
	struct edu *e = dev->state;

	e->irq_status &= ~bits;
	if (!e->irq_status)
		ob_irq_lower(dev);
}

/* n! mod 2^32; from 34 on there are 32 factors of two in it. */
static uint32_t factorial(uint32_t n)
{
	uint32_t product = 1;

	for (; n > 1 && product; n--)
		product *= n;
	return product;
}

static void factorial_done(struct ob_dev *dev, void *arg)
{
	struct edu *e = dev->state;

	(void)arg;
	e->result = factorial(e->operand);
	e->status &= ~(uint32_t)STATUS_COMPUTING;
	if (e->status & STATUS_IRQ)
		raise_irq(dev, IRQ_FACTORIAL);
}

static void transfer_over(struct ob_dev *dev)
{
	struct edu *e = dev->state;
	int irq = (e->cmd & DMA_IRQ) != 0;

	e->cmd &= ~(uint64_t)DMA_RUN;
	if (irq)
		raise_irq(dev, IRQ_DMA);
}

static void transfer_done(struct ob_dev *dev, struct ob_dma *dma, int res)
{
	struct edu *e = dev->state;

	(void)dma;
	if (res ==
	    -ECANCELED) /* a reset clears everything next; a VMM that went waits for nothing */
		e->cmd &= ~(uint64_t)DMA_RUN;
	else
		transfer_over(dev);
	if (res < 0 && res != -ECANCELED) {
		{
			ob_log(dev, OB_LOG_GUEST, "DMA of %#llx bytes at %#llx failed: %s",
			       (unsigned long long)e->range.len, (unsigned long long)e->range.addr,
			       strerror(-res));
		}
	}
}

static uint64_t masked(struct ob_dev *dev, uint64_t addr)
{
	uint64_t mask = ob_prop_number(dev, "dma-mask");

	if (addr & ~mask)
		ob_log(dev, OB_LOG_GUEST, "DMA address %#llx is cut to %#llx by dma-mask",
		       (unsigned long long)addr, (unsigned long long)(addr & mask));
	return addr & mask;
}

static void transfer_begin(struct ob_dev *dev, void *arg)
{
	struct edu *e = dev->state;
	int to_ram = (e->cmd & DMA_TO_RAM) != 0;
	uint64_t inside = to_ram ? e->src : e->dst, off = inside - BUFFER_AT;

	(void)arg;
	if (inside < BUFFER_AT || off > BUFFER_LEN || e->count > BUFFER_LEN - off) {
		ob_log(dev, OB_LOG_GUEST, "DMA of %#llx bytes at %#llx leaves the buffer %#x+%#x",
		       (unsigned long long)e->count, (unsigned long long)inside, BUFFER_AT,
		       BUFFER_LEN);
		transfer_over(dev);
		return;
	}
	e->range.addr = masked(dev, to_ram ? e->dst : e->src);
	e->range.len = e->count;
	memset(&e->dma, 0, sizeof(e->dma));
	e->dma.size = sizeof(e->dma);
	e->dma.flags = to_ram ? OB_DMA_WRITE : OB_DMA_READ;
	e->dma.sg = &e->range;
	e->dma.n_sg = 1;
	e->dma.buf = e->buffer + off;
	e->dma.done = transfer_done;
	if (ob_dma_start(dev, &e->dma) < 0)
		transfer_over(dev);
}

static int is_access(uint64_t off, unsigned width)
{
	return width == 4 || (width == 8 && off >= EDU_WIDE);
}

static uint64_t edu_read(struct ob_dev *dev, uint64_t off, unsigned width)
{
	struct edu *e = dev->state;

	if (!is_access(off, width))
		return UINT64_MAX;
	switch (off) {
	case EDU_ID: return EDU_ID_VALUE;
	case EDU_LIVE: return e->live;
	case EDU_FACTORIAL: return e->result;
	case EDU_STATUS: return e->status;
	case EDU_IRQ_STATUS: return e->irq_status;
	case EDU_DMA_SRC: return e->src;
	case EDU_DMA_DST: return e->dst;
	case EDU_DMA_COUNT: return e->count;
	case EDU_DMA_CMD: return e->cmd;
	default: return UINT64_MAX;
	}
}

static void compute(struct ob_dev *dev, uint32_t n)
{
	struct edu *e = dev->state;

	if (e->status & STATUS_COMPUTING)
		return;
	e->operand = n;
	e->status |= STATUS_COMPUTING;
	ob_timer_set(dev, e->compute, 0);
}

static void dma_write(struct ob_dev *dev, uint64_t off, uint64_t value)
{
	struct edu *e = dev->state;

	if (e->cmd & DMA_RUN)
		return;
	switch (off) {
	case EDU_DMA_SRC: e->src = value; break;
	case EDU_DMA_DST: e->dst = value; break;
	case EDU_DMA_COUNT: e->count = value; break;
	case EDU_DMA_CMD:
		if (!(value & DMA_RUN))
			break;
		e->cmd = value;
		ob_timer_set(dev, e->transfer, DMA_DELAY_NS);
		break;
	}
}

static void edu_write(struct ob_dev *dev, uint64_t off, uint64_t value, unsigned width)
{
	struct edu *e = dev->state;

	if (!is_access(off, width))
		return;
	switch (off) {
	case EDU_LIVE: e->live = ~(uint32_t)value; break;
	case EDU_FACTORIAL: compute(dev, (uint32_t)value); break;
	case EDU_STATUS:
		e->status = (e->status & ~(uint32_t)STATUS_IRQ) | ((uint32_t)value & STATUS_IRQ);
		break;
	case EDU_IRQ_RAISE: raise_irq(dev, (uint32_t)value); break;
	case EDU_IRQ_ACK: ack_irq(dev, (uint32_t)value); break;
	default: dma_write(dev, off, value);
	}
}

static void clear(struct edu *e)
{
	e->live = e->result = e->status = e->irq_status = e->operand = 0;
	e->src = e->dst = e->count = e->cmd = 0;
	memset(e->buffer, 0, sizeof(e->buffer));
}

static void edu_reset(struct ob_dev *dev, enum ob_reset kind)
{
	struct edu *e = dev->state;

	(void)kind;
	ob_timer_cancel(dev, e->compute);
	ob_timer_cancel(dev, e->transfer);
	clear(e);
}

static int edu_open(struct ob_dev *dev)
{
	struct edu *e = dev->state;
	struct ob_bar bar;

	memset(&bar, 0, sizeof(bar));
	bar.size = sizeof(bar);
	bar.len = BAR_LEN;
	bar.read = edu_read;
	bar.write = edu_write;
	ob_add_bar(dev, &bar);
	ob_add_msi(dev, 1, 0);
	e->compute = ob_timer_new(dev, factorial_done, NULL);
	e->transfer = ob_timer_new(dev, transfer_begin, NULL);
	return 0;
}

/* The numbers of the state, by name. */
static const struct {
	const char *name;
	size_t off;
	size_t width;
} fields[] = {
	{"live", offsetof(struct edu, live), 4},
	{"result", offsetof(struct edu, result), 4},
	{"status", offsetof(struct edu, status), 4},
	{"irq-status", offsetof(struct edu, irq_status), 4},
	{"operand", offsetof(struct edu, operand), 4},
	{"dma-src", offsetof(struct edu, src), 8},
	{"dma-dst", offsetof(struct edu, dst), 8},
	{"dma-count", offsetof(struct edu, count), 8},
	{"dma-cmd", offsetof(struct edu, cmd), 8},
};

enum { FIELDS = sizeof(fields) / sizeof(fields[0]) };

static int edu_save(struct ob_dev *dev, struct ob_state *out)
{
	const struct edu *e = dev->state;
	uint64_t left = 0;
	int res = 0;

	for (unsigned i = 0; i < FIELDS && res == 0; i++) {
		const char *p = (const char *)e + fields[i].off;
		uint64_t v = fields[i].width == 4 ? *(const uint32_t *)p : *(const uint64_t *)p;

		res = ob_put_u64(dev, out, fields[i].name, v);
	}
	ob_timer_left_ns(dev, e->transfer, &left);
	if (res == 0)
		res = ob_put_u64(dev, out, "dma-left-ns", left);
	return res == 0 ? ob_put(dev, out, "buffer", e->buffer, sizeof(e->buffer)) : res;
}

static int edu_restore(struct ob_dev *dev, struct ob_state *in, uint32_t version)
{
	struct edu *e = dev->state;
	uint64_t v, left;
	int res = 0;

	(void)version;
	for (unsigned i = 0; i < FIELDS; i++) {
		char *p = (char *)e + fields[i].off;

		res = ob_get_u64(dev, in, fields[i].name, &v);
		if (res < 0)
			return ob_error(dev, res, "field %s is missing or too long",
					fields[i].name);
		if (fields[i].width == 4)
			*(uint32_t *)p = (uint32_t)v;
		else
			*(uint64_t *)p = v;
	}
	res = ob_get_u64(dev, in, "dma-left-ns", &left);
	if (res == 0)
		res = ob_get(dev, in, "buffer", e->buffer, sizeof(e->buffer));
	if (res < 0)
		return ob_error(dev, res, "fields dma-left-ns and buffer are missing or too long");
	e->status &= STATUS_COMPUTING | STATUS_IRQ;
	if (e->status & STATUS_COMPUTING)
		ob_timer_set(dev, e->compute, 0);
	if (e->cmd & DMA_RUN)
		ob_timer_set(dev, e->transfer, left < DMA_DELAY_NS ? left : DMA_DELAY_NS);
	return 0;
}

static const struct ob_prop edu_props[] = {
	{
		.size = sizeof(struct ob_prop),
		.type = OB_PROP_UINT,
		.name = "dma-mask",
		.help = "bits of guest addresses that DMA can reach",
		.min = 0,
		.max = UINT64_MAX,
		.def = 0x0fffffff,
	},
};

extern const struct ob_class edu_class;
const struct ob_class edu_class = {
	.size = sizeof(struct ob_class),
	.state_size = sizeof(struct edu),
	.name = "edu",
	.help = "teaching device: registers, factorial, DMA, INTx and MSI",
	.id =
		{
			.vendor = 0x1234,
			.device = 0x11e8,
			.subsystem_vendor = 0x1af4,
			.subsystem = 0x1100,
			.class_code = 0x00ff00,
			.revision = 0x10,
			.intx_pin = 1,
		},
	.props = edu_props,
	.n_props = sizeof(edu_props) / sizeof(edu_props[0]),
	.state_version = 1,
	.open = edu_open,
	.reset = edu_reset,
	.save = edu_save,
	.restore = edu_restore,
};

#ifdef EDU_PLUGIN
OB_PLUGIN(&edu_class);
#endif
