/*
 * A burn as a list of steps, to be done to a disc again and again: with a power cut after every
 * write to the file, and with a fault at every write.
 */
#pragma once

#include "disc_fixture.h"

enum step_op {
	DO_END,
	DO_MODE /* write type, multi-session */,
	DO_TEST /* write type */,
	DO_PUT /* lba, blocks, seed */,
	DO_SYNC,
	DO_FLUSH,
	DO_RESERVE /* blocks */,
	DO_CLOSE_TRACK /* number */,
	DO_CLOSE_SESSION,
	DO_FINALISE,
	DO_CUE,
	DO_BLANK /* type */,
	DO_FORMAT /* type, subtype */,
};

struct step {
	enum step_op op;
	int32_t a;
	uint32_t b, seed;
};

struct scenario {
	const char *name, *type;
	uint32_t blocks;
	const struct step *steps;
};

extern const struct scenario scenarios[]; /* ends with name NULL */

co_fn enum disc_status do_step(struct disc *d, const struct step *s);
/* A blank disc of the scenario's type on a node, in a .disc container; the node's reference stays
 * the caller's. */
co_fn void format_node(struct block_node *node, const struct scenario *s);
/* Opens it (a reference is taken); same_boot: progress lines count, as after the death of the
 * process only. */
co_fn struct disc *open_node(struct block_node *node, bool same_boot);
