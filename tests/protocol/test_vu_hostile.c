/*
 * Front ends and guests that break the rules (transports.md 9.1). A bad message ends its connection
 * with a line that says what was wrong; a bad ring stops its queue. A good front end on the same
 * server is served before, during and after each.
 */
#include "vu_test.h"

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

static struct {
	struct vu_server s;
	struct vu_front good;
} w;

static int set_up(void **state)
{
	(void)state;
	server_catch_log();
	w.s.packed = w.s.config = true;
	w.s.max_clients = 2;
	w.s.max_queues = 2;
	server_init(&w.s);
	server_start(&w.s);
	w.good = (struct vu_front){.event_idx = true, .indirect = true, .inflight = true};
	vu_init(&w.good);
	vu_start(&w.good, w.s.path);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	vu_fini(&w.good);
	server_stop(&w.s);
	server_fini(&w.s);
	return 0;
}

/* One message that a front end that is otherwise set up sends. */
struct bad {
	const char *what;
	uint32_t request, flags; /* flags 0: a good request */
	uint32_t size;
	unsigned n_fds;
	uint64_t payload[34];
	const char *says;
};

#define RUNNING 2 /* a queue that runs */
#define STATE(index, value)                       \
	{                                         \
		(uint64_t)(value) << 32 | (index) \
	}
#define REGION(gpa, len, uaddr, off)    \
	{                               \
		0, gpa, len, uaddr, off \
	}

