/*
 * SMART (ata.md 2.11): enough for what operating systems and smartctl ask. The disk is a file that
 * is well: attributes say so, and self-tests pass at once.
 */
#include "ata/unit_impl.h"

#include <string.h>

#include "base/bytes.h"

/* clang-format off */
enum {
	KEY = 0xc24f,	/* LBA HIGH and MID */

	READ_DATA = 0xd0, READ_THRESHOLDS = 0xd1, AUTOSAVE = 0xd2, EXECUTE = 0xd4, READ_LOG = 0xd5,
	ENABLE = 0xd8, DISABLE = 0xd9, RETURN_STATUS = 0xda,

	AUTOSAVE_OFF = 0x00, AUTOSAVE_ON = 0xf1,

	DATA_REVISION = 0x10, ATTR_FIRST = 2, ATTR_LEN = 12, ATTR_ID = 0, ATTR_FLAGS = 1, ATTR_VALUE = 3,
	ATTR_WORST = 4, ATTR_RAW = 5, THRESHOLD = 1, ID_HOURS = 9,
	OFFLINE_STATUS = 362, TEST_STATUS = 363, OFFLINE_SECONDS = 364, OFFLINE_CAPS = 367,
	SMART_CAPS = 368, ERROR_LOG_CAPS = 370, SHORT_MINUTES = 372, LONG_MINUTES = 373,
	OFFLINE_DONE = 2, CAN_OFFLINE_AND_TEST = 0x11, CAN_SAVE = 0x0003,

	LOG_DIRECTORY = 0x00, LOG_SUMMARY_ERROR = 0x01, LOG_SELF_TEST = 0x06,
	TEST_REVISION = 1, TEST_FIRST = 2, TEST_LEN = 24, TEST_KIND = 0, TEST_RESULT = 1, TEST_HOURS = 2,
	TEST_INDEX = 508,
	TEST_SHORT = 1, TEST_LONG = 2, TEST_ABORT = 0x7f, TEST_CAPTIVE = 0x80,
};

static const struct { uint8_t id, threshold; uint16_t flags; } attributes[] = {
	{ 5, 10, 0x0033 },	/* reallocated sectors */
	{ 9, 0, 0x0032 },	/* power-on hours */
	{ 12, 0, 0x0032 },	/* power cycles */
	{ 197, 0, 0x0032 },	/* pending sectors */
};
/* clang-format on */

/* Since the unit was made: nothing is kept beyond its life. */
static uint16_t power_on_hours(const struct ata_unit *u)
{
	const uint64_t hour_ns = UINT64_C(3600) * 1000000000;

	return (uint16_t)MIN((loop_now_ns() - u->born_ns) / hour_ns, UINT16_MAX);
}

static void put_data(const struct ata_unit *u, uint8_t *out)
{
	memset(out, 0, ATA_SECTOR);
	put_le16(out, DATA_REVISION);
	for (unsigned i = 0; i < G_N_ELEMENTS(attributes); i++) {
		uint8_t *a = out + ATTR_FIRST + i * ATTR_LEN;

		a[ATTR_ID] = attributes[i].id;
		put_le16(a + ATTR_FLAGS, attributes[i].flags);
		a[ATTR_VALUE] = a[ATTR_WORST] = 100;
		if (attributes[i].id == ID_HOURS)
			put_le16(a + ATTR_RAW, power_on_hours(u));
	}
	out[OFFLINE_STATUS] = u->n_tests ? OFFLINE_DONE : 0;
	put_le16(out + OFFLINE_SECONDS, 1);
	out[OFFLINE_CAPS] = CAN_OFFLINE_AND_TEST;
	put_le16(out + SMART_CAPS, CAN_SAVE);
	out[ERROR_LOG_CAPS] = 1;
	out[SHORT_MINUTES] = out[LONG_MINUTES] = 1;
	ata_put_checksum(out);
}

static void put_thresholds(uint8_t *out)
{
	memset(out, 0, ATA_SECTOR);
	put_le16(out, DATA_REVISION);
	for (unsigned i = 0; i < G_N_ELEMENTS(attributes); i++) {
		out[ATTR_FIRST + i * ATTR_LEN] = attributes[i].id;
		out[ATTR_FIRST + i * ATTR_LEN + THRESHOLD] = attributes[i].threshold;
	}
	ata_put_checksum(out);
}

/* Entries are used round and round; the index is that of the last one, from 1 (CVE-2014-2894). */
static unsigned execute(struct ata_unit *u, unsigned kind)
{
	struct ata_self_test *t = &u->tests[u->n_tests % ATA_SELF_TESTS];

	switch (kind & ~TEST_CAPTIVE) {
	case 0: return 0; /* off-line data collection: nothing to collect */
	case TEST_SHORT:
	case TEST_LONG:
		*t = (struct ata_self_test){.kind = (uint8_t)kind, .hours = power_on_hours(u)};
		u->n_tests++;
		return 0;
	case TEST_ABORT: return kind == TEST_ABORT ? 0 : ATA_ABRT;
	default: return ATA_ABRT;
	}
}

static void put_self_tests(const struct ata_unit *u, uint8_t *out)
{
	unsigned n = MIN(u->n_tests, ATA_SELF_TESTS);

	memset(out, 0, ATA_SECTOR);
	put_le16(out, TEST_REVISION);
	for (unsigned i = 0; i < n; i++) {
		uint8_t *t = out + TEST_FIRST + i * TEST_LEN;

		t[TEST_KIND] = u->tests[i].kind;
		t[TEST_RESULT] = u->tests[i].status;
		put_le16(t + TEST_HOURS, u->tests[i].hours);
	}
	if (n)
		out[TEST_INDEX] = (uint8_t)((u->n_tests - 1) % ATA_SELF_TESTS + 1);
	ata_put_checksum(out);
}

static bool put_log(const struct ata_unit *u, unsigned log, uint8_t *out)
{
	switch (log) {
	case LOG_DIRECTORY:
		memset(out, 0, ATA_SECTOR);
		put_le16(out, 1);
		out[LOG_SUMMARY_ERROR * 2] = out[LOG_SELF_TEST * 2] = 1;
		return true;
	case LOG_SUMMARY_ERROR:
		memset(out, 0, ATA_SECTOR);
		out[0] = 1;
		ata_put_checksum(out);
		return true;
	case LOG_SELF_TEST: put_self_tests(u, out); return true;
	default: return false;
	}
}

co_fn unsigned ata_smart(struct ata_unit *u, struct ata_cmd *c)
{
	unsigned what = c->tf.feature & 0xff, log = c->tf.lba & 0xff;
	unsigned autosave = c->tf.count & 0xff;

	if ((c->tf.lba >> 8 & 0xffff) != KEY || (!u->smart && what != ENABLE))
		return ATA_ABRT;
	switch (what) {
	case READ_DATA: put_data(u, u->buf); return ata_send_sectors(c, u->buf, 1);
	case READ_THRESHOLDS: put_thresholds(u->buf); return ata_send_sectors(c, u->buf, 1);
	case READ_LOG:
		if ((c->tf.count & 0xff) != 1 || !put_log(u, log, u->buf))
			return ATA_ABRT;
		return ata_send_sectors(c, u->buf, 1);
	case EXECUTE: return execute(u, log);
	case AUTOSAVE: return autosave == AUTOSAVE_OFF || autosave == AUTOSAVE_ON ? 0 : ATA_ABRT;
	case ENABLE:
	case DISABLE: u->smart = what == ENABLE; return 0;
	case RETURN_STATUS: return 0; /* the key comes back as it was: no threshold is exceeded */
	default: return ATA_ABRT;
	}
}
