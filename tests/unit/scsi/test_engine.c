/* The engine with a fake unit: order of checks and of commands, attentions, task management. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "scsi/table.h"

/* clang-format off */
enum { OP_PLAIN = 0x00, OP_SENSE = 0x03, OP_EXEMPT = 0x12, OP_READ = 0x28, OP_WRITE = 0x2a,
OP_LATER = 0x45,
       OP_STATUS = 0x4a, OP_LUNS = 0xa0, READS_MAX = 8 };
/* clang-format on */

struct unit {
	struct scsi_lu lu;
	enum sense readiness;
	bool protected, hold;
	unsigned ran[256], resets, running, running_max;
	struct co_queue held;
	bool failed;
	struct loop *loop;
	void (*body)(struct unit *u);
	struct scsi_nexus *a, *b;
	unsigned changes;
};

#define CHECK(u, cond) ((cond) ? (void)0 : note_failure(u, __LINE__, #cond))

static void note_failure(struct unit *u, int line, const char *text)
{
	u->failed = true;
	print_error("line %d: %s\n", line, text);
}

static struct unit *unit_of(struct scsi_cmd *c)
{
	return (struct unit *)c->lu;
}

/* Counts, and stays as long as the unit is told to hold. */
static co_fn enum sense count(struct scsi_cmd *c)
{
	struct unit *u = unit_of(c);

	u->ran[c->cdb[0]]++;
	u->running++;
	u->running_max = MAX(u->running_max, u->running);
	while (u->hold && !c->aborted && c->row->flags != ROW_BUSY_OK)
		co_queue_wait(&u->held);
	u->running--;
	return SENSE_GOOD;
}

static enum sense status(struct scsi_cmd *c)
{
	static const uint8_t reply[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11};

	unit_of(c)->ran[c->cdb[0]]++;
	return scsi_reply(c, reply, sizeof(reply));
}

static const struct scsi_row rows[256] = {
	[OP_PLAIN] = {"PLAIN", count, 6, ROW_MEDIUM, {0}},
	[OP_SENSE] = {"SENSE",
		      scsi_request_sense,
		      6,
		      ROW_BUSY_OK | ROW_UA_EXEMPT | ROW_KEEP_SENSE | ROW_DATA_IN,
		      {U8(4)},
		      U8(4)},
	[OP_EXEMPT] = {"EXEMPT", count, 6, ROW_UA_EXEMPT, {BIT(1, 0)}},
	[OP_READ] = {"READ", count, 10, ROW_MEDIUM | ROW_SHARED | ROW_DATA_IN, {BE32(2), BE16(7)}},
	[OP_WRITE] =
		{"WRITE", count, 10, ROW_MEDIUM | ROW_WRITE | ROW_DATA_OUT, {BE32(2), BE16(7)}},
	[OP_LATER] = {"LATER", NULL, 10, ROW_LATER, {0}},
	[OP_STATUS] = {"STATUS", status, 10, ROW_BUSY_OK | ROW_DATA_IN, {BE16(7)}, BE16(7)},
	[OP_LUNS] = {"LUNS",
		     scsi_report_luns,
		     12,
		     ROW_BUSY_OK | ROW_UA_EXEMPT | ROW_DATA_IN,
		     {U8(2), BE32(6)},
		     BE32(6)},
};

static enum sense ready(struct scsi_lu *lu, struct scsi_cmd *c)
{
	(void)c;
	return ((struct unit *)lu)->readiness;
}

static bool write_protected(struct scsi_lu *lu)
{
	return ((struct unit *)lu)->protected;
}

static void reset(struct scsi_lu *lu)
{
	((struct unit *)lu)->resets++;
}

static void nexus_changed(struct scsi_lu *lu, struct scsi_nexus *nexus)
{
	(void)nexus;
	((struct unit *)lu)->changes++;
}

static size_t out_length(struct scsi_lu *lu, const uint8_t *cdb)
{
	(void)lu;
	return cdb[8] * 2048u;
}

static void destroy(struct scsi_lu *lu)
{
	scsi_lu_fini(lu);
}

static const struct scsi_lu_ops ops = {
	.rows = rows,
	.ready = ready,
	.write_protected = write_protected,
	.reset = reset,
	.free = destroy,
	.out_length = out_length,
	.nexus_changed = nexus_changed,
};

