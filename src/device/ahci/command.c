/*
 * Commands of a port: from the list in guest memory to ata_execute() and back (AHCI 1.3.1 5.3 to
 * 5.6; ata.md 4.5 to 4.7).
 *
 * Header, command FIS and packet are copied once and never looked at again. The order of an end is:
 * data, PRDBC, FIS, PxTFD, PxCI, PxIS, interrupt; drivers poll any of these and expect those
 * before it.
 */
#include "device/ahci/ahci.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"

static struct ahci_slot *slot_of(struct ata_cmd *c)
{
	return (struct ahci_slot *)c;
}

static bool is_stale(const struct ahci_slot *s)
{
	return s->epoch != s->port->epoch;
}

/* ---- FISes to the guest ---- */

co_fn int ahci_post_fis(struct ahci_port *p, unsigned at, const uint8_t *fis, size_t len)
{
	int res;

	if (!(p->cmd & CMD_FRE))
		return 0;
	p->posting++; /* where the VMM keeps its memory to itself this takes its time */
	res = guest_write(p->h->dev, p->fb + at, fis, len);
	p->posting--;
	return res;
}

static void set_tfd(struct ahci_port *p, unsigned status, unsigned error)
{
	p->tfd = error << 8 | status;
}

/* ---- the PRD table ---- */

static int add_entry(struct ahci_slot *s, const uint8_t raw[PRD_LEN])
{
	uint64_t addr, len;
	bool irq;
	int res;

	ahci_get_prd(raw, &addr, &len, &irq);
	res = guest_sg_add(&s->table, addr, len);
	if (res == 0 && irq && !s->irq_at)
		s->irq_at = s->table.len;
	return res;
}

/*
 * Copies the table until it covers upto bytes, each entry once. Never before data moves: drivers
 * leave nonsense there when none does.
 */
static co_fn int read_table(struct ahci_slot *s, uint64_t upto)
{
	enum { CHUNK = 64 };
	uint8_t raw[CHUNK * PRD_LEN];

	while (s->table.len < upto && s->prds < s->prdtl) {
		unsigned n = MIN(CHUNK, s->prdtl - s->prds);
		int res =
			guest_read(s->port->h->dev, s->ctba + PRDT_AT + (uint64_t)s->prds * PRD_LEN,
				   raw, (size_t)n * PRD_LEN);

		for (unsigned i = 0; i < n && res == 0; i++)
			res = add_entry(s, raw + (size_t)i * PRD_LEN);
		if (res < 0)
			return res;
		s->prds += n;
	}
	return 0;
}

/* Ranges of the table for [off, off + len), as far as it reaches. */
static int cut_table(struct ahci_slot *s, uint64_t off, uint64_t len)
{
	guest_sg_clear(&s->sg, s->port->h->dev);
	for (unsigned i = 0; i < s->table.n && len; i++) {
		const struct ob_sg *r = &s->table.sg[i];
		uint64_t part;
		int res;

		if (off >= r->len) {
			off -= r->len;
			continue;
		}
		part = MIN(r->len - off, len);
		res = guest_sg_add(&s->sg, r->addr + off, part);
		if (res < 0)
			return res;
		len -= part;
		off = 0;
	}
	s->over = s->over || len > 0;
	return 0;
}

/* Guest memory of [off, off + len) of the table; an error is the port's end. */
static co_fn int begin(struct ahci_slot *s, uint64_t off, uint64_t len, bool to_guest,
		       struct iovs *iov)
{
	int res = read_table(s, off + len);

	if (res == 0 && is_stale(s))
		return -ECANCELED;
	if (res == 0)
		res = cut_table(s, off, len);
	if (res == 0)
		res = guest_sg_begin(&s->sg, to_guest ? OB_DMA_WRITE : OB_DMA_READ, iov);
	if (res == 0 && is_stale(s)) {
		guest_sg_end(&s->sg, 0);
		return -ECANCELED;
	}
	s->fatal = s->fatal || res < 0;
	return res;
}

static co_fn int end(struct ahci_slot *s, size_t done)
{
	bool revoked = guest_sg_is_revoked(&s->sg);
	int res = guest_sg_end(&s->sg, done);

	if (is_stale(s))
		return -ECANCELED;
	if (res == 0 && revoked)
		res = -EFAULT;
	s->fatal = s->fatal || res < 0;
	if (res == 0)
		s->prdbc += (uint32_t)done;
	return res;
}

/* ---- what a unit asks of its adapter ---- */

static co_fn int host_dma_begin(struct ata_cmd *c, bool to_host, size_t len, struct iovs *iov)
{
	return begin(slot_of(c), 0, len, to_host, iov);
}

