/*
 * Fuzzing of a disk image format: the input is a list of patches to a good image with data, after
 * which it is opened, looked at, written to, made longer, checked and repaired.
 *
 * Input: u8 flags; then patches: u8 area, u16 offset, u8 length, bytes. A repaired image must show
 * the next check what the repair left, and nothing else.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "block/driver.h"

struct disk_fuzz {
	const char *format, *options;
	uint64_t length;
	const uint64_t *areas; /* where patches go: offsets in the file */
	unsigned n_areas;
	/* With the flag for it: puts checksums right after the patches; or NULL. */
	co_fn void (*seal)(struct block_node *file);
};

void disk_fuzz_init(const struct disk_fuzz *f);
int disk_fuzz_one(const uint8_t *data, size_t size);
