/*
 * Every command that answers with data, with every allocation length: truncated without complaint,
 * never a byte too many, and the same beginning whatever the length (mmc.md 1.1). And long
 * operations: progress, errors that come later.
 */
#include "mmc_fixture.h"

#include <stdio.h>

/* CDBs with the allocation length left zero; where it lies comes from the command's own row. */
static const char *const with_length[] = {
	"03 00 00 00 00 00",
	"12 00 00 00 00 00",
	"12 01 00 00 00 00",
	"12 01 80 00 00 00",
	"12 01 83 00 00 00",
	"1a 08 3f 00 00 00",
	"5a 08 3f 00 00 00 00 00 00 00",
	"5a 08 7f 00 00 00 00 00 00 00",
	"23 00 00 00 00 00 00 00 00 00",
	"43 00 00 00 00 00 00 00 00 00",
	"43 02 01 00 00 00 00 00 00 00",
	"46 00 00 00 00 00 00 00 00 00",
	"46 01 00 00 00 00 00 00 00 00",
	"46 02 00 21 00 00 00 00 00 00",
	"4a 01 00 00 10 00 00 00 00 00",
	"4a 01 00 00 20 00 00 00 00 00",
	"51 00 00 00 00 00 00 00 00 00",
	"51 01 00 00 00 00 00 00 00 00",
	"52 01 00 00 00 01 00 00 00 00",
	"5c 00 00 00 00 00 00 00 00 00",
	"a0 00 00 00 00 00 00 00 00 00 00 00",
	"a4 00 00 00 00 00 00 00 00 00 08 00",
	"ad 00 00 00 00 00 00 00 00 00 00 00",
	"ad 00 00 00 00 00 00 ff 00 00 00 00",
	"bd 00 00 00 00 00 00 00 00 00 00 00",
	"3c 03 00 00 00 00 00 00 00 00",
};

enum { LENGTHS = 300 };

static co_fn void sweep(struct fx *f, const char *text)
{
	uint8_t cdb[12] = {0}, whole[LENGTHS];
	size_t n = fx_hex(text, cdb, sizeof(cdb)), full = 0;
	int field = mmc_rows[cdb[0]].alloc;
	unsigned max = fld_bytes(field) == 1 ? 255 : LENGTHS;

	for (unsigned i = 0; i <= max; i++) {
		unsigned len = max - i; /* the longest first, as the measure for the others */
		char hex[64];

		fld_put(cdb, field, len);
		for (unsigned b = 0; b < n; b++)
			snprintf(hex + 3 * b, 4, "%02x ", cdb[b]);
		fx_command(f, hex, 0, LENGTHS);
		if (f->sense != SENSE_GOOD) {
			fx_fail(f, __LINE__, "%s: sense %06x", hex, f->sense);
			return;
		}
		if (i == 0) {
			full = f->in_done;
			memcpy(whole, f->in, full);
		}
		/* An event that does not fit is kept back: header only. */
		if (f->in_done > len || (f->in_done < MIN(len, full) && cdb[0] != 0x4a))
			fx_fail(f, __LINE__, "%s: %zu bytes", hex, f->in_done);
		if (memcmp(f->in, whole, f->in_done) != 0)
			fx_fail(f, __LINE__, "%s: other bytes than in the full reply", hex);
		if (f->in_done < LENGTHS && f->in[f->in_done] != 0x5a)
			fx_fail(f, __LINE__, "%s: a byte too many", hex);
	}
}

static co_fn void all_lengths(struct fx *f)
{
	bool seen[256] = {false};

	WRITES(f, 0, 64);
	GOOD(f, CLOSE("06", "00"));
	GOOD(f, "4a 01 00 00 10 00 00 00 08 00");
	GOOD(f, "4a 01 00 00 02 00 00 00 08 00");
	for (unsigned i = 0; i < G_N_ELEMENTS(with_length); i++) {
		uint8_t cdb[12];

		fx_hex(with_length[i], cdb, sizeof(cdb));
		seen[cdb[0]] = true;
		sweep(f, with_length[i]);
	}
	/* None was forgotten; these need a CD, a medium with a serial number, or a key. */
	seen[0x42] = seen[0x44] = seen[0xab] = true;
	for (unsigned op = 0; op < 256; op++) {
		if (mmc_rows[op].handler && mmc_rows[op].flags & ROW_DATA_IN &&
		    mmc_rows[op].alloc && !seen[op])
			fx_fail(f, __LINE__, "opcode %02x is not swept", op);
	}
}

