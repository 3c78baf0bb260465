/* AHCI: options, hot plug, resets and stops at any moment, notification. */
#include "ahci_rig.h"

#include <unistd.h>

static const struct rig_cmd flush = {.op = 0xe7};
static const struct rig_cmd identify = {.op = 0xec, .bytes = 512};
static const struct rig_cmd write_8 = {
	.op = 0x35, .device = 0x40, .count = 8, .lba = 64, .write = true, .bytes = 4096};
static const struct rig_cmd read_8 = {
	.op = 0x25, .device = 0x40, .count = 8, .lba = 64, .bytes = 4096};

static void refuse(const char *order, const char *options, const char *message)
{
	GError *error = NULL;
	struct ahci_rig r;

	rig_make_units(&r, order);
	assert_null(rig_try(&r, options, &error));
	assert_non_null(strstr(error->message, message));
	g_error_free(error);
	rig_free_units(&r);
}

static void options_co(void *arg)
{
	struct ahci_rig r;

	(void)arg;
	refuse("hhc", "driver=ahci,ports=2", "more disks and drives than its 2 ports");
	refuse("hc", "driver=ahci,ports=0", "1 to 32");
	refuse("hc", "driver=ahci,ports=33", "1 to 32");
	refuse("hc", "driver=ahci,port0=hd9", "no disk or drive 'hd9'");
	refuse("hc", "driver=ahci,port7=hd0", "there are 6 ports, 0 to 5");
	rig_begin(&r, "hhc", "driver=ahci,port3=cd0,port0=hd1");
	assert_int_equal(prg(&r, 0, P_SIG), 0x101);
	assert_int_equal(prg(&r, 1, P_SSTS), 0); /* hd0 was not named */
	assert_int_equal(prg(&r, 3, P_SIG), 0xeb140101);
	assert_string_equal(device_unit_ops(r.d)->unit(device_ob(r.d), 0), "hd1");
	assert_null(device_unit_ops(r.d)->unit(device_ob(r.d), 1));
	rig_end(&r);
	rig_begin(&r, "", "driver=ahci,ports=32"); /* nothing is fine too */
	assert_int_equal(rd(&r, H_PI), UINT32_MAX);
	assert_int_equal(prg(&r, 31, P_CMD), 6);
	rig_end(&r);
}
RIG_TEST(options)

/* ---- hot plug ---- */

static bool plug(struct ahci_rig *r, unsigned slot, const char *id)
{
	struct device_unit unit;
	GError *error = NULL;
	bool ok;

	assert_true(r->units.find(r, id, &unit, NULL));
	ok = device_unit_ops(r->d)->plug(device_ob(r->d), slot, &unit, &error);
	assert_int_equal(ok, !error);
	g_clear_error(&error);
	return ok;
}

static void unplug(struct ahci_rig *r, unsigned slot)
{
	assert_true(device_unit_ops(r->d)->unplug(device_ob(r->d), slot, NULL));
}

static void hot_plug_co(void *arg)
{
	struct ahci_rig r;

	(void)arg;
	rig_begin(&r, "hhc", "driver=ahci,port0=hd0");
	rig_start_port(&r, 1);
	assert_int_equal(device_unit_ops(r.d)->slots(device_ob(r.d)), 6);
	assert_false(plug(&r, 0, "hd1")); /* taken */
	assert_true(plug(&r, 1, "hd1"));
	assert_int_equal(prg(&r, 1, P_SSTS), 0x133);
	assert_int_equal(prg(&r, 1, P_IS), PCS | PRCS);
	assert_int_equal(prg(&r, 1, P_SERR), SERR_N | SERR_X);
	assert_int_equal(prg(&r, 1, P_SIG), 0x101);
	assert_true(r.h.level);
	rig_comreset(&r, 1); /* as Linux then does */
	pwr(&r, 1, P_SERR, UINT32_MAX);
	WAIT_UNTIL(rx(&r, 1)[0x40] == 0x34);
	assert_int_equal(rig_run(&r, 1, &identify), PSS);
	assert_false(r.h.level);
	unplug(&r, 1);
	assert_int_equal(prg(&r, 1, P_SSTS), 0);
	assert_int_equal(prg(&r, 1, P_TFD), 0x7f);
	assert_int_equal(prg(&r, 1, P_SIG), UINT32_MAX);
	assert_int_equal(prg(&r, 1, P_IS) & PRCS, PRCS);
	assert_true(r.h.level);
	pwr(&r, 1, P_CI, 1); /* nobody answers */
	assert_int_equal(rig_run(&r, 0, &flush), DHRS);
	assert_true(plug(&r, 1, "cd0"));
	assert_int_equal(prg(&r, 1, P_SIG), 0xeb140101);
	rig_end(&r);
}
RIG_TEST(hot_plug)

