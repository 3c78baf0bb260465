/* The test host; see host.h. */
#include "host.h"

#include <errno.h>

#include "block/mem.h"

static bool refused(struct host *h, int *res)
{
	h->n_phases++;
	if (h->n_phases == h->cancel_at) {
		ata_cancel(&h->c);
		*res = -ECANCELED;
		return true;
	}
	*res = -EIO;
	return h->n_phases == h->hang_at;
}

static co_fn int pio(struct ata_cmd *c, const struct ata_drq *drq)
{
	struct host *h = (struct host *)c;
	int res;

	CHECK(h->f, drq->len >= 1 && drq->len <= 65536);
	CHECK(h->f, (drq->regs.status & (ATA_BSY | ATA_DRQ)) == ATA_DRQ);
	CHECK(h->f, !h->dma);
	if (h->n_phases < HOST_PHASES)
		h->phases[h->n_phases] = *drq;
	if (refused(h, &res))
		return res;
	if (drq->phase == ATA_PHASE_CDB) {
		CHECK(h->f, drq->len == sizeof(h->packet));
		memcpy(drq->buf, h->packet, sizeof(h->packet));
		return 0;
	}
	if (h->moved + drq->len > HOST_ROOM) {
		fx_fail(h->f, __LINE__, "more data than the test has room for");
		return -EIO;
	}
	if (drq->phase == ATA_PHASE_IN)
		memcpy(h->data + h->moved, drq->buf, drq->len);
	else
		memcpy(drq->buf, h->data + h->moved, drq->len);
	h->moved += drq->len;
	co_reschedule(); /* a host takes its time */
	return 0;
}

static co_fn int dma_begin(struct ata_cmd *c, bool to_host, size_t len, struct iovs *iov)
{
	struct host *h = (struct host *)c;
	size_t room = MIN(MIN(len, h->dma_room), HOST_ROOM), at = 0;
	int res;

	h->dma_begun++;
	h->dma = true;
	h->dma_to_host = to_host;
	h->dma_len = len;
	if (refused(h, &res))
		return res;
	*iov = (struct iovs){h->pieces, 0, room};
	while (at < room) {
		size_t n = MIN(h->dma_piece, room - at);

		h->pieces[iov->n++] = (struct iovec){h->data + at, n};
		at += n;
	}
	co_reschedule();
	return 0;
}

static co_fn int dma_end(struct ata_cmd *c, size_t done)
{
	struct host *h = (struct host *)c;

	h->dma_ended++;
	h->dma_done = done;
	CHECK(h->f, done <= h->dma_room && done <= h->dma_len);
	return 0;
}

static const struct ata_host_ops ops = {.pio = pio, .dma_begin = dma_begin, .dma_end = dma_end};

struct host *host_new(struct fx *f, struct ata_unit *u)
{
	struct host *h = g_new0(struct host, 1);

	h->f = f;
	h->u = u;
	h->data = g_malloc(HOST_ROOM);
	h->pieces = g_new(struct iovec, HOST_ROOM);
	h->dma_room = h->dma_piece = HOST_ROOM;
	memset(h->data, 0x5a, HOST_ROOM);
	return h;
}

void host_free(struct host *h)
{
	g_free(h->pieces);
	g_free(h->data);
	g_free(h);
}

static void prepare(struct host *h, unsigned command, unsigned feature, unsigned count,
		    uint64_t lba, unsigned device)
{
	memset(&h->c, 0xa5, sizeof(h->c)); /* the unit sets what it reads */
	h->c.ops = &ops;
	h->c.has_cdb = false;
	h->c.tf = (struct ata_tf){(uint8_t)command, (uint8_t)device, (uint16_t)feature,
				  (uint16_t)count, lba};
	h->n_phases = 0;
	h->moved = 0;
	h->dma = h->done = false;
	h->dma_begun = h->dma_ended = 0;
	h->dma_len = h->dma_done = 0;
}

