/*
 * Progress of long work on stderr: on a terminal one line with a bar that is drawn again and again,
 * otherwise a plain line every two seconds in which ten percent were done, or every ten seconds.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct progress {
	const char *what; /* "burning" */
	uint64_t total, done;
	uint64_t started_ns, drawn_ns;
	uint64_t ended_ns;    /* 0: goes on */
	unsigned drawn_tenth; /* of ten: what the last plain line said */
	bool terminal, quiet, drawn;
};

/* total 0: not known. quiet: nothing is printed, only counted. */
void progress_init(struct progress *p, const char *what, uint64_t total, bool quiet);
void progress_add(struct progress *p, uint64_t bytes);
/*
 * Takes the bar off the terminal, so that a message can stand there; the next progress_add() draws
 * it again.
 */
void progress_clear(struct progress *p);
/* Ends the display; rates below are of the whole time. */
void progress_done(struct progress *p);
double progress_seconds(const struct progress *p);
double progress_mb_per_s(const struct progress *p); /* 10^6 bytes */
/*
 * "bar 42%  63.5 of 150.0 MB  81.2 MB/s  1 s left" in a new string; width: columns of the bar, 0:
 * none. For tests too.
 */
char *progress_text(const struct progress *p, uint64_t now_ns, unsigned width);
