/*
 * PERSISTENT RESERVE IN and OUT, RESERVE, RELEASE (SPC-4 6.13 f.; SPC-2 7.21 f.), and what the
 * engine asks about them. The rules are in scsi/reservations.c; here they meet nexuses, parameter
 * lists and the state file.
 *
 * OUT commands run alone. One works on a copy, which counts once it is in the state file: what an
 * initiator was told lasts. With the lock held alone, the commands of a preempted initiator have
 * ended or wait for their turn, in which they find themselves aborted.
 */
#include "scsi/sbc/sbc.h"

#include "base/bytes.h"

/* clang-format off */
enum {
	OUT_LEN = 24, OUT_KEY = 0, OUT_NEW_KEY = 8, OUT_FLAGS = 20,
	OUT_SPEC_I_PT = BIT(20, 3), OUT_ALL_TG_PT = BIT(20, 2), OUT_APTPL = BIT(20, 0),

	IN_HEAD_LEN = 8, IN_GENERATION = BE32(0), IN_LEN = BE32(4), KEY_LEN = 8,
	RESERVATION_LEN = 16, RESERVATION_TYPE = BITS(13, 3, 0),

	CAPABILITIES_LEN = 8, CAP_LEN = BE16(0), CAP_PTPL_C = BIT(2, 0), CAP_TMV = BIT(3, 7),
	CAP_PTPL_A = BIT(3, 0), CAP_TYPES = BE16(4),
	TYPES = 0xea01,		/* all six: WR_EX_AR EX_AC_RO WR_EX_RO EX_AC WR_EX, EX_AC_AR */

	FULL_LEN = 24, FULL_HOLDER = BIT(12, 0), FULL_TYPE = BITS(13, 3, 0), FULL_PORT = BE16(18),
	FULL_ID_LEN = BE32(20),
	/* An initiator of this transport has no name that SPC knows: one like a SAS port's, locally
	 * assigned, that follows from what we call it. */
	TRANSPORT_ID_LEN = 24, TRANSPORT_SAS = 6, TRANSPORT_ADDRESS = 4,
};
/* clang-format on */

static int place_of(const struct scsi_nexus *nexus)
{
	const struct sbc_nexus *view = nexus->unit_data;

	return view->place;
}

static void find_places(struct scsi_disk *d)
{
	for (unsigned i = 0; i < d->lu.nexuses->len; i++) {
		struct scsi_nexus *nexus = g_ptr_array_index(d->lu.nexuses, i);
		struct sbc_nexus *view = nexus->unit_data;

		view->place = reserve_find(&d->reservations, nexus->name);
	}
}

static bool has_others(const struct scsi_lu *lu)
{
	return lu->nexuses->len > 1;
}

/* An initiator that begins anew, with no other one there, finds the disk as after power on. */
void sbc_nexus_new(struct scsi_lu *lu, struct scsi_nexus *nexus, bool resumed)
{
	struct sbc_nexus *view = g_new0(struct sbc_nexus, 1);
	struct scsi_disk *d = lu_disk(lu);

	view->place = reserve_find(&d->reservations, nexus->name);
	nexus->unit_data = view;
	if (resumed)
		return;
	d->stopped = false;
	if (!has_others(lu) && (!d->write_cache || d->software_protect)) {
		sbc_mode_reset(d);
		sbc_state_save_later(d);
	}
}

void sbc_nexus_gone(struct scsi_lu *lu, struct scsi_nexus *nexus)
{
	struct scsi_disk *d = lu_disk(lu);

	if (strcmp(d->reservations.simple, nexus->name) != 0)
		return;
	d->reservations.simple[0] = '\0';
	sbc_state_save_later(d);
}

bool sbc_conflict(struct scsi_lu *lu, const struct scsi_cmd *c)
{
	const struct reservations *r = &lu_disk(lu)->reservations;
	unsigned flags = c->row->flags;

	if (r->simple[0] && !(flags & ROW_UA_EXEMPT) && c->row->handler != sbc_release &&
	    strcmp(r->simple, c->nexus->name) != 0)
		return true;
	return r->type && reserve_forbids(r, place_of(c->nexus), flags & ROW_RESERVED_ANY,
					  flags & ROW_RESERVED_READ);
}

bool sbc_forbids_change(const struct scsi_cmd *c)
{
	return reserve_forbids(&cmd_disk(c)->reservations, place_of(c->nexus), false, false);
}

/* ---- RESERVE, RELEASE ---- */

static enum sense check_whole_unit(struct scsi_cmd *c)
{
	enum { RESERVE6 = 0x16, RELEASE6 = 0x17 };
	bool is_long = c->cdb[0] != RESERVE6 && c->cdb[0] != RELEASE6;

