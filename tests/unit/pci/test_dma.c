/* DMA windows: what is refused, what removal leaves, how long mappings live. */
#include "../base/unit_test.h"

#include "pci/dma.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, FILE_LEN = 64 * PAGE, RW = DMA_READ | DMA_WRITE };

static int make_file(bool sealed)
{
	int fd = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, FILE_LEN), 0);
	if (sealed)
		assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
	return fd;
}

static int add(struct dma_space *s, uint64_t addr, uint64_t len, unsigned access, uint64_t off,
	       int fd)
{
	GError *error = NULL;
	bool ok = dma_space_add(s, &(struct dma_region){addr, len, access, off}, fd, &error);
	int res = ok ? 0 : error->code;

	g_clear_error(&error);
	return res;
}

static void windows_are_checked(void **state)
{
	struct dma_space *s = dma_space_new();
	int fd = make_file(true), ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(add(s, 0x1000, PAGE, RW, 0, fd), 0);
	assert_int_equal(add(s, 0x10000, 0, RW, 0, fd), EINVAL);
	assert_int_equal(add(s, 0x10000, PAGE, 0, 0, fd), EINVAL);
	assert_int_equal(add(s, UINT64_MAX - 10, PAGE, RW, 0, fd), EINVAL);
	assert_int_equal(add(s, 0x1000, PAGE, RW, 0, fd), EEXIST);
	assert_int_equal(add(s, 0, 2 * PAGE, RW, 0, -1), EEXIST);
	assert_int_equal(add(s, 0, UINT64_MAX, RW, 0, -1), EEXIST);
	assert_int_equal(add(s, 0x10000, FILE_LEN + 1, RW, 0, fd), EINVAL);
	assert_int_equal(add(s, 0x10000, PAGE, RW, FILE_LEN, fd), EINVAL);
	assert_int_equal(add(s, 0x10000, PAGE, RW, UINT64_MAX - 10, fd), EINVAL);
	assert_int_equal(add(s, 0x10000, PAGE, RW, 0, ends[0]), EINVAL);
	assert_int_equal(add(s, 0x10000, PAGE, RW, 0, 9999), EBADF);
	assert_int_equal(dma_space_count(s), 1);
	assert_int_equal(add(s, UINT64_MAX - PAGE + 1, PAGE, RW, 0, fd), 0); /* ends at 2^64 */
	assert_int_equal(dma_space_count(s), 2);
	dma_space_free(s);
	close(ends[0]);
	close(ends[1]);
	close(fd);
}

static void addresses_become_memory(void **state)
{
	struct dma_space *s = dma_space_new();
	int fd = make_file(true);
	struct iovec v[4];

	(void)state;
	assert_int_equal(pwrite(fd, "one", 3, 0), 3);
	assert_int_equal(pwrite(fd, "two", 3, 8 * PAGE), 3);
	assert_int_equal(add(s, 0x10000, PAGE, RW, 0, fd), 0);
	assert_int_equal(add(s, 0x11000, PAGE, DMA_READ, 8 * PAGE, fd), 0);
	assert_int_equal(add(s, 0x12000, PAGE, RW, 0, -1), 0);
	assert_int_equal(add(s, 0x20000, PAGE, RW, 2 * PAGE, fd), 0);
	assert_int_equal(add(s, 0x21000, PAGE, RW, 3 * PAGE, fd), 0);
	assert_int_equal(dma_space_translate(s, 0x10000, 0, DMA_READ, v, 4), 0);
	assert_int_equal(dma_space_translate(s, 0x10000, PAGE + 3, DMA_READ, v, 4), 2);
	assert_memory_equal(v[0].iov_base, "one", 3);
	assert_memory_equal(v[1].iov_base, "two", 3);
	assert_int_equal(v[0].iov_len, PAGE);
	assert_int_equal(v[1].iov_len, 3);
	assert_int_equal(dma_space_translate(s, 0x20000, 2 * PAGE, RW, v, 1), 1); /* one piece */
	assert_int_equal(dma_space_translate(s, 0x10000, PAGE + 3, DMA_READ, v, 1), -E2BIG);
	assert_int_equal(dma_space_translate(s, 0x11000, 1, DMA_WRITE, v, 4), -EPERM);
	assert_int_equal(dma_space_translate(s, 0x11000, 1, RW, v, 4), -EPERM);
	assert_int_equal(dma_space_translate(s, 0x11fff, 2, DMA_READ, v, 4), -EAGAIN);
	assert_int_equal(dma_space_translate(s, 0x12fff, 2, DMA_READ, v, 4), -EFAULT);
	assert_int_equal(dma_space_translate(s, 0xffff, 2, DMA_READ, v, 4), -EFAULT);
	assert_int_equal(dma_space_translate(s, UINT64_MAX, 2, DMA_READ, v, 4), -EFAULT);
	assert_int_equal(add(s, UINT64_MAX - PAGE + 1, PAGE, RW, 0, fd), 0);
	assert_int_equal(dma_space_translate(s, UINT64_MAX, 1, DMA_READ, v, 4), 1);
	assert_int_equal(dma_space_translate(s, UINT64_MAX, 2, DMA_READ, v, 4), -EFAULT);
	dma_space_free(s);
	close(fd);
}

