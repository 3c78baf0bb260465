/* AHCI: queued commands (4.7), and the interrupts of a port (4.3). */
#include "ahci_rig.h"

static const struct rig_cmd flush = {.op = 0xe7};
static const struct rig_cmd read_log = {
	.op = 0x2f, .device = 0x40, .count = 1, .lba = 0x10, .bytes = 512};

static void queued_co(void *arg)
{
	struct ahci_rig r;
	uint8_t b[SECTOR];

	(void)arg;
	rig_begin(&r, "h", "driver=ahci");
	for (unsigned tag = 0; tag < 32; tag++)
		rig_queued(&r, 0, tag, false, 100 * tag, 1, DATA_AT + 512 * tag);
	rig_slow(&r, 0, FAULT_READ, 200);
	memset(rx(&r, 0), 0, 0x100);
	r.h.raised = 0;
	rig_issue(&r, 0, UINT32_MAX, true);
	/* Accepted: the slots are free, the tags are not; a D2H without I said so. */
	WAIT_UNTIL(!prg(&r, 0, P_CI));
	assert_int_equal(prg(&r, 0, P_SACT), UINT32_MAX);
	assert_int_equal(prg(&r, 0, P_TFD), 0x50);
	assert_int_equal(prg(&r, 0, P_IS), 0);
	assert_memory_equal(rx(&r, 0) + 0x40, "\x34\0\x50\0", 4);
	WAIT_UNTIL(!prg(&r, 0, P_SACT));
	assert_int_equal(prg(&r, 0, P_IS), SDBS);
	assert_memory_equal(rx(&r, 0) + 0x58, "\xa1\x40\x50\0", 4);
	for (unsigned tag = 0; tag < 32; tag++)
		assert_int_equal(get_le32(at(&r, DATA_AT + 512 * tag)), 100 * tag);
	fault_clear(r.disks[0]);
	memset(at(&r, DATA_AT), 0x3c, 1024);
	rig_queued(&r, 0, 17, true, 77, 2, 0);
	rig_issue(&r, 0, 1 << 17, true);
	WAIT_UNTIL(!prg(&r, 0, P_SACT));
	assert_int_equal(get_le32(rx(&r, 0) + 0x5c), 1 << 17);
	assert_int_equal(block_pread(r.disks[0], 78 * SECTOR, b, SECTOR), 0);
	assert_int_equal(b[0], 0x3c);
	rig_end(&r);
}
RIG_TEST(queued)

static void out_of_order_co(void *arg)
{
	struct fault_rule late = {.op = FAULT_READ, .times = 1, .delay_ns = 500 * 1000000};
	struct ahci_rig r;

	(void)arg;
	rig_begin(&r, "h", "driver=ahci");
	rig_queued(&r, 0, 0, false, 1, 1, DATA_AT);
	rig_queued(&r, 0, 5, false, 2, 1, DATA_AT + 512);
	fault_add(r.disks[0], &late);
	rig_issue(&r, 0, 1 << 0 | 1 << 5, true);
	WAIT_UNTIL(prg(&r, 0, P_SACT) == 1); /* the later one came first */
	assert_int_equal(get_le32(rx(&r, 0) + 0x5c), 1 << 5);
	assert_int_equal(get_le32(at(&r, DATA_AT + 512)), 2);
	/* Its tag may be used again at once. */
	rig_queued(&r, 0, 5, false, 3, 1, DATA_AT + 512);
	rig_issue(&r, 0, 1 << 5, true);
	WAIT_UNTIL(prg(&r, 0, P_SACT) == 1);
	assert_int_equal(get_le32(at(&r, DATA_AT + 512)), 3);
	WAIT_UNTIL(!prg(&r, 0, P_SACT));
	assert_int_equal(get_le32(at(&r, DATA_AT)), 1);
	rig_end(&r);
}
RIG_TEST(out_of_order)

