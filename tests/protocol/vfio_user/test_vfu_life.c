/* Connections: how they begin and end, several devices, migration. */
#include "vfu_test.h"

#include <sys/socket.h>

/* Header and half of the payload, then nothing, then the end: at every byte of the message. */
static void test_stops_in_the_middle_of_a_message(void **state)
{
	struct vfu_server *s = *state;
	uint8_t m[VFU_HEADER_LEN + ACCESS_LEN + 4] = {0};

	vfu_put(m, HDR_COMMAND, VFU_REGION_WRITE);
	vfu_put(m, HDR_SIZE, sizeof(m));
	vfu_put(m + VFU_HEADER_LEN, ACCESS_COUNT, 4);
	for (size_t len = 1; len < sizeof(m); len++) {
		struct vfu_client *c = client_open(s->path[0]);
		int fd = new_eventfd();

		client_send_raw(c, m, len, &fd, 1);
		close(fd);
		client_close(c);
		server_wait_clients(s, 0);
	}
}

static void test_messages_byte_by_byte(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);
	uint8_t m[2 * (VFU_HEADER_LEN + ACCESS_LEN)] = {0};

	for (unsigned i = 0; i < 2; i++) {
		uint8_t *p = m + i * (VFU_HEADER_LEN + ACCESS_LEN);

		vfu_put(p, HDR_ID, 100 + i);
		vfu_put(p, HDR_COMMAND, VFU_REGION_READ);
		vfu_put(p, HDR_SIZE, VFU_HEADER_LEN + ACCESS_LEN);
		vfu_put(p + VFU_HEADER_LEN, ACCESS_COUNT, 4);
	}
	for (unsigned i = 0; i < sizeof(m); i++)
		client_send_raw(c, m + i, 1, NULL, 0);
	for (uint16_t i = 0; i < 2; i++) {
		assert_int_equal(client_reply(c, 100 + i), 0);
		assert_int_equal(vfu_get(c->payload + ACCESS_LEN, VFU_U32(0)), TOY_ID_VALUE);
	}
	client_close(c);
}

static void test_state_outlives_the_client(void **state)
{
	struct vfu_server *s = *state;

	for (uint32_t i = 1; i < 20; i++) {
		struct vfu_client *c = client_open(s->path[0]);

		assert_int_equal(client_read32(c, 0, TOY_SCRATCH), i - 1);
		client_write32(c, 0, TOY_SCRATCH, i);
		assert_int_equal(client_map(c, 0, 4096, 3, -1, 0), 0); /* no map is left over */
		client_close(c); /* the next one comes at once */
	}
}

static void test_a_second_client_is_told(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]), *d = client_connect(s->path[0]);

	assert_int_equal(client_version(d, 0, 0, "{}"), EBUSY);
	assert_false(client_receive(d));
	client_write32(c, 0, TOY_SCRATCH, 5);
	client_close(d);
	client_close(c);
	d = client_open(s->path[0]);
	assert_int_equal(client_read32(d, 0, TOY_SCRATCH), 5);
	client_close(d);
}

static void test_several_devices(void **state)
{
	struct vfu_server s = {.n = 4};
	struct vfu_client *c[4];

	(void)state;
	server_start(&s);
	for (unsigned i = 0; i < 4; i++)
		c[i] = client_open(s.path[i]);
	for (uint32_t n = 0; n < 100; n++) {
		for (unsigned i = 0; i < 4; i++)
			client_post32(c[i], 0, TOY_SCRATCH, n * 4 + i);
		for (unsigned i = 0; i < 4; i++)
			assert_int_equal(client_read32(c[i], 0, TOY_SCRATCH), n * 4 + i);
	}
	client_close(c[0]); /* one goes, the others stay */
	for (unsigned i = 1; i < 4; i++) {
		assert_int_equal(client_read32(c[i], 0, TOY_SCRATCH), 396 + i);
		client_close(c[i]);
	}
	server_stop(&s);
}

