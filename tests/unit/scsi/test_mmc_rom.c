/*
 * Plain images as pressed discs, files that cannot be written, a host whose disk is full, and
 * initiators whose memory comes in many pieces.
 */
#include "mmc_fixture.h"

#include <signal.h>
#include <sys/resource.h>

enum { MANY = 130, PIECE = 1024 };

/* Section 5.4: everything that writes is refused, everything that reads works. */
static co_fn void pressed(struct fx *f)
{
	bool cd = drive_profile(f->drive) == PROFILE_CD_ROM;
	bool bd = drive_profile(f->drive) == PROFILE_BD_ROM;

	BYTE(f, DISC_INFO, 2, 0x0e);
	WORD32(f, CAPACITY, 0, 319);
	READS(f, 0, 320);
	REPLY(f, "43 00 00 00 00 00 00 00 ff 00",
	      "00 12 01 01 00 14 01 00 00 00 00 00 00 14 aa 00 00 00 01 40");
	REPLY(f, "43 00 01 00 00 00 00 00 ff 00", "00 0a 01 01 00 14 01 00 00 00 00 00");
	REPLY(f, FORMATS, "00 00 00 08 00 00 01 40 02 00 08 00");
	WORD32(f, TRACK_INFO("01"), 24, 320);
	BYTE(f, TRACK_INFO("01"), 6, 0x01);
	BYTE(f, "52 00 00 00 00 10 00 00 ff 00", 2, 1);
	FAILS(f, TRACK_INFO("ff"), SENSE_BAD_CDB_FIELD);
	FAILS(f, "ab 01 00 00 00 00 00 00 00 ff 00 00", SENSE_BAD_OPCODE);
	FAILS(f, "43 00 04 00 00 00 00 00 ff 00", SENSE_BAD_CDB_FIELD);
	FAILS(f, "43 00 03 00 00 00 00 00 ff 00", SENSE_BAD_CDB_FIELD);
	WRITE_FAILS(f, 0, 16, SENSE_CANNOT_WRITE_FORMAT);
	WRITE_FAILS(f, 320, 16, SENSE_CANNOT_WRITE_FORMAT);
	CHECK(f,
	      fx_command(f, "2e 00 00 00 00 00 00 00 01 00", 2048, 0) == SENSE_CANNOT_WRITE_FORMAT);
	FAILS(f, "a1 00 00 00 00 00 00 00 00 00 00 00", SENSE_CANNOT_FORMAT);
	SENDS(f, "04 11 00 00 00 00", "00 02 00 08 ff ff ff ff 98 00 00 00", SENSE_CANNOT_FORMAT);
	FAILS(f, CLOSE("02", "00"), SENSE_CANNOT_WRITE_FORMAT);
	FAILS(f, "53 00 00 00 00 00 00 00 10 00", SENSE_CANNOT_WRITE_FORMAT);
	FAILS(f, "54 01 00 00 00 00 00 00 00 00", SENSE_CANNOT_WRITE_FORMAT);
	FAILS(f, "58 00 00 00 00 01 00 00 00 00", SENSE_CANNOT_WRITE_FORMAT);
	fx_command(f, "5d 00 00 00 00 00 00 00 18 00", 24, 0);
	CHECK(f, f->sense == (cd ? SENSE_CANNOT_WRITE_FORMAT : SENSE_BAD_CDB_FIELD));
	GOOD(f, SYNC);
	if (cd) {
		FAILS(f, "ad 00 00 00 00 00 00 00 08 04 00 00", SENSE_CANNOT_READ_FORMAT);
		fx_command(f, "43 00 02 00 00 00 01 04 00 00", 0, 1024);
		CHECK(f, f->in_done == 4 + 4 * 11);
		GOOD(f, "be 00 00 00 00 05 00 00 01 f8 00 00");
		CHECK(f, f->in_done == 2352);
	} else {
		fx_command(f,
			   bd ? "ad 01 00 00 00 00 00 00 ff ff 00 00"
			      : "ad 00 00 00 00 00 00 00 ff ff 00 00",
			   0, 8192);
		CHECK(f, f->sense == SENSE_GOOD);
		CHECK(f, bd ? memcmp(f->in + 12, "BDO", 3) == 0
			    : f->in[4] == 0x01 && get_be32(f->in + 12) == 0x30000 + 319);
	}
	RELOAD(f, false);
	READS(f, 300, 20);
}

/* N26: the file was opened for reading only. */
static co_fn void read_only_file(struct fx *f)
{
	WRITES(f, 0, 32);
	f->open_flags = 0;
	RELOAD(f, true);
	READS(f, 0, 32);
	WRITE_FAILS(f, 32, 16, SENSE_WRITE_PROTECTED);
	CHECK(f, fx_command(f, CLOSE("02", "00"), 0, 0) == SENSE_WRITE_PROTECTED);
	CHECK(f, fx_command(f, "53 00 00 00 00 00 00 00 10 00", 0, 0) != SENSE_GOOD);
	GOOD(f, SYNC);
	f->open_flags = DISC_OPEN_RDWR;
	RELOAD(f, true);
	WRITES(f, 32, 16);
}

