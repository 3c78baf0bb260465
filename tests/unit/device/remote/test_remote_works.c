/* A program is a device: registers, DMA, interrupts, resets, late answers; by pipes and sockets. */
#include "remote_lab.h"

#include <gio/gio.h>
#include <signal.h>
#include <unistd.h>

static void registers_co(void *arg)
{
	struct remote_lab x;

	(void)arg;
	lab_open(&x, NULL, ",id=x,level=9");
	assert_string_equal(device_id(x.d), "x");
	assert_string_equal(device_class_name(x.d), "tester");
	assert_int_equal(cfg_read(&x.h, 0, 4), 0x11111af4);
	assert_int_equal(pci_function_vectors(x.h.f, PCI_MSI), 2);
	assert_int_equal(lab_read(&x, REG_ID, 4), ID_VALUE);
	assert_int_equal(lab_read(&x, REG_ID, 1), ID_VALUE & 0xff);
	assert_int_equal(lab_read(&x, REG_RESETS, 4), 1);
	assert_int_equal(lab_read(&x, REG_KIND, 4), 0);
	lab_await(&x, REG_STATE, 3);
	for (unsigned i = 0; i < 100; i++)
		lab_write(&x, REG_SCRATCH, i, 4);
	assert_int_equal(lab_read(&x, REG_SCRATCH, 4), 99); /* the writes before it are done */
	lab_write(&x, REG_WIDE, UINT64_MAX - 1, 8);
	assert_true(lab_read(&x, REG_WIDE, 8) == UINT64_MAX - 1);
	cfg_write(&x.h, 4, 3, 2);
	lab_await(&x, REG_STATE, 1);
	lab_close(&x);
}

/* One answer that takes its time stops nobody, neither here nor in another device. */
static void late_co(void *arg)
{
	struct remote_lab x, y;
	struct access late;

	(void)arg;
	lab_open(&x, NULL, "");
	lab_open(&y, NULL, "");
	access_begin(&late, &x, false, REG_LATE, 0, 4);
	assert_int_equal(lab_read(&x, REG_ID, 4), ID_VALUE);
	assert_int_equal(lab_read(&y, REG_ID, 4), ID_VALUE);
	assert_false(late.over);
	lab_write(&x, REG_RELEASE, 0x600d, 4);
	WAIT_UNTIL(late.over);
	assert_int_equal(get_le32(late.b), 0x600d);
	access_begin(&late, &x, false, REG_LATE, 0, 4); /* and one is under way at the end */
	lab_close(&x);
	lab_close(&y);
}

static void transfer(struct remote_lab *x, uint64_t address, uint32_t len, unsigned what,
		     uint32_t error)
{
	uint32_t ended = (uint32_t)lab_read(x, REG_ENDED, 4);

	lab_write(x, REG_ADDRESS, address, 8);
	lab_write(x, REG_LENGTH, len, 4);
	lab_write(x, REG_TRANSFER, what, 4);
	lab_await(x, REG_ENDED, ended + 1);
	assert_int_equal(lab_read(x, REG_ERROR, 4), error);
}

static void dma_co(void *arg)
{
	struct remote_lab x;

	(void)arg;
	lab_open(&x, NULL, "");
	for (unsigned i = 0; i < 65536; i++)
		x.h.guest[i] = (uint8_t)(i * 7 + i / 256);
	transfer(&x, GUEST_AT, 65536, 1, 0);
	transfer(&x, GUEST_AT + 0x20000, 65536, 2, 0);
	assert_memory_equal(x.h.guest, x.h.guest + 0x20000, 65536);
	transfer(&x, FAR_AT + 1, 1000, 2, 0); /* what only the host reaches */
	assert_memory_equal(x.h.guest, x.h.far + 1, 1000);
	transfer(&x, 0x7fff0000, 16, 1, EFAULT);
	transfer(&x, 0x7fff0000, 16, 2, EFAULT);
	transfer(&x, ROM_AT, 16, 2, EPERM);
	cfg_write(&x.h, 4, 3, 2);
	transfer(&x, GUEST_AT, 16, 1, EACCES);
	lab_close(&x);
}

static void interrupts_co(void *arg)
{
	struct remote_lab x;
	unsigned msi;

	(void)arg;
	lab_open(&x, NULL, "");
	lab_write(&x, REG_DEED, SEND_MSI, 4); /* no driver wants it: dropped */
	lab_write(&x, REG_DEED, RAISE, 4);
	WAIT_UNTIL(x.h.level);
	lab_write(&x, REG_DEED, LOWER, 4);
	WAIT_UNTIL(!x.h.level);
	assert_int_equal(x.h.messages, 0);
	msi = cfg_find(&x.h, 5);
	cfg_write(&x.h, msi + 2, 0x11, 2);
	lab_await(&x, REG_STATE, 7);
	lab_write(&x, REG_DEED, SEND_MSI, 4);
	WAIT_UNTIL(x.h.messages == 1);
	assert_int_equal(x.h.last_vector, 1);
	lab_close(&x);
}

static void do_reset(void *arg)
{
	struct access *a = arg;

	a->over = pci_function_reset(a->h->f, PCI_RESET_FUNCTION, &a->call) != PCI_PENDING;
}

static void reset_done(struct pci_call *call, int res)
{
	struct access *a = (struct access *)call;

	assert_int_equal(res, 0);
	a->over = true;
}

