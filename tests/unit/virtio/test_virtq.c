/* Rings from both sides: every feature that changes a ring, in every combination, against the
 * test's driver. */
#include "ring_fixture.h"

#include <string.h>

static uint64_t rings[] = {
	0,
	VIRTIO_F_EVENT_IDX,
	VIRTIO_F_INDIRECT_DESC,
	VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC,
	VIRTIO_F_RING_PACKED,
	VIRTIO_F_RING_PACKED | VIRTIO_F_EVENT_IDX,
	VIRTIO_F_RING_PACKED | VIRTIO_F_INDIRECT_DESC,
	VIRTIO_F_RING_PACKED | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC,
};

static void on_every_ring(void (*fn)(void *arg))
{
	for (unsigned i = 0; i < sizeof(rings) / sizeof(rings[0]); i++) {
		run_in_loop(fn, &rings[i]);
		run_in_loop(fn, &rings[i]); /* nothing may be left over from the first */
	}
}

static void chains_arrive_whole_co(void *arg)
{
	uint64_t features = *(const uint64_t *)arg;
	bool indirect = features & VIRTIO_F_INDIRECT_DESC;
	struct ring_buf b[4] = {
		{GPA + BUF_OFF, 3, false},
		{GPA + BUF_OFF + 100, 0, false}, /* empty ones are allowed */
		{GPA + BUF_OFF + 200, 5, false},
		{GPA + BUF_OFF + 300, 7, true},
	};
	struct virtq_elem *e;
	struct fixture f;
	uint32_t written;
	int id;

	fixture_init(&f, features, false);
	memcpy(f.mem + BUF_OFF, "abc", 3);
	memcpy(f.mem + BUF_OFF + 200, "defgh", 5);
	id = ring_add(&f.ring, b, 4, indirect ? f.mem + RING_BYTES : NULL, GPA + RING_BYTES);
	assert_true(id >= 0);
	e = pop(&f);
	assert_int_equal(e->out.len, 8);
	assert_int_equal(e->out.n, 2);
	assert_memory_equal(e->out.v[1].iov_base, "defgh", 5);
	assert_int_equal(e->in.len, 7);
	assert_int_equal(e->in.n, 1);
	iovs_put(&e->in, 0, "result!", 7);
	assert_int_equal(virtq_pop(&f.q, &e), 0);
	virtq_push(e, 7);
	assert_int_equal(ring_take(&f.ring, &written), -1); /* not before the end of the turn */
	co_reschedule();
	assert_int_equal(ring_take(&f.ring, &written), id);
	assert_int_equal(written, 7);
	assert_memory_equal(f.mem + BUF_OFF + 300, "result!", 7);
	assert_int_equal(f.calls, 1);
	fixture_fini(&f);
}

static void chains_arrive_whole(void **state)
{
	(void)state;
	on_every_ring(chains_arrive_whole_co);
}

/* Many laps, completed out of order, with what the ring allows in flight. */
static void laps_co(void *arg)
{
	struct virtq_elem *out[NUM];
	uint8_t pending[NUM];
	struct fixture f;
	uint32_t written;
	uint8_t tag = 0;

	fixture_init(&f, *(const uint64_t *)arg, false);
	for (unsigned lap = 0; lap < 5000; lap++) {
		unsigned n = 1 + lap % (NUM / 2), seen = 0;

		for (unsigned i = 0; i < n; i++)
			assert_true(add_tagged(&f, tag++) >= 0);
		for (unsigned i = 0; i < n; i++) {
			out[i] = pop(&f);
			assert_int_equal(tag_of(out[i]), (uint8_t)(tag - n + i));
			pending[i] = 1;
		}
		for (unsigned i = 0; i < n; i++) {
			unsigned k = (i * 7 + lap) % n;

			while (!pending[k])
				k = (k + 1) % n;
			pending[k] = 0;
			virtq_push(out[k], k);
		}
		co_reschedule();
		while (ring_take(&f.ring, &written) >= 0)
			seen++;
		assert_int_equal(seen, n);
	}
	assert_int_equal(f.ring.n_free, NUM);
	fixture_fini(&f);
}

