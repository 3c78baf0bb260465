/* Scatter lists of guest memory: mapped, through messages, and when memory goes away meanwhile. */
#include "lab.h"

#include "device/guest_sg.h"

static struct guest_sg sg_of(const struct ob_sg *ranges, unsigned n)
{
	struct guest_sg g = {0};

	guest_sg_clear(&g, lab.dev);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(guest_sg_add(&g, ranges[i].addr, ranges[i].len), 0);
	return g;
}

/* The same list both ways; where is what of it the guest sees, flat. */
static void move_both_ways(const struct ob_sg *ranges, unsigned n, const char *text)
{
	struct guest_sg g = sg_of(ranges, n);
	size_t len = strlen(text);
	char back[64] = "";
	struct iovs iov;

	assert_int_equal(g.len, len);
	assert_int_equal(guest_sg_begin(&g, OB_DMA_WRITE, &iov), 0);
	assert_int_equal(iov.len, len);
	assert_int_equal(iovs_put(&iov, 0, text, len), len);
	assert_int_equal(guest_sg_end(&g, len), 0);
	assert_int_equal(guest_sg_begin(&g, OB_DMA_READ, &iov), 0);
	assert_int_equal(iovs_get(&iov, 0, back, len), len);
	assert_int_equal(guest_sg_end(&g, 0), 0);
	assert_string_equal(back, text);
	guest_sg_fini(&g);
}

static void shared_co(void *arg)
{
	static const struct ob_sg one[] = {{GUEST_AT + 7, 5}};
	static const struct ob_sg many[] = {{GUEST_AT + 9, 3}, {GUEST_AT, 0}, {GUEST_AT + 1, 4}};

	(void)arg;
	lab_begin(NULL);
	move_both_ways(one, 1, "hello");
	assert_memory_equal(lab.h.guest + 7, "hello", 5);
	move_both_ways(many, 3, "abcdefg");
	assert_memory_equal(lab.h.guest + 9, "abc", 3);
	assert_memory_equal(lab.h.guest + 1, "defg", 4);
	assert_int_equal(lab.h.far_moves, 0);
	lab_end();
}
LAB_TEST(shared)

static void messages_co(void *arg)
{
	static const struct ob_sg far[] = {{FAR_AT + 100, 4}, {FAR_AT, 3}};
	static const struct ob_sg mixed[] = {{GUEST_AT, 3}, {FAR_AT + 8, 2}};

	(void)arg;
	lab_begin(NULL);
	move_both_ways(far, 2, "0123456");
	assert_memory_equal(lab.h.far + 100, "0123", 4);
	assert_memory_equal(lab.h.far, "456", 3);
	move_both_ways(mixed, 2, "vwxyz");
	assert_memory_equal(lab.h.guest, "vwx", 3);
	assert_memory_equal(lab.h.far + 8, "yz", 2);
	lab_end();
}
LAB_TEST(messages)

/* Only what was moved reaches the guest. */
static void part_co(void *arg)
{
	static const struct ob_sg far[] = {{FAR_AT, 4}, {FAR_AT + 10, 4}};
	struct guest_sg g;
	struct iovs iov;

	(void)arg;
	lab_begin(NULL);
	memset(lab.h.far, '.', 16);
	g = sg_of(far, 2);
	assert_int_equal(guest_sg_begin(&g, OB_DMA_WRITE, &iov), 0);
	iovs_put(&iov, 0, "abcdefgh", 8);
	assert_int_equal(guest_sg_end(&g, 6), 0);
	assert_memory_equal(lab.h.far, "abcd......ef....", 16);
	assert_int_equal(g.sg[1].len, 4); /* the list is whole again */
	assert_int_equal(guest_sg_begin(&g, OB_DMA_WRITE, &iov), 0);
	assert_int_equal(guest_sg_end(&g, 0), 0);
	assert_memory_equal(lab.h.far, "abcd......ef....", 16);
	guest_sg_fini(&g);
	lab_end();
}
LAB_TEST(part)

static int begin_of(uint64_t addr, uint64_t len, unsigned flags)
{
	const struct ob_sg range = {addr, len};
	struct guest_sg g = sg_of(&range, 1);
	struct iovs iov;
	int res = guest_sg_begin(&g, flags, &iov);

	if (res == 0)
		assert_int_equal(guest_sg_end(&g, 0), 0);
	guest_sg_fini(&g);
	return res;
}

static void refused_co(void *arg)
{
	struct guest_sg g = {0};

	(void)arg;
	lab_begin(NULL);
	assert_int_equal(begin_of(0, 512, OB_DMA_READ), -EFAULT);
	assert_int_equal(begin_of(GUEST_AT + GUEST_LEN - 4, 8, OB_DMA_READ), -EFAULT);
	assert_int_equal(begin_of(UINT64_MAX - 3, 8, OB_DMA_READ), -EFAULT);
	assert_int_equal(begin_of(ROM_AT, 8, OB_DMA_READ), 0);
	assert_int_equal(begin_of(ROM_AT, 8, OB_DMA_WRITE), -EPERM);
	assert_int_equal(begin_of(GUEST_AT, 0, OB_DMA_WRITE), 0);
	guest_sg_clear(&g, lab.dev);
	assert_int_equal(guest_sg_add(&g, 0, UINT64_MAX), -E2BIG);
	for (unsigned i = 0; i < GUEST_SG_RANGES; i++)
		assert_int_equal(guest_sg_add(&g, GUEST_AT + i, 1), 0);
	assert_int_equal(guest_sg_add(&g, GUEST_AT, 1), -E2BIG);
	guest_sg_fini(&g);
	cfg_write(&lab.h, 4, 3, 2);
	assert_int_equal(begin_of(GUEST_AT, 8, OB_DMA_READ), -EACCES);
	lab_end();
}
LAB_TEST(refused)

