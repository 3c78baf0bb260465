/*
 * The command's side of a channel: its coroutine and what it waits for; resets and the bus master.
 * Everything that ends a command early goes through cancel() and then waits for ata_execute() to
 * return; that is the only way a command ends.
 */
#include "ata/channel_impl.h"

#include <string.h>

static bool is_cancelled(const struct ata_device *d)
{
	return d->is_resetting || d->is_stopped;
}

/* ---- Resets ---------------------------------------------------------------------------------- */

static void wake_drain(struct ata_channel *ch)
{
	co_queue_wake_all(&ch->draining);
}

/* The reset ends when nothing of the command is left and the host let go of SRST. */
void channel_reset_check(struct ata_device *d)
{
	struct ata_regs regs = {.count = 1, .lba = 0xffff01};

	if (!d->is_resetting || d->is_running || d->ch->control & CONTROL_SRST)
		return;
	d->is_resetting = false;
	if (d->unit)
		ata_reset(d->unit, d->reset, &regs);
	regs.status &= (uint8_t)~STATUS_BUSY;
	channel_show(d, &regs);
	if (d->reset == ATA_RESET_DIAGNOSTIC && !d->second && d->unit)
		channel_set_pending(d, true);
}

/* Its window is gone, its waits end; ata_execute() returns soon. */
static void cancel(struct ata_device *d)
{
	d->drq = NULL;
	if (!d->is_running)
		return;
	ata_cancel(&d->cmd);
	if (d->co)
		co_wake(d->co);
}

void channel_reset_begin(struct ata_device *d, enum ata_reset_kind kind)
{
	/* One under way may do more than the new one. */
	if (!d->is_resetting || (d->reset != ATA_RESET_HARD && kind != ATA_RESET_DEVICE))
		d->reset = kind;
	d->is_resetting = true;
	d->is_stopped = false;
	d->status = d->unit ? ATA_BSY : 0;
	d->pending = false;
	cancel(d);
	channel_update_irq(d->ch);
	channel_reset_check(d);
}

void channel_reset_both(struct ata_channel *ch, enum ata_reset_kind kind)
{
	ch->selected = false;
	ch->control &= (uint8_t)~CONTROL_HOB;
	channel_reset_begin(&ch->devices[0], kind);
	channel_reset_begin(&ch->devices[1], kind);
}

/* ---- The command's side ---------------------------------------------------------------------- */

static struct ata_device *device_of(struct ata_cmd *c)
{
	return (struct ata_device *)((char *)c - offsetof(struct ata_device, cmd));
}

/* Until somebody wakes it; what for is looked at by the caller. */
static co_fn void host_wait(struct ata_device *d)
{
	d->co = co_self();
	d->waits = true;
	wake_drain(d->ch);
	co_yield();
	d->waits = false;
	d->co = NULL;
}

static co_fn int host_pio(struct ata_cmd *c, const struct ata_drq *drq)
{
	struct ata_device *d = device_of(c);

	if (is_cancelled(d))
		return -ECANCELED;
	channel_show(d, &drq->regs);
	d->status = (uint8_t)((drq->regs.status & ~ATA_BSY) | ATA_DRQ);
	d->drq = drq;
	d->at = 0;
	if (drq->irq)
		channel_set_pending(d, true);
	while (d->drq)
		host_wait(d);
	return is_cancelled(d) ? -ECANCELED : 0;
}

/* Its command never ends by itself. */
static co_fn int hang(struct ata_device *d)
{
	while (!is_cancelled(d))
		host_wait(d);
	return -ECANCELED;
}

static void release_engine(struct ata_device *d)
{
	d->ch->dma_owner = NULL;
	ata_channel_start_dma(d->ch);
}