static const struct bad bads[] = {
	{"request 0", 0, 0, 0, 0, {0}, "unknown or unsupported request 0"},
	{"request 9999", 9999, 0, 0, 0, {0}, "unknown or unsupported request 9999"},
	{"request 2^32 - 1", UINT32_MAX, 0, 0, 0, {0}, "unknown or unsupported"},
	{"a log", 6, 0, 16, 1, {0}, "unknown or unsupported request 6"},
	{"version 0", VU_GET_FEATURES, 0x10, 0, 0, {0}, "version 1"},
	{"version 3", VU_GET_FEATURES, 3, 0, 0, {0}, "version 1"},
	{"a reply", VU_GET_FEATURES, VU_VERSION | VU_REPLY, 8, 0, {0}, "version 1"},
	{"4 GiB of payload", VU_SET_FEATURES, 0, UINT32_MAX, 0, {0}, "payload of 4294967295 bytes"},
	{"payload too long", VU_SET_FEATURES, 0, 9, 0, {0}, "payload of 9 bytes, must be 8 to 8"},
	{"payload too short", VU_SET_FEATURES, 0, 7, 0, {0}, "payload of 7 bytes"},
	{"payload where none is", VU_GET_FEATURES, 0, 8, 0, {0}, "payload of 8 bytes, must be 0"},
	{"descriptor where none is", VU_GET_FEATURES, 0, 0, 1, {0}, "1 descriptors, must be 0"},
	{"many descriptors where one is",
	 VU_SET_VRING_CALL,
	 0,
	 8,
	 8,
	 {0},
	 "8 descriptors, must be 0 to 1"},
	{"too many descriptors", VU_SET_VRING_CALL, 0, 8, 9, {0}, "more descriptors than"},
	{"features", VU_SET_FEATURES, 0, 8, 0, {UINT64_MAX}, "were not offered"},
	{"other features while a ring runs",
	 VU_SET_FEATURES,
	 0,
	 8,
	 0,
	 {1ull << 32},
	 "while a ring runs"},
	{"protocol features", VU_SET_PROTOCOL_FEATURES, 0, 8, 0, {1 << 1}, "were not offered"},
	{"no descriptor", VU_SET_BACKEND_REQ_FD, 0, 0, 0, {0}, "0 descriptors"},

	{"NUM: queue", VU_SET_VRING_NUM, 0, 8, 0, STATE(4, 16), "queue 4 of 4"},
	{"NUM: queue 2^32 - 1", VU_SET_VRING_NUM, 0, 8, 0, STATE(UINT32_MAX, 16),
	 "queue 4294967295"},
	{"NUM: 0", VU_SET_VRING_NUM, 0, 8, 0, STATE(3, 0), "size 0"},
	{"NUM: 32769", VU_SET_VRING_NUM, 0, 8, 0, STATE(3, 32769), "size 32769"},
	{"NUM: 65552", VU_SET_VRING_NUM, 0, 8, 0, STATE(3, 65552), "size 65552"},
	{"NUM while running", VU_SET_VRING_NUM, 0, 8, 0, STATE(RUNNING, 16), "is running"},
	{"BASE while running", VU_SET_VRING_BASE, 0, 8, 0, STATE(RUNNING, 0), "is running"},
	{"ADDR while running", VU_SET_VRING_ADDR, 0, 40, 0, {RUNNING}, "is running"},
	{"ADDR: queue", VU_SET_VRING_ADDR, 0, 40, 0, {99}, "queue 99"},
	{"GET_BASE: queue", VU_GET_VRING_BASE, 0, 8, 0, STATE(77, 0), "queue 77"},
	{"ENABLE: queue", VU_SET_VRING_ENABLE, 0, 8, 0, STATE(4, 1), "queue 4"},
	{"ENABLE: 2", VU_SET_VRING_ENABLE, 0, 8, 0, STATE(0, 2), "value 2"},
	{"KICK: queue", VU_SET_VRING_KICK, 0, 8, 1, {4}, "queue 4"},
	{"KICK: queue 255", VU_SET_VRING_KICK, 0, 8, 0, {0x1ff}, "queue 255"},
	{"KICK: no descriptor", VU_SET_VRING_KICK, 0, 8, 0, {2}, "0 descriptors do not match"},
	{"CALL: a descriptor too many",
	 VU_SET_VRING_CALL,
	 0,
	 8,
	 1,
	 {0x102},
	 "1 descriptors do not match"},
	{"KICK: a file", VU_SET_VRING_KICK, 0, 8, 1, {2}, "no eventfd"},
	{"CALL: a file", VU_SET_VRING_CALL, 0, 8, 1, {2}, "no eventfd"},
	{"ERR: a file", VU_SET_VRING_ERR, 0, 8, 1, {2}, "no eventfd"},

	{"table: 9 regions", VU_SET_MEM_TABLE, 0, 8 + 8 * 32, 8, {9}, "9 regions"},
	{"table: 2^32 - 1 regions",
	 VU_SET_MEM_TABLE,
	 0,
	 8 + 32,
	 1,
	 {UINT32_MAX},
	 "4294967295 regions"},
	{"table: size", VU_SET_MEM_TABLE, 0, 8 + 32, 2, {2}, "2 regions with 2 descriptors in 40"},
	{"table: descriptors", VU_SET_MEM_TABLE, 0, 8 + 64, 1, {2}, "2 regions with 1 descriptors"},
	{"table: rings gone", VU_SET_MEM_TABLE, 0, 8, 0, {0}, "no longer in guest memory"},
	{"table: past the file",
	 VU_SET_MEM_TABLE,
	 0,
	 8 + 32,
	 1,
	 {1, 0, 1ull << 40, 0, 0},
	 "its file must be"},
	{"region: wraps", VU_ADD_MEM_REG, 0, 40, 1, REGION(UINT64_MAX, 4096, 0, 0),
	 "end of the address space"},
	{"region: empty", VU_ADD_MEM_REG, 0, 40, 1, REGION(1ull << 50, 0, 0, 0),
	 "is 0 or runs over"},
	{"region: past the file", VU_ADD_MEM_REG, 0, 40, 1,
	 REGION(1ull << 50, 4096, 1ull << 50, VU_MEM_LEN), "its file must be"},
	{"region: overlap", VU_ADD_MEM_REG, 0, 40, 1, REGION(4096, 4096, 1ull << 50, 0),
	 "overlaps"},
	{"region: no descriptor", VU_ADD_MEM_REG, 0, 40, 0, REGION(1ull << 50, 4096, 1ull << 50, 0),
	 "0 descriptors"},
	{"region: not there", VU_REM_MEM_REG, 0, 40, 0, REGION(1, 2, 3, 4), "is not there"},
	{"region: holds rings", VU_REM_MEM_REG, 0, 40, 0, REGION(0, VU_SPLIT, VU_UADDR, 0),
	 "no longer in guest memory"},

	{"config: past its end",
	 VU_SET_CONFIG,
	 0,
	 12 + 8,
	 0,
	 {8ull << 32 | 252},
	 "range lies outside"},
	{"config: size", VU_SET_CONFIG, 0, 12 + 8, 0, {9ull << 32}, "differs from the payload"},
	{"config: wraps",
	 VU_SET_CONFIG,
	 0,
	 12 + 8,
	 0,
	 {8ull << 32 | UINT32_MAX},
	 "range lies outside"},
	{"config: read-only field",
	 VU_SET_CONFIG,
	 0,
	 12 + 4,
	 0,
	 {4ull << 32, 7ull << 32},
	 "cannot be changed"},

	{"in-flight: no queues", VU_GET_INFLIGHT_FD, 0, 24, 0, {0, 0, 128u << 16}, "0 queues"},
	{"in-flight: no size", VU_GET_INFLIGHT_FD, 0, 24, 0, {0, 0, 2}, "of 0 descriptors"},
	{"in-flight: 65535 queues",
	 VU_GET_INFLIGHT_FD,
	 0,
	 24,
	 0,
	 {0, 0, 0xffffffff},
	 "65535 queues"},
	{"in-flight while running",
	 VU_SET_INFLIGHT_FD,
	 0,
	 24,
	 1,
	 {1 << 20, 0, 64u << 16 | 3},
	 "is running"},
	{"in-flight: no descriptor",
	 VU_SET_INFLIGHT_FD,
	 0,
	 24,
	 0,
	 {1 << 20, 0, 64u << 16 | 3},
	 "0 descriptors"},
};