/* CVE-2017-9373: what a port holds is let go with its unit; LeakSanitizer looks on. */
static void cve_2017_9373_co(void *arg)
{
	struct ahci_rig r;

	(void)arg;
	rig_begin(&r, "hhc", "driver=ahci,port0=hd0");
	rig_start_port(&r, 1);
	for (unsigned i = 0; i < 1000; i++) {
		const char *id = i & 1 ? "cd0" : "hd1";

		assert_true(plug(&r, 1, id));
		if (i % 10 == 0) {
			for (unsigned tag = 0; tag < 8; tag++)
				rig_queued(&r, 1, tag, false, tag, 1, DATA_AT + 512 * tag);
			rig_issue(&r, 1, 0xff, true);
		}
		unplug(&r, 1);
		assert_int_equal(prg(&r, 1, P_SACT) | prg(&r, 1, P_CI), 0);
	}
	rig_end(&r);
}
RIG_TEST(cve_2017_9373)

static void unplug_under_io_co(void *arg)
{
	struct ahci_rig r;

	(void)arg;
	rig_begin(&r, "hhc", "driver=ahci");
	rig_slow(&r, 0, FAULT_ANY, 50);
	for (unsigned tag = 0; tag < 32; tag++)
		rig_queued(&r, 0, tag, tag & 1, tag, 1, DATA_AT + 512 * tag);
	rig_issue(&r, 0, UINT32_MAX, true);
	rig_fill(&r, 1, 0, &read_8);
	rig_slow(&r, 1, FAULT_ANY, 1000);
	rig_issue(&r, 1, 1, false);
	r.h.messages = 0;
	unplug(&r, 0);
	assert_null(device_unit_ops(r.d)->unit(device_ob(r.d), 0));
	assert_int_equal(prg(&r, 0, P_IS) & (SDBS | DHRS | TFES), 0);
	unplug(&r, 1);
	assert_int_equal(prg(&r, 1, P_IS) & (SDBS | DHRS | TFES), 0);
	/* Nobody uses the disk any more: it may go. */
	assert_true(plug(&r, 0, "hd0"));
	fault_clear(r.disks[0]);
	rig_comreset(&r, 0);
	rig_start_port(&r, 0);
	assert_int_equal(rig_run(&r, 0, &flush) & DHRS, DHRS);
	rig_end(&r);
}
RIG_TEST(unplug_under_io)

/* The device goes while commands run on every port. */
static void end_under_io_co(void *arg)
{
	struct ahci_rig r;

	(void)arg;
	rig_begin(&r, "hhc", "driver=ahci");
	for (unsigned port = 0; port < 2; port++) {
		rig_slow(&r, port, FAULT_ANY, 50);
		rig_fill(&r, port, 0, &read_8);
		rig_issue(&r, port, 1, false);
	}
	pwr(&r, 0, P_CMD, 0); /* one that is being stopped, one that is being reset */
	pwr(&r, 1, P_SCTL, 0x301);
	pwr(&r, 1, P_SCTL, 0x300);
	rig_end(&r);
}
RIG_TEST(end_under_io)

/* ---- resets ---- */

enum stop_way { BY_ST, BY_COMRESET, BY_HR, BY_BUS, BY_ST_AND_COMRESET, BY_OFFLINE, STOP_WAYS };

