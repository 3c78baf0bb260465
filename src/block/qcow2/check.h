/* A check under way: what check.c shares with the files that do parts of it. */
#pragma once

#include "block/qcow2/qcow2.h"

enum { MAX_TOLD = 1000 };

struct check {
	struct block_node *node, *file;
	struct qcow2 *q;
	unsigned fix; /* enum block_fix */
	struct block_check *r;
	uint64_t n;       /* clusters of the file */
	uint32_t *counts; /* references found, for each */
	struct qcow2_table refs;
	uint8_t *buf; /* one cluster */
	unsigned told;
	bool rebuild; /* blocks of counters are missing or cannot be */
};

/* One reference more for every cluster that the range touches. */
void check_count(struct check *c, uint64_t off, uint64_t len, const char *what);
/* The bitmaps that the image says are good. */
co_fn int check_count_bitmaps(struct check *c);
/* Makes all counters anew, from c->counts, behind the end of the file. */
co_fn int check_rebuild(struct check *c);
