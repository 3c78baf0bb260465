/* Persistent reservations: see reservations.h; the rules are SPC-4 5.13, tables 48 to 66. */
#include "scsi/reservations.h"

#include <glib.h>
#include <string.h>

bool reserve_type_is_valid(unsigned type)
{
	return type == RESERVE_WRITE_EXCLUSIVE || type == RESERVE_EXCLUSIVE_ACCESS ||
	       (type >= RESERVE_WRITE_REGISTRANTS && type <= RESERVE_ACCESS_ALL);
}

static bool held_by_all(enum reserve_type type)
{
	return type == RESERVE_WRITE_ALL || type == RESERVE_ACCESS_ALL;
}

/* Every registrant may do what the holder may. */
static bool for_registrants(enum reserve_type type)
{
	return type >= RESERVE_WRITE_REGISTRANTS;
}

static bool write_exclusive(enum reserve_type type)
{
	return type == RESERVE_WRITE_EXCLUSIVE || type == RESERVE_WRITE_REGISTRANTS ||
	       type == RESERVE_WRITE_ALL;
}

int reserve_find(const struct reservations *r, const char *name)
{
	for (unsigned i = 0; i < r->n; i++) {
		if (!strcmp(r->who[i].name, name))
			return (int)i;
	}
	return REGISTRATION_NONE;
}

bool reserve_holds(const struct reservations *r, int place)
{
	if (!r->type || place == REGISTRATION_NONE)
		return false;
	return held_by_all(r->type) || r->holder == place;
}

bool reserve_forbids(const struct reservations *r, int place, bool for_all, bool reads)
{
	if (!r->type || for_all || reserve_holds(r, place))
		return false;
	if (for_registrants(r->type) && place != REGISTRATION_NONE)
		return false;
	return !(reads && write_exclusive(r->type));
}

static void affect(struct reserve_effects *e, const char *name, enum sense attention, bool abort)
{
	g_strlcpy(e->on[e->n].name, name, RESERVE_NAME_LEN);
	e->on[e->n].attention = attention;
	e->on[e->n].abort = abort;
	e->n++;
}

static void release(struct reservations *r)
{
	r->type = RESERVE_NONE;
	r->holder = REGISTRATION_NONE;
}

/* Tells the registrants but one that they lost what they had by the reservation. */
static void tell_released(const struct reservations *r, int except, struct reserve_effects *e)
{
	for (unsigned i = 0; i < r->n; i++) {
		if ((int)i != except)
			affect(e, r->who[i].name, SENSE_RESERVATIONS_RELEASED, false);
	}
}

/* The reservation that place held goes with it, or stays. */
static void remove_registration(struct reservations *r, int place)
{
	memmove(&r->who[place], &r->who[place + 1],
		(r->n - (unsigned)place - 1) * sizeof(r->who[0]));
	r->n--;
	if (r->holder == place || !r->n)
		release(r);
	else if (r->holder > place)
		r->holder--;
}

static enum sense add_registration(struct reservations *r, const struct reserve_request *q)
{
	if (r->n == REGISTRATIONS_MAX || strlen(q->name) >= RESERVE_NAME_LEN)
		return SENSE_NO_REGISTRATIONS_LEFT;
	r->who[r->n].key = q->new_key;
	g_strlcpy(r->who[r->n].name, q->name, RESERVE_NAME_LEN);
	r->n++;
	return SENSE_GOOD;
}

static void unregister(struct reservations *r, int place, struct reserve_effects *e)
{
	bool tell = r->holder == place && for_registrants(r->type);

	remove_registration(r, place);
	if (tell)
		tell_released(r, REGISTRATION_NONE, e);
}

static enum sense do_register(struct reservations *r, const struct reserve_request *q, int place,
			      struct reserve_effects *e)
{
	enum sense s = SENSE_GOOD;

	if (q->action == RESERVE_REGISTER) {
		uint64_t now = place == REGISTRATION_NONE ? 0 : r->who[place].key;

		if (q->again && now == q->new_key)
			return SENSE_GOOD;
		if (q->key != now)
			return SENSE_STATUS_CONFLICT;
	}
	if (place == REGISTRATION_NONE && !q->new_key)
		return SENSE_GOOD;
	if (place == REGISTRATION_NONE)
		s = add_registration(r, q);
	else if (q->new_key)
		r->who[place].key = q->new_key;
	else
		unregister(r, place, e);
	if (s != SENSE_GOOD)
		return s;
	r->persist = q->persist;
	r->generation++;
	return SENSE_GOOD;
}

