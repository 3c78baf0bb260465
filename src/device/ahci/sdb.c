/*
 * The ends of queued commands, by Set Device Bits FISes: several by one, with one interrupt (AHCI
 * 1.3.1 5.4.1).
 *
 * Two register reads a message, the interrupt's and the handler's own cost, are more than a small
 * command itself. As long as the host gives commands it does not need the ends of others so soon:
 * then ends wait until there are a batch of them, or the host has paused. How large a batch is
 * learnt. It grows when one was complete often enough, and when the host was found waiting for less
 * it becomes half of what there was, with more patience before the next attempt; so a host with one
 * command at a time waits in vain once in a thousand, and never more than PAUSE_NS.
 */
#include "device/ahci/ahci.h"

enum {
	BATCH_MAX = 16, /* half of what a host can have under way: it never stands idle for it */
	PAUSE_NS = 500 * 1000,
	WAIT_NS = 3000 * 1000,
	TRUST_MIN = 4,
	TRUST_MAX = 1024,
};

static struct ahci_port *port_of(struct ahci_sdb *s)
{
	return (struct ahci_port *)((char *)s - offsetof(struct ahci_port, sdb));
}

static co_fn void post(void *arg)
{
	struct ahci_port *p = arg;
	uint32_t tags = p->sdb.tags;
	unsigned epoch = p->epoch;
	uint8_t fis[FIS_SDB_LEN];

	p->sdb.tags = 0;
	p->sdb.pending = false;
	if (tags) {
		ahci_put_sdb(fis, ATA_DRDY | ATA_DSC, 0, tags, false);
		if (ahci_post_fis(p, RX_SDB, fis, sizeof(fis)) < 0 && epoch == p->epoch)
			ahci_port_halt(p, IS_HBFS);
		if (epoch == p->epoch) {
			p->sact &= ~tags;
			ahci_port_raise(p, IS_SDBS);
		}
	}
	ahci_port_leave(p);
}

static void turn_end(struct loop_task *task)
{
	struct ahci_port *p =
		port_of((struct ahci_sdb *)((char *)task - offsetof(struct ahci_sdb, task)));

	co_start(p->h->loop, post, p);
}

/* What else ends in this turn of the loop goes along. */
static void flush(struct ahci_port *p)
{
	loop_timer_cancel(&p->sdb.timer);
	loop_at_turn_end(p->h->loop, &p->sdb.task);
}

static void set_batch(struct ahci_sdb *s, unsigned batch)
{
	s->batch = batch;
	s->told = 0;
}

static void on_pause(struct loop_timer *t)
{
	struct ahci_sdb *s = (struct ahci_sdb *)((char *)t - offsetof(struct ahci_sdb, timer));

	set_batch(s, MAX((unsigned)__builtin_popcount(s->tags) / 2, 1));
	s->trust = MIN(2 * s->trust, TRUST_MAX);
	flush(port_of(s));
}

static void wait_for_more(struct ahci_port *p)
{
	uint64_t now = loop_now_ns();

	loop_timer_set(p->h->loop, &p->sdb.timer, MIN(now + PAUSE_NS, p->sdb.since + WAIT_NS));
}

void ahci_sdb_fetched(struct ahci_port *p)
{
	if (p->sdb.tags && !p->sdb.task.pending)
		wait_for_more(p);
}

void ahci_sdb_done(struct ahci_port *p, unsigned tag)
{
	struct ahci_sdb *s = &p->sdb;

	s->tags |= UINT32_C(1) << tag;
	if (!s->pending) {
		s->pending = true;
		p->running++;
		s->since = loop_now_ns();
	}
	if (s->task.pending)
		return;
	if ((unsigned)__builtin_popcount(s->tags) < s->batch) {
		if (!(s->tags & (s->tags - 1)))
			wait_for_more(p);
		return;
	}
	if (++s->told >= s->trust && s->batch < BATCH_MAX) {
		if (s->batch > 1)
			s->trust = MAX(s->trust / 2, TRUST_MIN);
		set_batch(s, 2 * s->batch);
	}
	flush(p);
}

uint32_t ahci_sdb_take(struct ahci_port *p)
{
	uint32_t tags = p->sdb.tags;

	p->sdb.tags = 0;
	if (p->sdb.pending && !p->sdb.task.pending)
		flush(p); /* which has nothing to tell any more, but leaves */
	return tags;
}

void ahci_sdb_init(struct ahci_port *p)
{
	p->sdb = (struct ahci_sdb){
		.batch = 1, .trust = TRUST_MIN, .task.run = turn_end, .timer.fire = on_pause};
}
