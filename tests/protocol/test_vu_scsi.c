/* Commands through a vhost-user connection, on every kind of ring. */
#include "vu_test.h"

static const uint8_t inquiry[6] = {0x12, 0, 0, 0, 36};
static const uint8_t tur[6];

static void with_every_ring(void (*fn)(struct vu_front *f, struct vu_server *s), unsigned n_queues,
			    unsigned n_units)
{
	struct vu_server s = {.packed = true, .n_units = n_units};

	server_init(&s);
	server_start(&s);
	for (unsigned k = 0; k < RING_KINDS; k++) {
		for (unsigned inflight = 0; inflight < 2; inflight++) {
			struct vu_front f;

			front_of_kind(&f, k);
			f.inflight = inflight;
			f.n_queues = n_queues;
			vu_init(&f);
			vu_start(&f, s.path);
			fn(&f, &s);
			vu_fini(&f);
		}
	}
	server_stop(&s);
	server_fini(&s);
}

static void basics(struct vu_front *f, struct vu_server *server)
{
	struct vu_slot *s;
	uint8_t cdb[10];

	(void)server;
	vu_expect_alive(f);
	s = vu_run(f, 0, tur, 6, 0, 0); /* power on, once */
	assert_int_equal(s->status, SCSI_CHECK);
	assert_int_equal(s->response, 0);
	assert_int_equal(s->sense_len, 18);
	assert_int_equal(s->key, 6);
	assert_int_equal(s->asc, 0x29);
	assert_int_equal(s->written, 108);
	vu_free(s);
	s = vu_run(f, 0, tur, 6, 0, 0);
	assert_int_equal(s->status, SCSI_GOOD);
	assert_int_equal(s->sense_len, 0);
	vu_free(s);
	/* a reply shorter than the room: residual, and only that much is said to be written */
	s = vu_run(f, 0, inquiry, 6, 0, 100);
	assert_int_equal(s->residual, 64);
	assert_int_equal(s->written, 108 + 36);
	assert_memory_equal(s->data + 16, "unit0", 5);
	vu_free(s);
	/* data out that is not taken */
	put_rw(cdb, true, 10, 1);
	s = vu_run(f, 0, cdb, 10, 1024, 0);
	assert_int_equal(s->status, SCSI_GOOD);
	assert_int_equal(s->residual, 512);
	vu_free(s);
	/* an error with its sense */
	put_rw(cdb, false, FAKE_BLOCKS, 1);
	s = vu_run(f, 0, cdb, 10, 0, 512);
	assert_int_equal(s->status, SCSI_CHECK);
	assert_int_equal(s->key, 5);
	assert_int_equal(s->asc, 0x21);
	assert_int_equal(s->residual, 512);
	vu_free(s);
	/* both directions at once were not negotiated */
	s = vu_run(f, 0, tur, 6, 100, 100);
	assert_int_equal(s->response, 9);
	vu_free(s);
}

static void commands_and_their_answers(void **state)
{
	(void)state;
	with_every_ring(basics, 3, 1);
}

