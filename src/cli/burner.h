/*
 * What a burning program does with a disc, planned from what the drive says: how this medium is
 * written, where it goes on, how much fits, and what closes it (reference/mmc.md 4 and 5).
 */
#pragma once

#include "cli/initiator.h"
#include "cli/progress.h"
#include "cli/source.h"

enum burn_mode { BURN_AUTO, BURN_TAO, BURN_SAO, BURN_DAO, BURN_INCREMENTAL };

struct burner {
	struct initiator *drive;
	const struct disc_profile *medium;
	enum burn_mode mode;     /* never BURN_AUTO once it is planned */
	bool multi;              /* another session may follow */
	unsigned speed;          /* times the medium's basic speed; 0: no limit */
	const bool *interrupted; /* looked at between writes */

	struct ini_disc disc;
	struct ini_track track; /* that is written */
	int32_t first_lba;      /* of the image on the disc */
	uint32_t blocks;        /* of the image */
	uint32_t skip;          /* of these: on the disc already (resume) */
};

/*
 * Finds the medium's state and checks that the mode is one for it, that it can be written, and that
 * blocks fit; nothing is written. resume: it goes on in the track that is open, whose content is
 * not looked at here.
 */
co_fn bool burner_plan(struct burner *b, uint32_t blocks, bool resume, GError **error);
/* Whether what was begun in this way can be gone on with later. */
bool burner_can_resume(const struct burner *b);
/* For resume, after burner_plan(): compares what is there of the image already with it. */
co_fn bool burner_check_resume(struct burner *b, struct source *image, struct progress *progress,
			       GError **error);
/*
 * Write mode, reservation, cue sheet or format, then the data. ECANCELED when interrupted: all was
 * flushed, none closed.
 */
co_fn bool burner_write(struct burner *b, struct source *image, struct progress *progress,
			GError **error);
/* Closes track and session, and the disc unless multi. */
co_fn bool burner_close(struct burner *b, GError **error);
/* For "burn --close": what is there to close on a disc that nobody writes any more. */
co_fn bool burner_plan_close(struct burner *b, GError **error);
