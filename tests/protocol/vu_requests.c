/* The virtio-scsi driver of the test front end: see vu_front.h. */
#include "vu_front.h"
#include "fake_unit.h"
#include "base/bytes.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { REQ_LEN = 51, RESP_LEN = 108, RESP_OFF = 256, TABLE_OFF = 1024, WAIT_S = 30 };

static uint64_t offset_of(const struct vu_front *f, const uint8_t *p)
{
	return (uint64_t)(p - f->mem);
}

struct vu_slot *vu_slot(struct vu_front *f, unsigned queue)
{
	for (unsigned i = 0; i < VU_SLOTS; i++) {
		struct vu_slot *s = &f->slot[i];
		uint8_t *base = f->mem + VU_SLOTS_OFF + (size_t)i * VU_SLOT_LEN;

		if (s->busy)
			continue;
		memset(base, 0, TABLE_OFF);
		*s = (struct vu_slot){
			.busy = true,
			.queue = queue,
			.req = base,
			.resp = base + RESP_OFF,
			.table = base + TABLE_OFF,
			.data = base + VU_DATA_OFF,
		};
		memset(s->resp, 0xee, RESP_LEN);
		return s;
	}
	fprintf(stderr, "no slot left\n");
	abort();
}

void vu_free(struct vu_slot *s)
{
	s->busy = false;
}

void vu_post(struct vu_front *f, struct vu_slot *s, const struct ring_buf *b, unsigned n)
{
	struct vu_queue *q = &f->q[s->queue];
	int id;

	fake_sync();
	id = ring_add(&q->ring, b, n, f->indirect ? s->table : NULL,
		      vu_gpa(offset_of(f, s->table)));
	if (id < 0) {
		fprintf(stderr, "ring %u is full\n", s->queue);
		abort();
	}
	q->slot_of[id] = (int)(s - f->slot);
}

void vu_kick(struct vu_front *f, unsigned queue)
{
	uint64_t one = 1;

	if (f->hold_kicks)
		return;
	if (ring_must_kick(&f->q[queue].ring) && write(f->q[queue].kick, &one, 8) != 8)
		abort();
}

void vu_command_in_slot(struct vu_front *f, struct vu_slot *s, const uint8_t lun[8],
			const void *cdb, unsigned cdb_len, size_t out_len, size_t in_len)
{
	struct ring_buf b[4];
	unsigned n = 0;

	memcpy(s->req, lun, 8);
	put_le64(s->req + 8, ++f->next_tag);
	memcpy(s->req + 19, cdb, cdb_len);
	s->out_len = out_len;
	s->in_len = in_len;
	b[n++] = (struct ring_buf){vu_gpa(offset_of(f, s->req)), REQ_LEN, false};
	if (out_len)
		b[n++] = (struct ring_buf){vu_gpa(offset_of(f, s->data)), (uint32_t)out_len, false};
	b[n++] = (struct ring_buf){vu_gpa(offset_of(f, s->resp)), RESP_LEN, true};
	if (in_len)
		b[n++] = (struct ring_buf){vu_gpa(offset_of(f, s->data)), (uint32_t)in_len, true};
	vu_post(f, s, b, n);
	vu_kick(f, s->queue);
}

struct vu_slot *vu_command(struct vu_front *f, unsigned queue, unsigned target, const void *cdb,
			   unsigned cdb_len, size_t out_len, size_t in_len)
{
	uint8_t lun[8] = {1, (uint8_t)target, 0x40};
	struct vu_slot *s = vu_slot(f, queue);

	vu_command_in_slot(f, s, lun, cdb, cdb_len, out_len, in_len);
	return s;
}

static void finish(struct vu_slot *s)
{
	fake_sync();
	s->done = true;
	s->sense_len = get_le32(s->resp);
	s->residual = get_le32(s->resp + 4);
	s->status = s->resp[10];
	s->response = s->resp[11];
	s->key = s->resp[12 + 2] & 15;
	s->asc = s->resp[12 + 12];
	s->ascq = s->resp[12 + 13];
}

