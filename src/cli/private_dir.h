/*
 * A directory that only this user can look into, for the sockets of "run"; gone with everything in
 * it at the end.
 */
#pragma once

#include <glib.h>

/*
 * In $XDG_RUNTIME_DIR if that can be written, else in the directory for temporary files. NULL on
 * error.
 */
char *private_dir_new(GError **error);
/* Removes and frees it; NULL is fine. */
void private_dir_free(char *dir);
/* Where private_dir_new() would make it, "XXXXXX" for what it will choose; g_free() it. */
char *private_dir_template(void);
