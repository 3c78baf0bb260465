/*
 * A drive with a disc on a real file, and commands written as hex, for tests of the media commands.
 *
 * Test bodies run as coroutines; expectations note a failure and go on (an assertion must not jump
 * off a coroutine's stack), and fx_run() fails the test at the end.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "scsi/mmc/mmc.h"

enum { FX_ROOM = 256 * 1024, FX_BLOCK = 2048 };

struct fx {
	struct loop *loop;
	void (*body)(struct fx *f);
	const char *type; /* of the disc; NULL: no disc */
	uint32_t blocks;
	uint16_t rom; /* profile: a plain image with the pattern instead of a disc file; 0: no */
	unsigned open_flags; /* of disc_open() at the next insertion */
	char *dir, *path;
	struct drive *drive;
	struct scsi_nexus *nexus;
	bool failed;
	bool replay;   /* of the commands that follow */
	uint32_t seed; /* of the pattern that is written and expected */

	/* of the last command */
	enum sense sense;
	uint8_t sense_bytes[SCSI_SENSE_LEN];
	size_t in_done, out_done;
	uint8_t in[FX_ROOM];
	uint8_t out[FX_ROOM];
};

/*
 * A drive with a new disc of the type (blocks 0: its own capacity), attentions taken; runs body in
 * it.
 */
void fx_run(const char *type, uint32_t blocks, void (*body)(struct fx *f));
/* A drive with a plain image of so many blocks, which hold the pattern. */
void fx_run_rom(uint16_t profile, uint32_t blocks, void (*body)(struct fx *f));
/* Whether OUTBOARD_LOOP names a back end that this host lacks. */
bool fx_backend_is_missing(void);

/* Executes one command with len bytes of out data from f->out and room bytes for the reply. */
co_fn enum sense fx_command(struct fx *f, const char *cdb, size_t out_len, size_t room);
/* Parses hex, blanks ignored; returns how many bytes. */
size_t fx_hex(const char *text, uint8_t *bytes, size_t max);
void fx_fail(struct fx *f, int line, const char *format, ...) G_GNUC_PRINTF(3, 4);

co_fn void fx_expect(struct fx *f, int line, const char *cdb, const char *out, enum sense sense);
co_fn void fx_expect_reply(struct fx *f, int line, const char *cdb, const char *reply);
co_fn void fx_expect_value(struct fx *f, int line, const char *cdb, unsigned off, unsigned bytes,
			   uint32_t value);
co_fn void fx_write(struct fx *f, int line, int32_t lba, uint32_t blocks, enum sense sense);
co_fn void fx_read(struct fx *f, int line, int32_t lba, uint32_t blocks);
/* TEST UNIT READY until a background operation ended. */
co_fn void fx_wait(struct fx *f, int line);
/* MODE SELECT of page 05h. */
co_fn void fx_page5(struct fx *f, int line, unsigned byte2, unsigned byte3, unsigned block_type);
/* Eject and load by the guest; the file is closed and opened between them with reopen. */
co_fn void fx_reload(struct fx *f, int line, bool reopen);

#define CHECK(f, cond)                ((cond) ? (void)0 : fx_fail(f, __LINE__, "%s", #cond))
#define GOOD(f, cdb)                  fx_expect(f, __LINE__, cdb, NULL, SENSE_GOOD)
#define FAILS(f, cdb, sense)          fx_expect(f, __LINE__, cdb, NULL, sense)
#define SENDS(f, cdb, data, sense)    fx_expect(f, __LINE__, cdb, data, sense)
#define REPLY(f, cdb, hex)            fx_expect_reply(f, __LINE__, cdb, hex)
#define BYTE(f, cdb, off, value)      fx_expect_value(f, __LINE__, cdb, off, 1, value)
#define WORD32(f, cdb, off, value)    fx_expect_value(f, __LINE__, cdb, off, 4, value)
#define WRITE_FAILS(f, lba, n, sense) fx_write(f, __LINE__, lba, n, sense)
#define WRITES(f, lba, n)             fx_write(f, __LINE__, lba, n, SENSE_GOOD)
#define READS(f, lba, n)              fx_read(f, __LINE__, lba, n)
#define WAITS(f)                      fx_wait(f, __LINE__)
#define PAGE5(f, b2, b3, dbt)         fx_page5(f, __LINE__, b2, b3, dbt)
#define RELOAD(f, reopen)             fx_reload(f, __LINE__, reopen)

/* What everybody asks, with room for all of it. */
#define DISC_INFO               "51 00 00 00 00 00 00 00 ff 00"
#define TRACK_INFO(n)           "52 01 00 00 00 " n " 00 00 ff 00"
#define CAPACITY                "25 00 00 00 00 00 00 00 00 00"
#define FORMATS                 "23 00 00 00 00 00 00 00 ff 00"
#define SYNC                    "35 00 00 00 00 00 00 00 00 00"
#define SYNC_IMMED              "35 02 00 00 00 00 00 00 00 00"
#define CLOSE(fn, track)        "5b 00 " fn " 00 00 " track " 00 00 00 00"
#define CLOSE_IMMED_(fn, track) "5b 01 " fn " 00 00 " track " 00 00 00 00"
#define TUR                     "00 00 00 00 00 00"
#define PROFILE                 "46 00 00 00 00 00 00 00 08 00"

#define RUN_TESTS(tests) (fx_backend_is_missing() ? 77 : cmocka_run_group_tests(tests, NULL, NULL))