void vu_poll(struct vu_front *f)
{
	for (unsigned i = 0; i < f->n_queues; i++) {
		struct vu_queue *q = &f->q[i];
		uint32_t written;
		uint64_t count;
		int id;

		if (read(q->call, &count, 8) == 8)
			q->calls += (unsigned)count;
		while ((id = ring_take(&q->ring, &written)) >= 0) {
			struct vu_slot *s = &f->slot[q->slot_of[id]];

			if (s->done) {
				fprintf(stderr, "queue %u: chain %d came back twice\n", i, id);
				abort();
			}
			s->written = written;
			finish(s);
		}
		if (id == -2) {
			fprintf(stderr, "queue %u: a chain came back that is not out\n", i);
			abort();
		}
		ring_want_call(&q->ring, true);
	}
}

void vu_wait(struct vu_front *f, struct vu_slot *s)
{
	time_t end = time(NULL) + WAIT_S;

	for (vu_poll(f); !s->done; vu_poll(f)) {
		struct pollfd p[VU_QUEUES_MAX];

		for (unsigned i = 0; i < f->n_queues; i++)
			p[i] = (struct pollfd){.fd = f->q[i].call, .events = POLLIN};
		vu_poll(f); /* what came before notifications were asked for */
		if (s->done)
			return;
		if (poll(p, f->n_queues, 1000) == 0 && time(NULL) > end) {
			fprintf(stderr, "queue %u: request does not come back\n", s->queue);
			abort();
		}
	}
}

bool vu_wait_call(struct vu_front *f, unsigned queue, int ms)
{
	struct pollfd p = {.fd = f->q[queue].call, .events = POLLIN};

	return poll(&p, 1, ms) > 0;
}

struct vu_slot *vu_run(struct vu_front *f, unsigned target, const void *cdb, unsigned cdb_len,
		       size_t out_len, size_t in_len)
{
	struct vu_slot *s =
		vu_command(f, VIRTIO_SCSI_REQUESTQ, target, cdb, cdb_len, out_len, in_len);

	vu_wait(f, s);
	return s;
}

void vu_clear_attention(struct vu_front *f, unsigned target)
{
	static const uint8_t tur[6];
	struct vu_slot *s;
	unsigned status, tries = 0;

	do {
		s = vu_run(f, target, tur, sizeof(tur), 0, 0);
		status = s->status;
		vu_free(s);
	} while (status && ++tries < 10);
	if (status) {
		fprintf(stderr, "target %u is not ready\n", target);
		abort();
	}
}

void vu_expect_alive(struct vu_front *f)
{
	static const uint8_t inquiry[6] = {0x12, 0, 0, 0, 36};
	struct vu_slot *s = vu_run(f, 0, inquiry, sizeof(inquiry), 0, 36);

	if (s->response || s->status || memcmp(s->data + 8, "OUTBOARD", 8) != 0) {
		fprintf(stderr, "INQUIRY: response %u, status %u\n", s->response, s->status);
		abort();
	}
	vu_free(s);
}

struct vu_slot *vu_post_tmf(struct vu_front *f, uint32_t subtype, const uint8_t lun[8],
			    uint64_t tag)
{
	struct vu_slot *s = vu_slot(f, VIRTIO_SCSI_CONTROLQ);
	struct ring_buf b[2] = {
		{vu_gpa(offset_of(f, s->req)), 24, false},
		{vu_gpa(offset_of(f, s->resp)), 1, true},
	};

	put_le32(s->req + 4, subtype);
	memcpy(s->req + 8, lun, 8);
	put_le64(s->req + 16, tag);
	vu_post(f, s, b, 2);
	vu_kick(f, VIRTIO_SCSI_CONTROLQ);
	return s;
}

unsigned vu_tmf(struct vu_front *f, uint32_t subtype, unsigned target, uint64_t tag)
{
	uint8_t lun[8] = {1, (uint8_t)target, 0x40};
	struct vu_slot *s = vu_post_tmf(f, subtype, lun, tag);

	vu_wait(f, s);
	vu_free(s);
	return s->resp[0];
}

struct vu_slot *vu_post_event_buffer(struct vu_front *f)
{
	struct vu_slot *s = vu_slot(f, VIRTIO_SCSI_EVENTQ);
	struct ring_buf b = {vu_gpa(offset_of(f, s->resp)), 16, true};

	vu_post(f, s, &b, 1);
	vu_kick(f, VIRTIO_SCSI_EVENTQ);
	return s;
}
