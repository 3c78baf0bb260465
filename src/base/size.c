/* Sizes as people write them. */
#include "base/opts.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "base/err.h"

/* The power of 1024 that a suffix stands for, -1 for none of them. */
static int suffix_power(char c)
{
	static const char suffixes[] = "KMGTP";
	const char *at = c ? strchr(suffixes, g_ascii_toupper(c)) : NULL;

	return at ? (int)(at - suffixes) + 1 : -1;
}

static bool size_bad(const char *text, GError **error)
{
	return err_set(error, EINVAL,
		       "\"%s\" is not a size: must be a number of bytes, or one with "
		       "K, M, G, T or P behind it (like 512, 100M, 4.5G)",
		       text);
}

static bool size_too_big(const char *text, GError **error)
{
	return err_set(error, ERANGE, "size \"%s\" is too large", text);
}

bool size_parse(const char *text, uint64_t *bytes, GError **error)
{
	enum { MAX_FRACTION = 18 };
	uint64_t whole = 0, fraction = 0, scale = 1, unit = 1;
	unsigned digits = 0, power = 0;
	unsigned __int128 total;
	const char *p = text;

	for (; g_ascii_isdigit(*p); p++) {
		if (__builtin_mul_overflow(whole, 10u, &whole) ||
		    __builtin_add_overflow(whole, (unsigned)(*p - '0'), &whole))
			return size_too_big(text, error);
	}
	if (p == text)
		return size_bad(text, error);
	if (*p == '.') {
		for (p++; g_ascii_isdigit(*p) && digits < MAX_FRACTION; p++, digits++) {
			fraction = fraction * 10 + (unsigned)(*p - '0');
			scale *= 10;
		}
		if (!digits)
			return size_bad(text, error);
	}
	if (suffix_power(*p) > 0)
		power = (unsigned)suffix_power(*p++);
	if (*p || (digits && !power))
		return size_bad(text, error);
	/* NOLINTNEXTLINE(clang-analyzer-core.uninitialized.Assign): at most 60 of 64 bits */
	unit <<= 10 * power;
	total = (unsigned __int128)whole * unit + (unsigned __int128)fraction * unit / scale;
	if (total > UINT64_MAX)
		return size_too_big(text, error);
	*bytes = (uint64_t)total;
	return true;
}

/* Powers of 1000, as on the boxes that discs come in. */
char *size_text(uint64_t bytes)
{
	static const char *const units[] = {"kB", "MB", "GB", "TB", "PB", "EB"};
	uint64_t unit = 1000, tenths;
	unsigned i = 0;

	if (bytes < unit)
		return g_strdup_printf("%u bytes", (unsigned)bytes);
	/* What would be printed as 1000.0 goes to the next unit. */
	while (i + 1 < G_N_ELEMENTS(units) && bytes >= unit * 1000 - unit / 20) {
		unit *= 1000;
		i++;
	}
	tenths = bytes / (unit / 10) + (bytes % (unit / 10) >= unit / 20);
	return g_strdup_printf("%" PRIu64 ".%u %s", tenths / 10, (unsigned)(tenths % 10), units[i]);
}