/*
 * The daemon ends under traffic: the client sees the end of the stream, never a reset, which would
 * make QEMU abort; and what it sent until it saw the end was read.
 */
static void test_end_under_traffic(void **state)
{
	struct vfu_server *s = *state;

	for (unsigned round = 0; round < 3; round++) {
		struct vfu_client *c = client_open(s->path[0]);
		uint32_t error = 0;
		socklen_t len = sizeof(error);
		uint64_t got = 0;

		for (unsigned i = 0; i < 3000; i++)
			client_post32(c, 0, TOY_SCRATCH, i);
		for (unsigned i = 0; i < 50; i++)
			client_send_read(c, 0, TOY_ID, 4);
		if (round == 2)
			server_end_attachments(s);
		else
			server_disconnect(s);
		while (client_receive(c))
			got++;
		assert_in_range(got, 0, 50);
		assert_int_equal(recv(c->fd, &got, 8, MSG_DONTWAIT), 0);
		assert_int_equal(getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &len), 0);
		assert_int_equal(error, 0);
		client_close(c);
	}
}

static void test_a_client_that_does_not_read(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]), *d;
	uint16_t first = c->next_id;
	unsigned n = 0;

	/* more answers than sockets and queue hold: the server stops reading and sends stop here */
	assert_int_equal(fcntl(c->fd, F_SETFL, O_NONBLOCK), 0);
	while (n < 60000) {
		uint8_t m[VFU_HEADER_LEN + ACCESS_LEN] = {0};

		vfu_put(m, HDR_ID, c->next_id);
		vfu_put(m, HDR_COMMAND, VFU_REGION_READ);
		vfu_put(m, HDR_SIZE, sizeof(m));
		vfu_put(m + VFU_HEADER_LEN, ACCESS_OFF, 0x1000);
		vfu_put(m + VFU_HEADER_LEN, ACCESS_REGION, 2);
		vfu_put(m + VFU_HEADER_LEN, ACCESS_COUNT, 1024);
		if (send(c->fd, m, sizeof(m), MSG_NOSIGNAL) != sizeof(m)) {
			struct pollfd p = {.fd = c->fd, .events = POLLOUT};

			if (poll(&p, 1, 200) == 0)
				break;
			continue;
		}
		c->next_id++;
		n++;
	}
	assert_true(n < 60000);
	assert_int_equal(fcntl(c->fd, F_SETFL, 0), 0);
	for (unsigned i = 0; i < n; i++) /* and goes on when somebody listens again */
		assert_int_equal(client_reply(c, (uint16_t)(first + i)), 0);
	assert_int_equal(client_read32(c, 0, TOY_ID), TOY_ID_VALUE);
	client_close(c);
	d = client_open(s->path[0]);
	client_close(d);
}

static int set_state(struct vfu_client *c, uint32_t want)
{
	uint8_t m[FEATURE_MAX_LEN];

	vfu_put(m, FEATURE_ARGSZ, sizeof(m));
	vfu_put(m, FEATURE_FLAGS, VFU_FEATURE_SET | VFU_FEATURE_MIG_STATE);
	vfu_put(m, FEATURE_STATE, want);
	vfu_put(m, FEATURE_STATE_FD, 0);
	return client_call(c, VFU_FEATURE, m, sizeof(m), NULL, 0);
}

static unsigned get_state(struct vfu_client *c)
{
	uint8_t m[FEATURE_LEN];

	vfu_put(m, FEATURE_ARGSZ, FEATURE_MAX_LEN);
	vfu_put(m, FEATURE_FLAGS, VFU_FEATURE_GET | VFU_FEATURE_MIG_STATE);
	assert_int_equal(client_call(c, VFU_FEATURE, m, sizeof(m), NULL, 0), 0);
	return vfu_get32(c->payload, FEATURE_STATE);
}

