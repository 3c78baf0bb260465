/* For tests of the block layer: nodes from option text, files in a folder of their own. */
#pragma once

#include "tests/unit/base/loop_test.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "block/driver.h"

#define IN_LOOP(name)                          \
	static co_fn void name##_co(void *arg) \
	{                                      \
		(void)arg;                     \
		name();                        \
	}                                      \
	static void run_##name(void **state)   \
	{                                      \
		(void)state;                   \
		run_in_loop(name##_co, NULL);  \
	}

static inline co_fn struct block_node *open_text(const char *text, unsigned flags, GError **error)
{
	struct opts *options = opts_parse(text, NULL, NULL);
	struct block_node *node;

	assert_non_null(options);
	node = block_open(options, flags, error);
	opts_free(options);
	return node;
}

static inline co_fn struct block_node *must_open(const char *text, unsigned flags)
{
	GError *error = NULL;
	struct block_node *node = open_text(text, flags, &error);

	if (!node)
		fail_msg("%s: %s", text, error->message);
	return node;
}

/* The options are refused with a message that has part in it. */
static inline co_fn void must_refuse(const char *text, unsigned flags, const char *part)
{
	GError *error = NULL;

	assert_null(open_text(text, flags, &error));
	assert_non_null(error);
	if (!strstr(error->message, part))
		fail_msg("\"%s\" does not say \"%s\"", error->message, part);
	g_error_free(error);
}
