/* What the files that parse option texts share. */
#pragma once

#include "base/opts.h"
#include "control/config.h"

/* "id" of an option text, or the first free one of prefix0, prefix1 ...; a new string in *id. */
bool config_get_id(const struct daemon_config *c, struct opts *o, const char *prefix, char **id,
		   GError **error);
/* Printable ASCII of a limited length; an absent key leaves *out alone. */
bool config_get_text(struct opts *o, const char *key, size_t max, char **out, GError **error);
void config_disk_free(void *p);

/* config_targets.c. Whether attachment number at has units, each its own. */
bool config_check_targets(const struct daemon_config *c, unsigned at, GError **error);
/* Whether a vhost-user attachment may show the disk. */
bool config_is_target(const struct daemon_config *c, const char *disk);
