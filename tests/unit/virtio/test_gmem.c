/* Guest memory maps: which regions are taken, what an address becomes, how long a mapping lives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "virtio/gmem.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, FILE_LEN = 64 * PAGE };

static int make_file(bool sealed)
{
	int fd = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, FILE_LEN), 0);
	if (sealed)
		assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	return fd;
}

static struct gmem *add(struct gmem *m, int fd, uint64_t gpa, uint64_t len, uint64_t uaddr,
			uint64_t off)
{
	struct gmem_region r = {gpa, len, uaddr, off};
	GError *error = NULL;
	struct gmem *out = gmem_add(m, &r, fd, &error);

	assert_true(!out == !!error);
	g_clear_error(&error);
	if (out)
		gmem_unref(m);
	return out;
}

static void regions_are_checked(void **state)
{
	static const struct {
		uint64_t gpa, len, uaddr, off;
	} bad[] = {
		{0x10000, 0, 0x500000, 0},                  /* empty */
		{0x10000, FILE_LEN + 1, 0x500000, 0},       /* longer than the file */
		{0x10000, PAGE, 0x500000, FILE_LEN},        /* behind its end */
		{0x10000, PAGE, 0x500000, UINT64_MAX - 10}, /* offset + length wraps */
		{0x10000, PAGE, 0x500000, INT64_MAX},
		{UINT64_MAX - 10, PAGE, 0x500000, 0}, /* address wraps */
		{0x10000, PAGE, UINT64_MAX - 10, 0},
		{0x1000, PAGE, 0x500000, 0}, /* overlaps in guest memory */
		{0x2fff, PAGE, 0x500000, 0},
		{0x800, 4 * PAGE, 0x500000, 0},
		{0x10000, PAGE, 0x100fff, 0}, /* overlaps in user memory */
	};
	int fd = make_file(true);
	struct gmem *m = add(gmem_new(), fd, 0x1000, 2 * PAGE, 0x100000, 0);

	(void)state;
	assert_non_null(m);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_null(add(m, fd, bad[i].gpa, bad[i].len, bad[i].uaddr, bad[i].off));
	assert_int_equal(gmem_count(m), 1);
	m = add(m, fd, 0x3000, PAGE, 0x102000, 8 * PAGE); /* right behind it is fine */
	assert_non_null(m);
	m = add(m, fd, 0, 0x1000, 0x200000, 16 * PAGE + 0x310); /* odd offsets too */
	assert_non_null(m);
	gmem_unref(m);
	close(fd);
}

static void descriptors_that_are_no_memory_are_refused(void **state)
{
	struct gmem *m = gmem_new();
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_null(add(m, fds[0], 0, PAGE, 0, 0));
	assert_null(add(m, -1, 0, PAGE, 0, 0));
	close(fds[0]);
	close(fds[1]);
	gmem_unref(m);
}

static void too_many_regions_are_refused(void **state)
{
	int fd = make_file(true);
	struct gmem *m = gmem_new();

	(void)state;
	for (unsigned i = 0; i < GMEM_REGIONS_MAX; i++) {
		m = add(m, fd, i * 2ull * PAGE, PAGE, i * 2ull * PAGE, 0);
		assert_non_null(m);
	}
	assert_null(add(m, fd, 1ull << 40, PAGE, 1ull << 40, 0));
	gmem_unref(m);
	close(fd);
}