static co_fn void execute(void *arg)
{
	struct host *h = arg;
	bool refused_dma = h->cancel_at || h->hang_at;

	ata_execute(h->u, &h->c);
	CHECK(h->f, !(h->c.regs.status & (ATA_BSY | ATA_DRQ)));
	CHECK(h->f, (h->c.regs.status & ATA_DRDY));
	CHECK(h->f, (h->c.regs.error != 0) == (h->c.regs.status & ATA_ERR));
	CHECK(h->f, h->dma_begun <= 1);
	CHECK(h->f, refused_dma || h->dma_begun == h->dma_ended);
	h->done = true;
	co_queue_wake_all(&h->wait);
}

co_fn void host_run(struct host *h, unsigned command, unsigned feature, unsigned count,
		    uint64_t lba, unsigned device)
{
	prepare(h, command, feature, count, lba, device);
	execute(h);
}

void host_start(struct host *h, unsigned command, unsigned feature, unsigned count, uint64_t lba,
		unsigned device)
{
	prepare(h, command, feature, count, lba, device);
	co_start(h->f->loop, execute, h);
}

co_fn void host_wait(struct host *h)
{
	while (!h->done)
		co_queue_wait(&h->wait);
}

co_fn void host_packet(struct host *h, const char *cdb, unsigned limit, unsigned feature)
{
	memset(h->packet, 0, sizeof(h->packet));
	fx_hex(cdb, h->packet, sizeof(h->packet));
	host_run(h, ATA_OP_PACKET, feature, 0, (uint64_t)limit << 8, 0xa0);
}

void host_expect_end(struct host *h, int line, unsigned status, unsigned error)
{
	const struct ata_cmd *c = &h->c;

	if (!c->cancelled && c->regs.status == status && c->regs.error == error)
		return;
	fx_fail(h->f, line, "command %02x: status %02x error %02x%s, expected %02x %02x",
		c->tf.command, c->regs.status, c->regs.error, c->cancelled ? " cancelled" : "",
		status, error);
}

static uint8_t pattern_byte(uint64_t lba, unsigned at, unsigned seed)
{
	return (uint8_t)(at < 8 ? lba >> 8 * at : lba + seed + at);
}

void host_pattern(struct host *h, uint64_t lba, unsigned sectors, unsigned seed)
{
	for (unsigned s = 0; s < sectors; s++) {
		for (unsigned i = 0; i < ATA_SECTOR; i++)
			h->data[(size_t)s * ATA_SECTOR + i] = pattern_byte(lba + s, i, seed);
	}
}

bool host_has_pattern(const struct host *h, size_t at, uint64_t lba, unsigned sectors,
		      unsigned seed)
{
	for (unsigned s = 0; s < sectors; s++) {
		for (unsigned i = 0; i < ATA_SECTOR; i++) {
			if (h->data[at + (size_t)s * ATA_SECTOR + i] !=
			    pattern_byte(lba + s, i, seed))
				return false;
		}
	}
	return true;
}

co_fn struct disk disk_new(struct fx *f, bool sata)
{
	struct disk d = {
		.fault = fault_new(block_mem_new((uint64_t)SECTORS * ATA_SECTOR, NULL, 0)),
	};
	struct ata_unit_options o = {
		.loop = f->loop, .name = "disk0", .disk = d.fault, .sata = sata};
	GError *error = NULL;

	d.u = ata_unit_new(&o, &error);
	if (!d.u)
		fx_fail(f, __LINE__, "%s", error->message);
	d.h = host_new(f, d.u);
	for (unsigned lba = 0; lba < SECTORS; lba += 1024) {
		host_pattern(d.h, lba, 1024, 1);
		CHECK(f, block_pwrite(d.fault, (uint64_t)lba * ATA_SECTOR, d.h->data,
				      1024 * ATA_SECTOR, 0) == 0);
	}
	memset(d.h->data, 0x5a, HOST_ROOM);
	return d;
}

co_fn void disk_free(struct disk *d)
{
	ata_unit_free(d->u);
	block_unref(d->fault);
	host_free(d->h);
}

void disk_fault(struct disk *d, enum fault_op op, uint64_t lba, uint64_t n, int errnum,
		uint64_t delay_ns)
{
	struct fault_rule rule = {
		.op = op,
		.from = lba * ATA_SECTOR,
		.to = (lba + n) * ATA_SECTOR,
		.errnum = errnum,
		.delay_ns = delay_ns,
	};

	fault_add(d->fault, &rule);
}