/* Data-in commands with room for less than the CDB promises. */
static co_fn void little_room(struct fx *f)
{
	WRITES(f, 0, 64);
	GOOD(f, SYNC);
	for (size_t room = 0; room <= 4096; room += 512) {
		CHECK(f, fx_command(f, "28 00 00 00 00 00 00 00 02 00", 0, room) == SENSE_GOOD);
		CHECK(f, f->in_done == room);
		CHECK(f,
		      fx_command(f, "46 00 00 00 00 00 00 04 00 00", 0, room / 64) == SENSE_GOOD);
		CHECK(f, f->in_done == MIN(room / 64, get_be32(f->in) + 4u) || room == 0);
	}
}

/* ---- long operations ---- */

static co_fn void busy_answers(struct fx *f)
{
	WRITES(f, 0, 640);
	GOOD(f, CLOSE_IMMED_("06", "00"));
	CHECK(f, fx_command(f, TUR, 0, 0) == SENSE_OPERATION_IN_PROGRESS);
	CHECK(f, f->sense_bytes[15] == 0x80);
	GOOD(f, "03 00 00 00 12 00");
	CHECK(f, f->in_done == 18 && f->in[0] == 0x70 && f->in[2] == 2 && f->in[12] == 4 &&
			 f->in[13] == 7);
	GOOD(f, "03 00 00 00 12 00"); /* and again, now as the unit's state */
	CHECK(f, f->in_done == 18 && f->in[2] == 2 && f->in[13] == 7 && f->in[15] == 0x80);
	FAILS(f, DISC_INFO, SENSE_OPERATION_IN_PROGRESS);
	FAILS(f, CAPACITY, SENSE_OPERATION_IN_PROGRESS);
	FAILS(f, "55 10 00 00 00 00 00 00 00 00", SENSE_OPERATION_IN_PROGRESS);
	FAILS(f, "1b 00 00 00 02 00", SENSE_OPERATION_IN_PROGRESS);
	FAILS(f, SYNC, SENSE_OPERATION_IN_PROGRESS);
	GOOD(f, "12 00 00 00 24 00");
	GOOD(f, PROFILE);
	GOOD(f, "4a 01 00 00 40 00 00 00 08 00");
	CHECK(f, f->in[5] == 2);
	GOOD(f, "5c 00 00 00 00 00 00 00 0c 00");
	GOOD(f, "bd 00 00 00 00 00 00 00 00 08 00 00");
	GOOD(f, "5a 08 2a 00 00 00 00 00 ff 00");
	GOOD(f, "1e 00 00 00 01 00");
	GOOD(f, "1e 00 00 00 00 00");
	CHECK(f, f->drive->op.kind == LONG_CLOSE); /* all of that was answered while it ran */
	WAITS(f);
	BYTE(f, DISC_INFO, 2, 0x0e);
}

static co_fn void progress_is_scaled(struct fx *f)
{
	mmc_progress(f->drive, 0, 100);
	CHECK(f, f->drive->op.progress == 0);
	mmc_progress(f->drive, 50, 100);
	CHECK(f, f->drive->op.progress == 0x7fff);
	mmc_progress(f->drive, 200, 100);
	CHECK(f, f->drive->op.progress == 0xffff);
	mmc_progress(f->drive, 1, 0);
	CHECK(f, f->drive->op.progress == 0);
	f->drive->op.progress = 0;
}

