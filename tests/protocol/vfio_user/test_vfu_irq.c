/* Interrupts: eventfds of all kinds, and the contract of INTx (transports.md 1.12). */
#include "vfu_test.h"

enum { TRIGGER = VFU_SET_EVENTFD | VFU_SET_TRIGGER, UNMASK = VFU_SET_NONE | VFU_SET_UNMASK };

static void set_fd(struct vfu_client *c, unsigned index, unsigned start, int fd)
{
	assert_int_equal(client_set_irqs(c, TRIGGER, index, start, 1, &fd, 1), 0);
}

static void test_intx_is_signalled_again_on_unmask(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);
	int fd = new_eventfd();

	set_fd(c, VFU_IRQ_INTX, 0, fd);
	client_write32(c, 0, TOY_INTX, 1);
	assert_int_equal(take_signals(fd), 1);
	assert_true(config_read(c, 6, 2) & 8);
	client_write32(c, 0, TOY_INTX, 1); /* masked since the signal */
	assert_int_equal(take_signals(fd), 0);
	assert_int_equal(client_set_irqs(c, UNMASK, VFU_IRQ_INTX, 0, 1, NULL, 0), 0);
	assert_int_equal(wait_signals(fd), 1);
	client_write32(c, 0, TOY_INTX, 0);
	assert_int_equal(client_set_irqs(c, UNMASK, VFU_IRQ_INTX, 0, 1, NULL, 0), 0);
	assert_int_equal(take_signals(fd), 0);
	assert_false(config_read(c, 6, 2) & 8);
	close(fd);
	client_close(c);
}

static void test_intx_that_dropped_is_taken_back(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);
	int fd = new_eventfd();

	set_fd(c, VFU_IRQ_INTX, 0, fd);
	client_write32(c, 0, TOY_INTX, 1);
	client_write32(c, 0, TOY_INTX, 0);
	assert_int_equal(take_signals(fd), 0); /* before the client saw it */
	client_write32(c, 0, TOY_INTX, 1);     /* and the next one is not lost */
	assert_int_equal(take_signals(fd), 1);
	client_write32(c, 0, TOY_INTX, 0); /* after: it stays masked */
	client_write32(c, 0, TOY_INTX, 1);
	assert_int_equal(take_signals(fd), 0);
	assert_int_equal(client_set_irqs(c, UNMASK, VFU_IRQ_INTX, 0, 1, NULL, 0), 0);
	assert_int_equal(take_signals(fd), 1);
	close(fd);
	client_close(c);
}

static void test_intx_disable_bit(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);
	int fd = new_eventfd();

	set_fd(c, VFU_IRQ_INTX, 0, fd);
	config_write(c, 4, 0x400, 2);
	assert_int_equal(config_read(c, 4, 2), 0x400);
	client_write32(c, 0, TOY_INTX, 1);
	assert_int_equal(take_signals(fd), 0);
	config_write(c, 4, 0, 2);
	assert_int_equal(take_signals(fd), 1);
	close(fd);
	client_close(c);
}

static void test_intx_high_before_anybody_listens(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);
	int fd = new_eventfd();

	client_write32(c, 0, TOY_INTX, 1);
	set_fd(c, VFU_IRQ_INTX, 0, fd);
	assert_int_equal(take_signals(fd), 1);
	client_close(c);
	server_wait_clients(s, 0);
	c = client_open(s->path[0]); /* the device still wants it from the next client */
	set_fd(c, VFU_IRQ_INTX, 0, fd);
	assert_int_equal(take_signals(fd), 1);
	assert_int_equal(
		client_set_irqs(c, VFU_SET_NONE | VFU_SET_TRIGGER, VFU_IRQ_INTX, 0, 0, NULL, 0), 0);
	client_write32(c, 0, TOY_INTX, 0);
	client_write32(c, 0, TOY_INTX, 1); /* disabled: nobody is told */
	assert_int_equal(take_signals(fd), 0);
	close(fd);
	client_close(c);
}

