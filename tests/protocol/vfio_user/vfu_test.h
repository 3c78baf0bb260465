/* What the tests of the vfio-user server include. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "vfu_client.h"
#include "vfu_server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CONFIG = VFU_REGION_CONFIG, BUS_MASTER = 4, DECODE = 3, MSI_CAP = 5, MSIX_CAP = 0x11 };

static inline int new_eventfd(void)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	assert_true(fd >= 0);
	return fd;
}

/* Takes the signals of an eventfd. */
static inline uint64_t take_signals(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == sizeof(n) ? n : 0;
}

/* Waits until it has some. */
static inline uint64_t wait_signals(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	assert_int_equal(poll(&p, 1, 20000), 1);
	return take_signals(fd);
}

static inline int new_memory(size_t len)
{
	int fd = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)len), 0);
	return fd;
}

/* The server closes what it does not keep, right behind its answer. */
static inline void wait_open_fds(unsigned n)
{
	for (unsigned i = 0; open_fds() != n; i++) {
		assert_true(i < 5000);
		usleep(1000);
	}
}

static inline uint32_t config_read(struct vfu_client *c, unsigned off, unsigned len)
{
	uint32_t v = 0;

	assert_int_equal(client_access(c, false, CONFIG, off, &v, len), 0);
	return v;
}

static inline void config_write(struct vfu_client *c, unsigned off, uint32_t v, unsigned len)
{
	assert_int_equal(client_access(c, true, CONFIG, off, &v, len), 0);
}

static inline void enable_bus_master(struct vfu_client *c)
{
	config_write(c, 4, BUS_MASTER | DECODE, 2);
}

static inline unsigned find_cap(struct vfu_client *c, unsigned id)
{
	unsigned at = config_read(c, 0x34, 1);

	while (at && config_read(c, at, 1) != id)
		at = config_read(c, at + 1, 1);
	assert_true(at);
	return at;
}

static inline void client_write64(struct vfu_client *c, uint64_t off, uint64_t v)
{
	assert_int_equal(client_access(c, true, 0, off, &v, sizeof(v)), 0);
}

/* Starts a transfer of the toy and gives its result. */
static inline int toy_transfer(struct vfu_client *c, unsigned what, uint64_t addr, uint32_t len)
{
	uint32_t status;

	client_write64(c, TOY_ADDR, addr);
	client_write32(c, 0, TOY_LEN, len);
	client_write32(c, 0, TOY_RUN, what);
	do
		status = client_read32(c, 0, TOY_STATUS);
	while (status == TOY_BUSY);
	return (int)status;
}

static inline int fixture_start(void **state)
{
	struct vfu_server *s = calloc(1, sizeof(*s));

	server_start(s);
	*state = s;
	return 0;
}

static inline int fixture_stop(void **state)
{
	server_stop(*state);
	free(*state);
	return 0;
}

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, fixture_start, fixture_stop)

static inline int run_test_group(const struct CMUnitTest *tests, size_t n)
{
	struct loop *l = loop_new(LOOP_AUTO, NULL);

	if (!l)
		return 77; /* no such back end here */
	loop_free(l);
	return _cmocka_run_group_tests("vfio-user", tests, n, NULL, NULL);
}

#define RUN_TESTS(tests) run_test_group(tests, sizeof(tests) / sizeof((tests)[0]))