/* What ends in one turn of the loop is told by one FIS and one message. */
static void coalesced_co(void *arg)
{
	struct ahci_rig r;

	(void)arg;
	rig_begin(&r, "h", "driver=ahci");
	cfg_write(&r.h, cfg_find(&r.h, 5) + 2, 1, 2);
	for (unsigned tag = 0; tag < 32; tag++)
		rig_queued(&r, 0, tag, false, tag, 1, DATA_AT + 512 * tag);
	r.h.messages = 0;
	rig_issue(&r, 0, UINT32_MAX, true); /* memory answers at once */
	WAIT_UNTIL(!prg(&r, 0, P_SACT));
	assert_int_equal(get_le32(rx(&r, 0) + 0x5c), UINT32_MAX);
	assert_int_equal(r.h.messages, 1);
	rig_end(&r);
}
RIG_TEST(coalesced)

/* libata: stop, read log 10h, requeue. */
static void queue_error_co(void *arg)
{
	struct ahci_rig r;
	uint8_t sum = 0;
	uint8_t *log;

	(void)arg;
	rig_begin(&r, "h", "driver=ahci");
	rig_queued(&r, 0, 1, false, 1, 1, DATA_AT);
	rig_queued(&r, 0, 9, false, DISK_SECTORS, 1, DATA_AT + 512);
	rig_queued(&r, 0, 20, false, 2, 1, DATA_AT + 1024);
	fault_add(r.disks[0], &(struct fault_rule){.op = FAULT_READ, .delay_ns = 200 * 1000000});
	rig_issue(&r, 0, 1 << 1 | 1 << 9 | 1 << 20, true);
	WAIT_UNTIL(prg(&r, 0, P_IS) & TFES);
	assert_int_equal(prg(&r, 0, P_IS), TFES | SDBS);
	assert_true(prg(&r, 0, P_SACT) & 1 << 9);
	assert_int_equal(rx(&r, 0)[0x58], 0xa1);
	assert_int_equal(rx(&r, 0)[0x5a] & 1, 1);
	assert_int_equal(rx(&r, 0)[0x5b], 0x10);
	assert_false(get_le32(rx(&r, 0) + 0x5c) & 1 << 9);
	assert_int_equal(prg(&r, 0, P_TFD), 0x1051);
	rig_restart(&r, 0);
	assert_int_equal(prg(&r, 0, P_SACT), 0);
	/* Everything but the log is aborted. */
	assert_int_equal(rig_run(&r, 0, &flush), TFES | DHRS);
	rig_restart(&r, 0);
	assert_int_equal(rig_run(&r, 0, &read_log), PSS);
	log = at(&r, DATA_AT);
	assert_int_equal(log[0], 9);
	assert_int_equal(log[2] & 1, 1);
	assert_int_equal(log[3], 0x10);
	assert_int_equal(get_le16(log + 4), DISK_SECTORS);
	for (unsigned i = 0; i < 512; i++)
		sum += log[i];
	assert_int_equal(sum, 0);
	assert_int_equal(rig_run(&r, 0, &flush), DHRS);
	rig_end(&r);
}
RIG_TEST(queue_error)

/* CVE-2016-1568: failed queued commands that stay half registered, then every kind of reset. */
static void cve_2016_1568_co(void *arg)
{
	struct ahci_rig r;

	(void)arg;
	rig_begin(&r, "h", "driver=ahci");
	for (unsigned round = 0; round < 12; round++) {
		for (unsigned tag = 0; tag < 4; tag++)
			rig_queued(&r, 0, tag, tag & 1, tag, 2, DATA_AT + 1024 * tag);
		switch (round % 4) {
		case 0: rig_prd(&r, 0, 2, 0, DATA_AT, 100, false); break; /* short */
		case 1: rig_queued(&r, 0, 2, false, UINT64_MAX, 2, 0); break;
		case 2: table(&r, 0, 2)[12] = 1 << 3; break;            /* the tag of slot 1 */
		case 3: rig_prd(&r, 0, 2, 0, 0x10, 1024, false); break; /* no memory */
		}
		rig_slow(&r, 0, FAULT_ANY, 1);
		rig_issue(&r, 0, 15, true);
		if (round & 1)
			WAIT_UNTIL(prg(&r, 0, P_IS) & (TFES | HBFS));
		fault_clear(r.disks[0]);
		if (round < 4) {
			rig_restart(&r, 0);
			rig_comreset(&r, 0);
		} else if (round < 8) {
			rig_stop(&r, 0);
			rig_comreset(&r, 0);
			rig_start_port(&r, 0);
		} else {
			wr(&r, H_GHC, HR);
			WAIT_UNTIL(!(rd(&r, H_GHC) & HR));
			wr(&r, H_GHC, IE);
			rig_start_port(&r, 0);
		}
		assert_int_equal(prg(&r, 0, P_SACT), 0);
		assert_int_equal(rig_run(&r, 0, &flush) & ~(PCS | PRCS), DHRS);
	}
	rig_end(&r);
}
RIG_TEST(cve_2016_1568)

