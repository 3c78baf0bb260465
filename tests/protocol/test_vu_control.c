/* Task management, asynchronous notification and the event queue. */
#include "vu_test.h"

enum {
	TMF_ABORT_TASK,
	TMF_ABORT_SET,
	TMF_CLEAR_ACA,
	TMF_CLEAR_SET,
	TMF_NEXUS_RESET,
	TMF_LU_RESET,
	TMF_QUERY_TASK,
	TMF_QUERY_SET
};
enum {
	OK = 0,
	ABORTED = 2,
	BAD_TARGET = 3,
	RESET = 4,
	FAILURE = 9,
	SUCCEEDED = 10,
	REJECTED = 11,
	BAD_LUN = 12
};

static const uint8_t hold[6] = {FAKE_HOLD};
static const uint8_t tur[6];

struct pair {
	struct vu_server s;
	struct vu_front f;
};

static void begin(struct pair *p, unsigned n_units)
{
	memset(p, 0, sizeof(*p));
	p->s.packed = true;
	p->s.n_units = n_units;
	p->f.event_idx = p->f.indirect = p->f.inflight = true;
	p->f.n_queues = 4;
	server_init(&p->s);
	server_start(&p->s);
	vu_init(&p->f);
	vu_start(&p->f, p->s.path);
	for (unsigned i = 0; i < p->s.n_units; i++)
		vu_clear_attention(&p->f, i);
}

static void end(struct pair *p)
{
	vu_fini(&p->f);
	server_stop(&p->s);
	server_fini(&p->s);
}

static void one_task_is_aborted(void **state)
{
	struct vu_slot *a, *b;
	uint64_t tag_a;
	struct pair p;

	(void)state;
	begin(&p, 1);
	a = vu_command(&p.f, 2, 0, hold, 6, 0, 0);
	tag_a = p.f.next_tag;
	b = vu_command(&p.f, 3, 0, hold, 6, 0, 16);
	wait_number(&p.s.store[0]->holding, 2);
	assert_int_equal(vu_tmf(&p.f, TMF_QUERY_TASK, 0, tag_a), SUCCEEDED);
	assert_int_equal(vu_tmf(&p.f, TMF_QUERY_TASK, 0, 4711), OK);
	assert_int_equal(vu_tmf(&p.f, TMF_QUERY_SET, 0, 0), SUCCEEDED);
	assert_int_equal(vu_tmf(&p.f, TMF_ABORT_TASK, 0, 4711), OK);
	assert_int_equal(vu_tmf(&p.f, TMF_ABORT_TASK, 0, tag_a), OK);
	vu_poll(&p.f);
	assert_true(a->done); /* before the answer to the function */
	assert_int_equal(a->response, ABORTED);
	assert_int_equal(vu_tmf(&p.f, TMF_QUERY_TASK, 0, tag_a), OK);
	assert_false(b->done);
	__atomic_store_n(&p.s.store[0]->release, 1, __ATOMIC_SEQ_CST);
	vu_wait(&p.f, b);
	assert_int_equal(b->response, OK);
	assert_memory_equal(b->data, "held", 4);
	assert_int_equal(vu_tmf(&p.f, TMF_QUERY_SET, 0, 0), OK);
	end(&p);
}

/* Ends all commands of a target by a function; what they answer, and that another target goes on.
 */
static void ends_all(unsigned subtype, unsigned response, unsigned resets, bool attention)
{
	struct vu_slot *mine[5], *other, *s;
	struct pair p;

	begin(&p, 2);
	other = vu_command(&p.f, 2, 1, hold, 6, 0, 0);
	for (unsigned i = 0; i < 5; i++)
		mine[i] = vu_command(&p.f, 2 + i % 2, 0, hold, 6, 0, 0);
	wait_number(&p.s.store[1]->holding, 1);
	/* commands that were made available but not looked at yet are concerned too: no waiting
	 * here */
	assert_int_equal(vu_tmf(&p.f, subtype, 0, 0), OK);
	vu_poll(&p.f);
	for (unsigned i = 0; i < 5; i++) {
		assert_true(mine[i]->done);
		assert_int_equal(mine[i]->response, response);
	}
	assert_false(other->done);
	assert_int_equal(p.s.store[0]->resets, resets);
	s = vu_run(&p.f, 0, tur, 6, 0, 0);
	assert_int_equal(s->status, attention ? SCSI_CHECK : SCSI_GOOD);
	if (attention)
		assert_int_equal(s->asc, 0x29);
	__atomic_store_n(&p.s.store[1]->release, 1, __ATOMIC_SEQ_CST);
	vu_wait(&p.f, other);
	assert_int_equal(other->response, OK);
	end(&p);
}

