/*
 * A port of the HBA: its registers, its link, and what hangs on it (AHCI 1.3.1 3.3, 10.4; ata.md
 * 4.3, 5.3).
 */
#include "device/ahci/ahci.h"

#include "base/err.h"

#include <errno.h>

/* clang-format off */
enum {	/* registers */
	P_CLB = 0x00, P_CLBU = 0x04, P_FB = 0x08, P_FBU = 0x0c, P_IS = 0x10, P_IE = 0x14, P_CMD = 0x18,
	P_TFD = 0x20, P_SIG = 0x24, P_SSTS = 0x28, P_SCTL = 0x2c, P_SERR = 0x30, P_SACT = 0x34,
	P_CI = 0x38, P_SNTF = 0x3c,
	SIG_NONE = -1,
};
/* clang-format on */

/* ---- interrupts ---- */

uint32_t ahci_port_is(const struct ahci_port *p)
{
	return p->is | (p->serr & SERR_F ? IS_UFS : 0) | (p->serr & SERR_X ? IS_PCS : 0) |
	       (p->serr & SERR_N ? IS_PRCS : 0);
}

void ahci_port_raise(struct ahci_port *p, uint32_t bits)
{
	/* What comes anew interrupts anew, also where the driver has not taken the last one yet. */
	p->seen &= ~bits;
	p->is |= bits;
	ahci_update(p);
}

/* ---- the link ---- */

void ahci_port_set_regs(struct ahci_port *p, const struct ata_regs *regs)
{
	p->tfd = (uint32_t)regs->error << 8 | regs->status;
	p->sig = (uint32_t)(regs->lba & 0xffffff) << 8 | (regs->count & 0xff);
}

static void link_down(struct ahci_port *p, uint32_t ssts)
{
	p->ssts = ssts;
	p->tfd = TFD_NONE;
	p->sig = (uint32_t)SIG_NONE;
	p->signature_due = p->notify_due = false;
}

void ahci_port_link(struct ahci_port *p)
{
	struct ata_regs regs;

	p->in_srst = p->halted = false;
	if ((p->sctl & SCTL_DET) == DET_OFF) {
		link_down(p, SSTS_OFF);
		return;
	}
	if (!p->unit || (p->sctl & SCTL_DET) == DET_RESET) {
		link_down(p, 0);
		return;
	}
	ata_reset(p->unit, ATA_RESET_HARD, &regs);
	regs.status |= ATA_DRDY; /* of a packet device too: drivers wait for it after COMRESET */
	ahci_port_set_regs(p, &regs);
	p->ssts = SSTS_UP;
	p->serr |= SERR_X | SERR_N;
	p->seen &= ~(uint32_t)(IS_PCS | IS_PRCS);
	p->signature_due = true;
	ahci_port_post_due(p);
	ahci_update(p);
}

co_fn void ahci_port_drain(struct ahci_port *p)
{
	while (p->running)
		co_queue_wait(&p->idle);
}

/* Nothing runs. */
static void settle(struct ahci_port *p)
{
	p->draining = false;
	if (p->link_due && !p->h->closing) {
		p->link_due = false;
		ahci_port_link(p);
	}
	ahci_port_is_idle(p);
	ahci_port_kick(p);
}

void ahci_port_leave(struct ahci_port *p)
{
	p->running--;
	co_queue_wake_all(&p->idle);
	if (!p->running)
		settle(p);
}

void ahci_port_comreset(struct ahci_port *p)
{
	ahci_port_cancel(p);
	p->ci = p->sact = 0;
	p->ssts = 0;
	p->tfd = ATA_BSY | TFD_NONE;
	p->link_due = true;
	if (!p->running)
		settle(p);
}

/* ---- PxCMD ---- */

/* What runs is ended, not forgotten: PxCMD.CR reads 1 until it is, the device is not busy then. */
static void stop_list(struct ahci_port *p)
{
	ahci_port_cancel(p);
	p->ci = p->sact = 0;
	p->last = p->next = 0;
	p->halted = false;
	if (p->unit && p->tfd & ATA_BSY && p->ssts == SSTS_UP)
		p->tfd = ATA_DRDY | ATA_DSC;
}

static void write_cmd(struct ahci_port *p, uint32_t value)
{
	uint32_t old = p->cmd;

	p->cmd = CMD_SUD | CMD_POD | (value & CMD_WRITABLE);
	if (value & CMD_CLO && !(old & CMD_ST))
		p->tfd &= ~(uint32_t)(ATA_BSY | ATA_DRQ);
	if (old & CMD_ST && !(value & CMD_ST))
		stop_list(p);
	ahci_port_post_due(p);
	ahci_port_kick(p);
}

static uint32_t read_cmd(const struct ahci_port *p)
{
	uint32_t cmd = p->cmd;

	if (cmd & CMD_FRE || p->posting)
		cmd |= CMD_FR;
	if (cmd & CMD_ST || p->running)
		cmd |= CMD_CR;
	return cmd | p->last << 8;
}

/* ---- registers ---- */

uint32_t ahci_port_read(struct ahci_port *p, unsigned off)
{
	switch (off) {
	case P_CLB: return (uint32_t)p->clb;
	case P_CLBU: return (uint32_t)(p->clb >> 32);
	case P_FB: return (uint32_t)p->fb;
	case P_FBU: return (uint32_t)(p->fb >> 32);
	case P_IS: return ahci_port_is(p);
	case P_IE: return p->ie;
	case P_CMD: return read_cmd(p);
	case P_TFD: return p->tfd;
	case P_SIG: return p->sig;
	case P_SSTS: return p->ssts;
	case P_SCTL: return p->sctl;
	case P_SERR: return p->serr;
	case P_SACT: return p->sact;
	case P_CI: return p->ci;
	case P_SNTF: return p->sntf;
	default: return 0;
	}
}

