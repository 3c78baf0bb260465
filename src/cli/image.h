/* What the subcommands of "image" share. */
#pragma once

#include "block/block.h"
#include "cli/cli.h"

/* Options that those which open an image have: see image_open(). */
/* clang-format off */
#define IMAGE_OPTIONS                                                          \
	{"format", "FORMAT", 'f'}, {"image-opts"}, {"force-share", NULL, 'U'}, \
	{"object", "OBJECT", 0, OPTION_MANY},                                  \
	{"source-cache", "MODE", 'T'}, {"no-probe"},                           \
	{"allow-references"}, {"allow-refs", "DIR", 0, OPTION_MANY}
/* clang-format on */

/*
 * Opens name as the options say: --format, --image-opts (name is then key=value,...),
 * --force-share, --source-cache, --no-probe, --allow-references, --allow-refs. format overrides the
 * first.
 */
co_fn struct block_node *image_open(const struct args *a, const char *name, const char *format,
				    unsigned flags, GError **error);
/* Makes the file, or empties it; *made: it was not there. */
co_fn struct block_node *image_make_file(const char *path, bool *made, GError **error);
/* With what -o says, a repeated option; NULL on error. */
struct opts *image_create_options(const struct args *a, GError **error);
/* What they name by "key-secret" is there as "secret"; options is freed. NULL on error. */
struct opts *image_with_secrets(const struct args *a, struct opts *options, GError **error);
bool image_wants_json(const struct args *a);
/* "10M" and the like: what is this many sectors long. */
bool image_parse_size(const char *text, uint64_t *bytes, GError **error);
/* As block_info() has them, in words. */
void image_print_snapshots(const json_t *list);
