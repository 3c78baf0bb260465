/* Crash states of a life: building what the file may hold after a crash, and judging what the store
 * makes of it. */
#pragma once

#include "life.h"

enum crash_kind { POWER_CUT, PROCESS_DEATH };

struct replay {
	struct life *life;
	const struct blklog_entry *log;
	unsigned n;
	GRand *rand;
	unsigned subsets;      /* random ones per prefix */
	unsigned nested_every; /* every so many states: crash again while recovering */
	/* results */
	uint64_t states, nested, opened_again;
};

/* All prefixes of the life's log. Fails the test at the first state that is wrong, saying which. */
co_fn void replay_all(struct replay *r);
/* All prefixes of the creation: refused or empty, never anything else. */
co_fn void replay_creation(struct replay *r);