static void addresses(struct vu_front *f, struct vu_server *server)
{
	static const struct {
		uint8_t lun[8];
		uint8_t opcode;
		unsigned response, status, key, asc;
		int first; /* byte of the data, -1: do not care */
	} cases[] = {
		{{1, 0, 0x40}, 0x12, 0, 0, 0, 0, 5},
		{{1, 0, 0}, 0x12, 0, 0, 0, 0, 5}, /* single-level LUN 0 */
		{{1, 1, 0x40}, 0x12, 0, 0, 0, 0, 5},
		{{1, 2, 0x40}, 0x12, 3, 0, 0, 0, -1}, /* no such target */
		{{1, 255, 0x40}, 0x12, 3, 0, 0, 0, -1},
		{{1, 0, 0x40, 1}, 0x12, 0, 0, 0, 0, 0x7f}, /* no such LUN */
		{{1, 0, 0, 1}, 0x12, 0, 0, 0, 0, 0x7f},
		{{1, 0, 0x7f, 0xff}, 0x00, 0, 2, 5, 0x25, -1},
		{{1, 0, 0x40, 1}, 0x03, 0, 0, 0, 0, 0x70},
		{{1, 0, 0x40, 1}, 0x28, 0, 2, 5, 0x25, -1},
		{{0xc1, 1}, 0xa0, 0, 0, 0, 0, -1}, /* REPORT LUNS, well known */
		{{0xc1, 1}, 0x12, 0, 0, 0, 0, 0x1e},
		{{0xc1, 1}, 0x28, 0, 2, 5, 0x20, -1},
		{{0xc1, 2}, 0x12, 3, 0, 0, 0, -1},
		{{0, 0, 0x40}, 0x12, 3, 0, 0, 0, -1},
		{{1, 0, 0x80}, 0x12, 3, 0, 0, 0, -1}, /* other addressing methods */
		{{1, 0, 0xc0}, 0x12, 3, 0, 0, 0, -1},
		{{1, 0, 0x40, 0, 1}, 0x12, 3, 0, 0, 0, -1}, /* a second level */
	};

	(void)server;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t cdb[12] = {cases[i].opcode, 0, 0, 0, 36};
		struct vu_slot *s = vu_slot(f, 2);

		if (cases[i].opcode == 0xa0)
			put_be32(cdb + 6, 64);
		memset(s->data, 0xaa, 64);
		vu_command_in_slot(f, s, cases[i].lun, cdb, 12, 0, 64);
		vu_wait(f, s);
		if (s->response != cases[i].response || s->status != cases[i].status ||
		    (s->status && (s->key != cases[i].key || s->asc != cases[i].asc)) ||
		    (cases[i].first >= 0 && s->data[0] != cases[i].first))
			fail_msg("case %u: response %u status %u key %x asc %02x first byte %02x",
				 i, s->response, s->status, s->key, s->asc, s->data[0]);
		if (cases[i].opcode == 0xa0)
			assert_int_equal(get_be32(s->data), 8); /* one LUN */
		vu_free(s);
	}
}

static void targets_and_luns(void **state)
{
	(void)state;
	with_every_ring(addresses, 3, 2);
}

/* Any cut of header, data and response into descriptors is allowed. */
static void layouts(struct vu_front *f, struct vu_server *server)
{
	static const unsigned cuts[] = {1, 3, 50, 51, 52, 107, 108, 109, 200};
	uint64_t req, resp;
	uint8_t cdb[10];

	vu_clear_attention(f, 0);
	for (unsigned i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
		struct vu_slot *s = vu_slot(f, 2);
		struct ring_buf b[64];
		unsigned n = 0;

		/* header and data out in one stretch, cut into equal pieces */
		req = vu_gpa((uint64_t)(s->data - f->mem));
		memset(s->data, 0, 19);
		s->data[0] = 1;
		s->data[2] = 0x40;
		put_rw(cdb, true, i, 1);
		memset(s->data + 19, 0, 32);
		memcpy(s->data + 19, cdb, 10);
		for (unsigned k = 0; k < 512; k++)
			s->data[51 + k] = (uint8_t)(k * 3 + i);
		for (unsigned at = 0; at < 51 + 512;) {
			unsigned len =
				MIN(MAX(cuts[i], 51 + 512 > 40 * cuts[i] ? 15 : 1), 51 + 512 - at);

			b[n++] = (struct ring_buf){req + at, len, false};
			at += len;
		}
		b[n++] = (struct ring_buf){vu_gpa((uint64_t)(s->resp - f->mem)), 108, true};
		vu_post(f, s, b, n);
		vu_kick(f, 2);
		vu_wait(f, s);
		assert_int_equal(s->status | s->response, 0);
		assert_memory_equal(server->store[0]->data + i * FAKE_BLOCK, s->data + 51, 512);
		vu_free(s);

		/* response and data in the same way */
		s = vu_slot(f, 2);
		s->req[0] = 1;
		s->req[2] = 0x40;
		put_rw(cdb, false, i, 1);
		memcpy(s->req + 19, cdb, 10);
		resp = vu_gpa((uint64_t)(s->data - f->mem));
		n = 0;
		b[n++] = (struct ring_buf){vu_gpa((uint64_t)(s->req - f->mem)), 51, false};
		for (unsigned at = 0; at < 108 + 512;) {
			unsigned len = MIN(MAX(cuts[i], 108 + 512 > 40 * cuts[i] ? 16 : 1),
					   108 + 512 - at);

			b[n++] = (struct ring_buf){resp + at, len, true};
			at += len;
		}
		vu_post(f, s, b, n);
		vu_kick(f, 2);
		vu_wait(f, s);
		assert_int_equal(s->data[10], 0);
		assert_int_equal(s->data[11], 0);
		assert_memory_equal(server->store[0]->data + i * FAKE_BLOCK, s->data + 108, 512);
		vu_free(s);
	}
}