static size_t read_state(struct vfu_client *c, uint8_t *data, size_t room)
{
	uint8_t m[MIGDATA_LEN];
	size_t len = 0, n;

	do {
		vfu_put(m, MIGDATA_ARGSZ, sizeof(m));
		vfu_put(m, MIGDATA_SIZE, 100);
		assert_int_equal(client_call(c, VFU_MIG_DATA_READ, m, sizeof(m), NULL, 0), 0);
		n = vfu_get32(c->payload, MIGDATA_SIZE);
		assert_int_equal(c->len, MIGDATA_LEN + n);
		assert_true(len + n <= room);
		memcpy(data + len, c->payload + MIGDATA_LEN, n);
		len += n;
	} while (n == 100);
	return len;
}

static int write_state(struct vfu_client *c, const uint8_t *data, size_t len)
{
	uint8_t m[MIGDATA_LEN + 100];
	int res = 0;

	for (size_t at = 0; at < len && !res; at += 100) {
		size_t n = len - at < 100 ? len - at : 100;

		vfu_put(m, MIGDATA_ARGSZ, MIGDATA_LEN + n);
		vfu_put(m, MIGDATA_SIZE, n);
		memcpy(m + MIGDATA_LEN, data + at, n);
		res = client_call(c, VFU_MIG_DATA_WRITE, m, MIGDATA_LEN + n, NULL, 0);
	}
	return res;
}

static void test_migration(void **state)
{
	struct vfu_server s = {.n = 2};
	struct vfu_client *from, *to;
	static uint8_t data[65536];
	uint8_t m[FEATURE_LEN];
	size_t len;

	(void)state;
	server_start(&s);
	from = client_open(s.path[0]);
	to = client_open(s.path[1]);
	vfu_put(m, FEATURE_ARGSZ, FEATURE_MAX_LEN);
	vfu_put(m, FEATURE_FLAGS, VFU_FEATURE_GET | VFU_FEATURE_MIGRATION);
	assert_int_equal(client_call(from, VFU_FEATURE, m, sizeof(m), NULL, 0), 0);
	assert_int_equal(vfu_get(from->payload, FEATURE_MIG_FLAGS), VFU_MIG_STOP_COPY);
	client_write32(from, 0, TOY_SCRATCH, 0xfeed);
	config_write(from, 0x3c, 11, 1);
	assert_int_equal(get_state(from), VFU_MIG_RUNNING);
	assert_int_equal(set_state(from, VFU_MIG_STOP_COPYING), 0); /* by way of stopped */
	assert_int_equal(get_state(from), VFU_MIG_STOP_COPYING);
	len = read_state(from, data, sizeof(data));
	assert_true(len > 0);
	assert_int_equal(set_state(to, VFU_MIG_RESUMING), 0);
	assert_int_equal(write_state(to, data, len), 0);
	assert_int_equal(set_state(to, VFU_MIG_RUNNING), 0);
	assert_int_equal(get_state(to), VFU_MIG_RUNNING);
	assert_int_equal(client_read32(to, 0, TOY_SCRATCH), 0xfeed);
	assert_int_equal(config_read(to, 0x3c, 1), 11);
	client_close(from); /* in mid-migration: the device runs again for the next client */
	server_wait_clients(&s, 0);
	from = client_open(s.path[0]);
	assert_int_equal(get_state(from), VFU_MIG_RUNNING);
	assert_int_equal(client_read32(from, 0, TOY_SCRATCH), 0xfeed);
	/* damaged data leaves a state of error, and a reset that */
	assert_int_equal(set_state(to, VFU_MIG_RESUMING), 0);
	assert_int_equal(write_state(to, data, len / 2), 0);
	assert_int_not_equal(set_state(to, VFU_MIG_STOPPED), 0);
	assert_int_equal(get_state(to), VFU_MIG_ERROR);
	assert_int_not_equal(set_state(to, VFU_MIG_RUNNING), 0);
	assert_int_equal(client_call(to, VFU_RESET, NULL, 0, NULL, 0), 0);
	assert_int_equal(get_state(to), VFU_MIG_RUNNING);
	assert_int_equal(client_read32(to, 0, TOY_ID), TOY_ID_VALUE);
	client_close(from);
	client_close(to);
	server_stop(&s);
}