static void stop_by(struct ahci_rig *r, enum stop_way way)
{
	switch (way) {
	case BY_ST: rig_stop(r, 0); break;
	case BY_COMRESET: rig_comreset(r, 0); break;
	case BY_HR:
		wr(r, H_GHC, HR);
		pwr(r, 0, P_CMD, ST | FRE); /* does not count while it reads 1 */
		WAIT_UNTIL(!(rd(r, H_GHC) & HR));
		assert_int_equal(rd(r, H_GHC), 1u << 31);
		assert_int_equal(prg(r, 0, P_CMD), 6);
		assert_int_equal(prg(r, 0, P_IE), 0);
		assert_int_equal(prg(r, 0, P_CLB), GUEST_AT); /* is not affected */
		wr(r, H_GHC, IE);
		break;
	case BY_BUS:
		rig_reset_bus(r);
		assert_int_equal(prg(r, 0, P_CLB), 0);
		assert_int_equal(prg(r, 0, P_CMD), 6);
		cfg_write(&r->h, 4, 7, 2);
		wr(r, H_GHC, IE);
		break;
	case BY_ST_AND_COMRESET: /* libata, when the list does not stop at once */
		pwr(r, 0, P_CMD, FRE);
		rig_comreset(r, 0);
		WAIT_UNTIL(!(prg(r, 0, P_CMD) & CR));
		break;
	case BY_OFFLINE:
		pwr(r, 0, P_SCTL, 4);
		WAIT_UNTIL(prg(r, 0, P_SSTS) == 4);
		pwr(r, 0, P_SCTL, 0);
		WAIT_UNTIL(prg(r, 0, P_SSTS) == 0x133);
		break;
	case STOP_WAYS: break;
	}
}

/*
 * CVE-2023-5088: a write under way when a reset comes neither goes elsewhere nor is reported later.
 * Also: nothing is written to the guest's memory after the reset was acknowledged.
 */
static void cve_2023_5088_co(void *arg)
{
	struct ahci_rig r;
	uint8_t b[SECTOR];

	(void)arg;
	rig_begin(&r, "hh", "driver=ahci");
	for (unsigned n = 0; n < STOP_WAYS * 3; n++) {
		enum stop_way way = n % STOP_WAYS;

		rig_slow(&r, 0, FAULT_ANY, 20);
		memset(at(&r, DATA_AT), 0xdd, 4096);
		if (n < STOP_WAYS) {
			rig_fill(&r, 0, 0, &write_8);
			rig_issue(&r, 0, 1, false);
		} else if (n < 2 * STOP_WAYS) {
			rig_fill(&r, 0, 0, &read_8);
			rig_fill(&r, 0, 1, &write_8);
			rig_issue(&r, 0, 3, false);
		} else {
			for (unsigned tag = 0; tag < 32; tag++)
				rig_queued(&r, 0, tag, tag & 1, 64 + tag, 1, DATA_AT + 512 * tag);
			rig_issue(&r, 0, UINT32_MAX, true);
		}
		stop_by(&r, way);
		assert_int_equal(prg(&r, 0, P_CI) | prg(&r, 0, P_SACT), 0);
		assert_int_equal(prg(&r, 0, P_IS) & (SDBS | DHRS | PSS | TFES), 0);
		assert_int_equal(prg(&r, 0, P_TFD) & 0x89, 0);
		memset(at(&r, DATA_AT), 0x11, 32 * 512);
		memset(rx(&r, 0), 0x22, 0x100);
		co_sleep_ns(40 * 1000000);
		for (unsigned i = 0; i < 32 * 512; i++)
			assert_int_equal(at(&r, DATA_AT)[i], 0x11);
		for (unsigned i = 0; i < 0x100; i++)
			assert_int_equal(rx(&r, 0)[i], 0x22);
		fault_clear(r.disks[0]);
		assert_int_equal(block_pread(r.disks[0], 0, b, SECTOR), 0);
		assert_int_equal(get_le32(b), 0);
		assert_int_equal(b[4], 0);
		rig_stop(&r, 0);
		rig_start_port(&r, 0);
		assert_int_equal(rig_run(&r, 0, &identify) & (PSS | TFES), PSS);
	}
	rig_end(&r);
}
RIG_TEST(cve_2023_5088)

