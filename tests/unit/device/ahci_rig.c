/* See ahci_rig.h. */
#include "ahci_rig.h"

#include "base/err.h"

static bool nth(void *opaque, unsigned n, struct device_unit *out)
{
	static const char *const ids[] = {"hd0", "hd1", "hd2"};
	struct ahci_rig *r = opaque;
	unsigned disks = 0;

	if (n >= strlen(r->order))
		return false;
	for (unsigned i = 0; i < n; i++)
		disks += r->order[i] == 'h';
	if (r->order[n] != 'h') {
		*out = (struct device_unit){.id = "cd0", .drive = drive_lu(r->drive)};
		return true;
	}
	*out = (struct device_unit){.id = ids[disks], .disk = r->disks[disks], .serial = "4711"};
	return true;
}

static bool find(void *opaque, const char *id, struct device_unit *out, GError **error)
{
	for (unsigned n = 0; nth(opaque, n, out); n++) {
		if (!strcmp(out->id, id))
			return true;
	}
	return err_set(error, ENOENT, "there is no disk or drive '%s'", id);
}

co_fn void rig_make_units(struct ahci_rig *r, const char *order)
{
	struct drive_options o = {.id = "cd0"};
	uint8_t b[SECTOR];

	memset(r, 0, sizeof(*r));
	r->order = order;
	for (unsigned d = 0; d < RIG_DISKS; d++) {
		r->disks[d] = fault_new(block_mem_new((uint64_t)DISK_SECTORS * SECTOR, "", 0));
		for (unsigned i = 0; i < DISK_SECTORS; i++) {
			memset(b, (int)i, sizeof(b));
			put_le32(b, i);
			assert_int_equal(
				block_pwrite(r->disks[d], (uint64_t)i * SECTOR, b, SECTOR, 0), 0);
		}
	}
	r->drive = drive_new(co_loop(), &o, NULL);
	assert_non_null(r->drive);
	r->units = (struct device_units){find, nth, r};
}

co_fn struct device *rig_try(struct ahci_rig *r, const char *options, GError **error)
{
	struct opts *opts = opts_parse(options, NULL, error);
	struct device *d = device_new(co_loop(), opts, &r->units, error);

	opts_free(opts);
	return d;
}

co_fn void rig_free_units(struct ahci_rig *r)
{
	drive_free(r->drive);
	for (unsigned d = 0; d < RIG_DISKS; d++)
		block_unref(r->disks[d]);
}

co_fn void rig_begin(struct ahci_rig *r, const char *order, const char *options)
{
	GError *error = NULL;

	rig_make_units(r, order);
	r->d = rig_try(r, options, &error);
	if (!r->d)
		fail_msg("%s", error->message);
	fake_host_init(&r->h, device_function(r->d), true);
	wr(r, H_GHC, 1u << 31 | IE);
	for (unsigned i = 0; i < strlen(order); i++)
		rig_start_port(r, i);
}

void rig_start_port(struct ahci_rig *r, unsigned port)
{
	pwr(r, port, P_CLB, (uint32_t)list_of(r, port));
	pwr(r, port, P_FB, (uint32_t)list_of(r, port) + FB_OFF);
	pwr(r, port, P_CMD, FRE);
	pwr(r, port, P_SERR, UINT32_MAX);
	pwr(r, port, P_IS, UINT32_MAX);
	pwr(r, port, P_IE, UINT32_MAX);
	pwr(r, port, P_CMD, FRE | ST);
}

co_fn void rig_end(struct ahci_rig *r)
{
	fake_host_fini(&r->h);
	device_free(r->d);
	rig_free_units(r);
}

uint32_t rd(struct ahci_rig *r, unsigned off)
{
	return (uint32_t)bar_read(&r->h, ABAR, off, 4);
}

void wr(struct ahci_rig *r, unsigned off, uint32_t value)
{
	bar_write(&r->h, ABAR, off, value, 4);
}

uint32_t prg(struct ahci_rig *r, unsigned port, unsigned off)
{
	return rd(r, 0x100 + 0x80 * port + off);
}

void pwr(struct ahci_rig *r, unsigned port, unsigned off, uint32_t value)
{
	wr(r, 0x100 + 0x80 * port + off, value);
}

uint8_t *at(struct ahci_rig *r, uint64_t gpa)
{
	return gpa >= FAR_AT ? r->h.far + (gpa - FAR_AT) : r->h.guest + (gpa - GUEST_AT);
}

uint64_t list_of(const struct ahci_rig *r, unsigned port)
{
	return (r->far ? FAR_AT : GUEST_AT) + (uint64_t)port * PORT_ROOM;
}

uint64_t data_of(const struct ahci_rig *r)
{
	return r->far ? FAR_AT + 2 * PORT_ROOM : DATA_AT;
}

uint8_t *header(struct ahci_rig *r, unsigned port, unsigned slot)
{
	return at(r, list_of(r, port)) + 32 * (size_t)slot;
}

uint8_t *table(struct ahci_rig *r, unsigned port, unsigned slot)
{
	return at(r, list_of(r, port)) + TABLES_OFF + (size_t)TABLE_LEN * slot;
}

uint8_t *rx(struct ahci_rig *r, unsigned port)
{
	return at(r, list_of(r, port)) + FB_OFF;
}

