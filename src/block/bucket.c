/*
 * Leaky buckets; see bucket.h. The bucket of the rate holds burst_seconds at the burst rate (or a
 * tenth of a second); a second one of a tenth of a second at the burst rate keeps the burst itself
 * even. A request may start while neither has more in it than it holds.
 */
#include "block/bucket.h"

#include <math.h>

static const double second_ns = 1e9, part = 0.1 /* of a second, that may come at once */;

static double left(double level, uint64_t rate, uint64_t since_ns)
{
	return fmax(level - (double)rate * (double)since_ns / second_ns, 0);
}

static double size(const struct bucket *b)
{
	return b->burst ? (double)b->burst * b->burst_seconds : (double)b->rate * part;
}

static uint64_t since(const struct bucket *b, uint64_t now_ns)
{
	return now_ns > b->at_ns ? now_ns - b->at_ns : 0;
}

/* Until level is down to holds; what leaks in a nanosecond is within the error of a double. */
static uint64_t wait_ns(double level, double holds, uint64_t rate)
{
	double ns = (level - holds) * second_ns / (double)rate;

	return ns <= 1 ? 0 : (uint64_t)ceil(ns);
}

uint64_t bucket_wait_ns(const struct bucket *b, uint64_t now_ns)
{
	uint64_t long_run, burst = 0, past = since(b, now_ns);

	if (!b->rate)
		return 0;
	long_run = wait_ns(left(b->level, b->rate, past), size(b), b->rate);
	if (b->burst)
		burst = wait_ns(left(b->burst_level, b->burst, past), (double)b->burst * part,
				b->burst);
	return long_run > burst ? long_run : burst;
}

void bucket_fill(struct bucket *b, double units, uint64_t now_ns)
{
	uint64_t past = since(b, now_ns);

	b->level = left(b->level, b->rate, past) + units;
	b->burst_level = left(b->burst_level, b->burst, past) + units;
	b->at_ns = now_ns > b->at_ns ? now_ns : b->at_ns;
}
