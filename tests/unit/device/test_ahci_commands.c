/* AHCI: registers, and every class of command with the FISes and PxIS bits that end it (4.5). */
#include "ahci_rig.h"

static const struct rig_cmd identify = {.op = 0xec, .bytes = 512};
static const struct rig_cmd flush = {.op = 0xe7};

static void registers_co(void *arg)
{
	struct ahci_rig r;

	(void)arg;
	rig_begin(&r, "hc", "driver=ahci,ports=4");
	assert_int_equal(cfg_read(&r.h, 8, 4) >> 8, 0x010601);
	assert_int_equal(cfg_read(&r.h, 0x24, 4) & 15, 0); /* 32 bits, not prefetchable (GRUB) */
	assert_int_equal(rd(&r, H_CAP), 0xc1349f03);
	wr(&r, H_CAP, 0); /* Linux and U-Boot write it */
	wr(&r, H_PI, 0xff);
	assert_int_equal(rd(&r, H_CAP), 0xc1349f03);
	assert_int_equal(rd(&r, H_PI), 0x0f);
	assert_int_equal(rd(&r, H_VS), 0x10300);
	assert_int_equal(rd(&r, H_GHC), 1u << 31 | IE);
	for (unsigned off = 0x14; off < 0x100; off += 4)
		assert_int_equal(rd(&r, off), 0);
	assert_int_equal(prg(&r, 0, P_SIG), 0x101);
	assert_int_equal(prg(&r, 1, P_SIG), 0xeb140101);
	assert_int_equal(prg(&r, 2, P_SIG), 0xffffffff);
	assert_int_equal(prg(&r, 0, P_SSTS), 0x133);
	assert_int_equal(prg(&r, 2, P_SSTS), 0);
	assert_int_equal(prg(&r, 0, P_TFD), 0x150);
	assert_int_equal(prg(&r, 2, P_TFD), 0x7f);
	pwr(&r, 0, P_TFD, 0); /* GRUB */
	pwr(&r, 0, 0x40, 2);  /* PxFBS: GRUB */
	assert_int_equal(prg(&r, 0, P_TFD), 0x150);
	assert_int_equal(prg(&r, 0, 0x40), 0);
	assert_int_equal(prg(&r, 9, P_CMD), 0); /* not implemented */
	pwr(&r, 9, P_CMD, ST);
	assert_int_equal(prg(&r, 9, P_CMD), 0);
	pwr(&r, 2, P_CLB, 0xffffffff);
	pwr(&r, 2, P_CLBU, 0x12345678);
	pwr(&r, 2, P_FB, 0xffffffff);
	assert_int_equal(prg(&r, 2, P_CLB), 0xfffffc00);
	assert_int_equal(prg(&r, 2, P_CLBU), 0x12345678);
	assert_int_equal(prg(&r, 2, P_FB), 0xffffff00);
	pwr(&r, 2, P_CI, 1); /* only while ST is 1 */
	pwr(&r, 2, P_SACT, 1);
	assert_int_equal(prg(&r, 2, P_CI), 0);
	assert_int_equal(prg(&r, 2, P_SACT), 0);
	/* The port's registers in other widths. */
	assert_int_equal(bar_read(&r.h, ABAR, 0x124, 1), 1);
	assert_int_equal(bar_read(&r.h, ABAR, 0x126, 2), 0);
	assert_int_equal(bar_read(&r.h, ABAR, 0x120, 8), 0x10100000150);
	rig_end(&r);
}
RIG_TEST(registers)

