/*
 * Options that every node takes, whatever its driver: how it may be used and cached, and what
 * becomes of zeros and discards. They end up in the node's flags; see enum block_open_flags.
 */
#include "block/driver.h"

#include <errno.h>

#include "base/err.h"

static const struct {
	const char *name;
	unsigned flags;
} cache_modes[] = {
	{"writeback", 0},
	{"none", BLOCK_DIRECT},
	{"writethrough", BLOCK_WRITETHROUGH},
	{"directsync", BLOCK_DIRECT | BLOCK_WRITETHROUGH},
	{"unsafe", BLOCK_NO_FLUSH},
};
enum { CACHE_FLAGS = BLOCK_DIRECT | BLOCK_WRITETHROUGH | BLOCK_NO_FLUSH };

bool block_parse_cache(const char *mode, unsigned *flags, GError **error)
{
	for (unsigned i = 0; i < G_N_ELEMENTS(cache_modes); i++) {
		if (!g_strcmp0(cache_modes[i].name, mode)) {
			*flags = (*flags & ~(unsigned)CACHE_FLAGS) | cache_modes[i].flags;
			return true;
		}
	}
	return err_set(error, EINVAL,
		       "cache=%s: must be writeback, none, writethrough, directsync or unsafe",
		       mode);
}

/* A switch that sets or clears bits; absent, they stay. */
static bool take_bits(struct opts *o, const char *key, unsigned bits, bool inverted,
		      unsigned *flags, GError **error)
{
	bool on;

	if (!opts_get(o, key))
		return true;
	if (!opts_get_bool(o, key, &on, error))
		return false;
	*flags = on != inverted ? *flags | bits : *flags & ~bits;
	return true;
}

static bool take_cache(struct opts *o, unsigned *flags, GError **error)
{
	const char *mode = opts_get(o, "cache");

	return (!mode || block_parse_cache(mode, flags, error)) &&
	       take_bits(o, "cache.direct", BLOCK_DIRECT, false, flags, error) &&
	       take_bits(o, "cache.no-flush", BLOCK_NO_FLUSH, false, flags, error) &&
	       take_bits(o, "cache.writeback", BLOCK_WRITETHROUGH, true, flags, error);
}

static bool take_zeroes(struct opts *o, unsigned *flags, GError **error)
{
	static const char *const discards[] = {"unmap", "ignore", "on", "off", NULL};
	static const char *const detects[] = {"off", "on", "unmap", NULL};
	int discard = 0, detect = 0;

	if (!opts_get_enum(o, "discard", discards, &discard, error) ||
	    !opts_get_enum(o, "detect-zeroes", detects, &detect, error))
		return false;
	if (discard & 1)
		*flags |= BLOCK_DISCARD_IGNORE;
	if (detect)
		*flags |= detect == 2 ? BLOCK_DETECT_UNMAP : BLOCK_DETECT_ZEROES;
	if (detect == 2 && (discard & 1))
		return err_set(error, EINVAL, "detect-zeroes=unmap needs discard=unmap");
	return true;
}

static bool take_access(struct opts *o, unsigned *flags, GError **error)
{
	if (!take_bits(o, "read-only", BLOCK_RDWR, true, flags, error) ||
	    !take_bits(o, "auto-read-only", BLOCK_AUTO_RDONLY, false, flags, error) ||
	    !take_bits(o, "force-share", BLOCK_NO_LOCK, false, flags, error))
		return false;
	if (opts_get(o, "force-share") && (*flags & BLOCK_NO_LOCK) && (*flags & BLOCK_RDWR))
		return err_set(error, EINVAL, "force-share=on is for reading only");
	return true;
}

bool block_take_options(struct opts *o, unsigned *flags, GError **error)
{
	return take_access(o, flags, error) && take_cache(o, flags, error) &&
	       take_zeroes(o, flags, error);
}
