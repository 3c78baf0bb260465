/*
 * Request queues of the virtio-scsi device: from the header in guest memory to scsi_execute() and
 * back.
 *
 * The header is copied out, the response header's place is cut off the front of the writable
 * buffers, and what is left of either list is the command's data, in guest memory. The descriptor
 * layout is free: a header may share its descriptor with data or be spread over several.
 */
#include "virtio/virtio_scsi_impl.h"
#include "base/bytes.h"
#include "scsi/sense.h"
#include "scsi/table.h"

#include <string.h>

/* request header, device-readable */
enum { REQ_LUN = 0, REQ_ID = 8, REQ_ATTR = 16, REQ_PRIO = 17, REQ_CRN = 18, REQ_CDB = 19 };
enum { ATTR_ORDERED = 1 };
/* response header, device-writable */
enum {
	RESP_SENSE_LEN = 0,
	RESP_RESIDUAL = 4,
	RESP_QUALIFIER = 8,
	RESP_STATUS = 10,
	RESP_RESPONSE = 11,
	RESP_SENSE = 12
};

bool vscsi_decode_lun(const uint8_t raw[8], struct vscsi_lun *out)
{
	uint16_t lun = get_be16(raw + 2);

	*out = (struct vscsi_lun){0};
	if (raw[4] | raw[5] | raw[6] | raw[7])
		return false;
	if (raw[0] == 0xc1 && raw[1] == 1) {
		out->well_known = true;
		return lun == 0;
	}
	if (raw[0] != 1 || lun >> 14 > 1) /* peripheral or flat addressing */
		return false;
	out->target = raw[1];
	out->lun = lun & 0x3fff;
	return true;
}

struct vscsi_target *vscsi_target(struct virtio_scsi *s, unsigned id)
{
	struct vscsi_target *t = id < s->n_targets ? &s->targets[id] : NULL;

	return t && t->nexus && !t->leaving ? t : NULL;
}

/* Cuts len bytes off the front of l into head; there is room for one piece more behind l. */
static void cut_front(struct iovs *l, size_t len, struct iovs *head)
{
	size_t left = len;
	unsigned i = 0;

	while (left && left >= l->v[i].iov_len)
		left -= l->v[i++].iov_len;
	*head = (struct iovs){.v = l->v, .n = i, .len = len};
	if (left) { /* the border lies inside a piece */
		memmove(&l->v[i + 1], &l->v[i], (l->n - i) * sizeof(l->v[0]));
		l->v[i].iov_len = left;
		l->v[i + 1].iov_base = (char *)l->v[i + 1].iov_base + left;
		l->v[i + 1].iov_len -= left;
		l->n++;
		head->n = ++i;
	}
	l->v += i;
	l->n -= i;
	l->len -= len;
}

static void respond(struct vscsi_req *r, unsigned response, size_t in_done)
{
	uint8_t h[VSCSI_RESP_LEN] = {0};
	struct scsi_cmd *c = &r->cmd;
	size_t residual = c->in.len ? c->in.len - c->in_done : c->out.len - c->out_done;

	put_le32(h + RESP_SENSE_LEN, c->sense_len);
	put_le32(h + RESP_RESIDUAL, (uint32_t)residual);
	h[RESP_STATUS] = c->status;
	h[RESP_RESPONSE] = (uint8_t)response;
	memcpy(h + RESP_SENSE, c->sense, c->sense_len);
	iovs_put(&r->head, 0, h, sizeof(h));
	vscsi_push(r->s, r->e, VSCSI_RESP_LEN + in_done);
}

/* A response made here: nothing was moved. */
static void respond_early(struct vscsi_req *r, unsigned response)
{
	r->cmd.status = SCSI_GOOD;
	r->cmd.sense_len = 0;
	r->cmd.in_done = 0;
	r->cmd.out_done = 0;
	respond(r, response, 0);
}

static co_fn void run_request(void *arg)
{
	struct vscsi_req *r = arg;
	struct vscsi_target *t = r->t;
	unsigned response = VSCSI_OK;

	scsi_execute(&r->cmd);
	if (r->cmd.status == SCSI_TASK_ABORTED)
		response = t->resetting ? VSCSI_RESET : VSCSI_ABORTED;
	t->in_flight--;
	respond(r, response, r->cmd.in_done);
}