/* GRUB clears FRE while ST is 1 and waits for FR; SeaBIOS and edk2 do it in other orders. */
static void engine_bits_co(void *arg)
{
	struct ahci_rig r;

	(void)arg;
	rig_begin(&r, "h", "driver=ahci");
	assert_int_equal(prg(&r, 0, P_CMD), 6 | FRE | FR | ST | CR);
	pwr(&r, 0, P_CMD, ST);
	assert_int_equal(prg(&r, 0, P_CMD), 6 | ST | CR);
	assert_int_equal(rig_run(&r, 0, &flush) & TFES, 0); /* its FIS goes nowhere */
	assert_int_equal(get_le32(rx(&r, 0) + 0x58), 0);
	pwr(&r, 0, P_CMD, 0);
	assert_int_equal(prg(&r, 0, P_CMD), 6);
	pwr(&r, 0, P_CMD, FRE);
	assert_int_equal(prg(&r, 0, P_CMD), 6 | FRE | FR);
	/* CLO with ST off; the bit reads 0. */
	pwr(&r, 0, P_CMD, FRE | CLO);
	assert_int_equal(prg(&r, 0, P_CMD), 6 | FRE | FR);
	pwr(&r, 0, P_CMD, FRE | ST | 0xf0000000u); /* ICC reads 0 */
	assert_int_equal(prg(&r, 0, P_CMD), 6 | FRE | FR | ST | CR);
	rig_end(&r);
}
RIG_TEST(engine_bits)

/* The FIS after a reset arrives when FRE is set, also long after (4.3). */
static void signature_fis_co(void *arg)
{
	struct ahci_rig r;

	(void)arg;
	rig_begin(&r, "hc", "driver=ahci");
	WAIT_UNTIL(rx(&r, 0)[0x40] == 0x34 && rx(&r, 1)[0x40] == 0x34);
	assert_memory_equal(rx(&r, 0) + 0x40, "\x34\0\x50\x01\x01\0\0\0\0\0\0\0\x01", 13);
	assert_memory_equal(rx(&r, 1) + 0x44, "\x01\x14\xeb\0\0\0\0\0\x01", 9);
	memset(rx(&r, 0), 0, 0x100);
	pwr(&r, 0, P_CMD, 0);
	rig_comreset(&r, 0);
	assert_int_equal(rx(&r, 0)[0x40], 0);
	assert_int_equal(prg(&r, 0, P_SIG), 0x101); /* known without FRE too */
	assert_int_equal(prg(&r, 0, P_TFD), 0x150);
	assert_int_equal(prg(&r, 0, P_SERR), SERR_N | SERR_X);
	assert_int_equal(prg(&r, 0, P_IS), PCS | PRCS);
	pwr(&r, 0, P_IS, UINT32_MAX); /* views of PxSERR: cleared there, bit by bit */
	assert_int_equal(prg(&r, 0, P_IS), PCS | PRCS);
	pwr(&r, 0, P_SERR, SERR_X);
	assert_int_equal(prg(&r, 0, P_IS), PRCS);
	pwr(&r, 0, P_SERR, SERR_N);
	assert_int_equal(prg(&r, 0, P_IS), 0);
	pwr(&r, 0, P_CMD, FRE);
	WAIT_UNTIL(rx(&r, 0)[0x40] == 0x34);
	rig_end(&r);
}
RIG_TEST(signature_fis)

static void non_data_co(void *arg)
{
	struct ahci_rig r;

	(void)arg;
	rig_begin(&r, "h", "driver=ahci");
	rig_fill(&r, 0, 0, &flush);
	/* SeaBIOS: one PRD entry of nonsense where no data moves. */
	rig_prd(&r, 0, 0, 0, 0, 0, true);
	rig_issue(&r, 0, 1, true); /* GRUB sets PxSACT for all commands */
	assert_int_equal(rig_wait(&r, 0), DHRS);
	assert_int_equal(rx(&r, 0)[0x40], 0x34);
	assert_int_equal(rx(&r, 0)[0x41], 0x40);
	assert_int_equal(rx(&r, 0)[0x42], 0x50);
	assert_int_equal(prg(&r, 0, P_TFD), 0x50);
	assert_int_equal(prg(&r, 0, P_SACT), 1);
	rig_stop(&r, 0);
	assert_int_equal(prg(&r, 0, P_SACT), 0);
	rig_end(&r);
}
RIG_TEST(non_data)

