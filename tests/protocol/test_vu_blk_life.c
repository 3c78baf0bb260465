/* Life of a virtio disk behind vhost-user: its configuration, a new size, VMMs of other habits. */
#include "vu_disk.h"
#include "vu_test.h"

#include <poll.h>
#include <sys/socket.h>

enum { SECTOR = 512, SECTORS = SERVER_DISK_LEN / SECTOR };

static void server_begin(struct vu_server *s)
{
	s->is_disk = s->packed = true;
	server_init(s);
	server_start(s);
}

static void server_end(struct vu_server *s)
{
	server_stop(s);
	server_fini(s);
}

static void the_configuration_says_what_it_takes(void **state)
{
	struct vu_front f = {.event_idx = true, .indirect = true, .want = VU_BLK_WANT};
	struct vu_server s = {.max_queues = 3};
	uint8_t c[VIRTIO_CONFIG_MAX], most[57];

	(void)state;
	server_begin(&s);
	vu_init(&f);
	vu_start(&f, s.path);
	assert_int_equal(vu_ask(&f, VU_GET_QUEUE_NUM), 3);
	assert_true(vu_ask(&f, VU_GET_FEATURES) & VIRTIO_BLK_F_MQ);
	vu_disk_config(&f, c, VIRTIO_BLK_CONFIG_LEN);
	assert_int_equal(get_le64(c + VIRTIO_BLK_C_CAPACITY), SECTORS);
	assert_int_equal(get_le32(c + VIRTIO_BLK_C_SEG_MAX), VIRTIO_BLK_SEG_MAX);
	assert_int_equal(get_le32(c + VIRTIO_BLK_C_BLK_SIZE), 512);
	assert_int_equal(get_le16(c + VIRTIO_BLK_C_NUM_QUEUES), 3);
	assert_int_equal(get_le32(c + VIRTIO_BLK_C_DISCARD_SEG), VIRTIO_BLK_DISCARD_SEG_MAX);
	assert_int_equal(c[VIRTIO_BLK_C_ZEROES_UNMAP], 1);
	vu_disk_config(&f, most, sizeof(most)); /* QEMU asks for 57 bytes */
	assert_memory_equal(most, c, sizeof(most));
	vu_disk_config(&f, c, VU_CONFIG_LEN);
	for (unsigned i = VIRTIO_BLK_CONFIG_LEN; i < VU_CONFIG_LEN; i++)
		assert_int_equal(c[i], 0);
	vu_fini(&f);
	server_end(&s);
}

static void only_the_cache_mode_can_be_written(void **state)
{
	struct vu_front f = {.want = VU_BLK_WANT};
	struct vu_server s = {.max_queues = 1};
	uint8_t c[VIRTIO_BLK_CONFIG_LEN], two = 2, zero[16] = {0};

	(void)state;
	server_begin(&s);
	f.n_queues = 1;
	vu_init(&f);
	vu_start(&f, s.path);
	assert_int_equal(vu_disk_set_config(&f, VIRTIO_BLK_C_WRITEBACK, &two, 1), 1);
	assert_int_equal(vu_disk_set_config(&f, VIRTIO_BLK_C_WRITEBACK - 1, zero, 3), 1);
	assert_int_equal(vu_disk_set_config(&f, VIRTIO_BLK_C_CAPACITY, zero, 8), 1);
	vu_disk_config(&f, c, sizeof(c));
	assert_int_equal(c[VIRTIO_BLK_C_WRITEBACK], 1);
	assert_int_equal(get_le64(c), SECTORS);
	assert_int_equal(vu_disk_set_config(&f, 0, c, sizeof(c)), 0); /* as it is */
	vu_fini(&f);
	server_end(&s);
}

static void grow(void *arg)
{
	struct vu_server *s = arg;

	if (block_truncate(s->node, 2 * SERVER_DISK_LEN) == 0)
		vhost_user_disk_resized(s->v);
}

