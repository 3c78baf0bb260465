/*
 * What a disc holds, compared, hashed and taken out. For tools: set-up errors, a progress callback,
 * and no rules. Nothing here blocks the loop: hashing runs in workers, files go through block
 * nodes.
 */
#pragma once

#include "disc/disc.h"

/* After each piece; bytes. May be NULL. */
typedef void disc_progress_fn(void *arg, uint64_t done, uint64_t total);

enum disc_compare_result {
	COMPARE_EQUAL,
	COMPARE_DIFFERS,    /* at lba, byte of the block */
	COMPARE_UNRECORDED, /* the disc holds nothing at lba that can be read */
};

struct disc_compare {
	enum disc_compare_result result;
	int32_t lba;
	unsigned byte;
	uint32_t blocks; /* equal ones before it */
};

/*
 * Whether the blocks from lba on are the image, whose last block is filled up with zeros. false:
 * reading failed, which is no result.
 */
co_fn bool disc_compare_image(struct disc *d, int32_t lba, struct block_node *image,
			      disc_progress_fn *progress, void *arg, struct disc_compare *result,
			      GError **error);

enum { DISC_HASH_LEN = 65 }; /* hexadecimal SHA-256 and its end */

/* SHA-256 of the user data of [lba, lba + blocks); what nobody recorded counts as zeros. */
co_fn bool disc_hash(struct disc *d, int32_t lba, uint32_t blocks, disc_progress_fn *progress,
		     void *arg, char hex[DISC_HASH_LEN], GError **error);
/* The same of an image, zeros behind its end up to the full block. */
co_fn bool disc_hash_image(struct block_node *image, disc_progress_fn *progress, void *arg,
			   char hex[DISC_HASH_LEN], GError **error);

/* First block and number of blocks of a session's data (0: from LBA 0 to the end of what is
 * recorded). */
bool disc_session_extent(const struct disc *d, unsigned session, int32_t *lba, uint32_t *blocks);

/*
 * The user data of a session (0: all that is recorded, from LBA 0 on) as a new file of 2048-byte
 * blocks; zeros become holes. The file must not exist; a failed export leaves none.
 */
co_fn bool disc_export(struct disc *d, unsigned session, const char *path,
		       disc_progress_fn *progress, void *arg, GError **error);
