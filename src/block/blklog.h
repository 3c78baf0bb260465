/*
 * Filter "log": remembers every write, zeroing, truncation, allocation and flush that passed
 * through it, with data, so that tests can build what the file may hold after a power cut at any
 * point (formats.md 5.2).
 */
#pragma once

#include "block/block.h"

enum blklog_kind {
	BLKLOG_WRITE,
	BLKLOG_ZERO,
	BLKLOG_TRUNCATE,
	BLKLOG_ALLOCATE,
	BLKLOG_FLUSH,
	BLKLOG_MARK
};

struct blklog_entry {
	enum blklog_kind kind;
	bool fua; /* WRITE: durable when it returned */
	/* TRUNCATE: the new length; MARK: the value; FLUSH: how many entries were there when it
	 * began, and are durable by it. */
	uint64_t off;
	uint64_t len;
	uint8_t *data; /* WRITE; the log's own */
};

/*
 * In memory, over file, whose reference is taken. (As a driver with the option "log" it keeps a
 * file; what follows is not for that.) The filter has no map_shared(), so that progress lines are
 * written and logged. An operation enters the log once it succeeded.
 */
struct block_node *blklog_new(struct block_node *file);
/* Valid until the next operation on the node. */
const struct blklog_entry *blklog_entries(const struct block_node *node, unsigned *n);
void blklog_mark(struct block_node *node, uint64_t value);
/* Takes the entries out of the node; blklog_free() them. For use after the node is gone. */
struct blklog_entry *blklog_steal(struct block_node *node, unsigned *n);
void blklog_free(struct blklog_entry *entries, unsigned n);
/*
 * What a log file holds (as from blklog_steal()), up to where it was cut off or damaged; *length:
 * of the disk when the log began. False if it is no log.
 */
co_fn bool blklog_load(struct block_node *file, struct blklog_entry **entries, unsigned *n,
		       uint64_t *length, GError **error);
/* Does the entry to target; of a write only bytes [from, to) of its data. */
co_fn int blklog_apply(const struct blklog_entry *entry, uint64_t from, uint64_t to,
		       struct block_node *target);
