/*
 * Opening a host file for the "file" driver: rules about where it may be, what it is, its locks and
 * what O_DIRECT asks for. Plain blocking calls, for worker threads.
 */
#pragma once

#include <glib.h>
#include <stdint.h>

#include "block/file_lock.h"

struct file_open {
	const char *path;
	const char *beneath; /* a folder that path must not lead out of, or NULL */
	bool write, auto_rdonly, create;
	bool unshare, lock; /* nobody else may write; take locks at all */
	bool direct;        /* past the page cache */

	/* Results, when file_open_run() returned 0. */
	int fd;
	int tail_fd; /* of a direct and writable regular file: through the page cache; else -1 */
	bool made, writable, device;
	uint64_t length, id[2];
	unsigned request_align, memory_align; /* 1 unless direct */
	unsigned sector;                      /* of a device */
	int lock_res;                         /* 0, or why the file system has no locks */

	/* For the message. */
	struct lock_holder holder;
	const char *step;
};

/* A job: 0 or -errno with nothing left open. arg: struct file_open with fd and tail_fd -1. */
int file_open_run(void *arg);
/* Makes the message from what a failed run left behind; false. */
bool file_open_failed(const struct file_open *job, int res, GError **error);
