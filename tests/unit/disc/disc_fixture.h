/*
 * What the tests of the medium share: a body run as a coroutine on a loop, discs in a directory of
 * their own, blocks with a known pattern, and a disc as text.
 */
#pragma once

#include "base/co.h"
#include "disc/disc.h"
#include "disc/store.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum { BLOCK = 2048 };

void run_in_loop(void (*body)(void *arg), void *arg);

/* A directory for this program's files; made at the first call, removed by fixture_end(). */
const char *fixture_dir(void);
int fixture_end(void **state); /* group teardown */
char *fixture_path(const char *name);

/* A new disc of a type, open for writing; blocks 0 is the type's own capacity. */
co_fn struct disc *new_disc(const char *type, uint32_t blocks);
/* Closes and opens again. abandon: as if the process had been killed. */
co_fn struct disc *reopen(struct disc *d, bool abandon);
/* Closes and removes the file. */
co_fn void end_disc(struct disc *d);

/* Mode page 05h: write type, multi-session field; data mode 1 on CD. */
void set_mode(struct disc *d, unsigned write_type, unsigned multisession);
void set_test_mode(struct disc *d, unsigned write_type);

/* Blocks of a pattern that depends on seed and on their number. */
void fill(uint8_t *buf, uint32_t blocks, uint32_t seed);
co_fn enum disc_status put(struct disc *d, int32_t lba, uint32_t blocks, uint32_t seed);
co_fn enum disc_status put_again(struct disc *d, int32_t lba, uint32_t blocks,
				 uint32_t seed); /* replay */
/* Whether blocks [skip, skip + blocks) of the pattern are at lba; a failing read is its status. */
co_fn enum disc_status check(struct disc *d, int32_t lba, uint32_t blocks, uint32_t seed,
			     bool *same);
#define assert_pattern(d, lba, blocks, seed)                                    \
	do {                                                                    \
		bool same_;                                                     \
		assert_int_equal(check(d, lba, blocks, seed, &same_), DISC_OK); \
		assert_true(same_);                                             \
	} while (0)
co_fn enum disc_status check_zero(struct disc *d, int32_t lba, uint32_t blocks, bool *zero);
#define assert_zeros(d, lba, blocks)                                           \
	do {                                                                   \
		bool zero_;                                                    \
		assert_int_equal(check_zero(d, lba, blocks, &zero_), DISC_OK); \
		assert_true(zero_);                                            \
	} while (0)
/* Whether a read fails, and how. */
co_fn enum disc_status try_read(struct disc *d, int32_t lba, uint32_t blocks);

/* The disc as text: a line for the disc, one a session, one a track. Valid until the next call. */
const char *dump(const struct disc *d);
#define assert_disc(d, text) assert_string_equal(dump(d), text)

/* A cmocka test from a body that runs in a loop. */
#define IN_LOOP(body)                         \
	static void test_##body(void **state) \
	{                                     \
		(void)state;                  \
		run_in_loop(body, NULL);      \
	}
