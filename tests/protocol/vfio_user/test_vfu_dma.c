/* Guest memory: windows with and without descriptors, messages in both layouts, unmapping. */
#include "vfu_test.h"

enum { RW = VFU_MAP_READ | VFU_MAP_WRITE, PAGE = 4096, XFER = 1 << 20 };

static void test_mapped_windows(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);
	int fd = new_memory(16 * PAGE);
	uint8_t *ram = mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	unsigned before = open_fds();

	enable_bus_master(c);
	/* two windows of one file that lie the other way round, apart in the file */
	assert_int_equal(client_map(c, 0x100000, 4 * PAGE, RW, fd, 8 * PAGE), 0);
	assert_int_equal(client_map(c, 0x104000, 4 * PAGE, RW, fd, 0), 0);
	wait_open_fds(before); /* the descriptors are not kept */
	memset(ram, 1, 16 * PAGE);
	ram[12 * PAGE - 1] = 2; /* the end of the first, and the beginning of the second */
	ram[0] = 3;
	assert_int_equal(toy_transfer(c, TOY_TO_DEVICE, 0x104000 - 2, 4), 0);
	assert_int_equal(client_read32(c, 0, TOY_SUM), 1 + 2 + 3 + 1);
	client_write32(c, 0, TOY_FILL, 0xee);
	assert_int_equal(toy_transfer(c, TOY_TO_GUEST, 0x104000 - 100, 300), 0);
	assert_int_equal(ram[12 * PAGE - 101], 1);
	assert_int_equal(ram[12 * PAGE - 100], 0xee);
	assert_int_equal(ram[199], 0xee);
	assert_int_equal(ram[200], 1);
	assert_int_equal(c->dma_messages, 0);
	/* half of it is no memory */
	assert_int_equal(toy_transfer(c, TOY_TO_GUEST, 0x108000 - 8, 16), EFAULT);
	munmap(ram, 16 * PAGE);
	close(fd);
	client_close(c);
}

static void test_read_only_windows(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);
	int fd = new_memory(PAGE);

	enable_bus_master(c);
	assert_int_equal(client_map(c, 0, PAGE, VFU_MAP_READ, fd, 0), 0);
	assert_int_equal(client_map(c, PAGE, PAGE, VFU_MAP_READ, -1, 0), 0);
	assert_int_equal(toy_transfer(c, TOY_TO_DEVICE, 0, 64), 0);
	assert_int_equal(toy_transfer(c, TOY_TO_GUEST, 0, 64), EPERM);
	assert_int_equal(toy_transfer(c, TOY_TO_GUEST, PAGE, 64), EPERM);
	close(fd);
	client_close(c);
}

static void test_the_end_of_the_address_space(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);
	int fd = new_memory(PAGE);
	uint64_t top = UINT64_MAX - PAGE + 1;

	enable_bus_master(c);
	assert_int_equal(client_map(c, top, PAGE, RW, fd, 0), 0);
	assert_int_equal(toy_transfer(c, TOY_TO_GUEST, top, PAGE), 0);
	assert_int_equal(toy_transfer(c, TOY_TO_GUEST, top + 8, PAGE), EFAULT);
	/* as QEMU's vIOMMU unmaps: a range that was never mapped as such and ends at 2^64 */
	assert_int_equal(client_unmap(c, 0xfef00000, 0xffffffff01100000, 0), 0);
	assert_int_equal(toy_transfer(c, TOY_TO_GUEST, top, PAGE), EFAULT);
	close(fd);
	client_close(c);
}