static void pio_in_co(void *arg)
{
	static const struct rig_cmd four = {
		.op = 0x20, .device = 0x40, .count = 4, .lba = 9, .bytes = 2048};
	struct ahci_rig r;

	(void)arg;
	rig_begin(&r, "h", "driver=ahci");
	memset(rx(&r, 0), 0, 0x100);
	assert_int_equal(rig_run(&r, 0, &identify), PSS);
	assert_memory_equal(rx(&r, 0) + 0x20, "\x5f\x60\x58\0", 4);
	assert_int_equal(rx(&r, 0)[0x2f], 0x50); /* E_Status */
	assert_int_equal(get_le16(rx(&r, 0) + 0x30), 512);
	assert_int_equal(rx(&r, 0)[0x40], 0); /* no D2H at the end */
	assert_int_equal(get_le32(header(&r, 0, 0) + 4), 512);
	assert_int_equal(prg(&r, 0, P_TFD), 0x50);
	assert_int_equal(get_le16(at(&r, DATA_AT) + 2 * 75), 31);
	assert_int_equal(rig_run(&r, 0, &four), PSS);
	assert_int_equal(get_le32(header(&r, 0, 0) + 4), 2048);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(get_le32(at(&r, DATA_AT + 512 * i)), 9 + i);
	rig_end(&r);
}
RIG_TEST(pio_in)

static void pio_out_co(void *arg)
{
	static const struct rig_cmd two = {
		.op = 0x30, .device = 0x40, .count = 2, .lba = 100, .write = true, .bytes = 1024};
	struct ahci_rig r;
	uint8_t b[1024];

	(void)arg;
	rig_begin(&r, "h", "driver=ahci");
	memset(at(&r, DATA_AT), 0xa5, 1024);
	assert_int_equal(rig_run(&r, 0, &two), PSS | DHRS); /* the second block interrupts */
	assert_int_equal(rx(&r, 0)[0x20], 0x5f);
	assert_int_equal(rx(&r, 0)[0x21] & 0x20, 0);
	assert_int_equal(rx(&r, 0)[0x40], 0x34);
	assert_int_equal(get_le32(header(&r, 0, 0) + 4), 1024);
	assert_int_equal(block_pread(r.disks[0], 100 * SECTOR, b, sizeof(b)), 0);
	for (unsigned i = 0; i < sizeof(b); i++)
		assert_int_equal(b[i], 0xa5);
	rig_end(&r);
}
RIG_TEST(pio_out)

static void dma_co(void *arg)
{
	struct rig_cmd c = {.op = 0x25, .device = 0x40, .count = 8, .lba = 40, .bytes = 512};
	struct ahci_rig r;
	uint8_t b[SECTOR];

	(void)arg;
	rig_begin(&r, "h", "driver=ahci");
	rig_fill(&r, 0, 0, &c);
	rig_prd(&r, 0, 0, 1, DATA_AT + 0x3001, 1024, true); /* bit 0 of an address is not there */
	rig_prd(&r, 0, 0, 2, DATA_AT + 0x800, 8192, false); /* longer than needed */
	rig_issue(&r, 0, 1, false);
	assert_int_equal(rig_wait(&r, 0), DHRS | DPS);
	assert_int_equal(get_le32(at(&r, DATA_AT)), 40);
	assert_int_equal(get_le32(at(&r, DATA_AT + 0x3000)), 41);
	assert_int_equal(get_le32(at(&r, DATA_AT + 0x3200)), 42);
	assert_int_equal(get_le32(at(&r, DATA_AT + 0x800)), 43);
	assert_int_equal(get_le32(header(&r, 0, 0) + 4), 4096);
	c = (struct rig_cmd){
		.op = 0x35, .device = 0x40, .count = 1, .lba = 7, .write = true, .bytes = 512};
	memset(at(&r, DATA_AT), 0x77, 512);
	assert_int_equal(rig_run(&r, 0, &c), DHRS);
	assert_int_equal(block_pread(r.disks[0], 7 * SECTOR, b, SECTOR), 0);
	assert_int_equal(b[511], 0x77);
	rig_end(&r);
}
RIG_TEST(dma)