void rig_prd(struct ahci_rig *r, unsigned port, unsigned slot, unsigned i, uint64_t gpa,
	     uint32_t bytes, bool irq)
{
	uint8_t *p = table(r, port, slot) + 0x80 + 16 * (size_t)i;
	uint8_t *h = header(r, port, slot);

	put_le64(p, gpa);
	put_le32(p + 8, 0);
	put_le32(p + 12, ((bytes - 1) & 0x3fffff) | (irq ? 1u << 31 : 0));
	put_le16(h + 2, (uint16_t)(i + 1));
}

void rig_fill(struct ahci_rig *r, unsigned port, unsigned slot, const struct rig_cmd *c)
{
	uint8_t *h = header(r, port, slot), *t = table(r, port, slot);

	memset(h, 0, 32);
	memset(t, 0, TABLE_LEN);
	put_le16(h, (uint16_t)(CFL5 | (c->write ? WRITE : 0) | (c->cdb ? ATAPI : 0)));
	put_le32(h + 8, (uint32_t)(list_of(r, port) + TABLES_OFF + TABLE_LEN * slot));
	t[0] = 0x27;
	t[1] = 0x80;
	t[2] = c->op;
	t[3] = (uint8_t)c->feature;
	t[4] = (uint8_t)c->lba;
	t[5] = (uint8_t)(c->lba >> 8);
	t[6] = (uint8_t)(c->lba >> 16);
	t[7] = c->device;
	t[8] = (uint8_t)(c->lba >> 24);
	t[9] = (uint8_t)(c->lba >> 32);
	t[10] = (uint8_t)(c->lba >> 40);
	t[11] = (uint8_t)(c->feature >> 8);
	t[12] = (uint8_t)c->count;
	t[13] = (uint8_t)(c->count >> 8);
	if (c->cdb)
		memcpy(t + 0x40, c->cdb, 12);
	if (c->bytes)
		rig_prd(r, port, slot, 0, c->gpa ? c->gpa : data_of(r), c->bytes, false);
}

void rig_issue(struct ahci_rig *r, unsigned port, uint32_t slots, bool queued)
{
	if (queued)
		pwr(r, port, P_SACT, slots);
	pwr(r, port, P_CI, slots);
}

co_fn uint32_t rig_wait(struct ahci_rig *r, unsigned port)
{
	uint32_t is;

	WAIT_UNTIL(!prg(r, port, P_CI) || prg(r, port, P_IS) & (TFES | HBFS | IFS));
	is = prg(r, port, P_IS);
	pwr(r, port, P_IS, is);
	wr(r, H_IS, 1u << port);
	return is;
}

co_fn uint32_t rig_run(struct ahci_rig *r, unsigned port, const struct rig_cmd *c)
{
	rig_fill(r, port, 0, c);
	rig_issue(r, port, 1, false);
	return rig_wait(r, port);
}

void rig_queued(struct ahci_rig *r, unsigned port, unsigned tag, bool write, uint64_t lba,
		unsigned sectors, uint64_t gpa)
{
	struct rig_cmd c = {
		.op = write ? 0x61 : 0x60,
		.device = 0x40,
		.feature = (uint16_t)sectors,
		.count = (uint16_t)(tag << 3),
		.lba = lba,
		.write = write,
		.gpa = gpa,
		.bytes = sectors * SECTOR,
	};

	rig_fill(r, port, tag, &c);
}

co_fn void rig_stop(struct ahci_rig *r, unsigned port)
{
	pwr(r, port, P_CMD, FRE);
	WAIT_UNTIL(!(prg(r, port, P_CMD) & CR));
}

co_fn void rig_restart(struct ahci_rig *r, unsigned port)
{
	rig_stop(r, port);
	pwr(r, port, P_SERR, prg(r, port, P_SERR));
	pwr(r, port, P_IS, UINT32_MAX);
	wr(r, H_IS, 1u << port);
	pwr(r, port, P_CMD, FRE | ST);
}

co_fn void rig_comreset(struct ahci_rig *r, unsigned port)
{
	pwr(r, port, P_SCTL, 0x301);
	pwr(r, port, P_SCTL, 0x300);
	WAIT_UNTIL(prg(r, port, P_SSTS) == 0x133 && !(prg(r, port, P_TFD) & 0x80));
}

void rig_slow(struct ahci_rig *r, unsigned disk, enum fault_op op, unsigned ms)
{
	fault_add(r->disks[disk],
		  &(struct fault_rule){.op = op, .delay_ns = (uint64_t)ms * 1000000});
}

static void on_answer(struct pci_call *call, int res)
{
	struct ahci_rig *r = (struct ahci_rig *)((char *)call - offsetof(struct ahci_rig, call));

	assert_int_equal(res, 0);
	r->answered++;
}

static void reset_bus(void *arg)
{
	struct ahci_rig *r = arg;

	r->answered = 0;
	r->call = (struct pci_call){.done = on_answer};
	if (pci_function_reset(r->h.f, PCI_RESET_BUS, &r->call) == 0)
		r->answered = 1;
}

co_fn void rig_reset_bus(struct ahci_rig *r)
{
	ON_LOOP(reset_bus, r);
	WAIT_UNTIL(r->answered);
}