struct call {
	struct scsi_cmd cmd;
	bool done;
};

static co_fn void call_co(void *arg)
{
	struct call *call = arg;

	scsi_execute(&call->cmd);
	call->done = true;
}

static void start(struct unit *u, struct call *call, struct scsi_nexus *nexus, uint8_t op,
		  uint64_t tag)
{
	*call = (struct call){.cmd = {.nexus = nexus, .cdb = {op}, .tag = tag}};
	co_start(u->loop, call_co, call);
}

static enum sense result(const struct scsi_cmd *c)
{
	return c->status == SCSI_GOOD
		       ? SENSE_GOOD
		       : (enum sense)SENSE(c->sense[2] & 15, c->sense[12], c->sense[13]);
}

static co_fn enum sense run(struct scsi_nexus *nexus, uint8_t op)
{
	struct scsi_cmd c = {.nexus = nexus, .cdb = {op}};

	scsi_execute(&c);
	return result(&c);
}

static void release(struct unit *u)
{
	u->hold = false;
	co_queue_wake_all(&u->held);
}

static co_fn void unit_co(void *arg)
{
	struct unit *u = arg;

	scsi_lu_init(&u->lu, &ops, u->loop, "unit");
	u->a = scsi_nexus_new(&u->lu, "a", NULL, u, true);
	u->b = scsi_nexus_new(&u->lu, "b", NULL, NULL, true);
	u->body(u);
	scsi_nexus_free(u->a);
	scsi_nexus_free(u->b);
	scsi_lu_free(&u->lu);
	loop_stop(u->loop);
}

static void with_unit(void (*body)(struct unit *u))
{
	struct unit *u = g_new0(struct unit, 1);
	bool failed;

	u->body = body;
	u->loop = loop_new(LOOP_AUTO, NULL);
	assert_non_null(u->loop);
	co_start(u->loop, unit_co, u);
	loop_run(u->loop);
	loop_free(u->loop);
	failed = u->failed;
	g_free(u);
	assert_false(failed);
}

/* ---- checks and their order ---- */

static co_fn void unknown_opcodes(struct unit *u)
{
	CHECK(u, run(u->a, 0xff) == SENSE_BAD_OPCODE);
	CHECK(u, run(u->a, OP_LATER) == SENSE_BAD_OPCODE);
	scsi_nexus_attention(u->a, SENSE_MEDIUM_CHANGED);
	CHECK(u, run(u->a, 0xff) == SENSE_BAD_OPCODE); /* before the attention, which stays */
	CHECK(u, run(u->a, OP_PLAIN) == SENSE_MEDIUM_CHANGED);
}

static co_fn void attentions(struct unit *u)
{
	scsi_lu_attention(&u->lu, NULL, SENSE_MEDIUM_CHANGED);
	scsi_lu_attention(&u->lu, NULL, SENSE_MEDIUM_CHANGED); /* not twice */
	u->readiness = SENSE_NO_MEDIUM_OPEN;
	CHECK(u,
	      run(u->a, OP_EXEMPT) == SENSE_NO_MEDIUM_OPEN); /* the fake unit refuses everything */
	u->readiness = SENSE_GOOD;
	CHECK(u, run(u->a, OP_EXEMPT) == SENSE_GOOD);
	CHECK(u, u->ran[OP_PLAIN] == 0);
	CHECK(u, run(u->a, OP_PLAIN) == SENSE_MEDIUM_CHANGED);
	CHECK(u, u->ran[OP_PLAIN] == 0);
	CHECK(u, run(u->a, OP_PLAIN) == SENSE_GOOD);
	CHECK(u, run(u->b, OP_PLAIN) == SENSE_MEDIUM_CHANGED); /* each initiator for itself */
	CHECK(u, run(u->b, OP_PLAIN) == SENSE_GOOD);
	scsi_lu_attention(&u->lu, u->a, SENSE_MODE_CHANGED);
	CHECK(u, run(u->a, OP_PLAIN) == SENSE_GOOD);
	CHECK(u, run(u->b, OP_PLAIN) == SENSE_MODE_CHANGED);
	CHECK(u, u->changes > 0);
}