static void removal_cuts(void **state)
{
	struct dma_space *s = dma_space_new();
	int fd = make_file(true);
	struct iovec v[4];

	(void)state;
	assert_int_equal(add(s, 0x10000, 8 * PAGE, RW, 0, fd), 0);
	dma_space_remove(s, 0x12000, 0x13fff);
	assert_int_equal(dma_space_count(s), 2);
	assert_int_equal(dma_space_translate(s, 0x10000, 2 * PAGE, RW, v, 4), 1);
	assert_int_equal(dma_space_translate(s, 0x11fff, 2, RW, v, 4), -EFAULT);
	assert_int_equal(dma_space_translate(s, 0x13fff, 1, RW, v, 4), -EFAULT);
	assert_int_equal(pwrite(fd, "x", 1, 4 * PAGE), 1);
	assert_int_equal(dma_space_translate(s, 0x14000, 4 * PAGE, RW, v, 4), 1);
	assert_int_equal(*(char *)v[0].iov_base, 'x');
	dma_space_remove(s, 0x50000, 0x60000); /* nothing there */
	dma_space_remove(s, 0x60000, 0x50000); /* no range */
	assert_int_equal(dma_space_count(s), 2);
	dma_space_remove(s, 0x11000, UINT64_MAX); /* QEMU's sweeping unmaps */
	assert_int_equal(dma_space_count(s), 1);
	dma_space_remove(s, 0, UINT64_MAX);
	assert_int_equal(dma_space_count(s), 0);
	dma_space_free(s);
	close(fd);
}

struct watched {
	struct dma_mapping m;
	bool releases;
	unsigned revoked;
};

static void on_revoke(struct dma_mapping *m)
{
	struct watched *w = (struct watched *)m;

	w->revoked++;
	if (w->releases)
		dma_mapping_release(m);
}

struct waiter {
	struct dma_wait w;
	bool done;
};

static void on_done(struct dma_wait *w)
{
	((struct waiter *)w)->done = true;
}

static void mappings_outlive_windows(void **state)
{
	struct watched a = {.m.revoke = on_revoke}, b = {.m.revoke = on_revoke, .releases = true};
	struct waiter w = {.w.done = on_done}, none = {.w.done = on_done};
	struct dma_space *s = dma_space_new();
	int fd = make_file(true);
	struct iovec v[2];

	(void)state;
	assert_int_equal(add(s, 0x10000, 8 * PAGE, RW, 0, fd), 0);
	assert_int_equal(dma_space_map(s, 0x10000, 0, RW, v, 2, &a.m), -EINVAL);
	assert_int_equal(dma_space_map(s, 0x30000, 1, RW, v, 2, &a.m), -EFAULT);
	assert_int_equal(dma_space_map(s, 0x17000, PAGE, RW, v, 2, &b.m), 1);
	assert_int_equal(dma_space_map(s, 0x10000, PAGE, RW, v, 2, &a.m), 1);
	assert_false(dma_space_wait(s, 0, UINT64_MAX, &w.w));
	dma_space_remove(s, 0x11000, 0x16fff);
	assert_int_equal(a.revoked + b.revoked, 0);
	dma_space_remove(s, 0, UINT64_MAX);
	assert_int_equal(a.revoked, 1);
	assert_int_equal(b.revoked, 1);
	assert_false(dma_space_wait(s, 0x17000, 0x17fff, &none.w));
	assert_true(dma_space_wait(s, 0, UINT64_MAX, &w.w));
	assert_true(dma_space_wait(s, 0x10fff, 0x10fff, &none.w));
	dma_wait_cancel(&none.w);
	memset(v[0].iov_base, 1, PAGE); /* still there */
	assert_false(w.done);
	dma_mapping_release(&a.m);
	assert_true(w.done);
	assert_false(none.done);
	/* And spaces. */
	a.revoked = 0;
	assert_int_equal(add(s, 0x10000, PAGE, RW, 0, fd), 0);
	assert_int_equal(dma_space_map(s, 0x10000, PAGE, RW, v, 2, &a.m), 1);
	dma_space_free(s);
	assert_int_equal(a.revoked, 1);
	memset(v[0].iov_base, 2, PAGE);
	dma_mapping_release(&a.m);
	close(fd);
}

