/*
 * Power cuts at every moment of a disk image's life (formats.md 5): a disk is written, zeroed and
 * flushed at random over a log, snapshots are taken, applied and deleted; from every prefix of the
 * log, with any subset of what was not flushed, the image must open, the check must find leaks at
 * most (in qcow2's version 2, which cannot mark itself, COPIED flags may be missing), every block
 * must hold what it held at the last flush or was written since, and every snapshot what it held
 * when taken.
 *
 * OUTBOARD_CRASH_LIVES: how many images; the default is small.
 */
#pragma once

#include <stdbool.h>

struct disk_crash {
	const char *format;
	const char *const *options; /* sets of them, for the lives in turn; NULL-terminated */
	unsigned lives;             /* without the variable; 0: 5 */
	bool snapshots;             /* in those after the first round of option sets */
};

void disk_crash_test(const struct disk_crash *d);
