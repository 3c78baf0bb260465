/*
 * A .disc whose checksums are right and whose rows were made by an enemy: it is refused, or it can
 * do no harm. Rows of real discs get random values; whatever opens then is asked everything, read,
 * written and closed. The sanitizers watch.
 */
#include "disc_scenario.h"

#include "block/mem.h"
#include "disc/map.h"
#include "disc/rules.h"
#include "disc/verify.h"

#include "base/log.h"

#include <string.h>

enum { ROUNDS = 1500 };

static uint32_t seed = 1;

static uint32_t dice(void)
{
	seed = seed * 1664525 + 1013904223;
	return seed >> 8;
}

/* A value as an enemy picks them: small, near a limit, or anything. */
static uint32_t evil(const struct disc_state *s)
{
	switch (dice() % 6) {
	case 0: return dice() % 8;
	case 1: return s->max_blocks - dice() % 40;
	case 2: return UINT32_MAX - dice() % 40;
	case 3: return INT32_MAX - dice() % 40;
	case 4: return dice() % (s->max_blocks + 1000);
	default: return dice() << 8 | dice();
	}
}

static void spoil_track(const struct disc_state *s, struct disc_track *t)
{
	switch (dice() % 10) {
	case 0: t->session = (uint16_t)evil(s); break;
	case 1: t->control = (uint8_t)dice(); break;
	case 2: t->data_mode = (uint8_t)dice(); break;
	case 3: t->flags = dice() & 511; break;
	case 4: t->start = (int32_t)evil(s); break;
	case 5: t->size = evil(s); break;
	case 6: t->nwa = (int32_t)evil(s); break;
	case 7: t->pregap = evil(s); break;
	case 8: t->run_out = evil(s); break;
	default: t->flags ^= TRACK_OPEN; break;
	}
}

static void spoil_session(const struct disc_state *s, struct disc_session *n)
{
	switch (dice() % 6) {
	case 0: n->state = (uint8_t)(dice() % 5); break;
	case 1: n->first_track = (uint16_t)evil(s); break;
	case 2: n->last_track = (uint16_t)evil(s); break;
	case 3: n->start = (int32_t)evil(s); break;
	case 4: n->lead_out = (int32_t)evil(s); break;
	default: n->next_area = (int32_t)evil(s); break;
	}
}

static void spoil_disc(struct disc_state *s)
{
	static const uint16_t profiles[] = {0x08, 0x09, 0x10, 0x11, 0x13, 0x14,
					    0x1b, 0x2b, 0x40, 0x41, 0x43, 0};

	switch (dice() % 10) {
	case 0: s->profile = profiles[dice() % G_N_ELEMENTS(profiles)]; break;
	case 1: s->status = (uint8_t)(dice() % 4); break;
	case 2: s->capacity = evil(s); break;
	case 3: s->grow_limit = evil(s); break;
	case 4: s->last_lead_out = (int32_t)evil(s); break;
	case 5: s->layers = (uint8_t)dice(); break;
	case 6: s->pow = (uint8_t)dice(); break;
	case 7: s->intermediate = (uint8_t)dice(); break;
	case 8: s->pow_replacements = evil(s); break;
	default: g_array_set_size(s->sessions, dice() % (s->sessions->len + 1)); break;
	}
}

static void spoil(struct disc_state *s)
{
	unsigned which = dice() % 4;

	if (which == 0)
		spoil_disc(s);
	else if (which == 1 && s->sessions->len)
		spoil_session(s, state_session(s, 1 + dice() % s->sessions->len));
	else if (which == 2 && s->blobs->len && dice() % 2)
		state_put_blob(s, BLOB_CUE, 0, &seed, 4);
	else if (s->tracks->len)
		spoil_track(s, state_track(s, 1 + dice() % s->tracks->len));
}

static co_fn void ask(struct disc *d)
{
	const struct disc_state *s = disc_get_state(d);
	struct disc_capacity list[8];
	struct disc_region *regions;
	struct disc_sector what;
	uint8_t sector[2352];
	enum disc_status status;
	uint32_t blocks;
	int32_t lba;

	dump(d);
	g_assert(disc_regions(d, &regions) < 1000);
	g_free(regions);
	disc_list_capacities(d, list, 8);
	disc_get_track_info(d, TRACK_INVISIBLE, &(struct disc_track_info){0});
	disc_session_extent(d, 0, &lba, &blocks);
	disc_session_extent(d, 1, &lba, &blocks);
	for (unsigned i = 0; i < 40; i++) {
		lba = (int32_t)evil(s);
		disc_track_at(d, lba);
		if (lba < INT32_MAX - 100)
			try_read(d, lba, 1 + dice() % 40);
		disc_read_raw(d, lba, sector, &what);
		disc_block_bytes(d, lba, 1 + dice() % 40, &status);
	}
}

