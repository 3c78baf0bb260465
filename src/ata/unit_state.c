/* What SET FEATURES and its like left in a unit, as bytes: for saved machines. */
#include "ata/unit_impl.h"

#include <string.h>

enum { /* of a saved state */
       STATE_FLAGS,
       STATE_MULTIPLE,
       STATE_MWDMA,
       STATE_UDMA,
       STATE_HEADS,
       STATE_SPT,
       FLAG_WRITE_CACHE = 1 << 0,
       FLAG_LOOK_AHEAD = 1 << 1,
       FLAG_SMART = 1 << 2,
       FLAG_KEEP = 1 << 3,
       FLAG_NOTIFY = 1 << 4,
       FLAG_ACTIVATE = 1 << 5,
       MODE_MAX = 6,
};

void ata_unit_save(const struct ata_unit *u, uint8_t *state)
{
	memset(state, 0, ATA_UNIT_STATE);
	state[STATE_FLAGS] =
		(uint8_t)((u->write_cache ? FLAG_WRITE_CACHE : 0) |
			  (u->look_ahead ? FLAG_LOOK_AHEAD : 0) | (u->smart ? FLAG_SMART : 0) |
			  (u->keep_settings ? FLAG_KEEP : 0) | (u->notify ? FLAG_NOTIFY : 0) |
			  (u->auto_activate ? FLAG_ACTIVATE : 0));
	state[STATE_MULTIPLE] = u->multiple;
	state[STATE_MWDMA] = u->mwdma;
	state[STATE_UDMA] = u->udma;
	state[STATE_HEADS] = u->heads;
	state[STATE_SPT] = u->spt;
}

static bool is_mode(uint8_t mode)
{
	return mode <= MODE_MAX || mode == ATA_NO_MODE;
}

bool ata_unit_restore(struct ata_unit *u, const uint8_t *state)
{
	uint8_t flags = state[STATE_FLAGS], multiple = state[STATE_MULTIPLE];

	if (multiple > ATA_MULTIPLE_MAX || multiple & (multiple - 1) ||
	    !is_mode(state[STATE_MWDMA]) || !is_mode(state[STATE_UDMA]) || !state[STATE_HEADS] ||
	    state[STATE_HEADS] > ATA_HEADS || !state[STATE_SPT])
		return false;
	u->write_cache = flags & FLAG_WRITE_CACHE;
	u->look_ahead = flags & FLAG_LOOK_AHEAD;
	u->smart = flags & FLAG_SMART;
	u->keep_settings = flags & FLAG_KEEP;
	u->notify = flags & FLAG_NOTIFY;
	u->auto_activate = flags & FLAG_ACTIVATE;
	u->multiple = multiple;
	u->mwdma = state[STATE_MWDMA];
	u->udma = state[STATE_UDMA];
	u->heads = state[STATE_HEADS];
	u->spt = state[STATE_SPT];
	return true;
}
