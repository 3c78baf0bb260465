/*
 * What the subcommands share: how they report, print and get onto a loop.
 *
 * A command's run() is called on the main thread with its arguments parsed; it prints its own
 * result and returns an exit status. Errors go to stderr as "outboard COMMAND: message".
 */
#pragma once

#include <jansson.h>

#include "base/co.h"
#include "cli/args.h"

/* All of them, in the order of the help; ends with name NULL. */
extern const struct cli_command *const cli_commands[];

/* Prints the error and frees it. */
int cli_failed(const struct args *a, GError *error);  /* STATUS_FAILED */
int cli_misused(const struct args *a, GError *error); /* STATUS_USAGE, and where help is */
G_GNUC_PRINTF(2, 3) int cli_misused_text(const struct args *a, const char *fmt, ...);
/* A remark on stderr, "outboard COMMAND: text". */
G_GNUC_PRINTF(2, 3) void cli_note(const struct args *a, const char *fmt, ...);

/*
 * The result on stdout as indented JSON; takes the reference. Returns STATUS_DONE, or STATUS_FAILED
 * if it cannot print.
 */
int cli_print_json(const struct args *a, json_t *value);
/* Flushes stdout and says whether all of it could be written. */
int cli_finish_output(const struct args *a, int status);

/*
 * Runs fn as a coroutine on a new loop of this thread (--loop says which) until it returns its exit
 * status.
 */
int cli_on_loop(const struct args *a, co_fn int (*fn)(const struct args *a, void *arg), void *arg);

/* Text of the manual page for a command ("disc burn"; "" for the overview), or NULL. */
const char *cli_help_text(const char *command);
/* Prints it; STATUS_DONE. */
int cli_print_help(const char *command);

extern const struct cli_command command_run, command_serve, command_ctl, command_help,
	command_version;
extern const struct cli_command command_disc_create, command_disc_info, command_disc_map,
	command_disc_verify, command_disc_export, command_disc_burn;
extern const struct cli_command command_image_create, command_image_info, command_image_check,
	command_image_convert, command_image_compare, command_image_map, command_image_resize,
	command_image_snapshot, command_image_rebase, command_image_commit, command_image_bench;
extern const struct cli_command command_device_list, command_device_info, command_device_new,
	command_device_test;