/* Several ports have work when the HBA is reset: none goes on meanwhile. */
static void hba_reset_co(void *arg)
{
	struct ahci_rig r;

	(void)arg;
	rig_begin(&r, "hhhc", "driver=ahci");
	for (unsigned round = 0; round < 4; round++) {
		for (unsigned port = 0; port < 3; port++) {
			for (unsigned slot = 0; slot < 32; slot++) {
				struct rig_cmd c = read_8;

				c.gpa = DATA_AT + 0x8000 * (uint64_t)port;
				rig_fill(&r, port, slot, &c);
			}
			rig_slow(&r, port, FAULT_READ, 5 * (port + 1));
			rig_issue(&r, port, UINT32_MAX, false);
		}
		if (round & 1) {
			rig_reset_bus(&r);
			cfg_write(&r.h, 4, 7, 2);
		} else {
			wr(&r, H_GHC, 1u << 31 | HR | IE);
			assert_int_equal(rd(&r, H_GHC) & HR, HR);
			WAIT_UNTIL(!(rd(&r, H_GHC) & HR));
		}
		assert_int_equal(rd(&r, H_IS), 0);
		wr(&r, H_GHC, IE);
		for (unsigned port = 0; port < 3; port++) {
			assert_int_equal(prg(&r, port, P_CI), 0);
			assert_int_equal(prg(&r, port, P_SSTS), 0x133);
			assert_int_equal(prg(&r, port, P_TFD), 0x150);
			fault_clear(r.disks[port]);
			rig_start_port(&r, port);
			assert_int_equal(rig_run(&r, port, &read_8), DHRS);
		}
	}
	rig_end(&r);
}
RIG_TEST(hba_reset)

/* ---- the machine stands still ---- */

static void on_stopped(struct pci_call *call, int res)
{
	struct ahci_rig *r = (struct ahci_rig *)((char *)call - offsetof(struct ahci_rig, call));

	assert_int_equal(res, 0);
	r->answered++;
}

static void stop_machine(void *arg)
{
	struct ahci_rig *r = arg;

	r->answered = 0;
	r->call = (struct pci_call){.done = on_stopped};
	if (pci_function_stop(r->h.f, &r->call) == 0)
		r->answered = 1;
}

static void start_machine(void *arg)
{
	struct ahci_rig *r = arg;

	pci_function_start(r->h.f);
}

static void stop_co(void *arg)
{
	struct ahci_rig r;

	(void)arg;
	rig_begin(&r, "h", "driver=ahci");
	for (unsigned round = 0; round < 3; round++) {
		rig_slow(&r, 0, FAULT_ANY, 20);
		rig_fill(&r, 0, 0, &read_8);
		rig_fill(&r, 0, 1, &read_8);
		rig_issue(&r, 0, 3, false);
		if (round) { /* what waits for the end of the command waits for it beside the stop
			      */
			pwr(&r, 0, P_CMD, FRE);
			if (round == 2) {
				pwr(&r, 0, P_SCTL, 0x301);
				pwr(&r, 0, P_SCTL, 0x300);
			}
		}
		ON_LOOP(stop_machine, &r);
		WAIT_UNTIL(r.answered);
		/* In flight is nothing; what was not begun waits. */
		assert_int_equal(prg(&r, 0, P_CI), round ? 0 : 2);
		memset(rx(&r, 0), 0, 0x100);
		if (!round)
			pwr(&r, 0, P_CI, 1);
		co_sleep_ns(50 * 1000000);
		assert_int_equal(rx(&r, 0)[0x40], 0);
		ON_LOOP(start_machine, &r);
		fault_clear(r.disks[0]);
		WAIT_UNTIL(!prg(&r, 0, P_CI) && !(prg(&r, 0, P_TFD) & 0x80));
		if (round)
			WAIT_UNTIL(!(prg(&r, 0, P_CMD) & CR));
		if (round == 2)
			WAIT_UNTIL(prg(&r, 0, P_SSTS) == 0x133 && rx(&r, 0)[0x40] == 0x34);
		rig_start_port(&r, 0);
		assert_int_equal(rig_run(&r, 0, &identify) & PSS, PSS);
	}
	rig_end(&r);
}
RIG_TEST(stop)

