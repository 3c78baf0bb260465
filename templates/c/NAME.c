/*
 * @NAME@: a PCI device that adds up bytes of the guest's memory.
 *
 *   0x00  ID       read: 0xadd0001
 *   0x04  STATUS   read: 1 busy, 2 done, 4 failed; written ones clear 2 and 4 and lower the
 * interrupt 0x08  LEN      bytes to add up, at most 65536 0x10  ADDR     where they are (low half;
 * 0x14: high half) 0x18  RESULT   where the sum goes, 4 bytes (low half; 0x1c: high half) 0x20
 * START    any write starts 0x24  COUNT    read: how many sums were made since reset
 *
 * The end is told by an interrupt: MSI when the driver has enabled it, else INTx. Registers are 32
 * bits wide; other accesses read all ones and write nothing. ADDR to LEN keep still while it is
 * busy. See outboard.h for everything that a device can do.
 */
#include <outboard.h>

#include <errno.h>
#include <string.h>

enum {
	REG_ID = 0x00,
	REG_STATUS = 0x04,
	REG_LEN = 0x08,
	REG_ADDR = 0x10,
	REG_RESULT = 0x18,
	REG_START = 0x20,
	REG_COUNT = 0x24,
	BAR_LEN = 4096,

	ID_VALUE = 0x0add0001,
	BUSY = 1,
	DONE = 2,
	FAILED = 4,
	LEN_MAX = 65536,
};

struct state { /* zeroed before device_open() */
	uint32_t status, len, count;
	uint64_t addr, result;
	struct ob_dma dma;
	struct ob_sg range;
	uint8_t data[LEN_MAX];
	uint8_t sum[4]; /* as the guest will see it: little endian */
};

static void end(struct ob_dev *dev, uint32_t how)
{
	struct state *s = dev->state;

	s->status = how;
	s->count += how == DONE;
	if (ob_msi_mode(dev) != OB_MSI_OFF)
		ob_msi_send(dev, 0);
	else
		ob_irq_raise(dev);
}

/* Whether the transfer went well; else the work ends here. */
static int went_well(struct ob_dev *dev, int res)
{
	struct state *s = dev->state;

	if (res == 0)
		return 1;
	if (res == -ECANCELED) { /* a reset came, or the VMM went: nobody waits */
		s->status = 0;
		return 0;
	}
	ob_log(dev, OB_LOG_GUEST, "DMA of %#llx bytes at %#llx: %s",
	       (unsigned long long)s->range.len, (unsigned long long)s->range.addr, strerror(-res));
	end(dev, FAILED);
	return 0;
}

/* Moves len bytes between buf and guest memory; done() is called later, never in here. */
static void transfer(struct ob_dev *dev, unsigned direction, uint64_t addr, void *buf, uint64_t len,
		     void (*done)(struct ob_dev *dev, struct ob_dma *dma, int res))
{
	struct state *s = dev->state;
	int res;

	s->range.addr = addr;
	s->range.len = len;
	memset(&s->dma, 0, sizeof(s->dma));
	s->dma.size = sizeof(s->dma);
	s->dma.flags = direction;
	s->dma.sg = &s->range;
	s->dma.n_sg = 1;
	s->dma.buf = buf;
	s->dma.done = done;
	res = ob_dma_start(dev, &s->dma);
	if (res < 0)
		went_well(dev, res);
}

static void sum_written(struct ob_dev *dev, struct ob_dma *dma, int res)
{
	(void)dma;
	if (went_well(dev, res))
		end(dev, DONE);
}

static void bytes_read(struct ob_dev *dev, struct ob_dma *dma, int res)
{
	struct state *s = dev->state;
	uint32_t sum = 0;

	(void)dma;
	if (!went_well(dev, res))
		return;
	for (uint32_t i = 0; i < s->len; i++)
		sum += s->data[i];
	for (unsigned i = 0; i < 4; i++)
		s->sum[i] = (uint8_t)(sum >> (8 * i));
	transfer(dev, OB_DMA_WRITE, s->result, s->sum, sizeof(s->sum), sum_written);
}

static void start(struct ob_dev *dev)
{
	struct state *s = dev->state;

	if (s->len == 0 || s->len > LEN_MAX) { /* what the guest says is checked here, once */
		ob_log(dev, OB_LOG_GUEST, "LEN is %u, must be 1 to %d", s->len, LEN_MAX);
		end(dev, FAILED);
		return;
	}
	s->status = BUSY;
	transfer(dev, OB_DMA_READ, s->addr, s->data, s->len, bytes_read);
}

static uint64_t read_register(struct ob_dev *dev, uint64_t off, unsigned width)
{
	const struct state *s = dev->state;

	if (width != 4)
		return UINT64_MAX;
	switch (off) {
	case REG_ID: return ID_VALUE;
	case REG_STATUS: return s->status;
	case REG_LEN: return s->len;
	case REG_ADDR: return s->addr & 0xffffffff;
	case REG_ADDR + 4: return s->addr >> 32;
	case REG_RESULT: return s->result & 0xffffffff;
	case REG_RESULT + 4: return s->result >> 32;
	case REG_COUNT: return s->count;
	default: return UINT64_MAX;
	}
}

static uint64_t low(uint64_t old, uint64_t value)
{
	return (old & ~0xffffffffull) | value;
}

static uint64_t high(uint64_t old, uint64_t value)
{
	return (old & 0xffffffff) | value << 32;
}

static void write_register(struct ob_dev *dev, uint64_t off, uint64_t value, unsigned width)
{
	struct state *s = dev->state;

	if (width != 4)
		return;
	if (off == REG_STATUS) {
		s->status &= ~((uint32_t)value & (DONE | FAILED));
		if (!(s->status & (DONE | FAILED)))
			ob_irq_lower(dev);
		return;
	}
	if (s->status & BUSY)
		return;
	switch (off) {
	case REG_LEN: s->len = (uint32_t)value; break;
	case REG_ADDR: s->addr = low(s->addr, value); break;
	case REG_ADDR + 4: s->addr = high(s->addr, value); break;
	case REG_RESULT: s->result = low(s->result, value); break;
	case REG_RESULT + 4: s->result = high(s->result, value); break;
	case REG_START: start(dev); break;
	}
}

static int device_open(struct ob_dev *dev)
{
	struct ob_bar bar;

	memset(&bar, 0, sizeof(bar));
	bar.size = sizeof(bar);
	bar.index = 0;
	bar.len = BAR_LEN;
	bar.read = read_register;
	bar.write = write_register;
	ob_add_bar(dev, &bar);
	ob_add_msi(dev, 1, 0);
	return 0;
}

static void device_reset(struct ob_dev *dev, enum ob_reset kind)
{
	struct state *s = dev->state;

	(void)kind;
	memset(s, 0, sizeof(*s)); /* transfers have ended before this is called */
}

static const struct ob_class device_class = {
	.size = sizeof(struct ob_class),
	.state_size = sizeof(struct state),
	.name = "@NAME@",
	.help = "adds up bytes of the guest's memory",
	.id =
		{
			.vendor = 0x1234, /* yours, once you have one */
			.device = 0x0add,
			.class_code = 0xff0000,
			.revision = 1,
			.intx_pin = 1,
		},
	.open = device_open,
	.reset = device_reset,
};

OB_PLUGIN(&device_class);
