/*
 * GET EVENT STATUS NOTIFICATION (MMC-6 6.6; mmc.md 2.28): each initiator has its own pending
 * events, so that every guest hears of an eject once. Present state in the replies is the drive's,
 * the same that TEST UNIT READY tells.
 */
#include "scsi/mmc/mmc.h"

#include "base/bytes.h"

enum {
	CLASS_OPERATIONAL = 1,
	CLASS_POWER = 2,
	CLASS_EXTERNAL = 3,
	CLASS_MEDIA = 4,
	CLASS_BUSY = 6
};

#define CLASS_BIT(n) (1u << (n))
/* clang-format off */
enum {
	SUPPORTED = CLASS_BIT(CLASS_OPERATIONAL) | CLASS_BIT(CLASS_POWER) |
	CLASS_BIT(CLASS_EXTERNAL) |
		    CLASS_BIT(CLASS_MEDIA) | CLASS_BIT(CLASS_BUSY),
};

enum {
	EV_LEN		= BE16(0),
	EV_NEA		= BIT(2, 7),
	EV_CLASS	= BITS(2, 2, 0),
	EV_SUPPORTED	= U8(3),
	EV_HEAD_LEN	= 4,
	EV_CODE		= BITS(4, 3, 0),
	EV_STATUS	= U8(5),
	EV_REASON	= BE16(6),
	EV_PERSISTENT	= BIT(5, 7),
	EV_MEDIA_PRESENT = BIT(5, 1),
	EV_TRAY_OPEN	= BIT(5, 0),
	EV_TOTAL_LEN	= 8,

	OPERATIONAL_CHANGE = 2, POWER_CHANGED = 1, BUSY_IMMEDIATE = 2,
	PREVENT_PERSISTENT = 2,
};
/* clang-format on */

/* ---- raising ---- */

static void for_each_nexus(struct drive *d, void (*fn)(struct nexus_state *n, unsigned arg),
			   unsigned arg)
{
	for (unsigned i = 0; i < d->lu.nexuses->len; i++)
		fn(nexus_state(g_ptr_array_index(d->lu.nexuses, i)), arg);
}

/* Insertion and removal make each other, and an eject request, pointless. */
static void raise_media(struct nexus_state *n, unsigned event)
{
	if (event == MEDIA_EJECT_REQUEST)
		n->media_events |= (uint8_t)(1u << event);
	else
		n->media_events = (uint8_t)(1u << event);
}

static void raise_power(struct nexus_state *n, unsigned state)
{
	n->power_event = (uint8_t)state;
}

static void raise_operational(struct nexus_state *n, unsigned reason)
{
	n->operational_reason = (uint8_t)reason;
}

void event_media(struct drive *d, enum media_event event)
{
	for_each_nexus(d, raise_media, event);
}

void event_power(struct drive *d, unsigned state)
{
	d->state->power = (uint8_t)state;
	for_each_nexus(d, raise_power, state);
}

void event_operational(struct drive *d, unsigned reason)
{
	for_each_nexus(d, raise_operational, reason);
}

/* ---- reporting ---- */

static unsigned pending_classes(const struct nexus_state *n)
{
	return (n->operational_reason ? CLASS_BIT(CLASS_OPERATIONAL) : 0) |
	       (n->power_event ? CLASS_BIT(CLASS_POWER) : 0) |
	       (n->media_events ? CLASS_BIT(CLASS_MEDIA) : 0);
}

static unsigned lowest(unsigned classes)
{
	unsigned n = 0;

	while (!(classes >> n & 1))
		n++;
	return n;
}

static bool is_persistently_locked(const struct drive *d)
{
	for (unsigned i = 0; i < d->lu.nexuses->len; i++) {
		const struct scsi_nexus *nexus = g_ptr_array_index(d->lu.nexuses, i);

		if (nexus->prevent & PREVENT_PERSISTENT)
			return true;
	}
	return false;
}

static void fill_media(const struct drive *d, struct nexus_state *n, uint8_t *buf, bool consume)
{
	/* An eject request comes last: it is about the disc that the others announce. */
	static const uint8_t order[] = {MEDIA_NEW, MEDIA_REMOVED, MEDIA_EJECT_REQUEST};

	for (unsigned i = 0; i < sizeof(order); i++) {
		if (!(n->media_events >> order[i] & 1))
			continue;
		fld_put(buf, EV_CODE, order[i]);
		if (consume)
			n->media_events &= (uint8_t) ~(1u << order[i]);
		break;
	}
	fld_put(buf, EV_MEDIA_PRESENT, loaded_disc(d) != NULL);
	fld_put(buf, EV_TRAY_OPEN, d->state->tray_open);
}

static void fill_class(const struct drive *d, struct nexus_state *n, unsigned class, uint8_t *buf,
		       bool consume)
{
	switch (class) {
	case CLASS_OPERATIONAL:
		fld_put(buf, EV_CODE, n->operational_reason ? OPERATIONAL_CHANGE : 0);
		fld_put(buf, EV_REASON, n->operational_reason);
		fld_put(buf, EV_PERSISTENT, is_persistently_locked(d));
		if (consume)
			n->operational_reason = 0;
		break;
	case CLASS_POWER:
		fld_put(buf, EV_CODE, n->power_event ? POWER_CHANGED : 0);
		fld_put(buf, EV_STATUS, n->power_event ? n->power_event : d->state->power);
		if (consume)
			n->power_event = 0;
		break;
	case CLASS_EXTERNAL: fld_put(buf, EV_PERSISTENT, is_persistently_locked(d)); break;
	case CLASS_MEDIA: fill_media(d, n, buf, consume); break;
	case CLASS_BUSY:
		fld_put(buf, EV_STATUS, d->op.kind != LONG_NONE ? BUSY_IMMEDIATE : 0);
		break;
	}
}

enum sense mmc_get_event_status(struct scsi_cmd *c)
{
	struct nexus_state *n = nexus_state(c->nexus);
	unsigned wanted = fld_get(c->cdb, GESN_CLASSES) & SUPPORTED;
	bool consume = MIN(c->alloc_len, c->in.len) >= EV_TOTAL_LEN;
	uint8_t buf[EV_TOTAL_LEN] = {0};
	unsigned class, pending;

	if (!fld_get(c->cdb, GESN_POLLED)) /* there is no asynchronous notification */
		return scsi_bad_field(c, SENSE_BAD_CDB_FIELD, fld_byte(GESN_POLLED),
				      fld_low(GESN_POLLED));
	fld_put(buf, EV_SUPPORTED, SUPPORTED);
	if (!wanted) {
		fld_put(buf, EV_LEN, EV_HEAD_LEN - 2);
		fld_put(buf, EV_NEA, 1);
		return scsi_reply(c, buf, EV_HEAD_LEN);
	}
	pending = pending_classes(n) & wanted;
	class = lowest(pending ? pending : wanted);
	fld_put(buf, EV_LEN, EV_TOTAL_LEN - 2);
	fld_put(buf, EV_CLASS, class);
	fill_class(cmd_drive(c), n, class, buf, consume);
	return scsi_reply(c, buf, consume ? EV_TOTAL_LEN : EV_HEAD_LEN);
}