static void refuse_state(const GByteArray *state, const char *order, const char *options,
			 const char *message)
{
	GError *error = NULL;
	struct ahci_rig r;

	rig_begin(&r, order, options);
	ON_LOOP(stop_machine, &r);
	WAIT_UNTIL(r.answered);
	assert_false(pci_function_restore(r.h.f, state->data, state->len, &error));
	if (!strstr(error->message, message))
		fail_msg("%s", error->message);
	g_error_free(error);
	ON_LOOP(start_machine, &r);
	rig_end(&r);
}

/* What was not begun when the machine stopped is done where it goes on. */
static void saved_co(void *arg)
{
	static const struct rig_cmd set_multiple = {.op = 0xc6, .count = 8};
	static const struct rig_cmd read_multiple = {
		.op = 0xc4, .device = 0x40, .count = 8, .lba = 64, .bytes = 4096};
	GByteArray *state;
	struct ahci_rig r;

	(void)arg;
	rig_begin(&r, "hc", "driver=ahci");
	assert_int_equal(rig_run(&r, 0, &set_multiple) & TFES, 0);
	rig_slow(&r, 0, FAULT_ANY, 20);
	rig_fill(&r, 0, 0, &read_multiple);
	rig_fill(&r, 0, 1, &read_8); /* goes first: the slot after the last one */
	rig_issue(&r, 0, 3, false);
	ON_LOOP(stop_machine, &r);
	WAIT_UNTIL(r.answered);
	assert_int_equal(prg(&r, 0, P_CI), 1);
	state = pci_function_save(r.h.f, NULL);
	assert_non_null(state);
	ON_LOOP(start_machine, &r);
	fault_clear(r.disks[0]);
	WAIT_UNTIL(!prg(&r, 0, P_CI));
	rig_reset_bus(&r);
	assert_int_equal(prg(&r, 0, P_CLB), 0);
	memset(at(&r, DATA_AT), 0xcc, 4096);

	ON_LOOP(stop_machine, &r);
	WAIT_UNTIL(r.answered);
	assert_true(pci_function_restore(r.h.f, state->data, state->len, NULL));
	assert_int_equal(prg(&r, 0, P_CI), 1);
	assert_int_equal(prg(&r, 1, P_SIG), 0xeb140101);
	ON_LOOP(start_machine, &r);
	WAIT_UNTIL(!prg(&r, 0, P_CI));
	assert_int_equal(prg(&r, 0, P_TFD), 0x50); /* the setting came along */
	assert_int_equal(get_le16(at(&r, DATA_AT)), 64);
	rig_end(&r);

	refuse_state(state, "ch", "driver=ahci", "had a disk on port 0, here is a drive");
	refuse_state(state, "h", "driver=ahci", "had a drive on port 1, here is nothing");
	refuse_state(state, "hc", "driver=ahci,ports=3", "msix.table has 96 bytes, must have 48");
	g_byte_array_unref(state);
}
RIG_TEST(saved)

/* ---- memory that goes away ---- */

static void remove_memory(void *arg)
{
	struct ahci_rig *r = arg;

	dma_space_remove(r->h.host.dma, DATA_AT, DATA_AT + 0xffff);
}

