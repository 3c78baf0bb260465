/* Rings that break the rules: each stops its queue with a reason, and nothing else happens. */
#include "ring_fixture.h"

#include "base/bytes.h"

#include <errno.h>
#include <string.h>

struct attack {
	const char *what;
	uint64_t features;
	void (*spoil)(struct fixture *f); /* after one good chain was made available */
	const char *says;                 /* part of the message; NULL: this is allowed */
};

#define PACKED   VIRTIO_F_RING_PACKED
#define INDIRECT VIRTIO_F_INDIRECT_DESC

static uint8_t *desc(struct fixture *f, unsigned i)
{
	return f->ring.desc + 16 * i;
}

static void flags(struct fixture *f, unsigned i, uint16_t set, uint16_t clear)
{
	uint8_t *p = desc(f, i) + (f->packed ? 14 : 12);

	put_le16(p, (uint16_t)((get_le16(p) & ~clear) | set));
}

static void table(struct fixture *f, uint32_t len)
{
	put_le64(desc(f, 0), GPA + RING_BYTES);
	put_le32(desc(f, 0) + 8, len);
	flags(f, 0, RING_INDIRECT, RING_NEXT | RING_WRITE);
}

static void avail_runs_ahead(struct fixture *f)
{
	put_le16(f->ring.avail + 2, NUM + 1);
}

static void avail_runs_back(struct fixture *f)
{
	put_le16(f->ring.avail + 2, 0xffff);
}

static void head_too_big(struct fixture *f)
{
	put_le16(f->ring.avail + 4, NUM);
}

static void next_too_big(struct fixture *f)
{
	put_le16(desc(f, 0) + 14, NUM);
}

static void chain_loops(struct fixture *f)
{
	flags(f, 1, RING_NEXT | RING_WRITE, 0);
	put_le16(desc(f, 1) + 14, 1);
}

static void chain_loops_empty(struct fixture *f)
{
	put_le32(desc(f, 0) + 8, 0);
	put_le16(desc(f, 0) + 14, 0);
}

static void readable_after_writable(struct fixture *f)
{
	flags(f, 0, RING_WRITE, 0);
	flags(f, 1, 0, RING_WRITE);
}

static void outside(struct fixture *f)
{
	put_le64(desc(f, 0), GPA + MEM_LEN);
}

static void partly_outside(struct fixture *f)
{
	put_le64(desc(f, 0), GPA + MEM_LEN - 3);
}

static void before_memory(struct fixture *f)
{
	put_le64(desc(f, 0), GPA - 1);
}

static void length_wraps(struct fixture *f)
{
	put_le64(desc(f, 0), UINT64_MAX - 1);
}

static void empty_buffers(struct fixture *f)
{
	put_le32(desc(f, 0) + 8, 0);
	put_le32(desc(f, 1) + 8, 0);
}

static void good_table(struct fixture *f)
{
	table(f, 16);
	memset(f->mem + RING_BYTES, 0, 16);
	put_le64(f->mem + RING_BYTES, GPA + BUF_OFF);
	put_le32(f->mem + RING_BYTES + 8, 4);
}

static void table_of_odd_length(struct fixture *f)
{
	table(f, 17);
}

static void table_of_nothing(struct fixture *f)
{
	table(f, 0);
}

static void table_outside(struct fixture *f)
{
	table(f, 32);
	put_le64(desc(f, 0), GPA + MEM_LEN - 16);
}

static void table_huge(struct fixture *f)
{
	table(f, 0xfffffff0);
}

static void table_in_table(struct fixture *f)
{
	good_table(f);
	put_le16(f->mem + RING_BYTES + (f->packed ? 14 : 12), RING_INDIRECT);
}

static void table_loops(struct fixture *f)
{
	good_table(f);
	put_le16(f->mem + RING_BYTES + 12, RING_NEXT);
}

static void table_next_too_big(struct fixture *f)
{
	good_table(f);
	put_le16(f->mem + RING_BYTES + 12, RING_NEXT);
	put_le16(f->mem + RING_BYTES + 14, 1);
}

static void table_with_next(struct fixture *f)
{
	good_table(f);
	flags(f, 0, RING_NEXT, 0);
}

static void table_too_long(struct fixture *f)
{
	uint8_t *t = f->mem + RING_BYTES;
	unsigned n = VIRTQ_PIECES_MAX + 1;

	table(f, 16 * n);
	memset(t, 0, 16 * n);
	for (unsigned i = 0; i < n; i++) {
		put_le64(t + 16 * i, GPA + BUF_OFF);
		put_le32(t + 16 * i + 8, 1);
		if (!f->packed)
			ring_put_desc(t + 16 * i, GPA + BUF_OFF, 1, RING_NEXT, (uint16_t)(i + 1));
	}
}

