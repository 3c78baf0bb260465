/* What the tests of the command line share. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <glib.h>

/* That error is set and says text in one line; clears it. */
static inline void says(GError **error, const char *text)
{
	assert_non_null(*error);
	if (!strstr((*error)->message, text))
		fail_msg("\"%s\" is not in \"%s\"", text, (*error)->message);
	assert_null(strchr((*error)->message, '\n'));
	g_clear_error(error);
}
