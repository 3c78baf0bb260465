/*
 * The arithmetic of rate limits: leaky buckets that requests fill and time empties. Pure; the time
 * is the caller's.
 *
 * A limit has a rate (units a second) that holds in the long run. With a burst rate above it, as
 * much as that may flow until burst_seconds' worth of it flowed; without one, a tenth of a second's
 * worth of the rate may come at once.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct bucket {
	uint64_t rate;  /* 0: no limit */
	uint64_t burst; /* 0: none; else more than rate */
	unsigned burst_seconds;
	/* state; zero it */
	double level, burst_level;
	uint64_t at_ns; /* what the levels are of */
};

/* How long until the next request may start. */
uint64_t bucket_wait_ns(const struct bucket *b, uint64_t now_ns);
/* A request of so many units starts; one that is larger than the bucket makes the next ones wait.
 */
void bucket_fill(struct bucket *b, double units, uint64_t now_ns);