static enum sense do_reserve(struct reservations *r, const struct reserve_request *q, int place)
{
	if (!reserve_type_is_valid(q->type))
		return SENSE_BAD_CDB_FIELD;
	if (r->type)
		return reserve_holds(r, place) && r->type == q->type ? SENSE_GOOD
								     : SENSE_STATUS_CONFLICT;
	r->type = (enum reserve_type)q->type;
	r->holder = held_by_all(r->type) ? REGISTRATION_NONE : place;
	return SENSE_GOOD;
}

static enum sense do_release(struct reservations *r, const struct reserve_request *q, int place,
			     struct reserve_effects *e)
{
	if (!reserve_holds(r, place))
		return SENSE_GOOD;
	if (r->type != q->type)
		return SENSE_BAD_RELEASE;
	if (for_registrants(r->type))
		tell_released(r, place, e);
	release(r);
	return SENSE_GOOD;
}

static enum sense do_clear(struct reservations *r, int place, struct reserve_effects *e)
{
	for (unsigned i = 0; i < r->n; i++) {
		if ((int)i != place)
			affect(e, r->who[i].name, SENSE_RESERVATIONS_PREEMPTED, false);
	}
	r->n = 0;
	release(r);
	r->generation++;
	return SENSE_GOOD;
}

/*
 * Removes the registrations with the key (0: all) but that of place, unless own says that it goes
 * as well. How many went.
 */
static unsigned preempt_registrations(struct reservations *r, const struct reserve_request *q,
				      bool all, bool own, struct reserve_effects *e)
{
	unsigned gone = 0;

	for (unsigned i = 0; i < r->n;) {
		bool self = !strcmp(r->who[i].name, q->name);

		if ((!all && r->who[i].key != q->new_key) || (self && !own)) {
			i++;
			continue;
		}
		if (!self)
			affect(e, r->who[i].name, SENSE_REGISTRATIONS_PREEMPTED,
			       q->action == RESERVE_PREEMPT_ABORT);
		remove_registration(r, (int)i);
		gone++;
	}
	return gone;
}

/* The reservation becomes that of who asks, of the type asked for. */
static void take_over(struct reservations *r, const struct reserve_request *q,
		      struct reserve_effects *e)
{
	enum reserve_type before = r->type;
	int place;

	preempt_registrations(r, q, held_by_all(before), false, e);
	place = reserve_find(r, q->name);
	r->type = (enum reserve_type)q->type;
	r->holder = held_by_all(r->type) ? REGISTRATION_NONE : place;
	if (before != r->type)
		tell_released(r, place, e);
}

static enum sense do_preempt(struct reservations *r, const struct reserve_request *q,
			     struct reserve_effects *e)
{
	bool all = held_by_all(r->type) && !q->new_key;
	bool holders = r->type && !held_by_all(r->type) && r->who[r->holder].key == q->new_key;

	if ((all || holders) && !reserve_type_is_valid(q->type)) {
		return SENSE_BAD_CDB_FIELD;
	} else if (all || holders) {
		take_over(r, q, e);
	} else if (!q->new_key) {
		return SENSE_BAD_PARAMETER;
	} else if (!preempt_registrations(r, q, false, true, e) && !q->again) {
		return SENSE_STATUS_CONFLICT;
	}
	r->generation++;
	return SENSE_GOOD;
}

enum sense reserve_out(struct reservations *r, const struct reserve_request *q,
		       struct reserve_effects *effects)
{
	int place = reserve_find(r, q->name);

	effects->n = 0;
	if (q->action == RESERVE_REGISTER || q->action == RESERVE_REGISTER_IGNORE)
		return do_register(r, q, place, effects);
	if (place == REGISTRATION_NONE)
		return q->again && q->action == RESERVE_CLEAR && !r->n ? SENSE_GOOD
								       : SENSE_STATUS_CONFLICT;
	if (r->who[place].key != q->key)
		return SENSE_STATUS_CONFLICT;
	switch (q->action) {
	case RESERVE_RESERVE: return do_reserve(r, q, place);
	case RESERVE_RELEASE: return do_release(r, q, place, effects);
	case RESERVE_CLEAR: return do_clear(r, place, effects);
	default: return do_preempt(r, q, effects);
	}
}