static void a_new_size_is_told(void **state)
{
	struct vu_front f = {.event_idx = true, .want = VU_BLK_WANT};
	struct vu_server s = {.max_queues = 1};
	uint8_t c[8], data[SECTOR] = {1};
	uint32_t news[3] = {0};
	int pair[2];

	(void)state;
	server_begin(&s);
	f.n_queues = 1;
	vu_init(&f);
	vu_start(&f, s.path);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(vu_tell(&f, VU_SET_BACKEND_REQ_FD, NULL, 0, pair[1]), 0);
	close(pair[1]);
	assert_int_equal(vu_disk_write(&f, SECTORS, data, sizeof(data)), VU_BLK_IOERR);
	server_call(&s, grow, &s);
	assert_int_equal(recv(pair[0], news, sizeof(news), MSG_WAITALL), sizeof(news));
	assert_int_equal(news[0], VU_B_CONFIG_CHANGE);
	assert_int_equal(news[1], VU_VERSION); /* no answer is wanted */
	assert_int_equal(news[2], 0);
	vu_disk_config(&f, c, sizeof(c));
	assert_int_equal(get_le64(c), 2 * SECTORS);
	assert_int_equal(vu_disk_write(&f, SECTORS, data, sizeof(data)), VU_BLK_OK);
	assert_int_equal(vu_disk_write(&f, 2 * SECTORS - 1, data, sizeof(data)), VU_BLK_OK);
	assert_int_equal(vu_disk_write(&f, 2 * SECTORS, data, sizeof(data)), VU_BLK_IOERR);
	close(pair[0]);
	server_call(&s, grow, &s); /* nobody listens there any more */
	vu_fini(&f);
	server_end(&s);
}

static void share_by_table(struct vu_front *f)
{
	uint64_t table[9] = {
		2, 0, VU_SPLIT, VU_UADDR, 0, VU_GPA2, VU_MEM_LEN - VU_SPLIT, VU_UADDR2, VU_SPLIT};
	int fds[2] = {f->mem_fd, f->mem_fd};

	vu_send(f, VU_SET_MEM_TABLE, VU_VERSION, table, sizeof(table), fds, 2);
}

static void say_state(struct vu_front *f, uint32_t request, uint32_t index, uint32_t value)
{
	uint32_t v[2] = {index, value};

	vu_send(f, request, VU_VERSION, v, sizeof(v), NULL, 0);
}

static void say_u64(struct vu_front *f, uint32_t request, uint64_t value, int fd)
{
	vu_send(f, request, VU_VERSION, &value, 8, &fd, fd >= 0);
}

static void say_addr(struct vu_front *f, unsigned i)
{
	struct ring *r = &f->q[i].ring;
	uint64_t block = (uint64_t)i * RING_BYTES;
	uint64_t addr[5] = {i, vu_uaddr(block + r->desc_off), vu_uaddr(block + r->used_off),
			    vu_uaddr(block + r->avail_off)};

	vu_send(f, VU_SET_VRING_ADDR, VU_VERSION, addr, sizeof(addr), NULL, 0);
}

static void lay_rings(struct vu_front *f)
{
	for (unsigned i = 0; i < f->n_queues; i++) {
		ring_init(&f->q[i].ring, f->mem + (size_t)i * RING_BYTES, f->num, f->packed,
			  f->event_idx);
		ring_want_call(&f->q[i].ring, true);
	}
}

static void expect_disk(struct vu_front *f)
{
	uint8_t data[4 * SECTOR], back[4 * SECTOR];

	for (unsigned i = 0; i < 30; i++) {
		memset(data, (int)i + 1, sizeof(data));
		assert_int_equal(vu_disk_write(f, i * 4, data, sizeof(data)), VU_BLK_OK);
		assert_int_equal(vu_disk_read(f, i * 4, back, sizeof(back)), VU_BLK_OK);
		assert_memory_equal(back, data, sizeof(data));
	}
	assert_int_equal(vu_disk_simple(f, VU_BLK_FLUSH, NULL, 0), VU_BLK_OK);
}

/* Firecracker (transports.md 3.3): CONFIG and nothing else, one queue of 256, a memory table, no
 * message with need_reply. */
static void firecracker_is_served(void **state)
{
	struct vu_front f = {.event_idx = true, .n_queues = 1, .num = 256};
	struct vu_server s = {.max_queues = 4};
	uint8_t c[VIRTIO_BLK_CONFIG_LEN];
	uint64_t offered;

	(void)state;
	server_begin(&s);
	vu_init(&f);
	vu_connect(&f, s.path);
	vu_send(&f, VU_SET_OWNER, VU_VERSION, NULL, 0, NULL, 0);
	offered = vu_ask(&f, VU_GET_FEATURES);
	f.features = offered & (VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_BLK_F_RO |
				VIRTIO_BLK_F_FLUSH | VU_F_PROTOCOL_FEATURES);
	f.protocol = vu_ask(&f, VU_GET_PROTOCOL_FEATURES) & 1 << VU_P_CONFIG;
	assert_true(f.protocol);
	say_u64(&f, VU_SET_PROTOCOL_FEATURES, f.protocol, -1);
	vu_disk_config(&f, c, sizeof(c));
	assert_int_equal(get_le64(c), SECTORS);
	say_u64(&f, VU_SET_FEATURES, f.features, -1);
	share_by_table(&f);
	lay_rings(&f);
	say_state(&f, VU_SET_VRING_NUM, 0, 256);
	say_addr(&f, 0);
	say_state(&f, VU_SET_VRING_BASE, 0, 0);
	say_u64(&f, VU_SET_VRING_CALL, 0, f.q[0].call);
	say_u64(&f, VU_SET_VRING_KICK, 0, f.q[0].kick);
	say_state(&f, VU_SET_VRING_ENABLE, 0, 1);
	expect_disk(&f);
	server_call(&s, grow, &s); /* it has no other socket: it reads the space when told to */
	vu_disk_config(&f, c, sizeof(c));
	assert_int_equal(get_le64(c), 2 * SECTORS);
	vu_fini(&f);
	server_end(&s);
}

