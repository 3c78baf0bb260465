/*
 * A VMM that shortens the file of its guest's memory: its connection ends, the server does not. A
 * program of its own, since cmocka takes the signal handler away that the server installs with the
 * first mapping.
 */
#include "vu_test.h"

static void shortened_memory(void **state)
{
	struct vu_server s = {.packed = true, .max_clients = 2};
	struct vu_front f = {0}, good = {.event_idx = true};
	uint64_t one = 1;

	(void)state;
	server_catch_log();
	server_init(&s);
	server_start(&s);
	vu_init(&good);
	vu_start(&good, s.path);
	for (unsigned i = 0; i < 20; i++) {
		bool closed = false;

		server_unlimit_log(&s);
		vu_init(&f);
		vu_start(&f, s.path);
		vu_expect_alive(&f);
		assert_int_equal(ftruncate(f.mem_fd, 0), 0);
		for (unsigned k = 0; k < 10 && !closed; k++) {
			assert_int_equal(write(f.q[2].kick, &one, 8), 8);
			closed = vu_is_closed(&f, 300);
		}
		assert_true(closed);
		expect_log("was shortened");
		assert_int_equal(ftruncate(f.mem_fd, VU_MEM_LEN), 0);
		vu_fini(&f);
		vu_expect_alive(&good);
	}
	vu_fini(&good);
	server_stop(&s);
	server_fini(&s);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(shortened_memory),
	};

	return RUN_SERVER_TESTS(tests);
}
