/* For tests of the .disc store: small discs in memory, states, patterns. */
#pragma once

#include "tests/unit/base/loop_test.h"

#include <string.h>

#include "block/mem.h"
#include "disc/profile.h"
#include "disc/store.h"

enum { TEST_BLOCKS = 600 };

static const uint8_t this_boot[16] = {1, 2, 3};
static const uint8_t other_boot[16] = {9, 9, 9};

static inline struct disc_state *blank_state(uint16_t profile, uint32_t blocks)
{
	struct disc_state *state = disc_state_new();

	state->profile = state->born_profile = profile;
	state->max_blocks = state->capacity = blocks;
	state->layers = 1;
	memcpy(state->media_id, "OUTBOARD", 8);
	return state;
}

static inline struct disc_track *add_track(struct disc_state *state, int32_t start, uint32_t flags)
{
	struct disc_track t = {
		.number = (uint16_t)(state->tracks->len + 1),
		.session = 1,
		.control = 4,
		.data_mode = 1,
		.flags = flags,
		.start = start,
		.nwa = start,
		.last_recorded = start - 1,
	};

	g_array_append_val(state->tracks, t);
	return state_track(state, state->tracks->len);
}

static inline void add_session(struct disc_state *state, int32_t start)
{
	struct disc_session s = {
		.number = (uint16_t)(state->sessions->len + 1),
		.state = SESSION_INCOMPLETE,
		.first_track = 1,
		.last_track = 1,
		.start = start,
	};

	g_array_append_val(state->sessions, s);
}

static inline co_fn struct block_node *new_disc(uint16_t profile, uint32_t blocks)
{
	struct block_node *node = block_mem_new(0, NULL, 0);
	struct disc_state *state = blank_state(profile, blocks);
	GError *error = NULL;

	assert_true(disc_store_format(node, state, STORE_RDWR, &error));
	disc_state_free(state);
	return node;
}

/* Opens node (a reference is added) and fails the test if that is refused. */
static inline co_fn struct disc_store *must_open(struct block_node *node, unsigned flags,
						 struct disc_state **state)
{
	struct disc_store *s;
	GError *error = NULL;

	block_ref(node);
	s = disc_store_open_boot(node, flags, this_boot, state, &error);
	if (!s)
		fail_msg("%s", error->message);
	return s;
}

/* The message with which node is refused; g_free() it. */
static inline co_fn char *must_refuse(struct block_node *node, unsigned flags)
{
	struct disc_state *state = NULL;
	GError *error = NULL;
	char *text;

	block_ref(node);
	assert_null(disc_store_open_boot(node, flags, this_boot, &state, &error));
	assert_null(state);
	assert_non_null(error);
	text = g_strdup(error->message);
	g_error_free(error);
	return text;
}

static inline void fill(uint8_t *sector, int32_t lba, uint32_t salt)
{
	for (unsigned i = 0; i < 2048 / 4; i++) {
		uint32_t v = (uint32_t)lba * 2654435761u ^ salt * 40503u ^ i;

		memcpy(sector + 4 * i, &v, 4);
	}
}
