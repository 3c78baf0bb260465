/* See ide_rig.h. */
#include "ide_rig.h"

#include "base/err.h"

static bool nth(void *opaque, unsigned n, struct device_unit *out)
{
	struct ide_rig *r = opaque;

	if (n >= r->n_units)
		return false;
	*out = (struct device_unit){.id = n % 2 ? "cd0" : "hd0", .serial = n % 2 ? NULL : "4711"};
	out->disk = n % 2 ? NULL : r->disk;
	out->drive = n % 2 ? drive_lu(r->drive) : NULL;
	return true;
}

static bool find(void *opaque, const char *id, struct device_unit *out, GError **error)
{
	if (!strcmp(id, "hd0"))
		return nth(opaque, 0, out);
	if (!strcmp(id, "cd0"))
		return nth(opaque, 1, out);
	return err_set(error, ENOENT, "there is no disk or drive '%s'", id);
}

co_fn void ide_make_units(struct ide_rig *r, unsigned n_units)
{
	struct drive_options o = {.id = "cd0"};
	struct block_node *mem = block_mem_new((uint64_t)DISK_SECTORS * SECTOR, "", 0);
	uint8_t b[SECTOR];

	memset(r, 0, sizeof(*r));
	r->disk = fault_new(mem);
	for (unsigned i = 0; i < DISK_SECTORS; i++) {
		memset(b, (int)i, sizeof(b));
		put_le32(b, i);
		assert_int_equal(block_pwrite(r->disk, (uint64_t)i * SECTOR, b, sizeof(b), 0), 0);
	}
	r->drive = drive_new(co_loop(), &o, NULL);
	assert_non_null(r->drive);
	r->units = (struct device_units){find, nth, r};
	r->n_units = n_units;
}

co_fn struct device *ide_try(struct ide_rig *r, const char *options, GError **error)
{
	struct opts *opts = opts_parse(options, NULL, error);
	struct device *d = device_new(co_loop(), opts, &r->units, error);

	opts_free(opts);
	return d;
}

co_fn void ide_free_units(struct ide_rig *r)
{
	drive_free(r->drive);
	block_unref(r->disk);
}

co_fn void ide_begin(struct ide_rig *r, unsigned n_units, const char *options)
{
	GError *error = NULL;

	ide_make_units(r, n_units);
	r->d = ide_try(r, options, &error);
	if (!r->d)
		fail_msg("%s", error->message);
	fake_host_init(&r->h, device_function(r->d), true);
}

co_fn void ide_end(struct ide_rig *r)
{
	fake_host_fini(&r->h);
	device_free(r->d);
	ide_free_units(r);
}

uint8_t ide_in(struct ide_rig *r, unsigned channel, unsigned reg)
{
	return (uint8_t)bar_read(&r->h, 2 * channel, reg, 1);
}

void ide_out(struct ide_rig *r, unsigned channel, unsigned reg, unsigned value)
{
	bar_write(&r->h, 2 * channel, reg, value, 1);
}

uint8_t ide_alt(struct ide_rig *r, unsigned channel)
{
	return (uint8_t)bar_read(&r->h, 2 * channel + 1, CONTROL, 1);
}

void ide_command(struct ide_rig *r, unsigned channel, unsigned device, unsigned op, uint32_t lba,
		 unsigned count)
{
	ide_out(r, channel, DEVICE, 0x40 | device << 4 | (lba >> 24 & 15));
	ide_out(r, channel, COUNT, count);
	ide_out(r, channel, LBA_LOW, lba & 0xff);
	ide_out(r, channel, LBA_MID, lba >> 8 & 0xff);
	ide_out(r, channel, LBA_HIGH, lba >> 16 & 0xff);
	ide_out(r, channel, STATUS, op);
}

co_fn uint8_t ide_wait(struct ide_rig *r, unsigned channel)
{
	WAIT_UNTIL(!(ide_alt(r, channel) & 0x80));
	return ide_in(r, channel, STATUS);
}

void ide_prd(struct ide_rig *r, unsigned i, uint32_t gpa, unsigned len, bool end)
{
	uint8_t *p = r->h.guest + (TABLE_AT - GUEST_AT) + 8 * (size_t)i;

	put_le32(p, gpa);
	put_le32(p + 4, (len & 0xffff) | (end ? 0x80000000 : 0));
}

void ide_start(struct ide_rig *r, unsigned channel, uint32_t table)
{
	bar_write(&r->h, BM, 8 * channel + 4, table, 4);
	bar_write(&r->h, BM, 8 * channel + 2, 6, 1);
	bar_write(&r->h, BM, 8 * channel, 9, 1);
}

void ide_stop_dma(struct ide_rig *r, unsigned channel)
{
	bar_write(&r->h, BM, 8 * channel, 0, 1);
}

uint8_t ide_bm(struct ide_rig *r, unsigned channel)
{
	return (uint8_t)(bar_read(&r->h, BM, 8 * channel + 2, 1) & 7);
}

co_fn uint8_t ide_packet(struct ide_rig *r, unsigned channel, unsigned device, const uint8_t *cdb,
			 bool dma)
{
	ide_out(r, channel, DEVICE, device << 4);
	ide_out(r, channel, ERROR, dma);
	ide_out(r, channel, LBA_MID, 0xfe);
	ide_out(r, channel, LBA_HIGH, 0xff);
	ide_out(r, channel, STATUS, 0xa0);
	assert_int_equal(ide_wait(r, channel) & 0x89, 0x08);
	for (unsigned i = 0; i < 12; i += 2)
		bar_write(&r->h, 2 * channel, DATA, get_le16(cdb + i), 2);
	return dma ? ide_alt(r, channel) : ide_wait(r, channel);
}

void ide_make_slow(struct ide_rig *r, enum fault_op op)
{
	fault_add(r->disk, &(struct fault_rule){.op = op, .delay_ns = 300 * 1000 * 1000ull});
}