static void test_intx_resampled_by_eventfd(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);
	int fd = new_eventfd(), eoi = new_eventfd();
	uint64_t one = 1;

	/* as QEMU with KVM does it */
	set_fd(c, VFU_IRQ_INTX, 0, fd);
	assert_int_equal(
		client_set_irqs(c, VFU_SET_NONE | VFU_SET_MASK, VFU_IRQ_INTX, 0, 1, NULL, 0), 0);
	assert_int_equal(
		client_set_irqs(c, VFU_SET_EVENTFD | VFU_SET_UNMASK, VFU_IRQ_INTX, 0, 1, &eoi, 1),
		0);
	client_write32(c, 0, TOY_INTX, 1);
	assert_int_equal(take_signals(fd), 0);
	assert_int_equal(client_set_irqs(c, UNMASK, VFU_IRQ_INTX, 0, 1, NULL, 0), 0);
	assert_int_equal(take_signals(fd), 1);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(write(eoi, &one, 8), 8);
		assert_int_equal(wait_signals(fd), 1);
	}
	close(fd);
	close(eoi);
	client_close(c);
}

static void test_msi(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);
	unsigned cap = find_cap(c, MSI_CAP);
	int fd = new_eventfd();

	set_fd(c, VFU_IRQ_MSI, 0, fd);
	client_write32(c, 0, TOY_MSI, 0);
	assert_int_equal(client_read32(c, 0, TOY_MSI_RES), ENOTCONN); /* no driver enabled it */
	enable_bus_master(c);
	config_write(c, cap + 2, config_read(c, cap + 2, 2) | 1, 2);
	client_write32(c, 0, TOY_MSI, 0);
	assert_int_equal(client_read32(c, 0, TOY_MSI_RES), 0);
	assert_int_equal(take_signals(fd), 1);
	client_write32(c, 0, TOY_MSI, 99);
	assert_int_equal(client_read32(c, 0, TOY_MSI_RES), EINVAL);
	close(fd);
	client_close(c);
}

static void test_msix_vectors_one_by_one(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);
	unsigned cap = find_cap(c, MSIX_CAP);
	int fds[8];

	enable_bus_master(c);
	for (unsigned i = 0; i < 8; i++)
		fds[i] = new_eventfd();
	/* as QEMU enables it: without any vector first */
	config_write(c, cap + 2, 0x8000, 2);
	assert_int_equal(client_set_irqs(c, TRIGGER, VFU_IRQ_MSIX, 0, 1, NULL, 0), 0);
	client_write32(c, 0, TOY_MSI, 5); /* becomes pending */
	assert_int_equal(client_set_irqs(c, TRIGGER, VFU_IRQ_MSIX, 0, 4, fds, 4), 0);
	assert_int_equal(client_set_irqs(c, TRIGGER, VFU_IRQ_MSIX, 4, 4, fds + 4, 4), 0);
	assert_int_equal(take_signals(fds[5]), 1); /* and is not lost */
	for (unsigned i = 0; i < 8; i++) {
		client_write32(c, 0, TOY_MSI, i);
		for (unsigned j = 0; j < 8; j++)
			assert_int_equal(take_signals(fds[j]), i == j);
	}
	assert_int_equal(client_set_irqs(c, TRIGGER, VFU_IRQ_MSIX, 3, 1, NULL, 0), 0);
	client_write32(c, 0, TOY_MSI, 3);
	assert_int_equal(take_signals(fds[3]), 0);
	for (unsigned i = 0; i < 8; i++)
		close(fds[i]);
	client_close(c);
}

static void test_trigger_by_message(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);
	uint8_t m[IRQSET_LEN + 3] = {0};
	int fds[3] = {new_eventfd(), new_eventfd(), new_eventfd()};

	assert_int_equal(client_set_irqs(c, TRIGGER, VFU_IRQ_MSIX, 1, 3, fds, 3), 0);
	assert_int_equal(
		client_set_irqs(c, VFU_SET_NONE | VFU_SET_TRIGGER, VFU_IRQ_MSIX, 1, 3, NULL, 0), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(take_signals(fds[i]), 1);
	vfu_put(m, IRQSET_FLAGS, VFU_SET_BOOL | VFU_SET_TRIGGER);
	vfu_put(m, IRQSET_INDEX, VFU_IRQ_MSIX);
	vfu_put(m, IRQSET_START, 1);
	vfu_put(m, IRQSET_COUNT, 3);
	m[IRQSET_LEN + 1] = 1;
	assert_int_equal(client_call(c, VFU_SET_IRQS, m, sizeof(m), NULL, 0), 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(take_signals(fds[i]), i == 1);
		close(fds[i]);
	}
	client_close(c);
}