/* Shared windows, two of them neighbours in the file too; a read-only one; one without memory. */
static struct dma_space *space_for_lists(int fd)
{
	struct dma_space *s = dma_space_new();

	assert_int_equal(add(s, 0x10000, 8 * PAGE, RW, 0, fd), 0);
	assert_int_equal(add(s, 0x20000, 8 * PAGE, RW, 16 * PAGE, fd), 0);
	assert_int_equal(add(s, 0x30000, PAGE, RW, 32 * PAGE, fd), 0);
	assert_int_equal(add(s, 0x31000, PAGE, RW, 33 * PAGE, fd), 0);
	assert_int_equal(add(s, 0x32000, PAGE, RW, 40 * PAGE, fd), 0);
	assert_int_equal(add(s, 0x40000, PAGE, DMA_READ, 48 * PAGE, fd), 0);
	assert_int_equal(add(s, 0x50000, PAGE, RW, 0, -1), 0);
	return s;
}

static void lists_become_pieces(void **state)
{
	static const struct pci_sg sg[] = {
		{0x20000, PAGE},       {0x10000, 100}, {0x10064, PAGE - 100}, {0x11000, PAGE},
		{0x30ffe, PAGE + 100}, {0x13000, 8},   {0x13010, 8},
	};
	struct dma_span spans[G_N_ELEMENTS(sg)];
	int fd = make_file(true);
	struct dma_space *s = space_for_lists(fd);
	struct dma_mapping m = {0};
	struct iovec v[8], whole[3];
	const uint8_t *a, *b;

	(void)state;
	assert_int_equal(dma_space_translate(s, 0x10000, 8 * PAGE, RW, whole, 1), 1);
	assert_int_equal(dma_space_translate(s, 0x20000, 8 * PAGE, RW, whole + 1, 1), 1);
	assert_int_equal(dma_space_translate(s, 0x30000, 2 * PAGE, RW, whole + 2, 1), 1);
	a = whole[0].iov_base;
	b = whole[1].iov_base;
	assert_int_equal(dma_space_map_sg(s, sg, G_N_ELEMENTS(sg), RW, v, 8, spans, &m), 6);
	assert_ptr_equal(v[0].iov_base, b);
	assert_int_equal(v[0].iov_len, PAGE);
	assert_ptr_equal(v[1].iov_base, a); /* three ranges that follow each other */
	assert_int_equal(v[1].iov_len, 2 * PAGE);
	assert_ptr_equal(v[2].iov_base, (uint8_t *)whole[2].iov_base + PAGE - 2);
	assert_int_equal(v[2].iov_len, PAGE + 2); /* one range in three windows, two pieces */
	assert_int_equal(v[3].iov_len, 98);
	assert_ptr_equal(v[4].iov_base, a + 3 * PAGE);
	assert_ptr_equal(v[5].iov_base, a + 3 * PAGE + 16);
	assert_int_equal(m.n_files, 1);
	dma_mapping_release(&m);
	/* The same guest memory twice is legal. */
	assert_int_equal(dma_space_map_sg(s, (struct pci_sg[]){{0x10000, 4}, {0x10000, 4}}, 2, RW,
					  v, 8, spans, &m),
			 2);
	dma_mapping_release(&m);
	dma_space_free(s);
	close(fd);
}

static int map_list(struct dma_space *s, const struct pci_sg *sg, unsigned n, unsigned access,
		    unsigned max)
{
	static struct dma_span spans[DMA_SG_MAX];
	static struct iovec v[DMA_SG_MAX];
	struct dma_mapping m = {0};
	int res = dma_space_map_sg(s, sg, n, access, v, max, spans, &m);

	if (res >= 0)
		dma_mapping_release(&m);
	else
		assert_null(m.space);
	return res;
}