/* CLOSE SESSION over an empty reserved track, in the background: the next command tells. */
static co_fn void errors_come_later(struct fx *f)
{
	struct scsi_nexus *mine = f->nexus,
			  *other = scsi_nexus_new(drive_lu(f->drive), "other", NULL, NULL, true);

	GOOD(f, "53 00 00 00 00 00 00 01 00 00");
	GOOD(f, CLOSE_IMMED_("02", "00"));
	for (unsigned i = 0; i < 5000 && f->drive->op.kind != LONG_NONE; i++)
		co_sleep_ns(1000000);
	f->nexus = other;
	GOOD(f, TUR); /* not the one who asked */
	f->nexus = mine;
	FAILS(f, TUR, SENSE_RESERVED_TRACK_EMPTY);
	CHECK(f, f->sense_bytes[0] == 0x71);
	GOOD(f, TUR);
	scsi_nexus_free(other);
}

/* The initiator went away while its operation ran. */
static co_fn void nobody_to_tell(struct fx *f)
{
	GOOD(f, "53 00 00 00 00 00 00 01 00 00");
	GOOD(f, CLOSE_IMMED_("02", "00"));
	scsi_nexus_free(f->nexus);
	f->nexus = scsi_nexus_new(drive_lu(f->drive), "next", NULL, NULL, true);
	WAITS(f);
}

static void expect_length(struct fx *f, int line, const char *text, size_t expected, bool out)
{
	uint8_t cdb[12] = {0};
	bool got_out;
	size_t got;

	fx_hex(text, cdb, sizeof(cdb));
	got = scsi_expected_length(drive_lu(f->drive), cdb, &got_out);
	if (got != expected || got_out != out)
		fx_fail(f, line, "%s: %zu bytes %s", text, got, got_out ? "out" : "in");
}

#define MOVES(f, cdb, len, out) expect_length(f, __LINE__, cdb, len, out)

static co_fn void lengths_before_execution(struct fx *f)
{
	MOVES(f, "28 00 00 00 00 00 00 01 02 00", 258 * 2048, false);
	MOVES(f, "a8 00 00 00 00 00 00 01 00 00 00 00", 65536 * (size_t)2048, false);
	MOVES(f, "08 00 00 00 00 00", 256 * 2048, false);
	MOVES(f, "2a 00 00 00 00 00 00 00 10 00", 16 * 2048, true);
	MOVES(f, "aa 00 00 00 00 00 00 00 00 10 00 00", 16 * 2048, true);
	MOVES(f, "04 11 00 00 00 00", 12, true);
	MOVES(f, "04 01 00 00 00 00", 0, true);
	MOVES(f, "25 00 00 00 00 00 00 00 00 00", 8, false);
	MOVES(f, "55 10 00 00 00 00 00 00 3c 00", 60, true);
	MOVES(f, "5d 00 00 00 00 00 00 01 00 00", 256, true);
	MOVES(f, "ac 10 00 00 00 00 00 00 00 03 00 00", 56, false);
	MOVES(f, "00 00 00 00 00 00", 0, false);
	MOVES(f, "35 00 00 00 00 00 00 00 10 00", 0, false);
	MOVES(f, "0a 00 00 00 10 00", 0, false);
	MOVES(f, "be 00 00 00 00 00 00 00 02 10 00 00", 4096, false);
}

#define ON(name, type)                        \
	static void test_##name(void **state) \
	{                                     \
		(void)state;                  \
		fx_run(type, 0, name);        \
	}

ON(all_lengths, "dvd+r")
ON(little_room, "dvd+r")
ON(busy_answers, "dvd+r")
ON(progress_is_scaled, NULL)
ON(errors_come_later, "dvd+r")
ON(nobody_to_tell, "dvd+r")
ON(lengths_before_execution, "dvd+r")

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_lengths),
		cmocka_unit_test(test_little_room),
		cmocka_unit_test(test_busy_answers),
		cmocka_unit_test(test_progress_is_scaled),
		cmocka_unit_test(test_errors_come_later),
		cmocka_unit_test(test_nobody_to_tell),
		cmocka_unit_test(test_lengths_before_execution),
	};

	return RUN_TESTS(tests);
}