static void test_transfers_by_messages(void **state)
{
	struct vfu_server *s = *state;

	for (enum client_layout layout = CLIENT_SPEC; layout <= CLIENT_OLD; layout++) {
		struct vfu_client *c = client_open(s->path[0]);
		uint32_t len = 3 * XFER + 100, sum = 0;

		c->layout = layout;
		c->ram_iova = 0x10000;
		c->ram_len = 4 * XFER;
		c->ram = malloc(4 * XFER);
		for (unsigned i = 0; i < 4 * XFER; i++)
			c->ram[i] = (uint8_t)(i * 31 + i / 256);
		for (unsigned i = 50; i < 50 + len; i++)
			sum += c->ram[i];
		enable_bus_master(c);
		assert_int_equal(client_map(c, 0x10000, 4 * XFER, RW, -1, 0), 0);
		assert_int_equal(toy_transfer(c, TOY_TO_DEVICE, 0x10000 + 50, len), 0);
		assert_int_equal(c->dma_messages, 1 + 4); /* the probe, and four pieces */
		assert_int_equal(client_read32(c, 0, TOY_SUM), sum);
		client_write32(c, 0, TOY_FILL, 0x77);
		assert_int_equal(toy_transfer(c, TOY_TO_GUEST, 0x10000 + 8, len), 0);
		for (unsigned i = 0; i < 4 * XFER; i++) {
			assert_int_equal(c->ram[i], i >= 8 && i < 8 + len
							    ? 0x77
							    : (uint8_t)(i * 31 + i / 256));
		}
		free(c->ram);
		client_close(c);
	}
}

static void test_message_transfers_that_fail(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);

	c->ram_len = 0; /* every address is refused */
	enable_bus_master(c);
	assert_int_equal(client_map(c, 0, 4 * XFER, RW, -1, 0), 0);
	assert_int_equal(toy_transfer(c, TOY_TO_DEVICE, 0, 100), EIO);
	c->ram = calloc(1, PAGE);
	c->ram_len = PAGE;
	assert_int_equal(toy_transfer(c, TOY_TO_DEVICE, 0, 100), 0);
	assert_int_equal(toy_transfer(c, TOY_TO_DEVICE, 0, 2 * XFER), EIO);
	assert_int_equal(toy_transfer(c, TOY_TO_DEVICE, 0, 100), 0);
	free(c->ram);
	client_close(c);
}

/* Rule 2 of transports.md 0.3: nobody waits for the client's answer. */
static void test_registers_are_answered_during_dma(void **state)
{
	static uint8_t ram[PAGE];
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);

	enable_bus_master(c);
	c->ram = ram;
	c->ram_len = PAGE;
	assert_int_equal(client_map(c, 0, PAGE, RW, -1, 0), 0);
	assert_int_equal(toy_transfer(c, TOY_TO_DEVICE, 0, 100), 0); /* the layout is known now */
	c->hold_dma = true;
	client_write32(c, 0, TOY_RUN, TOY_TO_DEVICE);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(client_read32(c, 0, TOY_STATUS), TOY_BUSY);
	assert_int_equal(c->dma_messages, 3);
	/* an unmap answers at once, and the transfer is over */
	assert_int_equal(client_unmap(c, 0, PAGE, 0), 0);
	assert_int_equal(client_read32(c, 0, TOY_STATUS), EFAULT);
	/* the late answer is no error */
	c->id = c->held_id[2];
	c->command = c->held_command[2];
	vfu_put(c->payload, DMA_IOVA, 0);
	vfu_put(c->payload, DMA_COUNT, 100);
	client_answer_dma(c);
	assert_int_equal(client_read32(c, 0, TOY_ID), TOY_ID_VALUE);
	client_close(c);
}

static void test_reset_overtakes_dma(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);

	enable_bus_master(c);
	c->hold_dma = true;
	assert_int_equal(client_map(c, 0, PAGE, RW, -1, 0), 0);
	client_write32(c, 0, TOY_LEN, 100);
	client_write32(c, 0, TOY_RUN, TOY_TO_DEVICE);
	assert_int_equal(client_read32(c, 0, TOY_STATUS), TOY_BUSY);
	assert_int_equal(client_call(c, VFU_RESET, NULL, 0, NULL, 0), 0);
	assert_int_equal(client_read32(c, 0, TOY_STATUS), ECANCELED);
	/* and with a transfer in flight the client goes */
	enable_bus_master(c);
	client_write32(c, 0, TOY_LEN, 100);
	client_write32(c, 0, TOY_RUN, TOY_TO_DEVICE);
	client_close(c);
	server_wait_clients(s, 0);
	c = client_open(s->path[0]);
	assert_int_equal(client_read32(c, 0, TOY_STATUS), ECANCELED);
	client_close(c);
}

