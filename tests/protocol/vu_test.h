/* What the tests of the vhost-user server include. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "base/loop.h"
#include "vu_front.h"
#include "vu_server.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Every kind of ring that a guest may choose. */
struct ring_kind {
	bool packed, event_idx, indirect;
};

static const struct ring_kind ring_kinds[] = {
	{false, false, false}, {false, true, false}, {false, false, true}, {false, true, true},
	{true, false, false},  {true, true, false},  {true, false, true},  {true, true, true},
};

enum { RING_KINDS = sizeof(ring_kinds) / sizeof(ring_kinds[0]) };

static inline void front_of_kind(struct vu_front *f, unsigned kind)
{
	*f = (struct vu_front){
		.packed = ring_kinds[kind].packed,
		.event_idx = ring_kinds[kind].event_idx,
		.indirect = ring_kinds[kind].indirect,
	};
}

static inline void put_rw(uint8_t cdb[10], bool write, uint32_t lba, uint16_t blocks)
{
	memset(cdb, 0, 10);
	cdb[0] = write ? 0x2a : 0x28;
	put_be32(cdb + 2, lba);
	put_be16(cdb + 7, blocks);
}

/* Waits until a number that the server's thread or process changes is n. */
static inline void wait_number(const unsigned *p, unsigned n)
{
	for (unsigned i = 0; __atomic_load_n(p, __ATOMIC_SEQ_CST) != n; i++) {
		assert_true(i < 20000);
		usleep(1000);
	}
}

static inline void expect_log(const char *part)
{
	GString *all = g_string_new(NULL);
	bool found = false;

	for (unsigned i = 0; i < 2000 && !found; i++) { /* the server may still be at it */
		char *text = server_log();

		g_string_append(all, text);
		g_free(text);
		found = strstr(all->str, part);
		if (!found)
			usleep(1000);
	}
	if (!found)
		fail_msg("\"%s\" is not in the log:\n%s", part, all->str);
	g_string_free(all, TRUE);
}

static inline bool backend_is_missing(void)
{
	struct loop *l = loop_new(LOOP_AUTO, NULL);
	bool missing = !l;

	loop_free(l);
	return missing;
}

enum { EXIT_SKIPPED = 77 };
#define RUN_SERVER_TESTS(tests) \
	(backend_is_missing() ? EXIT_SKIPPED : cmocka_run_group_tests(tests, NULL, NULL))