/* Cloud Hypervisor (transports.md 3.3): sizes of all queues before anything else of them, memory
 * slots, an in-flight buffer; on pause it stops each queue and starts it where it was. */
static void cloud_hypervisor_is_served(void **state)
{
	struct vu_front f = {.event_idx = true, .n_queues = 2, .num = 128, .inflight = true};
	struct vu_server s = {.max_queues = 2};
	uint32_t base[2];

	(void)state;
	server_begin(&s);
	vu_init(&f);
	f.want = VU_BLK_WANT | VIRTIO_BLK_F_MQ;
	vu_connect(&f, s.path);
	vu_negotiate(&f);
	assert_int_equal(vu_ask(&f, VU_GET_QUEUE_NUM), 2);
	vu_share_memory(&f);
	vu_give_inflight(&f);
	lay_rings(&f);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(vu_tell_state(&f, VU_SET_VRING_NUM, i, 128), 0);
	for (unsigned i = 0; i < 2; i++)
		vu_start_queue(&f, i, 0);
	vu_enable(&f, true);
	expect_disk(&f);
	vu_enable(&f, false);
	for (unsigned i = 0; i < 2; i++)
		base[i] = vu_stop_queue(&f, i);
	assert_int_equal(base[0], 61);
	assert_int_equal(base[1], 0);
	for (unsigned i = 0; i < 2; i++)
		vu_start_queue(&f, i, base[i]);
	vu_enable(&f, true);
	expect_disk(&f);
	vu_fini(&f);
	server_end(&s);
}

/*
 * A driver that is quick, then slow, then quick again: whether its queue is looked at or slept on,
 * no request is left lying. The pauses lie around the time that a look takes.
 */
static void no_request_is_left_lying(void **state)
{
	(void)state;
	for (unsigned k = 0; k < RING_KINDS; k++) {
		struct vu_server s = {.max_queues = 1};
		struct vu_front f;
		uint8_t data[SECTOR];

		front_of_kind(&f, k);
		f.want = VU_BLK_WANT;
		f.n_queues = 1;
		server_begin(&s);
		vu_init(&f);
		vu_start(&f, s.path);
		for (unsigned i = 0; i < 600; i++) {
			assert_int_equal(vu_disk_read(&f, i, data, sizeof(data)), VU_BLK_OK);
			if (i > 60)
				usleep((unsigned)rand() % 250);
			if (i % 100 == 99)
				usleep(20000);
		}
		vu_fini(&f);
		server_end(&s);
	}
}

/* A front end that goes while its queue is looked at, or stops it. */
static void ends_while_looked_at(void **state)
{
	struct vu_front f = {.event_idx = true, .n_queues = 1, .want = VU_BLK_WANT};
	struct vu_server s = {.max_queues = 1};
	uint8_t data[SECTOR];

	(void)state;
	server_begin(&s);
	vu_init(&f);
	for (unsigned round = 0; round < 30; round++) {
		vu_start(&f, s.path);
		for (unsigned i = 0; i < 40; i++)
			assert_int_equal(vu_disk_read(&f, i, data, sizeof(data)), VU_BLK_OK);
		if (round % 3 == 0)
			vu_stop_queue(&f, 0);
		if (round % 3 == 1)
			assert_int_equal(vu_tell(&f, VU_RESET_DEVICE, NULL, 0, -1), 0);
		vu_disconnect(&f);
	}
	vu_fini(&f);
	server_end(&s);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_configuration_says_what_it_takes),
		cmocka_unit_test(only_the_cache_mode_can_be_written),
		cmocka_unit_test(a_new_size_is_told),
		cmocka_unit_test(firecracker_is_served),
		cmocka_unit_test(cloud_hypervisor_is_served),
		cmocka_unit_test(no_request_is_left_lying),
		cmocka_unit_test(ends_while_looked_at),
	};

	srand(11);
	return RUN_SERVER_TESTS(tests);
}