static co_fn int host_dma_end(struct ata_cmd *c, size_t done)
{
	return end(slot_of(c), done);
}

static co_fn int move_block(struct ahci_slot *s, const struct ata_drq *drq)
{
	bool in = drq->phase == ATA_PHASE_IN;
	struct iovs iov;
	size_t n;
	int res = begin(s, s->prdbc, drq->len, in, &iov);

	if (res < 0)
		return res;
	n = in ? iovs_put(&iov, 0, drq->buf, drq->len) : iovs_get(&iov, 0, drq->buf, drq->len);
	res = end(s, n);
	/* What the host has no room for is lost; what it does not send cannot be made up. */
	return res < 0 || in || n == drq->len ? res : -EIO;
}

static co_fn int host_pio(struct ata_cmd *c, const struct ata_drq *drq)
{
	struct ahci_slot *s = slot_of(c);
	struct ahci_port *p = s->port;
	uint8_t fis[FIS_PIO_LEN];
	int res = drq->phase == ATA_PHASE_CDB ? 0 : move_block(s, drq);

	if (res < 0)
		return res;
	ahci_put_pio(fis, drq);
	res = ahci_post_fis(p, RX_PIO_SETUP, fis, sizeof(fis));
	if (is_stale(s))
		return -ECANCELED;
	s->fatal = s->fatal || res < 0;
	if (res < 0)
		return res;
	set_tfd(p, drq->end_status, 0);
	/*
	 * The HBA goes on by itself, so the interrupt of a block has nothing to tell that the end
	 * of the command does not: one for both costs the driver half the register reads.
	 */
	if (drq->irq)
		s->irqs |= IS_PSS;
	return 0;
}

static const struct ata_host_ops host_ops = {
	.pio = host_pio,
	.dma_begin = host_dma_begin,
	.dma_end = host_dma_end,
};

/* ---- ends ---- */

static co_fn int put_prdbc(struct ahci_slot *s)
{
	struct ahci_port *p = s->port;
	uint8_t raw[4];

	put_le32(raw, s->prdbc);
	return guest_write(p->h->dev, p->clb + s->n * HEADER_LEN + PRDBC_AT, raw, sizeof(raw));
}

void ahci_port_halt(struct ahci_port *p, uint32_t bits)
{
	p->halted = true;
	ahci_port_raise(p, bits);
}

static co_fn void finish(struct ahci_slot *s)
{
	struct ahci_port *p = s->port;
	struct ata_cmd *c = &s->cmd;
	uint32_t bits = s->irqs | (s->irq_at && s->irq_at <= s->prdbc ? IS_DPS : 0);
	uint8_t fis[FIS_D2H_LEN];

	s->fatal = s->fatal || put_prdbc(s) < 0;
	if (is_stale(s))
		return;
	if (!s->fatal && !c->quiet) {
		ahci_put_d2h(fis, &c->regs, true);
		s->fatal = ahci_post_fis(p, RX_D2H, fis, sizeof(fis)) < 0;
		if (is_stale(s))
			return;
	}
	if (s->fatal) {
		ahci_port_halt(p,
			       IS_HBFS); /* and the device stays busy: its transfer never ended */
		return;
	}
	set_tfd(p, c->regs.status, c->regs.error);
	bits |= (c->quiet ? 0 : IS_DHRS) | (s->over ? IS_OFS : 0);
	if (c->regs.status & ATA_ERR) {
		ahci_port_halt(p, bits | IS_TFES);
	} else {
		p->ci &= ~(UINT32_C(1) << s->n);
		ahci_port_raise(p, bits);
	}
}

static co_fn void finish_queued(struct ahci_slot *s)
{
	struct ahci_port *p = s->port;
	uint8_t fis[FIS_SDB_LEN];
	uint32_t done;

	if (!s->fatal && !(s->cmd.regs.status & ATA_ERR)) {
		ahci_sdb_done(p, s->tag);
		return;
	}
	done = ahci_sdb_take(p); /* those that were well are told with it */
	ahci_put_sdb(fis, s->cmd.regs.status, s->cmd.regs.error, done, false);
	ahci_post_fis(p, RX_SDB, fis, sizeof(fis));
	if (is_stale(s))
		return;
	p->sact &= ~done;
	set_tfd(p, s->cmd.regs.status, s->cmd.regs.error);
	ahci_port_halt(p, IS_SDBS | (s->fatal ? IS_HBFS : IS_TFES) | (s->over ? IS_OFS : 0));
}

/* ---- execution ---- */

