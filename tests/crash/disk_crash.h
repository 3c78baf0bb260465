/*
 * Power cuts at every moment of a disk image's life (formats.md 5): a disk is written, zeroed and
 * flushed at random over a log; from every prefix of the log, with any subset of what was not
 * flushed, the image must open, the check must find leaks at most, and every block must hold what
 * it held at the last flush or was written since.
 *
 * OUTBOARD_CRASH_LIVES: how many images; the default is small.
 */
#pragma once

struct disk_crash {
	const char *format;
	const char *const *options; /* sets of them, for the lives in turn; NULL-terminated */
};

void disk_crash_test(const struct disk_crash *d);
