/*
 * Session at once on CD (disc_cd_sao.c), as the rules of CD media use it. A cue sheet in progress
 * lives in struct disc and, so that a burn outlives the daemon, as a blob in the state: 8 bytes of
 * what mode page 05h said, then the sheet.
 */
#pragma once

#include "disc/rules.h"

bool cd_sao_begun(const struct disc *d);
co_fn enum disc_status cd_send_cue_sheet(struct disc *d, const uint8_t *cue, size_t len);
co_fn enum disc_status cd_drop_cue(struct disc *d);
co_fn enum disc_status cd_sao_write(struct disc *d, int32_t lba, uint32_t blocks,
				    const struct iovs *iov, bool replay);
/* Closes the session once all of the sheet was written. */
co_fn enum disc_status cd_sao_sync(struct disc *d);
/* Closes it as it is: what the host did not write is zeros. */
co_fn enum disc_status cd_sao_finish(struct disc *d);
uint32_t cd_sao_block_bytes(const struct disc *d, int32_t lba, uint32_t blocks,
			    enum disc_status *status);