/* Status 51, TFES, and PxCI stays; recovery; no bit of an old error is left. */
static void error_co(void *arg)
{
	static const struct rig_cmd beyond = {
		.op = 0x25, .device = 0x40, .count = 1, .lba = DISK_SECTORS, .bytes = 512};
	static const struct rig_cmd unknown = {.op = 0xff};
	struct ahci_rig r;

	(void)arg;
	rig_begin(&r, "h", "driver=ahci");
	assert_int_equal(rig_run(&r, 0, &beyond), TFES | DHRS);
	assert_int_equal(prg(&r, 0, P_CI), 1);
	assert_int_equal(prg(&r, 0, P_TFD), 0x1051);
	assert_int_equal(rx(&r, 0)[0x42], 0x51);
	rig_fill(&r, 0, 1, &identify); /* behind a failed one nothing is fetched */
	pwr(&r, 0, P_CI, 2);
	co_sleep_ns(2000000);
	assert_int_equal(prg(&r, 0, P_CI), 3);
	rig_restart(&r, 0);
	assert_int_equal(prg(&r, 0, P_CI), 0);
	assert_int_equal(rig_run(&r, 0, &unknown), TFES | DHRS);
	assert_int_equal(prg(&r, 0, P_TFD), 0x451);
	rig_restart(&r, 0);
	assert_int_equal(rig_run(&r, 0, &identify), PSS);
	assert_int_equal(prg(&r, 0, P_TFD), 0x50);
	rig_end(&r);
}
RIG_TEST(error)

/* ---- packets ---- */

static uint32_t packet(struct ahci_rig *r, const char *cdb, bool dma, uint32_t room, bool write)
{
	struct rig_cmd c = {.op = 0xa0,
			    .feature = dma,
			    .lba = 0xfffe00,
			    .cdb = (const uint8_t *)cdb,
			    .write = write,
			    .bytes = room};
	uint32_t is = rig_run(r, 1, &c);

	if (is & TFES)
		rig_restart(r, 1);
	return is;
}

/* What the drive has to say after power-on. */
static void take_attention(struct ahci_rig *r)
{
	for (unsigned i = 0; i < 3; i++)
		packet(r, "\x03\0\0\0\x12\0\0\0\0\0\0\0", false, 18, false);
}

static void packets_co(void *arg)
{
	static const char inquiry[12] = "\x12\0\0\0\x24";
	struct ahci_rig r;
	uint32_t is;

	(void)arg;
	rig_begin(&r, "hc", "driver=ahci");
	/* No medium: an error at once, with the key and status 51. */
	take_attention(&r);
	is = packet(&r, "\0\0\0\0\0\0\0\0\0\0\0\0", false, 0, false);
	assert_int_equal(is, TFES | DHRS);
	assert_int_equal(rx(&r, 1)[0x42], 0x51);
	assert_int_equal(rx(&r, 1)[0x43] & 0xf0, 0x20);
	assert_int_equal(rx(&r, 1)[0x4c], 3);
	/* The packet's own PIO Setup FIS: 12 bytes to the device, without interrupt. */
	memset(rx(&r, 1), 0, 0x100);
	assert_int_equal(packet(&r, inquiry, true, 36, false), DHRS);
	assert_memory_equal(rx(&r, 1) + 0x20, "\x5f\0\x58\0", 4);
	assert_int_equal(rx(&r, 1)[0x2c], 1);
	assert_int_equal(get_le16(rx(&r, 1) + 0x30), 12);
	assert_int_equal(rx(&r, 1)[0x40], 0x34);
	assert_int_equal(rx(&r, 1)[0x4c], 3);
	assert_int_equal(at(&r, DATA_AT)[0], 5);
	assert_int_equal(get_le32(header(&r, 1, 0) + 4), 36);
	/* PIO (GRUB, edk2, libata for odd sizes): per block one with the reason, and a D2H. */
	memset(at(&r, DATA_AT), 0xee, 64);
	assert_int_equal(packet(&r, inquiry, false, 36, false), PSS | DHRS);
	assert_memory_equal(rx(&r, 1) + 0x20, "\x5f\x60\x58\0", 4);
	assert_int_equal(rx(&r, 1)[0x2c], 2);
	assert_int_equal(get_le16(rx(&r, 1) + 0x30), 36);
	assert_int_equal(at(&r, DATA_AT)[0], 5);
	assert_int_equal(at(&r, DATA_AT + 36)[0], 0xee); /* nothing behind it */
	assert_int_equal(get_le32(header(&r, 1, 0) + 4), 36);
	rig_end(&r);
}
RIG_TEST(packets)

