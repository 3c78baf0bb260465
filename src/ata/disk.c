/*
 * Data of disks: PIO through the unit's buffer, DMA straight between the file and guest memory.
 */
#include "ata/unit_impl.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "block/block.h"

enum { BUF_SECTORS = ATA_BUF_LEN / ATA_SECTOR };

/* ---- errors ---- */

static void log_failure(struct ata_unit *u, const char *what, int res)
{
	log_limited(&u->limit, LOG_ERROR, u->name, "%s %s: %s", what, block_name(u->disk),
		    g_strerror(-res));
}

/*
 * A read of n sectors at lba failed: which one is it? Reads each at most twice more, into a buffer
 * of its own: queued commands run beside each other. What cannot be found again (it was a passing
 * fault) counts as the first one.
 */
static co_fn uint64_t find_bad_sector(struct ata_unit *u, const struct ata_cmd *c, uint64_t lba,
				      uint64_t n)
{
	uint8_t *buf = g_try_malloc(ATA_BUF_LEN);
	uint64_t at = lba, end = lba + n, step = BUF_SECTORS;
	bool found = false;

	while (buf && at < end && !found && !c->cancelled) {
		uint64_t now = MIN(step, end - at);

		if (block_pread(u->disk, at * ATA_SECTOR, buf, now * ATA_SECTOR) == 0) {
			at += now;
			if ((at - lba) % BUF_SECTORS == 0)
				step = BUF_SECTORS;
		} else if (now == 1) {
			found = true;
		} else {
			step = 1;
		}
	}
	g_free(buf);
	return found ? at : lba;
}

/* ERROR, and the registers that say how far it came (2.6). */
static unsigned failed(struct ata_unit *u, struct ata_cmd *c, uint64_t lba, int res, bool write)
{
	unsigned error = ata_error_of(res, write);

	if (res != -ECANCELED)
		log_failure(u, write ? "writing" : "reading", res);
	ata_put_lba(u, c, lba);
	c->regs.count = (uint16_t)(c->lba + c->count - lba);
	return error;
}

/* ---- PIO ---- */

static void init_drq(const struct ata_cmd *c, struct ata_drq *drq, enum ata_phase phase,
		     uint8_t *buf, unsigned sectors)
{
	*drq = (struct ata_drq){
		.phase = phase,
		.buf = buf,
		.len = (size_t)sectors * ATA_SECTOR,
		.regs = c->regs,
		.irq = true,
	};
	drq->regs.status = ATA_DRDY | ATA_DSC | ATA_DRQ;
}

/* n sectors from the buffer, which begins at lba; per: sectors a DRQ block. */
static co_fn int send_blocks(struct ata_unit *u, struct ata_cmd *c, uint64_t lba, unsigned n,
			     unsigned per)
{
	uint64_t end = c->lba + c->count;
	int res = 0;

	for (unsigned at = 0; at < n && res >= 0; at += per) {
		unsigned sectors = MIN(per, n - at);
		struct ata_drq drq;

		init_drq(c, &drq, ATA_PHASE_IN, u->buf + (size_t)at * ATA_SECTOR, sectors);
		drq.end_status = ATA_DRDY | ATA_DSC | (lba + at + sectors < end ? ATA_BSY : 0);
		res = c->cancelled ? -ECANCELED : c->ops->pio(c, &drq);
	}
	return res;
}

/* n sectors at lba could not be read: the host gets the whole blocks before the bad one. */
static co_fn unsigned read_failed(struct ata_unit *u, struct ata_cmd *c, uint64_t lba, unsigned n,
				  unsigned per, int res)
{
	uint64_t bad = ata_error_of(res, false) == ATA_UNC ? find_bad_sector(u, c, lba, n) : lba;
	unsigned good = (unsigned)(bad - lba) / per * per;

	if (good &&
	    block_pread(u->disk, lba * ATA_SECTOR, u->buf, (size_t)good * ATA_SECTOR) == 0 &&
	    send_blocks(u, c, lba, good, per) < 0)
		return ATA_ABRT;
	return failed(u, c, bad, res, false);
}

