/* Each field that a client controls, violated (transports.md 9.1): it costs the client at most. */
#include "vfu_test.h"

#include <sys/socket.h>

/* The server is alive, for this client. */
static void expect_alive(struct vfu_client *c)
{
	assert_int_equal(client_read32(c, 0, TOY_ID), TOY_ID_VALUE);
}

/* ... and for another one, once c was ended. */
static void expect_ended(struct vfu_server *s, struct vfu_client *c)
{
	struct vfu_client *d;

	while (client_receive(c))
		;
	client_close(c);
	server_wait_clients(s, 0);
	d = client_open(s->path[0]);
	expect_alive(d);
	client_close(d);
}

static void put_header(uint8_t *h, unsigned command, uint32_t size, uint32_t flags)
{
	vfu_put(h, HDR_ID, 7);
	vfu_put(h, HDR_COMMAND, command);
	vfu_put(h, HDR_SIZE, size);
	vfu_put(h, HDR_FLAGS, flags);
	vfu_put(h, HDR_ERROR, 0);
}

static void test_impossible_sizes(void **state)
{
	static const uint32_t sizes[] = {0,          1,          15,        (1 << 20) + 33,
					 0x7fffffff, 0x80000000, 0xffffffff};
	struct vfu_server *s = *state;

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct vfu_client *c = client_open(s->path[0]);
		uint8_t h[VFU_HEADER_LEN];

		put_header(h, VFU_REGION_READ, sizes[i], 0);
		client_send_raw(c, h, sizeof(h), NULL, 0);
		expect_ended(s, c);
	}
}

static void test_sizes_that_do_not_fit_the_command(void **state)
{
	static uint8_t payload[200000];
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);

	for (unsigned command = 0; command < VFU_COMMANDS + 2; command++) {
		for (size_t len = 0; len < 64; len++) {
			if (command == VFU_RESET && !len)
				continue;
			client_call(c, command, payload, len, NULL, 0);
			assert_true(c->flags & VFU_ERROR ||
				    len == (command == VFU_GET_INFO ||
							    command == VFU_GET_IRQ_INFO ||
							    command == VFU_GET_REGION_IO_FDS
						    ? 16u
					    : command == VFU_GET_REGION_INFO ? 32u
									     : len));
		}
		client_call(c, command, payload, sizeof(payload), NULL, 0);
		assert_true(c->flags & VFU_ERROR);
	}
	expect_alive(c);
	client_close(c);
}

static void test_unknown_commands(void **state)
{
	static const unsigned commands[] = {0,  VFU_DMA_READ, VFU_DMA_WRITE, VFU_DIRTY_PAGES,
					    19, 4711,         0xffff};
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);

	for (unsigned i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		assert_int_equal(client_call(c, commands[i], NULL, 0, NULL, 0), ENOTSUP);
		assert_int_equal(c->command, commands[i]);
		assert_int_equal(c->len, 0);
	}
	expect_alive(c);
	client_close(c);
}

static void test_types_and_flags(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);
	uint8_t h[VFU_HEADER_LEN];
	uint16_t id;

	id = client_send(c, VFU_GET_INFO, 0xffffffc0, "0123456789abcdef", 16, NULL, 0);
	assert_int_equal(client_reply(c, id), 0); /* unknown flags mean nothing */
	client_send(c, 4711, VFU_NO_REPLY, NULL, 0, NULL, 0);
	client_send(c, VFU_REGION_WRITE, VFU_NO_REPLY, "0123456789abcdef", 16, NULL, 0);
	expect_alive(c); /* nobody was told of these */
	put_header(h, VFU_DMA_READ, VFU_HEADER_LEN, VFU_TYPE_REPLY);
	client_send_raw(c, h, sizeof(h), NULL, 0); /* a reply to nothing */
	expect_ended(s, c);
	c = client_open(s->path[0]);
	put_header(h, VFU_GET_INFO, VFU_HEADER_LEN, 2);
	client_send_raw(c, h, sizeof(h), NULL, 0); /* neither command nor reply */
	expect_ended(s, c);
}