static void longer_than_4g(struct fixture *f)
{
	uint8_t *t = f->mem + RING_BYTES;
	enum { N = 5000 };

	table(f, 16 * N); /* each entry nearly all of the memory */
	for (unsigned i = 0; i < N; i++) {
		memset(t + 16 * i, 0, 16);
		ring_put_desc(t + 16 * i, GPA, MEM_LEN, RING_NEXT, (uint16_t)(i + 1));
		if (f->packed)
			put_le32(t + 16 * i + 12, 0);
	}
}

static void packed_all_next(struct fixture *f)
{
	for (unsigned i = 0; i < NUM; i++) {
		put_le64(desc(f, i), GPA + BUF_OFF);
		put_le32(desc(f, i) + 8, 1);
		flags(f, i, RING_NEXT, RING_WRITE);
	}
}

static void packed_bad_id(struct fixture *f)
{
	put_le16(desc(f, 1) + 12, NUM);
}

/* clang-format off */
static struct attack attacks[] = {
	{ "available index ahead", 0, avail_runs_ahead, "ahead" },
	{ "available index behind", 0, avail_runs_back, "ahead" },
	{ "head too big", 0, head_too_big, "names descriptor" },
	{ "next too big", 0, next_too_big, "not below" },
	{ "loop", 0, chain_loops, "loop" },
	{ "loop of nothing", 0, chain_loops_empty, "loop" },
	{ "readable after writable", 0, readable_after_writable, "after a writable" },
	{ "outside", 0, outside, "outside" },
	{ "partly outside", 0, partly_outside, "outside" },
	{ "before memory", 0, before_memory, "outside" },
	{ "wraps", 0, length_wraps, "outside" },
	{ "empty buffers", 0, empty_buffers, NULL },
	{ "indirect, not negotiated", 0, good_table, "not negotiated" },
	{ "good table", INDIRECT, good_table, NULL },
	{ "table of odd length", INDIRECT, table_of_odd_length, "table of 17" },
	{ "empty table", INDIRECT, table_of_nothing, "table of 0" },
	{ "table outside", INDIRECT, table_outside, "outside" },
	{ "huge table", INDIRECT, table_huge, "table of" },
	{ "table in table", INDIRECT, table_in_table, "in an indirect table" },
	{ "loop in table", INDIRECT, table_loops, "loop in an" },
	{ "next too big in table", INDIRECT, table_next_too_big, "next 1" },
	{ "table and next", INDIRECT, table_with_next, "has a next" },
	{ "table too long", INDIRECT, table_too_long, "pieces" },
	{ "4 GiB", INDIRECT, longer_than_4g, "chain" },

	{ "readable after writable", PACKED, readable_after_writable, "after a writable" },
	{ "outside", PACKED, outside, "outside" },
	{ "partly outside", PACKED, partly_outside, "outside" },
	{ "wraps", PACKED, length_wraps, "outside" },
	{ "empty buffers", PACKED, empty_buffers, NULL },
	{ "id too big", PACKED, packed_bad_id, "buffer id" },
	{ "endless chain", PACKED, packed_all_next, "longer than" },
	{ "indirect, not negotiated", PACKED, good_table, "not negotiated" },
	{ "good table", PACKED | INDIRECT, good_table, NULL },
	{ "table of odd length", PACKED | INDIRECT, table_of_odd_length, "table of 17" },
	{ "empty table", PACKED | INDIRECT, table_of_nothing, "table of 0" },
	{ "table outside", PACKED | INDIRECT, table_outside, "outside" },
	{ "huge table", PACKED | INDIRECT, table_huge, "table of" },
	{ "table in table", PACKED | INDIRECT, table_in_table, "in an indirect table" },
	{ "table and next", PACKED | INDIRECT, table_with_next, "in a chain of" },
	{ "table too long", PACKED | INDIRECT, table_too_long, "pieces" },
	{ "4 GiB", PACKED | INDIRECT, longer_than_4g, "chain" },
};
/* clang-format on */

static void attack_co(void *arg)
{
	const struct attack *a = arg;
	struct virtq_elem *e = NULL;
	struct fixture f;
	int res;

	fixture_init(&f, a->features, true);
	add_tagged(&f, 1);
	a->spoil(&f);
	res = virtq_pop(&f.q, &e);
	if (a->says) {
		if (res != -EPROTO || !strstr(virtq_fault(&f.q), a->says))
			fail_msg("%s%s: %d \"%s\"", a->what,
				 a->features & PACKED ? " (packed)" : "", res, virtq_fault(&f.q));
		assert_int_equal(virtq_pop(&f.q, &e), 0); /* stopped */
		assert_false(virtq_listen(&f.q, true));
		assert_int_equal(f.q.in_flight, 0);
	} else {
		if (res != 1)
			fail_msg("%s: %d \"%s\"", a->what, res, virtq_fault(&f.q));
		virtq_push(e, 0);
	}
	fixture_fini(&f);
}

