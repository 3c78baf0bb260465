/*
 * What can be asked of a running daemon. The commands know nothing of how they are spoken:
 * arguments and results are JSON values in memory, and whatever protocol carries them translates.
 */
#pragma once

#include <jansson.h>

#include "control/daemon.h"

/*
 * Runs the command: a new reference to its result (an object), or NULL with error set. Codes:
 * ENOENT no such command, drive or file; EINVAL arguments; others by what failed. args is borrowed
 * and may be NULL.
 *
 *   status                                             {"drives": [], "devices": [], ...}
 *   insert         {"id": "cd0", "disc": PATH}         {}
 *   eject          {"id": "cd0", "force": false}       {}
 *   add-device     {"device": SPEC, "socket": PATH}    {"id": "dev0"}
 *   remove-device  {"id": "dev0"}                      {}
 *   quit                                               {}
 *
 * A drive's id may be left out where there is one drive only.
 */
co_fn json_t *command_execute(struct outboard_daemon *d, const char *name, const json_t *args,
			      GError **error);
