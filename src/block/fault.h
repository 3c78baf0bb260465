/*
 * Filter "fault": lets operations fail, be late or fall short by rule, for tests and for trying out
 * what a system does when its storage misbehaves.
 */
#pragma once

#include "block/block.h"

enum fault_op {
	FAULT_READ,
	FAULT_WRITE,
	FAULT_FLUSH,
	FAULT_ZERO,
	FAULT_ALLOCATE,
	FAULT_TRUNCATE,
	FAULT_ANY
};

/*
 * An operation that fits (kind and place) is counted; the rule acts on number nth and those that
 * follow, each with the given probability, until it acted as often as it may.
 */
struct fault_rule {
	enum fault_op op;
	unsigned nth;      /* from 1; 0 is 1 */
	unsigned times;    /* 0: from then on always */
	unsigned percent;  /* 0 is 100 */
	uint64_t from, to; /* only what touches bytes [from, to); to 0: up to the end */
	int errnum;        /* positive errno to fail with; 0: does not fail */
	uint64_t delay_ns; /* before the operation */
	uint64_t shorten;  /* a failing write still writes this many bytes of its beginning */
};

/* Over file, whose reference is taken. */
struct block_node *fault_new(struct block_node *file);
/* The first rule that acts decides. Counting starts now. */
void fault_add(struct block_node *node, const struct fault_rule *rule);
void fault_clear(struct block_node *node);