static void test_unmap_waits_for_the_device(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);
	int fd = new_memory(2 * PAGE);
	uint8_t m[UNMAP_LEN];
	uint16_t unmap;

	enable_bus_master(c);
	assert_int_equal(client_map(c, 0x1000, 2 * PAGE, RW, fd, 0), 0);
	client_write64(c, TOY_ADDR, 0x1800);
	client_write32(c, 0, TOY_LEN, 64);
	client_write32(c, 0, TOY_KEEP_MS, 300);
	client_write32(c, 0, TOY_MAP, 1);
	assert_int_equal(client_read32(c, 0, TOY_MAP), 0);
	assert_int_equal(client_unmap(c, 0x2000, PAGE, 0), 0); /* nobody uses that */
	vfu_put(m, UNMAP_ARGSZ, sizeof(m));
	vfu_put(m, UNMAP_FLAGS, 0);
	vfu_put(m, UNMAP_IOVA, 0x1000);
	vfu_put(m, UNMAP_SIZE, PAGE);
	unmap = client_send(c, VFU_DMA_UNMAP, 0, m, sizeof(m), NULL, 0);
	/* meanwhile the rest goes on, and the window is gone for new users */
	assert_int_equal(client_read32(c, 0, TOY_ID), TOY_ID_VALUE);
	assert_int_equal(toy_transfer(c, TOY_TO_DEVICE, 0x1000, 4), EFAULT);
	assert_true(client_is_silent(c, 50));
	assert_int_equal(client_reply(c, unmap), 0);
	assert_int_equal(c->len, UNMAP_LEN);
	close(fd);
	client_close(c);
}

static void test_unmap_cuts_windows(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);
	int fd = new_memory(4 * PAGE);
	uint8_t *ram = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	enable_bus_master(c);
	memset(ram + 3 * PAGE, 1, PAGE);
	assert_int_equal(client_map(c, 0, 4 * PAGE, RW, fd, 0), 0);
	assert_int_equal(client_unmap(c, PAGE, PAGE, 0), 0);
	assert_int_equal(toy_transfer(c, TOY_TO_DEVICE, PAGE, 1), EFAULT);
	assert_int_equal(toy_transfer(c, TOY_TO_DEVICE, PAGE - 1, 1), 0);
	assert_int_equal(toy_transfer(c, TOY_TO_DEVICE, 3 * PAGE - 10, 20), 0);
	assert_int_equal(client_read32(c, 0, TOY_SUM), 10);
	assert_int_equal(client_unmap(c, 0, 0, VFU_UNMAP_ALL), 0);
	assert_int_equal(toy_transfer(c, TOY_TO_DEVICE, 0, 1), EFAULT);
	assert_int_equal(client_map(c, 0, 4 * PAGE, RW, fd, 0), 0); /* all free again */
	munmap(ram, 4 * PAGE);
	close(fd);
	client_close(c);
}

static void test_many_maps(void **state)
{
	enum { N = 20000 };
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);
	int fd = new_memory(256 * PAGE);
	unsigned before = open_fds();
	uint16_t first = c->next_id;
	uint8_t m[MAP_LEN];

	vfu_put(m, MAP_ARGSZ, sizeof(m));
	vfu_put(m, MAP_FLAGS, RW);
	vfu_put(m, MAP_SIZE, PAGE);
	for (unsigned i = 0; i < N; i++) { /* pipelined, as QEMU does it; a vIOMMU's pages */
		vfu_put(m, MAP_IOVA, (uint64_t)i * 2 * PAGE);
		vfu_put(m, MAP_FILE_OFF, i % 256 * PAGE);
		client_send(c, VFU_DMA_MAP, 0, m, sizeof(m), &fd, 1);
		if (i % 64 == 63) {
			for (unsigned j = i - 63; j <= i; j++)
				assert_int_equal(client_reply(c, (uint16_t)(first + j)), 0);
		}
	}
	for (unsigned j = N / 64 * 64; j < N; j++)
		assert_int_equal(client_reply(c, (uint16_t)(first + j)), 0);
	wait_open_fds(before);
	enable_bus_master(c);
	assert_int_equal(toy_transfer(c, TOY_TO_GUEST, 19999ull * 2 * PAGE, PAGE), 0);
	assert_int_equal(toy_transfer(c, TOY_TO_GUEST, 19999ull * 2 * PAGE, PAGE + 1), EFAULT);
	assert_int_equal(client_unmap(c, 0, 1ull << 40, 0), 0);
	assert_int_equal(toy_transfer(c, TOY_TO_GUEST, 0, PAGE), EFAULT);
	close(fd);
	client_close(c);
}