/* A command that is not queued among queued ones ends them all with an error. */
static void mixed_co(void *arg)
{
	struct ahci_rig r;

	(void)arg;
	rig_begin(&r, "h", "driver=ahci");
	rig_queued(&r, 0, 3, false, 3, 1, DATA_AT);
	rig_fill(&r, 0, 4, &flush);
	rig_slow(&r, 0, FAULT_READ, 200);
	rig_issue(&r, 0, 1 << 3, true);
	WAIT_UNTIL(!prg(&r, 0, P_CI));
	rig_issue(&r, 0, 1 << 4, false);
	WAIT_UNTIL(prg(&r, 0, P_IS) & TFES);
	assert_int_equal(prg(&r, 0, P_CI), 1 << 4);
	assert_int_equal(prg(&r, 0, P_SACT), 1 << 3);
	rig_restart(&r, 0);
	assert_int_equal(rig_run(&r, 0, &read_log), PSS);
	assert_int_equal(at(&r, DATA_AT)[0] & 0x80, 0x80); /* it was no queued one */
	assert_int_equal(rig_run(&r, 0, &flush), DHRS);
	rig_end(&r);
}
RIG_TEST(mixed)

/* On a packet device 60h is a command it does not have. */
static void not_for_packets_co(void *arg)
{
	struct ahci_rig r;

	(void)arg;
	rig_begin(&r, "c", "driver=ahci");
	rig_queued(&r, 0, 0, false, 0, 1, 0);
	rig_issue(&r, 0, 1, true);
	assert_int_equal(rig_wait(&r, 0), TFES | DHRS);
	rig_end(&r);
}
RIG_TEST(not_for_packets)

/* ---- interrupts ---- */

static void line_co(void *arg)
{
	struct ahci_rig r;

	(void)arg;
	rig_begin(&r, "hh", "driver=ahci");
	WAIT_UNTIL(!prg(&r, 0, P_IS));
	assert_false(r.h.level);
	rig_fill(&r, 0, 0, &flush);
	rig_fill(&r, 1, 0, &flush);
	rig_issue(&r, 0, 1, false);
	rig_issue(&r, 1, 1, false);
	WAIT_UNTIL(rd(&r, H_IS) == 3);
	assert_true(r.h.level);
	wr(&r, H_IS, 3); /* PxIS is still there: it comes back */
	assert_int_equal(rd(&r, H_IS), 3);
	assert_true(r.h.level);
	pwr(&r, 0, P_IS, DHRS);
	assert_int_equal(rd(&r, H_IS), 3); /* latched */
	wr(&r, H_IS, 1);
	assert_int_equal(rd(&r, H_IS), 2);
	assert_true(r.h.level);
	wr(&r, H_GHC, 0);
	assert_false(r.h.level);
	wr(&r, H_GHC, IE);
	assert_true(r.h.level);
	pwr(&r, 1, P_IE, 0);
	wr(&r, H_IS, 2);
	assert_false(r.h.level);
	pwr(&r, 1, P_IE, DHRS); /* unmasked while it is there */
	assert_true(r.h.level);
	pwr(&r, 1, P_IS, DHRS);
	wr(&r, H_IS, 2);
	assert_false(r.h.level);
	rig_end(&r);
}
RIG_TEST(line)

