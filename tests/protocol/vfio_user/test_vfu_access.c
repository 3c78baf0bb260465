/* Register accesses, what the device tells of itself, the order of answers. */
#include "vfu_test.h"

static void test_version_is_agreed(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_connect(s->path[0]);

	assert_int_equal(
		client_version(c, 0, 7, "{\"capabilities\":{\"max_data_xfer_size\":8192}}"), 0);
	assert_int_equal(vfu_get(c->payload, VER_MAJOR), 0);
	assert_int_equal(vfu_get(c->payload, VER_MINOR), 1);
	assert_int_equal(c->payload[c->len - 1], 0);
	assert_non_null(strstr((char *)c->payload + VER_LEN, "\"max_data_xfer_size\":8192"));
	assert_non_null(strstr((char *)c->payload + VER_LEN, "\"write_multiple\":false"));
	client_close(c);
	c = client_connect(s->path[0]); /* no JSON at all */
	assert_int_equal(client_version(c, 0, 0, NULL), 0);
	assert_int_equal(vfu_get(c->payload, VER_MINOR), 0);
	assert_int_equal(client_read32(c, 0, TOY_ID), TOY_ID_VALUE);
	client_close(c);
}

static void test_device_and_interrupt_info(void **state)
{
	static const uint32_t counts[VFU_IRQS] = {1, 4, 8, 1, 0}, flags[VFU_IRQS] = {7, 1, 1, 1, 1};
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);
	uint8_t m[INFO_LEN] = {INFO_LEN};

	assert_int_equal(client_call(c, VFU_GET_INFO, m, sizeof(m), NULL, 0), 0);
	assert_int_equal(c->len, INFO_LEN);
	assert_int_equal(vfu_get(c->payload, INFO_FLAGS), 3);
	assert_int_equal(vfu_get(c->payload, INFO_REGIONS), 9);
	assert_int_equal(vfu_get(c->payload, INFO_IRQS), 5);
	for (unsigned i = 0; i < VFU_IRQS; i++) {
		memset(m, 0, sizeof(m));
		vfu_put(m, IRQINFO_INDEX, i);
		assert_int_equal(client_call(c, VFU_GET_IRQ_INFO, m, sizeof(m), NULL, 0), 0);
		assert_int_equal(vfu_get(c->payload, IRQINFO_COUNT), counts[i]);
		assert_int_equal(vfu_get(c->payload, IRQINFO_FLAGS), flags[i]);
	}
	client_close(c);
}

static int region_info(struct vfu_client *c, unsigned index, uint32_t argsz)
{
	uint8_t m[RINFO_LEN] = {0};

	vfu_put(m, RINFO_ARGSZ, argsz);
	vfu_put(m, RINFO_INDEX, index);
	return client_call(c, VFU_GET_REGION_INFO, m, sizeof(m), NULL, 0);
}

static void test_region_info(void **state)
{
	static const uint64_t sizes[VFU_REGIONS] = {0x1000, 16, 0x10000, 0, 0x1000,
						    0x1000, 0,  256,     0};
	static const uint32_t flags[VFU_REGIONS] = {3, 3, 15, 0, 7, 3, 0, 3, 0};
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);

	for (unsigned i = 0; i < VFU_REGIONS; i++) {
		assert_int_equal(region_info(c, i, RINFO_LEN), 0);
		assert_int_equal(c->len, RINFO_LEN);
		assert_int_equal(vfu_get(c->payload, RINFO_INDEX), i);
		assert_int_equal(vfu_get(c->payload, RINFO_SIZE), sizes[i]);
		assert_int_equal(vfu_get(c->payload, RINFO_FLAGS), flags[i]);
		assert_int_equal(c->n_fds, i == 4);
	}
	client_close(c);
}