	if (fld_get(c->cdb, RSV_THIRD_PARTY))
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(RSV_THIRD_PARTY), 4);
	if (is_long && fld_get(c->cdb, RSV10_LONG))
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(RSV10_LONG), 1);
	if (fld_get(c->cdb, RSV_EXTENT))
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(RSV_EXTENT), 0);
	/* the two kinds of reservation exclude each other */
	return cmd_disk(c)->reservations.n ? SENSE_STATUS_CONFLICT : SENSE_GOOD;
}

static co_fn enum sense set_simple(struct scsi_cmd *c, const char *name)
{
	struct scsi_disk *d = cmd_disk(c);
	char *simple = d->reservations.simple, before[RESERVE_NAME_LEN];

	if (!strcmp(simple, name))
		return SENSE_GOOD;
	if (strlen(name) >= RESERVE_NAME_LEN)
		return SENSE_NO_REGISTRATIONS_LEFT;
	g_strlcpy(before, simple, sizeof(before));
	g_strlcpy(simple, name, RESERVE_NAME_LEN);
	if (sbc_state_save(d))
		return SENSE_GOOD;
	g_strlcpy(simple, before, RESERVE_NAME_LEN);
	return SENSE_INTERNAL_FAILURE;
}

co_fn enum sense sbc_reserve(struct scsi_cmd *c)
{
	enum sense s = check_whole_unit(c);

	return s == SENSE_GOOD ? set_simple(c, c->nexus->name) : s;
}

co_fn enum sense sbc_release(struct scsi_cmd *c)
{
	enum sense s = check_whole_unit(c);

	if (s != SENSE_GOOD || strcmp(cmd_disk(c)->reservations.simple, c->nexus->name) != 0)
		return s; /* one that is not its own is left alone */
	return set_simple(c, "");
}

/* ---- PERSISTENT RESERVE OUT ---- */

static void tell_one(struct scsi_nexus *nexus, enum sense attention, bool abort)
{
	scsi_nexus_attention(nexus, attention);
	for (struct scsi_cmd *c = nexus->cmds; abort && c; c = c->next)
		scsi_cancel(c);
}

/* An initiator may have come twice. */
static void tell(struct scsi_lu *lu, const struct reserve_effects *effects)
{
	for (unsigned k = 0; k < lu->nexuses->len; k++) {
		struct scsi_nexus *nexus = g_ptr_array_index(lu->nexuses, k);

		for (unsigned i = 0; i < effects->n; i++) {
			if (!strcmp(nexus->name, effects->on[i].name))
				tell_one(nexus, effects->on[i].attention, effects->on[i].abort);
		}
	}
}

struct work {
	struct reservations before;
	struct reserve_effects effects;
};

static co_fn enum sense carry_out(struct scsi_cmd *c, const struct reserve_request *q)
{
	struct scsi_disk *d = cmd_disk(c);
	g_autofree struct work *w = g_try_new(struct work, 1);
	enum sense s;

	if (!w)
		return SENSE_NO_REGISTRATIONS_LEFT;
	w->before = d->reservations;
	s = reserve_out(&d->reservations, q, &w->effects);
	if (s == SENSE_BAD_CDB_FIELD)
		return scsi_bad_field(c, s, fld_byte(PR_TYPE), 3);
	if (s == SENSE_BAD_PARAMETER)
		return scsi_bad_field(c, s, OUT_NEW_KEY, SBC_NO_BIT);
	if (s != SENSE_GOOD)
		return s;
	find_places(d);
	if (!sbc_state_save(d)) {
		d->reservations = w->before;
		find_places(d);
		return SENSE_INTERNAL_FAILURE;
	}
	tell(c->lu, &w->effects);
	return SENSE_GOOD;
}

static enum sense check_flags(struct scsi_cmd *c, const uint8_t *list, bool registers)
{
	if (fld_get(list, OUT_SPEC_I_PT))
		return scsi_bad_field(c, SENSE_BAD_PARAMETER, OUT_FLAGS, 3);
	if (fld_get(list, OUT_ALL_TG_PT) && registers)
		return scsi_bad_field(c, SENSE_BAD_PARAMETER, OUT_FLAGS, 2);
	if (fld_get(list, OUT_APTPL) && registers && !cmd_disk(c)->durable)
		return scsi_bad_field(c, SENSE_BAD_PARAMETER, OUT_FLAGS, 0);
	return SENSE_GOOD;
}