/* One message for all ports: each new bit sends one, and so does an acknowledgement that left some.
 */
static void one_message_co(void *arg)
{
	struct ahci_rig r;

	(void)arg;
	rig_begin(&r, "hh", "driver=ahci");
	cfg_write(&r.h, cfg_find(&r.h, 5) + 2, 1, 2);
	r.h.messages = 0;
	rig_fill(&r, 0, 0, &flush);
	rig_issue(&r, 0, 1, false);
	WAIT_UNTIL(prg(&r, 0, P_IS) == DHRS);
	assert_int_equal(r.h.messages, 1);
	assert_false(r.h.level);
	rig_fill(&r, 1, 0, &flush); /* IS.0 is still set */
	rig_issue(&r, 1, 1, false);
	WAIT_UNTIL(prg(&r, 1, P_IS) == DHRS);
	assert_int_equal(r.h.messages, 2);
	pwr(&r, 0, P_IS, DHRS);
	wr(&r, H_IS, 3); /* port 1 was not looked at */
	assert_int_equal(r.h.messages, 3);
	assert_int_equal(rd(&r, H_IS), 2);
	pwr(&r, 1, P_IS, DHRS);
	wr(&r, H_IS, 2);
	assert_int_equal(r.h.messages, 3);
	/* The same bit again before the driver took the first. */
	rig_issue(&r, 1, 1, false);
	WAIT_UNTIL(prg(&r, 1, P_IS) == DHRS && r.h.messages == 4);
	rig_issue(&r, 1, 1, false);
	WAIT_UNTIL(r.h.messages == 5);
	/* GHC.IE with something pending. */
	wr(&r, H_GHC, 0);
	wr(&r, H_GHC, IE);
	assert_int_equal(r.h.messages, 6);
	rig_end(&r);
}
RIG_TEST(one_message)

static void message_per_port_co(void *arg)
{
	struct ahci_rig r;
	unsigned msi;

	(void)arg;
	rig_begin(&r, "hh", "driver=ahci,ports=6");
	msi = cfg_find(&r.h, 5);
	assert_int_equal(cfg_read(&r.h, msi + 2, 2) >> 1 & 7, 3); /* 8 vectors */
	cfg_write(&r.h, msi + 2, 3 << 4 | 1, 2);
	rig_fill(&r, 1, 0, &flush);
	rig_issue(&r, 1, 1, false);
	WAIT_UNTIL(prg(&r, 1, P_IS) == DHRS);
	assert_int_equal(r.h.last_vector, 1);
	rig_fill(&r, 0, 0, &flush);
	rig_issue(&r, 0, 1, false);
	WAIT_UNTIL(prg(&r, 0, P_IS) == DHRS);
	assert_int_equal(r.h.last_vector, 0);
	rig_end(&r);
}
RIG_TEST(message_per_port)

/* A driver that turns MSI on while something is pending. */
static void late_message_co(void *arg)
{
	struct ahci_rig r;

	(void)arg;
	rig_begin(&r, "h", "driver=ahci");
	rig_fill(&r, 0, 0, &flush);
	rig_issue(&r, 0, 1, false);
	WAIT_UNTIL(r.h.level);
	cfg_write(&r.h, cfg_find(&r.h, 5) + 2, 1, 2);
	assert_false(r.h.level);
	assert_int_equal(r.h.messages, 1);
	cfg_write(&r.h, cfg_find(&r.h, 5) + 2, 0, 2);
	assert_true(r.h.level);
	rig_end(&r);
}
RIG_TEST(late_message)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(queued),          cmocka_unit_test(out_of_order),
		cmocka_unit_test(coalesced),       cmocka_unit_test(queue_error),
		cmocka_unit_test(cve_2016_1568),   cmocka_unit_test(mixed),
		cmocka_unit_test(not_for_packets), cmocka_unit_test(line),
		cmocka_unit_test(one_message),     cmocka_unit_test(message_per_port),
		cmocka_unit_test(late_message),
	};

	return RUN_LOOP_TESTS(tests);
}
