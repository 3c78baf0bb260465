/* Life of connections, rings and memory, as front ends lead it. */
#include "vu_test.h"

#include <sys/eventfd.h>

static const uint8_t hold[6] = {FAKE_HOLD};
static const uint8_t tur[6];

/* SeaBIOS starts the first request queue and nothing else. */
static void one_ring_is_enough(void **state)
{
	struct vu_server s = {.packed = true};
	struct vu_front f = {.n_queues = 4};

	(void)state;
	server_init(&s);
	server_start(&s);
	vu_init(&f);
	vu_connect(&f, s.path);
	vu_negotiate(&f);
	vu_share_memory(&f);
	for (unsigned i = 0; i < f.n_queues; i++)
		ring_init(&f.q[i].ring, f.mem + (size_t)i * RING_BYTES, f.num, false, false);
	vu_start_queue(&f, 2, 0);
	vu_enable(&f, true); /* all of them */
	vu_expect_alive(&f);
	vu_enable(&f, false);
	assert_int_equal(vu_stop_queue(&f, 2), 1);
	assert_int_equal(vu_stop_queue(&f, 0), 0); /* never started */
	assert_int_equal(vu_tell(&f, VU_RESET_DEVICE, NULL, 0, -1), 0);
	vu_fini(&f);
	server_stop(&s);
	server_fini(&s);
}

struct pair {
	struct vu_server s;
	struct vu_front f;
};

static void begin_with(struct pair *p, unsigned kind)
{
	memset(p, 0, sizeof(*p));
	p->s.packed = true;
	front_of_kind(&p->f, kind);
	p->f.n_queues = 4;
	server_init(&p->s);
	server_start(&p->s);
	vu_init(&p->f);
	vu_start(&p->f, p->s.path);
	vu_clear_attention(&p->f, 0);
}

static void end(struct pair *p)
{
	vu_fini(&p->f);
	server_stop(&p->s);
	server_fini(&p->s);
}

/* A paused guest: the ring is stopped only when its commands are done, and nothing is lost or seen
 * twice. */
static void a_stopped_ring_goes_on(void **state)
{
	(void)state;
	for (unsigned k = 0; k < RING_KINDS; k++) {
		struct vu_slot *a, *b;
		struct pair p;

		begin_with(&p, k);
		for (unsigned round = 0; round < 20; round++) {
			uint32_t base;

			a = vu_command(&p.f, 2, 0, tur, 6, 0, 0);
			vu_enable(&p.f, false);
			b = vu_command(&p.f, 2, 0, tur, 6, 0, 0);
			base = vu_stop_queue(&p.f, 2);
			usleep(1000);
			vu_poll(&p.f);
			assert_false(b->done && !a->done);
			vu_start_queue(&p.f, 2, base);
			vu_enable(&p.f, true);
			vu_wait(&p.f, a);
			vu_wait(&p.f, b);
			assert_int_equal(a->status | b->status, 0); /* no unit attention either */
			vu_free(a);
			vu_free(b);
		}
		end(&p);
	}
}