static void test_shared_areas_are_mapped(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);
	const uint8_t *cap = c->payload + RINFO_LEN;
	uint32_t need, v = 0x12345678;
	uint8_t *page;

	assert_int_equal(region_info(c, 2, RINFO_LEN), 0);
	need = vfu_get32(c->payload, RINFO_ARGSZ);
	assert_int_equal(need, RINFO_LEN + SPARSE_LEN + 2 * AREA_LEN);
	assert_int_equal(vfu_get(c->payload, RINFO_CAP_OFF), RINFO_LEN);
	assert_int_equal(c->n_fds, 0);
	assert_int_equal(region_info(c, 2, need), 0);
	assert_int_equal(c->len, need);
	assert_int_equal(c->n_fds, 1);
	assert_int_equal(vfu_get(cap, SPARSE_ID), VFU_CAP_SPARSE);
	assert_int_equal(vfu_get(cap, SPARSE_VERSION), 1);
	assert_int_equal(vfu_get(cap, SPARSE_AREAS), 2);
	assert_int_equal(vfu_get(cap + SPARSE_LEN, AREA_OFF), 0x1000);
	assert_int_equal(vfu_get(cap + SPARSE_LEN, AREA_SIZE), 0x2000);
	assert_int_equal(vfu_get(cap + SPARSE_LEN + AREA_LEN, AREA_OFF), 0x8000);
	assert_int_equal(ftruncate(c->fds[0], 0), -1); /* sealed */
	page = mmap(NULL, 0x1000, PROT_READ | PROT_WRITE, MAP_SHARED, c->fds[0], 0x8000);
	assert_true(page != MAP_FAILED);
	memcpy(page + 0x10, &v, 4); /* what is mapped and what is read by messages is the same */
	assert_int_equal(client_read32(c, 2, 0x8010), v);
	client_write32(c, 2, 0x8014, ~v);
	memcpy(&v, page + 0x14, 4);
	assert_int_equal(v, ~0x12345678u);
	assert_int_equal(client_read32(c, 2, 0x4000), 0x5a5a5a5a); /* a register besides */
	munmap(page, 0x1000);
	client_close(c);
}

static void test_accesses_of_every_width(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);
	uint64_t v = 0x1122334455667788, got = 0;
	uint8_t block[256];

	client_write64(c, TOY_SCRATCH, v);
	assert_int_equal(client_access(c, false, 0, TOY_SCRATCH, &got, 8), 0);
	assert_true(got == v);
	assert_int_equal(client_read32(c, 0, TOY_SCRATCH + 4), 0x11223344);
	for (unsigned i = 0; i < 16; i++) {
		uint8_t b = (uint8_t)(i * 7);

		assert_int_equal(client_access(c, true, 1, i, &b, 1), 0);
	}
	assert_int_equal(client_access(c, false, 1, 5, block, 1), 0);
	assert_int_equal(block[0], 35);
	assert_int_equal(client_access(c, false, CONFIG, 0, block, 256), 0); /* as QEMU begins */
	assert_int_equal(vfu_get(block, VFU_U16(0)), 0x1234);
	assert_int_equal(vfu_get(block, VFU_U16(2)), 0x7079);
	assert_int_equal(block[0x10], 0);
	assert_int_equal(block[0x14], 1);
	assert_int_equal(block[0x18], 12);
	config_write(c, 0x10, 0xffffffff, 4); /* sizing, as Cloud Hypervisor does it */
	assert_int_equal(config_read(c, 0x10, 4), 0xfffff000);
	client_close(c);
}

static void test_posted_writes_come_before_the_next_read(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);

	for (uint32_t i = 1; i <= 20000; i++)
		client_post32(c, 0, TOY_SCRATCH, i);
	assert_int_equal(client_read32(c, 0, TOY_SCRATCH), 20000);
	assert_true(client_is_silent(c, 20));
	client_close(c);
}

static void put_entry(uint8_t *p, unsigned i, unsigned region, uint64_t off, uint32_t v)
{
	p += MULTI_LEN + i * MULTI_ENTRY_LEN;
	memset(p, 0, MULTI_ENTRY_LEN);
	vfu_put(p, ACCESS_OFF, off);
	vfu_put(p, ACCESS_REGION, region);
	vfu_put(p, ACCESS_COUNT, 4);
	memcpy(p + ACCESS_LEN, &v, 4);
}

static void test_many_writes_in_one_message(void **state)
{
	enum { N = 200, LEN = MULTI_LEN + N * MULTI_ENTRY_LEN };
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);
	uint8_t m[LEN];

	vfu_put(m, MULTI_N, N);
	for (unsigned i = 0; i < N; i++)
		put_entry(m, i, 0, TOY_SCRATCH, i);
	put_entry(m, 7, 1, 4096, 1); /* one that fails changes nothing for the others */
	client_send(c, VFU_REGION_WRITE_MULTI, VFU_NO_REPLY, m, LEN, NULL, 0);
	assert_int_equal(client_read32(c, 0, TOY_SCRATCH), N - 1);
	assert_int_equal(client_call(c, VFU_REGION_WRITE_MULTI, m, LEN, NULL, 0), 0);
	assert_int_equal(c->len, MULTI_LEN);
	client_close(c);
}