co_fn enum sense sbc_persistent_out(struct scsi_cmd *c)
{
	enum reserve_action action = (enum reserve_action)fld_get(c->cdb, SCSI_ACTION);
	bool registers = action == RESERVE_REGISTER || action == RESERVE_REGISTER_IGNORE;
	struct reserve_request q;
	uint8_t list[OUT_LEN];
	enum sense s;

	if (cmd_disk(c)->reservations.simple[0])
		return SENSE_STATUS_CONFLICT;
	if (fld_get(c->cdb, PR_SCOPE) && !registers && action != RESERVE_CLEAR)
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(PR_SCOPE), 7);
	if (c->alloc_len != OUT_LEN || scsi_parameters(c, list, OUT_LEN) != OUT_LEN)
		return SENSE_PARAMETER_LENGTH;
	s = check_flags(c, list, registers);
	if (s != SENSE_GOOD)
		return s;
	q = (struct reserve_request){
		.action = action,
		.name = c->nexus->name,
		.key = get_be64(list + OUT_KEY),
		.new_key = get_be64(list + OUT_NEW_KEY),
		.type = fld_get(c->cdb, PR_TYPE),
		.persist = fld_get(list, OUT_APTPL),
		.again = c->replay,
	};
	return carry_out(c, &q);
}

/* ---- PERSISTENT RESERVE IN ---- */

enum sense sbc_read_keys(struct scsi_cmd *c)
{
	const struct reservations *r = &cmd_disk(c)->reservations;
	uint8_t buf[IN_HEAD_LEN + REGISTRATIONS_MAX * KEY_LEN];

	if (r->simple[0])
		return SENSE_STATUS_CONFLICT;
	fld_put(buf, IN_GENERATION, r->generation);
	fld_put(buf, IN_LEN, r->n * KEY_LEN);
	for (size_t i = 0; i < r->n; i++)
		put_be64(buf + IN_HEAD_LEN + i * KEY_LEN, r->who[i].key);
	return scsi_reply(c, buf, IN_HEAD_LEN + (size_t)r->n * KEY_LEN);
}

enum sense sbc_read_reservation(struct scsi_cmd *c)
{
	const struct reservations *r = &cmd_disk(c)->reservations;
	uint8_t buf[IN_HEAD_LEN + RESERVATION_LEN] = {0}, *p = buf + IN_HEAD_LEN;

	if (r->simple[0])
		return SENSE_STATUS_CONFLICT;
	fld_put(buf, IN_GENERATION, r->generation);
	if (!r->type)
		return scsi_reply(c, buf, IN_HEAD_LEN);
	fld_put(buf, IN_LEN, RESERVATION_LEN);
	if (r->holder != REGISTRATION_NONE) /* with all registrants as holders the key is zero */
		put_be64(p, r->who[r->holder].key);
	fld_put(p, RESERVATION_TYPE, r->type);
	return scsi_reply(c, buf, sizeof(buf));
}

enum sense sbc_report_capabilities(struct scsi_cmd *c)
{
	struct scsi_disk *d = cmd_disk(c);
	uint8_t buf[CAPABILITIES_LEN] = {0};

	if (d->reservations.simple[0])
		return SENSE_STATUS_CONFLICT;
	fld_put(buf, CAP_LEN, CAPABILITIES_LEN);
	fld_put(buf, CAP_PTPL_C, d->durable);
	fld_put(buf, CAP_TMV, 1);
	fld_put(buf, CAP_PTPL_A, d->reservations.persist);
	fld_put(buf, CAP_TYPES, TYPES);
	return scsi_reply(c, buf, sizeof(buf));
}

static void put_full(const struct reservations *r, unsigned i, uint8_t *p)
{
	bool holds = reserve_holds(r, (int)i);

	memset(p, 0, FULL_LEN + TRANSPORT_ID_LEN);
	put_be64(p, r->who[i].key);
	fld_put(p, FULL_HOLDER, holds);
	fld_put(p, FULL_TYPE, holds ? r->type : 0);
	fld_put(p, FULL_PORT, 1);
	fld_put(p, FULL_ID_LEN, TRANSPORT_ID_LEN);
	p[FULL_LEN] = TRANSPORT_SAS;
	put_be64(p + FULL_LEN + TRANSPORT_ADDRESS, identity_naa("", "", r->who[i].name));
}

enum sense sbc_read_full_status(struct scsi_cmd *c)
{
	enum { ONE_LEN = FULL_LEN + TRANSPORT_ID_LEN };
	const struct reservations *r = &cmd_disk(c)->reservations;
	uint8_t buf[IN_HEAD_LEN + REGISTRATIONS_MAX * ONE_LEN];

	if (r->simple[0])
		return SENSE_STATUS_CONFLICT;
	fld_put(buf, IN_GENERATION, r->generation);
	fld_put(buf, IN_LEN, r->n * ONE_LEN);
	for (unsigned i = 0; i < r->n; i++)
		put_full(r, i, buf + IN_HEAD_LEN + (size_t)i * ONE_LEN);
	return scsi_reply(c, buf, IN_HEAD_LEN + (size_t)r->n * ONE_LEN);
}
