/*
 * The parallel ATA channel (ATA/ATAPI-6 and -7, parallel transport): registers of two devices, the
 * data window, interrupts, resets.
 *
 * Each device has registers of its own; writes to FEATURES, COUNT, LBA and DEVICE go to both,
 * everything else to the selected one. A device is in one of these states, told by its STATUS:
 *
 *	idle		BSY=0 DRQ=0; COMMAND starts a command
 *	executing	BSY=1; the command's coroutine runs or waits for I/O or the bus master
 *	window armed	DRQ=1; the coroutine sleeps until the host moved the block
 *	resetting	BSY=1; the command, if there is one, ends unseen; then the signature
 *
 * The window is armed by host_pio() alone and disarmed (executing again) before the coroutine goes
 * on. While a coroutine lives no other is started, so a stale completion cannot be: what it was to
 * show is dropped when the device is resetting.
 */
#include "ata/channel_impl.h"

#include "base/bytes.h"

#include <string.h>

enum { /* command block; all but DATA are one byte wide */
       REG_DATA,
       REG_ERROR,
       REG_FEATURE = REG_ERROR,
       REG_COUNT,
       REG_LBA_LOW,
       REG_LBA_MID,
       REG_LBA_HIGH,
       REG_DEVICE,
       REG_STATUS,
       REG_COMMAND = REG_STATUS,
};

/* Of a saved state. */
enum { STATE_CONTROL, STATE_SELECTED, STATE_DEVICE, STATE_DEVICE_LEN = 14 };

static struct ata_device *selected(struct ata_channel *ch)
{
	return &ch->devices[ch->selected];
}

void channel_update_irq(struct ata_channel *ch)
{
	bool level = selected(ch)->pending && !(ch->control & CONTROL_NIEN);

	if (level == ch->level)
		return;
	ch->level = level;
	if (!ch->is_closing)
		ch->ops->irq(ch->opaque, level);
}

void channel_set_pending(struct ata_device *d, bool pending)
{
	d->pending = pending;
	channel_update_irq(d->ch);
}

/* What the registers of two bytes have becomes visible in both halves. */
void channel_show(struct ata_device *d, const struct ata_regs *r)
{
	d->error = r->error;
	d->device = r->device & DEVICE_KEPT;
	d->count[0] = (uint8_t)r->count;
	d->count[1] = (uint8_t)(r->count >> 8);
	for (unsigned i = 0; i < 3; i++) {
		d->lba[i][0] = (uint8_t)(r->lba >> 8 * i);
		d->lba[i][1] = (uint8_t)(r->lba >> (24 + 8 * i));
	}
	d->status = r->status;
}

/* ---- Registers ------------------------------------------------------------------------------- */

static void command(struct ata_channel *ch, uint8_t value)
{
	struct ata_device *d = selected(ch);
	bool is_packet = d->unit && ata_unit_is_packet(d->unit);

	if (value == ATA_OP_DEVICE_RESET && is_packet && !(ch->control & CONTROL_SRST)) {
		channel_reset_begin(d, ATA_RESET_DEVICE);
		return;
	}
	if (d->status & STATUS_BUSY)
		return;
	if (value == ATA_OP_DIAGNOSTIC) {
		channel_reset_both(ch, ATA_RESET_DIAGNOSTIC);
	} else if (d->unit && value == ATA_OP_DEVICE_RESET) {
		channel_show_abort(d);
	} else if (d->unit) {
		channel_start_command(d, value);
	}
}

static void control_changed(struct ata_channel *ch, uint8_t old)
{
	if (ch->control & ~old & CONTROL_SRST)
		channel_reset_both(ch, ATA_RESET_SOFT);
	if (old & ~ch->control & CONTROL_SRST) {
		channel_reset_check(&ch->devices[0]);
		channel_reset_check(&ch->devices[1]);
	}
	channel_update_irq(ch);
}

void ata_channel_write_control(struct ata_channel *ch, uint8_t value)
{
	uint8_t old = ch->control;

	if (ch->is_empty)
		return;
	ch->control = value & CONTROL_KNOWN;
	control_changed(ch, old);
}