static void expect_good(void)
{
	vu_expect_alive(&w.good);
}

static void open_fds(unsigned *n)
{
	*n = 0;
	for (int fd = 0; fd < 1024; fd++)
		*n += fcntl(fd, F_GETFD) >= 0;
}

static void bad_messages_end_their_connection(void **state)
{
	unsigned before, after, kind = 0;

	(void)state;
	open_fds(&before);
	for (unsigned i = 0; i < sizeof(bads) / sizeof(bads[0]); i++) {
		const struct bad *b = &bads[i];
		struct vu_front f;
		int fds[16];

		front_of_kind(&f, kind++ % RING_KINDS);
		vu_init(&f);
		vu_start(&f, w.s.path);
		for (unsigned k = 0; k < 16; k++)
			fds[k] = f.mem_fd;
		server_unlimit_log(&w.s);
		if (b->size >
		    sizeof(b->payload)) { /* says more than it sends; must not be waited for */
			uint32_t header[3] = {b->request, VU_VERSION, b->size};

			assert_int_equal(send(f.fd, header, 12, MSG_NOSIGNAL), 12);
		} else {
			vu_send(&f, b->request, b->flags ? b->flags : VU_VERSION, b->payload,
				b->size, fds, b->n_fds);
		}
		expect_good();
		if (!vu_is_closed(&f, 10000))
			fail_msg("%s: the connection goes on", b->what);
		expect_log(b->says);
		vu_fini(&f);
		expect_good();
	}
	for (unsigned i = 0; i < 1000; i++) { /* the server closes its side a little later */
		open_fds(&after);
		if (after == before)
			return;
		usleep(1000);
	}
	assert_int_equal(after, before);
}

/* With need_reply a refusal is an answer; what breaks the protocol still ends the connection. */
static void refusals_are_answered(void **state)
{
	struct vu_front f = {0};

	(void)state;
	vu_init(&f);
	vu_start(&f, w.s.path);
	assert_int_equal(vu_add_region(&f, 0, 4096, 1ull << 50, 0, f.mem_fd), 1);
	assert_int_equal(vu_remove_region(&f, 1, 2, 3), 1);
	vu_expect_alive(&f);
	assert_int_equal(vu_tell_state(&f, VU_SET_VRING_NUM, 99, 16), -1);
	vu_fini(&f);
	expect_good();
}

