/*
 * What was in a drive, kept in a small file beside its attachment's socket, so that a daemon which
 * was killed and started again puts back the disc that a guest still works with. A record of an
 * earlier boot counts for nothing.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>

struct media_record {
	char *configured; /* the disc that the command line named then; NULL: none */
	char *loaded;     /* the one that was in the drive; NULL: none */
};

/*
 * False when there is none, it is of another boot, or it cannot be understood (then it is as good
 * as absent).
 */
bool media_read(const char *path, struct media_record *out);
bool media_write(const char *path, const struct media_record *record, GError **error);
void media_remove(const char *path);
void media_record_clear(struct media_record *record);