static void test_too_many_descriptors(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);
	unsigned before = open_fds();
	uint8_t m[RINFO_LEN] = {0}, h[VFU_HEADER_LEN];
	int fds[CLIENT_FDS];

	for (unsigned i = 0; i < CLIENT_FDS; i++)
		fds[i] = c->fd;
	assert_int_equal(client_call(c, VFU_GET_INFO, m, INFO_LEN, fds, 1), EINVAL);
	assert_int_equal(client_call(c, VFU_DMA_MAP, m, MAP_LEN, fds, 2), EINVAL);
	assert_int_equal(client_call(c, VFU_SET_IRQS, m, IRQSET_LEN, fds, 17), EINVAL);
	assert_int_equal(client_call(c, 4711, m, 8, fds, CLIENT_FDS), ENOTSUP);
	wait_open_fds(before);
	expect_alive(c);
	put_header(h, VFU_GET_INFO, VFU_HEADER_LEN + INFO_LEN, 0);
	client_send_raw(c, h, sizeof(h), fds, CLIENT_FDS);
	for (unsigned i = 0; i < INFO_LEN; i++) /* more with every byte of one message */
		client_send_raw(c, "", 1, fds, CLIENT_FDS);
	expect_ended(s, c);
	wait_open_fds(before - 2);
}

/* Descriptors belong to the message they came with, however much is read at once. */
static void test_descriptors_find_their_message(void **state)
{
	enum { ROUNDS = 50 };
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);
	uint8_t m[IRQSET_LEN];
	uint16_t id[ROUNDS];
	int fd[8];

	vfu_put(m, IRQSET_FLAGS, VFU_SET_EVENTFD | VFU_SET_TRIGGER);
	vfu_put(m, IRQSET_INDEX, VFU_IRQ_MSIX);
	vfu_put(m, IRQSET_COUNT, 1);
	for (unsigned i = 0; i < 8; i++)
		fd[i] = new_eventfd();
	for (unsigned i = 0; i < ROUNDS; i++) {
		client_post32(c, 0, TOY_SCRATCH, i);
		vfu_put(m, IRQSET_START, i % 8);
		id[i] = client_send(c, VFU_SET_IRQS, 0, m, sizeof(m), &fd[i % 8], 1);
		client_post32(c, 0, TOY_SCRATCH, i);
	}
	for (unsigned i = 0; i < ROUNDS; i++)
		assert_int_equal(client_reply(c, id[i]), 0);
	vfu_put(m, IRQSET_FLAGS, VFU_SET_NONE | VFU_SET_TRIGGER);
	for (unsigned i = 0; i < 8; i++) {
		vfu_put(m, IRQSET_START, i);
		assert_int_equal(client_call(c, VFU_SET_IRQS, m, sizeof(m), NULL, 0), 0);
		for (unsigned j = 0; j < 8; j++)
			assert_int_equal(take_signals(fd[j]), i == j);
	}
	for (unsigned i = 0; i < 8; i++)
		close(fd[i]);
	client_close(c);
}