static void task_sets_are_aborted(void **state)
{
	(void)state;
	ends_all(TMF_ABORT_SET, ABORTED, 0, false);
	ends_all(TMF_CLEAR_SET, ABORTED, 0, false);
}

/* A function concerns what was made available before it, also when the device has not seen it yet.
 */
static void unseen_commands_are_aborted_too(void **state)
{
	struct vu_slot *s;
	struct pair p;

	(void)state;
	begin(&p, 1);
	p.f.hold_kicks = true;
	s = vu_command(&p.f, 3, 0, hold, 6, 0, 0);
	p.f.hold_kicks = false;
	assert_int_equal(vu_tmf(&p.f, TMF_ABORT_SET, 0, 0), OK);
	vu_poll(&p.f);
	assert_true(s->done);
	assert_int_equal(s->response, ABORTED);
	end(&p);
}

static void resets_end_everything(void **state)
{
	(void)state;
	ends_all(TMF_LU_RESET, RESET, 1, true);
	ends_all(TMF_NEXUS_RESET, RESET, 0, true);
}

static struct vu_slot *control(struct vu_front *f, const void *req, unsigned req_len,
			       unsigned resp_len)
{
	struct vu_slot *s = vu_slot(f, VIRTIO_SCSI_CONTROLQ);
	struct ring_buf b[2] = {
		{vu_gpa((uint64_t)(s->req - f->mem)), req_len, false},
		{vu_gpa((uint64_t)(s->resp - f->mem)), resp_len, true},
	};

	memcpy(s->req, req, req_len);
	vu_post(f, s, b, 2);
	vu_kick(f, VIRTIO_SCSI_CONTROLQ);
	vu_wait(f, s);
	vu_free(s);
	return s;
}

static void wrong_functions_are_answered(void **state)
{
	static const struct {
		uint8_t lun[8];
		uint32_t subtype;
		unsigned answer;
	} cases[] = {
		{{1, 7, 0x40}, TMF_ABORT_TASK, BAD_TARGET},
		{{2, 0, 0x40}, TMF_ABORT_TASK, BAD_TARGET},
		{{0xc1, 1}, TMF_LU_RESET, BAD_TARGET},
		{{1, 0, 0x40, 1}, TMF_LU_RESET, BAD_LUN},
		{{1, 0, 0x40}, TMF_CLEAR_ACA, REJECTED},
		{{1, 0, 0x40}, 8, REJECTED},
		{{1, 0, 0x40}, 0xffffffff, REJECTED},
	};
	uint8_t req[24] = {9};
	struct vu_slot *s;
	struct pair p;

	(void)state;
	begin(&p, 1);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		s = vu_post_tmf(&p.f, cases[i].subtype, cases[i].lun, 1);
		vu_wait(&p.f, s);
		assert_int_equal(s->resp[0], cases[i].answer);
		vu_free(s);
	}
	s = control(&p.f, req, 24, 1); /* unknown type */
	assert_int_equal(s->resp[0], FAILURE);
	req[0] = 0;
	s = control(&p.f, req, 23, 1); /* cut short */
	assert_int_equal(s->resp[0], FAILURE);
	vu_expect_alive(&p.f);
	end(&p);
}

static void notifications_are_subscribed(void **state)
{
	uint8_t query[16] = {1, 0, 0, 0, 1, 0, 0x40}, subscribe[16] = {2, 0, 0, 0, 1, 0, 0x40};
	uint8_t event[6] = {FAKE_EVENT, SCSI_EVENT_MEDIUM};
	struct vu_slot *s, *e[3];
	struct pair p;

	(void)state;
	begin(&p, 1);
	put_le32(query + 12, 0x7f);
	s = control(&p.f, query, 16, 5);
	assert_int_equal(get_le32(s->resp), 1 << 4); /* media change is what we have */
	assert_int_equal(s->resp[4], OK);
	subscribe[5] = 9;
	s = control(&p.f, subscribe, 16, 5);
	assert_int_equal(s->resp[4], BAD_TARGET);
	subscribe[5] = 0;
	put_le32(subscribe + 12, 0x10);
	s = control(&p.f, subscribe, 16, 5);
	assert_int_equal(get_le32(s->resp), 0x10);
	for (unsigned i = 0; i < 3; i++)
		e[i] = vu_post_event_buffer(&p.f);
	vu_free(vu_run(&p.f, 0, event, 6, 0, 0));
	vu_wait(&p.f, e[0]);
	vu_wait(&p.f, e[1]);
	assert_int_equal(get_le32(e[0]->resp), 2);
	assert_int_equal(get_le32(e[0]->resp + 12), 0x10);
	assert_int_equal(get_le32(e[1]->resp), 3);
	assert_int_equal(get_le32(e[1]->resp + 12), 0x28);
	assert_false(e[2]->done);
	end(&p);
}

