/* See fake_host.h. */
#include "fake_host.h"

#include "base/bytes.h"

#include <sys/mman.h>
#include <unistd.h>

static struct fake_host *host_of(struct pci_host *h)
{
	return (struct fake_host *)h;
}

static void on_intx(struct pci_host *host, bool level)
{
	struct fake_host *h = host_of(host);

	assert_true(level != h->level); /* changes only */
	h->level = level;
	if (level)
		h->raised++;
	else
		h->lowered++;
}

static bool on_msi(struct pci_host *host, enum pci_irq kind, unsigned vector)
{
	struct fake_host *h = host_of(host);

	if (h->refuses)
		return false;
	h->messages++;
	h->last_kind = kind;
	h->last_vector = vector;
	return true;
}

static int move(struct fake_host *h, struct pci_dma *d)
{
	uint8_t *p = h->far + (d->addr - FAR_AT);

	if (d->addr < FAR_AT || d->addr - FAR_AT > FAR_LEN || d->len > FAR_LEN - (d->addr - FAR_AT))
		return -EIO; /* a window the test added */
	h->far_moves++;
	if (d->write)
		memcpy(p, d->buf, d->len);
	else
		memcpy(d->buf, p, d->len);
	return 0;
}

static void answer(struct loop_task *task)
{
	struct fake_host *h =
		(struct fake_host *)((char *)task - offsetof(struct fake_host, answer));

	while (h->n_answering) {
		struct pci_dma *d = h->answering[0];

		h->n_answering--;
		memmove(h->answering, h->answering + 1, h->n_answering * sizeof(void *));
		pci_dma_done(d, move(h, d));
	}
}

static void on_dma(struct pci_host *host, struct pci_dma *d)
{
	struct fake_host *h = host_of(host);

	if (h->holds) {
		assert_null(h->held);
		h->held = d;
		return;
	}
	assert_true(h->n_answering < G_N_ELEMENTS(h->answering));
	h->answering[h->n_answering++] = d;
	loop_post(h->host.loop, &h->answer);
}

static void on_dma_cancel(struct pci_host *host, struct pci_dma *d)
{
	struct fake_host *h = host_of(host);

	unsigned i = 0;

	if (h->held == d) {
		h->held = NULL;
		return;
	}
	while (i < h->n_answering && h->answering[i] != d)
		i++;
	assert_true(i < h->n_answering); /* it is ours to cancel */
	h->n_answering--;
	memmove(h->answering + i, h->answering + i + 1, (h->n_answering - i) * sizeof(void *));
}

static void on_decode(struct pci_host *host)
{
	host_of(host)->decodes++;
}

static const struct pci_host_ops ops = {
	.intx = on_intx,
	.msi = on_msi,
	.dma = on_dma,
	.dma_cancel = on_dma_cancel,
	.decode_changed = on_decode,
};

struct attaching {
	struct fake_host *h;
	bool master;
};

static void attach(void *arg)
{
	struct attaching *a = arg;
	GError *error = NULL;

	pci_function_attach(a->h->f, &a->h->host, &error);
	assert_null(error);
	if (a->master)
		cfg_write(a->h, 4, 0x0007, 2);
}