static void lists_are_checked(void **state)
{
	static struct pci_sg many[DMA_SG_MAX + 1];
	struct pci_sg sg[3] = {{0x10000, PAGE}, {0x12000, PAGE}, {0x20000, PAGE}};
	int fd = make_file(true), others[9];
	struct dma_space *s = space_for_lists(fd);

	(void)state;
	assert_int_equal(map_list(s, sg, 3, RW, 3), 3);
	assert_int_equal(map_list(s, sg, 3, RW, 2), -E2BIG);
	assert_int_equal(map_list(s, sg, 3, RW, 0), -E2BIG);
	assert_int_equal(map_list(s, sg, 0, RW, 3), -EINVAL);
	sg[1].len = 0;
	assert_int_equal(map_list(s, sg, 3, RW, 3), -EINVAL);
	sg[1] = (struct pci_sg){0x17fff, 2}; /* runs into a hole */
	assert_int_equal(map_list(s, sg, 3, RW, 3), -EFAULT);
	sg[1] = (struct pci_sg){0x60000, 1};
	assert_int_equal(map_list(s, sg, 3, RW, 1), -EFAULT); /* rather than too many pieces */
	sg[1] = (struct pci_sg){0x11000, UINT64_MAX};
	assert_int_equal(map_list(s, sg, 3, RW, 3), -EFAULT);
	sg[1] = (struct pci_sg){0x40000, 4};
	assert_int_equal(map_list(s, sg, 3, DMA_READ, 3), 3);
	assert_int_equal(map_list(s, sg, 3, DMA_WRITE, 3), -EPERM);
	sg[1] = (struct pci_sg){0x50000, 4};
	assert_int_equal(map_list(s, sg, 3, RW, 3), -EAGAIN);
	assert_int_equal(map_list(s, sg, 3, RW, 1), -EAGAIN);
	sg[2].addr = 0x60000;
	assert_int_equal(map_list(s, sg, 3, RW, 3), -EFAULT);
	for (unsigned i = 0; i <= DMA_SG_MAX; i++)
		many[i] = (struct pci_sg){i % 2 ? 0x10000 : 0x20000, 1};
	assert_int_equal(map_list(s, many, DMA_SG_MAX, RW, DMA_SG_MAX), DMA_SG_MAX);
	assert_int_equal(map_list(s, many, DMA_SG_MAX + 1, RW, DMA_SG_MAX), -E2BIG);
	for (unsigned i = 0; i < G_N_ELEMENTS(others); i++) { /* more files than a mapping holds */
		others[i] = make_file(true);
		many[i] = (struct pci_sg){0x100000 + i * PAGE, PAGE};
		assert_int_equal(add(s, many[i].addr, PAGE, RW, 0, others[i]), 0);
		close(others[i]);
	}
	assert_int_equal(map_list(s, many, 8, RW, 9), 8);
	assert_int_equal(map_list(s, many, 9, RW, 9), -E2BIG);
	dma_space_free(s);
	close(fd);
}

