/*
 * Byte-range locks on image files in QEMU's scheme (formats.md 1.8), so that QEMU and we keep each
 * other out. Plain blocking calls, for worker threads.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

enum file_permission { PERM_READ = 1, PERM_WRITE = 2, PERM_WRITE_UNCHANGED = 4, PERM_RESIZE = 8 };

struct lock_holder {
	int pid; /* 0: not found */
	char comm[32];
	bool itself;         /* another descriptor of this process */
	unsigned permission; /* the enum file_permission that is in the way */
	bool unshared;       /* it allows nobody that; else it uses what we do not share */
};

/*
 * Takes shared locks for the permissions used and not shared (masks of enum file_permission), then
 * tests whether anybody else's exclude them. 0; -EBUSY with *holder filled in and no lock kept;
 * other -errno where the file system has no such locks. The locks belong to fd's open file
 * description and end with it.
 */
int file_lock(int fd, unsigned used, unsigned unshared, struct lock_holder *holder);
