/* Driver "file" on a block device with sectors of 4096 bytes: a loop device, where we may make one.
 */
#include "block_test.h"

#include <fcntl.h>
#include <glib/gstdio.h>
#include <linux/loop.h>
#include <sys/ioctl.h>

enum { LARGE = 4096, LENGTH = 64 * LARGE };

static struct device {
	char *file, *path;
	int fd; /* the device goes away when the last descriptor does */
} device = {.fd = -1};

static bool attach(int backing, unsigned flags)
{
	struct loop_config config = {
		.fd = (unsigned)backing,
		.block_size = LARGE,
		.info.lo_flags = LO_FLAGS_AUTOCLEAR | flags,
	};
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);

	for (unsigned tries = 0; control >= 0 && device.fd < 0 && tries < 20; tries++) {
		int n = ioctl(control, LOOP_CTL_GET_FREE);

		g_free(device.path);
		device.path = g_strdup_printf("/dev/loop%d", n);
		device.fd = open(device.path, (flags ? O_RDONLY : O_RDWR) | O_CLOEXEC);
		if (device.fd >= 0 && ioctl(device.fd, LOOP_CONFIGURE, &config) < 0) {
			close(device.fd); /* somebody was faster, or we may not */
			device.fd = -1;
		}
	}
	if (control >= 0)
		close(control);
	return device.fd >= 0;
}

static bool device_make(unsigned flags)
{
	int fd = g_file_open_tmp("outboard-device-XXXXXX", &device.file, NULL);
	bool ok = fd >= 0 && ftruncate(fd, LENGTH) == 0 && attach(fd, flags);

	if (fd >= 0)
		close(fd);
	return ok;
}

static void device_drop(void)
{
	if (device.fd >= 0)
		close(device.fd);
	device.fd = -1;
	unlink(device.file);
	g_free(device.file);
	g_free(device.path);
	device.file = device.path = NULL;
}

static void check_content(struct block_node *node, const uint8_t *wanted)
{
	uint8_t *all = g_malloc(LENGTH);

	assert_int_equal(block_pread(node, 0, all, LENGTH), 0);
	assert_memory_equal(all, wanted, LENGTH);
	g_free(all);
}

/* Sectors of 512 bytes, zeros and discards at any place, the same with and without page cache. */
static void use_device(const char *cache)
{
	g_autofree char *text =
		g_strdup_printf("driver=file,filename=%s,cache=%s", device.path, cache);
	struct block_node *node = must_open(text, BLOCK_RDWR | BLOCK_UNSHARE_WRITE);
	uint8_t *model = g_malloc(LENGTH);

	assert_int_equal(block_length(node), LENGTH);
	memset(model, 0xee, LENGTH);
	assert_int_equal(block_pwrite(node, 0, model, LENGTH, 0), 0);
	for (unsigned off = 512; off < LENGTH; off += 3 * 512) {
		memset(model + off, (int)(off / 512), 512);
		assert_int_equal(block_pwrite(node, off, model + off, 512, BLOCK_FUA), 0);
	}
	check_content(node, model);
	memset(model + 1000, 0, 30000);
	assert_int_equal(block_discard_zero(node, 1000, 30000), 0);
	memset(model + 40000, 0, 20000);
	assert_int_equal(block_write_zeros(node, 40000, 20000, 0), 0);
	memset(model + 4096, 0, 512);
	assert_int_equal(block_write_zeros(node, 4096, 512, BLOCK_MAY_UNMAP), 0);
	check_content(node, model);
	assert_int_equal(block_discard(node, 100000, 50000), 0);
	assert_int_equal(block_discard(node, 100, 200), 0); /* no whole sector: nothing */
	assert_int_equal(block_pread(node, 100000, model + 100000, 50000), 0); /* whatever it is */
	check_content(node, model);
	assert_int_equal(block_truncate(node, 2 * LENGTH), -ENOTSUP);
	assert_int_equal(block_flush(node), 0);
	block_unref(node);
	g_free(model);
}

static void use_both_ways(void)
{
	use_device("writeback");
	use_device("none");
}

static void direct_needs_large_blocks(void)
{
	g_autofree char *text = g_strdup_printf("driver=file,filename=%s,cache=none", device.path);
	struct block_node *node = must_open(text, 0);

	assert_int_equal(block_request_align(node), LARGE);
	block_unref(node);
}

static void read_only_device(void)
{
	g_autofree char *text = g_strdup_printf("driver=file,filename=%s", device.path);
	struct block_node *node = must_open(text, BLOCK_RDWR | BLOCK_AUTO_RDONLY);

	assert_false(block_is_writable(node));
	block_unref(node);
	must_refuse(text, BLOCK_RDWR, device.path);
}

IN_LOOP(use_both_ways)
IN_LOOP(direct_needs_large_blocks)
IN_LOOP(read_only_device)

/* Not inside a coroutine: cmocka leaves a skipped test by longjmp(). */
static void on_device(void **state, unsigned flags, void (*run)(void **state))
{
	bool made = device_make(flags);

	if (made)
		run(state);
	device_drop();
	if (!made)
		skip();
}

static void test_use(void **state)
{
	on_device(state, 0, run_use_both_ways);
}

static void test_align(void **state)
{
	on_device(state, 0, run_direct_needs_large_blocks);
}

static void test_read_only(void **state)
{
	on_device(state, LO_FLAGS_READ_ONLY, run_read_only_device);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_use),
		cmocka_unit_test(test_align),
		cmocka_unit_test(test_read_only),
	};

	return RUN_LOOP_TESTS(tests);
}