static void packet_out_co(void *arg)
{
	static const char select[12] = "\x55\x10\0\0\0\0\0\0\x3c";
	struct ahci_rig r;
	uint8_t *p;

	(void)arg;
	rig_begin(&r, "hc", "driver=ahci");
	take_attention(&r);
	for (unsigned dma = 0; dma < 2; dma++) {
		p = at(&r, DATA_AT);
		memset(p, 0, 60);
		memcpy(p + 8, "\x05\x32\x42\x05\x08\x10", 6);
		p[23] = 150;
		assert_int_equal(packet(&r, select, dma, 60, true), dma ? DHRS : PSS | DHRS);
		assert_int_equal(get_le32(header(&r, 1, 0) + 4), 60);
		assert_int_equal(rx(&r, 1)[0x4c], 3);
	}
	/* Data out that the host does not have. */
	assert_int_equal(packet(&r, select, false, 20, true) & (TFES | OFS), TFES | OFS);
	rig_end(&r);
}
RIG_TEST(packet_out)

/* A packet without header bit A, and packets to a disk: an error, not a device that waits. */
static void no_packet_co(void *arg)
{
	static const struct rig_cmd c = {.op = 0xa0};
	static const struct rig_cmd identify_packet = {.op = 0xa1, .bytes = 512};
	struct ahci_rig r;

	(void)arg;
	rig_begin(&r, "hc", "driver=ahci");
	for (unsigned port = 0; port < 2; port++) {
		assert_int_equal(rig_run(&r, port, &c), TFES | DHRS);
		rig_restart(&r, port);
	}
	assert_int_equal(rig_run(&r, 1, &identify), TFES | DHRS);
	assert_int_equal(prg(&r, 1, P_TFD) & 0xff, 0x51);
	rig_restart(&r, 1);
	assert_int_equal(rig_run(&r, 1, &identify_packet), PSS);
	assert_int_equal(get_le16(at(&r, DATA_AT)) >> 8, 0x85);
	rig_end(&r);
}
RIG_TEST(no_packet)

/* ---- resets by command ---- */

static void srst(struct ahci_rig *r, unsigned port, bool on)
{
	static const struct rig_cmd none;
	uint8_t *h = header(r, port, 0), *t = table(r, port, 0);

	rig_fill(r, port, 0, &none);
	put_le16(h, (uint16_t)(CFL5 | (on ? RESET | CLEAR : 0)));
	t[1] = 0;
	t[15] = on ? 4 : 0;
	pwr(r, port, P_CI, 1);
	WAIT_UNTIL(!(prg(r, port, P_CI) & 1));
}

/* libata's way: both FISes from slot 0, each clears PxCI; then the signature. */
static void software_reset_co(void *arg)
{
	struct ahci_rig r;

	(void)arg;
	rig_begin(&r, "hc", "driver=ahci");
	for (unsigned port = 0; port < 2; port++) {
		pwr(&r, port, P_IS, UINT32_MAX);
		memset(rx(&r, port), 0, 0x100);
		srst(&r, port, true);
		assert_int_equal(rx(&r, port)[0x40], 0); /* no FIS yet */
		assert_int_equal(prg(&r, port, P_TFD) & 0x80, 0);
		srst(&r, port, false);
		assert_int_equal(prg(&r, port, P_TFD) & 0x89, 0);
		assert_int_equal(prg(&r, port, P_SIG), port ? 0xeb140101 : 0x101);
		assert_int_equal(rx(&r, port)[0x40], 0x34);
		assert_int_equal(rx(&r, port)[0x41], 0);
		assert_int_equal(prg(&r, port, P_IS), 0);
	}
	srst(&r, 0, false); /* not in reset: nothing but PxCI */
	assert_int_equal(rig_run(&r, 0, &identify), PSS);
	rig_end(&r);
}
RIG_TEST(software_reset)

