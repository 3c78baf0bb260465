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

/* vhost-user-blk, config_blk.c. */
bool config_parse_blk(struct attach_config *a, struct opts *o, GError **error);
/* "queues" and "packed", of both kinds of vhost-user. */
bool config_parse_rings(struct attach_config *a, struct opts *o, GError **error);
/* Whether attachment number at has a disk of its own. */
bool config_check_blk(const struct daemon_config *c, unsigned at, GError **error);
/* The attachment that shows the disk, or NULL. */
const struct attach_config *config_blk_of_disk(const struct daemon_config *c, const char *disk);
/* "socket", of any kind of attachment on a unix socket. */
bool config_get_socket(struct attach_config *a, struct opts *o, GError **error);

/* NBD, config_nbd.c. */
bool config_parse_nbd(struct attach_config *a, struct opts *o, GError **error);
bool config_check_nbd(const struct daemon_config *c, unsigned at, GError **error);
void config_nbd_free(struct nbd_config *n);
/* config_targets.c. Whether attachment number at has units, each its own. */
bool config_check_targets(const struct daemon_config *c, unsigned at, GError **error);
/* Whether a vhost-user attachment may show the disk. */
bool config_is_target(const struct daemon_config *c, const char *disk);