static void test_wrong_maps(void **state)
{
	static const struct {
		uint64_t iova, size, off;
		uint32_t flags;
		bool fd;
	} wrong[] = {
		{0, 0, 0, RW, true},   /* empty */
		{0, 100, 0, RW, true}, /* no whole pages */
		{8, PAGE, 0, RW, true},
		{UINT64_MAX - PAGE + 1, 2 * PAGE, 0, RW, true}, /* over the end */
		{UINT64_MAX - PAGE + 1, 2 * PAGE, 0, RW, false},
		{0, 1ull << 63, 1ull << 63, RW, true}, /* offset and size wrap */
		{0, PAGE, UINT64_MAX - PAGE + 1, RW, true},
		{0, 5 * PAGE, 0, RW, true}, /* file too short */
		{0, PAGE, 4 * PAGE, RW, true},
		{0, PAGE, 0, 0, true}, /* for nothing */
		{0, PAGE, 0, RW | 64, true},
		{0x10000, PAGE, 0, RW, true}, /* overlaps */
		{0xf000, 2 * PAGE, 0, RW, true},
		{0x11000, 2 * PAGE, 0, RW, false},
		{0, 0x100000, 0, RW, false},
	};
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);
	int fd = new_memory(4 * PAGE), dir = open("/", O_RDONLY | O_DIRECTORY), pipes[2];
	unsigned before = open_fds();

	assert_int_equal(client_map(c, 0x10000, 2 * PAGE, RW, fd, 0), 0);
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_not_equal(client_map(c, wrong[i].iova, wrong[i].size, wrong[i].flags,
						wrong[i].fd ? fd : -1, wrong[i].off),
				     0);
	}
	assert_int_equal(client_map(c, 0x10000, 2 * PAGE, RW, fd, 0), EEXIST);
	assert_int_not_equal(client_map(c, 0, PAGE, RW, dir, 0), 0); /* no memory */
	assert_int_equal(pipe(pipes), 0);
	assert_int_not_equal(client_map(c, 0, PAGE, RW, pipes[0], 0), 0);
	close(pipes[0]);
	close(pipes[1]);
	assert_int_not_equal(client_unmap(c, 0, 0, 0), 0);
	assert_int_not_equal(client_unmap(c, PAGE, UINT64_MAX, 0), 0);
	assert_int_not_equal(client_unmap(c, 0, 100, 0), 0);
	assert_int_not_equal(client_unmap(c, 0, PAGE, VFU_UNMAP_ALL), 0);
	assert_int_equal(client_unmap(c, 0, PAGE, VFU_UNMAP_DIRTY), ENOTSUP);
	assert_int_not_equal(client_unmap(c, 0, PAGE, 4), 0);
	assert_int_equal(client_unmap(c, 0x5000000, PAGE, 0), 0); /* nothing there: fine */
	wait_open_fds(before);
	assert_int_equal(client_read32(c, 0, TOY_ID), TOY_ID_VALUE);
	close(fd);
	close(dir);
	client_close(c);
}

static void test_no_more_windows_than_agreed(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_connect(s->path[0]);

	assert_int_equal(client_version(c, 0, 0, "{\"capabilities\":{\"max_dma_maps\":3}}"), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(client_map(c, i * 2 * PAGE, PAGE, RW, -1, 0), 0);
	assert_int_equal(client_map(c, 0x100000, PAGE, RW, -1, 0), ENOSPC);
	client_close(c);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		WITH_SERVER(test_mapped_windows),
		WITH_SERVER(test_read_only_windows),
		WITH_SERVER(test_the_end_of_the_address_space),
		WITH_SERVER(test_transfers_by_messages),
		WITH_SERVER(test_message_transfers_that_fail),
		WITH_SERVER(test_registers_are_answered_during_dma),
		WITH_SERVER(test_reset_overtakes_dma),
		WITH_SERVER(test_unmap_waits_for_the_device),
		WITH_SERVER(test_unmap_cuts_windows),
		WITH_SERVER(test_many_maps),
		WITH_SERVER(test_wrong_maps),
		WITH_SERVER(test_no_more_windows_than_agreed),
	};

	return RUN_TESTS(tests);
}