static void ranges_become_pieces(void **state)
{
	int fd = make_file(true);
	uint8_t *file = mmap(NULL, FILE_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	struct gmem *m = gmem_new();
	struct iovec v[4];

	(void)state;
	m = add(m, fd, 0x2000, PAGE, 0x900000, 5 * PAGE); /* added in the wrong order on purpose */
	m = add(m, fd, 0x1000, PAGE, 0x800000, 2 * PAGE + 0x10);
	m = add(m, fd, 0x8000, PAGE, 0xa00000, 9 * PAGE);
	file[2 * PAGE + 0x10] = 1;
	file[5 * PAGE] = 2;
	assert_int_equal(gmem_translate(m, 0x1000, 1, v, 4), 1);
	assert_int_equal(*(uint8_t *)v[0].iov_base, 1);
	assert_int_equal(gmem_translate(m, 0x1fff, 2, v, 4), 2);
	assert_int_equal(v[0].iov_len, 1);
	assert_int_equal(v[1].iov_len, 1);
	assert_int_equal(*(uint8_t *)v[1].iov_base, 2);
	assert_int_equal(gmem_translate(m, 0x1000, 2 * PAGE, v, 4), 2);
	assert_int_equal(gmem_translate(m, 0x1000, 0, v, 4), 0);
	assert_int_equal(gmem_translate(m, 0x1000, 2 * PAGE, v, 1), -E2BIG);
	assert_int_equal(gmem_translate(m, 0x1000, 2 * PAGE + 1, v, 4), -EFAULT);
	assert_int_equal(gmem_translate(m, 0xfff, 2, v, 4), -EFAULT);
	assert_int_equal(gmem_translate(m, 0x9000, 1, v, 4), -EFAULT);
	assert_int_equal(gmem_translate(m, UINT64_MAX, 1, v, 4), -EFAULT);
	assert_int_equal(gmem_translate(m, 0x8000, UINT64_MAX, v, 4), -EFAULT);
	gmem_unref(m);
	munmap(file, FILE_LEN);
	close(fd);
}

static void user_ranges_lie_in_one_region(void **state)
{
	int fd = make_file(true);
	struct gmem *m = gmem_new();

	(void)state;
	m = add(m, fd, 0x1000, PAGE, 0x800000, 0);
	m = add(m, fd, 0x2000, PAGE, 0x801000, PAGE);
	assert_non_null(gmem_user(m, 0x800000, PAGE));
	assert_ptr_equal((uint8_t *)gmem_user(m, 0x800010, 1),
			 (uint8_t *)gmem_user(m, 0x800000, 1) + 0x10);
	assert_null(gmem_user(m, 0x800000,
			      PAGE + 1)); /* neighbours in the guest need not be in our space */
	assert_null(gmem_user(m, 0x7fffff, 1));
	assert_null(gmem_user(m, 0x800001, UINT64_MAX));
	assert_null(gmem_user(m, 0x802000, 1));
	gmem_unref(m);
	close(fd);
}

static void removed_memory_stays_for_those_who_use_it(void **state)
{
	struct gmem_region r = {0x1000, PAGE, 0x800000, 0}, other = {0x1000, PAGE, 0x800001, 0};
	int fd = make_file(true);
	struct gmem *m = add(gmem_new(), fd, r.gpa, r.len, r.uaddr, 0), *user = gmem_ref(m), *rest;
	GError *error = NULL;
	struct iovec v;

	(void)state;
	assert_int_equal(gmem_translate(user, 0x1000, PAGE, &v, 1), 1);
	assert_null(gmem_remove(m, &other, &error));
	assert_non_null(error);
	g_clear_error(&error);
	rest = gmem_remove(m, &r, &error);
	assert_non_null(rest);
	gmem_unref(m);
	assert_int_equal(gmem_count(rest), 0);
	assert_int_equal(gmem_translate(rest, 0x1000, 1, &v, 1), -EFAULT);
	assert_int_equal(gmem_translate(user, 0x1000, PAGE, &v, 1), 1);
	memset(v.iov_base, 0x5a, PAGE); /* a fault here if it was unmapped */
	gmem_unref(user);
	gmem_unref(rest);
	close(fd);
}

static void a_shortened_file_is_noticed(void **state)
{
	int fd = make_file(false);
	struct gmem *m = add(gmem_new(), fd, 0, 4 * PAGE, 0, 0);
	struct iovec v;

	(void)state;
	assert_int_equal(gmem_translate(m, 0, 4 * PAGE, &v, 1), 1);
	memset(v.iov_base, 1, 4 * PAGE);
	assert_false(gmem_is_torn(m));
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(((volatile uint8_t *)v.iov_base)[3 * PAGE],
			 0); /* not the end of the process */
	assert_true(gmem_is_torn(m));
	gmem_unref(m);
	close(fd);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(regions_are_checked),
		cmocka_unit_test(descriptors_that_are_no_memory_are_refused),
		cmocka_unit_test(too_many_regions_are_refused),
		cmocka_unit_test(ranges_become_pieces),
		cmocka_unit_test(user_ranges_lie_in_one_region),
		cmocka_unit_test(removed_memory_stays_for_those_who_use_it),
		cmocka_unit_test(a_shortened_file_is_noticed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
