/*
 * A client shortens the file of its guest's memory. A program of its own: cmocka puts handlers of
 * its own in place for every test, and ours stays only where it came last.
 */
#include "vfu_test.h"

enum { RW = VFU_MAP_READ | VFU_MAP_WRITE, PAGE = 4096 };

/* SIGBUS must not end the daemon; the client that did it goes, in the orderly way. */
static void test_file_shortened_behind_us(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]), *d;
	int fd = new_memory(4 * PAGE);
	uint32_t got = TOY_BUSY;

	enable_bus_master(c);
	assert_int_equal(client_map(c, 0, 4 * PAGE, RW, fd, 0), 0);
	assert_int_equal(ftruncate(fd, 0), 0);
	client_write64(c, TOY_ADDR, 0);
	client_write32(c, 0, TOY_LEN, 3 * PAGE);
	client_post32(c, 0, TOY_RUN, TOY_TO_DEVICE);
	do { /* the transfer runs a little later */
		client_send_read(c, 0, TOY_STATUS, 4);
		if (!client_receive(c))
			break;
		got = vfu_get32(c->payload, VFU_U32(ACCESS_LEN));
	} while (got == TOY_BUSY);
	assert_int_equal(got, TOY_BUSY); /* its end is never heard of */
	client_close(c);
	close(fd);
	d = client_open(s->path[0]);
	assert_int_equal(client_read32(d, 0, TOY_ID), TOY_ID_VALUE);
	client_close(d);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		WITH_SERVER(test_file_shortened_behind_us),
	};

	return RUN_TESTS(tests);
}
