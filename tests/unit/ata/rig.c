/* See rig.h. */
#include "rig.h"

struct rig rig;

static void on_irq(void *opaque, bool level)
{
	assert_ptr_equal(opaque, &rig);
	assert_true(level != rig.level); /* changes only */
	rig.level = level;
	rig.edges += level;
}

static uint8_t *find(uint64_t gpa, size_t len)
{
	return gpa >= MEM_AT && len <= MEM_LEN && gpa - MEM_AT <= MEM_LEN - len
		       ? rig.mem + (gpa - MEM_AT)
		       : NULL;
}

static co_fn int on_read(void *opaque, uint64_t gpa, void *buf, size_t len)
{
	const uint8_t *p = find(gpa, len);

	(void)opaque;
	rig.reads++;
	if (!p)
		return -EFAULT;
	memcpy(buf, p, len);
	return 0;
}

static void on_clear(void *opaque)
{
	(void)opaque;
	assert_false(rig.busy);
	rig.n = 0;
	rig.len = 0;
}

static int on_add(void *opaque, uint64_t gpa, uint64_t len)
{
	(void)opaque;
	assert_true(len > 0 && rig.n < G_N_ELEMENTS(rig.iov));
	rig.iov[rig.n++] = (struct iovec){find(gpa, len), len};
	rig.len += len;
	return 0;
}

static co_fn int on_begin(void *opaque, bool to_host, struct iovs *iov)
{
	(void)opaque;
	(void)to_host;
	for (unsigned i = 0; i < rig.n; i++) {
		if (!rig.iov[i].iov_base)
			return -EFAULT;
	}
	rig.busy = true;
	rig.begins++;
	*iov = (struct iovs){rig.iov, rig.n, rig.len};
	return 0;
}

static co_fn int on_end(void *opaque, size_t done)
{
	(void)opaque;
	assert_true(rig.busy && done <= rig.len);
	rig.busy = false;
	rig.ends++;
	return 0;
}

static const struct bmdma_ops ops = {
	.irq = on_irq,
	.read = on_read,
	.sg_clear = on_clear,
	.sg_add = on_add,
	.sg_begin = on_begin,
	.sg_end = on_end,
};

void rig_begin(enum rig_kind first, enum rig_kind second)
{
	const enum rig_kind kinds[2] = {first, second};

	memset(&rig, 0, sizeof(rig));
	for (unsigned i = 0; i < 2; i++) {
		if (kinds[i] != RIG_NONE)
			rig.u[i] = fake_unit_new(co_loop(), kinds[i] == RIG_PACKET, i);
	}
	rig.bm = bmdma_new(co_loop(), &ops, &rig, rig.u[0], rig.u[1]);
	rig.ch = bmdma_channel(rig.bm);
}

co_fn void rig_end(void)
{
	for (unsigned i = 0; i < 2; i++) {
		if (rig.u[i]) {
			rig.u[i]->is_slow = false;
			fake_unit_go(rig.u[i]);
		}
	}
	bmdma_free(rig.bm);
	assert_int_equal(rig.begins, rig.ends);
	fake_unit_free(rig.u[0]);
	fake_unit_free(rig.u[1]);
}

uint8_t in(unsigned reg)
{
	return (uint8_t)ata_channel_read(rig.ch, reg, 1);
}

void out(unsigned reg, unsigned value)
{
	ata_channel_write(rig.ch, reg, value, 1);
}

uint8_t alt(void)
{
	return ata_channel_read_control(rig.ch);
}

void control(unsigned value)
{
	ata_channel_write_control(rig.ch, (uint8_t)value);
}

void command(unsigned cmd, unsigned lba, unsigned count)
{
	out(R_COUNT, count);
	out(R_LBAL, lba & 0xff);
	out(R_LBAM, lba >> 8 & 0xff);
	out(R_LBAH, lba >> 16 & 0xff);
	out(R_STATUS, cmd);
}

co_fn void settle(void)
{
	for (unsigned i = 0; i < 8; i++)
		co_reschedule();
}

void read_block(void *buf, size_t len, unsigned width)
{
	uint8_t b[4];

	for (size_t at = 0; at < len; at += width) {
		put_le32(b, ata_channel_read(rig.ch, R_DATA, width));
		memcpy((uint8_t *)buf + at, b, MIN(width, len - at));
	}
}

void write_block(const void *buf, size_t len, unsigned width)
{
	for (size_t at = 0; at < len; at += width) {
		uint8_t b[4] = {0};

		memcpy(b, (const uint8_t *)buf + at, MIN(width, len - at));
		ata_channel_write(rig.ch, R_DATA, get_le32(b), width);
	}
}

co_fn void packet(uint8_t op, unsigned block, unsigned blocks, unsigned flags)
{
	uint8_t cdb[ATA_CDB_LEN] = {op, 0, 0, 0, 0, (uint8_t)block, 0, 0, 0, (uint8_t)blocks};

	out(R_ERROR, flags);
	out(R_LBAM, 0xfe);
	out(R_LBAH, 0xff);
	out(R_STATUS, ATA_OP_PACKET);
	settle();
	assert_int_equal(alt(), 0x58);
	assert_int_equal(in(R_COUNT), ATA_REASON_CDB);
	write_block(cdb, sizeof(cdb), 2);
	assert_int_equal(alt() & ATA_DRQ, 0);
	settle();
}

void prd(unsigned i, uint32_t gpa, unsigned len, bool end)
{
	uint8_t *p = rig.mem + (TABLE - MEM_AT) + 8 * (size_t)i;

	put_le32(p, gpa);
	put_le32(p + 4, (len & 0xffff) | (end ? 0x80000000 : 0));
}

uint8_t bm_status(void)
{
	return (uint8_t)(bmdma_read(rig.bm, 2, 1) & 7);
}

void bm_start(uint32_t table)
{
	bmdma_write(rig.bm, 4, table, 4);
	bmdma_write(rig.bm, 2, 6 | 0x60, 1);
	bmdma_write(rig.bm, 0, 9, 1);
}

void bm_stop(void)
{
	bmdma_write(rig.bm, 0, 0, 1);
}