/* As many ranges as there can be, each a piece of its own. */
static void longest_co(void *arg)
{
	struct guest_sg g = {0};
	struct iovs iov;

	(void)arg;
	lab_begin(NULL);
	guest_sg_clear(&g, lab.dev);
	for (unsigned i = 0; i < GUEST_SG_RANGES; i++)
		assert_int_equal(guest_sg_add(&g, GUEST_AT + 2 * i, 1), 0);
	assert_int_equal(guest_sg_begin(&g, OB_DMA_WRITE, &iov), 0);
	for (unsigned i = 0; i < GUEST_SG_RANGES; i++)
		iovs_put(&iov, i, "x", 1);
	assert_int_equal(guest_sg_end(&g, GUEST_SG_RANGES), 0);
	for (unsigned i = 0; i < 2 * GUEST_SG_RANGES; i++)
		assert_int_equal(lab.h.guest[i], i % 2 ? 0 : 'x');
	guest_sg_fini(&g);
	lab_end();
}
LAB_TEST(longest)

static void limit_co(void *arg)
{
	struct guest_sg g = {0};
	struct iovs iov;

	(void)arg;
	lab_begin(NULL);
	guest_sg_clear(&g, lab.dev);
	for (uint64_t len = 0; len <= GUEST_SG_BOUNCE; len += FAR_LEN)
		assert_int_equal(guest_sg_add(&g, FAR_AT, FAR_LEN), 0);
	assert_int_equal(guest_sg_begin(&g, OB_DMA_WRITE, &iov), -ENOMEM);
	guest_sg_fini(&g);
	lab_end();
}
LAB_TEST(limit)

static void few_bytes_co(void *arg)
{
	char b[8] = "";

	(void)arg;
	lab_begin(NULL);
	assert_int_equal(guest_write(lab.dev, GUEST_AT, "near", 4), 0);
	assert_int_equal(guest_read(lab.dev, GUEST_AT, b, 4), 0);
	assert_string_equal(b, "near");
	assert_int_equal(lab.h.far_moves, 0);
	assert_int_equal(guest_write(lab.dev, FAR_AT, "far!", 4), 0);
	assert_int_equal(guest_read(lab.dev, FAR_AT, b, 4), 0);
	assert_string_equal(b, "far!");
	assert_int_equal(lab.h.far_moves, 2);
	assert_int_equal(guest_read(lab.dev, 16, b, 4), -EFAULT);
	lab_end();
}
LAB_TEST(few_bytes)

static void remove_memory(void *arg)
{
	(void)arg;
	dma_space_remove(lab.h.host.dma, GUEST_AT, GUEST_AT + GUEST_LEN - 1);
}

static void revoked_co(void *arg)
{
	static const struct ob_sg one[] = {{GUEST_AT, 4}};
	struct guest_sg g;
	struct iovs iov;

	(void)arg;
	lab_begin(NULL);
	g = sg_of(one, 1);
	assert_int_equal(guest_sg_begin(&g, OB_DMA_WRITE, &iov), 0);
	assert_true(guest_sg_has(&g, g.m));
	assert_false(guest_sg_is_revoked(&g));
	ON_LOOP(remove_memory, NULL);
	assert_int_equal(lab.revokes, 1);
	assert_true(guest_sg_is_revoked(&g));
	iovs_put(&iov, 0, "gone", 4); /* legal, and nobody's */
	assert_int_equal(guest_sg_end(&g, 4), 0);
	assert_int_equal(guest_sg_begin(&g, OB_DMA_WRITE, &iov), -EFAULT);
	guest_sg_fini(&g);
	lab_end();
}
LAB_TEST(revoked)

static void reset_function(void *arg)
{
	struct pci_call call = {0};

	(void)arg;
	assert_int_equal(pci_function_reset(lab.h.f, PCI_RESET_BUS, &call), 0);
}

static void reset_soon_co(void *arg)
{
	(void)arg;
	WAIT_UNTIL(lab.h.held);
	ON_LOOP(reset_function, NULL);
}

/* A reset ends the wait for a message. */
static void cancelled_co(void *arg)
{
	static const struct ob_sg far[] = {{FAR_AT, 4}};
	struct guest_sg g;
	struct iovs iov;

	(void)arg;
	lab_begin(NULL);
	lab.h.holds = true;
	g = sg_of(far, 1);
	co_start(co_loop(), reset_soon_co, NULL);
	assert_int_equal(guest_sg_begin(&g, OB_DMA_READ, &iov), -ECANCELED);
	guest_sg_fini(&g);
	lab_end();
}
LAB_TEST(cancelled)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shared),    cmocka_unit_test(messages),
		cmocka_unit_test(part),      cmocka_unit_test(refused),
		cmocka_unit_test(longest),   cmocka_unit_test(limit),
		cmocka_unit_test(few_bytes), cmocka_unit_test(revoked),
		cmocka_unit_test(cancelled),
	};

	return RUN_LOOP_TESTS(tests);
}
