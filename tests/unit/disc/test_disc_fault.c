/*
 * The file below fails: a full host disk, an I/O error at any step of any burn. The operation says
 * so, the disc is as it was, stays usable, and the same operation works once the trouble is over.
 */
#include "disc_scenario.h"

#include "base/log.h"
#include "block/fault.h"
#include "block/mem.h"

#include <errno.h>
#include <string.h>

static co_fn void full_host_disk(void *arg)
{
	static const char *const types[] = {"dvd+r", "dvd-r", "dvd-rw", "bd-r", "cd-r"};
	const struct fault_rule full = {
		.op = FAULT_WRITE, .to = 65536ull * BLOCK, .errnum = ENOSPC, .shorten = 1000};

	(void)arg;
	for (unsigned i = 0; i < G_N_ELEMENTS(types); i++) {
		struct scenario s = {.type = types[i], .blocks = 65536};
		struct block_node *node = fault_new(block_mem_new(0, NULL, 0));
		struct disc *d;
		char *before;

		format_node(node, &s);
		d = open_node(node, false);
		set_mode(d, types[i][0] == 'c' ? 1 : 0, 0);
		before = g_strdup(dump(d));
		fault_add(node, &full);
		assert_int_equal(put(d, 0, 16, 1), DISC_IO_WRITE); /* the very first */
		assert_int_equal(disc_last_error(d)->errnum, ENOSPC);
		assert_disc(d, before);
		fault_clear(node);
		g_free(before);
		assert_int_equal(put(d, 0, 16, 1), DISC_OK);
		before = g_strdup(dump(d));
		fault_add(node, &full);
		assert_int_equal(put(d, 16, 16, 2), DISC_IO_WRITE);
		assert_disc(d, before);
		assert_pattern(d, 0, 16, 1);
		assert_int_equal(disc_flush(d), DISC_OK); /* needs no room */
		g_free(before);
		before = g_strdup(dump(d));
		disc_close(d, false);
		d = open_node(node, false);
		set_mode(d, types[i][0] == 'c' ? 1 : 0, 0);
		assert_disc(d, before);
		fault_clear(node);
		assert_int_equal(put(d, 16, 16, 2), DISC_OK);
		assert_pattern(d, 16, 16, 2);
		g_free(before);
		disc_close(d, false);
		block_unref(node);
	}
}

static co_fn void unreadable(void *arg)
{
	struct scenario s = {.type = "dvd+r", .blocks = 4096};
	struct block_node *node = fault_new(block_mem_new(0, NULL, 0));
	const struct fault_rule bad = {
		.op = FAULT_READ, .from = 20 * BLOCK, .to = 21 * BLOCK, .errnum = EIO};
	struct disc *d;

	(void)arg;
	format_node(node, &s);
	d = open_node(node, false);
	assert_int_equal(put(d, 0, 64, 1), DISC_OK);
	fault_add(node, &bad);
	assert_int_equal(try_read(d, 16, 8), DISC_IO_READ);
	assert_int_equal(disc_last_error(d)->errnum, EIO);
	assert_int_equal(try_read(d, 24, 8), DISC_OK);
	assert_int_equal(put_again(d, 16, 16, 1), DISC_IO_WRITE); /* cannot be compared */
	disc_close(d, false);
	block_unref(node);
}

/* What a step that failed left: nothing; a disc at once may have got as far as being begun. */
static void check_unchanged(struct disc *d, const struct scenario *s, const struct step *step,
			    const char *before)
{
	if (step->op != DO_PUT && strcmp(before, dump(d)) != 0)
		fail_msg("%s: failing step %d left\n%snot\n%s", s->name, step->op, dump(d), before);
}

/* Does the scenario with operation number nth of a kind failing once; false when there was none to
 * fail. */
static co_fn bool run_with_fault(const struct scenario *s, enum fault_op op, unsigned nth)
{
	struct block_node *mem = block_mem_new(0, NULL, 0), *node;
	const struct fault_rule rule = {.op = op, .nth = nth, .times = 1, .errnum = EIO};
	bool failed = false;
	struct disc *d;

	block_ref(mem);
	node = fault_new(mem);
	format_node(node, s);
	d = open_node(node, false);
	fault_add(node, &rule);
	for (const struct step *step = s->steps; step->op != DO_END; step++) {
		char *before = g_strdup(dump(d));
		enum disc_status status = do_step(d, step);

		if (status == DISC_IO_WRITE && !failed) {
			failed = true;
			check_unchanged(d, s, step, before);
			g_free(before);
			if (op == FAULT_FLUSH)
				break; /* what a failed flush lost is gone: the node stays failed
					  until it is reopened */
			before = NULL;
			status = do_step(d, step);
			if (step->op == DO_PUT && status == DISC_NOT_NWA)
				status = put_again(d, step->a, step->b, step->seed);
		}
		if (status != DISC_OK)
			fail_msg("%s: step %u fails with %d after fault %u of kind %d: %s", s->name,
				 (unsigned)(step - s->steps), status, nth, op, dump(d));
		g_free(before);
	}
	disc_close(d, failed && op == FAULT_FLUSH);
	block_unref(node);
	d = open_node(mem, false);
	assert_int_equal(disc_sync(d), DISC_OK);
	disc_close(d, false);
	block_unref(mem);
	return failed;
}

/* Failing notes of history and removals to be done later are only logged: expected here. */
static void discard(enum log_level level, const char *area, const char *text, void *arg)
{
	(void)level;
	(void)area;
	(void)text;
	(void)arg;
}

static co_fn void fault_everywhere(void *arg)
{
	static const enum fault_op ops[] = {FAULT_WRITE, FAULT_FLUSH, FAULT_ZERO};

	(void)arg;
	log_set_sink(discard, NULL);
	for (const struct scenario *s = scenarios; s->name; s++) {
		unsigned failed = 0;

		for (unsigned i = 0; i < G_N_ELEMENTS(ops); i++)
			for (unsigned nth = 1; nth < 120; nth++)
				failed += run_with_fault(s, ops[i], nth);
		assert_true(failed >= 5);
	}
	log_set_sink(NULL, NULL);
}

IN_LOOP(full_host_disk)
IN_LOOP(unreadable)
IN_LOOP(fault_everywhere)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_full_host_disk),
		cmocka_unit_test(test_unreadable),
		cmocka_unit_test(test_fault_everywhere),
	};

	return cmocka_run_group_tests(tests, NULL, fixture_end);
}