static void reply_check(struct vscsi_req *r, enum sense code)
{
	r->cmd.status = SCSI_CHECK;
	r->cmd.sense_len = SCSI_SENSE_LEN;
	scsi_build_sense(r->cmd.sense, code, &r->cmd);
}

/*
 * A LUN of a present target at which there is nothing, or the well-known REPORT LUNS unit
 * (SPC-4 6.6, 7.7): these answer INQUIRY and REQUEST SENSE here. true: the command is answered.
 */
static bool answer_absent(struct vscsi_req *r, bool well_known)
{
	uint8_t inquiry[36] = {well_known ? 0x1e : 0x7f, 0, 5, 2, sizeof(inquiry) - 5};
	static const char vendor[8] = {'O', 'U', 'T', 'B', 'O', 'A', 'R', 'D'};
	uint8_t sense[SCSI_SENSE_LEN];
	struct scsi_cmd *c = &r->cmd;
	size_t alloc;

	c->status = SCSI_GOOD;
	c->sense_len = 0;
	c->in_done = c->out_done = 0;
	switch (c->cdb[0]) {
	case 0xa0: /* REPORT LUNS: the target's own unit knows */ return false;
	case 0x12: /* INQUIRY */
		memcpy(inquiry + 8, vendor, sizeof(vendor));
		memset(inquiry + 16, ' ', 20);
		alloc = get_be16(c->cdb + 3);
		if (c->cdb[1] & 1)
			reply_check(r, SENSE_BAD_CDB_FIELD);
		else
			c->in_done = iovs_put(&c->in, 0, inquiry, MIN(alloc, sizeof(inquiry)));
		break;
	case 0x03: /* REQUEST SENSE */
		scsi_build_sense(sense, well_known ? SENSE_GOOD : SENSE_BAD_LUN, c);
		c->in_done = iovs_put(&c->in, 0, sense, MIN(c->cdb[4], sizeof(sense)));
		break;
	case 0x00: /* TEST UNIT READY */
		if (well_known)
			break;
		/* fall through */
	default: reply_check(r, well_known ? SENSE_BAD_OPCODE : SENSE_BAD_LUN);
	}
	respond(r, VSCSI_OK, c->in_done);
	return true;
}

static struct vscsi_target *first_target(struct virtio_scsi *s)
{
	for (unsigned i = 0; i < s->n_targets; i++) {
		if (vscsi_target(s, i))
			return &s->targets[i];
	}
	return NULL;
}

void vscsi_request(struct virtio_scsi *s, struct virtq_elem *e)
{
	struct vscsi_req *r = e->extra;
	uint8_t h[VSCSI_REQ_LEN];
	struct vscsi_lun lun;
	bool valid;

	if (e->out.len < VSCSI_REQ_LEN || e->in.len < VSCSI_RESP_LEN) { /* no place to say so */
		virtio_fault(&s->d, e->q,
			     e->out.len < VSCSI_REQ_LEN ? "request header is cut short"
							: "no room for a response header");
		vscsi_push(s, e, 0);
		return;
	}
	s->d.queues[e->q->index].requests++;
	*r = (struct vscsi_req){.s = s, .e = e};
	iovs_get(&e->out, 0, h, sizeof(h));
	iovs_skip(&e->out, sizeof(h));
	cut_front(&e->in, VSCSI_RESP_LEN, &r->head);
	r->cmd.tag = get_le64(h + REQ_ID);
	memcpy(r->cmd.cdb, h + REQ_CDB, VIRTIO_SCSI_CDB_LEN);
	r->cmd.out = e->out;
	r->cmd.in = e->in;
	r->cmd.replay = e->replay;
	r->cmd.ordered = h[REQ_ATTR] == ATTR_ORDERED;

	valid = vscsi_decode_lun(h + REQ_LUN, &lun);
	if (valid)
		r->t = lun.well_known ? first_target(s) : vscsi_target(s, lun.target);
	if (!r->t) {
		respond_early(r, VSCSI_BAD_TARGET);
		return;
	}
	if (e->out.len && e->in.len) { /* both directions need the INOUT feature */
		respond_early(r, VSCSI_FAILURE);
		return;
	}
	if ((lun.lun || lun.well_known) && answer_absent(r, lun.well_known))
		return;
	r->cmd.nexus = r->t->nexus;
	r->t->in_flight++;
	co_start(s->d.o.loop, run_request, r);
}