uint8_t ata_channel_read_control(struct ata_channel *ch)
{
	return ch->is_empty ? 0xff : selected(ch)->status;
}

static void push(uint8_t *reg, uint8_t value)
{
	reg[1] = reg[0];
	reg[0] = value;
}

static void load(struct ata_device *d, unsigned reg, uint8_t value)
{
	if (d->status & STATUS_BUSY)
		return;
	switch (reg) {
	case REG_FEATURE: push(d->feature, value); break;
	case REG_COUNT: push(d->count, value); break;
	case REG_DEVICE: d->device = value & DEVICE_KEPT; break;
	default: push(d->lba[reg - REG_LBA_LOW], value); break;
	}
}

/* A busy device keeps its registers, but may be left for the other one. */
static void write_register(struct ata_channel *ch, unsigned reg, uint8_t value)
{
	bool is_busy = selected(ch)->status & STATUS_BUSY;

	ch->control &= (uint8_t)~CONTROL_HOB;
	if (reg == REG_COMMAND) {
		command(ch, value);
		return;
	}
	if (!is_busy || reg == REG_DEVICE) {
		load(&ch->devices[0], reg, value);
		load(&ch->devices[1], reg, value);
	}
	if (reg == REG_DEVICE && !(ch->control & CONTROL_SRST)) {
		ch->selected = value & DEVICE_SECOND;
		channel_update_irq(ch);
	}
}

static uint8_t read_register(struct ata_channel *ch, unsigned reg)
{
	struct ata_device *d = selected(ch);
	bool hob = ch->control & CONTROL_HOB;

	switch (reg) {
	case REG_ERROR: return d->error;
	case REG_COUNT: return d->count[hob];
	case REG_DEVICE:
		return (uint8_t)(d->device | DEVICE_ONES | (ch->selected ? DEVICE_SECOND : 0));
	case REG_STATUS:
		if (d->pending)
			channel_set_pending(d, false);
		return d->status;
	default: return d->lba[reg - REG_LBA_LOW][hob];
	}
}

/* ---- The data window ------------------------------------------------------------------------- */

/* Up to len bytes of the armed window, if it has that direction. */
static size_t window(struct ata_device *d, bool to_host, uint8_t **p, size_t len)
{
	if (!d->drq || (d->drq->phase == ATA_PHASE_IN) != to_host)
		return 0;
	*p = (uint8_t *)d->drq->buf + d->at;
	return MIN(len, d->drq->len - d->at);
}

static void advance(struct ata_device *d, size_t len)
{
	d->at += len;
	if (d->at < d->drq->len)
		return;
	d->drq = NULL;
	d->status = ATA_BSY;
	co_wake(d->co);
}

size_t ata_channel_read_data(struct ata_channel *ch, void *buf, size_t len)
{
	struct ata_device *d = selected(ch);
	uint8_t *p = NULL;
	size_t n = window(d, true, &p, len);

	if (ch->is_empty) {
		memset(buf, 0xff, len);
		return 0;
	}
	if (n) {
		memcpy(buf, p, n);
		advance(d, n);
	}
	memset((uint8_t *)buf + n, 0, len - n);
	return n;
}

size_t ata_channel_write_data(struct ata_channel *ch, const void *buf, size_t len)
{
	struct ata_device *d = selected(ch);
	uint8_t *p = NULL;
	size_t n = window(d, false, &p, len);

	if (n) {
		memcpy(p, buf, n);
		advance(d, n);
	}
	return n;
}

/* One byte moves a word: its high half is dropped, or 0 (old boot loaders read like that). */
static uint32_t read_data(struct ata_channel *ch, unsigned width)
{
	uint8_t b[4] = {0};

	ata_channel_read_data(ch, b, MAX(width, 2));
	return width == 1 ? b[0] : get_le32(b);
}

uint32_t ata_channel_read(struct ata_channel *ch, unsigned reg, unsigned width)
{
	if (reg == REG_DATA && (width == 1 || width == 2 || width == 4))
		return read_data(ch, width);
	if (width != 1 || reg > REG_STATUS || ch->is_empty)
		return UINT32_MAX;
	return read_register(ch, reg);
}

