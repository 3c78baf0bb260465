/*
 * The server is killed at random moments under load and started again: no request is lost, none
 * comes back twice, what may have been executed before is marked so, and the unit sees the same
 * initiator.
 */
#include "vu_test.h"

enum { KILLS = 40, MAX_OUT = 40, BLOCKS = 40 };

struct load {
	struct vu_front f;
	struct vu_server s;
	struct vu_slot *out[MAX_OUT];
	uint32_t number[MAX_OUT]; /* of an APPEND */
	bool write[MAX_OUT];
	uint32_t next;
	unsigned done;
	uint8_t copy[BLOCKS]; /* what each block is filled with */
};

static void post(struct load *l, unsigned i)
{
	struct vu_slot *s = vu_slot(&l->f, 2 + i % (l->f.n_queues - 2));
	static const uint8_t lun[8] = {1, 0, 0x40};
	uint8_t cdb[10] = {FAKE_APPEND};

	l->out[i] = s;
	l->number[i] = 0;
	if (i % 2) {
		l->write[i] = rand() & 1;
		put_rw(cdb, l->write[i], i, 1);
		if (l->write[i])
			memset(s->data, l->copy[i] = (uint8_t)rand(), FAKE_BLOCK);
		vu_command_in_slot(&l->f, s, lun, cdb, 10, l->write[i] ? FAKE_BLOCK : 0,
				   l->write[i] ? 0 : FAKE_BLOCK);
		return;
	}
	l->number[i] = ++l->next;
	put_be32(cdb + 2, l->number[i]);
	vu_command_in_slot(&l->f, s, lun, cdb, 10, 100, 0);
}

static void collect(struct load *l, bool more)
{
	vu_poll(&l->f);
	for (unsigned i = 0; i < MAX_OUT; i++) {
		struct vu_slot *s = l->out[i];

		if (!s) {
			if (more)
				post(l, i);
			continue;
		}
		if (!s->done)
			continue;
		if (s->response || s->status)
			fail_msg("request failed: response %u status %u %x/%02x/%02x", s->response,
				 s->status, s->key, s->asc, s->ascq);
		if (l->number[i])
			assert_true(l->s.store[0]->executed[l->number[i]] >= 1);
		for (unsigned k = 0; !l->number[i] && k < FAKE_BLOCK; k++)
			assert_int_equal(s->data[k], l->copy[i]);
		l->done++;
		vu_free(s);
		l->out[i] = NULL;
		if (more)
			post(l, i);
	}
}

static void run_for_us(struct load *l, unsigned us)
{
	uint64_t end = loop_now_ns() + us * 1000ull;

	do
		collect(l, true);
	while (loop_now_ns() < end && l->next < FAKE_APPENDS_MAX - MAX_OUT);
}

static bool any_out(const struct load *l)
{
	for (unsigned i = 0; i < MAX_OUT; i++) {
		if (l->out[i])
			return true;
	}
	return false;
}

static void killed_and_started(unsigned kind, bool inflight)
{
	struct load *l = calloc(1, sizeof(*l));
	uint64_t end;

	l->s.packed = true;
	front_of_kind(&l->f, kind);
	l->f.inflight = inflight;
	l->f.n_queues = 5;
	server_init(&l->s);
	server_fork(&l->s);
	vu_init(&l->f);
	vu_start(&l->f, l->s.path);
	vu_clear_attention(&l->f, 0);
	for (unsigned i = 0; i < KILLS; i++) {
		run_for_us(l, 500 + (unsigned)rand() % 3000);
		server_kill(&l->s);
		run_for_us(l, 100); /* the guest goes on posting */
		server_fork(&l->s);
		vu_resume(&l->f, l->s.path);
	}
	for (end = loop_now_ns() + 30000000000ull; any_out(l); collect(l, false)) {
		if (loop_now_ns() > end)
			fail_msg("ring kind %u: requests were lost", kind);
	}
	assert_true(l->done > KILLS);
	for (uint32_t n = 1; n <= l->next; n++)
		assert_true(l->s.store[0]->executed[n] >= 1);
	assert_int_equal(l->s.store[0]->strays, 0);
	assert_int_equal(l->s.store[0]->power_on, 1);
	assert_int_equal(l->s.store[0]->resumed, KILLS);
	if (inflight)
		assert_true(l->s.store[0]->replays > 0);
	server_kill(&l->s);
	vu_fini(&l->f);
	server_fini(&l->s);
	free(l);
}

static void a_guest_survives_kills_on_split_rings(void **state)
{
	(void)state;
	killed_and_started(0, true);
	killed_and_started(1, true);
	killed_and_started(3, true);
}

static void a_guest_survives_kills_on_packed_rings(void **state)
{
	(void)state;
	killed_and_started(4, true);
	killed_and_started(5, true);
	killed_and_started(7, true);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_guest_survives_kills_on_split_rings),
		cmocka_unit_test(a_guest_survives_kills_on_packed_rings),
	};

	srand(4711);
	return RUN_SERVER_TESTS(tests);
}
