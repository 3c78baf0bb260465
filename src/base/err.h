/*
 * Set-up errors: GError in one domain whose codes are errno values.
 *
 * The text is one phrase without a newline: which value, where (option, offset, file), what would
 * be right. The layer that knows the name adds it with err_prefix(). Only control/ and cli/ print.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

#define OB_ERROR ob_error_quark()
GQuark ob_error_quark(void);

/*
 * Sets *error (may be NULL) and returns false, so that "return err_set(...)" is a whole error path.
 */
bool err_set(GError **error, int errnum, const char *fmt, ...) G_GNUC_PRINTF(3, 4);

/* As err_set(), with ": " and strerror(errnum) appended. */
bool err_set_errno(GError **error, int errnum, const char *fmt, ...) G_GNUC_PRINTF(3, 4);

/* Puts "fmt: " before the message that *error already has; returns false. */
bool err_prefix(GError **error, const char *fmt, ...) G_GNUC_PRINTF(2, 3);
