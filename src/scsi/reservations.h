/*
 * Reservations of a logical unit: who registered with which key, who holds what (SPC-4 5.13), and
 * the reservation of RESERVE and RELEASE (SPC-2). Pure state, without I/O.
 *
 * Initiators are known by the names of their nexuses: a registration outlives the nexus, and is its
 * again when a nexus of that name comes back.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "scsi/sense.h"

enum { REGISTRATIONS_MAX = 64, RESERVE_NAME_LEN = 192, REGISTRATION_NONE = -1 };

enum reserve_type {
	RESERVE_NONE = 0,
	RESERVE_WRITE_EXCLUSIVE = 1,
	RESERVE_EXCLUSIVE_ACCESS = 3,
	RESERVE_WRITE_REGISTRANTS = 5, /* write exclusive, registrants only */
	RESERVE_ACCESS_REGISTRANTS = 6,
	RESERVE_WRITE_ALL = 7, /* the same, all registrants hold it */
	RESERVE_ACCESS_ALL = 8,
};

/* Service actions of PERSISTENT RESERVE OUT. */
enum reserve_action {
	RESERVE_REGISTER,
	RESERVE_RESERVE,
	RESERVE_RELEASE,
	RESERVE_CLEAR,
	RESERVE_PREEMPT,
	RESERVE_PREEMPT_ABORT,
	RESERVE_REGISTER_IGNORE,
};

struct reservations {
	uint32_t generation;
	bool persist;           /* through loss of power (APTPL) */
	enum reserve_type type; /* RESERVE_NONE: nothing is reserved */
	int holder;             /* of who; REGISTRATION_NONE with the types that all hold */
	unsigned n;
	struct registration {
		uint64_t key;
		char name[RESERVE_NAME_LEN];
	} who[REGISTRATIONS_MAX];
	char simple[RESERVE_NAME_LEN]; /* has it by RESERVE; "": nobody */
};

struct reserve_request {
	enum reserve_action action;
	const char *name; /* of the initiator that asks */
	uint64_t key, new_key;
	unsigned type;
	bool persist;
	bool again; /* may have been carried out already: what it would do is then no mistake */
};

/* Whom a request concerns beside who made it. */
struct reserve_effects {
	unsigned n;
	struct {
		char name[RESERVE_NAME_LEN];
		enum sense attention;
		bool abort; /* its commands end */
	} on[REGISTRATIONS_MAX];
};

bool reserve_type_is_valid(unsigned type);
/* For a name that fits (shorter than RESERVE_NAME_LEN); its place in who or REGISTRATION_NONE. */
int reserve_find(const struct reservations *r, const char *name);
/* Whether place (of a nexus, see above) holds the reservation. */
bool reserve_holds(const struct reservations *r, int place);
/*
 * Carries out a request. On anything but SENSE_GOOD (also SENSE_STATUS_CONFLICT) nothing has
 * changed. effects is only filled in.
 */
enum sense reserve_out(struct reservations *r, const struct reserve_request *q,
		       struct reserve_effects *effects);
/*
 * Whether the persistent reservation keeps a registrant at place (REGISTRATION_NONE: somebody else)
 * from a command: one for everybody, one that only reads, or any other.
 */
bool reserve_forbids(const struct reservations *r, int place, bool for_all, bool reads);