static void leave(struct ahci_slot *s)
{
	s->running = false;
	ahci_port_leave(s->port);
}

static co_fn void execute(struct ahci_slot *s)
{
	s->executing = true;
	ata_execute(s->port->unit, &s->cmd);
	s->executing = false;
}

static co_fn void run_queued(void *arg)
{
	struct ahci_slot *s = arg;

	struct ahci_port *p = s->port;

	execute(s);
	if (!is_stale(s) && !s->cmd.cancelled)
		finish_queued(s);
	leave(s);
	ahci_port_kick(p); /* its slot may have been filled again */
}

/* Accepted: the task file is free, the slot too; PxSACT has it (4.7). */
static co_fn void start_queued(struct ahci_slot *s)
{
	struct ahci_port *p = s->port;
	uint8_t fis[FIS_D2H_LEN];
	struct ata_regs regs = {
		.status = ATA_DRDY | ATA_DSC,
		.device = s->cmd.tf.device,
		.count = s->cmd.tf.count,
		.lba = s->cmd.tf.lba,
	};

	ahci_put_d2h(fis, &regs, false);
	ahci_post_fis(p, RX_D2H, fis, sizeof(fis));
	if (is_stale(s)) {
		leave(s);
		return;
	}
	set_tfd(p, ATA_DRDY | ATA_DSC, 0);
	ahci_sdb_fetched(p);
	p->ci &= ~(UINT32_C(1) << s->n);
	co_start(p->h->loop, run_queued, s);
}

static void new_epoch(struct ahci_port *p)
{
	p->epoch++;
	ahci_sdb_take(p);
	for (unsigned i = 0; i < AHCI_SLOTS; i++) {
		if (p->slots[i].executing)
			ata_cancel(&p->slots[i].cmd);
	}
}

/* A reset by a command stops what runs beside it. */
static co_fn void cancel_others(struct ahci_slot *s)
{
	enum { OURS = 2 }; /* the slot and the coroutine that fetches */
	struct ahci_port *p = s->port;

	new_epoch(p);
	s->epoch = p->epoch;
	while (p->running > OURS)
		co_queue_wait(&p->idle);
}

/* Device control: software reset (4.5 step 3). */
static co_fn void control(struct ahci_slot *s, const struct ahci_cfis *f, bool clear_busy)
{
	struct ahci_port *p = s->port;
	uint32_t bit = UINT32_C(1) << s->n;
	struct ata_regs regs;
	uint8_t fis[FIS_D2H_LEN];

	if (f->srst) {
		cancel_others(s);
		if (is_stale(s))
			return;
		p->in_srst = true;
		p->ci &= ~bit;
		if (clear_busy)
			p->tfd &= ~(uint32_t)ATA_BSY;
		return;
	}
	if (p->in_srst) {
		p->in_srst = false;
		ata_reset(p->unit, ATA_RESET_SOFT, &regs);
		ahci_port_set_regs(p, &regs);
		ahci_put_d2h(fis, &regs, false);
		ahci_post_fis(p, RX_D2H, fis, sizeof(fis));
		if (is_stale(s))
			return;
	}
	p->ci &= ~bit;
}

/* The packet and its PIO Setup FIS. */
static co_fn int fetch_packet(struct ahci_slot *s, const uint8_t *table, bool atapi)
{
	struct ata_drq drq = {
		.phase = ATA_PHASE_CDB,
		.len = ATA_CDB_LEN,
		.regs = {.status = ATA_DRDY | ATA_DSC | ATA_DRQ,
			 .count = ATA_REASON_CDB,
			 .lba = s->cmd.tf.lba,
			 .device = s->cmd.tf.device},
		.end_status = ATA_BSY | ATA_DRDY | ATA_DSC,
	};

	if (!atapi) { /* no packet is there: the device would wait for it for ever */
		s->cmd.tf.command = 0;
		return 0;
	}
	memcpy(s->cmd.cdb, table + ACMD_AT, sizeof(s->cmd.cdb));
	s->cmd.has_cdb = true;
	return host_pio(&s->cmd, &drq);
}

static void init_slot(struct ahci_slot *s, const struct ahci_header *h, const struct ahci_cfis *f)
{
	memset(&s->cmd, 0, sizeof(s->cmd));
	s->cmd.tf = f->tf;
	s->cmd.ops = &host_ops;
	s->ctba = h->ctba;
	s->prdtl = h->prdtl;
	s->prdbc = 0;
	s->prds = 0;
	s->irq_at = 0;
	s->irqs = 0;
	guest_sg_clear(&s->table, s->port->h->dev);
	s->fatal = s->over = false;
	s->queued = ata_unit_queue_depth(s->port->unit) &&
		    (f->tf.command == ATA_OP_READ_FPDMA || f->tf.command == ATA_OP_WRITE_FPDMA);
	s->tag = f->tf.count >> 3 & (ATA_TAGS - 1);
}