static void reset_co(void *arg)
{
	struct access a = {.call.done = reset_done};
	struct remote_lab x;

	(void)arg;
	lab_open(&x, NULL, "");
	a.h = &x.h;
	lab_write(&x, REG_SCRATCH, 5, 4);
	lab_write(&x, REG_DEED, RAISE, 4);
	WAIT_UNTIL(x.h.level);
	ON_LOOP(do_reset, &a);
	assert_false(x.h.level);
	WAIT_UNTIL(a.over);
	assert_int_equal(lab_read(&x, REG_SCRATCH, 4), 0);
	assert_int_equal(lab_read(&x, REG_RESETS, 4), 2);
	assert_int_equal(lab_read(&x, REG_KIND, 4), 2);
	lab_close(&x);
}

static void acked_co(void *arg)
{
	struct remote_lab x;
	struct access a;

	(void)arg;
	lab_open(&x, NULL, ",be=acked");
	access_begin(&a, &x, true, REG_SCRATCH, 7, 4);
	assert_false(a.over);
	WAIT_UNTIL(a.over);
	assert_int_equal(lab_read(&x, REG_SCRATCH, 4), 7);
	lab_close(&x);
}

static void speech_co(void *arg)
{
	struct remote_lab x;

	(void)arg;
	lab_log_begin();
	lab_open(&x, NULL, ",id=talker");
	lab_write(&x, REG_DEED, SPEAK, 4);
	WAIT_UNTIL(lab_logged("talker: watch out"));
	lab_close(&x);
	lab_log_end();
}

/* ---- Sockets ---- */

static GSubprocess *start_server(const char *kind, const char *path, char **first_line)
{
	GSubprocess *p = g_subprocess_new(G_SUBPROCESS_FLAGS_STDOUT_PIPE, NULL, "/usr/bin/python3",
					  "-B", lab_program, kind, path, NULL);
	GDataInputStream *out;

	assert_non_null(p);
	out = g_data_input_stream_new(g_subprocess_get_stdout_pipe(p));
	*first_line = g_data_input_stream_read_line(out, NULL, NULL, NULL);
	assert_non_null(*first_line);
	g_object_unref(out);
	return p;
}

static void end_server(GSubprocess *p)
{
	g_subprocess_force_exit(p);
	g_subprocess_wait(p, NULL, NULL);
	g_object_unref(p);
}

static void unix_socket_co(void *arg)
{
	g_autofree char *path = g_strdup_printf("/tmp/outboard-remote-%d.sock", (int)getpid());
	g_autofree char *driver = g_strdup_printf("unix:%s", path);
	char *line;
	GSubprocess *server = start_server("unix", path, &line);
	struct remote_lab x;

	(void)arg;
	g_free(line);
	lab_log_begin();
	lab_open(&x, driver, "");
	assert_int_equal(lab_read(&x, REG_ID, 4), ID_VALUE);
	lab_write(&x, REG_DEED, NONSENSE, 4); /* another connection is made */
	WAIT_UNTIL(lab_logged("is back"));
	lab_await(&x, REG_ID, ID_VALUE);
	end_server(server);
	WAIT_UNTIL(lab_logged("closed the connection"));
	assert_int_equal(lab_read(&x, REG_ID, 4), UINT32_MAX);
	unlink(path);
	server = start_server("unix", path, &line);
	g_free(line);
	lab_await(&x, REG_ID, ID_VALUE);
	lab_close(&x);
	end_server(server);
	unlink(path);
	line = refuse_device(NULL, "driver=unix:/nowhere/at/all");
	assert_non_null(strstr(line, "cannot connect to unix:/nowhere/at/all: No such file"));
	g_free(line);
	lab_log_end();
}

static void tcp_co(void *arg)
{
	g_autofree char *driver = NULL;
	struct remote_lab x;
	char *port, *text, *options;
	GSubprocess *server = start_server("tcp", NULL, &port);

	(void)arg;
	driver = g_strdup_printf("tcp:127.0.0.1:%s", port);
	lab_open(&x, driver, "");
	assert_int_equal(lab_read(&x, REG_ID, 4), ID_VALUE);
	lab_close(&x);
	end_server(server);
	options = g_strdup_printf("driver=%s", driver);
	text = refuse_device(NULL, options);
	assert_non_null(strstr(text, "Connection refused"));
	g_free(text);
	g_free(options);
	g_free(port);
	text = refuse_device(NULL, "driver=tcp:5000");
	assert_non_null(strstr(text, "must be tcp:HOST:PORT"));
	g_free(text);
}

#define REMOTE_TEST(name)                     \
	static void name(void **state)        \
	{                                     \
		(void)state;                  \
		run_in_loop(name##_co, NULL); \
	}
REMOTE_TEST(registers)
REMOTE_TEST(late)
REMOTE_TEST(dma)
REMOTE_TEST(interrupts)
REMOTE_TEST(reset)
REMOTE_TEST(acked)
REMOTE_TEST(speech)
REMOTE_TEST(unix_socket)
REMOTE_TEST(tcp)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(registers), cmocka_unit_test(late),
		cmocka_unit_test(dma),       cmocka_unit_test(interrupts),
		cmocka_unit_test(reset),     cmocka_unit_test(acked),
		cmocka_unit_test(speech),    cmocka_unit_test(unix_socket),
		cmocka_unit_test(tcp),
	};

	signal(SIGPIPE, SIG_IGN);
	lab_program = argc > 1 ? argv[1] : "program.py";
	lab_format = argc > 2 ? argv[2] : "text";
	return RUN_LOOP_TESTS(tests);
}