static void write_sctl(struct ahci_port *p, uint32_t value)
{
	unsigned before = p->sctl & SCTL_DET, now = value & SCTL_DET;

	p->sctl = value & SCTL_MASK;
	if (now != before && (now == DET_OFF || now == DET_RESET || before != 0))
		ahci_port_comreset(p);
}

static uint64_t set_half(uint64_t old, uint32_t value, bool high)
{
	return high ? (old & UINT32_MAX) | (uint64_t)value << 32
		    : (old & ~(uint64_t)UINT32_MAX) | value;
}

void ahci_port_write(struct ahci_port *p, unsigned off, uint32_t value)
{
	switch (off) {
	case P_CLB: p->clb = set_half(p->clb, value & ~(uint32_t)CLB_MASK, false); break;
	case P_CLBU: p->clb = set_half(p->clb, value, true); break;
	case P_FB: p->fb = set_half(p->fb, value & ~(uint32_t)FB_MASK, false); break;
	case P_FBU: p->fb = set_half(p->fb, value, true); break;
	case P_IS:
		p->is &= ~value;
		ahci_update(p);
		break;
	case P_IE:
		p->ie = value & (uint32_t)IE_MASK;
		ahci_update(p);
		break;
	case P_CMD: write_cmd(p, value); break;
	case P_SCTL: write_sctl(p, value); break;
	case P_SERR:
		p->serr &= ~value;
		ahci_update(p);
		break;
	case P_SACT:
		if (p->cmd & CMD_ST)
			p->sact |= value;
		break;
	case P_CI:
		if (p->cmd & CMD_ST) {
			p->ci |= value;
			ahci_port_kick(p);
		}
		break;
	case P_SNTF: p->sntf &= ~value; break;
	default: break; /* read-only, or not there: drivers write them all the same */
	}
}

void ahci_port_reset_registers(struct ahci_port *p, bool power_on)
{
	if (power_on)
		p->clb = p->fb = 0;
	p->is = p->ie = p->serr = p->sctl = p->sact = p->ci = p->sntf = p->seen = 0;
	p->cmd = CMD_SUD | CMD_POD;
	p->last = p->next = 0;
	p->halted = p->in_srst = p->link_due = p->signature_due = false;
}

/* ---- FISes of the device's own accord ---- */

static co_fn void post_signature(struct ahci_port *p)
{
	uint8_t fis[FIS_D2H_LEN];
	struct ata_regs regs;

	ata_signature(p->unit, &regs);
	regs.status = (uint8_t)p->tfd;
	ahci_put_d2h(fis, &regs, false);
	ahci_post_fis(p, RX_D2H, fis, sizeof(fis));
}

/* The medium changed: a Set Device Bits FIS with N (4.9). CAP.SSNTF is 0, the FIS says it all. */
static co_fn void post_notification(struct ahci_port *p)
{
	uint8_t fis[FIS_SDB_LEN];
	unsigned epoch = p->epoch;

	ahci_put_sdb(fis, p->tfd & 0xff, 0, 0, true);
	if (ahci_post_fis(p, RX_SDB, fis, sizeof(fis)) == 0 && epoch == p->epoch) {
		p->sntf |= 1;
		ahci_port_raise(p, IS_SDBS);
	}
}

static co_fn void post_due(void *arg)
{
	struct ahci_port *p = arg;

	if (p->signature_due) {
		p->signature_due = false;
		post_signature(p);
	}
	if (p->notify_due) {
		p->notify_due = false;
		post_notification(p);
	}
	ahci_port_leave(p);
}

void ahci_port_post_due(struct ahci_port *p)
{
	if (!(p->signature_due || p->notify_due) || !(p->cmd & CMD_FRE) || p->ssts != SSTS_UP ||
	    p->leaving || p->h->stopped || p->h->closing || p->h->reset_due)
		return;
	p->running++;
	co_start(p->h->loop, post_due, p);
}

static void on_notify(struct ata_unit *u, void *arg)
{
	struct ahci_port *p = arg;

	(void)u;
	p->notify_due = true;
	ahci_port_post_due(p);
}

/* ---- what hangs on it ---- */

bool ahci_port_plug(struct ahci_port *p, const struct device_unit *unit, GError **error)
{
	struct ata_unit_options o = {
		.loop = p->h->loop,
		.name = p->name,
		.disk = unit->disk,
		.drive = unit->drive,
		.model = unit->model,
		.serial_number = unit->serial ? unit->serial : unit->id,
		.firmware = unit->firmware,
		.sata = true,
		.rotational = unit->rotational,
	};

	if (p->unit)
		return err_set(error, EBUSY, "port %u has %s", p->n, p->unit_id);
	g_snprintf(p->name, sizeof(p->name), "%s.port%u", p->h->dev->name, p->n);
	p->unit = ata_unit_new(&o, error);
	if (!p->unit)
		return err_prefix(error, "port%u=%s", p->n, unit->id);
	p->unit_id = g_strdup(unit->id);
	ata_unit_on_notify(p->unit, on_notify, p);
	return true;
}

co_fn void ahci_port_unplug(struct ahci_port *p)
{
	struct ata_unit *u;

	p->leaving = true;
	ahci_port_cancel(p);
	p->ci = p->sact = 0;
	ahci_port_drain(p);
	p->leaving = false;
	u = p->unit;
	p->unit = NULL;
	g_clear_pointer(&p->unit_id, g_free);
	link_down(p, 0);
	ata_unit_free(u);
}
