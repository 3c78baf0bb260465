/* --type and --capacity, as "disc create" and "run" take them. */
#pragma once

#include <glib.h>

#include "disc/profile.h"

/* One that can be recorded, or NULL with error set. */
const struct disc_type *cli_find_type(const char *name, GError **error);
/* text NULL: 0, the type's own. */
bool cli_parse_capacity(const struct disc_type *type, const char *text, uint32_t *blocks,
			GError **error);