static void rings_go_round(void **state)
{
	(void)state;
	on_every_ring(laps_co);
}

static void notifications_co(void *arg)
{
	struct fixture f;
	uint32_t written;

	fixture_init(&f, *(const uint64_t *)arg, false);
	for (unsigned lap = 0; lap < 3 * NUM; lap++) {
		unsigned before = f.calls;

		/* one call for a batch */
		ring_want_call(&f.ring, true);
		add_tagged(&f, 1);
		add_tagged(&f, 2);
		virtq_push(pop(&f), 0);
		virtq_push(pop(&f), 0);
		co_reschedule();
		assert_int_equal(f.calls, before + 1);
		assert_true(ring_take(&f.ring, &written) >= 0);
		assert_true(ring_take(&f.ring, &written) >= 0);
		/* none if the driver wants none; with an event index: if it was passed before */
		if (!f.ring.event_idx || f.packed)
			ring_want_call(&f.ring, false);
		add_tagged(&f, 3);
		virtq_push(pop(&f), 0);
		co_reschedule();
		assert_int_equal(f.calls, before + 1);
		assert_true(ring_take(&f.ring, &written) >= 0);
	}
	fixture_fini(&f);
}

static void calls_come_when_wanted(void **state)
{
	(void)state;
	on_every_ring(notifications_co);
}

static void event_index_co(void *arg)
{
	struct fixture f;
	uint32_t written;

	fixture_init(&f, *(const uint64_t *)arg, false);
	for (unsigned lap = 0; f.ring.event_idx && lap < 5 * NUM + 1; lap++) {
		unsigned before = f.calls;

		ring_want_second_call(&f.ring, 2);
		add_tagged(&f, 1);
		add_tagged(&f, 2);
		virtq_push(pop(&f), 0);
		if (lap / NUM % 2 == 0) { /* else both in one batch */
			co_reschedule();
			assert_int_equal(f.calls, before);
		}
		virtq_push(pop(&f), 0);
		co_reschedule();
		assert_int_equal(f.calls, before + 1);
		assert_true(ring_take(&f.ring, &written) >= 0);
		assert_true(ring_take(&f.ring, &written) >= 0);
		/* and one chain alone, so that all places of the ring see both roles */
		ring_want_call(&f.ring, true);
		add_tagged(&f, 3);
		virtq_push(pop(&f), 0);
		co_reschedule();
		assert_int_equal(f.calls, before + 2);
		assert_true(ring_take(&f.ring, &written) >= 0);
	}
	fixture_fini(&f);
}

static void calls_come_at_the_event_index(void **state)
{
	(void)state;
	on_every_ring(event_index_co);
}

static void kicks_co(void *arg)
{
	struct virtq_elem *e;
	struct fixture f;
	uint32_t written;

	fixture_init(&f, *(const uint64_t *)arg, false);
	for (unsigned lap = 0; lap < 3 * NUM; lap++) {
		assert_false(virtq_listen(&f.q, true));
		add_tagged(&f, 1);
		assert_true(ring_must_kick(&f.ring));
		virtq_listen(&f.q, false);
		add_tagged(&f, 2);
		assert_false(ring_must_kick(&f.ring)); /* we are at it already */
		virtq_push(pop(&f), 0);
		assert_true(
			virtq_listen(&f.q, true)); /* one more is there: no kick will come for it */
		virtq_push(pop(&f), 0);
		assert_int_equal(virtq_pop(&f.q, &e), 0);
		co_reschedule();
		assert_true(ring_take(&f.ring, &written) >= 0);
		assert_true(ring_take(&f.ring, &written) >= 0);
	}
	fixture_fini(&f);
}

static void kicks_come_when_wanted(void **state)
{
	(void)state;
	on_every_ring(kicks_co);
}