static co_fn void attention_queue(struct unit *u)
{
	for (unsigned i = 0; i < NEXUS_UA_MAX + 3; i++)
		scsi_nexus_attention(u->a, (enum sense)SENSE(6, 0x50, i));
	CHECK(u, u->a->n_ua == NEXUS_UA_MAX);
	scsi_nexus_attention(u->a, SENSE_DEVICE_RESET); /* goes first */
	CHECK(u, u->a->n_ua == NEXUS_UA_MAX);
	CHECK(u, run(u->a, OP_PLAIN) == SENSE_DEVICE_RESET);
	CHECK(u, run(u->a, OP_PLAIN) == SENSE(6, 0x50, 0));
}

static co_fn void power_on(struct unit *u)
{
	struct scsi_nexus *fresh = scsi_nexus_new(&u->lu, "fresh", NULL, u, false);
	struct scsi_nexus *resumed = scsi_nexus_new(&u->lu, "resumed", NULL, u, true);

	CHECK(u, scsi_nexus_opaque(fresh) == u && scsi_nexus_lu(fresh) == &u->lu);
	CHECK(u, run(fresh, OP_PLAIN) == SENSE_POWER_ON);
	CHECK(u, run(fresh, OP_PLAIN) == SENSE_GOOD);
	CHECK(u, run(resumed, OP_PLAIN) == SENSE_GOOD);
	scsi_nexus_free(fresh);
	scsi_nexus_free(resumed);
}

static co_fn void readiness_and_protection(struct unit *u)
{
	u->protected = true;
	CHECK(u, run(u->a, OP_WRITE) == SENSE_SOFTWARE_PROTECTED);
	CHECK(u, run(u->a, OP_READ) == SENSE_GOOD);
	u->readiness = SENSE_NO_MEDIUM_CLOSED;
	CHECK(u, run(u->a, OP_WRITE) == SENSE_NO_MEDIUM_CLOSED);
	CHECK(u, run(u->a, OP_STATUS) == SENSE_GOOD); /* runs at any time */
	CHECK(u, u->ran[OP_WRITE] == 0);
}

static co_fn enum sense run_cdb(struct unit *u, const uint8_t cdb[12], struct scsi_cmd *c)
{
	*c = (struct scsi_cmd){.nexus = u->a};
	memcpy(c->cdb, cdb, 12);
	scsi_execute(c);
	return result(c);
}

static co_fn void reserved_bits(struct unit *u)
{
	static const uint8_t odd[12] = {OP_READ, 0x1f, 0, 0, 0, 0, 0x01, 0, 1, 0x04};
	static const uint8_t fine[12] = {OP_READ, 0xe0, 1, 2, 3, 4, 0, 5, 6, 0xc0, 0xff, 0xff};
	struct scsi_cmd c;

	CHECK(u, run_cdb(u, odd, &c) == SENSE_GOOD); /* lenient */
	u->lu.strict = true;
	CHECK(u, run_cdb(u, odd, &c) == SENSE_BAD_CDB_FIELD);
	CHECK(u, c.sense[15] == (0xc8 | 4) && get_be16(c.sense + 16) == 1);
	CHECK(u, run_cdb(u, fine, &c) == SENSE_GOOD); /* old LUN, vendor bits, padding */
	scsi_nexus_attention(u->a, SENSE_MEDIUM_CHANGED);
	CHECK(u, run_cdb(u, odd, &c) == SENSE_MEDIUM_CHANGED);
	u->readiness = SENSE_NO_MEDIUM;
	CHECK(u, run_cdb(u, odd, &c) == SENSE_BAD_CDB_FIELD);
	CHECK(u, run_cdb(u, fine, &c) == SENSE_NO_MEDIUM);
}

/* ---- sense kept, replies ---- */

static co_fn void request_sense(struct scsi_nexus *nexus, uint8_t alloc,
				uint8_t out[SCSI_SENSE_LEN], size_t *len)
{
	struct iovec one;
	struct scsi_cmd c = {.nexus = nexus, .cdb = {OP_SENSE, 0, 0, 0, alloc}};

	memset(out, 0, SCSI_SENSE_LEN);
	c.in = iovs_one(&one, out, SCSI_SENSE_LEN);
	scsi_execute(&c);
	*len = c.status == SCSI_GOOD ? c.in_done : 999;
}