/* Ring parts in any order, wrong values in each, before the ring runs. */
static void rings_that_cannot_start(void **state)
{
	static const struct {
		uint64_t desc, used, avail;
		uint32_t num, base;
	} cases[] = {
		{8, 0, 0, 64, 0},
		{0, 2, 0, 64, 0},
		{0, 0, 1, 64, 0}, /* misaligned */
		{VU_MEM_LEN, 0, 0, 64, 0},
		{0, VU_MEM_LEN, 0, 64, 0},
		{0, 0, VU_MEM_LEN, 64, 0},
		{VU_SPLIT - 512, 0, 0, 64, 0}, /* over the end of its region */
		{0, 0, VU_SPLIT - 16, 64, 0},
		{0, VU_SPLIT - 16, 0, 64, 0},
		{0, 0, 0, 48, 0},
		{0, 0, 0, 64, 65536},
		{UINT64_MAX - VU_UADDR - 7, 0, 0, 64, 0},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vu_front f = {0};
		uint64_t addr[5] = {2, VU_UADDR + cases[i].desc, VU_UADDR + 0x2000 + cases[i].used,
				    VU_UADDR + 0x1000 + cases[i].avail};

		vu_init(&f);
		vu_connect(&f, w.s.path);
		vu_negotiate(&f);
		vu_share_memory(&f);
		vu_tell_u64(&f, VU_SET_VRING_KICK, 2, f.q[2].kick);
		vu_tell_state(&f, VU_SET_VRING_NUM, 2, cases[i].num);
		vu_tell_state(&f, VU_SET_VRING_BASE, 2, cases[i].base);
		assert_int_equal(vu_tell(&f, VU_SET_VRING_ADDR, addr, sizeof(addr), -1), 0);
		server_unlimit_log(&w.s);
		assert_int_equal(vu_tell_state(&f, VU_SET_VRING_ENABLE, 2, 1), -1);
		expect_log("queue 2");
		vu_fini(&f);
		expect_good();
	}
}

static void inflight_buffers_that_lie(void **state)
{
	static const struct {
		uint64_t size, off;
		uint16_t queues, num;
	} cases[] = {
		{1 << 20, 0, 0, 64},
		{1 << 20, 0, 3, 0},
		{1 << 20, 0, 65535, 64},
		{64, 0, 3, 64},
		{VU_MEM_LEN, VU_MEM_LEN - 64, 3, 64},
		{UINT64_MAX, 0, 3, 64},
		{1 << 20, UINT64_MAX - 7, 3, 64},
		{1 << 20, 1, 3, 64},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vu_front f = {0};

		vu_init(&f);
		vu_connect(&f, w.s.path);
		vu_negotiate(&f);
		memcpy(f.inflight_shape, &cases[i], VU_INFLIGHT_LEN);
		server_unlimit_log(&w.s);
		assert_int_equal(vu_tell(&f, VU_SET_INFLIGHT_FD, f.inflight_shape, VU_INFLIGHT_LEN,
					 f.mem_fd),
				 1);
		expect_log("SET_INFLIGHT_FD refused");
		vu_fini(&f);
	}
	expect_good();
}

/* Messages cut off at every byte, by a front end that then hangs up; and one that dawdles. */
static void cut_messages(void **state)
{
	uint32_t message[5] = {VU_SET_FEATURES, VU_VERSION, 8, 0, 0};
	struct vu_front f = {0};

	(void)state;
	vu_init(&f);
	for (unsigned len = 1; len < sizeof(message); len++) {
		vu_connect(&f, w.s.path);
		assert_int_equal(send(f.fd, message, len, 0), len);
		vu_disconnect(&f);
	}
	vu_connect(&f, w.s.path);
	message[0] = VU_GET_FEATURES;
	message[2] = 0;
	for (unsigned i = 0; i < 12; i++) {
		assert_int_equal(send(f.fd, (char *)message + i, 1, 0), 1);
		expect_good();
	}
	vu_receive(&f, VU_GET_FEATURES, message, 8, NULL);
	vu_fini(&f);
	expect_good();
}