static void test_wrong_versions(void **state)
{
	static const struct {
		unsigned major, minor;
		const char *json;
		int res;
	} wrong[] = {
		{1, 0, "{}", ENOTSUP},
		{0xffff, 0xffff, NULL, ENOTSUP},
		{0, 0, "{", EINVAL},
		{0, 0, "[]", EINVAL},
		{0, 0, "5", EINVAL},
		{0, 0, "{\"capabilities\":5}", EINVAL},
		{0, 0, "{\"capabilities\":{\"max_msg_fds\":-1}}", EINVAL},
		{0, 0, "{\"capabilities\":{\"max_msg_fds\":\"8\"}}", EINVAL},
		{0, 0, "{\"capabilities\":{\"max_msg_fds\":1.5}}", EINVAL},
		{0, 0, "{\"capabilities\":{\"max_msg_fds\":99999999999999999999}}", EINVAL},
		{0, 0, "{\"capabilities\":{\"max_data_xfer_size\":0}}", EINVAL},
		{0, 0, "{\"capabilities\":{\"pgsizes\":512}}", EINVAL},
		{0, 0, "{\"capabilities\":{\"pgsizes\":4608}}", EINVAL},
		{0, 0, "{\"capabilities\":{\"max_dma_maps\":-5}}", EINVAL},
		{0, 0, "{\"capabilities\":{\"write_multiple\":1}}", EINVAL},
		{0, 0, "{\"a\":[[[[[[[[[[[[[[]]]]]]]]]]]]]]}", EINVAL},
	};
	struct vfu_server *s = *state;
	char deep[4000];

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct vfu_client *c = client_connect(s->path[0]);

		assert_int_equal(client_version(c, wrong[i].major, wrong[i].minor, wrong[i].json),
				 wrong[i].res);
		expect_ended(s, c);
	}
	memset(deep, '[', sizeof(deep) - 1);
	deep[sizeof(deep) - 1] = 0;
	for (size_t len = sizeof(deep) - 1; len; len = 0) {
		struct vfu_client *c = client_connect(s->path[0]);

		assert_int_equal(client_version(c, 0, 0, deep), EINVAL);
		expect_ended(s, c);
	}
}

static void test_version_text_without_its_end(void **state)
{
	static const char *const texts[] = {"{}", "{}\0{}", "", "\0"};
	static const size_t lens[] = {2, 6, 0, 2};
	struct vfu_server *s = *state;

	for (unsigned i = 0; i < 4; i++) {
		struct vfu_client *c = client_connect(s->path[0]);
		uint8_t m[16] = {0};

		memcpy(m + VER_LEN, texts[i], lens[i]);
		assert_int_equal(client_call(c, VFU_VERSION, m, VER_LEN + lens[i], NULL, 0),
				 i == 2 ? 0 : EINVAL);
		client_close(c);
	}
	for (size_t len = 0; len < VER_LEN; len++) {
		struct vfu_client *c = client_connect(s->path[0]);

		assert_int_equal(client_call(c, VFU_VERSION, "\0\0\0\0", len, NULL, 0), EINVAL);
		expect_ended(s, c);
	}
}

static void test_order_of_version(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_connect(s->path[0]);
	uint8_t m[INFO_LEN] = {0};

	assert_int_equal(client_call(c, VFU_GET_INFO, m, sizeof(m), NULL, 0), EINVAL);
	assert_int_equal(client_call(c, VFU_RESET, NULL, 0, NULL, 0), EINVAL);
	assert_int_equal(client_map(c, 0, 4096, 3, -1, 0), EINVAL);
	assert_int_equal(client_version(c, 0, 0, "{}"), 0);
	assert_int_equal(client_version(c, 0, 0, "{}"), EINVAL);
	expect_alive(c);
	client_close(c);
	c = client_connect(s->path[0]);
	put_header(m, VFU_DMA_READ, VFU_HEADER_LEN, VFU_TYPE_REPLY);
	client_send_raw(c, m, VFU_HEADER_LEN, NULL, 0);
	expect_ended(s, c);
}