static co_fn void pending_sense(struct unit *u)
{
	uint8_t s[SCSI_SENSE_LEN];
	size_t len;

	CHECK(u, run(u->a, OP_LATER) == SENSE_BAD_OPCODE);
	request_sense(u->b, 18, s, &len); /* not the other's business */
	CHECK(u, len == 18 && s[2] == 0);
	request_sense(u->a, 18, s, &len);
	CHECK(u, len == 18 && s[2] == 5 && s[12] == 0x20);
	request_sense(u->a, 18, s, &len);
	CHECK(u, len == 18 && s[0] == 0x70 && s[2] == 0 && s[12] == 0);
	CHECK(u, run(u->a, OP_LATER) == SENSE_BAD_OPCODE);
	CHECK(u, run(u->a, OP_PLAIN) == SENSE_GOOD); /* takes it away */
	request_sense(u->a, 4, s, &len);
	CHECK(u, len == 4 && s[2] == 0);
	scsi_nexus_attention(u->a, SENSE_MEDIUM_CHANGED);
	request_sense(u->a, 0, s, &len);
	CHECK(u, len == 0);
	CHECK(u, run(u->a, OP_PLAIN) == SENSE_GOOD);
	scsi_nexus_attention(u->a, SENSE_MEDIUM_CHANGED);
	request_sense(u->a, 255, s, &len);
	CHECK(u, len == 18 && s[2] == 6 && s[12] == 0x28);
	CHECK(u, run(u->a, OP_PLAIN) == SENSE_GOOD);
}

static co_fn void deferred_errors(struct unit *u)
{
	struct scsi_cmd c = {.nexus = u->a, .cdb = {OP_PLAIN}};

	scsi_nexus_defer(u->a, SENSE_WRITE_ERROR);
	CHECK(u, run(u->a, OP_EXEMPT) == SENSE_GOOD);
	CHECK(u, run(u->b, OP_PLAIN) == SENSE_GOOD);
	scsi_execute(&c);
	CHECK(u, result(&c) == SENSE_WRITE_ERROR && c.sense[0] == 0x71 && u->ran[OP_PLAIN] == 1);
	CHECK(u, run(u->a, OP_PLAIN) == SENSE_GOOD);
}

static co_fn void truncated_replies(struct unit *u)
{
	uint8_t buf[16];

	for (unsigned alloc = 0; alloc <= 14; alloc++) {
		for (unsigned room = 0; room <= 14; room += 2) {
			struct iovec one;
			struct scsi_cmd c = {.nexus = u->a,
					     .cdb = {OP_STATUS, [8] = (uint8_t)alloc}};
			unsigned len = MIN(MIN(alloc, room), 12);

			memset(buf, 0x5a, sizeof(buf));
			c.in = iovs_one(&one, buf, room);
			scsi_execute(&c);
			CHECK(u, c.status == SCSI_GOOD && c.in_done == len && buf[len] == 0x5a);
			CHECK(u, len == 0 || buf[len - 1] == len - 1);
		}
	}
}

static co_fn void expected_lengths(struct unit *u)
{
	bool out = true;

	CHECK(u, scsi_expected_length(&u->lu, (const uint8_t[12]){OP_STATUS, [7] = 1, [8] = 2},
				      &out) == 0x102 &&
			 !out);
	CHECK(u,
	      scsi_expected_length(&u->lu, (const uint8_t[12]){OP_WRITE, [8] = 3}, &out) == 6144 &&
		      out);
	CHECK(u, scsi_expected_length(&u->lu, (const uint8_t[12]){OP_READ, [8] = 3}, &out) == 0 &&
			 !out);
	CHECK(u, scsi_expected_length(&u->lu, (const uint8_t[12]){OP_PLAIN}, &out) == 0 && !out);
	CHECK(u, scsi_expected_length(&u->lu, (const uint8_t[12]){0xff, 0xff, 0xff}, &out) == 0 &&
			 !out);
}

/* ---- order ---- */