static void random_messages(void **state)
{
	(void)state;
	srand(815);
	for (unsigned round = 0; round < 300; round++) {
		struct vu_front f = {0};

		vu_init(&f);
		if (round & 1)
			vu_start(&f, w.s.path);
		else
			vu_connect(&f, w.s.path);
		for (unsigned i = 0; i < 10; i++) {
			uint64_t payload[40];
			int fds[2] = {f.mem_fd, f.q[0].kick};
			uint32_t request = (uint32_t)rand() % 44;

			for (unsigned k = 0; k < 40; k++)
				payload[k] = rand() & 1 ? (uint64_t)rand() % 5
							: (uint64_t)rand() << (rand() % 34);
			vu_send(&f, request, VU_VERSION | (rand() & 8), payload,
				request < VU_REQUESTS ? (uint32_t)(8 * (rand() % 6))
						      : (uint32_t)rand() % 300,
				fds, (unsigned)rand() % 3);
		}
		vu_fini(&f);
	}
	expect_good();
}

/* Rings spoilt by a guest: only that queue stops, of this guest. */
static void spoilt_rings(void **state)
{
	static const char *const says[] = {"ahead",     "names descriptor", "outside guest memory",
					   "cut short", "no room",          "cut short"};

	(void)state;
	for (unsigned i = 0; i < sizeof(says) / sizeof(says[0]); i++) {
		struct vu_front f = {.n_queues = 4};
		struct vu_slot *s;
		struct ring *r;
		uint64_t one = 1, count;
		int err = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		unsigned queue = i == 5 ? 0 : 3;

		vu_init(&f);
		vu_start(&f, w.s.path);
		assert_int_equal(vu_tell_u64(&f, VU_SET_VRING_ERR, queue, err), 0);
		server_unlimit_log(&w.s);
		r = &f.q[queue].ring;
		s = vu_slot(&f, queue);
		vu_post(&f, s,
			(struct ring_buf[2]){
				{vu_gpa((uint64_t)(s->req - f.mem)), i == 3 ? 50 : 51, false},
				{vu_gpa((uint64_t)(s->resp - f.mem)), i == 4 ? 107 : 108, true}},
			2);
		switch (i) {
		case 0: put_le16(r->avail + 2, 1000); break;
		case 1: put_le16(r->avail + 4, 64); break;
		case 2: put_le64(r->desc, VU_SPLIT + 1); break;
		case 5: put_le32(r->desc + 8, 3); break;
		default: break;
		}
		assert_int_equal(write(f.q[queue].kick, &one, 8), 8);
		expect_log(says[i]);
		for (unsigned k = 0; read(err, &count, 8) != 8; k++) { /* the front end is told */
			assert_true(k < 1000);
			usleep(1000);
		}
		vu_expect_alive(&f); /* its other queues work */
		expect_good();
		vu_stop_queue(&f, queue); /* and it can be started anew */
		ring_fini(r);
		ring_init(r, f.mem + (size_t)queue * RING_BYTES, 64, false, false);
		vu_start_queue(&f, queue, 0);
		s = queue ? vu_command(&f, queue, 0, (uint8_t[6]){0x12, 0, 0, 0, 36}, 6, 0, 36)
			  : vu_post_tmf(&f, 7, (uint8_t[8]){1, 0, 0x40}, 0);
		vu_wait(&f, s);
		close(err);
		vu_fini(&f);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_messages_end_their_connection),
		cmocka_unit_test(refusals_are_answered),
		cmocka_unit_test(rings_that_cannot_start),
		cmocka_unit_test(inflight_buffers_that_lie),
		cmocka_unit_test(cut_messages),
		cmocka_unit_test(random_messages),
		cmocka_unit_test(spoilt_rings),
	};

	if (backend_is_missing())
		return EXIT_SKIPPED;
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
