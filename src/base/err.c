/* Set-up errors as GError: see err.h. */
#include "base/err.h"

G_DEFINE_QUARK(outboard, ob_error)

static G_GNUC_PRINTF(4, 0) bool err_vset(GError **error, int errnum, const char *tail,
					 const char *fmt, va_list ap)
{
	char *text;

	if (!error)
		return false;
	text = g_strdup_vprintf(fmt, ap);
	if (tail)
		g_set_error(error, OB_ERROR, errnum, "%s: %s", text, tail);
	else
		g_set_error_literal(error, OB_ERROR, errnum, text);
	g_free(text);
	return false;
}

bool err_set(GError **error, int errnum, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	err_vset(error, errnum, NULL, fmt, ap);
	va_end(ap);
	return false;
}

bool err_set_errno(GError **error, int errnum, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	err_vset(error, errnum, g_strerror(errnum), fmt, ap);
	va_end(ap);
	return false;
}

bool err_prefix(GError **error, const char *fmt, ...)
{
	va_list ap;
	char *text;

	if (!error || !*error)
		return false;
	va_start(ap, fmt);
	text = g_strdup_vprintf(fmt, ap);
	va_end(ap);
	g_prefix_error(error, "%s: ", text);
	g_free(text);
	return false;
}