static void device_resets_co(void *arg)
{
	static const struct rig_cmd diagnostic = {.op = 0x90}, reset = {.op = 0x08};
	struct ahci_rig r;

	(void)arg;
	rig_begin(&r, "hc", "driver=ahci");
	assert_int_equal(rig_run(&r, 0, &diagnostic), DHRS);
	assert_int_equal(prg(&r, 0, P_TFD), 0x150);
	assert_memory_equal(rx(&r, 0) + 0x44, "\x01\0\0\0\0\0\0\0\x01", 9);
	assert_int_equal(rig_run(&r, 1, &diagnostic), DHRS);
	assert_memory_equal(rx(&r, 1) + 0x44, "\x01\x14\xeb\0\0\0\0\0\x01", 9);
	assert_int_equal(rig_run(&r, 1, &reset), DHRS);
	assert_memory_equal(rx(&r, 1) + 0x44, "\x01\x14\xeb\0\0\0\0\0\x01", 9);
	assert_int_equal(rig_run(&r, 0, &reset), TFES | DHRS);
	rig_end(&r);
}
RIG_TEST(device_resets)

/* All of a list at once, and several ports beside each other. */
static void many_co(void *arg)
{
	struct ahci_rig r;

	(void)arg;
	rig_begin(&r, "hh", "driver=ahci");
	for (unsigned port = 0; port < 2; port++) {
		for (unsigned slot = 0; slot < 32; slot++) {
			struct rig_cmd c = {.op = 0x25,
					    .device = 0x40,
					    .count = 1,
					    .lba = 10 * slot + port,
					    .bytes = 512};

			c.gpa = DATA_AT + 0x4000 * port + 512 * slot;
			rig_fill(&r, port, slot, &c);
		}
		rig_slow(&r, port, FAULT_READ, 1);
	}
	rig_issue(&r, 0, UINT32_MAX, false);
	rig_issue(&r, 1, UINT32_MAX, false);
	assert_int_equal(rig_wait(&r, 1), DHRS);
	assert_int_equal(rig_wait(&r, 0), DHRS);
	for (unsigned i = 0; i < 64; i++)
		assert_int_equal(get_le32(at(&r, DATA_AT + 0x4000 * (i / 32) + 512 * (i % 32))),
				 10 * (i % 32) + i / 32);
	rig_end(&r);
}
RIG_TEST(many)

/* All of it in memory that only the VMM reaches. */
static void far_memory_co(void *arg)
{
	static const struct rig_cmd read = {
		.op = 0x25, .device = 0x40, .count = 4, .lba = 5, .bytes = 2048};
	static const struct rig_cmd write = {
		.op = 0x35, .device = 0x40, .count = 4, .lba = 50, .write = true, .bytes = 2048};
	struct ahci_rig r;
	uint8_t b[SECTOR];

	(void)arg;
	rig_begin(&r, "h", "driver=ahci");
	rig_stop(&r, 0);
	r.far = true;
	rig_start_port(&r, 0);
	assert_int_equal(rig_run(&r, 0, &identify), PSS);
	assert_int_equal(rig_run(&r, 0, &read), DHRS);
	assert_int_equal(get_le32(at(&r, data_of(&r)) + 1536), 8);
	assert_int_equal(rig_run(&r, 0, &write), DHRS);
	assert_int_equal(block_pread(r.disks[0], 53 * SECTOR, b, SECTOR), 0);
	assert_int_equal(get_le32(b), 8);
	for (unsigned tag = 0; tag < 16; tag++)
		rig_queued(&r, 0, tag, false, 3 * tag, 2, data_of(&r) + 1024 * tag);
	rig_issue(&r, 0, 0xffff, true);
	WAIT_UNTIL(!prg(&r, 0, P_SACT));
	for (unsigned tag = 0; tag < 16; tag++)
		assert_int_equal(get_le32(at(&r, data_of(&r) + 1024 * tag + 512)), 3 * tag + 1);
	rig_end(&r);
}
RIG_TEST(far_memory)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(registers),     cmocka_unit_test(engine_bits),
		cmocka_unit_test(signature_fis), cmocka_unit_test(non_data),
		cmocka_unit_test(pio_in),        cmocka_unit_test(pio_out),
		cmocka_unit_test(dma),           cmocka_unit_test(error),
		cmocka_unit_test(packets),       cmocka_unit_test(packet_out),
		cmocka_unit_test(no_packet),     cmocka_unit_test(software_reset),
		cmocka_unit_test(device_resets), cmocka_unit_test(many),
		cmocka_unit_test(far_memory),
	};

	return RUN_LOOP_TESTS(tests);
}