static void unplug(void *arg)
{
	vhost_user_set_target(((struct pair *)arg)->s.v, 1, NULL);
}

static void plug(void *arg)
{
	struct pair *p = arg;

	vhost_user_set_target(p->s.v, 1, p->s.unit[1]);
}

static void expect_event(struct vu_front *f, struct vu_slot *s, uint32_t event, unsigned target,
			 uint32_t reason)
{
	uint8_t lun[8] = {1, (uint8_t)target};

	vu_wait(f, s);
	assert_int_equal(s->written, 16);
	assert_int_equal(get_le32(s->resp), event);
	assert_memory_equal(s->resp + 4, lun, 8); /* LUN 0 is plain 00 00 in events */
	assert_int_equal(get_le32(s->resp + 12), reason);
	vu_free(s);
}

static void units_come_and_go(void **state)
{
	static const uint8_t inquiry[6] = {0x12, 0, 0, 0, 36};
	struct vu_slot *s, *e[4];
	struct pair p;

	(void)state;
	begin(&p, 2);
	for (unsigned i = 0; i < 4; i++)
		e[i] = vu_post_event_buffer(&p.f);
	s = vu_command(&p.f, 2, 1, hold, 6, 0, 0);
	wait_number(&p.s.store[1]->holding, 1);
	server_call(&p.s, unplug, &p);
	vu_wait(&p.f, s);
	assert_int_equal(s->response, ABORTED);
	expect_event(&p.f, e[0], 1, 1, 2);
	s = vu_run(&p.f, 1, inquiry, 6, 0, 36);
	assert_int_equal(s->response, BAD_TARGET);
	server_call(&p.s, plug, &p);
	expect_event(&p.f, e[1], 1, 1, 1);
	s = vu_run(&p.f, 1, inquiry, 6, 0, 36);
	assert_int_equal(s->response, OK);
	s = vu_run(&p.f, 1, tur, 6, 0, 0);
	assert_int_equal(s->asc, 0x29);
	assert_false(e[2]->done);
	end(&p);
}

/* Without buffers events are lost; the next buffer says so. */
static void missed_events_are_told(void **state)
{
	uint8_t event[6] = {FAKE_EVENT, SCSI_EVENT_CAPACITY};
	struct vu_slot *e;
	struct pair p;

	(void)state;
	begin(&p, 2);
	vu_free(vu_run(&p.f, 0, event, 6, 0, 0));
	vu_free(vu_run(&p.f, 0, event, 6, 0, 0));
	e = vu_post_event_buffer(&p.f);
	vu_wait(&p.f, e);
	assert_int_equal(get_le32(e->resp), 1u << 31);
	vu_free(e);
	/* or the next event, if it finds the buffer first */
	vu_free(vu_run(&p.f, 0, event, 6, 0, 0));
	p.f.hold_kicks = true;
	e = vu_post_event_buffer(&p.f);
	p.f.hold_kicks = false;
	vu_free(vu_run(&p.f, 0, event, 6, 0, 0));
	expect_event(&p.f, e, 3 | 1u << 31, 0, 0x2a | 0x09 << 8);
	e = vu_post_event_buffer(&p.f);
	vu_free(vu_run(&p.f, 0, event, 6, 0, 0));
	expect_event(&p.f, e, 3, 0, 0x2a | 0x09 << 8);
	end(&p);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_task_is_aborted),
		cmocka_unit_test(task_sets_are_aborted),
		cmocka_unit_test(unseen_commands_are_aborted_too),
		cmocka_unit_test(resets_end_everything),
		cmocka_unit_test(wrong_functions_are_answered),
		cmocka_unit_test(notifications_are_subscribed),
		cmocka_unit_test(units_come_and_go),
		cmocka_unit_test(missed_events_are_told),
	};

	return RUN_SERVER_TESTS(tests);
}
