/*
 * QEMU's command line: what of the user's arguments concerns its memory, and what must be added so
 * that a drive or device in another process is a device of the machine. Pure text work, apart from
 * reading -readconfig files and asking a QEMU for its version.
 */
#pragma once

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "control/config.h"

struct qemu_memory {     /* what the user's arguments say */
	uint64_t bytes;  /* of -m; 0: not given */
	char *size_text; /* as the user wrote it, or NULL */
	char *backend;   /* id that -machine memory-backend= names, or NULL */
	char *mem_path;  /* -mem-path, or NULL */
	bool daemonize;
	GPtrArray *memdevs;   /* ids that -numa node,memdev= names */
	GPtrArray *plugged;   /* the same of -device pc-dimm,memdev= and the like */
	GHashTable *backends; /* id -> struct qemu_backend, of -object memory-backend-... */
};

/*
 * args: what follows the program's name; NULL-terminated. Arguments that QEMU itself will refuse
 * are passed over.
 */
bool qemu_memory_parse(struct qemu_memory *m, char *const *args, GError **error);
void qemu_memory_fini(struct qemu_memory *m);
/*
 * Whether the machine has shared memory already: *shared; an error when it has memory of its own,
 * or some that is plugged in, that is not shared.
 */
bool qemu_memory_is_shared(const struct qemu_memory *m, bool *shared, GError **error);
/* What QEMU takes without -m, by the program's name. */
uint64_t qemu_default_memory(const char *program);

/*
 * Index of the QEMU program in a command line, also behind "env", "taskset" and such; -1: there is
 * none.
 */
int qemu_find(char *const *argv);

struct qemu_version {
	unsigned major, minor; /* 0.0: not known */
};

/* Runs argv[0..at] -version. False when it cannot be run or says something else. */
bool qemu_ask_version(char *const *argv, int at, struct qemu_version *out, GError **error);
bool qemu_parse_version(const char *text, struct qemu_version *out);

struct qemu_added {
	char *option, *value;
	char *why;
};

struct qemu_line {
	GPtrArray *argv;  /* of strings, NULL-terminated: the user's and the added */
	GPtrArray *added; /* struct qemu_added */
};

/*
 * Adds shared memory and, for each attachment (struct attach_config), the device that connects to
 * it. NULL on error (code EINVAL: the user can mend it).
 */
struct qemu_line *qemu_add_attachments(char *const *argv, int at, const GPtrArray *attachments,
				       struct qemu_version version, GError **error);
void qemu_line_free(struct qemu_line *line);

/* The options for a socket of "outboard serve", to paste. */
char *qemu_paste_line(const struct attach_config *c);