/* A stopped ring goes on at its base, on both sides. */
static void stop_and_go_co(void *arg)
{
	struct virtq_elem *e;
	struct fixture f;
	uint32_t written, base;

	fixture_init(&f, *(const uint64_t *)arg, false);
	for (unsigned lap = 0; lap < 3 * NUM; lap++) {
		add_tagged(&f, (uint8_t)lap);
		add_tagged(&f, (uint8_t)(lap + 1));
		e = pop(&f);
		virtq_stop(&f.q);
		assert_int_equal(virtq_pop(&f.q, &e), 0);
		virtq_push(e, 0);
		co_reschedule();
		base = virtq_base(&f.q);
		virtq_release(&f.q);
		assert_int_equal(virtq_base(&f.q), base);
		stop_queue(&f);
		start_queue(&f, base, false);
		e = pop(&f);
		assert_int_equal(tag_of(e), (uint8_t)(lap + 1));
		virtq_push(e, 0);
		co_reschedule();
		assert_true(ring_take(&f.ring, &written) >= 0);
		assert_true(ring_take(&f.ring, &written) >= 0);
	}
	fixture_fini(&f);
}

static void a_ring_goes_on_at_its_base(void **state)
{
	(void)state;
	on_every_ring(stop_and_go_co);
}

static void discard_co(void *arg)
{
	struct fixture f;
	static uint8_t before[RING_BYTES]; /* too large for a stack */
	uint32_t written;

	fixture_init(&f, *(const uint64_t *)arg, false);
	add_tagged(&f, 1);
	add_tagged(&f, 2);
	virtq_push(pop(&f), 0);
	f.q.discard = true; /* also drops what was pushed in this turn */
	virtq_push(pop(&f), 0);
	memcpy(before, f.mem, RING_BYTES);
	co_reschedule();
	assert_memory_equal(before, f.mem, RING_BYTES);
	assert_int_equal(ring_take(&f.ring, &written), -1);
	assert_int_equal(f.calls, 0);
	fixture_fini(&f);
}

static void a_ring_given_up_is_not_written(void **state)
{
	(void)state;
	on_every_ring(discard_co);
}

static void remap_co(void *arg)
{
	struct gmem_region r = {GPA, MEM_LEN, UADDR, 0};
	struct gmem *none, *again;
	struct virtq_elem *e;
	struct fixture f;
	uint32_t written;

	fixture_init(&f, *(const uint64_t *)arg, false);
	add_tagged(&f, 1);
	add_tagged(&f, 2);
	e = pop(&f);
	none = gmem_remove(f.map, &r, NULL);
	assert_non_null(none);
	assert_false(virtq_remap(&f.q, none, NULL)); /* the ring itself would be gone */
	again = gmem_add(none, &r, f.fd, NULL);
	assert_non_null(again);
	assert_true(virtq_remap(&f.q, again, NULL));
	gmem_unref(f.map);
	f.map = again;
	gmem_unref(none);
	iovs_put(&e->in, 0, "old mapping", 11); /* still mapped for this one */
	virtq_push(e, 11);
	virtq_push(pop(&f), 0);
	co_reschedule();
	assert_true(ring_take(&f.ring, &written) >= 0);
	assert_int_equal(written, 11);
	assert_true(ring_take(&f.ring, &written) >= 0);
	assert_memory_equal(f.mem + BUF_OFF + 64 + 32, "old mapping", 11);
	fixture_fini(&f);
}

static void memory_changes_under_a_running_ring(void **state)
{
	(void)state;
	on_every_ring(remap_co);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(chains_arrive_whole),
		cmocka_unit_test(rings_go_round),
		cmocka_unit_test(calls_come_when_wanted),
		cmocka_unit_test(calls_come_at_the_event_index),
		cmocka_unit_test(kicks_come_when_wanted),
		cmocka_unit_test(a_ring_goes_on_at_its_base),
		cmocka_unit_test(a_ring_given_up_is_not_written),
		cmocka_unit_test(memory_changes_under_a_running_ring),
	};

	return RUN_LOOP_TESTS(tests);
}