static void lists_are_revoked_by_their_ranges(void **state)
{
	static const struct pci_sg sg[] = {
		{0x20000, PAGE}, {0x10000, PAGE}, {0x11000, PAGE}, {0x14000, PAGE}, {0x30000, 16}};
	static const struct pci_sg end[] = {{UINT64_MAX - PAGE + 1, PAGE}, {0, PAGE}};
	static const struct {
		uint64_t addr, last;
		bool revokes;
	} cases[] = {
		{0x12000, 0x13fff, false}, /* between them */
		{0x15000, 0x1ffff, false}, /* no window there, partly */
		{0x21000, 0x2ffff, false}, {0x30010, 0x50fff, false}, {0, 0xffff, false},
		{0x14fff, 0x14fff, true}, /* the last byte of one in the middle */
		{0x11800, 0x118ff, true}, /* inside one that was joined to its neighbour */
		{0x20000, 0x20000, true},  {0x13fff, 0x14000, true},  {0x30000, 0x30fff, true},
		{0, UINT64_MAX, true},
	};
	struct dma_span spans[G_N_ELEMENTS(sg)];
	int fd = make_file(true);
	struct iovec v[8];

	(void)state;
	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct watched w = {.m.revoke = on_revoke};
		struct waiter waiter = {.w.done = on_done}, none = {.w.done = on_done};
		struct dma_space *s = space_for_lists(fd);

		assert_int_equal(dma_space_map_sg(s, sg, G_N_ELEMENTS(sg), RW, v, 8, spans, &w.m),
				 4);
		dma_space_remove(s, cases[i].addr, cases[i].last);
		assert_int_equal(w.revoked, cases[i].revokes);
		dma_space_remove(s, cases[i].addr, cases[i].last); /* once */
		assert_int_equal(w.revoked, cases[i].revokes);
		assert_false(dma_space_wait(s, 0x12000, 0x13fff, &none.w));
		if (cases[i].revokes)
			assert_true(dma_space_wait(s, cases[i].addr, cases[i].last, &waiter.w));
		memset(v[0].iov_base, 1, v[0].iov_len); /* still there */
		dma_mapping_release(&w.m);
		assert_int_equal(waiter.done, cases[i].revokes);
		dma_space_free(s);
	}
	/* The end of all addresses and their beginning are no neighbours. */
	struct watched w = {.m.revoke = on_revoke};
	struct dma_space *s = space_for_lists(fd);

	assert_int_equal(add(s, end[0].addr, PAGE, RW, 0, fd), 0);
	assert_int_equal(add(s, end[1].addr, PAGE, RW, PAGE, fd), 0);
	assert_int_equal(dma_space_map_sg(s, end, 2, RW, v, 8, spans, &w.m), 1);
	dma_space_remove(s, PAGE, UINT64_MAX - PAGE);
	assert_int_equal(w.revoked, 0);
	dma_space_remove(s, UINT64_MAX, UINT64_MAX);
	assert_int_equal(w.revoked, 1);
	dma_mapping_release(&w.m);
	dma_space_free(s);
	close(fd);
}

static void files_are_mapped_once(void **state)
{
	struct dma_space *s = dma_space_new();
	int fd = make_file(true);

	(void)state;
	for (unsigned i = 0; i < 2000; i++) { /* as a guest with an IOMMU does */
		int same = dup(fd);

		assert_int_equal(add(s, (uint64_t)i * 2 * PAGE, PAGE, RW, 0, same), 0);
		close(same);
	}
	assert_int_equal(dma_space_count(s), 2000);
	close(fd);
	for (unsigned i = 0; i < DMA_FILES_MAX - 1; i++) {
		fd = make_file(true);
		assert_int_equal(add(s, (1ull << 40) + (uint64_t)i * PAGE, PAGE, RW, 0, fd), 0);
		close(fd);
	}
	fd = make_file(true);
	assert_int_equal(add(s, 1ull << 50, PAGE, RW, 0, fd), ENOSPC);
	close(fd);
	dma_space_free(s);
}

static void windows_are_counted(void **state)
{
	struct dma_space *s = dma_space_new();

	(void)state;
	for (unsigned i = 0; i < DMA_WINDOWS_MAX; i++)
		assert_int_equal(add(s, (uint64_t)i * 4 * PAGE, 3 * PAGE, RW, 0, -1), 0);
	assert_int_equal(add(s, 1ull << 60, PAGE, RW, 0, -1), ENOSPC);
	dma_space_remove(s, PAGE, 2 * PAGE - 1); /* cutting cannot go over the limit either */
	assert_int_equal(dma_space_count(s), DMA_WINDOWS_MAX);
	dma_space_free(s);
}

static void shortened_files_do_not_kill(void **state)
{
	struct dma_space *s = dma_space_new();
	int fd = make_file(false);
	struct iovec v;

	(void)state;
	assert_int_equal(add(s, 0, FILE_LEN, RW, 0, fd), 0);
	assert_int_equal(dma_space_translate(s, 0, FILE_LEN, RW, &v, 1), 1);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_false(dma_space_is_torn(s));
	assert_int_equal(*(volatile char *)v.iov_base, 0);
	assert_true(dma_space_is_torn(s));
	dma_space_free(s);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(windows_are_checked),
		cmocka_unit_test(addresses_become_memory),
		cmocka_unit_test(removal_cuts),
		cmocka_unit_test(mappings_outlive_windows),
		cmocka_unit_test(lists_become_pieces),
		cmocka_unit_test(lists_are_checked),
		cmocka_unit_test(lists_are_revoked_by_their_ranges),
		cmocka_unit_test(files_are_mapped_once),
		cmocka_unit_test(windows_are_counted),
		cmocka_unit_test(shortened_files_do_not_kill),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