static co_fn void use(struct disc *d)
{
	for (unsigned i = 0; i < 12; i++) {
		struct disc_track_info t = {0};
		int32_t lba;

		ask(d);
		disc_get_track_info(d, disc_last_track(d), &t);
		lba = dice() % 3 ? t.nwa : (int32_t)evil(disc_get_state(d));
		switch (dice() % 12) {
		case 0: set_mode(d, dice() % 4, dice() % 4); break;
		case 1: set_test_mode(d, dice() % 3); break;
		case 2: disc_sync(d); break;
		case 3: disc_reserve_track(d, dice() % 200); break;
		case 4: disc_close_track(d, dice() % 4); break;
		case 5: disc_close_session(d); break;
		case 6: disc_finalise(d); break;
		case 7: disc_blank(d, 0); break;
		case 8: do_step(d, &(struct step){DO_CUE}); break;
		case 9:
			do_step(d, &(struct step){DO_FORMAT, dice() % 2 ? 0x15 : 0x13, 0, 0});
			break;
		case 10: put_again(d, lba, 1 + dice() % 40, 1); break;
		default: put(d, lba, 1 + dice() % 40, 1); break;
		}
	}
}

static void discard(enum log_level level, const char *area, const char *text, void *arg)
{
	(void)level;
	(void)area;
	(void)text;
	(void)arg;
}

/* A state of a burn, as far as some step. */
static co_fn struct disc_state *some_state(const struct scenario *s)
{
	struct block_node *node = block_mem_new(0, NULL, 0);
	unsigned steps = dice() % 20;
	struct disc_state *copy;
	struct disc *d;

	format_node(node, s);
	d = open_node(node, false);
	for (const struct step *step = s->steps; step->op != DO_END && steps; step++, steps--)
		assert_int_equal(do_step(d, step), DISC_OK);
	copy = disc_state_copy(disc_get_state(d));
	disc_close(d, true);
	block_unref(node);
	return copy;
}

static co_fn bool open_spoiled(const struct disc_state *state)
{
	struct block_node *node = block_mem_new(0, NULL, 0);
	struct disc_state *opened;
	struct disc_store *store = NULL;
	GError *error = NULL;
	struct disc *d = NULL;

	block_ref(node);
	if (disc_store_format(node, state, STORE_RDWR, &error))
		store = disc_store_open(node, STORE_RDWR, &opened, &error);
	else
		block_unref(node);
	if (store)
		d = disc_open_with_store(store, opened, &error);
	if (d) {
		use(d);
		disc_close(d, dice() % 2);
	} else {
		assert_non_null(error);
		g_clear_error(&error);
	}
	block_unref(node);
	return d != NULL;
}

static co_fn void spoiled_rows(void *arg)
{
	unsigned accepted = 0, kinds = 1;

	(void)arg;
	log_set_sink(discard, NULL);
	while (scenarios[kinds].name) /* there is one at least */
		kinds++;
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct disc_state *state = some_state(&scenarios[dice() % kinds]);

		for (unsigned i = dice() % 3; i < 3; i++)
			spoil(state);
		accepted += open_spoiled(state);
		disc_state_free(state);
	}
	log_set_sink(NULL, NULL);
	print_message("%u of %u spoiled discs were accepted and did no harm\n", accepted, ROUNDS);
	assert_true(accepted > ROUNDS / 20 && accepted < ROUNDS);
}

/* READ DISC STRUCTURE describes each layer: their number must be one that exists. */
static co_fn void layers(void *arg)
{
	static const struct {
		uint8_t layers;
		bool ok;
	} cases[] = {{0, false}, {1, true}, {4, true}, {5, false}, {255, false}};

	(void)arg;
	log_set_sink(discard, NULL);
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct disc_state *state = disc_blank_state(disc_type_find("bd-r"), 65536);

		state->layers = cases[i].layers;
		assert_int_equal(open_spoiled(state), cases[i].ok);
		disc_state_free(state);
	}
	log_set_sink(NULL, NULL);
}

IN_LOOP(spoiled_rows)
IN_LOOP(layers)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_spoiled_rows),
		cmocka_unit_test(test_layers),
	};

	return cmocka_run_group_tests(tests, NULL, fixture_end);
}
