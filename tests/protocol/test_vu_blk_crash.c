/*
 * A disk's server is killed at random moments under load and started again: no request is lost,
 * none comes back twice, and what was answered is there.
 */
#include "vu_disk.h"
#include "vu_test.h"

enum { KILLS = 25, MAX_OUT = 40, SECTOR = 512, LEN = 4 * SECTOR };

struct load {
	struct vu_front f;
	struct vu_server s;
	struct vu_slot *out[MAX_OUT];
	bool write[MAX_OUT];
	uint8_t now[MAX_OUT]; /* what the block of each is filled with, once it is answered */
	unsigned done;
};

static void post(struct load *l, unsigned i)
{
	struct vu_slot *s = vu_slot(&l->f, i % l->f.n_queues);

	l->out[i] = s;
	l->write[i] = rand() & 1;
	if (l->write[i])
		memset(s->data, l->now[i] = (uint8_t)rand(), LEN);
	vu_disk_post(&l->f, s, l->write[i] ? VU_BLK_OUT : VU_BLK_IN, (uint64_t)i * 8, LEN);
}

static void collect(struct load *l, bool more)
{
	vu_poll(&l->f);
	for (unsigned i = 0; i < MAX_OUT; i++) {
		struct vu_slot *s = l->out[i];

		if (s && !s->done)
			continue;
		if (s) {
			assert_int_equal(vu_disk_status(s), VU_BLK_OK);
			for (unsigned k = 0; !l->write[i] && k < LEN; k++)
				assert_int_equal(s->data[k], l->now[i]);
			l->done++;
			vu_free(s);
			l->out[i] = NULL;
		}
		if (more)
			post(l, i);
	}
}

static void run_for_us(struct load *l, unsigned us)
{
	uint64_t end = loop_now_ns() + us * 1000ull;

	do
		collect(l, true);
	while (loop_now_ns() < end);
}

static bool any_out(const struct load *l)
{
	for (unsigned i = 0; i < MAX_OUT; i++) {
		if (l->out[i])
			return true;
	}
	return false;
}

static void killed_and_started(unsigned kind)
{
	struct load *l = calloc(1, sizeof(*l));
	uint64_t end;

	l->s.packed = l->s.is_disk = true;
	front_of_kind(&l->f, kind);
	l->f.inflight = true;
	l->f.want = VU_BLK_WANT;
	l->f.n_queues = 2;
	server_init(&l->s);
	server_fork(&l->s);
	vu_init(&l->f);
	vu_start(&l->f, l->s.path);
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
	server_kill(&l->s);
	vu_fini(&l->f);
	server_fini(&l->s);
	free(l);
}

static void a_guest_survives_kills_on_split_rings(void **state)
{
	(void)state;
	for (unsigned k = 0; k < 4; k++)
		killed_and_started(k);
}

static void a_guest_survives_kills_on_packed_rings(void **state)
{
	(void)state;
	for (unsigned k = 4; k < RING_KINDS; k++)
		killed_and_started(k);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_guest_survives_kills_on_split_rings),
		cmocka_unit_test(a_guest_survives_kills_on_packed_rings),
	};

	srand(4712);
	return RUN_SERVER_TESTS(tests);
}