static co_fn int host_dma_begin(struct ata_cmd *c, bool to_host, size_t len, struct iovs *iov)
{
	struct ata_device *d = device_of(c);
	struct ata_channel *ch = d->ch;
	bool ignored;
	int res;

	while (!is_cancelled(d) && (ch->dma_owner || !ch->ops->dma_is_ready(ch->opaque)))
		host_wait(d);
	if (is_cancelled(d))
		return -ECANCELED;
	ch->dma_owner = d;
	res = ch->ops->dma_begin(ch->opaque, to_host, len, iov);
	if (res == 0 && !is_cancelled(d))
		return 0;
	if (res == 0)
		ch->ops->dma_end(ch->opaque, 0, &ignored);
	hang(d);
	release_engine(d);
	return -ECANCELED;
}

static co_fn int host_dma_end(struct ata_cmd *c, size_t done)
{
	struct ata_device *d = device_of(c);
	bool hangs = false;
	int res = d->ch->ops->dma_end(d->ch->opaque, done, &hangs);

	if (res < 0 || hangs)
		hang(d);
	release_engine(d);
	return is_cancelled(d) ? -ECANCELED : 0;
}

static const struct ata_host_ops host_ops = {
	.pio = host_pio,
	.dma_begin = host_dma_begin,
	.dma_end = host_dma_end,
};

void channel_show_abort(struct ata_device *d)
{
	d->error = ATA_ABRT;
	d->status = STATUS_ABORTED;
	channel_set_pending(d, true);
}

static void execute(void *arg)
{
	struct ata_device *d = arg;

	ata_execute(d->unit, &d->cmd);
	d->is_running = false;
	d->drq = NULL;
	if (d->is_resetting) {
		channel_reset_check(d);
	} else if (d->is_stopped || d->cmd.cancelled) {
		channel_show_abort(d);
	} else {
		channel_show(d, &d->cmd.regs);
		d->status &= (uint8_t)~STATUS_BUSY;
		if (!d->cmd.quiet)
			channel_set_pending(d, true);
	}
	wake_drain(d->ch);
}

void channel_start_command(struct ata_device *d, uint8_t command)
{
	struct ata_tf *tf = &d->cmd.tf;

	memset(&d->cmd, 0, sizeof(d->cmd));
	tf->command = command;
	tf->device = (uint8_t)(d->device | DEVICE_ONES | (d->second ? DEVICE_SECOND : 0));
	tf->feature = (uint16_t)(d->feature[1] << 8 | d->feature[0]);
	tf->count = (uint16_t)(d->count[1] << 8 | d->count[0]);
	for (unsigned i = 0; i < 3; i++)
		tf->lba |= (uint64_t)d->lba[i][0] << 8 * i | (uint64_t)d->lba[i][1] << (24 + 8 * i);
	d->cmd.ops = &host_ops;
	d->error = 0;
	d->status = ATA_BSY;
	d->is_stopped = false;
	d->is_running = true;
	channel_set_pending(d, false);
	co_start(d->ch->loop, execute, d);
}

void ata_channel_start_dma(struct ata_channel *ch)
{
	for (unsigned i = 0; i < 2; i++) {
		struct ata_device *d = &ch->devices[i];

		if (d->co && !d->drq)
			co_wake(d->co);
	}
}

void ata_channel_stop_dma(struct ata_channel *ch)
{
	struct ata_device *d = ch->dma_owner;

	if (!d || is_cancelled(d))
		return;
	d->is_stopped = true;
	cancel(d);
}

static bool is_still(const struct ata_device *d)
{
	return !d->is_running || (d->waits && !is_cancelled(d));
}

bool ata_channel_is_still(const struct ata_channel *ch)
{
	return is_still(&ch->devices[0]) && is_still(&ch->devices[1]);
}

co_fn void ata_channel_drain(struct ata_channel *ch)
{
	while (!ata_channel_is_still(ch))
		co_queue_wait(&ch->draining);
}

void ata_channel_reset(struct ata_channel *ch)
{
	ch->control = 0;
	channel_reset_both(ch, ATA_RESET_HARD);
}