static co_fn unsigned read_blocks(struct ata_unit *u, struct ata_cmd *c, unsigned per)
{
	uint64_t lba = c->lba, end = c->lba + c->count;
	unsigned chunk = BUF_SECTORS / per * per;

	while (lba < end) {
		unsigned n = (unsigned)MIN(chunk, end - lba);
		int res = block_pread(u->disk, lba * ATA_SECTOR, u->buf, (size_t)n * ATA_SECTOR);

		if (res < 0)
			return read_failed(u, c, lba, n, per, res);
		if (send_blocks(u, c, lba, n, per) < 0)
			return ATA_ABRT;
		lba += n;
	}
	c->quiet = true;
	return 0;
}

static co_fn unsigned write_blocks(struct ata_unit *u, struct ata_cmd *c, unsigned per, bool fua)
{
	uint64_t lba = c->lba, end = c->lba + c->count;
	unsigned chunk = BUF_SECTORS / per * per, flags = fua || !u->write_cache ? BLOCK_FUA : 0;

	while (lba < end) {
		unsigned n = (unsigned)MIN(chunk, end - lba);
		int res;

		for (unsigned at = 0; at < n; at += per) {
			struct ata_drq drq;

			init_drq(c, &drq, ATA_PHASE_OUT, u->buf + (size_t)at * ATA_SECTOR,
				 MIN(per, n - at));
			drq.irq = lba + at > c->lba; /* the first one does not interrupt (2.3) */
			drq.end_status = ATA_BSY | ATA_DRDY | ATA_DSC;
			if (c->cancelled || c->ops->pio(c, &drq) < 0)
				return ATA_ABRT;
		}
		res = block_pwrite(u->disk, lba * ATA_SECTOR, u->buf, (size_t)n * ATA_SECTOR,
				   flags);
		if (res < 0)
			return failed(u, c, lba, res, true);
		lba += n;
	}
	return 0;
}

co_fn unsigned ata_read_pio(struct ata_unit *u, struct ata_cmd *c)
{
	return read_blocks(u, c, 1);
}

co_fn unsigned ata_read_multiple(struct ata_unit *u, struct ata_cmd *c)
{
	return u->multiple ? read_blocks(u, c, u->multiple) : ATA_ABRT;
}

co_fn unsigned ata_write_pio(struct ata_unit *u, struct ata_cmd *c)
{
	return write_blocks(u, c, 1, false);
}

co_fn unsigned ata_write_multiple(struct ata_unit *u, struct ata_cmd *c)
{
	return u->multiple ? write_blocks(u, c, u->multiple, false) : ATA_ABRT;
}

co_fn unsigned ata_write_multiple_fua(struct ata_unit *u, struct ata_cmd *c)
{
	return u->multiple ? write_blocks(u, c, u->multiple, true) : ATA_ABRT;
}

/* ---- DMA ---- */

/* The whole sectors of a list that is shorter than the transfer. */
static bool cut_to_sectors(const struct iovs *whole, struct iovs *out, struct iovec **heap)
{
	size_t len = whole->len / ATA_SECTOR * ATA_SECTOR;

	*heap = NULL;
	*out = *whole;
	if (len == whole->len)
		return true;
	*heap = g_try_new(struct iovec, whole->n);
	if (!*heap)
		return false;
	out->v = *heap;
	out->n = len ? iovs_slice(whole, 0, len, *heap, whole->n) : 0;
	out->len = len;
	return true;
}

static co_fn int move(struct ata_unit *u, struct ata_cmd *c, bool write, bool fua,
		      const struct iovs *iov)
{
	uint64_t off = c->lba * ATA_SECTOR;

	if (!iov->len)
		return 0;
	if (write)
		return block_pwritev(u->disk, off, iov, fua || !u->write_cache ? BLOCK_FUA : 0);
	return block_preadv(u->disk, off, iov);
}

