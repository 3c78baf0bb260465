/*
 * Whether it pays to look at a queue for a moment instead of sleeping, learnt from the gaps seen
 * between finding it empty and the driver's next buffer.
 *
 * A gap is short or long. Looking is on while short ones prevail by far: one long gap undoes what
 * several short ones earned, so a driver that turns slow or idle costs one vain look, and one that
 * was never fast costs none. Sleeping makes gaps longer by the time that waking takes on both
 * sides, which counts as short still.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum {
	PACE_SHORT_NS = 150 * 1000,
	PACE_LOOK_NS = 100 * 1000, /* at most */
	PACE_LOOK_MIN_NS = 20 * 1000,
	PACE_SCORE_MAX = 16,
	PACE_SCORE_ON = 8,
	PACE_LONG_COST = 6,
};

struct virtio_pace {             /* zeroed: nothing seen yet */
	uint64_t empty_since_ns; /* 0: it is not */
	uint64_t average_ns;     /* of the short gaps */
	unsigned score;
};

static inline void pace_empty(struct virtio_pace *p, uint64_t now_ns)
{
	p->empty_since_ns = now_ns;
}

static inline void pace_came(struct virtio_pace *p, uint64_t now_ns)
{
	uint64_t gap = now_ns - p->empty_since_ns;

	if (!p->empty_since_ns)
		return;
	p->empty_since_ns = 0;
	if (gap > PACE_SHORT_NS) {
		p->score = p->score > PACE_LONG_COST ? p->score - PACE_LONG_COST : 0;
		return;
	}
	p->average_ns = (p->average_ns * 7 + gap) / 8;
	if (p->score < PACE_SCORE_MAX)
		p->score++;
}

/* How long to look for; 0: it does not pay. */
static inline uint64_t pace_look_ns(const struct virtio_pace *p)
{
	uint64_t ns = p->average_ns * 3;

	if (p->score < PACE_SCORE_ON)
		return 0;
	return ns < PACE_LOOK_MIN_NS ? PACE_LOOK_MIN_NS : ns > PACE_LOOK_NS ? PACE_LOOK_NS : ns;
}