/* N23: the host's disk is full in the middle of a burn; later there is room again. */
static co_fn void full_host(struct fx *f)
{
	struct rlimit limit, old;
	void (*was)(int) = signal(SIGXFSZ, SIG_IGN);

	WRITES(f, 0, 320);
	getrlimit(RLIMIT_FSIZE, &old);
	limit = (struct rlimit){.rlim_cur = 320 * FX_BLOCK, .rlim_max = old.rlim_max};
	setrlimit(RLIMIT_FSIZE, &limit);
	WRITE_FAILS(f, 320, 16, SENSE_WRITE_ERROR);
	CHECK(f, f->sense_bytes[0] == 0xf0 && get_be32(f->sense_bytes + 3) == 320);
	READS(f, 0, 320);
	CHECK(f, fx_command(f, CLOSE("02", "00"), 0, 0) != SENSE_GOOD);
	setrlimit(RLIMIT_FSIZE, &old);
	signal(SIGXFSZ, was);
	WRITES(f, 320, 16);
	GOOD(f, CLOSE("02", "00"));
	RELOAD(f, true);
	READS(f, 0, 336);
}

static co_fn enum sense pieces_command(struct fx *f, const char *cdb, bool out, unsigned n)
{
	struct iovec *v = g_new(struct iovec, n);
	struct scsi_cmd c = {.nexus = f->nexus};

	for (unsigned i = 0; i < n; i++)
		v[i] = (struct iovec){(out ? f->out : f->in) + i * PIECE, PIECE};
	*(out ? &c.out : &c.in) = (struct iovs){v, n, (size_t)n * PIECE};
	fx_hex(cdb, c.cdb, sizeof(c.cdb));
	scsi_execute(&c);
	f->in_done = c.in_done;
	f->out_done = c.out_done;
	g_free(v);
	return c.status == SCSI_GOOD ? SENSE_GOOD
				     : (enum sense)SENSE(c.sense[2] & 15, c.sense[12], c.sense[13]);
}

/* Half-block pieces, as many as the transfer takes, and more of them. */
static co_fn void many_pieces(struct fx *f)
{
	for (unsigned i = 0; i < MANY * PIECE; i++)
		f->out[i] = (uint8_t)(i / 3 + i / 251);
	CHECK(f, pieces_command(f, "2a 00 00 00 00 00 00 00 10 00", true, 32) == SENSE_GOOD);
	CHECK(f, pieces_command(f, "2a 00 00 00 00 10 00 00 10 00", true, 40) == SENSE_GOOD &&
			 f->out_done == 32 * PIECE);
	CHECK(f, pieces_command(f, "2a 00 00 00 00 20 00 00 20 00", true, MANY) == SENSE_GOOD &&
			 f->out_done == 64 * PIECE);
	CHECK(f,
	      pieces_command(f, "2a 00 00 00 00 40 00 00 20 00", true, 63) == SENSE_BAD_CDB_FIELD);
	memset(f->in, 0, sizeof(f->in));
	CHECK(f, pieces_command(f, "28 00 00 00 00 00 00 00 10 00", false, 33) == SENSE_GOOD &&
			 f->in_done == 32 * PIECE);
	CHECK(f, memcmp(f->in, f->out, 32 * PIECE) == 0 && f->in[32 * PIECE] == 0);
	memset(f->in, 0, sizeof(f->in));
	CHECK(f, pieces_command(f, "28 00 00 00 00 20 00 00 20 00", false, MANY) == SENSE_GOOD &&
			 f->in_done == 64 * PIECE);
	CHECK(f, memcmp(f->in, f->out, 64 * PIECE) == 0 && f->in[64 * PIECE] == 0);
	memset(f->in, 0, sizeof(f->in));
	CHECK(f, pieces_command(f, "28 00 00 00 00 20 00 00 20 00", false, 63) == SENSE_GOOD &&
			 f->in_done == 63 * PIECE);
	CHECK(f, memcmp(f->in, f->out, 63 * PIECE) == 0);
}

static void test_pressed(void **state)
{
	(void)state;
	fx_run_rom(PROFILE_CD_ROM, 320, pressed);
	fx_run_rom(PROFILE_DVD_ROM, 320, pressed);
	fx_run_rom(PROFILE_BD_ROM, 320, pressed);
}

#define TEST(name, type)                      \
	static void test_##name(void **state) \
	{                                     \
		(void)state;                  \
		fx_run(type, 0, name);        \
	}
TEST(read_only_file, "dvd+r")
TEST(full_host, "dvd+r")
TEST(many_pieces, "dvd+r")

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pressed),
		cmocka_unit_test(test_read_only_file),
		cmocka_unit_test(test_full_host),
		cmocka_unit_test(test_many_pieces),
	};

	return RUN_TESTS(tests);
}
