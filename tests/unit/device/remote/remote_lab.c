/* See remote_lab.h. */
#include "remote_lab.h"

const char *lab_program, *lab_format = "text";

static GString *lines;

static void keep_line(enum log_level level, const char *area, const char *text, void *arg)
{
	(void)level;
	(void)arg;
	g_string_append_printf(lines, "%s: %s\n", area, text);
}

void lab_log_begin(void)
{
	lines = g_string_new(NULL);
	log_set_sink(keep_line, NULL);
}

bool lab_logged(const char *text)
{
	return strstr(lines->str, text);
}

void lab_log_end(void)
{
	log_set_sink(NULL, NULL);
	g_string_free(lines, TRUE);
	lines = NULL;
}

char *lab_options(const char *options)
{
	g_autofree char *program = g_shell_quote(lab_program);

	return g_strdup_printf("driver=exec:/usr/bin/python3 -B %s,format=%s%s", program,
			       lab_format, options);
}

co_fn void lab_open(struct remote_lab *x, const char *driver, const char *options)
{
	char *text = driver ? g_strdup_printf("driver=%s,format=%s%s", driver, lab_format, options)
			    : lab_options(options);

	x->d = make_device(NULL, text);
	fake_host_init(&x->h, device_function(x->d), true);
	g_free(text);
}

co_fn void lab_close(struct remote_lab *x)
{
	fake_host_fini(&x->h);
	device_free(x->d);
}

static void on_done(struct pci_call *call, int res)
{
	struct access *a = (struct access *)call;

	a->over = true;
	a->res = res;
}

static void do_access(void *arg)
{
	struct access *a = arg;

	a->res = a->write ? pci_function_write(a->h->f, 0, a->off, a->b, a->width, &a->call)
			  : pci_function_read(a->h->f, 0, a->off, a->b, a->width, &a->call);
	a->over = a->res != PCI_PENDING;
}

co_fn void access_begin(struct access *a, struct remote_lab *x, bool write, uint64_t off,
			uint64_t value, unsigned width)
{
	*a = (struct access){.h = &x->h, .off = off, .width = width, .write = write};
	a->call.done = on_done;
	put_le64(a->b, value);
	ON_LOOP(do_access, a);
}

co_fn uint64_t lab_read(struct remote_lab *x, uint64_t off, unsigned width)
{
	struct access a;

	access_begin(&a, x, false, off, 0, width);
	WAIT_UNTIL(a.over);
	assert_int_equal(a.res, 0);
	return get_le64(a.b);
}

co_fn void lab_write(struct remote_lab *x, uint64_t off, uint64_t value, unsigned width)
{
	struct access a;

	access_begin(&a, x, true, off, value, width);
	WAIT_UNTIL(a.over);
	assert_int_equal(a.res, 0);
}

co_fn void lab_await(struct remote_lab *x, uint64_t off, uint32_t value)
{
	WAIT_UNTIL(lab_read(x, off, 4) == value);
}