static void test_wrong_interrupt_set_ups(void **state)
{
	static const struct {
		uint32_t flags, index, start, count;
		unsigned n_fds;
	} wrong[] = {
		{TRIGGER, 5, 0, 1, 1}, /* no such index */
		{TRIGGER, 0xffffffff, 0, 1, 1},
		{TRIGGER, VFU_IRQ_MSIX, 8, 1, 1}, /* behind the last vector */
		{TRIGGER, VFU_IRQ_MSIX, 7, 2, 2},
		{TRIGGER, VFU_IRQ_MSIX, 1, 0xffffffff, 1}, /* wraps */
		{TRIGGER, VFU_IRQ_MSIX, 0xffffffff, 2, 2},
		{TRIGGER, VFU_IRQ_MSIX, 0, 3, 2}, /* not as many descriptors */
		{TRIGGER, VFU_IRQ_MSIX, 0, 1, 2},
		{TRIGGER, VFU_IRQ_REQ, 0, 1, 1},  /* has no vectors */
		{TRIGGER, VFU_IRQ_MSIX, 0, 0, 0}, /* none at all */
		{0, VFU_IRQ_INTX, 0, 1, 0},       /* neither data nor action */
		{VFU_SET_EVENTFD, VFU_IRQ_INTX, 0, 1, 1},
		{VFU_SET_TRIGGER, VFU_IRQ_INTX, 0, 1, 0},
		{TRIGGER | VFU_SET_NONE, VFU_IRQ_INTX, 0, 1, 1}, /* two kinds */
		{TRIGGER | VFU_SET_MASK, VFU_IRQ_INTX, 0, 1, 1},
		{TRIGGER | 64, VFU_IRQ_INTX, 0, 1, 1},
		{VFU_SET_NONE | VFU_SET_TRIGGER, VFU_IRQ_INTX, 0, 1, 1}, /* nothing to pass */
		{VFU_SET_NONE | VFU_SET_MASK, VFU_IRQ_MSIX, 0, 1, 0},    /* cannot be masked */
		{UNMASK, VFU_IRQ_MSI, 0, 1, 0},
		{VFU_SET_EVENTFD | VFU_SET_MASK, VFU_IRQ_INTX, 0, 1, 1},
		{VFU_SET_BOOL | VFU_SET_TRIGGER, VFU_IRQ_MSIX, 0, 2, 0}, /* without its bytes */
	};
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);
	int fds[2] = {new_eventfd(), new_eventfd()}, pipes[2];
	unsigned before = open_fds();

	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_not_equal(client_set_irqs(c, wrong[i].flags, wrong[i].index,
						     wrong[i].start, wrong[i].count, fds,
						     wrong[i].n_fds),
				     0);
	}
	wait_open_fds(before); /* the server keeps none of them */
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(client_set_irqs(c, TRIGGER, VFU_IRQ_MSIX, 0, 1, &pipes[1], 1), EINVAL);
	close(pipes[0]);
	close(pipes[1]);
	assert_int_equal(client_read32(c, 0, TOY_ID), TOY_ID_VALUE);
	close(fds[0]);
	close(fds[1]);
	client_close(c);
}

/* One whose counter is full, and that would block, does not stop the server. */
static void test_full_eventfd(void **state)
{
	struct vfu_server *s = *state;
	struct vfu_client *c = client_open(s->path[0]);
	uint64_t much = UINT64_MAX - 1;
	int fd = eventfd(0, EFD_CLOEXEC);

	set_fd(c, VFU_IRQ_INTX, 0, fd);
	assert_int_equal(fcntl(fd, F_SETFL, 0), 0); /* the client takes the flag away again */
	assert_int_equal(write(fd, &much, 8), 8);
	client_write32(c, 0, TOY_INTX, 1);
	client_write32(c, 0, TOY_INTX, 0); /* takes all of it back */
	client_write32(c, 0, TOY_INTX, 0);
	assert_int_equal(client_read32(c, 0, TOY_ID), TOY_ID_VALUE);
	close(fd);
	client_close(c);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		WITH_SERVER(test_intx_is_signalled_again_on_unmask),
		WITH_SERVER(test_intx_that_dropped_is_taken_back),
		WITH_SERVER(test_intx_disable_bit),
		WITH_SERVER(test_intx_high_before_anybody_listens),
		WITH_SERVER(test_intx_resampled_by_eventfd),
		WITH_SERVER(test_msi),
		WITH_SERVER(test_msix_vectors_one_by_one),
		WITH_SERVER(test_trigger_by_message),
		WITH_SERVER(test_wrong_interrupt_set_ups),
		WITH_SERVER(test_full_eventfd),
	};

	return RUN_TESTS(tests);
}