static co_fn void readers_share_writers_do_not(struct unit *u)
{
	struct call r1, r2, w1, w2, s;

	u->hold = true;
	start(u, &r1, u->a, OP_READ, 1);
	start(u, &r2, u->b, OP_READ, 2);
	CHECK(u, u->running == 2);
	start(u, &w1, u->a, OP_WRITE, 3);
	CHECK(u, u->running == 2 && u->ran[OP_WRITE] == 0);
	start(u, &s, u->a, OP_STATUS, 4); /* waits for nobody */
	CHECK(u, s.done);
	release(u);
	while (!r1.done || !r2.done || !w1.done)
		co_reschedule();
	u->hold = true;
	u->running_max = 0;
	start(u, &w1, u->a, OP_WRITE, 3);
	start(u, &w2, u->b, OP_WRITE, 3);
	CHECK(u, u->running == 1);
	release(u);
	while (!w1.done || !w2.done)
		co_reschedule();
	CHECK(u, u->running_max == 1);
}

/* A read with the ORDERED attribute waits for those before it, and those after it for it. */
static co_fn void ordered_commands_wait(struct unit *u)
{
	struct call before, ordered, after;

	u->hold = true;
	start(u, &before, u->a, OP_READ, 1);
	ordered = (struct call){.cmd = {.nexus = u->a, .cdb = {OP_READ}, .ordered = true}};
	co_start(u->loop, call_co, &ordered);
	start(u, &after, u->b, OP_READ, 3);
	CHECK(u, u->running == 1 && u->ran[OP_READ] == 1);
	release(u);
	while (!before.done || !ordered.done || !after.done)
		co_reschedule();
	CHECK(u, u->running_max == 1 && u->ran[OP_READ] == 3);
}

static bool conflict(struct scsi_lu *lu, const struct scsi_cmd *c)
{
	return c->nexus == ((struct unit *)lu)->b && !(c->row->flags & ROW_UA_EXEMPT);
}

/* A reservation: a status without sense data, after the attention, and nothing runs. */
static co_fn void conflicts_have_no_sense(struct unit *u)
{
	struct scsi_lu_ops reserved = ops;
	struct call call;

	reserved.conflict = conflict;
	u->lu.ops = &reserved;
	scsi_nexus_attention(u->b, SENSE_RESERVATIONS_PREEMPTED);
	CHECK(u, run(u->b, OP_READ) == SENSE_RESERVATIONS_PREEMPTED);
	start(u, &call, u->b, OP_READ, 1);
	CHECK(u,
	      call.done && call.cmd.status == SCSI_RESERVATION_CONFLICT && call.cmd.sense_len == 0);
	CHECK(u, u->ran[OP_READ] == 0);
	CHECK(u, run(u->b, OP_EXEMPT) == SENSE_GOOD);
	CHECK(u, run(u->a, OP_READ) == SENSE_GOOD);
	u->lu.ops = &ops;
}

static co_fn void waiting_is_a_hole_in_time(struct unit *u)
{
	struct call w, r, r2;

	u->hold = true;
	start(u, &w, u->a, OP_WRITE, 1);
	start(u, &r, u->a, OP_READ, 2);
	start(u, &r2, u->b, OP_READ, 2);
	CHECK(u, !r.done && !r2.done);
	u->readiness = SENSE_NO_MEDIUM_OPEN;
	scsi_nexus_attention(u->b, SENSE_MODE_CHANGED);
	release(u);
	while (!w.done || !r.done || !r2.done)
		co_reschedule();
	CHECK(u, result(&w.cmd) == SENSE_GOOD);
	CHECK(u, result(&r.cmd) == SENSE_NO_MEDIUM_OPEN);
	CHECK(u, result(&r2.cmd) == SENSE_MODE_CHANGED);
	CHECK(u, u->ran[OP_READ] == 0);
}

/* ---- task management ---- */

static co_fn void abort_one(struct unit *u)
{
	struct call w, r;

	CHECK(u, !scsi_abort_task(u->a, 1));
	u->hold = true;
	start(u, &w, u->a, OP_WRITE, 1);
	start(u, &r, u->a, OP_READ, 2);
	CHECK(u, scsi_query_task(u->a, 1) && scsi_query_task(u->a, 2) && !scsi_query_task(u->b, 1));
	CHECK(u, !scsi_abort_task(u->b, 1)); /* another initiator's task */
	r.cmd.aborted = true;                /* waits, and gives up when its turn comes */
	release(u);
	while (!w.done || !r.done)
		co_reschedule();
	CHECK(u, w.cmd.status == SCSI_GOOD && r.cmd.status == SCSI_TASK_ABORTED &&
			 u->ran[OP_READ] == 0);
	CHECK(u, r.cmd.sense_len == 0);
	CHECK(u, !scsi_query_task(u->a, 1) && !scsi_query_task(u->a, 2));
}

