/* Names of a disc's states: see disc_words.h. */
#include "cli/disc_words.h"

#include "disc/store.h"

enum { CONTROL_DATA = 4 };

const char *disc_status_word(const struct disc *d)
{
	switch (disc_get_state(d)->status) {
	case DISC_BLANK: return "blank";
	case DISC_APPENDABLE: return "appendable";
	case DISC_COMPLETE: return "complete";
	default: return "overwritable";
	}
}

const char *disc_session_word(const struct disc_session *s)
{
	switch (s->state) {
	case SESSION_EMPTY: return "empty";
	case SESSION_INCOMPLETE: return "incomplete";
	default: return "complete";
	}
}

const char *disc_track_word(const struct disc_track *t)
{
	if (t->flags & TRACK_DAMAGED)
		return "damaged";
	if (!(t->flags & TRACK_OPEN))
		return "closed";
	if (t->flags & TRACK_RESERVED)
		return "reserved";
	return t->flags & TRACK_BLANK ? "blank" : "open";
}

const char *disc_track_kind(const struct disc_track *t)
{
	if (!(t->control & CONTROL_DATA))
		return "audio";
	return t->data_mode == 1 ? "mode 1" : t->data_mode == 2 ? "mode 2" : "data";
}

const char *disc_event_word(uint32_t event)
{
	switch (event) {
	case EVENT_CREATED: return "made";
	case EVENT_TRACK_CLOSED: return "track closed";
	case EVENT_SESSION_CLOSED: return "session closed";
	case EVENT_FINALISED: return "finalised";
	case EVENT_FORMATTED: return "formatted";
	case EVENT_BLANKED: return "blanked";
	case EVENT_RESERVED: return "track reserved";
	case EVENT_RECOVERED: return "recovered after an interruption";
	default: return "something that this version does not know";
	}
}