static void revoked_co(void *arg)
{
	struct ahci_rig r;

	(void)arg;
	rig_begin(&r, "h", "driver=ahci");
	rig_slow(&r, 0, FAULT_READ, 50);
	rig_fill(&r, 0, 0, &read_8);
	rig_issue(&r, 0, 1, false);
	ON_LOOP(remove_memory, &r);
	assert_int_equal(rig_wait(&r, 0) & (HBFS | DHRS), HBFS);
	assert_int_equal(prg(&r, 0, P_CI), 1);
	rig_stop(&r, 0);
	rig_comreset(&r, 0);
	rig_start_port(&r, 0);
	assert_int_equal(rig_run(&r, 0, &flush) & DHRS, DHRS);
	rig_end(&r);
}
RIG_TEST(revoked)

/* The VMM goes in the middle of it, and another comes. */
static void detach_co(void *arg)
{
	struct ahci_rig r;

	(void)arg;
	rig_begin(&r, "h", "driver=ahci");
	rig_slow(&r, 0, FAULT_READ, 30);
	for (unsigned tag = 0; tag < 4; tag++)
		rig_queued(&r, 0, tag, false, tag, 1, DATA_AT + 512 * tag);
	rig_issue(&r, 0, 15, true);
	fake_host_fini(&r.h);
	fake_host_init(&r.h, device_function(r.d), true);
	rig_reset_bus(&r);
	cfg_write(&r.h, 4, 7, 2);
	fault_clear(r.disks[0]);
	wr(&r, H_GHC, IE);
	rig_start_port(&r, 0);
	assert_int_equal(rig_run(&r, 0, &identify), PSS);
	rig_end(&r);
}
RIG_TEST(detach)

/* ---- notification (4.9) ---- */

static struct disc *new_disc(const char *path)
{
	const struct disc_type *type = disc_type_find("dvd+r");
	GError *error = NULL;

	assert_non_null(type);
	if (!disc_create(path, type, 0, false, &error))
		fail_msg("%s", error->message);
	return disc_open(path, DISC_OPEN_RDWR, 0, &error);
}

static void notification_co(void *arg)
{
	static const struct rig_cmd enable = {.op = 0xef, .feature = 0x10, .count = 5};
	static const struct rig_cmd events = {
		.op = 0xa0,
		.lba = 0xfffe00,
		.bytes = 8,
		.cdb = (const uint8_t *)"\x4a\x01\0\0\x10\0\0\0\x08\0\0"};
	char path[] = "/tmp/ob-ahci-XXXXXX";
	GError *error = NULL;
	struct ahci_rig r;
	struct disc *disc;

	(void)arg;
	close(mkstemp(path));
	unlink(path);
	rig_begin(&r, "c", "driver=ahci");
	disc = new_disc(path);
	memset(rx(&r, 0), 0, 0x100);
	assert_true(drive_insert(r.drive, disc, false, &error));
	assert_int_equal(prg(&r, 0, P_IS), 0); /* not asked for */
	rig_run(&r, 0, &events);
	assert_int_equal(rig_run(&r, 0, &enable), DHRS);
	assert_true(drive_eject(r.drive, true, &error));
	WAIT_UNTIL(prg(&r, 0, P_IS) == SDBS);
	assert_memory_equal(rx(&r, 0) + 0x58, "\xa1\xc0", 2);
	assert_int_equal(get_le32(rx(&r, 0) + 0x5c), 0);
	assert_int_equal(prg(&r, 0, P_SNTF), 1);
	pwr(&r, 0, P_SNTF, 1);
	assert_int_equal(prg(&r, 0, P_SNTF), 0);
	pwr(&r, 0, P_IS, SDBS);
	rig_run(&r, 0, &events);
	assert_int_equal(at(&r, DATA_AT)[2], 4);
	rig_end(&r);
	unlink(path);
}
RIG_TEST(notification)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options),       cmocka_unit_test(hot_plug),
		cmocka_unit_test(cve_2017_9373), cmocka_unit_test(unplug_under_io),
		cmocka_unit_test(end_under_io),  cmocka_unit_test(cve_2023_5088),
		cmocka_unit_test(hba_reset),     cmocka_unit_test(stop),
		cmocka_unit_test(revoked),       cmocka_unit_test(detach),
		cmocka_unit_test(notification),  cmocka_unit_test(saved),
	};

	return RUN_LOOP_TESTS(tests);
}
