/* LUKS version 1: the header in front of what is encrypted, and its key slots. */
#pragma once

#include "block/block.h"
#include "block/crypt.h"

/*
 * The cipher of the header that lies in len bytes of file from off on, unlocked with the secret (no
 * zero byte in it). Takes as long as its slots' iteration counts say, in a worker thread. NULL on
 * error, with the code EACCES where the secret opens no slot.
 */
co_fn struct crypt *luks_open(struct block_node *file, uint64_t off, uint64_t len,
			      const char *secret, GError **error);