static void test_wrong_migration(void **state)
{
	static const struct {
		uint32_t flags;
		size_t len;
		int res;
	} wrong[] = {
		{VFU_FEATURE_GET | 3, 16, ENOTTY},
		{VFU_FEATURE_SET | VFU_FEATURE_MIGRATION, 16, ENOTTY},
		{VFU_FEATURE_MIGRATION, 16, EINVAL},
		{VFU_FEATURE_GET | VFU_FEATURE_SET | VFU_FEATURE_MIG_STATE, 16, EINVAL},
		{1u << 30 | VFU_FEATURE_GET | VFU_FEATURE_MIG_STATE, 16, EINVAL},
		{VFU_FEATURE_SET | VFU_FEATURE_MIG_STATE, 8, EINVAL},
		{VFU_FEATURE_GET | VFU_FEATURE_MIG_STATE, 8, EINVAL}, /* argsz too small */
		{VFU_FEATURE_PROBE | VFU_FEATURE_MIG_STATE, 8, 0},
	};
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);
	static uint8_t m[4096];

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		vfu_put(m, FEATURE_ARGSZ, wrong[i].len);
		vfu_put(m, FEATURE_FLAGS, wrong[i].flags);
		vfu_put(m, FEATURE_STATE, VFU_MIG_STOPPED);
		assert_int_equal(client_call(c, VFU_FEATURE, m, wrong[i].len, NULL, 0),
				 wrong[i].res);
	}
	assert_int_equal(set_state(c, 0), EINVAL);
	assert_int_equal(set_state(c, 6), EINVAL); /* pre-copy is not offered */
	assert_int_equal(set_state(c, 0xffffffff), EINVAL);
	vfu_put(m, MIGDATA_SIZE, 0);
	assert_int_equal(client_call(c, VFU_MIG_DATA_READ, m, MIGDATA_LEN, NULL, 0), EINVAL);
	assert_int_equal(client_call(c, VFU_MIG_DATA_WRITE, m, MIGDATA_LEN, NULL, 0), EINVAL);
	assert_int_equal(set_state(c, VFU_MIG_RESUMING), 0);
	vfu_put(m, MIGDATA_SIZE, 0xffffffff);
	assert_int_equal(client_call(c, VFU_MIG_DATA_WRITE, m, MIGDATA_LEN + 8, NULL, 0), EINVAL);
	assert_int_not_equal(set_state(c, VFU_MIG_STOPPED), 0); /* of nothing at all */
	assert_int_equal(client_call(c, VFU_RESET, NULL, 0, NULL, 0), 0);
	assert_int_equal(set_state(c, VFU_MIG_STOP_COPYING), 0);
	vfu_put(m, MIGDATA_SIZE, 0xffffffff);
	assert_int_equal(client_call(c, VFU_MIG_DATA_READ, m, MIGDATA_LEN, NULL, 0), EINVAL);
	assert_int_equal(client_read32(c, 0, TOY_ID), TOY_ID_VALUE);
	client_close(c);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		WITH_SERVER(test_stops_in_the_middle_of_a_message),
		WITH_SERVER(test_messages_byte_by_byte),
		WITH_SERVER(test_state_outlives_the_client),
		WITH_SERVER(test_a_second_client_is_told),
		cmocka_unit_test(test_several_devices),
		WITH_SERVER(test_end_under_traffic),
		WITH_SERVER(test_a_client_that_does_not_read),
		cmocka_unit_test(test_migration),
		WITH_SERVER(test_wrong_migration),
	};

	return RUN_TESTS(tests);
}