static void *release_soon(void *arg)
{
	struct fake_store *s = arg;

	usleep(50000);
	__atomic_store_n(&s->release, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

/* Stopping waits for commands and does not abort them. */
static void stopping_waits_for_commands(void **state)
{
	struct vu_slot *s;
	pthread_t thread;
	struct pair p;

	(void)state;
	begin_with(&p, 3);
	s = vu_command(&p.f, 2, 0, hold, 6, 0, 16);
	wait_number(&p.s.store[0]->holding, 1);
	assert_int_equal(pthread_create(&thread, NULL, release_soon, p.s.store[0]), 0);
	vu_stop_queue(&p.f, 2);
	vu_poll(&p.f);
	assert_true(s->done);
	assert_int_equal(s->response, 0);
	assert_memory_equal(s->data, "held", 4);
	pthread_join(thread, NULL);
	end(&p);
}

static void a_disabled_ring_pauses(void **state)
{
	struct vu_slot *s;
	struct pair p;

	(void)state;
	begin_with(&p, 3);
	vu_enable(&p.f, false);
	s = vu_command(&p.f, 3, 0, tur, 6, 0, 0);
	usleep(20000);
	vu_poll(&p.f);
	assert_false(s->done);
	vu_enable(&p.f, true);
	vu_wait(&p.f, s);
	end(&p);
}

/* After a device reset nothing is written to rings whose memory the guest may use otherwise. */
static void reset_drops_what_runs(void **state)
{
	static uint8_t before[VU_SPLIT];
	struct pair p;

	(void)state;
	begin_with(&p, 3);
	vu_command(&p.f, 2, 0, hold, 6, 0, 64);
	vu_command(&p.f, 3, 0, hold, 6, 0, 64);
	wait_number(&p.s.store[0]->holding, 2);
	memcpy(before, p.f.mem, (size_t)p.f.n_queues * RING_BYTES);
	assert_int_equal(vu_tell(&p.f, VU_RESET_DEVICE, NULL, 0, -1), 0);
	assert_int_equal(p.s.store[0]->holding, 0);
	assert_memory_equal(before, p.f.mem, (size_t)p.f.n_queues * RING_BYTES);
	/* the same connection serves the next driver, which finds a device after power on */
	for (unsigned i = 0; i < VU_SLOTS; i++)
		vu_free(&p.f.slot[i]);
	for (unsigned i = 0; i < p.f.n_queues; i++) {
		ring_fini(&p.f.q[i].ring);
		ring_init(&p.f.q[i].ring, p.f.mem + (size_t)i * RING_BYTES, 32, false, true);
		vu_start_queue(&p.f, i, 0);
	}
	vu_enable(&p.f, true);
	assert_int_equal(vu_run(&p.f, 0, tur, 6, 0, 0)->asc, 0x29);
	assert_int_equal(p.s.store[0]->resumed, 0);
	end(&p);
}

static void orderly_end(void *arg)
{
	struct pair *p = arg;

	vhost_user_free(p->s.v);
	p->s.v = NULL;
}

/* A daemon that ends lets commands finish, says so to the guest, and only then hangs up. */
static void the_end_is_orderly(void **state)
{
	struct vu_slot *s;
	struct pair p;

	(void)state;
	begin_with(&p, 7);
	s = vu_command(&p.f, 2, 0, hold, 6, 0, 16);
	wait_number(&p.s.store[0]->holding, 1);
	__atomic_store_n(&p.s.store[0]->release, 1, __ATOMIC_SEQ_CST);
	server_call(&p.s, orderly_end, &p);
	vu_poll(&p.f);
	assert_true(s->done);
	assert_memory_equal(s->data, "held", 4);
	assert_true(vu_is_closed(&p.f, 10000));
	assert_int_not_equal(access(p.s.path, F_OK), 0);
	end(&p);
}

/* Memory comes and goes while commands hold pieces of it. */
static void memory_slots_change_under_load(void **state)
{
	enum { EXTRA = 1 << 20 };
	const uint64_t gpa = 0x200000000, uaddr = 0x7f5500000000;
	struct pair p;
	int extra;

	(void)state;
	begin_with(&p, 3);
	extra = memfd_create("extra", MFD_CLOEXEC);
	assert_int_equal(ftruncate(extra, EXTRA), 0);
	for (unsigned round = 0; round < 30; round++) {
		struct vu_slot *held = vu_slot(&p.f, 2), *s;
		struct ring_buf b[3] = {
			{vu_gpa((uint64_t)(held->req - p.f.mem)), 51, false},
			{vu_gpa((uint64_t)(held->resp - p.f.mem)), 108, true},
			{gpa + 5000, 64, true},
		};
		char got[4];

		assert_int_equal(vu_add_region(&p.f, gpa, EXTRA, uaddr, 0, extra), 0);
		held->req[0] = 1;
		held->req[2] = 0x40;
		held->req[19] = FAKE_HOLD;
		__atomic_store_n(&p.s.store[0]->release, 0, __ATOMIC_SEQ_CST);
		vu_post(&p.f, held, b, 3);
		vu_kick(&p.f, 2);
		wait_number(&p.s.store[0]->holding, 1);
		assert_int_equal(vu_remove_region(&p.f, gpa, EXTRA, uaddr), 0);
		s = vu_run(&p.f, 0, tur, 6, 0, 0); /* rings work on */
		assert_int_equal(s->status, 0);
		vu_free(s);
		__atomic_store_n(&p.s.store[0]->release, 1, __ATOMIC_SEQ_CST);
		vu_wait(&p.f, held);
		assert_int_equal(pread(extra, got, 4, 5000), 4);
		assert_memory_equal(got, "held", 4); /* it kept the page that it had */
		assert_int_equal(pwrite(extra, "    ", 4, 5000), 4);
		vu_free(held);
	}
	assert_int_equal(vu_remove_region(&p.f, gpa, EXTRA, uaddr),
			 1); /* refused, the connection goes on */
	assert_int_equal(vu_add_region(&p.f, 0, EXTRA, uaddr, 0, extra), 1);
	assert_int_equal(vu_add_region(&p.f, gpa, EXTRA + 1, uaddr, 0, extra), 1);
	vu_expect_alive(&p.f);
	close(extra);
	end(&p);
}

static void the_whole_table_can_be_replaced(void **state)
{
	uint64_t table[1 + 2 * 4] = {
		2, 0, VU_SPLIT, VU_UADDR, 0, VU_GPA2, VU_MEM_LEN - VU_SPLIT, VU_UADDR2, VU_SPLIT};
	struct pair p;

	(void)state;
	begin_with(&p, 1);
	for (unsigned i = 0; i < 10; i++) {
		int fds[2] = {p.f.mem_fd, p.f.mem_fd};
		uint64_t answer;

		vu_send(&p.f, VU_SET_MEM_TABLE, VU_VERSION | VU_NEED_REPLY, table, sizeof(table),
			fds, 2);
		assert_int_equal(vu_receive(&p.f, VU_SET_MEM_TABLE, &answer, 8, NULL), 8);
		assert_int_equal(answer, 0);
		vu_expect_alive(&p.f);
	}
	end(&p);
}

/* 3.7: what completed before the descriptor was known is signalled on it. */
static void a_late_call_descriptor_is_signalled(void **state)
{
	struct pair p;
	int late;

	(void)state;
	begin_with(&p, 1);
	late = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	close(p.f.q[2].call);
	p.f.q[2].call = late;
	assert_int_equal(vu_tell_u64(&p.f, VU_SET_VRING_CALL, 2, late), 0);
	assert_true(vu_wait_call(&p.f, 2, 1000));
	vu_expect_alive(&p.f);
	assert_int_equal(vu_tell_u64(&p.f, VU_SET_VRING_CALL, 2 | VU_VRING_NOFD, -1),
			 0); /* none: polling */
	vu_run(&p.f, 0, tur, 6, 0, 0);
	end(&p);
}

static void each_front_end_is_its_own_initiator(void **state)
{
	struct vu_server s = {.packed = true, .max_clients = 3};
	struct vu_front f[4];
	struct vu_slot *held;

	(void)state;
	server_catch_log();
	server_init(&s);
	server_start(&s);
	for (unsigned i = 0; i < 3; i++) {
		front_of_kind(&f[i], i);
		vu_init(&f[i]);
		vu_start(&f[i], s.path);
		assert_int_equal(vu_run(&f[i], 0, tur, 6, 0, 0)->asc, 0x29);
	}
	front_of_kind(&f[3], 0);
	vu_init(&f[3]);
	vu_connect(&f[3], s.path);
	assert_true(vu_is_closed(&f[3], 10000));
	expect_log("refused, 3 front ends are connected");
	held = vu_command(&f[0], 2, 0, hold, 6, 0, 0);
	wait_number(&s.store[0]->holding, 1);
	assert_int_equal(vu_tmf(&f[1], 1, 0, 0), 0); /* ABORT TASK SET concerns its own commands */
	assert_false(held->done);
	for (unsigned i = 1; i < 3; i++)
		vu_expect_alive(&f[i]);
	/* one goes, in the middle of a command, and the next may come */
	vu_disconnect(&f[0]);
	vu_start(&f[3], s.path);
	vu_clear_attention(&f[3], 0);
	wait_number(&s.store[0]->holding, 0);
	for (unsigned i = 1; i < 4; i++)
		vu_expect_alive(&f[i]);
	for (unsigned i = 0; i < 4; i++)
		vu_fini(&f[i]);
	server_stop(&s);
	server_fini(&s);
}

static void many_connections_in_a_row(void **state)
{
	struct vu_server s = {.packed = true};

	(void)state;
	server_init(&s);
	server_start(&s);
	for (unsigned i = 0; i < 100; i++) {
		struct vu_front f;

		front_of_kind(&f, i % RING_KINDS);
		f.inflight = i & 1;
		vu_init(&f);
		vu_start(&f, s.path);
		vu_command(&f, 2, 0, i & 2 ? hold : tur, 6, 0, 0); /* and goes without waiting */
		vu_fini(&f);
	}
	server_stop(&s);
	server_fini(&s);
}

/* What generic front ends ask for, when it is offered. */
static void the_configuration_space(void **state)
{
	struct vu_server s = {.config = true};
	struct vu_front f = {0};
	uint32_t msg[3 + 64 / 4] = {0, 60, 0};

	(void)state;
	server_init(&s);
	server_start(&s);
	vu_init(&f);
	vu_connect(&f, s.path);
	vu_negotiate(&f);
	vu_send(&f, VU_GET_CONFIG, VU_VERSION, msg, 12 + 60, NULL, 0);
	assert_int_equal(vu_receive(&f, VU_GET_CONFIG, msg, sizeof(msg), NULL), 12 + 60);
	assert_int_equal(msg[1], 60);
	assert_int_equal(msg[3], 8); /* request queues */
	assert_int_equal(msg[3 + 5], 96);
	assert_int_equal(msg[3 + 6], 32);
	assert_int_equal(vu_tell(&f, VU_SET_CONFIG, (uint32_t[4]){20, 4, 0, 96}, 16, -1), 0);
	assert_int_equal(vu_tell(&f, VU_SET_CONFIG, (uint32_t[4]){20, 4, 0, 97}, 16, -1), 1);
	msg[0] = 250;
	vu_send(&f, VU_GET_CONFIG, VU_VERSION, msg, 12 + 60, NULL, 0);
	assert_int_equal(vu_receive(&f, VU_GET_CONFIG, msg, sizeof(msg), NULL), 0); /* an error */
	vu_fini(&f);
	server_stop(&s);
	server_fini(&s);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_ring_is_enough),
		cmocka_unit_test(a_stopped_ring_goes_on),
		cmocka_unit_test(stopping_waits_for_commands),
		cmocka_unit_test(a_disabled_ring_pauses),
		cmocka_unit_test(reset_drops_what_runs),
		cmocka_unit_test(the_end_is_orderly),
		cmocka_unit_test(memory_slots_change_under_load),
		cmocka_unit_test(the_whole_table_can_be_replaced),
		cmocka_unit_test(a_late_call_descriptor_is_signalled),
		cmocka_unit_test(each_front_end_is_its_own_initiator),
		cmocka_unit_test(many_connections_in_a_row),
		cmocka_unit_test(the_configuration_space),
	};

	return RUN_SERVER_TESTS(tests);
}