void ata_channel_write(struct ata_channel *ch, unsigned reg, uint32_t value, unsigned width)
{
	uint8_t b[4];

	if (reg == REG_DATA && (width == 1 || width == 2 || width == 4)) {
		put_le32(b, width == 1 ? value & 0xff : value);
		ata_channel_write_data(ch, b, MAX(width, 2));
	} else if (width == 1 && reg <= REG_COMMAND && !ch->is_empty) {
		write_register(ch, reg, (uint8_t)value);
	}
}

/* ---- Life ---------------------------------------------------------------------------------------
 */

static void show_signature(struct ata_device *d)
{
	struct ata_regs none = {.count = 1, .lba = 0xffff01};

	if (d->unit)
		ata_signature(d->unit, &none);
	channel_show(d, &none);
}

struct ata_channel *ata_channel_new(struct loop *loop, const struct ata_channel_ops *ops,
				    void *opaque, struct ata_unit *device0,
				    struct ata_unit *device1)
{
	struct ata_channel *ch = g_new0(struct ata_channel, 1);

	ch->loop = loop;
	ch->ops = ops;
	ch->opaque = opaque;
	ch->is_empty = !device0 && !device1;
	for (unsigned i = 0; i < 2; i++) {
		struct ata_device *d = &ch->devices[i];

		d->ch = ch;
		d->unit = i ? device1 : device0;
		d->second = i;
		show_signature(d);
	}
	return ch;
}

co_fn void ata_channel_free(struct ata_channel *ch)
{
	if (!ch)
		return;
	ch->is_closing = true;
	ata_channel_reset(ch);
	ata_channel_drain(ch);
	g_free(ch);
}

/* The bytes of a device, in the order they are saved. */
static void list_registers(struct ata_device *d, uint8_t *out[STATE_DEVICE_LEN - 1])
{
	unsigned n = 0;

	out[n++] = &d->status;
	out[n++] = &d->error;
	out[n++] = &d->device;
	for (unsigned i = 0; i < 2; i++) {
		out[n++] = &d->feature[i];
		out[n++] = &d->count[i];
		for (unsigned k = 0; k < 3; k++)
			out[n++] = &d->lba[k][i];
	}
}

bool ata_channel_save(struct ata_channel *ch, uint8_t *state)
{
	memset(state, 0, ATA_CHANNEL_STATE);
	state[STATE_CONTROL] = ch->control;
	state[STATE_SELECTED] = ch->selected;
	for (unsigned i = 0; i < 2; i++) {
		uint8_t *regs[STATE_DEVICE_LEN - 1],
			*p = state + STATE_DEVICE + i * STATE_DEVICE_LEN;

		if (ch->devices[i].is_running)
			return false;
		list_registers(&ch->devices[i], regs);
		for (unsigned k = 0; k < G_N_ELEMENTS(regs); k++)
			*p++ = *regs[k];
		*p = ch->devices[i].pending;
	}
	return true;
}

void ata_channel_restore(struct ata_channel *ch, const uint8_t *state)
{
	bool is_held = !ch->is_empty && state[STATE_CONTROL] & CONTROL_SRST;

	ch->control = ch->is_empty ? 0 : state[STATE_CONTROL] & CONTROL_KNOWN;
	ch->selected = state[STATE_SELECTED] & 1 && !is_held;
	for (unsigned i = 0; i < 2; i++) {
		struct ata_device *d = &ch->devices[i];
		const uint8_t *p = state + STATE_DEVICE + i * STATE_DEVICE_LEN;
		uint8_t *regs[STATE_DEVICE_LEN - 1];

		list_registers(d, regs);
		for (unsigned k = 0; k < G_N_ELEMENTS(regs); k++)
			*regs[k] = *p++;
		d->pending = d->unit && !is_held && *p & 1;
		d->device &= DEVICE_KEPT;
		d->status &= ATA_DRDY | ATA_DF | ATA_DSC | ATA_ERR;
		d->is_resetting = is_held;
		d->reset = ATA_RESET_SOFT;
		if (!d->unit || is_held)
			d->status = d->unit ? ATA_BSY : 0;
	}
	channel_update_irq(ch);
}