static void malformed_rings_stop(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++)
		run_in_loop(attack_co, &attacks[i]);
}

/* A driver that submits on and on without waiting for anything to come back. */
static void flood_co(void *arg)
{
	struct virtq_elem *out[NUM + 1];
	unsigned n = 0;
	struct fixture f;
	int res;

	(void)arg;
	fixture_init(&f, 0, true);
	add_tagged(&f, 1);
	do {
		put_le16(f.ring.avail + 2, (uint16_t)(n + 1));
		put_le16(f.ring.avail + 4 + 2 * (n % NUM), 0);
		res = virtq_pop(&f.q, &out[n]);
		n += res > 0;
	} while (res > 0 && n <= NUM);
	assert_int_equal(res, -EPROTO);
	assert_int_equal(n, NUM);
	while (n)
		virtq_push(out[--n], 0);
	fixture_fini(&f);
}

/* The same with what is done, but not yet returned. */
static void flood_done_co(void *arg)
{
	struct virtq_elem *e;
	unsigned n = 0;
	struct fixture f;
	int res;

	fixture_init(&f, *(const uint64_t *)arg, true);
	for (unsigned i = 0; i < NUM; i++) {
		put_le64(desc(&f, i), GPA + BUF_OFF);
		put_le32(desc(&f, i) + 8, 1);
		put_le16(f.ring.avail + 4 + 2 * i, 0);
	}
	do {
		if (!f.packed)
			put_le16(f.ring.avail + 2, (uint16_t)(n + 1));
		for (unsigned i = 0; f.packed && i < NUM; i++) /* available on the present lap */
			put_le16(desc(&f, i) + 14, f.q.packed.avail_wrap ? 1 << 7 : 1 << 15);
		res = virtq_pop(&f.q, &e);
		if (res > 0)
			virtq_push(e, 0);
		n += res > 0;
	} while (res > 0 && n <= NUM);
	assert_int_equal(res, -EPROTO);
	assert_int_equal(n, NUM);
	fixture_fini(&f);
}

static void what_is_in_flight_is_bounded(void **state)
{
	static uint64_t kinds[] = {0, VIRTIO_F_RING_PACKED};

	(void)state;
	run_in_loop(flood_co, NULL);
	run_in_loop(flood_done_co, &kinds[0]);
	run_in_loop(flood_done_co, &kinds[1]);
}

static void addresses_co(void *arg)
{
	static const struct {
		int64_t desc, avail, used;
	} bad[] = {
		{8, 0, 0},       {0, 1, 0},
		{0, 0, 2}, /* alignment */
		{MEM_LEN, 0, 0}, {0, MEM_LEN, 0},
		{0, 0, MEM_LEN}, {MEM_LEN - 16, 0, 0}, /* only its first descriptor is in memory */
		{-0x1000, 0, 0},
	};
	uint64_t features = *(const uint64_t *)arg;
	struct virtq_config good, c;
	struct fixture f;
	GError *error = NULL;

	fixture_init(&f, features, false);
	good = ring_config(&f, fresh_base(&f), false);
	stop_queue(&f);
	virtq_init(&f.q, f.loop, 0, 8, count_call, &f);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		c = good;
		c.desc += (uint64_t)bad[i].desc;
		c.avail += (uint64_t)bad[i].avail;
		c.used += (uint64_t)bad[i].used;
		assert_false(virtq_start(&f.q, f.map, &c, &error));
		assert_non_null(error);
		g_clear_error(&error);
	}
	c = good;
	c.num = 0;
	assert_false(virtq_start(&f.q, f.map, &c, NULL));
	c.num = VIRTQ_NUM_MAX + 1;
	assert_false(virtq_start(&f.q, f.map, &c, NULL));
	c.num = 12;
	assert_int_equal(virtq_start(&f.q, f.map, &c, NULL),
			 f.packed); /* packed rings may have any size */
	c.num = NUM;
	c.base = f.packed ? NUM : 0x10000;
	assert_false(virtq_start(&f.q, f.map, &c, NULL));
	assert_true(virtq_start(&f.q, f.map, &good, NULL));
	fixture_fini(&f);
}

static void bad_addresses_do_not_start(void **state)
{
	static uint64_t kinds[] = {0, VIRTIO_F_RING_PACKED};

	(void)state;
	run_in_loop(addresses_co, &kinds[0]);
	run_in_loop(addresses_co, &kinds[1]);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(malformed_rings_stop),
		cmocka_unit_test(what_is_in_flight_is_bounded),
		cmocka_unit_test(bad_addresses_do_not_start),
	};

	return RUN_LOOP_TESTS(tests);
}