static void requests_may_be_cut_anywhere(void **state)
{
	(void)state;
	with_every_ring(layouts, 3, 1);
}

/* Random reads and writes on several queues, checked against a copy. */
static void traffic(struct vu_front *f, struct vu_server *server)
{
	enum { ROUNDS = 300, BLOCKS = 64 };
	static uint8_t copy[BLOCKS][FAKE_BLOCK];
	struct vu_slot *out[48];
	unsigned lba_of[48], n;
	uint8_t cdb[10];

	vu_clear_attention(f, 0);
	memcpy(copy, server->store[0]->data, sizeof(copy));
	for (unsigned round = 0; round < ROUNDS; round++) {
		n = 1 + (unsigned)rand() % 48;
		for (unsigned i = 0; i < n; i++) {
			struct vu_slot *s = vu_slot(f, 2 + (unsigned)rand() % (f->n_queues - 2));
			bool write = rand() & 1;
			/* each request in a block of its own: the order is not ours to know */
			unsigned lba = lba_of[i] = i;

			put_rw(cdb, write, lba, 1);
			if (write) {
				memset(s->data, rand(), FAKE_BLOCK);
				memcpy(copy[lba], s->data, FAKE_BLOCK);
			}
			vu_command_in_slot(f, s, (uint8_t[8]){1, 0, 0x40}, cdb, 10,
					   write ? FAKE_BLOCK : 0, write ? 0 : FAKE_BLOCK);
			out[i] = s;
		}
		for (unsigned i = 0; i < n; i++) {
			vu_wait(f, out[i]);
			assert_int_equal(out[i]->response | out[i]->status, 0);
			assert_memory_equal(out[i]->data, copy[lba_of[i]], FAKE_BLOCK);
			vu_free(out[i]);
		}
	}
}

static void data_goes_through_several_queues(void **state)
{
	(void)state;
	with_every_ring(traffic, 6, 1);
}

/* A buffer that lies across two regions of memory, and one of all the room there is. */
static void large(struct vu_front *f, struct vu_server *server)
{
	enum { BLOCKS = 2048, LEN = BLOCKS * FAKE_BLOCK };
	uint64_t off = VU_SPLIT - LEN / 2;
	struct vu_slot *s = vu_slot(f, 2);
	uint8_t *buf = f->mem + off, cdb[10];
	struct ring_buf b[4];

	vu_free(s);
	vu_clear_attention(f, 0);
	for (unsigned pass = 0; pass < 2; pass++) {
		bool write = pass == 0;
		unsigned n = 0;

		s = vu_slot(f, 2);
		for (unsigned i = 0; i < LEN; i++)
			buf[i] = write ? (uint8_t)(i * 7 + i / 512) : 0;
		put_rw(cdb, write, 1024, BLOCKS);
		s->req[0] = 1;
		s->req[2] = 0x40;
		memcpy(s->req + 19, cdb, 10);
		b[n++] = (struct ring_buf){vu_gpa((uint64_t)(s->req - f->mem)), 51, false};
		if (!write)
			b[n++] = (struct ring_buf){vu_gpa((uint64_t)(s->resp - f->mem)), 108, true};
		/* guest memory has a hole between the regions: one descriptor each */
		b[n++] = (struct ring_buf){vu_gpa(off), LEN / 2, !write};
		b[n++] = (struct ring_buf){vu_gpa(VU_SPLIT), LEN / 2, !write};
		if (write)
			b[n++] = (struct ring_buf){vu_gpa((uint64_t)(s->resp - f->mem)), 108, true};
		vu_post(f, s, b, n);
		vu_kick(f, 2);
		vu_wait(f, s);
		assert_int_equal(s->status | s->response, 0);
		assert_int_equal(s->residual, 0);
		assert_memory_equal(server->store[0]->data + 1024 * FAKE_BLOCK, buf, LEN);
		vu_free(s);
	}
}

static void large_requests(void **state)
{
	(void)state;
	with_every_ring(large, 3, 1);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands_and_their_answers),
		cmocka_unit_test(targets_and_luns),
		cmocka_unit_test(requests_may_be_cut_anywhere),
		cmocka_unit_test(data_goes_through_several_queues),
		cmocka_unit_test(large_requests),
	};

	return RUN_SERVER_TESTS(tests);
}
