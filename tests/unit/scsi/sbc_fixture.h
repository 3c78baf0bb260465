/*
 * A disk over bytes in memory with a fault filter, two initiators, and commands written as hex.
 *
 * Test bodies run as coroutines; expectations note a failure and go on (an assertion must not jump
 * off a coroutine's stack), and sx_run() fails the test at the end.
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
#include "block/fault.h"
#include "scsi/sbc/sbc.h"

enum { SX_ROOM = 256 * 1024 };

struct sx {
	struct loop *loop;
	void (*body)(struct sx *s);
	uint64_t length;
	unsigned block_size;
	char *dir, *state_path; /* of the state file; made when a body asks for it */
	bool durable;
	struct block_node *node; /* the fault filter */
	struct scsi_disk *disk;
	struct scsi_nexus *a, *b, *nexus; /* nexus: that of the commands that follow */
	unsigned capacity_events;
	bool failed;
	bool replay, ordered;

	/* of the last command */
	unsigned status;
	enum sense sense; /* SENSE_STATUS_CONFLICT for that status */
	uint8_t sense_bytes[SCSI_SENSE_LEN];
	size_t in_done, out_done;
	uint8_t in[SX_ROOM], out[SX_ROOM];
};

/* A disk of so many bytes, attentions taken; runs body in it. */
void sx_run(uint64_t length, unsigned block_size, void (*body)(struct sx *s));
bool sx_backend_is_missing(void);
size_t sx_hex(const char *text, uint8_t *bytes, size_t max);
void sx_fail(struct sx *s, int line, const char *format, ...) G_GNUC_PRINTF(3, 4);

/* Executes one command with out_len bytes from s->out and room bytes for the reply. */
co_fn enum sense sx_command(struct sx *s, const char *cdb, size_t out_len, size_t room);
co_fn void sx_expect(struct sx *s, int line, const char *cdb, const char *out, enum sense sense);
/* With out_len bytes of s->out as they are. */
co_fn void sx_expect_out(struct sx *s, int line, const char *cdb, size_t out_len, enum sense sense);
/* The reply has these bytes at off. */
co_fn void sx_expect_bytes(struct sx *s, int line, const char *cdb, size_t off, const char *hex);
co_fn void sx_expect_length(struct sx *s, int line, const char *cdb, size_t len);
/* All bytes of the node in the range are value. */
co_fn void sx_expect_filled(struct sx *s, int line, uint64_t off, size_t len, uint8_t value);
co_fn void sx_fill(struct sx *s, uint64_t off, size_t len, uint8_t value);
/* The disk is made anew, as by a daemon started again; the initiators resume or begin anew. */
co_fn void sx_restart(struct sx *s, bool resumed);
/* TEST UNIT READY of both until no attention is left. */
co_fn void sx_take_attentions(struct sx *s);

#define CHECK(s, cond)            ((cond) ? (void)0 : sx_fail(s, __LINE__, "%s", #cond))
#define GOOD(s, cdb)              sx_expect(s, __LINE__, cdb, NULL, SENSE_GOOD)
#define FAILS(s, cdb, sense)      sx_expect(s, __LINE__, cdb, NULL, sense)
#define SENDS(s, cdb, hex, sense) sx_expect(s, __LINE__, cdb, hex, sense)
#define PUTS(s, cdb, len, sense)  sx_expect_out(s, __LINE__, cdb, len, sense)
#define BYTES(s, cdb, off, hex)   sx_expect_bytes(s, __LINE__, cdb, off, hex)
#define LENGTH(s, cdb, len)       sx_expect_length(s, __LINE__, cdb, len)
#define FILLED(s, off, len, v)    sx_expect_filled(s, __LINE__, off, len, v)

#define TUR "00 00 00 00 00 00"

#define RUN_TESTS(tests) (sx_backend_is_missing() ? 77 : cmocka_run_group_tests(tests, NULL, NULL))