static void test_accesses_outside(void **state)
{
	static const struct {
		unsigned region;
		uint64_t off;
		uint32_t len;
	} wrong[] = {
		{0, 0x1000, 1},
		{0, 0xffd, 4},
		{0, UINT64_MAX, 1},
		{0, UINT64_MAX - 3, 8},
		{0, 0, 0},
		{0, 0, 0x1001},
		{0, 0, (1 << 20) + 1},
		{0, 0, 0xffffffff},
		{0, 0xfff, 0xffffffff},
		{1, 16, 1},
		{1, 0x100000000, 1},
		{3, 0, 1},
		{6, 0, 4},
		{CONFIG, 256, 1},
		{CONFIG, 0x100000000, 4},
		{CONFIG, 253, 4},
		{CONFIG, 0, 4096},
		{8, 0, 1},
		{9, 0, 4},
		{0xffffffff, 0, 4},
		{5, 0x1000, 4},
	};
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);
	uint8_t m[ACCESS_LEN + 8192] = {0};

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		uint32_t len = wrong[i].len;

		vfu_put(m, ACCESS_OFF, wrong[i].off);
		vfu_put(m, ACCESS_REGION, wrong[i].region);
		vfu_put(m, ACCESS_COUNT, len);
		assert_int_equal(client_call(c, VFU_REGION_READ, m, ACCESS_LEN, NULL, 0), EINVAL);
		assert_int_equal(client_call(c, VFU_REGION_WRITE, m,
					     ACCESS_LEN + (len <= 8192 ? len : 8), NULL, 0),
				 EINVAL);
	}
	vfu_put(m, ACCESS_OFF, TOY_SCRATCH);
	vfu_put(m, ACCESS_REGION, 0);
	vfu_put(m, ACCESS_COUNT, 4);
	for (size_t len = 0; len < 16; len++) /* less and more data than said */
		assert_int_equal(client_call(c, VFU_REGION_WRITE, m, ACCESS_LEN + len, NULL, 0),
				 len == 4 ? 0 : EINVAL);
	expect_alive(c);
	client_close(c);
}

/* Widths and alignments that no bus makes arrive at the device as several. */
static void test_odd_accesses(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);
	uint8_t data[64];

	for (uint32_t len = 1; len <= sizeof(data); len++) {
		for (uint64_t off = 0; off < 16; off++) {
			memset(data, 0xff, sizeof(data));
			assert_int_equal(client_access(c, true, 0, 0x700 + off, data, len), 0);
			assert_int_equal(client_access(c, false, 0, 0x700 + off, data, len), 0);
		}
	}
	expect_alive(c);
	client_close(c);
}

static void test_wrong_write_multi(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);
	uint8_t m[MULTI_LEN + 2 * MULTI_ENTRY_LEN] = {0};
	static const uint64_t ns[] = {0,          1,          3,
				      0xffffffff, UINT64_MAX, UINT64_MAX / MULTI_ENTRY_LEN + 1};
	static const uint32_t counts[] = {0, 9, 0xffffffff};

	for (unsigned i = 0; i < sizeof(ns) / sizeof(ns[0]); i++) {
		vfu_put(m, MULTI_N, ns[i]);
		assert_int_equal(client_call(c, VFU_REGION_WRITE_MULTI, m, sizeof(m), NULL, 0),
				 EINVAL);
	}
	vfu_put(m, MULTI_N, 2);
	vfu_put(m + MULTI_LEN, ACCESS_COUNT, 8);
	for (unsigned i = 0; i < 3; i++) {
		vfu_put(m + MULTI_LEN + MULTI_ENTRY_LEN, ACCESS_COUNT, counts[i]);
		assert_int_equal(client_call(c, VFU_REGION_WRITE_MULTI, m, sizeof(m), NULL, 0),
				 EINVAL);
	}
	expect_alive(c);
	client_close(c);
}

static void test_wrong_indices(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);
	uint8_t m[RINFO_LEN];

	for (unsigned i = 0; i < 2; i++) {
		uint32_t index = i ? 0xffffffff : 9;

		memset(m, 0xff, sizeof(m)); /* argsz is no size of anything */
		vfu_put(m, RINFO_INDEX, index);
		assert_int_equal(client_call(c, VFU_GET_REGION_INFO, m, RINFO_LEN, NULL, 0),
				 EINVAL);
		assert_int_equal(client_call(c, VFU_GET_IRQ_INFO, m, IRQINFO_LEN, NULL, 0), EINVAL);
		vfu_put(m, IOFDS_FLAGS, 0);
		assert_int_equal(client_call(c, VFU_GET_REGION_IO_FDS, m, IOFDS_LEN, NULL, 0),
				 EINVAL);
	}
	for (unsigned i = 0; i < VFU_REGIONS; i++) {
		memset(m, 0, sizeof(m)); /* nor is this */
		vfu_put(m, RINFO_INDEX, i);
		assert_int_equal(client_call(c, VFU_GET_REGION_INFO, m, RINFO_LEN, NULL, 0), 0);
		assert_int_equal(c->len, RINFO_LEN);
	}
	expect_alive(c);
	client_close(c);
}