void fake_host_init(struct fake_host *h, struct pci_function *f, bool master)
{
	struct attaching a = {h, master};

	memset(h, 0, sizeof(*h));
	h->far = g_malloc0(FAR_LEN);
	h->host.ops = &ops;
	h->host.loop = co_loop();
	h->host.dma = dma_space_new();
	h->answer.run = answer;
	h->f = f;
	h->fd = memfd_create("guest", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_true(h->fd >= 0);
	assert_int_equal(ftruncate(h->fd, GUEST_LEN), 0);
	h->guest = mmap(NULL, GUEST_LEN, PROT_READ | PROT_WRITE, MAP_SHARED, h->fd, 0);
	assert_true(h->guest != MAP_FAILED);
	assert_true(dma_space_add(
		h->host.dma, &(struct dma_region){GUEST_AT, GUEST_LEN, DMA_READ | DMA_WRITE, 0},
		h->fd, NULL));
	assert_true(dma_space_add(
		h->host.dma, &(struct dma_region){ROM_AT, ROM_LEN, DMA_READ, 0x1000}, h->fd, NULL));
	assert_true(dma_space_add(h->host.dma,
				  &(struct dma_region){FAR_AT, FAR_LEN, DMA_READ | DMA_WRITE, 0},
				  -1, NULL));
	ON_LOOP(attach, &a);
}

static void detach(void *arg)
{
	struct fake_host *h = arg;

	pci_function_detach(h->f, &h->host);
	assert_null(h->held);
}

void fake_host_fini(struct fake_host *h)
{
	ON_LOOP(detach, h);
	dma_space_free(h->host.dma);
	munmap(h->guest, GUEST_LEN);
	g_free(h->far);
	close(h->fd);
}

void fake_host_release(struct fake_host *h, int res)
{
	struct pci_dma *d = h->held;

	h->held = NULL;
	pci_dma_done(d, res == 0 ? move(h, d) : res);
}

static void never(struct pci_call *call, int res)
{
	(void)call;
	fail_msg("done(%d) of an access that was answered at once", res);
}

struct access {
	struct fake_host *h;
	unsigned bar;
	uint64_t off;
	uint8_t b[8];
	unsigned width;
	bool write;
};

static void do_access(void *arg)
{
	struct access *a = arg;
	struct pci_call call = {.done = never};

	if (a->write) {
		assert_int_equal(pci_function_write(a->h->f, a->bar, a->off, a->b, a->width, &call),
				 0);
	} else {
		assert_int_equal(pci_function_read(a->h->f, a->bar, a->off, a->b, a->width, &call),
				 0);
	}
}

uint64_t bar_read(struct fake_host *h, unsigned bar, uint64_t off, unsigned width)
{
	struct access a = {h, bar, off, {0}, width, false};

	if (co_self())
		ON_LOOP(do_access, &a);
	else
		do_access(&a);
	return get_le64(a.b);
}

void bar_write(struct fake_host *h, unsigned bar, uint64_t off, uint64_t value, unsigned width)
{
	struct access a = {h, bar, off, {0}, width, true};

	put_le64(a.b, value);
	if (co_self())
		ON_LOOP(do_access, &a);
	else
		do_access(&a);
}

static void do_config(void *arg)
{
	struct access *a = arg;

	if (a->write) {
		assert_int_equal(
			pci_function_config_write(a->h->f, (unsigned)a->off, a->b, a->width), 0);
	} else {
		assert_int_equal(
			pci_function_config_read(a->h->f, (unsigned)a->off, a->b, a->width), 0);
	}
}

uint32_t cfg_read(struct fake_host *h, unsigned off, unsigned width)
{
	struct access a = {h, 0, off, {0}, width, false};

	do_config(&a);
	return get_le32(a.b);
}

void cfg_write(struct fake_host *h, unsigned off, uint32_t value, unsigned width)
{
	struct access a = {h, 0, off, {0}, width, true};

	put_le32(a.b, value);
	if (co_self())
		ON_LOOP(do_config, &a);
	else
		do_config(&a);
}

unsigned cfg_find(struct fake_host *h, uint8_t id)
{
	unsigned at = cfg_read(h, 6, 2) & 0x10 ? cfg_read(h, 0x34, 1) : 0;

	while (at && cfg_read(h, at, 1) != id)
		at = cfg_read(h, at + 1, 1);
	return at;
}

static struct device *try_device(const struct ob_class *cls, const char *options, GError **error)
{
	struct opts *opts = opts_parse(options ? options : "", NULL, error);
	struct device *d;

	assert_non_null(opts);
	d = cls ? device_new_of_class(co_loop(), cls, opts, error)
		: device_new(co_loop(), opts, NULL, error);
	opts_free(opts);
	return d;
}

struct device *make_device(const struct ob_class *cls, const char *options)
{
	GError *error = NULL;
	struct device *d = try_device(cls, options, &error);

	if (!d)
		fail_msg("%s", error->message);
	return d;
}

char *refuse_device(const struct ob_class *cls, const char *options)
{
	GError *error = NULL;
	struct device *d = try_device(cls, options, &error);
	char *text;

	assert_null(d);
	assert_non_null(error);
	text = g_strdup(error->message);
	g_error_free(error);
	return text;
}