/* EXECUTE DEVICE DIAGNOSTIC and DEVICE RESET are resets, which the unit leaves to its adapter. */
static co_fn bool run_reset(struct ahci_slot *s)
{
	unsigned op = s->cmd.tf.command;
	struct ata_unit *u = s->port->unit;

	if (op != ATA_OP_DIAGNOSTIC && !(op == ATA_OP_DEVICE_RESET && ata_unit_is_packet(u)))
		return false;
	cancel_others(s);
	if (is_stale(s))
		return true;
	ata_reset(u, op == ATA_OP_DIAGNOSTIC ? ATA_RESET_DIAGNOSTIC : ATA_RESET_DEVICE,
		  &s->cmd.regs);
	s->cmd.regs.status |= ATA_DRDY | ATA_DSC;
	s->cmd.quiet = false;
	return true;
}

static co_fn void run_slot(struct ahci_slot *s, const struct ahci_header *h,
			   const struct ahci_cfis *f, const uint8_t *table)
{
	struct ahci_port *p = s->port;

	init_slot(s, h, f);
	if (s->queued) {
		start_queued(s);
		return;
	}
	set_tfd(p, ATA_BSY | ATA_DRDY | ATA_DSC, 0);
	if (f->tf.command != ATA_OP_PACKET || fetch_packet(s, table, h->atapi) == 0) {
		if (!is_stale(s) && !run_reset(s))
			execute(s);
	}
	if (!is_stale(s))
		finish(s);
	leave(s);
}

static co_fn void fetch(struct ahci_slot *s)
{
	struct ahci_port *p = s->port;
	struct ob_dev *dev = p->h->dev;
	uint8_t raw[HEADER_LEN], table[TABLE_HEAD_LEN];
	struct ahci_header h = {0};
	struct ahci_cfis f;
	int res;

	s->epoch = p->epoch;
	s->running = true;
	p->running++;
	res = guest_read(dev, p->clb + s->n * HEADER_LEN, raw, sizeof(raw));
	if (res == 0 && !is_stale(s)) {
		ahci_get_header(raw, &h);
		res = guest_read(dev, h.ctba, table, sizeof(table));
	}
	if (is_stale(s)) {
		leave(s);
	} else if (res < 0) {
		ahci_port_halt(p, IS_HBFS);
		leave(s);
	} else if (h.cfl < FIS_D2H_LEN || h.cfl > CFIS_LEN || h.pmp || !ahci_get_cfis(table, &f)) {
		ahci_port_halt(p, IS_IFS);
		leave(s);
	} else if (!f.command) {
		control(s, &f, h.clear_busy);
		leave(s);
	} else {
		run_slot(s, &h, &f, table);
	}
}

static bool may_fetch(const struct ahci_port *p)
{
	return p->cmd & CMD_ST && p->unit && p->ssts == SSTS_UP && !p->halted && !p->draining &&
	       !p->link_due && !p->leaving && !p->h->stopped && !p->h->closing && !p->h->reset_due;
}

/* The next slot that waits, in turn; NULL: none. */
static struct ahci_slot *next_slot(struct ahci_port *p)
{
	for (unsigned i = 0; i < AHCI_SLOTS; i++) {
		unsigned n = (p->next + i) % AHCI_SLOTS;

		if (p->ci >> n & 1 && !p->slots[n].running) {
			p->last = n;
			p->next = n + 1;
			return &p->slots[n];
		}
	}
	return NULL;
}

static co_fn void fetch_all(void *arg)
{
	struct ahci_port *p = arg;
	struct ahci_slot *s;

	while (may_fetch(p) && (s = next_slot(p)))
		fetch(s);
	p->fetching = false;
	ahci_port_leave(p);
}

void ahci_port_kick(struct ahci_port *p)
{
	if (p->fetching || !p->ci || !may_fetch(p))
		return;
	p->fetching = true;
	p->running++;
	co_start(p->h->loop, fetch_all, p);
}

void ahci_port_cancel(struct ahci_port *p)
{
	p->draining = p->running > 0;
	new_epoch(p);
}

void ahci_port_init_commands(struct ahci_port *p)
{
	ahci_sdb_init(p);
	for (unsigned i = 0; i < AHCI_SLOTS; i++) {
		p->slots[i].port = p;
		p->slots[i].n = i;
	}
}