static co_fn unsigned transfer(struct ata_unit *u, struct ata_cmd *c, bool write, bool fua)
{
	size_t len = (size_t)c->count * ATA_SECTOR;
	struct iovs whole, iov;
	struct iovec *heap;
	int res = c->ops->dma_begin(c, !write, len, &whole), end;

	if (res < 0)
		return ATA_ABRT;
	res = cut_to_sectors(&whole, &iov, &heap) ? 0 : -ENOMEM;
	if (res == 0)
		res = c->cancelled ? -ECANCELED : move(u, c, write, fua, &iov);
	g_free(heap);
	end = c->ops->dma_end(c, res < 0 ? 0 : iov.len);
	if (res < 0 && ata_error_of(res, write) == ATA_UNC)
		return failed(u, c, find_bad_sector(u, c, c->lba, iov.len / ATA_SECTOR), res,
			      write);
	if (res < 0)
		return failed(u, c, c->lba, res, write);
	return end < 0 || (write && iov.len < len) ? ATA_ABRT : 0;
}

co_fn unsigned ata_read_dma(struct ata_unit *u, struct ata_cmd *c)
{
	return transfer(u, c, false, false);
}

co_fn unsigned ata_write_dma(struct ata_unit *u, struct ata_cmd *c)
{
	return transfer(u, c, true, false);
}

co_fn unsigned ata_write_dma_fua(struct ata_unit *u, struct ata_cmd *c)
{
	return transfer(u, c, true, true);
}

enum { DEVICE_FUA = 0x80 };

co_fn unsigned ata_read_queued(struct ata_unit *u, struct ata_cmd *c)
{
	if (c->tf.device & DEVICE_FUA) {
		int res = block_flush(u->disk); /* what is read is on the medium then */

		if (res < 0)
			return failed(u, c, c->lba, res, true);
	}
	return transfer(u, c, false, false);
}

co_fn unsigned ata_write_queued(struct ata_unit *u, struct ata_cmd *c)
{
	return transfer(u, c, true, c->tf.device & DEVICE_FUA);
}

/* ---- FLUSH CACHE, DATA SET MANAGEMENT ---- */

co_fn unsigned ata_flush(struct ata_unit *u, struct ata_cmd *c)
{
	int res = block_flush(u->disk);

	(void)c;
	if (res == 0)
		return 0;
	log_failure(u, "flushing", res);
	return ATA_ABRT;
}

static co_fn unsigned trim(struct ata_unit *u, const struct ata_cmd *c, const uint8_t *list,
			   size_t len)
{
	enum { ENTRY = 8 };

	for (size_t at = 0; at < len; at += ENTRY) {
		uint64_t entry = get_le64(list + at), lba = entry & UINT64_C(0xffffffffffff);
		uint64_t count = entry >> 48, sectors = ata_sectors(u);
		int res;

		if (!count)
			continue;
		if (lba >= sectors || count > sectors - lba)
			return ATA_IDNF;
		if (c->cancelled)
			return ATA_ABRT;
		if (!block_can_discard(u->disk))
			continue;
		res = block_discard_zero(u->disk, lba * ATA_SECTOR, count * ATA_SECTOR);
		if (res < 0) {
			log_failure(u, "trimming", res);
			return ATA_ABRT;
		}
	}
	return 0;
}

co_fn unsigned ata_data_set_management(struct ata_unit *u, struct ata_cmd *c)
{
	enum { TRIM = 1 };
	size_t len = (size_t)c->tf.count * ATA_SECTOR, got;
	struct iovs iov;

	if ((c->tf.feature & 0xff) != TRIM || c->tf.count < 1 || c->tf.count > ATA_DSM_BLOCKS)
		return ATA_ABRT;
	if (c->ops->dma_begin(c, false, len, &iov) < 0)
		return ATA_ABRT;
	got = iovs_get(&iov, 0, u->buf, len);
	if (c->ops->dma_end(c, got) < 0 || got < len)
		return ATA_ABRT;
	return trim(u, c, u->buf, len);
}
