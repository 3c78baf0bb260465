/* For tests that need a loop: on the back end that OUTBOARD_LOOP names. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/co.h"
#include "base/sanitizer.h"

enum { EXIT_SKIPPED = 77 }; /* for meson: this host has no such back end */

static inline struct loop *new_loop(void)
{
	GError *error = NULL;
	struct loop *l = loop_new(LOOP_AUTO, &error);

	assert_null(error);
	assert_non_null(l);
	return l;
}

static inline bool backend_is_missing(void)
{
	struct loop *l = loop_new(LOOP_AUTO, NULL);
	bool missing = !l;

	loop_free(l);
	return missing;
}

struct test_main {
	struct loop *loop;
	void (*fn)(void *arg);
	void *arg;
};

static inline void test_main_co(void *arg)
{
	struct test_main *m = arg;

	m->fn(m->arg);
	loop_stop(m->loop);
}

/* Runs fn(arg) as a coroutine on a new loop until it returns. */
static inline void run_in_loop(void (*fn)(void *arg), void *arg)
{
	struct test_main m = {new_loop(), fn, arg};

	co_start(m.loop, test_main_co, &m);
	loop_run(m.loop);
	loop_free(m.loop);
}

#define RUN_LOOP_TESTS(tests) \
	(backend_is_missing() ? EXIT_SKIPPED : cmocka_run_group_tests(tests, NULL, NULL))