static void test_doorbells_ring_without_a_message(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);
	uint8_t m[IOFDS_LEN] = {0};
	const uint8_t *entry = c->payload + IOFDS_LEN;
	uint64_t one = 1;

	vfu_put(m, IOFDS_ARGSZ, 4096);
	vfu_put(m, IOFDS_COUNT, 16);
	assert_int_equal(client_call(c, VFU_GET_REGION_IO_FDS, m, sizeof(m), NULL, 0), 0);
	assert_int_equal(vfu_get(c->payload, IOFDS_COUNT), 2);
	assert_int_equal(c->len, IOFDS_LEN + 2 * IOFD_LEN);
	assert_int_equal(c->n_fds, 2);
	assert_int_equal(vfu_get(entry, IOFD_OFF), TOY_DOORBELL);
	assert_int_equal(vfu_get(entry + IOFD_LEN, IOFD_FLAGS), 1);
	assert_int_equal(vfu_get(entry + IOFD_LEN, IOFD_DATAMATCH), TOY_MATCH);
	assert_int_equal(write(c->fds[0], &one, 8), 8);
	while (client_read32(c, 0, TOY_RANG) != 1)
		;
	client_write32(c, 0, TOY_DOORBELL, 5); /* the slow way to the same bell */
	client_write32(c, 0, TOY_DOORBELL + 4, 5);
	client_write32(c, 0, TOY_DOORBELL + 4, TOY_MATCH);
	assert_int_equal(client_read32(c, 0, TOY_RANG), 3);
	client_close(c);
}

static void test_reset(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);

	client_write32(c, 0, TOY_SCRATCH, 5);
	enable_bus_master(c);
	assert_int_equal(client_call(c, VFU_RESET, NULL, 0, NULL, 0), 0);
	assert_int_equal(client_read32(c, 0, TOY_SCRATCH), 0);
	assert_int_equal(config_read(c, 4, 2), 0);
	assert_int_equal(client_read32(c, 0, TOY_RESETS), 1);
	client_close(c);
}

/* The device answers after its DMA message was answered; what comes behind keeps its order. */
static void test_accesses_wait_for_a_slow_one(void **state)
{
	static uint8_t ram[4096];
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);
	uint16_t slow, next;

	memset(ram, 3, sizeof(ram));
	c->ram = ram;
	c->ram_len = sizeof(ram);
	enable_bus_master(c);
	assert_int_equal(client_map(c, 0, 4096, 3, -1, 0), 0);
	client_write64(c, TOY_ADDR, 0);
	client_write32(c, 0, TOY_LEN, 100);
	slow = client_send_read(c, 0, TOY_SLOW, 4);
	for (uint32_t i = 0; i < 100; i++)
		client_post32(c, 0, TOY_SCRATCH, i);
	next = client_send_read(c, 0, TOY_SCRATCH, 4);
	assert_int_equal(client_reply(c, slow), 0);
	assert_int_equal(vfu_get(c->payload + ACCESS_LEN, VFU_U32(0)), 300);
	assert_int_equal(client_reply(c, next), 0);
	assert_int_equal(vfu_get(c->payload + ACCESS_LEN, VFU_U32(0)), 99);
	client_close(c);
}

static void test_a_device_that_never_answers_reads_all_ones(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);
	uint16_t id = client_send_read(c, 0, TOY_NEVER, 4);

	/* meanwhile everything else is answered */
	assert_int_equal(client_map(c, 0, 4096, 3, -1, 0), 0);
	assert_int_equal(client_reply(c, id), 0);
	assert_int_equal(vfu_get(c->payload + ACCESS_LEN, VFU_U32(0)), 0xffffffff);
	assert_int_equal(client_read32(c, 0, TOY_ID), TOY_ID_VALUE);
	client_close(c);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		WITH_SERVER(test_version_is_agreed),
		WITH_SERVER(test_device_and_interrupt_info),
		WITH_SERVER(test_region_info),
		WITH_SERVER(test_shared_areas_are_mapped),
		WITH_SERVER(test_accesses_of_every_width),
		WITH_SERVER(test_posted_writes_come_before_the_next_read),
		WITH_SERVER(test_many_writes_in_one_message),
		WITH_SERVER(test_doorbells_ring_without_a_message),
		WITH_SERVER(test_reset),
		WITH_SERVER(test_accesses_wait_for_a_slow_one),
		WITH_SERVER(test_a_device_that_never_answers_reads_all_ones),
	};

	return RUN_TESTS(tests);
}