static co_fn void wake_soon(void *arg)
{
	struct unit *u = arg;

	co_reschedule();
	co_queue_wake_all(&u->held);
}

static co_fn void abort_running(struct unit *u)
{
	struct call w, other;

	u->hold = true;
	start(u, &w, u->a, OP_READ, 1);
	start(u, &other, u->b, OP_READ, 1);
	co_start(u->loop, wake_soon, u);
	CHECK(u, scsi_abort_task(u->a, 1));
	CHECK(u,
	      w.done && w.cmd.status == SCSI_TASK_ABORTED && !other.done); /* not before it ended */
	start(u, &w, u->a, OP_READ, 1);
	co_start(u->loop, wake_soon, u);
	scsi_abort_all(u->a);
	CHECK(u, w.done && w.cmd.status == SCSI_TASK_ABORTED && !other.done);
	release(u);
	while (!other.done)
		co_reschedule();
	CHECK(u, other.cmd.status == SCSI_GOOD);
}

static co_fn void reset_unit(struct unit *u)
{
	struct call r1, r2;

	scsi_nexus_attention(u->b, SENSE_MEDIUM_CHANGED);
	u->b->n_ua = 0;
	u->hold = true;
	start(u, &r1, u->a, OP_READ, 1);
	start(u, &r2, u->b, OP_READ, 1);
	co_start(u->loop, wake_soon, u);
	scsi_lu_reset(u->a);
	CHECK(u, r1.done && r2.done && u->resets == 1);
	CHECK(u, r1.cmd.status == SCSI_TASK_ABORTED && r2.cmd.status == SCSI_TASK_ABORTED);
	release(u);
	CHECK(u, run(u->a, OP_PLAIN) == SENSE_DEVICE_RESET);
	CHECK(u, run(u->b, OP_PLAIN) == SENSE_DEVICE_RESET);
	CHECK(u, run(u->a, OP_PLAIN) == SENSE_GOOD);
}

#define UNIT_TEST(fn)                       \
	static void test_##fn(void **state) \
	{                                   \
		(void)state;                \
		with_unit(fn);              \
	}

UNIT_TEST(unknown_opcodes)
UNIT_TEST(attentions)
UNIT_TEST(attention_queue)
UNIT_TEST(power_on)
UNIT_TEST(readiness_and_protection)
UNIT_TEST(reserved_bits)
UNIT_TEST(pending_sense)
UNIT_TEST(deferred_errors)
UNIT_TEST(truncated_replies)
UNIT_TEST(expected_lengths)
UNIT_TEST(readers_share_writers_do_not)
UNIT_TEST(ordered_commands_wait)
UNIT_TEST(conflicts_have_no_sense)
UNIT_TEST(waiting_is_a_hole_in_time)
UNIT_TEST(abort_one)
UNIT_TEST(abort_running)
UNIT_TEST(reset_unit)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_unknown_opcodes),
		cmocka_unit_test(test_attentions),
		cmocka_unit_test(test_attention_queue),
		cmocka_unit_test(test_power_on),
		cmocka_unit_test(test_readiness_and_protection),
		cmocka_unit_test(test_reserved_bits),
		cmocka_unit_test(test_pending_sense),
		cmocka_unit_test(test_deferred_errors),
		cmocka_unit_test(test_truncated_replies),
		cmocka_unit_test(test_expected_lengths),
		cmocka_unit_test(test_readers_share_writers_do_not),
		cmocka_unit_test(test_ordered_commands_wait),
		cmocka_unit_test(test_conflicts_have_no_sense),
		cmocka_unit_test(test_waiting_is_a_hole_in_time),
		cmocka_unit_test(test_abort_one),
		cmocka_unit_test(test_abort_running),
		cmocka_unit_test(test_reset_unit),
	};
	struct loop *loop = loop_new(LOOP_AUTO, NULL);

	loop_free(loop);
	return loop ? cmocka_run_group_tests(tests, NULL, NULL) : 77;
}
