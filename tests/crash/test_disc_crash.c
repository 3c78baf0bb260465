/*
 * Power cuts and process deaths at every moment of a .disc file's life (formats.md 3.16, 5.1, 5.2).
 *
 * Arguments: number of lives, operations in each, random subsets per prefix. OUTBOARD_CRASH_LIVES
 * overrides the first.
 */
#include "replay.h"

#include <stdio.h>

static unsigned lives = 12, steps = 150, subsets = 3, first_seed = 1;
static uint64_t total;

static co_fn void one_life(uint32_t seed)
{
	struct life *life = life_new(seed);
	struct replay r = {.life = life, .subsets = subsets, .nested_every = 40};

	r.rand = g_rand_new_with_seed(seed + 1000);
	for (unsigned i = 0; i < steps; i++) {
		life_step(life);
		if (seed % 3 == 1 && i == steps / 2)
			life_overflow(life);
	}
	life_end(life);
	r.log = blklog_entries(life->log, &r.n);
	replay_creation(&r);
	replay_all(&r);
	assert_true(r.nested > 0 && r.opened_again > 0);
	printf("life %u: %u log entries, %u commits; %" G_GUINT64_FORMAT
	       " crash states, %" G_GUINT64_FORMAT " crashes during recovery\n",
	       seed, r.n, life->versions->len, r.states, r.nested);
	total += r.states + r.nested;
	g_rand_free(r.rand);
	life_free(life);
}

static co_fn void all_lives_co(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < lives; i++)
		one_life(first_seed + i);
	printf("%" G_GUINT64_FORMAT " crash states of a disc tested\n", total);
	fflush(stdout);
}

static void test_all_lives(void **state)
{
	(void)state;
	run_in_loop(all_lives_co, NULL);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_all_lives)};
	const char *more = getenv("OUTBOARD_CRASH_LIVES");

	if (argc > 1)
		lives = (unsigned)atoi(argv[1]);
	if (argc > 2)
		steps = (unsigned)atoi(argv[2]);
	if (argc > 3)
		subsets = (unsigned)atoi(argv[3]);
	if (argc > 4)
		first_seed = (unsigned)atoi(argv[4]);
	if (more)
		lives = (unsigned)atoi(more);
	return RUN_LOOP_TESTS(tests);
}