/* Answers to DMA that do not fit the question. */
static void test_wrong_dma_answers(void **state)
{
	static const struct {
		int command, len, id, count;
	} wrong[] = {
		{VFU_DMA_READ, DMA_LEN + 99, 0, 100},
		{VFU_DMA_READ, DMA_LEN + 101, 0, 100},
		{VFU_DMA_READ, 0, 0, 100},
		{VFU_DMA_READ, DMA_LEN + 100, 0, 99},
		{VFU_DMA_WRITE, DMA_LEN + 100, 0, 100},
		{VFU_DMA_READ, DMA_LEN + 100, 1, 100},
		{VFU_VERSION, DMA_LEN + 100, 0, 100},
	};
	static uint8_t ram[4096], m[VFU_HEADER_LEN + DMA_LEN + 200];
	struct vfu_server *s = *state;

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct vfu_client *c = client_open(s->path[0]);

		enable_bus_master(c);
		c->ram = ram;
		c->ram_len = sizeof(ram);
		assert_int_equal(client_map(c, 0, 4096, 3, -1, 0), 0);
		assert_int_equal(toy_transfer(c, TOY_TO_DEVICE, 0, 100), 0);
		client_post32(c, 0, TOY_RUN, TOY_TO_DEVICE);
		assert_true(client_receive(c));
		assert_int_equal(c->command, VFU_DMA_READ);
		put_header(m, (unsigned)wrong[i].command, (uint32_t)(VFU_HEADER_LEN + wrong[i].len),
			   VFU_TYPE_REPLY);
		vfu_put(m, HDR_ID, c->id + (unsigned)wrong[i].id);
		vfu_put(m + VFU_HEADER_LEN, DMA_COUNT, (unsigned)wrong[i].count);
		client_send_raw(c, m, VFU_HEADER_LEN + (size_t)wrong[i].len, NULL, 0);
		expect_ended(s, c);
	}
}

/* The wrong form of the answer to the probe of the layout. */
static void test_wrong_probe_answer(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);
	uint8_t m[VFU_HEADER_LEN + 8] = {0};

	enable_bus_master(c);
	assert_int_equal(client_map(c, 0, 4096, 3, -1, 0), 0);
	client_write32(c, 0, TOY_LEN, 100);
	client_post32(c, 0, TOY_RUN, TOY_TO_DEVICE);
	assert_true(client_receive(c));
	assert_int_equal(c->command, VFU_DMA_WRITE);
	put_header(m, VFU_DMA_WRITE, sizeof(m), VFU_TYPE_REPLY);
	vfu_put(m, HDR_ID, c->id);
	client_send_raw(c, m, sizeof(m), NULL, 0);
	expect_ended(s, c);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		WITH_SERVER(test_impossible_sizes),
		WITH_SERVER(test_sizes_that_do_not_fit_the_command),
		WITH_SERVER(test_unknown_commands),
		WITH_SERVER(test_types_and_flags),
		WITH_SERVER(test_too_many_descriptors),
		WITH_SERVER(test_descriptors_find_their_message),
		WITH_SERVER(test_wrong_versions),
		WITH_SERVER(test_version_text_without_its_end),
		WITH_SERVER(test_order_of_version),
		WITH_SERVER(test_accesses_outside),
		WITH_SERVER(test_odd_accesses),
		WITH_SERVER(test_wrong_write_multi),
		WITH_SERVER(test_wrong_indices),
		WITH_SERVER(test_wrong_dma_answers),
		WITH_SERVER(test_wrong_probe_answer),
	};

	return RUN_TESTS(tests);
}
