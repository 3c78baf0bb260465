/* What the numbers of a disc are called, for info and map. */
#pragma once

#include "disc/disc.h"

const char *disc_status_word(const struct disc *d);          /* "blank", "appendable" ... */
const char *disc_session_word(const struct disc_session *s); /* "empty", "incomplete", "complete" */
const char *disc_track_word(const struct disc_track *t);     /* "open", "reserved", "closed" */
const char *disc_track_kind(const struct disc_track *t);     /* "audio", "mode 1", "mode 2" */
const char *disc_event_word(uint32_t event);                 /* of the history: "track closed" */
